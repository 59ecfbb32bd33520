//! Questions that models ask, with the answers worked out by hand.

use super::super::dims::BroadcastError;
use super::super::{Relation, broadcast, compare, display, infer_dim, solve_infer};
use super::*;

fn literal(value: i64) -> Dim {
    Dim::lit(value)
}

/// The output size of a convolution or pooling window.
fn window(size: &Dim, kernel: i64, stride: i64, padding: i64) -> Dim {
    (size + 2 * padding - kernel).floor_div(&literal(stride)) + 1
}

#[test]
fn strided_windows_of_a_dynamic_image_meet() {
    let h = Dim::dynamic("H");
    // Two layers that halve, in either order of kind, against one pooling by four.
    let conv_then_pool = window(&window(&h, 3, 2, 1), 2, 2, 0);
    let pool_then_conv = window(&window(&h, 2, 2, 0), 3, 2, 1);
    assert_eq!(conv_then_pool.to_string(), "(H + 1) / 4");
    assert_eq!(pool_then_conv.to_string(), "(H + 2) / 4");
    assert_eq!(compare(&conv_then_pool, &pool_then_conv), Relation::Different);
    // They are the same once H is a multiple of 4: the bound that the error suggests.
    let h = Dim::dynamic_multiple("H", 4);
    assert_eq!(
        window(&window(&h, 3, 2, 1), 2, 2, 0),
        window(&window(&h, 2, 2, 0), 3, 2, 1)
    );
    assert_eq!(window(&window(&h, 3, 2, 1), 2, 2, 0).to_string(), "H / 4");
}

#[test]
fn an_upsampled_half_needs_the_bound() {
    let up = |h: &Dim| h.floor_div(&literal(2)) * 2;
    let free = Dim::dynamic("H");
    assert_eq!(compare(&up(&free), &free), Relation::Different);
    let even = Dim::dynamic_multiple("H", 16);
    assert_eq!(compare(&up(&even), &even), Relation::Equal);
}

#[test]
fn constants_become_conditions() {
    let (b, classes, d) = (Dim::dynamic("B"), Dim::constant("CLASSES"), Dim::generic("D"));
    let check = |left: &Dim, right: &Dim| Relation::Check(vec![(left.clone(), right.clone())]);
    assert_eq!(compare(&classes, &literal(10)), check(&classes, &literal(10)));
    assert_eq!(compare(&literal(10), &classes), check(&literal(10), &classes));
    assert_eq!(
        compare(&(&b * &classes), &(&b * 10)),
        check(&classes, &literal(10))
    );
    assert_eq!(compare(&(&d * 4), &(&classes * 2)), check(&(&d * 2), &classes));
    assert_eq!(compare(&(&d * 4), &(2 * &d + 2 * &d)), Relation::Equal);
    assert_eq!(compare(&d, &(&d + 1)), Relation::Different);
    assert_eq!(compare(&b, &Dim::dynamic("S")), Relation::Different);
    assert_eq!(
        compare(&(&b * &classes), &(Dim::dynamic("S") * &classes)),
        Relation::Different
    );
    assert_eq!(
        compare(&(&b * &classes), &(&b * &classes + 1)),
        Relation::Different
    );
    assert_eq!(compare(&b, &literal(64)), Relation::Different);
}

#[test]
fn unsolved_and_overflowing_sizes_equal_nothing() {
    let huge = literal(i64::MAX) + 1;
    assert_eq!(compare(&huge, &huge), Relation::Different);
    assert_eq!(compare(&Dim::infer(0), &literal(3)), Relation::Different);
    assert!((&huge - &huge).overflows() && (&huge * Dim::zero()).overflows());
    assert!(huge.floor_div(&literal(2)).overflows());
    assert_eq!(huge.eval(&|_| Some(1)), None);
    let squared = (0..40).fold(Dim::generic("D"), |dim, _| &dim * &dim);
    assert!(squared.overflows());
}

#[test]
fn long_divisions_are_given_up_and_stay_right() {
    let d = Dim::generic("D");
    let steep = d.pow(1_000_000);
    assert_eq!(steep.divide_exact(&(&d - 1)), None);
    let quotient = steep.floor_div(&(&d - 1));
    assert_eq!(quotient.eval(&|_| Some(1)), None);
    assert_eq!(steep.divide_exact(&d), Some(d.pow(999_999)));
}

#[test]
fn division_by_zero_has_no_value() {
    let d = Dim::generic("D");
    assert_eq!(d.divide_exact(&Dim::zero()), None);
    let undefined = d.floor_div(&Dim::zero());
    assert_eq!(
        (undefined.to_string().as_str(), undefined.eval(&|_| Some(4))),
        ("D / 0", None)
    );
    assert_eq!(undefined.lower_bound(), None);
}

#[test]
fn an_underscore_is_solved_where_it_is_linear() {
    let (b, d) = (Dim::dynamic("B"), Dim::generic("D"));
    assert_eq!(
        solve_infer(&Dim::infer(0), &literal(784)),
        Some((0, literal(784)))
    );
    assert_eq!(
        solve_infer(&(&b * &d * 4), &(&b * Dim::infer(2))),
        Some((2, &d * 4))
    );
    assert_eq!(solve_infer(&(Dim::infer(0) * 2), &literal(7)), None);
    assert_eq!(solve_infer(&(Dim::infer(0) * Dim::infer(0)), &literal(4)), None);
    assert_eq!(solve_infer(&(Dim::infer(0) + Dim::infer(1)), &literal(4)), None);
    assert_eq!(
        solve_infer(&Dim::infer(0).floor_div(&literal(2)), &literal(4)),
        None
    );
    assert_eq!(solve_infer(&literal(4), &literal(4)), None);
}

#[test]
fn only_a_literal_one_broadcasts() {
    let (b, n) = (Dim::dynamic("B"), Dim::constant("N"));
    let shape = vec![b.clone(), literal(3), literal(28)];
    assert_eq!(
        broadcast(&shape, &[literal(1), literal(28)]),
        Ok((shape.clone(), vec![]))
    );
    assert_eq!(broadcast(&[], &shape), Ok((shape.clone(), vec![])));
    // A constant must be the 3, even if its value were 1; the result takes the number.
    let checked = broadcast(&[n.clone(), literal(28)], &shape);
    assert_eq!(checked, Ok((shape.clone(), vec![(n, literal(3))])));
    let error = broadcast(&shape, &[literal(4), literal(28)]).unwrap_err();
    assert_eq!(
        error,
        BroadcastError {
            axis: 1,
            left: literal(3),
            right: literal(4)
        }
    );
    assert_eq!(
        error.to_string(),
        "sizes `3` and `4` of axis 1 are neither equal nor is one of them 1"
    );
}

#[test]
fn shapes_and_their_helpers() {
    let b = Dim::dynamic("B");
    let image = [b.clone(), literal(1), literal(28), literal(28)];
    assert_eq!(display(&image), "[B, 1, 28, 28]");
    assert_eq!(display(&[]), "[]");
    assert_eq!(
        infer_dim(&super::super::numel(&image), std::slice::from_ref(&b)),
        Some(literal(784))
    );
    assert_eq!(infer_dim(&(&b * 10), &[literal(3)]), None);
    assert_eq!(infer_dim(&Dim::zero(), &[b, Dim::zero()]), None);
}

#[test]
fn bounds_follow_from_sizes_that_are_not_negative() {
    let (h, k) = (Dim::dynamic("H"), Dim::constant("K"));
    for (dim, bound) in [
        (literal(28) - 3, Some(25)),
        (&h + 2 - 3, Some(-1)),
        (&h * &k + 4, Some(4)),
        (&h - &k, None),
        ((&h + 5).floor_div(&literal(2)), Some(2)),
        (h.ceil_div(&k), Some(0)),
        ((&h - &k).floor_div(&literal(2)), None),
    ] {
        assert_eq!(dim.lower_bound(), bound, "{dim}");
    }
}

#[test]
fn atoms_are_found_inside_floors() {
    let dim = (Dim::dynamic("H") + Dim::generic("D")).floor_div(&Dim::constant("S")) * Dim::infer(1);
    assert!(dim.has_dynamic() && dim.has_generic() && dim.has_infer());
    assert_eq!(dim.atoms().len(), 4);
    assert!(!(&dim - &dim).has_dynamic());
}
