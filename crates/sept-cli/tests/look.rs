//! `sept ls`, `diff`, `doctor`, `man` and `completions`.

mod common;

use std::process::{Command, Stdio};

use common::{Scratch, Waiting, is_root, namespace_of, need, need_root, path, sept, soon, stderr, stdout};
use serde_json::Value;

fn ask(words: &[&str]) -> std::process::Output {
    sept().args(words).output().expect("sept starts")
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&stdout(&ask(words))).expect("JSON")
}

fn number(pid: u32, link: &str) -> String {
    let shown = namespace_of(&pid.to_string(), link).display().to_string();
    shown.chars().filter(char::is_ascii_digit).collect()
}

fn entry(all: &Value, ns: &str) -> Value {
    let list = all["namespaces"].as_array().expect("a list");
    let ns: u64 = ns.parse().expect("a number");
    list.iter().find(|entry| entry["ns"] == ns).cloned().unwrap_or(Value::Null)
}

#[test]
fn all_eight_kinds_are_listed_with_owner_and_level() {
    let target = Waiting::new(&["-UmpuinCT", "-r"]);
    let pid = target.inside();
    let all = json(&["ls", "--json"]);
    let user = number(pid, "user");
    for link in ["user", "mnt", "pid", "uts", "ipc", "net", "cgroup", "time"] {
        let one = entry(&all, &number(pid, link));
        assert_eq!(
            (&one["type"], &one["processes"], &one["pid"]),
            (&link.into(), &1.into(), &pid.into()),
            "{one}"
        );
        if link != "user" {
            assert_eq!(one["owner"].to_string(), user, "{one}");
        }
    }
    let own = entry(&all, &number(std::process::id(), "user"));
    let one = entry(&all, &user);
    assert_eq!(one["parent"], own["ns"]);
    assert_eq!(one["level"].as_u64(), own["level"].as_u64().map(|level| level + 1));
}

#[test]
fn namespaces_without_processes_are_listed_with_what_keeps_them() {
    // By a descriptor.
    let target = Waiting::new(&["-Uru"]);
    let pid = target.inside();
    let (uts, user) = (number(pid, "uts"), number(pid, "user"));
    let held = std::fs::File::open(format!("/proc/{pid}/ns/uts")).expect("it can be opened");
    drop(target);
    let all = json(&["ls", "--json"]);
    let one = entry(&all, &uts);
    assert_eq!(one["processes"], 0, "{one}");
    assert_eq!(one["held_by"]["descriptors"][0]["pid"], std::process::id(), "{one}");
    // And its owner by what it owns.
    let owner = entry(&all, &user);
    assert_eq!(
        (&owner["processes"], owner["held_by"]["owned"][0].to_string()),
        (&0.into(), uts.clone()),
        "{owner}"
    );
    let output = ask(&["ls", &uts]);
    let shown = stdout(&output);
    let (holder, said) = (format!("of process {}", std::process::id()), stderr(&output));
    assert!(shown.contains(&holder), "{:?} {shown}{said}", output.status);
    drop(held);
    // A process that another test starts at this moment may still have it open.
    soon("it is gone", || {
        let gone = ask(&["ls", &uts]);
        gone.status.code() == Some(125) && stderr(&gone).contains("no namespace")
    });
}

#[test]
fn a_user_namespace_without_processes_is_kept_by_its_child() {
    if !need("a_user_namespace_without_processes_is_kept_by_its_child", &["unshare"]) {
        return;
    }
    let mut nested = Command::new("unshare");
    nested.args(["-Ur", "unshare", "-Ur", "cat"]).stdin(Stdio::piped());
    let mut nested = nested.spawn().expect("unshare starts");
    common::soon("it is there", || {
        std::fs::read_to_string(format!("/proc/{}/comm", nested.id())).is_ok_and(|comm| comm == "cat\n")
    });
    let all = json(&["ls", "--json"]);
    let inner = entry(&all, &number(nested.id(), "user"));
    let outer = entry(&all, &inner["parent"].to_string());
    assert_eq!((&outer["processes"], &outer["held_by"]["children"][0]), (&0.into(), &inner["ns"]), "{outer}");
    drop(nested.stdin.take());
    nested.wait().expect("it ends");
}

#[test]
fn lists_have_columns_filters_and_trees() {
    let target = Waiting::new(&["-Urun"]);
    let (net, user) = (number(target.inside(), "net"), number(target.inside(), "user"));
    let listed = stdout(&ask(&["ls", "--type", "net", "--columns", "ns,type,procs"]));
    assert!(
        listed.starts_with("NS ") && listed.lines().skip(1).all(|line| line.contains(" net ")),
        "{listed}"
    );
    assert!(listed.lines().any(|line| line.split_whitespace().eq([net.as_str(), "net", "1"])), "{listed}");
    let tree = stdout(&ask(&["ls", "--tree"]));
    let below = tree.lines().skip_while(|line| !line.contains(&format!("user {user}"))).nth(1).expect("more");
    assert!(below.contains("├─ uts") || below.contains("├─ net"), "{tree}");
    for by in ["owner", "parent", "process"] {
        assert!(stdout(&ask(&["ls", &format!("--tree={by}")])).contains(&user), "{by}");
    }
    for (words, reason) in [
        (vec!["ls", "--type", "x"], "no kind"),
        (vec!["ls", "--columns", "ns,x"], "no column x"),
        (vec!["ls", "--tree=x"], "owner, parent or process"),
        (vec!["ls", "1", "2"], "one TARGET"),
        (vec!["ls", "nothing-like-that"], "no pin"),
        (vec!["ls", "--no-such"], "unknown option"),
        (vec!["ls", "--json", "--tree"], "--json and --tree contradict"),
        (vec!["ls", "--json", "--columns", "ns"], "--json and --columns contradict"),
        (vec!["ls", "--tree", "--noheadings"], "--tree and --noheadings contradict"),
    ] {
        let output = ask(&words);
        assert!(output.status.code() == Some(125) && stderr(&output).contains(reason), "{}", stderr(&output));
    }
    let of_process = stdout(&ask(&["ls", &target.inside().to_string()]));
    assert_eq!(of_process.lines().count(), 9, "a heading and eight: {of_process}");
}

#[test]
fn the_picture_is_xml_with_every_namespace() {
    let target = Waiting::new(&["-Urun"]);
    let scratch = Scratch::new();
    let file = scratch.path("tree.svg");
    stdout(&ask(&["ls", "--svg", &file]));
    let picture = std::fs::read_to_string(&file).expect("it is there");
    assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"));
    assert!(picture.contains("prefers-color-scheme: dark"));
    assert!(picture.contains(&number(target.inside(), "net")), "{picture}");
    assert_eq!(picture.matches("<g ").count(), picture.matches("</g>").count());
    let output = ask(&["ls", "--svg", "/no/such/dir/x.svg"]);
    assert!(
        output.status.code() == Some(125) && stderr(&output).contains("/no/such/dir"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn names_with_control_characters_move_no_cursor() {
    let mut hostile = Command::new("cat");
    std::os::unix::process::CommandExt::arg0(&mut hostile, "\x1b[2Jevil");
    let mut child = hostile.stdin(Stdio::piped()).spawn().expect("cat starts");
    let target = child.id().to_string();
    for words in [vec!["ls"], vec!["ls", &target], vec!["ls", "--tree"], vec!["ls", "--json"]] {
        assert!(!stdout(&ask(&words)).contains('\x1b'), "{words:?}");
    }
    drop(child.stdin.take());
    child.wait().expect("it ends");
}

#[test]
fn diff_tells_what_differs() {
    let target = Waiting::new(&["-Urumn", "--hostname", "other", "--tmpfs", "/mnt"]);
    let (own, other) = (std::process::id().to_string(), target.inside().to_string());
    let output = ask(&["diff", &own, &other]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = common::host("hostname", &[]);
    assert!(text.contains(&format!("hostname: {host} | other")), "{text}");
    assert!(text.contains("mount /mnt: - | tmpfs tmpfs"), "{text}");
    assert!(text.contains("user id map: ") && text.contains("ipc     same"), "{text}");
    let same = ask(&["diff", &own, &own]);
    assert_eq!((same.status.code(), stdout(&same).matches(" same ").count()), (Some(0), 8));
    let output = ask(&["diff", "--json", &own, &other]);
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let uts =
        value["namespaces"].as_array().expect("a list").iter().find(|kind| kind["type"] == "uts").cloned();
    let uts = uts.expect("uts is there");
    assert_eq!((&uts["same"], &uts["differences"][0]["b"]), (&false.into(), &"other".into()), "{uts}");
    for words in [vec!["diff"], vec!["diff", &own], vec!["diff", &own, "x"], vec!["diff", &own, "4194303"]] {
        assert_eq!(ask(&words).status.code(), Some(125), "{words:?}");
    }
}

#[test]
fn doctor_tells_whether_run_works() {
    let value = json(&["doctor", "--json"]);
    assert_eq!(value["run_works"], true);
    let findings = value["findings"].as_array().expect("a list");
    let answer = |group: &str, name: &str| {
        findings
            .iter()
            .find(|one| one["group"] == group && one["name"] == name)
            .map(|one| one["answer"].as_str().unwrap_or_default().to_owned())
    };
    for kind in ["user", "mount", "pid", "uts", "ipc", "net", "cgroup", "time"] {
        assert_eq!(answer("namespace", kind).as_deref(), Some("yes"), "{kind}");
    }
    assert_eq!(answer("mount", "proc").as_deref(), Some("yes"));
    assert_eq!(answer("mount", "idmapped").as_deref(), Some(if is_root() { "yes" } else { "no" }));
    for one in findings.iter().filter(|one| one["answer"] == "no") {
        assert!(one["reason"][0].as_str().is_some_and(|reason| !reason.is_empty()), "{one}");
    }
    let profile = stdout(&ask(&["doctor", "--apparmor-profile"]));
    assert!(profile.contains("userns,") && profile.contains("profile sept \""), "{profile}");
}

#[test]
fn doctor_says_no_where_namespaces_are_off() {
    let script = format!("echo 0 >/proc/sys/user/max_net_namespaces; exec {} doctor", path());
    let output = common::run(&["--no-new-privs=no", "sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text
        .lines()
        .skip_while(|line| !line.contains("no       net:"))
        .take(3)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(line.contains("user.max_net_namespaces is 0") && line.contains("sudo sysctl"), "{text}");
}

#[test]
fn the_examples_of_every_page_work() {
    if !need("the_examples_of_every_page_work", &["ip", "ps", "hostname", "pgrep"]) {
        return;
    }
    let scratch = Scratch::new();
    std::os::unix::fs::symlink(path(), scratch.path("sept")).expect("a link can be made");
    let runtime = scratch.path("runtime");
    std::fs::create_dir(&runtime).expect("a directory can be made");
    let mut count = 0;
    for page in [
        "run",
        "unshare",
        "enter",
        "pin",
        "unpin",
        "ls",
        "diff",
        "doctor",
        "seccomp",
        "tour",
        "completions",
        "man",
    ] {
        let help = stdout(&ask(&[page, "--help"]));
        let (_, examples) = help.split_once("Examples:\n").expect("every page has examples");
        for line in examples.lines().filter(|line| line.starts_with("  ") && !line.starts_with("      ")) {
            let mut shell = Command::new("sh");
            shell.args(["-ec", line]).env("XDG_RUNTIME_DIR", &runtime).stdin(Stdio::null());
            let system = std::env::var("PATH").unwrap_or_default();
            shell.env("PATH", format!("{}:{system}:/usr/sbin:/sbin", scratch.0.display()));
            let output = shell.output().expect("sh starts");
            assert!(output.status.success(), "{line}: {}", stderr(&output));
            assert!(stderr(&output).is_empty(), "{line}: {}", stderr(&output));
            count += 1;
        }
    }
    assert!(count > 20, "{count} examples were found");
}

#[test]
fn manual_pages_and_completions_name_every_option() {
    for page in ["run", "unshare", "enter", "ls", "pin"] {
        let help = stdout(&ask(&[page, "--help"]));
        let manual = stdout(&ask(&["man", page])).replace('\\', "");
        let completions = stdout(&ask(&["completions", "bash"]));
        let options = help.lines().filter_map(|line| {
            let at = line.find("--")?;
            (line.trim_start().starts_with('-')).then(|| {
                line[at..].split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or("--")
            })
        });
        for option in options {
            assert!(manual.contains(option) && completions.contains(option), "{page} {option}");
        }
    }
    for (words, reason) in [
        (vec!["man", "x"], "no page"),
        (vec!["completions"], "name of a shell"),
        (vec!["completions", "x"], "no completions"),
    ] {
        let output = ask(&words);
        assert!(output.status.code() == Some(125) && stderr(&output).contains(reason), "{}", stderr(&output));
    }
}

/// Its file lies in another mount namespace, whose paths may be anybody's: it is opened there, and not by way of links.
#[test]
fn a_namespace_kept_by_a_mount_elsewhere_is_listed_with_its_owner() {
    if !need_root("a_namespace_kept_by_a_mount_elsewhere_is_listed_with_its_owner", "only root can bind one")
    {
        return;
    }
    let script = "mount -t tmpfs none /mnt && mkdir '/mnt/a b' && touch '/mnt/a b/ns' && \
                  unshare --net='/mnt/a b/ns' true && echo ready && exec cat";
    let mut holder = Command::new("unshare");
    holder.args(["-m", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().expect("unshare starts");
    let mut ready = [0; 6];
    let out = holder.stdout.as_mut().expect("output is piped");
    std::io::Read::read_exact(out, &mut ready).expect("it is ready");
    let all = json(&["ls", "--json", "--type", "net"]);
    let path = "/mnt/a b/ns";
    let list = all["namespaces"].as_array().expect("a list");
    let one = list.iter().find(|one| one["held_by"]["mounts"][0]["path"] == path).expect("it is listed");
    assert_eq!((&one["processes"], one["owner"].is_u64()), (&0.into(), true), "{one}");
    drop(holder.stdin.take());
    holder.wait().expect("it ends");
}

/// What it tries needs no /dev/null, which a bind of all leaves without function.
#[test]
fn doctor_needs_no_device() {
    let inside = |line: &[&str]| common::run(&[&["-r", "--bind", "/", "/"], line].concat());
    assert!(!inside(&["sh", "-c", ": </dev/null"]).status.success(), "there is none");
    let output = inside(&[&path(), "doctor"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("namespace") && !text.contains("standard streams"), "{text}");
}

/// A process of two threads, each of which does something in perl, in a user, uts and net namespace of its own. With the numbers of both.
fn with_two_threads(first: &str, second: &str) -> (std::process::Child, u32, u32) {
    let script =
        format!("$| = 1; threads->create(sub {{ {second}; print 'ready'; sleep 60 }}); {first}; sleep 60");
    let mut child = Command::new("unshare");
    child.args(["-Urun", "perl", "-Mthreads", "-e", &script]).stdout(Stdio::piped());
    let mut child = child.spawn().expect("unshare starts");
    let mut said = child.stdout.take().expect("output is piped");
    std::io::Read::read_exact(&mut said, &mut [0; 5]).expect("it is ready");
    let pid = child.id();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it can be read").flatten();
    let other = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).find(|task| *task != pid);
    (child, pid, other.expect("a second thread"))
}

fn need_threads(test: &str) -> bool {
    if !need(test, &["perl", "unshare"]) {
        return false;
    }
    let has = Command::new("perl").args(["-Mthreads", "-e", "1"]).status().expect("perl starts").success();
    if !has {
        common::skip(test, "perl has no threads");
    }
    has
}

#[test]
fn a_process_whose_first_thread_has_ended_is_listed() {
    if !need_threads("a_process_whose_first_thread_has_ended_is_listed") {
        return;
    }
    let (mut child, pid, other) = with_two_threads(&format!("syscall({}, 0)", libc::SYS_exit), "");
    soon("it is a zombie", || {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
    let all = json(&["ls", "--json"]);
    let of_process = stdout(&ask(&["ls", &pid.to_string()]));
    let [user, net] = ["user", "net"].map(|link| number(other, link));
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    assert_eq!(of_process.lines().count(), 9, "a heading and eight: {of_process}");
    for number in [user, net] {
        let one = entry(&all, &number);
        assert_eq!((&one["processes"], &one["pid"]), (&1.into(), &pid.into()), "{one}");
        assert!(of_process.contains(&number), "{of_process}");
    }
}

#[test]
fn what_only_a_thread_is_in_is_listed() {
    if !need_threads("what_only_a_thread_is_in_is_listed") {
        return;
    }
    let flags = libc::CLONE_NEWNET | libc::CLONE_NEWNS;
    let (mut child, pid, other) =
        with_two_threads("", &format!("syscall({}, {flags}) == 0 or die", libc::SYS_unshare));
    let all = json(&["ls", "--json"]);
    let [net, mount] = ["net", "mnt"].map(|link| number(other, link));
    let detail = stdout(&ask(&["ls", &net]));
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    for number in [net, mount] {
        let one = entry(&all, &number);
        let thread = serde_json::json!([{ "pid": pid, "tid": other }]);
        assert_eq!((&one["processes"], &one["held_by"]["threads"]), (&0.into(), &thread), "{one}");
        assert!(one["owner"].is_u64(), "{one}");
    }
    assert!(detail.contains(&format!("thread {other} of process {pid} perl")), "{detail}");
}
