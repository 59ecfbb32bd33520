//! Every operation of the op table against central differences, in f64, over sweeps of sizes.
//!
//! The functions come from the table's samples (`op_samples!`): what is checked is the whole path from source text through the
//! compiler to the kernels.

#![allow(missing_docs)]

#[path = "common/samples.rs"]
mod samples;

use ndarray::{ArrayD, IxDyn};
use samples::{Numbers, Value, arguments, host, index_bound};
use tapeless::prelude::*;
use tapeless::rt::InputKind;

tapeless::op_samples!();

/// The loss in train mode at one and the same step, so that random masks repeat.
fn loss(index: usize, work: &mut Workspace, values: &[Value]) -> Result<f64> {
    let mut model = OpSamples::builder(&Device::cpu())
        .seed(7)
        .precision(Precision::F64)
        .build()?;
    model
        .core_mut()
        .grad(index, work, &host(values), &[], Accumulate::Overwrite)
}

/// Central differences of the loss along every element of argument `k`.
fn differences(index: usize, work: &mut Workspace, values: &[Value], k: usize) -> Result<ArrayD<f64>> {
    const H: f64 = 1e-5;
    let Value::Float(x) = &values[k] else {
        unreachable!("only floats are differentiated")
    };
    let mut slopes = ArrayD::zeros(x.raw_dim());
    for (place, slope) in slopes.indexed_iter_mut() {
        let mut at = |step: f64| -> Result<f64> {
            let mut moved = values.to_vec();
            if let Value::Float(x) = &mut moved[k] {
                x[&place] += step;
            }
            loss(index, work, &moved)
        };
        *slope = (8.0 * (at(H)? - at(-H)?) - (at(2.0 * H)? - at(-2.0 * H)?)) / (12.0 * H);
    }
    Ok(slopes)
}

fn norm(x: &ArrayD<f64>) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// What is wrong with the gradients of one sample at one row of sizes, if anything.
fn check(name: &str, dims: &[usize], domain: (f64, f64)) -> Result<Vec<String>> {
    let mut model = OpSamples::builder(&Device::cpu())
        .seed(7)
        .precision(Precision::F64)
        .build()?;
    let index = model.core().function(&format!("{name}_probed"))?;
    let mut numbers = Numbers(dims.iter().sum::<usize>() as u64);
    let function = &model.core().program().functions[index];
    let values = arguments(function, dims, domain, index_bound(dims), &mut numbers);
    let mut work = model.core().workspace(index, dims)?;
    work.start_profile();
    model
        .core_mut()
        .grad(index, &mut work, &host(&values), &[], Accumulate::Overwrite)?;
    // An error where a kernel does not bind its buffers exactly once.
    work.stop_profile()?;
    let inputs = model.core().program().functions[index].inputs;
    let mut wrong = Vec::new();
    for (k, input) in inputs.iter().enumerate() {
        let is_argument = input.kind == InputKind::Float && input.name != "probe";
        let Some(found) = is_argument.then(|| work.input_grad(input.name)).transpose()? else {
            continue;
        };
        let mut scratch = model.core().workspace(index, dims)?;
        let expected = differences(index, &mut scratch, &values, k)?;
        let error = norm(&(&found - &expected)) / norm(&found).max(norm(&expected)).max(1e-3);
        if error.is_nan() || error > 1e-6 {
            wrong.push(format!(
                "{name} {dims:?}: gradient of `{}` off by {error:.1e}",
                input.name
            ));
        }
    }
    Ok(wrong)
}

#[test]
fn gradients_of_all_samples_agree_with_differences() {
    let mut wrong = Vec::new();
    let mut n_checked = 0;
    for (name, sizes, domain, has_gradient) in SAMPLES {
        for dims in sizes.iter().filter(|_| *has_gradient) {
            match check(name, dims, *domain) {
                Ok(found) => wrong.extend(found),
                Err(error) => wrong.push(format!("{name} {dims:?}: {error}")),
            }
            n_checked += 1;
        }
    }
    assert!(n_checked > 100, "only {n_checked} checks were made");
    assert!(
        wrong.is_empty(),
        "{} of {n_checked} fail:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The result of a plain call, if it is an array of floats; under a profile, which fails where a kernel does not bind its
/// buffers exactly once.
fn run(model: &OpSamples, index: usize, dims: &[usize], values: &[Value]) -> Result<Option<ArrayD<f64>>> {
    let mut work = model.core().workspace(index, dims)?;
    work.start_profile();
    let array = model
        .core()
        .call_in(index, &mut work, &host(values), &[])?
        .array::<f64, IxDyn>(0)
        .ok();
    work.stop_profile()?;
    Ok(array)
}

#[test]
fn f32_agrees_with_f64_on_all_samples() {
    let build = |precision| {
        OpSamples::builder(&Device::cpu())
            .seed(7)
            .precision(precision)
            .build()
            .unwrap()
    };
    let (single, double) = (build(Precision::F32), build(Precision::F64));
    let mut wrong = Vec::new();
    for (name, sizes, domain, _) in SAMPLES {
        let index = single.core().function(name).unwrap();
        for dims in *sizes {
            let function = &single.core().program().functions[index];
            let values = arguments(function, dims, *domain, index_bound(dims), &mut Numbers(3));
            let narrow: Vec<Value> = values.into_iter().map(Value::narrow).collect();
            match (
                run(&single, index, dims, &narrow),
                run(&double, index, dims, &narrow),
            ) {
                (Ok(Some(a)), Ok(Some(b))) => {
                    let error = norm(&(&a - &b)) / norm(&b).max(1e-2);
                    if error.is_nan() || error > 1e-4 {
                        wrong.push(format!("{name} {dims:?}: off by {error:.1e}"));
                    }
                }
                (Ok(_), Ok(_)) => {}
                (Err(error), _) | (_, Err(error)) => wrong.push(format!("{name} {dims:?}: {error}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} fail:\n{}", wrong.len(), wrong.join("\n"));
}
