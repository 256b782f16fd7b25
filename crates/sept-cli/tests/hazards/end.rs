//! Whether a command can get rid of sept, or get at it.

use std::process::Stdio;

use crate::common::{
    Scratch, Waiting, children, has_scopes, host, need, on_terminal, path, run, sept, skip, soon, stdout,
};

fn numbers() -> [i64; 2] {
    [libc::SYS_prctl, libc::SYS_ptrace]
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The parent-death signal is the command's own affair, and it can say that it wants none; a reaper's is not.
#[test]
fn under_a_reaper_no_command_outlives_a_sept_that_is_killed() {
    if !need("under_a_reaper_no_command_outlives_a_sept_that_is_killed", &["perl"]) {
        return;
    }
    let attack = format!("syscall({}, 1, 0); $| = 1; print \"ready\\n\"; sleep 1000", numbers()[0]);
    let outlives = |options: &[&str]| {
        let mut child = sept();
        child.arg("run").args(options).args(["perl", "-e", &attack]).stdout(Stdio::piped());
        let mut child = child.spawn().expect("sept starts");
        let mut ready = [0; 6];
        let mut said = child.stdout.take().expect("output is piped");
        std::io::Read::read_exact(&mut said, &mut ready).expect("it is ready");
        let first = children(child.id()).first().copied().expect("the command");
        let command = children(first).first().copied().unwrap_or(first);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        if options.contains(&"--init") {
            soon("the command is gone", || !is_alive(command));
        } else {
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        let alive = is_alive(command);
        if alive {
            host("kill", &["-KILL", &command.to_string()]);
        }
        alive
    };
    assert!(outlives(&[]), "as PID 1 it can");
    assert!(!outlives(&["--init"]));
    assert!(!outlives(&["--init", "--share", "net"]));
}

/// Where it has no pid namespace of its own the command sees sept: it must neither end it nor trace it.
#[test]
fn who_shares_process_ids_gets_at_no_process_outside() {
    if !need("who_shares_process_ids_gets_at_no_process_outside", &["perl"]) {
        return;
    }
    if !has_scopes() {
        skip("who_shares_process_ids_gets_at_no_process_outside", "this kernel's Landlock has no scopes");
        return;
    }
    let trace = numbers()[1];
    let attack = format!(
        "my $p = getppid; print kill(0, $p) ? \"signal\" : \"\"; if (syscall({trace}, 0x4206, $p, 0, 0) == 0) {{ print \" trace\" }} \
         print \" memory\" if open(my $m, '+<', \"/proc/$p/mem\")"
    );
    let gets = |options: &[&str]| stdout(&run(&[options, &["perl", "-e", &attack]].concat()));
    assert_eq!(gets(&["--namespaces", "none", "--landlock-scope", "none"]), "signal trace memory");
    for options in [
        ["--namespaces", "none"].as_slice(),
        &["--namespaces", "none", "--seccomp", "default"],
        &["--share", "pid"],
        &["--share", "pid,net"],
        &["-U", "-n"],
        &["-U"],
    ] {
        assert_eq!(gets(options), "", "{options:?}");
    }
    assert_eq!(
        gets(&["-U", "-n", "--landlock-scope", "none"]),
        "signal",
        "another user namespace is no guard against that"
    );
}

/// A process group has members on both sides of a pid namespace, and whose PID 1 sends to it is immune.
#[test]
fn a_signal_to_ones_own_process_group_reaches_nobody_outside() {
    if !need("a_signal_to_ones_own_process_group_reaches_nobody_outside", &["perl", "script", "setsid"]) {
        return;
    }
    if !has_scopes() {
        skip(
            "a_signal_to_ones_own_process_group_reaches_nobody_outside",
            "this kernel's Landlock has no scopes",
        );
        return;
    }
    let scratch = Scratch::new();
    let [attack, caller] = ["attack.pl", "caller.sh"].map(|name| scratch.path(name));
    let text = format!("syscall({}, 1, 0); kill(9, 0); print \"tried\\n\";", numbers()[0]);
    std::fs::write(&attack, text).expect("a file can be made");
    std::fs::write(&caller, format!("\"$@\" perl {attack}; echo the caller is there\n"))
        .expect("a file can be made");
    let target = Waiting::new(&[]);
    let (sept, enter) = (path(), format!("enter {}", target.inside()));
    // Without a terminal, and on one, where job control needs the group.
    let without = |words: &str| {
        let mut caller_of = std::process::Command::new("setsid");
        let words = words.split(' ').collect::<Vec<_>>();
        let output = caller_of.args(["-w", "sh", &caller, &sept]).args(words).stdin(Stdio::null()).output();
        String::from_utf8_lossy(&output.expect("setsid starts").stdout).contains("the caller is there")
    };
    let with = |words: &str| {
        let output = on_terminal(&format!("sh {caller} {sept} {words}")).output().expect("script starts");
        String::from_utf8_lossy(&output.stdout).contains("the caller is there")
    };
    assert!(!with("run --landlock-scope none"), "it works");
    for words in ["run", "run --init", "run --share net", "run -U -n", "run --namespaces none --no-new-privs"]
    {
        assert!(with(words) && without(words), "{words}");
    }
    for words in ["run --landlock-scope none", "run --init --landlock-scope none", &enter] {
        assert!(without(words), "{words}");
    }
}
