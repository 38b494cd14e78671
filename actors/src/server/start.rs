//! Starting a server: fabric by fabric, actor by actor.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use actix::{Actor, Addr, Recipient};
use remex_protocol::{DeviceName, ErrorCode, cluster::Address, handshake::Credits};
use tokio::task::JoinHandle;

use super::{
    Directory, ExecutorRecipients, ObjectManagerFactory, RendezvousFactory, Server,
    actor::{Accepted, Connected},
    connections::Connections,
    contexts::Contexts,
    live::{default_object_manager, default_rendezvous},
    multi::Gathering,
};
use crate::{
    Error, Result,
    envelope::post,
    executor::{Executor, ExecutorConfig},
    fabric::{Connection, Fabric, Listener, direct},
    limits::TaskLimits,
    link::{self, Identity},
    objects::MemoryBudget,
    observe::Observers,
    ops::OpRegistry,
    programs::Compilers,
    session::{Control, Session, SessionId, Shut, Upstream},
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
    /// What it refuses to go beyond.
    pub limits: TaskLimits,
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
    let memory = MemoryBudget::new(limits.memory);
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
    let own = acceptor.clone();
    let connect = move || {
        let (here, there) = direct::pair();
        if let Some(acceptor) = own.get() {
            acceptor.accept(there, true);
        }
        here
    };
    let observers = config.observers;
    let directory = Directory::new(who.clone(), fabrics, credits, allowed, Rc::new(connect), observers.clone());
    let listener = match &listen {
        None => None,
        Some(address) => {
            let fabric = directory.fabric(address)?;
            let listening = fabric.listen(address).await;
            Some(listening.map_err(|error| Error::new(ErrorCode::Unavailable, error.to_string()))?)
        }
    };
    let address = listener.as_ref().map(|listener| listener.address().clone());
    let object_manager = config.custom_object_manager.unwrap_or_else(|| default_object_manager(who.task.to_string()));
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
        },
        accepted: server.clone().recipient(),
        last: Arc::new(AtomicU64::new(0)),
    };
    let listening = listener.map(|listener| actix::spawn(accept(listener, made.clone())));
    let _ = acceptor.set(made);
    Ok(Started { server, address, listening })
}

/// Turns connections into sessions.
#[derive(Clone, Debug)]
struct Acceptor {
    who: Identity,
    credits: Credits,
    connections: Arc<Connections>,
    server: Upstream,
    accepted: Recipient<Accepted>,
    last: Arc<AtomicU64>,
}

impl Acceptor {
    /// Greets who dialled and starts the session; does not wait for it.
    fn accept(&self, mut connection: Connection, is_own: bool) {
        let this = self.clone();
        actix::spawn(async move {
            let peer = connection.peer.clone();
            let Some(slot) = this.connections.enter(is_own) else {
                tracing::warn!(%peer, "a connection was refused: there are too many");
                return this.connections.refuse(connection, &this.who.task).await;
            };
            let hello = match link::greet(&mut connection, &this.who, this.credits).await {
                Ok(hello) => hello,
                Err(error) => return tracing::info!(%peer, %error, "a connection was refused"),
            };
            let id = SessionId(this.last.fetch_add(1, Ordering::Relaxed) + 1);
            tracing::debug!(session = %id, task = %hello.task, %peer, "session begun");
            let session = Session::new(id, hello.task, hello.epoch, connection, this.server).start();
            post(&this.accepted, Accepted(id, Connected { shut: session.recipient::<Shut>(), _slot: slot }));
        });
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
