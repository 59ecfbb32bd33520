//! Writing a file so that a crash at any instant leaves the old contents or the new, whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Replaces the contents of a file, or makes it.
///
/// The bytes go to a file aside in the same folder and to the disk; then the file takes its name, and the folder goes to
/// the disk as well, so that the new name survives a power failure.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let aside = aside(path)?;
    let written = write_aside(&aside, bytes)
        .and_then(|()| fs::rename(&aside, path).map_err(|error| Error::io(path, error)));
    if written.is_err() {
        // What is left is of no use; that it cannot be removed either is not the error to be told.
        let _ = fs::remove_file(&aside);
        return written;
    }
    sync_folder(path)
}

/// The name of the file aside. It holds the process's number, so that two processes do not write into one.
fn aside(path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Error::config(format!(
            "`{}` is not the name of a file",
            path.display()
        )));
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(hidden))
}

fn write_aside(aside: &Path, bytes: &[u8]) -> Result<()> {
    let place = |error| Error::io(aside, error);
    let mut file = File::create(aside)
        .map_err(place)
        .map_err(|error| error.hint("the folder must exist and be writable"))?;
    file.write_all(bytes).map_err(place)?;
    file.sync_all().map_err(place)
}

/// Forces a folder's entries to the disk. Not every system can open a folder; where it cannot, renaming is as safe as the
/// system makes it.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    match File::open(folder) {
        Ok(folder_file) if cfg!(unix) => folder_file.sync_all().map_err(|error| Error::io(folder, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_and_leaves_nothing_else() {
        let folder = std::env::temp_dir().join(format!("tapeless-atomic-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.bin");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        // A folder cannot be replaced by a file: the attempt leaves nothing behind.
        let taken = folder.join("taken");
        fs::create_dir_all(taken.join("full")).unwrap();
        assert!(write(&taken, b"three").is_err());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        let error = write(&folder.join("no/such.bin"), b"").unwrap_err().to_string();
        assert!(error.contains("the folder must exist"), "{error}");
        assert!(write(Path::new(".."), b"").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
