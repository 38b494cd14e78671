//! Objects that go to disk and come back: step by step, so that everything can happen in between.

use std::sync::Arc;

use remex_protocol::{
    ErrorCode,
    calls::{DeleteMode, Origin},
    tensor::{BufferPool, DType, TensorMetadata},
};

use super::super::{
    Binding, MemoryBudget, MemoryFreed, MemoryLimits, SpillOut, Step, WhenFull,
    disk::Disk,
    rig::{Rig, failure, id, vector},
};
use crate::{
    executor::Pool,
    limits::ObjectLimits,
    programs::{Executable, native},
    testing::{MemorySpill, Probe},
};

/// What a `vector` takes.
const ONE: u64 = 8;

struct Spilling {
    rig: Rig,
    disk: Arc<MemorySpill>,
    chosen: Probe<SpillOut>,
    freed: Probe<MemoryFreed>,
}

impl Spilling {
    fn new(vectors: u64, when_full: WhenFull, limit: u64) -> Self {
        let disk = MemorySpill::new();
        let limits = MemoryLimits { bytes: vectors * ONE, when_full, ..MemoryLimits::default() };
        let budget = Disk::new(disk.clone(), limit, BufferPool::default(), Pool::Arbiter);
        let rig = Rig::on(MemoryBudget::with_disk(limits, Some(budget)), ObjectLimits::default());
        let ((chosen, spill), (freed, free)) = (Probe::start(), Probe::start());
        rig.store.account.attach(free, spill);
        Self { rig, disk, chosen, freed }
    }

    /// What the store was told reaches it, until nothing is left to tell. Writes and reads are not done.
    async fn settle(&mut self) -> &mut Rig {
        for _ in 0..20 {
            // The probes are actors.
            tokio::task::yield_now().await;
            while let Some(SpillOut(victims)) = self.chosen.try_next() {
                self.rig.store.spill_out(victims);
            }
            while self.freed.try_next().is_some() {
                self.rig.store.freed();
            }
            self.rig.collect();
        }
        &mut self.rig
    }

    /// The same, with all writes and reads.
    async fn run(&mut self) -> &mut Rig {
        for _ in 0..20 {
            self.settle().await.write().read();
        }
        self.settle().await
    }
}

/// A program with one output of so many elements, whatever it is given.
fn gives(elements: u64) -> Arc<Executable> {
    let metadata = TensorMetadata::new(DType::F32, [elements]);
    Arc::new(native(|_| Ok(Vec::new())).infer_by(move |_| Ok(vec![Some(metadata.clone())])))
}

fn call(rig: &mut Rig, program: Arc<Executable>, call: u32, inputs: &[u64], output: u64) {
    let inputs: Vec<_> = inputs.iter().map(|input| (*input, Origin::Here)).collect();
    let run = rig.run_of(Binding::Ready(program), call, &inputs, &[output]);
    rig.step(Step::Run(Box::new(run)));
}

/// I8: more objects than memory has room for are all there, and memory never has more than its budget.
#[actix::test]
async fn more_is_kept_than_memory_has_room_for() {
    let mut spilling = Spilling::new(2, WhenFull::Wait, u64::MAX);
    for n in 10..20 {
        spilling.rig.put(n as u32, n);
        spilling.run().await;
        assert!(spilling.rig.is_done(n as u32), "{n}");
    }
    assert_eq!((spilling.disk.len(), spilling.rig.used(), spilling.rig.stats().objects), (8, 2 * ONE, 10));
    for n in (10..20).rev() {
        spilling.rig.fetch(n as u32 + 20, n, Origin::Here);
        spilling.run().await;
        assert_eq!(spilling.rig.data(n as u32 + 20), vector(n).bytes(), "{n}");
        spilling.rig.answers.retain(|(_, frame)| frame.payload.is_empty());
    }
    let usage = spilling.rig.memory.usage();
    assert_eq!((usage.used, usage.peak, usage.spilled), (2 * ONE, 2 * ONE, 8));
    assert!(usage.spill_reads >= 8 && usage.spill_writes >= 8 && usage.spill_errors == 0, "{usage:?}");
    spilling.rig.delete(99, &(10..20).collect::<Vec<_>>(), DeleteMode::Delete);
    assert_eq!((spilling.disk.len(), spilling.rig.used()), (0, 0), "files go with their objects");
}

/// I8: an object that is deleted while it is written frees its memory at once, and its file goes.
#[actix::test]
async fn an_object_is_deleted_while_it_is_written() {
    let mut spilling = Spilling::new(1, WhenFull::Wait, u64::MAX);
    spilling.rig.put(1, 10).put(2, 11);
    assert_eq!(spilling.settle().await.writes.len(), 1);
    spilling.rig.delete(3, &[10], DeleteMode::Delete);
    assert!(spilling.settle().await.is_done(2));
    spilling.rig.write();
    assert_eq!((spilling.disk.tried(), spilling.disk.len(), spilling.rig.memory.usage().spilled_bytes), (1, 0, 0));
    // The id may be another object's by then.
    spilling.rig.put(4, 12);
    assert_eq!(spilling.settle().await.writes.len(), 1);
    spilling.rig.delete(5, &[11], DeleteMode::Delete).put(6, 11);
    assert!(spilling.settle().await.is_done(4));
    spilling.rig.write();
    assert!(spilling.run().await.is_done(6));
    spilling.rig.fetch(7, 11, Origin::Here);
    assert_eq!((spilling.rig.data(7), spilling.disk.len()), (vector(11).bytes().clone(), 1));
}

/// I8: an object that is used while it is written stays in memory, and its file goes.
#[actix::test]
async fn an_object_is_used_while_it_is_written() {
    let mut spilling = Spilling::new(1, WhenFull::Wait, u64::MAX);
    spilling.rig.put(1, 10).put(2, 11);
    assert_eq!(spilling.settle().await.writes.len(), 1);
    spilling.rig.run(3, &[(10, Origin::Here)], &[20]);
    assert_eq!(spilling.rig.task(3).inputs, [vector(10)]);
    spilling.rig.write();
    assert_eq!((spilling.disk.tried(), spilling.disk.len(), spilling.rig.used()), (1, 0, ONE));
    assert!(spilling.run().await.is_open(2), "a program that runs holds it");
    spilling.rig.tasks.clear();
    spilling.rig.store.look_again();
    assert!(spilling.run().await.is_done(2));
    assert_eq!((spilling.disk.len(), spilling.rig.used()), (1, ONE));
}

/// I8: an answer that has not gone out yet holds the bytes: to write them would free nothing.
#[actix::test]
async fn an_answer_on_its_way_keeps_its_object_in_memory() {
    let mut spilling = Spilling::new(1, WhenFull::Wait, u64::MAX);
    spilling.rig.put(1, 10).fetch(2, 10, Origin::Here).put(3, 11);
    assert!(spilling.run().await.is_open(3));
    assert_eq!(spilling.disk.tried(), 0);
    spilling.rig.answers.clear();
    spilling.rig.memory.tick();
    assert!(spilling.run().await.is_done(3));
}

/// I8: a file that was damaged, cut or lost fails its object, with its name and the file's, and no other.
#[actix::test]
async fn a_file_that_is_lost_fails_its_object_alone() {
    fn flip(at: usize) -> impl Fn(&mut Vec<u8>) {
        move |bytes: &mut Vec<u8>| bytes[at] ^= 1
    }
    type Damage = Box<dyn Fn(&mut Vec<u8>)>;
    let damages: [Damage; 6] = [
        Box::new(flip(0)),
        Box::new(flip(10)),
        Box::new(flip(24)),
        Box::new(flip(70)),
        Box::new(|bytes| bytes.truncate(bytes.len() - 1)),
        Box::new(Vec::clear),
    ];
    for (i, damage) in damages.iter().enumerate() {
        let mut spilling = Spilling::new(1, WhenFull::Wait, u64::MAX);
        spilling.rig.put(1, 10).put(2, 11).put(3, 12);
        spilling.run().await;
        let mut first = true;
        spilling.disk.damage(|_, bytes| {
            if std::mem::take(&mut first) {
                damage(bytes);
            }
        });
        spilling.rig.fetch(4, 10, Origin::Here).fetch(5, 10, Origin::Here).fetch(6, 11, Origin::Here);
        spilling.run().await;
        for call in [4, 5] {
            let error = spilling.rig.error(call);
            let names = error.message.contains(&id(10).to_string()) && error.message.contains("memory/");
            assert!(error.code == ErrorCode::DataLoss && names, "damage {i}: {error}");
            assert_eq!(error.task.as_deref(), Some("/job:t/task:0"));
        }
        assert_eq!(spilling.rig.data(6), vector(11).bytes(), "damage {i}");
        spilling.rig.fetch(7, 10, Origin::Here);
        assert_eq!(spilling.rig.error(7).code, ErrorCode::DataLoss, "it stays lost");
        assert_eq!(spilling.rig.memory.usage().spill_errors, 1);
    }
}

/// I8: a read that fails for another reason fails those who wanted it; the object is there for the next.
#[actix::test]
async fn a_read_that_fails_may_be_tried_again() {
    let mut spilling = Spilling::new(1, WhenFull::Wait, u64::MAX);
    spilling.rig.put(1, 10).put(2, 11);
    spilling.run().await;
    spilling.disk.set_busy(true);
    spilling.rig.fetch(3, 10, Origin::Here);
    let error = spilling.run().await.error(3);
    assert!(error.code == ErrorCode::Unavailable && error.message.contains("too many open files"), "{error}");
    spilling.disk.set_busy(false);
    spilling.rig.fetch(4, 10, Origin::Here);
    assert_eq!(spilling.run().await.data(4), vector(10).bytes());
}

/// I8: a full disk loses nothing: who needs memory waits as without a disk, which is left alone for a while.
#[actix::test]
async fn a_full_disk_makes_calls_wait() {
    let mut spilling = Spilling::new(2, WhenFull::Wait, u64::MAX);
    spilling.disk.set_full(true);
    spilling.rig.put(1, 10).put(2, 11).put(3, 12).put(4, 13);
    assert!(spilling.run().await.is_open(3));
    let tried = spilling.disk.tried();
    assert_eq!(spilling.rig.memory.usage().spill_errors, tried as u64);
    for _ in 0..9 {
        spilling.rig.memory.tick();
        spilling.run().await;
    }
    assert_eq!(spilling.disk.tried(), tried, "it is not tried all the time");
    spilling.rig.fetch(5, 10, Origin::Here);
    assert_eq!(spilling.rig.data(5), vector(10).bytes(), "nothing is lost");
    spilling.rig.answers.retain(|(_, frame)| frame.payload.is_empty());
    spilling.disk.set_full(false);
    for _ in 0..20 {
        spilling.rig.memory.tick();
        spilling.run().await;
    }
    assert!(spilling.rig.is_done(3) && spilling.rig.is_done(4));
}

/// I8: where nobody waits, a call waits for the disk, and fails with what is wrong with it.
#[actix::test]
async fn a_full_disk_is_the_reason_of_a_refusal() {
    let mut spilling = Spilling::new(1, WhenFull::Fail, u64::MAX);
    spilling.rig.put(1, 10).put(2, 11);
    assert!(spilling.run().await.is_done(2), "it waits for the disk");
    spilling.disk.set_full(true);
    spilling.rig.put(3, 12);
    call(&mut spilling.rig, gives(2), 4, &[], 20);
    spilling.run().await;
    for call in [3, 4] {
        let error = spilling.rig.error(call);
        let says = error.message.contains("nothing can be spilled to memory: no space left on the device");
        assert!(error.code == ErrorCode::ResourceExhausted && says, "{error}");
    }
    spilling.rig.put(5, 13);
    assert_eq!(spilling.rig.error(5).code, ErrorCode::ResourceExhausted, "at once");
    assert_eq!(spilling.rig.memory.usage().waiting, 0);
    spilling.rig.fetch(6, 10, Origin::Here);
    assert_eq!(spilling.run().await.error(6).code, ErrorCode::ResourceExhausted, "there is no room to read it into");
    spilling.rig.delete(7, &[11], DeleteMode::Delete).fetch(8, 10, Origin::Here);
    assert_eq!(spilling.run().await.data(8), vector(10).bytes());
}

/// I8: no more goes to disk than it may have.
#[actix::test]
async fn spilled_bytes_are_bounded() {
    let mut spilling = Spilling::new(1, WhenFull::Fail, 2 * ONE);
    for n in 10..14 {
        spilling.rig.put(n as u32, n);
    }
    spilling.run().await;
    spilling.rig.put(14, 14);
    assert_eq!((10..15).filter(|n| spilling.rig.is_done(*n)).collect::<Vec<_>>(), [10, 11, 12]);
    let error = spilling.rig.error(14);
    assert!(error.message.contains("16 bytes of at most 16 are spilled to memory"), "{error}");
    spilling.rig.delete(3, &[10], DeleteMode::Delete).put(20, 20);
    assert!(spilling.run().await.is_done(20));
    assert_eq!(spilling.rig.memory.usage().spilled_bytes, 2 * ONE);
}

/// I8: a call gets room for all that it needs of the disk in one step, and calls that wait hold up nobody.
#[actix::test]
async fn calls_that_wait_do_not_hold_their_inputs() {
    let mut spilling = Spilling::new(3, WhenFull::Wait, u64::MAX);
    for n in 10..16 {
        spilling.rig.put(n as u32, n);
        spilling.run().await;
    }
    // Each has one input in memory and one on disk, and makes something: there is room for one of them at a time.
    for (n, inputs) in [(1, [13, 10]), (2, [14, 11]), (3, [15, 12])] {
        call(&mut spilling.rig, gives(2), n, &inputs, 20 + u64::from(n));
    }
    for n in 1..4 {
        spilling.run().await;
        assert_eq!(spilling.rig.tasks.len(), 1, "call {n}");
        assert!(spilling.rig.memory.usage().peak <= 3 * ONE);
        let task = &spilling.rig.tasks[0];
        let expected = [vector(12 + u64::from(n)), vector(9 + u64::from(n))];
        assert_eq!(task.inputs, expected);
        spilling.rig.finish(n, Ok(vec![vector(30)]));
        spilling.rig.tasks.clear();
        spilling.rig.store.look_again();
    }
    assert!((1..4).all(|n| spilling.rig.is_done(n)));
    call(&mut spilling.rig, gives(2), 4, &[10, 11, 12], 30);
    let error = spilling.run().await.error(4);
    assert!(error.code == ErrorCode::ResourceExhausted, "what can never fit fails: {error}");
}

/// I8: what a call waits for is there for it, though its owner has let go of it; then it is gone, with its file.
#[actix::test]
async fn an_object_that_was_given_up_stays_for_calls_that_wait() {
    for mode in [DeleteMode::Release, DeleteMode::Delete] {
        let mut spilling = Spilling::new(1, WhenFull::Wait, u64::MAX);
        spilling.rig.put(1, 10).put(2, 11);
        spilling.run().await;
        spilling.rig.run(3, &[(10, Origin::Here)], &[20]).run(4, &[(10, Origin::Here)], &[21]);
        spilling.rig.delete(5, &[10], mode).fetch(6, 10, Origin::Here);
        assert_eq!(spilling.rig.error(6).code, ErrorCode::NotFound, "it is hidden");
        spilling.run().await;
        assert_eq!(spilling.rig.task(3).inputs, [vector(10)]);
        spilling.rig.tasks.retain(|task| &*task.name == "p4");
        spilling.run().await;
        assert_eq!(spilling.rig.task(4).inputs, [vector(10)]);
        spilling.rig.tasks.clear();
        spilling.rig.delete(7, &[11], DeleteMode::Delete);
        assert_eq!((spilling.disk.len(), spilling.rig.used()), (0, 0));
        assert_eq!((spilling.rig.stats().objects, spilling.rig.stats().tombstones), (2, 0), "outputs that are pending");
    }
}

/// I8: with the last call that waited for it an object goes that was given up, wherever it is.
#[actix::test]
async fn an_object_that_was_given_up_goes_with_the_last_call_that_waited() {
    let mut spilling = Spilling::new(1, WhenFull::Wait, u64::MAX);
    spilling.rig.put(1, 10).put(2, 11);
    spilling.run().await;
    spilling.rig.run(9, &[(11, Origin::Here)], &[29]);
    spilling.rig.run(3, &[(10, Origin::Here)], &[20]).run(4, &[(10, Origin::Here)], &[21]);
    spilling.rig.delete(5, &[10], DeleteMode::Release);
    assert_eq!((spilling.run().await.tasks.len(), spilling.disk.len()), (1, 1));
    spilling.rig.step(Step::Cancel { call: Rig::call(3) });
    assert_eq!(spilling.disk.len(), 1);
    spilling.rig.step(Step::Cancel { call: Rig::call(4) });
    assert_eq!((spilling.disk.len(), spilling.rig.memory.usage().waiting), (0, 0));
}

/// I1, I8: a call that ends while its input is read leaves the object where it is wanted: in memory, whole.
#[actix::test]
async fn a_call_ends_while_its_input_is_read() {
    let mut spilling = Spilling::new(1, WhenFull::Wait, u64::MAX);
    spilling.rig.put(1, 10).put(2, 11);
    spilling.run().await;
    spilling.rig.fetch(3, 10, Origin::Here);
    spilling.settle().await.write();
    assert_eq!(spilling.settle().await.reads.len(), 1);
    assert_eq!(spilling.rig.metadata(3).len(), 1, "what it will be is known");
    spilling.rig.step(Step::Cancel { call: Rig::call(3) });
    assert_eq!((spilling.rig.error(3).code, spilling.rig.used()), (ErrorCode::Cancelled, ONE), "the read has its room");
    spilling.rig.read().fetch(4, 10, Origin::Here);
    assert_eq!(spilling.rig.data(4), vector(10).bytes());
    spilling.rig.store.close(failure("closed"));
    assert_eq!((spilling.disk.len(), spilling.rig.used()), (0, 0));
}
