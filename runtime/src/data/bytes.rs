//! Reading binary files whose headers may lie.
//!
//! [`Input`] is the only door through which the readers of this folder see a file. It undoes gzip by
//! looking at the content, and it keeps one promise that parsers rely on: **memory follows the bytes that
//! were really read, never a number in a header**. A header that announces a terabyte in front of ten
//! bytes costs one [`CHUNK`] and ends in an error. A gzip bomb does hold the bytes that its header
//! announces, so what a packed file may announce is limited to [`MAX_UNPACKED_BYTES`].
//!
//! What this module does not do: it knows no file format, and does not seek.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, ErrorKind, Result};

/// Bytes that are read, and at most reserved ahead, at a time.
const CHUNK: usize = 1 << 16;

/// The most bytes that a gzip file may unpack to: 4 GiB. (Plain files have no limit but their size.)
const MAX_UNPACKED_BYTES: usize = if usize::BITS > 32 {
    (1_u64 << 32) as usize
} else {
    usize::MAX / 2
};

const TRUNCATED: &str = "the file is truncated; fetch or write it again";

/// The order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endian {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

/// A number that files store at a fixed width.
///
/// Public only because the element traits of the formats build on it: the module is private.
pub trait Stored: Copy + Default + Send + Sync + 'static {
    /// Bytes that one number takes in a file.
    const BYTES: usize;

    /// Decodes one number from exactly [`BYTES`](Self::BYTES) bytes; `None` if they mean nothing.
    fn decode(bytes: &[u8], endian: Endian) -> Option<Self>;

    /// Appends the bytes of the number.
    fn encode(self, endian: Endian, into: &mut Vec<u8>);
}

macro_rules! impl_stored {
    ($($number:ty)*) => {$(
        impl Stored for $number {
            const BYTES: usize = size_of::<$number>();

            fn decode(bytes: &[u8], endian: Endian) -> Option<Self> {
                let bytes = bytes.try_into().ok()?;
                Some(match endian {
                    Endian::Little => Self::from_le_bytes(bytes),
                    Endian::Big => Self::from_be_bytes(bytes),
                })
            }

            fn encode(self, endian: Endian, into: &mut Vec<u8>) {
                match endian {
                    Endian::Little => into.extend_from_slice(&self.to_le_bytes()),
                    Endian::Big => into.extend_from_slice(&self.to_be_bytes()),
                }
            }
        }
    )*};
}
impl_stored! { u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 }

impl Stored for bool {
    const BYTES: usize = 1;

    fn decode(bytes: &[u8], _: Endian) -> Option<Self> {
        match bytes {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn encode(self, _: Endian, into: &mut Vec<u8>) {
        into.push(u8::from(self));
    }
}

/// A stream of plain bytes that knows how far it was read and how much it may hold.
pub(crate) struct Input<R> {
    reader: R,
    position: u64,
    max_bytes: usize,
}

/// The stream behind an opened file, plain or unpacked.
pub(crate) type FileInput = Input<Box<dyn Read>>;

/// Opens a file, and unpacks it if its content is gzip (several members in a row included).
pub(crate) fn open(path: &Path) -> Result<FileInput> {
    let file = File::open(path).map_err(|error| Error::io(path, error))?;
    let mut file = BufReader::with_capacity(CHUNK, file);
    // Peeking looks at the buffer without consuming it; a regular file yields both bytes at once.
    let start = file.fill_buf().map_err(|error| Error::io(path, error))?;
    let input = match start {
        [0x1f, 0x8b, ..] => Input {
            reader: Box::new(MultiGzDecoder::new(file)) as Box<dyn Read>,
            position: 0,
            max_bytes: MAX_UNPACKED_BYTES,
        },
        _ => Input {
            reader: Box::new(file) as Box<dyn Read>,
            position: 0,
            max_bytes: isize::MAX as usize,
        },
    };
    Ok(input)
}

impl<R: Read> Input<R> {
    /// A stream of bytes that are already in memory, or otherwise bounded.
    pub(crate) fn plain(reader: R) -> Self {
        Self {
            reader,
            position: 0,
            max_bytes: isize::MAX as usize,
        }
    }

    /// The number of elements of an array of this shape, if the array can exist and the file may hold it.
    pub(crate) fn checked_len(&self, shape: &[usize], bytes_each: usize) -> Result<usize> {
        // An axis of size 0 does not excuse absurd sizes beside it: ndarray computes strides from them.
        let extent = shape
            .iter()
            .filter(|&&size| size != 0)
            .try_fold(bytes_each, |product, &size| product.checked_mul(size))
            .filter(|&bytes| bytes <= self.max_bytes)
            .ok_or_else(|| {
                let limit = self.max_bytes;
                let message = format!("the header announces the shape {shape:?}: more than {limit} bytes");
                Error::format(message).hint("the header is damaged; a genuine file must be unpacked or split")
            })?;
        Ok(if shape.contains(&0) {
            0
        } else {
            extent / bytes_each
        })
    }

    /// Fills `buffer` entirely; `what` names the part of the file in the error.
    pub(crate) fn fill(&mut self, buffer: &mut [u8], what: &str) -> Result<()> {
        let n_wanted = buffer.len();
        let n_read = self.read_up_to(buffer)?;
        if n_read == n_wanted {
            return Ok(());
        }
        let message = format!(
            "the file ends at byte {}, inside its {what}: {n_wanted} bytes expected there, {n_read} found",
            self.position
        );
        Err(Error::format(message).hint(TRUNCATED))
    }

    /// Reads `n` numbers, where `n` has passed [`checked_len`](Self::checked_len); memory grows with what
    /// is read.
    pub(crate) fn elements<T: Stored>(&mut self, n: usize, endian: Endian) -> Result<Vec<T>> {
        let per_chunk = CHUNK / T::BYTES;
        let mut bytes = vec![0; n.min(per_chunk) * T::BYTES];
        let mut elements = Vec::new();
        while elements.len() < n {
            let n_now = per_chunk.min(n - elements.len());
            let chunk = &mut bytes[..n_now * T::BYTES];
            let n_read = self.read_up_to(chunk)?;
            if n_read < chunk.len() {
                let found = elements.len() + n_read / T::BYTES;
                let message = format!("the header announces {n} elements, but the file holds {found}");
                return Err(Error::format(message).hint(TRUNCATED));
            }
            reserve(&mut elements, n_now, n)?;
            for stored in chunk.chunks_exact(T::BYTES) {
                let element = T::decode(stored, endian).ok_or_else(|| {
                    let index = elements.len();
                    Error::format(format!(
                        "element {index} is {stored:?}, which is no value of its type"
                    ))
                })?;
                elements.push(element);
            }
        }
        Ok(elements)
    }

    /// Checks that nothing follows. Reads one byte at most, so that nothing is unpacked in vain; at the
    /// end of a gzip file this also verifies its checksum.
    pub(crate) fn end(&mut self) -> Result<()> {
        let end = self.position;
        match self.read_up_to(&mut [0])? {
            0 => Ok(()),
            _ => {
                let message =
                    format!("the elements announced by the header end at byte {end}, but the file goes on");
                Err(Error::format(message)
                    .hint("the header is damaged, or something was appended to the file"))
            }
        }
    }

    /// Reads everything that is left.
    pub(crate) fn rest(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limit = self.max_bytes as u64 + 1;
        let n_read = (&mut self.reader).take(limit).read_to_end(&mut bytes);
        let n_read = n_read.map_err(|error| self.failed(error, bytes.len()))?;
        self.position += n_read as u64;
        match n_read > self.max_bytes {
            false => Ok(bytes),
            true => {
                let message = format!("the file unpacks to more than {} bytes", self.max_bytes);
                Err(Error::format(message).hint("a genuine file of this size must be unpacked or split"))
            }
        }
    }

    /// Reads until `buffer` is full or the stream ends, and returns the number of bytes read.
    fn read_up_to(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut n_read = 0;
        while n_read < buffer.len() {
            match self.reader.read(&mut buffer[n_read..]) {
                Ok(0) => break,
                Ok(n) => n_read += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error, n_read)),
            }
        }
        self.position += n_read as u64;
        Ok(n_read)
    }

    /// A failed read: the operating system's refusal, or gzip data that are damaged.
    fn failed(&self, error: std::io::Error, n_read: usize) -> Error {
        use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match error.kind() {
            InvalidData | InvalidInput | UnexpectedEof => {
                let position = self.position + n_read as u64;
                let message = format!("damaged gzip data after {position} unpacked bytes: {error}");
                Error::format(message)
                    .hint("the file is truncated or damaged; fetch it again")
                    .with_source(error)
            }
            _ => Error::from(error),
        }
    }
}

/// Reserves room for `n_more` elements by doubling, never beyond `n_total`.
fn reserve<T>(elements: &mut Vec<T>, n_more: usize, n_total: usize) -> Result<()> {
    if elements.capacity() - elements.len() >= n_more {
        return Ok(());
    }
    let target = (2 * elements.len()).max(elements.len() + n_more).min(n_total);
    elements
        .try_reserve_exact(target - elements.len())
        .map_err(|error| {
            Error::new(ErrorKind::Io, format!("no memory for {target} elements: {error}")).with_source(error)
        })
}

/// Writes numbers to a stream, a chunk at a time.
pub(crate) fn write_elements<'a, T: Stored>(
    writer: &mut impl Write,
    elements: impl Iterator<Item = &'a T>,
    endian: Endian,
) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK + T::BYTES);
    for element in elements {
        element.encode(endian, &mut bytes);
        if bytes.len() >= CHUNK {
            writer.write_all(&bytes)?;
            bytes.clear();
        }
    }
    writer.write_all(&bytes)
}

/// Creates (or replaces) a file and lets `write` fill it; every failure names the path.
pub(crate) fn create(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<()> {
    let failed = |error| Error::io(path, error);
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    write(&mut file).and_then(|()| file.flush()).map_err(failed)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Packs bytes as one gzip member.
    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("writing to memory");
        encoder.finish().expect("writing to memory")
    }

    /// A file in the system's folder for temporary files, removed when dropped.
    pub(crate) struct TempFile(pub(crate) std::path::PathBuf);

    impl TempFile {
        /// A file with these bytes; `name` is unique to the test.
        pub(crate) fn new(name: &str, bytes: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("tapeless-{}-{name}", std::process::id()));
            std::fs::write(&path, bytes).expect("the folder for temporary files can be written");
            Self(path)
        }
    }

    impl Drop for TempFile {
        fn drop(&mut self) {
            // A file that is left over harms nobody.
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_lying_count_allocates_no_more_than_a_chunk_and_fails() {
        let mut input = Input::plain(&[7_u8; 10][..]);
        let error = input.elements::<f64>(1 << 40, Endian::Big).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("announces 1099511627776 elements, but the file holds 1;"),
            "{error}"
        );
    }

    #[test]
    fn room_at_most_doubles() {
        let mut elements = vec![0_u8; 1000];
        reserve(&mut elements, 10, 1 << 40).unwrap();
        assert!(
            (1010..=2000).contains(&elements.capacity()),
            "{}",
            elements.capacity()
        );
        let mut elements = vec![0_u8; 1000];
        reserve(&mut elements, 10, 1010).unwrap();
        assert_eq!(elements.capacity(), 1010);
    }

    #[test]
    fn reading_crosses_chunks() {
        let numbers: Vec<i32> = (0..50_000).collect();
        for endian in [Endian::Little, Endian::Big] {
            let mut bytes = Vec::new();
            write_elements(&mut bytes, numbers.iter(), endian).unwrap();
            assert_eq!(bytes.len(), 200_000);
            let mut input = Input::plain(&bytes[..]);
            let read = input.elements::<i32>(50_000, endian).unwrap();
            assert_eq!((read.capacity(), read), (50_000, numbers.clone()));
            input.end().unwrap();
        }
    }

    #[test]
    fn gzip_is_recognised_by_content() {
        let file = TempFile::new("members.bin", &[gzip(b"abc"), gzip(b"de")].concat());
        let mut input = open(&file.0).unwrap();
        let mut bytes = [0; 5];
        input.fill(&mut bytes, "letters").unwrap();
        assert_eq!(&bytes, b"abcde");
        input.end().unwrap();
    }

    #[test]
    fn damaged_gzip_is_a_format_error() {
        let mut packed = gzip(&[1; 1000]);
        let checksum = packed.len() - 8;
        packed[checksum] ^= 1;
        let file = TempFile::new("checksum.gz", &packed);
        let mut input = open(&file.0).unwrap();
        // Depending on its buffer the decoder sees the checksum with the last bytes or after them.
        let error = input
            .elements::<u8>(1000, Endian::Big)
            .and_then(|_| input.end())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format);
        assert!(
            error.to_string().contains("damaged gzip data after 1000"),
            "{error}"
        );
    }

    #[test]
    fn absurd_sizes_are_refused_even_beside_zero() {
        let mut input = Input::plain(&[][..]);
        assert_eq!(input.checked_len(&[3, 0, 5], 4).unwrap(), 0);
        assert_eq!(input.checked_len(&[], 4).unwrap(), 1);
        assert_eq!(input.checked_len(&[3, 5], 4).unwrap(), 15);
        assert!(input.checked_len(&[0, usize::MAX, 2], 4).is_err());
        input.max_bytes = 59;
        assert!(input.checked_len(&[3, 5], 4).is_err());
    }

    #[test]
    fn the_rest_is_bounded() {
        let mut input = Input::plain(&b"abcdef"[..]);
        input.fill(&mut [0; 2], "start").unwrap();
        assert_eq!((input.rest().unwrap(), input.position), (b"cdef".to_vec(), 6));
        let mut input = Input::plain(&b"abcdef"[..]);
        input.max_bytes = 5;
        assert!(
            input
                .rest()
                .unwrap_err()
                .to_string()
                .contains("more than 5 bytes")
        );
    }
}
