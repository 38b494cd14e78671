//! The table of limits: every row says what happens past it and which test reaches it.

use super::{
    code,
    tree::{self, Faults, File},
};

const GUIDE: &str = "src/guide/operating.md";

/// The rows of the tables between the headings `## Limits` and the next one, with the number of the line.
fn rows(guide: &str) -> Vec<(usize, Vec<&str>)> {
    let lines = guide.lines().enumerate().skip_while(|(_, line)| *line != "## Limits").skip(1);
    let lines = lines.take_while(|(_, line)| !line.starts_with("## "));
    lines
        .filter(|(_, line)| line.starts_with("| ") && !line.starts_with("| what |"))
        .map(|(at, line)| (at + 1, line.trim_end_matches(['|', ' ']).split('|').skip(1).map(str::trim).collect()))
        .collect()
}

fn faults(guide: &str, tests: &[String], faults: &mut Faults) {
    for (line, cells) in rows(guide) {
        let test = cells.last().copied().unwrap_or_default().trim_matches('`');
        if !tests.iter().any(|known| known == test) {
            let what =
                format!("the limit of {:?} names {test:?}, which is no test: name the one that reaches it", cells[0]);
            faults.add(GUIDE, line, what);
        }
    }
}

/// All tests, and the functions of the suite that every fabric runs.
fn tests(files: &[File]) -> Vec<String> {
    let suite = files.iter().filter(|file| file.path.ends_with("/conformance.rs")).flat_map(|file| {
        let names = file.code.split("async fn ").skip(1).map(|rest| rest.split('(').next().unwrap_or_default());
        names.map(str::to_owned)
    });
    files.iter().flat_map(code::tests).map(|test| test.name).chain(suite).collect()
}

/// I8.
#[test]
fn every_limit_of_the_guide_names_the_test_that_reaches_it() {
    let files = tree::files();
    let guide = files.iter().find(|file| file.path == GUIDE).unwrap();
    assert!(rows(&guide.text).len() > 30, "the tables are not found any more: correct `rows`");
    let mut found = Faults::default();
    faults(&guide.text, &tests(&files), &mut found);
    found.assert_none();
}

#[test]
fn a_limit_without_a_test_is_seen() {
    let guide = "## Limits\n\n| what | test |\n|---|---|\n| a thing | `reached` |\n| another | `forgotten` |\n\n## Timers\n| x | y |\n";
    let mut found = Faults::default();
    faults(guide, &["reached".to_owned()], &mut found);
    let found = found.list();
    assert!(found.len() == 1 && found[0].contains(":6:") && found[0].contains("forgotten"), "{found:?}");
}
