//! Who may reach into the memory that a child shares with its caller: prctl(2), PR_SET_DUMPABLE.
//!
//! The mark is the memory's, and so the caller's as well as the child's.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

use super::unforked;

/// What the mark was before it was hidden for children. A fork copies that with the mark, and not the children.
static BEFORE: AtomicU32 = AtomicU32::new(UNHIDDEN);

const UNHIDDEN: u32 = u32::MAX;
const UNKNOWN: u32 = u32::MAX - 1;

/// Changes how many children share the memory of a caller that hides it for them; `work` is told how many there were, and the mark that
/// was before them. A lock of std's would be copied by a fork in the middle of a change, and never be free there.
fn change(by: i32, work: impl FnOnce(u32, u32)) {
    let words = unforked();
    while words.changing.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
        std::thread::yield_now();
    }
    let children = words.children.load(Relaxed);
    let before = match BEFORE.load(Relaxed) {
        UNHIDDEN => now(),
        hidden => hidden,
    };
    work(children, before);
    let after = children.saturating_add_signed(by);
    if after != children {
        BEFORE.store(if after == 0 { UNHIDDEN } else { before }, Relaxed);
        words.children.store(after, Relaxed);
    }
    words.changing.store(0, Release);
}

fn now() -> u32 {
    dumpable_behavior().map_or(UNKNOWN, |mark| mark as u32)
}

fn known(mark: u32) -> Option<DumpableBehavior> {
    use DumpableBehavior::{Dumpable, DumpableReadableOnlyByRoot, NotDumpable};
    [NotDumpable, Dumpable, DumpableReadableOnlyByRoot].into_iter().find(|one| *one as u32 == mark)
}

/// The mark, without what hiding makes of it.
pub(crate) fn dumpable() -> Option<DumpableBehavior> {
    let mut mark = None;
    change(0, |_, before| mark = known(before));
    mark
}

/// Sets the mark to what it was, unless it is hidden for others.
pub(crate) fn restore_dumpable(before: Option<DumpableBehavior>) {
    change(0, |children, _| {
        if children == 0 {
            restore(before);
            BEFORE.store(UNHIDDEN, Relaxed);
        }
    });
}

fn restore(before: Option<DumpableBehavior>) {
    // 2 can't be set, and 0 hides as well.
    let _ = before.map(set_dumpable_behavior);
}

/// Held as long as a child shares this memory: nobody without CAP_SYS_PTRACE in the user namespace in which the caller was executed
/// reaches into it. Otherwise whoever owns the child's user namespace may, which is every process of the caller's user, also one that
/// has none of the caller's capabilities.
#[derive(Debug)]
pub(crate) struct Hidden(());

impl Hidden {
    pub(crate) fn begin() -> Self {
        change(1, |children, _| {
            if children == 0 {
                let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
            }
        });
        Self(())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        change(-1, |children, before| {
            if children == 1 {
                restore(known(before));
            }
        });
    }
}
