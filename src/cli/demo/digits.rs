//! The model's two stages, and the images that it is tried on. `examples/digits/README.md` says where they come from.

use bytes::Bytes;
use remex::{
    Tensor,
    tensor::{Element, npy},
};

use super::Failure;

/// `image` → `features`.
pub(super) const STAGE_1: &[u8] = include_bytes!("../../../examples/digits/stage1.onnx");
/// `features` → `logits`, `digit`.
pub(super) const STAGE_2: &[u8] = include_bytes!("../../../examples/digits/stage2.onnx");

/// Pixels along one side of an image.
pub(super) const SIDE: usize = 8;

/// Images and what they show.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// f32 `[count, 1, 8, 8]`, 0 (paper) to 1 (ink).
    pub(super) images: Tensor,
    /// What a person wrote.
    pub(super) labels: Vec<i64>,
}

impl Set {
    /// The 64 images that are shown.
    pub(super) fn samples() -> Result<Self, Failure> {
        Self::of(
            include_bytes!("../../../examples/digits/samples.npy"),
            include_bytes!("../../../examples/digits/labels.npy"),
        )
    }

    /// All images that the model was not trained on.
    pub(super) fn test() -> Result<Self, Failure> {
        Self::of(
            include_bytes!("../../../examples/digits/test.npy"),
            include_bytes!("../../../examples/digits/test_labels.npy"),
        )
    }

    fn of(images: &'static [u8], labels: &'static [u8]) -> Result<Self, Failure> {
        let read = |file| npy::from_bytes(&Bytes::from_static(file)).map_err(Failure::failed);
        Ok(Self { images: read(images)?, labels: elements(&read(labels)?)? })
    }

    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// One image, row by row.
    pub(super) fn image(&self, at: usize) -> Result<Vec<f32>, Failure> {
        let pixels = SIDE * SIDE;
        let all = self.images.elements::<f32>().map_err(Failure::failed)?;
        let image = all.get(at * pixels..(at + 1) * pixels);
        image.map(<[f32]>::to_vec).ok_or_else(|| Failure::failed(format!("there is no image {at}")))
    }

    /// The same cut into so many parts of nearly the same size, in order.
    pub(super) fn parts(&self, count: usize) -> Result<Vec<Set>, Failure> {
        let pixels = SIDE * SIDE;
        let all = self.images.elements::<f32>().map_err(Failure::failed)?;
        let bound = |part: usize| part * self.len() / count;
        let part = |i: usize| {
            let (from, to) = (bound(i), bound(i + 1));
            let shape = [(to - from) as u64, 1, SIDE as u64, SIDE as u64];
            let images = Tensor::from_slice(shape, &all[from * pixels..to * pixels]).map_err(Failure::failed)?;
            Ok(Set { images, labels: self.labels[from..to].to_vec() })
        };
        (0..count).map(part).collect()
    }

    /// How many of these answers are right.
    pub(super) fn right(&self, answers: &[i64]) -> usize {
        self.labels.iter().zip(answers).filter(|(label, answer)| label == answer).count()
    }
}

/// A tensor's elements.
pub(super) fn elements<T: Element>(tensor: &Tensor) -> Result<Vec<T>, Failure> {
    Ok(tensor.elements::<T>().map_err(Failure::failed)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_and_labels_are_as_many_and_as_large_as_they_should_be() {
        for (set, count) in [(Set::samples().unwrap(), 64), (Set::test().unwrap(), 360)] {
            assert_eq!((set.len(), set.images.shape().dims()), (count, &[count as u64, 1, 8, 8][..]));
            assert!(set.labels.iter().all(|label| (0..10).contains(label)));
            assert!(set.images.elements::<f32>().unwrap().iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        }
    }

    #[test]
    fn parts_together_are_the_whole() {
        let set = Set::test().unwrap();
        for count in [1, 2, 7, 64] {
            let parts = set.parts(count).unwrap();
            let labels: Vec<_> = parts.iter().flat_map(|part| part.labels.clone()).collect();
            let images: Vec<_> = parts.iter().flat_map(|part| part.images.bytes().to_vec()).collect();
            assert_eq!((parts.len(), labels), (count, set.labels.clone()));
            assert_eq!(images, set.images.bytes()[..]);
        }
    }

    #[test]
    fn right_answers_are_counted() {
        let mut answers = Set::samples().unwrap().labels;
        answers[3] += 1;
        assert_eq!(Set::samples().unwrap().right(&answers), 63);
        assert_eq!(Set::samples().unwrap().right(&[]), 0);
    }
}
