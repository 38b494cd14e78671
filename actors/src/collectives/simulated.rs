//! A network of members in one place, whose packets arrive in an order drawn from a seed. Time is made up.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use remex_protocol::{
    cluster::TaskName,
    collective::{ChunkHeader, CollectiveOp},
    ids::InstanceKey,
    tensor::{BufferPool, Tensor},
};

use super::{
    cause,
    member::{Effect, Member, Spec},
    runs::{Arrived, Belongs, CollectiveLimits, RunKey, Runs},
};
use crate::{Error, Result};

/// In what order packets arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// From one member to another in the order of sending.
    Links,
    /// In any.
    Any,
}

/// What all members agree on.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) seed: u64,
    pub(super) order: Order,
    pub(super) chunk: usize,
    pub(super) window: usize,
}

#[derive(Debug)]
enum Packet {
    /// A chunk or an abort. `counts` if its sender waits for it to be taken.
    Chunk { from: u16, to: u16, header: Vec<u8>, payload: Bytes, counts: bool },
    /// A chunk was taken; to its sender.
    Taken { from: u16, to: u16 },
}

impl Packet {
    fn link(&self) -> (u16, u16) {
        match self {
            Packet::Chunk { from, to, .. } | Packet::Taken { from, to } => (*from, *to),
        }
    }
}

/// One member and what surrounds it.
#[derive(Debug)]
struct Node {
    op: CollectiveOp,
    input: Option<Tensor>,
    runs: Runs<u16>,
    run: u64,
    member: Option<Member>,
    ended: Option<Result<Option<Tensor>>>,
    /// Chunks that it sent and that were not taken.
    in_flight: usize,
}

/// All members, and what is on its way between them.
#[derive(Debug)]
pub(super) struct Network {
    terms: Terms,
    rng: SmallRng,
    now: Instant,
    nodes: Vec<Node>,
    /// Who has not joined.
    absent: Vec<u16>,
    packets: Vec<Packet>,
}

fn name() -> InstanceKey {
    "grads".try_into().unwrap()
}

impl Network {
    /// Members that have not joined yet.
    pub(super) fn new(terms: Terms, members: Vec<(CollectiveOp, Option<Tensor>)>) -> Self {
        let (rng, now) = (SmallRng::seed_from_u64(terms.seed), crate::testing::instant());
        let absent = (0..members.len() as u16).collect();
        let node = |(op, input)| {
            let runs = Runs::new(CollectiveLimits::default());
            Node { op, input, runs, run: 0, member: None, ended: None, in_flight: 0 }
        };
        let nodes = members.into_iter().map(node).collect();
        Self { terms, rng, now, nodes, absent, packets: Vec::new() }
    }

    /// One member never joins.
    pub(super) fn without(mut self, member: u16) -> Self {
        self.absent.retain(|other| *other != member);
        self
    }

    /// Lets something happen; false if nothing can.
    pub(super) fn step(&mut self) -> bool {
        let (joins, packets) = (self.absent.len(), self.packets.len());
        if joins + packets == 0 {
            return false;
        }
        // Joining is rarer than packets, so that some come early.
        if joins > 0 && (packets == 0 || self.rng.random_bool(0.05)) {
            let member = self.absent.swap_remove(self.rng.random_range(0..joins));
            self.join(member);
        } else {
            let mut at = self.rng.random_range(0..packets);
            if self.terms.order == Order::Links {
                let link = self.packets[at].link();
                at = self.packets.iter().position(|packet| packet.link() == link).unwrap_or(at);
            }
            let packet = self.packets.remove(at);
            self.deliver(packet);
        }
        true
    }

    /// Lets everything happen.
    pub(super) fn run(mut self) -> Self {
        while self.step() {}
        self
    }

    /// A member that is late or never came joins.
    pub(super) fn join(&mut self, member: u16) {
        let node = &mut self.nodes[usize::from(member)];
        let (run, early) = node.runs.join(0, &name()).unwrap();
        node.run = run;
        let members: Arc<[TaskName]> = names(self.terms_members());
        let node = &mut self.nodes[usize::from(member)];
        let mut spec = Spec::new((0, name(), run), node.op, member, members, BufferPool::default());
        (spec.chunk, spec.window) = (self.terms.chunk, self.terms.window);
        node.member = Some(Member::start(spec, node.input.clone()));
        for arrived in early {
            self.arrive(member, arrived);
        }
        self.carry_out(member);
    }

    fn terms_members(&self) -> u16 {
        self.nodes.len() as u16
    }

    fn deliver(&mut self, packet: Packet) {
        match packet {
            Packet::Taken { to, .. } => {
                let node = &mut self.nodes[usize::from(to)];
                node.in_flight -= 1;
                if let Some(member) = &mut node.member {
                    member.sent();
                }
                self.carry_out(to);
            }
            Packet::Chunk { from, to, header, payload, counts } => {
                let header = ChunkHeader::from_bytes(&header).unwrap();
                let arrived = Arrived { from, header, payload, answer: counts.then_some(from) };
                let until = self.now + Duration::from_secs(60);
                match self.nodes[usize::from(to)].runs.arrive(self.now, &name(), until, arrived) {
                    Belongs::Running(arrived) => self.arrive(to, arrived),
                    Belongs::Elsewhere(answers) => answers.into_iter().for_each(|answer| self.taken(to, Some(answer))),
                    Belongs::Nowhere(_, error) => panic!("seed {}: {error}", self.terms.seed),
                }
                self.carry_out(to);
            }
        }
    }

    fn arrive(&mut self, to: u16, Arrived { from, header, payload, answer }: Arrived<u16>) {
        if let Some(member) = &mut self.nodes[usize::from(to)].member {
            match header.op {
                CollectiveOp::Abort { member: by } => member.aborted(cause::from_bytes(&payload, by)),
                _ => member.chunk(from, &header, payload),
            }
        }
        self.taken(to, answer);
    }

    fn taken(&mut self, by: u16, answer: Option<u16>) {
        self.packets.extend(answer.map(|to| Packet::Taken { from: by, to }));
    }

    /// Something happens to one member alone.
    pub(super) fn with(&mut self, member: u16, what: impl FnOnce(&mut Member)) {
        if let Some(member) = &mut self.nodes[usize::from(member)].member {
            what(member);
        }
        self.carry_out(member);
    }

    fn carry_out(&mut self, of: u16) {
        let others: Vec<_> = (0..self.terms_members()).filter(|other| *other != of).collect();
        let node = &mut self.nodes[usize::from(of)];
        let Some(member) = &mut node.member else { return };
        for effect in member.take_effects() {
            match effect {
                Effect::Send { to, header, payload } => {
                    assert!(payload.len() <= self.terms.chunk.max(8), "seed {}", self.terms.seed);
                    node.in_flight += 1;
                    assert!(node.in_flight <= self.terms.window, "CO-5, seed {}", self.terms.seed);
                    let header = header.to_bytes().unwrap();
                    self.packets.push(Packet::Chunk { from: of, to, header, payload, counts: true });
                }
                Effect::Abort(error) => {
                    let header = member.abort_header().to_bytes().unwrap();
                    self.packets.extend(others.iter().map(|&to| Packet::Chunk {
                        from: of,
                        to,
                        header: header.clone(),
                        payload: cause::to_bytes(&error),
                        counts: false,
                    }));
                }
                // CO-1: once.
                Effect::Finished(result) => assert!(node.ended.replace(result).is_none(), "seed {}", self.terms.seed),
            }
        }
        if member.is_over() {
            node.runs.ended(&RunKey { group: 0, name: name(), run: node.run });
        }
    }

    /// How each member's collective ended; `None` if it has not.
    pub(super) fn ended(&self) -> Vec<Option<Result<Option<Tensor>>>> {
        self.nodes.iter().map(|node| node.ended.clone()).collect()
    }

    /// Whether every member that joined is done with its part, for itself and for the others.
    pub(super) fn is_over(&self) -> bool {
        self.nodes.iter().all(|node| node.member.as_ref().is_none_or(Member::is_over))
    }

    /// The results, if all have one.
    pub(super) fn results(self) -> Vec<Option<Tensor>> {
        let (seed, over) = (self.terms.seed, self.is_over());
        let results = self.ended().into_iter().map(|ended| match ended {
            Some(Ok(result)) => result,
            other => panic!("seed {seed}: {other:?}"),
        });
        let results = results.collect();
        assert!(over, "seed {seed}");
        results
    }

    /// The errors, if none has a result.
    pub(super) fn errors(self) -> Vec<Error> {
        let seed = self.terms.seed;
        let errors = self.ended().into_iter().map(|ended| match ended {
            Some(Err(error)) => error,
            other => panic!("seed {seed}: {other:?}"),
        });
        errors.collect()
    }
}

fn names(members: u16) -> Arc<[TaskName]> {
    (0..members).map(|index| TaskName::new("worker", index.into()).unwrap()).collect()
}
