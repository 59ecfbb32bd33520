//! From the syntax tree to graphs: names are resolved, calls are inlined, every operation is typed as it is pushed.
//!
//! The stage has three parts. The *tree* (`tree`) is the model with its layers, and their layers, each with its path,
//! its sizes and its tensors. A *function* (`function`, `call`) is lowered by walking its body with the tree at hand;
//! calls of layers and of other functions are inlined, with the sizes of the callee's signature matched against the
//! caller's shapes. *Solving* (this file) is done in rounds: as long as an `_` is open, all functions are lowered with
//! symbols for the open sizes, only to see which sizes they are compared with; the last round, with numbers in their
//! places, makes the graphs and reports the errors.
//!
//! What the language means where it differs from Rust:
//!
//! * Whole numbers that are known in the macro are sizes, with the arithmetic of [`crate::shape`]. A size may stand
//!   wherever a number is expected.
//! * An assignment to a `State` holds from there on in train mode, and is carried to the next step. In eval mode it is
//!   checked but has no effect: nothing is carried there.
//! * `if` chooses at compile time where its condition is known there. Otherwise it chooses between numbers.
//! * A `for` is a loop in the graph, never a copy of its body for each step; see `loops`.
//!
//! Not here: everything that looks at a whole graph.

mod arith;
mod assigned;
mod call;
mod collect;
mod entry;
mod expr;
mod function;
mod init;
mod iterate;
mod loops;
mod names;
mod object;
mod region;
mod report;
mod sizes;
mod stmt;
mod tree;
mod work;

#[cfg(test)]
pub(crate) mod tests;

use crate::map::{Map, Set};

use crate::diag::{Diagnostic, Diagnostics, SourceSpan};
use crate::model::{Lowered, Solution, UserModel};
use crate::shape::Dim;
use tree::{Round, Tree};

/// Solutions of `_`, by number, and where each was found.
type Solutions = Map<u32, (Dim, SourceSpan)>;

/// Lowers a model.
///
/// Returns `None` where the model has an error, which is reported, or uses a model that has one.
pub fn lower(root: &UserModel, diagnostics: &mut Diagnostics) -> Option<Lowered> {
    let before = diagnostics.iter().count();
    let (solutions, refused) = solve(root, diagnostics);
    let tree = Tree::build(root, Round::Last, &solutions, diagnostics);
    let mut lowered = Lowered::default();
    let outcome = entry::functions(&tree, &solutions, diagnostics, &mut lowered);
    report_unsolved(
        &tree,
        |id| solutions.contains_key(&id) || refused.contains(&id),
        &outcome,
        diagnostics,
    );
    let is_whole = diagnostics.iter().count() == before
        && root.structure.error.is_none()
        && root.implementation.error.is_none()
        && !outcome.poisoned
        && !tree.is_poisoned();
    if !is_whole {
        return None;
    }
    tree.describe(&outcome.shapes, &mut lowered);
    lowered.solved = tree
        .unknowns
        .iter()
        .enumerate()
        .filter_map(|(id, unknown)| {
            let (size, _) = solutions.get(&(id as u32))?;
            Some(Solution {
                field: unknown.field,
                position: unknown.position,
                size: size.clone(),
            })
        })
        .collect();
    Some(lowered)
}

/// Finds what every `_` of the model stands for; second, those whose solution cannot be, which is reported.
fn solve(root: &UserModel, diagnostics: &mut Diagnostics) -> (Solutions, Set<u32>) {
    let (mut solutions, mut refused) = (Solutions::new(), Set::new());
    loop {
        // What is wrong is said in the last round, where all sizes are numbers.
        let mut unread = Diagnostics::new();
        let tree = Tree::build(root, Round::Search, &solutions, &mut unread);
        let n_open = tree.unknowns.len() - solutions.len();
        let found = if n_open == 0 {
            Solutions::new()
        } else {
            entry::solve(&tree, &solutions, &mut unread)
        };
        let _ = unread.finish();
        let n_known = solutions.len();
        for (id, (size, span)) in found {
            if let Some(problem) = unfit(&size) {
                let unknown = &tree.unknowns[id as usize];
                let message = format!("the size `_` of `{}` {problem}", unknown.name);
                let error =
                    Diagnostic::error(unknown.span, message).at(span, format!("it would be `{size}`"));
                diagnostics.push(error.help("layers have sizes that are known when the program is compiled"));
                refused.insert(id);
                continue;
            }
            solutions.get_or_insert_with(id, || (size, span));
        }
        if solutions.len() == n_known {
            return (solutions, refused);
        }
    }
}

/// Why a size cannot be one of a layer.
fn unfit(size: &Dim) -> Option<&'static str> {
    if size.has_dynamic() {
        Some("cannot be a size that is only known at run time")
    } else if size.as_lit().is_some_and(|n| n < 0) || size.overflows() {
        Some("cannot be that size")
    } else {
        None
    }
}

/// Reports every `_` that nothing determines, unless that follows from another mistake.
fn report_unsolved(
    tree: &Tree<'_>,
    is_settled: impl Fn(u32) -> bool,
    outcome: &entry::Outcome,
    diagnostics: &mut Diagnostics,
) {
    for (id, unknown) in tree.unknowns.iter().enumerate() {
        let used = outcome
            .uses
            .get(&unknown.field)
            .copied()
            .unwrap_or(entry::Use::Never);
        if is_settled(id as u32) || used == entry::Use::AfterMistake {
            continue;
        }
        let reason = match used {
            entry::Use::Never => format!("no function of the model uses `{}`", unknown.name),
            _ => format!("no use of `{}` determines it", unknown.name),
        };
        let message = format!("the size `_` of `{}` cannot be inferred", unknown.name);
        diagnostics.push(
            Diagnostic::error(unknown.span, message)
                .note(reason)
                .help("write the size"),
        );
    }
}
