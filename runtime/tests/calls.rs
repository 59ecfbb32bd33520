//! Calls of a compiled function: arguments, errors, gradients, traces.

mod tiny;

use ndarray::{Array1, Array2, array, s};
use tapeless_runtime::call::function_of;
use tapeless_runtime::model::Model;
use tapeless_runtime::{Device, ErrorKind, Precision, Probe};
use tiny::Tiny;

fn model(precision: Precision) -> Tiny {
    let device = Device::cpu().threads(2);
    Tiny::builder(&device)
        .seed(42)
        .precision(precision)
        .build()
        .unwrap()
}

fn batch(rows: usize) -> (Array2<f64>, Array2<f64>) {
    let x = Array2::from_shape_fn((rows, 3), |(i, j)| ((7 * i + 3 * j) % 11) as f64 / 11.0 - 0.3);
    let target = x.slice(s![.., ..2]).mapv(|x| 2.0 * x + 0.5);
    (x, target)
}

fn expected(model: &Tiny, x: &Array2<f64>) -> Array2<f64> {
    let weight = model
        .param("fc.weight")
        .unwrap()
        .into_dimensionality::<ndarray::Ix2>()
        .unwrap();
    x.dot(&weight.t()) + 0.25
}

#[test]
fn any_layout_and_float_type_gives_the_same_numbers() {
    for precision in [Precision::F32, Precision::F64] {
        let model = model(precision);
        let (x, _) = batch(6);
        let (want, tolerance) = (
            expected(&model, &x),
            if precision == Precision::F64 { 1e-14 } else { 1e-6 },
        );
        let x32 = x.mapv(|x| x as f32);
        let wide = Array2::from_shape_fn((6, 6), |(i, j)| if j % 2 == 0 { x[[i, j / 2]] } else { f64::NAN });
        let fortran = x.t().as_standard_layout().to_owned().reversed_axes();
        let results = [
            model.forward_as::<f64>(&x).unwrap(),
            model.forward_as::<f64>(x.view()).unwrap(),
            model.forward_as::<f64>(&fortran).unwrap(),
            model.forward_as::<f64>(wide.slice(s![.., ..;2])).unwrap(),
        ];
        for result in &results {
            assert!(result.iter().zip(&want).all(|(a, b)| (a - b).abs() < tolerance));
            assert_eq!(result, &results[0]);
        }
        let single = model.forward_as::<f64>(&x32).unwrap();
        assert!(single.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(model.forward(&x).unwrap(), results[0].mapv(|y| y as f32));
    }
}

#[test]
fn empty_batches_and_short_batches_are_calls() {
    let mut model = model(Precision::F32);
    assert_eq!(
        model.forward(&Array2::<f32>::zeros((0, 3))).unwrap().shape(),
        [0, 2]
    );
    let mut work = model.loss_workspace(8).unwrap();
    for rows in [8, 3, 1, 8] {
        let (x, target) = batch(rows);
        let loss = model.loss_grad(&mut work, &x, &target).unwrap();
        assert!(loss.is_finite() && (loss - work.loss().unwrap()).abs() == 0.0);
    }
    let (x, target) = batch(0);
    let error = model.loss_grad(&mut work, &x, &target).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NonFinite);
}

#[test]
fn wrong_shapes_name_function_and_argument() {
    let mut model = model(Precision::F32);
    let (x, target) = batch(4);
    let error = model.loss(&x, target.slice(s![..3, ..])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Tiny::loss: argument `target`: expected shape [4, 2], found [3, 2] (B = 4 from `x`)"
    );
    let error = model.forward(&Array2::<f32>::zeros((4, 5))).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("Tiny::forward: argument `x`: expected shape [4, 3], found [4, 5]"),
        "{message}"
    );
    let mut work = model.loss_workspace(3).unwrap();
    let error = model.loss_grad(&mut work, &x, &target).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shape);
    assert!(
        error
            .to_string()
            .contains("B = 4 exceeds the workspace's maximum of 3"),
        "{error}"
    );
    let error = model.accuracy(&batch(3).0, &Array1::<u8>::zeros(3)).unwrap_err();
    let want = "Tiny::accuracy: argument `x`, axis 0: B must be a multiple of 2, found 3";
    assert_eq!(error.to_string(), want);
}

#[test]
fn absurd_sizes_are_errors() {
    let model = model(Precision::F32);
    for size in [usize::MAX, usize::MAX / 8, 1 << 41] {
        assert!(model.loss_workspace(size).is_err());
    }
    let nothing = Array2::<f32>::zeros((1 << 60, 0));
    assert!(model.forward(&nothing).is_err());
}

#[test]
fn a_workspace_belongs_to_its_function_and_precision() {
    let mut other = model(Precision::F64);
    let single = model(Precision::F32);
    let (x, target) = batch(2);
    let mut work = single.loss_workspace(2).unwrap();
    let error = other.loss_grad(&mut work, &x, &target).unwrap_err();
    assert!(
        error.to_string().contains("was made for Tiny::loss in f32"),
        "{error}"
    );
    let mut forward = single.core().workspace(0, &[2]).unwrap();
    use tapeless_runtime::call::HostArg;
    let args = [HostArg::of(&x), HostArg::of(&target)];
    assert!(single.core().call_in(1, &mut forward, &args, &[]).is_err());
}

#[test]
fn what_a_kernel_finds_in_the_data_is_the_error() {
    let model = model(Precision::F32);
    let x = batch(4).0;
    let error = model.accuracy(&x, &array![0_u8, 1, 2, 0]).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Label, "Tiny::accuracy: label 2 is not below 2")
    );
    let share = model.accuracy(&x, &array![0_u8, 1, 1, 0]).unwrap();
    let y = model.forward(&x).unwrap();
    let hits = [0, 1, 1, 0]
        .iter()
        .zip(y.rows())
        .filter(|(label, y)| y[**label] >= y[1 - **label]);
    assert_eq!(share, hits.count() as f64 / 4.0);
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let mut model = model(Precision::F64);
    let (x, target) = batch(5);
    let mut work = model.loss_workspace(5).unwrap();
    let step = model.step();
    model.loss_grad(&mut work, &x, &target).unwrap();
    let loss_at = |model: &mut Tiny, x: &Array2<f64>| {
        model.core_mut_at(step);
        let mut scratch = model.loss_workspace(5).unwrap();
        model.loss_grad(&mut scratch, x, &target).unwrap()
    };
    for path in ["fc.weight", "fc.bias"] {
        let (analytic, value) = (work.grad(path).unwrap(), model.param(path).unwrap());
        for (index, analytic) in analytic.indexed_iter() {
            let mut at = |h: f64| {
                let mut moved = value.clone();
                moved[index.clone()] += h;
                model.set_param(path, &moved).unwrap();
                loss_at(&mut model, &x)
            };
            let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((numeric - analytic).abs() < 1e-8, "{path}: {numeric} {analytic}");
        }
        model.set_param(path, &value).unwrap();
    }
    let analytic = work.input_grad("x").unwrap();
    for (index, analytic) in analytic.indexed_iter() {
        let mut at = |h: f64| {
            let mut moved = x.clone().into_dyn();
            moved[index.clone()] += h;
            loss_at(&mut model, &moved.into_dimensionality().unwrap())
        };
        assert!(((at(1e-5) - at(-1e-5)) / 2e-5 - analytic).abs() < 1e-8);
    }
    assert!(
        work.input_grad("target")
            .unwrap_err()
            .to_string()
            .contains("#[grad] target")
    );
    assert!(
        work.grad("fc.wait")
            .unwrap_err()
            .to_string()
            .contains("fc.weight")
    );
    let squares: f64 = work
        .grads()
        .unwrap()
        .iter()
        .flat_map(|(_, grad)| grad.iter().map(|g| g * g))
        .sum();
    assert!((work.grad_norm().unwrap() - squares.sqrt()).abs() < 1e-12);
}

impl Tiny {
    /// The same model at another step, so that its random numbers can be repeated.
    fn core_mut_at(&mut self, step: u64) {
        let values: Vec<_> = self
            .params()
            .iter()
            .map(|(path, _)| (*path, self.param(path).unwrap()))
            .collect();
        let mut fresh = Self::builder(self.device())
            .seed(42)
            .precision(self.precision())
            .build()
            .unwrap();
        assert_eq!(fresh.step(), step, "only step 0 can be repeated so");
        for (path, value) in values {
            fresh.set_param(path, &value).unwrap();
        }
        *self = fresh;
    }
}

#[test]
fn added_gradients_sum_and_a_failed_addition_changes_nothing() {
    let (a, b) = (batch(4), batch(3));
    let mut summed = model(Precision::F64);
    let mut work = summed.loss_workspace(4).unwrap();
    summed.loss_grad(&mut work, &a.0, &a.1).unwrap();
    let first = work.grad("fc.weight").unwrap();
    summed.loss_grad_add(&mut work, &b.0, &b.1).unwrap();
    let sum = work.grad("fc.weight").unwrap();

    let mut apart = model(Precision::F64);
    let mut one = apart.loss_workspace(4).unwrap();
    apart.loss_grad(&mut one, &a.0, &a.1).unwrap();
    apart.loss_grad(&mut one, &b.0, &b.1).unwrap();
    assert_eq!(sum, first + one.grad("fc.weight").unwrap());

    let bad = b.0.mapv(|_| f64::NAN);
    let error = summed.loss_grad_add(&mut work, &bad, &b.1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NonFinite);
    assert_eq!((work.grad("fc.weight").unwrap(), summed.step()), (sum, 2));
}

#[test]
fn the_first_value_that_is_not_finite_is_named() {
    let mut model = model(Precision::F32);
    let (mut x, target) = batch(4);
    let mut work = model.loss_workspace(4).unwrap();
    x[[1, 2]] = f64::INFINITY;
    let error = model.loss_grad(&mut work, &x, &target).unwrap_err().to_string();
    assert!(
        error.contains("argument `x` has 1 element that is infinite or NaN"),
        "{error}"
    );
    x[[1, 2]] = 1e38;
    let error = model.loss_grad(&mut work, &x, &target).unwrap_err().to_string();
    assert!(
        error.contains("the loss is inf") && error.contains("`loss` of shape []"),
        "{error}"
    );
    assert!(
        work.grad("fc.bias")
            .unwrap_err()
            .to_string()
            .contains("holds no gradients")
    );
    model
        .set_param("fc.weight", &Array2::from_elem((2, 3), f64::MAX))
        .unwrap();
    let error = model.loss_grad(&mut work, &x, &target).unwrap_err().to_string();
    assert!(error.contains("parameter `fc.weight` has 6 elements"), "{error}");
    model
        .set_param("fc.weight", &Array2::from_elem((2, 3), 1e30))
        .unwrap();
    let error = model.loss_grad(&mut work, &x, &target).unwrap_err().to_string();
    assert!(
        error.contains("the first value that is not finite is `y` of shape [4, 2]"),
        "{error}"
    );
    assert_eq!(model.step(), 0);
}

#[test]
fn a_trace_shows_the_numbers_of_the_next_step() {
    let mut model = model(Precision::F64);
    let (x, target) = batch(4);
    let trace = model.trace_loss(&x, &target).unwrap();
    let mut work = model.loss_workspace(4).unwrap();
    let loss = model.loss_grad(&mut work, &x, &target).unwrap();
    assert_eq!(
        trace
            .get("loss")
            .unwrap()
            .array
            .iter()
            .copied()
            .collect::<Vec<_>>(),
        [loss]
    );
    let y = trace.get("y").unwrap();
    assert_eq!((y.shape(), y.n_non_finite), (&[4, 2][..], 0));
    assert!((y.array.mean().unwrap() - y.mean).abs() < 1e-12 && y.min <= y.mean && y.mean <= y.max);
    assert!((y.array.std(0.0) - y.std).abs() < 1e-12);
    assert!(trace.to_string().lines().count() == 3);
}

#[test]
fn a_probe_finds_the_function_behind_a_path() {
    fn find(
        model: &Tiny,
        path: impl Fn(&Tiny, Probe, Probe) -> tapeless_runtime::Result<f64>,
    ) -> Option<usize> {
        function_of(model.core(), &path(model, Probe, Probe))
    }
    let model = model(Precision::F32);
    assert_eq!(find(&model, Tiny::loss), Some(1));
    assert_eq!(find(&model, Tiny::accuracy), Some(2));
    assert_eq!(find(&model, Tiny::error), Some(3));
    assert_eq!(find(&model, |_, _, _| Ok(0.0)), None);
    assert_eq!(model.core().function("accuracy").unwrap(), 2);
    assert!(
        model
            .core()
            .function("acuracy")
            .unwrap_err()
            .to_string()
            .contains("forward, loss, accuracy")
    );
}

#[test]
fn parameters_are_read_and_replaced_by_path() {
    let mut model = model(Precision::F32);
    assert_eq!(model.n_params(), 10);
    assert_eq!(model.params()[0], ("fc.weight", vec![2, 3]));
    assert_eq!(model.states(), [("mean", vec![3]), ("untouched", vec![1])]);
    model.set_param("fc.bias", &array![1.0_f32, 2.0]).unwrap();
    assert_eq!(
        model.param_as::<f32>("fc.bias").unwrap(),
        array![1.0_f32, 2.0].into_dyn()
    );
    let error = model.set_param("fc.bias", &array![1.0_f32]).unwrap_err();
    assert_eq!(error.to_string(), "`fc.bias`: expected shape [2], found [1]");
    model.set_state("mean", &array![1.0, 2.0, 3.0]).unwrap();
    assert_eq!(model.state("mean").unwrap(), array![1.0, 2.0, 3.0].into_dyn());
    let same = self::model(Precision::F32);
    assert_eq!(
        same.param("fc.weight").unwrap(),
        model.param("fc.weight").unwrap()
    );
}

#[test]
fn summary_and_schedule_are_told() {
    let summary = Tiny::summary();
    for part in ["fc (Linear)", "[B, 2]", "10 (40 B in f32)", "workspace of loss"] {
        assert!(summary.contains(part), "{summary}");
    }
    let schedule = Tiny::explain_at(&[("B", 64)]);
    for part in [
        "Tiny::loss (train) for B = 64",
        "matmul + bias",
        "896 FLOP",
        "4 slots",
    ] {
        assert!(schedule.contains(part), "{schedule}");
    }
}
