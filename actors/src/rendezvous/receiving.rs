//! The ways to a rendezvous, and what it is to wait there.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use actix::Recipient;
use remex_protocol::{ErrorCode, ids::InstanceKey};
use tokio::sync::oneshot;

use super::{CancelReceive, Close, DataArrived, Datum, GiveBack, Inspect, Receive, SendData};
use crate::{Error, Result, envelope::post};

/// The ways to a rendezvous; an application may bring one of its own.
#[derive(Clone, Debug)]
pub struct RendezvousRecipients {
    /// Takes what other tasks send.
    pub arrived: Recipient<DataArrived>,
    /// Takes what callers here send.
    pub send: Recipient<SendData>,
    /// Gives a value to whoever waits.
    pub receive: Recipient<Receive>,
    /// Lets a receive go.
    pub cancel: Recipient<CancelReceive>,
    /// Takes a value back.
    pub give_back: Recipient<GiveBack>,
    /// Ends it.
    pub close: Recipient<Close>,
    /// Its numbers, if it counts.
    pub inspect: Option<Recipient<Inspect>>,
    /// Numbers receives.
    pub tickets: Arc<AtomicU64>,
}

impl RendezvousRecipients {
    /// Waits for the value of `key`, until a deadline. The receive is under way at once; dropping the future cancels it,
    /// and a value that had been given already is unclaimed again.
    pub fn receive(&self, key: InstanceKey, until: Instant) -> Receiving {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (to, from) = oneshot::channel();
        post(&self.receive, Receive { key: key.clone(), ticket, until, to });
        let (cancel, give_back) = (self.cancel.clone(), self.give_back.clone());
        Receiving { key, ticket, from: Some(from), cancel, give_back }
    }
}

/// A value that is waited for.
#[derive(Debug)]
pub struct Receiving {
    key: InstanceKey,
    ticket: u64,
    /// Gone once it has given.
    from: Option<oneshot::Receiver<Result<Datum>>>,
    cancel: Recipient<CancelReceive>,
    give_back: Recipient<GiveBack>,
}

impl Receiving {
    /// Ends the receive, wherever its future is, with `Cancelled`.
    pub fn canceller(&self) -> impl Fn() + Send + 'static {
        let (cancel, key, ticket) = (self.cancel.clone(), self.key.clone(), self.ticket);
        move || post(&cancel, CancelReceive { key: key.clone(), ticket })
    }
}

impl Future for Receiving {
    type Output = Result<Datum>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Datum>> {
        let Some(from) = &mut self.from else { return Poll::Ready(Err(gone())) };
        let given = std::task::ready!(Pin::new(from).poll(cx));
        self.from = None;
        // A rendezvous that is gone drops its messages, and with them the other end.
        Poll::Ready(given.unwrap_or_else(|_| Err(gone())))
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let Some(mut from) = self.from.take() else { return };
        from.close();
        match from.try_recv() {
            // PR-2: given but not taken.
            Ok(Ok(datum)) => post(&self.give_back, GiveBack { key: self.key.clone(), datum }),
            Ok(Err(_)) => {}
            Err(_) => post(&self.cancel, CancelReceive { key: self.key.clone(), ticket: self.ticket }),
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorCode::FailedPrecondition, "the context is closed, or its rendezvous died")
}
