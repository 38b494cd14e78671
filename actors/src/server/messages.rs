//! What a `Server` is told.

use std::{sync::Arc, time::Duration};

use actix::Message;
use remex_protocol::{
    DeviceName,
    cluster::{Address, ClusterConfig, CollectiveGroup, TaskName},
    ids::{ContextId, Incarnation},
};

use crate::{
    Result,
    context::{ContextShared, DEFAULT_DEADLINE, DistributedContext},
};

/// A context that is to be made on every task of a cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContextConfig {
    /// The tasks. Those without an address receive no calls.
    pub cluster: ClusterConfig,
    /// Tasks that do collectives together, the task that makes the context possibly among them. Default none.
    pub groups: Vec<CollectiveGroup>,
    /// How long a call may take unless it says otherwise. Default 60 s.
    pub default_deadline: Duration,
    /// After so long without a call or a keep-alive a task may collect the context; keep-alives are sent at half of it.
    /// Shorter frees sooner what a vanished client held, longer survives longer silence. Default 600 s.
    pub idle_timeout: Duration,
    /// How long to wait for tasks that are not there yet. Default 30 s.
    pub wait: Duration,
    /// Who makes it.
    pub mode: ContextMode,
}

/// Who makes a context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextMode {
    /// This task makes it on all the others, which need not do anything. It lives as long as this task wants it.
    #[default]
    SingleClient,
    /// Every task of the cluster makes it, with the same configuration: each calls the others as it likes. It lives on
    /// each task as long as that task wants it.
    MultiClient {
        /// Its number, the same for all.
        id: ContextId,
        /// The task of the cluster that compares the configurations and hands the tables out. It must listen.
        lead: TaskName,
    },
}

impl Default for ContextConfig {
    fn default() -> Self {
        Self::new(ClusterConfig::default())
    }
}

impl ContextConfig {
    /// A context on these tasks, with the defaults.
    pub fn new(cluster: ClusterConfig) -> Self {
        Self {
            cluster,
            groups: Vec::new(),
            default_deadline: DEFAULT_DEADLINE,
            idle_timeout: Duration::from_secs(600),
            wait: Duration::from_secs(30),
            mode: ContextMode::SingleClient,
        }
    }

    /// Adds a group for collectives, its members in the order of their numbers.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>, members: impl IntoIterator<Item = TaskName>) -> Self {
        self.groups.push(CollectiveGroup { name: name.into(), members: members.into_iter().collect() });
        self
    }

    /// Gives calls so long unless they say otherwise.
    #[must_use]
    pub fn default_deadline(mut self, limit: Duration) -> Self {
        self.default_deadline = limit;
        self
    }

    /// Lets tasks collect the context after so long without a sign of life.
    #[must_use]
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = limit;
        self
    }

    /// Lets every task of the cluster make the context, with the same configuration; `lead` compares them.
    #[must_use]
    pub fn multi_client(mut self, id: ContextId, lead: TaskName) -> Self {
        self.mode = ContextMode::MultiClient { id, lead };
        self
    }

    /// Waits so long for tasks that are not there yet.
    #[must_use]
    pub fn wait(mut self, limit: Duration) -> Self {
        self.wait = limit;
        self
    }
}

/// Makes a context on every task of a cluster, this one among them.
#[derive(Debug, Message)]
#[rtype(result = "Result<Created>")]
pub struct CreateContext(pub ContextConfig);

/// A context that was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// What its users share.
    pub shared: Arc<ContextShared>,
    /// The context on this task, as an actor.
    pub context: actix::Addr<DistributedContext>,
}

/// Closes a context that this task made, on every task.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<crate::Error>>")]
pub struct CloseEverywhere(pub ContextId);

/// Who is at these addresses, and what have they got? Waits for tasks that are not there yet.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Discovered>>")]
pub struct Discover {
    /// Where to look.
    pub addresses: Vec<Address>,
    /// How long to wait.
    pub wait: Duration,
}

/// A task that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Where.
    pub address: Address,
    /// Its name.
    pub task: TaskName,
    /// Which run of it.
    pub incarnation: Incarnation,
    /// Its devices.
    pub devices: Vec<DeviceName>,
}

/// Stops the server: what was admitted may finish until the time is over, then everything is given up.
#[derive(Debug, Message)]
#[rtype(result = "Result<()>")]
pub struct Stop {
    /// How long calls may go on.
    pub drain: Duration,
}
