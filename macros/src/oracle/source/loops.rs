//! What the pen can write with loops: arrays of layers, and recurrence over time.

use super::pen::{Known, Pen};
use super::size::list;

/// An array of layers, or of models, one after the other.
pub fn tower(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (rank, width) = (x.shape.len(), *x.shape.last()?);
    let fitting = pen.part.children.iter().find(|child| child.rank == rank).cloned();
    let layer = match fitting.filter(|_| pen.dice.below(2) == 0) {
        Some(child) => {
            let second = (child.n_generics > 1).then(|| pen.size());
            let sizes: Vec<_> = std::iter::once(width).chain(second).collect();
            format!("{}<{}>", child.name, list(&sizes))
        }
        None => format!("Linear<{}>", list(&[width, width])),
    };
    let count = 1 + pen.dice.below(3);
    let options = ["", "", "recompute", "freeze"][pen.dice.weighted(&[3, 3, 3, 1])];
    let field = pen.part.field("tower", options, format!("[{layer}; {count}]"));
    let name = pen.fresh();
    let (head, step) = match pen.dice.below(4) {
        0 => (
            format!("layer in self.{field}.iter().rev()"),
            format!("layer({name})"),
        ),
        1 => (
            format!("(k, layer) in self.{field}.iter().enumerate()"),
            format!("layer({name}).sin() + 0.1 * k"),
        ),
        2 => (
            format!("layer in &self.{field}"),
            format!("{name} + layer({name}).tanh()"),
        ),
        _ => (format!("layer in &self.{field}"), format!("layer({name})")),
    };
    pen.line(format!("let mut {name} = {};", x.name));
    pen.line(format!("for {head} {{"));
    pen.line(format!("    {name} = {step};"));
    pen.line("}".to_owned());
    let known = Known {
        name,
        shape: x.shape.clone(),
    };
    pen.values.push(known.clone());
    Some(known)
}

/// A recurrent cell over time; all states, in front of which the last one is a value too.
pub fn recurrence(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let [batch, _, width] = x.shape[..] else {
        return None;
    };
    let cell = pen
        .part
        .field("cell", "", format!("Linear<{}>", list(&[width, width])));
    let (carry, all) = (pen.fresh(), pen.fresh());
    let order = pen.word(&["", "", ".rev()"]);
    let activation = pen.word(&["tanh", "sin"]);
    pen.line(format!("let mut {carry} = {}.mean(axis = 1);", x.name));
    pen.line(format!("let mut {all} = Steps::new();"));
    pen.line(format!("for x_t in {}.steps(axis = 1){order} {{", x.name));
    pen.line(format!(
        "    {carry} = (x_t + self.{cell}({carry})).{activation}();"
    ));
    pen.line(format!("    {all}.push({carry});"));
    pen.line("}".to_owned());
    pen.values.push(Known {
        name: carry,
        shape: vec![batch, width],
    });
    Some(pen.bind(&format!("{all}.stack(axis = 1)"), x.shape.clone(), &x.name))
}
