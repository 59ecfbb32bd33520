//! The graphs of loops. What they mean is tested with the oracle, against the same steps written out.

use super::{accept, graph};
use crate::model::{Lowered, Training};
use crate::shape;

/// The declarations of all tensors: path, lengths of arrays, shape.
fn tensors(lowered: &Lowered) -> Vec<String> {
    let all = lowered.params.iter().chain(&lowered.states);
    let shown = all.map(|tensor| {
        let (repeats, shape) = (shape::display(&tensor.repeats), shape::display(&tensor.shape));
        format!("{} {repeats} {shape}", tensor.path)
    });
    shown.collect()
}

/// The lines of the summary: path, kind, depth, output, parameters.
fn rows(lowered: &Lowered) -> Vec<String> {
    let shown = lowered.rows.iter().map(|row| {
        let output = shape::display(row.output.as_deref().unwrap_or_default());
        format!("{} {} {} {output} {}", row.path, row.kind, row.depth, row.params)
    });
    shown.collect()
}

#[test]
fn layers_of_an_array_are_slices_of_stacked_tensors() {
    let lowered = accept(
        "struct Block<const D: usize> { fc: Linear<D, D> }
        impl<const D: usize> Block<D> {
            pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, D> { x + self.fc(x).relu() }
        }
        struct M { blocks: [Block<8>; 4] }
        impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 8>) -> Tensor<B, 8> {
            let mut h = x;
            for block in &self.blocks { h = block(h); }
            h
        } }",
    );
    assert_eq!(
        graph(&lowered, "f"),
        "%0: float[B, 8] = input[arg0]  // x
%1: float[4, 8, 8] = param[param0]  // blocks.fc: weight
%2: float[4, 8] = param[param1]  // blocks.fc: bias
%3: float[B, 8] = scan[i in 0..4; carry, step, step](%0, %1, %2)  // h
    %0: float[B, 8] = arg[0]  // h
    %1: float[8, 8] = arg[1]  // blocks.fc: weight
    %2: float[8] = arg[2]  // blocks.fc: bias
    %3: float[8, 8] = permute[[1, 0]](%1)  // blocks.fc
    %4: float[B, 8] = matmul(%0, %3)  // blocks.fc
    %5: float[1, 8] = reshape(%2)  // blocks.fc
    %6: float[B, 8] = expand(%5)  // blocks.fc
    %7: float[B, 8] = add(%4, %6)  // blocks.fc
    %8: float[B, 8] = relu(%7)  // blocks
    %9: float[B, 8] = add(%0, %8)  // blocks: h
    next 0 = %9
result 0 = %3
"
    );
    assert_eq!(
        tensors(&lowered),
        ["blocks.{}.fc.weight [4] [8, 8]", "blocks.{}.fc.bias [4] [8]"]
    );
    assert_eq!(
        rows(&lowered),
        [
            "blocks [Block<8>; 4] 0 [B, 8] 288",
            "blocks.{}.fc Linear<8, 8> 1 [B, 8] 288"
        ]
    );
}

#[test]
fn new_states_of_layers_of_an_array_are_collected_and_those_of_others_carried() {
    let lowered = accept(
        "struct M { means: [Mean; DEPTH], shared: Mean }
        impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 8>) -> Scalar {
            let mut h = x;
            for mean in &self.means { h = self.shared(mean(h)); }
            h.sum()
        } }"
        .replacen(
            "struct M",
            "struct Mean { value: State<8> }
            impl Mean { pub fn forward<B: Dim>(&self, x: Tensor<B, 8>) -> Tensor<B, 8> {
                self.value = self.value + x.sum(axis = 0);
                x
            } }
            struct M",
            1,
        )
        .as_str(),
    );
    let eval = graph(&lowered, "f");
    assert!(
        !eval.contains("scan"),
        "no carried tensor changes in a plain call, and nothing else: {eval}"
    );
    let train = lowered.functions[0]
        .train
        .as_ref()
        .expect("it is a loss")
        .to_string();
    assert_eq!(
        train,
        "%0: float[B, 8] = input[arg0]  // x
%1: float[DEPTH, 8] = state[state0]  // means: value
%2: float[8] = state[state1]  // shared: value
%3: float[8], float[DEPTH, 8] = scan[i in 0..DEPTH; outer, step, carry](%0, %1, %2)
    %0: float[B, 8] = arg[0]  // h
    %1: float[8] = arg[1]  // means: value
    %2: float[8] = sum[axes = [0]](%0)  // means
    %3: float[8] = add(%1, %2)  // means
    %4: float[8] = arg[2]  // shared: value
    %5: float[8] = sum[axes = [0]](%0)  // shared
    %6: float[8] = add(%4, %5)  // shared
    next 0 = %6
    collect 0 = %3
%4: float[] = sum[axes = [0, 1]](%0)
new state1 = %3
new state0 = %3.1
result 0 = %4
"
    );
}

#[test]
fn steps_in_time_have_carries_and_collected_outputs() {
    let lowered = accept(
        "struct M { w: State<4, 4> }
        impl M { pub fn f<B: Dim, T: Dim>(&self, x: Tensor<B, T, 4>, first: Tensor<B, 4>) -> (Tensor<B, T, 4>, Scalar) {
            let (mut h, mut n) = (first, 0.0);
            let mut ys = Steps::new();
            for (t, x_t) in x.steps(axis = 1).enumerate() {
                h = (x_t + h.matmul(self.w)).tanh() * (t + 1);
                n += h.sum();
                ys.push(h);
            }
            (ys.stack(axis = 1), n)
        } }",
    );
    assert_eq!(
        graph(&lowered, "f"),
        "%0: float[B, T, 4] = input[arg0]  // x
%1: float[B, 4] = input[arg1]  // first
%2: float[T, B, 4] = permute[[1, 0, 2]](%0)
%3: float[] = fill[0]
%4: float[4, 4] = state[state0]  // w
%5: float[B, 4], float[], float[T, B, 4] = scan[t in 0..T; carry, carry, step, outer](%1, %3, %2, %4)
    %0: float[B, 4] = arg[0]  // h
    %1: float[] = arg[1]  // n
    %2: float[B, 4] = arg[2]  // x_t
    %3: float[4, 4] = arg[3]  // w
    %4: float[B, 4] = matmul(%0, %3)
    %5: float[B, 4] = add(%2, %4)
    %6: float[B, 4] = tanh(%5)
    %7: float[B, 4] = fill[t + 1]
    %8: float[B, 4] = mul(%6, %7)  // h
    %9: float[] = sum[axes = [0, 1]](%8)
    %10: float[] = add(%1, %9)  // n
    next 0 = %8
    next 1 = %10
    collect 0 = %8
%6: float[B, T, 4] = permute[[1, 0, 2]](%5.2)
result 0 = %6
result 1 = %5.1
"
    );
}

#[test]
fn loops_are_nested_and_their_indices_differ_from_all_sizes() {
    let lowered = accept(
        "struct M { grid: [[Linear<4, 4>; 2]; 3], #[layer(init = ones)] #[freeze] ws: [Param<4>; 2] }
        impl M { pub fn f<i: Dim>(&self, x: Tensor<i, 4>, j: f32) -> Tensor<i, 4> {
            let mut x = x;
            for row in self.grid.iter().rev() {
                for (fc, w) in row.iter().zip(&self.ws) { x = fc(x) * w * j; }
            }
            x
        } }",
    );
    let graph = graph(&lowered, "f");
    for part in [
        "%4: float[i, 4] = scan[k in (0..3).rev(); carry, outer, step, step](%0, %1, %2, %3)  // x\n",
        "    %4: float[i, 4] = scan[l in 0..2; carry, step, step, step](%0, %1, %2, %3)  // x\n",
        "%2: float[3, 2, 4, 4] = param[param0]  // grid: weight\n",
        "    %2: float[2, 4, 4] = arg[2]  // grid: weight\n",
        "        %2: float[4, 4] = arg[2]  // grid: weight\n",
        "        %1: float[4] = arg[1]  // ws\n",
    ] {
        assert!(graph.contains(part), "{part}\nis not in\n{graph}");
    }
    let expected = [
        "grid.{}.{}.weight [3, 2] [4, 4]",
        "grid.{}.{}.bias [3, 2] [4]",
        "ws.{} [2] [4]",
    ];
    assert_eq!(tensors(&lowered), expected);
    assert_eq!(
        rows(&lowered),
        [
            "grid [[Linear<4, 4>; 2]; 3] 0 [i, 4] 120",
            "ws [Param<4>; 2] 0 [] 8"
        ]
    );
    assert_eq!(lowered.params[2].training, Training::Frozen);
}

#[test]
fn arrays_in_children_solve_their_sizes_and_reach_their_constants() {
    let lowered = accept(
        "struct Stage<const D: usize> { #[layer(bias = false)] fcs: [Linear<D, D>; DEPTH], out: Linear<D, { 2 * D }> }
        impl<const D: usize> Stage<D> {
            pub fn forward<B: Dim>(&self, x: Tensor<B, D>) -> Tensor<B, { 2 * D }> {
                let mut x = x;
                for fc in &self.fcs { x = fc(x).relu(); }
                self.out(x)
            }
        }
        struct M<const N: usize> { stage: Stage<_>, many: [Linear<_, 8>; N] }
        impl<const N: usize> M<N> { pub fn f<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 8> {
            let mut y = self.stage(x);
            for (k, fc) in self.many.iter().enumerate() { y = fc(y) * k; }
            y
        } }",
    );
    let depth = "<zoo::Stage<0>>::__size_0(4)";
    assert_eq!(
        tensors(&lowered),
        [
            format!("stage.fcs.{{}}.weight [{depth}] [4, 4]"),
            "stage.out.weight [] [8, 4]".to_owned(),
            "stage.out.bias [] [8]".to_owned(),
            "many.{}.weight [N] [8, 8]".to_owned(),
            "many.{}.bias [N] [8]".to_owned(),
        ]
    );
    assert_eq!(
        rows(&lowered)[1],
        format!("stage.fcs [Linear<4, 4>; {depth}] 1 [B, 4] 16 * {depth}")
    );
    let graph = graph(&lowered, "f");
    assert!(
        graph.contains(&format!("scan[i in 0..{depth}; carry, step]")),
        "{graph}"
    );
    assert!(graph.contains("scan[k in 0..N; carry, step, step]"), "{graph}");
    let solved: Vec<(usize, usize, String)> = lowered
        .solved
        .iter()
        .map(|s| (s.field, s.position, s.size.to_string()))
        .collect();
    assert_eq!(solved, [(0, 0, "4".to_owned()), (1, 0, "8".to_owned())]);
}

#[test]
fn what_no_step_changes_is_not_carried() {
    let lowered = accept(
        "struct M {}
        impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
            let (mut h, mut same, mut rate) = (x, x, 0.5);
            for i in 0..3 { h = h * i; same = same; if false { rate = 2.0; } }
            h + same.dropout(rate)
        } }",
    );
    let graph = graph(&lowered, "f");
    assert!(
        graph.contains("%2: float[B, 4] = scan[i in 0..3; carry, outer, outer](%0, %0, %1)  // h\n"),
        "{graph}"
    );
    assert!(graph.contains("= add(%2, %0)\n"), "{graph}");
}
