//! The two ways in which an actor speaks to another.

use actix::{Message, Recipient};
use remex_protocol::ErrorCode;

use crate::{Error, Result};

/// Sends a message and does not wait.
///
/// The only place where `do_send` may stand. It ignores the mailbox's bound, which is right here: what may be under way
/// is bounded at the edge, by credits. It is silent when the mailbox is closed, which is right too: the message is
/// dropped, and with it the writers of the promises in it, and that settles them (I1).
#[allow(clippy::disallowed_methods, reason = "the one place; see above")]
pub fn post<M>(to: &Recipient<M>, message: M)
where
    M: Message + Send,
    M::Result: Send,
{
    to.do_send(message);
}

/// Sends a message and waits for its answer. A dead actor is an error like any other.
pub async fn ask<M, T>(to: &Recipient<M>, message: M) -> Result<T>
where
    M: Message<Result = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    match to.send(message).await {
        Ok(answer) => answer,
        Err(error) => Err(Error::new(ErrorCode::Internal, format!("the actor that should answer is gone: {error}"))),
    }
}
