//! The files to which namespaces of a start that may still fail are bound.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::sys;

/// What is bound is unmounted with this, unless it is to stay. By the mount itself: what others have mounted there is theirs.
#[derive(Debug)]
pub(crate) struct Bound {
    mounts: Vec<OwnedFd>,
    /// Whose, by `sys::own_process`: a copy of this unmounts nothing.
    process: u32,
}

impl Bound {
    pub(super) fn new() -> Self {
        Self { mounts: Vec::new(), process: sys::own_process() }
    }

    /// Binds the namespace behind a link of /proc to a file.
    pub(super) fn bind(&mut self, link: &str, file: &Path) -> Result<(), Errno> {
        rustix::mount::mount_bind(link, file)?;
        // One that can't be told from another's stays.
        let top = rustix::fs::open(file, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let number = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
        let wanted = rustix::fs::stat(link).map(number);
        self.mounts.extend(top.ok().filter(|top| rustix::fs::fstat(top).map(number) == wanted));
        Ok(())
    }

    /// The start went well.
    pub(crate) fn keep(&mut self) {
        self.mounts.clear();
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if self.mounts.is_empty() || self.process != sys::own_process() {
            return;
        }
        for mount in self.mounts.iter().rev() {
            let link = format!("/proc/thread-self/fd/{}", mount.as_raw_fd());
            let _ = rustix::mount::unmount(link, UnmountFlags::DETACH);
        }
    }
}
