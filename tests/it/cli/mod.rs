//! The built program, started as a person starts it: on port 0 and on sockets in temporary folders.

mod bench;
#[cfg(feature = "onnx")]
mod config;
mod devices;
mod objects;
mod process;
#[cfg(feature = "onnx")]
mod python;
#[cfg(feature = "onnx")]
mod run;
#[cfg(feature = "onnx")]
mod run_refused;
mod serve;
mod spill;
mod usage;
