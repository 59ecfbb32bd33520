//! Calls for so few elements that what goes around the arithmetic decides how long they take.
//!
//! One thread, one kind of elements, a few inputs that lie as the iteration goes: nothing is made that such a call does not use. Every
//! element is computed by the same code as in any other call, so that the bits are the same.

#![expect(
    clippy::needless_range_loop,
    reason = "making an adaptor is a call in some profiles"
)]

use super::drive::{Body, Problem, Tile};
use super::{LANES, Source};
use crate::arena::Binder;
use crate::cpu::isa::Isa;
use crate::cx::Cx;
use crate::dtype::Element;
use crate::real::Real;

/// The most elements of a call.
const FEW: usize = 2048;
/// Its most inputs,
const INPUTS: usize = 4;
/// and outputs.
const OUTPUTS: usize = 2;

/// Whether a call for `len` elements is one of these.
pub(super) fn serves(problem: &Problem<'_>, len: usize) -> bool {
    let is_float = problem.ints.is_empty()
        && problem.bools.is_empty()
        && problem.out_ints.is_empty()
        && problem.out_bools.is_empty();
    len <= FEW
        && is_float
        && problem.floats.len() <= INPUTS
        && problem.out_floats.len() <= OUTPUTS
        && problem.floats.iter().all(|input| input.strides().is_none())
}

/// An input.
#[derive(Copy, Clone)]
enum Few<'b, T> {
    Dense(&'b [T]),
    InPlace(usize),
    Number(T),
}

/// A call with everything bound.
struct Call<'b, T> {
    isa: Isa,
    body: Body<T>,
    ins: [Few<'b, T>; INPUTS],
    n_ins: usize,
    outs: [&'b mut [T]; OUTPUTS],
    n_outs: usize,
}

/// Evaluates a group. Not inlined: entering the frame of a function that does everything else as well takes as long as this does.
#[inline(never)]
pub(super) fn evaluate<T: Real + Element>(cx: &mut Cx<'_>, problem: &Problem<'_>, len: usize, body: Body<T>) {
    let isa = cx.env.isa;
    let mut bind = cx.bind();
    let mut call = Call::bind(&mut bind, problem, len, (isa, body));
    call.run(len, problem.scalars);
}

impl<'b, T: Real + Element> Call<'b, T> {
    #[inline(always)]
    fn bind(
        bind: &mut Binder<'b, '_>,
        problem: &Problem<'_>,
        len: usize,
        (isa, body): (Isa, Body<T>),
    ) -> Self {
        let mut call = Self {
            isa,
            body,
            ins: [Few::InPlace(0); INPUTS],
            n_ins: problem.floats.len(),
            outs: [&mut [], &mut []],
            n_outs: problem.out_floats.len(),
        };
        for k in 0..call.n_outs {
            let buf = problem.out_floats[k];
            assert!(
                buf.len == len,
                "an output of a group has as many elements as its shape"
            );
            call.outs[k] = bind.write(buf);
        }
        for k in 0..call.n_ins {
            call.ins[k] = match problem.floats[k].0 {
                Source::Dense(buf) => {
                    assert!(
                        buf.len == len,
                        "a dense input of a group has as many elements as its shape"
                    );
                    Few::Dense(bind.read(buf))
                }
                Source::InPlace(k) => Few::InPlace(k),
                Source::Number(value) => Few::Number(T::from_f64(value)),
                Source::Strided { .. } => unreachable!("`serves` refuses strided inputs"),
            };
        }
        call
    }

    /// Computes all elements: at once what lies as the group's code reads and writes it, else block by block.
    #[inline(always)]
    fn run(&mut self, len: usize, scalars: &[f64]) {
        let mut is_dense = true;
        for k in 0..self.n_ins {
            is_dense &= matches!(self.ins[k], Few::Dense(_));
        }
        let mut part = 0;
        if is_dense && len >= LANES {
            part = len / LANES * LANES;
            self.dense(part, scalars);
        }
        let mut ins = [[T::ZERO; LANES]; INPUTS];
        let mut outs = [[T::ZERO; LANES]; OUTPUTS];
        while part < len {
            let n = (len - part).min(LANES);
            let mut floats: [&[[T; LANES]]; INPUTS] = [&[]; INPUTS];
            let mut rest = &mut ins[..];
            for k in 0..self.n_ins {
                let Some((buffer, more)) = rest.split_first_mut() else {
                    break;
                };
                let to = &mut buffer[..n];
                match self.ins[k] {
                    Few::Dense(x) => to.copy_from_slice(&x[part..part + n]),
                    Few::InPlace(j) => to.copy_from_slice(&self.outs[j][part..part + n]),
                    Few::Number(x) => to.fill(x),
                }
                (floats[k], rest) = (std::slice::from_ref(buffer), more);
            }
            let [first, second] = &mut outs;
            let tile = Tile {
                blocks: 1,
                floats: &floats[..self.n_ins],
                ints: &[],
                bools: &[],
                out_floats: &mut [std::slice::from_mut(first), std::slice::from_mut(second)],
                out_ints: &mut [],
                out_bools: &mut [],
                scalars,
            };
            (self.body)(self.isa, tile);
            for k in 0..self.n_outs {
                self.outs[k][part..part + n].copy_from_slice(&outs[k][..n]);
            }
            part += n;
        }
    }

    /// Computes the first elements, which all lie as they are read.
    #[inline(always)]
    fn dense(&mut self, len: usize, scalars: &[f64]) {
        let mut floats: [&[[T; LANES]]; INPUTS] = [&[]; INPUTS];
        for k in 0..self.n_ins {
            if let Few::Dense(x) = self.ins[k] {
                floats[k] = x[..len].as_chunks().0;
            }
        }
        let [first, second] = &mut self.outs;
        let first = first.get_mut(..len).unwrap_or_default().as_chunks_mut().0;
        let second = second.get_mut(..len).unwrap_or_default().as_chunks_mut().0;
        let tile = Tile {
            blocks: len / LANES,
            floats: &floats[..self.n_ins],
            ints: &[],
            bools: &[],
            out_floats: &mut [first, second],
            out_ints: &mut [],
            out_bools: &mut [],
            scalars,
        };
        (self.body)(self.isa, tile);
    }
}
