//! What hostile bytes must not do: panic, cost more memory than is allowed, or mean two things.
//!
//! A target is a function of bytes that panics if it sees one of these. The tests in `tests/` call it with every file of
//! its corpus and with mutations of them; libFuzzer calls it with what it makes up (see CONTRIBUTING.md).
//!
//! ```text
//!  corpus/TARGET/*  ─┐                      ┌─ tests/corpora.rs     every cargo test
//!  golden frames    ─┼─▶ seeds ─▶ mutate ─▶ target ◀──────────────── libfuzzer, by hand
//!  nasty (by hand)  ─┘
//! ```

pub mod memory;
pub mod mutate;
pub mod seeds;
pub mod targets;

pub use targets::{Target, all};
