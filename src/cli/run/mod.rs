//! `remex run`: runs an ONNX model on workers, files in and files out.

mod args;
mod inputs;
mod outputs;
mod report;
mod workers;

use std::{fs, path::Path, time::Duration};

use futures_util::{
    StreamExt, TryStreamExt,
    future::try_join_all,
    stream::{self, FuturesUnordered},
};
use remex::{ContextHandle, Execution, ObjectRef, ProgramHandle, RegisterFunction, RemoteExecute, Signature, Tensor};
use tokio::time::Instant;

pub(crate) use self::args::Args;
use self::{report::Report, workers::Workers};
use super::{Failure, parse, system};

/// Repeated runs that a worker has at one time: one that runs and one that can follow at once.
const IN_FLIGHT: usize = 2;

/// Compiling a model may take so long, or as long as a run if that is longer.
const COMPILE: Duration = Duration::from_secs(60);

/// The model as it stands on one worker, with its inputs beside it.
struct Place {
    program: ProgramHandle,
    inputs: Vec<ObjectRef>,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let report = Report::new(args.json);
    let done = system::block_on(run_model(args, report));
    if let Err(failure) = &done {
        report.failed(failure)?;
    }
    done
}

async fn run_model(mut args: Args, report: Report) -> Result<(), Failure> {
    parse::distinct(&args.connect)?;
    let cluster = args.cluster()?;
    let config = args.context(cluster.as_ref());
    let deadline = config.default_deadline;
    let model = fs::read(&args.model).map_err(|error| Failure::failed(format!("{}: {error}", args.model.display())))?;
    let inputs = inputs::read(std::mem::take(&mut args.input))?;
    let workers = Workers::start(&args, cluster.as_ref(), config.wait).await?;
    workers.found.iter().try_for_each(|worker| report.worker(worker))?;
    let context = workers.context(config).await?;

    let used = workers.found.iter().take(args.repeat.get() as usize);
    let register = RegisterFunction::onnx(name_of(&args.model), model).deadline(deadline.max(COMPILE));
    let registered = used.map(|worker| {
        let (context, register, task) = (&context, register.clone(), worker.task.to_string());
        async move { context.register(&task, register).await }
    });
    let programs = try_join_all(registered).await?;
    let signature = programs.first().and_then(ProgramHandle::signature).cloned();
    let signature = signature.ok_or_else(|| Failure::failed("the worker did not say what the model takes"))?;
    programs.iter().try_for_each(|program| report.registered(&program.task().to_string(), &signature))?;

    let inputs = inputs::in_order(inputs, &signature)?;
    outputs::make_folder(&args.out)?;
    let places = try_join_all(programs.into_iter().map(|program| place(&context, program, &inputs))).await?;
    let began = Instant::now();
    first(&context, &places[0], &signature, &args, deadline, report).await?;
    repeat(&context, &places, &args, deadline, report).await?;
    report.done(args.repeat.get(), began.elapsed())?;

    drop(places);
    for error in context.close().await? {
        eprintln!("warning: {error}");
    }
    workers.stop().await
}

/// The name that the model is registered under: that of its file, for errors.
fn name_of(model: &Path) -> String {
    let name = model.file_name().unwrap_or(model.as_os_str()).to_string_lossy();
    name.chars().take(50).collect()
}

async fn place(context: &ContextHandle, program: ProgramHandle, inputs: &[Tensor]) -> Result<Place, Failure> {
    let device = context.device_of(&program.task().to_string())?;
    let inputs = try_join_all(inputs.iter().map(|tensor| context.put(&device, tensor.clone()))).await?;
    Ok(Place { program, inputs })
}

/// The first run: says what is known of its outputs as soon as it is, and writes them.
async fn first(
    context: &ContextHandle,
    place: &Place,
    signature: &Signature,
    args: &Args,
    deadline: Duration,
    report: Report,
) -> Result<(), Failure> {
    let names: Vec<&str> = signature.outputs.iter().map(|output| output.name.as_str()).collect();
    let began = Instant::now();
    let call = RemoteExecute::new(&place.program).inputs(&place.inputs).handles(names.len()).deadline(deadline);
    let Execution { chain, handles, .. } = context.execute(call).await?;
    let known = handles.iter().zip(&names).map(|(handle, name)| async move { (name, handle.metadata().await) });
    let mut known: FuturesUnordered<_> = known.collect();
    while let Some((name, metadata)) = known.next().await {
        report.metadata(name, &metadata?)?;
    }
    chain.done().await?;
    report.ran(0, &place.program.task().to_string(), began.elapsed())?;
    for ((handle, name), file) in handles.iter().zip(&names).zip(outputs::files(&args.out, names.iter().copied())) {
        outputs::write(&file, &handle.fetch_within(deadline).await?)?;
        report.written(name, &file)?;
    }
    Ok(())
}

/// The other runs, on the workers in turn; their outputs stay there and are dropped.
async fn repeat(
    context: &ContextHandle,
    places: &[Place],
    args: &Args,
    deadline: Duration,
    report: Report,
) -> Result<(), Failure> {
    let bar = report::bar(args.repeat.get());
    bar.inc(1);
    let turns = (1..args.repeat.get()).map(|run| {
        let place = &places[run as usize % places.len()];
        async move {
            let began = Instant::now();
            let call = RemoteExecute::new(&place.program).inputs(&place.inputs).deadline(deadline);
            context.execute(call).await?.chain.done().await?;
            report.ran(run, &place.program.task().to_string(), began.elapsed())
        }
    });
    let runs = stream::iter(turns).buffer_unordered(IN_FLIGHT * places.len());
    let done = runs.inspect_ok(|()| bar.inc(1)).try_collect().await;
    bar.finish_and_clear();
    done
}
