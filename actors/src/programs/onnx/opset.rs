//! What rten 0.27.0 computes wrongly without saying so. Each refusal names the node, the operator, and the reason.
//!
//! Found by running the operator tests of ONNX 1.23 (up to [`NEWEST`]) through rten; each has a test that shows the wrong
//! value, and fails when rten has learned better. What can be said in operators that rten computes right is not refused
//! but said so: see `mend.rs`.

use std::collections::{HashMap, HashSet};

use rten::{Dimension, Model};

use super::error::{Result, refused, too_large};
use super::gate::tensor_ints;
use super::proto::{
    DimensionProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, elem, plain_domain,
};
use super::split::reads;

/// Oldest version of ONNX's operators: before it they broadcast by other rules, and Dropout trains by default.
const OLDEST: i64 = 7;

/// Newest version of ONNX's operators that rten was compared with. A later one may mean something else by the same name.
const NEWEST: i64 = 28;

/// Longest chain of operators: rten plans a run by one call inside another for each, about 450 bytes of stack deep, and a
/// thread of a pool has 2 MiB. Transformers of 24 layers come to about 1,000.
const MAX_CHAIN: usize = 2_000;

/// Checks what the model says by itself.
pub(crate) fn check_model(model: &ModelProto) -> Result<()> {
    if let Some(opset) = model.opset()
        && !(OLDEST..=NEWEST).contains(&opset)
    {
        return refused(format!(
            "it uses version {opset} of ONNX's operators, the engine knows {OLDEST} to {NEWEST}; \
             onnx.version_converter.convert_version changes it"
        ));
    }
    let Some(graph) = &model.graph else { return Ok(()) };
    for_each_graph(graph, &mut |graph| {
        if let Some(sparse) = graph.sparse_initializer.first() {
            let name = sparse.values.as_ref().and_then(|values| values.name.as_deref()).unwrap_or_default();
            return refused(format!("the constant {name:?} is sparse, and the engine has no sparse tensors"));
        }
        check_cast_like(graph)?;
        graph.node.iter().try_for_each(|node| check_node(model, node))
    })?;
    check_integers(graph)
}

/// Checks what the mended model makes rten do.
pub(crate) fn check_mended(model: &ModelProto) -> Result<()> {
    let Some(graph) = &model.graph else { return Ok(()) };
    for_each_graph(graph, &mut |graph| {
        let mut depths: HashMap<&str, usize> = HashMap::new();
        for node in &graph.node {
            let inputs = reads(node).into_iter().filter_map(|name| depths.get(name));
            let depth = inputs.max().map_or(1, |depth| depth + 1);
            if depth > MAX_CHAIN {
                return too_large(format!(
                    "{} is the end of a chain of {depth} operators, the engine takes {MAX_CHAIN}; split the model",
                    node.label()
                ));
            }
            depths.extend(node.output.iter().map(|name| (name.as_str(), depth)));
        }
        Ok(())
    })
}

fn check_node(model: &ModelProto, node: &NodeProto) -> Result<()> {
    let local = |function: &FunctionProto| {
        function.name == node.op_type && plain_domain(function.domain.as_deref()) == node.op_domain()
    };
    if model.functions.iter().any(local) {
        return refused(format!(
            "{} calls a function that the model defines, and the engine has none; onnx.inliner.inline_local_functions \
             replaces it by its body",
            node.label()
        ));
    }
    match (node.op_domain(), node.op()) {
        ("", "Resize") if node.attr("mode").is_some_and(|mode| mode.text() == "cubic") => {
            refused(format!("{} with mode \"cubic\": the engine would interpolate linearly instead", node.label()))
        }
        ("", "NonMaxSuppression") => refused(format!(
            "{}: the engine keeps one class of a box only, and drops boxes that overlap a dropped one",
            node.label()
        )),
        _ => Ok(()),
    }
}

/// rten has no truth values: what is cast like one stays the number that it is. (`Cast` itself is mended.)
fn check_cast_like(graph: &GraphProto) -> Result<()> {
    let like = |node: &&NodeProto| node.op_domain().is_empty() && node.op() == "CastLike";
    if !graph.node.iter().any(|node| like(&node)) {
        return Ok(());
    }
    let mut bools: HashSet<&str> = HashSet::new();
    for value in graph.input.iter().chain(&graph.value_info).chain(&graph.output) {
        let tensor = value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        if tensor.is_some_and(|tensor| tensor.elem_type == Some(elem::BOOL)) {
            bools.extend(value.name.as_deref());
        }
    }
    let constant = |tensor: &&TensorProto| tensor.data_type == Some(elem::BOOL);
    bools.extend(graph.initializer.iter().filter(constant).filter_map(|tensor| tensor.name.as_deref()));
    for node in &graph.node {
        let gives_bools = match node.op() {
            "And" | "Equal" | "Greater" | "GreaterOrEqual" | "IsInf" | "IsNaN" | "Less" | "LessOrEqual" | "Not"
            | "Or" | "Xor" => true,
            "Cast" => node.attr("to").and_then(|to| to.i) == Some(elem::BOOL.into()),
            "Constant" => node.attr("value").and_then(|value| value.t.as_deref()).is_some_and(|t| constant(&t)),
            _ => false,
        };
        if gives_bools {
            bools.extend(node.output.iter().map(String::as_str));
        }
    }
    let to_bool = |node: &&NodeProto| node.input.get(1).is_some_and(|name| bools.contains(name.as_str()));
    match graph.node.iter().filter(like).find(to_bool) {
        Some(node) => refused(format!("{} to bool: the engine would keep the numbers; use Cast", node.label())),
        None => Ok(()),
    }
}

/// Refuses 64-bit constants that do not fit the 32 bits that rten has; it would take the nearest number. Only where that
/// means the same they may stand: the ends of Slice, and the largest and smallest numbers, which stand for infinity.
fn check_integers(graph: &GraphProto) -> Result<()> {
    let mut suspects: Vec<(String, i64)> = Vec::new();
    let mut suspect = |name: &str, values: &[i64]| {
        let infinite = |value: i64| value <= i64::MIN + 1 || value >= i64::MAX - 1;
        let wrong = values.iter().copied().find(|&value| i32::try_from(value).is_err() && !infinite(value));
        suspects.extend(wrong.map(|value| (name.to_owned(), value)));
    };
    let ints = |tensor: &TensorProto| tensor_ints(tensor).unwrap_or_default();
    let mut read_elsewhere: HashSet<String> = HashSet::new();
    for_each_graph(graph, &mut |graph| {
        for tensor in &graph.initializer {
            suspect(tensor.name.as_deref().unwrap_or_default(), &ints(tensor));
        }
        read_elsewhere.extend(graph.output.iter().filter_map(|output| output.name.clone()));
        for node in &graph.node {
            let name = node.output.first().map(String::as_str).unwrap_or_default();
            match node.op() {
                "Constant" | "ConstantOfShape" => {
                    for attribute in &node.attribute {
                        suspect(name, attribute.t.as_deref().map(ints).unwrap_or_default().as_slice());
                        suspect(name, &attribute.ints);
                        suspect(name, attribute.i.as_slice());
                    }
                }
                "Slice" => {}
                _ => read_elsewhere.extend(node.input.iter().cloned()),
            }
        }
        Ok(())
    })?;
    match suspects.into_iter().find(|(name, _)| read_elsewhere.contains(name)) {
        Some((name, value)) => {
            refused(format!("the constant {name:?} holds {value}, and the engine computes with 32-bit integers"))
        }
        None => Ok(()),
    }
}

/// Checks what depends on ranks, which rten has inferred.
pub(crate) fn check_loaded(model: &ModelProto, loaded: &Model) -> Result<()> {
    let Some(graph) = &model.graph else { return Ok(()) };
    let opset = model.opset().unwrap_or(NEWEST);
    for_each_graph(graph, &mut |graph| {
        let shapes = Shapes::new(graph, loaded);
        for node in graph.node.iter().filter(|node| node.op_domain().is_empty()) {
            match node.op() {
                "Softmax" | "LogSoftmax" if opset < 13 => check_softmax(node, opset, &shapes)?,
                "MatMul" | "MatMulInteger" => check_matmul(node, &shapes)?,
                _ => {}
            }
        }
        Ok(())
    })
}

/// Before opset 13 these operators saw their input as a matrix, split before `axis` (1 by default), and worked along its
/// rows. rten works along the one dimension `axis` (the last by default). Both mean the same if the rest has length 1.
fn check_softmax(node: &NodeProto, opset: i64, shapes: &Shapes<'_>) -> Result<()> {
    let given = node.attr("axis").map(|axis| axis.i.unwrap_or_default());
    if given == Some(-1) {
        return Ok(());
    }
    let names = [&node.input, &node.output].map(|names| names.first().map(String::as_str).unwrap_or_default());
    let Some(dims) = names.iter().find_map(|name| shapes.dims(name)) else {
        return refused(format!(
            "{} of opset {opset}: its meaning depends on the rank of its input, which is not known; convert the model to \
             opset 13 or later",
            node.label()
        ));
    };
    let rank = i64::try_from(dims.len()).unwrap_or(i64::MAX);
    let axis = given.unwrap_or(1);
    let axis = if axis < 0 { axis + rank } else { axis };
    let rest = usize::try_from(axis).ok().and_then(|axis| dims.get(axis + 1..));
    match rest {
        Some([]) => Ok(()),
        Some(rest) if given.is_some() && rest.iter().all(|dim| *dim == Some(1)) => Ok(()),
        _ => refused(format!(
            "{} of opset {opset} has axis {axis} of {rank} dimensions: before opset 13 that means all dimensions from \
             there on, and the engine would take one; convert the model to opset 13 or later",
            node.label()
        )),
    }
}

/// rten leaves a dimension of length 1 in the product of a batch of matrices and a vector.
fn check_matmul(node: &NodeProto, shapes: &Shapes<'_>) -> Result<()> {
    let [Some(a), Some(b)] = [0, 1].map(|i| node.input.get(i).and_then(|name| shapes.dims(name))) else {
        return Ok(());
    };
    match (a.len(), b.len()) {
        (3.., 1) => refused(format!(
            "{} of {} dimensions by a vector: the engine would give a dimension too many; multiply by a matrix of one \
             column and squeeze it",
            node.label(),
            a.len()
        )),
        _ => Ok(()),
    }
}

/// What is known of the shapes of a graph's values: as rten inferred them, else as the graph declares them.
struct Shapes<'a> {
    declared: HashMap<&'a str, &'a TensorShapeProto>,
    loaded: &'a Model,
}

impl<'a> Shapes<'a> {
    fn new(graph: &'a GraphProto, loaded: &'a Model) -> Self {
        let declared = graph.value_info.iter().chain(&graph.input).chain(&graph.output).filter_map(|value| {
            let shape = value.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
            Some((value.name.as_deref()?, shape))
        });
        Self { declared: declared.collect(), loaded }
    }

    /// The lengths of the dimensions, where they are fixed; `None` if the rank is unknown.
    fn dims(&self, name: &str) -> Option<Vec<Option<u64>>> {
        let info = self.loaded.find_node(name).and_then(|id| self.loaded.node_info(id));
        if let Some(dims) = info.and_then(|info| info.shape()) {
            let fixed = |dim| match dim {
                Dimension::Fixed(len) => Some(len as u64),
                Dimension::Symbolic(_) => None,
            };
            return Some(dims.into_iter().map(fixed).collect());
        }
        let fixed = |dim: &DimensionProto| dim.dim_value.and_then(|len| u64::try_from(len).ok());
        Some(self.declared.get(name)?.dim.iter().map(fixed).collect())
    }
}

/// Calls `visit` with a graph and all graphs inside it.
pub(crate) fn for_each_graph(graph: &GraphProto, visit: &mut impl FnMut(&GraphProto) -> Result<()>) -> Result<()> {
    visit(graph)?;
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        for inner in attribute.subgraphs() {
            for_each_graph(inner, visit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "opset_test.rs"]
mod tests;
