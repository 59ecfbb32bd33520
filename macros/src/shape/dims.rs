//! Questions about whole shapes: number of elements, strides, broadcasting, inferred sizes.

use std::fmt::{self, Display, Formatter};

use super::{Condition, Dim, Relation, compare};

/// The number of elements of a tensor of this shape: the product of its sizes; 1 for a scalar.
pub fn numel(shape: &[Dim]) -> Dim {
    Dim::product(shape)
}

/// The distance, in elements, between neighbours along each axis of a contiguous row-major tensor:
/// `stride[i]` is the product of the sizes after axis `i`, so the last is 1.
pub fn row_major_strides(shape: &[Dim]) -> Vec<Dim> {
    let mut stride = Dim::one();
    let mut strides: Vec<Dim> = shape
        .iter()
        .rev()
        .map(|size| {
            let next = &stride * size;
            std::mem::replace(&mut stride, next)
        })
        .collect();
    strides.reverse();
    strides
}

/// The shape as a user would write it: `[B, 1, 28, 28]`; `[]` for a scalar.
pub fn display(shape: &[Dim]) -> String {
    let sizes: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", sizes.join(", "))
}

/// The axis along which two shapes cannot be broadcast together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroadcastError {
    /// The axis of the result.
    pub axis: usize,
    /// The size of the left tensor along it.
    pub left: Dim,
    /// The size of the right tensor along it.
    pub right: Dim,
}

impl Display for BroadcastError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let BroadcastError { axis, left, right } = self;
        write!(
            f,
            "sizes `{left}` and `{right}` of axis {axis} are neither equal nor is one of them 1"
        )
    }
}

impl std::error::Error for BroadcastError {}

/// The shape to which two shapes broadcast, by NumPy's rules, and the equations that rustc has to check
/// for it to be right.
///
/// Shapes are aligned at their last axes; a missing axis, or one of size 1, repeats. Only a *literal* 1
/// repeats: a constant whose value is not known in the macro must equal its partner.
///
/// # Errors
///
/// The first axis (of the result) whose sizes are not provably equal, neither being 1.
pub fn broadcast(a: &[Dim], b: &[Dim]) -> Result<(Vec<Dim>, Vec<Condition>), BroadcastError> {
    let rank = a.len().max(b.len());
    let size = |shape: &[Dim], axis: usize| (axis + shape.len()).checked_sub(rank).map(|i| shape[i].clone());
    let (mut shape, mut conditions) = (Vec::with_capacity(rank), Vec::new());
    for axis in 0..rank {
        let (left, right) = match (size(a, axis), size(b, axis)) {
            (Some(left), Some(right)) => (left, right),
            (left, right) => {
                shape.extend(left.or(right));
                continue;
            }
        };
        if left.is_one() || right.is_one() {
            shape.push(if left.is_one() { right } else { left });
            continue;
        }
        match compare(&left, &right) {
            Relation::Equal => {}
            Relation::Different => return Err(BroadcastError { axis, left, right }),
            Relation::Check(more) => conditions.extend(more),
        }
        // Of two sizes that rustc will find equal, the number says more to what follows.
        shape.push(if right.as_lit().is_some() { right } else { left });
    }
    Ok((shape, conditions))
}

/// The one size of a new shape that is not given, for `total` elements: `total / product(known)`.
///
/// `None` if the quotient is not whole for all sizes, or `known` has a size 0, which leaves it open.
pub fn infer_dim(total: &Dim, known: &[Dim]) -> Option<Dim> {
    total.divide_exact(&numel(known))
}
