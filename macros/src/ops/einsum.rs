//! Einstein summation: an equation, parsed while the model is compiled, becomes permutations, products and sums.
//!
//! `einsum("bij,bjk->bik", a, b)`: every operand names its axes by letters; letters that the result does not have are summed.
//! Operands are taken from the left, two at a time: letters that only one of them has and nobody needs later are summed at
//! once, letters of both that nobody needs later are contracted by a matrix product. Not supported: `...`, and a letter
//! twice in one operand (a diagonal).

use crate::ir::{Args, Builder, DType, Operand, ShapeError, Value};
use crate::shape::{self, Dim};

/// A parsed equation: the letters of every operand and of the result.
#[derive(Debug, PartialEq, Eq)]
struct Equation {
    operands: Vec<Vec<char>>,
    result: Vec<char>,
}

/// A tensor whose axes have letters.
#[derive(Clone)]
struct Labelled {
    value: Value,
    axes: Vec<char>,
}

/// Builds the nodes of `einsum(equation, operands..)`.
pub fn lower(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let Some(Operand::Text(text)) = args.any(0, "equation") else {
        let message = "the first argument of `einsum` is its equation, a string literal";
        return Err(ShapeError::new(message).help(format!("it is written `{}`", args.usage)));
    };
    let equation = parse(&text)?;
    let mut operands = Vec::with_capacity(equation.operands.len());
    for (k, axes) in equation.operands.iter().enumerate() {
        let value = args.tensor(k + 1, &format!("operand {}", k + 1))?;
        operands.push(Labelled {
            value,
            axes: axes.clone(),
        });
    }
    args.finish()?;
    if operands.iter().any(|operand| b.is_poison(operand.value)) {
        return Ok(Operand::Tensor(b.poison()));
    }
    check_sizes(b, &operands)?;
    let mut rest = operands.into_iter();
    let mut left = rest.next().expect("an equation has an operand");
    while let Some(right) = rest.next() {
        let later = rest.as_slice().iter().flat_map(|operand| &operand.axes);
        let needed: Vec<char> = later.chain(&equation.result).copied().collect();
        left = b.contract(left, right, &needed);
    }
    let left = b.sum_unneeded(left, &equation.result);
    let perm: Vec<usize> = equation
        .result
        .iter()
        .map(|letter| place(&left.axes, *letter))
        .collect();
    Ok(Operand::Tensor(b.permute(left.value, &perm)))
}

/// The index of a letter that is there.
fn place(axes: &[char], letter: char) -> usize {
    axes.iter()
        .position(|axis| *axis == letter)
        .expect("every letter of the result is a letter of an operand")
}

fn parse(text: &str) -> Result<Equation, ShapeError> {
    let mistake = |what: String| ShapeError::new(format!("in the equation `{text}`: {what}"));
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let Some((left, right)) = compact.split_once("->") else {
        return Err(mistake("the result is missing".into()).help("write it after an arrow: `ij,jk->ik`"));
    };
    let letters = |part: &str| -> Result<Vec<char>, ShapeError> {
        let mut axes = Vec::new();
        for c in part.chars() {
            if !c.is_ascii_alphabetic() {
                return Err(mistake(format!("`{c}` is not a letter")));
            }
            if axes.contains(&c) {
                let error = mistake(format!("`{c}` stands twice in `{part}`"));
                return Err(error.help("diagonals are not supported"));
            }
            axes.push(c);
        }
        Ok(axes)
    };
    let operands = left.split(',').map(letters).collect::<Result<Vec<_>, _>>()?;
    let result = letters(right)?;
    match result
        .iter()
        .find(|c| !operands.iter().any(|axes| axes.contains(c)))
    {
        Some(c) => Err(mistake(format!("`{c}` of the result stands in no operand"))),
        None => Ok(Equation { operands, result }),
    }
}

/// Checks that every operand has as many axes as letters, and that a letter has one size everywhere.
fn check_sizes(b: &mut Builder, operands: &[Labelled]) -> Result<(), ShapeError> {
    let mut sizes: Vec<(char, Dim)> = Vec::new();
    for (k, Labelled { value, axes }) in operands.iter().enumerate() {
        let ty = b.ty(*value).clone();
        if ty.dtype != DType::Float {
            let message = format!("`einsum` takes float tensors, operand {} is {ty}", k + 1);
            return Err(ShapeError::new(message).help("convert it with `.to_float()`"));
        }
        if ty.rank() != axes.len() {
            let letters: String = axes.iter().collect();
            let message = format!(
                "operand {} of `einsum` is {ty}, which has not the axes `{letters}`",
                k + 1
            );
            return Err(ShapeError::new(message));
        }
        for (letter, size) in axes.iter().zip(ty.shape) {
            match sizes.iter().find(|(known, _)| known == letter) {
                None => sizes.push((*letter, size)),
                Some((_, known)) if b.constraints.equal(known, &size) => {}
                Some((_, known)) => {
                    let message = format!(
                        "axis `{letter}` of `einsum` has size `{known}` and, in operand {}, `{size}`",
                        k + 1
                    );
                    return Err(ShapeError::new(message));
                }
            }
        }
    }
    Ok(())
}

/// Letters of `axes` that `keep` accepts.
fn filter(axes: &[char], keep: impl Fn(char) -> bool) -> Vec<char> {
    axes.iter().copied().filter(|c| keep(*c)).collect()
}

impl Builder {
    /// Sums the axes that nobody needs.
    fn sum_unneeded(&mut self, x: Labelled, needed: &[char]) -> Labelled {
        let axes: Vec<usize> = (0..x.axes.len())
            .filter(|&k| !needed.contains(&x.axes[k]))
            .collect();
        let value = self.sum(x.value, &axes);
        Labelled {
            value,
            axes: filter(&x.axes, |c| needed.contains(&c)),
        }
    }

    /// The product of two tensors, summed over the letters that are not needed later.
    fn contract(&mut self, left: Labelled, right: Labelled, needed: &[char]) -> Labelled {
        let of_either = |other: &[char]| [other, needed].concat();
        let left_needs = of_either(&right.axes);
        let left = self.sum_unneeded(left, &left_needs);
        let right_needs = of_either(&left.axes);
        let right = self.sum_unneeded(right, &right_needs);
        let shared = filter(&left.axes, |c| right.axes.contains(&c));
        let inner = filter(&shared, |c| !needed.contains(&c));
        let batch = filter(&shared, |c| needed.contains(&c));
        let rows = filter(&left.axes, |c| !shared.contains(&c));
        let cols = filter(&right.axes, |c| !shared.contains(&c));
        let axes = [&batch[..], &rows, &cols].concat();
        let sizes = |b: &Self, x: &Labelled, letters: &[char]| -> Vec<Dim> {
            let shape = b.shape(x.value);
            letters
                .iter()
                .map(|c| shape[place(&x.axes, *c)].clone())
                .collect()
        };
        let batch_shape = sizes(self, &left, &batch);
        let (row_shape, col_shape) = (sizes(self, &left, &rows), sizes(self, &right, &cols));
        let shape = [&batch_shape[..], &row_shape, &col_shape].concat();
        if inner.is_empty() {
            // Nothing is summed: an elementwise product of broadcast operands.
            let left = self.spread(&left, &axes, &shape);
            let right = self.spread(&right, &axes, &shape);
            let value = self.mul(left, right);
            return Labelled { value, axes };
        }
        let depth = shape::numel(&sizes(self, &left, &inner));
        let grouped = |m: Dim, n: Dim| [&batch_shape[..], &[m, n]].concat();
        let a_shape = grouped(shape::numel(&row_shape), depth.clone());
        let b_shape = grouped(depth, shape::numel(&col_shape));
        let a = self.arrange(&left, &[&batch[..], &rows, &inner].concat(), a_shape);
        let b = self.arrange(&right, &[&batch[..], &inner, &cols].concat(), b_shape);
        let y = self.matmul(a, b);
        let value = if self.is_poison(y) {
            y
        } else {
            self.reshape(y, shape)
        };
        Labelled { value, axes }
    }

    /// The axes in the order of `letters`, then merged to `shape`.
    fn arrange(&mut self, x: &Labelled, letters: &[char], shape: Vec<Dim>) -> Value {
        let perm: Vec<usize> = letters.iter().map(|c| place(&x.axes, *c)).collect();
        let ordered = self.permute(x.value, &perm);
        self.reshape(ordered, shape)
    }

    /// Broadcasts to the axes `axes` of sizes `shape`, among which are all of `x`.
    fn spread(&mut self, x: &Labelled, axes: &[char], shape: &[Dim]) -> Value {
        let own = filter(axes, |c| x.axes.contains(&c));
        let perm: Vec<usize> = own.iter().map(|c| place(&x.axes, *c)).collect();
        let ordered = self.permute(x.value, &perm);
        let missing: Vec<usize> = (0..axes.len()).filter(|&k| !x.axes.contains(&axes[k])).collect();
        self.expand_axes(ordered, &missing, shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, input, text, typed};

    fn einsum(equation: &str, shapes: &[&[&str]]) -> String {
        let mut b = builder();
        let mut args = vec![Operand::Text(equation.into())];
        args.extend(
            shapes
                .iter()
                .map(|sizes| Operand::Tensor(input(&mut b, DType::Float, sizes))),
        );
        match call(&mut b, "einsum", &args, &[]) {
            Ok(y) => typed(&b, y),
            Err(error) => text(&error),
        }
    }

    #[test]
    fn every_kind_of_axis_finds_its_place() {
        assert_eq!(
            einsum("bij,bjk->bik", &[&["B", "2", "3"], &["B", "3", "4"]]),
            "float[B, 2, 4]"
        );
        assert_eq!(
            einsum("bij,bjk->kbi", &[&["B", "2", "3"], &["B", "3", "4"]]),
            "float[4, B, 2]"
        );
        assert_eq!(einsum("i,j->ji", &[&["M"], &["N"]]), "float[N, M]");
        assert_eq!(einsum("ij->j", &[&["M", "N"]]), "float[N]");
        assert_eq!(einsum("ij,ij->", &[&["M", "N"], &["M", "N"]]), "float[]");
        assert_eq!(
            einsum("bi,ij,bj->b", &[&["B", "3"], &["3", "4"], &["B", "4"]]),
            "float[B]"
        );
        assert_eq!(
            einsum("bhqd,bhkd->bhqk", &[&["B", "2", "T", "8"], &["B", "2", "S", "8"]]),
            "float[B, 2, T, S]"
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(
            einsum("ij,jk", &[&["2", "3"], &["3", "4"]]),
            "in the equation `ij,jk`: the result is missing (write it after an arrow: `ij,jk->ik`)"
        );
        assert_eq!(
            einsum("ii->i", &[&["3", "3"]]),
            "in the equation `ii->i`: `i` stands twice in `ii` (diagonals are not supported)"
        );
        assert_eq!(
            einsum("ij->k", &[&["2", "3"]]),
            "in the equation `ij->k`: `k` of the result stands in no operand"
        );
        assert_eq!(
            einsum("i.->i", &[&["2"]]),
            "in the equation `i.->i`: `.` is not a letter"
        );
        assert_eq!(
            einsum("ij,jk->ik", &[&["2", "3"], &["4", "5"]]),
            "axis `j` of `einsum` has size `3` and, in operand 2, `4`"
        );
        assert_eq!(
            einsum("ijk->i", &[&["2", "3"]]),
            "operand 1 of `einsum` is float[2, 3], which has not the axes `ijk`"
        );
    }
}
