//! As much of Rust's grammar as the rules need: what is code, what is a test.

use super::tree::File;

/// The text with comments, strings and characters replaced by spaces. Lines stay where they are.
pub(super) fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let length = hidden(&chars[at..]);
        code.extend(chars[at..at + length].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        at += length;
        if length == 0 {
            code.push(chars[at]);
            at += 1;
        }
    }
    code
}

/// The length of the comment, string or character that `rest` begins with; 0 if it begins with code.
fn hidden(rest: &[char]) -> usize {
    let end_of = |from: usize, end: &[char]| {
        let found = rest.get(from..).and_then(|tail| tail.windows(end.len()).position(|window| window == end));
        found.map_or(rest.len(), |at| from + at + end.len())
    };
    match rest {
        ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => string(rest),
        ['r', '"' | '#', ..] => {
            let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
            let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            // Without the quote it is a raw identifier.
            if rest.get(1 + hashes) == Some(&'"') { end_of(2 + hashes, &end) } else { 0 }
        }
        ['\'', '\\', _, ..] => end_of(3, &['\'']),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The number of the line that holds byte `at`, from 1.
pub(super) fn line_of(code: &str, at: usize) -> usize {
    1 + code[..at].matches('\n').count()
}

/// Where `word` stands in `code` and is not part of a longer name.
pub(super) fn places<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let named = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let begins_named = named(word.chars().next());
    let ends_named = named(word.chars().last());
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = begins_named && named(code[..at].chars().last());
        let after = ends_named && named(code[at + word.len()..].chars().next());
        !before && !after
    })
}

/// A function that a test attribute marks.
pub(super) struct Test {
    pub(super) line: usize,
    pub(super) name: String,
    /// The first line of its doc comment.
    pub(super) doc: Option<String>,
}

/// The tests in a file: `#[test]`, `#[actix::test]`, `#[tokio::test(…)]`.
pub(super) fn tests(file: &File) -> Vec<Test> {
    let text: Vec<&str> = file.text.lines().map(str::trim).collect();
    let code: Vec<&str> = file.code.lines().map(str::trim).collect();
    let heads = |line: &str| line.starts_with("///") || line.starts_with("#[");
    let marked = (0..code.len()).filter(|&at| is_test_attribute(code[at]));
    marked
        .map(|at| {
            let first = (0..at).rev().take_while(|&above| heads(text[above])).last().unwrap_or(at);
            let doc = text[first..].iter().take_while(|line| heads(line)).find_map(|line| line.strip_prefix("///"));
            let named = code[at..].iter().find_map(|line| line.split_once("fn ")).map_or("", |(_, rest)| rest);
            let name = named.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
            Test { line: at + 1, name, doc: doc.map(|doc| doc.trim().into()) }
        })
        .collect()
}

fn is_test_attribute(line: &str) -> bool {
    let path = line.strip_prefix("#[").and_then(|rest| rest.split(['(', ']']).next());
    path.and_then(|path| path.rsplit("::").next()).is_some_and(|last| last.trim() == "test")
}

/// The code that is built for tests only; the rest is blanked.
pub(super) fn test_code(file: &File) -> String {
    let path = &file.path;
    if path.starts_with("tests/")
        || path.contains("/tests/")
        || path.ends_with("_test.rs")
        || path.ends_with("/tests.rs")
    {
        return file.code.clone();
    }
    let mut code: Vec<u8> = file.code.bytes().map(|byte| if byte == b'\n' { b'\n' } else { b' ' }).collect();
    for (at, _) in file.code.match_indices("#[cfg(test)]") {
        let end = at + item_length(&file.code[at..]);
        code[at..end].copy_from_slice(&file.code.as_bytes()[at..end]);
    }
    String::from_utf8(code).expect("whole items of valid text were copied over spaces")
}

/// The length of the item that `code` begins with: up to its `;`, or to the end of its block.
fn item_length(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == '}' || c == ';') {
            return at + 1;
        }
    }
    code.len()
}

#[test]
fn only_code_is_left() {
    let check = |text: &str, expected: &str| assert_eq!(blank(text).trim_end(), expected, "of {text}");
    check("a // b\nc", "a\nc".replace('\n', "     \n").as_str());
    check("a /* b /* c */ d */ e", "a                   e");
    check(r#"f("x // \" y") + 1"#, "f(           ) + 1");
    check(r##"f(r#"x " y"#, 1)"##, "f(          , 1)");
    check("r#type + 1", "r#type + 1");
    check(r"g('\'', '/', 'a) + h::<'a>()", "g(    ,    , 'a) + h::<'a>()");
    check("\"open", "");
    check("/* open", "");
}

#[test]
fn a_word_is_not_found_inside_a_longer_one() {
    assert_eq!(places("tokio my_tokio tokios tokio::x", "tokio").collect::<Vec<_>>(), [0, 22]);
}

#[test]
fn tests_are_found_with_their_names_and_the_first_line_of_their_docs() {
    let text = "/// I1: first.\n/// More.\n#[test]\nfn a() {}\n\n#[tokio::test(start_paused = true)]\n/// Second.\nasync \
                fn b() {}\n#[actix::test]\nasync fn c() {}\nlet s = \"\n#[test]\n\";\n#[testing]\nfn d() {}\n";
    let found = tests(&File::new("a.rs", text));
    let found: Vec<_> = found.iter().map(|test| (test.line, &*test.name, test.doc.as_deref())).collect();
    assert_eq!(found, [(3, "a", Some("I1: first.")), (6, "b", Some("Second.")), (9, "c", None)]);
}

#[test]
fn code_for_tests_ends_with_its_item() {
    let text =
        "fn a() {}\n#[cfg(test)]\nmod t {\n  fn é() { b(\"}\") }\n}\nfn c() {}\n#[cfg(test)]\nmod u;\nfn d() {}\n";
    let code = test_code(&File::new("src/a.rs", text));
    let lines: Vec<_> = code.lines().map(str::trim).collect();
    assert_eq!(lines, ["", "#[cfg(test)]", "mod t {", "fn é() { b(   ) }", "}", "", "#[cfg(test)]", "mod u;", ""]);
    assert_eq!(test_code(&File::new("tests/it/a.rs", "fn a() {}")), "fn a() {}");
}
