//! What 32-bit ABIs call otherwise: i386 and ARM have calls of their own for wider ids, sizes and times, and some older ones.

use std::borrow::Cow;

use super::Rule;

/// What stands behind the name of a call in that of its twin, and the calls. Their arguments are in the same places.
const LONGER: [(&str, &str); 3] = [
    (
        "32",
        "chown fchown getegid geteuid getgid getgroups getresgid getresuid getuid lchown setfsgid setfsuid setgid setgroups \
         setregid setresgid setresuid setreuid setuid",
    ),
    (
        "64",
        "clock_adjtime clock_gettime clock_settime fcntl fstat lstat sendfile stat timer_gettime timer_settime \
         timerfd_gettime timerfd_settime",
    ),
    (
        "_time64",
        "clock_getres clock_nanosleep futex io_pgetevents mq_timedreceive mq_timedsend ppoll pselect6 recvmmsg \
         rt_sigtimedwait sched_rr_get_interval semtimedop utimensat",
    ),
];

/// A call, its twin, and how many arguments are in the same places, from the first on.
const OTHERS: [(&str, &str, u8); 36] = [
    ("fadvise64", "arm_fadvise64_64", 1),
    ("fadvise64", "fadvise64_64", 1),
    ("fstat", "oldfstat", 2),
    ("fstatat", "fstatat64", 6),
    ("fstatat", "newfstatat", 6),
    ("fstatfs", "fstatfs64", 1),
    ("ftruncate", "ftruncate64", 1),
    ("getdents", "readdir", 2),
    ("getrlimit", "ugetrlimit", 6),
    ("lseek", "_llseek", 1),
    ("lstat", "oldlstat", 2),
    // Its offset is in pages.
    ("mmap", "mmap2", 5),
    ("newfstatat", "fstatat", 6),
    ("newfstatat", "fstatat64", 6),
    ("recvfrom", "recv", 4),
    ("rt_sigaction", "sigaction", 3),
    ("rt_sigaction", "signal", 1),
    ("rt_sigpending", "sigpending", 1),
    ("rt_sigprocmask", "sgetmask", 0),
    ("rt_sigprocmask", "sigprocmask", 3),
    ("rt_sigprocmask", "ssetmask", 0),
    ("rt_sigreturn", "sigreturn", 6),
    ("rt_sigsuspend", "sigsuspend", 0),
    ("select", "_newselect", 6),
    ("sendto", "send", 4),
    ("setpriority", "nice", 0),
    ("settimeofday", "stime", 0),
    ("stat", "oldstat", 2),
    ("statfs", "statfs64", 1),
    ("sync_file_range", "arm_sync_file_range", 1),
    ("truncate", "truncate64", 1),
    // The name of the man page: who refuses it means the other, too.
    ("umount", "umount2", 1),
    ("umount2", "umount", 1),
    ("uname", "oldolduname", 6),
    ("uname", "olduname", 6),
    ("wait4", "waitpid", 3),
];

/// The twins of a call, and how many of their arguments are where the call has them.
fn twins(call: &str) -> impl Iterator<Item = (Cow<'static, str>, u8)> {
    let longer =
        LONGER.iter().filter(move |(_, calls)| calls.split_ascii_whitespace().any(|one| one == call));
    let longer = longer.map(move |(more, _)| (Cow::Owned(format!("{call}{more}")), 6));
    let others = OTHERS.iter().filter(move |(one, ..)| *one == call);
    longer.chain(others.map(|(_, twin, alike)| (Cow::Borrowed(*twin), *alike)))
}

/// The rules, and behind each that refuses a call one that refuses its twins, unless a rule names the twin itself. What a rule
/// says of arguments that a twin has elsewhere can't be said of it: where the rule refuses some, all are.
pub fn with_twins(rules: impl IntoIterator<Item = Rule>) -> Vec<Rule> {
    let rules: Vec<Rule> = rules.into_iter().collect();
    let named: Vec<Cow<'static, str>> = rules.iter().flat_map(|rule| &rule.calls).cloned().collect();
    let with = |rule: Rule| {
        let twins = of_rule(&rule, &named);
        std::iter::once(rule).chain(twins)
    };
    rules.into_iter().flat_map(with).collect()
}

/// The rules for the twins of what a rule refuses: one with its conditions, and one without, as far as there are such twins.
fn of_rule(rule: &Rule, named: &[Cow<'static, str>]) -> Vec<Rule> {
    let calls = rule.refused();
    let compared = rule.conditions.iter().map(|condition| condition.argument + 1).max().unwrap_or(0);
    let (mut alike, mut others) = (Vec::new(), Vec::new());
    for (twin, same) in calls.iter().flat_map(|call| twins(call)) {
        if !named.contains(&twin) && !calls.contains(&twin) {
            if compared <= same { &mut alike } else { &mut others }.push(twin);
        }
    }
    [(alike, rule.conditions.clone()), (others, Vec::new())]
        .into_iter()
        .filter(|(calls, _)| !calls.is_empty())
        .map(|(calls, conditions)| Rule { calls, conditions, action: rule.action })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Compare, Condition, abis, is_known};
    use super::*;

    const NO: Action = Action::Errno(13);

    fn rule(calls: &[&'static str], argument: Option<u8>, action: Action) -> Rule {
        let condition = |argument| Condition { argument, compare: Compare::Eq(7) };
        Rule {
            calls: calls.iter().map(|call| Cow::Borrowed(*call)).collect(),
            conditions: argument.into_iter().map(condition).collect(),
            action,
        }
    }

    #[test]
    fn what_is_refused_is_refused_by_its_other_names_too() {
        let added = |given: Rule| with_twins([given]).into_iter().skip(1).collect::<Vec<_>>();
        assert_eq!(added(rule(&["setuid", "mkdir"], Some(0), NO)), [rule(&["setuid32"], Some(0), NO)]);
        assert_eq!(added(rule(&["umount2"], None, NO)), [rule(&["umount"], None, NO)]);
        assert_eq!(added(rule(&["truncate"], Some(0), NO)), [rule(&["truncate64"], Some(0), NO)]);
        assert_eq!(
            added(rule(&["truncate"], Some(1), NO)),
            [rule(&["truncate64"], None, NO)],
            "in two halves"
        );
        assert_eq!(
            added(rule(&["clock_settime", "settimeofday"], Some(0), NO)),
            [rule(&["clock_settime64"], Some(0), NO), rule(&["stime"], None, NO)]
        );
        for nothing in [
            rule(&["setuid"], None, Action::Allow),
            rule(&["@setuid"], None, NO),
            rule(&["setuid32"], None, NO),
        ] {
            assert!(added(nothing.clone()).is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn a_twin_with_a_rule_of_its_own_follows_that() {
        let rules = [rule(&["setuid", "setgid"], None, NO), rule(&["setuid32"], None, Action::Log)];
        let with = with_twins(rules.clone());
        assert_eq!(with, [rules[0].clone(), rule(&["setgid32"], None, NO), rules[1].clone()]);
        // A group names nobody: what the first rule refuses stays refused.
        let rules = [rule(&["setuid"], None, NO), rule(&["@setuid"], None, Action::Allow)];
        assert_eq!(with_twins(rules)[1], rule(&["setuid32"], None, NO));
    }

    #[test]
    fn every_call_of_the_32_bit_abi_alone_is_a_twin_or_has_none() {
        let listed = LONGER.iter().flat_map(|(_, calls)| calls.split_ascii_whitespace());
        let listed: Vec<&str> = listed.chain(OTHERS.iter().map(|(call, ..)| *call)).collect();
        let twins: Vec<Cow<'_, str>> =
            listed.iter().flat_map(|call| twins(call)).map(|(twin, _)| twin).collect();
        let typos: Vec<&str> = listed
            .into_iter()
            .chain(twins.iter().map(AsRef::as_ref))
            .filter(|call| !is_known(call))
            .collect();
        assert!(typos.is_empty(), "no calls: {typos:?}");
        // Many in one, those that no kernel has, and those that do what no other call does.
        let alone = "bdflush break breakpoint cacheflush ftime gtty idle ipc lock mpx pciconfig_iobase pciconfig_read \
                     pciconfig_write prof profil set_tls socketcall stty ulimit vm86 vm86old";
        let own: Vec<&str> = abis()[0].calls().into_iter().map(|(name, _)| name).collect();
        let missing: Vec<&str> = abis()[1].calls().into_iter().map(|(name, _)| name).collect();
        let missing =
            missing.iter().filter(|name| !own.contains(name) && !twins.iter().any(|twin| twin == *name));
        let missing: Vec<&&str> = missing.filter(|name| !alone.split(' ').any(|one| one == **name)).collect();
        assert!(missing.is_empty() || !cfg!(target_arch = "x86_64"), "{missing:?}");
    }
}
