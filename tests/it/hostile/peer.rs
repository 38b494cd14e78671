//! A worker, somebody who behaves, and a stranger who writes bytes: on pipes in memory and virtual time.

use std::{
    cell::Cell,
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use futures_util::future::LocalBoxFuture;
use remex::{
    ServerHandle, ServerStats,
    actors::fabric::{Connection, Fabric, FabricError, Listener, stream},
    prelude::*,
    protocol::{
        Body, Decoder, DecoderLimits, Frame, Rpc,
        cluster::ClusterConfig,
        encode_frame,
        handshake::{Hello, Limits, MAGIC, VERSION},
        ids::{CallId, Incarnation},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    time::timeout,
};

use crate::support::{add, elements, put, register, vector};

/// Bytes that a pipe holds before its writer has to wait, as a socket's buffers do.
const PIPE: usize = 64 << 10;

type Waiting = mpsc::UnboundedSender<DuplexStream>;

/// A fabric whose connections are pipes. A test can put any bytes into one.
#[derive(Clone, Debug, Default)]
pub(super) struct Pipes(Arc<Mutex<BTreeMap<String, Waiting>>>);

#[derive(Debug)]
pub(super) struct PipeListener(Address, mpsc::UnboundedReceiver<DuplexStream>);

impl Pipes {
    /// A stranger's end of a new connection to who listens under a name.
    pub(super) fn connect(&self, name: &str) -> DuplexStream {
        self.connect_narrow(name, PIPE)
    }

    /// The same over a pipe that holds so little.
    pub(super) fn connect_narrow(&self, name: &str, bytes: usize) -> DuplexStream {
        let (here, there) = duplex(bytes);
        let _ = self.0.lock().unwrap()[name].send(there);
        here
    }

    /// Listens itself, for a test that plays the worker.
    pub(super) fn accept(&self, name: &str) -> PipeListener {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.lock().unwrap().insert(name.to_owned(), sender);
        PipeListener(format!("pipe:{name}").parse().unwrap(), receiver)
    }
}

impl PipeListener {
    pub(super) async fn next(&mut self) -> Stranger {
        Stranger::new(self.1.recv().await.unwrap())
    }
}

fn connection(stream: DuplexStream) -> Connection {
    let (reader, writer) = tokio::io::split(stream);
    stream::connection(reader, writer, "a pipe".to_owned(), true, true)
}

impl Fabric for Pipes {
    fn scheme(&self) -> &str {
        "pipe"
    }

    fn listen<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Box<dyn Listener>, FabricError>> {
        Box::pin(async move { Ok(Box::new(self.accept(address.rest())) as Box<dyn Listener>) })
    }

    fn dial<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Connection, FabricError>> {
        Box::pin(async move { Ok(connection(self.connect(address.rest()))) })
    }
}

impl Listener for PipeListener {
    fn address(&self) -> &Address {
        &self.0
    }

    fn accept(&mut self) -> LocalBoxFuture<'_, Result<Connection, FabricError>> {
        Box::pin(async {
            match self.1.recv().await {
                Some(stream) => Ok(connection(stream)),
                None => std::future::pending().await,
            }
        })
    }
}

thread_local! {
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// Counts panics of this thread, on which all actors of a test run. One in a spawned future is caught by its runtime: the
/// test would not see it.
fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let _ = PANICS.try_with(|panics| panics.set(panics.get() + 1));
            before(info);
        }));
    });
    PANICS.set(0);
}

/// A worker at `pipe:w`, and a client of it that behaves.
pub(super) struct World {
    pub(super) pipes: Pipes,
    pub(super) worker: ServerHandle,
    pub(super) client: ServerHandle,
    pub(super) context: ContextHandle,
    pub(super) program: ProgramHandle,
    pub(super) object: ObjectRef,
    before: ServerStats,
}

pub(super) const WORKER: &str = "/job:test/task:1";

impl World {
    /// With programs beside `add`; pauses the clock.
    pub(super) async fn new(programs: &[(&str, remex::Executable)]) -> Self {
        tokio::time::pause();
        Self::on_paused_clock(programs).await
    }

    pub(super) async fn on_paused_clock(programs: &[(&str, remex::Executable)]) -> Self {
        count_panics();
        let pipes = Pipes::default();
        let fabric = || Arc::new(pipes.clone());
        let mut builder = Server::builder().task(WORKER).listen("pipe:w").fabric(fabric()).run_on_arbiter();
        builder = builder.program("add", add());
        for (name, program) in programs {
            builder = builder.program(*name, program.clone());
        }
        let worker = builder.start().await.unwrap();
        let client = Server::builder().task("/job:test/task:0").fabric(fabric()).run_on_arbiter();
        // Who behaves must not lose its connection, so it would not come back from that.
        let client = client.reconnect_window(Duration::ZERO).start().await.unwrap();
        let mut config = ClusterConfig::new();
        config.add(WORKER.parse().unwrap(), Some("pipe:w".parse().unwrap())).unwrap();
        let context = client.create_context(remex::ContextConfig::new(config)).await.unwrap();
        let program = register(&context, 1, "add").await;
        let object = put(&context, 1, &[1.0, 2.0]).await;
        let before = worker.stats().await.unwrap();
        Self { pipes, worker, client, context, program, object, before }
    }

    /// A stranger who has said nothing yet.
    pub(super) fn stranger(&self) -> Stranger {
        Stranger::new(self.pipes.connect("w"))
    }

    /// A stranger whose pipe holds so little that no answer fits into it.
    pub(super) fn narrow_stranger(&self) -> Stranger {
        Stranger::new(self.pipes.connect_narrow("w", 16))
    }

    /// A stranger who was welcomed.
    pub(super) async fn guest(&self) -> Stranger {
        self.guest_called("/job:stranger/task:0").await
    }

    pub(super) async fn guest_called(&self, name: &str) -> Stranger {
        let mut stranger = self.stranger();
        stranger.hello(name).await;
        stranger
    }

    /// Who behaves is served as ever.
    pub(super) async fn goes_on(&self) {
        let call = RemoteExecute::new(&self.program).input(&self.object).input(&self.object).handles(1);
        let call = self.context.execute(call).await.unwrap();
        let sum = timeout(Duration::from_secs(1), call.handles[0].fetch()).await;
        assert_eq!(elements(&sum.expect("a second is plenty").unwrap()), [2.0, 4.0]);
        let other = self.context.put(&self.context.device_of(WORKER).unwrap(), vector(&[3.0])).await.unwrap();
        assert_eq!(elements(&self.context.fetch(&other).await.unwrap()), [3.0]);
    }

    /// Nothing is left of strangers, nobody has panicked, and everything ends.
    pub(super) async fn ends_as_it_began(self) {
        self.goes_on().await;
        // Longer than any session without a sign of life.
        settle(5).await;
        let after = self.worker.stats().await.unwrap();
        assert_eq!(left(&after), left(&self.before));
        drop(self.object);
        assert_eq!(self.context.close().await.unwrap(), []);
        self.client.stop().await.unwrap();
        self.worker.stop().await.unwrap();
        assert_eq!(PANICS.get(), 0, "something panicked and was caught");
    }

    /// Lets a stranger do harm, while and after which who behaves goes on.
    pub(super) async fn bears(self, harm: impl AsyncFnOnce(&World)) {
        harm(&self).await;
        self.ends_as_it_began().await;
    }
}

/// Lets seconds of the paused clock pass.
pub(super) async fn settle(seconds: u64) {
    let _ = timeout(Duration::from_secs(seconds), std::future::pending::<()>()).await;
}

/// One end of a connection, byte by byte.
pub(super) struct Stranger {
    pub(super) stream: DuplexStream,
    decoder: Decoder,
    calls: u32,
    /// Number of the last numbered frame that was sent, and that came.
    pub(super) sent: u64,
    pub(super) accepted: u64,
}

impl Stranger {
    fn new(stream: DuplexStream) -> Self {
        let decoder = Decoder::new(DecoderLimits::OPEN);
        Self { stream, decoder, calls: 0, sent: 0, accepted: 0 }
    }

    /// Writes as much as the other end takes.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        // Who was thrown out cannot write.
        let _ = self.stream.write_all(bytes).await;
    }

    pub(super) fn bytes(&mut self, mut frame: Frame) -> Vec<u8> {
        if frame.is_numbered() {
            self.sent += 1;
            frame.number = self.sent;
        }
        frame.ack = self.accepted;
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, &frame, false).unwrap();
        if let remex::protocol::Payload::Whole(payload) = &frame.payload {
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    pub(super) async fn send(&mut self, frame: Frame) {
        let bytes = self.bytes(frame);
        self.write(&bytes).await;
    }

    pub(super) async fn say(&mut self, body: Body) {
        self.send(Frame::new(CallId::default(), body)).await;
    }

    pub(super) async fn hello(&mut self, name: &str) {
        self.say(Body::Hello(Box::new(hello(name)))).await;
        let welcome = self.next().await;
        assert!(matches!(welcome.as_ref().map(|frame| &frame.body), Some(Body::Welcome(_))), "{welcome:?}");
    }

    /// The next frame that is no heartbeat; `None` if the stream has ended.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            while let Some(frame) = self.decoder.next_frame().unwrap() {
                self.accepted = self.accepted.max(frame.number);
                if !matches!(frame.body, Body::Heartbeat) {
                    return Some(frame);
                }
            }
            let n = self.stream.read(self.decoder.space()).await.unwrap_or(0);
            if n == 0 {
                return None;
            }
            self.decoder.advance(n).unwrap();
        }
    }

    /// Makes a call with a payload of at most a piece.
    pub(super) async fn call<R: Rpc>(&mut self, request: R, payload: &[u8]) -> CallId {
        let call = CallId::new(self.calls, 0);
        self.calls += 1;
        self.call_as(call, request, payload).await;
        call
    }

    /// The same under a name that may be in use.
    pub(super) async fn call_as<R: Rpc>(&mut self, call: CallId, request: R, payload: &[u8]) {
        let payload = bytes::Bytes::copy_from_slice(payload);
        self.send(Frame::new(call, Body::Call(request.into_call())).with_payload(payload)).await;
    }

    /// Makes a call and waits for its answer: the code of the error, if it failed.
    pub(super) async fn ask<R: Rpc>(&mut self, request: R, payload: &[u8]) -> Result<R::Reply, ErrorCode> {
        let call = self.call(request, payload).await;
        let frame = self.answer().await;
        assert_eq!(frame.call, call, "{frame:?}");
        match frame.body {
            Body::Completed(reply) => Ok(R::reply(reply).unwrap()),
            Body::Failed { error, .. } => Err(error.code),
            other => panic!("{other:?} is no answer"),
        }
    }

    /// The next frame, which must come within a second.
    pub(super) async fn answer(&mut self) -> Frame {
        let frame = within(1, self.next()).await;
        frame.expect("the link lives")
    }

    /// Waits until the other end has closed the stream, at most so many seconds; frames that came before are read.
    pub(super) async fn is_thrown_out(&mut self, seconds: u64) -> Vec<Frame> {
        let mut frames = Vec::new();
        let all = async {
            while let Some(frame) = self.next().await {
                frames.push(frame);
            }
        };
        within(seconds, all).await;
        frames
    }
}

/// Waits, at most so many seconds.
pub(super) async fn within<T>(seconds: u64, future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(seconds), future).await.unwrap_or_else(|_| panic!("not within {seconds} s"))
}

/// What is there of a worker's tables; not what it has been through.
fn left(stats: &ServerStats) -> String {
    let mut stats = *stats;
    (stats.memory_peak, stats.refused) = Default::default();
    // What has gone through links has not stayed.
    (stats.sent_bytes, stats.received_bytes) = Default::default();
    format!("{stats:?}")
}

/// What a dialler says that is welcome.
pub(super) fn hello(name: &str) -> Hello {
    Hello {
        magic: MAGIC.to_owned(),
        version: VERSION,
        oldest: VERSION,
        incarnation: Incarnation(5),
        task: name.parse().unwrap(),
        epoch: 1,
        session: 0,
        replaces: 0,
        window_ms: 0,
        resume: 0,
        unfinished: Vec::new(),
        lane: 0,
        limits: Limits::default(),
        credentials: Vec::new(),
    }
}
