//! `/job:NAME/task:N`.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::frame::MAX_NAME;

/// The name of a task: `/job:NAME/task:N`, where NAME is `[a-zA-Z][_a-zA-Z0-9]*` and N is below 2³² without leading
/// zeros. Travels as that string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TaskName {
    job: Arc<str>,
    index: u32,
}

/// The text is not the name of a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a task: write /job:NAME/task:N, NAME of letters, digits and _ (a letter first), N a number"
)]
pub struct TaskNameError(pub String);

impl TaskName {
    /// Task number `index` of a job.
    pub fn new(job: &str, index: u32) -> Result<Self, TaskNameError> {
        let mut chars = job.chars();
        let good = chars.next().is_some_and(|c| c.is_ascii_alphabetic())
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
            && job.len() <= MAX_NAME;
        if good { Ok(Self { job: job.into(), index }) } else { Err(TaskNameError(format!("/job:{job}/task:{index}"))) }
    }

    /// NAME.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// N.
    pub fn index(&self) -> u32 {
        self.index
    }
}

impl FromStr for TaskName {
    type Err = TaskNameError;

    fn from_str(text: &str) -> Result<Self, TaskNameError> {
        let wrong = || TaskNameError(text.chars().take(MAX_NAME).collect());
        let (job, index) = text.strip_prefix("/job:").and_then(|rest| rest.split_once("/task:")).ok_or_else(wrong)?;
        Self::new(job, parse_index(index).ok_or_else(wrong)?).map_err(|_| wrong())
    }
}

/// A decimal number without sign and leading zeros.
pub(crate) fn parse_index(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

impl TryFrom<String> for TaskName {
    type Error = TaskNameError;

    fn try_from(text: String) -> Result<Self, TaskNameError> {
        text.parse()
    }
}

impl From<TaskName> for String {
    fn from(name: TaskName) -> String {
        name.to_string()
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/job:{}/task:{}", self.job, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print() {
        fn good(text: &str) {
            assert_eq!(text.parse::<TaskName>().unwrap().to_string(), text);
        }
        fn bad(text: &str) {
            assert_eq!(text.parse::<TaskName>(), Err(TaskNameError(text.to_owned())));
        }
        good("/job:worker/task:0");
        good("/job:a_9/task:4294967295");
        bad("");
        bad("/job:worker");
        bad("/job:/task:1");
        bad("/job:9a/task:1");
        bad("/job:a-b/task:1");
        bad("/job:worker/task:01");
        bad("/job:worker/task:+1");
        bad("/job:worker/task:");
        bad("/job:worker/task:4294967296");
        bad("/job:worker/task:1/device:CPU:0");
        bad("job:worker/task:1");
    }
}
