//! Looking inside: a function run unfused, with every named value kept.

use std::fmt;

use ndarray::{ArrayD, IxDyn};

use super::StateSource;
use super::arg::HostArg;
use super::outputs::OutputElement;
use crate::dtype::Dtype;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Core;
use crate::program::TraceValue;
use crate::workspace::{Mode, Workspace};

/// Every named intermediate of a call, in the order in which they were computed.
#[derive(Clone, Debug)]
pub struct Trace {
    values: Vec<TracedValue>,
}

/// A named intermediate, and what its elements are like. Statistics are over the finite elements.
#[derive(Clone, Debug)]
pub struct TracedValue {
    /// The user's name, or the layer's.
    pub name: &'static str,
    /// Its elements; integers and truth values as numbers.
    pub array: ArrayD<f64>,
    /// Arithmetic mean; NaN if there is no finite element.
    pub mean: f64,
    /// Standard deviation (divided by the number of elements).
    pub std: f64,
    /// The smallest element.
    pub min: f64,
    /// The largest element.
    pub max: f64,
    /// How many elements are infinite or not a number.
    pub n_non_finite: usize,
}

impl TracedValue {
    fn new(name: &'static str, array: ArrayD<f64>) -> Self {
        let finite = || array.iter().copied().filter(|x| x.is_finite());
        let n_finite = finite().count();
        let mean = finite().sum::<f64>() / n_finite as f64;
        let variance = finite().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n_finite as f64;
        let (min, max) = (
            finite().fold(f64::NAN, f64::min),
            finite().fold(f64::NAN, f64::max),
        );
        let n_non_finite = array.len() - n_finite;
        Self {
            name,
            mean,
            std: variance.sqrt(),
            min,
            max,
            n_non_finite,
            array,
        }
    }

    /// Sizes of its axes.
    pub fn shape(&self) -> &[usize] {
        self.array.shape()
    }
}

impl Trace {
    /// The values in the order in which they were computed.
    pub fn values(&self) -> &[TracedValue] {
        &self.values
    }

    /// The last value of a name. (A name that is bound again, as `x` often is, occurs several times.)
    pub fn get(&self, name: &str) -> Option<&TracedValue> {
        self.values.iter().rev().find(|value| value.name == name)
    }

    /// The first value that has an infinite element or one that is not a number.
    pub fn first_non_finite(&self) -> Option<&TracedValue> {
        self.values.iter().find(|value| value.n_non_finite > 0)
    }
}

/// A table: a row for each value.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, name: &str, shape: &str, rest: [&str; 5]| {
            let [mean, std, min, max, bad] = rest;
            writeln!(
                f,
                "{name:<24} {shape:<20} {mean:>11} {std:>11} {min:>11} {max:>11} {bad:>11}"
            )
        };
        row(f, "value", "shape", ["mean", "std", "min", "max", "non-finite"])?;
        for value in &self.values {
            let number = |x: f64| format!("{x:.4e}");
            let statistics = [value.mean, value.std, value.min, value.max].map(number);
            let [mean, std, min, max] = statistics.each_ref().map(String::as_str);
            let bad = value.n_non_finite.to_string();
            row(
                f,
                value.name,
                &format!("{:?}", value.shape()),
                [mean, std, min, max, &bad],
            )?;
        }
        Ok(())
    }
}

impl Core {
    /// Runs a function unfused, in train mode where it has one, and returns every named intermediate.
    ///
    /// Random numbers are those of the present step: the trace shows what the next gradient call computes.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn trace(&self, function: usize, args: &[HostArg<'_>], scalars: &[f64]) -> Result<Trace> {
        let (trace, failure) = self
            .trace_all(function, args, scalars)
            .map_err(|error| error.context(self.label(function)))?;
        match failure {
            Some(error) => Err(error.context(self.label(function))),
            None => Ok(trace),
        }
    }

    fn trace_all(
        &self,
        function: usize,
        args: &[HostArg<'_>],
        scalars: &[f64],
    ) -> Result<(Trace, Option<Error>)> {
        let bound = self.bind(function, args, scalars)?;
        let mut work = Workspace::new(self, function, bound.dims(), Mode::Trace)?;
        work.stage(args)?;
        let code = &work.function().trace;
        let failure = self.with_cx(&mut work, args, scalars, StateSource::Committed.into(), |cx| {
            (code.run)(cx);
            cx.failure.take()
        });
        let mut values = Vec::with_capacity(code.values.len());
        for value in code.values {
            values.push(read(&work, value)?);
        }
        Ok((Trace { values }, failure))
    }

    /// The error of a step whose loss was not finite: names where the first such value was.
    pub(super) fn blame(&self, function: usize, args: &[HostArg<'_>], scalars: &[f64], loss: f64) -> Error {
        let message = match self.first_non_finite(function, args, scalars) {
            Some(place) => format!("the loss is {loss}; {place}"),
            None => format!("the loss is {loss}, although no named value before it is infinite or NaN"),
        };
        Error::new(ErrorKind::NonFinite, message)
            .hint("nothing was changed: the step can be run again with `trace`")
    }

    fn first_non_finite(&self, function: usize, args: &[HostArg<'_>], scalars: &[f64]) -> Option<String> {
        let inputs = self.program().functions[function].inputs;
        for (given, spec) in args.iter().zip(inputs) {
            if let count @ 1.. = given.n_non_finite() {
                return Some(format!("argument `{}` has {}", spec.name, elements(count)));
            }
        }
        for (kind, layout, storage) in [
            ("parameter", self.params_layout(), self.params()),
            ("state", self.states_layout(), self.states()),
        ] {
            for (k, spec) in layout.specs().iter().enumerate() {
                let array = layout.read::<f64>(storage, k);
                if let count @ 1.. = array.iter().filter(|x| !x.is_finite()).count() {
                    return Some(format!("{kind} `{}` has {}", spec.path, elements(count)));
                }
            }
        }
        let (trace, _) = self.trace_all(function, args, scalars).ok()?;
        let first = trace.first_non_finite()?;
        let (shape, count) = (first.shape(), elements(first.n_non_finite));
        Some(format!(
            "the first value that is not finite is `{}` of shape {shape:?}, with {count}",
            first.name
        ))
    }
}

fn elements(count: usize) -> String {
    let (plural, are) = if count == 1 { ("", "is") } else { ("s", "are") };
    format!("{count} element{plural} that {are} infinite or NaN")
}

fn read(work: &Workspace, value: &TraceValue) -> Result<TracedValue> {
    let shape: Vec<usize> = work.sizes().values(value.shape).collect();
    let len = shape.iter().product();
    let numbers = match value.dtype {
        Dtype::Float => work.read_slot::<f64>(value.slot, value.dtype, len),
        Dtype::Int | Dtype::Bool => {
            let integers = work.read_slot::<i64>(value.slot, value.dtype, len);
            integers
                .into_iter()
                .map(<f64 as OutputElement>::from_i64)
                .collect()
        }
    };
    let stored = ArrayD::from_shape_vec(IxDyn(&shape), numbers)?;
    let array = match value.order {
        [] => stored,
        order => stored.permuted_axes(order).as_standard_layout().into_owned(),
    };
    Ok(TracedValue::new(value.name, array))
}
