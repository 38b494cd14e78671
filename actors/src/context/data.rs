//! Data by key: sent to a task, received here, and what members of a group send each other.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use remex_protocol::{
    ErrorCode, Payload, RemoteError, Rpc,
    calls::{Purpose, SendDataRequest},
    cluster::TaskName,
    frame::{MAX_ARGS, MAX_DATA_HEADER},
    ids::{CallId, InstanceKey, TaskIndex},
    tensor::{SerialError, Tensor},
};

use super::{
    ContextShared,
    plan::invalid,
    serving::{Announced, Batch, Served, Serving, until},
};
use crate::{
    Error, Result,
    collectives::{ArrivedChunk, CollectiveRecipients, Group, SendChunk},
    deadline,
    rendezvous::{Answer, Arrival, Datum, Receiving, RendezvousRecipients},
};

/// The two actors of a context that take data.
#[derive(Clone, Debug)]
pub struct DataRecipients {
    /// Where a value meets who waits for it.
    pub rendezvous: RendezvousRecipients,
    /// Those that run collectives.
    pub collectives: CollectiveRecipients,
}

/// The same, as soon as they are there.
#[derive(Debug, Default)]
pub(crate) struct DataWays(OnceLock<DataRecipients>);

impl DataWays {
    pub(crate) fn attach(&self, ways: DataRecipients) {
        let _ = self.0.set(ways);
    }

    pub(super) fn get(&self) -> Result<&DataRecipients> {
        self.0.get().ok_or_else(|| Error::new(ErrorCode::FailedPrecondition, "the context is not up yet"))
    }
}

impl ContextShared {
    /// Hands buffers to whoever waits, or will wait, for `key` on a task. Done when they are in that task's hands. Unclaimed
    /// they are thrown away when `limit` is over; until then the key is taken.
    pub async fn send_data(
        self: &Arc<Self>,
        to: &TaskName,
        key: &str,
        header: &[u8],
        buffers: Vec<Bytes>,
        limit: Option<Duration>,
    ) -> Result<()> {
        let to = self.task_index(to)?;
        if header.len() > MAX_DATA_HEADER {
            return Err(invalid(format!(
                "the header has {} bytes, at most {MAX_DATA_HEADER} are allowed",
                header.len()
            )));
        }
        if buffers.len() > MAX_ARGS {
            return Err(invalid(format!("{} buffers, at most {MAX_ARGS} go in one payload", buffers.len())));
        }
        let lengths = buffers.iter().map(|buffer| buffer.len() as u64).collect();
        let request = Data { key: instance_key(key)?, purpose: Purpose::Value, header: header.to_vec(), lengths };
        self.send_buffers(to, request, one_payload(buffers), limit).await
    }

    /// Waits for what is sent to this task by `key`. The receive is under way at once; dropping it cancels it.
    pub fn receive_data(&self, key: &str, limit: Option<Duration>) -> Result<Receiving> {
        if let Some(closed) = self.closed.get() {
            return Err(closed.clone());
        }
        let until = deadline::from_now(limit.unwrap_or(self.default_deadline)).into_std();
        Ok(self.data.get()?.rendezvous.receive(instance_key(key)?, until))
    }

    /// Sends a tensor by `key`: its element type and shape as the header, its bytes as the one buffer.
    pub async fn send_tensor(
        self: &Arc<Self>,
        to: &TaskName,
        key: &str,
        tensor: &Tensor,
        limit: Option<Duration>,
    ) -> Result<()> {
        let serialized = tensor.serialize();
        self.send_data(to, key, &serialized.header, vec![serialized.data], limit).await
    }

    /// Waits for a tensor that is sent to this task by `key`. Fails with `InvalidArgument` if something else was sent.
    pub async fn receive_tensor(&self, key: &str, limit: Option<Duration>) -> Result<Tensor> {
        let datum = self.receive_data(key, limit)?.await?;
        tensor_of(datum).map_err(|error| {
            let message = format!("what was sent by {key:?} is no tensor: {error}");
            Error::new(ErrorCode::InvalidArgument, message)
        })
    }

    /// A group of the context, to do collectives with; calls may take `limit`.
    pub fn collective(&self, group: &str, limit: Option<Duration>) -> Result<Group> {
        if let Some(closed) = self.closed.get() {
            return Err(closed.clone());
        }
        Ok(self.data.get()?.collectives.group(group, limit.unwrap_or(self.default_deadline)))
    }

    /// A part of a collective, for another member.
    pub(super) async fn send_chunk(self: Arc<Self>, chunk: SendChunk) -> Result<()> {
        let SendChunk { to, name, header, payload, until } = chunk;
        let limit = until.saturating_duration_since(tokio::time::Instant::now().into_std());
        let lengths = [payload.len() as u64].into_iter().collect();
        let data = Data { key: name, purpose: Purpose::Collective, header: header.to_vec(), lengths };
        self.send_buffers(to, data, payload, Some(limit)).await
    }

    async fn send_buffers(
        self: &Arc<Self>,
        to: TaskIndex,
        data: Data,
        payload: Bytes,
        limit: Option<Duration>,
    ) -> Result<()> {
        let (context, left) = self.enter(to, limit).await?;
        let request = SendDataRequest {
            context,
            key: data.key,
            purpose: data.purpose,
            header: data.header,
            buffers: data.lengths,
            time_left_ms: left.min(deadline::FAR).as_millis() as u64,
        };
        self.ask(to, request, payload, Some(left), vec![]).await.map(|_| ())
    }
}

/// What goes into a `SendData`.
struct Data {
    key: InstanceKey,
    purpose: Purpose,
    header: Vec<u8>,
    lengths: smallvec::SmallVec<[u64; 2]>,
}

fn instance_key(key: &str) -> Result<InstanceKey> {
    InstanceKey::try_from(key).map_err(|error| invalid(error.to_string()))
}

/// Buffers one behind the other; a single one is not copied.
fn one_payload(mut buffers: Vec<Bytes>) -> Bytes {
    if buffers.len() <= 1 {
        return buffers.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(buffers.iter().map(Bytes::len).sum());
    buffers.iter().for_each(|buffer| all.extend_from_slice(buffer));
    all.freeze()
}

fn tensor_of(datum: Datum) -> Result<Tensor, SerialError> {
    let data = datum.buffers.into_iter().next().unwrap_or_default();
    Tensor::deserialize_parts(&datum.header, data)
}

impl Serving {
    /// Data that another task sends; its payload may be on its way.
    pub(super) fn data(
        &mut self,
        batch: &Batch,
        call: CallId,
        request: Box<SendDataRequest>,
        payload: Payload,
        served: &mut Served,
    ) {
        let checked = request.check_payload(payload.len()).map_err(|error| invalid(error.to_string())).and_then(|()| {
            batch.from.ok_or_else(|| {
                let message = "only a task of the context may send data to its other tasks";
                RemoteError::new(ErrorCode::PermissionDenied, message).into()
            })
        });
        match (checked, payload) {
            (Err(error), _) => served.answers.push(self.frame(call, SendDataRequest::KIND, Err(error))),
            (Ok(_), Payload::Announced(_)) => {
                self.announce(batch.session, call, Announced::Data(request, batch.at));
            }
            (Ok(from), payload) => take(batch, batch.at, from, call, *request, payload.into_bytes(), served),
        }
    }

    /// The payload of earlier data is here.
    pub(super) fn data_arrived(
        &mut self,
        batch: &Batch,
        at: Instant,
        call: CallId,
        request: SendDataRequest,
        payload: Bytes,
        served: &mut Served,
    ) {
        if let Some(from) = batch.from {
            take(batch, at, from, call, request, payload, served);
        }
    }
}

/// Hands data to the actor that it is for.
fn take(
    batch: &Batch,
    at: Instant,
    from: TaskIndex,
    call: CallId,
    request: SendDataRequest,
    payload: Bytes,
    served: &mut Served,
) {
    let (answer, until) = (Answer::new(call, batch.answers.clone()), until(at, request.time_left_ms));
    let SendDataRequest { key, purpose, header, buffers, .. } = request;
    let header = Bytes::from(header);
    match purpose {
        Purpose::Collective => {
            served.chunks.push(ArrivedChunk { answer, from, name: key, header, payload, until });
        }
        Purpose::Value => {
            let mut rest = payload;
            // Their sum was checked.
            let buffers = buffers.iter().map(|&len| rest.split_to((len as usize).min(rest.len()))).collect();
            served.values.push(Arrival { answer, key, datum: Datum { from, header, buffers }, until });
        }
    }
}
