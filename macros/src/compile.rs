//! The pipeline: a model with all its definitions goes in, Rust source comes out.
//!
//! ```text
//! model -> lower -> ir::Graph -> layout -> simplify -> grad -> simplify -> hoist -> simplify -> fuse -> memory -> budget, emit
//! ```
//!
//! The product of a Hessian with a direction goes from `grad` on a second time.
//!
//! This is the only place that knows the order of the stages. Graphs are verified after every stage that makes one; a
//! violation is a mistake of the compiler and stops it.

#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::quote;

use crate::budget;
use crate::diag::{Diagnostic, Diagnostics};
use crate::emit::{self, Emission, EmitFunction};
use crate::fuse::{Calls, fuse, unfused};
use crate::grad::{Gradient, Wanted, differentiate, hessian_product};
use crate::hoist::hoist;
use crate::ir::{Graph, InputId, OutputKind, ParamId, verify::verify};
use crate::layout::{Sweeps, turn, turn_and_show};
use crate::lower;
use crate::memory::{self, Reuse};
use crate::model::{InputGrad, Lowered, LoweredFunction, Training, UserModel};
use crate::plan::Plan;
use crate::simplify::simplify;

/// What compilation yields.
pub struct Compiled {
    /// Items for a `const _: () = { .. }`: groups, sweeps, tables and `fn program() -> &'static rt::Program`.
    pub items: TokenStream,
    /// The model with names resolved: signatures, sizes, checks.
    pub lowered: Lowered,
}

/// Compiles a model; mistakes go to `diagnostics`. `None` after a mistake, here or in a model that this one uses.
pub fn model(
    model: &UserModel,
    key: u64,
    krate: &TokenStream,
    diagnostics: &mut Diagnostics,
) -> Option<Compiled> {
    let lowered = lower::lower(model, diagnostics)?;
    let functions: Vec<EmitFunction<'_>> = lowered
        .functions
        .iter()
        .map(|f| function(&lowered, f, calls(model, f), diagnostics))
        .collect();
    let rt = runtime_path(&lowered, krate);
    let budgets = budget::check(model, &lowered, &functions, &rt, diagnostics);
    let emission = Emission {
        rt: &rt,
        name: model.structure.name.to_string(),
        key,
        generics: model
            .structure
            .generics
            .iter()
            .map(|g| g.name.to_string())
            .collect(),
        lowered: &lowered,
        functions,
    };
    let items = emit::program(&emission);
    let items = if rt.to_string() == "rt" {
        quote!(use #krate::rt; #items #budgets)
    } else {
        quote!(#items #budgets)
    };
    diagnostics.is_empty().then_some(Compiled { items, lowered })
}

/// How emitted code names the runtime: `rt`, or the whole path where a size of the user's mentions something called `rt`.
fn runtime_path(lowered: &Lowered, krate: &TokenStream) -> TokenStream {
    let mentions_rt = lowered.constants.iter().any(|c| {
        c.text
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "rt")
    });
    if mentions_rt {
        quote!(#krate::rt)
    } else {
        quote!(rt)
    }
}

/// How the plain calls of a function follow one another. What stays in the workspace from call to call would count in a budget.
fn calls(model: &UserModel, function: &LoweredFunction) -> Calls {
    if budget::is_limited(model, function) {
        Calls::Apart
    } else {
        Calls::REPEATED
    }
}

/// The plans of one function.
fn function<'a>(
    lowered: &Lowered,
    function: &'a LoweredFunction,
    calls: Calls,
    diagnostics: &mut Diagnostics,
) -> EmitFunction<'a> {
    let traced = function.train.as_ref().unwrap_or(&function.eval);
    let wanted = wanted(lowered, function);
    let joint = function
        .train
        .as_ref()
        .and_then(|graph| joint(function, graph, &wanted, diagnostics));
    EmitFunction {
        lowered: function,
        eval: plan(
            &checked(simplify(&checked(turn(&function.eval, Sweeps::Forward)))),
            calls,
        ),
        train: joint.as_ref().map(|joint| plan(joint, Calls::Apart)),
        product: product(function, joint.as_ref(), &wanted, diagnostics),
        trace: memory::plan(
            unfused(&checked(turn_and_show(&without_effects(traced)))),
            Reuse::Never,
        ),
    }
}

/// What a function is differentiated by: what is trained, and its arguments marked `#[grad]`.
fn wanted(lowered: &Lowered, function: &LoweredFunction) -> Wanted {
    let trained = lowered
        .params
        .iter()
        .enumerate()
        .filter(|(_, p)| p.training == Training::Trained);
    let inputs = function
        .inputs
        .iter()
        .enumerate()
        .filter(|(_, input)| input.grad == InputGrad::Wanted);
    Wanted {
        params: trained.map(|(k, _)| ParamId::new(k)).collect(),
        inputs: inputs.map(|(k, _)| InputId::new(k)).collect(),
    }
}

/// The graph of a loss and its gradient, where the loss depends on something trained.
fn joint(
    function: &LoweredFunction,
    graph: &Graph,
    wanted: &Wanted,
    diagnostics: &mut Diagnostics,
) -> Option<Graph> {
    match differentiate(checked(simplify(&turn(graph, Sweeps::Both))), wanted, simplify) {
        Gradient::Joint(joint) => Some(tidied(joint)),
        // A metric counts; what is meant to be trained says so by its name.
        Gradient::Unreached(why) if function.name == "loss" && !wanted.params.is_empty() => {
            let reason =
                why.unwrap_or("it depends on no parameter through operations that have a derivative");
            diagnostics.push(
                Diagnostic::error(function.span, format!("`loss` has no gradient: {reason}"))
                    .help("comparisons, `argmax` and integers stop gradients; a metric is a function of another name"),
            );
            None
        }
        Gradient::Unreached(_) => None,
    }
}

/// The plan of the product of the Hessian with a direction, where `#[model(hvp)]` asks for it.
fn product(
    function: &LoweredFunction,
    joint: Option<&Graph>,
    wanted: &Wanted,
    diagnostics: &mut Diagnostics,
) -> Option<Plan> {
    let place = function.hvp?;
    let Some(joint) = joint else {
        let message = format!(
            "there is no `{}_hvp`: the function has no gradient",
            function.name
        );
        let error = Diagnostic::error(place, message);
        diagnostics.push(error.note("it depends on no parameter through operations that have a derivative"));
        return None;
    };
    match hessian_product(joint, wanted, simplify) {
        Ok(product) => Some(plan(&tidied(product), Calls::Apart)),
        Err(blocked) => {
            let message = format!("`{}_hvp`: {}", function.name, blocked.why);
            let error = Diagnostic::error(place, message);
            diagnostics.push(error.at(blocked.span, "here"));
            None
        }
    }
}

/// What differentiation has made, simplified, with sums taken out of loops.
fn tidied(graph: Graph) -> Graph {
    checked(simplify(&hoist(&checked(simplify(&checked(graph))))))
}

fn plan(graph: &Graph, calls: Calls) -> Plan {
    memory::plan(fuse(graph, calls), Reuse::AfterLastUse)
}

/// A trace reports values and changes nothing.
fn without_effects(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    graph
        .outputs
        .retain(|output| matches!(output.kind, OutputKind::Result(_)));
    graph
}

fn checked(graph: Graph) -> Graph {
    if let Err(violation) = verify(&graph) {
        panic!("the compiler broke an invariant of its graph: {violation}\n{graph}");
    }
    graph
}
