//! The chapters: what happens, what is promised, what can be changed, and how to run it.

#[doc = include_str!("extending.md")]
pub mod extending {}

#[doc = include_str!("lifecycle.md")]
pub mod lifecycle {}

#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = include_str!("semantics.md")]
pub mod semantics {}

#[doc = include_str!("tfrt_map.md")]
pub mod tfrt_map {}

#[doc = include_str!("wire.md")]
pub mod wire {}
