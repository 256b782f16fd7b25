//! The child's files: mounts, the root, directories.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

use super::{Child, Result};
use crate::mount::{Access, Create, Propagation};
use crate::plan::step::{Source, UpperDir};
use crate::sys::{self, attr};

impl Child<'_> {
    pub(super) fn clone_root(&mut self, dir: &CStr, read_only: bool) -> Result {
        let tree = open_tree(dir)?;
        if read_only {
            sys::mount_setattr(tree.as_fd(), c"", attr::RDONLY)?;
        }
        // pivot_root wants a mount point: the clone is put over the directory that it is a clone of.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = rustix::fs::open(dir, flags, Mode::empty())?;
        attach(tree.as_fd(), place.as_fd())?;
        self.root = Some(tree);
        Ok(())
    }

    fn root(&mut self) -> Result<BorrowedFd<'_>> {
        if self.root.is_none() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.root = Some(rustix::fs::open(c"/", flags, Mode::empty())?);
        }
        self.root.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    pub(super) fn mount(&mut self, source: &Source, target: &CStr, create: Create) -> Result {
        let mount = match source {
            Source::Bind { path, access } => {
                let tree = open_tree(path)?;
                let attributes = match access {
                    Access::ReadWrite => attr::NOSUID | attr::NODEV,
                    Access::ReadOnly => attr::NOSUID | attr::NODEV | attr::RDONLY,
                    Access::Devices => attr::NOSUID,
                };
                sys::mount_setattr(tree.as_fd(), c"", attributes)?;
                tree
            }
            Source::Device { path, number } => open_device(path, *number)?,
            Source::Tmpfs { mode, size } => self.tmpfs(mode, size.as_deref())?,
            Source::Overlay { lower, upper, user } => self.overlay(lower, upper, *user, target)?,
            Source::Proc => new_fs(c"proc", &[], NOSUID | NODEV | NOEXEC)?,
            Source::Sysfs => {
                new_fs(c"sysfs", &[], NOSUID | NODEV | NOEXEC | MountAttrFlags::MOUNT_ATTR_RDONLY)?
            }
            Source::Devpts => {
                let options =
                    [(c"newinstance", None), (c"ptmxmode", Some(c"0666")), (c"mode", Some(c"0620"))];
                new_fs(c"devpts", &options, NOSUID | NOEXEC)?
            }
            Source::BinfmtMisc => new_fs(c"binfmt_misc", &[], NOSUID | NODEV | NOEXEC)?,
            Source::Mqueue => new_fs(c"mqueue", &[], NOSUID | NODEV | NOEXEC)?,
        };
        let target = match self.resolve(target) {
            Err(Errno::NOENT) => {
                let directory = FileType::from_raw_mode(rustix::fs::fstat(&mount)?.st_mode).is_dir();
                self.make_mount_point(target, create, directory)?;
                self.resolve(target)?
            }
            found => found?,
        };
        attach(mount.as_fd(), target.as_fd())
    }

    fn tmpfs(&mut self, mode: &CStr, size: Option<&CStr>) -> Result<OwnedFd> {
        let options = [(c"mode", Some(mode)), (c"size", size)];
        let given = if size.is_some() { &options[..] } else { &options[..1] };
        let mount = new_fs(c"tmpfs", given, NOSUID | NODEV)?;
        self.remember(&mount)?;
        Ok(mount)
    }

    /// Mount points may be made in it.
    fn remember(&mut self, mount: &OwnedFd) -> Result {
        let device = rustix::fs::fstat(mount)?.st_dev;
        *self.own.get_mut(self.own_count).ok_or(Errno::NOBUFS)? = device;
        self.own_count += 1;
        Ok(())
    }

    /// The directories are given by descriptor, `/proc/self/fd/N`: a path with a colon or a comma is no other path then.
    fn overlay(&mut self, lower: &[CString], upper: &UpperDir, user: bool, target: &CStr) -> Result<OwnedFd> {
        let fs = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let set = |key: &CStr, dir: &OwnedFd, below: &[u8]| {
            let mut buffer = [0_u8; 40];
            rustix::mount::fsconfig_set_string(
                fs.as_fd(),
                key,
                descriptor_path(&mut buffer, dir.as_fd(), below)?,
            )
        };
        rustix::mount::fsconfig_set_string(fs.as_fd(), c"source", c"overlay")?;
        let mut layers = [const { None }; MOST_IN_ONE];
        if lower.len() <= MOST_IN_ONE {
            for (layer, dir) in layers.iter_mut().zip(lower) {
                *layer = Some(rustix::fs::open(dir, flags, Mode::empty())?);
            }
            let mut buffer = [0_u8; 256];
            let all = in_one(&mut buffer, layers.iter().flatten())?;
            rustix::mount::fsconfig_set_string(fs.as_fd(), c"lowerdir", all)?;
        } else {
            // One after another: since Linux 6.8.
            for dir in lower {
                set(c"lowerdir+", &rustix::fs::open(dir, flags, Mode::empty())?, b"")?;
            }
        }
        // Open until it is made: before Linux 6.5 that is when these paths are looked up.
        let _held = match upper {
            UpperDir::None => [None, None],
            UpperDir::Directory(upper, work) => {
                let upper = rustix::fs::open(upper, flags, Mode::empty())?;
                let work = rustix::fs::open(work, flags, Mode::empty())?;
                set(c"upperdir", &upper, b"")?;
                set(c"workdir", &work, b"")?;
                [Some(upper), Some(work)]
            }
            UpperDir::Tmpfs => {
                // Attached before it is used: overlayfs takes no directory of a mount that is nowhere. The overlay then
                // covers it.
                let tmpfs = new_fs(c"tmpfs", &[(c"mode", Some(c"0755"))], NOSUID | NODEV)?;
                let place = self.resolve(target)?;
                attach(tmpfs.as_fd(), place.as_fd())?;
                for (key, name, below) in
                    [(c"upperdir", c"upper", b"/upper".as_slice()), (c"workdir", c"work", b"/work")]
                {
                    rustix::fs::mkdirat(&tmpfs, name, Mode::from_raw_mode(0o755))?;
                    set(key, &tmpfs, below)?;
                }
                [Some(tmpfs), None]
            }
        };
        if user && *upper != UpperDir::None {
            rustix::mount::fsconfig_set_flag(fs.as_fd(), c"userxattr")?;
        }
        rustix::mount::fsconfig_create(fs.as_fd())?;
        let mount = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, NOSUID | NODEV)?;
        if *upper == UpperDir::Tmpfs {
            self.remember(&mount)?;
        }
        Ok(mount)
    }

    pub(super) fn make_dir(&mut self, at: &CStr, mode: u32, create: Create) -> Result {
        if let Ok(there) = self.resolve(at) {
            let directory = FileType::from_raw_mode(rustix::fs::fstat(&there)?.st_mode).is_dir();
            return if directory { Ok(()) } else { Err(Errno::NOTDIR) };
        }
        let (parent, name) = self.parent_of(at, create)?;
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode))?;
        // mkdir(2) heeds the umask.
        rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(mode), AtFlags::empty())
    }

    pub(super) fn write_file(
        &mut self,
        from: BorrowedFd<'_>,
        at: &CStr,
        mode: u32,
        create: Create,
    ) -> Result {
        let (parent, name) = self.parent_of(at, create)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600))?;
        let mut buffer = [0_u8; 4096];
        loop {
            let length = match rustix::io::read(from, &mut buffer) {
                Err(Errno::INTR) => continue,
                read => read?,
            };
            let mut rest = buffer.get(..length).ok_or(Errno::INVAL)?;
            if rest.is_empty() {
                return rustix::fs::fchmod(&file, Mode::from_raw_mode(mode));
            }
            while !rest.is_empty() {
                let written = rustix::io::write(&file, rest)?;
                rest = rest.get(written..).unwrap_or_default();
            }
        }
    }

    pub(super) fn change_mode(&mut self, at: &CStr, mode: u32, create: Create) -> Result {
        let (parent, name) = self.parent_of(at, create)?;
        // Not through a link, which could lead out.
        let there = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(there.st_mode).is_symlink() {
            return Err(Errno::LOOP);
        }
        rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(mode), AtFlags::empty())
    }

    pub(super) fn mask(&mut self, at: &CStr) -> Result {
        let place = match self.resolve(at) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            found => found?,
        };
        let directory = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode).is_dir();
        let nothing = if directory {
            let attributes = NOSUID | NODEV | NOEXEC | MountAttrFlags::MOUNT_ATTR_RDONLY;
            new_fs(c"tmpfs", &[(c"mode", Some(c"0555")), (c"size", Some(c"0"))], attributes)?
        } else {
            open_device(c"/dev/null", (1, 3))?
        };
        attach(nothing.as_fd(), place.as_fd())
    }

    pub(super) fn remount_read_only(&mut self, at: &CStr) -> Result {
        let place = self.resolve(at)?;
        sys::mount_setattr(place.as_fd(), c"", attr::RDONLY)
    }

    /// A path inside. Links can't lead out of the root; EAGAIN comes from renames meanwhile.
    fn resolve(&mut self, path: &CStr) -> Result<OwnedFd> {
        self.open_inside(path, OFlags::PATH)
    }

    pub(super) fn open_inside(&mut self, path: &CStr, flags: OFlags) -> Result<OwnedFd> {
        let root = self.root()?;
        for _ in 0..64 {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                answer => return answer,
            }
        }
        Err(Errno::AGAIN)
    }

    /// The directory of `path`, made if need be and allowed, and the last name.
    pub(super) fn parent_of<'p>(&mut self, path: &'p CStr, create: Create) -> Result<(OwnedFd, &'p CStr)> {
        let bytes = path.to_bytes_with_nul();
        let slash = bytes.iter().rposition(|byte| *byte == b'/').ok_or(Errno::INVAL)?;
        let name = bytes
            .get(slash + 1..)
            .and_then(|name| CStr::from_bytes_with_nul(name).ok())
            .ok_or(Errno::INVAL)?;
        let mut buffer = [0_u8; 4096];
        let parent = prefix(&mut buffer, bytes, slash.max(1))?;
        let directory = match self.resolve(parent) {
            Err(Errno::NOENT) => {
                self.make_mount_point(parent, create, true)?;
                self.resolve(parent)?
            }
            found => found?,
        };
        self.may_make_in(&directory, create)?;
        Ok((directory, name))
    }

    /// Nothing is left behind on the host: only in a tmpfs of this child's own, unless it was asked for.
    fn may_make_in(&self, directory: &OwnedFd, create: Create) -> Result {
        let device = rustix::fs::fstat(directory)?.st_dev;
        let own = self.own.iter().take(self.own_count).any(|own| *own == device);
        if own || create == Create::Host { Ok(()) } else { Err(Errno::NOENT) }
    }

    /// Makes what is missing of `path`, one component after another.
    fn make_mount_point(&mut self, path: &CStr, create: Create, directory: bool) -> Result {
        let bytes = path.to_bytes_with_nul();
        let length = bytes.len() - 1;
        let mut buffer = [0_u8; 4096];
        let mut parent = self.resolve(c"/")?;
        let mut start = 0;
        while start < length {
            let end =
                bytes.iter().skip(start).position(|b| *b == b'/' || *b == 0).map_or(length, |at| start + at);
            if end > start {
                parent = match self.resolve(prefix(&mut buffer, bytes, end)?) {
                    Err(Errno::NOENT) => {
                        self.may_make_in(&parent, create)?;
                        let mut name = [0_u8; 256];
                        let component = bytes.get(start..end).ok_or(Errno::INVAL)?;
                        let name = prefix(&mut name, component, component.len())?;
                        make(&parent, name, directory || end < length)?;
                        self.resolve(prefix(&mut buffer, bytes, end)?)?
                    }
                    found => found?,
                };
            }
            start = end + 1;
        }
        Ok(())
    }

    pub(super) fn load_interpreter(&mut self, file: &CStr, line: &CStr) -> Result {
        let file = self.open_inside(file, OFlags::WRONLY)?;
        rustix::io::write(&file, line.to_bytes()).map(drop)
    }

    pub(super) fn pivot(&mut self) -> Result {
        rustix::process::fchdir(self.root()?)?;
        // Both on one another: the old root then lies over the new one, and is taken off.
        rustix::process::pivot_root(c".", c".")?;
        rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
        self.root = None;
        rustix::process::chdir(c"/")
    }

    pub(super) fn change_dir(&mut self, dir: &CStr, or_root: bool) -> Result {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let found = rustix::fs::openat2(CWD, dir, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
        let done = found.and_then(rustix::process::fchdir);
        match done {
            Err(_) if or_root => {
                self.at_root = true;
                rustix::process::chdir(c"/")
            }
            done => done,
        }
    }

    /// chroot(2) to a path inside, and to its top.
    pub(super) fn chroot(&mut self, dir: &CStr) -> Result {
        rustix::process::chdir(dir)?;
        self.chroot_here()
    }

    /// chroot(2) to a directory that was opened before, and to its top.
    pub(super) fn chroot_to(&mut self, dir: Option<BorrowedFd<'_>>) -> Result {
        rustix::process::fchdir(dir.ok_or(Errno::BADF)?)?;
        self.chroot_here()
    }

    fn chroot_here(&mut self) -> Result {
        self.root = None;
        rustix::process::chroot(c".")
    }
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

const NOSUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NODEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NOEXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;

/// A new file system, mounted nowhere yet.
fn new_fs(kind: &CStr, options: &[(&CStr, Option<&CStr>)], attributes: MountAttrFlags) -> Result<OwnedFd> {
    let fs = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    // What mountinfo shows as the source; mount(8) would put the same there.
    rustix::mount::fsconfig_set_string(fs.as_fd(), c"source", kind)?;
    for (key, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(fs.as_fd(), *key, *value)?,
            None => rustix::mount::fsconfig_set_flag(fs.as_fd(), *key)?,
        }
    }
    rustix::mount::fsconfig_create(fs.as_fd())?;
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A copy of the mounts at and below `path`; recursive, since a user namespace refuses to uncover what lies below.
fn open_tree(path: &CStr) -> Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    rustix::mount::open_tree(CWD, path, flags)
}

/// A device file, if it is the right one: a link in its place would be something else (CVE-2025-31133).
fn open_device(path: &CStr, (major, minor): (u32, u32)) -> Result<OwnedFd> {
    let tree = open_tree(path)?;
    let stat = rustix::fs::fstat(&tree)?;
    let device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    if !device || stat.st_rdev != rustix::fs::makedev(major, minor) {
        return Err(Errno::NODEV);
    }
    sys::mount_setattr(tree.as_fd(), c"", attr::NOSUID | attr::NOEXEC)?;
    Ok(tree)
}

fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
}

/// `/proc/self/fd/N` and what is below, written by hand: nothing here may allocate.
fn descriptor_path<'b>(buffer: &'b mut [u8; 40], fd: BorrowedFd<'_>, below: &[u8]) -> Result<&'b CStr> {
    let (mut digits, mut first, mut number) = ([0_u8; 10], 10, fd.as_raw_fd() as u32);
    while first == 10 || number > 0 {
        first -= 1;
        *digits.get_mut(first).ok_or(Errno::INVAL)? = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let mut end = 0;
    for part in [b"/proc/self/fd/".as_slice(), digits.get(first..).ok_or(Errno::INVAL)?, below] {
        buffer.get_mut(end..end + part.len()).ok_or(Errno::INVAL)?.copy_from_slice(part);
        end += part.len();
    }
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::INVAL)
}

/// So many descriptors below 10,000 fit into one option of a mount, which has at most 255 bytes.
const MOST_IN_ONE: usize = 13;

/// The paths of descriptors, with a colon between two.
fn in_one<'b, 'fd>(buffer: &'b mut [u8; 256], fds: impl Iterator<Item = &'fd OwnedFd>) -> Result<&'b CStr> {
    let mut end = 0;
    for fd in fds {
        let mut path = [0_u8; 40];
        let path = descriptor_path(&mut path, fd.as_fd(), b"")?.to_bytes();
        let colon: &[u8] = if end > 0 { b":" } else { b"" };
        for part in [colon, path] {
            buffer.get_mut(end..end + part.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(part);
            end += part.len();
        }
    }
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::NAMETOOLONG)
}

/// The first `length` bytes of `bytes`, as a C string in `buffer`.
fn prefix<'b>(buffer: &'b mut [u8], bytes: &[u8], length: usize) -> Result<&'b CStr> {
    let source = bytes.get(..length).ok_or(Errno::INVAL)?;
    buffer.get_mut(..length).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(source);
    *buffer.get_mut(length).ok_or(Errno::NAMETOOLONG)? = 0;
    buffer.get(..=length).and_then(|text| CStr::from_bytes_with_nul(text).ok()).ok_or(Errno::INVAL)
}

fn make(parent: &OwnedFd, name: &CStr, directory: bool) -> Result {
    if directory {
        return rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755));
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}
