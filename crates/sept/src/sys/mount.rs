//! mount_setattr(2): the attributes of mounts.

use std::ffi::CStr;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;

use super::raw::{check, syscall};

/// Attributes of mounts, mount_setattr(2).
pub(crate) mod attr {
    pub(crate) const RDONLY: u64 = 1;
    pub(crate) const NOSUID: u64 = 2;
    pub(crate) const NODEV: u64 = 4;
    pub(crate) const NOEXEC: u64 = 8;
    pub(crate) const NOATIME: u64 = 0x10;
    pub(crate) const STRICTATIME: u64 = 0x20;
    /// The field of the three ways to keep access times; 0 in it is relatime.
    pub(crate) const ATIME: u64 = 0x70;
    pub(crate) const NODIRATIME: u64 = 0x80;
    /// Since Linux 5.14.
    pub(crate) const NOSYMFOLLOW: u64 = 0x0020_0000;
}

/// What mount_setattr(2) changes: first what is cleared, then what is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`; 0 leaves it.
    pub propagation: u64,
}

impl Attributes {
    pub(crate) const NONE: Self = Self { set: 0, clear: 0, propagation: 0 };

    /// Only sets.
    pub(crate) const fn set(set: u64) -> Self {
        Self { set, clear: 0, propagation: 0 }
    }

    /// These, and `then` after them.
    #[must_use]
    pub(crate) const fn then(self, then: Self) -> Self {
        Self {
            set: self.set & !then.clear | then.set,
            clear: self.clear & !then.set | then.clear,
            propagation: if then.propagation == 0 { self.propagation } else { then.propagation },
        }
    }
}

/// Which mounts a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The one that is named.
    One,
    /// That, and all below it.
    Tree,
}

/// mount_setattr(2), since Linux 5.12, of the mount at `fd` or `path`.
pub(crate) fn mount_setattr(
    fd: BorrowedFd<'_>,
    path: &CStr,
    change: Attributes,
    reach: Reach,
) -> Result<(), Errno> {
    set_mount(fd, path, &[change.set, change.clear, change.propagation, 0], reach)
}

/// Whether the kernel, and whatever filter there is, has mount_setattr(2).
pub(crate) fn has_mount_setattr() -> bool {
    // SAFETY: the addresses are null and the size is 0, which a kernel that has the call refuses.
    check(unsafe { syscall(libc::SYS_mount_setattr, [usize::MAX, 0, 0, 0, 0, 0]) }) != Err(Errno::NOSYS)
}

/// mount_setattr(2) with MOUNT_ATTR_IDMAP, since Linux 5.12, of a mount that is attached nowhere.
pub(crate) fn mount_idmap(mount: BorrowedFd<'_>, user: BorrowedFd<'_>, reach: Reach) -> Result<(), Errno> {
    const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
    set_mount(mount, c"", &[MOUNT_ATTR_IDMAP, 0, 0, user.as_raw_fd() as u64], reach)
}

/// open_tree_attr(2), since Linux 6.15: open_tree(2) with OPEN_TREE_CLONE, and mount_setattr(2), in one call.
pub(crate) fn open_tree_attr(
    from: BorrowedFd<'_>,
    path: &CStr,
    change: Attributes,
    reach: Reach,
) -> Result<OwnedFd, Errno> {
    /// The same on every architecture; libc does not have it yet.
    const OPEN_TREE_ATTR: libc::c_long = 467;
    const OPEN_TREE_CLONE: i32 = 1;
    let attr = [change.set, change.clear, change.propagation, 0];
    let flags = OPEN_TREE_CLONE
        | libc::O_CLOEXEC
        | if reach == Reach::Tree { libc::AT_RECURSIVE } else { 0 }
        | if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    // SAFETY: `path` and `attr` live across the call and the true size is passed.
    let answer = unsafe {
        syscall(
            OPEN_TREE_ATTR,
            [
                from.as_raw_fd() as usize,
                path.as_ptr() as usize,
                flags as usize,
                attr.as_ptr() as usize,
                size_of_val(&attr),
                0,
            ],
        )
    };
    let fd = check(answer)?;
    // SAFETY: the kernel has just made this descriptor, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn set_mount(fd: BorrowedFd<'_>, path: &CStr, attr: &[u64; 4], reach: Reach) -> Result<(), Errno> {
    let flags = if reach == Reach::Tree { libc::AT_RECURSIVE } else { 0 }
        | if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    // SAFETY: `path` and `attr` live across the call and the true size is passed.
    let answer = unsafe {
        syscall(
            libc::SYS_mount_setattr,
            [
                fd.as_raw_fd() as usize,
                path.as_ptr() as usize,
                flags as usize,
                attr.as_ptr() as usize,
                size_of_val(attr),
                0,
            ],
        )
    };
    check(answer).map(drop)
}

/// The number by which mountinfo calls the mount that a descriptor is in (Linux 5.8; 0 before).
pub(crate) fn mount_number(place: BorrowedFd<'_>) -> Result<u64, Errno> {
    // No file system is asked.
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    rustix::fs::statx(place, c"", flags, StatxFlags::MNT_ID).map(|found| found.stx_mnt_id)
}
