use super::*;
use crate::ops::testkit::{builder, call, error, input, text, typed};

/// Queries, keys and values of these shapes, attended with options.
fn attend(shapes: [&[&str]; 3], options: &[(&str, Operand)]) -> (Builder, Result<Value, ShapeError>) {
    let mut b = builder();
    let operands = shapes.map(|shape| Operand::Tensor(input(&mut b, DType::Float, shape)));
    let y = call(&mut b, "attention", &operands, options);
    (b, y)
}

const SELF: [&[&str]; 3] = [&["B", "H", "T", "16"], &["B", "H", "T", "16"], &["B", "H", "T", "16"]];

fn flag(value: f64) -> Operand {
    Operand::Scalar(Scalar::lit(value))
}

#[test]
fn queries_take_the_features_of_the_values() {
    let (b, y) = attend([&["B", "T", "8"], &["B", "S", "8"], &["B", "S", "5"]], &[]);
    assert_eq!(typed(&b, y.unwrap()), "float[B, T, 5]");
    let (b, y) = attend([&["T", "8"], &["S", "8"], &["S", "8"]], &[("causal", flag(1.0))]);
    assert_eq!(typed(&b, y.unwrap()), "float[T, 8]");
}

#[test]
fn the_scale_is_one_by_the_root_of_the_width() {
    let (b, y) = attend(SELF, &[("causal", flag(1.0))]);
    assert_eq!(b.graph.node(y.unwrap().node).op.rule().attributes(), "scale = 0.25, causal");
    let (b, y) = attend(SELF, &[("scale", flag(0.5))]);
    assert_eq!(b.graph.node(y.unwrap().node).op.rule().attributes(), "scale = 0.5");
}

#[test]
fn dropout_is_for_training() {
    let (b, y) = attend(SELF, &[("dropout", flag(0.1))]);
    let attributes = b.graph.node(y.unwrap().node).op.rule().attributes();
    assert!(attributes.contains("dropout = 0.1, stream = "), "{attributes}");
    let mut b = builder();
    b.mode = Mode::Eval;
    let operands = SELF.map(|shape| Operand::Tensor(input(&mut b, DType::Float, shape)));
    let y = call(&mut b, "attention", &operands, &[("dropout", flag(0.1))]).unwrap();
    assert_eq!(b.graph.node(y.node).op.rule().attributes(), "scale = 0.25");
}

#[test]
fn a_mask_is_broadcast_as_a_view() {
    for (dtype, shape) in [
        (DType::Bool, &["T", "T"][..]),
        (DType::Float, &["H", "1", "T"]),
        (DType::Bool, &["B", "1", "1", "T"]),
        (DType::Float, &["B", "H", "T", "T"]),
    ] {
        let mut b = builder();
        let operands = SELF.map(|shape| Operand::Tensor(input(&mut b, DType::Float, shape)));
        let mask = Operand::Tensor(input(&mut b, dtype, shape));
        let y = call(&mut b, "attention", &operands, &[("mask", mask)]).unwrap();
        assert_eq!(typed(&b, y), "float[B, H, T, 16]");
        let spread = b.graph.node(y.node).inputs[3];
        assert_eq!(b.ty(spread).shape.len(), 4);
    }
}

#[test]
fn cotangents_have_the_types_of_the_operands() {
    for dtype in [DType::Bool, DType::Float] {
        let mut b = builder();
        let shapes: [&[&str]; 3] = [&["B", "T", "8"], &["B", "S", "8"], &["B", "S", "5"]];
        let operands = shapes.map(|shape| Operand::Tensor(input(&mut b, DType::Float, shape)));
        let mask = Operand::Tensor(input(&mut b, dtype, &["T", "S"]));
        let options = [("mask", mask), ("causal", flag(1.0)), ("dropout", flag(0.5))];
        let y = call(&mut b, "attention", &operands, &options).unwrap();
        let node = b.graph.node(y.node).clone();
        let site = Site { inputs: &node.inputs, outputs: &[y, Value { output: 1, ..y }] };
        let Cotangents::Flow(bars) = node.op.rule().grad(&mut b, &site, &[Some(y), None]) else {
            panic!("attention has a gradient");
        };
        let types: Vec<Option<String>> = bars.iter().map(|bar| bar.map(|bar| typed(&b, bar))).collect();
        let mask = (dtype == DType::Float).then(|| "float[B, T, S]".to_owned());
        let of = |text: &str| Some(text.to_owned());
        assert_eq!(types, [of("float[B, T, 8]"), of("float[B, S, 8]"), of("float[B, S, 5]"), mask]);
    }
}

#[test]
fn both_products_are_counted() {
    let (b, y) = attend([&["T", "8"], &["S", "8"], &["S", "5"]], &[]);
    let node = b.graph.node(y.unwrap().node);
    let types: Vec<Type> = node.inputs.iter().map(|v| b.ty(*v).clone()).collect();
    // 2 * 8 for the scores, 2 * 5 for the result, 5 for the softmax.
    assert_eq!(node.op.rule().flops(&types, &node.types).to_string(), "31 * S * T");
}

#[test]
fn mistakes_are_explained() {
    for (shapes, wanted) in [
        (
            [&["B", "T", "8"][..], &["B", "S", "4"], &["B", "S", "8"]],
            "`attention` of queries [B, T, 8] to keys [B, S, 4] and values [B, S, 8]: a query and a key have different \
             numbers of features",
        ),
        (
            [&["B", "T", "8"], &["B", "S", "8"], &["B", "T", "8"]],
            "`attention` of queries [B, T, 8] to keys [B, S, 8] and values [B, T, 8]: there is not one value for each key",
        ),
        (
            [&["2", "T", "8"], &["3", "S", "8"], &["3", "S", "8"]],
            "`attention` of queries [2, T, 8] to keys [3, S, 8] and values [3, S, 8]: their leading axes differ",
        ),
        (
            [&["T", "8"], &["3", "S", "8"], &["3", "S", "8"]],
            "`attention` of queries [T, 8] to keys [3, S, 8] and values [3, S, 8]: they have different numbers of axes",
        ),
    ] {
        let (b, _) = attend(shapes, &[]);
        assert_eq!(
            error(&b),
            format!("{wanted} (queries are [.., Tq, D], keys [.., Tk, D], values [.., Tk, Dv])")
        );
    }
    let (b, _) = attend([&["8"], &["S", "8"], &["S", "8"]], &[]);
    assert!(error(&b).starts_with("`attention` takes float queries [.., T, D], found float[8]"));
    let refused = attend(SELF, &[("dropout", flag(1.5))]).1.unwrap_err();
    assert_eq!(text(&refused), "the dropout rate must be in 0..=1, found 1.5");
}

#[test]
fn a_mask_of_another_shape_is_explained() {
    for (dtype, shape, wanted) in [
        (
            DType::Bool,
            &["3", "T"][..],
            "the mask [3, T] of `attention` does not broadcast to the scores [B, H, T, T] (its last axes are queries and \
             keys; axes in front are heads and batch, each equal or 1)",
        ),
        (
            DType::Float,
            &["1", "B", "H", "T", "T"],
            "the mask [1, B, H, T, T] of `attention` does not broadcast to the scores [B, H, T, T] (its last axes are \
             queries and keys; axes in front are heads and batch, each equal or 1)",
        ),
    ] {
        let mut b = builder();
        let operands = SELF.map(|shape| Operand::Tensor(input(&mut b, DType::Float, shape)));
        let mask = Operand::Tensor(input(&mut b, dtype, shape));
        let refused = call(&mut b, "attention", &operands, &[("mask", mask)]).unwrap_err();
        assert_eq!(text(&refused), wanted);
    }
    let mut b = builder();
    let operands = SELF.map(|shape| Operand::Tensor(input(&mut b, DType::Float, shape)));
    let mask = Operand::Tensor(input(&mut b, DType::Int, &["T", "T"]));
    call(&mut b, "attention", &operands, &[("mask", mask)]).unwrap();
    assert_eq!(
        error(&b),
        "`attention` expects a mask bool[B, H, T, T] or float[B, H, T, T], found int[B, H, T, T]"
    );
}
