//! Files of objects: written, read back and removed off the arbiter.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use remex_protocol::{
    ErrorCode,
    cluster::TaskName,
    ids::{Incarnation, ObjectId},
    tensor::{BufferPool, SerialError, Tensor, TensorMetadata},
};

use super::{folder::Folder, spill::Victim};
use crate::{Error, Result, executor::Pool};

/// Where objects go for which memory has no room: files by number, each written once.
///
/// Called from threads of the pool (on the arbiter in simulations), several at a time, for different files. A panic is an
/// error of the file.
pub trait SpillStore: fmt::Debug + Send + Sync + 'static {
    /// Where all of it is, for messages.
    fn place(&self) -> String;

    /// Where one file is, for messages.
    fn name(&self, file: u64) -> String;

    /// Writes a new file of two parts. After an error nothing of it is left.
    fn write(&self, file: u64, parts: [&[u8]; 2]) -> io::Result<()>;

    /// Reads a file into two parts, which it must fill exactly: `NotFound`, `UnexpectedEof` and `InvalidData` mean that its
    /// data is lost; another error, that it may be tried again.
    fn read(&self, file: u64, parts: [&mut [u8]; 2]) -> io::Result<()>;

    /// Removes a file, if it is there.
    fn remove(&self, file: u64);

    /// Removes everything; what is written later fails.
    fn close(&self);
}

/// Where objects go for which memory has no room, and how much of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpillConfig {
    /// Where.
    pub to: SpillTo,
    /// Bytes of objects there. Past it nothing more goes there. Default 64 GiB.
    pub limit: u64,
}

/// What holds objects for which memory has no room.
#[derive(Clone, Debug)]
pub enum SpillTo {
    /// A folder, in which the task makes one of its own. It is made if it is not there.
    Folder(PathBuf),
    /// Something else.
    Store(Arc<dyn SpillStore>),
}

impl SpillConfig {
    /// Bytes in the files of a task, unless configured.
    pub const DEFAULT_LIMIT: u64 = 64 << 30;

    /// Objects go there.
    pub fn new(to: SpillTo) -> Self {
        Self { to, limit: Self::DEFAULT_LIMIT }
    }

    /// Gets the place ready for a task: removes what tasks left behind that are dead. Blocks.
    pub(crate) fn open(self, task: &TaskName, life: Incarnation, buffers: BufferPool, pool: Pool) -> Result<Disk> {
        let store: Arc<dyn SpillStore> = match self.to {
            SpillTo::Store(store) => store,
            SpillTo::Folder(path) => {
                let folder = Folder::open(&path, task, life).map_err(|error| {
                    let message = format!(
                        "cannot spill to {}: {error}; name a folder that the worker may write to",
                        path.display()
                    );
                    Error::new(ErrorCode::FailedPrecondition, message)
                })?;
                Arc::new(folder)
            }
        };
        Ok(Disk::new(store, self.limit, buffers, pool))
    }
}

/// The files of a task. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn SpillStore>,
    limit: u64,
    buffers: BufferPool,
    pool: Pool,
    next: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    writes: AtomicU64,
    reads: AtomicU64,
    errors: AtomicU64,
    /// Why the last write failed; gone when one succeeds.
    complaint: Mutex<Option<String>>,
    /// Files to be removed.
    unwanted: Mutex<Vec<u64>>,
}

/// How much is on disk, and what was done there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskUse {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) writes: u64,
    pub(crate) reads: u64,
    pub(crate) errors: u64,
}

impl Disk {
    pub(crate) fn new(store: Arc<dyn SpillStore>, limit: u64, buffers: BufferPool, pool: Pool) -> Self {
        let count = AtomicU64::default;
        let (next, files, bytes, writes, reads, errors) = (count(), count(), count(), count(), count(), count());
        let (complaint, unwanted) = (Mutex::default(), Mutex::default());
        let inner =
            Inner { store, limit, buffers, pool, next, files, bytes, writes, reads, errors, complaint, unwanted };
        Self(Arc::new(inner))
    }

    /// Bytes that may still go there.
    pub(crate) fn room(&self) -> u64 {
        self.0.limit.saturating_sub(self.0.bytes.load(Relaxed))
    }

    pub(crate) fn usage(&self) -> DiskUse {
        let Inner { files, bytes, writes, reads, errors, .. } = &*self.0;
        let get = |count: &AtomicU64| count.load(Relaxed);
        DiskUse { files: get(files), bytes: get(bytes), writes: get(writes), reads: get(reads), errors: get(errors) }
    }

    /// Why nothing more goes there, if that is so.
    pub(crate) fn complaint(&self) -> Option<String> {
        let (place, bytes) = (self.0.store.place(), self.0.bytes.load(Relaxed));
        let error = self.0.complaint.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match error {
            Some(error) => Some(format!("nothing can be spilled to {place}: {error}")),
            None if bytes > 0 => Some(format!("{bytes} bytes of at most {} are spilled to {place}", self.0.limit)),
            None => None,
        }
    }

    /// A file to be written.
    pub(crate) fn file(&self, tensor: &Tensor) -> SpillFile {
        let (id, metadata) = (self.0.next.fetch_add(1, Relaxed), tensor.metadata().clone());
        let bytes = tensor.size_bytes();
        self.0.files.fetch_add(1, Relaxed);
        self.0.bytes.fetch_add(bytes, Relaxed);
        SpillFile { disk: self.clone(), id, bytes, header: 0, metadata }
    }

    /// Does something that may block.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        match &self.0.pool {
            Pool::Threads => drop(tokio::task::spawn_blocking(job)),
            Pool::Arbiter => job(),
            Pool::Simulated(simulated) => {
                let takes = simulated.duration();
                actix::spawn(async move {
                    tokio::time::sleep(takes).await;
                    job();
                });
            }
        }
    }

    /// Removes everything, and waits until it is gone.
    pub(crate) async fn close(&self) {
        let store = self.0.store.clone();
        match self.0.pool {
            Pool::Threads => drop(tokio::task::spawn_blocking(move || store.close()).await),
            Pool::Arbiter | Pool::Simulated(_) => store.close(),
        }
    }

    fn unwanted(&self, file: u64) {
        let mut unwanted = self.0.unwanted.lock().unwrap_or_else(PoisonError::into_inner);
        unwanted.push(file);
        if unwanted.len() > 1 {
            // Whoever came first sees to it.
            return;
        }
        drop(unwanted);
        let inner = self.0.clone();
        let remove = move || {
            let unwanted = std::mem::take(&mut *inner.unwanted.lock().unwrap_or_else(PoisonError::into_inner));
            for file in unwanted {
                let _ = catch_unwind(AssertUnwindSafe(|| inner.store.remove(file)));
            }
        };
        // A file may be dropped where there is no runtime, or none any more.
        match (&self.0.pool, tokio::runtime::Handle::try_current()) {
            (Pool::Threads, Ok(runtime)) => drop(runtime.spawn_blocking(remove)),
            _ => remove(),
        }
    }
}

/// A file of an object. Dropped, it is removed.
#[derive(Debug)]
pub(crate) struct SpillFile {
    disk: Disk,
    id: u64,
    bytes: u64,
    /// Bytes before the data.
    header: usize,
    metadata: TensorMetadata,
}

impl SpillFile {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What reads it.
    pub(crate) fn reading(&self, object: ObjectId, number: u64) -> ReadBack {
        let Self { disk, id, header, metadata, .. } = self;
        ReadBack { object, number, disk: disk.clone(), file: *id, header: *header, metadata: metadata.clone() }
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        self.disk.0.files.fetch_sub(1, Relaxed);
        self.disk.0.bytes.fetch_sub(self.bytes, Relaxed);
        self.disk.unwanted(self.id);
    }
}

/// A write to be done.
#[derive(Debug)]
pub(crate) struct WriteOut {
    pub(crate) victim: Victim,
    pub(crate) file: SpillFile,
    pub(crate) tensor: Tensor,
}

impl WriteOut {
    /// Writes it. Blocks. The memory is given up before anything is said.
    pub(crate) fn run(self) -> (Victim, Option<SpillFile>) {
        let Self { victim, mut file, tensor } = self;
        let inner = file.disk.0.clone();
        let serialized = tensor.serialize();
        file.header = serialized.header.len();
        let written = contained(|| inner.store.write(file.id, [&serialized.header, &serialized.data]));
        let mut complaint = inner.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        match written {
            Ok(()) => {
                *complaint = None;
                inner.writes.fetch_add(1, Relaxed);
                (victim, Some(file))
            }
            Err(error) => {
                inner.errors.fetch_add(1, Relaxed);
                let place = inner.store.place();
                tracing::warn!(%place, %error, "an object could not be spilled and stays in memory");
                *complaint = Some(error.to_string());
                (victim, None)
            }
        }
    }
}

/// A read to be done.
#[derive(Debug)]
pub(crate) struct ReadBack {
    pub(crate) object: ObjectId,
    /// Names the read among those of its store.
    pub(crate) number: u64,
    disk: Disk,
    file: u64,
    header: usize,
    metadata: TensorMetadata,
}

/// Why an object did not come back.
#[derive(Debug)]
pub(crate) enum ReadFailure {
    /// It is gone, for ever.
    Lost(Error),
    /// Another attempt may have it.
    NotNow(Error),
}

impl ReadBack {
    /// Reads it. Blocks.
    pub(crate) fn run(&self) -> Result<Tensor, ReadFailure> {
        let inner = &self.disk.0;
        let outcome = self.read();
        let count = if outcome.is_ok() { &inner.reads } else { &inner.errors };
        count.fetch_add(1, Relaxed);
        outcome.inspect_err(|failure| {
            let (ReadFailure::Lost(error) | ReadFailure::NotNow(error)) = failure;
            tracing::warn!(%error, "a spilled object could not be read");
        })
    }

    fn read(&self) -> Result<Tensor, ReadFailure> {
        let (store, object) = (&self.disk.0.store, self.object);
        let size = usize::try_from(self.metadata.size_bytes().unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let Some(mut data) = self.disk.0.buffers.take(size) else {
            let message = format!("no memory for the {size} bytes of object {object}, which was spilled");
            return Err(ReadFailure::NotNow(Error::new(ErrorCode::ResourceExhausted, message)));
        };
        let lost = |why: &dyn fmt::Display| {
            let message = format!("object {object} was spilled to {} and is lost: {why}", store.name(self.file));
            ReadFailure::Lost(Error::new(ErrorCode::DataLoss, message))
        };
        let mut header = vec![0; self.header];
        contained(|| store.read(self.file, [&mut header, data.as_mut_slice()])).map_err(|error| {
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => lost(&error),
                _ => {
                    let message =
                        format!("object {object}, spilled to {}, cannot be read: {error}", store.name(self.file));
                    ReadFailure::NotNow(Error::new(ErrorCode::Unavailable, message))
                }
            }
        })?;
        let tensor = Tensor::deserialize_parts(&header, data.freeze());
        let tensor = tensor.map_err(|error: SerialError| lost(&error))?;
        if *tensor.metadata() != self.metadata {
            return Err(lost(&format_args!("it is {}, and {} was written", tensor.metadata(), self.metadata)));
        }
        Ok(tensor)
    }
}

/// A panic is an error, too.
fn contained<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(io::Error::other("the store of spilled objects panicked")))
}
