//! AMX: products of tiles of bf16 numbers (Sapphire Rapids or later).
//!
//! A process may use tiles after it has asked the system for them, once; a thread uses them between `ldtilecfg`, which says how
//! large they are, and `tilerelease`, which spares the system saving them when threads change. An [`Amx`] is the proof of the
//! first, a [`Session`] of the second. Assembly is here and in `amx/kernels.rs` alone: one block for each micro-kernel, for the compiler
//! keeps nothing in tiles.
//!
//! Sources: *Intel 64 and IA-32 Architectures Software Developer's Manual*, volume 1, chapter 18 (tiles, `CPUID` leaf 1DH), volume
//! 2 (instructions); *Using XSTATE features in user space applications* in the Linux kernel's documentation (`arch_prctl`).
//!
//! Not here: packing, and when tiles are worth it ([`gemm`](crate::cpu::gemm)).

#[cfg(target_arch = "x86_64")]
mod kernels;

use std::marker::PhantomData;

use crate::cpu::gemm::{Parts, SPOTS, Spots, Spread, Sums, Tile};
use crate::cpu::isa::Avx512;
#[cfg(target_arch = "x86_64")]
use kernels::{
    one, one_narrow, one_spread, one_wide, three, three_narrow, three_spread, three_wide, two, two_narrow,
    two_spread, two_wide,
};

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
            // SAFETY: `self` proves that tiles exist and, being the thread's only session, are configured on it. Each function reads
            // `steps` times as many tiles from `a` and `b` as was just checked.
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

    /// `sums = a b` for a strip of rows, and rows of words that lie apart.
    ///
    /// # Panics
    /// Where the strip has another length than the steps, or rows are missing.
    #[inline]
    pub(crate) fn sum(&self, parts: Parts, a: &[Tile], b: &Spread<'_>, sums: &mut Sums) {
        let _ = self.thread;
        let (runs, count) = (b.runs, parts.count());
        assert!(
            runs.count > 0
                && runs.steps > 0
                && a.len() == 2 * count * runs.count * runs.steps
                && b.end(count) <= 16 * b.words.len(),
            "{runs:?} of strips of {} tiles and rows of {} in {parts:?} parts",
            a.len(),
            b.words.len()
        );
        #[cfg(target_arch = "x86_64")]
        {
            let words = b.words.as_ptr().cast::<[u32; 16]>();
            // SAFETY: `self` proves that tiles exist and, being the thread's only session, are configured on it. What is read lies in
            // `a` and below row `b.end` of the words, as was just checked.
            unsafe {
                let halves = b.first.map(|row| words.add(row));
                match parts {
                    Parts::One => one_spread(b, a.as_ptr(), halves, sums),
                    Parts::Two => two_spread(b, a.as_ptr(), halves, sums),
                    Parts::Three => three_spread(b, a.as_ptr(), halves, sums),
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("tiles belong to x86-64, not to {sums:?}");
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
