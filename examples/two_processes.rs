//! A client that starts itself a second time as worker: two processes, connected by a Unix socket.
//!
//! ```text
//! $ cargo run --example two_processes
//! process 4711 asks, process 4712 answers: 1+2+3+4 = 10
//! $ cargo run --example two_processes tcp://127.0.0.1:0
//! process 4720 asks, process 4721 answers: 1+2+3+4 = 10
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use remex::prelude::*;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const WORKER: &str = "/job:worker/task:0";

#[actix::main]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["worker", address] => worker(address).await,
        [address] => client(address).await,
        [] => {
            let folder = Folder::new()?;
            client(&format!("unix:{}", folder.0.join("worker.sock").display())).await
        }
        _ => Err("usage: two_processes [ADDRESS]".into()),
    }
}

/// The second process: serves until its standard input ends, which it does when the first process ends, however.
async fn worker(address: &str) -> Outcome {
    let sum = native(|inputs| {
        let sum: i64 = inputs[0].elements::<i64>()?.iter().sum();
        Ok(vec![Tensor::scalar(sum)?, Tensor::scalar(std::process::id())?])
    });
    let server = Server::builder().task(WORKER).listen(address).program("sum", sum.outputs(2)).start().await?;
    println!("{}", server.address().ok_or("not listening")?);
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(server.stop().await?)
}

/// The first process.
async fn client(address: &str) -> Outcome {
    let (mut child, address) = start_worker(address)?;
    let cluster = ClusterConfig::new().with(WORKER.parse()?, address)?;
    let client = Server::builder().start().await?;
    let context = client.create_context(ContextConfig::new(cluster)).await?;
    let sum = context.register(WORKER, RegisterFunction::native("sum")).await?;
    let x = context.put(&context.device_of(WORKER)?, Tensor::from_slice([4], &[1i64, 2, 3, 4])?).await?;
    let call = context.execute(RemoteExecute::new(&sum).input(x).handles(2)).await?;
    let (sum, process) = (call.handles[0].fetch().await?, call.handles[1].fetch().await?);
    let (asks, answers) = (std::process::id(), process.elements::<u32>()?[0]);
    println!("process {asks} asks, process {answers} answers: 1+2+3+4 = {}", sum.elements::<i64>()?[0]);
    client.stop().await?;
    drop(child.stdin.take());
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("the worker ended with {status}").into()) }
}

/// Starts this program as worker; says where it listens, port 0 having become a port.
fn start_worker(address: &str) -> Outcome<(Child, Address)> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut child = command.args(["worker", address]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("the worker has no output")?).read_line(&mut line)?;
    if line.is_empty() {
        return Err(format!("the worker did not start: {}", child.wait()?).into());
    }
    Ok((child, line.trim().parse()?))
}

/// A folder of one's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("remex-two-processes-{}", std::process::id()));
        std::fs::create_dir(&path).map(|()| Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
