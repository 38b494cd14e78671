//! SendReadyChains: the members of a context of several clients tell each other what they have.

use serde::{Deserialize, Serialize};

use crate::{
    DeviceName,
    cluster::{GroupMembers, TaskInfo, TaskName},
    ids::{ContextId, ObjectId, ObjectPrefix},
};

/// Takes part in a context that several tasks make together.
///
/// Sent by each follower to the lead; served by the `Server`. The lead compares the configuration with its own, waits
/// until every member has said this, and answers all of them with the same tables. One that comes before the lead itself
/// has begun waits. Refused with `FailedPrecondition` (the configurations differ; the message says where, and the attempt
/// of all is over), `DistributedContextAlreadyExists`, `AlreadyExists` (the member has said it before), `DeadlineExceeded`
/// (a member did not come; the message names it), `InvalidArgument`. Sent again after a failure it is a new attempt.
///
/// ```text
/// [context u64, lead str, member str, tasks [[name str, address str or nil]], groups [[name str, members [u16]]],
///  devices [str], chain_prefix u64, time_left_ms u64]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendReadyChainsRequest {
    /// The context: the same number in the configuration of all.
    pub context: ContextId,
    /// Who leads, in the sender's configuration.
    pub lead: TaskName,
    /// The sender.
    pub member: TaskName,
    /// All members in the sender's configuration, at most `MAX_TASKS`; a `TaskIndex` is a position here.
    #[serde(deserialize_with = "crate::bounded::tasks")]
    pub tasks: Vec<TaskInfo>,
    /// The groups for collectives in the sender's configuration, at most `MAX_GROUPS`.
    #[serde(deserialize_with = "crate::bounded::groups")]
    pub groups: Vec<GroupMembers>,
    /// The sender's own devices, at most `MAX_TASKS`, the first of them the one that its ready chain is on.
    #[serde(deserialize_with = "crate::bounded::tasks")]
    pub devices: Vec<DeviceName>,
    /// The prefix of the sender's ready chain, whose local number is 1.
    pub chain_prefix: ObjectPrefix,
    /// How long the sender will wait from now, in milliseconds.
    pub time_left_ms: u64,
}

/// All members are there, with the same configuration.
///
/// ```text
/// [devices [str], ready_chains [[prefix u64, local u64, device u16]]]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendReadyChainsReply {
    /// All devices of all members, in the order of the tasks; a `DeviceIndex` is a position here.
    #[serde(deserialize_with = "crate::bounded::tasks")]
    pub devices: Vec<DeviceName>,
    /// The chain that is ready on each member, in the order of the tasks.
    #[serde(deserialize_with = "crate::bounded::tasks")]
    pub ready_chains: Vec<ObjectId>,
}
