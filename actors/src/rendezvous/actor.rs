//! The rendezvous as an actor.

use std::sync::Arc;

use actix::{Actor, ActorContext, Addr, Context, Handler};
use remex_protocol::{ErrorCode, ids::InstanceKey};
use tokio::{sync::oneshot, time::Instant};

use super::{
    Arrival, CancelReceive, Close, DataArrived, Datum, GiveBack, Inspect, Receive, RendezvousLimits,
    RendezvousRecipients, RendezvousStats, SendData, state::State,
};
use crate::{Error, Result, alarm::Alarm};

type Waiter = oneshot::Sender<Result<Datum>>;

/// Keeps the values and waiting receives of one context on one task.
#[derive(Debug)]
pub struct Rendezvous {
    /// This task, for messages.
    task: Arc<str>,
    state: State<Waiter>,
    alarm: Alarm,
}

impl Rendezvous {
    /// An empty rendezvous on `task`.
    pub fn new(task: &str, limits: RendezvousLimits) -> Self {
        Self { task: task.into(), state: State::new(limits), alarm: Alarm::default() }
    }

    /// The ways to one that runs.
    pub fn recipients(addr: &Addr<Self>) -> RendezvousRecipients {
        RendezvousRecipients {
            arrived: addr.clone().recipient(),
            send: addr.clone().recipient(),
            receive: addr.clone().recipient(),
            cancel: addr.clone().recipient(),
            give_back: addr.clone().recipient(),
            close: addr.clone().recipient(),
            inspect: Some(addr.clone().recipient()),
            tickets: Arc::default(),
        }
    }

    fn send(&mut self, key: &InstanceKey, datum: Datum, until: std::time::Instant) -> Result<()> {
        let met = self.state.send(Instant::now().into_std(), key, datum, until)?;
        self.meet(key, met);
        Ok(())
    }

    /// Hands a value to the one who waits. One who has gone by now does not get it (PR-2).
    fn meet(&mut self, key: &InstanceKey, met: Option<(Waiter, Datum)>) {
        if let Some((to, datum)) = met
            && let Err(Ok(datum)) = to.send(Ok(datum))
        {
            self.state.give_back(key, datum);
        }
    }

    /// An error of this task.
    fn fail(&self, to: Waiter, error: Error) {
        // Who has gone needs no error.
        let _ = to.send(Err(error.map(|error| error.on_task(&self.task))));
    }

    fn ring(&mut self, ctx: &mut Context<Self>) {
        self.alarm.rang();
        for (to, error) in self.state.expire(Instant::now().into_std()) {
            self.fail(to, error);
        }
        self.alarm.set(self.state.earliest(), ctx, Self::ring);
    }
}

impl Actor for Rendezvous {
    type Context = Context<Self>;
}

impl Drop for Rendezvous {
    /// PR-3: after an orderly end nobody waits. This one died.
    fn drop(&mut self) {
        for to in self.state.close() {
            self.fail(to, Error::new(ErrorCode::Internal, "the rendezvous of the context died, which is a bug"));
        }
    }
}

impl Handler<Inspect> for Rendezvous {
    type Result = Result<RendezvousStats>;

    fn handle(&mut self, _: Inspect, _: &mut Context<Self>) -> Result<RendezvousStats> {
        Ok(self.state.stats())
    }
}

impl Handler<DataArrived> for Rendezvous {
    type Result = ();

    fn handle(&mut self, DataArrived(arrivals): DataArrived, ctx: &mut Context<Self>) {
        for Arrival { answer, key, datum, until } in arrivals {
            let result = self.send(&key, datum, until);
            answer.give(result, &self.task);
        }
        self.alarm.set(self.state.earliest(), ctx, Self::ring);
    }
}

impl Handler<SendData> for Rendezvous {
    type Result = Result<()>;

    fn handle(&mut self, SendData { key, datum, until }: SendData, ctx: &mut Context<Self>) -> Result<()> {
        let result = self.send(&key, datum, until);
        self.alarm.set(self.state.earliest(), ctx, Self::ring);
        result.map_err(|error| error.map(|error| error.on_task(&self.task)))
    }
}

impl Handler<Receive> for Rendezvous {
    type Result = ();

    fn handle(&mut self, Receive { key, ticket, until, to }: Receive, ctx: &mut Context<Self>) {
        match self.state.receive(Instant::now().into_std(), &key, (ticket, to), until, Waiter::is_closed) {
            Ok(met) => self.meet(&key, met),
            Err((to, error)) => self.fail(to, error),
        }
        self.alarm.set(self.state.earliest(), ctx, Self::ring);
    }
}

impl Handler<CancelReceive> for Rendezvous {
    type Result = ();

    fn handle(&mut self, CancelReceive { key, ticket }: CancelReceive, _: &mut Context<Self>) {
        if let Some(to) = self.state.cancel(&key, ticket) {
            self.fail(to, Error::new(ErrorCode::Cancelled, format!("the receive of {:?} was cancelled", key.as_str())));
        }
    }
}

impl Handler<GiveBack> for Rendezvous {
    type Result = ();

    fn handle(&mut self, GiveBack { key, datum }: GiveBack, _: &mut Context<Self>) {
        self.state.give_back(&key, datum);
    }
}

impl Handler<Close> for Rendezvous {
    type Result = Result<()>;

    fn handle(&mut self, Close(error): Close, ctx: &mut Context<Self>) -> Result<()> {
        for to in self.state.close() {
            // One cause for all, as it was given.
            let _ = to.send(Err(error.clone()));
        }
        ctx.stop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::FutureExt;
    use remex_protocol::{
        Body,
        ids::{CallId, TaskIndex},
    };

    use super::*;
    use crate::{envelope::ask, rendezvous::Answer, session::Answers, testing::Probe};

    const SECOND: Duration = Duration::from_secs(1);

    fn rendezvous() -> RendezvousRecipients {
        Rendezvous::recipients(&Rendezvous::new("/job:w/task:0", RendezvousLimits::default()).start())
    }

    fn key(text: &str) -> InstanceKey {
        text.try_into().unwrap()
    }

    fn datum(text: &'static str) -> Datum {
        let (header, buffers) = (Bytes::from_static(b"h"), vec![Bytes::from_static(text.as_bytes()), Bytes::new()]);
        Datum { from: TaskIndex(3), header, buffers }
    }

    fn after(limit: Duration) -> std::time::Instant {
        (Instant::now() + limit).into_std()
    }

    async fn send(to: &RendezvousRecipients, name: &str, text: &'static str) -> Result<()> {
        ask(&to.send, SendData { key: key(name), datum: datum(text), until: after(60 * SECOND) }).await
    }

    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[actix::test]
    async fn both_orders_of_arrival_meet() {
        tokio::time::pause();
        let to = rendezvous();
        send(&to, "a", "first").await.unwrap();
        assert_eq!(to.receive(key("a"), after(SECOND)).await.unwrap(), datum("first"));
        let waiting = to.receive(key("b"), after(SECOND));
        settle().await;
        send(&to, "b", "second").await.unwrap();
        assert_eq!(waiting.await.unwrap(), datum("second"));
    }

    #[actix::test]
    async fn what_a_session_brings_is_answered() {
        tokio::time::pause();
        let to = rendezvous();
        let (probe, answers) = Probe::<Answers>::start();
        let arrival = |index, text| Arrival {
            answer: Answer::new(CallId::new(index, 0), answers.clone().into()),
            key: key("a"),
            datum: datum(text),
            until: after(SECOND),
        };
        to.arrived.send(DataArrived(vec![arrival(0, "one"), arrival(1, "two")])).await.unwrap();
        assert!(matches!(probe.next().await.0[0].body, Body::Completed(_)));
        let refused = probe.next().await.0.remove(0);
        assert_eq!(refused.call, CallId::new(1, 0));
        let Body::Failed { error, .. } = refused.body else { panic!("{refused:?}") };
        assert_eq!((error.code, error.task.as_deref()), (ErrorCode::AlreadyExists, Some("/job:w/task:0")));
        assert_eq!(to.receive(key("a"), after(SECOND)).await.unwrap(), datum("one"));
        // An answer that is forgotten is an error for the caller, not silence.
        drop(arrival(2, "three"));
        assert!(matches!(&probe.next().await.0[0].body, Body::Failed { .. }));
    }

    /// TFRT §3.5-2: receiving bytes had no way to fail. Here a receive ends by its deadline.
    #[actix::test]
    async fn a_receive_ends_by_its_deadline() {
        tokio::time::pause();
        let (to, begin) = (rendezvous(), Instant::now());
        let (long, short) = (to.receive(key("a"), after(5 * SECOND)), to.receive(key("b"), after(2 * SECOND)));
        assert_eq!(short.await.unwrap_err().code(), ErrorCode::DeadlineExceeded);
        assert!((2 * SECOND..2 * SECOND + Duration::from_millis(2)).contains(&begin.elapsed()));
        let error = long.await.unwrap_err();
        assert!(error.message().contains("nothing was sent for key \"a\""), "{error}");
        assert!((5 * SECOND..5 * SECOND + Duration::from_millis(2)).contains(&begin.elapsed()));
    }

    #[actix::test]
    async fn a_value_that_nobody_claims_is_thrown_away_in_time() {
        tokio::time::pause();
        let to = rendezvous();
        send(&to, "a", "old").await.unwrap();
        tokio::time::advance(61 * SECOND).await;
        settle().await;
        send(&to, "a", "new").await.unwrap();
        assert_eq!(to.receive(key("a"), after(SECOND)).await.unwrap(), datum("new"));
    }

    #[actix::test]
    async fn a_receive_can_be_cancelled_from_elsewhere() {
        tokio::time::pause();
        let to = rendezvous();
        let waiting = to.receive(key("a"), after(SECOND));
        let cancel = waiting.canceller();
        cancel();
        assert_eq!(waiting.await.unwrap_err().code(), ErrorCode::Cancelled);
        let next = to.receive(key("a"), after(SECOND));
        cancel();
        send(&to, "a", "x").await.unwrap();
        assert_eq!(next.await.unwrap(), datum("x"), "a late cancel is not the next one's");
    }

    /// PR-2: a value goes to exactly one live receiver, whenever the other one was dropped.
    #[actix::test]
    async fn who_is_dropped_leaves_the_value_to_the_next() {
        tokio::time::pause();
        let to = rendezvous();
        // Dropped while it waits.
        drop(to.receive(key("a"), after(SECOND)));
        send(&to, "a", "x").await.unwrap();
        // Dropped when it was given the value and had not looked.
        let given = to.receive(key("a"), after(SECOND));
        settle().await;
        drop(given);
        assert_eq!(to.receive(key("a"), after(SECOND)).await.unwrap(), datum("x"));
    }

    /// PR-3: who waits when the context closes, or comes later, gets an error.
    #[actix::test]
    async fn closing_fails_all_with_one_cause() {
        tokio::time::pause();
        let to = rendezvous();
        let waiting: Vec<_> = ["a", "b", "c"].map(|name| to.receive(key(name), after(SECOND))).into();
        let cause = Error::new(ErrorCode::Cancelled, "the context was closed");
        ask(&to.close, Close(cause.clone())).await.unwrap();
        for waiting in waiting {
            assert_eq!(waiting.now_or_never().unwrap(), Err(cause.clone()));
        }
        settle().await;
        assert_eq!(to.receive(key("d"), after(SECOND)).await.unwrap_err().code(), ErrorCode::FailedPrecondition);
        assert!(send(&to, "d", "x").await.is_err());
    }
}
