//! Whether two sizes are the same: for certain, for certain not, or under conditions that rustc can check.

use crate::map::Map;

use super::arith::gcd;
use super::{Atom, Dim, Monomial};

/// An equation `left == right` between sizes that only rustc can evaluate.
pub type Condition = (Dim, Dim);

/// The answer of [`compare`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same for every value of every atom.
    Equal,
    /// Not the same for every value, or not provably so.
    Different,
    /// The same if all of these equations hold; there is at least one, and none has a dynamic dimension.
    Check(Vec<Condition>),
}

/// Compares two sizes.
///
/// The difference is read as a polynomial in the dynamic dimensions whose coefficients are polynomials in
/// constants and const generics. It is zero for every run-time size if every coefficient is zero: a
/// coefficient that is a literal decides at once, one with constants becomes a [`Condition`] with the terms
/// of `a` on the left. Where the coefficient of a dynamic product could be zero only because some size is zero (`B * C`
/// against `S * C`), the answer is [`Relation::Different`]: the dynamic dimensions differ.
///
/// A floor division of something dynamic counts as one more dynamic dimension, so a difference that
/// depends on how it rounds cannot be proved, and an `_` must be solved before: both are `Different`. What overflows equals nothing.
pub fn compare(a: &Dim, b: &Dim) -> Relation {
    let difference = a - b;
    if difference.is_zero() {
        return Relation::Equal;
    }
    if difference.overflows() || difference.has_infer() {
        return Relation::Different;
    }
    let mut conditions = Vec::new();
    for (product, coefficient) in by_dynamic_part(&difference) {
        let (left, right) = primitive(&coefficient).split_signs();
        let only_zero = left.is_zero() || right.is_zero();
        if coefficient.as_lit().is_some() || (only_zero && !product.is_one()) {
            return Relation::Different;
        }
        conditions.push((left, right));
    }
    Relation::Check(conditions)
}

/// Solves `a == b` for the `_` that occurs in it, if there is exactly one, it occurs linearly and outside
/// of floor divisions, and the solution is a whole polynomial. Gives the number of the `_` and its size.
///
/// The solution may be negative or of a kind that a size cannot be; the caller checks that with the rest
/// of what it knows.
pub fn solve_infer(a: &Dim, b: &Dim) -> Option<(u32, Dim)> {
    let difference = a - b;
    let unknown = |atom: &Atom| matches!(atom, Atom::Infer(_));
    let mut unknowns = difference.atoms().into_iter().filter(unknown);
    let (Some(Atom::Infer(id)), None) = (unknowns.next(), unknowns.next()) else {
        return None;
    };
    let (mut factor, mut rest) = (Dim::zero(), Dim::zero());
    for term in difference.terms() {
        let (own, others) = term.monomial().partition(unknown);
        let part = Dim::from_terms([(others, i128::from(term.coefficient()))]);
        match (own.is_one(), own.as_atom()) {
            (true, _) => rest = rest - part,
            (false, Some(_)) => factor = factor + part,
            (false, None) => return None,
        }
    }
    // What is left of the unknown is inside a floor division.
    if factor.has_infer() || rest.has_infer() {
        return None;
    }
    Some((id, rest.divide_exact(&factor)?))
}

/// The coefficients of a polynomial that is read as one in its dynamic atoms.
fn by_dynamic_part(dim: &Dim) -> Map<Monomial, Dim> {
    let mut groups: Map<Monomial, Dim> = Map::new();
    for term in dim.terms() {
        let (product, others) = term.monomial().partition(is_dynamic);
        let part = Dim::from_terms([(others, i128::from(term.coefficient()))]);
        let sum = groups.get_or_insert_with(product, Dim::zero);
        *sum = &*sum + part;
    }
    groups
}

fn is_dynamic(atom: &Atom) -> bool {
    match atom {
        Atom::Floor(numerator, divisor) => numerator.has_dynamic() || divisor.has_dynamic(),
        Atom::Dynamic(_) => true,
        Atom::Generic(_) | Atom::Const(_) | Atom::Infer(_) | Atom::Overflow => false,
    }
}

/// The polynomial without the number that divides all its coefficients: `2 * C - 20` as `C - 10`.
fn primitive(dim: &Dim) -> Dim {
    let number = dim
        .terms()
        .iter()
        .fold(0, |number, term| gcd(number, term.coefficient()));
    match number {
        0 | 1 => dim.clone(),
        _ => dim.divide_exact(&Dim::lit(number)).unwrap_or_else(|| dim.clone()),
    }
}
