//! What can be mounted inside: pure data, in the words of mount(8).

mod options;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::RawFd;
use std::path::{Component, Path, PathBuf};

use crate::id_map::IdRange;

pub use options::MountOptions;
pub(crate) use options::{Bind, IdMap, Ids, MakePoint, meant};

/// One mount, made in the new mount namespace in the order in which they were given.
///
/// The target is resolved inside the new root: symbolic links in it can't lead out, and
/// links of procfs ("magic links") are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub(crate) kind: MountKind,
    pub(crate) target: PathBuf,
    pub(crate) options: Option<MountOptions>,
    pub(crate) stay: Stay,
}

/// What becomes of a mount where the command could rename what it lies on, or a directory above: for
/// [`Command::keep_in_place`](crate::Command::keep_in_place).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stay {
    /// Nothing.
    #[default]
    Loose,
    /// The directories above become mount points.
    Fixed,
    /// They do, and the command makes no user namespaces: it hides something, or guards it. But not from who has its own root: of that,
    /// what lies on it hides nothing.
    GuardBelow,
    /// They do, and the command makes no user namespaces.
    Guard,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountKind {
    Bind { source: PathBuf, access: Access },
    Data { fd: RawFd, mode: u32, access: Access },
    Device { source: PathBuf, device: Device },
    FileSystem { kind: String, source: Option<OsString> },
    Remount,
    Tmpfs { mode: u32, size: Option<u64> },
    Overlay { lower: Vec<PathBuf>, upper: Upper },
    Symlink { to: PathBuf },
    Directory { mode: u32 },
    File { fd: RawFd, mode: u32 },
    Mode(u32),
    Mask { if_there: bool },
    RemountReadOnly,
    ReadOnly,
    Proc,
    Sysfs,
    Dev,
    Mqueue,
    BinfmtMisc,
}

/// Where an overlay keeps what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upper {
    /// Nowhere: it is read-only.
    None,
    /// In a tmpfs of its own, gone at the end.
    Tmpfs,
    /// In a directory of the caller's; the second, empty one on the same file system is overlayfs's own.
    Directory(PathBuf, PathBuf),
}

/// What may be done with the files of a bind mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write; device files don't work, set-user-ID bits count for nothing.
    ReadWrite,
    /// Read only, submounts included.
    ReadOnly,
    /// As `ReadWrite`, and device files work.
    Devices,
    /// What the mount at the source allows.
    Unchanged,
}

/// The type of a device file, by the letter of mknod(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceType {
    /// `c`, also `u`.
    Character,
    /// `b`.
    Block,
    /// `p`: a named pipe, which is no device, and has no number.
    Fifo,
}

/// A device file, as mknod(2) makes it; Documentation/admin-guide/devices.txt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its type.
    pub kind: DeviceType,
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// Its mode.
    pub mode: u32,
    /// Its owner, as seen inside.
    pub uid: u32,
    /// Its group, as seen inside.
    pub gid: u32,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            DeviceType::Character => write!(f, "character device {}:{}", self.major, self.minor)?,
            DeviceType::Block => write!(f, "block device {}:{}", self.major, self.minor)?,
            DeviceType::Fifo => f.write_str("named pipe")?,
        }
        write!(f, " ({:04o}, owner {}:{})", self.mode, self.uid, self.gid)
    }
}

impl Mount {
    fn new(kind: MountKind, target: &Path) -> Self {
        Self { kind, target: target.to_path_buf(), options: None, stay: Stay::Loose }
    }

    /// Where it is mounted, as the command sees it.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Whether it is mounted on the root: it then becomes the root of all mounts after it.
    pub fn is_root(&self) -> bool {
        let mounts = !matches!(
            self.kind,
            MountKind::RemountReadOnly
                | MountKind::ReadOnly
                | MountKind::Mask { .. }
                | MountKind::Symlink { .. }
                | MountKind::Directory { .. }
                | MountKind::File { .. }
                | MountKind::Mode(_)
        );
        mounts && !self.is_remount() && is_root(&self.target)
    }

    /// Whether set-up writes a file's content for it; a change of mode in an overlay copies the file.
    pub(crate) fn writes_content(&self) -> bool {
        matches!(self.kind, MountKind::Data { .. } | MountKind::File { .. } | MountKind::Mode(_))
            || self.options.as_ref().is_some_and(|options| options.copy_up)
    }

    /// Whether it changes a mount that is there, by its kind or its options.
    pub fn is_remount(&self) -> bool {
        self.kind == MountKind::Remount || self.options.as_ref().is_some_and(|options| options.remount)
    }

    /// What it is to be kept from.
    #[must_use]
    pub fn stays(self, stay: Stay) -> Self {
        Self { stay, ..self }
    }

    /// What it takes by its kind. A bind of something on itself hides nothing, and a file or a link is no mount.
    pub fn stay(&self) -> Stay {
        match &self.kind {
            _ if self.is_root() => Stay::Loose,
            _ if self.is_remount() => Stay::Guard,
            MountKind::Symlink { .. }
            | MountKind::Directory { .. }
            | MountKind::File { .. }
            | MountKind::Mode(_) => Stay::Loose,
            MountKind::Mask { .. } | MountKind::ReadOnly | MountKind::RemountReadOnly => Stay::Guard,
            MountKind::Bind { source, .. } if *source == self.target && !self.narrows() => Stay::Fixed,
            _ => Stay::GuardBelow,
        }
    }

    /// Whether it may allow less than what it shows does: what is bound read-only, an overlay.
    pub fn narrows(&self) -> bool {
        match &self.kind {
            MountKind::Bind { access, .. } => *access == Access::ReadOnly || self.options.is_some(),
            MountKind::Overlay { .. } => true,
            _ => false,
        }
    }

    /// The caller's files and directories that it shows, that which is written to first.
    pub fn shown(&self) -> Vec<&Path> {
        match &self.kind {
            MountKind::Bind { source, .. } => vec![source],
            MountKind::Overlay { lower, upper } => {
                let written = if let Upper::Directory(dir, _) = upper { Some(dir) } else { None };
                written.into_iter().chain(lower).map(PathBuf::as_path).collect()
            }
            _ => vec![],
        }
    }

    /// How its mount point is made where that is missing, if its options say.
    pub(crate) fn mkdir(&self) -> Option<MakePoint> {
        self.options.as_ref().and_then(|options| options.mkdir)
    }

    /// Options in the words of mount(8), in addition to what the mount has by itself. They are set before it can be seen.
    #[must_use]
    pub fn options(self, options: MountOptions) -> Self {
        Self { options: Some(options), ..self }
    }

    /// Maps the owners of a bind's files: ids `inside` the file system appear as those `outside`, of the caller's user
    /// namespace; mount_setattr(2), MOUNT_ATTR_IDMAP. Ids of an empty map stay as they are.
    ///
    /// Needs CAP_SYS_ADMIN in the user namespace where the file system was mounted, and Linux 5.12 with ext4 or FAT, 5.15
    /// with btrfs, 6.3 with tmpfs. The mounts below it are mapped where its options say `ridmap`.
    #[must_use]
    pub fn id_mapped(self, uids: Vec<IdRange>, gids: Vec<IdRange>) -> Self {
        let mut options = self.options.clone().unwrap_or_default();
        let recursive = options.id_map.is_some_and(|map| map.recursive);
        options.id_map = Some(IdMap { recursive, ids: Ids::Maps { uids, gids } });
        self.options(options)
    }

    /// The caller's `source`, a file or a directory with all mounts below it, at `target`.
    pub fn bind(source: impl AsRef<Path>, target: impl AsRef<Path>, access: Access) -> Self {
        Self::new(MountKind::Bind { source: source.as_ref().to_path_buf(), access }, target.as_ref())
    }

    /// A file with what can be read from this descriptor, in memory of its own, on a file that is there; or one made as any
    /// mount point. Nothing is written to the file below. It is read as by [`file`](Self::file).
    pub fn bind_data(fd: RawFd, target: impl AsRef<Path>, mode: u32, access: Access) -> Self {
        Self::new(MountKind::Data { fd, mode, access }, target.as_ref())
    }

    /// A device file. With CAP_MKNOD, and without a new user namespace, it is made where the command has a tmpfs of its own
    /// that lets device files work. Otherwise that of the caller at `source` is bound, if it is the same device; it
    /// keeps its own mode and owner.
    pub fn device(source: impl AsRef<Path>, target: impl AsRef<Path>, device: Device) -> Self {
        Self::new(MountKind::Device { source: source.as_ref().to_path_buf(), device }, target.as_ref())
    }

    /// A new file system of this type, as `mount -t KIND SOURCE TARGET`, with nothing set but what its
    /// [`options`](Self::options) say; see filesystems(5).
    pub fn file_system(kind: &str, source: Option<&OsStr>, target: impl AsRef<Path>) -> Self {
        let source = source.map(OsStr::to_owned);
        Self::new(MountKind::FileSystem { kind: kind.to_owned(), source }, target.as_ref())
    }

    /// Changes the mount that is at this place, as its [`options`](Self::options) say: `mount -o remount`.
    pub fn remount(target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::Remount, target.as_ref())
    }

    /// A new empty tmpfs (mode 0755), see tmpfs(5).
    pub fn tmpfs(target: impl AsRef<Path>) -> Self {
        Self::tmpfs_with(target, 0o755, None)
    }

    /// A new empty tmpfs of this mode, which takes no more than `size` bytes, rounded up to pages; half of the memory without it. 0 is an
    /// error, as the kernel takes it for no limit.
    pub fn tmpfs_with(target: impl AsRef<Path>, mode: u32, size: Option<u64>) -> Self {
        Self::new(MountKind::Tmpfs { mode, size }, target.as_ref())
    }

    /// The caller's directories `lower`, the first on top, merged, with what is written in `upper`; in a user namespace since
    /// Linux 5.11. See Documentation/filesystems/overlayfs.rst.
    pub fn overlay(
        lower: impl IntoIterator<Item = impl AsRef<Path>>,
        upper: Upper,
        target: impl AsRef<Path>,
    ) -> Self {
        let lower = lower.into_iter().map(|dir| dir.as_ref().to_path_buf()).collect();
        Self::new(MountKind::Overlay { lower, upper }, target.as_ref())
    }

    /// A symbolic link to `to`, made in a tmpfs or overlay of the command's own.
    pub fn symlink(to: impl AsRef<Path>, target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::Symlink { to: to.as_ref().to_path_buf() }, target.as_ref())
    }

    /// A directory, made in a tmpfs or overlay of the command's own; one that is there stays as it is.
    pub fn directory(target: impl AsRef<Path>, mode: u32) -> Self {
        Self::new(MountKind::Directory { mode }, target.as_ref())
    }

    /// A file with what can be read from this descriptor, made in a tmpfs or overlay of the command's own.
    ///
    /// It is read to its end during set-up. Where the child shares the caller's memory, other starts that change ids in it wait so long,
    /// and all others with them; where this one changes ids, all others wait. The child has a copy of what the caller has open then: a
    /// pipe whose writing end the caller keeps has no end.
    pub fn file(fd: RawFd, target: impl AsRef<Path>, mode: u32) -> Self {
        Self::new(MountKind::File { fd, mode }, target.as_ref())
    }

    /// The mode of a file or directory in a tmpfs or overlay of the command's own.
    pub fn mode(target: impl AsRef<Path>, mode: u32) -> Self {
        Self::new(MountKind::Mode(mode), target.as_ref())
    }

    /// Nothing in place of what is there: an empty read-only directory, or /dev/null. What is not there is an error: it may
    /// be a slip of the pen.
    pub fn mask(target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::Mask { if_there: false }, target.as_ref())
    }

    /// The same for what need not be there. In the words of OCI: a masked path.
    pub fn mask_if_there(target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::Mask { if_there: true }, target.as_ref())
    }

    /// Makes the mounts at and below this place read-only, as they are then.
    pub fn remount_read_only(target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::RemountReadOnly, target.as_ref())
    }

    /// Makes what is at and below this place read-only by a mount of its own, of itself; what is not there needs none.
    /// In the words of OCI: a read-only path.
    pub fn read_only(target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::ReadOnly, target.as_ref())
    }

    /// A fresh procfs, of the pid namespace that the command is in; see proc(5).
    pub fn proc(target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::Proc, target.as_ref())
    }

    /// A fresh read-only sysfs where the command has a network namespace of its own, else the caller's, read-only.
    pub fn sysfs(target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::Sysfs, target.as_ref())
    }

    /// A small /dev: null, zero, full, random, urandom, tty; own pts and shm; ptmx, fd, stdin, stdout, stderr.
    pub fn dev(target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::Dev, target.as_ref())
    }

    /// The binary formats of the user namespace, binfmt_misc, own ones since Linux 6.7.
    pub fn binfmt_misc(target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::BinfmtMisc, target.as_ref())
    }

    /// The POSIX message queues of the command's ipc namespace; see mq_overview(7).
    pub fn mqueue(target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::Mqueue, target.as_ref())
    }
}

/// Whether a path leads to the root, whatever is there.
pub(crate) fn is_root(path: &Path) -> bool {
    let deep = path.components().fold(0_usize, |deep, component| match component {
        Component::Normal(_) => deep + 1,
        Component::ParentDir => deep.saturating_sub(1),
        _ => deep,
    });
    path.is_absolute() && deep == 0
}

/// How mounts and unmounts pass between the caller's mount namespace and the new one; mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Neither way.
    Private,
    /// From the caller's into the new one only.
    Slave,
    /// Both ways.
    Shared,
    /// As it is at the caller's.
    Unchanged,
}

/// Where a missing mount point may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// Only in a tmpfs that this command mounted itself.
    Own,
    /// Also on the file system that is there, and it stays there.
    Host,
}
