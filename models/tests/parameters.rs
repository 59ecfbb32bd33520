//! Parameters have the paths, shapes and numbers of those of torchvision, so that its weights load without a map, and begin with
//! the deviations that are documented.

use tapeless::prelude::*;
use tapeless_models::{AlexNet, ResNet18, ResNet20, Vgg11};

/// The number of parameters that the summary states; the model is not made.
fn n_params<M: Model>() -> usize {
    let summary = M::summary();
    let line = summary.lines().find_map(|line| line.strip_prefix("parameters"));
    let number = line.and_then(|line| line.split_whitespace().next());
    let digits = number.expect("the summary states it").replace(',', "");
    digits.parse().expect("it is a number")
}

#[test]
fn full_sizes_are_those_of_the_papers() {
    assert_eq!(n_params::<ResNet18<3, 64, 1000>>(), 11_689_512);
    assert_eq!(n_params::<Vgg11<3, 64, 1000>>(), 132_863_336);
    assert_eq!(n_params::<AlexNet<3, 64, 1000>>(), 61_100_840);
    assert_eq!(n_params::<ResNet20<3, 16, 10>>(), 269_722);
}

type Shapes = Vec<(String, Vec<usize>)>;

/// The model's tensors, trained and carried, by path.
fn tensors<M: Model>() -> Shapes {
    let model = M::new(&Device::cpu(), 1).expect("a small model fits into memory");
    let all = model.params().into_iter().chain(model.states());
    let mut all: Shapes = all.map(|(path, shape)| (path.to_owned(), shape)).collect();
    all.sort();
    all
}

fn conv(list: &mut Shapes, path: &str, shape: [usize; 4]) {
    list.push((format!("{path}.weight"), shape.to_vec()));
}

fn norm(list: &mut Shapes, path: &str, width: usize) {
    for name in ["weight", "bias", "running_mean", "running_var"] {
        list.push((format!("{path}.{name}"), vec![width]));
    }
}

fn linear(list: &mut Shapes, path: &str, shape: [usize; 2]) {
    list.push((format!("{path}.weight"), shape.to_vec()));
    list.push((format!("{path}.bias"), vec![shape[0]]));
}

/// `torchvision.models.resnet.BasicBlock` without its `downsample`.
fn basic_block(list: &mut Shapes, path: &str, [from, to]: [usize; 2]) {
    conv(list, &format!("{path}.conv1"), [to, from, 3, 3]);
    norm(list, &format!("{path}.bn1"), to);
    conv(list, &format!("{path}.conv2"), [to, to, 3, 3]);
    norm(list, &format!("{path}.bn2"), to);
}

fn sorted(mut list: Shapes) -> Shapes {
    list.sort();
    list
}

#[test]
fn resnet18_has_the_paths_of_torchvision() {
    let mut list = Vec::new();
    conv(&mut list, "conv1", [4, 3, 7, 7]);
    norm(&mut list, "bn1", 4);
    for (stage, [from, to]) in [[4, 4], [4, 8], [8, 16], [16, 32]].into_iter().enumerate() {
        let path = format!("layer{}", stage + 1);
        basic_block(&mut list, &format!("{path}.0"), [from, to]);
        basic_block(&mut list, &format!("{path}.1"), [to, to]);
        if stage > 0 {
            conv(&mut list, &format!("{path}.0.downsample.0"), [to, from, 1, 1]);
            norm(&mut list, &format!("{path}.0.downsample.1"), to);
        }
    }
    linear(&mut list, "fc", [7, 32]);
    assert_eq!(tensors::<ResNet18<3, 4, 7>>(), sorted(list));
}

#[test]
fn resnet20_has_paths_after_the_manner_of_torchvision() {
    let mut list = Vec::new();
    conv(&mut list, "conv1", [4, 3, 3, 3]);
    norm(&mut list, "bn1", 4);
    for (stage, [from, to]) in [[4, 4], [4, 8], [8, 16]].into_iter().enumerate() {
        basic_block(&mut list, &format!("layer{}.0", stage + 1), [from, to]);
        for block in 1..3 {
            basic_block(&mut list, &format!("layer{}.{block}", stage + 1), [to, to]);
        }
    }
    linear(&mut list, "fc", [10, 16]);
    assert_eq!(tensors::<ResNet20<3, 4, 10>>(), sorted(list));
}

/// The same with the names of the weights, written out.
fn plain(paths: &[(&str, &[usize])]) -> Shapes {
    let both = |(path, shape): &(&str, &[usize])| {
        [
            (format!("{path}.weight"), shape.to_vec()),
            (format!("{path}.bias"), vec![shape[0]]),
        ]
    };
    sorted(paths.iter().flat_map(both).collect())
}

#[test]
fn vgg11_has_the_paths_of_torchvision() {
    let list = plain(&[
        ("features.0", &[2, 3, 3, 3]),
        ("features.3", &[4, 2, 3, 3]),
        ("features.6", &[8, 4, 3, 3]),
        ("features.8", &[8, 8, 3, 3]),
        ("features.11", &[16, 8, 3, 3]),
        ("features.13", &[16, 16, 3, 3]),
        ("features.16", &[16, 16, 3, 3]),
        ("features.18", &[16, 16, 3, 3]),
        ("classifier.0", &[128, 784]),
        ("classifier.3", &[128, 128]),
        ("classifier.6", &[5, 128]),
    ]);
    assert_eq!(tensors::<Vgg11<3, 2, 5>>(), list);
}

#[test]
fn alexnet_has_the_paths_of_torchvision() {
    let list = plain(&[
        ("features.0", &[2, 3, 11, 11]),
        ("features.3", &[6, 2, 5, 5]),
        ("features.6", &[12, 6, 3, 3]),
        ("features.8", &[8, 12, 3, 3]),
        ("features.10", &[8, 8, 3, 3]),
        ("classifier.1", &[128, 288]),
        ("classifier.4", &[128, 128]),
        ("classifier.6", &[5, 128]),
    ]);
    assert_eq!(tensors::<AlexNet<3, 2, 5>>(), list);
}

/// Square root of the mean square of a parameter of the model.
fn deviation<M: Model>(path: &str) -> f64 {
    let model = M::new(&Device::cpu(), 1).expect("a small model fits into memory");
    let values = model.param(path).expect("the parameter is there");
    (values.mapv(|x| x * x).sum() / values.len() as f64).sqrt()
}

#[test]
fn weights_begin_as_documented() {
    // 2 / fan in, of 16 channels and kernels of 3 x 3, in a layer of an array and in a single one.
    for path in ["layer1.2.conv1.weight", "layer2.0.conv1.weight"] {
        let found = deviation::<ResNet20<3, 16, 10>>(path);
        assert!((found * 72.0_f64.sqrt() - 1.0).abs() < 0.05, "{path}: {found}");
    }
    let found = deviation::<Vgg11<3, 2, 5>>("classifier.0.weight");
    assert!((found / 0.01 - 1.0).abs() < 0.05, "{found}");
}
