//! The vocabulary between the doors and the back end: what a model is before lowering, and after.
//!
//! A [`Definition`] is what a type of a field turned out to be: a built-in layer, or another model with everything
//! needed to inline it. [`Lowered`] is a model whose names are resolved and whose calls are inlined: tensors with paths,
//! and one graph for every function and mode.
//!
//! Plain data. Nothing here parses, resolves or emits.

use std::rc::Rc;

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use crate::ast;
use crate::diag::SourceSpan;
use crate::ir::{Demand, Graph};
use crate::layers::Builtin;
use crate::shape::Dim;

/// What the type of a field turned out to be.
#[derive(Clone)]
pub enum Definition {
    /// A layer of the library.
    Builtin(&'static Builtin),
    /// Another model.
    User(Box<UserModel>),
    /// A model with errors of its own, which were reported where it is defined; whoever uses it stays silent.
    Poison,
}

/// A model that a user wrote.
#[derive(Clone)]
pub struct UserModel {
    /// Its fields. In a model that is a layer of another no `_` is left: the solutions of its own compilation
    /// ([`Lowered::solved`]) stand in their places.
    pub structure: ast::Struct,
    /// Its functions.
    pub implementation: ast::Impl,
    /// One a field of `structure`: the definition of the layer (of one of them, for an array). `None` for `Param` and
    /// `State`, and for what could not be resolved and was reported.
    pub children: Vec<Option<Rc<Definition>>>,
    /// The functions through which a parent evaluates this model's constants; empty in the model being compiled.
    pub accessors: Vec<Accessor>,
    /// How the *direct parent* names this model's type, with 0 for every const generic: `zoo::Block<0, 0>`. `None` in
    /// the model being compiled.
    pub type_path: Option<String>,
}

/// A way to evaluate a constant of a model from outside of its module.
///
/// A parent writes `<type_path>::function(values)`, the values being those of the model's const generics in the order
/// of its struct. The expansion of the model emits the function, an associated `const fn`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accessor {
    /// The constant as the model itself writes it ([`Constant::text`]).
    pub source: String,
    /// The name of the function.
    pub function: String,
}

/// A model with every name resolved and every call inlined.
#[derive(Debug, Default)]
pub struct Lowered {
    /// Trained tensors, in the order of the fields; [`crate::ir::ParamId`] is the position.
    pub params: Vec<TensorDecl>,
    /// Carried tensors, in the order of the fields; [`crate::ir::StateId`] is the position.
    pub states: Vec<TensorDecl>,
    /// The public functions with `&self`, in the order of the impl.
    pub functions: Vec<LoweredFunction>,
    /// What rustc has to check, because the macro cannot evaluate it.
    pub checks: Vec<Check>,
    /// The layers, depth first, in the order of the fields.
    pub rows: Vec<LayerRow>,
    /// The solution of every `_`.
    pub solved: Vec<Solution>,
    /// The constants that sizes and numbers of this model depend on, in the order of first use. If the model is to be
    /// a layer of others, each needs an [`Accessor`].
    pub constants: Vec<Constant>,
}

/// A parameter or carried tensor of a model.
#[derive(Clone, Debug)]
pub struct TensorDecl {
    /// Its name in files: `fc1.weight`, with the names that `#[weights]` gives to fields. In a layer of an array, `{}` stands for the
    /// layer's position in each enclosing array, `blocks.{}.attn.weight`, and `{1}` for it where numbers begin with 1.
    pub path: String,
    /// The length of every enclosing array, the outermost first; empty where there is none. In graphs the tensors of
    /// all the layers are one leaf, of shape `repeats ++ shape`.
    pub repeats: Vec<Dim>,
    /// Its shape, in the const generics (by the names of the struct) and constants of the compiled model; in a layer of
    /// an array, that of one layer.
    pub shape: Vec<Dim>,
    /// Its first values.
    pub init: InitSpec,
    /// Whether it is trained. Carried tensors are always [`Training::Frozen`].
    pub training: Training,
}

impl TensorDecl {
    /// Its path without positions in arrays, which is one name for the tensors of all the layers: `blocks.attn.weight`.
    pub fn name(&self) -> String {
        let parts = self.path.split('.').filter(|part| !part.starts_with('{'));
        parts.collect::<Vec<_>>().join(".")
    }
}

/// Whether a tensor has a gradient.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Training {
    /// It is trained.
    Trained,
    /// `#[freeze]`, or a carried tensor: no gradient is computed.
    Frozen,
}

/// A public function, lowered in every mode that it needs.
#[derive(Clone, Debug)]
pub struct LoweredFunction {
    /// Its name.
    pub name: String,
    /// Its position among the functions of the impl.
    pub index: usize,
    /// Its dynamic dimensions, in order.
    pub dims: Vec<DynamicDim>,
    /// Its tensor arguments, in order; [`crate::ir::InputId`] is the position.
    pub inputs: Vec<InputDecl>,
    /// Its host arguments, in order, with their kind: `Scalar::Arg` names them.
    pub scalars: Vec<(String, ast::HostType)>,
    /// For every argument in order, which of `inputs` or `scalars` it is.
    pub args: Vec<ArgSlot>,
    /// The function in eval mode. What it returns, with tuples taken apart, are the outputs `Result(0)`, `Result(1)`, ...
    pub eval: Graph,
    /// The function as `_grad` differentiates it, where it returns a `Scalar`: in train mode, or in the mode that
    /// `#[model(grad = ..)]` asks for.
    pub train: Option<Graph>,
    /// What the sizes of a call must fulfil, in the order in which they are to be checked.
    pub demands: Vec<Demand>,
    /// The place of `#[model(hvp)]`, where it is there.
    pub hvp: Option<SourceSpan>,
    /// The signature.
    pub span: SourceSpan,
}

/// Where an argument of a function went.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ArgSlot {
    /// The tensor of that position.
    Input(usize),
    /// The host number of that position.
    Scalar(usize),
}

/// A dynamic dimension of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicDim {
    /// Its name.
    pub name: String,
    /// A number that divides it, checked at the call; 1 where none is promised.
    pub multiple: i64,
    /// Where its value is read: the position among the inputs, and the axis.
    pub bare: (usize, usize),
}

/// A tensor argument.
#[derive(Clone, Debug)]
pub struct InputDecl {
    /// Its name.
    pub name: String,
    /// What the caller's elements are.
    pub dtype: ast::TensorDtype,
    /// Its shape.
    pub shape: Vec<Dim>,
    /// Whether `#[grad]` asks for its gradient.
    pub grad: InputGrad,
}

/// Whether the gradient of an argument is wanted.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum InputGrad {
    /// `#[grad]`.
    Wanted,
    /// Not asked for.
    Unwanted,
}

/// An equation that only rustc can decide.
#[derive(Clone, Debug)]
pub struct Check {
    /// One side.
    pub left: Dim,
    /// The other.
    pub right: Dim,
    /// What to say where it does not hold.
    pub message: String,
    /// The user's token.
    pub span: SourceSpan,
}

/// A line of the model's summary.
#[derive(Clone, Debug)]
pub struct LayerRow {
    /// Its path: `enc.fc1`. The layers of an array have one line, `blocks`, and what is in them has paths as
    /// `blocks.{}.attn`.
    pub path: String,
    /// What it is: `Linear<784, 128>`, or `[Block<128, 4>; 4]`.
    pub kind: String,
    /// How many models it lies in; 0 for the fields of the model itself.
    pub depth: usize,
    /// The shape of its first result in the first public function that uses it, if any does.
    pub output: Option<Vec<Dim>>,
    /// Number of trained values (frozen ones included), those of layers inside included; in arrays, of all the layers.
    pub params: Dim,
}

/// What an `_` turned out to be.
#[derive(Clone, Debug)]
pub struct Solution {
    /// Position of the field.
    pub field: usize,
    /// Position among the field's arguments.
    pub position: usize,
    /// The size, in the const generics and constants of the model; its text parses as a Rust expression.
    pub size: Dim,
}

/// A constant of the user's scope.
#[derive(Clone, Debug)]
pub struct Constant {
    /// The text by which sizes name it; see [`constant_text`].
    pub text: String,
    /// The user's own tokens; `None` where the constant is one of a layer's, reached through its accessor.
    pub tokens: Option<TokenStream>,
}

/// The text by which [`Dim::constant`] and [`Accessor::source`] name an expression: its tokens, with the spaces that a
/// person would write.
pub fn constant_text(expr: &syn::Expr) -> String {
    let text = quote!(#expr).to_string();
    let text = text
        .replace(" :: ", "::")
        .replace(":: ", "::")
        .replace(" (", "(")
        .replace("( ", "(")
        .replace(" )", ")");
    text.replace(" ,", ",")
        .replace("< ", "<")
        .replace(" >", ">")
        .replace(" <", "<")
}

/// How a parameter gets its first values: the runtime's `Init`, with sizes that may be symbolic.
#[derive(Clone, Debug, PartialEq)]
pub enum InitSpec {
    /// 0 everywhere.
    Zeros,
    /// 1 everywhere.
    Ones,
    /// One number everywhere.
    Constant(f64),
    /// Evenly distributed over `[low, high)`.
    Uniform {
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
    },
    /// Normally distributed.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// Normally distributed between two bounds.
    TruncatedNormal {
        /// The mean before truncation.
        mean: f64,
        /// The standard deviation before truncation.
        std: f64,
        /// The lower bound.
        low: f64,
        /// The upper bound.
        high: f64,
    },
    /// Glorot and Bengio, uniform.
    XavierUniform {
        /// A factor for the nonlinearity that follows.
        gain: f64,
    },
    /// Glorot and Bengio, normal.
    XavierNormal {
        /// A factor for the nonlinearity that follows.
        gain: f64,
    },
    /// He et al., uniform, scaled by the fan in.
    KaimingUniform {
        /// The negative slope of the leaky ReLU that follows.
        a: f64,
    },
    /// He et al., normal, scaled by the fan in.
    KaimingNormal {
        /// The negative slope of the leaky ReLU that follows.
        a: f64,
    },
    /// Orthonormal rows or columns.
    Orthogonal {
        /// A factor for the nonlinearity that follows.
        gain: f64,
    },
    /// PyTorch's default for biases: U(-b, b) with b = 1 / sqrt(fan in) of the weight.
    LinearBias {
        /// The fan in of the weight.
        fan_in: Dim,
    },
}

impl InitSpec {
    /// PyTorch's default for weights of linear and convolution layers: Kaiming's uniform rule with a = sqrt(5).
    pub const LINEAR_WEIGHT: Self = Self::KaimingUniform {
        a: 2.236_067_977_499_79,
    };

    /// PyTorch's default for embeddings: N(0, 1).
    pub const EMBEDDING: Self = Self::Normal { mean: 0.0, std: 1.0 };

    /// The expression of type `Init`, or the size on which it depends: the fan in of a linear layer's bias. `init` is the path of the
    /// runtime's module `init`.
    pub fn to_tokens(&self, init: &TokenStream) -> Result<TokenStream, &Dim> {
        let fan = quote!(#init::Fan::In);
        let body = match self {
            Self::Zeros => quote!(Zeros),
            Self::Ones => quote!(Ones),
            Self::Constant(value) => {
                let value = float(*value);
                quote!(Constant(#value))
            }
            Self::Uniform { low, high } => {
                let (low, high) = (float(*low), float(*high));
                quote!(Uniform { low: #low, high: #high })
            }
            Self::Normal { mean, std } => {
                let (mean, std) = (float(*mean), float(*std));
                quote!(Normal { mean: #mean, std: #std })
            }
            Self::TruncatedNormal { mean, std, low, high } => {
                let (mean, std, low, high) = (float(*mean), float(*std), float(*low), float(*high));
                quote!(TruncatedNormal { mean: #mean, std: #std, low: #low, high: #high })
            }
            Self::XavierUniform { gain } => {
                let gain = float(*gain);
                quote!(XavierUniform { gain: #gain })
            }
            Self::XavierNormal { gain } => {
                let gain = float(*gain);
                quote!(XavierNormal { gain: #gain })
            }
            Self::KaimingUniform { a } => {
                let a = float(*a);
                quote!(KaimingUniform { a: #a, fan: #fan })
            }
            Self::KaimingNormal { a } => {
                let a = float(*a);
                quote!(KaimingNormal { a: #a, fan: #fan })
            }
            Self::Orthogonal { gain } => {
                let gain = float(*gain);
                quote!(Orthogonal { gain: #gain })
            }
            Self::LinearBias { fan_in } => return Err(fan_in),
        };
        Ok(quote!(#init::Init::#body))
    }
}

/// A finite literal of type `f64`, negative ones included.
fn float(value: f64) -> TokenStream {
    let literal = Literal::f64_suffixed(value.abs());
    if value.is_sign_negative() {
        quote!(-#literal)
    } else {
        quote!(#literal)
    }
}
