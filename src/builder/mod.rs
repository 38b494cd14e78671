//! Makes a server.

mod plan;

use std::{collections::BTreeMap, fmt, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

use actix::Recipient;
use plan::Plan;
use remex_actors::{
    executor::{Pool, Simulated},
    fabric::Fabric,
    limits::TaskLimits,
    objects::{SpillStore, SpillTo, WhenFull},
    observe::Observed,
    ops::OpRegistry,
    programs::{Compiler, Executable},
    server::{ExecutorRecipients, ObjectManagerFactory, RendezvousFactory, ServerConfig, Timers, start},
};
use remex_protocol::{ErrorCode, handshake::Credits, tensor::BufferPool};

use crate::{Error, Result, ServerHandle};

/// A task's server, to be started.
///
/// ```
/// # use remex::prelude::*;
/// # #[actix_rt::main]
/// # async fn main() -> remex::Result<()> {
/// let server = Server::builder().task("/job:worker/task:0").listen("tcp://127.0.0.1:0").start().await?;
/// println!("listening on {}", server.address().unwrap());
/// # server.stop().await
/// # }
/// ```
#[must_use = "a builder does nothing until it is started"]
pub struct ServerBuilder {
    task: Option<String>,
    listen: Option<String>,
    device_kinds: Vec<(String, Option<NonZeroUsize>)>,
    threads: Option<NonZeroUsize>,
    pool: Pool,
    seed: Option<u64>,
    fabrics: Vec<Arc<dyn Fabric>>,
    prefer_unix: bool,
    programs: BTreeMap<String, Executable>,
    compilers: Vec<Arc<dyn Compiler>>,
    ops: OpRegistry,
    credits: Credits,
    limits: TaskLimits,
    spill_to: Option<SpillTo>,
    spill_limit: Option<u64>,
    buffer_bytes: usize,
    timers: Timers,
    allowed: Vec<String>,
    observers: Vec<Recipient<Observed>>,
    executor: Option<ExecutorRecipients>,
    object_manager: Option<ObjectManagerFactory>,
    rendezvous: Option<RendezvousFactory>,
}

/// Where a server is made: `Server::builder()`.
#[derive(Clone, Copy, Debug)]
pub struct Server;

impl Server {
    /// A server with the defaults: a client's random name, no address, one device, TCP and Unix sockets.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            task: None,
            listen: None,
            device_kinds: Vec::new(),
            threads: None,
            pool: Pool::Threads,
            seed: None,
            fabrics: Vec::new(),
            prefer_unix: true,
            programs: BTreeMap::new(),
            compilers: default_compilers(),
            ops: default_ops(),
            credits: Credits::default(),
            limits: TaskLimits::default(),
            spill_to: None,
            spill_limit: None,
            buffer_bytes: BufferPool::DEFAULT_LIMIT,
            timers: Timers::default(),
            allowed: Vec::new(),
            observers: Vec::new(),
            executor: None,
            object_manager: None,
            rendezvous: None,
        }
    }
}

fn default_ops() -> OpRegistry {
    #[cfg(feature = "ops")]
    return OpRegistry::base();
    #[cfg(not(feature = "ops"))]
    return OpRegistry::empty();
}

fn default_compilers() -> Vec<Arc<dyn Compiler>> {
    #[cfg(feature = "onnx")]
    return vec![Arc::new(remex_actors::programs::OnnxCompiler::default())];
    #[cfg(not(feature = "onnx"))]
    return Vec::new();
}

impl ServerBuilder {
    /// Its name: `/job:worker/task:0`. Default: `/job:client/task:N` with a random N of 2³¹ and more, which no worker has.
    pub fn task(mut self, name: impl Into<String>) -> Self {
        self.task = Some(name.into());
        self
    }

    /// Where it listens: `tcp://HOST:PORT` (port 0: any free one) or `unix:PATH`. Default: nowhere; it can call and
    /// cannot be called.
    ///
    /// Whoever can reach the address can run programs here: bind to loopback, or to a network that you trust.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// Adds a device of this kind (`CPU`), on which so many programs run at one time (default: the pool's threads).
    /// Without any there is one, `CPU`.
    pub fn device(mut self, kind: impl Into<String>, limit: Option<NonZeroUsize>) -> Self {
        self.device_kinds.push((kind.into(), limit));
        self
    }

    /// How many programs the compute pool runs at one time. Default: the machine's cores. More overlaps programs that
    /// wait, fewer leaves cores to others.
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Runs pool programs on the arbiter: everything on one thread, for tests.
    pub fn run_on_arbiter(mut self) -> Self {
        self.pool = Pool::Arbiter;
        self
    }

    /// Runs pool programs on the arbiter, each when a while has passed on tokio's clock that is drawn: for simulations.
    /// `SimCluster` (feature `testing`) does it.
    pub fn simulate_pool(mut self, simulated: Simulated) -> Self {
        self.pool = Pool::Simulated(simulated);
        self
    }

    /// Draws all that is random in this task (its incarnation, the ids that it gives, hash seeds, pauses) from `seed`: the same
    /// run again, for simulations. Default: by the system's means. Two tasks that talk to each other must not have one seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Registers a fabric under its scheme: addresses of that scheme can be listened on and dialled from then on. It takes the
    /// place of a built-in one (`tcp`, `unix`); two of one scheme are an error when the server starts.
    pub fn fabric(mut self, fabric: Arc<dyn Fabric>) -> Self {
        self.fabrics.push(fabric);
        self
    }

    /// Whether a server that listens at `tcp://` has a Unix socket, too, for those on the same machine, and tries that of others
    /// when it dials an address of this machine; both ends must want it. It is in a folder that its user alone may enter
    /// ([`TcpOrUnix`](crate::actors::fabric::TcpOrUnix) says which); where there can be none, it is TCP. Default: it has.
    pub fn prefer_unix(mut self, on: bool) -> Self {
        self.prefer_unix = on;
        self
    }

    /// Adds a native program, to be registered by clients under its name.
    pub fn program(mut self, name: impl Into<String>, program: Executable) -> Self {
        self.programs.insert(name.into(), program);
        self
    }

    /// Adds a compiler for programs of a format; it takes the place of one for the same format.
    pub fn compiler(mut self, compiler: impl Compiler) -> Self {
        self.compilers.push(Arc::new(compiler));
        self
    }

    /// The ops that callers can run here by name. Default: the base set (feature `ops`); add to it with
    /// [`OpRegistry::register`](crate::OpRegistry::register).
    pub fn ops(mut self, ops: OpRegistry) -> Self {
        self.ops = ops;
        self
    }

    /// How much a caller may have in flight to this task, and this task to another: calls, and bytes of their payloads.
    /// Default 4,096 calls and 64 MiB.
    pub fn credits(mut self, credits: Credits) -> Self {
        self.credits = credits;
        self
    }

    /// How many bytes the objects on this task may take, of all contexts together: what is put here, inputs that are fetched
    /// from other tasks, and outputs. Outputs whose dtype and shape the program's signature says are reserved before it runs;
    /// others are counted when they are made, and may go beyond it by one program's outputs for each thread of the pool.
    /// What can never fit fails with `ResourceExhausted`. Default: half of the machine's memory, or of what a container may
    /// have. Payloads that are on their way are bounded by [`credits`](Self::credits), for each caller.
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.limits.memory.bytes = bytes;
        self
    }

    /// How many of them one context may have. Default: all.
    pub fn context_memory_budget(mut self, bytes: u64) -> Self {
        self.limits.memory.context_bytes = bytes;
        self
    }

    /// Whether a call that finds no memory waits for some, by its deadline and in order of arrival, or fails at once with
    /// `ResourceExhausted`. Default: it waits.
    pub fn when_full(mut self, when: WhenFull) -> Self {
        self.limits.memory.when_full = when;
        self
    }

    /// Lets objects go to files when the memory budget is used up: those that nobody uses, the one that was used longest ago first.
    /// They come back when they are used. The task makes a folder of its own in this one, readable by its user alone, and removes it
    /// when it stops; one that was left by a task that was killed goes at the next start. Default: nothing goes to disk.
    pub fn spill_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.spill_to = Some(SpillTo::Folder(folder.into()));
        self
    }

    /// How many bytes of objects may be in files. Past it nothing more goes there, and what needs memory waits or fails. More
    /// fills the disk, less makes calls wait earlier. Default 64 GiB.
    pub fn spill_limit(mut self, bytes: u64) -> Self {
        self.spill_limit = Some(bytes);
        self
    }

    /// Lets objects go to something else than a folder.
    pub fn spill_store(mut self, store: Arc<dyn SpillStore>) -> Self {
        self.spill_to = Some(SpillTo::Store(store));
        self
    }

    /// What this task refuses to go beyond: contexts, connections, objects, programs and so on. What `memory_budget`,
    /// `context_memory_budget` and `when_full` have set is set anew.
    pub fn limits(mut self, limits: TaskLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How many bytes of memory that payloads and results no longer need are kept for the next ones; 0 keeps none. What
    /// is not needed for 20 s is given back to the system. Default 128 MiB.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// How long calls wait for a connection that was lost. Within the window nothing fails: what was under way goes on where it
    /// was. After it calls fail with `RpcUnavailable`; what was made stays, and the connection is dialled, for as long as the other
    /// task keeps the session ([`session_lease`](Self::session_lease)). Zero: a lost connection fails them at once, and ends
    /// the session. Default 5 s.
    pub fn reconnect_window(mut self, window: Duration) -> Self {
        self.timers.reconnect_window = window;
        self
    }

    /// How long a task that calls this one may be away before its session ends: its calls are given up, and the contexts
    /// that it made here are closed with all their objects. Never less than that task's reconnect window and three
    /// heartbeats. Default 30 s.
    pub fn session_lease(mut self, lease: Duration) -> Self {
        self.timers.session_lease = lease;
        self
    }

    /// Lets this task dial an address in a context that another task made: to fetch an input that lives there, and to call
    /// it from a program. Addresses on this machine need no leave when that task is on it too; a context that this task
    /// makes itself may be used with all its tasks.
    pub fn allow_peer(mut self, address: impl Into<String>) -> Self {
        self.allowed.push(address.into());
        self
    }

    /// Lets an actor watch: calls that leave, what comes back, links that come and go. It costs a message a batch; what the
    /// actor does not take in time waits in its mailbox.
    pub fn observer(mut self, observer: Recipient<Observed>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Runs programs with something else than the built-in executor.
    pub fn executor(mut self, executor: ExecutorRecipients) -> Self {
        self.executor = Some(executor);
        self
    }

    /// Keeps objects with something else than the built-in manager.
    pub fn object_manager(mut self, factory: ObjectManagerFactory) -> Self {
        self.object_manager = Some(factory);
        self
    }

    /// Lets data that is sent by key meet its receivers at something else than the built-in rendezvous.
    pub fn rendezvous(mut self, factory: RendezvousFactory) -> Self {
        self.rendezvous = Some(factory);
        self
    }

    /// Starts it on the calling arbiter. Needs an actix `System`; see [`start_threaded`](Self::start_threaded) for
    /// programs without one.
    pub async fn start(self) -> Result<ServerHandle> {
        if actix::System::try_current().is_none() {
            let message = "there is no actix System on this thread: start the server in one, or call start_threaded()";
            return Err(Error::new(ErrorCode::FailedPrecondition, message));
        }
        let config = self.config()?;
        let who = config.who.clone();
        let started = start(config).await?;
        Ok(ServerHandle::new(who, started, None))
    }

    /// Starts it on a thread of its own, with an actix `System` of its own: for programs that have none. The thread ends
    /// when the server is stopped.
    pub async fn start_threaded(self) -> Result<ServerHandle> {
        if self.object_manager.is_some() || self.rendezvous.is_some() {
            let message = "an own object manager, or rendezvous, lives on one arbiter: use start()";
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        let (say, hear) = tokio::sync::oneshot::channel();
        // The configuration is made on the new thread: parts of it belong to an arbiter.
        let plan = Plan::of(self)?;
        let thread = std::thread::Builder::new().name("remex".to_owned()).spawn(move || {
            actix::System::new().block_on(async move {
                let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
                let (who, config) = plan.config();
                match start(config).await {
                    Ok(started) => {
                        let _ = say.send(Ok((who, started, stop)));
                        let _ = stopped.await;
                    }
                    Err(error) => drop(say.send(Err(error))),
                }
            });
        });
        thread
            .map_err(|error| Error::new(ErrorCode::ResourceExhausted, format!("no thread for the server: {error}")))?;
        let gone = |_| Error::new(ErrorCode::Internal, "the server's thread ended before it had started");
        let (who, started, stop) = hear.await.map_err(gone)??;
        Ok(ServerHandle::new(who, started, Some(stop)))
    }

    fn config(self) -> Result<ServerConfig> {
        let (object_manager, rendezvous) = (self.object_manager.clone(), self.rendezvous.clone());
        let (_, config) = Plan::of(self)?.config();
        Ok(ServerConfig { custom_object_manager: object_manager, custom_rendezvous: rendezvous, ..config })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("task", &self.task).field("listen", &self.listen).finish_non_exhaustive()
    }
}
