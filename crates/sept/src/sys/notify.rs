//! The ioctls of a seccomp listener, seccomp_unotify(2).

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::ioctl;

/// struct seccomp_notif, with the struct seccomp_data in it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Notif {
    pub id: u64,
    pub pid: u32,
    pub flags: u32,
    pub number: i32,
    pub arch: u32,
    pub instruction_pointer: u64,
    pub arguments: [u64; 6],
}

/// struct seccomp_notif_resp.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Answer {
    pub id: u64,
    pub value: i64,
    pub error: i32,
    pub flags: u32,
}

/// SECCOMP_USER_NOTIF_FLAG_CONTINUE, since Linux 5.5.
pub(crate) const CONTINUE: u32 = 1;
/// SECCOMP_ADDFD_FLAG_SETFD.
pub(crate) const SET_FD: u32 = 1;
/// SECCOMP_ADDFD_FLAG_SEND, since Linux 5.14.
pub(crate) const SEND: u32 = 2;

/// struct seccomp_notif_addfd, without the descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Added {
    pub id: u64,
    /// SECCOMP_ADDFD_FLAG_*.
    pub flags: u32,
    /// With SECCOMP_ADDFD_FLAG_SETFD.
    pub number: u32,
    /// O_CLOEXEC or nothing.
    pub number_flags: u32,
}

/// SECCOMP_IOCTL_NOTIF_RECV. Waits for a call.
pub(crate) fn receive(listener: BorrowedFd<'_>) -> Result<Notif, Errno> {
    // The kernel wants zeros.
    let mut notif = Notif::default();
    ioctl(listener, 0xc050_2100, &raw mut notif as usize)?;
    Ok(notif)
}

/// SECCOMP_IOCTL_NOTIF_SEND.
pub(crate) fn answer(listener: BorrowedFd<'_>, answer: Answer) -> Result<(), Errno> {
    let mut answer = answer;
    ioctl(listener, 0xc018_2101, &raw mut answer as usize).map(drop)
}

/// SECCOMP_IOCTL_NOTIF_ID_VALID.
pub(crate) fn is_valid(listener: BorrowedFd<'_>, id: u64) -> Result<(), Errno> {
    ioctl(listener, 0x4008_2102, &raw const id as usize).map(drop)
}

/// SECCOMP_IOCTL_NOTIF_ADDFD, since Linux 5.9. The number that the descriptor got.
pub(crate) fn add_fd(listener: BorrowedFd<'_>, source: BorrowedFd<'_>, added: Added) -> Result<u32, Errno> {
    let Added { id, flags, number, number_flags } = added;
    #[repr(C)]
    struct Whole {
        id: u64,
        flags: u32,
        source: u32,
        number: u32,
        number_flags: u32,
    }
    let whole = Whole { id, flags, source: source.as_raw_fd() as u32, number, number_flags };
    ioctl(listener, 0x4018_2103, &raw const whole as usize).map(|number| number as u32)
}
