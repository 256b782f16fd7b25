//! SIGKILL of sept at any moment, many sandboxes at once, and commands that take all they can get.

mod common;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{host, sept, soon, stdout};

/// The processes with this word in their command line.
fn with(word: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc can be read").flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(word) {
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    found
}

/// A number from 0 to below `end`, another one each time (xorshift).
fn random(state: &mut u64, end: u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state % end
}

#[test]
fn five_hundred_kills_at_random_moments_leave_nothing() {
    let word = format!("98765{}", std::process::id());
    let mounts = host("sh", &["-c", "grep -c . /proc/self/mountinfo"]);
    let mut state = u64::from(std::process::id()) | 1 << 40;
    let lines: [&[&str]; 4] = [
        &["run"],
        &["run", "--tmpfs", "/mnt", "--bind", "/usr", "/mnt/usr", "--seccomp", "default"],
        &["run", "--init", "--cap-drop", "all"],
        &["unshare", "-Urpf", "--kill-child", "--mount-proc"],
    ];
    for n in 0..500 {
        let mut command = sept();
        command
            .args(lines[n % lines.len()])
            .args(["sleep", &word])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child: Child = command.spawn().expect("sept starts");
        // Set-up takes some milliseconds in a debug build.
        std::thread::sleep(Duration::from_micros(random(&mut state, 6000)));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }
    soon("nothing is left", || with(&word).is_empty());
    assert_eq!(host("sh", &["-c", "grep -c . /proc/self/mountinfo"]), mounts);
}

#[test]
fn two_hundred_sandboxes_run_at_once() {
    let children: Vec<Child> = (0..200)
        .map(|_| {
            let mut command = sept();
            command.args(["run", "--tmpfs", "/mnt", "sh", "-c", "echo $$; read line"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sept starts")
        })
        .collect();
    let mut lines = 0;
    for mut child in children {
        child.stdin.take().expect("input is piped");
        let output = child.wait_with_output().expect("it ends");
        lines += u32::from(String::from_utf8_lossy(&output.stdout) == "1\n");
    }
    assert_eq!(lines, 200);
}

#[test]
fn a_flood_on_a_pipe_and_a_full_tmpfs_hurt_only_the_command() {
    let begun = Instant::now();
    // Nobody reads after the first byte: the command ends by SIGPIPE (which a PID 1 would not get), and sept with it.
    let mut command = sept();
    command.args(["run", "--init", "yes"]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("sept starts");
    let mut byte = [0];
    std::io::Read::read_exact(&mut child.stdout.take().expect("output is piped"), &mut byte).expect("a byte");
    assert_eq!(child.wait().expect("it ends").code(), Some(128 + libc::SIGPIPE));
    let script = "head -c 10000000 /dev/zero >/mnt/x 2>/dev/null; echo still here";
    let output = sept().args(["run", "--size", "1M", "--tmpfs", "/mnt", "sh", "-c", script]).output();
    assert_eq!(stdout(&output.expect("sept starts")), "still here");
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_fork_bomb_ends_with_its_sandbox() {
    let word = format!("bomb{}", std::process::id());
    // Bounded by the limit of processes of its user, where that is not root's, and by time in each case.
    let script = format!("bomb() {{ sleep 1000 {word} & sleep 0.01; bomb & bomb; }}; bomb 2>/dev/null");
    let mut command = sept();
    command.args(["run", "--timeout", "0.3", "sh", "-c", &script]).stderr(Stdio::null());
    assert_eq!(command.status().expect("sept starts").code(), Some(124));
    soon("every process of it is gone", || with(&word).is_empty());
}
