//! Which file is at a place, and whether one that is held is still the one that its name means.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, StatxFlags};
use rustix::io::Errno;

/// The device and number of what is there, links followed, and of the mount by which it is seen. As the kernel has them at hand: a file
/// system in user space may never answer.
pub fn seen(dir: BorrowedFd<'_>, path: &Path) -> Result<((u32, u32, u64), u64), Errno> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = rustix::fs::statx(dir, path, flags, StatxFlags::INO | StatxFlags::MNT_ID)?;
    Ok(((found.stx_dev_major, found.stx_dev_minor, found.stx_ino), found.stx_mnt_id))
}

/// Not behind a link. False where there is nothing.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => found.map(|found| (found.dev(), found.ino()) == (held.dev(), held.ino())),
    }
}
