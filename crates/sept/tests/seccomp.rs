//! Compiled policies, as a model of the kernel's machine runs them, against what the policy says.

use sept::seccomp::{Action, Compare, Condition, Filter, Flags, Policy, Rule, abis, group, groups, is_known};

/// What a policy says of a call, straight from its rules.
fn said(policy: &Policy, name: &str, arguments: [u64; 6]) -> u32 {
    if name.is_empty() {
        return policy.unknown.value();
    }
    let holds = |condition: &Condition| condition.compare.holds(arguments[usize::from(condition.argument)]);
    let fits = |rule: &&Rule| rule.calls.iter().any(|call| call == name) && rule.conditions.iter().all(holds);
    policy.rules.iter().find(fits).map_or(policy.default, |rule| rule.action).value()
}

/// The policy without groups: their calls instead.
fn without_groups(policy: &Policy) -> Policy {
    let calls = |name: &std::borrow::Cow<'static, str>| match group(name) {
        Some(group) => group.calls().into_iter().map(Into::into).collect(),
        None => vec![name.clone()],
    };
    let rules = policy
        .rules
        .iter()
        .cloned()
        .map(|rule| Rule { calls: rule.calls.iter().flat_map(calls).collect(), ..rule });
    Policy { rules: rules.collect(), ..policy.clone() }
}

/// Values at which a comparison with these could change.
fn boundaries(values: &[u64]) -> Vec<u64> {
    let mut all = vec![0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX];
    for value in values {
        for near in [value.wrapping_sub(1), *value, value.wrapping_add(1)] {
            all.extend([near, near ^ (1 << 32), near ^ (1 << 63), near & 0xffff_ffff]);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn values(policy: &Policy) -> Vec<u64> {
    let conditions = policy.rules.iter().flat_map(|rule| &rule.conditions);
    conditions
        .flat_map(|condition| match condition.compare {
            Compare::Masked(mask, value) => vec![mask, value],
            Compare::Eq(value)
            | Compare::Ne(value)
            | Compare::Lt(value)
            | Compare::Le(value)
            | Compare::Gt(value)
            | Compare::Ge(value) => vec![value],
        })
        .collect()
}

fn check(policy: &Policy) {
    let filter = policy.compile().expect("it compiles");
    let policy = &without_groups(policy);
    let edges = boundaries(&values(policy));
    for abi in abis() {
        let compared: Vec<&str> = policy
            .rules
            .iter()
            .filter(|rule| !rule.conditions.is_empty())
            .flat_map(|rule| rule.calls.iter().map(AsRef::as_ref))
            .collect();
        let names = abi.calls();
        for number in (0..600).chain([0x3fff_ffff]) {
            let name = names.iter().find(|(_, known)| *known == number).map_or("", |(name, _)| name);
            let tried: Vec<[u64; 6]> = if compared.contains(&name) {
                let each = (0..3).flat_map(|at| {
                    edges.iter().map(move |value| {
                        let mut arguments = [0; 6];
                        arguments[at] = *value;
                        arguments
                    })
                });
                each.collect()
            } else {
                vec![[0; 6], [u64::MAX; 6]]
            };
            for arguments in tried {
                let verdict = filter.verdict(abi.audit, number, arguments).expect("a verdict");
                assert_eq!(
                    verdict.value,
                    said(policy, name, arguments),
                    "{} {name} {number} {arguments:x?}",
                    abi.name
                );
            }
        }
    }
    for (audit, number) in [
        (0, 0),
        (0xdead_beef, 1),
        (0xc000_003e, 0x4000_0000),
        (0xc000_003e, 0x4000_0221),
        (0xc000_003e, u32::MAX),
    ] {
        if cfg!(target_arch = "x86_64") || audit != 0xc000_003e {
            let verdict = filter.verdict(audit, number, [0; 6]).expect("a verdict");
            assert_eq!(verdict.value, policy.other_abi.value(), "{audit:x} {number:x}");
        }
    }
}

#[test]
fn the_ready_policies_compile_to_what_they_say() {
    check(&Policy::container());
    check(&Policy::strict());
}

fn policy(default: Action, rules: Vec<Rule>) -> Policy {
    Policy {
        name: "test".to_owned(),
        default,
        unknown: Action::Errno(38),
        other_abi: Action::KillProcess,
        compat_abi: true,
        flags: Flags::NONE,
        rules,
    }
}

#[test]
fn every_comparison_is_right_at_its_edges() {
    let values = [0, 1, 5, 0xffff_ffff, 1 << 32, (1 << 32) + 7, 0x8000_0000_0000_0000, u64::MAX];
    for value in values {
        for compare in [
            Compare::Eq(value),
            Compare::Ne(value),
            Compare::Lt(value),
            Compare::Le(value),
            Compare::Gt(value),
            Compare::Ge(value),
            Compare::Masked(0xff00_0000_00ff, value & 0xff00_0000_00ff),
            Compare::Masked(0xff, value),
            Compare::Masked(0, value),
        ] {
            let condition = Condition { argument: 1, compare };
            let rule = |conditions: Vec<Condition>, action| Rule {
                calls: vec!["openat".into()],
                conditions,
                action,
            };
            check(&policy(Action::Allow, vec![rule(vec![condition], Action::Errno(1))]));
            let other = Condition { argument: 2, compare: Compare::Ge(3) };
            check(&policy(
                Action::Errno(5),
                vec![
                    rule(vec![condition, other], Action::Allow),
                    rule(vec![other], Action::Trap(9)),
                    rule(vec![condition], Action::Log),
                ],
            ));
        }
    }
}

#[test]
fn a_policy_of_many_rules_still_reaches_its_ends() {
    // Long bodies need jumps that a conditional one can't do.
    let conditions = |n: u64| vec![Condition { argument: 0, compare: Compare::Eq(n) }];
    let mut rules = Vec::new();
    for (n, (name, _)) in abis()[0].calls().into_iter().enumerate().take(60) {
        let action = Action::Errno(n as u16 + 1);
        rules.extend((0..4).map(|value| Rule {
            calls: vec![name.into()],
            conditions: conditions(value),
            action,
        }));
    }
    let many = policy(Action::Allow, rules);
    assert!(many.compile().expect("it compiles").program.len() > 500);
    check(&many);
}

#[test]
fn a_rule_of_many_conditions_holds_only_if_all_do() {
    // A comparison jumps over 255 instructions at most: four or five of a condition, three of one on a whole value.
    for count in [50, 60, 61, 62, 63, 64, 65, 70, 100, 127, 128, 200] {
        let first = Condition { argument: 1, compare: Compare::Eq(0o700) };
        let others =
            (0..count).map(|value| Condition { argument: 5, compare: Compare::Ne(value << 32 | value) });
        let conditions: Vec<Condition> = [first].into_iter().chain(others).collect();
        let rule = Rule { calls: vec!["mkdirat".into()], conditions, action: Action::Allow };
        let policy = policy(Action::Errno(5), vec![rule]);
        let filter = policy.compile().expect("it compiles");
        let number = abis()[0].number("mkdirat").expect("it is a call");
        let far = (1 << 40) + 1;
        for (one, five) in
            [(0o700, far), (0o701, far), (0, 0), (0o700, 0), (0o700, (count - 1) << 32 | (count - 1))]
        {
            let arguments = [0, one, 0, 0, 0, five];
            let verdict = filter.verdict(abis()[0].audit, number, arguments).expect("it ends");
            assert_eq!(verdict.value, said(&policy, "mkdirat", arguments), "{count} and {arguments:?}");
        }
    }
}

#[test]
fn a_policy_that_is_too_long_is_refused() {
    let conditions =
        (0..6).map(|argument| Condition { argument, compare: Compare::Ge(1 << 40) }).collect::<Vec<_>>();
    let rule = |(n, (name, _)): (usize, (&'static str, u32))| {
        let (calls, conditions) = (vec![name.into()], conditions.clone());
        Rule { calls, conditions, action: Action::Errno(n as u16) }
    };
    let rules = abis()[0].calls().into_iter().enumerate().map(rule).collect();
    assert!(policy(Action::Allow, rules).compile().is_err_and(|why| why.contains("at most 4096")));
}

#[test]
fn the_search_is_short() {
    let filter = Policy::container().compile().expect("it compiles");
    let calls = abis()[0].calls();
    let steps: usize = calls
        .iter()
        .map(|(_, number)| filter.verdict(abis()[0].audit, *number, [0; 6]).expect("a verdict").steps)
        .sum();
    assert!(steps / calls.len() <= 12, "{} on average", steps / calls.len());
}

#[test]
fn the_ready_programs_are_those_of_the_ready_policies() {
    let renew = "renew crates/sept/src/seccomp/ready.rs: sept seccomp compile default | od -An -v -t x8 -w40 --endian=little";
    for (ready, policy) in [(Filter::container(), Policy::container()), (Filter::strict(), Policy::strict())]
    {
        assert!(ready.expect("it is ready") == policy.compile().expect("it compiles"), "{renew}");
    }
}

/// Numbers that look random, and are the same in every run: xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() >> 33) as usize % most
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Near a power of two, or small, or anything.
    fn value(&mut self) -> u64 {
        match self.below(4) {
            0 => self.next() % 8,
            1 => (1_u64 << self.below(64)).wrapping_sub(self.next() % 3),
            2 => self.next() & 0xffff_ffff,
            _ => self.next(),
        }
    }

    fn condition(&mut self) -> Condition {
        let value = self.value();
        let compare = match self.below(8) {
            0 => Compare::Eq(value),
            1 => Compare::Ne(value),
            2 => Compare::Lt(value),
            3 => Compare::Le(value),
            4 => Compare::Gt(value),
            5 => Compare::Ge(value),
            6 => Compare::Masked(value, self.value()),
            _ => {
                let mask = self.value();
                Compare::Masked(mask, value & mask)
            }
        };
        Condition { argument: self.below(6) as u8, compare }
    }

    fn action(&mut self) -> Action {
        let number = self.next() as u16 & 0xfff;
        match self.below(8) {
            0 => Action::Allow,
            1 => Action::Errno(number),
            2 => Action::KillProcess,
            3 => Action::KillThread,
            4 => Action::Trap(number),
            5 => Action::Trace(number),
            6 => Action::Log,
            _ => Action::Notify,
        }
    }

    fn policy(&mut self, names: &[&'static str]) -> Policy {
        // Few names, so that rules meet.
        let few: Vec<&'static str> = (0..=self.below(12)).map(|_| self.of(names)).collect();
        let mut rules = Vec::new();
        for _ in 0..self.below(12) {
            let mut calls = vec![];
            for _ in 0..=self.below(3) {
                let grouped = self.below(6) == 0;
                let name = if grouped { groups()[self.below(groups().len())].name } else { self.of(&few) };
                calls.push(name.into());
            }
            let conditions = (0..self.below(4)).map(|_| self.condition()).collect();
            // A condition on all calls would be too long a program.
            let all = calls.iter().any(|name: &std::borrow::Cow<'_, str>| name.starts_with('@'));
            let conditions = if all && self.below(4) > 0 { vec![] } else { conditions };
            rules.push(Rule { calls, conditions, action: self.action() });
        }
        Policy { unknown: self.action(), other_abi: self.action(), ..policy(self.action(), rules) }
    }

    /// Values that its conditions tell apart, now and then.
    fn arguments(&mut self, edges: &[u64]) -> [u64; 6] {
        std::array::from_fn(|_| match self.below(3) {
            0 => self.value(),
            _ => self.of(edges),
        })
    }
}

#[test]
fn two_thousand_policies_compile_to_what_they_say() {
    let mut random = Random(0x5e97);
    let tables: Vec<_> = abis().iter().map(|abi| (abi, abi.calls())).collect();
    let names: Vec<&'static str> =
        tables.iter().flat_map(|(_, calls)| calls).map(|(name, _)| *name).collect();
    let (mut compared, mut verdicts) = (0, std::collections::BTreeSet::new());
    for n in 0..2000 {
        let policy = random.policy(&names);
        let filter = match policy.compile() {
            Ok(filter) => filter,
            Err(why) => {
                assert!(why.contains("at most 4096"), "{n}: {why}");
                continue;
            }
        };
        let policy = without_groups(&policy);
        let edges = boundaries(&values(&policy));
        let named: Vec<&str> = policy.rules.iter().flat_map(|rule| &rule.calls).map(AsRef::as_ref).collect();
        for _ in 0..60 {
            let (abi, calls) = &tables[random.below(tables.len())];
            // One that a rule names, one of the table, or any number at all.
            let (name, number) = match random.below(4) {
                0 => random.of(calls),
                1 => ("", random.below(0x3fff_ffff) as u32),
                _ if named.is_empty() => random.of(calls),
                _ => {
                    let name = random.of(&named);
                    calls.iter().find(|(known, _)| *known == name).copied().unwrap_or(calls[0])
                }
            };
            let name = calls.iter().find(|(_, known)| *known == number).map_or(name, |(name, _)| name);
            let arguments = random.arguments(&edges);
            let verdict = filter.verdict(abi.audit, number, arguments).expect("a verdict").value;
            assert_eq!(
                verdict,
                said(&policy, name, arguments),
                "policy {n}: {} {name} {number} {arguments:x?}: {policy:#?}",
                abi.name
            );
            verdicts.insert(verdict & 0xffff_0000);
            compared += 1;
        }
    }
    assert!(compared > 100_000, "most of them compile: {compared}");
    assert_eq!(verdicts.len(), 8, "every action was met: {verdicts:x?}");
}

#[test]
fn a_group_in_a_rule_is_all_its_calls() {
    let rule = |calls: &[&'static str], conditions: Vec<Condition>, action| Rule {
        calls: calls.iter().map(|call| (*call).into()).collect(),
        conditions,
        action,
    };
    let condition = Condition { argument: 0, compare: Compare::Eq(3) };
    check(&policy(
        Action::Errno(1),
        vec![
            rule(&["@network", "@io-event", "socket"], vec![condition], Action::Trap(1)),
            rule(&["@system-service"], vec![], Action::Allow),
            rule(&["@known"], vec![], Action::Log),
        ],
    ));
    let unknown = policy(Action::Allow, vec![rule(&["@no-such"], vec![], Action::Log)]);
    assert!(unknown.compile().is_err_and(|why| why.contains("@no-such")));
    assert_eq!(unknown.unknown_call(), Some("@no-such"));
}

#[test]
fn every_call_is_in_a_group_and_every_name_in_a_group_is_a_call() {
    let grouped: Vec<&str> =
        groups().iter().filter(|group| group.name != "@known").flat_map(|group| group.calls()).collect();
    let mut all: Vec<&str> = abis().iter().flat_map(|abi| abi.calls()).map(|(name, _)| name).collect();
    all.sort_unstable();
    all.dedup();
    let missing: Vec<&&str> = all.iter().filter(|name| !grouped.contains(name)).collect();
    assert!(missing.is_empty(), "in no group: {missing:?}");
    assert!(all.iter().all(|name| group("@known").is_some_and(|known| known.calls().contains(name))));
    assert!(all.iter().chain(&["@known", "@network", "recv"]).all(|name| is_known(name)));
    assert!(!is_known("@x") && !is_known("mkdirs") && !is_known(""));
    // What other processors alone have.
    let foreign = [
        "arm_fadvise64_64",
        "arm_sync_file_range",
        "breakpoint",
        "cacheflush",
        "fstatat",
        "pciconfig_iobase",
        "pciconfig_read",
        "pciconfig_write",
        "recv",
        "send",
        "set_tls",
    ];
    let typos: Vec<&&str> =
        grouped.iter().filter(|name| !all.contains(name) && !foreign.contains(name)).collect();
    assert!(typos.is_empty() || !cfg!(target_arch = "x86_64"), "no calls: {typos:?}");
    let mut names: Vec<&str> = groups().iter().map(|group| group.name).collect();
    assert!(names.is_sorted(), "they are listed by name");
    names.dedup();
    assert_eq!(names.len(), groups().len());
    for one in groups() {
        let groups: Vec<&str> = one.groups().collect();
        assert!(groups.iter().all(|name| group(name).is_some()), "{}: {groups:?}", one.name);
        assert!(!one.calls().is_empty() && !one.about.is_empty(), "{}", one.name);
    }
}

// What the lists of container engines say for a command with the capabilities that they give by themselves: moby's of 2026, whose
// entries for processors, kernels and capabilities are taken apart.

/// Allowed, whatever the arguments.
const ALLOWED: &str = "accept accept4 access adjtimex alarm arch_prctl arm_fadvise64_64 arm_sync_file_range bind breakpoint \
    brk cacheflush cachestat capget capset chdir chmod chown chown32 chroot clock_adjtime \
    clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep \
    clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create \
    epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd \
    eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate \
    fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync \
    fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat fstatat64 fstatfs \
    fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv \
    futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid \
    getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid \
    getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit \
    getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat \
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents \
    io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill \
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link \
    linkat listen listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat \
    lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod \
    mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify mq_open \
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal \
    msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat \
    _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free \
    pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease \
    process_vm_readv process_vm_writev pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read \
    readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages \
    removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction \
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min \
    sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval \
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler \
    sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 \
    sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address set_tls setfsgid setfsgid32 \
    setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid \
    setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid \
    setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack \
    signalfd signalfd4 sigprocmask sigreturn socketpair splice stat stat64 statfs statfs64 statmount \
    statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs sysinfo tee tgkill time \
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime \
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 \
    times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat \
    utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Fail with EPERM.
const REFUSED: &str = "acct add_key afs_syscall bdflush bpf break clock_settime clock_settime64 create_module delete_module \
    fanotify_init finit_module fsconfig fsmount fsopen fspick ftime get_kernel_syms get_mempolicy \
    getpmsg gtty idle init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp \
    kexec_file_load kexec_load keyctl lock lookup_dcookie lsm_get_self_attr lsm_list_modules \
    lsm_set_self_attr mbind migrate_pages mount mount_setattr move_mount move_pages mpx nfsservctl nice \
    oldfstat oldlstat oldolduname oldstat olduname open_by_handle_at open_tree pciconfig_iobase \
    pciconfig_read pciconfig_write perf_event_open pidfd_getfd pivot_root process_madvise prof profil \
    putpmsg query_module quotactl quotactl_fd readdir reboot request_key security set_mempolicy \
    set_mempolicy_home_node setdomainname sethostname setns settimeofday sgetmask sigaction signal \
    sigpending sigsuspend ssetmask stime stty swapoff swapon _sysctl sysfs syslog tuxcall ulimit umount \
    umount2 unshare uselib userfaultfd ustat vhangup vm86 vm86old vserver";

/// Fail with ENOSYS: newer than the engines' lists, or with arguments in memory.
const ABSENT: &str = "clone3 file_getattr file_setattr listns open_tree_attr socketcall uprobe";

/// What the policy `default` says of a call in every ABI that has it.
fn of_default(call: &str, arguments: [u64; 6]) -> Vec<u32> {
    let filter = Filter::container().expect("it is ready");
    let has_it = abis().iter().filter_map(|abi| Some((abi.audit, abi.number(call)?)));
    has_it.map(|(audit, number)| filter.verdict(audit, number, arguments).expect("a verdict").value).collect()
}

#[test]
fn the_policy_default_says_of_every_call_what_container_engines_do() {
    let lists = [
        (ALLOWED, Action::Allow),
        (REFUSED, Action::Errno(libc::EPERM as u16)),
        (ABSENT, Action::Errno(libc::ENOSYS as u16)),
    ];
    let mut listed = vec!["clone", "personality", "socket"];
    for (names, action) in lists {
        for call in names.split_ascii_whitespace() {
            for arguments in [[0; 6], [u64::MAX; 6]] {
                assert!(of_default(call, arguments).iter().all(|said| *said == action.value()), "{call}");
            }
            listed.push(call);
        }
    }
    let all = abis().iter().flat_map(|abi| abi.calls()).map(|(name, _)| name);
    let missing: Vec<&str> = all.filter(|name| !listed.contains(name)).collect();
    assert!(missing.is_empty(), "what do engines say of these? {missing:?}");
    let count = listed.len();
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(listed.len(), count, "each is listed once");
}

#[test]
fn the_policy_default_looks_at_the_arguments_that_container_engines_look_at() {
    // The kernel looks at the low half of these: what the other one holds opens nothing.
    let allows = |call: &str, argument: u64| {
        let said = |argument| {
            let mut said = of_default(call, [argument, 0, 0, 0, 0, 0]);
            said.dedup();
            assert!(said == [Action::Allow.value()] || said == [Action::Errno(libc::EPERM as u16).value()]);
            said == [Action::Allow.value()]
        };
        let allowed = said(argument);
        assert!(allowed || !said(argument | 1 << 32) && !said(argument | 1 << 63), "{call} {argument:#x}");
        allowed
    };
    let families = (0..4096).chain([0x7fff_ffff, 0xffff_ffff]).filter(|family| allows("socket", *family));
    let listed =
        (0..=11).chain(13..=18).chain([21, 22, 24]).chain(26..=33).chain([35, 36, 39]).chain(41..=45);
    assert_eq!(families.collect::<Vec<u64>>(), listed.collect::<Vec<u64>>());
    let personas = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
    assert!(personas.iter().all(|persona| allows("personality", *persona)));
    for persona in [0x1, 0x4_0000, 0x40_0000, 0x400_0000, 0x2_0009, 0xffff_fffe] {
        assert!(!allows("personality", persona), "{persona:#x}");
    }
    // CLONE_NEW* of all but time, for which plain clone has no bit.
    let new = [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
    assert!(new.iter().all(|flag| !allows("clone", flag | 17)));
    assert!(allows("clone", 17) && allows("clone", 0x3d_0f00 | 0x100));
}
