//! A store of spilled objects in memory, with the faults of a disk.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use crate::objects::SpillStore;

/// Keeps files in memory; is full, or damages them, when a test says so.
#[derive(Debug, Default)]
pub struct MemorySpill {
    files: Mutex<BTreeMap<u64, Vec<u8>>>,
    full: AtomicBool,
    busy: AtomicBool,
    tried: AtomicUsize,
}

impl MemorySpill {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on there is no room, or there is.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Relaxed);
    }

    /// From now on files cannot be opened, though they are there, or they can.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Relaxed);
    }

    /// Changes the bytes of the files, by their numbers.
    pub fn damage(&self, mut change: impl FnMut(u64, &mut Vec<u8>)) {
        self.files().iter_mut().for_each(|(file, bytes)| change(*file, bytes));
    }

    /// Loses all files.
    pub fn lose(&self) {
        self.files().clear();
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many writes were tried.
    pub fn tried(&self) -> usize {
        self.tried.load(Relaxed)
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<u8>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpillStore for MemorySpill {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn name(&self, file: u64) -> String {
        format!("memory/{file}")
    }

    fn write(&self, file: u64, parts: [&[u8]; 2]) -> io::Result<()> {
        self.tried.fetch_add(1, Relaxed);
        if self.full.load(Relaxed) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left on the device"));
        }
        match self.files().insert(file, parts.concat()) {
            None => Ok(()),
            Some(_) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        }
    }

    fn read(&self, file: u64, [header, data]: [&mut [u8]; 2]) -> io::Result<()> {
        if self.busy.load(Relaxed) {
            return Err(io::Error::other("too many open files"));
        }
        let files = self.files();
        let bytes = files.get(&file).ok_or(io::ErrorKind::NotFound)?;
        let (first, rest) = bytes.split_at_checked(header.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        if rest.len() != data.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        header.copy_from_slice(first);
        data.copy_from_slice(rest);
        Ok(())
    }

    fn remove(&self, file: u64) {
        self.files().remove(&file);
    }

    fn close(&self) {
        self.files().clear();
        self.set_full(true);
    }
}
