//! Second connections of sessions, for large payloads.

use remex_protocol::{ErrorCode, RemoteError, handshake::Hello};

use super::{connections::Slot, sessions::Known, start::Acceptor};
use crate::{Error, envelope::post, fabric::Connection, link, session::Attach};

impl Acceptor {
    /// Answers who dials a lane, and leaves it at the door of its session.
    pub(super) async fn accept_lane(&self, mut connection: Connection, hello: &Hello, slot: Slot) -> Result<(), Error> {
        let found = link::welcome(hello, &self.who, self.credits).and_then(|welcome| {
            let known = self.sessions.of_lane(hello).map_err(|error| error.on_task(&self.who.task))?;
            Ok((known, welcome))
        });
        let known: Option<Known> = found.as_ref().ok().map(|(known, _)| known.clone());
        link::answer(&mut connection, found.map(|(_, welcome)| welcome)).await?;
        // A session has one lane, so that the limit of sessions bounds lanes.
        drop(slot);
        if let Some(known) = known
            && known.door.leave_lane(connection, hello.epoch, hello.lane)
        {
            post(&known.attach, Attach);
        }
        Ok(())
    }
}

/// Of what is wrong with it no more is said: who guesses learns nothing.
pub(super) fn no_lane() -> RemoteError {
    let message =
        "no connection waits for this lane: a lane is dialled once, for the connection whose Welcome has named it";
    RemoteError::new(ErrorCode::PermissionDenied, message)
}
