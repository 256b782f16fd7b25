//! The files that the command sees: overlays, own files and directories, masks.

mod common;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use common::{Scratch, path, run, sept, stderr, stdout};

fn refused(args: &[&str], reason: &str) {
    let output = run(&[args, &["true"]].concat());
    assert_eq!(output.status.code(), Some(125), "{args:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(reason), "{args:?}: {}", stderr(&output));
}

/// Two directories: `f` in both, `g` in the second.
fn layers(scratch: &Scratch) -> (String, String) {
    let (one, two) = (scratch.path("one"), scratch.path("two"));
    for dir in [&one, &two] {
        std::fs::create_dir(dir).expect("a directory can be made");
    }
    for (file, text) in
        [(format!("{one}/f"), "1\n"), (format!("{two}/f"), "2\n"), (format!("{two}/g"), "g\n")]
    {
        std::fs::write(file, text).expect("a file can be made");
    }
    (one, two)
}

#[test]
fn an_overlay_merges_and_keeps_writes_to_itself() {
    let scratch = Scratch::new();
    let (one, two) = layers(&scratch);
    let sources = ["--overlay-src", one.as_str(), "--overlay-src", two.as_str()];
    let script = "cat /mnt/f /mnt/g; echo new >/mnt/f; cat /mnt/f; rm /mnt/g; ls /mnt";
    let output = run(&[sources.as_slice(), &["--tmp-overlay", "/mnt", "sh", "-c", script]].concat());
    assert_eq!(stdout(&output), "2\ng\nnew\nf");
    assert_eq!(std::fs::read_to_string(format!("{two}/f")).expect("it is there"), "2\n");
    assert!(std::path::Path::new(&format!("{two}/g")).exists());
    let script = "cat /mnt/f; echo x >/mnt/f";
    let output = run(&[sources.as_slice(), &["--ro-overlay", "/mnt", "sh", "-c", script]].concat());
    assert!(!output.status.success() && stderr(&output).contains("Read-only"), "{}", stderr(&output));
}

#[test]
fn a_layer_with_mounts_below_it_is_named_with_what_helps() {
    let output = run(&["--overlay-src", "/", "--tmp-overlay", "/", "true"]);
    let said = stderr(&output);
    assert!(output.status.code() == Some(125) && said.contains("there are mounts below / (/"), "{said}");
    let fix = said.lines().find_map(|line| line.strip_prefix(" fix: ")).expect("there is a fix");
    let options: Vec<&str> = fix.rsplit(": ").next().unwrap_or_default().split(' ').collect();
    let script = "touch /usr/sept-made && ls /usr/sept-made";
    assert_eq!(
        stdout(&run(&[options.as_slice(), &["sh", "-c", script]].concat())),
        "/usr/sept-made",
        "{said}"
    );
    assert!(!std::path::Path::new("/usr/sept-made").exists());
    // A directory that overlayfs does not take, without mounts below.
    let output = run(&["--overlay-src", "/proc/self/ns", "--tmp-overlay", "/mnt", "true"]);
    let said = stderr(&output);
    assert!(output.status.code() == Some(125) && !said.contains("mounts below"), "{said}");
}

#[test]
fn an_overlay_keeps_what_is_written_where_it_was_told() {
    let scratch = Scratch::new();
    let (one, _) = layers(&scratch);
    // Names that would mean something else in a list of options.
    let (upper, work) = (scratch.path("up:per,x"), scratch.path("work"));
    for dir in [&upper, &work] {
        std::fs::create_dir(dir).expect("a directory can be made");
    }
    let line = [
        "--overlay-src",
        &one,
        "--overlay",
        &upper,
        &work,
        "/mnt",
        "sh",
        "-c",
        "echo kept >/mnt/new; cat /mnt/f",
    ];
    assert_eq!(stdout(&run(&line)), "1");
    assert_eq!(std::fs::read_to_string(format!("{upper}/new")).expect("it is kept"), "kept\n");
    assert!(!std::path::Path::new(&format!("{one}/new")).exists());
    // What overlayfs leaves in its own directory only root may open.
    common::host("chmod", &["-R", "u+rwX", &work]);
}

#[test]
fn mount_points_can_be_made_in_an_overlay_of_ones_own() {
    let scratch = Scratch::new();
    let (one, _) = layers(&scratch);
    let line = [
        "--overlay-src",
        &one,
        "--tmp-overlay",
        "/mnt",
        "--bind",
        "/usr",
        "/mnt/a/b",
        "ls",
        "-d",
        "/mnt/a/b/bin",
    ];
    assert_eq!(stdout(&run(&line)), "/mnt/a/b/bin");
    assert!(!std::path::Path::new(&format!("{one}/a")).exists());
}

#[test]
fn files_directories_and_links_are_made_with_their_modes() {
    let mut child = sept()
        .args([
            "run",
            "--tmpfs",
            "/mnt",
            "--perms",
            "0711",
            "--dir",
            "/mnt/d/e",
            "--file",
            "0",
            "/mnt/d/file",
        ])
        .args(["--symlink", "d/file", "/mnt/link", "--chmod", "0440", "/mnt/d/file", "sh", "-c"])
        .arg("cat /mnt/link; stat -c '%a %n' /mnt/d /mnt/d/e /mnt/d/file; readlink /mnt/link")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sept starts");
    // More than one buffer's worth.
    let content = "0123456789abcde\n".repeat(1000);
    child.stdin.take().expect("input is piped").write_all(content.as_bytes()).expect("it is taken");
    let output = child.wait_with_output().expect("it ends");
    let text = stdout(&output);
    let rest = text.strip_prefix(&content).expect("the whole content");
    assert_eq!(rest, "755 /mnt/d\n711 /mnt/d/e\n440 /mnt/d/file\nd/file");
}

#[test]
fn a_tmpfs_has_the_mode_and_size_that_were_asked_for() {
    let script = "stat -c %a /mnt; head -c 200000 /dev/zero >/mnt/x; stat -c %s /mnt/x";
    let output = run(&["--perms", "1770", "--size", "64K", "--tmpfs", "/mnt", "sh", "-c", script]);
    assert_eq!(stdout(&output), "1770\n65536");
}

#[test]
fn masks_show_nothing() {
    let scratch = Scratch::new();
    let (one, _) = layers(&scratch);
    let line = ["--mask", &one, "--mask", "/etc/passwd", "--mask-try", "/no/such/place", "sh", "-c"];
    let script = format!("ls -A {one}; cat /etc/passwd; touch {one}/x");
    let output = run(&[line.as_slice(), &[script.as_str()]].concat());
    assert!(output.stdout.is_empty() && stderr(&output).contains("Read-only"), "{output:?}");
}

#[test]
fn mounts_can_be_made_read_only_afterwards() {
    let output = run(&[
        "--tmpfs",
        "/mnt",
        "--dir",
        "/mnt/d",
        "--tmpfs",
        "/mnt/d",
        "--remount-ro",
        "/mnt",
        "sh",
        "-c",
        "touch /mnt/x || touch /mnt/d/x",
    ]);
    assert!(
        !output.status.success() && stderr(&output).matches("Read-only").count() == 2,
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_link_is_made_on_the_host_where_that_is_insisted_on() {
    let scratch = Scratch::new();
    let link = scratch.path("link");
    let line = ["--create=host", "--symlink", "to", &link, "readlink", &link];
    assert_eq!(stdout(&run(&line)), "to");
    assert!(std::fs::read_link(&link).is_ok_and(|to| to == std::path::Path::new("to")));
    refused(&["--symlink", "to", &scratch.path("other")], "nothing is made on the host unasked");
}

#[test]
fn a_file_has_the_mode_that_the_umask_leaves() {
    let script = r#"umask 027; "$0" run --tmpfs /mnt --file 0 /mnt/one --perms 0666 --file 3 /mnt/two \
        stat -c %a /mnt/one /mnt/two </dev/null 3</dev/null"#;
    let output = std::process::Command::new("sh").args(["-c", script, &path()]).output();
    assert_eq!(stdout(&output.expect("sh starts")), "640\n666");
}

/// Of the caller's mounts nothing can be copied in a namespace of one's own: the place is found again by its name.
#[test]
fn a_descriptor_can_be_bound() {
    let scratch = Scratch::new();
    let (one, two) = layers(&scratch);
    let shell = |script: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script, &path(), &one, &two]);
        command.output().expect("sh starts")
    };
    let bound = r#"exec 7<"$1" 8<"$1/f"; "$0" run --bind /proc/self/fd/7 /mnt sh -c 'cat /mnt/f'
        "$0" run --tmpfs /mnt --file 0 /mnt/g --ro-bind /dev/fd/8 /mnt/g cat /mnt/g </dev/null
        mv "$1" "$1.moved"; cp -r "$2" "$1"; "$0" run --ro-bind /proc/self/fd/7 /mnt cat /mnt/f"#;
    let output = shell(bound);
    assert_eq!(stdout(&output), "1\n1\n1", "{}", stderr(&output));
    let covered = r#""$0" run -rm sh -c 'exec 7<"$1"; mount --bind "$2" "$1"
        exec "$0" run --ro-bind /proc/self/fd/7 /mnt cat /mnt/f' "$0" "$1" "$2""#;
    let output = shell(covered);
    assert!(stderr(&output).contains("its mount is not the one"), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    // Another mount of the same directory may show more, and let more be done.
    let foreign = r#"unshare -m sh -c 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; exec 7<"$1"
        exec nsenter --mount=/proc/$2/ns/mnt "$0" run --bind /proc/self/fd/7 /mnt touch /mnt/made' "$0" "$1" $$"#;
    if common::is_root() {
        let output = shell(foreign);
        assert!(stderr(&output).contains("its mount is not the one"), "{output:?}");
    }
}

#[test]
fn a_source_that_is_missing_may_be_passed_over() {
    let line =
        ["--bind-try", "/no/such/source", "/mnt", "--ro-bind-try", "/etc", "/mnt", "ls", "/mnt/passwd"];
    assert_eq!(stdout(&run(&line)), "/mnt/passwd");
    refused(&["--bind", "/no/such/source", "/mnt"], "cannot bind /no/such/source");
    // One that can't be looked at is not missing: who closes a directory must not have its guard left out.
    let scratch = common::Scratch::new();
    let (dir, round) = (scratch.path("closed"), scratch.path("round"));
    std::fs::create_dir_all(format!("{dir}/deep")).expect("directories can be made");
    std::os::unix::fs::symlink(&round, &round).expect("a link can be made");
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o000)).expect("the mode can be set");
    refused(&["--ro-bind-try", &round, "/mnt", "true"], "cannot bind");
    if !common::is_root() {
        refused(&["--ro-bind-try", &format!("{dir}/deep"), "/mnt", "true"], "permission denied");
    }
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).expect("the mode can be set");
}

#[test]
fn nothing_is_made_on_the_host_unasked() {
    for args in [
        ["--symlink", "a", "/mnt/sept-x"].as_slice(),
        &["--dir", "/mnt/sept-x"],
        &["--file", "0", "/mnt/sept-x"],
    ] {
        refused(args, "nothing is made on the host unasked");
    }
    refused(&["--chmod", "777", "/etc/passwd"], "it is not in a tmpfs or overlay of the command's own");
    assert!(!std::path::Path::new("/mnt/sept-x").exists());
    // Nor by way of a link that leads out of the own tmpfs.
    refused(
        &["--tmpfs", "/mnt", "--symlink", "/etc/passwd", "/mnt/p", "--chmod", "777", "/mnt/p"],
        "symbolic links",
    );
}

#[test]
fn the_mode_of_a_file_from_below_is_changed_in_the_overlay_only() {
    let scratch = Scratch::new();
    let (one, two) = layers(&scratch);
    let (file, bound) = (format!("{one}/f"), format!("{two}/g"));
    for file in [&file, &bound] {
        common::host("chmod", &["644", file]);
    }
    let overlay = ["--overlay-src", &one, "--tmp-overlay", "/mnt"];
    let inside = run(&[&overlay[..], &["--chmod", "600", "/mnt/f", "stat", "-c", "%a", "/mnt/f"]].concat());
    assert_eq!(stdout(&inside), "600");
    assert_eq!(common::host("stat", &["-c", "%a", &file]).trim(), "644");
    // What is bound there is the host's.
    let over = [&overlay[..], &["--bind", &bound, "/mnt/f", "--chmod", "600", "/mnt/f"]].concat();
    refused(&over, "it is not in a tmpfs or overlay of the command's own");
    assert_eq!(common::host("stat", &["-c", "%a", &bound]).trim(), "644");
}

#[test]
fn bad_words_are_refused() {
    refused(&["--perms", "9", "--dir", "/x"], "octal");
    refused(&["--perms", "700"], "none follows");
    refused(
        &["--overlay-src", "/usr", "--overlay-src", "/usr", "--tmp-overlay", "/mnt"],
        "one lies in the other",
    );
    refused(&["--tmpfs", "/mnt"].repeat(65), "no more than 64 file systems");
    refused(&["--size", "1M"], "none follows");
    refused(&["--size", "0", "--tmpfs", "/mnt"], "no limit");
    refused(&["--file", "0", "/mnt/one", "--bind-data", "0", "/mnt/two"], "named twice");
    refused(&["--overlay-src", "/"], "none follows");
    refused(&["--tmp-overlay", "/mnt"], "at least one directory below");
    refused(&["--overlay-src", "/no/such/dir", "--tmp-overlay", "/mnt"], "cannot overlay /no/such/dir");
    refused(
        &["--overlay-src", "/etc/passwd", "--overlay-src", "/usr", "--ro-overlay", "/mnt"],
        "not a directory",
    );
    refused(&["--overlay-src", "/usr", "--ro-overlay", "/mnt"], "at least two");
    refused(&["--file", "77", "/mnt/x"], "not open");
}

/// What an earlier mount covers is still there to be bound: the source is outside.
#[test]
fn a_bind_finds_its_source_below_a_mount_made_before() {
    let scratch = Scratch::new();
    let (dir, link) = (scratch.path("dir"), scratch.path("link"));
    std::fs::create_dir(&dir).expect("a directory can be made");
    std::fs::write(format!("{dir}/file"), "outside").expect("a file can be made");
    std::os::unix::fs::symlink(&dir, &link).expect("a link can be made");
    let parent = scratch.0.to_str().expect("the path is UTF-8");
    for source in [&dir, &link] {
        let line = ["--tmpfs", parent, "--bind", source, &dir, "cat", &format!("{dir}/file")];
        assert_eq!(stdout(&run(&line)), "outside", "{source}");
        let overlay =
            ["--overlay-src", "/usr", "--overlay-src", source, "--ro-overlay", "/mnt", "cat", "/mnt/file"];
        assert_eq!(stdout(&run(&[&["--tmpfs", parent], &overlay[..]].concat())), "outside", "{source}");
    }
    let output = run(&["--tmpfs", parent, "--bind", &scratch.path("none"), "/mnt", "true"]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
}

/// What is bound stays as writable as it is outside, also where all else is made read-only.
#[test]
fn a_bind_into_a_read_only_root_can_be_written_to() {
    let scratch = Scratch::new();
    let dir = scratch.path("dir");
    for made in [&dir, &scratch.path("upper"), &scratch.path("work")] {
        std::fs::create_dir(made).expect("a directory can be made");
    }
    let script =
        format!("pwd; cd {dir} && echo x >bound; touch {}/y 2>/dev/null || echo no", scratch.path("."));
    let line = ["--read-only", "--bind", &dir, &dir, "sh", "-c", &script];
    let output = sept().arg("run").args(line).current_dir(&scratch.0).output().expect("sept starts");
    assert_eq!(stdout(&output), format!("{}\nno", scratch.0.display()));
    assert!(scratch.0.join("dir/bound").exists());
    let (upper, work) = (scratch.path("upper"), scratch.path("work"));
    let line =
        ["--read-only", "--overlay-src", "/etc", "--overlay", &upper, &work, "/mnt", "touch", "/mnt/new"];
    let output = run(&line);
    assert!(output.status.success() || !common::is_root(), "{}", stderr(&output));
    // A read-only bind stays one.
    let output = run(&["--read-only", "--ro-bind", &dir, &dir, "touch", &format!("{dir}/more")]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_small_dev_needs_no_root_of_its_own() {
    let script = "test -c /dev/null && echo x >/dev/null && head -c 4 /dev/zero | wc -c && ls /dev";
    let said = stdout(&run(&["--dev", "/dev", "sh", "-c", script]));
    assert!(said.starts_with('4') && said.contains("urandom") && !said.contains("kmsg"), "{said}");
    let said = stdout(&run(&["--tmpfs", "/dev", "--mask", "/etc/passwd", "sh", "-c", "wc -c </etc/passwd"]));
    assert_eq!(said, "0");
}

/// What set-up makes is the inside's root's, also where the caller has no number inside, and can look at its own files alone.
#[test]
fn a_map_that_leaves_the_caller_out_has_files_all_the_same() {
    let test = "a_map_that_leaves_the_caller_out_has_files_all_the_same";
    if !common::is_root() {
        common::skip(test, "only root may map ids that are not its own");
        return;
    }
    let scratch = Scratch::new();
    let secret = scratch.path("secret");
    std::fs::create_dir_all(scratch.path("secret/dir")).expect("a directory can be made");
    std::fs::write(scratch.path("secret/dir/file"), "text").expect("a file can be made");
    common::host("chmod", &["700", &secret]);
    common::host("chmod", &["755", &scratch.path(".")]);
    let (dir, below) = (scratch.path("secret/dir"), "/tmp/new/bound");
    let ids = ["--map-users", "0:100000:65536", "--map-groups", "0:100000:65536", "-S", "0", "-G", "0"];
    let input = scratch.path("input");
    std::fs::write(&input, "data").expect("a file can be made");
    let said = |options: &[&str], script: &str| {
        let stdin = std::fs::File::open(&input).expect("it is there");
        let mut sept = sept();
        sept.arg("run").args(ids).args(options).args(["sh", "-c", script]).stdin(stdin);
        stdout(&sept.output().expect("sept starts"))
    };
    for whole in
        [["--read-only"].as_slice(), &["--root", "/"], &["--dev", "/dev"], &["--read-only", "--init"]]
    {
        let script = "stat -c '%u %n' /dev/pts /dev/shm /dev/ptmx && : >/dev/shm/x && echo >/dev/null && stat -c %u /dev/shm/x";
        assert_eq!(said(whole, script), "0 /dev/pts\n0 /dev/shm\n0 /dev/ptmx\n0", "{whole:?}");
    }
    let made =
        ["--tmpfs", "/tmp", "--dir", "/tmp/a/b", "--symlink", "a", "/tmp/link", "--file", "0", "/tmp/file"];
    let script = "stat -c '%u %g %n' /tmp/a/b /tmp/link /tmp/file && cat /tmp/file && rm /tmp/file";
    assert_eq!(said(&made, script), "0 0 /tmp/a/b\n0 0 /tmp/link\n0 0 /tmp/file\ndata");
    let data = ["--tmpfs", "/tmp", "--bind-data", "0", "/tmp/data", "--bind", &dir, below];
    assert_eq!(
        said(&data, &format!("cat /tmp/data {below}/file && touch {below}/x 2>/dev/null || echo no")),
        "datatextno"
    );
    let over = ["--overlay-src", "/etc", "--tmp-overlay", "/etc"];
    assert_eq!(said(&over, "echo new >/etc/sept-new && stat -c %u /etc/sept-new"), "0");
    let copied = ["--options", "tmpcopyup", "--tmpfs", &dir];
    let file = format!("{dir}/file");
    let refused = run(&[ids.as_slice(), &copied, &["cat", &file]].concat());
    assert_eq!(
        refused.status.code(),
        Some(125),
        "what its user may not read is not copied: {}",
        stderr(&refused)
    );
    common::host("chmod", &["755", &secret]);
    let line = [ids.as_slice(), &copied, &["stat", "-c", "%u %g", &file]].concat();
    assert_eq!(stdout(&run(&line)), "0 0");
    common::host("chmod", &["600", &file]);
    assert_eq!(run(&line).status.code(), Some(125));
    // Root is not among them.
    let ids = ["--map-users", "5:100000:10", "--map-groups", "7:100000:10", "-S", "6", "-G", "8"];
    let output =
        run(&[ids.as_slice(), &["--read-only", "stat", "-c", "%u %g", "/dev/shm", "/dev/ptmx"]].concat());
    assert_eq!(stdout(&output), "5 7\n5 7");
    // The signal that ends it with sept is still asked for.
    let show =
        ["--read-only", "perl", "-e", "my $s = pack('i', 0); syscall(157, 2, $s); print unpack('i', $s)"];
    if cfg!(target_arch = "x86_64") && common::need(test, &["perl"]) {
        assert_eq!(stdout(&run(&[ids.as_slice(), &show].concat())), libc::SIGKILL.to_string());
    }
}
