//! How a link gets its lane: a second connection to the same peer, for large payloads.
//!
//! It is dialled behind the link's back, and again while it does not come about; meanwhile large payloads take turns with
//! other frames on the one connection that there is.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::time::{sleep, timeout};

use super::{
    RemoteClient,
    actor::{Route, State},
    dialling::DIAL_TIMEOUT,
};
use crate::{
    fabric::{Connection, FabricError},
    link::{self, Place, Refusal},
};

/// The first pause after a lane could not be had; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl RemoteClient {
    /// Dials a lane of the link that there is, whose Welcome has given this number; 0: it can have none.
    pub(super) fn dial_lane(&mut self, lane: u64, ctx: &mut Context<Self>) {
        if lane != 0 {
            self.dial_lane_after(Duration::ZERO, lane, ctx);
        }
    }

    fn dial_lane_after(&mut self, pause: Duration, lane: u64, ctx: &mut Context<Self>) {
        let (Route::Fabric(fabric), Some(session)) = (self.route.clone(), &self.session) else { return };
        let (epoch, window, address) = (self.epoch, self.window, self.address.clone());
        let place = Place { epoch, window, session: session.name, lane, ..Place::default() };
        let (who, expected) = (self.who.clone(), self.expected.clone());
        let connect = async move {
            let Some(dialled) = fabric.dial_lane(&address) else { return Ok(None) };
            let unreachable = |error: FabricError| Refusal::Unreachable(error.to_string());
            let mut connection = dialled.await.map_err(unreachable)?;
            link::dial(&mut connection, &who, expected.as_ref(), place).await?;
            Ok(Some(connection))
        };
        let bounded = async move {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let silent = || Refusal::Unreachable("no answer".to_owned());
            timeout(DIAL_TIMEOUT, connect).await.unwrap_or_else(|_| Err(silent()))
        };
        ctx.spawn(bounded.into_actor(self).map(move |dialled, act, ctx| {
            // The lane of an older connection is of no use.
            if act.epoch == epoch {
                act.lane_dialled(dialled, pause, lane, ctx);
            }
        }));
    }

    fn lane_dialled(
        &mut self,
        dialled: Result<Option<Connection>, Refusal>,
        pause: Duration,
        lane: u64,
        ctx: &mut Context<Self>,
    ) {
        let State::Up(link) = &self.state else { return };
        match dialled {
            Ok(None) => {}
            Ok(Some(connection)) => link.add_lane(connection),
            Err(refusal) => {
                let next = (2 * pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                tracing::debug!(address = %self.address, ?refusal, ?next, "no lane for large payloads");
                self.dial_lane_after(next, lane, ctx);
            }
        }
    }
}
