//! The ops that a task has.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use remex_protocol::{ErrorCode, attrs::Attrs, tensor::Tensor};

use super::Op;
use crate::{
    Error, Result,
    programs::{Executable, ProgramError, native},
};

/// The ops of a task, by name.
#[derive(Clone, Default)]
pub struct OpRegistry(BTreeMap<String, Arc<dyn Op>>);

impl OpRegistry {
    /// None.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The base set, which `guide::ops` lists.
    #[cfg(feature = "ops")]
    pub fn base() -> Self {
        Self(super::base::all().map(|op| (op.name().to_owned(), Arc::new(op) as Arc<dyn Op>)).collect())
    }

    /// Adds an op. Fails with `AlreadyExists` if there is one of that name: calls must not change what they mean.
    pub fn register(&mut self, op: impl Op) -> Result<()> {
        let name = op.name().to_owned();
        if self.0.contains_key(&name) {
            return Err(Error::new(ErrorCode::AlreadyExists, format!("there is an op {name:?} already")));
        }
        self.0.insert(name, Arc::new(op));
        Ok(())
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The op of this name. Fails with `NotFound`, and names the ops that there are.
    pub fn find(&self, name: &str) -> Result<Arc<dyn Op>> {
        self.0.get(name).cloned().ok_or_else(|| Error::new(ErrorCode::NotFound, self.unknown(name)))
    }

    /// An op with its attributes, ready to run on so many inputs. Fails with `NotFound`, or as the op refuses inputs,
    /// outputs and attributes (`InvalidArgument`).
    pub fn bind(&self, name: &str, attrs: Attrs, inputs: usize, outputs: usize) -> Result<Executable> {
        let op = self.find(name)?;
        let checked = catch_unwind(AssertUnwindSafe(|| op.check(inputs, &attrs).map(|()| op.outputs(&attrs))));
        let gives = checked.unwrap_or_else(|_| {
            Err(ProgramError::new(ErrorCode::Internal, format!("op {name} panicked when it was asked for its outputs")))
        });
        let refused = |error: ProgramError| Error::from(error.of_program(name));
        let gives = gives.map_err(refused)?;
        if gives != outputs {
            let message = format!("op {name} has {gives} outputs, the call names {outputs}");
            return Err(refused(ProgramError::invalid(message)));
        }
        let attrs = Arc::new(attrs);
        let (run, infer, cheap) = ((op.clone(), attrs.clone()), (op.clone(), attrs.clone()), (op, attrs));
        Ok(native(move |inputs: &[Tensor]| run.0.run(inputs, &run.1))
            .inputs(inputs)
            .outputs(outputs)
            .infer_by(move |inputs| infer.0.infer(inputs, &infer.1))
            .inline_if(move |inputs| cheap.0.is_cheap(inputs, &cheap.1)))
    }

    fn unknown(&self, name: &str) -> String {
        let known: Vec<_> = self.names().collect();
        // Not a name that shares next to nothing with what was asked for.
        let nearest = known.iter().map(|known| (distance(name, known), known)).min();
        match nearest {
            None => format!("this task has no op {name:?}; it has none at all"),
            Some((far, nearest)) if far * 2 <= nearest.len() => {
                format!("this task has no op {name:?}; did you mean {nearest:?}? It has {}", known.join(", "))
            }
            Some(_) => format!("this task has no op {name:?}; it has {}", known.join(", ")),
        }
    }
}

/// How many letters have to be put in, left out or changed to get from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    // A name comes from a caller: what is much longer than any op is not compared.
    let from: Vec<char> = from.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for letter in to.chars() {
        let mut diagonal = row[0];
        row[0] += 1;
        for (i, other) in from.iter().enumerate() {
            let changed = diagonal + usize::from(*other != letter);
            diagonal = row[i + 1];
            row[i + 1] = changed.min(row[i] + 1).min(row[i + 1] + 1);
        }
    }
    row[from.len()]
}

impl fmt::Debug for OpRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpRegistry").field(&self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use remex_protocol::tensor::{DType, TensorMetadata};

    use super::*;
    use crate::programs::{Body, ProgramCall};

    /// Gives each input twice; panics when it is told to.
    struct Twice;

    impl Op for Twice {
        fn name(&self) -> &str {
            "twice"
        }

        fn outputs(&self, attrs: &Attrs) -> usize {
            assert!(attrs.get("panic").is_none());
            2
        }

        fn check(&self, inputs: usize, _: &Attrs) -> Result<(), ProgramError> {
            if inputs == 1 { Ok(()) } else { Err(ProgramError::invalid("one input, please")) }
        }

        fn infer(&self, inputs: &[TensorMetadata], attrs: &Attrs) -> Result<Vec<Option<TensorMetadata>>, ProgramError> {
            assert!(attrs.get("panic later").is_none());
            Ok(vec![inputs.first().cloned(); 2])
        }

        fn run(&self, inputs: &[Tensor], _: &Attrs) -> Result<Vec<Tensor>, ProgramError> {
            Ok([inputs, inputs].concat())
        }

        fn is_cheap(&self, inputs: &[TensorMetadata], attrs: &Attrs) -> bool {
            assert!(attrs.get("panic later").is_none());
            inputs[0].size_bytes() <= Some(64)
        }
    }

    fn twice() -> OpRegistry {
        let mut ops = OpRegistry::empty();
        ops.register(Twice).unwrap();
        ops
    }

    #[test]
    fn a_name_stands_once() {
        let mut ops = twice();
        assert_eq!(ops.register(Twice).unwrap_err().code(), ErrorCode::AlreadyExists);
        assert_eq!(ops.names().collect::<Vec<_>>(), ["twice"]);
    }

    #[test]
    fn an_unknown_op_is_told_what_there_is() {
        let error = |ops: &OpRegistry, name: &str| match ops.find(name) {
            Ok(op) => panic!("there is {}", op.name()),
            Err(error) => (error.code(), error.message().to_owned()),
        };
        let ops = twice();
        let (code, message) = error(&ops, "twise");
        assert_eq!(
            (code, &*message),
            (ErrorCode::NotFound, "this task has no op \"twise\"; did you mean \"twice\"? It has twice")
        );
        assert_eq!(error(&ops, "matmul").1, "this task has no op \"matmul\"; it has twice");
        assert_eq!(error(&ops, "").1, "this task has no op \"\"; it has twice");
        assert!(error(&OpRegistry::empty(), "x").1.contains("none at all"));
    }

    #[test]
    fn distances_are_counted_in_letters() {
        fn check(from: &str, to: &str, expected: usize) {
            assert_eq!((distance(from, to), distance(to, from)), (expected, expected), "{from} {to}");
        }
        check("", "", 0);
        check("", "add", 3);
        check("ad", "add", 1);
        check("reshape", "rehsape", 2);
        check("minimum", "maximum", 2);
    }

    #[test]
    fn a_bound_op_runs_like_a_program() {
        let bound = twice().bind("twice", Attrs::new(), 1, 2).unwrap();
        let small = TensorMetadata::new(DType::F32, [2]);
        let large = TensorMetadata::new(DType::F32, [200]);
        assert!(bound.is_inline(std::slice::from_ref(&small)) && !bound.is_inline(std::slice::from_ref(&large)));
        assert_eq!(bound.infer(std::slice::from_ref(&large)).unwrap(), vec![Some(large); 2]);
        assert!(
            bound.check_arity(1, 2).is_ok() && bound.check_arity(2, 2).is_err() && bound.check_arity(1, 1).is_err()
        );
        let Body::Sized(program, _) = &bound.body else { panic!("not sized") };
        let mut call = ProgramCall::sample("twice", vec![Tensor::zeros(small.clone()).unwrap()], 2);
        program.run(&mut call).unwrap();
        assert_eq!(call.outputs.finish().unwrap().len(), 2);
    }

    #[test]
    fn what_the_op_refuses_is_not_bound() {
        let ops = twice();
        let error = ops.bind("twice", Attrs::new(), 3, 2).unwrap_err();
        assert_eq!((error.code(), error.program()), (ErrorCode::InvalidArgument, Some("twice")));
        assert!(error.message().contains("one input, please"));
        let error = ops.bind("twice", Attrs::new(), 1, 3).unwrap_err();
        assert!(error.message().contains("has 2 outputs, the call names 3"), "{error}");
        assert_eq!(ops.bind("thrice", Attrs::new(), 1, 3).unwrap_err().code(), ErrorCode::NotFound);
    }

    /// OP-3.
    #[test]
    fn a_panic_of_an_op_is_an_error() {
        let ops = twice();
        let error = ops.bind("twice", Attrs::new().with("panic", true), 1, 2).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Internal);
        let bound = ops.bind("twice", Attrs::new().with("panic later", true), 1, 2).unwrap();
        let small = [TensorMetadata::new(DType::F32, [2])];
        assert_eq!(bound.infer(&small).unwrap_err().code, ErrorCode::Internal);
        assert!(!bound.is_inline(&small));
    }
}
