//! What the OCI runtime specification and mount(8) can say about mounts: options, own file systems, devices, mapped owners.

mod common;

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output, Stdio};

use common::{Scratch, host, is_root, need, need_root, run, sept, skip, stderr, stdout};

fn refused(args: &[&str], reason: &str) {
    let output = run(&[args, &["true"]].concat());
    assert_eq!(output.status.code(), Some(125), "{args:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(reason), "{args:?}: {}", stderr(&output));
}

fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("input is piped").write_all(input.as_bytes()).expect("it is taken");
    child.wait_with_output().expect("it ends")
}

/// The lines of mountinfo for a mount point: attributes of the mount, tags, file system, source, its options.
fn mountinfo(args: &[&str], point: &str) -> Vec<[String; 5]> {
    let text = stdout(&run(&[args, &["cat", "/proc/self/mountinfo"]].concat()));
    let lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let at_point = lines.filter(|fields| fields[4] == point);
    let fields = |fields: Vec<&str>| {
        let dash = fields.iter().position(|field| *field == "-").expect("the separator is there");
        let tags = fields[6..dash].join(" ");
        [fields[5], &tags, fields[dash + 1], fields[dash + 2], fields[dash + 3]].map(str::to_owned)
    };
    at_point.map(fields).collect()
}

/// The attributes of the uppermost mount there.
fn attributes(args: &[&str], point: &str) -> String {
    mountinfo(args, point).pop().expect("it is mounted")[0].clone()
}

#[test]
fn data_is_bound_on_a_file_and_leaves_it_alone() {
    let scratch = Scratch::new();
    let file = scratch.path("file");
    std::fs::write(&file, "below\n").expect("a file can be made");
    // More than one buffer's worth.
    let content = "0123456789abcde\n".repeat(1000);
    let script = format!("cat {file}; stat -c '%a %s' {file}; echo more >{file}; cat {file}");
    let output = with_input(sept().args(["run", "--bind-data", "0", &file, "sh", "-c", &script]), &content);
    assert_eq!(stdout(&output), format!("{content}600 16000\nmore"));
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "below\n");
    let script = format!("cat {file}; stat -c %a {file}; echo more >{file}");
    let line = ["run", "--perms", "0444", "--ro-bind-data", "0", &file, "sh", "-c", &script];
    let output = with_input(sept().args(line), "short");
    assert!(stderr(&output).contains("Read-only"), "{}", stderr(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "short444\n");
    // A mount point of its own is made in a tmpfs only.
    let line = ["run", "--tmpfs", "/mnt", "--bind-data", "0", "/mnt/a/b", "cat", "/mnt/a/b"];
    assert_eq!(stdout(&with_input(sept().args(line), "made")), "made");
    refused(&["--bind-data", "0", &scratch.path("none")], "there is no");
    refused(&["--bind-data", "77", "/etc/passwd"], "not open");
    assert!(!host("cat", &["/proc/self/mountinfo"]).contains(scratch.0.to_str().expect("UTF-8")));
}

#[test]
fn data_is_bound_on_kernels_that_clone_only_what_is_attached() {
    if !need("data_is_bound_on_kernels_that_clone_only_what_is_attached", &["strace"]) {
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.path("file");
    std::fs::write(&file, "below\n").expect("a file can be made");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=open_tree"]);
    // With the right to mount nothing is kept in its place before.
    strace.args(["-e", "inject=open_tree:error=EINVAL:when=1", &common::path(), "run", "-w", "/etc"]);
    strace.args(["--cap-add", "sys_admin"]);
    strace.args(["--bind-data", "0", &file, "sh", "-c", "pwd; cat \"$0\"; cat /proc/self/mountinfo", &file]);
    let text = stdout(&with_input(&mut strace, "data\n"));
    assert!(text.starts_with("/etc\ndata\n"), "{text}");
    // Nothing is left of the tmpfs but the one file.
    let at_root = |text: &str| text.lines().filter(|line| line.split(' ').nth(4) == Some("/")).count();
    assert_eq!(at_root(&text), at_root(&host("cat", &["/proc/self/mountinfo"])), "{text}");
    assert_eq!(text.matches(" /data ").count(), 1, "{text}");
}

#[test]
fn a_device_is_shown_and_is_the_one_that_was_named() {
    let scratch = Scratch::new();
    let file = scratch.path("file");
    std::fs::write(&file, "").expect("a file can be made");
    let device = format!("/dev/zero:{file}");
    let script = format!("stat -c '%F %t:%T' {file}; head -c 3 {file} | od -An -tx1");
    let output = run(&["--device", &device, "sh", "-c", &script]);
    assert_eq!(stdout(&output), "character special file 1:5\n 00 00 00");
    let line =
        ["--dev", "/mnt", "--device", "/dev/full:/mnt/a/b", "dd", "if=/dev/zero", "of=/mnt/a/b", "count=1"];
    let output = run(&line);
    assert!(stderr(&output).contains("No space left"), "{}", stderr(&output));
    refused(&["--device", "/etc/passwd"], "is no device file");
    refused(&["--device", "/dev/no-such:/mnt"], "no such file");
}

#[test]
fn a_device_is_made_where_it_may_be_and_works() {
    if !need_root("a_device_is_made_where_it_may_be_and_works", "only root makes devices") {
        return;
    }
    let line = ["--share", "user", "--fs", "tmpfs", "none", "/mnt", "--device", "/dev/null:/mnt/d/null"];
    let script =
        "stat -c '%F %t:%T %a' /mnt/d/null; echo x >/mnt/d/null; grep -c /mnt/d /proc/self/mountinfo";
    let output = run(&[line.as_slice(), &["sh", "-c", script]].concat());
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(text, "character special file 1:3 666\n0", "{}", stderr(&output));
    // Where device files do not work, the host's is bound.
    let line = ["--share", "user", "--tmpfs", "/mnt", "--device", "/dev/null:/mnt/null"];
    let mounts = mountinfo(&line, "/mnt/null");
    assert_eq!((mounts.len(), mounts[0][0].contains("nodev")), (1, false), "{mounts:?}");
}

#[test]
fn every_attribute_is_set_on_a_new_file_system() {
    for (words, there, not_there) in [
        ("ro", "ro", "rw"),
        ("ro,rw", "rw", "ro"),
        ("suid", "rw", "nosuid"),
        ("dev", "rw", "nodev"),
        ("noexec", "noexec", ""),
        ("noexec,exec", "rw", "noexec"),
        ("noatime", "noatime", "relatime"),
        ("noatime,atime", "relatime", "noatime"),
        ("nodiratime", "nodiratime", ""),
        ("strictatime", "rw", "relatime"),
        ("strictatime,nostrictatime", "relatime", "noatime"),
        ("nosymfollow", "nosymfollow", ""),
        ("rnoexec,rnosymfollow", "noexec", ""),
        ("defaults,auto,x-y=z", "rw", "noexec"),
        ("user", "noexec", ""),
    ] {
        let found = attributes(&["--options", words, "--tmpfs", "/mnt"], "/mnt");
        let has = |word: &str| found.split(',').any(|one| one == word);
        assert!(has(there) && !has(not_there), "{words}: {found}");
    }
}

#[test]
fn words_about_the_file_system_reach_it() {
    for (args, there) in [
        (["--options", "sync,dirsync,lazytime", "--tmpfs", "/mnt"], "sync,dirsync,lazytime"),
        (["--options", "ro", "--tmpfs", "/mnt"], "ro"),
        (
            ["--options", "size=64k,nr_inodes=10,mode=1700", "--tmpfs", "/mnt"],
            "size=64k,nr_inodes=10,mode=1700",
        ),
        (["--options", "hidepid=2,subset=pid", "--proc", "/mnt"], "hidepid=invisible,subset=pid"),
    ] {
        let found = mountinfo(&args, "/mnt").pop().expect("it is mounted");
        let has = |word: &str| found[4].split(',').any(|one| one == word);
        assert!(there.split(',').all(has), "{args:?}: {found:?}");
    }
    let words = "newinstance,ptmxmode=0666,mode=0620,nosuid,noexec";
    let found = mountinfo(&["--options", words, "--fs", "devpts", "pts", "/mnt"], "/mnt").pop();
    let [attributes, _, kind, source, data] = found.expect("it is mounted");
    assert_eq!((kind.as_str(), source.as_str()), ("devpts", "pts"));
    assert!(data.contains("mode=620,ptmxmode=666") && attributes.contains("nosuid"), "{attributes} {data}");
    // Nothing is set that was not asked for.
    assert_eq!(attributes_of_fs("tmpfs"), "rw,relatime");
    // `ro` of the file system alone leaves the mount's as it is.
    let found = mountinfo(&["--options", "ro=fs", "--tmpfs", "/mnt"], "/mnt").pop().expect("it is mounted");
    assert!(found[0].starts_with("rw") && found[4].starts_with("ro"), "{found:?}");
    let found = mountinfo(&["--options", "ro=vfs", "--tmpfs", "/mnt"], "/mnt").pop().expect("it is mounted");
    assert!(found[0].starts_with("ro") && found[4].starts_with("rw"), "{found:?}");
}

fn attributes_of_fs(kind: &str) -> String {
    attributes(&["--fs", kind, "none", "/mnt"], "/mnt")
}

/// A directory with another one in it, on which a tmpfs is mounted inside.
fn nested(scratch: &Scratch) -> (String, String) {
    let (outer, inner) = (scratch.path("outer"), scratch.path("outer/inner"));
    std::fs::create_dir_all(&inner).expect("directories can be made");
    (outer, inner)
}

#[test]
fn read_only_reaches_below_only_if_it_says_so() {
    let scratch = Scratch::new();
    let (outer, inner) = nested(&scratch);
    let sept = common::path();
    let around = ["--cap-add", "sys_admin", "--tmpfs", &inner, &sept, "run", "--share", "user"];
    let script = "touch /mnt/x 2>/dev/null && echo top; touch /mnt/inner/x 2>/dev/null && echo below; true";
    for (words, option, writable) in [
        ("ro", "--bind", "below"),
        ("rro", "--bind", ""),
        ("ro=recursive", "--bind", ""),
        ("rro,rw", "--bind", "top"),
        ("noexec", "--bind", "top\nbelow"),
        // Ours is recursive in itself.
        ("noexec", "--ro-bind", ""),
        ("rw", "--ro-bind", "top"),
        // The mount below is left out, and what it covers comes to light.
        ("bind", "--bind", "top\nbelow"),
        ("bind,ro", "--bind", ""),
    ] {
        let line = ["--options", words, option, &outer, "/mnt", "sh", "-c", script];
        assert_eq!(stdout(&run(&[around.as_slice(), &line].concat())), writable, "{option} with {words}");
    }
    let line = [around.as_slice(), &["--options", "bind", "--bind", &outer, "/mnt"]].concat();
    assert_eq!(mountinfo(&line, "/mnt/inner").len(), 0);
    let line = [around.as_slice(), &["--options", "rbind,rnoexec", "--bind", &outer, "/mnt"]].concat();
    assert!(attributes(&line, "/mnt/inner").contains("noexec"));
    // Across the border of a user namespace, what a mount covers stays covered.
    let line = [&around[..6], &["--options", "bind", "--bind", &outer, "/mnt"]].concat();
    refused(&line, "rbind instead of bind");
    assert!(std::path::Path::new(&format!("{outer}/x")).exists());
}

#[test]
fn a_source_is_what_the_host_has_there() {
    let scratch = Scratch::new();
    let (outer, inner) = nested(&scratch);
    std::fs::write(format!("{inner}/file"), "").expect("a file can be made");
    // Whatever was mounted on it, above it or below it before.
    for (covered, source, file) in
        [(&inner, &inner, "/mnt/file"), (&outer, &inner, "/mnt/file"), (&inner, &outer, "/mnt/inner/file")]
    {
        let line = ["--tmpfs", covered, "--ro-bind", source, "/mnt", "ls", file];
        assert_eq!(stdout(&run(&line)), file, "{source} after {covered}");
    }
    let script = format!("touch /mnt/made && ! touch {inner}/other 2>/dev/null");
    let output = run(&["--read-only", "--bind", &inner, "/mnt", "sh", "-c", &script]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(std::path::Path::new(&format!("{inner}/made")).exists());
    let line =
        ["--tmpfs", "/dev", "--device", "/dev/full", "--bind-try", "/dev/null", "/dev/null", "ls", "/dev"];
    assert_eq!(stdout(&run(&line)), "full\nnull");
}

#[test]
fn what_covers_a_directory_counts_for_what_comes_after() {
    let line = ["--tmpfs", "/mnt", "--dir", "/mnt/a/x", "--mask", "/mnt/a", "--dir", "/mnt/a/y"];
    refused(&line, "nothing is made on the host unasked");
    let line = [
        "--tmpfs", "/mnt", "--dir", "/mnt/a/x", "--tmpfs", "/mnt/a", "--dir", "/mnt/a/y", "--tmpfs",
        "/mnt/a/z",
    ];
    assert_eq!(stdout(&run(&[line.as_slice(), &["ls", "/mnt/a"]].concat())), "y\nz");
    // By way of a link, too.
    let line = [
        "--tmpfs",
        "/mnt",
        "--dir",
        "/mnt/a",
        "--symlink",
        "a",
        "/mnt/b",
        "--tmpfs",
        "/mnt/b",
        "--dir",
        "/mnt/a/y",
    ];
    assert_eq!(
        stdout(&run(&[line.as_slice(), &["ls", "/mnt/a", "/mnt/b"]].concat())),
        "/mnt/a:\ny\n\n/mnt/b:\ny"
    );
}

#[test]
fn too_few_descriptors_for_covered_sources_are_told() {
    let binds = (0..40).map(|n| format!("--bind /etc/passwd /etc/{n}")).collect::<Vec<_>>().join(" ");
    let line = format!("ulimit -n 24; {} run --tmpfs /etc {binds} ls /etc", common::path());
    let output = Command::new("sh").args(["-c", &line]).output().expect("sh starts");
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("40 sources of binds are covered"), "{}", stderr(&output));
    let line = line.replace("ulimit -n 24", "ulimit -n 64");
    let output = Command::new("sh").args(["-c", &line]).output().expect("sh starts");
    assert_eq!(stdout(&output).lines().count(), 40);
}

#[test]
fn propagation_is_set_for_one_mount_or_all_below() {
    let scratch = Scratch::new();
    let (outer, inner) = nested(&scratch);
    let tags = |words: &str, propagation: &str| {
        // Shared in the namespace around, whatever the host has.
        let sept = common::path();
        // And with the right to mount: else who hides what may be renamed refuses namespaces.
        let around = ["--propagation", "shared", "--tmpfs", &inner, "--cap-add", "sys_admin", &sept, "run"];
        let within = ["--propagation", propagation, "--options", words, "--bind", &outer, "/mnt"];
        let line = [around.as_slice(), &within].concat();
        let of = |point| {
            let tags = mountinfo(&line, point).pop().expect("it is mounted")[1].clone();
            tags.split(' ').filter_map(|tag| tag.split(':').next()).collect::<Vec<_>>().join(" ")
        };
        (of("/mnt"), of("/mnt/inner"))
    };
    let pair = |one: &str, two: &str| (one.to_owned(), two.to_owned());
    assert_eq!(tags("slave", "slave"), pair("master", "master"));
    assert_eq!(tags("private", "slave"), pair("", "master"));
    assert_eq!(tags("rprivate", "slave"), pair("", ""));
    assert_eq!(tags("rshared", "slave"), pair("shared master", "shared master"));
    assert_eq!(tags("shared", "private"), pair("shared", ""));
    assert_eq!(tags("rshared", "private"), pair("shared", "shared"));
    assert_eq!(tags("unbindable", "private"), pair("unbindable", ""));
    assert_eq!(tags("runbindable", "private"), pair("unbindable", "unbindable"));
    assert_eq!(tags("shared,private", "private"), pair("", ""));
    let new = mountinfo(&["--options", "shared", "--tmpfs", "/mnt"], "/mnt").pop().expect("it is mounted");
    assert!(new[1].starts_with("shared:"), "{new:?}");
    refused(&["--options", "rslave", "--bind", "/usr", "/mnt"], "--propagation slave");
}

#[test]
fn a_mount_is_changed_afterwards() {
    let line = ["--tmpfs", "/mnt", "--options", "ro,noexec", "--remount", "/mnt"];
    let found = mountinfo(&line, "/mnt").pop().expect("it is mounted");
    assert!(found[0].starts_with("ro,") && found[0].contains("noexec"), "{found:?}");
    assert!(found[4].starts_with("rw"), "the file system stays: {found:?}");
    let line = ["--tmpfs", "/mnt", "--options", "size=64k", "--remount", "/mnt"];
    let found = mountinfo(&line, "/mnt").pop().expect("it is mounted");
    assert!(found[4].contains("size=64k") && found[0].contains("nosuid"), "{found:?}");
    // As the OCI configuration says it.
    let line = ["--ro-bind", "/usr", "/mnt", "--options", "bind,remount,noexec", "--bind", "/usr", "/mnt"];
    let found = mountinfo(&line, "/mnt");
    assert!(found.len() == 1 && found[0][0].starts_with("ro,"), "{found:?}");
    assert!(found[0][0].contains("noexec"), "{found:?}");
    refused(&["--remount", "/usr"], "changes nothing");
    refused(&["--options", "bind,size=1M", "--remount", "/mnt"], "file system as a whole");
}

#[test]
fn owners_are_mapped_in_a_bind_and_files_made_inside_are_the_right_ones() {
    const TEST: &str = "owners_are_mapped_in_a_bind_and_files_made_inside_are_the_right_ones";
    if !need_root(TEST, "only root maps owners") {
        return;
    }
    for base in ["/var/tmp", "/dev/shm"] {
        let dir = host("mktemp", &["-d", "-p", base, "sept-test-XXXXXXXXXX"]);
        let scratch = Scratch(dir.clone().into());
        let kind = host("stat", &["-f", "-c", "%T", &dir]);
        if !["ext2/ext3", "tmpfs", "xfs", "btrfs"].contains(&kind.as_str()) {
            skip(TEST, &format!("no mapped mounts on {kind}, perhaps"));
            continue;
        }
        std::fs::write(scratch.path("zero"), "").expect("a file can be made");
        host("chmod", &["755", &dir]);
        let ids = ["--map-users", "0:100000:65536", "--map-groups", "0:100000:65536", "-S", "0", "-G", "0"];
        let script = "stat -c '%u:%g' /mnt/zero; echo x >/mnt/made; stat -c '%u:%g' /mnt/made";
        for words in ["idmap", "ridmap", "X-mount.idmap=0:100000:65536"] {
            let bind = ["--options", words, "--bind", &dir, "/mnt", "sh", "-c", script];
            assert_eq!(stdout(&run(&[ids.as_slice(), &bind].concat())), "0:0\n0:0", "{kind} with {words}");
            let made = std::fs::metadata(scratch.path("made")).expect("it was made");
            assert_eq!((made.uid(), made.gid()), (0, 0), "{kind} with {words}");
            std::fs::remove_file(scratch.path("made")).expect("it can be removed");
        }
        // Where /proc counts processes from outside, their numbers are others there.
        let line = ["--options", "X-mount.idmap=0:0:65536", "--bind", &dir, "/mnt", "true"];
        let mut below = Command::new("unshare");
        let below = below.args(["--pid", "--fork", &common::path(), "run", "--no-proc"]).args(line).output();
        let below = below.expect("unshare starts");
        assert!(below.status.success(), "{}", String::from_utf8_lossy(&below.stderr));
        // Without the map, the owner has no number inside, and nothing can be made.
        let line = [ids.as_slice(), &["--bind", &dir, "/mnt", "sh", "-c", script]].concat();
        let output = run(&line);
        let nobody = String::from_utf8_lossy(&output.stdout).starts_with("65534:65534");
        assert!(nobody && !output.status.success(), "{output:?}");
        // Seen from outside of any user namespace: the other number; groups apart.
        let words = "X-mount.idmap=u:0:1234:1 g:0:4321:1";
        let line = [
            "--share",
            "user",
            "--options",
            words,
            "--bind",
            &dir,
            "/mnt",
            "stat",
            "-c",
            "%u:%g",
            "/mnt/zero",
        ];
        assert_eq!(stdout(&run(&line)), "1234:4321", "{kind}");
        // What is not named of a kind stays as it is.
        let line = ["--share", "user", "--options", "X-mount.idmap=u:0:7:1", "--ro-bind", &dir, "/mnt"];
        let stat = ["stat", "-c", "%u:%g", "/mnt/zero"];
        assert_eq!(stdout(&run(&[line.as_slice(), &stat].concat())), "7:0", "{kind}");
        assert!(attributes(&line, "/mnt").starts_with("ro,nosuid,nodev"), "{kind}");
    }
    refused(&["--share", "user", "--options", "idmap", "--bind", "/usr", "/mnt"], "has no map to take");
    refused(&["--options", "X-mount.idmap=0:1:1", "--bind", "/proc", "/mnt"], "has no mapped mounts");
}

#[test]
fn an_ordinary_user_is_told_why_owners_are_not_mapped() {
    let line = ["--options", "X-mount.idmap=0:1:1", "--bind", "/usr", "/mnt"];
    if is_root() {
        // Root in a user namespace has as little right to the host's file systems.
        let sept = common::path();
        let output = run(&[&[sept.as_str(), "run"], line.as_slice(), &["true"]].concat());
        assert_eq!(output.status.code(), Some(125));
        assert!(stderr(&output).contains("takes CAP_SYS_ADMIN"), "{}", stderr(&output));
    } else {
        refused(&line, "takes CAP_SYS_ADMIN");
    }
}

#[test]
fn a_user_namespace_may_not_loosen_what_is_outside() {
    let line = ["--options", "noatime", "--bind", "/usr", "/mnt"];
    refused(&line, "nobody loosens a mount of outside");
    if is_root() {
        let found = attributes(&[&["--share", "user"], line.as_slice()].concat(), "/mnt");
        assert!(found.contains("noatime"), "{found}");
    }
}

#[test]
fn options_that_do_not_fit_are_refused() {
    for word in [
        "sync",
        "async",
        "dirsync",
        "mand",
        "nomand",
        "lazytime",
        "nolazytime",
        "iversion",
        "ro=fs",
        "size=1M",
    ] {
        refused(&["--options", word, "--bind", "/usr", "/mnt"], "is about a file system as a whole");
        refused(&["--options", word, "--device", "/dev/null"], "is about a file system as a whole");
    }
    refused(&["--options", "rbind", "--tmpfs", "/mnt"], "which is a new file system");
    refused(&["--options", "idmap", "--tmpfs", "/mnt"], "only a bind is mapped");
    refused(&["--options", "tmpcopyup", "--bind", "/usr", "/mnt"], "no new tmpfs");
    refused(&["--options", "tmpcopyup", "--mqueue", "/mnt"], "no new tmpfs");
    refused(&["--options", "tmpcopyup,size=64k", "--tmpfs", "/etc"], "larger than the tmpfs may be");
    refused(&["--options", "ro", "--mask", "/mnt"], "none follows");
    refused(&["--options", "ro"], "none follows");
    refused(&["--options", "X-mount.mode=700", "--tmpfs", "/mnt"], "may take mode=");
    refused(&["--options", "nofail", "--tmpfs", "/mnt"], "--bind-try");
    for words in ["remount", "remount,bind", "remount,defaults"] {
        refused(&["--options", words, "--tmpfs", "/mnt"], "changes nothing");
        refused(&["--options", words, "--bind", "/usr", "/mnt"], "leave the word remount out");
    }
    refused(&["--options", "bogus", "--bind", "/usr", "/mnt"], "is no word of mount(8)");
    refused(&["--options", "ro,noexce", "--bind", "/usr", "/mnt"], "perhaps noexec was meant");
    refused(&["--options", "noexce", "--tmpfs", "/mnt"], "perhaps noexec was meant");
    refused(&["--options", "nonsense=1", "--tmpfs", "/mnt"], "does not take one of its options");
    refused(&["--fs", "no-such-fs", "none", "/mnt"], "no file system no-such-fs");
    let ext4 = std::fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("ext4"));
    if ext4 {
        refused(&["--fs", "ext4", "/dev/null", "/mnt"], "only some file systems");
    }
    refused(&["--options", "X-mount.idmap=0:0:0", "--bind", "/usr", "/mnt"], "maps nothing");
    refused(&["--fs", "tmpfs", "none", "relative"], "not an absolute path");
    refused(&["--bind-try", "/nowhere", "relative"], "not an absolute path");
}

#[test]
fn a_mount_point_is_made_where_its_mount_says_so() {
    let scratch = Scratch::new();
    let there = |name: &str| std::fs::metadata(scratch.path(name)).map(|found| found.mode() & 0o7777).ok();
    let tried = |words: &str, name: &str| {
        let options = ["--options", words, "--tmpfs", &scratch.path(name)];
        run(&[options.as_slice(), &["sh", "-c", "umask"]].concat())
    };
    let said = stderr(&tried("noexec", "a/b"));
    assert!(said.contains("nothing is made on the host") && there("a").is_none(), "{said}");
    let output = tried("noexec,X-mount.mkdir", "a/b");
    assert!(output.status.success() && there("a/b") == Some(0o755), "{}", stderr(&output));
    let output = tried("X-mount.mkdir=0710", "a/c");
    assert!(output.status.success() && there("a/c") == Some(0o710), "{}", stderr(&output));
    // What is there stays as it is.
    assert!(tried("X-mount.mkdir=0777", "a/c").status.success() && there("a/c") == Some(0o710));
    // A file where a file is bound, and only the one mount may.
    let (file, other) = (scratch.path("file"), scratch.path("d/other"));
    let line =
        ["--options", "X-mount.mkdir", "--bind", "/etc/passwd", &file, "--bind", "/usr", &other, "true"];
    let said = stderr(&run(&line));
    assert!(said.contains("nothing is made on the host") && there("d").is_none(), "{said}");
    assert!(std::fs::metadata(&file).is_ok_and(|found| found.is_file() && found.len() == 0));
}

/// mount(8) has a flag for it that says nothing to most file systems.
#[test]
fn the_count_of_changes_is_taken_by_every_file_system() {
    for word in ["iversion", "noiversion"] {
        assert!(attributes(&["--options", word, "--tmpfs", "/mnt"], "/mnt").starts_with("rw,"), "{word}");
        let line = ["--tmpfs", "/mnt", "--options", word, "--remount", "/mnt"];
        assert!(attributes(&line, "/mnt").starts_with("rw,"), "{word}");
    }
}

#[test]
fn a_tmpfs_can_begin_with_a_copy_of_what_it_covers() {
    let scratch = Scratch::new();
    let dir = scratch.path("dir");
    let make = "mkdir -p $0/a/b && echo hi >$0/file && ln -s file $0/link && mkfifo $0/pipe && chmod 4751 $0/file && \
                chmod 700 $0/a && touch -d 2001-02-03 $0/file && head -c 100000 /dev/zero >$0/a/b/large";
    host("sh", &["-c", make, &dir]);
    let show =
        format!("cd {dir} && find . -printf '%p %y %m %s %l %TY-%Tm-%Td %U\n' | grep -v '^[.] ' | sort");
    // An ordinary user's files are root's inside.
    let list = |options: &str, then: &str| {
        let line = format!("{show}{then}");
        stdout(&run(&["-r", "--options", options, "--tmpfs", &dir, "sh", "-c", &line]))
    };
    // A tmpfs counts the size of directories in another way.
    let without_sizes = |text: &str| {
        let lines = text.lines().map(|line| match line.split(' ').collect::<Vec<_>>().as_slice() {
            [path, "d", mode, _, rest @ ..] => format!("{path} d {mode} {}", rest.join(" ")),
            _ => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let there = stdout(&run(&["-r", "sh", "-c", &show]));
    assert_eq!(without_sizes(&list("tmpcopyup", "")), without_sizes(&there));
    assert!(there.contains("./file f 4751 3  2001-02-03 0") && there.contains("./pipe p"), "{there}");
    // What is written is the copy's.
    let written = list("tmpcopyup", "; echo more >>file && rm -r a && cat file");
    assert!(written.ends_with("hi\nmore"), "{written}");
    assert_eq!(std::fs::read_to_string(format!("{dir}/file")).ok().as_deref(), Some("hi\n"));
    let refused = list("tmpcopyup,ro", "; touch new 2>&1 || true");
    assert!(refused.starts_with("./a d 700") && refused.ends_with("Read-only file system"), "{refused}");
    // Not for ever deep, and nothing where nothing is.
    let mut deep = std::path::PathBuf::from(&dir);
    (0..70).for_each(|_| deep.push("d"));
    std::fs::create_dir_all(&deep).expect("directories can be made");
    let output = run(&["--options", "tmpcopyup", "--tmpfs", &dir, "true"]);
    assert!(stderr(&output).contains("deeper than 64"), "{}", stderr(&output));
    let empty =
        run(&["--tmpfs", "/mnt", "--options", "tmpcopyup", "--tmpfs", "/mnt/new", "ls", "-A", "/mnt/new"]);
    assert_eq!(stdout(&empty), "");
}

/// As with bwrap, whose lines begin with a mount on the root.
#[test]
fn what_is_mounted_on_the_root_is_the_root() {
    let scratch = Scratch::new();
    let file = scratch.path("file");
    std::fs::write(&file, "kept\n").expect("a file can be made");
    let change = format!("echo changed 2>/dev/null >{file} && echo changed; cat {file}; pwd");
    let here = scratch.0.to_str().expect("UTF-8");
    let changed = |options: &[&str]| {
        let output = sept().arg("run").args(options).args(["sh", "-c", &change]).current_dir(here).output();
        stdout(&output.expect("sept starts"))
    };
    for at in ["/", "//.", "/usr/.."] {
        assert_eq!(changed(&["--ro-bind", "/", at]), format!("kept\n{here}"), "{at}");
    }
    assert_eq!(changed(&["--init", "--ro-bind", "/", "/"]), format!("kept\n{here}"));
    let both =
        ["--ro-bind", "/", "/", "--tmpfs", "/mnt", "--bind", here, "/mnt/here", "touch", "/mnt/here/made"];
    stdout(&run(&both));
    assert!(std::path::Path::new(&scratch.path("made")).exists(), "what comes after lies in it");
    // From an empty one; proc is in it, too.
    let links = ["bin", "lib", "lib64", "sbin"].map(|link| [format!("usr/{link}"), format!("/{link}")]);
    let mut line = vec!["--tmpfs", "/", "--ro-bind", "/usr", "/usr"];
    for [to, at] in &links {
        line.extend(["--symlink", to, at]);
    }
    let seen =
        stdout(&run(
            &[line.as_slice(), &["sh", "-c", "echo /*; echo $$; pwd; touch /new && echo made"]].concat()
        ));
    assert_eq!(seen, "/bin /lib /lib64 /proc /sbin /usr\n1\n/\nmade");
    // Over a root of its own.
    let root = scratch.path("root");
    for dir in ["proc", "dev", "sys"] {
        std::fs::create_dir_all(format!("{root}/{dir}")).expect("a directory can be made");
    }
    assert_eq!(stdout(&run(&["--root", &root, "--ro-bind", "/", "/", "cat", &file])), "kept");
    refused(&["--mask", "/"], "a mask of /");
    refused(&["--mask", "/hmoe"], "--mask-try /hmoe");
    let link = scratch.path("link");
    std::os::unix::fs::symlink("/", &link).expect("a link can be made");
    let output = run(&["--tmpfs", &link, "true"]);
    assert_eq!(output.status.code(), Some(125), "not by a link: {}", stderr(&output));
}

#[test]
fn an_earlier_step_is_named_as_the_reason() {
    refused(&["--tmpfs", "/mnt", "--chmod", "0700", "/mnt"], "--perms 0700 --tmpfs /mnt");
    refused(&["--options", "ro", "--remount", "/mnt"], "no mount point inside");
    let links = ["--tmpfs", "/mnt", "--symlink", "a", "/mnt/x", "--symlink", "b", "/mnt/x"];
    refused(&links, "already something at /mnt/x");
    refused(&["--rlimit", "nofile=0"], "below");
}
