//! Clusters in TOML files, for `serve`, `run` and `devices`.

use std::fs;

use super::process::{Folder, Process, file, remex};

/// Three workers and two others, on sockets in a folder, with a group.
fn cluster(folder: &Folder) -> String {
    let sockets = |job: &str, count: usize| {
        let sockets: Vec<_> = (0..count).map(|i| format!("{:?}", folder.socket(&format!("{job}{i}")))).collect();
        sockets.join(", ")
    };
    format!(
        "deadline = \"40s\"\nwait = \"20s\"\n\n[job.worker]\ntasks = [{}]\nthreads = 1\n\n[job.eval]\ntasks = [{}]\n\n\
         [group.all]\nmembers = [\"/job:worker/task:0\", \"/job:eval/task:1\"]\n",
        sockets("w", 3),
        sockets("e", 2)
    )
}

/// `remex run --config` with three workers in one job and two in another, each a process of its own.
#[test]
fn a_cluster_of_two_jobs_runs_a_model() {
    let folder = Folder::new("config");
    let path = folder.join("cluster.toml");
    fs::write(&path, cluster(&folder)).unwrap();
    let config = path.display().to_string();
    let tasks = [("worker", 0), ("worker", 1), ("worker", 2), ("eval", 0), ("eval", 1)];
    let workers: Vec<_> = tasks
        .iter()
        .map(|(job, index)| {
            let mut worker =
                Process::remex(["serve", "--config", &config, "--job", job, "--index", &index.to_string()]);
            assert!(worker.line().unwrap().starts_with("listening on unix:"));
            worker
        })
        .collect();
    let (model, samples) = (file("examples/digits/stage1.onnx"), file("examples/digits/samples.npy"));
    let (input, out) = (format!("image={}", samples.display()), folder.join("out").display().to_string());
    let model = model.display().to_string();
    let end = remex(["run", &model, "--config", &config, "--input", &input, "--out", &out, "--repeat", "10", "--json"]);
    end.assert_done();
    for (job, index) in tasks {
        let (ran, task) = ("\"event\":\"run\"", format!("/job:{job}/task:{index}"));
        assert!(end.stdout.iter().any(|line| line.contains(ran) && line.contains(&task)), "{task} of {end:?}");
    }
    assert!(folder.join("out/features.npy").exists());
    let devices = remex(["devices", "--config", &config]);
    devices.assert_done();
    assert!(devices.stdout.iter().any(|line| line.contains("/job:eval/task:1/device:CPU:0")), "{devices:?}");
    drop(workers);
}

/// A bad file is explained in one sentence, with line, key and what is allowed.
#[test]
fn a_bad_file_is_explained() {
    let folder = Folder::new("bad-config");
    let path = folder.join("cluster.toml");
    let config = path.display().to_string();
    let good = cluster(&folder);
    let run = |more: &[&str]| {
        let model = file("examples/digits/stage1.onnx").display().to_string();
        let out = folder.join("out").display().to_string();
        remex([&["run", &*model, "--config", &config, "--out", &out][..], more].concat())
    };
    for (from, to, words) in [
        ("threads = 1", "thraeds = 1", "cluster.toml: line 6: unknown field `thraeds`"),
        ("threads = 1", "threads = 0", "cluster.toml: line 6: job.worker.threads: it must be 1 or more"),
        ("40s", "40", "line 1: deadline: "),
        ("/job:eval/task:1", "/job:eval/task:7", "line 12: group.all.members: "),
    ] {
        fs::write(&path, good.replace(from, to)).unwrap();
        run(&[]).assert_failed(2, words);
        remex(["serve", "--config", &config]).assert_failed(2, words);
        remex(["devices", "--config", &config]).assert_failed(2, words);
    }
    fs::write(&path, &good).unwrap();
    remex(["serve", "--config", &config, "--index", "9"]).assert_failed(2, "the job has 3 tasks, numbered from 0");
    remex(["serve", "--config", &config, "--job", "boss"]).assert_failed(2, "job.boss: there is no such job");
    remex(["serve", "--config", &config, "--threads", "2"]).assert_failed(2, "cannot be used with");
    run(&["--workers", "2"]).assert_failed(2, "cannot be used with");
    remex(["devices", "--config", "no/such/file.toml"]).assert_failed(2, "no/such/file.toml: ");
}
