//! Starting what is wanted, and the process that came of it.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output};
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::cgroup::Account;
use crate::command::Command;
use crate::engine::ending::{self, Withheld};
use crate::engine::{self, OwnCgroup, Started, wire};
use crate::error::Error;
use crate::host::Host;
use crate::plan::{Plan, Way};
use crate::seccomp::Listener;
use crate::stdio::Stdio;
use crate::sys::{self, Change, Ended};

impl Command {
    /// What would be done, in order. Nothing is touched; facts about the host are read.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the command contradicts itself.
    pub fn plan(&self) -> Result<Plan, Error> {
        Plan::lower(self, &Host::for_command(self)?.0, Way::Spawn, false)
    }

    /// What [`park`](Self::park) would do, in order, and then [`Parked::start`].
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn plan_parked(&self) -> Result<Plan, Error> {
        Plan::lower(self, &Host::for_command(self)?.0, Way::Spawn, true)
    }

    /// What would be done on a host with these facts.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the command contradicts itself or the facts.
    pub fn plan_for(&self, host: &Host) -> Result<Plan, Error> {
        Plan::lower(self, host, Way::Spawn, false)
    }

    /// What [`exec`](Self::exec) would do, in order.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub fn plan_in_place(&self) -> Result<Plan, Error> {
        Plan::lower(self, &Host::for_command(self)?.0, Way::InPlace, false)
    }

    /// Moves the calling process itself, by unshare(2) and setns(2), and makes it the command: same process id, same
    /// parent. Comes back only if that fails, and the process may have moved by then, and descriptors be closed that exec
    /// would close, or that are not kept ([`keep_fds`](Self::keep_fds)); ids, limits, capabilities and filters may be the command's, no
    /// signal may be blocked, and SIGPIPE end it: end it by [`std::process::exit`].
    ///
    /// Id maps that need other rights than the command's are served by a helper, which is gone before exec. In a program
    /// with threads a user namespace, and what needs a helper, is [`Error::Invalid`]. A new or joined pid namespace is
    /// that of the command's children only.
    pub fn exec(&mut self) -> Error {
        let prepared = || {
            let (host, joins) = Host::for_command(self)?;
            let plan = Plan::lower(self, &host, Way::InPlace, false)?;
            engine::check(&plan)?;
            engine::prepare(self, plan, joins)
        };
        match prepared() {
            Ok(prepared) => engine::exec(Box::new(prepared)),
            Err(error) => error,
        }
    }

    /// Starts the command. Comes back once exec has succeeded.
    ///
    /// Until then a caller with capabilities, and one whose child changes its ids, may be not dumpable, prctl(2). Afterwards the mark
    /// is what it was before; one that the caller sets itself meanwhile is taken back. What another thread forks meanwhile, and
    /// executes nothing, has that mark until it starts a command of its own, or sets it; where the fork came just as the last of them ended, until it sets it.
    ///
    /// # Errors
    /// Any variant of [`Error`]. Nothing is left behind then.
    pub fn spawn(&mut self) -> Result<Child, Error> {
        self.spawn_unless(|| false)
    }

    /// As [`spawn`](Self::spawn); while set-up takes longer than usual, asks `stop` every 20 ms whether to give up. `stop` may start
    /// other commands, but where one of both changes ids ([`uid`](Self::uid), [`gid`](Self::gid), [`groups`](Self::groups), files
    /// of other owners).
    ///
    /// # Errors
    /// [`Error::Died`] after `stop` said so, [`Error::Invalid`] for such a start of `stop`'s, else as `spawn`.
    pub fn spawn_unless(&mut self, mut stop: impl FnMut() -> bool) -> Result<Child, Error> {
        let defaults = [Stdio::inherit(), Stdio::inherit(), Stdio::inherit()];
        Ok(Child::from(self.start(defaults, false, &mut stop)?))
    }

    /// Starts the command and waits for its end.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn status(&mut self) -> Result<ExitStatus, Error> {
        self.refuse_listener()?;
        let mut child = self.spawn()?;
        child.wait().map_err(|error| wait_failed(&error))
    }

    /// Starts the command, waits for its end, and collects what it wrote.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn output(&mut self) -> Result<Output, Error> {
        self.refuse_listener()?;
        let defaults = [Stdio::null(), Stdio::piped(), Stdio::piped()];
        let child = Child::from(self.start(defaults, false, &mut || false)?);
        child.wait_with_output().map_err(|error| wait_failed(&error))
    }

    fn refuse_listener(&self) -> Result<(), Error> {
        if self.seccomp_listener {
            return Err(Error::invalid(
                "a command with a seccomp listener is started by spawn: else nobody would answer",
            ));
        }
        Ok(())
    }

    /// Does everything but exec. [`Parked::start`] does that, within microseconds. A caller with capabilities is not dumpable
    /// meanwhile, as [`spawn`](Self::spawn) says.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn), but for what only exec can find out.
    pub fn park(&mut self) -> Result<Parked, Error> {
        self.park_unless(|| false)
    }

    /// As [`park`](Self::park); while set-up takes longer than usual, asks `stop` as [`spawn_unless`](Self::spawn_unless) does.
    ///
    /// # Errors
    /// As `spawn_unless`.
    pub fn park_unless(&mut self, mut stop: impl FnMut() -> bool) -> Result<Parked, Error> {
        let defaults = [Stdio::inherit(), Stdio::inherit(), Stdio::inherit()];
        Ok(Parked { started: Some(self.start(defaults, true, &mut stop)?) })
    }

    fn start(
        &mut self,
        defaults: [Stdio; 3],
        park: bool,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<Started, Error> {
        // The defaults that are not "inherit" are redirections, too, for this time.
        let mut defaulted = [false; 3];
        for ((stream, default), is) in self.stdio.iter_mut().zip(defaults).zip(&mut defaulted) {
            if stream.is_none() && !matches!(default.0, crate::stdio::Kind::Inherit) {
                (*stream, *is) = (Some(default), true);
            }
        }
        let started = self.start_or_do_without(park, stop);
        for (stream, _) in self.stdio.iter_mut().zip(defaulted).filter(|(_, is)| *is) {
            *stream = None;
        }
        started
    }

    fn start_or_do_without(&mut self, park: bool, stop: &mut dyn FnMut() -> bool) -> Result<Started, Error> {
        self.fit_landlock();
        let mut tries = 0;
        loop {
            let mut plan = None;
            let error = match self.start_once(park, stop, &mut plan) {
                Ok(started) => return Ok(started),
                Err(error) => self.blame(error, plan.as_ref()),
            };
            tries += 1;
            // There are not so many layers to be given up.
            if tries == MOST_TRIES || !self.give_up(&error, plan.as_ref()) || stop() {
                return Err(error);
            }
        }
    }

    /// One try. The plan is kept in `tried` where a failure may be no end.
    pub(crate) fn start_once(
        &self,
        park: bool,
        stop: &mut dyn FnMut() -> bool,
        tried: &mut Option<Plan>,
    ) -> Result<Started, Error> {
        let (host, joins) = Host::for_command(self)?;
        let plan = Plan::lower(self, &host, Way::Spawn, park)?;
        if !self.if_possible.is_empty() {
            *tried = Some(plan.clone());
        }
        engine::start(Box::new(engine::prepare(self, plan, joins)?), stop)
    }
}

/// What there is, as far as it comes at once.
fn read_piece(from: &mut impl Read, to: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 16 * 1024];
    loop {
        match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => {
                let count = read?;
                to.extend_from_slice(piece.get(..count).unwrap_or_default());
                return Ok(count);
            }
        }
    }
}

/// More than there are layers.
const MOST_TRIES: u32 = 64;

fn wait_failed(error: &io::Error) -> Error {
    Error::Duty {
        what: "wait for the command".to_owned(),
        errno: error.raw_os_error(),
        advice: crate::error::Advice::default(),
        layer: None,
    }
}

/// A process in which everything is done but exec. Dropped without a start, it leaves nothing behind. A fork of its owner has a copy of
/// this, which starts and ends nothing.
#[derive(Debug)]
pub struct Parked {
    started: Option<Started>,
}

impl Parked {
    /// Its process id, as the caller sees it.
    pub fn id(&self) -> u32 {
        self.started.as_ref().map_or(0, |started| started.pid as u32)
    }

    /// Its seccomp listener, once; [`Command::seccomp_listener`]. Who takes it here must answer what set-up still calls, too:
    /// execve(2), perhaps, while [`start`](Self::start) waits for that.
    pub fn seccomp_listener(&mut self) -> Option<Listener> {
        self.started.as_mut()?.listener.take().map(Listener::from)
    }

    /// Lets it go; comes back once exec has succeeded.
    ///
    /// # Errors
    /// [`Error::Step`] where the program can't be executed; [`Error::Invalid`] in a fork of who has parked it.
    pub fn start(self) -> Result<Child, Error> {
        self.start_unless(|| false)
    }

    /// As [`start`](Self::start); while that takes longer than usual, asks `stop` every 20 ms whether to give up.
    ///
    /// # Errors
    /// [`Error::Died`] after `stop` said so, else as `start`.
    pub fn start_unless(mut self, mut stop: impl FnMut() -> bool) -> Result<Child, Error> {
        // Where it fails, or `stop` panics, it ends with this.
        if let Some(started) = &mut self.started {
            started.release(&mut stop)?;
        }
        let started = self.started.take().map(Child::from);
        started.ok_or_else(|| Error::invalid("the parked process has been started already"))
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if let Some(started) = self.started.take() {
            started.end();
        }
    }
}

/// What a command used: [`Child::usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// User CPU time of the command and of the descendants that it waited for.
    pub user: Duration,
    /// System CPU time of the same.
    pub system: Duration,
}

/// A running command, held by a pidfd: neither waiting nor signalling can hit another process.
///
/// As std's, it is not killed or waited for when it is dropped.
#[derive(Debug)]
pub struct Child {
    /// Its standard input, if that is [`Stdio::piped`].
    pub stdin: Option<ChildStdin>,
    /// Its standard output, if that is [`Stdio::piped`].
    pub stdout: Option<ChildStdout>,
    /// Its standard error, if that is [`Stdio::piped`].
    pub stderr: Option<ChildStderr>,
    pid: i32,
    pidfd: OwnedFd,
    /// Kept where a reaper tells in it how the command ended.
    control: Option<sys::Shared<wire::Control>>,
    ended: Option<Ended>,
    withheld: Withheld,
    cgroup: Option<OwnCgroup>,
    account: Option<Account>,
    listener: Option<Listener>,
}

impl From<Started> for Child {
    fn from(started: Started) -> Self {
        let mut started = started;
        started.bound.keep();
        let mut prepared = *started.prepared;
        // As the process itself, it stays if nobody waits.
        if let Some(cgroup) = &mut prepared.cgroup {
            cgroup.armed = false;
        }
        let [stdin, stdout, stderr] = prepared.pipes;
        Self {
            stdin: stdin.map(ChildStdin::from),
            stdout: stdout.map(ChildStdout::from),
            stderr: stderr.map(ChildStderr::from),
            pid: started.pid,
            pidfd: started.pidfd,
            control: prepared.second_stack.is_some().then_some(prepared.control),
            ended: None,
            withheld: Withheld::default(),
            cgroup: prepared.cgroup,
            account: None,
            listener: started.listener.map(Listener::from),
        }
    }
}

/// What [`Child::poll_change`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No change.
    Running,
    /// Stopped by this signal.
    Stopped(i32),
    /// Ended.
    Ended(ExitStatus),
}

impl Child {
    /// Its process id, as the caller sees it. With [`Command::init`], the reaper's.
    pub fn id(&self) -> u32 {
        self.pid as u32
    }

    /// Waits for its end; closes its standard input first. A tracer that does not wait for what it traces keeps its end from it: after
    /// a second the status is that of proc_pid_stat(5), and no usage is known.
    ///
    /// # Errors
    /// ECHILD where the caller ignores SIGCHLD, or has waited for it by other means.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        loop {
            if let State::Ended(status) = self.change(true, false)? {
                return Ok(status);
            }
        }
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        Ok(match self.change(false, false)? {
            State::Ended(status) => Some(status),
            _ => None,
        })
    }

    /// Whether it stopped or ended since it was last asked. Does not wait. Of a stop below a reaper the caller gets no SIGCHLD.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn poll_change(&mut self) -> io::Result<State> {
        Ok(match self.change(false, true)? {
            State::Running => self.stopped_below_reaper().map_or(State::Running, State::Stopped),
            state => state,
        })
    }

    /// The signal that has stopped the command, as a reaper told it; once.
    fn stopped_below_reaper(&self) -> Option<i32> {
        let signal = self.control.as_ref()?.stopped.swap(0, AcqRel);
        i32::try_from(signal).ok().filter(|signal| *signal != 0)
    }

    fn change(&mut self, block: bool, stops: bool) -> io::Result<State> {
        if self.ended.is_none() {
            let change = ending::wait(self.pidfd.as_fd(), block, stops, &mut self.withheld);
            if matches!(change, Ok(Change::Ended(_)) | Err(_)) {
                // What is left in the cgroup is not to outlive the command, whoever has collected that.
                self.end_cgroup();
            }
            match change? {
                Change::Ended(ended) => self.ended = Some(ended),
                Change::Stopped(signal) => return Ok(State::Stopped(signal)),
                Change::None => return Ok(State::Running),
            }
        }
        let raw = match (&self.control, self.ended) {
            (Some(control), ended) => match control.status.load(Acquire) {
                wire::NOT_ENDED => ended.map_or(0, |ended| ended.status),
                status => status as i32,
            },
            (None, ended) => ended.map_or(0, |ended| ended.status),
        };
        Ok(State::Ended(ExitStatus::from_raw(raw)))
    }

    /// Waits for its end and collects what it wrote to its pipes.
    ///
    /// # Errors
    /// Of reading, and as [`wait`](Self::wait).
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (mut out, mut err) = (self.stdout.take(), self.stderr.take());
        // Both at once: a command that fills one pipe while the other is read would wait for ever.
        while let (Some(first), Some(second)) = (&mut out, &mut err) {
            let ready = {
                let mut pipes = [PollFd::new(first, PollFlags::IN), PollFd::new(second, PollFlags::IN)];
                match poll(&mut pipes, None) {
                    Err(Errno::INTR) => continue,
                    polled => drop(polled?),
                }
                pipes.map(|pipe| !pipe.revents().is_empty())
            };
            if ready[0] && read_piece(first, &mut stdout)? == 0 {
                out = None;
            }
            if ready[1] && read_piece(second, &mut stderr)? == 0 {
                err = None;
            }
        }
        out.map(|mut out| out.read_to_end(&mut stdout)).transpose()?;
        err.map(|mut err| err.read_to_end(&mut stderr)).transpose()?;
        let status = self.wait()?;
        Ok(Output { status, stdout, stderr })
    }

    /// Kills it with SIGKILL; what is frozen ([`freeze`](Self::freeze)) by version 1 is thawed for that. One that has ended already is no
    /// error.
    ///
    /// # Errors
    /// EPERM where it has become another user's.
    pub fn kill(&mut self) -> io::Result<()> {
        let done = self.signal(libc::SIGKILL);
        // Not before: it is not to run again.
        if let Some(cgroup) = &self.cgroup {
            cgroup.let_die();
        }
        done
    }

    /// Sends it a signal, by number. One that has ended already is no error, whatever the number.
    ///
    /// A process that is PID 1 of its pid namespace drops signals that it has no handler for, but SIGKILL and SIGSTOP.
    ///
    /// # Errors
    /// EINVAL for what is no signal, EPERM where it has become another user's.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        match sys::pidfd_send_signal(self.pidfd.as_fd(), signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Gives up waiting for a command that was killed and that the kernel does not let go of: what is in its own cgroup is killed,
    /// and the cgroup removed if it can be.
    pub fn abandon(&mut self) {
        self.end_cgroup();
    }

    fn end_cgroup(&mut self) {
        if let Some(mut cgroup) = self.cgroup.take() {
            self.account = cgroup.end();
        }
    }

    /// What its own cgroup counted, once it was waited for.
    pub fn account(&self) -> Option<Account> {
        self.account
    }

    /// Stops all processes of its own cgroup, and comes back when they stand still. Needs [`Cgroup::freezer`]. Of version 1 such a process
    /// takes no signal, SIGKILL neither, but by [`kill`](Self::kill).
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) without a cgroup that can; what the kernel says.
    ///
    /// [`Cgroup::freezer`]: crate::Cgroup::freezer
    pub fn freeze(&self) -> io::Result<()> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub fn thaw(&self) -> io::Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        match &self.cgroup {
            Some(cgroup) => cgroup.freeze(frozen),
            None => Err(io::Error::new(io::ErrorKind::Unsupported, "the command has no cgroup of its own")),
        }
    }

    /// Its seccomp listener, once; [`Command::seccomp_listener`]. As long as nobody answers, the command waits in the calls
    /// that its filter asks about; when the listener, or this with it, is dropped, they fail with ENOSYS.
    pub fn seccomp_listener(&mut self) -> Option<Listener> {
        self.listener.take()
    }

    /// The CPU time that it used, once it was waited for.
    pub fn usage(&self) -> Option<Usage> {
        let (user, system) = self.ended?.usage_us?;
        Some(Usage { user: Duration::from_micros(user), system: Duration::from_micros(system) })
    }
}

impl AsFd for Child {
    /// The pidfd: readable once the process has ended (Linux 5.3).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
