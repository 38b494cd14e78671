//! Clusters, calls, the built program and the tree: one binary, linked once.

mod calls;
#[cfg(feature = "cli")]
mod cli;
mod support;
mod tidy;
