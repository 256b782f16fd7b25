//! The protocol between parent and child: a few words in memory that both see.

use std::sync::atomic::{AtomicI32, AtomicU32};

/// [`Control::life`]: the child is at work. Not 1: as a futex, the word would say that process 1 owns it.
pub(crate) const RUNNING: u32 = 0x2000_0001;
/// [`Control::life`]: the child waits before exec.
pub(crate) const PARKED: u32 = 0x2000_0002;
/// [`Control::life`]: a step failed; the child waits until the parent has looked at it.
pub(crate) const FAILED: u32 = 0x2000_0003;
/// [`Control::life`]: the kernel writes it when the child execs or ends.
pub(crate) const GONE: u32 = 0;

/// [`Control::life`], with the child's number as it sees that itself: a child with a copy of the memory is at exec. The
/// kernel knows the word as a futex with waiters.
pub(crate) const AT_EXEC: u32 = 0x8000_0000;
/// [`Control::life`]: the kernel writes it, then, when the child execs or ends: the owner of the futex has died.
pub(crate) const LEFT: u32 = 0xC000_0000;

/// Whether the child is still at its steps, in this state.
pub(crate) const fn is_at_work(life: u32) -> bool {
    life == RUNNING || life & LEFT == AT_EXEC
}

/// [`Control::go`]: the parent has not spoken yet.
pub(crate) const WAIT: u32 = 0;
/// [`Control::go`]: the parent has done its duties.
pub(crate) const GO: u32 = 1;
/// [`Control::go`]: the child is to end.
pub(crate) const GIVE_UP: u32 = 2;

/// [`Control::stage`]: the first child has not made the command yet; in place, the helper is not to begin yet.
pub(crate) const FIRST: u32 = 0;
/// [`Control::stage`]: the command has begun; in place, the helper is to begin.
pub(crate) const SECOND: u32 = 1;
/// [`Control::stage`]: the first child has failed.
pub(crate) const STUCK: u32 = 2;

/// [`Control::status`]: the command has not ended.
pub(crate) const NOT_ENDED: u32 = u32::MAX;

/// What parent and child tell each other.
#[derive(Debug)]
pub(crate) struct Control {
    /// The child's state; the parent waits on it.
    pub life: AtomicU32,
    /// The parent's word; the child waits on it.
    pub go: AtomicU32,
    /// How far it is where there are two children, or a helper; the parent, or the helper, waits on it.
    pub stage: AtomicU32,
    /// The command's pid, where a first child has made it; written by the kernel.
    pub command: AtomicU32,
    /// The index of the step that the child is at.
    pub step: AtomicU32,
    /// The errno of the step that failed.
    pub errno: AtomicI32,
    /// For exec: the number of the candidate that was there and could not be executed, plus one.
    pub candidate: AtomicU32,
    /// Set where the child must clear the signal handlers itself.
    pub by_hand: AtomicU32,
    /// How the command ended, as wait(2) has it, told by a reaper.
    pub status: AtomicU32,
    /// The signal that has stopped the command, told by a reaper; 0 where it runs, and once this was looked at.
    pub stopped: AtomicU32,
}

impl Control {
    pub(crate) const fn new() -> Self {
        Self {
            life: AtomicU32::new(RUNNING),
            go: AtomicU32::new(WAIT),
            stage: AtomicU32::new(FIRST),
            command: AtomicU32::new(0),
            step: AtomicU32::new(0),
            errno: AtomicI32::new(0),
            candidate: AtomicU32::new(0),
            by_hand: AtomicU32::new(0),
            status: AtomicU32::new(NOT_ENDED),
            stopped: AtomicU32::new(0),
        }
    }
}
