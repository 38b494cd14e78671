//! Where calls go and with what: one context on one task, with any number of programs, objects and devices.

use std::{collections::VecDeque, time::Duration};

use remex::{
    ClusterConfig, ContextConfig, ContextHandle, DType, Execution, ObjectRef, ProgramHandle, RegisterFunction,
    RemoteExecute, Server, ServerHandle, Tensor, TensorMetadata,
};

use super::{Args, Failure, client::metadata, process::Process, worker::Shape};

/// Most calls at one time that make objects.
const MAKERS: usize = 4096;

/// The worker's memory budget. Outputs share the data of an input, so that they take none, and each of them is counted whole.
const MEMORY: u64 = 1 << 50;

/// A worker of some shape, and all of its tasks in each of some contexts.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) worker: Process,
    server: ServerHandle,
    contexts: Vec<ContextHandle>,
    pub(super) all: Vec<Target>,
}

/// A context on a task.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) context: ContextHandle,
    /// Their outputs go to the devices of the task by turns.
    programs: Vec<ProgramHandle>,
    /// What calls take as inputs.
    pub(super) objects: Vec<ObjectRef>,
}

impl Targets {
    /// Starts a worker, and reaches all of its tasks in so many contexts.
    pub(super) async fn connect(args: &Args, shape: Shape, contexts: usize) -> Result<Self, Failure> {
        let memory = Some(args.memory.unwrap_or(MEMORY));
        let worker = Process::start(&Args { shape, memory, ..args.clone() })?;
        let mut cluster = ClusterConfig::new();
        for (index, address) in worker.addresses.iter().enumerate() {
            let task = Shape::task(index).parse().map_err(Failure::failed)?;
            cluster.add(task, Some(address.clone())).map_err(Failure::failed)?;
        }
        let server = Server::builder().credits(shape.credits()).prefer_unix(false).start().await?;
        let mut connected = Self { worker, server, contexts: Vec::new(), all: Vec::new() };
        for _ in 0..contexts {
            let context = connected.server.create_context(ContextConfig::new(cluster.clone())).await?;
            for index in 0..shape.tasks {
                connected.all.push(Target::new(&context, index, shape.programs).await?);
            }
            connected.contexts.push(context);
        }
        Ok(connected)
    }

    /// Makes so many calls, by turns to all targets, with up to `window` of them in flight: waits for the oldest, then sends
    /// the next.
    pub(super) async fn pump(&self, calls: usize, window: usize) -> Result<(), Failure> {
        let mut in_flight = VecDeque::with_capacity(window);
        for number in 0..calls {
            if in_flight.len() == window
                && let Some(oldest) = in_flight.pop_front()
            {
                metadata(oldest).await?;
            }
            let target = &self.all[number % self.all.len()];
            in_flight.push_back(target.call(number / self.all.len()).await?);
        }
        for call in in_flight {
            metadata(call).await?;
        }
        Ok(())
    }

    /// Ends the contexts on both sides, and the client.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        for context in &self.contexts {
            context.close().await?;
        }
        self.server.stop().await?;
        self.worker.end().await;
        Ok(())
    }
}

impl Target {
    async fn new(context: &ContextHandle, task: usize, programs: usize) -> Result<Self, Failure> {
        let task = Shape::task(task);
        let mut registered = Vec::with_capacity(programs);
        let devices: Vec<_> = context.devices().iter().filter(|device| device.task().to_string() == task).collect();
        for (index, device) in (0..programs).zip(devices.iter().cycle()) {
            let function = RegisterFunction::native(Shape::program(index)).outputs_on([(*device).clone()]);
            registered.push(context.register(&task, function).await?);
        }
        // Ready and small: what a call costs does not depend on the bytes of its inputs, which stay where they are.
        let matrix = Tensor::zeros(TensorMetadata::new(DType::U8, [1024, 1024])).map_err(Failure::failed)?;
        let object = context.put(&context.device_of(&task)?, matrix).await?;
        let (context, objects) = (context.clone(), vec![object]);
        Ok(Self { context, programs: registered, objects })
    }

    /// Makes objects until there are so many.
    pub(super) async fn make_objects(&mut self, many: usize) -> Result<(), Failure> {
        let mut in_flight = VecDeque::with_capacity(MAKERS);
        self.objects.reserve_exact(many.saturating_sub(self.objects.len()));
        while self.objects.len() < many {
            if in_flight.len() == MAKERS
                && let Some(oldest) = in_flight.pop_front()
            {
                done(oldest).await?;
            }
            // Without handles: an object that has one is known to the client with all that its call promised.
            let first = &self.objects[0];
            let call = self.context.execute(RemoteExecute::new(&self.programs[0]).input(first).input(first)).await?;
            self.objects.extend(call.outputs.first().cloned());
            in_flight.push_back(call);
        }
        for call in in_flight {
            done(call).await?;
        }
        Ok(())
    }

    /// Sends a small call of the next program with two objects that are not beside each other.
    pub(super) async fn call(&self, number: usize) -> remex::Result<Execution> {
        let object = |at: usize| &self.objects[scattered(at as u64) as usize % self.objects.len()];
        let call = RemoteExecute::new(&self.programs[number % self.programs.len()]).handles(1);
        let call = call.input(object(2 * number)).input(object(2 * number + 1));
        self.context.execute(call).await
    }

    /// Sends a call of a program that never ends.
    pub(super) async fn call_stuck(&self, stuck: &ProgramHandle) -> remex::Result<Execution> {
        let object = &self.objects[0];
        let call = RemoteExecute::new(stuck).input(object).input(object).handles(1);
        self.context.execute(call.deadline(Duration::from_secs(3600))).await
    }
}

async fn done(call: Execution) -> Result<(), Failure> {
    Ok(call.chain.done().await?)
}

/// A number that is far from that of the next (splitmix64).
fn scattered(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)) >> 16
}
