//! The gradient of a loop: the loop in the other direction.
//!
//! With c the carries, x the slices and w the operands that every step sees, a step is `(c', y) = f(c, x, w)`. Its way back is
//! `(c_bar, x_bar, w_bar_i) = f'(c, x, w)^T (c'_bar, y_bar)`: the cotangents of the carries are carried backwards, those of the
//! slices are collected, and those of `w`, which every step sees, are summed up over the steps.
//!
//! What f' reads of f is kept ([`super::split`]): the loop collects it as further results, and the loop that goes back takes it
//! apart again.

use super::split::{Halves, Needed, split};
use super::{Sweep, active_nodes};
use crate::ir::{Cotangents, DType, Graph, NodeId, Output, OutputKind, Phase, Site, Type, Value};
use crate::ops::Op;
use crate::ops::fill::Fill;
use crate::ops::leaf::{Leaf, LeafKind};
use crate::ops::scan::{Recording, Role, Scan};

/// An operand of the loop that goes back, as far as it is made of cotangents, and whose cotangent its result is.
struct Back {
    role: Role,
    /// The value that goes in.
    input: Value,
    /// The operand of the loop whose cotangent comes out, of a carry.
    of: Option<usize>,
}

/// The body with its way back.
struct Differentiated {
    joint: Graph,
    /// The arguments that are cotangents; they follow those of the body.
    backs: Vec<Back>,
    /// The operands whose cotangents are collected, in the order of the results.
    collected: Vec<usize>,
}

impl Sweep {
    /// The cotangents of the operands of an operation with a body.
    pub(super) fn nested(
        &mut self,
        id: NodeId,
        op: &Op,
        site: &Site<'_>,
        bars: &[Option<Value>],
    ) -> Cotangents {
        match op {
            Op::Scan(scan) => self.scan(id, scan, site, bars),
            other => unreachable!("`{}` has no body", other.rule().name()),
        }
    }

    /// The cotangents of a loop's operands. The loop is made to keep what its way back reads.
    fn scan(&mut self, id: NodeId, scan: &Scan, site: &Site<'_>, bars: &[Option<Value>]) -> Cotangents {
        let active = self.active_operands(scan, site);
        let body = match self.differentiate_body(scan, site, &active, bars) {
            Ok(body) => body,
            Err(why) => return Cotangents::Blocked(why),
        };
        let n_outputs = scan.body.outputs.len();
        let halves = split(&(self.tidy)(&body.joint), n_outputs, scan);
        if halves.kept.iter().any(|ty| scan.varies(ty)) {
            return Cotangents::Blocked("a value inside of a loop has another size in every step");
        }
        self.keep(id, scan, &halves);
        Cotangents::Flow(self.way_back(id, scan, site, body, halves))
    }

    /// The operands through which a gradient flows. A carry is active if its first value is, or what a step makes of it.
    fn active_operands(&self, scan: &Scan, site: &Site<'_>) -> Vec<bool> {
        let mut active: Vec<bool> = site.inputs.iter().map(|v| self.active[v.node.index()]).collect();
        for (k, input) in site.inputs.iter().enumerate() {
            active[k] &= self.b.ty(*input).dtype == DType::Float;
        }
        loop {
            let nodes = active_nodes(&scan.body, |id| is_active_arg(&scan.body, id, &active));
            let mut grew = false;
            for (c, k) in scan.carries().into_iter().enumerate() {
                let next = scan.next(c).expect("every carry has a next value");
                let is_float = scan.body.ty(next).dtype == DType::Float;
                if !active[k] && is_float && nodes[next.node.index()] {
                    active[k] = true;
                    grew = true;
                }
            }
            if !grew {
                return active;
            }
        }
    }

    /// The body with its way back behind it, in one graph.
    fn differentiate_body(
        &mut self,
        scan: &Scan,
        site: &Site<'_>,
        active: &[bool],
        bars: &[Option<Value>],
    ) -> Result<Differentiated, &'static str> {
        let nodes = active_nodes(&scan.body, |id| is_active_arg(&scan.body, id, active));
        let mut inner = Self::new(scan.body.clone(), nodes, self.tidy);
        inner.b.origin = self.b.origin.clone();
        let mut backs = Vec::new();
        let carries = scan.carries();
        for (c, &k) in carries.iter().enumerate().filter(|(_, k)| active[**k]) {
            let input = match bars[c] {
                Some(bar) => bar,
                None => self.b.fill_like(site.inputs[k], 0.0),
            };
            let next = scan.next(c).expect("every carry has a next value");
            let ty = self.b.ty(site.inputs[k]).clone();
            inner.seed(scan.roles.len() + backs.len(), next, ty);
            backs.push(Back {
                role: Role::Carry,
                input,
                of: Some(k),
            });
        }
        for k in 0..scan.n_collected() {
            let value = scan.collected(k).expect("every result is collected");
            if let Some(input) = bars[carries.len() + k] {
                let ty = scan.body.ty(value).clone();
                inner.seed(scan.roles.len() + backs.len(), value, ty);
                backs.push(Back {
                    role: Role::Step,
                    input,
                    of: None,
                });
            }
        }
        inner.run();
        if let Some((why, _)) = inner.blocked {
            return Err(why);
        }
        let collected = self.outputs(scan, site, active, &mut inner, &mut backs);
        Ok(Differentiated {
            joint: inner.finish(),
            backs,
            collected,
        })
    }

    /// The argument that brings the cotangent of `value`, which is added to what is there.
    fn seed(&mut self, arg: usize, value: Value, ty: Type) {
        let leaf = self.b.push(
            Leaf {
                kind: LeafKind::Arg(arg),
                ty,
            },
            &[],
        );
        if self.active[value.node.index()] {
            self.accumulate(value, leaf);
        }
    }

    /// Declares the outputs of the way back: what is carried on, what is summed up, what is collected.
    fn outputs(
        &mut self,
        scan: &Scan,
        site: &Site<'_>,
        active: &[bool],
        inner: &mut Self,
        backs: &mut Vec<Back>,
    ) -> Vec<usize> {
        let mut outputs = Vec::new();
        let bar = |inner: &Self, k: usize| {
            scan.arg(k)
                .and_then(|leaf| inner.of_leaves.get(&leaf.node).copied())
        };
        let mut n_carries = 0;
        let mut next = |value: Value| {
            n_carries += 1;
            Output {
                kind: OutputKind::Next(n_carries - 1),
                value,
            }
        };
        for k in backs.iter().filter_map(|back| back.of) {
            let value = match bar(inner, k) {
                Some(bar) => bar,
                None => inner.zeros(self.b.ty(site.inputs[k]).clone()),
            };
            outputs.push(next(value));
        }
        let mut collected = Vec::new();
        for k in (0..active.len()).filter(|&k| active[k]) {
            let Some(value) = bar(inner, k) else { continue };
            match scan.roles[k] {
                Role::Carry => {}
                Role::Step => {
                    outputs.push(Output {
                        kind: OutputKind::Collect(collected.len()),
                        value,
                    });
                    collected.push(k);
                }
                Role::Outer => {
                    let ty = self.b.ty(site.inputs[k]).clone();
                    let arg = LeafKind::Arg(scan.roles.len() + backs.len());
                    let sum = inner.b.push(Leaf { kind: arg, ty }, &[]);
                    let input = self.b.fill_like(site.inputs[k], 0.0);
                    backs.push(Back {
                        role: Role::Carry,
                        input,
                        of: Some(k),
                    });
                    outputs.push(next(inner.b.add(sum, value)));
                }
            }
        }
        inner.b.graph.outputs.extend(outputs);
        collected
    }

    fn zeros(&mut self, ty: Type) -> Value {
        self.b.push(
            Fill {
                value: 0.0.into(),
                ty,
            },
            &[],
        )
    }

    /// Replaces a loop by one that also collects what its way back reads.
    fn keep(&mut self, id: NodeId, scan: &Scan, halves: &Halves) {
        let node = self.b.graph.node_mut(id);
        let stacked = halves.kept.iter().map(|ty| {
            let shape = std::iter::once(&scan.count).chain(&ty.shape).cloned().collect();
            ty.with_shape(shape)
        });
        node.types.extend(stacked);
        node.op = Op::Scan(Scan {
            body: halves.forward.clone(),
            ..scan.clone()
        });
    }

    /// Appends the loop that goes back, and answers the cotangents of the operands.
    fn way_back(
        &mut self,
        id: NodeId,
        scan: &Scan,
        site: &Site<'_>,
        body: Differentiated,
        halves: Halves,
    ) -> Vec<Option<Value>> {
        let n_own = scan.carries().len() + scan.n_collected();
        let (mut inputs, mut roles) = (Vec::new(), Vec::new());
        let mut taken = vec![false; body.backs.len()];
        for needed in &halves.args {
            let (input, role) = match *needed {
                Needed::Kept(k) => (
                    Value {
                        node: id,
                        output: n_own + k,
                    },
                    Role::Step,
                ),
                Needed::Operand(k) if k < scan.roles.len() => (site.inputs[k], scan.roles[k]),
                Needed::Operand(k) => {
                    let back = &body.backs[k - scan.roles.len()];
                    taken[k - scan.roles.len()] = true;
                    (back.input, back.role)
                }
            };
            inputs.push(input);
            roles.push(role);
        }
        let mut back = Scan {
            name: scan.name.clone(),
            recording: Recording::Values,
            index: scan.index.clone(),
            count: scan.count.clone(),
            order: scan.order.reversed(),
            roles,
            body: halves.backward,
        };
        // The carries of the new loop, in the order of its operands: which cotangent each one is.
        let mut of = Vec::new();
        for (needed, role) in halves.args.iter().zip(&back.roles) {
            if let (Needed::Operand(k), Role::Carry) = (needed, role) {
                of.push(k - scan.roles.len());
            }
        }
        // A carry that no step reads is still what the steps leave.
        for (k, missing) in body.backs.iter().enumerate() {
            if missing.role == Role::Carry && !taken[k] {
                inputs.push(missing.input);
                back.roles.push(Role::Carry);
                of.push(k);
            }
        }
        back.renumber(&of, &body.backs);
        self.results(scan, back, &inputs, &of, &body)
    }

    /// Pushes the loop that goes back and sorts its results.
    fn results(
        &mut self,
        scan: &Scan,
        back: Scan,
        inputs: &[Value],
        of: &[usize],
        body: &Differentiated,
    ) -> Vec<Option<Value>> {
        let mut cotangents = vec![None; scan.roles.len()];
        debug_assert!(back.body.iter().all(|(_, node)| node.phase == Phase::Backward));
        let results = self.b.push_all(back, inputs);
        for (c, &k) in of.iter().enumerate() {
            if let Some(operand) = body.backs[k].of {
                cotangents[operand] = Some(results[c]);
            }
        }
        for (k, &operand) in body.collected.iter().enumerate() {
            cotangents[operand] = Some(results[of.len() + k]);
        }
        cotangents
    }
}

impl Scan {
    /// Numbers the next values by the order of the carries among the operands; they stand in the order of the cotangents.
    fn renumber(&mut self, of: &[usize], backs: &[Back]) {
        let carried: Vec<usize> = (0..backs.len())
            .filter(|&k| backs[k].role == Role::Carry)
            .collect();
        for output in &mut self.body.outputs {
            if let OutputKind::Next(c) = &mut output.kind {
                let place = of.iter().position(|k| *k == carried[*c]);
                *c = place.expect("every cotangent that is carried is an operand");
            }
        }
    }
}

fn is_active_arg(body: &Graph, id: NodeId, active: &[bool]) -> bool {
    matches!(body.node(id).leaf(), Some(LeafKind::Arg(k)) if active[k])
}
