//! Whether a command can get rid of sept, or get at it.

use std::process::Stdio;

use crate::common::{
    Scratch, Waiting, children, has_scopes, host, need, need_root, on_terminal, path, run, sept, skip, soon,
    stderr, stdout,
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
         print \" memory\" if open(my $m, '+<', \"/proc/$p/mem\"); my $none = pack('Q Q', 0, 0); \
         print \" limit\" if syscall({}, $p, 4, $none, 0) == 0; \
         syscall({0}, 0, 4, $none, 0) == 0 && syscall({0}, $p, 4, 0, $none) == 0 or print \"no limit of its own: $!\"",
        libc::SYS_prlimit64
    );
    let gets = |options: &[&str]| stdout(&run(&[options, &["perl", "-e", &attack]].concat()));
    assert_eq!(gets(&["--namespaces", "none", "--landlock-scope", "none"]), "signal trace memory limit");
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
        "signal limit",
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

/// What has ended is its tracer's to wait for, before it is the parent's. One that the command has started ends with it.
#[test]
fn who_is_traced_cannot_withhold_its_end() {
    if !need("who_is_traced_cannot_withhold_its_end", &["perl"]) {
        return;
    }
    // The tracer seizes its parent, the command, lets it know, and waits for nothing.
    let attack = format!(
        r#"$| = 1; my $me = $$; pipe(my $r, my $w);
        if (my $tracer = fork) {{ close $w; syscall({prctl}, 0x59616d61, $tracer, 0, 0, 0); sysread($r, my $b, 1);
            print "$tracer $b\n"; close STDOUT; $ARGV[0] eq "wait" ? sleep 1000 : exit $ARGV[0] }}
        close $r; close STDOUT; my $answer;
        for (1..1000) {{ last if ($answer = syscall({ptrace}, 0x4206, $me, 0, 0)) == 0; select undef, undef, undef, .001 }}
        syswrite($w, $answer == 0 ? "traces" : "fails"); sleep 1000"#,
        prctl = numbers()[0],
        ptrace = numbers()[1],
    );
    for (wait, code) in [("wait", 124), ("7", 7), ("0", 0)] {
        let mut child = sept();
        child.args(["run", "--share", "pid", "--timeout", if code == 124 { "1" } else { "1000" }]);
        child.args(["perl", "-e", &attack, wait]).stdout(Stdio::piped());
        let mut child = child.spawn().expect("sept starts");
        let mut said = String::new();
        let mut out = child.stdout.take().expect("output is piped");
        std::io::Read::read_to_string(&mut out, &mut said).expect("it says so");
        let (tracer, does) = said.trim().split_once(' ').expect("two words");
        assert_eq!(does, "t", "it can be traced");
        let tracer: u32 = tracer.parse().expect("a number");
        let status = child.wait().expect("sept ends");
        let let_go = !is_alive(tracer);
        host("kill", &["-KILL", &tracer.to_string()]);
        assert!(let_go, "it is gone, too");
        assert_eq!(status.code(), Some(code));
    }
}

/// One that hangs, here in the stop before its end of which its own tracer wants to know, is ended alone.
#[test]
fn who_does_not_end_takes_nobody_of_a_joined_namespace_along() {
    let test = "who_does_not_end_takes_nobody_of_a_joined_namespace_along";
    if !need_root(test, "it joins a pid namespace alone") || !need(test, &["perl"]) {
        return;
    }
    let target = Waiting::new(&["--share", "user,net"]);
    let attack = format!(
        r#"my $me = $$; close STDOUT; close STDERR; pipe(my $r, my $w);
        if (my $tracer = fork) {{ close $w; syscall({prctl}, 0x59616d61, $tracer, 0, 0, 0); sysread($r, my $b, 1); sleep 1000 }}
        close $r; syscall({ptrace}, 0x4206, $me, 0, 0x40) == 0 or die "$!"; syswrite($w, "x"); sleep 1000"#,
        prctl = numbers()[0],
        ptrace = numbers()[1],
    );
    let pid = format!("pid={}", target.inside());
    let output = run(&["--share", "user,net", "--join", &pid, "--timeout", "2", "perl", "-e", &attack]);
    let tracer = host("sh", &["-c", "pgrep -f '^perl -e my .me = '"]);
    assert!(is_alive(target.inside()), "it is still there: {output:?}");
    for pid in tracer.split_whitespace() {
        host("kill", &["-KILL", pid]);
    }
    assert!(output.status.code() == Some(124) && stderr(&output).contains("has not ended"), "{output:?}");
}

/// A thread that waits for a file system of its own making, which it keeps open itself, is beyond SIGKILL.
#[test]
fn who_cannot_be_killed_holds_nobody_up() {
    let test = "who_cannot_be_killed_holds_nobody_up";
    if !need_root(test, "the kernel is told by root to let go of it again")
        || !need(test, &["perl", "unshare"])
    {
        return;
    }
    if !std::path::Path::new("/dev/fuse").exists() {
        skip(test, "there is no /dev/fuse");
        return;
    }
    let attack = |who: &str| {
        format!(
            r#"$| = 1; open my $f, "+<", "/dev/fuse" or die; my $o = "fd=" . fileno($f) . ",rootmode=40000,user_id=0,group_id=0";
        my ($of, $at, $kind) = ("x", "/mnt", "fuse"); syscall({}, $of, $at, $kind, 0, $o) == 0 or die "mount: $!";
        sysread $f, my $b, 1 << 20; my (undef, undef, $unique) = unpack "L L Q", $b;
        syswrite $f, pack("L l Q L L L L S S L L S S L x28", 80, 0, $unique, 7, 31, 4096, 0, 0, 0, 4096, 1, 0, 0, 0);
        if ({who}) {{ close $f if $$ == 1; close STDOUT; close STDERR; my @s = stat "/mnt/x"; exit }}
        open my $m, "<", "/proc/self/mountinfo"; my ($n) = map {{ / 0:(\d+) \/ \/mnt / ? $1 : () }} <$m>;
        sysread $f, $b, 1 << 20; print "$n\n"; sleep 1000"#,
            libc::SYS_mount
        )
    };
    // PID 1 itself, whose end is that of the server, too.
    let output = run(&["--timeout", "2", "perl", "-e", &attack("fork")]);
    assert!(output.status.code() == Some(124) && !stderr(&output).contains("has not ended"), "{output:?}");
    let output = run(&["--timeout", "2", "perl", "-e", &attack("!fork")]);
    let (number, said) = (String::from_utf8_lossy(&output.stdout).trim().to_owned(), stderr(&output));
    let abort = format!("mount -t fusectl none /mnt && echo 1 >/mnt/{number}/abort");
    let abort = std::process::Command::new("unshare").args(["-m", "sh", "-c", &abort]).status();
    assert!(abort.is_ok_and(|status| status.success()), "it is let go of: {number} {said}");
    assert!(output.status.code() == Some(124) && said.contains("has not ended"), "{said}");
}

/// Not a test of its own: a program one of whose threads makes its parent, sept, its tracer.
#[test]
#[expect(unsafe_code, reason = "nothing else asks for it")]
fn traced_by_sept() {
    if std::env::var_os("SEPT_TEST_ROLE").is_none_or(|role| role != "traced") {
        return;
    }
    // SAFETY: it takes no address.
    let traced = std::thread::spawn(|| unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) }).join();
    std::process::exit(if traced.is_ok_and(|answer| answer == 0) { 7 } else { 8 });
}

/// Until that thread has been waited for, the program has not ended.
#[test]
fn a_thread_that_sept_is_made_to_trace_keeps_no_end_back() {
    let own = std::env::current_exe().expect("a test has a path").to_string_lossy().into_owned();
    for options in [&["--namespaces", "none"][..], &["--share", "pid"], &[]] {
        let role = ["--env", "SEPT_TEST_ROLE=traced", &own, "--exact", "end::traced_by_sept"];
        let output = run(&[&["--timeout", "30", "--landlock-scope", "none"], options, &role].concat());
        assert_eq!(output.status.code(), Some(7), "{options:?}: {}", stderr(&output));
    }
}

/// Who stops has sept stop as well, where a shell outside is to see it: but not for the end of its parent.
#[test]
fn a_command_that_stops_ends_with_the_parent_of_sept() {
    if !need("a_command_that_stops_ends_with_the_parent_of_sept", &["script"]) {
        return;
    }
    let scratch = Scratch::new();
    let (parent, command) = (scratch.path("parent"), scratch.path("command"));
    let options = "run --share pid --die-with-parent";
    let inner = format!(r#"echo $$ >{command}; kill -STOP $$; sleep 60"#);
    std::fs::write(scratch.path("inner"), inner).expect("a file");
    let script = format!("echo $$ >{parent}; {} {options} sh {}; true", path(), scratch.path("inner"));
    std::fs::write(scratch.path("script"), script).expect("a file");
    let line =
        format!("env --default-signal sh -mc 'sh {}; echo st\"\"opped; sleep 60'", scratch.path("script"));
    let mut terminal =
        on_terminal(&line).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let number =
        |file: &str| std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let state = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    soon("the parent has stopped", || {
        number(&command).is_some_and(|_| {
            number(&parent)
                .is_some_and(|pid| children(pid).first().is_some_and(|sept| state(*sept).contains(") T ")))
        })
    });
    let (parent, command) = (number(&parent).expect("its number"), number(&command).expect("its number"));
    host("kill", &["-KILL", &parent.to_string()]);
    soon("the command is gone", || !is_alive(command));
    terminal.kill().expect("it can be killed");
    terminal.wait().expect("it ends");
}
