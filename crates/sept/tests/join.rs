//! Joining namespaces that exist, and moving in place.

mod common;

use std::process::Stdio as StdStdio;

use common::skip;
use sept::{Child, Command, Error, Namespace, Stdio, Target};

/// A command in new namespaces that waits for the end of its input.
fn waiting(kinds: impl IntoIterator<Item = Namespace>) -> Child {
    let mut command = Command::new("cat");
    let kinds: Vec<_> = kinds.into_iter().collect();
    command.unshare(kinds.iter().copied()).stdin(Stdio::piped());
    if kinds.contains(&Namespace::User) {
        command.map_root();
    }
    command.spawn().expect("it starts")
}

fn link(process: impl std::fmt::Display, kind: Namespace) -> std::path::PathBuf {
    std::fs::read_link(format!("/proc/{process}/ns/{}", kind.link())).expect("a link")
}

#[test]
fn all_eight_are_joined_at_once() {
    let target = waiting(Namespace::ALL);
    let process = Target::process(target.id()).expect("it is there");
    let mut command = Command::new("cat");
    command.join(&process, Namespace::ALL).uid(0).gid(0).stdin(Stdio::piped());
    let plan = command.plan().expect("a plan");
    assert_eq!(
        plan.to_string().lines().take(4).map(str::to_owned).collect::<Vec<_>>(),
        [
            "clone: a copy of this process".to_owned(),
            " 1. hide memory and descriptors from processes inside".to_owned(),
            format!(" 2. join user, mount, pid, uts, ipc, net, cgroup, time of process {}", target.id()),
            " 3. fork the command".to_owned(),
        ]
    );
    let mut joined = command.spawn().expect("it starts");
    for kind in Namespace::ALL {
        assert_eq!(link(joined.id(), kind), link(target.id(), kind), "{kind}");
    }
    assert!(joined.wait().expect("it ends").success());
}

#[test]
fn a_join_and_new_namespaces_mix() {
    let target = waiting([Namespace::User, Namespace::Net, Namespace::Uts]);
    let process = Target::process(target.id()).expect("it is there");
    let mut command = Command::new("cat");
    command.join(&process, [Namespace::User, Namespace::Net]).unshare([Namespace::Pid, Namespace::Ipc]);
    let mut mixed = command.stdin(Stdio::piped()).spawn().expect("it starts");
    assert_eq!(link(mixed.id(), Namespace::Net), link(target.id(), Namespace::Net));
    assert_eq!(link(mixed.id(), Namespace::Uts), link("self", Namespace::Uts));
    for kind in [Namespace::Pid, Namespace::Ipc] {
        assert!(
            link(mixed.id(), kind) != link(target.id(), kind) && link(mixed.id(), kind) != link("self", kind)
        );
    }
    assert!(mixed.wait().expect("it ends").success());
}

#[test]
fn every_step_of_a_join_can_fail_and_leaves_nothing() {
    let target = waiting([Namespace::User, Namespace::Pid, Namespace::Mount]);
    let process = Target::process(target.id()).expect("it is there");
    let command = |fault| {
        let mut command = Command::new("true");
        command.join(&process, [Namespace::User, Namespace::Pid, Namespace::Mount]);
        command.unshare([Namespace::Uts, Namespace::Ipc]).hostname("x").die_with_parent();
        command.inject_fault(fault, libc::EXDEV);
        command
    };
    let steps = command(0).plan().expect("a plan").steps;
    for (n, wanted) in steps.iter().enumerate() {
        match command(n + 1).spawn() {
            Err(Error::Step { what, step, errno, .. }) => {
                assert_eq!((what, step, errno), (wanted.to_string(), n + 1, libc::EXDEV));
            }
            other => panic!("{n}: {other:?}"),
        }
    }
    let children = std::fs::read_to_string("/proc/thread-self/children").expect("children");
    assert_eq!(
        children.split_whitespace().filter(|pid| **pid != *target.id().to_string()).count(),
        0,
        "{children}"
    );
}

#[test]
fn a_process_that_has_ended_or_never_was_is_refused() {
    let mut ended = waiting([Namespace::User]);
    let process = Target::process(ended.id()).expect("it is there");
    ended.kill().expect("it can be killed");
    ended.wait().expect("it ends");
    let error = Command::new("true").join(&process, [Namespace::User]).status().expect_err("it is gone");
    assert!(error.to_string().contains("has ended"), "{error}");
    let error = Target::process(u32::MAX / 2).expect_err("there is none");
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    let error = Target::file("/etc/passwd").expect_err("it is no namespace");
    assert!(error.to_string().contains("is no namespace"), "{error}");
    let own = Target::process(std::process::id()).expect("it is there");
    assert!(
        Command::new("true").join(&own, Namespace::ALL).status().expect("nothing is to be joined").success()
    );
}

/// exec(2) would end the test, so another process does it: this one, started again for a hidden test.
#[test]
fn a_process_moves_in_place() {
    let exe = std::env::current_exe().expect("a path");
    let mut moved = std::process::Command::new(exe)
        .args(["--exact", "hidden_mover", "--ignored", "--test-threads=1", "--nocapture"])
        .stdin(StdStdio::piped())
        .stdout(StdStdio::piped())
        .spawn()
        .expect("it starts");
    if !is_root() {
        assert_eq!(moved.wait().expect("it ends").code(), Some(7), "it says why, and goes on");
        return;
    }
    let begun = std::time::Instant::now();
    let is_cat =
        |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "cat\n");
    while !is_cat(moved.id()) && begun.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // The same process id, in another namespace.
    let (inside, ours) = (link(moved.id(), Namespace::Uts), link("self", Namespace::Uts));
    drop(moved.stdin.take());
    let output = moved.wait_with_output().expect("it ends");
    assert!(output.status.success() && inside != ours, "{output:?} {inside:?}");
}

/// A test harness runs tests in threads, so the user namespace of this one stays; root may move without a new one.
#[test]
#[ignore = "becomes another program"]
fn hidden_mover() {
    let mut command = Command::new("cat");
    command.unshare([Namespace::User, Namespace::Uts]).map_root();
    let error = command.exec();
    assert!(error.to_string().contains("threads"), "{error}");
    if is_root() {
        let error = Command::new("cat").unshare([Namespace::Uts]).exec();
        panic!("{error}");
    }
    let error = Command::new("sept").unshare([Namespace::Uts]).exec();
    assert!(error.to_string().contains("add -U"), "{error}");
    std::process::exit(7);
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_namespace_is_found_by_its_unique_number() {
    let target = waiting([Namespace::User, Namespace::Net]);
    let process = Target::process(target.id()).expect("it is there");
    let file = process.namespace(Namespace::Net).expect("it has one");
    let Ok(id) = file.unique_id() else {
        skip("a_namespace_is_found_by_its_unique_number", "this kernel has no such numbers");
        return;
    };
    let same = sept::NamespaceFile::by_unique_id(id);
    match same {
        Ok(same) => {
            assert_eq!((same.id().expect("an id"), same.kind()), (file.id().expect("an id"), Namespace::Net))
        }
        Err(_) if !sept::host::probe::listns() => {
            skip("a_namespace_is_found_by_its_unique_number", "this kernel wants its kind and inode, too");
        }
        // The kernel lets only who has rights over it.
        Err(error) => assert!(!is_root() && error.raw_os_error() == Some(libc::EPERM), "{error}"),
    }
    assert!(sept::NamespaceFile::by_unique_id(u64::MAX / 2).is_err());
}

/// What was decided by the namespaces that it had would be done in those that it has.
#[test]
fn a_target_that_goes_elsewhere_meanwhile_is_refused() {
    use std::io::Write;
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "read line; exec unshare -Urm cat"]).stdin(std::process::Stdio::piped());
    let mut child = shell.spawn().expect("sh starts");
    let link = || std::fs::read_link(format!("/proc/{}/ns/user", child.id())).expect("it is there");
    let (target, before) = (Target::process(child.id()).expect("it is there"), link());
    let mut command = Command::new("true");
    command.join(&target, [Namespace::Mount]);
    assert!(!target.differs(Namespace::User).expect("it can be seen"));
    assert!(command.status().expect("there is nothing to be joined").success());
    child.stdin.as_ref().expect("a pipe").write_all(b"go\n").expect("it can be written");
    while link() == before {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let moved =
        |error: sept::Error| error.to_string().contains("has gone to another user namespace meanwhile");
    assert!(command.status().is_err_and(moved));
    // Held once more, by who decided nothing by what it had.
    let late = Target::process(child.id()).expect("it is there");
    assert!(late.differs(Namespace::User).expect("it can be seen"));
    let mut both = Command::new("true");
    assert!(both.join(&late, [Namespace::Mount]).join(&target, [Namespace::User]).status().is_err_and(moved));
    assert!(target.namespace(Namespace::Mount).is_err_and(moved));
    assert!(target.read("environ").is_err_and(moved));
    assert!(target.directory("root").is_err_and(moved));
    drop(child.stdin.take());
    child.wait().expect("it ends");
}

/// `/proc/self` is that of the first thread.
#[test]
fn what_a_thread_has_of_its_own_is_what_is_joined_from_and_to() {
    use rustix::thread::UnshareFlags;
    let test = "what_a_thread_has_of_its_own_is_what_is_joined_from_and_to";
    let target = waiting([Namespace::User, Namespace::Uts]);
    let work = || {
        // What it opens from now on no other thread has.
        unshare(UnshareFlags::FILES);
        let process = Target::process(target.id()).expect("it is there");
        let stat = process.read("stat").expect("it can be read");
        assert!(stat.starts_with(format!("{} ", target.id()).as_bytes()), "another process was found");
        if !is_root() {
            skip(test, "it takes the right to make namespaces");
            return;
        }
        let here = || Target::file("/proc/thread-self/ns/uts").expect("a namespace");
        let before = here();
        unshare(UnshareFlags::NEWUTS);
        assert!(before.differs(Namespace::Uts).expect("it can be seen"));
        assert!(!here().differs(Namespace::Uts).expect("it can be seen"));
        for (target, wanted) in
            [(&before, link("self", Namespace::Uts)), (&here(), link("thread-self", Namespace::Uts))]
        {
            let mut command = Command::new("readlink");
            let output = command.arg("/proc/self/ns/uts").join(target, [Namespace::Uts]).output();
            let stdout = output.expect("it runs").stdout;
            assert_eq!(String::from_utf8_lossy(&stdout).trim(), wanted.to_string_lossy());
        }
    };
    std::thread::scope(|scope| scope.spawn(work).join().expect("no panic"));
}

/// In a mount namespace of this thread's own.
#[test]
fn what_a_failed_start_has_bound_to_files_is_unmounted() {
    use rustix::mount::MountPropagationFlags;
    use rustix::thread::UnshareFlags;
    if !is_root() {
        skip("what_a_failed_start_has_bound_to_files_is_unmounted", "it takes the right to mount");
        return;
    }
    let dir = std::env::temp_dir().join(format!("sept-bound-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("it can be made");
    let (file, missing) = (dir.join("net"), dir.join("missing"));
    std::fs::write(&file, "").expect("it can be written");
    let command = |program: &str| {
        let mut command = Command::new(program);
        command.unshare([Namespace::Net, Namespace::Uts]).persist(Namespace::Net, &file);
        command
    };
    let bound = || {
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("it can be read");
        mounts.lines().filter(|line| line.split(' ').nth(4) == file.to_str()).count()
    };
    let fail = || {
        command("/not-there").spawn().expect_err("there is no such program");
        command("true").persist(Namespace::Uts, &missing).spawn().expect_err("there is no such file");
        drop(command("true").park().expect("it is parked"));
    };
    let work = || {
        unshare(UnshareFlags::NEWNS | UnshareFlags::FS);
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).expect("it can be changed");
        fail();
        let after_failures = bound();
        assert!(command("true").status().expect("it starts").success());
        let kept = bound();
        fail();
        (after_failures, kept, bound())
    };
    let counts = std::thread::scope(|scope| scope.spawn(work).join().expect("no panic"));
    std::fs::remove_dir_all(&dir).expect("it can be removed");
    assert_eq!(counts, (0, 1, 1));
}

#[expect(unsafe_code, reason = "a thread with descriptors of its own")]
fn unshare(what: rustix::thread::UnshareFlags) {
    // SAFETY: the calling thread has no descriptor of another's in use, and ends soon.
    unsafe { rustix::thread::unshare_unsafe(what) }.expect("the kernel gives a thread its own");
}
