//! Who may run next: the lanes of the devices and the threads of the pool. Pure.

use std::collections::{BTreeSet, VecDeque};

/// Works in line for the pool. `W` is what is run.
#[derive(Debug)]
pub(crate) struct Lanes<W> {
    lanes: Vec<Lane<W>>,
    /// Most works that run at one time.
    threads: usize,
    /// Works that run.
    running: BTreeSet<u64>,
    /// Those of them that nobody waits for any more. A thread that never comes back stays here.
    abandoned: BTreeSet<u64>,
}

#[derive(Debug)]
struct Lane<W> {
    limit: usize,
    running: BTreeSet<u64>,
    waiting: VecDeque<(u64, W)>,
}

impl<W> Lanes<W> {
    /// One lane for each limit, over a pool of so many threads.
    pub(crate) fn new(limits: &[usize], threads: usize) -> Self {
        let lane = |&limit: &usize| Lane { limit: limit.max(1), running: BTreeSet::new(), waiting: VecDeque::new() };
        let lanes = limits.iter().map(lane).collect();
        Self { lanes, threads: threads.max(1), running: BTreeSet::new(), abandoned: BTreeSet::new() }
    }

    /// Puts a work into a lane's line; a lane that there is not is the first one.
    pub(crate) fn push(&mut self, lane: u16, id: u64, work: W) {
        let lane = if (lane as usize) < self.lanes.len() { lane as usize } else { 0 };
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.waiting.push_back((id, work));
        }
    }

    /// The next work that may run now; it counts as running.
    pub(crate) fn next(&mut self) -> Option<(u64, W)> {
        if self.running.len() >= self.threads {
            return None;
        }
        let lane = self.lanes.iter_mut().find(|lane| lane.running.len() < lane.limit && !lane.waiting.is_empty())?;
        let (id, work) = lane.waiting.pop_front()?;
        lane.running.insert(id);
        self.running.insert(id);
        Some((id, work))
    }

    /// A work has come back.
    pub(crate) fn returned(&mut self, id: u64) {
        self.running.remove(&id);
        self.abandoned.remove(&id);
        self.lanes.iter_mut().for_each(|lane| {
            lane.running.remove(&id);
        });
    }

    /// Nobody wants a work any more. One that waits is taken out; one that runs is counted as abandoned.
    pub(crate) fn abandon(&mut self, id: u64) -> Option<W> {
        if self.running.contains(&id) {
            self.abandoned.insert(id);
            return None;
        }
        self.lanes.iter_mut().find_map(|lane| {
            let at = lane.waiting.iter().position(|(own, _)| *own == id)?;
            lane.waiting.remove(at).map(|(_, work)| work)
        })
    }

    /// Whether every thread is held by a work that nobody waits for: what is in line may never run.
    pub(crate) fn is_stuck(&self) -> bool {
        self.abandoned.len() >= self.threads
    }

    /// Takes out everything that waits.
    pub(crate) fn drain(&mut self) -> Vec<(u64, W)> {
        self.lanes.iter_mut().flat_map(|lane| lane.waiting.drain(..)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_and_threads_are_both_bounds() {
        let mut lanes = Lanes::new(&[1, 2], 2);
        for id in 0..4 {
            lanes.push((id % 2) as u16, id, ());
        }
        let mut next = || lanes.next().map(|(id, ())| id);
        assert_eq!([next(), next(), next()], [Some(0), Some(1), None]);
        lanes.returned(1);
        assert_eq!(lanes.next(), Some((3, ())), "lane 0 is full, lane 1 is not");
        lanes.returned(0);
        assert_eq!(lanes.next(), Some((2, ())));
    }

    /// I9: threads that do not come back are counted.
    #[test]
    fn a_pool_whose_threads_are_all_abandoned_is_stuck() {
        let mut lanes = Lanes::new(&[9], 2);
        (0..3).for_each(|id| lanes.push(0, id, id));
        assert!(lanes.next().is_some() && lanes.next().is_some());
        assert_eq!(lanes.abandon(2), Some(2), "it had not begun");
        assert_eq!(lanes.abandon(0), None);
        assert!(!lanes.is_stuck());
        lanes.abandon(1);
        assert!(lanes.is_stuck());
        lanes.returned(0);
        assert!(!lanes.is_stuck());
    }
}
