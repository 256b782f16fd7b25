//! Kernels before Linux 5.12, by a filter that has no mount_setattr(2), and before 6.15, which have no open_tree_attr(2).

mod common;

use std::io::Write;
use std::process::{Output, Stdio};

use common::{Scratch, sept, stderr, stdout};

/// `sept run` with these arguments, where mount_setattr(2) is not there. Calls that sept does not know are not there either.
struct Older {
    scratch: Scratch,
}

impl Older {
    fn new() -> Self {
        let scratch = Scratch::new();
        let policy = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
            [{"names": ["mount_setattr"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}"#;
        std::fs::write(scratch.path("policy"), policy).expect("a file can be made");
        Self { scratch }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = sept();
        command.args(["run", "--namespaces", "none", "--seccomp", &self.scratch.path("policy")]);
        command.args([&common::path(), "run"]).args(args);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sept starts");
        child.stdin.take().expect("input is piped").write_all(b"data\n").ok();
        child.wait_with_output().expect("it ends")
    }

    /// What the uppermost mounts at and below a place allow, by the place.
    fn attributes(&self, args: &[&str], below: &str) -> Vec<(String, String)> {
        let text = stdout(&self.run(&[args, &["cat", "/proc/self/mountinfo"]].concat()));
        let mut found: Vec<(String, String)> = Vec::new();
        for fields in text.lines().map(|line| line.split(' ').collect::<Vec<_>>()) {
            let (place, attributes, tags) = (fields[4].to_owned(), fields[5], fields[6]);
            if place == below || place.starts_with(&format!("{below}/")) {
                found.retain(|(other, _)| *other != place);
                found.push((place, format!("{attributes} {tags}")));
            }
        }
        found
    }
}

#[test]
fn a_bind_is_restricted_with_all_below_it() {
    let older = Older::new();
    let found = older.attributes(&["--ro-bind", "/", "/mnt"], "/mnt");
    assert!(found.len() > 2, "{found:?}");
    for (place, attributes) in &found {
        // What the host has on its /mnt itself lies in it twice: not below the bind, as far as paths go.
        let outside =
            !place.starts_with("/mnt/mnt/") && std::path::Path::new(place).exists() && place != "/mnt";
        assert!(outside || attributes.starts_with("ro,nosuid,nodev"), "{place} {attributes}");
    }
    let output = older.run(&["--ro-bind", "/", "/mnt", "touch", "/mnt/dev/shm/sept-x"]);
    assert!(stderr(&output).contains("Read-only"), "{}", stderr(&output));
    let output = older.run(&["--read-only", "--no-dev", "touch", "/dev/shm/sept-x"]);
    assert!(stderr(&output).contains("Read-only"), "{}", stderr(&output));
}

#[test]
fn words_mean_the_same() {
    let older = Older::new();
    let one = |args: &[&str]| {
        let found = older.attributes(args, "/mnt");
        found.into_iter().find(|(place, _)| place == "/mnt").expect("it is mounted").1
    };
    let found = one(&["--options", "nosymfollow,nodiratime,noatime,shared", "--tmpfs", "/mnt"]);
    assert!(found.starts_with("rw,nosuid,nodev,noatime,nodiratime,nosymfollow shared:"), "{found}");
    let found = one(&["--tmpfs", "/mnt", "--options", "ro,noexec,strictatime", "--remount", "/mnt"]);
    assert!(found.starts_with("ro,nosuid,nodev,noexec -"), "{found}");
    let found = one(&["--options", "noatime", "--tmpfs", "/mnt", "--remount-ro", "/mnt"]);
    assert!(found.starts_with("ro,nosuid,nodev,noatime"), "{found}");
    let found = one(&["--ro-bind-data", "0", "/etc/passwd", "--options", "noexec", "--bind", "/usr", "/mnt"]);
    assert!(found.starts_with("rw,nosuid,nodev,noexec,"), "{found}");
    let data = older.attributes(&["--ro-bind-data", "0", "/etc/passwd"], "/etc/passwd");
    assert!(data[0].1.starts_with("ro,nosuid,nodev"), "{data:?}");
    let masked = older.attributes(&["--mask", "/etc/passwd"], "/etc/passwd");
    assert!(masked[0].1.contains("nosuid,noexec"), "{masked:?}");
}

#[test]
fn a_root_of_its_own_is_read_only() {
    let older = Older::new();
    let root = older.scratch.path("root");
    for dir in ["usr", "bin", "lib", "lib64", "proc", "dev", "sys", "a b"] {
        std::fs::create_dir_all(format!("{root}/{dir}")).expect("a directory can be made");
    }
    let mut line = vec!["--root", &root, "--read-only", "--tmpfs", "/a b", "--options", "rro"];
    line.extend(["--bind", "/usr", "/usr"]);
    for dir in ["/bin", "/lib", "/lib64"].into_iter().filter(|dir| std::path::Path::new(dir).exists()) {
        line.extend(["--ro-bind", dir, dir]);
    }
    // The blank is three digits in mountinfo.
    line.extend(["--remount-ro", "/a b", "sh", "-c", "touch /x; touch '/a b/x'; touch /usr/x"]);
    let output = older.run(&line);
    assert_eq!(stderr(&output).matches("Read-only").count(), 3, "{}", stderr(&output));
}

#[test]
fn mapped_owners_are_refused_with_the_reason() {
    let output = Older::new().run(&["--options", "X-mount.idmap=0:1:1", "--bind", "/usr", "/mnt", "true"]);
    assert_eq!(output.status.code(), Some(125));
    let reason = if common::is_root() { "need Linux 5.12" } else { "takes CAP_SYS_ADMIN" };
    assert!(stderr(&output).contains(reason), "{}", stderr(&output));
}
