//! What a call borrows: buffers of the workspace, and arguments where kernels can read them.

use super::{Mode, Workspace, at_least};
use crate::arena::{Region, Storage};
use crate::call::arg::{self, HostArg};
use crate::dtype::Precision;
use crate::error::Result;
use crate::profile::Laps;
use crate::program::{Sizes, SlotSpec};
use crate::small::Whole;

impl Workspace {
    /// Copies those arguments that kernels cannot read in place.
    #[inline]
    pub(crate) fn stage(&mut self, args: &[HostArg<'_>]) -> Result<()> {
        let precision = self.precision();
        if args.iter().all(|given| given.region(precision).is_some()) {
            return Ok(());
        }
        self.copy_args(args)
    }

    fn copy_args(&mut self, args: &[HostArg<'_>]) -> Result<()> {
        let (precision, inputs) = (self.precision(), self.function().inputs);
        for (k, (given, spec)) in args.iter().zip(inputs).enumerate() {
            if given.region(precision).is_some() {
                continue;
            }
            let width = arg::dtype(spec.kind).width(precision);
            let n_elements = |sizes: &Sizes<'_>| sizes.shape(spec.shape).0.iter().product::<usize>();
            let needed = width * n_elements(&self.sizes());
            if self.staging[k].bytes() < needed {
                let largest = self.function().sizes(&self.max_dims, &self.generics);
                let bytes = needed.max(width * n_elements(&largest));
                self.staging[k] = at_least(&mut self.staging[k], bytes)?;
            }
            given.copy_to(&mut self.staging[k], precision);
        }
        Ok(())
    }

    /// The copies of arguments, which a call borrows beside everything else; they are to be put back.
    pub(crate) fn take_staging(&mut self) -> Vec<Storage> {
        std::mem::take(&mut self.staging)
    }

    /// Puts them back.
    pub(crate) fn put_staging(&mut self, staging: Vec<Storage>) {
        self.staging = staging;
    }

    /// What runs in one piece what the call before, of this mode, has computed; none where it did not, or a profile is taken.
    #[inline]
    pub(crate) fn whole(&self, mode: Mode) -> Option<Whole> {
        if self.ready == Some(mode) && self.recorder.is_none() {
            self.whole
        } else {
            None
        }
    }

    /// The parts that a call works with.
    #[inline(always)]
    pub(crate) fn parts(&mut self) -> Parts<'_> {
        let slots = self.slots[self.mode as usize].as_ref();
        Parts {
            sizes: self.program.functions[self.function].sizes(&self.dims, &self.generics),
            rooms: slots.map_or(&[], |slots| &slots.specs),
            slots: slots.map_or(&[], |slots| &slots.plan.offsets),
            arena: &mut self.arena,
            grads: &mut self.grads,
            new_states: &mut self.new_states,
            states_before: &self.states_before,
            laps: self.recorder.as_mut().map(|recorder| &mut recorder.laps),
        }
    }
}

/// What a call borrows from a workspace.
pub(crate) struct Parts<'w> {
    pub sizes: Sizes<'w>,
    pub slots: &'w [usize],
    pub rooms: &'w [SlotSpec],
    pub arena: &'w mut Storage,
    pub grads: &'w mut Storage,
    pub new_states: &'w mut Storage,
    pub states_before: &'w Storage,
    pub laps: Option<&'w mut Laps>,
}

/// The arguments' memory: borrowed from the caller, or staged.
#[inline(always)]
pub(crate) fn regions<'a, const N: usize>(
    args: &'a [HostArg<'_>],
    staging: &'a [Storage],
    precision: Precision,
) -> [Region<'a>; N] {
    // Not by a function of its index, which some builds call for every element.
    let mut regions = [const { Region::empty() }; N];
    for (k, given) in args.iter().enumerate() {
        regions[k] = given.region(precision).unwrap_or_else(|| staging[k].region());
    }
    regions
}
