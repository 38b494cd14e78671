//! The demo in words.

use std::fmt::Write;

use tokio::time::Instant;

use super::{
    cluster::Cluster,
    digits::{STAGE_1, STAGE_2, Set},
    log::{Entry, Step, when},
    picture,
    scenes::Pipeline,
};

/// How many of the samples are shown as pictures.
const PICTURES: usize = 4;
/// How many answers stand in a line.
const PER_LINE: usize = 16;

/// Title, and who takes part.
pub(super) fn opening(cluster: &Cluster) -> String {
    let count = cluster.workers.len();
    let second = 1 % count;
    let mut text = format!(
        "remex demo: handwritten digits, read by {}\n\n\
         A small neural network is cut in two. Each half is sent to a worker, which compiles it. The workers are\n\
         threads of this program, but they are talked to over TCP, as if they were on other machines.\n\n",
        if count == 1 { "one worker".to_owned() } else { format!("{count} workers") }
    );
    let mut line = |who: &str, task: &dyn std::fmt::Display, rest: &str| {
        let _ = writeln!(text, "  {who:9} {:29} {rest}", task.to_string());
    };
    line("client", cluster.client.task(), "this thread");
    for (number, worker) in cluster.workers.iter().enumerate() {
        let address = worker.address().map(ToString::to_string).unwrap_or_default();
        let mut stages = Vec::new();
        if number == 0 {
            stages.push(format!("stage 1, image -> features ({} bytes of ONNX)", STAGE_1.len()));
        }
        if number == second {
            stages.push(format!("stage 2, features -> logits, digit ({} bytes)", STAGE_2.len()));
        }
        line(&format!("worker {number}"), worker.task(), &format!("{address:23} {}", stages.join(" and ")));
    }
    text
}

/// Some pictures, and all answers beside the truth.
pub(super) fn answers(samples: &Set, pipeline: &Pipeline) -> String {
    let wrong = |at: &usize| samples.labels[*at] != pipeline.answers[*at];
    // The last picture is one that was misread, if there is one.
    let misread = (0..samples.len()).find(wrong);
    let mut shown: Vec<usize> = (0..samples.len()).filter(|at| !wrong(at)).take(PICTURES).collect();
    if let Some(misread) = misread {
        shown.truncate(PICTURES - 1);
        shown.push(misread);
    }
    let pictures: Vec<_> = shown
        .iter()
        .filter_map(|at| {
            let (read, label) = (pipeline.answers[*at], samples.labels[*at]);
            let caption = if read == label { format!("read as {read}") } else { format!("read as {read}: wrong") };
            Some((samples.image(*at).ok()?, caption))
        })
        .collect();
    let mut text = format!(
        "\nThe {} images were written by people and kept away from the network while it learned. Among them:\n\n{}\n\n",
        samples.len(),
        picture::side_by_side(&pictures)
    );
    for (read, written) in pipeline.answers.chunks(PER_LINE).zip(samples.labels.chunks(PER_LINE)) {
        let digits = |digits: &[i64]| digits.iter().map(|digit| format!(" {digit}")).collect::<String>();
        let marks: String = read.iter().zip(written).map(|(a, b)| if a == b { "  " } else { " ^" }).collect();
        let _ = writeln!(text, "  read as {}\n  written {}", digits(read), digits(written));
        if marks.contains('^') {
            let _ = writeln!(text, "          {}", marks.trim_end());
        }
    }
    let right = samples.right(&pipeline.answers);
    let _ = writeln!(text, "  {right} of {} are right: {:.1} %.", samples.len(), percent(right, samples.len()));
    text
}

/// What happened when.
pub(super) fn timeline(pipeline: &Pipeline) -> String {
    let mut text = String::from("\nWhat happened, in microseconds since the client began:\n\n");
    for entry in &pipeline.entries {
        let way = if entry.from == entry.to {
            format!("{:>8}", entry.from.to_string())
        } else {
            format!("{:>8} → {}", entry.from.to_string(), entry.to)
        };
        let _ = writeln!(text, "  {:7}  {way:20} {}", micros(pipeline.began, entry.at), entry.what);
    }
    let _ = write!(text, "\n{}", findings(&pipeline.entries));
    text
}

/// What can be concluded from the times: nothing that they do not show.
fn findings(entries: &[Entry]) -> String {
    let mut text = String::new();
    let before = |a, b| Some((when(entries, a)?, when(entries, b)?)).filter(|(a, b)| a < b).map(|(a, b)| micros(a, b));
    if let Some(time) = before(Step::Called(2), Step::Ended(1)) {
        let _ = writeln!(text, "  Stage 2 was called {time} µs before stage 1 had run: nobody waited to hand it on.");
    }
    if let Some(time) = before(Step::Known(2), Step::Ended(1)) {
        let _ = writeln!(text, "  The client knew what its answer would look like {time} µs before stage 1 had run.");
    }
    if when(entries, Step::Passed).is_some() {
        text.push_str(
            "  The features went from worker to worker; of both stages only the digits came to the client.\n",
        );
    }
    text
}

/// All workers at once, and what to try next.
pub(super) fn closing(workers: usize, test: &Set, answers: &[i64], took: std::time::Duration) -> String {
    let right = test.right(answers);
    let whom = match workers {
        1 => "on the worker".to_owned(),
        _ => format!("in {workers} parts on {workers} workers at one time, each handing on to the next"),
    };
    format!(
        "\nNow all {} images that the network has never seen, {whom}:\n\n  \
         {right} of {} are right: {:.1} %. Put, run twice and fetched in {:.1} ms.\n\n\
         To go on: `remex serve --listen tcp://127.0.0.1:7001` is a worker of its own, here or on another machine;\n\
         `remex run MODEL.onnx --input NAME=FILE.npy --out DIR --connect tcp://127.0.0.1:7001` runs a model of yours on it.\n",
        test.len(),
        test.len(),
        percent(right, test.len()),
        took.as_secs_f64() * 1e3
    )
}

pub(super) fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}

pub(super) fn micros(from: Instant, to: Instant) -> u128 {
    to.saturating_duration_since(from).as_micros()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::demo::log::Who;

    fn entries(steps: &[(u64, Step)]) -> Vec<Entry> {
        let began = Instant::now();
        let entry = |(at, step): &(u64, Step)| Entry {
            at: began + Duration::from_micros(*at),
            from: Who::Client,
            to: Who::Worker(0),
            step: *step,
            what: String::new(),
        };
        steps.iter().map(entry).collect()
    }

    #[test]
    fn only_what_the_times_show_is_said() {
        let said = |steps: &[(u64, Step)]| findings(&entries(steps));
        let early = said(&[(5, Step::Called(2)), (7, Step::Known(2)), (10, Step::Ended(1)), (12, Step::Passed)]);
        assert!(early.contains("called 5 µs before") && early.contains("look like 3 µs before"), "{early}");
        assert_eq!(early.lines().count(), 3);
        let late = said(&[(5, Step::Ended(1)), (7, Step::Called(2)), (10, Step::Known(2))]);
        assert_eq!(late, "");
        assert_eq!(said(&[]), "");
    }
}
