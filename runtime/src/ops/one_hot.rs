//! Integers as indicator vectors.

use crate::arena::Buf;
use crate::cx::Cx;
use crate::cx::float;
use crate::dtype::Element;
use crate::error::{Error, ErrorKind};
use crate::ops::embedding::{first_outside, inside};
use crate::ops::lanes;
use crate::real::Real;

/// `y[.., c] = 1` where `labels[..] = c`, and 0 elsewhere.
///
/// # Errors
/// A label outside `0..classes` is recorded in the context; its vector is zero.
pub fn one_hot(cx: &mut Cx<'_>, labels: Buf, y: Buf, classes: usize) {
    if let Some(error) = float!(cx, T => fill::<T>(cx, labels, y, classes)) {
        cx.fail(error);
    }
}

fn fill<T: Real + Element>(cx: &mut Cx<'_>, labels: Buf, y: Buf, classes: usize) -> Option<Error> {
    let env = cx.env;
    let mut bind = cx.bind();
    let labels: &[i64] = bind.read(labels);
    let y = bind.write::<T>(y);
    assert_eq!(y.len(), labels.len() * classes, "one_hot of {classes} classes");
    let n = lanes::rows_per_task(classes);
    env.team.chunks_mut(y, n * classes, |task, y| {
        y.fill(T::ZERO);
        for (row, &label) in y.chunks_mut(classes).zip(&labels[task * n..]) {
            if let Some(class) = inside(label, classes) {
                row[class] = T::ONE;
            }
        }
    });
    let (label, position) = first_outside(labels, classes)?;
    let message = format!("one_hot: label {label} (number {position} of the input) is outside 0..{classes}");
    Some(Error::new(ErrorKind::Label, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Precision;
    use crate::ops::testkit::{Desk, PRECISIONS, whole};

    #[test]
    fn a_row_has_a_single_one() {
        for (n, classes) in [(1, 1), (0, 3), (5, 3), (700, 130)] {
            for precision in PRECISIONS {
                let labels = whole(n, classes, 1);
                let mut desk = Desk::new(precision);
                let (x, y) = (desk.ints(&labels), desk.blank(n * classes));
                assert!(desk.run(|cx| one_hot(cx, x, y, classes)).is_none());
                let is_label = |k: usize| labels[k / classes] == (k % classes) as i64;
                let want: Vec<f64> = (0..n * classes)
                    .map(|k| f64::from(u8::from(is_label(k))))
                    .collect();
                assert_eq!(desk.read(y), want);
            }
        }
    }

    #[test]
    fn a_label_outside_is_named_and_gives_zeros() {
        for label in [3, -1] {
            let mut desk = Desk::new(Precision::F32);
            let (x, y) = (desk.ints(&[2, label]), desk.blank(6));
            let error = desk.run(|cx| one_hot(cx, x, y, 3)).expect("outside");
            assert_eq!(error.kind(), ErrorKind::Label);
            let message = format!("one_hot: label {label} (number 1 of the input) is outside 0..3");
            assert_eq!(error.message(), message);
            assert_eq!(desk.read(y), [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        }
    }
}
