//! A weight gradient as compiled code asks for it.

use std::num::NonZeroUsize;

use tapeless_runtime::Precision;
use tapeless_runtime::arena::{Buf, Memory, Place, Region, Storage, align_up};
use tapeless_runtime::cpu::isa::Isa;
use tapeless_runtime::cpu::threads::Team;
use tapeless_runtime::cx::{Cx, Env};
use tapeless_runtime::ops::conv::{Conv2d, SHARDS, conv2d_weight_grad};
use tapeless_runtime::program::Sizes;

/// Buffers of one weight gradient, and who computes it.
pub struct WeightGradient {
    conv: Conv2d,
    precision: Precision,
    isa: Isa,
    team: Team,
    storage: Storage,
    /// The image, its cotangent, the gradient, and scratch memory.
    buffers: [Buf; 4],
}

impl WeightGradient {
    pub fn new(conv: Conv2d, given: [&[f32]; 2], (precision, isa, threads): (Precision, Isa, usize)) -> Self {
        let len = conv.in_channels * conv.out_channels * conv.kernel[0] * conv.kernel[1];
        let mut used = 0;
        let buffers = [given[0].len(), given[1].len(), len, SHARDS * len].map(|len| {
            let offset = used;
            used += align_up(len * size_of::<f32>());
            Buf {
                place: Place::Arena,
                offset,
                len,
                width: size_of::<f32>(),
            }
        });
        let mut storage = Storage::zeroed(used);
        for (buf, numbers) in buffers.iter().zip(given) {
            storage.as_mut_slice::<f32>()[buf.offset / 4..][..buf.len].copy_from_slice(numbers);
        }
        Self {
            conv,
            precision,
            isa,
            team: Team::new(NonZeroUsize::new(threads).unwrap()).unwrap(),
            storage,
            buffers,
        }
    }

    pub fn compute(&mut self) -> &[f32] {
        let memory = Memory {
            arena: self.storage.region_mut(),
            locals: Region::empty(),
            params: Region::empty(),
            grads: Region::empty(),
            direction: Region::empty(),
            states: Region::empty(),
            new_states: Region::empty(),
            inputs: &[],
        };
        let mut cx = Cx {
            env: Env {
                team: &self.team,
                isa: self.isa,
                precision: self.precision,
                seed: 0,
                step: 0,
            },
            memory,
            sizes: Sizes {
                dims: &[],
                generics: &[],
                names: &[],
            },
            slots: &[],
            rooms: &[],
            packs: tapeless_runtime::cx::Packs::Absent,
            params: &[],
            states: &[],
            scalars: &[],
            failure: &mut None,
            laps: None,
        };
        let [x, dy, dw, scratch] = self.buffers;
        conv2d_weight_grad(&mut cx, x, dy, dw, scratch, self.conv);
        &self.storage.as_slice::<f32>()[dw.offset / 4..][..dw.len]
    }
}
