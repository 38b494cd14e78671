//! The contexts of a task, and what a request for another one must fulfil. Pure.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use remex_protocol::{
    DeviceName, ErrorCode, RemoteError,
    calls::CreateContextRequest,
    cluster::{TaskName, check_groups},
    ids::{ContextId, ObjectPrefix, TaskIndex},
};

use crate::{Error, Result, session::SessionId};

/// What is known of a context.
#[derive(Debug)]
pub(crate) struct Known<T> {
    /// Its place among those that the task ever had, from 1.
    pub(crate) serial: u64,
    /// The session that made it; `None`: this task.
    pub(crate) creator: Option<SessionId>,
    pub(crate) idle_timeout: Duration,
    /// The prefixes that live sessions make ids with.
    prefixes: BTreeMap<Option<SessionId>, ObjectPrefix>,
    /// What it is made of.
    pub(crate) parts: T,
}

/// Contexts by id.
#[derive(Debug)]
pub(crate) struct Contexts<T> {
    known: BTreeMap<ContextId, Known<T>>,
    /// How many there ever were.
    made: u64,
    /// Most of them.
    limit: usize,
    refused: u64,
}

impl<T> Contexts<T> {
    /// None yet, and at most so many.
    pub(crate) fn new(limit: usize) -> Self {
        Self { known: BTreeMap::new(), made: 0, limit, refused: 0 }
    }

    /// How many were refused because of the limit.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether a context may be made.
    pub(crate) fn check_new(&mut self, id: ContextId) -> Result<()> {
        if self.known.contains_key(&id) {
            let message = format!("context {id} exists on this task: choose another id");
            return Err(Error::new(ErrorCode::DistributedContextAlreadyExists, message));
        }
        if self.known.len() >= self.limit {
            self.refused += 1;
            let message = format!("this task has {} contexts, which is the limit: close some", self.known.len());
            return Err(Error::new(ErrorCode::ResourceExhausted, message));
        }
        Ok(())
    }

    pub(crate) fn insert(
        &mut self,
        id: ContextId,
        creator: Option<SessionId>,
        prefix: ObjectPrefix,
        idle_timeout: Duration,
        parts: T,
    ) {
        let prefixes = BTreeMap::from([(creator, prefix)]);
        self.made += 1;
        self.known.insert(id, Known { serial: self.made, creator, idle_timeout, prefixes, parts });
    }

    /// A session uses a context that is there.
    pub(crate) fn join(&mut self, id: ContextId, session: SessionId, prefix: ObjectPrefix) -> Result<&T> {
        let context = self.known.get_mut(&id).ok_or_else(|| unknown(id))?;
        // A task reaches its own context over a link of its own, with its own prefix.
        // Who was not sure to have joined does so again.
        let is_own = |holder: &Option<SessionId>| holder.is_none_or(|holder| holder == session);
        if context.prefixes.iter().any(|(holder, held)| *held == prefix && !is_own(holder)) {
            let message = format!("prefix {:x} is another session's: draw another one", prefix.0);
            return Err(Error::new(ErrorCode::AlreadyExists, message));
        }
        context.prefixes.insert(Some(session), prefix);
        Ok(&context.parts)
    }

    pub(crate) fn get(&self, id: ContextId) -> Result<&Known<T>> {
        self.known.get(&id).ok_or_else(|| unknown(id))
    }

    pub(crate) fn remove(&mut self, id: ContextId) -> Option<Known<T>> {
        self.known.remove(&id)
    }

    /// A session is over: the contexts that it made.
    pub(crate) fn end_session(&mut self, session: SessionId) -> Vec<ContextId> {
        self.known.values_mut().for_each(|context| {
            context.prefixes.remove(&Some(session));
        });
        self.known.iter().filter(|(_, context)| context.creator == Some(session)).map(|(id, _)| *id).collect()
    }

    /// Contexts of other tasks that gave no sign of life for too long.
    pub(crate) fn idle(&self, now: Instant, used: impl Fn(&T) -> Instant) -> Vec<ContextId> {
        let is_idle = |context: &Known<T>| {
            context.creator.is_some() && now.saturating_duration_since(used(&context.parts)) >= context.idle_timeout
        };
        self.known.iter().filter(|(_, context)| is_idle(context)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn ids(&self) -> Vec<ContextId> {
        self.known.keys().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Known<T>> {
        self.known.values()
    }
}

fn unknown(id: ContextId) -> Error {
    let message = format!("this task has no context {id}: it was closed, collected or never made");
    Error::new(ErrorCode::InvalidDistributedContextId, message)
}

/// The tables of a new context, as its maker sees them, checked against what this task is. Gives the task of each
/// device and this task's place in the table.
pub(crate) fn check_tables(
    request: &CreateContextRequest,
    own: &TaskName,
    own_devices: &[DeviceName],
) -> Result<(TaskIndex, Vec<TaskIndex>)> {
    let invalid = |message: String| Err(RemoteError::new(ErrorCode::InvalidArgument, message).on_task(own).into());
    let names: BTreeMap<_, _> = request.tasks.iter().enumerate().map(|(i, task)| (&task.name, i)).collect();
    if names.len() != request.tasks.len() {
        return invalid("a task stands twice in the table".to_owned());
    }
    let Some(&index) = names.get(own) else {
        return invalid(format!("{own} is not among the context's tasks"));
    };
    let mut owners = Vec::with_capacity(request.devices.len());
    for device in &request.devices {
        match names.get(device.task()) {
            None => return invalid(format!("device {device} belongs to none of the context's tasks")),
            Some(&owner) if owner == index && !own_devices.contains(device) => {
                let message = format!("this task has no device {device}");
                return Err(RemoteError::new(ErrorCode::DeviceNotFound, message).on_task(own).into());
            }
            Some(&owner) => owners.push(TaskIndex(owner as u16)),
        }
    }
    if request.devices.iter().collect::<std::collections::BTreeSet<_>>().len() != request.devices.len() {
        return invalid("a device stands twice in the table".to_owned());
    }
    let tasks: Vec<_> = request.tasks.iter().map(|task| task.name.clone()).collect();
    if let Err(error) = check_groups(&request.groups, &tasks) {
        return invalid(error.to_string());
    }
    if request.idle_timeout_ms == 0 {
        return invalid("the idle time-out must not be zero".to_owned());
    }
    Ok((TaskIndex(index as u16), owners))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_of_silent_clients_are_idle() {
        let start = crate::testing::instant();
        let mut contexts = Contexts::new(1024);
        let second = Duration::from_secs(1);
        contexts.insert(ContextId(1), Some(SessionId(1)), ObjectPrefix(1), 10 * second, start);
        contexts.insert(ContextId(2), None, ObjectPrefix(2), 10 * second, start);
        assert_eq!(contexts.idle(start + 9 * second, |used| *used), []);
        assert_eq!(contexts.idle(start + 10 * second, |used| *used), [ContextId(1)]);
        assert!(contexts.check_new(ContextId(1)).is_err() && contexts.check_new(ContextId(3)).is_ok());
    }

    /// TFRT §3.2-9: whatever the clock does, a context is collected only when it has been silent for its time.
    #[test]
    fn a_clock_that_steps_back_collects_nothing() {
        let start = crate::testing::instant();
        let second = Duration::from_secs(1);
        let mut contexts = Contexts::new(1024);
        for (n, used) in [(1, start), (2, start + 100 * second)] {
            contexts.insert(ContextId(n), Some(SessionId(1)), ObjectPrefix(n), 10 * second, used);
        }
        assert_eq!(contexts.idle(start, |used| *used), []);
        assert_eq!(contexts.idle(start + 10 * second, |used| *used), [ContextId(1)]);
        assert!(contexts.remove(ContextId(1)).is_some() && contexts.remove(ContextId(1)).is_none());
        assert!(contexts.get(ContextId(1)).is_err(), "an error, nothing that points to what is gone");
        assert_eq!(contexts.idle(start + 109 * second, |used| *used), []);
        assert_eq!(contexts.idle(start + 110 * second, |used| *used), [ContextId(2)]);
    }

    #[test]
    fn a_prefix_that_another_session_holds_is_refused() {
        let mut contexts = Contexts::new(1024);
        contexts.insert(ContextId(1), Some(SessionId(1)), ObjectPrefix(7), Duration::MAX, ());
        let error = contexts.join(ContextId(1), SessionId(2), ObjectPrefix(7)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::AlreadyExists);
        assert!(contexts.join(ContextId(1), SessionId(2), ObjectPrefix(8)).is_ok());
        contexts.end_session(SessionId(2));
        assert!(contexts.join(ContextId(1), SessionId(3), ObjectPrefix(8)).is_ok());
        assert_eq!(contexts.end_session(SessionId(1)), [ContextId(1)]);
    }
}
