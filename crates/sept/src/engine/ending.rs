//! Waiting for the end of a child, which a tracer may withhold: as long as that has not waited for it, the parent can't.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::sys::{self, Change, Ended};
use crate::target::find_in_proc;

/// For so long a tracer has the time to wait for what has ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// Since when a child has ended, and could not be collected.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Withheld(Option<Instant>);

/// Waits for a change of the child, or only asks. What has ended, and is not let go of, is taken for what /proc says of it.
pub(crate) fn wait(
    child: BorrowedFd<'_>,
    block: bool,
    stops: bool,
    held: &mut Withheld,
) -> io::Result<Change> {
    loop {
        if block && held.0.is_none() && !has_ended(child, true) {
            continue;
        }
        match sys::wait_pidfd(child, false, stops) {
            Ok(Change::None) => {}
            Err(Errno::INTR) => continue,
            change => return Ok(change?),
        }
        if !block && !has_ended(child, false) {
            return Ok(Change::None);
        }
        if held.0.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
            return status_in_proc(child)
                .map(|status| Change::Ended(Ended { status, user_us: 0, system_us: 0 }));
        }
        if !block {
            return Ok(Change::None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for its end, whatever that is, or until it is withheld.
pub(crate) fn collect(child: BorrowedFd<'_>) -> Option<Ended> {
    match wait(child, true, false, &mut Withheld::default()) {
        Ok(Change::Ended(ended)) => Some(ended),
        _ => None,
    }
}

fn has_ended(child: BorrowedFd<'_>, block: bool) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::from_borrowed_fd(child, PollFlags::IN)], (!block).then_some(&now)) == Ok(1)
}

/// Its exit status as proc_pid_stat(5) has it, in the last field. Nobody has its number until it is collected.
fn status_in_proc(child: BorrowedFd<'_>) -> io::Result<i32> {
    let unknown = || {
        io::Error::other("it has ended, a tracer does not let go of it, and /proc does not say how it ended")
    };
    let pid = find_in_proc(child)?.ok_or_else(unknown)?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    stat.rsplit(' ').next().and_then(|last| last.trim().parse().ok()).ok_or_else(unknown)
}
