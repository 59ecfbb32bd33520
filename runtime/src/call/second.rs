//! Products of the Hessian with a direction.

use super::{StateSource, Surroundings};
use crate::call::HostArg;
use crate::error::{Error, Result};
use crate::model::Core;
use crate::vector::ParamVector;
use crate::workspace::{Mode, Workspace};

/// The vectors of a product.
pub(super) struct Vectors<'a> {
    /// What the Hessian is multiplied with.
    pub direction: &'a ParamVector,
    /// Where the product goes.
    pub product: &'a mut ParamVector,
}

impl Core {
    /// The value of a function in the mode of its gradient, and the product of its Hessian with `direction`: the derivative of the
    /// gradient along it. Gradients by parameters, carried tensors and the step stay as they are; gradients by arguments and
    /// results of the call before are gone from the workspace.
    ///
    /// # Errors
    ///
    /// As [`grad`](Self::grad); and if a vector belongs to another kind of model. After an error the product is undefined.
    pub fn hvp(
        &self,
        function: usize,
        work: &mut Workspace,
        (direction, product): (&ParamVector, &mut ParamVector),
        args: &[HostArg<'_>],
        scalars: &[f64],
    ) -> Result<f64> {
        let vectors = Vectors { direction, product };
        self.multiply(function, work, vectors, args, scalars)
            .map_err(|error| error.context(self.label(function)))
    }

    fn multiply(
        &self,
        function: usize,
        work: &mut Workspace,
        vectors: Vectors<'_>,
        args: &[HostArg<'_>],
        scalars: &[f64],
    ) -> Result<f64> {
        let bound = self.bind(function, args, scalars)?;
        work.check_owner(self, function)?;
        vectors.direction.check(self.params_layout())?;
        vectors.product.check(self.params_layout())?;
        let began = work.clock();
        let Some(code) = &work.function().product else {
            let message =
                "the function has no second derivatives: it has no gradient with respect to a parameter";
            return Err(Error::config(message));
        };
        work.prepare(Mode::Product, bound.dims())?;
        work.stage(args)?;
        // Parameters that the gradient does not depend on have a product of zero, which no kernel writes.
        vectors.product.fill(0.0);
        let around = Surroundings {
            states: StateSource::Committed,
            vectors: Some(vectors),
        };
        let value = self.run(code, work, args, scalars, around)?;
        if !value.is_finite() {
            return Err(self.blame(function, args, scalars, value));
        }
        work.end_call(Mode::Product, began);
        Ok(value)
    }
}
