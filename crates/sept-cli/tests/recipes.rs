//! The lines of docs/recipes.md, as a reader would run them.

mod common;

use std::process::{Command, Stdio};

use common::{Scratch, path, stderr};

const PAGE: &str = include_str!("../../../docs/recipes.md");

/// Runs the lines of the block under this heading in a directory of its own.
fn follow(heading: &str) -> Scratch {
    let section =
        PAGE.split("\n## ").find(|section| section.starts_with(heading)).expect("the heading is there");
    let block = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("lines");
    let scratch = Scratch::new();
    let script = format!("set -e\nsept() {{ \"$SEPT\" \"$@\"; }}\n{block}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env("SEPT", path()).current_dir(&scratch.0).stdin(Stdio::null());
    let output = shell.output().expect("sh starts");
    assert!(output.status.success(), "{heading}: {:?} {}", output.status, stderr(&output));
    scratch
}

#[test]
fn a_build_writes_its_directory_and_nothing_else() {
    let scratch = follow("A build without a network");
    assert_eq!(std::fs::read_to_string(scratch.0.join("result")).expect("it was built"), "built\n");
}

#[test]
fn a_judged_program_is_reported() {
    let scratch = follow("A judge of submissions");
    let text = std::fs::read_to_string(scratch.0.join("report.json")).expect("there is a report");
    let report: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(
        (report["exit_code"].as_u64(), report["timed_out"].as_bool()),
        (Some(0), Some(false)),
        "{report}"
    );
    assert_eq!(report["enforced"]["seccomp"][0], "strict", "{report}");
}

#[test]
fn a_read_only_root_is_written_to_in_its_tmpfs_only() {
    let scratch = follow("A read-only root");
    assert!(!scratch.0.join("root/x").exists() && !scratch.0.join("root/tmp/x").exists());
}
