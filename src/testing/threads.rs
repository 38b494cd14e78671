//! Tasks with a thread and an actix `System` each, on real time and real sockets.

use remex_protocol::cluster::ClusterConfig;

use crate::{ContextConfig, ContextHandle, Result, Server, ServerBuilder, ServerHandle};

/// Tasks `/job:test/task:0` …, each with a thread and a `System` of its own, connected by TCP over loopback. For the few
/// tests that want real time: it is slower than a [`TestCluster`](super::TestCluster) and cannot be stepped.
#[derive(Debug)]
pub struct ThreadCluster {
    tasks: Vec<ServerHandle>,
    config: ClusterConfig,
}

impl ThreadCluster {
    /// Starts so many tasks; `change` may add programs to the builder of each.
    pub async fn start(tasks: usize, change: impl Fn(usize, ServerBuilder) -> ServerBuilder) -> Result<Self> {
        let mut cluster = Self { tasks: Vec::new(), config: ClusterConfig::new() };
        for i in 0..tasks {
            let builder = Server::builder().task(format!("/job:test/task:{i}")).listen("tcp://127.0.0.1:0");
            let task = change(i, builder.prefer_unix(false)).start_threaded().await?;
            let added = cluster.config.add(task.task().clone(), task.address().cloned());
            added.map_err(|error| crate::Error::new(crate::ErrorCode::AlreadyExists, error.to_string()))?;
            cluster.tasks.push(task);
        }
        Ok(cluster)
    }

    /// A task.
    pub fn task(&self, i: usize) -> &ServerHandle {
        &self.tasks[i]
    }

    /// A context of all tasks, made by task 0.
    pub async fn context(&self) -> Result<ContextHandle> {
        self.task(0).create_context(ContextConfig::new(self.config.clone())).await
    }

    /// Stops all tasks and ends their threads.
    pub async fn stop(self) -> Result<()> {
        for task in &self.tasks {
            task.stop().await?;
        }
        Ok(())
    }
}
