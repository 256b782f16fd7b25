//! The bare limit: clone3 with shared memory, execve, wait; nothing else. What no tool can be faster than.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::io;
use std::time::Duration;

/// A stack for the child, used again each time.
static mut STACK: [u128; 4096] = [0; 4096];

unsafe extern "C" {
    /// environ(7): the same environment that the others pass on.
    static environ: *const *const c_char;
}

#[repr(C)]
struct Args {
    program: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
}

extern "C" fn child(args: *mut c_void) -> ! {
    // SAFETY: `start` passes its own `Args`, and is suspended by CLONE_VFORK until exec.
    let args = unsafe { &*args.cast::<Args>() };
    // SAFETY: `program` is a C string; both arrays end with a null.
    unsafe { libc::execve(args.program, args.argv, args.envp) };
    // SAFETY: ends the child only.
    unsafe { libc::_exit(127) }
}

/// Starts `program` in new namespaces (`CLONE_NEW*`) and waits for its end.
pub fn start(program: &CStr, namespaces: u64) -> io::Result<()> {
    let argv = [program.as_ptr(), std::ptr::null()];
    // SAFETY: nothing in this program changes the environment.
    let envp = unsafe { environ };
    let args = Args { program: program.as_ptr(), argv: argv.as_ptr(), envp };
    let mut clone = [0_u64; 11];
    clone[0] = namespaces | (libc::CLONE_VM | libc::CLONE_VFORK) as u64;
    clone[4] = libc::SIGCHLD as u64;
    clone[5] = &raw mut STACK as u64;
    clone[6] = size_of::<[u128; 4096]>() as u64;
    // SAFETY: the arguments live across the call; one thread at a time uses the stack, and the child is off it when
    // the call comes back.
    let pid = unsafe { clone3(&clone, child, (&raw const args).cast_mut().cast()) };
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(-pid as i32));
    }
    let mut status = 0;
    // SAFETY: waits for our own child, into our own number.
    let waited = unsafe { libc::waitpid(pid as i32, &raw mut status, 0) };
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
