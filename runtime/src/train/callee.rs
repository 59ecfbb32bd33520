//! A function that is called batch by batch.

use crate::call::{Accumulate, HostArg};
use crate::error::{Error, Result};
use crate::model::Core;
use crate::program::Function;
use crate::workspace::{MAX_ARGS, Mode, Workspace};

/// A function with what its calls need: values of its host scalars, the batch's arrays that it takes, a workspace.
///
/// The workspace is made for the first batch, with room for a full one, and again only if a batch needs more (longer
/// sequences, say); between, calls allocate nothing.
pub(super) struct Callee {
    function: usize,
    mode: Mode,
    scalars: Vec<f64>,
    /// For each of its arguments, the number of the batch's array; empty if they are the same.
    picks: Vec<usize>,
    work: Option<Workspace>,
}

impl Callee {
    /// The function that is trained: it takes the batch as it is.
    pub fn objective(core: &Core, function: usize, scalars: &[(String, f64)]) -> Result<Self> {
        let table = scalar_function(core, function)?;
        if table.train.is_none() {
            let message = format!("{} depends on no parameter", core.label(function));
            return Err(Error::config(message).hint("train a function that returns a `Scalar` loss"));
        }
        Ok(Self {
            function,
            mode: Mode::Train,
            scalars: values_of(core, function, scalars)?,
            picks: Vec::new(),
            work: None,
        })
    }

    /// A function that is evaluated on the objective's batches: it takes the arguments that have the names of its own, or
    /// all of them if it names them differently.
    pub fn metric(core: &Core, function: usize, objective: usize, scalars: &[(String, f64)]) -> Result<Self> {
        let (own, given) = (
            scalar_function(core, function)?.inputs,
            core.program().functions[objective].inputs,
        );
        let by_name = |name: &str| given.iter().position(|input| input.name == name);
        let picks: Option<Vec<usize>> = own.iter().map(|input| by_name(input.name)).collect();
        let picks = match picks {
            Some(picks) if picks.iter().copied().eq(0..given.len()) => Vec::new(),
            Some(picks) => picks,
            None if own.len() == given.len() => Vec::new(),
            None => {
                let names = |inputs: &[crate::program::InputSpec]| {
                    let names: Vec<_> = inputs.iter().map(|input| input.name).collect();
                    names.join(", ")
                };
                let message = format!("takes ({}), batches hold ({})", names(own), names(given));
                return Err(Error::config(message)
                    .context(core.label(function))
                    .hint("give the arguments of metrics the names that they have in the loss"));
            }
        };
        Ok(Self {
            function,
            mode: Mode::Eval,
            scalars: values_of(core, function, scalars)?,
            picks,
            work: None,
        })
    }

    /// The workspace of the last call.
    pub fn workspace(&mut self) -> Result<&mut Workspace> {
        self.work
            .as_mut()
            .ok_or_else(|| Error::internal("no call has made a workspace"))
    }

    /// Loss and gradients of a batch. `capacity` is the number of samples in a full batch.
    pub fn grad(&mut self, core: &mut Core, args: &[HostArg<'_>], capacity: usize) -> Result<f64> {
        let work = fit(&mut self.work, core, (self.function, self.mode), args, capacity)?;
        core.grad(self.function, work, args, &self.scalars, Accumulate::Overwrite)
    }

    /// The function's value for a batch, in eval mode.
    pub fn evaluate(&mut self, core: &Core, args: &[HostArg<'_>], capacity: usize) -> Result<f64> {
        if self.picks.is_empty() {
            return self.evaluate_picked(core, args, capacity);
        }
        let picked: [HostArg<'_>; MAX_ARGS] = std::array::from_fn(|k| {
            let pick = self.picks.get(k).copied().unwrap_or(0);
            *args.get(pick).unwrap_or(&args[0])
        });
        let n_args = self.picks.len();
        self.evaluate_picked(core, &picked[..n_args], capacity)
    }

    fn evaluate_picked(&mut self, core: &Core, args: &[HostArg<'_>], capacity: usize) -> Result<f64> {
        let work = fit(&mut self.work, core, (self.function, self.mode), args, capacity)?;
        core.call_in(self.function, work, args, &self.scalars)?.scalar(0)
    }
}

/// A function with a single number as result.
fn scalar_function(core: &Core, function: usize) -> Result<&'static Function> {
    let table = &core.program().functions[function];
    match table.results {
        [result] if result.shape.is_empty() => Ok(table),
        _ => Err(Error::config("expected a function that returns a `Scalar`").context(core.label(function))),
    }
}

/// The values of a function's host scalars, in its order.
fn values_of(core: &Core, function: usize, scalars: &[(String, f64)]) -> Result<Vec<f64>> {
    let value = |name: &&str| {
        let found = scalars.iter().rfind(|(given, _)| given == name);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let message = format!("no value is given for the argument `{name}`");
            Error::config(message)
                .context(core.label(function))
                .hint(format!("add `.scalar(\"{name}\", …)` to the trainer"))
        })
    };
    core.program().functions[function]
        .scalars
        .iter()
        .map(value)
        .collect()
}

/// The workspace, made for these arguments if there is none or it is too small for them.
fn fit<'w>(
    work: &'w mut Option<Workspace>,
    core: &Core,
    (function, mode): (usize, Mode),
    args: &[HostArg<'_>],
    capacity: usize,
) -> Result<&'w mut Workspace> {
    let table = &core.program().functions[function];
    if args.len() != table.inputs.len() {
        let (n, expected) = (args.len(), table.inputs.len());
        let message = format!("takes {expected} arrays, the data set's batches have {n}");
        return Err(Error::config(message).context(core.label(function)));
    }
    let mut dims = [0; MAX_ARGS];
    for (k, (dim, spec)) in dims.iter_mut().zip(table.dims).enumerate() {
        let (argument, axis) = spec.bare;
        let size = args[argument].shape().get(axis).copied().unwrap_or(0);
        // What an earlier batch needed will be needed again.
        let before = work.as_ref().map_or(0, |work| work.max_dims()[k]);
        *dim = before.max(size).max(if axis == 0 { capacity } else { 0 });
    }
    let dims = &dims[..table.dims.len().min(MAX_ARGS)];
    if work.as_ref().is_none_or(|work| work.max_dims() != dims) {
        *work = None;
        let made = Workspace::new(core, function, dims, mode);
        *work = Some(made.map_err(|error| error.context(core.label(function)))?);
    }
    work.as_mut()
        .ok_or_else(|| Error::internal("the workspace has just been made"))
}
