//! Groups of tasks that do collectives together.

use serde::{Deserialize, Serialize};

use super::TaskName;
use crate::{frame::MAX_NAME, ids::TaskIndex};

/// Most groups of a context.
pub const MAX_GROUPS: usize = 1024;

/// Tasks that do collectives together, as the user gives them. The order is that of the members' numbers, from 0; all
/// tasks of a context must see the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectiveGroup {
    /// Its name, 1 to 256 bytes.
    pub name: String,
    /// Its members, each once; at least one.
    pub members: Vec<TaskName>,
}

/// A group as `CreateContext` carries it.
///
/// ```text
/// [name str, members [u16]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMembers {
    /// Its name.
    #[serde(deserialize_with = "crate::bounded::name")]
    pub name: String,
    /// Positions in the context's task table, in the order of the members' numbers.
    #[serde(deserialize_with = "crate::bounded::members")]
    pub members: Vec<TaskIndex>,
}

/// A group contradicts itself or its context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The name is empty or too long.
    #[error("a group's name has {0} bytes: it must have 1 to {MAX_NAME}")]
    Name(usize),
    /// Two groups have one name.
    #[error("group {0:?} stands twice: give each group once")]
    Repeated(String),
    /// It has no members.
    #[error("group {0:?} has no members: name at least one task")]
    Empty(String),
    /// A member stands twice.
    #[error("task {member} stands twice in group {group:?}: name each member once")]
    RepeatedMember {
        /// The group.
        group: String,
        /// The member.
        member: String,
    },
    /// A member is none of the context's tasks.
    #[error("{member} in group {group:?} is none of the context's tasks, which are {}", .known.join(", "))]
    UnknownMember {
        /// The group.
        group: String,
        /// The member.
        member: String,
        /// The tasks.
        known: Vec<String>,
    },
    /// There are too many groups.
    #[error("{0} groups, a context has at most {MAX_GROUPS}")]
    TooMany(usize),
}

/// The groups with their members as positions in the context's task table, checked.
pub fn resolve_groups(groups: &[CollectiveGroup], tasks: &[TaskName]) -> Result<Vec<GroupMembers>, GroupError> {
    let resolved = groups.iter().map(|group| {
        let index = |member: &TaskName| {
            tasks.iter().position(|task| task == member).map(|at| TaskIndex(at as u16)).ok_or_else(|| {
                let known = tasks.iter().map(TaskName::to_string).collect();
                GroupError::UnknownMember { group: group.name.clone(), member: member.to_string(), known }
            })
        };
        let members = group.members.iter().map(index).collect::<Result<_, _>>()?;
        Ok(GroupMembers { name: group.name.clone(), members })
    });
    let resolved = resolved.collect::<Result<Vec<_>, _>>()?;
    check_groups(&resolved, tasks)?;
    Ok(resolved)
}

/// Whether the groups, as a peer sends them, fit the context's tasks.
pub fn check_groups(groups: &[GroupMembers], tasks: &[TaskName]) -> Result<(), GroupError> {
    if groups.len() > MAX_GROUPS {
        return Err(GroupError::TooMany(groups.len()));
    }
    let mut names = std::collections::BTreeSet::new();
    for GroupMembers { name, members } in groups {
        if !(1..=MAX_NAME).contains(&name.len()) {
            return Err(GroupError::Name(name.len()));
        }
        if !names.insert(name) {
            return Err(GroupError::Repeated(name.clone()));
        }
        if members.is_empty() {
            return Err(GroupError::Empty(name.clone()));
        }
        let mut seen = std::collections::BTreeSet::new();
        for member in members {
            let Some(task) = tasks.get(member.position()) else {
                let known = tasks.iter().map(TaskName::to_string).collect();
                return Err(GroupError::UnknownMember { group: name.clone(), member: member.to_string(), known });
            };
            if !seen.insert(member) {
                return Err(GroupError::RepeatedMember { group: name.clone(), member: task.to_string() });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(index: u32) -> TaskName {
        TaskName::new("worker", index).unwrap()
    }

    fn resolve(groups: &[(&str, &[u32])]) -> Result<Vec<GroupMembers>, String> {
        let group = |(name, members): &(&str, &[u32])| CollectiveGroup {
            name: (*name).to_owned(),
            members: members.iter().map(|&member| task(member)).collect(),
        };
        let groups: Vec<_> = groups.iter().map(group).collect();
        resolve_groups(&groups, &[task(0), task(1), task(2)]).map_err(|error| error.to_string())
    }

    #[test]
    fn members_become_positions_in_their_order() {
        let groups = resolve(&[("all", &[2, 0, 1]), ("one", &[1])]).unwrap();
        assert_eq!(groups[0].members, [TaskIndex(2), TaskIndex(0), TaskIndex(1)]);
        assert_eq!(groups[1].members, [TaskIndex(1)]);
    }

    #[test]
    fn what_is_wrong_with_a_group_is_said() {
        fn check(groups: &[(&str, &[u32])], expected: &str) {
            let error = resolve(groups).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        check(&[("", &[0])], "a group's name has 0 bytes");
        check(&[(&"g".repeat(257), &[0])], "a group's name has 257 bytes");
        check(&[("g", &[])], "group \"g\" has no members");
        check(&[("g", &[0, 1, 0])], "task /job:worker/task:0 stands twice in group \"g\"");
        check(
            &[("g", &[0, 7])],
            "/job:worker/task:7 in group \"g\" is none of the context's tasks, which are /job:worker",
        );
        check(&[("g", &[0]), ("g", &[1])], "group \"g\" stands twice");
        check(&vec![("g", &[0][..]); MAX_GROUPS + 1], "1025 groups, a context has at most 1024");
        let far = [GroupMembers { name: "g".to_owned(), members: vec![TaskIndex(3)] }];
        assert!(check_groups(&far, &[task(0)]).unwrap_err().to_string().contains("t3 in group"));
    }
}
