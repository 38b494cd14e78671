//! Names a call in flight on one link.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A slot of the caller's table of calls in flight, and how often that slot was used before.
///
/// The caller assigns it; a reply carries it back. A late reply to a slot that was used again is known by its
/// generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId {
    /// The slot.
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

impl CallId {
    /// Names slot `index` in its use number `generation`.
    pub fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}.{}", self.index, self.generation)
    }
}
