//! What README says that `sept run` does when it is given nothing but the command: what the kernel says of it.

mod common;

use std::path::Path;

use common::{Scratch, is_root, run, sept, stderr, stdout};

/// What the command prints.
fn said(command: &[&str]) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", stderr(&output));
    stdout(&output)
}

/// A field of /proc/self/status, as the command has it.
fn status(field: &str) -> String {
    let all = said(&["cat", "/proc/self/status"]);
    let line = all.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.expect("the kernel tells it").trim().to_owned()
}

#[test]
fn all_namespaces_but_time_are_new() {
    for (kind, is_new) in [
        ("user", true),
        ("mnt", true),
        ("pid", true),
        ("uts", true),
        ("ipc", true),
        ("net", true),
        ("cgroup", true),
        ("time", false),
    ] {
        let path = format!("/proc/self/ns/{kind}");
        let outside = std::fs::read_link(&path).expect("it can be read");
        assert_eq!(Path::new(&said(&["readlink", &path])) != outside, is_new, "{kind}");
    }
}

#[test]
fn all_capabilities_are_there_inside_and_none_outside() {
    let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        let found = u64::from_str_radix(&status(set), 16).expect("a set");
        assert_eq!(found, u64::MAX >> (63 - last), "{set}");
    }
    // Rights over what belongs to the namespace, a hostname, and none over a process of the one above.
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("it can be read");
    assert_eq!(said(&["sh", "-c", "hostname inside && hostname"]), "inside");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").expect("it can be read"), before);
    for file in ["environ", "ns/uts"] {
        let path = format!("/proc/{}/{file}", std::process::id());
        let output = run(&["--share", "pid", "sh", "-c", "exec 3<$0", &path]);
        assert!(!output.status.success() && stderr(&output).contains("ermission"), "{output:?}");
    }
}

#[test]
fn no_new_privileges_are_to_be_had_but_for_root() {
    assert_eq!(status("NoNewPrivs"), if is_root() { "0" } else { "1" });
}

#[test]
fn no_system_calls_are_filtered_but_by_small_guards() {
    // adjtimex(2) is one that every policy of a container refuses, and reads the clock for everybody.
    let script = "perl -e 'my $buffer = \"\\0\" x 512; exit(syscall(shift, $buffer) < 0)' $0";
    said(&["sh", "-c", script, &libc::SYS_adjtimex.to_string()]);
}

#[test]
fn the_environment_is_kept() {
    let output = sept().args(["run", "printenv", "SEPT_TEST_WORD"]).env("SEPT_TEST_WORD", "here").output();
    assert_eq!(stdout(&output.expect("sept starts")), "here");
}

#[test]
fn the_files_of_the_host_are_seen_and_can_be_written() {
    let scratch = Scratch::new();
    let file = scratch.path("file");
    std::fs::write(&file, "before").expect("a file can be made");
    assert_eq!(said(&["sh", "-c", "cat $0; echo after >$0", &file]), "before");
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "after\n");
}

#[test]
fn no_resource_is_limited() {
    let limits = |text: String| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let outside = std::fs::read_to_string("/proc/self/limits").expect("it can be read");
    assert_eq!(limits(said(&["cat", "/proc/self/limits"])), limits(outside.trim_end().to_owned()));
    // In the cgroup of its caller: seen without a cgroup namespace.
    let outside = std::fs::read_to_string("/proc/self/cgroup").expect("it can be read");
    assert_eq!(said(&["--share", "cgroup", "cat", "/proc/self/cgroup"]), outside.trim_end());
}

/// Each cell of sept in README's table names the test that it rests on.
#[test]
fn the_cells_of_readme_name_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("it is there");
    let rows = readme.lines().skip_while(|line| !line.starts_with("| by default |")).skip(2);
    let cells: Vec<_> =
        rows.take_while(|line| line.starts_with('|')).filter_map(|row| row.split('|').nth(2)).collect();
    assert!(cells.len() > 10, "{cells:?}");
    for cell in cells {
        let mut links = cell.split("](").skip(1).filter_map(|rest| rest.split(')').next()).peekable();
        assert!(links.peek().is_some(), "{cell}");
        for link in links.filter(|link| !link.ends_with(".md")) {
            let (file, name) = link.split_once(" \"").expect("a title with the test");
            let source = std::fs::read_to_string(root.join(file)).expect(file);
            let test = format!("#[test]\nfn {}()", name.trim_end_matches('"'));
            assert!(source.contains(&test), "{link}");
        }
    }
}
