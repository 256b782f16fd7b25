//! Who may reach into the memory that a child shares with its caller: prctl(2), PR_SET_DUMPABLE.
//!
//! The mark is the memory's, and so the caller's as well as the child's.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

/// How many children share the memory of a caller that hides it for them, and what the mark was before. A lock of std's would be
/// copied by a fork in the middle of a change, and never be free there.
struct Hiding {
    /// The process that is changing the rest, or 0.
    changing: AtomicU32,
    /// In the upper half the process that has these children.
    children: AtomicU64,
    before: AtomicU32,
}

static HIDING: Hiding =
    Hiding { changing: AtomicU32::new(0), children: AtomicU64::new(0), before: AtomicU32::new(UNKNOWN) };

const UNKNOWN: u32 = u32::MAX;

impl Hiding {
    /// Changes the number of children; `work` is told what it was, and the mark that was before these.
    fn change(&self, by: i32, work: impl FnOnce(u32, Option<DumpableBehavior>)) {
        let process = rustix::process::getpid().as_raw_pid() as u32;
        loop {
            let who = self.changing.load(Relaxed);
            // Another number is that of a process of which this one is a fork.
            if who != process && self.changing.compare_exchange(who, process, Acquire, Relaxed).is_ok() {
                break;
            }
            std::thread::yield_now();
        }
        let word = self.children.load(Relaxed);
        let (whose, counted) = ((word >> 32) as u32, word as u32);
        let before = if counted == 0 { now() } else { self.before.load(Relaxed) };
        let children = if whose == process { counted } else { 0 };
        self.before.store(before, Relaxed);
        work(children, known(before));
        let children = children.saturating_add_signed(by);
        self.children.store(u64::from(process) << 32 | u64::from(children), Relaxed);
        self.changing.store(0, Release);
    }
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
    HIDING.change(0, |_, before| mark = before);
    mark
}

/// Sets the mark to what it was, unless it is hidden for others.
pub(crate) fn restore_dumpable(before: Option<DumpableBehavior>) {
    HIDING.change(0, |children, _| {
        if children == 0 {
            restore(before);
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
        HIDING.change(1, |children, _| {
            if children == 0 {
                let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
            }
        });
        Self(())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        HIDING.change(-1, |children, before| {
            if children == 1 {
                restore(before);
            }
        });
    }
}
