//! The child's mounts: made detached, given their attributes, and only then attached.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

use super::copy;
use super::files::fill;
use super::place::PATH_MAX;
use super::{Child, Maker, Result};
use crate::host::common::has_proc;
use crate::mount::{Create, Device, DeviceType};
use crate::plan::step::{Change, IdMapped, Source, UpperDir, is_of_descriptor};
use crate::sys::{self, Attributes, Reach, attr};

/// What a tmpfs has that only holds files for another mount.
const PLAIN: Change = Change::of(Attributes::set(attr::NOSUID | attr::NODEV));

impl Child<'_> {
    /// `from` is the descriptor of a [`Source::Data`].
    pub(super) fn mount(
        &mut self,
        (source, from): (&Source, Option<BorrowedFd<'_>>),
        change: &Change,
        target: &CStr,
        create: Create,
    ) -> Result {
        let maker = self.maker;
        let fresh = |kind: &CStr, options: &[_]| maker.make(|| new_fs(kind, kind, options, change));
        let mount = match source {
            Source::Bind { recursive, held: Some(held), .. } => {
                let tree = self.held(*held)?;
                self.set(tree.as_fd(), change, if *recursive { Reach::Tree } else { Reach::One })?;
                tree
            }
            Source::Bind { path, recursive, id_map, .. } => {
                let tree = self.bind(path, *recursive, id_map.as_ref(), change)?;
                self.restrict_fixed(tree.as_fd(), change)?;
                tree
            }
            Source::Data { mode, .. } => self.data(from.ok_or(Errno::BADF)?, *mode, change)?,
            Source::Device { device, make: true, .. } if self.make_node(device, target, create)? => {
                return Ok(());
            }
            Source::Device { path, device, .. } => self.open_device(path, device, change)?,
            Source::Tmpfs { mode, size } => self.tmpfs(mode, size.as_deref(), change)?,
            Source::FileSystem { kind, source } => {
                let source = source.as_deref().unwrap_or(kind);
                let mount = maker.make(|| new_fs(kind, source, &[], change))?;
                if kind.as_c_str() == c"tmpfs" || kind.as_c_str() == c"ramfs" {
                    self.remember(&mount)?;
                }
                mount
            }
            Source::Overlay { lower, upper, user } => self.overlay((lower, upper, *user), change, target)?,
            Source::Proc { plain: true } if self.plain_proc(target).is_ok() => return Ok(()),
            Source::Proc { .. } => fresh(c"proc", &[])?,
            Source::Sysfs => fresh(c"sysfs", &[])?,
            Source::Devpts => fresh(
                c"devpts",
                &[(c"newinstance", None), (c"ptmxmode", Some(c"0666")), (c"mode", Some(c"0620"))],
            )?,
            Source::BinfmtMisc => fresh(c"binfmt_misc", &[])?,
            Source::Mqueue => fresh(c"mqueue", &[])?,
        };
        let reach =
            if matches!(source, Source::Bind { recursive: true, .. }) { Reach::Tree } else { Reach::One };
        let propagation = change.all.then(change.top).propagation;
        let shows = matches!(source, Source::Bind { .. } | Source::Data { .. } | Source::Device { .. });
        if !shows && propagation != 0 {
            self.set_some(mount.as_fd(), Attributes { propagation, ..Attributes::NONE }, Reach::One)?;
        }
        if change.copy_up {
            self.copy_up(&mount, target)?;
        }
        self.put(mount.as_fd(), target, create)?;
        if shows || propagation != 0 {
            self.settle(mount.as_fd(), change, reach)?;
        }
        self.keep(mount);
        Ok(())
    }

    /// A failure is left to the other way, which is the one with the reasons.
    fn plain_proc(&self, target: &CStr) -> Result {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        self.maker.make(|| rustix::mount::mount(c"proc", target, c"proc", flags, None))
    }

    fn bind(
        &self,
        path: &CStr,
        recursive: bool,
        id_map: Option<&IdMapped>,
        change: &Change,
    ) -> Result<OwnedFd> {
        let reach = if recursive { Reach::Tree } else { Reach::One };
        let Some(map) = id_map else { return self.open_changed(CWD, path, change, reach) };
        let tree = self.prepared.trees.get(map.tree).ok_or(Errno::BADF)?;
        let tree = rustix::io::fcntl_dupfd_cloexec(tree, 0)?;
        self.set(tree.as_fd(), change, reach)?;
        Ok(tree)
    }

    /// A directory outside, held or not.
    fn open_directory(&self, path: &CStr) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match self.place(path) {
            Some(held) => rustix::fs::openat(held?, c".", flags, Mode::empty()),
            None => rustix::fs::open(path, flags, Mode::empty()),
        }
    }

    fn tmpfs(&mut self, mode: &CStr, size: Option<&CStr>, change: &Change) -> Result<OwnedFd> {
        let options = [(c"mode", Some(mode)), (c"size", size)];
        let given = if size.is_some() { &options[..] } else { &options[..1] };
        let mount = self.maker.make(|| new_fs(c"tmpfs", c"tmpfs", given, change))?;
        self.remember(&mount)?;
        Ok(mount)
    }

    /// What is at the place where it will be mounted, into it. Where nothing is, there is nothing to be copied. Read as who makes
    /// it: what is the caller's alone stays so.
    fn copy_up(&mut self, mount: &OwnedFd, target: &CStr) -> Result {
        let maker = self.maker;
        let owners = copy::Owners { overflow: maker.user.is_none() && maker.group.is_none() };
        maker.make(|| {
            let from = match self.open_inside(target, OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(Errno::NOENT) => return Ok(()),
                from => from?,
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let to = rustix::fs::openat(mount, c".", flags, Mode::empty())?;
            copy::contents(owners, from.as_fd(), to.as_fd(), copy::DEEPEST)?;
            // Whoever has not said another one means that of the directory.
            match rustix::fs::fstat(&to)?.st_mode & 0o7777 {
                0o755 => copy::dress(owners, from.as_fd(), to.as_fd(), &rustix::fs::fstat(&from)?),
                _ => Ok(()),
            }
        })
    }

    /// Mount points may be made in it.
    fn remember(&mut self, mount: &OwnedFd) -> Result {
        let device = rustix::fs::fstat(mount)?.st_dev;
        *self.own.get_mut(self.own_count).ok_or(Errno::NOBUFS)? = device;
        self.own_count += 1;
        Ok(())
    }

    /// A file in a tmpfs that is mounted nowhere, as a mount.
    fn data(&mut self, from: BorrowedFd<'_>, mode: u32, change: &Change) -> Result<OwnedFd> {
        const NAME: &CStr = c"data";
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let (tmpfs, file) = self.maker.make(|| {
            let tmpfs = new_fs(c"tmpfs", c"tmpfs", &[(c"mode", Some(c"0700"))], &PLAIN)?;
            let file = rustix::fs::openat(&tmpfs, NAME, flags, Mode::from_raw_mode(0o600))?;
            Ok((tmpfs, file))
        })?;
        fill(&file, from, mode, self.prepared.parent.as_ref())?;
        // A mount that counts as written to can't become read-only.
        drop(file);
        let alone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = match rustix::mount::open_tree(&tmpfs, NAME, alone) {
            // Before Linux 6.15 only what is attached can be cloned: over the root, which nobody looks at by path here.
            Err(Errno::INVAL) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let before = rustix::fs::open(c".", flags, Mode::empty())?;
                attach(tmpfs.as_fd(), self.root()?)?;
                let mount = rustix::mount::open_tree(&tmpfs, NAME, alone);
                rustix::process::fchdir(&tmpfs)?;
                rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
                rustix::process::fchdir(&before)?;
                mount?
            }
            mount => mount?,
        };
        self.set(mount.as_fd(), change, Reach::One)?;
        Ok(mount)
    }

    /// Makes a device file, if it may be made there and would work; else it is to be bound.
    fn make_node(&mut self, device: &Device, at: &CStr, create: Create) -> Result<bool> {
        match self.parent_of(at, create) {
            Err(Errno::NOENT) if device.kind != DeviceType::Fifo => return Ok(false),
            found => found?,
        };
        let shared = !self.near.as_ref().is_some_and(|near| near.is_own());
        let (parent, name, maker) = self.parent_of(at, create)?;
        let nodev = rustix::fs::fstatvfs(parent)?.f_flag.contains(StatVfsMountFlags::NODEV);
        if (nodev || shared) && device.kind != DeviceType::Fifo {
            return Ok(false);
        }
        let (kind, number) = kind_and_number(device);
        let mode = Mode::from_raw_mode(0o600);
        match maker.make(|| rustix::fs::mknodat(parent, name, kind, mode, number)) {
            // In a user namespace that the caller itself is in.
            Err(Errno::PERM) => return Ok(false),
            done => done?,
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        verify(&node, device)?;
        let ids = (rustix::fs::Uid::from_raw(device.uid), rustix::fs::Gid::from_raw(device.gid));
        rustix::fs::chownat(&node, c"", Some(ids.0), Some(ids.1), AtFlags::EMPTY_PATH)?;
        // mknod(2) heeds the umask. Where others have a hand in it, the name may lead to another file by now.
        let (mode, mut buffer) = (Mode::from_raw_mode(device.mode), [0_u8; 40]);
        if shared {
            verify_proc()?;
            let link = descriptor_path(&mut buffer, node.as_fd(), b"")?;
            rustix::fs::chmodat(CWD, link, mode, AtFlags::empty())?;
        } else {
            rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
        }
        Ok(true)
    }

    pub(super) fn remount(&mut self, at: &CStr, change: &Change) -> Result {
        let place = self.resolve(at)?;
        if !change.data.is_empty() {
            let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
            let fs = rustix::mount::fspick(&place, c"", flags)?;
            configure(fs.as_fd(), change)?;
            rustix::mount::fsconfig_reconfigure(fs.as_fd())?;
        }
        self.change(place.as_fd(), change, Reach::Tree)?;
        self.change_fixed(sys::mount_number(place.as_fd())?, change)
    }

    /// The directories are given by descriptor, `/proc/self/fd/N`: a path with a colon or a comma is no other path then.
    fn overlay(
        &mut self,
        (lower, upper, user): (&[CString], &UpperDir, bool),
        change: &Change,
        target: &CStr,
    ) -> Result<OwnedFd> {
        verify_proc()?;
        let fs = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let set = |key: &CStr, dir: &OwnedFd, below: &[u8]| {
            let mut buffer = [0_u8; 40];
            rustix::mount::fsconfig_set_string(
                fs.as_fd(),
                key,
                descriptor_path(&mut buffer, dir.as_fd(), below)?,
            )
        };
        rustix::mount::fsconfig_set_string(fs.as_fd(), c"source", c"overlay")?;
        // Open until it is made: before Linux 6.5 that is when these paths are looked up.
        let mut layers = [const { None }; MOST_IN_ONE];
        if lower.len() <= MOST_IN_ONE {
            for (layer, dir) in layers.iter_mut().zip(lower) {
                *layer = Some(self.open_directory(dir)?);
            }
            let mut buffer = [0_u8; 256];
            let all = in_one(&mut buffer, layers.iter().flatten())?;
            rustix::mount::fsconfig_set_string(fs.as_fd(), c"lowerdir", all)?;
        } else {
            // One after another: since Linux 6.8.
            for dir in lower {
                set(c"lowerdir+", &self.open_directory(dir)?, b"")?;
            }
        }
        let _held = match upper {
            UpperDir::None => [None, None],
            UpperDir::Directory(upper, work) => {
                let (upper, work) = (self.open_directory(upper)?, self.open_directory(work)?);
                set(c"upperdir", &upper, b"")?;
                set(c"workdir", &work, b"")?;
                [Some(upper), Some(work)]
            }
            UpperDir::Tmpfs => {
                // Attached before it is used: overlayfs takes no directory of a mount that is nowhere. The overlay then
                // covers it.
                let options = [(c"mode", Some(c"0755"))];
                let tmpfs = self.maker.make(|| new_fs(c"tmpfs", c"tmpfs", &options, &PLAIN))?;
                let place = self.resolve(target)?;
                self.near = None;
                attach(tmpfs.as_fd(), place.as_fd())?;
                for (key, name, below) in
                    [(c"upperdir", c"upper", b"/upper".as_slice()), (c"workdir", c"work", b"/work")]
                {
                    self.maker.make(|| rustix::fs::mkdirat(&tmpfs, name, Mode::from_raw_mode(0o755)))?;
                    set(key, &tmpfs, below)?;
                }
                [Some(tmpfs), None]
            }
        };
        if user && *upper != UpperDir::None {
            rustix::mount::fsconfig_set_flag(fs.as_fd(), c"userxattr")?;
        }
        // overlayfs writes as who mounts it.
        let maker = if *upper == UpperDir::Tmpfs { self.maker } else { Maker::caller(self.prepared) };
        let mount = maker.make(|| created(fs.as_fd(), change))?;
        if *upper == UpperDir::Tmpfs {
            self.remember(&mount)?;
        }
        Ok(mount)
    }

    /// Sets what was asked for on a mount that is not attached yet.
    pub(super) fn set(&self, mount: BorrowedFd<'_>, change: &Change, reach: Reach) -> Result {
        if reach == Reach::One {
            return self.set_some(mount, change.all.then(change.top), Reach::One);
        }
        self.set_some(mount, change.all, Reach::Tree)?;
        self.set_some(mount, change.top, Reach::One)
    }

    fn set_some(&self, mount: BorrowedFd<'_>, change: Attributes, reach: Reach) -> Result {
        if change == Attributes::NONE {
            return Ok(());
        }
        match sys::mount_setattr(mount, c"", change, reach) {
            // `settle` does it.
            Err(Errno::NOSYS) if self.prepared.older => Ok(()),
            done => done,
        }
    }

    /// A copy with attributes of its own: in one call since Linux 6.15, which counts where binds are many.
    pub(super) fn open_changed(
        &self,
        from: BorrowedFd<'_>,
        path: &CStr,
        change: &Change,
        reach: Reach,
    ) -> Result<OwnedFd> {
        if reach == Reach::Tree && change.top == Attributes::NONE && change.all != Attributes::NONE {
            // A filter may refuse what it does not know, with whatever errno: the calls of old then say what is wrong.
            if let Ok(tree) = sys::open_tree_attr(from, path, change.all, reach) {
                return Ok(tree);
            }
        }
        let tree = open_tree_at(from, path, reach)?;
        self.set(tree.as_fd(), change, reach)?;
        Ok(tree)
    }

    /// A device file, if it is the right one: a link in its place would be something else (CVE-2025-31133).
    pub(super) fn open_device(&self, path: &CStr, device: &Device, change: &Change) -> Result<OwnedFd> {
        let tree = match self.place(path) {
            Some(held) => self.open_changed(held?, c"", change, Reach::Tree)?,
            None => self.open_changed(CWD, path, change, Reach::Tree)?,
        };
        verify(&tree, device)?;
        Ok(tree)
    }

    /// The same of a mount that is attached.
    pub(super) fn change(&self, mount: BorrowedFd<'_>, change: &Change, reach: Reach) -> Result {
        self.set(mount, change, reach)?;
        self.settle(mount, change, reach)
    }
}

/// A new file system, mounted nowhere yet.
pub(super) fn new_fs(
    kind: &CStr,
    source: &CStr,
    options: &[(&CStr, Option<&CStr>)],
    change: &Change,
) -> Result<OwnedFd> {
    let fs = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    // What mountinfo shows as the source; mount(8) would put the same there.
    rustix::mount::fsconfig_set_string(fs.as_fd(), c"source", source)?;
    for (key, value) in options {
        configure_one(fs.as_fd(), key, *value)?;
    }
    created(fs.as_fd(), change)
}

/// The file system that was configured so far, with the data and the attributes of `change`.
fn created(fs: BorrowedFd<'_>, change: &Change) -> Result<OwnedFd> {
    configure(fs, change)?;
    rustix::mount::fsconfig_create(fs)?;
    let all = change.all.then(change.top);
    let attributes = MountAttrFlags::from_bits_retain(all.set as u32);
    rustix::mount::fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn configure(fs: BorrowedFd<'_>, change: &Change) -> Result {
    change.data.iter().try_for_each(|(key, value)| configure_one(fs, key, value.as_deref()))
}

fn configure_one(fs: BorrowedFd<'_>, key: &CStr, value: Option<&CStr>) -> Result {
    match value {
        Some(value) => rustix::mount::fsconfig_set_string(fs, key, value),
        None => rustix::mount::fsconfig_set_flag(fs, key),
    }
}

/// A copy of the mount at `path`, or of all at and below it: a user namespace refuses to uncover what lies below.
pub(super) fn open_tree(path: &CStr, reach: Reach) -> Result<OwnedFd> {
    open_tree_at(CWD, path, reach)
}

pub(super) fn open_tree_at(base: BorrowedFd<'_>, path: &CStr, reach: Reach) -> Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let below = if reach == Reach::Tree { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    match rustix::mount::open_tree(base, path, flags | below) {
        Err(Errno::INVAL) if is_of_descriptor(path) => open_own_tree(base, path, flags | below),
        tree => tree,
    }
}

/// A descriptor (`/proc/self/fd/N`) leads to the mounts of the caller, which nobody may copy in a namespace of his own: the same
/// place by its name is this child's, if it still is the same place.
fn open_own_tree(base: BorrowedFd<'_>, path: &CStr, flags: OpenTreeFlags) -> Result<OwnedFd> {
    let place = rustix::fs::openat(base, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let (mut link, mut name) = ([0_u8; 40], [0_u8; PATH_MAX]);
    let link = descriptor_path(&mut link, place.as_fd(), b"")?;
    rustix::fs::readlinkat_raw(CWD, link, &mut name)?;
    let name = CStr::from_bytes_until_nul(&name).map_err(|_| Errno::NAMETOOLONG)?;
    let tree = rustix::mount::open_tree(CWD, name, flags)?;
    let [wanted, found] = [rustix::fs::fstat(&place)?, rustix::fs::fstat(&tree)?];
    let same = (wanted.st_dev, wanted.st_ino) == (found.st_dev, found.st_ino);
    // The caller has seen that it is the same mount; in a mount namespace that was joined since it need not be.
    let [wanted, found] = [rustix::fs::fstatvfs(&place)?, rustix::fs::fstatvfs(&tree)?];
    if same && wanted.f_flag == found.f_flag { Ok(tree) } else { Err(Errno::STALE) }
}

fn kind_and_number(device: &Device) -> (FileType, u64) {
    let number = rustix::fs::makedev(device.major, device.minor);
    match device.kind {
        DeviceType::Character => (FileType::CharacterDevice, number),
        DeviceType::Block => (FileType::BlockDevice, number),
        DeviceType::Fifo => (FileType::Fifo, 0),
    }
}

/// By the descriptor: a path could be another one meanwhile.
fn verify(node: &OwnedFd, device: &Device) -> Result {
    let stat = rustix::fs::fstat(node)?;
    let found = (FileType::from_raw_mode(stat.st_mode), stat.st_rdev);
    if found == kind_and_number(device) { Ok(()) } else { Err(Errno::NODEV) }
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

pub(super) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
}

/// What is named by a descriptor is found by way of /proc: that must be procfs, and not what the line has bound over it.
fn verify_proc() -> Result {
    if has_proc() { Ok(()) } else { Err(Errno::REMOTE) }
}

/// `/proc/thread-self/fd/N` and what is below, written by hand: nothing here may allocate.
pub(super) fn descriptor_path<'b>(
    buffer: &'b mut [u8; 40],
    fd: BorrowedFd<'_>,
    below: &[u8],
) -> Result<&'b CStr> {
    let (mut digits, mut first, mut number) = ([0_u8; 10], 10, fd.as_raw_fd() as u32);
    while first == 10 || number > 0 {
        first -= 1;
        *digits.get_mut(first).ok_or(Errno::INVAL)? = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let mut end = 0;
    for part in [b"/proc/thread-self/fd/".as_slice(), digits.get(first..).ok_or(Errno::INVAL)?, below] {
        buffer.get_mut(end..end + part.len()).ok_or(Errno::INVAL)?.copy_from_slice(part);
        end += part.len();
    }
    CStr::from_bytes_until_nul(buffer).map_err(|_| Errno::INVAL)
}
