//! Budgets: `#[model(max_memory = "64 MiB", dims(B = 32))]` is a compile error where a step needs more.
//!
//! What counts is what the library allocates in f32 to run a function once: parameters, carried tensors, and the workspace;
//! for a gradient also the gradients and the new carried tensors. Arguments and results belong to the caller. Of the
//! workspace the peak counts, the most bytes that are alive at one kernel: no plan can do with less, and the plan that
//! is made at run time comes within a tenth of it (see `runtime/src/workspace/plan.rs`).
//!
//! Sizes that the macro knows are added up here, and the error has a table. Where a constant of the user's is among them, the
//! same sum becomes an assertion that rustc evaluates, at the place of the limit.

use proc_macro2::{Literal, TokenStream};
use quote::{quote, quote_spanned};

use crate::ast::{DimExpr, DimExprKind, DimValue, MemoryLimit};
use crate::diag::{Diagnostic, Diagnostics};
use crate::emit::EmitFunction;
use crate::ir::DType;
use crate::map;
use crate::model::{Lowered, LoweredFunction, TensorDecl, UserModel, constant_text};
use crate::plan::{Place, Plan};
use crate::shape::{self, Atom, Dim};

/// Slots that a table names.
const N_SHOWN: usize = 6;

/// The limit that holds for a function, and the sizes for which it does.
struct Budget<'a> {
    limit: MemoryLimit,
    dims: Vec<&'a DimValue>,
}

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// Loss and gradients.
    Step,
    /// The function alone.
    Plain,
}

impl Call {
    fn title(self) -> &'static str {
        match self {
            Call::Step => "a training step of",
            Call::Plain => "a call of",
        }
    }
}

/// Bytes that belong together in a table.
struct Row {
    name: String,
    shape: String,
    bytes: Dim,
}

/// A slot that is alive from one kernel to another.
struct Live {
    row: Row,
    first: usize,
    last: usize,
}

/// Everything that one call needs.
struct Need {
    /// There before and after the call.
    fixed: Vec<Row>,
    /// Slots of the workspace.
    slots: Vec<Live>,
}

/// Compares every function with its budget; what only rustc can decide is returned as assertions.
pub fn check(
    model: &UserModel,
    lowered: &Lowered,
    functions: &[EmitFunction<'_>],
    rt: &TokenStream,
    diagnostics: &mut Diagnostics,
) -> TokenStream {
    check_names(model, lowered, diagnostics);
    let mut assertions = TokenStream::new();
    for function in functions {
        let Some(budget) = budget(model, function.lowered) else {
            continue;
        };
        let Some(sizes) = budget.sizes(function.lowered, diagnostics) else {
            continue;
        };
        let train = function.train.as_ref().map(|plan| (plan, Call::Step));
        for (plan, call) in train.into_iter().chain([(&function.eval, Call::Plain)]) {
            let need = Need::of(lowered, plan, call, &sizes);
            let title = format!("{} `{}`", call.title(), function.lowered.name);
            if let Some(assertion) = need.compare(&budget, &title, rt, diagnostics) {
                assertions.extend(assertion);
                continue;
            }
            // The larger of the two is enough to know.
            if !diagnostics.is_empty() {
                break;
            }
        }
    }
    assertions
}

/// Whether a function has a budget.
pub fn is_limited(model: &UserModel, function: &LoweredFunction) -> bool {
    budget(model, function).is_some()
}

/// The nearest limit, and all sizes that are given: on the function, on the impl, on the struct.
fn budget<'a>(model: &'a UserModel, function: &LoweredFunction) -> Option<Budget<'a>> {
    let own = &model.implementation.functions.get(function.index)?.options;
    let levels = [own, &model.implementation.options, &model.structure.options];
    Some(Budget {
        limit: levels.iter().find_map(|options| options.max_memory)?,
        dims: levels.iter().flat_map(|options| &options.dims).collect(),
    })
}

/// Reports sizes on the struct for dimensions that no function has. (Those on the impl are compared where it is parsed.)
fn check_names(model: &UserModel, lowered: &Lowered, diagnostics: &mut Diagnostics) {
    for dim in &model.structure.options.dims {
        let is_known = |function: &LoweredFunction| function.dims.iter().any(|known| dim.name == known.name);
        if !lowered.functions.iter().any(is_known) {
            let message = format!("no function of the model has a dynamic dimension `{}`", dim.name);
            diagnostics.error(dim.name.span(), message);
        }
    }
}

impl Budget<'_> {
    /// The size of every dynamic dimension of a function; `None` after an error.
    fn sizes(&self, function: &LoweredFunction, diagnostics: &mut Diagnostics) -> Option<Vec<(String, Dim)>> {
        let mut sizes = Vec::new();
        for dim in &function.dims {
            let Some(given) = self.dims.iter().find(|given| given.name == dim.name) else {
                let message = format!(
                    "the budget of `{}` needs a size for `{}`",
                    function.name, dim.name
                );
                let help = format!("write `dims({} = …)` beside `max_memory`", dim.name);
                diagnostics.push(Diagnostic::error(self.limit.span, message).help(help));
                return None;
            };
            let size = size(&given.value)?;
            if size.as_lit().is_some_and(|size| size % dim.multiple != 0) {
                let message = format!("the size of `{}` is no multiple of {}", dim.name, dim.multiple);
                let error = Diagnostic::error(given.value.span, message);
                diagnostics
                    .push(error.note(format_args!("`{}` promises it in its signature", function.name)));
                return None;
            }
            sizes.push((dim.name.clone(), size));
        }
        Some(sizes)
    }

    /// `B = 32, T = 64`
    fn at(&self) -> String {
        let text = |dim: &&DimValue| format!("{} = {}", dim.name, size(&dim.value).unwrap_or_else(Dim::zero));
        self.dims.iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

/// The value of a size in `dims(…)`; `None` where it was not understood, which is reported.
fn size(expr: &DimExpr) -> Option<Dim> {
    Some(match &expr.kind {
        DimExprKind::Lit(value) => Dim::lit(i64::try_from(*value).ok()?),
        DimExprKind::Name(name) => Dim::constant(name.to_string()),
        DimExprKind::Add(a, b) => size(a)? + size(b)?,
        DimExprKind::Sub(a, b) => size(a)? - size(b)?,
        DimExprKind::Mul(a, b) => size(a)? * size(b)?,
        DimExprKind::Div(a, b) => size(a)?.floor_div(&size(b)?),
        DimExprKind::Opaque(expr) => Dim::constant(constant_text(expr)),
        DimExprKind::Error(_) => return None,
    })
}

/// Bytes of an element in f32.
fn width(dtype: DType) -> i64 {
    match dtype {
        DType::Float => 4,
        DType::Int => 8,
        DType::Bool => 1,
    }
}

impl Need {
    fn of(lowered: &Lowered, plan: &Plan, call: Call, sizes: &[(String, Dim)]) -> Self {
        let at = |dim: &Dim| {
            dim.substitute(&|atom| match atom {
                Atom::Dynamic(symbol) => {
                    let known = sizes.iter().find(|(name, _)| name == symbol.name());
                    known.map(|(_, size)| size.clone())
                }
                _ => None,
            })
        };
        let total = |tensors: &[TensorDecl]| {
            let numels = tensors
                .iter()
                .map(|t| shape::numel(&t.repeats) * shape::numel(&t.shape));
            Dim::lit(width(DType::Float)) * Dim::sum(numels)
        };
        let row = |name: &str, bytes: Dim| Row {
            name: name.to_owned(),
            shape: String::new(),
            bytes,
        };
        let (params, states) = (total(&lowered.params), total(&lowered.states));
        let mut fixed = vec![row("parameters", params.clone())];
        if call == Call::Step {
            fixed.push(row("gradients", params));
        }
        if !states.is_zero() {
            fixed.push(row("carried tensors, old and new", Dim::lit(2) * states));
        }
        let slots = plan.slots.iter().enumerate().map(|(k, slot)| {
            let (name, dims) = describe(plan, k);
            let dims: Vec<Dim> = dims.iter().map(at).collect();
            Live {
                row: Row {
                    name,
                    shape: shape::display(&dims),
                    bytes: at(&slot.len) * Dim::lit(width(slot.dtype)),
                },
                first: slot.first,
                last: slot.last,
            }
        });
        Self {
            fixed,
            slots: slots.collect(),
        }
    }

    /// Compares it with the limit: a table where it is exceeded, or an assertion where the macro cannot tell.
    fn compare(
        &self,
        budget: &Budget<'_>,
        title: &str,
        rt: &TokenStream,
        diagnostics: &mut Diagnostics,
    ) -> Option<TokenStream> {
        let all = || self.fixed.iter().chain(self.slots.iter().map(|slot| &slot.row));
        let place = budget.limit.span;
        if let Some(row) = all().find(|row| row.bytes.has_generic()) {
            let message = format!("the budget of {title} needs literal sizes or constants");
            let error = Diagnostic::error(place, message).note(format_args!(
                "the size of `{}` depends on a const generic: {} bytes",
                row.name, row.bytes
            ));
            diagnostics
                .push(error.help("put the budget on the model that gives the const generics their values"));
            return None;
        }
        if all().all(|row| row.bytes.as_lit().is_some()) {
            self.report(budget, title, diagnostics);
            return None;
        }
        if all().any(|row| row.bytes.overflows()) {
            diagnostics.error(
                place,
                format!("the memory of {title} cannot be counted: a size overflows"),
            );
            return None;
        }
        let fixed = Dim::sum(self.fixed.iter().map(|row| &row.bytes)).to_tokens();
        let slots = self.slots.iter().map(|slot| {
            let bytes = slot.row.bytes.to_tokens();
            let (first, last) = (
                Literal::usize_suffixed(slot.first),
                Literal::usize_suffixed(slot.last),
            );
            quote!((#bytes, #first, #last))
        });
        let limit = Literal::u64_unsuffixed(budget.limit.bytes);
        let message = format!(
            "{title} needs more than its budget of {} at {}; with literals for all sizes a table shows what needs it",
            bytes(budget.limit.bytes),
            budget.at()
        );
        Some(quote_spanned! {place.start=>
            const _: () = ::core::assert!((#fixed) + #rt::live_peak(&[#(#slots),*]) <= #limit, "{}", #message);
        })
    }

    /// Reports a need that is known and beyond the limit.
    fn report(&self, budget: &Budget<'_>, title: &str, diagnostics: &mut Diagnostics) {
        let count = |row: &Row| {
            row.bytes
                .as_lit()
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or(0)
        };
        let alive = |at: usize| {
            let alive = self
                .slots
                .iter()
                .filter(move |slot| slot.first <= at && at <= slot.last);
            alive.map(|slot| &slot.row)
        };
        // The sum can only rise where a slot begins.
        let starts = self.slots.iter().map(|slot| slot.first);
        let sum = |at: usize| alive(at).map(count).fold(0_u64, u64::saturating_add);
        let peak = starts
            .max_by_key(|&at| (sum(at), std::cmp::Reverse(at)))
            .unwrap_or(0);
        let workspace = sum(peak);
        let need = self.fixed.iter().map(count).fold(workspace, u64::saturating_add);
        if need <= budget.limit.bytes {
            return;
        }
        let mut table: Vec<(String, String, u64)> = self
            .fixed
            .iter()
            .map(|row| (row.name.clone(), String::new(), count(row)))
            .collect();
        table.push(("workspace at its peak".to_owned(), String::new(), workspace));
        let mut slots: Vec<&Row> = alive(peak).collect();
        map::sort_by_key(&mut slots, |row| std::cmp::Reverse(count(row)));
        let n_more = slots.len().saturating_sub(N_SHOWN);
        table.extend(
            slots
                .iter()
                .take(N_SHOWN)
                .map(|row| (format!("  {}", row.name), row.shape.clone(), count(row))),
        );
        if n_more > 0 {
            let rest = slots[N_SHOWN..].iter().map(|row| count(row)).sum();
            table.push((format!("  {n_more} more"), String::new(), rest));
        }
        let message = format!(
            "{title} needs {}, its budget is {}",
            bytes(need),
            bytes(budget.limit.bytes)
        );
        let at = budget.at();
        let at = if at.is_empty() { at } else { format!("at {at}, ") };
        let error = Diagnostic::error(budget.limit.span, message).note(format_args!(
            "{at}in f32; of the workspace counts the most that is alive at once\n{}",
            lines(&table)
        ));
        diagnostics.push(error.help("smaller sizes in `dims`, a smaller model, or a larger `max_memory`"));
    }
}

/// A table with aligned columns.
fn lines(table: &[(String, String, u64)]) -> String {
    let width =
        |column: &dyn Fn(&(String, String, u64)) -> usize| table.iter().map(column).max().unwrap_or(0);
    let (names, shapes) = (
        width(&|row| row.0.chars().count()),
        width(&|row| row.1.chars().count()),
    );
    let amounts = width(&|row| bytes(row.2).chars().count());
    let line = |(name, shape, n): &(String, String, u64)| {
        format!("  {name:names$}  {shape:shapes$}  {:>amounts$}", bytes(*n))
    };
    table.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What lies in a slot first: the name and the shape of a value, or the kernel whose scratch it is.
fn describe(plan: &Plan, slot: usize) -> (String, Vec<Dim>) {
    let is_here = |value| plan.places.get(value) == Some(&Place::Slot(slot));
    for (k, kernel) in plan.kernels.iter().enumerate() {
        let leaf = plan.leaves.iter().find(|(value, _)| is_here(value));
        if let Some((_, leaf)) = leaf {
            return (leaf.name.to_string(), leaf.ty.shape.clone());
        }
        if let Some(written) = kernel.writes.iter().find(|written| is_here(&written.value)) {
            return (written.name.to_string(), written.ty.shape.clone());
        }
        if plan.scratch[k].contains(&slot) {
            return (
                format!("scratch of {}", kernel.title),
                vec![plan.slots[slot].len.clone()],
            );
        }
    }
    ("a buffer".to_owned(), vec![plan.slots[slot].len.clone()])
}

/// `1.5 MiB`
fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = number as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        return format!("{number} B");
    }
    let digits = if amount.fract() == 0.0 { 0 } else { 2 };
    format!("{amount:.digits$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_in_binary_units() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(1536), "1.50 KiB");
    }

    #[test]
    fn tables_are_aligned() {
        let table = [
            ("a".to_owned(), "[1]".to_owned(), 5),
            ("long".to_owned(), String::new(), 2048),
        ];
        assert_eq!(lines(&table), "  a     [1]    5 B\n  long       2 KiB");
    }
}
