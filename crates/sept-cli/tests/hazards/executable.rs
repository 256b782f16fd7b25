//! The runtime's own executable and memory, as seen from inside.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use rustix::fs::SealFlags;

use crate::common::{Scratch, Waiting, children, host, need, need_root, path, sept, soon, stderr};
use crate::root_of;

/// A copy of the executable that belongs to this user.
fn copy(scratch: &Scratch, name: &str) -> String {
    let copy = scratch.path(name);
    std::fs::copy(path(), &copy).expect("it can be copied");
    copy
}

/// Keeps every executable of this size that it finds open, until it is told to stop; then tries to write to them.
const GRAB: &str = r#"
    my $size = shift; $| = 1; my @held; print "ready\n";
    until (-e "/stop" || time - $^T > 120) {
        opendir(my $all, "/proc");
        for my $pid (grep { /^\d+$/ && $_ != $$ } readdir $all) {
            last if @held > 50;
            open(my $exe, "<", "/proc/$pid/exe") or next;
            -s $exe == $size or next;
            push @held, $exe;
            open(my $got, ">", "/got");
        }
    }
    my $said = @held ? "grabbed" : "saw nothing";
    for my $exe (@held) {
        open(my $out, ">>", "/proc/self/fd/" . fileno $exe) or next;
        defined syswrite($out, "x") or next;
        $said = "overwritten"; last;
    }
    print "$said\n";
"#;

/// What a hostile root comes to when `enter` starts `#!/proc/self/exe` in it, again and again.
fn grabbed(wrap: &[&str]) -> (String, bool) {
    let scratch = Scratch::new();
    let (root, victim) = (root_of(&scratch), copy(&scratch, "victim"));
    let evil = format!("{root}/evil");
    std::fs::write(&evil, "#!/proc/self/exe\n").expect("a file can be made");
    host("chmod", &["755", &evil]);
    let size = std::fs::metadata(&victim).expect("it is there").len().to_string();
    let mut jail = sept();
    // In a domain of Landlock it could look at nobody outside of that; not every kernel has those. Nor could it without
    // the capability.
    jail.args([
        "run",
        "--landlock-scope",
        "none",
        "--cap-add",
        "sys_ptrace",
        "--root",
        &root,
        "--ro-bind",
        "/usr",
        "/usr",
    ]);
    jail.args(["perl", "-e", GRAB, &size]);
    let mut jail = jail.stdout(Stdio::piped()).spawn().expect("sept starts");
    let mut said = BufReader::new(jail.stdout.take().expect("output is piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it is ready");
    let pid = children(jail.id()).first().copied().expect("the command").to_string();
    let words = [wrap, &[&victim, "enter", &pid, "/evil"]].concat();
    // Until it was seen, and a few times more.
    let got = format!("{root}/got");
    let mut more = 5;
    for _ in 0..200 {
        more -= i32::from(std::path::Path::new(&got).exists());
        if more == 0 {
            break;
        }
        let output = Command::new(words[0]).args(&words[1..]).output().expect("it starts");
        assert!(stderr(&output).contains("no command /evil"), "{}", stderr(&output));
    }
    std::fs::write(format!("{root}/stop"), "").expect("a file can be made");
    line.clear();
    said.read_to_string(&mut line).expect("it can be read");
    jail.wait().expect("it ends");
    let same = std::fs::read(&victim).expect("it is there") == std::fs::read(path()).expect("it is there");
    (line.trim().to_owned(), same)
}

/// CVE-2019-5736: a program inside that is a link to the runtime.
#[test]
fn the_executable_cannot_be_overwritten_from_a_root_that_is_entered() {
    if !need("the_executable_cannot_be_overwritten_from_a_root_that_is_entered", &["strace", "perl"]) {
        return;
    }
    assert_eq!(grabbed(&[]), ("grabbed".to_owned(), true));
    // Kept from seeing that it could be written, it runs as it is.
    let fooled = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=access,faccessat:error=EROFS"];
    assert_eq!(grabbed(&fooled), ("overwritten".to_owned(), false));
}

/// Whether a process's executable can never be written to: on a read-only mount, or sealed.
fn is_out_of_reach(pid: u32) -> bool {
    let exe = format!("/proc/{pid}/exe");
    let file = File::open(&exe).expect("it can be opened");
    rustix::fs::access(&exe, rustix::fs::Access::WRITE_OK) == Err(rustix::io::Errno::ROFS)
        || rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::WRITE))
}

#[test]
fn who_starts_a_program_of_another_root_runs_from_out_of_reach() {
    let scratch = Scratch::new();
    let (root, own) = (root_of(&scratch), copy(&scratch, "own"));
    // Its owner could allow it to himself.
    host("chmod", &["555", &own]);
    let target = Waiting::new(&[]);
    let pid = target.inside().to_string();
    let (user, mount) = (format!("user={pid}"), format!("mount={pid}"));
    let with = |words: &[&str]| {
        let mut child: Child =
            Command::new(&own).args(words).arg("cat").stdin(Stdio::piped()).spawn().expect("sept starts");
        // Not before the command runs: it may start itself again until then.
        soon("the command runs", || {
            children(child.id())
                .iter()
                .any(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c == "cat\n"))
        });
        let is = is_out_of_reach(child.id());
        drop(child.stdin.take());
        assert!(child.wait().expect("it ends").success(), "{words:?}");
        is
    };
    let usr = ["--ro-bind", "/usr", "/usr"];
    for words in [
        [&["run", "--share", "pid", "--root", &root], usr.as_slice()].concat(),
        vec!["run", "--if-possible", "pid", "--read-only"],
        vec!["run", "-U", "--tmpfs", "/mnt"],
        vec!["run", "--join", &user, "--join", &mount],
        vec!["enter", &pid],
        vec!["enter", "-t", &pid, "-U", "-m", "-p"],
        vec!["unshare", "-Ur", "--fork", "--root", "/"],
    ] {
        assert!(with(&words), "{words:?}");
    }
    assert!(!with(&["run"]), "the host's own programs are as safe as this one");
    // Nobody is there to look at who starts the first program of a pid namespace.
    assert!(!with(&[&["run", "--root", &root], usr.as_slice()].concat()));
}

/// Looks at each process that is called sept, or a number as one is that starts from a descriptor, and tries to get at
/// its memory and its descriptors.
const REACH: &str = r#"
    $| = 1; print "ready\n";
    sub name { open(my $f, "<", "/proc/$_[0]/comm") or return ""; my $n = <$f> // ""; chomp $n; $n }
    while (time - $^T < 120) {
        opendir(my $all, "/proc");
        for my $pid (grep { /^\d+$/ && $_ != $$ && $_ != 1 } readdir $all) {
            next unless name($pid) =~ /^(sept|\d+)$/;
            my $saw = "";
            $saw .= " memory" if open(my $m, "+<", "/proc/$pid/mem");
            my $pidfd = syscall(434, $pid, 0);
            $saw .= " descriptor" if $pidfd >= 0 && syscall(438, $pidfd, 0, 0) >= 0;
            print "$saw\n" if $saw && name($pid) =~ /^(sept|\d+)$/;
        }
    }
"#;

fn reached(words: &dyn Fn(&str) -> Vec<String>, tampered: &str) -> String {
    let mut inside = sept();
    inside.args(["run", "--landlock-scope", "none", "perl", "-e", REACH]).stdout(Stdio::piped());
    let mut inside = inside.spawn().expect("sept starts");
    let mut said = inside.stdout.take().expect("output is piped");
    said.read_exact(&mut [0; 6]).expect("it is ready");
    let target = children(inside.id()).first().copied().expect("the command").to_string();
    let mut strace = Command::new("strace");
    let delays = "inject=setns,setresuid,setresgid,close_range:delay_enter=150000";
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", delays, "-e", tampered, &path()]);
    let output = strace.args(words(&target)).output().expect("strace starts");
    assert!(output.status.success(), "{}", stderr(&output));
    host("kill", &["-KILL", &target]);
    let mut seen = String::new();
    said.read_to_string(&mut seen).expect("it can be read");
    inside.wait().expect("it ends");
    seen
}

/// CVE-2016-9962, CVE-2026-41163: who joins must not be traced by those inside.
#[test]
fn who_comes_in_is_not_to_be_traced() {
    if !need("who_comes_in_is_not_to_be_traced", &["strace", "perl"]) {
        return;
    }
    let enter = |pid: &str| ["enter", pid, "true"].map(str::to_owned).to_vec();
    let join = |pid: &str| {
        let mut words = vec!["run".to_owned()];
        for kind in ["user", "pid", "mount"] {
            words.extend(["--join".to_owned(), format!("{kind}={pid}")]);
        }
        words.push("true".to_owned());
        words
    };
    // On a machine with much to do it may take more than one look.
    let seen = (0..10).any(|_| reached(&enter, "inject=prctl:retval=0").contains("memory descriptor"));
    assert!(seen, "unhidden it is to be traced");
    for words in [&enter as &dyn Fn(&str) -> Vec<String>, &join] {
        assert_eq!(reached(words, "inject=prctl:delay_enter=1"), "");
    }
}

#[test]
fn copies_with_rights_of_their_own_refuse() {
    let test = "copies_with_rights_of_their_own_refuse";
    if !need_root(test, "only root can make such copies") || !need(test, &["setpriv", "setcap"]) {
        return;
    }
    let scratch = Scratch::for_set_user_id();
    let mode = |file: &str, mode: u32| {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("a mode can be set");
    };
    mode(scratch.0.to_str().expect("UTF-8"), 0o755);
    let [plain, user, group, file] = ["plain", "user", "group", "file"].map(|name| copy(&scratch, name));
    mode(&plain, 0o755);
    mode(&user, 0o4755);
    mode(&group, 0o2755);
    mode(&file, 0o755);
    assert!(Command::new("setcap").args(["cap_sys_admin+ep", &file]).status().expect("it starts").success());
    let code = |copy: &str, words: &[&str]| {
        let line = ["--reuid", "65534", "--regid", "65534", "--clear-groups", copy];
        let output = Command::new("setpriv").args(line).args(words).output().expect("setpriv starts");
        (output.status.code(), stderr(&output))
    };
    let own = std::process::id().to_string();
    for words in [["run", "true"].as_slice(), &["unshare", "true"], &["enter", &own, "true"], &["ls"]] {
        for copy in [&user, &group, &file] {
            let (code, said) = code(copy, words);
            assert!(code == Some(125) && said.contains("refuses to run"), "{copy} {words:?}: {said}");
        }
    }
    assert_eq!(code(&plain, &["run", "true"]).0, Some(0), "without them it runs");
}
