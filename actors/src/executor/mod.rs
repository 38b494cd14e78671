//! Runs programs, on the arbiter or on the compute pool; the only place where user code runs (I9).
//!
//! ```text
//!  ObjectManager ──Run──▶ Executor ──▶ inline: now
//!        ▲                   ├───────▶ pool: a lane per device, threads for all
//!        └──Fulfil, Published┤
//!                            └───────▶ async, actor: whenever they are ready
//! ```
//!
//! # Invariants
//! - **I9 (contained).** A panic fails its call and nothing else. A sync program that does not return keeps its thread;
//!   when it is given up it is counted, and when all threads are held so, what is in line fails with
//!   `ResourceExhausted`.

use std::time::Duration;

use crate::chance::Chance;

mod actor;
mod behind;
mod contain;
#[cfg(test)]
mod executor_test;
mod finish;
mod lanes;
mod messages;

pub use actor::Executor;
pub use messages::{Abort, Behind, Compile, Compiled, Ended, Given, Returned, Run, Task};

/// How a task runs programs.
#[derive(Clone, Debug)]
pub struct ExecutorConfig {
    /// For each device, how many programs run on it at one time.
    pub lanes: Vec<usize>,
    /// Threads of the compute pool.
    pub threads: usize,
    /// What the pool's threads are.
    pub pool: Pool,
}

/// What runs the programs that are for the compute pool.
#[derive(Clone, Debug, Default)]
pub enum Pool {
    /// Threads.
    #[default]
    Threads,
    /// The arbiter, at once: for tests that want one thread.
    Arbiter,
    /// The arbiter, when a while has passed on tokio's clock: for simulations.
    Simulated(Simulated),
}

/// How long programs of the compute pool take in a simulation. What a program does takes no time; when it ends is drawn.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// What the durations are drawn from.
    pub chance: Chance,
    /// A program takes at least so long,
    pub shortest: Duration,
    /// and at most so long,
    pub longest: Duration,
    /// but with this probability
    pub stalls: f64,
    /// it hangs for so long instead, and holds its thread.
    pub stall: Duration,
}

impl Simulated {
    pub(crate) fn duration(&self) -> Duration {
        // Both are drawn each time: whether one stalls changes nothing for the next.
        let usual = self.chance.between(self.shortest, self.longest);
        if self.chance.happens(self.stalls) { self.stall } else { usual }
    }
}

#[cfg(test)]
mod tests {
    use actix::Actor;

    use super::*;
    use crate::objects::{MemoryBudget, MemoryLimits};

    /// A process may start and stop many servers: nothing of them stays.
    #[actix::test]
    async fn an_executor_that_nobody_holds_ends() {
        let config = ExecutorConfig { lanes: vec![1], threads: 1, pool: Pool::Arbiter };
        let budget = MemoryBudget::new(MemoryLimits::default());
        let executor = Executor::new(&config, budget.clone()).start();
        let kept = executor.downgrade();
        let is_there = async || {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            kept.upgrade().is_some_and(|executor| executor.connected())
        };
        assert!(is_there().await);
        drop(executor);
        assert!(!is_there().await);
    }
}
