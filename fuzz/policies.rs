//! System call policies: what a program says is what the rules say, read one after another.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::LazyLock;

use rustix::fs::MemfdFlags;
use sept::seccomp::{Abi, Action, Compare, Condition, Flags, Policy, Rule, abis};

use crate::driver::{Random, mutated};

const NAMES: [&str; 12] = [
    "read",
    "write",
    "clone",
    "socket",
    "ioctl",
    "openat",
    "mmap",
    "socketcall",
    "time",
    "no_such_call",
    "",
    "io_uring_setup",
];

fn action(random: &mut Random) -> Action {
    match random.below(7) {
        0 | 1 => Action::Allow,
        2 => Action::Errno(random.below(4096) as u16),
        3 => Action::KillProcess,
        4 => Action::KillThread,
        5 => Action::Trap(random.next() as u16),
        _ => Action::Log,
    }
}

fn condition(random: &mut Random) -> Condition {
    let value = random.edge();
    let compare = match random.below(8) {
        0 => Compare::Eq(value),
        1 => Compare::Ne(value),
        2 => Compare::Lt(value),
        3 => Compare::Le(value),
        4 => Compare::Gt(value),
        5 => Compare::Ge(value),
        _ => {
            let mask = random.edge();
            Compare::Masked(mask, if random.one_in(2) { value & mask } else { value })
        }
    };
    Condition { argument: random.below(6) as u8, compare }
}

fn rule(random: &mut Random, calls: &[(&'static str, u32)]) -> Rule {
    let call = |random: &mut Random| {
        if random.one_in(3) { *random.pick(&NAMES) } else { random.pick(calls).0 }.into()
    };
    // Few names come often, so that rules of one call meet.
    let few = if random.one_in(4) { 40 } else { 3 };
    Rule {
        calls: (0..random.below(few)).map(|_| call(random)).collect(),
        conditions: (0..random.below(4)).map(|_| condition(random)).collect(),
        action: action(random),
    }
}

type Calls = Vec<(&'static str, u32)>;

/// The calls of an ABI, gathered once.
fn calls(abi: &Abi) -> &'static [(&'static str, u32)] {
    static ALL: LazyLock<Vec<(u32, Calls)>> =
        LazyLock::new(|| abis().iter().map(|abi| (abi.audit, abi.calls())).collect());
    ALL.iter().find(|(audit, _)| *audit == abi.audit).map_or(&[], |(_, calls)| calls)
}

/// The first rule that fits decides.
fn evaluated(policy: &Policy, audit: u32, number: u32, arguments: [u64; 6]) -> Action {
    let Some(abi) = abis().iter().find(|abi| abi.audit == audit) else { return policy.other_abi };
    if !policy.compat_abi && abi.audit != abis()[0].audit {
        return policy.other_abi;
    }
    if abi.name == "x86_64" && number >= 0x4000_0000 {
        return policy.other_abi;
    }
    let names: Vec<&str> =
        calls(abi).iter().filter(|(_, other)| *other == number).map(|(name, _)| *name).collect();
    if names.is_empty() {
        return policy.unknown;
    }
    let fits = |rule: &&Rule| {
        rule.calls.iter().any(|call| match sept::seccomp::group(call) {
            Some(group) => group.calls().iter().any(|call| names.contains(call)),
            None => names.contains(&call.as_ref()),
        }) && rule
            .conditions
            .iter()
            .all(|condition| condition.compare.holds(arguments[usize::from(condition.argument)]))
    };
    policy.rules.iter().find(fits).map_or(policy.default, |rule| rule.action)
}

/// An argument at which one of the conditions changes its mind.
fn argument(random: &mut Random, policy: &Policy) -> u64 {
    let conditions: Vec<&Condition> = policy.rules.iter().flat_map(|rule| &rule.conditions).collect();
    if conditions.is_empty() || random.one_in(4) {
        return random.edge();
    }
    let value = match random.pick(&conditions).compare {
        Compare::Eq(value) | Compare::Ne(value) | Compare::Lt(value) => value,
        Compare::Le(value) | Compare::Gt(value) | Compare::Ge(value) => value,
        Compare::Masked(mask, value) => value | (random.next() & !mask),
    };
    let near = value.wrapping_add((random.below(3) as u64).wrapping_sub(1));
    if random.one_in(4) { near ^ (1 << random.below(64)) } else { near }
}

fn number(random: &mut Random, policy: &Policy, abi: &Abi) -> u32 {
    let names: Vec<&str> = policy.rules.iter().flat_map(|rule| &rule.calls).map(AsRef::as_ref).collect();
    let name = if names.is_empty() { "" } else { *random.pick(&names) };
    let of_rule = calls(abi).iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    match (of_rule, random.below(8)) {
        (Some(number), 0..6) => number,
        (Some(number), 6) => number.wrapping_add(1),
        _ if random.one_in(2) => random.edge() as u32,
        _ => random.below(600) as u32,
    }
}

fn compare(random: &mut Random, policy: &Policy) {
    let Ok(filter) = policy.compile() else { return };
    for _ in 0..24 {
        let abi = random.pick(abis());
        let audit = if random.one_in(10) { random.next() as u32 } else { abi.audit };
        let number = number(random, policy, abi);
        let arguments = std::array::from_fn(|_| argument(random, policy));
        let said = filter.verdict(audit, number, arguments).expect("the kernel would take it");
        let wanted = evaluated(policy, audit, number, arguments).value();
        assert_eq!(said.value, wanted, "{audit:#x} {number} {arguments:#x?}");
    }
}

pub fn compiler(random: &mut Random, input: &mut String) {
    let calls = calls(random.pick(abis()));
    let policy = Policy {
        flags: Flags::NONE,
        name: "fuzz".to_owned(),
        default: action(random),
        unknown: action(random),
        other_abi: action(random),
        compat_abi: !random.one_in(4),
        rules: (0..random.below(12)).map(|_| rule(random, calls)).collect(),
    };
    *input = format!("{policy:?}");
    compare(random, &policy);
}

const FILES: [&str; 6] = [
    r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":30},{"names":["socket"],"action":"SCMP_ACT_KILL","args":[{"index":0,"value":2,"valueTwo":0,"op":"SCMP_CMP_EQ"}]}]}"#,
    r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"flags":[],"syscalls":[{"names":["read","write","exit_group"],"action":"SCMP_ACT_ALLOW"},{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}],"comment":"","includes":{},"excludes":{}}]}"#,
    r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[{"names":["ioctl"],"action":"SCMP_ACT_LOG","args":[{"index":1,"value":4294967296,"op":"SCMP_CMP_GE"},{"index":5,"value":1,"op":"SCMP_CMP_NE"}]}]}"#,
    r#"{"defaultAction":"SCMP_ACT_TRAP"}"#,
    "name = \"a\"\nbase = \"default\"\n\n[[rules]]\ncalls = [\"@mount\", \"mkdir\"]\nerrno = \"EPERM\"\n",
    "default = \"EPERM\"\nflags = [\"log\"]\n\n[[rules]]\ncalls = [\"ioctl\"]\nwhen = [\"arg1 & 0xffff == 0x5412\", \"arg0:32 > 3\"]\naction = \"kill-process\"\n",
];

/// Files as the OCI runtime specification has them.
pub fn files(random: &mut Random, input: &mut String) {
    let file = *random.pick(&FILES);
    let text = mutated(random, file.as_bytes());
    *input = String::from_utf8_lossy(&text).into_owned();
    let file = rustix::fs::memfd_create(c"policy", MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = std::fs::File::from(file);
    file.write_all(&text).expect("it can be written");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match crate::policy::find(path.as_ref()) {
        Ok(profile) => compare(random, &profile.policy),
        Err(failure) => assert!(failure.code == 125 && !failure.what().is_empty()),
    }
}
