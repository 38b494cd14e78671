//! A lane in use: the second connection of a link, for large payloads.
//!
//! It lives and dies with the control connection: who loses one dials both again, and the ledger says what must be sent once
//! more (I6). Nobody's liveness depends on it, and nothing small waits for it (I8).

use std::{fmt, future::poll_fn, rc::Rc};

use remex_protocol::{Transfers, ids::CallId};
use tokio::{
    task::{JoinHandle, yield_now},
    time::Instant,
};

use super::{
    Arrived,
    io::{LAST_WORDS, LOST_AFTER, Link, Shared},
};
use crate::{
    envelope::post,
    fabric::{Bulk, Connection, FabricError, LaneReader, LaneWriter},
};

/// A lane on which nothing was written for so long says something: firewalls forget connections that are silent for minutes.
const STAY_ALIVE: std::time::Duration = std::time::Duration::from_secs(15);

/// The tasks of a lane.
pub(super) struct Lane {
    bulk: Bulk,
    tasks: [JoinHandle<()>; 2],
}

impl Lane {
    /// The other end has a payload.
    pub(super) fn received(&self, call: CallId) {
        self.bulk.received(call);
    }

    /// The link is gone. A link that closes goes on writing.
    pub(super) fn end_reading(&self) {
        self.tasks[0].abort();
    }

    /// The stream ends after what was written.
    pub(super) fn end_writing(&self) {
        self.tasks[1].abort();
    }
}

impl Link {
    /// Gives the link its lane: a second connection to the same peer, whose handshake is over. Large payloads that are sent from
    /// now on go there. Dropped, and with it the peer's end, if there can be none, or there is one.
    pub(crate) fn add_lane(&self, lane: Connection) {
        let shared = &self.shared;
        let Some(transfers) = shared.transfers.as_ref().filter(|_| shared.lane.borrow().is_none()) else { return };
        let bulk = Bulk::default();
        let (reader, writer) = (lane.reader.into_lane(transfers), lane.writer.into_lane(&bulk));
        let (Some(reader), Some(writer)) = (reader, writer) else { return };
        if shared.closing.get() || !shared.writer.borrow_mut().divert(&bulk) {
            return;
        }
        tracing::trace!(epoch = shared.epoch, peer = %lane.peer, "lane");
        let tasks = [actix::spawn(read(reader, shared.clone())), actix::spawn(write(writer, shared.clone()))];
        *shared.lane.borrow_mut() = Some(Lane { bulk, tasks });
    }
}

impl Shared {
    /// The control connection cannot be read any more. After an orderly end a payload may still be on the lane.
    pub(super) fn ended(&self, error: &FabricError) {
        let is_coming = self.transfers.as_ref().is_some_and(Transfers::any) && self.lane.borrow().is_some();
        if matches!(error, FabricError::Closed) && is_coming {
            *self.farewell.borrow_mut() = Some(error.to_string());
        } else {
            self.lose(error);
        }
    }

    async fn lane_ended(&self, error: &FabricError) {
        if self.farewell.borrow().is_none() {
            // The end of the control connection, which says more, may be about to be read.
            tokio::time::sleep(LAST_WORDS).await;
        }
        match self.farewell.take() {
            Some(farewell) => self.lose(&farewell),
            None => self.lose(&format!("its lane for large payloads: {error}")),
        }
    }
}

async fn read(mut reader: Box<dyn LaneReader>, shared: Rc<Shared>) {
    loop {
        let mut frames = Vec::new();
        if let Err(error) = poll_fn(|cx| reader.poll_read(cx, &mut frames)).await {
            return shared.lane_ended(&error).await;
        }
        if shared.farewell.borrow().is_some() {
            shared.heard.set(Instant::now());
        }
        if !frames.is_empty() {
            if !shared.ends.arrived.connected() {
                return;
            }
            // Behind the frame that announced the payload, which was posted when it was decoded.
            post(&shared.ends.arrived, Arrived { epoch: shared.epoch, frames });
        }
        give_way().await;
    }
}

async fn write(mut writer: Box<dyn LaneWriter>, shared: Rc<Shared>) {
    loop {
        if let Err(error) = poll_fn(|cx| writer.poll_write(cx)).await {
            return shared.lane_ended(&error).await;
        }
        give_way().await;
    }
}

/// Lets a small call that has come meanwhile go all its way through the actors: with the first turn it is read, before the
/// second one it is answered.
async fn give_way() {
    yield_now().await;
    yield_now().await;
}

/// Looks after the lane, as often as the link is looked after.
#[derive(Debug)]
pub(super) struct LaneWatch {
    awaited: (Option<CallId>, Instant),
    said: Instant,
}

impl LaneWatch {
    pub(super) fn new() -> Self {
        Self { awaited: (None, Instant::now()), said: Instant::now() }
    }

    /// Whether a piece has waited for so long that its payload will not be announced: the peer breaks the protocol, or the
    /// frame was lost.
    pub(super) fn is_lost(&mut self, shared: &Shared) -> bool {
        let (lane, Some(transfers)) = (shared.lane.borrow(), &shared.transfers) else { return false };
        let Some(lane) = &*lane else { return false };
        if self.said.elapsed() >= STAY_ALIVE {
            self.said = Instant::now();
            lane.bulk.stay_alive();
        }
        let awaited = transfers.awaited();
        if awaited != self.awaited.0 {
            self.awaited = (awaited, Instant::now());
        }
        awaited.is_some() && self.awaited.1.elapsed() >= LOST_AFTER
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("bulk", &self.bulk).finish_non_exhaustive()
    }
}
