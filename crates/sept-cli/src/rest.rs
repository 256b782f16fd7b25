//! What is left of a command beside its first process, when that does not end: the other processes of its pid namespace, and threads
//! that made this process their tracer.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use sept::{Child, NamespaceFile, NamespaceId};

/// `__WALL` of waitid(2), Linux 4.7: also who was not made by fork.
const ALL_KINDS: WaitIdOptions = WaitIdOptions::from_bits_retain(0x4000_0000);

/// Collects threads of the command that called PTRACE_TRACEME and have ended: as long as nobody has, the command does not end.
pub fn collect_traced(child: &Child) {
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | ALL_KINDS;
    // Mostly there is nobody to be waited for.
    if !matches!(rustix::process::waitid(WaitId::All, ended | WaitIdOptions::NOWAIT), Ok(Some(_))) {
        return;
    }
    let Some(pid) = sept::host::pid_in_proc(child.as_fd()).filter(|pid| *pid as u32 == child.id()) else {
        return;
    };
    for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let number = entry.file_name().to_string_lossy().parse().ok();
        if let Some(thread) = number.filter(|number| *number != pid).and_then(Pid::from_raw) {
            let _ = rustix::process::waitid(WaitId::Pid(thread), ended);
        }
    }
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
        // Held by its directory: the number may be another's by the time it is killed.
        let flags = OFlags::DIRECTORY.bits() as i32;
        let Ok(process) = File::options().read(true).custom_flags(flags).open(entry.path()) else { continue };
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
