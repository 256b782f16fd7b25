//! The six steps of the mission, through the library.

use std::fs;
use std::path::PathBuf;

use sept::{Command, Host, Mount, Namespace, Stdio};

fn printed(command: &mut Command) -> String {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn host(program: &str, args: &[&str]) -> String {
    printed(Command::new(program).args(args))
}

fn link(process: &str, kind: Namespace) -> PathBuf {
    fs::read_link(format!("/proc/{process}/ns/{}", kind.link())).expect("the link can be read")
}

fn inside(kinds: &[Namespace], program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).unshare([Namespace::User]).unshare(kinds.iter().copied()).map_root();
    command
}

#[test]
fn uts_differs_and_a_hostname_set_inside_leaves_the_hosts_alone() {
    let before = host("hostname", &[]);
    let mut child = inside(&[Namespace::Uts], "cat", &[])
        .hostname("inner")
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    assert_ne!(link(&child.id().to_string(), Namespace::Uts), link("self", Namespace::Uts));
    assert!(child.wait().expect("it ends").success());
    assert_eq!(printed(inside(&[Namespace::Uts], "hostname", &[]).hostname("inner")), "inner");
    assert_eq!(host("hostname", &[]), before);
}

#[test]
fn ipc_queues_are_not_seen_on_the_other_side() {
    let outside = host("ipcmk", &["-Q"]);
    let queues = |text: &str| text.lines().filter(|line| line.starts_with("0x")).count();
    let seen = printed(&mut inside(
        &[Namespace::Ipc],
        "sh",
        &["-c", "ipcs -q; ipcmk -Q >/dev/null; echo ---; ipcs -q"],
    ));
    let id = outside.split_ascii_whitespace().last().expect("an id is printed");
    let listed = host("ipcs", &["-q"]);
    host("ipcrm", &["-q", id]);
    let (fresh, filled) = seen.split_once("---").expect("the separator is printed");
    assert_eq!((queues(fresh), queues(filled)), (0, 1), "{seen}");
    assert!(listed.lines().any(|line| line.split_ascii_whitespace().nth(1) == Some(id)), "{listed}");
}

#[test]
fn pid_inside_echo_prints_1() {
    assert_eq!(printed(&mut inside(&[Namespace::Pid], "sh", &["-c", "echo $$"])), "1");
}

#[test]
fn mount_proc_inside_shows_only_the_inside_and_the_hosts_mounts_do_not_change() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").expect("mounts can be read");
    let before = mounts();
    let kinds = [Namespace::Mount, Namespace::Pid];
    let by_hand = printed(&mut inside(&kinds, "sh", &["-c", "mount -t proc proc /proc && ps -ef"]));
    let prepared = printed(inside(&kinds, "ps", &["-ef"]).mount(Mount::proc("/proc")));
    assert_eq!((by_hand.lines().count(), prepared.lines().count()), (3, 2), "{by_hand}\n{prepared}");
    assert_eq!(mounts(), before);
}

#[test]
fn user_inside_1234_is_the_caller_outside() {
    let me = Host::caller();
    let mut command = Command::new("id");
    command.arg("-u").unshare([Namespace::User]).map_uid(1234, me.uid, 1).map_gid(1234, me.gid, 1);
    assert_eq!(printed(&mut command), "1234");
}

#[test]
fn user_an_ordinary_user_is_root_inside() {
    assert_eq!(printed(&mut inside(&[], "id", &["-u"])), "0");
}

#[test]
fn net_inside_there_is_only_lo() {
    let links = printed(&mut inside(&[Namespace::Net], "ip", &["-o", "link"]));
    assert!(links.lines().count() == 1 && links.contains("lo:") && links.contains("DOWN"), "{links}");
    let links = printed(inside(&[Namespace::Net], "ip", &["-o", "link"]).loopback());
    assert!(links.contains("UP"), "{links}");
}
