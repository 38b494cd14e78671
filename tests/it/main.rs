//! Clusters, calls, the built program and the tree: one binary, linked once.

mod calls;
mod support;
mod tidy;
