//! Policies for system calls, as the kernel enforces them, and `sept seccomp`.

mod common;

use common::{EXIT_WITH_ERRNO, Scratch, program, run, sept, stderr, stdout};

fn code(args: &[&str]) -> Option<i32> {
    run(args).status.code()
}

#[test]
fn the_kernel_enforces_the_ready_policies() {
    for policy in ["default", "strict"] {
        let script = "grep ^Seccomp: /proc/self/status; ls / >/dev/null && (sleep 0 & wait) && echo works; \
                      unshare -U true || mount -t tmpfs none /mnt || echo refused";
        let output = run(&["--seccomp", policy, "sh", "-c", script]);
        let text = stdout(&output);
        assert!(text.starts_with("Seccomp:\t2\nworks") && text.ends_with("refused"), "{policy}: {text}");
    }
    assert!(stdout(&run(&["--seccomp", "off", "grep", "^Seccomp:", "/proc/self/status"])).ends_with('0'));
    let output = run(&["--seccomp", "default", "--init", "sh", "-c", "echo $$"]);
    assert_eq!(stdout(&output), "2", "under a reaper, too");
}

#[test]
fn other_abis_are_no_way_around() {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("skipped: other_abis_are_no_way_around: the programs are for x86_64");
        return;
    }
    let scratch = Scratch::new();
    // getpid of x32.
    let x32 = [&[0xb8, 0x27, 0, 0, 0x40, 0x0f, 0x05], EXIT_WITH_ERRNO.as_slice()].concat();
    let x32 = program(&scratch, "x32", &x32);
    assert_eq!(code(&["--seccomp", "default", &x32]), Some(128 + libc::SIGSYS));
    // unshare(CLONE_NEWUSER) of i386, by int 0x80.
    let i386 = [&[0xb8, 0x36, 1, 0, 0, 0xbb, 0, 0, 0, 0x10, 0xcd, 0x80], EXIT_WITH_ERRNO.as_slice()].concat();
    let i386 = program(&scratch, "i386", &i386);
    assert_eq!(code(&[&i386]), Some(0), "without a filter it is done");
    assert_eq!(code(&["--seccomp", "default", &i386]), Some(libc::EPERM));
    // A call that does not exist yet.
    let newer = [&[0xb8, 0xe8, 3, 0, 0, 0x0f, 0x05], EXIT_WITH_ERRNO.as_slice()].concat();
    let newer = program(&scratch, "newer", &newer);
    assert_eq!(code(&["--seccomp", "default", &newer]), Some(libc::ENOSYS));
}

#[test]
fn a_policy_of_the_oci_specification_is_read() {
    let scratch = Scratch::new();
    let file = scratch.path("policy.json");
    let policy = r#"{
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30 },
            { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 2, "op": "SCMP_CMP_EQ" }] },
            { "names": ["a_call_of_another_kernel"], "action": "SCMP_ACT_ERRNO" }
        ]
    }"#;
    std::fs::write(&file, policy).expect("the file can be made");
    let output = run(&["--seccomp", &file, "sh", "-c", "mkdir /tmp/sept-never-made || echo no"]);
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("no") && stderr(&output).contains("Read-only"),
        "{}",
        stderr(&output)
    );
    let ask = |words: &[&str]| {
        sept().args([&["seccomp", "test", &file], words].concat()).output().expect("sept starts")
    };
    assert!(stdout(&ask(&["mkdir"])).contains("read-only"));
    assert!(
        stdout(&ask(&["socket", "2"])).contains("not permitted")
            && stdout(&ask(&["socket", "1"])).contains("allow")
    );
    for (text, reason) in [
        ("", "no JSON"),
        ("[]", "no object"),
        ("{}", "defaultAction"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"NO"}]}"#, "no action NO"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"SCMP_ACT_LOG","args":[{"index":6,"op":"SCMP_CMP_EQ"}]}]}"#,
            "from 0 to 5",
        ),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_LOG"}]}"#, "no names"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_TSYNC"]}"#, "not supported"),
        (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "listener"),
    ] {
        std::fs::write(&file, text).expect("the file can be made");
        let output = run(&["--seccomp", &file, "true"]);
        assert!(
            output.status.code() == Some(125) && stderr(&output).contains(reason),
            "{text}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn policies_are_explained_compiled_and_tried() {
    let ask = |words: &[&str]| sept().arg("seccomp").args(words).output().expect("sept starts");
    let explained = stdout(&ask(&["explain", "default"]));
    assert!(
        explained.contains("clone where argument 0 & 0x7e020000 = 0x0") && explained.contains("kexec_load"),
        "{explained}"
    );
    assert!(stdout(&ask(&["test", "default", "ptrace"])).contains("allow"));
    assert!(stdout(&ask(&["test", "strict", "ptrace"])).contains("not permitted"));
    assert!(stdout(&ask(&["test", "default", "clone", "0x10000000"])).contains("not permitted"));
    let compiled = ask(&["compile", "default"]);
    assert!(
        compiled.status.success() && compiled.stdout.len() > 800 && compiled.stdout.len().is_multiple_of(8)
    );
    for (words, reason) in [
        (vec![], "what to do"),
        (vec!["explain"], "what to do"),
        (vec!["explain", "no-such"], "cannot read the policy"),
        (vec!["test", "default", "ptrac"], "perhaps ptrace"),
        (vec!["test", "default", "clone", "x"], "no number"),
        (vec!["guess", "default"], "what to do"),
    ] {
        let output = ask(&words);
        assert!(
            output.status.code() == Some(125) && stderr(&output).contains(reason),
            "{words:?} {}",
            stderr(&output)
        );
    }
}
