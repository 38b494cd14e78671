//! Groups in which something goes wrong: all get one cause, or keep what they have.

use bytes::Bytes;
use remex_protocol::{
    ErrorCode, RemoteError,
    collective::{CollectiveOp, Reduction},
    tensor::{Bool, Tensor},
};

use super::{
    member::Member,
    simulated::{Network, Order, Terms},
};
use crate::Error;

const SUM: CollectiveOp = CollectiveOp::AllReduce(Reduction::Sum);

fn terms(seed: u64) -> Terms {
    Terms { seed, order: Order::Any, chunk: 8, window: 4 }
}

fn f32s(elements: usize) -> Tensor {
    Tensor::from_slice([elements as u64], &vec![1.0f32; elements]).unwrap()
}

/// Members that do the same with the same.
fn alike(op: CollectiveOp, members: usize, seed: u64) -> Network {
    let input = (op != CollectiveOp::Barrier).then(|| f32s(12));
    Network::new(terms(seed), vec![(op, input); members])
}

const OPS: [CollectiveOp; 6] = [
    SUM,
    CollectiveOp::ReduceScatter(Reduction::Mean),
    CollectiveOp::Broadcast { root: 1 },
    CollectiveOp::AllGather { axis: 0 },
    CollectiveOp::AllGatherAnyShape { axis: 0 },
    CollectiveOp::Barrier,
];

/// TFRT §3.5-1: a collective whose callback was dropped ended as a success. Here a member fails after each number of
/// steps; the others get its cause, and those that had finished keep their results (CO-2).
#[test]
fn a_member_that_fails_fails_all_who_have_not_finished() {
    let cause = Error::from(RemoteError::new(ErrorCode::Internal, "boom").on_task("/job:worker/task:2"));
    for op in OPS {
        let mut failed_somewhere = 0;
        for at in 0.. {
            let mut network = alike(op, 4, at);
            let is_running = (0..at).all(|_| network.step());
            network.with(2, |member: &mut Member| member.fail(cause.clone()));
            let before = network.ended();
            let (network, joined) = (network.run(), before[2].is_some());
            for (member, (before, after)) in before.into_iter().zip(network.ended()).enumerate() {
                let after = after.unwrap_or_else(|| panic!("{op}, step {at}: member {member} hangs"));
                match before {
                    Some(Ok(result)) => assert_eq!(after, Ok(result), "{op}, step {at}: {member} lost its result"),
                    Some(Err(error)) => assert_eq!((&error, after.err()), (&cause, Some(cause.clone()))),
                    // It had not joined when it was to fail, or all that the others needed was on its way.
                    None if after.is_ok() => {}
                    None => assert_eq!(after, Err(cause.clone()), "{op}, step {at}: member {member}"),
                }
                failed_somewhere += usize::from(joined);
            }
            assert!(network.is_over(), "{op}, step {at}");
            if !is_running {
                break;
            }
        }
        assert!(failed_somewhere > 0, "{op}");
    }
}

/// TFRT §3.5-2: with a dead peer a collective never ended. Here a member that never comes fails all others by deadline,
/// with the cause of the first of them; when it comes after all, it gets that cause at once (CO-1, CO-2).
#[test]
fn a_member_that_never_comes_is_waited_for_until_the_deadline() {
    for op in OPS {
        for seed in 0..20 {
            let mut network = alike(op, 5, seed).without(3);
            while network.step() {}
            let waiting = network.ended().iter().filter(|ended| ended.is_none()).count();
            // In a broadcast only the absent and who is behind it wait: the root is member 1, the last 0.
            let expected = if matches!(op, CollectiveOp::Broadcast { .. }) { 3 } else { 5 };
            assert_eq!(waiting, expected, "{op}, seed {seed}");
            let first = network.ended().iter().position(Option::is_none).unwrap() as u16;
            let first = if first == 3 { 4 } else { first };
            network.with(first, Member::expire);
            while network.step() {}
            network.join(3);
            let network = network.run();
            let errors: Vec<_> = network.ended().into_iter().flatten().filter_map(Result::err).collect();
            assert_eq!(errors.len(), expected, "{op}, seed {seed}");
            assert!(errors.iter().all(|error| *error == errors[0]), "{op}, seed {seed}: {errors:?}");
            assert_eq!(errors[0].code(), ErrorCode::DeadlineExceeded);
            assert!(errors[0].message().contains("was not done by its deadline: member"), "{}", errors[0]);
            assert!(network.is_over());
        }
    }
}

/// CO-5: what was not taken is still the sender's, so that it does not end before.
#[test]
fn a_root_is_done_when_its_neighbour_has_taken_all() {
    let all = vec![(CollectiveOp::Broadcast { root: 1 }, Some(f32s(12))); 3];
    let mut network = Network::new(Terms { window: 32, ..terms(0) }, all).without(2);
    while network.step() {}
    assert!(network.ended().iter().all(Option::is_none), "all of it was sent at once, and not taken");
    network.join(2);
    assert_eq!(network.run().results(), vec![Some(f32s(12)); 3]);
}

/// One of five members does something else.
fn one_differs(op: CollectiveOp, input: &Tensor, odd: (CollectiveOp, Option<Tensor>), words: &str) {
    for seed in 0..20 {
        let mut members = vec![(op, Some(input.clone())); 5];
        members[usize::from(seed as u8 % 5)] = odd.clone();
        for error in Network::new(terms(seed), members).run().errors() {
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "seed {seed}: {error}");
            assert!(error.message().contains(words), "seed {seed}: {words:?} is not in {error}");
        }
    }
}

/// TFRT §3.5-5: an error while shapes were exchanged was ignored, and results stayed unresolved. Here what one member
/// has otherwise is an error for all (CO-3).
#[test]
fn a_difference_at_one_member_is_an_error_for_all() {
    let input = f32s(12);
    let i32s = Tensor::from_slice([12], &[1i32; 12]).unwrap();
    one_differs(SUM, &input, (SUM, Some(f32s(13))), "f32[13]");
    one_differs(SUM, &input, (SUM, Some(f32s(0))), "f32[0]");
    one_differs(SUM, &input, (SUM, Some(input.reshape([3, 4]).unwrap())), "f32[3,4]");
    one_differs(SUM, &input, (SUM, Some(i32s.clone())), "i32[12]");
    one_differs(SUM, &input, (CollectiveOp::AllReduce(Reduction::Max), Some(input.clone())), "all-reduce (max)");
    one_differs(SUM, &input, (CollectiveOp::AllGather { axis: 0 }, Some(input.clone())), "all-gather along axis 0");
    one_differs(SUM, &input, (CollectiveOp::Barrier, None), "barrier");
    let gather = CollectiveOp::AllGather { axis: 0 };
    one_differs(gather, &input, (gather, Some(f32s(3))), "they must be equal");
    let any = CollectiveOp::AllGatherAnyShape { axis: 1 };
    let matrix = input.reshape([3, 4]).unwrap();
    one_differs(any, &matrix, (any, Some(input.reshape([4, 3]).unwrap())), "they must be equal but along axis 1");
    one_differs(any, &matrix, (any, Some(i32s.reshape([3, 4]).unwrap())), "i32[3,4]");
    one_differs(any, &matrix, (any, Some(i32s.reshape([3, 2, 2]).unwrap())), "i32[3,2,2]");
    let scatter = CollectiveOp::ReduceScatter(Reduction::Sum);
    one_differs(scatter, &input, (scatter, Some(f32s(11))), "f32[11]");
}

/// CO-3: what a member cannot begin with fails all, not that member alone.
#[test]
fn what_cannot_begin_at_one_member_is_an_error_for_all() {
    let bools = Tensor::from_slice([2], &[Bool(1), Bool(0)]).unwrap();
    one_differs(SUM, &f32s(2), (SUM, Some(bools)), "elements of type bool cannot be reduced; there are i8");
    one_differs(SUM, &f32s(2), (SUM, None), "it needs a tensor");
    let gather = CollectiveOp::AllGather { axis: 1 };
    one_differs(gather, &f32s(2), (gather, Some(f32s(2))), "has no axis 1");
    let scatter = CollectiveOp::ReduceScatter(Reduction::Sum);
    let scalar = Tensor::scalar(1.0f32).unwrap();
    one_differs(scatter, &f32s(2), (scatter, Some(scalar)), "a scalar has no first dimension");
    let nobody = CollectiveOp::Broadcast { root: 5 };
    one_differs(nobody, &f32s(2), (nobody, Some(f32s(2))), "there is no member 5; the last is 4");
    // Alone, the same is an error too.
    let alone = Network::new(terms(0), vec![(scatter, Some(Tensor::scalar(1.0f32).unwrap()))]);
    assert_eq!(alone.run().errors()[0].code(), ErrorCode::InvalidArgument);
}

#[test]
fn a_root_without_a_tensor_and_a_receiver_with_another_are_errors() {
    let op = CollectiveOp::Broadcast { root: 2 };
    let empty = Network::new(terms(0), vec![(op, None); 3]);
    for error in empty.run().errors() {
        assert!(error.message().contains("the root of a broadcast must give the tensor"), "{error}");
    }
    let members = vec![(op, Some(f32s(3))), (op, None), (op, Some(f32s(4)))];
    let network = Network::new(terms(0), members).run();
    let error = network.ended()[0].clone().unwrap().unwrap_err();
    assert!(error.message().contains("member 2, broadcasts f32[4], member 0 expects f32[3]"), "{error}");
}

/// TFRT §3.5-4: the size of what came was never checked, so that a peer could write past the end of a buffer. Here
/// chunks that no member sends are refused one by one, before anything is written (CO-3).
#[test]
fn chunks_that_nobody_sends_are_refused() {
    use remex_protocol::{collective::ChunkHeader, tensor::DType};
    type Change = fn(&mut ChunkHeader, &mut Vec<u8>);
    let good = |op| match op {
        CollectiveOp::AllReduce(_) | CollectiveOp::ReduceScatter(_) => (0, 1),
        CollectiveOp::Broadcast { root } => (0, root),
        _ => (0, 2),
    };
    let changes: [(Change, &str); 7] = [
        (|header, _| header.step = 9, "another step"),
        (|header, _| header.part = 77, "another step"),
        (|header, _| header.offset = 1, "no chunk begins there"),
        (|header, _| header.offset = u64::MAX - 1, "no chunk begins there"),
        (|_, payload| payload.push(0), "bytes, it should have 8"),
        (|_, payload| payload.truncate(7), "it has 7 bytes"),
        (|_, payload| payload.clear(), "it has 0 bytes"),
    ];
    let ops = [SUM, CollectiveOp::ReduceScatter(Reduction::Sum), CollectiveOp::AllGather { axis: 0 }];
    for op in ops.into_iter().chain([CollectiveOp::Broadcast { root: 2 }]) {
        for (change, words) in changes {
            let mut network = Network::new(terms(0), vec![(op, Some(f32s(12))); 3]).without(1).without(2);
            while network.step() {}
            let (step, part) = good(op);
            let mut header =
                ChunkHeader { group: 0, run: 0, op, dtype: DType::F32, shape: [12].into(), step, part, offset: 0 };
            let mut payload = vec![0; 8];
            change(&mut header, &mut payload);
            network.with(0, |member| member.chunk(2, &header, payload.into()));
            let error = network.ended()[0].clone().unwrap().unwrap_err();
            assert!(error.message().contains(words), "{op}: {words:?} is not in {error}");
        }
    }
    // The same chunk twice.
    let mut network = Network::new(terms(0), vec![(SUM, Some(f32s(12))); 3]).without(1).without(2);
    while network.step() {}
    let (step, part, offset) = (0, 1, 0);
    let header = ChunkHeader { group: 0, run: 0, op: SUM, dtype: DType::F32, shape: [12].into(), step, part, offset };
    network.with(0, |member| member.chunk(2, &header, Bytes::from(vec![0; 8])));
    assert!(network.ended()[0].is_none());
    network.with(0, |member| member.chunk(2, &header, Bytes::from(vec![0; 8])));
    let error = network.ended()[0].clone().unwrap().unwrap_err();
    assert!(error.message().contains("it came before"), "{error}");
}
