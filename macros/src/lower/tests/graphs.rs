//! The graphs of correct models.

use super::{accept, graph};

#[test]
fn arithmetic_and_names_become_nodes() {
    let lowered = accept(
        "struct M {}
        impl M { pub fn f<B: Dim>(&self, x: Tensor<B, 10>, rate: f32) -> Tensor<B, 10> {
            let twice = x + x;
            twice * (1.0 - rate)
        } }",
    );
    assert_eq!(
        graph(&lowered, "f"),
        "%0: float[B, 10] = input[arg0]  // x
%1: float[B, 10] = add(%0, %0)  // twice
%2: float[B, 10] = fill[(1 - rate)]
%3: float[B, 10] = mul(%1, %2)
result 0 = %3
"
    );
}
