//! Calls of compiled functions: from host arrays to results, losses and gradients.
//!
//! A call checks its arguments, binds the dynamic dimensions, prepares the workspace, and hands a context to the
//! emitted code. Whatever is wrong with what the caller passed is an error here, before any kernel runs; what a kernel
//! finds in the data (a label out of range) becomes the call's error. A gradient call that fails leaves the model
//! untouched, so that it can be repeated or traced.

pub(crate) mod arg;
mod bind;
pub(crate) mod outputs;
mod second;
pub(crate) mod trace;
mod whole;

pub use arg::{Arg, Host, HostArg, HostData, HostElement, HostNumber, Probe, Strided, kind};
pub(crate) use bind::Seen;
pub use bind::function_of;
pub use outputs::{OutputElement, Outputs};
pub use trace::{Trace, TracedValue};
pub use whole::Call;

use crate::arena::{Place, Region};
use crate::cx::Cx;
use crate::dtype::Dtype;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Core;
use crate::program::Code;
use crate::workspace::gradients::copy_tensors;
use crate::workspace::{Calls, MAX_ARGS, Mode, Pending, Workspace, regions};

/// What a gradient call does with the gradients that are in the workspace.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Accumulate {
    /// Replaces them.
    #[default]
    Overwrite,
    /// Adds to them, so that a step of `k` batches takes the gradient of the sum of their losses; carried tensors continue
    /// from the call before. The first call after an optimizer's step replaces them.
    Add,
}

impl Core {
    /// Calls a function in eval mode, in a workspace of its own.
    ///
    /// `args` are its array arguments and `scalars` its host scalars, each in the order of declaration.
    ///
    /// # Errors
    ///
    /// Shape and element-type errors that name function and argument, and what kernels find in the data.
    pub fn call(&self, function: usize, args: &[HostArg<'_>], scalars: &[f64]) -> Result<Outputs<'static>> {
        let name = |error: Error| error.context(self.label(function));
        let bound = self.bind(function, args, scalars).map_err(name)?;
        let work = Workspace::for_calls(Calls::One, self, function, bound.dims(), Mode::Eval);
        let mut work = work.map_err(name)?;
        self.evaluate(&mut work, args, scalars).map_err(name)?;
        Ok(Outputs::own(work))
    }

    /// Calls a function in eval mode in a workspace that the caller keeps; allocates nothing after the first call.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call); and if the workspace belongs to another function, or is too small.
    pub fn call_in<'w>(
        &self,
        function: usize,
        work: &'w mut Workspace,
        args: &[HostArg<'_>],
        scalars: &[f64],
    ) -> Result<Outputs<'w>> {
        if self.repeat(Mode::Eval, function, work, args, scalars).is_some() {
            return Ok(Outputs::lent(work));
        }
        let name = |error: Error| error.context(self.label(function));
        self.bind_in(function, work, args, scalars).map_err(name)?;
        let began = work.clock();
        work.prepare_seen(Mode::Eval).map_err(name)?;
        self.evaluate(work, args, scalars).map_err(name)?;
        work.end_call(Mode::Eval, began);
        Ok(Outputs::lent(work))
    }

    /// Runs the plain function in a workspace that is prepared for it.
    fn evaluate(&self, work: &mut Workspace, args: &[HostArg<'_>], scalars: &[f64]) -> Result<()> {
        work.stage(args)?;
        let code = &work.function().eval;
        let committed = || StateSource::Committed.into();
        if self
            .in_one_piece(code, work, args, scalars, committed())
            .is_some()
        {
            return Ok(());
        }
        let packs = work.take_packs(self.version());
        self.with_cx(work, args, scalars, committed(), |cx| {
            cx.packs = packs;
            (code.forward)(cx);
            cx.end_sweep();
            cx.failure.take().map_or(Ok(()), Err)
        })?;
        work.keep_packs(self.version());
        Ok(())
    }

    /// The loss of a function in train mode, and its gradients, which stay in the workspace together with the new
    /// values of carried tensors; counts a step.
    ///
    /// # Errors
    ///
    /// As [`call_in`](Self::call_in); [`ErrorKind::Config`] if the function has no gradient, as a metric that counts;
    /// [`ErrorKind::NonFinite`] if the loss is not finite, naming the first value that
    /// was not. After an error the step does not count, and gradients that were to be added to are as before.
    pub fn grad(
        &mut self,
        function: usize,
        work: &mut Workspace,
        args: &[HostArg<'_>],
        scalars: &[f64],
        accumulate: Accumulate,
    ) -> Result<f64> {
        if accumulate == Accumulate::Overwrite
            && let Some(loss) = self.repeat(Mode::Train, function, work, args, scalars)
        {
            work.pending = Some(Pending { loss, used: false });
            self.count_step();
            return Ok(loss);
        }
        let name = |core: &Self, error: Error| error.context(core.label(function));
        self.bind_in(function, work, args, scalars)
            .map_err(|error| name(self, error))?;
        let began = work.clock();
        let adds = accumulate == Accumulate::Add && work.pending.is_some_and(|pending| !pending.used);
        let earlier = work.pending.take();
        if adds {
            work.set_aside(self.states())?;
        }
        match self.differentiate(function, work, args, scalars, adds) {
            Ok(loss) => {
                if adds {
                    work.add_before();
                }
                work.pending = Some(Pending { loss, used: false });
                self.count_step();
                work.end_call(Mode::Train, began);
                Ok(loss)
            }
            Err(error) => {
                if adds {
                    work.take_back();
                    work.pending = earlier;
                }
                Err(name(self, error))
            }
        }
    }

    fn differentiate(
        &self,
        function: usize,
        work: &mut Workspace,
        args: &[HostArg<'_>],
        scalars: &[f64],
        adds: bool,
    ) -> Result<f64> {
        if work.function().train.is_none() {
            let message = "the function has no gradient: nothing that is trained, and no `#[grad]` argument, reaches its \
                           result through operations that have a derivative";
            let hint =
                "a metric is evaluated by the plain call; `#[grad]` before an argument asks for its gradient";
            return Err(Error::config(message).hint(hint));
        }
        work.prepare_seen(Mode::Train)?;
        work.stage(args)?;
        let states = if adds {
            StateSource::Workspace
        } else {
            StateSource::Committed
        };
        let code = work.function().train.as_ref();
        let code = code.ok_or_else(|| Error::internal("a gradient has lost its code"))?;
        let loss = self.run(code, work, args, scalars, states.into())?;
        if loss.is_finite() {
            return Ok(loss);
        }
        Err(self.blame(function, args, scalars, loss))
    }

    /// Copies the new values of carried tensors from a workspace, after a step.
    #[inline]
    pub(crate) fn commit(&mut self, work: &Workspace) {
        let updates = work
            .function()
            .train
            .as_ref()
            .map_or(&[][..], |code| code.updates);
        if !updates.is_empty() {
            let layout = std::sync::Arc::clone(self.states_layout());
            copy_tensors(&layout, updates, self.states_mut(), &work.new_states);
        }
    }

    /// Runs code that gives a loss in a prepared workspace.
    fn run(
        &self,
        code: &Code,
        work: &mut Workspace,
        args: &[HostArg<'_>],
        scalars: &[f64],
        mut around: Surroundings<'_>,
    ) -> Result<f64> {
        if let Some(loss) = self.in_one_piece(code, work, args, scalars, around.again()) {
            return Ok(loss);
        }
        self.with_cx(work, args, scalars, around, |cx| sweep(code, cx))
    }

    /// Runs `body` with the context of a prepared workspace.
    fn with_cx<R>(
        &self,
        work: &mut Workspace,
        args: &[HostArg<'_>],
        scalars: &[f64],
        around: Surroundings<'_>,
        body: impl FnOnce(&mut Cx<'_>) -> R,
    ) -> R {
        let staging = work.take_staging();
        let inputs = regions::<MAX_ARGS>(args, &staging, self.precision());
        let mut call = Call {
            core: self,
            work,
            inputs: &inputs[..args.len()],
            scalars,
            around,
        };
        let mut failure = None;
        let result = body(&mut call.context(&mut failure, Region::empty()));
        work.put_staging(staging);
        result
    }
}

/// Where code reads carried tensors.
#[derive(Copy, Clone, PartialEq, Eq)]
enum StateSource {
    /// In the model.
    Committed,
    /// In the workspace: as the call before, of the same step, has left them.
    Workspace,
}

/// What a call reads and writes beside arguments, parameters and workspace.
struct Surroundings<'a> {
    states: StateSource,
    /// Where a product with the Hessian is computed; it takes the place of the gradients.
    vectors: Option<second::Vectors<'a>>,
}

impl Surroundings<'_> {
    /// The same for a shorter time.
    fn again(&mut self) -> Surroundings<'_> {
        let vectors = self.vectors.as_mut().map(|vectors| second::Vectors {
            direction: vectors.direction,
            product: vectors.product,
        });
        Surroundings {
            states: self.states,
            vectors,
        }
    }
}

impl From<StateSource> for Surroundings<'_> {
    fn from(states: StateSource) -> Self {
        Self {
            states,
            vectors: None,
        }
    }
}

/// Runs the forward sweep, and the backward sweep if the loss is finite; gives the loss.
fn sweep(code: &Code, cx: &mut Cx<'_>) -> Result<f64> {
    (code.forward)(cx);
    cx.end_sweep();
    if let Some(error) = cx.failure.take() {
        return Err(error);
    }
    let Some(result) = code.results.first() else {
        return Err(Error::internal("the function has no result"));
    };
    let loss = cx.buf(Place::Arena, cx.slots[result.slot], Dtype::Float, 1);
    let loss = crate::cx::float!(cx, T => {
        let ([loss], []) = cx.memory.lend::<T, 1, 0>([loss], []);
        crate::real::Real::to_f64(loss[0])
    });
    if let (true, Some(backward)) = (loss.is_finite(), code.backward) {
        backward(cx);
        cx.end_sweep();
    }
    match cx.failure.take() {
        Some(error) => Err(error),
        None => Ok(loss),
    }
}

/// The error of a wrong kind of element.
fn wrong_elements(expected: &str, found: &str) -> Error {
    Error::new(
        ErrorKind::Dtype,
        format!("expected {expected} elements, found {found}"),
    )
}
