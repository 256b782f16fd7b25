//! A look at a file that may be of a hostile file system in user space, by a path or by another's descriptor. That answers when it likes, and who waits for it is beyond
//! SIGKILL, with all its threads: so a copy of this process looks, which can be given up (docs/decisions/0024-looking.md).

use std::ffi::{CStr, c_void};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags, fstat, openat, openat2, stat, statx,
};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::path::DecInt;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};

use super::clone::{Cloned, clone_copy};
use super::descriptors::{close_but, close_number};
use super::{exit, pidfd_send_signal, socket_namespace, wait_pidfd};

/// What is at a place.
#[derive(Debug)]
pub(crate) struct Seen {
    /// As stat(2) has it.
    pub mode: u32,
    /// What a regular file begins with, if that was wanted, and as far as it came.
    pub head: Vec<u8>,
}

/// Whether a regular file is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    Wanted,
    Unwanted,
}

/// For so long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long one that was killed may take to end, if it can.
const DYING: Duration = Duration::from_millis(100);

/// So much is read of a file.
const MOST: usize = 60 * 1024;

/// What kind of file is at a path, links followed.
///
/// # Errors
/// What stat(2) says. ETIMEDOUT where no answer came in time.
pub(crate) fn kind(path: &CStr) -> Result<FileType, Errno> {
    let own = [b"/proc/self/".as_slice(), b"/proc/thread-self/", b"/dev/"];
    // A copy has other descriptors, and another number.
    let is_own = own.iter().any(|own| path.to_bytes().starts_with(own));
    let kind = if is_own { Err(Errno::AGAIN) } else { kind_below(CWD, path, ResolveFlags::empty()) };
    match kind {
        // Or for want of a process or a descriptor: that stops the start, too.
        Err(Errno::AGAIN) => stat(path).map(|seen| FileType::from_raw_mode(seen.st_mode)),
        kind => kind,
    }
}

/// The same below `base`, as openat2(2) resolves it. What the kernel has at hand asks no file system (RESOLVE_CACHED, Linux 5.12); for the
/// rest a copy looks.
///
/// # Errors
/// What openat2(2) says. EAGAIN where nobody could look, ETIMEDOUT where no answer came in time.
pub(crate) fn kind_below(
    base: BorrowedFd<'_>,
    path: &CStr,
    resolve: ResolveFlags,
) -> Result<FileType, Errno> {
    let open = |resolve| openat2(base, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
    let place = match open(resolve | ResolveFlags::CACHED) {
        Err(Errno::AGAIN) => {
            return look(base, path, resolve, Head::Unwanted).map(|seen| FileType::from_raw_mode(seen.mode));
        }
        // A kernel that knows nothing of that, or of this call at all; or a filter.
        Err(Errno::INVAL) => open(resolve)?,
        Err(Errno::NOSYS | Errno::PERM) => return Err(Errno::AGAIN),
        place => place?,
    };
    let asks_nobody = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let seen = statx(&place, c"", asks_nobody, StatxFlags::TYPE)?;
    Ok(FileType::from_raw_mode(u32::from(seen.stx_mode)))
}

/// Whether a path can be looked at without waiting for a file system that does not answer, or just has.
pub(crate) fn answers(path: &CStr) -> bool {
    kind(path).err() != Some(Errno::TIMEDOUT)
}

struct Look<'a> {
    base: BorrowedFd<'a>,
    path: &'a CStr,
    resolve: ResolveFlags,
    head: Head,
    out: OwnedFd,
}

/// What is at a path below `base`, as openat2(2) resolves it.
///
/// # Errors
/// What openat2(2) says. EAGAIN where nobody could look, ETIMEDOUT where no answer came in time: then nothing is known of the place.
pub(crate) fn look(
    base: BorrowedFd<'_>,
    path: &CStr,
    resolve: ResolveFlags,
    head: Head,
) -> Result<Seen, Errno> {
    let (reader, out) = pipe_with(PipeFlags::CLOEXEC).map_err(|_| Errno::AGAIN)?;
    let look = Look { base, path, resolve, head, out };
    let arg = std::ptr::from_ref(&look).cast_mut().cast();
    // SAFETY: the copy has its own `look`; `enter` makes bare calls, and allocates nothing.
    let copy = unsafe { clone_copy(0, false, enter, arg) }.map_err(|_| Errno::AGAIN)?;
    drop(look);
    let until = Instant::now() + PATIENCE;
    let said = hear(&reader, until);
    part(&copy, until);
    understood(&said)
}

extern "C" fn enter(arg: *mut c_void) -> i32 {
    // SAFETY: as said in `look`: it is this copy's own, and stays as it is.
    let look = unsafe { &*arg.cast::<Look<'_>>() };
    keep_only(&[look.base.as_raw_fd(), look.out.as_raw_fd()]);
    // Nobody reads it any more: so be it.
    let _ = look.tell();
    exit(0)
}

/// One that hangs must not hold open what others wait for the end of.
fn keep_only(own: &[RawFd]) {
    (0..3).filter(|fd| !own.contains(fd)).for_each(|fd| close_number(fd as u32));
    let _ = close_but(&[], own);
}

impl Look<'_> {
    /// Two numbers, errno and mode; then the head.
    fn tell(&self) -> Result<(), Errno> {
        let seen = self.see();
        let (errno, mode) = match &seen {
            Ok((_, mode)) => (0, *mode),
            Err(errno) => (errno.raw_os_error() as u32, 0),
        };
        let mut said = [0; 8];
        said[..4].copy_from_slice(&errno.to_ne_bytes());
        said[4..].copy_from_slice(&mode.to_ne_bytes());
        rustix::io::write(&self.out, &said)?;
        let (place, mode) = seen?;
        // No other is opened: a pipe would be waited for, and a device may act.
        if self.head == Head::Wanted && FileType::from_raw_mode(mode).is_file() {
            self.tell_head(&place)?;
        }
        Ok(())
    }

    fn see(&self) -> Result<(OwnedFd, u32), Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let place = openat2(self.base, self.path, flags, Mode::empty(), self.resolve)?;
        let mode = fstat(&place)?.st_mode;
        Ok((place, mode))
    }

    fn tell_head(&self, place: &OwnedFd) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(c"/proc/self/fd", flags, Mode::empty())?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat(&dir, DecInt::from_fd(place), flags, Mode::empty())?;
        let (mut buffer, mut told) = ([0_u8; 4096], 0);
        while told < MOST {
            let length = rustix::io::read(&file, &mut buffer)?;
            if length == 0 {
                break;
            }
            rustix::io::write(&self.out, buffer.get(..length).unwrap_or_default())?;
            told += length;
        }
        Ok(())
    }
}

struct Take<'a> {
    process: BorrowedFd<'a>,
    fd: RawFd,
    out: OwnedFd,
}

/// The network namespace of a socket that a process has open by this number: pidfd_getfd(2), Linux 5.6, and SIOCGSKNS. It may be another
/// file when it is taken, and one in user space is asked when it is closed again.
///
/// # Errors
/// What the calls say; ENOTSOCK. EAGAIN where nobody could look, or no answer came in time.
pub(crate) fn take_socket_namespace(process: BorrowedFd<'_>, fd: RawFd) -> Result<OwnedFd, Errno> {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    let (reader, out) = socketpair(AddressFamily::UNIX, kind, flags, None).map_err(|_| Errno::AGAIN)?;
    let take = Take { process, fd, out };
    let arg = std::ptr::from_ref(&take).cast_mut().cast();
    // SAFETY: the copy has its own `take`; `enter_take` makes bare calls, and allocates nothing.
    let copy = unsafe { clone_copy(0, false, enter_take, arg) }.map_err(|_| Errno::AGAIN)?;
    drop(take);
    let said = if is_ready(reader.as_fd(), Instant::now() + PATIENCE) {
        receive(&reader)
    } else {
        Err(Errno::AGAIN)
    };
    part(&copy, Instant::now() + DYING);
    said
}

extern "C" fn enter_take(arg: *mut c_void) -> i32 {
    // SAFETY: as said in `take_socket_namespace`.
    let take = unsafe { &*arg.cast::<Take<'_>>() };
    keep_only(&[take.process.as_raw_fd(), take.out.as_raw_fd()]);
    take.tell();
    exit(0)
}

impl Take<'_> {
    /// The errno, with the namespace if that is 0. What was taken is closed afterwards, and not waited for.
    fn tell(&self) {
        let taken = pidfd_getfd(self.process, self.fd, PidfdGetfdFlags::empty());
        let found = taken.as_ref().map_err(|errno| *errno).and_then(Self::namespace_of);
        let errno = found.as_ref().err().map_or(0, |errno| errno.raw_os_error());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let namespace = found.as_ref().ok().map(|file| [file.as_fd()]);
        if let Some(namespace) = &namespace {
            rights.push(SendAncillaryMessage::ScmRights(namespace));
        }
        // Nobody waits for it any more: so be it.
        let _ = sendmsg(&self.out, &[IoSlice::new(&errno.to_ne_bytes())], &mut rights, SendFlags::NOSIGNAL);
    }

    fn namespace_of(taken: &OwnedFd) -> Result<OwnedFd, Errno> {
        // Another may do anything for the request.
        if !FileType::from_raw_mode(fstat(taken)?.st_mode).is_socket() {
            return Err(Errno::NOTSOCK);
        }
        socket_namespace(taken.as_fd())
    }
}

fn receive(reader: &OwnedFd) -> Result<OwnedFd, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut errno = [0; 4];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let message = recvmsg(reader, &mut [IoSliceMut::new(&mut errno)], &mut rights, flags)?;
    let sent = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    match (message.bytes, i32::from_ne_bytes(errno)) {
        (4, 0) => sent.ok_or(Errno::MFILE),
        (4, errno) => Err(Errno::from_raw_os_error(errno)),
        _ => Err(Errno::AGAIN),
    }
}

/// All that is said, or what of it came in time.
fn hear(reader: &OwnedFd, until: Instant) -> Vec<u8> {
    let (mut said, mut buffer) = (Vec::new(), [0_u8; 4096]);
    while is_ready(reader.as_fd(), until) {
        match rustix::io::read(reader, &mut buffer) {
            Ok(length) if length > 0 => said.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            _ => break,
        }
    }
    said
}

fn is_ready(fd: BorrowedFd<'_>, until: Instant) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            ready => return ready == Ok(1),
        }
    }
}

/// One that hangs in the kernel is left to that: it ends when the file system does.
fn part(copy: &Cloned, until: Instant) {
    let Some(pidfd) = &copy.pidfd else { return };
    if !is_ready(pidfd.as_fd(), until) {
        let _ = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        is_ready(pidfd.as_fd(), Instant::now() + DYING);
    }
    let _ = wait_pidfd(pidfd.as_fd(), false, false);
}

fn understood(said: &[u8]) -> Result<Seen, Errno> {
    let number = |at: usize| {
        let bytes = said.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u32::from_ne_bytes).ok_or(Errno::TIMEDOUT)
    };
    match (number(0)?, number(4)?) {
        (0, mode) => Ok(Seen { mode, head: said.get(8..).unwrap_or_default().to_vec() }),
        (errno, _) => Err(Errno::from_raw_os_error(errno as i32)),
    }
}
