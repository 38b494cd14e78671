//! The other process: a task with the two programs that are measured.

use std::{
    io::{self, Write},
    thread,
};

use remex::{
    Address, Credits, DType, Server, ServerBuilder, Tensor, TensorMetadata, actors::programs::Executable, native,
    native_async,
};
use tokio::sync::oneshot;

use super::{Args, Failure, process::READY, raw};

/// Its name, or that of its first task.
pub(super) const TASK: &str = "/job:worker/task:0";
/// The small program.
pub(super) const SMALL: &str = "matmul_relu";
/// Never ends.
pub(super) const STUCK: &str = "stuck";
/// Gives `--size` bytes.
pub(super) const BULK: &str = "bulk";
/// What each byte of those is.
pub(super) const BULK_BYTE: u8 = 7;

/// What there is of it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Shape {
    /// Tasks in its process, on one thread
    #[arg(long, hide = true, default_value = "1")]
    pub(super) tasks: usize,
    /// Devices of a task
    #[arg(long, hide = true, default_value = "1")]
    pub(super) devices: usize,
    /// Small programs
    #[arg(long, hide = true, default_value = "1")]
    pub(super) programs: usize,
    /// Calls that a caller may have in flight
    #[arg(long, hide = true, default_value_t = Credits::default().calls)]
    pub(super) credits: u32,
}

impl Shape {
    /// The name of a task.
    pub(super) fn task(index: usize) -> String {
        format!("/job:worker/task:{index}")
    }

    /// The name of a small program.
    pub(super) fn program(index: usize) -> String {
        if index == 0 { SMALL.to_owned() } else { format!("{SMALL}{index}") }
    }

    /// The credits, for both sides.
    pub(super) fn credits(&self) -> Credits {
        Credits { calls: self.credits, ..Credits::default() }
    }

    /// As arguments of the process.
    pub(super) fn words(&self) -> Vec<String> {
        let Self { tasks, devices, programs, credits } = self;
        let numbers =
            [("tasks", *tasks), ("devices", *devices), ("programs", *programs), ("credits", *credits as usize)];
        numbers.iter().flat_map(|(name, number)| [format!("--{name}"), number.to_string()]).collect()
    }

    /// A task of this shape.
    fn server(&self, index: usize) -> ServerBuilder {
        let server = Server::builder().task(Self::task(index)).credits(self.credits());
        let server = (0..self.devices).fold(server, |server, _| server.device("CPU", None));
        (0..self.programs).fold(server, |server, index| server.program(Self::program(index), small()))
    }
}

/// Serves until stdin ends: the client's process holds the other end, however it ends.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let end = stdin_end();
    let bulk = bulk(args.size.get())?;
    crate::cli::system::block_on(async move {
        if args.raw {
            return raw::worker::serve(&args.listen, bulk, end).await;
        }
        let mut servers = Vec::new();
        for index in 0..args.shape.tasks {
            let server = args.shape.server(index).listen(&args.listen).prefer_unix(false);
            let server = args.memory.into_iter().fold(server, ServerBuilder::memory_budget);
            let server = server.program(STUCK, stuck()).program(BULK, constant(bulk.clone()));
            servers.push(server.start().await?);
        }
        announce(servers.iter().filter_map(|server| server.address()))?;
        let _ = end.await;
        for server in servers {
            server.stop().await?;
        }
        Ok(())
    })
}

/// Comes when stdin has ended: with the process at its other end.
pub(super) fn stdin_end() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    });
    end
}

/// Says where it listens.
pub(super) fn announce<'a>(addresses: impl IntoIterator<Item = &'a Address>) -> Result<(), Failure> {
    let addresses: Vec<_> = addresses.into_iter().map(Address::to_string).collect();
    let mut out = io::stdout().lock();
    let said = writeln!(out, "{READY}{}", addresses.join(" ")).and_then(|()| out.flush());
    said.map_err(|e| Failure::failed(format!("cannot say where the worker listens: {e}")))
}

/// Holds its inputs and no thread, for ever.
fn stuck() -> Executable {
    native_async(|call| async move {
        let _held = call;
        std::future::pending().await
    })
    .outputs(1)
}

/// Two inputs, one output: gives the first input back, so that what is measured is the way there and back. Both inputs
/// are looked up, the output is put into the table, its dtype and shape are answered; its data is shared, not copied.
pub(super) fn small() -> Executable {
    native(|inputs| Ok(vec![inputs[0].clone()])).inline().outputs(1)
}

/// No inputs, always the same output.
fn constant(tensor: Tensor) -> Executable {
    native(move |_| Ok(vec![tensor.clone()])).inline().outputs(1)
}

fn bulk(size: usize) -> Result<Tensor, Failure> {
    let metadata = TensorMetadata::new(DType::U8, [size as u64]);
    Tensor::from_bytes(metadata, vec![BULK_BYTE; size].into()).map_err(Failure::failed)
}
