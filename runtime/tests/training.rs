//! The trainer: what it measures, when it stops, and that an interrupted training continues bit for bit.

mod tiny;

use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2};
use proptest::prelude::*;
use tapeless_runtime::data::{Arrays, Batch, Dataset, Loader};
use tapeless_runtime::model::Model;
use tapeless_runtime::optim::{Adam, Optimizer, Schedule, Sgd};
use tapeless_runtime::train::{End, Flow};
use tapeless_runtime::{Device, Error, ErrorKind, History, Precision, Result, Trainer};
use tiny::Tiny;

type Samples = Arrays<(Array2<f32>, Array2<f32>)>;

/// A batch size that leaves a short last batch.
const BATCH: usize = 4;

fn model(precision: Precision) -> Tiny {
    let device = Device::cpu().threads(2);
    Tiny::builder(&device)
        .seed(7)
        .precision(precision)
        .build()
        .unwrap()
}

fn samples(n: usize, shift: f32) -> Samples {
    let x = Array2::from_shape_fn((n, 3), |(i, j)| ((5 * i + 3 * j) % 17) as f32 / 8.0 - 1.0 + shift);
    let target = Array2::from_shape_fn((n, 2), |(i, j)| x[[i, j]] * 1.5 - x[[i, 2]] + j as f32);
    Arrays::new((x, target)).unwrap()
}

/// A file's place, made unique by the test's name, without what an earlier run has left.
fn place(test: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tapeless-training-{}-{test}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder.join("run.safetensors")
}

fn clear(path: &Path) {
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

/// Every bit of a model that a step depends on.
fn bits(model: &Tiny) -> (u64, Vec<u8>, Vec<u8>) {
    let core = model.core();
    (
        core.step(),
        core.params().as_slice::<u8>().to_vec(),
        core.states().as_slice::<u8>().to_vec(),
    )
}

/// The bits of what was measured, without the times.
fn measured(history: &History) -> Vec<Vec<u64>> {
    ["train_loss", "loss", "lr", "samples"]
        .into_iter()
        .chain(history.metrics().iter().map(String::as_str))
        .map(|name| {
            history
                .column(name)
                .unwrap()
                .into_iter()
                .map(f64::to_bits)
                .collect()
        })
        .collect()
}

#[test]
fn does_what_a_loop_written_by_hand_does() {
    let (train, test) = (samples(10, 0.0), samples(7, 0.1));
    let mut trained = model(Precision::F64);
    let history = Trainer::new(Adam::new(0.01))
        .epochs(3)
        .batch_size(BATCH)
        .seed(5)
        .error_metric("error", Tiny::error)
        .fit(&mut trained, &train, &test)
        .unwrap();

    let mut own = model(Precision::F64);
    let (mut work, mut adam) = (own.loss_workspace(BATCH).unwrap(), Adam::new(0.01));
    let mut loader = Loader::new(&train, BATCH).unwrap().shuffle(5);
    for epoch in 0..3 {
        let mut sum = 0.0;
        loader
            .epoch(epoch, |batches| {
                while let Some(batch) = batches.next()? {
                    let (x, target) = batch.views();
                    sum += own.loss_grad(&mut work, x, target)? * batch.n_samples() as f64;
                    adam.step(&mut own, &mut work)?;
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(history.epochs()[epoch as usize].train_loss, sum / 10.0);
    }
    assert_eq!(bits(&own), bits(&trained));
    // The whole test set in one call is the mean over samples that short batches must give too.
    let (x, target) = test.columns();
    let last = history.last().unwrap();
    assert!((last.loss.unwrap() - own.loss(x, target).unwrap()).abs() < 1e-12);
    assert!((history.last_metric("error").unwrap() - own.error(x, target).unwrap()).abs() < 1e-12);
    assert!(history.column("train_loss").unwrap().is_sorted_by(|a, b| a > b));
    assert_eq!(
        (history.epochs().len(), history.end(), last.n_samples),
        (3, End::Epochs, 10)
    );
}

/// A data set that fails at its `n`-th batch, as a crash would end a training there.
struct Failing<'a> {
    data: &'a Samples,
    left: std::sync::atomic::AtomicUsize,
}

impl Dataset for Failing<'_> {
    type Batch = <Samples as Dataset>::Batch;

    fn len(&self) -> usize {
        self.data.len()
    }

    fn empty_batch(&self, capacity: usize) -> Result<Self::Batch> {
        self.data.empty_batch(capacity)
    }

    fn batch(&self, indices: &[usize], into: &mut Self::Batch) -> Result<()> {
        use std::sync::atomic::Ordering::SeqCst;
        if self.left.load(SeqCst) == 0 {
            return Err(Error::format("the power has failed"));
        }
        self.left.fetch_sub(1, SeqCst);
        self.data.batch(indices, into)
    }
}

fn resumable<'a>(path: &PathBuf) -> Trainer<'a, Tiny, Adam> {
    Trainer::new(Adam::new(0.02).clip_norm(1.0))
        .epochs(3)
        .batch_size(BATCH)
        .schedule(Schedule::cosine(0.1).warmup(2))
        .error_metric("error", Tiny::error)
        .keep_best("error")
        .checkpoint(path)
        .checkpoint_steps(1)
}

#[test]
fn continues_bit_for_bit_after_an_interruption_at_any_step() {
    let path = place("any-step");
    let (train, test) = (samples(11, 0.0), samples(5, 0.2));
    for precision in [Precision::F32, Precision::F64] {
        let mut whole = model(precision);
        let uninterrupted = resumable(&path).fit(&mut whole, &train, &test).unwrap();
        // 3 epochs of 3 batches, the last of which has 3 samples.
        for n_done in 1..9 {
            let failing = Failing {
                data: &train,
                left: n_done.into(),
            };
            let mut first = model(precision);
            let error = resumable(&path).fit(&mut first, &failing, &test).unwrap_err();
            assert!(error.to_string().contains("the power has failed"), "{error}");
            assert_eq!(first.step(), n_done as u64);

            // Another process: nothing but the file is known, and even the seed of the model is another.
            let mut second = Tiny::builder(&Device::cpu().threads(1))
                .seed(99)
                .precision(precision)
                .build()
                .unwrap();
            let resumed = resumable(&path)
                .resume(&path)
                .fit(&mut second, &train, &test)
                .unwrap();
            assert_eq!(
                bits(&second),
                bits(&whole),
                "{precision}, interrupted after {n_done} steps"
            );
            assert_eq!(measured(&resumed), measured(&uninterrupted));
            assert_eq!(resumed.best_epoch(), uninterrupted.best_epoch());
            assert_eq!(resumed.warnings(), [""; 0]);
        }
        // Between the last step of an epoch and the end of its validation, which has two batches.
        for n_done in 0..6 {
            let failing = Failing {
                data: &test,
                left: n_done.into(),
            };
            resumable(&path)
                .fit(&mut model(precision), &train, &failing)
                .unwrap_err();
            let mut second = model(precision);
            let resumed = resumable(&path)
                .resume(&path)
                .fit(&mut second, &train, &test)
                .unwrap();
            assert_eq!(
                (bits(&second), measured(&resumed)),
                (bits(&whole), measured(&uninterrupted))
            );
        }
    }
    clear(&path);
}

#[test]
fn more_epochs_continue_a_finished_training() {
    let (path, train) = (place("more-epochs"), samples(9, 0.0));
    let trainer = |epochs| {
        Trainer::new(Sgd::new(0.05).momentum(0.9))
            .epochs(epochs)
            .batch_size(BATCH)
            .checkpoint(&path)
    };
    let mut whole = model(Precision::F32);
    let history = trainer(5).fit_without_validation(&mut whole, &train).unwrap();
    let mut parts = model(Precision::F32);
    trainer(2).fit_without_validation(&mut parts, &train).unwrap();
    let mut parts = model(Precision::F32);
    let resumed = trainer(5)
        .resume(&path)
        .fit_without_validation(&mut parts, &train)
        .unwrap();
    assert_eq!(
        (bits(&parts), measured(&resumed)),
        (bits(&whole), measured(&history))
    );
    // Nothing is left to do: the model is the checkpoint's.
    let mut again = model(Precision::F32);
    let same = trainer(5)
        .resume(&path)
        .fit_without_validation(&mut again, &train)
        .unwrap();
    assert_eq!((bits(&again), same), (bits(&whole), resumed));
    clear(&path);
}

#[test]
fn a_file_is_asked_for_unless_it_may_be_missing() {
    let (path, train) = (place("missing"), samples(9, 0.0));
    let mut trained = model(Precision::F32);
    let error = Trainer::new(Adam::default())
        .resume(&path)
        .fit_without_validation(&mut trained, &train)
        .unwrap_err();
    assert_eq!((error.kind(), trained.step()), (ErrorKind::Io, 0));
    assert!(error.to_string().contains("run.safetensors"), "{error}");
    let history = Trainer::new(Adam::default())
        .resume_if_exists(&path)
        .fit_without_validation(&mut trained, &train)
        .unwrap();
    assert_eq!(history.epochs().len(), 1);
    clear(&path);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_changes() {
    let (path, train) = (place("refused"), samples(11, 0.0));
    let failing = Failing {
        data: &train,
        left: 2.into(),
    };
    let mut trained = model(Precision::F32);
    let error = Trainer::new(Adam::new(0.1))
        .batch_size(BATCH)
        .checkpoint(&path)
        .checkpoint_steps(2)
        .fit_without_validation(&mut trained, &failing)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "epoch 1: after 2 of 3 batches: batch 2: the power has failed"
    );
    let try_with = |mut trained: Tiny, adam: bool, batch_size, train: &Samples| {
        let before = bits(&trained);
        let error = if adam {
            let mut trainer = Trainer::new(Adam::new(0.1)).batch_size(batch_size).resume(&path);
            trainer.fit_without_validation(&mut trained, train)
        } else {
            let mut trainer = Trainer::new(Sgd::new(0.1)).batch_size(batch_size).resume(&path);
            trainer.fit_without_validation(&mut trained, train)
        };
        assert_eq!(bits(&trained), before);
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Checkpoint);
        error.to_string()
    };
    let error = try_with(model(Precision::F64), true, BATCH, &train);
    assert!(
        error.contains("precision f64 expected, found precision f32"),
        "{error}"
    );
    let error = try_with(model(Precision::F32), false, BATCH, &train);
    assert!(error.contains("sgd") && error.contains("adam"), "{error}");
    let error = try_with(model(Precision::F32), true, 5, &train);
    assert!(
        error.contains("4 samples in a batch when the checkpoint was written, 5 now"),
        "{error}"
    );
    let error = try_with(model(Precision::F32), true, BATCH, &samples(12, 0.0));
    assert!(error.contains("11 samples in the training set when"), "{error}");
    trained.save(&path).unwrap();
    let error = try_with(model(Precision::F32), true, BATCH, &train);
    assert!(
        error.contains("this is the file of a model, not of a training"),
        "{error}"
    );
    clear(&path);
}

#[test]
fn a_crash_between_writing_and_renaming_loses_nothing() {
    let (path, train) = (place("crash"), samples(11, 0.0));
    let trainer = || {
        Trainer::new(Adam::new(0.1))
            .epochs(2)
            .batch_size(BATCH)
            .checkpoint(&path)
    };
    let mut whole = model(Precision::F32);
    trainer().fit_without_validation(&mut whole, &train).unwrap();

    let mut first = model(Precision::F32);
    trainer()
        .epochs(1)
        .fit_without_validation(&mut first, &train)
        .unwrap();
    let good = std::fs::read(&path).unwrap();
    // As it is left by a process that is killed while it writes the next one: files of that process's naming.
    for n in 0..3 {
        let name = format!(".run.safetensors.{}-{n}.tmp", std::process::id() - 1);
        std::fs::write(path.with_file_name(name), &good[..good.len() / 2]).unwrap();
    }
    let mut second = model(Precision::F32);
    trainer()
        .resume(&path)
        .fit_without_validation(&mut second, &train)
        .unwrap();
    assert_eq!(bits(&second), bits(&whole));
    // And a file that was cut off, as without renaming, would be an error and not half a training.
    for len in [0, 7, 100, good.len() / 2, good.len() - 1] {
        std::fs::write(&path, &good[..len]).unwrap();
        let mut third = model(Precision::F32);
        let before = bits(&third);
        let error = trainer()
            .resume(&path)
            .fit_without_validation(&mut third, &train)
            .unwrap_err();
        assert_eq!(
            (error.kind(), bits(&third)),
            (ErrorKind::Format, before),
            "{error}"
        );
    }
    clear(&path);
}

#[test]
fn stops_early_and_puts_the_best_back() {
    // A learning rate that first helps and then, by its growing schedule, hurts.
    let (path, train, test) = (place("early"), samples(12, 0.0), samples(6, 0.3));
    let trainer = |path: &PathBuf| {
        Trainer::new(Sgd::new(0.9))
            .epochs(40)
            .batch_size(BATCH)
            .schedule(Schedule::constant().warmup(40))
            .error_metric("error", Tiny::error)
            .early_stopping("error", 3)
            .keep_best("error")
            .checkpoint(path)
    };
    let mut trained = model(Precision::F64);
    let history = trainer(&path).fit(&mut trained, &train, &test).unwrap();
    let errors = history.column("error").unwrap();
    let best = errors.iter().copied().fold(f64::INFINITY, f64::min);
    let best_epoch = 1 + errors.iter().position(|&error| error == best).unwrap();
    assert_eq!(history.end(), End::EarlyStopping);
    assert!(errors.len() < 40, "{errors:?}");
    assert_eq!(
        (history.best_epoch(), errors.len()),
        (Some(best_epoch), best_epoch + 3)
    );
    let (x, target) = test.columns();
    assert!((trained.error(x, target).unwrap() - best).abs() < 1e-12);
    // Resumed, it is over at once, with the same result.
    let mut resumed = model(Precision::F64);
    let again = trainer(&path)
        .resume(&path)
        .fit(&mut resumed, &train, &test)
        .unwrap();
    assert_eq!(
        (again.end(), bits(&resumed).1),
        (End::EarlyStopping, bits(&trained).1)
    );
    clear(&path);
}

#[test]
fn a_callback_sees_every_epoch_and_may_end_the_training() {
    let train = samples(9, 0.0);
    let mut seen = Vec::new();
    let mut trained = model(Precision::F32);
    let history = Trainer::new(Adam::default())
        .epochs(10)
        .objective(Tiny::loss)
        .on_epoch(|end| {
            seen.push((end.record.epoch, end.history.epochs().len(), end.model.step()));
            Ok(if end.record.epoch == 3 {
                Flow::Stop
            } else {
                Flow::Continue
            })
        })
        .fit_without_validation(&mut trained, &train)
        .unwrap();
    assert_eq!(history.end(), End::Callback);
    assert_eq!(seen, [(1, 1, 1), (2, 2, 2), (3, 3, 3)]);
    let error = Trainer::new(Adam::default())
        .on_epoch(|_| Err(Error::new(ErrorKind::Callback, "enough")))
        .fit_without_validation(&mut trained, &train)
        .unwrap_err();
    assert_eq!(error.to_string(), "epoch 1: callback: enough");
}

#[test]
fn lines_tell_what_the_history_holds() {
    let (train, test) = (samples(9, 0.0), samples(5, 0.0));
    let mut lines = Vec::new();
    let history = Trainer::new(Adam::default())
        .epochs(2)
        .error_metric("error", Tiny::error)
        .progress_to(&mut lines)
        .fit(&mut model(Precision::F32), &train, &test)
        .unwrap();
    let lines = String::from_utf8(lines).unwrap();
    let record = &history.epochs()[1];
    let expected = format!(
        "epoch 2/2  train_loss {:.4}  loss {:.4}  error {:.4}  ",
        record.train_loss,
        record.loss.unwrap(),
        record.metrics[0]
    );
    assert_eq!(lines.lines().count(), 2);
    assert!(lines.lines().nth(1).unwrap().starts_with(&expected), "{lines}");
    let mut csv = Vec::new();
    history.write_csv(&mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert!(
        csv.starts_with("epoch,train_loss,loss,lr,seconds,samples_per_second,samples,error\n1,"),
        "{csv}"
    );
}

#[test]
fn functions_are_found_by_path_and_by_name() {
    let (train, test) = (samples(8, 0.0), samples(4, 0.0));
    let fit = |mut trainer: Trainer<'_, Tiny, Adam>| trainer.fit(&mut model(Precision::F64), &train, &test);
    let new = || Trainer::new(Adam::default());
    let by_path = fit(new().objective(Tiny::loss).error_metric("e", Tiny::error)).unwrap();
    let by_name = fit(new().objective("loss").error_metric("e", "error")).unwrap();
    assert_eq!(measured(&by_path), measured(&by_name));
    let cases = [
        (
            fit(new().objective("lose")),
            "objective: Tiny has no function `lose`",
        ),
        (
            fit(new().objective("error")),
            "Tiny::error depends on no parameter",
        ),
        (
            fit(new().metric("y", "forward")),
            "Tiny::forward: expected a function that returns a `Scalar`",
        ),
        (
            fit(new().metric("a", Tiny::accuracy)),
            "argument `label`: expected u8 elements, found f32",
        ),
        (
            fit(new().metric("m", |_: &Tiny, _, _| Ok(0.0))),
            "metric \"m\": this path leads to no function",
        ),
        (
            fit(new().metric("loss", Tiny::error)),
            "two columns of the history would be called \"loss\"",
        ),
        (
            fit(new().scalar("dropout", 0.5)),
            "no function of this training takes a scalar `dropout`; help: they take none",
        ),
        (
            fit(new().early_stopping("acc", 2)),
            "there is no metric \"acc\" to watch",
        ),
        (fit(new().batch_size(0)), "the batch size is 0"),
        (fit(new().checkpoint_steps(5)), "there is no file to write"),
        (fit(new().batch_size(9).drop_last()), "fewer samples than a batch"),
    ];
    for (result, expected) in cases {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n  expected: {expected}");
    }
    let one_column = Arrays::new((Array1::<f32>::zeros(4),)).unwrap();
    let error = new()
        .fit_without_validation(&mut model(Precision::F32), &one_column)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("takes 2 arrays, the data set's batches have 1"),
        "{error}"
    );
    let error = new()
        .error_metric("e", Tiny::error)
        .fit_without_validation(&mut model(Precision::F32), &train)
        .unwrap_err();
    assert!(
        error.to_string().contains("there is none; help: use `fit`"),
        "{error}"
    );
}

#[test]
fn a_loss_that_is_not_finite_ends_the_training_with_a_whole_checkpoint() {
    let (path, train) = (place("nan"), samples(11, 0.0));
    let mut bad = train.clone().into_columns();
    bad.0[[6, 1]] = f32::NAN;
    let bad = Arrays::new(bad).unwrap();
    let trainer = || {
        Trainer::new(Adam::new(0.1))
            .batch_size(BATCH)
            .unshuffled()
            .checkpoint(&path)
            .checkpoint_steps(1)
    };
    let mut trained = model(Precision::F32);
    let error = trainer().fit_without_validation(&mut trained, &bad).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NonFinite);
    assert!(
        error
            .to_string()
            .starts_with("epoch 1: after 1 of 3 batches: Tiny::loss: "),
        "{error}"
    );
    // With the sample mended, the training goes on as if it had never been bad.
    trainer()
        .resume(&path)
        .fit_without_validation(&mut trained, &train)
        .unwrap();
    let mut whole = model(Precision::F32);
    trainer().fit_without_validation(&mut whole, &train).unwrap();
    assert_eq!(bits(&trained), bits(&whole));
    clear(&path);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A damaged checkpoint is an error that changes nothing, or one that could have been written.
    #[test]
    fn damaged_checkpoints_never_panic(at in 0_usize..4000, value in prop_oneof![b'0'..=b'9', any::<u8>()]) {
        static GOOD: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
            let path = place("damaged-good");
            resumable(&path).epochs(1).fit(&mut model(Precision::F32), &samples(11, 0.0), &samples(5, 0.0)).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            clear(&path);
            bytes
        });
        let path = place("damaged");
        let mut bytes = GOOD.clone();
        let at = at % bytes.len();
        bytes[at] = value;
        std::fs::write(&path, bytes).unwrap();
        let mut resumed = model(Precision::F32);
        let before = bits(&resumed);
        let history = Trainer::new(Adam::new(0.02))
            .epochs(2)
            .batch_size(BATCH)
            .error_metric("error", Tiny::error)
            .resume(&path)
            .fit(&mut resumed, &samples(11, 0.0), &samples(5, 0.0));
        if let Err(error) = history
            && matches!(error.kind(), ErrorKind::Format | ErrorKind::Checkpoint)
        {
            prop_assert_eq!(bits(&resumed), before);
        }
    }
}
