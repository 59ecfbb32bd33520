//! The one error type of the runtime.
//!
//! Every fallible function of this crate returns [`Result`]. An [`Error`] is opaque: callers branch on
//! its [`kind`](Error::kind) and people read its text, so fields can be added without breaking anyone.
//! A message says what was wrong, where, what was expected and what was found; a
//! [`hint`](Error::hint) says how to mend it. An `Error` is one pointer wide, so that the success path of
//! a training step does not carry it around.
//!
//! What this module does not do: it holds no back-traces and knows no other module of the crate; each
//! module words its own messages.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// The result of a fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Classes of errors, for callers that react differently to each.
///
/// The list may grow: a `match` needs a `_` arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An array has another rank or size than was asked for.
    Shape,
    /// An element type differs from the one that was asked for, or does not exist here.
    Dtype,
    /// A class label lies outside the range of classes.
    Label,
    /// An index lies outside the axis or the collection that it indexes.
    Index,
    /// A value is infinite or not a number where that cannot be meant.
    NonFinite,
    /// The operating system refused to open, read, write or rename a file.
    Io,
    /// The contents of a file do not follow their format.
    Format,
    /// A checkpoint is well-formed but does not belong to this model or optimizer.
    Checkpoint,
    /// An option has a value that makes no sense.
    Config,
    /// A device does not exist, or lacks what was asked of it.
    Device,
    /// A callback of the user stopped the work, or failed.
    Callback,
    /// An invariant of this library does not hold; please report it.
    Internal,
}

impl ErrorKind {
    /// The class in a few words, as it stands in the `Debug` form of an error.
    pub fn description(self) -> &'static str {
        match self {
            Self::Shape => "shape mismatch",
            Self::Dtype => "element type mismatch",
            Self::Label => "label out of range",
            Self::Index => "index out of range",
            Self::NonFinite => "non-finite value",
            Self::Io => "input or output failed",
            Self::Format => "malformed file",
            Self::Checkpoint => "checkpoint does not fit",
            Self::Config => "invalid option",
            Self::Device => "device unavailable",
            Self::Callback => "callback failed",
            Self::Internal => "internal error",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

/// What went wrong, where, and how to mend it.
///
/// `Display` prints `<outermost context>: … : <message>; help: <hint>` on one line. The cause from
/// another library, where there is one, is part of the message and also the
/// [`source`](std::error::Error::source).
///
/// ```
/// use tapeless_runtime::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Shape, "expected 28 columns, found 27")
///     .hint("crop or pad the images to 28 x 28")
///     .context("Mnist::loss: argument `image`");
/// assert_eq!(error.kind(), ErrorKind::Shape);
/// assert_eq!(
///     error.to_string(),
///     "Mnist::loss: argument `image`: expected 28 columns, found 27; \
///      help: crop or pad the images to 28 x 28",
/// );
/// ```
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    /// Innermost first: the order in which callers added them.
    contexts: Vec<Cow<'static, str>>,
    hint: Option<Cow<'static, str>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of a class, with a message that says what was expected and what was found.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self {
            inner: Box::new(Inner {
                kind,
                message,
                contexts: Vec::new(),
                hint: None,
                source: None,
            }),
        }
    }

    /// An [`ErrorKind::Shape`] error.
    #[cold]
    pub fn shape(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Shape, message)
    }

    /// An [`ErrorKind::Config`] error.
    #[cold]
    pub fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// An [`ErrorKind::Format`] error.
    #[cold]
    pub fn format(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Format, message)
    }

    /// An [`ErrorKind::Internal`] error: a broken invariant of this library.
    #[cold]
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// An [`ErrorKind::Io`] error that names the file or folder concerned.
    ///
    /// ```
    /// use tapeless_runtime::{Error, Result};
    ///
    /// fn load(path: &std::path::Path) -> Result<Vec<u8>> {
    ///     std::fs::read(path).map_err(|error| Error::io(path, error))
    /// }
    /// let message = load("no/such/file".as_ref()).unwrap_err().to_string();
    /// assert!(message.starts_with("no/such/file: "));
    /// ```
    #[cold]
    pub fn io(path: impl AsRef<Path>, error: std::io::Error) -> Self {
        Self::from(error).context(path.as_ref().display().to_string())
    }

    /// Says where the error happened: a file, a function, an argument.
    ///
    /// Contexts are added from the inside out and printed from the outside in.
    #[must_use]
    pub fn context(mut self, place: impl Into<Cow<'static, str>>) -> Self {
        self.inner.contexts.push(place.into());
        self
    }

    /// Says how to mend it. The innermost hint is the most specific one, so a later hint does not
    /// replace it.
    #[must_use]
    pub fn hint(mut self, help: impl Into<Cow<'static, str>>) -> Self {
        self.inner.hint.get_or_insert_with(|| help.into());
        self
    }

    /// Attaches the error of another library as the [`source`](std::error::Error::source).
    ///
    /// `Display` does not print it: quote in the message what a reader needs to see.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.inner.source = Some(Box::new(source));
        self
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The message alone, without contexts and hint.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The hint, where there is one.
    pub fn help(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for context in self.inner.contexts.iter().rev() {
            write!(f, "{context}: ")?;
        }
        f.write_str(&self.inner.message)?;
        match &self.inner.hint {
            Some(hint) => write!(f, "; help: {hint}"),
            None => Ok(()),
        }
    }
}

/// The readable text, after the class: it is what `fn main() -> Result<()>` prints.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.inner.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.inner.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

/// Without a path: prefer [`Error::io`] wherever the path is known.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Io, error.to_string()).with_source(error)
    }
}

impl From<ndarray::ShapeError> for Error {
    fn from(error: ndarray::ShapeError) -> Self {
        Self::new(ErrorKind::Shape, error.to_string()).with_source(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn is_one_pointer_and_crosses_threads() {
        fn crosses_threads<T: Send + Sync + 'static>() {}
        crosses_threads::<Error>();
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn prints_contexts_from_outside_in_and_the_innermost_hint() {
        let error = Error::format("found 3 bytes")
            .hint("download it again")
            .context("sizes")
            .context("images.idx")
            .hint("give up");
        assert_eq!(
            error.to_string(),
            "images.idx: sizes: found 3 bytes; help: download it again"
        );
        assert_eq!(
            format!("{error:?}"),
            "malformed file: images.idx: sizes: found 3 bytes; help: download it again"
        );
        assert_eq!(
            (error.message(), error.help()),
            ("found 3 bytes", Some("download it again"))
        );
    }

    #[test]
    fn keeps_the_cause_of_an_io_error() {
        let error = Error::io("a/b", std::io::Error::from(std::io::ErrorKind::NotFound));
        assert_eq!(error.kind(), ErrorKind::Io);
        assert_eq!(error.to_string(), "a/b: entity not found");
        let cause = error
            .source()
            .and_then(|cause| cause.downcast_ref::<std::io::Error>());
        assert_eq!(
            cause.map(|cause| cause.kind()),
            Some(std::io::ErrorKind::NotFound)
        );
    }
}
