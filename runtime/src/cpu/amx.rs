//! AMX: products of tiles of bf16 numbers (Sapphire Rapids or later).
//!
//! A process may use tiles after it has asked the system for them, once; a thread uses them between `ldtilecfg`, which says how
//! large they are, and `tilerelease`, which spares the system saving them when threads change. An [`Amx`] is the proof of the
//! first, a [`Session`] of the second. Assembly is in this file alone: one block for each micro-kernel, for the compiler keeps
//! nothing in tiles.
//!
//! Sources: *Intel 64 and IA-32 Architectures Software Developer's Manual*, volume 1, chapter 18 (tiles, `CPUID` leaf 1DH), volume
//! 2 (instructions); *Using XSTATE features in user space applications* in the Linux kernel's documentation (`arch_prctl`).
//!
//! Not here: packing, and when tiles are worth it ([`gemm`](crate::cpu::gemm)).

use std::marker::PhantomData;

#[cfg(target_arch = "x86_64")]
use crate::cpu::gemm::{BLOCK, Step};
use crate::cpu::gemm::{Parts, SPOTS, Spots, Sums, Tile};
use crate::cpu::isa::Avx512;

/// Proof that the CPU has AMX tiles with products of bf16 numbers besides all of [`Avx512`], and that the system lets this
/// process use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Amx(Avx512);

impl Amx {
    /// The proof, if this CPU has the instructions and the system admits them. The system is asked at the first call.
    pub fn detect() -> Option<Self> {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        {
            static FOUND: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
            let avx512 = Avx512::detect()?;
            let is_there = || has_instructions() && ask_for_tiles();
            FOUND.get_or_init(is_there).then_some(Self(avx512))
        }
        #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
        None
    }

    /// The proof without a look at the CPU, for tests that carry out the instructions in software where they are missing.
    ///
    /// # Safety
    /// Executing the instructions must have the effect that the manual describes: on the CPU, or by a handler of the signal that
    /// it raises for instructions it does not know.
    #[doc(hidden)]
    pub unsafe fn assume(avx512: Avx512) -> Self {
        Self(avx512)
    }

    /// A CPU with tiles has AVX-512.
    pub fn avx512(self) -> Avx512 {
        self.0
    }

    /// Configures tiles on this thread.
    ///
    /// # Safety
    /// There must be one session on a thread at a time: the end of another would end both.
    #[inline]
    pub(crate) unsafe fn start(self) -> Session {
        Session::start(self)
    }
}

/// Whether the CPU has eight tiles of 16 rows of 64 bytes and multiplies bf16 numbers in them, and the system saves them.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_instructions() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    /// Bits of leaf 7: `amx-bf16` and `amx-tile`.
    const AMX: u32 = 1 << 22 | 1 << 24;
    /// The bit of leaf 1 that says that `xgetbv` may be asked what the system saves.
    const OSXSAVE: u32 = 1 << 27;
    /// Bits of that answer: configuration and data of tiles.
    const TILES: u64 = 1 << 17 | 1 << 18;
    const TILE_INFORMATION: u32 = 0x1d;
    // Leaf 0 gives the number of the last leaf.
    if __cpuid(0).eax < TILE_INFORMATION
        || __cpuid_count(7, 0).edx & AMX != AMX
        || __cpuid(1).ecx & OSXSAVE == 0
    {
        return false;
    }
    // SAFETY: the bit that was just looked at says that the system has made the instruction available.
    if unsafe { saved_by_system() } & TILES != TILES {
        return false;
    }
    let palette = __cpuid_count(TILE_INFORMATION, 1);
    let (row_bytes, names, rows) = (palette.ebx & 0xffff, palette.ebx >> 16, palette.ecx & 0xffff);
    row_bytes >= 64 && names >= 8 && rows >= 16
}

/// What of the CPU's state the system saves.
///
/// # Safety
/// The CPU must have `xgetbv`, and the system must have made it available.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[target_feature(enable = "xsave")]
unsafe fn saved_by_system() -> u64 {
    // SAFETY: the caller has the instruction; register 0 exists wherever it does.
    unsafe { std::arch::x86_64::_xgetbv(0) }
}

/// Asks the system for tiles, for all threads of this process: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`. A system
/// that does not know the request refuses it, and so does one where a thread's stack for signals has no room for tiles.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn ask_for_tiles() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: i64 = 0x1023;
    const TILE_DATA: i64 = 18;
    let result: i64;
    // SAFETY: a system call that changes nothing but what this process may execute; the kernel keeps all registers but these.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Tiles as `ldtilecfg` reads them: eight of 16 rows of 64 bytes.
#[cfg(target_arch = "x86_64")]
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

#[cfg(target_arch = "x86_64")]
static CONFIGURATION: Configuration = {
    let mut configuration = Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [0; 16],
        rows: [0; 16],
    };
    let mut tile = 0;
    while tile < 8 {
        (configuration.row_bytes[tile], configuration.rows[tile]) = (64, 16);
        tile += 1;
    }
    configuration
};

/// A thread whose tiles are configured, until this is dropped. It stays on its thread.
pub(crate) struct Session {
    thread: PhantomData<*const ()>,
}

impl Session {
    #[inline]
    fn start(_: Amx) -> Self {
        // SAFETY: the argument proves that the instruction exists. It reads the 64 bytes of a valid configuration and changes
        // nothing but tiles, in which the compiler keeps nothing.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::asm!(
                "ldtilecfg [{from}]",
                from = in(reg) &raw const CONFIGURATION,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags, readonly),
            );
        }
        Self { thread: PhantomData }
    }

    /// `sums = a b` for a strip of rows and one of columns, in this many parts.
    ///
    /// # Panics
    /// Where the strips have different lengths, or not whole steps.
    #[inline]
    pub(crate) fn multiply(&self, parts: Parts, a: &[Tile], b: &[Tile], sums: &mut Sums) {
        let _ = self.thread;
        let tiles = 2 * parts.count();
        assert!(
            a.len() == b.len() && a.len().is_multiple_of(tiles) && !a.is_empty(),
            "strips of {} and {} tiles in {parts:?} parts",
            a.len(),
            b.len()
        );
        #[cfg(target_arch = "x86_64")]
        {
            let (steps, a, b) = (a.len() / tiles, a.as_ptr(), b.as_ptr());
            // SAFETY: `self` proves that tiles exist and, being the thread's only session, are configured on it. Each function reads `steps` times as many
            // tiles from `a` and `b` as was just checked.
            unsafe {
                match parts {
                    Parts::One => one(steps, a, b, sums),
                    Parts::Two => two(steps, a, b, sums),
                    Parts::Three => three(steps, a, b, sums),
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("tiles belong to x86-64, not to {:?}", (parts, sums));
    }
}

impl Session {
    /// Sums over the windows of places: 16 rows for each run of places, of which there are up to two where there are more than 16
    /// columns, and up to four otherwise.
    ///
    /// # Panics
    /// Where the places leave their plane, or there are too many runs of them.
    #[inline]
    pub(crate) fn windows(&self, work: &Spots<'_>, sums: &mut [Sums; 2]) {
        let _ = self.thread;
        let most = if work.columns > 16 { 2 } else { SPOTS };
        assert!(
            work.are_held(16)
                && work.have_tiles()
                && !work.steps.is_empty()
                && (1..=most).contains(&work.at.len()),
            "places leave their plane"
        );
        #[cfg(target_arch = "x86_64")]
        {
            // What is left of a full set repeats the last run.
            let last = work.at[work.at.len() - 1];
            let mut spots = [work.halves.as_ptr(); SPOTS];
            for (i, spot) in spots.iter_mut().enumerate() {
                *spot = spot.wrapping_add(work.at.get(i).copied().unwrap_or(last));
            }
            let kernel = match (work.parts, work.columns > 16) {
                (Parts::One, true) => one_wide,
                (Parts::Two, true) => two_wide,
                (Parts::Three, true) => three_wide,
                (Parts::One, false) => one_narrow,
                (Parts::Two, false) => two_narrow,
                (Parts::Three, false) => three_narrow,
            };
            let steps = [2 * work.step, 2 * work.plane];
            // SAFETY: `self` proves that tiles exist and, being the thread's only session, are configured on it. It was just checked
            // that planes hold the 32 numbers of each step of 16 places from each of `spots` on, that there are as many tiles of
            // weights as steps need, and that there is a step.
            unsafe { kernel(&spots, steps, work.steps, work.weights.as_ptr(), sums) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("tiles belong to x86-64, not to {:?}", (work.parts, sums));
    }
}

impl Drop for Session {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: a session exists only where the instructions do; tiles hold nothing that anybody reads.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags, nomem),
            );
        }
    }
}

/// Micro-kernels: the name, the number of parts, and for every product of parts what is loaded for it. The order is that of
/// [`Parts::products`]; a part that the product before it used as well stays where it is. Tiles 0 to 3 are the sums of the block's
/// quarters, 4 and 5 the part of `a` for its upper and lower half, 6 and 7 that of `b` for its left and right half.
#[cfg(target_arch = "x86_64")]
macro_rules! micro_kernels {
    ($($name:ident $parts:literal [$($($side:ident $part:literal)+),+];)*) => {$(
        /// `sums = a b` over `steps` times 32 of `k`.
        ///
        /// # Safety
        /// Tiles must be configured on this thread as a [`Session`] does it, and `a` and `b` must point to `steps` times as many
        /// tiles as two for each part.
        #[inline(never)]
        unsafe fn $name(steps: usize, a: *const Tile, b: *const Tile, sums: &mut Sums) {
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

#[cfg(target_arch = "x86_64")]
micro_kernels! {
    one 1 [a 0 b 0];
    two 2 [a 0 b 1, b 0, a 1];
    three 3 [a 0 b 2, b 1, a 1, b 0, a 2, a 0];
}

/// Micro-kernels over windows: the name, the number of parts, the form, and for every product of parts the part of the images, and that
/// of the weights where the product before it used another. The order is that of [`Parts::products`].
///
/// The wide form has two runs of 16 places by 32 columns. Tiles 0 to 3 are the sums, 4 and 5 the part of the upper and of the lower
/// run, 6 and 7 that of the left and of the right columns. The narrow one has four runs of places by 16 columns: tiles 0 to 3 are
/// their sums, 4 to 6 the runs' parts in turn, 7 that of the columns.
#[cfg(target_arch = "x86_64")]
macro_rules! window_kernels {
    ($($name:ident $parts:literal $form:ident [$($part:tt $($weights:literal)?),+];)*) => {$(
        /// Sums over windows: of the 16 places from each of `spots` on, `[place, part]` bytes apart from the next.
        ///
        /// # Safety
        /// Tiles must be configured on this thread as a [`Session`] does it. There must be a step; each must be 32 numbers that can be
        /// read of every part of every place; `weights` must point to two tiles for each part of each step.
        #[inline(never)]
        unsafe fn $name(
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

#[cfg(target_arch = "x86_64")]
window_kernels! {
    one_wide 1 wide [0 0];
    two_wide 2 wide [0 1, = 0, 1];
    three_wide 3 wide [0 2, = 1, 1, = 0, 2, 0];
    one_narrow 1 narrow [0 0];
    two_narrow 2 narrow [0 1, 0 0, 1];
    three_narrow 3 narrow [0 2, 0 1, 1, 1 0, 2, 0];
}
