//! What the tests of the command line share.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The executable under test: the one just built, or the copy that an ordinary user may reach.
pub fn sept() -> Command {
    let path = std::env::var_os("SEPT_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_sept").into());
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

/// The same with no signal ignored, as a job in the background of a script has SIGINT. The process is sept's.
pub fn sept_with_default_signals() -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(path()).stdin(Stdio::null());
    command
}

/// The path of the executable under test, for a script.
pub fn path() -> String {
    sept().get_program().to_str().expect("the path is UTF-8").to_owned()
}

/// A shell's line on a new terminal, by script(1), with the line's exit code.
pub fn on_terminal(line: &str) -> Command {
    let mut command = Command::new("script");
    command.args(["-qec", line, "/dev/null"]).stdin(Stdio::null());
    command
}

/// Says why a test does nothing. In one piece: other tests write, too.
pub fn skip(test: &str, why: &str) {
    let line = format!("skipped: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
}

/// By another process: a copy that this one writes may still be open in a child that another test has just forked, and
/// then can't be executed (ETXTBSY).
pub fn copy_executable(from: &str, to: &str) {
    let done = Command::new("cp").args([from, to]).status().expect("cp starts");
    assert!(done.success(), "the executable can be copied");
}

/// Runs `sept run` with these arguments.
pub fn run(args: &[&str]) -> Output {
    sept().arg("run").args(args).output().expect("sept starts")
}

pub fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{:?}: {}", output.status, stderr(output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// What a program of the host prints.
pub fn host(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect("the program starts");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn is_root() -> bool {
    host("id", &["-u"]) == "0"
}

/// Whether this user has subordinate ids.
pub fn has_subids() -> bool {
    let name = host("id", &["-un"]);
    std::fs::read_to_string("/etc/subuid").unwrap_or_default().contains(&format!("{name}:"))
}

/// The same; if not, says loudly which test is skipped.
pub fn need_subids(test: &str) -> bool {
    let has = has_subids();
    if !has {
        skip(test, "this user has no subordinate ids");
    }
    has
}

/// Whether a program is there; if not, says loudly which test is skipped.
pub fn need(test: &str, programs: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let there = |name: &&str| path.split(':').any(|dir| Path::new(dir).join(name).exists());
    match programs.iter().find(|name| !there(name)) {
        None => true,
        Some(missing) => {
            skip(test, &format!("{missing} is not installed"));
            false
        }
    }
}

/// Whether root runs this; if not, says loudly which test is skipped, and why.
pub fn need_root(test: &str, why: &str) -> bool {
    let root = is_root();
    if !root {
        skip(test, why);
    }
    root
}

/// Whether a terminal takes characters as if they were typed: since Linux 6.2 a kernel may refuse it.
pub fn has_tiocsti() -> bool {
    !std::fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|text| text.trim() == "0")
}

/// Whether Landlock here can keep abstract sockets and signals inside (Linux 6.12), as it does by default.
pub fn has_scopes() -> bool {
    stdout(&run(&["--share", "net", "--plan", "true"])).contains("Landlock")
}

/// A command inside that waits until its standard input is closed.
pub struct Waiting {
    pub child: Child,
}

impl Waiting {
    pub fn new(args: &[&str]) -> Self {
        let child = sept_with_default_signals()
            .arg("run")
            .args(args)
            .arg("cat")
            .stdin(Stdio::piped())
            .spawn()
            .expect("sept starts");
        let waiting = Self { child };
        waiting.inside();
        waiting
    }

    /// The pid of the command, as the host sees it: a child of sept, or of the reaper that is.
    pub fn inside(&self) -> u32 {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            let child = first_child(self.child.id());
            let found = [child, child.and_then(first_child)].into_iter().flatten().find(|pid| is_cat(*pid));
            if let Some(pid) = found {
                return pid;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("no command appeared inside");
    }

    pub fn namespace(&self, link: &str) -> PathBuf {
        namespace_of(&self.inside().to_string(), link)
    }
}

/// The place of this test's pins: root's is one for all; others have theirs where they say.
pub struct Pins {
    dir: Option<Scratch>,
}

impl Pins {
    pub fn new() -> Self {
        Self { dir: (!is_root()).then(Scratch::new) }
    }

    /// sept with these words, where the pins are.
    pub fn sept(&self, words: &[&str]) -> Output {
        self.within(sept().args(words)).output().expect("sept starts")
    }

    /// A command, where the pins are.
    pub fn within<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if let Some(dir) = &self.dir {
            command.env("XDG_RUNTIME_DIR", &dir.0);
        }
        command
    }

    /// Where the pin of this name lies.
    pub fn place(&self, name: &str) -> PathBuf {
        match &self.dir {
            Some(dir) => dir.0.join("sept/pins").join(name),
            None => PathBuf::from("/run/sept/pins").join(name),
        }
    }
}

/// The children of a process.
pub fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Waits for something, not for ever.
pub fn soon(what: &str, condition: impl Fn() -> bool) {
    soon_within(Duration::from_secs(10), what, condition);
}

/// Waits for something that takes longer.
pub fn soon_within(time: Duration, what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < time, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn first_child(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_ascii_whitespace().next()?.parse().ok()
}

fn is_cat(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "cat\n")
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The target of a `ns` link of a process.
pub fn namespace_of(process: &str, link: &str) -> PathBuf {
    std::fs::read_link(format!("/proc/{process}/ns/{link}")).expect("the link can be read")
}

/// A directory of this test's own, gone at its end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Self {
        Self::made(&["-d", "-t", "sept-test-XXXXXXXXXX"])
    }

    /// Below this directory, not where all others are.
    pub fn below(dir: &str) -> Self {
        Self::made(&["-d", "-p", dir, "sept-test-XXXXXXXXXX"])
    }

    /// Where set-user-ID programs work: on a /tmp that is a tmpfs they may not.
    pub fn for_set_user_id() -> Self {
        let scratch = Self::new();
        let flags = rustix::fs::statvfs(&scratch.0).expect("it is there").f_flag;
        let nosuid = flags.contains(rustix::fs::StatVfsMountFlags::NOSUID);
        if nosuid { Self::below("/var/tmp") } else { scratch }
    }

    fn made(args: &[&str]) -> Self {
        let output = host("mktemp", args);
        assert!(Path::new(&output).is_dir(), "mktemp made {output:?}");
        Self(output.into())
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("the path is UTF-8").to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut removed = std::fs::remove_dir_all(&self.0);
        if removed.is_err() {
            // The kernel's own directory in the work directory of an overlay has mode 0.
            let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(&self.0).status();
            removed = std::fs::remove_dir_all(&self.0);
        }
        if !std::thread::panicking() {
            removed.unwrap_or_else(|error| panic!("{} stays: {error}", self.0.display()));
        }
    }
}

/// The smallest static program with this code, for x86_64.
pub fn program(scratch: &Scratch, name: &str, code: &[u8]) -> String {
    let (base, headers) = (0x40_0000_u64, 64 + 56_u64);
    let size = headers + code.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([2_u16, 62].map(u16::to_le_bytes).concat());
    file.extend(1_u32.to_le_bytes());
    file.extend([base + headers, 64, 0].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    file.extend([64_u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    file.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    file.extend([0, base, base, size, size, 0x1000].map(u64::to_le_bytes).concat());
    file.extend(code);
    let path = scratch.path(name);
    std::fs::write(&path, file).expect("the file can be made");
    host("chmod", &["755", &path]);
    path
}

/// neg eax; mov edi, eax; mov eax, 231; syscall: exits with the errno of the call before.
pub const EXIT_WITH_ERRNO: [u8; 11] = [0xf7, 0xd8, 0x89, 0xc7, 0xb8, 231, 0, 0, 0, 0x0f, 0x05];
