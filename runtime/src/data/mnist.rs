//! MNIST and data sets in its form: handwritten digits, 28 x 28 grey pixels, ten classes.
//!
//! The four files carry their original names and may be packed with gzip or not. Fashion-MNIST and
//! other drop-in replacements use the same names and format and load as well.
//!
//! Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits",
//! <http://yann.lecun.com/exdb/mnist/>.

use std::path::{Path, PathBuf};

use ndarray::{Array1, Array3, Dimension, Ix4, OwnedRepr};

use super::column::Pixels;
use super::dataset::Arrays;
use super::idx;
use crate::error::{Error, ErrorKind, Result};

/// The two parts of MNIST.
#[derive(Clone, Debug, PartialEq)]
pub struct Mnist {
    /// 60,000 digits to train on, in the original files.
    pub train: Digits,
    /// 10,000 digits to test on, by other writers.
    pub test: Digits,
}

/// Images of digits with their classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Digits {
    /// `[n, 28, 28]`; 0 is paper, 255 is ink.
    pub images: Array3<u8>,
    /// `[n]`; the digit, 0 to 9.
    pub labels: Array1<u8>,
}

/// Digits as a data set: images `[n, 1, 28, 28]` as normalised `f32`, labels `[n]` as `u8`.
pub type DigitArrays = Arrays<(Pixels<OwnedRepr<u8>, Ix4>, Array1<u8>)>;

impl Mnist {
    /// Mean of all pixels of the training images, in units of 0 ..= 1.
    pub const MEAN: f32 = 0.1307;
    /// Standard deviation of all pixels of the training images, in units of 0 ..= 1.
    pub const STD: f32 = 0.3081;
    /// Rows of an image.
    pub const HEIGHT: usize = 28;
    /// Columns of an image.
    pub const WIDTH: usize = 28;
    /// The number of classes.
    pub const N_CLASSES: u8 = 10;

    /// Reads the four files `{train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz]` in a folder.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if a file is missing or cannot be read, naming what was looked for;
    /// [`ErrorKind::Format`] if one is damaged or no IDX file; [`ErrorKind::Shape`] if images are not
    /// 28 x 28 or there are not as many labels as images; [`ErrorKind::Label`] if a label is not 0 to 9.
    ///
    /// ```no_run
    /// use tapeless_runtime::data::{Dataset, Loader, Mnist};
    ///
    /// let mnist = Mnist::load("examples/data/mnist")?;
    /// let (train, validation) = mnist.train.into_dataset()?.split(55_000, 42)?;
    /// let loader = Loader::new(train, 64)?.shuffle(42);
    /// # Ok::<(), tapeless_runtime::Error>(())
    /// ```
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        Ok(Self {
            train: Self::load_train(dir)?,
            test: Self::load_test(dir)?,
        })
    }

    /// Reads the two files of the training part only.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_train(dir: impl AsRef<Path>) -> Result<Digits> {
        Digits::load(dir.as_ref(), "train")
    }

    /// Reads the two files of the test part only.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_test(dir: impl AsRef<Path>) -> Result<Digits> {
        Digits::load(dir.as_ref(), "t10k")
    }
}

impl Digits {
    /// The number of digits.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no digit.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A data set of the images, normalised with MNIST's mean and deviation and with a channel axis, and
    /// their labels.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Shape`] if the fields were changed and there are no longer as many labels as images.
    pub fn into_dataset(self) -> Result<DigitArrays> {
        let images = Pixels::new(self.images)
            .normalize(Mnist::MEAN, Mnist::STD)?
            .with_channel();
        Arrays::new((images, self.labels))
    }

    fn load(dir: &Path, part: &str) -> Result<Self> {
        let (images, images_path) = read(dir, &format!("{part}-images-idx3-ubyte"))?;
        let (labels, labels_path) = read(dir, &format!("{part}-labels-idx1-ubyte"))?;
        let digits = Self { images, labels };
        digits
            .check_shapes()
            .map_err(|error| error.context(images_path.display().to_string()))?;
        digits
            .check_labels()
            .map_err(|error| error.context(labels_path.display().to_string()))?;
        Ok(digits)
    }

    fn check_shapes(&self) -> Result<()> {
        let (n_images, height, width) = self.images.dim();
        if (height, width) != (Mnist::HEIGHT, Mnist::WIDTH) {
            let message = format!("expected images of 28 x 28 pixels, found {height} x {width}");
            return Err(Error::shape(message));
        }
        match self.labels.len() {
            n_labels if n_labels == n_images => Ok(()),
            n_labels => Err(
                Error::shape(format!("{n_images} images, but {n_labels} labels beside them"))
                    .hint("the files of images and labels do not belong together"),
            ),
        }
    }

    fn check_labels(&self) -> Result<()> {
        match self.labels.iter().position(|&label| label >= Mnist::N_CLASSES) {
            None => Ok(()),
            Some(index) => {
                let message = format!("label {index} is {}, expected 0 to 9", self.labels[index]);
                Err(Error::new(ErrorKind::Label, message))
            }
        }
    }
}

/// Reads a file that may be there under its name or with `.gz` after it.
fn read<D: Dimension>(dir: &Path, name: &str) -> Result<(ndarray::Array<u8, D>, PathBuf)> {
    let candidates = [dir.join(name), dir.join(format!("{name}.gz"))];
    let Some(path) = candidates.into_iter().find(|path| path.exists()) else {
        let place = match dir.is_dir() {
            true => format!("the folder `{}` holds", dir.display()),
            false => format!("there is no folder `{}`, so", dir.display()),
        };
        let message = format!("{place} neither `{name}` nor `{name}.gz`");
        return Err(
            Error::new(ErrorKind::Io, message).hint("name the folder that holds the four files of MNIST")
        );
    };
    Ok((idx::read(&path)?, path))
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Dataset};
    use super::*;
    use ndarray::{Axis, array, s};

    /// The data that ship with the examples.
    const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/mnist");

    /// A folder in the system's folder for temporary files, removed when dropped.
    struct TempDir(PathBuf);

    impl TempDir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("tapeless-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn with(name: &str, images: &Array3<u8>, labels: &Array1<u8>) -> Self {
            let dir = Self::new(name);
            idx::write_gzip(dir.0.join("t10k-images-idx3-ubyte.gz"), images).unwrap();
            idx::write(dir.0.join("t10k-labels-idx1-ubyte"), labels).unwrap();
            dir
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_real_files_hold_what_is_known_of_them() {
        let mnist = Mnist::load(REAL).unwrap();
        assert_eq!((mnist.train.len(), mnist.test.len()), (60_000, 10_000));
        assert_eq!(
            mnist.train.labels.slice(s![..10]),
            array![5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
        );
        assert_eq!(
            mnist.test.labels.slice(s![..10]),
            array![7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
        );
        let mut n_of_class = [0; 10];
        mnist
            .train
            .labels
            .iter()
            .for_each(|&label| n_of_class[usize::from(label)] += 1);
        assert_eq!(
            n_of_class,
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        );

        // The statistics that everyone normalises with are those of these pixels.
        let n = mnist.train.images.len() as f64;
        let mean = mnist
            .train
            .images
            .iter()
            .map(|&x| f64::from(x) / 255.0)
            .sum::<f64>()
            / n;
        let variance = mnist
            .train
            .images
            .iter()
            .map(|&x| (f64::from(x) / 255.0 - mean).powi(2))
            .sum::<f64>()
            / n;
        assert!((mean - f64::from(Mnist::MEAN)).abs() < 5e-5, "mean {mean}");
        assert!(
            (variance.sqrt() - f64::from(Mnist::STD)).abs() < 5e-5,
            "deviation {}",
            variance.sqrt()
        );

        let first = mnist.train.images.index_axis(Axis(0), 0).to_owned();
        let data = mnist.train.into_dataset().unwrap();
        let mut batch = data.empty_batch(2).unwrap();
        data.batch(&[59_999, 0], &mut batch).unwrap();
        let (images, labels) = batch.views();
        assert_eq!(
            (images.shape(), labels),
            (&[2, 1, 28, 28][..], array![8, 5].view())
        );
        let normalised = first.mapv(|x| (f32::from(x) / 255.0 - 0.1307) / 0.3081);
        assert_eq!(images.slice(s![1, 0, .., ..]), normalised);
    }

    #[test]
    fn reads_plain_and_packed_files_side_by_side() {
        let (images, labels) = (Array3::from_elem((2, 28, 28), 7), array![3, 9]);
        let dir = TempDir::with("mnist-good", &images, &labels);
        assert_eq!(Mnist::load_test(&dir.0).unwrap(), Digits { images, labels });
    }

    #[test]
    fn names_what_it_looked_for_and_where() {
        let dir = TempDir::new("mnist-empty");
        let error = Mnist::load(&dir.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(
            error
                .to_string()
                .contains("neither `train-images-idx3-ubyte` nor `train-images-idx3-ubyte.gz`")
        );
        assert!(
            error
                .to_string()
                .contains(&format!("the folder `{}` holds", dir.0.display()))
        );
        let error = Mnist::load("no/such/folder").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("there is no folder `no/such/folder`")
        );
    }

    #[test]
    fn refuses_files_that_contradict_each_other() {
        let load = |name, images: &Array3<u8>, labels: &Array1<u8>| {
            Mnist::load_test(TempDir::with(name, images, labels).0.as_path()).unwrap_err()
        };
        let error = load("mnist-count", &Array3::zeros((2, 28, 28)), &array![1, 2, 3]);
        assert_eq!(error.kind(), ErrorKind::Shape);
        assert!(
            error
                .to_string()
                .contains("t10k-images-idx3-ubyte.gz: 2 images, but 3 labels"),
            "{error}"
        );
        let error = load("mnist-size", &Array3::zeros((1, 28, 27)), &array![1]);
        assert!(
            error
                .to_string()
                .contains("expected images of 28 x 28 pixels, found 28 x 27"),
            "{error}"
        );
        let error = load("mnist-label", &Array3::zeros((2, 28, 28)), &array![9, 10]);
        assert_eq!(error.kind(), ErrorKind::Label);
        assert!(
            error
                .to_string()
                .contains("t10k-labels-idx1-ubyte: label 1 is 10, expected 0 to 9"),
            "{error}"
        );
    }
}
