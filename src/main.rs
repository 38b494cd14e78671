//! The program `remex`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
