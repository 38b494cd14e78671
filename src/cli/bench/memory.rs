//! What an object takes on the worker, and a call in flight on either side.
//!
//! Resident memory before and after there are many, so that all is counted: tables with the room that they keep, what the
//! allocator adds, and of a call all that its caller holds.

use std::time::Duration;

use remex::{RegisterFunction, Tensor};

use super::{
    Args, Failure,
    footprint::{Footprint, megabytes},
    report::Report,
    targets::Targets,
    worker::{STUCK, TASK},
};
use crate::cli::system;

/// Calls, or objects, before memory is looked at: what is made with the first of its kind is not counted.
const WARM_UP: usize = 1_000;
/// Puts under way at one time.
const PUTS: usize = 256;
/// Within that time frames are acknowledged, and what they were kept in is free.
const ACKNOWLEDGED: Duration = Duration::from_secs(3);

/// Measures and prints.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if args.raw {
        return Err(Failure::usage("memory is measured with actors: leave --raw out"));
    }
    system::block_on(async {
        let objects = args.objects.get();
        // First: what this process has had for objects before would be used again.
        let calls = calls(args).await?;
        let mut report = Report::new(outputs(args).await?, "bytes_per_object").with("objects", objects as f64);
        report = report.with("bytes_per_put_object", puts(args).await?);
        calls.into_iter().fold(report, |report, (name, value)| report.with(&name, value)).print(args)
    })
}

/// Bytes of an object that a program made and that shares its data with another one.
async fn outputs(args: &Args) -> Result<f64, Failure> {
    let mut targets = Targets::connect(args, args.shape, 1).await?;
    targets.all[0].make_objects(WARM_UP).await?;
    let before = Footprint::of(targets.worker.id())?;
    targets.all[0].make_objects(WARM_UP + args.objects.get()).await?;
    let after = Footprint::of(targets.worker.id())?;
    targets.stop().await?;
    Ok(each(before.rss, after.rss, args.objects.get()))
}

/// The same of an object that was put: a scalar, with data of its own and a place in the memory budget.
async fn puts(args: &Args) -> Result<f64, Failure> {
    let targets = Targets::connect(args, args.shape, 1).await?;
    let (context, scalar) = (&targets.all[0].context, Tensor::scalar(1f32).map_err(Failure::failed)?);
    let device = context.device_of(TASK)?;
    let mut objects = Vec::new();
    let mut before = None;
    while objects.len() < WARM_UP + args.objects.get() {
        if objects.len() >= WARM_UP && before.is_none() {
            before = Some((Footprint::of(targets.worker.id())?, objects.len()));
        }
        let puts = (0..PUTS).map(|_| context.put(&device, scalar.clone()));
        objects.extend(futures_util::future::try_join_all(puts).await?);
    }
    let after = Footprint::of(targets.worker.id())?;
    targets.stop().await?;
    let (before, begun) = before.ok_or_else(|| Failure::failed("nothing was put"))?;
    Ok(each(before.rss, after.rss, objects.len() - begun))
}

/// Bytes of a call that was sent and not answered.
async fn calls(args: &Args) -> Result<Vec<(String, f64)>, Failure> {
    let many = args.calls();
    let mut shape = args.shape;
    // And one for the call that is answered.
    shape.credits = shape.credits.max((WARM_UP + many + 1) as u32);
    let targets = Targets::connect(args, shape, 1).await?;
    let target = &targets.all[0];
    let stuck = target.context.register(TASK, RegisterFunction::native(STUCK)).await?;
    let mut calls = Vec::new();
    for _ in 0..WARM_UP {
        calls.push(target.call_stuck(&stuck).await?);
    }
    tokio::time::sleep(ACKNOWLEDGED).await;
    let taken =
        || Ok::<_, Failure>([std::process::id(), targets.worker.id()].map(Footprint::of).map(|of| of.map(|it| it.rss)));
    let before = taken()?;
    for number in 0..many {
        calls.push(target.call_stuck(&stuck).await?);
        // One that is answered tells that all before it have been read: so what is in flight is measured, and not a queue.
        if number % WARM_UP == 0 || number + 1 == many {
            super::client::metadata(target.call(0).await?).await?;
        }
    }
    tokio::time::sleep(ACKNOWLEDGED).await;
    let mut figures = vec![("calls".to_owned(), many as f64)];
    for ((name, before), after) in ["client", "worker"].iter().zip(before).zip(taken()?) {
        let (before, after) = (before?, after?);
        figures.push((format!("bytes_per_call_{name}"), each(before, after, many)));
        figures.push((format!("rss_mb_{name}"), megabytes(after)));
    }
    // Not in good order: that would wait for what never ends.
    Ok(figures)
}

fn each(before: u64, after: u64, many: usize) -> f64 {
    after.saturating_sub(before) as f64 / many as f64
}
