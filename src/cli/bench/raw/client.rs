//! The side that calls.

use remex::{
    actors::fabric::Connection,
    protocol::{
        Body, Frame, Reply, Rpc,
        calls::{FetchObjectRequest, InputRef, Origin, OutputRef, RemoteExecuteRequest},
        ids::{CallId, ContextIndex, ProgramIndex},
    },
};
use tokio::time::Instant;

use super::{Failure, exchange, fabric, object};
use crate::cli::bench::{Args, Process, Report, Workload, meter::Meter, w1, w2, w3, w4};

/// Measures a workload as the bench with actors does.
pub(in crate::cli::bench) async fn measure(args: &Args, worker: &Process) -> Result<Report, Failure> {
    let mut caller = Caller::connect(worker).await?;
    match args.workload {
        Workload::W1 => {
            caller.pump(w1::WARM_UP, 1, false).await?;
            let mut latencies = Vec::with_capacity(args.calls());
            let meter = Meter::start(worker);
            for _ in 0..args.calls() {
                let began = Instant::now();
                caller.pump(1, 1, false).await?;
                latencies.push(began.elapsed());
            }
            Ok(w1::report(latencies, &meter))
        }
        Workload::W2 => {
            caller.pump(w2::WARM_UP, args.window.get(), false).await?;
            let meter = Meter::start(worker);
            caller.pump(args.calls(), args.window.get(), false).await?;
            Ok(w2::report(args.calls(), &meter))
        }
        Workload::W3 => {
            caller.pump(20, 1, false).await?;
            let mut times = Vec::new();
            let meter = Meter::start(worker);
            for _ in 0..args.reps.get() {
                let began = Instant::now();
                caller.pump(args.calls(), args.calls(), true).await?;
                times.push(began.elapsed());
            }
            Ok(w3::report(args, times, &meter))
        }
        // The others are not measured with a worker.
        _ => {
            let mut times = Vec::new();
            for rep in 0..=args.reps.get() {
                let began = Instant::now();
                caller.fetch(args.size.get()).await?;
                if rep > 0 {
                    times.push(began.elapsed());
                }
            }
            Ok(w4::report(args, times))
        }
    }
}

struct Caller {
    connection: Connection,
    frames: Vec<Frame>,
    /// Calls that were sent so far.
    sent: u64,
}

impl Caller {
    async fn connect(worker: &Process) -> Result<Self, Failure> {
        let mut connection = fabric(&worker.address).dial(&worker.address).await?;
        connection.reader.open();
        Ok(Self { connection, frames: Vec::new(), sent: 0 })
    }

    /// Makes so many small calls with up to `window` of them in flight; `chained`: each with the last one's output.
    async fn pump(&mut self, calls: usize, window: usize, chained: bool) -> Result<(), Failure> {
        let (mut sent, mut done) = (0, 0);
        while done < calls {
            while sent < calls && sent - done < window {
                let first = if chained && sent > 0 { output(self.sent) } else { 1 };
                self.push(execute(first, output(self.sent + 1)))?;
                sent += 1;
            }
            exchange(&mut self.connection, &mut self.frames).await?;
            for frame in self.frames.drain(..) {
                match frame.body {
                    Body::Completed(Reply::RemoteExecute(reply)) if matches!(&reply.metadata[..], [Some(m)] if m.shape.dims() == [1024, 1024]) =>
                    {
                        done += 1;
                    }
                    other => return Err(unexpected(&other)),
                }
            }
        }
        Ok(())
    }

    async fn fetch(&mut self, size: usize) -> Result<(), Failure> {
        self.push(FetchObjectRequest {
            context: ContextIndex(0),
            object: object(1),
            origin: Origin::Here,
            time_left_ms: 60_000,
        })?;
        loop {
            exchange(&mut self.connection, &mut self.frames).await?;
            for frame in self.frames.drain(..) {
                match &frame.body {
                    // The reply comes when its last piece has come.
                    Body::ReplyAnnounced => {}
                    Body::Completed(Reply::FetchObject(_)) if frame.payload.len() == size as u64 => return Ok(()),
                    other => return Err(unexpected(other)),
                }
            }
        }
    }

    fn push(&mut self, request: impl Rpc) -> Result<(), Failure> {
        self.sent += 1;
        // Slots are used again by turns, as a table of calls would.
        let slot = CallId::new((self.sent % 4096) as u32, (self.sent / 4096) as u32);
        let mut frame = Frame::new(slot, Body::Call(request.into_call()));
        (frame.number, frame.ack) = (self.sent, self.sent - 1);
        Ok(self.connection.writer.push(frame)?)
    }
}

/// The object that call number `call` makes; the first two are the inputs.
fn output(call: u64) -> u64 {
    call + 2
}

fn execute(first: u64, output: u64) -> RemoteExecuteRequest {
    let input = |local| InputRef { object: object(local), origin: Origin::Here };
    RemoteExecuteRequest {
        context: ContextIndex(0),
        program: ProgramIndex(0),
        inputs: [input(first), input(2)].into_iter().collect(),
        outputs: [OutputRef { object: object(output), need_metadata: true }].into_iter().collect(),
        in_chains: Default::default(),
        out_chain: None,
        time_left_ms: 60_000,
        baggage: Vec::new(),
        readers: Vec::new(),
        released: Vec::new(),
    }
}

fn unexpected(what: &impl std::fmt::Debug) -> Failure {
    Failure::failed(format!("the worker answered {what:?}"))
}
