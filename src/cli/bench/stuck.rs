//! A worker on which no program ever ends, and a client that sends for ever: what both take, second by second.

use std::{collections::VecDeque, time::Duration};

use remex::{
    ClusterConfig, ContextConfig, ContextHandle, DType, Execution, ObjectRef, ProgramHandle, RegisterFunction,
    RemoteExecute, Server, Tensor, TensorMetadata,
};
use tokio::time::{Instant, timeout};

use super::{
    Args, Failure,
    footprint::{Footprint, megabytes},
    process::Process,
    report::Report,
    worker::{STUCK, TASK},
};

/// How long it goes on unless it is told otherwise.
const DURATION: Duration = Duration::from_secs(10);
/// The worker's memory budget unless it is told otherwise.
pub(super) const BUDGET: u64 = 64 << 20;
/// Elements of each input: 64 KiB.
const ELEMENTS: u64 = 16 << 10;
/// What a process may take beyond budget and window: code, stacks, and what allocators keep.
const MARGIN: u64 = 64 << 20;
/// Who is not admitted after so long tries again.
const PATIENCE: Duration = Duration::from_millis(20);

/// Sends and prints, a line a second; fails if a process takes more than it may.
pub(super) async fn run(args: &Args, worker: &Process) -> Result<(), Failure> {
    let mut cluster = ClusterConfig::new();
    cluster.add(TASK.parse().map_err(Failure::failed)?, Some(worker.address.clone())).map_err(Failure::failed)?;
    let server = Server::builder().start().await?;
    let context = server.create_context(ContextConfig::new(cluster)).await?;
    let stuck = context.register(TASK, RegisterFunction::native(STUCK)).await?;
    let processes = [("client", std::process::id()), ("worker", worker.id())];
    let start = processes.map(|(_, pid)| Footprint::of(pid));
    let (begin, until) = (Instant::now(), args.duration.unwrap_or(DURATION));
    let (mut admitted, mut refused, mut second) = (VecDeque::new(), 0u64, 0);
    while begin.elapsed() < until {
        match timeout(PATIENCE, send(&context, &stuck)).await {
            Ok(sent) => admitted.push_back(sent?),
            Err(_) => refused += 1,
        }
        if begin.elapsed() < Duration::from_secs(second) {
            continue;
        }
        let mut report = Report::new(second as f64, "s");
        report = report.with("admitted", admitted.len() as f64).with("refused", refused as f64);
        for ((side, pid), start) in processes.iter().zip(&start) {
            let now = Footprint::of(*pid)?;
            report = report.with(&format!("rss_mb_{side}"), megabytes(now.rss));
            let start = start.as_ref().map_or(0, |start| start.rss);
            let most = start + args.memory.unwrap_or(BUDGET) + remex::Credits::default().bytes + MARGIN;
            if now.rss > most {
                let (now, most) = (megabytes(now.rss), megabytes(most));
                return Err(Failure::failed(format!("the {side} takes {now:.1} MB; it may take {most:.1}")));
            }
        }
        report.print(args)?;
        second += 1;
    }
    // Not in good order: that would wait for what never ends.
    Ok(())
}

async fn send(context: &ContextHandle, stuck: &ProgramHandle) -> remex::Result<(ObjectRef, Execution)> {
    let tensor = Tensor::zeros(TensorMetadata::new(DType::F32, [ELEMENTS]));
    let tensor = tensor.map_err(|error| remex::Error::new(remex::ErrorCode::Internal, error.to_string()))?;
    let input = context.put(&context.device_of(TASK)?, tensor).await?;
    let call = RemoteExecute::new(stuck).input(&input).deadline(Duration::from_secs(3600));
    Ok((input.clone(), context.execute(call).await?))
}
