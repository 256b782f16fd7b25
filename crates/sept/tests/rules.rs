//! The engine's rules: threads, faults at every step, descriptors, the caller's own state.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use common::skip;
use sept::{Command, Error, Mount, Namespace};

/// Tests that look at the whole process run one at a time.
static ALONE: Mutex<()> = Mutex::new(());

const SIX: [Namespace; 6] =
    [Namespace::User, Namespace::Mount, Namespace::Pid, Namespace::Uts, Namespace::Ipc, Namespace::Net];

fn rich() -> Command {
    let mut command = Command::new("true");
    command
        .unshare(SIX)
        .map_root()
        .hostname("inner")
        .loopback()
        .root("/")
        .read_only()
        .no_devices()
        .mount(Mount::proc("/proc"))
        .mount(Mount::dev("/dev"))
        .mount(Mount::sysfs("/sys"))
        .mount(Mount::tmpfs("/tmp"))
        .current_dir("/tmp")
        .no_new_privs()
        .refuse_terminal_injection()
        .refuse_cgroup_namespaces()
        .keep_fds([])
        .die_with_parent();
    command
}

fn descriptors() -> BTreeSet<(String, PathBuf)> {
    let entries = fs::read_dir("/proc/self/fd").expect("descriptors can be listed");
    let named = entries.flatten().filter_map(|entry| {
        let to = fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), to))
    });
    // The listing itself is one.
    named.filter(|(_, to)| !to.starts_with(format!("/proc/{}", std::process::id()))).collect()
}

/// Children of any thread of this process, zombies too.
fn children() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("threads can be listed");
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks
        .flatten()
        .map(of)
        .flat_map(|text| text.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("mounts can be read")
}

#[test]
fn a_fault_at_every_step_names_that_step_and_leaves_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let plan = rich().plan().expect("the plan can be made");
    let (descriptors_before, mounts_before) = (descriptors(), mounts());
    for (n, planned) in plan.steps.iter().enumerate() {
        match rich().inject_fault(n + 1, libc::EDOM).status() {
            Err(Error::Step { what, step, of, errno, .. }) => {
                assert_eq!((step, of, errno), (n + 1, plan.steps.len(), libc::EDOM));
                assert_eq!(what, planned.to_string());
            }
            other => panic!("step {}: {other:?}", n + 1),
        }
        assert_eq!(children(), [""; 0], "after a fault at {planned}");
    }
    assert_eq!(descriptors(), descriptors_before);
    assert_eq!(mounts(), mounts_before);
    assert!(rich().status().expect("without a fault it runs").success());
}

#[test]
fn eight_threads_spawn_fifty_each() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for n in 0..50 {
                    let code = (thread * 50 + n) % 256;
                    let mut command = Command::new("sh");
                    command.args(["-c", &format!("exit {code}")]).unshare(SIX).map_root();
                    let status = command.status().expect("the command starts");
                    assert_eq!(status.code(), Some(code));
                }
            });
        }
    });
    assert_eq!(children(), [""; 0]);
}

#[test]
fn a_parked_child_that_is_dropped_leaves_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = descriptors();
    for _ in 0..10 {
        let parked = rich().park().expect("the command can be parked");
        assert!(fs::exists(format!("/proc/{}", parked.id())).is_ok_and(|there| there));
        drop(parked);
        assert_eq!(children(), [""; 0]);
    }
    assert_eq!(descriptors(), before);
}

#[test]
fn a_parked_child_does_not_hold_up_others_and_starts() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let first = Command::new("sh").args(["-c", "exit 4"]).unshare(SIX).map_root().park().expect("it parks");
    let second = Command::new("sh").args(["-c", "exit 5"]).unshare(SIX).map_root().park().expect("it parks");
    assert!(rich().status().expect("others start meanwhile").success());
    let code = |parked: sept::Parked| {
        let mut child = parked.start().expect("it starts");
        child.wait().expect("it ends").code()
    };
    assert_eq!((code(second), code(first)), (Some(5), Some(4)));
}

#[test]
fn a_change_of_ids_leaves_the_caller_dumpable() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !rustix::process::geteuid().is_root() {
        skip("a_change_of_ids_leaves_the_caller_dumpable", "only root can change to another id");
        return;
    }
    let before = rustix::process::dumpable_behavior();
    let status =
        Command::new("true").unshare([Namespace::User]).map_all().uid(1000).gid(1000).groups([]).status();
    assert!(status.expect("it runs").success());
    assert_eq!(rustix::process::dumpable_behavior(), before);
}

/// A process of root's that has no capability owns root's new user namespaces, too, and so may trace who is in there.
#[test]
fn who_has_no_capability_reaches_into_no_caller_that_has() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let test = "who_has_no_capability_reaches_into_no_caller_that_has";
    if !rustix::process::geteuid().is_root() {
        skip(test, "only root has capabilities");
        return;
    }
    let reaches = |pid: u32| {
        let mut other = std::process::Command::new("setpriv");
        other.args(["--bounding-set=-all", "--inh-caps=-all", "dd", "if=/dev/null"]);
        other.arg(format!("of=/proc/{pid}/mem")).output().expect("setpriv starts").status.success()
    };
    let before = rustix::process::dumpable_behavior();
    let mut all_dropped = Command::new("true");
    all_dropped.capabilities(sept::Capabilities::for_root(sept::CapabilitySet::NONE));
    let mut mapped = Command::new("true");
    mapped.unshare([Namespace::User]).map_root();
    for command in [&mut mapped, &mut all_dropped] {
        let parked = command.park().expect("it is parked");
        assert!(!reaches(parked.id()) && !reaches(std::process::id()));
        let second = mapped_again().park().expect("it is parked, too");
        assert!(parked.start().expect("it starts").wait().expect("it ends").success());
        assert!(!reaches(second.id()), "the memory is still shared");
        drop(second);
        assert_eq!(rustix::process::dumpable_behavior(), before);
    }
}

fn mapped_again() -> Command {
    let mut command = Command::new("true");
    command.unshare([Namespace::User]).map_root();
    command
}

/// A child that is at work uses memory of the caller's.
#[test]
fn a_panic_of_who_is_asked_leaves_no_child() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (silent, _writer) = std::io::pipe().expect("a pipe");
    let slow = || {
        let mut command = Command::new("true");
        command.unshare([Namespace::User, Namespace::Mount]).map_root().mount(Mount::tmpfs("/mnt"));
        command.mount(Mount::bind_data(silent.as_raw_fd(), "/mnt/data", 0o600, sept::Access::ReadOnly));
        command
    };
    let children = || {
        let thread = rustix::thread::gettid().as_raw_nonzero();
        fs::read_to_string(format!("/proc/self/task/{thread}/children")).expect("it can be read")
    };
    let asked = std::panic::catch_unwind(|| slow().spawn_unless(|| panic!("on purpose")).map(drop));
    assert!(asked.is_err() && children().is_empty(), "{}", children());
    let mut quick = mapped_again();
    quick.park().expect("it is parked").start().expect("it starts").wait().expect("it ends");
    assert!(children().is_empty(), "{}", children());
}
