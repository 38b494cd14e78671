//! What a caller does collectives with.

use std::{future::Future, time::Duration};

use actix::Recipient;
use remex_protocol::{
    ErrorCode,
    collective::{CollectiveOp, Reduction},
    ids::InstanceKey,
    tensor::Tensor,
};

use super::{ChunkArrived, Close, Inspect, Join, TaskLost};
use crate::{
    Error, Result, deadline,
    envelope::post,
    promise::{Promise, promise},
};

/// The ways to the collectives of a context.
#[derive(Clone, Debug)]
pub struct CollectiveRecipients {
    /// Takes what callers here begin.
    pub join: Recipient<Join>,
    /// Takes what other members send.
    pub arrived: Recipient<ChunkArrived>,
    /// Learns that a task is lost.
    pub lost: Recipient<TaskLost>,
    /// Ends them.
    pub close: Recipient<Close>,
    /// Counts them.
    pub inspect: Recipient<Inspect>,
}

impl CollectiveRecipients {
    /// A group by its name; calls may take `limit` unless they say otherwise. Whether the group exists, and this task is
    /// in it, is found out by the first call.
    pub fn group(&self, name: impl Into<String>, limit: Duration) -> Group {
        Group { join: self.join.clone(), name: name.into(), limit }
    }
}

/// A group of tasks, as one of its members uses it. All methods join at once, not when they are first polled: two calls
/// under one name are two runs, in the order of the calls, and all members must make them in the same order. Calls under
/// different names are independent.
///
/// A call ends with an error for all members when one of them fails, is lost, does something else under that name, or
/// does not come by the deadline. Dropping the future cancels nothing: the others still get their results.
#[derive(Clone, Debug)]
pub struct Group {
    join: Recipient<Join>,
    name: String,
    limit: Duration,
}

impl Group {
    /// The same group, whose calls may take so long.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// All members' elements made into one; all get the result. All tensors must have one type and shape.
    pub fn all_reduce(
        &self,
        reduction: Reduction,
        name: &str,
        input: Tensor,
    ) -> impl Future<Output = Result<Tensor>> + use<> {
        some(self.join(name, CollectiveOp::AllReduce(reduction), Some(input)))
    }

    /// The same, of which member *m* of *n* gets rows ⌊d·m/n⌋ to ⌊d·(m+1)/n⌋ of the first dimension *d*.
    pub fn reduce_scatter(
        &self,
        reduction: Reduction,
        name: &str,
        input: Tensor,
    ) -> impl Future<Output = Result<Tensor>> + use<> {
        some(self.join(name, CollectiveOp::ReduceScatter(reduction), Some(input)))
    }

    /// All get the tensor of member number `root`, who gives it. What another member gives is not sent, but must have its
    /// type and shape. The root is done when its neighbour has taken everything.
    pub fn broadcast(
        &self,
        root: u16,
        name: &str,
        input: Option<Tensor>,
    ) -> impl Future<Output = Result<Tensor>> + use<> {
        some(self.join(name, CollectiveOp::Broadcast { root }, input))
    }

    /// All tensors, of one type and shape, joined along an axis in the members' order; all get the result.
    pub fn all_gather(&self, axis: u16, name: &str, input: Tensor) -> impl Future<Output = Result<Tensor>> + use<> {
        some(self.join(name, CollectiveOp::AllGather { axis }, Some(input)))
    }

    /// The same of tensors whose lengths along that axis may differ.
    pub fn all_gather_any_shape(
        &self,
        axis: u16,
        name: &str,
        input: Tensor,
    ) -> impl Future<Output = Result<Tensor>> + use<> {
        some(self.join(name, CollectiveOp::AllGatherAnyShape { axis }, Some(input)))
    }

    /// Nobody goes on before all members have come.
    pub fn barrier(&self, name: &str) -> impl Future<Output = Result<()>> + use<> {
        let joined = self.join(name, CollectiveOp::Barrier, None);
        async move { joined?.get().await.map(|_| ()) }
    }

    fn join(&self, name: &str, op: CollectiveOp, input: Option<Tensor>) -> Result<Promise<Option<Tensor>>> {
        let name =
            InstanceKey::try_from(name).map_err(|error| Error::new(ErrorCode::InvalidArgument, error.to_string()))?;
        let (to, promise) = promise();
        let until = deadline::from_now(self.limit).into_std();
        post(&self.join, Join { group: self.name.clone(), name, op, input, until, to });
        Ok(promise)
    }
}

async fn some(joined: Result<Promise<Option<Tensor>>>) -> Result<Tensor> {
    let result = joined?.get().await?;
    result.ok_or_else(|| Error::new(ErrorCode::Internal, "the collective gave no tensor: must not happen"))
}
