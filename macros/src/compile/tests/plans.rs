//! What plans of whole models hold, kernel by kernel.

use super::*;

/// The plan of the loss and its gradient.
fn joint_plan(source: &str) -> Plan {
    let lowered = compiled(source, lower::lower);
    let function = lowered.functions.iter().find(|f| f.name == "loss");
    let function = function.expect("the model has a loss");
    let graph = function.train.as_ref().expect("a loss is compiled in train mode");
    let wanted = wanted(&lowered, function);
    plan(
        &joint(function, graph, &wanted, &mut Diagnostics::new()).expect("the loss has a gradient"),
        Calls::Apart,
    )
}

/// Weights are packed before the loops, the input's part of the gates is added where the state's part is multiplied, and the gradients
/// of the gates are joined, not placed into zeros and added up.
#[test]
fn a_step_of_a_recurrent_layer_is_one_product_and_what_is_pointwise() {
    let plan = joint_plan(LSTM);
    let loops = plan.loops.iter().map(|l| l.kernels.clone());
    let titles = loops.map(|kernels| {
        plan.kernels[kernels]
            .iter()
            .map(|k| &*k.title)
            .collect::<Vec<_>>()
    });
    let [forward, backward]: [Vec<&str>; 2] = titles.collect::<Vec<_>>().try_into().expect("two loops");
    assert_eq!(
        forward
            .iter()
            .filter(|t| t.starts_with("matmul"))
            .collect::<Vec<_>>(),
        [&"matmul + add"]
    );
    assert_eq!(forward.len(), 2, "{forward:?}");
    for name in ["pad", "copy", "pack", "add + add"] {
        assert!(!backward.iter().any(|t| t.starts_with(name)), "{backward:?}");
    }
    assert_eq!(
        backward.iter().filter(|t| **t == "concat").count(),
        1,
        "{backward:?}"
    );
    let packs = plan.kernels.iter().filter(|k| k.title == "pack");
    assert_eq!(packs.count(), 2, "one for each sweep");
    let sums = plan
        .kernels
        .iter()
        .filter(|k| k.title == "sum" && k.writes[0].ty.rank() == 1);
    assert_eq!(
        sums.count(),
        2,
        "one for both biases of the layer, one for that of the classifier"
    );
}

/// What skips a layer is added by the product at its end, and of the gradients of two products the second adds the first.
#[test]
fn sums_of_products_are_made_by_products() {
    let plan = joint_plan(
        "struct Three { q: Linear<6, 6>, k: Linear<6, 6>, v: Linear<6, 6>, first: Linear<6, 6> }
         impl Three {
             pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 6>) -> Scalar {
                 let x = self.first(x).tanh();
                 (x + self.v((self.q(x) * self.k(x)).tanh())).square().mean()
             }
         }",
    );
    let titles: Vec<&str> = plan.kernels.iter().map(|k| &*k.title).collect();
    let of = |title: &str| titles.iter().filter(|t| **t == title).count();
    assert_eq!(of("matmul + bias + add"), 1, "{titles:?}");
    assert_eq!(of("matmul + add"), 1, "{titles:?}");
    assert_eq!(of("add"), 0, "{titles:?}");
}

/// What backward computes of a loss, and the names of the values that are stored for it.
fn kept_for_backward(source: &str) -> (Vec<String>, Vec<String>) {
    let lowered = compiled(source, lower::lower);
    let function = &lowered.functions[0];
    let graph = function.train.as_ref().expect("it is a loss");
    let wanted = wanted(&lowered, function);
    let plan = plan(
        &joint(function, graph, &wanted, &mut Diagnostics::new()).expect("it has a gradient"),
        Calls::Apart,
    );
    let (forward, backward) = plan.kernels.split_at(plan.n_forward);
    let computed = backward.iter().map(|kernel| kernel.title.clone()).collect();
    let is_kept =
        |slot: usize| plan.slots[slot].last >= plan.n_forward && plan.slots[slot].last != usize::MAX;
    let stored = forward.iter().flat_map(|kernel| &kernel.writes);
    let kept = stored.filter(|w| matches!(plan.places[&w.value], Place::Slot(slot) if is_kept(slot)));
    (computed, kept.map(|w| w.name.to_string()).collect())
}

#[test]
fn what_is_frozen_has_no_gradient_code_and_keeps_no_activations() {
    let (computed, kept) = kept_for_backward(TUNED);
    assert_eq!(
        computed,
        ["fill", "cross_entropy_grad", "sum", "matmul"],
        "the head's bias and weight"
    );
    assert!(
        kept.contains(&"high".to_owned()) && !kept.contains(&"low".to_owned()),
        "{kept:?}"
    );
    let (computed, kept) = kept_for_backward(&TUNED.replace("#[freeze]", ""));
    assert_eq!(
        computed
            .iter()
            .filter(|title| title.starts_with("matmul"))
            .count(),
        5,
        "{computed:?}"
    );
    assert!(
        kept.contains(&"high".to_owned()) && kept.contains(&"low".to_owned()),
        "{kept:?}"
    );
}

#[test]
fn what_is_emitted_does_not_grow_with_the_number_of_layers_or_steps() {
    let (four, many) = (emitted(TOWER), emitted(&TOWER.replace("; 4]", "; 48]")));
    let words = |text: &str| {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.filter(|word| !word.is_empty()).count()
    };
    assert_eq!(words(&four), words(&many));
    assert!(many.contains("for i in 0..48"), "the layers are a loop");
    assert_eq!(
        four.matches("rt::matmul(").count(),
        many.matches("rt::matmul(").count()
    );
}

/// Two loops one after the other may have one name for their index; the one step of the first does not count in random streams.
#[test]
fn every_step_of_a_loop_draws_its_own_mask_beside_a_loop_of_one_step() {
    let source = TOWER
        .replace(
            "blocks: [Block<8>; 4]",
            "first: [Block<8>; 1], blocks: [Block<8>; 4]",
        )
        .replace(
            "for block in &self.blocks",
            "for block in &self.first { x = block(x); } for block in &self.blocks",
        );
    let text = sweeps(&source);
    assert_eq!(text.matches("rt::dropout(").count(), 4);
    assert_eq!(text.matches("rt::step_stream(").count(), 2);
}

#[test]
fn bias_and_activation_are_inside_the_product() {
    let text = sweeps(MLP);
    let forward = text
        .split("fn loss_train_backward")
        .next()
        .expect("there is a first part");
    assert!(forward.contains("activation(rt::Activation::Relu)"), "{forward}");
    assert_eq!(forward.matches("rt::matmul").count(), 2, "{forward}");
    let sweep = forward
        .split("fn loss_train_forward")
        .nth(1)
        .expect("there is a forward sweep");
    assert!(!sweep.contains("rt::pointwise"), "{sweep}");
}

/// A sequence is an image of one row, so its convolution is the same call, with the bias and the activation inside.
#[test]
fn a_convolution_of_sequences_is_one_call() {
    let text = sweeps(MOTIFS);
    assert_eq!(text.matches("rt::conv2d(").count(), 1, "{text}");
    assert!(text.contains("activation(rt::Activation::Relu)"), "{text}");
}

#[test]
fn weight_gradients_are_written_where_they_are_kept() {
    for source in [MLP, CNN, MOTIFS, RESIDUAL] {
        let text = sweeps(source);
        for part in text.split("\nfn ") {
            for call in part.split("rt::copy(").skip(1) {
                let arguments = call.split(");").next().expect("a call has an end");
                let to = arguments
                    .trim_end_matches([' ', '\n', ','])
                    .rsplit([' ', '\n'])
                    .next();
                let gradient = format!("let {} = cx.grad(", to.expect("a copy goes somewhere"));
                assert!(!part.contains(&gradient), "a gradient is copied:\n{text}");
            }
        }
    }
}

/// Images are permuted where they leave the network, and their cotangent where it comes back; an image of one channel is not.
#[test]
fn images_are_permuted_at_the_edges_of_a_network_only() {
    for (source, edges) in [(CNN, 2), (MOTIFS, 1), (RESNET, 1)] {
        let text = sweeps(source);
        let copies = text.split("rt::copy(").skip(1);
        let views = copies.filter_map(|call| call.split(");").next());
        let is_dense = |view: &&str| {
            view.split(']')
                .any(|part| part.contains("strides: [") && part.ends_with(", 1"))
        };
        let permuted: Vec<&str> = views.filter(|view| !is_dense(view)).collect();
        assert_eq!(permuted.len(), edges, "{permuted:?}\n{text}");
    }
}

/// What a trace of the loss shows of images.
fn traced_images(source: &str) -> Vec<String> {
    let named = compiled(source, |model, diagnostics| {
        let lowered = lower::lower(model, diagnostics)?;
        let loss = lowered.functions.iter().find(|f| f.name == "loss")?;
        Some(function(&lowered, loss, Calls::Apart, diagnostics).trace.named)
    });
    let images = named.into_iter().filter(|named| named.ty.rank() > 3);
    let shown = images.map(|named| {
        let Type { dtype, shape } = named.ty;
        let order = named.order.unwrap_or_else(|| (0..shape.len()).collect());
        let shape = order.iter().map(|&axis| shape[axis].clone()).collect();
        format!("{}: {}", named.name, Type { dtype, shape })
    });
    shown.collect()
}

#[test]
fn a_trace_shows_images_as_they_were_written() {
    assert_eq!(
        traced_images(CNN),
        [
            "conv.conv2d: float[B, 8, 12, 12]",
            "conv.add: float[B, 8, 12, 12]",
            "norm.batch_norm: float[B, 8, 12, 12]",
            "relu: float[B, 8, 12, 12]",
            "maps: float[B, 8, 6, 6]",
        ]
    );
}

#[test]
fn a_trace_shows_the_images_of_every_step() {
    insta::assert_snapshot!(traced_images(RESNET).join("\n"));
}

#[test]
fn emitted_sweeps_are_short_and_well_named() {
    for source in [MLP, CNN, RESIDUAL] {
        let text = sweeps(source);
        let mut length = 0;
        for line in text.lines() {
            let starts = ["fn ", "impl ", "struct ", "///"]
                .iter()
                .any(|start| line.starts_with(start));
            length = if starts { 1 } else { length + 1 };
            assert!(
                length <= 60 || !line.starts_with('}'),
                "a function of {length} lines:\n{text}"
            );
            if let Some(binding) = line.trim().strip_prefix("let ") {
                let name = binding.trim_start_matches("mut ");
                assert!(
                    !name.starts_with(['%', '_']) && !name.starts_with("tmp"),
                    "a made-up name: {line}"
                );
            }
        }
    }
}

#[test]
fn what_is_emitted_does_not_depend_on_the_size_of_layers() {
    let wide = MLP.replace("128", "4096");
    let digits = |text: String| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    assert_eq!(digits(sweeps(MLP)), digits(sweeps(&wide)));
}

/// Predictions pool what a convolution has just computed: where the windows of a pooling share out the image and nobody else reads
/// what lies between. Training keeps an image in which the gradient of a maximum finds its places.
#[test]
fn predictions_pool_at_once() {
    const POOLED: &str = "
        struct Pooled { a: Conv2d<1, 8, 3>, b: Conv2d<8, 8, 3>, c: Conv2d<8, 8, 3>, d: Conv2d<8, 8, 1>, fc: Linear<_, 10> }
        impl Pooled {
            pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 46, 46>, label: Tensor<u8, B>) -> Scalar {
                let a = self.a(image).relu().max_pool2d(2);
                let b = self.b(a).tanh().max_pool2d(3, stride = 2);
                let c = self.c(b);
                let d = self.d(c.avg_pool2d(2) + c.max_pool2d(2)).max_pool2d(2);
                cross_entropy(self.fc(d.flatten()), label)
            }
        }
    ";
    let titles = |plan: &Plan| -> Vec<String> {
        let kernels = plan.kernels.iter().map(|kernel| kernel.title.to_string());
        kernels
            .filter(|title| title.contains("conv2d") || title.contains("pool2d"))
            .collect()
    };
    let lowered = compiled(POOLED, lower::lower);
    let loss = lowered
        .functions
        .iter()
        .find(|f| f.name == "loss")
        .expect("the model has a loss");
    assert_eq!(
        titles(&plan(
            &checked(simplify(&checked(turn(&loss.eval, Sweeps::Forward)))),
            Calls::Apart
        )),
        [
            "conv2d + bias + relu + max_pool2d",
            "conv2d + bias + tanh",
            "max_pool2d",
            "conv2d + bias",
            "avg_pool2d",
            "max_pool2d",
            "conv2d + bias",
            "max_pool2d",
        ]
    );
    // Nothing of the way back reads the image of an average.
    const AVERAGED: &str = "
        struct Averaged { a: Conv2d<1, 8, 3>, fc: Linear<_, 10> }
        impl Averaged {
            pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 10, 10>, label: Tensor<u8, B>) -> Scalar {
                cross_entropy(self.fc(self.a(image).avg_pool2d(2).flatten()), label)
            }
        }
    ";
    assert_eq!(titles(&joint_plan(AVERAGED))[0], "conv2d + bias + avg_pool2d");
    assert!(
        titles(&joint_plan(POOLED))
            .iter()
            .all(|title| !title.contains("relu + max_pool2d"))
    );
}

/// A network of which one layer follows a flattened image.
const FLATTENED: &str = "
    struct Flattened { conv: Conv2d<1, 16, 3>, hidden: Linear<_, 64>, scores: Linear<64, 10> }
    impl Flattened {
        pub fn predict<B: Dim>(&self, image: Tensor<B, 1, 18, 18>) -> Tensor<B, 10> {
            let maps = self.conv(image).relu().max_pool2d(2);
            self.scores(self.hidden(maps.flatten()).relu())
        }
    }
";

/// A prediction multiplies a flattened image as it lies, packed weights or not, and a trace tells nothing of that.
#[test]
fn a_prediction_copies_no_flattened_image() {
    let lowered = compiled(FLATTENED, lower::lower);
    let predict = &lowered.functions[0];
    let turned = checked(simplify(&checked(turn(&predict.eval, Sweeps::Forward))));
    insta::assert_snapshot!(format!(
        "== calls that follow one another\n{}\n== a call\n{}",
        plan(&turned, Calls::REPEATED),
        plan(&turned, Calls::Apart),
    ));
    let emitted: String = emitted(FLATTENED).split_whitespace().collect();
    assert!(
        emitted.contains(".t().interleaved(16).packed(weight_packed,0)"),
        "{emitted}"
    );
    let trace = function(&lowered, predict, Calls::Apart, &mut Diagnostics::new()).trace;
    let named: Vec<&str> = trace.named.iter().map(|named| &*named.name).collect();
    assert_eq!(
        named,
        [
            "conv.conv2d",
            "conv.add",
            "relu",
            "maps",
            "reshape",
            "hidden.matmul",
            "hidden.add",
            "relu",
            "scores.matmul",
            "scores.add"
        ]
    );
}

/// A step of training copies weights of few columns into the order of the image, and their gradient back; the image stays as it lies.
#[test]
fn a_step_turns_the_weights_of_few_columns() {
    let plan = joint_plan(
        "struct Few { conv: Conv2d<1, 16, 3>, scores: Linear<_, 10> }
         impl Few {
             pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 18, 18>, label: Tensor<u8, B>) -> Scalar {
                 cross_entropy(self.scores(self.conv(image).relu().max_pool2d(2).flatten()), label)
             }
         }",
    );
    let copies = plan.kernels.iter().filter(|kernel| kernel.title == "copy");
    let copied: Vec<String> = copies.map(|copy| copy.writes[0].ty.to_string()).collect();
    assert_eq!(copied, ["float[10, 1024]", "float[10, 1024]"], "{plan}");
}
