//! `remex devices`: who is there, and what have they got.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use comfy_table::{Table, presets};
use remex::{Address, Discovered, Server};
use serde_json::json;

use super::{Failure, output, parse, system};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The addresses of the workers, with commas between them
    #[arg(long, value_name = "ADDRESS,...", required_unless_present = "config", value_delimiter = ',', value_parser = parse::address)]
    connect: Vec<Address>,
    /// A file that describes the cluster, instead of addresses
    #[arg(long, value_name = "FILE.toml", conflicts_with = "connect")]
    config: Option<PathBuf>,
    /// How long to wait for workers that are not there yet
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = parse::duration)]
    wait: Duration,
    /// One JSON object a worker instead of a table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    parse::distinct(&args.connect)?;
    let mut connect = args.connect;
    if let Some(file) = &args.config {
        connect.extend(parse::cluster(file)?.addresses().cloned());
    }
    system::block_on(async {
        // It only asks: one thread that is never used is enough.
        let server = Server::builder().threads(NonZeroUsize::MIN).start().await?;
        let found = server.discover(connect, args.wait).await?;
        if args.json {
            objects(&found)?
        } else {
            output::line(table(&found))?
        }
        Ok(server.stop().await?)
    })
}

fn objects(found: &[Discovered]) -> Result<(), Failure> {
    found.iter().try_for_each(|worker| {
        let devices: Vec<_> = worker.devices.iter().map(ToString::to_string).collect();
        output::line(json!({
            "task": worker.task.to_string(),
            "address": worker.address.to_string(),
            "incarnation": worker.incarnation.to_string(),
            "devices": devices,
        }))
    })
}

/// A row a device.
fn table(found: &[Discovered]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["task", "address", "device", "incarnation"]);
    for worker in found {
        for device in &worker.devices {
            let cells = [&worker.task as &dyn ToString, &worker.address, device, &worker.incarnation];
            table.add_row(cells.map(ToString::to_string));
        }
    }
    table
}
