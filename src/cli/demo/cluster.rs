//! The workers, in this process: each a thread and a server of its own, reached by TCP as if it were elsewhere.

use actix::{Actor, Addr};
use remex::{
    ClusterConfig, ContextConfig, ContextHandle, DeviceName, ProgramHandle, RegisterFunction, Server, ServerHandle,
};

use super::{
    Failure,
    digits::{STAGE_1, STAGE_2},
    log::{Caught, Log, Observer, Who},
    stages::{NAMES, Watched},
};

/// What the names of the workers begin with; a number follows.
pub(super) const JOB: &str = "/job:worker/task:";

/// The client, its workers and their context.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) client: ServerHandle,
    pub(super) workers: Vec<ServerHandle>,
    pub(super) context: ContextHandle,
    pub(super) log: Log,
    observers: Vec<Addr<Observer>>,
}

impl Cluster {
    /// Starts so many workers and makes a context of them.
    pub(super) async fn start(count: usize) -> Result<Self, Failure> {
        let log = Log::default();
        let (mut workers, mut observers, mut config) = (Vec::new(), Vec::new(), ClusterConfig::new());
        for worker in 0..count {
            let observer = Observer::new(Who::Worker(worker), log.clone()).start();
            let builder = Server::builder().task(format!("{JOB}{worker}")).listen("tcp://127.0.0.1:0");
            let builder = builder.compiler(Watched { worker, log: log.clone() });
            let server = builder.observer(observer.clone().recipient()).start_threaded().await?;
            config.add(server.task().clone(), server.address().cloned()).map_err(Failure::failed)?;
            workers.push(server);
            observers.push(observer);
        }
        let observer = Observer::new(Who::Client, log.clone()).start();
        let client = Server::builder().observer(observer.clone().recipient()).start().await?;
        observers.push(observer);
        let context = client.create_context(ContextConfig::new(config)).await?;
        Ok(Self { client, workers, context, log, observers })
    }

    /// Has a worker compile a stage, 1 or 2.
    pub(super) async fn register(&self, stage: usize, worker: usize) -> Result<ProgramHandle, Failure> {
        let bytes = if stage == 1 { STAGE_1 } else { STAGE_2 };
        let function = RegisterFunction::onnx(NAMES[stage - 1], bytes);
        Ok(self.context.register(&format!("{JOB}{worker}"), function).await?)
    }

    /// The device of a worker.
    pub(super) fn device(&self, worker: usize) -> Result<DeviceName, Failure> {
        Ok(self.context.device_of(&format!("{JOB}{worker}"))?)
    }

    /// Waits until what the tasks have told their observers is in the log.
    pub(super) async fn caught_up(&self) -> Result<(), Failure> {
        for observer in &self.observers {
            observer.send(Caught).await.map_err(Failure::failed)?;
        }
        Ok(())
    }

    /// Ends it all.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.context.close().await?;
        self.client.stop().await?;
        for worker in &self.workers {
            worker.stop().await?;
        }
        Ok(())
    }
}
