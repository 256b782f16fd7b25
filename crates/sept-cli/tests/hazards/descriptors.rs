//! Descriptors and working directories of outside.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use crate::common::{Scratch, Waiting, host, need, path, program, run, sept, skip, stderr};
use crate::root_of;

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
    for words in [
        "run",
        "run --init",
        "run --namespaces none",
        &format!("run --join user={pid}"),
        &format!("enter {pid}"),
    ] {
        assert_eq!(listed(words), 0, "{words}");
    }
    // Where they are asked for they are there: so the attack is one.
    assert!(listed("run --keep-fd all") >= 25 && listed(&format!("enter --keep-fd all {pid}")) >= 25);
    // As those of unshare(1) do, which moves the process that has them.
    assert!(listed("unshare -Ur") >= 25);
}

/// CVE-2024-21626 by the descriptors that nobody closes.
#[test]
fn no_directory_of_outside_is_a_standard_stream() {
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    std::fs::write(scratch.path("secret"), "out").expect("a file can be made");
    let outside = scratch.0.display().to_string();
    let output = |redirect: &str, words: &str| {
        let script = format!(
            "exec {} {words} sh -c 'cat /proc/self/fd/3/secret /proc/self/fd/0/secret' {redirect}",
            path()
        );
        std::process::Command::new("sh").args(["-c", &script]).output().expect("sh starts")
    };
    let usr = format!("run --root {root} --ro-bind /usr /usr");
    let kept = output(&format!("3<{outside} 0</dev/null"), &format!("{usr} --keep-fd 3"));
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "out", "it is a way out: {}", stderr(&kept));
    let target = Waiting::new(&["--root", &root, "--ro-bind", "/usr", "/usr"]);
    let enter = format!("enter {}", target.inside());
    let joined = format!("run --join user={0} --join mount={0}", target.inside());
    let unshare = format!("unshare -Urm --root {root}");
    let mut ways = vec![usr.as_str(), "run --read-only", "run --tmpfs /mnt", &enter, &joined, &unshare];
    ways.extend(crate::common::is_root().then_some("run --pids 20"));
    for words in ways {
        for (fd, name) in [("0", "input"), ("1", "output"), ("2", "error")] {
            let output = output(&format!("3</dev/null {fd}<{outside}"), words);
            assert_eq!(output.status.code(), Some(125), "{words} {fd}");
            assert!(fd == "2" || stderr(&output).contains(&format!("standard {name} is a directory")));
        }
    }
    // Where the command sees the caller's files anyway, it takes nothing.
    assert_eq!(output(&format!("0<{outside} 3</dev/null"), "run").stdout, b"out");
}

#[test]
fn a_working_directory_by_a_descriptor_is_refused() {
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    let dir = std::fs::File::open(&scratch.0).expect("it can be opened");
    for place in ["self", "thread-self", "1"] {
        let wd = format!("/proc/{place}/fd/{}", dir.as_raw_fd());
        for words in [vec!["--wd", &wd], vec!["--root", &root, "--ro-bind", "/usr", "/usr", "--wd", &wd]] {
            let output = run(&[words.as_slice(), &["--keep-fd", "all", "true"]].concat());
            assert_eq!(output.status.code(), Some(125), "{words:?}: {}", stderr(&output));
        }
    }
}

/// CVE-2016-9962: what is entered is entered at its top, wherever outside the caller stands.
#[test]
fn who_enters_stands_at_the_top_of_the_root() {
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    std::fs::write(scratch.path("secret"), "").expect("a file can be made");
    let target = Waiting::new(&["--root", &root, "--ro-bind", "/usr", "/usr"]);
    let pid = target.inside().to_string();
    let says = |words: &[&str]| {
        let script = ["sh", "-c", "pwd -P; ls . ..; ls -d /secret ../secret ../../secret 2>/dev/null"];
        let mut enter = sept();
        enter.args(words).args(script).current_dir(&scratch.0);
        String::from_utf8_lossy(&enter.output().expect("sept starts").stdout).into_owned()
    };
    let (outside, inside) = (says(&["run"]), says(&["enter", &pid]));
    assert!(outside.contains("secret"), "from there it is seen: {outside}");
    assert!(inside.starts_with("/\n") && !inside.contains("secret"), "{inside}");
}

/// What is marked to be closed by exec is open while the kernel looks for the program: a link in a root that is not trusted
/// would lead through it, and the host's program that is then started can be opened for writing by `/proc/self/exe`.
#[test]
fn nothing_of_outside_is_open_while_the_program_is_looked_for() {
    let test = "nothing_of_outside_is_open_while_the_program_is_looked_for";
    if !cfg!(target_arch = "x86_64") {
        skip(test, "the programs are for x86_64");
        return;
    }
    const OUTSIDE: Option<i32> = Some(42);
    let scratch = Scratch::new();
    let root = root_of(&scratch);
    // mov edi, 42; mov eax, 60; syscall
    let outside = program(&scratch, "outside", &[0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
    std::fs::create_dir(format!("{root}/try")).expect("a directory can be made");
    for fd in 3..40 {
        let there = format!("/proc/self/fd/{fd}/..{outside}");
        std::os::unix::fs::symlink(&there, format!("{root}/try/{fd}")).expect("a link can be made");
        let script = format!("{root}/try/script{fd}");
        std::fs::write(&script, format!("#!{there}\n")).expect("a file can be made");
        std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).expect("its mode can be set");
    }
    let code = |words: &str, more: &str, program: &str| {
        let script = format!("exec {} {words} {program} 2>/dev/null {more}", path());
        std::process::Command::new("sh").args(["-c", &script]).status().expect("sh starts").code()
    };
    let usr = format!("run --root {root} --ro-bind /usr /usr");
    for program in ["/try/9", "/try/script9"] {
        assert_eq!(code(&format!("{usr} --keep-fd 9"), "9</proc", program), OUTSIDE, "it is a way out");
    }
    let target = Waiting::new(&["--root", &root, "--ro-bind", "/usr", "/usr"]);
    let pid = target.inside();
    for words in [
        usr.clone(),
        format!("{usr} --init --tmpfs /dev/shm --hostname x"),
        format!("run --bind {root} / --ro-bind /usr /usr --proc /proc"),
        format!("run --join user={pid} --join mount={pid}"),
        format!("enter {pid}"),
        format!("unshare -Urmpf --mount-proc --root {root}"),
    ] {
        // Those that unshare(1) keeps open it keeps open, too.
        let more = if words.starts_with("unshare") { "" } else { "8</" };
        for program in (3..40).flat_map(|fd| [format!("/try/{fd}"), format!("/try/script{fd}")]) {
            let ended = code(&words, more, &program);
            assert!(matches!(ended, Some(126 | 127)), "{words} {program}: {ended:?}");
        }
    }
}
