//! Devices: where programs run and objects live.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    cluster::{TaskName, TaskNameError},
    frame::MAX_NAME,
};

/// `/job:worker/task:1/device:CPU:0`: a task, a type and a number. Travels as that string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DeviceName {
    task: TaskName,
    kind: Arc<str>,
    index: u32,
}

/// The text is not the name of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a device: write /job:NAME/task:N/device:TYPE:N, as in /job:worker/task:1/device:CPU:0"
)]
pub struct DeviceNameError(pub String);

impl DeviceName {
    /// Device number `index` of type `kind` (`CPU`) of a task.
    pub fn new(task: TaskName, kind: &str, index: u32) -> Result<Self, DeviceNameError> {
        let good = !kind.is_empty()
            && kind.len() <= MAX_NAME
            && kind.starts_with(|c: char| c.is_ascii_alphabetic())
            && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if good {
            Ok(Self { task, kind: kind.into(), index })
        } else {
            Err(DeviceNameError(format!("{task}/device:{kind}:{index}")))
        }
    }

    /// The task that has it.
    pub fn task(&self) -> &TaskName {
        &self.task
    }

    /// Its type: `CPU`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Its number among those of its type.
    pub fn index(&self) -> u32 {
        self.index
    }
}

impl FromStr for DeviceName {
    type Err = DeviceNameError;

    fn from_str(text: &str) -> Result<Self, DeviceNameError> {
        let wrong = || DeviceNameError(text.chars().take(MAX_NAME).collect());
        let (task, device) = text.split_once("/device:").ok_or_else(wrong)?;
        let (kind, index) = device.split_once(':').ok_or_else(wrong)?;
        let task = task.parse().map_err(|_: TaskNameError| wrong())?;
        let index = crate::cluster::parse_index(index).ok_or_else(wrong)?;
        Self::new(task, kind, index).map_err(|_| wrong())
    }
}

impl TryFrom<String> for DeviceName {
    type Error = DeviceNameError;

    fn try_from(text: String) -> Result<Self, DeviceNameError> {
        text.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> String {
        name.to_string()
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/device:{}:{}", self.task, self.kind, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print() {
        let name: DeviceName = "/job:worker/task:1/device:CPU:0".parse().unwrap();
        assert_eq!((name.task().index(), name.kind(), name.index()), (1, "CPU", 0));
        assert_eq!(name.to_string(), "/job:worker/task:1/device:CPU:0");
        for text in ["", "/job:worker/task:1", "/job:worker/task:1/device:CPU", "/job:worker/task:1/device::0"] {
            assert_eq!(text.parse::<DeviceName>(), Err(DeviceNameError(text.to_owned())));
        }
    }
}
