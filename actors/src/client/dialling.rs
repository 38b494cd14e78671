//! How a receiver is connected: for the first time, again, and again after it has forgotten everything.

use std::{cell::RefCell, rc::Rc, time::Duration};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use remex_protocol::{Effect, ErrorCode, RemoteError, handshake::Welcome};
use tokio::time::{Instant, sleep, timeout};

use super::{
    LinkEvent, LinkUp, RemoteClient,
    actor::{Lasting, Route, State},
    backoff::Backoff,
};
use crate::{
    Error, Result,
    envelope::post,
    fabric::{Connection, FabricError},
    link::{self, Ends, LOST_AFTER, Ledger, Link, Place, Point, Refusal},
    observe::What,
    pending::Lost,
};

/// A peer that has not answered after so long is not there.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The last attempt of a window has so long.
const LEAST_ATTEMPT: Duration = Duration::from_millis(100);

impl RemoteClient {
    /// Connects after a pause: for the session that there is, or for a fresh one.
    pub(super) fn dial(&mut self, pause: Duration, ctx: &mut Context<Self>) {
        self.state = State::Dialling;
        self.epoch += 1;
        let (epoch, place) = (self.epoch, self.place());
        let (route, address, who) = (self.route.clone(), self.address.clone(), self.who.clone());
        let expected = self.expected.clone();
        let now = Instant::now().into_std();
        let left = self.session.as_ref().and_then(|session| session.backoff.left(now + pause));
        let limit = match &self.session {
            Some(_) => left.unwrap_or_default().clamp(LEAST_ATTEMPT, DIAL_TIMEOUT),
            None => DIAL_TIMEOUT,
        };
        let connect = async move {
            let unreachable = |error: FabricError| Refusal::Unreachable(error.to_string());
            let mut connection = match &route {
                Route::Fabric(fabric) => fabric.dial(&address).await.map_err(unreachable)?,
                Route::Own(connect) => connect(),
            };
            let welcome = link::dial(&mut connection, &who, expected.as_ref(), place).await?;
            Ok((connection, welcome))
        };
        let bounded = async move {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let silent = || Refusal::Unreachable(format!("no answer within {:.1} s", limit.as_secs_f64()));
            timeout(limit, connect).await.unwrap_or_else(|_| Err(silent()))
        };
        let attempt = ctx.spawn(bounded.into_actor(self).map(move |dialled, act, ctx| {
            if act.epoch == epoch && matches!(act.state, State::Dialling) {
                act.dialled(dialled, ctx);
            }
        }));
        self.attempt = Some((Instant::now() + pause, attempt));
    }

    /// Somebody wants the link. Where it is stalled nobody waits for the end of a pause.
    pub(super) fn hurry(&mut self, ctx: &mut Context<Self>) {
        let stalled = self.session.as_ref().is_some_and(|session| session.stalled);
        if let (true, Some((begins, attempt))) = (stalled, self.attempt)
            && Instant::now() < begins
        {
            ctx.cancel_future(attempt);
            self.dial(Duration::ZERO, ctx);
        }
    }

    /// What the Hello says of the session.
    fn place(&mut self) -> Place {
        let (epoch, window) = (self.epoch, self.window);
        match &self.session {
            Some(session) => {
                let Point { accepted, unfinished } = session.ledger.borrow_mut().point();
                Place { epoch, window, session: session.name, replaces: 0, accepted, unfinished, lane: 0 }
            }
            None => {
                let lasts = matches!(self.route, Route::Fabric(_)) && !window.is_zero();
                if lasts && self.fresh == 0 {
                    self.fresh = link::number(&self.who.chance);
                }
                let (session, replaces) = (self.fresh, self.replaces);
                Place { epoch, window, session, replaces, ..Place::default() }
            }
        }
    }

    fn dialled(&mut self, dialled: Result<(Connection, Welcome), Refusal>, ctx: &mut Context<Self>) {
        match dialled {
            Ok((connection, welcome)) => self.welcomed(connection, welcome, ctx),
            Err(Refusal::Unreachable(why)) if self.session.is_some() => self.again(&why, ctx),
            Err(refusal) => {
                let error = self.not_reached(refusal);
                self.give_up(error);
            }
        }
    }

    /// A connection is there. Either the session goes on, or all that lived in it is gone and another one begins.
    fn welcomed(&mut self, connection: Connection, welcome: Welcome, ctx: &mut Context<Self>) {
        let up = LinkUp { task: welcome.task, incarnation: welcome.incarnation, address: self.address.clone() };
        let lane = welcome.lane;
        if let Some(session) = &self.session {
            let restarted = session.up.incarnation != up.incarnation;
            let point = Point { accepted: welcome.resume, unfinished: welcome.unfinished };
            if welcome.resumed && !restarted {
                let resumed = session.ledger.borrow_mut().resume(&point);
                match resumed {
                    Ok(()) => return self.resumed(connection, lane, ctx),
                    Err(error) => tracing::warn!(address = %self.address, %error, "a session cannot go on"),
                }
            }
            let name = session.name;
            self.forgotten(restarted);
            if welcome.resumed {
                // The peer takes this connection for the session's that cannot go on.
                (self.state, self.replaces) = (State::Idle, name);
                if self.is_wanted() {
                    self.dial(Duration::ZERO, ctx);
                }
                return;
            }
            self.fresh = name;
        }
        let name = std::mem::take(&mut self.fresh);
        let ledger = Rc::new(RefCell::new(Ledger::new(name != 0)));
        self.session = Some(Lasting {
            name,
            up: up.clone(),
            ledger,
            backoff: Backoff::new(self.window),
            lease: Duration::from_millis(welcome.lease_ms),
            stalled: false,
            since: Instant::now(),
            cause: None,
            farewell: None,
        });
        self.replaces = 0;
        tracing::debug!(task = %up.task, address = %up.address, "link up");
        self.callers.drain(..).for_each(|caller| caller.settle(Ok(up.clone())));
        self.observe(What::LinkUp);
        self.tell(&LinkEvent::Up(up));
        self.open(connection, lane, ctx);
    }

    /// The session goes on where both ends are: nothing is lost and nothing comes twice (I6).
    fn resumed(&mut self, connection: Connection, lane: u64, ctx: &mut Context<Self>) {
        let Some(session) = &mut self.session else { return };
        session.since = Instant::now();
        let (up, stalled) = (session.up.clone(), session.stalled);
        tracing::debug!(address = %self.address, epoch = self.epoch, again = session.ledger.borrow().held(), "resumed");
        self.callers.drain(..).for_each(|caller| caller.settle(Ok(up.clone())));
        self.observe(What::Resumed);
        if stalled {
            self.tell(&LinkEvent::Up(up));
        }
        self.open(connection, lane, ctx);
    }

    fn open(&mut self, connection: Connection, lane: u64, ctx: &mut Context<Self>) {
        let Some(session) = &self.session else { return };
        let me = ctx.address();
        let ends =
            Ends { arrived: me.clone().recipient(), lost: me.clone().recipient(), silence: Some(me.recipient()) };
        let link = Link::open(connection, self.epoch, session.ledger.clone(), ends);
        Self::push(&link, std::mem::take(&mut self.waiting), &self.replies);
        self.state = State::Up(link);
        self.dial_lane(lane, ctx);
    }

    /// The connection of a session is gone: it is dialled again within the window.
    pub(super) fn broken(&mut self, error: &Error, ctx: &mut Context<Self>) {
        self.state = State::Idle;
        let Some(session) = &mut self.session else { return };
        let (now, progress) = (Instant::now(), session.ledger.borrow().progress());
        if session.backoff.lost(now.into_std(), now - session.since, progress) {
            session.stalled = false;
        }
        session.cause = Some(error.message().to_owned());
        if session.name == 0 || session.farewell.is_some() {
            let error = self.link_lost("");
            return self.give_up(error);
        }
        tracing::debug!(address = %self.address, %error, "connection lost");
        if session.stalled {
            let error = self.link_lost("; it broke off again before anything got through");
            self.stall(error);
        } else {
            let error = self.link_lost("; connecting again");
            self.observe(What::Reconnecting(error));
        }
        self.again("it broke off again", ctx);
    }

    /// The next attempt, or none.
    fn again(&mut self, why: &str, ctx: &mut Context<Self>) {
        let Some(session) = &mut self.session else { return };
        let (now, part) = (Instant::now().into_std(), link::part(&self.who.chance));
        match (session.backoff.next(now, part), session.stalled) {
            (Some(pause), false) => self.dial(pause, ctx),
            (Some(pause), true) => {
                let error = self.link_lost(&format!("; it could not be made again yet: {why}"));
                self.withhold(&error);
                self.dial(pause, ctx);
            }
            (None, false) if session.lease > self.window => {
                // The peer may notice a loss later than this end, and its lease begins then.
                session.backoff.prolong(session.lease + 2 * LOST_AFTER);
                let window = self.window.as_secs_f64();
                let error = self.link_lost(&format!("; it was not made again within {window:.1} s: {why}"));
                self.stall(error);
                self.again(why, ctx);
            }
            (None, stalled) => {
                let within = if stalled { session.lease } else { self.window }.as_secs_f64();
                let error = self.link_lost(&format!("; it was not made again within {within:.1} s: {why}"));
                self.give_up(error);
            }
        }
    }

    /// There is no link and no session: what was under way fails. The next call dials.
    pub(super) fn give_up(&mut self, error: Error) {
        self.answer_waiting(&error);
        self.state = State::Idle;
        if let Some(session) = self.session.take() {
            self.replaces = session.name;
            post(&self.lost, Lost { error: error.clone(), may_resume: false });
        }
        self.callers.drain(..).for_each(|caller| caller.settle(Err(error.clone())));
        self.down(error, false);
    }

    /// The peer knows nothing of the session: what lived there is gone, and of what was under way nothing is known.
    fn forgotten(&mut self, restarted: bool) {
        let peer = self.peer();
        let why = match restarted {
            true => format!("{peer} was restarted"),
            false => format!("{peer} has ended the session of this task, which it had not heard for too long"),
        };
        let lost = RemoteError::new(ErrorCode::DataLoss, format!("{why}: what lived there is lost"));
        let error = Error::from(self.naming(lost));
        self.answer_clean_up(&error);
        let not_sent = RemoteError::new(ErrorCode::RpcUnavailable, format!("{why} before the call was sent"));
        self.answer_waiting(&self.naming(not_sent).into());
        post(&self.lost, Lost { error: error.clone(), may_resume: false });
        self.observe(What::PeerRestarted(error.clone()));
        self.session = None;
        self.down(error, restarted);
    }

    fn not_reached(&self, refusal: Refusal) -> Error {
        let error = match refusal {
            Refusal::Said(error) => {
                RemoteError { message: format!("{} refused this task: {}", self.peer(), error.message), ..error }
            }
            Refusal::Unreachable(why) => {
                let message = format!("{} cannot be reached: {why}", self.peer());
                RemoteError::new(ErrorCode::RpcUnavailable, message)
            }
        };
        // Of calls of a session nothing is known; others were not sent.
        let effect = if self.session.is_some() { Effect::Unknown } else { Effect::NotSent };
        self.naming(error.with_effect(effect)).into()
    }

    /// The link of the session was lost, for the cause that was first.
    pub(super) fn link_lost(&self, and: &str) -> Error {
        let cause = self.session.as_ref().and_then(|session| session.cause.as_deref()).unwrap_or_default();
        let message = format!("the link to {} was lost: {cause}{and}", self.peer());
        self.naming(RemoteError::new(ErrorCode::RpcUnavailable, message)).into()
    }
}
