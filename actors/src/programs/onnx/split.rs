//! Cutting a model into two stages, so that they can run on two tasks.

use std::collections::{BTreeSet, HashMap, HashSet};

use remex_protocol::signature::Dim;

use super::error::{OnnxError, Result};
use super::proto::{
    DimensionProto, GraphProto, ModelProto, NodeProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    elem,
};
use super::{engine::Session, gate, model::OnnxOptions, rten_engine};

/// Cuts a model at the tensors named in `at`.
///
/// The head takes what it needs of the model's inputs and gives the named tensors, in that order. The tail takes them, in
/// that order, and then what it needs of the model's inputs; it gives the model's outputs. What the tail needs of the head
/// beside the named tensors it computes again. The type of a named tensor is taken from the model's `value_info`, or else
/// from rten's inference.
///
/// Called by tools that prepare models; both results are models for [`OnnxModel::compile`](super::OnnxModel::compile).
pub fn split(bytes: &[u8], at: &[&str]) -> Result<(Vec<u8>, Vec<u8>), OnnxError> {
    let model = gate::open(bytes, OnnxOptions::default().max_bytes)?;
    let empty = GraphProto::default();
    let graph = model.graph.as_ref().unwrap_or(&empty);
    let passed = passed_types(&model, graph, at)?;

    let head_nodes = needed(graph, at.iter().copied(), &[]);
    let head = part(&model, graph, &head_nodes, &[], passed.clone());
    let outputs = graph.output.iter().filter_map(|output| output.name.as_deref());
    let tail_nodes = needed(graph, outputs.clone(), at);
    let read: HashSet<&str> = tail_nodes.iter().flat_map(|&i| reads(&graph.node[i])).chain(outputs).collect();
    if let Some(idle) = at.iter().find(|name| !read.contains(*name)) {
        return Err(OnnxError::Cut(format!("no output of the model needs {idle:?}")));
    }
    let tail = part(&model, graph, &tail_nodes, &passed, graph.output.clone());
    Ok((gate::seal(&head), gate::seal(&tail)))
}

/// The names and types of the tensors that are passed.
fn passed_types(model: &ModelProto, graph: &GraphProto, at: &[&str]) -> Result<Vec<ValueInfoProto>> {
    let cut = |reason: String| Err(OnnxError::Cut(reason));
    if at.is_empty() {
        return cut("no tensor to cut at is named".to_owned());
    }
    let mut inference = None;
    let mut passed = Vec::with_capacity(at.len());
    for (i, &name) in at.iter().enumerate() {
        if at[..i].contains(&name) {
            return cut(format!("{name:?} is named twice"));
        }
        if !graph.node.iter().any(|node| node.op() != "Constant" && node.output.iter().any(|output| output == name)) {
            return cut(format!("no operator of the model's own graph computes {name:?}"));
        }
        let known = graph.value_info.iter().chain(&graph.output).find(|value| value.name.as_deref() == Some(name));
        if let Some(value) = known.filter(|value| has_type(value)) {
            passed.push(value.clone());
            continue;
        }
        if inference.is_none() {
            inference = Some(rten_engine::load(model.clone())?);
        }
        let Some(session) = inference.as_ref().filter(|session| session.is_float(name)) else {
            return cut(format!(
                "the type of {name:?} is not recorded in the model; onnx.shape_inference.infer_shapes records it"
            ));
        };
        passed.push(float_value(name, session.dims(name)));
    }
    Ok(passed)
}

fn has_type(value: &ValueInfoProto) -> bool {
    let tensor = value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    tensor.is_some_and(|tensor| tensor.elem_type.unwrap_or_default() != 0)
}

fn float_value(name: &str, dims: Option<Vec<Dim>>) -> ValueInfoProto {
    let dim = |dim| match dim {
        Dim::Fixed(len) => DimensionProto { dim_value: i64::try_from(len).ok(), dim_param: None },
        Dim::Symbol(name) => DimensionProto { dim_value: None, dim_param: Some(name) },
        Dim::Sum(_) | Dim::Any => DimensionProto::default(),
    };
    let shape = dims.map(|dims| TensorShapeProto { dim: dims.into_iter().map(dim).collect() });
    let tensor = TensorTypeProto { elem_type: Some(elem::FLOAT), shape };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type: Some(tensor), ..Default::default() }),
    }
}

/// The names that a node reads, those that its graphs take from around them included. No inner name hides an outer one
/// (GT-1), so the inner names among them do no harm.
pub(crate) fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    for graph in node.attribute.iter().flat_map(|attribute| attribute.subgraphs()) {
        names.extend(graph.node.iter().flat_map(reads));
        names.extend(graph.output.iter().filter_map(|output| output.name.as_deref()));
    }
    names
}

/// The nodes that `wanted` is computed by, in the model's order, where `given` is there already.
fn needed<'a>(graph: &'a GraphProto, wanted: impl Iterator<Item = &'a str>, given: &[&str]) -> BTreeSet<usize> {
    let makers: HashMap<&str, usize> = graph
        .node
        .iter()
        .enumerate()
        .flat_map(|(i, node)| node.output.iter().map(move |name| (name.as_str(), i)))
        .collect();
    let mut nodes = BTreeSet::new();
    let mut open: Vec<&str> = wanted.collect();
    while let Some(name) = open.pop() {
        if given.contains(&name) {
            continue;
        }
        if let Some(&i) = makers.get(name)
            && nodes.insert(i)
        {
            open.extend(reads(&graph.node[i]));
        }
    }
    nodes
}

/// A model of some of the nodes, which takes `passed` and what else it reads of the inputs, and gives `outputs`.
fn part(
    model: &ModelProto,
    graph: &GraphProto,
    nodes: &BTreeSet<usize>,
    passed: &[ValueInfoProto],
    outputs: Vec<ValueInfoProto>,
) -> ModelProto {
    let mut passed = passed.to_vec();
    let taken: HashSet<String> = passed.iter().filter_map(|value| value.name.clone()).collect();
    let mut read: HashSet<&str> = nodes.iter().flat_map(|&i| reads(&graph.node[i])).collect();
    read.extend(outputs.iter().filter_map(|value| value.name.as_deref()));
    let is_read = |name: &Option<String>| name.as_deref().is_some_and(|name| read.contains(name));
    let constants: HashSet<_> = graph.initializer.iter().map(|tensor| &tensor.name).collect();

    let own = |input: &&ValueInfoProto| is_read(&input.name) && !constants.contains(&input.name);
    passed.extend(graph.input.iter().filter(own).cloned());
    // A node that stands in both parts may make a tensor that is passed beside the one it is needed for.
    let node = |&i: &usize| {
        let mut node = graph.node[i].clone();
        node.output.iter_mut().filter(|name| taken.contains(*name)).for_each(String::clear);
        node
    };
    let node: Vec<_> = nodes.iter().map(node).collect();
    let made: HashSet<&String> = node.iter().flat_map(|node| &node.output).collect();
    let value_info = graph.value_info.iter().filter(|value| {
        let named = |other: &ValueInfoProto| other.name == value.name;
        value.name.as_ref().is_some_and(|name| made.contains(name)) && !outputs.iter().any(named)
    });
    let part = GraphProto {
        name: graph.name.clone(),
        initializer: graph.initializer.iter().filter(|tensor| is_read(&tensor.name)).cloned().collect(),
        sparse_initializer: graph.sparse_initializer.clone(),
        input: passed,
        value_info: value_info.cloned().collect(),
        output: outputs.clone(),
        node,
    };
    ModelProto { graph: Some(part), ..model.clone() }
}

#[cfg(test)]
#[path = "split_test.rs"]
mod tests;
