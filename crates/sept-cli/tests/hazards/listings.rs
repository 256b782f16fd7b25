//! Names that would move the cursor of who reads about them, and targets that hold up who looks at them.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Scratch, Waiting, children, host, need, need_root, path, sept, skip, soon};

/// Escape, operating system command, bell, the one-byte form of the escape as Unicode has it, and right to left.
const NAME: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}2K\u{202e}";

/// No byte or character of control but the ends of lines and tabs.
fn harmless(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let bad = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t') || *c == '\u{202e}');
    assert_eq!(bad, None, "{what}: {text:?}");
}

#[test]
fn no_listing_shows_a_name_as_it_is() {
    let scratch = Scratch::new();
    // A file, a process name, an argument, a hostname and a mount point.
    let program = scratch.path("\u{1b}[2J\u{9b}");
    std::fs::copy("/bin/sleep", &program).expect("it can be copied");
    let mount = scratch.path(NAME);
    std::fs::create_dir(&mount).expect("a directory can be made");
    let mut hostile = sept();
    hostile.args(["run", "--hostname", NAME, "--tmpfs", &mount, "--argv0", NAME, &program, "1000"]);
    let mut hostile = hostile.stdin(Stdio::null()).spawn().expect("sept starts");
    soon("the command runs", || {
        let runs = |pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(NAME.as_bytes()))
        };
        children(hostile.id()).iter().any(runs)
    });
    let pid = children(hostile.id())[0].to_string();
    assert!(host("cat", &[&format!("/proc/{pid}/comm")]).contains('\u{1b}'), "the kernel tells it as it is");
    let plain = Waiting::new(&[]);
    let other = plain.inside().to_string();
    let mut shown = 0;
    for words in [
        ["ls"].as_slice(),
        &["ls", &pid],
        &["ls", "--tree"],
        &["ls", "--tree=parent"],
        &["ls", "--tree=process"],
        &["ls", "--json"],
        &["ls", "--svg", "/dev/stdout"],
        &["diff", &pid, &other],
        &["diff", &other, &pid, "--json"],
        &["doctor"],
        &["doctor", "--json"],
        &["enter", "--plan", &pid, NAME],
        &["run", "--plan", "--hostname", NAME, "--tmpfs", &mount, "--wd", &mount, NAME],
        &["run", "--plan=json", "--hostname", NAME, NAME],
        &["unshare", "-Um", "--plan", "--root", &mount, NAME],
    ] {
        let output = sept().args(words).output().expect("sept starts");
        harmless(&format!("{words:?}"), &output.stdout);
        harmless(&format!("{words:?}"), &output.stderr);
        shown += usize::from(String::from_utf8_lossy(&output.stdout).contains("[2J"));
    }
    host("kill", &["-KILL", &pid]);
    hostile.wait().expect("it ends");
    assert!(shown >= 8, "most show it, escaped: {shown}");
}

/// The first of two facts of one name is the one that is compared.
#[test]
fn a_hostname_tells_no_facts_but_itself() {
    let name = "web1\ndomain name\tlie.example";
    let (hostile, plain) =
        (Waiting::new(&["-Uu", "--hostname", name]), Waiting::new(&["-Uu", "--hostname", "x"]));
    let [one, other] = [&hostile, &plain].map(|target| target.inside().to_string());
    // Not `host`: 1 says that they differ.
    let output = sept().args(["diff", "--json", &one, &other]).output().expect("sept starts");
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let kinds = value["namespaces"].as_array().expect("a list");
    let uts = kinds.iter().find(|kind| kind["type"] == "uts").expect("uts is there");
    assert_eq!(uts["differences"], json!([{ "name": "hostname", "a": name, "b": "x" }]), "{uts}");
}

#[test]
fn no_message_shows_a_name_as_it_is() {
    let option = format!("--{NAME}");
    let file = format!("/{NAME}");
    for words in [
        ["run", NAME].as_slice(),
        &["run", &option],
        &["run", "--wd", NAME, "true"],
        &["run", "--root", NAME, "true"],
        &["run", "--bind", NAME, "/mnt", "true"],
        &["run", "--tmpfs", &file, "true"],
        &["run", "--mask", NAME, "true"],
        &["run", "--rlimit", NAME, "true"],
        &["run", "--memory", NAME, "true"],
        &["run", "--timeout", NAME, "true"],
        &["run", "--seccomp", NAME, "true"],
        &["run", "--cap-add", NAME, "true"],
        &["run", "--landlock-ro", &file, "true"],
        &["run", "--join", NAME, "true"],
        &["run", "--report", &format!("{file}/x"), "true"],
        &["run", "--cgroup-parent", NAME, "--pids", "5", "true"],
        &["run", "--json-errors", NAME],
        &["run", "--json-errors", "--wd", NAME, "true"],
        &["run", "--plan=\u{1b}", "true"],
        &["unshare", "-Ur", NAME],
        &["unshare", "-m", &option],
        &["enter", NAME, "true"],
        &["enter", &file, "true"],
        &["pin", "1", NAME],
        &["unpin", NAME],
        &["ls", NAME],
        &["ls", "--columns", NAME],
        &["ls", "--type", NAME],
        &["diff", NAME, NAME],
        &["seccomp", "test", "default", NAME],
        &["seccomp", "explain", NAME],
        &["help", NAME],
        &["tour", NAME],
        &["completions", NAME],
        &["man", NAME],
        &[NAME],
    ] {
        let output = sept().args(words).output().expect("sept starts");
        assert!(!output.status.success(), "{words:?}");
        harmless(&format!("{words:?}"), &output.stdout);
        harmless(&format!("{words:?}"), &output.stderr);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.is_empty(), "{words:?}");
    }
    // Others do: so the name is one that does harm.
    let mut cat = Command::new("cat");
    let output = cat.arg0("cat").arg(NAME).env("LC_ALL", "C.UTF-8").output().expect("cat starts");
    assert!(!output.status.success());
}

/// Who looks into a user namespace could be traced by its owner: it hides before it goes there, and has nothing of the caller's.
#[test]
fn who_looks_into_a_user_namespace_can_not_be_looked_into() {
    let test = "who_looks_into_a_user_namespace_can_not_be_looked_into";
    if !need(test, &["strace"]) {
        return;
    }
    let target = Waiting::new(&["-Uui", "--hostname", "x"]);
    let (scratch, own, other) = (Scratch::new(), std::process::id().to_string(), target.inside().to_string());
    let trace = scratch.path("trace");
    // Not `host`: 1 says that they differ.
    let line = [
        "-ff",
        "-o",
        &trace,
        "-v",
        "-e",
        "trace=setns,prctl,chdir,fchdir,execve",
        &path(),
        "diff",
        &own,
        &other,
    ];
    let output = Command::new("strace").args(line).env("SECRET", "1").output().expect("strace starts");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.contains("hostname: ") && output.contains("max_user_namespaces"), "{output}");
    let mut joined = 0;
    for file in std::fs::read_dir(&scratch.0).expect("it is there").flatten() {
        let text = std::fs::read_to_string(file.path()).expect("it can be read");
        let Some(first) = text.find("setns(") else { continue };
        joined += usize::from(text.contains("CLONE_NEWUSER"));
        let before = |what: &str| text.find(what).is_some_and(|at| at < first);
        assert!(before("PR_SET_DUMPABLE, SUID_DUMP_DISABLE") && before("chdir("), "{text}");
        let (executed, after) = (text.rfind("execve(").expect("it was executed"), &text[first..]);
        assert!(executed < first && !text[executed..].contains("SECRET"), "{text}");
        assert!(!after.contains("PR_SET_DUMPABLE"), "{text}");
    }
    assert!(joined > 0, "somebody goes there");
}

/// A sandbox whose command mounts a file system in user space at a place and serves it: as many look-ups as it is told are of
/// nothing, and everything else is left unanswered. Who waits for it then is beyond SIGKILL, until the command ends.
pub struct Unanswering {
    sept: Child,
    pub command: u32,
}

impl Unanswering {
    fn new(before: &str, at: &str, mode: &str, answers: u32) -> Self {
        let serve = format!(
            r#"$| = 1; {before}; open my $f, "+<", "/dev/fuse" or die; my ($of, $at, $kind, $left) = ("x", "{at}", "fuse", {answers});
            my $o = "fd=" . fileno($f) . ",rootmode={mode},user_id=0,group_id=0";
            syscall({}, $of, $at, $kind, 0, $o) == 0 or die "mount: $!";
            while (sysread $f, my $b, 1 << 20) {{
                my (undef, $what, $unique) = unpack "L L Q", $b;
                if ($what == 26) {{
                    syswrite $f, pack("L l Q L L L L S S L L S S L x28", 80, 0, $unique, 7, 31, 4096, 0, 0, 0, 4096, 1, 0, 0, 0);
                    print "ready\n";
                }} elsif ($what == 1 && $left-- > 0) {{ syswrite $f, pack("L l Q", 16, -2, $unique) }}
            }}"#,
            libc::SYS_mount
        );
        Self::of(&[], &serve)
    }

    /// What it does in perl; it is ready when it says so.
    pub fn of(options: &[&str], script: &str) -> Self {
        let mut sept = sept();
        sept.args(["run", "--timeout", "60"]).args(options);
        sept.args(["perl", "-MPOSIX", "-e", script]).stdout(Stdio::piped());
        let mut sept = sept.spawn().expect("sept starts");
        let mut ready = [0; 6];
        let mut said = sept.stdout.take().expect("output is piped");
        std::io::Read::read_exact(&mut said, &mut ready).expect("it is mounted");
        let command = children(sept.id()).first().copied().expect("the command");
        Self { sept, command }
    }

    /// What sept says on standard error, and its code, if it ends within so many seconds while nothing is answered.
    pub fn looked_at(&self, shell: &str, words: &[&str]) -> (Option<i32>, String) {
        let scratch = Scratch::new();
        let errors = File::create(scratch.path("errors")).expect("a file can be made");
        let mut look = sept();
        look.args(words).env("SHELL", shell).stdout(Stdio::null()).stderr(errors);
        let mut look = look.spawn().expect("sept starts");
        let begun = Instant::now();
        let has_ended = |look: &mut Child| look.try_wait().expect("it can be asked").is_some();
        while !has_ended(&mut look) && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let in_time = has_ended(&mut look);
        if !in_time {
            host("kill", &["-KILL", &self.command.to_string()]);
            look.kill().expect("it can be killed");
        }
        let code = look.wait().expect("it ends, at the latest with the file system").code();
        let said = std::fs::read_to_string(scratch.path("errors")).expect("it can be read");
        (code.filter(|_| in_time), said)
    }
}

impl Drop for Unanswering {
    fn drop(&mut self) {
        let _ = self.sept.kill();
        let _ = self.sept.wait();
    }
}

pub fn has_fuse(test: &str) -> bool {
    let has = File::options().read(true).write(true).open("/dev/fuse").is_ok();
    if !has {
        skip(test, "/dev/fuse is not there, or not for this user");
    }
    has
}

#[test]
fn no_file_system_in_user_space_holds_up_who_looks() {
    let test = "no_file_system_in_user_space_holds_up_who_looks";
    if !need(test, &["perl", "unshare"]) {
        return;
    }
    if !has_fuse(test) {
        return;
    }
    // Over a namespace that is kept by nothing else.
    let scratch = Scratch::new();
    let file = scratch.path("file");
    std::fs::write(&file, "").expect("a file can be made");
    let bind = format!(r#"system("unshare", "--net={file}", "true") == 0 or die"#);
    let target = Unanswering::new(&bind, &file, "100000", 0);
    assert_eq!(target.looked_at("/bin/sh", &["ls"]).0, Some(0));
    // The child is told that there is no such program, and who tells why is not; then a shell that is looked for before.
    let target = Unanswering::new("", "/mnt", "40000", 1);
    let pid = target.command.to_string();
    let (code, said) = target.looked_at("/bin/sh", &["enter", &pid, "/mnt/program"]);
    assert!(code == Some(127) && said.contains("perhaps there is no /mnt/program inside"), "{code:?} {said}");
    assert_eq!(target.looked_at("/mnt/shell", &["enter", &pid]).0, Some(0));
    // What is hidden is looked at to see whether it could be moved.
    let target = Unanswering::new("", "/mnt", "40000", 0);
    let hidden = format!("/proc/{}/root/mnt/x", target.command);
    let (code, said) = target.looked_at("/bin/sh", &["run", "--timeout", "1", "--mask", &hidden, "true"]);
    assert!(code.is_some(), "{said}");
    // What is bound, laid in an overlay, or the root.
    let target = Unanswering::new("", "/mnt", "40000", 0);
    let source = format!("/proc/{}/root/mnt/x", target.command);
    for line in [
        ["run", "--bind", &source, "/mnt", "true"].as_slice(),
        &["run", "--overlay-src", &source, "--tmp-overlay", "/mnt", "true"],
        &["run", "--root", &source, "true"],
    ] {
        let (code, said) = target.looked_at("/bin/sh", line);
        assert!(
            code == Some(125) && said.contains("the file system there does not answer"),
            "{line:?} {code:?} {said}"
        );
    }
}

/// A number that is a socket's at one moment, and at the next that of a file in user space: who closes a copy of that waits for an answer.
/// The file system gives it to nobody but those inside, whom it knows by number.
#[test]
fn no_file_system_in_user_space_holds_up_who_takes_a_socket() {
    let test = "no_file_system_in_user_space_holds_up_who_takes_a_socket";
    if !need(test, &["perl"]) || !has_fuse(test) {
        return;
    }
    let serve = format!(
        r#"$| = 1; open my $f, "+<", "/dev/fuse" or die; my ($of, $at, $kind) = ("x", "/mnt", "fuse");
        my $o = "fd=" . fileno($f) . ",rootmode=40000,user_id=0,group_id=0";
        syscall({}, $of, $at, $kind, 0, $o) == 0 or die "mount: $!";
        my $file = pack "Q5 Q3 x24 x12 L2 x20", 2, 0, 1000, 1000, 0, 2, 1 << 20, 0, 0100777, 1;
        if (!fork) {{
            while (sysread $f, my $b, 1 << 20) {{
                my ($what, $unique, $pid) = (unpack "L L Q Q L L L", $b)[1, 2, 6];
                next if !$pid && $what != 26;
                my $answer = $what == 26 ? pack "L L L L S S L L S S L x28", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0
                    : $what == 1 ? $file : $what == 14 ? pack "Q Q", 1, 0 : "";
                syswrite $f, pack("L l Q", 16 + length $answer, $answer || $what == 25 ? 0 : -38, $unique) . $answer;
            }}
            exit;
        }}
        close $f;
        open my $user, "<", "/mnt/f" or die "open: $!"; socket my $socket, 1, 1, 0 or die;
        my ($one, $other) = (fileno $user, fileno $socket); POSIX::dup2($other, 50); print "ready
";
        while (1) {{ POSIX::dup2($other, 50); POSIX::dup2($one, 50); for (1..2000) {{ }} }}"#,
        libc::SYS_mount
    );
    let target = Unanswering::of(&[], &serve);
    let (pid, begun) = (target.command.to_string(), Instant::now());
    for n in 0..300 {
        let (code, said) = target.looked_at("/bin/sh", &["enter", "-t", &pid, "-N", "50", "true"]);
        assert!(code.is_some(), "{n}: it waits for an answer: {said}");
        if begun.elapsed() > Duration::from_secs(5) {
            break;
        }
    }
}

/// As a report (cli.rs), a picture replaces no file that a link leads to, and waits for no reader.
#[test]
fn a_picture_goes_through_no_link_and_waits_for_no_reader() {
    let scratch = Scratch::new();
    let [precious, link, pipe] = ["precious", "link.svg", "pipe.svg"].map(|name| scratch.path(name));
    std::fs::write(&precious, "kept").expect("a file");
    std::os::unix::fs::symlink(&precious, &link).expect("a link can be made");
    host("mkfifo", &[&pipe]);
    for (file, reason) in [(&link, "it is a link"), (&pipe, "that nobody reads")] {
        let line = ["-s", "KILL", "20", &path(), "ls", "--svg", file];
        let output = Command::new("timeout").args(line).output().expect("timeout starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(125) && said.contains(reason), "{file} {said}");
    }
    assert_eq!(std::fs::read(&precious).expect("it is there"), b"kept");
}

/// A process of another user that does something in perl, says "ready" and waits.
struct Hoard(Child);

impl Hoard {
    fn new(before: &[&str], perl: &str) -> Self {
        let mut words = vec!["--reuid=65534", "--regid=65534", "--clear-groups"];
        words.extend(before);
        let script = format!("{perl}; $| = 1; print 'ready'; <STDIN>");
        let mut child = Command::new("setpriv");
        child.args(words).args(["perl", "-MPOSIX", "-e", &script]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("setpriv starts");
        let mut said = child.stdout.take().expect("output is piped");
        std::io::Read::read_exact(&mut said, &mut [0; 5]).expect("it is ready");
        Self(child)
    }
}

impl Drop for Hoard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `ls --json` says, and what `ls` notes, of namespaces of this kind.
fn listed(kind: &str) -> (Value, String) {
    let shown = sept().args(["ls", "--json", "--type", kind]).output().expect("sept starts");
    let noted = sept().args(["ls", "--type", kind]).output().expect("sept starts");
    let json = serde_json::from_slice(&shown.stdout).expect("JSON");
    (json, String::from_utf8_lossy(&noted.stderr).into_owned())
}

/// Whether there was too much of it.
fn is_unread(list: &Value, what: &str) -> bool {
    list["unread"].as_array().is_some_and(|all| all.iter().any(|one| one["what"] == what))
}

fn is_listed(list: &Value, is: impl Fn(&Value) -> bool) -> bool {
    list["namespaces"].as_array().expect("a list").iter().any(is)
}

/// A million descriptors and more, of processes that share a table or have each its own, come before one that keeps a namespace.
fn hoarded(clone_flags: i32) -> (Value, String) {
    let many = format!(
        r#"my $n = 0; $n++ while defined POSIX::dup(0); POSIX::close($_) for 3..9;
        for (0..1100000 / $n) {{ syscall({}, {}, 0, 0, 0, 0) and next; <STDIN>; POSIX::_exit(0) }}"#,
        libc::SYS_clone,
        clone_flags | libc::SIGCHLD
    );
    let _hoard = Hoard::new(&["sh", "-c", "ulimit -n $(ulimit -Hn); exec \"$@\"", "sh"], &many);
    let target = Waiting::new(&["-u"]);
    let uts = File::open(format!("/proc/{}/ns/uts", target.inside())).expect("it can be opened");
    let number = std::os::unix::fs::MetadataExt::ino(&uts.metadata().expect("it is there"));
    drop(target);
    let mut keeper = Command::new("sleep").arg("60").stdin(uts).spawn().expect("sleep starts");
    let (list, noted) = listed("uts");
    keeper.kill().expect("it can be killed");
    keeper.wait().expect("it ends");
    assert!(is_listed(&list, |one| one["ns"] == number), "{list}");
    (list, noted)
}

#[test]
fn nobody_hides_what_others_keep_by_many_descriptors() {
    let test = "nobody_hides_what_others_keep_by_many_descriptors";
    if !need_root(test, "only root looks at others' descriptors") || !need(test, &["perl", "setpriv"]) {
        return;
    }
    let (list, noted) = hoarded(libc::CLONE_FILES);
    assert!(!is_unread(&list, "descriptors") && !noted.contains("descriptors"), "{noted}");
    let (list, noted) = hoarded(0);
    assert!(is_unread(&list, "descriptors"), "{}", list["unread"]);
    assert!(noted.contains("not all is listed: there were too many descriptors of process"), "{noted}");
}

#[test]
fn nobody_hides_what_others_keep_by_many_mounts() {
    let test = "nobody_hides_what_others_keep_by_many_mounts";
    if !need_root(test, "only root looks at others' mounts") || !need(test, &["perl", "unshare"]) {
        return;
    }
    let bind = format!(
        r#"my ($what, $at, $kind, $dir) = ("/proc/self/ns/uts", "/mnt/n", "tmpfs", "/mnt");
        syscall({0}, $kind, $dir, $kind, 0, 0) == 0 or die; open(my $n, ">", $at) or die;
        for (1..10050) {{ syscall({0}, $what, $at, $kind, {1}, 0) == 0 or die }}"#,
        libc::SYS_mount,
        libc::MS_BIND
    );
    let _hoard = Hoard::new(&["unshare", "-Urm"], &bind);
    let script = "mount -t tmpfs none /mnt && touch /mnt/kept && unshare --net=/mnt/kept true && echo ready && exec cat";
    let mut holder = Command::new("unshare");
    holder.args(["-m", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().expect("unshare starts");
    let mut said = holder.stdout.take().expect("output is piped");
    std::io::Read::read_exact(&mut said, &mut [0; 6]).expect("it is ready");
    let (list, noted) = listed("net");
    drop(holder.stdin.take());
    holder.wait().expect("it ends");
    let kept = |one: &Value| one["held_by"]["mounts"][0]["path"] == "/mnt/kept";
    assert!(is_listed(&list, kept), "{list}");
    assert!(is_unread(&list, "mounts"), "{}", list["unread"]);
    assert!(noted.contains("not all is listed: there were too many mounts of process"), "{noted}");
    let output = sept().args(["ls", "4294967295"]).output().expect("sept starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(125) && said.contains("mounts of process"), "{said}");
}

/// Mounts that lie over one another, each of which the kernel looks for from the last one on, in many namespaces.
#[test]
fn nobody_keeps_who_looks_waiting_by_many_mounts() {
    let test = "nobody_keeps_who_looks_waiting_by_many_mounts";
    if !need(test, &["perl", "unshare"]) {
        return;
    }
    let bind = format!(
        r#"my ($at, $kind, $dir) = ("/mnt/" . "d" x 200, "tmpfs", "/mnt"); $| = 1;
        syscall({0}, $kind, $dir, $kind, 0, 0) == 0 or die; mkdir $at;
        for (1..15000) {{ syscall({0}, $dir, $at, $kind, {1}, 0) == 0 or die }}
        for (1..12) {{ fork and next; syscall({2}, {3}) == 0 or die; print "x"; <STDIN>; exit }}
        <STDIN>"#,
        libc::SYS_mount,
        libc::MS_BIND,
        libc::SYS_unshare,
        libc::CLONE_NEWNS
    );
    let mut hoard = Command::new("unshare");
    hoard.args(["-Urm", "perl", "-e", &bind]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut hoard = hoard.spawn().expect("unshare starts");
    let mut said = hoard.stdout.take().expect("output is piped");
    std::io::Read::read_exact(&mut said, &mut [0; 12]).expect("they are ready");
    let begun = Instant::now();
    let (list, noted) = listed("mnt");
    let took = begun.elapsed();
    drop(hoard.stdin.take());
    hoard.wait().expect("it ends");
    assert!(took < Duration::from_secs(16), "{took:?}");
    assert!(is_unread(&list, "mounts") && noted.contains("mounts of process"), "{noted}");
}
