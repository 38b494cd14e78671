//! W2: many small calls in flight.

use std::collections::VecDeque;

use super::{
    Args, Failure,
    client::{Client, metadata},
    meter::Meter,
    process::Process,
    report::Report,
};

/// Calls before the measurement.
pub(super) const WARM_UP: usize = 5_000;

/// How many calls a second, and the processor time that a call takes on either side.
pub(super) async fn measure(args: &Args, client: &Client, worker: &Process) -> Result<Report, Failure> {
    pump(client, WARM_UP, args.window.get()).await?;
    let meter = Meter::start(worker);
    pump(client, args.calls(), args.window.get()).await?;
    Ok(report(args.calls(), &meter))
}

/// The rate.
pub(super) fn report(calls: usize, meter: &Meter) -> Report {
    let cost = meter.stop();
    let rate = calls as f64 / cost.wall.as_secs_f64();
    Report::new(rate, "calls/s").with("n", calls as f64).with_cost(&cost, calls)
}

/// Keeps up to `window` calls in flight: waits for the oldest, then sends the next.
async fn pump(client: &Client, calls: usize, window: usize) -> Result<(), Failure> {
    let mut in_flight = VecDeque::with_capacity(window);
    for _ in 0..calls {
        if in_flight.len() == window
            && let Some(oldest) = in_flight.pop_front()
        {
            metadata(oldest).await?;
        }
        in_flight.push_back(client.call().await?);
    }
    for call in in_flight {
        metadata(call).await?;
    }
    Ok(())
}
