//! Files that are there in full or not at all.
//!
//! A file is written beside its target under another name, flushed to the disk, and renamed over the target; then
//! the folder is flushed, so that the new name is on the disk too. A crash at any instant leaves either the old file or
//! the new one. What a crash may leave besides is a file `.<name>.<process>-<number>.tmp`: nothing ever reads it, and it
//! may be deleted.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Replaces the file at `path` by what `write` writes, all or nothing.
///
/// Two writers at the same time do not disturb each other: the one that finishes last wins.
///
/// # Errors
///
/// [`ErrorKind::Io`](crate::ErrorKind::Io) that names the file; the one that was there before is untouched then.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let Some(name) = path.file_name() else {
        let message = format!("`{}` is not the name of a file", path.display());
        return Err(Error::config(message));
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let aside = Aside::beside(folder, &name.to_string_lossy());
    let written = (|| {
        let mut file = BufWriter::with_capacity(1 << 18, File::create_new(&aside.path)?);
        write(&mut file)?;
        file.into_inner()
            .map_err(std::io::IntoInnerError::into_error)?
            .sync_all()?;
        fs::rename(&aside.path, path)?;
        sync_folder(folder)
    })();
    written.map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound && !folder.exists();
        let error = Error::io(path, error);
        if missing {
            return error.hint(format!("create the folder `{}` first", folder.display()));
        }
        error
    })
}

/// The name of the file that is being written; it is deleted if it has not been renamed.
struct Aside {
    path: PathBuf,
}

impl Aside {
    fn beside(folder: &Path, name: &str) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".{name}.{}-{number}.tmp", std::process::id());
        Self {
            path: folder.join(name),
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // After the rename there is nothing under this name; and if deleting fails, the error before it matters more.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes a rename in this folder survive a loss of power.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Other systems have no such call; their file systems log renames themselves.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tapeless-atomic-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = folder("failed");
        let path = folder.join("a.bin");
        replace(&path, |to| to.write_all(b"old")).unwrap();
        let error = replace(&path, |to| {
            to.write_all(b"ne")?;
            Err(std::io::Error::other("the disk is full"))
        })
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().ends_with("a.bin: the disk is full"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        replace(&path, |to| to.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_a_crash_left_behind_does_not_disturb() {
        let folder = folder("crash");
        let path = folder.join("a.bin");
        fs::write(&path, b"old").unwrap();
        // As after a crash between writing and renaming, in this process's own naming.
        let left = Aside::beside(&folder, "a.bin").path.clone();
        fs::write(&left, b"half a fi").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        for _ in 0..3 {
            replace(&path, |to| to.write_all(b"new")).unwrap();
        }
        assert_eq!(
            (fs::read(&path).unwrap(), fs::read(&left).unwrap()),
            (b"new".to_vec(), b"half a fi".to_vec())
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_folder_must_exist() {
        let error = replace(Path::new("no/such/folder/a.bin"), |_| Ok(())).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("create the folder `no/such/folder` first"),
            "{error}"
        );
        assert_eq!(
            replace(Path::new("/"), |_| Ok(())).unwrap_err().kind(),
            ErrorKind::Config
        );
    }
}
