//! A cgroup of the command's own, through the library: what it counts, and standing still.

mod common;

use std::time::{Duration, Instant};

use common::skip;
use sept::{Cgroup, Command, DeviceRule, Error};

fn rooted(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(test, "it takes the right to make cgroups");
    }
    root
}

#[test]
fn frozen_processes_stand_still_until_they_are_thawed() {
    let test = "frozen_processes_stand_still_until_they_are_thawed";
    if !rooted(test) {
        return;
    }
    let mut command = Command::new("sh");
    command.args(["-c", "while :; do :; done"]).cgroup(Cgroup::new().freezer());
    let mut child = command.spawn().expect("it starts");
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it can be read");
        let ticks = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(11)?.parse::<u64>().ok());
        ticks.expect("it has used time")
    };
    child.freeze().expect("it can be frozen");
    let before = used();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(used(), before);
    child.thaw().expect("it can be thawed");
    let begun = Instant::now();
    while used() == before {
        assert!(begun.elapsed() < Duration::from_secs(10), "it goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Frozen when it is to die: its cgroup is removed all the same.
    child.freeze().expect("it can be frozen");
    child.kill().expect("it can be killed");
    child.thaw().expect("it can be thawed");
    child.wait().expect("it ends");
    let none = Command::new("true").spawn().expect("it starts");
    assert!(none.freeze().is_err());
}

#[test]
fn what_is_frozen_can_be_killed_and_waited_for() {
    let test = "what_is_frozen_can_be_killed_and_waited_for";
    if !rooted(test) {
        return;
    }
    let start = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).cgroup(Cgroup::new().freezer()).spawn().expect("it starts")
    };
    let begun = Instant::now();
    let mut child = start("exec sleep 1000");
    child.freeze().expect("it can be frozen");
    child.kill().expect("it can be killed");
    while child.try_wait().expect("it can be asked").is_none() {
        if begun.elapsed().as_secs() >= 3 {
            child.thaw().expect("it can be thawed");
            panic!("it does not die");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // What it leaves, too.
    let mut child = start("sleep 1000 & exit 3");
    while !std::fs::read_to_string(format!("/proc/{}/stat", child.id()))
        .is_ok_and(|stat| stat.contains(") Z "))
    {
        assert!(begun.elapsed().as_secs() < 10, "it ends");
        std::thread::sleep(Duration::from_millis(5));
    }
    let begun = Instant::now();
    child.freeze().expect("it can be frozen");
    assert_eq!(child.wait().expect("it ends").code(), Some(3));
    assert!(begun.elapsed().as_secs() < 3, "what it leaves does not die");
}

#[test]
fn a_limit_on_memory_counts_what_was_used_and_what_was_killed() {
    let test = "a_limit_on_memory_counts_what_was_used_and_what_was_killed";
    if !rooted(test) {
        return;
    }
    let mut command = Command::new("sh");
    command.args(["-c", "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo $x"]);
    command.cgroup(Cgroup::new().memory(24 << 20)).stdout(sept::Stdio::null()).stderr(sept::Stdio::null());
    let mut child = command.spawn().expect("it starts");
    child.wait().expect("it ends");
    let account = child.account().expect("it was counted");
    assert!(account.oom_kills >= Some(1) && account.peak_memory > Some(8 << 20), "{account:?}");
}

/// The kernel kills all that share memory with its victim: this process would be among them.
#[test]
fn whatever_the_limit_of_memory_only_the_child_is_killed_at_it() {
    let test = "whatever_the_limit_of_memory_only_the_child_is_killed_at_it";
    if !rooted(test) {
        return;
    }
    const MANY: u64 = 16 << 20;
    for bytes in
        [4 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 3 << 20, MANY, 64 << 20]
    {
        let mut command = Command::new("/bin/true");
        // Exec takes memory for them while the caller's is still shared.
        command.args(vec!["x".repeat(100_000); 15]).cgroup(Cgroup::new().memory(bytes));
        let shared = !command.plan().expect("it can be planned").to_string().contains("clone: a copy");
        assert_eq!(shared, bytes >= MANY, "{bytes}");
        let ended = command.spawn().map(|mut child| child.wait().expect("it ends"));
        let went_well = ended.as_ref().is_ok_and(std::process::ExitStatus::success);
        assert!(went_well || bytes < MANY, "{bytes}: {ended:?}");
        assert!(!went_well || bytes > 1 << 20, "{bytes}: 1.5 MB of words fit");
    }
}

#[test]
fn an_uncounted_cgroup_has_no_account() {
    let test = "an_uncounted_cgroup_has_no_account";
    if !rooted(test) {
        return;
    }
    for (cgroup, counted) in [(Cgroup::new().pids(9), true), (Cgroup::new().pids(9).uncounted(), false)] {
        let mut child = Command::new("true").cgroup(cgroup).spawn().expect("it starts");
        child.wait().expect("it ends");
        assert_eq!(child.account().is_some(), counted);
    }
}

#[test]
fn only_who_is_counted_has_a_cgroup_for_time_alone() {
    let test = "only_who_is_counted_has_a_cgroup_for_time_alone";
    if !rooted(test) {
        return;
    }
    let cgroups = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it can be read");
        text.lines().filter(|line| line.contains("/sept-")).count()
    };
    for (cgroup, more) in [(Cgroup::new().pids(9), 1), (Cgroup::new().pids(9).uncounted(), 0)] {
        let mut child = Command::new("sleep").arg("1000").cgroup(cgroup).spawn().expect("it starts");
        let entered = cgroups(child.id());
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let by_version_1 = std::path::Path::new("/sys/fs/cgroup/cpuacct/tasks").exists();
        assert_eq!(entered, if by_version_1 { 1 + more } else { 1 });
    }
}

#[test]
fn what_no_kernel_takes_is_refused_before_anything_is_made() {
    for cgroup in [
        Cgroup::new().memory(0),
        Cgroup::new().cpu(1, 100_000),
        Cgroup::new().cpu(100_000, 2_000_000),
        Cgroup::new().cpu_burst(1),
        Cgroup::new().pids(0),
        Cgroup::new().cpuset_cpus("a"),
        Cgroup::new().hugetlb("../x", 1),
        Cgroup::new().unified("memory/x", "1"),
        Cgroup::new().unified("cgroup.kill", "1"),
        Cgroup::new().unified("pids.max", "1\0"),
        Cgroup::new().parent(""),
        Cgroup::new().parent("a\0b"),
        Cgroup::new().io_weight(0),
    ] {
        let error = Command::new("true").cgroup(cgroup.clone()).spawn().expect_err("it is refused");
        assert!(matches!(error, Error::Invalid { .. }), "{cgroup:?}: {error}");
    }
    let plan =
        Command::new("true").cgroup(Cgroup::new().pids(3).devices([])).plan().expect("it can be planned");
    assert!(plan.to_string().contains("enter a cgroup of its own (pids 3, devices by 0 rules)"), "{plan}");
    assert!(DeviceRule::parse("c 1:3 rwx", true).is_err());
}

#[test]
fn a_parked_child_that_is_dropped_leaves_no_cgroup() {
    let test = "a_parked_child_that_is_dropped_leaves_no_cgroup";
    if !rooted(test) {
        return;
    }
    let own = || {
        let dirs = ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"]
            .into_iter()
            .filter_map(|dir| std::fs::read_dir(dir).ok());
        let prefix = format!("sept-{}-", std::process::id());
        dirs.flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .count()
    };
    let mut command = Command::new("true");
    let parked = command.cgroup(Cgroup::new().pids(7)).park().expect("it is parked");
    drop(parked);
    assert_eq!(own(), 0);
}

/// A file of that name elsewhere was written to.
#[test]
fn what_is_no_cgroup_is_not_joined_and_no_file_is_touched() {
    let dir = std::env::temp_dir().join(format!("sept-no-cgroup-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("it can be made");
    let (kept, link) = (dir.join("kept"), dir.join("cgroup.procs"));
    let joined = |dir: &std::path::Path| Command::new("true").join_cgroup(dir).status();
    let nothing = joined(&dir);
    std::fs::write(&kept, "kept").expect("it can be written");
    std::os::unix::fs::symlink(&kept, &link).expect("it can be made");
    let linked = joined(&dir);
    let content = std::fs::read_to_string(&kept).expect("it can be read");
    let no_directory = joined(&kept);
    std::fs::remove_dir_all(&dir).expect("it can be removed");
    assert_eq!(content, "kept");
    for (error, why) in [
        (nothing, "no cgroup file system"),
        (linked, "no cgroup file system"),
        (no_directory, "there is no such directory"),
        (joined(&dir), "there is no such directory"),
    ] {
        let error = error.expect_err("it is no cgroup");
        let text = error.to_string();
        assert!(
            matches!(error, Error::Duty { .. }) && text.contains(why) && text.contains("findmnt"),
            "{text}"
        );
    }
    for path in ["", "a\0b"] {
        assert!(matches!(Command::new("true").join_cgroup(path).plan(), Err(Error::Invalid { .. })));
        let mut kept = Command::new("true");
        kept.unshare([sept::Namespace::Net]).persist(sept::Namespace::Net, path);
        assert!(matches!(kept.plan(), Err(Error::Invalid { .. })));
    }
}
