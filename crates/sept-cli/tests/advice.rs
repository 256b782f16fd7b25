//! Rows of the advice table, each produced for real; and the fallbacks for calls that a kernel lacks.

mod common;

use common::{Scratch, children, host, is_root, need, need_root, on_terminal, path, run, sept, skip, stderr};

/// Runs a script inside that makes the situation and then starts sept again.
fn nested(prepare: &str, args: &str) -> String {
    let script = format!("{prepare} && exec {} run {args}", path());
    let output = run(&["--no-new-privs=no", "sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn a_limit_of_no_namespaces_is_named_with_its_sysctl() {
    for (option, name) in [("-Un", "user.max_net_namespaces"), ("-U", "user.max_user_namespaces")] {
        let file = name.replace('.', "/");
        let said = nested(&format!("echo 0 >/proc/sys/{file}"), &format!("{option} true"));
        assert!(
            said.contains(&format!("{name} is 0")) && said.contains(&format!("sudo sysctl {name}=")),
            "{said}"
        );
    }
}

#[test]
fn a_covered_proc_is_named_with_what_covers_it() {
    let said = nested("mount -t tmpfs none /proc/sys/fs", "true");
    assert!(said.contains("parts of the present /proc are covered (/proc/sys/fs"), "{said}");
    assert!(said.contains("--bind /proc /proc"), "{said}");
}

#[test]
fn a_covered_sys_is_named_with_options_that_there_are() {
    let said = nested("mount -t tmpfs none /sys/kernel", "--root / true");
    assert!(said.contains("parts of the present /sys are covered (/sys/"), "{said}");
    let fix = said.rsplit("(sept: ").next().and_then(|rest| rest.split(')').next()).expect("there is one");
    let covered = ["--cap-add", "sys_admin", "--tmpfs", "/sys/kernel"];
    let sept = path();
    let within = [sept.as_str(), "run", "--root", "/", "true"];
    let output = run(&[&covered[..], &within].concat());
    assert!(stderr(&output).contains(" are covered ("), "{}", stderr(&output));
    let output = run(&[&covered[..], &fix.split(' ').collect::<Vec<_>>(), &within].concat());
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_kind_without_a_user_namespace_needs_u_or_root() {
    if is_root() {
        skip("a_kind_without_a_user_namespace_needs_u_or_root", "root may make it");
        return;
    }
    let output = run(&["-u", "true"]);
    assert!(output.status.code() == Some(125) && stderr(&output).contains("add -U"), "{}", stderr(&output));
}

#[test]
fn a_missing_subordinate_range_is_named() {
    // Inside a plain user namespace root has the name root, which has no range unless the host gives it one.
    if std::fs::read_to_string("/etc/subuid").unwrap_or_default().contains("root:") {
        skip("a_missing_subordinate_range_is_named", "root has a range on this host");
        return;
    }
    let said = nested("true", "--map-auto true");
    assert!(said.contains("has no range in /etc/subuid") && said.contains("usermod --add-subuids"), "{said}");
}

#[test]
fn namespaces_nested_too_deep_are_named() {
    let script =
        r#"n=$1; if [ $n -gt 0 ]; then exec "$0" run -Ur $OPTIONS sh -c "$SCRIPT" "$0" $((n-1)); fi"#;
    // Without scopes there is no Landlock that could be put on too often.
    let scopes = sept::host::probe::landlock_abi().is_ok_and(|abi| abi >= 6);
    let often = if scopes { "16 times" } else { "32 deep" };
    for (options, reason) in [("--landlock-scope none", "32 deep"), ("", often)] {
        let mut command = sept();
        command.env("SCRIPT", script).env("OPTIONS", options);
        let output = command.args(["run", "sh", "-c", script, &path(), "40"]).output().expect("sept starts");
        assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
}

#[test]
fn a_directory_and_a_file_do_not_go_on_one_another() {
    let scratch = Scratch::new();
    let file = scratch.path("file");
    std::fs::write(&file, "").expect("the file can be made");
    let output = run(&["--bind", "/etc", &file, "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("a directory goes on a directory"), "{}", stderr(&output));
}

/// Runs sept under strace, which tampers with one call; killed where that hangs.
fn tampered(inject: &str, args: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new("timeout");
    command.args([
        "-s",
        "KILL",
        "30",
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &format!("inject={inject}"),
    ]);
    command.arg(path()).arg("run").args(args).output().expect("strace starts")
}

#[test]
fn plain_clone_does_where_clone3_is_refused() {
    if !need("plain_clone_does_where_clone3_is_refused", &["strace"]) {
        return;
    }
    for errno in ["ENOSYS", "EPERM"] {
        let output = tampered(
            &format!("clone3:error={errno}"),
            &["sh", "-c", "echo $$; grep SigCgt /proc/self/status"],
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.starts_with("1\n"), "{errno}: {text} {}", stderr(&output));
    }
    let output = tampered("clone3:error=ENOSYS", &["-UT", "true"]);
    // Before, the child makes it itself, in a copy of the memory.
    if sept::host::probe::is_since(6, 3) {
        assert!(stderr(&output).contains("no flag for time namespaces"), "{}", stderr(&output));
    } else {
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn descriptors_are_closed_where_close_range_is_missing() {
    if !need("descriptors_are_closed_where_close_range_is_missing", &["strace", "bash"]) {
        return;
    }
    let script = r#"exec 7</etc/passwd; exec strace -f -qq -o /dev/null -e inject=close_range:error=ENOSYS "$0" run ls /proc/self/fd"#;
    let listed = host("bash", &["-c", script, &path()]);
    assert!(listed.starts_with('0') && !listed.contains('7'), "{listed}");
}

#[test]
fn a_chroot_is_named() {
    let scratch = Scratch::new();
    let dir = scratch.path("root");
    std::fs::create_dir(&dir).expect("the directory can be made");
    let script = format!(
        "mount --rbind / {dir} && PATH=$PATH:/usr/sbin:/sbin chroot {dir} {} run true; exit $?",
        path()
    );
    let output = run(&["--no-new-privs=no", "sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert!(stderr(&output).contains("from outside the chroot"), "{}", stderr(&output));
}

#[test]
fn a_missing_elf_interpreter_is_named() {
    let mut program = std::fs::read("/bin/true").expect("true can be read");
    let Some(at) = program.windows(9).position(|bytes| bytes == b"/ld-linux") else {
        skip("a_missing_elf_interpreter_is_named", "true is static");
        return;
    };
    program[at + 1] = b'X';
    let missing = program[at..].split(|byte| *byte == 0).next().map(String::from_utf8_lossy);
    let missing = missing.expect("the name ends").into_owned();
    let scratch = Scratch::new();
    let file = scratch.path("program");
    std::fs::write(&file, program).expect("the file can be made");
    host("chmod", &["755", &file]);
    let output = run(&["--", &file]);
    assert_eq!(output.status.code(), Some(126), "{}", stderr(&output));
    assert!(stderr(&output).contains(&missing), "{}", stderr(&output));
}

#[test]
fn a_missing_helper_is_named_with_its_package() {
    if !need_root(
        "a_missing_helper_is_named_with_its_package",
        "only root can hide it without a user namespace",
    ) || !need("a_missing_helper_is_named_with_its_package", &["newuidmap", "setpriv"])
    {
        return;
    }
    let scratch = Scratch::new();
    let ranges = scratch.path("ranges");
    std::fs::write(&ranges, "nobody:100000:65536\n").expect("the file can be made");
    let helper = host("sh", &["-c", "command -v newuidmap"]);
    // As another user the executable must be where that user may reach it.
    let sept = "/run/sept-test";
    let output = run(&[
        "-m",
        "--tmpfs",
        "/run",
        "--bind",
        "/dev/null",
        &helper,
        "--bind",
        &ranges,
        "/etc/subuid",
        "--bind",
        &ranges,
        "/etc/subgid",
        "sh",
        "-c",
        &format!(
            "cp {} {sept} && chmod 755 {sept} && cd / && exec setpriv --reuid nobody --clear-groups {sept} run --map-auto true",
            path()
        ),
    ]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("not installed") && said.contains("apt-get install uidmap"), "{said}");
}

#[test]
fn a_filter_that_refuses_clone_is_suspected() {
    if !need("a_filter_that_refuses_clone_is_suspected", &["strace", "script"]) {
        return;
    }
    // On a shared terminal the filter against terminal injection is on inside. Which call a filter refuses can't be
    // asked of the kernel; that one is there can.
    let inside = format!(
        "grep -q '^Seccomp:.*2' /proc/self/status || exit 7
        exec strace -f -qq -o /dev/null -e inject=clone3,clone:error=EPERM {} run true",
        path()
    );
    let scratch = Scratch::new();
    let file = scratch.path("inside");
    std::fs::write(&file, inside).expect("the file can be made");
    let output = on_terminal(&format!("{} run sh {file}", path())).output().expect("script starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(7) {
        skip("a_filter_that_refuses_clone_is_suspected", "no filter, as this kernel has no TIOCSTI");
        return;
    }
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("a seccomp filter is on this process"), "{said}");
}

#[test]
fn a_deadline_holds_while_set_up_hangs() {
    if !need("a_deadline_holds_while_set_up_hangs", &["strace"]) {
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.path("report");
    // The child stops for ever in the middle of its steps.
    let output = tampered(
        "sethostname:signal=SIGSTOP",
        &["--timeout", "1", "--hostname", "x", "--report", &file, "true"],
    );
    assert_eq!(output.status.code(), Some(124), "{}", stderr(&output));
    let report = std::fs::read_to_string(file).expect("there is a report");
    let report: serde_json::Value = serde_json::from_str(&report).expect("it is not empty");
    assert_eq!((&report["exit_code"], &report["timed_out"]), (&124.into(), &true.into()));
    assert_eq!(report["enforced"], serde_json::Value::Null);
}

/// As nobody, in a root where newuidmap is this script.
fn with_helper(helper: &str, args: &str) -> std::process::Output {
    let scratch = Scratch::new();
    let (ranges, script) = (scratch.path("ranges"), scratch.path("helper"));
    std::fs::write(&ranges, "nobody:100000:65536\n").expect("the file can be made");
    std::fs::write(&script, format!("#!/bin/sh\n{helper}\n")).expect("the file can be made");
    host("chmod", &["755", &script]);
    let place = host("sh", &["-c", "command -v newuidmap"]);
    let sept = "/run/sept-test";
    let line = format!(
        "cp {} {sept} && chmod 755 {sept} && cd / && exec setpriv --reuid nobody --clear-groups {sept} run {args}",
        path()
    );
    run(&[
        "-mp",
        "--tmpfs",
        "/run",
        "--bind",
        &script,
        &place,
        "--bind",
        &ranges,
        "/etc/subuid",
        "--bind",
        &ranges,
        "/etc/subgid",
        "sh",
        "-c",
        &line,
    ])
}

#[test]
fn a_hanging_helper_is_given_up_at_the_deadline() {
    if !need_root("a_hanging_helper_is_given_up_at_the_deadline", "only root can hide the helper")
        || !need("a_hanging_helper_is_given_up_at_the_deadline", &["newuidmap", "setpriv"])
    {
        return;
    }
    // One that keeps its standard error open, and one that closes it.
    for helper in ["exec sleep 1000", "exec sleep 1000 2>&-"] {
        let output = with_helper(helper, "--timeout 0.3 --map-auto true");
        assert_eq!(output.status.code(), Some(124), "{}", stderr(&output));
    }
    let output = with_helper("echo no such luck >&2; exit 1", "--map-auto true");
    assert!(stderr(&output).contains("no such luck"), "{}", stderr(&output));
}

fn state(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit(") ").next()?.chars().take(1).collect())
}

#[test]
fn a_hanging_start_ends_with_septs_parent() {
    if !need("a_hanging_start_ends_with_septs_parent", &["strace"]) {
        return;
    }
    let args = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=sethostname:signal=SIGSTOP"];
    let mut strace = std::process::Command::new("strace");
    strace.args(args).arg(path()).args(["run", "--die-with-parent", "--hostname", "x", "sleep", "1000"]);
    let mut strace = strace.spawn().expect("strace starts");
    // Its child is sept, and sept's is the one that hangs.
    let hanging = || {
        let sept = *children(strace.id()).first()?;
        let child = *children(sept).first()?;
        state(child).filter(|state| state == "t" || state == "T").map(|_| (sept, child))
    };
    let (sept, child) = (0..2000)
        .find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            hanging()
        })
        .expect("the child hangs");
    strace.kill().expect("it can be killed");
    strace.wait().expect("it ends");
    let gone = |pid: u32| state(pid).is_none_or(|state| state == "Z");
    let both = (0..2000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        gone(sept) && gone(child)
    });
    assert!(both, "sept {:?} and its child {:?} are still there", state(sept), state(child));
}

#[test]
fn who_lacks_rights_to_join_is_told_the_options_of_run() {
    let test = "who_lacks_rights_to_join_is_told_the_options_of_run";
    if !need_root(test, "root alone has rights to lay down") || !need(test, &["setpriv"]) {
        return;
    }
    let target = common::Waiting::new(&["--map-root-user"]);
    let join = format!("net={}", target.inside());
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(path());
    let output = command.args(["run", "--join", &join, "true"]).output().expect("setpriv starts");
    let said = stderr(&output);
    assert!(output.status.code() == Some(125) && said.contains("--join user=PID"), "{said}");
}

/// Linux 5.12: a map of user 0 could give a file capabilities that count outside.
#[test]
fn root_without_cap_setfcap_is_told_that_it_cannot_be_mapped() {
    let test = "root_without_cap_setfcap_is_told_that_it_cannot_be_mapped";
    if !need_root(test, "root alone has rights to lay down") || !need(test, &["setpriv"]) {
        return;
    }
    for map in [["--map-all"].as_slice(), &["-r"], &["--map-users", "0:0:2", "--map-groups", "0:0:2"]] {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--bounding-set=-setfcap", "--inh-caps=-all"]).arg(path());
        let output = command.arg("run").args(map).arg("true").output().expect("setpriv starts");
        let said = stderr(&output);
        assert!(
            output.status.code() == Some(125) && said.contains("CAP_SETFCAP (Linux 5.12)"),
            "{map:?}: {said}"
        );
    }
}

#[test]
fn too_few_descriptors_are_told_as_that() {
    if !need("too_few_descriptors_are_told_as_that", &["prlimit"]) {
        return;
    }
    let own = std::process::id().to_string();
    let mut tries = vec![
        (4, vec!["run", "true"]),
        (8, vec!["run", "true"]),
        (4, vec!["enter", &own, "true"]),
        (5, vec!["diff", &own, &own]),
    ];
    if is_root() {
        // No reason to do without limits.
        tries.extend(
            (6..16).map(|most| (most, vec!["run", "--if-possible", "limits", "--pids", "10", "true"])),
        );
    }
    for (most, words) in tries {
        let mut command = std::process::Command::new("prlimit");
        let output = command.arg(format!("--nofile={most}:{most}")).arg(path()).args(&words).output();
        let output = output.expect("prlimit starts");
        // How many it takes differs between kernels: with more than enough there is nothing to tell.
        if output.status.success() {
            continue;
        }
        let said = stderr(&output);
        assert!(said.contains("too many open files") && said.contains("ulimit -n"), "{words:?}: {said}");
        assert!(!said.contains("mount -t proc") && !said.contains("another user's"), "{words:?}: {said}");
    }
}

#[test]
fn a_missing_proc_is_told_as_that() {
    for words in ["run true", "ls", "pin 1 sept-test-x", "enter 1 true"] {
        let script = format!("mount -t tmpfs none /proc && exec {} {words}", path());
        let output = run(&["--no-new-privs=no", "sh", "-c", &script]);
        let said = stderr(&output);
        assert!(said.contains("no proc file system is mounted"), "{words}: {said}");
        assert!(said.contains("mount -t proc proc /proc"), "{words}: {said}");
    }
}

#[test]
fn a_root_that_this_user_may_not_search_is_told_as_that() {
    let test = "a_root_that_this_user_may_not_search_is_told_as_that";
    if !need_root(test, "root alone can make one that is closed to another") || !need(test, &["setpriv"]) {
        return;
    }
    let (scratch, copy) = (Scratch::new(), Scratch::new());
    let closed = scratch.0.to_str().expect("the path is UTF-8");
    host("chmod", &["700", closed]);
    host("chmod", &["755", copy.0.to_str().expect("the path is UTF-8")]);
    common::copy_executable(&path(), &copy.path("sept"));
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "nobody", "--clear-groups"]).arg(copy.path("sept"));
    let output = command.args(["run", "--root", closed, "true"]).output().expect("setpriv starts");
    let said = stderr(&output);
    assert!(said.contains("may not search the new root"), "{said}");
    assert!(!said.contains("--if-possible"), "{said}");
}

/// unshare(2) moves no process to a pid namespace, and the old one's proc is not to be had.
#[test]
fn a_forgotten_fork_is_named() {
    let output = sept().args(["unshare", "-Urp", "--mount-proc", "true"]).output().expect("sept starts");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(
        said.contains("only children enter a new pid namespace")
            && said.contains("fix: fork the command: -f"),
        "{said}"
    );
    assert!(
        !said.contains("--no-proc") && !said.contains("--if-possible"),
        "unshare has no such option: {said}"
    );
}

#[test]
fn a_policy_that_kills_set_up_is_named() {
    let scratch = Scratch::new();
    let policy = scratch.path("policy.toml");
    let text = "default = \"allow\"\n[[rules]]\ncalls = [\"capset\"]\naction = \"kill-process\"\n";
    std::fs::write(&policy, text).expect("a file can be made");
    let line = ["--no-new-privs=no", "--seccomp", &policy, "--cap-drop", "all", "true"];
    let output = run(&line);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("fix: allow no new privileges"), "{}", stderr(&output));
    assert!(run(&[&["--no-new-privs"], &line[1..]].concat()).status.success());
}
