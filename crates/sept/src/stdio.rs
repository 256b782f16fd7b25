//! Where a command's standard input, output and error come from and go to.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// As [`std::process::Stdio`], with the same constructors and conversions.
///
/// (std's own type keeps its descriptor to itself, so that nobody but std can use it.)
#[derive(Debug)]
pub struct Stdio(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    Inherit,
    Null,
    Piped,
    Descriptor(OwnedFd),
    /// The caller's own standard output or error.
    Output,
    Error,
}

impl Stdio {
    /// The caller's own.
    pub fn inherit() -> Self {
        Self(Kind::Inherit)
    }

    /// A new pipe; its other end is in the [`Child`](crate::Child).
    pub fn piped() -> Self {
        Self(Kind::Piped)
    }

    /// `/dev/null`.
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// The child's end and, for a pipe, the parent's. `None` is "as inherited".
    pub(crate) fn open(&self, input: bool) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
        match &self.0 {
            Kind::Inherit => Ok((None, None)),
            Kind::Null => {
                let file = OpenOptions::new().read(input).write(!input).open("/dev/null")?;
                Ok((Some(above_stdio(file.as_fd())?), None))
            }
            Kind::Piped => {
                let (reader, writer) = io::pipe()?;
                let (reader, writer) = (above_stdio(reader.as_fd())?, above_stdio(writer.as_fd())?);
                Ok(if input { (Some(reader), Some(writer)) } else { (Some(writer), Some(reader)) })
            }
            Kind::Descriptor(fd) => Ok((Some(above_stdio(fd.as_fd())?), None)),
            Kind::Output => Ok((Some(above_stdio(rustix::stdio::stdout())?), None)),
            Kind::Error => Ok((Some(above_stdio(rustix::stdio::stderr())?), None)),
        }
    }
}

/// A descriptor over 2: the child's dup2 onto 0, 1 and 2 must not run over the next one's source.
fn above_stdio(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

impl From<io::Stdout> for Stdio {
    fn from(_: io::Stdout) -> Self {
        Self(Kind::Output)
    }
}

impl From<io::Stderr> for Stdio {
    fn from(_: io::Stderr) -> Self {
        Self(Kind::Error)
    }
}

macro_rules! from_descriptors {
    ($($source:ty),*) => {$(
        impl From<$source> for Stdio {
            fn from(source: $source) -> Self {
                Self(Kind::Descriptor(source.into()))
            }
        }
    )*};
}

from_descriptors!(
    File,
    OwnedFd,
    io::PipeReader,
    io::PipeWriter,
    std::process::ChildStdin,
    std::process::ChildStdout,
    std::process::ChildStderr,
    std::os::unix::net::UnixStream
);
