//! Registering programs, on the caller's thread.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use remex_protocol::{
    DeviceName, ErrorCode, Reply,
    calls::{CompileWhen, Golden as WireGolden, RegisterFunctionRequest, UnregisterFunctionRequest},
    cluster::TaskName,
    ids::TaskIndex,
    tensor::Tensor,
};

use super::ContextShared;
use crate::{
    Error, Result, deadline,
    handles::{ProgramHandle, RemoteExecuteSpec},
    programs::Golden,
    promise::Promise,
};

/// A program to register on a task.
#[derive(Clone, Debug)]
#[must_use = "a registration does nothing until it is given to a context"]
pub struct RegisterFunction {
    name: String,
    format: String,
    entry: Option<String>,
    bytes: Bytes,
    when: CompileWhen,
    output_devices: Vec<DeviceName>,
    golden: Option<Golden>,
    limit: Option<Duration>,
}

impl RegisterFunction {
    /// A program in `format`, whose compiler the task must have.
    pub fn new(name: impl Into<String>, format: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            format: format.into(),
            entry: None,
            bytes: bytes.into(),
            when: CompileWhen::Now,
            output_devices: Vec::new(),
            golden: None,
            limit: None,
        }
    }

    /// A native program that the task was started with under this name.
    pub fn native(name: impl Into<String>) -> Self {
        Self::new(name, "native", Bytes::new())
    }

    /// An ONNX model.
    pub fn onnx(name: impl Into<String>, model: impl Into<Bytes>) -> Self {
        Self::new(name, "onnx", model)
    }

    /// Which function inside the program; for a native one the name that the task was started with, where it is
    /// registered under another.
    pub fn entry(mut self, entry: impl Into<String>) -> Self {
        self.entry = Some(entry.into());
        self
    }

    /// Checks and stores the program now and compiles it at its first call.
    pub fn compile_at_first_use(mut self) -> Self {
        self.when = CompileWhen::FirstUse;
        self
    }

    /// The devices of the outputs, in order. Default: all on the task's first device, as many as the program says.
    pub fn outputs_on(mut self, devices: impl IntoIterator<Item = DeviceName>) -> Self {
        self.output_devices = devices.into_iter().collect();
        self
    }

    /// Inputs and the outputs that they must give, tried once when the program is compiled.
    pub fn golden(mut self, golden: Golden) -> Self {
        self.golden = Some(golden);
        self
    }

    /// Gives up after so long. Default: the context's deadline.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// A registration that is under way.
#[derive(Clone, Debug)]
pub struct Registering {
    /// The program; calls of it wait on the task until it is compiled, and fail if it cannot be.
    pub program: ProgramHandle,
    answer: Promise<(Reply, Bytes)>,
}

impl RegisterFunction {
    /// Whether both stand for the same program. What is tried on golden inputs is tried each time.
    fn is_same(&self, other: &Self) -> bool {
        let of = |function: &Self| {
            (function.format.clone(), function.entry.clone(), function.bytes.clone(), function.output_devices.clone())
        };
        self.golden.is_none() && other.golden.is_none() && of(self) == of(other)
    }

    /// Gives up after so long, unless it says otherwise itself.
    pub(super) fn within(mut self, limit: Option<Duration>) -> Self {
        self.limit = self.limit.or(limit);
        self
    }
}

impl Registering {
    /// Waits until the program is compiled. From then on its signature is known here.
    pub async fn done(&self) -> Result<()> {
        if let (Reply::RegisterFunction(reply), _) = self.answer.get().await? {
            self.program.registered(reply);
        }
        Ok(())
    }
}

/// Programs that runs of programs here have registered, by task and name: the next run need not do so again.
#[derive(Debug, Default)]
pub(super) struct Registered(Mutex<BTreeMap<(TaskIndex, String), (RegisterFunction, ProgramHandle)>>);

impl Registered {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(TaskIndex, String), (RegisterFunction, ProgramHandle)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The context is over: its programs hold it no longer.
    pub(super) fn clear(&self) {
        let programs = std::mem::take(&mut *self.lock());
        drop(programs);
    }
}

impl ContextShared {
    /// The same as [`register`](Self::register) for runs of a program, which come and go: what one of them has registered
    /// the others have, for as long as the link to the task is there.
    pub(super) async fn register_once(
        self: &Arc<Self>,
        task: &TaskName,
        function: RegisterFunction,
    ) -> Result<ProgramHandle> {
        let key = (self.task_index(task)?, function.name.clone());
        if let Some((known, program)) = self.registered.lock().get(&key)
            && known.is_same(&function)
            && self.link_of(program).is_ok()
        {
            return Ok(program.clone());
        }
        let program = self.register(task, function.clone()).await?;
        let mut registered = self.registered.lock();
        // Looked at under the lock: who closes the context clears afterwards.
        if self.closed.get().is_none() {
            registered.insert(key, (function, program.clone()));
        }
        Ok(program)
    }

    /// Registers a program on a task and waits until it is compiled there.
    pub async fn register(self: &Arc<Self>, task: &TaskName, function: RegisterFunction) -> Result<ProgramHandle> {
        let registering = self.begin_register(task, function).await?;
        registering.done().await?;
        Ok(registering.program)
    }

    /// Registers a program on a task and does not wait: calls may follow at once, behind the registration on the link.
    /// Say where the outputs go, or give each call a spec; one that differs from what the program has fails the call.
    pub async fn begin_register(self: &Arc<Self>, task: &TaskName, function: RegisterFunction) -> Result<Registering> {
        let task = self.task_index(task)?;
        let devices = self.device_indexes(&function.output_devices)?;
        let deadline = deadline::from_now(function.limit.unwrap_or(self.default_deadline));
        let link = self.reach(task, deadline).await?;
        let (program, index) = (function.bytes.len() as u64, self.peers[task.position()].next_program());
        if let Some(device) = devices.iter().find(|device| self.owner(**device) != Some(task)) {
            let (device, task) = (self.device_name(*device), self.task_name(task));
            let message = format!("output device {device} is not one of {task}, where the program is registered");
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        let metadata = |tensors: &[Tensor]| tensors.iter().map(|tensor| tensor.metadata().clone()).collect();
        let golden = function.golden.as_ref().map(|golden| WireGolden {
            inputs: metadata(&golden.inputs),
            outputs: metadata(&golden.outputs),
            tolerance: golden.tolerance,
        });
        let request = RegisterFunctionRequest {
            context: link.index,
            program: index,
            name: function.name.clone(),
            format: function.format,
            entry: function.entry,
            when: function.when,
            program_bytes: program,
            output_devices: devices,
            golden,
        };
        let payload = payload(function.bytes, function.golden);
        let program = ProgramHandle::new(self.clone(), task, index, function.name.into(), link.generation);
        if !request.output_devices.is_empty() {
            program.set_outputs(request.output_devices.clone());
        }
        let (_, answer) = self.begin(task, request, payload, deadline, vec![]).await?;
        Ok(Registering { program, answer })
    }

    /// Forgets a program: calls that were made before run, later ones fail with `NotFound`.
    pub async fn unregister(self: &Arc<Self>, program: &ProgramHandle, limit: Option<Duration>) -> Result<()> {
        let task = program.receiver();
        let is_it = |(_, known): &(RegisterFunction, ProgramHandle)| known.is_same(program);
        self.registered.lock().retain(|_, known| !is_it(known));
        let request = UnregisterFunctionRequest { context: self.link_of(program)?.index, program: program.index() };
        self.ask(task, request, Bytes::new(), limit, vec![]).await.map(|_| ())
    }

    /// A spec out of device names.
    pub fn spec(&self, devices: &[DeviceName]) -> Result<RemoteExecuteSpec> {
        self.device_indexes(devices)?;
        Ok(RemoteExecuteSpec { output_devices: devices.to_vec() })
    }
}

/// The program's bytes, and behind them the data of the golden inputs and outputs.
fn payload(program: Bytes, golden: Option<Golden>) -> Bytes {
    let Some(Golden { inputs, outputs, .. }) = golden else { return program };
    let mut all = BytesMut::from(&program[..]);
    inputs.iter().chain(&outputs).for_each(|tensor| all.extend_from_slice(tensor.bytes()));
    all.freeze()
}
