//! What the tests must name, and what they must not do.

use super::{
    code::{self, line_of, places},
    tree::{self, Faults, File},
};

/// The invariants that hold. A test names those that it is about at the start of its doc comment: `/// I2:`, or
/// `/// I1, I4a:` for more than one.
const INVARIANTS: [&str; 10] = ["I1", "I2", "I3", "I4", "I4a", "I5", "I6", "I7", "I8", "I9"];

/// Tests that may sleep: the file, and why there is no other way.
const MAY_SLEEP: [(&str, &str); 3] = [
    ("actors/src/fabric/loopback/tests.rs", "on a paused clock it is how a test waits until nothing is left to do"),
    ("actors/src/link/link_test.rs", "on a paused clock it is what makes a stream slow"),
    ("actors/src/session/session_test.rs", "on a paused clock it is how a test waits until nothing is left to do"),
];

/// The tags that a doc comment begins with, after the number of a fault of the seed; none if it begins with a sentence.
fn tags(doc: &str) -> Vec<&str> {
    let is_tag = |word: &str| {
        let number = word.strip_prefix('I').map(|rest| rest.trim_end_matches(|c: char| c.is_ascii_lowercase()));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut head: Vec<&str> = doc.split_once(':').map_or(vec![], |(head, _)| head.split(',').map(str::trim).collect());
    head.retain(|word| !word.starts_with("TFRT §"));
    if head.iter().all(|word| is_tag(word)) { head } else { vec![] }
}

fn known_tags(file: &File, faults: &mut Faults) {
    for test in code::tests(file) {
        for tag in tags(test.doc.as_deref().unwrap_or_default()) {
            if !INVARIANTS.contains(&tag) {
                faults.add(&file.path, test.line, format!("no invariant is called `{tag}`: correct the doc comment"));
            }
        }
    }
}

/// The invariants that no test in `files` names.
fn untested(files: &[File]) -> Vec<&'static str> {
    let tests: Vec<_> = files.iter().flat_map(code::tests).collect();
    let named: Vec<_> = tests.iter().flat_map(|test| tags(test.doc.as_deref().unwrap_or_default())).collect();
    INVARIANTS.into_iter().filter(|tag| !named.contains(tag)).collect()
}

fn ignored(file: &File, faults: &mut Faults) {
    for at in places(&file.code, "#[ignore") {
        faults.add(&file.path, line_of(&file.code, at), "a test that is not run proves nothing: run it or delete it");
    }
}

fn sleeps(file: &File) -> Vec<usize> {
    let code = code::test_code(file);
    let calls = places(&code, "sleep").filter(|at| code[at + "sleep".len()..].trim_start().starts_with('('));
    calls.map(|at| line_of(&code, at)).collect()
}

fn sleeping(file: &File, faults: &mut Faults) {
    let may_sleep = MAY_SLEEP.iter().any(|(path, _)| *path == file.path);
    let lines = sleeps(file);
    for line in lines.iter().filter(|_| !may_sleep) {
        let what =
            "a test waits for an event or advances a paused clock; if it really must sleep, say why in MAY_SLEEP";
        faults.add(&file.path, *line, what);
    }
    if may_sleep && lines.is_empty() {
        faults.add(&file.path, 1, "this file does not sleep: take it out of MAY_SLEEP");
    }
}

#[test]
fn every_invariant_is_named_by_a_test() {
    let mut faults = Faults::default();
    for tag in untested(&tree::files()) {
        let what = format!("no test is about {tag}: write one whose doc comment begins with `/// {tag}:`");
        faults.add(file!(), line!() as usize, what);
    }
    faults.assert_none();
}

#[test]
fn only_the_doc_comment_of_a_test_names_an_invariant() {
    let untested = |text: &str| untested(&[File::new("a.rs", text)]);
    assert_eq!(
        untested("/// I1: a.\nfn a() {}\n// I2: b.\n#[test]\nfn b() {}\n/// See I3: c.\n#[test]\nfn c() {}"),
        INVARIANTS
    );
    let named = "/// I1, I4a: a.\n#[test]\nfn a() {}\n/// I2: b.\n#[actix::test]\nasync fn b() {}";
    assert_eq!(untested(named), ["I3", "I4", "I5", "I6", "I7", "I8", "I9"]);
}

#[test]
fn no_test_names_an_unknown_invariant() {
    let check = |doc: &str, count: usize| {
        let found = tree::faults_of(known_tags, "a.rs", &format!("/// {doc}\n#[test]\nfn a() {{}}"));
        assert_eq!(found.len(), count, "{doc}: {found:?}");
    };
    check("I2: once.", 0);
    check("I6, I8: to come.", 0);
    check("I10: unknown.", 1);
    check("I1, I2b: the second is unknown.", 1);
    check("It works: always.", 0);
    check("I1 and I99, in a sentence.", 0);
    check("TFRT §3.1-4, I2: known.", 0);
    check("TFRT §3.1-4, I99: unknown.", 1);
    check("TFRT §3.1-4: the fault alone.", 0);
    tree::check(known_tags);
}

#[test]
fn no_test_is_ignored() {
    for text in ["#[test]\n#[ignore]\nfn a() {}", "#[test]\n#[ignore = \"slow\"]\nfn a() {}"] {
        assert!(tree::faults_of(ignored, "a.rs", text)[0].starts_with("a.rs:2: "));
    }
    tree::check(ignored);
}

#[test]
fn no_test_sleeps() {
    let check = |path: &str, text: &str, count: usize| {
        assert_eq!(tree::faults_of(sleeping, path, text).len(), count, "{path}: {text}");
    };
    check("tests/it/a.rs", "std::thread::sleep(D);\ntokio::time::sleep(D).await;\nsleep(D);", 3);
    check("src/a.rs", "fn a() { sleep(D) }\n#[cfg(test)]\nmod tests { fn b() { sleep(D) } }", 1);
    check("src/a_test.rs", "sleep(D)", 1);
    check("tests/it/a.rs", "// sleep(D)\nfn sleeps(sleep: D) {}", 0);
    tree::check(sleeping);
    for (path, reason) in MAY_SLEEP {
        assert!(tree::top().join(path).exists(), "{path} is gone: take it out of MAY_SLEEP");
        assert!(!reason.is_empty(), "{path}: say why it may sleep");
    }
}
