//! One member of a running collective, from its join to its end. Pure: events in, effects out.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use remex_protocol::{
    ErrorCode,
    cluster::TaskName,
    collective::{CHUNK_LEN, ChunkHeader, CollectiveOp},
    ids::InstanceKey,
    tensor::{BufferPool, DType, Shape, Tensor},
};

use super::{
    barrier::Barrier,
    broadcast,
    gather::{self, Gather, Shapes},
    reduce::{self, Parts},
    work::{Came, Outgoing, Place, Work, differs},
};
use crate::{Error, Result};

/// Most chunks that were sent and not yet taken by their receiver. A member that has not joined takes none, so that this
/// is what is kept for it. Few, so that a chunk is still in the cache when it goes on: of 4, 8, 16 and 32 this was the
/// fastest on one machine. On a link with a round trip of 1 ms it is enough for 2 GB/s.
const WINDOW: usize = 8;

/// Which collective, and who takes part.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// The group's number in the context.
    pub(crate) group: u16,
    /// The collective's name.
    pub(crate) name: InstanceKey,
    /// Which use of the name.
    pub(crate) run: u64,
    pub(crate) op: CollectiveOp,
    /// This member's number.
    pub(crate) me: u16,
    /// All members, in their order.
    pub(crate) members: Arc<[TaskName]>,
    /// Most bytes of a chunk; all members must have the same.
    pub(crate) chunk: usize,
    pub(crate) window: usize,
    /// Where memory for chunks and the result comes from.
    pub(crate) buffers: BufferPool,
}

impl Spec {
    /// A collective as members of this version do it.
    pub(crate) fn new(
        (group, name, run): (u16, InstanceKey, u64),
        op: CollectiveOp,
        me: u16,
        members: Arc<[TaskName]>,
        buffers: BufferPool,
    ) -> Self {
        Self { group, name, run, op, me, members, chunk: CHUNK_LEN, window: WINDOW, buffers }
    }

    /// A member, for messages.
    fn called(&self, member: u16) -> String {
        let name = self.members.get(usize::from(member)).map(TaskName::to_string).unwrap_or_default();
        format!("member {member} ({name})")
    }
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Send a chunk; say [`Member::sent`] when it was taken.
    Send {
        /// To whom.
        to: u16,
        header: ChunkHeader,
        payload: Bytes,
    },
    /// Tell all other members that it failed, and why.
    Abort(Error),
    /// Tell the caller how it ended. Comes once.
    Finished(Result<Option<Tensor>>),
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// The caller has the result; what others need is still being sent.
    Finished,
    /// Nothing more is done.
    Over,
}

/// One member of a running collective.
#[derive(Debug)]
pub(crate) struct Member {
    spec: Spec,
    /// None if it is alone, or could not start.
    work: Option<Box<dyn Work>>,
    phase: Phase,
    queue: VecDeque<Outgoing>,
    in_flight: usize,
    effects: Vec<Effect>,
}

impl Member {
    /// Joins. What cannot be done fails at once, for all.
    pub(crate) fn start(spec: Spec, input: Option<Tensor>) -> Self {
        let (queue, effects) = (VecDeque::new(), Vec::new());
        let mut member = Self { spec, work: None, phase: Phase::Running, queue, in_flight: 0, effects };
        match member.begin(input) {
            Ok(Ok(work)) => {
                member.work = Some(work);
                member.go_on();
            }
            Ok(Err(alone)) => member.end(Ok(alone)),
            Err(error) => {
                let (op, me) = (member.spec.op, member.spec.called(member.spec.me));
                let message = format!("{op} {:?} cannot begin at {me}: {}", member.spec.name.as_str(), error.message());
                member.fail(Error::new(error.code(), message));
            }
        }
        member
    }

    /// The work, or the result if there is nobody else.
    fn begin(&self, input: Option<Tensor>) -> Result<Result<Box<dyn Work>, Option<Tensor>>> {
        let Spec { op, chunk, .. } = self.spec;
        let place = Place { me: self.spec.me, members: self.spec.members.len() as u16 };
        let needed = |input: Option<Tensor>| input.ok_or_else(|| differs("it needs a tensor".to_owned()));
        let alone = place.members == 1;
        Ok(Ok(match op {
            CollectiveOp::AllReduce(reduction) | CollectiveOp::ReduceScatter(reduction) => {
                let input = needed(input)?;
                let all = matches!(op, CollectiveOp::AllReduce(_));
                let parts = if all { Parts::All } else { Parts::Own };
                reduce::check(&input, parts)?;
                if alone {
                    return Ok(Err(Some(input)));
                }
                reduce::start(place, reduction, parts, input, chunk, &self.spec.buffers)?
            }
            CollectiveOp::Broadcast { root } => {
                if root >= place.members {
                    let last = place.members - 1;
                    return Err(differs(format!("there is no member {root}; the last is {last}")));
                }
                if alone {
                    return Ok(Err(Some(needed(input)?)));
                }
                broadcast::start(place, root, input, chunk, &self.spec.buffers)?
            }
            CollectiveOp::AllGather { axis } | CollectiveOp::AllGatherAnyShape { axis } => {
                let input = needed(input)?;
                gather::check_axis(&input, axis)?;
                if alone {
                    return Ok(Err(Some(input)));
                }
                let same = matches!(op, CollectiveOp::AllGather { .. });
                let shapes = if same { Shapes::Same } else { Shapes::Any };
                Box::new(Gather::new(place, axis, shapes, input, chunk, &self.spec.buffers)?)
            }
            CollectiveOp::Barrier if alone => return Ok(Err(None)),
            CollectiveOp::Barrier => Box::new(Barrier::new(place)),
            _ => return Err(differs(format!("{op} is nothing that a caller can begin"))),
        }))
    }

    /// What is to be done, in order.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether there is nothing left to do or to wait for.
    pub(crate) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// A chunk came from a member.
    pub(crate) fn chunk(&mut self, from: u16, header: &ChunkHeader, payload: Bytes) {
        if self.phase != Phase::Running {
            return;
        }
        let Some(work) = &mut self.work else { return };
        let taken = if header.op == self.spec.op {
            work.take(Came { from, header, payload })
        } else {
            Err(differs(format!("member {from} does {}, member {} {}", header.op, self.spec.me, self.spec.op)))
        };
        match taken {
            Ok(outgoing) => {
                self.queue.extend(outgoing);
                self.go_on();
            }
            Err(error) => {
                let (name, op) = (self.spec.name.as_str(), self.spec.op);
                self.fail(Error::new(error.code(), format!("{op} {name:?} failed: {}", error.message())));
            }
        }
    }

    /// A chunk that was sent was taken by its receiver.
    pub(crate) fn sent(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.go_on();
    }

    /// Another member says that it failed. The first cause stays; who has the result keeps it.
    pub(crate) fn aborted(&mut self, cause: Error) {
        if self.phase == Phase::Running {
            self.effects.push(Effect::Finished(Err(cause)));
        }
        self.over();
    }

    /// It failed in this member's own view: it was given up, or another member is lost. All others are told.
    pub(crate) fn fail(&mut self, cause: Error) {
        let cause = match self.spec.members.get(usize::from(self.spec.me)) {
            Some(task) => cause.map(|cause| cause.on_task(task)),
            None => cause,
        };
        if self.phase == Phase::Running {
            self.effects.push(Effect::Finished(Err(cause.clone())));
        }
        if self.phase != Phase::Over && self.spec.members.len() > 1 {
            self.effects.push(Effect::Abort(cause));
        }
        self.over();
    }

    /// Its time is over.
    pub(crate) fn expire(&mut self) {
        let (name, op) = (self.spec.name.as_str(), self.spec.op);
        let lacks = self.work.as_ref().map(|work| self.spec.called(work.lacks())).unwrap_or_default();
        let message = format!(
            "{op} {name:?} was not done by its deadline: {lacks} has not sent or taken all; did every member join run {}?",
            self.spec.run
        );
        self.fail(Error::new(ErrorCode::DeadlineExceeded, message));
    }

    /// The header of an abort.
    pub(crate) fn abort_header(&self) -> ChunkHeader {
        let op = CollectiveOp::Abort { member: self.spec.me };
        let (group, run, dtype, shape) = (self.spec.group, self.spec.run, DType::U8, Shape::from([0]));
        ChunkHeader { group, run, op, dtype, shape, step: 0, part: 0, offset: 0 }
    }

    /// Sends what may be sent, and ends when all is there.
    fn go_on(&mut self) {
        let Some(work) = &mut self.work else { return };
        let mut drained = false;
        // What came goes on first, while it is in the cache; then the member's own.
        while self.in_flight < self.spec.window {
            let next = match self.queue.pop_front() {
                Some(outgoing) => Ok(Some(outgoing)),
                None => work.begin(),
            };
            let outgoing = match next {
                Ok(Some(outgoing)) => outgoing,
                Ok(None) => {
                    drained = self.in_flight == 0;
                    break;
                }
                Err(error) => return self.fail(error),
            };
            self.in_flight += 1;
            let Outgoing { to, metadata, step, part, offset, payload } = outgoing;
            let (group, run, op) = (self.spec.group, self.spec.run, self.spec.op);
            let (dtype, shape) = (metadata.dtype, metadata.shape);
            let header = ChunkHeader { group, run, op, dtype, shape, step, part, offset };
            self.effects.push(Effect::Send { to, header, payload });
        }
        if self.phase == Phase::Running && work.is_whole() && (drained || !work.ends_with_its_sends()) {
            match work.finish() {
                Ok(result) => {
                    self.effects.push(Effect::Finished(Ok(result)));
                    self.phase = Phase::Finished;
                }
                Err(error) => return self.fail(error),
            }
        }
        if self.phase == Phase::Finished && drained {
            self.over();
        }
    }

    fn end(&mut self, result: Result<Option<Tensor>>) {
        self.effects.push(Effect::Finished(result));
        self.over();
    }

    fn over(&mut self) {
        self.phase = Phase::Over;
        self.work = None;
        self.queue.clear();
    }
}
