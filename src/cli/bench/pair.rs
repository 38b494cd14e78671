//! Client and worker on one thread, connected by a socket: the same work in the same order every time, so that the
//! instructions of a call can be counted.

use remex::Server;

use super::{
    Args, Failure,
    client::{Client, metadata},
    process::Endpoint,
    report::Report,
    worker,
};

/// Sends as many calls as may be in flight, waits for all, and begins anew.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let endpoint = Endpoint::new(args, 0);
    let server = Server::builder().task(worker::TASK).listen(&endpoint.listen).seed(1);
    let server = server.program(worker::SMALL, worker::small()).program(worker::BULK, worker::small()).start().await?;
    let address = server.address().cloned().ok_or_else(|| Failure::failed("the worker does not listen"))?;
    let client = Client::connect_as(Server::builder().seed(2), address).await?;
    let mut calls = Vec::with_capacity(args.window.get());
    for _ in 0..args.calls().div_ceil(args.window.get()) {
        for _ in 0..args.window.get() {
            calls.push(client.call().await?);
        }
        for call in calls.drain(..) {
            metadata(call).await?;
        }
    }
    client.stop().await?;
    server.stop().await?;
    Report::new(args.calls() as f64, "calls").print(args)
}
