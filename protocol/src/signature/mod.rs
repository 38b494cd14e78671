//! What a program takes and gives: names, element types and shapes, some of which are symbols.
//!
//! A signature says what follows from what without running anything, so that whoever has it can tell the outputs of a call
//! from its inputs: the worker before a run, and the caller, who has it with the answer to the registration, before
//! anything is sent. [`Signature::symbolic`] reads one from text:
//!
//! ```
//! # use remex_protocol::{signature::Signature, tensor::{DType, TensorMetadata}};
//! let matmul = Signature::symbolic("a: f32[n,k], b: f32[k,m] -> c: f32[n,m]").unwrap();
//! let inputs = [TensorMetadata::new(DType::F32, [2, 3]), TensorMetadata::new(DType::F32, [3, 4])];
//! assert_eq!(matmul.infer(&inputs).unwrap(), [Some(TensorMetadata::new(DType::F32, [2, 4]))]);
//! ```

mod dim;
mod infer;
mod text;

pub use dim::{ArgType, Dim, MAX_FACTORS, MAX_TERMS, Term};
pub use text::{MAX_TEXT, SignatureError};

use serde::{Deserialize, Serialize};

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
    /// The type of its elements.
    pub dtype: ArgType,
    /// Its dimensions; `None`: any number of them.
    #[serde(deserialize_with = "crate::bounded::dims")]
    pub dims: Option<Vec<Dim>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    #[test]
    fn a_signature_crosses_the_wire() {
        for text in [
            "a: f32[n,k], b: f32[k,4] -> c: f32[n,4], d: i64[?]",
            "T[n,?], any[..], T[m] -> T[n+m], any[2*n*m+1], bool[]",
            "->",
        ] {
            let signature = Signature::symbolic(text).unwrap();
            let mut bytes = Vec::new();
            crate::encode(&mut bytes, &signature).unwrap();
            assert_eq!(crate::decode::<Signature>(&bytes).unwrap(), signature, "{text}");
            for end in 0..bytes.len() {
                crate::decode::<Signature>(&bytes[..end]).unwrap_err();
            }
        }
    }

    /// I8: what a peer sends for a type or a length is bounded, and what is neither is an error that says so.
    #[test]
    fn what_is_no_type_and_no_length_is_refused() {
        fn check<T: serde::de::DeserializeOwned + std::fmt::Debug>(bytes: &[u8], expected: &str) {
            let error = crate::decode::<T>(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let term = [0x92, 0x01, 0x91, 0xa1, b'n'];
        let sum = |terms: usize| [&[0xdc, 0, terms as u8][..], &term.repeat(terms)].concat();
        assert!(crate::decode::<Dim>(&sum(MAX_TERMS)).is_ok());
        check::<Dim>(&sum(MAX_TERMS + 1), "more than 8 terms of a length");
        let factors = |n: usize| [&[0x91, 0x92, 0x01, 0xdc, 0, n as u8][..], &[0xa1, b'n'].repeat(n)].concat();
        assert!(crate::decode::<Dim>(&factors(MAX_FACTORS)).is_ok());
        check::<Dim>(&factors(MAX_FACTORS + 1), "more than 8 symbols of a term");
        check::<Dim>(&[0x91, 0x92, 0x01, 0x91, 0x91, 0x01], "invalid type");
        check::<Dim>(&[0xc3], "a length, a symbol, a sum of products or nil");
        check::<ArgType>(&[0xcc, 200], "200 is not the number of an element type");
        check::<ArgType>(&[0x90], "the number of an element type, a symbol or nil");
        let long = [&[0xda, 1, 1][..], &[b'n'; 257]].concat();
        check::<ArgType>(&long, "a name of 257 bytes");
        check::<Dim>(&[&[0x91, 0x92, 0x01, 0x91][..], &long].concat(), "a name of 257 bytes");
        assert_eq!(crate::decode::<ArgType>(&[12]).unwrap(), ArgType::Fixed(DType::F32));
    }
}
