//! Plans as text: what snapshot tests show.

use std::fmt;

use super::{Kernel, LineCode, Loop, Place, Plan, Task};
use crate::ir::{CallArg, PackForm, Phase, Rows, Value};
use crate::ops::scan::Order;
use crate::shape::{self, Dim};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, kernel) in self.kernels.iter().enumerate() {
            if k == self.n_forward && kernel.phase == Phase::Backward {
                writeln!(f, "-- backward --")?;
            }
            for (depth, begun) in self.loops_around(k).enumerate() {
                if begun.kernels.start == k {
                    writeln!(f, "{}{begun}", "  ".repeat(depth))?;
                }
            }
            write!(f, "{}{k}: ", "  ".repeat(self.loops_around(k).count()))?;
            for (n, written) in kernel.writes.iter().enumerate() {
                let comma = if n == 0 { "" } else { ", " };
                write!(
                    f,
                    "{comma}{} {} @ {}",
                    written.name,
                    written.ty,
                    self.at(written.value)
                )?;
            }
            write!(f, " = {}(", kernel.title)?;
            for (n, operand) in kernel.reads.iter().enumerate() {
                let comma = if n == 0 { "" } else { ", " };
                write!(f, "{comma}{}", self.at(operand.value))?;
                if !operand.layout.is_whole() {
                    write!(f, " by {}", shape::display(&operand.layout.strides))?;
                }
                if let Some(runs) = runs(kernel, n) {
                    write!(f, " in {runs} runs")?;
                }
            }
            writeln!(f, ")")?;
            print_lines(f, kernel)?;
        }
        for (k, slot) in self.slots.iter().enumerate() {
            let last = if slot.last == usize::MAX {
                "the end".to_owned()
            } else {
                slot.last.to_string()
            };
            writeln!(
                f,
                "#{k}: {} x {}, alive from {} to {last}",
                slot.len, slot.dtype, slot.first
            )?;
        }
        Ok(())
    }
}

impl Plan {
    /// Where a value lies: `#3`, or `#3 + 5 * i`.
    fn at(&self, value: Value) -> String {
        let place = self.places[&value];
        match self.home(value) {
            (home, _) if home == value => place.to_string(),
            (_, offset) => format!("{place} + {offset}"),
        }
    }
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = match self.order {
            Order::Ascending => format!("0..{}", self.count),
            Order::Descending => format!("(0..{}).rev()", self.count),
        };
        write!(f, "for {} in {steps}  // {}", self.index, self.name)
    }
}

/// In how many runs the rows of an operand lie that a kernel reads interleaved.
fn runs(kernel: &Kernel, operand: usize) -> Option<&Dim> {
    let of_form = |form| match form {
        &PackForm::Factor(Rows::Interleaved(ref runs)) => Some(runs),
        _ => None,
    };
    match &kernel.task {
        Task::Pack(pack) => of_form(&pack.packing.form),
        Task::Call(call, _) => call.args.iter().find_map(|arg| match arg {
            CallArg::Interleaved(k, runs) if *k == operand => Some(runs),
            CallArg::Packed(packed) if packed.input == operand => of_form(&packed.form),
            _ => None,
        }),
        _ => None,
    }
}

/// The scalar code of a group.
fn print_lines(f: &mut fmt::Formatter<'_>, kernel: &Kernel) -> fmt::Result {
    let Task::Group(group) = &kernel.task else {
        return Ok(());
    };
    for (k, line) in group.lines.iter().enumerate() {
        match &line.code {
            LineCode::Load(operand) => writeln!(f, "     x{k} = load {operand}")?,
            LineCode::Scalar(scalar) => writeln!(f, "     x{k} = {}", group.scalars[*scalar])?,
            LineCode::Row(row, operands) => {
                let operands: Vec<String> = operands.iter().map(|n| format!("x{n}")).collect();
                writeln!(f, "     x{k} = {}({})", row.name, operands.join(", "))?;
            }
        }
    }
    Ok(())
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Slot(k) => write!(f, "#{k}"),
            Place::Input(k) => write!(f, "arg{k}"),
            Place::Param(k) => write!(f, "param{k}"),
            Place::Grad(k) => write!(f, "grad{k}"),
            Place::State(k) => write!(f, "state{k}"),
            Place::Direction(k) => write!(f, "direction{k}"),
            Place::NewState(k) => write!(f, "new_state{k}"),
        }
    }
}
