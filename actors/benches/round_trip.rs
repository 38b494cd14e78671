//! What a promise costs, and a call there and back through all actors on one thread, alone and 64 at once.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench has no callers")]

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    sync::Arc,
    time::Duration,
};

use actix::SystemRunner;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use remex_actors::{
    chance::Chance,
    context::{ContextShared, RegisterFunction, RemoteExecute},
    envelope::ask,
    executor::{ExecutorConfig, Pool},
    fabric::{Fabric, Loopback},
    handles::{ObjectRef, ProgramHandle},
    link::Identity,
    observe::Observers,
    programs::{Compiler, Compilers, NativePrograms, native},
    promise::promise,
    server::{ContextConfig, CreateContext, Created, ServerConfig, Started, Stop, start},
};
use remex_protocol::{DeviceName, cluster::ClusterConfig, handshake::Credits, ids::Incarnation, tensor::Tensor};
use tokio::time::Instant;

const WORKER: &str = "/job:worker/task:0";

/// A promise is made, settled and read; with `wait`, somebody waits for it before it is settled.
fn settled(wait: bool) -> u64 {
    let (writer, promise) = promise();
    let mut reader = Box::pin(promise.get());
    if wait {
        assert!((&mut reader).now_or_never().is_none());
    }
    writer.settle(Ok(black_box(7)));
    reader.now_or_never().unwrap().unwrap()
}

fn promises(c: &mut Criterion) {
    c.bench_function("promise settled, then read", |b| b.iter(|| settled(false)));
    c.bench_function("promise waited for, then settled", |b| b.iter(|| settled(true)));
}

/// A client and a worker in one `System`, connected by the loopback: each frame is encoded and decoded.
struct Pair {
    client: Started,
    worker: Started,
    context: Created,
    program: ProgramHandle,
    input: ObjectRef,
}

impl Pair {
    async fn start() -> Self {
        let hub = Loopback::new();
        let worker = start(config(WORKER, Some("loopback:worker"), &hub)).await.unwrap();
        let client = start(config("/job:client/task:0", None, &hub)).await.unwrap();
        let mut cluster = ClusterConfig::new();
        cluster.add(WORKER.parse().unwrap(), worker.address.clone()).unwrap();
        let create = CreateContext(ContextConfig::new(cluster));
        let context = ask(&client.server.clone().recipient(), create).await.unwrap();
        let (task, shared) = (WORKER.parse().unwrap(), &context.shared);
        let program = shared.register(&task, RegisterFunction::native("first")).await.unwrap();
        let device = shared.devices().iter().find(|device| *device.task() == task).unwrap();
        let input = shared.put(device, Tensor::scalar(1f32).unwrap(), None).await.unwrap();
        Self { client, worker, context, program, input }
    }

    /// So many calls, all sent before the first answer is waited for; their outputs are released afterwards.
    async fn calls(&self, count: usize) {
        let mut calls = Vec::with_capacity(count);
        for _ in 0..count {
            let call = RemoteExecute::new(&self.program).input(&self.input).input(&self.input).handles(1);
            calls.push(ContextShared::execute(&self.context.shared, call).await.unwrap());
        }
        for call in &calls {
            black_box(call.handles[0].metadata().await.unwrap());
        }
    }

    async fn stop(self) {
        drop((self.program, self.input, self.context));
        for server in [self.client.server, self.worker.server] {
            ask(&server.recipient(), Stop { drain: Duration::ZERO }).await.unwrap();
        }
    }
}

fn config(task: &str, listen: Option<&str>, hub: &Loopback) -> ServerConfig {
    let task: remex_protocol::cluster::TaskName = task.parse().unwrap();
    let fabric: Arc<dyn Fabric> = hub.endpoint(task.to_string());
    let program = native(|inputs| Ok(vec![inputs[0].clone()])).inline().outputs(1);
    let native: Arc<dyn Compiler> = Arc::new(NativePrograms(BTreeMap::from([("first".to_owned(), program)])));
    ServerConfig {
        devices: vec![DeviceName::new(task.clone(), "CPU", 0).unwrap()],
        who: Identity {
            task,
            incarnation: Incarnation(1),
            buffers: Default::default(),
            traffic: Default::default(),
            chance: Chance::of_system(),
        },
        executor: ExecutorConfig { lanes: vec![1], threads: 1, pool: Pool::Arbiter },
        listen: listen.map(|address| address.parse().unwrap()),
        fabrics: vec![fabric],
        compilers: Compilers::new([native]),
        ops: Default::default(),
        credits: Credits::default(),
        timers: Default::default(),
        spill: None,
        limits: Default::default(),
        allowed: BTreeSet::new(),
        observers: Observers::default(),
        custom_executor: None,
        custom_object_manager: None,
        custom_rendezvous: None,
    }
}

/// Runs the calls inside the `System`, so that starting it is not measured.
fn timed(system: &SystemRunner, pair: &Pair, rounds: u64, calls: usize) -> Duration {
    system.block_on(async {
        let began = Instant::now();
        for _ in 0..rounds {
            pair.calls(calls).await;
        }
        began.elapsed()
    })
}

fn round_trips(c: &mut Criterion) {
    let system = actix::System::new();
    let pair = system.block_on(Pair::start());
    let mut group = c.benchmark_group("calls");
    for calls in [1, 64] {
        group.throughput(Throughput::Elements(calls as u64));
        group.bench_function(format!("{calls} at once"), |b| {
            b.iter_custom(|rounds| timed(&system, &pair, rounds, calls));
        });
    }
    group.finish();
    system.block_on(pair.stop());
}

criterion_group!(benches, promises, round_trips);
criterion_main!(benches);
