//! The one timer of an actor whose state has deadlines.

use actix::{Actor, AsyncContext, Context, SpawnHandle};
use tokio::time::Instant;

/// Rings when the earliest deadline passes. It may ring too early, when what it was set for is over: then nothing is found,
/// and it is set again.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<(Instant, SpawnHandle)>);

impl Alarm {
    /// Sees to it that `ring` is called at the earliest deadline, unless it will be even earlier. `ring` says
    /// [`rang`](Self::rang) first.
    pub(crate) fn set<A: Actor<Context = Context<A>>>(
        &mut self,
        earliest: Option<std::time::Instant>,
        ctx: &mut Context<A>,
        ring: fn(&mut A, &mut Context<A>),
    ) {
        let Some(at) = earliest.map(Instant::from_std) else { return };
        match self.0.take() {
            Some((armed, handle)) if armed <= at => self.0 = Some((armed, handle)),
            earlier => {
                if let Some((_, handle)) = earlier {
                    ctx.cancel_future(handle);
                }
                let handle = ctx.run_later(at.saturating_duration_since(Instant::now()), ring);
                self.0 = Some((at, handle));
            }
        }
    }

    /// It has rung.
    pub(crate) fn rang(&mut self) {
        self.0 = None;
    }
}
