//! The clone: one function, on a stack of its own.

use std::ffi::c_void;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU32};

use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::raw::check;

/// Where a child begins. It never returns: there is nothing to return to.
pub(crate) type Entry = extern "C" fn(*mut c_void) -> i32;

const CLONE_VM: u64 = 0x100;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
/// libc's constant overflows its type.
const CLONE_CLEAR_SIGHAND: u64 = 1 << 32;
const CLONE_INTO_CGROUP: u64 = 1 << 33;
const CLONE_NEWTIME: u64 = 0x80;

/// A mapped stack with a guard page below.
#[derive(Debug)]
pub(crate) struct Stack {
    base: *mut c_void,
}

/// The stack of a child that has left it, kept for the next spawn, which then need not map and fault in its own.
static SPARE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

// SAFETY: a mapping belongs to the process, not to a thread; the pointer goes to one owner at a time, who uses it only as a
// place for a child to run on, and to unmap it.
unsafe impl Send for Stack {}
// SAFETY: nothing can be done with a shared `Stack`.
unsafe impl Sync for Stack {}

impl Stack {
    const GUARD: usize = 64 * 1024;
    /// Debug builds need some 30 KiB; only touched pages count.
    const SIZE: usize = 256 * 1024;

    pub(crate) fn new() -> Result<Self, Errno> {
        let spare = SPARE.swap(ptr::null_mut(), AcqRel);
        if !spare.is_null() {
            return Ok(Self { base: spare });
        }
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::STACK;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let base = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                Self::GUARD + Self::SIZE,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
            )
        }?;
        // SAFETY: the first pages of the mapping just made, which nobody uses yet.
        if let Err(errno) = unsafe { mprotect(base, Self::GUARD, MprotectFlags::empty()) } {
            // SAFETY: as above. Without a guard it is no stack, also not for the next one.
            let _ = unsafe { munmap(base, Self::GUARD + Self::SIZE) };
            return Err(errno);
        }
        Ok(Self { base })
    }

    fn lowest(&self) -> usize {
        self.base as usize + Self::GUARD
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if SPARE.compare_exchange(ptr::null_mut(), self.base, Release, Relaxed).is_ok() {
            return;
        }
        // SAFETY: the mapping is ours, and its owner drops it only when no child runs on it.
        let _ = unsafe { munmap(self.base, Self::GUARD + Self::SIZE) };
    }
}

/// What to clone.
pub(crate) struct CloneRequest<'a> {
    /// `CLONE_NEW*`.
    pub namespaces: u64,
    /// Whether the child runs in the caller's memory. If not, it gets a copy, as by fork.
    pub share_memory: bool,
    /// The word that the kernel clears, and wakes the waiters of, when the child of shared memory execs or ends.
    pub life: &'a AtomicU32,
    /// Set to 1 where plain clone was used: the child must clear the signal handlers itself.
    pub by_hand: &'a AtomicU32,
    /// The stack for the child.
    pub stack: &'a Stack,
    /// Makes the child one of the caller's own parent, and has the kernel write its pid here before it runs.
    pub sibling: Option<&'a AtomicU32>,
    /// Whether the caller stays until a child of shared memory has left that.
    pub wait: bool,
    /// What the parent is told with at the end. A sibling has that of the caller.
    pub exit_signal: i32,
    /// A cgroup of version 2 for the child to begin in (Linux 5.7). Plain clone has no room for it.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// The child, as its parent sees it.
pub(crate) struct Cloned {
    pub pid: i32,
    /// Not of a sibling.
    pub pidfd: Option<OwnedFd>,
}

#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// clone3(2) (Linux 5.3), or clone(2) where a kernel or an old seccomp filter refuses clone3.
///
/// In the child `entry(arg)` runs on the stack; it must not return.
///
/// # Safety
/// All signals are blocked. `arg`, the stack and `life` outlive the child's stay in this memory. `entry` makes bare
/// system calls on prepared memory only: no allocation, no lock, no panic.
pub(crate) unsafe fn clone(
    request: &CloneRequest<'_>,
    entry: Entry,
    arg: *mut c_void,
) -> Result<Cloned, Errno> {
    let mut pidfd: RawFd = -1;
    let memory = if request.share_memory { CLONE_VM } else { 0 };
    let sibling = if request.sibling.is_some() { CLONE_PARENT | CLONE_PARENT_SETTID } else { 0 };
    let wait = if request.wait { CLONE_VFORK } else { 0 };
    let exit_signal = if request.sibling.is_some() { 0 } else { request.exit_signal };
    // A sibling's own parent opens its pidfd: here it would be of no use.
    let wants_pidfd = if request.sibling.is_some() { 0 } else { CLONE_PIDFD };
    let common = memory | sibling | wait | wants_pidfd | CLONE_CHILD_CLEARTID | request.namespaces;
    let parent_tid = request.sibling.map_or(ptr::null_mut(), AtomicU32::as_ptr);
    let args = CloneArgs {
        flags: common | CLONE_CLEAR_SIGHAND | request.cgroup.map_or(0, |_| CLONE_INTO_CGROUP),
        cgroup: request.cgroup.map_or(0, |dir| dir.as_raw_fd() as u64),
        pidfd: if wants_pidfd == 0 { 0 } else { &raw mut pidfd as u64 },
        child_tid: request.life.as_ptr() as u64,
        exit_signal: exit_signal as u64,
        parent_tid: parent_tid as u64,
        stack: request.stack.lowest() as u64,
        stack_size: Stack::SIZE as u64,
        ..CloneArgs::default()
    };
    // SAFETY: `args` and what it points to live across the call; the caller answers for the rest.
    let answer = unsafe { clone3_on_stack(&args, entry, arg) };
    let pid = match check(answer) {
        // Plain clone has no room for CLONE_NEWTIME: 0x80 lies in its exit-signal byte.
        Err(Errno::NOSYS | Errno::PERM) if request.namespaces & CLONE_NEWTIME == 0 => {
            request.by_hand.store(1, Release);
            let top = (request.stack.lowest() + Stack::SIZE) as *mut c_void;
            let flags = common | exit_signal as u64;
            // Plain clone writes the pidfd, or a sibling's pid, to the same place.
            let written = if wants_pidfd == 0 { parent_tid.cast::<RawFd>() } else { &raw mut pidfd };
            // SAFETY: as clone3.
            let answer = unsafe { clone_on_stack(flags, top, written, request.life.as_ptr(), entry, arg) };
            check(answer)? as i32
        }
        answer => answer? as i32,
    };
    // SAFETY: the kernel has just made this descriptor for us.
    let pidfd = (wants_pidfd != 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok(Cloned { pid, pidfd })
}

/// One more thread of the calling process, which runs `entry(arg)` on the stack. The kernel writes its number to `number` before it
/// runs; at its end it clears that, and wakes who waits. With `wanted` it has that number, so that no later process misses one:
/// that takes clone3 (Linux 5.5) and CAP_SYS_ADMIN in the pid namespace.
///
/// # Safety
/// All signals are blocked. `arg`, the stack and `number` outlive the thread, which ends by [`exit_thread`](super::exit_thread)
/// and keeps to what is said of [`clone`].
pub(crate) unsafe fn clone_thread(
    stack: &Stack,
    wanted: Option<i32>,
    number: &AtomicU32,
    entry: Entry,
    arg: *mut c_void,
) -> Result<(), Errno> {
    const CLONE_FS: u64 = 0x200;
    const CLONE_FILES: u64 = 0x400;
    const CLONE_SIGHAND: u64 = 0x800;
    const CLONE_THREAD: u64 = 0x1_0000;
    let shared = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
    let flags = shared | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    if let Some(wanted) = wanted {
        let args = CloneArgs {
            flags,
            child_tid: number.as_ptr() as u64,
            parent_tid: number.as_ptr() as u64,
            stack: stack.lowest() as u64,
            stack_size: Stack::SIZE as u64,
            set_tid: &raw const wanted as u64,
            set_tid_size: 1,
            ..CloneArgs::default()
        };
        // SAFETY: `args` and what it points to live across the call; the caller answers for the rest.
        return check(unsafe { clone3_on_stack(&args, entry, arg) }).map(drop);
    }
    let top = (stack.lowest() + Stack::SIZE) as *mut c_void;
    // SAFETY: as the caller answers for; the number is written and cleared at the same place.
    let answer = unsafe { clone_on_stack(flags, top, number.as_ptr().cast(), number.as_ptr(), entry, arg) };
    check(answer).map(drop)
}

/// A child in a new user namespace that has ended when this comes back, and that nobody is told of. It is still there, and
/// so is its namespace, until [`collect`](super::collect) takes it away.
pub(crate) fn clone_user_namespace() -> Result<Cloned, Errno> {
    extern "C" fn end(_: *mut c_void) -> i32 {
        super::exit(0)
    }
    // Not in shared memory: whoever owns that namespace may reach into it.
    let namespaces = libc::CLONE_NEWUSER as u64;
    // SAFETY: `end` makes one call.
    unsafe { clone_copy(namespaces, true, end, ptr::null_mut()) }
}

/// A copy of this process that does no more than `entry`, and that nobody is told of.
///
/// # Safety
/// `entry` allocates nothing and takes no lock: another thread may have held it. What `arg` points to is this copy's own.
pub(super) unsafe fn clone_copy(
    namespaces: u64,
    wait: bool,
    entry: Entry,
    arg: *mut c_void,
) -> Result<Cloned, Errno> {
    let (life, by_hand, stack) = (AtomicU32::new(1), AtomicU32::new(0), Stack::new()?);
    let request = CloneRequest {
        namespaces,
        share_memory: false,
        life: &life,
        by_hand: &by_hand,
        stack: &stack,
        sibling: None,
        wait,
        exit_signal: 0,
        cgroup: None,
    };
    let mask = super::set_signal_mask(u64::MAX);
    // SAFETY: signals are blocked; the copy has its own stack; the caller answers for `entry`.
    let cloned = unsafe { clone(&request, entry, arg) };
    super::set_signal_mask(mask);
    cloned
}

/// clone3 to a new stack: the child comes back from the call with that stack, and goes to `entry`.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3_on_stack(args: &CloneArgs, entry: Entry, arg: *mut c_void) -> isize {
    let answer: isize;
    // SAFETY: in the parent this is a plain system call. The child sees rax = 0 and rsp = the top of its stack, which
    // is 16-aligned as a call demands, and never comes back from `entry`.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => answer,
            in("rdi") args, in("rsi") size_of::<CloneArgs>(),
            in("r12") entry, in("r13") arg,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    answer
}

/// clone3 to a new stack: the child comes back from the call with that stack, and goes to `entry`.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3_on_stack(args: &CloneArgs, entry: Entry, arg: *mut c_void) -> isize {
    let answer: isize;
    // SAFETY: as on x86_64, with x0 = 0 in the child.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x21",
            "blr x20",
            "brk 1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") args as *const CloneArgs as isize => answer,
            in("x1") size_of::<CloneArgs>(),
            in("x20") entry, in("x21") arg,
            lateout("x30") _,
        );
    }
    answer
}

/// clone(2), in the same manner. Not libc's: musl's refuses CLONE_CHILD_CLEARTID.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_on_stack(
    flags: u64,
    top: *mut c_void,
    written: *mut RawFd,
    life: *mut u32,
    entry: Entry,
    arg: *mut c_void,
) -> isize {
    let answer: isize;
    // SAFETY: as `clone3_on_stack`; `top` is the 16-aligned end of the stack.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone as isize => answer,
            in("rdi") flags, in("rsi") top, in("rdx") written, in("r10") life, in("r8") 0,
            in("r12") entry, in("r13") arg,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    answer
}

/// clone(2), in the same manner. Not libc's: musl's refuses CLONE_CHILD_CLEARTID.
#[cfg(target_arch = "aarch64")]
unsafe fn clone_on_stack(
    flags: u64,
    top: *mut c_void,
    written: *mut RawFd,
    life: *mut u32,
    entry: Entry,
    arg: *mut c_void,
) -> isize {
    let answer: isize;
    // SAFETY: as `clone3_on_stack`; `top` is the 16-aligned end of the stack. On this architecture tls is the fourth argument.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x21",
            "blr x20",
            "brk 1",
            "2:",
            in("x8") libc::SYS_clone,
            inlateout("x0") flags => answer,
            in("x1") top, in("x2") written, in("x3") 0, in("x4") life,
            in("x20") entry, in("x21") arg,
            lateout("x30") _,
        );
    }
    answer
}
