//! The two policies that are ready.

use std::borrow::Cow;

use super::{Action, Compare, Condition, Flags, Policy, Rule};

const REFUSED: Action = Action::Errno(libc::EPERM as u16);
const ABSENT: Action = Action::Errno(libc::ENOSYS as u16);

/// What reaches the host's kernel or its other processes; each would need a capability outside, or is a door that bugs came
/// through.
const HOST: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_settime",
    "clock_settime64",
    "create_module",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "get_kernel_syms",
    "init_module",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "migrate_pages",
    "move_pages",
    "nfsservctl",
    "open_by_handle_at",
    "perf_event_open",
    "query_module",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "settimeofday",
    "stime",
    "swapoff",
    "swapon",
    "_sysctl",
    "sysfs",
    "syslog",
    "uselib",
    "userfaultfd",
    "ustat",
    "vhangup",
    "vm86",
    "vm86old",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "listns",
];

/// What makes and changes mounts and namespaces.
const NAMESPACES: &[&str] = &[
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "open_tree_attr",
    "pivot_root",
    "setns",
    "umount",
    "umount2",
    "unshare",
];

/// What looks into other processes, and rarely used doors.
const STRICT: &[&str] = &[
    "kcmp",
    "get_mempolicy",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lsm_set_self_attr",
    "mbind",
    "memfd_secret",
    "modify_ldt",
    "name_to_handle_at",
    "pidfd_getfd",
    "process_madvise",
    "process_mrelease",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "chroot",
];

/// CLONE_NEW* of clone(2): all but CLONE_NEWTIME, which plain clone has no room for.
const CLONE_NEW: u64 = 0x7e02_0000;
const AF_VSOCK: u64 = 40;
const AF_ALG: u64 = 38;

fn rule(calls: &[&'static str], conditions: &[Condition], action: Action) -> Rule {
    Rule {
        calls: calls.iter().map(|call| Cow::Borrowed(*call)).collect(),
        conditions: conditions.to_vec(),
        action,
    }
}

const fn when(argument: u8, compare: Compare) -> Condition {
    Condition { argument, compare }
}

pub(super) fn container() -> Policy {
    let mut rules = vec![
        rule(HOST, &[], REFUSED),
        rule(NAMESPACES, &[], REFUSED),
        // Its flags lie in memory, where a filter can't look: without it libc uses clone.
        rule(&["clone3"], &[], ABSENT),
        rule(&["clone"], &[when(0, Compare::Masked(CLONE_NEW, 0))], Action::Allow),
        rule(&["clone"], &[], REFUSED),
        rule(&["socket"], &[when(0, Compare::Masked(u32::MAX as u64, AF_VSOCK))], REFUSED),
        // Its arguments, the family among them, lie in memory, too: libc has the calls themselves since Linux 4.3.
        rule(&["socketcall"], &[], ABSENT),
    ];
    for persona in [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        rules.push(rule(
            &["personality"],
            &[when(0, Compare::Masked(u32::MAX as u64, persona))],
            Action::Allow,
        ));
    }
    rules.push(rule(&["personality"], &[], REFUSED));
    Policy {
        name: "default".to_owned(),
        default: Action::Allow,
        unknown: ABSENT,
        other_abi: Action::KillProcess,
        compat_abi: true,
        flags: Flags::NONE,
        rules,
    }
}

pub(super) fn strict() -> Policy {
    let mut policy = container();
    policy.name = "strict".to_owned();
    // In front: the first that fits decides.
    let mut rules = vec![
        rule(STRICT, &[], REFUSED),
        rule(&["socket"], &[when(0, Compare::Masked(u32::MAX as u64, AF_ALG))], REFUSED),
        // Typing into a terminal, by the low half: the kernel looks at no more.
        rule(&["ioctl"], &[when(1, Compare::Masked(u32::MAX as u64, 0x5412))], REFUSED),
        rule(&["ioctl"], &[when(1, Compare::Masked(u32::MAX as u64, 0x541c))], REFUSED),
        rule(&["personality"], &[when(0, Compare::Masked(u32::MAX as u64, 0xffff_ffff))], Action::Allow),
        rule(&["personality"], &[], REFUSED),
    ];
    rules.append(&mut policy.rules);
    policy.rules = rules;
    policy
}
