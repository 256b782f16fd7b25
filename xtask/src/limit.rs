//! The bare limit: clone3 with shared memory, execve, wait; nothing else. What no tool can be faster than.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Wider than the constant of libc.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// A stack for the child, used again each time.
static mut STACK: [u128; 4096] = [0; 4096];

unsafe extern "C" {
    /// environ(7): the same environment that the others pass on.
    static environ: *const *const c_char;
}

/// What the child does before exec: nothing, if all is empty.
#[derive(Clone, Copy, Default)]
pub struct Before<'a> {
    /// Files that it writes a 0 to: `tasks` of cgroups of version 1.
    pub tasks: &'a [BorrowedFd<'a>],
    /// The cgroup of version 2 that it is cloned into.
    pub into: Option<BorrowedFd<'a>>,
    /// A pipe that it waits for a byte of, and its new standard output.
    pub gate: Option<(BorrowedFd<'a>, BorrowedFd<'a>)>,
}

struct Args<'a> {
    program: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    before: Before<'a>,
}

extern "C" fn child(args: *mut c_void) -> ! {
    // SAFETY: `clone_and_wait` passes its own `Args`, and does not come back before exec or the end.
    let args = unsafe { &*args.cast::<Args>() };
    let done = |outcome: isize| {
        if outcome < 0 {
            // SAFETY: ends the child only.
            unsafe { libc::_exit(126) }
        }
    };
    for file in args.before.tasks {
        // SAFETY: one byte of a literal.
        done(unsafe { libc::write(file.as_raw_fd(), c"0".as_ptr().cast(), 1) });
    }
    if let Some((gate, output)) = args.before.gate {
        let mut byte = 0_u8;
        // SAFETY: into our own byte.
        done(unsafe { libc::read(gate.as_raw_fd(), (&raw mut byte).cast(), 1) });
        // SAFETY: both are open, as they are borrowed.
        done(unsafe { libc::dup2(output.as_raw_fd(), 1) } as isize);
    }
    // SAFETY: `program` is a C string; both arrays end with a null.
    unsafe { libc::execve(args.program, args.argv, args.envp) };
    // SAFETY: ends the child only.
    unsafe { libc::_exit(127) }
}

/// Starts `program` in new namespaces (`CLONE_NEW*`) and waits for its end.
pub fn start(program: &CStr, namespaces: u64, before: Before) -> io::Result<()> {
    clone_and_wait(program, namespaces | libc::CLONE_VFORK as u64, before, || Ok(()))
}

/// A child that waits at its gate for what `go` does.
pub fn parked(program: &CStr, before: Before, go: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    clone_and_wait(program, 0, before, go)
}

fn clone_and_wait(
    program: &CStr,
    flags: u64,
    before: Before,
    go: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let argv = [program.as_ptr(), std::ptr::null()];
    // SAFETY: nothing in this program changes the environment.
    let envp = unsafe { environ };
    let args = Args { program: program.as_ptr(), argv: argv.as_ptr(), envp, before };
    let mut clone = [0_u64; 11];
    clone[0] = flags | libc::CLONE_VM as u64;
    clone[4] = libc::SIGCHLD as u64;
    clone[5] = &raw mut STACK as u64;
    clone[6] = size_of::<[u128; 4096]>() as u64;
    if let Some(dir) = before.into {
        clone[0] |= CLONE_INTO_CGROUP;
        clone[10] = dir.as_raw_fd() as u64;
    }
    // SAFETY: the arguments live across the wait; one thread at a time uses the stack, and the child is off it by then.
    let pid = unsafe { clone3(&clone, child, (&raw const args).cast_mut().cast()) };
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(-pid as i32));
    }
    let gone = go();
    if gone.is_err() {
        // SAFETY: our own child, which nobody has waited for.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child, into our own number.
    let waited = unsafe { libc::waitpid(pid as i32, &raw mut status, 0) };
    gone?;
    if waited < 0 || status != 0 { Err(io::Error::other("the bare child failed")) } else { Ok(()) }
}

/// The CPU time of this process and of the children that it waited for.
pub fn cpu() -> Duration {
    let used = |who| {
        let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the kernel fills in our own `rusage`.
        unsafe { libc::getrusage(who, usage.as_mut_ptr()) };
        // SAFETY: all zeros is a value, too.
        let usage = unsafe { usage.assume_init() };
        time(usage.ru_utime) + time(usage.ru_stime)
    };
    used(libc::RUSAGE_SELF) + used(libc::RUSAGE_CHILDREN)
}

fn time(value: libc::timeval) -> Duration {
    Duration::new(value.tv_sec as u64, value.tv_usec as u32 * 1000)
}

#[cfg(target_arch = "x86_64")]
unsafe fn clone3(args: &[u64; 11], entry: extern "C" fn(*mut c_void) -> !, arg: *mut c_void) -> isize {
    let answer: isize;
    // SAFETY: in the parent a plain system call; the child goes to `entry` on its stack and never comes back.
    unsafe {
        std::arch::asm!(
            "syscall", "test rax, rax", "jnz 2f", "mov rdi, r13", "call r12", "ud2", "2:",
            inlateout("rax") libc::SYS_clone3 as isize => answer,
            in("rdi") args, in("rsi") size_of::<[u64; 11]>(), in("r12") entry, in("r13") arg,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    answer
}

#[cfg(target_arch = "aarch64")]
unsafe fn clone3(args: &[u64; 11], entry: extern "C" fn(*mut c_void) -> !, arg: *mut c_void) -> isize {
    let answer: isize;
    // SAFETY: as on x86_64.
    unsafe {
        std::arch::asm!(
            "svc 0", "cbnz x0, 2f", "mov x0, x21", "blr x20", "brk 1", "2:",
            in("x8") libc::SYS_clone3, inlateout("x0") args as *const [u64; 11] as isize => answer,
            in("x1") size_of::<[u64; 11]>(), in("x20") entry, in("x21") arg, lateout("x30") _,
        );
    }
    answer
}
