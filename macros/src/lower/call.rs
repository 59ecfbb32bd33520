//! Calls: of operations, of layers, and of functions of models.

use proc_macro2::Ident;
use quote::quote;

use crate::ast::{Expr, OptionArg, Receiver};
use crate::diag::{Diagnostic, SourceSpan};
use crate::ir::scalar::ScalarFn;
use crate::ir::{Args, Form, Scalar, ShapeError, Surface};
use crate::layers::Layer;
use crate::lower::names::nearest;
use crate::lower::object::Object;
use crate::lower::tree::{InstanceId, Kind, LayerInstance, TensorRef};
use crate::lower::work::{Frame, Use, Work};
use crate::ops;
use crate::shape::Dim;

/// The arguments of a call.
#[derive(Default)]
pub struct Given<'a> {
    /// By position, with their places.
    pub positional: Vec<(Object, SourceSpan)>,
    /// By name.
    pub named: Vec<(&'a Ident, Object, SourceSpan)>,
}

impl Given<'_> {
    /// Whether an argument is the result of a mistake.
    pub fn is_poison(&self) -> bool {
        self.positional.iter().any(|(object, _)| object.is_poison())
            || self.named.iter().any(|(_, object, _)| object.is_poison())
    }
}

impl<'a> Work<'_, 'a, '_> {
    fn given(&mut self, frame: &mut Frame<'a>, args: &'a [Expr], options: &'a [OptionArg]) -> Given<'a> {
        let positional = args.iter().map(|arg| (self.expr(frame, arg), arg.span)).collect();
        let named = options
            .iter()
            .map(|option| (&option.name, self.expr(frame, &option.value), option.span))
            .collect();
        Given { positional, named }
    }

    /// `base.method(..)`.
    pub fn method_call(
        &mut self,
        frame: &mut Frame<'a>,
        (base, method): (&'a Expr, &'a Ident),
        args: &'a [Expr],
        options: &'a [OptionArg],
        span: SourceSpan,
    ) -> Object {
        let receiver = self.expr(frame, base);
        let given = self.given(frame, args, options);
        match receiver {
            Object::Poison => Object::Poison,
            Object::Instance(id) if matches!(self.tree.instances[id].kind, Kind::Array(_)) => {
                self.iteration_method(frame, (receiver, base.span), method, given, span)
            }
            Object::Instance(id) => self.call_on_layer(frame, id, method, given, span),
            Object::Iteration(_) | Object::Range(..) => {
                self.iteration_method(frame, (receiver, base.span), method, given, span)
            }
            Object::Steps(id) => self.collection_method(frame, (id, base), method, given, span),
            Object::Tensor(value) if self.b.is_poison(value) => Object::Poison,
            Object::Tensor(value) if method == "size" => {
                let shape = self.b.shape(value);
                self.axis_size(frame, &shape, &given, span)
            }
            Object::Tensor(value) if method == "steps" => self.steps(frame, value, &given, span),
            Object::Tensor(_) if method == "iter" => {
                let error = self.error(frame, method.span().into(), "tensors have no method `iter`");
                self.report(error.help("`x.steps(axis = 0)` gives the slices along an axis"))
            }
            Object::Tensor(_) => {
                let Some(surface) = surface(&method.to_string(), Form::Method) else {
                    return self.unknown_operation(frame, method, Form::Method);
                };
                self.surface(frame, surface, Some((receiver, base.span)), given, span)
            }
            other => match other.scalar() {
                Some(scalar) => self.host_method(frame, scalar, method, &given, span),
                None => {
                    let place = SourceSpan::from(method.span());
                    self.fail(
                        frame,
                        place,
                        format!("{} has no method `{method}`", other.describe()),
                    )
                }
            },
        }
    }

    /// `callee(..)`: a variable that is a layer, a helper of the model, or an operation.
    pub fn call(
        &mut self,
        frame: &mut Frame<'a>,
        callee: &'a syn::Path,
        args: &'a [Expr],
        options: &'a [OptionArg],
        span: SourceSpan,
    ) -> Object {
        let given = self.given(frame, args, options);
        let names: Vec<&Ident> = callee.segments.iter().map(|segment| &segment.ident).collect();
        let (name, is_own) = match names.as_slice() {
            [name] => (*name, false),
            [owner, name] if *owner == "Self" => (*name, true),
            [owner, name] if *owner == "Steps" && *name == "new" => {
                return self.new_collection(frame, &given, span);
            }
            _ => {
                let text = quote!(#callee).to_string().replace(' ', "");
                let error = self.error(
                    frame,
                    SourceSpan::of(callee),
                    format!("there is no operation `{text}`"),
                );
                return self
                    .report(error.note("a model calls its layers, its own functions, and operations"));
            }
        };
        let text = name.to_string();
        if !is_own && let Some(variable) = self.variable(frame, &text) {
            return match variable {
                Object::Instance(id) => self.forward(frame, id, given, span),
                Object::Poison => Object::Poison,
                other => self.fail(
                    frame,
                    name.span().into(),
                    format!("`{text}` is {}, not a layer", other.describe()),
                ),
            };
        }
        let model = self.tree.model(frame.instance).map(|model| model.model);
        let functions = model.map_or(&[][..], |model| &model.implementation.functions);
        if let Some(index) = functions.iter().position(|function| function.name == text) {
            if matches!(functions[index].receiver, Receiver::SelfRef) {
                let error = self.error(
                    frame,
                    name.span().into(),
                    format!("`{text}` is a function of the model"),
                );
                return self.report(error.help(format!("write `self.{text}(..)`")));
            }
            return self.inline(frame, frame.instance, index, given, span);
        }
        match surface(&text, Form::Function) {
            Some(surface) if !is_own => self.surface(frame, surface, None, given, span),
            _ => self.unknown_operation(frame, name, Form::Function),
        }
    }

    /// `self.fc1(x)`, `self.logits(x)`, `self.enc.embed(x)`.
    fn call_on_layer(
        &mut self,
        frame: &mut Frame<'a>,
        id: InstanceId,
        method: &'a Ident,
        given: Given<'a>,
        span: SourceSpan,
    ) -> Object {
        let place = SourceSpan::from(method.span());
        let name = method.to_string();
        let model = match &self.tree.instances[id].kind {
            Kind::Model(model) => model,
            Kind::Poison => return self.poisoned(),
            Kind::Layer(_) | Kind::Unsolved if method == "forward" => {
                return self.forward(frame, id, given, span);
            }
            Kind::Unsolved => {
                self.note_layer_use(id, &given);
                return self.poisoned();
            }
            Kind::Layer(_) | Kind::Param(_) | Kind::State(_) | Kind::Array(_) => {
                let title = self.tree.title(id);
                let error = self.error(frame, place, format!("{title} has no function `{name}`"));
                return self.report(error.help("a layer is called by its field's name: `self.fc1(x)`"));
            }
        };
        let functions = &model.model.implementation.functions;
        if let Some(index) = functions.iter().position(|function| function.name == name) {
            if matches!(functions[index].receiver, Receiver::None) {
                let error = self.error(frame, place, format!("`{name}` does not take `self`"));
                return self.report(error.help(format!("write `Self::{name}(..)`")));
            }
            if self.is_recomputed(id) {
                return self.recomputed(frame, id, given, span, |work, frame, given| {
                    work.inline(frame, id, index, given, span)
                });
            }
            return self.inline(frame, id, index, given, span);
        }
        let fields = &model.model.structure.fields;
        if let Some(position) = fields.iter().position(|field| field.name == name) {
            return self.forward(frame, model.fields[position], given, span);
        }
        let type_name = &model.model.structure.name;
        let error = self.error(
            frame,
            place,
            format!("the model `{type_name}` has no layer or function `{name}`"),
        );
        let known: Vec<String> = functions
            .iter()
            .map(|function| function.name.to_string())
            .collect();
        let known: Vec<String> = known
            .into_iter()
            .chain(fields.iter().map(|f| f.name.to_string()))
            .collect();
        let error = match nearest(&name, known.iter().map(String::as_str)) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.note(format!("it has {}", known.join(", "))),
        };
        self.report(error)
    }

    /// The layer's result: `forward` of a model, or what the table says.
    fn forward(
        &mut self,
        frame: &mut Frame<'a>,
        id: InstanceId,
        given: Given<'a>,
        span: SourceSpan,
    ) -> Object {
        if self.is_recomputed(id) {
            return self.recomputed(frame, id, given, span, |work, frame, given| {
                work.forward_of(frame, id, given, span)
            });
        }
        self.forward_of(frame, id, given, span)
    }

    fn forward_of(
        &mut self,
        frame: &mut Frame<'a>,
        id: InstanceId,
        given: Given<'a>,
        span: SourceSpan,
    ) -> Object {
        match &self.tree.instances[id].kind {
            Kind::Model(model) => {
                let functions = &model.model.implementation.functions;
                if let Some(index) = functions.iter().position(|function| function.name == "forward") {
                    return self.inline(frame, id, index, given, span);
                }
                let name = &model.model.structure.name;
                let error = self.error(
                    frame,
                    span,
                    format!("the model `{name}` has no function `forward`"),
                );
                let known: Vec<String> = functions.iter().map(|f| format!("`{}`", f.name)).collect();
                self.report(error.note(format!("its functions are {}", known.join(", "))))
            }
            Kind::Layer(layer) => self.layer(frame, id, layer, given, span),
            Kind::Param(_) | Kind::State(_) => {
                let title = self.tree.title(id);
                self.fail(frame, span, format!("{title} is a tensor, not a layer"))
            }
            Kind::Array(_) => {
                let path = &self.tree.instances[id].path;
                let name = path.rsplit('.').next().unwrap_or_default();
                let error = self.error(frame, span, format!("`{path}` is an array of layers"));
                self.report(error.help(format!(
                    "call each of them: `for layer in &self.{name} {{ x = layer(x); }}`"
                )))
            }
            Kind::Unsolved => {
                self.note_layer_use(id, &given);
                self.poisoned()
            }
            Kind::Poison => self.poisoned(),
        }
    }

    fn note_layer_use(&mut self, id: InstanceId, given: &Given<'a>) {
        let used = if given.is_poison() {
            Use::AfterMistake
        } else {
            Use::Sound
        };
        self.note_use(id, used);
    }

    /// A layer of the library.
    fn layer(
        &mut self,
        frame: &Frame<'a>,
        id: InstanceId,
        instance: &LayerInstance,
        given: Given<'a>,
        span: SourceSpan,
    ) -> Object {
        self.note_layer_use(id, &given);
        if given.is_poison() {
            return Object::Poison;
        }
        let title = self.tree.title(id);
        let (mut positional, mut named) = (Vec::new(), Vec::new());
        let places: Vec<(String, SourceSpan)> = given
            .named
            .iter()
            .map(|(name, _, place)| (name.to_string(), *place))
            .collect();
        for (name, object, place) in given.named {
            match object.operand() {
                Some(operand) => named.push((name.to_string(), operand, name.span())),
                None => return self.fail(frame, place, format!("`{name}` cannot be {}", object.describe())),
            }
        }
        for (object, place) in given.positional {
            match object.operand() {
                Some(operand) => positional.push(Some(operand)),
                None => return self.fail(frame, place, format!("{title} cannot take {}", object.describe())),
            }
        }
        let caller = self.b.origin.clone();
        self.b.origin.scope = self.tree.instances[id].path.clone();
        self.b.origin.name = None;
        self.b.origin.span = frame.place(span);
        let layer = self.prepare(id, instance);
        let mut args = Args {
            positional,
            named,
            usage: instance.builtin.usage,
        };
        let result = instance
            .builtin
            .call(&mut self.b, &layer, &mut args)
            .and_then(|given| no_more(&args, &layer.written).map(|()| given));
        self.b.origin = caller;
        self.settle_states();
        let is_sound = self.settle(frame, span, Some(id));
        if let (Ok(_), Some((name, ..))) = (&result, args.named.first()) {
            let place = places
                .iter()
                .find(|(known, _)| known == name)
                .map_or(span, |(_, place)| *place);
            let message = format!("{title} takes no option `{name}` in its call");
            let error = self.error(frame, place, message);
            return self.report(error.help(format!("write it at the field: `#[layer({name} = ..)]`")));
        }
        match result {
            Err(error) => self.fail_shape(frame, span, Some(id), error),
            Ok(_) if !is_sound => Object::Poison,
            Ok(given) => {
                let given = Object::of(given);
                if let Some(first) = given.first_tensor() {
                    self.note_shape(id, first);
                }
                given
            }
        }
    }

    fn prepare(&mut self, id: InstanceId, instance: &LayerInstance) -> Layer {
        let (mut params, mut states) = (Vec::new(), Vec::new());
        for (name, tensor) in &instance.tensors {
            let value = self.tensor(*tensor);
            match tensor {
                TensorRef::Param(_) => params.push((name.clone(), value)),
                TensorRef::State(state) => {
                    states.push((name.clone(), crate::ir::StateId::new(*state), value))
                }
            }
        }
        let written = self.tree.instances[id].written.clone();
        Layer {
            written,
            config: instance.config.clone(),
            params,
            states,
        }
    }

    /// An operation of the language.
    fn surface(
        &mut self,
        frame: &Frame<'a>,
        surface: &'static Surface,
        receiver: Option<(Object, SourceSpan)>,
        given: Given<'a>,
        span: SourceSpan,
    ) -> Object {
        if given.is_poison() {
            return Object::Poison;
        }
        let mut positional = Vec::new();
        for (object, place) in receiver.into_iter().chain(given.positional) {
            match object.operand() {
                Some(operand) => positional.push(Some(operand)),
                None => {
                    return self.fail(
                        frame,
                        place,
                        format!("`{}` cannot take {}", surface.name, object.describe()),
                    );
                }
            }
        }
        let mut named = Vec::new();
        for (name, object, place) in given.named {
            match object.operand() {
                Some(operand) => named.push((name.to_string(), operand, name.span())),
                None => return self.fail(frame, place, format!("`{name}` cannot be {}", object.describe())),
            }
        }
        self.b.origin.span = frame.place(span);
        let mut args = Args {
            positional,
            named,
            usage: surface.usage,
        };
        let result =
            (surface.lower)(&mut self.b, &mut args).and_then(|operand| args.finish().map(|()| operand));
        let result = result.map_err(|error| error.of(surface.name));
        self.operation(frame, span, span, result)
    }

    fn unknown_operation(&mut self, frame: &Frame<'a>, name: &Ident, form: Form) -> Object {
        let text = name.to_string();
        let place = SourceSpan::from(name.span());
        let what = if form == Form::Method {
            "tensors have no method"
        } else {
            "there is no operation"
        };
        let error = self.error(frame, place, format!("{what} `{text}`"));
        let error = match other_form(&text, form) {
            Some(usage) => error.help(format!("it is written `{usage}`")),
            None => self.suggest(frame, error, &text, form),
        };
        self.report(error)
    }

    fn suggest(&self, frame: &Frame<'a>, error: Diagnostic, text: &str, form: Form) -> Diagnostic {
        let model = self.tree.model(frame.instance).map(|model| model.model);
        if let Some(model) = model
            && model.structure.fields.iter().any(|field| field.name == text)
        {
            return error.help(format!("the layer is called as `self.{text}(x)`"));
        }
        let helpers = model.map_or(&[][..], |model| &model.implementation.functions);
        let helpers: Vec<String> = match form {
            Form::Method => Vec::new(),
            Form::Function => helpers.iter().map(|function| function.name.to_string()).collect(),
        };
        let known = ops::surfaces()
            .filter(|surface| surface.form == form)
            .map(|surface| surface.name);
        match nearest(text, known.chain(helpers.iter().map(String::as_str))) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error,
        }
    }

    /// `x.size(axis)`.
    fn axis_size(&mut self, frame: &Frame<'a>, shape: &[Dim], given: &Given<'a>, span: SourceSpan) -> Object {
        let axis = match (given.positional.as_slice(), given.named.as_slice()) {
            ([(axis, _)], []) => axis,
            ([], [(name, axis, _)]) if *name == "axis" => axis,
            _ => return self.fail(frame, span, "`size` takes one axis: `x.size(1)`"),
        };
        let rank = shape.len() as i64;
        match axis {
            Object::Poison => Object::Poison,
            Object::Size(axis) => match axis
                .as_lit()
                .map(|axis| if axis < 0 { axis + rank } else { axis })
            {
                Some(axis) if (0..rank).contains(&axis) => Object::Size(shape[axis as usize].clone()),
                _ => self.fail(
                    frame,
                    span,
                    format!("there is no axis {axis} in a tensor of {rank} axes"),
                ),
            },
            other => self.fail(
                frame,
                span,
                format!("an axis is a whole number, not {}", other.describe()),
            ),
        }
    }

    /// Functions of numbers of the host: `p.sqrt()`, `a.max(b)`.
    fn host_method(
        &mut self,
        frame: &Frame<'a>,
        scalar: Scalar,
        method: &Ident,
        given: &Given<'a>,
        span: SourceSpan,
    ) -> Object {
        if given.is_poison() {
            return Object::Poison;
        }
        let others: Option<Vec<Scalar>> = given
            .positional
            .iter()
            .map(|(object, _)| object.scalar())
            .collect();
        let name = match method.to_string().as_str() {
            "ln" => "log".to_owned(),
            "powf" | "powi" => "pow".to_owned(),
            "abs" | "sqrt" | "exp" | "floor" | "recip" | "pow" | "max" | "min" | "log" => method.to_string(),
            _ => String::new(),
        };
        let others = others.filter(|_| given.named.is_empty());
        match others.as_deref() {
            Some([]) if let Some(f) = ScalarFn::named(&name, 1) => Object::number(Scalar::unary(f, scalar)),
            Some([other]) if let Some(f) = ScalarFn::named(&name, 2) => {
                Object::number(Scalar::binary(f, scalar, other.clone()))
            }
            _ => {
                let error = self.error(
                    frame,
                    span,
                    format!("numbers have no method `{method}` with these arguments"),
                );
                self.report(error.note("they have sqrt, exp, ln, abs, floor, recip, powf, max and min"))
            }
        }
    }
}

/// Complains about arguments that the layer did not take.
fn no_more(args: &Args, written: &str) -> Result<(), ShapeError> {
    match args.positional.iter().position(Option::is_some) {
        None => Ok(()),
        Some(position) => Err(ShapeError::new(format!(
            "`{written}` does not take {} arguments",
            position + 1
        ))),
    }
}

fn surface(name: &str, form: Form) -> Option<&'static Surface> {
    ops::surfaces().find(|surface| surface.name == name && surface.form == form)
}

/// How an operation is written that exists in the other form only.
fn other_form(name: &str, form: Form) -> Option<&'static str> {
    ops::surfaces()
        .find(|surface| surface.name == name && surface.form != form)
        .map(|surface| surface.usage)
}
