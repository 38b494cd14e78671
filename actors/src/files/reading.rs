//! A file that a tensor is read from, part by part.

use std::{
    fs::{File, Metadata},
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
};

use remex_protocol::{
    ErrorCode,
    tensor::{TensorMetadata, npy, safetensors},
};

use super::{Format, failed};
use crate::Result;

/// An open file, at the first byte that was not read.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    file: File,
    /// What the system said of the file when it was opened.
    opened: Metadata,
    pub(super) metadata: TensorMetadata,
    /// Bytes of the tensor's data.
    pub(super) size: u64,
    read: u64,
}

impl Source {
    /// Reads what stands before the data, and checks that all of them are there.
    pub(super) fn open(path: PathBuf, format: Format, name: Option<&str>) -> Result<Self> {
        let cannot = |error: std::io::Error| {
            let code = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorCode::NotFound,
                std::io::ErrorKind::PermissionDenied => ErrorCode::PermissionDenied,
                _ => ErrorCode::Unknown,
            };
            failed(code, &path, error)
        };
        let mut file = File::open(&path).map_err(cannot)?;
        let opened = file.metadata().map_err(cannot)?;
        if !opened.is_file() {
            return Err(failed(ErrorCode::InvalidArgument, &path, "is not a file"));
        }
        let invalid = |why: &dyn std::fmt::Display| failed(ErrorCode::InvalidArgument, &path, why);
        let (metadata, offset) = match format {
            Format::Npy => {
                if let Some(name) = name {
                    return Err(invalid(&format!("a .npy file has one tensor without a name, {name:?} was asked for")));
                }
                let (metadata, is_plain) = npy::read_layout(&mut file).map_err(|error| invalid(&error))?;
                if !is_plain {
                    let why = "its data are big-endian or column-major and cannot be sent as they are: save it \
                               little-endian and row-major, or read it with npy::read and put that";
                    return Err(invalid(&why));
                }
                (metadata, file.stream_position().map_err(cannot)?)
            }
            Format::Safetensors => {
                let entry = safetensors::read_layout(&mut file, name).map_err(|error| invalid(&error))?;
                file.seek(SeekFrom::Start(entry.offset)).map_err(cannot)?;
                (entry.metadata, entry.offset)
            }
        };
        let size = metadata.size_bytes().unwrap_or(u64::MAX);
        let (end, len) = (offset.checked_add(size), opened.len());
        let fits = if format == Format::Npy { end == Some(len) } else { end.is_some_and(|end| end <= len) };
        if !fits {
            let why = format!("it has {len} bytes; {size} of {metadata} behind the first {offset} do not fit that");
            return Err(invalid(&why));
        }
        Ok(Self { path, file, opened, metadata, size, read: 0 })
    }

    /// The next bytes, at most so many. The last ones are given only if the file is still what it was.
    pub(super) fn next_part(&mut self, most: usize) -> Result<Vec<u8>> {
        let len = (self.size - self.read).min(most as u64) as usize;
        let mut part = vec![0; len];
        let filled = self.file.read_exact(&mut part);
        filled.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.changed(),
            _ => failed(ErrorCode::Unknown, &self.path, error),
        })?;
        self.read += len as u64;
        if self.read == self.size {
            let now = self.file.metadata().map_err(|error| failed(ErrorCode::Unknown, &self.path, error))?;
            // Where a file system keeps no times, the length must do.
            let same = now.len() == self.opened.len() && now.modified().ok() == self.opened.modified().ok();
            if !same {
                return Err(self.changed());
            }
        }
        Ok(part)
    }

    fn changed(&self) -> crate::Error {
        failed(ErrorCode::FailedPrecondition, &self.path, "the file was changed while it was read: put it again")
    }
}
