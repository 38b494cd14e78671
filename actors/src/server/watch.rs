//! Whether the actors of a task are alive. One that died took its promises with it, which failed; here its context is told (I1).

use actix::Addr;
use remex_protocol::{
    ErrorCode, RemoteError,
    ids::{CallId, ContextId},
};
use tokio::time::Instant;

use super::{Server, bring_up, live::Live};
use crate::{
    Error,
    context::{CloseContext, DistributedContext},
    envelope::{ask, post},
    objects,
    observe::{Event, What},
    rendezvous,
};

impl Server {
    /// Looks at every actor that this task's promises depend on. What depends on a dead one ends with `Internal`.
    pub(super) fn check_actors(&mut self) {
        let executor = (!self.executor.run.connected()).then_some("Executor");
        for id in self.contexts.ids() {
            let dead = self.contexts.get(id).ok().and_then(|context| context.parts.dead_actor()).or(executor);
            if let Some(actor) = dead {
                self.end_context(id, actor);
            }
        }
        for (receiver, actor) in self.directory.replace_dead() {
            self.tell_death(actor, &receiver);
        }
        let gone = self.sessions.iter().filter(|(_, session)| !session.shut.connected());
        let gone: Vec<_> = gone.map(|(id, _)| *id).collect();
        for session in gone {
            self.tell_death("Session", &session.to_string());
            self.session_ended(session);
        }
    }

    /// An actor of a context died: everything of the context fails with that, here and, if this task made it, elsewhere.
    fn end_context(&mut self, id: ContextId, actor: &'static str) {
        self.tell_death(actor, &format!("context {id}"));
        let message = format!("the {actor} of the context died on this task, which is a bug: the context is closed");
        let error = Error::from(RemoteError::new(ErrorCode::Internal, message).on_task(&self.who.task));
        let Ok(context) = self.contexts.get(id) else { return };
        let (shared, is_own) = (context.parts.shared.clone(), context.creator.is_none());
        shared.close(error.clone());
        if let Some(close) = self.close(id, error) {
            actix::spawn(async move {
                close.await;
                if is_own {
                    let _ = bring_up::close(&shared).await;
                }
            });
        }
    }

    pub(super) fn tell_death(&self, actor: &'static str, of: &str) {
        tracing::error!(actor, of, "an actor of the runtime died: this is a bug");
        let (task, at, call) = (self.who.task.to_string().into(), Instant::now(), CallId::default());
        let what = What::ActorDied { actor, of: of.into() };
        self.observers.tell(vec![Event { task, at, call, name: "", what }]);
    }
}

impl Live {
    /// One of the context's actors that is not there any more.
    fn dead_actor(&self) -> Option<&'static str> {
        let alive = [
            ("DistributedContext", self.addr.connected()),
            ("ObjectManager", self.objects.resolve.connected()),
            ("Rendezvous", self.data.rendezvous.receive.connected()),
            ("Collectives", self.data.collectives.arrived.connected()),
        ];
        alive.into_iter().find(|(_, alive)| !alive).map(|(actor, _)| actor)
    }

    /// Ends the context; the future is over when nothing of it is left.
    pub(super) fn end(self, error: Error) -> impl Future<Output = ()> + use<> {
        let Live { addr, objects, data, .. } = self;
        async move {
            if is_alive(&addr) {
                let _ = ask(&addr.recipient(), CloseContext(error)).await;
                return;
            }
            // What the context would have closed.
            post(&data.rendezvous.close, rendezvous::Close(error.clone()));
            post(&data.collectives.close, crate::collectives::Close(error.clone()));
            let _ = ask(&objects.close, objects::Close(error)).await;
        }
    }
}

#[cfg(any(test, feature = "testing"))]
impl actix::Handler<crate::testing::DieSessions> for Server {
    type Result = usize;

    fn handle(
        &mut self,
        crate::testing::DieSessions(of): crate::testing::DieSessions,
        _: &mut actix::Context<Self>,
    ) -> usize {
        let dying: Vec<_> = self.sessions.values().filter(|session| session.die.0 == of).collect();
        dying.iter().for_each(|session| post(&session.die.1, crate::testing::Die));
        dying.len()
    }
}

fn is_alive(context: &Addr<DistributedContext>) -> bool {
    context.connected()
}
