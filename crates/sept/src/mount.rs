//! What can be mounted inside: pure data, in the words of mount(8).

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

/// One mount, made in the new mount namespace in the order in which they were given.
///
/// The target is resolved inside the new root: symbolic links in it can't lead out, and
/// links of procfs ("magic links") are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub(crate) kind: MountKind,
    pub(crate) target: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountKind {
    Bind { source: PathBuf, access: Access },
    Tmpfs { mode: u32, size: Option<u64> },
    Overlay { lower: Vec<PathBuf>, upper: Upper },
    Symlink { to: PathBuf },
    Directory { mode: u32 },
    File { fd: RawFd, mode: u32 },
    Mode(u32),
    Mask,
    RemountReadOnly,
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
    /// Read only, submounts included (mount_setattr(2), Linux 5.12).
    ReadOnly,
    /// As `ReadWrite`, and device files work.
    Devices,
}

impl Mount {
    fn new(kind: MountKind, target: &Path) -> Self {
        Self { kind, target: target.to_path_buf() }
    }

    /// The caller's `source`, a file or a directory with all mounts below it, at `target`.
    pub fn bind(source: impl AsRef<Path>, target: impl AsRef<Path>, access: Access) -> Self {
        Self::new(MountKind::Bind { source: source.as_ref().to_path_buf(), access }, target.as_ref())
    }

    /// A new empty tmpfs (mode 0755), see tmpfs(5).
    pub fn tmpfs(target: impl AsRef<Path>) -> Self {
        Self::tmpfs_with(target, 0o755, None)
    }

    /// A new empty tmpfs of this mode, which takes no more than `size` bytes; half of the memory without it.
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
    pub fn file(fd: RawFd, target: impl AsRef<Path>, mode: u32) -> Self {
        Self::new(MountKind::File { fd, mode }, target.as_ref())
    }

    /// The mode of a file or directory in a tmpfs or overlay of the command's own.
    pub fn mode(target: impl AsRef<Path>, mode: u32) -> Self {
        Self::new(MountKind::Mode(mode), target.as_ref())
    }

    /// Nothing in place of what is there: an empty read-only directory, or /dev/null. What is not there needs no mask.
    pub fn mask(target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::Mask, target.as_ref())
    }

    /// Makes the mounts at and below this place read-only, as they are then.
    pub fn remount_read_only(target: impl AsRef<Path>) -> Self {
        Self::new(MountKind::RemountReadOnly, target.as_ref())
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
