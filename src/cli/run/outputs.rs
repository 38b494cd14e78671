//! The outputs of a run, as files.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
};

use remex::{
    Tensor,
    tensor::npy::{self, NpyError},
};

use crate::cli::Failure;

/// Longest name of a file before its ending, in bytes; file systems take 255.
const MAX_STEM: usize = 200;

/// Makes the folder. Done before the model runs, so that a run is not made for nothing.
pub(super) fn make_folder(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)
        .map_err(|error| Failure::failed(format!("{}: the folder cannot be made: {error}", folder.display())))
}

/// A file for each output. Names that would meet in one file are numbered.
pub(super) fn files<'a>(folder: &Path, names: impl IntoIterator<Item = &'a str>) -> Vec<PathBuf> {
    let mut taken = BTreeSet::new();
    let mut free = |stem: String| {
        let numbered = (1..).map(|n| format!("{stem}_{n}"));
        let name = std::iter::once(stem.clone()).chain(numbered).find(|name| !taken.contains(name));
        let name = name.unwrap_or(stem);
        taken.insert(name.clone());
        folder.join(format!("{name}.npy"))
    };
    names.into_iter().map(|name| free(stem(name))).collect()
}

/// What is left of an output's name in that of its file.
fn stem(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' };
    let stem: String = name.chars().map(plain).take(MAX_STEM).collect();
    if stem.is_empty() { "output".to_owned() } else { stem }
}

/// Writes an output. On an error no damaged file is left.
pub(super) fn write(path: &Path, tensor: &Tensor) -> Result<(), Failure> {
    let written = File::create(path).map_err(NpyError::from).and_then(|mut file| npy::write(&mut file, tensor));
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        Failure::failed(format!("{}: {error}", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], expected: &[&str]) {
        let files = files(Path::new("out"), names.iter().copied());
        let expected: Vec<_> = expected.iter().map(|name| Path::new("out").join(name)).collect();
        assert_eq!(files, expected, "{names:?}");
    }

    #[test]
    fn a_file_is_called_as_its_output_with_plain_characters() {
        check(&["logits"], &["logits.npy"]);
        check(&["softmax_11.tmp_0", "a/b:0 ü", "x-y"], &["softmax_11.tmp_0.npy", "a_b_0__.npy", "x-y.npy"]);
        check(&["../x"], &[".._x.npy"]);
        check(&[""], &["output.npy"]);
        check(&[&"n".repeat(256)], &[&format!("{}.npy", "n".repeat(MAX_STEM))]);
    }

    #[test]
    fn names_that_meet_in_one_file_are_numbered() {
        check(&["a/b", "a:b", "a b"], &["a_b.npy", "a_b_1.npy", "a_b_2.npy"]);
        check(&["a_b_1", "a/b", "a:b"], &["a_b_1.npy", "a_b.npy", "a_b_2.npy"]);
    }
}
