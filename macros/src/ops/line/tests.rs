use super::*;
use crate::ops::testkit::{builder, call, error, input, text, typed, whole};

/// The type of the result, or the error.
fn result(name: &str, shapes: &[&[&str]], sizes: &[Operand], named: &[(&str, Operand)]) -> String {
    let mut b = builder();
    let mut args: Vec<Operand> = Vec::new();
    for shape in shapes {
        args.push(Operand::Tensor(input(&mut b, DType::Float, shape)));
    }
    args.extend_from_slice(sizes);
    match call(&mut b, name, &args, named) {
        Ok(y) if b.errors.is_empty() => typed(&b, y),
        Ok(_) => error(&b),
        Err(error) => text(&error),
    }
}

fn conv(x: &[&str], w: &[&str], named: &[(&str, Operand)]) -> String {
    result("conv1d", &[x, w], &[], named)
}

#[test]
fn shapes_follow_pytorch() {
    assert_eq!(
        conv(&["B", "4", "200"], &["32", "4", "12"], &[]),
        "float[B, 32, 189]"
    );
    let options = [("stride", whole(2)), ("padding", whole(1))];
    assert_eq!(
        conv(&["B", "3", "31"], &["8", "3", "3"], &options),
        "float[B, 8, 16]"
    );
    let options = [("groups", whole(2)), ("dilation", whole(3))];
    assert_eq!(
        conv(&["B", "4", "T"], &["6", "2", "3"], &options),
        "float[B, 6, T - 6]"
    );
    let sequence: &[&str] = &["B", "8", "25"];
    let pool = |name, sizes: &[Operand], named: &[_]| result(name, &[sequence], sizes, named);
    assert_eq!(pool("max_pool1d", &[whole(2)], &[]), "float[B, 8, 12]");
    let options = [("stride", whole(2)), ("padding", whole(1))];
    assert_eq!(pool("max_pool1d", &[whole(3)], &options), "float[B, 8, 13]");
    assert_eq!(
        pool("avg_pool1d", &[whole(2)], &[("stride", whole(1))]),
        "float[B, 8, 24]"
    );
    assert_eq!(pool("adaptive_avg_pool1d", &[whole(7)], &[]), "float[B, 8, 7]");
    assert_eq!(pool("global_avg_pool1d", &[], &[]), "float[B, 8]");
}

#[test]
fn mistakes_speak_of_sequences() {
    assert_eq!(
        conv(&["B", "3", "8"], &["6", "4", "3"], &[]),
        "`conv1d` expected `4` input channels, found `3` (axis 1 of float[B, 3, 8]) (the weight is float[6, 4, 3], in \
         1 group(s))"
    );
    assert_eq!(
        conv(&["B", "4", "2"], &["6", "4", "3"], &[]),
        "the window of `conv1d` covers 3 steps, but the padded sequence has only 2 (make `padding` larger, or the \
         kernel smaller)"
    );
    assert_eq!(
        conv(&["B", "4", "8"], &["5", "2", "3"], &[("groups", whole(2))]),
        "5 output channels of `conv1d` cannot be divided into 2 groups"
    );
    assert_eq!(
        conv(&["B", "4", "8", "8"], &["5", "4", "3"], &[]),
        "`conv1d` takes sequences [B, C, L] and a weight [O, C / groups, K], found float[B, 4, 8, 8] and float[5, 4, 3]"
    );
    assert_eq!(
        conv(&["B", "4", "8"], &["5", "4", "3"], &[("stride", whole(0))]),
        "`stride` must be at least 1, found 0"
    );
    assert_eq!(
        result("conv1d", &[&["B", "4", "8"], &["5", "4", "3"], &["4"]], &[], &[]),
        "`conv1d` expected a bias for each of the 5 output channels, found float[4]"
    );
    assert_eq!(
        result("max_pool1d", &[&["B", "4", "2"]], &[whole(3)], &[]),
        "the window of `max_pool1d` covers 3 steps, but the padded sequence has only 2 (make `padding` larger, or the \
         kernel smaller)"
    );
    assert_eq!(
        result(
            "avg_pool1d",
            &[&["B", "1", "8"]],
            &[whole(2)],
            &[("padding", whole(2))]
        ),
        "`padding` of `avg_pool1d` is at most half the kernel of 2, found 2 (a window in the padding alone would see \
         nothing)"
    );
    assert!(
        result(
            "avg_pool1d",
            &[&["B", "1", "8"]],
            &[whole(2)],
            &[("dilation", whole(2))]
        )
        .starts_with("`avg_pool1d` has no `dilation`")
    );
    assert_eq!(
        result("global_avg_pool1d", &[&["9"]], &[], &[]),
        "`global_avg_pool1d` takes float sequences [.., C, L], found float[9]"
    );
    assert!(
        result("max_pool1d", &[&["B", "1", "8"]], &[], &[])
            .starts_with("`kernel` should be a literal above 0")
    );
}

/// The views around a convolution cost nothing, and its bias still joins its kernel.
#[test]
fn a_sequence_becomes_an_image_of_one_row() {
    let mut b = builder();
    let x = input(&mut b, DType::Float, &["B", "4", "8"]);
    let w = input(&mut b, DType::Float, &["5", "4", "3"]);
    let y = call(&mut b, "conv1d", &[Operand::Tensor(x), Operand::Tensor(w)], &[]).unwrap();
    let names: Vec<&str> = b
        .graph
        .iter()
        .skip(2)
        .map(|(_, node)| node.op.rule().name())
        .collect();
    assert_eq!(names, ["reshape", "reshape", "conv2d", "reshape"]);
    assert_eq!(typed(&b, y), "float[B, 5, 6]");
}
