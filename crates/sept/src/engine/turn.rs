//! Whose turn it is: starts that change ids in shared memory go one by one.

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::Duration;

use rustix::process::DumpableBehavior;

use crate::sys;

/// A child that changes its ids in shared memory makes that memory "not dumpable", and an undumpable process may
/// not write its own id maps. So such a child is alone while it works; all others work side by side.
static IDS: RwLock<()> = RwLock::new(());

pub(super) enum Turn {
    Alone(RwLockWriteGuard<'static, ()>, Option<DumpableBehavior>),
    Shared(#[allow(dead_code, reason = "held, not read")] RwLockReadGuard<'static, ()>),
}

impl Turn {
    /// None if that was stopped.
    pub(super) fn take(changes_ids: bool, stop: &mut dyn FnMut() -> bool) -> Option<Self> {
        let alone = |guard| Self::Alone(guard, sys::dumpable());
        let mut tries = 0_u32;
        loop {
            let taken = if changes_ids {
                IDS.try_write().map(alone).or_else(|busy| poisoned(busy).map(alone))
            } else {
                IDS.try_read().map(Self::Shared).or_else(|busy| poisoned(busy).map(Self::Shared))
            };
            if let Ok(turn) = taken {
                return Some(turn);
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

/// The guard of a lock that somebody left in a panic: there is nothing in it that could be half done.
fn poisoned<T>(busy: TryLockError<T>) -> Result<T, ()> {
    match busy {
        TryLockError::Poisoned(poisoned) => Ok(poisoned.into_inner()),
        TryLockError::WouldBlock => Err(()),
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Self::Alone(_guard, before) = self {
            sys::restore_dumpable(*before);
        }
    }
}
