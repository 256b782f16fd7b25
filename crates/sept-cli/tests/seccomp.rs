//! Policies for system calls, as the kernel enforces them, and `sept seccomp`.

mod common;

use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use common::{EXIT_WITH_ERRNO, Scratch, program, run, sept, skip, stderr, stdout};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use sept::seccomp::{Listener, Response};

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
    // On the caller's terminal there is one that refuses to type into it.
    let line = ["-t", "--seccomp", "off", "grep", "^Seccomp:", "/proc/self/status"];
    assert!(stdout(&run(&line)).ends_with('0'));
    let output = run(&["--seccomp", "default", "--init", "sh", "-c", "echo $$"]);
    assert_eq!(stdout(&output), "2", "under a reaper, too");
}

#[test]
fn other_abis_are_no_way_around() {
    if !cfg!(target_arch = "x86_64") {
        skip("other_abis_are_no_way_around", "the programs are for x86_64");
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
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}"#, "no flag"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["log"]}"#, "no flag"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":1}"#, "flags is no list"),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"x"}"#, "without listenerPath"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["@mount"],"action":"SCMP_ACT_LOG"}]}"#,
            "a group",
        ),
        (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "asks a listener"),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_FOO"]}"#,
            "no architecture \"SCMP_ARCH_FOO\"; SCMP_ARCH_ is followed by one of AARCH64, ARM,",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86-64"]}"#,
            "perhaps X86_64 was meant",
        ),
        (r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["x86"]}"#, "SCMP_ARCH_ is followed"),
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
        explained.contains("clone where arg0 & 0x7e020000 == 0") && explained.contains("kexec_load"),
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

/// What `sept seccomp` prints.
fn ask(words: &[&str]) -> std::process::Output {
    sept().arg("seccomp").args(words).output().expect("sept starts")
}

#[test]
fn a_policy_of_ones_own_is_enforced() {
    let scratch = Scratch::new();
    let file = scratch.path("policy.toml");
    let policy = r#"
        name = "mine"
        base = "default"
        flags = ["log", "spec-allow", "tsync"]

        [[rules]]
        calls = ["mkdir", "mkdirat"]
        errno = "EROFS"

        [[rules]]
        calls = ["@swap", "chdir"]
        action = "kill-process"
    "#;
    std::fs::write(&file, policy).expect("the file can be made");
    let script = "mkdir /tmp/sept-never-made || echo no; unshare -U true || echo refused";
    let output = run(&["--seccomp", &file, "sh", "-c", script]);
    assert_eq!(stdout(&output), "no\nrefused", "{}", stderr(&output));
    assert!(stderr(&output).contains("Read-only"), "{}", stderr(&output));
    assert_eq!(code(&["--seccomp", &file, "sh", "-c", "cd /"]), Some(128 + libc::SIGSYS));
    let plan = stdout(&run(&["--seccomp", &file, "--plan", "true"]));
    assert!(plan.contains("filter system calls: mine ("), "{plan}");

    let explained = stdout(&ask(&["explain", &file]));
    for words in
        ["mine", "kill the process: @swap, chdir", "EROFS, read-only", "kexec_load", "tsync, log, spec-allow"]
    {
        assert!(explained.contains(words), "{words} in {explained}");
    }
    assert!(explained.contains("tsync says nothing here"), "{explained}");
    assert!(stdout(&ask(&["test", &file, "swapon"])).contains("kill the process"));

    // Known by how it begins, where the name does not tell.
    let bare = scratch.path("policy");
    std::fs::write(&bare, "# mine\ndefault = 'allow'\n").expect("the file can be made");
    assert!(stdout(&ask(&["explain", &bare])).contains("allow: every other call"));
    std::fs::write(&bare, "\n {\"defaultAction\": \"SCMP_ACT_LOG\"}").expect("the file can be made");
    assert!(stdout(&ask(&["explain", &bare])).contains("allow and log: every other call"));
}

#[test]
fn a_list_of_what_is_allowed_is_enough_for_a_shell() {
    let scratch = Scratch::new();
    let file = scratch.path("policy.toml");
    let policy = "default = 'EPERM'\n[[rules]]\ncalls = ['@system-service', '@sandbox']\naction = 'allow'\n";
    std::fs::write(&file, policy).expect("the file can be made");
    let script = "ls / >/dev/null && (sleep 0 & wait) && echo works | cat; chroot / true || echo refused";
    assert_eq!(stdout(&run(&["--seccomp", &file, "sh", "-c", script])), "works\nrefused");
    // A number that nobody knows fails as on an older kernel.
    assert!(stdout(&ask(&["test", &file, "1000"])).contains("ENOSYS"));
}

#[test]
fn a_policy_that_is_not_understood_says_where_and_what_was_meant() {
    let scratch = Scratch::new();
    let file = scratch.path("policy.toml");
    let rule = |rule: &str| format!("default = \"allow\"\n[[rules]]\n{rule}");
    for (text, place, reason) in [
        (String::new(), "line 1, column 1", "default is missing"),
        ("default = ".to_owned(), "line 1", "column"),
        ("\n\ndefalt = 'allow'".to_owned(), "line 3, column 1", "perhaps default was meant"),
        ("default = 'alow'".to_owned(), "line 1, column 11", "perhaps allow was meant"),
        ("default = 3".to_owned(), "line 1, column 11", "text in quotes"),
        ("base = 'default'\nname = \"\\u001b[2J\"".to_owned(), "line 2, column 8", "control characters"),
        ("base = 'podman'".to_owned(), "line 1, column 8", "none, default or strict"),
        ("base = 'default'\nflags = ['lgo']".to_owned(), "line 2, column 10", "perhaps log was meant"),
        ("base = 'default'\nrules = 3".to_owned(), "line 2, column 9", "is a list"),
        ("base = 'default'\nrules = [3]".to_owned(), "line 2, column 10", "a rule is a table"),
        (rule("action = 'log'"), "line 2", "needs calls"),
        (rule("calls = ['mkdir']"), "line 2", "an action or an errno"),
        (rule("calls = ['mkdir']\naction = 'log'\nerrno = 'EPERM'"), "line 2", "not both"),
        (
            rule("calls = ['mkdri']\naction = 'log'"),
            "line 3, column 10",
            "no call mkdri; perhaps mkdir was meant",
        ),
        (rule("calls = ['@file']\naction = 'log'"), "line 3, column 10", "perhaps @file-system was meant"),
        (rule("calls = ['mkdir']\nerrno = 'EPRM'"), "line 4, column 9", "perhaps EPERM was meant"),
        (rule("calls = ['mkdir']\naction = 'trap:x'"), "line 4, column 10", "from 0 to 65535"),
        (rule("calls = ['mkdir']\naction = 'log'\nwhen = ['arg7 == 1']"), "line 5, column 9", "arg0 to arg5"),
        (rule("calls = ['mkdir']\naction = 'log'\nwen = []"), "line 5, column 1", "perhaps when was meant"),
    ] {
        std::fs::write(&file, &text).expect("the file can be made");
        for output in [ask(&["explain", &file]), run(&["--seccomp", &file, "true"])] {
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(125), "{text}: {said}");
            assert!(said.contains(place) && said.contains(reason), "{text}: {said}");
        }
    }
}

#[test]
fn conditions_tell_arguments_apart() {
    let scratch = Scratch::new();
    let file = scratch.path("policy.toml");
    let policy = "default = 'allow'\n[[rules]]\ncalls = ['kill']\naction = 'trap:7'\n\
                  when = ['arg0 > 1', 'arg0 < 100', 'arg1:32 == -1']\n";
    std::fs::write(&file, policy).expect("the file can be made");
    let said = |arguments: &[&str]| stdout(&ask(&[&["test", file.as_str(), "kill"], arguments].concat()));
    assert!(said(&["2", "0xffffffff"]).contains("send SIGSYS (7)"));
    assert!(said(&["99", "0xffffffffffffffff"]).contains("send SIGSYS (7)"));
    for others in [["1", "0xffffffff"], ["100", "0xffffffff"], ["2", "1"], ["2", "0xfffffffffffffffe"]] {
        assert!(said(&others).contains("allow"), "{others:?}");
    }
}

#[test]
fn an_entry_of_an_oci_policy_that_compares_an_argument_twice_holds_where_any_does() {
    let scratch = Scratch::new();
    let file = scratch.path("policy.json");
    let arg = |index, value| format!(r#"{{"index": {index}, "value": {value}, "op": "SCMP_CMP_EQ"}}"#);
    let policy = |args: &[String]| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
                 "syscalls": [{{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{}]}}]}}"#,
            args.join(", ")
        )
    };
    let refused = |arguments: &[&str]| {
        stdout(&ask(&[&["test", file.as_str(), "socket"], arguments].concat())).contains("not permitted")
    };
    std::fs::write(&file, policy(&[arg(0, 2), arg(0, 10), arg(1, 3)])).expect("the file can be made");
    assert!(refused(&["2", "0"]) && refused(&["10", "0"]) && refused(&["1", "3"]), "each is enough");
    assert!(!refused(&["1", "0"]));
    std::fs::write(&file, policy(&[arg(0, 2), arg(1, 3)])).expect("the file can be made");
    assert!(refused(&["2", "3"]) && !refused(&["2", "0"]) && !refused(&["1", "3"]), "all are needed");
    assert!(run(&["--seccomp", &file, "true"]).status.success(), "the flags are taken");
}

#[test]
fn groups_are_listed() {
    let all = stdout(&ask(&["groups"]));
    for name in ["@mount ", "@network-io ", "@system-service ", "@known "] {
        assert!(all.contains(name), "{name} in {all}");
    }
    let mount = stdout(&ask(&["groups", "mount"]));
    assert!(mount.starts_with("@mount: ") && mount.contains("  pivot_root "), "{mount}");
    assert_eq!(stdout(&ask(&["groups", "@network"])), stdout(&ask(&["groups", "network-io"])));
    let output = ask(&["groups", "@monut"]);
    assert!(output.status.code() == Some(125) && stderr(&output).contains("perhaps @mount was meant"));
}

#[test]
fn every_policy_of_the_page_is_one() {
    let page = include_str!("../../../docs/seccomp.md");
    let scratch = Scratch::new();
    let file = scratch.path("policy.toml");
    let blocks: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 5);
    for block in blocks {
        std::fs::write(&file, block).expect("the file can be made");
        stdout(&ask(&["explain", &file]));
        assert!(ask(&["compile", &file]).status.success(), "{block}");
    }
}

/// Takes one connection: the listener, and what is told with it.
fn one_listener(socket: &UnixListener) -> (Listener, serde_json::Value) {
    let (mut connection, _) = socket.accept().expect("sept connects");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; 4096];
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let received =
        recvmsg(&connection, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).expect("a message");
    let fd: OwnedFd = control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .expect("a descriptor");
    bytes.truncate(received.bytes);
    connection.read_to_end(&mut bytes).expect("the connection ends");
    (fd.into(), serde_json::from_slice(&bytes).expect("it is JSON"))
}

#[test]
fn an_agent_at_a_socket_answers() {
    let scratch = Scratch::new();
    let (path, file, oci) = (scratch.path("agent"), scratch.path("policy.toml"), scratch.path("policy.json"));
    let socket = UnixListener::bind(&path).expect("it can listen");
    let policy = "default = 'allow'\n[[rules]]\ncalls = ['mkdir', 'mkdirat', 'execve']\naction = 'notify'\n";
    std::fs::write(&file, policy).expect("the file can be made");
    let profile = format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "{path}", "listenerMetadata": "told",
             "syscalls": [{{"names": ["mkdir", "mkdirat", "execve"], "action": "SCMP_ACT_NOTIFY"}}]}}"#
    );
    std::fs::write(&oci, profile).expect("the file can be made");
    let script = "LC_ALL=C exec mkdir /tmp/sept-never-made";
    for (options, metadata) in
        [(vec!["--seccomp", &file, "--seccomp-listener", &path], ""), (vec!["--seccomp", &oci], "told")]
    {
        let mut child = sept();
        child.arg("run").args(options).args(["sh", "-c", script]).stderr(Stdio::piped());
        let child = child.spawn().expect("sept starts");
        let (listener, state) = one_listener(&socket);
        assert_eq!(state["fds"], serde_json::json!(["seccompFd"]), "{state}");
        assert_eq!(
            (state["metadata"].as_str(), state["state"]["status"].as_str()),
            (Some(metadata), Some("creating"))
        );
        let pid = state["pid"].as_u64().expect("a pid");
        assert_eq!(state["state"]["pid"].as_u64(), Some(pid));
        let mut calls = Vec::new();
        while let Some(call) = listener.receive().expect("a call comes") {
            assert_eq!(u64::from(call.pid), pid, "the pid is that of the command");
            let name = call.call().expect("it has a name");
            let response =
                if name == "execve" { Response::Continue } else { Response::Errno(libc::EDQUOT as u16) };
            listener.respond(call.id, response).expect("it is answered");
            calls.push(name);
        }
        let output = child.wait_with_output().expect("it ends");
        assert!(stderr(&output).contains("quota"), "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(1));
        assert!(
            calls.contains(&"execve") && calls.last().is_some_and(|name| name.starts_with("mkdir")),
            "{calls:?}"
        );
    }
}

#[test]
fn without_an_agent_nothing_is_started() {
    let scratch = Scratch::new();
    let (path, file) = (scratch.path("agent"), scratch.path("policy.toml"));
    let marker = scratch.path("marker");
    let touch = format!("touch {marker}");
    std::fs::write(&file, "default = 'allow'\n[[rules]]\ncalls = ['mkdir']\naction = 'notify'\n")
        .expect("a file");
    let refused = |options: &[&str], reason: &str| {
        let output = run(&[options, &["sh", "-c", &touch]].concat());
        let said = stderr(&output);
        assert!(output.status.code() == Some(125) && said.contains(reason), "{options:?}: {said}");
        assert!(!std::path::Path::new(&marker).exists(), "{options:?}");
    };
    refused(&["--seccomp", &file], "asks a listener");
    refused(&["--seccomp", &file, "--seccomp-listener", &path], "cannot connect to the seccomp agent");
    refused(&["--seccomp", "default", "--seccomp-listener", &path], "none does");
    refused(&["--seccomp-listener", &path], "none does");
    // It is there, and gives no answer to execve: the time-out ends the start.
    std::fs::write(&file, "default = 'allow'\n[[rules]]\ncalls = ['execve']\naction = 'notify'\n")
        .expect("a file");
    let socket = UnixListener::bind(&path).expect("it can listen");
    let mut child = sept();
    child.args([
        "run",
        "--timeout",
        "0.3",
        "--seccomp",
        &file,
        "--seccomp-listener",
        &path,
        "sh",
        "-c",
        &touch,
    ]);
    let mut child = child.spawn().expect("sept starts");
    let (listener, _) = one_listener(&socket);
    assert_eq!(child.wait().expect("it ends").code(), Some(124));
    assert!(!std::path::Path::new(&marker).exists());
    drop(listener);
    // It is there, and takes no connection.
    rustix::net::listen(&socket, 0).expect("a shorter queue");
    let _waiting = std::os::unix::net::UnixStream::connect(&path).expect("one waits");
    refused(&["--seccomp", &file, "--seccomp-listener", &path], "has not taken this connection");
}

#[test]
fn a_second_listener_around_the_first_is_explained() {
    let scratch = Scratch::new();
    let (path, file) = (scratch.path("agent"), scratch.path("policy.toml"));
    let socket = UnixListener::bind(&path).expect("it can listen");
    std::fs::write(&file, "default = 'allow'\n[[rules]]\ncalls = ['mkdir']\naction = 'notify'\n")
        .expect("a file");
    let asking = ["run", "--seccomp", &file, "--seccomp-listener", &path];
    let mut outer = sept();
    outer.args(asking).arg(common::path()).args(asking).arg("true").stderr(Stdio::piped());
    let outer = outer.spawn().expect("sept starts");
    let (listener, _) = one_listener(&socket);
    assert_eq!(listener.receive().expect("it ends"), None, "no call is asked about");
    let output = outer.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("has a listener, and the kernel allows one"), "{}", stderr(&output));
}

#[test]
fn what_is_no_policy_is_told_as_that() {
    let explain = |name: &str| {
        let output = sept().args(["seccomp", "explain", name]).output().expect("sept starts");
        assert_eq!(output.status.code(), Some(125));
        stderr(&output)
    };
    assert!(explain("off").contains("off is no policy"));
    assert!(explain("/dev/zero").contains("4 MiB at most"));
}

#[test]
fn a_filter_that_refuses_set_up_is_named() {
    let scratch = Scratch::new();
    let file = scratch.path("short.toml");
    std::fs::write(&file, "default = 'EPERM'\n[[rules]]\ncalls = ['read']\naction = 'allow'\n")
        .expect("the file can be made");
    let output = run(&["--seccomp", &file, "true"]);
    let said = stderr(&output);
    assert!(!output.status.success() && said.contains(&format!("the filter {file}")), "{said}");
    assert!(said.contains("allow in the policy: close_range"), "{said}");
}

#[test]
fn an_argument_of_a_call_may_be_negative() {
    let output =
        sept().args(["seccomp", "test", "default", "kill", "-1", "9"]).output().expect("sept starts");
    assert!(stdout(&output).starts_with("kill: allow"), "{}", stderr(&output));
}
