//! One directory of a hierarchy, held open and locked: all that is done in it is one step of a path away.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::{LateLimit, PREFIX, end, failed};
use crate::cgroup::{Setting, is_of_version_1};
use crate::error::{Advice, Error};
use crate::host::common::{read_all, read_kernel};
use crate::layer::Layer;
use crate::plan::layers;

/// So many new directories may be taken away, or locked, by others before the lock is there.
const TRIES: u32 = 1000;

#[derive(Debug)]
pub(super) struct Dir {
    pub path: PathBuf,
    /// Of the hierarchy: one process can be in one directory of each only.
    pub device: u64,
    pub unified: bool,
    /// Locked as long as it is in use: who sweeps takes away only what nobody holds.
    entry: OwnedFd,
}

/// The directory that a new one is made in.
pub(super) struct Parent {
    pub path: PathBuf,
    pub device: u64,
    entry: OwnedFd,
}

impl Parent {
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let failed = |errno: Errno| failed(format!("open {}", path.display()), &errno.into());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let entry = rustix::fs::open(&path, flags, Mode::empty()).map_err(failed)?;
        let device = fstat(&entry).map_err(failed)?.st_dev;
        Ok(Self { path, device, entry })
    }

    /// Empty where it can't be read.
    pub(super) fn read(&self, file: &str) -> String {
        let open = openat(&self.entry, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        open.map_err(Into::into).and_then(read_all).unwrap_or_default()
    }
}

/// A file of a cgroup, and what is to be written there later.
#[derive(Debug)]
pub(super) struct Later {
    pub file: OwnedFd,
    path: PathBuf,
    pub content: String,
}

impl Later {
    pub(super) fn write(&self) -> Result<(), Error> {
        let what = || format!("write {} to {}", self.content, self.path.display());
        put(&self.file, &self.content).map_err(|errno| failed(what(), &errno.into()))
    }
}

impl Dir {
    /// A new one, with this at the end of its name, after what killed runs left here has been swept away.
    pub(super) fn make(parent: &Parent, unified: bool, mark: &str) -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        end::sweep(&parent.path, parent.entry.as_fd());
        end::sweep_scopes(&parent.path);
        let pid = process::id();
        for _ in 0..TRIES {
            let name = format!("{PREFIX}{pid}-{}{mark}", NEXT.fetch_add(1, Relaxed));
            let path = parent.path.join(&name);
            match mkdirat(&parent.entry, &name, Mode::from_raw_mode(0o777)) {
                Err(Errno::EXIST) => continue,
                made => made
                    .map_err(|errno| failed(format!("make the cgroup {}", path.display()), &errno.into()))?,
            }
            // Somebody who sweeps may have been here in between: then the next.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let entry = match openat(&parent.entry, &name, flags, Mode::empty()) {
                Err(errno) if layers::is_want(errno.raw_os_error()) => {
                    let _ = unlinkat(&parent.entry, &name, AtFlags::REMOVEDIR);
                    return Err(failed(format!("open the cgroup {}", path.display()), &errno.into()));
                }
                Err(_) => continue,
                Ok(entry) => entry,
            };
            if flock(&entry, FlockOperation::NonBlockingLockExclusive).is_ok()
                && statat(&parent.entry, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
            {
                return Ok(Self { path, device: parent.device, unified, entry });
            }
            // Anybody who may read it can lock it. Gone already, if it was swept.
            let _ = unlinkat(&parent.entry, &name, AtFlags::REMOVEDIR);
        }
        let what = format!("lock a cgroup below {}", parent.path.display());
        let why = "somebody else locks each new one";
        let fix = format!("see who has those open: sudo lsof +D {}", parent.path.display());
        Err(Error::Duty { what, errno: None, advice: Advice::new(why, fix), layer: Some(Layer::Limits) })
    }

    pub(super) fn entry(&self) -> &OwnedFd {
        &self.entry
    }

    fn file(&self, file: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        openat(&self.entry, file, flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// A file to write to, kept for later.
    pub(super) fn open(&self, file: &str) -> Result<OwnedFd, Error> {
        self.file(file, OFlags::WRONLY).map_err(|errno| self.not_opened(file, errno))
    }

    pub(super) fn read(&self, file: &str) -> io::Result<String> {
        read_all(self.file(file, OFlags::RDONLY)?)
    }

    pub(super) fn write(&self, file: &str, content: &str) -> Result<(), Error> {
        let open = self.file(file, OFlags::WRONLY);
        open.and_then(|open| put(&open, content)).map_err(|errno| self.not_written(file, content, errno))
    }

    pub(super) fn set(&self, settings: impl IntoIterator<Item = Setting>) -> Result<(), Error> {
        for Setting { mut file, or, content, may_lack, .. } in settings {
            let mut open = self.file(&file, OFlags::WRONLY);
            if let (Err(Errno::NOENT), Some(or)) = (&open, or)
                && let Ok(other) = self.file(or, OFlags::WRONLY)
            {
                (open, file) = (Ok(other), or.to_owned());
            }
            let done = match open {
                Err(Errno::NOENT) if may_lack => continue,
                Err(Errno::NOENT) => {
                    return Err(Error::Duty {
                        what: format!("set {file} to {content}"),
                        errno: None,
                        advice: self.lacking(&file),
                        layer: Some(Layer::Limits),
                    });
                }
                open => open.and_then(|open| put(&open, &content)),
            };
            done.map_err(|errno| self.not_written(&file, &content, errno))?;
        }
        Ok(())
    }

    /// Opens what is to be written later, and the file that tells how much is in use by then.
    pub(super) fn keep(&self, usage: &str, settings: Vec<Setting>) -> Result<Option<LateLimit>, Error> {
        let files = self.open_all(settings)?;
        if files.is_empty() {
            return Ok(None);
        }
        let usage = self.file(usage, OFlags::RDONLY).map_err(|errno| self.not_opened(usage, errno))?;
        let files = files.into_iter().map(|later| (later.file, later.content)).collect();
        Ok(Some(LateLimit { usage, files }))
    }

    /// Opens what is to be written later.
    pub(super) fn open_all(&self, settings: Vec<Setting>) -> Result<Vec<Later>, Error> {
        let mut files = Vec::new();
        for Setting { file, content, may_lack, .. } in settings {
            match self.file(&file, OFlags::WRONLY) {
                Err(Errno::NOENT) if may_lack => {}
                open => {
                    let open = open.map_err(|errno| self.not_opened(&file, errno))?;
                    files.push(Later { file: open, path: self.path.join(file), content });
                }
            }
        }
        Ok(files)
    }

    fn not_opened(&self, file: &str, errno: Errno) -> Error {
        failed(format!("open {}", self.path.join(file).display()), &errno.into())
    }

    fn not_written(&self, file: &str, content: &str, errno: Errno) -> Error {
        let what = format!("write {content} to {}", self.path.join(file).display());
        let taken = matches!(errno, Errno::ACCESS | Errno::INVAL | Errno::RANGE);
        let above = self.path.with_file_name(file);
        match read_kernel(&above) {
            // Of version 1, where the kernel says EACCES to what the cgroup above does not have.
            Ok(has) if taken && file.starts_with("cpuset.") => {
                let why = format!("{} is {}: no others can be had below it", above.display(), has.trim());
                let advice = Advice::new(why, format!("choose among {}", has.trim()));
                Error::Duty { what, errno: Some(errno.raw_os_error()), advice, layer: Some(Layer::Limits) }
            }
            _ => failed(what, &errno.into()),
        }
    }

    /// Why there is no such file. The cgroup itself is gone when this is read: the one above it is named.
    fn lacking(&self, file: &str) -> Advice {
        let above = self.path.parent().unwrap_or(Path::new("/")).display();
        if self.unified && is_of_version_1(file) {
            return Advice::new(
                "cgroups of version 2 have no such file, and those of this host are of version 2",
                "leave this out",
            );
        }
        if file.starts_with("cpu.rt_") {
            return Advice::new(
                "this kernel shares out no realtime among cgroups (CONFIG_RT_GROUP_SCHED)",
                "leave this out",
            );
        }
        if file.starts_with("blkio.leaf_weight") {
            return Advice::new(
                "the scheduler that knew it, CFQ, left Linux with 5.0",
                "leave this out, or weigh whole cgroups: blkio.weight",
            );
        }
        if matches!(file, "blkio.weight" | "io.weight" | "blkio.weight_device") {
            return Advice::new(
                "this kernel has no such file for a cgroup: no scheduler of block devices here knows weights",
                format!(
                    "echo bfq >/sys/block/DISK/queue/scheduler, or leave this out; ls {above} shows what can be set"
                ),
            );
        }
        Advice::new(
            "this kernel has no such file for a cgroup",
            format!("leave this out; ls {above} shows what can be set"),
        )
    }
}

/// The kernel takes such a file's content in one piece, or refuses it.
fn put(file: &OwnedFd, content: &str) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::io::write(file, content.as_bytes())).map(drop)
}
