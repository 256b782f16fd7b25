//! Groups and capabilities.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::common::{
    Scratch, Waiting, children, has_scopes, has_tiocsti, host, need, need_root, need_subids, on_terminal,
    path, run, sept, skip, stderr, stdout,
};

/// CVE-2014-8989: a file that denies a group, and a process that would drop the group.
#[test]
fn a_group_that_is_denied_stays_denied() {
    let test = "a_group_that_is_denied_stays_denied";
    if !need_root(test, "only root can give a process that group") || !need(test, &["setpriv"]) {
        return;
    }
    let scratch = Scratch::new();
    let (file, sept) = (scratch.path("file"), scratch.path("sept"));
    std::fs::write(&file, "secret").expect("the file can be made");
    host("cp", &[&path(), &sept]);
    for (mode, what) in [("755", scratch.0.to_str().expect("UTF-8")), ("755", &sept), ("604", &file)] {
        host("chmod", &[mode, what]);
    }
    host("chown", &["root:4321", &file]);
    let reads = |groups: &str, words: &[&str]| {
        let line = ["--reuid", "65534", "--regid", "65534", "--groups", groups];
        let output = Command::new("setpriv").args(line).args(words).args(["cat", &file]).output();
        output.expect("setpriv starts").status.success()
    };
    assert!(reads("65534", &[]) && !reads("4321", &[]), "the file denies the group");
    for words in [
        ["run", "-Ur"].as_slice(),
        &["run", "-Ur", "-G", "0"],
        &["unshare", "-Ur"],
        &["run", "-Ur", "--namespaces", "none"],
    ] {
        assert!(!reads("4321", &[&[sept.as_str()], words].concat()), "{words:?}");
    }
    // Nor by entering what such a process has made.
    let script = format!(
        "{sept} run -Ur sleep 20 & n=0; while n=$((n + 1)); [ $n -lt 500 ]; do pid=$(cat /proc/$!/task/$!/children); \
         [ \"$(cat /proc/${{pid% }}/comm)\" = sleep ] && break; sleep 0.01; done 2>/dev/null; pid=${{pid% }}; \
         {sept} enter $pid cat {file} && echo read; {sept} enter $pid true && echo entered; kill $!"
    );
    let line = ["--reuid", "65534", "--regid", "65534", "--groups", "4321", "sh", "-c", &script];
    assert_eq!(host("setpriv", &line), "entered");
}

/// CVE-2022-29162: capabilities that exec hands on though nobody asked, from a caller that has some of these.
#[test]
fn capability_sets_are_empty_where_nobody_asked() {
    let test = "capability_sets_are_empty_where_nobody_asked";
    if !need_root(test, "only root can have such sets") || !need(test, &["setpriv"]) {
        return;
    }
    let target = Waiting::new(&[]);
    let pid = target.inside().to_string();
    let (sept, user) = (path(), format!("user={pid}"));
    let sets = |words: &[&str]| {
        let line =
            [&["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"], words, &["cat", "/proc/self/status"]]
                .concat();
        let text = host("setpriv", &line);
        ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(|name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the line is there");
            u64::from_str_radix(line.trim(), 16).expect("a mask")
        })
    };
    const NET_RAW: u64 = 1 << 13;
    let caller = sets(&[]);
    assert_eq!((caller[0], caller[4]), (NET_RAW, NET_RAW), "the caller has them, and hands them on");
    for words in [
        ["run"].as_slice(),
        &["run", "--init"],
        &["run", "--root", "/", "--no-dev", "--no-sys"],
        &["run", "--join", &user],
        &["run", "--share", "user", "--cap-drop", "net_admin"],
        &["run", "-S", "5", "-G", "5"],
        &["unshare", "-U"],
        &["unshare", "-Ur", "--fork", "-p"],
        &["enter", &pid],
        &["enter", "-t", &pid, "-U"],
    ] {
        let [inheritable, permitted, effective, bounding, ambient] =
            sets(&[&[sept.as_str()], words].concat());
        assert_eq!((inheritable, ambient), (0, 0), "{words:?}");
        assert!(permitted == effective && permitted & !bounding == 0, "{words:?}");
    }
    // Without a user namespace of its own the command has what the caller has, and no more.
    let same = sets(&[&sept, "run", "--share", "user"]);
    assert!(same.iter().zip(caller).all(|(own, callers)| own & !callers == 0), "{same:x?}");
    assert_eq!(sets(&[&sept, "run", "--cap-drop", "all"]), [0; 5]);
    assert_eq!(sets(&[&sept, "run", "--share", "user", "--cap-drop", "all"]), [0; 5]);
}

/// CVE-2026-30892 and its kin: a word for an id that comes to be another one. The number before 2^32 is -1, by which
/// setresuid(2) leaves the user as it is.
#[test]
fn an_id_is_that_number_or_an_error() {
    let id = |option: &str, id: &str| {
        let output = sept().args(["run", option, id, "true"]).output().expect("sept starts");
        (output.status.code(), stderr(&output))
    };
    for option in ["-S", "-G", "--groups", "--map-user", "--map-group"] {
        for word in ["4294967295", "4294967296", "-1", "+1", "1 ", " 1", "0x1", "1e3", "", "1\n", "\u{661}"] {
            let (code, said) = id(option, word);
            assert!(code == Some(125) && !said.contains("panicked"), "{option} {word:?}: {said}");
        }
    }
    for line in
        ["0:4294967290:10000", "4294967290:0:10000", "0:0:4294967296", "0:0:0", "0:0:-1", "0:0", "0:0:1:1"]
    {
        for words in [["run", "--map-users"], ["unshare", "--map-users"]] {
            let output =
                sept().args(words).args([line, "--map-user", "5000", "true"]).output().expect("sept starts");
            assert_eq!(output.status.code(), Some(125), "{words:?} {line}: {}", stderr(&output));
            assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
        }
    }
}

/// Tries to trace the program that was brought in.
const TAKE_OVER: &str = r#"
    $| = 1; print "ready\n";
    while (time - $^T < 60) {
        opendir(my $all, "/proc");
        for my $pid (grep { /^\d+$/ && $_ != $$ } readdir $all) {
            open(my $name, "<", "/proc/$pid/comm") or next;
            <$name> eq "sleep\n" or next;
            print syscall(101, 16, $pid, 0, 0) == 0 ? "taken\n" : "refused: $!\n";
            exit;
        }
    }
"#;

/// Files stay as they were arranged only if nobody inside takes over who comes in with all capabilities.
#[test]
fn who_enters_is_not_taken_over_by_a_command_whose_files_are_held() {
    let test = "who_enters_is_not_taken_over_by_a_command_whose_files_are_held";
    if !need(test, &["perl"]) {
        return;
    }
    let scratch = Scratch::new();
    let tried = |options: &[&str]| {
        let mut jail = sept();
        jail.args([
            "run",
            "--landlock-scope",
            "none",
            "--ro-bind",
            scratch.0.to_str().expect("UTF-8"),
            "/mnt",
        ]);
        jail.args(options).args(["perl", "-e", TAKE_OVER]).stdout(Stdio::piped());
        let mut jail = jail.spawn().expect("sept starts");
        let mut said = jail.stdout.take().expect("output is piped");
        said.read_exact(&mut [0; 6]).expect("it is ready");
        let pid = children(jail.id()).first().copied().expect("the command").to_string();
        let mut entered = sept();
        let mut entered = entered.args(["enter", &pid, "sleep", "60"]).spawn().expect("sept starts");
        let mut text = String::new();
        said.read_to_string(&mut text).expect("it can be read");
        jail.wait().expect("it ends");
        entered.wait().expect("it ends with the namespace");
        text.trim().to_owned()
    };
    assert_eq!(tried(&["--cap-add", "sys_ptrace"]), "taken");
    assert_eq!(tried(&[]), "refused: Operation not permitted");
}

/// A group of the caller's that is not mapped is one all the same: files that it may write to.
#[test]
fn groups_are_dropped_where_a_helper_maps_ids() {
    let test = "groups_are_dropped_where_a_helper_maps_ids";
    if !need_subids(test) {
        return;
    }
    assert_eq!(stdout(&run(&["--map-auto", "-S", "1", "-G", "1", "id", "-G"])), "1");
    // Without a group of its own they stay, also where they could be dropped.
    assert_ne!(stdout(&run(&["--map-auto", "id", "-G"])), "");
}

/// Who joins a user namespace with ids of outside is the caller, to whoever may trace it there.
#[test]
fn who_joins_a_user_namespace_has_ids_of_that() {
    let test = "who_joins_a_user_namespace_has_ids_of_that";
    if !need_root(test, "only root may map others and join them") {
        return;
    }
    let maps = ["--map-users", "0:100000:10", "--map-groups", "0:100000:10", "-S", "0", "-G", "0"];
    let target = Waiting::new(&maps);
    let ids = |kinds: &[&str], more: &[&str]| {
        let joined =
            kinds.iter().flat_map(|kind| ["--join".to_owned(), format!("{kind}={}", target.inside())]);
        let joined: Vec<String> = joined.collect();
        let joined: Vec<&str> = joined.iter().map(String::as_str).collect();
        stdout(&run(&[joined.as_slice(), more, &["sh", "-c", "id -u; id -g; id -G"]].concat()))
            .replace('\n', " ")
    };
    for kinds in [["user"].as_slice(), &["user", "mount"], &["user", "pid", "mount", "net", "uts", "ipc"]] {
        assert_eq!(ids(kinds, &[]), "0 0 0", "{kinds:?}");
    }
    assert_eq!(ids(&["user", "mount", "pid"], &["-S", "5", "-G", "5"]), "5 5 5");
    // Where groups are denied inside, they are dropped before.
    let denying = Waiting::new(&["-Ur", "--setgroups", "deny"]);
    let mut with_groups = std::process::Command::new("setpriv");
    with_groups.args(["--groups", "4,27", &path(), "run", "--share", "mount,pid", "--join"]);
    let output = with_groups.args([&format!("user={}", denying.inside()), "id", "-G"]).output();
    assert_eq!(stdout(&output.expect("setpriv starts")), "0");
}

/// Links in a mount namespace that is joined are of whoever is in there.
#[test]
fn rules_in_a_joined_mount_namespace_follow_no_links() {
    if sept::host::probe::landlock_abi().is_err() {
        skip("rules_in_a_joined_mount_namespace_follow_no_links", "this kernel has no Landlock");
        return;
    }
    let target = Waiting::new(&["--tmpfs", "/mnt", "--symlink", "/", "/mnt/all", "--dir", "/mnt/some"]);
    let [user, mount] = ["user", "mount"].map(|kind| format!("{kind}={}", target.inside()));
    let with = |place: &str| {
        let line = ["--join", &user, "--join", &mount, "--landlock-exec", "/usr", "--landlock-rw", place];
        run(&[line.as_slice(), &["/usr/bin/true"]].concat())
    };
    let (through, plain) = (with("/mnt/all"), with("/mnt/some"));
    assert!(plain.status.success(), "{}", stderr(&plain));
    assert!(
        through.status.code() == Some(125) && stderr(&through).contains("symbolic links"),
        "{}",
        stderr(&through)
    );
}

/// What a session of its own, or a joined pid namespace, does not take away.
#[test]
fn sessions_and_joins_keep_what_guards_the_caller() {
    let plan = |options: &[&str]| stdout(&run(&[options, &["--plan", "true"]].concat()));
    // Since Linux 6.2 a kernel may have no TIOCSTI, and then there is no guard against it.
    if has_tiocsti() && need("sessions_and_joins_keep_what_guards_the_caller", &["script"]) {
        let shown = on_terminal(&format!("{} run --new-session --plan true", path())).output();
        let shown = shown.expect("script starts").stdout;
        assert!(String::from_utf8_lossy(&shown).contains("refuse terminal injection"));
    }
    if has_scopes() {
        let target = Waiting::new(&[]);
        let [user, pid] = ["user", "pid"].map(|kind| format!("{kind}={}", target.inside()));
        assert!(plan(&["--join", &user, "--join", &pid]).contains("no signals to others"));
    }
}
