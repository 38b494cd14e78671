//! Calls that were meant for a session that is lost.

use std::{rc::Rc, time::Duration};

use actix::Actor;
use remex_protocol::{
    Body, Call, Effect, ErrorCode, Frame, RemoteError,
    calls::{CreateContextRequest, GetDevicesRequest, KeepAliveRequest},
    ids::{CallId, ContextId, ContextIndex, Incarnation, ObjectPrefix},
};

use super::{RemoteClient, Route};
use crate::{
    Error,
    fabric::direct,
    link::Identity,
    observe::Observers,
    pending::{Lost, Replies},
    testing::Probe,
};

fn frame(call: u32, body: Call) -> Frame {
    Frame::new(CallId::new(call, 0), Body::Call(body))
}

fn keep_alive(call: u32, index: u16) -> Frame {
    frame(call, Call::KeepAlive(Box::new(KeepAliveRequest { context: ContextIndex(index) })))
}

fn create(call: u32, index: u16) -> Frame {
    let request = CreateContextRequest {
        index: ContextIndex(index),
        context: ContextId(1),
        mode: remex_protocol::calls::ContextMode::Join,
        prefix: ObjectPrefix(1),
        tasks: Vec::new(),
        devices: Vec::new(),
        idle_timeout_ms: 0,
        groups: Vec::new(),
    };
    frame(call, Call::CreateContext(Box::new(request)))
}

/// I6: what a context gave before it heard of the loss is not sent in the next session, where its number may be another's.
#[actix::test]
async fn what_was_meant_for_a_lost_session_is_not_sent() {
    let (replied, replies) = Probe::<Replies>::start();
    let (_lost, to_lost) = Probe::<Lost>::start();
    let who = Identity {
        task: "/job:c/task:0".parse().unwrap(),
        incarnation: Incarnation(1),
        buffers: Default::default(),
        traffic: Default::default(),
        chance: Default::default(),
    };
    let route = Route::Own(Rc::new(|| direct::pair().0));
    let (address, observers) = ("tcp://127.0.0.1:1".parse().unwrap(), Observers::default());
    let mut client = RemoteClient::new(who, None, address, route, replies, to_lost, observers, Duration::ZERO);
    let sent = |client: &mut RemoteClient, mut frames: Vec<Frame>| {
        client.refuse_belated(&mut frames);
        frames.iter().map(|frame| frame.call.index).collect::<Vec<_>>()
    };
    let devices = || frame(9, Call::GetDevices(Box::new(GetDevicesRequest {})));
    assert_eq!(sent(&mut client, vec![create(1, 0), keep_alive(2, 0), devices()]), [1, 2, 9]);
    client.down(Error::from(RemoteError::new(ErrorCode::DataLoss, "restarted")), true);
    assert_eq!(sent(&mut client, vec![keep_alive(3, 0), devices()]), [9]);
    let Replies(answers) = replied.next().await;
    let Body::Failed { error, .. } = &answers[0].body else { panic!("{answers:?}") };
    assert_eq!((answers[0].call.index, error.code, error.effect), (3, ErrorCode::DataLoss, Effect::NotSent));
    assert_eq!(sent(&mut client, vec![create(4, 0), keep_alive(5, 0), keep_alive(6, 1)]), [4, 5]);
    assert_eq!(sent(&mut client, vec![keep_alive(7, 0)]), [7]);
    let _ = RemoteClient::start(client);
}
