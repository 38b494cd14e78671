//! The programs of one context on one task, by name and by what stands for them on each link. Pure.

use std::{collections::BTreeMap, sync::Arc};

use remex_protocol::{
    ErrorCode, RemoteError,
    calls::{CompileWhen, RegisterFunctionReply},
    ids::{CallId, DeviceIndex, ProgramIndex},
};
use smallvec::SmallVec;

use super::{
    Executable, Source,
    entry::{Entry, State, size},
};
use crate::{Error, Result, limits::ProgramLimits, objects::Binding, session::SessionId};

/// A registration, as it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) session: SessionId,
    pub(crate) call: CallId,
    pub(crate) index: ProgramIndex,
    pub(crate) format: String,
    pub(crate) source: Source,
    pub(crate) when: CompileWhen,
    pub(crate) output_devices: Vec<DeviceIndex>,
    /// Where the outputs go if nobody says otherwise.
    pub(crate) default_device: DeviceIndex,
}

/// A registration to answer.
pub(crate) type Answered = (SessionId, CallId, Result<RegisterFunctionReply>);

/// What is to be compiled.
#[derive(Debug)]
pub(crate) struct ToCompile {
    pub(crate) compilation: u64,
    pub(crate) format: String,
    pub(crate) source: Source,
}

/// The devices of a program's outputs, copied with each call that finds it.
pub(super) type OutputDevices = SmallVec<[DeviceIndex; 4]>;

/// What a call finds under an index.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) name: Arc<str>,
    pub(crate) binding: Binding,
    /// The devices of the outputs, where they are known.
    pub(crate) outputs: Option<OutputDevices>,
}

/// What an index stands for.
#[derive(Debug)]
enum Slot {
    /// Its registration has come, the program's bytes are on their way; calls wait for this compilation.
    Arriving(u64, Arc<str>),
    Named(Arc<str>),
    /// Its registration failed; so do calls that did not wait for the answer.
    Failed(Error),
}

/// Programs by name, and by session and index.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: BTreeMap<Arc<str>, Entry>,
    slots: BTreeMap<(SessionId, ProgramIndex), Slot>,
    bytes: usize,
    compilations: u64,
    limits: ProgramLimits,
    refused: u64,
}

/// What a registration comes to.
#[derive(Debug, Default)]
pub(crate) struct Registered {
    /// The answer; `None`: it is being compiled, and answered by [`Registry::compiled`].
    pub(crate) answer: Option<Result<RegisterFunctionReply>>,
    /// What is to be compiled.
    pub(crate) compile: Option<ToCompile>,
    /// A compilation that calls wait for already, and how it ended.
    pub(crate) bound: Option<(u64, Result<Arc<Executable>>)>,
}

impl Registry {
    /// The same with other limits.
    pub(crate) fn with(self, limits: ProgramLimits) -> Self {
        Self { limits, ..self }
    }

    /// Programs, their bytes, and registrations that were refused because of a limit.
    pub(crate) fn counts(&self) -> (usize, usize, u64) {
        (self.entries.len(), self.bytes, self.refused)
    }

    /// A registration has come whose program's bytes are on their way: calls may refer to it already. An index that
    /// stands for something is left alone; the registration is refused when it is whole.
    pub(crate) fn announce(&mut self, session: SessionId, index: ProgramIndex, name: &str) {
        let compilation = self.compilations + 1;
        if self.slots.len() >= self.limits.indexes {
            return;
        }
        if let std::collections::btree_map::Entry::Vacant(slot) = self.slots.entry((session, index)) {
            slot.insert(Slot::Arriving(compilation, name.into()));
            self.compilations = compilation;
        }
    }

    /// Registers a program. Whatever fails leaves nothing behind but the index, which stands for the failure.
    pub(crate) fn register(&mut self, registration: Registration) -> Registered {
        let slot = (registration.session, registration.index);
        let arriving = match self.slots.get(&slot) {
            None if self.slots.len() >= self.limits.indexes => {
                self.refused += 1;
                let message = format!(
                    "{} numbers stand for programs or for failed registrations, which is the limit: unregister some",
                    self.slots.len()
                );
                let answer = Some(Err(Error::new(ErrorCode::ResourceExhausted, message)));
                return Registered { answer, ..Registered::default() };
            }
            None => None,
            Some(Slot::Arriving(compilation, _)) => Some(*compilation),
            Some(Slot::Named(_) | Slot::Failed(_)) => {
                let message = format!("{} stands for a program on this link already: choose another index", slot.1);
                let answer = Some(Err(Error::new(ErrorCode::AlreadyExists, message)));
                return Registered { answer, ..Registered::default() };
            }
        };
        match self.add(registration) {
            Ok((name, reply, compile)) => {
                self.slots.insert(slot, Slot::Named(name.clone()));
                let mut registered = Registered { answer: reply.map(Ok), compile, bound: None };
                if let Some(compilation) = arriving {
                    self.bind_arrived(&name, compilation, &mut registered);
                }
                registered
            }
            Err(error) => {
                self.slots.insert(slot, Slot::Failed(error.clone()));
                self.failed(slot, arriving, error)
            }
        }
    }

    /// A registration whose bytes have come cannot be carried out: its index stands for the failure.
    pub(crate) fn refuse(&mut self, session: SessionId, index: ProgramIndex, error: Error) -> Registered {
        let slot = (session, index);
        let arriving = match self.slots.get(&slot) {
            Some(Slot::Arriving(compilation, _)) => Some(*compilation),
            None | Some(Slot::Named(_) | Slot::Failed(_)) => None,
        };
        self.failed(slot, arriving, error)
    }

    fn failed(&mut self, slot: (SessionId, ProgramIndex), arriving: Option<u64>, error: Error) -> Registered {
        if arriving.is_some() {
            self.slots.insert(slot, Slot::Failed(error.clone()));
        }
        let bound = arriving.map(|compilation| (compilation, Err(error.clone())));
        Registered { answer: Some(Err(error)), compile: None, bound }
    }

    /// Calls wait under a name of their own for a program that is known now.
    fn bind_arrived(&mut self, name: &Arc<str>, waits_for: u64, registered: &mut Registered) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        if let State::Stored = entry.state {
            registered.compile = Some(entry.compile(&mut self.compilations, Vec::new()));
        }
        match &mut entry.state {
            State::Compiling { aliases, .. } => aliases.push(waits_for),
            State::Ready(program) => registered.bound = Some((waits_for, Ok(program.clone()))),
            State::Stored => {}
        }
    }

    #[allow(clippy::type_complexity, reason = "one caller, just above")]
    fn add(&mut self, new: Registration) -> Result<(Arc<str>, Option<RegisterFunctionReply>, Option<ToCompile>)> {
        if let Some(entry) = self.entries.get_mut(&*new.source.name) {
            if !entry.is_same(&new) {
                let message = "the name is taken by another program: unregister it, or use another name";
                let error = RemoteError::new(ErrorCode::RemoteFunctionAlreadyExists, message);
                return Err(error.in_program(&new.source.name).into());
            }
            entry.users += 1;
            let reply = match &mut entry.state {
                State::Compiling { waiting, .. } => {
                    waiting.push((new.session, new.call));
                    None
                }
                State::Stored | State::Ready(_) => Some(entry.reply()),
            };
            return Ok((entry.name.clone(), reply, None));
        }
        let size = size(&new.source);
        let ProgramLimits { programs, bytes, .. } = self.limits;
        if self.entries.len() >= programs || self.bytes.saturating_add(size) > bytes {
            self.refused += 1;
            let message = format!("a context has at most {programs} programs of {bytes} bytes together here");
            return Err(Error::new(ErrorCode::ResourceExhausted, message));
        }
        self.bytes += size;
        let name: Arc<str> = new.source.name.as_str().into();
        let mut entry = Entry {
            name: name.clone(),
            format: new.format,
            source: new.source,
            devices: new.output_devices,
            default_device: new.default_device,
            state: State::Stored,
            users: 1,
        };
        let to_compile = match new.when {
            CompileWhen::Now => Some(entry.compile(&mut self.compilations, vec![(new.session, new.call)])),
            CompileWhen::FirstUse => None,
        };
        let reply = to_compile.is_none().then(|| entry.reply());
        self.entries.insert(name.clone(), entry);
        Ok((name, reply, to_compile))
    }

    /// A compilation ended: what its calls are to run, the names under which they wait, and who is to be answered. After
    /// a failure the name is free again.
    pub(crate) fn compiled(
        &mut self,
        compilation: u64,
        program: Result<Arc<Executable>>,
    ) -> (Result<Arc<Executable>>, Vec<u64>, Vec<Answered>) {
        let is_it = |entry: &&mut Entry| matches!(&entry.state, State::Compiling { compilation: own, .. } if *own == compilation);
        // It may have been unregistered meanwhile.
        let Some(entry) = self.entries.values_mut().find(is_it) else {
            return (program, vec![compilation], Vec::new());
        };
        let State::Compiling { waiting, mut aliases, .. } = std::mem::replace(&mut entry.state, State::Stored) else {
            return (program, vec![compilation], Vec::new());
        };
        let program = program.and_then(|program| entry.check_outputs(&program).map(|()| program));
        let answer = match &program {
            Ok(program) => {
                entry.state = State::Ready(program.clone());
                Ok(entry.reply())
            }
            Err(error) => {
                self.refused += u64::from(error.code() == ErrorCode::ResourceExhausted);
                let name = entry.name.clone();
                self.remove(&name);
                for slot in self.slots.values_mut() {
                    if matches!(slot, Slot::Named(own) if *own == name) {
                        *slot = Slot::Failed(error.clone());
                    }
                }
                Err(error.clone())
            }
        };
        let answers = waiting.into_iter().map(|(session, call)| (session, call, answer.clone()));
        aliases.push(compilation);
        (program, aliases, answers.collect())
    }

    /// The program that an index stands for; one that was only stored is to be compiled now.
    pub(crate) fn find(&mut self, session: SessionId, index: ProgramIndex) -> Result<(Bound, Option<ToCompile>)> {
        let unknown = || {
            let message = format!("{index} stands for no program on this link: it was never registered, or forgotten");
            Error::new(ErrorCode::NotFound, message)
        };
        let name = match self.slots.get(&(session, index)) {
            None => return Err(unknown()),
            Some(Slot::Failed(error)) => return Err(error.clone()),
            Some(Slot::Arriving(compilation, name)) => {
                let binding = Binding::Compiling(*compilation);
                return Ok((Bound { name: name.clone(), binding, outputs: None }, None));
            }
            Some(Slot::Named(name)) => name,
        };
        let entry = self.entries.get_mut(name).ok_or_else(unknown)?;
        let to_compile = match &entry.state {
            State::Stored => Some(entry.compile(&mut self.compilations, Vec::new())),
            State::Compiling { .. } | State::Ready(_) => None,
        };
        Ok((entry.bound(), to_compile))
    }

    /// The name of the program that an index stands for, for messages; the index if it stands for none.
    pub(crate) fn name(&self, session: SessionId, index: ProgramIndex) -> Arc<str> {
        match self.slots.get(&(session, index)) {
            Some(Slot::Named(name) | Slot::Arriving(_, name)) => name.clone(),
            Some(Slot::Failed(_)) | None => index.to_string().into(),
        }
    }

    /// Forgets what an index stands for.
    pub(crate) fn unregister(&mut self, session: SessionId, index: ProgramIndex) -> Result<()> {
        match self.slots.remove(&(session, index)) {
            None => {
                let message = format!("{index} stands for no program on this link");
                Err(Error::new(ErrorCode::NotFound, message))
            }
            Some(Slot::Failed(_) | Slot::Arriving(..)) => Ok(()),
            Some(Slot::Named(name)) => {
                self.give_up(&name);
                Ok(())
            }
        }
    }

    /// Forgets everything of a session. Gives those of its calls that wait for a compilation: nothing else answers them.
    pub(crate) fn end_session(&mut self, session: SessionId) -> Vec<CallId> {
        let mut unanswered = Vec::new();
        for entry in self.entries.values_mut() {
            if let State::Compiling { waiting, .. } = &mut entry.state {
                unanswered.extend(waiting.extract_if(.., |(of, _)| *of == session).map(|(_, call)| call));
            }
        }
        let slots: Vec<_> = self.slots.extract_if(.., |(of, _), _| *of == session).collect();
        for (_, slot) in slots {
            if let Slot::Named(name) = slot {
                self.give_up(&name);
            }
        }
        unanswered
    }

    fn give_up(&mut self, name: &Arc<str>) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.users -= 1;
            if entry.users == 0 {
                self.remove(name);
            }
        }
    }

    fn remove(&mut self, name: &Arc<str>) {
        if let Some(entry) = self.entries.remove(name) {
            self.bytes -= size(&entry.source);
        }
    }
}

#[cfg(test)]
#[path = "registry_test.rs"]
mod tests;
