//! The pen: writes one function of one model, statement by statement.

use super::size::{Size, tensor};
use crate::oracle::generate::Dice;

/// A struct and its impl, as far as they are written.
pub struct Part {
    /// The type's name.
    pub name: &'static str,
    /// Its const generics.
    pub generics: Vec<&'static str>,
    /// Its fields: attribute, name, type.
    pub fields: Vec<(String, String, String)>,
    /// Its functions.
    pub functions: Vec<String>,
    /// Models that may be its layers.
    pub children: Vec<Child>,
    /// `Linear` fields by name with both sizes, whose weights other expressions can use.
    pub linears: Vec<(String, Size, Size)>,
}

/// A model that is used as a layer: `Name<D>`, or `Name<D, H>` with a free second size.
#[derive(Clone)]
pub struct Child {
    /// The type's name.
    pub name: &'static str,
    /// Number of its const generics; the first is the width.
    pub n_generics: usize,
    /// Number of axes of what it maps to its like.
    pub rank: usize,
}

impl Part {
    pub fn new(name: &'static str, generics: &[&'static str], children: Vec<Child>) -> Self {
        Self {
            name,
            generics: generics.to_vec(),
            fields: Vec::new(),
            functions: Vec::new(),
            children,
            linears: Vec::new(),
        }
    }

    /// Adds a field called `stem` and a number, and gives its name.
    pub fn field(&mut self, stem: &str, options: &str, ty: String) -> String {
        let used = self
            .fields
            .iter()
            .filter(|(_, name, _)| name.starts_with(stem))
            .count();
        let name = format!("{stem}{used}");
        let attribute = match options {
            "" => String::new(),
            "freeze" | "recompute" => format!("#[{options}]"),
            options => format!("#[layer({options})]"),
        };
        self.fields.push((attribute, name.clone(), ty));
        name
    }

    /// Struct and impl, formatted as rustfmt does.
    pub fn items(&self) -> [String; 2] {
        let (params, args) = match self.generics.is_empty() {
            true => (String::new(), String::new()),
            false => {
                let params: Vec<String> = self
                    .generics
                    .iter()
                    .map(|name| format!("const {name}: usize"))
                    .collect();
                (
                    format!("<{}>", params.join(", ")),
                    format!("<{}>", self.generics.join(", ")),
                )
            }
        };
        let functions = self.functions.join("\n");
        if self.fields.is_empty() {
            return [
                format!("pub struct {}{params} {{}}\n", self.name),
                format!("impl{params} {}{args} {{\n{functions}}}\n", self.name),
            ];
        }
        let mut structure = format!("pub struct {}{params} {{\n", self.name);
        for (attribute, name, ty) in &self.fields {
            if !attribute.is_empty() {
                structure += &format!("    {attribute}\n");
            }
            structure += &format!("    {name}: {ty},\n");
        }
        structure += "}\n";
        let implementation = format!("impl{params} {}{args} {{\n{functions}}}\n", self.name);
        [structure, implementation]
    }
}

/// A float tensor that has a name.
#[derive(Clone, PartialEq, Debug)]
pub struct Known {
    pub name: String,
    pub shape: Vec<Size>,
}

/// Whether the function has the host argument `rate`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Rate {
    Given,
    Missing,
}

/// Writes the body of a function.
pub struct Pen<'a> {
    pub dice: &'a mut Dice,
    pub part: &'a mut Part,
    pub values: Vec<Known>,
    pub rate: Rate,
    /// Sizes that new axes may have.
    pub sizes: Vec<Size>,
    lines: Vec<String>,
    n_bindings: usize,
}

impl<'a> Pen<'a> {
    pub fn new(
        dice: &'a mut Dice,
        part: &'a mut Part,
        args: Vec<Known>,
        rate: Rate,
        sizes: Vec<Size>,
    ) -> Self {
        Self {
            dice,
            part,
            values: args,
            rate,
            sizes,
            lines: Vec::new(),
            n_bindings: 0,
        }
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.dice.below(n) == 0
    }

    /// One of some words.
    pub fn word(&mut self, words: &[&'static str]) -> &'static str {
        words[self.dice.below(words.len())]
    }

    /// A size for a new axis.
    pub fn size(&mut self) -> Size {
        self.sizes[self.dice.below(self.sizes.len())]
    }

    /// A name that nothing has yet.
    pub fn fresh(&mut self) -> String {
        const NAMES: [&str; 6] = ["hidden", "mixed", "next", "inner", "state", "part"];
        let k = self.n_bindings;
        self.n_bindings += 1;
        match k / NAMES.len() {
            0 => NAMES[k].to_owned(),
            round => format!("{}{}", NAMES[k % NAMES.len()], round + 1),
        }
    }

    /// Writes a statement.
    pub fn line(&mut self, line: String) {
        self.lines.push(line);
    }

    /// Binds an expression to a new name, or, every third time, to that of a value that it hides from then on.
    pub fn bind(&mut self, expression: &str, shape: Vec<Size>, from: &str) -> Known {
        let name = if self.one_in(3) && self.values.len() > 1 {
            self.values.retain(|known| known.name != from);
            from.to_owned()
        } else {
            self.fresh()
        };
        self.line(format!("let {name} = {expression};"));
        let known = Known { name, shape };
        self.values.push(known.clone());
        known
    }

    /// The last value, or now and then the one before it.
    pub fn recent(&mut self) -> Known {
        let n = self.values.len();
        let back = usize::from(n > 1 && self.one_in(6));
        self.values[n - 1 - back].clone()
    }

    /// Another value of that shape.
    pub fn like(&mut self, x: &Known) -> Option<Known> {
        let found: Vec<Known> = self
            .values
            .iter()
            .filter(|y| y.shape == x.shape && y.name != x.name)
            .cloned()
            .collect();
        (!found.is_empty()).then(|| found[self.dice.below(found.len())].clone())
    }

    /// The last value of a rank.
    pub fn last_of_rank(&self, rank: usize) -> Known {
        let mut found = self.values.iter().rev();
        found
            .find(|known| known.shape.len() == rank)
            .expect("arguments are never hidden without an heir")
            .clone()
    }

    /// Finishes the function: signature, statements, result.
    pub fn finish(self, signature: Signature, result: &str) {
        let mut text = signature.text();
        for line in self.lines {
            text += &format!("        {line}\n");
        }
        text += &format!("        {result}\n    }}\n");
        self.part.functions.push(text);
    }
}

/// What stands before a body.
pub struct Signature {
    /// `pub fn` or `fn`, and the name.
    pub head: String,
    /// Dynamic dimensions.
    pub dims: Vec<&'static str>,
    /// The receiver and arguments with types.
    pub args: Vec<String>,
    /// The type of the result.
    pub result: String,
}

impl Signature {
    /// A function from tensors to a tensor.
    pub fn new(head: &str, dims: &[&'static str], args: Vec<String>, result: &[Size]) -> Self {
        Self {
            head: head.to_owned(),
            dims: dims.to_vec(),
            args,
            result: tensor(result),
        }
    }

    /// In one line if it fits as deep as it will stand, else an argument a line.
    fn text(&self) -> String {
        let dims: Vec<String> = self.dims.iter().map(|dim| format!("{dim}: Dim")).collect();
        let generics = match dims.is_empty() {
            true => String::new(),
            false => format!("<{}>", dims.join(", ")),
        };
        let (head, args, result) = (&self.head, self.args.join(", "), &self.result);
        let line = format!("    {head}{generics}({args}) -> {result} {{\n");
        // A module of `tests/random` indents it by four more; the line break does not count.
        if line.len() + 3 <= 110 {
            return line;
        }
        let args: String = self.args.iter().map(|arg| format!("        {arg},\n")).collect();
        format!("    {head}{generics}(\n{args}    ) -> {result} {{\n")
    }
}

/// `x: Tensor<B, 5>`
pub fn argument(known: &Known) -> String {
    format!("{}: {}", known.name, tensor(&known.shape))
}
