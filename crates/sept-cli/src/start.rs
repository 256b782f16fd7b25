//! Where the program begins. What std would do before `main` costs a start some 30 µs, most of it for a handler of stack
//! overflows with a stack of its own, where the kernel's SIGSEGV says as much. The rest of it is done here.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::fd::{BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::failure::Failure;

/// What the C library calls.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    let args = (0..count).map(|n| {
        // SAFETY: the C library passes so many pointers.
        let word = unsafe { words.add(n) };
        // SAFETY: as above.
        let word = unsafe { word.read() };
        // SAFETY: it points to a string, which stays, and is not changed.
        let word = unsafe { CStr::from_ptr(word) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    crate::args::set(args.collect());
    // A report to a pipe without a reader is an error, and no reason to leave the command alone.
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    // Where the caller ignored it, the kernel would tell nobody how a child ended.
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let code = open_streams().map_or_else(
        |errno| {
            let failure = Failure::io("cannot open /dev/null for a standard stream", &errno.into())
                .why(
                    "standard input, output or error is closed, and a file opened later would take its place",
                )
                .fix("leave all three open: <FILE, >FILE, 2>FILE");
            failure.print(crate::wants_json_errors());
            failure.code
        },
        |()| crate::program(),
    );
    // What is left in buffers is written by this, and not by a return to the C library.
    std::process::exit(code.into())
}

/// The standard streams are open from here on, closed ones to /dev/null the wrong way round: what they are used for fails, as it
/// would have.
fn open_streams() -> Result<(), Errno> {
    // SAFETY: only asked about, and no file of this process has such a number yet.
    let stream = |fd: RawFd| unsafe { BorrowedFd::borrow_raw(fd) };
    let streams = [stream(0), stream(1), stream(2)];
    let mut asked = streams.each_ref().map(|fd| PollFd::new(fd, PollFlags::empty()));
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        match poll(&mut asked, Some(&now)) {
            Err(Errno::INTR) => {}
            // No process may have so many descriptors (RLIMIT_NOFILE): none can be opened either.
            Err(Errno::INVAL) => return Ok(()),
            polled => {
                polled?;
                break;
            }
        }
    }
    let flags = [OFlags::WRONLY, OFlags::RDONLY, OFlags::RDONLY];
    let closed = asked.iter().zip(flags).filter(|(fd, _)| fd.revents().contains(PollFlags::NVAL));
    closed.map(|(_, flags)| rustix::fs::open("/dev/null", flags, Mode::empty())).try_for_each(|open| {
        // The lowest number that is free: that of the stream.
        let _ = open?.into_raw_fd();
        Ok(())
    })
}
