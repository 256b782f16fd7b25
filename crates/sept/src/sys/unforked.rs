//! Words that no fork copies: what the threads of a process are at just then is nothing to one that has been forked from it.

use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::sync::atomic::{AtomicPtr, AtomicU32};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// All 0 in the beginning, and again after a fork.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Words {
    /// For `Turn`.
    pub turn: AtomicU32,
    /// For `Hidden`: whether somebody changes the rest.
    pub changing: AtomicU32,
    /// For `Hidden`: how many children share this memory, hidden.
    pub children: AtomicU32,
}

static PAGE: AtomicPtr<Words> = AtomicPtr::new(ptr::null_mut());

/// For want of a page of their own a fork copies them.
static PLAIN: Words =
    Words { turn: AtomicU32::new(0), changing: AtomicU32::new(0), children: AtomicU32::new(0) };

const SIZE: usize = 4096;

/// Those of this process; madvise(2), MADV_WIPEONFORK, since Linux 4.14.
pub(crate) fn words() -> &'static Words {
    let known = PAGE.load(Acquire);
    let page = if known.is_null() { make() } else { known };
    // SAFETY: what is not null is a page that is never unmapped, large enough, aligned, and valid as it is zeroed.
    unsafe { page.as_ref() }.unwrap_or(&PLAIN)
}

/// The first one who comes makes it; null where it can't be had.
fn make() -> *mut Words {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let Ok(page) = (unsafe { mmap_anonymous(ptr::null_mut(), SIZE, access, MapFlags::PRIVATE) }) else {
        return ptr::null_mut();
    };
    // SAFETY: the mapping just made. Where the kernel can't do it a fork copies the words, as it does all others.
    let _ = unsafe { madvise(page, SIZE, Advice::LinuxWipeOnFork) };
    let made = page.cast::<Words>();
    match PAGE.compare_exchange(ptr::null_mut(), made, AcqRel, Acquire) {
        Ok(_) => made,
        Err(others) => {
            unmap(page);
            others
        }
    }
}

fn unmap(page: *mut c_void) {
    // SAFETY: the mapping just made, which nobody else knows.
    let _ = unsafe { munmap(page, SIZE) };
}
