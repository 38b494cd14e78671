//! W5: a vector of f32 summed over four processes.
//!
//! This process is member 0 and starts the three others. Each has a server and a context that all four make together;
//! this one tells the others where everyone listens.

use std::{io, time::Duration};

use remex::{
    Address, ClusterConfig, ContextConfig, ContextHandle, Reduction, Server, ServerHandle, TaskName, Tensor,
    protocol::ids::ContextId,
};
use tokio::time::Instant;

use super::{
    Args, Failure,
    process::{Endpoint, Process},
    report::{Report, median},
    system,
    worker::{announce, stdin_end},
};

/// How many processes there are.
const MEMBERS: u16 = 4;
/// The name of their group.
const GROUP: &str = "all";
/// An element is less than this before it is summed, so that sums are exact.
const CYCLE: usize = 1 << 12;

/// Starts the other members, takes part, and measures here.
pub(super) fn run(args: &Args) -> Result<Report, Failure> {
    if args.raw {
        return Err(Failure::usage("W5 has no --raw: leave it out, or take W1, W2, W3 or W4"));
    }
    elements(args)?;
    let endpoint = Endpoint::new(args, 0);
    let others: Result<Vec<_>, _> = (1..MEMBERS).map(|index| Process::start_as(args, "member", index)).collect();
    let mut others = others?;
    system::block_on(async {
        let server = start(0, &endpoint.listen).await?;
        let own = server.address().and_then(|address| endpoint.reached_at(&address.to_string()));
        let own = own.ok_or_else(|| Failure::failed("this process has no address that the others can reach"))?;
        let addresses: Vec<_> = [own].into_iter().chain(others.iter().map(|other| other.address.clone())).collect();
        let line = addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(" ");
        others.iter_mut().try_for_each(|other| other.tell(&line))?;
        let context = join(&server, addresses).await?;
        let times = reduce(args, &context, 0).await?;
        // All have left the last barrier of `reduce` before this process goes.
        context.collective(GROUP)?.barrier("end").await?;
        context.close().await?;
        server.stop().await?;
        Ok(report(args, times))
    })
}

/// Takes part as another process, until stdin ends.
pub(super) fn run_member(args: &Args) -> Result<(), Failure> {
    system::block_on(async {
        let server = start(args.index, &args.listen).await?;
        if let Some(address) = server.address() {
            announce(address)?;
        }
        let mut line = String::new();
        io::stdin().read_line(&mut line).map_err(|e| Failure::failed(format!("cannot read from stdin: {e}")))?;
        let addresses: Result<Vec<_>, _> = line.split_whitespace().map(str::parse).collect();
        let (addresses, mut end) = (addresses.map_err(Failure::usage)?, stdin_end());
        let work = async {
            let context = join(&server, addresses).await?;
            reduce(args, &context, args.index).await?;
            // The first process may leave it, and end, before this one has heard of all.
            let _ = context.collective(GROUP)?.barrier("end").await;
            Ok::<_, Failure>(context)
        };
        // The context is kept to the end: the others may not be done.
        let _context = tokio::select! {
            biased;
            done = work => done?,
            _ = &mut end => return Ok(()),
        };
        let _ = end.await;
        Ok(())
    })
}

async fn start(index: u16, listen: &str) -> Result<ServerHandle, Failure> {
    Ok(Server::builder().task(name(index)).listen(listen).prefer_unix(false).start().await?)
}

fn name(index: u16) -> String {
    format!("/job:member/task:{index}")
}

/// The context of all, who listen there.
async fn join(server: &ServerHandle, addresses: Vec<Address>) -> Result<ContextHandle, Failure> {
    let names: Result<Vec<TaskName>, _> = (0..MEMBERS).map(|index| name(index).parse()).collect();
    let names = names.map_err(Failure::failed)?;
    if addresses.len() != names.len() {
        let is = addresses.len();
        return Err(Failure::usage(format!("a member is told {is} addresses; it should be {MEMBERS}, on one line")));
    }
    let mut cluster = ClusterConfig::new();
    for (name, address) in names.iter().zip(addresses) {
        cluster.add(name.clone(), Some(address)).map_err(Failure::failed)?;
    }
    let config = ContextConfig::new(cluster).multi_client(ContextId(5), names[0].clone());
    Ok(server.create_context(config.group(GROUP, names)).await?)
}

/// From a barrier until the whole sum is here, in memory of its own; how long, for each time but the first.
async fn reduce(args: &Args, context: &ContextHandle, index: u16) -> Result<Vec<Duration>, Failure> {
    let (all, elements) = (context.collective(GROUP)?, elements(args)?);
    let own: Vec<f32> = (0..elements).map(|i| (i % CYCLE) as f32 + f32::from(index)).collect();
    let own = Tensor::from_slice([elements as u64], &own).map_err(Failure::failed)?;
    let mut times = Vec::new();
    for rep in 0..=args.reps.get() {
        all.barrier("begin").await?;
        let began = Instant::now();
        let sum = all.all_reduce(Reduction::Sum, "w5", own.clone()).await?;
        if rep > 0 {
            times.push(began.elapsed());
        }
        check(&sum, elements)?;
    }
    // Nobody says a figure before all have found their sums right.
    all.barrier("right").await?;
    Ok(times)
}

/// Every element is the sum of all members' ones.
fn check(sum: &Tensor, elements: usize) -> Result<(), Failure> {
    let sum = sum.elements::<f32>().map_err(Failure::failed)?;
    let (members, indices) = (f32::from(MEMBERS), f32::from(MEMBERS * (MEMBERS - 1) / 2));
    let should = |i: usize| members * (i % CYCLE) as f32 + indices;
    if sum.len() != elements {
        return Err(Failure::failed(format!("{} elements came, it should be {elements}", sum.len())));
    }
    match sum.iter().enumerate().find(|(i, is)| **is != should(*i)) {
        Some((i, is)) => Err(Failure::failed(format!("element {i} of the sum is {is}, it should be {}", should(i)))),
        None => Ok(()),
    }
}

/// How many there are in `--size` bytes.
fn elements(args: &Args) -> Result<usize, Failure> {
    match args.size.get() {
        size if size.is_multiple_of(size_of::<f32>()) => Ok(size / size_of::<f32>()),
        size => Err(Failure::usage(format!("--size is {size}; W5 sums f32, so it should be a multiple of 4"))),
    }
}

/// Milliseconds of the median, and the vector's bytes a second.
fn report(args: &Args, times: Vec<Duration>) -> Report {
    let (reps, best) = (times.len(), times.iter().min().copied().unwrap_or_default());
    let time = median(times).as_secs_f64();
    let report = Report::new(time * 1e3, "ms").with("bytes", args.size.get() as f64).with("reps", reps as f64);
    let report = report.with("ranks", f64::from(MEMBERS)).with("best_ms", best.as_secs_f64() * 1e3);
    report.with("algbw_GBps", args.size.get() as f64 / time / 1e9)
}
