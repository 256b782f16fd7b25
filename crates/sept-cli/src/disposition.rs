//! What a process does with a signal, as /proc/PID/status says, and what the kernel's default is.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// What happens to a process that leaves a signal at its default action; signal(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    Terminate,
    Stop,
    Continue,
    Ignore,
}

pub use libc::{
    SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG,
    SIGWINCH,
};

/// The default action of a signal.
pub fn default_action(signal: i32) -> Default {
    match signal {
        SIGCHLD | SIGURG | SIGWINCH => Default::Ignore,
        SIGCONT => Default::Continue,
        SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => Default::Stop,
        _ => Default::Terminate,
    }
}

/// What a process is about to do with a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What the kernel does by default.
    Default,
    /// That, but not yet: it is blocked, and waits.
    Waiting,
    /// That, were it to come: it is blocked, and none waits, or one was taken otherwise (sigwaitinfo(2)).
    Blocked,
    /// It is caught, ignored, or waited for; or the process is gone.
    Own,
}

/// What the process is about to do with the signal.
pub fn way(child: &impl AsFd, signal: i32) -> Way {
    let Some(pid) = sept::host::pid_in_proc(child.as_fd()) else { return Way::Own };
    let Ok(status) = sept::host::read_text(format!("/proc/{pid}/status")) else { return Way::Own };
    let bit = 1_u64 << (signal - 1);
    let is_in = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let mask = line.and_then(|line| line.split_ascii_whitespace().nth(1));
        mask.and_then(|hex| u64::from_str_radix(hex, 16).ok()).is_some_and(|mask| mask & bit != 0)
    };
    match (is_in("SigIgn:") || is_in("SigCgt:"), is_in("SigBlk:")) {
        (true, _) => Way::Own,
        (false, true) if is_in("ShdPnd:") || is_in("SigPnd:") => Way::Waiting,
        (false, true) => Way::Blocked,
        (false, false) if awaits(pid, bit) => Way::Own,
        (false, false) => Way::Default,
    }
}

/// Whether it stays in sigwaitinfo(2) or its like for such a signal: the mask that is shown has it unblocked meanwhile.
fn awaits(pid: i32, bit: u64) -> bool {
    let answer = || {
        // The number of the call, then its arguments; "running" where it is in none.
        let text = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
        let mut words = text.split_ascii_whitespace();
        let number: i64 = words.next()?.parse().ok()?;
        if number != libc::SYS_rt_sigtimedwait {
            return None;
        }
        let set = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
        let mut mask = [0; 8];
        fs::File::open(format!("/proc/{pid}/mem")).ok()?.read_exact_at(&mut mask, set).ok()?;
        Some(u64::from_ne_bytes(mask) & bit != 0)
    };
    answer().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_program_leaves_signals_at_their_default_but_those_it_was_told_to_ignore() {
        let script = "trap '' USR1; exec sleep 100";
        let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().expect("sh starts");
        let began = std::time::Instant::now();
        let pid = rustix::process::Pid::from_raw(child.id() as i32).expect("a pid");
        let pidfd =
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("it is there");
        let is_default = |signal| way(&pidfd, signal) == Way::Default;
        while is_default(10) && began.elapsed().as_secs() < 10 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let found = (is_default(10), is_default(12));
        child.kill().expect("the child can be killed");
        child.wait().expect("the child can be waited for");
        assert_eq!(found, (false, true));
    }
}
