//! The tasks of a link: one reads, one writes, one listens for silence.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use actix::Recipient;
use remex_protocol::{Body, ErrorCode, Frame, Transfers, ids::CallId};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};

use super::{
    Arrived, LinkLost, Silence,
    lane::{Lane, LaneWatch},
    ledger::{Accepted, Ledger},
    signal::Signal,
};
use crate::{
    Error,
    envelope::post,
    fabric::{Connection, FabricError, FrameReader, FrameWriter},
};

/// A side that has sent nothing for so long sends a heartbeat; it looks twice as often, so that between two signs of life
/// there is at most half as much again.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// A side that was not heard for so long is suspected: it has left out a heartbeat.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(2);
/// A link on which nothing was heard for so long is lost.
pub const LOST_AFTER: Duration = Duration::from_secs(3);
/// How often a side looks whether it has spoken, and has heard the other.
const LOOK: Duration = Duration::from_millis(500);
/// Who cannot be written to any more may have said goodbye before: that is read first.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(50);
/// What is still to be written when a link is closed has so long; a peer that reads nothing would keep it for ever.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection in use. Dropping it ends the connection without another word.
pub(crate) struct Link {
    pub(super) shared: Rc<Shared>,
    tasks: [JoinHandle<()>; 3],
}

/// Who hears of a link.
#[derive(Debug)]
pub(crate) struct Ends {
    /// What came.
    pub(crate) arrived: Recipient<Arrived>,
    /// That it is gone.
    pub(crate) lost: Recipient<LinkLost>,
    /// That nothing comes.
    pub(crate) silence: Option<Recipient<Silence>>,
}

/// What the tasks of a link have in common with its owner; all live on one arbiter.
pub(super) struct Shared {
    pub(super) epoch: u64,
    pub(super) writer: RefCell<Box<dyn FrameWriter>>,
    pushed: Signal,
    ledger: Rc<RefCell<Ledger>>,
    pub(super) heard: Cell<Instant>,
    /// Whether anything was pushed since this was looked at last.
    spoke: Cell<bool>,
    pub(super) closing: Cell<bool>,
    pub(super) ends: Ends,
    closed: Signal,
    lost_already: Cell<bool>,
    /// What a lane can fill; `None`: there can be none.
    pub(super) transfers: Option<Transfers>,
    pub(super) lane: RefCell<Option<Lane>>,
    /// How the control connection has ended while the lane still had something.
    pub(super) farewell: RefCell<Option<String>>,
}

impl Link {
    /// Puts a connection whose handshake is over to use. What the ledger says must be sent again goes out first.
    pub(crate) fn open(connection: Connection, epoch: u64, ledger: Rc<RefCell<Ledger>>, ends: Ends) -> Self {
        let shared = Rc::new(Shared {
            epoch,
            writer: RefCell::new(connection.writer),
            pushed: Signal::default(),
            ledger,
            heard: Cell::new(Instant::now()),
            spoke: Cell::new(true),
            closing: Cell::new(false),
            ends,
            closed: Signal::default(),
            lost_already: Cell::new(false),
            transfers: connection.reader.transfers(),
            lane: RefCell::default(),
            farewell: RefCell::default(),
        });
        shared.repeat();
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

    /// Sees to the numbers of frames that came and leaves those that concern the owner. At the first one that cannot be
    /// accepted the link is lost; those before it are left.
    pub(crate) fn accept(&self, frames: &mut Vec<Frame>) {
        let mut whole = Vec::new();
        let mut ledger = self.shared.ledger.borrow_mut();
        let mut failed = None;
        frames.retain(|frame| {
            if failed.is_some() {
                return false;
            }
            match ledger.accept(frame) {
                Ok(Accepted::HandOn) => true,
                Ok(Accepted::Done) => {
                    if let Body::Received = frame.body {
                        self.shared.lane.borrow().iter().for_each(|lane| lane.received(frame.call));
                    }
                    false
                }
                Ok(Accepted::Whole) => {
                    whole.push(frame.call);
                    true
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        });
        drop(ledger);
        for call in whole {
            // It has no header and cannot be too large.
            let _ = self.shared.push(Frame::new(call, Body::Received));
        }
        if let Some(error) = failed {
            self.shared.lose(&error);
        }
    }

    /// Ends the connection when all that was pushed is written, or soon.
    pub(crate) fn close(&self) {
        self.shared.closing.set(true);
        self.shared.closed.give();
        self.shared.pushed.give();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The writer of a link that is closing ends by itself.
        let [reader, writer, watcher] = &self.tasks;
        reader.abort();
        watcher.abort();
        let lane = self.shared.lane.borrow();
        lane.iter().for_each(Lane::end_reading);
        if !self.shared.closing.get() {
            writer.abort();
            lane.iter().for_each(Lane::end_writing);
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
        let mut ledger = self.ledger.borrow_mut();
        ledger.stamp(&mut frame);
        if ledger.keeps() && frame.number > 0 {
            if let Err(error) = self.writer.borrow_mut().push_kept(&frame) {
                ledger.take_back(true);
                return Err(error);
            }
            ledger.keep(frame);
        } else {
            let numbered = frame.number > 0;
            if let Err(error) = self.writer.borrow_mut().push(frame) {
                ledger.take_back(numbered);
                return Err(error);
            }
        }
        self.spoke.set(true);
        self.pushed.give();
        Ok(())
    }

    fn repeat(&self) {
        let mut writer = self.writer.borrow_mut();
        for frame in self.ledger.borrow_mut().repeat() {
            // It could be sent before.
            if let Err(error) = writer.push_kept(frame) {
                return self.lose(&error);
            }
            self.pushed.give();
        }
    }

    pub(super) fn lose(&self, error: &dyn fmt::Display) {
        if !self.lost_already.replace(true) {
            let error = Error::new(ErrorCode::RpcUnavailable, error.to_string());
            post(&self.ends.lost, LinkLost { epoch: self.epoch, error });
        }
    }
}

async fn read(mut reader: Box<dyn FrameReader>, shared: Rc<Shared>) {
    reader.open();
    let mut pieces = (None, Instant::now());
    let mut last = 0;
    loop {
        // As many as came last.
        let mut frames = Vec::with_capacity(last);
        if let Err(error) = poll_fn(|cx| reader.poll_read(cx, &mut frames)).await {
            return shared.ended(&error);
        }
        last = frames.len();
        let now = Instant::now();
        shared.heard.set(now);
        if reader.pieces() != pieces.0 {
            pieces = (reader.pieces(), now);
        } else if pieces.0.is_some() && now.duration_since(pieces.1) >= LOST_AFTER {
            // Heartbeats come, and its sender has nothing more to send: it is sent again on the next connection (I6).
            return shared.lose(&format!("no piece of a payload came for {} s", LOST_AFTER.as_secs()));
        }
        if !shared.ends.arrived.connected() {
            return;
        }
        post(&shared.ends.arrived, Arrived { epoch: shared.epoch, frames });
    }
}

async fn write(shared: Rc<Shared>) {
    let overdue = async {
        shared.closed.take().await;
        tokio::time::sleep(CLOSE_TIMEOUT).await;
    };
    tokio::select! {
        biased;
        () = write_all(&shared) => {}
        () = overdue => tracing::debug!("a link was closed that its peer did not read to the end"),
    }
    shared.lane.borrow().iter().for_each(Lane::end_writing);
}

async fn write_all(shared: &Shared) {
    loop {
        shared.pushed.take().await;
        // What is ready to run may have more to say; it goes into the same write.
        behind_the_ready().await;
        if let Err(error) = flush(shared).await {
            tokio::time::sleep(LAST_WORDS).await;
            return shared.lose(&error);
        }
        if shared.closing.get() {
            let _ = poll_fn(|cx| shared.writer.borrow_mut().poll_close(cx)).await;
            return;
        }
    }
}

/// Lets everything run once that is ready now.
///
/// Not `yield_now`, which has its task woken when the thread has nothing left to do: by way of the poll for events, and then
/// with a write to the thread's own waker, three system calls for each write of a link.
async fn behind_the_ready() {
    let mut asked = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

async fn flush(shared: &Shared) -> Result<(), FabricError> {
    poll_fn(|cx| shared.writer.borrow_mut().poll_flush(cx)).await
}

async fn watch(shared: Rc<Shared>) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut quiet, mut suspected, mut lane) = (0, false, LaneWatch::new());
    loop {
        ticks.tick().await;
        if lane.is_lost(&shared) {
            let seconds = LOST_AFTER.as_secs();
            return shared.lose(&format!("a piece came on the lane whose payload was not announced for {seconds} s"));
        }
        let silence = shared.heard.get().elapsed();
        if silence >= LOST_AFTER {
            return shared.lose(&format!("nothing was heard for {} s", LOST_AFTER.as_secs()));
        }
        if suspected != (silence >= SUSPECT_AFTER) {
            suspected = !suspected;
            if let Some(told) = &shared.ends.silence {
                post(told, Silence { epoch: shared.epoch, lasts: suspected.then_some(silence) });
            }
        }
        quiet = if shared.spoke.replace(false) { 0 } else { quiet + 1 };
        if quiet * LOOK >= HEARTBEAT {
            quiet = 0;
            if let Err(error) = shared.push(Frame::new(CallId::default(), Body::Heartbeat)) {
                return shared.lose(&error);
            }
            shared.spoke.set(false);
        }
    }
}
