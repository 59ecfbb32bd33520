//! Functions: their signatures, and inlining.

use crate::map::Map;

use proc_macro2::Ident;

use crate::ast::{
    Arg, DimArg, DimExprKind, Function, HostType, ReturnType, TensorDtype, TensorType, ValueType,
};
use crate::diag::SourceSpan;
use crate::ir::{DType, Type, Value};
use crate::lower::call::Given;
use crate::lower::expr::dtype_of;
use crate::lower::object::Object;
use crate::lower::sizes::{Names, SizeError};
use crate::lower::tree::InstanceId;
use crate::lower::work::{Frame, Work};
use crate::shape::{self, Dim};

impl<'a> Work<'_, 'a, '_> {
    /// A frame in which the model's const generics have their values.
    pub fn frame(
        &self,
        instance: InstanceId,
        function: &'a Function,
        outer: Option<SourceSpan>,
    ) -> Frame<'a> {
        let (mut sizes, mut renamed) = (Map::new(), Map::new());
        if let Some(model) = self.tree.model(instance) {
            let declared = model.model.structure.generics.iter().zip(&model.generics);
            for (name, (generic, value)) in model.model.implementation.self_args.iter().zip(declared) {
                sizes.insert(name.to_string(), value.clone());
                if *name != generic.name {
                    renamed.insert(name.to_string(), generic.name.clone());
                }
            }
        }
        Frame {
            instance,
            function,
            sizes,
            renamed,
            scopes: vec![Vec::new()],
            barrier: 0,
            outer,
        }
    }

    /// Inlines a call of a function of the model `instance`.
    pub fn inline(
        &mut self,
        frame: &Frame<'a>,
        instance: InstanceId,
        index: usize,
        given: Given<'a>,
        span: SourceSpan,
    ) -> Object {
        let Some(model) = self.tree.model(instance) else {
            return self.poisoned();
        };
        let function = &model.model.implementation.functions[index];
        if instance == 0 {
            self.log.reached.insert(index);
        }
        if self.stack.contains(&(instance, index)) {
            return self.recursion(frame, instance, index, span);
        }
        let Some(args) = self.arrange(frame, instance, function, given, span) else {
            return Object::Poison;
        };
        let outer = if instance == frame.instance {
            frame.outer
        } else {
            Some(frame.place(span))
        };
        let mut callee = self.frame(instance, function, outer);
        if !self.bind_dims(frame, &mut callee, &args) {
            return Object::Poison;
        }
        let mut is_sound = true;
        for (arg, (object, place)) in function.args.iter().zip(args) {
            is_sound &= self.check_arg(frame, &callee, arg, &object, place);
            callee.bind(&arg.name, object, self.depth(), arg.mutable);
        }
        if !is_sound {
            return Object::Poison;
        }
        let caller = self.b.origin.clone();
        self.b.origin.scope = self.tree.instances[instance].path.clone();
        self.stack.push((instance, index));
        let value = self.block(&mut callee, &function.body);
        let value = self.returned(&callee, value);
        self.stack.pop();
        self.b.origin = caller;
        if let Object::Tensor(value) = value
            && function.name == "forward"
        {
            self.note_shape(instance, value);
        }
        value
    }

    fn recursion(
        &mut self,
        frame: &Frame<'a>,
        instance: InstanceId,
        index: usize,
        span: SourceSpan,
    ) -> Object {
        let name = |&(instance, index): &(InstanceId, usize)| {
            let function = self
                .tree
                .model(instance)
                .map(|model| &model.model.implementation.functions[index].name);
            function.map(ToString::to_string).unwrap_or_default()
        };
        let start = self
            .stack
            .iter()
            .position(|call| *call == (instance, index))
            .unwrap_or(0);
        let chain: Vec<String> = self.stack[start..]
            .iter()
            .chain([&(instance, index)])
            .map(name)
            .collect();
        let message = format!("`{}` calls itself", name(&(instance, index)));
        let error = self
            .error(frame, span, message)
            .note(format!("the calls are {}", chain.join(" -> ")));
        self.report(error.help("functions are inlined, so a call cannot come back to one of its callers"))
    }

    /// Brings the arguments into the order of the signature.
    fn arrange(
        &mut self,
        frame: &Frame<'a>,
        instance: InstanceId,
        function: &'a Function,
        given: Given<'a>,
        span: SourceSpan,
    ) -> Option<Vec<(Object, SourceSpan)>> {
        let title = match instance {
            id if id == frame.instance => format!("`{}`", function.name),
            id => format!("`{}` of {}", function.name, self.tree.title(id)),
        };
        let n_given = given.positional.len() + given.named.len();
        let names: Vec<String> = function.args.iter().map(|arg| arg.name.to_string()).collect();
        if n_given != names.len() {
            let count = |n: usize| {
                if n == 1 {
                    "1 argument".to_owned()
                } else {
                    format!("{n} arguments")
                }
            };
            let error = self.error(frame, span, format!("{title} takes {}", count(names.len())));
            let error = error.expected(format!("{}({})", function.name, names.join(", ")));
            self.report(error.found(count(n_given)));
            return None;
        }
        let mut args: Vec<Option<(Object, SourceSpan)>> = given.positional.into_iter().map(Some).collect();
        args.resize_with(names.len(), || None);
        for (name, object, place) in given.named {
            match names.iter().position(|known| name == known) {
                Some(position) if args[position].is_none() => args[position] = Some((object, place)),
                Some(_) => {
                    self.fail(
                        frame,
                        place,
                        format!("{title}: the argument `{name}` is given twice"),
                    );
                    return None;
                }
                None => {
                    let error = self.error(frame, place, format!("{title} has no argument `{name}`"));
                    self.report(error.note(format!("its arguments are {}", names.join(", "))));
                    return None;
                }
            }
        }
        let args: Vec<_> = args.into_iter().flatten().collect();
        if args.iter().any(|(object, _)| object.is_poison()) {
            return None;
        }
        Some(args)
    }

    /// Reads the callee's dynamic dimensions off its arguments.
    fn bind_dims(
        &mut self,
        frame: &Frame<'a>,
        callee: &mut Frame<'a>,
        args: &[(Object, SourceSpan)],
    ) -> bool {
        let function = callee.function;
        for dim in &function.dims {
            let mut found = None;
            for (arg, (object, place)) in function.args.iter().zip(args) {
                let (ValueType::Tensor(ty), Object::Tensor(value)) = (&arg.ty, object) else {
                    continue;
                };
                let shape = self.b.shape(*value);
                let axis = bare_axis(ty, &dim.name);
                if let Some(size) = axis.and_then(|axis| shape.get(axis)) {
                    found = Some((self.b.constraints.resolve(size), *place));
                    break;
                }
            }
            let Some((size, place)) = found else {
                // The rank of the argument is wrong, which is said below, or the signature is, which is said there.
                let is_bare = function.args.iter().any(|arg| is_bare_in(arg, &dim.name));
                if !is_bare {
                    // Said where the signature was read.
                    self.poisoned();
                    return false;
                }
                let name = dim.name.to_string();
                let symbol = Dim::dynamic(&name);
                callee.sizes.insert(name, symbol);
                continue;
            };
            if let Some(multiple) = &dim.multiple_of {
                let Some(multiple) = self.size_of(callee, multiple) else {
                    return false;
                };
                let divisor = Dim::lit(multiple.as_lit().unwrap_or(0));
                if size.divide_exact(&divisor).is_none() {
                    let message = format!(
                        "`{}` needs `{}` to be a multiple of {multiple}",
                        function.name, dim.name
                    );
                    let error = self.error(frame, place, message).found(format!("{size}"));
                    let help = format!("bound the dimension: `{size}: Dim + MultipleOf<{multiple}>`");
                    self.report(if size.has_dynamic() {
                        error.help(help)
                    } else {
                        error
                    });
                    return false;
                }
            }
            callee.sizes.insert(dim.name.to_string(), size);
        }
        true
    }

    /// Evaluates a size in the source of `frame`'s function.
    pub fn size_of(&mut self, frame: &Frame<'a>, expr: &crate::ast::DimExpr) -> Option<Dim> {
        let names = Names {
            sizes: &frame.sizes,
            renamed: &frame.renamed,
        };
        match self.tree.size(frame.instance, expr, &names) {
            Ok(size) => Some(size),
            Err(SizeError::Because(message)) => {
                self.fail(frame, expr.span, message);
                None
            }
            Err(SizeError::Reported) => {
                self.poisoned();
                None
            }
        }
    }

    /// The declared shape; `None` stands for `_`.
    fn declared(&mut self, frame: &Frame<'a>, ty: &TensorType) -> Option<Vec<Option<Dim>>> {
        let size = |work: &mut Self, arg: &DimArg| match arg {
            DimArg::Infer(_) => Some(None),
            DimArg::Expr(expr) => work.size_of(frame, expr).map(Some),
        };
        ty.dims.iter().map(|arg| size(self, arg)).collect()
    }

    /// Whether a value has the type that an argument declares; reports at the caller's `place` if not.
    fn check_arg(
        &mut self,
        frame: &Frame<'a>,
        callee: &Frame<'a>,
        arg: &'a Arg,
        object: &Object,
        place: SourceSpan,
    ) -> bool {
        let owner = match callee.instance {
            id if id == frame.instance => String::new(),
            id => format!("{}: ", self.tree.title(id)),
        };
        let what = format!("{owner}the argument `{}` of `{}`", arg.name, callee.function.name);
        let layer = (callee.instance != frame.instance).then_some(callee.instance);
        match (&arg.ty, object) {
            (_, Object::Poison) => false,
            (ValueType::Error(_), _) => {
                self.poisoned();
                false
            }
            (ValueType::Tensor(ty), Object::Tensor(value)) => {
                let Some(declared) = self.declared(callee, ty) else {
                    return false;
                };
                match self.mismatch(ty.dtype, &declared, *value) {
                    None => self.settle(frame, place, layer),
                    Some((expected, found)) => {
                        let error = self.error(frame, place, format!("{what} has another type"));
                        let error = error.expected(expected).found(found);
                        let error = match layer {
                            Some(id) => self.note_solutions(error, id),
                            None => error,
                        };
                        self.report(error);
                        false
                    }
                }
            }
            (ValueType::Host(ty, _), object) => {
                let fits = match (ty, object) {
                    (HostType::F32, object) => {
                        object.scalar().is_some() && !matches!(object, Object::Host(_, HostType::Bool))
                    }
                    (HostType::Bool, Object::Host(_, HostType::Bool)) => true,
                    (HostType::Usize, Object::Size(_) | Object::Host(_, HostType::Usize)) => true,
                    _ => false,
                };
                if !fits {
                    let name = host_name(*ty);
                    let error = self.error(frame, place, format!("{what} is of type `{name}`"));
                    self.report(error.found(object.describe()));
                }
                fits
            }
            (ValueType::Tensor(_), other) => {
                let error = self.error(frame, place, format!("{what} is a tensor"));
                self.report(error.found(other.describe()));
                false
            }
        }
    }

    /// Expected and found type where a tensor is not of the declared type; sizes that only rustc can compare, and `_`,
    /// are left to the constraints.
    pub fn mismatch(
        &mut self,
        dtype: TensorDtype,
        declared: &[Option<Dim>],
        value: Value,
    ) -> Option<(String, String)> {
        let ty = self.b.ty(value).clone();
        let same_kind = ty.dtype == dtype_of(dtype);
        let fits = declared.len() == ty.rank()
            && declared
                .iter()
                .zip(&ty.shape)
                .all(|(declared, found)| match declared {
                    Some(size) => self.b.constraints.equal(size, found),
                    None => true,
                });
        if same_kind && fits {
            return None;
        }
        let sizes: Vec<String> = declared
            .iter()
            .map(|size| size.as_ref().map_or("_".to_owned(), Dim::to_string))
            .collect();
        let kind = |dtype: DType| {
            if same_kind {
                String::new()
            } else {
                dtype.to_string()
            }
        };
        let expected = format!("{}[{}]", kind(dtype_of(dtype)), sizes.join(", "));
        Some((
            expected,
            format!("{}{}", kind(ty.dtype), shape::display(&ty.shape)),
        ))
    }

    /// The value of a `let` with a type.
    pub fn annotated(
        &mut self,
        frame: &Frame<'a>,
        span: SourceSpan,
        object: Object,
        ty: &ValueType,
    ) -> Object {
        let (ty, value) = match (ty, object) {
            (_, Object::Poison) => return Object::Poison,
            (ValueType::Error(_), _) => return self.poisoned(),
            (ValueType::Tensor(ty), Object::Tensor(value)) => (ty, value),
            (ValueType::Host(HostType::F32, _), object) if object.scalar().is_some() => {
                return object.scalar().map_or(Object::Poison, Object::number);
            }
            (ValueType::Host(HostType::Bool, _), object @ Object::Host(_, HostType::Bool)) => return object,
            (
                ValueType::Host(HostType::Usize, _),
                object @ (Object::Size(_) | Object::Host(_, HostType::Usize)),
            ) => {
                return object;
            }
            (ValueType::Tensor(ty), object) => {
                let error = self.error(frame, span, "this is not the tensor that is declared");
                return self.report(error.found(object.describe()).at(ty.span, "the declared type"));
            }
            (ValueType::Host(ty, place), object) => {
                let error = self.error(
                    frame,
                    span,
                    format!("this is not of the declared type `{}`", host_name(*ty)),
                );
                return self.report(error.found(object.describe()).at(*place, "the declared type"));
            }
        };
        let Some(declared) = self.declared(frame, ty) else {
            return Object::Poison;
        };
        match self.mismatch(ty.dtype, &declared, value) {
            None if self.settle(frame, span, None) => Object::Tensor(value),
            None => Object::Poison,
            Some((expected, found)) => {
                let error = self.error(frame, span, "the value has another type than the `let` declares");
                self.report(
                    error
                        .expected(expected)
                        .found(found)
                        .at(ty.span, "the declared type"),
                )
            }
        }
    }

    /// The value that a function returns, checked against its declared type.
    pub fn returned(&mut self, frame: &Frame<'a>, value: Object) -> Object {
        let tail = frame
            .function
            .body
            .tail
            .as_ref()
            .map_or(frame.function.body.span, |tail| tail.span);
        self.checked_return(frame, value, &frame.function.ret, tail)
    }

    fn checked_return(
        &mut self,
        frame: &Frame<'a>,
        object: Object,
        ret: &'a ReturnType,
        span: SourceSpan,
    ) -> Object {
        let name = &frame.function.name;
        match (ret, object) {
            (ReturnType::Error(_), _) => self.poisoned(),
            (_, Object::Poison) => Object::Poison,
            (ReturnType::Tuple(types, _), Object::Tuple(parts)) if types.len() == parts.len() => {
                let parts = types.iter().zip(parts);
                Object::Tuple(
                    parts
                        .map(|(ty, part)| self.checked_return(frame, part, ty, span))
                        .collect(),
                )
            }
            (ReturnType::Scalar(place), object) => {
                let value = match object {
                    Object::Tensor(value) => Some(value),
                    other => other.scalar().map(|number| {
                        self.b.origin.span = frame.place(span);
                        self.b.push(
                            crate::ops::fill::Fill {
                                value: number,
                                ty: Type::scalar(),
                            },
                            &[],
                        )
                    }),
                };
                let declared = (TensorDtype::Float, Vec::new(), *place);
                self.checked_tensor(
                    frame,
                    value.map_or(Object::unit(), Object::Tensor),
                    declared,
                    span,
                )
            }
            (ReturnType::Tensor(ty), object) => {
                let Some(declared) = self.declared(frame, ty) else {
                    return Object::Poison;
                };
                self.checked_tensor(frame, object, (ty.dtype, declared, ty.span), span)
            }
            (ReturnType::Tuple(types, place), other) => {
                let error = self.error(
                    frame,
                    span,
                    format!("`{name}` returns a tuple of {}", types.len()),
                );
                let found = match &other {
                    Object::Tuple(parts) => format!("a tuple of {}", parts.len()),
                    other => other.describe().to_owned(),
                };
                self.report(error.found(found).at(*place, "the declared type"))
            }
        }
    }

    fn checked_tensor(
        &mut self,
        frame: &Frame<'a>,
        object: Object,
        (dtype, declared, place): (TensorDtype, Vec<Option<Dim>>, SourceSpan),
        span: SourceSpan,
    ) -> Object {
        let name = &frame.function.name;
        let Object::Tensor(value) = object else {
            let error = self
                .error(frame, span, format!("`{name}` returns a tensor"))
                .found(object.describe());
            let error = match object {
                Object::Tuple(parts) if parts.is_empty() => error.help("the last line has no semicolon"),
                _ => error,
            };
            return self.report(error.at(place, "the declared type"));
        };
        match self.mismatch(dtype, &declared, value) {
            None if self.settle(frame, span, None) => Object::Tensor(value),
            None => Object::Poison,
            Some((expected, found)) => {
                let error = self.error(
                    frame,
                    span,
                    format!("`{name}` returns another type than it declares"),
                );
                self.report(
                    error
                        .expected(expected)
                        .found(found)
                        .at(place, "the declared type"),
                )
            }
        }
    }
}

/// The axis of a type that is just this dimension.
pub fn bare_axis(ty: &TensorType, name: &Ident) -> Option<usize> {
    ty.dims.iter().position(|arg| match arg {
        DimArg::Expr(expr) => matches!(&expr.kind, DimExprKind::Name(found) if found == name),
        DimArg::Infer(_) => false,
    })
}

fn is_bare_in(arg: &Arg, name: &Ident) -> bool {
    matches!(&arg.ty, ValueType::Tensor(ty) if bare_axis(ty, name).is_some())
}

fn host_name(ty: HostType) -> &'static str {
    match ty {
        HostType::F32 => "f32",
        HostType::Bool => "bool",
        HostType::Usize => "usize",
    }
}
