//! Where a mount or a file goes inside: the directory, of which the last one is remembered, and the name in it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MoveMountFlags;

use super::files::{identity, prefix};
use super::mounts::attach;
use super::{Child, Maker, Result};
use crate::mount::Create;
use crate::sys;

/// As the kernel has it, with the byte that ends it.
pub(super) const PATH_MAX: usize = libc::PATH_MAX as usize;

/// A directory inside, and the path by which it was found.
///
/// What this child mounts by way of it lies in it, and so covers neither the directory nor what is above. Whoever mounts
/// elsewhere forgets it.
pub(super) struct Near {
    path: [u8; PATH_MAX],
    length: usize,
    directory: OwnedFd,
    /// Whether mount points may be made in it unasked.
    own: bool,
    /// Whether a link or a `..` led to it.
    strayed: bool,
}

impl Near {
    pub(super) fn is_own(&self) -> bool {
        self.own
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(super) fn is(&self, path: &[u8]) -> bool {
        self.path.get(..self.length) == Some(path)
    }

    /// Attaches a mount, perhaps known to be a directory, at a name in it. False if that leads elsewhere, or is missing.
    fn attach(&self, mount: BorrowedFd<'_>, name: &CStr, known: bool, maker: Maker<'_>) -> Result<bool> {
        if self.own {
            match make(maker, self.directory.as_fd(), name, known || is_directory(mount)?) {
                // Made a moment ago in a file system that nobody else has: no link, and needs no descriptor.
                Ok(()) => {
                    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                    return rustix::mount::move_mount(mount, c"", &self.directory, name, flags)
                        .map(|()| true);
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        let (flags, resolve) = (OFlags::PATH | OFlags::CLOEXEC, ResolveFlags::NO_SYMLINKS);
        match rustix::fs::openat2(&self.directory, name, flags, Mode::empty(), resolve) {
            Ok(place) => attach_alike(mount, place.as_fd()).map(|()| true),
            Err(_) => Ok(false),
        }
    }
}

impl Child<'_> {
    /// Attaches a mount at a path inside; its mount point is made if it is missing, and may be.
    pub(super) fn put(&mut self, mount: BorrowedFd<'_>, target: &CStr, create: Create) -> Result {
        let (path, name) = split(target)?;
        // Over an earlier mount, and nowhere else.
        let over = self
            .anchor()
            .and_then(|anchor| self.anchored(anchor, target))
            .is_some_and(|(_, rest)| rest == c".");
        if !over && !matches!(name.to_bytes(), b"" | b"." | b"..") && self.look_near(path).is_ok() {
            let known = self.prepared.directories.get(self.at()) == Some(&true);
            let near = self.near.as_ref().ok_or(Errno::BADF)?;
            if near.attach(mount, name, known, self.maker)? {
                self.strayed = near.strayed;
                self.placed(target);
                return Ok(());
            }
        }
        self.near = None;
        let place = match self.resolve(target) {
            Err(Errno::NOENT) => {
                self.make_mount_point(target, create, is_directory(mount)?)?;
                self.keep_made(target)?;
                self.resolve(target)?
            }
            found => found?,
        };
        let is_root = self.is_root(place.as_fd())?;
        // By a link: nobody has planned for that.
        if is_root && target != c"/" {
            return Err(Errno::XDEV);
        }
        self.placed(target);
        attach_alike(mount, place.as_fd())?;
        if is_root {
            // Nothing gets from a root to what is mounted on it but by a descriptor, until the pivot.
            self.root = Some(rustix::io::fcntl_dupfd_cloexec(mount, 0)?);
        }
        Ok(())
    }

    /// Whether this is the top of the present root, not only the same directory in another mount.
    pub(super) fn is_root(&mut self, place: BorrowedFd<'_>) -> Result<bool> {
        let root = self.root()?;
        if identity(place)? != identity(root)? {
            return Ok(false);
        }
        Ok(sys::mount_number(place)? == sys::mount_number(root)?)
    }

    /// Remembers the directory at this path, if it is not the one that is remembered.
    fn look_near(&mut self, path: &[u8]) -> Result {
        if self.near.as_ref().is_some_and(|near| near.is(path)) {
            return Ok(());
        }
        let mut copy = [0_u8; PATH_MAX];
        self.strayed = false;
        let directory = self.resolve(or_root(&mut copy, path)?)?;
        let (own, strayed) = (self.is_own(directory.as_fd())?, self.strayed);
        self.near = Some(Near { path: copy, length: path.len(), directory, own, strayed });
        Ok(())
    }

    /// The directory of `path`, made if need be and allowed, the last name, and who makes that.
    pub(super) fn parent_of<'p>(
        &mut self,
        path: &'p CStr,
        create: Create,
    ) -> Result<(BorrowedFd<'_>, &'p CStr, Maker<'_>)> {
        let (above, name) = split(path)?;
        match self.look_near(above) {
            Err(Errno::NOENT) => {
                let mut buffer = [0_u8; PATH_MAX];
                self.make_mount_point(or_root(&mut buffer, above)?, create, true)?;
                self.look_near(above)?;
            }
            found => found?,
        }
        let near = self.near.as_ref().ok_or(Errno::BADF)?;
        // Nothing is left behind on the host, unless it was asked for.
        let directory = near.directory.as_fd();
        Ok((directory, name, self.maker_where(near.own, directory, create)?))
    }

    /// Whether it is in a tmpfs of this child's own.
    pub(super) fn is_own(&self, directory: BorrowedFd<'_>) -> Result<bool> {
        let device = rustix::fs::fstat(directory)?.st_dev;
        Ok(self.own.iter().take(self.own_count).any(|own| *own == device))
    }

    /// Who makes something in a directory, if anybody may.
    pub(super) fn may_make_in(&self, directory: BorrowedFd<'_>, create: Create) -> Result<Maker<'_>> {
        self.maker_where(self.is_own(directory)?, directory, create)
    }

    fn maker_where(&self, own: bool, directory: BorrowedFd<'_>, create: Create) -> Result<Maker<'_>> {
        match (own, create) {
            (true, _) => Ok(self.maker),
            (false, Create::Host) => self.keeps_to_root(directory).map(|()| Maker::caller(self.prepared)),
            _ => Err(Errno::NOENT),
        }
    }

    /// What the line does not name as below one of its mounts is on the root's own mount: in a root of another's that one may have
    /// moved a mount to where it is looked for, meanwhile.
    fn keeps_to_root(&self, directory: BorrowedFd<'_>) -> Result {
        match &self.root {
            Some(root) if self.prepared.anchors.foreign_root && self.anchor().is_none() => {
                let same = sys::mount_number(directory)? == sys::mount_number(root.as_fd())?;
                if same { Ok(()) } else { Err(Errno::XDEV) }
            }
            _ => Ok(()),
        }
    }

    /// Makes what is missing of `path`, one component after another.
    fn make_mount_point(&mut self, path: &CStr, create: Create, directory: bool) -> Result {
        let bytes = path.to_bytes_with_nul();
        let length = bytes.len() - 1;
        let mut buffer = [0_u8; PATH_MAX];
        let mut parent = self.resolve(c"/")?;
        let mut start = 0;
        while start < length {
            let end =
                bytes.iter().skip(start).position(|b| *b == b'/' || *b == 0).map_or(length, |at| start + at);
            if end > start {
                parent = match self.resolve(prefix(&mut buffer, bytes, end)?) {
                    Err(Errno::NOENT) => {
                        let maker = self.may_make_in(parent.as_fd(), create)?;
                        let mut name = [0_u8; 256];
                        let component = bytes.get(start..end).ok_or(Errno::INVAL)?;
                        let name = prefix(&mut name, component, component.len())?;
                        make(maker, parent.as_fd(), name, directory || end < length)?;
                        self.resolve(prefix(&mut buffer, bytes, end)?)?
                    }
                    found => found?,
                };
            }
            start = end + 1;
        }
        Ok(())
    }
}

/// The kernel's EINVAL for a directory on a file, and a file on a directory, says less than that.
fn attach_alike(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result {
    match attach(mount, place) {
        Err(Errno::INVAL) if is_directory(mount)? != is_directory(place)? => Err(Errno::NOTDIR),
        done => done,
    }
}

fn is_directory(mount: BorrowedFd<'_>) -> Result<bool> {
    rustix::fs::fstat(mount).map(|found| FileType::from_raw_mode(found.st_mode).is_dir())
}

/// What stands before the last slash, and the name after it.
pub(super) fn split(path: &CStr) -> Result<(&[u8], &CStr)> {
    let bytes = path.to_bytes_with_nul();
    let slash = bytes.iter().rposition(|byte| *byte == b'/').ok_or(Errno::INVAL)?;
    let name = bytes.get(slash + 1..).and_then(|name| CStr::from_bytes_with_nul(name).ok());
    Ok((bytes.get(..slash).ok_or(Errno::INVAL)?, name.ok_or(Errno::INVAL)?))
}

/// What stands before the last slash, as a path of its own.
pub(super) fn or_root<'b>(buffer: &'b mut [u8; PATH_MAX], above: &[u8]) -> Result<&'b CStr> {
    if above.is_empty() { Ok(c"/") } else { prefix(buffer, above, above.len()) }
}

fn make(maker: Maker<'_>, parent: BorrowedFd<'_>, name: &CStr, directory: bool) -> Result {
    maker.make(|| match directory {
        true => rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)),
        false => rustix::fs::mknodat(parent, name, FileType::RegularFile, Mode::from_raw_mode(0o644), 0),
    })
}
