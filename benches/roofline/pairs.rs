//! The rate of products of pairs of bf16 numbers, whose sums are f32: of tiles (AMX) where there are any, else of `vdpbf16ps`. As for
//! multiply-adds, nothing is loaded and no product waits for the one before.

use std::hint::black_box;
use std::time::Instant;

use super::clock;

/// What multiplies pairs on this CPU.
#[derive(Copy, Clone)]
pub struct Unit {
    /// Its name.
    pub name: &'static str,
    /// Repeats the products so many times.
    run: fn(usize),
    /// Floating point operations of a repetition.
    flops: usize,
    /// Repetitions that take about a millisecond.
    links: usize,
    /// Whether it works beside the units of multiply-adds, so that theirs says nothing of its speed.
    pub is_apart: bool,
}

impl Unit {
    /// The fastest unit of this CPU, if there is one.
    pub fn best() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            use tapeless::cpu::isa::Isa;
            let has = |wanted: fn(&Isa) -> bool| Isa::available().iter().any(wanted);
            if has(|isa| matches!(isa, Isa::Amx(_))) {
                return Some(TILES);
            }
            if has(|isa| matches!(isa, Isa::Avx512Bf16(_))) {
                return Some(DOTS);
            }
        }
        None
    }

    /// Floating point operations a second on some threads.
    pub fn rate(&self, threads: usize) -> f64 {
        let mut parts = vec![self.links; threads];
        let seconds = clock::seconds(&mut parts, |links| (self.run)(black_box(*links)));
        (self.flops * self.links * threads) as f64 / seconds
    }

    /// The same on the calling thread over about a millisecond, after half a millisecond that wakes the core.
    pub fn probe(&self) -> f64 {
        (self.run)(black_box(self.links / 2));
        let begin = Instant::now();
        (self.run)(black_box(self.links));
        (self.flops * self.links) as f64 / begin.elapsed().as_secs_f64()
    }
}

#[cfg(target_arch = "x86_64")]
const DOTS: Unit = Unit {
    name: "vdpbf16ps",
    run: dots::run,
    flops: dots::CHAINS * 16 * 2 * 2,
    links: 1 << 18,
    is_apart: false,
};

#[cfg(target_arch = "x86_64")]
const TILES: Unit = Unit {
    name: "tiles",
    run: tiles::run,
    flops: 4 * 16 * 16 * 32 * 2,
    links: 1 << 15,
    is_apart: true,
};

#[cfg(target_arch = "x86_64")]
mod dots {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// Independent sums.
    pub const CHAINS: usize = 12;

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn links(n: usize) {
        let numbers = _mm512_set1_ps(black_box(0.5));
        let pairs = _mm512_cvtne2ps_pbh(numbers, numbers);
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..n {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, pairs, pairs);
            }
        }
        black_box(sums);
    }

    pub fn run(n: usize) {
        // SAFETY: `Unit::best` hands this function out only where the CPU has the instructions.
        unsafe { links(n) }
    }
}

#[cfg(target_arch = "x86_64")]
mod tiles {
    /// Tiles as `ldtilecfg` reads them: palette 1, eight tiles of 16 rows of 64 bytes. (Bytes 16 to 31: bytes of a row, as words; from byte
    /// 48 on: rows.)
    #[repr(C, align(64))]
    struct Configuration([u8; 64]);

    static CONFIGURATION: Configuration = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            (bytes[16 + 2 * tile], bytes[48 + tile]) = (64, 16);
            tile += 1;
        }
        Configuration(bytes)
    };

    /// Four sums of products of four tiles, all of zeros.
    pub fn run(n: usize) {
        if n == 0 {
            return;
        }
        // SAFETY: `Unit::best` hands this function out only where the CPU has tiles and the system has let this process use them. The block
        // reads the configuration and changes nothing but tiles, which it names, and its counter.
        unsafe {
            std::arch::asm!(
                "ldtilecfg [{configuration}]",
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
                "2:",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "dec {n}",
                "jnz 2b",
                "tilerelease",
                configuration = in(reg) &raw const CONFIGURATION,
                n = inout(reg) n => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly),
            );
        }
    }
}
