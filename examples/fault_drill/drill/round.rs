//! One round of a client: random steps in one context.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use remex::{Error, Execution, RemoteChain, prelude::*};
use tokio::time::{Instant, sleep};

use super::{
    Phase, WORKERS, Wrong,
    check::{Known, Promised, fetched, is_of_transport, timed},
    client::Client,
    programs::{INNER, NUMBER, WAIT, WITH, tensor},
};

/// What a context's calls may take unless they say otherwise.
const LIMIT: Duration = Duration::from_secs(2);
/// A link that can be made is made within so long: a pause, an attempt that fails, and what the other end has to notice.
const FOUND_AGAIN: Duration = Duration::from_secs(12);
/// So many objects and calls a client keeps in mind.
const KEPT: usize = 24;
/// After so many failures a client gives the context up, as an application would, and makes another.
const PATIENCE: u32 = 4;

/// One context of a client, and what it knows of it.
pub(super) struct Round<'a> {
    client: &'a Client,
    context: ContextHandle,
    programs: BTreeMap<(usize, &'static str), ProgramHandle>,
    known: Vec<Known>,
    calls: Vec<Chain>,
    chains: Vec<(usize, RemoteChain)>,
    collectives: u64,
    /// Calls that failed, and not because of what they asked for.
    failures: Cell<u32>,
}

impl<'a> Round<'a> {
    pub(super) fn new(client: &'a Client, context: ContextHandle) -> Self {
        Self {
            client,
            context,
            programs: BTreeMap::new(),
            known: Vec::new(),
            calls: Vec::new(),
            chains: Vec::new(),
            collectives: 0,
            failures: Cell::new(0),
        }
    }

    fn below(&self, end: u64) -> u64 {
        self.client.chance.below(0..end)
    }

    fn worker(&self) -> usize {
        self.below(WORKERS as u64) as usize
    }

    fn some<'b, T>(&self, of: &'b [T]) -> Option<&'b T> {
        if of.is_empty() { None } else { of.get(self.below(of.len() as u64) as usize) }
    }

    async fn timed<T>(&self, what: &str, future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let outcome = timed(&self.client.world, self.client.i, LIMIT, what, future).await;
        self.learn(&outcome);
        if outcome.is_ok() {
            self.client.world.ledger.answered();
        }
        outcome
    }

    fn learn<T>(&self, outcome: &Result<T, Error>) {
        let codes = [ErrorCode::RpcUnavailable, ErrorCode::Unavailable, ErrorCode::FailedPrecondition];
        if outcome.as_ref().is_err_and(|error| codes.contains(&error.code())) {
            self.failures.set(self.failures.get() + 1);
        }
    }

    /// Whether it is of no use to go on.
    pub(super) fn is_hopeless(&self) -> bool {
        self.failures.get() >= PATIENCE
    }

    /// Does something.
    pub(super) async fn step(&mut self) {
        match self.below(40) {
            0..=9 => self.call("add").await,
            10..=12 => self.call("wait").await,
            13..=14 => self.call("relay").await,
            15..=18 => self.op().await,
            19..=22 => self.put().await,
            23..=26 => self.fetch().await,
            27..=28 => self.delete().await,
            29..=30 => {
                if let Some(chain) = self.some(&self.calls) {
                    self.context.cancel(chain);
                }
            }
            31 => self.churn().await,
            32..=33 => self.reduce().await,
            34 => drop(self.known.pop()),
            35..=36 => {
                if let Some(chain) = self.some(&self.calls) {
                    let outcome = chain.done().await;
                    self.learn(&outcome);
                }
            }
            _ => sleep(self.client.chance.between(Duration::ZERO, Duration::from_millis(300))).await,
        }
        if self.known.len() > KEPT {
            self.known.remove(0);
        }
        if self.calls.len() > KEPT {
            self.calls.remove(0);
        }
        if self.chains.len() > KEPT {
            self.chains.remove(0);
        }
    }

    async fn program(&mut self, worker: usize, name: &'static str) -> Option<ProgramHandle> {
        if let Some(program) = self.programs.get(&(worker, name)) {
            return Some(program.clone());
        }
        let task = self.client.world.cluster.name(worker).to_string();
        let register = RegisterFunction::native(name).deadline(LIMIT);
        let registered = if self.below(2) == 0 {
            self.timed("a registration", self.context.register(&task, register)).await
        } else {
            // Calls follow without waiting; it settles by itself.
            let begun = self.timed("a registration", self.context.begin_register(&task, register)).await;
            begun.map(|registering| registering.program)
        };
        let program = registered.ok()?;
        self.programs.insert((worker, name), program.clone());
        Some(program)
    }

    /// Some objects, and the sum of their values.
    fn inputs(&self, most: u64) -> (Vec<ObjectRef>, i64) {
        let inputs: Vec<_> = (0..self.below(most + 1)).filter_map(|_| self.some(&self.known)).collect();
        let sum = inputs.iter().fold(0, |sum: i64, known| sum.wrapping_add(known.value));
        (inputs.into_iter().map(|known| known.object.clone()).collect(), sum)
    }

    /// Notes what a call has promised, and what its output must be.
    fn note(
        &mut self,
        made: Result<Execution, Error>,
        number: u64,
        what: &'static str,
        due: Instant,
        of: (usize, i64),
    ) {
        let (world, client) = (&self.client.world, self.client);
        self.learn(&made);
        world.ledger.call();
        let Ok(call) = made else { return };
        client.watch.call(world, Promised::of(client.i, number, what, &call, due));
        let (worker, value) = of;
        if let Some(object) = call.outputs.first().cloned() {
            let made = Some((number, call.chain.clone()));
            self.known.push(Known { object, value, worker, run: world.cluster.run(worker), made });
        }
        if let Some(chain) = call.remote_chain {
            self.chains.push((worker, chain));
        }
        self.calls.push(call.chain);
    }

    async fn call(&mut self, name: &'static str) {
        let worker = self.worker();
        let Some(program) = self.program(worker, name).await else { return };
        let number = self.client.world.ledger.number();
        let (inputs, sum) = self.inputs(2);
        let mut value = sum.wrapping_add(number as i64);
        let limit = Duration::from_millis(50 + self.below(3_000));
        let mut call = RemoteExecute::new(&program).inputs(&inputs).deadline(limit).baggage(NUMBER, number.to_string());
        match name {
            "wait" => call = call.baggage(WAIT, self.below(2_000).to_string()),
            "relay" => {
                let inner = self.client.world.ledger.number();
                let with = self.client.world.cluster.name(self.worker());
                call = call.baggage(INNER, inner.to_string()).baggage(WITH, with.to_string());
                value = value.wrapping_add(inner as i64);
            }
            _ => {}
        }
        if self.below(4) > 0 {
            call = call.handles(1);
        }
        if let Some(before) = self.some(&self.calls).filter(|_| self.below(8) == 0) {
            call = call.after(before);
        }
        if self.below(4) == 0 {
            call = call.out_chain();
        }
        if let Some((on, chain)) = self.some(&self.chains)
            && *on == worker
        {
            call = call.in_chain(chain);
        }
        let due = Instant::now() + limit;
        let made = self.context.execute(call).await;
        self.note(made, number, name, due, (worker, value));
    }

    async fn op(&mut self) {
        let worker = self.worker();
        let Ok(device) = self.context.device_of(&self.client.world.cluster.name(worker).to_string()) else { return };
        let Ok(handler) = self.context.op_handler(&device) else { return };
        let number = self.client.world.ledger.number();
        let (inputs, sum) = self.inputs(1);
        let limit = Duration::from_millis(50 + self.below(3_000));
        let op = RemoteExecuteOp::new("note").inputs(&inputs).attr(NUMBER, number as i64).deadline(limit);
        let due = Instant::now() + limit;
        let made = handler.execute(op).await;
        self.note(made, number, "note", due, (worker, sum.wrapping_add(number as i64)));
    }

    /// All workers together.
    async fn reduce(&mut self) {
        self.collectives += 1;
        let (name, limit) = (format!("c{}", self.collectives), Duration::from_millis(500 + self.below(2_000)));
        let mut calls = Vec::new();
        for worker in 0..WORKERS {
            let Some(program) = self.program(worker, "reduce").await else { return };
            let number = self.client.world.ledger.number();
            let call = RemoteExecute::new(&program).handles(1).deadline(limit).baggage(NUMBER, number.to_string());
            calls.push((worker, number, call.baggage(WITH, &*name)));
        }
        let sum = calls.iter().map(|(_, number, _)| *number as i64).sum();
        for (worker, number, call) in calls {
            let due = Instant::now() + limit;
            let made = self.context.execute(call).await;
            self.note(made, number, "reduce", due, (worker, sum));
        }
    }

    async fn put(&mut self) {
        let worker = self.worker();
        let Ok(device) = self.context.device_of(&self.client.world.cluster.name(worker).to_string()) else { return };
        let (value, run) = (self.client.world.ledger.number() as i64, self.client.world.cluster.run(worker));
        // Now and then one that travels in pieces.
        let elements = if self.below(10) == 0 { 50_000 } else { 4 };
        let Ok(tensor) = tensor(value, elements) else { return };
        let put = self.timed("a put", self.context.put(&device, tensor)).await;
        if let Ok(object) = put {
            self.known.push(Known { object, value, worker, run, made: None });
        }
    }

    async fn fetch(&mut self) {
        let Some(known) = self.some(&self.known).cloned() else { return };
        let was_done = known.made.as_ref().is_none_or(|(_, chain)| chain.try_get() == Some(Ok(())));
        if self.client.world.wrong_on_purpose == Wrong::Loses && was_done {
            let _ = self.context.delete(std::slice::from_ref(&known.object)).await;
        }
        self.look(&known, was_done).await;
    }

    /// Fetches an object and looks at what comes.
    async fn look(&self, known: &Known, was_done: bool) {
        let mut tensor = self.timed("a fetch", self.context.fetch_within(&known.object, LIMIT)).await;
        // When all links are whole again it must come, as soon as they are found to be.
        let until = Instant::now() + FOUND_AGAIN;
        while self.client.world.phase.get() != Phase::Work
            && Instant::now() < until
            && tensor.as_ref().is_err_and(|error| is_of_transport(error.code()))
        {
            sleep(Duration::from_millis(100)).await;
            tensor = self.timed("a fetch", self.context.fetch_within(&known.object, LIMIT)).await;
        }
        fetched(&self.client.world, self.client.i, known, was_done, tensor);
    }

    async fn delete(&mut self) {
        if self.known.is_empty() {
            return;
        }
        let known = self.known.remove(self.below(self.known.len() as u64) as usize);
        let deleted = self.known.extract_if(.., |other| other.object.id() == known.object.id());
        drop(deleted);
        let _ = self.timed("a delete", self.context.delete(&[known.object])).await;
    }

    /// A program is forgotten, and registered again when it is wanted.
    async fn churn(&mut self) {
        let Some((_, program)) = self.programs.pop_first() else { return };
        let _ = self.timed("an unregistration", self.context.unregister(&program)).await;
    }

    /// Looks at everything once more, and lets everything go.
    pub(super) async fn let_go(mut self) {
        for chain in &self.calls {
            let _ = chain.done().await;
        }
        for known in std::mem::take(&mut self.known) {
            if self.client.world.wrong_on_purpose == Wrong::Leaks {
                known.object.keep();
            }
            let was_done = known.made.as_ref().is_none_or(|(_, chain)| chain.try_get() == Some(Ok(())));
            if was_done && self.below(2) == 0 {
                self.look(&known, was_done).await;
            }
        }
    }
}
