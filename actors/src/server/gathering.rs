//! Members of a context that several tasks make together, as they come to its lead. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use remex_protocol::{
    ErrorCode,
    calls::{SendReadyChainsReply, SendReadyChainsRequest},
    cluster::{GroupMembers, TaskInfo, TaskName},
    ids::{ContextId, DeviceIndex, ObjectId, ObjectPrefix},
};

use crate::{Error, Result};

/// Most members, of all contexts together, that wait for a lead that has not begun.
pub(crate) const MAX_EARLY: usize = 4096;

/// What the lead of one context knows: who has come. `T` is how a member is answered.
#[derive(Debug)]
struct Gathering<T> {
    own: SendReadyChainsRequest,
    deadline: Instant,
    members: BTreeMap<TaskName, Member<T>>,
}

#[derive(Debug)]
struct Member<T> {
    request: SendReadyChainsRequest,
    answer: T,
}

/// All contexts that are being made with this task as their lead, and members that came before it began.
#[derive(Debug)]
pub(crate) struct Gatherings<T> {
    open: BTreeMap<ContextId, Gathering<T>>,
    early: Vec<(Instant, Member<T>)>,
}

/// Who is to be told what.
pub(crate) type Told<T> = Vec<(T, Result<SendReadyChainsReply>)>;

impl<T> Default for Gatherings<T> {
    fn default() -> Self {
        Self { open: BTreeMap::new(), early: Vec::new() }
    }
}

impl<T> Gatherings<T> {
    /// This task leads a context; `own` is what it would say as a member.
    pub(crate) fn lead(&mut self, own: SendReadyChainsRequest, answer: T, deadline: Instant) -> Told<T> {
        let context = own.context;
        if self.open.contains_key(&context) {
            return vec![(answer, Err(taken(context)))];
        }
        let mut members = BTreeMap::new();
        members.insert(own.member.clone(), Member { request: own.clone(), answer });
        self.open.insert(context, Gathering { own, deadline, members });
        let (waited, early) = std::mem::take(&mut self.early)
            .into_iter()
            .partition(|(_, member): &(Instant, Member<T>)| member.request.context == context);
        self.early = early;
        let mut told = self.look(context);
        for (until, Member { request, answer }) in waited {
            told.extend(self.come(request, answer, until));
        }
        told
    }

    /// A member has come; it waits until `until`.
    pub(crate) fn come(&mut self, request: SendReadyChainsRequest, answer: T, until: Instant) -> Told<T> {
        let context = request.context;
        let Some(gathering) = self.open.get_mut(&context) else {
            if self.early.len() >= MAX_EARLY {
                let message = format!("{MAX_EARLY} members wait here for their lead, which is the limit");
                return vec![(answer, Err(Error::new(ErrorCode::ResourceExhausted, message)))];
            }
            self.early.push((until, Member { request, answer }));
            return Vec::new();
        };
        if let Some(difference) = difference(&gathering.own, &request) {
            let (member, lead) = (&request.member, &gathering.own.member);
            let message = format!("the configurations of {member} and of its lead {lead} differ: {difference}");
            let error = Error::new(ErrorCode::FailedPrecondition, message);
            return [(answer, Err(error.clone()))].into_iter().chain(self.end(context, &error)).collect();
        }
        if gathering.members.contains_key(&request.member) {
            let message =
                format!("{} takes part in context {context} already: two tasks have one name", request.member);
            return vec![(answer, Err(Error::new(ErrorCode::AlreadyExists, message)))];
        }
        // All hear of it before the first of them gives up by himself.
        gathering.deadline = gathering.deadline.min(until);
        gathering.members.insert(request.member.clone(), Member { request, answer });
        self.look(context)
    }

    /// Ends an attempt: all members that have come hear why.
    pub(crate) fn end(&mut self, context: ContextId, error: &Error) -> Told<T> {
        let members = self.open.remove(&context).map(|gathering| gathering.members).unwrap_or_default();
        members.into_values().map(|member| (member.answer, Err(error.clone()))).collect()
    }

    /// Members that are gone (their link is lost) have not come.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.early.retain(|(_, member)| keep(&member.answer));
        for gathering in self.open.values_mut() {
            gathering.members.retain(|_, member| keep(&member.answer));
        }
    }

    /// Ends every attempt and every wait whose time is over.
    pub(crate) fn expire(&mut self, now: Instant) -> Told<T> {
        let mut told = Told::new();
        for (_, Member { request, answer }) in self.early.extract_if(.., |(until, _)| *until <= now) {
            let message = format!("{} did not begin to lead context {} in time", request.lead, request.context);
            told.push((answer, Err(Error::new(ErrorCode::DeadlineExceeded, message))));
        }
        let over = |(id, gathering): (&ContextId, &Gathering<T>)| (gathering.deadline <= now).then_some(*id);
        for context in self.open.iter().filter_map(over).collect::<Vec<_>>() {
            let Some(gathering) = self.open.get(&context) else { continue };
            let missing = gathering.own.tasks.iter().filter(|task| !gathering.members.contains_key(&task.name));
            let missing: Vec<_> = missing.map(describe).collect();
            let message = format!("context {context} was not made: {} did not come in time", missing.join(", "));
            told.extend(self.end(context, &Error::new(ErrorCode::DeadlineExceeded, message)));
        }
        told
    }

    /// When something expires next.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        let early = self.early.iter().map(|(until, _)| *until);
        early.chain(self.open.values().map(|gathering| gathering.deadline)).min()
    }

    /// If all are there, all hear it.
    fn look(&mut self, context: ContextId) -> Told<T> {
        let complete = |gathering: &Gathering<T>| gathering.members.len() == gathering.own.tasks.len();
        if !self.open.get(&context).is_some_and(complete) {
            return Vec::new();
        }
        let Some(Gathering { own, members, .. }) = self.open.remove(&context) else { return Vec::new() };
        let reply = assemble(&own, &members);
        members.into_values().map(|member| (member.answer, reply.clone())).collect()
    }
}

/// The tables of a context whose members are all there.
fn assemble<T>(own: &SendReadyChainsRequest, members: &BTreeMap<TaskName, Member<T>>) -> Result<SendReadyChainsReply> {
    let mut reply = SendReadyChainsReply::default();
    let mut prefixes = BTreeSet::<ObjectPrefix>::new();
    for task in &own.tasks {
        let Some(Member { request, .. }) = members.get(&task.name) else { continue };
        let device = u16::try_from(reply.devices.len()).ok().filter(|_| !request.devices.is_empty());
        let foreign = request.devices.iter().find(|device| *device.task() != task.name);
        let error = match (device, foreign, prefixes.insert(request.chain_prefix)) {
            (Some(device), None, true) => {
                let prefix = request.chain_prefix;
                reply.ready_chains.push(ObjectId { prefix, local: 1, device: DeviceIndex(device) });
                reply.devices.extend(request.devices.iter().cloned());
                continue;
            }
            (None, _, _) => format!("{} has no device, or all together have too many", task.name),
            (_, Some(device), _) => format!("{} says that it has {device}", task.name),
            (_, _, false) => format!("{} has the prefix of another member: try again", task.name),
        };
        return Err(Error::new(ErrorCode::InvalidArgument, error));
    }
    Ok(reply)
}

fn taken(context: ContextId) -> Error {
    let message = format!("context {context} is there already, or being made: close it first, or take another number");
    Error::new(ErrorCode::DistributedContextAlreadyExists, message)
}

/// The first thing in which a member's configuration is another than the lead's.
fn difference(lead: &SendReadyChainsRequest, member: &SendReadyChainsRequest) -> Option<String> {
    if lead.lead != member.lead {
        return Some(format!("the lead is {} here and {} there", lead.lead, member.lead));
    }
    for (i, (ours, theirs)) in lead.tasks.iter().zip(&member.tasks).enumerate() {
        if ours != theirs {
            return Some(format!("task {i} is {} here and {} there", describe(ours), describe(theirs)));
        }
    }
    if lead.tasks.len() != member.tasks.len() {
        return Some(format!("there are {} tasks here and {} there", lead.tasks.len(), member.tasks.len()));
    }
    if !lead.tasks.iter().any(|task| task.name == member.member) {
        return Some(format!("{} is not among the tasks", member.member));
    }
    let members = |groups: &[GroupMembers], name: &str| {
        let group = groups.iter().find(|group| group.name == name);
        let name_of = |index: &remex_protocol::ids::TaskIndex| match lead.tasks.get(index.position()) {
            Some(task) => task.name.to_string(),
            None => index.to_string(),
        };
        group.map(|group| group.members.iter().map(name_of).collect::<Vec<_>>())
    };
    let names: BTreeSet<_> = lead.groups.iter().chain(&member.groups).map(|group| &*group.name).collect();
    for name in names {
        let (ours, theirs) = (members(&lead.groups, name), members(&member.groups, name));
        if ours != theirs {
            let say = |members: Option<Vec<String>>| match members {
                Some(members) => format!("[{}]", members.join(", ")),
                None => "not there".to_owned(),
            };
            return Some(format!("group {name:?} is {} here and {} there", say(ours), say(theirs)));
        }
    }
    None
}

fn describe(task: &TaskInfo) -> String {
    match &task.address {
        Some(address) => format!("{} at {address}", task.name),
        None => format!("{} without an address", task.name),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use remex_protocol::ids::TaskIndex;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn name(i: usize) -> TaskName {
        format!("/job:a/task:{i}").parse().unwrap()
    }

    fn member(i: usize) -> SendReadyChainsRequest {
        let task = |i| TaskInfo { name: name(i), address: Some(format!("tcp://10.0.0.{i}:7").parse().unwrap()) };
        SendReadyChainsRequest {
            context: ContextId(1),
            lead: name(0),
            member: name(i),
            tasks: (0..3).map(task).collect(),
            groups: vec![GroupMembers { name: "all".to_owned(), members: (0..3).map(TaskIndex).collect() }],
            devices: (0..=i).map(|d| format!("{}/device:CPU:{d}", name(i)).parse().unwrap()).collect(),
            chain_prefix: ObjectPrefix(100 + i as u64),
            time_left_ms: 1000,
        }
    }

    fn code<T>(told: &Told<T>, i: usize) -> ErrorCode {
        told[i].1.as_ref().unwrap_err().code()
    }

    #[test]
    fn all_hear_the_same_when_the_last_has_come() {
        let start = crate::testing::instant();
        let mut gatherings = Gatherings::default();
        assert!(gatherings.come(member(2), 2, start + SECOND).is_empty(), "before the lead has begun");
        assert!(gatherings.lead(member(0), 0, start + SECOND).is_empty());
        let told = gatherings.come(member(1), 1, start + SECOND);
        assert_eq!(told.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [0, 1, 2]);
        let reply = told[0].1.as_ref().unwrap();
        assert!(told.iter().all(|(_, told)| told.as_ref() == Ok(reply)));
        assert_eq!((reply.devices.len(), reply.ready_chains.len()), (6, 3));
        assert_eq!(reply.ready_chains[2].device, DeviceIndex(3));
        assert!(gatherings.earliest().is_none());
    }

    #[test]
    fn who_does_not_come_is_named_to_all_by_the_deadline() {
        let start = crate::testing::instant();
        let mut gatherings = Gatherings::default();
        gatherings.lead(member(0), 0, start + 2 * SECOND);
        assert_eq!(gatherings.earliest(), Some(start + 2 * SECOND));
        gatherings.come(member(1), 1, start + SECOND);
        assert_eq!(gatherings.earliest(), Some(start + SECOND), "the first of them to give up");
        assert!(gatherings.expire(start).is_empty());
        let told = gatherings.expire(start + SECOND);
        assert_eq!(
            (told.len(), code(&told, 0), code(&told, 1)),
            (2, ErrorCode::DeadlineExceeded, ErrorCode::DeadlineExceeded)
        );
        let message = told[1].1.as_ref().unwrap_err().to_string();
        assert!(message.contains("/job:a/task:2 at tcp://10.0.0.2:7 did not come"), "{message}");
        assert!(gatherings.come(member(1), 1, start + 3 * SECOND).is_empty());
        let told = gatherings.expire(start + 3 * SECOND);
        assert!(told[0].1.as_ref().unwrap_err().message().contains("/job:a/task:0 did not begin to lead"));
    }

    #[test]
    fn configurations_that_differ_end_the_attempt_of_all() {
        let start = crate::testing::instant();
        type Change = fn(&mut SendReadyChainsRequest);
        let change: [(&str, Change); 5] = [
            ("the lead is /job:a/task:0 here and /job:a/task:1 there", |m| m.lead = name(1)),
            ("task 2 is /job:a/task:2 at tcp://10.0.0.2:7 here and /job:a/task:2 without an address there", |m| {
                m.tasks[2].address = None;
            }),
            ("there are 3 tasks here and 2 there", |m| _ = m.tasks.pop()),
            ("group \"all\" is [/job:a/task:0, /job:a/task:1, /job:a/task:2] here and not there there", |m| {
                m.groups.clear()
            }),
            ("/job:a/task:9 is not among the tasks", |m| m.member = name(9)),
        ];
        for (words, change) in change {
            let mut gatherings = Gatherings::default();
            gatherings.lead(member(0), 0, start + SECOND);
            let mut other = member(1);
            change(&mut other);
            let told = gatherings.come(other, 1, start + SECOND);
            assert_eq!(told.len(), 2);
            for (_, told) in told {
                let error = told.unwrap_err();
                assert_eq!(error.code(), ErrorCode::FailedPrecondition);
                assert!(error.message().contains(words), "{error}");
            }
            assert!(gatherings.earliest().is_none(), "the attempt is over");
        }
    }

    #[test]
    fn a_second_attempt_and_a_second_task_of_one_name_are_refused() {
        let start = crate::testing::instant();
        let mut gatherings = Gatherings::default();
        gatherings.lead(member(0), 0, start + SECOND);
        assert_eq!(code(&gatherings.lead(member(0), 7, start + SECOND), 0), ErrorCode::DistributedContextAlreadyExists);
        gatherings.come(member(1), 1, start + SECOND);
        assert_eq!(code(&gatherings.come(member(1), 8, start + SECOND), 0), ErrorCode::AlreadyExists);
        gatherings.retain(|who| *who != 1);
        assert!(gatherings.come(member(1), 9, start + SECOND).is_empty(), "its link was lost, it comes again");
        assert_eq!(gatherings.come(member(2), 2, start + SECOND).len(), 3);
    }

    #[test]
    fn members_that_contradict_each_other_make_nothing() {
        let start = crate::testing::instant();
        let change: [fn(&mut SendReadyChainsRequest); 3] =
            [|m| m.devices.clear(), |m| m.devices = member(2).devices, |m| m.chain_prefix = ObjectPrefix(100)];
        for change in change {
            let mut gatherings = Gatherings::default();
            gatherings.lead(member(0), 0, start + SECOND);
            let mut other = member(1);
            change(&mut other);
            gatherings.come(other, 1, start + SECOND);
            let told = gatherings.come(member(2), 2, start + SECOND);
            assert_eq!((told.len(), code(&told, 0)), (3, ErrorCode::InvalidArgument));
        }
    }

    #[test]
    fn early_members_are_bounded() {
        let start = crate::testing::instant();
        let mut gatherings = Gatherings::default();
        for i in 0..MAX_EARLY {
            assert!(gatherings.come(member(1), i, start + SECOND).is_empty());
        }
        assert_eq!(code(&gatherings.come(member(1), 0, start + SECOND), 0), ErrorCode::ResourceExhausted);
        assert_eq!(gatherings.expire(start + SECOND).len(), MAX_EARLY);
    }
}
