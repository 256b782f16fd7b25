//! Signals for a command that is PID 1: the kernel drops those that it leaves at their default, and sept carries them out. What becomes
//! of one is not always clear when it comes.

use std::io;
use std::time::{Duration, Instant};

use crate::disposition::{self, Action, SIGCONT, SIGSTOP, SIGTSTP, Way};
use crate::supervise::{MOMENT, Supervisor};

/// For so long a shell may block all signals, to start a program on a machine that has much to do.
const BLOCKING: Duration = Duration::from_millis(100);

/// A signal that is looked at again.
pub struct Pending {
    signal: i32,
    pub since: Instant,
    /// Whether the command has got it, or what the kernel made of that.
    sent: bool,
}

impl Supervisor<'_> {
    /// One that is for the command, and that it has not got.
    pub fn forward(&mut self, signal: i32) -> io::Result<()> {
        if !self.is_pid_1 {
            return self.tell(signal);
        }
        match disposition::way(&self.child, signal) {
            // It may be on its way into sigwaitinfo(2), and then takes it there.
            way @ Way::Running => {
                self.look_later(&way, signal, false);
                Ok(())
            }
            way => self.pass_on(&way, signal),
        }
    }

    /// One that the command has got already. Who waits for signals is taken to wait for those of a terminal.
    pub fn carry_out(&mut self, signal: i32) -> io::Result<()> {
        // Nor does the kernel stop who has no parent within the session of his terminal.
        let is_dropped = self.is_pid_1 || (self.relay.is_some() && signal == SIGTSTP && !self.has_init);
        if !is_dropped {
            return Ok(());
        }
        match disposition::way(&self.child, signal) {
            Way::Default => self.act(signal),
            way @ (Way::Running | Way::Blocked | Way::Waiting) => {
                self.look_later(&way, signal, true);
                Ok(())
            }
            Way::Awaiting(_) | Way::Own => Ok(()),
        }
    }

    /// Those whose way was not clear.
    pub fn look_again(&mut self) -> io::Result<()> {
        for pending in std::mem::take(&mut self.undecided) {
            let Pending { signal, since, sent } = pending;
            match disposition::way(&self.child, signal) {
                Way::Running if since.elapsed() < MOMENT => self.undecided.push(pending),
                Way::Default | Way::Running => self.act(signal)?,
                way if !sent => self.pass_on(&way, signal)?,
                Way::Waiting => self.undecided.push(pending),
                // Taken, or come just before all were blocked: then the kernel has dropped it.
                Way::Blocked if since.elapsed() < BLOCKING => self.undecided.push(pending),
                Way::Blocked | Way::Awaiting(_) | Way::Own => {}
            }
        }
        Ok(())
    }

    fn pass_on(&mut self, way: &Way, signal: i32) -> io::Result<()> {
        match way {
            Way::Default | Way::Running => self.act(signal),
            // A shell blocks all for a moment when it starts a program.
            Way::Blocked | Way::Waiting => {
                self.look_later(way, signal, true);
                self.tell(signal)
            }
            Way::Awaiting(sleep) => {
                self.tell(signal)?;
                if disposition::sleeps_on(&self.child, sleep) { self.act(signal) } else { Ok(()) }
            }
            Way::Own => self.tell(signal),
        }
    }

    /// One of a kind waits once, however often it has come; and no longer for that where it comes again and again, as SIGTTIN does to who
    /// goes on reading.
    fn look_later(&mut self, way: &Way, signal: i32, sent: bool) {
        let before = self.undecided.iter().position(|pending| pending.signal == signal);
        let before = before.map(|at| self.undecided.swap_remove(at).since);
        let since = before.filter(|_| *way == Way::Running).unwrap_or_else(Instant::now);
        self.undecided.push(Pending { signal, since, sent });
    }

    fn act(&mut self, signal: i32) -> io::Result<()> {
        match disposition::default_action(signal) {
            Action::Terminate => {
                self.carried_out = Some(signal);
                self.kill()
            }
            Action::Stop => self.tell(SIGSTOP),
            Action::Continue => self.tell(SIGCONT),
            Action::Ignore => Ok(()),
        }
    }
}
