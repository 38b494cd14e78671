//! Command lines that cannot be run.

use super::process::remex;

#[test]
fn a_wrong_command_line_gets_one_sentence_that_says_what_would_be_right() {
    let wrong: [(&[&str], &str); 8] = [
        (&[], "which command? demo, serve, run, devices, objects, bench"),
        (&["sevre"], "'serve'"),
        (&["serve", "--indx", "3"], "'--index'"),
        (&["serve", "--index", "three"], "invalid value 'three' for '--index"),
        (&["serve", "--listen", "carrier-pigeon:7"], "tcp://HOST:PORT or unix:PATH"),
        (&["devices"], "--connect"),
        (&["bench", "W9"], "W1"),
        (&["demo", "--workers", "many"], "invalid value 'many' for '--workers"),
    ];
    for (arguments, right) in wrong {
        let end = remex(arguments);
        end.assert_failed(2, right);
        assert!(end.stdout.is_empty(), "{end:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for arguments in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let end = remex(arguments);
        end.assert_done();
        assert!(!end.stdout.is_empty(), "{end:?}");
    }
}
