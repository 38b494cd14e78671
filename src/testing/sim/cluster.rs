//! The simulated cluster: its tasks, its network, and what is done to them.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    rc::{Rc, Weak},
    time::Duration,
};

use remex_actors::{
    chance::Chance,
    fabric::simulated::{Death, Network, Slow, Trace},
};
use remex_protocol::cluster::{Address, ClusterConfig, TaskName};
use tokio::time::{Instant, sleep};

use super::{
    FaultPlan, SimClusterBuilder,
    builder::{Change, Started},
    clock,
    node::Node,
    timetable::{Event, Timetable},
};
use crate::{ContextConfig, ContextHandle, Error, ErrorCode, Result, Server, ServerHandle};

/// So many lines of the trace are shown when a simulation fails.
const SHOWN: usize = 40;

/// Tasks `/job:test/task:0` … with their real actors in the current `System`, on a paused clock and a network in memory, where
/// frames, links, tasks and programs fail as a seed decides. One seed is one run: the same [`trace`](Self::trace), byte for byte.
///
/// A task may die at any time and come back under the same name and address, with nothing that it knew. Handles that a dead
/// task gave out stay, and say so.
///
/// ```
/// # use remex::{prelude::*, testing::{Death, FaultPlan, SimCluster}};
/// # #[actix_rt::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let same = native(|x| Ok(x.to_vec())).outputs(1);
/// let cluster = SimCluster::builder(2).seed(4711).plan(FaultPlan::none()).program("same", same).start().await?;
/// let context = cluster.context(0).await?;
/// let same = context.register("/job:test/task:1", RegisterFunction::native("same")).await?;
/// let x = context.put(&context.device_of("/job:test/task:1")?, Tensor::scalar(1f32)?).await?;
/// cluster.kill(1, Death::Reset);
/// let second = std::time::Duration::from_secs(1);
/// if let Ok(call) = context.execute(RemoteExecute::new(&same).input(&x).deadline(second)).await {
///     assert!(call.chain.done().await.is_err());
/// }
/// cluster.restart(1).await?;
/// println!("{}", cluster.trace());
/// # Ok(())
/// # }
/// ```
///
/// When a test panics while it holds a cluster, the seed and the end of the trace are printed. Dropping the last clone kills all
/// tasks.
#[derive(Clone)]
#[must_use = "a dropped cluster is dead"]
pub struct SimCluster(Rc<Inner>);

struct Inner {
    seed: u64,
    plan: FaultPlan,
    /// Seeds of runs are drawn from it.
    chance: Chance,
    network: Network,
    nodes: Vec<Rc<Node>>,
    change: Vec<Box<Change>>,
    started: Vec<Box<Started>>,
    /// Nothing befalls anybody any more.
    calm: Cell<bool>,
    /// Runs whose memory was lost, by task.
    lost: RefCell<Vec<u32>>,
}

impl SimCluster {
    /// So many tasks, to be given programs, a seed and a plan.
    pub fn builder(tasks: usize) -> SimClusterBuilder {
        SimClusterBuilder::new(tasks)
    }

    pub(super) async fn start(builder: SimClusterBuilder) -> Result<Self> {
        let SimClusterBuilder { tasks, seed, plan, change, started } = builder;
        clock::stand_still().await;
        let chance = Chance::seeded(seed);
        let network = Network::new(chance.split(), FaultPlan::none().frames);
        // Half of the seeds see links of two connections.
        network.set_lanes(seed % 2 == 1);
        let timetable = Timetable::new(chance.split(), plan.clone(), tasks);
        let nodes = (0..tasks).map(|i| Rc::new(Node::new(i.to_string()))).collect();
        let (calm, lost) = (Cell::new(false), RefCell::new(vec![0; tasks]));
        let inner = Rc::new(Inner { seed, plan, chance, network, nodes, change, started, calm, lost });
        let this = Self(inner);
        for i in 0..tasks {
            this.restart(i).await?;
        }
        this.0.network.set_faults(this.0.plan.frames.clone());
        actix::spawn(drive(Rc::downgrade(&this.0), timetable));
        Ok(this)
    }

    /// What decides everything.
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// How many tasks it has, alive or dead.
    pub fn tasks(&self) -> usize {
        self.0.nodes.len()
    }

    /// The server of a task; `None` while it is dead, stops, or comes up.
    pub fn task(&self, i: usize) -> Option<ServerHandle> {
        self.0.nodes[i].handle()
    }

    /// The name of a task.
    pub fn name(&self, i: usize) -> TaskName {
        format!("/job:test/task:{i}").parse().expect("it is a task's name")
    }

    /// All tasks and where they listen.
    pub fn config(&self) -> ContextConfig {
        let tasks = 0..self.tasks();
        self.config_of(tasks)
    }

    /// Some of the tasks and where they listen.
    pub fn config_of(&self, tasks: impl IntoIterator<Item = usize>) -> ContextConfig {
        let config = tasks.into_iter().try_fold(ClusterConfig::new(), |config, i| {
            let address: Address = format!("loopback:{i}").parse().expect("it is an address");
            config.with(self.name(i), address)
        });
        ContextConfig::new(config.expect("a task is named once"))
    }

    /// A context of all tasks, made by a task that is alive.
    pub async fn context(&self, i: usize) -> Result<ContextHandle> {
        let server = self.task(i).ok_or_else(|| self.is_not_up(i))?;
        server.create_context(self.config()).await
    }

    fn is_not_up(&self, i: usize) -> Error {
        Error::new(ErrorCode::Unavailable, format!("{} is dead, or not up yet: restart it", self.name(i)))
    }

    /// Runs a future in a task: it dies with the task, and then gives `None`, as it does at once if the task is dead. It is under
    /// way whether or not anybody waits for it.
    pub fn spawn<F: Future<Output: 'static> + 'static>(
        &self,
        i: usize,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        self.0.nodes[i].spawn(future)
    }

    /// Kills a task: all that it runs is gone at once, without a word. Its peers see what `death` says. Of a dead one it changes
    /// nothing.
    pub fn kill(&self, i: usize, death: Death) {
        let node = &self.0.nodes[i];
        if node.is_alive() {
            self.note(format!("task {i} is killed ({death:?})"));
            self.0.lost.borrow_mut()[i] = node.lives();
            self.0.network.unplug(&node.name, death);
            node.end();
        }
    }

    /// Stops a task in good order, and then forgets all that is left of it.
    pub async fn stop_task(&self, i: usize) {
        let node = &self.0.nodes[i];
        let (life, Some(handle)) = (node.lives(), node.take_handle()) else { return };
        self.note(format!("task {i} stops"));
        self.0.lost.borrow_mut()[i] = life;
        let stopped = self.spawn(i, async move { handle.stop().await });
        let _ = stopped.await;
        if node.lives() == life && node.is_alive() {
            self.note(format!("task {i} has stopped"));
            self.0.network.unplug(&node.name, Death::Reset);
            node.end();
        }
    }

    /// Starts a dead task again, under the same name and address, with nothing that it knew. Of one that is alive it changes
    /// nothing. Fails if it is killed meanwhile.
    pub async fn restart(&self, i: usize) -> Result<()> {
        let node = self.0.nodes[i].clone();
        if node.is_alive() {
            return Ok(());
        }
        let (chance, yields, seed) = (self.0.chance.split(), self.0.plan.yields, self.0.chance.bits());
        let pool = self.0.plan.pool(chance.split());
        let yields = if self.0.calm.get() { 0.0 } else { yields };
        let life = node.begin(yields, chance);
        self.note(format!("task {i} starts, run {life}"));
        self.0.network.plug(&node.name);
        let inner = Rc::downgrade(&self.0);
        let started = node.spawn(async move {
            let gone = || Error::new(ErrorCode::Unavailable, "the simulation is over");
            let builder = {
                let inner = inner.upgrade().ok_or_else(gone)?;
                let builder = Server::builder().task(format!("/job:test/task:{i}")).listen(format!("loopback:{i}"));
                let builder = builder.fabric(inner.network.endpoint(i.to_string())).seed(seed).simulate_pool(pool);
                inner.change.iter().fold(builder, |builder, change| change(i, builder))
            };
            let handle = builder.start().await?;
            inner.upgrade().ok_or_else(gone)?.started.iter().for_each(|started| started(i, &handle));
            Ok::<_, Error>(handle)
        });
        let killed = || Error::new(ErrorCode::Unavailable, format!("task {i} was killed before it was up"));
        let handle = started.await.ok_or_else(killed)??;
        node.set_handle(life, handle).map_err(|_| killed())
    }

    /// Which run of a task this is, from 1.
    pub fn run(&self, i: usize) -> u32 {
        self.0.nodes[i].lives()
    }

    /// The last run of a task whose memory was lost, because it was stopped or killed; 0 if none was.
    pub fn last_lost_run(&self, i: usize) -> u32 {
        self.0.lost.borrow()[i]
    }

    /// Lets a task not run for so long. Its timers ring late then, and its peers hear nothing.
    pub fn stall(&self, i: usize, time: Duration) {
        self.note(format!("task {i} stalls for {} ms", time.as_millis()));
        self.0.nodes[i].stall(Instant::now() + time);
    }

    /// The first time from `at` on at which a task was running: `at` itself, unless it stalled.
    pub fn ran_after(&self, i: usize, at: Instant) -> Instant {
        self.0.nodes[i].ran_after(at)
    }

    /// Resets all connections between two tasks and lets none be made until the link is healed.
    pub fn break_link(&self, a: usize, b: usize) {
        self.note(format!("the link between {a} and {b} breaks"));
        self.0.network.break_link(&a.to_string(), &b.to_string());
    }

    /// Lets nothing arrive any more that a task says to another, and tells nobody, until the link is healed.
    pub fn silence(&self, from: usize, to: usize) {
        self.note(format!("the link from {from} to {to} goes silent"));
        self.0.network.silence(&from.to_string(), &to.to_string());
    }

    /// Lets two tasks connect again. A connection that went silent stays so to its end.
    pub fn heal_link(&self, a: usize, b: usize) {
        self.note(format!("the link between {a} and {b} is healed"));
        self.0.network.heal_link(&a.to_string(), &b.to_string());
    }

    /// Makes a task's links slow, or fast again.
    pub fn set_slow(&self, i: usize, slow: Option<Slow>) {
        self.note(match slow {
            None => format!("the links of task {i} are as before"),
            Some(Slow { latency, bandwidth: None }) => format!("the links of task {i} slow down by {latency:?}"),
            Some(Slow { latency, bandwidth: Some(rate) }) => {
                format!("the links of task {i} slow down by {latency:?}, to {rate} B/s")
            }
        });
        self.0.network.set_slow(&i.to_string(), slow);
    }

    /// Ends all faults: frames arrive, links heal, what stalls goes on, and the dead are started again. Nothing befalls anybody
    /// from now on, except what programs that hang have begun.
    pub async fn calm(&self) -> Result<()> {
        self.0.calm.set(true);
        self.note("all is calm".to_owned());
        self.0.network.set_faults(FaultPlan::none().frames);
        for i in 0..self.tasks() {
            self.0.network.set_slow(&i.to_string(), None);
            (0..i).for_each(|other| self.0.network.heal_link(&i.to_string(), &other.to_string()));
            self.0.nodes[i].go_on();
        }
        for i in 0..self.tasks() {
            while self.0.nodes[i].is_alive() && self.task(i).is_none() {
                // It stops, or comes up.
                self.settle().await;
            }
            self.restart(i).await?;
        }
        Ok(())
    }

    /// Writes a line into the trace.
    pub fn note(&self, text: impl Into<String>) {
        self.0.network.note(text);
    }

    /// All that has happened up to now.
    pub fn trace(&self) -> Trace {
        self.0.network.trace()
    }

    /// How much virtual time has passed.
    pub fn now(&self) -> Duration {
        self.0.network.now()
    }

    /// Lets everything run until nothing is left to do; a millisecond passes.
    pub async fn settle(&self) {
        self.advance(Duration::from_millis(1)).await;
    }

    /// Lets time pass.
    pub async fn advance(&self, time: Duration) {
        sleep(time).await;
    }

    /// Does what the plan says, and in the end undoes it.
    async fn befall(&self, event: Event, lasts: Duration) {
        let calm = || self.0.calm.get();
        match event {
            Event::Break(a, b) => self.break_link(a, b),
            Event::HalfOpen { from, to } => self.silence(from, to),
            Event::Slow(i, slow) => self.set_slow(i, Some(slow)),
            Event::Stop(i) => self.stop_task(i).await,
            Event::Kill(i, death) => self.kill(i, death),
            Event::Stall(i) => return self.stall(i, lasts),
        }
        sleep(lasts).await;
        match event {
            _ if calm() => {}
            Event::Break(a, b) | Event::HalfOpen { from: a, to: b } => self.heal_link(a, b),
            Event::Slow(i, _) => self.set_slow(i, None),
            // Killed again before it was up, it is started by that event.
            Event::Stop(i) | Event::Kill(i, _) => drop(self.restart(i).await),
            Event::Stall(_) => {}
        }
    }
}

/// Lets the plan's events happen, for as long as the cluster is there.
async fn drive(cluster: Weak<Inner>, timetable: Timetable) {
    while let Some(entry) = timetable.next() {
        sleep(entry.after).await;
        let Some(inner) = cluster.upgrade().filter(|inner| !inner.calm.get()) else { return };
        // Its own task: what lasts long does not keep the next event.
        actix::spawn(async move { SimCluster(inner).befall(entry.event, entry.lasts).await });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation failed; its seed is {}; the end of its trace:", self.seed);
            eprint!("{}", self.network.trace().tail(SHOWN));
        }
        for node in &self.nodes {
            self.network.unplug(&node.name, Death::Silent);
            node.end();
        }
    }
}

impl fmt::Debug for SimCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { seed, nodes, .. } = &*self.0;
        f.debug_struct("SimCluster").field("seed", seed).field("tasks", &nodes.len()).finish_non_exhaustive()
    }
}
