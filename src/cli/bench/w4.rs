//! W4: a large tensor from the worker.

use std::time::Duration;

use remex::{RemoteExecute, Tensor, TensorHandle};
use tokio::time::Instant;

use super::{
    Args, Failure,
    client::Client,
    report::{Report, median},
    worker::BULK_BYTE,
};

/// From `fetch` until the tensor is here, whole and checked, in memory of its own.
pub(super) async fn measure(args: &Args, client: &Client) -> Result<Report, Failure> {
    let handle = handle(client).await?;
    Ok(report(args, transfers(args, &handle).await?))
}

/// The large tensor, when it is ready on the worker.
pub(super) async fn handle(client: &Client) -> Result<TensorHandle, Failure> {
    let mut call = client.context.execute(RemoteExecute::new(&client.bulk).handles(1)).await?;
    let handle = call.handles.pop().ok_or_else(|| Failure::failed("there is no handle"))?;
    handle.tensor().await?;
    Ok(handle)
}

/// One after the other.
pub(super) async fn transfers(args: &Args, handle: &TensorHandle) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    // The first one is for warming up.
    for rep in 0..=args.reps.get() {
        let time = transfer(handle, args.size.get()).await?;
        if rep > 0 {
            times.push(time);
        }
    }
    Ok(times)
}

/// How long one takes.
pub(super) async fn transfer(handle: &TensorHandle, size: usize) -> Result<Duration, Failure> {
    let began = Instant::now();
    let tensor = handle.fetch().await?;
    let time = began.elapsed();
    check(&tensor, size)?;
    Ok(time)
}

/// Whether it is what the worker has.
fn check(tensor: &Tensor, size: usize) -> Result<(), Failure> {
    let bytes = tensor.bytes();
    if bytes.len() != size || bytes[0] != BULK_BYTE || bytes[size - 1] != BULK_BYTE {
        return Err(Failure::failed(format!("{} bytes came, and not those of the worker", bytes.len())));
    }
    Ok(())
}

/// Gigabytes a second, of the median and of the best.
pub(super) fn report(args: &Args, times: Vec<Duration>) -> Report {
    let (reps, best) = (times.len(), times.iter().min().copied().unwrap_or_default());
    let report = Report::new(rate(args, median(times)), "GB/s").with("bytes", args.size.get() as f64);
    report.with("reps", reps as f64).with("best_GBps", rate(args, best))
}

/// Gigabytes a second of a transfer that took so long.
pub(super) fn rate(args: &Args, time: Duration) -> f64 {
    args.size.get() as f64 / time.as_secs_f64() / 1e9
}
