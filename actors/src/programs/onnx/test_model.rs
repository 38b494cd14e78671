//! Small models for tests, made of the gate's own messages.

use prost::Message;
use remex_protocol::tensor::Tensor;

use super::error::Result;
use super::model::OnnxModel;
use super::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::{convert, signature};

/// Builds a model step by step. Names are given as words in one text, dimensions likewise: `"n 4 ?"`.
#[derive(Clone, Debug)]
pub(crate) struct TestModel(pub(crate) ModelProto);

impl TestModel {
    pub(crate) fn new(opset: i64) -> Self {
        let opset = OperatorSetIdProto { domain: None, version: Some(opset) };
        let graph = GraphProto { name: Some("test".to_owned()), ..Default::default() };
        Self(ModelProto { ir_version: Some(8), graph: Some(graph), opset_import: vec![opset], ..Default::default() })
    }

    pub(crate) fn graph(&mut self) -> &mut GraphProto {
        self.0.graph.as_mut().unwrap()
    }

    pub(crate) fn input(mut self, name: &str, elem: i32, dims: &str) -> Self {
        self.graph().input.push(value(name, elem, dims));
        self
    }

    pub(crate) fn output(mut self, name: &str, elem: i32, dims: &str) -> Self {
        self.graph().output.push(value(name, elem, dims));
        self
    }

    pub(crate) fn value_info(mut self, name: &str, elem: i32, dims: &str) -> Self {
        self.graph().value_info.push(value(name, elem, dims));
        self
    }

    pub(crate) fn node(mut self, op: &str, inputs: &str, outputs: &str) -> Self {
        self.graph().node.push(node(op, inputs, outputs));
        self
    }

    /// Gives the last node an attribute.
    pub(crate) fn attr(mut self, attribute: AttributeProto) -> Self {
        self.graph().node.last_mut().unwrap().attribute.push(attribute);
        self
    }

    pub(crate) fn int(self, name: &str, i: i64) -> Self {
        self.attr(AttributeProto { i: Some(i), ..attribute(name, 2) })
    }

    pub(crate) fn ints(self, name: &str, ints: &[i64]) -> Self {
        self.attr(AttributeProto { ints: ints.to_vec(), ..attribute(name, 7) })
    }

    pub(crate) fn text(self, name: &str, text: &str) -> Self {
        self.attr(AttributeProto { s: Some(text.to_owned().into()), ..attribute(name, 3) })
    }

    pub(crate) fn floats(mut self, name: &str, dims: &[i64], data: &[f32]) -> Self {
        self.graph().initializer.push(floats(name, dims, data));
        self
    }

    pub(crate) fn longs(mut self, name: &str, dims: &[i64], data: &[i64]) -> Self {
        self.graph().initializer.push(TensorProto {
            name: Some(name.to_owned()),
            dims: dims.to_vec(),
            data_type: Some(7),
            int64_data: data.to_vec(),
            ..Default::default()
        });
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    pub(crate) fn compile(&self) -> Result<OnnxModel> {
        OnnxModel::compile(&self.bytes())
    }

    /// The text of the error that compiling gives.
    pub(crate) fn refusal(&self) -> String {
        self.compile().unwrap_err().to_string()
    }

    /// What rten makes of the model by itself, past gate and checks.
    pub(crate) fn rten_alone(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        let signature = signature::declared(self.0.graph.as_ref().unwrap()).unwrap();
        let model = rten::Model::load(self.bytes()).unwrap();
        let inputs =
            model.input_ids().iter().zip(inputs).map(|(&id, input)| (id, convert::to_rten("", input).unwrap()));
        let outputs = model.run(inputs.collect(), model.output_ids(), None).unwrap();
        signature.outputs.iter().zip(&outputs).map(|(arg, value)| convert::from_rten(arg, value).unwrap()).collect()
    }

    pub(crate) fn run(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        self.compile().unwrap().run(inputs).unwrap()
    }
}

pub(crate) fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind), ..Default::default() }
}

pub(crate) fn floats(name: &str, dims: &[i64], data: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(1),
        raw_data: Some(data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>().into()),
        ..Default::default()
    }
}

pub(crate) fn node(op: &str, inputs: &str, outputs: &str) -> NodeProto {
    // "-" stands for an optional input that is left out.
    let words = |text: &str| text.split_whitespace().map(|w| w.replace('-', "")).collect();
    let (domain, op) = op.rsplit_once('/').unwrap_or(("", op));
    NodeProto {
        name: Some(format!("the_{}", op.to_lowercase())),
        op_type: Some(op.to_owned()),
        domain: (!domain.is_empty()).then(|| domain.to_owned()),
        input: words(inputs),
        output: words(outputs),
        ..Default::default()
    }
}

pub(crate) fn value(name: &str, elem: i32, dims: &str) -> ValueInfoProto {
    let dim = |word: &str| match word.parse() {
        Ok(len) => DimensionProto { dim_value: Some(len), dim_param: None },
        Err(_) => DimensionProto { dim_value: None, dim_param: (word != "?").then(|| word.to_owned()) },
    };
    let shape = TensorShapeProto { dim: dims.split_whitespace().map(dim).collect() };
    let tensor = TensorTypeProto { elem_type: Some(elem), shape: Some(shape) };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto { tensor_type: Some(tensor), ..Default::default() }),
    }
}

/// A graph of one matrix product and a bias, whose shapes have symbols: `y[n,2] = relu(x[n,3] · w + b)`.
pub(crate) fn dense() -> TestModel {
    TestModel::new(17)
        .input("x", 1, "n 3")
        .floats("w", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        .floats("b", &[2], &[-100.0, 0.5])
        .node("MatMul", "x w", "h")
        .node("Add", "h b", "s")
        .node("Relu", "s", "y")
        .value_info("h", 1, "n 2")
        .value_info("s", 1, "n 2")
        .output("y", 1, "n 2")
}

pub(crate) fn f32s<const N: usize>(dims: [u64; N], data: &[f32]) -> Tensor
where
    remex_protocol::tensor::Shape: From<[u64; N]>,
{
    Tensor::from_slice(dims, data).unwrap()
}

pub(crate) fn i64s<const N: usize>(dims: [u64; N], data: &[i64]) -> Tensor
where
    remex_protocol::tensor::Shape: From<[u64; N]>,
{
    Tensor::from_slice(dims, data).unwrap()
}
