//! What the kernel does for each action of a policy, and for the flags.
#![allow(unsafe_code)]

mod common;

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use common::skip;
use sept::seccomp::{Action, Filter, Flags, Policy, Rule};
use sept::{Command, Stdio};

/// A filter with this action for chdir(2).
fn filter(action: Action, flags: Flags) -> Filter {
    let policy = Policy {
        name: "test".to_owned(),
        default: Action::Allow,
        unknown: Action::Allow,
        other_abi: Action::KillProcess,
        compat_abi: true,
        flags,
        rules: vec![Rule { calls: vec!["chdir".into()], conditions: vec![], action }],
    };
    policy.compile().expect("it compiles")
}

fn shell(script: &str, action: Action) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("LC_ALL", "C").no_new_privs().seccomp(filter(action, Flags::NONE));
    command.output().expect("it runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// This test program as a command that has a part to play: [`role`].
fn this_program(role: &str, action: Action) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("it has a path"));
    command.args(["--exact", "role", "--nocapture", "--test-threads=1"]).env("SEPT_TEST_ROLE", role);
    command.no_new_privs().seccomp(filter(action, Flags::NONE));
    command
}

static SEEN: [AtomicI32; 4] = [const { AtomicI32::new(0) }; 4];

extern "C" fn on_sigsys(signal: i32, info: *const [i32; 32], _: *const u8) {
    // SAFETY: the kernel passes a siginfo_t, which is 128 bytes long.
    let info = unsafe { *info };
    // si_errno, si_code, and of SIGSYS the number of the call.
    for (place, value) in SEEN.iter().zip([signal, info[1], info[2], info[6]]) {
        place.store(value, SeqCst);
    }
}

/// Not a test of its own: what [`this_program`] does.
#[test]
fn role() {
    match std::env::var("SEPT_TEST_ROLE").as_deref() {
        Ok("trapped") => {
            // SAFETY: all zeros is a valid struct sigaction.
            let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
            action.sa_sigaction = on_sigsys as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            // SAFETY: the handler only writes to atomics.
            unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
            let _ = std::env::set_current_dir("/");
            let seen: Vec<i32> = SEEN.iter().map(|place| place.load(SeqCst)).collect();
            println!("seen {seen:?}");
        }
        Ok("threads") => {
            let thread = std::thread::spawn(|| {
                let _ = std::env::set_current_dir("/");
                println!("the thread lives");
            });
            std::thread::sleep(Duration::from_millis(200));
            std::mem::forget(thread);
            println!("the process lives");
            std::process::exit(0);
        }
        _ => {}
    }
}

#[test]
fn an_allowed_call_is_made() {
    assert_eq!(out(&shell("cd / && pwd", Action::Allow)), "/\n");
}

#[test]
fn a_refused_call_fails_with_the_errno() {
    for (errno, words) in
        [(libc::EXDEV, "cross-device"), (libc::EPERM, "not permitted"), (libc::ENOSYS, "not implemented")]
    {
        // dash is silent about the reason, mkdir is not.
        let policy = Policy {
            rules: vec![Rule {
                calls: vec!["mkdir".into(), "mkdirat".into()],
                conditions: vec![],
                action: Action::Errno(errno as u16),
            }],
            ..Policy::container()
        };
        let mut command = Command::new("mkdir");
        command.arg("/tmp/sept-never-made").env("LC_ALL", "C").no_new_privs();
        let output = command.seccomp(policy.compile().expect("it compiles")).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(words), "{said}");
    }
    assert_eq!(out(&shell("cd /usr; cd / || pwd -P | grep -c .", Action::Errno(1))), "1\n");
}

#[test]
fn a_killed_process_ends_with_all_its_threads() {
    let output = this_program("threads", Action::KillProcess).output().expect("it runs");
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{}", out(&output));
    assert!(!out(&output).contains("lives"), "{}", out(&output));
    let caught = shell("trap 'echo caught' SYS; cd /; echo on", Action::KillProcess);
    assert_eq!((out(&caught).as_str(), caught.status.signal()), ("", Some(libc::SIGSYS)));
}

#[test]
fn a_killed_thread_leaves_the_others() {
    let output = this_program("threads", Action::KillThread).output().expect("it runs");
    let said = out(&output);
    assert!(said.contains("the process lives") && !said.contains("the thread lives"), "{said}");
    assert!(output.status.success());
    // The only one is the process.
    assert_eq!(shell("cd /; echo on", Action::KillThread).status.signal(), Some(libc::SIGSYS));
}

#[test]
fn a_trapped_call_is_a_signal_with_its_number() {
    let output = this_program("trapped", Action::Trap(77)).output().expect("it runs");
    // SYS_SECCOMP is 1.
    let wanted = format!("seen {:?}", [libc::SIGSYS, 77, 1, libc::SYS_chdir as i32]);
    assert!(out(&output).contains(&wanted), "{} instead of {wanted}", out(&output));
    assert_eq!(shell("cd /; echo on", Action::Trap(0)).status.signal(), Some(libc::SIGSYS));
}

#[test]
fn a_traced_call_is_the_tracers_and_fails_without_one() {
    let script = "read line; cd / && echo made || echo not made";
    let mut command = Command::new("sh");
    command.args(["-c", script]).no_new_privs().seccomp(filter(Action::Trace(78), Flags::NONE));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut said = String::new();
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("it is piped").write_all(b"\n").expect("it is read");
    child.stdout.take().expect("it is piped").read_to_string(&mut said).expect("it can be read");
    child.wait().expect("it ends");
    assert_eq!(said, "not made\n");

    let mut child = command.spawn().expect("it starts");
    let pid = child.id() as i32;
    let ptrace = |request, data: usize| {
        // SAFETY: the requests below take numbers, or an address of a number that lives across the call.
        let answer = unsafe { libc::ptrace(request, pid, 0_usize, data) };
        assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
    };
    ptrace(libc::PTRACE_SEIZE, libc::PTRACE_O_TRACESECCOMP as usize);
    child.stdin.take().expect("it is piped").write_all(b"\n").expect("it is read");
    let mut status = 0;
    // SAFETY: `status` lives across the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert_eq!(status >> 8, libc::SIGTRAP | libc::PTRACE_EVENT_SECCOMP << 8, "{status:#x}");
    let mut number = 0_usize;
    ptrace(libc::PTRACE_GETEVENTMSG, &raw mut number as usize);
    assert_eq!(number, 78);
    ptrace(libc::PTRACE_CONT, 0);
    said.clear();
    child.stdout.take().expect("it is piped").read_to_string(&mut said).expect("it can be read");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(said, "made\n");
}

/// The kernel's log, from now on.
struct Log(std::fs::File);

impl Log {
    fn open() -> Option<Self> {
        use std::io::Seek;
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()?;
        file.seek(std::io::SeekFrom::End(0)).ok()?;
        Some(Self(file))
    }

    /// Whether it gets an audit record of seccomp about this process with this action; it may take a moment.
    fn has(&mut self, pid: u32, code: &str) -> bool {
        let begun = Instant::now();
        let mut record = [0; 8192];
        while begun.elapsed() < Duration::from_secs(1) {
            match self.0.read(&mut record) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&record[..length]);
                    if text.contains("type=1326")
                        && text.contains(&format!(" pid={pid} "))
                        && text.contains(code)
                    {
                        return true;
                    }
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        false
    }
}

#[test]
fn a_logged_call_is_made_and_is_in_the_kernels_log() {
    assert_eq!(out(&shell("cd / && pwd", Action::Log)), "/\n");
    let run = |action, flags| {
        let mut command = Command::new("sh");
        command.args(["-c", "cd /"]).no_new_privs().seccomp(filter(action, flags));
        let mut child = command.stderr(Stdio::null()).spawn().expect("it starts");
        child.wait().expect("it ends");
        child.id()
    };
    let test = "a_logged_call_is_made_and_is_in_the_kernels_log";
    let logged = Log::open().map(|mut log| log.has(run(Action::Log, Flags::NONE), "code=0x7ffc0000"));
    if logged != Some(true) {
        skip(test, "the kernel's log can't be read, or audit records go elsewhere");
        return;
    }
    // The kernel prints ten records in five seconds, and other processes have some, too.
    let with_flag = || {
        let mut log = Log::open().expect("it can be opened");
        log.has(run(Action::Errno(1), Flags::LOG), "code=0x50000")
    };
    assert!((0..10).any(|_| with_flag()), "with the flag a refused call is logged");
    let mut log = Log::open().expect("it can be opened");
    let pid = run(Action::Errno(1), Flags::NONE);
    assert!(!log.has(pid, "type=1326"), "without it, it is not");
}

#[test]
fn the_flags_are_taken_by_the_kernel() {
    let all = Flags::LOG.with(Flags::SPEC_ALLOW).with(Flags::TSYNC);
    let mut command = Command::new("grep");
    command.args(["^Seccomp:", "/proc/self/status"]).no_new_privs();
    let output = command.seccomp(filter(Action::Allow, all)).output().expect("it runs");
    assert_eq!(out(&output), "Seccomp:\t2\n");
    assert_eq!(all.to_string(), "tsync, log, spec-allow");
    for name in Flags::names() {
        let long = format!("SECCOMP_FILTER_FLAG_{}", name.to_ascii_uppercase().replace('-', "_"));
        assert_eq!(Flags::parse(name), Flags::parse(&long));
        assert_eq!(Flags::parse(name).map(|flag| flag.to_string()).as_deref(), Some(name));
    }
    assert_eq!(Flags::parse("new-listener"), None);
}
