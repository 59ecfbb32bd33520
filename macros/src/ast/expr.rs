//! The bodies of functions: blocks, statements and expressions.

use super::{TensorDtype, ValueType};
use crate::diag::{Reported, SourceSpan};
use proc_macro2::Ident;

/// `{ …; tail }`
#[derive(Clone)]
pub struct Block {
    /// The statements.
    pub stmts: Vec<Stmt>,
    /// The value of the block.
    pub tail: Option<Box<Expr>>,
    /// From brace to brace.
    pub span: SourceSpan,
}

/// A statement.
#[derive(Clone)]
pub enum Stmt {
    /// `let pattern: ty = value;`
    Let {
        /// What is bound.
        pattern: Pattern,
        /// The type, if it is written.
        ty: Option<ValueType>,
        /// The value.
        value: Expr,
    },
    /// `target = value;`; also `target += value;`, whose value is the sum.
    Assign {
        /// What gets a new value.
        target: AssignTarget,
        /// The value.
        value: Expr,
        /// The whole statement.
        span: SourceSpan,
    },
    /// An expression whose value is not used, as a loop.
    Expr(Expr),
}

/// The left side of an assignment.
#[derive(Clone)]
pub enum AssignTarget {
    /// A variable.
    Name(Ident),
    /// A field, as `self.mean`: the new value of a `State`.
    Field {
        /// What has the field.
        base: Box<Expr>,
        /// The field.
        name: Ident,
    },
}

/// What a `let` or a `for` binds.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// `x` or `mut x`
    Name {
        /// The variable.
        name: Ident,
        /// The place of `mut`.
        mutable: Option<SourceSpan>,
    },
    /// `(a, b)`
    Tuple(Vec<Pattern>, SourceSpan),
    /// `_`
    Wild,
    /// A pattern that was not understood.
    Error(Reported),
}

/// An expression. Parentheses and `&` leave no trace.
#[derive(Clone)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its place.
    pub span: SourceSpan,
}

/// The forms of an expression.
#[derive(Clone)]
pub enum ExprKind {
    /// `0.2`, `3`, `true`, `"bij,bjk->bik"`
    Lit(Lit),
    /// A single identifier: a variable, an argument, a dimension or a constant.
    Name(Ident),
    /// A longer path, as `zoo::WIDTH`: a constant.
    Path(syn::Path),
    /// `self`
    SelfRef,
    /// `base.name`
    Field {
        /// What has the field.
        base: Box<Expr>,
        /// The field.
        name: Ident,
    },
    /// `base.0`
    TupleIndex {
        /// The tuple.
        base: Box<Expr>,
        /// Which of its values, from 0.
        index: usize,
    },
    /// `(a, b)`
    Tuple(Vec<Expr>),
    /// `[2, 3]`
    Array(Vec<Expr>),
    /// `-x`, `!x`
    Unary {
        /// The operator.
        op: UnaryOp,
        /// What it is applied to.
        operand: Box<Expr>,
    },
    /// `a + b`
    Binary {
        /// The operator.
        op: BinaryOp,
        /// The place of the operator.
        op_span: SourceSpan,
        /// The left operand.
        left: Box<Expr>,
        /// The right operand.
        right: Box<Expr>,
    },
    /// `base.method(args, options)`: an operation on a tensor, or, on a model, one of its layers or functions.
    MethodCall {
        /// What it is called on.
        base: Box<Expr>,
        /// The name.
        method: Ident,
        /// The arguments by position.
        args: Vec<Expr>,
        /// The arguments by name; no two have the same name.
        options: Vec<OptionArg>,
    },
    /// `callee(args, options)`
    Call {
        /// The function, or the variable of a loop over layers.
        callee: syn::Path,
        /// The arguments by position.
        args: Vec<Expr>,
        /// The arguments by name; no two have the same name.
        options: Vec<OptionArg>,
    },
    /// `0..3`, `..`, `1..=2`
    Range {
        /// The first index, if it is written.
        start: Option<Box<Expr>>,
        /// The last index, if it is written.
        end: Option<Box<Expr>>,
        /// Whether the last index is part of the range.
        limits: RangeLimits,
    },
    /// `{ … }`
    Block(Block),
    /// `if cond { … } else { … }`
    If {
        /// The condition.
        cond: Box<Expr>,
        /// What holds if it is true.
        then: Block,
        /// What holds otherwise: a block or another `if`.
        else_: Option<Box<Expr>>,
    },
    /// `x as f32`
    Cast {
        /// The value.
        operand: Box<Expr>,
        /// What it becomes.
        ty: CastType,
    },
    /// `for pattern in iter { … }`
    For {
        /// The variable.
        pattern: Pattern,
        /// What is iterated over.
        iter: Box<Expr>,
        /// What is done each time.
        body: Block,
    },
    /// An expression that was not understood.
    Error(Reported),
}

/// `axis = 1`: an argument by name.
#[derive(Clone)]
pub struct OptionArg {
    /// The name of the option.
    pub name: Ident,
    /// Its value.
    pub value: Expr,
    /// From the name to the end of the value.
    pub span: SourceSpan,
}

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub enum Lit {
    /// `0.2`
    Float(f64),
    /// `3`
    Int(u64),
    /// `true`
    Bool(bool),
    /// `"mean"`
    Str(String),
}

/// An operator with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
}

/// An operator with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `&&`
    And,
    /// `||`
    Or,
}

/// Whether a range contains its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RangeLimits {
    /// `a..b`: without `b`.
    HalfOpen,
    /// `a..=b`: with `b`.
    Closed,
}

/// The target of `as`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CastType {
    /// The dtype of a tensor; `f32` means [`TensorDtype::Float`].
    Tensor(TensorDtype),
    /// `usize`, for numbers of the host.
    Usize,
}
