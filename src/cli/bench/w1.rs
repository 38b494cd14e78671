//! W1: one small call at a time.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Args, Failure,
    client::{Client, metadata},
    meter::Meter,
    process::Process,
    report::{Report, at},
};

/// Calls before the measurement.
pub(super) const WARM_UP: usize = 1_000;

/// From `execute` until the output's metadata is known, for each call.
pub(super) async fn measure(args: &Args, client: &Client, worker: &Process) -> Result<Report, Failure> {
    for _ in 0..WARM_UP {
        metadata(client.call().await?).await?;
    }
    let mut latencies = Vec::with_capacity(args.calls());
    let meter = Meter::start(worker);
    for _ in 0..args.calls() {
        let began = Instant::now();
        metadata(client.call().await?).await?;
        latencies.push(began.elapsed());
    }
    Ok(report(latencies, &meter))
}

/// Median and tail.
pub(super) fn report(mut latencies: Vec<Duration>, meter: &Meter) -> Report {
    let cost = meter.stop();
    latencies.sort_unstable();
    let report = Report::new(at(&latencies, 0.5), "us_p50").with("n", latencies.len() as f64);
    let report = report.with("p99_us", at(&latencies, 0.99));
    report.with_cost(&cost, latencies.len())
}
