//! W4: a large tensor from the worker.

use std::time::Duration;

use remex::{RemoteExecute, Tensor};
use tokio::time::Instant;

use super::{
    Args, Failure,
    client::Client,
    report::{Report, median},
    worker::BULK_BYTE,
};

/// From `fetch` until the tensor is here, whole and checked, in memory of its own.
pub(super) async fn measure(args: &Args, client: &Client) -> Result<Report, Failure> {
    let call = client.context.execute(RemoteExecute::new(&client.bulk).handles(1)).await?;
    let handle = call.handles.first().ok_or_else(|| Failure::failed("there is no handle"))?;
    handle.tensor().await?;
    let mut times = Vec::new();
    // The first one is for warming up.
    for rep in 0..=args.reps.get() {
        let began = Instant::now();
        let tensor = handle.fetch().await?;
        if rep > 0 {
            times.push(began.elapsed());
        }
        check(&tensor, args.size.get())?;
    }
    Ok(report(args, times))
}

/// Whether it is what the worker has.
fn check(tensor: &Tensor, size: usize) -> Result<(), Failure> {
    let bytes = tensor.bytes();
    if bytes.len() != size || bytes[0] != BULK_BYTE || bytes[size - 1] != BULK_BYTE {
        return Err(Failure::failed(format!("{} bytes came, and not those of the worker", bytes.len())));
    }
    Ok(())
}

/// Bytes a second, of the median and of the best.
pub(super) fn report(args: &Args, times: Vec<Duration>) -> Report {
    let rate = |time: Duration| args.size.get() as f64 / time.as_secs_f64() / 1e9;
    let (reps, best) = (times.len(), times.iter().min().copied().unwrap_or_default());
    let report = Report::new(rate(median(times)), "GB/s").with("bytes", args.size.get() as f64);
    report.with("reps", reps as f64).with("best_GBps", rate(best))
}
