//! The kernel's edge: the calls that rustix lacks, each one line and its man page.
//!
//! Nothing here touches `errno`: a child that shares the caller's memory would change the caller's.
#![allow(unsafe_code)]

mod bpf;
mod clone;
mod descriptors;
mod hidden;
mod look;
mod mount;
pub(crate) mod notify;
mod page;
mod raw;
mod robust;
mod slot;
mod timer;
mod unforked;

use std::ffi::{CStr, c_char};
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

pub(crate) use bpf::{BpfInstruction, attach_device_program, load_device_program};
pub(crate) use clone::{CloneRequest, Cloned, Stack, clone, clone_thread, clone_user_namespace};
use descriptors::close_number;
pub(crate) use descriptors::{close_all, close_but, close_marked, count as count_descriptors};
pub(crate) use hidden::{Hidden, settle};
pub(crate) use look::{Head, Seen, answers, kind, kind_below, look, take_socket_namespace};
pub use mount::Attributes;
pub(crate) use mount::{
    Reach, attr, has_mount_setattr, mount_idmap, mount_number, mount_setattr, open_tree_attr,
};
pub(crate) use page::Shared;
use raw::{check, syscall};
pub(crate) use robust::Robust;
pub(crate) use slot::Slot;
pub(crate) use timer::Timer;
pub(crate) use unforked::{process as own_process, words as unforked};

/// execve(2). Returns only on failure.
pub(crate) fn execve(path: &CStr, argv: &Strings, envp: &Strings) -> Errno {
    let (argv, envp) = (argv.pointers.as_ptr() as usize, envp.pointers.as_ptr() as usize);
    // SAFETY: `path` is a C string; both arrays hold pointers to C strings that they own, and end with a null.
    let answer = unsafe { syscall(libc::SYS_execve, [path.as_ptr() as usize, argv, envp, 0, 0, 0]) };
    check(answer).err().unwrap_or(Errno::INVAL)
}

/// C strings one after another, and the array of pointers to them that execve wants.
#[derive(Debug)]
pub(crate) struct Strings {
    /// Never changed after the pointers were taken.
    _bytes: Vec<u8>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers point into memory that the same value owns and nobody changes.
unsafe impl Send for Strings {}
// SAFETY: as above.
unsafe impl Sync for Strings {}

impl Strings {
    /// Of strings that each end with a NUL byte and have no other.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let mut pointers = Vec::with_capacity(bytes.len() / 16 + 2);
        let mut rest = bytes.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            pointers.push(rest.as_ptr().cast::<c_char>());
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        pointers.push(std::ptr::null());
        Self { _bytes: bytes, pointers }
    }
}

/// exit(2): of the calling thread only.
pub(crate) fn exit_thread() -> ! {
    loop {
        // SAFETY: takes a number and does not return.
        let _ = unsafe { syscall(libc::SYS_exit, [0; 6]) };
    }
}

/// exit_group(2).
pub(crate) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: takes a number and does not return.
        let _ = unsafe { syscall(libc::SYS_exit_group, [code as usize, 0, 0, 0, 0, 0]) };
    }
}

/// A set of signals, as the kernel has it: bit n-1 is signal n.
pub(crate) type SignalSet = u64;

/// rt_sigprocmask(2), SIG_SETMASK; the mask of before. Blocks libc's internal signals too.
pub(crate) fn set_signal_mask(new: SignalSet) -> SignalSet {
    let mut old: SignalSet = 0;
    // SAFETY: both masks live across the call and their true size is passed. It can't fail then.
    let _ = unsafe {
        syscall(
            libc::SYS_rt_sigprocmask,
            [
                libc::SIG_SETMASK as usize,
                &raw const new as usize,
                &raw mut old as usize,
                size_of::<SignalSet>(),
                0,
                0,
            ],
        )
    };
    old
}

/// The kernel's `struct sigaction`: handler, flags, restorer, mask.
type SigAction = [usize; 4];

/// Sets a signal to its default action, rt_sigaction(2).
pub(crate) fn default_action(signal: i32) {
    let action: SigAction = [libc::SIG_DFL, 0, 0, 0];
    // SAFETY: `action` lives across the call; SIG_DFL needs no code to be there.
    let _ = unsafe {
        syscall(
            libc::SYS_rt_sigaction,
            [signal as usize, &raw const action as usize, 0, size_of::<SignalSet>(), 0, 0],
        )
    };
}

/// The handler of a signal, or SIG_DFL or SIG_IGN.
fn handler(signal: i32) -> usize {
    let mut now: SigAction = [libc::SIG_DFL, 0, 0, 0];
    // SAFETY: `now` lives across the call and has the kernel's layout.
    let _ = unsafe {
        syscall(
            libc::SYS_rt_sigaction,
            [signal as usize, 0, &raw mut now as usize, size_of::<SignalSet>(), 0, 0],
        )
    };
    now[0]
}

/// Whether this process ignores a signal.
pub(crate) fn is_ignored(signal: i32) -> bool {
    handler(signal) == libc::SIG_IGN
}

/// Takes away all signal handlers, and leaves ignored signals ignored: CLONE_CLEAR_SIGHAND by hand.
pub(crate) fn clear_handlers() {
    for signal in 1..=64 {
        if !matches!(handler(signal), libc::SIG_DFL | libc::SIG_IGN) {
            default_action(signal);
        }
    }
}

/// What [`wait_signal`] received.
pub(crate) struct Received {
    pub signal: i32,
    /// Whether the kernel itself sent it (a terminal's Ctrl-C), and not a process.
    pub by_kernel: bool,
}

/// rt_sigtimedwait(2) without a time limit.
pub(crate) fn wait_signal(set: SignalSet) -> Result<Received, Errno> {
    let mut info = [0_i32; 32];
    // SAFETY: `set` and `info` live across the call; `info` is as large as the kernel's siginfo_t (128 bytes).
    let answer = unsafe {
        syscall(
            libc::SYS_rt_sigtimedwait,
            [&raw const set as usize, info.as_mut_ptr() as usize, 0, size_of::<SignalSet>(), 0, 0],
        )
    };
    // si_code is the third number of siginfo_t; SI_KERNEL is 0x80.
    check(answer).map(|signal| Received { signal: signal as i32, by_kernel: info[2] == 0x80 })
}

/// getpgrp(2), 0 where the group is of an outer pid namespace.
pub(crate) fn process_group() -> i32 {
    // SAFETY: takes and gives numbers.
    unsafe { syscall(libc::SYS_getpgid, [0; 6]) as i32 }
}

/// getsid(2), 0 where the session is of an outer pid namespace.
pub(crate) fn session() -> i32 {
    // SAFETY: takes and gives numbers.
    unsafe { syscall(libc::SYS_getsid, [0; 6]) as i32 }
}

/// kill(2), any signal. A process that is gone needs none.
pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: numbers only.
    let _ = unsafe { syscall(libc::SYS_kill, [pid as usize, signal as usize, 0, 0, 0, 0]) };
}

/// pidfd_send_signal(2), since Linux 5.1, any signal.
pub(crate) fn pidfd_send_signal(fd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: numbers only; without a siginfo the kernel makes one.
    let answer = unsafe {
        syscall(libc::SYS_pidfd_send_signal, [fd.as_raw_fd() as usize, signal as usize, 0, 0, 0, 0])
    };
    check(answer).map(drop)
}

/// signalfd4(2), close-on-exec and non-blocking.
pub(crate) fn signalfd(set: SignalSet) -> Result<OwnedFd, Errno> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: `set` lives across the call and its true size is passed.
    let answer = unsafe {
        syscall(
            libc::SYS_signalfd4,
            [usize::MAX, &raw const set as usize, size_of::<SignalSet>(), flags as usize, 0, 0],
        )
    };
    let fd = check(answer)?;
    // SAFETY: the kernel has just made this descriptor, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// close(2). `OwnedFd` would do it by libc, which changes `errno` where a filter refuses it.
pub(crate) fn close(fd: OwnedFd) {
    close_number(fd.into_raw_fd() as u32);
}

/// close_range(2): since Linux 5.9.
pub(crate) fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: numbers only. What an `OwnedFd` owns is the callers' care: they have a table of their own, or end.
    check(unsafe { syscall(libc::SYS_close_range, [first as usize, last as usize, 0, 0, 0, 0]) }).map(drop)
}

/// An ioctl(2) without an argument, or with one that is a number or an address.
fn ioctl(fd: BorrowedFd<'_>, request: u32, argument: usize) -> Result<usize, Errno> {
    // SAFETY: the callers below pass requests that take nothing or fill in a number that lives across the call.
    let answer =
        unsafe { syscall(libc::SYS_ioctl, [fd.as_raw_fd() as usize, request as usize, argument, 0, 0, 0]) };
    check(answer)
}

/// A new descriptor that an ioctl answers with.
fn ioctl_fd(fd: BorrowedFd<'_>, request: u32) -> Result<OwnedFd, Errno> {
    let new = ioctl(fd, request, 0)?;
    // SAFETY: the kernel has just made this descriptor, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(new as RawFd) })
}

/// NS_GET_NSTYPE, ioctl_nsfs(2), since Linux 4.11: the `CLONE_NEW*` flag.
pub(crate) fn namespace_type(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    ioctl(fd, 0xb703, 0).map(|flag| flag as u32)
}

/// NS_GET_USERNS, ioctl_nsfs(2), since Linux 4.9.
pub(crate) fn owner_of(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    ioctl_fd(fd, 0xb701)
}

/// NS_GET_PARENT, ioctl_nsfs(2), since Linux 4.9.
pub(crate) fn parent_of(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    ioctl_fd(fd, 0xb702)
}

/// NS_GET_OWNER_UID, ioctl_nsfs(2), since Linux 4.11.
pub(crate) fn owner_uid(fd: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut uid = 0_u32;
    ioctl(fd, 0xb704, &raw mut uid as usize)?;
    Ok(uid)
}

/// PIDFD_GET_*_NAMESPACE, since Linux 6.11: by the `CLONE_NEW*` flag. The kernel says ENOTTY or EINVAL before.
pub(crate) fn pidfd_namespace(pidfd: BorrowedFd<'_>, flag: u64) -> Result<OwnedFd, Errno> {
    let number = match flag as i32 {
        libc::CLONE_NEWCGROUP => 1,
        libc::CLONE_NEWIPC => 2,
        libc::CLONE_NEWNS => 3,
        libc::CLONE_NEWNET => 4,
        libc::CLONE_NEWPID => 5,
        libc::CLONE_NEWTIME => 7,
        libc::CLONE_NEWUSER => 9,
        libc::CLONE_NEWUTS => 10,
        _ => return Err(Errno::INVAL),
    };
    ioctl_fd(pidfd, 0xff00 + number)
}

/// SIOCGSKNS, since Linux 4.9: the network namespace of a socket.
pub(crate) fn socket_namespace(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    ioctl_fd(socket, 0x894c)
}

/// setns(2), by a namespace's file.
pub(crate) fn setns(fd: BorrowedFd<'_>, flags: u64) -> Result<(), Errno> {
    // SAFETY: numbers only.
    let answer = unsafe { syscall(libc::SYS_setns, [fd.as_raw_fd() as usize, flags as usize, 0, 0, 0, 0]) };
    check(answer).map(drop)
}

/// unshare(2).
pub(crate) fn unshare(flags: u64) -> Result<(), Errno> {
    // SAFETY: numbers only, and no caller asks for CLONE_FILES.
    check(unsafe { syscall(libc::SYS_unshare, [flags as usize, 0, 0, 0, 0, 0]) }).map(drop)
}

/// prctl(2), PR_SET_PDEATHSIG, any signal.
pub(crate) fn parent_death_signal(signal: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    let answer =
        unsafe { syscall(libc::SYS_prctl, [libc::PR_SET_PDEATHSIG as usize, signal as usize, 0, 0, 0, 0]) };
    check(answer).map(drop)
}

/// landlock_create_ruleset(2) with LANDLOCK_CREATE_RULESET_VERSION.
pub(crate) fn landlock_abi() -> Result<u32, Errno> {
    // SAFETY: with this flag the kernel takes no ruleset, and answers with a number.
    check(unsafe { syscall(libc::SYS_landlock_create_ruleset, [0, 0, 1, 0, 0, 0]) }).map(|abi| abi as u32)
}

/// landlock_create_ruleset(2). The kernel takes a shorter struct from older callers, and refuses a longer one with more in it.
pub(crate) fn landlock_ruleset(files: u64, ports: u64, scoped: u64) -> Result<OwnedFd, Errno> {
    let attr = [files, ports, scoped];
    // As much as is in use: an older ABI knows the first fields only.
    let words = if scoped != 0 {
        3
    } else if ports != 0 {
        2
    } else {
        1
    };
    // SAFETY: `attr` lives across the call, and at most its size is passed.
    let answer = unsafe {
        syscall(libc::SYS_landlock_create_ruleset, [attr.as_ptr() as usize, words * 8, 0, 0, 0, 0])
    };
    let fd = check(answer)?;
    // SAFETY: the kernel has just made this descriptor, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// landlock_add_rule(2), LANDLOCK_RULE_PATH_BENEATH.
pub(crate) fn landlock_path(ruleset: BorrowedFd<'_>, access: u64, dir: BorrowedFd<'_>) -> Result<(), Errno> {
    // struct landlock_path_beneath_attr is packed: a u64, then an i32.
    let mut attr = [0_u8; 12];
    attr[..8].copy_from_slice(&access.to_ne_bytes());
    attr[8..].copy_from_slice(&dir.as_raw_fd().to_ne_bytes());
    landlock_rule(ruleset, 1, attr.as_ptr() as usize)
}

/// landlock_add_rule(2), LANDLOCK_RULE_NET_PORT, ABI 4.
pub(crate) fn landlock_port(ruleset: BorrowedFd<'_>, access: u64, port: u16) -> Result<(), Errno> {
    let attr = [access, u64::from(port)];
    landlock_rule(ruleset, 2, attr.as_ptr() as usize)
}

fn landlock_rule(ruleset: BorrowedFd<'_>, kind: usize, attr: usize) -> Result<(), Errno> {
    // SAFETY: both callers pass the address of the struct of that kind, which lives across the call.
    let answer =
        unsafe { syscall(libc::SYS_landlock_add_rule, [ruleset.as_raw_fd() as usize, kind, attr, 0, 0, 0]) };
    check(answer).map(drop)
}

/// landlock_restrict_self(2).
pub(crate) fn landlock_restrict(ruleset: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: numbers only.
    let answer =
        unsafe { syscall(libc::SYS_landlock_restrict_self, [ruleset.as_raw_fd() as usize, 0, 0, 0, 0, 0]) };
    check(answer).map(drop)
}

/// prctl(2) with numbers only.
pub(crate) fn prctl(option: i32, args: [usize; 4]) -> Result<usize, Errno> {
    // SAFETY: no caller asks for an option that takes an address.
    check(unsafe { syscall(libc::SYS_prctl, [option as usize, args[0], args[1], args[2], args[3], 0]) })
}

/// keyctl(2), KEYCTL_JOIN_SESSION_KEYRING: a new one without a name.
pub(crate) fn new_session_keyring() -> Result<(), Errno> {
    // SAFETY: the second argument is no address here but "no name".
    check(unsafe { syscall(libc::SYS_keyctl, [1, 0, 0, 0, 0, 0]) }).map(drop)
}

/// prlimit(2) for this process. `u64::MAX` is no limit.
pub(crate) fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = [soft, hard];
    // SAFETY: `limit` has the layout of struct rlimit64 and lives across the call; nothing is written back.
    let answer =
        unsafe { syscall(libc::SYS_prlimit64, [0, resource as usize, limit.as_ptr() as usize, 0, 0, 0]) };
    check(answer).map(drop)
}

/// setfsuid(2) and setfsgid(2) for this thread: who owns the files that it makes.
pub(crate) fn set_file_ids(user: Option<u32>, group: Option<u32>) -> Result<(), Errno> {
    for (call, id) in [(libc::SYS_setfsgid, group), (libc::SYS_setfsuid, user)] {
        // They tell no failure, but what was set before; -1 only asks.
        let set = |id: u32| {
            // SAFETY: both take a number.
            unsafe { syscall(call, [id as usize, 0, 0, 0, 0, 0]) as u32 }
        };
        if let Some(id) = id {
            set(id);
            if set(u32::MAX) != id {
                return Err(Errno::PERM);
            }
        }
    }
    Ok(())
}

/// The effective ids for files again, by setreuid(2) and setregid(2): they may have no number here.
pub(crate) fn reset_file_ids() -> Result<(), Errno> {
    for call in [libc::SYS_setreuid, libc::SYS_setregid] {
        // SAFETY: it takes numbers; -1 leaves an id as it is.
        check(unsafe { syscall(call, [u32::MAX as usize, u32::MAX as usize, 0, 0, 0, 0]) })?;
    }
    Ok(())
}

/// seccomp(2) with SECCOMP_GET_ACTION_AVAIL.
pub(crate) fn seccomp_action_available(action: u32) -> bool {
    // SAFETY: `action` lives across the call; the kernel only reads it.
    let answer = unsafe {
        syscall(
            libc::SYS_seccomp,
            [libc::SECCOMP_GET_ACTION_AVAIL as usize, 0, &raw const action as usize, 0, 0, 0],
        )
    };
    answer == 0
}

/// F_DUPFD_CLOEXEC, of a number: the kernel says whether it means anything.
pub(crate) fn duplicate(fd: i32) -> Result<OwnedFd, Errno> {
    let args = [fd as usize, libc::F_DUPFD_CLOEXEC as usize, 3, 0, 0, 0];
    // SAFETY: plain numbers; the answer is checked, and is a new descriptor that nobody else has.
    let answer = unsafe { syscall(libc::SYS_fcntl, args) };
    let new = check(answer)?;
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(new as i32) })
}

/// NS_GET_ID, since Linux 6.18: a number that is not used again.
pub(crate) fn namespace_id(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut id = 0_u64;
    ioctl(fd, 0x8008_b70d, &raw mut id as usize)?;
    Ok(id)
}

/// open_by_handle_at(2) on nsfs: a namespace by its number alone, since Linux 6.19.
pub(crate) fn open_namespace(id: u64) -> Result<OwnedFd, Errno> {
    /// Stands for nsfs where a descriptor of a mount would.
    const FD_NSFS_ROOT: isize = -10003;
    const FILEID_NSFS: i32 = 0xf1;
    // struct file_handle with a struct nsfs_file_handle: its size and type; the id, and zeros for "any kind, any inode".
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        id: [u32; 2],
        rest: [u32; 2],
    }
    let id = [id as u32, (id >> 32) as u32];
    let handle = Handle { bytes: 16, kind: FILEID_NSFS, id, rest: [0; 2] };
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    // SAFETY: `handle` has the layout that its first two fields say, and lives across the call.
    let answer = unsafe {
        syscall(
            libc::SYS_open_by_handle_at,
            [FD_NSFS_ROOT as usize, &raw const handle as usize, flags, 0, 0, 0],
        )
    };
    let fd = check(answer)?;
    // SAFETY: the kernel has just made this descriptor, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// listns(2), since Linux 6.19: the numbers of the namespaces that this process may see, above `after`.
pub(crate) fn listns(after: u64, ids: &mut [u64]) -> Result<usize, Errno> {
    // struct ns_id_req: its size, nothing, the last number; every kind, nothing, any owner.
    #[repr(C)]
    struct Request {
        size: u32,
        spare: u32,
        id: u64,
        kind: u32,
        spare2: u32,
        owner: u64,
    }
    let request =
        Request { size: size_of::<Request>() as u32, spare: 0, id: after, kind: 0, spare2: 0, owner: 0 };
    // SAFETY: `request` and `ids` live across the call, and the true length is passed.
    let answer =
        unsafe { syscall(470, [&raw const request as usize, ids.as_mut_ptr() as usize, ids.len(), 0, 0, 0]) };
    check(answer)
}

/// Whether two processes share one table of descriptors, kcmp(2). Where that can't be told they do not.
pub(crate) fn share_files(one: u32, other: u32) -> bool {
    const KCMP_FILES: usize = 2;
    // SAFETY: the arguments are numbers.
    let answer = unsafe { syscall(libc::SYS_kcmp, [one as usize, other as usize, KCMP_FILES, 0, 0, 0]) };
    check(answer) == Ok(0)
}

/// Whether listns(2) is there. Its number is 470 on every architecture.
pub(crate) fn has_listns() -> bool {
    // SAFETY: the addresses are null, to which a kernel that has it says EFAULT or EINVAL.
    check(unsafe { syscall(470, [0; 6]) }) != Err(Errno::NOSYS)
}

/// Sets the interface `lo` up through this socket, netdevice(7).
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    // struct ifreq: a name of 16 bytes, then a union that begins with the flags.
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16..18].copy_from_slice(&(libc::IFF_UP as u16).to_ne_bytes());
    // SAFETY: `request` is as large as a struct ifreq and lives across the call.
    let answer = unsafe {
        syscall(
            libc::SYS_ioctl,
            [socket.as_raw_fd() as usize, libc::SIOCSIFFLAGS as usize, request.as_ptr() as usize, 0, 0, 0],
        )
    };
    check(answer).map(drop)
}

/// One instruction of a filter, as struct sock_filter has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// How many to pass over if it holds.
    pub jt: u8,
    /// How many to pass over if not.
    pub jf: u8,
    /// A number.
    pub k: u32,
}

/// seccomp(2) with a filter program.
pub(crate) fn seccomp(program: &[Instruction], flags: u32) -> Result<(), Errno> {
    seccomp_filter(program, flags).map(drop)
}

/// seccomp(2) with a filter program and SECCOMP_FILTER_FLAG_NEW_LISTENER (Linux 5.0): the listener, close-on-exec.
pub(crate) fn seccomp_with_listener(program: &[Instruction], flags: u32) -> Result<OwnedFd, Errno> {
    let fd = seccomp_filter(program, flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32)?;
    // SAFETY: the kernel has just made this descriptor, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn seccomp_filter(program: &[Instruction], flags: u32) -> Result<usize, Errno> {
    // `Instruction` has the layout of struct sock_filter.
    let filter = program.as_ptr().cast_mut().cast::<libc::sock_filter>();
    let header = libc::sock_fprog { len: program.len() as u16, filter };
    // SAFETY: the header and the program, whose true length it tells, live across the call; the kernel only reads.
    let answer = unsafe {
        syscall(
            libc::SYS_seccomp,
            [libc::SECCOMP_SET_MODE_FILTER as usize, flags as usize, &raw const header as usize, 0, 0, 0],
        )
    };
    check(answer)
}

/// How a child ended, and what it used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// As wait(2) has it.
    pub status: i32,
    /// User and system time in microseconds, of the child and of the children it waited for. Not where the kernel has not told.
    pub usage_us: Option<(u64, u64)>,
}

/// How a child changed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    None,
    Stopped(i32),
    Ended(Ended),
}

/// wait4(2) for one child, whatever its exit signal. One that is gone already is fine.
pub(crate) fn collect(pid: i32) {
    while wait4(pid, 0) == Err(Errno::INTR) {}
}

/// The same, if that child has ended. False if not.
pub(crate) fn try_collect(pid: i32) -> bool {
    !matches!(wait4(pid, libc::WNOHANG), Ok(0) | Err(Errno::INTR))
}

fn wait4(pid: i32, options: i32) -> Result<usize, Errno> {
    let options = libc::__WALL | options;
    // SAFETY: the addresses are null, for which the kernel writes nothing.
    check(unsafe { syscall(libc::SYS_wait4, [pid as usize, 0, options as usize, 0, 0, 0]) })
}

/// Who has ended among the children and is not collected yet, or 0.
pub(crate) fn ended_child() -> Result<i32, Errno> {
    const P_ALL: usize = 0;
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    let (info, _) = waitid(P_ALL, 0, options)?;
    Ok(info[4])
}

/// waitid(2), with what it tells: siginfo_t of SIGCHLD on 64-bit (signo, errno, code, (gap), pid, uid, status), and rusage.
fn waitid(kind: usize, id: usize, options: i32) -> Result<([i32; 32], [i64; 18]), Errno> {
    let mut info = [0_i32; 32];
    let mut usage = [0_i64; 18];
    let (told, used) = (info.as_mut_ptr() as usize, usage.as_mut_ptr() as usize);
    // SAFETY: `info` (128 bytes) and `usage` (144 bytes) are as large as the kernel's siginfo_t and rusage.
    check(unsafe { syscall(libc::SYS_waitid, [kind, id, told, options as usize, used, 0]) })?;
    Ok((info, usage))
}

/// waitid(2) on a pidfd (Linux 5.4), whatever its exit signal, with the usage of wait4(2).
pub(crate) fn wait_pidfd(fd: BorrowedFd<'_>, block: bool, stops: bool) -> Result<Change, Errno> {
    const P_PIDFD: usize = 3;
    let options = libc::WEXITED
        | libc::__WALL
        | if block { 0 } else { libc::WNOHANG }
        | if stops { libc::WSTOPPED } else { 0 };
    let (info, usage) = waitid(P_PIDFD, fd.as_raw_fd() as usize, options)?;
    let (signo, code, status) = (info[0], info[2], info[6]);
    let ended = |status| {
        let us = |at: usize| (usage[at] * 1_000_000 + usage[at + 1]).max(0) as u64;
        Change::Ended(Ended { status, usage_us: Some((us(0), us(2))) })
    };
    Ok(match (signo, code) {
        (0, _) => Change::None,
        (_, libc::CLD_EXITED) => ended(status << 8),
        (_, libc::CLD_KILLED) => ended(status),
        (_, libc::CLD_DUMPED) => ended(status | 0x80),
        (_, libc::CLD_STOPPED) => Change::Stopped(status),
        _ => Change::None,
    })
}
