//! SIGKILL of sept at any moment, many sandboxes at once, commands that take all they can get, and readers that take nothing.

mod common;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

use common::{
    Pins, Scratch, children, host, is_root, need, path, sept, sept_with_default_signals, soon, stderr, stdout,
};

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

/// So many programs sleep for this time.
fn sleeping(word: &str) -> usize {
    with(word).iter().filter(|line| line.starts_with("sleep ")).count()
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
    // Another test has a pin.
    let mounts = || host("grep", &["-vc", "/sept/pins", "/proc/self/mountinfo"]);
    let before = mounts();
    let mut state = u64::from(std::process::id()) | 1 << 40;
    let all: [&[&str]; 7] = [
        &["run"],
        &["run", "--tmpfs", "/mnt", "--bind", "/usr", "/mnt/usr", "--seccomp", "default"],
        &["run", "--init", "--cap-drop", "all"],
        &["unshare", "-Urpf", "--kill-child", "--mount-proc"],
        &["run", "--share", "pid"],
        &["run", "--namespaces", "none"],
        &["run", "--share", "pid", "--cgroup-manager", "fs", "--pids", "20"],
    ];
    // Only root may make cgroups.
    let lines = if is_root() { &all[..] } else { &all[..6] };
    let mut killed = Vec::new();
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
        killed.push(format!("/sept-{}-", child.id()));
    }
    soon("nothing is left", || with(&word).is_empty());
    assert_eq!(mounts(), before);
    if is_root() {
        soon("the next run takes empty cgroups away", || {
            assert!(sept().args(all[6]).arg("true").status().expect("sept starts").success());
            let left = Command::new("find")
                .args(["/sys/fs/cgroup", "-name", "sept-*"])
                .output()
                .expect("find starts");
            let left = String::from_utf8_lossy(&left.stdout);
            !killed.iter().any(|name| left.contains(name))
        });
    }
}

/// In the same process group, in a session of its own, and orphaned.
fn starts_some(word: &str) -> String {
    format!("sleep {word} & setsid sleep {word} & (setsid sleep {word} &)")
}

/// In a pid namespace the kernel sees to it.
#[test]
fn what_the_command_has_started_ends_with_it_without_a_pid_namespace() {
    let test = "what_the_command_has_started_ends_with_it_without_a_pid_namespace";
    if !need(test, &["setsid"]) {
        return;
    }
    for (n, options) in [&["--namespaces", "none"][..], &["--share", "pid"], &["-U", "-n"]].iter().enumerate()
    {
        let word = format!("9871{n}{}", std::process::id());
        let start = |more: &[&str], end: &str| {
            let mut command = sept_with_default_signals();
            command.arg("run").args(*options).args(more);
            command.args(["sh", "-c", &format!("{}; {end}", starts_some(&word))]);
            let child = command.spawn().expect("sept starts");
            soon("they have started", || sleeping(&word) >= 3);
            child
        };
        let gone = |mut child: Child, code: i32| {
            let status = child.wait().expect("it ends");
            assert_eq!((status.code(), with(&word)), (Some(code), Vec::new()), "{options:?}");
        };
        gone(start(&["--timeout", "1"], "sleep 100"), 124);
        gone(start(&[], "sleep 1; exit 3"), 3);
        for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("KILL", 137)] {
            let child = start(&[], "exec sleep 100");
            // The command's own end by SIGKILL.
            let target = if signal == "KILL" { children(child.id())[0] } else { child.id() };
            host("kill", &["-s", signal, &target.to_string()]);
            gone(child, code);
        }
    }
}

#[test]
fn what_the_command_has_started_ends_with_septs_parent_when_asked() {
    let test = "what_the_command_has_started_ends_with_septs_parent_when_asked";
    if !need(test, &["setsid"]) {
        return;
    }
    let word = format!("9872{}", std::process::id());
    let script = r#""$0" run --share pid --die-with-parent sh -c "$1; sleep 100" & exec sleep 100"#;
    let mut parent = Command::new("sh");
    let mut parent =
        parent.args(["-c", script, &path(), &starts_some(&word)]).spawn().expect("a shell starts");
    soon("they have started", || sleeping(&word) >= 3);
    parent.kill().expect("it can be killed");
    parent.wait().expect("it ends");
    soon("all are gone", || with(&word).is_empty());
}

/// Orphans are sept's children then, which it has to wait for; what else it has for children is not the command's.
#[test]
fn orphans_are_waited_for_and_other_children_left_alone() {
    let test = "orphans_are_waited_for_and_other_children_left_alone";
    if !need(test, &["setsid"]) {
        return;
    }
    let word = format!("9873{}", std::process::id());
    let (pins, pin) = (Pins::new(), format!("resilience{}", std::process::id()));
    let scratch = Scratch::new();
    let inner = scratch.path("inner");
    let text = format!(
        "{{ {}; }} >/dev/null 2>&1\nfor n in 1 2 3 4 5; do (sleep 0.01 &); done\n\
         (sh -c 'sleep 0.2; cut -d \" \" -f 4 /proc/$$/stat' &)\nsleep 0.5; echo $PPID\n\
         for child in $(cat /proc/$PPID/task/$PPID/children); do cut -d ' ' -f 3 /proc/$child/stat; done | grep -c Z",
        starts_some(&word)
    );
    std::fs::write(&inner, text).expect("a file can be made");
    let script =
        format!("sleep 1{word} >/dev/null 2>&1 & exec {} run -U -u --pin {pin} sh {inner}; true", path());
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::null());
    let output = pins.within(&mut command).output().expect("a shell starts");
    let others = with(&format!("1{word}")).len();
    host("pkill", &["-f", &format!("^sleep 1{word}")]);
    let kept = pins.sept(&["enter", &pin, "true"]);
    stdout(&pins.sept(&["unpin", &pin]));
    assert_eq!((others, with(&format!("sleep {word}"))), (1, Vec::new()), "{output:?}");
    stdout(&kept);
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        matches!(lines[..], [parent, sept, "0"] if parent == sept),
        "the parent of an orphan is sept: {said}"
    );
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
    for options in [&[][..], &["--share", "pid"], &["--namespaces", "none"]] {
        let mut command = sept();
        command
            .arg("run")
            .args(options)
            .args(["--timeout", "0.3", "sh", "-c", &script])
            .stderr(Stdio::null());
        assert_eq!(command.status().expect("sept starts").code(), Some(124));
        soon("every process of it is gone", || with(&word).is_empty());
    }
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
