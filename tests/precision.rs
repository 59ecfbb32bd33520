//! The precisions of a model: losses near those of f64, the same bits on any number of threads, files that can be exchanged; on
//! every instruction set of this machine, and on tiles that are carried out in software where the CPU has none.

#![allow(missing_docs)]

#[path = "../runtime/tests/tiles/mod.rs"]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[allow(dead_code)]
mod tiles;

use ndarray::{Array1, Array2, Array4};
use tapeless::cpu::isa::Isa;
use tapeless::data::Arrays;
use tapeless::prelude::*;

#[model]
pub struct Mlp {
    fc1: Linear<64, 128>,
    fc2: Linear<_, 10>,
}

#[model]
impl Mlp {
    pub fn loss<B: Dim>(&self, x: Tensor<B, 64>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.fc2(self.fc1(x).relu()), label)
    }
}

#[model]
pub struct Cnn {
    conv1: Conv2d<1, 8, 3>,
    #[layer(stride = 2, padding = 1)]
    conv2: Conv2d<8, 16, 3>,
    mix: Conv2d<16, 16, 1>,
    fc: Linear<_, 10>,
}

#[model]
impl Cnn {
    pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 14, 14>, label: Tensor<u8, B>) -> Scalar {
        let x = self.conv2(self.conv1(image).relu()).relu();
        cross_entropy(self.fc(self.mix(x).tanh().flatten()), label)
    }
}

const BATCH: usize = 96;
const STEPS: usize = 6;

fn labels() -> Array1<u8> {
    Array1::from_shape_fn(BATCH, |b| (b * 7 % 10) as u8)
}

fn vectors() -> Array2<f32> {
    Array2::from_shape_fn((BATCH, 64), |(b, k)| ((b * 31 + k * 17) as f32 * 0.1).sin())
}

fn images() -> Array4<f32> {
    Array4::from_shape_fn((BATCH, 1, 14, 14), |(b, _, y, x)| {
        ((b * 13 + y * 5 + x * 3) as f32 * 0.2).sin()
    })
}

/// The bits of every parameter.
fn bits<M: Model>(model: &M) -> Vec<u64> {
    let params = model
        .params()
        .into_iter()
        .map(|(path, _)| model.param(path).unwrap());
    params
        .flat_map(|x| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
        .collect()
}

/// What a few steps of a training come to.
#[derive(PartialEq, Debug)]
struct Trained {
    losses: Vec<f64>,
    bits: Vec<u64>,
}

fn mlp(precision: Precision, isa: Isa, threads: usize) -> Result<Trained> {
    let device = Device::cpu().threads(threads).path(isa);
    let mut model = Mlp::builder(&device).seed(5).precision(precision).build()?;
    assert_eq!(model.precision(), precision);
    let (mut work, mut adam) = (model.loss_workspace(BATCH)?, Adam::new(1e-3));
    let step = |_| model.train_step(&mut work, &mut adam, &vectors(), &labels());
    let losses = (0..STEPS).map(step).collect::<Result<_>>()?;
    Ok(Trained {
        losses,
        bits: bits(&model),
    })
}

fn cnn(precision: Precision, isa: Isa, threads: usize) -> Result<Trained> {
    let device = Device::cpu().threads(threads).path(isa);
    let mut model = Cnn::builder(&device).seed(5).precision(precision).build()?;
    let (mut work, mut sgd) = (model.loss_workspace(BATCH)?, Sgd::new(0.3).momentum(0.9));
    let step = |_| model.train_step(&mut work, &mut sgd, &images(), &labels());
    let losses = (0..STEPS).map(step).collect::<Result<_>>()?;
    Ok(Trained {
        losses,
        bits: bits(&model),
    })
}

/// Every instruction set that can be tried here.
fn sets() -> Vec<Isa> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    let in_software = match tiles::tiles() {
        Some((amx, tiles::Executed::InSoftware)) => Some(Isa::Amx(amx)),
        _ => None,
    };
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    let in_software = None;
    Isa::available().iter().copied().chain(in_software).collect()
}

/// How far from the loss of f64 that of a precision may be, relative to it, after a few steps.
fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::F64 => 1e-12,
        Precision::F32 => 2e-6,
        Precision::High => 2e-5,
        _ => 5e-3,
    }
}

fn check(train: impl Fn(Precision, Isa, usize) -> Result<Trained>) -> Result<()> {
    let exact = train(Precision::F64, Isa::best(), 1)?;
    assert!(
        exact.losses[STEPS - 1] < 0.99 * exact.losses[0],
        "{:?}",
        exact.losses
    );
    for isa in sets() {
        for &precision in Precision::ALL {
            let one = train(precision, isa, 1)?;
            println!("{precision} on {isa}: {:?}", one.losses);
            for (loss, exact) in one.losses.iter().zip(&exact.losses) {
                let off = (loss - exact).abs() / exact;
                assert!(
                    off <= tolerance(precision),
                    "{precision} on {isa}: {loss} for {exact}"
                );
            }
            for threads in [2, 8] {
                let more = train(precision, isa, threads)?;
                assert!(more == one, "{precision} on {isa} with {threads} threads");
            }
        }
    }
    Ok(())
}

#[test]
fn an_mlp_trains_in_every_precision() -> Result<()> {
    check(mlp)
}

#[test]
fn a_cnn_trains_in_every_precision() -> Result<()> {
    check(cnn)
}

/// A precision that is served by the same instructions as another gives its bits; one that rounds more does not.
#[test]
fn precisions_are_what_they_say() -> Result<()> {
    for isa in sets() {
        let [single, high, half] = [Precision::F32, Precision::High, Precision::Bf16]
            .map(|precision| mlp(precision, isa, 1).expect("it trains").bits);
        assert_eq!(single == high, !matches!(isa, Isa::Amx(_)), "{isa}");
        assert_ne!(single, half, "{isa}");
    }
    Ok(())
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
fn products_of_a_model_run_on_tiles() -> Result<()> {
    if let Some((amx, tiles::Executed::InSoftware)) = tiles::tiles() {
        for precision in [Precision::F32, Precision::High, Precision::Bf16] {
            // Other tests multiply on the same tiles meanwhile; with one thread, this one does the work.
            let before = tiles::MULTIPLIED_HERE.get();
            mlp(precision, Isa::Amx(amx), 1)?;
            assert!(tiles::MULTIPLIED_HERE.get() > before, "{precision}");
        }
    }
    Ok(())
}

#[test]
fn files_of_single_precisions_can_be_exchanged() -> Result<()> {
    let path = std::env::temp_dir().join(format!("tapeless-precision-{}.safetensors", std::process::id()));
    let device = Device::cpu();
    let build = |precision, seed| Mlp::builder(&device).seed(seed).precision(precision).build();
    let singles = [Precision::F32, Precision::High, Precision::Bf16];
    for from in singles {
        let saved = build(from, 3)?;
        saved.save(&path)?;
        for to in singles {
            let mut loaded = build(to, 4)?;
            loaded.load(&path)?;
            assert_eq!(bits(&loaded), bits(&saved), "{from} as {to}");
        }
    }
    // A training goes on in another of them, and says so; one of f64 does not.
    let train = Arrays::new((vectors(), labels()))?;
    let trainer = || {
        Trainer::new(Adam::new(1e-3))
            .epochs(2)
            .batch_size(32)
            .checkpoint(&path)
    };
    trainer()
        .epochs(1)
        .fit_without_validation(&mut build(Precision::F32, 1)?, &train)?;
    let history = trainer()
        .resume(&path)
        .fit_without_validation(&mut build(Precision::Bf16, 1)?, &train)?;
    assert_eq!(history.epochs().len(), 2);
    let said = "was written in precision f32 and continues in bf16";
    assert!(
        history.warnings().iter().any(|w| w.contains(said)),
        "{:?}",
        history.warnings()
    );
    let error = trainer()
        .resume(&path)
        .fit_without_validation(&mut build(Precision::F64, 1)?, &train)
        .unwrap_err();
    let expected = "a training of precision f64 expected, found precision bf16";
    assert!(error.to_string().contains(expected), "{error}");
    std::fs::remove_file(&path).map_err(|error| Error::config(error.to_string()))?;
    Ok(())
}
