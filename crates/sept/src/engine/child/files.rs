//! The child's files: mounts, the root, directories.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::Ordering::Release;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};

use super::mounts::{attach, new_fs, open_tree, open_tree_at};
use super::place::{PATH_MAX, or_root, split};
use super::wait::await_data;
use super::{Child, Result};
use crate::mount::{Create, Device, DeviceType, Propagation};
use crate::plan;
use crate::plan::step::{Change, Held, Restriction, Step};
use crate::sys::{self, Attributes, Reach, attr};

/// What an empty directory that covers another one has.
const EMPTY: Change = only(attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::RDONLY);
const READ_ONLY: Change = only(attr::RDONLY);
/// Where no device file of the tree works, this one does.
const DEVICE: Change = only(attr::NOSUID | attr::NOEXEC | attr::RDONLY);
const WORKING_DEVICE: Change = Change::of(Attributes {
    set: attr::NOSUID | attr::NOEXEC | attr::RDONLY,
    clear: attr::NODEV,
    propagation: 0,
});
const NULL: Device = Device { kind: DeviceType::Character, major: 1, minor: 3, mode: 0o666, uid: 0, gid: 0 };

const fn only(set: u64) -> Change {
    Change::of(Attributes::set(set))
}

impl Child<'_> {
    pub(super) fn clone_root(&mut self, dir: &CStr, restriction: Restriction) -> Result {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::open(dir, flags, Mode::empty())?;
        let tree = open_tree_at(place.as_fd(), c"", Reach::Tree)?;
        let change = only(restriction.attributes());
        self.set(tree.as_fd(), &change, Reach::Tree)?;
        // pivot_root wants a mount point: the clone is put over the directory that it is a clone of.
        attach(tree.as_fd(), place.as_fd())?;
        self.settle(tree.as_fd(), &change, Reach::Tree)?;
        (self.root, self.near) = (Some(tree), None);
        Ok(())
    }

    /// Opens what later steps take. What can't be opened is told by the step that wants it.
    pub(super) fn hold(&self, sources: &[(CString, Held)]) -> Result {
        for ((path, kind), held) in sources.iter().zip(&self.prepared.held) {
            let opened = match kind {
                Held::Tree => open_tree(path, Reach::Tree),
                Held::One => open_tree(path, Reach::One),
                Held::Place => rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()),
            };
            let fd = match opened {
                // No fault of this one: those that come after would not be found either.
                Err(Errno::MFILE | Errno::NFILE) => return Err(Errno::MFILE),
                opened => opened.map_or_else(|errno| -errno.raw_os_error(), IntoRawFd::into_raw_fd),
            };
            held.store(fd, Release);
        }
        Ok(())
    }

    pub(super) fn root(&mut self) -> Result<BorrowedFd<'_>> {
        if self.root.is_none() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.root = Some(rustix::fs::open(c"/", flags, Mode::empty())?);
        }
        self.root.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    pub(super) fn make_dir(&mut self, at: &CStr, mode: u32, create: Create) -> Result {
        if let Ok(there) = self.resolve(at) {
            let directory = FileType::from_raw_mode(rustix::fs::fstat(&there)?.st_mode).is_dir();
            return if directory { Ok(()) } else { Err(Errno::NOTDIR) };
        }
        let (parent, name, maker) = self.parent_of(at, create)?;
        // Not made and then changed: where the parent is not this child's alone, the name may lead to something else by then.
        let umask = rustix::process::umask(Mode::empty());
        let made = maker.make(|| rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode)));
        rustix::process::umask(umask);
        made?;
        // These mkdir(2) does not set.
        if mode & 0o6000 == 0 {
            return Ok(());
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        if sys::mount_number(parent)? != sys::mount_number(made.as_fd())? {
            return Err(Errno::XDEV);
        }
        rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))
    }

    pub(super) fn write_file(
        &mut self,
        from: BorrowedFd<'_>,
        at: &CStr,
        mode: u32,
        create: Create,
    ) -> Result {
        let (parent, name, maker) = self.parent_of(at, create)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = maker.make(|| rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)))?;
        fill(&file, from, mode, self.prepared.parent.as_ref())
    }

    pub(super) fn change_mode(&mut self, at: &CStr, mode: u32, create: Create) -> Result {
        let (parent, name, _) = self.parent_of(at, create)?;
        // Not through a link, which could lead out; nor is the mode of a file changed that is only bound there.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let there = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        // A file that an overlay shows from below has the device of that, and is in the overlay's mount still.
        let (above, mount) = (sys::mount_number(parent)?, sys::mount_number(there.as_fd())?);
        if above != mount || mount == 0 {
            // What is mounted there is the host's, whoever insists: a link may have led here.
            match self.may_make_in(there.as_fd(), Create::Own) {
                Err(Errno::NOENT) if create == Create::Host => return Err(Errno::XDEV),
                may => may.map(drop)?,
            }
        }
        rustix::fs::fchmod(&there, Mode::from_raw_mode(mode))
    }

    pub(super) fn mask(&mut self, at: &CStr, if_there: bool) -> Result {
        let place = match self.resolve(at) {
            Err(Errno::NOENT | Errno::NOTDIR) if if_there => return Ok(()),
            found => found?,
        };
        let directory = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode).is_dir();
        self.placed(at);
        self.near = None;
        // By a link: what is mounted there is gone with the old root.
        if self.is_root(place.as_fd())? {
            return Err(Errno::INVAL);
        }
        if directory {
            let options = [(c"mode", Some(c"0555")), (c"size", Some(c"0"))];
            let nothing = new_fs(c"tmpfs", c"tmpfs", &options, &EMPTY)?;
            return attach(nothing.as_fd(), place.as_fd());
        }
        let no_devices = |step: &Step| matches!(step, Step::RestrictAll(all) if all.no_devices);
        let change = if self.prepared.plan.steps.iter().any(no_devices) { &WORKING_DEVICE } else { &DEVICE };
        let nothing = self.open_device(plan::NULL, &NULL, change)?;
        attach(nothing.as_fd(), place.as_fd())?;
        self.settle(nothing.as_fd(), change, Reach::One)
    }

    pub(super) fn read_only(&mut self, at: &CStr) -> Result {
        let place = match self.resolve(at) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            found => found?,
        };
        self.placed(at);
        self.near = None;
        if self.is_root(place.as_fd())? {
            return Err(Errno::XDEV);
        }
        let tree = self.open_changed(place.as_fd(), c"", &READ_ONLY, Reach::Tree)?;
        attach(tree.as_fd(), place.as_fd())?;
        self.settle(tree.as_fd(), &READ_ONLY, Reach::Tree)
    }

    pub(super) fn remount_read_only(&mut self, at: &CStr) -> Result {
        let place = self.resolve(at)?;
        self.change(place.as_fd(), &READ_ONLY, Reach::Tree)
    }

    pub(super) fn restrict_all(&self, restriction: Restriction) -> Result {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(c"/", flags, Mode::empty())?;
        self.change(root.as_fd(), &only(restriction.attributes()), Reach::Tree)
    }

    /// A path inside. Links can't lead out of the root.
    pub(super) fn resolve(&mut self, path: &CStr) -> Result<OwnedFd> {
        self.open_inside(path, OFlags::PATH)
    }

    pub(super) fn open_inside(&mut self, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
        self.open_anchored(self.anchor(), path, flags)
    }

    /// By links on the mount of the root alone, or by mounts and no link: by both at once a path could lead into what the line has
    /// mounted elsewhere, and what is meant for the root would be done there.
    pub(super) fn open_in_foreign_root(&mut self, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
        let root = self.root()?;
        match open_under(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_XDEV) {
            Err(Errno::XDEV) => {
                match open_under(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS) {
                    Err(Errno::LOOP) => Err(Errno::XDEV),
                    answer => answer,
                }
            }
            answer => answer,
        }
    }

    pub(super) fn is_led_by_link(&mut self, path: &CStr, place: &OwnedFd) -> Result<bool> {
        let wanted = identity(place.as_fd())?;
        let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let plainly = open_under(self.root()?, path, OFlags::PATH, flags);
        Ok(!plainly.is_ok_and(|plain| identity(plain.as_fd()) == Ok(wanted)))
    }

    /// Whether a place that a path leads to by a link is above something that was mounted: a rule for it would hold there,
    /// too, and it is the root's owner who has made the link.
    pub(super) fn is_led_above_mounts(&mut self, path: &CStr, place: &OwnedFd) -> Result<bool> {
        if !self.is_led_by_link(path, place)? {
            return Ok(false);
        }
        let wanted = identity(place.as_fd())?;
        let prepared = self.prepared;
        for (n, step) in prepared.plan.steps.iter().enumerate() {
            let Step::Mount { target, .. } = step else { continue };
            // What lies below another mount has that one above it.
            if target.as_c_str() == c"/" || prepared.anchors.of_step(n).is_some() {
                continue;
            }
            let (above, _) = split(target)?;
            let mut buffer = [0_u8; PATH_MAX];
            let mut at = self.open_in_foreign_root(or_root(&mut buffer, above)?, OFlags::PATH)?;
            loop {
                let here = identity(at.as_fd())?;
                if here == wanted {
                    return Ok(true);
                }
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let up = rustix::fs::openat(&at, c"..", flags, Mode::empty())?;
                // A directory can be bound onto its own child, too: only the root is above itself on the same mount.
                if identity(up.as_fd())? == here
                    && sys::mount_number(up.as_fd())? == sys::mount_number(at.as_fd())?
                {
                    break;
                }
                at = up;
            }
        }
        Ok(false)
    }

    pub(super) fn load_interpreter(&mut self, file: &CStr, line: &CStr) -> Result {
        let file = self.open_inside(file, OFlags::WRONLY)?;
        rustix::io::write(&file, line.to_bytes()).map(drop)
    }

    pub(super) fn pivot(&mut self) -> Result {
        rustix::process::fchdir(self.root()?)?;
        let root = sys::mount_number(self.root()?)?;
        // Both on one another: the old root then lies over the new one, and is taken off.
        rustix::process::pivot_root(c".", c".")?;
        // Over the old root, in turn, may lie what was mounted on it: an upper directory, an earlier mount on `/` of the line. Each comes
        // off alone, and none may be left: `..` would lead there.
        loop {
            rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
            let over =
                rustix::fs::open(c"..", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            if sys::mount_number(over.as_fd())? == root {
                break;
            }
        }
        (self.root, self.near) = (None, None);
        rustix::process::chdir(c"/")
    }

    pub(super) fn change_dir(&mut self, dir: &CStr, or_root: bool) -> Result {
        match go_to(dir) {
            Err(_) if or_root => {
                self.at_root = true;
                rustix::process::chdir(c"/")
            }
            done => done,
        }
    }

    /// chroot(2) to a path inside, and to its top.
    pub(super) fn chroot(&mut self, dir: &CStr) -> Result {
        go_to(dir)?;
        self.chroot_here()
    }

    /// chroot(2) to a directory that was opened before, and to its top.
    pub(super) fn chroot_to(&mut self, dir: Option<BorrowedFd<'_>>) -> Result {
        rustix::process::fchdir(dir.ok_or(Errno::BADF)?)?;
        self.chroot_here()
    }

    fn chroot_here(&mut self) -> Result {
        (self.root, self.near) = (None, None);
        rustix::process::chroot(c".")
    }
}

/// chdir(2), but by no link of procfs: those of our own descriptors lead outside.
fn go_to(dir: &CStr) -> Result {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(CWD, dir, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    rustix::process::fchdir(found)
}

/// EAGAIN comes from renames meanwhile.
pub(super) fn open_under(
    from: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
    within: ResolveFlags,
) -> Result<OwnedFd> {
    let resolve = within | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..64 {
        match rustix::fs::openat2(from, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}

/// The numbers of a file, which no file system is asked for: one in user space may never answer.
pub(super) fn identity(file: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = rustix::fs::statx(file, c"", flags, StatxFlags::INO)?;
    Ok((rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino))
}

pub(super) fn propagate(propagation: Propagation) -> Result {
    let flags = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Shared => MountPropagationFlags::SHARED,
        Propagation::Unchanged => return Ok(()),
    };
    rustix::mount::mount_change(c"/", flags | MountPropagationFlags::REC)
}

/// All that can be read from a descriptor, as long as the parent lives, into a new file, which then gets its mode.
pub(super) fn fill(file: &OwnedFd, from: BorrowedFd<'_>, mode: u32, parent: Option<&OwnedFd>) -> Result {
    let mut buffer = [0_u8; 4096];
    loop {
        await_data(from, parent)?;
        let length = match rustix::io::read(from, &mut buffer) {
            Err(Errno::INTR) => continue,
            read => read?,
        };
        let mut rest = buffer.get(..length).ok_or(Errno::INVAL)?;
        if rest.is_empty() {
            return rustix::fs::fchmod(file, Mode::from_raw_mode(mode));
        }
        while !rest.is_empty() {
            let written = rustix::io::write(file, rest)?;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
}

/// The first `length` bytes of `bytes`, as a C string in `buffer`.
pub(super) fn prefix<'b>(buffer: &'b mut [u8], bytes: &[u8], length: usize) -> Result<&'b CStr> {
    let source = bytes.get(..length).ok_or(Errno::INVAL)?;
    buffer.get_mut(..length).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(source);
    *buffer.get_mut(length).ok_or(Errno::NAMETOOLONG)? = 0;
    buffer.get(..=length).and_then(|text| CStr::from_bytes_with_nul(text).ok()).ok_or(Errno::INVAL)
}
