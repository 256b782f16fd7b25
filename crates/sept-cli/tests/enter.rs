//! `sept enter` and `run --join`, beside what parity.rs compares with nsenter(1).

mod common;

use std::io::Read;
use std::process::{Command, Stdio};

use common::{
    Scratch, Waiting, children, is_root, namespace_of, need, need_root, path, run, sept, skip, soon, stderr,
    stdout,
};

fn enter(words: &[&str]) -> std::process::Output {
    sept().arg("enter").args(words).output().expect("sept starts")
}

fn refused(words: &[&str], reason: &str) {
    let output = enter(words);
    assert_eq!(output.status.code(), Some(125), "{words:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(reason), "{words:?}: {}", stderr(&output));
}

#[test]
fn all_that_differs_is_joined_by_default() {
    let target = Waiting::new(&["--hostname", "inner"]);
    let pid = target.inside().to_string();
    let script = "hostname; id -u; readlink /proc/self/ns/* | sort; ps -e -o comm=";
    let output = stdout(&enter(&[&pid, "--", "sh", "-c", script]));
    assert!(output.starts_with("inner\n0\n"), "{output}");
    for link in ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"] {
        let shown = namespace_of(&pid, link).display().to_string();
        assert!(output.contains(&shown), "{link}: {shown} in {output}");
    }
    assert!(output.ends_with("cat\nsh\nps"), "its processes, and ours: {output}");
}

#[test]
fn exit_codes_and_signals_pass() {
    let target = Waiting::new(&[]);
    let pid = target.inside().to_string();
    for (script, code) in [("exit 0", 0), ("exit 42", 42), ("kill -TERM $$", 143)] {
        let output = enter(&[&pid, "sh", "-c", script]);
        assert_eq!(output.status.code(), Some(code), "{script}: {}", stderr(&output));
    }
    assert_eq!(enter(&[&pid, "no-such-program"]).status.code(), Some(127));
    assert_eq!(enter(&[&pid, "/etc"]).status.code(), Some(126));
    // A signal to sept reaches the command, which is no PID 1 there.
    let mut waiting = common::sept_with_default_signals();
    let mut waiting = waiting.args(["enter", &pid, "sleep", "1000"]).spawn().expect("sept starts");
    soon("the command is there", || !children(waiting.id()).is_empty());
    soon("it is sleep", || {
        children(waiting.id()).iter().any(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n")
        })
    });
    common::host("kill", &["-TERM", &waiting.id().to_string()]);
    assert_eq!(waiting.wait().expect("it ends").code(), Some(143));
}

#[test]
fn without_another_pid_namespace_it_stays_this_process() {
    let target = Waiting::new(&["-Uru"]);
    let pid = target.inside().to_string();
    let script = format!("echo $$; exec {} enter {pid} sh -c 'echo $$'", path());
    let said = common::host("sh", &["-c", &script]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0] == lines[1], "{said}");
}

#[test]
fn only_wanted_descriptors_go_in() {
    if !need("only_wanted_descriptors_go_in", &["bash"]) {
        return;
    }
    let target = Waiting::new(&["-Ur"]);
    let pid = target.inside().to_string();
    let script = r#"exec 7</etc/passwd 99</etc 8</etc/group; "$0" enter --keep-fd 8 "$1" ls /proc/self/fd"#;
    let listed = common::host("bash", &["-c", script, &path(), &pid]);
    let fds: Vec<&str> = listed.lines().collect();
    assert!(fds.contains(&"8") && !fds.contains(&"7") && !fds.contains(&"99"), "{listed}");
}

#[test]
fn where_0_is_not_mapped_it_runs_as_the_target_does() {
    let target = Waiting::new(&["--map-user", "1234", "--map-group", "1235"]);
    let pid = target.inside().to_string();
    assert_eq!(stdout(&enter(&[&pid, "sh", "-c", "id -u; id -g"])), "1234\n1235");
}

#[test]
fn the_targets_environment_is_taken_when_asked() {
    let scratch = Scratch::new();
    let target = Waiting::new(&[own_root(&scratch).as_slice(), &["-Ur", "--env", "WHERE=inside"]].concat());
    let pid = target.inside().to_string();
    let script = ["sh", "-c", "echo ${WHERE-outside}"];
    assert_eq!(stdout(&enter(&[[pid.as_str()].as_slice(), &script].concat())), "outside");
    assert_eq!(stdout(&enter(&[["-e", pid.as_str()].as_slice(), &script].concat())), "inside");
}

/// With the host's programs, and all else of its own.
fn own_root(scratch: &Scratch) -> Vec<&str> {
    let root = scratch.path("root");
    std::fs::create_dir_all(format!("{root}/usr")).expect("directories can be made");
    for dir in ["proc", "dev", "sys"] {
        std::fs::create_dir(format!("{root}/{dir}")).expect("a directory can be made");
    }
    for link in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), format!("{root}/{link}"))
            .expect("a link can be made");
    }
    vec!["--root", root.leak(), "--ro-bind", "/usr", "/usr"]
}

/// It names the programs and libraries that are run, and those of outside would be run with the caller's rights.
#[test]
fn the_environment_of_somebody_else_comes_with_all_that_is_its_own_only() {
    let test = "the_environment_of_somebody_else_comes_with_all_that_is_its_own_only";
    if !need_root(test, "only root may enter what belongs to others") {
        return;
    }
    let scratch = Scratch::new();
    let own_user = ["-Umu", "--map-all", "-S", "1234", "-G", "1234", "--env", "WHERE=inside"];
    let target = Waiting::new(&[own_root(&scratch).as_slice(), &own_user].concat());
    // With all that is the caller's, but the mounts.
    let waiting = Waiting::new(&own_user);
    let copy = waiting.inside().to_string();
    let pid = target.inside().to_string();
    let script = ["sh", "-c", "echo ${WHERE-outside}"];
    let output = enter(&[["-t", &pid, "-e"].as_slice(), &script].concat());
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("belongs to user 1234"), "{}", stderr(&output));
    // Another's mounts, or a root of ours, are not its files. And ids say nothing of who has made an environment.
    let (own, roots) = (format!("-m=/proc/{pid}/ns/mnt"), Waiting::new(&["-Urmn", "--env", "WHERE=inside"]));
    let roots_id = roots.inside().to_string();
    // Neither is a root that is ours, too, nor what its user namespace does not confine.
    let plain = std::process::Command::new("sh")
        .args(["-c", "exec setpriv --reuid 1234 --regid 1234 --clear-groups env WHERE=inside cat"])
        .stdin(std::process::Stdio::piped())
        .spawn();
    let mut plain = plain.expect("sh starts");
    let plain_id = plain.id().to_string();
    common::soon("it is cat", || {
        std::fs::read_to_string(format!("/proc/{plain_id}/comm")).is_ok_and(|name| name == "cat\n")
    });
    for line in [
        ["-t", &plain_id, "-r", "-e"].as_slice(),
        &["-t", &plain_id, "-r", "-m", "-e"],
        &["-t", &pid, "-m", "-e"],
        &["-t", &pid, "-u", "-e"],
        &["-t", &pid, "-e", "--preserve-credentials"],
        &["-t", &copy, "-e", "-S", "1234", "-G", "1234"],
        &["-t", &pid, "-e", "-S", "1234", "-G", "1234", "--keep-caps"],
        &["-t", &pid, "-u", "-r", "-e"],
        &["-t", &pid, "-m", "-U", "-r=/", "-e"],
        &["-t", &pid, "-e", &own],
        &["-t", &pid, "-u", "-e", "-r=/"],
        &["-t", &roots_id, "-n", "-e"],
        &["-t", &roots_id, "-n", "-e", "-r=/"],
    ] {
        let output = enter(&[line, &script].concat());
        assert!(stderr(&output).contains("--env takes the environment of"), "{line:?}: {}", stderr(&output));
    }
    drop(plain.stdin.take());
    plain.wait().expect("cat ends");
    let as_it = ["-S", "1234", "-G", "1234"];
    for line in [["-t", &pid, "-e"].as_slice(), &["-t", &pid, "-m", "-U", "-r", "-e"]] {
        assert_eq!(stdout(&enter(&[line, &as_it, &script].concat())), "inside", "{line:?}");
    }
}

/// What is confined has the same user's number, and would be free by what it names in its environment.
#[test]
fn a_confined_environment_comes_with_the_files_that_it_is_confined_to() {
    let script = ["sh", "-c", "echo ${WHERE-outside}"];
    let apart = Waiting::new(&["-Umn", "-c", "--env", "WHERE=inside"]);
    let here = Waiting::new(&["--namespaces", "none", "--no-new-privs", "--env", "WHERE=inside"]);
    for (pid, kinds) in
        [(apart.inside(), ["-U", "-n"].as_slice()), (apart.inside(), &["-n"]), (here.inside(), &[])]
    {
        let pid = pid.to_string();
        let output = enter(&[["-t", &pid, "-e"].as_slice(), kinds, &script].concat());
        assert_eq!(output.status.code(), Some(125), "{kinds:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("--env takes the environment of"), "{kinds:?}: {}", stderr(&output));
    }
}

#[test]
fn the_parent_of_the_user_namespace_can_be_joined() {
    // Two user namespaces, one in the other.
    let nested = Waiting::new(&["-Ur", &path(), "run", "-Ur"]);
    let inner = children(nested.inside()).first().copied();
    // The command of the outer one is sept itself, so that cat is a child of it.
    let (outer, inner) = match inner {
        Some(inner) => (nested.inside(), inner),
        None => (parent_of(nested.inside()), nested.inside()),
    };
    let shown = enter(&["--user-parent", &inner.to_string(), "readlink", "/proc/self/ns/user"]);
    assert_eq!(stdout(&shown), namespace_of(&outer.to_string(), "user").display().to_string());
}

fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a stat");
    stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok()).expect("a parent")
}

#[test]
fn what_is_no_target_is_refused() {
    refused(&[], "needs a TARGET");
    refused(&["4194303", "true"], "no process 4194303");
    refused(&["99999999999", "true"], "no process id");
    refused(&["/etc/passwd", "true"], "is no namespace");
    refused(&["/no/such/file", "true"], "cannot open /no/such/file");
    refused(&["nothing-like-that", "true"], "no pin nothing-like-that");
    refused(&["../x", "true"], "cannot open ../x");
    refused(&["--net=/proc/self/ns/uts", "true"], "is a uts namespace, not a net namespace");
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        refused(&["-Z", &std::process::id().to_string(), "true"], "no SELinux");
    }
    refused(&["--no-such", "1", "true"], "unknown option");
}

#[test]
fn a_pid_of_another_pid_namespace_is_no_target() {
    let pid = std::process::id().to_string();
    let output = run(&["-Urpm", &path(), "enter", &pid, "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains(&format!("no process {pid}")), "{}", stderr(&output));
}

#[test]
fn another_users_process_is_no_target() {
    if is_root() {
        skip("another_users_process_is_no_target", "root may enter every one");
        return;
    }
    refused(&["1", "true"], "another user's");
}

#[test]
fn a_process_that_ends_before_the_join_is_told() {
    if !need("a_process_that_ends_before_the_join_is_told", &["strace"]) {
        return;
    }
    for kinds in ["-Uru", "-Urpm"] {
        let target = Waiting::new(&[kinds]);
        let pid = target.inside();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=setns:delay_enter=400000"]);
        strace.args([&path(), "enter", &pid.to_string(), "true"]).stderr(Stdio::piped());
        let strace = strace.spawn().expect("strace starts");
        std::thread::sleep(std::time::Duration::from_millis(200));
        common::host("kill", &["-KILL", &pid.to_string()]);
        drop(target);
        let output = strace.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
        assert!(stderr(&output).contains("ended"), "{}", stderr(&output));
    }
}

#[test]
fn run_joins_some_and_makes_others() {
    let target = Waiting::new(&["-Urn", "--no-loopback"]);
    let pid = target.inside().to_string();
    let join = [format!("user={pid}"), format!("net={pid}")];
    let output = run(&[
        "--join",
        &join[0],
        "--join",
        &join[1],
        "-p",
        "-m",
        "sh",
        "-c",
        "echo $$; readlink /proc/self/ns/net",
    ]);
    assert_eq!(stdout(&output), format!("1\n{}", namespace_of(&pid, "net").display()));
    let output = run(&["--join", &join[1], "-n", "true"]);
    assert!(
        output.status.code() == Some(125) && stderr(&output).contains("contradict"),
        "{}",
        stderr(&output)
    );
    for (join, reason) in [("net", "KIND=TARGET"), ("nett=1", "no kind"), ("net=/etc/passwd", "no namespace")]
    {
        let output = run(&["--join", join, "true"]);
        assert!(output.status.code() == Some(125) && stderr(&output).contains(reason), "{}", stderr(&output));
    }
}

#[test]
fn the_targets_cgroup_is_joined_when_asked() {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let two =
        mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let (Some(two), true) = (two, is_root()) else {
        skip("the_targets_cgroup_is_joined_when_asked", "it takes root, and cgroup version 2");
        return;
    };
    let dir = std::path::Path::new(two).join(format!("sept-test-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("a cgroup can be made");
    let target = Waiting::new(&["-Uru"]);
    let pid = target.inside().to_string();
    std::fs::write(dir.join("cgroup.procs"), &pid).expect("it can be moved");
    let script = ["sh", "-c", "grep ^0:: /proc/self/cgroup"];
    let inside = stdout(&enter(&[["-c", pid.as_str()].as_slice(), &script].concat()));
    let outside = stdout(&enter(&[[pid.as_str()].as_slice(), &script].concat()));
    drop(target);
    soon("the cgroup is empty", || std::fs::remove_dir(&dir).is_ok());
    let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(inside.ends_with(&name) && !outside.ends_with(&name), "{inside} {outside}");
}

#[test]
fn the_network_of_a_socket_is_joined() {
    use std::os::fd::AsRawFd;
    if !need_root("the_network_of_a_socket_is_joined", "it takes CAP_NET_ADMIN") {
        return;
    }
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (fd, own) = (socket.as_raw_fd().to_string(), std::process::id().to_string());
    // From another network namespace, into that of this test's socket.
    let line = ["unshare", "-n", &path(), "enter", "-t", &own, "-N", &fd, "readlink", "/proc/self/ns/net"];
    assert_eq!(
        stdout(&sept().args(line).output().expect("sept starts")),
        namespace_of("self", "net").display().to_string()
    );
    refused(&["-t", &own, "-N", "9999", "true"], "cannot get descriptor 9999");
}

/// Before Linux 5.3, and under old filters, there is no clone3.
#[test]
fn older_kernels_clone_plainly() {
    if !need("older_kernels_clone_plainly", &["strace"]) {
        return;
    }
    let target = Waiting::new(&["--hostname", "inner"]);
    let pid = target.inside().to_string();
    for inject in ["inject=clone3:error=ENOSYS", "inject=clone3:error=EPERM"] {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", inject, &path(), "enter", &pid]);
        let output =
            strace.args(["sh", "-c", "hostname; id -u; ps -e -o comm="]).output().expect("strace starts");
        assert_eq!(stdout(&output), "inner\n0\ncat\nsh\nps", "{inject}: {}", stderr(&output));
    }
}

/// What a root inside sees of those who enter: it tries each process of the name sept that appears, or of the number of
/// a descriptor, which is what it is called where it is kept from naming itself.
fn watched(tampered: &str) -> String {
    // Of one that has become the command meanwhile it may see what it likes.
    let script = "echo ready; while :; do for p in /proc/[0-9]*; do n=${p#/proc/}; [ $n = 1 ] && continue; \
                  read c 2>/dev/null <$p/comm || continue; case $c in sept|[0-9]*) ;; *) continue;; esac; saw=; \
                  head -c 1 $p/environ >/dev/null 2>&1 && saw=memory; readlink $p/exe >/dev/null 2>&1 && saw=\"$saw exe\"; \
                  c=; read c 2>/dev/null <$p/comm; case $c in sept|[0-9]*) [ -n \"$saw\" ] && echo \"$saw\";; esac; done; done";
    let mut watcher = sept();
    // A domain of Landlock would be a guard of its own.
    watcher.args(["run", "--landlock-scope", "none", "sh", "-c", script]).stdout(Stdio::piped());
    let mut watcher = watcher.spawn().expect("sept starts");
    let mut out = watcher.stdout.take().expect("output is piped");
    let mut ready = [0; 6];
    out.read_exact(&mut ready).expect("it is ready");
    let target = children(watcher.id()).first().copied().expect("the command").to_string();
    // Each step of the way in takes long enough to be seen.
    let mut strace = Command::new("strace");
    let delays = "inject=setns,setresuid,setresgid,close_range:delay_enter=150000";
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", delays, "-e", tampered]);
    let status = strace.args([&path(), "enter", &target, "true"]).status().expect("strace starts");
    assert!(status.success());
    common::host("kill", &["-KILL", &target]);
    let mut seen = String::new();
    out.read_to_string(&mut seen).expect("it can be read");
    watcher.wait().expect("it ends");
    seen
}

/// CVE-2019-5736: whoever is inside must not get at the executable, nor the memory, of who enters.
#[test]
fn nobody_inside_can_open_who_enters() {
    if !need("nobody_inside_can_open_who_enters", &["strace"]) {
        return;
    }
    // The kernel is kept from hearing that the process hides: then it is seen, so the watcher can see.
    // On a machine with much to do it may take more than one look.
    let mut unhidden = String::new();
    for _ in 0..10 {
        unhidden.push_str(&watched("inject=prctl:retval=0"));
        if unhidden.contains("memory") && unhidden.contains("exe") {
            break;
        }
    }
    assert!(unhidden.contains("memory") && unhidden.contains("exe"), "{unhidden:?}");
    assert_eq!(watched("inject=prctl:delay_enter=1"), "", "what was seen of sept");
}
