//! What a builder was told, checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroUsize,
    sync::Arc,
};

use remex_actors::{
    chance::Chance,
    executor::ExecutorConfig,
    fabric::{Fabric, Tcp, TcpOrUnix, Unix},
    limits::TaskLimits,
    link::Identity,
    objects::{SpillConfig, SpillTo},
    observe::Observers,
    ops::OpRegistry,
    programs::{Compiler, Compilers, NativePrograms},
    server::{ExecutorRecipients, ServerConfig, Timers},
};
use remex_protocol::{
    DeviceName, ErrorCode,
    cluster::{Address, TaskName},
    handshake::Credits,
    ids::Incarnation,
    tensor::BufferPool,
};

use super::ServerBuilder;
use crate::{Error, Result};

/// A checked configuration that may go to another thread.
pub(super) struct Plan {
    who: Identity,
    devices: Vec<DeviceName>,
    executor: ExecutorConfig,
    listen: Option<Address>,
    fabrics: Vec<Arc<dyn Fabric>>,
    compilers: Compilers,
    ops: Arc<OpRegistry>,
    credits: Credits,
    timers: Timers,
    limits: TaskLimits,
    spill: Option<SpillConfig>,
    allowed: BTreeSet<Address>,
    observers: Observers,
    custom_executor: Option<ExecutorRecipients>,
}

impl Plan {
    pub(super) fn of(builder: ServerBuilder) -> Result<Self> {
        let invalid = |error: &dyn fmt::Display| Error::new(ErrorCode::InvalidArgument, error.to_string());
        let chance = builder.seed.map_or_else(Chance::of_system, Chance::seeded);
        let name = builder.task.unwrap_or_else(|| format!("/job:client/task:{}", chance.below((1 << 31)..(1 << 32))));
        let task: TaskName = name.parse().map_err(|error| invalid(&error))?;
        let address = |text: &String| text.parse::<Address>().map_err(|error| invalid(&error));
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let threads = builder.threads.unwrap_or(cores).get();
        let kinds = if builder.device_kinds.is_empty() { vec![("CPU".to_owned(), None)] } else { builder.device_kinds };
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        let mut devices = Vec::new();
        for (kind, _) in &kinds {
            let count = counts.entry(kind).or_default();
            devices.push(DeviceName::new(task.clone(), kind, *count).map_err(|error| invalid(&error))?);
            *count += 1;
        }
        let lanes = kinds.iter().map(|(_, limit)| limit.map_or(threads, NonZeroUsize::get)).collect();
        let native: Arc<dyn Compiler> = Arc::new(NativePrograms(builder.programs));
        Ok(Self {
            who: Identity {
                task,
                incarnation: Incarnation(chance.bits()),
                buffers: BufferPool::new(builder.buffer_bytes),
                traffic: Default::default(),
                chance,
            },
            devices,
            executor: ExecutorConfig { lanes, threads, pool: builder.pool },
            listen: builder.listen.as_ref().map(address).transpose()?,
            fabrics: fabrics(builder.fabrics, builder.prefer_unix)?,
            compilers: Compilers::new(builder.compilers.into_iter().chain([native])),
            ops: Arc::new(builder.ops),
            credits: builder.credits,
            timers: builder.timers,
            limits: builder.limits,
            spill: spill(builder.spill_to, builder.spill_limit)?,
            allowed: builder.allowed.iter().map(address).collect::<Result<_>>()?,
            observers: Observers::new(builder.observers),
            custom_executor: builder.executor,
        })
    }

    pub(super) fn config(self) -> (Identity, ServerConfig) {
        let config = ServerConfig {
            who: self.who.clone(),
            devices: self.devices,
            executor: self.executor,
            listen: self.listen,
            fabrics: self.fabrics,
            compilers: self.compilers,
            ops: self.ops,
            credits: self.credits,
            timers: self.timers,
            limits: self.limits,
            spill: self.spill,
            allowed: self.allowed,
            observers: self.observers,
            custom_executor: self.custom_executor,
            custom_object_manager: None,
            custom_rendezvous: None,
        };
        (self.who, config)
    }
}

/// Where objects go for which memory has no room.
fn spill(to: Option<SpillTo>, limit: Option<u64>) -> Result<Option<SpillConfig>> {
    match (to, limit) {
        (Some(to), limit) => {
            let mut config = SpillConfig::new(to);
            config.limit = limit.unwrap_or(config.limit);
            Ok(Some(config))
        }
        (None, Some(_)) => {
            let message = "a limit for spilled objects is of no use without a folder for them: give spill_dir, too";
            Err(Error::new(ErrorCode::InvalidArgument, message))
        }
        (None, None) => Ok(None),
    }
}

/// The built-in fabrics, and the application's instead of or beside them.
fn fabrics(own: Vec<Arc<dyn Fabric>>, prefer_unix: bool) -> Result<Vec<Arc<dyn Fabric>>> {
    let mut schemes = BTreeSet::new();
    if let Some(twice) = own.iter().map(|fabric| fabric.scheme()).find(|scheme| !schemes.insert(*scheme)) {
        let message = format!("two fabrics were registered for the scheme {twice:?}: register one");
        return Err(Error::new(ErrorCode::AlreadyExists, message));
    }
    let tcp: Arc<dyn Fabric> = if prefer_unix { Arc::new(TcpOrUnix::new()) } else { Arc::new(Tcp::new()) };
    let built_in: [Arc<dyn Fabric>; 2] = [tcp, Arc::new(Unix::new())];
    Ok(built_in.into_iter().chain(own).collect())
}
