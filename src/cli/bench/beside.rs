//! Small calls beside a transfer: W1 on the same pair of tasks while W4 goes on.

use std::{cell::Cell, rc::Rc, time::Duration};

use remex::TensorHandle;
use tokio::time::Instant;

use super::{
    Args, Failure,
    client::{Client, metadata},
    report::{Report, at, median},
    w1, w4,
};

/// How many transfers have ended, and whether there have been enough.
#[derive(Debug, Default)]
struct Progress {
    transfers: Cell<usize>,
    enough: Cell<bool>,
}

/// Calls one at a time, first with nothing else, then while one transfer follows the other; and transfers alone.
pub(super) async fn measure(args: &Args, client: &Client) -> Result<Report, Failure> {
    for _ in 0..w1::WARM_UP {
        metadata(client.call().await?).await?;
    }
    let handle = w4::handle(client).await?;
    let transfers_alone = w4::transfers(args, &handle).await?;
    let mut alone = Vec::with_capacity(args.calls());
    for _ in 0..args.calls() {
        alone.push(call(client).await?);
    }
    let progress = Rc::new(Progress::default());
    let transfers = actix::spawn(transfer(handle, args.size.get(), Rc::clone(&progress)));
    let mut beside = Vec::with_capacity(args.calls());
    while !transfers.is_finished() && (beside.len() < args.calls() || progress.transfers.get() < args.reps.get()) {
        beside.push(call(client).await?);
    }
    progress.enough.set(true);
    let transfers = transfers.await.map_err(Failure::failed)??;
    Ok(report(args, [alone, beside], [transfers_alone, transfers]))
}

/// From `execute` until the output's metadata is known.
async fn call(client: &Client) -> Result<Duration, Failure> {
    let began = Instant::now();
    metadata(client.call().await?).await?;
    Ok(began.elapsed())
}

/// One transfer after the other until there have been enough. No call is measured before the first has been asked for, but
/// for the first one.
async fn transfer(handle: TensorHandle, size: usize, progress: Rc<Progress>) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    while !progress.enough.get() {
        times.push(w4::transfer(&handle, size).await?);
        progress.transfers.set(times.len());
    }
    Ok(times)
}

/// Microseconds of a call beside transfers and alone, and the rate of transfers beside calls and alone.
fn report(args: &Args, [mut alone, mut beside]: [Vec<Duration>; 2], transfers: [Vec<Duration>; 2]) -> Report {
    alone.sort_unstable();
    beside.sort_unstable();
    let [rate_alone, rate] = transfers.map(|times| w4::rate(args, median(times)));
    let mut report = Report::new(at(&beside, 0.99), "us_p99").with("bytes", args.size.get() as f64);
    for (name, times) in [("", &beside), ("_alone", &alone)] {
        report = report.with(&format!("n{name}"), times.len() as f64);
        for (figure, part) in [("p50_us", 0.5), ("p99_us", 0.99), ("most_us", 1.0)] {
            report = report.with(&format!("{figure}{name}"), at(times, part));
        }
    }
    report.with("GBps", rate).with("GBps_alone", rate_alone)
}
