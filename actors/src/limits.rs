//! How much of everything a task takes on; `guide::operating` has the table.

use crate::{collectives::CollectiveLimits, machine, objects::MemoryLimits, rendezvous::RendezvousLimits};

/// What a server refuses to go beyond. Each refusal is a typed error, and changes nothing.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TaskLimits {
    /// Memory of objects. Default: half of the machine's, or of what its group of processes may have; 4 GiB where nobody says.
    pub memory: MemoryLimits,
    /// Contexts of the task. Past it `CreateContext` fails with `ResourceExhausted`. Default 1,024.
    pub contexts: usize,
    /// Accepted connections. Past it one more is refused in its handshake with `ResourceExhausted`. Default 4,096.
    pub sessions: usize,
    /// Objects of a context on this task.
    pub objects: ObjectLimits,
    /// Programs of a context on this task.
    pub programs: ProgramLimits,
    /// What waits in the rendezvous of a context on this task.
    pub rendezvous: RendezvousLimits,
    /// Collectives of a context on this task.
    pub collectives: CollectiveLimits,
    /// Who may watch. Past it the server does not start: `ResourceExhausted`. Default 64: each costs a message a batch.
    pub observers: usize,
}

impl Default for TaskLimits {
    fn default() -> Self {
        Self {
            memory: MemoryLimits {
                bytes: machine::half_of_memory().unwrap_or(MemoryLimits::default().bytes),
                ..MemoryLimits::default()
            },
            contexts: 1024,
            sessions: 4096,
            objects: ObjectLimits::default(),
            programs: ProgramLimits::default(),
            rendezvous: RendezvousLimits::default(),
            collectives: CollectiveLimits::default(),
            observers: 64,
        }
    }
}

/// How many objects a context has on a task, and how many calls wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectLimits {
    /// Objects, with those that are only waited for, those that failed, and tombstones. Past it what would make one more
    /// fails with `ResourceExhausted`. Default 16,777,216; each takes about 200 bytes beside its data.
    pub objects: usize,
    /// Tombstones: objects that were given up before they were ready. Past it a call that would make an object fails with
    /// `ResourceExhausted` until programs have ended. Default 1,048,576.
    pub tombstones: usize,
    /// Objects that are pinned. Past it one more pin fails with `ResourceExhausted`. Default 1,048,576.
    pub pins: usize,
    /// Tokens for handing objects over, live or over for less than a minute: those of the last two minutes. Past it another
    /// export fails with `ResourceExhausted`. Default 65,536; each takes about 100 bytes.
    pub tokens: usize,
    /// Calls that wait or run. Past it one more fails with `Overloaded`. Default 262,144.
    pub jobs: usize,
}

impl Default for ObjectLimits {
    fn default() -> Self {
        Self { objects: 16 << 20, tombstones: 1 << 20, pins: 1 << 20, tokens: 65_536, jobs: 262_144 }
    }
}

/// How many programs a context has on a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramLimits {
    /// Programs. Past it a registration fails with `ResourceExhausted`. Default 1,024.
    pub programs: usize,
    /// Their bytes together, golden inputs and outputs among them. Past it the same. Default 1 GiB.
    pub bytes: usize,
    /// Numbers that stand for programs on links, those of failed registrations among them. Past it the same.
    /// Default 65,536.
    pub indexes: usize,
}

impl Default for ProgramLimits {
    fn default() -> Self {
        Self { programs: 1024, bytes: 1 << 30, indexes: 65_536 }
    }
}
