//! What is looked at from outside: every promise that a client was given, until it settles, whatever becomes of the client.

use std::{future::Future, time::Duration};

use remex::{Chain, Error, ErrorCode, Execution, Tensor, TensorHandle, protocol::Effect};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};

use super::{Phase, World, programs::value};

/// What a call promises.
pub(super) struct Promised {
    pub(super) number: u64,
    pub(super) chain: Chain,
    handles: Vec<TensorHandle>,
    due: Instant,
    /// Who was given it.
    client: usize,
    what: &'static str,
}

/// Where clients hand in what they were given. It is looked after outside of their tasks.
#[derive(Clone)]
pub(super) struct Watch(UnboundedSender<Promised>);

impl Watch {
    pub(super) fn call(&self, world: &World, promised: Promised) {
        for _ in 0..1 + 2 * promised.handles.len() {
            world.ledger.given();
        }
        // The other end is there as long as the drill.
        let _ = self.0.send(promised);
    }
}

impl Promised {
    pub(super) fn of(client: usize, number: u64, what: &'static str, call: &Execution, due: Instant) -> Self {
        Self { number, chain: call.chain.clone(), handles: call.handles.to_vec(), due, client, what }
    }
}

/// Looks after what is handed in.
pub(super) fn watch(world: World) -> Watch {
    let (say, hear) = unbounded_channel();
    actix::spawn(take(world, hear));
    Watch(say)
}

async fn take(world: World, mut hear: UnboundedReceiver<Promised>) {
    while let Some(Promised { number, chain, handles, due, client, what }) = hear.recv().await {
        for handle in handles {
            let (metadata, late) = (handle.clone(), world.clone());
            actix::spawn(async move {
                let _ = metadata.metadata().await;
                settled(&late, client, due, || format!("the metadata of call {number} ({what})"));
            });
            let late = world.clone();
            actix::spawn(async move {
                let _ = handle.tensor().await;
                settled(&late, client, due, || format!("the tensor of call {number} ({what})"));
            });
        }
        let world = world.clone();
        actix::spawn(async move {
            let outcome = chain.done().await;
            settled(&world, client, due, || format!("the chain of call {number} ({what})"));
            match outcome {
                Ok(()) => {
                    world.ledger.answered();
                    if world.ledger.runs(number) == 0 {
                        world.lost(format!("call {number} ({what}) was answered and never executed"));
                    }
                }
                Err(error) => believe(&world, number, what, &error),
            }
        });
    }
}

/// An error that says that the call did not run.
fn believe(world: &World, number: u64, what: &str, error: &Error) {
    let says_not = matches!(error.effect(), Effect::NotSent | Effect::NotRun);
    if says_not && world.ledger.runs(number) > 0 {
        world.belied(format!("call {number} ({what}) was executed, and is said not to be: {error}"));
    }
}

/// A promise settled just now.
fn settled(world: &World, client: usize, due: Instant, what: impl FnOnce() -> String) {
    // A task that does not run cannot settle anything.
    let due = world.cluster.ran_after(client, due);
    world.ledger.settled(Instant::now().saturating_duration_since(due), what);
}

/// Something that a client waits for itself, within a limit. A client that dies meanwhile was given nothing.
pub(super) async fn timed<T>(
    world: &World,
    client: usize,
    limit: Duration,
    what: &str,
    future: impl Future<Output = T>,
) -> T {
    struct Given<'a>(&'a World, bool);
    impl Drop for Given<'_> {
        fn drop(&mut self) {
            if !self.1 {
                self.0.ledger.taken_back();
            }
        }
    }
    world.ledger.call();
    world.ledger.given();
    let mut given = Given(world, false);
    let due = Instant::now() + limit;
    let outcome = future.await;
    given.1 = true;
    settled(world, client, due, || what.to_owned());
    outcome
}

/// An object of which a client knows what it must be.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) object: remex::ObjectRef,
    pub(super) value: i64,
    pub(super) worker: usize,
    /// The worker's run when the object was asked for.
    pub(super) run: u32,
    /// How its call ended; `None` of what was put.
    pub(super) made: Option<(u64, Chain)>,
}

/// Looks at what a fetch gave.
pub(super) fn fetched(world: &World, client: usize, known: &Known, was_done: bool, fetched: Result<Tensor, Error>) {
    let calm = world.phase.get() != Phase::Work;
    let what = match &known.made {
        Some((number, _)) => format!("the output of call {number} on task {}", known.worker),
        None => format!("what was put on task {}", known.worker),
    };
    match fetched {
        Ok(tensor) if value(&tensor) == Some(known.value) => {}
        Ok(tensor) => {
            world.wrong(format!("{what} is {:?} and should be {}", value(&tensor), known.value));
        }
        // It was never there.
        Err(_) if !was_done => {}
        Err(error) => {
            // The memory that it was in, or may have been in, is gone.
            let destroyed = world.cluster.last_lost_run(known.worker) >= known.run;
            // Its own task stops, or has stopped.
            let lost = error.code() == ErrorCode::DataLoss;
            let stops = world.cluster.task(client).is_none() && error.code() == ErrorCode::FailedPrecondition;
            let not_reached = !calm && is_of_transport(error.code());
            if !(not_reached || stops || destroyed && lost) {
                world.lost(format!("{what} was answered for and cannot be fetched: {error}"));
            }
        }
    }
}

/// Codes that say nothing about the object: it was not asked for, or the answer did not come.
pub(super) fn is_of_transport(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::RpcUnavailable | ErrorCode::Unavailable | ErrorCode::DeadlineExceeded | ErrorCode::Cancelled
    )
}
