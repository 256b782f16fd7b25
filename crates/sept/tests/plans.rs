//! Printed plans: a change of order shows as a difference here.

use sept::host::JoinFact;
use sept::{Access, Command, Host, Mount, Namespace, SubIds};

fn user() -> Host {
    Host { uid: 1000, gid: 1000, dir: Some("/work".into()), ..Host::default() }
}

fn root() -> Host {
    Host { capabilities: sept::CapabilitySet::ALL, dir: Some("/work".into()), ..Host::default() }
}

fn printed(command: &Command, host: &Host) -> String {
    command.plan_for(host).map_or_else(|error| format!("error: {error}"), |plan| plan.to_string())
}

#[test]
fn an_ordinary_users_single_map_needs_no_parent() {
    let mut command = Command::new("sh");
    command
        .unshare([Namespace::User, Namespace::Uts])
        .map_uid(0, 1000, 1)
        .map_gid(0, 1000, 1)
        .hostname("inner");
    assert_eq!(
        printed(&command, &user()),
        "clone: new user, uts\n 1. deny setgroups\n 2. map user ids: 0 1000 1\n 3. map group ids: 0 1000 1\n \
         4. set the hostname to inner\n 5. execute sh\n"
    );
}

#[test]
fn ranges_are_written_by_the_parent_with_privilege_and_by_helpers_without() {
    let mut command = Command::new("sh");
    command.unshare([Namespace::User]).map_uid(0, 100_000, 65_536).map_gid(0, 100_000, 65_536);
    assert_eq!(
        printed(&command, &root()),
        "clone: new user\nparent: write 0 100000 65536 to /proc/PID/uid_map\n\
         parent: write 0 100000 65536 to /proc/PID/gid_map\n 1. wait for the parent to map ids\n 2. execute sh\n"
    );
    assert_eq!(
        printed(&command, &user()),
        "clone: new user\nparent: run newuidmap PID 0 100000 65536\nparent: run newgidmap PID 0 100000 65536\n \
         1. wait for the parent to map ids\n 2. execute sh\n"
    );
}

#[test]
fn keep_id_lays_subordinate_ids_around_the_caller() {
    let mut command = Command::new("sh");
    command.unshare([Namespace::User]).map_subids(SubIds::KeepId);
    let host = Host { subuids: vec![(100_000, 65_536)], subgids: vec![(100_000, 65_536)], ..user() };
    assert!(
        printed(&command, &host).contains("newuidmap PID 1000 1000 1 0 100000 1000 1001 101000 64536"),
        "{}",
        printed(&command, &host)
    );
}

#[test]
fn a_root_is_cloned_filled_pivoted_and_only_then_entered() {
    let mut command = Command::new("sh");
    command.unshare([Namespace::Mount, Namespace::Pid]).root("/srv").read_only().mount(Mount::proc("/proc"));
    command.mount(Mount::bind("/usr", "/usr", Access::ReadOnly)).current_dir("/work");
    assert_eq!(
        printed(&command, &root()),
        "clone: new mount, pid\n 1. make all mounts private\n 2. clone the tree at /srv read-only\n \
         3. mount proc on /proc\n 4. bind /usr read-only on /usr\n 5. pivot to the new root\n \
         6. change directory to /work\n 7. close descriptors that are close-on-exec\n 8. execute sh\n"
    );
}

#[test]
fn a_tree_without_devices_is_restricted_before_those_that_work() {
    let mut command = Command::new("sh");
    command.unshare([Namespace::User, Namespace::Mount]).map_uid(5, 100_000, 9).map_gid(0, 0, 1);
    command.read_only().no_devices().mount(Mount::tmpfs("/tmp")).refuse_cgroup_namespaces();
    assert_eq!(
        printed(&command, &root()),
        "clone: new user, mount\nparent: write 5 100000 9 to /proc/PID/uid_map\n 1. deny setgroups\n \
         2. map group ids: 0 0 1\n 3. wait for the parent to map ids\n 4. make files as user 5\n \
         5. make all mounts private\n 6. make all mounts read-only, nodev\n 7. mount tmpfs on /tmp\n \
         8. change directory to /work, else /\n 9. refuse new cgroup namespaces\n\
         10. close descriptors that are close-on-exec\n11. execute sh\n"
    );
}

#[test]
fn rights_go_in_the_order_that_each_still_has_what_it_needs() {
    let mut command = Command::new("sh");
    command.die_with_parent().groups([]).gid(5).uid(6).refuse_terminal_injection().keep_fds([7, 5]);
    assert_eq!(
        printed(&command, &root()),
        "clone: a copy of this process, no new namespace\n 1. ask to be killed when the parent ends\n \
         2. have the kernel tell of exec\n 3. refuse terminal injection (TIOCSTI)\n \
         4. drop supplementary groups\n 5. become group 5\n 6. become user 6\n \
         7. ask to be killed when the parent ends\n 8. close descriptors from 3 on, but [5, 7]\n 9. execute sh\n"
    );
    command.no_new_privs();
    let text = printed(&command, &root());
    assert!(
        text.contains("7. allow no new privileges\n 8. refuse terminal injection")
            || text.contains("\n 7. allow no new privileges"),
        "{text}"
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let refused = |command: &mut Command, host: &Host, reason: &str| {
        let text = printed(command, host);
        assert!(text.starts_with("error: ") && text.contains(reason), "{text}");
    };
    refused(Command::new("sh").hostname("x"), &root(), "needs a new uts namespace");
    refused(Command::new("sh").arg("a\0b"), &root(), "NUL byte");
    refused(Command::new("sh").keep_fds([3, -1]), &root(), "-1 is no descriptor");
    refused(Command::new("").arg("x"), &root(), "name is empty");
    refused(Command::new("sh").unshare([Namespace::User]).map_uid(0, 1, 0), &root(), "maps nothing");
    refused(Command::new("sh").unshare([Namespace::User]).map_all(), &user(), "needs CAP_SETUID");
    let mut allow = Command::new("sh");
    allow.unshare([Namespace::User]).map_gid(0, 1000, 1).setgroups(sept::Setgroups::Allow);
    refused(&mut allow, &user(), "setgroups can't be allowed");
    let mut groups = Command::new("sh");
    groups.unshare([Namespace::User]).map_gid(0, 1000, 1).groups([5]);
    refused(&mut groups, &user(), "where setgroups is denied");
    let mut proc = Command::new("sh");
    proc.unshare([Namespace::User, Namespace::Mount]).mount(Mount::proc("/proc"));
    refused(&mut proc, &user(), "a fresh proc needs a new pid namespace");
    refused(
        Command::new("sh").unshare([Namespace::Mount]).mount(Mount::tmpfs("tmp")),
        &root(),
        "not an absolute path",
    );
}

#[test]
fn what_the_kernel_would_pass_over_in_a_mount_is_refused() {
    let tmpfs = |mode, size| Mount::tmpfs_with("/mnt", mode, size);
    let pipe =
        sept::Device { kind: sept::DeviceType::Fifo, major: 0, minor: 0, mode: 0o10_000, uid: 0, gid: 0 };
    let refused = [
        (tmpfs(0o755, Some(0)), "no limit"),
        (tmpfs(0o755, Some(u64::MAX)), "no limit"),
        (tmpfs(0o10_000, None), "no mode has"),
        (Mount::directory("/mnt/a", u32::MAX), "no mode has"),
        (Mount::mode("/mnt/a", 0o10_000), "no mode has"),
        (Mount::file(0, "/mnt/a", 0o10_000), "no mode has"),
        (Mount::bind_data(0, "/mnt/a", 0o10_000, Access::ReadOnly), "no mode has"),
        (Mount::device("/dev/null", "/mnt/a", pipe), "no mode has"),
    ];
    let print = |mount: Mount| {
        let mut command = Command::new("sh");
        printed(command.unshare([Namespace::Mount]).mount(mount), &root())
    };
    for (mount, why) in refused {
        let text = print(mount);
        assert!(text.starts_with("error: ") && text.contains(why), "{text}");
    }
    for mount in [tmpfs(0o7777, Some(1)), tmpfs(0, Some(i64::MAX as u64)), Mount::mode("/mnt/a", 0o7777)] {
        let text = print(mount);
        assert!(!text.starts_with("error: "), "{text}");
    }
}

#[test]
fn rights_go_in_an_order_in_which_each_is_still_there() {
    use sept::{Capabilities, CapabilitySet, Landlock, PathAccess, Resource, Rlimit};
    let mut command = Command::new("true");
    command
        .unshare([Namespace::User])
        .map_uid(0, 1000, 1)
        .map_gid(0, 1000, 1)
        .uid(5)
        .gid(5)
        .no_new_privs()
        .new_session_keyring()
        .securebits(1);
    let nofile = Resource::parse("nofile").expect("a limit");
    command.rlimit(Rlimit { resource: nofile, soft: Some(64), hard: None });
    let admin = CapabilitySet::parse("net_admin").expect("a capability");
    command.capabilities(Capabilities::for_user(admin)).selinux_label("user_u:user_r:user_t");
    command.landlock(Landlock { paths: vec![("/usr".into(), PathAccess::Execute)], ..Landlock::default() });
    // Each architecture has calls of its own.
    let filter = sept::seccomp::Filter::container().expect("a filter");
    let filtered = format!("filter system calls: default ({} instructions)", filter.program.len());
    command.seccomp(filter).refuse_terminal_injection();
    let host = Host { uid: 1000, gid: 1000, landlock_abi: Some(6), ..Host::default() };
    let plan = command.plan_for(&host).expect("a plan").to_string();
    let steps: Vec<&str> =
        plan.lines().skip(1).filter_map(|line| line.split_once(". ")).map(|(_, step)| step).collect();
    assert_eq!(
        steps,
        [
            "deny setgroups",
            "map user ids: 0 1000 1",
            "map group ids: 0 1000 1",
            "limit nofile 64 (at most unlimited)",
            "limit capabilities to net_admin",
            "set securebits 0x1",
            "become group 5",
            "keep capabilities over the change of user",
            "become user 5",
            "begin a session keyring",
            "set capabilities: net_admin; inheritable net_admin; ambient net_admin",
            "take the SELinux context user_u:user_r:user_t at exec",
            "allow no new privileges",
            "confine by Landlock (ABI 6): execute /usr",
            "refuse terminal injection (TIOCSTI)",
            &filtered,
            "execute true",
        ]
    );
    command.landlock(Landlock { scopes: vec![sept::Scope::Signals], ..Landlock::default() });
    let old = Host { landlock_abi: Some(3), ..host };
    assert!(command.plan_for(&old).is_err_and(|error| error.to_string().contains("takes its ABI 6")));
}

#[test]
fn mounts_say_what_is_set_on_them() {
    use sept::{Device, DeviceType, IdRange, MountOptions};
    let options = |words: &str| MountOptions::parse(words).expect("options");
    let mut command = Command::new("true");
    command.unshare([Namespace::Mount]);
    command.mount(Mount::bind("/usr", "/a", Access::ReadOnly).options(options("bind,rnoexec")));
    let range = IdRange { inside: 0, outside: 1000, count: 10 };
    command.mount(Mount::bind("/usr", "/b", Access::Unchanged).id_mapped(vec![range], vec![]));
    command.mount(Mount::file_system("tmpfs", None, "/c").options(options("size=1M,nosuid")));
    command.mount(Mount::remount("/c").options(options("ro")));
    command.mount(Mount::bind_data(0, "/d", 0o600, Access::ReadOnly));
    let tun = Device { kind: DeviceType::Character, major: 10, minor: 200, mode: 0o666, uid: 0, gid: 0 };
    command.mount(Mount::device("/dev/net/tun", "/e", tun));
    assert_eq!(
        printed(&command, &root()),
        "clone: new mount\n 1. make all mounts private\n \
         2. open before they are covered: /dev/net/tun\n \
         3. bind /usr read-only alone on /a (bind,rnoexec)\n \
         4. bind /usr, users mapped 0 1000 10, groups 0 0 4294967295 on /b\n \
         5. mount tmpfs on /c (size=1M,nosuid)\n 6. remount /c (ro)\n \
         7. bind a file (0600) of what descriptor 0 has read-only on /d\n \
         8. make character device 10:200 (0666, owner 0:0) on /e\n 9. change directory to /work, else /\n\
         10. close descriptors that are close-on-exec\n11. execute true\n"
    );
    // One that has no name may be below what is covered.
    let nowhere = Host { dir: None, ..root() };
    assert!(printed(&command, &nowhere).contains(" 9. change directory to /\n"));
    command.unshare([Namespace::User]).map_root();
    assert!(printed(&command, &user()).contains("bind device /dev/net/tun on /e"));
}

/// setresuid(2) takes the greatest number for "as it is": root would stay root.
#[test]
fn the_number_that_is_no_id_is_refused() {
    let commands: [fn(&mut Command); 3] = [
        |command| {
            command.uid(u32::MAX);
        },
        |command| {
            command.gid(u32::MAX);
        },
        |command| {
            command.groups([0, u32::MAX]);
        },
    ];
    for set in commands {
        let mut command = Command::new("true");
        set(&mut command);
        assert!(matches!(command.plan(), Err(sept::Error::Invalid { .. })));
    }
}

/// Who has rights in a user namespace that is joined could trace the joiner.
#[test]
fn no_user_namespace_is_joined_by_who_can_be_traced() {
    let join = |kind| JoinFact { kind, from: 0, of: "process 7".to_owned(), owned_by_joined: true };
    let joins = vec![join(Namespace::User), join(Namespace::Pid)];
    let mut command = Command::new("sh");
    command.unshare([Namespace::Mount, Namespace::Time]);
    for host in [user(), root(), Host { exposed: true, ..root() }] {
        let plan = printed(&command, &Host { joins: joins.clone(), ..host });
        let hidden = plan.find("hide memory").expect("it hides");
        assert!(hidden < plan.find("join").expect("it joins"), "{plan}");
    }
    command.monotonic_offset(5);
    let plan = printed(&command, &Host { joins: joins.clone(), ..root() });
    assert!(plan.find("hide memory") < plan.find("join"), "root writes its offsets hidden: {plan}");
    let refused = printed(&command, &Host { joins, ..user() });
    assert!(refused.starts_with("error: clock offsets can't be set"), "{refused}");
}

#[test]
fn a_caller_that_can_not_hide_its_rights_lends_no_memory() {
    let mut command = Command::new("sh");
    command.unshare([Namespace::User]).map_root();
    let plan = |host: &Host| command.plan_for(host).expect("a plan");
    let (ordinary, able, exposed) = (user(), root(), Host { exposed: true, ..root() });
    assert!(!plan(&ordinary).hidden && !plan(&ordinary).to_string().contains("a copy"));
    assert!(plan(&able).hidden && !plan(&able).to_string().contains("a copy"));
    assert!(!plan(&exposed).hidden && plan(&exposed).to_string().contains("a copy"));
    // A change of ids makes it dumpable for a moment, where the host says so.
    let undone = Host { shows_changed: true, ..root() };
    assert!(plan(&undone).hidden && plan(&undone).to_string().contains("a copy"));
    // Copies have what the caller has.
    let mut reaped = Command::new("sh");
    reaped.unshare([Namespace::User, Namespace::Pid]).map_root().init();
    assert!(reaped.plan_for(&root()).expect("a plan").hidden);
}
