//! The two policies that are ready.

use std::borrow::Cow;

use super::{Action, Compare, Condition, Flags, Policy, Rule};

const REFUSED: Action = Action::Errno(libc::EPERM as u16);
const ABSENT: Action = Action::Errno(libc::ENOSYS as u16);

/// What reaches the host's kernel or its other processes; each would need a capability that engines don't give, or is a door
/// that bugs came through.
const HOST: &[&str] = &[
    "acct",
    "add_key",
    "bpf",
    "clock_settime",
    "clock_settime64",
    "delete_module",
    "fanotify_init",
    "finit_module",
    "get_mempolicy",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lsm_set_self_attr",
    "mbind",
    "migrate_pages",
    "move_pages",
    "open_by_handle_at",
    "pciconfig_iobase",
    "pciconfig_read",
    "pciconfig_write",
    "perf_event_open",
    "pidfd_getfd",
    "process_madvise",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "setdomainname",
    "sethostname",
    "settimeofday",
    "stime",
    "swapoff",
    "swapon",
    "syslog",
    "userfaultfd",
    "vhangup",
];

/// What no kernel has, or no program of today calls: other calls do it.
const OBSOLETE: &[&str] = &[
    "afs_syscall",
    "bdflush",
    "break",
    "create_module",
    "ftime",
    "get_kernel_syms",
    "getpmsg",
    "gtty",
    "idle",
    "lock",
    "lookup_dcookie",
    "mpx",
    "nfsservctl",
    "nice",
    "oldfstat",
    "oldlstat",
    "oldolduname",
    "oldstat",
    "olduname",
    "prof",
    "profil",
    "putpmsg",
    "query_module",
    "readdir",
    "security",
    "sgetmask",
    "sigaction",
    "signal",
    "sigpending",
    "sigsuspend",
    "ssetmask",
    "stty",
    "_sysctl",
    "sysfs",
    "tuxcall",
    "ulimit",
    "uselib",
    "ustat",
    "vm86",
    "vm86old",
    "vserver",
];

/// What is newer than the lists of the engines: it fails as on an older kernel, and libraries know what to do then.
const NEWER: &[&str] = &["file_getattr", "file_setattr", "listns", "open_tree_attr", "uprobe"];

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
    "pivot_root",
    "setns",
    "umount",
    "umount2",
    "unshare",
];

/// What looks into other processes, and rarely used doors.
const STRICT: &[&str] = &[
    "chroot",
    "memfd_secret",
    "modify_ldt",
    "name_to_handle_at",
    "process_mrelease",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
];

/// CLONE_NEW* of clone(2): all but CLONE_NEWTIME, which plain clone has no room for.
const CLONE_NEW: u64 = 0x7e02_0000;

/// Families of sockets that engines refuse: those of virtual machines (AF_VSOCK, 40) and of the kernel's ciphers (AF_ALG, 38), and
/// those that kernels have given up: DECnet, Econet, ATM's circuits, IrDA, WANPIPE, ISDN, CAIF. All behind 45 are newer.
const FAMILIES: [u64; 9] = [12, 19, 20, 23, 25, 34, 37, 38, 40];

/// The half of an argument that the kernel looks at, where it takes an int.
const LOW: u64 = u32::MAX as u64;

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
        rule(OBSOLETE, &[], REFUSED),
        rule(NAMESPACES, &[], REFUSED),
        rule(NEWER, &[], ABSENT),
        // Its flags lie in memory, where a filter can't look: without it libc uses clone.
        rule(&["clone3"], &[], ABSENT),
        rule(&["clone"], &[when(0, Compare::Masked(CLONE_NEW, 0))], Action::Allow),
        rule(&["clone"], &[], REFUSED),
        // Its arguments, the family among them, lie in memory, too. The kernel has the calls themselves since 4.3.
        rule(&["socketcall"], &[], ABSENT),
    ];
    rules.extend(FAMILIES.map(|family| rule(&["socket"], &[when(0, Compare::Masked(LOW, family))], REFUSED)));
    // A whole number, as the engines compare: with something in its upper half it is none of those that they list.
    rules.push(rule(&["socket"], &[when(0, Compare::Gt(45))], REFUSED));
    for persona in [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        rules.push(rule(&["personality"], &[when(0, Compare::Masked(LOW, persona))], Action::Allow));
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
        // Typing into a terminal, by the low half: the kernel looks at no more.
        rule(&["ioctl"], &[when(1, Compare::Masked(LOW, 0x5412))], REFUSED),
        rule(&["ioctl"], &[when(1, Compare::Masked(LOW, 0x541c))], REFUSED),
        rule(&["personality"], &[when(0, Compare::Masked(LOW, 0xffff_ffff))], Action::Allow),
        rule(&["personality"], &[], REFUSED),
    ];
    rules.append(&mut policy.rules);
    policy.rules = rules;
    policy
}
