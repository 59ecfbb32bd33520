//! Loops without what nobody needs: results that are not read, carries that only they depend on, operands that no step reads.

use crate::map::Set;

use super::remove_dead;
use crate::ir::{Graph, NodeId, OutputKind};
use crate::ops::leaf::LeafKind;
use crate::ops::scan::{Role, Scan};

/// A loop that has shrunk.
pub(super) struct Pruned {
    /// The loop.
    pub(super) scan: Scan,
    /// The operands that are left, by their old numbers.
    pub(super) operands: Vec<usize>,
    /// The results that are left, by their old numbers.
    pub(super) results: Vec<usize>,
}

/// Prunes a loop of whose results `is_live` says which are read.
pub(super) fn prune(scan: &Scan, is_live: &[bool]) -> Pruned {
    let carries = scan.carries();
    let collected: Vec<usize> = (0..scan.n_collected())
        .filter(|k| is_live[carries.len() + k])
        .collect();
    let mut kept: Set<usize> = (0..carries.len()).filter(|&c| is_live[c]).collect();
    // A carry also lives where a step needs it for something that lives.
    let body = loop {
        let body = body_of(scan, &kept, &collected);
        let read = args(&body);
        let needed = (0..carries.len()).filter(|&c| read.contains(&carries[c]));
        let grown: Set<usize> = kept.iter().copied().chain(needed).collect();
        if grown == kept {
            break body;
        }
        kept = grown;
    };
    let read = args(&body);
    let is_kept = |k: &usize| match scan.roles[*k] {
        Role::Carry => carries
            .iter()
            .position(|c| c == k)
            .is_some_and(|c| kept.contains(&c)),
        Role::Step | Role::Outer => read.contains(k),
    };
    let operands: Vec<usize> = (0..scan.roles.len()).filter(is_kept).collect();
    let results = kept
        .iter()
        .copied()
        .chain(collected.iter().map(|k| carries.len() + k))
        .collect();
    let kept: Vec<usize> = kept.into_iter().collect();
    Pruned {
        scan: Scan {
            name: scan.name.clone(),
            recording: scan.recording,
            index: scan.index.clone(),
            count: scan.count.clone(),
            order: scan.order,
            roles: operands.iter().map(|&k| scan.roles[k]).collect(),
            body: renumbered(body, &operands, &kept, &collected),
        },
        operands,
        results,
    }
}

/// The body with these of its outputs, and what they depend on.
fn body_of(scan: &Scan, carries: &Set<usize>, collected: &[usize]) -> Graph {
    let mut body = scan.body.clone();
    body.outputs.retain(|output| match output.kind {
        OutputKind::Next(c) => carries.contains(&c),
        OutputKind::Collect(k) => collected.contains(&k),
        _ => true,
    });
    remove_dead(&body)
}

/// The numbers of the arguments that a body reads.
fn args(body: &Graph) -> Set<usize> {
    let arg = |id: NodeId| match body.node(id).leaf() {
        Some(LeafKind::Arg(k)) => Some(k),
        _ => None,
    };
    body.iter().filter_map(|(id, _)| arg(id)).collect()
}

/// The body with arguments and outputs numbered without gaps.
fn renumbered(mut body: Graph, operands: &[usize], carries: &[usize], collected: &[usize]) -> Graph {
    let place = |list: &[usize], k: usize| {
        list.iter()
            .position(|old| *old == k)
            .expect("what is read is kept")
    };
    body.renumber_args(&|k| Some(place(operands, k)));
    for output in &mut body.outputs {
        match &mut output.kind {
            OutputKind::Next(c) => *c = place(carries, *c),
            OutputKind::Collect(k) => *k = place(collected, *k),
            _ => {}
        }
    }
    body
}
