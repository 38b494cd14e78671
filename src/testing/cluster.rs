//! Tasks in the current actix `System`, on one paused clock and a fabric in memory.

use std::{sync::Arc, time::Duration};

use remex_actors::fabric::{Fabric, Loopback};
use remex_protocol::cluster::ClusterConfig;

use super::ThreadCluster;
use crate::{ContextConfig, ContextHandle, Result, Server, ServerBuilder, ServerHandle};

type Change = dyn Fn(usize, ServerBuilder) -> ServerBuilder;

/// Tasks `/job:test/task:0` … in the current `System`: no sockets, no threads, and time that passes only when nothing is
/// left to do. Every frame is encoded and decoded as on a socket.
///
/// ```
/// # use remex::{prelude::*, testing::TestCluster};
/// # #[actix_rt::main]
/// # async fn main() -> remex::Result<()> {
/// let double = native(|x| Ok(vec![x[0].clone()])).outputs(1);
/// let cluster = TestCluster::builder(2).program("copy", double).start().await?;
/// let context = cluster.context().await?;
/// let copy = context.register("/job:test/task:1", RegisterFunction::native("copy")).await?;
/// # drop((copy, context));
/// cluster.stop().await
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a cluster must be stopped"]
pub struct TestCluster {
    tasks: Vec<ServerHandle>,
    hub: Loopback,
    config: ClusterConfig,
    stopped: bool,
}

/// Makes a cluster.
#[must_use = "a builder does nothing until it is started"]
pub struct TestClusterBuilder {
    tasks: usize,
    has_lanes: bool,
    change: Vec<Box<Change>>,
}

impl TestClusterBuilder {
    /// Adds a native program to every task.
    pub fn program(self, name: &str, program: crate::Executable) -> Self {
        let name = name.to_owned();
        self.each(move |_, builder| builder.program(name.clone(), program.clone()))
    }

    /// Changes the builder of each task, by its number.
    pub fn each(mut self, change: impl Fn(usize, ServerBuilder) -> ServerBuilder + 'static) -> Self {
        self.change.push(Box::new(change));
        self
    }

    /// Gives links a second connection for large payloads, as they have between processes.
    pub fn lanes(self) -> Self {
        Self { has_lanes: true, ..self }
    }

    /// Starts the tasks on the current arbiter and pauses the clock.
    pub async fn start(self) -> Result<TestCluster> {
        tokio::time::pause();
        let hub = if self.has_lanes { Loopback::new().with_lanes() } else { Loopback::new() };
        let (mut tasks, mut config) = (Vec::new(), ClusterConfig::new());
        for i in 0..self.tasks {
            let builder = Server::builder().task(task_name(i)).listen(format!("loopback:{i}"));
            let builder = builder.fabric(hub.endpoint(i.to_string())).run_on_arbiter();
            let task = self.change.iter().fold(builder, |builder, change| change(i, builder)).start().await?;
            let added = config.add(task.task().clone(), task.address().cloned());
            added.map_err(|error| crate::Error::new(crate::ErrorCode::AlreadyExists, error.to_string()))?;
            tasks.push(task);
        }
        Ok(TestCluster { tasks, hub, config, stopped: false })
    }
}

fn task_name(i: usize) -> String {
    format!("/job:test/task:{i}")
}

impl TestCluster {
    /// So many tasks without programs.
    pub async fn new(tasks: usize) -> Result<Self> {
        Self::builder(tasks).start().await
    }

    /// So many tasks, to be given programs.
    pub fn builder(tasks: usize) -> TestClusterBuilder {
        TestClusterBuilder { tasks, has_lanes: false, change: Vec::new() }
    }

    /// So many tasks, each with a thread and a `System` of its own, on real time and real sockets.
    pub async fn threads(tasks: usize) -> Result<ThreadCluster> {
        ThreadCluster::start(tasks, |_, builder| builder).await
    }

    /// A task.
    pub fn task(&self, i: usize) -> &ServerHandle {
        &self.tasks[i]
    }

    /// The cluster's fabric in the name of `name`: for a task that a test starts later, or a connection of its own. It
    /// listens at `loopback:…`.
    pub fn fabric(&self, name: impl Into<String>) -> Arc<dyn Fabric> {
        self.hub.endpoint(name)
    }

    /// All tasks and where they listen.
    pub fn config(&self) -> ContextConfig {
        ContextConfig::new(self.config.clone())
    }

    /// A context of all tasks, made by task 0.
    pub async fn context(&self) -> Result<ContextHandle> {
        self.task(0).create_context(self.config()).await
    }

    /// Ends the connections between two tasks, with all that is on its way, and lets no new ones be made.
    pub fn cut(&self, a: usize, b: usize) {
        self.hub.cut(&a.to_string(), &b.to_string());
    }

    /// Ends the lanes of the links between two tasks, with all that is on its way there; new ones can be made.
    pub fn cut_lanes(&self, a: usize, b: usize) {
        self.hub.cut_lanes(&a.to_string(), &b.to_string());
    }

    /// Keeps what is written to lanes from now on, and nothing else.
    pub fn hold_lanes(&self) {
        self.hub.hold_lanes();
    }

    /// Lets two tasks connect again.
    pub fn heal(&self, a: usize, b: usize) {
        self.hub.heal(&a.to_string(), &b.to_string());
    }

    /// Makes each frame arrive so much later.
    pub fn set_latency(&self, latency: Duration) {
        self.hub.set_latency(latency);
    }

    /// Keeps all frames from now on, to be delivered by [`step`](Self::step). Heartbeats are kept too: a link that is
    /// held for more than three seconds is lost.
    pub fn hold(&self) {
        self.hub.hold();
    }

    /// Delivers the oldest frame that is kept and lets the actors do what follows from it. Says which frame it was;
    /// `None` if none is kept.
    pub async fn step(&self) -> Option<String> {
        let frame = self.hub.step();
        self.settle().await;
        frame
    }

    /// Delivers all frames that are kept and keeps nothing more.
    pub fn release(&self) {
        self.hub.release();
    }

    /// Lets everything run until nothing is left to do; a millisecond passes.
    pub async fn settle(&self) {
        // A paused clock moves only when every task waits.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Lets time pass.
    pub async fn advance(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Stops all tasks. An error if a task does not end, or leaves an object or a call behind.
    pub async fn stop(mut self) -> Result<()> {
        self.stopped = true;
        for task in &self.tasks {
            task.stop().await?;
        }
        self.settle().await;
        for task in &self.tasks {
            if task.addr().connected() {
                let message = format!("{} was stopped and lives on", task.task());
                return Err(crate::Error::new(crate::ErrorCode::Internal, message));
            }
        }
        Ok(())
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        assert!(
            self.stopped || std::thread::panicking(),
            "a TestCluster was dropped with its actors alive: call stop()"
        );
    }
}

impl std::fmt::Debug for TestClusterBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestClusterBuilder").field("tasks", &self.tasks).finish_non_exhaustive()
    }
}
