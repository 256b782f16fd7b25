//! A look at a file that may be of a hostile file system in user space. That answers when it likes, and who waits for it is beyond
//! SIGKILL, with all its threads: so a copy of this process looks, which can be given up (docs/decisions/0024-looking.md).

use std::ffi::{CStr, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags, fstat, openat, openat2, stat, statx,
};
use rustix::io::Errno;
use rustix::path::DecInt;
use rustix::pipe::{PipeFlags, pipe_with};

use super::clone::{Cloned, clone_copy};
use super::descriptors::{close_but, close_number};
use super::{exit, pidfd_send_signal, wait_pidfd};

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

/// What kind of file is at a path, links followed. What the kernel has at hand asks no file system (RESOLVE_CACHED, Linux 5.12); for
/// the rest a copy looks.
///
/// # Errors
/// What stat(2) says. ETIMEDOUT where no answer came in time.
pub(crate) fn kind(path: &CStr) -> Result<FileType, Errno> {
    let of_mode = |mode| FileType::from_raw_mode(mode);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED) {
        Ok(place) => {
            let asks_nobody = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
            statx(&place, c"", asks_nobody, StatxFlags::TYPE).map(|seen| of_mode(u32::from(seen.stx_mode)))
        }
        Err(Errno::AGAIN) => match look(CWD, path, ResolveFlags::empty(), Head::Unwanted) {
            Err(Errno::AGAIN) => Err(Errno::TIMEDOUT),
            seen => seen.map(|seen| of_mode(seen.mode)),
        },
        // An older kernel knows nothing of that, or a filter.
        Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => stat(path).map(|seen| of_mode(seen.st_mode)),
        Err(errno) => Err(errno),
    }
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
/// What openat2(2) says. EAGAIN where nobody could look, or no answer came in time: then nothing is known of the place.
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
    look.keep_only_own();
    // Nobody reads it any more: so be it.
    let _ = look.tell();
    exit(0)
}

impl Look<'_> {
    /// One that hangs must not hold open what others wait for the end of.
    fn keep_only_own(&self) {
        let own = [self.base.as_raw_fd(), self.out.as_raw_fd()];
        (0..3).filter(|fd| !own.contains(fd)).for_each(|fd| close_number(fd as u32));
        let _ = close_but(&[], &own);
    }

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
        bytes.map(u32::from_ne_bytes).ok_or(Errno::AGAIN)
    };
    match (number(0)?, number(4)?) {
        (0, mode) => Ok(Seen { mode, head: said.get(8..).unwrap_or_default().to_vec() }),
        (errno, _) => Err(Errno::from_raw_os_error(errno as i32)),
    }
}
