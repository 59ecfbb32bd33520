//! The order of kernels: every kernel follows those whose values it reads, and a loop stands where one kernel would.

use crate::map::{Map, Set};

use super::Placed;
use super::flatten::Flat;
use crate::ir::{Phase, Value};
use crate::plan::{Kernel, Loop};

/// Kernels in order.
pub(super) struct Ordered {
    /// The kernels.
    pub(super) kernels: Vec<Kernel>,
    /// The loops; an outer one before those inside of it.
    pub(super) loops: Vec<Loop>,
    /// For every region, its position among the loops; `None` for the function, and where there is nothing to run.
    pub(super) loop_of: Vec<Option<usize>>,
}

/// Orders kernels by their dependencies; among those that could run, the one whose last operation stands earliest in the
/// list comes first, forward before backward.
pub(super) fn order(flat: &Flat, placed: Vec<Placed>, needs: &[Vec<Value>]) -> Ordered {
    let mut sorter = Sorter {
        flat,
        needs,
        placed: placed.into_iter().map(Some).collect(),
        ordered: Ordered {
            kernels: Vec::new(),
            loops: Vec::new(),
            loop_of: vec![None; flat.regions.len()],
        },
    };
    sorter.region(0);
    assert!(
        sorter.placed.iter().all(Option::is_none),
        "fusion made a cycle of kernels"
    );
    sorter.ordered
}

struct Sorter<'a> {
    flat: &'a Flat,
    needs: &'a [Vec<Value>],
    placed: Vec<Option<Placed>>,
    ordered: Ordered,
}

/// What is ordered: a kernel, or a loop with all that is in it.
struct Item {
    phase: Phase,
    at: usize,
    body: Body,
    reads: Set<Value>,
    writes: Set<Value>,
}

#[derive(Copy, Clone)]
enum Body {
    Kernel(usize),
    Loop(usize),
}

impl Sorter<'_> {
    fn region(&mut self, region: usize) {
        let items = self.items(region);
        for body in sorted(&items) {
            match body {
                Body::Kernel(k) => {
                    let placed = self.placed[k].take().expect("a kernel runs once");
                    self.ordered.kernels.push(placed.kernel);
                }
                Body::Loop(inner) => self.enter(inner),
            }
        }
    }

    fn enter(&mut self, region: usize) {
        let (position, first) = (self.ordered.loops.len(), self.ordered.kernels.len());
        let of = &self.flat.regions[region];
        self.ordered.loops.push(Loop {
            index: of.index.clone(),
            count: of.count.clone(),
            order: of.order,
            kernels: first..first,
            name: of.name.clone(),
        });
        self.ordered.loop_of[region] = Some(position);
        self.region(region);
        self.ordered.loops[position].kernels.end = self.ordered.kernels.len();
    }

    fn items(&self, region: usize) -> Vec<Item> {
        let mut items = Vec::new();
        let mut loops: Map<usize, Item> = Map::new();
        for (k, placed) in self.placed.iter().enumerate() {
            let Some(placed) = placed else { continue };
            let reads = placed.kernel.reads.iter().map(|r| self.root(r.value));
            let writes = placed.kernel.writes.iter().map(|w| w.value);
            if placed.region == region {
                items.push(Item {
                    phase: placed.kernel.phase,
                    at: placed.at,
                    body: Body::Kernel(k),
                    reads: reads.collect(),
                    writes: writes.collect(),
                });
            } else if let Some(inner) = self.flat.child_of(region, placed.region) {
                let item = loops.get_or_insert_with(inner, || self.loop_item(inner));
                item.reads.extend(reads);
                item.writes.extend(writes);
            }
        }
        items.extend(loops.into_values());
        items
    }

    fn loop_item(&self, region: usize) -> Item {
        let of = &self.flat.regions[region];
        Item {
            phase: of.phase,
            at: of.at,
            body: Body::Loop(region),
            reads: self.needs[region].iter().copied().collect(),
            writes: of.buffers.iter().copied().collect(),
        }
    }

    /// A window is there when that is there of which it is a part.
    fn root(&self, mut value: Value) -> Value {
        while let Some((_, of, _)) = self.flat.windows.iter().find(|(window, ..)| *window == value) {
            value = *of;
        }
        value
    }
}

/// The items in an order that respects their dependencies.
fn sorted(items: &[Item]) -> Vec<Body> {
    let mut writer = Map::new();
    for (k, item) in items.iter().enumerate() {
        writer.extend(item.writes.iter().map(|value| (*value, k)));
    }
    let mut followers = vec![Vec::new(); items.len()];
    let mut waiting: Vec<Set<usize>> = Vec::new();
    for (k, item) in items.iter().enumerate() {
        let needs = item.reads.iter().filter_map(|value| writer.get(value).copied());
        let needs: Set<usize> = needs.filter(|&n| n != k).collect();
        needs.iter().for_each(|&n| followers[n].push(k));
        waiting.push(needs);
    }
    let priority = |k: usize| (items[k].phase, items[k].at, k);
    let ready = (0..items.len()).filter(|&k| waiting[k].is_empty());
    let mut ready: Set<_> = ready.map(priority).collect();
    let mut ordered = Vec::new();
    while let Some((_, _, k)) = ready.pop_first() {
        for &follower in &followers[k] {
            waiting[follower].remove(&k);
            if waiting[follower].is_empty() {
                ready.insert(priority(follower));
            }
        }
        ordered.push(items[k].body);
    }
    ordered
}
