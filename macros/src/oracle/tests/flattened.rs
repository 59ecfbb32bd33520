//! Products of flattened images, which sum in the order in which the image lies.

use super::super::generate::Draft;
use super::gradients::assert_gradients;
use super::*;
use crate::ops::pool::{Pool2d, PoolKind, Windows};
use crate::ops::window::Window;
use crate::plan::Task;
use crate::shape::Dim;

/// A pooled image of so many samples, flattened, times weights of a layer, a matrix of weights, and one that is computed.
fn flattened(batch: i64) -> Program {
    let mut draft = Draft::empty(5);
    draft.world.sizes.insert("B".into(), batch);
    let image = draft.input(vec![Dim::dynamic("B"), Dim::lit(8), Dim::lit(20), Dim::lit(20)]);
    let window = Window {
        stride: [2; 2],
        padding: [0; 2],
        dilation: [1; 2],
    };
    let windows = Windows::Sliding([2; 2], window);
    let pooled = draft.b.push(Pool2d::new(PoolKind::Average, windows), &[image]);
    let rows = draft.b.reshape(pooled, vec![Dim::dynamic("B"), Dim::lit(800)]);
    let matrix = |rows, columns| vec![Dim::lit(rows), Dim::lit(columns)];
    let (wide, narrow) = (draft.param(matrix(12, 800)), draft.param(matrix(6, 800)));
    let (bias, read) = (draft.param(vec![Dim::lit(12)]), draft.param(matrix(800, 9)));
    let half = draft.param(matrix(800, 7));
    let computed = draft.b.mul(half, half);
    let products = [
        draft.b.linear(rows, wide, Some(bias)),
        draft.b.linear(rows, narrow, None),
        draft.b.matmul(rows, read),
        draft.b.matmul(rows, computed),
    ];
    let mut loss = draft.weigh(rows);
    for product in products {
        let term = draft.weigh(product);
        loss = draft.b.add(loss, term);
    }
    draft.result(loss);
    products.into_iter().for_each(|product| draft.result(product));
    draft.program()
}

#[test]
fn products_of_flattened_images_are_what_they_mean() {
    for batch in [0, 1, 3, 20] {
        let Program { graph, world, .. } = flattened(batch);
        let want = interpret(&graph, &world);
        let turned = simplify(&turn(&graph, Sweeps::Forward));
        let apart = planned(&turned);
        assert_computes(&apart, &world, &want, &format!("{batch} images\n{graph}"));
        let repeated = planner::plan(fuse(&turned, Calls::REPEATED), Reuse::AfterLastUse);
        let unfused = planner::plan(unfused(&turned), Reuse::Never);
        assert_computes(
            &unfused,
            &world,
            &want,
            &format!("{batch} images, traced\n{graph}"),
        );
        for precision in [Precision::F32, Precision::F64] {
            let want = execute(&apart, &world, precision);
            let got = execute(&repeated, &world, precision);
            if let Some(difference) = difference(&got.outputs, &want.outputs, 0.0, 0.0) {
                panic!("{batch} images in {precision}: {difference}\n{graph}");
            }
        }
    }
}

#[test]
fn gradients_of_products_of_flattened_images_are_those_of_differences() {
    let program = flattened(2);
    assert!(assert_gradients(&program, "two images") > 0);
    let joint = joint(&program).expect("there is a gradient");
    let want = interpret(&joint, &program.world);
    assert_computes(&planned(&joint), &program.world, &want, "two images");
}

/// Nothing is copied but the image on its way in, and on its way out to whom wants it flattened.
#[test]
fn no_factor_of_a_flattened_image_is_copied() {
    let turned = simplify(&turn(&flattened(2).graph, Sweeps::Forward));
    for calls in [Calls::Apart, Calls::REPEATED] {
        let plan = planner::plan(fuse(&turned, calls), Reuse::AfterLastUse);
        let copies = plan
            .kernels
            .iter()
            .filter(|kernel| matches!(kernel.task, Task::Copy));
        assert_eq!(copies.count(), 2, "{plan}");
        let packs = plan
            .kernels
            .iter()
            .filter(|kernel| matches!(kernel.task, Task::Pack(_)));
        let expected = match calls {
            Calls::Apart => 0,
            Calls::Repeated { .. } => 3,
        };
        assert_eq!(packs.count(), expected, "{plan}");
    }
}
