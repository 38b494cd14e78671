"""Writes the trained digit classifier as two ONNX files, and runs them in turn with onnxruntime."""

import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper


def stage(name, nodes, inputs, outputs, weights):
    """One ONNX file; `batch` is the same symbol in every shape, so that shapes can be inferred before a run."""
    ends = [
        [helper.make_tensor_value_info(k, kind, ["batch", *rest]) for k, kind, rest in e] for e in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, name, *ends, [numpy_helper.from_array(v, k) for k, v in weights.items()])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="examples/digits/train.py")
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def stages(p):
    """The trained net, cut behind its last hidden layer."""
    node, f32 = helper.make_node, TensorProto.FLOAT
    first = []
    for source, n in (("image", 1), ("p1", 2)):
        kernel = [f"conv{n}.weight", f"conv{n}.bias"]
        first.append(node("Conv", [source, *kernel], [f"c{n}"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        first.append(node("Relu", [f"c{n}"], [f"r{n}"]))
        first.append(node("MaxPool", [f"r{n}"], [f"p{n}"], kernel_shape=[2, 2], strides=[2, 2]))
    first.append(node("Flatten", ["p2"], ["flat"], axis=1))
    first.append(node("Gemm", ["flat", "dense1.weight", "dense1.bias"], ["d1"]))
    first.append(node("Relu", ["d1"], ["features"]))
    second = [node("Gemm", ["features", "dense2.weight", "dense2.bias"], ["logits"])]
    second.append(node("ArgMax", ["logits"], ["digit"], axis=1, keepdims=0))
    image, features = ("image", f32, [1, 8, 8]), ("features", f32, [len(p["dense2.weight"])])
    answers = [("logits", f32, [10]), ("digit", TensorProto.INT64, [])]
    last = {k: v for k, v in p.items() if k.startswith("dense2")}
    rest = {k: v for k, v in p.items() if k not in last}
    front = stage("digits_stage1", first, [image], [features], rest)
    return front, stage("digits_stage2", second, [features], answers, last)


def run(first, second, images):
    """Logits and digits, as a worker for each stage would give them."""
    features = onnxruntime.InferenceSession(first).run(["features"], {"image": images})[0]
    return onnxruntime.InferenceSession(second).run(["logits", "digit"], {"features": features})
