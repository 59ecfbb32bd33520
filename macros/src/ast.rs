//! The syntax tree of the language: what the user wrote, and where.
//!
//! Plain data. Whatever a later stage can complain about knows its place in the source, so that the message points at
//! the user's token.
//! Nothing is resolved here: a [`DimExprKind::Name`] may turn out to be a const generic, a dynamic dimension or a
//! constant, and `self.fc1(x)` is a [`ExprKind::MethodCall`] on `self` whether `fc1` is a field or a function.
//!
//! What could not be understood is present as an `Error` variant that holds a [`Reported`]. A stage that meets one
//! says nothing more about it.

mod expr;

pub use self::expr::*;

use crate::diag::{Reported, SourceSpan};
use proc_macro2::Ident;

/// What `#[model]` may stand on.
#[derive(Clone)]
pub enum Item {
    /// A struct.
    Struct(Struct),
    /// An impl.
    Impl(Impl),
}

/// `#[model] struct Name<const D: usize> { … }`: the layers and parameters of a model.
#[derive(Clone)]
pub struct Struct {
    /// Documentation and lint attributes, to be put on the emitted struct as they are.
    pub attrs: Vec<syn::Attribute>,
    /// Who may name the model.
    pub vis: syn::Visibility,
    /// The name of the model.
    pub name: Ident,
    /// The const generics, in order.
    pub generics: Vec<ConstGeneric>,
    /// The fields, in order; no two have the same name.
    pub fields: Vec<Field>,
    /// The options in `#[model(…)]`.
    pub options: ModelOptions,
    /// Set if a part of the struct is missing from this tree, because it was not understood.
    pub error: Option<Reported>,
    /// From the visibility to the name.
    pub span: SourceSpan,
}

/// `const D: usize`: a width that is chosen where the model is used.
#[derive(Clone, Debug)]
pub struct ConstGeneric {
    /// Its name.
    pub name: Ident,
}

/// What is written in `#[model(…)]`; on a function in its own `#[model(…)]`.
#[derive(Clone, Default)]
pub struct ModelOptions {
    /// `crate = path`: where the crate is found, if not at `::tapeless`.
    pub crate_path: Option<syn::Path>,
    /// `max_memory = "64 MiB"`: what a training step may need at most.
    pub max_memory: Option<MemoryLimit>,
    /// `dims(B = 32)`: the sizes of dynamic dimensions for which costs are reported and checked.
    pub dims: Vec<DimValue>,
    /// `grad = "eval"`, on functions only: the mode of the gradient.
    pub grad: GradMode,
    /// `hvp`, on functions only: its place, where products of the Hessian with a vector are asked for.
    pub hvp: Option<SourceSpan>,
}

/// A budget of memory.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimit {
    /// The number of bytes.
    pub bytes: u64,
    /// The string that says so.
    pub span: SourceSpan,
}

/// `B = 32`: a size for a dynamic dimension.
#[derive(Clone)]
pub struct DimValue {
    /// The dynamic dimension.
    pub name: Ident,
    /// Its size.
    pub value: DimExpr,
}

/// The mode in which `<name>_grad` runs a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GradMode {
    /// Dropout drops, batch norm uses the statistics of the batch.
    #[default]
    Train,
    /// `#[model(grad = "eval")]`: as the plain call does, for saliency and adversarial inputs.
    Eval,
}

/// A field of a model.
#[derive(Clone)]
pub struct Field {
    /// Its documentation and lint attributes.
    pub attrs: Vec<syn::Attribute>,
    /// Who may read the field's parameters by name.
    pub vis: syn::Visibility,
    /// Its name, which is also its part of a parameter's path.
    pub name: Ident,
    /// What it is.
    pub kind: FieldKind,
    /// The options in `#[layer(…)]`; no two have the same name.
    pub options: Vec<OptionArg>,
    /// The place of `#[freeze]`, if it is there.
    pub frozen: Option<SourceSpan>,
    /// `#[weights("…")]`: its part of a parameter's path, where that is not its name.
    pub weights: Option<WeightsName>,
    /// The place of `#[recompute]`, if it is there.
    pub recompute: Option<SourceSpan>,
    /// From the name to the end of the type.
    pub span: SourceSpan,
}

/// `#[weights("h")]` or `#[weights("h", first = 1)]`: what a field is called in files.
#[derive(Clone, Debug)]
pub struct WeightsName {
    /// One part of a path or several, with dots between them; empty where the field adds nothing to a path.
    pub name: String,
    /// `first = 1`: the number of the first element of an array; 0 where it is not given.
    pub first: usize,
    /// The string that says so.
    pub span: SourceSpan,
}

/// What a field is.
#[derive(Clone)]
pub enum FieldKind {
    /// A built-in layer or another model: `Linear<784, 128>`.
    Layer {
        /// The type without its arguments.
        path: syn::Path,
        /// The arguments.
        args: Vec<DimArg>,
    },
    /// `Param<D, H>`: a tensor that is trained.
    Param {
        /// Its shape.
        dims: Vec<DimArg>,
    },
    /// `State<D>`: a tensor that is carried along from step to step, but not trained.
    State {
        /// Its shape.
        dims: Vec<DimArg>,
    },
    /// `[Block<D>; 4]`: several layers of one kind, for a loop.
    Array {
        /// One of them.
        elem: Box<FieldKind>,
        /// How many there are.
        count: DimExpr,
    },
    /// A type that was not understood.
    Error(Reported),
}

/// A dimension in a list of generic arguments.
#[derive(Clone)]
pub enum DimArg {
    /// `_`: to be inferred from what flows in.
    Infer(SourceSpan),
    /// A size.
    Expr(DimExpr),
}

impl DimArg {
    /// Its place.
    pub fn span(&self) -> SourceSpan {
        match self {
            DimArg::Infer(span) => *span,
            DimArg::Expr(expr) => expr.span,
        }
    }
}

/// The size of a dimension.
#[derive(Clone)]
pub struct DimExpr {
    /// What it is.
    pub kind: DimExprKind,
    /// Its place.
    pub span: SourceSpan,
}

/// The forms of a size. Arithmetic is that of Rust on `usize`; a division rounds down.
#[derive(Clone)]
pub enum DimExprKind {
    /// `784`
    Lit(u64),
    /// A single identifier: a const generic, a dynamic dimension, or a constant in the user's scope.
    Name(Ident),
    /// `a + b`
    Add(Box<DimExpr>, Box<DimExpr>),
    /// `a - b`
    Sub(Box<DimExpr>, Box<DimExpr>),
    /// `a * b`
    Mul(Box<DimExpr>, Box<DimExpr>),
    /// `a / b`
    Div(Box<DimExpr>, Box<DimExpr>),
    /// Anything else, which only rustc can evaluate: `zoo::WIDTH`, `heads(D)`.
    Opaque(Box<syn::Expr>),
    /// A size that was not understood.
    Error(Reported),
}

/// `#[model] impl Name { … }`: the functions of a model.
#[derive(Clone)]
pub struct Impl {
    /// Lint attributes, to be put on the emitted impl as they are.
    pub attrs: Vec<syn::Attribute>,
    /// The model's type, without its arguments.
    pub self_path: syn::Path,
    /// The arguments of the model's type: each of `generics` once, in the order of the struct.
    pub self_args: Vec<Ident>,
    /// The const generics as the impl names them, which need not be the struct's names.
    pub generics: Vec<ConstGeneric>,
    /// The functions, in order; no two have the same name.
    pub functions: Vec<Function>,
    /// The options in `#[model(…)]`.
    pub options: ModelOptions,
    /// Set if a part of the impl is missing from this tree, because it was not understood.
    pub error: Option<Reported>,
    /// From `impl` to the end of the model's type.
    pub span: SourceSpan,
}

/// A function of a model.
#[derive(Clone)]
pub struct Function {
    /// Documentation and lint attributes, to be put on the emitted methods as they are.
    pub attrs: Vec<syn::Attribute>,
    /// The options in `#[model(…)]`.
    pub options: ModelOptions,
    /// Who may call it.
    pub vis: syn::Visibility,
    /// Its name.
    pub name: Ident,
    /// Whether it takes `&self`.
    pub receiver: Receiver,
    /// Its dynamic dimensions, in order.
    pub dims: Vec<DynDim>,
    /// Its arguments without `self`, in order; no two have the same name.
    pub args: Vec<Arg>,
    /// What it returns.
    pub ret: ReturnType,
    /// What it does.
    pub body: Block,
    /// Set if its name is taken by a generated function: calls of it are understood, but it must not be emitted.
    pub rejected: Option<Reported>,
    /// The signature: from the visibility to the return type.
    pub span: SourceSpan,
}

/// How a function takes its model.
#[derive(Clone, Copy, Debug)]
pub enum Receiver {
    /// `&self`
    SelfRef,
    /// Not at all: a helper that is inlined where it is called.
    None,
}

/// `B: Dim` or `B: Dim + MultipleOf<16>`: a size that is known when the function is called.
#[derive(Clone)]
pub struct DynDim {
    /// Its name.
    pub name: Ident,
    /// A number that divides the size, which is checked at the call.
    pub multiple_of: Option<DimExpr>,
}

/// An argument of a function.
#[derive(Clone)]
pub struct Arg {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub ty: ValueType,
    /// The place of `#[grad]`, which asks for the gradient with respect to this argument.
    pub grad: Option<SourceSpan>,
    /// The place of `mut`.
    pub mutable: Option<SourceSpan>,
    /// From the name to the end of the type.
    pub span: SourceSpan,
}

/// The type of an argument or of a `let`.
#[derive(Clone)]
pub enum ValueType {
    /// A tensor; `Scalar` is one without dimensions.
    Tensor(TensorType),
    /// A number of the host, for options that change no shape.
    Host(HostType, SourceSpan),
    /// A type that was not understood.
    Error(Reported),
}

/// A type of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostType {
    /// `f32`
    F32,
    /// `bool`
    Bool,
    /// `usize`
    Usize,
}

/// `Tensor<u8, B, 28, 28>`: the type of a tensor.
#[derive(Clone)]
pub struct TensorType {
    /// What its elements are.
    pub dtype: TensorDtype,
    /// Its shape, from the outermost dimension to the innermost.
    pub dims: Vec<DimArg>,
    /// The whole type.
    pub span: SourceSpan,
}

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorDtype {
    /// A real number, in the precision that is chosen when the model is made. Written by naming no dtype.
    Float,
    /// `u8`
    U8,
    /// `u16`
    U16,
    /// `u32`
    U32,
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `bool`
    Bool,
}

/// What a function returns.
#[derive(Clone)]
pub enum ReturnType {
    /// A tensor.
    Tensor(TensorType),
    /// `Scalar`: a real number, so that the function can be differentiated.
    Scalar(SourceSpan),
    /// Several values.
    Tuple(Vec<ReturnType>, SourceSpan),
    /// A type that was not understood.
    Error(Reported),
}
