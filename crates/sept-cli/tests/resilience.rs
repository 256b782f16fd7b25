//! SIGKILL of sept at any moment, many sandboxes at once, commands that take all they can get, and readers that take nothing.

mod common;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

use common::{Scratch, host, path, sept, soon, stderr, stdout};

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

/// A named pipe that is full, with somebody who could read from it.
fn full_pipe(name: &str) -> std::fs::File {
    host("mkfifo", &[name]);
    let mut options = std::fs::File::options();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    let mut pipe = options.open(name).expect("it can be opened");
    while pipe.write(&[b' '; 4096]).is_ok() {}
    pipe
}

/// A terminal that takes but so many bytes at once, and its name.
fn narrow_terminal(room: usize) -> (std::os::fd::OwnedFd, String) {
    let (flags, wide) = (OpenptFlags::RDWR | OpenptFlags::NOCTTY, 1 << 20);
    let open = || {
        let terminal = openpt(flags).expect("a terminal");
        unlockpt(&terminal).expect("it can be opened");
        let name = ptsname(&terminal, Vec::new()).expect("its name").into_string().expect("a path");
        let mut options = std::fs::File::options();
        options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let mut inner = options.open(&name).expect("it can be opened");
        let mut fill = move |most: usize| {
            let mut left = most;
            // The kernel makes room once more, when it hands on what it has got.
            for _ in 0..5 {
                while left > 0
                    && let Ok(count) = inner.write(&[b' '; 64][..left.min(64)])
                {
                    left -= count;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            most - left
        };
        fill(wide);
        std::io::Read::read_exact(
            &mut std::fs::File::from(terminal.try_clone().expect("a copy")),
            &mut [0; 300],
        )
        .expect("it is read");
        std::thread::sleep(Duration::from_millis(20));
        (terminal, name, fill)
    };
    // The kernel makes more room than was read: as much as in another one.
    let all = open().2(wide);
    let (terminal, name, mut fill) = open();
    fill(all.saturating_sub(room));
    (terminal, name)
}

#[test]
fn a_report_to_a_terminal_that_is_not_read_is_given_up() {
    for room in [0, 100] {
        let (_terminal, name) = narrow_terminal(room);
        let line = format!("exec {} run --report-fd 3 true 3<>{name}", path());
        let output = Command::new("timeout").args(["-s", "KILL", "20", "sh", "-c", &line]).output();
        let output = output.expect("timeout starts");
        assert!(
            output.status.code() == Some(125) && stderr(&output).contains("nobody reads it"),
            "{output:?}"
        );
    }
}

#[test]
fn a_report_to_a_pipe_that_is_full_is_given_up() {
    let scratch = Scratch::new();
    let file = scratch.path("report.json");
    let pipe = full_pipe(&file);
    let by_number = format!("exec {} run --report-fd 3 true 3>{file}", path());
    for line in [vec![&path(), "run", "--report", &file, "true"], vec!["sh", "-c", &by_number]] {
        let line = [vec!["-s", "KILL", "20"], line].concat();
        let output = Command::new("timeout").args(&line).output().expect("timeout starts");
        let said = stderr(&output);
        assert!(output.status.code() == Some(125) && said.contains("nobody reads it"), "{line:?} {said}");
        assert!(said.contains("has ended, with 0"), "{said}");
    }
    // Who reads it after a moment has it.
    let line = ["run", "--report", &file, "sh", "-c", "exit 3"];
    let waits = sept().args(line).spawn().expect("sept starts");
    std::thread::sleep(Duration::from_millis(500));
    let read = std::fs::File::open(&file).expect("it can be opened");
    drop(pipe);
    let reader = Command::new("cat").stdin(read).stdout(Stdio::piped()).spawn().expect("cat starts");
    assert_eq!(waits.wait_with_output().expect("it ends").status.code(), Some(3));
    assert!(stdout(&reader.wait_with_output().expect("it ends")).contains("\"exit_code\":3"));
}
