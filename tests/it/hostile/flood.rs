//! Much of what is allowed.

use std::time::Duration;

use remex::protocol::{
    Body, Frame,
    calls::{GetDevicesRequest, *},
};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, timeout},
};

use super::peer::{Stranger, World, settle};
use crate::raw::{HERE, create_context, fetch_object, object};

/// Writes calls until the other end takes no more, or so many.
async fn call_and_do_not_read(guest: &mut Stranger, calls: usize) -> usize {
    for n in 0..calls {
        let call = guest.call(GetDevicesRequest {}, &[]);
        if timeout(Duration::from_secs(1), call).await.is_err() {
            return n;
        }
    }
    calls
}

/// Who never reads its replies is nobody else's trouble, and what waited for it goes with it.
#[actix::test]
async fn who_never_reads_delays_nobody() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let mut guest = world.guest().await;
            call_and_do_not_read(&mut guest, 20_000).await;
            let begin = Instant::now();
            world.goes_on().await;
            assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
            drop(guest);
        })
        .await;
}

/// I8: who neither reads nor speaks loses its session, and with it its connection: what waited to be written is not kept
/// for as long as it likes.
#[actix::test]
async fn what_is_never_read_is_not_kept() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let mut guest = world.guest().await;
            call_and_do_not_read(&mut guest, 20_000).await;
            settle(10).await;
            assert!(guest.stream.write_all(&[4]).await.is_err(), "the connection is gone");
        })
        .await;
}

/// Objects that are fetched and not read are shared with the table, not copied; when the session goes they go.
#[actix::test]
async fn replies_that_are_not_read_end_with_their_session() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let mut guest = world.guest().await;
            guest.ask(create_context(1), &[]).await.unwrap();
            let data = vec![1; 200 << 10];
            guest.ask(super::frames::put(data.len()), &data).await.unwrap();
            for _ in 0..1_000 {
                guest.call(fetch_object(object(1, HERE), Origin::Here), &[]).await;
            }
            world.goes_on().await;
            let first = guest.answer().await;
            assert!(matches!(first.body, Body::Completed(_)) && first.payload.len() == data.len() as u64);
            drop(guest);
            settle(1).await;
            assert_eq!(world.worker.stats().await.unwrap().contexts, 1);
        })
        .await;
}

/// Guests who come and go, some in the middle of a word, leave nothing.
#[actix::test]
async fn guests_who_come_and_go_leave_nothing() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            for n in 0..300 {
                let mut guest = world.guest().await;
                guest.ask(create_context(1), &[]).await.unwrap();
                guest.call(fetch_object(object(5, HERE), Origin::Anywhere), &[]).await;
                let call = remex::protocol::ids::CallId::new(n, 1);
                let get = Body::Call(remex::protocol::Call::GetDevices(Box::new(GetDevicesRequest {})));
                let half = guest.bytes(Frame::new(call, get));
                guest.write(&half[..n as usize % half.len()]).await;
            }
            world.goes_on().await;
        })
        .await;
}
