//! Limits on all processes of a command together, as the kernel keeps them.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use common::{Scratch, Waiting, children, host, is_root, need, path, run, sept, skip, soon, stderr, stdout};

fn rooted(test: &str) -> bool {
    if !is_root() {
        skip(test, "it takes the right to make cgroups");
    }
    is_root()
}

/// Every cgroup of ours in all hierarchies, at the place of this process or anywhere below the top.
fn ours(dir: &Path, depth: u32) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let dirs = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.flat_map(|entry| {
        let own = entry.file_name().to_string_lossy().starts_with("sept-");
        let below = if depth > 0 { ours(&entry.path(), depth - 1) } else { Vec::new() };
        below.into_iter().chain(own.then(|| entry.path()))
    })
    .collect()
}

fn report(output: &Output) -> serde_json::Value {
    let said = stderr(output);
    let line = said.lines().find(|line| line.starts_with('{')).expect("there is a report");
    serde_json::from_str(line).expect("it is JSON")
}

#[test]
fn at_its_memory_limit_a_command_is_killed_and_the_report_says_so() {
    let test = "at_its_memory_limit_a_command_is_killed_and_the_report_says_so";
    if !rooted(test) || !need(test, &["perl"]) {
        return;
    }
    let output = run(&[
        "--memory",
        "32M",
        "--report-fd",
        "2",
        "perl",
        "-e",
        "my $x = 'x' x (200 << 20); print 'done'",
    ]);
    assert_eq!(output.status.code(), Some(137), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    let report = report(&output);
    assert!(report["oom_kills"].as_u64() >= Some(1), "{report}");
    let peak = report["peak_memory_bytes"].as_u64().expect("memory was counted");
    assert!((16 << 20..=32 << 20).contains(&peak), "{peak}");
}

#[test]
fn time_of_who_was_not_waited_for_is_in_the_report() {
    let test = "time_of_who_was_not_waited_for_is_in_the_report";
    if !rooted(test) {
        return;
    }
    let used = |limits: &[&str]| {
        let line = ["--timeout", "600ms", "--report-fd", "2", "sh", "-c", "(while :; do :; done) & sleep 10"];
        let report = report(&run(&[limits, &line].concat()));
        let part = |name: &str| report[name].as_f64().expect("time was counted");
        part("user_seconds") + part("system_seconds")
    };
    assert!(used(&["--pids", "20"]) > 0.1);
    assert!(used(&[]) < 0.1, "without a cgroup nobody counts it");
}

#[test]
fn what_is_written_into_a_tmpfs_counts_as_memory() {
    let test = "what_is_written_into_a_tmpfs_counts_as_memory";
    if !rooted(test) {
        return;
    }
    let script = "head -c 100M /dev/zero >/mnt/file; echo wrote";
    let output = run(&["--memory", "32M", "--tmpfs", "/mnt", "--report-fd", "2", "sh", "-c", script]);
    assert!(report(&output)["oom_kills"].as_u64() >= Some(1), "{}", stderr(&output));
}

#[test]
fn what_tcp_holds_has_a_limit_too() {
    let test = "what_tcp_holds_has_a_limit_too";
    if !rooted(test) || !need(test, &["perl"]) {
        return;
    }
    let script = r#"
        use Socket;
        socket(my $listener, AF_INET, SOCK_STREAM, 0);
        bind($listener, pack_sockaddr_in(0, INADDR_LOOPBACK));
        listen($listener, 100);
        my ($sum, @kept) = 0;
        for (1..40) {
            socket(my $one, AF_INET, SOCK_STREAM, 0);
            connect($one, getsockname($listener)) && accept(my $other, $listener) or last;
            push @kept, $one, $other;
            fcntl($one, 4, 2048);
            while (defined(my $sent = syswrite($one, "x" x 65536))) { $sum += $sent }
        }
        print $sum >> 20"#;
    let held = |limit: &[&str]| run(&[limit, &["perl", "-e", script]].concat());
    let limited = held(&["--memory", "32M"]);
    // Version 2 counts it with all else, and kills at the limit.
    if limited.status.code() == Some(137) {
        return;
    }
    let [limited, free] = [limited, held(&["--pids", "20"])]
        .map(|output| stdout(&output).parse::<u32>().unwrap_or_else(|_| panic!("{}", stderr(&output))));
    assert!(limited <= 40 && free > 60, "{limited} of {free} MiB");
}

#[test]
fn no_more_processes_than_allowed() {
    let test = "no_more_processes_than_allowed";
    if !rooted(test) {
        return;
    }
    let output = run(&["--pids", "4", "sh", "-c", "for i in 1 2 3 4 5 6; do sleep 0.1 & done; wait"]);
    assert!(stderr(&output).to_lowercase().contains("fork"), "{}", stderr(&output));
    // Without room for a second thread, the net namespace is made by the first.
    let output = run(&["--pids", "1", "grep", "-c", ":", "/proc/net/dev"]);
    assert_eq!(stdout(&output), "1", "{}", stderr(&output));
}

/// With version 2 a cgroup that has processes can pass these two on alone, and then takes no process below it.
#[test]
fn a_limit_of_processes_or_of_time_alone_is_enough() {
    let test = "a_limit_of_processes_or_of_time_alone_is_enough";
    if !rooted(test) {
        return;
    }
    for limit in [["--pids", "20"], ["--cpus", "0.5"]] {
        let output = run(&[&limit[..], &["echo", "there"]].concat());
        assert_eq!(common::stdout(&output), "there", "{limit:?}");
    }
}

#[test]
fn inside_it_is_at_the_root_of_its_cgroup_namespace() {
    let test = "inside_it_is_at_the_root_of_its_cgroup_namespace";
    if !rooted(test) {
        return;
    }
    let output = run(&["--memory", "64M", "--pids", "20", "--cpus", "0.5", "cat", "/proc/self/cgroup"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let paths = |name: &str| text.lines().any(|line| line.ends_with(&format!("{name}:/")));
    assert!(output.status.success() && (paths("memory") && paths("pids") || paths("0:")), "{text}");
    let pid = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split('-').nth(1).map(str::to_owned)
    };
    let gone = |path: &&PathBuf| {
        pid(path).is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
    };
    // Other tests' as well: a scope is systemd's to remove, a moment after its last process has ended.
    // And what a test has killed leaves an empty one to the next run.
    soon("nothing is left behind", || {
        run(&["--memory", "64M", "--pids", "20", "--cpus", "0.5", "true"]);
        ours(Path::new("/sys/fs/cgroup"), 3).iter().filter(gone).count() == 0
    });
}

#[test]
fn a_limit_that_is_none_is_refused() {
    for (option, value) in
        [("--memory", "0"), ("--cpus", "0"), ("--cpus", "x"), ("--pids", "0"), ("--pids", "-1")]
    {
        let output = run(&[option, value, "true"]);
        assert_eq!(output.status.code(), Some(125), "{option} {value}");
        assert!(stderr(&output).contains(option), "{}", stderr(&output));
    }
    let output = run(&["--memory", "64M", "--cgroup-parent", "/nowhere/at/all", "true"]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    assert!(stderr(&output).contains("/nowhere/at/all"), "{}", stderr(&output));
}

/// The child shares its caller's memory otherwise: the tmpfs would be the caller's, and the caller killed with the child.
#[test]
fn set_up_that_needs_too_much_memory_fails_and_hurts_nobody() {
    let test = "set_up_that_needs_too_much_memory_fails_and_hurts_nobody";
    if !rooted(test) {
        return;
    }
    for more in [&["--pids", "9"][..], &["--init"]] {
        let zeros = std::fs::File::open("/dev/zero").expect("it can be opened");
        let line = ["run", "--memory", "24M", "--tmpfs", "/mnt", "--file", "0", "/mnt/file"];
        let output = sept().args(line).args(more).arg("true").stdin(zeros).output().expect("sept starts");
        assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
        assert!(stderr(&output).contains("the limit was reached"), "{}", stderr(&output));
    }
    let output = run(&["--memory", "4k", "true"]);
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    // The file by its name, where there is version 2.
    let output = run(&["--cgroup-conf", "memory.max=4k", "true"]);
    assert!(matches!(output.status.code(), Some(125 | 137)), "{:?} {}", output.status, stderr(&output));
}

/// It is set when set-up is done, where that writes no file; else before.
#[test]
fn a_limit_of_memory_is_there_when_the_command_begins() {
    let test = "a_limit_of_memory_is_there_when_the_command_begins";
    if !rooted(test) {
        return;
    }
    for more in [&[][..], &["--tmpfs", "/mnt", "--file", "0", "/mnt/file"], &["--init"]] {
        let line = ["run", "--cgroup-manager", "fs", "--memory", "40M"];
        let mut running = sept()
            .args(line)
            .args(more)
            .args(["sh", "-c", "echo begun; exec sleep 100"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sept starts");
        let mut begun = String::new();
        let output = running.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut begun).expect("it can be read");
        let pid = children(running.id())[0];
        let limits: Vec<String> = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .expect("it can be read")
            .lines()
            .filter_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let (name, path) = (fields.next()?, fields.next()?);
                let file = match name {
                    "memory" => format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"),
                    "" => format!("/sys/fs/cgroup{path}/memory.max"),
                    _ => return None,
                };
                std::fs::read_to_string(file).ok()
            })
            .collect();
        // By a signal that it passes on: it removes its cgroup.
        host("kill", &[&running.id().to_string()]);
        running.wait().expect("it ends");
        assert_eq!(limits, ["41943040\n"], "{more:?}");
    }
}

#[test]
fn only_the_devices_of_the_rules_can_be_opened() {
    let test = "only_the_devices_of_the_rules_can_be_opened";
    if !rooted(test) {
        return;
    }
    let opened = |rules: &[&str]| {
        let script = "for d in null kmsg; do (: <>/dev/$d) 2>/dev/null && echo $d; done; true";
        let line = ["--share", "user", "--cgroup-manager", "fs"];
        stdout(&run(&[&line[..], rules, &["sh", "-c", script]].concat()))
    };
    let rule = ["--device-cgroup-rule", "c 1:3 rwm"];
    assert_eq!(opened(&rule), "null");
    assert_eq!(opened(&[&rule[..], &["--device-cgroup-rule", "c 1:11 rw"]].concat()), "null\nkmsg");
}

/// Beside version 1, version 2 has no controllers here; but it takes the program that decides on devices.
#[test]
fn version_2_limits_devices_by_a_program() {
    let test = "version_2_limits_devices_by_a_program";
    if !rooted(test) {
        return;
    }
    let rules = "--share user --cgroup-manager fs --device-cgroup-rule";
    let script = format!(
        "test -e /sys/fs/cgroup/cgroup.controllers || mount -t cgroup2 none /sys/fs/cgroup; {} run {rules} 'c 10:229 rwm' \
         sh -c 'for d in null kmsg zero; do (: <>/dev/$d) 2>/dev/null && echo $d; done; true'; \
         {0} run --cgroup-conf memory.high=1M true; ls /sys/fs/cgroup | grep -c ^sept",
        path()
    );
    let line = ["-m", "--propagation", "private", "sh", "-c", &script];
    let output = std::process::Command::new("unshare").args(line).output().expect("unshare starts");
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(said, "null\nzero\n0", "{}", stderr(&output));
}

#[test]
fn processors_and_shares_are_those_of_the_kernel() {
    let test = "processors_and_shares_are_those_of_the_kernel";
    if !rooted(test) {
        return;
    }
    let waiting = Waiting::new(&["--cpuset-cpus", "0", "--cpu-shares", "512", "--cpus", "0.5"]);
    let pid = waiting.inside();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it can be read");
    assert!(status.lines().any(|line| line == "Cpus_allowed_list:\t0"), "{status}");
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it can be read");
    let path = |name: &str| {
        let line = cgroups
            .lines()
            .find(|line| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|n| n == name)));
        line.and_then(|line| line.splitn(3, ':').nth(2)).map(str::to_owned)
    };
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    match path("cpu") {
        Some(path) => {
            assert_eq!(read(&format!("/sys/fs/cgroup/cpu{path}/cpu.shares")), "512");
            assert_eq!(read(&format!("/sys/fs/cgroup/cpu{path}/cpu.cfs_quota_us")), "50000");
        }
        None => {
            let path = path("").expect("it is in a cgroup of version 2");
            assert_eq!(read(&format!("/sys/fs/cgroup{path}/cpu.weight")), "20");
            assert_eq!(read(&format!("/sys/fs/cgroup{path}/cpu.max")), "50000 100000");
        }
    }
}

/// The command dies with sept; its cgroup stays, empty, and the next start takes it away.
#[test]
fn what_a_killed_sept_leaves_is_taken_away_by_the_next() {
    let test = "what_a_killed_sept_leaves_is_taken_away_by_the_next";
    if !rooted(test) {
        return;
    }
    let line = ["--cgroup-manager", "fs", "--pids", "50"];
    let mut waiting = Waiting::new(&line);
    let (sept, inside) = (waiting.child.id(), waiting.inside());
    let left = || {
        let prefix = format!("sept-{sept}-");
        let named =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        ours(Path::new("/sys/fs/cgroup"), 3).into_iter().filter(named).count()
    };
    assert!(left() > 0, "there is a cgroup");
    waiting.child.kill().expect("it can be killed");
    waiting.child.wait().expect("it ends");
    soon("the command ends with sept", || {
        let state = std::fs::read_to_string(format!("/proc/{inside}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    });
    soon("the next start takes the cgroup away", || {
        assert!(run(&[&line[..], &["true"]].concat()).status.success());
        left() == 0
    });
}

/// The command dies with sept; what it has started may not, and is nobody's then.
#[test]
fn what_runs_in_the_cgroup_of_a_killed_sept_is_killed_by_the_next() {
    let test = "what_runs_in_the_cgroup_of_a_killed_sept_is_killed_by_the_next";
    if !rooted(test) || !need(test, &["setsid", "pgrep", "unshare"]) {
        return;
    }
    let two = "test -e /sys/fs/cgroup/cgroup.controllers || mount -t cgroup2 none /sys/fs/cgroup";
    for (n, (begin, limits)) in
        [("true", "--pids 20 --memory 100M"), (two, "--device-cgroup-rule 'c 1:3 rwm'")].iter().enumerate()
    {
        let word = format!("9876{n}{}", std::process::id());
        let script = format!(
            r#"{begin}; run() {{ exec {} run --share pid --cgroup-manager fs {limits} "$@"; }}
            count() {{ pgrep -fc "^sleep $1{word}$"; }}
            run sleep 1{word} >/dev/null 2>&1 & lives=$!
            run sh -c 'sleep {word} & setsid sleep {word} & setsid setsid sleep {word} & sleep {word}' >/dev/null 2>&1 & killed=$!
            while test "$(count)" -lt 4 -o "$(count 1)" -lt 1; do sleep 0.01; done
            kill -KILL $killed; wait $killed; sleep 0.1; left=$(count); (run true); echo $left $(count) $(count 1)
            kill $lives; wait"#,
            path()
        );
        let line = ["-m", "--propagation", "private", "sh", "-c", &script];
        let output = std::process::Command::new("unshare").args(line).output().expect("unshare starts");
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        host("pkill", &["-f", &format!("^sleep 1?{word}$")]);
        // Another test may have been the next one, and killed the four before they were counted.
        assert!(matches!(said.as_str(), "4 0 1" | "0 0 1"), "{limits}: {said} {}", stderr(&output));
    }
}

/// Only what a sept has made that was to end all in it, and that is held by none any more, in scopes of systemd, too.
#[test]
fn nobody_is_killed_in_a_cgroup_that_is_not_left_by_a_sept() {
    let test = "nobody_is_killed_in_a_cgroup_that_is_not_left_by_a_sept";
    if !rooted(test) {
        return;
    }
    let legacy = Path::new("/sys/fs/cgroup/pids");
    let mount = if legacy.join("cgroup.procs").exists() { legacy } else { Path::new("/sys/fs/cgroup") };
    // No name that another test counts, and none that ends as those below that get a process.
    let own = format!("left-by-test-{}-own", std::process::id());
    let scopes = ["sept-1-1.scope", "sept-2-2.scope"].map(|scope| format!("{own}/{scope}"));
    let mut members = Vec::new();
    for dir in [
        own.clone(),
        format!("{own}/sept-1-1"),
        format!("{own}/sept-mine-held"),
        format!("{own}/sept-1-1-held"),
        scopes[0].clone(),
        scopes[1].clone(),
        format!("{}/sept-1-1-held", scopes[1]),
    ] {
        let dir = mount.join(dir);
        std::fs::create_dir(&dir).expect("a cgroup can be made");
        if !dir.to_string_lossy().ends_with(['1', 'd']) {
            continue;
        }
        let sleeps = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep starts");
        std::fs::write(dir.join("cgroup.procs"), sleeps.id().to_string()).expect("it can be moved");
        members.push((dir, sleeps));
    }
    for below in [&own, &scopes[0]] {
        let output = run(&["--cgroup-manager", "fs", "--cgroup-parent", below, "--pids", "20", "true"]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let mut found = Vec::new();
    for (dir, mut sleeps) in members {
        let lives = sleeps.try_wait().expect("it can be asked").is_none();
        sleeps.kill().expect("it can be killed");
        sleeps.wait().expect("it ends");
        found.push((lives, dir.exists()));
        soon("the cgroup can be removed", || !dir.exists() || std::fs::remove_dir(&dir).is_ok());
    }
    for dir in scopes.iter().chain([&own]) {
        std::fs::remove_dir(mount.join(dir)).expect("it is empty");
    }
    assert_eq!(found, [(true, true), (true, true), (false, false), (false, false)]);
}

/// A directory of version 1 that is its own lets an ordinary user limit what it starts.
#[test]
fn an_ordinary_user_uses_a_cgroup_that_was_given_to_it() {
    let test = "an_ordinary_user_uses_a_cgroup_that_was_given_to_it";
    let mount = Path::new("/sys/fs/cgroup/pids");
    if !rooted(test) || !need(test, &["setpriv", "chown"]) {
        return;
    }
    if !mount.join("cgroup.procs").exists() || host("id", &["-u", "nobody"]).is_empty() {
        skip(test, "no hierarchy of version 1 with pids");
        return;
    }
    let scratch = Scratch::new();
    let name = scratch.0.file_name().expect("it has a name").to_string_lossy().into_owned();
    let given = mount.join(&name);
    std::fs::create_dir(&given).expect("a cgroup can be made");
    host("chown", &["-R", "nobody", given.to_str().expect("the path is UTF-8")]);
    host("chmod", &["755", &scratch.path(".")]);
    let copy = scratch.path("sept");
    // By a program: a copy that this one still has open for writing, in another thread's child, can't be executed.
    host("cp", &[&path(), &copy]);
    let line = ["--reuid", "nobody", "--clear-groups", &copy, "run", "--cgroup-parent", &name, "--pids", "3"];
    let script = ["sh", "-c", "for i in 1 2 3 4 5; do sleep 0.1 & done; wait"];
    let output = std::process::Command::new("setpriv").args(line).args(script).output().expect("it starts");
    let refused = run(&["--cgroup-parent", "/../..", "--pids", "3", "true"]);
    let removed = std::fs::remove_dir(&given);
    assert!(stderr(&output).to_lowercase().contains("fork"), "{}", stderr(&output));
    assert!(removed.is_ok(), "nothing is left in it: {removed:?}");
    assert_eq!(refused.status.code(), Some(125), "{}", stderr(&refused));
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    for (line, part) in [
        (&["--memory-swap", "1G"][..], "no --memory"),
        (&["--memory", "1G", "--memory-swap", "1M"], "less than --memory"),
        (&["--cgroup-manager", "none", "--pids", "1"], "--cgroup-manager none"),
        (&["--cgroup-manager", "systemd", "--cgroup-parent", "/", "--pids", "1"], "contradict"),
        (&["--cgroup-manager", "other", "--pids", "1"], "one of auto"),
        (&["--cpuset-cpus", "0-x"], "--cpuset-cpus"),
        (&["--cpuset-mems", "3-1"], "no list of numbers"),
        (&["--device-read-bps", "/dev/null:1M"], "no block device"),
        (&["--device-read-bps", "/dev/none:1M"], "no such file"),
        (&["--device-cgroup-rule", "d 1:3 r"], "a, b or c"),
        (&["--cgroup-conf", "cgroup.procs=1"], "is no limit"),
        (&["--cgroup-conf", "../x=1"], "no name of a file"),
        (&["--cgroup-parent", "/"], "there are none"),
    ] {
        let output = run(&[line, &["true"]].concat());
        assert_eq!(output.status.code(), Some(125), "{line:?}");
        assert!(stderr(&output).contains(part), "{line:?}: {}", stderr(&output));
    }
}

#[test]
fn a_value_that_no_cgroup_takes_names_what_it_takes() {
    if !rooted("a_value_that_no_cgroup_takes_names_what_it_takes") {
        return;
    }
    let said = |option: &str, value: &str| {
        let output = run(&["--cgroup-manager", "fs", option, value, "true"]);
        let said = stderr(&output);
        assert!(output.status.code() == Some(125) || output.status.success(), "{said}");
        // A directory that is gone by now helps nobody.
        assert!(!said.contains("/sept-"), "{said}");
        said
    };
    assert!(said("--blkio-weight", "10001").contains("1 to 10000"));
    if Path::new("/sys/fs/cgroup/blkio/cgroup.procs").exists() {
        assert!(said("--blkio-weight", "5").contains("10 to 1000"));
    }
    said("--blkio-weight", "500");
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").expect("it can be read");
    assert!(said("--cpuset-cpus", "7000").contains(&format!("choose among {}", online.trim())));
    let sizes = said("--hugetlb", "3MB=4M");
    assert!(sizes.contains("no huge pages of 3MB"), "{sizes}");
    if Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        assert!(sizes.contains("2MB"), "{sizes}");
        let small = said("--hugetlb", "2MB=1K");
        assert!(small.contains("less than one huge page") && small.contains("2097152"), "{small}");
        assert!(!said("--hugetlb", "2M=4M").contains("no huge pages of"), "another name for 2MB");
    }
}

/// A process of set-up is one, too.
#[test]
fn a_limit_that_set_up_does_not_fit_in_is_named() {
    if !rooted("a_limit_that_set_up_does_not_fit_in_is_named") {
        return;
    }
    let limited = |most: &str| run(&["--cgroup-manager", "fs", "--pids", most, "--init", "true"]);
    let output = limited("1");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("pids.max of its cgroup is 1") && said.contains("--pids 2"), "{said}");
    // A thread of set-up that has ended is counted for a moment.
    for _ in 0..20 {
        let output = limited("2");
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

/// The kernel of version 1 says "permission denied".
#[test]
fn processors_that_the_cgroup_above_does_not_have_are_named() {
    let test = "processors_that_the_cgroup_above_does_not_have_are_named";
    let mount = Path::new("/sys/fs/cgroup/cpuset");
    if !rooted(test) {
        return;
    }
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").expect("it can be read");
    if !mount.join("tasks").exists() || online.trim() == "0" {
        skip(test, "it takes the right hierarchy of version 1, and two processors");
        return;
    }
    let scratch = Scratch::new();
    let name = scratch.0.file_name().expect("it has a name").to_string_lossy().into_owned();
    let above = mount.join(&name);
    std::fs::create_dir(&above).expect("a cgroup can be made");
    for file in ["cpuset.cpus", "cpuset.mems"] {
        std::fs::write(above.join(file), "0").expect("it can be written");
    }
    let output = run(&["--cgroup-parent", &name, "--cpuset-cpus", "1", "true"]);
    std::fs::remove_dir(&above).expect("nothing is left in it");
    let said = stderr(&output);
    assert!(said.contains("cpuset.cpus is 0: no others") && said.contains("choose among 0"), "{said}");
    assert!(!said.contains("run as root"), "{said}");
}

/// Each names a way that is there, and none leads back to the other.
#[test]
fn who_may_make_no_cgroup_is_told_ways_that_are_there() {
    if is_root() {
        skip("who_may_make_no_cgroup_is_told_ways_that_are_there", "root may");
        return;
    }
    let said = |manager: &str| stderr(&run(&["--cgroup-manager", manager, "--pids", "5", "true"]));
    let (fs, systemd) = (said("fs"), said("systemd"));
    let has_systemd = sept::host::systemd_has_cgroups();
    if fs.contains("may not change the cgroups") {
        assert_eq!(fs.contains("--cgroup-manager systemd"), has_systemd, "{fs}");
    }
    assert!(
        has_systemd || systemd.contains("no systemd") && systemd.contains("--cgroup-parent"),
        "{systemd}"
    );
    assert!(!systemd.contains("--cgroup-manager fs"), "{systemd}");
}
