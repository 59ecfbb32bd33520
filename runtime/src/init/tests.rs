//! Distributions by their moments, bounds and orthogonality; each test of a statistic allows five standard
//! errors of it.

use super::truncated::erf_inverse;
use super::*;

const KEY: Key = Key { seed: 42, stream: 7 };

fn values(init: Init, shape: &[usize]) -> Vec<f64> {
    let mut out = vec![f64::NAN; shape.iter().product()];
    init.fill(shape, KEY, &mut out).unwrap();
    out
}

/// Mean and standard deviation.
fn moments(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    (
        mean,
        (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt(),
    )
}

#[test]
fn uniform_numbers_are_those_of_the_stream_at_any_length() {
    let stream = KEY.stream(0);
    for len in [0, 1, 2, 31, 32, 33, 100] {
        let numbers = values(Init::Uniform { low: -0.5, high: 2.0 }, &[len]);
        let expected: Vec<f64> = (0..len as u64)
            .map(|i| -0.5 + 2.5 * stream.uniform_f64(i))
            .collect();
        assert_eq!(numbers, expected);
    }
}

fn assert_normal(x: &[f64], mean: f64, std: f64) {
    let (m, s) = moments(x);
    let n = x.len() as f64;
    assert!((m - mean).abs() < 5.0 * std / n.sqrt(), "mean {m}, want {mean}");
    assert!(
        (s - std).abs() < 5.0 * std / (2.0 * n).sqrt(),
        "deviation {s}, want {std}"
    );
    let within = x.iter().filter(|&x| (x - mean).abs() < std).count() as f64 / n;
    assert!(
        (within - 0.682_689).abs() < 5.0 * (0.2166 / n).sqrt(),
        "{within} within one deviation"
    );
}

/// The bound is kept, nearly reached at both ends, and the moments are those of U(-bound, bound).
fn assert_uniform(x: &[f64], bound: f64) {
    let n = x.len() as f64;
    assert!(x.iter().all(|x| x.abs() <= bound));
    let reach = |sign: f64| x.iter().fold(f64::MIN, |largest, x| largest.max(sign * x));
    assert!(reach(1.0) > bound * (1.0 - 40.0 / n) && reach(-1.0) > bound * (1.0 - 40.0 / n));
    let (m, s) = moments(x);
    let std = bound / 3f64.sqrt();
    assert!(m.abs() < 5.0 * std / n.sqrt(), "mean {m}");
    assert!(
        (s - std).abs() < 5.0 * std * (0.2 / n).sqrt(),
        "deviation {s}, want {std}"
    );
}

#[test]
fn constants() {
    assert_eq!(values(Init::Zeros, &[2, 2]), [0.0; 4]);
    assert_eq!(values(Init::Ones, &[3]), [1.0; 3]);
    assert_eq!(values(Init::Constant(-2.5), &[]), [-2.5]);
}

#[test]
fn uniform_and_normal() {
    let x = values(Init::Uniform { low: 3.0, high: 5.0 }, &[100_000]);
    assert_uniform(&x.iter().map(|x| x - 4.0).collect::<Vec<_>>(), 1.0);
    assert_normal(
        &values(
            Init::Normal {
                mean: -1.0,
                std: 0.02,
            },
            &[100_001],
        ),
        -1.0,
        0.02,
    );
    assert_normal(&values(Init::EMBEDDING, &[1000, 64]), 0.0, 1.0);
}

#[test]
fn fans_are_pytorchs() {
    // A convolution of 16 channels to 64 with kernel 3 x 5: fan in 240, fan out 960.
    let shape = [64, 16, 3, 5];
    assert_uniform(
        &values(Init::XavierUniform { gain: 2.0 }, &shape),
        2.0 * (6.0f64 / 1200.0).sqrt(),
    );
    assert_normal(
        &values(Init::XavierNormal { gain: 1.0 }, &shape),
        0.0,
        (2.0f64 / 1200.0).sqrt(),
    );
    assert_uniform(
        &values(
            Init::KaimingUniform {
                a: 0.0,
                fan: Fan::Out,
            },
            &shape,
        ),
        (6.0f64 / 960.0).sqrt(),
    );
    let a = 0.2;
    let std = gain::leaky_relu(a) / 240f64.sqrt();
    assert_normal(&values(Init::KaimingNormal { a, fan: Fan::In }, &shape), 0.0, std);
}

#[test]
fn defaults_are_pytorchs() {
    assert_uniform(&values(Init::LINEAR_WEIGHT, &[128, 784]), 1.0 / 28.0);
    assert_uniform(&values(Init::LINEAR_WEIGHT, &[32, 64, 5, 5]), 1.0 / 40.0);
    assert_uniform(&values(Init::LinearBias { fan_in: 784 }, &[4096]), 1.0 / 28.0);
    assert_eq!(values(Init::LinearBias { fan_in: 0 }, &[3]), [0.0; 3]);
}

#[test]
fn truncated_normal_values_lie_within_their_ends() {
    let init = Init::TruncatedNormal {
        mean: 0.0,
        std: 1.0,
        low: -2.0,
        high: 2.0,
    };
    let x = values(init, &[200_000]);
    assert!(x.iter().all(|x| x.abs() <= 2.0));
    let (mean, std) = moments(&x);
    // Variance 1 - 4 phi(2) / (2 Phi(2) - 1) = 0.773741.
    assert!(
        mean.abs() < 5.0 * 0.88 / 200_000f64.sqrt() && (std - 0.879_626).abs() < 0.006,
        "{mean} {std}"
    );

    // One side only, and far from the mean: the density falls from the near end.
    let init = Init::TruncatedNormal {
        mean: 0.0,
        std: 1.0,
        low: 1.0,
        high: f64::INFINITY,
    };
    let (mean, _) = moments(&values(init, &[200_000]));
    // phi(1) / (1 - Phi(1)).
    assert!(
        (mean - 1.525_135).abs() < 5.0 * 0.4463 / 200_000f64.sqrt(),
        "{mean}"
    );

    let init = Init::TruncatedNormal {
        mean: 0.0,
        std: 1.0,
        low: 40.0,
        high: 41.0,
    };
    assert!(values(init, &[100]).iter().all(|x| (40.0..=41.0).contains(x)));
    let init = Init::TruncatedNormal {
        mean: 3.0,
        std: 0.0,
        low: 1.0,
        high: 3.0,
    };
    assert_eq!(values(init, &[4]), [3.0; 4]);
}

#[test]
fn the_inverse_of_erf_inverts() {
    for i in -9999..=9999 {
        let y = f64::from(i) / 10_000.0;
        let x = erf_inverse(y);
        assert!(
            (crate::cpu::vecmath::erf64(x) - y).abs() <= 4.0e-16 * (1.0 + y.abs()),
            "at {y}"
        );
    }
    assert_eq!(erf_inverse(1.0), f64::INFINITY);
}

#[test]
fn orthogonal_matrices_are_orthogonal() {
    for shape in [
        vec![20, 20],
        vec![7, 33],
        vec![33, 7],
        vec![8, 3, 2, 2],
        vec![1, 5],
        vec![5, 1],
    ] {
        let x = values(Init::Orthogonal { gain: 3.0 }, &shape);
        let (rows, cols) = (shape[0], x.len() / shape[0]);
        let at = |r: usize, c: usize| x[r * cols + c];
        let n = rows.min(cols);
        for i in 0..n {
            for j in 0..n {
                let product: f64 = if rows < cols {
                    (0..cols).map(|c| at(i, c) * at(j, c)).sum()
                } else {
                    (0..rows).map(|r| at(r, i) * at(r, j)).sum()
                };
                let want = if i == j { 9.0 } else { 0.0 };
                assert!(
                    (product - want).abs() < 1.0e-13,
                    "{shape:?}: ({i}, {j}) is {product}"
                );
            }
        }
    }
}

#[test]
fn values_depend_on_seed_and_path_and_precision_only_rounds() {
    let draw = |key: Key| {
        let mut out = [0.0f64; 9];
        Init::EMBEDDING.fill(&[3, 3], key, &mut out).unwrap();
        out
    };
    let key = Key::for_path(1, "fc1.weight");
    assert_eq!(draw(key), draw(key));
    assert_ne!(draw(key), draw(Key::for_path(1, "fc2.weight")));
    assert_ne!(draw(key), draw(Key::for_path(2, "fc1.weight")));
    assert_ne!(draw(key), draw(key.at(1)));
    let mut single = [0.0f32; 9];
    Init::EMBEDDING.fill(&[3, 3], key, &mut single).unwrap();
    assert_eq!(single, draw(key).map(|x| x as f32));
}

#[test]
fn empty_parameters_are_no_problem() {
    for init in [
        Init::LINEAR_WEIGHT,
        Init::XavierNormal { gain: 1.0 },
        Init::Orthogonal { gain: 1.0 },
        Init::EMBEDDING,
    ] {
        for shape in [[0, 5], [5, 0], [0, 0]] {
            assert_eq!(values(init, &shape), [0.0; 0]);
        }
    }
}

#[test]
fn mistakes_are_explained() {
    let fill = |init: Init, shape: &[usize], len: usize| {
        init.fill(shape, KEY, &mut vec![0.0f32; len])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        fill(Init::Zeros, &[2, 3], 5),
        "a parameter of shape [2, 3] does not fit a buffer of 5 elements"
    );
    assert!(fill(Init::Zeros, &[usize::MAX, 2], 5).contains("does not fit"));
    let error = fill(Init::XavierUniform { gain: 1.0 }, &[4], 4);
    assert!(
        error.contains("at least two axes [out, in, ...] and got shape [4]"),
        "{error}"
    );
    let error = Init::LINEAR_WEIGHT.fill(&[4], KEY, &mut [0.0f32; 4]).unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::Shape);
    assert!(fill(Init::Orthogonal { gain: 1.0 }, &[4], 4).contains("two axes"));
    for init in [
        Init::Uniform { low: 1.0, high: 0.0 },
        Init::Uniform {
            low: 0.0,
            high: f64::INFINITY,
        },
        Init::Normal { mean: 0.0, std: -1.0 },
        Init::Normal {
            mean: f64::NAN,
            std: 1.0,
        },
        Init::TruncatedNormal {
            mean: 0.0,
            std: 1.0,
            low: f64::NAN,
            high: 0.0,
        },
        Init::KaimingNormal {
            a: f64::NAN,
            fan: Fan::In,
        },
        Init::XavierNormal { gain: -1.0 },
    ] {
        let error = fill(init, &[2, 2], 4);
        assert!(error.contains("must be finite"), "{error}");
    }
}
