//! The reference numbers are whole, finite and what they say they are, before anything is compared with
//! them. What is checked here needs nothing of Tapeless: naive arithmetic, written out.

mod common;

use common::fixture::{Fixture, NAMES};
use ndarray::{Array1, Array2, Axis, Ix1, Ix2, IxDyn};

const STEPS: usize = 10;

fn models() -> impl Iterator<Item = (&'static str, Fixture)> {
    NAMES
        .into_iter()
        .filter(|name| *name != "ops")
        .map(|name| (name, Fixture::load(name)))
}

/// ‖a - b‖ / max(‖a‖, ‖b‖), and 0 for two zeros.
fn distance(a: &ndarray::ArrayD<f64>, b: &ndarray::ArrayD<f64>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    let norm = |x: &ndarray::ArrayD<f64>| x.iter().map(|v| v * v).sum::<f64>().sqrt();
    let scale = norm(a).max(norm(b));
    if scale == 0.0 { 0.0 } else { norm(&(a - b)) / scale }
}

#[test]
fn the_list_of_names_is_the_folder() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder of the fixtures is readable")
        .map(|entry| {
            entry
                .expect("its entries are readable")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .filter_map(|file| file.strip_suffix(".safetensors").map(str::to_owned))
        .collect();
    found.sort();
    let mut listed = NAMES.map(str::to_owned);
    listed.sort();
    assert_eq!(found, listed);
}

#[test]
fn every_file_is_finite_and_says_what_made_it() {
    for name in NAMES {
        let fixture = Fixture::load(name);
        for path in fixture.paths().filter(|path| fixture.is_float(path)) {
            let array = fixture.array::<IxDyn>(path);
            assert!(
                array.iter().all(|value| value.is_finite()),
                "{name}: `{path}` is not finite"
            );
            assert!(!array.is_empty(), "{name}: `{path}` is empty");
        }
        assert!(
            fixture.metadata()["made_with"]["torch"].is_string(),
            "{name} names no version of PyTorch"
        );
    }
}

#[test]
fn every_model_has_its_gradients_and_its_runs() {
    for (name, model) in models() {
        for path in model.under("grad.").filter(|path| !path.starts_with("input.")) {
            let parameter = model.array::<IxDyn>(&format!("param.{path}"));
            assert_eq!(
                model.array::<IxDyn>(&format!("grad.{path}")).shape(),
                parameter.shape(),
                "{name}: {path}"
            );
            assert!(
                !model.contains(&format!("state.{path}")),
                "{name}: `{path}` is both trained and carried"
            );
        }
        for path in model.under("param.") {
            let trained = model.contains(&format!("grad.{path}"));
            assert!(
                trained || model.contains(&format!("state.{path}")),
                "{name}: `{path}` is neither"
            );
        }
        // The paper's optimizer alone, where the others would make the file large.
        let n_optimizers = if name == "resnet20" { 1 } else { 8 };
        assert_eq!(model.optimizers().count(), n_optimizers, "{name}");
        for (optimizer, settings) in model.optimizers() {
            assert!(
                settings["lr"].is_f64() && settings["kind"].is_string(),
                "{name}: {optimizer}"
            );
            let losses = model.array::<Ix1>(&format!("losses.{optimizer}"));
            let losses32 = model.array::<Ix1>(&format!("losses32.{optimizer}"));
            assert_eq!(
                (losses.len(), losses32.len()),
                (STEPS, STEPS),
                "{name}: {optimizer}"
            );
            assert_eq!(
                losses[0],
                model.scalar("loss"),
                "{name}: {optimizer} starts elsewhere"
            );
            assert!(
                losses[STEPS - 1] < losses[0],
                "{name}: {optimizer} does not learn"
            );
            assert_ne!(losses, losses32, "{name}: {optimizer} was not run in float32");
            let stray = distance(&losses.into_dyn(), &losses32.into_dyn());
            assert!(stray < 1e-6, "{name}: {optimizer} strays by {stray:e} in float32");
            let after = format!("after.{optimizer}.");
            assert!(
                model.under(&after).eq(model.under("param.")),
                "{name}: {optimizer} lost a parameter"
            );
        }
    }
}

#[test]
fn only_the_gradients_so_declared_are_zero() {
    for (name, model) in models() {
        let declared: Vec<&str> = model.zero_gradients().collect();
        for path in model.under("grad.") {
            let norm = model
                .array::<IxDyn>(&format!("grad.{path}"))
                .iter()
                .map(|v| v * v)
                .sum::<f64>()
                .sqrt();
            assert_eq!(
                norm < 1e-12,
                declared.contains(&path),
                "{name}: ‖grad.{path}‖ = {norm:e}"
            );
        }
    }
}

#[test]
fn running_statistics_are_counted() {
    let cnn = Fixture::load("cnn");
    for (path, steps) in [("param", 0), ("state", 1), ("after.adam", STEPS as i64)] {
        let path = format!("{path}.bn1.num_batches_tracked");
        assert_eq!(cnn.ints::<ndarray::Ix0>(&path).into_scalar(), steps, "{path}");
    }
}

#[test]
fn every_case_of_an_operation_is_complete() {
    let ops = Fixture::load("ops");
    let mut n_tensors = 0;
    for (name, case) in ops.cases() {
        assert!(case["op"].is_string() && case["attrs"].is_object(), "{name}");
        let shape = |path: &str| ops.array::<IxDyn>(&format!("op.{name}.{path}")).shape().to_vec();
        assert_eq!(shape("output"), shape("upstream"), "{name}");
        let n_inputs = case["inputs"]
            .as_array()
            .expect("`inputs` is a list of names")
            .len();
        let mut n_grads = 0;
        for index in 0..n_inputs {
            assert!(
                ops.contains(&format!("op.{name}.input.{index}")),
                "{name}: no input {index}"
            );
            if ops.contains(&format!("op.{name}.grad.{index}")) {
                let (grad, input) = (format!("grad.{index}"), format!("input.{index}"));
                assert_eq!(shape(&grad), shape(&input), "{name}: {grad}");
                n_grads += 1;
            }
        }
        assert!(n_grads > 0, "{name} has no gradient");
        let n_after = ops.under(&format!("op.{name}.after.")).count();
        n_tensors += n_inputs + n_grads + n_after + 2;
    }
    assert_eq!(n_tensors, ops.paths().count(), "a tensor belongs to no case");
}

/// The MLP written out, with PyTorch's layouts: a weight is (outputs, inputs).
struct Mlp {
    w1: Array2<f64>,
    b1: Array1<f64>,
    w2: Array2<f64>,
    b2: Array1<f64>,
    x: Array2<f64>,
    label: Array1<i64>,
}

impl Mlp {
    fn read(fixture: &Fixture, prefix: &str) -> Self {
        Self {
            w1: fixture.array::<Ix2>(&format!("{prefix}.fc1.weight")),
            b1: fixture.array::<Ix1>(&format!("{prefix}.fc1.bias")),
            w2: fixture.array::<Ix2>(&format!("{prefix}.fc2.weight")),
            b2: fixture.array::<Ix1>(&format!("{prefix}.fc2.bias")),
            x: fixture.array::<Ix2>("input.x"),
            label: fixture.ints::<Ix1>("input.label"),
        }
    }

    /// Activations of the hidden layer, and log-probabilities.
    fn forward(&self) -> (Array2<f64>, Array2<f64>, Array2<f64>) {
        let hidden = (self.x.dot(&self.w1.t()) + &self.b1).mapv(|v| v.max(0.0));
        let logits = hidden.dot(&self.w2.t()) + &self.b2;
        let log_sum = logits
            .mapv(f64::exp)
            .sum_axis(Axis(1))
            .mapv(f64::ln)
            .insert_axis(Axis(1));
        let log_p = &logits - &log_sum;
        (hidden, logits, log_p)
    }

    fn loss(&self) -> f64 {
        let (_, _, log_p) = self.forward();
        let rows = log_p.outer_iter().zip(&self.label);
        -rows.map(|(row, label)| row[*label as usize]).sum::<f64>() / self.label.len() as f64
    }

    /// One step of plain gradient descent, by the chain rule.
    fn descend(&mut self, lr: f64) {
        let (hidden, _, log_p) = self.forward();
        let mut logits_bar = log_p.mapv(f64::exp);
        for (mut row, label) in logits_bar.outer_iter_mut().zip(&self.label) {
            row[*label as usize] -= 1.0;
        }
        logits_bar /= self.label.len() as f64;
        let hidden_bar = logits_bar.dot(&self.w2) * hidden.mapv(|v| if v > 0.0 { 1.0 } else { 0.0 });
        self.w1.scaled_add(-lr, &hidden_bar.t().dot(&self.x));
        self.b1.scaled_add(-lr, &hidden_bar.sum_axis(Axis(0)));
        self.w2.scaled_add(-lr, &logits_bar.t().dot(&hidden));
        self.b2.scaled_add(-lr, &logits_bar.sum_axis(Axis(0)));
    }
}

#[test]
fn the_mlp_written_out_gives_the_same_numbers() {
    let fixture = Fixture::load("mlp");
    let mut mlp = Mlp::read(&fixture, "param");
    let (_, logits, _) = mlp.forward();
    assert!(distance(&logits.into_dyn(), &fixture.array("output.logits")) < 1e-14);
    let lr = fixture.metadata()["optimizers"]["sgd"]["lr"]
        .as_f64()
        .expect("a learning rate");
    for expected in fixture.array::<Ix1>("losses.sgd") {
        assert!(
            (mlp.loss() - expected).abs() < 1e-12,
            "{} instead of {expected}",
            mlp.loss()
        );
        mlp.descend(lr);
    }
    let after = Mlp::read(&fixture, "after.sgd");
    assert!(distance(&mlp.w1.into_dyn(), &after.w1.into_dyn()) < 1e-12);
    assert!(distance(&mlp.b2.into_dyn(), &after.b2.into_dyn()) < 1e-12);
}

#[test]
#[should_panic(expected = "has no tensor `param.fc9.weight`; it has: after.adam.fc1.bias")]
fn an_unknown_tensor_is_named_with_those_that_there_are() {
    Fixture::load("mlp").array::<Ix2>("param.fc9.weight");
}

#[test]
#[should_panic(expected = "`param.fc1.weight` has shape [9, 12], which is not of rank 1")]
fn a_wrong_rank_is_named_with_the_shape() {
    Fixture::load("mlp").array::<Ix1>("param.fc1.weight");
}

#[test]
#[should_panic(expected = "`input.label` holds integers")]
fn integers_are_not_read_as_floats() {
    Fixture::load("mlp").array::<Ix1>("input.label");
}

#[test]
fn a_damaged_file_is_an_error_at_every_length() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/mlp.safetensors");
    let bytes = std::fs::read(path).expect("the file is readable");
    assert!(Fixture::parse("mlp", &bytes).is_ok());
    for len in (0..bytes.len()).step_by(101) {
        assert!(
            Fixture::parse("mlp", &bytes[..len]).is_err(),
            "the first {len} bytes were read as a whole"
        );
    }
}
