//! The receivers of a server: one `RemoteClient` and one `PendingResults` for each address.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::Actor;
use remex_protocol::{
    ErrorCode, RemoteError,
    cluster::{Address, TaskName},
    handshake::Credits,
};

use crate::{
    Error, Result,
    chance::Chance,
    client::{Edge, Hangup, Indexes, Receiver, RemoteClient, Route},
    envelope::post,
    fabric::{Connection, Fabric},
    link::Identity,
    observe::Observers,
    pending::{Attach, PendingResults},
};

/// Makes receivers and keeps them. Clones share them; all on one arbiter.
#[derive(Clone, Debug)]
pub struct Directory(Rc<Inner>);

struct Inner {
    who: Identity,
    fabrics: BTreeMap<String, Arc<dyn Fabric>>,
    credits: Credits,
    /// Addresses that a peer may make this task dial.
    allowed: BTreeSet<Address>,
    /// Makes a connection to this task itself.
    own: Rc<dyn Fn() -> Connection>,
    observers: Observers,
    /// How long a lost connection is dialled again.
    window: Duration,
    receivers: RefCell<BTreeMap<Address, Arc<Receiver>>>,
}

/// Which addresses in the tables of a context a task may dial, beside those that its configuration allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// All: this task makes the context, and its own configuration names them.
    All,
    /// Those on this machine: a peer on this machine made the context.
    Local,
    /// None.
    Allowed,
}

/// The address under which a task reaches itself.
pub(crate) fn own_address() -> Address {
    "own:task".parse().expect("it is an address")
}

impl Directory {
    pub(crate) fn new(
        who: Identity,
        fabrics: impl IntoIterator<Item = Arc<dyn Fabric>>,
        credits: Credits,
        allowed: BTreeSet<Address>,
        own: Rc<dyn Fn() -> Connection>,
        observers: Observers,
        window: Duration,
    ) -> Self {
        let fabrics = fabrics.into_iter().map(|fabric| (fabric.scheme().to_owned(), fabric)).collect();
        let receivers = RefCell::default();
        Self(Rc::new(Inner { who, fabrics, credits, allowed, own, observers, window, receivers }))
    }

    /// The chance of this task.
    pub(crate) fn chance(&self) -> &Chance {
        &self.0.who.chance
    }

    /// The fabric that understands an address.
    pub(crate) fn fabric(&self, address: &Address) -> Result<Arc<dyn Fabric>> {
        self.0.fabrics.get(address.scheme()).cloned().ok_or_else(|| {
            let known: Vec<_> = self.0.fabrics.keys().map(String::as_str).collect();
            let message = format!(
                "no fabric understands {address}: write tcp://HOST:PORT or unix:PATH; this task has the schemes {}",
                known.join(", ")
            );
            Error::new(ErrorCode::InvalidArgument, message)
        })
    }

    /// Whether a context may make this task dial an address.
    pub(crate) fn may_dial(&self, address: &Address, trust: Trust) -> Result<()> {
        let trusted = match trust {
            Trust::All => true,
            Trust::Local => address.is_local(),
            Trust::Allowed => false,
        };
        if trusted || self.0.allowed.contains(address) {
            return Ok(());
        }
        let message =
            format!("this task may not dial {address} because a peer says so: allow that peer (--allow-peer)");
        Err(RemoteError::new(ErrorCode::PermissionDenied, message).on_task(&self.0.who.task).into())
    }

    /// The receiver at an address; made if there is none. `expected` is its name, if it is known.
    pub fn receiver(&self, expected: Option<&TaskName>, address: &Address) -> Result<Arc<Receiver>> {
        if let Some(receiver) = self.0.receivers.borrow().get(address).filter(|receiver| receiver.is_alive()) {
            return Ok(receiver.clone());
        }
        let route = if *address == own_address() {
            Route::Own(self.0.own.clone())
        } else {
            Route::Fabric(self.fabric(address)?)
        };
        let name = expected.map_or_else(|| address.to_string(), TaskName::to_string);
        let edge = Edge::new(name.clone(), self.0.credits);
        let observers = self.0.observers.clone();
        let pending = PendingResults::new(&name, edge.clone(), observers.clone()).start();
        let (replies, lost) = (pending.clone().recipient(), pending.clone().recipient());
        let client = {
            let (who, expected, address) = (self.0.who.clone(), expected.cloned(), address.clone());
            RemoteClient::new(who, expected, address, route, replies, lost, observers, self.0.window).start()
        };
        post(&pending.clone().recipient(), Attach(client.clone().recipient().downgrade()));
        let receiver = Arc::new(Receiver {
            address: address.clone(),
            edge,
            expect: pending.clone().recipient(),
            replies: pending.clone().recipient(),
            cancel: pending.recipient(),
            outgoing: client.clone().recipient(),
            connect: client.clone().recipient(),
            subscribe: client.clone().recipient(),
            hangup: client.recipient(),
            indexes: Indexes::default(),
        });
        self.0.receivers.borrow_mut().insert(address.clone(), receiver.clone());
        Ok(receiver)
    }

    /// Ends the links to tasks that no context uses.
    pub(crate) fn forget_unused(&self) {
        let unused = |_: &Address, receiver: &mut Arc<Receiver>| Arc::strong_count(receiver) == 1;
        let unused: Vec<_> = self.0.receivers.borrow_mut().extract_if(.., unused).collect();
        unused.into_iter().for_each(|(_, receiver)| post(&receiver.hangup, Hangup));
    }

    /// Forgets receivers of which an actor died, so that the next context makes them anew. Gives each address, and which it was.
    pub(crate) fn replace_dead(&self) -> Vec<(String, &'static str)> {
        let dead = |_: &Address, receiver: &mut Arc<Receiver>| !receiver.is_alive();
        let dead: Vec<_> = self.0.receivers.borrow_mut().extract_if(.., dead).collect();
        let name = |(address, receiver): (Address, Arc<Receiver>)| {
            // Whichever lives on has nothing to do any more; contexts hear that the link is down.
            post(&receiver.hangup, Hangup);
            (address.to_string(), if receiver.expect.connected() { "RemoteClient" } else { "PendingResults" })
        };
        dead.into_iter().map(name).collect()
    }

    /// Ends all links.
    pub(crate) fn hang_up(&self) {
        for receiver in std::mem::take(&mut *self.0.receivers.borrow_mut()).into_values() {
            post(&receiver.hangup, Hangup);
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("who", &self.who).field("fabrics", &self.fabrics).finish_non_exhaustive()
    }
}
