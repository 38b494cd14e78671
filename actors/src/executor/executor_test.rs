//! What an executor does of what it is told, by itself.

use std::sync::{Arc, Mutex};

use actix::{Actor, Addr};
use remex_protocol::tensor::Tensor;

use super::{Behind, Executor, ExecutorConfig, Given, Pool, Run, Task};
use crate::{
    Error,
    envelope::post,
    objects::{Account, Finished, Fulfil, MemoryBudget, MemoryLimits},
    programs::{Executable, ProgramError, Published, native},
    testing::Probe,
};

struct Rig {
    executor: Addr<Executor>,
    memory: MemoryBudget,
    fulfilled: Probe<Fulfil>,
    done: Arc<actix::Recipient<Fulfil>>,
    early: Arc<actix::Recipient<Published>>,
    _early: Probe<Published>,
}

impl Rig {
    fn start(bytes: u64) -> Self {
        let memory = MemoryBudget::new(MemoryLimits { bytes, ..MemoryLimits::default() });
        let config = ExecutorConfig { lanes: vec![1], threads: 1, pool: Pool::Arbiter };
        let executor = Executor::new(&config, memory.clone()).start();
        let ((fulfilled, done), (_early, early)) = (Probe::start(), Probe::start());
        Self { executor, memory, fulfilled, done: Arc::new(done), early: Arc::new(early), _early }
    }

    fn run(&self, tasks: Vec<Task>, behind: Vec<Behind>) {
        let (done, early) = (self.done.clone(), self.early.clone());
        post(&self.executor.clone().recipient(), Run { tag: 1, tasks, behind, done, early, context: None });
    }

    /// The runs of the next message that tells how some ended.
    async fn next(&self) -> Vec<(u64, Result<Vec<Tensor>, Error>)> {
        let Fulfil(finished) = self.fulfilled.next().await;
        finished.into_iter().map(|Finished { job, outcome, .. }| (job, outcome)).collect()
    }
}

fn behind(job: u64, program: &Arc<Executable>, inputs: &[Given]) -> Behind {
    Behind {
        task: Task::sample(job, program, Vec::new()),
        inputs: inputs.iter().cloned().collect(),
        after: [].into_iter().collect(),
    }
}

fn scalar(x: f32) -> Tensor {
    Tensor::scalar(x).unwrap()
}

/// Adds up its inputs; a sum over 100 is a failure.
fn sum() -> Executable {
    native(|inputs| {
        let sum: f32 = inputs.iter().map(|input| input.elements::<f32>().unwrap()[0]).sum();
        if sum > 100.0 { Err(ProgramError::invalid("too much")) } else { Ok(vec![Tensor::scalar(sum)?]) }
    })
}

/// What goes behind others takes what they gave, in one turn; behind a failure, and behind what is not done in this turn, it is left.
#[actix::test]
async fn runs_behind_others_take_their_outputs() {
    let rig = Rig::start(1 << 20);
    let (inline, pool) = (Arc::new(sum().inline()), Arc::new(sum()));
    let of = |task| Given::Output { task, output: 0 };
    let tasks = vec![
        Task::sample(1, &inline, vec![scalar(1.0)]),
        Task::sample(2, &pool, vec![scalar(2.0)]),
        Task::sample(3, &inline, vec![scalar(101.0)]),
    ];
    let later = vec![
        behind(4, &inline, &[of(0), Given::Here(scalar(40.0)), of(0)]),
        behind(5, &inline, &[of(3), of(0)]),
        behind(6, &inline, &[of(1)]),
        behind(7, &inline, &[of(2)]),
        behind(8, &inline, &[of(6)]),
    ];
    rig.run(tasks, later);
    let mut ended = rig.next().await;
    let failed = ended.remove(1);
    assert!(failed.0 == 3 && failed.1.is_err(), "{failed:?}");
    assert_eq!(ended, [(1, Ok(vec![scalar(1.0)])), (4, Ok(vec![scalar(42.0)])), (5, Ok(vec![scalar(43.0)]))]);
    assert_eq!(rig.next().await, [(2, Ok(vec![scalar(2.0)]))]);
    tokio::task::yield_now().await;
    assert!(rig.fulfilled.try_next().is_none(), "the others were left");
}

/// What had to wait because memory was exceeded is not overtaken by what comes when there is some: that might take it again, and
/// so for ever.
#[actix::test]
async fn an_inline_run_that_waits_for_memory_is_not_overtaken() {
    let rig = Rig::start(10);
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = order.clone();
    let program = native(move |inputs| {
        noted.lock().unwrap().push(inputs[0].elements::<f32>().unwrap()[0]);
        Ok(vec![inputs[0].clone()])
    });
    let program = Arc::new(program.inline());
    let lease = Account::new(rig.memory.clone(), 1).take(20);
    rig.run(vec![Task::sample(1, &program, vec![scalar(1.0)])], Vec::new());
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(order.lock().unwrap().is_empty(), "memory is exceeded");
    // The executor hears of the second run before it hears that there is memory again.
    rig.run(vec![Task::sample(2, &program, vec![scalar(2.0)])], Vec::new());
    drop(lease);
    assert_eq!((rig.next().await[0].0, rig.next().await[0].0), (1, 2));
    assert_eq!(*order.lock().unwrap(), [1.0, 2.0]);
}
