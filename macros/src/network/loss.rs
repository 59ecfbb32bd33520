//! `loss = name`: the functions `loss` and `accuracy` of a network.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Expr, Lit};

use super::read::Loss;
use crate::diag::{Diagnostic, Diagnostics};

/// What a loss compares the output with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The number of a class for every sample.
    Labels,
    /// A tensor of the output's shape.
    Same,
}

/// Losses of the language that compare an output with one target.
const LOSSES: [(&str, Target); 12] = [
    ("cross_entropy", Target::Labels),
    ("nll_loss", Target::Labels),
    ("mse", Target::Same),
    ("mse_loss", Target::Same),
    ("l1", Target::Same),
    ("l1_loss", Target::Same),
    ("smooth_l1", Target::Same),
    ("smooth_l1_loss", Target::Same),
    ("huber", Target::Same),
    ("huber_loss", Target::Same),
    ("bce_with_logits", Target::Same),
    ("kl_div", Target::Same),
];

/// What the functions speak of.
pub struct Context<'a> {
    /// The path of the library.
    pub krate: &'a TokenStream,
    /// The batch's dynamic dimension.
    pub batch: &'a Ident,
    /// The type of the input.
    pub input: &'a TokenStream,
    /// The sizes of the output.
    pub output: &'a [TokenStream],
    /// The number of classes, where it is a literal.
    pub n_classes: Option<&'a Expr>,
}

/// The functions, at the place of the loss's name.
pub fn functions(loss: &Loss, context: &Context<'_>, diagnostics: &mut Diagnostics) -> Option<TokenStream> {
    let span = loss.name.span();
    let name = loss.name.to_string();
    let Some((_, target)) = LOSSES.iter().find(|(known, _)| *known == name) else {
        let known: Vec<String> = LOSSES.iter().map(|(known, _)| format!("`{known}`")).collect();
        let error = Diagnostic::error(span, format!("there is no loss `{name}` for a network"));
        let help = "for any other loss write `#[model] struct` and `#[model] impl`, with a function `loss`";
        diagnostics.push(error.expected(known.join(", ")).help(help));
        return None;
    };
    if let (Target::Same, Some(labels)) = (target, &loss.labels) {
        let error = Diagnostic::error(labels.span(), format!("`{name}` has no labels"));
        diagnostics.push(error.note("its target has the shape of the output, and is made of real numbers"));
        return None;
    }
    let target_type = match target {
        Target::Same => context.tensor(None, context.output, span),
        Target::Labels => {
            let (_, places) = context.output.split_first()?;
            context.tensor(Some(labels(loss, context, diagnostics)?), places, span)
        }
    };
    let Context { batch, input, .. } = context;
    let words = context.words(span);
    let Loss {
        attrs,
        name: function,
        options,
        ..
    } = loss;
    let doc = format!(
        "The mean `{name}` of the network's outputs and the targets, which are {}.",
        match target {
            Target::Labels => "the numbers of the classes",
            Target::Same => "of the same shape",
        }
    );
    let loss = quote_spanned! {span=>
        #[doc = #doc]
        #(#attrs)*
        pub fn loss<#batch: #words::Dim>(&self, input: #input, target: #target_type) -> #words::Scalar {
            #function(self.forward(input), target #(, #options)*)
        }
    };
    let accuracy = (*target == Target::Labels).then(|| {
        quote_spanned! {span=>
            /// The share of the targets, between 0 and 1, at which the network's largest output stands.
            pub fn accuracy<#batch: #words::Dim>(&self, input: #input, target: #target_type) -> #words::Scalar {
                (self.forward(input).argmax(axis = 1) == target).to_float().mean()
            }
        }
    });
    Some(quote!(#loss #accuracy))
}

impl Context<'_> {
    /// The path of the words of the language, at `place`.
    pub fn words(&self, place: Span) -> TokenStream {
        let krate = self.krate.clone().into_iter().map(|mut tree| {
            tree.set_span(place);
            tree
        });
        let krate: TokenStream = krate.collect();
        quote_spanned!(place=> #krate::__private)
    }

    /// `Tensor<u8, B, 10>`, at `place`.
    pub fn tensor(&self, dtype: Option<TokenStream>, dims: &[TokenStream], place: Span) -> TokenStream {
        let (words, batch) = (self.words(place), self.batch);
        let dtype = dtype.into_iter();
        quote_spanned!(place=> #words::Tensor<#(#dtype,)* #batch #(, #dims)*>)
    }
}

/// The dtype of labels: `u8` if nothing is said, as data sets have them.
fn labels(loss: &Loss, context: &Context<'_>, diagnostics: &mut Diagnostics) -> Option<TokenStream> {
    const BYTE_CLASSES: u64 = 256;
    if let Some(dtype) = &loss.labels {
        return Some(quote!(#dtype));
    }
    if let Some(Expr::Lit(literal)) = context.n_classes
        && let Lit::Int(int) = &literal.lit
        && let Ok(n_classes) = int.base10_parse::<u64>()
        && n_classes > BYTE_CLASSES
    {
        let name = &loss.name;
        let message = format!(
            "labels of type `u8` cannot tell {} classes apart",
            Literal::u64_unsuffixed(n_classes)
        );
        let error = Diagnostic::error(name.span(), message);
        diagnostics.push(error.help(format_args!("write for example `loss = {name}(labels = u16)`")));
        return None;
    }
    let span = loss.name.span();
    Some(quote_spanned!(span=> u8))
}
