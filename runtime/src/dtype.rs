//! Element types of buffers, and the precision of a model.

/// The precision in which a model computes: a property of the model, chosen when it is made.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats: the default.
    #[default]
    F32,
    /// 64-bit floats, for checks of gradients and ill-conditioned problems; portable code, several times slower.
    F64,
}

impl Precision {
    /// Bytes of one float.
    pub fn width(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

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
        match self {
            Self::Float => precision.width(),
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
