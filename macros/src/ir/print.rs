//! Graphs as text: what snapshot tests and `explain` show.

use std::fmt;

use super::{Graph, Node, OutputKind, Phase};
use crate::ops::Op;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f, "")
    }
}

impl Graph {
    fn print(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let mut phase = Phase::Forward;
        for (id, node) in self.iter() {
            if node.phase != phase {
                phase = node.phase;
                writeln!(f, "{indent}-- backward --")?;
            }
            write!(f, "{indent}{id}")?;
            for (k, ty) in node.types.iter().enumerate() {
                write!(f, "{}{ty}", if k == 0 { ": " } else { ", " })?;
            }
            write!(f, " = {}", Applied(node))?;
            for (k, input) in node.inputs.iter().enumerate() {
                write!(f, "{}{input}", if k == 0 { "(" } else { ", " })?;
            }
            writeln!(
                f,
                "{}{}",
                if node.inputs.is_empty() { "" } else { ")" },
                Label(node)
            )?;
            if let Op::Scan(scan) = &node.op {
                scan.body.print(f, &format!("{indent}    "))?;
            }
        }
        for output in &self.outputs {
            writeln!(f, "{indent}{} = {}", output.kind, output.value)?;
        }
        Ok(())
    }
}

/// `name[attributes]`.
struct Applied<'a>(&'a Node);

impl fmt::Display for Applied<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = self.0.op.rule();
        let attributes = rule.attributes();
        if attributes.is_empty() {
            f.write_str(rule.name())
        } else {
            write!(f, "{}[{attributes}]", rule.name())
        }
    }
}

/// `  // scope.name`.
struct Label<'a>(&'a Node);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.0.origin;
        match (&*origin.scope, &origin.name) {
            ("", None) => Ok(()),
            ("", Some(name)) => write!(f, "  // {name}"),
            (scope, None) => write!(f, "  // {scope}"),
            (scope, Some(name)) => write!(f, "  // {scope}: {name}"),
        }
    }
}

impl fmt::Display for OutputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputKind::Result(k) => write!(f, "result {k}"),
            OutputKind::State(id) => write!(f, "new {id}"),
            OutputKind::ParamGrad(id) => write!(f, "gradient of {id}"),
            OutputKind::InputGrad(id) => write!(f, "gradient of {id}"),
            OutputKind::Next(k) => write!(f, "next {k}"),
            OutputKind::Collect(k) => write!(f, "collect {k}"),
        }
    }
}
