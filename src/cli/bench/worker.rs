//! The other process: a task with the two programs that are measured.

use std::{
    io::{self, Write},
    thread,
};

use remex::{DType, Server, Tensor, TensorMetadata, actors::programs::Executable, native, native_async};
use tokio::sync::oneshot;

use super::{Args, Failure, process::READY, raw};

/// Its name.
pub(super) const TASK: &str = "/job:worker/task:0";
/// The small program.
pub(super) const SMALL: &str = "matmul_relu";
/// Never ends.
pub(super) const STUCK: &str = "stuck";
/// Gives `--size` bytes.
pub(super) const BULK: &str = "bulk";
/// What each byte of those is.
pub(super) const BULK_BYTE: u8 = 7;

/// Serves until stdin ends: the client's process holds the other end, however it ends.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let end = stdin_end();
    let bulk = bulk(args.size.get())?;
    crate::cli::system::block_on(async move {
        if args.raw {
            return raw::worker::serve(&args.listen, bulk, end).await;
        }
        let server = Server::builder().task(TASK).listen(&args.listen).prefer_unix(false);
        let server = args.memory.into_iter().fold(server, remex::ServerBuilder::memory_budget);
        let server = server.program(STUCK, stuck());
        let server = server.program(SMALL, small()).program(BULK, constant(bulk)).start().await?;
        if let Some(address) = server.address() {
            announce(address)?;
        }
        let _ = end.await;
        server.stop().await.map_err(Failure::from)
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
pub(super) fn announce(address: &remex::Address) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let said = writeln!(out, "{READY}{address}").and_then(|()| out.flush());
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
fn small() -> Executable {
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
