//! How a session waits, for its task or for its server, and how it ends.

use actix::{ActorContext, AsyncContext, Context};
use remex_protocol::{Body, ErrorCode, Frame, RemoteError, ids::CallId};
use tokio::time::Instant;

use super::{End, Ended, Session, held::HeldLimits};
use crate::{
    Error,
    envelope::post,
    objects::SessionEnded,
    observe::{Event, SessionEvent, What},
};

impl Session {
    /// There is no connection: whoever comes back within the lease finds everything.
    pub(super) fn wait_for_connection(&mut self, why: Error, ctx: &mut Context<Self>) {
        let was_there = self.link.take().is_some();
        let Some(lease) = self.lease else { return self.end(why, ctx) };
        if was_there {
            self.observe(SessionEvent::Away(why));
        }
        if self.expiry.is_none() {
            let since = Instant::now();
            let handle = ctx.run_later(lease, move |act, ctx| {
                // A timer of an earlier time means nothing.
                if act.expiry.is_none_or(|(at, _)| at != since) {
                    return;
                }
                tracing::info!(session = %act.id, peer = %act.peer, "session over: its task did not come back");
                act.end(unavailable(format!("it did not come back within {:.1} s", lease.as_secs_f64())), ctx);
            });
            self.expiry = Some((since, handle));
        }
    }

    /// Keeps frames until the server has answered, but not without end (I8).
    pub(super) fn hold(&mut self, frames: impl IntoIterator<Item = Frame>, ctx: &mut Context<Self>) {
        if !self.held.get_or_insert_default().extend(frames, self.most_held) {
            let HeldLimits { frames, bytes } = self.most_held;
            let message = format!(
                "the caller sent more than {frames} frames or {bytes} bytes behind a call that was not answered yet: keep \
                 to the credits"
            );
            self.flooded(message, ctx);
        }
    }

    pub(super) fn flooded(&mut self, message: String, ctx: &mut Context<Self>) {
        tracing::warn!(session = %self.id, peer = %self.peer, message);
        self.finish(End::Flooded, Error::new(ErrorCode::ResourceExhausted, message), ctx);
    }

    pub(super) fn end(&mut self, why: Error, ctx: &mut Context<Self>) {
        self.finish(End::Over, why, ctx);
    }

    pub(super) fn finish(&mut self, how: End, why: Error, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        self.over(how, &why);
        if let Some(link) = self.link.take() {
            let code = if how == End::Flooded { ErrorCode::ResourceExhausted } else { ErrorCode::Unavailable };
            let message = format!("the task has ended the session: {}", why.message());
            let _ = link.push(Frame::new(CallId::default(), Body::Goodbye(Box::new(RemoteError::new(code, message)))));
            link.close();
        }
        ctx.stop();
    }

    /// Tells everybody that the session is over.
    pub(super) fn over(&mut self, how: End, why: &Error) {
        for context in std::mem::take(&mut self.contexts).into_values() {
            post(&context.ended, SessionEnded { session: self.id, lost: Some(context.prefix) });
        }
        post(&self.server.ended, Ended { session: self.id, how });
        if self.has_begun {
            self.observe(SessionEvent::Ended(why.clone()));
        }
    }

    pub(super) fn observe(&self, event: SessionEvent) {
        if !self.server.observers.is_empty() {
            let (task, at, what) = (self.peer.to_string().into(), Instant::now(), What::Session(event));
            self.server.observers.tell(vec![Event { task, at, call: CallId::default(), name: "", what }]);
        }
    }
}

impl Drop for Session {
    /// One that has ended told everybody. This one died: what it made ends all the same (I9).
    fn drop(&mut self) {
        if !self.has_ended {
            self.over(End::Died, &Error::new(ErrorCode::Internal, "the actor of the session died, which is a bug"));
        }
    }
}

pub(super) fn unavailable(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Unavailable, message)
}
