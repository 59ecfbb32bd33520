//! Comparison and broadcasting are sound against random assignments.

use proptest::prelude::*;

use super::super::{Relation, broadcast, compare, infer_dim, numel, row_major_strides, solve_infer};
use super::*;

/// Pairs of sizes that are often close to each other.
fn pair() -> impl Strategy<Value = (Dim, Dim)> {
    let near = (tree(), tree(), prop::sample::select(&LEAVES[..]), -2_i64..3);
    prop_oneof![
        (tree(), tree()).prop_map(|(a, b)| (a.dim(), b.dim())),
        near.prop_map(|(a, b, name, number)| {
            let (a, b) = (a.dim(), b.dim());
            (&a * leaf(name) + &b, a * (number + 1) + b)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn comparison_is_sound((a, b) in pair(), values in values()) {
        let both = eval(&a, &values).zip(eval(&b, &values));
        match (compare(&a, &b), both) {
            (Relation::Equal, Some((a, b))) => prop_assert_eq!(a, b),
            (Relation::Check(conditions), both) => {
                prop_assert!(!conditions.is_empty());
                for (left, right) in &conditions {
                    prop_assert!(!left.has_dynamic() && !right.has_dynamic(), "{} == {}", left, right);
                }
                let hold = conditions.iter().all(|(left, right)| {
                    eval(left, &values).is_some() && eval(left, &values) == eval(right, &values)
                });
                if let (true, Some((left, right))) = (hold, both) {
                    prop_assert_eq!(left, right, "{} against {}", a, b);
                }
            }
            _ => {}
        }
    }

    /// Conditions are also needed: with constants alone, sizes that are equal satisfy them.
    #[test]
    fn conditions_on_constants_are_necessary(a in -20_i64..20, b in -20_i64..20, c in -20_i64..20, value in 0_i64..40) {
        let classes = Dim::constant("CLASSES");
        let (left, right) = (&classes * a + b, Dim::lit(c));
        let equal = a * value + b == c;
        let values = Values::from([("CLASSES".to_owned(), value)]);
        let answer = match compare(&left, &right) {
            Relation::Equal => true,
            Relation::Different => false,
            Relation::Check(conditions) => {
                conditions.iter().all(|(left, right)| eval(left, &values) == eval(right, &values))
            }
        };
        prop_assert_eq!(answer, equal);
    }

    #[test]
    fn literals_that_are_different_differ(a in any::<i64>(), b in any::<i64>()) {
        let expected = if a == b { Relation::Equal } else { Relation::Different };
        prop_assert_eq!(compare(&Dim::lit(a), &Dim::lit(b)), expected);
    }

    #[test]
    fn comparison_is_symmetric((a, b) in pair()) {
        let swapped = match compare(&b, &a) {
            Relation::Check(conditions) => Relation::Check(conditions.into_iter().map(|(l, r)| (r, l)).collect()),
            other => other,
        };
        prop_assert_eq!(compare(&a, &b), swapped);
    }

    /// What the solver puts in the place of `_` makes both sides equal.
    #[test]
    fn a_solution_solves(factor in tree(), offset in tree(), solution in tree()) {
        let (factor, offset) = (factor.dim(), offset.dim());
        let (left, right) = (&factor * Dim::infer(3) + &offset, &factor * solution.dim() + &offset);
        match solve_infer(&left, &right) {
            Some((id, found)) => {
                prop_assert_eq!(id, 3);
                let put = left.substitute(&|atom| (*atom == Atom::Infer(3)).then(|| found.clone()));
                prop_assert_eq!(put, right);
            }
            None => prop_assert!(factor.is_zero()),
        }
    }

    /// Against the rules of NumPy, written down once more for numbers.
    #[test]
    fn broadcasting_of_literals_is_numpys(a in prop::collection::vec(0_i64..4, 0..4), b in prop::collection::vec(0_i64..4, 0..4)) {
        let rank = a.len().max(b.len());
        let mut expected = Some(Vec::new());
        for place in (1..=rank).rev() {
            let at = |shape: &[i64]| shape.len().checked_sub(place).map_or(1, |index| shape[index]);
            let size = match (at(&a), at(&b)) {
                (x, y) if x == y => Some(x),
                (1, y) => Some(y),
                (x, 1) => Some(x),
                _ => None,
            };
            expected = expected.zip(size).map(|(mut shape, size)| { shape.push(Dim::lit(size)); shape });
        }
        let dims = |shape: &[i64]| shape.iter().map(|size| Dim::lit(*size)).collect::<Vec<_>>();
        let found = broadcast(&dims(&a), &dims(&b));
        prop_assert_eq!(found.ok(), expected.map(|shape| (shape, vec![])));
    }

    #[test]
    fn strides_address_every_element_once(shape in prop::collection::vec(1_i64..5, 0..5)) {
        let dims: Vec<Dim> = shape.iter().map(|size| Dim::lit(*size)).collect();
        let strides: Vec<i64> = row_major_strides(&dims).iter().map(|stride| stride.as_lit().unwrap()).collect();
        let last: i64 = shape.iter().zip(&strides).map(|(size, stride)| (size - 1) * stride).sum();
        prop_assert_eq!(numel(&dims).as_lit(), Some(last + 1));
        prop_assert!(strides.windows(2).all(|pair| pair[0] >= pair[1]));
        prop_assert_eq!(strides.last().copied().unwrap_or(1), 1);
    }

    #[test]
    fn an_inferred_size_completes_the_shape(known in prop::collection::vec(tree(), 0..3), missing in tree()) {
        let mut shape: Vec<Dim> = known.iter().map(Tree::dim).collect();
        let total = numel(&shape) * missing.dim();
        match infer_dim(&total, &shape) {
            Some(size) => {
                shape.push(size);
                prop_assert_eq!(numel(&shape), total);
            }
            None => prop_assert!(numel(&shape).is_zero()),
        }
    }
}
