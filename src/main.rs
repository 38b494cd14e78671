//! The program `remex`.

mod cli;

/// A call allocates and frees a dozen small things on each side, a thousand calls in flight at a time: more than the system's
/// allocator keeps at hand for a thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
