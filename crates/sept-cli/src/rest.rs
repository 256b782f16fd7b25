//! What is left of a command beside its first process: the other processes of its pid namespace, when that does not end, and what this
//! process has to wait for, orphans and threads that made it their tracer.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use sept::{Child, NamespaceFile, NamespaceId};

/// `__WALL` of waitid(2), Linux 4.7: also who was not made by fork.
pub const ALL_KINDS: WaitIdOptions = WaitIdOptions::from_bits_retain(0x4000_0000);

/// Collects who else has ended: orphans that have come to this process, and threads of the command that called PTRACE_TRACEME. As long
/// as nobody has collected those, the command does not end.
pub fn collect(command: Option<&Child>) {
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | ALL_KINDS;
    // How the command itself has ended is for the next turn.
    let is_command = |pid: &u32| command.is_some_and(|command| command.id() == *pid);
    while let Ok(Some(pid)) = sept::signal::ended_child()
        && !is_command(&pid)
        && let Some(pid) = Pid::from_raw(pid as i32)
        && matches!(rustix::process::waitid(WaitId::Pid(pid), ended), Ok(Some(_)))
    {}
}

/// Holds a process by its directory in /proc: the number may be another's by the time it is killed.
pub fn hold(process: &Path) -> Option<File> {
    File::options().read(true).custom_flags(OFlags::DIRECTORY.bits() as i32).open(process).ok()
}

/// Kills all who are in the pid namespace of a command that is PID 1 there, or in one below: the kernel does that, but not before
/// that process itself has left what it hangs in.
pub fn kill_namespace(child: &Child) {
    let Some(pid) = sept::host::pid_in_proc(child.as_fd()) else { return };
    let of = |process: &str| File::open(format!("/proc/{process}/ns/pid")).ok().and_then(known);
    let (Some(namespace), Some(own)) = (of(&pid.to_string()), of("self")) else { return };
    if namespace == own {
        return;
    }
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        let Some(process) = hold(&entry.path()) else { continue };
        if is_in(&process, namespace) {
            let _ = rustix::process::pidfd_send_signal(&process, Signal::KILL);
        }
    }
}

fn known(link: File) -> Option<NamespaceId> {
    NamespaceFile::from_fd(link.into())?.id().ok()
}

/// Whether a process, by its directory in /proc, is in this pid namespace or one below.
fn is_in(process: &File, namespace: NamespaceId) -> bool {
    let link = rustix::fs::openat(process, "ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut at = link.ok().and_then(NamespaceFile::from_fd);
    while let Some(file) = at {
        if file.id().is_ok_and(|id| id == namespace) {
            return true;
        }
        // None above this process's own.
        at = file.parent().ok().flatten();
    }
    false
}
