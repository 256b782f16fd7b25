//! A value that parent and child share, also when the child has a copy of all else.

use std::ffi::c_void;
use std::mem::size_of;
use std::ops::Deref;
use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A `T` that stays where it is, whoever owns it.
#[derive(Debug)]
pub(crate) enum Shared<T> {
    /// On the heap: for a child that runs in this memory.
    Here(Box<T>),
    /// In a mapping of its own, `MAP_SHARED`: for a child that gets a copy of this memory. Making and unmaking it costs
    /// more than a user namespace.
    Mapped(Mapped<T>),
}

impl<T: Sync> Shared<T> {
    /// For a child with a copy of this memory if `copied`, else for one that runs in it.
    pub(crate) fn new(value: T, copied: bool) -> Result<Self, Errno> {
        Ok(if copied { Self::Mapped(Mapped::new(value)?) } else { Self::Here(Box::new(value)) })
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Here(value) => value,
            // SAFETY: `new` has put a `T` there, and the mapping lives as long as `self`.
            Self::Mapped(mapped) => unsafe { mapped.at.as_ref() },
        }
    }
}

/// A `T` in a mapping of its own.
#[derive(Debug)]
pub(crate) struct Mapped<T> {
    at: NonNull<T>,
}

// SAFETY: only `&T` is handed out, which is what `T: Sync` is about.
unsafe impl<T: Sync> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Mapped<T> {}

impl<T: Sync> Mapped<T> {
    fn new(value: T) -> Result<Self, Errno> {
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

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody borrows from it any more.
        let _ = unsafe { munmap(self.at.as_ptr().cast::<c_void>(), size_of::<T>()) };
    }
}
