//! Rows of a table by number: embedding, selection along an axis, and their transpose.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Form, Kernel, Operand, Rule, Sample,
    SampleGradient, Scalar, ShapeError, Site, Surface, Type, Value,
};
use crate::ops::fill::Fill;
use crate::shape::{self, Dim};

/// `y[o, j, i] = x[o, indices[j], i]` along one axis of x, for indices of any shape.
///
/// Operands: the table x and integer indices; the shape of the indices takes the place of the axis. An index outside is an
/// error at run time.
#[derive(Clone, PartialEq, Debug)]
pub struct Take {
    /// The axis of x that is indexed.
    pub axis: usize,
    /// What it is called, and what that brings along.
    pub lookup: Lookup,
}

/// What a [`Take`] is to the user.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// Tokens in a table of vectors; the row of the padding token, if there is one, gets no gradient.
    Embedding {
        /// The padding token.
        padding: Option<i64>,
    },
    /// Indices along an axis.
    Take,
}

impl Lookup {
    fn word(self) -> &'static str {
        match self {
            Self::Embedding { .. } => "embedding",
            Self::Take => "take",
        }
    }

    fn constant(self) -> CallArg {
        CallArg::Constant(match self {
            Self::Embedding { .. } => "Lookup::Embedding",
            Self::Take => "Lookup::Take",
        })
    }

    fn padding(self) -> Option<i64> {
        match self {
            Self::Embedding { padding } => padding,
            Self::Take => None,
        }
    }
}

impl Take {
    /// The shape of the result, for a table of that shape.
    fn result(&self, table: &[Dim], indices: &Type) -> Result<Vec<Dim>, ShapeError> {
        let word = self.lookup.word();
        if indices.dtype != DType::Int {
            let message = format!("`{word}` takes integer indices, found {indices}");
            return Err(
                ShapeError::new(message).help("declare them as `Tensor<i64, ..>` or another integer type")
            );
        }
        if self.axis >= table.len() {
            let message = format!(
                "axis {} of {}, which has {} axes",
                self.axis,
                shape::display(table),
                table.len()
            );
            return Err(ShapeError::new(message));
        }
        Ok([&table[..self.axis], &indices.shape, &table[self.axis + 1..]].concat())
    }

    /// The table's shape, as the kernels take it.
    fn table(&self, shape: &[Dim]) -> CallArg {
        let fields = vec![
            ("outer", CallArg::Size(shape::numel(&shape[..self.axis]))),
            ("rows", CallArg::Size(shape[self.axis].clone())),
            ("inner", CallArg::Size(shape::numel(&shape[self.axis + 1..]))),
        ];
        CallArg::Struct("Table", fields)
    }
}

impl Rule for Take {
    fn name(&self) -> &'static str {
        self.lookup.word()
    }

    fn attributes(&self) -> String {
        match self.lookup {
            Lookup::Embedding { padding: None } => String::new(),
            Lookup::Embedding { padding: Some(token) } => format!("padding_idx = {token}"),
            Lookup::Take => format!("axis = {}", self.axis),
        }
    }

    fn types(&self, inputs: &[Type], _: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let x = &inputs[0];
        let word = self.lookup.word();
        if x.dtype != DType::Float {
            return Err(ShapeError::new(format!(
                "`{word}` reads from a float tensor, found {x}"
            )));
        }
        if matches!(self.lookup, Lookup::Embedding { .. }) && x.rank() != 2 {
            let message = format!("`embedding` takes a table [tokens, width], found {x}");
            return Err(
                ShapeError::new(message).help("other tensors are indexed by `.take(indices, axis = ..)`")
            );
        }
        if let (Some(padding), Some(rows)) = (self.lookup.padding(), x.shape[0].as_lit())
            && !(0..rows).contains(&padding)
        {
            return Err(ShapeError::new(format!(
                "`padding_idx` is {padding}, outside the vocabulary 0..{rows}"
            )));
        }
        Ok(vec![x.with_shape(self.result(&x.shape, &inputs[1])?)])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else {
            return Cotangents::Flow(vec![None, None]);
        };
        let shape = b.shape(site.inputs[0]);
        let bar = b.push(
            TakeGrad {
                of: self.clone(),
                shape,
            },
            &[site.inputs[1], g],
        );
        Cotangents::Flow(vec![Some(bar), None])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let table = self.table(&inputs[0].shape);
        let args = vec![
            CallArg::In(0),
            CallArg::In(1),
            CallArg::Out(0),
            table,
            self.lookup.constant(),
        ];
        Kernel::Call(Call {
            function: "take",
            args,
            scratch: Vec::new(),
        })
    }

    fn flops(&self, _: &[Type], _: &[Type]) -> Dim {
        Dim::zero()
    }

    fn surfaces() -> &'static [Surface] {
        &[
            Surface {
                name: "embedding",
                form: Form::Function,
                usage: "embedding(tokens, table, padding_idx = ..)",
                lower: lower_embedding,
            },
            Surface {
                name: "take",
                form: Form::Method,
                usage: "x.take(indices, axis = 0)",
                lower: lower_take,
            },
            Surface {
                name: "index_select",
                form: Form::Method,
                usage: "x.index_select(indices, axis = 0)",
                lower: lower_take,
            },
        ]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, args, ret, body, sizes| Sample {
            name,
            dims: "B: Dim, N: Dim",
            args,
            ret,
            body,
            sizes,
            domain: (-2.0, 2.0),
            gradient: SampleGradient::Checked,
        };
        let sizes: &[&[usize]] = &[&[1, 1], &[0, 3], &[5, 3], &[7, 17]];
        let tokens = "w: Tensor<N, 4>, t: Tensor<i64, B, 2>";
        let picks = "x: Tensor<3, N, 2>, t: Tensor<i64, B>";
        vec![
            sample("embedding", tokens, "Tensor<B, 2, 4>", "embedding(t, w)", sizes),
            sample("take", picks, "Tensor<3, B, 2>", "x.take(t, axis = 1)", sizes),
            sample(
                "index_select",
                picks,
                "Tensor<3, B, 2>",
                "x.index_select(t, axis = -2)",
                sizes,
            ),
        ]
    }
}

/// Adds rows to the rows of a table of zeros that the indices name: the cotangent of the table. Operands: the indices, the
/// cotangent of the result.
#[derive(Clone, PartialEq, Debug)]
pub struct TakeGrad {
    /// What is differentiated.
    pub of: Take,
    /// Shape of the table.
    pub shape: Vec<Dim>,
}

impl Rule for TakeGrad {
    fn name(&self) -> &'static str {
        match self.of.lookup {
            Lookup::Embedding { .. } => "embedding_grad",
            Lookup::Take => "take_grad",
        }
    }

    fn attributes(&self) -> String {
        self.of.attributes()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let (indices, g) = (&inputs[0], &inputs[1]);
        let rows = self.of.result(&self.shape, indices)?;
        if g.dtype != DType::Float || !constraints.equal_shapes(&rows, &g.shape) {
            let message = format!(
                "`{}` takes float{}, found {g}",
                self.name(),
                shape::display(&rows)
            );
            return Err(ShapeError::new(message));
        }
        Ok(vec![Type::float(self.shape.clone())])
    }

    /// It is linear, and its transpose reads the rows again.
    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else {
            return Cotangents::Flow(vec![None; 2]);
        };
        let indices = site.inputs[0];
        let rows = b.push(self.of.clone(), &[g, indices]);
        let bar = match self.of.lookup.padding() {
            Some(token) => without_padding(b, rows, indices, token),
            None => rows,
        };
        Cotangents::Flow(vec![None, Some(bar)])
    }

    fn kernel(&self, _: &[Type], _: &[Type]) -> Kernel {
        let skip = match self.of.lookup.padding() {
            Some(token) => CallArg::Present(Box::new(CallArg::Scalar(Scalar::lit(token as f64)))),
            None => CallArg::Absent,
        };
        let args = vec![
            CallArg::In(0),
            CallArg::In(1),
            CallArg::Out(0),
            self.of.table(&self.shape),
            skip,
        ];
        Kernel::Call(Call {
            function: "take_grad",
            args,
            scratch: Vec::new(),
        })
    }

    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[1].numel()
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

/// The rows of an embedding, zero where the token is the padding.
fn without_padding(b: &mut Builder, rows: Value, indices: Value, token: i64) -> Value {
    let shape = b.shape(rows);
    let ty = b.ty(indices).clone();
    let padding = b.push(Fill { value: Scalar::lit(token as f64), ty }, &[]);
    let is_kept = b.pointwise("ne", &[indices, padding]);
    let kept = b.pointwise("to_float", &[is_kept]);
    let kept = b.expand_axes(kept, &[shape.len() - 1], &shape);
    b.mul(rows, kept)
}

impl Builder {
    /// The rows of `table` [tokens, width] that `tokens` name: `[.., width]`.
    pub fn embedding(&mut self, tokens: Value, table: Value, padding: Option<i64>) -> Value {
        self.push(
            Take {
                axis: 0,
                lookup: Lookup::Embedding { padding },
            },
            &[table, tokens],
        )
    }

    /// Slices of x along an axis, by number.
    pub fn take(&mut self, x: Value, indices: Value, axis: usize) -> Value {
        self.push(
            Take {
                axis,
                lookup: Lookup::Take,
            },
            &[x, indices],
        )
    }
}

fn lower_embedding(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (tokens, table) = (args.tensor(0, "tokens")?, args.tensor(1, "table")?);
    let padding = args.literal(usize::MAX, "padding_idx")?;
    args.finish()?;
    Ok(Operand::Tensor(b.embedding(tokens, table, padding)))
}

fn lower_take(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (x, indices) = (args.tensor(0, "x")?, args.tensor(1, "indices")?);
    if b.is_poison(x) {
        return Ok(Operand::Tensor(x));
    }
    let axis = args.axis(2, "axis", b.ty(x).rank())?;
    args.finish()?;
    Ok(Operand::Tensor(b.take(x, indices, axis)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, typed, whole};

    #[test]
    fn the_shape_of_the_indices_takes_the_place_of_the_axis() {
        let mut b = builder();
        let table = input(&mut b, DType::Float, &["100", "8"]);
        let tokens = input(&mut b, DType::Int, &["B", "T"]);
        let y = call(
            &mut b,
            "embedding",
            &[Operand::Tensor(tokens), Operand::Tensor(table)],
            &[],
        )
        .unwrap();
        assert_eq!(typed(&b, y), "float[B, T, 8]");
        let x = input(&mut b, DType::Float, &["B", "5", "3"]);
        let operands = [Operand::Tensor(x), Operand::Tensor(tokens)];
        let y = call(&mut b, "take", &operands, &[("axis", whole(-2))]).unwrap();
        assert_eq!(typed(&b, y), "float[B, B, T, 3]");
        let y = call(&mut b, "index_select", &operands, &[("axis", whole(2))]).unwrap();
        assert_eq!(typed(&b, y), "float[B, 5, B, T]");
    }

    #[test]
    fn reading_and_adding_are_each_others_gradient() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "5", "3"]);
        let indices = input(&mut b, DType::Int, &["T"]);
        let y = b.take(x, indices, 1);
        let gradient = |b: &mut Builder, y: Value| {
            let node = b.graph.node(y.node).clone();
            let Cotangents::Flow(bars) = node.op.rule().grad(
                b,
                &Site {
                    inputs: &node.inputs,
                    outputs: &[y],
                },
                &[Some(y)],
            ) else {
                panic!("there is a gradient");
            };
            bars.into_iter().flatten().next().unwrap()
        };
        let dx = gradient(&mut b, y);
        assert_eq!(typed(&b, dx), "float[B, 5, 3]");
        let again = gradient(&mut b, dx);
        assert_eq!(
            (typed(&b, again), &b.graph.node(again.node).op),
            ("float[B, T, 3]".into(), &b.graph.node(y.node).op)
        );
    }

    #[test]
    fn mistakes_are_explained() {
        let cases: [(&[&str], DType, Option<i64>, &str); 3] = [
            (
                &["100", "8"],
                DType::Float,
                None,
                "`embedding` takes integer indices, found float[B] (declare them as `Tensor<i64, ..>` or another integer type)",
            ),
            (
                &["100"],
                DType::Int,
                None,
                "`embedding` takes a table [tokens, width], found float[100] (other tensors are indexed by `.take(indices, axis = ..)`)",
            ),
            (
                &["100", "8"],
                DType::Int,
                Some(100),
                "`padding_idx` is 100, outside the vocabulary 0..100",
            ),
        ];
        for (table, dtype, padding, want) in cases {
            let mut b = builder();
            let (table, tokens) = (input(&mut b, DType::Float, table), input(&mut b, dtype, &["B"]));
            b.embedding(tokens, table, padding);
            assert_eq!(error(&b), want);
        }
    }
}
