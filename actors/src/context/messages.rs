//! What a `DistributedContext` is told.

use std::time::Duration;

use actix::Message;
use remex_protocol::ids::ObjectId;
use smallvec::SmallVec;

use crate::{
    Error, Result,
    handles::{Chain, Execution, ObjectRef, ProgramHandle, RemoteChain, RemoteExecuteSpec},
};

// From callers, on any thread.

/// There is something in the queue.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Drain;

/// Runs a registered program on its task.
///
/// As an actix message it is answered when it is admitted, or with `Overloaded` when the receiver's credits are used up;
/// `ContextHandle::execute` waits for them instead. Refused, with nothing sent, when the outputs do not fit the spec,
/// when a device is not the receiver's, when something is of another context, and when the context is closed.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Execution>")]
#[must_use = "a RemoteExecute does nothing until it is given to a context"]
pub struct RemoteExecute {
    /// Boxed: it goes from hand to hand, and through the futures of `execute`, and is copied with each step.
    pub(super) parts: Box<Parts>,
}

/// What a [`RemoteExecute`] says.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) program: ProgramHandle,
    pub(crate) inputs: Inputs,
    pub(crate) form: OutputForm,
    pub(crate) spec: Option<RemoteExecuteSpec>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) baggage: Vec<(String, String)>,
    pub(crate) after: Vec<Chain>,
    pub(crate) in_chains: Vec<RemoteChain>,
    pub(crate) out_chain: bool,
}

/// What a call takes: most take few.
pub(super) type Inputs = SmallVec<[ObjectInput; 2]>;

/// An object that a call takes.
#[derive(Clone, Debug)]
pub enum ObjectInput {
    /// One that is referred to.
    Ref(ObjectRef),
    /// One that is only known by its id: it is waited for, by the call's deadline, if it is not there yet.
    Id(ObjectId),
}

impl From<&ObjectRef> for ObjectInput {
    fn from(object: &ObjectRef) -> Self {
        Self::Ref(object.clone())
    }
}

impl From<ObjectRef> for ObjectInput {
    fn from(object: ObjectRef) -> Self {
        Self::Ref(object)
    }
}

impl From<ObjectId> for ObjectInput {
    fn from(object: ObjectId) -> Self {
        Self::Id(object)
    }
}

/// What a call gives back of its outputs.
#[derive(Clone, Debug)]
pub(crate) enum OutputForm {
    /// New ids, and handles for the last so many.
    New { handles: usize },
    /// Handles for ids that the caller has allocated.
    Given(Vec<ObjectRef>),
}

impl RemoteExecute {
    /// Runs `program` on the task that it was registered on. Without more: no inputs, new ids for the outputs, no
    /// handles.
    pub fn new(program: &ProgramHandle) -> Self {
        let parts = Parts {
            program: program.clone(),
            inputs: Inputs::new(),
            form: OutputForm::New { handles: 0 },
            spec: None,
            deadline: None,
            baggage: Vec::new(),
            after: Vec::new(),
            in_chains: Vec::new(),
            out_chain: false,
        };
        Self { parts: Box::new(parts) }
    }

    /// Adds an input.
    pub fn input(mut self, object: impl Into<ObjectInput>) -> Self {
        self.parts.inputs.push(object.into());
        self
    }

    /// Adds inputs.
    pub fn inputs<I: Into<ObjectInput>>(mut self, objects: impl IntoIterator<Item = I>) -> Self {
        self.parts.inputs.extend(objects.into_iter().map(Into::into));
        self
    }

    /// Asks for tensor handles for the last `last` outputs, which must be tensors.
    pub fn handles(mut self, last: usize) -> Self {
        self.parts.form = OutputForm::New { handles: last };
        self
    }

    /// Gives the outputs ids that the caller has allocated, all of them, in order. Only handles come back.
    pub fn outputs_into(mut self, objects: impl IntoIterator<Item = ObjectRef>) -> Self {
        self.parts.form = OutputForm::Given(objects.into_iter().collect());
        self
    }

    /// Says where the outputs go, where the registration did not: one that differs from what it said fails the call.
    pub fn spec(mut self, spec: RemoteExecuteSpec) -> Self {
        self.parts.spec = Some(spec);
        self
    }

    /// Gives up after so long, counted from when the call is made. Default: the context's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.parts.deadline = Some(deadline);
        self
    }

    /// Whether its outputs get new ids.
    pub(super) fn makes_ids(&self) -> bool {
        matches!(self.parts.form, OutputForm::New { .. })
    }

    /// Gives up after so long, unless it says otherwise itself.
    pub(super) fn within(mut self, limit: Option<Duration>) -> Self {
        self.parts.deadline = self.parts.deadline.or(limit);
        self
    }

    /// Is sent only when the call of `chain` is done, whichever task it runs on: costs an answer's way. If that call
    /// fails, this one is not sent and fails with its cause, as does everything that uses its outputs. Its deadline counts
    /// from now on all the same.
    pub fn after(mut self, chain: &Chain) -> Self {
        self.parts.after.push(chain.clone());
        self
    }

    /// Runs only when `chain` is ready, which must be one of the task that runs the program: both calls are sent at once.
    pub fn in_chain(mut self, chain: &RemoteChain) -> Self {
        self.parts.in_chains.push(chain.clone());
        self
    }

    /// Asks for a chain on the receiver that becomes ready when this call is done, and fails when it does.
    pub fn out_chain(mut self) -> Self {
        self.parts.out_chain = true;
        self
    }

    /// Hands a key and a value to the program.
    pub fn baggage(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.parts.baggage.push((key.into(), value.into()));
        self
    }
}

// From the server.

/// End the context on this task: everything that waits or runs fails with this. Answered when nothing of it is left.
#[derive(Debug, Message)]
#[rtype(result = "Result<()>")]
pub struct CloseContext(pub Error);

/// From now on new calls are refused with this; those that wait or run go on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Refuse(pub Error);

/// How many programs there are, of how many bytes, and how many registrations were refused because of a limit.
#[derive(Debug, Message)]
#[rtype(result = "Result<(usize, usize, u64)>")]
pub(crate) struct Inspect;
