//! Where a command runs.

use std::mem::ManuallyDrop;

/// Runs a command in an actix `System`, on this thread.
///
/// The `System` is not taken down afterwards: that would wait for the threads of the compute pool, and a program that
/// never comes back would keep the process from ending. What has to be closed, the command closes.
pub(crate) fn block_on<F: Future>(command: F) -> F::Output {
    ManuallyDrop::new(actix::System::new()).block_on(command)
}
