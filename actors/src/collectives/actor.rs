//! The collectives of a context as an actor: it knows which run a chunk belongs to.

use std::{collections::BTreeMap, sync::Arc};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Recipient};
use remex_protocol::{
    ErrorCode, RemoteError,
    cluster::{GroupMembers, TaskName},
    collective::ChunkHeader,
    ids::TaskIndex,
    tensor::BufferPool,
};
use tokio::time::Instant;

use super::{
    ArrivedChunk, ChunkArrived, Chunks, Close, CollectiveLimits, CollectiveRecipients, CollectiveStats, Ended, GiveUp,
    Inspect, Join, SendChunk, TaskLost,
    collective::Collective,
    member::{Member, Spec},
    runs::{Arrived, Belongs, RunKey, Runs},
};
use crate::{Error, Result, alarm::Alarm, envelope::post, rendezvous::Answer};

/// The collectives of one context on one task.
#[derive(Debug)]
pub struct Collectives {
    own: TaskIndex,
    /// This task, for messages.
    task: Arc<str>,
    groups: Vec<Members>,
    runs: Runs<Answer>,
    running: BTreeMap<RunKey, Running>,
    send: Recipient<SendChunk>,
    alarm: Alarm,
    buffers: BufferPool,
}

/// Who is in a group.
#[derive(Debug)]
struct Members {
    name: String,
    tasks: Arc<[TaskIndex]>,
    names: Arc<[TaskName]>,
}

#[derive(Debug)]
struct Running {
    chunks: Recipient<Chunks>,
    give_up: Recipient<GiveUp>,
}

impl Collectives {
    /// The collectives of a task that is number `own` of the context's `tasks`. Chunks leave by `send`; memory
    /// comes from `buffers`.
    pub fn new(
        own: TaskIndex,
        tasks: &[TaskName],
        groups: &[GroupMembers],
        send: Recipient<SendChunk>,
        limits: CollectiveLimits,
        buffers: BufferPool,
    ) -> Self {
        let name = |task: &TaskIndex| tasks.get(task.position()).cloned();
        let groups = groups.iter().map(|group| Members {
            name: group.name.clone(),
            tasks: group.members.clone().into(),
            // All are in the table: groups are checked where they come in.
            names: group.members.iter().filter_map(name).collect(),
        });
        let task = tasks.get(own.position()).map(TaskName::to_string).unwrap_or_default().into();
        let (groups, runs, running) = (groups.collect(), Runs::new(limits), BTreeMap::new());
        Self { own, task, groups, runs, running, send, alarm: Alarm::default(), buffers }
    }

    /// The ways to one that runs.
    pub fn recipients(addr: &Addr<Self>) -> CollectiveRecipients {
        CollectiveRecipients {
            join: addr.clone().recipient(),
            arrived: addr.clone().recipient(),
            lost: addr.clone().recipient(),
            close: addr.clone().recipient(),
            inspect: addr.clone().recipient(),
        }
    }

    /// The number of a group, and this task's number in it.
    fn place(&self, group: &str) -> Result<(u16, u16)> {
        let Some(index) = self.groups.iter().position(|known| known.name == group) else {
            let known: Vec<_> = self.groups.iter().map(|group| group.name.as_str()).collect();
            let message = match known.is_empty() {
                true => format!("the context has no group {group:?}: it was made without groups"),
                false => format!("the context has no group {group:?}; it has {}", known.join(", ")),
            };
            return Err(Error::new(ErrorCode::NotFound, message));
        };
        // Both fit: groups and members are limited.
        Ok((index as u16, self.member(index, self.own)?))
    }

    fn member(&self, group: usize, task: TaskIndex) -> Result<u16> {
        let members = &self.groups[group];
        members.tasks.iter().position(|member| *member == task).map(|member| member as u16).ok_or_else(|| {
            let known: Vec<_> = members.names.iter().map(TaskName::to_string).collect();
            let message = format!("task {task} is not in group {:?}, which has {}", members.name, known.join(", "));
            Error::new(ErrorCode::InvalidArgument, message)
        })
    }

    fn join(&mut self, join: Join, ctx: &mut Context<Self>) {
        let joined = self.place(&join.group).and_then(|(group, me)| {
            let (run, early) = self.runs.join(group, &join.name)?;
            Ok((group, me, run, early))
        });
        let (group, me, run, early) = match joined {
            Ok(joined) => joined,
            Err(error) => return join.to.settle(Err(error.map(|error| error.on_task(&self.task)))),
        };
        let members = &self.groups[usize::from(group)];
        let key = RunKey { group, name: join.name.clone(), run };
        let spec = Spec::new((group, join.name, run), join.op, me, members.names.clone(), self.buffers.clone());
        let collective = Collective {
            key: key.clone(),
            task: self.task.clone(),
            member: Member::start(spec, join.input),
            members: members.tasks.clone(),
            until: Instant::from_std(join.until),
            to: Some(join.to),
            early,
            send: self.send.clone(),
            ended: ctx.address().recipient(),
        };
        let addr = collective.start();
        self.running.insert(key, Running { chunks: addr.clone().recipient(), give_up: addr.recipient() });
    }

    fn check(&self, chunk: &ArrivedChunk) -> Result<(u16, ChunkHeader)> {
        let invalid = |message: String| Error::new(ErrorCode::InvalidArgument, message);
        let header = ChunkHeader::from_bytes(&chunk.header)
            .map_err(|error| invalid(format!("the header of a collective's chunk is malformed: {error}")))?;
        let group = usize::from(header.group);
        if group >= self.groups.len() {
            return Err(invalid(format!("there is no group number {group}")));
        }
        self.member(group, self.own)?;
        Ok((self.member(group, chunk.from)?, header))
    }

    /// Finds the run of a chunk. One that runs here gets it with others in one message.
    fn sort(
        &mut self,
        now: std::time::Instant,
        chunk: ArrivedChunk,
        sorted: &mut BTreeMap<RunKey, Vec<Arrived<Answer>>>,
    ) {
        let (from, header) = match self.check(&chunk) {
            Ok(checked) => checked,
            Err(error) => return chunk.answer.give(Err(error), &self.task),
        };
        let key = RunKey { group: header.group, name: chunk.name.clone(), run: header.run };
        let arrived = Arrived { from, header, payload: chunk.payload, answer: Some(chunk.answer) };
        match self.runs.arrive(now, &chunk.name, chunk.until, arrived) {
            Belongs::Running(arrived) => sorted.entry(key).or_default().push(arrived),
            Belongs::Elsewhere(answers) => answers.into_iter().for_each(|answer| answer.give(Ok(()), &self.task)),
            Belongs::Nowhere(answer, error) => {
                if let Some(answer) = answer {
                    answer.give(Err(error), &self.task);
                }
            }
        }
    }

    fn ring(&mut self, ctx: &mut Context<Self>) {
        self.alarm.rang();
        for answer in self.runs.expire(Instant::now().into_std()) {
            let message = "this task did not join the collective in time";
            answer.give(Err(Error::new(ErrorCode::DeadlineExceeded, message)), &self.task);
        }
        self.alarm.set(self.runs.earliest(), ctx, Self::ring);
    }
}

impl Actor for Collectives {
    type Context = Context<Self>;
}

impl Handler<Join> for Collectives {
    type Result = ();

    fn handle(&mut self, join: Join, ctx: &mut Context<Self>) {
        self.join(join, ctx);
    }
}

impl Handler<ChunkArrived> for Collectives {
    type Result = ();

    fn handle(&mut self, ChunkArrived(chunks): ChunkArrived, ctx: &mut Context<Self>) {
        let (now, mut sorted) = (Instant::now().into_std(), BTreeMap::new());
        for chunk in chunks {
            self.sort(now, chunk, &mut sorted);
        }
        for (key, chunks) in sorted {
            if let Some(running) = self.running.get(&key) {
                post(&running.chunks, Chunks(chunks));
            }
        }
        self.alarm.set(self.runs.earliest(), ctx, Self::ring);
    }
}

impl Handler<TaskLost> for Collectives {
    type Result = ();

    fn handle(&mut self, TaskLost { task, error }: TaskLost, _: &mut Context<Self>) {
        for (key, running) in &self.running {
            if self.groups[usize::from(key.group)].tasks.contains(&task) {
                post(&running.give_up, GiveUp(error.clone()));
            }
        }
    }
}

impl Handler<Ended> for Collectives {
    type Result = ();

    fn handle(&mut self, Ended(key): Ended, _: &mut Context<Self>) {
        self.runs.ended(&key);
        self.running.remove(&key);
    }
}

impl Handler<Inspect> for Collectives {
    type Result = Result<CollectiveStats>;

    fn handle(&mut self, _: Inspect, _: &mut Context<Self>) -> Result<CollectiveStats> {
        Ok(self.runs.stats())
    }
}

impl Drop for Collectives {
    /// After an orderly end nothing runs. This one died, and what runs would wait for chunks that nobody hands on.
    fn drop(&mut self) {
        let message = "the actor that runs the context's collectives died, which is a bug";
        let error = Error::from(RemoteError::new(ErrorCode::Internal, message).on_task(&self.task));
        std::mem::take(&mut self.running).into_values().for_each(|run| post(&run.give_up, GiveUp(error.clone())));
    }
}

impl Handler<Close> for Collectives {
    type Result = Result<()>;

    fn handle(&mut self, Close(error): Close, ctx: &mut Context<Self>) -> Result<()> {
        for running in std::mem::take(&mut self.running).into_values() {
            post(&running.give_up, GiveUp(error.clone()));
        }
        // Forgotten answers say that the context is gone.
        self.runs.close();
        ctx.stop();
        Ok(())
    }
}
