//! A file that a tensor is written to, part by part: under another name until it is whole.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use remex_protocol::{
    ErrorCode,
    tensor::{TensorMetadata, npy, safetensors},
};

use super::{Format, failed};
use crate::{Error, Result};

/// A file that is not whole. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Sink {
    path: PathBuf,
    unfinished: PathBuf,
    file: File,
    finished: bool,
}

impl Sink {
    /// Begins a file beside `path`, told from others by `tag`, with what stands before the data.
    pub(super) fn create(path: PathBuf, format: Format, metadata: &TensorMetadata, tag: u64) -> Result<Self> {
        let header = match format {
            Format::Npy => npy::layout(metadata).map_err(|error| failed(ErrorCode::InvalidArgument, &path, error))?,
            Format::Safetensors => safetensors::layout(safetensors::DEFAULT_NAME, metadata),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = path.with_file_name(format!(".{name}.{tag:x}.unfinished"));
        let file = File::create_new(&unfinished).map_err(|error| cannot(&path, &error))?;
        let mut sink = Self { path, unfinished, file, finished: false };
        sink.write(&header)?;
        Ok(sink)
    }

    pub(super) fn write(&mut self, part: &[u8]) -> Result<()> {
        self.file.write_all(part).map_err(|error| cannot(&self.path, &error))
    }

    /// The file is whole, and takes the place of one that was there.
    pub(super) fn finish(mut self) -> Result<()> {
        let done = self.file.sync_all().and_then(|()| fs::rename(&self.unfinished, &self.path));
        done.map_err(|error| cannot(&self.path, &error))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if !self.finished {
            // Of a file that cannot be removed there is nobody to tell.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

fn cannot(path: &Path, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::NotFound => ErrorCode::NotFound,
        io::ErrorKind::PermissionDenied => ErrorCode::PermissionDenied,
        io::ErrorKind::StorageFull => ErrorCode::ResourceExhausted,
        _ => ErrorCode::Unknown,
    };
    failed(code, path, format!("cannot be written: {error}"))
}
