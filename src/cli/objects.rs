//! `remex objects`: what is stored on workers.

use std::{num::NonZeroU32, num::NonZeroUsize, time::Duration};

use comfy_table::{Table, presets};
use remex::{
    Address, Discovered, Server, ServerHandle,
    protocol::calls::{ListedObject, ObjectState},
};
use serde_json::json;

use super::{Failure, output, parse, system};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The addresses of the workers, with commas between them
    #[arg(long, value_name = "ADDRESS,...", required = true, value_delimiter = ',', value_parser = parse::address)]
    connect: Vec<Address>,
    /// How long to wait for workers that are not there yet
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = parse::duration)]
    wait: Duration,
    /// How many objects of each worker to list
    #[arg(long, value_name = "N", default_value = "1000")]
    limit: NonZeroU32,
    /// One JSON object for each of them instead of a table
    #[arg(long)]
    json: bool,
}

/// The columns.
const HEADER: [&str; 10] = ["worker", "context", "id", "dtype", "shape", "bytes", "state", "holders", "age", "made by"];

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    parse::distinct(&args.connect)?;
    system::block_on(async {
        // It only asks: one thread that is never used is enough.
        let server = Server::builder().threads(NonZeroUsize::MIN).start().await?;
        let found = server.discover(args.connect, args.wait).await?;
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(HEADER);
        let mut left_out = Vec::new();
        for worker in &found {
            let rest = each(&server, worker, args.limit.get(), |object| {
                if args.json {
                    return output::line(as_json(worker, object));
                }
                table.add_row(cells(worker, object));
                Ok(())
            })
            .await?;
            if rest > 0 {
                left_out.push(format!("{rest} more on {}: --limit lists more", worker.task));
            }
        }
        if !args.json {
            output::line(table)?;
            left_out.iter().try_for_each(output::line)?;
        }
        Ok(server.stop().await?)
    })
}

/// Page after page, until there are as many as are wanted. Says how many lie behind them.
async fn each(
    server: &ServerHandle,
    worker: &Discovered,
    limit: u32,
    mut show: impl FnMut(&ListedObject) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let (mut after, mut left) = (None, limit);
    loop {
        let page = server.objects(worker.address.clone(), after, left).await?;
        page.objects.iter().try_for_each(&mut show)?;
        left = left.saturating_sub(page.objects.len() as u32);
        after = page.objects.last().map(|last| (last.context, last.object));
        if left == 0 || page.rest == 0 || after.is_none() {
            return Ok(page.rest);
        }
    }
}

/// Element type and shape; a chain has neither, and of some nobody knows them yet.
fn form(object: &ListedObject) -> (String, String) {
    match (&object.metadata, object.state) {
        (Some(metadata), _) => (metadata.dtype.to_string(), metadata.shape.to_string()),
        (None, ObjectState::Ready) => ("chain".to_owned(), "-".to_owned()),
        (None, _) => ("?".to_owned(), "?".to_owned()),
    }
}

fn state(object: &ListedObject) -> String {
    let state = match object.state {
        ObjectState::Pending => "pending",
        ObjectState::Ready => "ready",
        ObjectState::Failed => "failed",
        ObjectState::GivenUp => "given up",
        ObjectState::Spilled => "on disk",
        _ => "unknown",
    };
    if object.pinned { format!("{state}, pinned") } else { state.to_owned() }
}

fn cells(worker: &Discovered, object: &ListedObject) -> [String; 10] {
    let (dtype, shape) = form(object);
    let age = humantime::format_duration(Duration::from_millis(object.age_ms));
    [
        worker.task.to_string(),
        object.context.to_string(),
        object.object.to_string(),
        dtype,
        shape,
        object.size_bytes.to_string(),
        state(object),
        object.holders.to_string(),
        age.to_string(),
        object.program.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn as_json(worker: &Discovered, object: &ListedObject) -> serde_json::Value {
    let metadata = object.metadata.as_ref();
    json!({
        "task": worker.task.to_string(),
        "context": object.context,
        "id": object.object.to_string(),
        "dtype": metadata.map(|metadata| metadata.dtype.to_string()),
        "shape": metadata.map(|metadata| metadata.shape.dims()),
        "size_bytes": object.size_bytes,
        "state": state(object).split(',').next(),
        "holders": object.holders,
        "pinned": object.pinned,
        "age_ms": object.age_ms,
        "program": object.program,
    })
}
