//! What a session's calls mean, checked before anything runs or is stored (I7). Pure but for the answers it makes.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::Recipient;
use bytes::Bytes;
use remex_protocol::{
    Body, Call, ErrorCode, Frame, Payload, Reply, Rpc,
    calls::*,
    ids::{CallId, DeviceIndex, ObjectId, TaskIndex},
};

use super::payload::{fits, tensors};
use crate::{
    Error, Result,
    collectives::ArrivedChunk,
    deadline,
    envelope::post,
    limits::ProgramLimits,
    objects::Step,
    ops::OpRegistry,
    programs::{
        Executable, Golden, Source,
        registry::{Registered, Registration, Registry, ToCompile},
    },
    rendezvous::Arrival,
    session::{Answers, Calls, Incoming, SessionId},
};

/// What is left to do after a batch was looked at.
#[derive(Debug, Default)]
pub(crate) struct Served {
    /// For the object manager, in order.
    pub(crate) steps: Vec<Step>,
    /// For the session.
    pub(crate) answers: Vec<Frame>,
    /// For the executor.
    pub(crate) compile: Vec<ToCompile>,
    /// For the rendezvous.
    pub(crate) values: Vec<Arrival>,
    /// For the collectives.
    pub(crate) chunks: Vec<ArrivedChunk>,
    /// For the object manager: compilations that calls wait for, and how they ended.
    pub(crate) bound: Vec<(u64, Result<Arc<Executable>>)>,
}

/// Where a batch of calls comes from.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) session: SessionId,
    /// The task at the other end, if it is one of the context.
    pub(super) from: Option<TaskIndex>,
    pub(super) at: Instant,
    pub(super) answers: Arc<Recipient<Answers>>,
}

/// A call whose bytes are on their way.
#[derive(Debug)]
pub(super) enum Announced {
    Register(Box<RegisterFunctionRequest>),
    /// And when it came.
    Data(Box<SendDataRequest>, Instant),
}

/// The serving side of a context.
#[derive(Debug)]
pub(crate) struct Serving {
    /// This task, and its name for messages.
    own: TaskIndex,
    pub(super) task: String,
    /// Task of each device, and its number on that task.
    pub(super) devices: Vec<(TaskIndex, u16)>,
    tasks: usize,
    pub(crate) registry: Registry,
    pub(super) ops: Arc<OpRegistry>,
    /// Who is answered, by session, and which task that is.
    sessions: BTreeMap<SessionId, (Arc<Recipient<Answers>>, Option<TaskIndex>)>,
    announced: BTreeMap<(SessionId, CallId), Announced>,
}

impl Serving {
    pub(crate) fn new(
        own: TaskIndex,
        task: String,
        devices: Vec<TaskIndex>,
        tasks: usize,
        ops: Arc<OpRegistry>,
    ) -> Self {
        let lane = |(i, owner): (usize, &TaskIndex)| {
            let before = devices[..i].iter().filter(|other| *other == owner).count();
            (*owner, before as u16)
        };
        let devices = devices.iter().enumerate().map(lane).collect();
        Self {
            own,
            task,
            devices,
            tasks,
            registry: Registry::default(),
            ops,
            sessions: BTreeMap::new(),
            announced: BTreeMap::new(),
        }
    }

    /// The same with other limits for programs.
    #[must_use]
    pub(crate) fn with_programs(mut self, limits: ProgramLimits) -> Self {
        self.registry = self.registry.with(limits);
        self
    }

    /// This task.
    pub(crate) fn own(&self) -> TaskIndex {
        self.own
    }

    /// Looks at a batch, in order.
    pub(crate) fn serve(&mut self, mut batch: Calls) -> Served {
        let calls = std::mem::take(&mut batch.calls);
        let Calls { session, from, at, .. } = batch;
        let batch = Batch { session, from, at, answers: batch.answers.clone() };
        self.sessions.entry(session).or_insert_with(|| (batch.answers.clone(), from));
        let mut served = Served::default();
        served.steps.reserve(calls.len());
        for incoming in calls {
            match incoming {
                Incoming::Call { call, body, payload } => self.call(&batch, call, body, payload, &mut served),
                Incoming::Cancel { call } => served.steps.push(Step::Cancel { call }),
                Incoming::Payload { call, data } => match self.announced.remove(&(session, call)) {
                    Some(Announced::Register(request)) => self.register(session, call, *request, data, &mut served),
                    Some(Announced::Data(request, at)) => {
                        self.data_arrived(&batch, at, call, *request, data, &mut served);
                    }
                    None => served.steps.push(Step::Payload { call, data }),
                },
            }
        }
        served
    }

    /// Who is answered for a session that has not ended.
    pub(crate) fn answers_of(&self, session: SessionId) -> Option<Arc<Recipient<Answers>>> {
        self.sessions.get(&session).map(|(answers, _)| answers.clone())
    }

    /// The newest session of each task that has called here.
    pub(super) fn sessions_of_tasks(&self) -> BTreeMap<TaskIndex, SessionId> {
        self.sessions.iter().filter_map(|(session, (_, task))| Some(((*task)?, *session))).collect()
    }

    /// A session is over: answers those of its calls that are answered here and were not, if it has only left the context,
    /// and says which task was at its other end.
    pub(crate) fn end_session(&mut self, session: SessionId) -> Option<TaskIndex> {
        self.give_up(session, &Error::new(ErrorCode::Cancelled, "the caller's session is over"))
    }

    /// The context is over: so is what any session waits for here.
    pub(crate) fn close(&mut self, error: &Error) {
        let sessions: Vec<_> = self.sessions.keys().copied().collect();
        sessions.into_iter().for_each(|session| _ = self.give_up(session, error));
    }

    fn give_up(&mut self, session: SessionId, error: &Error) -> Option<TaskIndex> {
        let compiling = self.registry.end_session(session).into_iter();
        let mut calls: Vec<_> = compiling.map(|call| (call, RegisterFunctionRequest::KIND)).collect();
        calls.extend(self.announced.extract_if(.., |(of, _), _| *of == session).map(|((_, call), announced)| {
            let kind = match announced {
                Announced::Register(_) => RegisterFunctionRequest::KIND,
                Announced::Data(..) => SendDataRequest::KIND,
            };
            (call, kind)
        }));
        let (answers, from) = self.sessions.remove(&session)?;
        if !calls.is_empty() {
            let frame = |(call, kind)| self.frame(call, kind, Err(error.clone()));
            post(&answers, Answers(calls.into_iter().map(frame).collect()));
        }
        from
    }

    pub(super) fn announce(&mut self, session: SessionId, call: CallId, announced: Announced) {
        self.announced.insert((session, call), announced);
    }

    fn call(&mut self, batch: &Batch, call: CallId, body: Call, payload: Payload, served: &mut Served) {
        let (kind, session, at) = (body.kind(), batch.session, batch.at);
        match body {
            Call::RemoteExecute(request) => self.execute(session, at, call, request, served),
            Call::RegisterFunction(request) => match payload {
                Payload::Announced(_) => {
                    self.registry.announce(session, request.program, &request.name);
                    self.announce(session, call, Announced::Register(request));
                }
                Payload::None | Payload::Whole(_) => {
                    self.register(session, call, *request, payload.into_bytes(), served);
                }
            },
            Call::UnregisterFunction(request) => {
                let answer = self.registry.unregister(session, request.program);
                let reply = answer.map(|()| Reply::UnregisterFunction(UnregisterFunctionReply {}));
                served.answers.push(self.frame(call, kind, reply));
            }
            Call::RemoteExecuteOp(request) => self.execute_op(at, call, *request, served),
            Call::DeleteObjects(request) => {
                let DeleteObjectsRequest { objects, mode, .. } = *request;
                served.steps.push(Step::Delete { call, objects, mode });
            }
            Call::FailObjects(request) => {
                let FailObjectsRequest { objects, cause, .. } = *request;
                match objects.iter().try_for_each(|object| self.own_device(*object)) {
                    Ok(()) => served.steps.push(Step::Fail { call, objects, cause: cause.into() }),
                    Err(error) => served.answers.push(self.frame(call, kind, Err(error))),
                }
            }
            body @ (Call::BeginPut(_) | Call::PutPart(_) | Call::FetchPart(_)) => {
                match self.part(call, at, body, payload) {
                    Ok(step) => served.steps.push(step),
                    Err(error) => served.answers.push(self.frame(call, kind, Err(error))),
                }
            }
            body @ (Call::PinObjects(_) | Call::ExportObject(_) | Call::ImportObject(_)) => {
                match self.lifetime(call, at, body) {
                    Ok(step) => served.steps.push(step),
                    Err(error) => served.answers.push(self.frame(call, kind, Err(error))),
                }
            }
            Call::FetchObject(request) => {
                let deadline = until(at, request.time_left_ms);
                let FetchObjectRequest { object, origin, .. } = *request;
                match self.own_device(object).and_then(|()| self.local(origin)) {
                    Ok(origin) => served.steps.push(Step::Await { call, object, origin, part: None, deadline }),
                    Err(error) => served.answers.push(self.frame(call, kind, Err(error))),
                }
            }
            Call::PutObject(request) => {
                let PutObjectRequest { object, metadata, .. } = *request;
                match self.own_device(object).and_then(|()| fits(&metadata, payload.len())) {
                    Ok(()) => {
                        let data = if let Payload::Announced(_) = payload { None } else { Some(payload.into_bytes()) };
                        served.steps.push(Step::Put { call, object, metadata, data });
                    }
                    Err(error) => served.answers.push(self.frame(call, kind, Err(error))),
                }
            }
            Call::SendData(request) => self.data(batch, call, request, payload, served),
            Call::GetDevices(_)
            | Call::ListObjects(_)
            | Call::CreateContext(_)
            | Call::CloseContext(_)
            | Call::KeepAlive(_)
            | Call::SendReadyChains(_)
            | Call::Cancel(_) => served.answers.push(self.frame(call, kind, Err(misrouted()))),
        }
    }

    fn register(
        &mut self,
        session: SessionId,
        call: CallId,
        request: RegisterFunctionRequest,
        payload: Bytes,
        served: &mut Served,
    ) {
        let index = request.program;
        let Registered { answer, compile, bound } = match self.registration(session, call, request, payload) {
            Err(error) => self.registry.refuse(session, index, error),
            Ok(registration) => self.registry.register(registration),
        };
        served.compile.extend(compile);
        served.bound.extend(bound);
        if let Some(answer) = answer {
            let kind = <RegisterFunctionRequest as remex_protocol::Rpc>::KIND;
            served.answers.push(self.frame(call, kind, answer.map(Reply::RegisterFunction)));
        }
    }

    fn registration(
        &self,
        session: SessionId,
        call: CallId,
        request: RegisterFunctionRequest,
        mut payload: Bytes,
    ) -> Result<Registration> {
        let invalid = |message: String| Error::new(ErrorCode::InvalidArgument, message);
        for device in &request.output_devices {
            if self.devices.get(device.position()).map(|(owner, _)| *owner) != Some(self.own) {
                return Err(invalid(format!("output device {device} is not one of this task")));
            }
        }
        if request.name.is_empty() {
            return Err(invalid("a program needs a name".to_owned()));
        }
        let bytes =
            usize::try_from(request.program_bytes).ok().filter(|len| *len <= payload.len()).ok_or_else(|| {
                invalid(format!("the payload has {} bytes, the program {}", payload.len(), request.program_bytes))
            })?;
        let bytes = payload.split_to(bytes);
        let golden = match request.golden {
            None => None,
            Some(golden) => {
                let inputs = tensors(golden.inputs, &mut payload)?;
                let outputs = tensors(golden.outputs, &mut payload)?;
                Some(Golden { inputs, outputs, tolerance: golden.tolerance })
            }
        };
        if !payload.is_empty() {
            return Err(invalid(format!("{} bytes of the payload belong to nothing", payload.len())));
        }
        let default_device = self.devices.iter().position(|(owner, _)| *owner == self.own).unwrap_or_default();
        Ok(Registration {
            session,
            call,
            index: request.program,
            format: request.format,
            source: Source { name: request.name, entry: request.entry, bytes, golden },
            when: request.when,
            output_devices: request.output_devices,
            default_device: DeviceIndex(default_device as u16),
        })
    }

    /// An object that is made or kept here must be on a device of this task.
    /// Whether a device is one of this task.
    pub(super) fn is_own(&self, device: DeviceIndex) -> bool {
        self.devices.get(device.position()).is_some_and(|(owner, _)| *owner == self.own)
    }

    pub(super) fn own_device(&self, object: ObjectId) -> Result<()> {
        match self.devices.get(object.device.position()) {
            Some((owner, _)) if *owner == self.own => Ok(()),
            Some(_) => {
                let message = format!("object {object} is on a device of another task: call that one");
                Err(Error::new(ErrorCode::InvalidArgument, message))
            }
            None => Err(no_such_device(object)),
        }
    }

    /// What an origin means here.
    pub(super) fn local(&self, origin: Origin) -> Result<Origin> {
        match origin {
            Origin::Owner(task) if task == self.own => Ok(Origin::Here),
            Origin::Owner(task) if task.position() >= self.tasks => {
                Err(Error::new(ErrorCode::TaskNotFound, format!("the context has no task {task}")))
            }
            Origin::Here | Origin::Anywhere | Origin::Owner(_) => Ok(origin),
        }
    }

    /// An answer.
    pub(crate) fn frame(&self, call: CallId, kind: u8, answer: Result<Reply>) -> Frame {
        let body = match answer {
            Ok(reply) => Body::Completed(reply),
            Err(error) => {
                let error = error.remote().clone().on_task(&self.task).of_call(call);
                Body::Failed { kind, error: Box::new(error) }
            }
        };
        Frame::new(call, body)
    }
}

/// A session knows which calls are for contexts.
pub(super) fn misrouted() -> Error {
    Error::new(ErrorCode::Internal, "this call is not a context's: must not happen")
}

pub(super) fn no_such_device(object: ObjectId) -> Error {
    Error::new(ErrorCode::DeviceNotFound, format!("object {object} is on a device that the context does not have"))
}

/// A deadline that a peer names; far away is as good as never.
pub(super) fn until(at: Instant, time_left_ms: u64) -> Instant {
    at + Duration::from_millis(time_left_ms).min(deadline::FAR)
}
