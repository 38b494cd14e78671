//! GetDevices: who are you and what have you got.

use serde::{Deserialize, Serialize};

use crate::{DeviceName, cluster::TaskName, ids::Incarnation};

/// Asks a task for its name and devices.
///
/// Sent by a client that brings a cluster up, served by the `Server`. Changes nothing; repeating it is safe.
///
/// ```text
/// []
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetDevicesRequest {}

/// The task and its devices.
///
/// ```text
/// [task str, incarnation u64, devices [str]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetDevicesReply {
    /// The task's name.
    pub task: TaskName,
    /// Which run of the task this is.
    pub incarnation: Incarnation,
    /// Its devices, in its own order; the first is where programs run unless told otherwise.
    #[serde(deserialize_with = "crate::bounded::tasks")]
    pub devices: Vec<DeviceName>,
}
