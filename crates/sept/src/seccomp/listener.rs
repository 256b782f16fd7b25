//! Who answers the calls that a filter asks about, [`Action::Notify`](super::Action::Notify): seccomp_unotify(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::table::{Abi, abis};
use crate::sys::notify;

/// Receives the calls of a command whose filter has [`Action::Notify`](super::Action::Notify), and answers them.
///
/// The command waits in such a call until it is answered. Once the last copy of the listener is closed, every such call
/// fails with ENOSYS. One thread should receive.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
}

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification {
    /// By which it is answered.
    pub id: u64,
    /// The thread that made it, as the receiver sees it; 0 where that is out of its pid namespace's sight.
    pub pid: u32,
    /// The number, in the ABI of the call.
    pub number: u32,
    /// AUDIT_ARCH_* of the ABI.
    pub audit: u32,
    /// The arguments; those that are addresses are the caller's. What lies there may change at any time.
    pub arguments: [u64; 6],
    /// Where in the program it was made.
    pub instruction_pointer: u64,
}

impl Notification {
    /// The ABI, where it is one of this processor's.
    pub fn abi(&self) -> Option<&'static Abi> {
        abis().iter().find(|abi| abi.audit == self.audit)
    }

    /// The name of the call, where it is known.
    pub fn call(&self) -> Option<&'static str> {
        let calls = self.abi()?.calls();
        calls.into_iter().find(|(_, number)| *number == self.number).map(|(name, _)| name)
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// It is not made, and gives this.
    Value(i64),
    /// It is not made, and fails with this errno.
    Errno(u16),
    /// It is made, as if it had not been asked about. Since Linux 5.5.
    ///
    /// No decision about rights may rest on what was read from the caller's memory before: another thread can change it
    /// before the kernel looks.
    Continue,
}

/// How [`Listener::add_fd`] puts a descriptor into the process that waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddFd {
    /// Which number it gets there, whatever that was before; without it, the lowest that is free.
    pub number: Option<u32>,
    /// Whether exec closes it there.
    pub close_on_exec: bool,
    /// Whether this answers the call at once, with the number as its value. Since Linux 5.14.
    pub answers: bool,
}

impl Listener {
    /// Waits for a call. None once nobody is left whose calls could come: every process with the filter has ended.
    ///
    /// To wait for other things, too: poll(2) tells of a call by POLLIN, of the end by POLLHUP.
    ///
    /// # Errors
    /// Of poll(2) and ioctl(2).
    pub fn receive(&self) -> io::Result<Option<Notification>> {
        loop {
            let mut waited = [PollFd::new(&self.fd, PollFlags::IN)];
            match poll(&mut waited, None) {
                Err(Errno::INTR) => continue,
                answer => answer?,
            };
            if !waited[0].revents().contains(PollFlags::IN) {
                return Ok(None);
            }
            match notify::receive(self.fd.as_fd()) {
                // The caller was killed, or broken off by a signal, meanwhile.
                Err(Errno::NOENT | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(notif) => {
                    return Ok(Some(Notification {
                        id: notif.id,
                        pid: notif.pid,
                        number: notif.number as u32,
                        audit: notif.arch,
                        arguments: notif.arguments,
                        instruction_pointer: notif.instruction_pointer,
                    }));
                }
            }
        }
    }

    /// Answers a call.
    ///
    /// # Errors
    /// ENOENT where the caller has gone; EINPROGRESS where the call was answered already.
    pub fn respond(&self, id: u64, response: Response) -> io::Result<()> {
        let answer = match response {
            Response::Value(value) => notify::Answer { id, value, ..notify::Answer::default() },
            // The kernel takes a negative one.
            Response::Errno(errno) => {
                notify::Answer { id, error: -i32::from(errno), ..notify::Answer::default() }
            }
            Response::Continue => notify::Answer { id, flags: notify::CONTINUE, ..notify::Answer::default() },
        };
        Ok(notify::answer(self.fd.as_fd(), answer)?)
    }

    /// Whether the caller still waits for the answer. To be asked after something of `/proc/PID` was opened, so that it was
    /// the caller's and not that of another process which got its number.
    pub fn is_valid(&self, id: u64) -> bool {
        notify::is_valid(self.fd.as_fd(), id).is_ok()
    }

    /// Puts a copy of a descriptor into the process that waits; the number that it got there. Since Linux 5.9.
    ///
    /// # Errors
    /// ENOENT where the caller has gone, EMFILE where it may have no more, EINVAL on an older kernel.
    pub fn add_fd(&self, id: u64, fd: BorrowedFd<'_>, how: AddFd) -> io::Result<u32> {
        let set = if how.number.is_some() { notify::SET_FD } else { 0 };
        let added = notify::Added {
            id,
            flags: set | if how.answers { notify::SEND } else { 0 },
            number: how.number.unwrap_or(0),
            number_flags: if how.close_on_exec { libc::O_CLOEXEC as u32 } else { 0 },
        };
        Ok(notify::add_fd(self.fd.as_fd(), fd, added)?)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for Listener {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> Self {
        listener.fd
    }
}
