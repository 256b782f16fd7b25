//! CVE-2022-0492, CVE-2023-25809: out of a cgroup, or to the host through one.

use std::path::Path;

use crate::common::{Waiting, is_root, need, path, run, skip, soon, stderr, stdout};

/// Writes what can do no harm to the files by which one gets out, and says to which it could.
const ATTACK: &str = r#"
    for my $file (glob("/sys/fs/cgroup/{,*/}{cgroup.procs,tasks,release_agent}"), glob("/mnt/{,*/}{cgroup.procs,release_agent}")) {
        -e $file && open(my $out, "+<", $file) or next;
        my $text = $file =~ /agent/ ? "\n" : "0\n";
        print "$file\n" if defined syswrite($out, $text);
    }
    print "done\n";
"#;

const OTHERS: [&str; 8] =
    ["--map-users", "0:100000:65536", "--map-groups", "0:100000:65536", "-S", "0", "-G", "0"];

fn agents() -> Vec<String> {
    let at = |dir: &str| std::fs::read_to_string(format!("{dir}/release_agent")).ok();
    let dirs = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    dirs.filter_map(|dir| at(&dir.path().display().to_string())).collect()
}

#[test]
fn nobody_leaves_a_cgroup_or_names_an_agent() {
    let test = "nobody_leaves_a_cgroup_or_names_an_agent";
    if !need(test, &["perl"]) {
        return;
    }
    let limited = is_root() && run(&["--pids", "64", "true"]).status.success();
    let written = |options: &[&str]| {
        let limit: &[&str] = if limited { &["--pids", "64"] } else { &[] };
        stdout(&run(&[limit, options, &["perl", "-e", ATTACK]].concat()))
    };
    // Also with cgroups mounted by the command itself, where it may.
    let mount = "mount -t cgroup -o pids none /mnt 2>/dev/null || mount -t cgroup2 none /mnt 2>/dev/null; exec perl -e \"$0\"";
    let mounted = |options: &[&str]| stdout(&run(&[options, &["sh", "-c", mount, ATTACK]].concat()));
    if limited {
        // The files are root's, and root inside is root outside by default. Only in a hierarchy that was mounted with
        // nsdelegate, as systemd does it, is a cgroup namespace a border.
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts can be read");
        let is_border = |line: &str| line.contains(" cgroup2 ") && line.contains("nsdelegate");
        let mut all = mounts.lines().filter(|line| line.contains(" cgroup ") || line.contains(" cgroup2 "));
        let admin = ["--cap-add", "sys_admin"];
        let undone = |options: &[&str], wrap: &str| {
            let undo = "cut -d' ' -f5 /proc/self/mountinfo | grep ^/sys/fs/cgroup | \
                        while read -r at; do mount -o remount,bind,rw $at 2>/dev/null; done; exec perl -e \"$0\"";
            let line = format!("exec {wrap} sh -c \"$0\" \"$1\"");
            stdout(&run(&[&["--pids", "64"], options, &["sh", "-c", &line, undo, ATTACK]].concat()))
        };
        assert_eq!(undone(&admin, "").contains("cgroup.procs"), !all.all(is_border), "who may mount can");
        assert_eq!((written(&[]), undone(&[], "")), ("done".to_owned(), "done".to_owned()));
        assert_eq!(undone(&[], "unshare -UrmC"), "done");
        assert!(!written(&[]).contains("release_agent") && !mounted(&admin).contains("release_agent"));
        if !agents().is_empty() && agents().iter().all(|agent| agent.trim().is_empty()) {
            assert!(
                undone(&["--share", "user"], "").contains("release_agent"),
                "the same without a user namespace"
            );
        }
        assert_eq!(written(&OTHERS), "done");
        let pids = ["--pids", "64"];
        let own = mounted(&[pids.as_slice(), &OTHERS].concat());
        assert!(!own.contains("release_agent"), "{own}");
        assert_eq!(written(&["--landlock-exec", "/", "--landlock-rw", "/tmp"]), "done");
    } else {
        assert_eq!(written(&[]), "done");
    }
}

/// A path that leads out of the mount of the cgroups.
#[test]
fn a_cgroup_above_ones_own_is_not_joined() {
    let test = "a_cgroup_above_ones_own_is_not_joined";
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let two =
        mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
    let (Some(two), true) = (two, is_root()) else {
        skip(test, "it takes root, and cgroup version 2");
        return;
    };
    let dir = Path::new(two).join(format!("sept-test-above-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("a cgroup can be made");
    let target = Waiting::new(&["-Uru"]);
    let script = format!(
        "echo $$ >{}/cgroup.procs && exec unshare -C {} enter -c -t {} -u true",
        dir.display(),
        path(),
        target.inside()
    );
    let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh starts");
    soon("the cgroup is empty", || std::fs::remove_dir(&dir).is_ok());
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert!(stderr(&output).contains("outside of this cgroup namespace"), "{}", stderr(&output));
}
