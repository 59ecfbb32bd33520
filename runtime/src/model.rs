//! A model at run time: its parameters and carried tensors, and the trait through which users see it.
//!
//! The macro emits, for every model, a type that wraps a [`Core`] and implements [`Model`]. The core holds the numbers;
//! the code that works on them is in the [`Program`], a table of constants. A model has no parameter for device or
//! precision in its type: both are chosen when it is made.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use ndarray::{ArrayBase, ArrayD, Data, Dimension};

use crate::arena::Storage;
use crate::checkpoint::Report;
use crate::cpu::threads::Team;
use crate::device::Device;
use crate::diagram;
use crate::dtype::{Element, Precision, stored};
use crate::error::{Error, ErrorKind, Result};
use crate::flat::Layout;
use crate::init::Init;
use crate::program::Program;
use crate::real::Real;
use crate::rng::Key;
use crate::summary;
use crate::vector::ParamVector;
use crate::versioned::Versioned;

/// The numbers of a model, and what is needed to compute with them.
#[derive(Clone)]
pub struct Core {
    device: Device,
    team: Arc<Team>,
    precision: Precision,
    seed: u64,
    /// Gradient calls so far.
    step: u64,
    program: &'static Program,
    generics: Vec<usize>,
    params_layout: Arc<Layout>,
    states_layout: Arc<Layout>,
    params: Versioned,
    states: Storage,
}

impl Core {
    /// A model with freshly initialised parameters.
    ///
    /// Every initial value is a function of the seed and of its parameter's path.
    ///
    /// # Errors
    ///
    /// If the device cannot be used, the parameters do not fit into memory, or an initialiser does not suit its
    /// parameter's shape.
    pub fn new(
        device: &Device,
        program: &'static Program,
        generics: Vec<usize>,
        precision: Precision,
        seed: u64,
    ) -> Result<Self> {
        let name = |error: Error| error.context(program.name);
        if generics.len() != program.names.len() {
            let (found, expected) = (generics.len(), program.names.len());
            let message = format!("{found} sizes passed for {expected} const generics and constants");
            return Err(name(Error::internal(message)));
        }
        let params_layout =
            Arc::new(Layout::new(program.param_specs(&generics).map_err(name)?, precision).map_err(name)?);
        let states_layout =
            Arc::new(Layout::new(program.state_specs(&generics).map_err(name)?, precision).map_err(name)?);
        let mut core = Self {
            team: device.team().map_err(name)?,
            device: device.clone(),
            precision,
            seed,
            step: 0,
            program,
            params: Versioned::new(allocate(params_layout.bytes()).map_err(name)?),
            states: allocate(states_layout.bytes()).map_err(name)?,
            generics,
            params_layout,
            states_layout,
        };
        initialise(&core.params_layout, core.params.get_mut(), seed).map_err(name)?;
        initialise(&core.states_layout, &mut core.states, seed).map_err(name)?;
        Ok(core)
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn team(&self) -> &Arc<Team> {
        &self.team
    }

    /// The precision in which it computes.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The seed of initial values and random operations.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Gradient calls so far: with the seed it determines every random number of the next one.
    pub fn step(&self) -> u64 {
        self.step
    }

    pub(crate) fn count_step(&mut self) {
        self.step += 1;
    }

    pub(crate) fn set_position(&mut self, seed: u64, step: u64) {
        (self.seed, self.step) = (seed, step);
    }

    /// The compiled model.
    pub fn program(&self) -> &'static Program {
        self.program
    }

    /// Values of the model's const generics, and after them those of the constants that its sizes mention.
    pub fn generics(&self) -> &[usize] {
        &self.generics
    }

    /// Where the parameters lie in their flat buffer, and their gradients in theirs.
    pub fn params_layout(&self) -> &Arc<Layout> {
        &self.params_layout
    }

    /// Where the carried tensors lie in theirs.
    pub fn states_layout(&self) -> &Arc<Layout> {
        &self.states_layout
    }

    /// The flat buffer of parameters.
    pub fn params(&self) -> &Storage {
        self.params.get()
    }

    /// A number that these parameters have alone: a copy of the model shares it until one of the two changes.
    pub(crate) fn version(&self) -> u64 {
        self.params.version()
    }

    /// The flat buffer of parameters, to be changed.
    pub fn params_mut(&mut self) -> &mut Storage {
        self.params.get_mut()
    }

    /// The flat buffer of carried tensors.
    pub fn states(&self) -> &Storage {
        &self.states
    }

    /// The flat buffer of carried tensors, to be changed.
    pub fn states_mut(&mut self) -> &mut Storage {
        &mut self.states
    }

    /// A function as messages name it: `Mnist::loss`.
    pub(crate) fn label(&self, function: usize) -> String {
        let name = self
            .program
            .functions
            .get(function)
            .map_or("?", |function| function.name);
        format!("{}::{name}", self.program.name)
    }

    /// The number of the function called `name`.
    ///
    /// # Errors
    ///
    /// A configuration error that lists the model's functions if there is none.
    pub fn function(&self, name: &str) -> Result<usize> {
        let functions = self.program.functions;
        functions
            .iter()
            .position(|function| function.name == name)
            .ok_or_else(|| {
                let known: Vec<_> = functions.iter().map(|function| function.name).collect();
                Error::config(format!("{} has no function `{name}`", self.program.name))
                    .hint(format!("its functions are {}", known.join(", ")))
            })
    }

    /// A workspace for a function with room for dynamic dimensions up to `max_dims`: for its gradient where it has one,
    /// else for plain calls.
    ///
    /// # Errors
    ///
    /// If the sizes do not fit into memory.
    pub fn workspace(&self, function: usize, max_dims: &[usize]) -> Result<crate::workspace::Workspace> {
        use crate::workspace::{Mode, Workspace};
        let train = self
            .program
            .functions
            .get(function)
            .and_then(|function| function.train.as_ref());
        let mode = if train.is_some() { Mode::Train } else { Mode::Eval };
        Workspace::new(self, function, max_dims, mode).map_err(|error| error.context(self.label(function)))
    }
}

fn allocate(bytes: usize) -> Result<Storage> {
    Storage::try_zeroed(bytes).ok_or_else(|| {
        let message = format!("the system does not have {bytes} bytes of memory for the parameters");
        Error::new(ErrorKind::Device, message)
    })
}

/// Gives every tensor of a flat buffer its initial values.
fn initialise(layout: &Layout, storage: &mut Storage, seed: u64) -> Result<()> {
    fn fill<T: Real + Element>(init: Init, shape: &[usize], key: Key, into: &mut [T]) -> Result<()> {
        init.fill(shape, key, into)
            .map_err(|error| Error::config(error.to_string()).with_source(error))
    }
    for (k, spec) in layout.specs().iter().enumerate() {
        let (key, range) = (Key::for_path(seed, &spec.path), layout.range(k));
        let filled = stored!(layout.precision(), T => {
            fill(spec.init, &spec.shape, key, &mut storage.as_mut_slice::<T>()[range])
        });
        filled.map_err(|error| error.context(format!("`{}`", spec.path)))?;
    }
    Ok(())
}

/// A compiled model: what the `#[model]` macro implements for a struct.
pub trait Model: Sized + Send + Sync {
    /// The model around its numbers.
    #[doc(hidden)]
    fn from_core(core: Core) -> Self;

    /// The numbers.
    #[doc(hidden)]
    fn core(&self) -> &Core;

    /// The numbers, to be changed.
    #[doc(hidden)]
    fn core_mut(&mut self) -> &mut Core;

    /// The compiled code, and the values of the const generics and constants that it is made with.
    #[doc(hidden)]
    fn program() -> (&'static Program, Vec<usize>);

    /// A model in f32 with freshly initialised parameters, PyTorch's defaults where nothing else was asked for.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    fn new(device: &Device, seed: u64) -> Result<Self> {
        Self::builder(device).seed(seed).build()
    }

    /// Makes a model with further choices: `Mnist::builder(&device).seed(42).precision(Precision::F64).build()?`.
    fn builder(device: &Device) -> Builder<Self> {
        Builder {
            device: device.clone(),
            seed: 0,
            precision: Precision::F32,
            model: PhantomData,
        }
    }

    /// A table of the layers with shapes, numbers of parameters and floating point operations for one sample.
    fn summary() -> String {
        let (program, generics) = Self::program();
        summary::summary(program, &generics)
    }

    /// The layers as a drawing, in SVG: kinds, shapes, parameters; models as frames, arrays once with their length.
    ///
    /// It is text: write it into a file, or into a page. The same model has the same drawing everywhere.
    fn diagram() -> String {
        let (program, generics) = Self::program();
        diagram::diagram(program, &generics)
    }

    /// The schedule of every function with all dynamic dimensions 1 (or the smallest that is allowed): kernels, shapes,
    /// operations, bytes, slots.
    fn explain() -> String {
        Self::explain_at(&[])
    }

    /// [`explain`](Self::explain) for given sizes: `Mnist::explain_at(&[("B", 64)])`.
    fn explain_at(dims: &[(&str, usize)]) -> String {
        let (program, generics) = Self::program();
        summary::explain(program, &generics, dims)
    }

    /// The device that it computes on.
    fn device(&self) -> &Device {
        self.core().device()
    }

    /// The width in which it computes.
    fn precision(&self) -> Precision {
        self.core().precision()
    }

    /// Gradient calls so far.
    fn step(&self) -> u64 {
        self.core().step()
    }

    /// The number of trained numbers.
    fn n_params(&self) -> usize {
        self.core().params_layout().n_elements()
    }

    /// Paths and shapes of the parameters, in the order of the flat buffer.
    fn params(&self) -> Vec<(&str, Vec<usize>)> {
        listing(self.core().params_layout())
    }

    /// Paths and shapes of the carried tensors.
    fn states(&self) -> Vec<(&str, Vec<usize>)> {
        listing(self.core().states_layout())
    }

    /// A copy of the parameter at `path`, as `f64`.
    ///
    /// # Errors
    ///
    /// A configuration error that names similar paths if there is none.
    fn param(&self, path: &str) -> Result<ArrayD<f64>> {
        self.param_as(path)
    }

    /// [`param`](Self::param), as `f32` or `f64`.
    ///
    /// # Errors
    ///
    /// As [`param`](Self::param).
    fn param_as<T: Real>(&self, path: &str) -> Result<ArrayD<T>> {
        let (core, layout) = (self.core(), self.core().params_layout());
        Ok(layout.read(core.params(), layout.index(path)?))
    }

    /// Replaces the parameter at `path`.
    ///
    /// # Errors
    ///
    /// A configuration error if there is none, a shape error if it has another shape.
    fn set_param<T, S, D>(&mut self, path: &str, values: &ArrayBase<S, D>) -> Result<()>
    where
        T: Real,
        S: Data<Elem = T>,
        D: Dimension,
    {
        let core = self.core_mut();
        let layout = Arc::clone(&core.params_layout);
        layout.write(
            core.params.get_mut(),
            layout.index(path)?,
            values.view().into_dyn(),
        )
    }

    /// A vector of zeros, one for each trained number: a direction for `<name>_hvp`, or room for its product.
    ///
    /// # Errors
    ///
    /// If the memory is not there.
    fn vector(&self) -> Result<ParamVector> {
        ParamVector::new(self.core().params_layout())
    }

    /// A copy of the carried tensor at `path`, as `f64`.
    ///
    /// # Errors
    ///
    /// A configuration error if there is none.
    fn state(&self, path: &str) -> Result<ArrayD<f64>> {
        let (core, layout) = (self.core(), self.core().states_layout());
        Ok(layout.read(core.states(), layout.index(path)?))
    }

    /// Replaces the carried tensor at `path`.
    ///
    /// # Errors
    ///
    /// A configuration error if there is none, a shape error if it has another shape.
    fn set_state<T, S, D>(&mut self, path: &str, values: &ArrayBase<S, D>) -> Result<()>
    where
        T: Real,
        S: Data<Elem = T>,
        D: Dimension,
    {
        let core = self.core_mut();
        let layout = Arc::clone(&core.states_layout);
        layout.write(&mut core.states, layout.index(path)?, values.view().into_dyn())
    }

    /// Writes parameters and carried tensors, under their paths, into a file in the safetensors format.
    ///
    /// The file is replaced all or nothing: after a crash it is the old one or the new one. Seed and step go with
    /// it, so that a loaded model continues the stream of random numbers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] that names the file.
    fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.core().save(path.as_ref())
    }

    /// Replaces all parameters and carried tensors by those of a file that [`save`](Self::save), a [`Trainer`], or
    /// another framework has written.
    ///
    /// Floats of 16, 32 and 64 bits are accepted and rounded to the model's precision; so are PyTorch's counters
    /// `num_batches_tracked`, which mean nothing here. After an error the model is as it was.
    ///
    /// [`Trainer`]: crate::Trainer
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`]; [`ErrorKind::Format`] if the file is truncated or damaged; [`ErrorKind::Checkpoint`] if the
    /// file has not the very tensors of this model.
    fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.core_mut().load(path.as_ref())
    }

    /// Replaces those parameters and carried tensors that a file has under the same path and in the same shape, and
    /// reports the others. Seed and step stay.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`], and [`ErrorKind::Format`] if the file is truncated or damaged.
    fn load_partial(&mut self, path: impl AsRef<Path>) -> Result<Report> {
        self.core_mut().load_partial(path.as_ref())
    }
}

fn listing(layout: &Layout) -> Vec<(&str, Vec<usize>)> {
    layout
        .specs()
        .iter()
        .map(|spec| (&*spec.path, spec.shape.clone()))
        .collect()
}

/// A model without a name that is still to be made: the value of `network![…]` as an expression.
///
/// It has no size and holds no numbers; every call of [`new`](Self::new) makes another model of the same kind.
pub struct Network<M>(PhantomData<fn() -> M>);

impl<M: Model> Network<M> {
    /// That of `M`; called by generated code.
    #[doc(hidden)]
    #[must_use]
    pub const fn of() -> Self {
        Self(PhantomData)
    }

    /// As [`Model::new`].
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    #[expect(
        clippy::new_ret_no_self,
        reason = "it stands for the type of the model, which has no name"
    )]
    pub fn new(self, device: &Device, seed: u64) -> Result<M> {
        M::new(device, seed)
    }

    /// As [`Model::builder`].
    pub fn builder(self, device: &Device) -> Builder<M> {
        M::builder(device)
    }

    /// As [`Model::summary`].
    #[must_use]
    pub fn summary(self) -> String {
        M::summary()
    }

    /// As [`Model::diagram`].
    #[must_use]
    pub fn diagram(self) -> String {
        M::diagram()
    }

    /// As [`Model::explain`].
    #[must_use]
    pub fn explain(self) -> String {
        M::explain()
    }
}

impl<M> Clone for Network<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Network<M> {}

impl<M> std::fmt::Debug for Network<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}

/// Choices for a model that is to be made.
#[derive(Debug)]
#[must_use]
pub struct Builder<M> {
    device: Device,
    seed: u64,
    precision: Precision,
    model: PhantomData<fn() -> M>,
}

impl<M: Model> Builder<M> {
    /// The seed of initial values and random operations (0 if none is given).
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The precision in which it computes (`F32` if none is given).
    pub fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Makes the model.
    ///
    /// # Errors
    ///
    /// If the device cannot be used or the parameters do not fit into memory.
    pub fn build(self) -> Result<M> {
        let (program, generics) = M::program();
        Ok(M::from_core(Core::new(
            &self.device,
            program,
            generics,
            self.precision,
            self.seed,
        )?))
    }
}
