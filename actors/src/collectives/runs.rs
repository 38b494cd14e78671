//! Which uses of which names run, and what came for those that this task has not joined yet. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use remex_protocol::{
    ErrorCode,
    collective::{ChunkHeader, CollectiveOp},
    ids::InstanceKey,
};

use super::CollectiveStats;
use crate::{Error, Result};

/// How many collectives of a context run on a task, and how much is kept for those that it has not joined. Past a limit the
/// join, or the chunk's sender, fails with `ResourceExhausted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CollectiveLimits {
    /// Collectives that run at one time. Default 4,096; each is an actor that holds its input.
    pub running: usize,
    /// Bytes of chunks. Default 256 MiB.
    pub bytes: usize,
    /// Chunks. Default 65,536.
    pub chunks: usize,
    /// Names that are known; each use of one is counted for as long as the context lives. Default 65,536.
    pub names: usize,
    /// Longest that a chunk is kept, whatever its sender says. Default 10 minutes.
    pub keep: Duration,
}

impl Default for CollectiveLimits {
    fn default() -> Self {
        Self { running: 4096, bytes: 256 << 20, chunks: 65_536, names: 65_536, keep: Duration::from_secs(600) }
    }
}

/// One use of a name in a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunKey {
    pub(crate) group: u16,
    pub(crate) name: InstanceKey,
    pub(crate) run: u64,
}

/// A chunk that came; `A` is how its sender is answered, if that has not been done.
#[derive(Debug)]
pub(crate) struct Arrived<A> {
    /// The number of the member that sent it.
    pub(crate) from: u16,
    pub(crate) header: ChunkHeader,
    pub(crate) payload: Bytes,
    pub(crate) answer: Option<A>,
}

/// Where a chunk belongs.
#[derive(Debug)]
pub(crate) enum Belongs<A> {
    /// To a collective that runs.
    Running(Arrived<A>),
    /// To one that this task has not joined, or that is over. Who is answered now: a chunk that is kept is answered when
    /// its run is joined, so that its sender's window stays full; an abort at once, since nobody waits for it.
    Elsewhere(Vec<A>),
    /// It is not kept, and why.
    Nowhere(Option<A>, Error),
}

#[derive(Debug)]
struct Name<A> {
    /// The run that the next join gets.
    next: u64,
    running: BTreeSet<u64>,
    early: BTreeMap<u64, Early<A>>,
}

/// What came for a run before it was joined.
#[derive(Debug)]
struct Early<A> {
    until: Instant,
    chunks: Vec<Arrived<A>>,
    /// It failed already: chunks are of no use any more.
    is_aborted: bool,
}

/// The runs of a context on one task.
#[derive(Debug)]
pub(crate) struct Runs<A> {
    limits: CollectiveLimits,
    names: BTreeMap<(u16, InstanceKey), Name<A>>,
    /// When what came early is given up.
    ends: BTreeSet<(Instant, RunKey)>,
    running: usize,
    chunks: usize,
    bytes: usize,
    refused: u64,
}

impl<A> Runs<A> {
    pub(crate) fn new(limits: CollectiveLimits) -> Self {
        Self { limits, names: BTreeMap::new(), ends: BTreeSet::new(), running: 0, chunks: 0, bytes: 0, refused: 0 }
    }

    fn name(&mut self, group: u16, name: &InstanceKey) -> Result<&mut Name<A>> {
        let (known, most) = (self.names.len(), self.limits.names);
        match self.names.entry((group, name.clone())) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(_) if known >= most => {
                self.refused += 1;
                let message = format!("{most} names of collectives are in use, which is the limit: use names again");
                Err(Error::new(ErrorCode::ResourceExhausted, message))
            }
            std::collections::btree_map::Entry::Vacant(entry) => {
                Ok(entry.insert(Name { next: 0, running: BTreeSet::new(), early: BTreeMap::new() }))
            }
        }
    }

    /// This task joins the next run of a name: its number, and what came for it.
    pub(crate) fn join(&mut self, group: u16, name: &InstanceKey) -> Result<(u64, Vec<Arrived<A>>)> {
        let most = self.limits.running;
        if self.running >= most {
            self.refused += 1;
            let message = format!("{most} collectives of the context run on this task, which is the limit: await some");
            return Err(Error::new(ErrorCode::ResourceExhausted, message));
        }
        let known = self.name(group, name)?;
        let run = known.next;
        known.next += 1;
        known.running.insert(run);
        let early = known.early.remove(&run);
        self.running += 1;
        let key = RunKey { group, name: name.clone(), run };
        Ok((run, early.map(|early| self.release(key, early)).unwrap_or_default()))
    }

    /// A run is over on this task.
    pub(crate) fn ended(&mut self, key: &RunKey) {
        if let Some(name) = self.names.get_mut(&(key.group, key.name.clone()))
            && name.running.remove(&key.run)
        {
            self.running -= 1;
        }
    }

    /// A chunk or an abort came.
    pub(crate) fn arrive(
        &mut self,
        now: Instant,
        name: &InstanceKey,
        until: Instant,
        mut arrived: Arrived<A>,
    ) -> Belongs<A> {
        let ChunkHeader { group, run, op, .. } = arrived.header;
        let bytes = arrived.payload.len();
        let full = self.chunks >= self.limits.chunks || bytes > self.limits.bytes.saturating_sub(self.bytes);
        let (held, keep) = (self.bytes, now + self.limits.keep);
        let known = match self.name(group, name) {
            Ok(known) => known,
            Err(error) => return Belongs::Nowhere(arrived.answer, error),
        };
        if known.running.contains(&run) {
            return Belongs::Running(arrived);
        }
        if run < known.next {
            return Belongs::Elsewhere(arrived.answer.into_iter().collect());
        }
        let is_abort = matches!(op, CollectiveOp::Abort { .. });
        if known.early.get(&run).is_some_and(|early| early.is_aborted) {
            // The first cause stays.
            return Belongs::Elsewhere(arrived.answer.into_iter().collect());
        }
        if full || until <= now {
            self.forget(group, name);
            self.refused += u64::from(until > now);
            let error = if until <= now {
                Error::new(ErrorCode::DeadlineExceeded, "no time is left for the chunk")
            } else {
                let message = format!(
                    "{held} bytes are kept for collectives that this task has not joined, which is the limit: join them"
                );
                Error::new(ErrorCode::ResourceExhausted, message)
            };
            return Belongs::Nowhere(arrived.answer, error);
        }
        let key = RunKey { group, name: name.clone(), run };
        let until = until.min(keep);
        let early = known.early.entry(run).or_insert(Early { until, chunks: Vec::new(), is_aborted: false });
        let useless = if is_abort { std::mem::take(&mut early.chunks) } else { Vec::new() };
        early.is_aborted |= is_abort;
        let mut answers: Vec<A> = if is_abort { arrived.answer.take().into_iter().collect() } else { Vec::new() };
        early.chunks.push(arrived);
        let before = early.until;
        early.until = before.max(until);
        let after = early.until;
        self.ends.remove(&(before, key.clone()));
        self.ends.insert((after, key));
        self.chunks += 1;
        self.bytes += bytes;
        answers.extend(self.uncount(useless).into_iter().filter_map(|arrived| arrived.answer));
        Belongs::Elsewhere(answers)
    }

    /// Gives up what is kept for longer than its senders wait: whom to tell so.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<A> {
        let mut told = Vec::new();
        while let Some((at, key)) = self.ends.first().cloned()
            && at <= now
        {
            let name = self.names.get_mut(&(key.group, key.name.clone()));
            if let Some(early) = name.and_then(|name| name.early.remove(&key.run)) {
                told.extend(self.release(key.clone(), early).into_iter().filter_map(|arrived| arrived.answer));
            }
            self.ends.remove(&(at, key.clone()));
            self.forget(key.group, &key.name);
        }
        told
    }

    /// The numbers, for people.
    pub(crate) fn stats(&self) -> CollectiveStats {
        CollectiveStats { running: self.running, chunks: self.chunks, bytes: self.bytes as u64, refused: self.refused }
    }

    /// When something is given up next.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Forgets everything: whom to tell so.
    pub(crate) fn close(&mut self) -> Vec<A> {
        let names = std::mem::take(&mut self.names);
        *self = Self::new(self.limits);
        let early = names.into_values().flat_map(|name| name.early.into_values());
        early.flat_map(|early| early.chunks).filter_map(|arrived| arrived.answer).collect()
    }

    fn release(&mut self, key: RunKey, early: Early<A>) -> Vec<Arrived<A>> {
        self.ends.remove(&(early.until, key));
        self.uncount(early.chunks)
    }

    fn uncount(&mut self, chunks: Vec<Arrived<A>>) -> Vec<Arrived<A>> {
        self.chunks -= chunks.len();
        self.bytes -= chunks.iter().map(|arrived| arrived.payload.len()).sum::<usize>();
        chunks
    }

    /// A name that was never joined and for which nothing is kept need not be known.
    fn forget(&mut self, group: u16, name: &InstanceKey) {
        let key = (group, name.clone());
        if self.names.get(&key).is_some_and(|name| name.next == 0 && name.early.is_empty()) {
            self.names.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use remex_protocol::tensor::{DType, Shape};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Rig {
        runs: Runs<u32>,
        now: Instant,
    }

    fn name(text: &str) -> InstanceKey {
        text.try_into().unwrap()
    }

    impl Rig {
        fn new(limits: CollectiveLimits) -> Self {
            Self { runs: Runs::new(limits), now: crate::testing::instant() }
        }

        fn arrive(&mut self, text: &str, run: u64, op: CollectiveOp, bytes: usize, answer: u32) -> Belongs<u32> {
            let (dtype, shape) = (DType::U8, Shape::scalar());
            let header = ChunkHeader { group: 0, run, op, dtype, shape, step: 0, part: 0, offset: 0 };
            let arrived = Arrived { from: 1, header, payload: Bytes::from(vec![0; bytes]), answer: Some(answer) };
            self.runs.arrive(self.now, &name(text), self.now + 10 * SECOND, arrived)
        }

        fn join(&mut self, text: &str) -> (u64, Vec<u32>) {
            let (run, early) = self.runs.join(0, &name(text)).unwrap();
            (run, early.into_iter().filter_map(|arrived| arrived.answer).collect())
        }
    }

    const ABORT: CollectiveOp = CollectiveOp::Abort { member: 1 };

    #[test]
    fn what_comes_early_is_given_to_who_joins() {
        let mut rig = Rig::new(CollectiveLimits::default());
        assert!(matches!(rig.arrive("a", 0, CollectiveOp::Barrier, 4, 1), Belongs::Elsewhere(now) if now.is_empty()));
        assert!(matches!(rig.arrive("a", 1, CollectiveOp::Barrier, 4, 2), Belongs::Elsewhere(now) if now.is_empty()));
        assert!(matches!(rig.arrive("b", 0, CollectiveOp::Barrier, 4, 3), Belongs::Elsewhere(now) if now.is_empty()));
        assert_eq!(rig.join("a"), (0, vec![1]));
        assert!(matches!(rig.arrive("a", 0, CollectiveOp::Barrier, 4, 4), Belongs::Running(_)));
        assert_eq!(rig.join("a"), (1, vec![2]));
        assert_eq!(rig.join("b"), (0, vec![3]));
        assert_eq!((rig.runs.chunks, rig.runs.bytes, rig.runs.earliest()), (0, 0, None));
    }

    #[test]
    fn what_comes_late_is_nobodys() {
        let mut rig = Rig::new(CollectiveLimits::default());
        rig.join("a");
        rig.runs.ended(&RunKey { group: 0, name: name("a"), run: 0 });
        assert!(matches!(rig.arrive("a", 0, CollectiveOp::Barrier, 4, 1), Belongs::Elsewhere(now) if now == [1]));
        assert_eq!(rig.join("a"), (1, vec![]));
    }

    #[test]
    fn an_abort_before_the_join_takes_the_place_of_all_chunks() {
        let mut rig = Rig::new(CollectiveLimits::default());
        rig.arrive("a", 0, CollectiveOp::Barrier, 4, 1);
        assert!(matches!(rig.arrive("a", 0, ABORT, 4, 2), Belongs::Elsewhere(now) if now == [2, 1]));
        assert!(matches!(rig.arrive("a", 0, ABORT, 4, 3), Belongs::Elsewhere(now) if now == [3]));
        assert!(matches!(rig.arrive("a", 0, CollectiveOp::Barrier, 4, 4), Belongs::Elsewhere(now) if now == [4]));
        let (run, early) = rig.runs.join(0, &name("a")).unwrap();
        assert!(run == 0 && early.len() == 1 && early[0].header.op == ABORT && early[0].answer.is_none());
        assert_eq!((rig.runs.chunks, rig.runs.bytes), (0, 0));
    }

    #[test]
    fn what_nobody_joins_is_given_up_by_its_deadline() {
        let mut rig = Rig::new(CollectiveLimits::default());
        rig.arrive("a", 0, CollectiveOp::Barrier, 4, 1);
        rig.now += SECOND;
        rig.arrive("a", 0, CollectiveOp::Barrier, 4, 2);
        assert!(rig.runs.expire(rig.now + 9 * SECOND).is_empty());
        assert_eq!(rig.runs.expire(rig.now + 10 * SECOND), [1, 2]);
        assert!(rig.runs.names.is_empty() && rig.runs.ends.is_empty());
    }

    #[test]
    fn the_limits_of_runs_hold() {
        let limits = CollectiveLimits { running: 1, bytes: 10, chunks: 3, names: 2, keep: 5 * SECOND };
        let mut rig = Rig::new(limits);
        let refused =
            |belongs| matches!(belongs, Belongs::Nowhere(_, error) if error.code() == ErrorCode::ResourceExhausted);
        assert!(refused(rig.arrive("a", 0, CollectiveOp::Barrier, 11, 1)));
        assert!(rig.runs.names.is_empty(), "a refusal changes nothing");
        for run in 0..3 {
            assert!(
                matches!(rig.arrive("a", run, CollectiveOp::Barrier, 1, 1), Belongs::Elsewhere(now) if now.is_empty())
            );
        }
        assert!(refused(rig.arrive("a", 0, CollectiveOp::Barrier, 1, 1)));
        let (run, _) = rig.join("b");
        let error = rig.runs.join(0, &name("b")).unwrap_err();
        assert!(error.message().contains("1 collectives of the context run"), "{error}");
        rig.runs.ended(&RunKey { group: 0, name: name("b"), run });
        rig.runs.ended(&RunKey { group: 0, name: name("b"), run });
        let error = rig.runs.join(0, &name("c")).unwrap_err();
        assert!(error.message().contains("2 names of collectives"), "{error}");
        assert_eq!(rig.runs.stats(), CollectiveStats { running: 0, chunks: 3, bytes: 3, refused: 4 });
        assert_eq!(rig.runs.earliest(), Some(rig.now + 5 * SECOND));
        assert_eq!(rig.runs.close().len(), 3);
        assert!(rig.runs.earliest().is_none());
    }
}
