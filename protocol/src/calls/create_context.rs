//! CreateContext: make a task part of a context, and agree on small integers for its devices and tasks.

use serde::{Deserialize, Serialize};

use crate::{
    DeviceName,
    cluster::{GroupMembers, TaskInfo},
    ids::{ContextId, ContextIndex, Incarnation, ObjectId, ObjectPrefix},
};

/// Whether a context is made or one that is there is used on another link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum ContextMode {
    /// Make it; an error if it is there.
    Create,
    /// Use the one that is there; an error if it is not. Tasks and devices are those it was made with.
    Join,
}

impl From<ContextMode> for u8 {
    fn from(mode: ContextMode) -> u8 {
        match mode {
            ContextMode::Create => 0,
            ContextMode::Join => 1,
        }
    }
}

impl TryFrom<u8> for ContextMode {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(ContextMode::Create),
            1 => Ok(ContextMode::Join),
            _ => Err(format!("{number} is neither create (0) nor join (1)")),
        }
    }
}

/// Makes the receiving task part of a context.
///
/// Sent by a client that brings a cluster up, and in mode `Join` by a worker that fetches from another; served by the
/// `Server`. From then on `index` stands for the context on this link. Refused with `DistributedContextAlreadyExists`,
/// `InvalidDistributedContextId` (join), `AlreadyExists` (the prefix or the index is taken), `InvalidArgument`,
/// `ResourceExhausted`; then nothing is left behind.
///
/// ```text
/// [index u16, context u64, mode u8 (0 create, 1 join), prefix u64, tasks [[name str, address str or nil]],
///  devices [str], idle_timeout_ms u64, groups [[name str, members [u16]]]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateContextRequest {
    /// What stands for the context on this link from now on. Chosen by the sender.
    pub index: ContextIndex,
    /// The context.
    pub context: ContextId,
    /// Make it or join it.
    pub mode: ContextMode,
    /// The prefix of the object ids that the sender will make.
    pub prefix: ObjectPrefix,
    /// All tasks, the sender among them, at most `MAX_TASKS`; a `TaskIndex` is a position here. Empty when joining.
    #[serde(deserialize_with = "crate::bounded::tasks")]
    pub tasks: Vec<TaskInfo>,
    /// All devices, at most `MAX_TASKS`; a `DeviceIndex` is a position here. Empty when joining.
    #[serde(deserialize_with = "crate::bounded::tasks")]
    pub devices: Vec<DeviceName>,
    /// After so long without a call or a keep-alive the task may collect the context, in milliseconds.
    pub idle_timeout_ms: u64,
    /// The groups for collectives, at most `MAX_GROUPS`. Empty when joining.
    #[serde(deserialize_with = "crate::bounded::groups")]
    pub groups: Vec<GroupMembers>,
}

/// The task is part of the context.
///
/// ```text
/// [incarnation u64, ready_chain [prefix u64, local u64, device u16]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateContextReply {
    /// Which run of the task answered.
    pub incarnation: Incarnation,
    /// A chain object on that task that is ready: where the first side effect on it hangs on.
    pub ready_chain: ObjectId,
}
