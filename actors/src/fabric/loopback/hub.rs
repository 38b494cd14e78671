//! Who listens, what is on its way, and what is cut. Knows the time only from its callers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, IoSlice},
    task::{Poll, Waker},
    time::Duration,
};

use tokio::{io::ReadBuf, time::Instant};

use super::head::{describe, first_frame};

/// Bytes that may have arrived without having been read before a writer has to wait, as with a socket. What is held does
/// not count, or else a test that holds frames would hold up their writer.
const CAPACITY: usize = 256 << 10;
/// Bytes that may be on their way, while there is a latency, before a writer has to wait.
const ON_THE_WAY: usize = 16 << 20;
/// Bytes that were read are dropped from the front of the buffer when there are so many.
const KEEP_LEN: usize = 64 << 10;

/// Names one direction of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PipeId(u64);

/// One end of a connection that is being made.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) peer: String,
    pub(super) reads: PipeId,
    pub(super) writes: PipeId,
}

/// What a reader finds.
#[derive(Debug)]
pub(super) enum Read {
    Some,
    End,
    /// Nothing yet, and nothing on its way.
    Nothing,
    /// Nothing yet; the next frame arrives then.
    At(Instant),
}

#[derive(Debug, Default)]
pub(super) struct Hub {
    /// By the name of the address.
    listeners: BTreeMap<String, Listening>,
    cuts: BTreeSet<(String, String)>,
    /// A pipe is there until both its ends are dropped.
    pipes: BTreeMap<PipeId, Pipe>,
    last_pipe: u64,
    held: Held,
    /// In the order in which it was written.
    kept: VecDeque<(PipeId, Event)>,
    latency: Duration,
}

/// What is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Held {
    #[default]
    Nothing,
    /// What is written to lanes.
    Lanes,
    All,
}

#[derive(Debug)]
struct Listening {
    owner: String,
    waiting: VecDeque<Incoming>,
    waker: Option<Waker>,
}

/// What is delivered at once.
#[derive(Debug)]
enum Event {
    /// The bytes of a frame.
    Frame(Vec<u8>),
    End,
}

impl Event {
    fn len(&self) -> usize {
        match self {
            Event::Frame(bytes) => bytes.len(),
            Event::End => 0,
        }
    }
}

#[derive(Debug, Default)]
struct Pipe {
    from: String,
    to: String,
    is_lane: bool,
    /// Written, but not yet a whole frame.
    partial: Vec<u8>,
    on_the_way: VecDeque<(Instant, Event)>,
    /// Bytes of them.
    on_the_way_len: usize,
    arrived: Vec<u8>,
    /// So many of `arrived` were read.
    read: usize,
    is_ended: bool,
    is_cut: bool,
    reader_gone: bool,
    writer_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Hub {
    /// Whether nobody listens, nothing is connected and nothing kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.listeners.is_empty() && self.pipes.is_empty() && self.kept.is_empty()
    }

    /// False if something listens there.
    pub(super) fn listen(&mut self, name: &str, owner: &str) -> bool {
        if self.listeners.contains_key(name) {
            return false;
        }
        let listening = Listening { owner: owner.to_owned(), waiting: VecDeque::new(), waker: None };
        self.listeners.insert(name.to_owned(), listening);
        true
    }

    /// Whoever dialled and was not accepted sees the stream end.
    pub(super) fn unlisten(&mut self, name: &str, now: Instant) {
        let waiting = self.listeners.remove(name).map(|l| l.waiting).unwrap_or_default();
        for incoming in waiting {
            self.drop_reader(incoming.reads);
            self.end(incoming.writes, now);
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
    pub(super) fn dial(&mut self, from: &str, name: &str, is_lane: bool) -> io::Result<Incoming> {
        let refused = |kind, why| Err(io::Error::new(kind, why));
        let Some(to) = self.listeners.get(name).map(|listening| listening.owner.clone()) else {
            return refused(io::ErrorKind::ConnectionRefused, "nobody listens there");
        };
        if self.cuts.contains(&pair(from, &to)) {
            return refused(io::ErrorKind::NetworkUnreachable, "the way there is cut");
        }
        let (there, back) = (self.add_pipe(from, &to, is_lane), self.add_pipe(&to, from, is_lane));
        if let Some(listening) = self.listeners.get_mut(name) {
            listening.waiting.push_back(Incoming { peer: shown(from).to_owned(), reads: there, writes: back });
            wake(&mut listening.waker);
        }
        Ok(Incoming { peer: name.to_owned(), reads: back, writes: there })
    }

    fn add_pipe(&mut self, from: &str, to: &str, is_lane: bool) -> PipeId {
        self.last_pipe += 1;
        let pipe = Pipe { from: from.to_owned(), to: to.to_owned(), is_lane, ..Pipe::default() };
        self.pipes.insert(PipeId(self.last_pipe), pipe);
        PipeId(self.last_pipe)
    }

    pub(super) fn cut(&mut self, a: &str, b: &str) {
        self.cut_where(a, b, |_| true);
        self.cuts.insert(pair(a, b));
    }

    pub(super) fn cut_lanes(&mut self, a: &str, b: &str) {
        self.cut_where(a, b, |pipe| pipe.is_lane);
    }

    fn cut_where(&mut self, a: &str, b: &str, is: impl Fn(&Pipe) -> bool) {
        let cut = pair(a, b);
        for pipe in self.pipes.values_mut().filter(|pipe| pair(&pipe.from, &pipe.to) == cut && is(pipe)) {
            pipe.is_cut = true;
            wake(&mut pipe.reader);
            wake(&mut pipe.writer);
        }
    }

    pub(super) fn heal(&mut self, a: &str, b: &str) {
        self.cuts.remove(&pair(a, b));
    }

    pub(super) fn hold(&mut self) {
        self.held = Held::All;
    }

    pub(super) fn hold_lanes(&mut self) {
        self.held = Held::Lanes;
    }

    fn is_held(&self, id: PipeId) -> bool {
        let is_lane = || self.pipes.get(&id).is_some_and(|pipe| pipe.is_lane);
        self.held == Held::All || self.held == Held::Lanes && is_lane()
    }

    pub(super) fn step(&mut self) -> Option<String> {
        loop {
            let (id, event) = self.kept.pop_front()?;
            if let Some(pipe) = self.pipes.get_mut(&id).filter(|pipe| pipe.is_whole()) {
                let what = match &event {
                    Event::Frame(bytes) => describe(bytes),
                    Event::End => "end of stream".to_owned(),
                };
                // Frames that were on their way before the hold are still the first.
                if let Some((due, _)) = pipe.on_the_way.back() {
                    pipe.launch(*due, event);
                } else {
                    pipe.deliver(event);
                }
                return Some(format!("{} → {}: {what}", shown(&pipe.from), shown(&pipe.to)));
            }
        }
    }

    pub(super) fn release(&mut self) {
        while self.step().is_some() {}
        self.held = Held::Nothing;
    }

    pub(super) fn set_latency(&mut self, latency: Duration) {
        self.latency = latency;
    }

    pub(super) fn write(
        &mut self,
        id: PipeId,
        bufs: &[IoSlice<'_>],
        now: Instant,
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let pipe = match self.pipes.get_mut(&id) {
            Some(pipe) if pipe.is_cut => return Poll::Ready(Err(cut_error())),
            Some(pipe) if !pipe.reader_gone => pipe,
            _ => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        if !pipe.has_room() {
            pipe.writer = Some(waker.clone());
            return Poll::Pending;
        }
        let before = pipe.partial.len();
        for buf in bufs {
            pipe.partial.extend_from_slice(buf);
        }
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

    fn send(&mut self, id: PipeId, now: Instant, frame: &[u8]) {
        let is_free = !self.is_held(id) && self.latency.is_zero();
        match self.pipes.get_mut(&id) {
            Some(pipe) if is_free && pipe.on_the_way.is_empty() => pipe.arrive(frame),
            _ => self.post(id, now, Event::Frame(frame.to_vec())),
        }
    }

    fn post(&mut self, id: PipeId, now: Instant, event: Event) {
        if self.is_held(id) {
            self.kept.push_back((id, event));
        } else if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.launch(now + self.latency, event);
        }
    }

    /// Nothing more will be written.
    pub(super) fn end(&mut self, id: PipeId, now: Instant) {
        self.post(id, now, Event::End);
    }

    pub(super) fn read(&mut self, id: PipeId, buf: &mut ReadBuf<'_>, now: Instant, waker: &Waker) -> io::Result<Read> {
        let pipe = match self.pipes.get_mut(&id) {
            Some(pipe) if !pipe.is_cut => pipe,
            _ => return Err(cut_error()),
        };
        while let Some((_, event)) = pipe.on_the_way.pop_front_if(|(due, _)| *due <= now) {
            pipe.on_the_way_len -= event.len();
            pipe.deliver(event);
        }
        if pipe.read < pipe.arrived.len() {
            pipe.take(buf);
            return Ok(Read::Some);
        }
        if pipe.is_ended {
            return Ok(Read::End);
        }
        pipe.reader = Some(waker.clone());
        Ok(pipe.on_the_way.front().map_or(Read::Nothing, |(due, _)| Read::At(*due)))
    }

    pub(super) fn drop_reader(&mut self, id: PipeId) {
        if let Some(pipe) = self.pipes.get_mut(&id) {
            pipe.reader_gone = true;
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

impl Pipe {
    /// Whether what is sent can be read.
    fn is_whole(&self) -> bool {
        !self.is_cut && !self.reader_gone
    }

    fn has_room(&self) -> bool {
        self.arrived.len() - self.read < CAPACITY && self.on_the_way_len < ON_THE_WAY
    }

    /// It arrives after what is on its way already, even if its own time is earlier: a shorter latency lets nothing
    /// overtake.
    fn launch(&mut self, due: Instant, event: Event) {
        self.on_the_way_len += event.len();
        self.on_the_way.push_back((due, event));
        wake(&mut self.reader);
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Frame(bytes) => self.arrive(&bytes),
            Event::End => {
                self.is_ended = true;
                wake(&mut self.reader);
            }
        }
    }

    fn arrive(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
        wake(&mut self.reader);
    }

    fn take(&mut self, buf: &mut ReadBuf<'_>) {
        let n = buf.remaining().min(self.arrived.len() - self.read);
        buf.put_slice(&self.arrived[self.read..self.read + n]);
        self.read += n;
        if self.read == self.arrived.len() {
            self.arrived.clear();
            self.read = 0;
        } else if self.read > KEEP_LEN && self.read > self.arrived.len() / 2 {
            self.arrived.drain(..self.read);
            self.read = 0;
        }
        if self.has_room() {
            wake(&mut self.writer);
        }
    }
}

fn pair(a: &str, b: &str) -> (String, String) {
    (a.min(b).to_owned(), a.max(b).to_owned())
}

fn shown(name: &str) -> &str {
    if name.is_empty() { "(unnamed)" } else { name }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn cut_error() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the way there was cut")
}
