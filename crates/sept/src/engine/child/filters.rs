//! Filters that need no compiler, for what no policy is asked for but has to be refused.

use crate::plan::step::Guard;
use crate::sys::Instruction;

pub(super) fn of(guard: Guard) -> &'static [Instruction] {
    match guard {
        Guard::TerminalInjection => &TERMINAL,
        Guard::CgroupNamespaces => &CGROUPS,
        Guard::UnseenPorts => &PORTS,
    }
}

const fn op(code: u32, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code: code as u16, jt, jf, k }
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const HAS: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

/// Where `struct seccomp_data` has the number, the ABI, and the low halves of the first arguments (little-endian).
const NUMBER: u32 = 0;
const ABI: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const SECOND_ARGUMENT: u32 = 24;
const THIRD_ARGUMENT: u32 = 32;
const FOURTH_ARGUMENT: u32 = 40;

const ALLOW: Instruction = op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW);
const REFUSE: Instruction = fail(libc::EPERM);

const fn fail(errno: i32) -> Instruction {
    op(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32)
}

const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

/// Refuses ioctl TIOCSTI and TIOCLINUX with EPERM, whatever the upper half of the request is. The number of ioctl in
/// every table that this processor has: a call of another name with one of these numbers and such an argument does
/// not exist in the others.
static TERMINAL: [Instruction; 10] = [
    op(LOAD, 0, 0, NUMBER),
    op(EQUAL, 3, 0, libc::SYS_ioctl as u32),
    op(EQUAL, 2, 0, OTHER_IOCTL[0]),
    op(EQUAL, 1, 0, OTHER_IOCTL[1]),
    ALLOW,
    op(LOAD, 0, 0, SECOND_ARGUMENT),
    op(EQUAL, 1, 0, TIOCSTI),
    op(EQUAL, 0, 1, TIOCLINUX),
    REFUSE,
    ALLOW,
];

/// i386 and x32; 32-bit ARM.
const OTHER_IOCTL: [u32; 2] = if cfg!(target_arch = "x86_64") { [54, 0x4000_0202] } else { [54, 54] };

/// The processor's own ABI, and clone and unshare in the 32-bit one; include/uapi/linux/audit.h.
const OWN_ABI: u32 = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
const OTHER_CLONE: u32 = 120;
const OTHER_UNSHARE: u32 = if cfg!(target_arch = "x86_64") { 310 } else { 337 };
/// The same in every table.
const CLONE3: u32 = libc::SYS_clone3 as u32;
/// x32 has the numbers of x86_64, and this bit.
const X32: u32 = 0x4000_0000;

/// Refuses new cgroup namespaces: clone and unshare with CLONE_NEWCGROUP by EPERM; and by ENOSYS clone3, whose flags a
/// filter can't see, so that callers fall back to clone.
static CGROUPS: [Instruction; 18] = [
    op(LOAD, 0, 0, ABI),
    op(EQUAL, 0, 6, OWN_ABI),
    op(LOAD, 0, 0, NUMBER),
    op(AND, 0, 0, !X32),
    op(EQUAL, 12, 0, CLONE3),
    op(EQUAL, 7, 0, libc::SYS_clone as u32),
    op(EQUAL, 6, 0, libc::SYS_unshare as u32),
    ALLOW,
    // Every other ABI.
    op(LOAD, 0, 0, NUMBER),
    op(EQUAL, 7, 0, CLONE3),
    op(EQUAL, 2, 0, OTHER_CLONE),
    op(EQUAL, 1, 0, OTHER_UNSHARE),
    ALLOW,
    op(LOAD, 0, 0, FIRST_ARGUMENT),
    op(HAS, 0, 1, libc::CLONE_NEWCGROUP as u32),
    REFUSE,
    ALLOW,
    fail(libc::ENOSYS),
];

/// The calls of the 32-bit ABI: socket, sendto, sendmmsg, sendmsg, and all of them in one.
const OTHER_SOCKET: [u32; 5] =
    if cfg!(target_arch = "x86_64") { [359, 369, 345, 370, 102] } else { [281, 290, 374, 296, 102] };
/// sendmmsg and sendmsg of x32, less its bit.
const X32_SEND: [u32; 2] = if cfg!(target_arch = "x86_64") {
    [538, 518]
} else {
    [libc::SYS_sendmmsg as u32, libc::SYS_sendmsg as u32]
};
/// The same in every table.
const IO_URING_SETUP: u32 = libc::SYS_io_uring_setup as u32;
const IPPROTO_MPTCP: u32 = 262;
/// Since Linux 6.11.
const IPPROTO_SMC: u32 = 256;
const AF_SMC: u32 = 43;
const MSG_FASTOPEN: u32 = 0x2000_0000;

/// The ways to a TCP port that Landlock does not see. Each fails as on a kernel that does not have it, so that callers go another
/// way: MPTCP as a protocol, SMC as a family, Fast Open as a flag of what sends; and what a filter can't look into, io_uring
/// and the one call of i386 for all of sockets.
static PORTS: [Instruction; 35] = [
    op(LOAD, 0, 0, ABI),
    op(EQUAL, 0, 10, OWN_ABI),
    op(LOAD, 0, 0, NUMBER),
    op(AND, 0, 0, !X32),
    op(EQUAL, 15, 0, libc::SYS_socket as u32),
    op(EQUAL, 22, 0, libc::SYS_sendto as u32),
    op(EQUAL, 21, 0, libc::SYS_sendmmsg as u32),
    op(EQUAL, 20, 0, X32_SEND[0]),
    op(EQUAL, 17, 0, libc::SYS_sendmsg as u32),
    op(EQUAL, 16, 0, X32_SEND[1]),
    op(EQUAL, 23, 0, IO_URING_SETUP),
    ALLOW,
    // Every other ABI.
    op(LOAD, 0, 0, NUMBER),
    op(EQUAL, 6, 0, OTHER_SOCKET[0]),
    op(EQUAL, 13, 0, OTHER_SOCKET[1]),
    op(EQUAL, 12, 0, OTHER_SOCKET[2]),
    op(EQUAL, 9, 0, OTHER_SOCKET[3]),
    op(EQUAL, 16, 0, OTHER_SOCKET[4]),
    op(EQUAL, 15, 0, IO_URING_SETUP),
    ALLOW,
    // socket: its protocol, then its family.
    op(LOAD, 0, 0, THIRD_ARGUMENT),
    op(EQUAL, 9, 0, IPPROTO_MPTCP),
    op(EQUAL, 8, 0, IPPROTO_SMC),
    op(LOAD, 0, 0, FIRST_ARGUMENT),
    op(EQUAL, 7, 0, AF_SMC),
    ALLOW,
    // What sends: its flags.
    op(LOAD, 0, 0, THIRD_ARGUMENT),
    op(JUMP, 0, 0, 1),
    op(LOAD, 0, 0, FOURTH_ARGUMENT),
    op(HAS, 3, 0, MSG_FASTOPEN),
    ALLOW,
    fail(libc::EPROTONOSUPPORT),
    fail(libc::EAFNOSUPPORT),
    fail(libc::EOPNOTSUPP),
    fail(libc::ENOSYS),
];
