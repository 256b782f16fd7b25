//! Whose turn it is: starts that change ids in shared memory go one by one.

use std::cell::Cell;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use crate::error::{Advice, Error};
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nobodys,
    /// One of many.
    Shared,
    Alone,
}

thread_local! {
    /// What turn this thread has: it may come here again, by `stop`.
    static OWN: Cell<Kind> = const { Cell::new(Kind::Nobodys) };
}

/// Until the child has left this memory. One with a copy of it needs the turn for the clone alone: it copies the mark, too.
pub(super) struct Turn {
    kind: Kind,
    /// Of one that is alone: undoes what its child makes of the mark.
    hidden: Option<sys::Hidden>,
}

impl Turn {
    /// `changes_ids`: whether that is done in shared memory.
    pub(super) fn take(changes_ids: bool, stop: &mut dyn FnMut() -> bool) -> Result<Self, Error> {
        // None where a fork has been here since.
        let own = if word().load(Relaxed) & ALONE == 0 { Kind::Nobodys } else { OWN.get() };
        match own {
            Kind::Nobodys => {}
            // That one's turn lasts longer than this start.
            Kind::Shared if !changes_ids => return Ok(Self { kind: Kind::Nobodys, hidden: None }),
            Kind::Shared | Kind::Alone => return Err(within_another()),
        }
        let mut tries = 0_u32;
        while !(if changes_ids { begin_alone() } else { begin() }) {
            std::thread::sleep(PAUSE);
            tries += 1;
            if tries.is_multiple_of(100) {
                if changes_ids {
                    // Whatever `stop` does, a panic or a start of its own, nobody waits for this one meanwhile. Others that wait
                    // say so again.
                    word().fetch_and(!WAITS, Relaxed);
                }
                if stop() {
                    let what = "begin, while another start changes ids".to_owned();
                    return Err(Error::Died { what, step: 1, signal: None, advice: Advice::default() });
                }
            }
        }
        let kind = if changes_ids { Kind::Alone } else { Kind::Shared };
        OWN.set(kind);
        Ok(Self { kind, hidden: changes_ids.then(sys::Hidden::by_kernel) })
    }
}

/// It would wait for a start that waits for it.
fn within_another() -> Error {
    Error::invalid_with(
        "a start can't begin while another one of its thread asks whether to give up, and one of them changes ids",
        Advice::new(
            "a child that changes ids in shared memory is alone there (user_namespaces(7): its map could not be written)",
            "start it by another thread, or when the first one has started",
        ),
    )
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
        let leave = match self.kind {
            Kind::Nobodys => return,
            Kind::Alone => {
                self.hidden = None;
                |now: u32| Some(now & !ALONE)
            }
            // None where a fork has been here since.
            Kind::Shared => |now: u32| (now & ALONE > 0).then(|| now - 1),
        };
        OWN.set(Kind::Nobodys);
        let _ = word().fetch_update(Release, Relaxed, leave);
    }
}
