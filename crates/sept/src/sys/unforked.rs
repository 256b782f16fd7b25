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
    /// For `Hidden`: whether somebody changes the rest, and others wait for that.
    pub changing: AtomicU32,
    /// For `Hidden`: how many children share this memory for which its mark is changed.
    pub children: AtomicU32,
    /// For `Hidden`: whether what a fork has copied was looked at.
    pub settled: AtomicU32,
    /// For `process`.
    process: AtomicU32,
}

static PAGE: AtomicPtr<Words> = AtomicPtr::new(ptr::null_mut());

/// For want of a page of their own a fork copies them.
static PLAIN: Words = Words {
    turn: AtomicU32::new(0),
    changing: AtomicU32::new(0),
    children: AtomicU32::new(0),
    settled: AtomicU32::new(0),
    process: AtomicU32::new(0),
};

/// The last number of `process`. A fork copies it, and counts on.
static LAST: AtomicU32 = AtomicU32::new(0);

const SIZE: usize = 4096;

/// Those of this process; madvise(2), MADV_WIPEONFORK, since Linux 4.14.
pub(crate) fn words() -> &'static Words {
    let known = PAGE.load(Acquire);
    let page = if known.is_null() { make() } else { known };
    // SAFETY: what is not null is a page that is never unmapped, large enough, aligned, and valid as it is zeroed.
    unsafe { page.as_ref() }.unwrap_or(&PLAIN)
}

/// A number that tells this process from those that it was forked from: what has another is a copy of theirs. The kernel's would not
/// do, as both may be PID 1.
pub(crate) fn process() -> u32 {
    let word = &words().process;
    match word.load(Acquire) {
        0 => {
            let next = LAST.fetch_add(1, AcqRel) + 1;
            word.compare_exchange(0, next, AcqRel, Acquire).map_or_else(|others| others, |_| next)
        }
        known => known,
    }
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
