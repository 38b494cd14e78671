//! A seed is a run.

use std::time::Duration;

use actix::prelude::*;
use remex::{
    Invoke,
    prelude::*,
    testing::{FaultPlan, SimCluster, Trace},
};

use super::{builder, doubled};
use crate::support::vector;

/// What happens in ten seconds of work under random faults.
fn trace(seed: u64, plan: u64) -> Trace {
    actix::System::new().block_on(async move {
        let cluster = builder(|_| {}).seed(seed).plan(FaultPlan::random(plan)).start().await.unwrap();
        let config = cluster.config().default_deadline(Duration::from_secs(1)).wait(Duration::from_secs(2));
        for _ in 0..3 {
            let made = match cluster.task(0) {
                Some(server) => server.create_context(config.clone()).await,
                None => Err(Error::new(ErrorCode::Unavailable, "it is dead")),
            };
            match made {
                Ok(context) => drop(doubled(&cluster, &context, 10).await),
                Err(_) => cluster.advance(Duration::from_millis(500)).await,
            }
        }
        cluster.trace()
    })
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 0..6 {
        let (one, again) = (trace(seed, seed), trace(seed, seed));
        assert!(one.len() > 50, "{one}");
        assert_eq!(one.to_string(), again.to_string(), "seed {seed}");
    }
}

#[test]
fn another_seed_gives_another_trace_under_the_same_plan() {
    let traces: std::collections::BTreeSet<_> = (0..6).map(|seed| trace(seed, 1).to_string()).collect();
    assert_eq!(traces.len(), 6);
}

/// Counts, in memory of its task.
#[derive(Default)]
struct Count(f32);

impl Actor for Count {
    type Context = Context<Self>;
}

impl Handler<Invoke> for Count {
    type Result = Result<Vec<Tensor>, ProgramError>;

    fn handle(&mut self, _: Invoke, _: &mut Context<Self>) -> Self::Result {
        self.0 += 1.0;
        Ok(vec![vector(&[self.0])])
    }
}

/// Actors of one's own live in the tasks, and die with them.
#[actix::test]
async fn users_actors_live_and_die_with_their_tasks() {
    let cluster = builder(|_| {})
        .each(|_, server| server.program("count", native_actor(Count::default().start().recipient()).outputs(1)));
    let cluster = cluster.start().await.unwrap();
    let counted = |cluster: SimCluster| async move {
        let context = super::context(&cluster).await;
        let count = context.register(&cluster.name(1).to_string(), RegisterFunction::native("count")).await.unwrap();
        let mut last = Vec::new();
        for _ in 0..3 {
            let call = context.execute(RemoteExecute::new(&count).handles(1)).await.unwrap();
            last = crate::support::elements(&call.handles[0].fetch().await.unwrap());
        }
        context.close().await.unwrap();
        last
    };
    assert_eq!(counted(cluster.clone()).await, [3.0]);
    assert_eq!(counted(cluster.clone()).await, [6.0], "it is the task's, not the context's");
    cluster.kill(1, remex::testing::Death::Reset);
    cluster.restart(1).await.unwrap();
    cluster.settle().await;
    assert_eq!(counted(cluster.clone()).await, [3.0], "its memory is gone");
}
