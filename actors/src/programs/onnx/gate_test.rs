//! Tests of the gate.

use prost::Message;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use remex_protocol::ErrorCode;

use super::super::proto::{AttributeProto, GraphProto, ModelProto, StringStringEntryProto, TensorProto, elem};
use super::super::test_model::{TestModel, attribute, dense, f32s, floats, node, value};
use super::super::{OnnxError, OnnxModel, OnnxOptions};
use super::{MAX_NESTING, open, seal};

const ROOM: u64 = 1 << 20;

fn check(model: &TestModel, expected: &str) {
    let error = open(&model.bytes(), ROOM).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_model_passes_unchanged() {
    let model = dense();
    assert_eq!(open(&model.bytes(), ROOM).unwrap(), model.0);
    assert_eq!(ModelProto::decode(seal(&model.0).as_slice()).unwrap(), model.0);
}

#[test]
fn a_model_larger_than_allowed_is_refused() {
    let bytes = dense().bytes();
    let mut options = OnnxOptions { max_bytes: bytes.len() as u64 - 1, ..Default::default() };
    let error = OnnxModel::compile_with(&bytes, &options).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ResourceExhausted);
    options.max_bytes += 1;
    OnnxModel::compile_with(&bytes, &options).unwrap();
}

#[test]
fn a_model_cut_off_anywhere_is_no_model() {
    let bytes = dense().bytes();
    for len in 0..bytes.len() {
        let error = OnnxModel::compile(&bytes[..len]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::MalformedProgram, "{len} bytes: {error}");
    }
}

#[test]
fn damaged_models_neither_panic_nor_hang() {
    let mut model = dense()
        .longs("shape", &[2], &[1, -1])
        .node("Reshape", "y shape", "r")
        .node("Transpose", "r", "t")
        .ints("perm", &[1, 0])
        .output("t", 1, "? 1");
    let branch = |op: &str| GraphProto {
        name: Some("branch".to_owned()),
        node: vec![node(op, "y", op)],
        output: vec![value(op, 1, "n 2")],
        ..Default::default()
    };
    let then = AttributeProto { g: Some(Box::new(branch("Neg"))), ..attribute("then_branch", 5) };
    let other = AttributeProto { g: Some(Box::new(branch("Abs"))), ..attribute("else_branch", 5) };
    model = model.input("c", elem::BOOL, "").node("If", "c", "z").attr(then).attr(other).output("z", 1, "n 2");
    let bytes = model.bytes();
    model.compile().unwrap();

    let seed = 0x6f6e_6e78;
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut refused = 0;
    for round in 0..2_000 {
        let mut damaged = bytes.clone();
        for _ in 0..rng.random_range(1..=4) {
            let at = rng.random_range(0..damaged.len());
            match rng.random_range(0..4) {
                0 => damaged[at] ^= 1 << rng.random_range(0..8),
                1 => damaged[at] = rng.random(),
                2 => drop(damaged.drain(at..(at + rng.random_range(1..8)).min(damaged.len()))),
                _ => damaged.insert(at, rng.random()),
            }
        }
        let result = std::panic::catch_unwind(|| OnnxModel::compile(&damaged).is_err());
        refused += i32::from(result.unwrap_or_else(|_| panic!("seed {seed}, round {round} panicked")));
    }
    assert!((1_000..2_000).contains(&refused), "{refused} of 2,000 were refused");
}

#[test]
fn packed_numbers_are_written_unpacked_for_the_engine() {
    /// The attribute as proto3 writers encode it.
    #[derive(Clone, PartialEq, Message)]
    struct Packed {
        #[prost(string, optional, tag = "1")]
        name: Option<String>,
        #[prost(int64, repeated, packed = "true", tag = "8")]
        ints: Vec<i64>,
        #[prost(int32, optional, tag = "20")]
        kind: Option<i32>,
    }
    let model =
        TestModel::new(17).input("x", 1, "2 3").node("Transpose", "x", "y").ints("perm", &[1, 0]).output("y", 1, "3 2");
    let packed = Packed { name: Some("perm".to_owned()), ints: vec![1, 0], kind: Some(7) }.encode_to_vec();
    let unpacked = model.0.graph.as_ref().unwrap().node[0].attribute[0].encode_to_vec();
    assert_eq!(packed.len(), unpacked.len(), "so that the lengths around it stay right");
    let mut bytes = model.bytes();
    let at = bytes.windows(unpacked.len()).position(|window| window == unpacked).unwrap();
    bytes[at..at + packed.len()].copy_from_slice(&packed);

    let alone = std::panic::catch_unwind(|| rten::Model::load(bytes.clone()).is_err());
    assert!(alone.unwrap(), "rten reads packed numbers now: the gate need not write them unpacked any more");
    let outputs = OnnxModel::compile(&bytes).unwrap().run(&[f32s([2, 3], &[0., 1., 2., 3., 4., 5.])]).unwrap();
    assert_eq!(outputs, [f32s([3, 2], &[0., 3., 1., 4., 2., 5.])]);
}

#[test]
fn external_data_is_refused() {
    let mut model = dense();
    let weights = &mut model.graph().initializer[0];
    weights.raw_data = None;
    weights.data_location = Some(1);
    let location = ("location".to_owned(), "/etc/passwd".to_owned());
    weights.external_data = vec![StringStringEntryProto { key: Some(location.0), value: Some(location.1) }];
    let error = model.compile().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unimplemented);
    assert!(error.to_string().contains("\"w\" is kept in another file"), "{error}");
}

#[test]
fn gt_1_names_are_defined_once_and_before_they_are_read() {
    check(&dense().node("Relu", "nowhere", "z"), "node \"the_relu\" (Relu) reads \"nowhere\"");
    check(&dense().node("Relu", "x", "y"), "defines \"y\", which is defined already");
    check(&dense().output("nowhere", 1, ""), "nothing defines the output \"nowhere\"");
    check(&dense().floats("w", &[1], &[1.0]), "defines \"w\", which is defined already");
    check(&dense().output("y", 1, "n 2"), "the output \"y\" is given twice");
    check(&dense().input("", 1, ""), "a graph's input has no name");

    let mut unordered = dense();
    unordered.graph().node.swap(0, 1);
    check(&unordered, "reads \"h\", which nothing before it defines");

    let hides = GraphProto { node: vec![node("Relu", "x", "y")], ..Default::default() };
    let hides = AttributeProto { g: Some(Box::new(hides)), ..attribute("body", 5) };
    check(&dense().node("Loop", "- -", "z").attr(hides), "defines \"y\", which is defined already");
}

#[test]
fn gt_1_a_constant_may_be_listed_among_the_inputs() {
    let model = dense().input("w", 1, "3 2");
    assert_eq!(model.compile().unwrap().signature().inputs.len(), 1);
    check(&model.floats("w", &[1], &[1.0]), "defines \"w\", which is defined already");
}

#[test]
fn gt_2_data_is_as_long_as_its_shape() {
    fn with(tensor: TensorProto) -> TestModel {
        let mut model = dense();
        model.graph().initializer.push(TensorProto { name: Some("t".to_owned()), ..tensor });
        model
    }
    let tensor = floats("t", &[2], &[1.0, 2.0]);
    open(&with(tensor.clone()).bytes(), ROOM).unwrap();
    check(&with(floats("t", &[3], &[1.0, 2.0])), "\"t\" [3] of f32 holds 8 bytes");
    check(&with(floats("t", &[-1], &[1.0])), "a dimension of the tensor \"t\" is -1");
    check(&with(floats("t", &[i64::MAX, i64::MAX], &[])), "a dimension of the tensor");
    check(&with(floats("t", &[1 << 30, 1 << 30, 1 << 30], &[])), "holds 0 bytes");
    check(&with(TensorProto { float_data: vec![1.0], ..tensor.clone() }), "holds its data twice");
    check(&with(TensorProto { raw_data: None, ..tensor.clone() }), "holds 0 elements");
    check(&with(TensorProto { data_type: None, ..tensor.clone() }), "has no element type");
    let other = TensorProto { raw_data: None, float_data: vec![1.0; 2], int64_data: vec![1], ..tensor };
    check(&with(other), "holds data of another type");
}

#[test]
fn gt_3_nesting_is_bounded() {
    let nested = |depth: usize| {
        let mut graph = GraphProto::default();
        for _ in 0..depth {
            let mut outer = node("Loop", "", "");
            outer.attribute = vec![AttributeProto { g: Some(Box::new(graph)), ..attribute("body", 5) }];
            graph = GraphProto { node: vec![outer], ..Default::default() };
        }
        let mut model = TestModel::new(17);
        *model.graph() = graph;
        model
    };
    open(&nested(MAX_NESTING).bytes(), ROOM).unwrap();
    check(&nested(MAX_NESTING + 1), "more than 16 deep");
    // Deeper than the decoder goes.
    let error = open(&nested(1_000).bytes(), ROOM).unwrap_err();
    assert!(matches!(error, OnnxError::Malformed(_)), "{error}");
}

#[test]
fn gt_3_what_constants_ask_for_is_bounded() {
    let huge = [1 << 20, 1 << 20];
    let fill = TestModel::new(17).longs("s", &[2], &huge).node("ConstantOfShape", "s", "y").output("y", 1, "? ?");
    check(&fill, "(ConstantOfShape) is to make 1099511627776 elements");
    let expand = dense().longs("big", &[2], &huge).node("Expand", "x big", "z").output("z", 1, "? ?");
    check(&expand, "(Expand) is to make");
    let range = TestModel::new(17)
        .longs("a", &[], &[0])
        .longs("z", &[], &[i64::MAX])
        .longs("d", &[], &[1])
        .node("Range", "a z d", "y")
        .output("y", elem::INT64, "?");
    check(&range, "(Range) is to make");
    // By bytes: so many of ROOM's elements are four times as many bytes.
    let fills = |elements: i64, times: usize| {
        let mut model = TestModel::new(17).longs("s", &[1], &[elements]);
        for n in 0..times {
            model = model.node("ConstantOfShape", "s", &format!("y{n}"));
        }
        model.output("y0", 1, "?")
    };
    let room = ROOM as i64;
    open(&fills(room / 4, 1).bytes(), ROOM).unwrap();
    check(
        &fills(room / 4 + 1, 1),
        "262145 elements, 1048580 bytes; constants may make operators of this model allocate 1048576",
    );
    // All together: a thousand small ones are as much as a large one.
    open(&fills(room / 4000, 1_000).bytes(), ROOM).unwrap();
    check(&fills(room / 4000, 1_001), "bytes, of which");
    // What grows an input is not made while compiling: each may.
    let grows = |times: usize| {
        let mut model = dense().longs("to", &[2], &[room / 16, 1]);
        for n in 0..times {
            model = model.node("Expand", "x to", &format!("z{n}"));
        }
        model
    };
    open(&grows(10).bytes(), ROOM).unwrap();
    check(&dense().value_info("v", 1, "4294967296"), "a dimension of \"v\" is 4294967296");
    check(&dense().value_info("v", 1, &"1 ".repeat(33)), "\"v\" has 33 dimensions");
}

#[test]
fn a_model_says_what_operators_it_means() {
    let mut model = dense();
    model.0.opset_import.clear();
    check(&model, "which version of ONNX's operators");
    let mut model = dense();
    model.0.graph = None;
    check(&model, "it has no graph");
    let mut model = dense();
    model.0.ir_version = None;
    check(&model, "it has no IR version");
}
