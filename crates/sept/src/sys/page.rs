//! A value in memory that parent and child share, also when the child has a copy of all else.

use std::ffi::c_void;
use std::mem::size_of;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A `T` in a mapping of its own, `MAP_SHARED`.
#[derive(Debug)]
pub(crate) struct Shared<T> {
    at: NonNull<T>,
}

// SAFETY: `Shared` only hands out `&T`, which is what `T: Sync` is about.
unsafe impl<T: Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl<T: Sync> Shared<T> {
    pub(crate) fn new(value: T) -> Result<Self, Errno> {
        // SAFETY: a new mapping at an address that the kernel chooses.
        let at = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                size_of::<T>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
            )
        }?;
        let at = NonNull::new(at.cast::<T>()).ok_or(Errno::NOMEM)?;
        // SAFETY: the mapping is new, writable, page-aligned and at least as large as a `T`.
        unsafe { at.as_ptr().write(value) };
        Ok(Self { at })
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `new` has put a `T` there, and the mapping lives as long as `self`.
        unsafe { self.at.as_ref() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody borrows from it any more.
        let _ = unsafe { munmap(self.at.as_ptr().cast::<c_void>(), size_of::<T>()) };
    }
}
