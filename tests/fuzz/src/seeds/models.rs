//! Small ONNX models, and some that no exporter would write; in protobuf, by hand.

const FLOAT: u64 = 1;
const INT64: u64 = 7;

fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n > 0x7f {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

fn number(field: u64, n: u64) -> Vec<u8> {
    [varint(field << 3), varint(n)].concat()
}

fn bytes(field: u64, of: impl AsRef<[u8]>) -> Vec<u8> {
    let of = of.as_ref();
    [&varint(field << 3 | 2)[..], &varint(of.len() as u64), of].concat()
}

fn value(name: &str, elem: u64, dims: &[u64]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| bytes(1, number(1, *dim))).collect();
    let tensor = [number(1, elem), bytes(2, dims)].concat();
    [bytes(1, name), bytes(2, bytes(1, tensor))].concat()
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut node: Vec<u8> = inputs.iter().flat_map(|input| bytes(1, input)).collect();
    node.extend([bytes(2, output), bytes(4, op)].concat());
    node.extend(attributes.iter().flat_map(|attribute| bytes(5, attribute)));
    node
}

fn ints(name: &str, ints: &[u64]) -> Vec<u8> {
    let ints: Vec<u8> = ints.iter().flat_map(|n| number(8, *n)).collect();
    [bytes(1, name), ints, number(20, 7)].concat()
}

fn subgraph(name: &str, graph: &[u8]) -> Vec<u8> {
    [bytes(1, name), bytes(6, graph), number(20, 5)].concat()
}

fn longs(name: &str, values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    [number(1, values.len() as u64), number(2, INT64), bytes(8, name), bytes(9, raw)].concat()
}

fn graph(nodes: &[Vec<u8>], constants: &[Vec<u8>], inputs: &[Vec<u8>], outputs: &[Vec<u8>]) -> Vec<u8> {
    let part = |field, parts: &[Vec<u8>]| parts.iter().flat_map(|part| bytes(field, part)).collect::<Vec<u8>>();
    [part(1, nodes), bytes(2, "g"), part(5, constants), part(11, inputs), part(12, outputs)].concat()
}

fn model(graph: &[u8]) -> Vec<u8> {
    [number(1, 8), bytes(7, graph), bytes(8, number(2, 17))].concat()
}

pub(super) fn models() -> Vec<(String, Vec<u8>)> {
    let (x, y) = (value("x", FLOAT, &[2, 3]), |dims: &[u64]| value("y", FLOAT, dims));
    let transpose = node("Transpose", &["x"], "y", &[ints("perm", &[1, 0])]);
    let reshape = node("Reshape", &["x", "s"], "y", &[]);
    let branch = |op: &str| graph(&[node(op, &["x"], "b", &[])], &[], &[], &[value("b", FLOAT, &[2, 3])]);
    let choice =
        node("If", &["c"], "y", &[subgraph("then_branch", &branch("Neg")), subgraph("else_branch", &branch("Abs"))]);
    let choose = graph(&[choice], &[], &[x.clone(), value("c", 9, &[])], &[y(&[2, 3])]);
    let huge = longs("s", &[1 << 20, 1 << 20]);
    let mut deep = graph(&[], &[], &[], &[]);
    for _ in 0..1_000 {
        deep = graph(&[node("Loop", &["", ""], "y", &[subgraph("body", &deep)])], &[], &[], &[]);
    }
    let plain = |node: Vec<u8>, constants: &[Vec<u8>], dims: &[u64]| {
        graph(&[node], constants, std::slice::from_ref(&x), &[y(dims)])
    };
    [
        ("transpose", plain(transpose, &[], &[3, 2])),
        ("reshape", plain(reshape, &[longs("s", &[3, -1])], &[3, 2])),
        ("a choice", choose),
        ("a constant of a million million", plain(node("ConstantOfShape", &["s"], "y", &[]), &[huge], &[1, 1])),
        ("a thousand graphs deep", deep),
        ("a graph that reads itself", plain(node("Relu", &["y"], "y", &[]), &[], &[2, 3])),
    ]
    .into_iter()
    .map(|(name, graph)| (name.to_owned(), model(&graph)))
    .collect()
}

#[cfg(all(test, feature = "worker"))]
mod tests {
    use remex::actors::programs::onnx::OnnxModel;

    use super::*;

    /// The good ones are understood: else mutations of them try nothing but the first check.
    #[test]
    fn the_good_ones_are_compiled_and_the_others_refused() {
        for (n, (name, bytes)) in models().into_iter().enumerate() {
            let model = OnnxModel::compile(&bytes);
            assert_eq!(model.is_ok(), n < 3, "{name}: {:?}", model.err());
        }
    }
}
