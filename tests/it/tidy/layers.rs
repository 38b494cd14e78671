//! What a layer must not know, and the order in which a `select!` looks at its branches.

use super::{
    code::{line_of, places, test_code},
    tree::{self, Faults, File},
};

/// What `protocol` must not depend on: the first part of the name of a crate, up to a `-` or `_`.
const NOT_IN_PROTOCOL: [&str; 15] = [
    "actix", "async", "chrono", "futures", "hyper", "mio", "polling", "quinn", "remex", "smol", "socket2", "time",
    "tokio", "tonic", "tower",
];

/// The files of `actors/src` that hold an actor's pure state, in whatever folder; so do their `*_test.rs`.
const PURE: [&str; 16] = [
    "budget",
    "chains",
    "contexts",
    "credits",
    "devices",
    "expectations",
    "groups",
    "inflight",
    "init",
    "plan",
    "registry",
    "rendezvous",
    "replies",
    "resume",
    "spill",
    "table",
];

/// What code without actors, input and output, or a clock does not say.
const IMPURE: [&str; 7] = ["actix", "tokio", "mio", "Instant::now", "SystemTime::now", ".elapsed()", "std::fs"];

fn protocol_dependencies(file: &File, faults: &mut Faults) {
    if file.path != "protocol/Cargo.toml" {
        return;
    }
    let mut in_dependencies = false;
    for (at, line) in file.text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let header = line.strip_prefix('[').map(|rest| rest.trim_end_matches(']'));
        if let Some(header) = header {
            in_dependencies = header.contains("dependencies");
        }
        if !in_dependencies {
            continue;
        }
        // A crate is named before `=`, at the end of a header, or by `package` when it goes by another name.
        let key = header.map_or_else(
            || line.split(['.', '=', ' ']).next().unwrap_or_default(),
            |header| header.rsplit('.').next().unwrap_or_default(),
        );
        let package = line.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1)).unwrap_or_default();
        for name in [key, package] {
            let first = name.trim_matches(['"', '\'']).split(['-', '_']).next().unwrap_or_default();
            if NOT_IN_PROTOCOL.contains(&first) {
                let what = format!(
                    "`{name}`: protocol knows no actors, no sockets and no clock; move what needs it to actors"
                );
                faults.add(&file.path, at + 1, what);
            }
        }
    }
}

fn is_pure(path: &str) -> bool {
    let stem = path.rsplit('/').next().and_then(|name| name.strip_suffix(".rs")).unwrap_or_default();
    let stem = stem.strip_suffix("_test").unwrap_or(stem);
    path.starts_with("protocol/src/") || (path.starts_with("actors/src/") && PURE.contains(&stem))
}

fn purity(file: &File, faults: &mut Faults) {
    // A test may read its golden files.
    let may_read = file.path.ends_with("_test.rs");
    let words = IMPURE.iter().filter(|word| !(may_read && **word == "std::fs"));
    for word in words.filter(|_| file.is_rust() && is_pure(&file.path)) {
        for at in places(&file.code, word) {
            let what = format!("`{word}` in a file of pure state: let the actor do it, and pass in what it found");
            faults.add(&file.path, line_of(&file.code, at), what);
        }
    }
}

fn wall_clock(file: &File, faults: &mut Faults) {
    for word in ["SystemTime", "UNIX_EPOCH"] {
        for at in places(&file.code, word) {
            let what = "the wall clock steps: measure with a monotonic Instant, or be given the time";
            faults.add(&file.path, line_of(&file.code, at), what);
        }
    }
}

fn one_chance(file: &File, faults: &mut Faults) {
    let is_ours = file.path.starts_with("actors/src/") || file.path.starts_with("src/");
    if !is_ours || file.path == "actors/src/chance.rs" {
        return;
    }
    for word in ["rand::rng", "rand::random", "thread_rng"] {
        let tested = test_code(file);
        for at in places(&file.code, word).filter(|at| tested[*at..].starts_with(' ')) {
            let what =
                "draw it from the task's `Chance`: what is drawn elsewhere makes a simulation that cannot be repeated";
            faults.add(&file.path, line_of(&file.code, at), what);
        }
    }
}

fn biased_select(file: &File, faults: &mut Faults) {
    for at in places(&file.code, "select!") {
        let body = file.code[at + "select!".len()..].trim_start().trim_start_matches(['{', '(', '[']).trim_start();
        if !body.starts_with("biased;") {
            let what = "begin this `select!` with `biased;`: a random branch makes a run that cannot be repeated";
            faults.add(&file.path, line_of(&file.code, at), what);
        }
    }
}

#[test]
fn protocol_depends_on_no_actors_sockets_or_clock() {
    let check = |text: &str, lines: &[&str]| {
        let found = tree::faults_of(protocol_dependencies, "protocol/Cargo.toml", text);
        let found: Vec<_> = found.iter().map(|fault| fault.split(':').nth(1).unwrap_or_default()).collect();
        assert_eq!(found, lines, "{text}");
    };
    check("[package]\ntokio = 1\n[dependencies]\nbytes = \"1\" # not tokio\n", &[]);
    check("[dependencies]\ntokio.workspace = true\nactix-rt = \"2\"\n", &["2", "3"]);
    check("[dev-dependencies]\nt = { package = \"tokio-util\", version = \"1\" }\n", &["2"]);
    check("[target.'cfg(unix)'.dependencies]\nmio = \"1\"\n[features]\nmio = []\n", &["2"]);
    check("[build-dependencies.async-trait]\nversion = \"1\"\n", &["1"]);
    check("[dependencies]\nremex-actors.workspace = true\n", &["2"]);
    tree::check(protocol_dependencies);
}

#[test]
fn state_files_know_no_actors_and_no_clock() {
    let check = |path: &str, text: &str, count: usize| {
        assert_eq!(tree::faults_of(purity, path, text).len(), count, "{path}: {text}");
    };
    check("actors/src/objects/table.rs", "use tokio::time::Instant;\nlet now = Instant::now();", 2);
    check("actors/src/objects/table_test.rs", "use actix::prelude::*;", 1);
    check("protocol/src/tensor/npy.rs", "std::fs::read(path)", 1);
    check("protocol/src/decoder/decoder_test.rs", "std::fs::read(path)", 0);
    check("actors/src/objects/table.rs", "//! Knows no tokio.\nfn f(now: Instant) {}", 0);
    check("actors/src/objects/actor.rs", "use tokio::time::Instant;", 0);
    check("src/cli/devices.rs", "use tokio::time::Instant;", 0);
    tree::check(purity);
}

/// TFRT §3.2-9: a wall clock that steps can collect nothing, because nothing looks at it.
#[test]
fn no_code_reads_the_wall_clock() {
    let check = |path: &str, text: &str, count: usize| {
        assert_eq!(tree::faults_of(wall_clock, path, text).len(), count, "{path}: {text}");
    };
    check("actors/src/server/actor.rs", "let now = SystemTime::now();", 1);
    check("src/cli/serve.rs", "use std::time::{SystemTime, UNIX_EPOCH};", 2);
    check("actors/src/server/actor.rs", "// Not SystemTime.\nlet now = Instant::now();", 0);
    check("src/guide/wire.md", "SystemTime", 0);
    tree::check(wall_clock);
}

#[test]
fn a_task_has_one_source_of_chance() {
    let check = |path: &str, text: &str, count: usize| {
        assert_eq!(tree::faults_of(one_chance, path, text).len(), count, "{path}: {text}");
    };
    check("actors/src/server/actor.rs", "let id = rand::rng().random();", 1);
    check("src/builder/mod.rs", "let id: u64 = rand::random();", 1);
    check("actors/src/chance.rs", "rand::rng()", 0);
    check("actors/src/objects/table.rs", "#[cfg(test)]\nmod tests { fn a() { rand::random() } }", 0);
    check("tests/it/threads.rs", "rand::random()", 0);
    tree::check(one_chance);
}

#[test]
fn every_select_is_biased() {
    let check =
        |text: &str, count: usize| assert_eq!(tree::faults_of(biased_select, "a.rs", text).len(), count, "{text}");
    check("tokio::select! {\n    // First.\n    biased;\n    a = b => {}\n}", 0);
    check("tokio::select! { a = b => {} }", 1);
    check("select!(a = b => {})", 1);
    check("my_select! { a }", 0);
    check("/// Like `select!`.", 0);
    tree::check(biased_select);
}
