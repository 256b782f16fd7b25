//! Links in a root that lead through what is mounted: `place -> NAME/x/..` is NAME until something lies on NAME.

use crate::common::{Scratch, is_root, run, skip, stdout};
use crate::root_of;

const USR: [&str; 3] = ["--ro-bind", "/usr", "/usr"];

/// A root in which `place` leads to `/target`, until that is covered.
fn linked(scratch: &Scratch, place: &str, up: &str) -> String {
    let root = root_of(scratch);
    let there = format!("{root}/{place}");
    std::fs::create_dir(format!("{root}/target/x")).expect("a directory can be made");
    let _ = std::fs::remove_dir(&there);
    std::os::unix::fs::symlink(up, there).expect("a link can be made");
    root
}

fn with(root: &str, options: &[&str], script: &str) -> String {
    stdout(&run(&[&["--root", root], USR.as_slice(), options, &["sh", "-c", script]].concat()))
}

#[test]
fn what_guards_proc_goes_where_proc_went() {
    let test = "what_guards_proc_goes_where_proc_went";
    if !is_root() {
        skip(test, "nobody else may write there");
        return;
    }
    let script = "for file in sys/kernel/core_pattern sys/vm/swappiness; do
        test -e /target/$file && test ! -w /target/$file && echo guarded; done; true";
    for up in ["target/x/..", "/target/x/.."] {
        let scratch = Scratch::new();
        let root = linked(&scratch, "proc", up);
        assert_eq!(with(&root, &["--proc", "/proc"], script), "", "a proc by request is whole");
        assert_eq!(with(&root, &[], script), "guarded\nguarded");
        assert_eq!(with(&root, &["--init"], script), "guarded\nguarded");
        assert_eq!(with(&root, &["--share", "pid"], script), "guarded\nguarded");
    }
}

#[test]
fn what_guards_cgroups_goes_where_they_went() {
    let test = "what_guards_cgroups_goes_where_they_went";
    if !is_root() {
        skip(test, "it takes the right to make cgroups");
        return;
    }
    let scratch = Scratch::new();
    let root = linked(&scratch, "sys", "target/x/..");
    let script = "find /target/fs/cgroup -maxdepth 2 -name cgroup.procs | while read file; do
        test -w $file && echo writable; done | sort -u; test -d /target/fs/cgroup && echo there";
    let bound = ["--no-sys", "--bind", "/sys", "/sys"];
    assert_eq!(with(&root, &bound, script), "writable\nthere", "without limits it is as it was bound");
    assert_eq!(with(&root, &[bound.as_slice(), &["--pids", "50"]].concat(), script), "there");
}

#[test]
fn a_mask_goes_where_the_bind_went() {
    let scratch = Scratch::new();
    let root = linked(&scratch, "data", "target/x/..");
    let secret = scratch.path("secret");
    std::fs::create_dir_all(format!("{secret}/deep")).expect("directories can be made");
    for file in ["key", "deep/key"] {
        std::fs::write(format!("{secret}/{file}"), "secret\n").expect("a file can be made");
    }
    let bound = ["--bind", &secret, "/data"];
    let masks = |option: &str| {
        let masks = [option, "/data/key", option, "/data/deep"];
        with(&root, &[bound.as_slice(), &masks].concat(), "cat /target/key; ls /target/deep")
    };
    let shown = with(&root, &bound, "cat /target/key; ls /target/deep");
    assert_eq!(shown, "secret\nkey", "without a mask");
    assert_eq!(masks("--mask-try"), "");
    assert_eq!(masks("--mask"), "");
    let read_only = [bound.as_slice(), &["--remount-ro", "/data"]].concat();
    assert_eq!(with(&root, &read_only, "touch /target/x 2>/dev/null || echo refused"), "refused");
}

/// Else a rule for what was bound allows whatever the link leads to.
#[test]
fn a_rule_of_landlock_is_for_what_was_bound() {
    let test = "a_rule_of_landlock_is_for_what_was_bound";
    if sept::host::probe::landlock_abi().is_err() {
        skip(test, "this kernel has no Landlock");
        return;
    }
    let scratch = Scratch::new();
    // `target/x` is there when the bind is made; the bind brings one that leads to the root.
    let root = linked(&scratch, "data", "target/x/..");
    std::fs::write(format!("{root}/other"), "other\n").expect("a file can be made");
    let data = scratch.path("data");
    std::fs::create_dir_all(format!("{data}/own")).expect("directories can be made");
    std::os::unix::fs::symlink("/usr/bin", format!("{data}/x")).expect("a link can be made");
    std::fs::write(format!("{data}/own/file"), "own\n").expect("a file can be made");
    let seen = |rule: &[&str]| {
        let rules =
            ["--landlock-exec", "/usr/bin", "--landlock-exec", "/usr/lib", "--landlock-exec", "/usr/lib64"];
        let script = "cat /target/own/file; ls /usr >/dev/null 2>&1 && echo all";
        let options = [["--bind", &data, "/data"].as_slice(), &rules, rule].concat();
        let output = run(&[&["--root", &root], USR.as_slice(), &options, &["sh", "-c", script]].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(seen(&[]), "", "without a rule");
    assert_eq!(seen(&["--landlock-ro", "/data"]), "own\n");
}
