//! `remex bench`: what a call costs, measured between two processes.
//!
//! The program starts itself again as a worker and ends it afterwards. One line of JSON is printed for a measurement,
//! with the names and units that other systems' benches of the same workloads use, so that ratios can be taken. Client
//! and worker have an actix `System` on one thread each. In W5 there are four such processes, all alike: this one and
//! three that it starts. `growth` measures W2 again and again, with more and more of everything. `memory`, `soak` and
//! `stuck` measure no time: the first says what an object and a call take, the others show that memory does not grow.
//! `pair` is one process, whose instructions can be counted.
//!
//! Two variables, as those benches have them: `PEER_PIN=0,1` puts the client on core 0 and the worker on core 1;
//! `PEER_VIA=IP` lets the worker listen on all interfaces and the client connect to that address, for a slow link.

mod beside;
mod client;
mod footprint;
mod growth;
mod memory;
mod meter;
mod pair;
mod process;
mod raw;
mod report;
mod soak;
mod stuck;
mod targets;
mod w1;
mod w2;
mod w3;
mod w4;
mod w5;
mod worker;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::ValueEnum;
use remex::actors::fabric::FabricError;

use super::{Failure, parse, system};
use client::Client;
use process::Process;
use report::Report;

/// Arguments.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure
    #[arg(ignore_case = true)]
    workload: Workload,
    /// How many calls; W1: 20000, W2 and growth: 100000, W3: 1000, W4 with --calls: 2000, memory: 100000 in flight
    #[arg(long)]
    n: Option<NonZeroUsize>,
    /// W2, pair: how many calls are in flight at one time
    #[arg(long, default_value = "1024")]
    window: NonZeroUsize,
    /// W4, W5: how many bytes
    #[arg(long, value_name = "BYTES", default_value = "67108864")]
    size: NonZeroUsize,
    /// W3, W4, W5, growth: how often; the median counts
    #[arg(long, default_value = "5")]
    reps: NonZeroUsize,
    /// W4: small calls one at a time while the transfer goes on, beside the same without one
    #[arg(long = "calls", conflicts_with = "raw")]
    beside: bool,
    /// soak, stuck: how long it goes on; soak: 10m, stuck: 10s
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    duration: Option<Duration>,
    /// stuck: how many bytes the worker's objects may take [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    memory: Option<u64>,
    /// growth: most objects alive; memory: how many. Ten million take some gigabytes
    #[arg(long, value_name = "N", default_value = "1000000")]
    objects: NonZeroUsize,
    /// growth: of this alone
    #[arg(long, value_name = "WHAT")]
    only: Option<growth::Dimension>,
    /// growth: with so many of them alone
    #[arg(long, value_name = "N", requires = "only")]
    at: Option<NonZeroUsize>,
    /// growth: a line of JSON for each figure instead of a table
    #[arg(long)]
    json: bool,
    /// growth: draw the figures into this file too
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Over a Unix socket instead of TCP. Without it TCP is measured, though tasks of one machine would use a Unix socket by
    /// themselves
    #[arg(long)]
    uds: bool,
    /// The same frames on the bare connection, without actors: the limit
    #[arg(long)]
    raw: bool,
    /// Where the other process listens
    #[arg(long, hide = true, default_value = "tcp://127.0.0.1:0")]
    listen: String,
    /// Which of the other processes it is
    #[arg(long, hide = true, default_value = "0")]
    index: u16,
    #[command(flatten)]
    shape: worker::Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// One small call at a time: microseconds, median
    #[value(name = "W1")]
    W1,
    /// Many small calls in flight: calls a second
    #[value(name = "W2")]
    W2,
    /// A chain of calls, each with the last one's output, sent in one go: milliseconds
    #[value(name = "W3")]
    W3,
    /// A large tensor from the worker: gigabytes a second
    #[value(name = "W4")]
    W4,
    /// A vector of f32 summed over four processes: milliseconds
    #[value(name = "W5")]
    W5,
    /// W2 with more and more objects, calls in flight, contexts, receivers, devices and programs: microseconds of processor
    #[value(name = "growth")]
    Growth,
    /// What a small object takes on the worker, and a call in flight on either side: bytes
    #[value(name = "memory")]
    Memory,
    /// Small calls between client and worker on one thread, the same every time: for counting instructions
    #[value(name = "pair")]
    Pair,
    /// Connections, contexts, programs and objects that come and go: fails if memory or descriptors grew
    #[value(name = "soak")]
    Soak,
    /// A worker on which nothing ends and a client that never stops: megabytes, second by second
    #[value(name = "stuck")]
    Stuck,
    /// The other process
    #[value(name = "worker", hide = true)]
    Worker,
    /// Another member of the four
    #[value(name = "member", hide = true)]
    Member,
}

impl Args {
    /// How many calls.
    fn calls(&self) -> usize {
        let default = match self.workload {
            Workload::W1 => 20_000,
            Workload::W2 | Workload::Growth | Workload::Memory => 100_000,
            Workload::W3 => 1_000,
            Workload::W4 => 2_000,
            Workload::Pair => 4_096,
            Workload::W5 | Workload::Soak | Workload::Stuck | Workload::Worker | Workload::Member => 1,
        };
        self.n.map_or(default, NonZeroUsize::get)
    }

    /// The name that figures are printed under.
    fn system(&self) -> String {
        format!("remex{}{}", if self.raw { "-raw" } else { "" }, if self.uds { "-uds" } else { "" })
    }
}

/// Measures and prints, or is the worker.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.workload {
        Workload::Worker => return worker::run(&args),
        Workload::Member => return w5::run_member(&args),
        Workload::W5 => return w5::run(&args)?.print(&args),
        Workload::Growth => return growth::run(&args),
        Workload::Memory => return memory::run(&args),
        Workload::Pair => return system::block_on(pair::run(&args)),
        Workload::Soak => {
            let worker = Process::start(&args)?;
            return system::block_on(soak::run(&args, &worker));
        }
        Workload::Stuck => {
            let args = Args { memory: Some(args.memory.unwrap_or(stuck::BUDGET)), ..args };
            let worker = Process::start(&args)?;
            return system::block_on(stuck::run(&args, &worker));
        }
        _ => {}
    }
    let worker = Process::start(&args)?;
    let measured = system::block_on(async {
        if args.raw { raw::client::measure(&args, &worker).await } else { measure(&args, &worker).await }
    })?;
    measured.print(&args)
}

async fn measure(args: &Args, worker: &Process) -> Result<Report, Failure> {
    let client = Client::connect(worker).await?;
    let measured = match args.workload {
        Workload::W1 => w1::measure(args, &client, worker).await,
        Workload::W2 => w2::measure(args, &client, worker).await,
        Workload::W3 => w3::measure(args, &client, worker).await,
        Workload::W4 if args.beside => beside::measure(args, &client).await,
        // The others were told apart before.
        _ => w4::measure(args, &client).await,
    };
    client.stop().await?;
    measured
}

impl From<FabricError> for Failure {
    fn from(error: FabricError) -> Self {
        Self::failed(error)
    }
}
