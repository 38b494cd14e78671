//! A worker that answers as a test likes: what no worker of ours would say.

use std::{cell::RefCell, future::poll_fn, rc::Rc, time::Duration};

use remex::{
    ErrorCode,
    actors::fabric::Connection,
    prelude::*,
    protocol::{
        Body, Call, Frame, RemoteError, Reply, Rpc,
        calls::*,
        cluster::TaskName,
        handshake::{Credits, Limits, VERSION, Welcome},
        ids::*,
    },
    testing::TestCluster,
};

use crate::support::{device, task};

/// What a call is answered with; nothing if it is to wait for ever.
pub(crate) enum Answer {
    /// As a worker does that is in good order.
    Good,
    /// With these, in order.
    With(Vec<Body>),
}

type Answers = Box<dyn FnMut(&Call) -> Answer>;

/// What a fake worker was asked, by the names of the calls.
#[derive(Clone, Default)]
pub(crate) struct Asked(Rc<RefCell<Vec<&'static str>>>);

impl Asked {
    pub(crate) fn count(&self, name: &str) -> usize {
        self.0.borrow().iter().filter(|asked| **asked == name).count()
    }
}

/// Starts a worker called `/job:test/task:1`, which must not be one of the cluster's. Unless `answers` says otherwise its
/// programs have two outputs and never end.
pub(crate) async fn start(cluster: &TestCluster, answers: impl FnMut(&Call) -> Answer + 'static) -> Asked {
    let mut listener = cluster.fabric("1").listen(&"loopback:1".parse().unwrap()).await.unwrap();
    let asked = Asked::default();
    let seen = asked.clone();
    actix::spawn(async move {
        let connection = listener.accept().await.unwrap();
        let mut fake = Fake { connection, sent: 0, accepted: 0, asked: seen, answers: Box::new(answers) };
        fake.serve().await;
    });
    asked
}

/// A context of the cluster's task 0 and the fake worker.
pub(crate) async fn context(cluster: &TestCluster, change: fn(ContextConfig) -> ContextConfig) -> ContextHandle {
    let mut tasks = ClusterConfig::new();
    for i in 0..2 {
        tasks.add(task(i).parse().unwrap(), Some(format!("loopback:{i}").parse().unwrap())).unwrap();
    }
    cluster.task(0).create_context(change(ContextConfig::new(tasks))).await.unwrap()
}

/// A call failed, says the worker.
pub(crate) fn failed(code: ErrorCode, message: &str) -> Body {
    let error = Box::new(RemoteError::new(code, message).on_task(task(1)));
    Body::Failed { kind: RemoteExecuteRequest::KIND, error }
}

/// A call is done, says the worker, and this is known of its outputs.
pub(crate) fn done(metadata: impl IntoIterator<Item = Option<TensorMetadata>>) -> Body {
    Body::Completed(Reply::RemoteExecute(RemoteExecuteReply { metadata: metadata.into_iter().collect() }))
}

struct Fake {
    connection: Connection,
    sent: u64,
    accepted: u64,
    asked: Asked,
    answers: Answers,
}

impl Fake {
    async fn send(&mut self, call: CallId, body: Body) {
        let mut frame = Frame::new(call, body);
        if frame.is_numbered() {
            self.sent += 1;
            frame.number = self.sent;
        }
        frame.ack = self.accepted;
        self.connection.writer.push(frame).unwrap();
        // Whoever has hung up hears nothing.
        let _ = poll_fn(|cx| self.connection.writer.poll_flush(cx)).await;
    }

    /// Until the other side hangs up.
    async fn serve(&mut self) {
        let mut beat = tokio::time::interval(Duration::from_secs(1));
        loop {
            let mut frames = Vec::new();
            tokio::select! {
                biased;
                read = poll_fn(|cx| self.connection.reader.poll_read(cx, &mut frames)) => {
                    if read.is_err() {
                        return;
                    }
                }
                _ = beat.tick(), if self.sent > 0 => self.send(CallId::default(), Body::Heartbeat).await,
            }
            for frame in frames {
                self.accepted = self.accepted.max(frame.number);
                self.take(frame).await;
            }
        }
    }

    async fn take(&mut self, Frame { call, body, .. }: Frame) {
        match body {
            Body::Hello(hello) => {
                let welcome = Welcome {
                    version: VERSION,
                    incarnation: Incarnation(6),
                    task: own(),
                    epoch: hello.epoch,
                    resumed: false,
                    resume: 0,
                    unfinished: Vec::new(),
                    lease_ms: 0,
                    lane: 0,
                    credits: Credits::default(),
                    limits: Limits::default(),
                };
                self.send(CallId::default(), Body::Welcome(Box::new(welcome))).await;
                self.connection.reader.open();
            }
            Body::Call(body) => {
                self.asked.0.borrow_mut().push(body.name());
                let bodies = match (self.answers)(&body) {
                    Answer::Good => good(&body).into_iter().collect(),
                    Answer::With(bodies) => bodies,
                };
                for body in bodies {
                    self.send(call, body).await;
                }
            }
            _ => {}
        }
    }
}

fn own() -> TaskName {
    task(1).parse().unwrap()
}

fn good(call: &Call) -> Option<Body> {
    let ready_chain = ObjectId { prefix: ObjectPrefix(3), local: 1, device: DeviceIndex(0) };
    let devices = vec![device(1).parse().unwrap()];
    Some(Body::Completed(match call {
        Call::GetDevices(_) => Reply::GetDevices(GetDevicesReply { task: own(), incarnation: Incarnation(6), devices }),
        Call::CreateContext(_) => Reply::CreateContext(CreateContextReply { incarnation: Incarnation(6), ready_chain }),
        Call::CloseContext(_) => Reply::CloseContext(CloseContextReply {}),
        Call::KeepAlive(_) => Reply::KeepAlive(KeepAliveReply {}),
        Call::RegisterFunction(_) => {
            let output_devices = vec![DeviceIndex(0); 2];
            Reply::RegisterFunction(RegisterFunctionReply { signature: None, output_devices: Some(output_devices) })
        }
        Call::DeleteObjects(_) => Reply::DeleteObjects(DeleteObjectsReply::default()),
        Call::Cancel(_) => Reply::Cancel(CancelReply {}),
        _ => return None,
    }))
}
