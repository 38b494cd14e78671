//! Before the handshake is over.

use std::time::Duration;

use remex::{
    ErrorCode,
    protocol::{
        Body, Call, Frame,
        calls::GetDevicesRequest,
        handshake::{Hello, Version},
        ids::CallId,
    },
};
use tokio::{io::AsyncWriteExt, time::Instant};

use super::peer::{Stranger, World, hello, settle, within};

/// I8: what is no Hello ends the connection at once, whatever it is.
#[actix::test]
async fn noise_is_not_answered() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let noise: [&[u8]; 6] = [
                b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: somebody\r\nAccept: */*\r\n\r\n",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03, and then a hello of another kind of protocol",
                &[0; 200],
                &[0xff; 200],
                &[0x91; 70_000],
                b"\n",
            ];
            for bytes in noise {
                let mut stranger = world.stranger();
                stranger.write(bytes).await;
                // The last one could still become a Hello, until its time is over.
                let frames = stranger.is_thrown_out(6).await;
                assert!(frames.is_empty(), "{frames:?}");
                world.goes_on().await;
            }
        })
        .await;
}

/// Every other frame is the wrong first word.
#[actix::test]
async fn who_does_not_say_hello_first_is_thrown_out() {
    let call = || Body::Call(Call::GetDevices(Box::new(GetDevicesRequest {})));
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            for body in [call(), Body::Heartbeat] {
                let mut stranger = world.stranger();
                stranger.say(body).await;
                assert!(stranger.is_thrown_out(1).await.is_empty());
            }
            // A call right behind the Hello has to wait for the Welcome, and is then served.
            let mut stranger = world.stranger();
            let first = stranger.bytes(Frame::new(CallId::default(), Body::Hello(Box::new(hello("/job:a/task:0")))));
            let second = stranger.bytes(Frame::new(CallId::default(), call()));
            stranger.write(&[first, second].concat()).await;
            assert!(matches!(stranger.answer().await.body, Body::Welcome(_)));
            assert!(matches!(stranger.answer().await.body, Body::Completed(_)));
        })
        .await;
}

/// A Hello that this version does not understand is refused with a reason.
#[actix::test]
async fn a_wrong_hello_is_told_why() {
    async fn refused(world: &World, change: impl FnOnce(&mut Hello)) -> ErrorCode {
        let mut stranger = world.stranger();
        let mut hello = hello("/job:a/task:0");
        change(&mut hello);
        stranger.say(Body::Hello(Box::new(hello))).await;
        let frames = stranger.is_thrown_out(1).await;
        let [Frame { body: Body::Refused(error), .. }] = &frames[..] else { panic!("{frames:?}") };
        error.code
    }
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let version = |major, minor| Version { major, minor };
            assert_eq!(refused(world, |hello| hello.magic = "xemer".to_owned()).await, ErrorCode::InvalidArgument);
            assert_eq!(refused(world, |hello| hello.magic = "x".repeat(50_000)).await, ErrorCode::InvalidArgument);
            assert_eq!(refused(world, |hello| hello.version = version(0, 0)).await, ErrorCode::FailedPrecondition);
            let late = version(u16::MAX, u16::MAX);
            let code = refused(world, |hello| (hello.version, hello.oldest) = (late, late)).await;
            assert_eq!(code, ErrorCode::FailedPrecondition);
            assert_eq!(world.worker.stats().await.unwrap().refused.handshakes, 4);
        })
        .await;
}

/// A Hello that comes one byte a second is not waited for longer than five seconds.
#[actix::test]
async fn who_dawdles_is_thrown_out_after_five_seconds() {
    async fn dawdle(mut stranger: Stranger, first: usize) -> Duration {
        let begin = Instant::now();
        let hello = stranger.bytes(Frame::new(CallId::default(), Body::Hello(Box::new(hello("/job:a/task:0")))));
        let (mut reader, mut writer) = tokio::io::split(stranger.stream);
        let _ = writer.write_all(&hello[..first]).await;
        let slowly = actix::spawn(async move {
            for byte in hello.into_iter().skip(first) {
                settle(1).await;
                let _ = writer.write_all(&[byte]).await;
            }
        });
        let mut word = Vec::new();
        let ended = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut word);
        let _ = within(60, ended).await;
        slowly.abort();
        assert!(word.is_empty(), "{word:?}");
        begin.elapsed()
    }
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            // From the first byte, from within the head, from within the header.
            for first in [0, 20, 60] {
                let took = dawdle(world.stranger(), first).await;
                assert!((5_000..5_100).contains(&took.as_millis()), "{took:?}");
                world.goes_on().await;
            }
        })
        .await;
}

/// I8: who does not read its Welcome, or why it is refused, is not waited for longer than five seconds either.
#[actix::test]
async fn who_does_not_read_the_answer_is_thrown_out_after_five_seconds() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let before = world.worker.stats().await.unwrap().sessions;
            for magic in ["remex", "xemer"] {
                let mut stranger = world.narrow_stranger();
                let hello = Hello { magic: magic.to_owned(), ..hello("/job:a/task:0") };
                stranger.say(Body::Hello(Box::new(hello))).await;
                let begun = usize::from(magic == "remex");
                settle(4).await;
                assert_eq!(world.worker.stats().await.unwrap().sessions, before + begun);
                assert!(stranger.stream.write_all(&[4]).await.is_ok(), "it is still there");
                settle(2).await;
                assert_eq!(world.worker.stats().await.unwrap().sessions, before);
                assert!(stranger.stream.write_all(&[4]).await.is_err(), "the connection is gone");
            }
        })
        .await;
}

/// I8: thousands who say nothing cost nobody else anything, and are gone after five seconds.
#[actix::test]
async fn a_crowd_that_says_nothing_is_thrown_out() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let crowd: Vec<_> = (0..3_000).map(|_| world.stranger()).collect();
            let begin = Instant::now();
            world.goes_on().await;
            assert!(begin.elapsed() < Duration::from_secs(1));
            for mut stranger in crowd {
                assert!(stranger.is_thrown_out(6).await.is_empty());
            }
            assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
        })
        .await;
}

/// Who closes its half, or all, before or after it was welcomed, leaves nothing.
#[actix::test]
async fn half_a_connection_is_none() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let hello = |stranger: &mut Stranger| {
                stranger.bytes(Frame::new(CallId::default(), Body::Hello(Box::new(hello("/job:a/task:0")))))
            };
            for len in [0, 1, 47, 48, 60, usize::MAX] {
                let mut stranger = world.stranger();
                let bytes = hello(&mut stranger);
                stranger.write(&bytes[..len.min(bytes.len())]).await;
                stranger.stream.shutdown().await.unwrap();
                let welcomes = stranger.is_thrown_out(1).await.len();
                assert_eq!(welcomes, usize::from(len == usize::MAX));
                // And without looking what comes.
                let mut stranger = world.stranger();
                stranger.write(&bytes[..len.min(bytes.len())]).await;
                drop(stranger);
            }
            let mut guest = world.guest().await;
            guest.write(&[27, 0, 0]).await;
            guest.stream.shutdown().await.unwrap();
            assert!(guest.is_thrown_out(1).await.is_empty());
            settle(1).await;
        })
        .await;
}
