//! `remex demo`: a real model in two stages on workers in this process, and what they say to each other.

#[cfg(feature = "onnx")]
mod cluster;
#[cfg(feature = "onnx")]
mod digits;
#[cfg(feature = "onnx")]
mod json;
#[cfg(feature = "onnx")]
mod log;
#[cfg(feature = "onnx")]
mod picture;
#[cfg(feature = "onnx")]
mod scenes;
#[cfg(feature = "onnx")]
mod stages;
#[cfg(feature = "onnx")]
mod text;

use super::Failure;

/// Least share of right answers, in percent; the model gives 98.
#[cfg(feature = "onnx")]
const LEAST: f64 = 95.0;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many workers, each a thread of this program
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// One line of JSON instead of words
    #[arg(long)]
    json: bool,
}

/// Without the engine there is nothing to show.
#[cfg(not(feature = "onnx"))]
pub(crate) fn run(Args { workers: _, json: _ }: Args) -> Result<(), Failure> {
    Err(Failure::failed("the demo runs an ONNX model, and this program was built without the feature `onnx`"))
}

/// Shows it; fails if the model does not answer as it should.
#[cfg(feature = "onnx")]
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    super::system::block_on(show(args))
}

#[cfg(feature = "onnx")]
async fn show(args: Args) -> Result<(), Failure> {
    let (samples, test) = (digits::Set::samples()?, digits::Set::test()?);
    let say = |text: String| if args.json { Ok(()) } else { print(&text) };
    let cluster = cluster::Cluster::start(usize::from(args.workers)).await?;
    say(text::opening(&cluster))?;
    let pipeline = scenes::pipeline(&cluster, &samples).await?;
    if pipeline.answers.len() != samples.len() {
        let message = format!("{} answers came for {} images", pipeline.answers.len(), samples.len());
        return Err(Failure::failed(message));
    }
    say(text::answers(&samples, &pipeline))?;
    say(text::timeline(&pipeline))?;
    let (answers, took) = scenes::everywhere(&cluster, &test).await?;
    say(text::closing(cluster.workers.len(), &test, &answers, took))?;
    if args.json {
        print(&json::all(&cluster, &samples, &pipeline, &test, &answers))?;
    }
    cluster.stop().await?;
    for (set, answers) in [(&samples, &pipeline.answers), (&test, &answers)] {
        let share = text::percent(set.right(answers), set.len());
        if share < LEAST {
            let message = format!("only {share:.1} % of {} answers are right; the model gives 98 %", set.len());
            return Err(Failure::failed(message));
        }
    }
    Ok(())
}

#[cfg(feature = "onnx")]
fn print(text: &str) -> Result<(), Failure> {
    use std::io::{Write, stdout};
    let mut out = stdout().lock();
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|e| Failure::failed(format!("cannot print: {e}")))
}
