//! bpf(2): loading a program that decides on devices, and attaching it to a cgroup.

use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::raw::{check, syscall};

/// One instruction, with the layout of struct bpf_insn.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BpfInstruction {
    pub code: u8,
    /// The register written to in the lower half, that read from in the upper.
    pub pair: u8,
    pub offset: i16,
    pub immediate: i32,
}

impl BpfInstruction {
    pub(crate) const fn new(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Self {
        Self { code, pair: to | from << 4, offset, immediate }
    }
}

/// BPF_PROG_LOAD of BPF_PROG_TYPE_CGROUP_DEVICE, since Linux 4.15.
pub(crate) fn load_device_program(program: &[BpfInstruction]) -> Result<OwnedFd, Errno> {
    const BPF_PROG_LOAD: usize = 5;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    /// The first fields of union bpf_attr for this call; the kernel takes the others as zero.
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        instructions: u64,
        licence: u64,
        log: [u64; 2],
    }
    let licence = c"Apache-2.0";
    let load = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        licence: licence.as_ptr() as u64,
        log: [0; 2],
    };
    let args = [BPF_PROG_LOAD, &raw const load as usize, size_of_val(&load), 0, 0, 0];
    // SAFETY: `load` and what it points to live across the call; its true size and the true count are passed.
    let fd = check(unsafe { syscall(libc::SYS_bpf, args) })?;
    // SAFETY: the kernel has just made this descriptor, close-on-exec, for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// BPF_PROG_ATTACH with BPF_CGROUP_DEVICE: beside those of the cgroups above, which all must agree.
pub(crate) fn attach_device_program(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> Result<(), Errno> {
    const BPF_PROG_ATTACH: usize = 8;
    const BPF_CGROUP_DEVICE: u32 = 6;
    const BPF_F_ALLOW_MULTI: u32 = 2;
    let attach: [u32; 4] =
        [cgroup.as_raw_fd() as u32, program.as_raw_fd() as u32, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI];
    let args = [BPF_PROG_ATTACH, attach.as_ptr() as usize, size_of_val(&attach), 0, 0, 0];
    // SAFETY: `attach` lives across the call and its true size is passed; both descriptors are open.
    check(unsafe { syscall(libc::SYS_bpf, args) }).map(drop)
}
