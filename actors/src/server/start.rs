//! Starting a server: fabric by fabric, actor by actor.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::{Actor, Addr, Recipient};
use remex_protocol::{
    DeviceName, ErrorCode, RemoteError,
    cluster::Address,
    handshake::{Credits, Hello, Welcome},
};
use tokio::task::JoinHandle;

use super::{
    Directory, ExecutorRecipients, ObjectManagerFactory, RendezvousFactory, Server,
    actor::{Accepted, Connected},
    connections::{Connections, Slot},
    contexts::Contexts,
    live::{default_object_manager, default_rendezvous},
    multi::Gathering,
    sessions::{Known, Sessions, lease},
};
use crate::{
    Error, Result,
    envelope::post,
    executor::{Executor, ExecutorConfig, Pool},
    fabric::{Connection, Fabric, Listener, direct},
    limits::TaskLimits,
    link::{self, Identity, Point},
    objects::{Disk, MemoryBudget, SpillConfig},
    observe::Observers,
    ops::OpRegistry,
    programs::Compilers,
    session::{Attach, Control, Door, Session, SessionId, Shut, Upstream},
};

/// What a server is made of.
pub struct ServerConfig {
    /// Who it is.
    pub who: Identity,
    /// Its devices, in order; each is a lane of the executor.
    pub devices: Vec<DeviceName>,
    /// How programs run.
    pub executor: ExecutorConfig,
    /// Where it listens; a server that does not listen receives no calls.
    pub listen: Option<Address>,
    /// The fabrics that it can use.
    pub fabrics: Vec<Arc<dyn Fabric>>,
    /// Its compilers.
    pub compilers: Compilers,
    /// Its ops.
    pub ops: Arc<OpRegistry>,
    /// How much a caller may have in flight to it, and it to others.
    pub credits: Credits,
    /// How long what was said on a lost connection lives on.
    pub timers: Timers,
    /// What it refuses to go beyond.
    pub limits: TaskLimits,
    /// Where objects go for which its memory has no room; `None`: nowhere.
    pub spill: Option<SpillConfig>,
    /// Addresses that a peer may make it dial.
    pub allowed: BTreeSet<Address>,
    /// Who watches.
    pub observers: Observers,
    /// Runs programs instead of the built-in executor.
    pub custom_executor: Option<ExecutorRecipients>,
    /// Makes object managers instead of the built-in ones.
    pub custom_object_manager: Option<ObjectManagerFactory>,
    /// Makes rendezvous instead of the built-in ones.
    pub custom_rendezvous: Option<RendezvousFactory>,
}

/// How long lost connections are made up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// A connection that this task dialled and lost is dialled again for so long, and nothing fails meanwhile. Zero: a lost
    /// connection fails all that was under way on it at once.
    pub reconnect_window: Duration,
    /// A session whose task is gone lives for so long, but never less than that task's window and three heartbeats.
    pub session_lease: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self { reconnect_window: Duration::from_secs(5), session_lease: Duration::from_secs(30) }
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Started {
    /// The actor.
    pub server: Addr<Server>,
    /// Where it listens really.
    pub address: Option<Address>,
    /// Accepts connections; who aborts it and waits for its end knows that the address is free again.
    pub listening: Option<JoinHandle<()>>,
}

/// Starts a server on the calling arbiter.
pub async fn start(config: ServerConfig) -> Result<Started> {
    let ServerConfig { who, devices, executor, listen, fabrics, compilers, credits, limits, allowed, .. } = config;
    let disk = match config.spill {
        Some(spill) => Some(open_disk(spill, &who, executor.pool.clone()).await?),
        None => None,
    };
    let memory = MemoryBudget::with_disk(limits.memory, disk);
    let executor = config.custom_executor.unwrap_or_else(|| {
        let executor = Executor::new(&executor, memory.clone()).start();
        let (run, abort) = (executor.clone().recipient(), executor.clone().recipient());
        ExecutorRecipients { run, abort, compile: executor.recipient() }
    });
    if config.observers.len() > limits.observers {
        let message = format!("{} observers are more than the limit of {}", config.observers.len(), limits.observers);
        return Err(Error::new(ErrorCode::ResourceExhausted, message));
    }
    let acceptor: Rc<std::cell::OnceCell<Acceptor>> = Rc::default();
    let acceptors = acceptor.clone();
    let connect = move || {
        let (here, there) = direct::pair();
        if let Some(acceptor) = acceptors.get() {
            acceptor.accept(there, true);
        }
        here
    };
    let (own, observers, window) = (Rc::new(connect), config.observers, config.timers.reconnect_window);
    let (directory, watching) =
        (Directory::new(who.clone(), fabrics, credits, allowed, own, observers.clone(), window), observers.clone());
    let listener = match &listen {
        None => None,
        Some(address) => {
            let fabric = directory.fabric(address)?;
            let listening = fabric.listen(address).await;
            Some(listening.map_err(|error| Error::new(ErrorCode::Unavailable, error.to_string()))?)
        }
    };
    let address = listener.as_ref().map(|listener| listener.address().clone());
    let built_in = || default_object_manager(who.task.to_string(), who.chance.clone());
    let object_manager = config.custom_object_manager.unwrap_or_else(built_in);
    let connections = Connections::new(limits.sessions);
    let server = Server {
        who: who.clone(),
        address: address.clone(),
        devices,
        directory,
        compilers,
        ops: config.ops,
        executor,
        object_manager,
        rendezvous: config.custom_rendezvous.unwrap_or_else(|| default_rendezvous(limits.rendezvous)),
        memory,
        limits,
        contexts: Contexts::new(limits.contexts),
        connections: connections.clone(),
        sessions: BTreeMap::new(),
        flooded: 0,
        observers,
        gathering: Gathering::default(),
        draining: false,
    };
    let server = server.start();
    let made = Acceptor {
        who,
        credits,
        connections,
        server: Upstream {
            control: server.clone().recipient(),
            exchange: server.clone().recipient(),
            ended: server.clone().recipient(),
            credits,
            observers: watching,
        },
        accepted: server.clone().recipient(),
        last: Rc::default(),
        lease: config.timers.session_lease,
        sessions: Rc::default(),
    };
    let listening = listener.map(|listener| actix::spawn(accept(listener, made.clone())));
    let _ = acceptor.set(made);
    Ok(Started { server, address, listening })
}

/// Gets the place ready where objects go, off the arbiter unless everything is on it.
async fn open_disk(spill: SpillConfig, who: &Identity, pool: Pool) -> Result<Disk> {
    let (task, life, buffers) = (who.task.clone(), who.incarnation, who.buffers.clone());
    let on_thread = matches!(pool, Pool::Threads);
    let open = move || spill.open(&task, life, buffers, pool);
    if !on_thread {
        return open();
    }
    let gone = |error| Error::new(ErrorCode::Internal, format!("the folder for objects was not opened: {error}"));
    tokio::task::spawn_blocking(open).await.map_err(gone)?
}

/// Turns connections into sessions.
#[derive(Clone, Debug)]
pub(super) struct Acceptor {
    pub(super) who: Identity,
    pub(super) credits: Credits,
    connections: Arc<Connections>,
    server: Upstream,
    accepted: Recipient<Accepted>,
    last: Rc<Cell<u64>>,
    lease: Duration,
    pub(super) sessions: Rc<Sessions>,
}

impl Acceptor {
    /// Greets who dialled and gives the connection to its session, a new one or the one that it had; does not wait for it.
    fn accept(&self, mut connection: Connection, is_own: bool) {
        let this = self.clone();
        actix::spawn(async move {
            let peer = connection.peer.clone();
            let refused = |error: &Error| {
                this.who.traffic.add_refused();
                tracing::info!(%peer, %error, "a connection was refused");
            };
            let Some(slot) = this.connections.enter(is_own) else {
                tracing::warn!(%peer, "a connection was refused: there are too many");
                return this.connections.refuse(connection, &this.who.task).await;
            };
            connection.reader.use_buffers(&this.who.buffers);
            connection.count(&this.who.traffic);
            let hello = match link::greet(&mut connection).await {
                Ok(hello) => hello,
                Err(error) => return refused(&error),
            };
            if hello.lane != 0 {
                return this.accept_lane(connection, &hello, slot).await.unwrap_or_else(|error| refused(&error));
            }
            let lane = connection.reader.transfers().map(|_| link::number(&this.who.chance));
            let welcomed = this.welcome(&hello, lane, slot).await;
            let session = welcomed.as_ref().ok().map(|(known, welcome)| (known.clone(), welcome.resumed));
            let answered = link::answer(&mut connection, welcomed.map(|(_, welcome)| welcome)).await;
            let (session, resumed) = match (answered, session) {
                (Ok(()), Some(session)) => session,
                (Err(error), Some((known, _))) if hello.session == 0 => {
                    // Nobody can come back to it.
                    post(&known.shut, Shut);
                    return refused(&error);
                }
                (Err(error), _) => return refused(&error),
                (Ok(()), None) => return,
            };
            // What the dialler had of a session that is gone means nothing in the one that begins.
            let point = Point { accepted: hello.resume, unfinished: hello.unfinished };
            let point = if resumed { point } else { Point::default() };
            session.door.leave(connection, hello.epoch, point);
            post(&session.attach, Attach);
        });
    }

    /// The session that a Hello is for, and what is answered.
    async fn welcome(&self, hello: &Hello, lane: Option<u64>, slot: Slot) -> Result<(Known, Welcome), RemoteError> {
        let mut welcome = link::welcome(hello, &self.who, self.credits)?;
        if hello.session == 0 {
            return Ok((self.begin(hello, None, slot)?, welcome));
        }
        let lease = lease(self.lease, Duration::from_millis(hello.window_ms));
        welcome.lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        self.sessions.end_replaced(hello).await;
        if let Some((known, point)) = self.sessions.resume(hello).await? {
            (welcome.resumed, welcome.resume, welcome.unfinished) = (true, point.accepted, point.unfinished);
            welcome.lane = known.door.expect_lane(hello.epoch, lane);
            return Ok((known, welcome));
        }
        let known = self.begin(hello, Some(lease), slot)?;
        welcome.lane = known.door.expect_lane(hello.epoch, lane);
        self.sessions.insert(hello, known.clone());
        Ok((known, welcome))
    }

    fn begin(&self, hello: &Hello, lease: Option<Duration>, slot: Slot) -> Result<Known, RemoteError> {
        slot.check_room().map_err(|error| error.on_task(&self.who.task))?;
        self.last.set(self.last.get() + 1);
        let (id, door, task) = (SessionId(self.last.get()), Rc::new(Door::default()), hello.task.clone());
        tracing::debug!(session = %id, %task, "session begun");
        let mut server = self.server.clone();
        if slot.is_own() {
            // What the task has with itself is nothing to watch.
            server.observers = Observers::default();
        }
        let session = Session::new(id, task, hello.epoch, door.clone(), lease, server).start();
        let connected = Connected {
            shut: session.clone().recipient(),
            #[cfg(any(test, feature = "testing"))]
            die: (hello.task.clone(), session.clone().recipient()),
            _slot: slot,
        };
        post(&self.accepted, Accepted(id, connected));
        Ok(Known {
            resume: session.clone().recipient(),
            attach: session.clone().recipient(),
            shut: session.recipient(),
            door,
        })
    }
}

/// Accepts until the server is gone.
async fn accept(mut listener: Box<dyn Listener>, acceptor: Acceptor) {
    loop {
        let connection = tokio::select! {
            biased;
            () = gone(&acceptor.server.control) => return,
            connection = listener.accept() => connection,
        };
        match connection {
            Ok(connection) => acceptor.accept(connection, false),
            Err(error) => {
                // Out of descriptors, say: others will be closed meanwhile.
                tracing::warn!(address = %listener.address(), %error, "a connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

/// Waits until an actor has stopped.
async fn gone(control: &Recipient<Control>) {
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(200));
    while control.connected() {
        ticks.tick().await;
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig").field("who", &self.who).field("listen", &self.listen).finish_non_exhaustive()
    }
}
