//! Ring operations, polynomial division, and the laws of floor division.

use std::ops::{Add, Mul, Neg, Sub};

use super::atom::floor_i64;
use super::{Atom, Dim, Monomial, Term};

/// A division that takes more steps is given up. Sizes in models need a handful; the limit keeps a power
/// such as `D^1000000` divided by `D - 1` from filling memory.
const MAX_DIVISION_STEPS: usize = 256;

impl Dim {
    fn plus(&self, other: &Dim) -> Dim {
        match (self.is_zero(), other.is_zero()) {
            (true, _) => return other.clone(),
            (_, true) => return self.clone(),
            (false, false) => {}
        }
        Dim::from_terms(self.wide_terms().chain(other.wide_terms()))
    }

    fn minus(&self, other: &Dim) -> Dim {
        if other.is_zero() {
            return self.clone();
        }
        let negated = other
            .wide_terms()
            .map(|(monomial, coefficient)| (monomial, -coefficient));
        Dim::from_terms(self.wide_terms().chain(negated))
    }

    fn times(&self, other: &Dim) -> Dim {
        if self.overflows() || other.overflows() {
            return Dim::overflow();
        }
        // Most factors are numbers, and macros run unoptimised: terms are put in order only where they have to be.
        match (self.as_lit(), other.as_lit()) {
            (Some(factor), _) => return other.scaled(factor),
            (_, Some(factor)) => return self.scaled(factor),
            (None, None) => {}
        }
        let products = self.wide_terms().flat_map(|(left, a)| {
            other
                .wide_terms()
                .map(move |(right, b)| match left.times(&right) {
                    Some(monomial) => (monomial, a * b),
                    None => (Monomial::atom(Atom::Overflow), 1),
                })
        });
        Dim::from_terms(products)
    }

    /// Every coefficient times a number, which keeps the order of the terms.
    fn scaled(&self, factor: i64) -> Dim {
        match factor {
            0 => return Dim::zero(),
            1 => return self.clone(),
            _ => {}
        }
        let scaled = self.terms.iter().map(|term| {
            Some(Term {
                monomial: term.monomial.clone(),
                coefficient: term.coefficient.checked_mul(factor)?,
            })
        });
        match scaled.collect::<Option<Vec<_>>>() {
            Some(terms) => Dim { terms: terms.into() },
            None => Dim::overflow(),
        }
    }

    fn wide_terms(&self) -> impl Iterator<Item = (Monomial, i128)> {
        self.terms
            .iter()
            .map(|term| (term.monomial.clone(), i128::from(term.coefficient)))
    }

    /// The dimension to a power; anything to the power 0 is 1.
    pub fn pow(&self, power: u32) -> Dim {
        let (mut result, mut square, mut left) = (Dim::one(), self.clone(), power);
        while left > 0 {
            if left % 2 == 1 {
                result = &result * &square;
            }
            left /= 2;
            if left > 0 {
                square = &square * &square;
            }
        }
        result
    }

    /// The quotient, if the division leaves no remainder as polynomials; `None` otherwise, and for a
    /// divisor of zero.
    ///
    /// Because a polynomial ring over the integers has no zero divisors and the monomial order is
    /// compatible with products, this decides divisibility (Cox, Little, O'Shea, *Ideals, Varieties, and
    /// Algorithms*, section 2.3), up to a limit on the number of steps.
    pub fn divide_exact(&self, divisor: &Dim) -> Option<Dim> {
        let (quotient, remainder) = self.div_rem(divisor)?;
        remainder.is_zero().then_some(quotient)
    }

    /// The floor of `self / divisor`, for a divisor of one or more.
    ///
    /// Brought to canonical form by these laws, where `k` is the divisor, `q` and `p` are integers, and
    /// `c` is a positive literal:
    ///
    /// * `floor((k q + r) / k) = q + floor(r / k)`, with the coefficients of `r` in `0..k` for a literal
    ///   `k`;
    /// * `floor((g p + c) / (g k)) = floor((p + floor(c / g)) / k)`, for a common factor `g`;
    /// * `floor((p + floor(a / b)) / c) = floor((b p + a) / (b c))`, for literals `b` and `c`
    ///   (Graham, Knuth, Patashnik, *Concrete Mathematics*, equation 3.11).
    ///
    /// A divisor that is the literal 0 is kept as it is written: the result has no value, and rustc
    /// reports the division where the size is emitted.
    pub fn floor_div(&self, divisor: &Dim) -> Dim {
        if self.overflows() || divisor.overflows() {
            return Dim::overflow();
        }
        if divisor.is_zero() {
            return Dim::atom(Atom::Floor(self.clone(), Dim::zero()));
        }
        if divisor.as_lit().is_some_and(|divisor| divisor < 0) {
            return (-self).floor_div(&-divisor);
        }
        match self.div_rem(divisor) {
            Some((quotient, remainder)) => quotient + floor_of_remainder(&remainder, divisor),
            None => floor_of_remainder(self, divisor),
        }
    }

    /// The ceiling of `self / divisor`, for a divisor of one or more: `floor((self + divisor - 1) / divisor)`.
    pub fn ceil_div(&self, divisor: &Dim) -> Dim {
        (self + divisor - 1).floor_div(divisor)
    }

    /// Quotient and remainder with `self = quotient * divisor + remainder`, where no term of the remainder
    /// can be divided further by the leading term of the divisor. Coefficients are divided with
    /// nonnegative remainders, so that the result is unique. `None` for a divisor of zero, on overflow, and
    /// where the division takes too many steps.
    fn div_rem(&self, divisor: &Dim) -> Option<(Dim, Dim)> {
        let leading = divisor.terms.first().filter(|_| !divisor.overflows())?;
        let (mut rest, mut quotient, mut remainder) = (self.clone(), Dim::zero(), Dim::zero());
        for _ in 0..MAX_DIVISION_STEPS {
            let Some(Term {
                monomial,
                coefficient,
            }) = rest.terms.first().cloned()
            else {
                return Some((quotient, remainder));
            };
            let ratio = monomial.divide(&leading.monomial);
            let factor = match &ratio {
                Some(_) => coefficient.checked_div_euclid(leading.coefficient)?,
                None => 0,
            };
            if let Some(ratio) = ratio.filter(|_| factor != 0) {
                let part = Dim::term(ratio, factor);
                rest = &rest - &part * divisor;
                quotient = quotient + part;
            }
            // What is left of the leading term now belongs to the remainder.
            if let Some(left) = rest.terms.first().filter(|left| left.monomial == monomial) {
                let left = Dim::term(monomial, left.coefficient);
                rest = &rest - &left;
                remainder = remainder + left;
            }
            if rest.overflows() || quotient.overflows() || remainder.overflows() {
                return None;
            }
        }
        None
    }

    /// Divides every coefficient by `divisor`, rounding down.
    fn floor_coefficients(&self, divisor: i64) -> Option<Dim> {
        let divided = self.terms.iter().map(|term| {
            let coefficient = floor_i64(term.coefficient, divisor)?;
            Some((term.monomial.clone(), i128::from(coefficient)))
        });
        Some(Dim::from_terms(divided.collect::<Option<Vec<_>>>()?))
    }

    /// Divides every coefficient by `divisor`, rounding up.
    pub(super) fn ceil_coefficients(&self, divisor: i64) -> Option<Dim> {
        Some(-(-self).floor_coefficients(divisor)?)
    }

    /// Divides every term by a monomial that divides all of them.
    fn without_factor(&self, factor: &Monomial) -> Option<Dim> {
        let divided = self
            .terms
            .iter()
            .map(|term| Some((term.monomial.divide(factor)?, i128::from(term.coefficient))));
        Some(Dim::from_terms(divided.collect::<Option<Vec<_>>>()?))
    }
}

/// The floor of a fraction whose numerator holds no multiple of the divisor any more.
fn floor_of_remainder(remainder: &Dim, divisor: &Dim) -> Dim {
    if remainder.is_zero() {
        return Dim::zero();
    }
    // A nonnegative remainder below a literal divisor.
    if let (Some(remainder), Some(divisor)) = (remainder.as_lit(), divisor.as_lit())
        && (0..divisor).contains(&remainder)
    {
        return Dim::zero();
    }
    let simpler = cancel(remainder, divisor).or_else(|| flatten(remainder, divisor));
    match simpler.filter(|(numerator, divisor)| !numerator.overflows() && !divisor.overflows()) {
        Some((numerator, divisor)) => numerator.floor_div(&divisor),
        None => Dim::atom(Atom::Floor(remainder.clone(), divisor.clone())),
    }
}

/// Cancels what numerator and divisor have in common: a number, and a product of atoms. `None` if there is
/// nothing to cancel.
fn cancel(numerator: &Dim, divisor: &Dim) -> Option<(Dim, Dim)> {
    let varying = numerator.terms.iter().filter(|term| !term.monomial.is_one());
    let number = divisor
        .terms
        .iter()
        .chain(varying)
        .fold(0, |g, term| gcd(g, term.coefficient));
    if number > 1 {
        return Some((
            numerator.floor_coefficients(number)?,
            divisor.floor_coefficients(number)?,
        ));
    }
    let mut monomials = numerator
        .terms
        .iter()
        .chain(divisor.terms.iter())
        .map(|term| &term.monomial);
    let first = monomials.next()?.clone();
    let shared = monomials.fold(first, |shared, monomial| shared.common(monomial));
    (!shared.is_one()).then(|| {
        Some((
            numerator.without_factor(&shared)?,
            divisor.without_factor(&shared)?,
        ))
    })?
}

/// `floor((p + floor(a / b)) / c)` as numerator `b p + a` and divisor `b c`, for literals `b` and `c`, where
/// the numerator has exactly one such inner floor with the coefficient 1 (with two, the result would
/// depend on which is taken).
fn flatten(numerator: &Dim, divisor: &Dim) -> Option<(Dim, Dim)> {
    let outer = divisor.as_lit().filter(|divisor| *divisor > 0)?;
    let inner = |term: &Term| match term.monomial.as_atom() {
        Some(Atom::Floor(a, b)) if term.coefficient == 1 => {
            let b = b.as_lit().filter(|b| *b > 0)?;
            Some((term.monomial.clone(), a.clone(), b))
        }
        _ => None,
    };
    let mut candidates = numerator.terms.iter().filter_map(inner);
    let (monomial, a, b) = candidates.next()?;
    if candidates.next().is_some() {
        return None;
    }
    let rest = numerator - Dim::term(monomial, 1);
    Some((rest * b + a, Dim::lit(outer.checked_mul(b)?)))
}

/// The greatest common divisor, nonnegative. `i64::MIN` with itself or 0 gives 1: its magnitude does not fit,
/// and 1 is a common divisor too.
pub(super) fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
}

impl Neg for &Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        Dim::zero().minus(self)
    }
}

impl Neg for Dim {
    type Output = Dim;
    fn neg(self) -> Dim {
        -&self
    }
}

/// The operators of a list, for every mixture of owned, borrowed and literal operands.
macro_rules! operators {
    ($($trait:ident $method:ident $by:ident),* $(,)?) => {$(
        impl $trait<&Dim> for &Dim {
            type Output = Dim;
            fn $method(self, other: &Dim) -> Dim {
                self.$by(other)
            }
        }
        impl $trait<Dim> for &Dim {
            type Output = Dim;
            fn $method(self, other: Dim) -> Dim {
                self.$by(&other)
            }
        }
        impl $trait<&Dim> for Dim {
            type Output = Dim;
            fn $method(self, other: &Dim) -> Dim {
                self.$by(other)
            }
        }
        impl $trait<Dim> for Dim {
            type Output = Dim;
            fn $method(self, other: Dim) -> Dim {
                self.$by(&other)
            }
        }
        impl $trait<i64> for &Dim {
            type Output = Dim;
            fn $method(self, other: i64) -> Dim {
                self.$by(&Dim::lit(other))
            }
        }
        impl $trait<i64> for Dim {
            type Output = Dim;
            fn $method(self, other: i64) -> Dim {
                self.$by(&Dim::lit(other))
            }
        }
        impl $trait<&Dim> for i64 {
            type Output = Dim;
            fn $method(self, other: &Dim) -> Dim {
                Dim::lit(self).$by(other)
            }
        }
        impl $trait<Dim> for i64 {
            type Output = Dim;
            fn $method(self, other: Dim) -> Dim {
                Dim::lit(self).$by(&other)
            }
        }
    )*};
}

operators!(Add add plus, Sub sub minus, Mul mul times);
