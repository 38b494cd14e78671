//! Registering programs, step by step.

use bytes::Bytes;

use super::*;
use crate::programs::native;

fn registration(index: u32, name: &str, bytes: &'static [u8]) -> Registration {
    Registration {
        session: SessionId(1),
        call: CallId::new(index, 0),
        index: ProgramIndex(index),
        format: "onnx".to_owned(),
        source: Source { name: name.to_owned(), entry: None, bytes: Bytes::from_static(bytes), golden: None },
        when: CompileWhen::Now,
        output_devices: Vec::new(),
        default_device: DeviceIndex(3),
    }
}

fn program(outputs: usize) -> Result<Arc<Executable>> {
    Ok(Arc::new(native(|_| Ok(Vec::new())).outputs(outputs)))
}

#[test]
fn the_same_program_may_be_registered_twice_and_another_may_not() {
    let mut registry = Registry::default();
    let first = registry.register(registration(0, "f", b"x"));
    assert!(first.answer.is_none());
    let again = registry.register(registration(1, "f", b"x"));
    assert!(again.answer.is_none() && again.compile.is_none());
    let other = registry.register(registration(2, "f", b"y"));
    assert_eq!(other.answer.unwrap().unwrap_err().code(), ErrorCode::RemoteFunctionAlreadyExists);
    assert!(other.compile.is_none());
    let (_, _, answers) = registry.compiled(first.compile.unwrap().compilation, program(2));
    assert_eq!(answers.len(), 2);
    for (_, _, answer) in answers {
        assert_eq!(answer.unwrap().output_devices, Some(vec![DeviceIndex(3), DeviceIndex(3)]));
    }
}

#[test]
fn a_failed_compilation_leaves_only_its_failure_behind() {
    let mut registry = Registry::default();
    let to_compile = registry.register(registration(0, "f", b"x")).compile;
    let (bound, _) = registry.find(SessionId(1), ProgramIndex(0)).unwrap();
    assert!(matches!(bound.binding, Binding::Compiling(1)));
    let error = Error::new(ErrorCode::MalformedProgram, "x");
    assert_eq!(registry.compiled(to_compile.unwrap().compilation, Err(error)).2.len(), 1);
    assert_eq!(registry.bytes, 0);
    let error = registry.find(SessionId(1), ProgramIndex(0)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::MalformedProgram);
    assert!(registry.register(registration(1, "f", b"other")).compile.is_some(), "the name is free");
}

#[test]
fn a_stored_program_is_compiled_at_its_first_use() {
    let mut registry = Registry::default();
    let at_first_use = Registration { when: CompileWhen::FirstUse, ..registration(0, "f", b"x") };
    let stored = registry.register(at_first_use);
    assert!(stored.answer.unwrap().is_ok() && stored.compile.is_none());
    let (_, first) = registry.find(SessionId(1), ProgramIndex(0)).unwrap();
    let (_, second) = registry.find(SessionId(1), ProgramIndex(0)).unwrap();
    assert!(first.is_some() && second.is_none());
}

#[test]
fn a_name_is_free_when_its_last_user_is_gone() {
    let mut registry = Registry::default();
    registry.register(registration(0, "f", b"x"));
    registry.register(Registration { session: SessionId(2), ..registration(0, "f", b"x") });
    registry.unregister(SessionId(1), ProgramIndex(0)).unwrap();
    assert_eq!(registry.unregister(SessionId(1), ProgramIndex(0)).unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(registry.entries.len(), 1);
    registry.end_session(SessionId(2));
    assert_eq!((registry.entries.len(), registry.bytes), (0, 0));
}

#[test]
fn calls_may_come_before_the_programs_bytes() {
    let mut registry = Registry::default();
    registry.announce(SessionId(1), ProgramIndex(0), "f");
    let (bound, none) = registry.find(SessionId(1), ProgramIndex(0)).unwrap();
    let Binding::Compiling(waits_for) = bound.binding else { panic!("{bound:?}") };
    assert!(none.is_none());
    let compilation = registry.register(registration(0, "f", b"x")).compile.unwrap().compilation;
    let (_, names, _) = registry.compiled(compilation, program(1));
    assert!(names.contains(&waits_for) && names.contains(&compilation));
    // Another session's calls wait for what is ready by then, or for what is refused.
    for (bytes, good) in [(b"x", true), (b"y", false)] {
        let session = SessionId(2 + u64::from(good));
        registry.announce(session, ProgramIndex(0), "f");
        let registered = registry.register(Registration { session, ..registration(0, "f", bytes) });
        assert_eq!(registered.bound.unwrap().1.is_ok(), good);
    }
}

#[test]
fn who_leaves_while_a_program_is_compiled_is_to_be_answered() {
    let mut registry = Registry::default();
    let compilation = registry.register(registration(0, "f", b"x")).compile.unwrap().compilation;
    registry.register(Registration { session: SessionId(2), ..registration(0, "f", b"x") });
    assert_eq!(registry.end_session(SessionId(1)), [registration(0, "f", b"x").call]);
    let (_, _, answers) = registry.compiled(compilation, program(1));
    assert_eq!(answers.iter().map(|(session, ..)| *session).collect::<Vec<_>>(), [SessionId(2)]);
}

/// I8: programs, their bytes with those of their golden tensors, and the numbers that stand for them have limits.
#[test]
fn programs_bytes_and_numbers_are_bounded() {
    let limits = ProgramLimits { programs: 2, bytes: 20, indexes: 4 };
    let mut registry = Registry::default().with(limits);
    let refused = |registered: Registered| registered.answer.unwrap().unwrap_err().code();
    let tensor = remex_protocol::tensor::Tensor::from_slice([4], &[0u8; 4]).unwrap();
    let golden =
        crate::programs::Golden { inputs: vec![tensor.clone(), tensor.clone()], outputs: vec![tensor], tolerance: 0.0 };
    let mut large = registration(0, "f", b"12345678");
    large.source.golden = Some(golden);
    assert!(registry.register(large).answer.is_none());
    assert_eq!(registry.counts(), (1, 20, 0));
    assert_eq!(refused(registry.register(registration(1, "g", b"1"))), ErrorCode::ResourceExhausted);
    assert!(registry.register(registration(2, "h", b"")).answer.is_none());
    assert_eq!(refused(registry.register(registration(3, "i", b""))), ErrorCode::ResourceExhausted);
    // Those that failed stand for their failure, and count.
    assert_eq!(refused(registry.register(registration(4, "f", b""))), ErrorCode::ResourceExhausted);
    assert!(registry.find(SessionId(1), ProgramIndex(4)).is_err());
    registry.unregister(SessionId(1), ProgramIndex(3)).unwrap();
    registry.unregister(SessionId(1), ProgramIndex(0)).unwrap();
    assert_eq!(registry.counts(), (1, 0, 3));
    assert!(registry.register(registration(5, "g", b"1")).answer.is_none());
}
