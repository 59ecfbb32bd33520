//! What stands in for the parts of a model that its compilation has not made: they have to exist for a model with an
//! error, so that rustc reports that error and no others.

use crate::program::Program;

/// A field of a model's struct: nothing, under the user's name.
///
/// The numbers of a layer lie in the model's flat buffers and are reached by their path.
#[derive(Clone, Copy, Debug)]
pub struct Handle;

/// Items that every type has, unless it has inherent ones of the same names: rustc prefers those.
///
/// The macro emits inherent items for a model that it has compiled. Where it could not, a use of the name means the item
/// of this trait.
pub trait Fallback {
    /// The key of the type's definition; 0 is the key of none.
    const __KEY: u64 = 0;

    /// Whether there is a `#[model] impl`.
    const __HAS_FUNCTIONS: bool = false;

    /// The program of a model that could not be compiled. It is never run: the error that it stands for stops the
    /// build.
    fn __program() -> (&'static Program, Vec<usize>) {
        static NOTHING: Program = Program {
            name: "a model with errors",
            key: 0,
            params: &[],
            states: &[],
            layers: &[],
            functions: &[],
            names: &[],
        };
        (&NOTHING, Vec::new())
    }
}

impl<T: ?Sized> Fallback for T {}
