//! What becomes of calls while there is no connection.
//!
//! After the reconnect window all that is under way fails, and the session stays: the peer keeps it for its lease, and with
//! it the objects and programs that were made in it. Until the lease is over it is tried to reach the peer again. What is
//! called meanwhile fails with the next attempt, and the peer is told later what it must know of it.

use remex_protocol::{
    Body, Call, Effect, Frame, RemoteError,
    calls::{FailObjectsRequest, PinMode},
    frame::MAX_DELETES,
    ids::{ContextIndex, ObjectId},
};

use super::{LinkEvent, RemoteClient};
use crate::{
    Error,
    envelope::post,
    observe::What,
    pending::{Lost, Replies},
    session::context_of,
};

impl RemoteClient {
    /// Fails what is under way and keeps the session (I6).
    pub(super) fn stall(&mut self, error: Error) {
        if let Some(session) = &mut self.session {
            session.stalled = true;
        }
        tracing::debug!(address = %self.address, %error, "link stalled");
        self.fail_unsent(&error);
        post(&self.lost, Lost { error: error.clone(), may_resume: true });
        self.callers.drain(..).for_each(|caller| caller.settle(Err(error.clone())));
        self.observe(What::LinkStalled(error.clone()));
        self.tell(&LinkEvent::Stalled { address: self.address.clone(), error });
    }

    /// Another attempt has failed while the link is stalled.
    pub(super) fn withhold(&mut self, error: &Error) {
        let had_calls = !self.waiting.is_empty();
        self.fail_unsent(error);
        if had_calls && !self.waiting.is_empty() {
            // Who waits for an answer to what is kept hears that it does not come yet.
            post(&self.lost, Lost { error: error.clone(), may_resume: true });
        }
        self.callers.drain(..).for_each(|caller| caller.settle(Err(error.clone())));
    }

    /// Answers what only lets go of something: it is gone with the session.
    pub(super) fn answer_clean_up(&mut self, error: &Error) {
        let clean_up = self.waiting.extract_if(.., |frame| is_clean_up(&frame.body));
        let error = not_sent(error);
        let answers = clean_up.filter_map(|frame| failure(&frame, &error)).collect();
        self.answer(answers);
    }

    /// Answers what was not sent yet: there is no session that it could be sent in.
    pub(super) fn answer_waiting(&mut self, error: &Error) {
        let waiting = std::mem::take(&mut self.waiting);
        let error = not_sent(error);
        self.answer(waiting.into_iter().filter_map(|frame| failure(&frame, &error)).collect());
    }

    /// Answers what was not sent yet, and keeps in its place what the peer must know when the session goes on: what was let
    /// go, and of which objects it will never hear (I3).
    fn fail_unsent(&mut self, error: &Error) {
        let (waiting, error) = (std::mem::take(&mut self.waiting), not_sent(error));
        let mut answers = Vec::new();
        for frame in waiting {
            if is_clean_up(&frame.body) {
                self.waiting.push(frame);
                continue;
            }
            answers.extend(failure(&frame, &error));
            let Some((context, mut objects)) = made_by(&frame.body) else { continue };
            if let Some(Body::Call(Call::FailObjects(last))) = self.waiting.last_mut().map(|frame| &mut frame.body)
                && last.context == context
                && last.objects.len() + objects.len() <= MAX_DELETES
            {
                last.objects.append(&mut objects);
                continue;
            }
            // Under the name of the call, which the peer will not hear otherwise: its answer means nothing here.
            let request = FailObjectsRequest { context, objects, cause: error.clone() };
            self.waiting.push(Frame::new(frame.call, Body::Call(Call::FailObjects(Box::new(request)))));
        }
        self.answer(answers);
    }

    /// Answers calls that were given here before their context heard that the session is lost, and after. On the session that
    /// there is now their context's number stands for nothing, or for another context.
    pub(super) fn refuse_belated(&mut self, frames: &mut Vec<Frame>) {
        let made = frames.iter().filter_map(|frame| match &frame.body {
            Body::Call(Call::CreateContext(request)) => Some(request.index),
            _ => None,
        });
        // Among the calls of one context none is before the one that makes it known.
        self.known.extend(made);
        let Some(error) = &self.lost_before else { return };
        let is_belated = |frame: &Frame| match &frame.body {
            Body::Call(call) => context_of(call).is_some_and(|index| !self.known.contains(&index)),
            _ => false,
        };
        let error = not_sent(error);
        let belated = frames.extract_if(.., |frame| is_belated(frame));
        let answers = belated.filter_map(|frame| failure(&frame, &error)).collect();
        self.answer(answers);
    }

    fn answer(&self, answers: Vec<Frame>) {
        if !answers.is_empty() {
            post(&self.replies, Replies(answers));
        }
    }
}

fn not_sent(error: &Error) -> RemoteError {
    error.remote().clone().with_effect(Effect::NotSent)
}

/// The answer to a call that was not sent.
fn failure(frame: &Frame, error: &RemoteError) -> Option<Frame> {
    match &frame.body {
        Body::Call(request) => {
            Some(Frame::new(frame.call, Body::Failed { kind: request.kind(), error: Box::new(error.clone()) }))
        }
        _ => None,
    }
}

/// Whether a call only says what becomes of what is there: it is of use whenever it arrives, and if it never did the peer would
/// keep what nobody wants, or let go of what somebody was told of.
fn is_clean_up(body: &Body) -> bool {
    match body {
        Body::Call(Call::DeleteObjects(_) | Call::FailObjects(_) | Call::CloseContext(_) | Call::Cancel(_)) => true,
        Body::Call(Call::PinObjects(request)) => request.mode == PinMode::Keep,
        _ => false,
    }
}

/// The objects that a call would have made.
fn made_by(body: &Body) -> Option<(ContextIndex, Vec<ObjectId>)> {
    let Body::Call(call) = body else { return None };
    let (context, mut objects, chain) = match call {
        Call::RemoteExecute(call) => {
            (call.context, call.outputs.iter().map(|output| output.object).collect::<Vec<_>>(), call.out_chain)
        }
        Call::RemoteExecuteOp(call) => {
            (call.context, call.outputs.iter().map(|output| output.object).collect(), call.out_chain)
        }
        Call::PutObject(call) => (call.context, vec![call.object], None),
        Call::BeginPut(call) => (call.context, vec![call.object], None),
        _ => return None,
    };
    objects.extend(chain);
    Some((context, objects)).filter(|(_, objects)| !objects.is_empty())
}
