//! Names that would move the cursor of who reads about them.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::common::{Scratch, Waiting, children, host, need, need_root, path, sept, soon};

/// Escape, operating system command, bell, the one-byte form of the escape as Unicode has it, and right to left.
const NAME: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}2K\u{202e}";

/// No byte or character of control but the ends of lines and tabs.
fn harmless(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let bad = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t') || *c == '\u{202e}');
    assert_eq!(bad, None, "{what}: {text:?}");
}

#[test]
fn no_listing_shows_a_name_as_it_is() {
    let scratch = Scratch::new();
    // A file, a process name, an argument, a hostname and a mount point.
    let program = scratch.path("\u{1b}[2J\u{9b}");
    std::fs::copy("/bin/sleep", &program).expect("it can be copied");
    let mount = scratch.path(NAME);
    std::fs::create_dir(&mount).expect("a directory can be made");
    let mut hostile = sept();
    hostile.args(["run", "--hostname", NAME, "--tmpfs", &mount, "--argv0", NAME, &program, "1000"]);
    let mut hostile = hostile.stdin(Stdio::null()).spawn().expect("sept starts");
    soon("the command runs", || {
        let runs = |pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(NAME.as_bytes()))
        };
        children(hostile.id()).iter().any(runs)
    });
    let pid = children(hostile.id())[0].to_string();
    assert!(host("cat", &[&format!("/proc/{pid}/comm")]).contains('\u{1b}'), "the kernel tells it as it is");
    let plain = Waiting::new(&[]);
    let other = plain.inside().to_string();
    let mut shown = 0;
    for words in [
        ["ls"].as_slice(),
        &["ls", &pid],
        &["ls", "--tree"],
        &["ls", "--tree=parent"],
        &["ls", "--tree=process"],
        &["ls", "--json"],
        &["ls", "--svg", "/dev/stdout"],
        &["diff", &pid, &other],
        &["diff", &other, &pid, "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["enter", "--plan", &pid, NAME],
        &["run", "--plan", "--hostname", NAME, "--tmpfs", &mount, "--wd", &mount, NAME],
        &["run", "--plan=json", "--hostname", NAME, NAME],
        &["unshare", "-Um", "--plan", "--root", &mount, NAME],
    ] {
        let output = sept().args(words).output().expect("sept starts");
        harmless(&format!("{words:?}"), &output.stdout);
        harmless(&format!("{words:?}"), &output.stderr);
        shown += usize::from(String::from_utf8_lossy(&output.stdout).contains("[2J"));
    }
    host("kill", &["-KILL", &pid]);
    hostile.wait().expect("it ends");
    assert!(shown >= 8, "most show it, escaped: {shown}");
}

#[test]
fn no_message_shows_a_name_as_it_is() {
    let option = format!("--{NAME}");
    let file = format!("/{NAME}");
    for words in [
        ["run", NAME].as_slice(),
        &["run", &option],
        &["run", "--wd", NAME, "true"],
        &["run", "--root", NAME, "true"],
        &["run", "--bind", NAME, "/mnt", "true"],
        &["run", "--tmpfs", &file, "true"],
        &["run", "--mask", NAME, "true"],
        &["run", "--rlimit", NAME, "true"],
        &["run", "--memory", NAME, "true"],
        &["run", "--timeout", NAME, "true"],
        &["run", "--seccomp", NAME, "true"],
        &["run", "--cap-add", NAME, "true"],
        &["run", "--landlock-ro", &file, "true"],
        &["run", "--join", NAME, "true"],
        &["run", "--report", &format!("{file}/x"), "true"],
        &["run", "--cgroup-parent", NAME, "--pids", "5", "true"],
        &["run", "--json-errors", NAME],
        &["run", "--json-errors", "--wd", NAME, "true"],
        &["run", "--plan=\u{1b}", "true"],
        &["unshare", "-Ur", NAME],
        &["unshare", "-m", &option],
        &["enter", NAME, "true"],
        &["enter", &file, "true"],
        &["pin", "1", NAME],
        &["unpin", NAME],
        &["ls", NAME],
        &["ls", "--columns", NAME],
        &["ls", "--type", NAME],
        &["diff", NAME, NAME],
        &["seccomp", "test", "default", NAME],
        &["seccomp", "explain", NAME],
        &["help", NAME],
        &["tour", NAME],
        &["completions", NAME],
        &["man", NAME],
        &[NAME],
    ] {
        let output = sept().args(words).output().expect("sept starts");
        assert!(!output.status.success(), "{words:?}");
        harmless(&format!("{words:?}"), &output.stdout);
        harmless(&format!("{words:?}"), &output.stderr);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.is_empty(), "{words:?}");
    }
    // Others do: so the name is one that does harm.
    let mut cat = Command::new("cat");
    let output = cat.arg0("cat").arg(NAME).env("LC_ALL", "C.UTF-8").output().expect("cat starts");
    assert!(!output.status.success());
}

/// Who looks into a user namespace can be traced by its owner: root must be nobody there that the owner is not already.
#[test]
fn who_looks_into_a_user_namespace_is_one_of_it() {
    let test = "who_looks_into_a_user_namespace_is_one_of_it";
    if !need_root(test, "root alone has an identity to lose") || !need(test, &["strace"]) {
        return;
    }
    let mapped = ["--map-users", "0:100000:1000", "--map-groups", "0:100000:1000", "-S", "0", "-G", "0"];
    let target = Waiting::new(&[&["-Uui", "--hostname", "x"], &mapped[..]].concat());
    let (scratch, own, other) = (Scratch::new(), std::process::id().to_string(), target.inside().to_string());
    let trace = scratch.path("trace");
    let calls = "trace=setns,setgroups,setresuid,setresgid,execve";
    // Not `host`: 1 says that they differ.
    let line = ["-f", "-o", &trace, "-e", calls, &path(), "diff", &own, &other];
    let output = Command::new("strace").args(line).output().expect("strace starts");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.contains("hostname: ") && output.contains("max_user_namespaces"), "{output}");
    let text = std::fs::read_to_string(&trace).expect("it can be read");
    // How each ended, with the number that it has outside: the one that was in the user namespace has one of that.
    let joined = text.lines().filter(|line| line.contains("CLONE_NEWUSER")).count();
    assert_eq!((joined, text.matches("si_uid=100000").count()), (1, 1), "{text}");
    let groups = text.find("setgroups(0").expect("it has no groups of outside");
    assert!(groups < text.find("CLONE_NEWUSER").expect("it joins"), "{text}");
}
