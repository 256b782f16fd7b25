//! Limits on all processes of a command together, as the kernel keeps them.

mod common;

use std::path::{Path, PathBuf};
use std::process::Output;

use common::{is_root, need, run, stderr};

fn rooted(test: &str) -> bool {
    if !is_root() {
        eprintln!("skipped: {test}: it takes the right to make cgroups");
    }
    is_root()
}

/// Every cgroup of ours in all hierarchies, at the place of this process or anywhere below the top.
fn ours(dir: &Path, depth: u32) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let dirs = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.flat_map(|entry| {
        let own = entry.file_name().to_string_lossy().starts_with("sept-");
        let below = if depth > 0 { ours(&entry.path(), depth - 1) } else { Vec::new() };
        below.into_iter().chain(own.then(|| entry.path()))
    })
    .collect()
}

fn report(output: &Output) -> serde_json::Value {
    let said = stderr(output);
    let line = said.lines().find(|line| line.starts_with('{')).expect("there is a report");
    serde_json::from_str(line).expect("it is JSON")
}

#[test]
fn at_its_memory_limit_a_command_is_killed_and_the_report_says_so() {
    let test = "at_its_memory_limit_a_command_is_killed_and_the_report_says_so";
    if !rooted(test) || !need(test, &["perl"]) {
        return;
    }
    let output = run(&[
        "--memory",
        "32M",
        "--report-fd",
        "2",
        "perl",
        "-e",
        "my $x = 'x' x (200 << 20); print 'done'",
    ]);
    assert_eq!(output.status.code(), Some(137), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    let report = report(&output);
    assert!(report["oom_kills"].as_u64() >= Some(1), "{report}");
    let peak = report["peak_memory_bytes"].as_u64().expect("memory was counted");
    assert!((16 << 20..=32 << 20).contains(&peak), "{peak}");
}

#[test]
fn what_is_written_into_a_tmpfs_counts_as_memory() {
    let test = "what_is_written_into_a_tmpfs_counts_as_memory";
    if !rooted(test) {
        return;
    }
    let script = "head -c 100M /dev/zero >/mnt/file; echo wrote";
    let output = run(&["--memory", "32M", "--tmpfs", "/mnt", "--report-fd", "2", "sh", "-c", script]);
    assert!(report(&output)["oom_kills"].as_u64() >= Some(1), "{}", stderr(&output));
}

#[test]
fn no_more_processes_than_allowed() {
    let test = "no_more_processes_than_allowed";
    if !rooted(test) {
        return;
    }
    let output = run(&["--pids", "4", "sh", "-c", "for i in 1 2 3 4 5 6; do sleep 0.1 & done; wait"]);
    assert!(stderr(&output).to_lowercase().contains("fork"), "{}", stderr(&output));
}

/// With version 2 a cgroup that has processes can pass these two on alone, and then takes no process below it.
#[test]
fn a_limit_of_processes_or_of_time_alone_is_enough() {
    let test = "a_limit_of_processes_or_of_time_alone_is_enough";
    if !rooted(test) {
        return;
    }
    for limit in [["--pids", "20"], ["--cpus", "0.5"]] {
        let output = run(&[&limit[..], &["echo", "there"]].concat());
        assert_eq!(common::stdout(&output), "there", "{limit:?}");
    }
}

#[test]
fn inside_it_is_at_the_root_of_its_cgroup_namespace() {
    let test = "inside_it_is_at_the_root_of_its_cgroup_namespace";
    if !rooted(test) {
        return;
    }
    let output = run(&["--memory", "64M", "--pids", "20", "--cpus", "0.5", "cat", "/proc/self/cgroup"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let paths = |name: &str| text.lines().any(|line| line.ends_with(&format!("{name}:/")));
    assert!(output.status.success() && (paths("memory") && paths("pids") || paths("0:")), "{text}");
    let left = ours(Path::new("/sys/fs/cgroup"), 3);
    let pid = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split('-').nth(1).map(str::to_owned)
    };
    // One whose sept has just ended can have been there a moment ago.
    let gone =
        |path: &&PathBuf| pid(path).is_none_or(|pid| !Path::new("/proc").join(pid).exists()) && path.exists();
    assert_eq!(left.iter().filter(gone).count(), 0, "left behind: {left:?}");
}

#[test]
fn a_limit_that_is_none_is_refused() {
    for (option, value) in
        [("--memory", "0"), ("--cpus", "0"), ("--cpus", "x"), ("--pids", "0"), ("--pids", "-1")]
    {
        let output = run(&[option, value, "true"]);
        assert_eq!(output.status.code(), Some(125), "{option} {value}");
        assert!(stderr(&output).contains(option), "{}", stderr(&output));
    }
    let output = run(&["--memory", "64M", "--cgroup-parent", "/nowhere/at/all", "true"]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert!(stderr(&output).contains("/nowhere/at/all"), "{}", stderr(&output));
}
