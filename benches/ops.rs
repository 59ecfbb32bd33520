//! Every operation of the op table, forward and with its gradient.
//!
//! What is measured are the table's samples (`op_samples!`), the small programs of which its tests are made too, so that a new
//! operation has a bench without a line here. `cargo bench --bench ops -- softmax` takes those with `softmax` in their name.
//!
//! A sample's own sizes are small and odd. The bench doubles the smallest dynamic dimension until the schedule lists enough
//! bytes or operations; throughput is in the bytes that the schedule lists.

// The model of the samples is a public type of this file.
#![allow(missing_docs)]

#[path = "../tests/common/samples.rs"]
mod samples;

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use samples::{Numbers, Value, arguments, host, index_bound};
use tapeless::prelude::*;
use tapeless::rt::{Code, Function};

tapeless::op_samples!();

/// Numbers read and written above which a program is large enough: 1 MiB in f32, beyond the nearest caches.
const ELEMENTS: u64 = 1 << 18;

/// Floating point operations above which it is, however few numbers it moves: about half a millisecond.
const FLOPS: u64 = 1 << 25;

/// Floating point operations and numbers moved of one run.
fn work(function: &Function, code: &Code, dims: &[usize]) -> (u64, u64) {
    let kernels = code.kernel_rows(&function.sizes(dims, &[]));
    let flops = kernels.iter().map(|kernel| kernel.flops).sum();
    (flops, kernels.iter().map(|kernel| kernel.elements).sum())
}

/// The row of sizes with the most elements.
fn largest<'a>(rows: &[&'a [usize]]) -> &'a [usize] {
    let largest = rows.iter().max_by_key(|row| row.iter().product::<usize>());
    largest.expect("a sample has a row of sizes")
}

/// The sizes of a bench: a sample's own, grown.
fn grown(function: &Function, code: &Code, dims: &[usize]) -> Vec<usize> {
    let mut dims = dims.to_vec();
    loop {
        let (flops, elements) = work(function, code, &dims);
        let Some(smallest) = dims.iter_mut().filter(|dim| **dim > 0).min() else {
            return dims;
        };
        if elements >= ELEMENTS || flops >= FLOPS {
            return dims;
        }
        *smallest *= 2;
    }
}

/// A sample at the sizes of a bench.
struct Subject {
    model: OpSamples,
    index: usize,
    dims: Vec<usize>,
    values: Vec<Value>,
}

impl Subject {
    fn new(name: &str, rows: &[&[usize]], domain: (f64, f64), code_of: fn(&Function) -> &Code) -> Self {
        let model = OpSamples::new(&Device::cpu().threads(1), 7).expect("a model without parameters is made");
        let index = model.core().function(name).expect("a sample is a function");
        let function = &model.core().program().functions[index];
        let own = largest(rows);
        let dims = grown(function, code_of(function), own);
        // Indices stay below a sample's own sizes: an axis that they are for may not have grown.
        let values = arguments(function, &dims, domain, index_bound(own), &mut Numbers(1));
        Self {
            model,
            index,
            dims,
            values: values.into_iter().map(Value::narrow).collect(),
        }
    }

    fn workspace(&self) -> Workspace {
        let work = self.model.core().workspace(self.index, &self.dims);
        work.expect("a megabyte fits into memory")
    }

    fn id(&self, name: &str) -> BenchmarkId {
        let dims: Vec<String> = self.dims.iter().map(usize::to_string).collect();
        BenchmarkId::new(name, dims.join("x"))
    }

    fn throughput(&self, code_of: fn(&Function) -> &Code) -> Throughput {
        let function = &self.model.core().program().functions[self.index];
        Throughput::Bytes(work(function, code_of(function), &self.dims).1 * size_of::<f32>() as u64)
    }
}

fn forward(c: &mut Criterion) {
    let mut group = c.benchmark_group("forward");
    for (name, rows, domain, _) in SAMPLES {
        let subject = Subject::new(name, rows, *domain, |function| &function.eval);
        let (core, mut work) = (subject.model.core(), subject.workspace());
        group.throughput(subject.throughput(|function| &function.eval));
        group.bench_function(subject.id(name), |b| {
            let args = host(&subject.values);
            b.iter(|| {
                let outputs = core.call_in(subject.index, &mut work, &args, &[]);
                outputs.expect("a sample takes its arguments");
            });
        });
    }
    group.finish();
}

/// The gradient with respect to every float argument, forward sweep included, of the result's sum with random weights.
fn gradient(c: &mut Criterion) {
    fn train(function: &Function) -> &Code {
        function.train.as_ref().expect("the function has a gradient")
    }
    let mut group = c.benchmark_group("gradient");
    for (name, rows, domain, _) in SAMPLES.iter().filter(|sample| sample.3) {
        let mut subject = Subject::new(&format!("{name}_probed"), rows, *domain, train);
        let mut work = subject.workspace();
        group.throughput(subject.throughput(train));
        group.bench_function(subject.id(name), |b| {
            let (core, args) = (subject.model.core_mut(), host(&subject.values));
            b.iter(|| {
                core.grad(subject.index, &mut work, &args, &[], Accumulate::Overwrite)
                    .expect("a sample has a finite gradient")
            });
        });
    }
    group.finish();
}

/// Short measurements: there are some hundreds, and each takes about a millisecond.
fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
        .nresamples(1000)
}

criterion_group! {
    name = benches;
    config = short();
    targets = forward, gradient
}
criterion_main!(benches);
