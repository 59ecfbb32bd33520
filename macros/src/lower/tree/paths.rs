//! What layers and tensors are called: by their fields in messages, by `#[weights("…")]` in files.
//!
//! A field's part of a tensor's path is its name, or what `#[weights]` says instead; the empty name leaves the level out. So a
//! model can have the paths of a checkpoint that was written elsewhere. No two tensors of a model share a path.
//!
//! In a path, `{}` stands for the position in an array, and `{1}` for the position where that of the first element is 1.

use std::rc::Rc;

use crate::ast;
use crate::diag::{Diagnostic, Diagnostics, SourceSpan};
use crate::lower::tree::{Instance, Kind, Tree};
use crate::model::UserModel;

/// What a field, or each element of an array, is called.
#[derive(Clone)]
pub struct Name {
    /// As [`Instance::path`].
    pub path: Rc<str>,
    /// As [`Instance::pattern`].
    pub pattern: Rc<str>,
    /// As [`Instance::weights`].
    pub weights: Rc<str>,
    /// The number that files give the first element, if this is an array.
    first: usize,
}

impl Name {
    /// That of a field of the model `owner`.
    pub fn of(owner: &Instance<'_>, field: &ast::Field) -> Self {
        let name = field.name.to_string();
        let weights = field
            .weights
            .as_ref()
            .map_or(name.as_str(), |weights| &weights.name);
        Self {
            path: join(&owner.path, &name),
            pattern: join(&owner.pattern, &name),
            weights: join(&owner.weights, weights),
            first: field.weights.as_ref().map_or(0, |weights| weights.first),
        }
    }

    /// That of an element of the array with this name.
    pub fn element(&self) -> Self {
        Self {
            path: self.path.clone(),
            pattern: join(&self.pattern, "{}"),
            weights: join(&self.weights, &position(self.first)),
            first: 0,
        }
    }
}

/// What stands in a path for the position in an array whose first element has this number.
fn position(first: usize) -> String {
    if first == 0 {
        "{}".to_owned()
    } else {
        format!("{{{first}}}")
    }
}

/// The number of the first element, if this part of a path is a position in an array.
pub fn first(part: &str) -> Option<usize> {
    let number = part.strip_prefix('{')?.strip_suffix('}')?;
    if number.is_empty() {
        Some(0)
    } else {
        number.parse().ok()
    }
}

/// The path of the first tensors: every position is that of a first element.
fn of_first(path: &str) -> String {
    let parts = path.split('.').map(|part| match first(part) {
        Some(first) => first.to_string(),
        None => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join(".")
}

/// A path and one more part, either of which may be empty.
pub fn join(owner: &str, part: &str) -> Rc<str> {
    match (owner, part) {
        ("", part) => part.into(),
        (owner, "") => owner.into(),
        (owner, part) => format!("{owner}.{part}").into(),
    }
}

/// Reports tensors without a path, and those that share one. Only `#[weights]` can bring that about.
pub fn check(tree: &Tree<'_>, root: &UserModel, diagnostics: &mut Diagnostics) {
    if tree
        .instances
        .iter()
        .all(|instance| instance.weights == instance.pattern)
    {
        return;
    }
    let mut known: Vec<(Rc<str>, &Instance<'_>)> = Vec::new();
    for instance in &tree.instances {
        for path in tensors(instance) {
            let place = place(instance, root);
            if path.is_empty() {
                let message = format!("the parameter `{}` has no path", instance.path);
                let error = Diagnostic::error(place, message);
                diagnostics.push(error.help("a level can be left out where another one is below it"));
            } else if let Some((_, first)) = known.iter().find(|(other, _)| can_be_equal(other, &path)) {
                let message = format!("two parameters have the path `{}`", of_first(&path));
                let error = Diagnostic::error(place, message).at(
                    self::place(first, root),
                    format!("the other one is in `{}`", first.path),
                );
                diagnostics.push(error.help("give one of the fields another name with `#[weights(\"…\")]`"));
            }
            known.push((path, instance));
        }
    }
}

/// The paths of an instance's own tensors.
fn tensors(instance: &Instance<'_>) -> Vec<Rc<str>> {
    match &instance.kind {
        Kind::Param(_) | Kind::State(_) => vec![instance.weights.clone()],
        Kind::Layer(layer) => {
            let own = layer.tensors.iter();
            own.map(|(name, _)| join(&instance.weights, name)).collect()
        }
        Kind::Model(_) | Kind::Array(_) | Kind::Unsolved | Kind::Poison => Vec::new(),
    }
}

/// The field of the compiled model in which an instance lies.
fn place(instance: &Instance<'_>, root: &UserModel) -> SourceSpan {
    let field = instance.field.and_then(|field| root.structure.fields.get(field));
    field.map_or(root.structure.span, |field| {
        field.weights.as_ref().map_or(field.span, |weights| weights.span)
    })
}

/// Whether two paths are the same for some positions in their arrays.
fn can_be_equal(a: &str, b: &str) -> bool {
    let follows = |part: &str, first: usize| part.parse().is_ok_and(|number: usize| number >= first);
    let meets = |(a, b): (&str, &str)| match (first(a), first(b)) {
        (Some(_), Some(_)) => true,
        (Some(first), None) => follows(b, first),
        (None, Some(first)) => follows(a, first),
        (None, None) => a == b,
    };
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if meets((a, b)) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{can_be_equal, join, of_first};

    #[test]
    fn empty_parts_leave_a_level_out() {
        assert_eq!(&*join("", "a"), "a");
        assert_eq!(&*join("a", ""), "a");
        assert_eq!(&*join("a.{}", "b"), "a.{}.b");
    }

    #[test]
    fn examples_are_those_of_first_elements() {
        assert_eq!(of_first("h.{}.{2}.w"), "h.0.2.w");
    }

    #[test]
    fn positions_in_arrays_meet_numbers() {
        assert!(can_be_equal("h.{}.w", "h.3.w"));
        assert!(can_be_equal("h.{}.w", "h.{}.w"));
        assert!(!can_be_equal("h.{}.w", "h.a.w"));
        assert!(!can_be_equal("h.w", "h.w.x"));
        assert!(can_be_equal("h.{2}.w", "h.2.w") && can_be_equal("h.{2}.w", "h.{}.w"));
        assert!(!can_be_equal("h.{2}.w", "h.1.w"));
    }
}
