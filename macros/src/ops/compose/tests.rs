use crate::ir::{DType, Operand};
use crate::ops::testkit::{builder, call, error, input, text, typed, whole};

#[test]
fn activations_keep_the_type() {
    for surface in super::ACTIVATIONS {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "4"]);
        let options: &[(&str, Operand)] = if surface.name == "clamp" {
            &[("min", whole(0))]
        } else {
            &[]
        };
        let y = call(&mut b, surface.name, &[Operand::Tensor(x)], options).unwrap();
        assert_eq!(typed(&b, y), "float[B, 4]", "{}", surface.name);
    }
}

#[test]
fn a_clamp_has_a_bound() {
    let mut b = builder();
    let x = input(&mut b, DType::Float, &["B"]);
    let mistake = call(&mut b, "clamp", &[Operand::Tensor(x)], &[]).unwrap_err();
    assert!(text(&mistake).starts_with("`clamp` takes a lower bound, an upper bound, or both"));
}

#[test]
fn unknown_options_are_named() {
    let mut b = builder();
    let x = input(&mut b, DType::Float, &["B"]);
    let mistake = call(&mut b, "elu", &[Operand::Tensor(x)], &[("slope", whole(1))]).unwrap_err();
    assert_eq!(mistake.message, "there is no option `slope`");
    assert_eq!(
        mistake.help.as_deref(),
        Some("it is written `x.elu(alpha = 1.0)`")
    );
}

#[test]
fn losses_do_not_broadcast() {
    for name in ["mse", "l1", "smooth_l1", "huber", "mse_loss", "huber_loss"] {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "1"]);
        let t = input(&mut b, DType::Float, &["B"]);
        call(&mut b, name, &[Operand::Tensor(x), Operand::Tensor(t)], &[]).unwrap();
        let message = error(&b);
        assert!(
            message.contains(name) && message.contains("losses never broadcast"),
            "{message}"
        );
    }
}

#[test]
fn losses_are_reduced() {
    let mut b = builder();
    let x = input(&mut b, DType::Float, &["B", "3"]);
    let t = input(&mut b, DType::Float, &["B", "3"]);
    let pair = [Operand::Tensor(x), Operand::Tensor(t)];
    let mean = call(&mut b, "huber", &pair, &[]).unwrap();
    assert_eq!(typed(&b, mean), "float[]");
    let none = call(
        &mut b,
        "mse",
        &pair,
        &[("reduction", Operand::Text("none".into()))],
    )
    .unwrap();
    assert_eq!(typed(&b, none), "float[B, 3]");
}
