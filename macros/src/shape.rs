//! Symbolic sizes: the arithmetic that lets a macro check shapes without knowing every number.
//!
//! A dimension ([`Dim`]) is a polynomial with integer coefficients over [`Atom`]s: sizes known only at
//! run time (`B: Dim`), const generics of the model, constants that only rustc can evaluate, floor
//! divisions, and sizes written `_` that are not solved yet. Two dimensions that the ring laws and the
//! laws of floor division make equal have the same canonical form, so `==` decides most questions;
//! [`compare`] decides the rest, or reduces it to equations that rustc can check.
//!
//! Invariants:
//!
//! * A `Dim` holds its terms without zero coefficients and without repeated monomials, from the
//!   greatest monomial to the least (graded lexicographic order), so that equality is structural.
//! * `Atom::Floor` is made by [`Dim::floor_div`] only (the printer of this module excepted), which brings
//!   it to canonical form.
//! * Arithmetic never wraps: what leaves `i64` becomes a size for which [`Dim::overflows`] holds, equal
//!   to nothing and without a value.
//!
//! Sizes are taken to be zero or greater, divisors to be one or greater. This module does not know
//! tensors, operations or errors; it answers questions about numbers.

mod arith;
mod atom;
mod compare;
mod dims;
#[cfg(test)]
mod tests;
mod text;

use crate::map::{Map, Set};
use std::borrow::Borrow;
use std::rc::Rc;

pub use atom::{Atom, Monomial, Symbol};
pub use compare::{Condition, Relation, compare, solve_infer};
pub use dims::{broadcast, display, infer_dim, numel, row_major_strides};

/// One term of a polynomial: `coefficient * monomial`. The coefficient is never zero.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    monomial: Monomial,
    coefficient: i64,
}

impl Term {
    /// The product of atoms that the coefficient multiplies.
    pub fn monomial(&self) -> &Monomial {
        &self.monomial
    }

    /// The integer factor of the term.
    pub fn coefficient(&self) -> i64 {
        self.coefficient
    }
}

/// A symbolic size: a polynomial with `i64` coefficients over [`Atom`]s, in canonical form.
///
/// It is immutable and cheap to clone. Equality, order and hash are those of the canonical form; the
/// order has no meaning beyond being total.
///
/// ```ignore
/// let h = Dim::dynamic("H");
/// // A convolution (kernel 3, stride 2, padding 1) and the pooling that halves its input agree.
/// let conv = (&h + 2 - 3).floor_div(&Dim::lit(2)) + 1;
/// assert_eq!(conv, h.ceil_div(&Dim::lit(2)));
/// assert_eq!(conv.to_string(), "(H + 1) / 2");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dim {
    terms: Rc<[Term]>,
}

impl std::fmt::Debug for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dim({self})")
    }
}

impl From<i64> for Dim {
    fn from(value: i64) -> Self {
        Dim::lit(value)
    }
}

/// Making dimensions.
impl Dim {
    /// A number that is known in the macro.
    pub fn lit(value: i64) -> Dim {
        Dim::term(Monomial::one(), value)
    }

    /// The number 0.
    pub fn zero() -> Dim {
        Dim { terms: Rc::from([]) }
    }

    /// The number 1.
    pub fn one() -> Dim {
        Dim::lit(1)
    }

    /// A size known only at run time: the function's generic `name: Dim`.
    pub fn dynamic(name: &str) -> Dim {
        Dim::atom(Atom::Dynamic(Symbol::new(name)))
    }

    /// A size known only at run time that is promised to be a multiple of `multiple`:
    /// `name: Dim + MultipleOf<multiple>`.
    ///
    /// Inside, this is `multiple * atom`, where the atom stands for the quotient; every law about
    /// divisibility then follows from the arithmetic of coefficients. A `multiple` below 1 promises
    /// nothing and is read as 1.
    pub fn dynamic_multiple(name: &str, multiple: i64) -> Dim {
        let symbol = Symbol::with_multiple(name, multiple);
        let factor = symbol.multiple();
        Dim::atom(Atom::Dynamic(symbol)) * factor
    }

    /// A const generic of the model that is being compiled.
    pub fn generic(name: &str) -> Dim {
        Dim::atom(Atom::Generic(Symbol::new(name)))
    }

    /// An expression that only rustc can evaluate, as source text: `CLASSES`, `crate::width(3)`.
    ///
    /// Two constants are known to be equal only if their texts are the same, white space at the ends
    /// excepted.
    pub fn constant(text: impl AsRef<str>) -> Dim {
        Dim::atom(Atom::Const(Rc::from(text.as_ref().trim())))
    }

    /// The size that an `_` stands for, until it is solved; `id` tells one `_` from another.
    pub fn infer(id: u32) -> Dim {
        Dim::atom(Atom::Infer(id))
    }

    /// The sum of all items; 0 for none.
    pub fn sum<D: Borrow<Dim>>(items: impl IntoIterator<Item = D>) -> Dim {
        items
            .into_iter()
            .fold(Dim::zero(), |total, item| total + item.borrow())
    }

    /// The product of all items; 1 for none.
    pub fn product<D: Borrow<Dim>>(items: impl IntoIterator<Item = D>) -> Dim {
        items
            .into_iter()
            .fold(Dim::one(), |total, item| total * item.borrow())
    }

    /// The polynomial of one atom, taken as it is.
    fn atom(atom: Atom) -> Dim {
        Dim::term(Monomial::atom(atom), 1)
    }

    /// The polynomial of one term.
    fn term(monomial: Monomial, coefficient: i64) -> Dim {
        if coefficient == 0 {
            return Dim::zero();
        }
        if monomial.contains(&Atom::Overflow) {
            return Dim::overflow();
        }
        let term = Term {
            monomial,
            coefficient,
        };
        Dim {
            terms: Rc::from([term]),
        }
    }

    /// The size that stands for every number outside `i64`.
    fn overflow() -> Dim {
        Dim {
            terms: Rc::from([Term {
                monomial: Monomial::atom(Atom::Overflow),
                coefficient: 1,
            }]),
        }
    }

    /// Sums up terms into canonical form. Sums are exact before they are narrowed to `i64`, so that the
    /// order of the terms does not decide whether the result fits.
    fn from_terms(terms: impl IntoIterator<Item = (Monomial, i128)>) -> Dim {
        let mut sums: Map<Monomial, i128> = Map::new();
        for (monomial, coefficient) in terms {
            if monomial.contains(&Atom::Overflow) {
                return Dim::overflow();
            }
            let sum = sums.get_or_insert_with(monomial, || 0);
            match sum.checked_add(coefficient) {
                Some(total) => *sum = total,
                None => return Dim::overflow(),
            }
        }
        let mut kept = Vec::with_capacity(sums.len());
        for (monomial, sum) in sums.into_iter().rev() {
            match i64::try_from(sum) {
                Ok(0) => {}
                Ok(coefficient) => kept.push(Term {
                    monomial,
                    coefficient,
                }),
                Err(_) => return Dim::overflow(),
            }
        }
        Dim { terms: kept.into() }
    }
}

/// Asking about dimensions.
impl Dim {
    /// The terms, from the greatest monomial to the least; the constant term comes last.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The value, if it is a number known in the macro.
    pub fn as_lit(&self) -> Option<i64> {
        match &*self.terms {
            [] => Some(0),
            [term] if term.monomial.is_one() => Some(term.coefficient),
            _ => None,
        }
    }

    /// Whether this is the literal 0.
    pub fn is_zero(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether this is the literal 1, the only size that broadcasts.
    pub fn is_one(&self) -> bool {
        self.as_lit() == Some(1)
    }

    /// Whether computing this size left the range of `i64`. Such a size has no value and equals nothing.
    pub fn overflows(&self) -> bool {
        self.terms
            .first()
            .is_some_and(|term| term.monomial.contains(&Atom::Overflow))
    }

    /// Every atom that this size depends on, those inside floor divisions included; the floor divisions
    /// themselves are not listed.
    pub fn atoms(&self) -> Set<Atom> {
        let mut found = Set::new();
        self.visit(&mut |atom| {
            found.insert(atom.clone());
        });
        found
    }

    /// Whether the size depends on a dynamic dimension, so that it is known only at run time.
    pub fn has_dynamic(&self) -> bool {
        self.any(|atom| matches!(atom, Atom::Dynamic(_)))
    }

    /// Whether the size depends on a const generic of the model.
    pub fn has_generic(&self) -> bool {
        self.any(|atom| matches!(atom, Atom::Generic(_)))
    }

    /// Whether the size depends on an `_` that is not solved yet.
    pub fn has_infer(&self) -> bool {
        self.any(|atom| matches!(atom, Atom::Infer(_)))
    }

    fn any(&self, test: impl Fn(&Atom) -> bool) -> bool {
        let mut found = false;
        self.visit(&mut |atom| found |= test(atom));
        found
    }

    fn visit(&self, see: &mut dyn FnMut(&Atom)) {
        for (atom, _) in self.terms.iter().flat_map(|term| term.monomial.factors()) {
            match atom {
                Atom::Floor(numerator, divisor) => {
                    numerator.visit(see);
                    divisor.visit(see);
                }
                leaf => see(leaf),
            }
        }
    }

    /// The terms with positive coefficients, and the negated others: `self = positive - negative`.
    ///
    /// Both are sums without a subtraction, so `positive >= negative` is a check that unsigned arithmetic
    /// can make: "the kernel fits into the padded input" is `split_signs` of their difference.
    pub fn split_signs(&self) -> (Dim, Dim) {
        let of = |sign: i64| {
            let terms = self.terms.iter().filter(|term| term.coefficient.signum() == sign);
            Dim::from_terms(terms.map(|term| {
                (
                    term.monomial.clone(),
                    i128::from(term.coefficient) * i128::from(sign),
                )
            }))
        };
        (of(1), of(-1))
    }

    /// A number that the size is never below, given that every atom is zero or greater; `None` if no such
    /// number follows from the terms one by one.
    ///
    /// It is a proof, not an estimate: `H + 2` is at least 2, `H - 3` at least -3, `H - K` has no bound.
    pub fn lower_bound(&self) -> Option<i64> {
        self.terms.iter().try_fold(0_i64, |total, term| {
            let bound = match term.monomial.is_one() {
                true => 1,
                // A product that can grow without limit has no lower bound once it is subtracted.
                false if term.coefficient < 0 => return None,
                false => term.monomial.lower_bound()?,
            };
            total.checked_add(bound.checked_mul(term.coefficient)?)
        })
    }
}

/// Giving values to atoms.
impl Dim {
    /// Replaces atoms by what `replacement` gives for them, inside floor divisions too; an atom for which
    /// it gives `None` stays.
    ///
    /// It is not asked about floor divisions. For a dynamic dimension with a known multiple it gives the
    /// whole dimension, which must be such a multiple: check with [`Dim::divide_exact`] first, because here
    /// an unproved remainder is dropped.
    pub fn substitute(&self, replacement: &dyn Fn(&Atom) -> Option<Dim>) -> Dim {
        Dim::sum(self.terms.iter().map(|term| {
            term.monomial
                .factors()
                .iter()
                .fold(Dim::lit(term.coefficient), |product, (atom, power)| {
                    product * atom.substitute(replacement).pow(*power)
                })
        }))
    }

    /// The value under an assignment of numbers to atoms.
    ///
    /// `value` is not asked about floor divisions, and gives the whole dimension for one with a known
    /// multiple. `None` if an atom has no value, a dimension is not the multiple it promises to be, a
    /// divisor is zero, or a number leaves the range of `i64` (sums: `i128`).
    pub fn eval(&self, value: &dyn Fn(&Atom) -> Option<i64>) -> Option<i64> {
        let mut total: i128 = 0;
        for term in self.terms.iter() {
            let mut product = i128::from(term.coefficient);
            for (atom, power) in term.monomial.factors() {
                let factor = i128::from(atom.eval(value)?).checked_pow(*power)?;
                product = product.checked_mul(factor)?;
            }
            total = total.checked_add(product)?;
        }
        i64::try_from(total).ok()
    }
}
