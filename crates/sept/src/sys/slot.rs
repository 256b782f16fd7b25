//! A descriptor on its way from one thread to another.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::AcqRel;

/// Holds one descriptor at most, and does not close it.
#[derive(Debug)]
pub(crate) struct Slot(AtomicI32);

impl Slot {
    const EMPTY: i32 = -1;

    pub(crate) const fn new() -> Self {
        Self(AtomicI32::new(Self::EMPTY))
    }

    pub(crate) fn put(&self, fd: OwnedFd) {
        drop(Self::owned(self.0.swap(fd.into_raw_fd(), AcqRel)));
    }

    pub(crate) fn take(&self) -> Option<OwnedFd> {
        Self::owned(self.0.swap(Self::EMPTY, AcqRel))
    }

    fn owned(fd: i32) -> Option<OwnedFd> {
        // SAFETY: only `put` stores one, which it owned; who swaps it out is the only one to have it.
        (fd != Self::EMPTY).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
    }
}
