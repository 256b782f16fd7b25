//! Whose turn it is: starts that change ids in shared memory go one by one.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use rustix::process::DumpableBehavior;

use crate::sys;

/// How many are at work side by side, or that one is alone, and whether one waits to be that.
///
/// A child that changes its ids in shared memory makes that memory "not dumpable", and an undumpable process may
/// not write its own id maps. So such a child is alone while it works. A fork copies no turn: of those whose it is, none is there.
fn word() -> &'static AtomicU32 {
    &sys::unforked().turn
}

/// Nobody begins any more until the one who waits has had his turn: else there might always be somebody at work.
const WAITS: u32 = 1 << 31;
const ALONE: u32 = WAITS - 1;

/// For so long others are at work: as long as their set-up takes.
const PAUSE: Duration = Duration::from_micros(200);

/// Of one that would be alone: nobody waits for it any more once this is gone, also by a panic of `stop`.
struct Wait;

impl Drop for Wait {
    fn drop(&mut self) {
        // Others that wait say so again.
        word().fetch_and(!WAITS, Relaxed);
    }
}

pub(super) struct Turn {
    /// Of one that is alone: how the memory was.
    before: Option<Option<DumpableBehavior>>,
}

impl Turn {
    /// None if that was stopped.
    pub(super) fn take(changes_ids: bool, stop: &mut dyn FnMut() -> bool) -> Option<Self> {
        let mut tries = 0_u32;
        let _wait = changes_ids.then_some(Wait);
        while !(if changes_ids { begin_alone() } else { begin() }) {
            std::thread::sleep(PAUSE);
            tries += 1;
            if tries.is_multiple_of(100) && stop() {
                return None;
            }
        }
        Some(Self { before: changes_ids.then(sys::dumpable) })
    }
}

fn begin() -> bool {
    let one_more = |now| if now < ALONE - 1 { Some(now + 1) } else { None };
    word().fetch_update(Acquire, Relaxed, one_more).is_ok()
}

fn begin_alone() -> bool {
    let alone = |now| Some(if now & ALONE == 0 { ALONE } else { now | WAITS });
    word().fetch_update(Acquire, Relaxed, alone).is_ok_and(|before| before & ALONE == 0)
}

impl Drop for Turn {
    fn drop(&mut self) {
        let leave = if let Some(before) = self.before {
            sys::restore_dumpable(before);
            |now: u32| Some(now & !ALONE)
        } else {
            // None where a fork has been here since.
            |now: u32| (now & ALONE > 0).then(|| now - 1)
        };
        let _ = word().fetch_update(Release, Relaxed, leave);
    }
}
