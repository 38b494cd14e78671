//! `src/guide/tfrt_map.md`, held against the tests that it names.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    code,
    tree::{self, Faults, File},
};

const MAP: &str = "src/guide/tfrt_map.md";
/// The heading of its table of faults.
const FAULTS: &str = "## The faults of the seed";
/// How many faults each section has.
const SECTIONS: [(&str, usize); 5] = [("3.1", 12), ("3.2", 11), ("3.3", 3), ("3.4", 4), ("3.5", 6)];
/// Faults whose tests are still to come. A number that has a test does not stand here.
const WAITING: [&str; 0] = [];

/// A row of a table: its line, and its cells.
struct Row<'a> {
    line: usize,
    cells: Vec<&'a str>,
    is_fault: bool,
}

impl<'a> Row<'a> {
    /// What stands in backticks in the last cell.
    fn tests(&self) -> Vec<&'a str> {
        self.cells.last().map_or(vec![], |cell| cell.split('`').skip(1).step_by(2).collect())
    }

    /// `3.1-1`, of a row of the table of faults.
    fn number(&self) -> Option<&'a str> {
        if self.is_fault { self.cells[0].strip_prefix('§') } else { None }
    }

    /// Whether it says that there is nothing here to test: not yet, or never.
    fn is_absent(&self) -> bool {
        self.cells.get(1).is_some_and(|here| here.starts_with("not yet") || *here == "—")
    }
}

/// The rows of all tables, without their heads.
fn rows(map: &str) -> Vec<Row<'_>> {
    let (mut rows, mut in_body, mut is_fault) = (Vec::new(), false, false);
    for (i, line) in map.lines().enumerate() {
        if line.starts_with("## ") {
            is_fault = line == FAULTS;
        }
        let inner = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
        match inner {
            None => in_body = false,
            Some(inner) if in_body => {
                rows.push(Row { line: i + 1, cells: inner.split('|').map(str::trim).collect(), is_fault });
            }
            Some(inner) => in_body = inner.chars().all(|c| "-|: ".contains(c)),
        }
    }
    rows
}

/// The fault that a doc comment begins with: `3.1-1` of `TFRT §3.1-1: …`.
fn fault(doc: &str) -> Option<&str> {
    doc.strip_prefix("TFRT §").and_then(|rest| rest.split([':', ',']).next())
}

fn every_number() -> BTreeSet<String> {
    let of = |(section, count): (&str, usize)| (1..=count).map(move |n| format!("{section}-{n}")).collect::<Vec<_>>();
    SECTIONS.into_iter().flat_map(of).collect()
}

/// What is wrong between a map and the tests of `files`.
fn compare(map: &str, files: &[File], waiting: &[&str], faults: &mut Faults) {
    let mut tests: BTreeMap<String, Vec<(Option<String>, String, usize)>> = BTreeMap::new();
    for file in files {
        for test in code::tests(file) {
            let number = test.doc.as_deref().and_then(fault).map(str::to_owned);
            tests.entry(test.name).or_default().push((number, file.path.clone(), test.line));
        }
    }
    let mut listed: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in rows(map) {
        for name in row.tests().iter().filter(|name| !tests.contains_key(**name)) {
            faults.add(MAP, row.line, format!("there is no test `{name}`: name the one that shows this row"));
        }
        match row.number() {
            Some(number) if listed.insert(number, row.tests()).is_some() => {
                faults.add(MAP, row.line, format!("§{number} stands twice"));
            }
            Some(number) if !every_number().contains(number) => {
                faults.add(MAP, row.line, format!("there is no fault §{number}"));
            }
            Some(number) if row.tests().is_empty() != waiting.contains(&number) => {
                let what = "a fault has tests in its last column, or it is WAITING for them; never both";
                faults.add(MAP, row.line, what);
            }
            Some(_) => {}
            None if row.is_fault => faults.add(MAP, row.line, "a fault begins with its number: §3.1-1"),
            None if row.tests().is_empty() && !row.is_absent() => {
                faults.add(MAP, row.line, "name the test that shows this row in the last column, in backticks");
            }
            None => {}
        }
    }
    for number in every_number().iter().filter(|number| !listed.contains_key(number.as_str())) {
        faults.add(MAP, 1, format!("§{number} is missing in {FAULTS:?}"));
    }
    for (name, places) in &tests {
        for (number, path, line) in places {
            let Some(number) = number else { continue };
            if !listed.get(number.as_str()).is_some_and(|tests| tests.contains(&name.as_str())) {
                faults.add(path, *line, format!("the row of §{number} in {MAP} does not name `{name}`"));
            }
        }
    }
    for (number, names) in listed {
        let shows = |name: &&&str| {
            tests.get(**name).is_some_and(|all| all.iter().any(|(of, ..)| of.as_deref() == Some(number)))
        };
        for name in names.iter().filter(|name| tests.contains_key(**name) && !shows(name)) {
            faults.add(MAP, 1, format!("the doc comment of `{name}` does not begin with `TFRT §{number}`"));
        }
    }
}

#[test]
fn the_map_and_the_tests_name_each_other() {
    let files = tree::files();
    let map = files.iter().find(|file| file.path == MAP).expect("the map is there");
    let mut faults = Faults::default();
    compare(&map.text, &files, &WAITING, &mut faults);
    faults.assert_none();
}

#[test]
fn what_the_map_lacks_is_seen() {
    let rest: Vec<_> = every_number().into_iter().filter(|number| number != "3.1-1" && number != "3.1-2").collect();
    let waiting: Vec<_> = rest.iter().map(String::as_str).collect();
    let check = |rows: &str, tests: &str, expected: &[&str]| {
        let others: String = rest.iter().map(|number| format!("| §{number} | x | y | |\n")).collect();
        let map = format!("| a | b | test |\n|---|---|---|\n{rows}{others}")
            .replace("FAULTS", &format!("\n{FAULTS}\n\n| n | w | h | t |\n|---|---|---|---|"));
        let mut faults = Faults::default();
        compare(&map, &[File::new("a.rs", tests)], &waiting, &mut faults);
        let found = faults.list();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{expected:?} is not in {found:?}");
        }
    };
    let one = "/// TFRT §3.1-1: a.\n#[test]\nfn one() {}\n";
    let two = "/// TFRT §3.1-2, I1: b.\n#[actix::test]\nasync fn two() {}\n";
    let good = "FAULTS\n| §3.1-1 | x | y | `one` |\n| §3.1-2 | x | y | `two` |\n";
    check(good, &format!("{one}{two}"), &[]);
    check(good, one, &["there is no test `two`"]);
    check(&good.replace("`two`", ""), one, &["or it is WAITING"]);
    check(&good.replace("`two`", ""), &format!("{one}{two}"), &["or it is WAITING", "does not name `two`"]);
    check(&good.replace("`two`", "`one`"), one, &["the doc comment of `one` does not begin with `TFRT §3.1-2`"]);
    check("FAULTS\n| §3.1-1 | x | y | `one` |\n", one, &["§3.1-2 is missing"]);
    check(
        &format!("{good}| §3.1-1 | x | y | `one` |\n| §3.9-1 | x | y | |\n| what | x | y | |\n"),
        &format!("{one}{two}"),
        &["§3.1-1 stands twice", "no fault §3.9-1", "begins with its number"],
    );
    let features = "| a | here | `one` |\n| b | not yet | — |\n| c | — | — |\n| d | here | |\n| e | `x` | `none` |\n";
    check(&format!("{features}{good}"), &format!("{one}{two}"), &["name the test that shows", "no test `none`"]);
}
