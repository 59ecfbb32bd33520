//! Tensors in one flat buffer: the layout that parameters, gradients and moments of optimizers share.
//!
//! A *declaration* of the compiler is one tensor, or one for each layer of an array; those of an array lie one behind the
//! other without gaps, as a single tensor with one more axis, so that a loop over the layers walks through it.
//!
//! Invariants: every declaration starts at a multiple of [`ALIGN`] bytes; what lies between two of them is zero and
//! stays zero; paths are unique. So an optimizer or a norm is a single pass over one slice.

use std::ops::Range;

use ndarray::{ArrayD, ArrayViewD, IxDyn};

use crate::arena::{ALIGN, Storage};
use crate::dtype::{Element, Precision, stored};
use crate::error::{Error, Result};
use crate::program::TensorSpec;
use crate::real::Real;
use crate::sort::sorted;

/// Where each tensor of a group lies in its flat buffer.
#[derive(Clone, Debug)]
pub struct Layout {
    specs: Vec<TensorSpec>,
    /// Bytes from the start of the buffer, one for each tensor.
    offsets: Vec<usize>,
    /// Elements, one for each tensor.
    lens: Vec<usize>,
    /// The tensors of each declaration.
    declared: Vec<Range<usize>>,
    /// Bytes from the start of the buffer, one for each declaration.
    starts: Vec<usize>,
    bytes: usize,
    precision: Precision,
}

impl Layout {
    /// Lays tensors out one after the other.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if they do not fit into the address space, and an internal
    /// error if two have one path.
    pub fn new(declarations: Vec<TensorSpec>, precision: Precision) -> Result<Self> {
        let mut layout = Self {
            specs: Vec::new(),
            offsets: Vec::new(),
            lens: Vec::new(),
            declared: Vec::new(),
            starts: Vec::new(),
            bytes: 0,
            precision,
        };
        for declaration in declarations {
            let first = layout.specs.len();
            layout.starts.push(layout.bytes);
            let too_many = || too_large(&declaration);
            for spec in declaration.expand().ok_or_else(too_many)? {
                layout.append(spec)?;
            }
            layout.declared.push(first..layout.specs.len());
            layout.bytes = crate::arena::align_up(layout.bytes);
        }
        let path = |k: usize| &*layout.specs[k].path;
        let order = sorted(layout.specs.len(), &|a, b| path(a).cmp(path(b)));
        if let Some(pair) = order.windows(2).find(|pair| path(pair[0]) == path(pair[1])) {
            let message = format!("two tensors have the path `{}`", path(pair[0]));
            return Err(Error::internal(message));
        }
        Ok(layout)
    }

    /// Puts a tensor behind the others.
    fn append(&mut self, spec: TensorSpec) -> Result<()> {
        let len = spec
            .shape
            .iter()
            .try_fold(1_usize, |len, &size| len.checked_mul(size));
        let end = len
            .and_then(|len| len.checked_mul(self.precision.width()))
            .and_then(|size| size.checked_add(self.bytes))
            .filter(|&end| end <= isize::MAX as usize - ALIGN);
        let (Some(len), Some(end)) = (len, end) else {
            return Err(too_large(&spec));
        };
        self.offsets.push(self.bytes);
        self.lens.push(len);
        self.specs.push(spec);
        self.bytes = end;
        Ok(())
    }

    /// The tensors, in the order of the buffer.
    pub fn specs(&self) -> &[TensorSpec] {
        &self.specs
    }

    /// Byte offsets of the declarations.
    pub fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// The elements of a declaration, as a range of the buffer's elements.
    pub fn extent(&self, declaration: usize) -> Range<usize> {
        let start = self.starts[declaration] / self.precision.width();
        let last = self.declared(declaration).last();
        start..last.map_or(start, |last| self.range(last).end)
    }

    /// The tensors of a declaration.
    pub fn declared(&self, declaration: usize) -> Range<usize> {
        self.declared[declaration].clone()
    }

    /// Bytes of the whole buffer.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Width of its elements.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Number of elements of all tensors, without what lies between them.
    pub fn n_elements(&self) -> usize {
        self.lens.iter().sum()
    }

    /// The elements of a tensor, as a range of the buffer's elements.
    pub fn range(&self, index: usize) -> Range<usize> {
        let start = self.offsets[index] / self.precision.width();
        start..start + self.lens[index]
    }

    /// The number of a tensor.
    ///
    /// # Errors
    ///
    /// A configuration error that lists similar paths if there is no such tensor.
    pub fn index(&self, path: &str) -> Result<usize> {
        self.find(path).ok_or_else(|| self.unknown(path))
    }

    /// The number of a tensor, if it exists.
    pub fn find(&self, path: &str) -> Option<usize> {
        self.specs.iter().position(|spec| spec.path == path)
    }

    fn unknown(&self, path: &str) -> Error {
        let last = path.rsplit('.').next().unwrap_or(path);
        let similar = |spec: &&TensorSpec| spec.path.ends_with(last) || spec.path.starts_with(path);
        let mut known: Vec<_> = self
            .specs
            .iter()
            .filter(similar)
            .map(|spec| &*spec.path)
            .collect();
        if known.is_empty() {
            known = self.specs.iter().map(|spec| &*spec.path).collect();
        }
        let more = known.len().saturating_sub(8);
        known.truncate(8);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        Error::config(format!("there is no tensor `{path}`"))
            .hint(format!("known paths are {}{more}", known.join(", ")))
    }

    /// A copy of a tensor.
    pub fn read<T: Real>(&self, storage: &Storage, index: usize) -> ArrayD<T> {
        let (range, shape) = (self.range(index), IxDyn(&self.specs[index].shape));
        let elements = stored!(self.precision, E => convert(&storage.as_slice::<E>()[range]));
        ArrayD::from_shape_vec(shape, elements).expect("a layout holds as many elements as its shapes say")
    }

    /// Replaces a tensor; numbers are rounded to the layout's precision.
    ///
    /// # Errors
    ///
    /// A shape error if `values` has another shape.
    pub fn write<T: Real>(
        &self,
        storage: &mut Storage,
        index: usize,
        values: ArrayViewD<'_, T>,
    ) -> Result<()> {
        let spec = &self.specs[index];
        if values.shape() != spec.shape {
            let message = format!("expected shape {:?}, found {:?}", spec.shape, values.shape());
            return Err(Error::shape(message).context(format!("`{}`", spec.path)));
        }
        let range = self.range(index);
        stored!(self.precision, E => fill(&mut storage.as_mut_slice::<E>()[range], values));
        Ok(())
    }

    /// Ranges of elements that these declarations (ascending) cover, neighbours joined.
    pub fn runs(&self, declarations: &[usize]) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let mut previous = None;
        for &declaration in declarations {
            let extent = self.extent(declaration);
            match runs.last_mut() {
                Some(run) if previous.is_some_and(|previous| previous + 1 == declaration) => {
                    run.end = extent.end
                }
                _ => runs.push(extent),
            }
            previous = Some(declaration);
        }
        runs
    }
}

fn convert<S: Real, T: Real>(elements: &[S]) -> Vec<T> {
    elements.iter().map(|x| T::from_f64(x.to_f64())).collect()
}

#[cold]
fn too_large(spec: &TensorSpec) -> Error {
    let shape: Vec<usize> = spec.repeats.iter().chain(&spec.shape).copied().collect();
    let message = format!("`{}` of shape {shape:?} does not fit into memory", spec.path);
    Error::config(message).hint("choose smaller const generics")
}

fn fill<S: Real, T: Real + Element>(into: &mut [T], values: ArrayViewD<'_, S>) {
    for (x, value) in into.iter_mut().zip(values.iter()) {
        *x = T::from_f64(value.to_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use ndarray::array;

    fn layout(precision: Precision) -> Layout {
        let spec = |path, shape: &[usize]| TensorSpec::new(path, shape, Init::Zeros);
        let specs = vec![
            spec("a.weight", &[3, 2]),
            spec("a.bias", &[]),
            spec("b.weight", &[17]),
        ];
        Layout::new(specs, precision).unwrap()
    }

    #[test]
    fn tensors_are_aligned_and_joined_to_runs() {
        let layout = layout(Precision::F32);
        assert_eq!(layout.starts(), [0, 64, 128]);
        assert_eq!((layout.bytes(), layout.n_elements()), (256, 24));
        assert_eq!(layout.runs(&[0, 1, 2]), std::slice::from_ref(&(0..49)));
        assert_eq!(layout.runs(&[0, 2]), [0..6, 32..49]);
        assert_eq!(layout.runs(&[]), []);
    }

    #[test]
    fn the_layers_of_an_array_lie_one_behind_the_other() {
        let specs = vec![
            TensorSpec::new("a", &[5], Init::Zeros),
            TensorSpec::repeated("blocks.{}.w", &[3], &[2], Init::Zeros),
            TensorSpec::repeated("rows.{}.cells.{}.b", &[2, 2], &[], Init::Zeros),
            TensorSpec::repeated("none.{}.w", &[0], &[4], Init::Zeros),
            TensorSpec::new("z", &[1], Init::Zeros),
        ];
        let layout = Layout::new(specs, Precision::F32).unwrap();
        let paths: Vec<&str> = layout.specs().iter().map(|spec| &*spec.path).collect();
        let cells = [
            "rows.0.cells.0.b",
            "rows.0.cells.1.b",
            "rows.1.cells.0.b",
            "rows.1.cells.1.b",
        ];
        assert_eq!(
            paths,
            [
                &["a", "blocks.0.w", "blocks.1.w", "blocks.2.w"][..],
                &cells,
                &["z"]
            ]
            .concat()
        );
        assert_eq!(layout.starts(), [0, 64, 128, 192, 192]);
        assert_eq!((layout.range(2), layout.declared(2)), (18..20, 4..8));
        assert_eq!(layout.runs(&[0, 1, 2, 3, 4]), std::slice::from_ref(&(0..49)));
        assert_eq!(layout.runs(&[1, 3]), [16..22, 48..48]);
    }

    #[test]
    fn reads_what_was_written_in_either_precision() {
        for precision in [Precision::F32, Precision::F64] {
            let layout = layout(precision);
            let mut storage = Storage::zeroed(layout.bytes());
            let values = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]].into_dyn();
            layout.write(&mut storage, 0, values.view()).unwrap();
            assert_eq!(layout.read::<f64>(&storage, 0), values);
            let error = layout.write(&mut storage, 1, values.view()).unwrap_err();
            assert_eq!(error.to_string(), "`a.bias`: expected shape [], found [3, 2]");
        }
    }

    #[test]
    fn unknown_paths_are_answered_with_similar_ones() {
        let error = layout(Precision::F32).index("c.weight").unwrap_err();
        assert!(
            error.to_string().ends_with("known paths are a.weight, b.weight"),
            "{error}"
        );
    }

    #[test]
    fn sizes_beyond_memory_are_errors() {
        let spec = TensorSpec::new("w", &[usize::MAX, 2], Init::Zeros);
        assert!(Layout::new(vec![spec], Precision::F32).is_err());
        let specs = TensorSpec::repeated("w.{}.{}", &[usize::MAX, 3], &[2], Init::Zeros);
        let error = Layout::new(vec![specs], Precision::F32).unwrap_err();
        assert!(error.to_string().contains("does not fit into memory"), "{error}");
    }
}
