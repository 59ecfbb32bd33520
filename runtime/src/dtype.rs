//! Element types of buffers, and the precision of a model.

/// The precision in which a model computes: a property of the model, chosen when it is made.
///
/// Two things hang on it: the type in which numbers are *stored* ([`float`](Self::float)), and how *products* of matrices are
/// computed (matmul and convolution; everything else computes in the type of storage). Master weights, optimizer state,
/// accumulators, norms and losses of `F32`, `High` and `Bf16` are 32-bit floats, so that their checkpoints can be exchanged.
///
/// With `u = 2^-24` and `|A||B|` the product of the absolute values, for an inner size `k`:
///
/// | precision | what a product computes | error of an element, at most |
/// |---|---|---|
/// | `F32` | every product of elements in full, sums rounded | `(k + 1) u \|A\|\|B\|` (the bound of a plain loop in f32) |
/// | `High` | elements as sums of two bf16 numbers, three products of the parts | `(3 * 2^-16 + (k + 2) u) \|A\|\|B\|` |
/// | `Bf16` | elements rounded to bf16, sums in f32 | `(2^-7 + 2^-16 + (k + 2) u) \|A\|\|B\|` |
/// | `F64` | everything in f64 | `(k + 1) 2^-53 \|A\|\|B\|` |
///
/// `High` may sum windows of 3 x 3 that move by one by tiles of 4 x 4 places ([`gemm::winograd`](crate::cpu::gemm::winograd)), whose
/// transforms mix the pixels of a tile and the elements of a window. There, an error is at most `205 (c + 22) u` of the sum over the `c`
/// channels of `max |pixel of the tile| sum |weight|`, and of a weight's gradient `205 (t + 22) u` of the sum over the `t` tiles
/// of `max |pixel| sum |cotangent|`. On random numbers of like size it was up to some eight times that of a plain loop (5 to 40
/// `u |A||B|`, where that has 5), far below the bound of three products; it is more where neighbouring pixels, or elements of one window, differ by orders of magnitude.
///
/// Bounds hold where nothing overflows and where no product of two elements that matters lies below 2^-126. The same choice
/// means the same on every machine; which instructions serve it depends on the [instruction
/// set](crate::cpu::isa::Isa) and the sizes of the product.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats: the default.
    ///
    /// Products run on fused multiply-adds, or on AMX tiles where they are faster: then every element is the exact sum of three
    /// bf16 numbers, and the six products of parts that matter are added up in f32. Infinities, NaN and numbers so small that
    /// the tiles would lose parts of them go to fused multiply-adds.
    #[default]
    F32,
    /// 32-bit floats whose products keep about 16 bits of each element, as three products of bf16 parts (called `high` in
    /// PyTorch and JAX too) on AMX tiles.
    ///
    /// Without tiles products are those of `F32`, which are more exact and no slower, and convolutions by windows of 3 x 3 take a quarter of the
    /// multiply-adds where that is faster.
    High,
    /// Products of operands rounded to bf16 (8 bits, to nearest even; numbers below 2^-126 become zero), accumulated in f32.
    ///
    /// They run on AMX tiles, else on the dot products of AVX512-BF16 (`vdpbf16ps`), else on multiply-adds of rounded operands:
    /// results differ by the order of summation, and by products and sums below 2^-126, which the first two take for zero. Attention
    /// keeps its scores in f32.
    Bf16,
    /// 64-bit floats, for checks of gradients and ill-conditioned problems; several times slower.
    ///
    /// Exists where the cargo feature `f64` is on: its kernels are a quarter of the runtime, and few programs need them.
    #[cfg(feature = "f64")]
    F64,
}

impl Precision {
    /// Every precision.
    pub const ALL: &'static [Self] = &[
        Self::F32,
        Self::High,
        Self::Bf16,
        #[cfg(feature = "f64")]
        Self::F64,
    ];

    /// The type in which numbers are stored.
    pub fn float(self) -> Float {
        match self {
            Self::F32 | Self::High | Self::Bf16 => Float::F32,
            #[cfg(feature = "f64")]
            Self::F64 => Float::F64,
        }
    }

    /// Bytes of one stored float.
    pub fn width(self) -> usize {
        self.float().width()
    }

    /// The name by which checkpoints record it: `f32`, `high`, `bf16` or `f64`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::High => "high",
            Self::Bf16 => "bf16",
            #[cfg(feature = "f64")]
            Self::F64 => "f64",
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// There is no precision of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPrecision {
    name: String,
}

impl std::fmt::Display for UnknownPrecision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, known, hint) = (&self.name, known(), feature(&self.name));
        write!(
            f,
            "`{name}` is no precision of this build; choose one of {known}{hint}"
        )
    }
}

impl std::error::Error for UnknownPrecision {}

fn known() -> String {
    let names: Vec<_> = Precision::ALL.iter().map(|precision| precision.name()).collect();
    names.join(", ")
}

/// How to get a precision that other builds have.
fn feature(name: &str) -> &'static str {
    match name {
        "f64" => ", or switch on the feature `f64` of tapeless in Cargo.toml",
        _ => "",
    }
}

impl From<UnknownPrecision> for crate::Error {
    fn from(error: UnknownPrecision) -> Self {
        Self::config(error.to_string()).with_source(error)
    }
}

impl std::str::FromStr for Precision {
    type Err = UnknownPrecision;

    /// The precision of this [name](Precision::name).
    ///
    /// ```
    /// use tapeless_runtime::Precision;
    ///
    /// assert_eq!("bf16".parse(), Ok(Precision::Bf16));
    /// assert!("f16".parse::<Precision>().is_err());
    /// ```
    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        let found = Self::ALL.iter().find(|precision| precision.name() == name);
        found.copied().ok_or_else(|| UnknownPrecision {
            name: name.to_owned(),
        })
    }
}

/// The type in which a model's numbers are stored.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub enum Float {
    /// 32 bits.
    F32,
    /// 64 bits.
    #[cfg(feature = "f64")]
    F64,
}

impl Float {
    /// Bytes of one number.
    pub fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            #[cfg(feature = "f64")]
            Self::F64 => 8,
        }
    }
}

/// Runs a block for the type in which a precision stores numbers: `stored!(precision, T => zeros::<T>(..))`.
macro_rules! stored {
    ($precision:expr, $t:ident => $body:expr) => {
        match $precision.float() {
            $crate::dtype::Float::F32 => {
                type $t = f32;
                $body
            }
            #[cfg(feature = "f64")]
            $crate::dtype::Float::F64 => {
                type $t = f64;
                $body
            }
        }
    };
}
pub(crate) use stored;

/// The kind of a buffer's elements, as in the compiler's IR: the width of floats is the model's precision,
/// integers have 64 bits, truth values a byte.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub enum Dtype {
    /// Real numbers.
    Float,
    /// 64-bit signed integers.
    Int,
    /// Truth values: a byte, 0 or 1.
    Bool,
}

impl Dtype {
    /// Bytes of one element.
    pub fn width(self, precision: Precision) -> usize {
        self.width_beside(precision.width())
    }

    /// Bytes of one element, where floats have `float`.
    #[inline(always)]
    pub(crate) fn width_beside(self, float: usize) -> usize {
        match self {
            Self::Float => float,
            Self::Int => 8,
            Self::Bool => 1,
        }
    }
}

/// Types that a buffer of the arena may be read as.
///
/// # Safety
/// Every bit pattern must be a valid value, and there must be no padding and no drop.
pub unsafe trait Element: Copy + Send + Sync + 'static {}

// SAFETY: plain numbers: any bits are a value, no padding.
unsafe impl Element for f32 {}
// SAFETY: as above.
unsafe impl Element for f64 {}
// SAFETY: as above.
unsafe impl Element for i64 {}
// SAFETY: as above; truth values are stored as bytes and compared with zero, never read as `bool`.
unsafe impl Element for u8 {}
