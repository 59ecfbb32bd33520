//! What a product or a convolution does last, as emitted.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::{Buffers, Part};
use crate::plan::Epilogue;

impl Part<'_> {
    /// `rt::Epilogue::NONE.bias(b).activation(rt::Activation::Relu)`.
    pub(super) fn epilogue(&mut self, epilogue: &Epilogue, buffers: &Buffers<'_>) -> TokenStream {
        let rt = self.around.rt;
        let bias = epilogue.bias.map(|k| {
            let bias = self.buffer(buffers, k);
            quote!(.bias(#bias))
        });
        let residual = epilogue.residual.map(|k| {
            let residual = self.buffer(buffers, k);
            quote!(.residual(#residual))
        });
        let activation = epilogue.activation.map(|name| {
            let name = format_ident!("{name}");
            quote!(.activation(#rt::Activation::#name))
        });
        quote!(#rt::Epilogue::NONE #bias #residual #activation)
    }
}
