//! What a step costs that a call takes in one actor, without the others: a hop, the promises of the caller, the objects of
//! the worker with few and with many of them alive. In batches of 64, through the messages that the actors exchange.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench has no callers")]

use std::{sync::Arc, time::Duration};

use actix::{Actor, Addr, Context, Handler, Message, Recipient};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use remex_actors::{
    chance::Chance,
    client::Edge,
    envelope::post,
    executor::{Abort, Run as RunTasks},
    objects::{
        Binding, Finished, Fulfil, MemoryBudget, MemoryLimits, Neighbours, ObjectManager, Resolve, Run, Step, Wanted,
    },
    observe::Observers,
    pending::{Expect, Expectation, PendingResults, Promised, Replies},
    programs::{Executable, native},
    promise::promise,
    session::{Answers, SessionId},
};
use remex_protocol::{
    Body, Frame, Reply, Rpc,
    calls::{DeleteMode, InputRef, Origin, OutputRef, RemoteExecuteReply, RemoteExecuteRequest},
    handshake::Credits,
    ids::{CallId, DeviceIndex, ObjectId, ObjectPrefix},
    tensor::Tensor,
};
use tokio::{sync::oneshot, time::Instant};

/// Calls in one message.
const BATCH: usize = 64;

/// Does nothing.
struct Idle;

impl Actor for Idle {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Hop;

impl Handler<Hop> for Idle {
    type Result = ();

    fn handle(&mut self, _: Hop, _: &mut Context<Self>) {}
}

fn hops(c: &mut Criterion) {
    let system = actix::System::new();
    let actor = system.block_on(async { Idle.start() });
    let mut group = c.benchmark_group("actor hop");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(format!("{BATCH} messages"), |b| {
        let to: Recipient<Hop> = actor.clone().recipient();
        b.iter(|| {
            (1..BATCH).for_each(|_| post(&to, Hop));
            system.block_on(actor.send(Hop)).unwrap();
        });
    });
    group.finish();
}

/// Promises are kept for 64 calls, and settled by 64 replies.
fn pending(c: &mut Criterion) {
    let system = actix::System::new();
    let actor = system.block_on(async {
        let edge = Edge::new("worker", Credits::default());
        PendingResults::new("worker", edge, Observers::default()).start()
    });
    let mut group = c.benchmark_group("pending results");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(format!("{BATCH} calls expected and answered"), |b| {
        let mut generation = 0;
        b.iter(|| {
            generation += 1;
            system.block_on(expect_and_answer(&actor, generation));
        });
    });
    group.finish();
}

async fn expect_and_answer(actor: &Addr<PendingResults>, generation: u32) {
    let calls = || (0..BATCH as u32).map(|index| CallId::new(index, generation));
    let deadline = Instant::now().into_std() + Duration::from_secs(60);
    let mut answers = Vec::with_capacity(BATCH);
    let expected = calls().map(|call| {
        let (writer, answer) = promise();
        answers.push(answer);
        let promised = Promised::Answer(writer);
        Expectation {
            call,
            kind: RemoteExecuteRequest::KIND,
            deadline,
            promised,
            admission: None,
            holds: Box::default(),
        }
    });
    actor.send(Expect(expected.collect())).await.unwrap();
    let reply = || Body::Completed(Reply::RemoteExecute(RemoteExecuteReply { metadata: Default::default() }));
    actor.send(Replies(calls().map(|call| Frame::new(call, reply())).collect())).await.unwrap();
    for answer in answers {
        answer.get().await.unwrap();
    }
}

/// Gives first inputs back as outputs, at once.
struct Echo;

impl Actor for Echo {
    type Context = Context<Self>;
}

impl Handler<RunTasks> for Echo {
    type Result = ();

    fn handle(&mut self, run: RunTasks, _: &mut Context<Self>) {
        let finished = run.tasks.into_iter().map(|task| Finished::new(task.job, Ok(vec![task.inputs[0].clone()])));
        post(&run.done, Fulfil(finished.collect()));
    }
}

impl Handler<Abort> for Echo {
    type Result = ();

    fn handle(&mut self, _: Abort, _: &mut Context<Self>) {}
}

impl Handler<Wanted> for Echo {
    type Result = ();

    fn handle(&mut self, _: Wanted, _: &mut Context<Self>) {}
}

/// Counts answers.
#[derive(Default)]
struct Session {
    left: usize,
    done: Option<oneshot::Sender<()>>,
}

impl Actor for Session {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Await(usize, oneshot::Sender<()>);

impl Handler<Await> for Session {
    type Result = ();

    fn handle(&mut self, Await(left, done): Await, _: &mut Context<Self>) {
        (self.left, self.done) = (left, Some(done));
    }
}

impl Handler<Answers> for Session {
    type Result = ();

    fn handle(&mut self, Answers(frames): Answers, _: &mut Context<Self>) {
        self.left -= frames.len();
        if self.left == 0 {
            let _ = self.done.take().map(|done| done.send(()));
        }
    }
}

/// An object manager between a session and an executor.
struct Objects {
    manager: Addr<ObjectManager>,
    session: Addr<Session>,
    program: Arc<Executable>,
    /// So many inputs to choose from; outputs have ids behind them.
    alive: u64,
}

impl Objects {
    async fn start(alive: u64) -> Self {
        let (echo, session) = (Echo.start(), Session::default().start());
        let neighbours = Neighbours {
            run: echo.clone().recipient(),
            abort: echo.clone().recipient(),
            wanted: echo.recipient(),
            context: None,
            memory: MemoryBudget::new(MemoryLimits::default()),
            limits: Default::default(),
            chance: Chance::seeded(1),
        };
        let manager = ObjectManager::new("/job:worker/task:0", 1, 1, neighbours).start();
        let program = Arc::new(native(|inputs| Ok(vec![inputs[0].clone()])).inline().outputs(1));
        let objects = Self { manager, session, program, alive };
        let tensor = Tensor::scalar(1f32).unwrap();
        let puts: Vec<_> = (1..=alive).collect();
        for puts in puts.chunks(1024) {
            let put = |local: &u64| Step::Put {
                call: CallId::new(*local as u32, 0),
                object: object(*local),
                metadata: tensor.metadata().clone(),
                data: Some(tensor.bytes().clone()),
            };
            objects.resolve(puts.iter().map(put).collect()).await;
        }
        objects
    }

    /// Has steps done, and waits until each is answered.
    async fn resolve(&self, steps: Vec<Step>) {
        let (done, hear) = oneshot::channel();
        post(&self.session.clone().recipient(), Await(steps.len(), done));
        let answers = self.session.clone().recipient();
        post(&self.manager.clone().recipient(), Resolve { session: SessionId(1), answers: answers.into(), steps });
        hear.await.unwrap();
    }

    /// A call each with two of the objects, and the release of all outputs.
    async fn calls(&self, round: u64) {
        let deadline = Instant::now().into_std() + Duration::from_secs(60);
        let chosen = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.alive + 1;
        let input = |number| InputRef { object: object(chosen(number)), origin: Origin::Here };
        let mut steps = Vec::with_capacity(BATCH + 1);
        let outputs: Vec<_> = (1..=BATCH as u64).map(|index| object(self.alive + index)).collect();
        for (index, output) in outputs.iter().enumerate() {
            let number = 2 * (round * BATCH as u64 + index as u64);
            steps.push(Step::Run(Box::new(Run {
                call: CallId::new(index as u32, round as u32),
                kind: RemoteExecuteRequest::KIND,
                name: "first".into(),
                program: Binding::Ready(self.program.clone()),
                lane: 0,
                inputs: [input(number), input(number + 1)].into_iter().collect(),
                outputs: [OutputRef { object: *output, need_metadata: true }].into_iter().collect(),
                in_chains: Default::default(),
                out_chain: None,
                deadline,
                baggage: Vec::new(),
                readers: Vec::new(),
            })));
        }
        self.resolve(steps).await;
        let (call, mode) = (CallId::new(BATCH as u32, round as u32), DeleteMode::Release);
        self.resolve(vec![Step::Delete { call, objects: outputs, mode }]).await;
    }
}

fn object(local: u64) -> ObjectId {
    ObjectId { prefix: ObjectPrefix(0x1122_3344_5566_7788), local, device: DeviceIndex(1) }
}

fn objects(c: &mut Criterion) {
    let system = actix::System::new();
    let mut group = c.benchmark_group("object table");
    group.throughput(Throughput::Elements(BATCH as u64));
    for alive in [100, 1_000_000] {
        let objects = system.block_on(Objects::start(alive));
        let mut round = 0;
        group.bench_function(BenchmarkId::new(format!("{BATCH} calls, objects alive:"), alive), |b| {
            b.iter(|| {
                round += 1;
                system.block_on(objects.calls(round));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, hops, pending, objects);
criterion_main!(benches);
