//! Who may reach into the memory that a child shares with its caller: prctl(2), PR_SET_DUMPABLE.
//!
//! The mark is the memory's, and so the caller's as well as the child's. A fork in another thread copies it, and no children: what it
//! was before them is restored there when sept is used, and no sooner.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use rustix::process::{DumpableBehavior, dumpable_behavior, set_dumpable_behavior};
use rustix::thread::futex;

use super::unforked::{self, Words};

/// What the mark was before it was changed for children. Noted before the change, and forgotten after it is undone: a fork copies it
/// with the mark.
static BEFORE: AtomicU32 = AtomicU32::new(UNCHANGED);

const UNCHANGED: u32 = u32::MAX;

/// The word `changing`. A lock of std's would be copied by a fork in the middle of a change, and never be free there. Nobody spins: who
/// has it may be one that gets no processor before who waits is asleep (sched(7), SCHED_FIFO).
const FREE: u32 = 0;
const TAKEN: u32 = 1;
const WANTED: u32 = 2;

fn alone<T>(work: impl FnOnce(&Words) -> T) -> T {
    let words = unforked::words();
    let lock = &words.changing;
    if lock.compare_exchange(FREE, TAKEN, Acquire, Relaxed).is_err() {
        while lock.swap(WANTED, Acquire) != FREE {
            let _ = futex::wait(lock, futex::Flags::PRIVATE, WANTED, None);
        }
    }
    if words.settled.swap(1, Relaxed) == 0 {
        undo();
    }
    let done = work(words);
    if lock.swap(FREE, Release) == WANTED {
        let _ = futex::wake(lock, futex::Flags::PRIVATE, 1);
    }
    done
}

/// In a process that was forked while others changed the mark: undoes that.
pub(crate) fn settle() {
    if unforked::words().settled.load(Acquire) == 0 {
        alone(|_| ());
    }
}

fn undo() {
    use DumpableBehavior::{Dumpable, DumpableReadableOnlyByRoot, NotDumpable};
    let before = BEFORE.load(Relaxed);
    let known = [NotDumpable, Dumpable, DumpableReadableOnlyByRoot];
    if let Some(mark) = known.into_iter().find(|one| *one as u32 == before) {
        // 2 can't be set, and 0 hides as well.
        let _ = set_dumpable_behavior(mark);
    }
    BEFORE.store(UNCHANGED, Relaxed);
}

/// Held as long as a child shares this memory: nobody without CAP_SYS_PTRACE in the user namespace in which the caller was executed
/// reaches into it. Otherwise whoever owns the child's user namespace may, which is every process of the caller's user, also one that
/// has none of the caller's capabilities.
#[derive(Debug)]
pub(crate) struct Hidden {
    /// Whose: a copy of it undoes nothing.
    process: u32,
}

impl Hidden {
    pub(crate) fn begin() -> Self {
        let hidden = Self::by_kernel();
        // Always: the kernel may have changed it since.
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        hidden
    }

    /// For a child that changes its ids in this memory: the kernel then hides it.
    pub(crate) fn by_kernel() -> Self {
        alone(|words| {
            let children = words.children.load(Relaxed);
            if children == 0 {
                BEFORE.store(dumpable_behavior().map_or(UNCHANGED, |mark| mark as u32), Relaxed);
            }
            words.children.store(children + 1, Relaxed);
        });
        Self { process: unforked::process() }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if self.process != unforked::process() {
            return;
        }
        alone(|words| {
            let left = words.children.load(Relaxed).saturating_sub(1);
            words.children.store(left, Relaxed);
            if left == 0 {
                undo();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    use super::*;

    /// Puts the calling thread on the first processor, there before all that have no such priority where it is wanted.
    fn place(priority: i32) -> bool {
        // SAFETY: all zeros is a set without processors.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set has room for the first processor.
        unsafe { libc::CPU_SET(0, &mut set) };
        // SAFETY: the set is as long as is said.
        let placed = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
        let kind = if priority == 0 { libc::SCHED_OTHER } else { libc::SCHED_FIFO };
        let param = libc::sched_param { sched_priority: priority };
        // SAFETY: the parameter is there.
        placed == 0 && unsafe { libc::sched_setscheduler(0, kind, &raw const param) } == 0
    }

    /// It would hold the processor that the other one needs, until the kernel takes it away (sched_rt_runtime_us).
    #[test]
    fn who_has_priority_waits_no_longer_than_the_change_takes() {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                place(0);
                while !done.load(Relaxed) {
                    drop(Hidden::by_kernel());
                }
            });
            let waited = scope.spawn(|| {
                let wait = |_| {
                    std::thread::sleep(Duration::from_millis(1));
                    let begun = Instant::now();
                    drop(Hidden::by_kernel());
                    begun.elapsed()
                };
                place(1).then(|| (0..100).map(wait).find(|time| *time > Duration::from_millis(800)))
            });
            let waited = waited.join();
            done.store(true, Relaxed);
            match waited.expect("no panic") {
                // In one piece, past the harness: other tests write, too.
                None => {
                    let line = "skipped: who_has_priority_waits_no_longer_than_the_change_takes: it takes the right to a priority\n";
                    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
                }
                Some(longest) => assert_eq!(longest, None),
            }
        });
    }
}
