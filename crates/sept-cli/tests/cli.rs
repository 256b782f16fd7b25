//! The promises of `sept run`: exit codes, signals, errors, files, and what is left behind.

mod common;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{
    Scratch, Waiting, children, host, is_root, namespace_of, need, need_root, path, run, sept, soon, stderr,
    stdout,
};

fn code(args: &[&str]) -> i32 {
    run(args).status.code().expect("sept exits")
}

/// Refused: exit code 125, the reason on standard error, nothing on standard output.
fn refused(args: &[&str], reason: &str) {
    let output = run(args);
    assert_eq!(output.status.code(), Some(125), "{args:?}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(stderr(&output).contains(reason), "{args:?}: {}", stderr(&output));
}

#[test]
fn each_kind_alone_and_all_eight_together_are_new() {
    let kinds = [
        ("-U", "user"),
        ("-Um", "mnt"),
        ("-Up", "pid"),
        ("-Uu", "uts"),
        ("-Ui", "ipc"),
        ("-Un", "net"),
        ("-UC", "cgroup"),
        ("-UT", "time"),
    ];
    for (option, link) in kinds {
        let waiting = Waiting::new(&[option]);
        assert_ne!(waiting.namespace(link), namespace_of("self", link), "{link}");
        for (other, untouched) in kinds {
            if other != option && untouched != "user" {
                assert_eq!(
                    waiting.namespace(untouched),
                    namespace_of("self", untouched),
                    "{option} {untouched}"
                );
            }
        }
    }
    let waiting = Waiting::new(&["-UmpuinCT"]);
    for (_, link) in kinds {
        assert_ne!(waiting.namespace(link), namespace_of("self", link), "{link}");
    }
}

#[test]
fn share_takes_kinds_out_of_the_default() {
    let waiting = Waiting::new(&["--share", "net,ipc"]);
    for link in ["net", "ipc", "time"] {
        assert_eq!(waiting.namespace(link), namespace_of("self", link), "{link}");
    }
    for link in ["user", "mnt", "pid", "uts", "cgroup"] {
        assert_ne!(waiting.namespace(link), namespace_of("self", link), "{link}");
    }
}

#[test]
fn none_makes_no_namespace() {
    let waiting = Waiting::new(&["--namespaces", "none"]);
    for link in ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"] {
        assert_eq!(waiting.namespace(link), namespace_of("self", link), "{link}");
    }
}

/// Also before Linux 6.3, where one enters it at fork only: in the namespace that /proc names the clocks are those of outside.
#[test]
fn a_time_namespace_is_there_from_the_start() {
    let links = "readlink /proc/self/ns/time; readlink /proc/self/ns/time_for_children";
    let inside = stdout(&run(&["-UT", "sh", "-c", links]));
    let (own, childrens) = inside.split_once('\n').expect("two links");
    assert_eq!(own, childrens);
    assert_ne!(std::path::Path::new(own), namespace_of("self", "time"));
}

#[test]
fn clocks_are_offset() {
    let uptime = |text: String| text.split('.').next().and_then(|n| n.parse::<u64>().ok()).expect("a number");
    let outside = uptime(host("cat", &["/proc/uptime"]));
    for options in [["-U"].as_slice(), &["-Up", "--init"]] {
        let inside =
            uptime(stdout(&run(&[options, &["--boottime", "1000000", "cat", "/proc/uptime"]].concat())));
        assert!(
            (outside + 1_000_000..outside + 1_000_060).contains(&inside),
            "{options:?} {outside} {inside}"
        );
    }
}

#[test]
fn the_exit_code_is_the_commands() {
    assert_eq!(code(&["sh", "-c", "exit 7"]), 7);
    assert_eq!(code(&["--init", "sh", "-c", "exit 7"]), 7);
    assert_eq!(code(&["-Uu", "sh", "-c", "kill -TERM $$"]), 128 + 15);
    assert_eq!(code(&["--init", "sh", "-c", "kill -KILL $$"]), 128 + 9);
}

#[test]
fn not_found_is_127_and_not_executable_is_126() {
    assert_eq!(code(&["no-such-program"]), 127);
    assert_eq!(code(&["/no/such/program"]), 127);
    assert_eq!(code(&["/etc/passwd"]), 126);
    assert_eq!(code(&["/etc"]), 126);
}

#[test]
fn a_missing_interpreter_is_named() {
    let scratch = Scratch::new();
    let script = scratch.path("script");
    std::fs::write(&script, "#!/no/such/interpreter -x\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = run(&[&script]);
    assert_eq!(output.status.code(), Some(126));
    assert!(
        stderr(&output).contains("#! interpreter \"/no/such/interpreter\" is not"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_file_without_an_interpreter_line_is_not_run_through_sh() {
    let scratch = Scratch::new();
    let script = scratch.path("script");
    std::fs::write(&script, "echo hello\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = run(&[&script]);
    assert_eq!(output.status.code(), Some(126));
    assert!(stderr(&output).contains("#!/bin/sh"), "{}", stderr(&output));
}

#[test]
fn bad_requests_are_refused_before_anything_is_touched() {
    let long = "a".repeat(65);
    refused(&["--share", "net", "-n", "true"], "--share");
    refused(&["--share", "uts", "--hostname", "x", "true"], "--share uts says not");
    refused(&["--namespaces", "none", "-u", "true"], "contradict");
    refused(&["--map-users", "0:0:0", "true"], "maps nothing");
    refused(&["--map-users", "0:0:10", "--map-users", "5:100:1", "true"], "overlap");
    refused(&["--map-users", "0:1:4294967295", "true"], "past the last id");
    refused(&["--map-users", "0:0:4294967296", "true"], "no id map");
    refused(&["--hostname", &long, "true"], "at most 64");
    refused(&["--bind", "/no/such/source", "/mnt", "true"], "/no/such/source");
    refused(&["--root", "/no/such/root", "true"], "/no/such/root");
    refused(&["--wd", "/no/such/dir", "true"], "/no/such/dir");
    refused(&["--wd", "/proc/self/fd/0", "true"], "/proc/self/fd/0");
    refused(&["--keep-fd", "99", "true"], "99 is not open");
    refused(&["--timeout", "soon", "true"], "duration");
    refused(&["--timeout", "0", "true"], "no time to run");
    refused(&["--timeout", "99999999999999999999", "true"], "longer time than can be kept");
    refused(&["--env", "", "true"], "has no name");
    refused(&["--unset", "", "true"], "has no name");
    refused(&["--unset", "A=B", "true"], "holds no '='");
    refused(&["--landlock-connect", "none", "--landlock-connect", "80", "true"], "contradict each other");
    refused(&["--memory", "x", "true"], "with K, M, G or T if need be");
    refused(&["--rlimit", "nofile=x", "true"], "for no limit: unlimited");
    refused(&["--map-users", "0:0:4294967296", "true"], "each below 4294967296");
    refused(&["--setuid", "-1", "true"], "an id is a number");
    refused(&["--network", "nonsense", "true"], "one of none, host");
    refused(&["--plan=yaml", "true"], "json");
}

#[test]
fn unknown_options_suggest_the_right_one() {
    refused(&["--hostnam", "x"], "perhaps --hostname was meant");
    refused(&["--unshare-net", "true"], "here that is -n");
    refused(&["--fork", "true"], "always starts a new process");
    let output = sept().arg("rnu").output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("perhaps `sept run` was meant"));
}

#[test]
fn nothing_after_the_command_is_parsed() {
    assert_eq!(stdout(&run(&["echo", "--bind", "--help", ""])), "--bind --help");
    assert_eq!(stdout(&run(&["--", "echo", "-n", "x\ny"])), "x\ny");
}

#[test]
fn errors_can_be_json() {
    let output = run(&["--json-errors", "/no/such/program"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).expect("one JSON object");
    assert_eq!(error["error"]["exit_code"], 127);
    assert_eq!(error["error"]["kind"], "step");
    assert_eq!(error["error"]["errno"], 2);
    assert_eq!(error["error"]["step"], error["error"]["steps"]);
}

#[test]
fn the_plan_is_printed_and_nothing_is_done() {
    let pinned = stdout(&run(&["--plan", "--pin", "never-made", "true"]));
    assert!(pinned.contains("wait to be started"), "{pinned}");
    let scratch = Scratch::new();
    let file = scratch.path("file");
    let text = stdout(&run(&["--plan", "--hostname", "x", "touch", &file]));
    assert!(text.starts_with("clone: new user, mount, pid, uts, ipc, net, cgroup\n"), "{text}");
    assert!(
        text.contains("set the hostname to x") && text.contains("execute touch\nif possible: cgroup"),
        "{text}"
    );
    let plan: serde_json::Value =
        serde_json::from_str(&stdout(&run(&["--plan=json", "touch", &file]))).unwrap();
    assert_eq!(plan["steps"].as_array().unwrap().last().unwrap(), "execute touch");
    assert!(!std::path::Path::new(&file).exists());
}

#[test]
fn the_report_tells_how_it_ended() {
    let scratch = Scratch::new();
    let file = scratch.path("report.json");
    let read = || serde_json::from_slice::<serde_json::Value>(&std::fs::read(&file).unwrap()).unwrap();
    run(&["--report", &file, "sh", "-c", "exit 3"]);
    assert_eq!((&read()["exit_code"], &read()["timed_out"]), (&3.into(), &false.into()));
    run(&["--report", &file, "--timeout", "100ms", "sleep", "60"]);
    assert_eq!((&read()["exit_code"], &read()["timed_out"]), (&124.into(), &true.into()));
    run(&["--report", &file, "/no/such/program"]);
    assert_eq!(read()["error"]["exit_code"], 127);
}

#[test]
fn a_report_that_is_not_there_is_an_error_and_hides_none() {
    let output = run(&["--report", "/dev/full", "/no/such/program"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(127), "{said}");
    assert!(said.contains("cannot write the report") && said.contains("/no/such/program"), "{said}");
    let output = run(&["--report", "/dev/full", "sh", "-c", "exit 7"]);
    let said = stderr(&output);
    assert!(output.status.code() == Some(125) && said.contains("has ended, with 7"), "{said}");
    assert_eq!(said.matches("cannot write the report").count(), 1, "{said}");
    // Another file in its place is none of sept's.
    let scratch = Scratch::new();
    let file = scratch.path("report.json");
    let script = format!("rm {file}; echo forged >{file}; exit 7");
    let output = run(&["--report", &file, "sh", "-c", &script]);
    let said = stderr(&output);
    assert!(output.status.code() == Some(125) && said.contains("moved or replaced"), "{said}");
    // Nor is a link that was left there followed.
    let precious = scratch.path("precious");
    std::fs::write(&precious, "kept").expect("a file");
    let script = format!("rm {file}; ln -s {precious} {file}");
    assert!(stderr(&run(&["--report", &file, "sh", "-c", &script])).contains("moved or replaced"));
    assert_eq!(run(&["--report", &file, "true"]).status.code(), Some(125));
    assert_eq!(std::fs::read(&precious).expect("it is there"), b"kept");
}

/// An earlier COMMAND may have left one.
#[test]
fn a_report_to_a_named_pipe_waits_for_no_reader() {
    let scratch = Scratch::new();
    let file = scratch.path("report.json");
    host("mkfifo", &[&file]);
    let line = ["20", &path(), "run", "--report", &file, "true"];
    let output = Command::new("timeout").args(line).output().expect("timeout starts");
    let said = stderr(&output);
    assert!(output.status.code() == Some(125) && said.contains("that nobody reads"), "{said}");
    let mut reader = Command::new("cat").arg(&file).stdout(Stdio::piped()).spawn().expect("cat starts");
    soon("it is read from", || run(&["--report", &file, "sh", "-c", "exit 3"]).status.code() == Some(3));
    let mut text = String::new();
    reader.stdout.take().expect("output is piped").read_to_string(&mut text).expect("it can be read");
    reader.wait().expect("it ends");
    assert!(text.contains("\"exit_code\":3"), "{text}");
}

/// What belongs to COMMAND, or is a value, is no option.
#[test]
fn errors_are_json_where_the_option_says_so_and_nowhere_else() {
    for (words, json) in [
        (vec!["--json-errors", "/no/such/program"], true),
        (vec!["/no/such/program", "--json-errors"], false),
        (vec!["--env", "--json-errors", "/no/such/program"], false),
        (vec!["--bind", "/", "--json-errors", "/no/such/program"], false),
        (vec!["-wr", "--json-errors", "true"], true),
        (vec!["-rw", "--json-errors", "/no/such/program"], false),
        (vec!["--no-such-option", "--json-errors"], true),
        (vec!["--", "/no/such/program", "--json-errors"], false),
    ] {
        let said = stderr(&run(&words));
        assert_eq!(said.starts_with('{'), json, "{words:?}: {said}");
    }
}

#[test]
fn a_time_limit_kills_everything_and_is_124() {
    let begun = Instant::now();
    assert_eq!(code(&["--timeout", "0.2", "sh", "-c", "sleep 60 & sleep 60"]), 124);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

/// Ends `sept` with a signal and tells how it ended.
fn signalled(args: &[&str], signal: &str) -> Option<i32> {
    let mut waiting = Waiting::new(args);
    host("kill", &[&format!("-{signal}"), &waiting.child.id().to_string()]);
    // Waiting closes standard input; the command shall not end of that.
    let held = waiting.child.stdin.take();
    let code = waiting.child.wait().expect("sept can be waited for").code();
    drop(held);
    code
}

#[test]
fn a_signal_that_pid_1_leaves_at_its_default_is_carried_out() {
    assert_eq!(signalled(&[], "TERM"), Some(128 + 15));
    assert_eq!(signalled(&[], "INT"), Some(128 + 2));
    assert_eq!(signalled(&["--init"], "TERM"), Some(128 + 15));
    assert_eq!(signalled(&["-Uu"], "HUP"), Some(128 + 1));
}

/// One that makes no end of the start is the command's, once that runs.
#[test]
fn a_signal_that_comes_during_the_start_is_not_lost() {
    if !need("a_signal_that_comes_during_the_start_is_not_lost", &["strace"]) {
        return;
    }
    // Long enough for sept to look twenty times whether to give up.
    let slow = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=close_range:delay_enter=400000"];
    let sept_path = path();
    let words = ["env", "--default-signal", &sept_path, "run", "sleep", "30"];
    let mut strace = std::process::Command::new("strace").args(slow).args(words).spawn().unwrap();
    let sept_pid = || children(strace.id()).first().copied().unwrap_or_default();
    soon("set-up begins", || !children(sept_pid()).is_empty());
    let begun = std::time::Instant::now();
    host("kill", &["-USR1", &sept_pid().to_string()]);
    assert_eq!(strace.wait().unwrap().code(), Some(128 + 10));
    assert!(begun.elapsed().as_secs() < 20, "it was not the end of the command");
}

#[test]
fn a_signal_that_the_command_handles_reaches_it() {
    for options in [&[][..], &["--init"], &["-Uu"]] {
        let script = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done";
        let mut child = sept()
            .arg("run")
            .args(options)
            .args(["sh", "-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        host("kill", &["-USR1", &child.id().to_string()]);
        assert_eq!(child.wait().unwrap().code(), Some(9), "{options:?}");
    }
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn the_command_does_not_outlive_sept() {
    for options in [&[][..], &["--init"], &["-Uu"], &["--namespaces", "none"]] {
        // With --init the first child is the reaper, whose name is sept's.
        let mut child = sept()
            .arg("run")
            .args(options)
            .args(["sh", "-c", "echo; exec sleep 100"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
        let inside: u32 = children.trim().parse().expect("one child");
        child.kill().unwrap();
        child.wait().unwrap();
        soon("the command is killed with sept", || !is_alive(inside));
    }
}

#[test]
fn everything_ends_with_septs_parent_when_asked() {
    let sept_path = path();
    let script = format!("{sept_path} run --die-with-parent sleep 100 & echo $!; exec sleep 100");
    let mut parent =
        std::process::Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    let mut out = parent.stdout.take().unwrap();
    while !text.ends_with('\n') {
        let mut byte = [0];
        out.read_exact(&mut byte).unwrap();
        text.push(byte[0] as char);
    }
    let sept_pid: u32 = text.trim().parse().unwrap();
    let children =
        || std::fs::read_to_string(format!("/proc/{sept_pid}/task/{sept_pid}/children")).unwrap_or_default();
    soon("the command starts", || !children().trim().is_empty());
    let inside: u32 = children().trim().parse().unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    soon("sept and the command end with the parent", || !is_alive(sept_pid) && !is_alive(inside));
}

#[test]
fn only_asked_for_descriptors_stay_open() {
    let script = r#"exec 5</etc/passwd 777</etc/group; exec "$0" run "$@" sh -c 'ls /proc/self/fd'"#;
    let list = |options: &[&str]| {
        let mut command = std::process::Command::new("bash");
        command.args(["-c", script]).arg(path()).args(options);
        stdout(&command.stdin(Stdio::null()).output().unwrap())
    };
    // 3 is the directory that ls itself reads.
    assert_eq!(list(&[]), "0\n1\n2\n3");
    assert_eq!(list(&["--keep-fd", "5"]), "0\n1\n2\n3\n5");
    assert!(list(&["--keep-fd", "all"]).contains("777"));
}

#[test]
fn the_environment_is_what_was_asked_for() {
    let output = sept()
        .env("SEPT_TEST_A", "1")
        .env("SEPT_TEST_B", "2")
        .args(["run", "--unset", "SEPT_TEST_A", "--env", "SEPT_TEST_C=x=y", "env"])
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(
        !text.contains("SEPT_TEST_A=") && text.contains("SEPT_TEST_B=2") && text.contains("SEPT_TEST_C=x=y")
    );
    assert_eq!(stdout(&run(&["--clear-env", "--env", "A=b", "/usr/bin/env"])), "A=b");
}

#[test]
fn a_root_of_its_own_is_read_only_and_has_proc_dev_and_sys() {
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let script = "pwd; echo $PWD; echo $$; ls /dev/ptmx /dev/shm -d; echo x >/dev/null; touch /tmp/y && rm /tmp/y; touch /no 2>&1";
    let output = run(&["--root", "/", "--read-only", "--tmpfs", "/tmp", "sh", "-c", script]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("/\n/\n1\n/dev/ptmx\n/dev/shm\n"), "{text} {}", stderr(&output));
    assert!(text.contains("Read-only file system"), "{text}");
    assert_eq!(std::fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
}

#[test]
fn mount_points_are_made_in_own_tmpfs_only() {
    let scratch = Scratch::new();
    let text = stdout(&run(&[
        "--tmpfs",
        "/tmp",
        "--bind",
        "/etc/passwd",
        "/tmp/a/b/file",
        "--ro-bind",
        "/usr",
        "/tmp/usr",
        "sh",
        "-c",
        "head -c4 /tmp/a/b/file; test -d /tmp/usr/bin && echo yes",
    ]));
    assert!(text.ends_with("yes"), "{text}");
    let missing = scratch.path("missing");
    refused(&["--bind", "/etc", &missing, "true"], "nothing is made on the host");
    assert!(!std::path::Path::new(&missing).exists());
    assert_eq!(code(&["--create", "host", "--bind", "/etc", &missing, "true"]), 0);
    assert!(std::path::Path::new(&missing).is_dir());
}

#[test]
fn links_in_a_root_do_not_lead_out_of_it() {
    let scratch = Scratch::new();
    let canary = scratch.path("canary");
    std::fs::create_dir(&canary).unwrap();
    let root = scratch.path("root");
    for dir in ["", "bin", "sys", "dev"] {
        std::fs::create_dir_all(format!("{root}/{dir}")).unwrap();
    }
    std::os::unix::fs::symlink(&canary, format!("{root}/proc")).unwrap();
    let output = run(&["--root", &root, "--no-dev", "--no-sys", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("mount proc on /proc"), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0);
}

#[test]
fn no_new_privs_is_on_when_not_root() {
    let line = |args: &[&str]| {
        let text = stdout(&run(&[args, &["grep", "NoNewPrivs", "/proc/self/status"]].concat()));
        text.split_ascii_whitespace().last().unwrap().to_owned()
    };
    assert_eq!(line(&[]), if is_root() { "0" } else { "1" });
    assert_eq!(line(&["--no-new-privs"]), "1");
    assert_eq!(line(&["--no-new-privs=no"]), "0");
}

#[test]
fn ids_can_be_changed_inside() {
    if is_root() {
        assert_eq!(
            stdout(&run(&["-S", "1000", "-G", "1001", "sh", "-c", "id -u; id -g; id -G"])),
            "1000\n1001\n1001"
        );
        assert_eq!(stdout(&run(&["--groups", "5,6", "id", "-G"])), "0 5 6");
    } else {
        assert_eq!(stdout(&run(&["cat", "/proc/self/setgroups"])), "deny");
        let output = run(&["-S", "1", "true"]);
        assert_eq!(output.status.code(), Some(125));
        assert!(stderr(&output).contains("1 is not mapped"), "{}", stderr(&output));
    }
}

#[test]
fn a_set_user_id_copy_refuses_to_run() {
    if !need_root("a_set_user_id_copy_refuses_to_run", "only root can make a copy that is another user's") {
        return;
    }
    let scratch = Scratch::for_set_user_id();
    let copy = scratch.path("sept");
    // By a program: a copy that this one still has open for writing, in another thread's child, can't be executed.
    host("cp", &[&path(), &copy]);
    std::fs::set_permissions(&scratch.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    host("chown", &["65534", &copy]);
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o4755)).unwrap();
    let output = std::process::Command::new(&copy).args(["run", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("set-user-ID"), "{}", stderr(&output));
}

#[test]
fn it_runs_inside_itself() {
    let sept_path = path();
    let twice = stdout(&run(&[&sept_path, "run", &sept_path, "run", "sh", "-c", "echo $$; id -u"]));
    assert_eq!(twice, "1\n0");
}

#[test]
fn the_tour_shows_all_eight() {
    let output = sept().arg("tour").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", stderr(&output));
    for kind in ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"] {
        let own = namespace_of("self", kind);
        assert!(text.contains(own.to_str().unwrap()), "the host's {kind} link is shown");
        let shown = text.match_indices(&format!("{kind}:[")).count();
        assert!(shown >= 2, "{kind} of both sides is shown: {text}");
    }
}

#[test]
fn help_lists_every_group() {
    let text = stdout(&run(&["--help"]));
    for group in ["Namespaces:", "Ids:", "Files:", "Process:", "Network:", "Knowing:"] {
        assert!(text.contains(group), "{group}");
    }
}

#[test]
fn a_single_choice_and_an_empty_word_are_told_as_they_are() {
    for option in [["--namespaces", "none"], ["--create", "host"]] {
        let output = run(&[&format!("{}=x", option[0]), "true"]);
        let said = stderr(&output);
        assert!(said.contains(&format!(": {} is wanted", option[1])), "{said}");
    }
    let output = sept().args(["doctor", ""]).output().expect("sept starts");
    assert!(stderr(&output).contains("doctor takes no ''"), "{}", stderr(&output));
}

#[test]
fn the_tour_tells_errors_as_json() {
    let output = sept().args(["tour", "--json-errors", "no-such-kind"]).output().expect("sept starts");
    let said: serde_json::Value = serde_json::from_str(&stderr(&output)).expect("it is JSON");
    assert_eq!(said["error"]["exit_code"], 125);
    assert!(!stderr(&output).contains("invalid option"));
}

/// The kernel cuts a name at 15 bytes, within a letter, too.
#[test]
fn a_command_whose_name_is_no_utf_8_gets_its_signals() {
    let scratch = Scratch::new();
    let name = scratch.path("programm-namen\u{fc}");
    std::fs::copy(host("sh", &["-c", "command -v sleep"]), &name).expect("it can be copied");
    let mut child = sept().args(["run", &name, "60"]).spawn().expect("sept starts");
    soon("it runs", || {
        children(child.id()).first().is_some_and(|pid| {
            std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with(b"programm"))
        })
    });
    host("kill", &["-TERM", &child.id().to_string()]);
    assert_eq!(child.wait().expect("it ends").code(), Some(128 + 15));
}

/// A PID 1 blocks signals for as long as it likes: what it takes itself is its own, what it lets come is carried out.
#[test]
fn signals_that_a_pid_1_blocks_are_not_lost() {
    if !need("signals_that_a_pid_1_blocks_are_not_lost", &["perl"]) {
        return;
    }
    let blocks = "use POSIX; $| = 1; my $set = POSIX::SigSet->new(SIGTERM, 23); sigprocmask(SIG_BLOCK, $set); \
                  print qq(ready\\n); ";
    let lets_come = "select undef, undef, undef, .5; sigprocmask(SIG_UNBLOCK, $set); sleep 60";
    // Unblocked at once, that looks like one that came: that somebody waits for it is seen before.
    let takes = format!(
        "my $mask = pack 'Q', 1 << 14; my $got = syscall({}, $mask, 0, 0, 8); \
         sigprocmask(SIG_UNBLOCK, $set); select undef, undef, undef, .3; exit $got",
        libc::SYS_rt_sigtimedwait
    );
    let takes_another = format!(
        "sigprocmask(SIG_UNBLOCK, $set); my $mask = pack 'Q', 1 << 9; syscall({}, $mask, 0, 0, 8); exit 3",
        libc::SYS_rt_sigtimedwait
    );
    for (does, signals, code) in [
        (lets_come, ["TERM"].as_slice(), 128 + 15),
        (lets_come, &["TERM", "URG"], 128 + 15),
        (&takes, &["TERM"], 15),
        (&takes_another, &["TERM"], 128 + 15),
    ] {
        let mut child = sept();
        child.args(["run", "perl", "-e", &format!("{blocks}{does}")]).stdout(std::process::Stdio::piped());
        let mut child = child.spawn().expect("sept starts");
        let mut ready = [0; 6];
        child.stdout.as_mut().expect("output is piped").read_exact(&mut ready).expect("it is ready");
        // Until it is in its call.
        std::thread::sleep(std::time::Duration::from_millis(200));
        for signal in signals {
            host("kill", &[&format!("-{signal}"), &child.id().to_string()]);
        }
        assert_eq!(child.wait().expect("it ends").code(), Some(code), "{does} {signals:?}");
    }
}

/// It survives exec, and with it the kernel tells no parent of an end.
#[test]
fn a_caller_that_ignores_its_children_is_no_hindrance() {
    if !need("a_caller_that_ignores_its_children_is_no_hindrance", &["perl"]) {
        return;
    }
    for words in [vec!["run"], vec!["run", "--init"], vec!["run", "--share", "pid"], vec!["unshare", "-Urpf"]]
    {
        let mut ignoring = Command::new("perl");
        ignoring.args(["-e", r#"$SIG{CHLD} = "IGNORE"; exec @ARGV"#, &path()]).args(&words);
        let output = ignoring.args(["sh", "-c", "true; exit 3"]).output().expect("perl starts");
        assert_eq!(output.status.code(), Some(3), "{words:?}: {}", stderr(&output));
    }
}

/// A file that is opened later must not become a standard stream.
#[test]
fn closed_streams_are_open_to_nothing() {
    let script =
        r#"exec "$0" run --namespaces none sh -c 'readlink /proc/self/fd/0 /proc/self/fd/2' <&- 2>&-"#;
    let output = Command::new("sh").args(["-c", script, &path()]).output().expect("sh starts");
    assert_eq!(stdout(&output), "/dev/null\n/dev/null");
    // What uses them fails, in sept and inside.
    for words in
        ["ls", "run --plan true", "seccomp compile strict", "man run", "run echo lost", "run cat <&-"]
    {
        let script = format!(r#""$0" {words} >&-"#);
        let output = Command::new("sh").args(["-c", &script, &path()]).output().expect("sh starts");
        let said = stderr(&output);
        assert!(
            !output.status.success() && said.to_lowercase().contains("bad file descriptor"),
            "{words}: {said}"
        );
    }
    // Where device files don't work.
    let script = r#""$0" run true <&-; echo $?; "$0" run --json-errors true 0>&-; echo $?"#;
    let output = run(&["-r", "--bind", "/", "/", "sh", "-c", script, &path()]);
    assert_eq!(stdout(&output), "125\n125", "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("sept: cannot open /dev/null") && said.contains("\"message\":\"cannot open"),
        "{said}"
    );
}

/// A thread that is gone before the command begins, and that takes no number from a later process.
#[test]
fn the_net_namespace_is_made_beside_the_mounts() {
    let plan = stdout(&run(&["--tmpfs", "/mnt", "--plan", "true"]));
    let at = |step: &str| plan.find(step).unwrap_or_else(|| panic!("{step} in {plan}"));
    assert!(
        at("begin to make a net namespace") < at("mount tmpfs")
            && !plan.lines().next().unwrap_or("").contains("net")
    );
    assert!(at("mount tmpfs") < at("move to the new net namespace"));
    let script = "ls /proc/self/task | wc -l; sh -c 'echo $$; :'; grep -c : /proc/net/dev; \
                  readlink /proc/self/ns/net";
    for (more, next) in [(&[][..], "4"), (&["--init"], "5"), (&["--fs", "sysfs", "sysfs", "/sys"], "4")] {
        let output = run(&[&["--tmpfs", "/mnt"][..], more, &["sh", "-c", script]].concat());
        let text = stdout(&output);
        let said: Vec<&str> = text.lines().collect();
        assert_eq!(said[..3], ["1", next, "1"], "{text} {}", stderr(&output));
        assert_ne!(PathBuf::from(said[3]), namespace_of("self", "net"), "{text}");
    }
    // In a sysfs of its own only the new one's devices are seen.
    assert_eq!(stdout(&run(&["--fs", "sysfs", "sysfs", "/sys", "ls", "/sys/class/net"])), "lo");
}
