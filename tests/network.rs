//! `network!`: the short form gives the models that the long form gives.

#![allow(missing_docs)]

use ndarray::{Array2, Array4};
use tapeless::prelude::*;

const CLASSES: usize = 3;

network! {
    /// LeNet on small images.
    pub struct Short(1, 8, 8) -> CLASSES {
        Conv2d<_, 4, 3>(padding = 1), Tanh, AvgPool2d<2>,
        Flatten, Dropout(0.2), hidden: Linear<_, 12>, Tanh, Linear<_, CLASSES>,
    }
    #[model(hvp)]
    loss = cross_entropy(label_smoothing = 0.1)
}

#[model]
pub struct Long {
    #[layer(padding = 1)]
    conv2d_1: Conv2d<1, 4, 3>,
    hidden: Linear<64, 12>,
    linear_1: Linear<12, CLASSES>,
}

#[model]
impl Long {
    pub fn forward<B: Dim>(&self, x: Tensor<B, 1, 8, 8>) -> Tensor<B, CLASSES> {
        let x = self.conv2d_1(x).tanh().avg_pool2d(2).flatten().dropout(0.2);
        self.linear_1(self.hidden(x).tanh())
    }

    pub fn loss<B: Dim>(&self, x: Tensor<B, 1, 8, 8>, label: Tensor<u8, B>) -> Scalar {
        cross_entropy(self.forward(x), label, label_smoothing = 0.1)
    }
}

fn images() -> Array4<f32> {
    Array4::from_shape_fn((5, 1, 8, 8), |(b, _, h, w)| ((7 * b + 3 * h + w) as f32).sin())
}

#[test]
fn the_short_form_computes_what_the_long_form_does() {
    let device = Device::cpu();
    let (short, long) = (Short::new(&device, 3).unwrap(), Long::new(&device, 3).unwrap());
    assert_eq!(short.params(), long.params());
    let scores = short.forward(&images()).unwrap();
    assert_eq!(scores, long.forward(&images()).unwrap());
    let labels = ndarray::arr1(&[0_u8, 1, 2, 1, 0]);
    assert_eq!(
        short.loss(&images(), &labels).unwrap(),
        long.loss(&images(), &labels).unwrap()
    );
    let right = scores.outer_iter().zip(&labels).filter(|(row, label)| {
        let best = (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        best == usize::from(**label)
    });
    let expected = right.count() as f64 / 5.0;
    assert!((short.accuracy(&images(), &labels).unwrap() - expected).abs() < 1e-6);
}

#[test]
fn the_short_form_is_trained() {
    let mut model = Short::new(&Device::cpu(), 1).unwrap();
    let (mut work, mut adam) = (model.loss_workspace(5).unwrap(), Adam::new(0.01));
    let labels = ndarray::arr1(&[0_u8, 1, 2, 1, 0]);
    let first = model
        .train_step(&mut work, &mut adam, &images(), &labels)
        .unwrap();
    let mut last = first;
    for _ in 0..60 {
        last = model
            .train_step(&mut work, &mut adam, &images(), &labels)
            .unwrap();
    }
    assert!(last < 0.7 * first, "{first} -> {last}");
}

mod parts {
    use tapeless::prelude::*;

    network! {
        /// A block with a width of its user's, through another path of the library.
        #[model(crate = ::tapeless)]
        pub struct Block<const D: usize>(D) -> D {
            norm: LayerNorm<D>, Linear<_, { 2 * D }>, Gelu, Linear<_, D>
        }
    }
}

#[test]
fn models_and_arrays_of_models_are_layers() {
    network! {
        struct Tower(6) -> 2 {
            parts::Block<6>, blocks: [parts::Block<6>; 3], Linear<_, 2>
        }
        loss = mse
    }
    let model = Tower::new(&Device::cpu(), 1).unwrap();
    let paths: Vec<&str> = model.params().iter().map(|(path, _)| *path).collect();
    assert!(paths.contains(&"block_1.norm.weight"), "{paths:?}");
    assert!(paths.contains(&"blocks.2.linear_1.weight"), "{paths:?}");
    let x = Array2::<f32>::ones((4, 6));
    let y = model.forward(&x).unwrap();
    assert_eq!(model.loss(&x, &y).unwrap(), 0.0);
}

#[test]
fn expressions_are_values_without_size() {
    let device = Device::cpu();
    let network = network![(4) => Linear<_, 8>, Relu, Linear<_, 2>; loss = bce_with_logits];
    assert_eq!(size_of_val(&network), 0);
    let (a, b) = (network.new(&device, 1).unwrap(), network.new(&device, 2).unwrap());
    let x = Array2::<f32>::ones((3, 4));
    assert_ne!(a.forward(&x).unwrap(), b.forward(&x).unwrap());
    assert!(a.loss(&x, &Array2::<f32>::zeros((3, 2))).unwrap() > 0.0);
    let double = network
        .builder(&device)
        .precision(Precision::F64)
        .build()
        .unwrap();
    assert_eq!(double.precision(), Precision::F64);
    assert!(network.summary().contains("linear_2"), "{}", network.summary());

    // Two in one scope, one with integers, one with an output that no layer tells.
    let words = network![(u32, 5) => Embedding<10, 4>, Flatten, Linear<_, 2>]
        .new(&device, 1)
        .unwrap();
    assert_eq!(words.forward(&Array2::<u32>::ones((3, 5))).unwrap().dim(), (3, 2));
    let images = network![(1, 8, 8) -> (2, 3, 3) => Conv2d<_, 2, 3>, MaxPool2d<2>]
        .new(&device, 1)
        .unwrap();
    assert_eq!(images.forward(&self::images()).unwrap().dim(), (5, 2, 3, 3));
}

mod without_words {
    //! A user who imports nothing but the macro and the layers.
    use tapeless::{Linear, Model as _, Relu, network};

    network! {
        pub struct Small(4) -> 2 { Linear<_, 3>, Relu, Linear<_, 2> }
        loss = mse
    }

    #[test]
    fn the_words_of_the_language_need_no_import() {
        assert!(Small::new(&tapeless::Device::cpu(), 1).is_ok());
    }
}

#[test]
fn the_loss_of_a_network_may_have_products_of_its_hessian() -> Result<()> {
    let model = Short::new(&Device::cpu(), 3)?;
    let (mut v, mut hv) = (model.vector()?, model.vector()?);
    v.fill_signs(1);
    let labels = ndarray::arr1(&[0_u8, 1, 2, 1, 0]);
    model.loss_hvp(&mut model.loss_workspace(5)?, &v, &mut hv, &images(), &labels)?;
    assert!(hv.norm() > 0.0 && hv.norm().is_finite());
    Ok(())
}
