//! The executor as an actor.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::{Actor, AsyncContext, Context, Handler, Recipient};
use futures_util::FutureExt;
use remex_protocol::{ErrorCode, RemoteError};
use tokio::{task::JoinHandle, time::Instant};

use super::{Abort, Compile, Compiled, Ended, ExecutorConfig, Pool, Returned, Run, Task, contain, lanes::Lanes};
use crate::{
    Error, Result,
    envelope::post,
    objects::{Finished, Fulfil},
    programs::{AsyncCall, Body, Outputs, ProgramCall, ProgramError, Published, invoke},
};

/// An inline run that takes longer holds up the whole task, and is logged.
const INLINE_LIMIT: Duration = Duration::from_millis(1);

/// Runs and compiles programs: the only place where user code runs.
#[derive(Debug)]
pub struct Executor {
    pool: Pool,
    lanes: Lanes<Work>,
    /// Counts works.
    last: u64,
    /// Works that were not inline and have not ended, by object manager and run.
    works: BTreeMap<(u64, u64), Handle>,
}

/// Something for the pool.
struct Work {
    go: Box<dyn FnOnce() + Send>,
    refuse: Box<dyn FnOnce(Error) + Send>,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

/// How to stop a run.
#[derive(Debug)]
enum Handle {
    Pool { work: u64, cancelled: Arc<AtomicBool> },
    Async { cancelled: Arc<AtomicBool>, task: JoinHandle<()> },
}

impl Executor {
    /// An executor with a lane for each device and a pool.
    pub fn new(config: &ExecutorConfig) -> Self {
        let lanes = Lanes::new(&config.lanes, config.threads);
        Self { pool: config.pool.clone(), lanes, last: 0, works: BTreeMap::new() }
    }

    fn pool(&mut self, lane: u16, work: Work, ctx: &mut Context<Self>) -> u64 {
        self.last += 1;
        self.lanes.push(lane, self.last, work);
        self.go_on(ctx);
        self.last
    }

    /// Starts what may start; refuses what may never.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        while let Some((id, work)) = self.lanes.next() {
            let executor = ctx.address().recipient();
            let go = move || {
                (work.go)();
                post(&executor, Returned { work: id });
            };
            match &self.pool {
                // Not a pool of its own: on a paused clock no time passes while a blocking task runs.
                Pool::Threads => drop(tokio::task::spawn_blocking(go)),
                Pool::Arbiter => drop(actix::spawn(async move { go() })),
                Pool::Simulated(simulated) => {
                    let takes = simulated.duration();
                    actix::spawn(async move {
                        tokio::time::sleep(takes).await;
                        go();
                    });
                }
            }
        }
        if self.lanes.is_stuck() {
            let message = "every thread of the pool is held by a program that was given up and does not return";
            let error = Error::from(RemoteError::new(ErrorCode::ResourceExhausted, message));
            for (_, work) in self.lanes.drain() {
                (work.refuse)(error.clone());
            }
        }
    }

    fn run_inline(call: ProgramCall, job: u64, program: &dyn crate::programs::Program) -> Finished {
        let (begin, name) = (Instant::now(), call.program.clone());
        let outcome = contain::run(program, call);
        let took = begin.elapsed();
        if took > INLINE_LIMIT {
            tracing::warn!(program = %name, ?took, "an inline program held up its task: let it run on the pool");
        }
        Finished { job, outcome }
    }
}

impl Actor for Executor {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Context<Self>) {
        for handle in self.works.values() {
            if let Handle::Async { task, .. } = handle {
                task.abort();
            }
        }
    }
}

impl Handler<Run> for Executor {
    type Result = ();

    fn handle(&mut self, Run { tag, tasks, done, early, context }: Run, ctx: &mut Context<Self>) {
        let mut finished = Vec::new();
        for mut task in tasks {
            let cancelled = Arc::new(AtomicBool::new(false));
            let (job, lane, program) = (task.job, task.lane, task.program.clone());
            let inline = is_inline(&task);
            let output_ids = std::mem::take(&mut task.output_ids);
            let call = program_call(task, early.clone(), cancelled.clone());
            match &program.body {
                Body::Inline(program) => finished.push(Self::run_inline(call, job, &**program)),
                Body::Sized(program, _) if inline => finished.push(Self::run_inline(call, job, &**program)),
                Body::Pool(program) | Body::Sized(program, _) => {
                    let program = program.clone();
                    let (go_done, refuse_done) = (done.clone(), done.clone());
                    let go = Box::new(move || send(&go_done, job, contain::run(&*program, call)));
                    let refuse = Box::new(move |error| send(&refuse_done, job, Err(error)));
                    let work = self.last + 1;
                    self.works.insert((tag, job), Handle::Pool { work, cancelled });
                    self.pool(lane, Work { go, refuse }, ctx);
                }
                Body::Async(program) => {
                    // Making the future is the program's code, too: it belongs under the same `catch_unwind` (I9).
                    let (name, program) = (call.program.clone(), program.clone());
                    let (call, guard) = AsyncCall::new(call, output_ids, context.clone());
                    let future = Box::pin(async move {
                        let outcome = program(call).await;
                        if let (Ok(_), Some(guard)) = (&outcome, guard) {
                            guard.succeeded();
                        }
                        outcome
                    });
                    self.run_async(tag, job, name, future, cancelled, done.clone(), ctx);
                }
                Body::Actor(actor) => {
                    let (name, future) = (call.program.clone(), Box::pin(invoke(actor.clone(), call)));
                    self.run_async(tag, job, name, future, cancelled, done.clone(), ctx);
                }
            }
        }
        if !finished.is_empty() {
            post(&done, Fulfil(finished));
        }
    }
}

impl Executor {
    #[allow(clippy::too_many_arguments, reason = "a run and where it goes; a struct for one call would hide it")]
    fn run_async(
        &mut self,
        tag: u64,
        job: u64,
        name: Arc<str>,
        future: futures_util::future::LocalBoxFuture<
            'static,
            Result<Vec<remex_protocol::tensor::Tensor>, ProgramError>,
        >,
        cancelled: Arc<AtomicBool>,
        done: Recipient<Fulfil>,
        ctx: &mut Context<Self>,
    ) {
        let executor = ctx.address().recipient();
        let run = async move {
            let outcome = match std::panic::AssertUnwindSafe(future).catch_unwind().await {
                Ok(outcome) => outcome.map_err(|error| contain::failed(error, &name)),
                Err(panic) => Err(contain::panicked(&*panic, &name)),
            };
            send(&done, job, outcome);
            post(&executor, Ended { tag, job });
        };
        // Not in the actor's own context: that would not begin them in order.
        let task = actix::spawn(run);
        self.works.insert((tag, job), Handle::Async { cancelled, task });
    }
}

impl Handler<Abort> for Executor {
    type Result = ();

    fn handle(&mut self, Abort { tag, jobs }: Abort, ctx: &mut Context<Self>) {
        for job in jobs {
            match self.works.remove(&(tag, job)) {
                Some(Handle::Pool { work, cancelled }) => {
                    cancelled.store(true, Ordering::Relaxed);
                    self.lanes.abandon(work);
                }
                Some(Handle::Async { cancelled, task }) => {
                    cancelled.store(true, Ordering::Relaxed);
                    task.abort();
                }
                None => {}
            }
        }
        self.go_on(ctx);
    }
}

impl Handler<Compile> for Executor {
    type Result = ();

    fn handle(&mut self, Compile { compilation, compiler, source, done }: Compile, ctx: &mut Context<Self>) {
        let refused = done.clone();
        let go = Box::new(move || {
            let program = contain::compile(&*compiler, &source);
            post(&done, Compiled { compilation, program });
        });
        let refuse = Box::new(move |error| post(&refused, Compiled { compilation, program: Err(error) }));
        self.pool(0, Work { go, refuse }, ctx);
    }
}

impl Handler<Returned> for Executor {
    type Result = ();

    fn handle(&mut self, Returned { work }: Returned, ctx: &mut Context<Self>) {
        self.lanes.returned(work);
        self.works.retain(|_, handle| !matches!(handle, Handle::Pool { work: own, .. } if *own == work));
        self.go_on(ctx);
    }
}

impl Handler<Ended> for Executor {
    type Result = ();

    fn handle(&mut self, Ended { tag, job }: Ended, _: &mut Context<Self>) {
        self.works.remove(&(tag, job));
    }
}

/// Asks programs that are inline for some inputs only.
fn is_inline(task: &Task) -> bool {
    let metadata = || task.inputs.iter().map(|input| input.metadata().clone()).collect::<Vec<_>>();
    matches!(task.program.body, Body::Sized(..)) && task.program.is_inline(&metadata())
}

fn program_call(task: Task, early: Recipient<Published>, cancelled: Arc<AtomicBool>) -> ProgramCall {
    ProgramCall {
        program: task.name,
        inputs: task.inputs,
        outputs: Outputs::new(task.outputs, task.job, Some(early)),
        baggage: task.baggage,
        deadline: Instant::from_std(task.deadline),
        cancelled,
    }
}

fn send(done: &Recipient<Fulfil>, job: u64, outcome: Result<Vec<remex_protocol::tensor::Tensor>>) {
    post(done, Fulfil(vec![Finished { job, outcome }]));
}
