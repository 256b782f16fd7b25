//! CVE-2022-0492, CVE-2023-25809: out of a cgroup, or to the host through one.

use std::path::PathBuf;

use crate::common::{
    EXIT_WITH_ERRNO, Scratch, Waiting, is_root, need, path, program, run, skip, soon, stderr, stdout,
};

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
        assert_eq!(undone(&[], "unshare -Urm"), "done");
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

/// Where sysfs is the host's, whatever the root.
#[test]
fn limits_stay_where_the_hosts_cgroups_are_seen() {
    let test = "limits_stay_where_the_hosts_cgroups_are_seen";
    if !is_root() || !run(&["--pids", "20", "true"]).status.success() {
        skip(test, "it takes the right to make cgroups");
        return;
    }
    let lift = "find /sys/fs/cgroup -name pids.max -path '*/sept-*' -exec sh -c 'echo max >$0 && echo lifted' {} ';' 2>/dev/null; echo done";
    let lifted = |options: &[&str]| stdout(&run(&[options, &["--pids", "20", "sh", "-c", lift]].concat()));
    assert!(lifted(&["--bind", "/sys/fs/cgroup", "/sys/fs/cgroup"]).contains("lifted"), "who is given them");
    let one = std::fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten().map(|entry| entry.path());
    let one = one.into_iter().find(|path| path.is_dir()).expect("a hierarchy").display().to_string();
    for options in [
        [].as_slice(),
        &["--root", "/", "--no-sys"],
        &["--root", "/"],
        &["--bind", "/sys", "/sys"],
        // What restricts lifts nothing, and what shows the host's again is restricted.
        &["--mask-try", "/sys/fs/cgroup/not-there"],
        &["--mask-try", &one],
        &["--remount-ro", &one],
        &["--root", "/", "--bind", "/sys", "/sys"],
        &["--root", "/", "--dev-bind", "/sys/fs", "/sys/fs", "--mask-try", "/sys/fs/cgroup/not-there"],
        &["--bind", "/", "/"],
        &["--bind", "/sys", "/sys/../sys"],
    ] {
        // Not everywhere is there a mount to be made read-only.
        let output = run(&[options, &["--pids", "20", "sh", "-c", lift]].concat());
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            said == "done\n" || said.is_empty() && options[0] == "--remount-ro",
            "{options:?}: {output:?}"
        );
    }
}

/// Where cgroups of version 2 are mounted, for root; if not, says loudly which test is skipped.
fn version_2(test: &str) -> Option<PathBuf> {
    let mounted = sept::host::mounted("cgroup2").expect("mountinfo").filter(|_| is_root());
    if mounted.is_none() {
        skip(test, "it takes root, and cgroup version 2");
    }
    mounted
}

/// By a file of a cgroup that is the user's, which is no signal to Landlock.
#[test]
fn nobody_is_stopped_by_a_cgroup_where_those_are_read_only() {
    let test = "nobody_is_stopped_by_a_cgroup_where_those_are_read_only";
    let Some(two) = version_2(test) else { return };
    let dir = two.join(format!("sept-stop-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("a cgroup can be made");
    let file = dir.join("cgroup.freeze");
    let stop = format!("echo 1 >{} && echo stopped; echo done", file.display());
    let tried = |options: &[&str]| stdout(&run(&[options, &["sh", "-c", &stop]].concat()));
    let (open, held) = (tried(&[]), [["--read-only"].as_slice(), &["--root", "/"]].map(tried));
    let limited = run(&["--pids", "20", "sh", "-c", &stop]);
    std::fs::remove_dir(&dir).expect("it is empty");
    assert!(open.contains("stopped"), "as the host has them: {open}");
    assert_eq!(held, ["done", "done"]);
    assert!(!String::from_utf8_lossy(&limited.stdout).contains("stopped"), "with limits");
}

/// In namespaces of the command's own, where it has the right to mount, and its user's right to the files.
#[test]
fn no_cgroup_is_mounted_anew() {
    let attack = "for flags in -Urm -UrmC; do unshare $flags sh -c '\
                      mount -t cgroup2 none /mnt && test -e /mnt/cgroup.procs && echo mounted; \
                      mount -t cgroup -o pids none /mnt && test -e /mnt/cgroup.procs && echo mounted'; done 2>/dev/null; \
                  echo done";
    let tried = |options: &[&str]| stdout(&run(&[options, &["sh", "-c", attack]].concat()));
    let bites = |said: String| assert!(said.contains("mounted"), "{said}");
    bites(tried(&["--read-only", "--cap-add", "sys_admin"]));
    bites(tried(&[]));
    let mut ways = vec![
        vec!["--read-only"],
        vec!["--read-only", "--init"],
        vec!["--read-only", "--no-new-privs", "--init"],
        vec!["--read-only", "--cap-drop", "all"],
        vec!["--read-only", "--share", "cgroup"],
        vec!["--read-only", "--seccomp", "default"],
        vec!["--read-only", "--seccomp", "strict"],
        vec!["--tmpfs", "/tmp"],
        vec!["--root", "/"],
    ];
    if is_root() {
        ways.extend([vec!["--pids", "64"], vec!["--pids", "64", "--init"]]);
        ways.push([["--read-only"].as_slice(), &OTHERS].concat());
    }
    for options in ways {
        assert_eq!(tried(&options), "done", "{options:?}");
    }
}

/// By whatever call and ABI.
#[test]
fn no_call_makes_a_cgroup_namespace_where_files_are_arranged() {
    let test = "no_call_makes_a_cgroup_namespace_where_files_are_arranged";
    if !cfg!(target_arch = "x86_64") {
        skip(test, "the programs are for x86_64");
        return;
    }
    let scratch = Scratch::new();
    let new = (libc::CLONE_NEWUSER | libc::CLONE_NEWCGROUP) as u32;
    let i386 = |number: u32| {
        let code = [&[0xb8], number.to_le_bytes().as_slice(), &[0xbb], &new.to_le_bytes()].concat();
        [&code, [0x31, 0xc9, 0x31, 0xd2, 0x31, 0xf6, 0x31, 0xff, 0xcd, 0x80].as_slice(), &EXIT_WITH_ERRNO]
            .concat()
    };
    // In the parent of a process that was made the answer is its number: more than any errno, or 0 in the child.
    let native = |number: u32| {
        let code = [&[0xb8], number.to_le_bytes().as_slice(), &[0xbf], &new.to_le_bytes()].concat();
        [&code, [0x31, 0xf6, 0x31, 0xd2, 0x0f, 0x05].as_slice(), &EXIT_WITH_ERRNO].concat()
    };
    let (unshare, clone) = (libc::SYS_unshare as u32, libc::SYS_clone as u32);
    let programs = [
        ("unshare", native(unshare)),
        ("clone", native(clone)),
        ("i386-unshare", i386(310)),
        ("i386-clone", i386(120)),
        ("x32-unshare", native(unshare | 0x4000_0000)),
    ];
    for (name, code) in programs {
        let program = program(&scratch, name, &code);
        let code = |options: &[&str]| run(&[options, &[&program]].concat()).status.code();
        // A kernel without x32, or i386, has no such calls.
        let open = code(&["--read-only", "--cap-add", "sys_admin"]);
        assert!(name.contains('-') || open != Some(libc::EPERM), "{name}: {open:?}");
        let has = open != Some(libc::ENOSYS) && open.is_some_and(|code| !(128..=160).contains(&code));
        let refused = code(&["--read-only"]);
        assert!(!has || refused == Some(libc::EPERM), "{name}: {refused:?}");
        assert!(has || name.contains('-'), "{name}: {open:?}");
    }
    // The flags of clone3 are in memory, where no filter looks.
    let number = (libc::SYS_clone3 as u32).to_le_bytes();
    let call = [&[0xb8], number.as_slice(), &[0x31, 0xff, 0x31, 0xf6, 0x0f, 0x05], &EXIT_WITH_ERRNO].concat();
    let program = program(&scratch, "clone3", &call);
    assert_eq!(run(&["--read-only", "--cap-add", "sys_admin", &program]).status.code(), Some(libc::EINVAL));
    assert_eq!(run(&["--read-only", &program]).status.code(), Some(libc::ENOSYS));
    // All else is as it was.
    let output = run(&["--read-only", "--proc", "/proc", "unshare", "-Urmpinf", "id", "-u"]);
    assert_eq!(stdout(&output), "0");
}

/// A path that leads out of the mount of the cgroups.
#[test]
fn a_cgroup_above_ones_own_is_not_joined() {
    let test = "a_cgroup_above_ones_own_is_not_joined";
    let Some(two) = version_2(test) else { return };
    let dir = two.join(format!("sept-test-above-{}", std::process::id()));
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
