//! Clusters, calls, the built program and the tree: one binary, linked once.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod bring_up;
mod calls;
#[cfg(feature = "cli")]
mod cli;
mod collectives;
mod coordinator;
mod cut_connections;
mod data;
mod deaths;
mod expiry;
mod extend;
mod fabrics;
mod faults;
mod files;
mod forms;
mod hostile;
mod inputs;
mod lanes;
mod limits;
mod metadata;
mod multi_client;
mod ops;
mod order;
mod raw;
mod reach;
mod resume;
mod retry;
mod scopes;
mod seed;
mod sim;
mod spill;
mod stall;
mod support;
mod threads;
mod tidy;
