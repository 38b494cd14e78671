//! Strangers who dial a lane.

use remex::{
    ErrorCode,
    protocol::{
        Body, Call, Frame, Payload,
        calls::{GetDevicesRequest, PutObjectRequest},
        encode_frame, encode_piece,
        handshake::Hello,
        ids::{CallId, ContextIndex, DeviceIndex, ObjectId, ObjectPrefix},
        tensor::{DType, Shape, TensorMetadata},
    },
};

use super::peer::{Stranger, World, hello, within};

const NAME: &str = "/job:stranger/task:0";

/// A session that can be resumed, and the number of its lane.
async fn guest(world: &World, session: u64) -> (Stranger, u64) {
    let mut stranger = world.stranger();
    stranger.say(Body::Hello(Box::new(Hello { session, window_ms: 1000, ..hello(NAME) }))).await;
    let Some(Frame { body: Body::Welcome(welcome), .. }) = stranger.next().await else { panic!("no Welcome") };
    (stranger, welcome.lane)
}

async fn dial(world: &World, hello: Hello) -> Stranger {
    let mut stranger = world.stranger();
    stranger.say(Body::Hello(Box::new(hello))).await;
    stranger
}

async fn goodbye(mut guest: Stranger) {
    let why = remex::protocol::RemoteError::new(ErrorCode::Cancelled, "it goes");
    guest.say(Body::Goodbye(Box::new(why))).await;
    guest.is_thrown_out(10).await;
}

/// Nobody can give a lane to a connection that is not his: the number is a secret, of one connection, and good for one lane.
#[actix::test]
async fn a_lane_that_nobody_waits_for_is_refused() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let (mut guest, lane) = guest(world, 7).await;
            assert_ne!(lane, 0);
            let right = || Hello { session: 7, lane, ..hello(NAME) };
            let other = "/job:stranger/task:1".parse().unwrap();
            let wrong = [
                Hello { lane: lane ^ 1, ..right() },
                Hello { session: 8, ..right() },
                Hello { session: 0, ..right() },
                Hello { epoch: 2, ..right() },
                Hello { epoch: 0, ..right() },
                Hello { incarnation: remex::protocol::ids::Incarnation(6), ..right() },
                Hello { task: other, ..right() },
            ];
            let refused = async |hello: Hello, code: ErrorCode| {
                let frames = dial(world, hello).await.is_thrown_out(1).await;
                let [Frame { body: Body::Refused(error), .. }] = &frames[..] else { panic!("{frames:?}") };
                assert_eq!(error.code, code, "{error}");
            };
            for hello in wrong {
                refused(hello, ErrorCode::PermissionDenied).await;
            }
            refused(Hello { magic: "x".to_owned(), ..right() }, ErrorCode::InvalidArgument).await;
            let mut first = dial(world, right()).await;
            assert!(matches!(first.answer().await.body, Body::Welcome(_)));
            refused(right(), ErrorCode::PermissionDenied).await;
            // None of it has harmed the session, whose lane it was.
            guest.ask(GetDevicesRequest {}, &[]).await.unwrap();
            goodbye(guest).await;
            drop(first);
        })
        .await;
}

/// A session without a name can have no lane.
#[actix::test]
async fn a_nameless_session_has_no_lane() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let (guest, lane) = guest(world, 0).await;
            assert_eq!(lane, 0);
            drop(guest);
        })
        .await;
}

fn large_put(number: u64) -> Vec<u8> {
    let object = ObjectId { prefix: ObjectPrefix(1), local: 1, device: DeviceIndex(0) };
    let metadata = TensorMetadata { dtype: DType::U8, shape: Shape::from([1 << 20]) };
    let put = PutObjectRequest { context: ContextIndex(0), object, metadata };
    let mut frame = Frame::new(CallId::new(1, 0), Body::Call(Call::PutObject(Box::new(put))));
    (frame.number, frame.payload) = (number, Payload::Announced(1 << 20));
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, &frame, false).unwrap();
    bytes
}

fn piece(call: u32, offset: u64, len: usize) -> Vec<u8> {
    let (mut bytes, piece) = (Vec::new(), vec![7; len]);
    encode_piece(&mut bytes, CallId::new(call, 0), offset, 0, &piece, false);
    bytes.extend(piece);
    bytes
}

/// I8: what does not belong on a lane, or fits nothing, ends the link of who sent it.
#[actix::test]
async fn nonsense_on_a_lane_ends_its_link() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let nonsense: [(&[u8], u64); 5] = [
                (&[0xff; 100], 1),
                (&piece(1, 5, 100), 1),
                (&piece(1, 0, (1 << 20) + 1), 1),
                (&large_put(2), 1),
                // Of what is never announced.
                (&piece(9, 0, 100), 5),
            ];
            for (session, (bytes, seconds)) in (20..).zip(nonsense) {
                let (mut guest, lane) = guest(world, session).await;
                let mut dialled = dial(world, Hello { session, lane, ..hello(NAME) }).await;
                assert!(matches!(dialled.answer().await.body, Body::Welcome(_)));
                guest.write(&large_put(1)).await;
                dialled.write(bytes).await;
                let heard = async {
                    loop {
                        guest.say(Body::Heartbeat).await;
                        let next = tokio::time::timeout(std::time::Duration::from_millis(500), guest.next());
                        if let Ok(None) = next.await {
                            return;
                        }
                    }
                };
                within(seconds, heard).await;
                world.goes_on().await;
                assert!(dialled.is_thrown_out(1).await.is_empty());
            }
            // Their sessions are kept for their lease.
            super::peer::settle(40).await;
        })
        .await;
}
