//! Keeps what is about to be mounted, or hidden, in its place: the directories above become mount points, which nobody renames.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use rustix::fs::{Access, AtFlags, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::files::{identity, open_under, prefix};
use super::mounts::{attach, open_tree_at};
use super::place::PATH_MAX;
use super::{Child, Result, filters};
use crate::mount::{Propagation, Stay};
use crate::plan::step::{Guard, Renames, Step};
use crate::sys::{self, Attributes, Reach};

/// What statfs(2) calls file systems in which nobody renames anything; linux/magic.h.
const UNCHANGING: [u64; 3] = [0x9fa0, 0x6265_6572, 0x1cd1];
const TMPFS: u64 = 0x0102_1994;
/// `ST_RDONLY` of statvfs(3).
const READ_ONLY: u64 = 1;

impl Child<'_> {
    /// Before something is mounted on this place: a mount lies on a file, not on its name. Whoever may rename a directory above could have
    /// the file shown without the mount where another one shows the same file system; and in a mount namespace that the command makes with
    /// a user namespace, turned away from these mounts by pivot_root(2), rename the mount point itself. What is decided here is about the
    /// place that the path really leads to, by whatever links.
    pub(super) fn keep_in_place(&mut self, at: &CStr, stay: Stay, renames: Renames) -> Result {
        let place = match self.resolve(at) {
            // What is made only now hides nothing.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            found => found?,
        };
        let (mount, is_top) = sys::mount_of(place.as_fd())?;
        if is_top {
            // All of a mount is covered. Where the same lies under that, it is as open as it was when that was mounted.
            self.guard(stay, false);
            return Ok(());
        }
        if self.is_settled(place.as_fd())? {
            return Ok(());
        }
        let foreign = self.prepared.anchors.foreign_root && mount == sys::mount_of(self.root()?)?.0;
        // What is bound into a root of its own hides nothing of that.
        if foreign && stay != Stay::Guard {
            return Ok(());
        }
        let mut buffer = [0_u8; PATH_MAX];
        let names = self.names_to(place.as_fd(), at, &mut buffer)?;
        let movable = self.walk(names, place.as_fd(), renames)?;
        self.guard(stay, movable);
        Ok(())
    }

    /// Decides whether user namespaces are refused later.
    fn guard(&self, stay: Stay, movable: bool) {
        let anchors = &self.prepared.anchors;
        if stay > Stay::Fixed {
            anchors.movable.fetch_or(movable || anchors.fixed.load(Acquire), AcqRel);
        } else {
            anchors.fixed.fetch_or(movable, AcqRel);
        }
    }

    pub(super) fn refuse(&self, guard: Guard) -> Result {
        if guard == Guard::UserNamespaces && !self.prepared.anchors.movable.load(Acquire) {
            return Ok(());
        }
        sys::seccomp(filters::of(guard), 0)
    }

    /// Follows the names from the root to a place, and fixes the directories between that the command could rename. Whether it could
    /// rename any, or the place itself, in the mount where that is.
    fn walk(&mut self, names: &[u8], place: BorrowedFd<'_>, renames: Renames) -> Result<bool> {
        let mut dir = rustix::io::fcntl_dupfd_cloexec(self.root()?, 0)?;
        let root = sys::mount_of(dir.as_fd())?.0;
        let (mut mount, mut settled, mut movable) = (root, self.is_settled(dir.as_fd())?, false);
        let mut names = names.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            let mut buffer = [0_u8; 256];
            let name = prefix(&mut buffer, name, name.len())?;
            let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let mut next = open_under(dir.as_fd(), name, OFlags::PATH, within).map_err(elsewhere)?;
            let below = sys::mount_of(next.as_fd())?.0;
            if below != mount {
                (mount, settled, movable) = (below, self.is_settled(next.as_fd())?, false);
            } else if !settled && may_rename(dir.as_fd(), next.as_fd(), renames)? {
                movable = true;
                // By links a foreign root leads into no mount, so nothing there becomes one.
                let fixes = !(self.prepared.anchors.foreign_root && mount == root);
                if fixes && names.peek().is_some() {
                    next = self.fix(next.as_fd())?;
                    mount = sys::mount_of(next.as_fd())?.0;
                }
            }
            dir = next;
        }
        // Somebody has moved something meanwhile.
        if identity(dir.as_fd())? == identity(place)? { Ok(movable) } else { Err(Errno::XDEV) }
    }

    /// A mount of a directory on itself.
    fn fix(&mut self, directory: BorrowedFd<'_>) -> Result<OwnedFd> {
        let tree = open_tree_at(directory, c"", Reach::Tree)?;
        let shared = |step: &Step| *step == Step::Propagate(Propagation::Shared);
        if self.prepared.plan.steps.iter().any(shared) {
            // Of one that still told of its mounts each next one would appear twice as often.
            let slave = Attributes { propagation: libc::MS_SLAVE, ..Attributes::NONE };
            sys::mount_setattr(tree.as_fd(), c"", slave, Reach::Tree)?;
        }
        attach(tree.as_fd(), directory)?;
        self.by_name += 1;
        self.near = None;
        Ok(tree)
    }

    /// The names from the root to a place, without links.
    fn names_to<'b>(
        &mut self,
        place: BorrowedFd<'_>,
        at: &'b CStr,
        buffer: &'b mut [u8; PATH_MAX],
    ) -> Result<&'b [u8]> {
        let plainly = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let goes_up = at.to_bytes().split(|byte| *byte == b'/').any(|name| name == b"..");
        if !goes_up
            && let Ok(found) = open_under(self.root()?, at, OFlags::PATH, plainly)
            && identity(found.as_fd())? == identity(place)?
        {
            return Ok(at.to_bytes());
        }
        let own = rustix::io::fcntl_dupfd_cloexec(self.root()?, 0)?;
        let mut root = [0_u8; PATH_MAX];
        let root = self.name_of(own.as_fd(), &mut root)?;
        let name = self.name_of(place, buffer)?;
        let below = if root == b"/" { Some(name) } else { name.strip_prefix(root) };
        below.filter(|below| below.first().is_none_or(|byte| *byte == b'/')).ok_or(Errno::XDEV)
    }

    /// What the kernel calls an open file.
    fn name_of<'b>(&self, file: BorrowedFd<'_>, buffer: &'b mut [u8; PATH_MAX]) -> Result<&'b [u8]> {
        let proc = self.prepared.proc.as_ref().ok_or(Errno::BADF)?;
        let mut link = [0_u8; 40];
        let link = super::mounts::descriptor_path(&mut link, file, b"")?;
        let link = link.to_bytes_with_nul().strip_prefix(b"/proc/").ok_or(Errno::INVAL)?;
        let link = CStr::from_bytes_with_nul(link).map_err(|_| Errno::INVAL)?;
        let length = rustix::fs::readlinkat_raw(proc, link, buffer.as_mut_slice())?;
        // It may be longer than that.
        buffer.get(..length).filter(|name| name.len() < PATH_MAX).ok_or(Errno::NAMETOOLONG)
    }

    /// Whether the command can rename nothing in this mount, or what it can is its own.
    fn is_settled(&self, place: BorrowedFd<'_>) -> Result<bool> {
        let fs = rustix::fs::fstatfs(place)?;
        let kind = fs.f_type as u64 & 0xffff_ffff;
        let steps = &self.prepared.plan.steps;
        if UNCHANGING.contains(&kind) {
            return Ok(true);
        }
        if fs.f_flags as u64 & READ_ONLY != 0 {
            // Unless a later step changes that.
            return Ok(!steps.iter().any(|step| matches!(step, Step::Remount { .. })));
        }
        let copies = |step: &Step| matches!(step, Step::Mount { change, .. } if change.copy_up);
        Ok(kind == TMPFS && self.is_own(place)? && !steps.iter().any(copies))
    }
}

fn elsewhere(errno: Errno) -> Errno {
    if matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) { Errno::XDEV } else { errno }
}

/// Whether the command may, or may allow itself to, rename this entry of a directory. Every doubt is a yes.
fn may_rename(dir: BorrowedFd<'_>, entry: BorrowedFd<'_>, renames: Renames) -> Result<bool> {
    if renames == Renames::All {
        return Ok(true);
    }
    let (user, above) = (rustix::process::geteuid().as_raw(), rustix::fs::fstat(dir)?);
    if above.st_uid == user {
        return Ok(true);
    }
    if rustix::fs::accessat(dir, c".", Access::WRITE_OK, AtFlags::EACCESS).is_err() {
        return Ok(false);
    }
    let is_sticky = above.st_mode & libc::S_ISVTX != 0;
    Ok(!is_sticky || rustix::fs::fstat(entry)?.st_uid == user)
}
