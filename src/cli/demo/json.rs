//! The demo for machines.

use serde_json::{Value, json};

use super::{cluster::Cluster, digits::Set, scenes::Pipeline, text::micros};

/// Everything in one line.
pub(super) fn all(cluster: &Cluster, samples: &Set, pipeline: &Pipeline, test: &Set, answers: &[i64]) -> String {
    let workers = cluster.workers.iter().map(
        |worker| json!({ "task": worker.task().to_string(), "address": worker.address().map(ToString::to_string) }),
    );
    let timeline = pipeline.entries.iter().map(|entry| {
        json!({
            "us": micros(pipeline.began, entry.at) as u64,
            "from": entry.from.to_string(),
            "to": entry.to.to_string(),
            "what": entry.what,
        })
    });
    let whole = json!({
        "workers": workers.collect::<Value>(),
        "timeline": timeline.collect::<Value>(),
        "labels": samples.labels,
        "answers": pipeline.answers,
        "accuracy": share(samples, &pipeline.answers),
        "test_accuracy": share(test, answers),
    });
    format!("{whole}\n")
}

fn share(set: &Set, answers: &[i64]) -> f64 {
    set.right(answers) as f64 / set.len() as f64
}
