//! The trees of correct models.

use super::{accept_impl, accept_struct, errors};
use crate::ast::*;

fn dim(arg: &DimArg) -> String {
    match arg {
        DimArg::Infer(_) => "_".to_owned(),
        DimArg::Expr(expr) => dim_expr(expr),
    }
}

fn dim_expr(expr: &DimExpr) -> String {
    let pair = |op, a, b| format!("({} {op} {})", dim_expr(a), dim_expr(b));
    match &expr.kind {
        DimExprKind::Lit(value) => value.to_string(),
        DimExprKind::Name(name) => name.to_string(),
        DimExprKind::Add(a, b) => pair("+", a, b),
        DimExprKind::Sub(a, b) => pair("-", a, b),
        DimExprKind::Mul(a, b) => pair("*", a, b),
        DimExprKind::Div(a, b) => pair("/", a, b),
        DimExprKind::Opaque(expr) => format!("`{}`", quote::quote!(#expr)),
        DimExprKind::Error(_) => "error".to_owned(),
    }
}

fn dims(args: &[DimArg]) -> String {
    args.iter().map(dim).collect::<Vec<_>>().join(", ")
}

fn kind(kind: &FieldKind) -> String {
    match kind {
        FieldKind::Layer { path, args } => format!("{}<{}>", quote::quote!(#path), dims(args)),
        FieldKind::Param { dims: d } => format!("Param {}", dims(d)),
        FieldKind::State { dims: d } => format!("State {}", dims(d)),
        FieldKind::Array { elem, count, .. } => format!("[{}; {}]", self::kind(elem), dim_expr(count)),
        FieldKind::Error(_) => "error".to_owned(),
    }
}

/// The expression with its structure made visible by parentheses.
fn show(expr: &Expr) -> String {
    let list = |exprs: &[Expr]| exprs.iter().map(show).collect::<Vec<_>>().join(", ");
    let call = |args: &[Expr], options: &[OptionArg]| {
        let named = options
            .iter()
            .map(|option| format!("{} = {}", option.name, show(&option.value)));
        args.iter().map(show).chain(named).collect::<Vec<_>>().join(", ")
    };
    match &expr.kind {
        ExprKind::Lit(lit) => format!("{lit:?}"),
        ExprKind::Name(name) => name.to_string(),
        ExprKind::Path(path) => quote::quote!(#path).to_string().replace(' ', ""),
        ExprKind::SelfRef => "self".to_owned(),
        ExprKind::Field { base, name } => format!("{}.{name}", show(base)),
        ExprKind::TupleIndex { base, index } => format!("{}.{index}", show(base)),
        ExprKind::Tuple(parts) => format!("tuple({})", list(parts)),
        ExprKind::Array(parts) => format!("[{}]", list(parts)),
        ExprKind::Unary { op, operand } => format!("{op:?}({})", show(operand)),
        ExprKind::Binary { op, left, right, .. } => format!("{op:?}({}, {})", show(left), show(right)),
        ExprKind::MethodCall {
            base,
            method,
            args,
            options,
        } => {
            format!("{}.{method}({})", show(base), call(args, options))
        }
        ExprKind::Call {
            callee,
            args,
            options,
        } => {
            format!(
                "{}({})",
                quote::quote!(#callee).to_string().replace(' ', ""),
                call(args, options)
            )
        }
        ExprKind::Range { start, end, limits } => {
            let show = |end: &Option<Box<Expr>>| end.as_ref().map(|end| show(end)).unwrap_or_default();
            format!("{limits:?}({}..{})", show(start), show(end))
        }
        ExprKind::Block(inner) => block(inner),
        ExprKind::If { cond, then, else_ } => {
            let other = else_.as_ref().map(|other| show(other)).unwrap_or_default();
            format!("if {} {} else {other}", show(cond), block(then))
        }
        ExprKind::Cast { operand, ty } => format!("{} as {ty:?}", show(operand)),
        ExprKind::For { pattern, iter, body } => {
            format!("for {} in {} {}", self::pattern(pattern), show(iter), block(body))
        }
        ExprKind::Error(_) => "error".to_owned(),
    }
}

fn pattern(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Name { name, mutable } => format!("{}{name}", if mutable.is_some() { "mut " } else { "" }),
        Pattern::Tuple(parts, _) => {
            format!(
                "({})",
                parts.iter().map(self::pattern).collect::<Vec<_>>().join(", ")
            )
        }
        Pattern::Wild => "_".to_owned(),
        Pattern::Error(_) => "error".to_owned(),
    }
}

fn block(block: &Block) -> String {
    let mut shown: Vec<String> = block.stmts.iter().map(stmt).collect();
    shown.extend(block.tail.as_ref().map(|tail| show(tail)));
    format!("{{ {} }}", shown.join(" "))
}

fn stmt(stmt: &Stmt) -> String {
    match stmt {
        Stmt::Let { pattern, value, .. } => format!("let {} = {};", self::pattern(pattern), show(value)),
        Stmt::Assign {
            target: AssignTarget::Name(name),
            value,
            ..
        } => format!("{name} = {};", show(value)),
        Stmt::Assign {
            target: AssignTarget::Field { base, name },
            value,
            ..
        } => {
            format!("{}.{name} = {};", show(base), show(value))
        }
        Stmt::Expr(expr) => format!("{};", show(expr)),
    }
}

/// The body of a function whose source is `body`.
fn body(body: &str) -> String {
    let source = format!("impl M {{ fn f<B: Dim>(&self, x: Tensor<B>) -> Tensor<B> {{ {body} }} }}");
    block(&accept_impl(&source).functions[0].body)
}

#[test]
fn a_struct_keeps_its_fields_with_sizes_and_options() {
    let model = accept_struct(
        "/// LeNet.
        #[allow(unused)]
        pub struct Net<const D: usize, const H: usize> {
            /// The first.
            #[layer(padding = 1, bias = false, init = normal(0.0, 0.02))]
            pub conv: Conv2d<3, 16, 3>,
            fc: zoo::Linear<_, CLASSES>,
            up: Linear<D, { 4 * D + zoo::PAD - H / 2 }>,
            #[freeze] weight: Param<D, { heads(D) }>,
            mean: State<D>,
            blocks: [Block<D, H>; 4],
            act: Relu,
        }",
    );
    assert_eq!(model.name, "Net");
    assert_eq!(model.attrs.len(), 2);
    assert_eq!(
        model
            .generics
            .iter()
            .map(|generic| generic.name.to_string())
            .collect::<Vec<_>>(),
        ["D", "H"]
    );
    let kinds: Vec<String> = model.fields.iter().map(|field| kind(&field.kind)).collect();
    assert_eq!(
        kinds,
        [
            "Conv2d<3, 16, 3>",
            "zoo :: Linear<_, CLASSES>",
            "Linear<D, (((4 * D) + `zoo :: PAD`) - (H / 2))>",
            "Param D, `heads (D)`",
            "State D",
            "[Block<D, H>; 4]",
            "Relu<>",
        ]
    );
    let options = &model.fields[0].options;
    let options: Vec<String> = options
        .iter()
        .map(|option| format!("{} = {}", option.name, show(&option.value)))
        .collect();
    assert_eq!(
        options,
        [
            "padding = Int(1)",
            "bias = Bool(false)",
            "init = normal(Float(0.0), Float(0.02))"
        ]
    );
    let frozen: Vec<bool> = model.fields.iter().map(|field| field.frozen.is_some()).collect();
    assert_eq!(frozen, [false, false, false, true, false, false, false]);
}

#[test]
fn a_model_may_have_no_fields() {
    assert!(accept_struct("struct Swish;").fields.is_empty());
    assert!(accept_struct("pub(crate) struct Swish {}").fields.is_empty());
}

#[test]
fn the_functions_of_the_design_are_read() {
    let model = accept_impl(
        "impl Mnist {
            /// Class scores.
            pub fn logits<B: Dim>(&self, image: Tensor<B, 1, 28, 28>) -> Tensor<B, CLASSES> {
                let hidden = self.fc1(image.flatten()).relu();
                self.fc2(hidden.dropout(0.2))
            }
            pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 28, 28>, label: Tensor<u8, B>) -> Scalar {
                cross_entropy(self.logits(image), label)
            }
        }",
    );
    let [logits, loss] = model.functions.as_slice() else {
        panic!("there are two functions")
    };
    assert!(matches!(logits.receiver, Receiver::SelfRef));
    assert_eq!(
        block(&logits.body),
        "{ let hidden = self.fc1(image.flatten()).relu(); self.fc2(hidden.dropout(Float(0.2))) }"
    );
    assert_eq!(block(&loss.body), "{ cross_entropy(self.logits(image), label) }");
    let ValueType::Tensor(label) = &loss.args[1].ty else {
        panic!("`label` is a tensor")
    };
    assert_eq!(
        (label.dtype, dims(&label.dims)),
        (TensorDtype::U8, "B".to_owned())
    );
    let ReturnType::Tensor(scores) = &logits.ret else {
        panic!("`logits` returns a tensor")
    };
    assert_eq!(
        (scores.dtype, dims(&scores.dims)),
        (TensorDtype::Float, "B, CLASSES".to_owned())
    );
    assert!(matches!(loss.ret, ReturnType::Scalar(_)));
}

#[test]
fn a_signature_keeps_bounds_kinds_and_attributes() {
    let model = accept_impl(
        "impl<const A: usize, const C: usize> zoo::Net<C, A> {
            #[model(grad = \"eval\", max_memory = \"1 MiB\", dims(H = 32))]
            #[must_use]
            fn f<B: Dim, H: tapeless::Dim + MultipleOf<{ 2 * C }>>(
                &self, #[grad] x: &Tensor<B, H>, mut y: Scalar, rate: f32, causal: bool, steps: usize,
            ) -> (Tensor<bool, B>, (Scalar, Tensor<i64, H>)) { g(x, y) }
            fn g(x: Tensor<5>) -> Tensor<u32> { x }
        }",
    );
    assert_eq!(
        model
            .self_args
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["C", "A"]
    );
    assert_eq!(model.generics[0].name, "A");
    let f = &model.functions[0];
    assert_eq!((f.options.grad, f.attrs.len()), (GradMode::Eval, 1));
    assert_eq!(f.options.max_memory.unwrap().bytes, 1 << 20);
    assert_eq!(
        (
            f.options.dims[0].name.to_string(),
            dim_expr(&f.options.dims[0].value)
        ),
        ("H".into(), "32".into())
    );
    let divisors: Vec<_> = f
        .dims
        .iter()
        .map(|dim| dim.multiple_of.as_ref().map(dim_expr))
        .collect();
    assert_eq!(divisors, [None, Some("(2 * C)".to_owned())]);
    assert_eq!(
        f.args.iter().map(|arg| arg.grad.is_some()).collect::<Vec<_>>(),
        [true, false, false, false, false]
    );
    assert_eq!(
        f.args.iter().map(|arg| arg.mutable.is_some()).collect::<Vec<_>>(),
        [false, true, false, false, false]
    );
    let hosts = f.args.iter().map(|arg| match &arg.ty {
        ValueType::Host(host, _) => Some(*host),
        _ => None,
    });
    let hosts: Vec<_> = hosts.collect();
    assert_eq!(
        hosts,
        [
            None,
            None,
            Some(HostType::F32),
            Some(HostType::Bool),
            Some(HostType::Usize)
        ]
    );
    let ReturnType::Tuple(parts, _) = &f.ret else {
        panic!("`f` returns a tuple")
    };
    assert!(matches!(
        &parts[..],
        [ReturnType::Tensor(_), ReturnType::Tuple(..)]
    ));
    assert!(matches!(model.functions[1].receiver, Receiver::None));
}

#[test]
fn operators_bind_as_in_rust_and_leave_no_parentheses() {
    assert_eq!(
        body("-x + (1.0 - x) * 2.0"),
        "{ Add(Neg(x), Mul(Sub(Float(1.0), x), Float(2.0))) }"
    );
    assert_eq!(
        body("!(x < 3) && &x >= y || z != 1"),
        "{ Or(And(Not(Lt(x, Int(3))), Ge(x, y)), Ne(z, Int(1))) }"
    );
    assert_eq!(body("x % 2 == 0"), "{ Eq(Rem(x, Int(2)), Int(0)) }");
    assert_eq!(body("x / 2.5f32"), "{ Div(x, Float(2.5)) }");
}

#[test]
fn arguments_by_position_and_by_name_are_told_apart() {
    assert_eq!(
        body("x.sum(axes = [2, 3], keep = true)"),
        "{ x.sum(axes = [Int(2), Int(3)], keep = Bool(true)) }"
    );
    assert_eq!(
        body("concat((a, b), axis = 1)"),
        "{ concat(tuple(a, b), axis = Int(1)) }"
    );
    assert_eq!(
        body("einsum(\"ij,jk->ik\", a, b)"),
        "{ einsum(Str(\"ij,jk->ik\"), a, b) }"
    );
    assert_eq!(
        body("x.slice(.., 0..3, ..=n)"),
        "{ x.slice(HalfOpen(..), HalfOpen(Int(0)..Int(3)), Closed(..n)) }"
    );
}

#[test]
fn statements_bind_assign_and_loop() {
    assert_eq!(
        body("let mut y: Tensor<B> = x; let (a, _) = f(y).0; y += a; self.mean = y; y"),
        "{ let mut y = x; let (a, _) = f(y).0; y = Add(y, a); self.mean = y; y }"
    );
    assert_eq!(
        body("for block in &self.blocks { x = block(x); } x"),
        "{ for block in self.blocks { x = block(x); }; x }"
    );
    assert_eq!(
        body("let mut ys = Steps::new(); for x in xs.steps(axis = 1) { ys.push(x); } ys.stack(axis = 1)"),
        "{ let mut ys = Steps::new(); for x in xs.steps(axis = Int(1)) { ys.push(x); }; ys.stack(axis = Int(1)) }"
    );
    assert_eq!(
        body("if causal { a } else if b { c } else { { x } }"),
        "{ if causal { a } else if b { c } else { { x } } }"
    );
    assert_eq!(
        body("x as f32 + zoo::SCALE * (n as usize);; y as u8"),
        "{ Add(x as Tensor(Float), Mul(zoo::SCALE, n as Usize)); y as Tensor(U8) }"
    );
    assert_eq!(
        body("self.fc1.weight.transpose()"),
        "{ self.fc1.weight.transpose() }"
    );
}

#[test]
fn tokens_from_a_macro_are_read_through_their_invisible_groups() {
    use proc_macro2::{Delimiter, Group};
    let dims: proc_macro2::TokenStream = "4 + 1".parse().unwrap();
    let dims = Group::new(Delimiter::None, dims);
    let model: proc_macro2::TokenStream = quote::quote! { struct M { fc: Linear<{ #dims * 2 }, _> } };
    let mut diagnostics = crate::diag::Diagnostics::new();
    let model = crate::parse::structure(Default::default(), model, &mut diagnostics).unwrap();
    assert!(diagnostics.finish().is_ok());
    assert_eq!(kind(&model.fields[0].kind), "Linear<((4 + 1) * 2), _>");
}

#[test]
fn the_options_of_a_model_are_read() {
    let (item, found) = errors(
        "crate = ::my::tapeless, max_memory = \"64 MiB\", dims(B = 32, T = 2 * LEN)",
        "impl M { fn f<B: Dim, T: Dim>(&self, x: Tensor<B, T>) -> Scalar { x.sum() } }",
    );
    assert_eq!(found, []);
    let Some(Item::Impl(model)) = item else {
        panic!("this is an impl")
    };
    let path = model.options.crate_path.unwrap();
    assert_eq!(
        quote::quote!(#path).to_string().replace(' ', ""),
        "::my::tapeless"
    );
    assert_eq!(model.options.max_memory.unwrap().bytes, 64 << 20);
    let sizes: Vec<String> = model
        .options
        .dims
        .iter()
        .map(|dim| dim_expr(&dim.value))
        .collect();
    assert_eq!(sizes, ["32", "(2 * LEN)"]);
}
