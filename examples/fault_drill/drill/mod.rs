//! One seed of the drill: a simulated cluster, clients with random work, random faults, and what must hold all the same.

mod check;
mod client;
mod ledger;
mod programs;
mod round;

use std::{cell::Cell, rc::Rc, time::Duration};

use remex::{
    ErrorCode, ServerStats,
    actors::chance::Chance,
    testing::{FaultPlan, SimCluster, Trace},
};
use tokio::time::{sleep, timeout};

use ledger::Ledger;
pub(crate) use ledger::Totals;

/// Tasks that serve; after them come those that call.
const WORKERS: usize = 3;
const CLIENTS: usize = 2;
/// How long clients work under faults.
const WORK: Duration = Duration::from_secs(12);
/// How long it is quiet afterwards: longer than any deadline, and than the lease of a session.
const QUIET: Duration = Duration::from_secs(40);
/// A client whose calls all have deadlines is done after so long, or never.
const PATIENCE: Duration = Duration::from_secs(60);

/// The word in the trace where something does not hold.
pub(crate) const PROBLEM: &str = "PROBLEM";

/// What a drill does wrong on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Nothing.
    #[default]
    Nothing,
    /// A program does its work twice, now and then.
    RunsTwice,
    /// A client forgets objects on workers.
    Leaks,
    /// A program gives another value than it should, now and then.
    Lies,
    /// A client deletes an object and goes on using it.
    Loses,
}

/// What came out of one seed.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The seed.
    pub(crate) seed: u64,
    /// The numbers.
    pub(crate) totals: Totals,
    /// What did not hold, in words; empty if all did.
    pub(crate) problems: Vec<String>,
    /// What happened.
    pub(crate) trace: Trace,
}

/// What clients are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Work,
    /// Make no more calls, let everything go, and leave the contexts open.
    Rest,
    Close,
}

/// What the clients of one drill have in common. It lives outside of all tasks.
#[derive(Clone)]
struct World {
    cluster: SimCluster,
    ledger: Ledger,
    phase: Rc<Cell<Phase>>,
    wrong_on_purpose: Wrong,
}

impl World {
    /// An effect is gone that was answered for.
    fn lost(&self, problem: String) {
        self.cluster.note(format!("{PROBLEM}: {problem}"));
        self.ledger.lost(problem);
    }

    /// A call ran that is said not to have run.
    fn belied(&self, problem: String) {
        self.cluster.note(format!("{PROBLEM}: {problem}"));
        self.ledger.belied(problem);
    }

    /// A value is not what it should be.
    fn wrong(&self, problem: String) {
        self.cluster.note(format!("{PROBLEM}: {problem}"));
        self.ledger.wrong(problem);
    }
}

/// Runs the drill of one seed on this thread, with a `System` of its own.
pub(crate) fn run(seed: u64, wrong: Wrong) -> Outcome {
    actix::System::new().block_on(drill(seed, FaultPlan::random(seed), wrong))
}

async fn drill(seed: u64, plan: FaultPlan, wrong: Wrong) -> Outcome {
    let ledger = Ledger::default();
    let (programs, chance) = (ledger.clone(), Chance::seeded(!seed));
    let builder = SimCluster::builder(WORKERS + CLIENTS).seed(seed).plan(plan);
    let builder = builder.each(move |i, server| match i < WORKERS {
        true => programs::of(&programs, wrong, server),
        false => server,
    });
    let cluster = match builder.start().await {
        Ok(cluster) => cluster,
        Err(error) => {
            let problems = vec![format!("the cluster did not start: {error}")];
            return Outcome { seed, totals: Totals::default(), problems, trace: Trace::default() };
        }
    };
    let phase = Rc::new(Cell::new(Phase::Work));
    let world =
        World { cluster: cluster.clone(), ledger: ledger.clone(), phase: phase.clone(), wrong_on_purpose: wrong };
    let clients: Vec<_> =
        (WORKERS..WORKERS + CLIENTS).map(|i| actix::spawn(client::keep(world.clone(), i, chance.split()))).collect();
    sleep(WORK).await;
    if let Err(error) = cluster.calm().await {
        ledger.problem(format!("a task was not started again: {error}"));
    }
    phase.set(Phase::Rest);
    sleep(QUIET).await;
    check_objects(&cluster, &ledger).await;
    phase.set(Phase::Close);
    for client in clients {
        let abort = client.abort_handle();
        if timeout(PATIENCE, client).await.is_err() {
            abort.abort();
            ledger.problem(format!("a client was not done {} s after its last call", (QUIET + PATIENCE).as_secs()));
        }
    }
    sleep(Duration::from_secs(1)).await;
    check_empty(&cluster, &ledger).await;
    ledger.close();
    let trace = cluster.trace();
    drop(world);
    Outcome { seed, totals: ledger.totals(), problems: ledger.problems(), trace }
}

/// The numbers of a task; a problem, and zeros, if it does not say them.
async fn numbers(cluster: &SimCluster, ledger: &Ledger, i: usize) -> ServerStats {
    let asked = match cluster.task(i) {
        Some(server) => timeout(Duration::from_secs(1), server.stats()).await,
        None => Ok(Err(remex::Error::new(ErrorCode::Unavailable, "it is not up"))),
    };
    match asked {
        Ok(Ok(stats)) => stats,
        Ok(Err(error)) => {
            ledger.problem(format!("task {i} does not say its numbers: {error}"));
            ServerStats::default()
        }
        Err(_) => {
            ledger.problem(format!("task {i} does not say its numbers within a second"));
            ServerStats::default()
        }
    }
}

/// All references are gone, all deadlines and leases over, contexts are open: of each a task has the chain that is ready, and
/// perhaps the chain of the last op.
async fn check_objects(cluster: &SimCluster, ledger: &Ledger) {
    for i in 0..cluster.tasks() {
        let stats = numbers(cluster, ledger, i).await;
        let leaked = stats.objects.saturating_sub(2 * stats.contexts) + stats.jobs;
        if leaked > 0 {
            ledger.leaked(leaked, format!("task {i} still has {stats:?} when nobody refers to anything"));
        }
    }
}

/// All contexts are closed.
async fn check_empty(cluster: &SimCluster, ledger: &Ledger) {
    for i in 0..cluster.tasks() {
        let stats = numbers(cluster, ledger, i).await;
        let leaked = stats.objects + stats.jobs + stats.contexts;
        if leaked > 0 {
            ledger.leaked(leaked, format!("task {i} still has {stats:?} when all contexts are closed"));
        }
    }
}
