//! Barrier: each tells all others that it has come. Pure.

use bytes::Bytes;
use remex_protocol::tensor::{DType, Tensor, TensorMetadata};

use super::{
    plan::Seen,
    work::{Came, Outgoing, Place, Work, malformed},
};
use crate::Result;

#[derive(Debug)]
pub(super) struct Barrier {
    place: Place,
    /// How many were told.
    told: u16,
    /// Who has come.
    come: Vec<bool>,
    seen: Seen,
}

impl Barrier {
    /// The work of one of at least two members.
    pub(super) fn new(place: Place) -> Self {
        let mut barrier =
            Self { place, told: 0, come: vec![false; place.members.into()], seen: Seen::new(place.members.into()) };
        barrier.comes(place.me);
        barrier
    }

    fn comes(&mut self, member: u16) -> bool {
        self.come[usize::from(member)] = true;
        self.seen.mark(member.into())
    }
}

impl Work for Barrier {
    fn begin(&mut self) -> Result<Option<Outgoing>> {
        if self.told + 1 == self.place.members {
            return Ok(None);
        }
        self.told += 1;
        // The neighbours first, then round the ring, so that not all begin with the same member.
        let to = self.place.back(self.told);
        let metadata = TensorMetadata::new(DType::U8, [0]);
        Ok(Some(Outgoing { to, metadata, step: 0, part: self.place.me, offset: 0, payload: Bytes::new() }))
    }

    fn take(&mut self, came: Came<'_>) -> Result<Option<Outgoing>> {
        let header = came.header;
        if header.step != 0 || header.offset != 0 || header.part != came.from || !came.payload.is_empty() {
            return Err(malformed(&came, "in a barrier each speaks for itself"));
        }
        if !self.comes(came.from) {
            return Err(malformed(&came, "it came before"));
        }
        Ok(None)
    }

    fn is_whole(&self) -> bool {
        self.seen.is_whole()
    }

    fn finish(&mut self) -> Result<Option<Tensor>> {
        Ok(None)
    }

    fn lacks(&self) -> u16 {
        self.come.iter().position(|come| !come).unwrap_or_default() as u16
    }
}
