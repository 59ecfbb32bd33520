//! Arguments of a call of the runtime, evaluated, and how a dispatcher takes them one after the other.

use tapeless_runtime::rt;

/// An evaluated [`CallArg`](crate::ir::CallArg).
#[derive(Clone, Debug)]
pub enum Argument {
    Buf(rt::Buf),
    Bufs(Vec<rt::Buf>),
    View(AnyView),
    /// A matrix whose rows lie in so many runs.
    Interleaved(AnyView, usize),
    Packed(Box<Argument>, rt::Buf, usize),
    Size(usize),
    Sizes(Vec<usize>),
    Scalar(f64),
    /// A path below `rt`: `Pool::Max`.
    Constant(&'static str),
    Struct(&'static str, Vec<(&'static str, Argument)>),
    Present(Box<Argument>),
    Absent,
    Stream(u64),
    Epilogue(rt::Epilogue),
}

/// A [`rt::View`] of any rank.
#[derive(Clone, Debug)]
pub struct AnyView {
    pub buf: rt::Buf,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<isize>,
}

impl AnyView {
    /// With the rank in the type.
    pub fn ranked<const R: usize>(&self) -> rt::View<R> {
        rt::View {
            buf: self.buf,
            offset: self.offset,
            shape: array(&self.shape),
            strides: array(&self.strides),
        }
    }
}

/// A list as an array.
#[track_caller]
pub fn array<T: Copy, const N: usize>(list: &[T]) -> [T; N] {
    list.try_into()
        .unwrap_or_else(|_| panic!("{N} numbers were expected, found {}", list.len()))
}

/// The second factor of a product.
pub enum Factor {
    /// As it lies, of any rank.
    View(AnyView),
    /// A matrix that is read in another order, or packed.
    Matrix(rt::Right<2>),
}

/// The arguments of a call, taken from the first to the last.
pub struct Arguments {
    rest: std::vec::IntoIter<Argument>,
}

impl Arguments {
    pub fn new(arguments: Vec<Argument>) -> Self {
        Self {
            rest: arguments.into_iter(),
        }
    }

    #[track_caller]
    fn next(&mut self) -> Argument {
        self.rest.next().expect("another argument")
    }

    #[track_caller]
    pub fn buf(&mut self) -> rt::Buf {
        match self.next() {
            Argument::Buf(buf) => buf,
            other => panic!("a buffer was expected, found {other:?}"),
        }
    }

    #[track_caller]
    pub fn bufs(&mut self) -> Vec<rt::Buf> {
        match self.next() {
            Argument::Bufs(bufs) => bufs,
            other => panic!("a list of buffers was expected, found {other:?}"),
        }
    }

    #[track_caller]
    pub fn optional(&mut self) -> Option<rt::Buf> {
        match self.next() {
            Argument::Absent => None,
            Argument::Present(argument) => Some(Self::new(vec![*argument]).buf()),
            other => panic!("an optional buffer was expected, found {other:?}"),
        }
    }

    #[track_caller]
    pub fn view(&mut self) -> AnyView {
        match self.next() {
            Argument::View(view) => view,
            other => panic!("a view was expected, found {other:?}"),
        }
    }

    /// The second factor of a product.
    #[track_caller]
    pub fn factor(&mut self) -> Factor {
        match self.next() {
            Argument::View(view) => Factor::View(view),
            Argument::Interleaved(view, runs) => Factor::Matrix(view.ranked::<2>().interleaved(runs)),
            Argument::Packed(plain, packed, index) => {
                let plain = match Self::new(vec![*plain]).factor() {
                    Factor::View(view) => view.ranked::<2>().into(),
                    Factor::Matrix(matrix) => matrix,
                };
                Factor::Matrix(plain.packed(packed, index))
            }
            other => panic!("a factor was expected, found {other:?}"),
        }
    }

    /// The weights of a convolution.
    #[track_caller]
    pub fn filter(&mut self) -> rt::Filter {
        match self.next() {
            Argument::Buf(buf) => buf.into(),
            Argument::Packed(plain, packed, index) => Self::new(vec![*plain]).buf().packed(packed, index),
            other => panic!("weights were expected, found {other:?}"),
        }
    }

    #[track_caller]
    pub fn optional_view(&mut self) -> Option<AnyView> {
        match self.next() {
            Argument::Absent => None,
            Argument::Present(argument) => Some(Self::new(vec![*argument]).view()),
            other => panic!("an optional view was expected, found {other:?}"),
        }
    }

    #[track_caller]
    pub fn size(&mut self) -> usize {
        match self.next() {
            Argument::Size(size) => size,
            other => panic!("a size was expected, found {other:?}"),
        }
    }

    #[track_caller]
    pub fn sizes(&mut self) -> Vec<usize> {
        match self.next() {
            Argument::Sizes(sizes) => sizes,
            other => panic!("sizes were expected, found {other:?}"),
        }
    }

    #[track_caller]
    pub fn scalar(&mut self) -> f64 {
        match self.next() {
            Argument::Scalar(scalar) => scalar,
            other => panic!("a number was expected, found {other:?}"),
        }
    }

    #[track_caller]
    pub fn optional_scalar(&mut self) -> Option<f64> {
        match self.next() {
            Argument::Absent => None,
            Argument::Present(argument) => Some(Self::new(vec![*argument]).scalar()),
            other => panic!("an optional number was expected, found {other:?}"),
        }
    }

    #[track_caller]
    pub fn stream(&mut self) -> u64 {
        match self.next() {
            Argument::Stream(key) => key,
            other => panic!("a stream was expected, found {other:?}"),
        }
    }

    #[track_caller]
    pub fn epilogue(&mut self) -> rt::Epilogue {
        match self.next() {
            Argument::Epilogue(epilogue) => epilogue,
            other => panic!("an epilogue was expected, found {other:?}"),
        }
    }

    /// One of the named constants.
    #[track_caller]
    pub fn constant<T: Copy>(&mut self, known: &[(&str, T)]) -> T {
        match self.next() {
            Argument::Constant(path) => match known.iter().find(|(name, _)| *name == path) {
                Some((_, value)) => *value,
                None => panic!("`rt::{path}` is not known here"),
            },
            other => panic!("a constant was expected, found {other:?}"),
        }
    }

    /// The fields of a struct, in the given order; there must be no others.
    #[track_caller]
    pub fn fields(&mut self, name: &str, order: &[&str]) -> Self {
        match self.next() {
            Argument::Struct(found, mut fields) if found == name => {
                let place = |field: &str| order.iter().position(|o| *o == field);
                assert_eq!(fields.len(), order.len(), "the fields of `{name}`");
                fields.sort_by_key(|(field, _)| {
                    place(field).unwrap_or_else(|| panic!("`{name}` has a field `{field}`"))
                });
                Self::new(fields.into_iter().map(|(_, argument)| argument).collect())
            }
            other => panic!("a struct `{name}` was expected, found {other:?}"),
        }
    }

    /// Complains about arguments that nobody took.
    #[track_caller]
    pub fn finish(&mut self, function: &str) {
        if let Some(argument) = self.rest.next() {
            panic!("`rt::{function}` was given {argument:?} too much");
        }
    }
}
