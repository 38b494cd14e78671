//! Tensors in files, which go to a task and come from one part by part: however large they are, 4 MiB are in memory here.
//!
//! A part is a call of its own, so that a lost connection sends again what was not acknowledged, and the file is read once.

mod reading;
mod writing;

use std::{collections::VecDeque, path::Path, sync::Arc};

use bytes::Bytes;
use remex_protocol::{
    DeviceName, ErrorCode, Reply, Rpc,
    calls::{BeginPutRequest, FetchPartReply, FetchPartRequest, PutPartReply, PutPartRequest},
    frame::PIECE_LEN,
    tensor::TensorMetadata,
};

use crate::{Error, Result, context::ContextShared, deadline, handles::ObjectRef, promise::Promise};
use reading::Source;
use writing::Sink;

/// So many parts are under way at one time.
const WINDOW: usize = 16;

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Npy,
    Safetensors,
}

impl Format {
    fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Ok(Self::Npy),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => {
                let why = "is neither .npy nor .safetensors: give it one of these endings";
                Err(failed(ErrorCode::InvalidArgument, path, why))
            }
        }
    }
}

/// An error that names the file.
fn failed(code: ErrorCode, path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(code, format!("{}: {why}", path.display()))
}

/// What may take long on a disk is done on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(ErrorCode::Internal, format!("a thread that works on a file ended: {error}")))
}

type Answered = Promise<(Reply, Bytes)>;

impl ContextShared {
    /// Stores the tensor of a file on a device; of a file with several the one of that name.
    pub(crate) async fn put_file(
        self: &Arc<Self>,
        device: &DeviceName,
        path: &Path,
        name: Option<&str>,
        limit: Option<std::time::Duration>,
    ) -> Result<ObjectRef> {
        let device = self.device_index(device)?;
        let (path, name, format) = (path.to_owned(), name.map(str::to_owned), Format::of(path)?);
        let mut source = blocking(move || Source::open(path, format, name.as_deref())).await??;
        let object = self.new_object(device);
        let (to, limit) = (object.owner(), limit.unwrap_or(self.default_deadline));
        let (context, left) = self.enter(to, Some(limit)).await?;
        let patience_ms = limit.min(deadline::FAR).as_millis() as u64;
        let metadata = source.metadata.clone();
        let request = BeginPutRequest { context, object: object.id(), metadata, patience_ms };
        object.set_named();
        // What fails from here on drops the object, and its release ends the put.
        self.ask(to, request, Bytes::new(), Some(left), vec![]).await?;
        let mut under_way: VecDeque<Answered> = VecDeque::with_capacity(WINDOW);
        let mut offset = 0;
        while offset < source.size {
            if under_way.len() == WINDOW {
                answered::<PutPartRequest>(under_way.pop_front()).await?;
            }
            let (back, part) = blocking(move || {
                let part = source.next_part(PIECE_LEN);
                (source, part)
            })
            .await?;
            source = back;
            let part = Bytes::from(part?);
            let request = PutPartRequest { context, object: object.id(), offset };
            offset += part.len() as u64;
            let until = deadline::from_now(limit);
            under_way.push_back(self.begin(to, request, part, until, vec![]).await?.1);
        }
        while !under_way.is_empty() {
            let PutPartReply {} = answered::<PutPartRequest>(under_way.pop_front()).await?.0;
        }
        Ok(object)
    }

    /// Writes an object's data into a file, which is there when all of it is.
    pub(crate) async fn fetch_to_file(
        self: &Arc<Self>,
        object: &ObjectRef,
        path: &Path,
        limit: Option<std::time::Duration>,
    ) -> Result<TensorMetadata> {
        let format = Format::of(path)?;
        if !object.is_of(self) {
            let message = format!("object {} is of another context", object.id());
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        object.check_lives()?;
        let (first, data) = self.fetch_part(object, 0, limit).await?;
        let metadata = first.metadata;
        let size = metadata.size_bytes().unwrap_or_default();
        let (target, of) = (path.to_owned(), metadata.clone());
        let tag = self.new_tag();
        let mut sink = blocking(move || Sink::create(target, format, &of, tag)).await??;
        let (mut written, mut asked) = (0, PIECE_LEN as u64);
        let mut under_way: VecDeque<Answered> = VecDeque::with_capacity(WINDOW);
        let mut part = data;
        loop {
            while asked < size && under_way.len() < WINDOW {
                under_way.push_back(self.begin_part(object, asked, limit).await?);
                asked += PIECE_LEN as u64;
            }
            let expected = (size - written).min(PIECE_LEN as u64);
            if part.len() as u64 != expected {
                let message =
                    format!("object {} did not arrive whole: {} bytes of {expected}", object.id(), part.len());
                return Err(Error::new(ErrorCode::DataLoss, message));
            }
            written += expected;
            let (back, done) = blocking(move || {
                let done = sink.write(&part);
                (sink, done)
            })
            .await?;
            (sink, _) = (back, done?);
            if written == size {
                break;
            }
            let (reply, data) = answered::<FetchPartRequest>(under_way.pop_front()).await?;
            if reply.metadata != metadata {
                let message = format!("object {} is another one than before: {}", object.id(), reply.metadata);
                return Err(Error::new(ErrorCode::DataLoss, message));
            }
            part = data;
        }
        blocking(move || sink.finish()).await??;
        Ok(metadata)
    }

    async fn fetch_part(
        self: &Arc<Self>,
        object: &ObjectRef,
        offset: u64,
        limit: Option<std::time::Duration>,
    ) -> Result<(FetchPartReply, Bytes)> {
        answered::<FetchPartRequest>(Some(self.begin_part(object, offset, limit).await?)).await
    }

    async fn begin_part(
        self: &Arc<Self>,
        object: &ObjectRef,
        offset: u64,
        limit: Option<std::time::Duration>,
    ) -> Result<Answered> {
        let (context, left) = self.enter(object.owner(), limit).await?;
        let request = FetchPartRequest {
            context,
            object: object.id(),
            origin: object.origin(object.owner()),
            offset,
            len: PIECE_LEN as u32,
            time_left_ms: left.min(deadline::FAR).as_millis() as u64,
        };
        let until = deadline::from_now(left);
        Ok(self.begin(object.owner(), request, Bytes::new(), until, vec![object.clone()]).await?.1)
    }
}

/// The answer to a part.
async fn answered<R: Rpc>(answer: Option<Answered>) -> Result<(R::Reply, Bytes)> {
    let lost = || Error::new(ErrorCode::Internal, format!("{} was not answered as it should be", R::NAME));
    let (reply, data) = answer.ok_or_else(lost)?.get().await?;
    Ok((R::reply(reply).ok_or_else(lost)?, data))
}
