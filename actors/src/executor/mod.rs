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

mod actor;
mod contain;
mod lanes;
mod messages;

pub use actor::Executor;
pub use messages::{Abort, Compile, Compiled, Ended, Returned, Run, Task};

/// How a task runs programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorConfig {
    /// For each device, how many programs run on it at one time.
    pub lanes: Vec<usize>,
    /// Threads of the compute pool.
    pub threads: usize,
    /// Runs what is for the pool on the arbiter, for tests that want one thread.
    pub on_arbiter: bool,
}
