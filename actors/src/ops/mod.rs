//! Ops: small programs with attributes. They are not registered: a call names one, and each task has its own set.
//!
//! ```text
//! call: "sum", axes = [0] ──▶ OpRegistry::bind ──▶ Executable ──▶ runs like a registered program
//! ```
//!
//! - [`Op`] is what one does: it checks its inputs and attributes, says what it will give, and gives it.
//! - [`OpRegistry`] is the set of a task; [`OpRegistry::base`] (feature `ops`) has arithmetic, comparison, matrix
//!   products, reductions, data movement and random numbers.
//!
//! # Invariants
//! - **OP-1 (said before it is done).** What `infer` gives is what `run` gives: dtype and shape.
//! - **OP-2 (checked first).** An op of the base set allocates nothing before inputs, attributes and the size of its
//!   output have been checked.
//! - **OP-3 (contained).** A panic of a user's op is an error of its call (I9).

#[cfg(feature = "ops")]
mod base;
mod op;
mod registry;

pub use op::Op;
pub use registry::OpRegistry;
