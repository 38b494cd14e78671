//! The files of the repository, and the list of what is wrong with them.

use std::{fs, path::Path};

use super::code;

/// A text file.
pub(super) struct File {
    /// From the top of the repository, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// Of a Rust file: the text with comments, strings and characters blanked, line by line. Empty otherwise.
    pub(super) code: String,
}

impl File {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { code::blank(text) } else { String::new() };
        Self { path: path.into(), text: text.into(), code }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// What is wrong, each with its place and the remedy.
#[derive(Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    pub(super) fn add(&mut self, path: &str, line: usize, what: impl AsRef<str>) {
        self.0.push(format!("{path}:{line}: {}", what.as_ref()));
    }

    pub(super) fn list(self) -> Vec<String> {
        self.0
    }

    pub(super) fn assert_none(self) {
        assert!(self.0.is_empty(), "{} to mend:\n  {}\n", self.0.len(), self.0.join("\n  "));
    }
}

/// Tries `rule` on every file; fails with all that it found.
pub(super) fn check(rule: impl Fn(&File, &mut Faults)) {
    let mut faults = Faults::default();
    for file in files() {
        rule(&file, &mut faults);
    }
    faults.assert_none();
}

/// What `rule` says of a sample.
pub(super) fn faults_of(rule: impl Fn(&File, &mut Faults), path: &str, text: &str) -> Vec<String> {
    let mut faults = Faults::default();
    rule(&File::new(path, text), &mut faults);
    faults.0
}

/// The top of the repository.
pub(super) fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file that a person wrote, in the order of their paths.
pub(super) fn files() -> Vec<File> {
    let mut files = Vec::new();
    walk(top(), "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "no src/lib.rs under {}", top().display());
    files
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository is readable") {
        let entry = entry.expect("a folder of the repository is readable");
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let kind = entry.file_type().expect("a file of the repository has a type");
        if kind.is_dir() && !is_made(&entry.path(), &name) {
            walk(&entry.path(), &format!("{prefix}{name}/"), files);
        } else if kind.is_file() {
            // A file that is not UTF-8 is data: a model, samples.
            let Ok(text) = fs::read_to_string(entry.path()) else {
                continue;
            };
            files.push(File::new(&format!("{prefix}{name}"), &text));
        }
    }
}

/// Whether a program made the folder: builds, caches, what editors and git keep.
pub(super) fn is_made(folder: &Path, name: &str) -> bool {
    let hidden = name.starts_with('.') && name != ".ci";
    hidden || name == "target" || name == "__pycache__" || folder.join("CACHEDIR.TAG").exists()
}
