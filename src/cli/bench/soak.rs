//! The soak: connections, contexts, programs and objects that come and go for as long as it is told. Memory and
//! descriptors of both processes must not grow.

use std::time::Duration;

use remex::{
    ClusterConfig, ContextConfig, ContextHandle, DType, RegisterFunction, RemoteExecute, Server, ServerHandle, Tensor,
    TensorMetadata,
};
use tokio::time::Instant;

use super::{
    Args, Failure,
    footprint::{Footprint, megabytes},
    process::Process,
    report::Report,
    worker::{SMALL, TASK},
};

/// How long it goes on unless it is told otherwise.
pub(super) const DURATION: Duration = Duration::from_secs(600);
/// Contexts that one connection makes, one after the other.
const CONTEXTS: usize = 4;
/// Calls in a context.
const CALLS: usize = 200;
/// Resident memory may grow by a tenth and this much, from when everything has been used once: allocators keep what they
/// had at most.
const MARGIN: u64 = 32 << 20;
/// Descriptors may differ by as many as one connection takes on its way in or out.
const DESCRIPTORS: usize = 4;

/// Client and worker.
type Both = [(&'static str, Footprint); 2];

/// Churns, prints what both processes took at the start, in the middle and at the end, and fails if that grew.
pub(super) async fn run(args: &Args, worker: &Process) -> Result<(), Failure> {
    let duration = args.duration.unwrap_or(DURATION);
    let (mut calls, mut connections) = (0, 0);
    let mut churn = async |until: Instant| {
        loop {
            calls += connection(worker).await?;
            connections += 1;
            if Instant::now() >= until {
                return footprints(worker);
            }
        }
    };
    // What is loaded, and what allocators and pools keep, is there after a tenth of the time.
    let begin = Instant::now();
    let start = churn(begin + duration / 10).await?;
    let middle = churn(begin + duration / 2).await?;
    let end = churn(begin + duration).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let mut report =
        Report::new(calls as f64, "calls").with("seconds", seconds).with("connections", f64::from(connections));
    for (when, both) in [("start", &start), ("middle", &middle), ("end", &end)] {
        for (side, footprint) in both {
            report = report.with(&format!("rss_mb_{side}_{when}"), megabytes(footprint.rss));
            report = report.with(&format!("descriptors_{side}_{when}"), footprint.descriptors as f64);
        }
    }
    report.print(args)?;
    start.iter().zip(&end).try_for_each(|((side, start), (_, end))| check(side, *start, *end))
}

fn footprints(worker: &Process) -> Result<Both, Failure> {
    Ok([("client", Footprint::of(std::process::id())?), ("worker", Footprint::of(worker.id())?)])
}

/// Fails if a process has grown.
fn check(side: &str, start: Footprint, end: Footprint) -> Result<(), Failure> {
    let most = start.rss + start.rss / 10 + MARGIN;
    if end.rss > most {
        let (start, end, most) = (megabytes(start.rss), megabytes(end.rss), megabytes(most));
        return Err(Failure::failed(format!(
            "the {side}'s memory grew from {start:.1} to {end:.1} MB; at most {most:.1} are in order"
        )));
    }
    if end.descriptors > start.descriptors + DESCRIPTORS {
        let (start, end) = (start.descriptors, end.descriptors);
        return Err(Failure::failed(format!("the {side} had {start} descriptors and has {end}: it leaks some")));
    }
    Ok(())
}

/// A connection with several contexts; gives the number of calls.
async fn connection(worker: &Process) -> Result<usize, Failure> {
    let mut cluster = ClusterConfig::new();
    cluster.add(TASK.parse().map_err(Failure::failed)?, Some(worker.address.clone())).map_err(Failure::failed)?;
    let server: ServerHandle = Server::builder().start().await?;
    let mut calls = 0;
    for round in 0..CONTEXTS {
        let context = server.create_context(ContextConfig::new(cluster.clone())).await?;
        calls += churn(&context).await?;
        // The last one goes with its connection.
        if round + 1 < CONTEXTS {
            context.close().await?;
        }
    }
    server.stop().await?;
    Ok(calls)
}

/// Objects of several sizes and programs that come and go in a context.
async fn churn(context: &ContextHandle) -> Result<usize, Failure> {
    let device = context.device_of(TASK)?;
    let mut kept = Vec::new();
    for round in 0..CALLS / 20 {
        let program = context.register(TASK, RegisterFunction::native(SMALL)).await?;
        let elements = [4, 1 << 10, 1 << 14, 1 << 18][round % 4];
        let tensor = Tensor::zeros(TensorMetadata::new(DType::F32, [elements])).map_err(Failure::failed)?;
        let input = context.put(&device, tensor).await?;
        let mut last = input.clone();
        for _ in 0..20 {
            let call = context.execute(RemoteExecute::new(&program).inputs([&last, &input]).handles(1)).await?;
            last = call.outputs[0].clone();
        }
        if context.fetch(&last).await?.metadata().shape.dims() != [elements] {
            return Err(Failure::failed("a fetch brought another shape than was put"));
        }
        match round % 3 {
            0 => drop(context.delete(&[last]).await?),
            1 => kept.push(last),
            _ => context.unregister(&program).await?,
        }
    }
    Ok(CALLS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_beyond_the_margin_is_a_failure() {
        let of = |rss, descriptors| Footprint { rss, descriptors };
        let start = of(100 << 20, 10);
        assert!(check("worker", start, of(141 << 20, 14)).is_ok() && check("worker", start, of(50 << 20, 3)).is_ok());
        let grown = format!("{:?}", check("worker", start, of(143 << 20, 10)).unwrap_err());
        assert!(grown.contains("the worker's memory grew from 104.9 to 149.9 MB"), "{grown}");
        let leaked = format!("{:?}", check("client", start, of(1, 15)).unwrap_err());
        assert!(leaked.contains("the client had 10 descriptors and has 15"), "{leaked}");
    }
}
