//! Where things are and how long they get.

use std::fs;

use super::tree::{self, Faults, File};

/// Of a Rust file, its tests included.
const MAX_LINES: usize = 400;

/// The top level is fixed; hidden files and folders may stand beside these.
const TOP_FOLDERS: [&str; 7] = ["actors", "benches", "examples", "fuzz", "protocol", "src", "tests"];
const TOP_FILES: [&str; 12] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "rustfmt.toml",
];

/// Folders of one machine, in two pieces each so that this file does not hold them.
const FOREIGN: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/")];

fn length(file: &File, faults: &mut Faults) {
    let lines = file.text.lines().count();
    if file.is_rust() && lines > MAX_LINES {
        let what =
            format!("{lines} lines, at most {MAX_LINES}: split the file by subject, or move its tests to *_test.rs");
        faults.add(&file.path, lines, what);
    }
}

fn first_line(file: &File, faults: &mut Faults) {
    let said = file.text.lines().next().and_then(|line| line.strip_prefix("//!"));
    if file.is_rust() && said.is_none_or(|said| said.trim().is_empty()) {
        faults.add(&file.path, 1, "begin the file with a `//!` line that says what it is");
    }
}

fn foreign_paths(file: &File, faults: &mut Faults) {
    for (at, line) in file.text.lines().enumerate() {
        for path in FOREIGN.iter().filter(|path| line.contains(**path)) {
            let what =
                format!("`{path}` is a folder of one machine: use a relative path, a temporary folder or a variable");
            faults.add(&file.path, at + 1, what);
        }
    }
}

fn top_level(name: &str, is_folder: bool, faults: &mut Faults) {
    let known = if is_folder { TOP_FOLDERS.contains(&name) } else { TOP_FILES.contains(&name) };
    if !known && !name.starts_with('.') {
        let kind = if is_folder { "folder" } else { "file" };
        let what = format!("no {kind} of this name belongs at the top level: move it into one of {TOP_FOLDERS:?}");
        faults.add(name, 1, what);
    }
}

#[test]
fn no_file_is_longer_than_four_hundred_lines() {
    let long = |lines: usize| tree::faults_of(length, "a.rs", &"x\n".repeat(lines));
    assert!(long(MAX_LINES).is_empty());
    assert!(long(MAX_LINES + 1)[0].starts_with("a.rs:401: 401 lines"));
    tree::check(length);
}

#[test]
fn every_file_says_first_what_it_is() {
    assert!(tree::faults_of(first_line, "a.rs", "//! A file.\n").is_empty());
    for text in ["", "use a;\n//! Late.\n", "// A file.\n", "//!\n//! Late.\n"] {
        assert_eq!(tree::faults_of(first_line, "a.rs", text).len(), 1, "{text:?}");
    }
    tree::check(first_line);
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    for path in FOREIGN {
        let found = tree::faults_of(foreign_paths, "a.md", &format!("fine\nsee {path}x\n"));
        assert!(found[0].starts_with("a.md:2: "), "{found:?}");
    }
    tree::check(foreign_paths);
}

#[test]
fn the_top_level_holds_only_what_belongs_there() {
    let mut faults = Faults::default();
    for entry in fs::read_dir(tree::top()).expect("the top of the repository is readable") {
        let entry = entry.expect("the top of the repository is readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.path().is_dir();
        if !(is_folder && tree::is_made(&entry.path(), &name)) {
            top_level(&name, is_folder, &mut faults);
        }
    }
    faults.assert_none();
}

#[test]
fn a_stranger_at_the_top_level_is_seen() {
    let faults = |name: &str, is_folder| tree::faults_of(|_, faults| top_level(name, is_folder, faults), "", "").len();
    for (name, is_folder) in [("util", true), ("notes.md", false), ("README.md", true), ("src", false)] {
        assert_eq!(faults(name, is_folder), 1, "{name}");
    }
    for (name, is_folder) in [("src", true), ("README.md", false), (".ci", true), (".gitignore", false)] {
        assert_eq!(faults(name, is_folder), 0, "{name}");
    }
}
