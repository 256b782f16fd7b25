//! What the threads of a process are in. Any but the user, pid and time namespace may be a thread's own, and a process whose first thread
//! has ended is in those of the others.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};

use super::scan::{directory, inside, link};
use crate::namespace::Namespace;

/// Where the threads of a process are, and it is not.
#[derive(Default)]
pub(super) struct Threads {
    /// The first thread of each.
    pub(super) found: Vec<(u32, Namespace, u64)>,
    /// There are more threads than were looked at.
    pub(super) is_part: bool,
}

const OWN: [Namespace; 5] =
    [Namespace::Mount, Namespace::Uts, Namespace::Ipc, Namespace::Net, Namespace::Cgroup];

/// Whether a process has more than one. The kernel counts them as links of the directory.
pub(super) fn has_several(process: BorrowedFd<'_>) -> bool {
    statat(process, c"task", AtFlags::empty()).is_ok_and(|stat| stat.st_nlink > 3)
}

/// The first one that has not ended, where that of the process has. Others are gone as soon as they end: one is found at once.
pub(super) fn living(process: BorrowedFd<'_>) -> Option<(u32, OwnedFd)> {
    let (mut found, mut left) = (None, 8);
    each(process, |tasks, thread| {
        found = directory(tasks, thread).filter(|dir| inside(dir.as_fd()).is_some()).map(|dir| (thread, dir));
        left -= 1;
        found.is_none() && left > 0
    });
    found
}

/// Those other than `first`, which is in `own`.
pub(super) fn others(
    process: BorrowedFd<'_>,
    first: u32,
    own: &[u64; 8],
    mut more: impl FnMut() -> bool,
) -> Threads {
    let mut all = Threads::default();
    each(process, |tasks, thread| {
        if thread == first {
            return true;
        }
        all.is_part = !more();
        if all.is_part {
            return false;
        }
        for kind in OWN {
            // To open the directory of each would take two calls more.
            if let Some((_, number)) = link(tasks, format!("{thread}/ns/{}", kind.link()))
                && number != own[kind as usize]
                && !all.found.iter().any(|(_, _, known)| *known == number)
            {
                all.found.push((thread, kind, number));
            }
        }
        true
    });
    all
}

/// As long as more are wanted.
fn each(process: BorrowedFd<'_>, mut wants: impl FnMut(BorrowedFd<'_>, u32) -> bool) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(tasks) = openat(process, c"task", flags, Mode::empty()) else { return };
    let mut space = [std::mem::MaybeUninit::uninit(); 4096];
    let mut entries = rustix::fs::RawDir::new(&tasks, &mut space);
    while let Some(Ok(entry)) = entries.next() {
        let thread = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
        if thread.is_some_and(|thread| !wants(tasks.as_fd(), thread)) {
            break;
        }
    }
}
