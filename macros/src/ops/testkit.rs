//! What the tests of operations share: a graph with arguments, and surfaces called as lowering calls them.

use proc_macro2::Span;

use crate::diag::SourceSpan;
use crate::ir::{Args, Builder, DType, InputId, Mode, Operand, Origin, ShapeError, Type, Value};
use crate::ops::leaf::{Leaf, LeafKind};
use crate::ops::surfaces;
use crate::shape::Dim;

/// An empty graph in train mode.
pub fn builder() -> Builder {
    Builder::new(Origin::root(SourceSpan::call_site()), Mode::Train)
}

/// Sizes: a name is a dynamic dimension, a number a literal.
pub fn shape(sizes: &[&str]) -> Vec<Dim> {
    sizes
        .iter()
        .map(|text| text.parse().map_or_else(|_| Dim::dynamic(text), Dim::lit))
        .collect()
}

/// An argument of the function.
pub fn input(b: &mut Builder, dtype: DType, sizes: &[&str]) -> Value {
    let kind = LeafKind::Input(InputId::new(b.graph.len()));
    b.push(
        Leaf {
            kind,
            ty: Type::new(dtype, shape(sizes)),
        },
        &[],
    )
}

/// Calls the surface of that name.
pub fn call(
    b: &mut Builder,
    name: &str,
    args: &[Operand],
    named: &[(&str, Operand)],
) -> Result<Value, ShapeError> {
    let surface = surfaces()
        .find(|surface| surface.name == name)
        .expect("a surface of that name");
    let named = named
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone(), Span::call_site()));
    let positional = args.iter().cloned().map(Some).collect();
    let mut args = Args {
        positional,
        named: named.collect(),
        usage: surface.usage,
    };
    match (surface.lower)(b, &mut args)? {
        Operand::Tensor(value) => Ok(value),
        other => panic!("`{name}` gave {other:?}"),
    }
}

/// A literal whole number.
pub fn whole(n: i64) -> Operand {
    Operand::Size(Dim::lit(n))
}

/// The type of a value as text; there must be no error.
pub fn typed(b: &Builder, value: Value) -> String {
    let errors: Vec<&str> = b.errors.iter().map(|(_, error)| error.message.as_str()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    b.ty(value).to_string()
}

/// The one error of a graph, its help in brackets.
pub fn error(b: &Builder) -> String {
    assert_eq!(b.errors.len(), 1, "one mistake, one error");
    text(&b.errors[0].1)
}

/// An error with its help in brackets.
pub fn text(error: &ShapeError) -> String {
    match &error.help {
        Some(help) => format!("{} ({help})", error.message),
        None => error.message.clone(),
    }
}
