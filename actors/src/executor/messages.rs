//! What an `Executor` is told.

use std::{sync::Arc, time::Instant};

use actix::{Message, Recipient};
use remex_protocol::{ids::ObjectId, tensor::Tensor};
use smallvec::SmallVec;

use crate::{
    Result,
    context::ContextShared,
    objects::{Fulfil, Holds},
    programs::{Compiler, Executable, Published, Source},
};

// From object managers.

/// Programs to run. Those that run inline are answered together; the others each when it ends.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Run {
    /// Names the object manager among those of the task.
    pub tag: u64,
    /// What to run, in order.
    pub tasks: Vec<Task>,
    /// What may be run behind these, in order, each with outputs of those before. It is an offer: what is not told of in the same
    /// [`Fulfil`] as the last one that it takes something of is asked for again, as a task, when that is there.
    pub behind: Vec<Behind>,
    /// Gets the results.
    pub done: Arc<Recipient<Fulfil>>,
    /// Gets what is known of outputs before the run is done.
    pub early: Arc<Recipient<Published>>,
    /// The context that all of them are of, for programs that call other tasks.
    pub context: Option<Arc<ContextShared>>,
}

/// One run of a program.
#[derive(Debug)]
pub struct Task {
    /// Names the run among those of its object manager.
    pub job: u64,
    /// The name that the program was registered under.
    pub name: Arc<str>,
    /// The program.
    pub program: Arc<Executable>,
    /// Its inputs, in order.
    pub inputs: Vec<Tensor>,
    /// How many outputs the call names.
    pub outputs: usize,
    /// The ids of the outputs, in order; empty unless the program is async.
    pub output_ids: Vec<ObjectId>,
    /// The caller's key-values.
    pub baggage: Vec<(String, String)>,
    /// When the caller gives up.
    pub deadline: Instant,
    /// The lane that it runs on: the number of its device on this task.
    pub lane: u16,
    /// The memory of the inputs: it is free when the program has returned, not before.
    pub(crate) holds: Holds,
    /// Bytes of outputs for which there is memory already.
    pub(crate) reserved: u64,
}

#[cfg(test)]
impl Task {
    /// A run with one output and nothing besides.
    pub(crate) fn sample(job: u64, program: &Arc<Executable>, inputs: Vec<Tensor>) -> Self {
        Self {
            job,
            name: "p".into(),
            program: program.clone(),
            inputs,
            outputs: 1,
            output_ids: Vec::new(),
            baggage: Vec::new(),
            deadline: crate::testing::instant(),
            lane: 0,
            holds: Holds::new(),
            reserved: 0,
        }
    }
}

/// One run of a program that takes outputs of others in the same message.
#[derive(Debug)]
pub struct Behind {
    /// The run, without its inputs.
    pub task: Task,
    /// Its inputs, in order.
    pub inputs: SmallVec<[Given; 3]>,
    /// What must have succeeded besides, as [`Given::Output`] counts.
    pub after: SmallVec<[u32; 2]>,
}

/// An input of a run that goes behind others.
#[derive(Clone, Debug)]
pub enum Given {
    /// It is here.
    Here(Tensor),
    /// An output of another run of the message.
    Output {
        /// Which run: its place among the tasks, and behind them those that go behind.
        task: u32,
        /// Which output of it.
        output: u32,
    },
}

/// Nobody wants the results of these runs any more: one that has not begun does not begin, an async one is dropped at its
/// next await, a sync one goes on and its result is thrown away.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Abort {
    /// The object manager.
    pub tag: u64,
    /// Its runs.
    pub jobs: Vec<u64>,
}

// From contexts.

/// A program to compile, on the pool.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Compile {
    /// Names the compilation among those of its context.
    pub compilation: u64,
    /// Makes the program.
    pub compiler: Arc<dyn Compiler>,
    /// Its source.
    pub source: Source,
    /// Gets the program.
    pub done: Recipient<Compiled>,
}

/// A compilation ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Compiled {
    /// Which.
    pub compilation: u64,
    /// The program, or why there is none.
    pub program: Result<Arc<Executable>>,
}

// From its own runs.

/// A run on the pool has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Returned {
    pub(super) work: u64,
}

/// An async run has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Ended {
    pub(super) tag: u64,
    pub(super) job: u64,
}
