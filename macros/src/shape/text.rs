//! Dimensions as text and as Rust: one printer for the reader of an error and for emitted code.
//!
//! Both are the same text, so that a size in a message is the size that runs. Emitted sizes are `usize`,
//! which cannot hold an intermediate value below zero; the printer therefore
//!
//! * writes the terms that are added before those that are subtracted;
//! * writes a number next to a lone quotient into its numerator (`H / 2 + 1` as `(H + 2) / 2`, and
//!   `1 + (B - 1) / S` as `(B + S - 1) / S`), which is below zero only if the whole is;
//! * elsewhere adds to a numerator that can be below zero as many divisors as it lacks, and takes their
//!   number off outside.
//!
//! So wherever a size is zero or greater, the printed expression has its value.

use std::fmt::{self, Display, Formatter};

use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens, quote};

use super::arith::gcd;
use super::{Atom, Dim, Monomial, Symbol, Term};

impl Display for Dim {
    /// The size as a user would write it: `4 * D`, `B * T`, `(H + 2) / 2`, `784`, `_`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&Printed::new(self).text)
    }
}

impl Dim {
    /// The size as a Rust expression of type `usize`, of the text that [`Display`] shows.
    ///
    /// Dynamic dimensions and const generics become identifiers of their names, constants their source,
    /// floor division integer division. The expression has no outer parentheses: put it where a comma, a
    /// semicolon or a bracket ends an expression, or use [`Dim::to_operand_tokens`].
    ///
    /// A size without a value (it overflows, holds an unsolved `_`, or is negative for all sizes) becomes
    /// a `compile_error!` that says so.
    pub fn to_tokens(&self) -> TokenStream {
        if let Some(number @ 0..) = self.as_lit() {
            return Literal::i64_unsuffixed(number).into_token_stream();
        }
        self.tokens_of(&Printed::new(self).text)
    }

    /// Like [`Dim::to_tokens`], in parentheses where needed to stand as an operand, as in `#size * 4`.
    pub fn to_operand_tokens(&self) -> TokenStream {
        self.tokens_of(&Printed::new(self).operand())
    }

    /// The size as a formula, the form in which tables of emitted code hold it; `name` says what a constant is called there.
    ///
    /// A size without a value becomes a `compile_error!`, as in [`Dim::to_tokens`].
    pub fn to_formula(&self, name: &dyn Fn(&str) -> String) -> Result<String, TokenStream> {
        if let Some(complaint) = self.complaint() {
            return Err(quote!(::core::compile_error!(#complaint)));
        }
        if !self.any(|atom| matches!(atom, Atom::Const(_))) {
            return Ok(self.to_string());
        }
        let named = self.substitute(&|atom| match atom {
            Atom::Const(text) => Some(Dim::generic(&name(text))),
            _ => None,
        });
        Ok(named.to_string())
    }

    fn tokens_of(&self, text: &str) -> TokenStream {
        let complaint = match (self.complaint(), text.parse()) {
            (Some(complaint), _) => complaint,
            (None, Ok(tokens)) => return tokens,
            (None, Err(_)) => format!("the size `{self}` is not a Rust expression"),
        };
        quote!(::core::compile_error!(#complaint))
    }

    /// Why there is no such size, if there is none.
    fn complaint(&self) -> Option<String> {
        let is_negative = !self.is_zero() && self.terms.iter().all(|term| term.coefficient < 0);
        if self.overflows() {
            Some("a size does not fit in 64 bits".to_owned())
        } else if self.has_infer() {
            Some(format!("the size `{self}` holds a `_` that nothing determines"))
        } else {
            is_negative.then(|| format!("the size `{self}` is negative"))
        }
    }

    /// The same size in the form that is printed: see the module's documentation. Its floor divisions are
    /// not canonical, so it is for printing only.
    fn printable(&self) -> Dim {
        let shown = self
            .lone_quotient()
            .unwrap_or_else(|| self.with_printable_atoms());
        // A form that leaves the range of coefficients is not worth its looks.
        if shown.overflows() { self.clone() } else { shown }
    }

    /// `floor(n / d) + c` as the single quotient `(n + c d) / d`, whose numerator is below zero only if the
    /// whole is.
    fn lone_quotient(&self) -> Option<Dim> {
        let (first, number) = match &*self.terms {
            [quotient] => (quotient, 0),
            [quotient, number] if number.monomial.is_one() => (quotient, number.coefficient),
            _ => return None,
        };
        match first.monomial.as_atom() {
            Some(Atom::Floor(numerator, divisor)) if first.coefficient == 1 => {
                let numerator = numerator + divisor * number;
                let fits = !numerator.overflows() && !divisor.is_zero();
                fits.then(|| Dim::atom(Atom::Floor(numerator.printable(), divisor.printable())))
            }
            _ => None,
        }
    }

    fn with_printable_atoms(&self) -> Dim {
        Dim::sum(self.terms.iter().map(|term| {
            let factors = term.monomial.factors().iter();
            factors.fold(Dim::lit(term.coefficient), |product, (atom, power)| {
                product * printable_atom(atom).pow(*power)
            })
        }))
    }
}

/// An atom in a form that does not go below zero on the way, whatever the sizes in it.
fn printable_atom(atom: &Atom) -> Dim {
    let Atom::Floor(numerator, divisor) = atom else {
        return Dim::atom(atom.clone());
    };
    let quotient = |numerator| Dim::atom(Atom::Floor(numerator, divisor.printable()));
    if divisor.is_zero() || numerator.lower_bound().is_some_and(|bound| bound >= 0) {
        return quotient(numerator.printable());
    }
    let numerator = numerator.with_printable_atoms();
    let (_, subtracted) = numerator.split_signs();
    // As many whole divisors as make up for what is subtracted; a symbolic divisor is at least 1.
    let divisors = match divisor.as_lit() {
        Some(number) => match subtracted.ceil_coefficients(number) {
            Some(divisors) => divisors,
            None => return Dim::atom(atom.clone()),
        },
        None => subtracted,
    };
    let raised = &numerator + divisor * &divisors;
    match raised.overflows() {
        true => Dim::atom(atom.clone()),
        false => quotient(raised) - divisors,
    }
}

/// How tightly a piece of text holds together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Binding {
    /// A name, a number, a call, or something in parentheses.
    Tight,
    /// A product without a division.
    Product,
    /// A division.
    Quotient,
    /// A sum or difference.
    Sum,
}

/// A piece of text and how tightly it holds together.
struct Printed {
    text: String,
    binding: Binding,
}

impl Printed {
    fn new(dim: &Dim) -> Printed {
        Printed::sum(&dim.printable())
    }

    /// The text of a size that is in printable form already.
    fn sum(shown: &Dim) -> Printed {
        let mut pieces = Vec::with_capacity(shown.terms.len());
        pieces.extend(shown.terms.iter().filter(|term| term.coefficient > 0));
        pieces.extend(shown.terms.iter().filter(|term| term.coefficient < 0));
        let Some((first, others)) = pieces.split_first() else {
            return Printed {
                text: "0".to_owned(),
                binding: Binding::Tight,
            };
        };
        let mut result = Printed::term(first);
        if first.coefficient < 0 {
            // Unsigned arithmetic has no sign to put in front; a literal below zero is a size nowhere.
            let sign = if first.monomial.is_one() { "-" } else { "0 - " };
            result = Printed {
                text: format!("{sign}{}", result.text),
                binding: Binding::Sum,
            };
        }
        for term in others {
            let sign = if term.coefficient < 0 { '-' } else { '+' };
            let text = format!("{} {sign} {}", result.text, Printed::term(term).text);
            result = Printed {
                text,
                binding: Binding::Sum,
            };
        }
        result
    }

    /// A term without its sign.
    fn term(term: &Term) -> Printed {
        let mut coefficient = term.coefficient.unsigned_abs();
        let mut factors = Printed::factors(&term.monomial, &mut coefficient);
        if coefficient != 1 || factors.is_empty() {
            factors.insert(
                0,
                Printed {
                    text: coefficient.to_string(),
                    binding: Binding::Tight,
                },
            );
        }
        match <[Printed; 1]>::try_from(factors) {
            Ok([single]) => single,
            Err(several) => {
                let texts: Vec<String> = several.iter().map(Printed::operand).collect();
                Printed {
                    text: texts.join(" * "),
                    binding: Binding::Product,
                }
            }
        }
    }

    /// The factors of a product, with powers written out. Atoms that stand for a fraction of a dimension
    /// take what they can from the coefficient, so that `16 * (H / 16)` is `H` and `4 * (H / 16)` is `H / 4`.
    fn factors(monomial: &Monomial, coefficient: &mut u64) -> Vec<Printed> {
        let mut factors = Vec::new();
        for (atom, power) in monomial.factors() {
            for _ in 0..*power {
                factors.push(Printed::atom(atom, coefficient));
            }
        }
        factors
    }

    fn atom(atom: &Atom, coefficient: &mut u64) -> Printed {
        let tight = |text: String| Printed {
            text,
            binding: Binding::Tight,
        };
        match atom {
            Atom::Dynamic(symbol) => Printed::fraction(symbol, coefficient),
            Atom::Generic(symbol) => tight(symbol.name().to_owned()),
            Atom::Const(text) if holds_together(text) => tight(text.to_string()),
            Atom::Const(text) => Printed {
                text: text.to_string(),
                binding: Binding::Sum,
            },
            Atom::Floor(numerator, divisor) => {
                let numerator = Printed::sum(numerator);
                let above = match numerator.binding {
                    Binding::Sum => numerator.operand(),
                    Binding::Tight | Binding::Product | Binding::Quotient => numerator.text,
                };
                let text = format!("{above} / {}", Printed::sum(divisor).operand());
                Printed {
                    text,
                    binding: Binding::Quotient,
                }
            }
            Atom::Infer(_) => tight("_".to_owned()),
            Atom::Overflow => tight("<a size beyond 64 bits>".to_owned()),
        }
    }

    fn fraction(symbol: &Symbol, coefficient: &mut u64) -> Printed {
        let shared = i64::try_from(*coefficient).map_or(1, |number| gcd(number, symbol.multiple()));
        *coefficient /= shared.unsigned_abs();
        match symbol.multiple() / shared {
            1 => Printed {
                text: symbol.name().to_owned(),
                binding: Binding::Tight,
            },
            divisor => Printed {
                text: format!("{symbol} / {divisor}"),
                binding: Binding::Quotient,
            },
        }
    }

    /// The text, in parentheses unless it is tight.
    fn operand(&self) -> String {
        match self.binding {
            Binding::Tight => self.text.clone(),
            Binding::Product | Binding::Quotient | Binding::Sum => format!("({})", self.text),
        }
    }
}

/// Whether the source of a constant can stand as an operand without parentheses.
fn holds_together(text: &str) -> bool {
    use syn::Expr;
    matches!(
        syn::parse_str::<Expr>(text),
        Ok(Expr::Path(_) | Expr::Lit(_) | Expr::Call(_) | Expr::MethodCall(_) | Expr::Paren(_))
    )
}
