//! What went wrong in other tools, tried against `run`, `enter` and `unshare`. Each attack is shown to work where the
//! defence is off, so that a test that passes means something. (Others are beside what they belong to: the executable of
//! who enters in enter.rs, capability sets in parity.rs and confine.rs, other ABIs in seccomp.rs, names in look.rs.)

mod common;

use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Scratch, Waiting, host, is_root, need, on_terminal, path, run, sept, stderr, stdout};

/// CVE-2024-21626, CVE-2016-9962: directories of the host that stay open inside.
#[test]
fn no_descriptor_of_the_host_goes_in() {
    if !need("no_descriptor_of_the_host_goes_in", &["bash"]) {
        return;
    }
    let target = Waiting::new(&["-Ur"]);
    let pid = target.inside().to_string();
    let open = (3..50).chain([200, 1000]).map(|fd| format!("{fd}</etc")).collect::<Vec<_>>().join(" ");
    let listed = |words: &str| {
        let script = format!("exec {open}; exec {} {words} ls /proc/self/fd", path());
        host("bash", &["-c", &script]).lines().filter(|fd| fd.parse::<u32>().is_ok_and(|fd| fd > 3)).count()
    };
    assert_eq!((listed("run"), listed(&format!("enter {pid}"))), (0, 0));
    // Where they are asked for they are there: so the attack is one.
    assert!(listed("run --keep-fd all") >= 25 && listed(&format!("enter --keep-fd all {pid}")) >= 25);
}

#[test]
fn a_working_directory_by_a_descriptor_is_refused() {
    let scratch = Scratch::new();
    let dir = std::fs::File::open(&scratch.0).expect("it can be opened");
    for place in ["self", "thread-self"] {
        let wd = format!("/proc/{place}/fd/{}", dir.as_raw_fd());
        let output = run(&["--wd", &wd, "--keep-fd", "all", "true"]);
        assert_eq!(output.status.code(), Some(125), "{wd}: {}", stderr(&output));
    }
}

/// CVE-2021-30465 and its kin: a mount point that becomes a link while it is being used.
#[test]
fn mount_points_that_turn_into_links_lead_nowhere() {
    let scratch = Scratch::new();
    let (root, canary) = (scratch.path("root"), scratch.path("canary"));
    for dir in ["", "/proc", "/dev", "/sys", "/usr", "/target"] {
        std::fs::create_dir(format!("{root}{dir}")).expect("a directory can be made");
    }
    for link in ["bin", "lib", "lib64", "sbin"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), format!("{root}/{link}"))
            .expect("a link can be made");
    }
    std::fs::create_dir(&canary).expect("a directory can be made");
    std::fs::write(format!("{canary}/untouched"), "").expect("a file can be made");
    // The other half of the exchange: a link that leads out of the root.
    let link = format!("{root}/link");
    std::os::unix::fs::symlink(&canary, &link).expect("a link can be made");
    let (done, target) = (AtomicBool::new(false), format!("{root}/target"));
    let before = host("grep", &["-c", &canary, "/proc/self/mountinfo"]);
    std::thread::scope(|scope| {
        let swap = scope.spawn(|| {
            let mut swaps = 0_u32;
            while !done.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                if rustix::fs::renameat_with(rustix::fs::CWD, &link, rustix::fs::CWD, &target, flags).is_ok()
                {
                    swaps += 1;
                }
            }
            swaps
        });
        let mut outcomes = [0; 2];
        for _ in 0..60 {
            let line =
                ["--root", root.as_str(), "--ro-bind", "/usr", "/usr", "--tmpfs", "/target", "sh", "-c"];
            let script = "echo x >/target/file; grep -c ' /target ' /proc/self/mountinfo";
            let output = run(&[line.as_slice(), &[script]].concat());
            // Either it was a directory at that moment, and is covered; or a link to what is not inside, and an error.
            match output.status.code() {
                Some(0) => outcomes[0] += 1,
                _ => outcomes[1] += 1,
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(swap.join().expect("it ends") > 100, "there was a race");
        assert!(outcomes[0] > 0 && outcomes[1] > 0, "both happened: {outcomes:?}");
    });
    let names: Vec<_> = std::fs::read_dir(&canary)
        .expect("it can be read")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(names, ["untouched"]);
    assert_eq!(host("grep", &["-c", &canary, "/proc/self/mountinfo"]), before);
}

/// CVE-2017-5226, CVE-2019-10063: typing into the terminal that is shared, also with a number whose upper half is not 0.
#[test]
fn nothing_is_typed_into_a_shared_terminal() {
    let test = "nothing_is_typed_into_a_shared_terminal";
    if !need(test, &["script", "perl"]) {
        return;
    }
    if std::fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").is_ok_and(|text| text.trim() == "0") {
        eprintln!("skipped: {test}: this kernel has no TIOCSTI");
        return;
    }
    let ioctl = if cfg!(target_arch = "x86_64") { 16 } else { 29 };
    let attack = format!(
        "my @said; for my $n (0x5412, 0x5412 + 2**32, 0x541c) {{ my $c = \"x\"; \
         push @said, syscall({ioctl}, 0, $n, $c) == 0 ? \"typed\" : \"no\" }} print \"said @said\\n\""
    );
    let scratch = Scratch::new();
    let file = scratch.path("attack.pl");
    std::fs::write(&file, attack).expect("the file can be made");
    let target = Waiting::new(&["-Ur"]);
    let pid = target.inside();
    let says = |words: &str| {
        let output = on_terminal(&format!("{words} perl {file}")).output().expect("script starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let sept = path();
    assert!(says("").contains("said typed typed"), "without a guard it works");
    for words in [
        format!("{sept} run"),
        format!("{sept} run -U"),
        format!("{sept} enter {pid}"),
        format!("{sept} run --seccomp strict"),
    ] {
        let said = says(&words);
        assert!(said.contains("said no no no"), "{words}: {said}");
    }
}

/// CVE-2014-8989: a file that denies a group, and a process that would drop the group.
#[test]
fn a_group_that_is_denied_stays_denied() {
    let test = "a_group_that_is_denied_stays_denied";
    if !is_root() {
        eprintln!("skipped: {test}: only root can give a process that group");
        return;
    }
    if !need(test, &["setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    let (file, sept) = (scratch.path("file"), scratch.path("sept"));
    std::fs::write(&file, "secret").expect("the file can be made");
    host("cp", &[&path(), &sept]);
    for (mode, what) in [("755", scratch.0.to_str().expect("UTF-8")), ("755", &sept), ("604", &file)] {
        host("chmod", &[mode, what]);
    }
    host("chown", &["root:4321", &file]);
    let reads = |groups: &str, words: &[&str]| {
        let line = ["--reuid", "65534", "--regid", "65534", "--groups", groups];
        let output = Command::new("setpriv").args(line).args(words).args(["cat", &file]).output();
        output.expect("setpriv starts").status.success()
    };
    assert!(reads("65534", &[]) && !reads("4321", &[]), "the file denies the group");
    for words in [
        ["run", "-Ur"].as_slice(),
        &["run", "-Ur", "-G", "0"],
        &["unshare", "-Ur"],
        &["run", "-Ur", "--namespaces", "none"],
    ] {
        assert!(!reads("4321", &[&[sept.as_str()], words].concat()), "{words:?}");
    }
}

/// CVE-2019-16884: a file system on /proc that is none of processes.
#[test]
fn a_decoy_on_proc_gets_no_map() {
    let script = format!("{} run -Ur true", path());
    let output = run(&["--no-proc", "--tmpfs", "/proc", "sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert!(stderr(&output).contains("no proc file system"), "{}", stderr(&output));
}

/// CVE-2024-32462 and others: helpers of the attacker's choice.
#[test]
fn helpers_come_from_no_path_of_the_callers() {
    let test = "helpers_come_from_no_path_of_the_callers";
    let name = host("id", &["-un"]);
    if !std::fs::read_to_string("/etc/subuid").unwrap_or_default().contains(&format!("{name}:")) {
        eprintln!("skipped: {test}: this user has no subordinate ids");
        return;
    }
    let scratch = Scratch::new();
    let trap = scratch.path("trap");
    for helper in ["newuidmap", "newgidmap"] {
        let file = scratch.path(helper);
        std::fs::write(&file, format!("#!/bin/sh\ntouch {trap}\n")).expect("the file can be made");
        host("chmod", &["755", &file]);
    }
    let hostile = format!("{}:/usr/bin:/bin", scratch.0.display());
    for words in [["run", "--map-auto", "true"], ["unshare", "--map-auto", "true"]] {
        let mut command = sept();
        command.env("PATH", &hostile).env("LD_PRELOAD", "/no/such/library.so").args(words);
        let output = command.output().expect("sept starts");
        assert!(output.status.success(), "{}", stderr(&output));
        // A dynamic loader would say that the library is not there, for the helper; sept itself here is what it is.
        assert!(!std::path::Path::new(&trap).exists());
    }
}

/// A read-only bind whose submounts are not, and one that is writable for a moment.
#[test]
fn a_read_only_bind_is_read_only_all_the_way_and_from_the_start() {
    let sept = path();
    let inner =
        "touch /mnt/x 2>/dev/null && echo above; touch /mnt/below/x 2>/dev/null && echo below; echo done";
    let writable = |option: &str| {
        let script = format!(
            "mkdir /tmp/src && mkdir /tmp/src/below && mount -t tmpfs none /tmp/src/below && \
                              {sept} run {option} /tmp/src /mnt sh -c '{inner}'"
        );
        stdout(&run(&["--tmpfs", "/tmp", "sh", "-c", &script]))
    };
    if sept.starts_with("/tmp/") {
        eprintln!(
            "skipped: a_read_only_bind_is_read_only_all_the_way_and_from_the_start: the executable lies in /tmp"
        );
        return;
    }
    assert_eq!(writable("--bind"), "above\nbelow\ndone", "it could be written");
    assert_eq!(writable("--ro-bind"), "done");
}

#[test]
fn no_mount_is_made_first_and_restricted_afterwards() {
    let test = "no_mount_is_made_first_and_restricted_afterwards";
    if !need(test, &["strace"]) {
        return;
    }
    let scratch = Scratch::new();
    let log = scratch.path("log");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", &log, "-e", "trace=mount,mount_setattr,move_mount", &path()])
        .args(["run", "--ro-bind", "/etc", "/mnt", "--tmpfs", "/media", "true"])
        .stdin(Stdio::null())
        .status();
    assert!(status.expect("strace starts").success());
    let calls = std::fs::read_to_string(&log).expect("the log can be read");
    assert!(!calls.contains("MS_REMOUNT") && !calls.contains("MS_BIND"), "{calls}");
    // The bind is made detached, restricted, and only then attached; open_tree_attr(2) does the first two in one.
    let restricts = |line: &&str| {
        ["MOUNT_ATTR_RDONLY", "open_tree_attr", "syscall_0x1d3"].iter().any(|word| line.contains(word))
    };
    let mut after = calls.lines().skip_while(|line| !restricts(line)).skip(1);
    assert!(after.next().is_some_and(|line| line.contains("move_mount")), "{calls}");
}
