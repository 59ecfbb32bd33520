//! Sizes as they are written.

/// A number, or a multiple of a name: `5`, `D`, `{ 2 * D }`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Size {
    times: usize,
    symbol: Option<&'static str>,
}

impl Size {
    /// A literal.
    pub const fn number(n: usize) -> Self {
        Self {
            times: n,
            symbol: None,
        }
    }

    /// A const generic, a constant or a dynamic dimension.
    pub const fn named(symbol: &'static str) -> Self {
        Self {
            times: 1,
            symbol: Some(symbol),
        }
    }

    /// The number, of a literal.
    pub fn literal(self) -> Option<usize> {
        self.symbol.is_none().then_some(self.times)
    }

    /// The sum, where it can be written as a multiple.
    pub fn plus(self, other: Self) -> Option<Self> {
        let times = self.times + other.times;
        (self.symbol == other.symbol && times <= 12).then_some(Self { times, ..self })
    }
}

/// As the argument of a type.
impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.times, self.symbol) {
            (n, None) => write!(f, "{n}"),
            (1, Some(symbol)) => write!(f, "{symbol}"),
            (n, Some(symbol)) => write!(f, "{{ {n} * {symbol} }}"),
        }
    }
}

/// `Tensor<B, 5>`, or `Scalar`.
pub fn tensor(shape: &[Size]) -> String {
    match shape {
        [] => "Scalar".to_owned(),
        _ => format!("Tensor<{}>", list(shape)),
    }
}

/// `B, 5`
pub fn list(sizes: &[Size]) -> String {
    let sizes: Vec<String> = sizes.iter().map(Size::to_string).collect();
    sizes.join(", ")
}
