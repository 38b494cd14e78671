//! Which objects go to disk when memory runs short: those that were used longest ago. Pure.
//!
//! # Invariants
//! - An object is in one place: it may be chosen, or is busy, or is on its way to disk. To use it takes it out of the way.
//! - Every step is O(1), but for finding the coldest of all contexts, which looks at one object of each.
//! - After a write that failed nothing is chosen for a while, and for longer each time.

use std::collections::{BTreeMap, VecDeque};

use remex_protocol::ids::ObjectId;
use slab::Slab;

use super::budget::Lack;

/// Ticks without a write after the first one that failed; twice as many after each further one.
const FIRST_PAUSE: u32 = 10;
/// But never more: at ten ticks a second, a minute.
const LONGEST_PAUSE: u32 = 600;
/// Busy objects that are looked at again at one time.
const LOOKS: usize = 1024;

/// An object that is to go to disk. `stamp` tells whether it was used since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) object: ObjectId,
    pub(crate) slot: u32,
    stamp: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It may be chosen.
    Listed,
    /// It was chosen and is in use: not to be chosen again at once.
    Busy,
    /// Its context is told.
    Chosen,
    /// It is being written.
    Writing,
}

#[derive(Debug)]
struct Node {
    context: u64,
    object: ObjectId,
    bytes: u64,
    /// When it was used last.
    stamp: u64,
    stage: Stage,
    colder: Option<u32>,
    warmer: Option<u32>,
}

/// The objects of one context that may be chosen.
#[derive(Debug, Default)]
struct List {
    coldest: Option<u32>,
    warmest: Option<u32>,
    /// Bytes of those that are on their way to disk.
    leaving: u64,
    /// All nodes of the context, listed or not.
    nodes: usize,
}

/// All objects in memory that could be on disk, in the order of their last use.
#[derive(Debug, Default)]
pub(crate) struct Coldest {
    nodes: Slab<Node>,
    lists: BTreeMap<u64, List>,
    stamp: u64,
    /// Bytes that may be chosen.
    listed: u64,
    /// Bytes that are on their way to disk, and of those the ones of which no write has begun.
    leaving: u64,
    chosen: u64,
    /// May be out of date: the stamp tells.
    busy: VecDeque<Victim>,
    /// Ticks until the next write is tried, and how many there were after the last error.
    pause: u32,
    last_pause: u32,
}

impl Coldest {
    /// An object is in memory. It is the warmest.
    pub(crate) fn insert(&mut self, context: u64, object: ObjectId, bytes: u64) -> u32 {
        let node = Node { context, object, bytes, stamp: 0, stage: Stage::Listed, colder: None, warmer: None };
        let slot = self.nodes.insert(node) as u32;
        self.lists.entry(context).or_default().nodes += 1;
        self.link(slot);
        slot
    }

    /// It is not in memory any more.
    pub(crate) fn remove(&mut self, slot: u32) {
        if !self.nodes.contains(slot as usize) {
            return;
        }
        self.unlink(slot);
        let context = self.nodes.remove(slot as usize).context;
        if let Some(list) = self.lists.get_mut(&context) {
            list.nodes -= 1;
            if list.nodes == 0 {
                self.lists.remove(&context);
            }
        }
    }

    /// It is used: it is the warmest, and a write that was to take it away takes nothing.
    pub(crate) fn touch(&mut self, slot: u32) {
        if self.nodes.contains(slot as usize) {
            self.unlink(slot);
            self.link(slot);
        }
    }

    /// Whether it is still on its way to disk: not used since it was chosen, and not gone.
    pub(crate) fn is_leaving(&self, victim: &Victim) -> bool {
        let stage = self.node(victim).map(|node| node.stage);
        matches!(stage, Some(Stage::Chosen | Stage::Writing))
    }

    /// Its file is counted from now on.
    pub(crate) fn begin(&mut self, victim: &Victim) {
        if let Some(node) = self.nodes.get_mut(victim.slot as usize)
            && node.stamp == victim.stamp
            && node.stage == Stage::Chosen
        {
            node.stage = Stage::Writing;
            self.chosen -= node.bytes;
        }
    }

    /// It cannot go, because it is in use.
    pub(crate) fn busy(&mut self, victim: Victim) {
        if self.is_leaving(&victim) {
            self.unlink(victim.slot);
            if let Some(node) = self.nodes.get_mut(victim.slot as usize) {
                node.stage = Stage::Busy;
                self.busy.push_back(victim);
            }
        }
    }

    /// It stays, and may be chosen again.
    pub(crate) fn stay(&mut self, victim: &Victim) {
        if self.is_leaving(victim) {
            self.touch(victim.slot);
        }
    }

    /// What was busy may not be so any more. Looks at the oldest of them.
    pub(crate) fn look_again(&mut self) {
        for _ in 0..LOOKS.min(self.busy.len()) {
            let Some(victim) = self.busy.pop_front() else { return };
            if self.node(&victim).is_some_and(|node| node.stage == Stage::Busy) {
                self.link(victim.slot);
            }
        }
    }

    /// A write failed: there is none for a while.
    pub(crate) fn failed(&mut self) {
        if self.pause == 0 {
            self.last_pause = (self.last_pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.pause = self.last_pause;
        }
    }

    /// A write succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.last_pause = 0;
    }

    /// Some time has passed.
    pub(crate) fn tick(&mut self) {
        self.pause = self.pause.saturating_sub(1);
        self.look_again();
    }

    /// Bytes that are on their way to disk.
    pub(crate) fn leaving(&self) -> u64 {
        self.leaving
    }

    /// Whether so many bytes of a context (or of any) could go to disk, which has `room`.
    pub(crate) fn may_free(&self, lack: u64, room: u64) -> bool {
        let listed = if self.pause > 0 { 0 } else { self.listed.min(room.saturating_sub(self.chosen)) };
        listed.saturating_add(self.leaving) >= lack
    }

    /// Takes the coldest objects until enough bytes are on their way to disk, as far as it has `room`.
    pub(crate) fn choose(&mut self, lack: &Lack, room: u64) -> BTreeMap<u64, Vec<Victim>> {
        let mut victims: BTreeMap<u64, Vec<Victim>> = BTreeMap::new();
        if self.pause > 0 {
            return victims;
        }
        let mut room = room.saturating_sub(self.chosen);
        for &(context, bytes) in &lack.contexts {
            while let Some(list) = self.lists.get(&context).filter(|list| list.leaving < bytes)
                && let Some(slot) = list.coldest
            {
                let Some(victim) = self.take(slot, &mut room) else { break };
                victims.entry(context).or_default().push(victim);
            }
        }
        while self.leaving < lack.task {
            let coldest = self.lists.values().filter_map(|list| list.coldest);
            let Some(slot) = coldest.min_by_key(|slot| self.nodes[*slot as usize].stamp) else { break };
            let context = self.nodes[slot as usize].context;
            let Some(victim) = self.take(slot, &mut room) else { break };
            victims.entry(context).or_default().push(victim);
        }
        victims
    }

    fn take(&mut self, slot: u32, room: &mut u64) -> Option<Victim> {
        let bytes = self.nodes.get(slot as usize)?.bytes;
        *room = room.checked_sub(bytes)?;
        self.unlink(slot);
        let node = self.nodes.get_mut(slot as usize)?;
        node.stage = Stage::Chosen;
        let victim = Victim { object: node.object, slot, stamp: node.stamp };
        self.leaving += bytes;
        self.chosen += bytes;
        if let Some(list) = self.lists.get_mut(&node.context) {
            list.leaving += bytes;
        }
        Some(victim)
    }

    fn node(&self, victim: &Victim) -> Option<&Node> {
        self.nodes.get(victim.slot as usize).filter(|node| node.stamp == victim.stamp)
    }

    /// Puts a node that is in no list at the warm end.
    fn link(&mut self, slot: u32) {
        self.stamp += 1;
        let Some(node) = self.nodes.get_mut(slot as usize) else { return };
        let Some(list) = self.lists.get_mut(&node.context) else { return };
        (node.stage, node.stamp) = (Stage::Listed, self.stamp);
        (node.colder, node.warmer) = (list.warmest, None);
        self.listed += node.bytes;
        match list.warmest.replace(slot) {
            Some(before) => self.nodes[before as usize].warmer = Some(slot),
            None => list.coldest = Some(slot),
        }
    }

    /// Takes a node out of where it is; it is in no list afterwards.
    fn unlink(&mut self, slot: u32) {
        let node = &self.nodes[slot as usize];
        let (stage, bytes, colder, warmer) = (node.stage, node.bytes, node.colder, node.warmer);
        let Some(list) = self.lists.get_mut(&node.context) else { return };
        match stage {
            Stage::Busy => {}
            Stage::Chosen | Stage::Writing => {
                self.leaving -= bytes;
                list.leaving -= bytes;
                if stage == Stage::Chosen {
                    self.chosen -= bytes;
                }
            }
            Stage::Listed => {
                self.listed -= bytes;
                match colder {
                    Some(colder) => self.nodes[colder as usize].warmer = warmer,
                    None => list.coldest = warmer,
                }
                match warmer {
                    Some(warmer) => self.nodes[warmer as usize].colder = colder,
                    None => list.warmest = colder,
                }
            }
        }
        // Whoever called puts it somewhere, or removes it; until then it counts nowhere.
        self.nodes[slot as usize].stage = Stage::Busy;
    }
}

#[cfg(test)]
#[path = "spill_test.rs"]
mod tests;
