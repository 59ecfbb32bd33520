//! Sweeps of small networks in one piece: the same bits as kernel by kernel, which is how a profile runs them.

#![allow(missing_docs)]

use ndarray::{Array1, Array2, Ix2};
use tapeless::cpu::isa::Isa;
use tapeless::prelude::*;

/// Products, groups and sums of every form that is inlined, and kernels that are not (dropout, cross entropy).
#[model]
pub struct Net {
    fc1: Linear<5, 8>,
    fc2: Linear<_, 17>,
    fc3: Linear<_, 17>,
    fc4: Linear<_, 3>,
}

#[model]
impl Net {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 5>) -> Tensor<B, 3> {
        let a = self.fc1(x).relu();
        let b = self.fc2(a).tanh();
        let c = self.fc3(b) + b;
        self.fc4(c.silu().dropout(0.25))
    }

    pub fn loss<B: Dim>(&self, x: Tensor<B, 5>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.scores(x), label)
    }
}

/// One output, a mean of squares: sums over one column and over all.
#[model]
pub struct Line {
    fc1: Linear<8, 8>,
    fc2: Linear<_, 1>,
}

#[model]
impl Line {
    pub fn loss<B: Dim>(&self, x: Tensor<B, 8>, y: Tensor<B, 1>) -> Scalar {
        mse(self.fc2(self.fc1(x).sigmoid()), y)
    }
}

/// How a sweep runs.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Runs {
    InOnePiece,
    ByKernels,
}

fn numbers(rows: usize, cols: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, cols), |(b, k)| ((b * cols + k) as f32 * 0.7).sin())
}

type Bits = Vec<u64>;

/// Losses and parameters of five steps, as bits.
fn bits_of<M: Model>(
    model: &mut M,
    work: &mut Workspace,
    runs: Runs,
    mut loss: impl FnMut(&mut M, &mut Workspace, &mut Sgd) -> Result<f64>,
) -> Result<Bits> {
    let mut sgd = Sgd::new(0.1).momentum(0.9);
    if runs == Runs::ByKernels {
        work.start_profile();
    }
    let mut bits = Vec::new();
    for _ in 0..5 {
        bits.push(loss(model, work, &mut sgd)?.to_bits());
    }
    let paths: Vec<String> = model
        .params()
        .into_iter()
        .map(|(path, _)| path.to_string())
        .collect();
    for path in paths {
        bits.extend(model.param(&path)?.iter().map(|x| x.to_bits()));
    }
    Ok(bits)
}

fn steps_of_net(device: &Device, precision: Precision, batch: usize, runs: Runs) -> Result<Bits> {
    let mut model = Net::builder(device).seed(3).precision(precision).build()?;
    let (x, label) = (numbers(batch, 5), Array1::from_shape_fn(batch, |b| (b % 3) as u8));
    let mut work = model.loss_workspace(batch)?;
    let mut bits = bits_of(&mut model, &mut work, runs, |model, work, sgd| {
        model.train_step(work, sgd, &x, &label)
    })?;
    let mut eval = model.scores_workspace(batch)?;
    if runs == Runs::ByKernels {
        eval.start_profile();
    }
    let outputs = model.scores_in(&mut eval, &x)?;
    let scores = outputs.array::<f64, Ix2>(0)?;
    bits.extend(scores.iter().map(|x| x.to_bits()));
    Ok(bits)
}

fn steps_of_line(device: &Device, precision: Precision, batch: usize, runs: Runs) -> Result<Bits> {
    let mut model = Line::builder(device).seed(3).precision(precision).build()?;
    let (x, y) = (numbers(batch, 8), numbers(batch, 1));
    let mut work = model.loss_workspace(batch)?;
    bits_of(&mut model, &mut work, runs, |model, work, sgd| {
        model.train_step(work, sgd, &x, &y)
    })
}

/// Batches on both sides of where a network is small, on every instruction set and in every precision.
#[test]
fn one_piece_has_the_bits_of_the_kernels() -> Result<()> {
    for &isa in Isa::available() {
        let device = Device::cpu().threads(2).path(isa);
        for precision in [Precision::F32, Precision::High, Precision::Bf16, Precision::F64] {
            for batch in [1, 2, 3, 8, 13, 64, 70, 300] {
                let both = [Runs::InOnePiece, Runs::ByKernels];
                let [whole, parts] = both.map(|runs| steps_of_net(&device, precision, batch, runs));
                assert_eq!(whole?, parts?, "net, {precision} on {isa}, batch {batch}");
                let [whole, parts] = both.map(|runs| steps_of_line(&device, precision, batch, runs));
                assert_eq!(whole?, parts?, "line, {precision} on {isa}, batch {batch}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_workspace_that_has_seen_sizes_checks_others_as_strictly() -> Result<()> {
    let mut model = Line::new(&Device::cpu().threads(1), 1)?;
    let mut work = model.loss_workspace(4)?;
    let mut sgd = Sgd::new(0.1);
    let (x, y) = (numbers(4, 8), numbers(4, 1));
    for _ in 0..2 {
        model.train_step(&mut work, &mut sgd, &x, &y)?;
        let narrow = model
            .train_step(&mut work, &mut sgd, &numbers(4, 7), &y)
            .unwrap_err();
        assert!(narrow.to_string().contains("expected shape [4, 8]"), "{narrow}");
        let short = model
            .train_step(&mut work, &mut sgd, &x, &numbers(3, 1))
            .unwrap_err();
        assert!(short.to_string().contains("expected shape [4, 1]"), "{short}");
        let long = model
            .train_step(&mut work, &mut sgd, &numbers(5, 8), &numbers(5, 1))
            .unwrap_err();
        assert!(
            long.to_string().contains("exceeds the workspace's maximum of 4"),
            "{long}"
        );
        let small = model.train_step(&mut work, &mut sgd, &numbers(2, 8), &numbers(2, 1))?;
        assert!(small.is_finite());
    }
    let mut other = Net::new(&Device::cpu().threads(1), 1)?;
    let label = Array1::<u8>::zeros(4);
    let foreign = other
        .train_step(&mut work, &mut sgd, &numbers(4, 5), &label)
        .unwrap_err();
    assert!(
        foreign.to_string().contains("this workspace was made for Line"),
        "{foreign}"
    );
    Ok(())
}

/// A call like the one before skips checks; not those of what it computes.
#[test]
fn a_call_like_the_one_before_finds_what_is_wrong_with_its_numbers() -> Result<()> {
    let mut model = Net::new(&Device::cpu().threads(1), 1)?;
    let (mut work, mut sgd) = (model.loss_workspace(4)?, Sgd::new(0.1));
    let (x, label) = (numbers(4, 5), Array1::<u8>::zeros(4));
    let mut broken = x.clone();
    broken[[2, 1]] = f32::INFINITY;
    for _ in 0..2 {
        model.train_step(&mut work, &mut sgd, &x, &label)?;
        let (step, before) = (model.step(), model.param("fc1.weight")?);
        let range = model
            .train_step(&mut work, &mut sgd, &x, &Array1::from_elem(4, 3u8))
            .unwrap_err();
        assert!(range.to_string().contains("Net::loss"), "{range}");
        let infinite = model
            .train_step(&mut work, &mut sgd, &broken, &label)
            .unwrap_err();
        assert_eq!(infinite.kind(), tapeless::ErrorKind::NonFinite, "{infinite}");
        assert_eq!(model.step(), step, "a call that fails is no step");
        assert_eq!(model.param("fc1.weight")?, before);
        let unused = sgd.step(&mut model, &mut work).unwrap_err();
        assert_eq!(unused.kind(), tapeless::ErrorKind::Config, "{unused}");
    }
    Ok(())
}

/// Arguments of other layouts and elements, accumulated gradients and profiles in between change no bit.
#[test]
fn calls_of_every_form_may_follow_one_another() -> Result<()> {
    let device = Device::cpu().threads(1);
    let (x, y) = (numbers(3, 8), numbers(3, 1));
    let (turned, wide) = (x.t().as_standard_layout().into_owned(), x.mapv(f64::from));
    let mut losses = Vec::new();
    for mixed in [0, 1] {
        let mut model = Line::new(&device, 5)?;
        let (mut work, mut sgd) = (model.loss_workspace(3)?, Sgd::new(0.1));
        for step in 0..8 {
            losses.push(match mixed * (step % 5) {
                1 => model.train_step(&mut work, &mut sgd, turned.t(), &y)?,
                2 => model.train_step(&mut work, &mut sgd, &wide, &y)?,
                3 => {
                    let loss = model.loss_accumulate(&mut work, &x, &y)?;
                    sgd.step(&mut model, &mut work)?;
                    loss
                }
                4 => {
                    work.start_profile();
                    let loss = model.train_step(&mut work, &mut sgd, &x, &y)?;
                    work.stop_profile()?;
                    loss
                }
                _ => model.train_step(&mut work, &mut sgd, &x, &y)?,
            });
        }
    }
    assert_eq!(losses[..8], losses[8..]);
    Ok(())
}

/// Results that are read after the call, beside what nobody reads: gradients by arguments, and two tensors; with sizes that are known only
/// at the call, and without.
#[model]
pub struct Sensed {
    fc1: Linear<4, 6>,
    fc2: Linear<_, 3>,
}

#[model]
impl Sensed {
    pub fn both<B: Dim>(&self, x: Tensor<B, 4>) -> (Tensor<B, 6>, Tensor<B, 3>) {
        let hidden = self.fc1(x).tanh();
        (hidden, self.fc2(hidden).softmax(axis = -1))
    }

    pub fn loss<B: Dim>(&self, #[grad] x: Tensor<B, 4>) -> Scalar {
        self.fc2(self.fc1(x).tanh()).square().mean()
    }

    pub fn both_of_one(&self, x: Tensor<1, 4>) -> (Tensor<1, 6>, Tensor<1, 3>) {
        self.both(x)
    }

    pub fn loss_of_one(&self, #[grad] x: Tensor<1, 4>) -> Scalar {
        self.loss(x)
    }
}

/// Bits of what is read after three calls of each of two functions.
fn read_later<'w>(
    runs: Runs,
    [eval, train]: [&'w mut Workspace; 2],
    mut both: impl for<'a> FnMut(&'a mut Workspace) -> Result<tapeless::call::Outputs<'a>>,
    mut grad: impl FnMut(&mut Workspace) -> Result<f64>,
) -> Result<Bits> {
    let mut bits = Vec::new();
    for _ in 0..3 {
        if runs == Runs::ByKernels {
            eval.start_profile();
            train.start_profile();
        }
        let outputs = both(eval)?;
        for k in [0, 1] {
            bits.extend(outputs.array::<f64, Ix2>(k)?.iter().map(|x| x.to_bits()));
        }
        bits.push(grad(train)?.to_bits());
        bits.push(train.loss()?.to_bits());
        bits.extend(train.input_grad("x")?.iter().map(|x| x.to_bits()));
        bits.extend(train.grad("fc1.weight")?.iter().map(|x| x.to_bits()));
    }
    Ok(bits)
}

#[test]
fn what_is_read_later_is_what_kernels_leave() -> Result<()> {
    for &isa in Isa::available() {
        let device = Device::cpu().threads(1).path(isa);
        let all = |runs: Runs, batch: usize| -> Result<Bits> {
            let mut model = Sensed::new(&device, 2)?;
            let x = numbers(batch, 4);
            let shared = Sensed::new(&device, 2)?;
            let mut spaces = [shared.both_workspace(4)?, model.loss_workspace(4)?];
            let mut bits = read_later(
                runs,
                spaces.each_mut(),
                |work| shared.both_in(work, &x),
                |work| model.loss_grad(work, &x),
            )?;
            let one = numbers(1, 4);
            let mut spaces = [shared.both_of_one_workspace()?, model.loss_of_one_workspace()?];
            bits.extend(read_later(
                runs,
                spaces.each_mut(),
                |work| shared.both_of_one_in(work, &one),
                |work| model.loss_of_one_grad(work, &one),
            )?);
            Ok(bits)
        };
        for batch in [1, 3] {
            assert_eq!(
                all(Runs::InOnePiece, batch)?,
                all(Runs::ByKernels, batch)?,
                "batch {batch} on {isa}"
            );
        }
    }
    Ok(())
}

/// Settings are checked when they have changed, not only at the first step.
#[test]
fn settings_that_change_between_steps_are_checked() -> Result<()> {
    let mut model = Line::new(&Device::cpu().threads(1), 1)?;
    let (x, y) = (numbers(1, 8), numbers(1, 1));
    let (mut work, mut sgd) = (model.loss_workspace(1)?, Sgd::new(0.1));
    for _ in 0..3 {
        model.train_step(&mut work, &mut sgd, &x, &y)?;
    }
    let before = model.param("fc1.weight")?;
    let mut wrong = sgd.clone().weight_decay(-1.0);
    for _ in 0..2 {
        let error = model.train_step(&mut work, &mut wrong, &x, &y).unwrap_err();
        assert!(error.to_string().contains("weight_decay = -1"), "{error}");
    }
    sgd.set_lr(-1.0);
    let error = model.train_step(&mut work, &mut sgd, &x, &y).unwrap_err();
    assert!(error.to_string().contains("lr = -1"), "{error}");
    assert_eq!(model.param("fc1.weight")?, before);
    sgd.set_lr(0.1);
    model.train_step(&mut work, &mut sgd, &x, &y)?;
    Ok(())
}

/// Functions whose names differ by what their types would not show.
#[model]
pub struct Alike {
    fc: Linear<4, 3>,
}

#[model]
impl Alike {
    pub fn head1<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 3> {
        self.fc(x).relu()
    }

    pub fn head_1<B: Dim>(&self, x: Tensor<B, 4>) -> Tensor<B, 3> {
        self.fc(x).tanh()
    }
}

#[test]
fn functions_of_similar_names_are_sweeps_of_their_own() -> Result<()> {
    let model = Alike::new(&Device::cpu(), 1)?;
    let x = Array2::from_elem((2, 4), 0.5f32);
    let (relu, tanh) = (model.head1(&x)?, model.head_1(&x)?);
    for (relu, tanh) in relu.iter().zip(&tanh) {
        assert!((tanh.max(0.0) - relu.tanh()).abs() < 1e-6, "{relu}, {tanh}");
    }
    Ok(())
}

#[test]
fn results_are_read_as_slices() -> Result<()> {
    let model = Net::new(&Device::cpu().threads(1), 1)?;
    let mut eval = model.scores_workspace(4)?;
    for batch in [4, 1, 3] {
        let outputs = model.scores_in(&mut eval, &numbers(batch, 5))?;
        let all = outputs.array::<f32, Ix2>(0)?;
        assert_eq!(all.dim(), (batch, 3));
        assert_eq!(outputs.slice::<f32>(0)?, all.as_slice().unwrap());
        assert!(outputs.slice::<i64>(0).is_err(), "scores are no integers");
        assert!(outputs.slice::<f32>(1).is_err(), "there is one result");
    }
    Ok(())
}

/// Products over a dynamic inner size, of factors that lie along it.
#[model]
pub struct Point {
    fc: Linear<1, 1>,
}

#[model]
impl Point {
    pub fn loss<B: Dim>(&self, x: Tensor<B, 1>, y: Tensor<B, 1>) -> Scalar {
        mse(self.fc(x), y)
    }

    pub fn gram<B: Dim>(&self, x: Tensor<3, B>, y: Tensor<4, B>) -> Tensor<3, 4> {
        x.matmul(y.transpose())
    }
}

/// Inner products that are long add up in another order than chains, also where a call could run in one piece.
#[test]
fn long_inner_products_have_the_bits_of_the_kernels() -> Result<()> {
    let device = Device::cpu().threads(1);
    for batch in [1, 3, 64, 65, 200, 1000] {
        let both = [Runs::InOnePiece, Runs::ByKernels].map(|runs| -> Result<Bits> {
            let mut model = Point::new(&device, 3)?;
            let (x, y) = (numbers(batch, 1), numbers(batch, 2).column(1).to_owned());
            let y = y.into_shape_with_order((batch, 1)).expect("one column");
            let mut work = model.loss_workspace(batch)?;
            let mut bits = bits_of(&mut model, &mut work, runs, |model, work, sgd| {
                model.train_step(work, sgd, &x, &y)
            })?;
            let mut eval = model.gram_workspace(batch)?;
            if runs == Runs::ByKernels {
                eval.start_profile();
            }
            let outputs = model.gram_in(&mut eval, &numbers(3, batch), &numbers(4, batch))?;
            let products = outputs.array::<f64, Ix2>(0)?;
            bits.extend(products.iter().map(|x| x.to_bits()));
            Ok(bits)
        });
        let [whole, parts] = both;
        assert_eq!(whole?, parts?, "batch {batch}");
    }
    Ok(())
}
