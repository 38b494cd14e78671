//! `remex run`, on the two stages of the model that reads digits.

use std::{fs::File, path::Path};

use remex::tensor::npy;
use tokio::time::Instant;

use super::process::{Folder, Process, file, remex, serve};

const SAMPLES: &str = "examples/digits/samples.npy";
const STAGES: [&str; 2] = ["examples/digits/stage1.onnx", "examples/digits/stage2.onnx"];

/// The arguments that run a stage, its input in a file.
fn stage(model: &str, input: &str, from: &Path, out: &Folder, more: &[&str]) -> Vec<String> {
    let input = format!("{input}={}", from.display());
    let out = out.join("").display().to_string();
    let mut arguments = vec!["run".to_owned(), file(model).display().to_string(), "--input".to_owned(), input];
    arguments.extend(["--out".to_owned(), out]);
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    arguments
}

fn elements(path: &Path) -> Vec<f32> {
    npy::read(&mut File::open(path).unwrap()).unwrap().elements::<f32>().unwrap().to_vec()
}

/// Runs both stages, one after the other through a file, and holds the answers against onnxruntime's.
fn check_stages(folder: &Folder, more: &[&str]) {
    let first = remex(stage(STAGES[0], "image", &file(SAMPLES), folder, more));
    first.assert_done();
    assert!(first.stdout.iter().any(|line| line == "output features: f32[64,64]"), "{first:?}");
    let second = remex(stage(STAGES[1], "features", &folder.join("features.npy"), folder, more));
    second.assert_done();
    for line in ["output logits: f32[64,10]", "output digit: i64[64]"] {
        assert!(second.stdout.iter().any(|said| said == line), "{second:?}");
    }
    let (logits, expected) = (folder.join("logits.npy"), file("examples/digits/expected_logits.npy"));
    let (logits, expected) = (elements(&logits), elements(&expected));
    assert_eq!(logits.len(), expected.len());
    let apart = logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
    assert!(apart <= 1e-4, "the largest difference is {apart}");
    assert!(folder.join("digit.npy").exists());
}

#[test]
fn a_model_gives_what_onnxruntime_gives_over_tcp() {
    let ((_first, a), (_second, b)) = (serve(0, "tcp://127.0.0.1:0"), serve(1, "tcp://127.0.0.1:0"));
    check_stages(&Folder::new("tcp"), &["--connect", &format!("{a},{b}")]);
}

#[test]
fn a_model_gives_what_onnxruntime_gives_over_unix_sockets() {
    let folder = Folder::new("unix");
    let ((_first, a), (_second, b)) = (serve(0, &folder.socket("a")), serve(1, &folder.socket("b")));
    check_stages(&folder, &["--connect", &format!("{a},{b}"), "--repeat", "7"]);
}

#[test]
fn a_model_gives_what_onnxruntime_gives_without_any_worker_started() {
    check_stages(&Folder::new("embedded"), &["--workers", "2"]);
}

#[test]
fn machines_are_told_each_thing_as_it_happens() {
    let folder = Folder::new("json");
    let end = remex(stage(STAGES[0], "image", &file(SAMPLES), &folder, &["--json", "--repeat", "3", "--workers", "2"]));
    end.assert_done();
    let has = |event: &str, of: &[&str]| {
        let event = format!("\"event\":\"{event}\"");
        end.stdout.iter().filter(|line| line.contains(&event) && of.iter().all(|part| line.contains(part))).count()
    };
    assert!(end.stdout.iter().all(|line| line.starts_with('{') && line.ends_with('}')), "{end:?}");
    assert_eq!((has("worker", &[]), has("registered", &["f32[batch,1,8,8]"])), (2, 2), "{end:?}");
    assert_eq!(has("metadata", &["\"dtype\":\"f32\"", "\"output\":\"features\"", "\"shape\":[64,64]"]), 1, "{end:?}");
    assert_eq!(has("written", &["features.npy"]), 1, "{end:?}");
    assert_eq!((has("run", &["task:0"]), has("run", &["task:1"])), (2, 1), "{end:?}");
    assert_eq!(has("done", &["\"runs\":3"]), 1, "{end:?}");
}

/// The run is in the middle: call after call is under way.
fn long_run(folder: &Folder, address: &str) -> Process {
    let more = ["--json", "--repeat", "4000000000", "--connect", address];
    let mut run = Process::remex(stage(STAGES[0], "image", &file(SAMPLES), folder, &more));
    loop {
        let line = run.line().expect("the run goes on until its worker is gone");
        if line.contains("\"run\":20,") {
            return run;
        }
    }
}

#[test]
fn a_killed_worker_ends_a_run_with_its_task_and_address() {
    let folder = Folder::new("killed");
    for listen in ["tcp://127.0.0.1:0", &folder.socket("s")] {
        let (worker, address) = serve(3, listen);
        let run = long_run(&folder, &address);
        worker.signal("KILL");
        let killed = Instant::now();
        let end = run.end();
        assert!(killed.elapsed().as_secs() < 10, "{:?}", killed.elapsed());
        end.assert_failed(1, &format!("the link to /job:worker/task:3 at {address} was lost"));
        assert!(end.stdout.last().unwrap().contains("\"event\":\"error\""), "{:?}", end.stdout.last());
        assert_eq!(worker.end().status, None);
    }
}

#[test]
fn a_worker_that_is_told_to_stop_refuses_the_next_call_and_ends() {
    let folder = Folder::new("drained");
    let (worker, address) = serve(0, "tcp://127.0.0.1:0");
    let run = long_run(&folder, &address);
    worker.signal("TERM");
    run.end().assert_failed(1, "/job:worker/task:0");
    worker.end().assert_done();
}
