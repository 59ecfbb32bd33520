//! Layouts: how a tensor lies in a buffer, and what views do to that.

use crate::shape::{self, Dim};

/// A strided reading of a buffer. Element `i` lies at `offset + sum(i[k] * strides[k])`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Size of every axis.
    pub shape: Vec<Dim>,
    /// Step of every axis, in elements; zero along broadcast axes.
    pub strides: Vec<Dim>,
    /// Where the first element lies.
    pub offset: Dim,
}

/// A view: the same elements (some of them, or some repeatedly) under another shape.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ViewMap {
    /// The same elements in the same order under another shape.
    Reshape(Vec<Dim>),
    /// Axis `k` of the result is axis `perm[k]` of the operand.
    Permute(Vec<usize>),
    /// Broadcast to this shape: axes are added in front, axes of size 1 are repeated.
    Expand(Vec<Dim>),
    /// `start + step * i` along every axis, with the size that results.
    Slice {
        /// First index of every axis.
        starts: Vec<Dim>,
        /// Step of every axis, at least 1.
        steps: Vec<usize>,
        /// Size of every axis of the result.
        sizes: Vec<Dim>,
    },
    /// Reversed along these axes.
    Flip(Vec<usize>),
}

impl Layout {
    /// A whole buffer, row-major.
    pub fn contiguous(shape: &[Dim]) -> Self {
        Self {
            shape: shape.to_vec(),
            strides: shape::row_major_strides(shape),
            offset: Dim::zero(),
        }
    }

    /// True where the elements lie row-major without gaps (wherever they start).
    pub fn is_contiguous(&self) -> bool {
        let dense = shape::row_major_strides(&self.shape);
        self.shape
            .iter()
            .zip(&self.strides)
            .zip(&dense)
            .all(|((n, s), d)| n.is_one() || s == d)
    }

    /// True for a whole buffer read row-major from its start.
    pub fn is_whole(&self) -> bool {
        self.offset.is_zero() && self.is_contiguous()
    }

    /// How many elements of the buffer are read; those that a broadcast repeats count once.
    pub fn n_read(&self) -> Dim {
        let axes = self.shape.iter().zip(&self.strides);
        let read = axes.filter(|(_, stride)| !stride.is_zero()).map(|(n, _)| n);
        Dim::product(read.collect::<Vec<_>>())
    }

    /// The layout of a view of this layout, or `None` where the elements have to be copied first.
    pub fn apply(&self, view: &ViewMap) -> Option<Self> {
        match view {
            ViewMap::Reshape(shape) => self.reshape(shape),
            ViewMap::Permute(perm) => Some(Self {
                shape: perm.iter().map(|&k| self.shape[k].clone()).collect(),
                strides: perm.iter().map(|&k| self.strides[k].clone()).collect(),
                offset: self.offset.clone(),
            }),
            ViewMap::Expand(shape) => Some(self.expand(shape)),
            ViewMap::Slice { starts, steps, sizes } => {
                let moved = starts
                    .iter()
                    .zip(&self.strides)
                    .map(|(start, stride)| start * stride);
                Some(Self {
                    shape: sizes.clone(),
                    strides: self
                        .strides
                        .iter()
                        .zip(steps)
                        .map(|(s, &k)| s * k as i64)
                        .collect(),
                    offset: moved.fold(self.offset.clone(), |sum, d| sum + d),
                })
            }
            ViewMap::Flip(axes) => {
                let mut flipped = self.clone();
                for &axis in axes {
                    let last = &self.shape[axis] - &Dim::one();
                    flipped.offset = flipped.offset + &last * &self.strides[axis];
                    flipped.strides[axis] = Dim::zero() - &self.strides[axis];
                }
                Some(flipped)
            }
        }
    }

    fn expand(&self, shape: &[Dim]) -> Self {
        let added = shape.len() - self.shape.len();
        let strides = shape
            .iter()
            .enumerate()
            .map(|(k, size)| match k.checked_sub(added) {
                Some(own) if self.shape[own] == *size => self.strides[own].clone(),
                _ => Dim::zero(),
            });
        Self {
            shape: shape.to_vec(),
            strides: strides.collect(),
            offset: self.offset.clone(),
        }
    }

    /// Axes of size 1 may come and go in any layout; everything else needs contiguous elements.
    fn reshape(&self, shape: &[Dim]) -> Option<Self> {
        if self.is_contiguous() {
            return Some(Self {
                offset: self.offset.clone(),
                ..Self::contiguous(shape)
            });
        }
        let mut own = self.shape.iter().zip(&self.strides).filter(|(n, _)| !n.is_one());
        let mut strides = Vec::with_capacity(shape.len());
        for size in shape {
            if size.is_one() {
                strides.push(Dim::zero());
            } else {
                let (n, stride) = own.next()?;
                if n != size {
                    return None;
                }
                strides.push(stride.clone());
            }
        }
        own.next().is_none().then(|| Self {
            shape: shape.to_vec(),
            strides,
            offset: self.offset.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(sizes: &[i64]) -> Vec<Dim> {
        sizes.iter().map(|&n| Dim::lit(n)).collect()
    }

    #[test]
    fn transposing_twice_is_contiguous_again() {
        let x = Layout::contiguous(&dims(&[2, 3]));
        let t = x.apply(&ViewMap::Permute(vec![1, 0])).unwrap();
        assert!(!t.is_contiguous());
        assert_eq!(t.apply(&ViewMap::Permute(vec![1, 0])).unwrap(), x);
    }

    #[test]
    fn a_transposed_matrix_cannot_be_flattened_in_place_but_takes_unit_axes() {
        let t = Layout::contiguous(&dims(&[2, 3]))
            .apply(&ViewMap::Permute(vec![1, 0]))
            .unwrap();
        assert_eq!(t.apply(&ViewMap::Reshape(dims(&[6]))), None);
        let unit = t.apply(&ViewMap::Reshape(dims(&[3, 1, 2]))).unwrap();
        assert_eq!(unit.strides, [Dim::lit(1), Dim::zero(), Dim::lit(3)]);
    }

    #[test]
    fn a_flip_starts_at_the_last_element() {
        let x = Layout::contiguous(&dims(&[2, 3]));
        let f = x.apply(&ViewMap::Flip(vec![1])).unwrap();
        assert_eq!((f.offset.as_lit(), f.strides[1].as_lit()), (Some(2), Some(-1)));
        assert_eq!(f.apply(&ViewMap::Flip(vec![1])).unwrap(), x);
    }

    #[test]
    fn the_first_rows_of_a_matrix_are_contiguous() {
        let x = Layout::contiguous(&dims(&[4, 3]));
        let rows = ViewMap::Slice {
            starts: dims(&[1, 0]),
            steps: vec![1, 1],
            sizes: dims(&[2, 3]),
        };
        let rows = x.apply(&rows).unwrap();
        assert!(rows.is_contiguous() && !rows.is_whole());
        assert_eq!(rows.offset.as_lit(), Some(3));
    }
}
