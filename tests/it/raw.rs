//! A peer that speaks frames itself: for what the facade would refuse to send.

use std::{collections::VecDeque, future::poll_fn, task::Poll, time::Duration};

use remex::{
    actors::fabric::Connection,
    protocol::{
        Body, Frame, RemoteError, Rpc,
        calls::*,
        cluster::TaskInfo,
        handshake::{Hello, Limits, MAGIC, VERSION},
        ids::*,
    },
    testing::TestCluster,
};

use crate::support::{device, task};

/// The context that a raw peer makes; its index on the link is 0.
pub(crate) const CONTEXT: ContextId = ContextId(77);
pub(crate) const INDEX: ContextIndex = ContextIndex(0);
/// Its devices: that of the task, and one of another task that is never there.
pub(crate) const HERE: DeviceIndex = DeviceIndex(0);
pub(crate) const ELSEWHERE: DeviceIndex = DeviceIndex(1);

pub(crate) struct Raw {
    connection: Connection,
    calls: u32,
    sent: u64,
    accepted: u64,
    arrived: VecDeque<Frame>,
}

impl Raw {
    /// A peer called `/job:raw/task:0`, connected to a task; the handshake is over.
    pub(crate) async fn dial(cluster: &TestCluster, i: usize) -> Self {
        let fabric = cluster.fabric("raw");
        let connection = fabric.dial(cluster.task(i).address().unwrap()).await.unwrap();
        let mut raw = Self { connection, calls: 0, sent: 0, accepted: 0, arrived: VecDeque::new() };
        let hello = Hello {
            magic: MAGIC.to_owned(),
            version: VERSION,
            oldest: VERSION,
            incarnation: Incarnation(5),
            task: "/job:raw/task:0".parse().unwrap(),
            epoch: 1,
            session: 0,
            replaces: 0,
            window_ms: 0,
            resume: 0,
            unfinished: Vec::new(),
            lane: 0,
            limits: Limits::default(),
            credentials: Vec::new(),
        };
        raw.send(Frame::new(CallId::default(), Body::Hello(Box::new(hello)))).await;
        assert!(matches!(raw.next().await.body, Body::Welcome(_)));
        raw.connection.reader.open();
        raw
    }

    /// The same, with a context on that task and on one that is never there.
    pub(crate) async fn with_context(cluster: &TestCluster, i: usize) -> Self {
        let mut raw = Self::dial(cluster, i).await;
        raw.ask(create_context(i)).await.unwrap();
        raw
    }

    async fn send(&mut self, mut frame: Frame) {
        if frame.is_numbered() {
            self.sent += 1;
            frame.number = self.sent;
        }
        frame.ack = self.accepted;
        self.connection.writer.push(frame).unwrap();
        poll_fn(|cx| self.connection.writer.poll_flush(cx)).await.unwrap();
    }

    /// The next frame that is no heartbeat.
    pub(crate) async fn next(&mut self) -> Frame {
        loop {
            let mut frames = Vec::new();
            let Some(frame) = self.arrived.pop_front() else {
                poll_fn(|cx| self.connection.reader.poll_read(cx, &mut frames)).await.unwrap();
                self.arrived.extend(frames);
                continue;
            };
            self.accepted = self.accepted.max(frame.number);
            if !matches!(frame.body, Body::Heartbeat) {
                return frame;
            }
        }
    }

    /// Makes a call and does not wait.
    pub(crate) async fn call<R: Rpc>(&mut self, request: R, payload: &[u8]) -> CallId {
        self.calls += 1;
        let call = CallId::new(self.calls, 0);
        let payload = bytes::Bytes::copy_from_slice(payload);
        self.send(Frame::new(call, Body::Call(request.into_call())).with_payload(payload)).await;
        call
    }

    /// Makes a call whose payload is on its way while the next one is made.
    pub(crate) fn announce<R: Rpc>(&mut self, request: R, payload: &[u8]) -> CallId {
        self.calls += 1;
        self.sent += 1;
        let call = CallId::new(self.calls, 0);
        let payload = bytes::Bytes::copy_from_slice(payload);
        let mut frame = Frame::new(call, Body::Call(request.into_call())).with_payload(payload);
        (frame.number, frame.ack) = (self.sent, self.accepted);
        self.connection.writer.push(frame).unwrap();
        call
    }

    /// Gives the next call the number of the last.
    pub(crate) fn number_again(&mut self) {
        self.sent -= 1;
    }

    /// Makes a call and waits for its answer, which must be the next frame.
    pub(crate) async fn ask<R: Rpc>(&mut self, request: R) -> Result<R::Reply, RemoteError> {
        self.ask_with(request, &[]).await
    }

    pub(crate) async fn ask_with<R: Rpc>(&mut self, request: R, payload: &[u8]) -> Result<R::Reply, RemoteError> {
        let call = self.call(request, payload).await;
        let frame = self.next().await;
        assert_eq!(frame.call, call, "{frame:?}");
        match frame.body {
            Body::Completed(reply) => Ok(R::reply(reply).expect("a reply of the same call")),
            Body::Failed { kind, error } => {
                assert_eq!(kind, R::KIND);
                Err(*error)
            }
            other => panic!("{other:?} is no answer"),
        }
    }

    /// Says nothing but that it is there, for so many seconds.
    pub(crate) async fn stay(&mut self, cluster: &TestCluster, seconds: u32) {
        for _ in 0..seconds {
            cluster.advance(Duration::from_secs(1)).await;
            self.send(Frame::new(CallId::default(), Body::Heartbeat)).await;
        }
        let mut frames = Vec::new();
        // Heartbeats of the other side.
        poll_fn(|cx| {
            let _ = self.connection.reader.poll_read(cx, &mut frames);
            Poll::Ready(())
        })
        .await;
        assert!(frames.iter().all(|frame| matches!(frame.body, Body::Heartbeat)), "{frames:?}");
    }

    /// Registers a native program under an index.
    pub(crate) async fn register(&mut self, index: u32, name: &str) -> Result<RegisterFunctionReply, RemoteError> {
        self.ask(register_function(index, name)).await
    }
}

pub(crate) fn create_context(i: usize) -> CreateContextRequest {
    let info = |name: String| TaskInfo { name: name.parse().unwrap(), address: None };
    CreateContextRequest {
        index: INDEX,
        context: CONTEXT,
        mode: ContextMode::Create,
        prefix: ObjectPrefix(9),
        tasks: vec![info(task(i)), info("/job:absent/task:0".to_owned())],
        devices: vec![device(i).parse().unwrap(), "/job:absent/task:0/device:CPU:0".parse().unwrap()],
        idle_timeout_ms: 60_000,
        groups: Vec::new(),
    }
}

pub(crate) fn register_function(index: u32, name: &str) -> RegisterFunctionRequest {
    RegisterFunctionRequest {
        context: INDEX,
        program: ProgramIndex(index),
        name: name.to_owned(),
        format: "native".to_owned(),
        entry: None,
        when: CompileWhen::Now,
        program_bytes: 0,
        output_devices: Vec::new(),
        golden: None,
    }
}

pub(crate) fn object(local: u64, device: DeviceIndex) -> ObjectId {
    ObjectId { prefix: ObjectPrefix(9), local, device }
}

pub(crate) fn remote_execute(
    program: u32,
    inputs: &[(ObjectId, Origin)],
    outputs: &[ObjectId],
) -> RemoteExecuteRequest {
    RemoteExecuteRequest {
        context: INDEX,
        program: ProgramIndex(program),
        inputs: inputs.iter().map(|(object, origin)| InputRef { object: *object, origin: *origin }).collect(),
        outputs: outputs.iter().map(|object| OutputRef { object: *object, need_metadata: true }).collect(),
        in_chains: Default::default(),
        out_chain: None,
        time_left_ms: 1_000,
        baggage: Vec::new(),
        readers: Vec::new(),
        released: Vec::new(),
    }
}

pub(crate) fn fetch_object(object: ObjectId, origin: Origin) -> FetchObjectRequest {
    FetchObjectRequest { context: INDEX, object, origin, time_left_ms: 1_000 }
}
