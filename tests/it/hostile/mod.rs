//! Strangers who mean harm: each harms only its own session.
//!
//! Every test has a worker, a client that behaves and goes on meanwhile, and a look at what is left afterwards: nothing.

mod flood;
mod frames;
mod greeting;
mod lanes;
mod others;
mod peer;
mod sockets;
mod worker;
