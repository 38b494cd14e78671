//! Operators that rten computes wrongly, said in operators that it computes right.
//!
//! Done for operators that ordinary models have; what is rarer is refused (`opset.rs`). Each has a test that shows what rten
//! makes of the operator alone, and fails when it has learned better.

use std::collections::HashSet;

use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, elem};

/// Says every such operator of the model in others, and gives every node a name, so that errors can name it.
pub(crate) fn mend(model: &mut ModelProto) {
    let Some(graph) = &mut model.graph else { return };
    let mut prefix = "remex".to_owned();
    let mut taken = HashSet::new();
    collect_names(graph, &mut taken);
    while taken.iter().any(|name| name.starts_with(&prefix)) {
        prefix.push('_');
    }
    drop(taken);
    let mut names = Names { prefix, next: 0 };
    mend_graph(graph, &mut names);
}

fn collect_names(graph: &GraphProto, names: &mut HashSet<String>) {
    names.extend(graph.input.iter().filter_map(|value| value.name.clone()));
    names.extend(graph.initializer.iter().filter_map(|tensor| tensor.name.clone()));
    for node in &graph.node {
        names.extend(node.output.iter().cloned());
        names.extend(node.name.clone());
        node.attribute.iter().flat_map(AttributeProto::subgraphs).for_each(|inner| collect_names(inner, names));
    }
}

/// Names that no value of the model has.
struct Names {
    prefix: String,
    next: u64,
}

impl Names {
    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("{}_{}", self.prefix, self.next)
    }
}

fn mend_graph(graph: &mut GraphProto, names: &mut Names) {
    let nodes = std::mem::take(&mut graph.node);
    let mut out = Mended { nodes: Vec::with_capacity(nodes.len()), constants: Vec::new(), names };
    for mut node in nodes {
        for attribute in &mut node.attribute {
            attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs).for_each(|inner| {
                mend_graph(inner, out.names);
            });
        }
        let unnamed = |node: &NodeProto| format!("{}:{}", node.op(), node.output.first().map_or("", String::as_str));
        let label = node.name.take().filter(|name| !name.is_empty()).unwrap_or_else(|| unnamed(&node));
        node.name = Some(label);
        out.push_mended(node);
    }
    let Mended { nodes, constants, .. } = out;
    graph.node = nodes;
    graph.initializer.extend(constants);
}

struct Mended<'a> {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    names: &'a mut Names,
}

impl Mended<'_> {
    fn push_mended(&mut self, node: NodeProto) {
        if !node.op_domain().is_empty() || node.output.len() != 1 || node.input.is_empty() {
            return self.nodes.push(node);
        }
        match node.op() {
            "ArgMax" | "ArgMin" => self.first_index(node),
            "Cast" if node.attr("to").and_then(|to| to.i) == Some(i64::from(elem::BOOL)) => self.cast_to_bool(&node),
            "Sign" => self.sign(node),
            _ => self.nodes.push(node),
        }
    }

    /// Of equal elements rten takes the last, and refuses the attribute that asks for that. The first is the last of
    /// the reversed dimension: `len - 1 - argmax(reversed)`.
    fn first_index(&mut self, mut node: NodeProto) {
        let int = |node: &NodeProto, name| node.attr(name).and_then(|attribute| attribute.i).unwrap_or_default();
        let (last, axis) = (int(&node, "select_last_index") != 0, int(&node, "axis"));
        node.attribute.retain(|attribute| attribute.name.as_deref() != Some("select_last_index"));
        if last {
            return self.nodes.push(node);
        }
        let (x, out) = (node.input[0].clone(), node.output[0].clone());
        let [minus_one, end, axes] = [-1, i64::MIN, axis].map(|value| self.longs(&[1], &[value]));
        let reversed = self.node("Slice", &[&x, &minus_one, &end, &axes, &minus_one]);
        let index = self.names.fresh();
        node.input[0] = reversed;
        node.output[0] = index.clone();
        self.nodes.push(node);
        let shape = self.node("Shape", &[&x]);
        let [axis, one] = [axis, 1].map(|value| self.longs(&[], &[value]));
        let len = self.node("Gather", &[&shape, &axis]);
        let last = self.node("Sub", &[&len, &one]);
        self.node_to("Sub", &[&last, &index], out);
    }

    /// rten cuts off the fraction: 0.5 is false and 2 stays 2. True is what differs from zero.
    fn cast_to_bool(&mut self, node: &NodeProto) {
        let zero = self.is_zero(&node.input[0]);
        self.node_to("Not", &[&zero], node.output[0].clone());
    }

    /// rten gives 1 or -1 for zero. Multiplied by whether it differs from zero, that is 0.
    fn sign(&mut self, mut node: NodeProto) {
        let (x, out) = (node.input[0].clone(), node.output[0].clone());
        let sign = self.names.fresh();
        node.output[0] = sign.clone();
        self.nodes.push(node);
        let zero = self.is_zero(&x);
        let differs = self.node("Not", &[&zero]);
        let factor = self.node("CastLike", &[&differs, &sign]);
        self.node_to("Mul", &[&sign, &factor], out);
    }

    /// Whether an element of any type is zero. No integer but zero becomes zero as a float.
    fn is_zero(&mut self, x: &str) -> String {
        let float = self.names.fresh();
        let mut cast = self.plain("Cast", &[x], float.clone());
        cast.attribute.push(AttributeProto {
            name: Some("to".to_owned()),
            i: Some(elem::FLOAT.into()),
            r#type: Some(2),
            ..Default::default()
        });
        self.nodes.push(cast);
        let zero =
            self.constant(TensorProto { data_type: Some(elem::FLOAT), float_data: vec![0.0], ..Default::default() });
        self.node("Equal", &[&float, &zero])
    }

    fn plain(&mut self, op: &str, inputs: &[&str], output: String) -> NodeProto {
        NodeProto {
            name: Some(self.names.fresh()),
            op_type: Some(op.to_owned()),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![output],
            ..Default::default()
        }
    }

    fn node_to(&mut self, op: &str, inputs: &[&str], output: String) {
        let node = self.plain(op, inputs, output);
        self.nodes.push(node);
    }

    fn node(&mut self, op: &str, inputs: &[&str]) -> String {
        let output = self.names.fresh();
        self.node_to(op, inputs, output.clone());
        output
    }

    fn longs(&mut self, dims: &[i64], values: &[i64]) -> String {
        self.constant(TensorProto {
            dims: dims.to_vec(),
            data_type: Some(elem::INT64),
            int64_data: values.to_vec(),
            ..Default::default()
        })
    }

    fn constant(&mut self, tensor: TensorProto) -> String {
        let name = self.names.fresh();
        self.constants.push(TensorProto { name: Some(name.clone()), ..tensor });
        name
    }
}

#[cfg(test)]
#[path = "mend_test.rs"]
mod tests;
