//! The library as std's `Command`: streams, environment, status, signals; and what is beyond it.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};
use sept::{Command, Error, Namespace, Stdio};

mod common;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[test]
fn output_collects_both_streams_however_much_is_written() {
    let script = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; exit 3";
    let output = Command::new("sh").args(["-c", script]).output().expect("it runs");
    assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(3), 300_000, 300_000));
}

#[test]
fn piped_input_and_output_reach_the_command() {
    let mut child = Command::new("cat")
        .unshare([Namespace::User, Namespace::Pid])
        .map_root()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("input is piped");
    stdin.write_all(b"through").expect("it can be written");
    drop(stdin);
    let mut read = String::new();
    child.stdout.take().expect("output is piped").read_to_string(&mut read).expect("it can be read");
    assert_eq!(read, "through");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn the_environment_and_argument_zero_are_set() {
    let script = "echo $0 $A ${HOME-unset}";
    let output = Command::new("/bin/sh").arg0("name").args(["-c", script]).env_clear().env("A", "b").output();
    assert_eq!(text(&output.expect("it runs").stdout), "name b unset");
    let output =
        Command::new("/usr/bin/env").env_clear().env("X", "1").env("Y", "2").env_remove("X").output();
    assert_eq!(text(&output.expect("it runs").stdout), "Y=2");
}

#[test]
fn signals_and_their_status_pass_through() {
    let mut child = Command::new("sleep").arg("100").spawn().expect("it starts");
    assert_eq!(child.try_wait().expect("it can be asked"), None);
    child.signal(libc::SIGTERM).expect("it can be signalled");
    assert_eq!(child.wait().expect("it ends").signal(), Some(libc::SIGTERM));
    child.kill().expect("one that has ended is no error");
    assert_eq!(
        child.try_wait().expect("it is remembered").and_then(|status| status.signal()),
        Some(libc::SIGTERM)
    );
}

#[test]
fn a_reaper_passes_on_status_and_signals() {
    let reaped = || {
        let mut command = Command::new("sh");
        command.unshare([Namespace::User, Namespace::Pid]).map_root().init();
        command
    };
    assert_eq!(reaped().args(["-c", "exit 9"]).status().expect("it runs").code(), Some(9));
    assert_eq!(
        reaped().args(["-c", "kill -KILL $$"]).status().expect("it runs").signal(),
        Some(libc::SIGKILL)
    );
    let mut child = reaped().args(["-c", "exec sleep 100"]).spawn().expect("it starts");
    child.signal(libc::SIGTERM).expect("it can be signalled");
    assert_eq!(child.wait().expect("it ends").signal(), Some(libc::SIGTERM));
}

#[test]
fn namespaces_differ_and_time_is_offset() {
    let mut command = Command::new("cat");
    command.unshare(Namespace::ALL).map_root().boottime_offset(1_000_000).stdin(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    for kind in Namespace::ALL {
        let link = |process: &str| {
            std::fs::read_link(format!("/proc/{process}/ns/{}", kind.link())).expect("a link")
        };
        assert_ne!(link(&child.id().to_string()), link("self"), "{kind}");
    }
    let offsets = std::fs::read_to_string(format!("/proc/{}/timens_offsets", child.id())).expect("offsets");
    assert!(
        offsets.lines().any(|line| line.starts_with("boottime") && line.contains("1000000")),
        "{offsets}"
    );
    assert!(child.wait().expect("it ends").success());
}

/// Exec enters the namespace a moment after it has left the caller's memory.
#[test]
fn a_time_namespace_is_not_missed_by_asking_too_early() {
    let mut command = Command::new("/bin/true");
    command.unshare([Namespace::User, Namespace::Time]).map_root();
    for _ in 0..1000 {
        assert!(command.status().expect("it starts").success());
    }
}

#[test]
fn a_command_under_a_reaper_is_in_the_new_time_namespace_too() {
    let mut command = Command::new("cat");
    command.arg("/proc/uptime").unshare([Namespace::User, Namespace::Pid, Namespace::Time]).map_root().init();
    let output = command.boottime_offset(1_000_000_000).output().expect("it runs");
    let uptime = text(&output.stdout);
    assert!(uptime.split('.').next().and_then(|n| n.parse::<u64>().ok()) >= Some(1_000_000_000), "{uptime}");
}

#[test]
fn errors_say_what_and_with_which_code() {
    let missing = Command::new("no-such-program").status().expect_err("there is none");
    assert_eq!((missing.exit_code(), missing.raw_os_error()), (127, Some(libc::ENOENT)));
    let directory = Command::new("/etc").status().expect_err("it is a directory");
    assert_eq!((directory.exit_code(), directory.raw_os_error()), (126, Some(libc::EACCES)));
    let nul = Command::new("sh").arg("a\0b").spawn().expect_err("NUL can't be passed");
    assert!(matches!(nul, Error::Invalid { .. }) && nul.exit_code() == 125);
}

#[test]
fn a_quick_start_hardly_asks_whether_to_give_up() {
    let mut asked = 0;
    let started = Command::new("true").spawn_unless(|| {
        asked += 1;
        false
    });
    assert!(started.expect("it starts").wait().expect("it ends").success());
    assert!(asked <= 50, "a quick start hardly asks");
}

/// Other processes of that user may look into the child, and write there, as soon as it is theirs: not into the caller.
#[test]
fn who_becomes_another_user_has_memory_of_its_own() {
    if !rustix::process::geteuid().is_root() {
        common::skip("who_becomes_another_user_has_memory_of_its_own", "only root can become another user");
        return;
    }
    let nobody = 65534;
    for (kinds, is_callers) in
        [(vec![], false), (vec![Namespace::Mount, Namespace::Pid], false), (vec![Namespace::User], true)]
    {
        let mut command = Command::new("true");
        command.unshare(kinds.clone());
        if is_callers {
            // A user namespace of its own keeps them out.
            command.map_all();
        }
        let parked = command.uid(nobody).gid(nobody).park().expect("it is parked");
        let status = std::fs::read_to_string(format!("/proc/{}/status", parked.id())).expect("it is there");
        assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
        let word = AtomicU32::new(1);
        let memory = std::fs::OpenOptions::new().write(true).open(format!("/proc/{}/mem", parked.id()));
        let memory = memory.expect("root may open it");
        memory.write_all_at(&2_u32.to_ne_bytes(), word.as_ptr() as u64).expect("it can be written");
        assert_eq!(word.load(Relaxed) == 2, is_callers, "{kinds:?}");
        // Nobody's own processes may not, whoever owns it.
        let mut other = std::process::Command::new("dd");
        other.arg("if=/dev/null").arg(format!("of=/proc/{}/mem", parked.id())).uid(nobody).gid(nobody);
        assert!(!other.output().expect("dd starts").status.success(), "{kinds:?}");
        assert!(parked.start().expect("it starts").wait().expect("it ends").success());
    }
}

/// What `output` sets up for its streams is for that call.
#[test]
fn a_command_that_gave_its_output_can_be_started_again() {
    let mut command = Command::new("sh");
    command.args(["-c", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"]);
    let output = command.output().expect("it starts");
    assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 300_000));
    assert!(!command.plan().expect("it has a plan").to_string().contains("standard streams"));
    // With pipes that nobody reads it would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().expect("it starts").success());
    let mut input = Command::new("cat");
    assert_eq!(input.output().expect("it starts").stdout, b"");
    input.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = input.spawn().expect("it starts");
    child.stdin.take().expect("input is piped").write_all(b"again").expect("it can be written");
    assert_eq!(child.wait_with_output().expect("it ends").stdout, b"again");
}

/// A parked child waits as long as its owner likes: with the pipes of others it would hold up who reads them.
#[test]
fn a_parked_child_holds_nobodys_pipe_open() {
    let kinds: [&[Namespace]; 2] = [&[], &[Namespace::User, Namespace::Pid]];
    for (kinds, init) in [(kinds[0], false), (kinds[1], false), (kinds[1], true)] {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = Command::new("true");
        command.unshare(kinds.iter().copied());
        if !kinds.is_empty() {
            command.map_root();
        }
        if init {
            command.init();
        }
        let parked = command.park().expect("it is parked");
        drop(writer);
        let mut ready = [rustix::event::PollFd::new(&reader, rustix::event::PollFlags::IN)];
        let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(
            rustix::event::poll(&mut ready, Some(&limit)),
            Ok(1),
            "{kinds:?} {init}: the pipe is open"
        );
        assert_eq!(reader.read(&mut [0]).expect("it can be read"), 0);
        assert!(parked.start().expect("it starts").wait().expect("it ends").success());
    }
}

/// What comes of this, while so many other threads start commands all the time.
fn beside<T>(others: usize, start: impl Fn() + Sync, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..others {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    start();
                }
            });
        }
        let result = work();
        done.store(true, Relaxed);
        result
    })
}

/// Whether this is the test of that name in a process of its own, started by these words. If not, runs it there.
fn is_once_more(test: &str, by: &[&str]) -> bool {
    if std::env::var_os("ONCE_MORE").is_some() {
        return true;
    }
    let own = std::env::current_exe().expect("a test");
    let words = by.iter().map(std::ffi::OsStr::new).chain([own.as_os_str()]).collect::<Vec<_>>();
    let mut again = std::process::Command::new(words[0]);
    let output = again.args(&words[1..]).args(["--exact", test]).env("ONCE_MORE", "1").output();
    let output = output.expect("it starts");
    assert!(output.status.success(), "{}", text(&output.stdout));
    false
}

/// The exit code of a fork of this process that starts a command, as programs do after fork. None where it stands still.
#[expect(unsafe_code, reason = "fork")]
fn forked(start: impl Fn() -> bool) -> Option<i32> {
    // SAFETY: the child starts a command, and ends without what runs at exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: no more than a number.
        unsafe { libc::_exit(if start() { 7 } else { 8 }) };
    }
    let child = Pid::from_raw(pid).expect("a fork");
    let begun = Instant::now();
    loop {
        let ended = rustix::process::waitpid(Some(child), WaitOptions::NOHANG).expect("it is a child");
        if let Some((_, ended)) = ended {
            return ended.exit_status();
        }
        if begun.elapsed().as_secs() >= 10 {
            rustix::process::kill_process(child, Signal::KILL).expect("it is a child");
            rustix::process::waitpid(Some(child), WaitOptions::empty()).expect("it ends");
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What other threads were at when a process was forked is not copied with them.
#[test]
fn a_fork_of_a_busy_process_can_start_commands() {
    // Changes ids in shared memory, for which it is alone; where there is no right to that, it starts like all.
    let start = || Command::new("true").unshare([Namespace::User]).map_root().uid(0).status();
    let work = || {
        (0..60).map(|_| forked(|| start().is_ok_and(|status| status.success()))).find(|code| *code != Some(7))
    };
    let odd = beside(3, || assert!(start().is_ok()), work);
    assert_eq!(odd, None, "a fork stands still, or can't start a command");
}

/// A fork copies the mark of the memory, and not the child for which it would be taken back.
#[test]
fn a_fork_is_no_longer_hidden_than_it_takes_to_start_a_command() {
    use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};
    if !is_once_more("a_fork_is_no_longer_hidden_than_it_takes_to_start_a_command", &[]) {
        return;
    }
    let mark = || dumpable_behavior().expect("it can be asked");
    let mut codes = Vec::new();
    // This child would change its ids in the end, and the kernel the mark.
    let stopped = start_slowly_by(|command| command.uid(0), &mut || {
        set_dumpable_behavior(DumpableBehavior::NotDumpable).expect("it can be set");
        codes.push(forked(|| {
            let start = || Command::new("true").unshare([Namespace::User]).map_root().status();
            start().is_ok_and(|status| status.success()) && mark() == DumpableBehavior::Dumpable
        }));
        true
    });
    stopped.expect_err("it is stopped");
    assert_eq!(codes, [Some(7)]);
    assert_eq!(mark(), DumpableBehavior::Dumpable);
    // What is parked by root is hidden, and so is a fork; which does not take it back for its parent.
    let parked = Command::new("true").park().expect("it is parked");
    let hidden = mark();
    let code = forked(|| mark() == hidden && Command::new("true").status().is_ok() && mark() != hidden);
    assert_eq!(code == Some(7), hidden == DumpableBehavior::NotDumpable);
    assert_eq!(mark(), hidden);
    drop(parked);
    assert_eq!(mark(), DumpableBehavior::Dumpable);
}

/// As std's `Child`: the copy is not who has the process.
#[test]
fn a_fork_that_drops_or_starts_what_is_parked_leaves_it_alone() {
    if !is_once_more("a_fork_that_drops_or_starts_what_is_parked_leaves_it_alone", &[]) {
        return;
    }
    let mut command = Command::new("true");
    let cgroup = sept::Cgroup::new().pids(9);
    if rustix::process::geteuid().is_root() && Command::new("true").cgroup(cgroup.clone()).status().is_ok() {
        command.cgroup(cgroup);
    }
    let parked = std::cell::Cell::new(Some(command.park().expect("it is parked")));
    let code = forked(|| {
        drop(parked.take());
        true
    });
    assert_eq!(code, Some(7));
    let refused = |parked: sept::Parked| matches!(parked.start(), Err(Error::Invalid { .. }));
    assert_eq!(forked(|| parked.take().is_some_and(refused)), Some(7));
    let mut child = parked.take().expect("it is there").start().expect("it starts");
    // Nor is it who waits.
    let running = command.park().expect("it is parked");
    let running = std::cell::Cell::new(Some(running.start().expect("it starts")));
    assert_eq!(forked(|| running.take().is_some_and(|mut child| child.wait().is_err())), Some(7));
    assert!(running.take().expect("it is there").wait().expect("it ends").success());
    assert!(child.wait().expect("it ends").success());
}

/// Nothing else says so.
#[test]
fn who_is_not_dumpable_is_told_so() {
    use rustix::process::DumpableBehavior;
    let test = "who_is_not_dumpable_is_told_so";
    if rustix::process::geteuid().is_root() {
        common::skip(test, "root writes its maps all the same");
        return;
    }
    if !is_once_more(test, &[]) {
        return;
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).expect("it can be set");
    let start = || Command::new("true").unshare([Namespace::User]).map_root().status();
    let text = start().expect_err("its maps are root's").to_string();
    assert!(text.contains("PR_SET_DUMPABLE"), "{text}");
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable).expect("it can be set");
    assert!(start().expect("it starts").success());
}

/// As std does.
#[test]
fn who_becomes_another_user_leaves_roots_groups_behind() {
    let test = "who_becomes_another_user_leaves_roots_groups_behind";
    if !rustix::process::geteuid().is_root() {
        common::skip(test, "nobody else has groups to give away");
        return;
    }
    if !is_once_more(test, &["setpriv", "--groups", "4,27"]) {
        return;
    }
    let groups = |change: &dyn Fn(&mut Command)| {
        let mut command = Command::new("id");
        command.arg("-G").gid(65534).uid(65534);
        change(&mut command);
        text(&command.output().expect("it runs").stdout)
    };
    assert_eq!(groups(&|_| ()), "65534");
    assert_eq!(groups(&|command| _ = command.groups([4])), "65534 4");
    assert_eq!(groups(&|command| _ = command.keep_groups()), "65534 4 27");
}

/// One that is alone in what it does is not for ever too late for that.
#[test]
fn who_changes_ids_gets_a_turn_among_many() {
    let kinds = [Namespace::User, Namespace::Mount, Namespace::Net];
    let other = || Command::new("true").unshare(kinds).map_root().loopback().status();
    let begun = Instant::now();
    let late = || begun.elapsed().as_secs() >= 20;
    let alone = || Command::new("true").unshare([Namespace::User]).map_root().gid(0).spawn_unless(late);
    let work = || (0..10).any(|_| alone().map(|mut child| child.wait()).is_err());
    let given_up = beside(12, || assert!(other().is_ok()), work);
    assert!(!given_up, "ten starts take more than 20 seconds");
}

/// While one start takes its time, another is given up. What that waited for others would wait for, too.
#[test]
fn a_panic_of_who_waits_for_a_turn_leaves_the_turn_to_others() {
    // Others of this process would wait, too.
    if !is_once_more("a_panic_of_who_waits_for_a_turn_leaves_the_turn_to_others", &[]) {
        return;
    }
    let (is_slow, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            start_slowly(&mut || {
                is_slow.store(true, Relaxed);
                done.load(Relaxed)
            })
        });
        while !is_slow.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let alone =
            || Command::new("true").unshare([Namespace::User]).map_root().uid(0).spawn_unless(give_up);
        let gave_up = std::panic::catch_unwind(alone).is_err();
        let begun = Instant::now();
        let other = Command::new("true").spawn_unless(|| begun.elapsed().as_secs() >= 5);
        done.store(true, Relaxed);
        slow.join().expect("no panic").expect_err("it is stopped");
        assert!(gave_up, "it waits, and asks");
        assert!(other.expect("it starts").wait().expect("it ends").success());
    });
}

/// A start that lasts until it is given up: it reads from a pipe in which nothing comes.
fn start_slowly(stop: &mut dyn FnMut() -> bool) -> Result<sept::Child, Error> {
    start_slowly_by(|command| command, stop)
}

fn start_slowly_by(
    change: impl Fn(&mut Command) -> &mut Command,
    stop: &mut dyn FnMut() -> bool,
) -> Result<sept::Child, Error> {
    let (silent, _writer) = std::io::pipe().expect("a pipe");
    let mut command = Command::new("true");
    command.unshare([Namespace::User, Namespace::Mount, Namespace::Pid]).map_root();
    command.mount(sept::Mount::tmpfs("/mnt")).mount(sept::Mount::file(
        silent.as_raw_fd(),
        "/mnt/file",
        0o600,
    ));
    change(&mut command).spawn_unless(stop)
}

/// It would wait for the start that asks it.
#[test]
fn a_start_by_who_is_asked_is_done_or_refused() {
    // Others of this process would wait, too.
    if !is_once_more("a_start_by_who_is_asked_is_done_or_refused", &[]) {
        return;
    }
    let changing = || Command::new("true").unshare([Namespace::User]).map_root().uid(0).status().map(drop);
    let plain = || Command::new("true").status().map(drop);
    let mut results = Vec::new();
    let stopped = start_slowly(&mut || {
        results.extend([changing(), plain()]);
        true
    });
    stopped.expect_err("it is stopped");
    assert!(matches!(results[..], [Err(Error::Invalid { .. }), Ok(())]), "{results:?}");
    changing().expect("it starts");
}

/// A copy of the caller's memory has a mark of its own.
#[test]
fn a_slow_start_in_memory_of_its_own_holds_up_nobody() {
    // Others of this process would wait, too.
    if !is_once_more("a_slow_start_in_memory_of_its_own_holds_up_nobody", &[]) {
        return;
    }
    let mut asked = false;
    let begun = Instant::now();
    let stopped = start_slowly_by(Command::init, &mut || {
        asked = true;
        let mut command = Command::new("true");
        command.unshare([Namespace::User]).map_root().uid(0);
        let done = command.spawn_unless(|| begun.elapsed().as_secs() >= 5);
        assert!(done.expect("it starts").wait().expect("it ends").success());
        true
    });
    stopped.expect_err("it is stopped");
    assert!(asked);
}

/// No signal reaches it, and what it reads from may have no end.
#[test]
fn a_child_in_set_up_ends_with_its_caller() {
    if std::env::var_os("ONCE_MORE").is_some() {
        start_slowly(&mut || false).expect_err("it is killed");
    }
    let own = std::env::current_exe().expect("a test");
    let mut caller = std::process::Command::new(own);
    caller.args(["--exact", "a_child_in_set_up_ends_with_its_caller"]).env("ONCE_MORE", "1");
    let mut caller = caller.stdout(std::process::Stdio::null()).spawn().expect("it starts");
    let begun = Instant::now();
    let child = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", caller.id())).expect("it is there");
        let of = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("children")).ok();
        tasks.flatten().filter_map(of).find_map(|list| list.split_whitespace().next()?.parse().ok())
    };
    let child = loop {
        if let Some(pid) = child().and_then(Pid::from_raw) {
            break pid;
        }
        assert!(begun.elapsed().as_secs() < 10, "it makes a child");
        std::thread::sleep(Duration::from_millis(5));
    };
    // Until it reads.
    std::thread::sleep(Duration::from_millis(200));
    let held = rustix::process::pidfd_open(child, rustix::process::PidfdFlags::empty()).expect("it is there");
    caller.kill().expect("it can be killed");
    caller.wait().expect("it ends");
    let limit = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
    let ended = rustix::event::poll(
        &mut [rustix::event::PollFd::new(&held, rustix::event::PollFlags::IN)],
        Some(&limit),
    );
    let _ = rustix::process::pidfd_send_signal(&held, Signal::KILL);
    assert_eq!(ended, Ok(1), "it goes on without its caller");
}

/// A panic that says nothing.
fn give_up() -> bool {
    std::panic::resume_unwind(Box::new("on purpose"))
}

#[test]
fn no_child_is_left_uncollected() {
    // By a process that has no children of others.
    if !is_once_more("no_child_is_left_uncollected", &[]) {
        return;
    }
    let busy: [_; 4] = std::array::from_fn(|_| {
        std::thread::spawn(|| {
            for _ in 0..500 {
                drop(Command::new("true").park().expect("it is parked"));
                Command::new("/not-there").spawn().expect_err("there is no such program");
            }
        })
    });
    busy.into_iter().for_each(|thread| thread.join().expect("no panic"));
    let left = rustix::process::waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    assert_eq!(left.err(), Some(rustix::io::Errno::CHILD), "a child is left");
}

/// The parent's word comes when the child has failed already: it must not send that away before it was looked at.
#[test]
fn what_fails_at_once_is_no_success() {
    let start = || {
        let mut command = Command::new("/no/such/program");
        command.unshare([Namespace::User]).map_all().die_with_parent();
        command.spawn().map(|mut child| child.wait())
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..250 {
                    let error = start().expect_err("there is no such program");
                    // An ordinary user may not map all.
                    assert!(!matches!(error, Error::Died { .. }), "{error:?}");
                    let found = matches!(error, Error::Step { errno: libc::ENOENT, .. });
                    assert!(found || !rustix::process::geteuid().is_root(), "{error:?}");
                }
            });
        }
    });
}
