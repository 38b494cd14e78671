//! How much memory the objects of a task may take, who has how much of it, and who waits for some. Pure.
//!
//! # Invariants
//! - **I8 (bounded).** What was granted never exceeds the budget; only what is [taken](Budget::take) may, and then nothing is granted.
//! - Who waits is served in order of arrival. One who waits for the budget of his own context holds up nobody else's.
//! - Who waits holds nothing.

use std::collections::BTreeMap;

/// So many in line are made room for at one time.
const LOOKED_AT: usize = 64;

/// What happens to a call that needs memory when there is none left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits, by its deadline, until others have freed enough. The default.
    #[default]
    Wait,
    /// It fails at once with `ResourceExhausted`.
    Fail,
}

/// How much memory objects may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryLimits {
    /// Bytes of all objects of the task. More holds more; less makes calls wait earlier.
    pub bytes: u64,
    /// Bytes of the objects of one context. Default: as many as the task's.
    pub context_bytes: u64,
    /// What a call does that finds no room.
    pub when_full: WhenFull,
    /// Most calls that wait for memory at one time. Default 65,536.
    pub waiting: usize,
}

impl Default for MemoryLimits {
    /// 4 GiB: what a server takes that cannot find out how much its machine has.
    fn default() -> Self {
        Self { bytes: 4 << 30, context_bytes: u64::MAX, when_full: WhenFull::Wait, waiting: 65_536 }
    }
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// It is more than the whole budget: waiting is of no use.
    Never { limit: u64 },
    /// There is none now, and nobody waits.
    Full { used: u64, limit: u64 },
    /// Too many wait already.
    LineFull,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The bytes are the asker's.
    Granted,
    /// They will be; the number names the place in the line.
    InLine(u64),
}

/// Who is to be told that there is memory again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Woken {
    /// Contexts that were granted something they waited for.
    pub(crate) contexts: Vec<u64>,
    /// The budget is not exceeded any more.
    pub(crate) room: bool,
}

/// How much must go for those in line, or for what is too much already.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lack {
    /// Bytes, of whatever context.
    pub(crate) task: u64,
    /// Bytes of contexts that have budgets of their own.
    pub(crate) contexts: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Want {
    context: u64,
    bytes: u64,
}

/// The memory of a task.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: MemoryLimits,
    used: u64,
    peak: u64,
    /// What each context has of it.
    used_by: BTreeMap<u64, u64>,
    /// By place, which is the order of arrival.
    line: BTreeMap<u64, Want>,
    /// Granted to those who waited and have not been back for it.
    granted: BTreeMap<u64, Want>,
    /// Told that they wait in vain, and have not been back to hear it.
    denied: BTreeMap<u64, Want>,
    next: u64,
    refused: u64,
}

impl Budget {
    pub(crate) fn new(limits: MemoryLimits) -> Self {
        let (used_by, line) = (BTreeMap::new(), BTreeMap::new());
        let (granted, denied) = (BTreeMap::new(), BTreeMap::new());
        Self { limits, used: 0, peak: 0, used_by, line, granted, denied, next: 0, refused: 0 }
    }

    pub(crate) fn limits(&self) -> &MemoryLimits {
        &self.limits
    }

    /// The most that one request can ever get.
    pub(crate) fn capacity(&self) -> u64 {
        self.limits.bytes.min(self.limits.context_bytes)
    }

    /// Asks for bytes, all or none.
    pub(crate) fn ask(&mut self, context: u64, bytes: u64) -> Result<Asked, NoRoom> {
        self.ask_while(context, bytes, self.limits.when_full)
    }

    /// The same for one who waits, or not, whatever the limits say.
    pub(crate) fn ask_while(&mut self, context: u64, bytes: u64, when_full: WhenFull) -> Result<Asked, NoRoom> {
        let limit = self.capacity();
        if bytes > limit {
            self.refused += 1;
            return Err(NoRoom::Never { limit });
        }
        let first = self.line.is_empty() || !self.blocks(context);
        if first && self.fits(context, bytes) {
            self.take(context, bytes);
            return Ok(Asked::Granted);
        }
        let no_room = match when_full {
            WhenFull::Wait if self.line.len() < self.limits.waiting => {
                self.next += 1;
                self.line.insert(self.next, Want { context, bytes });
                return Ok(Asked::InLine(self.next));
            }
            WhenFull::Wait => NoRoom::LineFull,
            WhenFull::Fail => NoRoom::Full { used: self.used, limit: self.limits.bytes },
        };
        self.refused += 1;
        Err(no_room)
    }

    /// Counts bytes that are there already, whether they fit or not.
    pub(crate) fn take(&mut self, context: u64, bytes: u64) {
        self.used += bytes;
        self.peak = self.peak.max(self.used);
        *self.used_by.entry(context).or_default() += bytes;
    }

    /// Bytes are free again.
    pub(crate) fn free(&mut self, context: u64, bytes: u64) -> Woken {
        let was_over = self.is_over();
        self.used = self.used.saturating_sub(bytes);
        if let Some(own) = self.used_by.get_mut(&context) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                self.used_by.remove(&context);
            }
        }
        let contexts = if self.line.is_empty() { Vec::new() } else { self.grant() };
        Woken { contexts, room: was_over && !self.is_over() }
    }

    /// The one at a place waits no more, or was granted bytes and does not want them.
    pub(crate) fn withdraw(&mut self, place: u64) -> Woken {
        if let Some(Want { context, bytes }) = self.granted.remove(&place) {
            return self.free(context, bytes);
        }
        self.denied.remove(&place);
        if self.line.remove(&place).is_none() {
            return Woken::default();
        }
        Woken { contexts: self.grant(), room: false }
    }

    /// The one who was granted bytes at a place needs more than he got: he gives them back and has his place again.
    pub(crate) fn again(&mut self, place: u64, context: u64, has: u64, bytes: u64) -> Result<Woken, NoRoom> {
        let limit = self.capacity();
        if bytes > limit {
            self.refused += 1;
            return Err(NoRoom::Never { limit });
        }
        self.line.insert(place, Want { context, bytes });
        Ok(self.free(context, has))
    }

    /// Nothing will be free soon: all in line wait in vain. Gives their contexts.
    pub(crate) fn deny(&mut self) -> Vec<u64> {
        self.refused += self.line.len() as u64;
        let denied = std::mem::take(&mut self.line);
        let mut contexts: Vec<_> = denied.values().map(|want| want.context).collect();
        contexts.sort_unstable();
        contexts.dedup();
        self.denied.extend(denied);
        contexts
    }

    /// Places of a context whose holders wait in vain, and for how many bytes. They are told once.
    pub(crate) fn take_denied(&mut self, context: u64) -> Vec<(u64, u64)> {
        if self.denied.is_empty() {
            return Vec::new();
        }
        let of_context = self.denied.extract_if(.., |_, want| want.context == context);
        of_context.map(|(place, want)| (place, want.bytes)).collect()
    }

    /// What has to go so that the first in line can be served, as many as fit together, and nothing is too much.
    pub(crate) fn lack(&self) -> Option<Lack> {
        if self.line.is_empty() && !self.is_over() {
            return None;
        }
        let (mut ahead, mut of): (u64, BTreeMap<u64, u64>) = (0, BTreeMap::new());
        for Want { context, bytes } in self.line.values().take(LOOKED_AT) {
            let sum = ahead.saturating_add(*bytes);
            if sum > self.limits.bytes {
                break;
            }
            ahead = sum;
            let own = of.entry(*context).or_default();
            *own = own.saturating_add(*bytes).min(self.limits.context_bytes);
        }
        let beyond = |(context, bytes): (u64, u64)| {
            let own = self.used_by.get(&context).copied().unwrap_or_default();
            let lack = own.saturating_add(bytes).saturating_sub(self.limits.context_bytes);
            (lack > 0).then_some((context, lack))
        };
        let task = self.used.saturating_add(ahead).saturating_sub(self.limits.bytes);
        Some(Lack { task, contexts: of.into_iter().filter_map(beyond).collect() })
    }

    /// What one more request lacks.
    pub(crate) fn lacks(&self, context: u64, bytes: u64) -> u64 {
        let own = self.used_by.get(&context).copied().unwrap_or_default();
        let beyond = |used: u64, limit: u64| used.saturating_add(bytes).saturating_sub(limit);
        beyond(self.used, self.limits.bytes).max(beyond(own, self.limits.context_bytes))
    }

    /// The one at a place needs no more than this by now; he keeps his place.
    pub(crate) fn shrink(&mut self, place: u64, bytes: u64) -> Woken {
        if let Some(want) = self.line.get_mut(&place) {
            want.bytes = want.bytes.min(bytes);
            return Woken { contexts: self.grant(), room: false };
        }
        let Some(want) = self.granted.get_mut(&place) else { return Woken::default() };
        let (context, rest) = (want.context, want.bytes.saturating_sub(bytes));
        want.bytes -= rest;
        self.free(context, rest)
    }

    /// What was granted at a place: from now on the caller's to free.
    pub(crate) fn claim(&mut self, place: u64) -> Option<u64> {
        self.granted.remove(&place).map(|want| want.bytes)
    }

    /// Places of a context that were granted something.
    pub(crate) fn granted(&self, context: u64) -> Vec<u64> {
        self.granted.iter().filter(|(_, want)| want.context == context).map(|(place, _)| *place).collect()
    }

    /// Whether somebody was granted something and has not been back for it.
    pub(crate) fn has_granted(&self) -> bool {
        !self.granted.is_empty()
    }

    /// Whether more is used than there should be: what makes an unknown amount of it has to wait.
    pub(crate) fn is_over(&self) -> bool {
        self.used > self.limits.bytes
    }

    /// Used now, used at most so far, calls that wait, and requests that were refused.
    pub(crate) fn counts(&self) -> (u64, u64, usize, u64) {
        (self.used, self.peak, self.line.len(), self.refused)
    }

    fn fits(&self, context: u64, bytes: u64) -> bool {
        self.fits_task(bytes) && self.fits_context(context, bytes)
    }

    fn fits_task(&self, bytes: u64) -> bool {
        self.used.saturating_add(bytes) <= self.limits.bytes
    }

    fn fits_context(&self, context: u64, bytes: u64) -> bool {
        let own = self.used_by.get(&context).copied().unwrap_or_default();
        own.saturating_add(bytes) <= self.limits.context_bytes
    }

    /// Whether a new request of a context has to go behind somebody in the line.
    fn blocks(&self, context: u64) -> bool {
        self.line.values().any(|want| want.context == context || !self.fits_task(want.bytes))
    }

    /// Serves the line as far as it goes. Gives the contexts that were granted something.
    fn grant(&mut self) -> Vec<u64> {
        let (mut served, mut blocked) = (Vec::new(), Vec::new());
        for (&place, &Want { context, bytes }) in &self.line {
            if blocked.contains(&context) {
                continue;
            }
            let own = self.used_by.get(&context).copied().unwrap_or_default();
            if self.used.saturating_add(bytes) > self.limits.bytes {
                break;
            }
            if own.saturating_add(bytes) > self.limits.context_bytes {
                blocked.push(context);
                continue;
            }
            served.push((place, Want { context, bytes }));
            self.used += bytes;
            *self.used_by.entry(context).or_default() += bytes;
        }
        self.peak = self.peak.max(self.used);
        let mut contexts = Vec::new();
        for (place, want) in served {
            self.line.remove(&place);
            self.granted.insert(place, want);
            if !contexts.contains(&want.context) {
                contexts.push(want.context);
            }
        }
        contexts
    }
}

#[cfg(test)]
#[path = "budget_test.rs"]
mod tests;
