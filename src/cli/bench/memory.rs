//! What an object takes on the worker, and a call in flight on either side.
//!
//! Resident memory before and after there are many, so that all is counted: tables with the room that they keep, what the
//! allocator adds, and of a call the handle of its output.

use std::time::Duration;

use remex::{RegisterFunction, Tensor};

use super::{
    Args, Failure,
    footprint::Footprint,
    report::Report,
    targets::Targets,
    worker::{STUCK, TASK},
};
use crate::cli::system;

/// Calls, or objects, before memory is looked at: what is made with the first of its kind is not counted.
const WARM_UP: usize = 1_000;
/// Puts under way at one time.
const PUTS: usize = 256;
/// Within that time frames are acknowledged.
const ACKNOWLEDGED: Duration = Duration::from_secs(2);

/// Measures and prints.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if args.raw {
        return Err(Failure::usage("memory is measured with actors: leave --raw out"));
    }
    system::block_on(async {
        let objects = args.objects.get();
        // First: what this process has had for objects before would be used again.
        let [client, worker] = calls(args).await?;
        let report = Report::new(outputs(args).await?, "bytes_per_object").with("objects", objects as f64);
        let report = report.with("bytes_per_put_object", puts(args).await?).with("calls", args.calls() as f64);
        report.with("bytes_per_call_client", client).with("bytes_per_call_worker", worker).print(args)
    })
}

/// Bytes of an object that a program made and that shares its data with another one.
async fn outputs(args: &Args) -> Result<f64, Failure> {
    let mut targets = Targets::connect(args, args.shape, 1).await?;
    targets.all[0].make_objects(WARM_UP).await?;
    let [_, before] = settled(&targets).await?;
    targets.all[0].make_objects(WARM_UP + args.objects.get()).await?;
    let [_, after] = settled(&targets).await?;
    targets.stop().await?;
    Ok(each(before, after, args.objects.get()))
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
            before = Some((settled(&targets).await?[1], objects.len()));
        }
        let puts = (0..PUTS).map(|_| context.put(&device, scalar.clone()));
        objects.extend(futures_util::future::try_join_all(puts).await?);
    }
    let [_, after] = settled(&targets).await?;
    targets.stop().await?;
    let (before, begun) = before.ok_or_else(|| Failure::failed("nothing was put"))?;
    Ok(each(before, after, objects.len() - begun))
}

/// Bytes of a call that was sent and not answered, on the client and on the worker. Its caller keeps the handle of its output.
async fn calls(args: &Args) -> Result<[f64; 2], Failure> {
    let many = args.calls();
    let mut shape = args.shape;
    // And one for the call that is answered.
    shape.credits = shape.credits.max((WARM_UP + many + 1) as u32);
    let targets = Targets::connect(args, shape, 1).await?;
    let target = &targets.all[0];
    let stuck = target.context.register(TASK, RegisterFunction::native(STUCK)).await?;
    let mut kept = Vec::with_capacity(WARM_UP + many);
    let mut before = None;
    for number in 0..WARM_UP + many {
        if number == WARM_UP {
            before = Some(settled(&targets).await?);
        }
        kept.extend(target.call_stuck(&stuck).await?.handles);
        // One that is answered tells that all before it have been read: so what is in flight is measured, and not a queue.
        if number % WARM_UP == 0 {
            super::client::metadata(target.call(0).await?).await?;
        }
    }
    let (before, after) = (before.unwrap_or_default(), settled(&targets).await?);
    // Not in good order: that would wait for what never ends.
    Ok([0, 1].map(|side| each(before[side], after[side], many)))
}

/// Resident bytes of the client and of the worker when frames are acknowledged and what was freed has been given back, as far as
/// the allocator does that.
async fn settled(targets: &Targets) -> Result<[u64; 2], Failure> {
    for _ in 0..2 {
        tokio::time::sleep(ACKNOWLEDGED).await;
        for _ in 0..PUTS {
            super::client::metadata(targets.all[0].call(0).await?).await?;
        }
    }
    Ok([Footprint::of(std::process::id())?.rss, Footprint::of(targets.worker.id())?.rss])
}

fn each(before: u64, after: u64, many: usize) -> f64 {
    after.saturating_sub(before) as f64 / many as f64
}
