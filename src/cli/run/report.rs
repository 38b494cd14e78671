//! What a run says of itself: lines for people, or JSON objects for machines.

use std::{io::IsTerminal, path::Path, time::Duration};

use indicatif::ProgressBar;
use remex::{Discovered, Signature, TensorMetadata};
use serde_json::{Value, json};

use crate::cli::{Failure, output};

/// Says what happens, as it happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    json: bool,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// A worker was found.
    pub(super) fn worker(self, found: &Discovered) -> Result<(), Failure> {
        let (task, address) = (found.task.to_string(), found.address.to_string());
        let line = format!("worker {task} at {address}");
        self.say(&line, || json!({ "event": "worker", "task": task, "address": address }))
    }

    /// The model was compiled on a worker, which says what it takes and gives. For machines only.
    pub(super) fn registered(self, task: &str, signature: &Signature) -> Result<(), Failure> {
        let args = |args: &[remex::Arg]| -> Vec<Value> {
            args.iter().map(|arg| json!({ "name": arg.name, "type": arg.to_string() })).collect()
        };
        let (inputs, outputs) = (args(&signature.inputs), args(&signature.outputs));
        let event = json!({ "event": "registered", "task": task, "inputs": inputs, "outputs": outputs });
        if self.json { output::line(event) } else { Ok(()) }
    }

    /// Element type and shape of an output are known.
    pub(super) fn metadata(self, name: &str, metadata: &TensorMetadata) -> Result<(), Failure> {
        self.say(&format!("output {name}: {metadata}"), || {
            let (dtype, shape) = (metadata.dtype.to_string(), metadata.shape.dims());
            json!({ "event": "metadata", "output": name, "dtype": dtype, "shape": shape })
        })
    }

    /// An output is in its file.
    pub(super) fn written(self, name: &str, file: &Path) -> Result<(), Failure> {
        let file = file.display().to_string();
        self.say(&format!("wrote {file}"), || json!({ "event": "written", "output": name, "file": file }))
    }

    /// A run is done. For machines only.
    pub(super) fn ran(self, run: u32, task: &str, took: Duration) -> Result<(), Failure> {
        let event = json!({ "event": "run", "run": run, "task": task, "seconds": took.as_secs_f64() });
        if self.json { output::line(event) } else { Ok(()) }
    }

    /// All runs are done.
    pub(super) fn done(self, runs: u32, took: Duration) -> Result<(), Failure> {
        let seconds = took.as_secs_f64();
        let line = match runs {
            1 => format!("1 run in {seconds:.3} s"),
            _ => format!("{runs} runs in {seconds:.3} s, {:.1} a second", f64::from(runs) / seconds.max(1e-9)),
        };
        self.say(&line, || json!({ "event": "done", "runs": runs, "seconds": seconds }))
    }

    /// It failed. For machines only; people find the sentence on stderr.
    pub(super) fn failed(self, failure: &Failure) -> Result<(), Failure> {
        let event = json!({ "event": "error", "status": failure.status(), "message": failure.message() });
        if self.json { output::line(event) } else { Ok(()) }
    }

    fn say(self, line: &str, event: impl FnOnce() -> Value) -> Result<(), Failure> {
        if self.json { output::line(event()) } else { output::line(line) }
    }
}

/// A bar for so many runs, where there is something to wait for and a person who sees it.
pub(super) fn bar(runs: u32) -> ProgressBar {
    if runs > 1 && std::io::stderr().is_terminal() { ProgressBar::new(u64::from(runs)) } else { ProgressBar::hidden() }
}
