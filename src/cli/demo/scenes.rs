//! What the client does: first one pipeline that is watched, then all workers at once.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use remex::{RemoteExecute, TensorHandle};
use tokio::time::Instant;

use super::{
    Failure,
    cluster::Cluster,
    digits::{Set, elements},
    log::{Entry, Log, Step, Who},
};

/// What the model said of the samples, and what happened meanwhile.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) answers: Vec<i64>,
    /// When the client began.
    pub(super) began: Instant,
    pub(super) entries: Vec<Entry>,
}

/// Stage 1 runs on worker 0, stage 2 on the next one. Both calls are sent before anything is waited for.
pub(super) async fn pipeline(cluster: &Cluster, samples: &Set) -> Result<Pipeline, Failure> {
    let second = 1 % cluster.workers.len();
    let (stage_1, stage_2) = (cluster.register(1, 0).await?, cluster.register(2, second).await?);
    let (context, log, client) = (&cluster.context, &cluster.log, Who::Client);
    log.open();
    let began = Instant::now();
    let image = context.put(&cluster.device(0)?, samples.images.clone()).await?;
    let size = samples.images.size_bytes();
    log.now(client, Who::Worker(0), Step::Put, format!("{} images, {size} bytes, are stored", samples.len()));
    let first = context.execute(RemoteExecute::new(&stage_1).input(&image).handles(1)).await?;
    // The input of this call does not exist yet, and will not be where the call goes.
    let last = context.execute(RemoteExecute::new(&stage_2).input(&first.outputs[0]).handles(1)).await?;
    let (features, digit) = (first.handles[0].clone(), last.handles[0].clone());
    let watching = join_all([
        watch(log.clone(), 1, "features", Who::Worker(0), features),
        watch(log.clone(), 2, "digit", Who::Worker(second), digit.clone()),
    ]);
    watching.await.into_iter().collect::<Result<Vec<()>, Failure>>()?;
    let fetched = digit.fetch().await?;
    let what = format!("digit: {} bytes, fetched", fetched.size_bytes());
    log.now(Who::Worker(second), client, Step::Fetched, what);
    cluster.caught_up().await?;
    Ok(Pipeline { answers: elements(&fetched)?, began, entries: log.close() })
}

/// Notes when what is promised of a stage's output comes true.
async fn watch(log: Log, stage: u8, name: &str, worker: Who, handle: TensorHandle) -> Result<(), Failure> {
    let metadata = handle.metadata().await?;
    log.now(worker, Who::Client, Step::Known(stage), format!("{name} will be {metadata}"));
    let tensor = handle.tensor().await?;
    let what = format!("{name} is ready: {} bytes, which stay there", tensor.size_bytes);
    log.now(worker, Who::Client, Step::Ready(stage), what);
    Ok(())
}

/// A set cut into a part for each worker: stage 1 of a part runs there, stage 2 on the next worker, all parts at one time.
/// Gives the answers and how long it took.
pub(super) async fn everywhere(cluster: &Cluster, set: &Set) -> Result<(Vec<i64>, Duration), Failure> {
    let count = cluster.workers.len();
    let stages_1 = try_join_all((0..count).map(|worker| cluster.register(1, worker))).await?;
    let stages_2 = try_join_all((0..count).map(|worker| cluster.register(2, worker))).await?;
    let began = Instant::now();
    let parts = set.parts(count)?.into_iter().enumerate().map(async |(worker, part)| {
        let context = &cluster.context;
        let image = context.put(&cluster.device(worker)?, part.images).await?;
        let first = context.execute(RemoteExecute::new(&stages_1[worker]).input(&image).handles(1)).await?;
        let next = &stages_2[(worker + 1) % count];
        let last = context.execute(RemoteExecute::new(next).input(&first.outputs[0]).handles(1)).await?;
        elements::<i64>(&last.handles[0].fetch().await?)
    });
    let answers = try_join_all(parts).await?.concat();
    Ok((answers, began.elapsed()))
}
