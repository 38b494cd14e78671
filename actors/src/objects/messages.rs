//! What an `ObjectManager` is told and what it tells.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Message, Recipient};
use bytes::Bytes;
use remex_protocol::{
    Body, ErrorCode, Frame, RemoteError, Rpc,
    calls::{
        BeginPutRequest, DeleteMode, DeleteObjectsRequest, ExportObjectRequest, FailObjectsRequest, FetchObjectRequest,
        FetchPartRequest, ImportObjectRequest, InputRef, Origin, OutputRef, PinMode, PinObjectsRequest,
        PutObjectRequest, PutPartRequest,
    },
    ids::{CallId, ObjectId, ObjectPrefix, TaskIndex, TokenSecret},
    tensor::{Tensor, TensorMetadata},
};

use smallvec::SmallVec;

use super::{Part, jobs::Caller, memory::Lease};
use crate::{
    Error, Result,
    envelope::post,
    programs::Executable,
    session::{Answers, SessionId},
};

// From the context.

/// What a batch of calls of one session wants of the objects, in the link's order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Resolve {
    /// The session.
    pub session: SessionId,
    /// Who is answered.
    pub answers: Arc<Recipient<Answers>>,
    /// What is wanted. Take it out with `std::mem::take`: what is dropped in here is answered with `Internal`.
    pub steps: Vec<Step>,
}

impl Drop for Resolve {
    /// A manager that is gone drops its mailbox: whoever waits for it is told (I1).
    fn drop(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        answer_died(&self.answers, steps.iter().filter_map(Step::named));
    }
}

/// Answers calls whose object manager died.
pub(super) fn answer_died(answers: &Recipient<Answers>, calls: impl IntoIterator<Item = (CallId, u8)>) {
    let mut calls = calls.into_iter().peekable();
    if calls.peek().is_none() {
        return;
    }
    let error = RemoteError::new(ErrorCode::Internal, "the object manager of the context is gone: it died");
    let frame = |(call, kind)| {
        let error = Box::new(error.clone().of_call(call));
        Frame::new(call, Body::Failed { kind, error })
    };
    let frames: Vec<_> = calls.map(frame).collect();
    post(answers, Answers(frames));
}

/// One thing that a call wants of the objects.
#[derive(Debug)]
pub enum Step {
    /// Look up the inputs, reserve the outputs, and run when all is there.
    Run(Box<Run>),
    /// Poison those outputs of a refused call that are unused, and answer it (I7).
    Refuse {
        /// The call.
        call: CallId,
        /// The number of its kind.
        kind: u8,
        /// Its outputs.
        outputs: Vec<ObjectId>,
        /// Why.
        error: Error,
    },
    /// Send an object's data when it is ready.
    Await {
        /// The call.
        call: CallId,
        /// The object.
        object: ObjectId,
        /// Where it should come from.
        origin: Origin,
        /// Which of its bytes; `None`: all.
        part: Option<Part>,
        /// When its caller gives up.
        deadline: Instant,
    },
    /// Reserve an id and memory for a tensor that comes in parts.
    Begin {
        /// The call.
        call: CallId,
        /// The id.
        object: ObjectId,
        /// Element type and shape.
        metadata: TensorMetadata,
        /// How long the next part is waited for.
        patience: Duration,
    },
    /// The next bytes of such a tensor.
    Part {
        /// The call.
        call: CallId,
        /// The object.
        object: ObjectId,
        /// Where they belong.
        offset: u64,
        /// The bytes.
        data: Bytes,
        /// When they came.
        at: Instant,
    },
    /// Store a tensor whose bytes are here, or on their way.
    Put {
        /// The call.
        call: CallId,
        /// The id.
        object: ObjectId,
        /// Element type and shape.
        metadata: TensorMetadata,
        /// The bytes; `None`: they come with [`Step::Payload`].
        data: Option<Bytes>,
    },
    /// The bytes of an earlier put.
    Payload {
        /// The put.
        call: CallId,
        /// The bytes.
        data: Bytes,
    },
    /// Give objects up.
    Delete {
        /// The call.
        call: CallId,
        /// The objects.
        objects: Vec<ObjectId>,
        /// Whether calls that wait for them are to fail.
        mode: DeleteMode,
    },
    /// Give back one count of each. Nobody is told how that went.
    Release {
        /// The objects.
        objects: Vec<ObjectId>,
    },
    /// Poison ids that nobody will make.
    Fail {
        /// The call.
        call: CallId,
        /// The objects.
        objects: Vec<ObjectId>,
        /// What they fail with.
        cause: Error,
    },
    /// Set or take away pins.
    Pin {
        /// The call.
        call: CallId,
        /// The objects.
        objects: Vec<ObjectId>,
        /// Which of both.
        mode: PinMode,
    },
    /// Make a token for an object.
    Export {
        /// The call.
        call: CallId,
        /// The object.
        object: ObjectId,
        /// When the call came.
        at: Instant,
    },
    /// Take over the count of a token.
    Import {
        /// The call.
        call: CallId,
        /// The object.
        object: ObjectId,
        /// What the exporter was given.
        secret: TokenSecret,
        /// When the call came.
        at: Instant,
    },
    /// Give up on a call.
    Cancel {
        /// Which.
        call: CallId,
    },
}

/// A call that runs a program. Its structure has been checked.
#[derive(Debug)]
pub struct Run {
    /// The call.
    pub call: CallId,
    /// The number of its kind: RemoteExecute, or RemoteExecuteOp.
    pub kind: u8,
    /// The name that the program was registered under, or that of the op.
    pub name: Arc<str>,
    /// The program.
    pub program: Binding,
    /// The lane of the executor that it runs on.
    pub lane: u16,
    /// In the program's order.
    pub inputs: SmallVec<[InputRef; 3]>,
    /// In the program's order.
    pub outputs: SmallVec<[OutputRef; 2]>,
    /// What must be ready besides, and is not given to the program.
    pub in_chains: SmallVec<[InputRef; 1]>,
    /// A chain that becomes ready with the outputs, or fails with them.
    pub out_chain: Option<ObjectId>,
    /// When its caller gives up.
    pub deadline: Instant,
    /// The caller's key-values.
    pub baggage: Vec<(String, String)>,
    /// Sessions whose tasks will fetch an output, by the output's number: they are told its metadata as soon as it is known.
    pub readers: Vec<(u32, SessionId)>,
}

/// The program of a call.
#[derive(Clone, Debug)]
pub enum Binding {
    /// It can run.
    Ready(Arc<Executable>),
    /// It is being compiled; [`Bound`] says how that ended.
    Compiling(u64),
}

/// A compilation ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Bound {
    /// Which.
    pub compilation: u64,
    /// The program, or why there is none.
    pub program: Result<Arc<Executable>>,
}

/// An object that was asked for from another task is here, or will not come.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Fetched {
    /// The object.
    pub object: ObjectId,
    /// Its data, or why there is none.
    pub outcome: Result<Tensor>,
}

/// What an object will be that was asked for from another task. Comes before [`Fetched`], if at all.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Foreseen {
    /// The object.
    pub object: ObjectId,
    /// What it will be.
    pub metadata: TensorMetadata,
}

/// A session is over, or has left the context: its calls are given up.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SessionEnded {
    /// Which.
    pub session: SessionId,
    /// If it was lost: the prefix of what it made.
    pub lost: Option<ObjectPrefix>,
}

/// The context is closed: everything fails with this, and the manager stops.
#[derive(Debug, Message)]
#[rtype(result = "Result<()>")]
pub struct Close(pub Error);

// From the executor.

/// Runs that ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Fulfil(pub Vec<Finished>);

/// A run that ended.
#[derive(Debug)]
pub struct Finished {
    /// The run.
    pub job: u64,
    /// Its outputs, in order and as many as the call names, or why there are none.
    pub outcome: Result<Vec<Tensor>>,
    /// The memory of outputs for which none was reserved.
    pub(crate) lease: Option<Lease>,
}

impl Finished {
    /// A run that ended so.
    pub fn new(job: u64, outcome: Result<Vec<Tensor>>) -> Self {
        Self { job, outcome, lease: None }
    }
}

// To the context.

/// Objects that live on another task and are wanted here.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Wanted(pub Vec<Want>);

/// An object that lives on another task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The object.
    pub object: ObjectId,
    /// Where it lives.
    pub owner: TaskIndex,
    /// When the last one who waits gives up.
    pub deadline: Instant,
}

/// What the numbers of an object manager are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Objects and tombstones in the table.
    pub objects: usize,
    /// Those of them that are tombstones: given up before they were ready.
    pub tombstones: usize,
    /// Those that are pinned.
    pub pinned: usize,
    /// Tokens for handing objects over that can be used, or are remembered.
    pub tokens: usize,
    /// Calls that wait or run.
    pub jobs: usize,
    /// Calls and objects that were refused because of a limit.
    pub refused: u64,
    /// How often another task was asked for an object.
    pub fetches: u64,
    /// Bytes of objects that came from other tasks.
    pub fetched_bytes: u64,
}

/// Asks for the numbers.
#[derive(Debug, Message)]
#[rtype(result = "Result<Stats>")]
pub struct Inspect;

impl Step {
    /// The call that waits for an answer to this, and the number of its kind.
    pub(super) fn named(&self) -> Option<(CallId, u8)> {
        match self {
            Step::Run(run) => Some((run.call, run.kind)),
            Step::Refuse { call, kind, .. } => Some((*call, *kind)),
            Step::Await { call, part: None, .. } => Some((*call, FetchObjectRequest::KIND)),
            Step::Await { call, .. } => Some((*call, FetchPartRequest::KIND)),
            Step::Begin { call, .. } => Some((*call, BeginPutRequest::KIND)),
            Step::Part { call, .. } => Some((*call, PutPartRequest::KIND)),
            Step::Put { call, .. } => Some((*call, PutObjectRequest::KIND)),
            Step::Delete { call, .. } => Some((*call, DeleteObjectsRequest::KIND)),
            Step::Fail { call, .. } => Some((*call, FailObjectsRequest::KIND)),
            Step::Pin { call, .. } => Some((*call, PinObjectsRequest::KIND)),
            Step::Export { call, .. } => Some((*call, ExportObjectRequest::KIND)),
            Step::Import { call, .. } => Some((*call, ImportObjectRequest::KIND)),
            Step::Payload { .. } | Step::Release { .. } | Step::Cancel { .. } => None,
        }
    }
}

impl Run {
    /// What must be ready: the inputs, and behind them the chains.
    pub(crate) fn taken(&self) -> impl Iterator<Item = &InputRef> + Clone {
        self.inputs.iter().chain(&self.in_chains)
    }

    /// What it makes: the outputs, and behind them the chain.
    pub(crate) fn made(&self) -> impl Iterator<Item = ObjectId> {
        self.outputs.iter().map(|output| output.object).chain(self.out_chain)
    }
}

impl Caller {
    pub(crate) fn new(session: SessionId, call: CallId) -> Self {
        Self { session, call }
    }
}
