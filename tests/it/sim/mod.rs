//! Simulated clusters: a seed is a run, each kind of fault does what it says, and the drill finds what is wrong.

#[path = "../../../examples/fault_drill/drill/mod.rs"]
mod drill;
mod drilled;
mod faults;
mod seeds;

use std::sync::Arc;

use remex::{
    prelude::*,
    testing::{FaultPlan, SimCluster, SimClusterBuilder},
};

use crate::support::{add, elements, register, vector};

/// Three tasks that can add, and what befalls them.
fn builder(change: impl FnOnce(&mut FaultPlan)) -> SimClusterBuilder {
    let mut plan = FaultPlan::none();
    change(&mut plan);
    SimCluster::builder(3).seed(7).plan(plan).program("add", add())
}

/// Puts a number on task 1 and adds it to itself, over and over: how many of the calls were right. Each has a second.
async fn doubled(cluster: &SimCluster, context: &ContextHandle, calls: usize) -> usize {
    let Ok(add) = context.register(&cluster.name(1).to_string(), RegisterFunction::native("add")).await else {
        return 0;
    };
    let mut right = 0;
    for i in 0..calls {
        let device = context.device_of(&cluster.name(1).to_string()).unwrap();
        let Ok(x) = context.put(&device, vector(&[i as f32])).await else { continue };
        let call = RemoteExecute::new(&add).inputs([&x, &x]).handles(1).deadline(std::time::Duration::from_secs(1));
        let Ok(call) = context.execute(call).await else { continue };
        let Ok(sum) = call.handles[0].fetch_within(std::time::Duration::from_secs(1)).await else { continue };
        assert_eq!(elements(&sum), [2.0 * i as f32], "an answer that comes is right");
        right += 1;
    }
    right
}

/// A context of task 0, whose calls have a second.
async fn context(cluster: &SimCluster) -> ContextHandle {
    let config = cluster.config().default_deadline(std::time::Duration::from_secs(1));
    cluster.task(0).unwrap().create_context(config).await.unwrap()
}

/// Ends a cluster's context where it can be ended.
async fn end(cluster: SimCluster, context: ContextHandle) {
    cluster.calm().await.unwrap();
    context.close().await.unwrap();
}

/// How often a word stands in what has happened.
fn count(cluster: &SimCluster, word: &str) -> usize {
    cluster.trace().to_string().matches(word).count()
}

/// A program that registers itself in a place outside of all tasks.
fn counter() -> (Arc<std::sync::atomic::AtomicUsize>, remex::Executable) {
    let runs = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = runs.clone();
    let program = native(move |_| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(vec![vector(&[1.0])])
    });
    (runs, program.outputs(1))
}
