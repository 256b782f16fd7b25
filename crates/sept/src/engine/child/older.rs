//! Kernels before Linux 5.12, without mount_setattr(2): a mount is attached, and then changed by mount(2), MS_REMOUNT. Nobody
//! else is in the mount namespace yet.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};

use super::mounts::descriptor_path;
use super::place::PATH_MAX;
use super::{Child, Result};
use crate::plan::step::Change;
use crate::sys::{self, Attributes, Reach, attr};

/// The most mounts below one that is changed with all below it.
const MOST_BELOW: usize = 1024;

/// Attributes as mount_setattr(2), mount(2) and statfs(2) have them. The last is since Linux 5.10.
const FLAGS: [(u64, u32, u64); 6] = [
    (attr::RDONLY, 1, 1),
    (attr::NOSUID, 2, 2),
    (attr::NODEV, 4, 4),
    (attr::NOEXEC, 8, 8),
    (attr::NODIRATIME, 2048, 0x800),
    (attr::NOSYMFOLLOW, 256, 0x2000),
];
const MS_NOATIME: u32 = 1024;
const MS_RELATIME: u32 = 1 << 21;
const MS_STRICTATIME: u32 = 1 << 24;

/// Changes an attached mount.
fn set(mount: BorrowedFd<'_>, change: &Change, reach: Reach) -> Result {
    if reach == Reach::One {
        return set_one(mount, change.all.then(change.top));
    }
    if change.all != Attributes::NONE {
        set_below(mount, change.all)?;
        set_one(mount, change.all)?;
    }
    set_one(mount, change.top)
}

fn set_one(mount: BorrowedFd<'_>, change: Attributes) -> Result {
    let mut buffer = [0_u8; 40];
    let path = descriptor_path(&mut buffer, mount, b"")?;
    if change.set | change.clear != 0 {
        // A remount sets all anew: what is not changed must be said again, and a user namespace may not drop it.
        let now = rustix::fs::fstatvfs(mount)?.f_flag.bits();
        let mut flags = 0;
        for (attribute, flag, shown) in FLAGS {
            let kept = now & shown != 0 && change.clear & attribute == 0;
            if kept || change.set & attribute != 0 {
                flags |= flag;
            }
        }
        flags |= match (change.clear & attr::ATIME != 0, change.set & attr::ATIME) {
            (true, attr::NOATIME) => MS_NOATIME,
            (true, attr::STRICTATIME) => MS_STRICTATIME,
            (true, _) => MS_RELATIME,
            (false, _) if now & u64::from(MS_NOATIME) != 0 => MS_NOATIME,
            (false, _) if now & 0x1000 != 0 => MS_RELATIME,
            (false, _) => MS_STRICTATIME,
        };
        let flags = MountFlags::BIND | MountFlags::from_bits_retain(flags);
        rustix::mount::mount_remount(path, flags, c"")?;
    }
    if change.propagation != 0 {
        let flags = MountPropagationFlags::from_bits_retain(change.propagation as u32);
        rustix::mount::mount_change(path, flags)?;
    }
    Ok(())
}

/// Changes what lies below a mount, as far as it can be seen.
fn set_below(mount: BorrowedFd<'_>, change: Attributes) -> Result {
    let mut known = [0_u64; MOST_BELOW];
    known[0] = sys::mount_number(mount)?;
    let mut count = 1;
    loop {
        let before = count;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let list = rustix::fs::open(c"/proc/thread-self/mountinfo", flags, Mode::empty())?;
        each_line(&list, |line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let (own, parent) = (number(fields.next())?, number(fields.next())?);
            let is_known = |id: u64| known.iter().take(count).any(|known| *known == id);
            if is_known(own) || !is_known(parent) {
                return Ok(());
            }
            *known.get_mut(count).ok_or(Errno::NOBUFS)? = own;
            count += 1;
            let mut buffer = [0_u8; PATH_MAX];
            let path = unescape(&mut buffer, fields.nth(2).ok_or(Errno::INVAL)?)?;
            let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            // Another one lies over it: nobody gets at it.
            if sys::mount_number(place.as_fd())? == own { set_one(place.as_fd(), change) } else { Ok(()) }
        })?;
        // Parents mostly stand before their children, but need not.
        if count == before {
            return Ok(());
        }
    }
}

fn each_line(file: &OwnedFd, mut work: impl FnMut(&[u8]) -> Result) -> Result {
    let mut buffer = [0_u8; 16 * 1024];
    let mut filled = 0;
    loop {
        let room = buffer.get_mut(filled..).ok_or(Errno::INVAL)?;
        if room.is_empty() {
            return Err(Errno::NAMETOOLONG);
        }
        let read = rustix::io::read(file, room)?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut begin = 0;
        while let Some(text) = buffer.get(begin..filled)
            && let Some(length) = text.iter().position(|byte| *byte == b'\n')
        {
            work(text.get(..length).ok_or(Errno::INVAL)?)?;
            begin += length + 1;
        }
        buffer.copy_within(begin..filled, 0);
        filled -= begin;
    }
}

fn number(field: Option<&[u8]>) -> Result<u64> {
    let digits = field.ok_or(Errno::INVAL)?.iter();
    Ok(digits
        .fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0')))))
}

/// A path as mountinfo has it: blanks and the like are three octal digits after a backslash.
fn unescape<'b>(buffer: &'b mut [u8; PATH_MAX], field: &[u8]) -> Result<&'b CStr> {
    let (mut from, mut to) = (0, 0);
    while let Some(byte) = field.get(from) {
        let mut byte = *byte;
        if byte == b'\\' {
            let digits = field.get(from + 1..from + 4).ok_or(Errno::INVAL)?;
            byte = digits.iter().fold(0, |sum, digit| sum << 3 | (digit & 7));
            from += 3;
        }
        *buffer.get_mut(to).ok_or(Errno::NAMETOOLONG)? = byte;
        (from, to) = (from + 1, to + 1);
    }
    *buffer.get_mut(to).ok_or(Errno::NAMETOOLONG)? = 0;
    buffer.get(..=to).and_then(|text| CStr::from_bytes_with_nul(text).ok()).ok_or(Errno::INVAL)
}

impl Child<'_> {
    /// What could not be set on a detached mount is set now that it is attached.
    pub(super) fn settle(&self, mount: BorrowedFd<'_>, change: &Change, reach: Reach) -> Result {
        if self.prepared.older { set(mount, change, reach) } else { Ok(()) }
    }
}
