//! A listener: what the test says to a call is what a real command gets.

mod common;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use common::skip;
use sept::seccomp::{
    Action, AddFd, Condition, Filter, Flags, Listener, Notification, Policy, Response, Rule,
};
use sept::{Child, Command, Error, Namespace, Stdio};

/// A filter that asks about these calls, and allows the others.
fn asking(calls: &[&'static str], flags: Flags) -> Filter {
    let rule = |calls: &[&'static str], conditions: Vec<Condition>, action| Rule {
        calls: calls.iter().map(|call| (*call).into()).collect(),
        conditions,
        action,
    };
    let policy = Policy {
        name: "asking".to_owned(),
        default: Action::Allow,
        unknown: Action::Allow,
        other_abi: Action::KillProcess,
        compat_abi: true,
        flags,
        rules: vec![rule(calls, vec![], Action::Notify)],
    };
    policy.compile().expect("it compiles")
}

fn shell(script: &str, filter: Filter) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).no_new_privs().seccomp(filter).seccomp_listener();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Answers all calls of a command until it has ended.
fn answered(mut child: Child, mut answer: impl FnMut(&Listener, Notification)) -> Output {
    let listener = child.seccomp_listener().expect("there is a listener");
    assert!(child.seccomp_listener().is_none(), "it is given once");
    while let Some(call) = listener.receive().expect("a call comes") {
        answer(&listener, call);
    }
    child.wait_with_output().expect("it ends")
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sept-listener-{name}-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("the directory can be made");
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_call_fails_succeeds_or_is_made_as_the_listener_says() {
    let scratch = Scratch::new("answers");
    let dir = scratch.0.display();
    let script =
        format!("cd {dir}; export LC_ALL=C; mkdir no; mkdir said && echo said; mkdir made && echo made");
    let mut answers =
        [Response::Errno(libc::ENOSPC as u16), Response::Value(0), Response::Continue].into_iter();
    let child = shell(&script, asking(&["mkdir", "mkdirat"], Flags::NONE)).spawn().expect("it starts");
    let (shell, mut callers) = (child.id(), Vec::new());
    let output = answered(child, |listener, call| {
        assert!(matches!(call.call(), Some("mkdir" | "mkdirat")), "{call:?}");
        assert!(listener.is_valid(call.id));
        callers.push(call.pid);
        let answer = answers.next().expect("there are three calls");
        listener.respond(call.id, answer).expect("it is answered");
        assert!(!listener.is_valid(call.id), "an answered call does not wait");
        let again = listener.respond(call.id, answer).expect_err("it is answered already");
        assert!(matches!(again.raw_os_error(), Some(libc::ENOENT | libc::EINPROGRESS)), "{again}");
    });
    assert!(!callers.is_empty() && callers.iter().all(|pid| *pid > 0 && *pid != shell), "{callers:?}");
    let said = out(&output);
    assert!(said.contains("said\nmade\n") && said.contains("No space left"), "{said}");
    let there = ["no", "said", "made"].map(|name| scratch.0.join(name).exists());
    assert_eq!(there, [false, false, true], "what was only said was not made");
}

/// A string of another process.
fn string_at(pid: u32, address: u64) -> Vec<u8> {
    let mut bytes = [0; 64];
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory can be opened");
    let length = memory.read_at(&mut bytes, address).unwrap_or(0);
    bytes[..length].split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

#[test]
fn a_descriptor_is_put_into_the_command_as_the_answer() {
    let scratch = Scratch::new("added");
    let path = scratch.0.join("content");
    std::fs::write(&path, "from the listener\n").expect("the file can be made");
    let file: OwnedFd = File::open(&path).expect("the file can be opened").into();
    // 40 is put in beside, and does not last over the next exec; the shell itself opens what it reads from.
    let script =
        "read line </no/such/file; echo $line; sh -c 'test -e /proc/self/fd/40 && echo lasted'; echo end";
    let child = shell(script, asking(&["openat"], Flags::NONE)).spawn().expect("it starts");
    let mut added = Vec::new();
    let output = answered(child, |listener, call| {
        let path = string_at(call.pid, call.arguments[1]);
        assert!(listener.is_valid(call.id), "it was the caller's memory");
        if path != b"/no/such/file" {
            listener.respond(call.id, Response::Continue).expect("it is answered");
            return;
        }
        let beside = AddFd { number: Some(40), close_on_exec: true, ..AddFd::default() };
        added.push(listener.add_fd(call.id, file.as_fd(), beside).expect("it is added"));
        assert!(listener.is_valid(call.id), "it is not answered by that");
        let there = std::fs::read_link(format!("/proc/{}/fd/40", call.pid)).expect("it is there");
        assert!(there.ends_with("content"), "{there:?}");
        let as_answer = AddFd { answers: true, ..AddFd::default() };
        added.push(listener.add_fd(call.id, file.as_fd(), as_answer).expect("it is added"));
        assert!(!listener.is_valid(call.id), "it is answered by that");
    });
    assert_eq!(out(&output), "from the listener\nend\n");
    assert!(matches!(added[..], [40, low] if low > 2 && low < 40), "{added:?}");
}

#[test]
fn calls_fail_once_nobody_listens() {
    let mut command = shell("LC_ALL=C mkdir /tmp", asking(&["mkdir", "mkdirat"], Flags::NONE));
    let mut child = command.spawn().expect("it starts");
    drop(child.seccomp_listener());
    let said = out(&child.wait_with_output().expect("it ends"));
    assert!(said.contains("not implemented"), "{said}");
}

#[test]
fn a_command_that_is_killed_waits_for_no_answer() {
    let mut child = shell("cd /", asking(&["chdir"], Flags::NONE)).spawn().expect("it starts");
    let listener = child.seccomp_listener().expect("there is a listener");
    let call = listener.receive().expect("a call comes").expect("there is one");
    assert_eq!((call.call(), call.pid), (Some("chdir"), child.id()));
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    assert!(!listener.is_valid(call.id));
    let gone = listener.respond(call.id, Response::Continue).expect_err("it has gone");
    assert_eq!(gone.raw_os_error(), Some(libc::ENOENT));
    assert_eq!(listener.receive().expect("it says so"), None);
}

#[test]
fn set_up_itself_is_not_kept_waiting() {
    // What the child calls between its filter and the command, exec among it.
    let calls = ["execve", "rt_sigaction", "rt_sigprocmask", "futex", "poll", "ppoll", "close_range"];
    let filter = || asking(&calls, Flags::NONE);
    let through = |listener: &Listener, call: Notification| {
        assert_ne!(call.call(), Some("close_range"), "it is of set-up");
        listener.respond(call.id, Response::Continue).expect("it is answered");
    };
    let child = shell("echo done", filter()).keep_fds([]).spawn().expect("it starts");
    assert_eq!(out(&answered(child, through)), "done\n");
    // With rights to be given up after the filter.
    let mut command = Command::new("true");
    command.unshare([Namespace::User]).map_root().seccomp(filter()).seccomp_listener().keep_fds([]);
    assert!(answered(command.spawn().expect("it starts"), through).status.success());
    let parked = shell("echo started", filter()).park().expect("it parks");
    assert_eq!(out(&answered(parked.start().expect("it starts"), through)), "started\n");
    drop(shell("echo never", filter()).park().expect("it parks"));
}

#[test]
fn who_takes_the_listener_of_a_parked_command_sees_its_exec() {
    let mut parked = shell("echo done", asking(&["execve"], Flags::NONE)).park().expect("it parks");
    let listener = parked.seccomp_listener().expect("there is a listener");
    let agent = std::thread::spawn(move || {
        let mut calls = Vec::new();
        while let Some(call) = listener.receive().expect("a call comes") {
            calls.push(string_at(call.pid, call.arguments[0]));
            listener.respond(call.id, Response::Continue).expect("it is answered");
        }
        calls
    });
    let mut child = parked.start().expect("it starts");
    assert!(child.seccomp_listener().is_none(), "it was taken");
    assert_eq!(out(&child.wait_with_output().expect("it ends")), "done\n");
    let calls = agent.join().expect("it ends");
    assert!(calls.last().is_some_and(|path| path.ends_with(b"/sh")), "{calls:?}");
}

#[test]
fn a_start_does_not_wait_for_a_listener_that_is_gone() {
    for calls in [&["execve"][..], &["execve", "close"]] {
        let mut parked = shell("echo never", asking(calls, Flags::NONE)).park().expect("it parks");
        drop(parked.seccomp_listener().expect("there is a listener"));
        let error = parked.start().expect_err("execve fails");
        assert_eq!(error.raw_os_error(), Some(libc::ENOSYS), "{calls:?}: {error}");
    }
}

#[test]
fn a_listener_comes_from_behind_a_reaper_too() {
    let mut command = shell("cd / && echo $$", asking(&["chdir"], Flags::NONE));
    command.unshare([Namespace::User, Namespace::Pid]).map_root().init();
    let child = command.spawn().expect("it starts");
    let mut calls = 0;
    let output = answered(child, |listener, call| {
        calls += 1;
        assert_eq!(call.call(), Some("chdir"));
        listener.respond(call.id, Response::Continue).expect("it is answered");
    });
    assert_eq!((out(&output).as_str(), calls), ("2\n", 1));
}

#[test]
fn a_signal_does_not_break_off_a_received_call_where_the_policy_says_so() {
    for (flags, stays) in [(Flags::NONE, false), (Flags::WAIT_KILLABLE_RECV, true)] {
        let mut command = shell("trap : USR1; cd / && echo done", asking(&["chdir"], flags));
        let mut child = match command.spawn() {
            Err(error) if stays && error.raw_os_error() == Some(libc::EINVAL) => {
                let test = "a_signal_does_not_break_off_a_received_call_where_the_policy_says_so";
                skip(test, "this kernel has no SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
                return;
            }
            child => child.expect("it starts"),
        };
        let listener = child.seccomp_listener().expect("there is a listener");
        let call = listener.receive().expect("a call comes").expect("there is one");
        child.signal(libc::SIGUSR1).expect("it can be signalled");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(listener.is_valid(call.id), stays, "{flags}");
        if stays {
            listener.respond(call.id, Response::Continue).expect("it is answered");
        }
        // A shell may make the call again.
        while let Some(call) = listener.receive().expect("a call comes") {
            listener.respond(call.id, Response::Continue).expect("it is answered");
        }
        let said = out(&child.wait_with_output().expect("it ends"));
        assert!(!stays || said == "done\n", "{said}");
    }
}

#[test]
fn a_listener_that_can_not_be_is_refused_before_anything_is_done() {
    let filter = || asking(&["mkdir"], Flags::NONE);
    let refused = |error: Error, reason: &str| {
        assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains(reason), "{error}");
    };
    let mut nobody = Command::new("true");
    nobody.no_new_privs().seccomp(filter());
    refused(nobody.spawn().expect_err("nobody answers"), "asks a listener");
    let mut nothing = Command::new("true");
    nothing.no_new_privs().seccomp_listener();
    refused(nothing.spawn().expect_err("nothing asks"), "no filter asks");
    let mut two = shell("true", filter());
    two.seccomp(asking(&["chdir"], Flags::NONE));
    refused(two.spawn().expect_err("two ask"), "both ask a listener");
    refused(shell("true", filter()).status().expect_err("it would wait"), "started by spawn");
    refused(shell("true", filter()).output().expect_err("it would wait"), "started by spawn");
    refused(shell("true", filter()).exec(), "in place");
    let sendmsg = asking(&["sendmsg", "mkdir"], Flags::NONE);
    refused(shell("true", sendmsg).spawn().expect_err("it can't get out"), "sendmsg");
    let mut no_listener = Command::new("true");
    no_listener.no_new_privs().seccomp(asking(&[], Flags::WAIT_KILLABLE_RECV));
    refused(no_listener.spawn().expect_err("it asks nobody"), "wait-killable-recv");
    let mut reaper = Command::new("true");
    reaper.unshare([Namespace::User, Namespace::Pid]).map_root().init().seccomp(filter()).seccomp_listener();
    refused(reaper.spawn().expect_err("the reaper would wait"), "reaper");
    // One more filter without a question is fine, whatever the order.
    let mut plain = shell("cd / && echo done", asking(&["chdir"], Flags::NONE));
    plain.seccomp(Filter::container().expect("a filter"));
    let output = answered(plain.spawn().expect("it starts"), |listener, call| {
        assert_eq!(call.call(), Some("chdir"));
        listener.respond(call.id, Response::Continue).expect("it is answered");
    });
    assert_eq!(out(&output), "done\n");
}

#[test]
fn the_plan_shows_the_asking_filter_last() {
    let mut command = Command::new("true");
    command.no_new_privs().seccomp(asking(&["mkdir"], Flags::NONE)).seccomp_listener();
    command.seccomp(Filter::container().expect("a filter"));
    let plan = command.plan().expect("a plan").to_string();
    let at = |words: &str| plan.find(words).unwrap_or_else(|| panic!("{words} in {plan}"));
    assert!(at("filter system calls: default") < at("filter system calls, and ask the parent: asking"));
    assert!(at("and ask the parent") < at("execute true"));
}

#[test]
fn a_flag_that_the_kernel_does_not_know_is_named() {
    let mut command = shell("true", asking(&["mkdir"], Flags::WAIT_KILLABLE_RECV));
    let step = command.plan().expect("a plan").steps.len() - 1;
    let error = command.inject_fault(step, libc::EINVAL).spawn().expect_err("it is refused");
    let said = error.to_string() + &error.advice().map(|advice| advice.fix.join(" ")).unwrap_or_default();
    assert!(said.contains("leave the flags out: wait-killable-recv"), "{said}");
}
