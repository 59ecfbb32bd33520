//! What a `for` means: the same as its steps written one after another.
//!
//! A model with arrays is held against one whose layers are fields of their own, `fc_0` for the first layer of the array
//! `fc`, and whose functions are written out. Both are lowered and interpreted with the same numbers.

use super::*;
use crate::diag::Diagnostics;
use crate::ir::DType;
use crate::lower::{lower, tests::define};
use crate::model::{Lowered, LoweredFunction, TensorDecl};
use crate::oracle::generate::Dice;
use crate::oracle::tensor::build;
use crate::shape::Dim;

fn lowered(source: &str) -> Lowered {
    let mut diagnostics = Diagnostics::new();
    let lowered = lower(&define(source), &mut diagnostics);
    let errors: Vec<String> = diagnostics.iter().map(|error| error.text()).collect();
    let _ = diagnostics.finish();
    lowered.unwrap_or_else(|| panic!("{source}\nis refused: {}", errors.join("\n")))
}

fn random(shape: &[usize], dice: &mut Dice) -> Tensor {
    Tensor::Float(build(shape, |_| dice.symmetric()))
}

/// The tensors of all layers of an array in one.
fn leaf_shape(declared: &TensorDecl) -> Vec<Dim> {
    declared.repeats.iter().chain(&declared.shape).cloned().collect()
}

/// What `blocks_2.fc_0.weight` is called where the layers are in arrays, `blocks.{}.fc.{}.weight`, and the positions.
fn pattern(path: &str) -> (String, Vec<usize>) {
    let mut positions = Vec::new();
    let segments = path.split('.').map(|segment| {
        let numbered = segment
            .rsplit_once('_')
            .and_then(|(name, k)| Some((name, k.parse().ok()?)));
        match numbered {
            Some((name, k)) => {
                positions.push(k);
                format!("{name}.{{}}")
            }
            None => segment.to_owned(),
        }
    });
    let path = segments.collect::<Vec<_>>().join(".");
    (path, positions)
}

/// The tensors of the model without arrays, as slices of those of the model with arrays.
fn slices(with: &[TensorDecl], stacked: &[Tensor], without: &[TensorDecl]) -> Vec<Tensor> {
    let slice = |declared: &TensorDecl| {
        let (path, positions) = pattern(&declared.path);
        let of = with.iter().position(|tensor| tensor.path == path);
        let of = of.unwrap_or_else(|| panic!("there is no tensor `{path}`"));
        let whole = &stacked[of];
        whole.gather(&whole.shape()[positions.len()..], |i| {
            [&positions[..], i].concat()
        })
    };
    without.iter().map(slice).collect()
}

/// Checks that both models compute the same results, and the same new states, in every mode.
#[track_caller]
fn assert_same(with: &str, without: &str, sizes: &[(&str, i64)]) {
    let (with, without) = (lowered(with), lowered(without));
    let mut dice = Dice::new(7);
    let sizes = sizes.iter().map(|(name, size)| ((*name).to_owned(), *size));
    let mut world = World {
        sizes: sizes.collect(),
        ..World::default()
    };
    world.scalars.insert("rate".to_owned(), 0.25);
    let shape = |declared: &TensorDecl| world.shape(&leaf_shape(declared));
    let params: Vec<Tensor> = with.params.iter().map(|p| random(&shape(p), &mut dice)).collect();
    // Variances are among them.
    let positive = |shape: &[usize], dice: &mut Dice| build(shape, |_| 0.5 + dice.symmetric().abs());
    let states = with
        .states
        .iter()
        .map(|s| Tensor::Float(positive(&shape(s), &mut dice)));
    let states: Vec<Tensor> = states.collect();
    for (a, b) in with.functions.iter().zip(&without.functions) {
        assert_eq!(a.name, b.name);
        let mut looped = world.clone();
        let shapes = a.inputs.iter().map(|input| world.shape(&input.shape));
        looped.inputs = shapes.map(|shape| random(&shape, &mut dice)).collect();
        (looped.params, looped.states) = (params.clone(), states.clone());
        let mut unrolled = looped.clone();
        unrolled.params = slices(&with.params, &params, &without.params);
        unrolled.states = slices(&with.states, &states, &without.states);
        for (a, b) in graphs(a, b) {
            verified(a);
            assert!(a.iter().any(|(_, node)| node.op.rule().name() == "scan"), "{a}");
            assert!(b.iter().all(|(_, node)| node.op.rule().name() != "scan"), "{b}");
            let (got, want) = (interpret(a, &looped), interpret(b, &unrolled));
            assert_agree((&with, &got), (&without, &want));
        }
    }
}

fn graphs<'g>(a: &'g LoweredFunction, b: &'g LoweredFunction) -> Vec<(&'g Graph, &'g Graph)> {
    let train = a.train.as_ref().zip(b.train.as_ref());
    [(&a.eval, &b.eval)].into_iter().chain(train).collect()
}

#[track_caller]
fn assert_agree(
    (with, got): (&Lowered, &Map<OutputKind, Tensor>),
    (without, want): (&Lowered, &Map<OutputKind, Tensor>),
) {
    for (kind, want) in want {
        let got = match kind {
            OutputKind::State(id) => {
                let (path, positions) = pattern(&without.states[id.index()].path);
                let of = with
                    .states
                    .iter()
                    .position(|state| state.path == path)
                    .expect("the state is there");
                let whole = &got[&OutputKind::State(crate::ir::StateId::new(of))];
                whole.gather(want.shape(), |i| [&positions[..], i].concat())
            }
            kind => got[kind].clone(),
        };
        assert_eq!((got.dtype(), got.shape()), (want.dtype(), want.shape()), "{kind}");
        assert!(
            want.dtype() != DType::Float || want.numbers().iter().all(|x| x.is_finite()),
            "{kind}"
        );
        let error = crate::oracle::close::distance(&got.numbers(), &want.numbers());
        assert!(
            error < 1e-12,
            "{kind} is off by {error:e}\n got {got:?}\nwant {want:?}"
        );
    }
    let states = |outputs: &Map<OutputKind, Tensor>| {
        outputs
            .keys()
            .filter(|kind| matches!(kind, OutputKind::State(_)))
            .count()
    };
    assert_eq!(states(got) == 0, states(want) == 0);
}

const BLOCK: &str = "
    struct Block<const D: usize> { fc: Linear<D, D>, bn: BatchNorm1d<D> }
    impl<const D: usize> Block<D> {
        pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> { x + self.bn(self.fc(x)).tanh() }
    }";

#[test]
fn layers_with_states() {
    let model = |field: &str, body: &str| {
        format!(
            "{BLOCK} struct M {{ {field} }} impl M {{
                pub fn f<B: Dim>(&self, x: Tensor<B, 5>) -> Scalar {{ let mut x = x; {body} (x * x).sum() }}
            }}"
        )
    };
    let unrolled = |body| model("blocks_0: Block<5>, blocks_1: Block<5>, blocks_2: Block<5>", body);
    for (head, calls) in [
        (
            "&self.blocks",
            "x = self.blocks_0(x); x = self.blocks_1(x); x = self.blocks_2(x);",
        ),
        (
            "self.blocks.iter().rev()",
            "x = self.blocks_2(x); x = self.blocks_1(x); x = self.blocks_0(x);",
        ),
    ] {
        let looped = model(
            "blocks: [Block<5>; 3]",
            &format!("for block in {head} {{ x = block(x); }}"),
        );
        assert_same(&looped, &unrolled(calls), &[("B", 4)]);
    }
    // The second loop goes on with the states that the first has left.
    let twice = "for block in &self.blocks { x = block(x); } for block in &self.blocks { x = block(x); }";
    let calls = "x = self.blocks_0(x); x = self.blocks_1(x); x = self.blocks_2(x);";
    assert_same(
        &model("blocks: [Block<5>; 3]", twice),
        &unrolled(&calls.repeat(2)),
        &[("B", 4)],
    );
}

#[test]
fn a_layer_from_outside_carries_its_state() {
    let model = |body: &str| {
        format!(
            "{BLOCK} struct M {{ block: Block<5>, mean: State<5> }} impl M {{
                pub fn f<B: Dim>(&self, x: Tensor<B, 5>) -> Scalar {{ let mut x = x; {body} (x * x).sum() }}
            }}"
        )
    };
    assert_same(
        &model(
            "for _ in 0..2 { x = self.block(x) + self.mean; self.mean = self.mean * 0.5 + x.sum(axis = 0); }",
        ),
        &model(&"x = self.block(x) + self.mean; self.mean = self.mean * 0.5 + x.sum(axis = 0);".repeat(2)),
        &[("B", 3)],
    );
    // Assigned, but never read in the loop.
    assert_same(
        &model("for _ in 0..2 { x = x * 2.0; self.mean = x.sum(axis = 0); } x = x + self.mean;"),
        &model(&("x = x * 2.0; self.mean = x.sum(axis = 0);".repeat(2) + "x = x + self.mean;")),
        &[("B", 3)],
    );
    // What was read before the loop stays what it was.
    assert_same(
        &model(
            "let old = self.mean; for _ in 0..2 { x = x * old + self.mean; self.mean = x.sum(axis = 0); }",
        ),
        &model(
            &("let old = self.mean;".to_owned()
                + &"x = x * old + self.mean; self.mean = x.sum(axis = 0);".repeat(2)),
        ),
        &[("B", 3)],
    );
}

#[test]
fn a_recurrent_cell() {
    let model = |body: &str| {
        format!(
            "struct M {{ x: Linear<3, 4>, h: Linear<4, 4> }} impl M {{
                pub fn f<B: Dim>(&self, xs: Tensor<B, 3, 3>, first: Tensor<B, 4>) -> (Tensor<B, 3, 4>, Tensor<B, 4>, Scalar) {{
                    {body}
                }}
                fn cell<B: Dim>(&self, x: Tensor<B, 3>, h: Tensor<B, 4>) -> Tensor<B, 4> {{ (self.x(x) + self.h(h)).tanh() }}
            }}"
        )
    };
    let looped = "let mut h = first; let mut total = 1.5; let mut ys = Steps::new();
        for x_t in xs.steps(axis = 1) { h = self.cell(x_t, h); total += h.sum(); ys.push(h); }
        (ys.stack(axis = 1), h, total)";
    let unrolled = "let h1 = self.cell(xs.slice(.., 0), first);
        let h2 = self.cell(xs.slice(.., 1), h1);
        let h3 = self.cell(xs.slice(.., 2), h2);
        (stack((h1, h2, h3), axis = 1), h3, h1.sum() + h2.sum() + h3.sum() + 1.5)";
    assert_same(&model(looped), &model(unrolled), &[("B", 2)]);
    let backwards = "let mut h = first; let mut total = 1.5; let mut ys = Steps::new();
        for x_t in xs.steps(axis = 1).rev() { h = self.cell(x_t, h); total += h.sum(); ys.push(h); }
        (ys.stack(axis = 1), h, total)";
    let unrolled = "let h1 = self.cell(xs.slice(.., 2), first);
        let h2 = self.cell(xs.slice(.., 1), h1);
        let h3 = self.cell(xs.slice(.., 0), h2);
        (stack((h3, h2, h1), axis = 1), h3, h1.sum() + h2.sum() + h3.sum() + 1.5)";
    assert_same(&model(backwards), &model(unrolled), &[("B", 2)]);
}

#[test]
fn indices_zips_and_directions() {
    let model = |field: &str, body: &str| {
        format!(
            "struct M {{ {field} }} impl M {{
                pub fn f<B: Dim>(&self, x: Tensor<B, 4>, t: Tensor<3, 4>, rate: f32) -> Tensor<B, 4> {{
                    let mut x = x; {body} x
                }}
            }}"
        )
    };
    let with = "fc: [Linear<4, 4>; 3], #[layer(init = ones)] w: [Param<4>; 3]";
    let without = "fc_0: Linear<4, 4>, fc_1: Linear<4, 4>, fc_2: Linear<4, 4>,
        #[layer(init = ones)] w_0: Param<4>, #[layer(init = ones)] w_1: Param<4>, #[layer(init = ones)] w_2: Param<4>";
    let step = |order: [usize; 3], text: &dyn Fn(usize, usize) -> String| -> String {
        order.iter().enumerate().map(|(step, &k)| text(step, k)).collect()
    };
    let (up, down) = ([0, 1, 2], [2, 1, 0]);
    let cases = [
        (
            "for (i, fc) in self.fc.iter().enumerate() { x = fc(x) * i; }",
            step(up, &|_, k| format!("x = self.fc_{k}(x) * {k};")),
        ),
        (
            "for (i, fc) in self.fc.iter().enumerate().rev() { x = fc(x) * (i + 1); }",
            step(down, &|_, k| format!("x = self.fc_{k}(x) * {};", k + 1)),
        ),
        (
            "for (i, fc) in self.fc.iter().rev().enumerate() { x = fc(x) * (i + 1); }",
            step(down, &|s, k| format!("x = self.fc_{k}(x) * {};", s + 1)),
        ),
        (
            "for (fc, w) in self.fc.iter().zip(&self.w) { x = fc(x) * w * rate; }",
            step(up, &|_, k| format!("x = self.fc_{k}(x) * self.w_{k} * rate;")),
        ),
        (
            "for (w, (fc, t)) in self.w.iter().zip(self.fc.iter().zip(t.steps(axis = 0))).rev() { x = fc(x) * w + t; }",
            step(down, &|_, k| {
                format!("x = self.fc_{k}(x) * self.w_{k} + t.slice({k});")
            }),
        ),
        (
            "for (fc, t) in self.fc.iter().zip(t.steps(axis = 0).rev()) { x = fc(x) + t; }",
            step(up, &|_, k| format!("x = self.fc_{k}(x) + t.slice({});", 2 - k)),
        ),
        (
            "for (t, fc) in t.steps(axis = 0).enumerate().zip(self.fc.iter().rev()) { x = fc(x) + t.1 * t.0; }",
            step(down, &|s, k| format!("x = self.fc_{k}(x) + t.slice({s}) * {s};")),
        ),
        (
            "for i in 1..3 { x = x * i + t.slice(i); }",
            "x = x + t.slice(1); x = x * 2 + t.slice(2);".to_owned(),
        ),
        (
            "for i in (1..3).rev() { x = x * i + t.slice(i..i + 1); }",
            "x = x * 2 + t.slice(2); x = x + t.slice(1);".to_owned(),
        ),
        (
            "for (i, w) in (0..self.w.len()).zip(&self.w) { x = x * w + t.slice(2 - i..3 - i); }",
            step(up, &|_, k| format!("x = x * self.w_{k} + t.slice({});", 2 - k)),
        ),
        (
            "let mut pair = (x, 1.0); for w in &self.w { pair = (pair.0 * w, pair.1 * 2.0 + w.sum()); } x = pair.0 * pair.1;",
            format!(
                "let mut n = 1.0; {} x = x * n;",
                step(up, &|_, k| format!(
                    "x = x * self.w_{k}; let n = n * 2.0 + self.w_{k}.sum();"
                ))
            ),
        ),
    ];
    for (looped, unrolled) in cases {
        assert_same(&model(with, looped), &model(without, &unrolled), &[("B", 2)]);
    }
}

#[test]
fn loops_in_loops_and_in_children() {
    let model = |stage: &str, fields: &str, body: &str| {
        format!(
            "{BLOCK} struct Stage {{ {stage} }}
            struct M {{ {fields} }} impl M {{
                pub fn f<B: Dim>(&self, x: Tensor<B, 3, 5>) -> (Tensor<3, B, 5>, Scalar) {{ {body} }}
            }}"
        )
    };
    let with = model(
        "blocks: [Block<5>; 2] } impl Stage { pub fn forward<B: Dim>(&self, x: Tensor<B, 5>) -> Tensor<B, 5> {
            let mut x = x; for block in &self.blocks { x = block(x) * 0.5; } x }",
        "stage: [Stage; 2], shared: Block<5>",
        "let mut rows = Steps::new(); let mut total = 0.0;
        for (t, x_t) in x.steps(axis = 1).enumerate() {
            let mut y = x_t;
            let mut sums = Steps::new();
            for stage in &self.stage { y = stage(y) + self.shared(x_t) * t; sums.push(y.sum()); total += y.sum(); }
            rows.push(y * sums.stack().sum());
        }
        (rows.stack(), total)",
    );
    let step = |t: usize| {
        format!(
            "let x_t = x.slice(.., {t});
            let y0 = self.stage_0(x_t) + self.shared(x_t) * {t};
            let y1 = self.stage_1(y0) + self.shared(x_t) * {t};
            total = total + y0.sum() + y1.sum();
            let row_{t} = y1 * (y0.sum() + y1.sum());"
        )
    };
    let without = model(
        "blocks_0: Block<5>, blocks_1: Block<5> } impl Stage { pub fn forward<B: Dim>(&self, x: Tensor<B, 5>) -> Tensor<B, 5> {
            self.blocks_1(self.blocks_0(x) * 0.5) * 0.5 }",
        "stage_0: Stage, stage_1: Stage, shared: Block<5>",
        &format!("let mut total = 0.0; {}{}{} (stack((row_0, row_1, row_2), axis = 0), total)", step(0), step(1), step(2)),
    );
    assert_same(&with, &without, &[("B", 2)]);
    // The same as a loss, for the new states of the layers.
    let loss = |model: &str| {
        let model = model.replace("(Tensor<3, B, 5>, Scalar)", "Scalar");
        model.replace(", total)", ".sum() * total)")
    };
    assert_same(&loss(&with), &loss(&without), &[("B", 2)]);
}

#[test]
fn no_step_changes_nothing() {
    let model = |body: &str| {
        format!(
            "struct M {{}} impl M {{
                pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, h: Tensor<B, 3>) -> Tensor<B, 3> {{ {body} }}
            }}"
        )
    };
    let looped = "let mut h = h; for x_t in x.steps(axis = 1) { h = h * x_t; } h";
    assert_same(
        &model(looped),
        &model("h + x.sum(axis = 1)"),
        &[("B", 2), ("T", 0)],
    );
}
