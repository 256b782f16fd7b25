//! What a process does with a signal, as /proc/PID/status says, and what the kernel's default is.

use std::fs;
use std::os::fd::AsFd;

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

/// Whether the process neither catches, nor ignores, nor blocks the signal.
pub fn is_default(child: &impl AsFd, signal: i32) -> bool {
    let Some(pid) = sept::host::pid_in_proc(child.as_fd()) else { return false };
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let bit = 1_u64 << (signal - 1);
    let in_set = |line: &str| {
        let mask = line.split_ascii_whitespace().nth(1).and_then(|hex| u64::from_str_radix(hex, 16).ok());
        mask.is_some_and(|mask| mask & bit != 0)
    };
    !status
        .lines()
        .filter(|line| ["SigBlk:", "SigIgn:", "SigCgt:"].iter().any(|name| line.starts_with(name)))
        .any(in_set)
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
        while is_default(&pidfd, 10) && began.elapsed().as_secs() < 10 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let found = (is_default(&pidfd, 10), is_default(&pidfd, 12));
        child.kill().expect("the child can be killed");
        child.wait().expect("the child can be waited for");
        assert_eq!(found, (false, true));
    }
}
