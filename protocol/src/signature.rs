//! What a program takes and gives: names, element types and shapes, some of whose lengths are symbols.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    bounded,
    tensor::{DType, Shape, TensorMetadata},
};

/// The inputs and outputs of a program, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// What it takes.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub inputs: Vec<Arg>,
    /// What it gives.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub outputs: Vec<Arg>,
}

/// One input or output of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arg {
    /// Its name inside the program, at most `MAX_NAME` bytes; may be empty.
    #[serde(deserialize_with = "crate::bounded::name")]
    pub name: String,
    /// The type of its elements; `None`: any.
    pub dtype: Option<DType>,
    /// Its dimensions; `None`: any number of them.
    #[serde(deserialize_with = "crate::bounded::dims")]
    pub dims: Option<Vec<Dim>>,
}

/// The length of a dimension. Travels as an integer, a string or nil.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// So long.
    Fixed(u64),
    /// As long as every other dimension of that name in the same call.
    Symbol(String),
    /// Any length.
    Any,
}

impl Serialize for Dim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Dim::Fixed(len) => serializer.serialize_u64(*len),
            Dim::Symbol(name) => serializer.serialize_str(name),
            Dim::Any => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Dim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Dim;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length, a symbol or nil")
            }

            fn visit_u64<E: de::Error>(self, len: u64) -> Result<Dim, E> {
                Ok(Dim::Fixed(len))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Dim, E> {
                bounded::checked_name(name.to_owned()).map(Dim::Symbol)
            }

            fn visit_unit<E: de::Error>(self) -> Result<Dim, E> {
                Ok(Dim::Any)
            }

            fn visit_none<E: de::Error>(self) -> Result<Dim, E> {
                Ok(Dim::Any)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Arg {
    fn accepts<'a>(&'a self, actual: &TensorMetadata, symbols: &mut BTreeMap<&'a str, u64>) -> Result<(), String> {
        let wrong = |why: String| Err(format!("input {:?} is {actual}, but {why}", self.name));
        if let Some(dtype) = self.dtype
            && dtype != actual.dtype
        {
            return wrong(format!("the program takes {self}"));
        }
        let Some(dims) = &self.dims else { return Ok(()) };
        if dims.len() != actual.shape.rank() {
            return wrong(format!("the program takes {self}"));
        }
        for (dim, &len) in dims.iter().zip(actual.shape.dims()) {
            match dim {
                Dim::Any => {}
                Dim::Fixed(fixed) if *fixed == len => {}
                Dim::Fixed(_) => return wrong(format!("the program takes {self}")),
                Dim::Symbol(name) => {
                    let bound = *symbols.entry(name).or_insert(len);
                    if bound != len {
                        return wrong(format!("{name:?} is {bound} in an earlier dimension and {len} here"));
                    }
                }
            }
        }
        Ok(())
    }

    fn bind(&self, symbols: &BTreeMap<&str, u64>) -> Option<TensorMetadata> {
        let dims = self.dims.as_ref()?.iter().map(|dim| match dim {
            Dim::Fixed(len) => Some(*len),
            Dim::Symbol(name) => symbols.get(name.as_str()).copied(),
            Dim::Any => None,
        });
        let shape = Shape::try_from(dims.collect::<Option<Vec<_>>>()?).ok()?;
        Some(TensorMetadata { dtype: self.dtype?, shape })
    }
}

impl Signature {
    /// Checks the inputs of a call and says what is known of its outputs: `None` for an output whose dtype or shape
    /// does not follow from the inputs. The error is a sentence that names the input and what it should be.
    pub fn infer(&self, inputs: &[TensorMetadata]) -> Result<Vec<Option<TensorMetadata>>, String> {
        if inputs.len() != self.inputs.len() {
            return Err(format!("the program takes {} inputs, {} were given", self.inputs.len(), inputs.len()));
        }
        let mut symbols = BTreeMap::new();
        for (arg, actual) in self.inputs.iter().zip(inputs) {
            arg.accepts(actual, &mut symbols)?;
        }
        Ok(self.outputs.iter().map(|output| output.bind(&symbols)).collect())
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dtype {
            Some(dtype) => write!(f, "{dtype}")?,
            None => f.write_str("any")?,
        }
        let Some(dims) = &self.dims else {
            return f.write_str("[..]");
        };
        f.write_str("[")?;
        for (i, dim) in dims.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match dim {
                Dim::Fixed(len) => write!(f, "{len}")?,
                Dim::Symbol(name) => f.write_str(name)?,
                Dim::Any => f.write_str("?")?,
            }
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arg(name: &str, dtype: DType, dims: &[Dim]) -> Arg {
        Arg { name: name.to_owned(), dtype: Some(dtype), dims: Some(dims.to_vec()) }
    }

    fn matmul() -> Signature {
        let sym = |s: &str| Dim::Symbol(s.to_owned());
        Signature {
            inputs: vec![arg("a", DType::F32, &[sym("n"), sym("k")]), arg("b", DType::F32, &[sym("k"), Dim::Fixed(4)])],
            outputs: vec![arg("c", DType::F32, &[sym("n"), Dim::Fixed(4)]), arg("d", DType::I64, &[Dim::Any])],
        }
    }

    #[test]
    fn symbols_carry_lengths_to_the_outputs() {
        let f32 = |dims: [u64; 2]| TensorMetadata::new(DType::F32, dims);
        let inferred = matmul().infer(&[f32([2, 3]), f32([3, 4])]).unwrap();
        assert_eq!(inferred, [Some(f32([2, 4])), None]);
    }

    #[test]
    fn wrong_inputs_are_named() {
        let f32 = |dims: [u64; 2]| TensorMetadata::new(DType::F32, dims);
        fn check(inputs: &[TensorMetadata], expected: &str) {
            let error = matmul().infer(inputs).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        check(&[f32([2, 3])], "takes 2 inputs, 1 were given");
        check(&[f32([2, 3]), f32([5, 4])], "input \"b\" is f32[5,4], but \"k\" is 3");
        check(&[f32([2, 3]), f32([3, 5])], "the program takes f32[k,4]");
        check(&[TensorMetadata::new(DType::F64, [2, 3]), f32([3, 4])], "the program takes f32[n,k]");
    }

    #[test]
    fn a_signature_crosses_the_wire() {
        let mut bytes = Vec::new();
        crate::encode(&mut bytes, &matmul()).unwrap();
        assert_eq!(crate::decode::<Signature>(&bytes).unwrap(), matmul());
    }
}
