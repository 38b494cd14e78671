//! Tests of the simulated network: what every fabric does, and what each fault does to it.

use futures_util::future::join;
use remex_protocol::{Frame, FrameError};

use super::*;
use crate::fabric::conformance::{self, call_with, flush, pattern, read, read_n, small};

fn network(faults: FrameFaults) -> Network {
    tokio::time::pause();
    Network::new(Chance::seeded(7), faults)
}

fn only(change: impl FnOnce(&mut FrameFaults)) -> FrameFaults {
    let mut faults = FrameFaults::none();
    change(&mut faults);
    faults
}

/// A connection from `a` to `b`, with open readers.
async fn a_to_b(network: &Network) -> (Connection, Connection) {
    let (a, b) = (network.endpoint("a"), network.endpoint("b"));
    let to: Address = "loopback:b".parse().unwrap();
    let mut listener = b.listen(&to).await.unwrap();
    let (dialled, accepted) = join(a.dial(&to), listener.accept()).await;
    let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());
    dialled.reader.open();
    accepted.reader.open();
    (dialled, accepted)
}

async fn send(connection: &mut Connection, ack: u64) {
    connection.writer.push(small(ack)).unwrap();
    flush(&mut *connection.writer).await;
}

fn is_reset(result: &Result<Vec<Frame>, FabricError>) -> bool {
    matches!(result, Err(FabricError::Io { kind: io::ErrorKind::ConnectionReset, .. }))
}

#[actix_rt::test]
async fn it_does_what_every_fabric_does() {
    let network = network(FrameFaults::none());
    for latency in [0, 3] {
        let latency = (Duration::from_millis(latency), Duration::from_millis(2 * latency));
        network.set_faults(only(|faults| faults.latency = latency));
        conformance::check_fabric(&*network.endpoint("a"), &"loopback:x".parse().unwrap()).await;
        assert!(network.lock().is_empty(), "{:?}", network.lock());
    }
}

#[actix_rt::test]
async fn a_lost_frame_does_not_arrive_and_a_repeated_one_does_twice() {
    let network = network(only(|faults| faults.lose = 1.0));
    let (mut a, mut b) = a_to_b(&network).await;
    send(&mut a, 1).await;
    network.set_faults(only(|faults| faults.repeat = 1.0));
    send(&mut a, 2).await;
    let acks: Vec<_> = read_n(&mut *b.reader, 2).await.iter().map(|frame| frame.ack).collect();
    assert_eq!(acks, [2, 2]);
}

#[actix_rt::test]
async fn a_delayed_frame_arrives_later() {
    let network = network(only(|faults| faults.delay = 1.0));
    let (mut a, mut b) = a_to_b(&network).await;
    send(&mut a, 1).await;
    read_n(&mut *b.reader, 1).await;
    assert!(network.now() >= Duration::from_millis(1) && network.now() <= Duration::from_millis(502));
}

/// Whatever bit of a frame is turned over, in head, header or payload, the decoder finds it or waits for what does not come.
#[actix_rt::test]
async fn a_damaged_bit_is_found() {
    let network = network(only(|faults| faults.corrupt = 1.0));
    let mut found = 0;
    for _ in 0..200 {
        let (mut a, mut b) = a_to_b(&network).await;
        a.writer.push(call_with(1, pattern(300))).unwrap();
        flush(&mut *a.writer).await;
        drop(a);
        match read(&mut *b.reader).await {
            Err(FabricError::Frame(error)) => found += usize::from(matches!(error, FrameError::Checksum { .. })),
            Err(FabricError::Closed | FabricError::Io { .. }) => {}
            other => panic!("a damaged frame was taken: {other:?}"),
        }
    }
    assert!(found > 150, "{found} of 200");
}

#[actix_rt::test]
async fn a_cut_frame_ends_the_connection_for_both() {
    let network = network(only(|faults| faults.cut = 1.0));
    let (mut a, mut b) = a_to_b(&network).await;
    send(&mut a, 1).await;
    assert!(is_reset(&read(&mut *b.reader).await) && is_reset(&read(&mut *a.reader).await));
    a.writer.push(small(2)).unwrap();
    poll_fn(|cx| a.writer.poll_flush(cx)).await.unwrap_err();
}

#[actix_rt::test]
async fn a_broken_link_resets_and_refuses_until_it_is_healed() {
    let network = network(FrameFaults::none());
    let (mut a, mut b) = a_to_b(&network).await;
    let to: Address = "loopback:b".parse().unwrap();
    let _listener = network.endpoint("b").listen(&to).await.unwrap();
    let (waiting, ()) = join(read(&mut *b.reader), async { network.break_link("b", "a") }).await;
    assert!(is_reset(&waiting) && is_reset(&read(&mut *a.reader).await));
    let error = network.endpoint("a").dial(&to).await.unwrap_err();
    assert!(error.to_string().contains("the link is broken"), "{error}");
    network.endpoint("c").dial(&to).await.unwrap();
    network.heal_link("a", "b");
    network.endpoint("a").dial(&to).await.unwrap();
}

#[actix_rt::test]
async fn a_half_open_link_is_silent_one_way() {
    let network = network(FrameFaults::none());
    let (mut a, mut b) = a_to_b(&network).await;
    network.silence("a", "b");
    send(&mut a, 1).await;
    send(&mut b, 2).await;
    assert_eq!(read_n(&mut *a.reader, 1).await[0].ack, 2);
    let nothing = tokio::time::timeout(Duration::from_secs(60), read(&mut *b.reader)).await;
    assert!(nothing.is_err(), "neither a frame nor an end");
    network.heal_link("a", "b");
    let (mut a, mut b) = a_to_b(&network).await;
    send(&mut a, 3).await;
    assert_eq!(read_n(&mut *b.reader, 1).await[0].ack, 3);
}

#[actix_rt::test]
async fn a_slow_task_hears_later() {
    let network = network(FrameFaults::none());
    let (mut a, mut b) = a_to_b(&network).await;
    network.set_slow("b", Some(Slow { latency: Duration::from_millis(50), bandwidth: Some(10_000) }));
    a.writer.push(call_with(1, pattern(2_000))).unwrap();
    let (frames, ()) = join(read_n(&mut *b.reader, 1), flush(&mut *a.writer)).await;
    assert_eq!(frames.len(), 1);
    assert!(network.now() >= Duration::from_millis(250), "{:?}", network.now());
}

#[actix_rt::test]
async fn the_peers_of_a_dead_task_see_a_reset_or_nothing() {
    let network = network(FrameFaults::none());
    let (mut a, b) = a_to_b(&network).await;
    network.unplug("b", Death::Silent);
    drop(b);
    send(&mut a, 1).await;
    let nothing = tokio::time::timeout(Duration::from_secs(60), read(&mut *a.reader)).await;
    assert!(nothing.is_err());
    network.plug("b");
    assert!(is_reset(&read(&mut *a.reader).await), "whoever is there now knows nothing of it");
    let (mut a, _b) = a_to_b(&network).await;
    network.unplug("b", Death::Reset);
    assert!(is_reset(&read(&mut *a.reader).await));
}

#[actix_rt::test]
async fn a_seed_is_a_trace() {
    tokio::time::pause();
    let run = |seed| async move {
        let faults = FrameFaults { lose: 0.2, repeat: 0.2, delay: 0.3, ..FrameFaults::none() };
        let network = Network::new(Chance::seeded(seed), faults);
        let (mut a, _b) = a_to_b(&network).await;
        for ack in 0..50 {
            send(&mut a, ack).await;
        }
        network.note("the end");
        network.trace().to_string()
    };
    let (one, again, other) = (run(1).await, run(1).await, run(2).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert_eq!(one.lines().count(), 51);
    assert!(["LOST", "REPEATED", "DELAYED", "a → b: Heartbeat", "the end"].iter().all(|word| one.contains(word)));
}
