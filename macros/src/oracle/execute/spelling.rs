//! The Rust spelling of a row, evaluated: the text that would be compiled, read by `syn` and walked.
//!
//! So a row whose text and meaning differ is found without a compiler, and a new row needs nothing here unless it is
//! spelled with words that no row used before.

use crate::map::Map;
use std::cell::RefCell;
use std::rc::Rc;

use syn::{BinOp, Expr, UnOp};
use tapeless_runtime::real::Real;
use tapeless_runtime::rt::Int;

use crate::ops::pointwise::Row;

/// A scalar of a group.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(super) enum Cell<T> {
    Real(T),
    Int(Int),
    Bool(bool),
}

use Cell::{Bool, Int as Whole, Real as Num};

thread_local! {
    static READ: RefCell<Map<&'static str, Rc<Expr>>> = const { RefCell::new(Map::new()) };
}

/// The spelling of a row as a tree; operands are called `operand_0`, `operand_1`, ...
fn tree(row: &'static Row) -> Rc<Expr> {
    READ.with_borrow_mut(|read| {
        let tree = read.get_or_insert_with(row.name, || {
            let mut text = row.rust.to_owned();
            for k in 0..row.signature.arity() {
                text = text.replace(&format!("{{{k}}}"), &format!("operand_{k}"));
            }
            Rc::new(
                syn::parse_str(&text)
                    .unwrap_or_else(|error| panic!("the spelling of `{}`: {error}", row.name)),
            )
        });
        tree.clone()
    })
}

/// Applies a row.
pub(super) fn evaluate<T: Real>(row: &'static Row, operands: &[Cell<T>]) -> Cell<T> {
    let tree = tree(row);
    Walk { row, operands }.expr(&tree)
}

struct Walk<'a, T> {
    row: &'static Row,
    operands: &'a [Cell<T>],
}

impl<T: Real> Walk<'_, T> {
    fn unknown(&self, what: impl std::fmt::Display) -> ! {
        panic!(
            "{what} in the spelling of `{}` is not known to oracle/execute/spelling.rs",
            self.row.name
        )
    }

    fn expr(&self, expr: &Expr) -> Cell<T> {
        match expr {
            Expr::Paren(inner) => self.expr(&inner.expr),
            Expr::Path(path) => self.path(&path.path),
            Expr::Unary(unary) => match (&unary.op, self.expr(&unary.expr)) {
                (UnOp::Neg(_), Num(x)) => Num(-x),
                (UnOp::Neg(_), Whole(x)) => Whole(-x),
                (UnOp::Not(_), Bool(x)) => Bool(!x),
                _ => self.unknown("a unary operator"),
            },
            Expr::Binary(binary) => {
                self.binary(&binary.op, self.expr(&binary.left), self.expr(&binary.right))
            }
            Expr::If(choice) => {
                let Bool(condition) = self.expr(&choice.cond) else {
                    self.unknown("a condition that is not bool")
                };
                let otherwise = choice.else_branch.as_ref().map(|(_, expr)| self.expr(expr));
                let chosen = self.block(&choice.then_branch);
                if condition {
                    chosen
                } else {
                    otherwise.unwrap_or_else(|| self.unknown("`if` without `else`"))
                }
            }
            Expr::Block(block) => self.block(&block.block),
            Expr::MethodCall(call) => {
                let args: Vec<Cell<T>> = call.args.iter().map(|arg| self.expr(arg)).collect();
                self.method(&call.method.to_string(), self.expr(&call.receiver), &args)
            }
            Expr::Call(call) => {
                let Expr::Path(path) = &*call.func else {
                    self.unknown("a call")
                };
                let args: Vec<&Expr> = call.args.iter().collect();
                let [arg] = args[..] else {
                    self.unknown("a call of several arguments")
                };
                self.function(&last_two(&path.path), arg)
            }
            _ => self.unknown("an expression"),
        }
    }

    fn block(&self, block: &syn::Block) -> Cell<T> {
        match &block.stmts[..] {
            [syn::Stmt::Expr(expr, None)] => self.expr(expr),
            _ => self.unknown("a block of statements"),
        }
    }

    fn path(&self, path: &syn::Path) -> Cell<T> {
        let name = last_two(path);
        if let Some(k) = name.strip_prefix("operand_") {
            return self.operands[k.parse::<usize>().expect("the number of an operand")];
        }
        match name.as_str() {
            "T::ZERO" => Num(T::ZERO),
            "T::ONE" => Num(T::ONE),
            "T::NAN" => Num(T::NAN),
            "T::INFINITY" => Num(T::INFINITY),
            other => self.unknown(other),
        }
    }

    fn function(&self, name: &str, arg: &Expr) -> Cell<T> {
        if let ("T::from_f64", Some(value)) = (name, literal(arg)) {
            return Num(T::from_f64(value));
        }
        match (name, self.expr(arg)) {
            ("T::from_i64", Whole(x)) => Num(T::from_i64(x.0)),
            ("i64::from", Bool(x)) => Whole(Int(i64::from(x))),
            ("i64::from" | "Int::from", Whole(x)) => Whole(x),
            ("Int::from", Bool(x)) => Whole(Int::from(x)),
            ("Int::from", Num(x)) => Whole(Int::from(x.to_f64())),
            _ => self.unknown(name),
        }
    }

    fn binary(&self, op: &BinOp, a: Cell<T>, b: Cell<T>) -> Cell<T> {
        match (op, a, b) {
            (BinOp::Add(_), Num(a), Num(b)) => Num(a + b),
            (BinOp::Sub(_), Num(a), Num(b)) => Num(a - b),
            (BinOp::Mul(_), Num(a), Num(b)) => Num(a * b),
            (BinOp::Div(_), Num(a), Num(b)) => Num(a / b),
            (BinOp::Add(_), Whole(a), Whole(b)) => Whole(a + b),
            (BinOp::Sub(_), Whole(a), Whole(b)) => Whole(a - b),
            (BinOp::Mul(_), Whole(a), Whole(b)) => Whole(a * b),
            (BinOp::BitAnd(_), Bool(a), Bool(b)) => Bool(a & b),
            (BinOp::BitOr(_), Bool(a), Bool(b)) => Bool(a | b),
            (BinOp::BitXor(_), Bool(a), Bool(b)) => Bool(a ^ b),
            (op, Num(a), Num(b)) => self.compare(op, &a, &b),
            (op, Whole(a), Whole(b)) => self.compare(op, &a, &b),
            (op, Bool(a), Bool(b)) => self.compare(op, &a, &b),
            _ => self.unknown("an operator between kinds"),
        }
    }

    fn compare<C: PartialOrd>(&self, op: &BinOp, a: &C, b: &C) -> Cell<T> {
        Bool(match op {
            BinOp::Gt(_) => a > b,
            BinOp::Ge(_) => a >= b,
            BinOp::Lt(_) => a < b,
            BinOp::Le(_) => a <= b,
            BinOp::Eq(_) => a == b,
            BinOp::Ne(_) => a != b,
            _ => self.unknown("a binary operator"),
        })
    }

    fn method(&self, name: &str, receiver: Cell<T>, args: &[Cell<T>]) -> Cell<T> {
        match (receiver, args) {
            (Num(x), []) => match name {
                "is_finite" => Bool(x.is_finite()),
                _ => Num(self.unary(name, x)),
            },
            (Num(x), &[Num(y)]) => Num(match name {
                "max" => x.max(y),
                "min" => x.min(y),
                "pow" => x.pow(y),
                _ => self.unknown(name),
            }),
            (Whole(x), []) => Whole(match name {
                "abs" => x.abs(),
                "sign" => x.sign(),
                _ => self.unknown(name),
            }),
            (Whole(x), &[Whole(y)]) => Whole(match name {
                "max" => x.max(y),
                "min" => x.min(y),
                _ => self.unknown(name),
            }),
            _ => self.unknown(name),
        }
    }

    fn unary(&self, name: &str, x: T) -> T {
        match name {
            "recip" => x.recip(),
            "sqrt" => x.sqrt(),
            "rsqrt" => x.rsqrt(),
            "exp" => x.exp(),
            "log" => x.log(),
            "log1p" => x.log1p(),
            "expm1" => x.expm1(),
            "sin" => x.sin(),
            "cos" => x.cos(),
            "tan" => x.tan(),
            "tanh" => x.tanh(),
            "sigmoid" => x.sigmoid(),
            "erf" => x.erf(),
            "abs" => x.abs(),
            "floor" => x.floor(),
            "ceil" => x.ceil(),
            "round" => x.round(),
            "sign" => x.sign(),
            "relu" => x.relu(),
            "softplus" => x.softplus(),
            _ => self.unknown(name),
        }
    }
}

/// The last two segments of a path, or the one that there is.
fn last_two(path: &syn::Path) -> String {
    let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
    names[names.len().saturating_sub(2)..].join("::")
}

fn literal(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Lit(literal) => match &literal.lit {
            syn::Lit::Float(x) => x.base10_parse().ok(),
            syn::Lit::Int(x) => x.base10_parse().ok(),
            _ => None,
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => literal(&unary.expr).map(|x| -x),
        Expr::Paren(inner) => literal(&inner.expr),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::pointwise;
    use crate::oracle::interpret::{Element, evaluate as formula, operands_of};

    #[test]
    fn the_spelling_of_every_row_means_what_its_formula_says() {
        for row in pointwise::rows() {
            for operands in operands_of(row) {
                let cells: Vec<Cell<f64>> = operands
                    .iter()
                    .map(|operand| match *operand {
                        Element::Float(x) => Num(x),
                        Element::Int(x) => Whole(Int(x)),
                        Element::Bool(x) => Bool(x),
                    })
                    .collect();
                let (got, want) = (evaluate(row, &cells), formula(row.name, &operands));
                let agree = match (got, want) {
                    (Num(x), Some(Element::Float(y))) => (x - y).abs() <= 1e-12 * y.abs().max(1.0),
                    (Whole(x), Some(Element::Int(y))) => x.0 == y,
                    (Bool(x), Some(Element::Bool(y))) => x == y,
                    _ => false,
                };
                assert!(
                    agree,
                    "`{}` of {operands:?}: {got:?} instead of {want:?}",
                    row.name
                );
            }
        }
    }
}
