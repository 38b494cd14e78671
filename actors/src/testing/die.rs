//! A message that ends an actor of the runtime as a bug would: by a panic.

use actix::{Context, Handler, Message};

use crate::{
    client::RemoteClient, collectives::Collectives, context::DistributedContext, executor::Executor,
    objects::ObjectManager, pending::PendingResults, rendezvous::Rendezvous, session::Session,
};

/// Panic now.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Die;

/// Kills the sessions of a task so. Sent to the server that serves them; answered with how many there are.
#[derive(Clone, Debug, Message)]
#[rtype(result = "usize")]
pub struct DieSessions(pub remex_protocol::cluster::TaskName);

macro_rules! dies {
    ($($actor:ty),*) => {
        $(impl Handler<Die> for $actor {
            type Result = ();

            fn handle(&mut self, _: Die, _: &mut Context<Self>) {
                panic!("a test told this actor to die");
            }
        })*
    };
}

dies!(Collectives, DistributedContext, Executor, ObjectManager, PendingResults, RemoteClient, Rendezvous, Session);
