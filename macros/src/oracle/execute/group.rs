//! Pointwise groups: every element through the lines of the group.

use tapeless_runtime::Precision;
use tapeless_runtime::cx::Cx;
use tapeless_runtime::dtype::Element;
use tapeless_runtime::ops::pointwise::{MAX_INPUTS, MAX_OUTPUTS};
use tapeless_runtime::real::Real;
use tapeless_runtime::rt::{Buf, Int};

use super::super::tensor::indices;
use super::super::world::World;
use super::memory::{Names, float};
use super::spelling::{Cell, evaluate};
use crate::ir::DType;
use crate::plan::{Group, Kernel, LineCode, Operand, Plan};

/// Runs a group.
pub(super) fn group(
    cx: &mut Cx<'_>,
    plan: &Plan,
    world: &World,
    names: &Names<'_>,
    kernel: &Kernel,
    group: &Group,
) {
    let run = Run {
        plan,
        world,
        names,
        kernel,
        group,
    };
    float!(cx, T => run.run::<T>(cx));
}

struct Run<'a> {
    plan: &'a Plan,
    world: &'a World,
    names: &'a Names<'a>,
    kernel: &'a Kernel,
    group: &'a Group,
}

impl Run<'_> {
    /// The kernel's limits, which rustc checks in emitted code.
    fn check_limits(&self) {
        for dtype in [DType::Float, DType::Int, DType::Bool] {
            let n_inputs = self.kernel.reads.iter().filter(|o| o.dtype == dtype).count();
            let n_outputs = self.kernel.writes.iter().filter(|w| w.ty.dtype == dtype).count();
            assert!(
                n_inputs <= MAX_INPUTS && n_outputs <= MAX_OUTPUTS,
                "a group with {n_inputs} operands and {n_outputs} results: {}",
                self.kernel.title
            );
        }
    }

    fn run<T: Real + Element>(&self, cx: &mut Cx<'_>) {
        self.check_limits();
        let outs: Vec<Buf> = self
            .kernel
            .writes
            .iter()
            .map(|written| self.names.stored(cx, self.plan, written.value))
            .collect();
        let columns: Vec<Vec<Cell<T>>> = self
            .kernel
            .reads
            .iter()
            .map(|operand| self.column(cx, operand))
            .collect();
        let n = self.world.shape(&self.group.shape).iter().product();
        let results: Vec<Vec<Cell<T>>> = (0..n).map(|element| self.element(&columns, element)).collect();
        self.claim::<T>(cx, &outs);
        for (k, out) in outs.iter().enumerate() {
            assert_eq!(out.len, n, "a result has as many elements as the group's shape");
            let column = results.iter().map(|cells| cells[k]);
            write(cx, *out, self.kernel.writes[k].ty.dtype, column);
        }
    }

    /// The elements of an operand in the order of the group's shape.
    fn column<T: Real + Element>(&self, cx: &mut Cx<'_>, operand: &Operand) -> Vec<Cell<T>> {
        let buf = self.names.stored(cx, self.plan, operand.value);
        let layout = &operand.layout;
        assert_eq!(
            self.world.shape(&layout.shape),
            self.world.shape(&self.group.shape),
            "an operand has the shape of its group"
        );
        let strides: Vec<i64> = layout.strides.iter().map(|s| self.world.number(s)).collect();
        let offset = self.world.offset(&layout.offset) as i64;
        let mut places = Vec::new();
        indices(&self.world.shape(&layout.shape), |i| {
            let moved: i64 = i.iter().zip(&strides).map(|(&k, s)| k as i64 * s).sum();
            places.push(usize::try_from(offset + moved).expect("an operand starts inside its buffer"));
        });
        let mut bind = cx.bind();
        match operand.dtype {
            DType::Float => {
                let x = bind.read::<T>(buf);
                places.iter().map(|&k| Cell::Real(x[k])).collect()
            }
            DType::Int => {
                let x = bind.read::<i64>(buf);
                places.iter().map(|&k| Cell::Int(Int(x[k]))).collect()
            }
            DType::Bool => {
                let x = bind.read::<u8>(buf);
                places.iter().map(|&k| Cell::Bool(x[k] != 0)).collect()
            }
        }
    }

    /// The results of the group at one element.
    fn element<T: Real>(&self, columns: &[Vec<Cell<T>>], element: usize) -> Vec<Cell<T>> {
        let mut cells: Vec<Cell<T>> = Vec::with_capacity(self.group.lines.len());
        for (at, line) in self.group.lines.iter().enumerate() {
            let cell = match &line.code {
                LineCode::Load(k) => {
                    assert_eq!(self.group.loads[*k], at, "loads are listed with their lines");
                    columns[*k][element]
                }
                LineCode::Scalar(k) => {
                    let value = self.world.scalar(&self.group.scalars[*k]);
                    match line.dtype {
                        DType::Float => Cell::Real(T::from_f64(value)),
                        DType::Int => Cell::Int(Int::from(value)),
                        DType::Bool => Cell::Bool(value != 0.0),
                    }
                }
                LineCode::Row(row, operands) => {
                    let operands: Vec<Cell<T>> = operands.iter().map(|&k| cells[k]).collect();
                    evaluate(row, &operands)
                }
            };
            cells.push(cell);
        }
        self.group.results.iter().map(|&line| cells[line]).collect()
    }

    /// Binds everything at once, as the kernel does, so that results that overlap operands are refused unless the one is
    /// written in place of the other.
    fn claim<T: Element>(&self, cx: &mut Cx<'_>, outs: &[Buf]) {
        let precision = cx.env.precision;
        let read: Vec<(DType, Buf)> = self
            .kernel
            .reads
            .iter()
            .filter(|operand| !self.is_in_place(operand))
            .map(|operand| (operand.dtype, self.names.stored(cx, self.plan, operand.value)))
            .collect();
        let mut bind = cx.bind();
        for (dtype, buf) in read {
            match dtype {
                DType::Float => drop(bind.read::<T>(buf).len()),
                DType::Int => drop(bind.read::<i64>(buf).len()),
                DType::Bool => drop(bind.read::<u8>(buf).len()),
            }
        }
        for (out, written) in outs.iter().zip(&self.kernel.writes) {
            match (written.ty.dtype, precision) {
                (DType::Float, Precision::F64) => drop(bind.write::<f64>(*out).len()),
                (DType::Float, _) => drop(bind.write::<f32>(*out).len()),
                (DType::Int, _) => drop(bind.write::<i64>(*out).len()),
                (DType::Bool, _) => drop(bind.write::<u8>(*out).len()),
            }
        }
    }

    /// True where a result of the same kind replaces the operand.
    fn is_in_place(&self, operand: &Operand) -> bool {
        let replaced = |written: &crate::plan::Written| {
            written.ty.dtype == operand.dtype && self.plan.is_same_memory(written.value, operand.value)
        };
        self.kernel.writes.iter().any(replaced)
    }
}

fn write<T: Real + Element>(cx: &mut Cx<'_>, out: Buf, dtype: DType, column: impl Iterator<Item = Cell<T>>) {
    let mut bind = cx.bind();
    match dtype {
        DType::Float => fill(bind.write::<T>(out), column, |cell| match cell {
            Cell::Real(x) => Some(x),
            _ => None,
        }),
        DType::Int => fill(bind.write::<i64>(out), column, |cell| match cell {
            Cell::Int(x) => Some(x.0),
            _ => None,
        }),
        DType::Bool => fill(bind.write::<u8>(out), column, |cell| match cell {
            Cell::Bool(x) => Some(u8::from(x)),
            _ => None,
        }),
    }
}

fn fill<T, C>(out: &mut [C], column: impl Iterator<Item = Cell<T>>, convert: impl Fn(Cell<T>) -> Option<C>) {
    for (place, cell) in out.iter_mut().zip(column) {
        *place = convert(cell).expect("a result has the kind of its buffer");
    }
}
