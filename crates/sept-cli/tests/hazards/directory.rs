//! Where the command stands: the caller's directory may lie below what is mounted, and its name may lead elsewhere inside.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use crate::common::{Scratch, is_root, need_root, path, run, sept, skip, stderr, stdout};
use crate::{printed, root_of};

fn run_in(dir: &str, args: &[&str]) -> Output {
    sept().current_dir(dir).arg("run").args(args).output().expect("sept starts")
}

/// A directory with a file `key`, and one `sub` with another.
fn project(scratch: &Scratch) -> String {
    let dir = scratch.path("project");
    fs::create_dir_all(format!("{dir}/sub")).expect("directories can be made");
    for file in ["key", "sub/key"] {
        fs::write(format!("{dir}/{file}"), "secret\n").expect("a file can be made");
    }
    dir
}

#[test]
fn what_lies_over_the_callers_directory_is_what_the_command_sees() {
    let scratch = Scratch::new();
    let dir = project(&scratch);
    let above = scratch.path("");
    let script = "cat key 2>/dev/null; (: >made) 2>/dev/null; echo end";
    assert_eq!(stdout(&run_in(&dir, &["--mask", "/mnt", "-w", ".", "sh", "-c", script])), "secret\nend");
    fs::remove_file(format!("{dir}/made")).expect("what was not covered was written to");
    let covers: [&[&str]; 5] = [
        &["--mask", &dir],
        &["--tmpfs", &dir],
        &["--ro-bind", "/usr", &dir],
        &["--mask", &above],
        &["--overlay-src", "/usr/lib", "--tmp-overlay", &dir],
    ];
    for cover in covers {
        for place in [[].as_slice(), &["-w", "."], &["-w", "sub"], &["-w", "sub/.."], &["-w", &dir]] {
            let output = run_in(&dir, &[cover, place, &["sh", "-c", script]].concat());
            assert!(!printed(&output).contains("secret"), "{cover:?} {place:?}: {}", printed(&output));
            for made in ["made", "sub/made"] {
                assert!(!fs::exists(format!("{dir}/{made}")).expect("it can be seen"), "{cover:?} {place:?}");
            }
        }
    }
    let output = run_in(&dir, &["--ro-bind", &dir, &dir, "-w", "sub", "sh", "-c", script]);
    assert_eq!(printed(&output), "secret\nend\n");
    assert!(!fs::exists(format!("{dir}/sub/made")).expect("it can be seen"), "it is read-only");
}

/// One that is removed has no name that anything could be mounted on, and its parent has.
#[test]
fn a_directory_without_a_name_is_left_where_something_is_covered() {
    let scratch = Scratch::new();
    let dir = project(&scratch);
    let above = scratch.path("");
    let seen = |options: &str| {
        let script = format!(
            "mkdir {dir}/gone && cd {dir}/gone && rmdir {dir}/gone && {} run {options} sh -c 'cat ../key 2>/dev/null; pwd -P'",
            path()
        );
        let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh starts");
        printed(&output)
    };
    for options in ["--mask", "--tmpfs", "--ro-bind /usr"] {
        assert_eq!(seen(&format!("{options} {above}")), "/\n", "{options}");
    }
    assert_eq!(seen("--read-only"), "/\n");
    assert!(seen("").starts_with("secret"), "nothing is covered, and nobody is sent away");
}

#[test]
fn a_mount_point_is_what_its_path_leads_to() {
    let scratch = Scratch::new();
    let dir = project(&scratch);
    for up in ["/proc/..", "/sys/..", "/proc/self/../.."] {
        let output =
            run_in(&dir, &["--mask", &format!("{up}{dir}"), "sh", "-c", "cat key 2>/dev/null; echo end"]);
        assert_eq!(printed(&output), "end\n", "{up}: {}", stderr(&output));
    }
}

/// A link that leads through a descriptor of sept's own, to the host's /proc, whose parent is the host's root.
#[test]
fn the_name_of_the_callers_directory_leads_through_no_link_of_procfs() {
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    let canary = scratch.path("canary");
    fs::write(&canary, "canary\n").expect("a file can be made");
    let here = scratch.path("here");
    fs::create_dir(&here).expect("a directory can be made");
    let inside = format!("{root}{here}");
    fs::create_dir_all(inside.rsplit_once('/').expect("an absolute path").0)
        .expect("directories can be made");
    let script = format!("cat ..{canary} 2>/dev/null; echo end");
    let cloned = ["--read-only", "--bind", &root, "/mnt"];
    let roots: [&[&str]; 3] = [
        &["--bind", &root, "/"],
        &["--ro-bind", &root, "/"],
        &["--overlay-src", &root, "--tmp-overlay", "/"],
    ];
    assert_eq!(stdout(&run_in(&here, &[&cloned, ["sh", "-c", &script].as_slice()].concat())), "end");
    for number in 3..12 {
        std::os::unix::fs::symlink(format!("/proc/self/fd/{number}"), &inside).expect("a link can be made");
        for base in roots {
            for place in [[].as_slice(), &["-w", "."]] {
                let options = [base, &["--ro-bind", "/usr", "/usr"], place];
                let output = run_in(&here, &[&options.concat(), ["sh", "-c", &script].as_slice()].concat());
                assert!(!printed(&output).contains("canary"), "{number} {options:?}");
                let code = output.status.code();
                assert_eq!(code, Some(if place.is_empty() { 0 } else { 125 }), "{}", stderr(&output));
            }
        }
        fs::remove_file(&inside).expect("the link can be removed");
    }
    fs::create_dir(&inside).expect("a directory can be made");
    let options = ["--bind", &root, "/", "--ro-bind", "/usr", "/usr", "-w", ".", "pwd"];
    assert_eq!(stdout(&run_in(&here, &options)), here);
}

/// `..` of the top leads to what lies over it. Several mounts on `/`, and the upper directory of an overlay, had the host's root left there.
#[test]
fn nothing_of_the_old_root_lies_over_the_new_one() {
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    let canary = scratch.path("canary");
    fs::write(&canary, "canary\n").expect("a file can be made");
    let bind = ["--bind", &root, "/"];
    let overlay = ["--overlay-src", &root, "--tmp-overlay", "/"];
    let stacks: [&[&[&str]]; 8] = [
        &[&bind],
        &[&bind, &bind],
        &[&["--tmpfs", "/"], &bind],
        &[&overlay],
        &[&overlay, &overlay, &bind],
        &[&["--overlay-src", "/usr"], &["--overlay-src", &root], &["--ro-overlay", "/"]],
        &[&["--root", &root], &bind],
        &[&["--root", &root], &overlay],
    ];
    let script =
        format!("cat /..{canary} ..{canary} 2>/dev/null; cut -d' ' -f5 /proc/self/mountinfo | grep -x /");
    for stack in stacks {
        let options = [stack.concat(), vec!["--ro-bind", "/usr", "/usr", "sh", "-c", &script]].concat();
        assert_eq!(stdout(&run(&options)), "/", "{stack:?}");
    }
}

#[test]
fn a_relative_path_for_landlock_begins_where_the_caller_is() {
    let test = "a_relative_path_for_landlock_begins_where_the_caller_is";
    if sept::host::probe::landlock_abi().is_err() {
        skip(test, "this kernel has no Landlock");
        return;
    }
    let scratch = Scratch::new();
    let dir = project(&scratch);
    let script = ": >inside && echo inside; (: >../outside) 2>/dev/null && echo outside; test -r /etc/passwd && cat /etc/passwd";
    for kinds in [[].as_slice(), &["--namespaces", "none"]] {
        let rules = ["--landlock-exec", "/usr", "--landlock-rw", ".", "sh", "-c", script];
        let output = run_in(&dir, &[kinds, &rules].concat());
        assert_eq!(printed(&output), "inside\n", "{kinds:?}: {}", stderr(&output));
    }
    let root = root_of(&scratch);
    let output = run_in(&dir, &["--root", &root, "--landlock-rw", ".", "true"]);
    let message = stderr(&output);
    assert!(output.status.code() == Some(125) && message.contains("is not an absolute one"), "{message}");
}

#[test]
fn limits_stay_where_the_caller_stands_among_the_cgroups() {
    let test = "limits_stay_where_the_caller_stands_among_the_cgroups";
    if !is_root() || !run(&["--pids", "20", "true"]).status.success() {
        skip(test, "it takes the right to make cgroups");
        return;
    }
    let base = "/sys/fs/cgroup";
    let name = if fs::exists(format!("{base}/pids")).expect("it can be seen") { "pids" } else { "." };
    let script = "echo 0 >cgroup.procs && echo escaped; echo end";
    let hierarchy = format!("{base}/{name}");
    let places: [(&str, &[&str]); 3] = [(&hierarchy, &[]), (&hierarchy, &["-w", "."]), (base, &["-w", name])];
    for (dir, place) in places {
        let output = run_in(dir, &[&["--pids", "20"], place, &["sh", "-c", script]].concat());
        assert_eq!(printed(&output), "end\n", "{dir} {place:?}");
    }
}

/// The device files of a root are the host's, bound: who is root changes what is not read-only.
#[test]
fn the_hosts_device_files_keep_their_mode() {
    if !need_root("the_hosts_device_files_keep_their_mode", "nobody else may change it") {
        return;
    }
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    let mode = || fs::metadata("/dev/full").expect("it is there").permissions();
    let before = mode();
    let options = ["--root", &root, "--ro-bind", "/usr", "/usr"];
    let script = "chmod 600 /dev/full; chown 1:1 /dev/full; echo x >/dev/null && echo works";
    let output = run(&[&options, ["sh", "-c", script].as_slice()].concat());
    let shown = run(&[&options, ["--device", "/dev/full", "sh", "-c", script].as_slice()].concat());
    let after = mode();
    fs::set_permissions("/dev/full", before.clone()).expect("it can be set back");
    std::os::unix::fs::chown("/dev/full", Some(0), Some(0)).expect("it can be set back");
    assert_eq!(before.mode(), after.mode());
    assert_eq!([printed(&output), printed(&shown)], ["works\n", "works\n"], "{}", stderr(&shown));
}
