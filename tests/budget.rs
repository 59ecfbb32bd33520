//! Budgets that hold: what the compiler counts is what a step takes.

#![allow(missing_docs)]

use tapeless::prelude::*;

const WIDTH: usize = 128;

/// The limits are those that the test below measures, rounded up to the next KiB.
#[model(max_memory = "862 KiB", dims(B = 64))]
pub struct Literal {
    fc1: Linear<784, 128>,
    fc2: Linear<128, 10>,
}

#[model]
impl Literal {
    pub fn logits<B: Dim>(&self, x: Tensor<B, 784>) -> Tensor<B, 10> {
        self.fc2(self.fc1(x).relu())
    }

    pub fn loss<B: Dim>(&self, x: Tensor<B, 784>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.logits(x), label)
    }
}

/// The same with a constant, which rustc checks.
#[model]
pub struct Constant {
    fc1: Linear<784, WIDTH>,
    fc2: Linear<WIDTH, 10>,
}

#[model]
impl Constant {
    #[model(max_memory = "862 KiB", dims(B = WIDTH / 2))]
    pub fn loss<B: Dim>(&self, x: Tensor<B, 784>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.fc2(self.fc1(x).relu()), label)
    }
}

#[test]
fn a_step_takes_what_its_budget_says() {
    let device = Device::cpu();
    let (literal, constant) = (
        Literal::new(&device, 1).unwrap(),
        Constant::new(&device, 1).unwrap(),
    );
    let work = literal.loss_workspace(64).unwrap();
    assert_eq!(work.bytes(), constant.loss_workspace(64).unwrap().bytes());
    let bytes = 4 * literal.n_params() + work.bytes();
    let limit = 862 << 10;
    assert!(bytes <= limit + limit / 100, "{bytes} of {limit}");
    assert!(
        bytes + (limit / 100) > limit,
        "the limit of the test is not near: {bytes} of {limit}"
    );
}
