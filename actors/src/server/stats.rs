//! The numbers of a server: what it holds, and how often it refused to hold more.

use actix::{Context, Handler, Message, ResponseFuture};

use super::Server;
use crate::{
    Result,
    collectives::{self, CollectiveStats},
    context,
    envelope::ask,
    objects,
    rendezvous::{self, RendezvousStats},
};

/// The numbers of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Contexts on this task.
    pub contexts: usize,
    /// Accepted connections.
    pub sessions: usize,
    /// Links that have a second connection for large payloads, to this task and from it.
    pub lanes: usize,
    /// Objects of all contexts, tombstones among them.
    pub objects: usize,
    /// Objects that were given up before they were ready.
    pub tombstones: usize,
    /// Objects that are pinned.
    pub pinned: usize,
    /// Tokens for handing objects over that can be used, or are remembered.
    pub tokens: usize,
    /// Calls of all contexts that wait or run.
    pub jobs: usize,
    /// Bytes of the objects, of outputs that are being made and of inputs that are being fetched.
    pub memory_used: u64,
    /// The most that they were.
    pub memory_peak: u64,
    /// The budget.
    pub memory_limit: u64,
    /// Calls that wait for memory.
    pub memory_waiting: usize,
    /// Objects that are in files, because memory had no room for them, or are being written.
    pub spilled: u64,
    /// Their bytes.
    pub spilled_bytes: u64,
    /// Objects that were written to files, since the start.
    pub spill_writes: u64,
    /// Objects that were read back.
    pub spill_reads: u64,
    /// Writes and reads that failed.
    pub spill_errors: u64,
    /// Programs of all contexts.
    pub programs: usize,
    /// Bytes of the programs.
    pub program_bytes: usize,
    /// Receives that wait, in all contexts.
    pub receives: usize,
    /// Values that were sent and nobody has claimed.
    pub values: usize,
    /// Bytes of these values.
    pub value_bytes: u64,
    /// Collectives that run, in all contexts.
    pub collectives: usize,
    /// Chunks that are kept for collectives that this task has not joined.
    pub chunks: usize,
    /// Bytes of these chunks.
    pub chunk_bytes: u64,
    /// Bytes that were sent to other tasks since the start, on all connections.
    pub sent_bytes: u64,
    /// Bytes that came from other tasks.
    pub received_bytes: u64,
    /// How often a task was asked for an object that a call here takes. Of contexts that are gone it is not counted any more.
    pub fetches: u64,
    /// Bytes of such objects that came. Of contexts that are gone they are not counted any more.
    pub fetched_bytes: u64,
    /// What was refused because of a limit, since the start. Of contexts that are gone it is not counted any more.
    pub refused: Refusals,
}

/// How often something was refused because of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusals {
    /// Contexts.
    pub contexts: u64,
    /// Connections.
    pub sessions: u64,
    /// Sessions that were ended because their peer sent more than is kept for it, or acknowledged too little.
    pub flooded: u64,
    /// Calls, and objects.
    pub objects: u64,
    /// Requests for memory.
    pub memory: u64,
    /// Registrations of programs.
    pub programs: u64,
    /// Sent values and receives.
    pub data: u64,
    /// Joins of collectives, and what came for those that are not joined.
    pub collectives: u64,
    /// Calls that were not read: over a limit of the wire, unknown, or malformed.
    pub calls: u64,
    /// Connections that ended because the other end broke the protocol, or went over a limit of a frame.
    pub links: u64,
    /// Connections that were refused in the handshake, or did not get through it in time.
    pub handshakes: u64,
}

/// Asks for the numbers.
#[derive(Debug, Message)]
#[rtype(result = "Result<ServerStats>")]
pub struct Inspect;

impl Handler<Inspect> for Server {
    type Result = ResponseFuture<Result<ServerStats>>;

    fn handle(&mut self, _: Inspect, _: &mut Context<Self>) -> Self::Result {
        let contexts = self.contexts.iter().map(|context| &context.parts);
        let ways: Vec<_> = contexts
            .map(|live| {
                let inspect = live.data.rendezvous.inspect.clone();
                let collectives = live.data.collectives.inspect.clone();
                (live.objects.inspect.clone(), live.addr.clone().recipient::<context::Inspect>(), inspect, collectives)
            })
            .collect();
        let memory = self.memory.usage();
        let mut stats = ServerStats {
            contexts: ways.len(),
            sessions: self.sessions.len(),
            memory_used: memory.used,
            memory_peak: memory.peak,
            memory_limit: memory.limit,
            memory_waiting: memory.waiting,
            lanes: self.who.traffic.lanes(),
            sent_bytes: self.who.traffic.sent(),
            received_bytes: self.who.traffic.received(),
            spilled: memory.spilled,
            spilled_bytes: memory.spilled_bytes,
            spill_writes: memory.spill_writes,
            spill_reads: memory.spill_reads,
            spill_errors: memory.spill_errors,
            ..ServerStats::default()
        };
        stats.refused.contexts = self.contexts.refused();
        let traffic = &self.who.traffic;
        (stats.refused.calls, stats.refused.links) = (traffic.unreadable(), traffic.broken());
        stats.refused.handshakes = traffic.refused();
        stats.refused.sessions = self.connections.refused();
        stats.refused.flooded = self.flooded;
        stats.refused.memory = memory.refused;
        Box::pin(async move {
            for (objects, context, data, collectives) in ways {
                // An actor that has died has no numbers; its context is about to be closed.
                let one = ask(&objects, objects::Inspect).await.unwrap_or_default();
                stats.objects += one.objects;
                stats.tombstones += one.tombstones;
                stats.pinned += one.pinned;
                stats.tokens += one.tokens;
                stats.jobs += one.jobs;
                stats.fetches += one.fetches;
                stats.fetched_bytes += one.fetched_bytes;
                stats.refused.objects += one.refused;
                let (programs, bytes, refused) = ask(&context, context::Inspect).await.unwrap_or_default();
                stats.programs += programs;
                stats.program_bytes += bytes;
                stats.refused.programs += refused;
                let one: CollectiveStats = ask(&collectives, collectives::Inspect).await.unwrap_or_default();
                stats.collectives += one.running;
                stats.chunks += one.chunks;
                stats.chunk_bytes += one.bytes;
                stats.refused.collectives += one.refused;
                if let Some(data) = data {
                    let one: RendezvousStats = ask(&data, rendezvous::Inspect).await.unwrap_or_default();
                    stats.receives += one.waiting;
                    stats.values += one.values;
                    stats.value_bytes += one.bytes;
                    stats.refused.data += one.refused;
                }
            }
            Ok(stats)
        })
    }
}
