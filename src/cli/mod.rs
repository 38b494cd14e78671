//! The command line: one file a subcommand.

mod bench;
mod demo;
mod devices;
mod failure;
mod objects;
mod output;
mod parse;
mod programs;
mod run;
mod serve;
mod system;
mod usage;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use failure::Failure;

/// Runs programs on other processes and machines.
#[derive(Debug, Parser)]
#[command(name = "remex", version, about, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Embedded workers, a real model, real data; what happens is shown step by step
    Demo(demo::Args),
    /// Be a worker
    Serve(serve::Args),
    /// Run an ONNX model on workers
    Run(run::Args),
    /// Who is there, and what have they got
    Devices(devices::Args),
    /// What is stored on workers
    Objects(objects::Args),
    /// Measure
    Bench(bench::Args),
}

/// Parses the arguments and runs the command. Status 2: wrong usage; 1: it failed; each with one sentence on stderr.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::end(&error),
    };
    let done = match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Run(args) => run::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Objects(args) => objects::run(args),
        Command::Bench(args) => bench::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
