//! What is written inside of `network!`, as it stands there.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{AngleBracketedGenericArguments, Attribute, Expr, Generics, Path, Token, Visibility};

use crate::diag::{Diagnostic, Diagnostics, SourceSpan};
use crate::layers;

/// Both forms of `network!`.
pub struct Network {
    /// What stands above it.
    pub attrs: Vec<Attribute>,
    /// The name of an item; nothing for an expression.
    pub item: Option<Item>,
    /// `(1, 28, 28)`
    pub input: Sizes,
    /// `-> 10`
    pub output: Option<Sizes>,
    /// The layers that could be read, in order.
    pub layers: Vec<Layer>,
    /// `loss = cross_entropy`
    pub loss: Option<Loss>,
}

/// What an item has and an expression has not.
pub struct Item {
    /// Who may name the model.
    pub vis: Visibility,
    /// Its name.
    pub name: Ident,
    /// Its const generics.
    pub generics: Generics,
}

/// The sizes of a tensor without its batch.
pub struct Sizes {
    /// The dtype in front: `(u32, 16)`.
    pub dtype: Option<Ident>,
    /// The sizes.
    pub dims: Vec<Expr>,
    /// All of them.
    pub span: SourceSpan,
}

/// A layer: `#[freeze] name: Conv2d<_, 6, 5>(padding = 2)`, or `[Block<64>; 4]`.
pub struct Layer {
    /// Attributes for the field.
    pub attrs: Vec<Attribute>,
    /// The name of the field, where one is given.
    pub name: Option<Ident>,
    /// The layer, or an element of an array.
    pub path: Path,
    /// Its sizes in angle brackets.
    pub sizes: Option<AngleBracketedGenericArguments>,
    /// The number of elements of an array.
    pub count: Option<Expr>,
    /// Its options, for `#[layer(…)]`.
    pub options: Vec<TokenStream>,
    /// All of it, from the name on.
    pub span: SourceSpan,
}

/// `cross_entropy(label_smoothing = 0.1)`
pub struct Loss {
    /// Its attributes: `#[model(hvp)]`.
    pub attrs: Vec<Attribute>,
    /// The function of the language.
    pub name: Ident,
    /// Its options; `labels = …` is not among them.
    pub options: Vec<Expr>,
    /// The dtype of the labels.
    pub labels: Option<Ident>,
}

impl Network {
    /// Whether it declares a type by name.
    pub fn is_item(&self) -> bool {
        self.item.is_some()
    }
}

/// Reads either form.
pub fn network(input: ParseStream<'_>, diagnostics: &mut Diagnostics) -> syn::Result<Network> {
    let attrs = input.call(Attribute::parse_outer)?;
    if input.peek(syn::token::Paren) {
        return expression(input, attrs, diagnostics);
    }
    let vis = input.parse()?;
    if !input.peek(Token![struct]) {
        return Err(input.error(
            "expected `pub struct Name(sizes) -> sizes { layers }`, or `(sizes) => layers` for an expression",
        ));
    }
    input.parse::<Token![struct]>()?;
    let name: Ident = input.parse()?;
    let generics = input.parse()?;
    let sizes = input_sizes(input)?;
    let output = output_sizes(input)?;
    if output.is_none() {
        return Err(input.error("expected the sizes of the output without the batch, as in `-> 10`"));
    }
    let inside;
    syn::braced!(inside in input);
    let layers = layers_of(&inside, diagnostics);
    let loss = loss(input)?;
    Ok(Network {
        attrs,
        item: Some(Item { vis, name, generics }),
        input: sizes,
        output,
        layers,
        loss,
    })
}

/// `(784) -> 10 => Linear<_, 128>, Relu, Linear<_, 10>; loss = cross_entropy`
fn expression(
    input: ParseStream<'_>,
    attrs: Vec<Attribute>,
    diagnostics: &mut Diagnostics,
) -> syn::Result<Network> {
    let sizes = input_sizes(input)?;
    let output = output_sizes(input)?;
    input.parse::<Token![=>]>()?;
    let layers = layers_of(input, diagnostics);
    if input.peek(Token![;]) {
        input.parse::<Token![;]>()?;
    }
    let loss = loss(input)?;
    Ok(Network {
        attrs,
        item: None,
        input: sizes,
        output,
        layers,
        loss,
    })
}

fn input_sizes(input: ParseStream<'_>) -> syn::Result<Sizes> {
    if !input.peek(syn::token::Paren) {
        return Err(input.error("expected the sizes of an input without the batch, as in `(1, 28, 28)`"));
    }
    in_parentheses(input)
}

fn in_parentheses(input: ParseStream<'_>) -> syn::Result<Sizes> {
    let inside;
    let paren = syn::parenthesized!(inside in input);
    let span = paren.span;
    let dtype = match inside.fork().call(Ident::parse_any) {
        Ok(word) if is_dtype(&word) => Some(inside.call(Ident::parse_any)?),
        _ => None,
    };
    if dtype.is_some() && !inside.is_empty() {
        inside.parse::<Token![,]>()?;
    }
    let dims = Punctuated::<Expr, Token![,]>::parse_terminated(&inside)?;
    Ok(Sizes {
        dtype,
        dims: dims.into_iter().collect(),
        span: SourceSpan {
            start: span.open(),
            end: span.close(),
        },
    })
}

/// A name that the language uses, or refuses with a better message, as the type of elements.
fn is_dtype(word: &Ident) -> bool {
    crate::parse::dtype(word).is_some()
}

fn output_sizes(input: ParseStream<'_>) -> syn::Result<Option<Sizes>> {
    if !input.peek(Token![->]) {
        return Ok(None);
    }
    input.parse::<Token![->]>()?;
    if input.peek(syn::token::Paren) {
        return in_parentheses(input).map(Some);
    }
    // Not an expression: `CLASSES { … }` would read as the value of a struct.
    let dim: Expr = if input.peek(syn::Lit) {
        Expr::Lit(input.parse()?)
    } else if input.peek(syn::token::Brace) {
        Expr::Block(input.parse()?)
    } else {
        let path = input.call(Path::parse_mod_style)?;
        syn::parse2(path.into_token_stream())?
    };
    let span = SourceSpan::of(&dim);
    Ok(Some(Sizes {
        dtype: None,
        dims: vec![dim],
        span,
    }))
}

/// Reads layers up to the end or to a `;`; what cannot be read is reported and left out.
fn layers_of(input: ParseStream<'_>, diagnostics: &mut Diagnostics) -> Vec<Layer> {
    let mut layers = Vec::new();
    while !input.is_empty() && !input.peek(Token![;]) {
        match layer(input, diagnostics) {
            Ok(layer) => layers.push(layer),
            Err(error) => {
                diagnostics.push_syn(error);
                skip(input);
            }
        }
        if input.peek(Token![,]) && input.parse::<Token![,]>().is_ok() {
            continue;
        }
        if !input.is_empty() && !input.peek(Token![;]) {
            diagnostics.error(input.span(), "expected a comma between two layers");
            skip(input);
            let _ = input.parse::<Token![,]>();
        }
    }
    layers
}

/// Goes on to the next comma outside of angle brackets, or to the end of the layers.
fn skip(input: ParseStream<'_>) {
    let mut depth = 0_usize;
    while !input.is_empty() && !(depth == 0 && (input.peek(Token![,]) || input.peek(Token![;]))) {
        match input.parse() {
            Ok(TokenTree::Punct(punct)) if punct.as_char() == '<' => depth += 1,
            Ok(TokenTree::Punct(punct)) if punct.as_char() == '>' => depth = depth.saturating_sub(1),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn layer(input: ParseStream<'_>, diagnostics: &mut Diagnostics) -> syn::Result<Layer> {
    let attrs = input.call(Attribute::parse_outer)?;
    let name = (input.peek(syn::Ident) && input.peek2(Token![:]) && !input.peek2(Token![::]))
        .then(|| input.parse::<Ident>())
        .transpose()?;
    if name.is_some() {
        input.parse::<Token![:]>()?;
    }
    if !input.peek(syn::token::Bracket) {
        return element(input, attrs, name, diagnostics);
    }
    let inside;
    let bracket = syn::bracketed!(inside in input);
    let mut layer = element(&inside, attrs, name, diagnostics)?;
    inside.parse::<Token![;]>()?;
    layer.count = Some(inside.parse()?);
    if !inside.is_empty() {
        return Err(inside.error("expected the end of the array, as in `[Block<64>; 4]`"));
    }
    layer.span = SourceSpan {
        start: layer.name.as_ref().map_or(bracket.span.open(), Ident::span),
        end: bracket.span.close(),
    };
    Ok(layer)
}

fn element(
    input: ParseStream<'_>,
    attrs: Vec<Attribute>,
    name: Option<Ident>,
    diagnostics: &mut Diagnostics,
) -> syn::Result<Layer> {
    if !(input.peek(syn::Ident::peek_any) || input.peek(Token![::])) {
        return Err(
            input.error("expected a layer, as in `Linear<_, 10>`, `Conv2d<_, 6, 5>(padding = 2)` or `Relu`")
        );
    }
    let path = input.call(Path::parse_mod_style)?;
    let sizes: Option<AngleBracketedGenericArguments> =
        input.peek(Token![<]).then(|| input.parse()).transpose()?;
    let mut span = SourceSpan::of(&path);
    if let Some(name) = &name {
        span.start = name.span();
    }
    if let Some(sizes) = &sizes {
        span.end = sizes.gt_token.span;
    }
    let mut options = Vec::new();
    if input.peek(syn::token::Paren) {
        let inside;
        let paren = syn::parenthesized!(inside in input);
        span.end = paren.span.close();
        let given = Punctuated::<Expr, Token![,]>::parse_terminated(&inside)?;
        options = given
            .iter()
            .filter_map(|option| named_option(&path, option, diagnostics))
            .collect();
    }
    Ok(Layer {
        attrs,
        name,
        path,
        sizes,
        count: None,
        options,
        span,
    })
}

/// `name = value`; a value alone stands for the only option that a layer of the library has.
fn named_option(path: &Path, option: &Expr, diagnostics: &mut Diagnostics) -> Option<TokenStream> {
    if let Expr::Assign(_) = option {
        return Some(quote!(#option));
    }
    let layer = path.segments.last().map(|last| last.ident.unraw().to_string())?;
    let known = layers::named(&layer).map_or(&[][..], |layer| layer.options);
    if let [only] = known {
        let name = Ident::new(only, SourceSpan::of(option).start);
        return Some(quote!(#name = #option));
    }
    let error = Diagnostic::error(
        SourceSpan::of(option),
        format!("the options of `{layer}` have names"),
    );
    let error = match known {
        [] => error.help("write `name = value`, as in `Conv2d<_, 6, 5>(padding = 2)`"),
        [first, ..] => error
            .expected(format_args!("`{}`", known.join(" = …`, `") + " = …"))
            .help(format_args!(
                "write for example `{layer}({first} = {})`",
                quote!(#option)
            )),
    };
    diagnostics.push(error);
    None
}

/// `loss = mse`, or nothing.
fn loss(input: ParseStream<'_>) -> syn::Result<Option<Loss>> {
    if input.is_empty() {
        return Ok(None);
    }
    let attrs = input.call(Attribute::parse_outer)?;
    let word: Ident = input.call(Ident::parse_any)?;
    if word != "loss" {
        return Err(syn::Error::new(
            word.span(),
            "expected `loss = name`, or the end of the network",
        ));
    }
    input.parse::<Token![=]>()?;
    let name = input.parse()?;
    let mut loss = Loss {
        attrs,
        name,
        options: Vec::new(),
        labels: None,
    };
    if input.peek(syn::token::Paren) {
        let inside;
        syn::parenthesized!(inside in input);
        for option in Punctuated::<LossOption, Token![,]>::parse_terminated(&inside)? {
            match option {
                LossOption::Labels(dtype) => loss.labels = Some(dtype),
                LossOption::Other(option) => loss.options.push(*option),
            }
        }
    }
    if input.peek(Token![;]) {
        input.parse::<Token![;]>()?;
    }
    if !input.is_empty() {
        return Err(input.error("expected nothing after the loss"));
    }
    Ok(Some(loss))
}

enum LossOption {
    /// `labels = i64`
    Labels(Ident),
    /// What the function of the language knows.
    Other(Box<Expr>),
}

impl Parse for LossOption {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let word: Option<Ident> = input.fork().parse().ok();
        if word.is_none_or(|word| word != "labels") {
            let option: Expr = input.parse()?;
            if !matches!(option, Expr::Assign(_)) {
                return Err(syn::Error::new(
                    start(&option),
                    "the options of a loss have names: `name = value`",
                ));
            }
            return Ok(Self::Other(Box::new(option)));
        }
        input.parse::<Ident>()?;
        input.parse::<Token![=]>()?;
        Ok(Self::Labels(input.parse()?))
    }
}

fn start(tokens: &impl ToTokens) -> Span {
    SourceSpan::of(tokens).start
}
