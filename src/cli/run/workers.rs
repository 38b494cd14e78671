//! The workers of a run: some that are running already, or some inside this process.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use remex::{ClusterFile, ContextConfig, ContextHandle, Discovered, Server, ServerHandle, actors::fabric::Loopback};

use super::args::Args;
use crate::cli::Failure;

/// This process as a client, and the workers that it found.
pub(super) struct Workers {
    pub(super) found: Vec<Discovered>,
    client: ServerHandle,
    embedded: Vec<ServerHandle>,
}

impl Workers {
    /// Finds those of `cluster`, or those that `--connect` names, or starts so many as `--workers` says.
    pub(super) async fn start(args: &Args, cluster: Option<&ClusterFile>, wait: Duration) -> Result<Self, Failure> {
        let hub = Loopback::new();
        let mut embedded = Vec::new();
        let mut addresses = args.connect.clone();
        addresses.extend(cluster.into_iter().flat_map(ClusterFile::addresses).cloned());
        if addresses.is_empty() {
            for index in 0..args.workers {
                let worker = embed(&hub, index, args.workers).start().await?;
                addresses.extend(worker.address().cloned());
                embedded.push(worker);
            }
        }
        // It runs nothing itself.
        let client = Server::builder().threads(NonZeroUsize::MIN).fabric(Arc::new(hub)).start().await?;
        let found = client.discover(addresses, wait).await?;
        Ok(Self { found, client, embedded })
    }

    /// A context on all of them; on those of `config`, where it names any.
    pub(super) async fn context(&self, mut config: ContextConfig) -> Result<ContextHandle, Failure> {
        if config.cluster.tasks().is_empty() {
            for Discovered { task, address, .. } in &self.found {
                config.cluster.add(task.clone(), Some(address.clone())).map_err(Failure::failed)?;
            }
        }
        Ok(self.client.create_context(config).await?)
    }

    /// Ends the client and the workers inside this process.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        for server in [self.client].into_iter().chain(self.embedded) {
            server.stop().await?;
        }
        Ok(())
    }
}

/// One of `of` workers, which share the machine's cores.
fn embed(hub: &Loopback, index: u32, of: u32) -> remex::ServerBuilder {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = NonZeroUsize::new(cores / of as usize).unwrap_or(NonZeroUsize::MIN);
    let builder = Server::builder().task(format!("/job:worker/task:{index}")).threads(threads);
    builder.listen(format!("loopback:worker-{index}")).fabric(Arc::new(hub.clone()))
}
