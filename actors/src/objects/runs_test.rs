//! Runs in the store: what is inferred, what is checked, what follows from a failure.

use std::sync::Arc;

use remex_protocol::{
    Body, ErrorCode,
    calls::Origin,
    signature::Signature,
    tensor::{DType, Tensor, TensorMetadata},
};

use super::{
    Binding, Run, Step,
    rig::{Rig, failure, id, vector},
};
use crate::{
    programs::{Early, Executable, ProgramError, native},
    session::SessionId,
};

/// A program from a vector to a vector of the same length.
fn same_length() -> Arc<Executable> {
    let signature = Signature::symbolic("x: f32[n] -> y: f32[n]").unwrap();
    Arc::new(native(|_| Ok(Vec::new())).signature(signature))
}

fn two() -> TensorMetadata {
    TensorMetadata::new(DType::F32, [2])
}

fn run(rig: &mut Rig, program: Binding, call: u32, input: u64, output: u64) {
    let run = rig.run_of(program, call, &[(input, Origin::Here)], &[output]);
    rig.step(Step::Run(Box::new(run)));
}

/// I2: metadata is known along a whole pipeline before anything has run.
#[test]
fn metadata_is_inferred_along_a_pipeline() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10]);
    for call in 2..5 {
        run(&mut rig, Binding::Ready(same_length()), call, u64::from(call) + 8, u64::from(call) + 9);
    }
    rig.fetch(5, 13, Origin::Here);
    assert!((2..6).all(|call| rig.metadata(call).is_empty()));
    rig.early(1, 0, Early::Metadata(two()));
    for call in 1..6 {
        assert_eq!(rig.metadata(call), [(0, two())], "of call {call}");
    }
    assert_eq!(rig.tasks.len(), 1, "only the first runs");
    rig.finish(1, Ok(vec![vector(1)]));
    rig.finish(2, Ok(vec![vector(2)])).finish(3, Ok(vec![vector(3)])).finish(4, Ok(vec![vector(4)]));
    assert_eq!(rig.data(5), vector(4).bytes());
    for call in 1..6 {
        assert_eq!(rig.metadata(call).len(), 1, "call {call} is told once");
    }
}

/// The tasks that will fetch an output are told what it will be, once, as soon as that is known; of others they hear nothing.
#[test]
fn readers_are_told_of_their_output_once() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10]);
    let run = rig.run_of(Binding::Ready(same_length()), 2, &[(10, Origin::Here)], &[11]);
    let readers = vec![(0, SessionId(8)), (0, SessionId(9)), (1, SessionId(7)), (u32::MAX, SessionId(7))];
    rig.step(Step::Run(Box::new(Run { readers, ..run })));
    let told = |rig: &Rig| {
        let told = rig.answers.iter().filter_map(|(session, frame)| match &frame.body {
            Body::Foreseen { object, metadata } => Some((session.0, *object, (**metadata).clone())),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(told(&rig), []);
    rig.early(1, 0, Early::Metadata(two()));
    let expected = [8, 9].map(|session| (session, id(11), two()));
    assert_eq!(told(&rig), expected);
    rig.finish(1, Ok(vec![vector(1)])).finish(2, Ok(vec![vector(2)]));
    assert_eq!(told(&rig), expected);
}

/// I2: a function says what follows, and refuses with its own code; its panic is an error.
#[test]
fn a_function_infers_like_a_signature() {
    fn infer(inputs: &[TensorMetadata], lengths: &[u64]) -> Result<Vec<Option<TensorMetadata>>, ProgramError> {
        let [length] = lengths else { panic!("asked for a panic") };
        let known = TensorMetadata::new(inputs[0].dtype, [*length]);
        if *length > 2 { Err(ProgramError::new(ErrorCode::OutOfRange, "too long")) } else { Ok(vec![Some(known)]) }
    }
    let mut rig = Rig::new();
    for (call, lengths) in [(2, &[2][..]), (3, &[9]), (4, &[])] {
        let program = native(|_| Ok(Vec::new())).outputs(1).infer_by(|inputs| infer(inputs, lengths));
        rig.announce(call + 10, u64::from(call));
        run(&mut rig, Binding::Ready(Arc::new(program)), call, u64::from(call), u64::from(call) + 20);
    }
    assert_eq!(rig.metadata(2), [(0, two())]);
    assert_eq!((rig.error(3).code, &*rig.error(3).message), (ErrorCode::OutOfRange, "too long"));
    assert_eq!(rig.error(4).code, ErrorCode::Internal);
    assert!(rig.tasks.is_empty());
}

/// I2: metadata that is inferred before the data is there comes of a put, too.
#[test]
fn metadata_follows_from_an_input_whose_bytes_are_on_their_way() {
    let mut rig = Rig::new();
    rig.announce(1, 10);
    run(&mut rig, Binding::Ready(same_length()), 2, 10, 20);
    assert_eq!(rig.metadata(2), [(0, two())]);
    assert!(rig.tasks.is_empty());
}

/// I7: an input of the wrong shape fails the call before the program runs, as soon as the shape is known.
#[test]
fn an_input_that_does_not_fit_is_refused_before_the_run() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10]);
    run(&mut rig, Binding::Ready(same_length()), 2, 10, 20);
    rig.early(1, 0, Early::Metadata(TensorMetadata::new(DType::F32, [2, 2])));
    assert_eq!(rig.error(2).code, ErrorCode::InvalidArgument);
    assert!(rig.error(2).message.contains("f32[2,2]"), "{}", rig.error(2));
    rig.fetch(3, 20, Origin::Here);
    assert_eq!(rig.error(3).message, rig.error(2).message);
}

/// I2: an output that differs from what was inferred is an error that names both.
#[test]
fn an_output_that_differs_from_what_was_inferred_fails() {
    let wrong = || Tensor::from_slice([3], &[0f32; 3]).unwrap();
    let mut rig = Rig::new();
    rig.put(1, 10);
    run(&mut rig, Binding::Ready(same_length()), 2, 10, 20);
    rig.finish(2, Ok(vec![wrong()]));
    run(&mut rig, Binding::Ready(same_length()), 3, 10, 21);
    rig.publish(3, 0, wrong());
    // What the program itself said binds it likewise.
    rig.run(4, &[], &[22]).early(4, 0, Early::Metadata(two())).finish(4, Ok(vec![wrong()]));
    for call in [2, 3, 4] {
        let error = rig.error(call);
        assert_eq!(error.code, ErrorCode::Internal);
        assert!(error.message.contains("f32[2]") && error.message.contains("f32[3]"), "{error}");
    }
    rig.fetch(5, 21, Origin::Here);
    assert_eq!(rig.error(5).code, ErrorCode::Internal, "it was not published");
}

/// I3: too few or too many results poison every output.
#[test]
fn a_wrong_number_of_results_fails_the_call() {
    let mut rig = Rig::new();
    for (call, results) in [(1, 1), (2, 3), (3, 0)] {
        let outputs = [u64::from(call) * 10, u64::from(call) * 10 + 1];
        rig.run(call, &[], &outputs).finish(call, Ok(vec![vector(0); results]));
        rig.fetch(call + 10, outputs[0], Origin::Here).fetch(call + 20, outputs[1], Origin::Here);
        for call in [call, call + 10, call + 20] {
            let error = rig.error(call);
            assert!(error.code == ErrorCode::Internal && error.message.contains("the call names 2"), "{error}");
        }
    }
}

/// I5: calls of a program that is being compiled run when it is there, in order.
#[test]
fn calls_wait_for_their_program() {
    let mut rig = Rig::new();
    rig.put(1, 10);
    (2..5).for_each(|call| run(&mut rig, Binding::Compiling(1), call, 10, u64::from(call) + 20));
    run(&mut rig, Binding::Compiling(2), 5, 10, 30);
    assert!(rig.tasks.is_empty());
    rig.store.bound(1, Ok(same_length()));
    rig.collect();
    assert_eq!(rig.tasks.iter().map(|task| &*task.name).collect::<Vec<_>>(), ["p2", "p3", "p4"]);
    rig.store.bound(2, Err(failure("no program")));
    rig.collect();
    assert_eq!(rig.error(5).message, "no program");
}

/// I7: what the program turns out to take and give is checked before it runs.
#[test]
fn a_call_that_does_not_fit_its_program_fails_when_that_is_compiled() {
    let mut rig = Rig::new();
    rig.put(1, 10);
    let two_outputs = rig.run_of(Binding::Compiling(1), 2, &[(10, Origin::Here)], &[20, 21]);
    let no_inputs = rig.run_of(Binding::Compiling(1), 3, &[], &[22]);
    rig.step(Step::Run(Box::new(two_outputs))).step(Step::Run(Box::new(no_inputs)));
    rig.store.bound(1, Ok(same_length()));
    rig.collect();
    for call in [2, 3] {
        assert_eq!(rig.error(call).code, ErrorCode::InvalidArgument, "{}", rig.error(call));
    }
    assert!(rig.tasks.is_empty());
}

/// I2: one failure ends a pipeline of any length, without recursion.
#[test]
fn a_long_pipeline_fails_as_a_whole() {
    const LENGTH: u32 = 100_000;
    let mut rig = Rig::new();
    rig.run(1, &[], &[1]);
    for call in 2..=LENGTH {
        let input = u64::from(call) - 1;
        let run = rig.run_of(Binding::Ready(same_length()), call, &[(input, Origin::Here)], &[u64::from(call)]);
        rig.store.step(super::rig::SESSION, Step::Run(Box::new(run)));
    }
    rig.collect().finish(1, Err(failure("boom")));
    assert_eq!((rig.answers.len(), rig.stats().jobs), (LENGTH as usize, 0));
    let last = rig.error(LENGTH);
    assert_eq!((last.message.as_str(), last.program.as_deref(), last.via.len()), ("boom", Some("p1"), 16));
    assert_eq!(last.call, Some(Rig::call(1)));
}
