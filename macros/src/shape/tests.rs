//! The algebra against random integers, and the answers of the examples that the design names.

mod algebra;
mod examples;
mod printing;
mod relations;

use crate::map::Map;

use proptest::prelude::*;

use super::{Atom, Dim};

/// The known multiple of the dynamic dimension `M` in these tests.
const MULTIPLE: i64 = 12;

/// A size as a tree that was not simplified: the independent witness of what the algebra must keep.
#[derive(Clone, Debug)]
enum Tree {
    Lit(i64),
    Leaf(&'static str),
    Add(Box<Tree>, Box<Tree>),
    Sub(Box<Tree>, Box<Tree>),
    Mul(Box<Tree>, Box<Tree>),
    Floor(Box<Tree>, Box<Tree>),
}

/// The leaves: two free dynamic sizes, one with a known multiple, a generic, two constants.
const LEAVES: [&str; 6] = ["B", "H", "M", "D", "CLASSES", "crate::f(3)"];

fn leaf(name: &str) -> Dim {
    match name {
        "B" | "H" => Dim::dynamic(name),
        "M" => Dim::dynamic_multiple(name, MULTIPLE),
        "D" => Dim::generic(name),
        constant => Dim::constant(constant),
    }
}

/// Values of the leaves, all at least 1, so that every divisor that is a leaf has a value.
type Values = Map<String, i64>;

fn values() -> impl Strategy<Value = Values> {
    prop::collection::vec(1_i64..40, LEAVES.len()).prop_map(|numbers| {
        let named = LEAVES.iter().zip(numbers);
        let scaled = named.map(|(name, number)| {
            let number = if *name == "M" { number * MULTIPLE } else { number };
            ((*name).to_owned(), number)
        });
        scaled.collect()
    })
}

fn value_of(values: &Values, atom: &Atom) -> Option<i64> {
    match atom {
        Atom::Dynamic(symbol) | Atom::Generic(symbol) => values.get(symbol.name()).copied(),
        Atom::Const(text) => values.get(&**text).copied(),
        Atom::Floor(..) | Atom::Infer(_) | Atom::Overflow => None,
    }
}

fn eval(dim: &Dim, values: &Values) -> Option<i64> {
    dim.eval(&|atom| value_of(values, atom))
}

impl Tree {
    fn dim(&self) -> Dim {
        match self {
            Tree::Lit(number) => Dim::lit(*number),
            Tree::Leaf(name) => leaf(name),
            Tree::Add(a, b) => a.dim() + b.dim(),
            Tree::Sub(a, b) => a.dim() - b.dim(),
            Tree::Mul(a, b) => a.dim() * b.dim(),
            Tree::Floor(a, b) => a.dim().floor_div(&b.dim()),
        }
    }

    /// The value in exact arithmetic; `None` where a divisor is not positive.
    fn value(&self, values: &Values) -> Option<i128> {
        Some(match self {
            Tree::Lit(number) => i128::from(*number),
            Tree::Leaf(name) => i128::from(values[*name]),
            Tree::Add(a, b) => a.value(values)? + b.value(values)?,
            Tree::Sub(a, b) => a.value(values)? - b.value(values)?,
            Tree::Mul(a, b) => a.value(values)?.checked_mul(b.value(values)?)?,
            Tree::Floor(a, b) => {
                let divisor = b.value(values).filter(|divisor| *divisor > 0)?;
                a.value(values)?.div_euclid(divisor)
            }
        })
    }
}

/// Divisors: small literals, leaves, and products of both.
fn divisor() -> impl Strategy<Value = Tree> {
    let leaf = prop::sample::select(&LEAVES[..]).prop_map(Tree::Leaf);
    prop_oneof![
        4 => (1_i64..9).prop_map(Tree::Lit),
        1 => leaf.clone(),
        1 => ((2_i64..5), leaf).prop_map(|(number, leaf)| Tree::Mul(Tree::Lit(number).into(), leaf.into())),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        (-9_i64..10).prop_map(Tree::Lit),
        prop::sample::select(&LEAVES[..]).prop_map(Tree::Leaf),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            2 => pair.clone().prop_map(|(a, b)| Tree::Add(a.into(), b.into())),
            1 => pair.clone().prop_map(|(a, b)| Tree::Sub(a.into(), b.into())),
            2 => pair.prop_map(|(a, b)| Tree::Mul(a.into(), b.into())),
            2 => (inner, divisor()).prop_map(|(a, b)| Tree::Floor(a.into(), b.into())),
        ]
    })
}

/// Trees whose value is a size for every assignment: no subtraction, no negative literal.
fn size_tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        (0_i64..10).prop_map(Tree::Lit),
        prop::sample::select(&LEAVES[..]).prop_map(Tree::Leaf),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            2 => pair.clone().prop_map(|(a, b)| Tree::Add(a.into(), b.into())),
            2 => pair.prop_map(|(a, b)| Tree::Mul(a.into(), b.into())),
            1 => (inner.clone(), divisor()).prop_map(|(a, b)| Tree::Floor(a.into(), b.into())),
            // A ceiling: floor((a + b - 1) / b).
            1 => (inner, divisor()).prop_map(|(a, b)| {
                let raised = Tree::Add(a.into(), b.clone().into());
                Tree::Floor(Tree::Sub(raised.into(), Tree::Lit(1).into()).into(), b.into())
            }),
        ]
    })
}
