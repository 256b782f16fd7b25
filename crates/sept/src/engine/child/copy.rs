//! What a tmpfs is filled with that begins as a copy of what it covers (`tmpcopyup`), by a child that can get no memory.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawDir, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::Result;
use super::files::fill;
use super::place::PATH_MAX;

/// How deep a directory may lie below the first: each level takes a piece of the child's stack.
pub(super) const DEEPEST: usize = 64;

/// Whose the copies are to be.
#[derive(Clone, Copy)]
pub(super) struct Owners {
    /// Whether the numbers by which those without one are shown (`kernel.overflowuid`) are taken for what they say. Not where
    /// the caller's own has none: it would make the caller's files that user's.
    pub(super) overflow: bool,
}

/// What the kernel shows for an id without a number here, unless it was told otherwise.
const OVERFLOW: u32 = 65534;

impl Owners {
    fn user(self, stat: &Stat) -> Option<Uid> {
        (self.overflow || stat.st_uid != OVERFLOW).then(|| Uid::from_raw(stat.st_uid))
    }

    fn group(self, stat: &Stat) -> Option<Gid> {
        (self.overflow || stat.st_gid != OVERFLOW).then(|| Gid::from_raw(stat.st_gid))
    }
}

/// What is in one directory, into another, with its modes, owners and times. Hard links become files of their own; extended
/// attributes, and owners that have no number here, are left behind.
pub(super) fn contents(owners: Owners, from: BorrowedFd<'_>, to: BorrowedFd<'_>, deepest: usize) -> Result {
    let deepest = deepest.checked_sub(1).ok_or(Errno::NAMETOOLONG)?;
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(from, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            one(owners, from, to, name, deepest)?;
        }
    }
    Ok(())
}

fn one(owners: Owners, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, deepest: usize) -> Result {
    let stat = match rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
        // Gone meanwhile.
        Err(Errno::NOENT) => return Ok(()),
        stat => stat?,
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = rustix::fs::openat(from, name, flags, Mode::empty())?;
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let made = rustix::fs::openat(to, name, flags, Mode::empty())?;
            // Of what was opened: another may have its name by now.
            let stat = rustix::fs::fstat(&below)?;
            contents(owners, below.as_fd(), made.as_fd(), deepest)?;
            dress(owners, below.as_fd(), made.as_fd(), &stat)
        }
        FileType::RegularFile => file(owners, from, to, name),
        FileType::Symlink => link(owners, from, to, name, &stat),
        kind => {
            // Of devices the kernel makes none for who is in a user namespace.
            let mode = Mode::from_raw_mode(stat.st_mode);
            rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
            own(rustix::fs::chownat(
                to,
                name,
                owners.user(&stat),
                owners.group(&stat),
                AtFlags::SYMLINK_NOFOLLOW,
            ))?;
            rustix::fs::chmodat(to, name, mode, AtFlags::empty())
        }
    }
}

/// Not part of the frames that lie on one another.
#[inline(never)]
fn file(owners: Owners, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> Result {
    // What has taken its place meanwhile must not be waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let there = rustix::fs::openat(from, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&there)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Errno::AGAIN);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    fill(&made, there.as_fd(), 0o600, None)?;
    dress(owners, there.as_fd(), made.as_fd(), &stat)
}

#[inline(never)]
fn link(owners: Owners, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result {
    let mut buffer = [0_u8; PATH_MAX];
    // One byte stays for the end.
    let free = buffer.get_mut(..PATH_MAX - 1).ok_or(Errno::INVAL)?;
    rustix::fs::readlinkat_raw(from, name, free)?;
    let target = CStr::from_bytes_until_nul(&buffer).map_err(|_| Errno::NAMETOOLONG)?;
    rustix::fs::symlinkat(target, to, name)?;
    own(rustix::fs::chownat(to, name, owners.user(stat), owners.group(stat), AtFlags::SYMLINK_NOFOLLOW))?;
    rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

/// Owner, mode, times: in this order, as a change of owner clears set-user-ID bits.
pub(super) fn dress(owners: Owners, from: BorrowedFd<'_>, made: BorrowedFd<'_>, stat: &Stat) -> Result {
    own(rustix::fs::fchown(made, owners.user(stat), owners.group(stat)))?;
    let mut mode = Mode::from_raw_mode(stat.st_mode);
    // With an access control list the group's bits are the most that it gives to anybody, and others' are not those of whom it denies. It
    // is not copied: only the owner has the copy. What is longer than this has one, too.
    let mut list = [0_u8; 4];
    let listed = rustix::fs::fgetxattr(from, c"system.posix_acl_access", &mut list);
    if matches!(listed, Ok(1..) | Err(Errno::RANGE)) {
        mode -= Mode::RWXG | Mode::RWXO;
    }
    rustix::fs::fchmod(made, mode)?;
    rustix::fs::futimens(made, &times(stat))
}

/// An owner without a number in this user namespace can't be given: the file is then the child's own.
fn own(done: Result) -> Result {
    match done {
        Err(Errno::INVAL | Errno::PERM) => Ok(()),
        done => done,
    }
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds as _, tv_nsec: nanoseconds as _ };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
