//! Standing between the outside and the command: signals, time, the terminal, and the end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};
use sept::signal::{Received, Receiver};
use sept::{Account, Child, State, Usage};

use crate::descendants::Descendants;
use crate::disposition::{
    SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH,
};
use crate::failure::Failure;
use crate::job::{Background, has_terminal, inherit_terminal, is_hung_up, own_group};
use crate::pending::Pending;
use crate::report;
use crate::rest;
use crate::terminal::{Relay, Turn};

/// How it went.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub timed_out: bool,
    /// The signal whose default action was carried out for a PID 1.
    pub carried_out: Option<i32>,
}

impl Outcome {
    /// The signal that ended the command, as the user is told.
    pub fn signal(&self) -> Option<i32> {
        match (self.status.signal(), self.carried_out) {
            (Some(SIGKILL), Some(signal)) => Some(signal),
            (signal, _) => signal,
        }
    }

    /// Whether SIGINT has ended it. A PID 1 that catches that, and then wants to end by it, does not: for it the kernel drops that, and
    /// it exits as a shell would say it.
    pub fn is_interrupted(&self, is_pid_1: bool, watch: &Watch) -> bool {
        let said = is_pid_1 && self.status.code() == Some(128 + SIGINT) && watch.is_just_interrupted();
        !self.timed_out && (said || self.signal() == Some(SIGINT))
    }

    /// What `sept` exits with.
    pub fn code(&self) -> u8 {
        if self.timed_out {
            return 124;
        }
        match (self.signal(), self.status.code()) {
            (Some(signal), _) => 128_u8.wrapping_add(signal as u8),
            (None, code) => code.unwrap_or(125) as u8,
        }
    }
}

/// What is watched while a command starts and runs.
pub struct Watch {
    pub signals: Receiver,
    pub deadline: Option<Instant>,
    /// The process whose end ends everything.
    pub parent: Option<OwnedFd>,
    /// What came while the command was being started, and made an end of it.
    pub early: Option<Early>,
    /// What else came by then: Ctrl-Z, say. It is the command's once that runs.
    kept: VecDeque<Received>,
    /// Whether somebody wanted an end of it.
    told: bool,
    /// When Ctrl-C was typed last.
    interrupted: Option<Instant>,
}

/// Why a start was given up.
#[derive(Clone, Copy, Debug)]
pub enum Early {
    Signal(i32),
    TimedOut,
    ParentEnded,
}

impl Early {
    pub fn signal(self) -> Option<i32> {
        if let Self::Signal(signal) = self { Some(signal) } else { None }
    }
}

impl Watch {
    pub fn new(timeout: Option<Duration>, die_with_parent: bool) -> Result<Self, Failure> {
        let parent = die_with_parent.then(open_parent).transpose()?;
        let signals = Receiver::new().map_err(|error| Failure::io("cannot receive signals", &error))?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Ok(Self {
            signals,
            deadline,
            parent,
            early: None,
            kept: VecDeque::new(),
            told: false,
            interrupted: None,
        })
    }

    /// Whether to give up a start that hangs.
    pub fn give_up(&mut self) -> bool {
        while let Ok(Some(received)) = self.signals.next() {
            if wants_an_end(received.signal) {
                self.note_interrupt(received);
                self.early = Some(Early::Signal(received.signal));
            } else {
                self.kept.push_back(received);
            }
        }
        if self.is_late() {
            self.early = Some(Early::TimedOut);
        }
        if self.parent_ended() {
            self.early = Some(Early::ParentEnded);
        }
        self.early.is_some()
    }

    /// Keeps what has come so far.
    fn gather(&mut self) -> io::Result<()> {
        while let Some(received) = self.signals.next()? {
            self.kept.push_back(received);
        }
        Ok(())
    }

    /// What was typed so far. All of it is kept.
    pub fn typed(&mut self) -> io::Result<Vec<i32>> {
        self.gather()?;
        let typed = self.kept.iter().filter(|kept| kept.by_kernel).map(|kept| kept.signal);
        Ok(typed.filter(|signal| matches!(*signal, SIGINT | SIGQUIT | SIGTSTP)).collect())
    }

    /// The next signal, if one has come, in the order in which they came.
    fn next_signal(&mut self) -> io::Result<Option<Received>> {
        let next = self.kept.pop_front().map_or_else(|| self.signals.next(), |kept| Ok(Some(kept)))?;
        self.told |= next.is_some_and(|next| wants_an_end(next.signal));
        next.into_iter().for_each(|next| self.note_interrupt(next));
        Ok(next)
    }

    /// The last act where Ctrl-C has ended the command. A shell ends a loop of its own only where that has ended what
    /// it waits for, and not where that exits with 130. Comes back where there is another end to be made.
    pub fn end_as_interrupted(&self) {
        if self.interrupted.is_some() {
            sept::signal::end_by(SIGINT);
        }
    }

    fn note_interrupt(&mut self, received: Received) {
        if received == (Received { signal: SIGINT, by_kernel: true }) {
            self.interrupted = Some(Instant::now());
        }
    }

    /// Whether what has ended now has taken Ctrl-C for its end, and not outlived it.
    pub fn is_just_interrupted(&self) -> bool {
        self.interrupted.is_some_and(|at| at.elapsed() < JUST)
    }

    /// Whether a SIGCONT waits. What else has come is kept.
    pub fn was_continued(&mut self) -> io::Result<bool> {
        self.gather()?;
        Ok(self.kept.iter().any(|kept| kept.signal == SIGCONT))
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    pub fn parent_ended(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ended = |fd: &OwnedFd| poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&now)) == Ok(1);
        self.parent.as_ref().is_some_and(ended)
    }
}

/// Not where the caller ignores it, as after nohup(1): then COMMAND does so, too.
fn wants_an_end(signal: i32) -> bool {
    matches!(signal, SIGHUP | SIGINT | SIGQUIT | SIGTERM) && !sept::signal::is_ignored(signal)
}

/// By pidfd: a parent-death signal would come when the *thread* that started us ends.
fn open_parent() -> Result<OwnedFd, Failure> {
    let refused = |error: io::Error| {
        Failure::io("cannot watch the parent process for --die-with-parent", &error)
            .why("it is outside of this pid namespace, or has ended")
    };
    let parent = rustix::process::getppid().ok_or_else(|| refused(io::Error::from_raw_os_error(3)))?;
    let fd =
        rustix::process::pidfd_open(parent, PidfdFlags::empty()).map_err(|errno| refused(errno.into()))?;
    // The number may have been reused between the two calls; the parent can't change back.
    if rustix::process::getppid() == Some(parent) {
        Ok(fd)
    } else {
        Err(refused(io::Error::from_raw_os_error(3)))
    }
}

/// A running command and what stands around it.
pub struct Supervisor<'a> {
    pub child: Child,
    pub watch: &'a mut Watch,
    pub relay: Option<Relay>,
    /// Whether the command itself is PID 1: the kernel drops signals that it leaves at their default.
    pub is_pid_1: bool,
    /// Whether a reaper is, of which the command is a child: its stops are told, and not signalled.
    pub has_init: bool,
    /// Whether the command leads the foreground job of the shared terminal, and this process is to be in it.
    pub leads_job: bool,
    /// Where this process runs while another job has the terminal, as after `bg`.
    pub background: Option<Background>,
    /// Signals for a PID 1 of which it is not clear yet what becomes of them.
    pub undecided: Vec<Pending>,
    pub timed_out: bool,
    pub carried_out: Option<i32>,
    /// When it was killed from here.
    pub killed: Option<Instant>,
    /// Whether it has ended, and its end is withheld by a tracer.
    pub withheld: bool,
    /// Whether it has become another user's, and can't be signalled.
    pub refuses: bool,
    /// Whether the terminal outside is gone, and it was told.
    pub hung_up: bool,
    /// Whether it has a session of its own: what is typed on the shared terminal does not reach it.
    pub has_session: bool,
    /// What it has started, where that is to end with it and no pid namespace sees to it.
    pub descendants: Option<Descendants>,
}

/// For so long a signal is looked at all the time whose way is not clear, and then after each.
pub const MOMENT: Duration = Duration::from_millis(20);

/// For how long a command that was killed may take to end: freeing much memory takes its time, and a thread may hang in the kernel.
const DYING: Duration = Duration::from_secs(10);

/// Mostly it ends at once, and with it all of its pid namespace. After so long those are ended from here, again and again.
const ENDING: Duration = Duration::from_secs(1);

/// For so long after Ctrl-C an exit is taken to come from it.
const JUST: Duration = Duration::from_secs(2);

/// How soon it is seen that this job has the terminal again: some shells send no signal with it.
const GLANCE: Duration = Duration::from_millis(100);

impl<'a> Supervisor<'a> {
    /// Of a command that is in the foreground, and no PID 1.
    pub fn new(child: Child, watch: &'a mut Watch, relay: Option<Relay>) -> Self {
        Self {
            child,
            watch,
            relay,
            is_pid_1: false,
            has_init: false,
            leads_job: false,
            background: None,
            undecided: Vec::new(),
            timed_out: false,
            carried_out: None,
            killed: None,
            withheld: false,
            refuses: false,
            hung_up: false,
            has_session: false,
            descendants: None,
        }
    }

    /// Stays until the command has ended.
    pub fn run(mut self) -> io::Result<(Outcome, Option<Usage>, Option<Account>)> {
        // The start has taken this process into the command's job already; its own has its number.
        let own = if self.leads_job { Some(rustix::process::getpid()) } else { own_group() };
        self.pass_on_typed();
        let status = loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(status)) => break status,
                Err(error) => {
                    // Nobody would look after it any more.
                    let _ = self.child.kill();
                    self.child.abandon();
                    return Err(error);
                }
            }
        };
        // What it has outlived makes no end of what it has written. What has ended it does, where nobody takes that.
        self.watch.told &= status.signal().is_some();
        self.show_rest()?;
        self.leave_job();
        if self.background.is_none() {
            inherit_terminal(own);
        }
        let outcome = Outcome { status, timed_out: self.timed_out, carried_out: self.carried_out };
        Ok((outcome, self.child.usage(), self.child.account()))
    }

    /// What the command has written last, as long as somebody takes it, there is time, and nobody ends this.
    fn show_rest(&mut self) -> io::Result<()> {
        if let Some(relay) = &mut self.relay
            && !rustix::termios::isatty(rustix::stdio::stdout())
        {
            // Whoever reads that may take his time: Ctrl-C is for sept now.
            relay.suspend();
        }
        while self.relay.as_mut().is_some_and(Relay::show_rest) {
            while self.watch.next_signal()?.is_some() {}
            if self.watch.is_late() || self.watch.told || self.watch.parent_ended() {
                break;
            }
            // What was read and shown at once leaves nothing to wait for.
            if self.relay.as_ref().is_some_and(Relay::has_more_to_show) {
                self.wait(false)?;
            }
        }
        if let Some(relay) = &mut self.relay {
            relay.suspend();
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<Option<ExitStatus>> {
        let ready = self.wait(true)?;
        if self.background.is_some() && has_terminal() {
            self.come_forward();
        }
        // As who goes away from a terminal of his own; a shell outside that is gone tells nobody.
        if self.background.is_some() && self.relay.is_some() && !self.hung_up && is_hung_up() {
            self.hung_up = true;
            self.forward(SIGHUP)?;
        }
        self.look_again()?;
        while let Some(received) = self.watch.next_signal()? {
            self.received(received)?;
        }
        if ready.terminal
            && let Some(relay) = &mut self.relay
            && let Turn::Typed(signal) = relay.turn()?
        {
            // A terminal's signal goes to the foreground job.
            let is_commands = relay.job().is_none_or(|job| job.as_raw_pid() as u32 == self.child.id());
            if signal == SIGINT && relay.is_typed() && (is_commands || self.has_init) {
                self.watch.interrupted = Some(Instant::now());
            }
            if is_commands {
                self.carry_out(signal)?;
            }
        }
        if self.watch.is_late() && !self.timed_out {
            self.timed_out = true;
            self.kill()?;
        }
        if ready.parent {
            self.kill()?;
        }
        if ready.command {
            self.kill_group();
        }
        match self.child.poll_change()? {
            State::Running if self.killed.is_some_and(|at| at.elapsed() >= DYING) => {
                self.child.abandon();
                report::note(&format!(
                    "COMMAND was killed {} seconds ago and has not ended: the kernel does not let go of it",
                    DYING.as_secs()
                ));
                Ok(Some(ExitStatus::from_raw(SIGKILL)))
            }
            State::Ended(status) => {
                self.descendants.iter().for_each(Descendants::end);
                Ok(Some(status))
            }
            // Without a terminal there is no shell that waits for it, and who stops itself would stop the time, too.
            State::Stopped(_) => {
                if crate::build::has_controlling_terminal() {
                    self.suspend()?;
                }
                Ok(None)
            }
            State::Running => {
                rest::collect(Some(&self.child));
                self.withheld = ready.command;
                if self.killed.is_some_and(|at| at.elapsed() >= ENDING) {
                    self.kill_rest();
                }
                Ok(None)
            }
        }
    }

    /// What has not ended with a command that was killed: who keeps the end of that back may be among them.
    fn kill_rest(&self) {
        // In a pid namespace that is joined there are others.
        if self.is_pid_1 || self.has_init {
            rest::kill_namespace(&self.child);
        }
        if let Some(descendants) = &self.descendants {
            descendants.kill_all();
        }
    }

    /// Of a command that is to end, or has ended, and is not collected yet.
    fn kill_group(&self) {
        if self.descendants.is_some() {
            Descendants::kill_group(&self.child);
        }
    }

    pub fn kill(&mut self) -> io::Result<()> {
        self.tell(SIGKILL)?;
        if !self.refuses {
            self.kill_group();
            self.killed.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Sends it a signal. A program with the set-user-ID bit may have made it another user's: then it goes on.
    pub fn tell(&mut self, signal: i32) -> io::Result<()> {
        match self.child.signal(signal) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if !std::mem::replace(&mut self.refuses, true) {
                    report::note(
                        "COMMAND has become another user's: it can't be signalled, and is waited for",
                    );
                }
                Ok(())
            }
            told => told,
        }
    }

    /// `lives`: whether the command's end is something to wait for.
    fn wait(&self, lives: bool) -> io::Result<Ready> {
        let timeout = self.left().map(|left| Timespec {
            tv_sec: left.as_secs().min(1 << 30) as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let mut fds = vec![PollFd::new(&self.watch.signals, PollFlags::IN)];
        let lives = lives && !self.withheld;
        if lives {
            fds.push(PollFd::from_borrowed_fd(self.child.as_fd(), PollFlags::IN));
        }
        let parent =
            self.watch.parent.as_ref().filter(|_| self.killed.is_none() && !self.refuses).map(|parent| {
                fds.push(PollFd::new(parent, PollFlags::IN));
                fds.len() - 1
            });
        let terminal = fds.len();
        if let Some(relay) = &self.relay {
            fds.extend(relay.poll_fds());
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        Ok(Ready {
            command: self.withheld || (lives && ready(&fds[1])),
            parent: parent.is_some_and(|at| ready(&fds[at])),
            terminal: fds[terminal..].iter().any(ready),
        })
    }

    /// How long there is nothing to be done unless something comes.
    fn left(&self) -> Option<Duration> {
        // What came during the start makes nothing ready.
        if !self.watch.kept.is_empty() {
            return Some(Duration::ZERO);
        }
        if let Some(since) = self.undecided.iter().map(|pending| pending.since).max() {
            return Some(if since.elapsed() < MOMENT { Duration::from_millis(1) } else { MOMENT });
        }
        if self.withheld {
            return Some(Duration::from_millis(10));
        }
        let dying = self.killed.map(|at| (at + DYING).min(Instant::now() + ENDING));
        let deadline = self.watch.deadline.filter(|_| !self.timed_out).into_iter().chain(dying).min();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // What is in this very group has the terminal again by itself. And what a reaper tells of stops wakes nobody.
        let looks = self.background.is_some() && (self.leads_job || self.relay.is_some())
            || self.has_init && crate::build::has_controlling_terminal();
        if looks { Some(left.map_or(GLANCE, |left| left.min(GLANCE))) } else { left }
    }

    fn received(&mut self, received: Received) -> io::Result<()> {
        let Received { signal, by_kernel } = received;
        let typed = by_kernel;
        // Typed before it was seen that this job has the terminal again: the command's own has not got it.
        let by_kernel = by_kernel && !self.has_session && !(self.leads_job && self.background.is_some());
        match signal {
            SIGCHLD => Ok(()),
            SIGWINCH => {
                if let Some(relay) = &self.relay {
                    relay.resize();
                    return Ok(());
                }
                if by_kernel { Ok(()) } else { self.tell(signal) }
            }
            // All of the command's session, as they would be on a terminal of theirs.
            SIGINT | SIGQUIT if typed && self.has_session && !self.has_init => {
                let group = Pid::from_raw(self.child.id() as i32);
                if let (Some(group), Some(signal)) = (group, Signal::from_named_raw(signal)) {
                    // Where it fails none of them is left.
                    let _ = rustix::process::kill_process_group(group, signal);
                }
                self.carry_out(signal)
            }
            // Not passed on to all of the job, which this process may be in: it would be told again and again.
            SIGCONT => self.tell(SIGCONT),
            // Ctrl-C, Ctrl-\ and Ctrl-Z on a shared terminal: the command, in the same job, has got it as well.
            SIGINT | SIGQUIT if by_kernel && self.relay.is_none() => {
                if let (Some(command), Some(signal)) = (self.gone_from_job(), Signal::from_named_raw(signal))
                {
                    // Where it fails it has ended, or is another user's.
                    let _ = rustix::process::pidfd_send_signal(command, signal);
                }
                self.carry_out(signal)
            }
            // It came when another job had the terminal.
            SIGTTIN | SIGTTOU if by_kernel && self.relay.is_none() && has_terminal() => {
                if let Some(own) = own_group() {
                    rustix::process::kill_process_group(own, Signal::CONT)?;
                }
                self.go_on()
            }
            SIGTSTP | SIGTTIN | SIGTTOU if by_kernel && self.relay.is_none() => self.carry_out(signal),
            _ => self.forward(signal),
        }
    }
}

struct Ready {
    /// Whether it has ended.
    command: bool,
    parent: bool,
    terminal: bool,
}
