//! Weights that stay packed from prediction to prediction: never those of another model, of other parameters or of other sizes.

#![allow(missing_docs)]

use ndarray::{Array2, Array3, Array4, Ix2, Ix3};
use tapeless::prelude::*;

/// A stack of layers, all of whose weights are packed together.
#[model]
pub struct Block<const D: usize> {
    norm: LayerNorm<D>,
    up: Linear<D, { 2 * D }>,
    down: Linear<{ 2 * D }, D>,
}

#[model]
impl<const D: usize> Block<D> {
    pub fn forward<B: Dim, T: Dim>(&self, x: Tensor<B, T, D>) -> Tensor<B, T, D> {
        x + self.down(self.up(self.norm(x)).relu())
    }
}

#[model]
pub struct Net {
    first: Linear<40, 72>,
    blocks: [Block<72>; 3],
    memory: Lstm<72, 48>,
    last: Linear<48, 100>,
}

#[model]
impl Net {
    pub fn scores<B: Dim, T: Dim>(&self, x: Tensor<B, T, 40>) -> Tensor<B, T, 100> {
        let mut x = self.first(x);
        for block in &self.blocks {
            x = block(x);
        }
        let (x, _, _) = self.memory(x);
        self.last(x)
    }

    pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 40>, y: Tensor<B, T, 100>) -> Scalar {
        mse(self.scores(x), y)
    }
}

/// Weights that are no parameter's alone, and one layer twice.
#[model]
pub struct Mixed {
    shared: Linear<70, 70>,
    #[layer(init = normal(0.0, 0.1))]
    gain: Param<70, 70>,
}

#[model]
impl Mixed {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 70>) -> Tensor<B, 70> {
        let x = self.shared(self.shared(x).tanh());
        x.matmul(self.gain * 2.0)
    }
}

/// What stays packed would count in its budget.
#[model]
pub struct Limited {
    layer: Linear<80, 90>,
}

#[model(max_memory = "64 KiB", dims(B = 4))]
impl Limited {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 80>) -> Tensor<B, 90> {
        self.layer(x)
    }
}

/// Windows over one pixel and more, several groups, pooling at once, and a stack.
#[model]
pub struct Residual<const C: usize> {
    #[layer(padding = 1)]
    wide: Conv2d<C, C, 3>,
    thin: Conv2d<C, C, 1>,
}

#[model]
impl<const C: usize> Residual<C> {
    pub fn forward<B: Dim, H: Dim, W: Dim>(&self, x: Tensor<B, C, H, W>) -> Tensor<B, C, H, W> {
        x + self.thin(self.wide(x).relu())
    }
}

#[model]
pub struct Pictures {
    first: Conv2d<3, 66, 5>,
    #[layer(padding = 1, stride = 2)]
    second: Conv2d<66, 66, 3>,
    blocks: [Residual<66>; 2],
    #[layer(groups = 3)]
    grouped: Conv2d<66, 99, 3>,
    head: Linear<99, 50>,
}

#[model]
impl Pictures {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 3, 20, 20>) -> Tensor<B, 50> {
        let x = self.first(x).relu().max_pool2d(2);
        let mut x = self.second(x).tanh();
        for block in &self.blocks {
            x = block(x);
        }
        self.head(self.grouped(x).relu().mean(axes = (2, 3)))
    }
}

/// Layers behind flattened images: weights that are read in the order of the image, some of an array.
#[model]
pub struct Flattened {
    conv: Conv2d<1, 20, 3>,
    hidden: Linear<_, 64>,
    more: [Linear<720, 64>; 2],
    few: Linear<_, 7>,
    last: Linear<64, 7>,
}

#[model]
impl Flattened {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 1, 14, 14>) -> Tensor<B, 7> {
        let maps = self.conv(x).relu().max_pool2d(2);
        let mut hidden = self.hidden(maps.flatten());
        for more in &self.more {
            hidden = hidden.tanh() + more(maps.flatten());
        }
        self.last(hidden.relu()) + self.few(maps.flatten())
    }

    pub fn loss<B: Dim>(&self, x: Tensor<B, 1, 14, 14>, y: Tensor<B, 7>) -> Scalar {
        mse(self.scores(x), y)
    }
}

/// What stays packed would count in its budget; an image is not copied for that.
#[model]
pub struct Thrifty {
    conv: Conv2d<1, 20, 3>,
    hidden: Linear<_, 9>,
}

#[model(max_memory = "96 KiB", dims(B = 4))]
impl Thrifty {
    pub fn scores<B: Dim>(&self, x: Tensor<B, 1, 14, 14>) -> Tensor<B, 9> {
        self.hidden(self.conv(x).relu().max_pool2d(2).flatten())
    }
}

fn sequences(b: usize, t: usize) -> Array3<f32> {
    Array3::from_shape_fn((b, t, 40), |(b, t, k)| {
        ((b * 131 + t * 17 + k) as f32 * 0.37).sin()
    })
}

fn targets(b: usize, t: usize) -> Array3<f32> {
    Array3::from_shape_fn((b, t, 100), |(b, t, k)| {
        ((b * 13 + t * 7 + k) as f32 * 0.11).cos()
    })
}

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::High, Precision::Bf16];

fn net(precision: Precision, seed: u64) -> Net {
    let builder = Net::builder(&Device::cpu().threads(2))
        .seed(seed)
        .precision(precision);
    builder.build().expect("a model")
}

/// A prediction in a workspace that is kept has the bits of one in a workspace of its own, in which nothing is kept.
#[track_caller]
fn agree(model: &Net, work: &mut Workspace, [b, t]: [usize; 2]) {
    let x = sequences(b, t);
    let alone = model.scores(&x).expect("sizes fit");
    for call in 0..2 {
        let kept = model.scores_in(work, &x).expect("sizes fit");
        let kept = kept.view::<f32, Ix3>(0).expect("three axes");
        assert_eq!(kept, alone, "call {call} with {b} x {t} in {}", model.precision());
    }
}

#[test]
fn packed_weights_are_those_of_the_parameters() -> Result<()> {
    for precision in PRECISIONS {
        let mut model = net(precision, 1);
        let mut work = model.scores_workspace(NetScoresDims { b: 4, t: 6 })?;
        agree(&model, &mut work, [4, 6]);
        // Set by hand.
        let weight = model.param("blocks.1.up.weight")?.mapv(|w| w * 0.5);
        model.set_param("blocks.1.up.weight", &weight)?;
        agree(&model, &mut work, [4, 6]);
        // Trained.
        let mut train = model.loss_workspace(NetLossDims { b: 2, t: 3 })?;
        let mut adam = Adam::new(1e-2);
        model.train_step(&mut train, &mut adam, &sequences(2, 3), &targets(2, 3))?;
        agree(&model, &mut work, [4, 6]);
        // Loaded.
        let folder = std::env::temp_dir().join(format!("tapeless-packs-{}-{precision}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("net.safetensors");
        net(precision, 2).save(&file)?;
        model.load(&file)?;
        std::fs::remove_dir_all(&folder).expect("the folder is there");
        agree(&model, &mut work, [4, 6]);
    }
    Ok(())
}

#[test]
fn packed_weights_are_those_of_the_sizes() -> Result<()> {
    for precision in PRECISIONS {
        let model = net(precision, 3);
        let mut work = model.scores_workspace(NetScoresDims { b: 8, t: 80 })?;
        for size in [[4, 6], [8, 80], [1, 1], [2, 80], [8, 80], [1, 2], [8, 3]] {
            agree(&model, &mut work, size);
        }
    }
    Ok(())
}

#[test]
fn packed_weights_are_those_of_the_model() -> Result<()> {
    let (a, b) = (net(Precision::F32, 4), net(Precision::F32, 5));
    let mut work = a.scores_workspace(NetScoresDims { b: 4, t: 6 })?;
    for model in [&a, &b, &b, &a] {
        agree(model, &mut work, [4, 6]);
    }
    Ok(())
}

#[test]
fn gradients_in_the_same_workspace_overwrite_them() -> Result<()> {
    let mut model = net(Precision::F32, 6);
    let mut work = model.loss_workspace(NetLossDims { b: 4, t: 6 })?;
    let (x, y) = (sequences(4, 6), targets(4, 6));
    let loss = |model: &Net, work: &mut Workspace| -> Result<f64> { model.loss_in(work, &x, &y) };
    let alone = model.loss(&x, &y)?;
    for _ in 0..3 {
        assert_eq!(loss(&model, &mut work)?, alone);
        assert_eq!(loss(&model, &mut work)?, alone);
        model.loss_grad(&mut work, &x, &y)?;
    }
    Ok(())
}

#[test]
fn weights_that_are_computed_are_packed_anew() -> Result<()> {
    let mut model = Mixed::new(&Device::cpu(), 7)?;
    let mut work = model.scores_workspace(9)?;
    let x = Array2::from_shape_fn((9, 70), |(b, k)| ((b * 70 + k) as f32 * 0.3).sin());
    for factor in [1.0, 0.5, -1.0] {
        for path in ["gain", "shared.weight"] {
            let changed = model.param(path)?.mapv(|w| w * factor + 0.01);
            model.set_param(path, &changed)?;
            let alone = model.scores(&x)?;
            for _ in 0..2 {
                let kept = model.scores_in(&mut work, &x)?;
                assert_eq!(kept.view::<f32, Ix2>(0)?, alone);
            }
        }
    }
    Ok(())
}

#[test]
fn convolutions_keep_theirs() -> Result<()> {
    for precision in PRECISIONS {
        let builder = Pictures::builder(&Device::cpu().threads(2)).seed(8);
        let mut model = builder.precision(precision).build()?;
        let mut work = model.scores_workspace(60)?;
        for b in [5, 1, 60, 5] {
            let x = Array4::from_shape_fn((b, 3, 20, 20), |(b, c, y, x)| {
                ((b * 997 + c * 89 + y * 16 + x) as f32 * 0.21).sin()
            });
            for path in [
                "first.weight",
                "second.weight",
                "blocks.1.wide.weight",
                "blocks.0.thin.weight",
            ] {
                let changed = model.param(path)?.mapv(|w| w * 0.9 - 0.001);
                model.set_param(path, &changed)?;
                let alone = model.scores(&x)?;
                for _ in 0..2 {
                    let kept = model.scores_in(&mut work, &x)?;
                    assert_eq!(kept.view::<f32, Ix2>(0)?, alone, "batch {b} in {precision}");
                }
            }
        }
    }
    Ok(())
}

fn pictures(b: usize) -> Array4<f32> {
    Array4::from_shape_fn((b, 1, 14, 14), |(b, _, y, x)| {
        ((b * 233 + y * 16 + x) as f32 * 0.19).sin()
    })
}

/// Kept or not, and after everything that changes parameters.
#[test]
fn weights_behind_a_flattened_image_are_those_of_the_parameters() -> Result<()> {
    for precision in PRECISIONS {
        let build = |seed| {
            let builder = Flattened::builder(&Device::cpu().threads(2)).seed(seed);
            builder.precision(precision).build()
        };
        let mut model = build(9)?;
        let mut work = model.scores_workspace(40)?;
        let mut agree = |model: &Flattened| -> Result<()> {
            for b in [40, 1, 3, 8, 9, 40] {
                let x = pictures(b);
                let alone = model.scores(&x)?;
                for _ in 0..2 {
                    let kept = model.scores_in(&mut work, &x)?;
                    assert_eq!(kept.view::<f32, Ix2>(0)?, alone, "batch {b} in {precision}");
                }
            }
            Ok(())
        };
        agree(&model)?;
        for path in ["hidden.weight", "more.1.weight", "few.weight"] {
            let changed = model.param(path)?.mapv(|w| w * 0.5 - 0.001);
            model.set_param(path, &changed)?;
            agree(&model)?;
        }
        let mut train = model.loss_workspace(6)?;
        let mut adam = Adam::new(1e-2);
        let targets = Array2::from_shape_fn((6, 7), |(b, k)| ((b * 7 + k) as f32 * 0.7).sin());
        model.train_step(&mut train, &mut adam, &pictures(6), &targets)?;
        agree(&model)?;
        let name = format!(
            "tapeless-flattened-{}-{precision}.safetensors",
            std::process::id()
        );
        let file = std::env::temp_dir().join(name);
        build(10)?.save(&file)?;
        model.load(&file)?;
        std::fs::remove_file(&file).expect("the file is there");
        agree(&model)?;
    }
    Ok(())
}

/// The order of a sum is all that the order of an image changes: predictions, whose weights are read in the order of the image, have
/// the loss of a step, in which the image is turned.
#[test]
fn a_flattened_image_has_its_numbers_in_the_order_of_the_user() -> Result<()> {
    let mut model = Flattened::new(&Device::cpu(), 11)?;
    for (seed, path) in ["hidden.weight", "more.0.weight", "more.1.weight", "few.weight"]
        .into_iter()
        .enumerate()
    {
        // No two planes or pixels have weights of one size.
        let mut k = seed as f32;
        let weights = model.param(path)?.mapv(|_| {
            k += 1.0;
            (k * 0.37).sin() * (k * 0.001).cos() * 0.1
        });
        model.set_param(path, &weights)?;
    }
    let mut train = model.loss_workspace(30)?;
    for b in [1, 2, 8, 9, 30] {
        let (x, y) = (pictures(b), Array2::<f32>::zeros((b, 7)));
        let loss = model.loss_grad(&mut train, &x, &y)?;
        let scores = model.scores(&x)?;
        let mean = scores.iter().map(|s| f64::from(s * s)).sum::<f64>() / scores.len() as f64;
        assert!((loss - mean).abs() < 1e-5 * mean, "batch {b}: {loss} and {mean}");
        assert!((loss - model.loss(&x, &y)?).abs() < 1e-5 * mean);
    }
    Ok(())
}

/// The schedule says what stays packed, and a budget leaves it out.
#[test]
fn schedules_tell() {
    let text = Net::explain();
    let packed = text.lines().filter(|line| line.contains("weight_packed"));
    assert!(packed.count() >= 6, "{text}");
    let text = Pictures::explain();
    let packed = text.lines().filter(|line| line.contains("weight_packed"));
    assert_eq!(packed.count(), 5, "{text}");
    let text = Limited::explain();
    assert!(!text.contains("weight_packed"), "{text}");
    let text = Flattened::explain();
    let packed = text.lines().filter(|line| line.contains("weight_packed"));
    assert!(packed.count() >= 4, "{text}");
    let predictions = text
        .split("Flattened::loss")
        .next()
        .expect("a part before the loss");
    for text in [predictions, &Thrifty::explain()] {
        assert!(!text.contains("copy"), "{text}");
    }
}
