//! The new net namespace, made by a second thread of the child while the first one mounts: the kernel takes about as long for it
//! as for all else together.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Acquire;

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::futex;

use crate::namespace::Namespace;
use crate::sys::{self, Slot, Stack};

/// What both threads know.
#[derive(Debug)]
pub(crate) struct NetMaker {
    pub stack: Stack,
    /// Whether the pid namespace is new, too: then its number is one that nobody expects to be there.
    aside: bool,
    /// The number of the thread; the kernel clears it at its end, and wakes who waits.
    pub thread: AtomicU32,
    namespace: Slot,
}

type Result<T = ()> = std::result::Result<T, Errno>;

impl NetMaker {
    pub(crate) fn new(aside: bool) -> Result<Self> {
        Ok(Self { stack: Stack::new()?, aside, thread: AtomicU32::new(0), namespace: Slot::new() })
    }

    /// The thread's number as it is seen inside, where the next process is to be number 2.
    pub(super) fn number(&self) -> Option<i32> {
        self.aside.then_some(299)
    }

    /// What the thread does.
    pub(super) fn work(&self) {
        if let Ok(namespace) = make().and_then(|()| own()) {
            self.namespace.put(namespace);
        }
    }

    /// Waits for the thread's end, and moves to what it has made. Where there was none, or it failed, this thread makes it, which
    /// needs no descriptor; what fails again fails here.
    pub(super) fn join(&self) -> Result {
        let slice = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        loop {
            match self.thread.load(Acquire) {
                0 => break,
                thread => drop(futex::wait(&self.thread, futex::Flags::empty(), thread, Some(&slice))),
            }
        }
        match self.namespace.take() {
            // A filter may refuse setns(2), and know unshare(2).
            Some(namespace) => sys::setns(namespace.as_fd(), Namespace::Net.flag()).or_else(|_| make()),
            None => make(),
        }
    }
}

/// For the calling thread.
fn make() -> Result {
    sys::unshare(Namespace::Net.flag())?;
    set_lo_up()
}

/// In the calling thread's net namespace.
pub(super) fn set_lo_up() -> Result {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::loopback_up(socket.as_fd())
}

/// A descriptor of the calling thread's net namespace; /proc need not be there.
fn own() -> Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::socket_namespace(socket.as_fd())
}
