//! Waiting for the end of a child, which a tracer may withhold: as long as that has not waited for it, the parent can't.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::host::stat_field;
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
        // In this order: one that ends in between is collected the next time, and withheld by nobody.
        let until_then = block && held.0.is_none();
        let ended = has_ended(child, until_then);
        // Where it can't be asked for (no descriptor allowed any more), the end is waited for, withheld or not.
        let blind = until_then && ended.is_err();
        match sys::wait_pidfd(child, blind, stops) {
            Ok(Change::None) => {}
            Err(Errno::INTR) => continue,
            change => return Ok(change?),
        }
        if ended != Ok(true) {
            if block {
                continue;
            }
            return Ok(Change::None);
        }
        if held.0.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
            let status = status_in_proc(child)?;
            return Ok(Change::Ended(Ended { status, usage_us: None }));
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

/// Waits for the end of what was killed, and no longer than so. False if it hangs in the kernel, in whatever memory it has.
pub(crate) fn collect_soon(child: BorrowedFd<'_>, most: Duration) -> bool {
    let (begun, mut held) = (Instant::now(), Withheld::default());
    let slice = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    loop {
        match wait(child, false, false, &mut held) {
            // Whoever withholds it: it is out of its memory.
            Ok(Change::None) if held.0.is_none() => {}
            _ => return true,
        }
        if begun.elapsed() >= most {
            return false;
        }
        let _ = poll(&mut [PollFd::from_borrowed_fd(child, PollFlags::IN)], Some(&slice));
    }
}

/// The same of a child without a pidfd.
pub(crate) fn collect_by_number(child: i32, most: Duration) -> bool {
    let begun = Instant::now();
    while !sys::try_collect(child) {
        if begun.elapsed() >= most {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Now, or at last.
pub(crate) fn has_ended(child: BorrowedFd<'_>, block: bool) -> Result<bool, Errno> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut [PollFd::from_borrowed_fd(child, PollFlags::IN)], (!block).then_some(&now)) {
        Err(Errno::INTR) => Ok(false),
        polled => Ok(polled? == 1),
    }
}

/// Its exit status as proc_pid_stat(5) has it. Nobody has its number until it is collected. To whom may not
/// look at the process the kernel shows 0 there; to such a one it refuses the link to its working directory, too, which otherwise is
/// gone by now.
fn status_in_proc(child: BorrowedFd<'_>) -> io::Result<i32> {
    let unknown = || {
        io::Error::other("it has ended, a tracer does not let go of it, and /proc does not say how it ended")
    };
    let pid = find_in_proc(child)?.ok_or_else(unknown)?;
    let status = stat_field(pid as u32, 52).and_then(|status| status.parse().ok());
    let is_shown = || {
        let link = std::fs::read_link(format!("/proc/{pid}/cwd"));
        !link.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    status.filter(|status| *status != 0 || is_shown()).ok_or_else(unknown)
}
