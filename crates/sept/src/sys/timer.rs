//! A signal to this process after a time; timer_create(2).

use std::time::Duration;

use rustix::io::Errno;

use super::raw::{check, syscall};

/// A timer of this process, gone with this.
#[derive(Debug)]
pub(crate) struct Timer {
    id: usize,
}

/// struct sigevent, as the kernel has it.
#[repr(C)]
struct Event {
    value: u64,
    signal: i32,
    notify: i32,
    rest: [u64; 6],
}

impl Timer {
    /// By the monotonic clock.
    pub(crate) fn new(signal: i32, after: Duration) -> Result<Self, Errno> {
        let event = Event { value: 0, signal, notify: libc::SIGEV_SIGNAL, rest: [0; 6] };
        let mut id = 0_i32;
        let clock = libc::CLOCK_MONOTONIC as usize;
        let (event, place) = ((&raw const event).expose_provenance(), (&raw mut id).expose_provenance());
        // SAFETY: both live across the call, and have the kernel's layout.
        check(unsafe { syscall(libc::SYS_timer_create, [clock, event, place, 0, 0, 0]) })?;
        let timer = Self { id: id as usize };
        // No interval; a time of zero would switch it off.
        let after = after.max(Duration::from_nanos(1));
        let setting = [0_i64, 0, after.as_secs().min(1 << 40) as i64, i64::from(after.subsec_nanos())];
        // SAFETY: struct itimerspec is four such numbers, which live across the call.
        check(unsafe {
            syscall(libc::SYS_timer_settime, [timer.id, 0, setting.as_ptr().expose_provenance(), 0, 0, 0])
        })?;
        Ok(timer)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: a number.
        let _ = unsafe { syscall(libc::SYS_timer_delete, [self.id, 0, 0, 0, 0, 0]) };
    }
}
