//! What a process does with a signal, as /proc/PID/status says, and what the kernel's default is.

use std::fs;
use std::os::fd::AsFd;

/// What happens to a process that leaves a signal at its default action; signal(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
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
pub fn default_action(signal: i32) -> Action {
    match signal {
        SIGCHLD | SIGURG | SIGWINCH => Action::Ignore,
        SIGCONT => Action::Continue,
        SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => Action::Stop,
        _ => Action::Terminate,
    }
}

/// What a process is about to do with a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// What the kernel does by default.
    Default,
    /// That, perhaps: it runs, and may be on its way to sleep in sigwaitinfo(2), for which it is unblocked already.
    Running,
    /// That, but not yet: it is blocked, and waits.
    Waiting,
    /// That, were it to come: it is blocked, and none waits, or one was taken otherwise (sigwaitinfo(2)).
    Blocked,
    /// It sleeps in sigwaitinfo(2) or its like, perhaps for this one: whether it does is seen when it has been sent.
    Awaiting(Sleep),
    /// It is caught or ignored; or the process is gone.
    Own,
}

/// A call that a process sleeps in: which, with its arguments, and how often it had gone to sleep by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sleep(String);

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
        (false, true) if takes(pid, bit) => Way::Own,
        (false, true) if is_open_to_a_thread(pid, bit) => Way::Default,
        (false, true) if is_in("ShdPnd:") || is_in("SigPnd:") => Way::Waiting,
        // In vfork(2), until the program that it starts has begun: however long that takes, it unblocks all then.
        (false, true) if status.lines().any(|line| line.starts_with("State:\tD")) => Way::Waiting,
        (false, true) => Way::Blocked,
        (false, false) => match call(pid) {
            Some(call) if call.trim_end() == "running" => Way::Running,
            Some(call) => sleep(pid, &call).map_or(Way::Default, Way::Awaiting),
            None => Way::Default,
        },
    }
}

/// Whether a process that blocks a signal is about to take it in another way: by signalfd(2), or in a thread that sleeps in sigwaitinfo(2).
/// Once it has, and lets the next one come, that looks as if the kernel had dropped the first.
fn takes(pid: i32, bit: u64) -> bool {
    let entries =
        |dir: &str| fs::read_dir(format!("/proc/{pid}/{dir}")).into_iter().flatten().flatten().take(MOST);
    let receives = |text: String| {
        let mask = text.lines().find_map(|line| line.strip_prefix("sigmask:"));
        mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|mask| mask & bit != 0)
    };
    let waits = |text: String| {
        let number = text.split_ascii_whitespace().next().and_then(|number| number.parse().ok());
        number.is_some_and(is_sigwait)
    };
    entries("fdinfo").any(|file| sept::host::read_text(file.path()).is_ok_and(receives))
        || entries("task").any(|task| fs::read_to_string(task.path().join("syscall")).is_ok_and(waits))
}

/// Whether one of its threads does not block the signal: the kernel gives it to that.
fn is_open_to_a_thread(pid: i32, bit: u64) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().take(MOST);
    let others = tasks.filter(|task| task.file_name().to_string_lossy() != pid.to_string());
    let opens = |text: String| {
        let mask = text.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|mask| mask & bit == 0)
    };
    others.into_iter().any(|task| sept::host::read_text(task.path().join("status")).is_ok_and(opens))
}

/// So many descriptors and threads are looked at.
const MOST: usize = 1024;

fn is_sigwait(number: i64) -> bool {
    number == libc::SYS_rt_sigtimedwait || OF_OTHERS.contains(&number)
}

/// Whether a signal that was sent is lost: the process sleeps as it did, and what it waits for would have woken it.
pub fn sleeps_on(child: &impl AsFd, before: &Sleep) -> bool {
    let now = sept::host::pid_in_proc(child.as_fd()).and_then(|pid| sleep(pid, &call(pid)?));
    now.as_ref() == Some(before)
}

/// The number of the call that it is in, and its arguments; "running" where it runs, or could.
fn call(pid: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/syscall")).ok()
}

/// Its sleep in sigwaitinfo(2) or its like: the mask that is shown has unblocked meanwhile what it waits for. What that is stands in its
/// memory, which is not looked at: it may be a file of a file system of its own, and who reads it there could not be killed.
fn sleep(pid: i32, call: &str) -> Option<Sleep> {
    let number: i64 = call.split_ascii_whitespace().next()?.parse().ok()?;
    if !is_sigwait(number) {
        return None;
    }
    let status = sept::host::read_text(format!("/proc/{pid}/status")).ok()?;
    // One that has been woken, and has not run yet, still shows the call that it slept in.
    if !status.lines().any(|line| line.starts_with("State:\tS")) {
        return None;
    }
    let slept = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:"))?;
    Some(Sleep(format!("{call}{slept}")))
}

/// rt_sigtimedwait and rt_sigtimedwait_time64 of programs for 32 bits (i386, ARM), and that of x32.
const OF_OTHERS: [i64; 3] = [177, 421, 0x4000_020b];

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
        let is_default = |signal| matches!(way(&pidfd, signal), Way::Default | Way::Running);
        while is_default(10) && began.elapsed().as_secs() < 10 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let found = (is_default(10), is_default(12));
        child.kill().expect("the child can be killed");
        child.wait().expect("the child can be waited for");
        assert_eq!(found, (false, true));
    }
}
