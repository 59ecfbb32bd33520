//! The printed form, read back as Rust, has the value of the size, in unsigned arithmetic.

use proptest::prelude::*;
use syn::{BinOp, Expr, Lit};

use super::*;

/// The value of an expression in `usize` arithmetic, every intermediate value included; `None` where rustc's
/// program would stop.
fn run(expr: &Expr, values: &Values) -> Option<u128> {
    match expr {
        Expr::Paren(inner) => run(&inner.expr, values),
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) if number.suffix().is_empty() => number.base10_parse().ok(),
            _ => None,
        },
        Expr::Path(_) | Expr::Call(_) => {
            let text = quote::quote!(#expr).to_string().replace(' ', "");
            u128::try_from(*values.get(&text)?).ok()
        }
        Expr::Binary(binary) => {
            let (left, right) = (run(&binary.left, values)?, run(&binary.right, values)?);
            match binary.op {
                BinOp::Add(_) => left.checked_add(right),
                BinOp::Sub(_) => left.checked_sub(right),
                BinOp::Mul(_) => left.checked_mul(right),
                BinOp::Div(_) => left.checked_div(right),
                _ => None,
            }
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Wherever a size is not negative, the emitted expression reaches its value without going below zero.
    #[test]
    fn emitted_sizes_have_the_value(tree in prop_oneof![tree(), size_tree()], values in values()) {
        has_the_value(&tree.dim(), &values)?;
    }

    /// The same where the dynamic sizes are zero: an empty batch is a size too.
    #[test]
    fn emitted_sizes_survive_empty_batches(tree in prop_oneof![tree(), size_tree()], mut values in values()) {
        for name in ["B", "H", "M"] {
            values.insert(name.to_owned(), 0);
        }
        has_the_value(&tree.dim(), &values)?;
    }
}

fn has_the_value(dim: &Dim, values: &Values) -> Result<(), TestCaseError> {
    let expected = eval(dim, values).and_then(|value| u128::try_from(value).ok());
    // Without a value: a divisor is zero, or the size is negative or does not fit. What only subtracts is no
    // size, and the emitted error says so.
    let only_subtracts = dim.terms().iter().all(|term| term.coefficient() < 0) && !dim.is_zero();
    if expected.is_none() || only_subtracts {
        return Ok(());
    }
    let whole: Expr = syn::parse2(dim.to_tokens()).unwrap();
    prop_assert_eq!(run(&whole, values), expected, "{}", dim);
    let shown: Expr = syn::parse_str(&dim.to_string()).unwrap();
    let text = |tree: &Expr| quote::quote!(#tree).to_string();
    prop_assert_eq!(text(&shown), text(&whole));
    let operand = dim.to_operand_tokens();
    let scaled: Expr = syn::parse_quote!(3 * #operand);
    prop_assert_eq!(run(&scaled, values), expected.map(|value| 3 * value), "{}", dim);
    Ok(())
}

#[test]
fn sizes_read_as_a_user_writes_them() {
    let (b, t, h) = (Dim::dynamic("B"), Dim::dynamic("T"), Dim::dynamic("H"));
    let (d, s) = (Dim::generic("D"), Dim::constant("STRIDE"));
    let two = Dim::lit(2);
    for (dim, text) in [
        (Dim::lit(784), "784"),
        (Dim::zero(), "0"),
        (Dim::lit(-3), "-3"),
        (&d * 4, "4 * D"),
        (&t * &b, "B * T"),
        (&b * &b, "B * B"),
        (&h - 3, "H - 3"),
        (3 - &h, "3 - H"),
        ((&h + 2).floor_div(&two), "(H + 2) / 2"),
        (h.floor_div(&two) - 1, "(H - 2) / 2"),
        ((&h * 3).floor_div(&two), "H + H / 2"),
        (b.ceil_div(&s), "(B + STRIDE - 1) / STRIDE"),
        (&b + h.floor_div(&two), "B + H / 2"),
        (&b * h.floor_div(&two), "B * (H / 2)"),
        (&b + b.ceil_div(&s), "B + (B + STRIDE - 1) / STRIDE"),
        // The inner quotient is -1 for an empty batch.
        (
            &b + (b.ceil_div(&s) + 1).floor_div(&two),
            "B + ((B + STRIDE - 1) / STRIDE + 1) / 2",
        ),
        (h.floor_div(&(&s * &d)), "H / (D * STRIDE)"),
        (Dim::infer(7), "_"),
        (Dim::constant("crate::f(3)") * 2, "2 * crate::f(3)"),
        (Dim::constant("A << 1") * 2, "2 * (A << 1)"),
        (Dim::constant("A << 1"), "A << 1"),
        (Dim::dynamic_multiple("M", 16), "M"),
        (Dim::dynamic_multiple("M", 16).floor_div(&Dim::lit(4)), "M / 4"),
        (
            Dim::dynamic_multiple("M", 16).floor_div(&Dim::lit(32)),
            "M / 16 / 2",
        ),
        (Dim::dynamic_multiple("M", 16) * 3 + 1, "3 * M + 1"),
    ] {
        assert_eq!(dim.to_string(), text);
    }
}

#[test]
fn what_has_no_value_is_a_compile_error() {
    for (dim, word) in [
        (Dim::infer(0) + 1, "nothing determines"),
        (Dim::lit(-1), "is negative"),
        (Dim::lit(i64::MAX) + 1, "64 bits"),
        (Dim::constant("f(") + 1, "not a Rust expression"),
    ] {
        let text = dim.to_tokens().to_string();
        assert!(text.contains("compile_error") && text.contains(word), "{text}");
    }
}
