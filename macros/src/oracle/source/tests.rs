//! Random texts through the whole compiler.

use quote::quote;

use super::answer::{answers, lowered, program, understood, world};
use super::files::{
    COMMAND, COMPILED, difference as difference_of_file, expected, expected_file, folder, models,
};
use super::{source, unit};
use crate::compile;
use crate::diag::Diagnostics;
use crate::fuse::{Calls, fuse};
use crate::grad::{Gradient, differentiate};
use crate::layout::{Sweeps, turn};
use crate::memory::{self, Reuse};
use crate::oracle::close::{difference, norm};
use crate::oracle::differences::along;
use crate::oracle::execute::{check_places, execute};
use crate::oracle::interpret::interpret;
use crate::simplify::simplify;
use tapeless_runtime::Precision;

/// Seeds of the random texts.
const SEEDS: std::ops::Range<u64> = 0..200;

/// Those whose code is emitted too, which takes most of the time.
const EMITTED: std::ops::Range<u64> = 0..60;

#[test]
fn random_texts_compile_without_a_complaint() {
    for seed in EMITTED {
        let source = source(seed);
        let mut diagnostics = Diagnostics::new();
        let compiled = compile::model(&understood(&source), seed, &quote!(::tapeless), &mut diagnostics);
        if let Err(errors) = diagnostics.finish() {
            panic!("seed {seed}: {errors}\n{}", source.text());
        }
        let items = compiled.expect("there was no complaint").items;
        syn::parse2::<syn::File>(items).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[test]
fn schedules_of_random_texts_compute_what_their_graphs_mean() {
    for seed in SEEDS {
        let source = source(seed);
        let lowered = lowered(&source);
        for function in &lowered.functions {
            let world = world(&source, &lowered, function);
            let mut graphs = vec![(
                turn(&function.eval, Sweeps::Forward),
                interpret(&function.eval, &world),
            )];
            if let Some(program) = program(&source, &lowered, function)
                && let Gradient::Joint(joint) = differentiate(
                    simplify(&turn(&program.graph, Sweeps::Both)),
                    &program.wanted,
                    simplify,
                )
            {
                let want = interpret(&joint, &world);
                graphs.push((joint, want));
            }
            for (graph, want) in graphs {
                let plan = memory::plan(
                    fuse(&simplify(&graph), Calls::Repeated { least: 1 }),
                    Reuse::AfterLastUse,
                );
                check_places(&plan);
                let run = execute(&plan, &world, Precision::F64);
                let what = || format!("seed {seed}, `{}`\n{}\n{graph}", function.name, source.text());
                assert_eq!(run.failure, None, "{}", what());
                if let Some(difference) = difference(&run.outputs, &want, 1e-10, 1e-4) {
                    panic!("{difference}\n{}", what());
                }
            }
        }
    }
}

#[test]
fn gradients_of_random_texts_agree_with_differences() {
    let (mut n_variables, mut n_compared, mut n_kinks) = (0, 0, 0);
    for seed in SEEDS {
        let source = source(seed);
        let lowered = lowered(&source);
        let function = lowered.functions.iter().find(|f| f.name == "loss");
        let function = function.expect("every text has a loss");
        let program = program(&source, &lowered, function).expect("a loss is compiled in train mode");
        let joint = differentiate(
            simplify(&turn(&program.graph, Sweeps::Both)),
            &program.wanted,
            simplify,
        );
        let Gradient::Joint(joint) = joint else {
            panic!("seed {seed}: the loss has no gradient\n{}", source.text())
        };
        let outputs = interpret(&joint, &program.world);
        for variable in program.variables() {
            n_variables += 1;
            let n = variable.value(&program.world).len() as u64;
            let direction: Vec<f64> = (0..n).map(|i| unit(3000, i)).collect();
            let slope = along(&program.graph, &program.world, variable, &direction);
            let Some(slope) = slope else {
                n_kinks += 1;
                continue;
            };
            let gradient = outputs
                .get(&variable.output())
                .map_or(vec![0.0; n as usize], |gradient| gradient.numbers());
            let product: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
            // Numbers around 1 have differences that are wrong by around 1e-11.
            let scale = (norm(&gradient) * norm(&direction)).max(1e-4);
            let error = (product - slope).abs() / scale;
            assert!(
                error <= 1e-6,
                "seed {seed}: the gradient of {variable:?} gives {product}, differences {slope}\n{}\n{joint}",
                source.text()
            );
            n_compared += usize::from(product != 0.0);
        }
    }
    assert!(
        n_compared > 1200 && n_kinks < 50,
        "{n_compared} of {n_variables} gradients were compared, {n_kinks} lay at kinks"
    );
}

/// The generator writes all that it is meant to.
#[test]
fn random_texts_use_the_whole_language() {
    let all: String = SEEDS.map(|seed| source(seed).text()).collect();
    const WORDS: &str = "Conv2d< groups dilation stride padding BatchNorm1d< BatchNorm2d< GroupNorm< LayerNorm< RmsNorm< Embedding< \
                         Linear<_ Dropout MaxPool2d< AvgPool2d< max_pool2d avg_pool2d adaptive_avg_pool2d Param< State< \
                         #[freeze] Inner<D> Inner<{ Outer< Side< WIDTH Self::bend2 Self::bend3 einsum select( concat( cumsum \
                         flip slice matmul gather one_hot argmax ignore_index label_smoothing mse bce_with_logits mut rate \
                         .dropout(rate) inspect accuracy .weight) softmax permute dropout2d Steps::new() .steps( #[recompute] \
                         &self.tower0 .iter().rev() .iter().enumerate() [Inner< [Linear<";
    let missing: Vec<&str> = WORDS
        .split_whitespace()
        .filter(|word| !all.contains(word))
        .collect();
    assert!(missing.is_empty(), "never drawn: {missing:?}");
    // A block with two widths in one model, and one that is called twice.
    let twice = SEEDS.filter(|&seed| {
        let text = source(seed).text();
        let net = text.split("pub struct Net").nth(1).expect("there is a Net");
        let widths = net.lines().filter(|line| line.contains(": Inner<"));
        let widths: crate::map::Set<&str> = widths
            .filter_map(|line| line.split_once("Inner"))
            .map(|(_, ty)| ty)
            .collect();
        widths.len() > 1
    });
    let n_twice = twice.count();
    assert!(n_twice > 10, "only {n_twice} texts have a block of two widths");
    let answers = answers(&source(0));
    assert!(answers.keys().any(|name| name.starts_with("loss_grad gradient")));
}

#[test]
fn committed_models_are_those_that_are_drawn() {
    let read = |name: &str| std::fs::read_to_string(folder().join(name)).unwrap_or_default();
    let fresh = models();
    if let Some((k, (found, drawn))) = (1..)
        .zip(read("models.rs").lines().zip(fresh.lines()))
        .find(|(_, (found, drawn))| found != drawn)
    {
        panic!(
            "tests/random/models.rs:{k} is\n{found}\ninstead of\n{drawn}\nIt is written anew by `{COMMAND}`"
        );
    }
    assert_eq!(
        read("models.rs").len(),
        fresh.len(),
        "tests/random/models.rs is written anew by `{COMMAND}`"
    );
    for seed in COMPILED {
        let file = expected_file(seed);
        if let Some(difference) = difference_of_file(&read(&file), &answers(&source(seed))) {
            panic!("tests/random/{file}: {difference}\nIt is written anew by `{COMMAND}`");
        }
    }
}

#[test]
#[ignore = "writes tests/random"]
fn write_the_random_models() {
    std::fs::create_dir_all(folder().join("expected")).expect("the folder can be made");
    std::fs::write(folder().join("models.rs"), models()).expect("the models can be written");
    for seed in COMPILED {
        std::fs::write(folder().join(expected_file(seed)), expected(seed))
            .expect("the numbers can be written");
    }
}
