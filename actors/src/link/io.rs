//! The tasks of a link: one reads, one writes, one listens for silence.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    rc::Rc,
    time::Duration,
};

use actix::Recipient;
use remex_protocol::{Body, ErrorCode, Frame, ids::CallId};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};

use super::{Arrived, LinkLost, numbering::Numbering};
use crate::{
    Error,
    envelope::post,
    fabric::{Connection, FabricError, FrameReader, FrameWriter},
};

/// A side that has sent nothing for so long sends a heartbeat.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// A link on which nothing was heard for so long is lost.
pub const LOST_AFTER: Duration = Duration::from_secs(3);
/// What is still to be written when a link is closed has so long; a peer that reads nothing would keep it for ever.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection in use. Dropping it ends the connection without another word.
pub(crate) struct Link {
    shared: Rc<Shared>,
    tasks: [JoinHandle<()>; 3],
}

/// What the tasks of a link have in common with its owner; all live on one arbiter.
struct Shared {
    epoch: u64,
    writer: RefCell<Box<dyn FrameWriter>>,
    pushed: Notify,
    numbering: Cell<Numbering>,
    heard: Cell<Instant>,
    /// Whether anything was pushed since the last heartbeat was due.
    spoke: Cell<bool>,
    closing: Cell<bool>,
    closed: Notify,
    arrived: Recipient<Arrived>,
    lost: Recipient<LinkLost>,
    lost_already: Cell<bool>,
}

impl Link {
    /// Puts a connection whose handshake is over to use.
    pub(crate) fn open(
        connection: Connection,
        epoch: u64,
        arrived: Recipient<Arrived>,
        lost: Recipient<LinkLost>,
    ) -> Self {
        let shared = Rc::new(Shared {
            epoch,
            writer: RefCell::new(connection.writer),
            pushed: Notify::new(),
            numbering: Cell::default(),
            heard: Cell::new(Instant::now()),
            spoke: Cell::new(true),
            closing: Cell::new(false),
            closed: Notify::new(),
            arrived,
            lost,
            lost_already: Cell::new(false),
        });
        let tasks = [
            actix::spawn(read(connection.reader, shared.clone())),
            actix::spawn(write(shared.clone())),
            actix::spawn(watch(shared.clone())),
        ];
        Self { shared, tasks }
    }

    /// Puts a frame behind those that wait to be written. They are written together once the arbiter has run what is
    /// ready. A frame that cannot be sent changes nothing.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), FabricError> {
        self.shared.push(frame)
    }

    /// Ends the connection when all that was pushed is written, or soon.
    pub(crate) fn close(&self) {
        self.shared.closing.set(true);
        self.shared.closed.notify_one();
        self.shared.pushed.notify_one();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The writer of a link that is closing ends by itself.
        let [reader, writer, watcher] = &self.tasks;
        reader.abort();
        watcher.abort();
        if !self.shared.closing.get() {
            writer.abort();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link(epoch {})", self.shared.epoch)
    }
}

impl Shared {
    fn push(&self, mut frame: Frame) -> Result<(), FabricError> {
        let mut numbering = self.numbering.get();
        numbering.stamp(&mut frame);
        self.writer.borrow_mut().push(frame)?;
        self.numbering.set(numbering);
        self.spoke.set(true);
        self.pushed.notify_one();
        Ok(())
    }

    fn lose(&self, error: &dyn fmt::Display) {
        if !self.lost_already.replace(true) {
            let error = Error::new(ErrorCode::RpcUnavailable, error.to_string());
            post(&self.lost, LinkLost { epoch: self.epoch, error });
        }
    }
}

async fn read(mut reader: Box<dyn FrameReader>, shared: Rc<Shared>) {
    reader.open();
    loop {
        let mut frames = Vec::new();
        if let Err(error) = poll_fn(|cx| reader.poll_read(cx, &mut frames)).await {
            return shared.lose(&error);
        }
        shared.heard.set(Instant::now());
        let mut numbering = shared.numbering.get();
        for frame in &frames {
            if let Err(error) = numbering.accept(frame) {
                return shared.lose(&error);
            }
        }
        shared.numbering.set(numbering);
        frames.retain(|frame| !matches!(frame.body, Body::Heartbeat | Body::ReplyAnnounced));
        if !shared.arrived.connected() {
            return;
        }
        if !frames.is_empty() {
            post(&shared.arrived, Arrived { epoch: shared.epoch, frames });
        }
    }
}

async fn write(shared: Rc<Shared>) {
    let overdue = async {
        shared.closed.notified().await;
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        biased;
        () = write_all(&shared) => {}
        () = overdue => tracing::debug!("a link was closed that its peer did not read to the end"),
    }
}

async fn write_all(shared: &Shared) {
    loop {
        shared.pushed.notified().await;
        // What is ready to run may have more to say; it goes into the same write.
        tokio::task::yield_now().await;
        if let Err(error) = flush(shared).await {
            return shared.lose(&error);
        }
        if shared.closing.get() {
            let _ = poll_fn(|cx| shared.writer.borrow_mut().poll_close(cx)).await;
            return;
        }
    }
}

async fn flush(shared: &Shared) -> Result<(), FabricError> {
    poll_fn(|cx| shared.writer.borrow_mut().poll_flush(cx)).await
}

async fn watch(shared: Rc<Shared>) {
    let mut ticks = tokio::time::interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if shared.heard.get().elapsed() >= LOST_AFTER {
            return shared.lose(&format!("nothing was heard for {} s", LOST_AFTER.as_secs()));
        }
        if !shared.spoke.replace(false) {
            if let Err(error) = shared.push(Frame::new(CallId::default(), Body::Heartbeat)) {
                return shared.lose(&error);
            }
            shared.spoke.set(false);
        }
    }
}
