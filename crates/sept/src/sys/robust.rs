//! A word that the kernel changes when a process leaves its memory, by exec or by its end: the list of robust futexes
//! (set_robust_list(2)) with this one as all that is in it.

use std::mem::size_of;
use std::ptr;
use std::sync::atomic::AtomicU32;

use rustix::io::Errno;

use super::raw::{check, syscall};

/// What the kernel reads then, beginning with its `struct robust_list_head`. Pointers as numbers: nobody here follows them.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Robust {
    /// The address of `entry`.
    first: usize,
    /// From `entry` to the word.
    offset: isize,
    pending: usize,
    /// The address of `first`: the end of the list.
    entry: usize,
}

impl Robust {
    const HEAD: usize = 3 * size_of::<usize>();

    /// Whether the kernel knows it.
    pub(crate) fn is_watched(&self) -> bool {
        self.first != 0
    }

    /// From now on: if `word` holds the number of the calling thread, as that sees it, and `FUTEX_WAITERS` when it leaves
    /// its memory, the kernel writes `FUTEX_WAITERS | FUTEX_OWNER_DIED` there, and wakes one who waits for the word.
    ///
    /// # Safety
    /// `self` stays where it is, and `word` is mapped, until then. The calling thread is nobody's who has such a list.
    pub(crate) unsafe fn watch(&mut self, word: &AtomicU32) -> Result<(), Errno> {
        let entry = &raw const self.entry;
        self.first = entry.expose_provenance();
        self.offset = word.as_ptr().expose_provenance().wrapping_sub(self.first).cast_signed();
        self.entry = ptr::from_ref(self).expose_provenance();
        // SAFETY: the kernel only notes the address; what it reads there later stays, as the caller answers for.
        check(unsafe { syscall(libc::SYS_set_robust_list, [self.entry, Self::HEAD, 0, 0, 0, 0]) }).map(drop)
    }
}
