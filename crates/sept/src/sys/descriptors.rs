//! What is open, by number: closed before exec, and not by it. While the kernel looks up the program, its `#!` interpreter and its
//! ELF loader, all is still open, and a link to `/proc/self/fd/N/..` leads wherever it leads.

use std::os::fd::{BorrowedFd, RawFd};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::close_range;
use super::raw::{check, syscall};

/// So many numbers in a row without a descriptor: then there are none above, where the kernel does not say how many there are. It
/// gives the lowest that is free.
const GAP: u32 = 256;

/// Closes all from 3 on but these, and the spared ones, which stay close-on-exec; the kept are so no more.
pub(crate) fn close_but(keep: &[RawFd], spared: &[RawFd]) -> Result<(), Errno> {
    let mut first = 3;
    loop {
        let next = keep
            .iter()
            .chain(spared)
            .filter_map(|fd| u32::try_from(*fd).ok())
            .filter(|fd| *fd >= first)
            .min();
        match next {
            Some(next) => {
                if next > first {
                    close_between(first, next - 1)?;
                }
                if keep.contains(&(next as RawFd)) {
                    set_flags(next, 0)?;
                }
                first = next + 1;
            }
            None => return close_all(first),
        }
    }
}

/// How many descriptors this process has, by a descriptor of its /proc. 0 before Linux 6.2, and where it is not seen there.
pub(crate) fn count(proc: BorrowedFd<'_>) -> u64 {
    rustix::fs::statat(proc, c"thread-self/fd", AtFlags::empty()).map_or(0, |stat| stat.st_size as u64)
}

/// Closes what exec would close, but the spared ones. There are so many descriptors at least.
pub(crate) fn close_marked(spared: &[RawFd], count: u64) -> Result<(), Errno> {
    let (mut gap, mut found) = (0, 0);
    for fd in 0..=i32::MAX as u32 {
        match flags(fd) {
            Err(Errno::BADF) => gap += 1,
            Err(errno) => return Err(errno),
            Ok(flags) => {
                gap = 0;
                found += 1;
                if fd > 2 && flags & libc::FD_CLOEXEC as usize != 0 && !spared.contains(&(fd as RawFd)) {
                    close_number(fd);
                }
            }
        }
        if gap >= GAP && found >= count {
            break;
        }
    }
    Ok(())
}

/// close(2) of a number that nobody uses any more: it was given up, the table is the child's own, or the process is about to end.
pub(super) fn close_number(fd: u32) {
    let _ = close_one(fd);
}

fn close_one(fd: u32) -> Result<(), Errno> {
    // SAFETY: a number, of what is said above.
    check(unsafe { syscall(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) }).map(drop)
}

/// Descriptors have numbers below this. rustix takes for granted that it can be asked for, and a filter may not.
fn limit() -> u64 {
    let mut found = [65_536_u64; 2];
    let place = found.as_mut_ptr() as usize;
    // SAFETY: struct rlimit64 is two such numbers; nothing is read.
    let asked = unsafe { syscall(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE as usize, 0, place, 0, 0]) };
    check(asked).map_or(65_536, |_| found[0])
}

/// From this number on.
pub(crate) fn close_all(first: u32) -> Result<(), Errno> {
    close_between(first, u32::MAX)
}

fn close_between(first: u32, last: u32) -> Result<(), Errno> {
    match close_range(first, last) {
        // Before Linux 5.9, or where a filter does not know the call: one by one, as far as the limit lets descriptors be.
        Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => {
            // The limit may have been lowered since they were opened.
            (first..=last.min(limit().clamp(65_536, 1 << 20) as u32)).try_for_each(|fd| match close_one(fd) {
                // Not there, or closed with something to say about what was written.
                Err(Errno::BADF | Errno::INTR | Errno::IO | Errno::NOSPC | Errno::DQUOT) => Ok(()),
                done => done,
            })
        }
        done => done,
    }
}

fn flags(fd: u32) -> Result<usize, Errno> {
    // SAFETY: numbers only.
    check(unsafe { syscall(libc::SYS_fcntl, [fd as usize, libc::F_GETFD as usize, 0, 0, 0, 0]) })
}

fn set_flags(fd: u32, flags: usize) -> Result<(), Errno> {
    // SAFETY: numbers only.
    let answer = unsafe { syscall(libc::SYS_fcntl, [fd as usize, libc::F_SETFD as usize, flags, 0, 0, 0]) };
    check(answer).map(drop)
}
