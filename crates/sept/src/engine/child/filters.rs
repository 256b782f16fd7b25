//! Filters that need no compiler, for what no policy is asked for but has to be refused.

use crate::plan::step::Guard;
use crate::sys::Instruction;

pub(super) fn of(guard: Guard) -> &'static [Instruction] {
    match guard {
        Guard::TerminalInjection => &TERMINAL,
        Guard::CgroupNamespaces => &CGROUPS,
        Guard::UserNamespaces => &USERS,
        Guard::UnseenPorts => &PORTS,
        Guard::OthersLimits => &LIMITS,
    }
}

/// A line of a filter.
#[derive(Clone, Copy)]
enum Line {
    /// What `struct seccomp_data` has at this place.
    Load(u32),
    And(u32),
    IfEqual(u32, Label),
    IfAnyOf(u32, Label),
    Goto(Label),
    Here(Label),
    Allow,
    Fail(i32),
}
use Line::{Allow, And, Fail, Goto, Here, IfAnyOf, IfEqual, Load};

/// A place in a filter, below what leads there.
#[derive(Clone, Copy)]
enum Label {
    Look,
    Refuse,
    Allowed,
    High,
    Call,
    Socket,
    FlagsThird,
    FlagsFourth,
    Flags,
    Option,
    NoProtocol,
    NoFamily,
    NotSupported,
    NoCall,
    NoEntry,
}

/// How many instructions come of these lines.
const fn length(lines: &[Line]) -> usize {
    let (mut at, mut count) = (0, 0);
    while at < lines.len() {
        if !matches!(lines[at], Here(_)) {
            count += 1;
        }
        at += 1;
    }
    count
}

/// How many instructions lie between the line `from` and that label.
const fn distance(lines: &[Line], from: usize, label: Label) -> u32 {
    let (mut at, mut count) = (from + 1, 0);
    loop {
        match lines[at] {
            Here(here) if here as u8 == label as u8 => return count,
            Here(_) => {}
            _ => count += 1,
        }
        at += 1;
    }
}

/// The program of these lines: at compile time, so that a label that is not there, or too far, does not compile.
const fn assemble<const N: usize>(lines: &[Line]) -> [Instruction; N] {
    let mut program = [Instruction { code: 0, jt: 0, jf: 0, k: 0 }; N];
    let (mut at, mut count) = (0, 0);
    while at < lines.len() {
        let (code, jump, k) = match lines[at] {
            Here(_) => {
                at += 1;
                continue;
            }
            Load(place) => (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, place),
            And(mask) => (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, mask),
            IfEqual(value, label) => {
                (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, distance(lines, at, label), value)
            }
            IfAnyOf(bits, label) => {
                (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, distance(lines, at, label), bits)
            }
            Goto(label) => (libc::BPF_JMP | libc::BPF_JA, 0, distance(lines, at, label)),
            Allow => (libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
            Fail(errno) => (libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        };
        assert!(jump < 256, "a conditional jump has 8 bits");
        program[count] = Instruction { code: code as u16, jt: jump as u8, jf: 0, k };
        count += 1;
        at += 1;
    }
    program
}

/// Where `struct seccomp_data` has the number, the ABI, and the low halves of the first arguments (little-endian).
const NUMBER: u32 = 0;
const ABI: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const SECOND_ARGUMENT: u32 = 24;
const THIRD_ARGUMENT: u32 = 32;
const FOURTH_ARGUMENT: u32 = 40;

const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

/// Refuses ioctl TIOCSTI and TIOCLINUX with EPERM, whatever the upper half of the request is. The number of ioctl in
/// every table that this processor has: a call of another name with one of these numbers and such an argument does
/// not exist in the others.
static TERMINAL: [Instruction; length(TERMINAL_LINES)] = assemble(TERMINAL_LINES);
const TERMINAL_LINES: &[Line] = &[
    Load(NUMBER),
    IfEqual(libc::SYS_ioctl as u32, Label::Look),
    IfEqual(OTHER_IOCTL[0], Label::Look),
    IfEqual(OTHER_IOCTL[1], Label::Look),
    Allow,
    Here(Label::Look),
    Load(SECOND_ARGUMENT),
    IfEqual(TIOCSTI, Label::Refuse),
    IfEqual(TIOCLINUX, Label::Refuse),
    Allow,
    Here(Label::Refuse),
    Fail(libc::EPERM),
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

/// Refuse new cgroup namespaces, or user namespaces: clone and unshare with that flag by EPERM; and by ENOSYS clone3, whose
/// flags a filter can't see, so that callers fall back to clone.
static CGROUPS: [Instruction; NAMESPACE_LENGTH] = assemble(&namespace_lines(libc::CLONE_NEWCGROUP));
static USERS: [Instruction; NAMESPACE_LENGTH] = assemble(&namespace_lines(libc::CLONE_NEWUSER));
const NAMESPACE_LENGTH: usize = length(&namespace_lines(0));
const fn namespace_lines(flag: i32) -> [Line; 22] {
    [
        Load(ABI),
        IfEqual(OWN_ABI, Label::Look),
        // Every other ABI.
        Load(NUMBER),
        IfEqual(CLONE3, Label::NoCall),
        IfEqual(OTHER_CLONE, Label::Flags),
        IfEqual(OTHER_UNSHARE, Label::Flags),
        Allow,
        Here(Label::Look),
        Load(NUMBER),
        And(!X32),
        IfEqual(CLONE3, Label::NoCall),
        IfEqual(libc::SYS_clone as u32, Label::Flags),
        IfEqual(libc::SYS_unshare as u32, Label::Flags),
        Allow,
        Here(Label::Flags),
        Load(FIRST_ARGUMENT),
        IfAnyOf(flag as u32, Label::Refuse),
        Allow,
        Here(Label::Refuse),
        Fail(libc::EPERM),
        Here(Label::NoCall),
        Fail(libc::ENOSYS),
    ]
}

/// prlimit64 of the 32-bit ABI.
const OTHER_PRLIMIT: u32 = if cfg!(target_arch = "x86_64") { 340 } else { 369 };

/// Refuses with EPERM to set limits of a process that is named by its number: a time limit of zero is SIGKILL, and no signal that
/// Landlock sees. Looking at them is nothing to refuse.
static LIMITS: [Instruction; length(LIMIT_LINES)] = assemble(LIMIT_LINES);
const LIMIT_LINES: &[Line] = &[
    Load(ABI),
    IfEqual(OWN_ABI, Label::Look),
    // Every other ABI.
    Load(NUMBER),
    IfEqual(OTHER_PRLIMIT, Label::Call),
    Allow,
    Here(Label::Look),
    Load(NUMBER),
    And(!X32),
    IfEqual(libc::SYS_prlimit64 as u32, Label::Call),
    Allow,
    // Whose, then the address of what is to be set.
    Here(Label::Call),
    Load(FIRST_ARGUMENT),
    IfEqual(0, Label::Allowed),
    Load(THIRD_ARGUMENT),
    IfEqual(0, Label::High),
    Fail(libc::EPERM),
    Here(Label::High),
    Load(THIRD_ARGUMENT + 4),
    IfEqual(0, Label::Allowed),
    Fail(libc::EPERM),
    Here(Label::Allowed),
    Allow,
];

/// The calls of the 32-bit ABI: socket, sendto, sendmmsg, sendmsg, setsockopt, and all of them in one.
const OTHER_SOCKET: [u32; 6] = if cfg!(target_arch = "x86_64") {
    [359, 369, 345, 370, 366, 102]
} else {
    [281, 290, 374, 296, 294, 102]
};
/// sendmmsg, sendmsg and setsockopt of x32, less its bit.
const X32_SOCKET: [u32; 3] = if cfg!(target_arch = "x86_64") {
    [538, 518, 541]
} else {
    [libc::SYS_sendmmsg as u32, libc::SYS_sendmsg as u32, libc::SYS_setsockopt as u32]
};
/// The same in every table.
const IO_URING_SETUP: u32 = libc::SYS_io_uring_setup as u32;
const IPPROTO_MPTCP: u32 = 262;
/// Since Linux 6.11.
const IPPROTO_SMC: u32 = 256;
const AF_SMC: u32 = 43;
const MSG_FASTOPEN: u32 = 0x2000_0000;
const TCP_ULP: u32 = 31;

/// The ways to a TCP port that Landlock does not see. Each fails as on a kernel that does not have it, so that callers go another
/// way: MPTCP as a protocol; SMC as a family, and as what a TCP socket can be made, by an option that is that of kernel TLS, too,
/// its name not to be seen; Fast Open as a flag of what sends; and what a filter can't look into, io_uring and the one call of
/// i386 for all of sockets.
static PORTS: [Instruction; length(PORT_LINES)] = assemble(PORT_LINES);
const PORT_LINES: &[Line] = &[
    Load(ABI),
    IfEqual(OWN_ABI, Label::Look),
    // Every other ABI.
    Load(NUMBER),
    IfEqual(OTHER_SOCKET[0], Label::Socket),
    IfEqual(OTHER_SOCKET[1], Label::FlagsFourth),
    IfEqual(OTHER_SOCKET[2], Label::FlagsFourth),
    IfEqual(OTHER_SOCKET[3], Label::FlagsThird),
    IfEqual(OTHER_SOCKET[4], Label::Option),
    IfEqual(OTHER_SOCKET[5], Label::NoCall),
    IfEqual(IO_URING_SETUP, Label::NoCall),
    Allow,
    Here(Label::Look),
    Load(NUMBER),
    And(!X32),
    IfEqual(libc::SYS_socket as u32, Label::Socket),
    IfEqual(libc::SYS_sendto as u32, Label::FlagsFourth),
    IfEqual(libc::SYS_sendmmsg as u32, Label::FlagsFourth),
    IfEqual(X32_SOCKET[0], Label::FlagsFourth),
    IfEqual(libc::SYS_sendmsg as u32, Label::FlagsThird),
    IfEqual(X32_SOCKET[1], Label::FlagsThird),
    IfEqual(libc::SYS_setsockopt as u32, Label::Option),
    IfEqual(X32_SOCKET[2], Label::Option),
    IfEqual(IO_URING_SETUP, Label::NoCall),
    Allow,
    // Its protocol, then its family.
    Here(Label::Socket),
    Load(THIRD_ARGUMENT),
    IfEqual(IPPROTO_MPTCP, Label::NoProtocol),
    IfEqual(IPPROTO_SMC, Label::NoProtocol),
    Load(FIRST_ARGUMENT),
    IfEqual(AF_SMC, Label::NoFamily),
    Allow,
    // Its level, then its name.
    Here(Label::Option),
    Load(SECOND_ARGUMENT),
    IfEqual(libc::IPPROTO_TCP as u32, Label::Look),
    Allow,
    Here(Label::Look),
    Load(THIRD_ARGUMENT),
    IfEqual(TCP_ULP, Label::NoEntry),
    Allow,
    // What sends.
    Here(Label::FlagsThird),
    Load(THIRD_ARGUMENT),
    Goto(Label::Flags),
    Here(Label::FlagsFourth),
    Load(FOURTH_ARGUMENT),
    Here(Label::Flags),
    IfAnyOf(MSG_FASTOPEN, Label::NotSupported),
    Allow,
    Here(Label::NoProtocol),
    Fail(libc::EPROTONOSUPPORT),
    Here(Label::NoFamily),
    Fail(libc::EAFNOSUPPORT),
    Here(Label::NotSupported),
    Fail(libc::EOPNOTSUPP),
    Here(Label::NoCall),
    Fail(libc::ENOSYS),
    Here(Label::NoEntry),
    Fail(libc::ENOENT),
];
