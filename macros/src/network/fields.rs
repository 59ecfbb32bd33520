//! The names of fields that nobody named: `conv2d_1`, `linear_1`, `linear_2`.
//!
//! PyTorch's `Sequential` numbers its layers, and a number is no name of a field. So a layer without a name is called by
//! its kind and by how many of that kind stand before it without a name: adding an activation changes no path of a weight.

use crate::map::{Map, Set};
use proc_macro2::Ident;
use quote::format_ident;
use syn::ext::IdentExt;

use super::read::Layer;

/// A name for every layer, at the layer's place.
pub fn names(layers: &[Layer]) -> Vec<Ident> {
    let given = layers.iter().filter_map(|layer| layer.name.as_ref());
    let given: Set<String> = given.map(|name| name.unraw().to_string()).collect();
    let mut counts: Map<String, usize> = Map::new();
    let name = |layer: &Layer| {
        if let Some(name) = &layer.name {
            return name.clone();
        }
        let last = layer.path.segments.last();
        let kind = last.map_or_else(
            || "layer".to_owned(),
            |last| snake(&last.ident.unraw().to_string()),
        );
        let count = counts.get_or_insert_with(kind.clone(), Default::default);
        loop {
            *count += 1;
            let name = format!("{kind}_{count}");
            if !given.contains(&name) {
                return format_ident!("{name}", span = layer.span.start);
            }
        }
    };
    layers.iter().map(name).collect()
}

/// `AvgPool2d` -> `avg_pool2d`
fn snake(name: &str) -> String {
    let mut text = String::new();
    let mut after_lower = false;
    for letter in name.chars() {
        if letter.is_uppercase() && after_lower {
            text.push('_');
        }
        after_lower = letter.is_lowercase() || letter.is_ascii_digit();
        text.extend(letter.to_lowercase());
    }
    match text.trim_matches('_') {
        "" => "layer".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::snake;

    #[test]
    fn kinds_are_written_as_rust_writes_fields() {
        for (kind, field) in [
            ("Linear", "linear"),
            ("Conv2d", "conv2d"),
            ("AvgPool2d", "avg_pool2d"),
            ("GlobalAvgPool2d", "global_avg_pool2d"),
            ("Relu6", "relu6"),
            ("LogSigmoid", "log_sigmoid"),
            ("MLP", "mlp"),
            ("__X", "x"),
            ("__", "layer"),
        ] {
            assert_eq!(snake(kind), field);
        }
    }
}
