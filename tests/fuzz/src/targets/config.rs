//! Clusters in TOML files.

use remex::ClusterFile;

/// The input is a file.
pub(super) fn run(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match text.parse::<ClusterFile>() {
        Err(error) => {
            let said = error.to_string();
            assert!(!said.is_empty() && !said.contains('\n'), "{said:?}");
            let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
            assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "line {:?} of {lines}", error.line);
        }
        Ok(file) => {
            drop(file.context());
            assert!(!file.cluster().tasks().is_empty());
            for task in file.cluster().tasks() {
                let server = file.server(task.name.job(), task.name.index());
                assert!(server.is_ok(), "a task of the file has a server: {:?}", server.err());
            }
        }
    }
}
