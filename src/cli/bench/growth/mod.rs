//! `remex bench growth`: what a call costs with more and more of everything.
//!
//! W2 again and again, with the processor time of both sides, which is steadier than wall time. Of everything else there is one,
//! and 1024 calls are in flight.

mod plot;
mod table;

use std::{
    fmt, fs,
    io::{self, IsTerminal, Write},
};

use clap::ValueEnum;
use serde_json::json;

use super::{Args, Failure, meter::Meter, targets::Targets};
use crate::cli::system;

/// Calls in flight where their number is not what is measured.
const WINDOW: usize = 1024;
/// Calls before a measurement, at least.
const WARM_UP: usize = 5_000;

/// What there is more and more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Dimension {
    /// Objects alive on the worker; calls take any two of them
    Objects,
    /// Calls in flight
    InFlight,
    /// Contexts of one client on one worker; calls go to all of them by turns
    Contexts,
    /// Tasks in the worker's process, each with a connection; calls go to all of them by turns
    Receivers,
    /// Devices of the worker; outputs go to all of them by turns, each of a program of its own
    Devices,
    /// Programs of the worker; calls are of all of them by turns
    Programs,
}

impl Dimension {
    /// From one to the most, unless one number was asked for.
    fn counts(self, args: &Args) -> Vec<usize> {
        if let Some(only) = args.at {
            return vec![only.get()];
        }
        let (step, most) = match self {
            Self::Objects => (10, args.objects.get()),
            Self::InFlight => (10, 100_000),
            Self::Contexts | Self::Devices | Self::Programs => (10, 1_000),
            Self::Receivers => (4, 64),
        };
        std::iter::successors(Some(1), |count| Some(count * step)).take_while(|count| *count <= most).collect()
    }

    /// How many calls are in flight.
    fn window(self, count: usize) -> usize {
        if self == Self::InFlight { count } else { WINDOW }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Objects => "objects alive",
            Self::InFlight => "calls in flight",
            Self::Contexts => "contexts",
            Self::Receivers => "receivers",
            Self::Devices => "devices",
            Self::Programs => "programs",
        })
    }
}

/// One figure.
#[derive(Clone, Copy, Debug)]
struct Point {
    dimension: Dimension,
    count: usize,
    /// Microseconds of a call: the client's processor, the worker's, and on the wall.
    client: f64,
    worker: f64,
    wall: f64,
}

impl Point {
    /// Microseconds of processor on both sides.
    fn both(&self) -> f64 {
        self.client + self.worker
    }
}

/// Measures all that there is to measure, and prints it.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if args.raw || args.uds {
        return Err(Failure::usage("growth is measured with actors, over TCP: leave --raw and --uds out"));
    }
    let mut points = Vec::new();
    for dimension in Dimension::value_variants() {
        if args.only.is_none_or(|only| only == *dimension) {
            system::block_on(measure(args, *dimension, &mut points))?;
        }
    }
    if !args.json {
        print(&table::of(&points))?;
    }
    if let Some(file) = &args.svg {
        let failed = |e| Failure::failed(format!("cannot write {}: {e}", file.display()));
        fs::write(file, plot::of(&points)).map_err(failed)?;
    }
    Ok(())
}

async fn measure(args: &Args, dimension: Dimension, points: &mut Vec<Point>) -> Result<(), Failure> {
    let counts = dimension.counts(args);
    if dimension == Dimension::Objects {
        // One worker, which has more and more of them.
        let mut targets = connect(args, dimension, 1).await?;
        for count in counts {
            targets.all[0].make_objects(count).await?;
            said(args, points, point(args, dimension, count, &targets).await?)?;
        }
        return targets.stop().await;
    }
    for count in counts {
        let targets = connect(args, dimension, count).await?;
        said(args, points, point(args, dimension, count, &targets).await?)?;
        targets.stop().await?;
    }
    Ok(())
}

/// A worker and a client with so many of it.
async fn connect(args: &Args, dimension: Dimension, count: usize) -> Result<Targets, Failure> {
    let (mut shape, mut contexts) = (args.shape, 1);
    match dimension {
        Dimension::Objects => {}
        Dimension::InFlight => shape.credits = shape.credits.max(count as u32),
        Dimension::Contexts => contexts = count,
        Dimension::Receivers => shape.tasks = count,
        // A program's registration says where its output goes.
        Dimension::Devices => (shape.devices, shape.programs) = (count, count),
        Dimension::Programs => shape.programs = count,
    }
    Targets::connect(args, shape, contexts).await
}

/// The repetition in the middle, by processor time.
async fn point(args: &Args, dimension: Dimension, count: usize, targets: &Targets) -> Result<Point, Failure> {
    let window = dimension.window(count);
    targets.pump(WARM_UP.min(args.calls()).max(window), window).await?;
    // Many times as many as are in flight: the beginning and the end, when there are fewer, shall not count.
    let calls = args.calls().max(4 * window);
    let mut measured = Vec::new();
    for _ in 0..args.reps.get() {
        let meter = Meter::start(&targets.worker);
        targets.pump(calls, window).await?;
        let cost = meter.stop();
        let each = |time: Option<std::time::Duration>| time.map(|time| time.as_secs_f64() * 1e6 / calls as f64);
        let unknown = || Failure::failed("the system does not say how much processor time a process has used");
        let (client, worker) = (each(cost.client).ok_or_else(unknown)?, each(cost.worker).ok_or_else(unknown)?);
        let wall = each(Some(cost.wall)).unwrap_or_default();
        measured.push(Point { dimension, count, client, worker, wall });
    }
    measured.sort_by(|a, b| a.both().total_cmp(&b.both()));
    Ok(measured[measured.len() / 2])
}

/// Keeps a figure, and shows it: it may take minutes until there are all.
fn said(args: &Args, points: &mut Vec<Point>, point: Point) -> Result<(), Failure> {
    points.push(point);
    let Point { dimension, count, client, worker, wall } = point;
    if args.json {
        let name = dimension.to_possible_value().map(|value| value.get_name().to_owned());
        let figures = json!({
            "system": args.system(), "workload": "growth", "dimension": name, "count": count, "unit": "us_cpu",
            "value": point.both(), "cpu_us_client": client, "cpu_us_server": worker, "wall_us": wall,
        });
        return print(&figures.to_string());
    }
    let mut people = io::stderr().lock();
    if !people.is_terminal() {
        return Ok(());
    }
    let said = writeln!(people, "{dimension}, {count}: {:.2} µs", point.both());
    said.map_err(|e| Failure::failed(format!("cannot print: {e}")))
}

fn print(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{text}").map_err(|e| Failure::failed(format!("cannot print: {e}")))
}
