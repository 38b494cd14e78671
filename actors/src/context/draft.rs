//! A call that was checked and admitted, before it is made into a frame.

use std::{collections::VecDeque, sync::Arc};

use remex_protocol::{
    Call, Rpc,
    attrs::Attrs,
    calls::{InputRef, Origin, OutputRef, RemoteExecuteOpRequest, RemoteExecuteRequest},
    ids::{ContextIndex, DeviceIndex, ObjectId, ProgramIndex, TaskIndex},
};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{ContextShared, ObjectInput, messages::Inputs};
use crate::{
    Result, deadline,
    handles::{Chain, ObjectRef, RemoteChain},
    promise::OutputMetadata,
};

/// Everything that goes into the frame of a call, and everything that must live until it is sent.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) to: TaskIndex,
    /// What runs, for messages.
    pub(crate) name: Arc<str>,
    pub(crate) target: Target,
    pub(crate) inputs: Inputs,
    pub(crate) outputs: SmallVec<[ObjectRef; 2]>,
    /// From this output on metadata is wanted.
    pub(crate) first_handle: usize,
    pub(crate) in_chains: Vec<RemoteChain>,
    pub(crate) out_chain: Option<RemoteChain>,
    /// Calls that must be done before this one is sent.
    pub(crate) after: VecDeque<Chain>,
    pub(crate) deadline: Instant,
    /// What follows from the inputs' metadata, where that can be said here.
    pub(crate) inferred: Option<Result<OutputMetadata>>,
}

/// What a call runs.
#[derive(Debug)]
pub(crate) enum Target {
    Program { index: ProgramIndex, baggage: Vec<(String, String)> },
    Op { device: DeviceIndex, attrs: Attrs },
}

impl Draft {
    /// What the call makes.
    pub(crate) fn made(&self) -> impl Iterator<Item = &ObjectRef> {
        self.outputs.iter().chain(self.out_chain.as_ref().map(RemoteChain::object))
    }

    /// Inputs that another task owns: they must not be released before the call is done, or their owner might hear of the release
    /// before the receiver has fetched them.
    pub(crate) fn holds(&self) -> Box<[ObjectRef]> {
        let refs = self.inputs.iter().filter_map(|input| match input {
            ObjectInput::Ref(object) if object.owner() != self.to => Some(object.clone()),
            ObjectInput::Ref(_) | ObjectInput::Id(_) => None,
        });
        refs.collect()
    }

    /// The call as it goes to its receiver now. Where the inputs come from is looked up now: what was not on its way
    /// when the call was made may be by now.
    pub(crate) fn call(&mut self, shared: &ContextShared, context: ContextIndex) -> Call {
        let input = |input: &ObjectInput| match input {
            ObjectInput::Ref(object) => InputRef { object: object.id(), origin: object.origin(self.to) },
            ObjectInput::Id(id) => InputRef { object: *id, origin: origin_of(shared, *id, self.to) },
        };
        let output =
            |(i, object): (usize, &ObjectRef)| OutputRef { object: object.id(), need_metadata: i >= self.first_handle };
        let in_chain = |chain: &RemoteChain| InputRef { object: chain.id(), origin: chain.object().origin(self.to) };
        let inputs = self.inputs.iter().map(input).collect();
        let outputs = self.outputs.iter().enumerate().map(output).collect();
        let in_chains = self.in_chains.iter().map(in_chain).collect();
        let out_chain = self.out_chain.as_ref().map(RemoteChain::id);
        let time_left_ms = deadline::left_ms(self.deadline);
        match &mut self.target {
            Target::Program { index, baggage } => Call::RemoteExecute(Box::new(RemoteExecuteRequest {
                context,
                program: *index,
                inputs,
                outputs,
                in_chains,
                out_chain,
                time_left_ms,
                baggage: std::mem::take(baggage),
                // Known when it goes out with others.
                readers: Vec::new(),
                released: Vec::new(),
            })),
            Target::Op { device, attrs } => Call::RemoteExecuteOp(Box::new(RemoteExecuteOpRequest {
                context,
                op: self.name.to_string(),
                device: *device,
                attrs: std::mem::take(attrs),
                inputs,
                outputs,
                in_chains,
                out_chain,
                time_left_ms,
            })),
        }
    }

    /// The number of its kind of frame.
    pub(crate) fn kind(&self) -> u8 {
        match &self.target {
            Target::Program { .. } => RemoteExecuteRequest::KIND,
            Target::Op { .. } => RemoteExecuteOpRequest::KIND,
        }
    }
}

/// How `receiver` gets at an object of which only the id is known (I4a).
fn origin_of(shared: &ContextShared, id: ObjectId, receiver: TaskIndex) -> Origin {
    match shared.owner(id.device) {
        Some(owner) if owner != receiver => Origin::Owner(owner),
        Some(_) | None => Origin::Anywhere,
    }
}
