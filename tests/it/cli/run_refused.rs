//! What `remex run` refuses, and with what words.

use std::fs;

use super::process::{Folder, file, remex};

/// Runs the first stage on an embedded worker and expects the status and the sentence.
fn check(model: &str, arguments: &[&str], status: i32, sentence: &str) {
    let folder = Folder::new(&format!("refused-{:x}", fingerprint(arguments)));
    let (model, out) = (file(model), folder.join("out"));
    let run = ["run", model.to_str().unwrap(), "--out", out.to_str().unwrap()];
    remex(run.iter().chain(arguments)).assert_failed(status, sentence);
    assert!(!out.exists(), "nothing is written by a run that was refused");
}

fn fingerprint(arguments: &[&str]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    arguments.hash(&mut hasher);
    hasher.finish()
}

fn given(name: &str, path: &str) -> String {
    format!("{name}={}", file(path).display())
}

const STAGE: &str = "examples/digits/stage1.onnx";
const SAMPLES: &str = "examples/digits/samples.npy";

#[test]
fn inputs_that_the_model_does_not_take_are_refused_with_those_that_it_takes() {
    let image = given("image", SAMPLES);
    let known = "its inputs are: image (f32[batch,1,8,8])";
    check(STAGE, &["--input", &given("picture", SAMPLES)], 2, &format!("no input \"picture\"; {known}"));
    check(STAGE, &[], 2, "input \"image\" (f32[batch,1,8,8]) is missing: give --input image=FILE.npy");
    check(STAGE, &["--input", &image, "--input", &image], 2, "--input image is given twice");
    let (dtype, shape) = (given("image", "examples/digits/labels.npy"), given("features", SAMPLES));
    check(STAGE, &["--input", &dtype], 2, "input \"image\" is i64[64], but the program takes f32[batch,1,8,8]");
    let sentence = "input \"features\" is f32[64,1,8,8], but the program takes f32[batch,64]";
    check("examples/digits/stage2.onnx", &["--input", &shape], 2, sentence);
}

#[test]
fn files_that_are_missing_or_damaged_are_named() {
    let folder = Folder::new("files");
    let damaged = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let samples = fs::read(file(SAMPLES)).unwrap();
    let short = damaged("short.npy", &samples[..samples.len() - 1]);
    let long = damaged("long.npy", &[&samples[..], b"!"].concat());
    let text = damaged("text.npy", b"1, 2, 3\n");
    check("nothing.onnx", &[], 1, "nothing.onnx: No such file");
    check(STAGE, &["--input", &given("image", "nothing.npy")], 1, "nothing.npy: No such file");
    check(STAGE, &["--input", &given("image", "examples")], 1, "examples: it is a folder, not a .npy file");
    check(
        STAGE,
        &["--input", &format!("image={short}")],
        1,
        &format!("{short}: the file ends after 16383 of the 16384"),
    );
    check(STAGE, &["--input", &format!("image={long}")], 1, &format!("{long}: there are bytes behind"));
    check(STAGE, &["--input", &format!("image={text}")], 1, &format!("{text}: not a .npy file"));
    check(SAMPLES, &["--input", &given("image", SAMPLES)], 1, "not a well-formed ONNX model");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let (model, image, out) = (file(STAGE), given("image", SAMPLES), file("Cargo.toml").join("out"));
    let arguments = ["run", model.to_str().unwrap(), "--input", &image, "--out", out.to_str().unwrap()];
    remex(arguments).assert_failed(1, "Cargo.toml/out: the folder cannot be made");
}

#[test]
fn wrong_arguments_are_refused_with_what_is_right() {
    check(STAGE, &["--input", "image"], 2, "write NAME=FILE.npy");
    check(STAGE, &["--workers", "0"], 2, "0 is not in 1..=64");
    check(STAGE, &["--workers", "1", "--connect", "unix:/s"], 2, "'--workers <N>' cannot be used with");
    check(STAGE, &["--connect", "localhost:1"], 2, "write tcp://HOST:PORT or unix:PATH");
    check(STAGE, &["--repeat", "0"], 2, "invalid value '0' for '--repeat <K>'");
    check(STAGE, &["--deadline", "soon"], 2, "write a time like 30s, 250ms or 1m30s");
    remex(["run", "model.onnx"]).assert_failed(2, "--out <DIR>");
}

#[test]
fn a_worker_that_does_not_come_is_named() {
    let folder = Folder::new("absent");
    let address = folder.socket("s");
    let connect = ["--input", &given("image", SAMPLES), "--wait", "300ms", "--connect", &address];
    check(STAGE, &connect, 1, &format!("{address} cannot be reached"));
}
