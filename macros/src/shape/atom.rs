//! What polynomials are made of: atoms and their products.

use std::cmp::Ordering;
use std::rc::Rc;

use super::Dim;

/// The name of a dimension, as the user wrote it, with the multiple that its bound promises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol {
    name: Rc<str>,
    multiple: i64,
}

impl Symbol {
    /// A name about whose divisibility nothing is known.
    pub fn new(name: &str) -> Symbol {
        Symbol::with_multiple(name, 1)
    }

    /// A name bound by `MultipleOf<multiple>`. A `multiple` below 1 is read as 1.
    pub fn with_multiple(name: &str, multiple: i64) -> Symbol {
        Symbol {
            name: Rc::from(name),
            multiple: multiple.max(1),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number that is known to divide the dimension; 1 if nothing is known.
    pub fn multiple(&self) -> i64 {
        self.multiple
    }
}

impl std::fmt::Display for Symbol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// An indivisible quantity of a size polynomial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Atom {
    /// A size known only at run time, divided by its symbol's known multiple.
    Dynamic(Symbol),
    /// A const generic of the model that is being compiled.
    Generic(Symbol),
    /// The source text of an expression that only rustc can evaluate.
    Const(Rc<str>),
    /// The floor of numerator / divisor.
    Floor(Dim, Dim),
    /// An `_` that is not solved yet.
    Infer(u32),
    /// A number outside the range of `i64`; it swallows what it is combined with.
    Overflow,
}

impl Atom {
    /// The value under an assignment; see [`Dim::eval`].
    pub(super) fn eval(&self, value: &dyn Fn(&Atom) -> Option<i64>) -> Option<i64> {
        match self {
            Atom::Floor(numerator, divisor) => floor_i64(numerator.eval(value)?, divisor.eval(value)?),
            Atom::Dynamic(symbol) => {
                let whole = value(self)?;
                (whole % symbol.multiple() == 0).then(|| whole / symbol.multiple())
            }
            Atom::Overflow => None,
            leaf => value(leaf),
        }
    }

    /// The atom's replacement, or the atom itself; see [`Dim::substitute`].
    pub(super) fn substitute(&self, replacement: &dyn Fn(&Atom) -> Option<Dim>) -> Dim {
        match self {
            Atom::Floor(numerator, divisor) => numerator
                .substitute(replacement)
                .floor_div(&divisor.substitute(replacement)),
            Atom::Overflow => Dim::overflow(),
            leaf => match (replacement(leaf), leaf) {
                (None, _) => Dim::atom(leaf.clone()),
                (Some(whole), Atom::Dynamic(symbol)) => whole.floor_div(&Dim::lit(symbol.multiple())),
                (Some(whole), _) => whole,
            },
        }
    }

    /// A number that the atom is never below; see [`Dim::lower_bound`].
    fn lower_bound(&self) -> Option<i64> {
        match self {
            Atom::Floor(numerator, divisor) => {
                let bound = numerator.lower_bound()?;
                match divisor.as_lit() {
                    Some(0) => None,
                    Some(divisor) => floor_i64(bound, divisor),
                    // A divisor of one or more brings the quotient nearer to zero.
                    None => Some(bound.min(0)),
                }
            }
            Atom::Overflow => None,
            Atom::Dynamic(_) | Atom::Generic(_) | Atom::Const(_) | Atom::Infer(_) => Some(0),
        }
    }
}

/// The floor of `numerator / divisor`; `None` if the divisor is zero or the quotient does not fit.
pub(super) fn floor_i64(numerator: i64, divisor: i64) -> Option<i64> {
    let quotient = numerator.checked_div(divisor)?;
    let rounded_up = numerator % divisor != 0 && (numerator < 0) != (divisor < 0);
    quotient.checked_sub(i64::from(rounded_up))
}

/// A product of powers of atoms; the empty product is 1.
///
/// The order is graded lexicographic: by total degree, then by the powers of the atoms, the least atom
/// first. It is compatible with multiplication, which polynomial division needs, and it is the order in
/// which people write sums.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Monomial {
    /// Strictly increasing atoms with powers of 1 or more.
    factors: Rc<[(Atom, u32)]>,
}

impl Monomial {
    /// The empty product.
    pub fn one() -> Monomial {
        Monomial {
            factors: Rc::from([]),
        }
    }

    /// The product of one atom.
    pub fn atom(atom: Atom) -> Monomial {
        Monomial {
            factors: Rc::from([(atom, 1)]),
        }
    }

    /// The atoms and their powers, in increasing order of the atoms.
    pub fn factors(&self) -> &[(Atom, u32)] {
        &self.factors
    }

    /// Whether this is the empty product, the monomial of a constant term.
    pub fn is_one(&self) -> bool {
        self.factors.is_empty()
    }

    /// The atom, if this is a single one to the first power.
    pub fn as_atom(&self) -> Option<&Atom> {
        match &*self.factors {
            [(atom, 1)] => Some(atom),
            _ => None,
        }
    }

    pub(super) fn contains(&self, atom: &Atom) -> bool {
        self.factors.iter().any(|(own, _)| own == atom)
    }

    fn degree(&self) -> u64 {
        self.factors.iter().map(|(_, power)| u64::from(*power)).sum()
    }

    fn power_of(&self, atom: &Atom) -> u32 {
        self.factors
            .iter()
            .find(|(own, _)| own == atom)
            .map_or(0, |(_, power)| *power)
    }

    /// The product; `None` if a power leaves `u32`.
    pub(super) fn times(&self, other: &Monomial) -> Option<Monomial> {
        let (mut left, mut right) = (self.factors.iter().peekable(), other.factors.iter().peekable());
        let mut factors = Vec::with_capacity(self.factors.len() + other.factors.len());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            match a.0.cmp(&b.0) {
                Ordering::Less => factors.extend(left.next().cloned()),
                Ordering::Greater => factors.extend(right.next().cloned()),
                Ordering::Equal => {
                    factors.push((a.0.clone(), a.1.checked_add(b.1)?));
                    left.next();
                    right.next();
                }
            }
        }
        factors.extend(left.chain(right).cloned());
        Some(Monomial {
            factors: factors.into(),
        })
    }

    /// The quotient; `None` if `divisor` does not divide this product.
    pub(super) fn divide(&self, divisor: &Monomial) -> Option<Monomial> {
        let divides = divisor
            .factors
            .iter()
            .all(|(atom, power)| self.power_of(atom) >= *power);
        divides.then(|| {
            let left = |(atom, power): &(Atom, u32)| (atom.clone(), power - divisor.power_of(atom));
            let factors = self.factors.iter().map(left).filter(|(_, power)| *power > 0);
            Monomial {
                factors: factors.collect(),
            }
        })
    }

    /// The greatest common divisor.
    pub(super) fn common(&self, other: &Monomial) -> Monomial {
        let shared = |(atom, power): &(Atom, u32)| (atom.clone(), other.power_of(atom).min(*power));
        let factors = self.factors.iter().map(shared).filter(|(_, power)| *power > 0);
        Monomial {
            factors: factors.collect(),
        }
    }

    /// Splits the product in two: the factors for which `test` holds, and the others.
    pub(super) fn partition(&self, test: impl Fn(&Atom) -> bool) -> (Monomial, Monomial) {
        let (chosen, others): (Vec<_>, Vec<_>) =
            self.factors.iter().cloned().partition(|(atom, _)| test(atom));
        (
            Monomial {
                factors: chosen.into(),
            },
            Monomial {
                factors: others.into(),
            },
        )
    }

    /// A number that the product is never below; see [`Dim::lower_bound`].
    pub(super) fn lower_bound(&self) -> Option<i64> {
        if let Some(atom) = self.as_atom() {
            return atom.lower_bound();
        }
        self.factors.iter().try_fold(1_i64, |product, (atom, power)| {
            let bound = atom.lower_bound().filter(|bound| *bound >= 0)?;
            product.checked_mul(bound.checked_pow(*power)?)
        })
    }
}

impl Ord for Monomial {
    fn cmp(&self, other: &Self) -> Ordering {
        self.degree().cmp(&other.degree()).then_with(|| {
            let pairs = self.factors.iter().zip(other.factors.iter());
            // At the first difference the lesser atom, or the higher power, makes the greater product.
            pairs
                .map(|(a, b)| b.0.cmp(&a.0).then(a.1.cmp(&b.1)))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        })
    }
}

impl PartialOrd for Monomial {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
