//! The calling process itself moves and becomes the command; a helper outside serves it meanwhile.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{Acquire, Release};

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::futex;

use super::bound::Bound;
use super::child;
use super::parent::{self, Started};
use super::prepare::{self, Prepared};
use super::wire;
use crate::error::{Advice, Error};
use crate::namespace::Namespace;
use crate::plan::Plan;
use crate::plan::step::Step;

/// How often the helper looks whether the process that it serves is still there.
const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Refuses what a process can't do with itself.
pub(crate) fn check(plan: &Plan) -> Result<(), Error> {
    if let Some(step) =
        plan.steps.iter().find(|step| matches!(step, Step::Reap | Step::Foreground | Step::Park))
    {
        return Err(Error::invalid_with(
            format!("a process can't {step} in place"),
            Advice { why: vec![], fix: vec!["start a new process for it: spawn".to_owned()] },
        ));
    }
    let moves_user = |step: &Step| match step {
        Step::Unshare(kinds) | Step::Join { kinds, .. } => kinds.contains(Namespace::User),
        _ => false,
    };
    let alone = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count) == 1;
    if !alone && (!plan.duties.is_empty() || plan.steps.iter().any(moves_user)) {
        return Err(Error::invalid_with(
            "a program with threads can't move to another user namespace, nor be served by a helper while it moves",
            Advice::new(
                "the kernel moves single threads, and refuses that for user namespaces",
                "start a new process for it: spawn",
            ),
        ));
    }
    let is_first = rustix::thread::gettid() == rustix::process::getpid();
    if !is_first && plan.steps.iter().any(|step| matches!(step, Step::OffsetClocks(_))) {
        return Err(Error::invalid_with(
            "a thread that is not the first one of its process can't offset the clocks of what it becomes",
            Advice::new(
                "the kernel has that file for whole processes only (/proc/PID/timens_offsets)",
                "start a new process for it: spawn",
            ),
        ));
    }
    Ok(())
}

/// Performs the steps in this process. Comes back only if one fails; this process may have moved by then.
pub(crate) fn exec(prepared: Box<Prepared>) -> Error {
    let own = rustix::process::getpid();
    let pidfd = match rustix::process::pidfd_open(own, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(errno) => return prepare::duty("open a pidfd of this process", errno),
    };
    if prepared.helper.is_some() {
        match child::clone_helper(&prepared, serve) {
            Ok(pid) => prepared.control.command.store(pid as u32, Release),
            Err(errno) => return prepare::duty("start a helper", errno),
        }
    }
    let (at, errno) = child::in_place(&prepared);
    let control = &prepared.control;
    if let Some(helper) = Pid::from_raw(control.command.load(Acquire) as i32) {
        // It waits for a word that will not come; if it has spoken, it is gone.
        let _ = rustix::process::kill_process(helper, rustix::process::Signal::KILL);
        crate::sys::collect(helper.as_raw_pid());
        control.command.store(0, Release);
    }
    if errno == Errno::CANCELED && control.go.load(Acquire) == wire::GIVE_UP {
        return told(&prepared);
    }
    control.step.store(at as u32, Release);
    control.errno.store(errno.raw_os_error(), Release);
    let (pid, parked, hidden, process) = (own.as_raw_pid(), false, None, crate::sys::own_process());
    let (first, listener, bound) = (None, None, Bound::new());
    let started = Started { pid, pidfd, first, listener, prepared, parked, hidden, bound, process };
    let error = started.failure();
    // Its descriptors may be closed, and their numbers another's.
    std::mem::forget(started);
    error
}

/// The helper: waits until the other has moved, does the duties, and says how it went. It is a copy of a process that
/// had one thread, so that it may do what it likes.
fn serve(prepared: &Prepared) {
    let Some(pipe) = &prepared.helper else { return };
    let control = &prepared.control;
    let mut alone = || rustix::process::getppid().map(Pid::as_raw_pid) != Some(pipe.mover);
    while control.stage.load(Acquire) == wire::FIRST {
        if alone() {
            return;
        }
        let _ = futex::wait(&control.stage, futex::Flags::empty(), wire::FIRST, Some(&SLICE));
    }
    let stopped = || prepare::duty("serve a process that has ended", Errno::SRCH);
    let mut bound = Bound::new();
    let done = parent::pidfd_of(pipe.mover).and_then(|pidfd| {
        parent::duties(prepared, (pipe.mover, pidfd.as_fd()), &mut bound, &mut alone, stopped)
    });
    // What becomes of the other is not known here any more.
    if done.is_ok() {
        bound.keep();
    }
    // Told of a failure, the other ends this one.
    drop(bound);
    if let Err(error) = done {
        // Where this can't be written, the other says that it got no reason.
        let _ = rustix::io::write(&pipe.writer, &written(&error));
        parent::speak(prepared, wire::GIVE_UP);
    }
}

/// An error of a duty as lines: what, errno, then the reasons, then, after an empty line, the remedies.
fn written(error: &Error) -> Vec<u8> {
    let one_line = |text: &String| text.replace('\n', " ");
    let (what, errno) = match error {
        Error::Duty { what, errno, .. } => (one_line(what), errno.unwrap_or(0)),
        other => (one_line(&other.summary()), 0),
    };
    let advice = error.advice().cloned().unwrap_or_default();
    let mut lines = vec![what, errno.to_string()];
    lines.extend(advice.why.iter().map(one_line));
    lines.push(String::new());
    lines.extend(advice.fix.iter().map(one_line));
    // One write: a pipe takes 4096 bytes at once.
    let mut bytes = lines.join("\n").into_bytes();
    bytes.truncate(4096);
    bytes
}

/// What the helper said.
fn told(prepared: &Prepared) -> Error {
    let mut text = String::new();
    if let Some(pipe) = &prepared.helper {
        let mut bytes = [0; 4096];
        let reader = pipe.reader.try_clone().map(File::from);
        let length = reader.and_then(|mut reader| reader.read(&mut bytes)).unwrap_or(0);
        text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    }
    let mut lines = text.lines();
    let what = lines.next().filter(|what| !what.is_empty()).unwrap_or("do the helper's duties");
    let errno = lines.next().and_then(|errno| errno.parse().ok()).filter(|errno| *errno != 0);
    let why = lines.by_ref().take_while(|line| !line.is_empty()).map(str::to_owned).collect();
    Error::Duty {
        what: what.to_owned(),
        errno,
        advice: Advice { why, fix: lines.map(str::to_owned).collect() },
        layer: None,
    }
}
