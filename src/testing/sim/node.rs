//! A task of a simulated cluster: all that it runs, in a set that can be held and thrown away.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use remex_actors::chance::Chance;
use tokio::{
    sync::oneshot,
    task::LocalSet,
    time::{Instant, Sleep, sleep_until},
};

use crate::ServerHandle;

/// One task, through all its runs.
pub(super) struct Node {
    pub(super) name: String,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Counts the runs.
    life: u32,
    /// All that it runs. Not here while it is polled.
    set: Option<LocalSet>,
    /// Whether it is polled.
    busy: bool,
    /// It is to die when the poll is over.
    dying: bool,
    handle: Option<ServerHandle>,
    /// From when to when it did not run.
    stalls: Vec<(Instant, Instant)>,
    waker: Option<Waker>,
}

impl Node {
    pub(super) fn new(name: String) -> Self {
        Self { name, state: RefCell::default() }
    }

    /// Begins another run, in a set of its own; says which it is. `chance` decides how often it lets others go first.
    pub(super) fn begin(self: &Rc<Self>, yields: f64, chance: Chance) -> u32 {
        let mut state = self.state.borrow_mut();
        state.life += 1;
        state.set = Some(LocalSet::new());
        let (life, node) = (state.life, self.clone());
        state.stalls.retain(|(_, until)| *until <= Instant::now());
        drop(state);
        actix::spawn(Runner { node, life, yields, chance, sleep: None });
        life
    }

    /// How often it was begun.
    pub(super) fn lives(&self) -> u32 {
        self.state.borrow().life
    }

    pub(super) fn handle(&self) -> Option<ServerHandle> {
        self.state.borrow().handle.clone()
    }

    /// The server of a run is up. An error if that run is over.
    pub(super) fn set_handle(&self, life: u32, handle: ServerHandle) -> Result<(), ServerHandle> {
        let mut state = self.state.borrow_mut();
        if state.life != life || !(state.set.is_some() || state.busy) || state.dying {
            return Err(handle);
        }
        state.handle = Some(handle);
        Ok(())
    }

    /// Whether it has begun and is not over.
    pub(super) fn is_alive(&self) -> bool {
        let state = self.state.borrow();
        (state.set.is_some() || state.busy) && !state.dying
    }

    /// It is about to stop: nobody is given its handle any more.
    pub(super) fn take_handle(&self) -> Option<ServerHandle> {
        self.state.borrow_mut().handle.take()
    }

    /// Runs a future in the task, until the task ends: then there is nothing. Of a task that does not run it is dropped.
    pub(super) fn spawn<F: Future<Output: 'static> + 'static>(
        &self,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + use<F> {
        let (say, hear) = oneshot::channel();
        let run = async move {
            let _ = say.send(future.await);
        };
        let state = self.state.borrow();
        match &state.set {
            Some(set) => drop(set.spawn_local(run)),
            // It is polled: whoever asks is in it.
            None if state.busy && !state.dying => drop(actix::spawn(run)),
            None => drop(run),
        }
        wake(&state);
        async move { hear.await.ok() }
    }

    /// It does not run until then.
    pub(super) fn stall(&self, until: Instant) {
        let mut state = self.state.borrow_mut();
        state.stalls.push((Instant::now(), until));
        wake(&state);
    }

    /// It goes on now, if it does not run.
    pub(super) fn go_on(&self) {
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        state.stalls.iter_mut().for_each(|(_, until)| *until = now.min(*until));
        wake(&state);
    }

    /// The first time after `at` at which it ran.
    pub(super) fn ran_after(&self, at: Instant) -> Instant {
        let state = self.state.borrow();
        let mut ran = at;
        // They are in the order of their beginnings, and may overlap.
        for (from, until) in &state.stalls {
            if *from <= ran && ran < *until {
                ran = *until;
            }
        }
        ran
    }

    /// Drops all that it runs, at once; if it is polled, when that is over.
    pub(super) fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.handle = None;
        state.dying = state.busy;
        let set = state.set.take();
        wake(&state);
        // What is dropped may look at the node.
        drop(state);
        drop(set);
    }
}

fn wake(state: &State) {
    if let Some(waker) = &state.waker {
        waker.wake_by_ref();
    }
}

/// Polls one run of a task.
struct Runner {
    node: Rc<Node>,
    life: u32,
    yields: f64,
    chance: Chance,
    /// Until it goes on.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Future for Runner {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let mut state = this.node.state.borrow_mut();
        if state.life != this.life || state.set.is_none() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        let now = Instant::now();
        if let Some(until) = state.stalls.iter().map(|(_, until)| *until).max().filter(|until| *until > now) {
            let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
            sleep.as_mut().reset(until);
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        if this.chance.happens(this.yields) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(mut set) = state.set.take() else { return Poll::Ready(()) };
        state.busy = true;
        drop(state);
        // Ready or not: what is spawned later has to run, too.
        let _ = Pin::new(&mut set).poll(cx);
        let mut state = this.node.state.borrow_mut();
        state.busy = false;
        if std::mem::take(&mut state.dying) {
            drop(state);
            drop(set);
            return Poll::Ready(());
        }
        state.set = Some(set);
        Poll::Pending
    }
}
