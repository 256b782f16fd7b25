//! The terminal that is shared, and the one that is not.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::common::{
    EXIT_WITH_ERRNO, Scratch, Waiting, has_tiocsti, need, need_root, on_terminal, path, program, run, skip,
    stderr, stdout,
};

fn no_tiocsti(test: &str) -> bool {
    let has = has_tiocsti();
    if !has {
        skip(test, "this kernel has no TIOCSTI");
    }
    !has
}

/// CVE-2017-5226, CVE-2019-10063: typing into the terminal that is shared, also with a number whose upper half is not 0.
#[test]
fn nothing_is_typed_into_a_shared_terminal() {
    let test = "nothing_is_typed_into_a_shared_terminal";
    if !need(test, &["script", "perl"]) {
        return;
    }
    if no_tiocsti(test) {
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
    // By the name of the terminal, where no standard stream is one.
    let by_name = scratch.path("by-name.pl");
    let text = std::fs::read_to_string(&file).expect("it is there").replace("0, $n", "fileno($tty), $n");
    let text = format!("open(my $tty, '+<', '/dev/tty') or die; {}", text.replace("print", "print $tty"));
    std::fs::write(&by_name, text).expect("the file can be made");
    let says_by_name = |words: &str| {
        let line = format!("{words} perl {by_name} </dev/null >/dev/null 2>&1");
        String::from_utf8_lossy(&on_terminal(&line).output().expect("script starts").stdout).into_owned()
    };
    assert!(says_by_name("").contains("said typed typed"), "that works, too");
    let sept = path();
    assert!(says("").contains("said typed typed"), "without a guard it works");
    for words in [
        format!("{sept} run"),
        format!("{sept} run -U"),
        format!("{sept} run --init"),
        format!("{sept} run --namespaces none --no-new-privs"),
        format!("{sept} unshare -Ur"),
        format!("{sept} unshare -Ur --fork -p"),
        format!("{sept} enter {pid}"),
        format!("{sept} run --seccomp strict"),
    ] {
        let said = says(&words);
        assert!(said.contains("said no no no"), "{words}: {said}");
        let said = says_by_name(&words);
        assert!(said.contains("said no no no"), "{words}, by name: {said}");
    }
}

/// Not the caller itself any more: a terminal is typed into by whom `unshare` has become, too.
#[test]
fn a_user_that_unshare_becomes_types_nothing() {
    let test = "a_user_that_unshare_becomes_types_nothing";
    if !need_root(test, "nobody else can become another user")
        || !need(test, &["script", "perl"])
        || no_tiocsti(test)
    {
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.path("attack.pl");
    let ioctl = if cfg!(target_arch = "x86_64") { 16 } else { 29 };
    let attack = format!("my $c = 'x'; exit(syscall({ioctl}, 0, 0x5412, $c) == 0 ? 7 : 8)");
    std::fs::write(&file, attack).expect("the file can be made");
    let all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(scratch.path(""), all).expect("its mode can be set");
    let code = |words: &str| {
        let output = on_terminal(&format!("{words} perl {file}")).output();
        output.expect("script starts").status.code()
    };
    assert_eq!(code(""), Some(7), "it works");
    for options in ["-S 65534 -G 65534", "--root / -S 65534", ""] {
        assert_eq!(code(&format!("{} unshare {options}", path())), Some(8), "{options}");
    }
}

#[test]
fn nothing_is_typed_by_another_abi() {
    let test = "nothing_is_typed_by_another_abi";
    if !cfg!(target_arch = "x86_64") {
        skip(test, "the programs are for x86_64");
        return;
    }
    if !need(test, &["script"]) || no_tiocsti(test) {
        return;
    }
    let scratch = Scratch::new();
    // ioctl(0, TIOCSTI, 0x400001) of i386 by int 0x80: there is the E of the file's own ELF.
    let ioctl =
        [0xb8, 54, 0, 0, 0, 0xbb, 0, 0, 0, 0, 0xb9, 0x12, 0x54, 0, 0, 0xba, 1, 0, 0x40, 0, 0xcd, 0x80];
    let i386 = program(&scratch, "i386", &[ioctl.as_slice(), &EXIT_WITH_ERRNO].concat());
    let code =
        |words: &str| on_terminal(&format!("{words} {i386}")).output().expect("script starts").status.code();
    assert_eq!(code(""), Some(0), "it works");
    for words in ["run", "run --init", "unshare -Ur", "run --seccomp strict"] {
        assert_eq!(code(&format!("{} {words}", path())), Some(libc::EPERM), "{words}");
    }
}

/// CVE-2025-52565: the inner side of the own terminal is had from the kernel, not by a path.
#[test]
fn a_terminal_of_its_own_comes_from_no_false_pts() {
    let script = format!(
        "for n in 0 1 2 3 4 5 6 7 8 9; do echo decoy >/dev/pts/$n; done; {} run -t echo hello; echo $?; sort -u /dev/pts/?",
        path()
    );
    let output = run(&["--tmpfs", "/dev/pts", "sh", "-c", &script]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "125\ndecoy\n", "{}", stderr(&output));
    let script = format!("{} run -t sh -c 'test -t 0 && test -t 1 && echo terminal'", path());
    let output = run(&["sh", "-c", &script]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("terminal"), "{}", stderr(&output));
}

/// A session of its own may make a terminal its own that nobody has, by whatever descriptor it is handed over.
#[test]
fn a_terminal_among_kept_descriptors_is_guarded() {
    let test = "a_terminal_among_kept_descriptors_is_guarded";
    if !need(test, &["setsid"]) || no_tiocsti(test) {
        return;
    }
    let planned = |options: &str| {
        let line = format!("exec 7<>/dev/null 8</etc/passwd; {} run {options} --plan true", path());
        let mut alone = std::process::Command::new("setsid");
        alone
            .args(["-w", "sh", "-c", &line])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = alone.output().expect("setsid starts");
        stdout(&output).contains("terminal injection")
    };
    assert!(!planned("") && !planned("--keep-fd 8"), "there is no terminal");
    assert!(planned("--keep-fd 7") && planned("--keep-fd all"), "7 may be one");
}
