//! The library as std's `Command`: streams, environment, status, signals; and what is beyond it.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

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

/// What other threads were at when a process was forked is not copied with them.
#[test]
#[expect(unsafe_code, reason = "fork")]
fn a_fork_of_a_busy_process_can_start_commands() {
    use std::sync::atomic::AtomicBool;
    static DONE: AtomicBool = AtomicBool::new(false);
    // Changes ids in shared memory, for which it is alone; where there is no right to that, it starts like all.
    let command = || {
        let mut command = Command::new("true");
        command.unshare([Namespace::User]).map_root().uid(0);
        command
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !DONE.load(Relaxed) {
                    command().status().expect("it runs");
                }
            });
        }
        for _ in 0..60 {
            // SAFETY: the child starts a command, as programs do after fork, and ends without what runs at exit.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                let ran = command().status().is_ok_and(|status| status.success());
                // SAFETY: no more than a number.
                unsafe { libc::_exit(if ran { 7 } else { 8 }) };
            }
            let child = rustix::process::Pid::from_raw(pid).expect("a fork");
            let begun = std::time::Instant::now();
            let ended = loop {
                let ended = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::NOHANG);
                if let Some((_, ended)) = ended.expect("it is a child") {
                    break ended.exit_status();
                }
                if begun.elapsed().as_secs() >= 10 {
                    rustix::process::kill_process(child, rustix::process::Signal::KILL)
                        .expect("it is a child");
                    rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty())
                        .expect("it ends");
                    break None;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            };
            DONE.fetch_or(ended != Some(7), Relaxed);
            assert_eq!(ended, Some(7), "a fork stands still");
        }
        DONE.store(true, Relaxed);
    });
}

/// As std does.
#[test]
fn who_becomes_another_user_leaves_roots_groups_behind() {
    let test = "who_becomes_another_user_leaves_roots_groups_behind";
    if !rustix::process::geteuid().is_root() {
        common::skip(test, "nobody else has groups to give away");
        return;
    }
    // This test once more, by a process that has groups.
    if std::env::var_os("WITH_GROUPS").is_none() {
        let mut again = std::process::Command::new("setpriv");
        again
            .args(["--groups", "4,27"])
            .arg(std::env::current_exe().expect("a test"))
            .args(["--exact", test]);
        let output = again.env("WITH_GROUPS", "1").output().expect("setpriv starts");
        assert!(output.status.success(), "{}", text(&output.stdout));
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
    use std::sync::atomic::AtomicBool;
    static DONE: AtomicBool = AtomicBool::new(false);
    let alone = || {
        let mut command = Command::new("true");
        command.unshare([Namespace::User]).map_root().gid(0);
        command
    };
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while !DONE.load(Relaxed) {
                    let kinds = [Namespace::User, Namespace::Mount, Namespace::Net];
                    Command::new("true").unshare(kinds).map_root().loopback().status().expect("it runs");
                }
            });
        }
        let begun = std::time::Instant::now();
        let given_up = (0..10).any(|_| {
            let late = || begun.elapsed().as_secs() >= 20;
            alone().spawn_unless(late).map(|mut child| child.wait()).is_err()
        });
        DONE.store(true, Relaxed);
        assert!(!given_up, "ten starts take more than 20 seconds");
    });
}

#[test]
fn no_child_is_left_uncollected() {
    // This test once more, by a process that has no children of others.
    if std::env::var_os("OWN_CHILDREN").is_none() {
        let mut again = std::process::Command::new(std::env::current_exe().expect("a test"));
        again.args(["--exact", "no_child_is_left_uncollected"]).env("OWN_CHILDREN", "1");
        let output = again.output().expect("the test starts");
        assert!(output.status.success(), "{}", text(&output.stdout));
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
    let (all, options) = (
        rustix::process::WaitId::All,
        rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOHANG,
    );
    assert_eq!(
        rustix::process::waitid(all, options).err(),
        Some(rustix::io::Errno::CHILD),
        "a child is left"
    );
}
