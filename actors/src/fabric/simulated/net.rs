//! Who listens, who is connected, and how links are. Knows the time only from its callers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, IoSlice},
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use super::{
    FrameFaults, Slow, Trace,
    faults::Kind,
    way::{Found, Lot, Way},
};
use crate::{chance::Chance, fabric::loopback::head::first_frame};

/// Names one direction of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PipeId(u64);

/// One end of a connection that is being made.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) peer: Arc<str>,
    pub(super) reads: PipeId,
    pub(super) writes: PipeId,
}

#[derive(Debug)]
pub(super) struct Net {
    /// By the name of the address.
    listeners: BTreeMap<String, Listening>,
    /// A pipe is there until both its ends are dropped.
    pipes: BTreeMap<PipeId, Pipe>,
    last_pipe: u64,
    /// Pairs between which there can be no connection; the lesser name first.
    broken: BTreeSet<(String, String)>,
    /// From whom to whom nothing arrives.
    silent: BTreeSet<(String, String)>,
    slow: BTreeMap<String, Slow>,
    faults: FrameFaults,
    chance: Chance,
    pub(super) trace: Trace,
}

#[derive(Debug)]
struct Listening {
    owner: Arc<str>,
    waiting: VecDeque<Incoming>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Pipe {
    from: Arc<str>,
    to: Arc<str>,
    /// The other direction.
    back: PipeId,
    /// Written, but not yet a whole frame.
    partial: Vec<u8>,
    way: Way,
    /// Nothing that is written arrives any more.
    is_silent: bool,
    reader_gone: bool,
    writer_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Net {
    pub(super) fn new(chance: Chance, faults: FrameFaults) -> Self {
        Self {
            listeners: BTreeMap::new(),
            pipes: BTreeMap::new(),
            last_pipe: 0,
            broken: BTreeSet::new(),
            silent: BTreeSet::new(),
            slow: BTreeMap::new(),
            faults,
            chance,
            trace: Trace::default(),
        }
    }

    /// Whether nobody listens and nothing is connected.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.pipes.is_empty()
    }

    pub(super) fn set_faults(&mut self, faults: FrameFaults) {
        self.faults = faults;
    }

    /// False if something listens there.
    pub(super) fn listen(&mut self, name: &str, owner: &str) -> bool {
        if self.listeners.contains_key(name) {
            return false;
        }
        let listening = Listening { owner: owner.into(), waiting: VecDeque::new(), waker: None };
        self.listeners.insert(name.to_owned(), listening);
        true
    }

    /// Whoever dialled and was not accepted is reset.
    pub(super) fn unlisten(&mut self, name: &str) {
        let waiting = self.listeners.remove(name).map(|listening| listening.waiting).unwrap_or_default();
        for incoming in waiting {
            self.reset(incoming.reads);
            self.drop_reader(incoming.reads);
            self.drop_writer(incoming.writes);
        }
    }

    pub(super) fn accept(&mut self, name: &str, waker: &Waker) -> Option<Incoming> {
        let listening = self.listeners.get_mut(name)?;
        let incoming = listening.waiting.pop_front();
        if incoming.is_none() {
            listening.waker = Some(waker.clone());
        }
        incoming
    }

    /// The dialler's end; the other waits for `accept`.
    pub(super) fn dial(&mut self, from: &str, name: &str) -> io::Result<Incoming> {
        let Some(to) = self.listeners.get(name).map(|listening| listening.owner.clone()) else {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens there"));
        };
        if self.broken.contains(&pair(from, &to)) {
            return Err(io::Error::new(io::ErrorKind::NetworkUnreachable, "the link is broken"));
        }
        let (there, back) = (PipeId(self.last_pipe + 1), PipeId(self.last_pipe + 2));
        self.last_pipe += 2;
        let from: Arc<str> = from.into();
        self.add_pipe(there, back, &from, &to);
        self.add_pipe(back, there, &to, &from);
        if let Some(listening) = self.listeners.get_mut(name) {
            listening.waiting.push_back(Incoming { peer: from, reads: there, writes: back });
            wake(&mut listening.waker);
        }
        Ok(Incoming { peer: to, reads: back, writes: there })
    }

    fn add_pipe(&mut self, id: PipeId, back: PipeId, from: &Arc<str>, to: &Arc<str>) {
        let is_silent = self.silent.contains(&(from.to_string(), to.to_string()));
        let pipe = Pipe {
            from: from.clone(),
            to: to.clone(),
            back,
            partial: Vec::new(),
            way: Way::default(),
            is_silent,
            reader_gone: false,
            writer_gone: false,
            reader: None,
            writer: None,
        };
        self.pipes.insert(id, pipe);
    }

    pub(super) fn write(
        &mut self,
        id: PipeId,
        bufs: &[IoSlice<'_>],
        now: Duration,
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let Some(pipe) = self.pipes.get_mut(&id) else { return Poll::Ready(Err(reset_error())) };
        if pipe.way.is_reset() || pipe.reader_gone {
            return Poll::Ready(Err(reset_error()));
        }
        if !pipe.way.has_room() {
            pipe.writer = Some(waker.clone());
            return Poll::Pending;
        }
        let before = pipe.partial.len();
        bufs.iter().for_each(|buf| pipe.partial.extend_from_slice(buf));
        let written = pipe.partial.len() - before;
        let mut partial = std::mem::take(&mut pipe.partial);
        let mut at = 0;
        while let Some(frame) = first_frame(&partial[at..]) {
            at += frame.len();
            self.send(id, now, frame);
        }
        partial.drain(..at);
        if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.partial = partial;
        }
        Poll::Ready(Ok(written))
    }

    /// Decides what becomes of a frame.
    fn send(&mut self, id: PipeId, now: Duration, frame: &[u8]) {
        let mut fate = self.faults.fate(&self.chance, frame.len());
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if pipe.way.is_reset() {
            return;
        }
        let slow = [&pipe.from, &pipe.to].map(|task| self.slow.get(&**task));
        let latency = slow.iter().flatten().map(|slow| slow.latency).sum::<Duration>() + fate.latency;
        let bandwidth = slow.iter().flatten().filter_map(|slow| slow.bandwidth).min();
        fate.latency = latency;
        if pipe.is_silent {
            fate.kind = Kind::Silenced;
        }
        self.trace.frame(now, &pipe.from, &pipe.to, frame, fate);
        let mut launch = |latency: Duration, lot: Lot| pipe.way.send(now, latency, bandwidth, lot);
        match fate.kind {
            Kind::Lost | Kind::Silenced => return,
            Kind::Pass => launch(latency, Lot::Bytes(frame.to_vec())),
            Kind::Delayed { by } => launch(latency + by, Lot::Bytes(frame.to_vec())),
            Kind::Repeated => {
                launch(latency, Lot::Bytes(frame.to_vec()));
                launch(latency, Lot::Bytes(frame.to_vec()));
            }
            Kind::Corrupt { bit } => {
                let mut bytes = frame.to_vec();
                bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
                launch(latency, Lot::Bytes(bytes));
            }
            Kind::Cut { after } => {
                launch(latency, Lot::Bytes(frame[..after as usize].to_vec()));
                launch(latency, Lot::Reset);
            }
        }
        wake(&mut pipe.reader);
    }

    /// Nothing more will be written.
    pub(super) fn end(&mut self, id: PipeId, now: Duration) {
        let Some(pipe) = self.pipes.get_mut(&id).filter(|pipe| !pipe.way.is_reset() && !pipe.is_silent) else { return };
        self.trace.note(now, format!("{} → {}: end of stream", pipe.from, pipe.to));
        pipe.way.send(now, self.faults.latency.0, None, Lot::End);
        wake(&mut pipe.reader);
    }

    pub(super) fn read(&mut self, id: PipeId, space: &mut [u8], now: Duration, waker: &Waker) -> Found {
        let Some(pipe) = self.pipes.get_mut(&id) else { return Found::Reset };
        let found = pipe.way.read(now, space);
        match found {
            Found::Bytes(_) if pipe.way.has_room() => wake(&mut pipe.writer),
            Found::Nothing | Found::At(_) => pipe.reader = Some(waker.clone()),
            // A frame was cut on its way: now the other direction is gone, too.
            Found::Reset => self.reset(id),
            Found::Bytes(_) | Found::End => {}
        }
        found
    }

    /// Ends a connection both ways, now.
    fn reset(&mut self, id: PipeId) {
        let back = self.pipes.get(&id).map(|pipe| pipe.back);
        for id in [Some(id), back].into_iter().flatten() {
            if let Some(pipe) = self.pipes.get_mut(&id).filter(|pipe| !pipe.way.is_reset() || pipe.reader.is_some()) {
                pipe.way.reset();
                wake(&mut pipe.reader);
                wake(&mut pipe.writer);
            }
        }
    }

    fn reset_where(&mut self, is: impl Fn(&Pipe) -> bool) {
        let concerned: Vec<_> = self.pipes.iter().filter(|(_, pipe)| is(pipe)).map(|(id, _)| *id).collect();
        concerned.into_iter().for_each(|id| self.reset(id));
    }

    pub(super) fn break_link(&mut self, a: &str, b: &str) {
        self.broken.insert(pair(a, b));
        self.reset_where(|pipe| pair(&pipe.from, &pipe.to) == pair(a, b));
    }

    /// Connections can be made again, and what is said is heard. What is silent stays so to its end.
    pub(super) fn heal_link(&mut self, a: &str, b: &str) {
        self.broken.remove(&pair(a, b));
        self.silent.remove(&(a.to_owned(), b.to_owned()));
        self.silent.remove(&(b.to_owned(), a.to_owned()));
    }

    pub(super) fn silence(&mut self, from: &str, to: &str) {
        self.silent.insert((from.to_owned(), to.to_owned()));
        for pipe in self.pipes.values_mut().filter(|pipe| *pipe.from == *from && *pipe.to == *to) {
            pipe.is_silent = true;
        }
    }

    pub(super) fn set_slow(&mut self, task: &str, slow: Option<Slow>) {
        match slow {
            Some(slow) => self.slow.insert(task.to_owned(), slow),
            None => self.slow.remove(task),
        };
    }

    /// A task is dead: what it does from now on reaches nobody. Its peers see their connections reset, or nothing at all.
    pub(super) fn unplug(&mut self, task: &str, is_reset: bool) {
        let listening: Vec<_> =
            self.listeners.iter().filter(|(_, l)| *l.owner == *task).map(|(n, _)| n.clone()).collect();
        listening.iter().for_each(|name| self.unlisten(name));
        if is_reset {
            return self.reset_where(|pipe| *pipe.from == *task || *pipe.to == *task);
        }
        for pipe in self.pipes.values_mut().filter(|pipe| *pipe.from == *task || *pipe.to == *task) {
            pipe.is_silent = true;
        }
    }

    /// A task is there again: what was connected to its last run is reset, as a machine does that knows nothing of it.
    pub(super) fn plug(&mut self, task: &str) {
        self.reset_where(|pipe| *pipe.from == *task || *pipe.to == *task);
    }

    pub(super) fn drop_reader(&mut self, id: PipeId) {
        if let Some(pipe) = self.pipes.get_mut(&id) {
            // Of a silent one the writer does not learn it.
            pipe.reader_gone = !pipe.is_silent || pipe.writer_gone;
            pipe.reader = None;
            wake(&mut pipe.writer);
            if pipe.writer_gone {
                self.pipes.remove(&id);
            }
        }
    }

    pub(super) fn drop_writer(&mut self, id: PipeId) {
        if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.writer_gone = true;
            if pipe.reader_gone {
                self.pipes.remove(&id);
            }
        }
    }
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.min(b).to_owned(), a.max(b).to_owned())
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

pub(super) fn reset_error() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection was reset")
}
