//! The six steps of the mission, through the command line.

mod common;

use common::{Waiting, host, is_root, namespace_of, need, run, stdout};

#[test]
fn uts_differs_and_a_hostname_set_inside_leaves_the_hosts_alone() {
    let before = host("hostname", &[]);
    let waiting = Waiting::new(&["-Uu", "--hostname", "inner"]);
    assert_ne!(waiting.namespace("uts"), namespace_of("self", "uts"));
    assert_eq!(stdout(&run(&["-Uur", "--", "sh", "-c", "hostname changed && hostname"])), "changed");
    assert_eq!(host("hostname", &[]), before);
}

#[test]
fn ipc_queues_are_not_seen_on_the_other_side() {
    if !need("ipc_queues_are_not_seen_on_the_other_side", &["ipcmk", "ipcs", "ipcrm"]) {
        return;
    }
    let id = |text: &str| text.split_ascii_whitespace().last().expect("an id is printed").to_owned();
    let outside = id(&host("ipcmk", &["-Q"]));
    let before = host("ipcs", &["-q"]);
    let inside = stdout(&run(&["-Uir", "--", "sh", "-c", "ipcs -q; ipcmk -Q >/dev/null; echo ---; ipcs -q"]));
    let after = host("ipcs", &["-q"]);
    host("ipcrm", &["-q", &outside]);
    let queues = |text: &str| text.lines().filter(|line| line.starts_with("0x")).count();
    let (fresh, filled) = inside.split_once("---").expect("the separator is printed");
    assert_eq!(queues(fresh), 0, "the host's queue is seen inside: {fresh}");
    assert_eq!(queues(filled), 1, "the own queue is not seen inside: {filled}");
    assert!(queues(&before) >= 1);
    assert_eq!(queues(&before), queues(&after), "the queue made inside is seen on the host");
}

#[test]
fn pid_inside_echo_prints_1() {
    assert_eq!(stdout(&run(&["-Up", "--", "sh", "-c", "echo $$"])), "1");
    assert_eq!(stdout(&run(&["sh", "-c", "echo $$"])), "1");
}

#[test]
fn mount_proc_inside_shows_only_the_inside_and_the_hosts_mounts_do_not_change() {
    if !need("mount_proc_inside_shows_only_the_inside_and_the_hosts_mounts_do_not_change", &["ps", "mount"]) {
        return;
    }
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo can be read");
    let before = mounts();
    let by_hand =
        stdout(&run(&["-Umpr", "--no-proc", "--", "sh", "-c", "mount -t proc proc /proc && ps -ef"]));
    let by_default = stdout(&run(&["ps", "-ef"]));
    assert_eq!(by_hand.lines().count(), 3, "header, sh, ps: {by_hand}");
    assert_eq!(by_default.lines().count(), 2, "header, ps: {by_default}");
    assert_eq!(mounts(), before);
}

#[test]
fn user_inside_1234_is_the_caller_outside() {
    let inside = ["-U", "--map-user", "1234", "--map-group", "1234", "--", "sh", "-c", "id -u; id -g"];
    assert_eq!(stdout(&run(&inside)), "1234\n1234");
    let own = host("id", &["-u"]);
    let map = stdout(&run(&["-U", "--map-user", "1234", "cat", "/proc/self/uid_map"]));
    assert_eq!(map.split_ascii_whitespace().collect::<Vec<_>>(), ["1234", &own, "1"]);
    if is_root() {
        let triple = run(&["--map-users", "1234:0:1", "--map-groups", "1234:0:1", "id", "-u"]);
        assert_eq!(stdout(&triple), "1234");
    }
}

#[test]
fn user_an_ordinary_user_is_root_inside() {
    assert_eq!(stdout(&run(&["id", "-u"])), "0");
    assert_eq!(stdout(&run(&["-U", "id", "-u"])), "0");
}

#[test]
fn net_inside_there_is_only_lo() {
    if !need("net_inside_there_is_only_lo", &["ip"]) {
        return;
    }
    let inside = stdout(&run(&["-Un", "ip", "-o", "link"]));
    assert_eq!(inside.lines().count(), 1, "{inside}");
    assert!(inside.contains("lo:") && inside.contains("UP"), "{inside}");
    let down = stdout(&run(&["-Un", "--no-loopback", "ip", "-o", "link"]));
    assert!(down.contains("state DOWN"), "{down}");
}
