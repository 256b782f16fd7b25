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

/// What stands in these files of the cgroup of a command that runs in it.
fn kept<const N: usize>(cgroup: Cgroup, files: [&str; N]) -> Result<[String; N], Error> {
    // At the top: there all controllers can be passed on.
    let mut child = Command::new("sleep").arg("1000").cgroup(cgroup.parent("/")).spawn()?;
    let places = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).expect("it can be read");
    let texts = files.map(|file| {
        let controller = file.split('.').next().unwrap_or(file);
        let place = |controller: &str| {
            let names = |line: &&str| {
                line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == controller))
            };
            places.lines().find(names).and_then(|line| line.splitn(3, ':').nth(2))
        };
        let two = || ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(|mount| (mount.to_owned(), place("")));
        let one = (format!("/sys/fs/cgroup/{controller}"), place(controller));
        let read = |(mount, place): (String, Option<&str>)| {
            std::fs::read_to_string(format!("{mount}{}/{file}", place?)).ok()
        };
        read(one).or_else(|| two().into_iter().find_map(read)).unwrap_or_default().trim_end().to_owned()
    });
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    Ok(texts)
}

#[test]
fn no_limit_is_a_limit_that_can_be_said() {
    let test = "no_limit_is_a_limit_that_can_be_said";
    if !rooted(test) {
        return;
    }
    const NONE: u64 = Cgroup::UNLIMITED;
    let cgroup = Cgroup::new().memory(NONE).swap(NONE).pids(NONE).cpu(NONE, 50_000).cpu_not_idle();
    let cgroup = cgroup.kernel_memory(NONE).tcp_memory(NONE).memory_hierarchy();
    let shown =
        "enter a cgroup of its own (memory max, swap max, pids max, cpu max us in 50000 us, cpu not idle";
    let plan = Command::new("true").cgroup(cgroup.clone()).plan().expect("it can be planned").to_string();
    assert!(plan.contains(shown) && !plan.contains("limit memory"), "{plan}");
    let files = ["memory.limit_in_bytes", "memory.max", "pids.max", "cpu.cfs_quota_us", "cpu.max"];
    let [memory_1, memory_2, pids, cpu_1, cpu_2] = kept(cgroup, files).expect("it starts");
    assert!(memory_2 == "max" || memory_1.parse::<u64>().is_ok_and(|bytes| bytes > 1 << 60), "{memory_1}");
    assert_eq!(pids, "max");
    assert!(cpu_2 == "max 50000" || cpu_1 == "-1", "{cpu_1} {cpu_2}");
}

#[test]
fn what_only_version_1_can_is_done_there_and_refused_by_name_elsewhere() {
    let test = "what_only_version_1_can_is_done_there_and_refused_by_name_elsewhere";
    if !rooted(test) {
        return;
    }
    let new = Cgroup::new;
    for (cgroup, file, text) in [
        (new().swappiness(7), "memory.swappiness", "7"),
        (new().no_oom_killer(), "memory.oom_control", "oom_kill_disable 1"),
        (new().memory(64 << 20).tcp_memory(1 << 20), "memory.kmem.tcp.limit_in_bytes", "1048576"),
        (new().memory(64 << 20), "memory.kmem.tcp.limit_in_bytes", "67108864"),
        (new().kernel_memory(64 << 20), "memory.kmem.limit_in_bytes", ""),
        (new().no_memory_hierarchy(), "memory.use_hierarchy", "0"),
        (new().realtime_runtime(1_000).realtime_period(500_000), "cpu.rt_period_us", "500000"),
        (new().realtime_runtime(1_000), "cpu.rt_runtime_us", "1000"),
        (new().io_leaf_weight(300), "blkio.leaf_weight", "300"),
        (new().io_device_leaf_weight((8, 0), 300), "blkio.leaf_weight_device", "8:0 300"),
    ] {
        let mount = format!("/sys/fs/cgroup/{}", file.split('.').next().unwrap_or(file));
        let by_version_1 = std::path::Path::new(&mount).join("tasks").exists();
        match kept(cgroup, [file]) {
            Ok([kept]) => assert!(kept.starts_with(text) || !by_version_1, "{file}: {kept}"),
            Err(error) => {
                let text = error.to_string();
                let advice = error.advice().expect("there is some");
                let (why, fix) = (advice.why.join(" "), advice.fix.join(" "));
                assert!(text.contains(file) && !fix.is_empty(), "{text}");
                assert!(by_version_1 || why.contains("version 2"), "{text}");
            }
        }
    }
}

/// Nobody is killed at the limit, who stands still there is when it is to be.
#[test]
fn without_the_oom_killer_a_command_waits_at_its_limit_and_can_be_killed() {
    let test = "without_the_oom_killer_a_command_waits_at_its_limit_and_can_be_killed";
    if !rooted(test) {
        return;
    }
    if !std::path::Path::new("/sys/fs/cgroup/memory/tasks").exists() {
        skip(test, "it takes version 1");
        return;
    }
    let mut command = Command::new("sh");
    command.args(["-c", "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo $x"]);
    command.cgroup(Cgroup::new().memory(24 << 20).no_oom_killer()).stdout(sept::Stdio::null());
    let mut child = command.spawn().expect("it starts");
    std::thread::sleep(Duration::from_millis(700));
    assert!(child.try_wait().expect("it can be asked").is_none(), "it waits");
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    assert_eq!(child.account().expect("it was counted").oom_kills, Some(0));
}

#[test]
fn a_weight_for_one_device_is_where_its_scheduler_has_it() {
    let test = "a_weight_for_one_device_is_where_its_scheduler_has_it";
    if !rooted(test) {
        return;
    }
    // No device has such a number: whatever the kernel lacks, it says so by its file.
    let error =
        kept(Cgroup::new().io_device_weight((4_000, 77), 300), []).expect_err("there is no such device");
    assert!(error.to_string().contains("weight") && error.to_string().contains("4000:77 300"), "{error}");
}

#[test]
fn how_many_cgroups_may_be_below_is_a_limit() {
    let test = "how_many_cgroups_may_be_below_is_a_limit";
    let mounted = ["/sys/fs/cgroup/unified/cgroup.procs", "/sys/fs/cgroup/cgroup.procs"];
    if !rooted(test) {
        return;
    }
    if !mounted.iter().any(|file| std::path::Path::new(file).exists()) {
        skip(test, "it takes the right to make cgroups, of version 2");
        return;
    }
    let cgroup = Cgroup::new().unified("cgroup.max.depth", "3").unified("cgroup.max.descendants", "9");
    let texts = kept(cgroup, ["cgroup.max.depth", "cgroup.max.descendants"]).expect("it starts");
    assert_eq!(texts, ["3", "9"]);
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
        Cgroup::new().unified("cgroup.subtree_control", "-pids"),
        Cgroup::new().unified("pids.max", "1\0"),
        Cgroup::new().parent(""),
        Cgroup::new().parent("a\0b"),
        Cgroup::new().io_weight(0),
        Cgroup::new().io_weight(100).io_device_weight((8, 0), 0),
        Cgroup::new().io_device_weight((8, 0), 10_001),
        Cgroup::new().cpu(100_000, Cgroup::UNLIMITED),
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
