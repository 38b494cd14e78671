//! Objects of other tasks, fetched from where they live.

use std::sync::Arc;

use actix::Recipient;
use remex_protocol::{
    ErrorCode, RemoteError,
    calls::{FetchObjectRequest, Origin},
    tensor::Tensor,
};
use tokio::time::Instant;

use super::{ContextShared, Link, PeerLink};
use crate::{
    Error, Result, deadline,
    envelope::post,
    objects::{Foreseen, Want},
    promise::Promise,
};

/// Fetches an object from its owner, when that is `reached`; `None`: it was before. What is known of it earlier goes to `foreseen` at once.
pub(super) async fn fetch(
    shared: Arc<ContextShared>,
    reached: Result<Option<Promise<Arc<PeerLink>>>>,
    want: Want,
    foreseen: Recipient<Foreseen>,
) -> Result<Tensor> {
    let Want { object, .. } = want;
    let owner = &shared.peers[want.owner.position()].info;
    let from = |error: Error| {
        let at = owner.address.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
        error.map(|error| error.on_task(&owner.name).through(format!("fetch from {}{at}", owner.name)))
    };
    let link = match reached.map_err(from)? {
        Some(joined) => Link::Joined(joined.get().await.map_err(from)?),
        None => shared.link(want.owner).map_err(from)?,
    };
    let until = Instant::from_std(want.deadline);
    let request = FetchObjectRequest {
        context: link.index,
        object,
        origin: Origin::Anywhere,
        time_left_ms: deadline::left_ms(until),
    };
    let left = until.saturating_duration_since(Instant::now());
    let known = |metadata| post(&foreseen, Foreseen { object, metadata });
    let fetched = link.receiver.fetch(request, left, known).await.inspect_err(|error| {
        if let (Link::Joined(link), ErrorCode::InvalidDistributedContextId) = (&link, error.code()) {
            // Its maker may make the context there again: the next fetch joins it.
            let _ = link.lost.set(error.clone());
        }
    });
    let (reply, data) = fetched.map_err(from)?;
    Tensor::from_bytes(reply.metadata, data).map_err(|error| {
        let message = format!("object {object} did not arrive whole: {error}");
        RemoteError::new(ErrorCode::DataLoss, message).on_task(&owner.name).into()
    })
}
