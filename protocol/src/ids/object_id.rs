//! Names a remote object.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::DeviceIndex;

/// 64 random bits per incarnation and context; a task refuses a prefix that another live session of the context holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectPrefix(pub u64);

/// A remote object: who named it, its number there, and the device that it lives on.
///
/// A client makes ids without asking anybody. `local` counts from 1; 0 is never an id.
///
/// ```text
/// prefix u64 | local u64 | device u16
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// Who named it.
    pub prefix: ObjectPrefix,
    /// Its number among those of that prefix; from 1.
    pub local: u64,
    /// Where it lives, in the context's device table.
    pub device: DeviceIndex,
}

impl ObjectId {
    /// Whether the number can be an id at all.
    pub fn is_valid(&self) -> bool {
        self.local != 0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{:x}/{}@{}", self.prefix.0, self.local, self.device)
    }
}
