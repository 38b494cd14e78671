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
