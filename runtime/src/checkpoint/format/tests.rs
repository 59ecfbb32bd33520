use std::sync::LazyLock;

use super::*;
use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

fn entries() -> Vec<Entry<'static>> {
    let entry = |name, shape: &'static [usize], elements| Entry {
        name: Cow::Borrowed(name),
        shape: Cow::Borrowed(shape),
        elements,
    };
    let long: Vec<f32> = (0..1300).map(|k| k as f32 * 0.37).collect();
    vec![
        entry(
            "odd \"name\"\\\n",
            &[3],
            Elements::F32(vec![1.0, -2.5, 3.25].into()),
        ),
        entry("long", &[13, 100], Elements::F32(long.into())),
        entry("scalar", &[], Elements::F64(vec![std::f64::consts::PI].into())),
        entry("empty", &[2, 0, 5], Elements::F64(Vec::new().into())),
    ]
}

fn written() -> Vec<u8> {
    let path = std::env::temp_dir().join(format!("tapeless-format-{:?}", std::thread::current().id()));
    let metadata = [("b", "two\nlines".to_owned()), ("a", "ü".to_owned())];
    write(&path, &metadata, &entries()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    bytes
}

/// A file, written once for all cases of a property.
static WRITTEN: LazyLock<Vec<u8>> = LazyLock::new(written);

/// A file with this header and this many bytes of data.
fn file(header: &str, n_data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(std::iter::repeat_n(0, n_data));
    bytes
}

#[test]
fn reads_what_it_writes_and_writes_the_same_bytes_again() {
    let bytes = written();
    assert_eq!(bytes, written());
    let contents = Contents::parse(bytes).unwrap();
    assert_eq!(
        (contents.text("a"), contents.text("b"), contents.text("c")),
        (Some("ü"), Some("two\nlines"), None)
    );
    for entry in entries() {
        let tensor = contents.tensor(&entry.name).unwrap();
        assert_eq!(tensor.shape, &*entry.shape);
        match entry.elements {
            Elements::F32(x) => assert_eq!(tensor.floats::<f32>().unwrap(), *x),
            Elements::F64(x) => assert_eq!(tensor.floats::<f64>().unwrap(), *x),
        }
    }
    assert_eq!(contents.names().count(), 4);
}

#[test]
fn the_reference_implementation_reads_our_files() {
    let bytes = written();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["b"], "two\nlines");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.len(), 4);
    let odd = tensors.tensor("odd \"name\"\\\n").unwrap();
    assert_eq!((odd.dtype(), odd.shape()), (safetensors::Dtype::F32, &[3][..]));
    assert_eq!(odd.data(), [1.0_f32, -2.5, 3.25].map(f32::to_le_bytes).concat());
    assert_eq!(
        tensors.tensor("scalar").unwrap().data(),
        std::f64::consts::PI.to_le_bytes()
    );
}

#[test]
fn reads_files_of_the_reference_implementation() {
    let half: Vec<u8> = [0x3c00_u16, 0xc000]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    let count = 7_i64.to_le_bytes();
    let tensors = [
        (
            "bn.weight",
            TensorView::new(safetensors::Dtype::F16, vec![2], &half).unwrap(),
        ),
        (
            "bn.num_batches_tracked",
            TensorView::new(safetensors::Dtype::I64, vec![], &count).unwrap(),
        ),
    ];
    let contents = Contents::parse(safetensors::serialize(tensors, None).unwrap()).unwrap();
    assert_eq!(
        contents.tensor("bn.weight").unwrap().floats::<f32>().unwrap(),
        [1.0, -2.0]
    );
    let error = contents
        .tensor("bn.num_batches_tracked")
        .unwrap()
        .floats::<f32>()
        .unwrap_err();
    assert_eq!(
        (
            error.kind(),
            error.to_string().contains("found elements of type I64")
        ),
        (ErrorKind::Dtype, true)
    );
}

#[test]
fn lying_headers_are_errors_that_say_what_is_wrong() {
    let tensor = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let huge = 1_u64 << 61;
    // Eight tensors of 2^61 bytes: their sum does not fit into 64 bits.
    let many: Vec<_> = (0..8_u64)
        .map(|k| {
            format!(
                r#""{k}":{{"dtype":"U8","shape":[{huge}],"data_offsets":[{},{}]}}"#,
                k * huge,
                u128::from(k + 1) * u128::from(huge)
            )
        })
        .collect();
    let cases = [
        (Vec::new(), "at least 8 bytes, found 0"),
        (vec![0; 7], "at least 8 bytes, found 7"),
        (
            vec![0xff; 100],
            "a header of 18446744073709551615 bytes is announced, 92 follow",
        ),
        (file("", 0), "not JSON"),
        (file("[]", 0), "not a JSON object"),
        (file(&"[".repeat(100_000), 0), "not JSON"),
        (
            file(r#"{"__metadata__":3}"#, 0),
            "`__metadata__` is not a JSON object",
        ),
        (file(r#"{"__metadata__":{"a":[1]}}"#, 0), "`a` is not a text"),
        (file(r#"{"w":3}"#, 0), "tensor `w`: `dtype` is not a text"),
        (
            file(&tensor("F32", "[-1]", "[0,4]"), 4),
            "`shape` is not a list of sizes",
        ),
        (
            file(&tensor("F32", "[1.5]", "[0,4]"), 4),
            "`shape` is not a list of sizes",
        ),
        (file(&tensor("F32", "[1]", "[0]"), 4), "not a pair of offsets"),
        (
            file(&tensor("F32", "[1]", "[0,18446744073709551616]"), 4),
            "not a pair of offsets",
        ),
        (file(&tensor("F32", "[1]", "[4,0]"), 4), "bytes 4 .. 0 of 4"),
        (file(&tensor("F32", "[2]", "[0,8]"), 7), "bytes 0 .. 8 of 7"),
        (
            file(&tensor("F32", "[2]", "[0,4]"), 4),
            "elements F32 of shape [2] do not take 4 bytes",
        ),
        (
            file(&tensor("F32", "[4294967296,4294967296]", "[0,0]"), 0),
            "do not take 0 bytes",
        ),
        (
            file(&tensor("F32", "[1]", "[0,4]"), 5),
            "1 bytes at the end belong to no tensor",
        ),
        (
            file(&tensor("F32", "[1]", "[4,8]"), 8),
            "its data starts at byte 4, expected 0",
        ),
        (file(&format!("{{{}}}", many.join(",")), 8), "of 8"),
    ];
    for (bytes, expected) in cases {
        let error = Contents::parse(bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
        assert!(
            error.to_string().contains(expected),
            "{error}\n  expected: {expected}"
        );
    }
}

#[test]
fn overlapping_tensors_are_an_error() {
    let header = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    let error = Contents::parse(file(header, 6)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("tensor `b`: its data starts at byte 2, expected 4"),
        "{error}"
    );
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = WRITTEN.clone();
    for len in 0..bytes.len() {
        assert!(
            Contents::parse(bytes[..len].to_vec()).is_err(),
            "{len} of {} bytes",
            bytes.len()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Contents::parse(bytes);
    }

    #[test]
    fn random_headers_never_panic(
        header in r#"(\{("w":\{"dtype":"(F32|U8|X)","shape":\[[0-9]{1,20}(,[0-9]{1,20})?\],"data_offsets":\[[0-9]{1,20},[0-9]{1,20}\]\})?,?("__metadata__":\{("a":"b")?\})?\}|[\[\]{}:",0-9a-f]{0,60})"#,
        n_data in 0_usize..20,
    ) {
        let _ = Contents::parse(file(&header, n_data));
    }

    #[test]
    fn a_changed_byte_is_an_error_or_a_well_formed_file(at in 0_usize..5000, value: u8) {
        let mut bytes = WRITTEN.clone();
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(contents) = Contents::parse(bytes) {
            for name in contents.names() {
                let tensor = contents.tensor(name).unwrap();
                if let Ok(elements) = tensor.floats::<f64>() {
                    prop_assert_eq!(elements.len(), tensor.shape.iter().product::<usize>());
                }
            }
        }
    }
}
