//! Instruction sets: which of them this CPU has, and running code compiled for one of them.
//!
//! A function may use AVX2 only on a CPU that has it. The proof is a value: an [`Avx2`] exists only where
//! detection found the instructions, so a function that is handed one may rely on them. [`Isa`] is the choice
//! among the proofs, and [`Isa::run`] compiles a [`Kernel`] once for each instruction set and calls the right
//! one; its body is the only place that turns a proof into `unsafe`.
//!
//! Two of the sets differ from plain AVX-512 in products of matrices alone: [`Isa::Avx512Bf16`] and [`Isa::Amx`]. Everything else
//! runs on the vectors of [`Isa::vectors`].
//!
//! Not here: which instruction set serves which shape best (kernels know).

use std::fmt::{self, Display, Formatter};
use std::sync::OnceLock;

use super::amx::Amx;
use crate::dtype::Precision;
use crate::error::Error;

/// Proof that the CPU has AVX2, FMA, BMI1 and BMI2 (x86-64-v3, Haswell and Zen or later).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Avx2(());

/// Proof that the CPU has AVX-512 F, BW, CD, DQ and VL besides all of [`Avx2`] (x86-64-v4, Skylake-X and
/// Zen 4 or later).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Avx512(());

/// Proof that the CPU has AVX512-BF16, dot products of pairs of bf16 numbers, besides all of [`Avx512`] (Cooper Lake, Sapphire
/// Rapids, Zen 4 or later).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Avx512Bf16(());

/// Proof that the CPU has the Advanced SIMD instructions of AArch64 (all of them do, in practice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Neon(());

impl Avx2 {
    /// The proof, if this CPU has the instructions.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let found = std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("fma")
                && std::arch::is_x86_feature_detected!("bmi1")
                && std::arch::is_x86_feature_detected!("bmi2");
            found.then_some(Avx2(()))
        }
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Runs `kernel`. Compiles `kernel` for this set alone, which [`Isa::run`] does for every set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: the proof says that the CPU has the features that the callee enables.
            unsafe { run_avx2(kernel) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        kernel.run()
    }
}

impl Avx512 {
    /// The proof, if this CPU has the instructions.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let found = Avx2::detect().is_some()
                && std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512bw")
                && std::arch::is_x86_feature_detected!("avx512cd")
                && std::arch::is_x86_feature_detected!("avx512dq")
                && std::arch::is_x86_feature_detected!("avx512vl");
            found.then_some(Avx512(()))
        }
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Runs `kernel`. Compiles `kernel` for this set alone, which [`Isa::run`] does for every set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: the proof says that the CPU has the features that the callee enables.
            unsafe { run_avx512(kernel) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        kernel.run()
    }

    /// A CPU with AVX-512 has AVX2.
    #[inline]
    pub fn avx2(self) -> Avx2 {
        Avx2(())
    }
}

impl Avx512Bf16 {
    /// The proof, if this CPU has the instructions.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        {
            let found = Avx512::detect().is_some() && std::arch::is_x86_feature_detected!("avx512bf16");
            found.then_some(Avx512Bf16(()))
        }
        #[cfg(not(target_arch = "x86_64"))]
        None
    }

    /// Runs `kernel`, compiled for this set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: the proof says that the CPU has the features that the callee enables.
            unsafe { run_avx512_bf16(kernel) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        kernel.run()
    }

    /// A CPU with AVX512-BF16 has AVX-512.
    pub fn avx512(self) -> Avx512 {
        Avx512(())
    }

    /// The end of what only other CPUs do.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn is_nowhere(self) -> ! {
        unreachable!("AVX512-BF16 belongs to x86-64")
    }
}

impl Neon {
    /// The proof, if this CPU has the instructions.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "aarch64")]
        {
            std::arch::is_aarch64_feature_detected!("neon").then_some(Neon(()))
        }
        #[cfg(not(target_arch = "aarch64"))]
        None
    }

    /// Runs `kernel`, compiled for this set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "aarch64")]
        {
            // SAFETY: the proof says that the CPU has the features that the callee enables.
            unsafe { run_neon(kernel) }
        }
        #[cfg(not(target_arch = "aarch64"))]
        kernel.run()
    }
}

/// An instruction set that this CPU has.
///
/// ```
/// use tapeless_runtime::cpu::isa::Isa;
///
/// println!("running on {}", Isa::best());
/// assert_eq!("portable".parse(), Ok(Isa::Portable));
/// assert!(Isa::available().contains(&Isa::best()));
/// assert!(Isa::available().contains(&Isa::best().vectors()));
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// What the target of the build has at least: SSE2 on x86-64.
    Portable,
    /// 256-bit vectors of x86-64.
    Avx2(Avx2),
    /// 512-bit vectors of x86-64.
    Avx512(Avx512),
    /// The same vectors, and dot products of pairs of bf16 numbers, which serve [`Precision::Bf16`].
    Avx512Bf16(Avx512Bf16),
    /// The same vectors, and products of tiles of bf16 numbers, which serve all precisions but `F64`.
    Amx(Amx),
    /// 128-bit vectors of AArch64.
    Neon(Neon),
}

/// An instruction set that was asked for by name and cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsaError {
    /// No instruction set has this name.
    Unknown(String),
    /// The name is right, but this CPU lacks the instructions.
    Missing {
        /// The instruction set that was asked for.
        name: &'static str,
    },
}

impl Display for IsaError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(
                    f,
                    "`{name}` is no instruction set; choose one of {}",
                    NAMES.join(", ")
                )
            }
            Self::Missing { name } => write!(f, "this CPU has no {name}; it has {}", list(Isa::available())),
        }
    }
}

impl std::error::Error for IsaError {}

impl From<IsaError> for Error {
    fn from(error: IsaError) -> Self {
        Error::config(error.to_string()).with_source(error)
    }
}

const NAMES: [&str; 6] = ["portable", "avx2", "avx512", "avx512bf16", "amx", "neon"];

fn list(sets: &[Isa]) -> String {
    sets.iter().map(Isa::name).collect::<Vec<_>>().join(", ")
}

impl Isa {
    /// The instruction sets that this CPU has, the most capable first; `Portable` is the last.
    ///
    /// Detected at the first call.
    pub fn available() -> &'static [Isa] {
        static AVAILABLE: OnceLock<Vec<Isa>> = OnceLock::new();
        AVAILABLE.get_or_init(|| {
            let found = [
                Amx::detect().map(Isa::Amx),
                Avx512Bf16::detect().map(Isa::Avx512Bf16),
                Avx512::detect().map(Isa::Avx512),
                Avx2::detect().map(Isa::Avx2),
                Neon::detect().map(Isa::Neon),
                Some(Isa::Portable),
            ];
            found.into_iter().flatten().collect()
        })
    }

    /// The most capable instruction set of this CPU.
    pub fn best() -> Isa {
        Isa::available()[0]
    }

    /// The set whose vectors this one has: `Portable`, `Avx2`, `Avx512` or `Neon`, for code that has a variant for each width of
    /// vectors.
    pub fn vectors(self) -> Isa {
        match self {
            Isa::Avx512Bf16(bf16) => Isa::Avx512(bf16.avx512()),
            Isa::Amx(amx) => Isa::Avx512(amx.avx512()),
            other => other,
        }
    }

    /// The smallest set on which a precision gives the same bits as on this one: what checkpoints record. Only products of
    /// matrices see more than vectors, and only in the precisions that ask for it.
    pub fn serving(self, precision: Precision) -> Isa {
        match (self, precision) {
            (Isa::Amx(_), Precision::F32 | Precision::High | Precision::Bf16) => self,
            (Isa::Avx512Bf16(_), Precision::Bf16) => self,
            _ => self.vectors(),
        }
    }

    /// The name by which users choose it and checkpoints record it: `amx`, `avx512bf16`, `avx512`, `avx2`, `neon` or `portable`.
    pub fn name(&self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2(_) => "avx2",
            Isa::Avx512(_) => "avx512",
            Isa::Avx512Bf16(_) => "avx512bf16",
            Isa::Amx(_) => "amx",
            Isa::Neon(_) => "neon",
        }
    }

    /// Runs `kernel`, compiled for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.vectors() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the proof says that the CPU has the features that the callee enables.
            Isa::Avx2(Avx2(())) => unsafe { run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx512(Avx512(())) => unsafe { run_avx512(kernel) },
            // What every CPU of AArch64 has is in the baseline: the code would be the same. A proof of another architecture's
            // instructions does not exist; nothing would be wrong.
            _ => run_portable(kernel),
        }
    }
}

/// Code to be compiled once for each instruction set: see [`Isa::run`].
///
/// Implementations must put `#[inline(always)]` on [`run`](Kernel::run) and on all that it calls: code takes
/// the instruction set of the function into which it is inlined, and is correct but slow where it is not.
/// Closures cannot be told to be inlined, and a large one will not be: use `for` loops around the arithmetic,
/// never `for_each`, and put dispatch inside the closures that are given to a team, not around them.
///
/// ```
/// use tapeless_runtime::cpu::isa::{Isa, Kernel};
/// use tapeless_runtime::real::Real;
///
/// struct Sigmoid<'a, T>(&'a mut [T]);
///
/// impl<T: Real> Kernel for Sigmoid<'_, T> {
///     type Output = ();
///     #[inline(always)]
///     fn run(self) {
///         for x in self.0 {
///             *x = x.sigmoid();
///         }
///     }
/// }
/// let mut data = [0.0f32; 8];
/// Isa::best().run(Sigmoid(&mut data));
/// assert_eq!(data, [0.5; 8]);
/// ```
pub trait Kernel {
    /// What the kernel gives back.
    type Output;

    /// The work, with everything it needs in `self`.
    fn run(self) -> Self::Output;
}

/// Runs a kernel with the instructions that every CPU of the target has: what [`Isa::Portable`] does.
///
/// A call of its own, as those of the other sets are: a kernel is compiled here, once, not wherever it is started.
#[inline(never)]
pub fn run_portable<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,bmi1,bmi2")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi1,bmi2")]
fn run_avx512_bf16<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn run_neon<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

impl Display for Isa {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Isa {
    type Err = IsaError;

    /// The instruction set called `name`, if this CPU has it.
    fn from_str(name: &str) -> Result<Isa, IsaError> {
        let Some(known) = NAMES.into_iter().find(|known| *known == name) else {
            return Err(IsaError::Unknown(name.to_owned()));
        };
        let found = Isa::available().iter().find(|isa| isa.name() == name);
        found.copied().ok_or(IsaError::Missing { name: known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::vecmath::ulp;
    use crate::real::Real;

    #[test]
    fn the_best_is_available_and_every_choice_can_be_forced() {
        assert_eq!(Isa::available().last(), Some(&Isa::Portable));
        assert_eq!(Isa::best(), Isa::available()[0]);
        for isa in Isa::available() {
            assert_eq!(isa.to_string().parse(), Ok(*isa));
        }
    }

    #[test]
    fn a_set_serves_a_precision_with_as_much_as_its_products_need() {
        for &isa in Isa::available() {
            assert_eq!(isa.serving(Precision::F64), isa.vectors());
            assert_eq!(isa.serving(Precision::Bf16), isa);
            let has_tiles = matches!(isa, Isa::Amx(_));
            for precision in [Precision::F32, Precision::High] {
                assert_eq!(isa.serving(precision) == isa, has_tiles || isa == isa.vectors());
            }
        }
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        let error = "avx3".parse::<Isa>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`avx3` is no instruction set; choose one of portable, avx2, avx512, avx512bf16, amx, neon"
        );
        let foreign = if cfg!(target_arch = "x86_64") {
            "neon"
        } else {
            "avx2"
        };
        let error = foreign.parse::<Isa>().unwrap_err();
        assert_eq!(Error::from(error.clone()).kind(), crate::ErrorKind::Config);
        assert!(
            error
                .to_string()
                .starts_with(&format!("this CPU has no {foreign}; it has ")),
            "{error}"
        );
        assert!(error.to_string().ends_with("portable"), "{error}");
    }

    /// One method of `Real` over an array.
    struct Map<'a> {
        method: &'static str,
        x: &'a [f32],
        out: &'a mut [f32],
    }

    macro_rules! unary_methods {
        ($($method:ident)*) => {
            const METHODS: &[&str] = &[$(stringify!($method)),*];

            impl Kernel for Map<'_> {
                type Output = ();

                /// A loop for each method, as a kernel has it, so that each is vectorised by itself.
                #[inline(always)]
                fn run(self) {
                    match self.method {
                         $(stringify!($method) => {
                            for (x, out) in self.x.iter().zip(self.out) {
                                *out = Real::$method(*x);
                            }
                        })*
                        _ => {
                            for (x, out) in self.x.iter().zip(self.out) {
                                *out = Real::pow(*x, 1.25);
                            }
                        }
                    }
                }
            }
        };
    }
    unary_methods! {
        recip sqrt rsqrt exp log log1p expm1 sin cos tan tanh sigmoid erf abs sign floor ceil round relu
        softplus
    }

    /// Nothing in `Real` fuses or reorders, so that every instruction set gives the same bits for `f32`.
    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let x: Vec<f32> = ulp::sweep().collect();
        for method in METHODS.iter().copied().chain(["pow"]) {
            let run = |isa: Isa| {
                let mut out = vec![0.0; x.len()];
                isa.run(Map {
                    method,
                    x: &x,
                    out: &mut out,
                });
                out
            };
            let portable = run(Isa::Portable);
            for &isa in Isa::available() {
                for ((x, got), want) in x.iter().zip(run(isa)).zip(&portable) {
                    let same = got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
                    assert!(
                        same,
                        "{method}({x:e}) is {got:e} on {isa} and {want:e} on portable"
                    );
                }
            }
        }
    }
}
