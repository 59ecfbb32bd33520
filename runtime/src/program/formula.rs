//! Sizes as the tables hold them: formulas in the names of dimensions, const generics and constants.
//!
//! A table with a function for every size would be compiled function by function, and there are hundreds in a model; a formula
//! is one string. Those of slots are looked at when a workspace is made or its sizes change, those of arguments and results in
//! every call.
//!
//! ```text
//! list    = [ sum { "," sum } ]
//! sum     = product { ( "+" | "-" ) product }
//! product = atom { ( "*" | "/" ) atom }            a quotient by a positive number is rounded down
//! atom    = digits | name | constant | "(" sum ")"
//! ```
//!
//! A constant is its source in backquotes, `` `crate::width(3)` ``: so it is never mistaken for a dimension of the same name.

use super::{MAX_RANK, Sizes};
use crate::error::{Error, Result};

impl Sizes<'_> {
    /// The value of a formula: 0 where it is negative, and `usize::MAX` where it is larger, which is more than fits into any
    /// memory. A quotient by zero counts as 0.
    ///
    /// # Panics
    ///
    /// Where the text is no formula in the names of these sizes: a mistake of the compiler.
    pub fn value(&self, formula: &str) -> usize {
        let mut reader = Reader::new(self, formula);
        let value = reader.sum();
        reader.end();
        clamp(value)
    }

    /// The value of a formula that memory depends on, `usize::MAX` where it is larger.
    ///
    /// # Errors
    ///
    /// A configuration error where there is no such size: it is negative, or a quotient by zero.
    ///
    /// # Panics
    ///
    /// As [`value`](Self::value).
    pub fn size(&self, formula: &str) -> Result<usize> {
        let mut reader = Reader::new(self, formula);
        let size = reader.size()?;
        reader.end();
        Ok(size)
    }

    /// The values of a list of formulas that memory depends on.
    ///
    /// # Errors
    ///
    /// As [`size`](Self::size).
    ///
    /// # Panics
    ///
    /// As [`value`](Self::value).
    pub fn sizes(&self, formulas: &str) -> Result<Vec<usize>> {
        let mut reader = Reader::new(self, formulas);
        let mut sizes = Vec::new();
        while !reader.is_at_end() {
            sizes.push(reader.size()?);
            if !reader.take(b',') {
                break;
            }
        }
        reader.end();
        Ok(sizes)
    }

    /// The values of a list of formulas.
    ///
    /// # Panics
    ///
    /// As [`value`](Self::value).
    pub fn values<'f>(&'f self, formulas: &'f str) -> impl Iterator<Item = usize> + 'f {
        let mut reader = Reader::new(self, formulas);
        let mut is_over = reader.is_at_end();
        std::iter::from_fn(move || {
            if is_over {
                return None;
            }
            let value = clamp(reader.sum());
            is_over = !reader.take(b',');
            if is_over {
                reader.end();
            }
            Some(value)
        })
    }

    /// The values of a list of formulas, padded with ones; and how many there are.
    ///
    /// # Panics
    ///
    /// As [`value`](Self::value), and where there are more than [`MAX_RANK`].
    pub fn shape(&self, formulas: &str) -> ([usize; MAX_RANK], usize) {
        let mut shape = [1; MAX_RANK];
        let mut rank = 0;
        for value in self.values(formulas) {
            shape[rank] = value;
            rank += 1;
        }
        (shape, rank)
    }

    /// The value of a name.
    fn named(&self, name: &str) -> Option<usize> {
        let at = self.names.iter().position(|known| *known == name)?;
        match at.checked_sub(self.dims.len()) {
            None => self.dims.get(at).copied(),
            Some(at) => self.generics.get(at).copied(),
        }
    }
}

fn clamp(value: i128) -> usize {
    usize::try_from(value.max(0)).unwrap_or(usize::MAX)
}

/// Reads a formula from the front to the back, without allocating anything.
struct Reader<'a> {
    sizes: &'a Sizes<'a>,
    formula: &'a str,
    at: usize,
    has_divided_by_zero: bool,
}

impl<'a> Reader<'a> {
    fn new(sizes: &'a Sizes<'a>, formula: &'a str) -> Self {
        Self {
            sizes,
            formula,
            at: 0,
            has_divided_by_zero: false,
        }
    }

    /// The next character that is no blank.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.formula.as_bytes();
        while bytes.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Takes a character if it comes next.
    fn take(&mut self, character: u8) -> bool {
        let found = self.peek() == Some(character);
        self.at += usize::from(found);
        found
    }

    /// The characters from here on that belong together.
    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.formula[self.at..];
        let end = rest
            .bytes()
            .position(|character| !belongs(character))
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// A sum that memory depends on.
    fn size(&mut self) -> Result<usize> {
        let value = self.sum();
        match value < 0 || self.has_divided_by_zero {
            true => Err(self.no_size(value)),
            false => Ok(clamp(value)),
        }
    }

    #[cold]
    fn no_size(&self, value: i128) -> Error {
        let problem = match self.has_divided_by_zero {
            true => "divides by zero".to_owned(),
            false => format!("is {value}"),
        };
        let sizes = self.sizes;
        let known = sizes.names.iter().zip(sizes.dims.iter().chain(sizes.generics));
        let known: Vec<String> = known.map(|(name, value)| format!("{name} = {value}")).collect();
        let message = format!(
            "a size in `[{}]` {problem} for {}",
            self.formula,
            known.join(", ")
        );
        Error::config(message).hint("choose sizes for which it is 0 or more")
    }

    fn sum(&mut self) -> i128 {
        let mut sum = self.product();
        loop {
            if self.take(b'+') {
                sum = sum.saturating_add(self.product());
            } else if self.take(b'-') {
                sum = sum.saturating_sub(self.product());
            } else {
                return sum;
            }
        }
    }

    fn product(&mut self) -> i128 {
        let mut product = self.atom();
        loop {
            if self.take(b'*') {
                product = product.saturating_mul(self.atom());
            } else if self.take(b'/') {
                let divisor = self.atom();
                self.has_divided_by_zero |= divisor == 0;
                product = product.checked_div_euclid(divisor).unwrap_or(0);
            } else {
                return product;
            }
        }
    }

    fn atom(&mut self) -> i128 {
        match self.peek() {
            Some(b'(') => {
                self.at += 1;
                let sum = self.sum();
                if !self.take(b')') {
                    self.fail();
                }
                sum
            }
            Some(b'0'..=b'9') => {
                let digits = self.take_while(|character| character.is_ascii_digit());
                digits.parse().unwrap_or(i128::MAX)
            }
            Some(b'`') => {
                let start = self.at;
                self.at += 1;
                self.take_while(|character| character != b'`');
                if !self.take(b'`') {
                    self.fail();
                }
                self.look_up(&self.formula[start..self.at])
            }
            _ => {
                // `#` is that of raw identifiers.
                let belongs = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'#') || !c.is_ascii();
                let name = self.take_while(belongs);
                self.look_up(name)
            }
        }
    }

    fn look_up(&self, name: &str) -> i128 {
        match self.sizes.named(name) {
            Some(value) => value as i128,
            None => self.fail(),
        }
    }

    fn end(&mut self) {
        if !self.is_at_end() {
            self.fail();
        }
    }

    fn fail(&self) -> ! {
        panic!(
            "`{}` is no formula in {:?}: it is not understood from character {} on",
            self.formula, self.sizes.names, self.at
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: &[&str] = &["B", "r#in", "D", "CLASSES", "`crate::width(3)`"];

    fn sizes<'a>(dims: &'a [usize; 2], generics: &'a [usize; 3]) -> Sizes<'a> {
        Sizes {
            dims,
            generics,
            names: NAMES,
        }
    }

    #[test]
    fn formulas_have_the_values_of_rust_expressions() {
        let sizes = sizes(&[3, 50], &[8, 10, 77]);
        let values = [
            ("0", 0),
            ("784", 784),
            ("B", 3),
            ("4 * D", 32),
            ("B * r#in * D", 1200),
            ("(r#in + 2) / 4 * D", 104),
            ("B + r#in - D * 2", 37),
            ("2 * (B + D) * (D - 1)", 154),
            ("CLASSES / 4", 2),
            ("`crate::width(3)` + 1", 78),
            ("  B+1 ", 4),
        ];
        for (formula, value) in values {
            assert_eq!(sizes.value(formula), value, "{formula}");
        }
    }

    #[test]
    fn lists_are_shapes() {
        let sizes = sizes(&[3, 50], &[8, 10, 77]);
        assert_eq!(sizes.shape(""), ([1; MAX_RANK], 0));
        assert_eq!(sizes.shape("B, 1, 3 * D"), ([3, 1, 24, 1, 1, 1, 1, 1], 3));
    }

    #[test]
    fn what_no_memory_can_hold_is_the_largest_size_and_what_is_negative_the_smallest() {
        let sizes = sizes(&[usize::MAX, 1], &[usize::MAX, 0, 5]);
        assert_eq!(sizes.value("B * D"), usize::MAX);
        assert_eq!(sizes.value("B * B * B * D"), usize::MAX);
        assert_eq!(sizes.value("r#in - B"), 0);
        assert_eq!(sizes.value("B / CLASSES"), 0);
    }

    #[test]
    fn memory_has_no_negative_sizes() {
        let sizes = sizes(&[3, 50], &[8, 0, 77]);
        assert_eq!(sizes.sizes("B, r#in - D").unwrap(), [3, 42]);
        assert_eq!(sizes.size("D - 8").unwrap(), 0);
        let message = |formula| sizes.size(formula).unwrap_err().to_string();
        let negative = message("3 * (D - 10)");
        assert!(
            negative.contains("[3 * (D - 10)]` is -6 for B = 3, r#in = 50, D = 8"),
            "{negative}"
        );
        let quotient = message("B / CLASSES + 2");
        assert!(quotient.contains("divides by zero"), "{quotient}");
    }

    #[test]
    fn what_is_no_formula_is_refused() {
        let sizes = sizes(&[3, 50], &[8, 10, 77]);
        for text in ["", "B *", "X", "(B", "B B", "B, D", "`crate`", "`B"] {
            assert!(std::panic::catch_unwind(|| sizes.value(text)).is_err(), "{text}");
        }
        assert!(std::panic::catch_unwind(|| sizes.shape("1,1,1,1,1,1,1,1,1")).is_err());
    }

    proptest! {
        /// Quotients are rounded down whatever the sign of what is above.
        #[test]
        fn quotients_are_rounded_down(b in 0_usize..100, time in 0_usize..100, d in 1_usize..20) {
            let dims = [b, time];
            let generics = [d, 0, 0];
            let value = sizes(&dims, &generics).value("(B - r#in) / D + 100");
            let expected = (b as i64 - time as i64).div_euclid(d as i64) + 100;
            prop_assert_eq!(value as i64, expected);
        }
    }
}
