//! The bindings of buffers: where values lie, as emitted.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

use super::{Part, dtype};
use crate::emit::names::IsNew;
use crate::ir::{Type, Value};
use crate::plan::{Operand, Place};

/// How a function gets at its buffers.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(super) enum Access<'a> {
    /// By calls, so that its code stays small.
    Called,
    /// By code in its place. Some slots lie on the stack, from these bytes on, where all dynamic sizes are 1.
    Inlined(&'a [Option<usize>]),
}

impl Access<'_> {
    /// Where on the stack a slot may lie.
    fn local(self, slot: usize) -> Option<usize> {
        match self {
            Self::Called => None,
            Self::Inlined(locals) => locals.get(slot).copied().flatten(),
        }
    }
}

/// What a binding stands for. Two values of one slot (the second written over the first) are two bindings.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Binding {
    Value(Value),
    Scratch(usize, usize),
}

impl Part<'_> {
    /// The binding of a stored value that is read; the first use in this function makes it.
    pub(super) fn read(&mut self, operand: &Operand) -> Ident {
        let writer = self
            .plan
            .kernels
            .iter()
            .flat_map(|k| &k.writes)
            .find(|w| w.value == operand.value);
        match writer {
            Some(written) => {
                let (name, ty) = (written.name.clone(), written.ty.clone());
                self.value(operand.value, &name, &ty)
            }
            None => {
                let leaf = self.plan.leaves[&operand.value].clone();
                self.value(operand.value, &leaf.name, &leaf.ty)
            }
        }
    }

    pub(super) fn value(&mut self, value: Value, name: &str, ty: &Type) -> Ident {
        let place = self.plan.places[&value];
        let around = self.around;
        let wanted = match place {
            Place::Input(k) => around.inputs[k].clone(),
            Place::Param(k) => around.params[k].clone(),
            Place::Grad(k) => format!("{}_grad", around.params[k]),
            Place::State(k) => around.states[k].clone(),
            Place::Direction(k) => format!("{}_direction", around.params[k]),
            Place::NewState(k) => format!("{}_new", around.states[k]),
            Place::Slot(_) => name.to_owned(),
        };
        let (ident, new) = self.names.get(&Binding::Value(value), &wanted);
        if new == IsNew::Yes {
            let source = self.source(value, place, ty);
            self.bind(&ident, source);
        }
        ident
    }

    /// The memory of a value: a place, or a part of one.
    fn source(&mut self, value: Value, place: Place, ty: &Type) -> TokenStream {
        let (home, offset) = self.plan.home(value);
        if home == value {
            return self.place(place, ty);
        }
        let whole = self.place(place, &self.plan.stored_type(home).clone());
        let (start, len) = (self.spelling.dim(&offset), self.spelling.dim(&ty.numel()));
        quote!(#whole.at(#start, #len))
    }

    pub(super) fn place(&mut self, place: Place, ty: &Type) -> TokenStream {
        let len = self.spelling.dim(&ty.numel());
        let dtype = dtype(self.around.rt, ty.dtype);
        let index = match place {
            Place::Slot(k)
            | Place::Input(k)
            | Place::Param(k)
            | Place::Grad(k)
            | Place::Direction(k)
            | Place::State(k)
            | Place::NewState(k) => k,
        };
        let k = Literal::usize_unsuffixed(index);
        // Who knows the places, and what it is told beside them.
        let (on, at, cx) = match self.access {
            Access::Called => (quote!(cx), None, None),
            Access::Inlined(_) => (quote!(on), Some(quote!(at,)), Some(quote!(cx,))),
        };
        match place {
            Place::Slot(slot) if self.plan.slots[slot].pack.is_some() => quote!(#on.packed(#cx #k)),
            Place::Slot(slot) => match self.access.local(slot) {
                Some(local) => {
                    let local = Literal::usize_unsuffixed(local);
                    quote!(#on.local(#at #k, #local, #dtype, #len))
                }
                None => quote!(#on.slot(#at #k, #dtype, #len)),
            },
            Place::Input(_) => quote!(#on.input(#k, #dtype, #len)),
            Place::Param(_) => quote!(#on.param(#at #k, #len)),
            Place::Grad(_) => quote!(#on.grad(#at #k, #len)),
            Place::State(_) => quote!(#on.state(#cx #k, #len)),
            Place::Direction(_) => quote!(#on.direction(#at #k, #len)),
            Place::NewState(_) => quote!(#on.new_state(#cx #k, #len)),
        }
    }

    pub(super) fn scratch(&mut self, k: usize, n: usize) -> Ident {
        let (ident, new) = self.names.get(&Binding::Scratch(k, n), "scratch");
        if new == IsNew::Yes {
            let (dtype, len) = self.plan.kernels[k].scratch[n].clone();
            let source = self.place(Place::Slot(self.plan.scratch[k][n]), &Type::new(dtype, vec![len]));
            self.bind(&ident, source);
        }
        ident
    }

    pub(super) fn bind(&mut self, ident: &Ident, source: TokenStream) {
        self.lines += 1;
        self.body.extend(quote!(let #ident = #source;));
    }
}
