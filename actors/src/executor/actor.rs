//! The executor as an actor.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::{Actor, AsyncContext, Context, Handler, Recipient};
use futures_util::{FutureExt, future::LocalBoxFuture};
use remex_protocol::{ErrorCode, RemoteError, tensor::Tensor};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    Abort, Compile, Ended, ExecutorConfig, Pool, Returned, Run, Task,
    behind::Turn,
    contain,
    finish::{Finish, Made, Reported},
    lanes::Lanes,
};
use crate::{
    Error, Result,
    envelope::post,
    objects::{Account, Fulfil, MemoryBudget, MemoryFreed},
    programs::{AsyncCall, Body, Outputs, ProgramCall, ProgramError, Published, invoke},
};

/// An inline run that takes longer holds up the whole task, and is logged.
pub(super) const INLINE_LIMIT: Duration = Duration::from_millis(1);

/// Runs and compiles programs: the only place where user code runs.
#[derive(Debug)]
pub struct Executor {
    pool: Pool,
    memory: MemoryBudget,
    lanes: Lanes<Work>,
    /// Counts works.
    last: u64,
    /// Works that were not inline and have not ended, by object manager and run.
    works: BTreeMap<(u64, u64), Handle>,
    /// Works in the lanes that would have run inline had there been memory: younger ones do not overtake them, and take the memory
    /// that they wait for.
    held_up: BTreeSet<u64>,
    /// What inline runs are told: they are over before anybody could give them up.
    never: Arc<AtomicBool>,
}

/// Something for the pool.
///
/// Called with an error it does not run but says why. Dropped without a call it says so, too.
struct Work(Box<dyn FnOnce(Result<()>) + Send>);

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
    ///
    /// While `memory` is exceeded no program begins on the pool, and none inline: the outputs of those that ran are of a
    /// size that nobody knew.
    pub fn new(config: &ExecutorConfig, memory: MemoryBudget) -> Self {
        let lanes = Lanes::new(&config.lanes, config.threads);
        Self {
            pool: config.pool.clone(),
            memory,
            lanes,
            last: 0,
            works: BTreeMap::new(),
            held_up: BTreeSet::new(),
            never: Arc::default(),
        }
    }

    fn pool(&mut self, lane: u16, work: Work, ctx: &mut Context<Self>) -> u64 {
        self.last += 1;
        self.lanes.push(lane, self.last, work);
        self.go_on(ctx);
        self.last
    }

    /// Starts what may start; refuses what may never.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        // Outputs of unknown size are counted when they are made: so each thread oversteps the budget by one program's.
        while !self.memory.is_over()
            && let Some((id, work)) = self.lanes.next()
        {
            self.held_up.remove(&id);
            let executor = ctx.address().recipient();
            let go = move || {
                (work.0)(Ok(()));
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
            for (id, work) in self.lanes.drain() {
                self.held_up.remove(&id);
                (work.0)(Err(error.clone()));
            }
        }
    }

    fn run_inline(call: ProgramCall, program: &dyn crate::programs::Program) -> Result<Vec<Tensor>> {
        let (begin, name) = (Instant::now(), call.program.clone());
        let outcome = contain::run(program, call);
        let took = begin.elapsed();
        if took > INLINE_LIMIT {
            tracing::warn!(program = %name, ?took, "an inline program held up its task: let it run on the pool");
        }
        outcome
    }
}

impl Actor for Executor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.memory.tell_executor(ctx.address().recipient().downgrade());
    }

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

    fn handle(&mut self, Run { tag, tasks, behind, done, early, context }: Run, ctx: &mut Context<Self>) {
        let mut turn = Turn::of(tasks.len() + behind.len());
        let account = Account::new(self.memory.clone(), tag);
        for mut task in tasks {
            let (job, lane, program) = (task.job, task.lane, task.program.clone());
            let may_inline = is_inline(&task);
            let inline = may_inline && self.held_up.is_empty() && !self.memory.is_over();
            let cancelled = if inline { self.never.clone() } else { Arc::default() };
            let (output_ids, holds) = (std::mem::take(&mut task.output_ids), std::mem::take(&mut task.holds));
            let task_reserved = task.reserved;
            let call = program_call(task, early.clone(), cancelled.clone());
            let made = Made { account: account.clone(), reserved: task_reserved };
            let finish = Finish { done: done.clone(), job, made, told: false };
            match &program.body {
                Body::Inline(program) | Body::Sized(program, _) if inline => {
                    let outcome = Self::run_inline(call, &**program);
                    turn.push(Some(finish.told(outcome)));
                    continue;
                }
                Body::Inline(program) | Body::Pool(program) | Body::Sized(program, _) => {
                    let program = program.clone();
                    let go = move |may: Result<()>| {
                        finish.tell(may.and_then(|()| contain::run(&*program, call)));
                        drop(holds);
                    };
                    let work = self.last + 1;
                    self.works.insert((tag, job), Handle::Pool { work, cancelled });
                    if may_inline {
                        self.held_up.insert(work);
                    }
                    self.pool(lane, Work(Box::new(go)), ctx);
                }
                Body::Async(program) => {
                    // Making the future is the program's code, too: it belongs under the same `catch_unwind` (I9).
                    let (name, program) = (call.program.clone(), program.clone());
                    let (call, guard) = AsyncCall::new(call, output_ids, context.clone());
                    let future = Box::pin(async move {
                        let outcome = program(call).await;
                        drop(holds);
                        if let (Ok(_), Some(guard)) = (&outcome, guard) {
                            guard.succeeded();
                        }
                        outcome
                    });
                    self.run_async(tag, name, future, cancelled, finish, ctx);
                }
                Body::Actor(actor) => {
                    let (name, run) = (call.program.clone(), invoke(actor.clone(), call));
                    let future = Box::pin(async move {
                        let outcome = run.await;
                        drop(holds);
                        outcome
                    });
                    self.run_async(tag, name, future, cancelled, finish, ctx);
                }
            }
            turn.push(None);
        }
        for mut next in behind {
            let Some(inputs) = turn.inputs(&next).filter(|_| self.held_up.is_empty() && !self.memory.is_over()) else {
                turn.push(None);
                continue;
            };
            next.task.inputs = inputs;
            // The memory of inputs is free when the program has returned, not before.
            let _holds = std::mem::take(&mut next.task.holds);
            let (job, program) = (next.task.job, next.task.program.clone());
            let Body::Inline(program) = &program.body else {
                turn.push(None);
                continue;
            };
            let made = Made { account: account.clone(), reserved: next.task.reserved };
            let outcome = Self::run_inline(program_call(next.task, early.clone(), self.never.clone()), &**program);
            turn.push(Some(made.finished(job, outcome)));
        }
        let finished = turn.finish();
        if !finished.is_empty() {
            post(&done, Fulfil(finished));
        }
    }
}

impl Handler<MemoryFreed> for Executor {
    type Result = ();

    fn handle(&mut self, _: MemoryFreed, ctx: &mut Context<Self>) {
        self.go_on(ctx);
    }
}

impl Executor {
    fn run_async(
        &mut self,
        tag: u64,
        name: Arc<str>,
        future: LocalBoxFuture<'static, Result<Vec<Tensor>, ProgramError>>,
        cancelled: Arc<AtomicBool>,
        finish: Finish,
        ctx: &mut Context<Self>,
    ) {
        let job = finish.job;
        let executor = ctx.address().recipient();
        let run = async move {
            let outcome = match std::panic::AssertUnwindSafe(future).catch_unwind().await {
                Ok(outcome) => outcome.map_err(|error| contain::failed(error, &name)),
                Err(panic) => Err(contain::panicked(&*panic, &name)),
            };
            finish.tell(outcome);
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
                    self.held_up.remove(&work);
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
        let compiled = Reported { compilation, done: Some(done) };
        let go = move |may: Result<()>| compiled.tell(may.and_then(|()| contain::compile(&*compiler, &source)));
        self.pool(0, Work(Box::new(go)), ctx);
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

/// Whether a run with these inputs is done on the arbiter.
fn is_inline(task: &Task) -> bool {
    match &task.program.body {
        Body::Inline(_) => true,
        Body::Sized(..) => {
            let metadata: Vec<_> = task.inputs.iter().map(|input| input.metadata().clone()).collect();
            task.program.is_inline(&metadata)
        }
        Body::Pool(_) | Body::Async(_) | Body::Actor(_) => false,
    }
}

fn program_call(task: Task, early: Arc<Recipient<Published>>, cancelled: Arc<AtomicBool>) -> ProgramCall {
    ProgramCall {
        program: task.name,
        inputs: task.inputs,
        outputs: Outputs::new(task.outputs, task.job, Some(early)),
        baggage: task.baggage,
        deadline: Instant::from_std(task.deadline),
        cancelled,
    }
}
