//! Links in a root that lead through what is mounted: `place -> NAME/x/..` is NAME until something lies on NAME.

use crate::common::{Scratch, need, need_root, path, run, skip, stderr, stdout};
use crate::{printed, root_of};

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
    if !need_root(test, "nobody else may write there") {
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
    if !need_root(test, "it takes the right to make cgroups") {
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
        printed(&output)
    };
    assert_eq!(seen(&[]), "", "without a rule");
    assert_eq!(seen(&["--landlock-ro", "/data"]), "own\n");
}

fn refused(root: &str, options: &[&str]) {
    let line = [&["--root", root], USR.as_slice(), options, &["sh", "-c", "echo ran"]].concat();
    let output = run(&line);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(125), "{options:?}: {}", printed(&output));
    assert!(said.contains("a link on the way leads out of what was mounted before, or into it"), "{said}");
}

/// A link that leads out of a bind would be followed by names of the root.
#[test]
fn a_link_that_leads_out_of_a_bind_is_not_followed_in_a_foreign_root() {
    let scratch = Scratch::new();
    let (root, data) = (root_of(&scratch), scratch.path("data"));
    for dir in [format!("{data}/v1"), format!("{root}/q/y"), format!("{root}/q/real"), format!("{root}/data")]
    {
        std::fs::create_dir_all(dir).expect("directories can be made");
    }
    std::fs::write(format!("{data}/v1/secret"), "secret\n").expect("a file can be made");
    let link = |to: &str, at: String| std::os::unix::fs::symlink(to, at).expect("a link can be made");
    link("/data/v1", format!("{data}/current"));
    let bound = ["--ro-bind", &data, "/data"];
    let shown = |options: &[&str], file: &str| {
        let script = format!("cat {file} 2>/dev/null; true");
        with(&root, &[bound.as_slice(), options].concat(), &script)
    };
    assert_eq!(shown(&[], "/data/v1/secret"), "secret");
    assert_eq!(shown(&["--mask", "/data/v1/secret"], "/data/v1/secret"), "");
    // The root's link to where the bind goes leads through what is mounted after it.
    std::fs::remove_dir(format!("{root}/data")).expect("it is empty");
    link("/q/y", format!("{root}/target/x"));
    link("target/x/../real", format!("{root}/data"));
    assert_eq!(shown(&["--tmpfs", "/target"], "/q/real/v1/secret"), "secret", "it lies there");
    for option in ["--mask", "--mask-try", "--remount-ro"] {
        let options = ["--tmpfs", "/target", option, "/data/current/secret"];
        refused(&root, &[bound.as_slice(), &options].concat());
    }
    refused(
        &root,
        &[bound.as_slice(), &["--tmpfs", "/target", "--ro-bind", &data, "/data/current"]].concat(),
    );
    // In the caller's own root links lead where they say.
    let usual = ["--mask", "/usr/bin/../../etc/passwd", "sh", "-c", "cat /etc/passwd"];
    assert_eq!(stdout(&run(&usual)), "");
}

/// A link of the root that leads into a bind: what is meant for the root would be done to that.
#[test]
fn a_link_of_the_root_leads_into_no_mount_of_the_line() {
    let scratch = Scratch::new();
    let (root, data) = (root_of(&scratch), scratch.path("data"));
    std::fs::create_dir(&data).expect("a directory can be made");
    std::fs::write(format!("{data}/f"), "kept\n").expect("a file can be made");
    std::os::unix::fs::symlink("/target", format!("{root}/scratch")).expect("a link can be made");
    let bound = ["--bind", &data, "/target"];
    refused(&root, &[bound.as_slice(), &["--options", "rw", "--remount", "/scratch"]].concat());
    refused(&root, &[bound.as_slice(), &["--create=host", "--chmod", "0666", "/scratch/f"]].concat());
    refused(&root, &[bound.as_slice(), &["--create=host", "--file", "0", "/scratch/g"]].concat());
    refused(
        &root,
        &[bound.as_slice(), &["--create=host", "--ro-bind", "/etc/hostname", "/scratch/h"]].concat(),
    );
    if sept::host::probe::landlock_abi().is_ok() {
        let rules = ["--landlock-exec", "/usr", "--landlock-ro", "/target", "--landlock-rw", "/scratch"];
        refused(&root, &[bound.as_slice(), &rules].concat());
    }
    let names: Vec<_> = std::fs::read_dir(&data).expect("it can be read").flatten().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    // On the root alone links are followed, and so are mounts by their own names.
    std::fs::remove_file(format!("{root}/scratch")).expect("it can be removed");
    std::os::unix::fs::symlink("/dev", format!("{root}/scratch")).expect("a link can be made");
    let own = ["--no-dev", "--tmpfs", "/scratch", "--dir", "/target/below/deep"];
    assert_eq!(with(&root, &[["--tmpfs", "/target"].as_slice(), &own].concat(), "echo ran"), "ran");
}

/// A mount that is a file has no `.`, and is there all the same.
#[test]
fn a_bound_file_can_be_masked_and_bound_again() {
    let scratch = Scratch::new();
    let (one, two) = (scratch.path("one"), scratch.path("two"));
    std::fs::write(&one, "one\n").expect("a file can be made");
    std::fs::write(&two, "two\n").expect("a file can be made");
    let shown = |options: &[&str]| {
        let line = ["--ro-bind", &one, "/etc/hostname"];
        stdout(&run(&[line.as_slice(), options, &["cat", "/etc/hostname"]].concat()))
    };
    assert_eq!(shown(&[]), "one");
    assert_eq!(shown(&["--mask", "/etc/hostname"]), "");
    assert_eq!(shown(&["--mask-try", "/etc/hostname"]), "");
    assert_eq!(shown(&["--bind", &two, "/etc/hostname"]), "two");
    assert_eq!(shown(&["--remount-ro", "/etc/hostname"]), "one");
    if sept::host::probe::landlock_abi().is_ok() {
        let rules = ["--landlock-exec", "/usr", "--landlock-ro", "/etc/hostname"];
        assert_eq!(shown(&rules), "one");
    }
}

/// The host's own root has links over mounts of its own, as /var/run to /run.
#[test]
fn links_of_the_callers_own_root_lead_where_they_say() {
    let scratch = Scratch::new();
    let dir = scratch.path("dir");
    std::fs::create_dir_all(format!("{dir}/run")).expect("directories can be made");
    std::os::unix::fs::symlink("run", format!("{dir}/link")).expect("a link can be made");
    let script = r#"mount -t tmpfs none "$1/run" && mkdir "$1/run/below" && shift 1 && exec "$@""#;
    for root in [["--ro-bind", "/", "/"].as_slice(), &["--root", "/"], &["--read-only"], &[]] {
        let (sept, below) = (path(), format!("{dir}/link/below"));
        let made = format!("{below}/made");
        let line = ["-rm", "sh", "-c", script, "sh", &dir, &sept, "run", "--no-proc", "--no-sys", "--no-dev"];
        let line = [line.as_slice(), root, &["--tmpfs", &below, "touch", &made]].concat();
        let output = run(&line);
        assert!(output.status.success(), "{root:?}: {}", stderr(&output));
    }
}

/// A rule of Landlock holds for all that is mounted below its directory, too.
#[test]
fn a_rule_by_a_link_covers_nothing_that_is_mounted() {
    let test = "a_rule_by_a_link_covers_nothing_that_is_mounted";
    if sept::host::probe::landlock_abi().is_err() {
        skip(test, "this kernel has no Landlock");
        return;
    }
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    let outside = scratch.path("outside");
    std::fs::create_dir(&outside).expect("a directory can be made");
    std::fs::write(format!("{outside}/file"), "secret").expect("a file can be made");
    for dir in ["in", "in/secret", "own"] {
        std::fs::create_dir(format!("{root}/{dir}")).expect("a directory can be made");
    }
    let data = format!("{root}/data");
    let read = |to: Option<&str>| {
        let _ = std::fs::remove_file(&data).or_else(|_| std::fs::remove_dir(&data));
        match to {
            Some(to) => std::os::unix::fs::symlink(to, &data).expect("a link can be made"),
            None => std::fs::create_dir(&data).expect("a directory can be made"),
        }
        let rules = ["--landlock-exec", "/usr", "--landlock-rw", "/data"];
        let line = ["--root", &root, "--ro-bind", "/usr", "/usr", "--ro-bind", &outside, "/in/secret"];
        let output = run(&[&line[..], &rules, &["cat", "/in/secret/file"]].concat());
        (output.status.code(), printed(&output), stderr(&output))
    };
    assert_eq!(read(None).1, "");
    for to in ["/", "in", "/in", "own/..", "own/../in"] {
        let (code, said, why) = read(Some(to));
        assert_eq!((code, said.as_str()), (Some(125), ""), "{to}: {why}");
        assert!(why.contains("a link on the way"), "{why}");
    }
    // A link that leads to nothing else is one.
    assert_eq!(read(Some("own")).0, Some(1));
    let asked = run(&[
        "--landlock-ro",
        "/",
        "--root",
        &root,
        "--ro-bind",
        "/usr",
        "/usr",
        "--ro-bind",
        &outside,
        "/in/secret",
        "--landlock-exec",
        "/",
        "cat",
        "/in/secret/file",
    ]);
    assert_eq!(stdout(&asked), "secret");
}

#[test]
fn a_mask_by_a_link_to_the_root_is_an_error() {
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    std::os::unix::fs::symlink("/", format!("{root}/data")).expect("a link can be made");
    let output = run(&["--root", &root, "--ro-bind", "/usr", "/usr", "--mask", "/data", "true"]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert!(stderr(&output).contains("a link leads /data to /"), "{}", stderr(&output));
}

/// With --create=host a mode is set on the host: not on what the line has mounted, to which a link of the root leads.
#[test]
fn a_mode_is_set_on_no_file_of_another_bind() {
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    let (file, dir) = (scratch.path("file"), scratch.path("dir"));
    std::fs::write(&file, "").expect("a file can be made");
    std::fs::create_dir(&dir).expect("a directory can be made");
    for place in ["a", "a/data"] {
        std::fs::create_dir(format!("{root}/{place}")).expect("a directory can be made");
    }
    std::fs::write(format!("{root}/a/f"), "").expect("a file can be made");
    std::fs::write(format!("{root}/plain"), "").expect("a file can be made");
    std::os::unix::fs::symlink("/a", format!("{root}/b")).expect("a link can be made");
    let mode = |path: &str| {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).expect("it is there").permissions())
            & 0o7777
    };
    let before = (mode(&file), mode(&dir));
    for (bind, name) in [([&file, "/a/f"], "/b/f"), ([&dir, "/a/data"], "/b/data"), ([&file, "/a/f"], "/a/f")]
    {
        let line = ["--root", &root, "--create=host", "--bind", bind[0], bind[1], "--chmod", "4777", name];
        let output = run(&[line.as_slice(), &USR, &["true"]].concat());
        assert_eq!(output.status.code(), Some(125), "{name}: {}", stderr(&output));
        assert_eq!((mode(&file), mode(&dir)), before, "{name}");
    }
    let line = [
        "--root",
        &root,
        "--create=host",
        "--chmod",
        "0751",
        "/plain",
        "--perms",
        "0750",
        "--dir",
        "/new/dir",
    ];
    let output = run(&[line.as_slice(), &USR, &["true"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(mode(&format!("{root}/plain")), 0o751, "what is the root's own is its own");
    assert_eq!(mode(&format!("{root}/new/dir")), 0o750);
}

/// The owner of the root moves the directory that something is mounted on, as two others would be exchanged.
#[test]
fn a_mount_that_was_moved_takes_nothing_that_is_meant_for_the_root() {
    let test = "a_mount_that_was_moved_takes_nothing_that_is_meant_for_the_root";
    if !need(test, &["perl"]) {
        return;
    }
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    let host = scratch.path("host");
    std::fs::create_dir(&host).expect("a directory can be made");
    for place in ["a", "b"] {
        std::fs::create_dir(format!("{root}/{place}")).expect("a directory can be made");
    }
    // RENAME_EXCHANGE, as fast as can be.
    let swap = format!(
        "my ($a, $b) = (\"{root}/a\", \"{root}/b\"); while (1) {{ syscall({}, -100, $a, -100, $b, 2) }}",
        libc::SYS_renameat2
    );
    let mut swapper = std::process::Command::new("perl").args(["-e", &swap]).spawn().expect("perl starts");
    // Made, or refused.
    let mut outcomes = [0; 2];
    let (mut n, begun) = (0, std::time::Instant::now());
    while begun.elapsed().as_secs() < 60 && (n < 300 || outcomes.contains(&0)) {
        n += 1;
        let (file, dir) = (format!("/b/x{n}"), format!("/b/d{n}"));
        let line = ["--root", &root, "--no-dev", "--no-sys", "--create=host", "--bind", &host, "/a"];
        let output = run(&[
            line.as_slice(),
            &USR,
            &["--perms", "777", "--dir", &dir, "--symlink", "/x", &file, "true"],
        ]
        .concat());
        outcomes[usize::from(output.status.code() != Some(0))] += 1;
    }
    swapper.kill().expect("it can be killed");
    swapper.wait().expect("it ends");
    let came = std::fs::read_dir(&host).expect("it can be read").count();
    assert_eq!(came, 0, "what was meant for the root is in what is bound");
    assert!(!outcomes.contains(&0), "both happened: {outcomes:?}");
}

/// What is done to a mount that a later one covers guards nothing, and must not be taken for done.
#[test]
fn nothing_guards_what_is_covered() {
    let scratch = Scratch::new();
    let (one, two, at) = (scratch.path("one"), scratch.path("two"), scratch.path("at"));
    for dir in [&one, &two, &at, &format!("{one}/deep"), &format!("{two}/deep")] {
        std::fs::create_dir(dir).expect("a directory can be made");
    }
    for file in [&format!("{one}/secret"), &format!("{two}/secret"), &format!("{at}/secret")] {
        std::fs::write(file, format!("{file}\n")).expect("a file can be made");
    }
    std::os::unix::fs::symlink(&at, scratch.path("link")).expect("a link can be made");
    let secret = format!("{at}/secret");
    let seen = |options: &[&str]| {
        let output =
            run(&[options, &["sh", "-c", &format!("cat {secret}; touch {at}/new && rm {at}/new")]].concat());
        (output.status.code(), printed(&output), stderr(&output))
    };
    std::os::unix::fs::symlink(".", format!("{one}/self")).expect("a link can be made");
    for alias in [format!("{one}/../at"), scratch.path("link"), format!("{at}/../at"), format!("{at}/self")] {
        let covered = ["--bind", &one, &at, "--bind", &two, &alias];
        assert_eq!(seen(&covered).1, format!("{two}/secret\n"), "{alias}: the later one is seen");
        for guard in [
            ["--mask", &secret].as_slice(),
            &["--mask-try", &secret],
            &["--remount-ro", &at],
            &["--ro-bind", "/dev/null", &secret],
            &["--tmpfs", &format!("{at}/deep")],
        ] {
            let (code, shown, said) = seen(&[covered.as_slice(), guard].concat());
            assert_eq!((code, shown.as_str()), (Some(125), ""), "{alias} {guard:?}: {said}");
            assert!(said.contains("a later mount covers that"), "{said}");
        }
    }
    // A new root covers all: what stands after it is for that.
    let rooted = ["--bind", &one, &at, "--bind", "/", "/"];
    assert_eq!(seen(&rooted).1, format!("{secret}\n"));
    let (_, shown, said) = seen(&[rooted.as_slice(), &["--mask", &secret]].concat());
    assert_eq!(shown, "", "{said}");
    let (code, _, said) = seen(&[rooted.as_slice(), &["--remount-ro", &at]].concat());
    assert_eq!(code, Some(125), "it is no mount point there: {said}");
    assert!(said.contains("is no mount point"), "{said}");
}

/// The cgroups are guarded where they are seen.
#[test]
fn cgroups_below_a_new_root_are_guarded() {
    let test = "cgroups_below_a_new_root_are_guarded";
    if !need_root(test, "it takes the right to make cgroups") {
        return;
    }
    let script = "find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs | while read file; do
        test -w $file && echo writable; done | sort -u; test -d /sys/fs/cgroup && echo there";
    let covered = ["--tmpfs", "/sys", "--dev-bind", "/", "/"];
    let seen =
        |options: &[&str]| stdout(&run(&[covered.as_slice(), options, &["sh", "-c", script]].concat()));
    assert_eq!(seen(&[]), "writable\nthere", "without limits it is as it was bound");
    assert_eq!(seen(&["--pids", "50"]), "there");
}

/// A link in what is bound, left there by an earlier command.
#[test]
fn a_link_leads_out_of_no_bind() {
    let scratch = Scratch::new();
    let (bound, other) = (scratch.path("bound"), scratch.path("other"));
    for dir in [&bound, &other] {
        std::fs::create_dir(dir).expect("a directory can be made");
    }
    std::fs::write(format!("{other}/file"), "other\n").expect("a file can be made");
    std::os::unix::fs::symlink(&other, format!("{bound}/out")).expect("a link can be made");
    let out = format!("{bound}/out");
    let line = |options: &[&str]| {
        run(&[&["--bind", &bound, &bound], options, &["cat", &format!("{other}/file")]].concat())
    };
    assert_eq!(stdout(&line(&[])), "other");
    for options in [["--tmpfs", &out].as_slice(), &["--bind", &bound, &out], &["--mask", &out]] {
        let output = line(options);
        assert_eq!(output.status.code(), Some(125), "{options:?}: {}", printed(&output));
        assert!(stderr(&output).contains("a link on the way leads out"), "{}", stderr(&output));
    }
}
