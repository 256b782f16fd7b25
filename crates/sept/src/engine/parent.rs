//! The parent's side: clones, does its duties, waits for exec, and turns a failure into an error.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command as Helper, ExitStatus, Stdio};
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::futex;

use super::bound::Bound;
use super::cgroup;
use super::child;
use super::ending;
use super::prepare::{self, Prepared};
use super::turn::Turn;
use super::wire;
use crate::error::{Advice, Error};
use crate::host::common::duty_in_proc;
use crate::host::{advice, earlier, find_in_proc, pid_in_proc, stat_field};
use crate::layer::Layer;
use crate::namespace::Namespace;
use crate::plan::step::Step;
use crate::plan::{Duty, layers};
use crate::sys;

/// A child that has become the command, or is parked.
#[derive(Debug)]
pub(crate) struct Started {
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// The first child, where another one has become the command.
    pub first: Option<OwnedFd>,
    /// The seccomp listener, once it has come.
    pub listener: Option<OwnedFd>,
    pub prepared: Box<Prepared>,
    /// Whether the child still uses the memory of `prepared`.
    pub parked: bool,
    /// Held until the child has left this memory.
    pub hidden: Option<sys::Hidden>,
    /// What its namespaces are bound to.
    pub bound: Bound,
    /// Whose child it is, by `sys::own_process`: a fork has a copy of this, and no child.
    pub process: u32,
}

/// A child that ends with this, where nobody has taken it: by an error, or a panic of the caller's `stop`.
struct Guarded(Option<Started>);

impl Guarded {
    fn set_up(mut self, stop: &mut dyn FnMut() -> bool) -> Result<Started, Error> {
        if let Some(started) = &mut self.0 {
            started.set_up(stop)?;
        }
        self.0.take().ok_or_else(|| prepare::duty("hold the child", Errno::CHILD))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(started) = self.0.take() {
            started.end();
        }
    }
}

/// How long the parent waits before it looks at signals and deadlines: set-up takes a tenth of it.
const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// For how long a child that was killed may take to end.
const DYING: Duration = Duration::from_secs(10);

/// How long a caller stays awake for a parked child: a few times what it takes from the word to exec.
const AWAKE: Duration = Duration::from_micros(200);

/// Starts the child, and comes back when it has become the command or is parked.
///
/// While that takes longer than usual, `stop` is asked every 20 ms whether to give up.
pub(crate) fn start(prepared: Box<Prepared>, stop: &mut dyn FnMut() -> bool) -> Result<Started, Error> {
    let shares = prepared.shares_memory();
    let turn = Turn::take(prepared.plan.changes_ids() && shares, stop)?;
    let hidden = prepared.plan.hidden.then(sys::Hidden::begin);
    let cloned = clone(&prepared)?;
    let turn = Some(turn).filter(|_| shares);
    let pidfd = cloned.pidfd.ok_or_else(|| prepare::duty("get a pidfd of the child", Errno::BADF))?;
    let (pid, parked, process) = (cloned.pid, false, sys::own_process());
    let (first, listener, bound) = (None, None, Bound::new());
    let started = Started { pid, pidfd, first, listener, prepared, parked, hidden, bound, process };
    let done = Guarded(Some(started)).set_up(stop);
    // Not before: until then the memory may be that of a child which is another user already.
    drop(turn);
    done
}

#[expect(clippy::borrowed_box, reason = "the box is what keeps it in its place")]
fn clone(prepared: &Box<Prepared>) -> Result<sys::Cloned, Error> {
    child::clone(prepared).map_err(|errno| {
        let kinds = prepared.plan.namespaces;
        let what = if kinds.is_empty() {
            "create a process".to_owned()
        } else {
            format!("create a process with new namespaces ({kinds})")
        };
        Error::Clone { what, errno: errno.raw_os_error(), advice: advice::clone(kinds, errno), layer: None }
    })
}

/// Does what the plan asks of the parent, for this child, and lets that go on.
pub(super) fn duties(
    prepared: &Prepared,
    (pid, pidfd): (i32, BorrowedFd<'_>),
    bound: &mut Bound,
    stop: &mut dyn FnMut() -> bool,
    stopped: impl Fn() -> Error,
) -> Result<(), Error> {
    if prepared.plan.duties.is_empty() {
        return Ok(());
    }
    let seen = seen_in_proc(pid, pidfd)?;
    for duty in &prepared.plan.duties {
        if !perform(duty, prepared, (pid, seen), bound, stop)? {
            return Err(stopped());
        }
    }
    speak(prepared, wire::GO);
    Ok(())
}

pub(super) fn pidfd_of(pid: i32) -> Result<OwnedFd, Error> {
    let pid = Pid::from_raw(pid).ok_or(Errno::SRCH);
    pid.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()))
        .map_err(|errno| prepare::duty("open a pidfd of the command", errno))
}

/// By its number here, /proc may show another process: one whose map would then be written.
pub(super) fn seen_in_proc(pid: i32, pidfd: BorrowedFd<'_>) -> Result<i32, Error> {
    let what = || format!("find process {pid} in /proc");
    let seen = find_in_proc(pidfd).map_err(|error| duty_in_proc(what(), &error))?;
    seen.ok_or_else(|| Error::Duty {
        what: what(),
        errno: None,
        advice: Advice::new(
            "what is mounted on /proc shows another pid namespace than this process's own",
            "mount -t proc proc /proc",
        ),
        layer: None,
    })
}

/// The word for which the child waits.
pub(super) fn speak(prepared: &Prepared, word: u32) {
    let go = &prepared.control.go;
    go.store(word, Release);
    let _ = futex::wake(go, futex::Flags::empty(), 1);
}

/// Without its maps it is worth nothing.
const USER: Option<Layer> = Some(Layer::Kind(Namespace::User));

/// False if it was stopped.
fn perform(
    duty: &Duty,
    prepared: &Prepared,
    (pid, seen): (i32, i32),
    bound: &mut Bound,
    stop: &mut dyn FnMut() -> bool,
) -> Result<bool, Error> {
    match duty {
        Duty::Write { file, content } => {
            let write = || {
                let proc = prepared.proc.as_ref().ok_or(Errno::BADF)?;
                let path = format!("{seen}/{file}");
                let file = rustix::fs::openat(proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::io::write(&file, content.as_bytes())
            };
            let failed = |errno: Errno| Error::Duty {
                what: in_words(duty, pid),
                errno: Some(errno.raw_os_error()),
                advice: advice::write_map(file, content.as_bytes(), errno),
                layer: USER.filter(|_| layers::is_refusal(errno.raw_os_error())),
            };
            write().map(|_| true).map_err(failed)
        }
        Duty::Helper { program, args } => run_helper(program, args, seen, stop),
        Duty::Persist { kind, file } => {
            let link = format!("/proc/{seen}/ns/{}", kind.link());
            bound
                .bind(&link, file)
                .map(|()| true)
                .map_err(|errno| Error::duty(in_words(duty, pid), errno, advice::persist(*kind, errno)))
        }
        Duty::JoinCgroup(dir) => cgroup::join(in_words(duty, pid), dir, pid).map(|()| true),
        Duty::Foreground => foreground(pid)
            .map(|()| true)
            .map_err(|errno| Error::duty(in_words(duty, pid), errno, advice::foreground(errno))),
    }
}

/// A duty with the pid that a plan does not know.
fn in_words(duty: &Duty, pid: i32) -> String {
    duty.to_string().replace("PID", &pid.to_string())
}

/// By the parent, all three: what is typed meanwhile reaches either its old job or both in the new one.
fn foreground(pid: i32) -> Result<(), Errno> {
    let group = rustix::process::Pid::from_raw(pid);
    rustix::process::setpgid(group, group)?;
    rustix::termios::tcsetpgrp(rustix::stdio::stdin(), group.ok_or(Errno::SRCH)?)?;
    rustix::process::setpgid(None, group)
}

/// newuidmap(1) by absolute path, with an empty environment: it has privileges, and the caller's `PATH` decides nothing.
fn run_helper(program: &str, args: &[u32], pid: i32, stop: &mut dyn FnMut() -> bool) -> Result<bool, Error> {
    let found = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"]
        .into_iter()
        .map(|dir| format!("{dir}/{program}"))
        .find(|path| rustix::fs::access(path.as_str(), rustix::fs::Access::EXEC_OK).is_ok());
    let Some(path) = found else {
        return Err(Error::Duty {
            what: format!("run {program}"),
            errno: Some(libc::ENOENT),
            advice: advice::no_helper(),
            layer: USER,
        });
    };
    let ids = std::iter::once(pid.to_string()).chain(args.iter().map(u32::to_string));
    let mut helper = Helper::new(&path);
    helper.args(ids).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let failed =
        |errno, advice| Error::Duty { what: format!("map ids with {path}"), errno, advice, layer: USER };
    match wait_for_helper(&mut helper, stop) {
        Err(error) => Err(failed(error.raw_os_error(), Advice::default())),
        Ok(None) => Ok(false),
        Ok(Some((status, _))) if status.success() => Ok(true),
        Ok(Some((_, said))) => {
            Err(failed(None, advice::helper_refused(said.trim().replace('\n', "; ").as_str())))
        }
    }
}

/// Its status, and what it said on standard error; nothing if it was stopped. It may wait for a name service.
fn wait_for_helper(
    helper: &mut Helper,
    stop: &mut dyn FnMut() -> bool,
) -> io::Result<Option<(ExitStatus, String)>> {
    let mut child = helper.spawn()?;
    let (mut said, mut ended) = (Vec::new(), false);
    while !ended {
        if let Some(stderr) = &mut child.stderr {
            let ready = poll(&mut [PollFd::new(stderr, PollFlags::IN)], Some(&SLICE));
            let mut bytes = [0; 512];
            match ready {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => match stderr.read(&mut bytes)? {
                    // Nothing more to be said: what is left is its end.
                    0 => drop(child.stderr.take()),
                    n => said.extend_from_slice(&bytes[..n]),
                },
                Err(errno) => return Err(errno.into()),
            }
        } else if !matches!(child.try_wait(), Ok(None)) {
            ended = true;
        } else {
            std::thread::sleep(Duration::from_micros(100));
        }
        if !ended && stop() {
            // Its real user is ours, whatever its effective one is.
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
    }
    let said = String::from_utf8_lossy(&said).into_owned();
    match child.wait() {
        // The caller ignores SIGCHLD, so the kernel has collected it. One that fails says so.
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {
            Ok(Some((ExitStatus::from_raw(if said.is_empty() { 0 } else { 1 << 8 }), said)))
        }
        status => Ok(Some((status?, said))),
    }
}

impl Started {
    /// Until the child has become the command or is parked.
    fn set_up(&mut self, stop: &mut dyn FnMut() -> bool) -> Result<(), Error> {
        self.second_stage(stop)?;
        let mut bound = std::mem::replace(&mut self.bound, Bound::new());
        let process = (self.pid, self.pidfd.as_fd());
        let done = duties(&self.prepared, process, &mut bound, stop, || self.stopped());
        self.bound = bound;
        done?;
        self.prepared.cgroup.as_ref().map_or(Ok(()), cgroup::OwnCgroup::set_beside)?;
        self.arrive(stop)
    }

    /// Until the child has left this memory or is parked.
    fn arrive(&mut self, stop: &mut dyn FnMut() -> bool) -> Result<(), Error> {
        self.parked = self.wait(stop)?;
        if self.parked {
            return Ok(());
        }
        self.hidden = None;
        // The first child ends when the command has left its memory, or was killed.
        if let Some(first) = self.first.take() {
            // ECHILD: the caller ignores SIGCHLD, so the kernel has collected it.
            let _ = ending::collect(first.as_fd());
        }
        Ok(())
    }

    /// Where a first child joins: waits until it has made the command, which then is the child.
    fn second_stage(&mut self, stop: &mut dyn FnMut() -> bool) -> Result<(), Error> {
        while self.prepared.plan.is_staged() {
            let control = &self.prepared.control;
            match control.stage.load(Acquire) {
                wire::SECOND => return self.take_over(),
                wire::STUCK => return Err(self.failure()),
                _ => {}
            }
            let slept = futex::wait(&control.stage, futex::Flags::empty(), wire::FIRST, Some(&SLICE));
            if slept == Err(Errno::TIMEDOUT) || slept == Err(Errno::INTR) {
                if stop() {
                    return Err(self.stopped());
                }
                if self.has_ended() && control.stage.load(Acquire) == wire::FIRST {
                    // It may have made the command, which has said nothing yet.
                    return if self.made() != 0 { self.take_over() } else { Err(self.died()) };
                }
            }
        }
        Ok(())
    }

    /// The number of the command that the first child has made, or 0. It is our child, and nobody has collected it: the number is its
    /// own.
    fn made(&self) -> i32 {
        self.prepared.control.command.load(Acquire) as i32
    }

    /// From now on the command is the child.
    fn take_over(&mut self) -> Result<(), Error> {
        let pid = self.made();
        let pidfd = pidfd_of(pid)?;
        self.first = Some(std::mem::replace(&mut self.pidfd, pidfd));
        self.pid = pid;
        Ok(())
    }

    /// Lets a parked child go on to exec.
    pub(crate) fn release(&mut self, stop: &mut dyn FnMut() -> bool) -> Result<(), Error> {
        if self.process != sys::own_process() {
            return Err(Error::invalid_with(
                "a parked process is started by the one that parked it, and not by a fork of that",
                Advice { why: vec![], fix: vec!["start it there, or park one here".to_owned()] },
            ));
        }
        let spoken = match &self.prepared.gate {
            Some((_, writer)) => rustix::io::write(writer, b"!"),
            None => Ok(0),
        };
        self.prepared.control.life.compare_exchange(wire::PARKED, wire::RUNNING, Release, Acquire).ok();
        spoken.map_err(|errno| prepare::duty("start the parked child", errno))?;
        self.stay_awake();
        self.arrive(stop)
    }

    /// Looks at the word for a moment without sleeping: exec would have to wake this processor, before it goes on, and that
    /// costs the child more than exec itself. Where both have one processor, the child gets it.
    fn stay_awake(&self) {
        let begun = Instant::now();
        while self.prepared.control.life.load(Acquire) == wire::RUNNING && begun.elapsed() < AWAKE {
            std::thread::yield_now();
        }
    }

    /// Waits until the child has become the command (`false`) or is parked (`true`).
    fn wait(&mut self, stop: &mut dyn FnMut() -> bool) -> Result<bool, Error> {
        loop {
            let life = self.prepared.control.life.load(Acquire);
            // In this order: it was sent before the child became what it is.
            self.take_listener()?;
            let control = &self.prepared.control;
            let steps = &self.prepared.plan.steps;
            match life {
                // It has ended since it said so: killed, or where this process was stopped for long.
                wire::GONE | wire::LEFT if control.errno.load(Acquire) != 0 => return Err(self.failure()),
                // The end of the shared memory means exec only if exec was what the child was at.
                wire::GONE | wire::LEFT if self.at() + 1 == steps.len() => {
                    return self.check_time().map(|()| false);
                }
                wire::GONE | wire::LEFT => return Err(self.died()),
                wire::PARKED => return Ok(true),
                wire::FAILED => return Err(self.failure()),
                _ => {}
            }
            let slept = match &self.prepared.listener {
                None => futex::wait(&control.life, futex::Flags::empty(), life, Some(&SLICE)),
                Some(passage) => match passage.serve(self.listener.as_ref(), control) {
                    Ok(()) | Err(Errno::INTR) => Err(Errno::TIMEDOUT),
                    Err(errno) => return Err(prepare::duty("let set-up's own calls through", errno)),
                },
            };
            if slept == Err(Errno::TIMEDOUT) || slept == Err(Errno::INTR) {
                if stop() {
                    return Err(self.stopped());
                }
                // A child with memory of its own, or one that was killed, does not clear the word.
                if self.has_ended() && wire::is_at_work(control.life.load(Acquire)) {
                    return Err(self.died());
                }
            }
        }
    }

    fn take_listener(&mut self) -> Result<(), Error> {
        if let (Some(passage), None) = (&self.prepared.listener, &self.listener) {
            let received = passage.receive();
            self.listener = received.map_err(|errno| prepare::duty("get the seccomp listener", errno))?;
        }
        Ok(())
    }

    /// Older kernels enter a new time namespace at fork only, and a child in shared memory has not forked.
    fn check_time(&self) -> Result<(), Error> {
        let plan = &self.prepared.plan;
        let forked = plan.steps.contains(&Step::Reap) || plan.is_copied();
        if forked || !plan.namespaces.contains(Namespace::Time) {
            return Ok(());
        }
        let link = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/time")).ok();
        let (pid, own) = (self.seen().to_string(), link("thread-self"));
        loop {
            // In this order: exec enters the namespace after it has left our memory, and is past that when it is past exec.
            let past = self.is_past_exec();
            // One that has ended already can't be asked.
            let still_ours = own.is_some() && link(&pid) == own;
            match (still_ours, past) {
                (false, _) => return Ok(()),
                (true, false) => std::thread::yield_now(),
                (true, true) => {
                    return Err(Error::Clone {
                        what: "enter the new time namespace at exec".to_owned(),
                        errno: libc::ENOSYS,
                        advice: Advice::new(
                            "this kernel enters time namespaces at fork only",
                            "use a newer kernel, or leave -T out",
                        ),
                        layer: Some(Layer::Kind(Namespace::Time)),
                    });
                }
            }
        }
    }

    /// Whether the kernel counts the child as one that has executed a program (PF_FORKNOEXEC of proc_pid_stat(5)).
    fn is_past_exec(&self) -> bool {
        const PF_FORKNOEXEC: u64 = 0x40;
        let flags = stat_field(self.seen() as u32, 9).and_then(|flags| flags.parse::<u64>().ok());
        flags.is_none_or(|flags| flags & PF_FORKNOEXEC == 0)
    }

    /// Its number in /proc.
    fn seen(&self) -> i32 {
        pid_in_proc(self.pidfd.as_fd()).unwrap_or(self.pid)
    }

    fn has_ended(&self) -> bool {
        ending::has_ended(self.pidfd.as_fd(), false) == Ok(true)
    }

    fn at(&self) -> usize {
        self.prepared.control.step.load(Acquire) as usize
    }

    fn stopped(&self) -> Error {
        let at = self.at();
        Error::Died {
            what: self.step_in_words(at),
            step: at + 1,
            signal: Some(libc::SIGKILL),
            advice: Advice::default(),
        }
    }

    fn died(&self) -> Error {
        if self.prepared.control.errno.load(Acquire) != 0 {
            return self.failure();
        }
        let at = self.at();
        let ended = ending::collect(self.pidfd.as_fd());
        let signal = ended.map(|ended| ended.status & 0x7f).filter(|signal| *signal != 0);
        let advice = match &self.prepared.cgroup {
            Some(cgroup) if signal == Some(libc::SIGKILL) => cgroup.explain_death(),
            _ if signal == Some(libc::SIGSYS) => advice::killed_by_filter(),
            _ => Advice::default(),
        };
        Error::Died { what: self.step_in_words(at), step: at + 1, signal, advice }
    }

    fn step_in_words(&self, at: usize) -> String {
        self.prepared.plan.steps.get(at).map_or_else(|| "begin".to_owned(), Step::to_string)
    }

    /// The failed child is still there, so that its files can be looked at as it sees them.
    pub(super) fn failure(&self) -> Error {
        let control = &self.prepared.control;
        let at = self.at();
        let errno = control.errno.load(Acquire);
        let plan = &self.prepared.plan;
        let (program, advice) = match plan.steps.get(at) {
            Some(Step::Exec(_)) => {
                let tried = (control.candidate.load(Acquire) as usize).checked_sub(1);
                let path = tried.and_then(|n| self.prepared.programs.get(n));
                let (program, mut advice) =
                    advice::exec(self.seen(), path.map(|path| path.as_c_str()), errno);
                if errno == libc::EACCES
                    && plan
                        .steps
                        .iter()
                        .any(|step| matches!(step, Step::Landlock(rules) if rules.handled_files != 0))
                {
                    advice = advice::landlock_exec();
                }
                (Some(program), advice)
            }
            Some(step) => (None, advice::step(step, plan, errno)),
            None => (None, Advice::default()),
        };
        let closed = earlier::closed_root(plan, at, errno);
        // Without that root all else is out of reach, too.
        let layer = plan.steps.get(at).filter(|_| closed.is_none());
        Error::Step {
            what: self.step_in_words(at),
            step: at + 1,
            of: plan.steps.len(),
            errno,
            advice: closed.unwrap_or_else(|| earlier::explain(plan, at, errno, advice)),
            program,
            layer: layer.and_then(|step| layers::of_step(step, errno)),
        }
    }

    /// Kills the child, whatever it is at, and waits until nothing is left of it. One that hangs in the kernel, at a file system of
    /// others, is given up, and so is the memory that it may be in.
    pub(crate) fn end(mut self) {
        if self.process != sys::own_process() {
            return;
        }
        self.bound = Bound::new();
        let mut gone = true;
        for process in std::iter::once(&self.pidfd).chain(&self.first) {
            let _ = sys::pidfd_send_signal(process.as_fd(), libc::SIGKILL);
            gone &= ending::collect_soon(process.as_fd(), DYING);
        }
        // Made by the first child, and not taken over yet.
        let made = self.made();
        if gone && self.prepared.plan.is_staged() && self.first.is_none() && made != 0 {
            gone = match pidfd_of(made) {
                Ok(second) => {
                    let _ = sys::pidfd_send_signal(second.as_fd(), libc::SIGKILL);
                    ending::collect_soon(second.as_fd(), DYING)
                }
                // No descriptor is to be had.
                Err(_) => {
                    sys::kill(made, libc::SIGKILL);
                    ending::collect_by_number(made, DYING)
                }
            };
        }
        if !gone {
            std::mem::forget(self);
        }
    }
}
