//! Errors of lowering: shown in the compiled model's source, with the layer's path.

use crate::diag::{Diagnostic, SourceSpan};
use crate::ir::{Demand, ShapeError};
use crate::lower::object::Object;
use crate::lower::tree::InstanceId;
use crate::lower::work::{Frame, Work};
use crate::model::Check;
use crate::shape::Dim;

impl<'a> Work<'_, 'a, '_> {
    /// An error in the source of `frame`'s function.
    pub fn error(&self, frame: &Frame<'a>, span: SourceSpan, message: impl Into<String>) -> Diagnostic {
        let message = message.into();
        match frame.outer {
            None => Diagnostic::error(span, message),
            Some(outer) => {
                let title = self.tree.title(frame.instance);
                let error = Diagnostic::error(outer, format!("{title}: {message}"));
                error.at(span, format!("here, in `{}`", frame.function.name))
            }
        }
    }

    /// Reports an error.
    pub fn report(&mut self, error: Diagnostic) -> Object {
        self.log.n_mistakes += 1;
        self.log.diagnostics.push(error);
        Object::Poison
    }

    /// Reports an error without further lines.
    pub fn fail(&mut self, frame: &Frame<'a>, span: SourceSpan, message: impl Into<String>) -> Object {
        let error = self.error(frame, span, message);
        self.report(error)
    }

    /// Says that something was met that was reported before.
    pub fn poisoned(&mut self) -> Object {
        self.log.poisoned = true;
        Object::Poison
    }

    /// Reports what an operation said; `layer` is the layer that it was a part of, if any.
    pub fn fail_shape(
        &mut self,
        frame: &Frame<'a>,
        span: SourceSpan,
        layer: Option<InstanceId>,
        error: ShapeError,
    ) -> Object {
        let message = match layer {
            Some(id) => format!("{}: {}", self.tree.title(id), error.message),
            None => error.message,
        };
        let mut report = match (frame.outer, layer) {
            // The layer's path says which one it is.
            (Some(outer), Some(_)) => {
                Diagnostic::error(outer, message).at(span, format!("here, in `{}`", frame.function.name))
            }
            _ => self.error(frame, span, message),
        };
        if let Some(help) = error.help {
            report = report.help(help);
        }
        if let Some(id) = layer {
            report = self.note_solutions(report, id);
        }
        self.report(report)
    }

    /// Says where the sizes `_` of a layer come from.
    pub fn note_solutions(&self, mut report: Diagnostic, layer: InstanceId) -> Diagnostic {
        let field = self.tree.instances[layer].field;
        for (id, unknown) in self.tree.unknowns.iter().enumerate() {
            if Some(unknown.field) == field
                && let Some((size, span)) = self.log.solutions.get(&(id as u32))
            {
                report = report.at(
                    *span,
                    format!("the `_` of `{}` is {size} because of this", unknown.name),
                );
            }
        }
        report
    }

    /// Takes over what the builder gathered since the last time: errors, equations for rustc, solutions of `_`.
    /// True where nothing was wrong.
    pub fn settle(&mut self, frame: &Frame<'a>, span: SourceSpan, layer: Option<InstanceId>) -> bool {
        let place = frame.place(span);
        for (left, right) in std::mem::take(&mut self.b.constraints.checks) {
            self.check(place, layer, left, right);
        }
        for demand in std::mem::take(&mut self.b.constraints.demands) {
            self.demand(layer, demand);
        }
        let solved = self.b.constraints.solved.iter();
        for (id, size) in solved {
            self.log.found.get_or_insert_with(*id, || (size.clone(), place));
        }
        // What follows from the first mistake is no news.
        match std::mem::take(&mut self.b.errors).into_iter().next() {
            None => true,
            Some((_, error)) => {
                self.fail_shape(frame, span, layer, error);
                false
            }
        }
    }

    /// Notes what a call must check. An operation may be made of another that demands the same.
    fn demand(&mut self, layer: Option<InstanceId>, demand: Demand) {
        let is_same = |known: &Demand| (&known.larger, &known.smaller) == (&demand.larger, &demand.smaller);
        if self.log.demands.iter().any(is_same) {
            return;
        }
        let message = match layer {
            Some(id) => format!("{}: {}", self.tree.title(id), demand.message),
            None => demand.message,
        };
        self.log.demands.push(Demand { message, ..demand });
    }

    fn check(&mut self, span: SourceSpan, layer: Option<InstanceId>, left: Dim, right: Dim) {
        let is_known = |check: &Check| check.left == left && check.right == right;
        if self.log.checks.iter().any(is_known) {
            return;
        }
        let sizes = format!("the sizes `{left}` and `{right}` must be equal");
        let message = match layer {
            Some(id) => format!("{}: {sizes}", self.tree.title(id)),
            None => sizes,
        };
        self.log.checks.push(Check {
            left,
            right,
            message,
            span,
        });
    }
}
