//! Whose environment `enter --env` takes.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::common::{
    Scratch, children, has_tiocsti, host, is_root, need, need_root, path, skip, soon, stderr, stdout,
};
use crate::listings::{Unanswering, has_fuse};
use crate::root_of;

const SHOW: [&str; 3] = ["sh", "-c", "echo ${WHERE-outside}"];

/// A process that runs until its standard input is closed.
struct Process {
    child: Child,
}

impl Process {
    fn new(line: &[&str]) -> Self {
        let child = Command::new(line[0]).args(&line[1..]).stdin(Stdio::piped()).spawn().expect("it starts");
        Self { child }
    }

    /// Itself or what it has started, once that has this name.
    fn named(&self, name: &str) -> String {
        let found = || {
            let below = children(self.child.id());
            let all =
                below.iter().flat_map(|pid| children(*pid)).chain(below.clone()).chain([self.child.id()]);
            all.into_iter().find(|pid| is_named(&pid.to_string(), name))
        };
        soon("it is there", || found().is_some());
        found().expect("it is there").to_string()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn is_named(pid: &str, name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
}

fn output(line: &[&str]) -> Output {
    Command::new(line[0]).args(&line[1..]).stdin(Stdio::null()).output().expect("it starts")
}

fn refused(line: &[&str], why: &str) {
    let output = output(&[line, &SHOW].concat());
    let said = stderr(&output);
    assert!(output.status.code() == Some(125) && said.contains(why), "{line:?}: {output:?}");
}

fn taken(line: &[&str]) {
    assert_eq!(stdout(&output(&[line, &SHOW].concat())), "inside", "{line:?}");
}

/// What sept says of a target that executes `next` as soon as its environment was read, at which sept is held up.
fn executed_meanwhile(scratch: &Scratch, ids: &[&str], next: &str) -> Output {
    let root = root_of(scratch);
    host("cp", &["/usr/bin/setpriv", &format!("{root}/privileged")]);
    if is_root() {
        host("chmod", &["755", scratch.0.to_str().expect("UTF-8")]);
        host("chmod", &["4755", &format!("{root}/privileged")]);
    }
    let script = format!("$SIG{{USR1}} = sub {{ exec qw({next} env -i cat) }}; sleep 60");
    let files =
        ["--root", &root, "--ro-bind", "/usr", "/usr", "--env", "WHERE=inside", "perl", "-e", &script];
    let sept = path();
    let target = Process::new(&[&[sept.as_str(), "run"], ids, &files].concat());
    let pid = target.named("perl");
    soon("it waits for the signal", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
        u64::from_str_radix(caught.trim(), 16).is_ok_and(|caught| caught & 1 << (libc::SIGUSR1 - 1) != 0)
    });
    let environ = format!("/proc/{pid}/environ");
    let delay = ["-P", &environ, "-e", "trace=close", "-e", "inject=close:delay_enter=2000000"];
    let enter = [sept.as_str(), "enter", "-t", &pid, "-e"];
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null"]).args(delay).args(enter).args(SHOW);
    let strace = strace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("strace starts");
    soon("it has been read, or refused", || {
        let opened = |pid: &u32| std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let is_it = |file: std::fs::DirEntry| {
            std::fs::read_link(file.path()).is_ok_and(|to| to == Path::new(&environ))
        };
        let state =
            std::fs::read_to_string(format!("/proc/{}/status", strace.id())).expect("it is not waited for");
        state.contains("State:\tZ") || children(strace.id()).iter().flat_map(opened).any(is_it)
    });
    host("kill", &["-USR1", &pid]);
    soon("the next program is there", || is_named(&pid, "cat"));
    let meanwhile = strace.wait_with_output().expect("it ends");
    // What it is by now may be entered, and has nothing of that.
    assert_eq!(stdout(&output(&[enter.as_slice(), &SHOW].concat())), "outside");
    meanwhile
}

/// A program with the set-user-ID bit that cleans its environment is the next, and what was read is that of the attacker's.
#[test]
fn the_environment_of_another_user_is_not_taken_for_that_of_its_next_program() {
    let test = "the_environment_of_another_user_is_not_taken_for_that_of_its_next_program";
    if !need_root(test, "only root can make such a program") || !need(test, &["strace", "perl", "setpriv"]) {
        return;
    }
    let next = "/privileged --reuid 0 --regid 0 --clear-groups";
    let ids = ["-mu", "-S", "33", "-G", "33"];
    let output = executed_meanwhile(&Scratch::for_set_user_id(), &ids, next);
    assert!(output.status.code() == Some(125), "{output:?}");
    assert!(stderr(&output).contains("which belongs to user 33"), "{}", stderr(&output));
}

/// The same where the ids tell nothing.
#[test]
fn the_environment_of_a_program_is_not_taken_for_that_of_the_next() {
    let test = "the_environment_of_a_program_is_not_taken_for_that_of_the_next";
    if !need(test, &["strace", "perl", "setpriv"]) {
        return;
    }
    let output = executed_meanwhile(&Scratch::new(), &["-Urmu"], "");
    assert!(output.status.code() == Some(125), "{output:?}");
    let why = "has executed another program while its environment was read";
    assert!(stderr(&output).contains(why), "{}", stderr(&output));
}

/// As the kernel shows it: what it has less of than the caller, it would get by the environment that it has made.
#[test]
fn an_ordinary_users_environment_is_taken_from_its_like_only() {
    let test = "an_ordinary_users_environment_is_taken_from_its_like_only";
    if !need_root(test, "only root can make the others") || !need(test, &["setpriv", "unshare", "chroot"]) {
        return;
    }
    let scratch = Scratch::new();
    let sept = scratch.path("sept");
    host("cp", &[&path(), &sept]);
    host("chmod", &["755", scratch.0.to_str().expect("UTF-8"), &sept]);
    let user = ["setpriv", "--reuid", "65534", "--regid", "65534"];
    let target = |before: &[&str], options: &[&str]| {
        let line = [before, &user, options, &["env", "WHERE=inside", "cat"]].concat();
        let process = Process::new(&line);
        let pid = process.named("cat");
        (process, pid)
    };
    let entered = |options: &[&'static str], pid: &str| {
        let words: Vec<String> = [&user, options, &[sept.as_str(), "enter", "-t", pid, "-u", "-e"]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect();
        words
    };
    let none = ["--clear-groups"].as_slice();
    let is_taken = |options: &[&'static str], pid: &str| {
        let line = entered(options, pid);
        taken(&line.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let is_refused = |options: &[&'static str], pid: &str, why: &str| {
        let line = entered(options, pid);
        refused(&line.iter().map(String::as_str).collect::<Vec<_>>(), why);
    };
    let (_like, like) = target(&[], none);
    let bound = ["--clear-groups", "--no-new-privs"];
    // A kernel that has TIOCSTI takes no filter on that from an ordinary user without it.
    is_taken(if has_tiocsti() { &bound } else { none }, &like);
    is_refused(&["--groups", "4321"], &like, "which is not in group 4321");
    let capable = ["--clear-groups", "--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"];
    is_refused(&capable, &like, "which may be another's");
    let confined = "which is confined as the caller is not";
    for before in [
        ["chroot", "/usr"].as_slice(),
        &["unshare", "--pid", "--fork"],
        &["unshare", "--net"],
        &["setpriv", "--bounding-set", "-net_raw"],
    ] {
        let (_other, other) = target(before, none);
        is_refused(none, &other, confined);
    }
    // Who is confined just the same gives nothing away.
    let (_bound, bound_pid) = target(&[], &bound);
    is_refused(none, &bound_pid, confined);
    is_taken(&bound, &bound_pid);
    is_taken(&bound, &like);
}

/// Groups and capabilities are such, too.
#[test]
fn an_environment_with_a_root_of_its_own_comes_to_who_has_no_more_than_that() {
    let test = "an_environment_with_a_root_of_its_own_comes_to_who_has_no_more_than_that";
    if !need_root(test, "only root can have more") || !need(test, &["setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    let (root, sept) = (root_of(&scratch), scratch.path("sept"));
    host("cp", &[&path(), &sept]);
    host("chmod", &["755", scratch.0.to_str().expect("UTF-8"), &sept]);
    let files = ["--root", &root, "--ro-bind", "/usr", "/usr", "--env", "WHERE=inside", "cat"];
    let run = |ids: &[&str]| {
        let process = Process::new(&[&[sept.as_str(), "run"], ids, &files].concat());
        let pid = process.named("cat");
        (process, pid)
    };
    let (_target, pid) = run(&["-mu", "-S", "1234", "-G", "0"]);
    let enter = [sept.as_str(), "enter", "-t", &pid, "-e"];
    let grouped = [["setpriv", "--groups", "0,4321"].as_slice(), &enter, &["-S", "1234"]].concat();
    refused(&grouped, "which is not in group 4321");
    taken(&[&grouped, ["-G", "0"].as_slice()].concat());
    taken(&[["setpriv", "--clear-groups"].as_slice(), &enter, &["-S", "1234"]].concat());
    let user = ["setpriv", "--reuid", "1234", "--regid", "0", "--clear-groups"];
    let some = "+sys_admin,+sys_chroot";
    let capable = [user.as_slice(), &["--inh-caps", some, "--ambient-caps", some], &enter].concat();
    refused(&capable, "which has not got the capabilities of the caller");
    // Those that are ambient come over a change of ids where securebits say so.
    let fixed = ["setpriv", "--securebits", "+no_setuid_fixup", "--inh-caps", some, "--ambient-caps", some];
    let eff = ["-S", "1234", "-G", "0", "grep", "CapEff", "/proc/self/status"];
    assert_eq!(stdout(&output(&[fixed.as_slice(), &enter, &eff].concat())), "CapEff:\t0000000000000000");
    // The number that is asked for is one of inside, where nothing else is changed, too.
    let maps = ["--map-users", "5:1234:1", "--map-users", "1234:0:1", "--map-groups", "5:1234:1"];
    let maps = [maps.as_slice(), &["--map-groups", "1234:0:1", "-S", "5", "-G", "5"]].concat();
    let (_target, pid) = run(&[["-Umu"].as_slice(), &maps].concat());
    let enter = [sept.as_str(), "enter", "-t", &pid, "-e", "--preserve-credentials"];
    taken(&[enter.as_slice(), &["-S", "5", "-G", "5"]].concat());
    refused(&[enter.as_slice(), &["-S", "1234", "-G", "1234"]].concat(), "which belongs to user 1234");
}

/// A program of 32 bits with the set-user-ID bit, that goes on as root; its vector is of 32 bits, too.
#[test]
fn a_set_user_id_program_of_32_bits_is_known_as_one() {
    let test = "a_set_user_id_program_of_32_bits_is_known_as_one";
    if !need_root(test, "only root can make such a program") {
        return;
    }
    if !Path::new("/proc/sys/abi/vsyscall32").exists() {
        skip(test, "this kernel runs no such program");
        return;
    }
    // xor ebx, ebx; xor ecx, ecx; xor edx, edx; mov eax, 208 (setresuid32); int 0x80; then for ever mov eax, 29 (pause); int 0x80
    let code = [0x31, 0xdb, 0x31, 0xc9, 0x31, 0xd2, 0xb8, 208, 0, 0, 0, 0xcd, 0x80];
    let code = [code.as_slice(), &[0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7]].concat();
    let (base, headers) = (0x40_0000_u32, 52 + 32);
    let size = headers + code.len() as u32;
    let mut file = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0];
    file.extend([1, base + headers, 52, 0, 0].map(u32::to_le_bytes).concat());
    file.extend([52_u16, 32, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    file.extend([1, 0, base, base, size, size, 5, 0x1000].map(u32::to_le_bytes).concat());
    file.extend(code);
    let scratch = Scratch::for_set_user_id();
    let root = root_of(&scratch);
    std::fs::write(format!("{root}/narrow"), file).expect("the file can be made");
    host("chmod", &["755", scratch.0.to_str().expect("UTF-8")]);
    host("chmod", &["4755", &format!("{root}/narrow")]);
    let sept = path();
    let files = ["--root", &root, "--ro-bind", "/usr", "/usr", "--env", "WHERE=inside", "/narrow"];
    let target =
        Process::new(&[[sept.as_str(), "run", "-mu", "-S", "33", "-G", "0"].as_slice(), &files].concat());
    let pid = target.named("narrow");
    soon("it is root's", || host("stat", &["-c", "%u", &format!("/proc/{pid}")]) == "0");
    let output = output(&[[sept.as_str(), "enter", "-t", &pid, "-e"].as_slice(), &SHOW].concat());
    // It does not end with its input.
    host("kill", &["-KILL", &pid]);
    assert!(stderr(&output).contains("which was started by another user"), "{output:?}");
}

/// One that is the root of the target, and that the caller is allowed to ask, as it is in the same user namespace.
#[test]
fn no_file_system_in_user_space_holds_up_who_asks_for_an_environment() {
    let test = "no_file_system_in_user_space_holds_up_who_asks_for_an_environment";
    if !need_root(test, "only root mounts one for itself") || !need(test, &["perl"]) || !has_fuse(test) {
        return;
    }
    // It answers FUSE_INIT, and that there is no FUSE_ACCESS, without which nobody can make it a root.
    let serve = format!(
        r#"$| = 1; open my $f, "+<", "/dev/fuse" or die; my ($of, $at, $kind) = ("x", "/mnt", "fuse");
        my $o = "fd=" . fileno($f) . ",rootmode=40000,user_id=0,group_id=0";
        syscall({}, $of, $at, $kind, 0, $o) == 0 or die "mount: $!";
        if (!fork) {{ close $f; chroot "/mnt" or die "chroot: $!"; print "ready\n"; sleep 60; exit }}
        while (sysread $f, my $b, 1 << 20) {{
            my (undef, $what, $unique) = unpack "L L Q", $b;
            my $init = pack "L L L L S S L L S S L x28", 7, 31, 4096, 0, 0, 0, 4096, 1, 0, 0, 0;
            syswrite $f, pack("L l Q", 80, 0, $unique) . $init if $what == 26;
            syswrite $f, pack("L l Q", 16, -38, $unique) if $what == 34;
        }}"#,
        libc::SYS_mount
    );
    let served = Unanswering::of(&["--share", "user"], &serve);
    let pid = children(served.command).first().expect("the target").to_string();
    for line in [
        ["enter", "-t", &pid, "-e", "--plan", "true"].as_slice(),
        &["enter", "-t", &pid, "-r", "-e", "--plan", "true"],
    ] {
        let (code, said) = served.looked_at("/bin/sh", line);
        assert!(code.is_some(), "{line:?} waits for an answer: {said}");
    }
}

/// By chroot(2) a process has for a root what is another's, or in no mount namespace any more, and who joins its mounts finds the host's.
#[test]
fn a_root_that_is_not_of_the_targets_own_mounts_gives_no_environment() {
    let test = "a_root_that_is_not_of_the_targets_own_mounts_gives_no_environment";
    if !need_root(test, "only root can have such a root") || !need(test, &["unshare", "chroot"]) {
        return;
    }
    let scratch = Scratch::new();
    let (root, sept) = (root_of(&scratch), path());
    let why = "which may be another's";
    let files = ["run", "-mu", "--root", &root, "--ro-bind", "/usr", "/usr", "cat"];
    let container = Process::new(&[[sept.as_str()].as_slice(), &files].concat());
    let foreign = format!("/proc/{}/root", container.named("cat"));
    let inside = ["chroot", &foreign, "env", "WHERE=inside", "cat"];
    for before in [[].as_slice(), &["unshare", "-m"]] {
        let target = Process::new(&[before, &inside].concat());
        let pid = target.named("cat");
        refused(&[&sept, "enter", "-t", &pid, "-e"], why);
        // A root in the caller's own mounts is left by who has rights there.
        let by_chroot = [sept.as_str(), "enter", "-t", &pid, "-r", "-e"];
        if before.is_empty() {
            refused(&by_chroot, why);
        } else {
            taken(&by_chroot);
        }
    }
    let script = r#"mount --bind "$0" "$0" && mount --bind /usr "$0/usr" || exit
        exec 3<&0; chroot "$0" env WHERE=inside cat <&3 & until grep -q cat "/proc/$!/comm"; do :; done; umount -l "$0"; wait"#;
    let target = Process::new(&["unshare", "-m", "sh", "-c", script, &root]);
    let pid = target.named("cat");
    let mounts = format!("/proc/{pid}/mountinfo");
    soon("it is unmounted", || std::fs::read_to_string(&mounts).is_ok_and(|lines| lines.is_empty()));
    refused(&[&sept, "enter", "-t", &pid, "-e"], why);
}

/// The environment runs what TARGET likes, which would undo by COMMAND's rights what TARGET is confined by.
#[test]
fn who_comes_with_the_environment_of_a_target_has_no_more_rights_than_that() {
    let test = "who_comes_with_the_environment_of_a_target_has_no_more_rights_than_that";
    if !need(test, &["umount", "grep"]) {
        return;
    }
    let scratch = Scratch::new();
    let (root, sept) = (root_of(&scratch), path());
    let files =
        ["--root", &root, "--ro-bind", "/usr", "/usr", "--ro-bind", "/usr", "/target", "--mask", "/target"];
    let fields = ["CapPrm:", "CapEff:", "CapBnd:", "NoNewPrivs:"];
    let rights = "grep -E '^(CapPrm|CapEff|CapBnd|NoNewPrivs):' /proc/self/status; umount -n /target; ls /target; echo $WHERE";
    for options in [[].as_slice(), &["--cap-drop", "all"], &["--no-new-privs", "--cap-drop", "sys_admin"]] {
        let line =
            [[sept.as_str(), "run"].as_slice(), options, &files, &["--env", "WHERE=inside", "cat"]].concat();
        let target = Process::new(&line);
        let pid = target.named("cat");
        let output = output(&[&sept, "enter", "-t", &pid, "-e", "sh", "-c", rights]);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it is there");
        let its = status.lines().filter(|line| fields.iter().any(|field| line.starts_with(field)));
        let expected: Vec<&str> = its.chain(["inside"]).collect();
        assert_eq!(stdout(&output).lines().collect::<Vec<_>>(), expected, "{options:?}: {output:?}");
    }
}

/// In the middle of an execution the vector is empty, as here, and ids and environment can be those of two programs.
#[test]
fn who_executes_a_program_just_now_gives_no_environment() {
    let test = "who_executes_a_program_just_now_gives_no_environment";
    if !need(test, &["perl"]) {
        return;
    }
    let scratch = Scratch::new();
    let (root, sept) = (root_of(&scratch), path());
    // Its struct prctl_mm_map as it is (proc_pid_stat(5)), with another vector: PR_SET_MM, PR_SET_MM_MAP.
    let script = format!(
        r#"open my $f, "<", "/proc/self/stat"; my @is = split " ", <$f>; my ($none, $at) = ("\0" x 320, 0);
        my @parts = (@is[25, 26, 44, 45, 46], syscall({}, $at), @is[27, 47 .. 50], unpack "Q", pack "P", $none);
        my $map = pack "Q12 L l", @parts, 320, -1;
        $0 = syscall({}, 35, 14, $map, length $map, 0) == 0 ? "ready" : "denied"; <STDIN>"#,
        libc::SYS_brk,
        libc::SYS_prctl
    );
    let files = ["run", "--root", &root, "--ro-bind", "/usr", "/usr", "--env", "WHERE=inside"];
    let target = Process::new(&[[sept.as_str()].as_slice(), &files, &["perl", "-e", &script]].concat());
    let found = || {
        let all = children(target.child.id());
        all.iter()
            .flat_map(|pid| children(*pid))
            .chain(all.clone())
            .map(|pid| pid.to_string())
            .find(|pid| is_named(pid, "ready") || is_named(pid, "denied"))
    };
    soon("it has tried", || found().is_some());
    let pid = found().expect("it waits");
    if is_named(&pid, "denied") {
        skip(test, "this kernel lets nobody change it");
        return;
    }
    refused(&[&sept, "enter", "-t", &pid, "-e"], "is executing a program");
}

/// The same files, but for the mount that shows them: that may be for reading only.
#[test]
fn who_has_the_callers_root_by_another_mount_is_confined() {
    let test = "who_has_the_callers_root_by_another_mount_is_confined";
    if !need_root(test, "only root can make such a root") || !need(test, &["unshare", "chroot", "setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    let (root, sept) = (scratch.path("bound"), scratch.path("sept"));
    std::fs::create_dir(&root).expect("a directory can be made");
    host("cp", &[&path(), &sept]);
    host("chmod", &["755", scratch.0.to_str().expect("UTF-8"), &sept]);
    let script = r#"mount --rbind / "$0" && mount -o remount,bind,ro "$0" || exit
        user="setpriv --reuid 65534 --regid 65534 --clear-groups"
        chroot "$0" $user env WHERE=inside sleep 60 & until grep -q sleep "/proc/$!/comm"; do :; done
        $user "$1" enter -t $! -u -e sh -c 'echo ${WHERE-outside}'; kill $!"#;
    let output = output(&["unshare", "-m", "sh", "-c", script, &root, &sept]);
    assert!(stderr(&output).contains("which is confined as the caller is not"), "{output:?}");
}

/// Who joins the mounts only does not have it.
#[test]
fn a_root_by_chroot_comes_with_its_environment_where_it_is_entered() {
    let test = "a_root_by_chroot_comes_with_its_environment_where_it_is_entered";
    if !need(test, &["unshare"]) {
        return;
    }
    let scratch = Scratch::new();
    let (root, sept) = (root_of(&scratch), path());
    let script = r#"mount --bind /usr "$0/usr" && exec unshare --root="$0" env WHERE=inside cat"#;
    let target = Process::new(&["unshare", "-Urm", "sh", "-c", script, &root]);
    let pid = target.named("cat");
    refused(&[&sept, "enter", "-t", &pid, "-e"], "enter that root, too, as its user (-r");
    // From a directory of this side everything of it can be reached.
    refused(&[&sept, "enter", "-t", &pid, "-r", "-e", "--wd=/"], "--env takes the environment of");
    taken(&[&sept, "enter", "-t", &pid, "-r", "-e"]);
}
