use crate::ir::{DType, Operand, Scalar};
use crate::ops::testkit::{builder, call, input, text, typed, whole};
use crate::shape::Dim;

#[test]
fn axes_vanish_or_stay_with_size_one() {
    let mut b = builder();
    let x = input(&mut b, DType::Float, &["B", "3", "4"]);
    let tensor = [Operand::Tensor(x)];
    let pair = Operand::Tuple(vec![whole(0), whole(-1)]);
    let cases: [(&[(&str, Operand)], &str); 5] = [
        (&[], "float[]"),
        (&[("axis", whole(1))], "float[B, 4]"),
        (&[("axis", whole(-1)), ("keepdim", Operand::Scalar(Scalar::lit(1.0)))], "float[B, 3, 1]"),
        (&[("axes", pair.clone())], "float[3]"),
        (&[("axis", pair), ("keepdim", Operand::Scalar(Scalar::lit(1.0)))], "float[1, 3, 1]"),
    ];
    for surface in super::surface::SURFACES {
        for (options, want) in &cases {
            let y = call(&mut b, surface.name, &tensor, options).unwrap();
            assert_eq!(&typed(&b, y), want, "{}", surface.name);
        }
    }
}

#[test]
fn wrong_axes_and_kinds_are_named() {
    let mut b = builder();
    let x = input(&mut b, DType::Float, &["B", "3"]);
    let n = input(&mut b, DType::Int, &["B"]);
    let mistake = call(&mut b, "mean", &[Operand::Tensor(x)], &[("axis", whole(2))]).unwrap_err();
    assert_eq!(mistake.message, "axis 2 of a tensor with 2 axes");
    let mistake = call(&mut b, "sum", &[Operand::Tensor(n)], &[]).unwrap_err();
    assert!(text(&mistake).contains("takes a float tensor, found int[B]"), "{}", text(&mistake));
    let mistake = call(&mut b, "var", &[Operand::Tensor(x)], &[("ddof", whole(1))]).unwrap_err();
    assert_eq!(mistake.message, "there is no option `ddof`");
}

#[test]
fn the_mean_divides_by_the_actual_size() {
    let mut b = builder();
    let x = input(&mut b, DType::Float, &["B", "3"]);
    let all: Vec<usize> = vec![0, 1];
    let y = b.mean(x, &all);
    let nodes: Vec<String> = b.graph.iter().map(|(_, node)| node.op.rule().attributes()).collect();
    let count = Dim::dynamic("B") * 3;
    assert!(nodes.contains(&format!("(1.0 / {count})")), "{nodes:?}");
    assert_eq!(typed(&b, y), "float[]");
}

#[test]
fn softmax_argmax_and_cumsum_name_a_wrong_axis() {
    for name in ["softmax", "log_softmax", "argmax", "argmin", "cumsum"] {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "3"]);
        let mistake = call(&mut b, name, &[Operand::Tensor(x)], &[("axis", whole(5))]).unwrap_err();
        assert_eq!(mistake.message, "axis 5 of a tensor with 2 axes", "{name}");
        let missing = call(&mut b, name, &[Operand::Tensor(x)], &[]).unwrap_err();
        assert!(missing.message.contains("`axis` should be an axis"), "{name}: {}", missing.message);
        let y = call(&mut b, name, &[Operand::Tensor(x)], &[("axis", whole(-1))]).unwrap();
        let want = if name.starts_with("arg") { "int[B]" } else { "float[B, 3]" };
        assert_eq!(typed(&b, y), want);
    }
}

#[test]
fn concat_and_stack() {
    let mut b = builder();
    let x = input(&mut b, DType::Float, &["B", "3"]);
    let y = input(&mut b, DType::Float, &["B", "4"]);
    let list = |values: &[_]| [Operand::Tuple(values.iter().map(|v| Operand::Tensor(*v)).collect())];
    let joined = call(&mut b, "concat", &list(&[x, y, x]), &[("axis", whole(1))]).unwrap();
    assert_eq!(typed(&b, joined), "float[B, 10]");
    let stacked = call(&mut b, "stack", &list(&[x, x]), &[]).unwrap();
    assert_eq!(typed(&b, stacked), "float[2, B, 3]");
    call(&mut b, "concat", &list(&[x, y]), &[("axis", whole(0))]).unwrap();
    assert_eq!(b.errors[0].1.message, "`concat` along axis 0 of float[B, 3] and float[B, 4]");
}
