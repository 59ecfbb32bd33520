//! Texts about a compiled model: the table of its layers, and the schedule of its functions.

use std::fmt::Write;

use crate::cpu::isa::Isa;
use crate::dtype::Precision;
use crate::program::{Code, Function, LayerRow, PackForm, Program, Sizes, TensorSpec};
use crate::workspace::plan::Plan;

/// Width of the texts.
const WIDTH: usize = 92;

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (k, digit) in digits.chars().enumerate() {
        if k > 0 && (digits.len() - k).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest binary unit that leaves a number above 1.
fn bytes(number: usize) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{number} B")
    } else {
        format!("{value:.1} {}", units[unit])
    }
}

fn rule(text: &mut String, with: char) {
    text.extend(std::iter::repeat_n(with, WIDTH));
    text.push('\n');
}

/// The table of layers.
pub(crate) fn summary(program: &Program, generics: &[usize]) -> String {
    let layers = program.layer_rows(generics);
    let (params, states) = match (program.param_specs(generics), program.state_specs(generics)) {
        (Ok(params), Ok(states)) => (params, states),
        (Err(error), _) | (_, Err(error)) => return format!("{}: {error}\n", program.name),
    };
    let count = |specs: Vec<TensorSpec>| -> usize {
        specs
            .iter()
            .map(|spec| spec.repeats.iter().chain(&spec.shape).product::<usize>())
            .sum()
    };
    let (n_params, n_states) = (count(params), count(states));
    let mut text = format!("{}\n", program.name);
    rule(&mut text, '=');
    push_row(&mut text, ["layer (kind)", "output", "parameters", "FLOPs"]);
    rule(&mut text, '-');
    for layer in &layers {
        let name = if layer.kind.is_empty() {
            layer.path.to_owned()
        } else {
            format!("{} ({})", layer.path, layer.kind)
        };
        push_row(
            &mut text,
            [
                &name,
                layer.output,
                &grouped(layer.params as u64),
                &grouped(layer.flops),
            ],
        );
    }
    rule(&mut text, '=');
    let flops = outermost(&layers).map(|layer| layer.flops).sum();
    let lines = [
        (
            "parameters",
            format!("{} ({} in f32)", grouped(n_params as u64), bytes(4 * n_params)),
        ),
        (
            "carried",
            format!("{} ({} in f32)", grouped(n_states as u64), bytes(4 * n_states)),
        ),
        ("FLOPs per sample", format!("{} forward", grouped(flops))),
        ("instruction path", Isa::best().to_string()),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<20}{value}");
    }
    for function in program.functions {
        if let Some(line) = workspace_line(function, generics) {
            let _ = writeln!(text, "{:<20}{line}", format!("workspace of {}", function.name));
        }
    }
    text
}

/// The layers that lie in no other one, whose operations and parameters include those of the layers inside.
fn outermost(layers: &[LayerRow]) -> impl Iterator<Item = &LayerRow> {
    let mut around: Option<&str> = None;
    layers.iter().filter(move |layer| {
        let inside = around.and_then(|path| layer.path.strip_prefix(path));
        let is_outermost = !inside.is_some_and(|rest| rest.starts_with('.'));
        if is_outermost {
            around = Some(layer.path);
        }
        is_outermost
    })
}

fn push_row(text: &mut String, [layer, output, params, flops]: [&str; 4]) {
    let _ = writeln!(text, "{layer:<39} {output:<19} {params:>14}{flops:>18}");
}

/// Bytes of the arena of a function's gradient for the smallest sizes; none where some window does not fit.
fn workspace_line(function: &Function, generics: &[usize]) -> Option<String> {
    let code = function.train.as_ref()?;
    let dims = dims(function, generics, &[]);
    let sizes = function.sizes(&dims, generics);
    function.check_demands(&sizes).ok()?;
    let plan = plan(code, &sizes)?;
    let names: Vec<_> = function
        .dims
        .iter()
        .zip(&dims)
        .map(|(spec, dim)| format!("{} = {dim}", spec.name))
        .collect();
    Some(format!("{} in f32 for {}", bytes(plan.bytes), names.join(", ")))
}

fn plan(code: &Code, sizes: &Sizes<'_>) -> Option<Plan> {
    let packed_len = |form: PackForm, sizes, lasts| form.len(Precision::F32, Isa::best(), sizes, lasts);
    let slots: Result<Vec<_>, _> = code
        .slots
        .iter()
        .map(|slot| slot.spec(sizes, &packed_len))
        .collect();
    Plan::new(&slots.ok()?, Precision::F32).ok()
}

/// Sizes by name; those that are not given are the smallest that is allowed, or a power of two above it where a window needs more.
fn dims(function: &Function, generics: &[usize], given: &[(&str, usize)]) -> Vec<usize> {
    let mut dims = vec![1; function.dims.len()];
    for (k, spec) in function.dims.iter().enumerate() {
        let given = given
            .iter()
            .find(|(name, _)| *name == spec.name)
            .map(|(_, dim)| *dim);
        dims[k] = given.unwrap_or(spec.multiple_of.max(1));
    }
    let is_free = |spec: &crate::program::DimSpec| given.iter().all(|(name, _)| *name != spec.name);
    for _ in 0..MAX_DOUBLINGS * dims.len() {
        let short = function.shortfall(&function.sizes(&dims, generics));
        // What a window covers is not known as a number; doubling what it lies in comes near enough.
        let grown = (0..dims.len())
            .filter(|&k| is_free(&function.dims[k]))
            .find_map(|k| {
                let mut grown = dims.clone();
                grown[k] *= 2;
                let is_nearer = function.shortfall(&function.sizes(&grown, generics)) < short;
                is_nearer.then_some(grown)
            });
        match grown {
            Some(grown) => dims = grown,
            None => break,
        }
    }
    dims
}

/// How often a size of a listing grows until every window fits.
const MAX_DOUBLINGS: usize = 16;

/// The schedules of all functions.
pub(crate) fn explain(program: &Program, generics: &[usize], given: &[(&str, usize)]) -> String {
    let mut text = String::new();
    for function in program.functions {
        let dims = dims(function, generics, given);
        let named: Vec<_> = function
            .dims
            .iter()
            .zip(&dims)
            .map(|(spec, dim)| format!("{} = {dim}", spec.name))
            .collect();
        let named = if named.is_empty() {
            String::new()
        } else {
            format!(" for {}", named.join(", "))
        };
        let sizes = function.sizes(&dims, generics);
        if let Err(error) = function.check_demands(&sizes) {
            let _ = writeln!(text, "{}::{}{named}: {error}\n", program.name, function.name);
            continue;
        }
        let modes = [
            ("eval", Some(&function.eval)),
            ("train", function.train.as_ref()),
            ("hvp", function.product.as_ref()),
        ];
        for (mode, code) in modes.into_iter().filter_map(|(mode, code)| Some((mode, code?))) {
            let _ = writeln!(text, "{}::{} ({mode}){named}", program.name, function.name);
            push_schedule(&mut text, code, &sizes);
        }
    }
    text
}

fn push_schedule(text: &mut String, code: &Code, sizes: &Sizes<'_>) {
    rule(text, '-');
    let kernels = code.kernel_rows(sizes);
    let (mut flops, mut elements) = (0, 0);
    let loops = code.loop_rows(sizes);
    for (k, kernel) in kernels.iter().enumerate() {
        for begun in loops.iter().filter(|l| l.kernels.start == k) {
            let last = begun.kernels.end.saturating_sub(1);
            let _ = writeln!(
                text,
                "{k:>4} to {last}: {} steps over {}",
                begun.count, begun.name
            );
        }
        let slot = kernel
            .slot
            .map_or_else(|| "-".to_owned(), |slot| format!("#{slot}"));
        let _ = writeln!(
            text,
            "{k:>4} {:<8} {:<32} {:<20} {:<28} {:>14} FLOP {:>10} {slot:>5}",
            kernel.phase,
            kernel.name,
            kernel.value,
            kernel.shapes,
            grouped(kernel.flops),
            bytes(4 * kernel.elements as usize),
        );
        flops += kernel.flops;
        elements += kernel.elements;
    }
    let moved = bytes(4 * elements as usize);
    let _ = write!(
        text,
        "{} kernels, {} FLOP, {moved} moved in f32",
        kernels.len(),
        grouped(flops)
    );
    if let Some(plan) = plan(code, sizes) {
        let (arena, bound) = (bytes(plan.bytes), bytes(plan.lower_bound));
        let _ = write!(
            text,
            ", {} slots in {arena} (at least {bound})",
            plan.offsets.len()
        );
    }
    text.push_str("\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_bytes_have_units() {
        assert_eq!(
            (grouped(7).as_str(), grouped(1234567).as_str()),
            ("7", "1,234,567")
        );
        assert_eq!(grouped(100), "100");
        assert_eq!(
            (bytes(1023).as_str(), bytes(407_080).as_str()),
            ("1023 B", "397.5 KiB")
        );
    }
}
