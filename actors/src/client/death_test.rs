//! The actor that holds a link dies.

use std::{rc::Rc, time::Duration};

use actix::Actor;
use remex_protocol::{
    Body, Call, ErrorCode, Frame,
    calls::GetDevicesRequest,
    ids::{CallId, Incarnation},
};

use super::{Connect, LinkEvent, Outgoing, RemoteClient, Route, Subscribe};
use crate::{
    envelope::{ask, post},
    fabric::direct,
    link::Identity,
    observe::{Observed, Observers, What},
    pending::{Lost, Replies},
    testing::{Die, Probe},
};

/// I1: the tracker is told that what it expects will not come; so are contexts, observers, and who waits for the link.
#[actix::test]
async fn everybody_hears_of_it() {
    tokio::time::pause();
    let (_replies, replies) = Probe::<Replies>::start();
    let ((lost, to_lost), (events, watcher)) = (Probe::<Lost>::start(), Probe::<LinkEvent>::start());
    let (observed, observer) = Probe::<Observed>::start();
    // Who is at the other end of the connection never answers.
    let (own, _other) = direct::pair();
    let own = Rc::new(std::cell::RefCell::new(Some(own)));
    let route = Route::Own(Rc::new(move || own.borrow_mut().take().unwrap()));
    let (task, incarnation) = ("/job:c/task:0".parse().unwrap(), Incarnation(1));
    let who = Identity {
        task,
        incarnation,
        buffers: Default::default(),
        traffic: Default::default(),
        chance: Default::default(),
    };
    let (address, observers) = ("tcp://127.0.0.1:1".parse().unwrap(), Observers::new([observer]));
    let client = RemoteClient::new(who, None, address, route, replies, to_lost, observers, Duration::ZERO).start();
    post(&client.clone().recipient(), Subscribe(watcher));
    let call = Body::Call(Call::GetDevices(Box::new(GetDevicesRequest {})));
    post(&client.clone().recipient(), Outgoing(vec![Frame::new(CallId::new(1, 0), call)]));
    let connect = client.clone().recipient::<Connect>();
    let waiting = actix::spawn(async move { ask(&connect, Connect).await });
    tokio::task::yield_now().await;
    post(&client.clone().recipient(), Die);
    let Lost { error, .. } = lost.next().await;
    assert_eq!(error.code(), ErrorCode::Internal);
    assert!(error.message().contains("the link to tcp://127.0.0.1:1 died"), "{error}");
    assert!(matches!(events.next().await, LinkEvent::Down { error: told, .. } if told == error));
    let Observed(told) = observed.next().await;
    assert!(matches!(&told[0].what, What::LinkDown(told) if *told == error));
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), ErrorCode::Internal);
}
