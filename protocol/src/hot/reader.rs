//! Reads of msgpack what is usual here.

use super::{FALSE, TRUE};
use crate::ids::{DeviceIndex, ObjectId, ObjectPrefix};

/// What is left of a header. Each method takes what it names from the front, or leaves the whole to the codec.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    #[inline]
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    #[inline]
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    #[inline]
    pub(super) fn uint<T: TryFrom<u64>>(&mut self) -> Option<T> {
        let value = match self.byte()? {
            small @ 0..=0x7f => small.into(),
            0xcc => self.byte()?.into(),
            0xcd => u16::from_be_bytes(self.bytes()?).into(),
            0xce => u32::from_be_bytes(self.bytes()?).into(),
            0xcf => u64::from_be_bytes(self.bytes()?),
            _ => return None,
        };
        T::try_from(value).ok()
    }

    /// The length of an array of at most `most` elements.
    #[inline]
    pub(super) fn array(&mut self, most: usize) -> Option<usize> {
        let len = match self.byte()? {
            small @ 0x90..=0x9f => usize::from(small & 0x0f),
            0xdc => u16::from_be_bytes(self.bytes()?).into(),
            _ => return None,
        };
        (len <= most).then_some(len)
    }

    #[inline]
    pub(super) fn array_of(&mut self, len: u8) -> Option<()> {
        (self.byte()? == 0x90 | len).then_some(())
    }

    #[inline]
    pub(super) fn bool(&mut self) -> Option<bool> {
        match self.byte()? {
            FALSE => Some(false),
            TRUE => Some(true),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn object(&mut self) -> Option<ObjectId> {
        Some(ObjectId { prefix: ObjectPrefix(self.uint()?), local: self.uint()?, device: DeviceIndex(self.uint()?) })
    }

    /// At most `most` objects.
    pub(super) fn objects(&mut self, most: usize) -> Option<Vec<ObjectId>> {
        let len = self.array(most)?;
        // Each has four bytes at least: nothing is allocated that is not there.
        let mut objects = Vec::with_capacity(len.min(self.0.len() / 4));
        for _ in 0..len {
            self.array_of(3)?;
            objects.push(self.object()?);
        }
        Some(objects)
    }

    /// `value`, if nothing is left.
    pub(super) fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}
