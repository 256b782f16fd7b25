//! The command's job on a terminal that is shared: who has the terminal, and that all stop and go on together.

use std::io;
use std::time::Instant;

use rustix::process::{Pid, Signal};

use crate::disposition::SIGCONT;
use crate::supervise::Supervisor;
use crate::terminal::Relay;

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
        if let Some(relay) = &mut self.relay {
            relay.suspend();
        }
        let inner = self.background.map_or_else(foreground, |background| background.inner);
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
        sept::signal::stop(deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())))?;
        self.background = Some(Background { inner });
        // Unless it is to go on in the background, where the terminal is another's.
        if has_terminal() || foreground().is_none() {
            self.come_forward();
        }
        self.go_on()
    }

    /// All of the command's job, which has stopped as one.
    pub fn go_on(&self) -> io::Result<()> {
        let led = self.leads_job.then(|| Pid::from_raw(self.child.id() as i32)).flatten();
        if let Some(job) = led.or_else(|| self.relay.as_ref().and_then(Relay::job)) {
            // Where it fails none of them is left.
            let _ = rustix::process::kill_process_group(job, Signal::CONT);
        }
        self.child.signal(SIGCONT)
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
        if self.leads_job {
            let _ = rustix::process::setpgid(None, Pid::from_raw(self.child.id() as i32));
        }
    }

    /// Back into the group that the shell outside knows.
    pub fn leave_job(&self) {
        if self.leads_job {
            lead_own_job();
        }
    }
}

/// The foreground job of the terminal on standard input, if there is one.
fn foreground() -> Option<Pid> {
    rustix::termios::tcgetpgrp(rustix::stdio::stdin()).ok()
}

/// Whether this process leads the foreground job of the terminal on standard input. A session's leader can't
/// leave its process group, so it does not count.
pub fn is_foreground_job() -> bool {
    let own = rustix::process::getpid();
    let (group, session) = sept::signal::process_group_and_session();
    let number = Some(own.as_raw_pid() as u32);
    group == number && session != number && foreground() == Some(own)
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
