//! Signals received through a descriptor, for programs that stand between a terminal and a command.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::process::Signal;

use crate::sys;

/// Who is stopped by [`stop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// This process alone.
    Process,
    /// All of its process group.
    Group,
}

/// Stops by SIGTSTP, as Ctrl-Z does, until something continues this process; after `most`, if that is given, the kernel does. To be
/// called where SIGTSTP is blocked.
///
/// Comes back at once where Ctrl-Z would not stop this process either: it ignores SIGTSTP, is PID 1, or in an orphaned process group,
/// which nobody would continue.
///
/// # Errors
/// EAGAIN, where no more timers may be had (`RLIMIT_SIGPENDING`).
pub fn stop(who: Stopped, most: Option<Duration>) -> io::Result<()> {
    let _timer = most.map(|most| sys::Timer::new(libc::SIGCONT, most)).transpose()?;
    match who {
        Stopped::Process => rustix::process::kill_process(rustix::process::getpid(), Signal::TSTP)?,
        Stopped::Group => rustix::process::kill_current_process_group(Signal::TSTP)?,
    }
    // It has waited until now: where others of the group were faster to stop, and to be continued, that has taken it away.
    let mask = let_come(libc::SIGTSTP);
    sys::set_signal_mask(mask);
    Ok(())
}

/// Unblocks a signal. What was blocked before.
fn let_come(signal: i32) -> u64 {
    let mask = sys::set_signal_mask(u64::MAX);
    sys::set_signal_mask(mask & !(1 << (signal - 1)));
    mask
}

/// Ends this process by a signal's default action, whatever it did with that before. Comes back where the kernel drops the signal: this
/// process is PID 1, or the default action is no end.
pub fn end_by(signal: i32) {
    sys::default_action(signal);
    sys::kill(rustix::process::getpid().as_raw_pid(), signal);
    let_come(signal);
}

/// Whether this process ignores a signal; one that is blocked is received all the same.
pub fn is_ignored(signal: i32) -> bool {
    sys::is_ignored(signal)
}

/// A child of this process that has ended and waits to be collected, if there is one: for one SIGCHLD there may be many. Also a thread that
/// has made this process its tracer. It is not collected by that.
///
/// # Errors
/// ECHILD where this process has no child.
pub fn ended_child() -> io::Result<Option<u32>> {
    Ok(sys::ended_child().map(|pid| u32::try_from(pid).ok().filter(|pid| *pid != 0))?)
}

/// All signals that can be, blocked for this thread and read one by one instead; signalfd(2).
///
/// To be made before other threads are: they inherit the mask.
#[derive(Debug)]
pub struct Receiver {
    fd: OwnedFd,
}

/// A received signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub signal: i32,
    /// Whether the kernel sent it (Ctrl-C on a terminal), so that the whole foreground job has it already.
    pub by_kernel: bool,
}

impl Receiver {
    /// Blocks all signals and begins to receive them.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> io::Result<Self> {
        // A program that faults shall still die of it.
        let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTRAP];
        let set = faults.into_iter().fold(u64::MAX, |set, signal| set & !(1 << (signal - 1)));
        sys::set_signal_mask(set);
        Ok(Self { fd: sys::signalfd(set)? })
    }

    /// The next signal, if one has come. Does not wait.
    ///
    /// # Errors
    /// Of read(2); not EAGAIN.
    pub fn next(&self) -> io::Result<Option<Received>> {
        // struct signalfd_siginfo: 128 bytes; signo, errno, code first. SI_KERNEL is 0x80.
        let mut info = [0_u8; 128];
        match rustix::io::read(&self.fd, &mut info) {
            Ok(128) => {
                let number =
                    |at: usize| i32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
                Ok(Some(Received { signal: number(0), by_kernel: number(8) == 0x80 }))
            }
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The caller's process group and session, each `None` where it belongs to an outer pid namespace; credentials(7).
pub fn process_group_and_session() -> (Option<u32>, Option<u32>) {
    let number = |id: i32| u32::try_from(id).ok().filter(|id| *id != 0);
    (number(sys::process_group()), number(sys::session()))
}
