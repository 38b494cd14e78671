//! Actors of one's own at both ends: one that is a program on the worker, one that watches what the client sends.
//!
//! ```text
//! $ cargo run --example custom_actor
//! totals: 1, 3, 6
//! seen: 1 link up, 3 RemoteExecute sent, 3 done, 0 failed
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use actix::prelude::*;
use remex::{Observed, What, prelude::*};

const WORKER: &str = "/job:worker/task:0";

/// Keeps a running total: a program that has state needs no lock when it is an actor.
#[derive(Default)]
struct Total(i64);

impl Actor for Total {
    type Context = Context<Self>;
}

/// One call of the program. The answer has as many tensors as the call names outputs.
impl Handler<Invoke> for Total {
    type Result = Result<Vec<Tensor>, ProgramError>;

    fn handle(&mut self, call: Invoke, _: &mut Context<Self>) -> Self::Result {
        let [input] = &call.inputs[..] else {
            let message = format!("{} takes one input, {} were given", call.program, call.inputs.len());
            return Err(ProgramError::invalid(message));
        };
        // Not i64, or too large: the caller's chain and handles fail with these words.
        let sum = input.elements::<i64>()?.iter().try_fold(self.0, |sum, x| sum.checked_add(*x));
        self.0 = sum.ok_or_else(|| ProgramError::new(ErrorCode::OutOfRange, "the total does not fit into an i64"))?;
        Ok(vec![Tensor::scalar(self.0)?])
    }
}

/// Counts what its server sends and hears.
#[derive(Clone, Debug, Default)]
struct Watcher {
    links: usize,
    sent: usize,
    done: usize,
    failed: usize,
}

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<Observed> for Watcher {
    type Result = ();

    fn handle(&mut self, Observed(events): Observed, _: &mut Context<Self>) {
        for event in events {
            match event.what {
                // There is a second link, to the client's own task: calls to oneself take the same way.
                What::LinkUp if event.task.starts_with(WORKER) => self.links += 1,
                What::Sent if event.name == "RemoteExecute" => self.sent += 1,
                What::Done if event.name == "RemoteExecute" => self.done += 1,
                What::Failed(error) => {
                    eprintln!("{} on {}: {error}", event.name, event.task);
                    self.failed += 1;
                }
                _ => {}
            }
        }
    }
}

/// What has been seen so far?
#[derive(Message)]
#[rtype(result = "String")]
struct Report;

impl Handler<Report> for Watcher {
    type Result = String;

    fn handle(&mut self, _: Report, _: &mut Context<Self>) -> String {
        let Self { links, sent, done, failed } = self;
        format!("{links} link up, {sent} RemoteExecute sent, {done} done, {failed} failed")
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let total = Total::default().start();
    let worker = Server::builder()
        .task(WORKER)
        .listen("tcp://127.0.0.1:0")
        .program("total", native_actor(total.recipient()).outputs(1))
        .start()
        .await?;

    let watcher = Watcher::default().start();
    let client = Server::builder().observer(watcher.clone().recipient()).start().await?;
    let address = worker.address().cloned().ok_or("the worker does not listen")?;
    let cluster = ClusterConfig::new().with(worker.task().clone(), address)?;
    let context = client.create_context(ContextConfig::new(cluster)).await?;
    let total = context.register(WORKER, RegisterFunction::native("total")).await?;

    // All three are on their way before the first has run; the link keeps their order, and so does the actor's mailbox.
    let device = context.device_of(WORKER)?;
    let mut totals = Vec::new();
    for x in [1i64, 2, 3] {
        let x = context.put(&device, Tensor::scalar(x)?).await?;
        totals.push(context.execute(RemoteExecute::new(&total).input(x).handles(1)).await?);
    }
    let mut shown = Vec::new();
    for call in totals {
        shown.push(call.handles[0].fetch().await?.elements::<i64>()?[0].to_string());
    }
    println!("totals: {}", shown.join(", "));
    println!("seen: {}", watcher.send(Report).await?);

    client.stop().await?;
    Ok(worker.stop().await?)
}
