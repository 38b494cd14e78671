//! The other processes.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use remex::Address;
use tokio::time::Instant;

use super::{Args, Failure};

/// What a process writes before its address.
pub(super) const READY: &str = "LISTEN ";

/// A process that is to end in good order and has not after so long is killed.
const END_WITHIN: Duration = Duration::from_secs(10);

/// A process that runs. Dropping it ends it; it also ends by itself when its stdin does, so with its parent.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pub(super) address: Address,
    /// Of all its tasks, that one first.
    pub(super) addresses: Vec<Address>,
    /// Its socket's file goes with it.
    _endpoint: Endpoint,
}

impl Process {
    /// Starts this program again, as a worker, and waits until it listens.
    pub(super) fn start(args: &Args) -> Result<Self, Failure> {
        Self::start_as(args, "worker", 0)
    }

    /// Starts this program again, in this role and with this number in it, and waits until it listens.
    pub(super) fn start_as(args: &Args, role: &str, index: u16) -> Result<Self, Failure> {
        let (own_core, other_core) = cores()?;
        if let Some(core) = own_core {
            pin_self(&core)?;
        }
        let endpoint = Endpoint::new(args, index);
        let program = env::current_exe().map_err(|e| Failure::failed(format!("cannot find this program: {e}")))?;
        let mut command = match other_core {
            // `taskset` becomes the program, so the child's id is the program's.
            Some(core) => {
                let mut taskset = Command::new("taskset");
                taskset.args(["-c", &core]).arg(program);
                taskset
            }
            None => Command::new(program),
        };
        command.args(["bench", role, "--listen", &endpoint.listen, "--index", &index.to_string()]);
        command.args(["--size", &args.size.to_string(), "--reps", &args.reps.to_string()]);
        command.args(args.shape.words());
        if let Some(bytes) = args.memory {
            command.args(["--memory", &bytes.to_string()]);
        }
        if args.raw {
            command.arg("--raw");
        }
        let failed = |e| Failure::failed(format!("cannot start a {role}: {e}"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        }
        let reached = |said: &str| said.split_whitespace().map(|address| endpoint.reached_at(address)).collect();
        let addresses: Option<Vec<_>> = line.strip_prefix(READY).and_then(reached);
        match addresses.and_then(|addresses| Some((addresses.first()?.clone(), addresses))) {
            Some((address, addresses)) => Ok(Self { child, address, addresses, _endpoint: endpoint }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(Failure::failed(format!("the {role} ended, or said {line:?} instead of its address")))
            }
        }
    }

    /// Writes a line to its stdin.
    pub(super) fn tell(&mut self, line: &str) -> Result<(), Failure> {
        let Some(stdin) = &mut self.child.stdin else { return Ok(()) };
        let told = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        told.map_err(|e| Failure::failed(format!("process {} has ended: {e}", self.child.id())))
    }

    /// Ends it in good order, if it will: then whoever watches it, a profiler say, has all of it.
    pub(super) async fn end(mut self) {
        drop(self.child.stdin.take());
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < END_WITHIN {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a process of the bench listens. Dropping it removes the socket's file.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) listen: String,
    via: Option<String>,
    socket: Option<PathBuf>,
}

impl Endpoint {
    /// That of the process with this number.
    pub(super) fn new(args: &Args, index: u16) -> Self {
        let via = env::var("PEER_VIA").ok().filter(|_| !args.uds);
        let name = || format!("remex-bench-{}-{index}.sock", std::process::id());
        let socket = args.uds.then(|| env::temp_dir().join(name()));
        let listen = match (&socket, &via) {
            (Some(path), _) => format!("unix:{}", path.display()),
            (None, Some(_)) => "tcp://0.0.0.0:0".to_owned(),
            (None, None) => "tcp://127.0.0.1:0".to_owned(),
        };
        Self { listen, via, socket }
    }

    /// Where others reach who says that it listens there.
    pub(super) fn reached_at(&self, said: &str) -> Option<Address> {
        match (&self.via, said.rsplit_once(':')) {
            (Some(via), Some((_, port))) => format!("tcp://{via}:{port}").parse().ok(),
            _ => said.parse().ok(),
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(path) = &self.socket {
            // Whoever listened there may have removed it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The client's core and the worker's, as `PEER_PIN` says.
fn cores() -> Result<(Option<String>, Option<String>), Failure> {
    let Ok(pin) = env::var("PEER_PIN") else { return Ok((None, None)) };
    let number = |core: &str| core.parse::<usize>().is_ok();
    match pin.split_once(',') {
        Some((client, worker)) if number(client) && number(worker) => Ok((Some(client.into()), Some(worker.into()))),
        _ => Err(Failure::usage(format!("PEER_PIN is {pin:?}; it should be CLIENT_CORE,WORKER_CORE, such as 0,1"))),
    }
}

/// Before there are other threads: those that come later stay on the core too.
fn pin_self(core: &str) -> Result<(), Failure> {
    let own = std::process::id().to_string();
    let done = Command::new("taskset").args(["-c", "-p", core, &own]).stdout(Stdio::null()).status();
    match done {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::failed(format!("PEER_PIN: taskset -c -p {core} {own} ended with {status}"))),
        Err(e) => Err(Failure::failed(format!("PEER_PIN needs the program taskset (package util-linux): {e}"))),
    }
}
