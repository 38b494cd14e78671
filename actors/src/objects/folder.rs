//! Files of objects in a folder.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use remex_protocol::{cluster::TaskName, ids::Incarnation};

use super::disk::SpillStore;

/// Is locked as long as its task lives.
const LOCK: &str = "lock";
const PREFIX: &str = "remex-";
const SUFFIX: &str = "rmxt";
/// Another task that starts may take a folder for a dead one's before it is locked: then it is made again.
const ATTEMPTS: usize = 16;

/// A task's own folder in the one that it was given: a file for each object, and a lock. Removed when it is closed or
/// dropped; what a task left that was killed is removed by the next one that starts there.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// `None` when it is closed.
    lock: RwLock<Option<File>>,
}

impl Folder {
    /// Makes the folder of a task in `parent`, and removes those of dead ones.
    pub(super) fn open(parent: &Path, task: &TaskName, life: Incarnation) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        for entry in fs::read_dir(parent)? {
            let entry = entry?;
            let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
            // Not what a link points to.
            if is_ours && entry.file_type()?.is_dir() && !remove_dead(&entry.path()) {
                tracing::debug!(folder = %entry.path().display(), "not removed: its task lives, or it is not a task's");
            }
        }
        let path = parent.join(format!("{PREFIX}{}-{}-{:016x}", task.job(), task.index(), life.0));
        for _ in 0..ATTEMPTS {
            if let Some(lock) = claim(&path)? {
                return Ok(Self { path, lock: RwLock::new(Some(lock)) });
            }
        }
        Err(io::Error::other(format!("{} is removed again and again by others", path.display())))
    }

    fn path(&self, file: u64) -> PathBuf {
        self.path.join(format!("{file:016x}.{SUFFIX}"))
    }
}

/// Makes a folder and locks it; `None` if somebody took it for a dead one's meanwhile.
fn claim(path: &Path) -> io::Result<Option<File>> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let lock = path.join(LOCK);
    let file = match OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // It may have been removed between the opening and the locking: then the lock is that of no folder.
    let is_same = match (fs::metadata(&lock), file.metadata()) {
        (Ok(named), Ok(held)) => (named.dev(), named.ino()) == (held.dev(), held.ino()),
        _ => false,
    };
    Ok(is_same.then_some(file))
}

/// Removes the folder of a task that is dead: nobody holds its lock. Says whether it is gone.
fn remove_dead(path: &Path) -> bool {
    match OpenOptions::new().write(true).open(path.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok() && remove(path),
        // Whoever was killed right after it had made it, or while it removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_dir(path).is_ok(),
        Err(_) => false,
    }
}

/// Removes a folder with the files that a task makes, the lock at last; with anything else in it, it stays.
fn remove(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else { return false };
    for file in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if file.extension().is_some_and(|extension| extension == SUFFIX) {
            let _ = fs::remove_file(file);
        }
    }
    let _ = fs::remove_file(path.join(LOCK));
    fs::remove_dir(path).is_ok()
}

impl SpillStore for Folder {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn name(&self, file: u64) -> String {
        self.path(file).display().to_string()
    }

    fn write(&self, file: u64, parts: [&[u8]; 2]) -> io::Result<()> {
        let lock = self.lock.read().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            return Err(io::Error::other("the task is about to stop"));
        }
        let path = self.path(file);
        let mut out = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
        // Not synced: after a crash of the machine nobody asks for it.
        let written = parts.into_iter().try_for_each(|part| out.write_all(part));
        written.inspect_err(|_| drop(fs::remove_file(&path)))
    }

    fn read(&self, file: u64, parts: [&mut [u8]; 2]) -> io::Result<()> {
        let mut from = File::open(self.path(file))?;
        parts.into_iter().try_for_each(|part| from.read_exact(part))?;
        match from.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "bytes are left over after its end")),
        }
    }

    fn remove(&self, file: u64) {
        let _ = fs::remove_file(self.path(file));
    }

    fn close(&self) {
        let mut lock = self.lock.write().unwrap_or_else(PoisonError::into_inner);
        if lock.take().is_some() && !remove(&self.path) {
            tracing::warn!(folder = %self.path.display(), "could not be removed");
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
#[path = "folder_test.rs"]
mod tests;
