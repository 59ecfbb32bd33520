//! Ring laws, floor laws, substitution and bounds.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// The canonical form has the value of the tree that it was made from.
    #[test]
    fn canonical_form_keeps_the_value(tree in tree(), values in values()) {
        if let Some(expected) = tree.value(&values) {
            let found = eval(&tree.dim(), &values);
            prop_assert_eq!(found.map(i128::from), Some(expected), "{}", tree.dim());
        }
    }

    #[test]
    fn ring_laws(a in tree(), b in tree(), c in tree()) {
        let (a, b, c) = (a.dim(), b.dim(), c.dim());
        prop_assert_eq!(&a + &b, &b + &a);
        prop_assert_eq!(&a * &b, &b * &a);
        prop_assert_eq!((&a + &b) + &c, &a + (&b + &c));
        prop_assert_eq!((&a * &b) * &c, &a * (&b * &c));
        prop_assert_eq!(&a * (&b + &c), &a * &b + &a * &c);
        prop_assert_eq!(&a - &b, -(&b - &a));
        prop_assert_eq!(&a - &a, Dim::zero());
        prop_assert_eq!(&a + 0, a.clone());
        prop_assert_eq!(&a * 1, a.clone());
        prop_assert_eq!(a.pow(2), &a * &a);
    }

    /// floor((k q + r) / k) = q + floor(r / k), for literal and symbolic k.
    #[test]
    fn whole_part_leaves_a_floor(q in tree(), r in tree(), k in divisor()) {
        let (q, r, k) = (q.dim(), r.dim(), k.dim());
        prop_assert_eq!((&k * &q + &r).floor_div(&k), &q + r.floor_div(&k));
        prop_assert_eq!((&k * &q).divide_exact(&k), Some(q));
    }

    /// floor(floor(a / b) / c) = floor(a / (b c)) and floor(g a / (g b)) = floor(a / b), for literals.
    #[test]
    fn nested_and_scaled_floors_meet(a in tree(), b in 1_i64..9, c in 1_i64..9) {
        let a = a.dim();
        let twice = a.floor_div(&Dim::lit(b)).floor_div(&Dim::lit(c));
        // A numerator with several floors may keep two forms; their values are compared above.
        if !a.terms().iter().any(|term| term.monomial().factors().iter().any(|(atom, _)| matches!(atom, Atom::Floor(..)))) {
            prop_assert_eq!(twice, a.floor_div(&Dim::lit(b * c)));
            prop_assert_eq!((&a * c).floor_div(&Dim::lit(b * c)), a.floor_div(&Dim::lit(b)));
        }
    }

    #[test]
    fn exact_division_undoes_multiplication(a in tree(), b in tree()) {
        let (a, b) = (a.dim(), b.dim());
        let product = &a * &b;
        match product.divide_exact(&b) {
            Some(quotient) => prop_assert_eq!(quotient * &b, product),
            None => prop_assert!(b.is_zero(), "({}) / ({})", product, b),
        }
    }

    /// A quotient that is found is right, whatever was divided.
    #[test]
    fn exact_division_is_exact(a in tree(), b in tree()) {
        let (a, b) = (a.dim(), b.dim());
        if let Some(quotient) = a.divide_exact(&b) {
            prop_assert_eq!(quotient * b, a);
        }
    }

    /// Substituting numbers, then reading the literal, is evaluation.
    #[test]
    fn substitution_and_evaluation_agree(tree in tree(), values in values()) {
        let dim = tree.dim();
        let numbers = dim.substitute(&|atom| value_of(&values, atom).map(Dim::lit));
        if let Some(value) = eval(&dim, &values) {
            prop_assert_eq!(numbers.as_lit(), Some(value), "{} became {}", dim, numbers);
        }
    }

    /// Substituting a size for `H` and then evaluating is evaluating with that size's value for `H`.
    #[test]
    fn substitution_composes_with_evaluation(tree in tree(), inner in size_tree(), values in values()) {
        let is_h = |atom: &Atom| matches!(atom, Atom::Dynamic(symbol) if symbol.name() == "H");
        let (dim, inner) = (tree.dim(), inner.dim());
        let substituted = dim.substitute(&|atom| is_h(atom).then(|| inner.clone()));
        let mut changed = values.clone();
        if let Some(value) = eval(&inner, &values).filter(|value| *value < 1 << 20) {
            changed.insert("H".to_owned(), value);
            if let Some(expected) = eval(&dim, &changed) {
                prop_assert_eq!(eval(&substituted, &values), Some(expected), "{} in {}", inner, dim);
            }
        }
    }

    #[test]
    fn substituting_nothing_changes_nothing(tree in tree()) {
        let dim = tree.dim();
        prop_assert_eq!(dim.substitute(&|_| None), dim);
    }

    #[test]
    fn lower_bound_is_never_above_the_value(tree in tree(), values in values()) {
        let dim = tree.dim();
        if let (Some(bound), Some(value)) = (dim.lower_bound(), eval(&dim, &values)) {
            prop_assert!(bound <= value, "{} is {}, not {} or more", dim, value, bound);
        }
    }

    #[test]
    fn signs_are_split_without_loss(tree in tree()) {
        let dim = tree.dim();
        let (positive, negative) = dim.split_signs();
        prop_assert!(positive.terms().iter().chain(negative.terms()).all(|term| term.coefficient() > 0));
        prop_assert_eq!(positive - negative, dim);
    }

    /// Numbers near the ends of `i64` give the exact result or the mark of an overflow, never a wrapped one.
    #[test]
    fn arithmetic_never_wraps(a in any::<i64>(), b in any::<i64>()) {
        let (x, y) = (Dim::lit(a), Dim::lit(b));
        for (found, exact) in [
            (&x + &y, i128::from(a) + i128::from(b)),
            (&x - &y, i128::from(a) - i128::from(b)),
            (&x * &y, i128::from(a) * i128::from(b)),
        ] {
            prop_assert_eq!(found.as_lit(), i64::try_from(exact).ok());
            prop_assert_eq!(found.overflows(), i64::try_from(exact).is_err());
        }
        if b != 0 {
            let exact = i128::from(a).div_euclid(i128::from(b).abs()) ;
            let exact = if b > 0 { exact } else { (-i128::from(a)).div_euclid(-i128::from(b)) };
            if let Ok(exact) = i64::try_from(exact) {
                let found = x.floor_div(&y);
                prop_assert!(found.as_lit() == Some(exact) || found.overflows(), "{} / {} = {}", a, b, found);
            }
        }
    }
}
