//! Values and waiting receives by key. Pure: told the time, and what became of whom is a return value.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use remex_protocol::{
    ErrorCode,
    ids::{InstanceKey, TaskIndex},
};

use super::RendezvousStats;
use crate::{Error, Result};

/// What was sent: buffers, and the sender's words about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datum {
    /// The task that sent it.
    pub from: TaskIndex,
    /// The sender's words.
    pub header: Bytes,
    /// The buffers, in the sender's order.
    pub buffers: Vec<Bytes>,
}

impl Datum {
    fn size(&self) -> u64 {
        self.buffers.iter().map(|buffer| buffer.len() as u64).sum::<u64>() + self.header.len() as u64
    }
}

/// How much a rendezvous holds. More holds more memory; less refuses earlier.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RendezvousLimits {
    /// Receives that wait. Default 65,536.
    pub waiting: usize,
    /// Values that nobody has claimed. Default 65,536.
    pub values: usize,
    /// Bytes of these values together. Default 1 GiB.
    pub bytes: u64,
    /// Longest that a value is kept, and a claimed key remembered, whatever its sender says. Default 10 minutes.
    pub keep: Duration,
    /// Claimed keys whose sender's time is not over. Default 262,144.
    pub remembered: usize,
}

impl Default for RendezvousLimits {
    fn default() -> Self {
        Self { waiting: 65_536, values: 65_536, bytes: 1 << 30, keep: Duration::from_secs(600), remembered: 262_144 }
    }
}

/// What is known of a key; a free key is not in the table.
#[derive(Debug)]
enum What<W> {
    Value(Datum),
    Waiting { ticket: u64, to: W },
    Claimed,
}

#[derive(Debug)]
struct Entry<W> {
    until: Instant,
    what: What<W>,
}

/// Values and waiters by key; `W` is where a waiter is told.
#[derive(Debug)]
pub(crate) struct State<W> {
    limits: RendezvousLimits,
    entries: BTreeMap<InstanceKey, Entry<W>>,
    /// When what ends; one for each entry.
    ends: BTreeSet<(Instant, InstanceKey)>,
    waiting: usize,
    values: usize,
    bytes: u64,
    remembered: usize,
    refused: u64,
}

impl<W> State<W> {
    pub(crate) fn new(limits: RendezvousLimits) -> Self {
        let (entries, ends) = (BTreeMap::new(), BTreeSet::new());
        Self { limits, entries, ends, waiting: 0, values: 0, bytes: 0, remembered: 0, refused: 0 }
    }

    /// Takes a value. If somebody waits for it, gives back both for them to meet. An error changes nothing.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        key: &InstanceKey,
        datum: Datum,
        until: Instant,
    ) -> Result<Option<(W, Datum)>> {
        if until <= now {
            return Err(Error::new(
                ErrorCode::DeadlineExceeded,
                format!("no time is left for the value of key {:?}", key.as_str()),
            ));
        }
        let until = until.min(now + self.limits.keep);
        match self.entries.get(key).map(|entry| &entry.what) {
            Some(What::Value(_)) => Err(taken(key, "a value is there that nobody has claimed")),
            Some(What::Claimed) => Err(taken(key, "its value was claimed")),
            Some(What::Waiting { .. }) => {
                self.check_remembered()?;
                let Some(Entry { what: What::Waiting { to, .. }, .. }) = self.remove(key) else { return Ok(None) };
                self.insert(key, until, What::Claimed);
                Ok(Some((to, datum)))
            }
            None => {
                let (values, bytes) = (self.values, self.bytes.saturating_add(datum.size()));
                if values >= self.limits.values || bytes > self.limits.bytes {
                    self.refused += 1;
                    let held = self.bytes;
                    let message = format!(
                        "{values} values of {held} bytes are unclaimed; at most {} of {} bytes are kept: let receivers \
                         claim them, or give values less time",
                        self.limits.values, self.limits.bytes
                    );
                    return Err(Error::new(ErrorCode::ResourceExhausted, message));
                }
                self.insert(key, until, What::Value(datum));
                Ok(None)
            }
        }
    }

    /// Somebody asks for a value. If it is there, gives back both for them to meet; else they wait. Who is refused is
    /// given back with the reason. `is_gone` says whether one who waits has gone away without a word.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        key: &InstanceKey,
        (ticket, to): (u64, W),
        until: Instant,
        is_gone: impl FnOnce(&W) -> bool,
    ) -> Result<Option<(W, Datum)>, (W, Error)> {
        match self.entries.get(key).map(|entry| &entry.what) {
            Some(What::Value(_)) => {
                if let Err(error) = self.check_remembered() {
                    return Err((to, error));
                }
                let Some(Entry { until, what: What::Value(datum) }) = self.remove(key) else { return Ok(None) };
                self.insert(key, until, What::Claimed);
                return Ok(Some((to, datum)));
            }
            Some(What::Claimed) => return Err((to, taken(key, "its value was claimed"))),
            Some(What::Waiting { to: other, .. }) if !is_gone(other) => {
                return Err((to, taken(key, "somebody else waits for its value")));
            }
            Some(What::Waiting { .. }) => drop(self.remove(key)),
            None => {}
        }
        if until <= now {
            return Err((to, late(key)));
        }
        if self.waiting >= self.limits.waiting {
            self.refused += 1;
            let message = format!("{} receives wait, which is the limit: wait for fewer at one time", self.waiting);
            return Err((to, Error::new(ErrorCode::ResourceExhausted, message)));
        }
        self.insert(key, until, What::Waiting { ticket, to });
        Ok(None)
    }

    /// The one who was given a value had gone: it is unclaimed again, unless its time is over.
    pub(crate) fn give_back(&mut self, key: &InstanceKey, datum: Datum) {
        if let Some(Entry { what: What::Claimed, .. }) = self.entries.get(key)
            && let Some(Entry { until, .. }) = self.remove(key)
        {
            self.insert(key, until, What::Value(datum));
        }
    }

    /// A receive is given up. The one who waited, if it is that one.
    pub(crate) fn cancel(&mut self, key: &InstanceKey, ticket: u64) -> Option<W> {
        match self.entries.get(key)?.what {
            What::Waiting { ticket: waiting, .. } if waiting == ticket => {}
            What::Waiting { .. } | What::Value(_) | What::Claimed => return None,
        }
        match self.remove(key)?.what {
            What::Waiting { to, .. } => Some(to),
            What::Value(_) | What::Claimed => None,
        }
    }

    /// Ends what has lasted until now; those who waited in vain, and why.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(W, Error)> {
        let mut failed = Vec::new();
        while let Some((at, key)) = self.ends.first().cloned()
            && at <= now
        {
            match self.remove(&key).map(|entry| entry.what) {
                Some(What::Waiting { to, .. }) => failed.push((to, late(&key))),
                Some(What::Value(datum)) => {
                    tracing::debug!(%key, from = %datum.from, "a value was not claimed in time and is thrown away");
                }
                Some(What::Claimed) | None => {}
            }
        }
        failed
    }

    /// When something ends next.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Forgets everything; those who waited.
    pub(crate) fn close(&mut self) -> Vec<W> {
        let entries = std::mem::take(&mut self.entries);
        *self = Self::new(self.limits);
        let waiters = entries.into_values().filter_map(|entry| match entry.what {
            What::Waiting { to, .. } => Some(to),
            What::Value(_) | What::Claimed => None,
        });
        waiters.collect()
    }

    pub(crate) fn stats(&self) -> RendezvousStats {
        RendezvousStats {
            waiting: self.waiting,
            values: self.values,
            bytes: self.bytes,
            remembered: self.remembered,
            refused: self.refused,
        }
    }

    /// Receives that wait, values that are unclaimed with their bytes, and keys that are remembered.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize, u64, usize) {
        assert_eq!(self.entries.len(), self.ends.len());
        (self.waiting, self.values, self.bytes, self.remembered)
    }

    /// A claim is refused rather than forgotten too early: then a duplicate could reach the key's next user.
    fn check_remembered(&mut self) -> Result<()> {
        if self.remembered < self.limits.remembered {
            return Ok(());
        }
        self.refused += 1;
        let message = format!(
            "{} claimed keys are remembered until their senders' deadlines, which is the limit: give values less time",
            self.remembered
        );
        Err(Error::new(ErrorCode::ResourceExhausted, message))
    }

    fn count(&mut self, what: &What<W>) -> (&mut usize, u64) {
        match what {
            What::Value(datum) => (&mut self.values, datum.size()),
            What::Waiting { .. } => (&mut self.waiting, 0),
            What::Claimed => (&mut self.remembered, 0),
        }
    }

    fn insert(&mut self, key: &InstanceKey, until: Instant, what: What<W>) {
        let (count, bytes) = self.count(&what);
        *count += 1;
        self.bytes += bytes;
        self.ends.insert((until, key.clone()));
        self.entries.insert(key.clone(), Entry { until, what });
    }

    fn remove(&mut self, key: &InstanceKey) -> Option<Entry<W>> {
        let (key, entry) = self.entries.remove_entry(key)?;
        let (count, bytes) = self.count(&entry.what);
        *count -= 1;
        self.bytes -= bytes;
        self.ends.remove(&(entry.until, key));
        Some(entry)
    }
}

fn taken(key: &InstanceKey, why: &str) -> Error {
    let message = format!("key {:?} is in use: {why}; use a new key for each exchange", key.as_str());
    Error::new(ErrorCode::AlreadyExists, message)
}

fn late(key: &InstanceKey) -> Error {
    let message = format!("nothing was sent for key {:?} by the deadline", key.as_str());
    Error::new(ErrorCode::DeadlineExceeded, message)
}
