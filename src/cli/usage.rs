//! What was wrong with the command line, in one sentence.

use std::process::ExitCode;

use clap::{CommandFactory, error::ErrorKind};

use super::{Cli, Failure};

/// Ends a command line that cannot be run: help and version go to stdout; else one sentence says what was wrong and what
/// would be right.
pub(super) fn end(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        return Failure::usage(sentence(error)).report();
    }
    match error.print() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Clap's message has a paragraph for what is wrong, one for each tip, the usage, and where help is. The first ones, in
/// one line.
fn sentence(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let command = Cli::command();
        let names: Vec<_> =
            command.get_subcommands().map(clap::Command::get_name).filter(|name| *name != "help").collect();
        return format!("which command? {} (remex --help says more)", names.join(", "));
    }
    let text = error.render().to_string();
    let mut said = String::new();
    for paragraph in text.split("\n\n") {
        let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.starts_with("Usage:") || line.starts_with("For more information") || line.is_empty() {
            continue;
        }
        let line = line.strip_prefix("error: ").unwrap_or(&line);
        if !said.is_empty() {
            said.push_str("; ");
        }
        said.push_str(line);
    }
    said
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn of(line: &str) -> String {
        sentence(&Cli::try_parse_from(line.split_whitespace()).unwrap_err())
    }

    #[test]
    fn the_sentence_says_what_was_wrong_and_what_would_be_right() {
        for (line, words) in [
            ("remex", &["which command?", "demo, serve, run, devices, objects, bench"][..]),
            ("remex sevre", &["'sevre'", "serve"]),
            ("remex serve --indx 3", &["unexpected argument '--indx'", "'--index'"]),
            ("remex serve --index x", &["invalid value 'x' for '--index"]),
            ("remex bench W9", &["invalid value 'W9'", "W1"]),
            ("remex run", &["required arguments were not provided", "<MODEL>"]),
        ] {
            let sentence = of(line);
            assert!(!sentence.contains('\n'), "{sentence:?}");
            assert!(!sentence.contains("Usage") && !sentence.contains("For more information"), "{sentence:?}");
            for words in words {
                assert!(sentence.contains(words), "{words:?} is not in {sentence:?}");
            }
        }
    }
}
