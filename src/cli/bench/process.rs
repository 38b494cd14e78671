//! The worker as a process of its own.

use std::{
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use remex::Address;

use super::{Args, Failure};

/// What a worker writes before its address.
pub(super) const READY: &str = "LISTEN ";

/// A worker that runs. Dropping it ends it; it also ends by itself when its stdin does, so with its parent.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pub(super) address: Address,
    socket: Option<PathBuf>,
}

impl Process {
    /// Starts this program again, as a worker, and waits until it listens.
    pub(super) fn start(args: &Args) -> Result<Self, Failure> {
        let (own_core, worker_core) = cores()?;
        if let Some(core) = own_core {
            pin_self(&core)?;
        }
        let via = env::var("PEER_VIA").ok().filter(|_| !args.uds);
        let socket = args.uds.then(|| env::temp_dir().join(format!("remex-bench-{}.sock", std::process::id())));
        let listen = match (&socket, &via) {
            (Some(path), _) => format!("unix:{}", path.display()),
            (None, Some(_)) => "tcp://0.0.0.0:0".to_owned(),
            (None, None) => "tcp://127.0.0.1:0".to_owned(),
        };
        let program = env::current_exe().map_err(|e| Failure::failed(format!("cannot find this program: {e}")))?;
        let mut command = match worker_core {
            // `taskset` becomes the worker, so the child's id is the worker's.
            Some(core) => {
                let mut taskset = Command::new("taskset");
                taskset.args(["-c", &core]).arg(program);
                taskset
            }
            None => Command::new(program),
        };
        command.args(["bench", "worker", "--listen", &listen, "--size", &args.size.to_string()]);
        if args.raw {
            command.arg("--raw");
        }
        let failed = |e| Failure::failed(format!("cannot start a worker: {e}"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
        }
        let listening = line.strip_prefix(READY).map(|address| address.trim().to_owned());
        let address = listening.map(|address| match (&via, address.rsplit_once(':')) {
            (Some(via), Some((_, port))) => format!("tcp://{via}:{port}"),
            _ => address,
        });
        match address.as_deref().map(str::parse) {
            Some(Ok(address)) => Ok(Self { child, address, socket }),
            Some(Err(_)) | None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(Failure::failed(format!("the worker ended, or said {line:?} instead of its address")))
            }
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
        if let Some(path) = &self.socket {
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
