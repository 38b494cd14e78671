//! Real sockets, and a proxy between them that cuts connections at random bytes.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Context, Handler};
use futures_util::future::join_all;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use remex::prelude::*;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{elements, task, vector};

/// Connections that are cut before a test is content.
const CUTS: usize = 300;
/// Elements of a tensor that travels in pieces.
const LARGE: usize = 80_000;

/// Between a client and a worker: forwards so many bytes of each connection, both directions together, and ends it.
struct Proxy {
    to: SocketAddr,
    rng: RefCell<SmallRng>,
    cuts: Cell<usize>,
}

impl Proxy {
    async fn start(to: SocketAddr, seed: u64) -> (Rc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Rc::new(Self { to, rng: RefCell::new(SmallRng::seed_from_u64(seed)), cuts: Cell::new(0) });
        let this = proxy.clone();
        actix::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let this = this.clone();
                actix::spawn(async move { this.connect(client).await });
            }
        });
        (proxy, address)
    }

    /// Few bytes cut handshakes and small frames, many let a large payload through and cut the next one.
    fn budget(&self) -> usize {
        let mut rng = self.rng.borrow_mut();
        match rng.random_range(0..10) {
            _ if self.cuts.get() >= CUTS => usize::MAX,
            0 => rng.random_range(1..600),
            1..=5 => rng.random_range(600..60_000),
            _ => rng.random_range(300_000..3_000_000),
        }
    }

    async fn connect(&self, mut client: TcpStream) {
        let Ok(mut worker) = TcpStream::connect(self.to).await else { return };
        let budget = Cell::new(self.budget());
        let (from_client, to_client) = client.split();
        let (from_worker, to_worker) = worker.split();
        tokio::select! {
            biased;
            () = forward(from_client, to_worker, &budget) => {}
            () = forward(from_worker, to_client, &budget) => {}
        }
        if budget.get() == 0 {
            self.cuts.set(self.cuts.get() + 1);
        }
    }
}

async fn forward(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, budget: &Cell<usize>) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        let n = n.min(budget.get());
        budget.set(budget.get() - n);
        if to.write_all(&bytes[..n]).await.is_err() || budget.get() == 0 {
            return;
        }
    }
}

/// Counts what it is asked.
struct Counter(Arc<AtomicUsize>);

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Invoke> for Counter {
    type Result = Result<Vec<Tensor>, ProgramError>;

    fn handle(&mut self, invoke: Invoke, _: &mut Context<Self>) -> Self::Result {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(vec![invoke.inputs[0].clone()])
    }
}

/// Programs that count their runs and give back what they are given: sync, async, an actor.
fn counters(runs: &[Arc<AtomicUsize>; 3]) -> [(&'static str, remex::Executable); 3] {
    let [sync, waits, actor] = runs.clone();
    let sync = native(move |inputs| {
        sync.fetch_add(1, Ordering::Relaxed);
        Ok(vec![inputs[0].clone()])
    });
    let waits = native_async(move |call| {
        waits.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::task::yield_now().await;
            Ok(vec![call.inputs[0].clone()])
        }
    });
    let actor = native_actor(Counter(actor).start().recipient());
    [("sync", sync.outputs(1)), ("async", waits.outputs(1)), ("actor", actor.outputs(1))]
}

/// Puts, calls and fetches until the proxy has cut enough; gives the number of calls.
async fn work(context: &ContextHandle, programs: &[ProgramHandle], proxy: &Proxy, user: usize) -> Vec<usize> {
    let device = context.device_of(&task(1)).unwrap();
    let mut made = vec![0; programs.len()];
    for n in 0.. {
        if proxy.cuts.get() >= CUTS {
            break;
        }
        // Two users have payloads in pieces, both ways.
        let len = if user < 2 { LARGE + n } else { 1 + n % 300 };
        let tensor = vector(&(0..len).map(|i| (i * (n + 1)) as f32).collect::<Vec<_>>());
        let object = context.put(&device, tensor.clone()).await.unwrap();
        let kind = (user + n) % programs.len();
        made[kind] += 1;
        let call = RemoteExecute::new(&programs[kind]).input(&object).handles(1);
        let call = context.execute(call).await.unwrap();
        let fetched = call.handles[0].fetch().await.unwrap();
        call.chain.done().await.unwrap();
        assert!(elements(&fetched) == elements(&tensor), "user {user}, call {n}: what came back is not what was sent");
    }
    made
}

async fn exactly_once(seed: u64) {
    let runs: [Arc<AtomicUsize>; 3] = Default::default();
    let worker = Server::builder().task(task(1)).listen("tcp://127.0.0.1:0");
    let programs = counters(&runs);
    let names: Vec<_> = programs.iter().map(|(name, _)| *name).collect();
    let worker = programs.into_iter().fold(worker, |worker, (name, program)| worker.program(name, program));
    let worker = worker.start().await.unwrap();
    let at = worker.address().unwrap().to_string();
    let (proxy, through) = Proxy::start(at.strip_prefix("tcp://").unwrap().parse().unwrap(), seed).await;

    let client = Server::builder().task(task(0)).reconnect_window(Duration::from_secs(20)).start().await.unwrap();
    let mut cluster = remex::ClusterConfig::new();
    cluster.add(worker.task().clone(), Some(format!("tcp://{through}").parse().unwrap())).unwrap();
    // The proxy may cut the handshake of the first connection: then it is made again by whoever waits for the worker.
    let context = client.create_context(ContextConfig::new(cluster)).await.unwrap();
    let mut programs = Vec::new();
    for name in names {
        programs.push(context.register(&task(1), RegisterFunction::native(name)).await.unwrap());
    }
    let users = join_all((0..8).map(|user| work(&context, &programs, &proxy, user))).await;

    for (kind, runs) in runs.iter().enumerate() {
        let made: usize = users.iter().map(|made| made[kind]).sum();
        assert_eq!(runs.load(Ordering::Relaxed), made, "seed {seed}: as many effects as calls of kind {kind}");
        assert!(made > 0);
    }
    assert!(proxy.cuts.get() >= CUTS);
    drop(programs);
    assert_eq!(context.close().await.unwrap(), []);
    let stats = worker.stats().await.unwrap();
    assert_eq!((stats.contexts, stats.objects, stats.jobs), (0, 0, 0));
    drop(context);
    client.stop().await.unwrap();
    worker.stop().await.unwrap();
}

/// I6: connections that are cut hundreds of times, at any byte, cost no call and repeat none.
#[actix::test]
async fn cut_connections_cost_no_call_and_repeat_none() {
    exactly_once(1).await;
}
