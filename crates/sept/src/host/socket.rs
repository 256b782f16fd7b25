//! The network namespace of a socket that somebody else has open.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::Errno;

use crate::sys;
use crate::target::NamespaceFile;

/// The network namespace of the socket that a process, by its pidfd, has open by this number. Since Linux 5.6.
///
/// A process of its own takes it, and is given up after two seconds: it may be another file by then, of a file system in user space that
/// never answers.
///
/// # Errors
/// ENOTSOCK for what is no socket, EPERM without CAP_NET_ADMIN or the right to look into the process, EBADF where nothing is open, EAGAIN
/// where no answer came.
pub fn socket_namespace(process: BorrowedFd<'_>, fd: RawFd) -> io::Result<NamespaceFile> {
    let file = sys::take_socket_namespace(process, fd)?;
    NamespaceFile::from_fd(file).ok_or_else(|| Errno::NOTSOCK.into())
}
