//! `remex serve`: a worker with the built-in programs, until it is told to stop.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use remex::{Address, ConfigError, ErrorCode, Server, ServerBuilder, ServerHandle, TaskName};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Failure, output, parse, programs, system};

/// How long calls may go on after the first signal.
const DRAIN: Duration = Duration::from_secs(10);

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The job that the worker belongs to: it is called /job:JOB/task:INDEX
    #[arg(long, default_value = "worker")]
    job: String,
    /// Its number in the job; each worker has its own
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// Where it listens: tcp://HOST:PORT (port 0: any that is free) or unix:PATH
    #[arg(long, value_name = "ADDRESS", default_value = "tcp://127.0.0.1:0", value_parser = parse::address)]
    listen: Address,
    /// A file that describes the cluster: what the worker listens on, its devices and threads, and whom it may fetch from
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = ["listen", "threads", "allow_peer"])]
    config: Option<PathBuf>,
    /// How many programs run at one time [default: as many as the machine has cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Lets the worker fetch inputs from another one at this address; may be given more than once
    #[arg(long, value_name = "ADDRESS", value_parser = parse::address)]
    allow_peer: Vec<Address>,
    /// Listens by TCP alone: no Unix socket beside it for those on this machine, and none of others is dialled
    #[arg(long)]
    no_unix: bool,
    /// How many bytes its objects may take [default: half of the machine's memory]
    #[arg(long, value_name = "BYTES")]
    memory: Option<u64>,
    /// A folder for objects that memory has no room for; they are read back when they are used [default: none]
    #[arg(long, value_name = "PATH")]
    spill_dir: Option<PathBuf>,
    /// How many bytes of objects may be in that folder [default: 64 GiB]
    #[arg(long, value_name = "BYTES", requires = "spill_dir")]
    spill_limit: Option<u64>,
    /// What is logged on stderr: a level, or TARGET=LEVEL,... [default: RUST_LOG, or warn]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

const HELP: &str = "\
When it is ready it prints `listening on ADDRESS`. SIGTERM or SIGINT: it refuses new work, lets calls finish for 10 s, and \
ends with status 0; a second signal ends it at once, with status 1.

Programs that are built in (format `native`):
  add        two f32 tensors of one shape: their sum, element by element
  identity   one tensor of any kind: the same tensor
ONNX models are compiled as they are registered.

Whoever can reach the address can run programs here: listen on loopback, or on a network that you trust.";

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    log(args.log.as_deref())?;
    let task = format!("/job:{}/task:{}", args.job, args.index);
    task.parse::<TaskName>().map_err(|error| Failure::usage(format!("--job {}: {error}", args.job)))?;
    system::block_on(serve(task, args))
}

/// Logs to stderr from now on.
fn log(filter: Option<&str>) -> Result<(), Failure> {
    let (from, text) = match (filter, std::env::var("RUST_LOG")) {
        (Some(filter), _) => ("--log", filter.to_owned()),
        (None, Ok(filter)) => ("RUST_LOG", filter),
        (None, Err(_)) => ("--log", "warn".to_owned()),
    };
    let filter = EnvFilter::try_new(&text).map_err(|error| {
        Failure::usage(format!("{from}: {text:?} is no filter ({error}): write a level like info, or TARGET=LEVEL,..."))
    })?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

async fn serve(task: String, args: Args) -> Result<(), Failure> {
    // Before anything can be seen of the worker: a signal must not end it the hard way from then on.
    let mut signals = Signals::new()?;
    let mut builder = builder(task, &args)?;
    builder = programs::built_in().into_iter().fold(builder, |builder, (name, run)| builder.program(name, run));
    let server = builder.start().await.map_err(|error| match error.code() {
        ErrorCode::InvalidArgument => Failure::usage(error.message()),
        _ => Failure::failed(error.message()),
    })?;
    let address = server.address().map(Address::to_string).unwrap_or_default();
    if !server.address().is_some_and(Address::is_local) {
        tracing::warn!(%address, "whoever can reach this address can run programs here");
    }
    output::line(format_args!("listening on {address}"))?;
    let signal = signals.next().await;
    tracing::info!(signal, "draining");
    drain(&server, signals).await
}

/// The worker as the file says, or as the arguments do.
fn builder(task: String, args: &Args) -> Result<ServerBuilder, Failure> {
    if let Some(file) = &args.config {
        let named = |error: ConfigError| Failure::usage(format!("{}: {error}", file.display()));
        let builder = parse::cluster(file)?.server(&args.job, args.index).map_err(named)?;
        return Ok(with_both(builder, args));
    }
    let builder = Server::builder().task(task).listen(args.listen.to_string());
    let builder = args.threads.into_iter().fold(builder, ServerBuilder::threads);
    let builder = with_both(builder, args);
    Ok(args.allow_peer.iter().fold(builder, |builder, peer| builder.allow_peer(peer.to_string())))
}

/// What is said beside a file as well: how much memory it has, where what does not fit goes, and whether TCP is all.
fn with_both(builder: ServerBuilder, args: &Args) -> ServerBuilder {
    let builder = if args.no_unix { builder.prefer_unix(false) } else { builder };
    let builder = args.memory.into_iter().fold(builder, ServerBuilder::memory_budget);
    let builder = args.spill_dir.iter().fold(builder, ServerBuilder::spill_dir);
    args.spill_limit.into_iter().fold(builder, ServerBuilder::spill_limit)
}

async fn drain(server: &ServerHandle, mut signals: Signals) -> Result<(), Failure> {
    tokio::select! {
        biased;
        signal = signals.next() => {
            // The calls are given up; the file of a socket is removed all the same.
            server.stop_listening().await;
            Err(Failure::failed(format!("{signal} came while calls were being finished: they were given up")))
        }
        drained = server.drain(DRAIN) => Ok(drained?),
    }
}

/// The signals that end a worker.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::failed(format!("cannot wait for signals: {error}")));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for one and says which.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
