//! What `remex run` is told.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use remex::{Address, ClusterFile, ContextConfig};

use crate::cli::{Failure, parse};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The model, an ONNX file
    pub(super) model: PathBuf,
    /// An input of the model and the .npy file it is in; once for each input
    #[arg(long, value_name = "NAME=FILE.npy", value_parser = input)]
    pub(super) input: Vec<(String, PathBuf)>,
    /// The folder that the outputs are written to, as OUTPUT.npy; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// So many workers inside this process
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(super) workers: u32,
    /// The addresses of workers that are running, with commas between them
    #[arg(long, value_name = "ADDRESS,...", value_delimiter = ',', value_parser = parse::address, conflicts_with = "workers")]
    pub(super) connect: Vec<Address>,
    /// A file that describes the cluster of workers that are running
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = ["workers", "connect"])]
    pub(super) config: Option<PathBuf>,
    /// Runs the model so often, on the workers in turn, and says how long that took
    #[arg(long, value_name = "K", default_value_t = NonZeroU32::MIN)]
    pub(super) repeat: NonZeroU32,
    /// How long one run may take, the waiting for a worker included [default: as --config says, or 60s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    deadline: Option<Duration>,
    /// How long to wait for workers that are not there yet [default: as --config says, or 30s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    wait: Option<Duration>,
    /// One JSON object a line on stdout instead of text, for each thing that happens
    #[arg(long)]
    pub(super) json: bool,
}

impl Args {
    /// The cluster that `--config` names.
    pub(super) fn cluster(&self) -> Result<Option<ClusterFile>, Failure> {
        self.config.as_deref().map(parse::cluster).transpose()
    }

    /// What a run's context is like, on the tasks of `cluster`, or else on those that it will be given.
    pub(super) fn context(&self, cluster: Option<&ClusterFile>) -> ContextConfig {
        let mut config = cluster.map_or_else(ContextConfig::default, ClusterFile::context);
        config.default_deadline = self.deadline.unwrap_or(config.default_deadline);
        config.wait = self.wait.unwrap_or(config.wait);
        config
    }
}

const HELP: &str = "\
In the name of an output's file each character outside A-Za-z0-9._- becomes _. Of repeated runs the outputs of the first \
are written. Nothing is tried again: a worker that is lost ends the run, with an error that names it.

Status: 0 done, 1 it failed, 2 it was called wrongly (an input that the model does not have, a wrong dtype or shape).";

/// `NAME=FILE`.
fn input(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("write NAME=FILE.npy, NAME being that of the model's input".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_a_name_and_a_file() {
        assert_eq!(input("x:0=a=b.npy"), Ok(("x:0".to_owned(), "a=b.npy".into())));
        for text in ["x", "=a.npy", "x=", ""] {
            assert!(input(text).unwrap_err().contains("write NAME=FILE.npy"), "{text}");
        }
    }
}
