//! Pointwise groups as types.
//!
//! ```text
//! /// gt + select
//! struct HiddenGradGroup;
//!
//! impl rt::Pointwise<2, 0, 0, 1, 0, 0, 0> for HiddenGradGroup {
//!     #[inline(always)]
//!     fn eval<T: rt::Real>(f: [T; 2], _: [rt::Int; 0], _: [bool; 0], _: &[f64; 0]) -> ([T; 1], [rt::Int; 0], [bool; 0]) {
//!         let [hidden, fc2_grad] = f;
//!         let gt = (hidden > T::ZERO);
//!         let hidden_grad = (if gt { fc2_grad } else { T::ZERO });
//!         ([hidden_grad], [], [])
//!     }
//! }
//! ```
//!
//! Groups of equal code are one type, however many layers use it.

use crate::map::Map;
use std::fmt::Write;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use super::names::{Names, camel};
use crate::ir::{DType, Scalar};
use crate::ops::pointwise::Row;
use crate::plan::{Group, Kernel, LineCode};

/// The group types of one model.
pub(super) struct GroupTypes {
    rt: TokenStream,
    by_code: Map<String, Ident>,
    names: Names<String>,
    items: Vec<TokenStream>,
}

/// The kinds of elements, in the order of the arrays of the emitted form.
pub(super) const KINDS: [DType; 3] = [DType::Float, DType::Int, DType::Bool];

impl GroupTypes {
    /// No groups yet. `reserved` are names of the user's that are in use where the groups will stand.
    pub(super) fn new(rt: TokenStream, reserved: impl IntoIterator<Item = String>) -> Self {
        Self {
            rt,
            by_code: Map::new(),
            names: Names::avoiding(reserved),
            items: Vec::new(),
        }
    }

    /// The type that computes the group of a kernel.
    pub(super) fn get(&mut self, kernel: &Kernel, group: &Group) -> Ident {
        let code = code_without_names(kernel, group);
        if let Some(ident) = self.by_code.get(&code) {
            return ident.clone();
        }
        let body = Body::new(&self.rt, kernel, group);
        let name = self
            .names
            .get(&code, &format!("{}Group", camel(&kernel.writes[0].name)))
            .0;
        let (title, signature, body) = (format!(" {}", kernel.title), body.signature(&name), body.tokens());
        self.items.push(quote! {
            #[doc = #title]
            struct #name;
            #signature { #body }
        });
        self.by_code.insert(code, name.clone());
        name
    }

    /// The name of an item beside the groups, which belongs to the function `of`: several functions may want the same one.
    pub(super) fn name(&mut self, of: &Ident, wanted: &str) -> Ident {
        self.names.get(&format!("item {of}"), wanted).0
    }

    /// The items of all groups.
    pub(super) fn into_items(self) -> TokenStream {
        self.items.into_iter().collect()
    }
}

/// What the code of a group is a function of: names of bindings are for readers, and equal code is found without them.
fn code_without_names(kernel: &Kernel, group: &Group) -> String {
    let mut text = String::new();
    for line in &group.lines {
        let _ = match &line.code {
            LineCode::Load(_) => write!(text, "{:?} load; ", line.dtype),
            LineCode::Scalar(scalar) => {
                let scalar = &group.scalars[*scalar];
                let place = passed_scalars(group).iter().position(|passed| *passed == scalar);
                let literal = scalar.as_lit().map(f64::to_bits);
                write!(text, "{:?} scalar {place:?} {literal:?}; ", line.dtype)
            }
            LineCode::Row(row, operands) => {
                write!(text, "{:?} {} {} {operands:?}; ", line.dtype, row.name, row.rust)
            }
        };
    }
    let kinds = kernel.writes.iter().map(|written| written.ty.dtype);
    let results: Vec<_> = group.results.iter().zip(kinds).collect();
    let n_passed = passed_scalars(group).len();
    text + &format!("{:?} {results:?} {n_passed}", group.loads)
}

/// The host scalars of a group that are passed at run time; literals stand in the code.
pub(super) fn passed_scalars(group: &Group) -> Vec<&Scalar> {
    group
        .scalars
        .iter()
        .filter(|scalar| scalar.as_lit().is_none())
        .collect()
}

/// A group of one operation, or of none: a constant.
pub(super) struct Single<'a> {
    row: Option<&'a Row>,
    /// The lines of its operands; those of a constant are the constant.
    pub(super) operands: &'a [usize],
}

impl<'a> Single<'a> {
    /// The only operation of a group.
    pub(super) fn of(group: &'a Group) -> Option<Self> {
        let mut rows = group.lines.iter().filter_map(|line| match &line.code {
            LineCode::Row(row, operands) => Some((*row, operands.as_slice())),
            _ => None,
        });
        match (rows.next(), rows.next(), group.results.as_slice()) {
            (Some((row, operands)), None, [_]) => Some(Self {
                row: Some(row),
                operands,
            }),
            (None, None, operands @ [_]) => Some(Self { row: None, operands }),
            _ => None,
        }
    }

    /// Whether it takes no numbers; a constant takes nothing else.
    pub(super) fn is_of_tensors(&self, group: &Group) -> bool {
        let is_number = |&k: &usize| matches!(group.lines[k].code, LineCode::Scalar(_));
        self.row.is_none() || !self.operands.iter().any(is_number)
    }

    /// The runtime's name of the operation: `Mul`, `MulInt`, `SelectBool`.
    pub(super) fn name(&self, group: &Group) -> Ident {
        let last = self.operands.last().expect("every row has operands");
        row_name(self.row.map_or("fill", |row| row.name), group.lines[*last].dtype)
    }
}

/// The runtime's name of a row whose last operand is of a kind; the last, because selection begins with a truth value.
fn row_name(row: &str, kind: DType) -> Ident {
    let kind = match kind {
        DType::Float => "",
        DType::Int => "Int",
        DType::Bool => "Bool",
    };
    format_ident!("{}{kind}", camel(row))
}

struct Body<'a> {
    rt: &'a TokenStream,
    kernel: &'a Kernel,
    group: &'a Group,
    idents: Vec<Ident>,
}

impl<'a> Body<'a> {
    fn new(rt: &'a TokenStream, kernel: &'a Kernel, group: &'a Group) -> Self {
        let mut names = Names::avoiding([]);
        let name = |(k, line): (usize, &crate::plan::Line)| match &line.code {
            LineCode::Row(row, _) if !group.results.contains(&k) => names.get(&k, row.name).0,
            _ => names.get(&k, &line.name).0,
        };
        let idents = group.lines.iter().enumerate().map(name).collect();
        Self {
            rt,
            kernel,
            group,
            idents,
        }
    }

    /// `impl rt::Pointwise<2, 0, 0, 1, 0, 0, 0> for Name`.
    fn signature(&self, name: &Ident) -> TokenStream {
        let rt = self.rt;
        let inputs = KINDS.map(|kind| self.loads(kind).len());
        let outputs = KINDS.map(|kind| self.results(kind).len());
        let counts = inputs
            .iter()
            .chain(&outputs)
            .copied()
            .chain([passed_scalars(self.group).len()]);
        let counts = counts.map(proc_macro2::Literal::usize_unsuffixed);
        quote!(impl #rt::Pointwise<#(#counts),*> for #name)
    }

    /// The lines that load operands of a kind.
    fn loads(&self, kind: DType) -> Vec<usize> {
        self.group
            .loads
            .iter()
            .copied()
            .filter(|&line| self.group.lines[line].dtype == kind)
            .collect()
    }

    /// The lines that give results of a kind.
    fn results(&self, kind: DType) -> Vec<usize> {
        let of_kind = |(result, written): (&usize, &crate::plan::Written)| {
            (written.ty.dtype == kind).then_some(*result)
        };
        self.group
            .results
            .iter()
            .zip(&self.kernel.writes)
            .filter_map(of_kind)
            .collect()
    }

    fn tokens(&self) -> TokenStream {
        let rt = self.rt;
        let [f, i, b] = KINDS.map(|kind| self.loads(kind));
        let [fo, io, bo] = KINDS.map(|kind| self.results(kind));
        let n = |lines: &Vec<usize>| proc_macro2::Literal::usize_unsuffixed(lines.len());
        let s = passed_scalars(self.group).len();
        let (nf, ni, nb, nfo, nio, nbo) = (n(&f), n(&i), n(&b), n(&fo), n(&io), n(&bo));
        let ns = proc_macro2::Literal::usize_unsuffixed(s);
        let arg = |name: &str, used: bool| {
            if used {
                format_ident!("{name}")
            } else {
                format_ident!("_{name}")
            }
        };
        let (fa, ia, ba, sa) = (
            arg("f", !f.is_empty()),
            arg("i", !i.is_empty()),
            arg("b", !b.is_empty()),
            arg("s", s > 0),
        );
        let unpack = [(&fa, &f), (&ia, &i), (&ba, &b)].map(|(arg, lines)| {
            let names = lines.iter().map(|&line| &self.idents[line]);
            (!lines.is_empty()).then(|| quote!(let [#(#names),*] = #arg;))
        });
        let rows = self.group.lines.iter();
        let functions = rows.filter(|line| matches!(&line.code, LineCode::Row(row, _) if row.is_function()));
        let functions = match functions.count() {
            0 => None,
            n => {
                let n = proc_macro2::Literal::usize_unsuffixed(n);
                Some(quote!(const FUNCTIONS: usize = #n;))
            }
        };
        let lines = (0..self.group.lines.len()).filter_map(|k| self.line(k));
        let list = |lines: &[usize]| {
            let names = lines.iter().map(|&line| &self.idents[line]);
            quote!([#(#names),*])
        };
        let (fo, io, bo) = (list(&fo), list(&io), list(&bo));
        quote! {
            #functions
            #[inline(always)]
            fn eval<T: #rt::Real>(
                #fa: [T; #nf], #ia: [#rt::Int; #ni], #ba: [bool; #nb], #sa: &[f64; #ns]
            ) -> ([T; #nfo], [#rt::Int; #nio], [bool; #nbo]) {
                #(#unpack)*
                #(#lines)*
                (#fo, #io, #bo)
            }
        }
    }

    fn line(&self, k: usize) -> Option<TokenStream> {
        let line = &self.group.lines[k];
        let value = match &line.code {
            LineCode::Load(_) => return None,
            // Numbers stand where they are used, unless they are all there is.
            LineCode::Scalar(_) if !self.group.results.contains(&k) => return None,
            LineCode::Scalar(scalar) => self.scalar(*scalar, line.dtype),
            LineCode::Row(row, operands) => {
                let mut text = row.rust.to_owned();
                for (n, operand) in operands.iter().enumerate() {
                    text = text.replace(&format!("{{{n}}}"), &self.operand(*operand));
                }
                let text = text
                    .strip_prefix('(')
                    .and_then(|t| t.strip_suffix(')'))
                    .filter(|t| balanced(t))
                    .unwrap_or(&text);
                text.parse()
                    .expect("spellings of the pointwise table are Rust expressions")
            }
        };
        let name = &self.idents[k];
        Some(quote!(let #name = #value;))
    }

    /// An operand as text: a binding, or a number.
    fn operand(&self, k: usize) -> String {
        match self.group.lines[k].code {
            LineCode::Scalar(scalar) => self.scalar(scalar, self.group.lines[k].dtype).to_string(),
            _ => self.idents[k].to_string(),
        }
    }

    fn scalar(&self, index: usize, dtype: DType) -> TokenStream {
        let (rt, scalar) = (self.rt, &self.group.scalars[index]);
        match (scalar.as_lit(), dtype) {
            (Some(0.0), DType::Float) => quote!(T::ZERO),
            (Some(1.0), DType::Float) => quote!(T::ONE),
            (Some(value), DType::Bool) => {
                let truth = value != 0.0;
                quote!(#truth)
            }
            (literal, _) => {
                let value = match literal {
                    Some(_) => scalar.to_tokens(),
                    None => {
                        let place = passed_scalars(self.group).iter().position(|s| *s == scalar);
                        let place = place.expect("a scalar without a literal is passed");
                        quote!(s[#place])
                    }
                };
                match dtype {
                    DType::Float => quote!(T::from_f64(#value)),
                    DType::Int => quote!(#rt::Int::from(#value)),
                    DType::Bool => quote!((#value != 0.0)),
                }
            }
        }
    }
}

/// True where every closing parenthesis has its opening one in the text, so that outer ones may go.
fn balanced(text: &str) -> bool {
    let mut depth = 0i32;
    text.chars().all(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        depth >= 0
    }) && depth == 0
}

#[cfg(test)]
mod tests {
    use crate::map::Set;

    use super::*;
    use crate::ops::pointwise::{Signature, rows};

    /// Every row of the table at every kind of operands has its name in the runtime, and the runtime has no others.
    #[test]
    fn the_runtime_has_every_row() {
        let fills = KINDS.map(|kind| row_name("fill", kind).to_string());
        let spelled = rows().flat_map(|row| {
            let kinds: &[DType] = match row.signature {
                Signature::Float(_) => &[DType::Float],
                Signature::Number(_) => &[DType::Float, DType::Int],
                Signature::Compare | Signature::Select => &KINDS,
                Signature::Logic(_) => &[DType::Bool],
                Signature::ToFloat => &[DType::Int, DType::Bool],
                Signature::ToInt => &[DType::Float, DType::Bool],
            };
            kinds.iter().map(|kind| row_name(row.name, *kind).to_string())
        });
        let spelled: Set<String> = spelled.chain(fills).collect();
        let there = tapeless_runtime::rt::Row::ALL
            .iter()
            .map(|row| format!("{row:?}"));
        assert_eq!(spelled, there.collect());
    }
}
