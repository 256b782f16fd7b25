//! A file, a pipe or a descriptor to which something is written that a user has named. Writing there follows no link and waits for no
//! reader without end: somebody else may have put it there.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::failure::Failure;
use crate::place;

/// For so long somebody has to read the next piece of what is written.
const PATIENCE: Duration = Duration::from_secs(2);

/// A pipe that can take something takes that much, and waits for nothing. PIPE_BUF of pipe(7).
const PIECE: usize = 4096;

pub struct Sink {
    file: File,
    /// Where it was opened by that.
    path: Option<PathBuf>,
    /// What is written there.
    what: &'static str,
}

impl Sink {
    /// A path that is only a name of an open descriptor means that: opened by that name, a file would be written from its beginning on,
    /// over what others have written.
    pub fn at(path: &Path, what: &'static str) -> Result<Self, Failure> {
        if let Some(fd) = descriptor_of(path) {
            return Self::by_number(fd, what);
        }
        let file = create(path).map_err(|error| not_to(path, what, &error))?;
        Ok(Self { file, path: Some(path.to_owned()), what })
    }

    /// The same open file, with its position. The number itself is not ours to own.
    pub fn by_number(fd: RawFd, what: &'static str) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::io(format!("cannot write {what} to descriptor {fd}"), &error)
                .fix(format!("open it for writing: {fd}>FILE"))
        };
        let copy = sept::host::duplicate(fd).map_err(failed)?;
        let flags = rustix::fs::fcntl_getfl(&copy).map_err(|errno| failed(errno.into()))?;
        if flags.contains(OFlags::PATH) || flags & OFlags::ACCMODE == OFlags::RDONLY {
            return Err(failed(Errno::BADF.into()));
        }
        let own = unshared(copy.as_fd());
        Ok(Self { file: File::from(own.unwrap_or(copy)), path: None, what })
    }

    /// Once. In the place of what somebody else has written to a file of that name meanwhile; a pipe has no length.
    pub fn write(self, text: &str) -> Result<(), Failure> {
        let Self { file, path, what } = self;
        if path.is_some() {
            let _ = file.set_len(0);
        }
        write_in_time(&file, text.as_bytes()).map_err(|error| {
            let failure = Failure::io(format!("cannot write {what}"), &error);
            if error.kind() != io::ErrorKind::TimedOut {
                return failure;
            }
            failure
                .why("nobody reads it: what it goes to took no more for two seconds")
                .fix("read it until its end, or name a file")
        })?;
        match path {
            Some(path) if !place::is_at(&file, &path).unwrap_or(false) => {
                let told = format!("{what} is not at {}", path.display());
                Err(Failure::io(told, &io::Error::other("the file was moved or replaced"))
                    .why("who may write to that directory can do so; what is there is not from sept")
                    .fix("name a file where nobody else writes, COMMAND neither"))
            }
            _ => Ok(()),
        }
    }
}

/// No file that a link leads to, and no named pipe that has to be waited for: an earlier COMMAND may have left either.
fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = File::options();
    options.write(true).create(true).truncate(true).custom_flags(flags.bits() as i32);
    options.open(path)
}

fn not_to(path: &Path, what: &str, error: &io::Error) -> Failure {
    let failure = Failure::io(format!("cannot write {what} to {}", path.display()), error);
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NXIO) => failure
            .why("it is a named pipe that nobody reads, or a socket")
            .fix(format!("start what reads it first: cat {} &", path.display()))
            .fix("name a file"),
        Some(Errno::LOOP) => failure
            .why("it is a link, and somebody else may have left it: none is followed")
            .fix("name the file that it leads to"),
        _ => failure,
    }
}

fn descriptor_of(path: &Path) -> Option<RawFd> {
    match path.to_str()? {
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        path => ["/dev/fd/", "/proc/self/fd/"]
            .into_iter()
            .find_map(|dir| path.strip_prefix(dir)?.parse().ok().filter(|fd| *fd >= 0)),
    }
}

/// What this descriptor writes to, a terminal or a pipe, by an open file of our own that does not wait: others who write to it would
/// not wait any more, either, if theirs did not. Nothing where there is no need, or it can't be had.
pub fn unshared(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    let is_pipe = FileType::from_raw_mode(rustix::fs::fstat(fd).ok()?.st_mode).is_fifo();
    if !is_pipe && !rustix::termios::isatty(fd) {
        return None;
    }
    let open = |name: &str| {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(name, flags, Mode::empty()).ok()
    };
    // After su(1) it belongs to another user. Whose terminal it is may open that all the same, and only there it has a session.
    open(&format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .or_else(|| rustix::termios::tcgetsid(fd).ok().and_then(|_| open("/dev/tty")))
}

fn write_in_time(file: &File, mut bytes: &[u8]) -> io::Result<()> {
    let mut until = Instant::now() + PATIENCE;
    let is_socket = file.metadata()?.file_type().is_socket();
    while !bytes.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let written = match poll(&mut [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::OUT)], Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            // A socket may keep the bounds of what is written at once.
            Ok(_) if is_socket => rustix::net::send(file, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Ok(_) => rustix::io::write(file, bytes.get(..PIECE).unwrap_or(bytes)),
            Err(errno) => Err(errno),
        };
        match written {
            Ok(count) => {
                bytes = bytes.get(count..).unwrap_or_default();
                until = Instant::now() + PATIENCE;
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
