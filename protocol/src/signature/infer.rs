//! What follows from the inputs of a call: whether the program takes them, and what it will give.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{Arg, ArgType, Dim, Signature, Term};
use crate::tensor::{DType, Shape, TensorMetadata};

/// What symbols stand for in one call. Nearly always there are few; a peer's signature may have many.
#[derive(Debug)]
struct Bound<'a, T> {
    few: SmallVec<[(&'a str, T); 8]>,
    many: BTreeMap<&'a str, T>,
}

impl<T> Default for Bound<'_, T> {
    fn default() -> Self {
        Self { few: SmallVec::new(), many: BTreeMap::new() }
    }
}

impl<'a, T: Copy> Bound<'a, T> {
    fn find(&self, name: &str) -> Option<T> {
        let few = self.few.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        few.or_else(|| self.many.get(name).copied())
    }

    /// What the symbol stands for: what it stood for before, else `value`.
    fn bind(&mut self, name: &'a str, value: T) -> T {
        if let Some(known) = self.find(name) {
            return known;
        }
        if self.few.len() < self.few.inline_size() {
            self.few.push((name, value));
        } else {
            self.many.insert(name, value);
        }
        value
    }
}

#[derive(Debug, Default)]
struct Symbols<'a> {
    lengths: Bound<'a, u64>,
    types: Bound<'a, DType>,
}

impl Symbols<'_> {
    /// How long a dimension is; `None` if that does not follow, or is more than a `u64`.
    fn length(&self, dim: &Dim) -> Option<u64> {
        match dim {
            Dim::Fixed(len) => Some(*len),
            Dim::Symbol(name) => self.lengths.find(name),
            Dim::Sum(terms) => terms.iter().try_fold(0u64, |sum, term| sum.checked_add(self.product(term)?)),
            Dim::Any => None,
        }
    }

    fn product(&self, Term { factor, symbols }: &Term) -> Option<u64> {
        symbols.iter().try_fold(*factor, |product, name| product.checked_mul(self.lengths.find(name)?))
    }
}

impl Arg {
    /// Whether it can be `actual`. Binds its symbols; of its sums see [`check_sums`](Self::check_sums).
    fn accepts<'a>(&'a self, actual: &TensorMetadata, symbols: &mut Symbols<'a>) -> Result<(), String> {
        match &self.dtype {
            ArgType::Any => {}
            ArgType::Fixed(dtype) if *dtype == actual.dtype => {}
            ArgType::Fixed(_) => return self.takes(actual),
            ArgType::Symbol(name) => {
                let bound = symbols.types.bind(name, actual.dtype);
                if bound != actual.dtype {
                    let here = actual.dtype;
                    return self.wrong(actual, &format!("{name:?} is {bound} in an earlier input and {here} here"));
                }
            }
        }
        let Some(dims) = &self.dims else { return Ok(()) };
        if dims.len() != actual.shape.rank() {
            return self.takes(actual);
        }
        for (dim, &len) in dims.iter().zip(actual.shape.dims()) {
            match dim {
                Dim::Any | Dim::Sum(_) => {}
                Dim::Fixed(fixed) if *fixed == len => {}
                Dim::Fixed(_) => return self.takes(actual),
                Dim::Symbol(name) => {
                    let bound = symbols.lengths.bind(name, len);
                    if bound != len {
                        let why = format!("{name:?} is {bound} in an earlier dimension and {len} here");
                        return self.wrong(actual, &why);
                    }
                }
            }
        }
        Ok(())
    }

    /// Its sums, once all symbols are bound. A sum of which something is not known is not checked.
    fn check_sums(&self, actual: &TensorMetadata, symbols: &Symbols<'_>) -> Result<(), String> {
        for (dim, &len) in self.dims.iter().flatten().zip(actual.shape.dims()) {
            if matches!(dim, Dim::Sum(_))
                && let Some(sum) = symbols.length(dim)
                && sum != len
            {
                return self.wrong(actual, &format!("\"{dim}\" is {sum} and the dimension is {len}"));
            }
        }
        Ok(())
    }

    fn takes(&self, actual: &TensorMetadata) -> Result<(), String> {
        self.wrong(actual, &format!("the program takes {self}"))
    }

    fn wrong(&self, actual: &TensorMetadata, why: &str) -> Result<(), String> {
        Err(format!("input {:?} is {actual}, but {why}", self.name))
    }

    fn bind(&self, symbols: &Symbols<'_>) -> Option<TensorMetadata> {
        let dtype = match &self.dtype {
            ArgType::Fixed(dtype) => *dtype,
            ArgType::Symbol(name) => symbols.types.find(name)?,
            ArgType::Any => return None,
        };
        let dims = self.dims.as_ref()?.iter().map(|dim| symbols.length(dim));
        let shape = Shape::try_from(dims.collect::<Option<SmallVec<[u64; 4]>>>()?).ok()?;
        Some(TensorMetadata { dtype, shape })
    }
}

impl Signature {
    /// Checks the inputs of a call and says what is known of its outputs: `None` for an output whose dtype or shape
    /// does not follow from the inputs. The error is a sentence that names the input and what it should be.
    pub fn infer(&self, inputs: &[TensorMetadata]) -> Result<Vec<Option<TensorMetadata>>, String> {
        if inputs.len() != self.inputs.len() {
            return Err(format!("the program takes {} inputs, {} were given", self.inputs.len(), inputs.len()));
        }
        let mut symbols = Symbols::default();
        let given = || self.inputs.iter().zip(inputs);
        given().try_for_each(|(arg, actual)| arg.accepts(actual, &mut symbols))?;
        given().try_for_each(|(arg, actual)| arg.check_sums(actual, &symbols))?;
        Ok(self.outputs.iter().map(|output| output.bind(&symbols)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32(dims: &[u64]) -> TensorMetadata {
        TensorMetadata::new(DType::F32, Shape::try_from(dims).unwrap())
    }

    fn infer(signature: &str, inputs: &[TensorMetadata]) -> Result<String, String> {
        let outputs = Signature::symbolic(signature).unwrap().infer(inputs)?;
        let text = |output: Option<TensorMetadata>| output.map_or_else(|| "?".to_owned(), |known| known.to_string());
        Ok(outputs.into_iter().map(text).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn symbols_carry_lengths_to_the_outputs() {
        fn check(signature: &str, inputs: &[TensorMetadata], expected: &str) {
            assert_eq!(infer(signature, inputs).unwrap(), expected, "{signature}");
        }
        check("a: f32[n,k], b: f32[k,4] -> c: f32[n,4], d: i64[?]", &[f32(&[2, 3]), f32(&[3, 4])], "f32[2,4] ?");
        check("f32[n], f32[m] -> f32[n+m], f32[2*n*m+1], i64[]", &[f32(&[2]), f32(&[3])], "f32[5] f32[13] i64[]");
        check("f32[n], f32[n+1] -> f32[n]", &[f32(&[2]), f32(&[3])], "f32[2]");
        // The sum is of a symbol that only a later input binds.
        check("f32[n+1], f32[n] -> f32[n]", &[f32(&[3]), f32(&[2])], "f32[2]");
        check("T[..], any[..] -> T[3], any[3]", &[f32(&[2]), f32(&[])], "f32[3] ?");
        check("any[n] -> f32[n*n]", &[f32(&[1 << 32])], "?");
        check("->", &[], "");
    }

    #[test]
    fn wrong_inputs_are_named() {
        fn check(signature: &str, inputs: &[TensorMetadata], expected: &str) {
            let error = infer(signature, inputs).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let matmul = "a: f32[n,k], b: f32[k,4] -> f32[n,4]";
        let f64 = |dims: [u64; 2]| TensorMetadata::new(DType::F64, dims);
        check(matmul, &[f32(&[2, 3])], "takes 2 inputs, 1 were given");
        check(matmul, &[f32(&[2, 3]), f32(&[5, 4])], "input \"b\" is f32[5,4], but \"k\" is 3");
        check(matmul, &[f32(&[2, 3]), f32(&[3, 5])], "the program takes f32[k,4]");
        check(matmul, &[f64([2, 3]), f32(&[3, 4])], "the program takes f32[n,k]");
        check(matmul, &[f32(&[2]), f32(&[3, 4])], "input \"a\" is f32[2], but the program takes f32[n,k]");
        check("x: T[..], y: T[..] -> T[]", &[f32(&[2]), f64([1, 1])], "input \"y\" is f64[1,1], but \"T\" is f32");
        check("x: f32[n], y: f32[2*n] -> ", &[f32(&[2]), f32(&[5])], "input \"y\" is f32[5], but \"2*n\" is 4");
    }

    #[test]
    fn a_signature_with_many_symbols_keeps_them_apart() {
        let names: Vec<_> = (0..31).map(|i| format!("s{i}")).collect();
        let dims: Vec<u64> = (0..31).map(|i| i + 1).collect();
        let text = format!("f32[{0}], f32[{0}] -> f32[s30,s0,s9]", names.join(","));
        assert_eq!(infer(&text, &[f32(&dims), f32(&dims)]).unwrap(), "f32[31,1,10]");
        let mut others = dims.clone();
        others[30] = 7;
        assert!(infer(&text, &[f32(&dims), f32(&others)]).unwrap_err().contains("\"s30\" is 31"));
    }
}
