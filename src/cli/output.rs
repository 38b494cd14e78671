//! Lines on stdout.

use std::{
    fmt::Display,
    io::{self, Write},
};

use super::Failure;

/// Writes a line and flushes it: whoever reads it through a pipe has it at once.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    written.map_err(|error| Failure::failed(format!("cannot write to stdout: {error}")))
}
