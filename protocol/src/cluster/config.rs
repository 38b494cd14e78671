//! The tasks of a cluster, as the user gives them.

use serde::{Deserialize, Serialize};

use super::{Address, TaskName};

/// A task and where it listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskInfo {
    /// Its name.
    pub name: TaskName,
    /// Where it listens; a task that only connects has none and receives no calls.
    pub address: Option<Address>,
}

/// Tasks by name, each once, in the order they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterConfig {
    tasks: Vec<TaskInfo>,
}

/// The configuration contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {name} stands twice in the cluster: at {first} and at {second}; give each task once")]
pub struct ClusterError {
    /// The task.
    pub name: TaskName,
    /// Where it stood first.
    pub first: String,
    /// Where it stood again.
    pub second: String,
}

impl ClusterConfig {
    /// No tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a task that listens at `address`. Changes nothing if the name is taken.
    pub fn add(&mut self, name: TaskName, address: Option<Address>) -> Result<(), ClusterError> {
        let show = |address: &Option<Address>| address.as_ref().map_or("no address".to_owned(), Address::to_string);
        if let Some(task) = self.tasks.iter().find(|task| task.name == name) {
            return Err(ClusterError { name, first: show(&task.address), second: show(&address) });
        }
        self.tasks.push(TaskInfo { name, address });
        Ok(())
    }

    /// As [`add`](Self::add), for a chain of calls.
    pub fn with(mut self, name: TaskName, address: Address) -> Result<Self, ClusterError> {
        self.add(name, Some(address))?;
        Ok(self)
    }

    /// The tasks, in the order they were given.
    pub fn tasks(&self) -> &[TaskInfo] {
        &self.tasks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_once() {
        let name: TaskName = "/job:worker/task:0".parse().unwrap();
        let at = |text: &str| text.parse::<Address>().unwrap();
        let cluster = ClusterConfig::new().with(name.clone(), at("unix:/a")).unwrap();
        let error = cluster.clone().with(name, at("unix:/b")).unwrap_err();
        assert!(error.to_string().contains("unix:/a") && error.to_string().contains("unix:/b"), "{error}");
        assert_eq!(cluster.tasks().len(), 1);
    }
}
