//! What an async program is handed when it runs.

use std::sync::Arc;

use remex_protocol::{ErrorCode, ids::ObjectId, tensor::Tensor};
use tokio::time::Instant;

use super::{Outputs, ProgramCall};
use crate::{
    Error, Result,
    context::{ContextShared, RunGuard, TaskContext},
};

/// One run of an async program. Unlike a sync one it may wait, and so it can ask for its context and call other tasks.
#[derive(Debug)]
#[non_exhaustive]
pub struct AsyncCall {
    /// The name that the program was registered under.
    pub program: Arc<str>,
    /// Its inputs, in order.
    pub inputs: Vec<Tensor>,
    /// Where its outputs go that are to be seen before it is done.
    pub outputs: Outputs,
    /// The caller's key-values.
    pub baggage: Vec<(String, String)>,
    /// When the caller gives up.
    pub deadline: Instant,
    output_ids: Vec<ObjectId>,
    context: Option<TaskContext>,
}

impl AsyncCall {
    /// Also gives what ends the run's own calls when it is dropped before the run has succeeded.
    pub(crate) fn new(
        call: ProgramCall,
        output_ids: Vec<ObjectId>,
        context: Option<Arc<ContextShared>>,
    ) -> (Self, Option<RunGuard>) {
        let ProgramCall { program, inputs, outputs, baggage, deadline, .. } = call;
        let (context, guard) = context.map(|context| TaskContext::of_run(context, deadline)).unzip();
        (Self { program, inputs, outputs, baggage, deadline, output_ids, context }, guard)
    }

    /// The context that the program runs in, to call other tasks and this one with. What is done with it is bounded by this
    /// run: see [`TaskContext`]. Take it before anything is moved out of the call.
    ///
    /// `FailedPrecondition` where an object manager of the application's own runs programs without saying which context
    /// they are of.
    pub fn context(&self) -> Result<TaskContext> {
        self.context.clone().ok_or_else(|| {
            let message = "the program was run without a context: the object manager must name it in its `Run`";
            Error::new(ErrorCode::FailedPrecondition, message)
        })
    }

    /// The ids that the caller gave the outputs, in order: they may be handed to calls on other tasks, which wait until
    /// this run is done. The objects are this run's to make; no inner call can make them.
    pub fn output_ids(&self) -> &[ObjectId] {
        &self.output_ids
    }
}
