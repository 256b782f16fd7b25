//! The command's job on a terminal that is shared: who has the terminal, and that all stop and go on together.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::fs::FileType;
use rustix::process::{Pid, PidfdFlags, Signal};
use sept::signal::Stopped;

use crate::disposition::SIGCONT;
use crate::supervise::Supervisor;
use crate::terminal::Relay;
use crate::tree;

/// What is done about the terminal once this job has it again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Background {
    /// The job inside that had it.
    inner: Option<Pid>,
}

impl Background {
    /// For a start that is not in the foreground of the terminal on standard input, if that is one.
    pub fn at_start() -> Option<Self> {
        is_background_job().then(Self::default)
    }
}

impl Supervisor<'_> {
    /// The command has stopped: so does this process, so that the shell outside sees it; and both go on together.
    pub fn suspend(&mut self) -> io::Result<()> {
        if self.background.is_some() && has_terminal() {
            // It stopped for want of the terminal.
            self.come_forward();
            return self.go_on();
        }
        // The kernel stops no PID 1 that asks for it, and who is in our group is outside.
        if rustix::process::getpid() == Pid::INIT {
            return self.go_on();
        }
        if let Some(relay) = &mut self.relay {
            relay.suspend();
        }
        let inner = self.background.map_or_else(|| self.job_inside(), |background| background.inner);
        self.leave_job();
        if self.watch.parent.is_some() {
            // Its end is to be seen. It comes when the thread ends that started us, too: then the command goes on.
            rustix::process::set_parent_process_death_signal(Some(Signal::CONT))?;
            if self.watch.parent_ended() {
                return Ok(());
            }
        }
        // Not for longer than the command may run.
        let deadline = self.watch.deadline.filter(|_| !self.timed_out);
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // Where that waits for another process of the job it may have brought it back by now.
        if !self.watch.was_continued()? {
            sept::signal::stop(self.stops_with_it(), left)?;
        }
        self.background = Some(Background { inner });
        // Unless it is to go on in the background, where the terminal is another's. Nobody has taken it where nothing stops this job.
        let now = foreground();
        if now.is_none() || has_terminal() || now == inner {
            self.come_forward();
        }
        self.go_on()
    }

    /// Who stops with the command. On a shared terminal Ctrl-Z has told all of the job already; where the command has its own
    /// terminal, or leads the job on this one, the others of this process's job have not got it.
    fn stops_with_it(&self) -> Stopped {
        if self.leads_job || self.relay.is_some() { Stopped::Group } else { Stopped::Process }
    }

    /// The job inside that has the terminal. The shell outside may have taken it back already: it waits for this process only
    /// where it has started that itself.
    fn job_inside(&self) -> Option<Pid> {
        let led = self.led_job();
        foreground().filter(|job| Some(*job) == own_group() || self.is_inside(*job)).or(led)
    }

    /// Whether the command leads the group, or a descendant of its does.
    fn is_inside(&self, group: Pid) -> bool {
        let command = sept::host::pid_in_proc(self.child.as_fd());
        let above = |pid: &u32| tree::parent_of(*pid);
        let mut line = std::iter::successors(u32::try_from(group.as_raw_pid()).ok(), above);
        command.is_some_and(|command| line.any(|pid| i32::try_from(pid) == Ok(command)))
    }

    /// The command, which began in this job, where it has made one of its own and not taken the terminal along, as timeout(1) does: what is
    /// typed then reaches this process alone.
    pub fn gone_from_job(&self) -> Option<OwnedFd> {
        if self.is_pid_1 || !has_terminal() {
            return None;
        }
        let (number, held) = self.command_itself()?;
        let field = |field| sept::host::stat_field(number, field).and_then(|value| value.parse().ok());
        let (group, session) = sept::signal::process_group_and_session();
        (field(6) == session && field(5).is_some_and(|its| Some(its) != group)).then_some(held)
    }

    /// The command, and its number: not its reaper, for which one more of what it has got by itself is none.
    fn command_itself(&self) -> Option<(u32, OwnedFd)> {
        let child = sept::host::pid_in_proc(self.child.as_fd()).and_then(|pid| u32::try_from(pid).ok())?;
        // Else numbers there are not those of here.
        let child = Some(child).filter(|child| *child == self.child.id())?;
        let command = if self.has_init { first_child(child)? } else { child };
        let held = Pid::from_raw(command as i32)?;
        let held = rustix::process::pidfd_open(held, PidfdFlags::empty()).ok()?;
        let parent = sept::host::stat_field(command, 4).and_then(|parent| parent.parse().ok());
        (!self.has_init || parent == Some(child)).then_some((command, held))
    }

    /// What was typed during the start: a process between this one and the command may have got it, or none.
    pub fn pass_on_typed(&mut self) {
        if self.is_pid_1 || self.has_session || self.relay.is_some() {
            return;
        }
        // What hinders it hinders the next turn, which tells.
        let typed = self.watch.typed().unwrap_or_default();
        let signals: Vec<Signal> = typed.into_iter().filter_map(Signal::from_named_raw).collect();
        let command = if signals.is_empty() { None } else { self.command_itself() };
        if let Some((_, command)) = command {
            // Where it fails it has ended, or is another user's.
            for signal in signals {
                let _ = rustix::process::pidfd_send_signal(&command, signal);
            }
        }
    }

    /// The command's process group, where that leads the job on the shared terminal.
    fn led_job(&self) -> Option<Pid> {
        self.leads_job.then(|| Pid::from_raw(self.child.id() as i32)).flatten()
    }

    /// All of the command's job, which has stopped as one.
    pub fn go_on(&mut self) -> io::Result<()> {
        if let Some(job) = self.led_job().or_else(|| self.relay.as_ref().and_then(Relay::job)) {
            // Where it fails none of them is left.
            let _ = rustix::process::kill_process_group(job, Signal::CONT);
        }
        self.tell(SIGCONT)
    }

    /// This job has the terminal: so has what had it inside.
    pub fn come_forward(&mut self) {
        let Some(Background { inner }) = self.background.take() else { return };
        let own = own_group();
        if let Some(relay) = &mut self.relay {
            relay.resume();
        } else if own.is_some() && inner.is_some() && inner != own {
            take_terminal(inner);
        }
        // Not before: what tries to read in the background has the kernel send SIGTTIN to all of its job.
        self.join_job();
    }

    /// Again into the command's process group: what is typed on the terminal then reaches both, as it does without
    /// a pid namespace. Where it fails the command has ended already.
    fn join_job(&self) {
        if let Some(job) = self.led_job() {
            let _ = rustix::process::setpgid(None, Some(job));
        }
    }

    /// Back into the group that the shell outside knows.
    pub fn leave_job(&self) {
        if self.leads_job {
            lead_own_job();
        }
    }
}

/// Of a reaper that is the command.
fn first_child(pid: u32) -> Option<u32> {
    let children = sept::host::read_text(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_ascii_whitespace().next()?.parse().ok()
}

/// The foreground job of the terminal on standard input, if there is one.
fn foreground() -> Option<Pid> {
    rustix::termios::tcgetpgrp(rustix::stdio::stdin()).ok()
}

/// Whether the command can lead the foreground job of the terminal on standard input in this process's place.
pub fn may_be_led() -> bool {
    leads_foreground_job() && !is_in_pipeline()
}

/// Whether this process leads the foreground job of the terminal on standard input. A session's leader can't
/// leave its process group, so it does not count.
fn leads_foreground_job() -> bool {
    let own = rustix::process::getpid();
    let (group, session) = sept::signal::process_group_and_session();
    let number = Some(own.as_raw_pid() as u32);
    group == number && session != number && foreground() == Some(own)
}

/// Whether others are in this process's job, or will be: a shell starts them one after another. They want the terminal as well.
fn is_in_pipeline() -> bool {
    let is_pipe = |stream| {
        let kind = rustix::fs::fstat(stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
        // ksh has sockets there.
        kind.is_ok_and(|kind| matches!(kind, FileType::Fifo | FileType::Socket))
    };
    [rustix::stdio::stdout(), rustix::stdio::stderr()].into_iter().any(is_pipe)
}

/// This process's group, where it has a number in this pid namespace.
pub fn own_group() -> Option<Pid> {
    sept::signal::process_group_and_session().0.and_then(|group| Pid::from_raw(group as i32))
}

fn lead_own_job() {
    let _ = rustix::process::setpgid(None, None);
}

/// Back to our own job, after a start that failed.
pub fn restore_terminal() {
    lead_own_job();
    take_terminal(own_group());
}

/// Whether another job has the terminal on standard input.
pub fn is_background_job() -> bool {
    foreground().is_some() && !has_terminal()
}

/// Whether the terminal on standard input is gone.
pub fn is_hung_up() -> bool {
    rustix::termios::tcgetpgrp(rustix::stdio::stdin()) == Err(rustix::io::Errno::IO)
}

/// Whether this process is in the foreground job of the terminal on standard input.
pub fn has_terminal() -> bool {
    let own = own_group();
    own.is_some() && foreground() == own
}

/// An interactive shell inside leaves the terminal to its own job, which is gone by now. One that is there is a job of the
/// shell outside, which has got it meanwhile.
pub fn inherit_terminal(own: Option<Pid>) {
    let is_gone = |job| rustix::process::test_kill_process_group(job) == Err(rustix::io::Errno::SRCH);
    if foreground().is_some_and(is_gone) {
        take_terminal(own);
    }
}

fn take_terminal(job: Option<Pid>) {
    if let Some(job) = job
        && foreground() != Some(job)
    {
        // All signals are blocked, SIGTTOU too. Where it fails the terminal is gone, or another's.
        let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), job);
    }
}
