//! The object manager as an actor.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Recipient};
use remex_protocol::{
    ErrorCode, Frame, RemoteError,
    ids::{CallId, ObjectId},
};
use tokio::time::Instant;

use super::{
    Bound, Close, Fetched, Foreseen, Fulfil, Inspect, List, Listed, Resolve, SessionEnded, SpillOut, Stats, Step,
    Wanted,
    disk::{ReadBack, WriteOut},
    memory::{Account, Held, MemoryBudget, MemoryFreed},
    messages::answer_died,
    pressure::{Restored, Written},
    store::{Effect, Store},
};
use crate::{
    Result,
    alarm::Alarm,
    chance::Chance,
    context::ContextShared,
    envelope::post,
    executor::{Abort, Run},
    limits::ObjectLimits,
    programs::Published,
    session::{Answers, SessionId},
};

/// Keeps the objects of one context on one task.
#[derive(Debug)]
pub struct ObjectManager {
    state: Store,
    /// Names this manager's runs among those of a task.
    tag: u64,
    sessions: BTreeMap<SessionId, Arc<Recipient<Answers>>>,
    run: Recipient<Run>,
    abort: Recipient<Abort>,
    wanted: Recipient<Wanted>,
    context: Option<Arc<ContextShared>>,
    /// Where runs tell of themselves: made once, since each batch of runs has them.
    done: Option<Arc<Recipient<Fulfil>>>,
    early: Option<Arc<Recipient<Published>>>,
    alarm: Alarm,
}

/// Who an object manager works with.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// Runs programs.
    pub run: Recipient<Run>,
    /// Stops them.
    pub abort: Recipient<Abort>,
    /// Gets objects from other tasks.
    pub wanted: Recipient<Wanted>,
    /// The context of the objects, for programs that call other tasks.
    pub context: Option<Arc<ContextShared>>,
    /// The memory that the task's objects may take.
    pub memory: MemoryBudget,
    /// How many objects and calls there may be.
    pub limits: ObjectLimits,
    /// What tokens are drawn from, so that nobody guesses them.
    pub chance: Chance,
}

impl ObjectManager {
    /// An empty manager on `task`. `tag` names its runs among those of the task, `seed` is for its hash table.
    pub fn new(task: impl Into<String>, tag: u64, seed: u64, neighbours: Neighbours) -> Self {
        let Neighbours { run, abort, wanted, context, memory, limits, chance } = neighbours;
        let state = Store::new(task, seed, Account::new(memory, tag), limits, chance);
        let sessions = BTreeMap::new();
        Self { state, tag, sessions, run, abort, wanted, context, done: None, early: None, alarm: Alarm::default() }
    }

    /// Stores a chain that is ready from the beginning.
    #[must_use]
    pub fn with_ready_chain(mut self, id: ObjectId) -> Self {
        self.state.store(id, Held::chain());
        self
    }

    /// Does what the state wants done: one message for each neighbour.
    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        let (mut aborted, mut wanted, mut writes) = (Vec::new(), Vec::new(), Vec::new());
        let mut tasks = self.state.take_runs();
        let mut answers: Vec<(SessionId, Vec<Frame>)> = Vec::new();
        let effects = self.state.take_effects();
        let most = effects.len();
        for effect in effects {
            match effect {
                Effect::Abort(job) => aborted.push(job),
                Effect::Want(want) => wanted.push(want),
                Effect::Write(write) => writes.push(write),
                Effect::Read(read) => self.read(read, ctx),
                Effect::Answer(session, frame) => match answers.last_mut() {
                    Some((last, frames)) if *last == session => frames.push(frame),
                    _ => {
                        let mut frames = Vec::with_capacity(most);
                        frames.push(frame);
                        answers.push((session, frames));
                    }
                },
            }
        }
        if !tasks.is_empty() && !self.run.connected() {
            let error = RemoteError::new(ErrorCode::Internal, "the executor of the task died, which is a bug");
            for task in std::mem::take(&mut tasks) {
                self.state.finished(task.job, Err(error.clone().into()));
            }
            self.carry_out(ctx);
        }
        if !tasks.is_empty() {
            let behind = self.state.behind(&tasks);
            let done = self.done.get_or_insert_with(|| Arc::new(ctx.address().recipient())).clone();
            let early = self.early.get_or_insert_with(|| Arc::new(ctx.address().recipient())).clone();
            post(&self.run, Run { tag: self.tag, tasks, behind, done, early, context: self.context.clone() });
        }
        if !aborted.is_empty() {
            post(&self.abort, Abort { tag: self.tag, jobs: aborted });
        }
        if !wanted.is_empty() {
            post(&self.wanted, Wanted(wanted));
        }
        if !writes.is_empty() {
            self.write(writes, ctx);
        }
        for (session, frames) in answers {
            if let Some(recipient) = self.sessions.get(&session) {
                post(recipient, Answers(frames));
            }
        }
        self.alarm.set(self.state.earliest(), ctx, Self::ring);
    }

    /// Writes objects, one after the other. After one that failed the others are not tried.
    fn write(&self, writes: Vec<WriteOut>, ctx: &Context<Self>) {
        let Some(disk) = &self.state.disk else { return };
        let done: Recipient<Written> = ctx.address().recipient();
        disk.run(move || {
            let mut failed = false;
            for write in writes {
                let (victim, file) = if failed { (write.victim, None) } else { write.run() };
                let (tried, ok) = (!failed, file.is_some());
                post(&done, Written { victim, tried, file });
                failed |= !ok;
            }
        });
    }

    fn read(&self, read: ReadBack, ctx: &Context<Self>) {
        let Some(disk) = &self.state.disk else { return };
        let done: Recipient<Restored> = ctx.address().recipient();
        disk.run(move || {
            let outcome = read.run();
            post(&done, Restored { object: read.object, number: read.number, outcome });
        });
    }

    fn ring(&mut self, ctx: &mut Context<Self>) {
        self.alarm.rang();
        self.state.expire(Instant::now().into_std());
        self.carry_out(ctx);
    }
}

impl Actor for ObjectManager {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.state.set_now(Instant::now().into_std());
        self.state.account.attach(ctx.address().recipient(), ctx.address().recipient());
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.state.account.detach();
    }
}

impl Handler<MemoryFreed> for ObjectManager {
    type Result = ();

    fn handle(&mut self, _: MemoryFreed, ctx: &mut Context<Self>) {
        self.state.freed();
        self.carry_out(ctx);
    }
}

impl Handler<Resolve> for ObjectManager {
    type Result = ();

    fn handle(&mut self, mut resolve: Resolve, ctx: &mut Context<Self>) {
        self.state.set_now(Instant::now().into_std());
        let (session, answers) = (resolve.session, resolve.answers.clone());
        self.sessions.entry(session).or_insert_with(|| answers.clone());
        self.state.expect_runs(resolve.steps.len());
        let mut rest = Rest { steps: std::mem::take(&mut resolve.steps).into_iter(), current: None, answers };
        for step in rest.steps.by_ref() {
            rest.current = step.named();
            self.state.step(session, step);
            rest.current = None;
        }
        self.carry_out(ctx);
    }
}

/// The steps of a batch that have not been carried out. A panic answers them, as nobody else would.
struct Rest {
    steps: std::vec::IntoIter<Step>,
    current: Option<(CallId, u8)>,
    answers: Arc<Recipient<Answers>>,
}

impl Drop for Rest {
    fn drop(&mut self) {
        let current = self.current.take();
        answer_died(&self.answers, current.into_iter().chain(self.steps.by_ref().filter_map(|step| step.named())));
    }
}

impl Drop for ObjectManager {
    /// After an orderly end nothing waits. This one died: its calls and puts fail with that (I1).
    fn drop(&mut self) {
        let error = RemoteError::new(ErrorCode::Internal, "the object manager of the context died, which is a bug");
        // What panicked may have left the state half changed. A second panic, in the middle of the first, would end the
        // process.
        let failed = catch_unwind(AssertUnwindSafe(|| {
            self.state.close(self.state.here(error));
            self.state.take_effects()
        }));
        for effect in failed.unwrap_or_default() {
            if let Effect::Answer(session, frame) = effect
                && let Some(recipient) = self.sessions.get(&session)
            {
                post(recipient, Answers(vec![frame]));
            }
        }
    }
}

impl Handler<Bound> for ObjectManager {
    type Result = ();

    fn handle(&mut self, Bound { compilation, program }: Bound, ctx: &mut Context<Self>) {
        self.state.bound(compilation, program);
        self.carry_out(ctx);
    }
}

impl Handler<Fetched> for ObjectManager {
    type Result = ();

    fn handle(&mut self, Fetched { object, outcome }: Fetched, ctx: &mut Context<Self>) {
        self.state.fetched(object, outcome);
        self.carry_out(ctx);
    }
}

impl Handler<Foreseen> for ObjectManager {
    type Result = ();

    fn handle(&mut self, Foreseen { object, metadata }: Foreseen, ctx: &mut Context<Self>) {
        self.state.foreseen(object, metadata);
        self.carry_out(ctx);
    }
}

impl Handler<SessionEnded> for ObjectManager {
    type Result = ();

    fn handle(&mut self, SessionEnded { session, lost }: SessionEnded, ctx: &mut Context<Self>) {
        self.state.end_session(session, lost);
        // Who has only left the context still listens; who is gone does not.
        self.carry_out(ctx);
        self.sessions.remove(&session);
    }
}

impl Handler<Close> for ObjectManager {
    type Result = Result<()>;

    fn handle(&mut self, Close(error): Close, ctx: &mut Context<Self>) -> Result<()> {
        self.state.close(error);
        self.carry_out(ctx);
        ctx.stop();
        Ok(())
    }
}

impl Handler<Fulfil> for ObjectManager {
    type Result = ();

    fn handle(&mut self, Fulfil(finished): Fulfil, ctx: &mut Context<Self>) {
        self.state.expect_answers(finished.len());
        for run in finished {
            self.state.counted(run.job, run.lease);
            self.state.finished(run.job, run.outcome);
        }
        self.state.look_again();
        self.carry_out(ctx);
    }
}

impl Handler<Published> for ObjectManager {
    type Result = ();

    fn handle(&mut self, Published { job, output, what }: Published, ctx: &mut Context<Self>) {
        self.state.published(job, output, what);
        self.carry_out(ctx);
    }
}

impl Handler<List> for ObjectManager {
    type Result = Result<Listed>;

    fn handle(&mut self, list: List, _: &mut Context<Self>) -> Result<Listed> {
        Ok(self.state.list(list, Instant::now().into_std()))
    }
}

impl Handler<SpillOut> for ObjectManager {
    type Result = ();

    fn handle(&mut self, SpillOut(victims): SpillOut, ctx: &mut Context<Self>) {
        self.state.spill_out(victims);
        self.carry_out(ctx);
    }
}

impl Handler<Written> for ObjectManager {
    type Result = ();

    fn handle(&mut self, Written { victim, tried, file }: Written, ctx: &mut Context<Self>) {
        self.state.written(victim, tried, file);
        self.carry_out(ctx);
    }
}

impl Handler<Restored> for ObjectManager {
    type Result = ();

    fn handle(&mut self, Restored { object, number, outcome }: Restored, ctx: &mut Context<Self>) {
        self.state.read_back(object, number, outcome);
        self.carry_out(ctx);
    }
}

impl Handler<Inspect> for ObjectManager {
    type Result = Result<Stats>;

    fn handle(&mut self, _: Inspect, _: &mut Context<Self>) -> Result<Stats> {
        Ok(self.state.stats())
    }
}
