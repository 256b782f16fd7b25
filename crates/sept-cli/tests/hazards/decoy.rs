//! CVE-2019-16884, CVE-2025-52881: something on /proc that is no file system of processes.

use crate::common::{Scratch, path, run, stderr, stdout};
use crate::root_of;

const FILES: [&str; 5] = ["uid_map", "gid_map", "setgroups", "attr/exec", "timens_offsets"];

/// What each start comes to where this shell's /proc is a decoy, and what was written to that.
fn script(sept: &str) -> String {
    format!(
        "mkdir -p /proc/self/attr /proc/self/ns /proc/1/ns /proc/sys/kernel /proc/self/fd; cd /proc/self; \
         for f in {files}; do : >$f; done; \
         for line in 'run -Ur' 'run -Ur --init' 'run -T --monotonic 5' 'unshare -Ur' 'unshare -UrT --boottime 5' 'enter 1' \
         'enter -t 1 -U' 'enter -t 1 --follow-context'; do {sept} $line true 2>/dev/null; echo $?; done; \
         cat {files}; unshare -Ur true 2>/dev/null; cat uid_map",
        files = FILES.join(" ")
    )
}

#[test]
fn a_decoy_on_proc_gets_nothing() {
    let (sept, scratch) = (path(), Scratch::new());
    // With the right to mount: else root, who could move that tmpfs aside, makes no user namespaces, with the other tool neither.
    let tmpfs = ["--no-proc", "--tmpfs", "/proc", "--cap-add", "sys_admin", "sh", "-c"];
    let tmpfs = run(&[tmpfs.as_slice(), &[&script(&sept)]].concat());
    // A directory of the root's, with nothing mounted there.
    let root = root_of(&scratch);
    let line = ["--root", &root, "--no-proc", "--ro-bind", "/usr", "/usr", "--tmpfs", "/target"];
    let bind = ["--ro-bind", &sept, "/target/sept", "sh", "-c"];
    let directory = run(&[line.as_slice(), &bind, &[&script("/target/sept")]].concat());
    for output in [tmpfs, directory] {
        let text = stdout(&output);
        let (codes, written) = text.split_at(8 * 4 - 1);
        assert_eq!(codes, ["125"; 8].join("\n"), "{text} {}", stderr(&output));
        // What was written is the other tool's, which looks only at the name.
        assert_eq!(written.split_whitespace().collect::<Vec<_>>().len(), 3, "{written}");
    }
}

/// CVE-2019-16884: the map of a decoy would be no map at all.
#[test]
fn a_decoy_on_proc_is_named() {
    let script = format!("{} run -Ur true", path());
    let output = run(&["--no-proc", "--tmpfs", "/proc", "sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert!(stderr(&output).contains("no proc file system"), "{}", stderr(&output));
}

/// A decoy in the root is covered by the real one.
#[test]
fn the_proc_of_a_root_is_a_real_one() {
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    std::fs::create_dir(format!("{root}/proc/self")).expect("a directory can be made");
    std::fs::write(format!("{root}/proc/self/status"), "decoy").expect("a file can be made");
    let line = ["--root", &root, "--ro-bind", "/usr", "/usr"];
    let kind =
        |more: &[&str]| stdout(&run(&[line.as_slice(), more, &["stat", "-f", "-c", "%T", "/proc"]].concat()));
    assert_eq!(kind(&[]), "proc");
    assert_ne!(kind(&["--no-proc"]), "proc");
}

/// overlayfs finds its directories by way of /proc.
#[test]
fn a_decoy_on_proc_leads_no_overlay_elsewhere() {
    let scratch = Scratch::new();
    let (decoy, secret) = (scratch.path("decoy"), scratch.path("secret"));
    for dir in ["decoy/self/fd", "secret/upper", "secret/work", "one", "two"] {
        std::fs::create_dir_all(scratch.path(dir)).expect("directories can be made");
    }
    std::fs::write(format!("{secret}/key"), "secret\n").expect("a file can be made");
    for number in 3..40 {
        std::os::unix::fs::symlink(&secret, format!("{decoy}/self/fd/{number}")).expect("a link can be made");
    }
    let (one, two) = (scratch.path("one"), scratch.path("two"));
    let layers = ["--overlay-src", &one, "--overlay-src", &two];
    for overlay in [["--ro-overlay", "/mnt"], ["--tmp-overlay", "/mnt"]] {
        let script = "cat /mnt/key; echo x >/mnt/upper/new";
        let bound = ["--bind", &decoy, "/proc"];
        let output = run(&[bound.as_slice(), &layers, &overlay, &["sh", "-c", script]].concat());
        let said = stderr(&output);
        assert!(said.contains("what lies there is no proc file system"), "{overlay:?}: {said}");
        assert_eq!(std::fs::read_dir(format!("{secret}/upper")).expect("it is there").count(), 0);
    }
}
