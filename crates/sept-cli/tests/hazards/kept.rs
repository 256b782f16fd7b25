//! What hides or guards stays in its place: nobody moves it aside, or gets around it by another name.

use crate::common::{Scratch, need, path, run, stderr};
use crate::files::swapping;
use crate::{printed, root_of};

/// Turns away from the mounts that it begins with, in namespaces of its own, renames what is in a directory to another one, and reads and
/// changes a file there. The paths are those inside: the directory, the other one, the name, and that of the file below.
fn turned_away(options: &[&str], paths: [&str; 4]) -> String {
    turned_away_in(&[], options, paths)
}

/// The same below another sandbox, with what that has mounted.
fn turned_away_in(outer: &[&str], options: &[&str], paths: [&str; 4]) -> String {
    let attack = format!(
        "my ($none, $dir, $got) = ('', '.', 'got'); my ($own, $hidden, $file) = @ARGV; chdir $own or die;
        syscall({}, $own, $own, $none, {}, 0) == 0 or die \"bind: $!\"; chdir $own or die;
        syscall({}, $dir, $dir) == 0 or die \"pivot: $!\"; syscall({}, $dir, 2) == 0 or die \"umount: $!\";
        syscall({}, 8, $hidden, 9, $got, 0) == 0 or die \"rename: $!\"; open F, '<', \"/got$file\" or die; print <F>;
        open F, '>>', \"/got$file\" and print F \"changed\n\"; close F; syscall({}, 9, $got, 8, $hidden, 0);",
        libc::SYS_mount,
        libc::MS_BIND,
        libc::SYS_pivot_root,
        libc::SYS_umount2,
        libc::SYS_renameat2,
        libc::SYS_renameat2,
    );
    let script = r#"exec 8<"$1" 9<"$2" || exit 1
        exec unshare -Urm --propagation unchanged perl -e "$0" "$2" "$3" "$4" 2>/dev/null; true"#;
    printed(&run(&[below(outer).as_slice(), options, &["sh", "-c", script, &attack], &paths].concat()))
}

/// The words of `run` by which another one begins in a sandbox of these, if they are any.
fn below<'w>(outer: &[&'w str]) -> Vec<&'w str> {
    static SEPT: std::sync::LazyLock<String> = std::sync::LazyLock::new(path);
    if outer.is_empty() { vec![] } else { [outer, &[&SEPT, "run", "--if-possible", "cgroup"]].concat() }
}

/// `data` with a file to be hidden and a directory beside it, and a link to it.
fn linked(scratch: &Scratch, name: &str) -> String {
    let dir = scratch.path(name);
    for below in ["data/a", "data/pub"] {
        std::fs::create_dir_all(format!("{dir}/{below}")).expect("a directory can be made");
    }
    std::fs::write(format!("{dir}/data/a/key"), "secret\n").expect("a file can be made");
    std::os::unix::fs::symlink("data", format!("{dir}/current")).expect("a link can be made");
    dir
}

/// In a mount namespace of its own, turned away from the mounts that it began with, a command can rename what is a mount point only
/// there: whatever hid it, or kept it from writing, stays behind.
#[test]
fn what_hides_a_file_can_not_be_left_behind() {
    let test = "what_hides_a_file_can_not_be_left_behind";
    if !need(test, &["unshare", "perl"]) {
        return;
    }
    let scratch = Scratch::new();
    let (dir, own) = (scratch.path("dir"), scratch.path("dir/own"));
    for name in [&dir, &own, &format!("{dir}/hidden")] {
        std::fs::create_dir(name).expect("a directory can be made");
    }
    std::fs::write(format!("{dir}/hidden/key"), "secret\n").expect("a file can be made");
    let line = |options: &[&str]| turned_away(options, [&dir, &own, "hidden", "/key"]);
    let (hidden, link) = (format!("{dir}/hidden"), scratch.path("link"));
    std::os::unix::fs::symlink(&dir, &link).expect("a link can be made");
    for guard in [
        ["--mask", &hidden].as_slice(),
        &["--tmpfs", &hidden],
        &["--ro-bind", &hidden, &hidden],
        &["--ro-bind", "/", "/", "--bind", &dir, &dir, "--mask", &hidden],
        &["--overlay-src", &dir, "--tmp-overlay", &dir, "--mask", &hidden],
        &["--root", "/", "--mask", &hidden],
        &["--landlock-rw", "/", "--landlock-exec", "/", "--mask", &hidden],
        &["--options", "rw", "--ro-bind", "/", "/", "--mask", &hidden],
        &["--ro-bind", "/", "/", "--bind", &link, &link, "--mask", &format!("{link}/hidden")],
    ] {
        assert_eq!(line(guard), "", "{guard:?}");
    }
    assert_eq!(std::fs::read_to_string(format!("{hidden}/key")).expect("it is there"), "secret\n");
    // With the right to mount, none of it holds.
    let free = line(&["--cap-add", "sys_admin", "--mask", &hidden]);
    assert_eq!(free, "secret\n", "the attack works");
}

/// A mount lies on a file, not on its name: who renames a directory above may look at the file by another mount.
#[test]
fn what_hides_a_file_is_not_moved_with_the_directory_above() {
    let scratch = Scratch::new();
    let (dir, other) = (scratch.path("dir"), scratch.path("dir/other"));
    for name in [&dir, &other, &format!("{dir}/above/deep")] {
        std::fs::create_dir_all(name).expect("directories can be made");
    }
    let key = format!("{dir}/above/deep/key");
    std::fs::write(&key, "secret\n").expect("a file can be made");
    let script = format!(
        "mv {dir}/above {other}/ 2>/dev/null; cat /mnt/above/deep/key 2>/dev/null; echo changed 2>/dev/null >>/mnt/above/deep/key;
        mv {other}/above {dir}/ 2>/dev/null; mv {dir}/above/deep {dir}/above/new 2>/dev/null && echo renamed; true"
    );
    let line = |options: &[&str]| {
        printed(&run(&[&["--bind", &other, "/mnt"], options, &["sh", "-c", &script]].concat()))
    };
    for guard in [
        ["--mask", &key].as_slice(),
        &["--ro-bind", &key, &key],
        &["--tmpfs", &format!("{dir}/above/deep")],
        &["--read-only", "--bind", &dir, &dir, "--bind", &other, "/mnt", "--mask", &key],
        &["--mask", &key, "--cap-drop", "all", "--seccomp", "strict"],
    ] {
        assert_eq!(line(guard), "", "{guard:?}");
    }
    assert_eq!(std::fs::read_to_string(&key).expect("it is there"), "secret\n");
    assert_eq!(line(&[]), "secret\nrenamed\n", "without a guard it can be moved");
}

/// What nobody can move aside is no reason to refuse user namespaces.
#[test]
fn user_namespaces_are_refused_only_where_they_would_undo_something() {
    let test = "user_namespaces_are_refused_only_where_they_would_undo_something";
    if !need(test, &["unshare"]) {
        return;
    }
    let scratch = Scratch::new();
    let dir = scratch.path("");
    let made = |options: &[&str]| run(&[options, &["unshare", "-U", "true"]].concat()).status.success();
    for options in [
        [].as_slice(),
        &["--read-only", "--tmpfs", "/tmp"],
        &["--ro-bind", "/", "/", "--dev", "/dev", "--tmpfs", "/tmp", "--bind", &dir, &dir],
        &["--bind", &dir, &dir],
        &["--read-only", "--mask", "/etc/passwd"],
        &["--read-only", "--tmpfs", "/var/run", "--mask-try", "/var/lock/none"],
        &[
            "--tmpfs",
            "/",
            "--ro-bind",
            "/usr",
            "/usr",
            "--ro-bind",
            "/lib",
            "/lib",
            "--ro-bind",
            "/lib64",
            "/lib64",
            "--ro-bind",
            "/bin",
            "/bin",
        ],
    ] {
        assert!(made(options), "{options:?}");
    }
    assert!(!made(&["--mask", &dir]));
    let output = run(&["--mask", &dir, "--report", "/dev/stderr", "true"]);
    assert!(stderr(&output).contains("user namespaces, if need be"), "{}", stderr(&output));
}

/// What counts is where a path leads, not its words.
#[test]
fn what_hides_stays_in_its_place_where_a_link_leads_to_it() {
    let test = "what_hides_stays_in_its_place_where_a_link_leads_to_it";
    if !need(test, &["unshare", "perl"]) {
        return;
    }
    let scratch = Scratch::new();
    let (root, p) = (root_of(&scratch), linked(&scratch, "p"));
    let (data, key) = (format!("{p}/data"), format!("{p}/data/a/key"));
    for dir in ["p", "own", "run/secrets", "var/run", "o", "x", "lnk"] {
        std::fs::create_dir_all(format!("{root}/{dir}")).expect("a directory can be made");
    }
    std::fs::write(format!("{root}/run/secrets/key"), "secret\n").expect("a file can be made");
    std::fs::write(format!("{root}/o/key"), "secret\n").expect("a file can be made");
    let image = ["--root", &root, "--ro-bind", "/usr", "/usr"];
    let empty = ["--tmpfs", "/", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink"];
    let empty =
        [&empty[..], &["usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--dir", "/tmp"]].concat();
    let into_bind = ["--ro-bind", &p, "/p", "--bind", &data, "/p/data"];
    let in_data = |top: &str| [top.to_owned(), format!("{top}/pub"), "a".to_owned(), "/key".to_owned()];
    let by_the_root = |dir: &str, name: &str| [dir, "/own", name, "/key"].map(str::to_owned);
    for (base, options, paths) in [
        (&image[..], [&into_bind[..], &["--mask", "/p/current/a/key"]].concat(), in_data("/p/data")),
        (
            &["--read-only"],
            [&["--ro-bind", &p, "/mnt", "--bind", &data, "/mnt/data"][..], &["--mask", "/mnt/current/a/key"]]
                .concat(),
            in_data("/mnt/data"),
        ),
        (&image, vec!["--tmpfs", "/var/run", "--mask", "/run/secrets/key"], by_the_root("/run", "secrets")),
        (
            &empty,
            vec!["--dir", "/work", "--symlink", "work", "/w", "--bind", &data, "/w", "--mask", "/work/a/key"],
            in_data("/work"),
        ),
    ] {
        let said = turned_away(&[base, &options].concat(), paths.each_ref().map(String::as_str));
        assert_eq!(said, "", "{options:?}");
    }
    for (options, paths) in [
        ([&into_bind[..], &["--ro-bind", &key, "/p/current/a/key"]].concat(), in_data("/p/data")),
        (vec!["--overlay-src", &format!("{root}/o"), "--tmp-overlay", "/o"], by_the_root("/", "o")),
        (vec!["--ro-bind", &format!("{root}/o"), "/o"], by_the_root("/", "o")),
    ] {
        turned_away(&[&image, options.as_slice()].concat(), paths.each_ref().map(String::as_str));
    }
    for file in [key, format!("{root}/run/secrets/key"), format!("{root}/o/key")] {
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "secret\n", "{file}");
    }
}

#[test]
fn what_hides_is_moved_by_no_directory_above_whatever_leads_there() {
    let scratch = Scratch::new();
    let (root, p) = (root_of(&scratch), linked(&scratch, "p"));
    let (data, public) = (format!("{p}/data"), format!("{p}/data/pub"));
    for dir in ["p/data", "x", "sbind"] {
        std::fs::create_dir_all(format!("{root}/{dir}")).expect("a directory can be made");
    }
    std::os::unix::fs::symlink("sbind", format!("{root}/lnk")).expect("a link can be made");
    std::os::unix::fs::symlink("data", format!("{root}/p/current")).expect("a link can be made");
    let image = ["--root", &root, "--ro-bind", "/usr", "/usr"];
    let empty = ["--tmpfs", "/", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink"];
    let empty = [&empty[..], &["usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]].concat();
    let up = format!("{public}/../a/key");
    let (dir, link) = (scratch.path("covered"), scratch.path("covered/link"));
    std::fs::create_dir(&dir).expect("a directory can be made");
    std::os::unix::fs::symlink(&data, &link).expect("a link can be made");
    for (base, options, top, other) in [
        (&[][..], vec!["--mask", &up, "--bind", &public, "/mnt"], data.as_str(), "/mnt"),
        (&[], vec!["--bind", &public, "/mnt", "--mask", &format!("{link}/a/key")], &data, "/mnt"),
        (
            &image,
            vec![
                "--bind",
                &p,
                "/p",
                "--bind",
                &data,
                "/p/data",
                "--bind",
                &public,
                "/x",
                "--mask",
                "/p/current/a/key",
            ],
            "/p/data",
            "/x",
        ),
        (
            &image,
            vec!["--bind", &data, "/sbind", "--bind", &public, "/x", "--mask", "/sbind/a/key"],
            "/sbind",
            "/x",
        ),
        (
            &empty,
            vec!["--bind", &data, "/d", "--bind", &public, "/x", "--dir", "/", "--mask", "/d/a/key"],
            "/d",
            "/x",
        ),
        (
            &image,
            vec!["--no-sys", "--bind", &data, "/sys", "--bind", &public, "/x", "--mask", "/sys/a/key"],
            "/sys",
            "/x",
        ),
    ] {
        let script = r#"mv "$0/a" "$0/pub/a" 2>/dev/null; cat "$1/a/key" 2>/dev/null; mv "$0/pub/a" "$0/a" 2>/dev/null; true"#;
        let said = printed(&run(&[base, &options, &["sh", "-c", script, top, other]].concat()));
        assert_eq!(said, "", "{options:?}");
    }
}

#[test]
fn no_link_that_is_swapped_meanwhile_opens_other_masks() {
    let scratch = Scratch::new();
    let (other, swapped) = (scratch.path("other"), scratch.path("swapped"));
    std::fs::create_dir_all(format!("{other}/b")).expect("a directory can be made");
    std::fs::write(format!("{other}/b/key"), "").expect("a file can be made");
    std::os::unix::fs::symlink("/", &swapped).expect("a link can be made");
    let secret = scratch.path("secret");
    std::fs::write(&secret, "secret\n").expect("a file can be made");
    let (masked, key) = (format!("/..{secret}"), format!("{other}/b/key"));
    swapping(&other, &swapped, || {
        for _ in 0..60 {
            let output = run(&["--mask", &secret, "--mask-try", &key, "cat", &secret, &masked]);
            assert!(output.stdout.is_empty(), "{}", stderr(&output));
        }
    });
}

/// A directory that is made on the root, and is there, is no new root, which all that is there by default would cover.
#[test]
fn what_is_masked_stays_masked_where_the_root_is_named() {
    let said = |options: &[&str]| printed(&run(&[options, &["cat", "/proc/version"]].concat()));
    let line = ["--bind", "/", "/", "--mask", "/proc/version"];
    assert_eq!((said(&line), said(&[&line[..], &["--dir", "/"]].concat())), (String::new(), String::new()));
}

#[test]
fn what_hides_stays_in_its_place_however_the_root_is_spelled() {
    let test = "what_hides_stays_in_its_place_however_the_root_is_spelled";
    if !need(test, &["unshare", "perl"]) {
        return;
    }
    let scratch = Scratch::new();
    let (p, other) = (linked(&scratch, "p"), linked(&scratch, "other"));
    let (data, own) = (format!("{p}/data"), format!("{p}/data/pub"));
    let [key, other] = [&p, &other].map(|dir| format!("{dir}/data/a/key"));
    let [strange, above] = ["/.", "/.."].map(|before| format!("{before}{key}"));
    let above_other = format!("/..{other}");
    let shown = |options: &[&str]| run(&[options, &["cat", &above, &above_other]].concat()).stdout;
    assert!(shown(&["--mask", &other, "--mask", &strange]).is_empty());
    assert!(shown(&["--mask", &other, "--tmpfs", &format!("/./{data}/a")]).is_empty());
    let hidden = format!("{data}/a");
    for options in [
        ["--root", "//", "--ro-bind", &hidden, &hidden].as_slice(),
        &["--root", "/usr/..", "--ro-bind", &hidden, &hidden],
        &["--root", "/usr/..", "--tmpfs", &hidden],
        &["--root", "/proc/self/root", "--tmpfs", &hidden],
        &["--root", "//", "--tmpfs", &hidden],
        &["--bind", "//", "/", "--ro-bind", &hidden, &hidden],
    ] {
        assert_eq!(turned_away(options, [&data, &own, "a", "/key"]), "", "{options:?}");
    }
}

/// A mount that is there may show what lies under it as well.
#[test]
fn what_hides_stays_in_its_place_where_something_is_mounted_already() {
    let test = "what_hides_stays_in_its_place_where_something_is_mounted_already";
    if !need(test, &["unshare", "perl"]) {
        return;
    }
    let scratch = Scratch::new();
    let p = linked(&scratch, "p");
    let (data, own, hidden) = (format!("{p}/data"), format!("{p}/data/pub"), format!("{p}/data/a"));
    let key = format!("{hidden}/key");
    let outer = ["--bind", &hidden, &hidden];
    for options in [
        ["--mask", &hidden].as_slice(),
        &["--mask", &key],
        &["--ro-bind", &hidden, &hidden],
        &["--tmpfs", &hidden],
        &["--bind", &hidden, &hidden, "--mask", &key],
    ] {
        assert_eq!(turned_away_in(&outer, options, [&data, &own, "a", "/key"]), "", "{options:?}");
    }
    // One of the line that shows something else by then.
    let copy = scratch.path("copy");
    std::fs::create_dir_all(format!("{copy}/a")).expect("a directory can be made");
    let (inner, beside) = (format!("{copy}/a"), format!("{copy}/pub"));
    let again = ["--read-only", "--bind", &data, &copy, "--bind", &inner, &inner];
    assert_eq!(turned_away(&again, [&copy, &beside, "a", "/key"]), "");
    assert_eq!(std::fs::read_to_string(&key).expect("it is there"), "secret\n");
    // The directories above, too.
    let script = r#"mv "$0/data" "$0/../other/" 2>/dev/null; cat /mnt/data/a/key 2>/dev/null; true"#;
    let other = scratch.path("other");
    std::fs::create_dir(&other).expect("a directory can be made");
    let line = ["--bind", &other, "/mnt", "--mask", &hidden, "sh", "-c", script, &p];
    assert_eq!(printed(&run(&[below(&outer), line.to_vec()].concat())), "");
}

/// What fixes directories takes along what lies below them, and nothing more.
#[test]
fn what_is_fixed_uncovers_and_multiplies_nothing() {
    let scratch = Scratch::new();
    let dir = scratch.path("dir");
    let deep = format!("{dir}/deep/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18");
    for path in [&deep, &format!("{dir}/m")] {
        std::fs::create_dir_all(path).expect("directories can be made");
    }
    let (m, key, deepest, top) =
        (format!("{dir}/m"), format!("{dir}/key"), format!("{deep}/key"), format!("{dir}/deep"));
    for file in [&key, &deepest] {
        std::fs::write(file, "secret\n").expect("a file can be made");
    }
    let outer = ["--tmpfs", &m, "--dir", &format!("{m}/hidden")];
    for options in [
        ["--options", "unbindable", "--tmpfs", &m, "--mask", &key].as_slice(),
        &["--tmpfs", &m, "--mask", &key, "--dir", &format!("{m}/x"), "--remount-ro", &m],
    ] {
        let output = run(&[&below(&outer), options, &["ls", &m]].concat());
        assert!(matches!(printed(&output).trim(), "" | "x"), "{options:?} {output:?}");
    }
    let count = |options: &[&str]| -> usize {
        let output = run(&[options, &["--mask", &deepest, "cat", "/proc/self/mountinfo"]].concat());
        assert!(output.status.success(), "{options:?} {}", stderr(&output));
        printed(&output).lines().count()
    };
    let plain = count(&[]);
    for options in [["--options", "rshared", "--bind", &top, &top].as_slice(), &["--propagation", "shared"]] {
        assert!(count(options) < plain + 30, "{options:?}");
    }
}

#[test]
fn a_part_of_a_root_is_as_closed_as_the_line_says() {
    let test = "a_part_of_a_root_is_as_closed_as_the_line_says";
    if !need(test, &["unshare", "perl"]) {
        return;
    }
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    let (part, key) = (format!("{root}/conf"), format!("{root}/conf/key"));
    for dir in [&part, &format!("{root}/own"), &scratch.path("low"), &scratch.path("work")] {
        std::fs::create_dir_all(dir).expect("a directory can be made");
    }
    std::fs::write(&key, "secret\n").expect("a file can be made");
    let image = ["--root", &root, "--ro-bind", "/usr", "/usr"];
    let (low, work) = (scratch.path("low"), scratch.path("work"));
    let over = ["--overlay-src", &low, "--overlay", &root, &work, "/", "--ro-bind", "/usr", "/usr"];
    let again = ["--bind", &part, "/conf"];
    for options in [
        [&over[..], &["--ro-bind", &part, "/conf"]].concat(),
        [&image[..], &again, &["--remount-ro", "/conf"]].concat(),
        [&image[..], &again, &["--options", "ro", "--remount", "/conf"]].concat(),
        [&image[..], &again, &["--mask", "/conf"]].concat(),
    ] {
        turned_away(&options, ["/", "/own", "conf", "/key"]);
        assert_eq!(std::fs::read_to_string(&key).expect("it is there"), "secret\n", "{options:?}");
    }
}

/// The directories that are kept in their places are parts of the mounts that they are in.
#[test]
fn a_mount_that_is_changed_is_changed_as_a_whole() {
    let scratch = Scratch::new();
    let p = linked(&scratch, "p");
    let (data, key, file) = (format!("{p}/data"), format!("{p}/data/a/key"), format!("{p}/data/pub/file"));
    std::fs::create_dir(format!("{p}/data/pub/deep")).expect("a directory can be made");
    std::fs::write(&file, "before").expect("a file can be made");
    let hidden = format!("{p}/data/pub/deep");
    let tries = |options: &[&str]| {
        run(&[options, &["sh", "-c", "echo after >$0", &file]].concat());
        std::fs::read_to_string(&file).expect("it is there")
    };
    for options in [
        ["--bind", &data, &data, "--mask", &hidden, "--options", "ro", "--remount", &data].as_slice(),
        &[
            "--bind",
            &data,
            &data,
            "--bind",
            &format!("{p}/data/a"),
            &hidden,
            "--options",
            "ro,noexec",
            "--remount",
            &data,
        ],
        &["--mask", &hidden, "--options", "ro", "--remount", "/"],
    ] {
        assert_eq!(tries(options), "before", "{options:?}");
    }
    let again = ["--ro-bind", &data, &data, "--mask", &hidden, "--options", "rw", "--remount", &data];
    assert_eq!(tries(&again), "after\n");
    // By a link among many, which are not opened before anything is mounted.
    std::fs::write(&file, "before").expect("a file can be made");
    let link = scratch.path("to");
    std::os::unix::fs::symlink(&data, &link).expect("a link can be made");
    let flat = scratch.path("flat");
    let mut many: Vec<String> = Vec::new();
    for n in 0..66 {
        std::fs::create_dir_all(format!("{flat}/{n}")).expect("a directory can be made");
        many.extend(["--ro-bind".to_owned(), flat.clone(), format!("{flat}/{n}")]);
    }
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let script = "echo after >/mnt/pub/file";
    let line = ["--mask", &hidden, "--options", "ro", "--bind", &link, "/mnt", "sh", "-c", script];
    let output = run(&[&many[..], &line].concat());
    assert!(!output.status.success(), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "before", "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&key).expect("it is there"), "secret\n");
}

#[test]
fn what_is_bound_on_itself_by_its_words_may_be_something_else_by_then() {
    let test = "what_is_bound_on_itself_by_its_words_may_be_something_else_by_then";
    if !need(test, &["unshare", "perl"]) {
        return;
    }
    let scratch = Scratch::new();
    let (other, dir) = (linked(&scratch, "other"), scratch.path("dir"));
    let (shown, x) = (format!("{other}/data"), format!("{dir}/x"));
    std::fs::create_dir_all(format!("{x}/a")).expect("a directory can be made");
    std::fs::create_dir_all(format!("{dir}/z")).expect("a directory can be made");
    let link = format!("{dir}/link");
    std::os::unix::fs::symlink("x", &link).expect("a link can be made");
    let (inner, strange) = (format!("{x}/a"), format!("{dir}/z/../x/a"));
    for (target, itself) in [(&link, &inner), (&x, &strange)] {
        let options = ["--ro-bind", "/", "/", "--dev", "/dev", "--bind", &shown, target, "--mask", &shown];
        let line = [&options[..], &["--bind", itself, itself]].concat();
        assert_eq!(turned_away(&line, [&x, &format!("{x}/pub"), "a", "/key"]), "", "{line:?}");
    }
}

/// Directories that set-up makes are kept as well: nothing lies below one that is fixed later.
#[test]
fn what_is_mounted_in_directories_that_were_made_can_be_worked_below() {
    let scratch = Scratch::new();
    let (p, new) = (linked(&scratch, "p"), scratch.path("new"));
    let (data, one) = (format!("{p}/data"), format!("{p}/data/a"));
    std::fs::create_dir(&new).expect("a directory can be made");
    for options in [
        ["--create=host", "--bind", &data, &format!("{new}/n/m"), "--bind", &one, &format!("{new}/n/m/pub")]
            .as_slice(),
        &[
            "--create=host",
            "--dir",
            &format!("{new}/y"),
            "--bind",
            &data,
            &format!("{new}/x/m"),
            "--mask",
            &format!("{new}/x/m/a/key"),
        ],
        &[
            "--overlay-src",
            &p,
            "--tmp-overlay",
            &p,
            "--tmpfs",
            &format!("{p}/new/t"),
            "--bind",
            &one,
            &format!("{p}/new/t/x"),
        ],
    ] {
        let output = run(&[options, &["true"]].concat());
        assert!(output.status.success(), "{options:?} {}", stderr(&output));
    }
}
