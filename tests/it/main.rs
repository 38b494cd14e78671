//! Clusters, calls, the built program and the tree: one binary, linked once.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod bring_up;
mod calls;
#[cfg(feature = "cli")]
mod cli;
mod collectives;
mod coordinator;
mod data;
mod deaths;
mod expiry;
mod extend;
mod fabrics;
mod faults;
mod forms;
mod limits;
mod multi_client;
mod ops;
mod order;
mod raw;
mod reach;
mod retry;
mod seed;
mod support;
mod threads;
mod tidy;
