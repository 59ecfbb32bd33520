//! Binding: what an argument list says about dynamic dimensions, and whether it fits the declaration.

use std::fmt;

use super::arg::{Form, HostArg};
use super::wrong_elements;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Core;
use crate::program::{Function, InputKind, MAX_RANK, Sizes};
use crate::workspace::{MAX_ARGS, Workspace, check_dims};

/// The dynamic dimensions of a call.
#[derive(Copy, Clone, Default)]
pub(super) struct Bound {
    function: usize,
    n_dims: usize,
    dims: [usize; MAX_ARGS],
}

impl Bound {
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.n_dims]
    }
}

/// The arguments of a workspace's last call, and what they came to: the next ones are usually as large.
#[derive(Default)]
pub(crate) struct Seen {
    args: Vec<(Form, usize, [usize; MAX_RANK])>,
    n_scalars: usize,
    bound: Bound,
}

impl Seen {
    /// Whether arguments have the same elements and sizes.
    #[inline(always)]
    pub(super) fn is(&self, function: usize, args: &[HostArg<'_>], scalars: &[f64]) -> bool {
        let same = self.bound.function == function
            && !self.args.is_empty()
            && self.args.len() == args.len()
            && self.n_scalars == scalars.len();
        if !same {
            return false;
        }
        for (k, given) in args.iter().enumerate() {
            let (form, rank, shape) = &self.args[k];
            if given.form() != *form || given.rank() != *rank {
                return false;
            }
            // By hand, and with an early end: comparing memory is a call, and vectors take longer to begin than there is to compare.
            for (axis, size) in given.shape().iter().enumerate() {
                if *size != shape[axis] {
                    return false;
                }
            }
        }
        true
    }

    /// The dynamic dimensions.
    pub(crate) fn dims(&self) -> &[usize] {
        self.bound.dims()
    }

    fn remember(&mut self, bound: &Bound, args: &[HostArg<'_>], scalars: &[f64]) {
        self.args.clear();
        for given in args {
            let mut shape = [0; MAX_RANK];
            shape[..given.shape().len()].copy_from_slice(given.shape());
            self.args.push((given.form(), given.rank(), shape));
        }
        self.n_scalars = scalars.len();
        self.bound = *bound;
    }
}

impl Core {
    /// [`bind`](Self::bind) for a call in a workspace, which must belong to the function; the workspace keeps what was found. Quick
    /// where the call before had arguments of the same sizes.
    #[inline]
    pub(super) fn bind_in(
        &self,
        function: usize,
        work: &mut Workspace,
        args: &[HostArg<'_>],
        scalars: &[f64],
    ) -> Result<()> {
        if work.is_of(self) && work.seen.is(function, args, scalars) {
            return Ok(());
        }
        self.bind_anew(function, work, args, scalars)
    }

    #[inline(never)]
    fn bind_anew(
        &self,
        function: usize,
        work: &mut Workspace,
        args: &[HostArg<'_>],
        scalars: &[f64],
    ) -> Result<()> {
        let bound = self.bind(function, args, scalars)?;
        work.check_owner(self, function)?;
        work.see(|seen| seen.remember(&bound, args, scalars));
        Ok(())
    }

    /// Reads the dynamic dimensions off the arguments and checks every argument against its declaration.
    pub(super) fn bind(&self, function: usize, args: &[HostArg<'_>], scalars: &[f64]) -> Result<Bound> {
        let index = function;
        let Some(function) = self.program().functions.get(index) else {
            return Err(Error::internal(format!(
                "{} has no function {index}",
                self.program().name
            )));
        };
        if args.iter().any(|given| given.kind().is_none()) {
            return Err(answer(self.program().key, index));
        }
        let counts = (args.len(), scalars.len(), function.dims.len());
        if counts.0 != function.inputs.len() || counts.1 != function.scalars.len() {
            let message = format!("{} arrays and {} scalars passed", counts.0, counts.1);
            let expected = format!(
                "{} and {} expected",
                function.inputs.len(),
                function.scalars.len()
            );
            return Err(Error::internal(format!("{message}, {expected}")));
        }
        if counts.0 > MAX_ARGS || counts.2 > MAX_ARGS {
            return Err(Error::internal(format!(
                "more than {MAX_ARGS} arguments or dynamic dimensions"
            )));
        }
        check_kinds(function, args)?;
        let mut bound = Bound {
            function: index,
            n_dims: counts.2,
            dims: [0; MAX_ARGS],
        };
        for (dim, spec) in bound.dims.iter_mut().zip(function.dims) {
            *dim = args[spec.bare.0].shape()[spec.bare.1];
        }
        check_dims(bound.dims())?;
        let sizes = function.sizes(bound.dims(), self.generics());
        check_multiples(function, &sizes)?;
        check_shapes(function, args, &sizes)?;
        function.check_demands(&sizes)?;
        Ok(bound)
    }
}

fn check_kinds(function: &Function, args: &[HostArg<'_>]) -> Result<()> {
    for (given, spec) in args.iter().zip(function.inputs) {
        let place = |error: Error| error.context(format!("argument `{}`", spec.name));
        if given.kind() != Some(spec.kind) {
            return Err(place(wrong_elements(element(spec.kind), given.element())));
        }
        if given.rank() != spec.rank {
            let message = format!("expected {} axes, found {}", spec.rank, given.rank());
            return Err(place(Error::shape(message)));
        }
    }
    Ok(())
}

/// The element type of a kind, as people write it.
fn element(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Float => "f32 or f64",
        InputKind::U8 => "u8",
        InputKind::U16 => "u16",
        InputKind::U32 => "u32",
        InputKind::I32 => "i32",
        InputKind::I64 => "i64",
        InputKind::Bool => "bool",
    }
}

fn check_multiples(function: &Function, sizes: &Sizes<'_>) -> Result<()> {
    for (&dim, spec) in sizes.dims.iter().zip(function.dims) {
        let divisor = spec.multiple_of.max(1);
        if !dim.is_multiple_of(divisor) {
            let (argument, axis) = (function.inputs[spec.bare.0].name, spec.bare.1);
            let message = format!("{} must be a multiple of {divisor}, found {dim}", spec.name);
            return Err(Error::shape(message).context(format!("argument `{argument}`, axis {axis}")));
        }
    }
    Ok(())
}

fn check_shapes(function: &Function, args: &[HostArg<'_>], sizes: &Sizes<'_>) -> Result<()> {
    for (given, spec) in args.iter().zip(function.inputs) {
        let (expected, rank) = sizes.shape(spec.shape);
        let expected = &expected[..rank];
        if given.shape() != expected {
            let message = format!("expected shape {expected:?}, found {:?}", given.shape());
            let dims = Dims { function, sizes };
            return Err(Error::shape(format!("{message}{dims}")).context(format!("argument `{}`", spec.name)));
        }
    }
    Ok(())
}

/// Where the dynamic dimensions came from, for messages.
struct Dims<'a> {
    function: &'a Function,
    sizes: &'a Sizes<'a>,
}

impl fmt::Display for Dims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, (spec, dim)) in self.function.dims.iter().zip(self.sizes.dims).enumerate() {
            let (start, argument) = (
                if k == 0 { " (" } else { ", " },
                self.function.inputs[spec.bare.0].name,
            );
            write!(f, "{start}{} = {dim} from `{argument}`", spec.name)?;
        }
        if self.function.dims.is_empty() {
            Ok(())
        } else {
            f.write_str(")")
        }
    }
}

/// The answer to a [`Probe`](super::Probe), carried by an error.
#[derive(Debug)]
struct Answer {
    key: u64,
    function: usize,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {} of model {:x}", self.function, self.key)
    }
}

impl std::error::Error for Answer {}

fn answer(key: u64, function: usize) -> Error {
    Error::new(
        ErrorKind::Config,
        "`Probe` asks which function is called; it is no argument",
    )
    .with_source(Answer { key, function })
}

/// The number of the function behind the result of a call with [`Probe`](super::Probe)s, if it was a function of the
/// model `core`.
pub fn function_of<T>(core: &Core, probed: &Result<T>) -> Option<usize> {
    let error = probed.as_ref().err()?;
    let answer = std::error::Error::source(error)?.downcast_ref::<Answer>()?;
    (answer.key == core.program().key).then_some(answer.function)
}
