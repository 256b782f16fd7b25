//! What only the guest of `cargo xtask vm` can show: its kernel's own sysctl, AppArmor, cgroups of version 2 alone.
//!
//! These tests change the whole host, so they run nowhere else.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{Scratch, Waiting, host, is_root, path, run, sept, skip, soon, stderr};

/// Whoever the test is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    Root,
    User,
}

/// Whether this is the guest, and this user the one that is meant; if not, says so loudly.
fn in_guest(test: &str, whom: As) -> bool {
    if std::env::var_os("SEPT_VM").is_none() {
        skip(test, "this is not the guest of cargo xtask vm");
        return false;
    }
    match (whom, is_root()) {
        (As::Root, false) => skip(test, "only root can bring it about"),
        (As::User, true) => skip(test, "root needs no manager of its own"),
        _ => return true,
    }
    false
}

/// sept as the ordinary user of the guest.
fn as_user(args: &[&str]) -> Output {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid", "septtest", "--regid", "septtest", "--init-groups", "--reset-env", "--"]);
    setpriv.arg(path()).args(args).stdin(Stdio::null()).output().expect("setpriv starts")
}

/// A sysctl with another value, until this is dropped.
struct Sysctl {
    file: PathBuf,
    before: String,
}

impl Sysctl {
    fn set(name: &str, value: &str) -> Option<Self> {
        let file = PathBuf::from(format!("/proc/sys/{}", name.replace('.', "/")));
        let before = fs::read_to_string(&file).ok()?;
        fs::write(&file, value).expect("root may change it");
        Some(Self { file, before })
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        fs::write(&self.file, &self.before).expect("it can be set back");
    }
}

#[test]
fn user_namespaces_that_are_for_root_alone_are_named_with_their_sysctl() {
    let test = "user_namespaces_that_are_for_root_alone_are_named_with_their_sysctl";
    if !in_guest(test, As::Root) {
        return;
    }
    let Some(_none) = Sysctl::set("kernel.unprivileged_userns_clone", "0") else {
        skip(test, "this kernel has no such sysctl");
        return;
    };
    let output = as_user(&["run", "true"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains(" why: kernel.unprivileged_userns_clone is 0 on this host"), "{said}");
    assert!(said.contains(" fix: sudo sysctl kernel.unprivileged_userns_clone=1"), "{said}");
}

/// An AppArmor profile for a copy of sept, until this is dropped.
struct Confined {
    scratch: Scratch,
    sept: String,
}

impl Confined {
    /// With these rules, after a head of its own.
    fn new(abi: &str, rules: &str) -> Self {
        let scratch = Scratch::new();
        let sept = scratch.path("sept");
        host("cp", &[&path(), &sept]);
        host("chmod", &["755", &scratch.path("."), &sept]);
        let text = format!("{abi}\nprofile sept-test {sept} {{\n  {rules}\n}}\n");
        fs::write(scratch.path("profile"), text).expect("the profile can be written");
        let confined = Self { scratch, sept };
        confined.parser("--replace");
        confined
    }

    fn parser(&self, what: &str) {
        let mut parser = Command::new("/usr/sbin/apparmor_parser");
        let output = parser.args([what, "--skip-cache"]).arg(self.scratch.path("profile")).output();
        let output = output.expect("apparmor_parser starts");
        assert!(output.status.success(), "{}", stderr(&output));
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(&self.sept).args(args).stdin(Stdio::null()).output().expect("sept starts")
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        self.parser("--remove");
    }
}

/// Whatever a profile can allow in all versions, but mounts and user namespaces.
const ALL: &str = "file, capability, network, signal, ptrace, unix, dbus, pivot_root, change_profile,";

fn has_apparmor(test: &str) -> bool {
    let on =
        fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'));
    if !on {
        skip(test, "AppArmor is off");
    }
    on
}

/// Since Linux 6.7.
fn mediates_user_namespaces() -> bool {
    Path::new("/sys/kernel/security/apparmor/features/namespaces/mask").exists()
}

#[test]
fn a_security_module_that_refuses_mounts_is_suspected() {
    let test = "a_security_module_that_refuses_mounts_is_suspected";
    if !in_guest(test, As::Root) || !has_apparmor(test) {
        return;
    }
    let confined = match mediates_user_namespaces() {
        true => Confined::new("abi <abi/4.0>,", &format!("{ALL} userns,")),
        false => Confined::new("", ALL),
    };
    let output = confined.run(&["run", "-U", "-m", "true"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("private") && said.contains(" why: perhaps a security module"), "{said}");
}

#[test]
fn a_security_module_that_refuses_user_namespaces_is_suspected() {
    let test = "a_security_module_that_refuses_user_namespaces_is_suspected";
    if !in_guest(test, As::Root) || !has_apparmor(test) {
        return;
    }
    if !mediates_user_namespaces() {
        skip(test, "this kernel's AppArmor has no rules for user namespaces");
        return;
    }
    let confined = Confined::new("abi <abi/4.0>,", &format!("{ALL} mount, umount,"));
    let output = confined.run(&["run", "true"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("perhaps a security module refuses it") && said.contains(" fix: "), "{said}");
}

/// The directory of a process's cgroup, where there is version 2 alone.
fn cgroup(pid: u32) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process is there");
    let path = text.trim().strip_prefix("0::/").expect("there is version 2 alone");
    Path::new("/sys/fs/cgroup").join(path)
}

#[test]
fn limits_are_those_of_a_cgroup_of_version_2() {
    let test = "limits_are_those_of_a_cgroup_of_version_2";
    if !in_guest(test, As::Root) {
        return;
    }
    let waiting = Waiting::new(&["--memory", "64M", "--pids", "20", "--cpus", "0.5"]);
    let dir = cgroup(waiting.inside());
    let sept = waiting.child.id();
    let own = format!("sept-{sept}-");
    assert!(
        dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&own)),
        "{}",
        dir.display()
    );
    let read = |file: &str| fs::read_to_string(dir.join(file)).expect("the kernel has it").trim().to_owned();
    assert_eq!(read("memory.max"), "67108864");
    assert_eq!(read("memory.swap.max"), "0");
    assert_eq!(read("pids.max"), "20");
    assert_eq!(read("cpu.max"), "50000 100000");
    drop(waiting);
    soon("the cgroup is still there", || !dir.exists());
}

#[test]
fn a_kill_for_lack_of_memory_is_told_and_its_cgroup_is_gone() {
    let test = "a_kill_for_lack_of_memory_is_told_and_its_cgroup_is_gone";
    if !in_guest(test, As::Root) {
        return;
    }
    let script = "my $x = 'x' x (200 << 20); print 'done'";
    let mut command = sept();
    command.args(["run", "--memory", "64M", "--report-fd", "2", "perl", "-e", script]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sept starts");
    let own = format!("sept-{}-", child.id());
    let output = child.wait_with_output().expect("sept ends");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(137), "{said}");
    let line = said.lines().find(|line| line.starts_with('{')).expect("there is a report");
    let report: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
    assert!(report["oom_kills"].as_u64() >= Some(1), "{report}");
    let left = host("find", &["/sys/fs/cgroup", "-type", "d", "-name", &format!("{own}*")]);
    assert_eq!(left, "");
}

#[test]
fn the_users_manager_takes_limits() {
    let test = "the_users_manager_takes_limits";
    if !in_guest(test, As::User) {
        return;
    }
    let script = "cat /sys/fs/cgroup/$(cut -d: -f3 /proc/self/cgroup)/memory.max";
    let mut run = Command::new("systemd-run");
    run.args(["--user", "--scope", "--quiet", "-p", "MemoryMax=50M", "sh", "-c", script]);
    let output = run.stdin(Stdio::null()).output().expect("systemd-run starts");
    assert_eq!(common::stdout(&output), "52428800");
}

/// By a scope that systemd delegates: to an ordinary user, and to root.
fn a_scope_limits(test: &str, whom: As) {
    if !in_guest(test, whom) {
        return;
    }
    let script = "d=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); cat $d/memory.max $d/pids.max; echo $d";
    let line = ["--cgroup-manager", "systemd", "--share", "cgroup", "--memory", "50M", "--pids", "20"];
    let said = common::stdout(&run(&[&line[..], &["sh", "-c", script]].concat()));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(&lines[..2], ["52428800", "20"], "{said}");
    assert!(lines[2].contains("/sept-") && lines[2].contains(".scope/"), "{said}");
    soon("the scope is gone with sept", || !Path::new(lines[2]).parent().is_some_and(Path::exists));
    let output = run(&[&line[..], &["--report-fd", "2", "perl", "-e", "my $x = 'x' x (200 << 20)"]].concat());
    assert_eq!(output.status.code(), Some(137), "{}", stderr(&output));
    assert!(stderr(&output).contains("\"oom_kills\":1"), "{}", stderr(&output));
}

#[test]
fn an_ordinary_user_gets_limits_by_a_scope_of_systemd() {
    a_scope_limits("an_ordinary_user_gets_limits_by_a_scope_of_systemd", As::User);
}

#[test]
fn root_gets_limits_by_a_scope_of_systemd() {
    a_scope_limits("root_gets_limits_by_a_scope_of_systemd", As::Root);
}
