//! Waiting for what others have to give, and no longer than the parent lives.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::Result;

/// Comes back when there is something to be read, or its end; ESRCH where the parent has ended before. Nobody else would end a child
/// whose signals are blocked.
pub(super) fn await_data(from: BorrowedFd<'_>, parent: Option<&OwnedFd>) -> Result {
    let Some(parent) = parent else { return Ok(()) };
    loop {
        let mut waited = [PollFd::new(parent, PollFlags::IN), PollFd::from_borrowed_fd(from, PollFlags::IN)];
        match poll(&mut waited, None) {
            Err(Errno::INTR) => continue,
            answer => answer?,
        };
        // First: there may be data for ever.
        return if waited[0].revents().is_empty() { Ok(()) } else { Err(Errno::SRCH) };
    }
}
