//! Tests of the session as an actor: connections come and go, and it stays.

use std::{future::poll_fn, rc::Rc, task::Poll, time::Duration};

use actix::{Actor, Addr};
use remex_protocol::{
    Body, Call, Frame, RemoteError, Reply,
    calls::{GetDevicesRequest, KeepAliveReply},
    handshake::Credits,
    ids::CallId,
};

use super::{
    held::{HeldLimits, most_kept},
    *,
};
use crate::{
    envelope::post,
    fabric::{Connection, direct},
    link::Point,
    observe::{Observed, Observers, SessionEvent, What},
    testing::{Die, Probe},
};

const LEASE: Duration = Duration::from_secs(30);

/// A session and what it says to its server.
struct Rig {
    session: Addr<Session>,
    door: Rc<Door>,
    control: Probe<Control>,
    ended: Probe<Ended>,
    observed: Probe<Observed>,
}

impl Rig {
    fn start(lease: Option<Duration>) -> Self {
        Self::keeping(lease, MAX_KEPT_REPLIES, HeldLimits::of(Credits::default()))
    }

    fn keeping(lease: Option<Duration>, kept: usize, held: HeldLimits) -> Self {
        let ((control, to_control), (ended, to_ended)) = (Probe::start(), Probe::start());
        let (observed, observer) = Probe::start();
        let (_, exchange) = Probe::start();
        let door = Rc::new(Door::default());
        let (credits, observers) = (Credits::default(), Observers::new([observer]));
        let server = Upstream { control: to_control, exchange, ended: to_ended, credits, observers };
        let peer = "/job:client/task:1".parse().unwrap();
        let session = Session::new(SessionId(1), peer, 1, door.clone(), lease, server);
        let session = session.with_most(kept, held).start();
        Self { session, door, control, ended, observed }
    }

    /// The client's end of a connection that has come this far.
    async fn connect(&self, epoch: u64, accepted: u64) -> Connection {
        let (mut here, there) = direct::pair();
        self.door.leave(there, epoch, Point { accepted, unfinished: Vec::new() });
        self.session.send(Attach).await.unwrap();
        here.reader.open();
        here
    }

    async fn resume(&self, epoch: u64) -> crate::Result<Point> {
        self.session.send(Resume { epoch }).await.unwrap()
    }

    /// Answers the next call that the server was asked.
    async fn answer(&self) {
        let Control { call, answer, .. } = self.control.next().await;
        let frame = Frame::new(call, Body::Completed(Reply::KeepAlive(KeepAliveReply {})));
        post(&answer, Controlled { frame, change: Change::None });
        settle().await;
    }
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn say(connection: &mut Connection, number: u64, ack: u64, body: Body) {
    let frame = Frame { number, ack, ..Frame::new(CallId::new(number as u32, 0), body) };
    connection.writer.push(frame).unwrap();
    let _ = poll_fn(|cx| connection.writer.poll_flush(cx)).await;
    settle().await;
}

async fn call(connection: &mut Connection, number: u64, ack: u64) {
    let body = Body::Call(Call::GetDevices(Box::new(GetDevicesRequest {})));
    say(connection, number, ack, body).await;
}

/// The numbers of the replies that have come.
async fn replies(connection: &mut Connection) -> Vec<u64> {
    settle().await;
    let mut frames = Vec::new();
    poll_fn(|cx| {
        while let Poll::Ready(Ok(())) = connection.reader.poll_read(cx, &mut frames) {}
        Poll::Ready(())
    })
    .await;
    frames.retain(|frame| !matches!(frame.body, Body::Heartbeat));
    frames.iter().map(|frame| frame.number).collect()
}

/// I6: a call that runs while its connection is gone is answered on the next one; a reply comes until it is acknowledged; no
/// call is taken twice.
#[actix::test]
async fn replies_are_kept_until_they_are_acknowledged() {
    tokio::time::pause();
    let rig = Rig::start(Some(LEASE));
    let mut first = rig.connect(1, 0).await;
    call(&mut first, 1, 0).await;
    drop(first);
    settle().await;
    rig.answer().await;
    assert_eq!(rig.resume(2).await.unwrap(), Point { accepted: 1, unfinished: vec![] });
    let mut second = rig.connect(2, 0).await;
    assert_eq!(replies(&mut second).await, [1], "it was answered meanwhile");
    call(&mut second, 2, 0).await;
    rig.answer().await;
    assert_eq!(replies(&mut second).await, [2]);
    rig.resume(3).await.unwrap();
    let mut third = rig.connect(3, 0).await;
    assert_eq!(replies(&mut third).await, [1, 2], "neither was acknowledged");
    call(&mut third, 3, 1).await;
    rig.resume(4).await.unwrap();
    let mut fourth = rig.connect(4, 1).await;
    assert_eq!(replies(&mut fourth).await, [2]);
    rig.answer().await;
    assert_eq!(replies(&mut fourth).await, [3]);
    call(&mut fourth, 3, 3).await;
    assert!(rig.control.try_next().is_none(), "a repeat is never a call");
    assert_eq!(rig.resume(5).await.unwrap().accepted, 3, "it ended the connection");
}

/// I6: a newer connection takes the place of a half-open one, which is not listened to any more; a late one is refused.
#[actix::test]
async fn a_newer_connection_replaces_an_older_one() {
    tokio::time::pause();
    let rig = Rig::start(Some(LEASE));
    let mut old = rig.connect(1, 0).await;
    assert!(rig.resume(1).await.is_err());
    assert_eq!(rig.resume(3).await.unwrap().accepted, 0);
    call(&mut old, 1, 0).await;
    assert!(rig.control.try_next().is_none());
    let late = rig.resume(2).await.unwrap_err();
    assert!(late.message().contains("connection 2 of the session comes late"), "{late}");
    let mut stale = rig.connect(2, 0).await;
    call(&mut stale, 1, 0).await;
    assert!(rig.control.try_next().is_none(), "nobody asked for it");
    let mut new = rig.connect(3, 0).await;
    call(&mut new, 1, 0).await;
    rig.answer().await;
    assert_eq!(replies(&mut new).await, [1]);
}

/// I6: a session lives without a connection for its lease, and begins it anew with each loss.
#[actix::test]
async fn a_session_lives_for_its_lease() {
    tokio::time::pause();
    let rig = Rig::start(Some(LEASE));
    drop(rig.connect(1, 0).await);
    tokio::time::sleep(LEASE - Duration::from_secs(1)).await;
    rig.resume(2).await.unwrap();
    drop(rig.connect(2, 0).await);
    tokio::time::sleep(LEASE - Duration::from_secs(1)).await;
    assert!(rig.ended.try_next().is_none());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(rig.ended.try_next().is_some() && !rig.session.connected());
}

/// A session that cannot be resumed, one whose peer says goodbye, and one whose peer has forgotten what it had, end at once.
#[actix::test]
async fn some_sessions_end_at_once() {
    tokio::time::pause();
    let rig = Rig::start(None);
    drop(rig.connect(1, 0).await);
    settle().await;
    assert!(rig.ended.try_next().is_some());
    let rig = Rig::start(Some(LEASE));
    let mut connection = rig.connect(1, 0).await;
    let why = RemoteError::new(remex_protocol::ErrorCode::Cancelled, "it stops");
    say(&mut connection, 0, 0, Body::Goodbye(Box::new(why))).await;
    assert!(rig.ended.try_next().is_some());
    let rig = Rig::start(Some(LEASE));
    drop(rig.connect(1, 0).await);
    rig.resume(2).await.unwrap();
    let _never = rig.connect(2, 7).await;
    settle().await;
    assert!(rig.ended.try_next().is_some());
}

/// I8: a peer that acknowledges nothing costs so many replies and no more.
#[actix::test]
async fn a_peer_that_acknowledges_nothing_is_given_up() {
    tokio::time::pause();
    let rig = Rig::keeping(Some(LEASE), 10, HeldLimits::of(Credits::default()));
    let mut connection = rig.connect(1, 0).await;
    for n in 1..=11 {
        assert!(rig.ended.try_next().is_none());
        call(&mut connection, n, 0).await;
        rig.answer().await;
    }
    call(&mut connection, 12, 0).await;
    assert_eq!(rig.ended.next().await.how, End::Flooded);
    assert!(rig.control.try_next().is_none());
    let rig = Rig::keeping(Some(LEASE), 10, HeldLimits::of(Credits::default()));
    let mut connection = rig.connect(1, 0).await;
    for n in 1..=50 {
        call(&mut connection, n, n - 1).await;
        rig.answer().await;
    }
    assert!(rig.ended.try_next().is_none());
}

/// I8: while the server has not answered, so much waits and no more; who sends more is told so and loses its session.
#[actix::test]
async fn a_peer_that_sends_on_and_on_behind_an_unanswered_call_is_given_up() {
    tokio::time::pause();
    let held = HeldLimits { frames: 5, bytes: 1 << 20 };
    let rig = Rig::keeping(Some(LEASE), MAX_KEPT_REPLIES, held);
    let mut connection = rig.connect(1, 0).await;
    for n in 1..=6 {
        call(&mut connection, n, 0).await;
    }
    assert!(rig.ended.try_next().is_none(), "one is asked, five wait");
    call(&mut connection, 7, 0).await;
    assert_eq!(rig.ended.next().await.how, End::Flooded);
    let mut frames = Vec::new();
    while poll_fn(|cx| connection.reader.poll_read(cx, &mut frames)).await.is_ok() {}
    let Some(Body::Goodbye(why)) = frames.last().map(|frame| &frame.body) else { panic!("{frames:?}") };
    assert_eq!(why.code, remex_protocol::ErrorCode::ResourceExhausted);
    assert!(why.message.contains("more than 5 frames or 1048576 bytes"), "{why}");
    // Answered in time, as many as one likes.
    let rig = Rig::keeping(Some(LEASE), MAX_KEPT_REPLIES, held);
    let mut connection = rig.connect(1, 0).await;
    for n in 0..20 {
        call(&mut connection, 2 * n + 1, 2 * n).await;
        call(&mut connection, 2 * n + 2, 2 * n).await;
        rig.answer().await;
        rig.answer().await;
    }
    assert!(rig.ended.try_next().is_none());
}

/// I9: a session whose actor dies says so to the server, and its connection ends.
#[actix::test]
async fn a_session_that_dies_is_not_silent() {
    tokio::time::pause();
    let rig = Rig::start(Some(LEASE));
    let mut connection = rig.connect(1, 0).await;
    call(&mut connection, 1, 0).await;
    post(&rig.session.clone().recipient(), Die);
    assert_eq!(rig.ended.next().await.how, End::Died);
    let mut frames = Vec::new();
    while poll_fn(|cx| connection.reader.poll_read(cx, &mut frames)).await.is_ok() {}
    assert!(rig.session.send(Resume { epoch: 2 }).await.is_err(), "nobody can come back to it");
}

/// What becomes of a session is told to observers, in order.
#[actix::test]
async fn observers_hear_of_a_session() {
    async fn events(rig: &Rig) -> Vec<&'static str> {
        settle().await;
        let events = std::iter::from_fn(|| rig.observed.try_next()).flat_map(|Observed(events)| events);
        let whats = events.map(|event| {
            assert_eq!(&*event.task, "/job:client/task:1");
            match event.what {
                What::Session(SessionEvent::Begun) => "begun",
                What::Session(SessionEvent::Suspected(silence)) => {
                    assert!(silence >= crate::link::SUSPECT_AFTER);
                    "suspected"
                }
                What::Session(SessionEvent::Heard) => "heard",
                What::Session(SessionEvent::Away(_)) => "away",
                What::Session(SessionEvent::Resumed) => "resumed",
                What::Session(SessionEvent::Ended(_)) => "ended",
                other => panic!("{other:?}"),
            }
        });
        whats.collect()
    }
    tokio::time::pause();
    let rig = Rig::start(Some(LEASE));
    let mut connection = rig.connect(1, 0).await;
    assert_eq!(events(&rig).await, ["begun"]);
    tokio::time::sleep(Duration::from_millis(2_600)).await;
    assert_eq!(events(&rig).await, ["suspected"]);
    say(&mut connection, 0, 0, Body::Heartbeat).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(events(&rig).await, ["heard"]);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(events(&rig).await, ["suspected", "away"]);
    rig.resume(2).await.unwrap();
    drop(rig.connect(2, 0).await);
    assert_eq!(events(&rig).await, ["resumed", "away"]);
    tokio::time::sleep(LEASE).await;
    assert_eq!(events(&rig).await, ["ended"]);
    assert_eq!(rig.ended.next().await.how, End::Over);
}

/// I8: a caller that keeps to its credits, however many these are, is never given up for answers that it could not acknowledge yet.
#[test]
fn as_many_answers_are_kept_as_credits_allow() {
    let kept = |calls| most_kept(Credits { calls, ..Credits::default() });
    assert_eq!([1, 4096, 32_768, 100_000].map(kept), [65_536, 65_536, 65_536, 200_000]);
    assert!(kept(u32::MAX) >= u32::MAX as usize);
}
