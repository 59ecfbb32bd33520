//! Gradients against differences.

use super::super::close::{distance, norm};
use super::super::differences::derivatives;
use super::*;

/// Relative error of gradients, by norm.
const TOLERANCE: f64 = 1e-6;

/// Elements of a variable that are compared.
const MOST: usize = 8;

/// Compares every wanted gradient of a program with differences; gives how many numbers were compared.
#[track_caller]
pub(super) fn assert_gradients(program: &Program, what: &str) -> usize {
    let Some(joint) = joint(program) else { return 0 };
    let outputs = interpret(&joint, &program.world);
    let mut n_compared = 0;
    for variable in program.variables() {
        let elements = spread(variable.value(&program.world).len());
        let differences = derivatives(&program.graph, &program.world, variable, &elements);
        // What the loss does not depend on has no gradient, or one of zeros.
        let gradient = match outputs.get(&variable.output()) {
            Some(gradient) => {
                let all = gradient.numbers();
                elements.iter().map(|&k| all[k]).collect()
            }
            None => vec![0.0; differences.len()],
        };
        let pairs = gradient
            .iter()
            .zip(&differences)
            .filter_map(|(g, d)| Some((*g, (*d)?)));
        let (gradient, differences): (Vec<f64>, Vec<f64>) = pairs.unzip();
        n_compared += gradient.len();
        // Differences of numbers around 1 have errors around 1e-11, which are a millionth of 1e-5.
        let is_noise = norm(&gradient).max(norm(&differences)) < 3e-5;
        let error = distance(&gradient, &differences);
        assert!(
            is_noise || error <= TOLERANCE,
            "{what}: the gradient of {variable:?} is off by {error:e}\n     gradient {gradient:?}\n  differences \
             {differences:?}\n{joint}"
        );
    }
    n_compared
}

/// At most [`MOST`] of `n` elements, evenly spread: differences cost two evaluations of the program each.
fn spread(n: usize) -> Vec<usize> {
    (0..n.min(MOST)).map(|k| k * n / n.min(MOST)).collect()
}

#[test]
fn gradients_of_random_programs_agree_with_differences() {
    let (mut n_programs, mut n_compared) = (0, 0);
    for seed in SEEDS {
        let n = assert_gradients(&program(seed), &format!("seed {seed}"));
        n_programs += usize::from(n > 0);
        n_compared += n;
    }
    assert!(
        n_programs > 150 && n_compared > 2000,
        "only {n_compared} numbers of {n_programs} programs were compared"
    );
}
