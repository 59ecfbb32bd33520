//! The micro-kernels on tiles: one block of assembly each.

use crate::cpu::gemm::{BLOCK, SPOTS, Spread, Step, Sums, Tile};

/// Micro-kernels: the name, the number of parts, and for every product of parts what is loaded for it. The order is that of
/// [`Parts::products`](crate::cpu::gemm::Parts::products); a part that the product before it used as well stays where it is. Tiles 0 to 3 are the sums of the block's
/// quarters, 4 and 5 the part of `a` for its upper and lower half, 6 and 7 that of `b` for its left and right half.
macro_rules! micro_kernels {
    ($($name:ident $parts:literal [$($($side:ident $part:literal)+),+];)*) => {$(
        /// `sums = a b` over `steps` times 32 of `k`.
        ///
        /// # Safety
        /// Tiles must be configured on this thread as a [`Session`](super::Session) does it. There must be a step, and `a` and `b` must
        /// point to `steps` times as many tiles as two for each part.
        #[inline(never)]
        pub(super) unsafe fn $name(steps: usize, a: *const Tile, b: *const Tile, sums: &mut Sums) {
            // SAFETY: the caller has tiles. What is read lies in the tiles at `a` and `b`, as many as the caller says; what is
            // written are the rows of 64 bytes, 128 apart, of the quarters of `sums`. Every tile that is changed is named.
            unsafe {
                std::arch::asm!(
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    "2:",
                    $($(micro_kernels!(@load $side $part),)+
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",)+
                    "add {a}, {step}",
                    "add {b}, {step}",
                    "dec {steps}",
                    "jnz 2b",
                    "add {row}, {row}",
                    "tilestored [{to} + {row}*1], tmm0",
                    "tilestored [{to} + {row}*1 + 64], tmm1",
                    "tilestored [{to} + {row}*1 + {lower}], tmm2",
                    "tilestored [{to} + {row}*1 + {lower} + 64], tmm3",
                    a = inout(reg) a => _,
                    b = inout(reg) b => _,
                    steps = inout(reg) steps => _,
                    row = inout(reg) 64_usize => _,
                    to = in(reg) sums,
                    step = const 2 * $parts * size_of::<Tile>(),
                    lower = const BLOCK / 2 * BLOCK * size_of::<f32>(),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    )*};
    (@load a $part:literal) => {
        concat!(
            "tileloadd tmm4, [{a} + {row}*1 + 2048*", $part, "]\n",
            "tileloadd tmm5, [{a} + {row}*1 + 2048*", $part, " + 1024]",
        )
    };
    (@load b $part:literal) => {
        concat!(
            "tileloadd tmm6, [{b} + {row}*1 + 2048*", $part, "]\n",
            "tileloadd tmm7, [{b} + {row}*1 + 2048*", $part, " + 1024]",
        )
    };
}

micro_kernels! {
    one 1 [a 0 b 0];
    two 2 [a 0 b 1, b 0, a 1];
    three 3 [a 0 b 2, b 1, a 1, b 0, a 2, a 0];
}

/// Micro-kernels over windows: the name, the number of parts, the form, and for every product of parts the part of the images, and that
/// of the weights where the product before it used another. The order is that of [`Parts::products`](crate::cpu::gemm::Parts::products).
///
/// The wide form has two runs of 16 places by 32 columns. Tiles 0 to 3 are the sums, 4 and 5 the part of the upper and of the lower
/// run, 6 and 7 that of the left and of the right columns. The narrow one has four runs of places by 16 columns: tiles 0 to 3 are
/// their sums, 4 to 6 the runs' parts in turn, 7 that of the columns.
macro_rules! window_kernels {
    ($($name:ident $parts:literal $form:ident [$($part:tt $($weights:literal)?),+];)*) => {$(
        /// Sums over windows: of the 16 places from each of `spots` on, `[place, part]` bytes apart from the next.
        ///
        /// # Safety
        /// Tiles must be configured on this thread as a [`Session`](super::Session) does it. There must be a step; each must be 32 numbers that can be
        /// read of every part of every place; `weights` must point to two tiles for each part of each step.
        #[inline(never)]
        pub(super) unsafe fn $name(
            spots: &[*const u16; SPOTS],
            [place, part]: [usize; 2],
            steps: &[Step],
            weights: *const Tile,
            sums: &mut [Sums; 2],
        ) {
            // SAFETY: the caller has tiles. What is read are steps' numbers and tiles of weights, which the caller has; what is
            // written are rows of 64 bytes, 128 apart, of the 64 rows of `sums`. Every tile that is changed is named.
            unsafe {
                std::arch::asm!(
                    "# {part}: with one part nothing else names it",
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    "2:",
                    "mov {at}, [{steps}]",
                    "add {at}, {at}",
                    $(window_kernels!(@product $form $part $($weights)?),)+
                    "add {steps}, {step}",
                    "add {weights}, {tiles}",
                    "dec {count}",
                    "jnz 2b",
                    "add {row}, {row}",
                    window_kernels!(@store $form),
                    spots = in(reg) spots,
                    place = in(reg) place,
                    part = in(reg) part,
                    steps = inout(reg) steps.as_ptr() => _,
                    count = inout(reg) steps.len() => _,
                    weights = inout(reg) weights => _,
                    at = out(reg) _,
                    from = out(reg) _,
                    row = inout(reg) 64_usize => _,
                    to = in(reg) sums,
                    step = const size_of::<Step>(),
                    tiles = const 2 * $parts * size_of::<Tile>(),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    )*};
    (@product wide $part:tt $($weights:literal)?) => {
        concat!(
            window_kernels!(@image 0 $part "tmm4"),
            window_kernels!(@image 1 $part "tmm5"),
            $("tileloadd tmm6, [{weights} + {row}*1 + 2048*", $weights, "]\n",
            "tileloadd tmm7, [{weights} + {row}*1 + 2048*", $weights, " + 1024]\n",)?
            "tdpbf16ps tmm0, tmm4, tmm6\n",
            "tdpbf16ps tmm1, tmm4, tmm7\n",
            "tdpbf16ps tmm2, tmm5, tmm6\n",
            "tdpbf16ps tmm3, tmm5, tmm7",
        )
    };
    (@product narrow $part:tt $($weights:literal)?) => {
        concat!(
            $("tileloadd tmm7, [{weights} + {row}*1 + 2048*", $weights, "]\n",)?
            window_kernels!(@image 0 $part "tmm4"),
            "tdpbf16ps tmm0, tmm4, tmm7\n",
            window_kernels!(@image 1 $part "tmm5"),
            "tdpbf16ps tmm1, tmm5, tmm7\n",
            window_kernels!(@image 2 $part "tmm6"),
            "tdpbf16ps tmm2, tmm6, tmm7\n",
            window_kernels!(@image 3 $part "tmm4"),
            "tdpbf16ps tmm3, tmm4, tmm7",
        )
    };
    // A part of the places of a run; none where the product before has loaded it.
    (@image $spot:literal = $tile:literal) => { "" };
    (@image $spot:literal 0 $tile:literal) => {
        concat!(
            "mov {from}, [{spots} + 8*", $spot, "]\n",
            "add {from}, {at}\n",
            "tileloadd ", $tile, ", [{from} + {place}*1]\n",
        )
    };
    (@image $spot:literal 1 $tile:literal) => {
        concat!(
            "mov {from}, [{spots} + 8*", $spot, "]\n",
            "add {from}, {at}\n",
            "add {from}, {part}\n",
            "tileloadd ", $tile, ", [{from} + {place}*1]\n",
        )
    };
    (@image $spot:literal 2 $tile:literal) => {
        concat!(
            "mov {from}, [{spots} + 8*", $spot, "]\n",
            "add {from}, {at}\n",
            "lea {from}, [{from} + {part}*2]\n",
            "tileloadd ", $tile, ", [{from} + {place}*1]\n",
        )
    };
    (@store wide) => {
        concat!(
            "tilestored [{to} + {row}*1], tmm0\n",
            "tilestored [{to} + {row}*1 + 64], tmm1\n",
            "tilestored [{to} + {row}*1 + 2048], tmm2\n",
            "tilestored [{to} + {row}*1 + 2112], tmm3",
        )
    };
    (@store narrow) => {
        concat!(
            "tilestored [{to} + {row}*1], tmm0\n",
            "tilestored [{to} + {row}*1 + 2048], tmm1\n",
            "tilestored [{to} + {row}*1 + 4096], tmm2\n",
            "tilestored [{to} + {row}*1 + 6144], tmm3",
        )
    };
}

window_kernels! {
    one_wide 1 wide [0 0];
    two_wide 2 wide [0 1, = 0, 1];
    three_wide 3 wide [0 2, = 1, 1, = 0, 2, 0];
    one_narrow 1 narrow [0 0];
    two_narrow 2 narrow [0 1, 0 0, 1];
    three_narrow 3 narrow [0 2, 0 1, 1, 1 0, 2, 0];
}

/// The same where the rows of `b` lie apart: each half of its columns at a place of its own, every second row, the parts a distance
/// apart that the caller says. Rows are 64 bytes.
macro_rules! spread_kernels {
    ($($name:ident $parts:literal [$($($side:ident $part:tt)+),+];)*) => {$(
        /// `sums = a b` over the runs of `b`.
        ///
        /// # Safety
        /// Tiles must be configured on this thread as a [`Session`](super::Session) does it. There must be a run, and a step in each; `a`
        /// must point to as many tiles for each step of the runs as two for each part, and `halves` to the rows that [`Spread`] says
        /// of the same memory.
        #[inline(never)]
        pub(super) unsafe fn $name(b: &Spread<'_>, a: *const Tile, halves: [*const [u32; 16]; 2], sums: &mut Sums) {
            const ROW: usize = size_of::<[u32; 16]>();
            let jump = (b.runs.pitch * ROW).wrapping_sub(b.runs.steps * BLOCK * ROW);
            // SAFETY: the caller has tiles. What is read lies in the tiles at `a` and in the rows at `halves`, as many as the caller says;
            // what is written are the rows of 64 bytes, 128 apart, of the quarters of `sums`. Every tile that is changed is named.
            unsafe {
                std::arch::asm!(
                    "/* Parts lie {part} apart; {at} is the address of one, where there are several. */",
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    "3:",
                    "mov {step}, {steps}",
                    "2:",
                    $($(spread_kernels!(@load $side $part),)+
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",)+
                    "add {a}, {tiles}",
                    "add {left}, {next}",
                    "add {right}, {next}",
                    "dec {step}",
                    "jnz 2b",
                    "add {left}, {jump}",
                    "add {right}, {jump}",
                    "dec {runs}",
                    "jnz 3b",
                    "tilestored [{to} + {row}*2], tmm0",
                    "tilestored [{to} + {row}*2 + 64], tmm1",
                    "tilestored [{to} + {row}*2 + {lower}], tmm2",
                    "tilestored [{to} + {row}*2 + {lower} + 64], tmm3",
                    a = inout(reg) a => _,
                    left = inout(reg) halves[0] => _,
                    right = inout(reg) halves[1] => _,
                    runs = inout(reg) b.runs.count => _,
                    steps = in(reg) b.runs.steps,
                    step = out(reg) _,
                    part = in(reg) b.part * ROW,
                    at = out(reg) _,
                    jump = in(reg) jump,
                    row = in(reg) ROW,
                    to = in(reg) sums,
                    tiles = const 2 * $parts * size_of::<Tile>(),
                    next = const BLOCK * ROW,
                    lower = const BLOCK / 2 * BLOCK * size_of::<f32>(),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    )*};
    (@load a $part:literal) => {
        concat!(
            "tileloadd tmm4, [{a} + {row}*1 + 2048*", $part, "]\n",
            "tileloadd tmm5, [{a} + {row}*1 + 2048*", $part, " + 1024]",
        )
    };
    (@load b 0) => {
        "tileloadd tmm6, [{left} + {row}*2]\n tileloadd tmm7, [{right} + {row}*2]"
    };
    (@load b $part:literal) => {
        concat!(
            "lea {at}, [{left} + {part}*", $part, "]\n",
            "tileloadd tmm6, [{at} + {row}*2]\n",
            "lea {at}, [{right} + {part}*", $part, "]\n",
            "tileloadd tmm7, [{at} + {row}*2]",
        )
    };
}

spread_kernels! {
    one_spread 1 [a 0 b 0];
    two_spread 2 [a 0 b 1, b 0, a 1];
    three_spread 3 [a 0 b 2, b 1, a 1, b 0, a 2, a 0];
}
