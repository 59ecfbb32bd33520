//! Models as files.

mod tiny;

use std::path::PathBuf;

use ndarray::{Array2, array};
use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tapeless_runtime::model::Model;
use tapeless_runtime::{Device, ErrorKind, Precision};
use tiny::Tiny;

fn model(precision: Precision, seed: u64) -> Tiny {
    let device = Device::cpu().threads(1);
    Tiny::builder(&device)
        .seed(seed)
        .precision(precision)
        .build()
        .unwrap()
}

fn place(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("tapeless-checkpoints-{}-{test}", std::process::id()))
}

fn bits(model: &Tiny) -> (u64, u64, Vec<u8>, Vec<u8>) {
    let core = model.core();
    let (params, states) = (
        core.params().as_slice().to_vec(),
        core.states().as_slice().to_vec(),
    );
    (core.seed(), core.step(), params, states)
}

/// A file of another framework.
fn write(path: &PathBuf, tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[test]
fn a_loaded_model_is_the_saved_one() {
    let path = place("round-trip");
    for precision in [Precision::F32, Precision::F64] {
        let mut saved = model(precision, 3);
        saved.set_state("mean", &array![1.0, -2.0, 0.1]).unwrap();
        let mut work = saved.loss_workspace(2).unwrap();
        let x = Array2::<f32>::ones((2, 3));
        saved
            .loss_grad(&mut work, &x, &Array2::<f32>::ones((2, 2)))
            .unwrap();
        saved.save(&path).unwrap();
        let mut loaded = model(precision, 4);
        loaded.load(&path).unwrap();
        assert_eq!(bits(&loaded), bits(&saved));
        let bytes = std::fs::read(&path).unwrap();
        loaded.save(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let texts = header.metadata().clone().unwrap();
        assert_eq!(
            (texts["tapeless.model"].as_str(), texts["tapeless.seed"].as_str()),
            ("Tiny", "3")
        );
        assert_eq!(texts["tapeless.precision"], precision.to_string());
    }
    // Of another precision: the numbers are rounded.
    let mut single = model(Precision::F32, 4);
    single.load(&path).unwrap();
    assert_eq!(single.state("mean").unwrap()[2], f64::from(0.1_f32));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn files_of_another_framework_load_by_path() {
    let path = place("foreign");
    let bf16: Vec<u8> = [0x3f80_u16, 0xc000]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    write(
        &path,
        &[
            (
                "fc.weight",
                Dtype::F32,
                &[2, 3],
                floats(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            ),
            ("fc.bias", Dtype::BF16, &[2], bf16),
            (
                "offset",
                Dtype::F64,
                &[2],
                [0.5_f64, 0.25].iter().flat_map(|x| x.to_le_bytes()).collect(),
            ),
            ("mean", Dtype::F32, &[3], floats(&[0.0; 3])),
            ("untouched", Dtype::F32, &[1], floats(&[9.0])),
            (
                "bn.num_batches_tracked",
                Dtype::I64,
                &[],
                5_i64.to_le_bytes().to_vec(),
            ),
        ],
    );
    let mut loaded = model(Precision::F32, 11);
    loaded.load(&path).unwrap();
    assert_eq!(
        loaded.param("fc.weight").unwrap(),
        array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].into_dyn()
    );
    assert_eq!(loaded.param("fc.bias").unwrap(), array![1.0, -2.0].into_dyn());
    assert_eq!((loaded.core().seed(), loaded.step()), (11, 0));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_does_not_fit_is_an_error_or_a_report() {
    let path = place("partial");
    write(
        &path,
        &[
            ("fc.weight", Dtype::F32, &[3, 2], floats(&[0.0; 6])),
            ("fc.bias", Dtype::F32, &[2], floats(&[3.0, 4.0])),
            ("offset", Dtype::I32, &[2], vec![0; 8]),
            ("mean", Dtype::F32, &[3], floats(&[1.0, 2.0, 3.0])),
            ("head.weight", Dtype::F32, &[1], floats(&[1.0])),
        ],
    );
    let mut loaded = model(Precision::F32, 1);
    let before = bits(&loaded);
    let error = loaded.load(&path).unwrap_err();
    assert_eq!((error.kind(), bits(&loaded)), (ErrorKind::Checkpoint, before));
    let message = error.to_string();
    for part in [
        "`fc.weight`: expected shape [2, 3], found [3, 2] (and 1 more such tensors)",
        "the file lacks `untouched`",
        "the model has no `head.weight`",
        "help: `load_partial` takes over what fits",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let report = loaded.load_partial(&path).unwrap();
    assert_eq!(report.loaded, ["fc.bias", "mean"]);
    assert_eq!(
        (report.missing.as_slice(), report.unexpected.as_slice()),
        (&["untouched".to_owned()][..], &["head.weight".to_owned()][..])
    );
    let mismatched: Vec<_> = report
        .mismatched
        .iter()
        .map(|m| (m.path.as_str(), m.reason.as_str()))
        .collect();
    let reasons = [
        ("fc.weight", "expected shape [2, 3], found [3, 2]"),
        ("offset", "expected floats, found elements of type I32"),
    ];
    assert_eq!(mismatched, reasons);
    assert!(!report.is_complete());
    assert_eq!(loaded.param("fc.bias").unwrap(), array![3.0, 4.0].into_dyn());
    assert_eq!(
        loaded.param("fc.weight").unwrap(),
        model(Precision::F32, 1).param("fc.weight").unwrap()
    );
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_later_version_is_refused() {
    let path = place("version");
    model(Precision::F32, 1).save(&path).unwrap();
    let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
    assert!(text.contains(r#""tapeless.version":"1""#));
    let mut bytes = std::fs::read(&path).unwrap();
    let key = br#""tapeless.version":""#;
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    bytes[at] = b'2';
    std::fs::write(&path, bytes).unwrap();
    let error = model(Precision::F32, 1).load(&path).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("version 1 expected, found version \"2\""),
        "{error}"
    );
    std::fs::remove_file(path).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is in the file, loading gives a whole model or an error and the model as it was.
    #[test]
    fn damaged_files_never_make_half_a_model(at in 0_usize..2000, value: u8, cut in 0_usize..2000) {
        let path = place("damaged");
        let mut loaded = model(Precision::F32, 1);
        loaded.save(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(bytes.len().max(1) - if cut < 1000 { cut % bytes.len() } else { 0 });
        std::fs::write(&path, &bytes).unwrap();
        let before = bits(&loaded);
        if loaded.load(&path).is_err() {
            prop_assert_eq!(bits(&loaded), before);
        }
    }
}
