//! The gate: what every model passes before an engine sees it.
//!
//! rten's own reader loops for ever on some damaged lengths, reserves what a length says, and refuses lists of numbers in
//! the packed form that proto3 writers use. So a model is decoded here, checked, and written anew for the engine.
//!
//! # Invariants
//! - **GT-1 (names).** In a graph that passed, every name that is read is defined once, before it is read, and hides no
//!   name of an outer graph.
//! - **GT-2 (data).** The data of every constant is inside the model and is as long as its shape and type say.
//! - **GT-3 (bounded).** The depth of graphs in graphs and the rank of shapes are bounded; so is what constants tell operators
//!   to make, by as many bytes as a model may have. What inputs make an operator allocate is not, nor what comes of
//!   constants that are joined or broadcast: that is limited by the process.

use std::collections::HashSet;

use prost::Message;
use remex_protocol::tensor::MAX_RANK;

use super::error::{OnnxError, Result, malformed, refused, too_large};
use super::growth::{Constants, Growth};
use super::proto::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, elem};

/// Deepest nesting of graphs in `If`, `Loop` and the like; real models use two or three levels.
const MAX_NESTING: usize = 16;

/// Longest dimension: rten counts in 32 bits.
const MAX_DIM: i64 = i32::MAX as i64;

/// Decodes and checks a model of at most `max_bytes` bytes, whose constants make as many more at most.
pub(crate) fn open(bytes: &[u8], max_bytes: u64) -> Result<ModelProto> {
    if bytes.len() as u64 > max_bytes {
        return too_large(format!("it has {} bytes, at most {max_bytes} are allowed", bytes.len()));
    }
    let model = ModelProto::decode(bytes).map_err(|error| OnnxError::Malformed(error.to_string()))?;
    if model.ir_version.is_none() {
        return malformed("it has no IR version, as every ONNX file has");
    }
    let Some(graph) = &model.graph else {
        return malformed("it has no graph");
    };
    check_graph(graph, None, &Growth::new(max_bytes), 0)?;
    if model.opset().is_none() && graph.node.iter().any(|node| node.op_domain().is_empty()) {
        return malformed("it does not say which version of ONNX's operators it uses (opset_import)");
    }
    Ok(model)
}

/// The model's bytes in the form that every engine reads, without what no engine computes with.
pub(crate) fn seal(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// The names that a node of a graph may read: those of its own graph so far, and those of the graphs around it.
struct Scope<'a> {
    names: HashSet<&'a str>,
    outer: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    fn knows(&self, name: &str) -> bool {
        self.names.contains(name) || self.outer.is_some_and(|outer| outer.knows(name))
    }

    fn define(&mut self, name: &'a str, what: impl FnOnce() -> String) -> Result<()> {
        if self.knows(name) {
            return malformed(format!("{} defines {name:?}, which is defined already", what()));
        }
        self.names.insert(name);
        Ok(())
    }
}

fn check_graph(graph: &GraphProto, outer: Option<&Scope<'_>>, growth: &Growth, depth: usize) -> Result<()> {
    if depth > MAX_NESTING {
        return too_large(format!("graphs lie in graphs more than {MAX_NESTING} deep"));
    }
    let mut scope = Scope { names: HashSet::new(), outer };
    for input in &graph.input {
        let name = named(input.name.as_deref(), "a graph's input")?;
        scope.define(name, || "a graph's input".to_owned())?;
    }
    let inputs = scope.names.clone();
    let mut constants = Constants::default();
    for tensor in &graph.initializer {
        let name = named(tensor.name.as_deref(), "an initializer")?;
        check_tensor(tensor, name)?;
        // Before IR version 4 an initializer had to be listed among the inputs too; it may be there once.
        if !inputs.contains(name) || constants.known.contains_key(name) {
            scope.define(name, || "an initializer".to_owned())?;
        }
        constants.known.insert(name, tensor);
    }
    for sparse in &graph.sparse_initializer {
        let values = sparse.values.as_ref().and_then(|values| values.name.as_deref());
        scope.define(named(values, "a sparse initializer")?, || "a sparse initializer".to_owned())?;
    }
    for value in graph.input.iter().chain(&graph.output).chain(&graph.value_info) {
        check_dims(value)?;
    }
    for node in &graph.node {
        if node.op().is_empty() {
            return malformed(format!("{} has no operator type", node.label()));
        }
        if let Some(unknown) = node.input.iter().find(|name| !name.is_empty() && !scope.knows(name)) {
            return malformed(format!(
                "{} reads {unknown:?}, which nothing before it defines; nodes must be in order",
                node.label()
            ));
        }
        check_attributes(node, &scope, growth, depth)?;
        growth.check(node, &mut constants)?;
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            scope.define(name, || node.label())?;
        }
        if let ("Constant", Some(value), [name]) = (node.op(), node.attr("value"), node.output.as_slice())
            && let Some(tensor) = value.t.as_deref()
        {
            constants.known.insert(name, tensor);
        }
    }
    let mut seen = HashSet::new();
    for output in &graph.output {
        let name = named(output.name.as_deref(), "a graph's output")?;
        if !scope.knows(name) {
            return malformed(format!("nothing defines the output {name:?}"));
        }
        if depth == 0 && !seen.insert(name) {
            return malformed(format!("the output {name:?} is given twice"));
        }
    }
    Ok(())
}

fn named<'a>(name: Option<&'a str>, what: &str) -> Result<&'a str> {
    match name {
        Some(name) if !name.is_empty() => Ok(name),
        _ => malformed(format!("{what} has no name")),
    }
}

fn check_attributes(node: &NodeProto, scope: &Scope<'_>, growth: &Growth, depth: usize) -> Result<()> {
    let mut seen = HashSet::new();
    for attribute in &node.attribute {
        let Some(name) = attribute.name.as_deref() else {
            return malformed(format!("an attribute of {} has no name", node.label()));
        };
        if !seen.insert(name) {
            return malformed(format!("{} has the attribute {name:?} twice", node.label()));
        }
        if attribute.ref_attr_name.is_some() {
            // Outside a function there is nothing to refer to, and an engine would take the default value.
            return malformed(format!("the attribute {name:?} of {} refers to another", node.label()));
        }
        for tensor in attribute.t.as_deref().into_iter().chain(&attribute.tensors) {
            check_tensor(tensor, &format!("{name} of {}", node.label()))?;
        }
        for graph in attribute.subgraphs() {
            check_graph(graph, Some(scope), growth, depth + 1)?;
        }
    }
    Ok(())
}

fn check_dims(value: &ValueInfoProto) -> Result<()> {
    let tensor = value.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let Some(shape) = tensor.and_then(|t| t.shape.as_ref()) else {
        return Ok(());
    };
    let name = value.name.as_deref().unwrap_or_default();
    if shape.dim.len() > MAX_RANK {
        return too_large(format!("{name:?} has {} dimensions, at most {MAX_RANK} are allowed", shape.dim.len()));
    }
    match shape.dim.iter().filter_map(|dim| dim.dim_value).find(|&len| len > MAX_DIM) {
        Some(len) => too_large(format!("a dimension of {name:?} is {len}, at most {MAX_DIM} is allowed")),
        None => Ok(()),
    }
}

fn check_tensor(tensor: &TensorProto, name: &str) -> Result<()> {
    match tensor.data_location.unwrap_or_default() {
        0 if tensor.external_data.is_empty() => {}
        0 | 1 => {
            return refused(format!(
                "the tensor {name:?} is kept in another file; save the model with all data inside, as \
                 onnx.save(onnx.load(path), path) does"
            ));
        }
        other => return malformed(format!("the tensor {name:?} is kept in a place numbered {other}")),
    }
    if tensor.dims.len() > MAX_RANK {
        return too_large(format!("the tensor {name:?} has {} dimensions", tensor.dims.len()));
    }
    if let Some(len) = tensor.dims.iter().find(|len| !(0..=MAX_DIM).contains(*len)) {
        return malformed(format!("a dimension of the tensor {name:?} is {len}"));
    }
    let elements = elements(&tensor.dims);
    let number = tensor.data_type.unwrap_or_default();
    if number == 0 {
        return malformed(format!("the tensor {name:?} has no element type"));
    }
    let typed = [
        tensor.float_data.len(),
        tensor.int32_data.len(),
        tensor.string_data.len(),
        tensor.int64_data.len(),
        tensor.double_data.len(),
        tensor.uint64_data.len(),
    ];
    let mismatch = |found: usize, what: &str| {
        malformed(format!("the tensor {name:?} {:?} of {} holds {found} {what}", tensor.dims, elem::name(number)))
    };
    if let Some(raw) = &tensor.raw_data {
        if typed.iter().any(|&len| len > 0) {
            return malformed(format!("the tensor {name:?} holds its data twice"));
        }
        return match elem::dtype(number) {
            Some(dtype) if elements.and_then(|n| n.checked_mul(dtype.size_bytes())) != Some(raw.len() as u64) => {
                mismatch(raw.len(), "bytes")
            }
            _ => Ok(()),
        };
    }
    let own = match number {
        elem::FLOAT => 0,
        2..=6 | elem::BOOL | 10 | 16 => 1,
        elem::STRING => 2,
        elem::INT64 => 3,
        11 => 4,
        12 | 13 => 5,
        // Types that no tensor of this crate has: the engine sees to them, or refuses them.
        _ => return Ok(()),
    };
    if Some(typed[own] as u64) != elements {
        return mismatch(typed[own], "elements");
    }
    match typed.iter().enumerate().any(|(i, &len)| i != own && len > 0) {
        true => malformed(format!("the tensor {name:?} holds data of another type than its own")),
        false => Ok(()),
    }
}

#[cfg(test)]
#[path = "gate_test.rs"]
mod tests;

fn elements(dims: &[i64]) -> Option<u64> {
    if dims.contains(&0) {
        return Some(0);
    }
    dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(u64::try_from(dim).ok()?))
}

/// The elements of a tensor of 64-bit integers that passed [`check_tensor`].
pub(crate) fn tensor_ints(tensor: &TensorProto) -> Option<Vec<i64>> {
    if tensor.data_type != Some(elem::INT64) {
        return None;
    }
    Some(match &tensor.raw_data {
        Some(raw) => raw.as_chunks().0.iter().map(|chunk| i64::from_le_bytes(*chunk)).collect(),
        None => tensor.int64_data.clone(),
    })
}
