//! What happened when, as the tasks themselves saw it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use actix::{Actor, Context, Handler, Message};
use remex::{Observed, What};
use tokio::time::Instant;

/// A party of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Client,
    Worker(usize),
}

/// What may happen to the two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Put,
    /// The call of a stage, 1 or 2, was given to its link.
    Called(u8),
    /// The client knows the dtype and shape of a stage's output.
    Known(u8),
    /// A stage began to run.
    Began(u8),
    /// It has run.
    Ended(u8),
    /// The client knows that a stage's output is ready on its worker.
    Ready(u8),
    /// A worker asked another for an input.
    Asked,
    /// It knows the input's dtype and shape.
    Told,
    /// It has the input.
    Passed,
    Fetched,
}

/// One line of the timeline.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) at: Instant,
    pub(super) from: Who,
    /// The same where nothing was sent.
    pub(super) to: Who,
    pub(super) step: Step,
    pub(super) what: String,
}

/// Where all threads write what happens. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<Option<Vec<Entry>>>>);

impl Log {
    /// Nothing is kept before this.
    pub(super) fn open(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// What was kept, in order of time. Nothing is kept after this.
    pub(super) fn close(&self) -> Vec<Entry> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        entries.sort_by_key(|entry| entry.at);
        entries
    }

    /// It happens now.
    pub(super) fn now(&self, from: Who, to: Who, step: Step, what: impl Into<String>) {
        self.add(Entry { at: Instant::now(), from, to, step, what: what.into() });
    }

    fn add(&self, entry: Entry) {
        if let Some(entries) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            entries.push(entry);
        }
    }
}

/// When a step happened first.
pub(super) fn when(entries: &[Entry], step: Step) -> Option<Instant> {
    entries.iter().find(|entry| entry.step == step).map(|entry| entry.at)
}

/// An actor that a task tells what it sends and what comes back.
#[derive(Debug)]
pub(super) struct Observer {
    who: Who,
    log: Log,
    calls: u8,
}

/// Answered when everything that was told before is in the log.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Caught;

impl Observer {
    pub(super) fn new(who: Who, log: Log) -> Self {
        Self { who, log, calls: 0 }
    }
}

impl Actor for Observer {
    type Context = Context<Self>;
}

impl Handler<Caught> for Observer {
    type Result = ();

    fn handle(&mut self, _: Caught, _: &mut Self::Context) {}
}

impl Handler<Observed> for Observer {
    type Result = ();

    fn handle(&mut self, Observed(events): Observed, _: &mut Self::Context) {
        for event in events {
            let Some(there) = Who::named(&event.task) else { continue };
            let (here, is_worker) = (self.who, matches!(self.who, Who::Worker(_)));
            let (from, to, step, what) = match (event.name, event.what) {
                // The client makes its two calls in this order, and calls leave in the order in which they were made.
                ("RemoteExecute", What::Sent) => {
                    self.calls = self.calls.saturating_add(1);
                    let (stage, input) = (self.calls, if self.calls == 1 { "image" } else { "features" });
                    (here, there, Step::Called(stage), format!("run stage {stage} on {input}"))
                }
                ("FetchObject", What::Sent) if is_worker => (here, there, Step::Asked, "give me features".to_owned()),
                ("FetchObject", What::Metadata { metadata, .. }) if is_worker => {
                    (there, here, Step::Told, format!("features will be {metadata}"))
                }
                ("FetchObject", What::Done) if is_worker => {
                    (there, here, Step::Passed, "features: the data, from worker to worker".to_owned())
                }
                _ => continue,
            };
            self.log.add(Entry { at: event.at, from, to, step, what });
        }
    }
}

impl Who {
    /// The worker whose name ends in this number.
    fn named(task: &str) -> Option<Self> {
        task.strip_prefix(super::cluster::JOB)?.parse().ok().map(Who::Worker)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Client => f.write_str("client"),
            Who::Worker(number) => write!(f, "worker {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happens_while_it_is_open_is_kept_and_in_order() {
        let log = Log::default();
        let now = Instant::now();
        let add = |after, step| {
            let at = now + std::time::Duration::from_secs(after);
            log.add(Entry { at, from: Who::Client, to: Who::Worker(1), step, what: String::new() });
        };
        add(0, Step::Put);
        log.open();
        add(3, Step::Fetched);
        add(2, Step::Asked);
        let entries = log.close();
        add(4, Step::Put);
        assert_eq!(entries.iter().map(|entry| entry.step).collect::<Vec<_>>(), [Step::Asked, Step::Fetched]);
        assert!(when(&entries, Step::Put).is_none() && when(&entries, Step::Asked) < when(&entries, Step::Fetched));
        assert!(log.close().is_empty());
    }

    #[test]
    fn workers_are_known_by_their_names() {
        assert_eq!(Who::named("/job:worker/task:12"), Some(Who::Worker(12)));
        assert_eq!(Who::named("/job:client/task:12"), None);
    }
}
