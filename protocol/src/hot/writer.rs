//! Writes msgpack in its shortest form, as the codec does.

use super::{FALSE, NIL, TRUE};
use crate::ids::ObjectId;

/// Most bytes of a number, or of the length of an array.
pub(super) const LONGEST: usize = 9;
/// Most bytes of an object's three numbers.
pub(super) const OBJECT: usize = 2 * LONGEST + 3;

/// Room at the end of a buffer, made once for all that is written: to look for room before each number costs more than the number.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    at: usize,
}

impl<'a> Writer<'a> {
    /// Makes room for `most` bytes.
    pub(super) fn new(out: &'a mut Vec<u8>, most: usize) -> Self {
        let at = out.len();
        out.resize(at + most, 0);
        Self { out, at }
    }

    /// Gives back what was not needed.
    pub(super) fn finish(self) {
        self.out.truncate(self.at);
    }

    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        // Not `copy_from_slice`, which is a call where these are one or two stores. There is room: it was counted.
        if let Some(room) = self.out[self.at..].first_chunk_mut() {
            *room = bytes;
        }
        self.at += N;
    }

    #[inline]
    pub(super) fn uint(&mut self, value: u64) {
        match value {
            0..=0x7f => self.put([value as u8]),
            0x80..=0xff => self.put([0xcc, value as u8]),
            0x100..=0xffff => {
                let [a, b] = (value as u16).to_be_bytes();
                self.put([0xcd, a, b]);
            }
            0x1_0000..=0xffff_ffff => {
                let [a, b, c, d] = (value as u32).to_be_bytes();
                self.put([0xce, a, b, c, d]);
            }
            _ => {
                let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
                self.put([0xcf, a, b, c, d, e, f, g, h]);
            }
        }
    }

    #[inline]
    pub(super) fn array(&mut self, len: usize) {
        match len {
            0..=15 => self.put([0x90 | len as u8]),
            16..=0xffff => {
                let [a, b] = (len as u16).to_be_bytes();
                self.put([0xdc, a, b]);
            }
            _ => {
                let [a, b, c, d] = (len as u32).to_be_bytes();
                self.put([0xdd, a, b, c, d]);
            }
        }
    }

    #[inline]
    pub(super) fn bool(&mut self, value: bool) {
        self.put([if value { TRUE } else { FALSE }]);
    }

    #[inline]
    pub(super) fn nil(&mut self) {
        self.put([NIL]);
    }

    pub(super) fn objects(&mut self, objects: &[ObjectId]) {
        self.array(objects.len());
        for object in objects {
            self.array(3);
            self.object(object);
        }
    }

    #[inline]
    pub(super) fn object(&mut self, object: &ObjectId) {
        self.uint(object.prefix.0);
        self.uint(object.local);
        self.uint(object.device.0.into());
    }
}
