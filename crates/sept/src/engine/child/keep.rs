//! Keeps what is about to be mounted, or hidden, in its place: the directories above become mount points, which nobody renames.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Release};

use rustix::fs::{Access, AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::anchored::goes_up;
use super::files::{identity, open_under, prefix};
use super::mounts::{attach, open_tree_at};
use super::place::{PATH_MAX, or_root, split};
use super::{Child, Result, filters};
use crate::host::common::PROC_SUPER_MAGIC;
use crate::mount::Stay;
use crate::plan::step::{Change, Guard, Renames, Source, Step};
use crate::sys::{self, Attributes, Reach, attr};

/// What statfs(2) calls file systems in which nobody renames anything; linux/magic.h.
const UNCHANGING: [u64; 3] = [PROC_SUPER_MAGIC, 0x6265_6572, 0x1cd1];
const TMPFS: u64 = 0x0102_1994;
/// `ST_RDONLY` of statvfs(3).
const READ_ONLY: u64 = 1;

/// Directories that were fixed, where a later step changes mounts: the numbers of the mount that each lay in, and of its own.
#[derive(Default)]
pub(super) struct Fixes {
    kept: [Option<(u64, u64, OwnedFd)>; 32],
    any: bool,
}

impl Fixes {
    fn add(&mut self, of: u64, tree: BorrowedFd<'_>) -> Result {
        let free = self.kept.iter_mut().find(|fix| fix.is_none()).ok_or(Errno::NOBUFS)?;
        *free = Some((of, sys::mount_number(tree)?, rustix::io::fcntl_dupfd_cloexec(tree, 0)?));
        Ok(())
    }
}

/// What the command could rename in a mount.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Whatever its rights allow.
    Open,
    /// Nothing.
    ReadOnly,
    /// Nothing that anything hides in: what this child has made, or the kernel shows.
    Own,
}

impl Child<'_> {
    /// Before something is mounted on this place: a mount lies on a file, not on its name. Whoever may rename a directory above could have
    /// the file shown without the mount where another one shows the same file system; and in a mount namespace that the command makes with
    /// a user namespace, turned away from these mounts by pivot_root(2), rename the mount point itself. What is decided here is about the
    /// place that the path really leads to, by whatever links. Done before each mount, so that none is below a directory that is fixed
    /// later, and covered by that.
    pub(super) fn keep_in_place(&mut self, at: &CStr, stay: Stay, renames: Renames) -> Result {
        let place = match self.resolve(at) {
            Err(Errno::NOENT | Errno::NOTDIR) => return self.keep_above(at, renames),
            place => place?,
        };
        let stay = if stay == Stay::Fixed && !self.is_bound_on_itself(place.as_fd())? {
            Stay::GuardBelow
        } else {
            stay
        };
        let movable = self.walk(at, place.as_fd(), false, (stay, renames))?;
        if movable && stay > Stay::Fixed {
            self.prepared.anchors.movable.store(true, Release);
        }
        Ok(())
    }

    /// Whether the next step binds what is there by now: by its words it would.
    fn is_bound_on_itself(&self, place: BorrowedFd<'_>) -> Result<bool> {
        let next = self.prepared.plan.steps.iter().skip(self.at() + 1).find_map(|step| match step {
            Step::Mount { source, .. } => Some(source),
            _ => None,
        });
        let Some(Source::Bind { path, held, .. }) = next else { return Ok(false) };
        let held = held.and_then(|held| self.seen_held(held));
        let source = match held {
            Some(held) => identity(held)?,
            // What can't be had is told by that step.
            None => match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
                Ok(found) => identity(found.as_fd())?,
                Err(_) => return Ok(true),
            },
        };
        Ok(source == identity(place)?)
    }

    /// Mount points were made for what is mounted in this step: as all directories above, those stay in their place.
    pub(super) fn keep_made(&mut self, at: &CStr) -> Result {
        let before = self.prepared.plan.steps.get(..self.at()).unwrap_or_default();
        let last = before.iter().rev().find_map(|step| match step {
            Step::Keep { at: kept, renames, .. } => Some((kept.as_c_str() == at, *renames)),
            _ => None,
        });
        let Some((true, renames)) = last else { return Ok(()) };
        let place = self.resolve(at)?;
        self.walk(at, place.as_fd(), false, (Stay::Fixed, renames)).map(drop)
    }

    /// What is made only now hides nothing, and stays in its place as well.
    fn keep_above(&mut self, at: &CStr, renames: Renames) -> Result {
        let mut path = split(at)?.0;
        // Looked at for the last mount.
        if let Some(near) = self.near.as_ref().filter(|near| near.is(path))
            && self.content(near.directory())? == Content::Own
        {
            return Ok(());
        }
        loop {
            let mut buffer = [0_u8; PATH_MAX];
            let above = or_root(&mut buffer, path)?;
            match self.resolve(above) {
                Err(Errno::NOENT | Errno::NOTDIR) if !path.is_empty() => {
                    let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                    path = path.get(..slash).unwrap_or_default();
                }
                place => return self.walk(above, place?.as_fd(), true, (Stay::Fixed, renames)).map(drop),
            }
        }
    }

    pub(super) fn refuse(&self, guard: Guard) -> Result {
        if guard == Guard::UserNamespaces && !self.prepared.anchors.movable.load(Acquire) {
            return Ok(());
        }
        sys::seccomp(filters::of(guard), 0)
    }

    /// Follows the names from the root to a place, and fixes the directories above it that the command could rename, with `all` the place,
    /// too. Whether it could rename any of them, or the place itself: a mount on the way may show what lies under it as well.
    fn walk(
        &mut self,
        at: &CStr,
        place: BorrowedFd<'_>,
        all: bool,
        (stay, renames): (Stay, Renames),
    ) -> Result<bool> {
        let mut buffer = [0_u8; PATH_MAX];
        let names = self.names_to(place, at, &mut buffer)?;
        let mut dir = rustix::io::fcntl_dupfd_cloexec(self.root()?, 0)?;
        let root = sys::mount_number(dir.as_fd())?;
        let foreign = self.prepared.anchors.foreign_root;
        let (mut mount, mut content, mut movable) = (root, self.content(dir.as_fd())?, false);
        let is_name = |name: &&[u8]| !matches!(*name, b"" | b".");
        let mut names = names.split(|byte| *byte == b'/').filter(is_name).peekable();
        while let Some(name) = names.next() {
            let mut buffer = [0_u8; 256];
            let name = prefix(&mut buffer, name, name.len())?;
            let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let mut next = open_under(dir.as_fd(), name, OFlags::PATH, within).map_err(elsewhere)?;
            let (mut below, is_last) = (sys::mount_number(next.as_fd())?, names.peek().is_none());
            let crosses = below != mount;
            // By links a foreign root leads into no mount, so nothing there becomes one. And what is mounted there hides nothing of it.
            let is_foreign = foreign && mount == root;
            let is_open = content == Content::Open && (!is_foreign || stay == Stay::Guard);
            if is_open && may_rename(dir.as_fd(), next.as_fd(), renames)? {
                movable = true;
                if !crosses && !is_foreign && (all || !is_last) {
                    next = self.fix(next.as_fd(), mount)?;
                    below = sys::mount_number(next.as_fd())?;
                }
            }
            // What is covered as a whole is not asked: it may be of a file system in user space, whose answer never comes.
            if crosses && !is_last {
                content = self.content(next.as_fd())?;
                movable &= content != Content::Own;
            }
            (dir, mount) = (next, below);
        }
        // Somebody has moved something meanwhile.
        if identity(dir.as_fd())? == identity(place)? { Ok(movable) } else { Err(Errno::XDEV) }
    }

    /// A mount of a directory on itself.
    fn fix(&mut self, directory: BorrowedFd<'_>, of: u64) -> Result<OwnedFd> {
        const SLAVE: Change = Change::of(Attributes { propagation: libc::MS_SLAVE, ..Attributes::NONE });
        let tree = open_tree_at(directory, c"", Reach::Tree)?;
        // Of one that told of its mounts each next one would appear twice as often.
        self.set(tree.as_fd(), &SLAVE, Reach::Tree)?;
        attach(tree.as_fd(), directory)?;
        self.settle(tree.as_fd(), &SLAVE, Reach::Tree)?;
        self.by_name += 1;
        self.near = None;
        self.fixes.any = true;
        if self.prepared.anchors.remounts {
            self.fixes.add(of, tree.as_fd())?;
        }
        Ok(tree)
    }

    /// A mount was changed, alone: the directories that were fixed in it are mounts of their own, and parts of it all the same.
    pub(super) fn change_fixed(&self, mount: u64, change: &Change) -> Result {
        let mut parts = [0_u64; 33];
        parts[0] = mount;
        for (n, (of, own, tree)) in self.fixes.kept.iter().flatten().enumerate() {
            if parts.contains(of) {
                self.change(tree.as_fd(), &Change::of(change.top), Reach::One)?;
                *parts.get_mut(n + 1).ok_or(Errno::NOBUFS)? = *own;
            }
        }
        Ok(())
    }

    /// Among what a bind takes along may be such directories, which are to allow no more than the bind: so all does.
    pub(super) fn restrict_fixed(&self, tree: BorrowedFd<'_>, change: &Change) -> Result {
        let takes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
        let set = change.top.set & takes;
        if !self.fixes.any || set == 0 {
            return Ok(());
        }
        let change = Change::of(Attributes::set(set));
        self.set(tree, &change, Reach::Tree)
    }

    /// The names from the root to a place, without links.
    fn names_to<'b>(
        &mut self,
        place: BorrowedFd<'_>,
        at: &'b CStr,
        buffer: &'b mut [u8; PATH_MAX],
    ) -> Result<&'b [u8]> {
        let plainly = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        if !goes_up(at)
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

    fn content(&self, place: BorrowedFd<'_>) -> Result<Content> {
        let fs = rustix::fs::fstatfs(place)?;
        let (kind, anchors) = (fs.f_type as u64 & 0xffff_ffff, &self.prepared.anchors);
        let is_own = UNCHANGING.contains(&kind) || kind == TMPFS && self.is_own(place)? && !anchors.copies_up;
        Ok(match fs.f_flags as u64 & READ_ONLY {
            _ if is_own => Content::Own,
            READ_ONLY if !anchors.remounts => Content::ReadOnly,
            _ => Content::Open,
        })
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
    let (user, (mode, owner)) = (rustix::process::geteuid().as_raw(), owner_of(dir)?);
    if owner == user {
        return Ok(true);
    }
    // A mount that is read-only may be so no longer by the end.
    if rustix::fs::accessat(dir, c".", Access::WRITE_OK, AtFlags::EACCESS) == Err(Errno::ACCESS) {
        return Ok(false);
    }
    Ok(mode & libc::S_ISVTX == 0 || owner_of(entry)?.1 == user)
}

/// The mode of a file and its owner, as the kernel has them at hand: a file system in user space may never answer.
fn owner_of(file: BorrowedFd<'_>) -> Result<(u32, u32)> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = rustix::fs::statx(file, c"", flags, StatxFlags::MODE | StatxFlags::UID)?;
    Ok((u32::from(found.stx_mode), found.stx_uid))
}
