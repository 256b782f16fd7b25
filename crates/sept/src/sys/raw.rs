//! System calls as bare instructions.

use rustix::io::Errno;

/// One system call. A negative answer above -4096 is an errno.
///
/// # Safety
/// The arguments must be what this call demands.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn syscall(number: libc::c_long, args: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: the convention of syscall(2): rcx and r11 are lost, memory may change.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => answer,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

/// One system call. A negative answer above -4096 is an errno.
///
/// # Safety
/// The arguments must be what this call demands.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn syscall(number: libc::c_long, args: [usize; 6]) -> isize {
    let answer: isize;
    // SAFETY: the convention of syscall(2): memory may change, registers but x0 are kept.
    unsafe {
        std::arch::asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") args[0] as isize => answer,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5],
            options(nostack),
        );
    }
    answer
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!(
    "sept knows x86_64 and aarch64; another architecture needs its two functions of assembly in sys/"
);

/// The answer of a system call as a result.
pub(super) fn check(answer: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&answer) {
        Err(Errno::from_raw_os_error(-answer as i32))
    } else {
        Ok(answer as usize)
    }
}
