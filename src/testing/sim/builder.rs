//! Makes a simulated cluster.

use std::fmt;

use super::{FaultPlan, SimCluster};
use crate::{Executable, Result, ServerBuilder, ServerHandle};

pub(super) type Change = dyn Fn(usize, ServerBuilder) -> ServerBuilder;
pub(super) type Started = dyn Fn(usize, &ServerHandle);

/// Makes a simulated cluster.
#[must_use = "a builder does nothing until it is started"]
pub struct SimClusterBuilder {
    pub(super) tasks: usize,
    pub(super) seed: u64,
    pub(super) plan: FaultPlan,
    pub(super) change: Vec<Box<Change>>,
    pub(super) started: Vec<Box<Started>>,
}

impl SimClusterBuilder {
    pub(super) fn new(tasks: usize) -> Self {
        Self { tasks, seed: 0, plan: FaultPlan::none(), change: Vec::new(), started: Vec::new() }
    }

    /// What decides everything that is left to chance. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// What befalls the cluster. Default: nothing.
    pub fn plan(mut self, plan: FaultPlan) -> Self {
        self.plan = plan;
        self
    }

    /// Adds a native program to every task.
    pub fn program(self, name: &str, program: Executable) -> Self {
        let name = name.to_owned();
        self.each(move |_, builder| builder.program(name.clone(), program.clone()))
    }

    /// Changes the builder of each task, by its number, each time that it is started. It is called in the task: actors that it
    /// starts there live and die with the task.
    pub fn each(mut self, change: impl Fn(usize, ServerBuilder) -> ServerBuilder + 'static) -> Self {
        self.change.push(Box::new(change));
        self
    }

    /// Is called in each task, by its number, each time that its server is up: for actors of one's own that use it.
    pub fn started(mut self, started: impl Fn(usize, &ServerHandle) + 'static) -> Self {
        self.started.push(Box::new(started));
        self
    }

    /// Starts the tasks in the current `System`, pauses the clock, and lets the plan begin.
    pub async fn start(self) -> Result<SimCluster> {
        SimCluster::start(self).await
    }
}

impl fmt::Debug for SimClusterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tasks, seed, plan, .. } = self;
        f.debug_struct("SimClusterBuilder")
            .field("tasks", tasks)
            .field("seed", seed)
            .field("plan", plan)
            .finish_non_exhaustive()
    }
}
