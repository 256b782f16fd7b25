//! Whose turn it is: starts that change ids in shared memory go one by one.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use rustix::process::DumpableBehavior;

use crate::sys;

/// A child that changes its ids in shared memory makes that memory "not dumpable", and an undumpable process may
/// not write its own id maps. So such a child is alone while it works; all others work side by side.
static IDS: Count = Count(AtomicU64::new(0));

/// How many are at work, or that one is alone; and for which process that holds. A fork copies what others are at just then, who
/// are not there: that counts for nobody.
struct Count(AtomicU64);

const ALONE: u32 = u32::MAX;

impl Count {
    /// In the upper half the process, in the lower one how many.
    fn of_now(word: u64, process: u32) -> u32 {
        if (word >> 32) as u32 == process { word as u32 } else { 0 }
    }

    /// Changes the number for this process, if it may change so.
    fn change(&self, to: impl Fn(u32) -> Option<u32>) -> bool {
        let process = rustix::process::getpid().as_raw_pid() as u32;
        let next = |word| Some(u64::from(process) << 32 | u64::from(to(Self::of_now(word, process))?));
        self.0.fetch_update(Acquire, Relaxed, next).is_ok()
    }

    fn leave(&self) {
        let process = rustix::process::getpid().as_raw_pid() as u32;
        let one_less = |word| match Self::of_now(word, process) {
            // A fork has been here since.
            0 => None,
            ALONE => Some(word & !u64::from(u32::MAX)),
            _ => Some(word - 1),
        };
        let _ = self.0.fetch_update(Release, Relaxed, one_less);
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
        loop {
            let taken = if changes_ids {
                IDS.change(|others| (others == 0).then_some(ALONE))
            } else {
                IDS.change(|others| others.checked_add(1).filter(|count| *count != ALONE))
            };
            if taken {
                return Some(Self { before: changes_ids.then(sys::dumpable) });
            }
            // Others are at work for as long as their set-up takes.
            std::thread::sleep(Duration::from_micros(200));
            tries += 1;
            if tries.is_multiple_of(100) && stop() {
                return None;
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            sys::restore_dumpable(before);
        }
        IDS.leave();
    }
}
