//! CVE-2024-32462: words that are no options, and helpers of the attacker's choice.

use std::process::Command;

use crate::common::{Scratch, Waiting, host, need, need_subids, path, sept, stderr};

const HOSTILE: [&str; 9] =
    ["--bind", "/", "--share=user", "", "a\nb", "--", "-S0", "--report=/sept-never-made", "\u{1b}[2J"];

/// The words that the command got, each between brackets.
const SHOW: [&str; 4] = ["sh", "-c", "for word; do printf '<%s>' \"$word\"; done", "sh"];

#[test]
fn nothing_behind_the_command_is_an_option() {
    let target = Waiting::new(&[]);
    let pid = target.inside().to_string();
    let expected: String = HOSTILE.iter().map(|word| format!("<{word}>")).collect();
    for words in [
        ["run"].as_slice(),
        &["run", "--"],
        &["run", "-t"],
        &["run", "--init", "--"],
        &["unshare", "-Ur"],
        &["unshare", "-Ur", "--"],
        &["unshare", "-Ur", "--fork"],
        &["enter", &pid],
        &["enter", &pid, "--"],
        &["enter", "-t", &pid, "-U"],
        &["enter", "-t", &pid, "-U", "--"],
    ] {
        let output = sept().args(words).args(SHOW).args(HOSTILE).output().expect("sept starts");
        let said = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
        assert_eq!(said, expected, "{words:?}: {}", stderr(&output));
    }
    assert!(!std::path::Path::new("/sept-never-made").exists());
    // Before the command they are options.
    let output =
        sept().args(["run", "--bind", "/", "--share=user"]).args(SHOW).output().expect("sept starts");
    assert_eq!(output.status.code(), Some(125));
    // What follows -- is the command, whatever it looks like.
    for (word, code) in [("--bind", 127), ("-U", 127), ("", 125)] {
        let output = sept().args(["run", "--", word]).output().expect("sept starts");
        assert_eq!(output.status.code(), Some(code), "{word:?}: {}", stderr(&output));
    }
}

#[test]
fn helpers_come_from_no_path_of_the_callers() {
    let test = "helpers_come_from_no_path_of_the_callers";
    if !need_subids(test) {
        return;
    }
    let scratch = Scratch::new();
    let trap = scratch.path("trap");
    for helper in ["newuidmap", "newgidmap"] {
        let file = scratch.path(helper);
        std::fs::write(&file, format!("#!/bin/sh\ntouch {trap}\n")).expect("the file can be made");
        host("chmod", &["755", &file]);
    }
    let hostile = format!("{}:/usr/bin:/bin", scratch.0.display());
    for words in [["run", "--map-auto", "true"], ["unshare", "--map-auto", "true"]] {
        let mut command = sept();
        command.env("PATH", &hostile).env("LD_PRELOAD", "/no/such/library.so").args(words);
        let output = command.output().expect("sept starts");
        assert!(output.status.success(), "{}", stderr(&output));
        // A dynamic loader would say that the library is not there, for the helper; sept itself here is what it is.
        assert!(!std::path::Path::new(&trap).exists());
    }
}

/// The environment of a helper with rights is not the caller's.
#[test]
fn helpers_get_no_environment_of_the_callers() {
    let test = "helpers_get_no_environment_of_the_callers";
    if !need(test, &["strace", "newuidmap"]) {
        return;
    }
    if !need_subids(test) {
        return;
    }
    let scratch = Scratch::new();
    let log = scratch.path("log");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-v", "-qq", "-s", "4000", "-o", &log, "-e", "trace=execve", &path()]);
    // Traced, an ordinary user's helper has no rights, and fails; it is started all the same.
    let output = strace.args(["run", "--map-auto", "true"]).env("SEPT_HOSTILE", "yes").output();
    output.expect("strace starts");
    let log = std::fs::read_to_string(&log).expect("the log can be read");
    let started: Vec<_> =
        log.lines().filter(|line| line.contains("execve(\"/") && line.contains("idmap\"")).collect();
    assert!(!started.is_empty(), "{log}");
    assert!(started.iter().all(|line| !line.contains("SEPT_HOSTILE")), "{started:?}");
    assert!(
        log.lines().next().is_some_and(|line| line.contains("SEPT_HOSTILE")),
        "sept itself has it: {log}"
    );
}
