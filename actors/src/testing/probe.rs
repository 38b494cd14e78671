//! An actor that keeps what it is sent.

use std::fmt;

use actix::{Actor, Context, Handler, Message, Recipient};
use tokio::sync::{
    Mutex,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// The test's end of a recipient: what was sent to it, in order.
pub struct Probe<M>(Mutex<UnboundedReceiver<M>>);

struct Recorder<M>(UnboundedSender<M>);

impl<M: Message<Result = ()> + Send + Unpin + 'static> Probe<M> {
    /// A probe and the recipient that it records.
    pub fn start() -> (Self, Recipient<M>) {
        let (sender, receiver) = unbounded_channel();
        (Self(Mutex::new(receiver)), Recorder(sender).start().recipient())
    }

    /// The next message; waits for it. Panics when none can come any more: the test is wrong, or what it tests.
    pub async fn next(&self) -> M {
        self.0.lock().await.recv().await.expect("nobody holds the probe's recipient any more")
    }

    /// The next message, if it is there.
    pub fn try_next(&self) -> Option<M> {
        self.0.try_lock().ok()?.try_recv().ok()
    }
}

impl<M: Unpin + 'static> Actor for Recorder<M> {
    type Context = Context<Self>;
}

impl<M: Message<Result = ()> + Send + Unpin + 'static> Handler<M> for Recorder<M> {
    type Result = ();

    fn handle(&mut self, message: M, _: &mut Self::Context) {
        let _ = self.0.send(message);
    }
}

impl<M> fmt::Debug for Probe<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}
