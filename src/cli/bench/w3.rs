//! W3: a chain of calls, each with the last one's output as input, sent without waiting for any.

use tokio::time::Instant;

use super::{
    Args, Failure,
    client::{Client, metadata},
    meter::Meter,
    process::Process,
    report::{Report, median},
};

/// From the first `execute` until the metadata of every output is known.
pub(super) async fn measure(args: &Args, client: &Client, worker: &Process) -> Result<Report, Failure> {
    for _ in 0..20 {
        metadata(client.call().await?).await?;
    }
    let mut times = Vec::new();
    let meter = Meter::start(worker);
    for _ in 0..args.reps.get() {
        let began = Instant::now();
        let mut calls = Vec::with_capacity(args.calls());
        let mut last = client.call().await?;
        for _ in 1..args.calls() {
            let next = client.call_with(&last.outputs[0]).await?;
            calls.push(std::mem::replace(&mut last, next));
        }
        calls.push(last);
        for call in calls {
            metadata(call).await?;
        }
        times.push(began.elapsed());
    }
    Ok(report(args, times, &meter))
}

/// Milliseconds for the chain, and microseconds for a step.
pub(super) fn report(args: &Args, times: Vec<std::time::Duration>, meter: &Meter) -> Report {
    let cost = meter.stop();
    let (chain, calls) = (median(times).as_secs_f64(), args.calls());
    let report = Report::new(chain * 1e3, "ms").with("n", calls as f64);
    report.with("us_per_step", chain * 1e6 / calls as f64).with_cost(&cost, calls * args.reps.get())
}
