//! Names of emitted bindings: the user's, made into Rust identifiers and unique within a function.

use crate::map::{Map, Set};

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::format_ident;

/// Words that cannot be identifiers, and names that emitted functions use themselves.
const TAKEN: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield", "Self", "cx", "on", "T", "f", "i", "b", "s", "rt",
];

/// Hands out identifiers for things of type `K`, each name once.
pub(super) struct Names<K> {
    of: Map<K, Ident>,
    taken: Set<String>,
}

impl<K: Ord + Clone> Names<K> {
    /// No names yet, except those that must not be used.
    pub(super) fn avoiding(reserved: impl IntoIterator<Item = String>) -> Self {
        Self {
            of: Map::new(),
            taken: reserved.into_iter().collect(),
        }
    }

    /// The identifier of `key`, and whether it was made just now. `wanted` is what it should look like.
    pub(super) fn get(&mut self, key: &K, wanted: &str) -> (Ident, IsNew) {
        if let Some(ident) = self.of.get(key) {
            return (ident.clone(), IsNew::No);
        }
        let base = snake(wanted);
        let unique = (1..).map(|n| {
            if n == 1 {
                base.clone()
            } else {
                format!("{base}_{n}")
            }
        });
        let name = unique
            .into_iter()
            .find(|name| !TAKEN.contains(&name.as_str()) && !self.taken.contains(name))
            .expect("some number is free");
        self.taken.insert(name.clone());
        let ident = format_ident!("{name}");
        self.of.insert(key.clone(), ident.clone());
        (ident, IsNew::Yes)
    }
}

/// Whether a name occurs in code.
pub(super) fn mentions(code: &TokenStream, name: &str) -> bool {
    code.clone().into_iter().any(|tree| match tree {
        TokenTree::Ident(ident) => ident == name,
        TokenTree::Group(group) => mentions(&group.stream(), name),
        _ => false,
    })
}

/// Whether a name was just made and needs a binding.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum IsNew {
    Yes,
    No,
}

/// `blocks.0.fc1` as `blocks_0_fc1`.
pub(super) fn snake(text: &str) -> String {
    let mut name: String = text
        .trim_start_matches("r#")
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect();
    if name.starts_with(|c: char| !c.is_alphabetic() && c != '_') || name.is_empty() {
        name.insert(0, 'v');
    }
    name
}

/// `hidden_grad` as `HiddenGrad`.
pub(super) fn camel(text: &str) -> String {
    let mut name = String::new();
    for word in snake(text).split('_').filter(|word| !word.is_empty()) {
        let mut letters = word.chars();
        name.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        name.extend(letters);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_identifiers() {
        let mut names = Names::avoiding(["B".to_owned()]);
        assert_eq!(names.get(&0, "blocks.0.fc1").0, "blocks_0_fc1");
        assert_eq!(names.get(&1, "blocks.0.fc1").0, "blocks_0_fc1_2");
        assert_eq!(
            names.get(&0, "anything"),
            (format_ident!("blocks_0_fc1"), IsNew::No)
        );
        assert_eq!(names.get(&2, "B").0, "B_2");
        assert_eq!(names.get(&3, "match").0, "match_2");
        assert_eq!(names.get(&4, "0").0, "v0");
    }

    #[test]
    fn types_are_in_camel_case() {
        assert_eq!(camel("hidden_grad"), "HiddenGrad");
        assert_eq!(camel("fc1.out"), "Fc1Out");
    }
}
