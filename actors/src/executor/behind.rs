//! Runs that take outputs of others of the same message: on the arbiter, one after the other.

use remex_protocol::tensor::Tensor;
use tokio::time::Instant;

use super::{Behind, Given, actor::INLINE_LIMIT};
use crate::objects::Finished;

/// What ran on the arbiter in one message, and what follows from it.
#[derive(Debug, Default)]
pub(super) struct Turn {
    finished: Vec<Finished>,
    /// Where in `finished` each run is, by its place in the message; `None`: it has not ended.
    places: Vec<Option<u32>>,
    began: Option<Instant>,
}

impl Turn {
    /// So many runs are to come.
    pub(super) fn of(runs: usize) -> Self {
        Self { finished: Vec::with_capacity(runs), places: Vec::with_capacity(runs), began: None }
    }

    /// The next run has ended, or will end at another time.
    pub(super) fn push(&mut self, finished: Option<Finished>) {
        self.places.push(finished.is_some().then_some(self.finished.len() as u32));
        self.finished.extend(finished);
    }

    /// All that has ended, in order.
    pub(super) fn finish(self) -> Vec<Finished> {
        self.finished
    }

    /// The inputs of a run that goes behind; `None` if something of it is not here, or if the turn has lasted long enough: then it is
    /// left.
    pub(super) fn inputs(&mut self, behind: &Behind) -> Option<Vec<Tensor>> {
        let began = *self.began.get_or_insert_with(Instant::now);
        if began.elapsed() > INLINE_LIMIT || !behind.after.iter().all(|task| self.output(*task).is_some()) {
            return None;
        }
        let inputs = behind.inputs.iter().map(|input| match input {
            Given::Here(tensor) => Some(tensor.clone()),
            Given::Output { task, output } => self.output(*task)?.get(*output as usize).cloned(),
        });
        inputs.collect()
    }

    fn output(&self, task: u32) -> Option<&[Tensor]> {
        let place = (*self.places.get(task as usize)?)?;
        self.finished[place as usize].outcome.as_deref().ok()
    }
}

#[cfg(test)]
mod tests {
    use smallvec::SmallVec;

    use super::*;
    use crate::{Error, executor::Task, programs::native};

    fn behind(inputs: &[Given], after: &[u32]) -> Behind {
        let program = std::sync::Arc::new(native(|_| Ok(Vec::new())).inline());
        let task = Task::sample(1, &program, Vec::new());
        Behind { task, inputs: inputs.iter().cloned().collect(), after: SmallVec::from_slice(after) }
    }

    #[test]
    fn inputs_are_those_that_have_succeeded() {
        let (a, b) = (Tensor::from_slice([1], &[1.0]).unwrap(), Tensor::from_slice([1], &[2.0]).unwrap());
        let of = |task, output| Given::Output { task, output };
        let mut turn = Turn::default();
        turn.push(None);
        turn.push(Some(Finished::new(7, Ok(vec![a.clone(), b.clone()]))));
        turn.push(Some(Finished::new(8, Err(Error::new(remex_protocol::ErrorCode::Aborted, "no")))));
        let inputs = turn.inputs(&behind(&[of(1, 1), Given::Here(a.clone()), of(1, 0)], &[1]));
        assert_eq!(inputs, Some(vec![b, a.clone(), a]));
        for (inputs, after) in [(vec![of(0, 0)], vec![]), (vec![of(2, 0)], vec![]), (vec![of(1, 2)], vec![])] {
            assert_eq!(turn.inputs(&behind(&inputs, &after)), None, "{inputs:?}");
        }
        for after in [0, 2, 3] {
            assert_eq!(turn.inputs(&behind(&[], &[after])), None, "after {after}");
        }
        assert_eq!(turn.finish().len(), 2);
    }
}
