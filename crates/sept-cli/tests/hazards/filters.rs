//! System calls under `--seccomp`.

use crate::common::{EXIT_WITH_ERRNO, Scratch, need, program, run, skip, stdout};

/// Each with arguments that do nothing, or fail by themselves, so that an answer shows who gave it.
const CALLS: [(&str, i64, &str); 27] = [
    ("unshare", libc::SYS_unshare, "0"),
    ("clone a user namespace", libc::SYS_clone, "0x10000200, 0"),
    ("clone3", libc::SYS_clone3, "0, 0"),
    ("setns", libc::SYS_setns, "-1, 0"),
    ("mount", libc::SYS_mount, "0, 0, 0, 0, 0"),
    ("umount2", libc::SYS_umount2, "0, 0"),
    ("pivot_root", libc::SYS_pivot_root, "0, 0"),
    ("fsopen", libc::SYS_fsopen, "0, 0"),
    ("fsconfig", libc::SYS_fsconfig, "-1, 99, 0, 0, 0"),
    ("fsmount", libc::SYS_fsmount, "-1, 0, 0"),
    ("fspick", libc::SYS_fspick, "-1, 0, 0"),
    ("open_tree", libc::SYS_open_tree, "-1, 0, 1"),
    ("move_mount", libc::SYS_move_mount, "-1, 0, -1, 0, 0"),
    ("mount_setattr", libc::SYS_mount_setattr, "-1, 0, 0, 0, 0"),
    ("bpf", libc::SYS_bpf, "9999, 0, 0"),
    ("keyctl", libc::SYS_keyctl, "9999, 0, 0, 0, 0"),
    ("add_key", libc::SYS_add_key, "0, 0, 0, 0, 0"),
    ("request_key", libc::SYS_request_key, "0, 0, 0, 0"),
    ("io_uring_setup", libc::SYS_io_uring_setup, "0, 0"),
    ("io_uring_enter", libc::SYS_io_uring_enter, "-1, 0, 0, 0, 0"),
    ("io_uring_register", libc::SYS_io_uring_register, "-1, 0, 0, 0"),
    ("ptrace", libc::SYS_ptrace, "9999, 0, 0, 0"),
    ("process_vm_readv", libc::SYS_process_vm_readv, "0, 0, 0, 0, 0, 0"),
    ("perf_event_open", libc::SYS_perf_event_open, "0, 0, 0, 0, 0"),
    ("userfaultfd", libc::SYS_userfaultfd, "0xffff"),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, "-1, 0, 0"),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, "-1, 0, 0"),
];

/// The errno of each call, 0 where it was done; with `more` added to its number.
fn answers(options: &[&str], more: &str) -> Vec<i32> {
    let calls: Vec<_> =
        CALLS.iter().map(|(_, number, args)| format!("t(syscall({number}{more}, {args}));")).collect();
    let attack = format!("sub t {{ print $_[0] < 0 ? $! + 0 : 0, \"\\n\" }} {}", calls.concat());
    let text = stdout(&run(&[options, &["perl", "-e", &attack]].concat()));
    text.lines().map(|line| line.parse().expect("a number")).collect()
}

fn refused(errno: i32) -> bool {
    matches!(errno, libc::EPERM | libc::ENOSYS)
}

#[test]
fn the_strict_policy_closes_what_user_namespaces_open() {
    if !need("the_strict_policy_closes_what_user_namespaces_open", &["perl"]) {
        return;
    }
    let open = answers(&[], "").into_iter().filter(|errno| !refused(*errno)).count();
    assert!(open >= 20, "without a policy they are open: {open}");
    for options in [
        ["--seccomp", "strict"].as_slice(),
        &["--seccomp", "strict", "--init"],
        &["--seccomp", "strict", "--namespaces", "none"],
        &["--seccomp", "strict", "--cap-drop", "all"],
        // The number of a call is its low half.
        &["--seccomp", "strict", "--share", "net"],
    ] {
        for more in ["", " + 2**32"] {
            let answers = answers(options, more);
            for ((name, ..), errno) in CALLS.iter().zip(answers) {
                assert!(refused(errno), "{options:?} {name}{more}: {errno}");
            }
        }
    }
}

/// Nested user namespaces, as a program would make them.
#[test]
fn under_strict_there_is_no_user_namespace_within() {
    let makes = |policy: &str| run(&["--seccomp", policy, "unshare", "-Ur", "true"]).status.success();
    assert!(makes("off") && !makes("default") && !makes("strict"));
}

/// The kernel looks at the low half of these arguments, so a policy must, too.
#[test]
fn high_halves_of_arguments_hide_nothing() {
    if !need("high_halves_of_arguments_hide_nothing", &["perl"]) {
        return;
    }
    let (socket, personality, clone) = (libc::SYS_socket, libc::SYS_personality, libc::SYS_clone);
    let attack = format!(
        "for my $high (0, 2**32, 2**63) {{ my @said; for my $call ([{socket}, 40, 1, 0], [{personality}, 0x0400000], [{clone}, 0x10000200, 0]) \
         {{ my ($n, $a, @more) = @$call; push @said, syscall($n, $a | $high, map {{ $_ + 0 }} @more) < 0 ? $! + 0 : 0 }} print \"@said\\n\" }}"
    );
    let said = |policy: &str| stdout(&run(&["--seccomp", policy, "perl", "-e", &attack]));
    for policy in ["default", "strict"] {
        assert_eq!(said(policy), ["1 1 1"; 3].join("\n"), "{policy}");
    }
    assert!(!said("off").contains("1 1 1"), "{}", said("off"));
}

/// A program that makes a call of i386 by its number, with one argument, and none behind it.
fn i386(scratch: &Scratch, name: &str, number: u32, argument: u32) -> String {
    let mut code = vec![0xb8];
    code.extend(number.to_le_bytes());
    code.push(0xbb);
    code.extend(argument.to_le_bytes());
    code.extend([0x31, 0xc9, 0x31, 0xd2, 0xcd, 0x80]);
    code.extend(EXIT_WITH_ERRNO);
    program(scratch, name, &code)
}

#[test]
fn other_abis_get_nothing_more_under_strict() {
    if !cfg!(target_arch = "x86_64") {
        skip("other_abis_get_nothing_more_under_strict", "the programs are for x86_64");
        return;
    }
    let scratch = Scratch::new();
    let code = |policy: &str, program: &str| run(&["--seccomp", policy, program]).status.code();
    // By the numbers of i386.
    for (name, number, argument) in [
        ("unshare", 310, 0),
        ("mount", 21, 0),
        ("umount", 22, 0),
        ("ptrace", 26, 9999),
        ("keyctl", 288, 9999),
        ("io_uring_setup", 425, 0),
        ("fsopen", 430, 0),
    ] {
        let program = i386(&scratch, name, number, argument);
        let (open, strict) = (code("off", &program), code("strict", &program));
        assert!(open.is_some_and(|errno| !refused(errno)), "{name}: {open:?}");
        assert!(strict.is_some_and(refused), "{name}: {strict:?}");
    }
    // Its arguments are in memory: a socket of a family that is refused, by both policies.
    let call = i386(&scratch, "socketcall", 102, 1);
    for policy in ["default", "strict"] {
        assert_eq!(
            (code("off", &call), code(policy, &call)),
            (Some(libc::EFAULT), Some(libc::ENOSYS)),
            "{policy}"
        );
    }
    // getpid of x32.
    let x32 = [&[0xb8, 0x27, 0, 0, 0x40, 0x0f, 0x05], EXIT_WITH_ERRNO.as_slice()].concat();
    assert_eq!(code("strict", &program(&scratch, "x32", &x32)), Some(128 + libc::SIGSYS));
}

/// Landlock knows connect(2) and bind(2) of TCP sockets, and a port is reached by other ways, too.
#[test]
fn what_landlock_does_not_see_of_tcp_is_refused() {
    let test = "what_landlock_does_not_see_of_tcp_is_refused";
    if !need(test, &["perl"]) {
        return;
    }
    if sept::host::probe::landlock_abi().unwrap_or(0) < 4 {
        skip(test, "this kernel's Landlock knows no ports");
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port().to_string();
    let attack = format!(
        r#"use Socket; my $to = pack_sockaddr_in($ARGV[0], inet_aton("127.0.0.1"));
        sub said {{ print "$_[0] ", $_[1] ? "done" : $! + 0, "\n" }}
        sub tcp {{ socket(my $s, AF_INET, SOCK_STREAM, 0); $s }}
        said("connect", connect(tcp(), $to));
        my $m; said("mptcp", socket($m, AF_INET, SOCK_STREAM, 262) && connect($m, $to));
        said("smc", socket(my $c, 43, SOCK_STREAM, 0));
        said("sendto", defined send(tcp(), "x", 0x20000000, $to));
        my ($data, $s) = ("x", tcp()); my $part = pack("P Q", $data, 1);
        my $message = pack("P L x4 P Q Q Q L x4", $to, length $to, $part, 1, 0, 0, 0);
        said("sendmsg", syscall({}, fileno $s, $message, 0x20000000) >= 0);
        ($s, $message) = (tcp(), $message . pack("L x4", 0));
        said("sendmmsg", syscall({}, fileno $s, $message, 1, 0x20000000) >= 0);
        said("upper protocol", setsockopt(tcp(), 6, 31, ""));
        said("no delay", setsockopt(tcp(), 6, 1, pack("i", 1)));
        said("io_uring", syscall({}, 1, my $zeros = "\0" x 120) >= 0);"#,
        libc::SYS_sendmsg,
        libc::SYS_sendmmsg,
        libc::SYS_io_uring_setup
    );
    let tried = |options: &[&str]| {
        stdout(&run(&[&["--share", "net"], options, &["perl", "-e", &attack, &port]].concat()))
    };
    let open = tried(&[]);
    assert!(
        open.matches("done").count() >= 4 && open.contains("sendto done") && open.contains("sendmsg done"),
        "without rules they work: {open}"
    );
    // With no name: the kernel says so before it looks for the protocol.
    assert!(open.contains("upper protocol 22"), "{open}");
    let refused = "connect 13\nmptcp 93\nsmc 97\nsendto 95\nsendmsg 95\nsendmmsg 95\nupper protocol 2\nno delay done\nio_uring 38";
    for rules in [["--landlock-connect", "none"], ["--landlock-connect", "1"]] {
        assert_eq!(tried(&rules), refused, "{rules:?}");
    }
    assert!(tried(&["--landlock-bind", "none"]).starts_with("connect done\nmptcp 93"), "for bind, too");
    let written = ["--landlock-exec", "/", "--landlock-rw", "/dev"];
    assert!(tried(&written).contains("sendto done"), "files are another matter");
}

/// socketcall and ipc of i386 are all of them in one; and a profile is for the ABIs that it names.
#[test]
fn what_a_policy_refuses_is_refused_as_a_part_of_another_call() {
    let test = "what_a_policy_refuses_is_refused_as_a_part_of_another_call";
    if !cfg!(target_arch = "x86_64") {
        skip(test, "the programs are for x86_64");
        return;
    }
    let scratch = Scratch::new();
    let i386 = |name: &str, number: u8, which: u32| {
        let mut code = vec![0xb8, number, 0, 0, 0, 0xbb];
        code.extend(which.to_le_bytes());
        code.extend([0x31, 0xc9, 0x31, 0xd2, 0xcd, 0x80]);
        code.extend(EXIT_WITH_ERRNO);
        program(&scratch, name, &code)
    };
    let (socket, bind) = (i386("socket", 102, 1), i386("bind", 102, 2));
    // Its number is the low half; the upper one is a version.
    let (shmget, newer) = (i386("shmget", 117, 23), i386("newer", 117, 0x1_0017));
    let policy = |name: &str, text: &str| {
        let file = scratch.path(name);
        std::fs::write(&file, text).expect("the file can be made");
        file
    };
    let open = policy("open.toml", "default = \"allow\"\n");
    let calls = "calls = [\"socket\", \"shmget\"]\nerrno = \"EACCES\"\n";
    let own = policy("own.toml", &format!("default = \"allow\"\n[[rules]]\n{calls}"));
    let based = policy("based.toml", &format!("base = \"default\"\n[[rules]]\n{calls}"));
    let entry = r#""syscalls":[{"names":["socket","shmget"],"action":"SCMP_ACT_ERRNO","errnoRet":13,
        "args":[{"index":2,"value":9,"op":"SCMP_CMP_NE"}]}]"#;
    let profile = |names: &str| format!("{{\"defaultAction\":\"SCMP_ACT_ALLOW\",{names}{entry}}}");
    let both = r#""architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],"#;
    let (oci, native) = (policy("oci.json", &profile(both)), policy("native.json", &profile("")));
    let code = |policy: &str, program: &str| run(&["--seccomp", policy, program]).status.code();
    for program in [&socket, &shmget, &newer] {
        assert_ne!(code(&open, program), Some(libc::EACCES), "{program} by itself");
        for policy in [&own, &based, &oci] {
            assert_eq!(code(policy, program), Some(libc::EACCES), "{policy} {program}");
        }
        assert_eq!(
            code(&native, program),
            Some(128 + libc::SIGSYS),
            "{program}: it is for its own ABI alone"
        );
    }
    assert_eq!(code(&own, &bind), Some(libc::EFAULT), "what is not refused goes on");
}

/// i386 has other calls for wider ids, sizes and times.
#[test]
fn what_a_policy_refuses_is_refused_under_the_names_of_i386() {
    let test = "what_a_policy_refuses_is_refused_under_the_names_of_i386";
    if !cfg!(target_arch = "x86_64") {
        skip(test, "the programs are for x86_64");
        return;
    }
    let scratch = Scratch::new();
    let policy = |name: &str, text: &str| {
        let file = scratch.path(name);
        std::fs::write(&file, text).expect("the file can be made");
        file
    };
    let calls = r#"["setuid", "chown", "setresuid", "truncate", "umount2", "clock_gettime", "utimensat"]"#;
    let open = policy("open.toml", "default = \"allow\"\n");
    let own = format!("default = \"allow\"\n[[rules]]\ncalls = {calls}\nerrno = \"EXDEV\"\n");
    let own = policy("own.toml", &own);
    let oci = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],
        "syscalls":[{{"names":{calls},"action":"SCMP_ACT_ERRNO","errnoRet":18}}]}}"#
    );
    let oci = policy("oci.json", &oci);
    let code = |policy: &str, program: &str| run(&["--seccomp", policy, program]).status.code();
    for (name, number, argument) in [
        ("setuid32", 213, u32::MAX),
        ("chown32", 212, 0),
        ("setresuid32", 208, 999_999),
        ("truncate64", 193, 0),
        ("umount", 22, 0),
        ("clock_gettime64", 403, 9999),
        ("utimensat_time64", 412, u32::MAX),
    ] {
        let program = i386(&scratch, name, number, argument);
        assert_ne!(code(&open, &program), Some(libc::EXDEV), "{name} by itself");
        assert_eq!(code(&own, &program), Some(libc::EXDEV), "{name}");
        assert_ne!(code(&oci, &program), Some(libc::EXDEV), "{name}: a profile means what it names");
    }
}
