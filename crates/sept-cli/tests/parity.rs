//! The same line to unshare(1), nsenter(1) or lsns(8) and to sept gives the same facts, as the kernel tells them: for the
//! user who runs this, and inside another user and pid namespace. Where sept differs on purpose, docs/parity.md says so.

mod common;

use std::process::{Command, Output, Stdio};

use common::{host, is_root, need, need_root, path, run, skip, stderr, stdout};

/// Everything that a process can tell about itself, line by line.
const FACTS: &str = r#"
id -u; id -g; id -G
cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups
grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Sig(Blk|Ign|Cgt))' /proc/self/status
for kind in user mnt pid uts ipc net cgroup time; do
    case " $OUTER " in *"$(readlink /proc/self/ns/$kind)"*) echo "$kind ours";; *) echo "$kind other";; esac
done
test $$ = 1 && echo "PID 1"
hostname; pwd; umask; ulimit -n
cut -d ' ' -f 4- /proc/self/mountinfo | sed 's/\(shared\|master\):[0-9]*/\1/g'
tail -n +3 /proc/self/net/dev | cut -d: -f1
cat /proc/self/timens_offsets
"#;

/// How many descriptors are open: of those that move, not of those that join. nsenter(1) leaks the target's.
const DESCRIPTORS: &str = "ls /proc/self/fd | grep -c .";

/// Runs a line of words in a place, with `OUTER` as the namespaces of that place.
fn in_place(place: &[&str], line: &[String]) -> Output {
    let script = "OUTER=$(readlink /proc/self/ns/* | tr '\\n' ' '); export OUTER; exec \"$@\"";
    let mut words: Vec<String> = place.iter().map(|word| (*word).to_owned()).collect();
    words.extend(["sh".to_owned(), "-c".to_owned(), script.to_owned(), "sh".to_owned()]);
    words.extend_from_slice(line);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.output().expect("it starts")
}

/// Fails with the lines that are not the same.
fn assert_same(ours: &str, theirs: &str, what: &str) {
    if ours != theirs {
        let only = |one: &str, other: &str| {
            one.lines()
                .filter(|line| !other.lines().any(|known| known == *line))
                .collect::<Vec<_>>()
                .join("\n  ")
        };
        panic!("{what}\nonly ours:\n  {}\nonly theirs:\n  {}", only(ours, theirs), only(theirs, ours));
    }
}

/// Where lines are tried: here, and inside another user and pid namespace.
const PLACES: [&[&str]; 2] = [&[], &["unshare", "-Urpf", "--mount-proc"]];

fn compare(theirs: &[&str], ours: &[&str], script: &str) {
    for place in PLACES {
        let line = |words: &[&str]| -> Vec<String> {
            words.iter().copied().chain(["sh", "-c", script]).map(str::to_owned).collect()
        };
        let sept = path();
        let ours: Vec<&str> = std::iter::once(sept.as_str()).chain(ours.iter().copied()).collect();
        let (theirs, ours) = (in_place(place, &line(theirs)), in_place(place, &line(&ours)));
        let text = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
        let what = format!("{place:?}: theirs says {:?}, ours {:?}", stderr(&theirs), stderr(&ours));
        assert!(theirs.status.code() == Some(0) && !text(&theirs).is_empty(), "{what}");
        assert_same(&text(&ours), &text(&theirs), &what);
        assert_eq!(ours.status.code(), theirs.status.code(), "{what}");
    }
}

/// The same options to both.
fn same_unshare(options: &[&str]) {
    let facts = format!("{FACTS}{DESCRIPTORS}");
    compare(&[&["unshare"], options].concat(), &[&["unshare"], options].concat(), &facts);
}

#[test]
fn unshare_makes_each_namespace() {
    if !need("unshare_makes_each_namespace", &["unshare"]) {
        return;
    }
    for options in [
        ["-Ur"],
        ["-Urm"],
        ["-Uru"],
        ["-Uri"],
        ["-Urn"],
        ["-UrC"],
        ["-UrT"],
        ["-Urmuin"],
        ["-UrmuinCT"],
        ["-c"],
        ["-U"],
    ] {
        same_unshare(&options);
    }
    same_unshare(&["--user", "--map-root-user", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--time"]);
    if is_root() {
        for options in [["-m"], ["-u"], ["-i"], ["-n"], ["-C"], ["-T"]] {
            same_unshare(&options);
        }
    }
}

#[test]
fn unshare_forks() {
    if !need("unshare_forks", &["unshare"]) {
        return;
    }
    same_unshare(&["-Urf"]);
    same_unshare(&["-Urpf"]);
    same_unshare(&["-Urpf", "--mount-proc"]);
    same_unshare(&["-Urpmuinf", "--mount-proc=/proc"]);
    same_unshare(&["-Urp", "--kill-child"]);
    same_unshare(&["-Urp", "--kill-child=TERM"]);
}

#[test]
fn unshare_maps_ids() {
    if !need("unshare_maps_ids", &["unshare"]) {
        return;
    }
    same_unshare(&["--map-user=1234"]);
    same_unshare(&["--map-user=1234", "--map-group=1235"]);
    same_unshare(&["-U", "--setgroups", "deny"]);
    same_unshare(&["-r", "-S", "0"]);
    same_unshare(&["-c", "--keep-caps"]);
    same_unshare(&["--map-user=7", "--map-group=7", "--keep-caps"]);
}

#[test]
fn unshare_maps_subordinate_ids() {
    let name = host("id", &["-un"]);
    let has = |file: &str| std::fs::read_to_string(file).unwrap_or_default().contains(&format!("{name}:"));
    if !need("unshare_maps_subordinate_ids", &["unshare", "newuidmap"]) {
        return;
    }
    if !has("/etc/subuid") || !has("/etc/subgid") {
        skip("unshare_maps_subordinate_ids", "this user has no subordinate ids");
        return;
    }
    let first = std::fs::read_to_string("/etc/subuid").expect("it is there");
    let first = first.lines().find(|line| line.starts_with(&format!("{name}:"))).expect("it has a line");
    let first = first.split(':').nth(1).expect("it has a start").to_owned();
    let (users, groups) = (format!("--map-users={first},10,5"), format!("--map-groups={first},10,5"));
    for options in [
        vec!["--map-auto"],
        vec!["--map-auto", "-r"],
        vec!["--map-auto", "-c"],
        vec!["--map-auto", "--map-user=5"],
        vec!["--map-auto", "--map-user=5", "--map-group=7", "-S", "3", "-G", "4"],
        vec![users.as_str(), groups.as_str(), "-r"],
    ] {
        let options: Vec<&str> = options;
        let line = |tool: &[&str]| {
            tool.iter()
                .chain(&options)
                .copied()
                .chain(["sh", "-c", FACTS])
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let (theirs, ours) =
            (in_place(&[], &line(&["unshare"])), in_place(&[], &line(&[&path(), "unshare"])));
        assert!(theirs.status.success(), "{options:?} {}", stderr(&theirs));
        assert_eq!(stdout(&ours), stdout(&theirs), "{options:?}");
    }
}

#[test]
fn unshare_moves_files() {
    if !need("unshare_moves_files", &["unshare"]) {
        return;
    }
    for propagation in ["private", "slave", "shared", "unchanged"] {
        same_unshare(&["-Ur", "--propagation", propagation]);
        same_unshare(&["-Urm", "--propagation", propagation]);
    }
    same_unshare(&["-Ur", "-w", "/usr"]);
    same_unshare(&["-Ur", "-R", "/"]);
    same_unshare(&["-Urm", "-R", "/", "-w", "/usr"]);
    same_unshare(&["-Urpf", "-R", "/", "--mount-proc"]);
    same_unshare(&["-UrTf", "--monotonic", "100000"]);
    same_unshare(&["-UrTf", "--boottime=100000", "--monotonic=-1"]);
}

#[test]
fn unshare_stays_this_process() {
    // The shell in front becomes unshare, which becomes the command: all three have one pid.
    for options in [vec!["-Ur"], vec!["-Urmuin"], vec!["-Urp"]] {
        let sept = path();
        let line = [&[sept.as_str(), "unshare"], options.as_slice(), &["sh", "-c", "echo $$ $PPID"]].concat();
        let script = format!("echo $$ $PPID; exec {}", quoted(&line));
        let said = host("sh", &["-c", &script]);
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines.len() == 2 && lines[0] == lines[1], "{options:?}: {said}");
    }
}

/// A helper that wrote maps, or bound files, is gone before the command is there.
#[test]
fn unshare_leaves_the_command_no_child_that_it_does_not_know() {
    let script = r#"read children <"/proc/$$/task/$$/children"; echo "[$children]""#;
    let mut lines = vec![vec!["-Ur"], vec!["-U", "--map-users=all", "--map-groups=all"]];
    if is_root() {
        lines.push(vec!["-U", "--map-users=5:0:3", "--map-groups=5:0:3"]);
    } else {
        lines.pop();
        if common::has_subids() {
            lines.push(vec!["--map-auto"]);
        }
    }
    for options in lines {
        let output = common::sept().arg("unshare").args(&options).args(["sh", "-c", script]).output();
        assert_eq!(stdout(&output.expect("sept starts")), "[]", "{options:?}");
    }
}

/// `--kill-child`: with the tool, its child ends, by the signal that was asked for.
#[test]
fn unshare_kills_its_child_when_it_ends() {
    let scratch = common::Scratch::new();
    for (n, tool) in [format!("{} unshare", path()), "unshare".to_owned()].iter().enumerate() {
        for option in ["--kill-child", "--kill-child=TERM"] {
            let file = scratch.path(&format!("{n}{option}"));
            // Its end closes the file that the test waits for, whoever collects it.
            let inside = format!(
                "trap 'echo TERM >>{file}; exit' TERM; echo ready >{file}; while :; do sleep 0.05; done"
            );
            let mut command = Command::new("sh");
            command
                .args(["-c", &format!("exec {tool} -Ur {option} sh -c \"$INSIDE\"")])
                .env("INSIDE", inside);
            let mut child = command.spawn().expect("it starts");
            let says = |word: &str| std::fs::read_to_string(&file).is_ok_and(|text| text.contains(word));
            common::soon("it is ready", || says("ready"));
            let inside = common::children(child.id()).first().copied().expect("a child");
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
            common::soon("the child ends, too", || {
                std::fs::read_to_string(format!("/proc/{inside}/stat"))
                    .map_or(true, |stat| stat.contains(") Z "))
            });
            assert_eq!(says("TERM"), option.ends_with("TERM"), "{tool} {option}");
        }
    }
}

/// unshare(1) has it since 2.40; the installed one does not.
#[test]
fn unshare_registers_a_binary_format_in_its_user_namespace() {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default().contains("binfmt_misc");
    if !known {
        skip("unshare_registers_a_binary_format_in_its_user_namespace", "no binfmt_misc in this kernel");
        return;
    }
    let scratch = common::Scratch::new();
    let program = scratch.path("program");
    std::fs::write(&program, "SEPTTEST whatever").expect("the file can be made");
    host("chmod", &["755", &program]);
    let line = ["unshare", "-Ur", "--load-interp", ":sept:M::SEPTTEST::/bin/echo:", &program, "and words"];
    let output = common::sept().args(line).output().expect("sept starts");
    assert_eq!(stdout(&output), format!("{program} and words"));
    let output = common::sept().args(["unshare", "-Ur", "--load-interp", "nonsense", "true"]).output();
    let output = output.expect("sept starts");
    assert!(
        output.status.code() == Some(125) && stderr(&output).contains("write nonsense to"),
        "{}",
        stderr(&output)
    );
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect::<Vec<_>>().join(" ")
}

#[test]
fn unshare_and_exit_codes() {
    if !need("unshare_and_exit_codes", &["unshare"]) {
        return;
    }
    for (options, script) in [
        ("-Ur", "exit 42"),
        ("-Urpf", "exit 42"),
        ("-Urpf", "exit 255"),
        ("-Urf", "kill -TERM $$"),
        ("-Ur", "kill -KILL $$"),
        ("-Urf", "kill -SEGV $$"),
    ] {
        let code = |tool: &str| {
            // A shell in between tells of signals as it does to users: 128 and the number.
            let script = format!("{tool} {options} sh -c '{script}'; exit $?");
            let status = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
            status.expect("sh starts").code()
        };
        assert_eq!(code(&format!("{} unshare", path())), code("unshare"), "{options} {script}");
    }
}

#[test]
fn unshare_keeps_namespaces_by_file() {
    if !need_root("unshare_keeps_namespaces_by_file", "only root can bind a namespace to a file") {
        return;
    }
    // In a mount namespace of its own, so that nothing stays whatever fails.
    for (kind, option) in
        [("uts", "--uts="), ("net", "--net="), ("ipc", "--ipc="), ("pid", "-f --pid="), ("mnt", "--mount=")]
    {
        let script = |tool: &str| {
            format!(
                "mount -t tmpfs none /mnt && mount --make-private /mnt && touch /mnt/ns && \
                 inside=$({tool} {option}/mnt/ns sh -c 'readlink /proc/self/ns/{kind}') && \
                 case $inside in {kind}:*) ;; *) exit 3;; esac; \
                 test \"$(stat -L -c %i /mnt/ns)\" = \"$(echo $inside | tr -dc 0-9)\" && grep -c 'nsfs nsfs' /proc/self/mountinfo"
            )
        };
        for tool in [format!("{} unshare", path()), "unshare".to_owned()] {
            // On one processor: some kernels number mount namespaces by processor, and bind only one of a higher number.
            let mut line = Command::new("taskset");
            let output =
                line.args(["-c", &processor(), "unshare", "-m", "sh", "-c", &script(&tool)]).output();
            let output = output.expect("taskset starts");
            assert_eq!(stdout(&output), "1", "{tool} {option}: {}", stderr(&output));
        }
    }
}

/// The first processor that this process may use.
fn processor() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a list");
    list.trim().split([',', '-']).next().expect("one").to_owned()
}

/// A process inside new namespaces, and the same line to nsenter(1) and to sept enter.
fn same_enter(target: &[&str], options: &[&str]) {
    for place in PLACES {
        let script = |tool: &str| {
            let (target, options) = (target.join(" "), options.join(" "));
            format!(
                "unshare {target} sleep 1000 & for i in $(seq 500); do \
                     p=$(cat /proc/$!/task/$!/children); p=${{p%% *}}; p=${{p:-$!}}; \
                     grep -qx sleep /proc/$p/comm && break; sleep 0.01; \
                 done; {tool} -t $p {options} sh -c \"$FACTS\"; code=$?; kill -KILL $p; wait; exit $code"
            )
        };
        let run = |tool: &str| {
            let line: Vec<String> =
                ["env", &format!("FACTS={FACTS}"), "sh", "-c", &script(tool)].map(str::to_owned).to_vec();
            in_place(place, &line)
        };
        let (theirs, ours) = (run("nsenter"), run(&format!("{} enter", path())));
        let what = format!(
            "{target:?} {options:?} {place:?}: theirs {:?}, ours {:?}",
            stderr(&theirs),
            stderr(&ours)
        );
        assert!(theirs.status.success() && ours.status.success(), "{what}");
        assert_same(&stdout(&ours), &stdout(&theirs), &what);
    }
}

#[test]
fn enter_joins_what_nsenter_does() {
    if !need("enter_joins_what_nsenter_does", &["unshare", "nsenter"]) {
        return;
    }
    // An ordinary user can drop groups in no namespace of its own, at which nsenter fails: credentials stay.
    let keep = "--preserve-credentials";
    same_enter(&["-Urmuin"], &["-U", "-u", "-i", "-n", keep]);
    same_enter(&["-Urmuin"], &["-U", "-m", "-u", "-i", "-n", keep]);
    same_enter(&["-UrC"], &["-U", "-C", keep]);
    same_enter(&["-UrTf"], &["-U", "-T", keep]);
    same_enter(&["-Urmpuinf", "--mount-proc"], &["-U", "-m", "-p", "-u", "-i", "-n", keep]);
    same_enter(&["-UrmpuinCTf", "--mount-proc"], &["-a", keep]);
    same_enter(&["-Urm"], &["-U", "-m", keep, "-r"]);
    same_enter(&["-Urm"], &["-U", "-m", keep, "-w"]);
    same_enter(&["-Urm"], &["-U", "-m", keep, "-r", "-w"]);
    same_enter(&["-Urm"], &["-U", "-m", keep, "--wdns=/usr"]);
    same_enter(&["-Urm"], &["-U", keep, "--wd=/usr"]);
    same_enter(&["-Urm"], &["-U", keep, "--root=/", "--wd=/"]);
    same_enter(&["-Urpf"], &["-U", "-p", "-F", keep]);
    if is_root() {
        same_enter(&["-m"], &["-m"]);
        same_enter(&["-mpuinCTf", "--mount-proc"], &["-a"]);
    }
}

#[test]
fn enter_becomes_root_as_nsenter_does() {
    if !is_root() {
        skip(
            "enter_becomes_root_as_nsenter_does",
            "an ordinary user can't drop groups, at which nsenter fails",
        );
        return;
    }
    let script = |tool: &str| {
        format!(
            "{} run -U --map-users 0:0:100 --map-groups 0:0:100 sleep 1000 & sleep 0.3; set -- $(pgrep -P $!); \
             {tool} -t $1 -U sh -c 'id; grep Cap /proc/self/status'; \
             {tool} -t $1 -U -S 3 -G 4 sh -c 'id; grep Cap /proc/self/status'; kill -KILL $!",
            path()
        )
    };
    let plain = |tool: &str| {
        format!(
            "unshare -Ur sleep 1000 & sleep 0.3; {tool} -t $! -U sh -c 'id; grep Cap /proc/self/status'; kill -KILL $!"
        )
    };
    for script in [&script as &dyn Fn(&str) -> String, &plain] {
        let theirs = host("sh", &["-c", &script("nsenter")]);
        let ours = host("sh", &["-c", &script(&format!("{} enter", path()))]);
        assert!(theirs.contains("uid=0"), "{theirs}");
        assert_eq!(ours, theirs);
    }
}

#[test]
fn enter_takes_files_as_nsenter_does() {
    if !need_root("enter_takes_files_as_nsenter_does", "only root can join without a user namespace") {
        return;
    }
    let script = |tool: &str| {
        format!(
            "unshare -nu sh -c 'hostname inner; exec sleep 1000' & sleep 0.3; \
             {tool} --net=/proc/$!/ns/net --uts=/proc/$!/ns/uts sh -c 'hostname; tail -n +3 /proc/self/net/dev | cut -d: -f1'; \
             {tool} -t $! --uts=/proc/self/ns/uts -n sh -c 'hostname; tail -n +3 /proc/self/net/dev | cut -d: -f1'; kill -KILL $!"
        )
    };
    let theirs = host("sh", &["-c", &script("nsenter")]);
    assert!(theirs.starts_with("inner"), "{theirs}");
    assert_eq!(host("sh", &["-c", &script(&format!("{} enter", path()))]), theirs);
}

#[test]
fn ls_knows_every_namespace_that_lsns_does() {
    if !need("ls_knows_every_namespace_that_lsns_does", &["lsns"]) {
        return;
    }
    // Numbers of processes are compared for namespaces where nothing comes and goes; all else for every one.
    let target = common::Waiting::new(&["-UrmpuinCT"]);
    let still = target.inside();
    let mut last = String::new();
    for _ in 0..50 {
        let theirs = host("lsns", &["-J", "--output", "NS,TYPE,NPROCS,PID,PNS,ONS"]);
        // lsns(8) gives up where a process ends while it looks.
        let Ok(theirs) = serde_json::from_str::<serde_json::Value>(&theirs) else { continue };
        let ours = common::sept().args(["ls", "--json"]).output().expect("sept starts");
        let ours: serde_json::Value = serde_json::from_str(&stdout(&ours)).expect("JSON");
        let listed = ours["namespaces"].as_array().expect("a list");
        let (mut counted, number) = (0, |value: &serde_json::Value| value.as_u64().unwrap_or(0));
        last.clear();
        for one in theirs["namespaces"].as_array().expect("a list") {
            let same = listed.iter().find(|ours| ours["ns"] == one["ns"]);
            let mut agrees = same.is_some_and(|ours| {
                ours["type"] == one["type"]
                    && number(&ours["owner"]) == number(&one["ons"])
                    && number(&ours["parent"]) == number(&one["pns"])
            });
            if one["pid"] == still {
                counted += 1;
                agrees &=
                    same.is_some_and(|ours| ours["processes"] == one["nprocs"] && ours["pid"] == one["pid"]);
            }
            if !agrees {
                last.push_str(&format!("{one} {}\n", same.map_or(String::new(), ToString::to_string)));
            }
        }
        if last.is_empty() {
            assert_eq!(counted, 8, "the target's eight are there");
            return;
        }
        // A namespace ended between the two listings.
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("never the same: {last}");
}

/// The same facts from `sept run`, whose defaults are switched off.
#[test]
fn run_shows_what_unshare_does() {
    if !need("run_shows_what_unshare_does", &["unshare"]) {
        return;
    }
    const SOME: &str = "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; \
                        grep -E '^(Cap|Seccomp:)' /proc/self/status; echo $$ | grep -x 1; hostname; pwd; umask; \
                        tail -n +3 /proc/self/net/dev | cut -d: -f1";
    for (theirs, ours) in [
        (vec!["-Ur"], vec!["-Ur"]),
        (vec!["-U", "--map-current-user"], vec!["-U", "-c"]),
        (
            vec!["-U", "--map-user=1234", "--map-group=1235"],
            vec!["-U", "--map-user=1234", "--map-group=1235"],
        ),
        (vec!["-Urm"], vec!["-Urm"]),
        (vec!["-Uru"], vec!["-Uru"]),
        (vec!["-Uri"], vec!["-Uri"]),
        (vec!["-Urn"], vec!["-Urn"]),
        (vec!["-UrC"], vec!["-UrC"]),
        (vec!["-Urpf"], vec!["-Urp"]),
        (vec!["-Urmpuin", "-f", "--mount-proc"], vec!["-Urmpuin"]),
    ] {
        let theirs = host("unshare", &[theirs.as_slice(), &["sh", "-c", SOME]].concat());
        let off = ["--no-new-privs=no", "--landlock-scope", "none", "--", "sh", "-c", SOME];
        let output = run(&[ours.as_slice(), &off].concat());
        assert!(!theirs.is_empty());
        assert_eq!(stdout(&output), theirs, "{ours:?}");
    }
}

/// The words that begin with two dashes, as they stand in a text.
fn options(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'));
    parts.filter(|word| word.starts_with("--") && word.len() > 2)
}

#[test]
fn every_option_of_bwrap_has_its_place_in_the_table() {
    let test = "every_option_of_bwrap_has_its_place_in_the_table";
    let (_, table) =
        include_str!("../../../docs/parity.md").split_once("| bwrap(1) |").expect("there is a table");
    let help = host(&path(), &["run", "--help"]);
    let known: Vec<&str> = options(&help).collect();
    for row in table.lines().skip(2) {
        let ours = row.split('|').nth(2).expect("a row has columns");
        if let Some(unknown) = options(ours).find(|option| !known.contains(option)) {
            panic!("sept run has no {unknown}: {row}");
        }
    }
    // Who types theirs is told ours.
    for row in table.lines().skip(2) {
        let theirs = row.split('|').nth(1).expect("a row has columns");
        for option in options(theirs).filter(|option| !known.contains(option)) {
            let said = stderr(&Command::new(path()).args(["run", option]).output().expect("sept starts"));
            assert!(said.contains("fix: here that is "), "{option}: {said}");
        }
    }
    if !need(test, &["bwrap"]) {
        return;
    }
    let theirs = table.lines().filter_map(|row| row.split('|').nth(1)).collect::<Vec<_>>().join(" ");
    let listed: Vec<&str> = options(&theirs).collect();
    let help = host("bwrap", &["--help"]);
    let ordinary = |option: &&str| !matches!(*option, "--help" | "--version");
    let first = help.lines().filter_map(|line| options(line).next()).filter(ordinary);
    let missing: Vec<&str> = first.filter(|option| !listed.contains(option)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}
