//! An existing process or namespace, held so that nothing can take its place.

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use crate::error::{Advice, Error, describe};
use crate::host::common::{advice_on_proc, read_kernel};
use crate::namespace::Namespace;
use crate::sys::{self, Head};

/// Which namespace it is: the device and inode number of its file, as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId {
    /// The device number of nsfs.
    pub device: u64,
    /// The inode number: what `/proc/PID/ns/*` shows in brackets. The kernel uses it again later.
    pub inode: u64,
}

/// NSFS_MAGIC of statfs(2).
const NSFS_MAGIC: u32 = 0x6e73_6673;

/// An open namespace; it lives as long as this does. ioctl_nsfs(2), since Linux 4.9.
#[derive(Debug)]
pub struct NamespaceFile {
    fd: OwnedFd,
    kind: Namespace,
}

impl NamespaceFile {
    /// The namespace at a path: `/proc/PID/ns/*`, or a file that one is bound to.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is no such file or it is no namespace.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        // O_NONBLOCK: a fifo in its place must not hold us up.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
            Error::invalid(format!("cannot open {}: {}", path.display(), describe(errno.raw_os_error())))
        })?;
        Self::from_fd(fd).ok_or_else(|| {
            Error::invalid_with(
                format!("{} is no namespace", path.display()),
                Advice::new(
                    "it is an ordinary file, or the mount that made it a namespace is gone",
                    "name a file like /proc/PID/ns/net, or one that a namespace is bound to",
                ),
            )
        })
    }

    /// The namespace of this number of [`unique_id`](Self::unique_id), if it still exists and may be seen. Since Linux 6.19.
    ///
    /// # Errors
    /// ESTALE where there is none, and on Linux 6.18, which wants its kind, too; EPERM where it may not be seen; EBADF on
    /// older kernels.
    pub fn by_unique_id(id: u64) -> io::Result<Self> {
        let fd = sys::open_namespace(id)?;
        Self::from_fd(fd).ok_or_else(|| Errno::INVAL.into())
    }

    /// A number that no other namespace gets, as long as the kernel runs. Since Linux 6.18.
    ///
    /// # Errors
    /// ENOTTY on older kernels.
    pub fn unique_id(&self) -> io::Result<u64> {
        Ok(sys::namespace_id(self.fd.as_fd())?)
    }

    /// The namespace behind a descriptor, if it is one.
    pub fn from_fd(fd: OwnedFd) -> Option<Self> {
        // Another file system may answer what it likes, or nothing at all.
        if rustix::fs::fstatfs(&fd).ok()?.f_type as u32 != NSFS_MAGIC {
            return None;
        }
        let flags = sys::namespace_type(fd.as_fd()).ok()?;
        let kind = Namespace::ALL.into_iter().find(|kind| kind.flag() == u64::from(flags))?;
        Some(Self { fd, kind })
    }

    /// The namespace of a process, by its link's name; `process` is a pid or `thread-self`.
    pub(crate) fn of(process: impl fmt::Display, kind: Namespace) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(format!("/proc/{process}/ns/{}", kind.link()), flags, Mode::empty())?;
        Ok(Self { fd, kind })
    }

    /// The network namespace of a socket, ioctl SIOCGSKNS, since Linux 4.9.
    ///
    /// # Errors
    /// ENOTTY for what is no socket, EPERM without CAP_NET_ADMIN.
    pub fn of_socket(socket: BorrowedFd<'_>) -> io::Result<Self> {
        // As above.
        if !FileType::from_raw_mode(rustix::fs::fstat(socket)?.st_mode).is_socket() {
            return Err(Errno::NOTTY.into());
        }
        Ok(Self { fd: sys::socket_namespace(socket)?, kind: Namespace::Net })
    }

    /// Its kind.
    pub fn kind(&self) -> Namespace {
        self.kind
    }

    /// Which one it is.
    ///
    /// # Errors
    /// Of fstat(2).
    pub fn id(&self) -> io::Result<NamespaceId> {
        let stat = rustix::fs::fstat(&self.fd)?;
        Ok(NamespaceId { device: stat.st_dev, inode: stat.st_ino })
    }

    /// The user namespace that owns it. None if that lies outside of what this process may see.
    ///
    /// # Errors
    /// ENOTTY before Linux 4.9.
    pub fn owner(&self) -> io::Result<Option<Self>> {
        Self::related(sys::owner_of(self.fd.as_fd()), Namespace::User)
    }

    /// The parent of a user or pid namespace. None for others, for the first, and for one outside of what this process
    /// may see.
    ///
    /// # Errors
    /// ENOTTY before Linux 4.9.
    pub fn parent(&self) -> io::Result<Option<Self>> {
        if !matches!(self.kind, Namespace::User | Namespace::Pid) {
            return Ok(None);
        }
        Self::related(sys::parent_of(self.fd.as_fd()), self.kind)
    }

    fn related(found: Result<OwnedFd, Errno>, kind: Namespace) -> io::Result<Option<Self>> {
        match found {
            Ok(fd) => Ok(Some(Self { fd, kind })),
            Err(Errno::PERM) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The user who made a user namespace, as this process sees it. Since Linux 4.11.
    ///
    /// # Errors
    /// EINVAL for other kinds.
    pub fn owner_uid(&self) -> io::Result<u32> {
        Ok(sys::owner_uid(self.fd.as_fd())?)
    }
}

impl AsFd for NamespaceFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What to join: [`Command::join`](crate::Command::join).
#[derive(Clone, Debug)]
pub struct Target {
    held: Arc<Held>,
}

#[derive(Debug)]
enum Held {
    Process {
        pid: u32,
        pidfd: OwnedFd,
        /// Its user namespace when it was first looked at. A process that has entered another one can't come back, so what is found
        /// before that is seen again goes together.
        user: OnceLock<NamespaceId>,
    },
    File {
        path: PathBuf,
        file: NamespaceFile,
    },
}

/// The number of a process in the proc that is mounted on /proc, which may be that of an outer pid namespace: then it is
/// another than the one by which this process knows it. None where that proc does not show it.
pub fn pid_in_proc(pidfd: BorrowedFd<'_>) -> Option<i32> {
    find_in_proc(pidfd).ok().flatten()
}

/// The same, with the error where that proc can't be read.
///
/// # Errors
/// ENOENT where none is mounted; EMFILE.
pub fn find_in_proc(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let text = read_kernel(format!("/proc/thread-self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    Ok(number.and_then(|number| number.trim().parse().ok()).filter(|pid| *pid > 0))
}

/// The same, where a process that is not shown is as good as gone.
fn number_in_proc(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    find_in_proc(pidfd)?.ok_or(Errno::SRCH.into())
}

/// The namespace of a process: Linux 6.11 gives it by a pidfd. Before, it is found by its number, which is its own unless it has ended
/// meanwhile.
fn namespace_of(pidfd: BorrowedFd<'_>, kind: Namespace) -> io::Result<NamespaceFile> {
    match sys::pidfd_namespace(pidfd, kind.flag()) {
        Ok(fd) => Ok(NamespaceFile { fd, kind }),
        Err(Errno::NOTTY | Errno::INVAL) => NamespaceFile::of(number_in_proc(pidfd)?, kind),
        Err(errno) => Err(errno.into()),
    }
}

/// None where the kernel has no user namespaces.
fn user_of(pidfd: BorrowedFd<'_>) -> io::Result<Option<NamespaceId>> {
    match namespace_of(pidfd, Namespace::User) {
        Ok(file) => file.id().map(Some),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is something at a path in this root, which no link leads out of. A file system in user space that does not answer
/// within two seconds has nothing there.
pub fn has_file(root: BorrowedFd<'_>, path: impl AsRef<Path>) -> bool {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = CString::new(path.as_ref().as_os_str().as_bytes());
    path.is_ok_and(|path| sys::look(root, &path, resolve, Head::Unwanted).is_ok())
}

/// Who is looked at decides how much some files hold.
const MOST_OF_FILE: u64 = 16 << 20;

impl Target {
    /// A process, by its id. Held by a pidfd (Linux 5.3): another with the same id later is not it.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is none.
    pub fn process(pid: u32) -> Result<Self, Error> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or_else(|| Error::invalid(format!("{pid} is no process id")))?;
        let pidfd =
            rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(|errno| match errno {
                Errno::SRCH => Error::invalid_with(
                    format!("there is no process {pid}"),
                    Advice::new(
                        "it has ended, or its id is that of another pid namespace",
                        "look its id up from here: sept ls, or ps -e",
                    ),
                ),
                // A thread's id.
                Errno::INVAL | Errno::NOENT => Error::invalid_with(
                    format!("{pid} is a thread, not a process"),
                    Advice { why: vec![], fix: vec![format!("its process: grep Tgid /proc/{pid}/status")] },
                ),
                errno => Error::duty(format!("open a pidfd of process {pid}"), errno, Advice::default()),
            })?;
        Ok(Self { held: Arc::new(Held::Process { pid, pidfd, user: OnceLock::new() }) })
    }

    /// A namespace, by a file that it is bound to.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is none.
    pub fn file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let file = NamespaceFile::open(&path)?;
        Ok(Self { held: Arc::new(Held::File { path, file }) })
    }

    /// A namespace that is open already; `name` is for plans and errors.
    pub fn open(file: NamespaceFile, name: impl Into<PathBuf>) -> Self {
        Self { held: Arc::new(Held::File { path: name.into(), file }) }
    }

    /// Whether its namespace of this kind is another than that of the calling thread.
    ///
    /// # Errors
    /// As [`namespace`](Self::namespace).
    pub fn differs(&self, kind: Namespace) -> Result<bool, Error> {
        let looked =
            |error: io::Error| self.refused(&format!("look at the {kind} namespace of {self}"), &error);
        let own = NamespaceFile::of("thread-self", kind).and_then(|own| own.id()).map_err(looked)?;
        Ok(self.namespace(kind)?.id().map_err(looked)? != own)
    }

    /// The process id, if it is a process.
    pub fn pid(&self) -> Option<u32> {
        match &*self.held {
            Held::Process { pid, .. } => Some(*pid),
            Held::File { .. } => None,
        }
    }

    /// The kind, if it is one namespace.
    pub fn kind(&self) -> Option<Namespace> {
        match &*self.held {
            Held::Process { .. } => None,
            Held::File { file, .. } => Some(file.kind),
        }
    }

    /// A pidfd of the process.
    ///
    /// # Errors
    /// ESRCH if it is no process; EMFILE.
    pub fn to_pidfd(&self) -> io::Result<OwnedFd> {
        match self.pidfd() {
            Some(pidfd) => pidfd.try_clone_to_owned(),
            None => Err(Errno::SRCH.into()),
        }
    }

    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        match &*self.held {
            Held::Process { pidfd, .. } => Some(pidfd.as_fd()),
            Held::File { .. } => None,
        }
    }

    /// Whether it is a process that has ended.
    pub fn has_ended(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        self.pidfd()
            .is_some_and(|fd| poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&now)) == Ok(1))
    }

    /// Its namespace of this kind.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it has none of this kind or has ended; [`Error::Duty`] where this process may not see it.
    pub fn namespace(&self, kind: Namespace) -> Result<NamespaceFile, Error> {
        match &*self.held {
            Held::Process { pidfd, .. } => {
                self.note_user()?;
                let file = namespace_of(pidfd.as_fd(), kind).map_err(|error| self.unseen(kind, &error))?;
                self.alive().map(|()| file)
            }
            Held::File { path, file } if file.kind == kind => {
                let fd =
                    file.fd.try_clone().map_err(|error| self.refused(&path.display().to_string(), &error))?;
                Ok(NamespaceFile { fd, kind })
            }
            Held::File { path, file } => Err(Error::invalid_with(
                format!("{} is a {} namespace, not a {kind} namespace", path.display(), file.kind),
                Advice { why: vec![], fix: vec![format!("join it as what it is: {}", file.kind)] },
            )),
        }
    }

    /// Notes the user namespace of a process at the first look.
    pub(crate) fn note_user(&self) -> Result<(), Error> {
        if let Held::Process { pidfd, user, .. } = &*self.held
            && user.get().is_none()
            && let Some(now) = user_of(pidfd.as_fd()).map_err(|error| self.unseen(Namespace::User, &error))?
        {
            let _ = user.set(now);
        }
        Ok(())
    }

    /// Whether two that are one process were first looked at in the same user namespace.
    pub(crate) fn goes_with(&self, other: &Self) -> bool {
        match (&*self.held, &*other.held) {
            (Held::Process { pid: one, user, .. }, Held::Process { pid: same, user: others, .. }) => {
                one != same || user.get() == others.get()
            }
            _ => true,
        }
    }

    fn unseen(&self, kind: Namespace, error: &io::Error) -> Error {
        let refused = self.refused(&format!("see the {kind} namespace of {self}"), error);
        self.alive().err().unwrap_or(refused)
    }

    fn refused(&self, what: &str, error: &io::Error) -> Error {
        let advice = match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) if rustix::process::geteuid().is_root() => Advice::new(
                "it has more rights than this process, or lives in a user namespace outside of ours, or a security module refuses it",
                "look at it from outside of this container or user namespace",
            ),
            Some(libc::EACCES | libc::EPERM) => Advice::new(
                "it is another user's, has more rights than this process, or lives in a user namespace outside of ours",
                "run as root, or as the user who started it",
            ),
            _ => advice_on_proc(error),
        };
        Error::Duty { what: what.to_owned(), errno: error.raw_os_error(), advice, layer: None }
    }

    /// Fails if it is a process that has ended, or has gone to another user namespace since it was first looked at.
    pub(crate) fn alive(&self) -> Result<(), Error> {
        let Held::Process { pidfd, user, .. } = &*self.held else { return Ok(()) };
        let goes_on = user.get().is_none_or(|before| {
            user_of(pidfd.as_fd()).is_ok_and(|now| now.is_none_or(|now| now == *before))
        });
        if self.has_ended() {
            return Err(Error::invalid(format!("{self} has ended")));
        }
        if goes_on { Ok(()) } else { Err(self.moved()) }
    }

    pub(crate) fn moved(&self) -> Error {
        Error::invalid_with(
            format!("{self} has gone to another user namespace meanwhile"),
            Advice::new(
                "what was decided by the one before does not hold for what it has now",
                "look at it, and try again: sept ls PID",
            ),
        )
    }

    /// Its number in /proc.
    fn in_proc(&self, file: &str) -> Result<i32, Error> {
        let Some(pidfd) = self.pidfd() else {
            return Err(Error::invalid(format!("{self} is no process, and so has no {file}")));
        };
        number_in_proc(pidfd).map_err(|error| {
            self.alive().err().unwrap_or_else(|| self.refused(&format!("find {self} in /proc"), &error))
        })
    }

    /// A file of `/proc/PID`, read while it is surely this process's: 16 MiB of it at most.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no process or has ended, [`Error::Duty`] where this process may not read it.
    pub fn read(&self, file: &str) -> Result<Vec<u8>, Error> {
        let pid = self.in_proc(file)?;
        let path = format!("/proc/{pid}/{file}");
        let read = fs::File::open(&path).and_then(|file| {
            let mut text = Vec::new();
            file.take(MOST_OF_FILE).read_to_end(&mut text).map(|_| text)
        });
        self.alive()?;
        read.map_err(|error| self.refused(&format!("read {path}"), &error))
    }

    /// Its root (`root`) or working directory (`cwd`), as a descriptor.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn directory(&self, link: &str) -> Result<OwnedFd, Error> {
        let pid = self.in_proc(link)?;
        let path = format!("/proc/{pid}/{link}");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&path, flags, Mode::empty());
        self.alive()?;
        opened.map_err(|errno| self.refused(&format!("open {path}"), &errno.into()))
    }

    /// Whether there is something at a path in its root, which no link leads out of. A file system in user space that does not
    /// answer within two seconds has nothing there.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn has_file(&self, path: impl AsRef<Path>) -> Result<bool, Error> {
        Ok(has_file(self.directory("root")?.as_fd(), path))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.held {
            Held::Process { pid, .. } => write!(f, "process {pid}"),
            Held::File { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

/// Whether a user namespace is this ancestor or lies below it.
pub(crate) fn is_within(namespace: &NamespaceFile, ancestor: NamespaceId) -> io::Result<bool> {
    if namespace.id()? == ancestor {
        return Ok(true);
    }
    let mut next = namespace.parent()?;
    while let Some(found) = next {
        if found.id()? == ancestor {
            return Ok(true);
        }
        next = found.parent()?;
    }
    Ok(false)
}
