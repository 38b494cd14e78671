//! The tracker as an actor.

use std::sync::Arc;

use actix::{Actor, Context, Handler, WeakRecipient};
use remex_protocol::{Body, Call, ErrorCode, Frame, RemoteError, Rpc, calls::CancelRequest, ids::CallId};
use tokio::time::Instant;

use super::{Cancelled, Expect, Expectation, Lost, Promised, Replies, expectations::Expectations};
use crate::{
    Error,
    alarm::Alarm,
    client::{Edge, Outgoing},
    envelope::post,
    handles::ObjectRef,
    observe::{Event, Observers, What},
};

/// So many inputs of a call that is late are named, at most.
const SHOWN: usize = 8;

/// Keeps the promises of the calls in flight to one receiver.
#[derive(Debug)]
pub struct PendingResults {
    /// Whose calls, for messages to people.
    receiver: Arc<str>,
    state: Expectations,
    /// Gets its tickets back here.
    edge: Arc<Edge>,
    /// Tells the receiver to give up. Weak: `RemoteClient` holds this actor.
    outgoing: Option<WeakRecipient<Outgoing>>,
    observers: Observers,
    alarm: Alarm,
}

impl PendingResults {
    /// A tracker for calls to `receiver`, whose tickets come from `edge`.
    pub fn new(receiver: &str, edge: Arc<Edge>, observers: Observers) -> Self {
        Self {
            receiver: receiver.into(),
            observers,
            state: Expectations::default(),
            edge,
            outgoing: None,
            alarm: Alarm::default(),
        }
    }

    fn ring(&mut self, ctx: &mut Context<Self>) {
        self.alarm.rang();
        let message = "the call was not done by its deadline: give it more time, or look at what its worker does";
        let error = RemoteError::new(ErrorCode::DeadlineExceeded, message).on_task(&self.receiver);
        let expired = self.state.expire(Instant::now().into_std(), |call, holds| {
            let mut error = error.clone().of_call(call);
            if let Some(owners) = owners(&self.receiver, holds) {
                error.message = format!("{message}; it takes {owners}: that task may be slow, or gone");
            }
            error.into()
        });
        self.observe(expired.iter().copied(), &What::Failed(error.into()));
        self.tell_receiver(expired);
        self.alarm.set(self.state.earliest(), ctx, Self::ring);
    }

    /// Something happened to calls, for those who watch.
    fn event(&self, call: CallId, what: What) -> Event {
        Event { task: self.receiver.clone(), at: Instant::now(), call, name: self.state.name(call), what }
    }

    fn observe(&self, calls: impl IntoIterator<Item = CallId>, what: &What) {
        if !self.observers.is_empty() {
            self.observers.tell(calls.into_iter().map(|call| self.event(call, what.clone())).collect());
        }
    }

    /// The receiver has answered with what it may not (I2).
    fn wrong(&self, call: CallId, why: &str) -> Error {
        let message = format!("{} broke its word: {} was answered with {why}", self.receiver, self.state.name(call));
        Error::from(RemoteError::new(ErrorCode::Internal, message).on_task(&self.receiver).of_call(call))
    }

    /// A receiver says something else than before: what it says later on counts for nothing.
    fn give_up_on_liar(&mut self, call: CallId, why: &str) -> Option<Event> {
        let error = self.wrong(call, why);
        let event = (!self.observers.is_empty()).then(|| self.event(call, What::Failed(error.clone())));
        if self.state.give_up(call, error) {
            self.tell_receiver(vec![call]);
        }
        event
    }

    /// The receiver need not go on with these. A cancel has a ticket of its own but promises nothing.
    fn tell_receiver(&mut self, calls: Vec<CallId>) {
        let Some(outgoing) = self.outgoing.as_ref().and_then(WeakRecipient::upgrade) else { return };
        let mut frames = Vec::with_capacity(calls.len());
        for call in calls {
            let ticket = self.edge.ticket();
            let deadline = Instant::now().into_std();
            self.state.expect(Expectation {
                call: ticket,
                kind: CancelRequest::KIND,
                deadline,
                promised: Promised::Nothing,
                admission: None,
                holds: Box::default(),
            });
            frames.push(Frame::new(ticket, Body::Call(Call::Cancel(Box::new(CancelRequest { call })))));
        }
        if !frames.is_empty() {
            post(&outgoing, Outgoing(frames));
        }
    }
}

/// Which inputs of a call other tasks than its receiver have, which it has to fetch from there.
fn owners(receiver: &str, holds: &[ObjectRef]) -> Option<String> {
    let elsewhere = holds.iter().filter(|object| object.task().to_string() != receiver);
    let owners: Vec<_> =
        elsewhere.map(|object| format!("{} from {}", object.id(), object.task())).take(SHOWN).collect();
    let more = if holds.len() > owners.len() { ", …" } else { "" };
    (!owners.is_empty()).then(|| owners.join(", ") + more)
}

impl Actor for PendingResults {
    type Context = Context<Self>;
}

/// Told once, when both actors are there.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub struct Attach(pub WeakRecipient<Outgoing>);

impl Handler<Attach> for PendingResults {
    type Result = ();

    fn handle(&mut self, Attach(outgoing): Attach, _: &mut Context<Self>) {
        self.outgoing = Some(outgoing);
    }
}

impl Handler<Expect> for PendingResults {
    type Result = ();

    fn handle(&mut self, Expect(expectations): Expect, ctx: &mut Context<Self>) {
        let calls: Vec<_> = if self.observers.is_empty() {
            Vec::new()
        } else {
            expectations.iter().map(|expectation| expectation.call).collect()
        };
        for expectation in expectations {
            self.state.expect(expectation);
        }
        self.observe(calls, &What::Sent);
        self.alarm.set(self.state.earliest(), ctx, Self::ring);
    }
}

impl Handler<Cancelled> for PendingResults {
    type Result = ();

    fn handle(&mut self, Cancelled { call, error }: Cancelled, _: &mut Context<Self>) {
        let what = What::Failed(error.clone());
        if self.state.give_up(call, error) {
            self.observe([call], &what);
            self.tell_receiver(vec![call]);
        }
    }
}

impl Handler<Replies> for PendingResults {
    type Result = ();

    fn handle(&mut self, Replies(frames): Replies, _: &mut Context<Self>) {
        let mut answered = Vec::with_capacity(frames.len());
        let mut events = Vec::new();
        let watched = !self.observers.is_empty();
        for Frame { call, body, payload, .. } in frames {
            let answer = match body {
                Body::Metadata { output, metadata } => {
                    let said = watched.then(|| What::Metadata { output, metadata: metadata.clone() });
                    match self.state.metadata(call, output, metadata) {
                        Ok(()) => events.extend(said.map(|what| self.event(call, what))),
                        Err(why) => events.extend(self.give_up_on_liar(call, &why)),
                    }
                    continue;
                }
                Body::Foreseen { object, metadata } => {
                    if let Err((call, why)) = self.state.foreseen(object, *metadata) {
                        events.extend(self.give_up_on_liar(call, &why));
                    }
                    continue;
                }
                Body::Completed(reply) => match self.state.check(call, &reply) {
                    Ok(()) => Ok((reply, payload.into_bytes())),
                    Err(why) => Err(self.wrong(call, &why)),
                },
                Body::Failed { error, .. } => Err(Error::from(error.of_call(call))),
                other => {
                    tracing::warn!(receiver = %self.receiver, ?other, "a frame that answers no call");
                    continue;
                }
            };
            if watched {
                let what = answer.as_ref().map_or_else(|error| What::Failed(error.clone()), |_| What::Done);
                events.push(self.event(call, what));
            }
            self.state.complete(call, answer);
            answered.push(call);
        }
        self.observers.tell(events);
        self.edge.give_back(answered);
    }
}

impl Handler<Lost> for PendingResults {
    type Result = ();

    fn handle(&mut self, Lost { error, may_resume }: Lost, _: &mut Context<Self>) {
        let what = What::Failed(error.clone());
        if may_resume {
            let given_up = self.state.give_up_all(&error);
            self.observe(given_up.iter().copied(), &what);
            return self.tell_receiver(given_up);
        }
        let lost = self.state.lose(&error);
        self.observe(lost.iter().copied(), &what);
        self.edge.give_back(lost);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix::AsyncContext;
    use remex_protocol::{calls::RemoteExecuteRequest, handshake::Credits};

    use super::*;
    use crate::{promise::call_cell, testing::Probe};

    /// I1: at its deadline a call settles, within a millisecond, and the receiver is told.
    #[actix::test]
    async fn a_call_that_is_not_answered_expires() {
        tokio::time::pause();
        let edge = Edge::new("w", Credits::default());
        let (probe, outgoing) = Probe::<Outgoing>::start();
        let pending = PendingResults::new("/job:w/task:0", edge.clone(), Observers::default()).start();
        post(&pending.clone().recipient(), Attach(outgoing.downgrade()));
        let (writer, cell) = call_cell(0);
        let call = edge.ticket();
        let begin = Instant::now();
        let deadline = (begin + Duration::from_millis(1500)).into_std();
        let expectation = Expectation {
            call,
            kind: RemoteExecuteRequest::KIND,
            deadline,
            promised: Promised::Call(writer),
            admission: None,
            holds: Box::default(),
        };
        post(&pending.recipient(), Expect(vec![expectation]));
        let error = cell.done().await.unwrap_err();
        assert_eq!((error.code(), error.task()), (ErrorCode::DeadlineExceeded, Some("/job:w/task:0")));
        let late = begin.elapsed() - Duration::from_millis(1500);
        assert!(late <= Duration::from_millis(1), "{late:?}");
        let Outgoing(frames) = probe.next().await;
        assert!(matches!(&frames[0].body, Body::Call(Call::Cancel(cancel)) if cancel.call == call));
    }

    /// I1: when the tracker dies its promises fail.
    #[actix::test]
    async fn a_dead_tracker_fails_its_promises() {
        tokio::time::pause();
        let edge = Edge::new("w", Credits::default());
        let made = edge.clone();
        let pending = PendingResults::create(|ctx| {
            ctx.run_later(Duration::from_secs(1), |_, ctx| actix::ActorContext::stop(ctx));
            PendingResults::new("w", made, Observers::default())
        });
        let (writer, cell) = call_cell(0);
        let deadline = (Instant::now() + Duration::from_secs(60)).into_std();
        let promised = Promised::Call(writer);
        let expectation = Expectation {
            call: edge.ticket(),
            kind: RemoteExecuteRequest::KIND,
            deadline,
            promised,
            admission: None,
            holds: Box::default(),
        };
        post(&pending.clone().recipient(), Expect(vec![expectation]));
        assert_eq!(cell.done().await.unwrap_err().code(), ErrorCode::Internal);
    }
}
