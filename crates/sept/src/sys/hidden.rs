//! Who may reach into the memory that a child shares with its caller: prctl(2), PR_SET_DUMPABLE.
//!
//! The mark is the memory's, and so the caller's as well as the child's.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};

/// How many children share the memory of a caller that hides it for them, and what the mark was before.
struct Hiding {
    children: usize,
    before: Option<DumpableBehavior>,
}

static HIDING: Mutex<Hiding> = Mutex::new(Hiding { children: 0, before: None });

fn hiding() -> MutexGuard<'static, Hiding> {
    HIDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The mark, without what hiding makes of it.
pub(crate) fn dumpable() -> Option<DumpableBehavior> {
    let hiding = hiding();
    if hiding.children == 0 { dumpable_behavior().ok() } else { hiding.before }
}

/// Sets the mark to what it was, unless it is hidden for others.
pub(crate) fn restore_dumpable(before: Option<DumpableBehavior>) {
    let hiding = hiding();
    if hiding.children == 0 {
        restore(before);
    }
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
        let mut hiding = hiding();
        if hiding.children == 0 {
            hiding.before = dumpable_behavior().ok();
            let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        }
        hiding.children += 1;
        Self(())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let mut hiding = hiding();
        hiding.children -= 1;
        if hiding.children == 0 {
            restore(hiding.before.take());
        }
    }
}
