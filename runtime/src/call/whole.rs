//! What a call works with, and calls in one piece.
//!
//! A network may be so small that finding out what to compute takes longer than computing it. So a workspace remembers that the call
//! before ran in one piece ([`small`](crate::small)), with arguments of these sizes, and the next one begins with the arithmetic.

use super::arg::HostArg;
use super::{StateSource, Surroundings};
use crate::arena::{Memory, Region};
use crate::cx::{Cx, Env, Packs};
use crate::error::Error;
use crate::model::Core;
use crate::program::Code;
use crate::small;
use crate::workspace::{MAX_ARGS, Mode, Workspace, regions};

/// As many arguments as functions of small networks have, and most others.
const FEW_ARGS: usize = 2;

/// A call whose arguments are checked and whose workspace is prepared.
pub struct Call<'c> {
    pub(super) core: &'c Core,
    pub(super) work: &'c mut Workspace,
    /// The arguments' memory.
    pub(super) inputs: &'c [Region<'c>],
    pub(super) scalars: &'c [f64],
    pub(super) around: Surroundings<'c>,
}

impl Call<'_> {
    /// The model.
    #[inline(always)]
    pub(crate) fn core(&self) -> &Core {
        self.core
    }

    /// What kernels are told. `locals` is their memory on the stack, where they have some.
    #[inline(always)]
    pub(crate) fn context<'a>(&'a mut self, failure: &'a mut Option<Error>, locals: Region<'a>) -> Cx<'a> {
        let (core, parts) = (self.core, self.work.parts());
        let states = match self.around.states {
            StateSource::Committed => core.states(),
            StateSource::Workspace => parts.states_before,
        };
        let (direction, grads) = match &mut self.around.vectors {
            Some(vectors) => (
                vectors.direction.storage().region(),
                vectors.product.storage_mut(),
            ),
            None => (Region::empty(), parts.grads),
        };
        Cx {
            env: Env {
                team: core.team(),
                isa: core.device().isa(),
                precision: core.precision(),
                seed: core.seed(),
                step: core.step(),
            },
            memory: Memory {
                arena: parts.arena.region_mut(),
                locals,
                params: core.params().region(),
                grads: grads.region_mut(),
                direction,
                states: states.region(),
                new_states: parts.new_states.region_mut(),
                inputs: self.inputs,
            },
            sizes: parts.sizes,
            slots: parts.slots,
            rooms: parts.rooms,
            packs: Packs::Absent,
            params: core.params_layout().starts(),
            states: core.states_layout().starts(),
            scalars: self.scalars,
            failure,
            laps: parts.laps,
        }
    }
}

impl Core {
    /// The call before once more, with other numbers, where that ran in one piece. `None` where it did not, or where something is
    /// different or goes wrong: then nothing that counts has happened.
    #[inline(always)]
    pub(super) fn repeat(
        &self,
        mode: Mode,
        function: usize,
        work: &mut Workspace,
        args: &[HostArg<'_>],
        scalars: &[f64],
    ) -> Option<f64> {
        let whole = work.whole(mode)?;
        let same = args.len() <= FEW_ARGS && work.is_of(self) && work.seen.is(function, args, scalars);
        if !same {
            return None;
        }
        let mut inputs = [const { Region::empty() }; FEW_ARGS];
        for (k, given) in args.iter().enumerate() {
            inputs[k] = given.region(self.precision())?;
        }
        whole(&mut Call {
            core: self,
            work,
            inputs: &inputs[..args.len()],
            scalars,
            around: StateSource::Committed.into(),
        })
    }

    /// Runs code in one piece, where it is small, in a prepared workspace; a profile asks for the time of every kernel.
    pub(super) fn in_one_piece(
        &self,
        code: &Code,
        work: &mut Workspace,
        args: &[HostArg<'_>],
        scalars: &[f64],
        around: Surroundings<'_>,
    ) -> Option<f64> {
        let whole = code.whole?;
        if work.recorder.is_some() || !small::serves(self.precision(), self.device().isa()) {
            return None;
        }
        let staging = work.take_staging();
        let inputs = regions::<MAX_ARGS>(args, &staging, self.precision());
        let value = whole(&mut Call {
            core: self,
            work,
            inputs: &inputs[..args.len()],
            scalars,
            around,
        });
        work.put_staging(staging);
        value
    }
}
