//! Groups of calls under the names that systemd gave such groups: what a policy would allow or refuse together.
//!
//! A call may be in several, and each call of the tables is in one at least. The names are those of all architectures.

use super::table::abis;

/// A group of calls.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// With its `@`.
    pub name: &'static str,
    /// What its calls do.
    pub about: &'static str,
    /// Calls, and other groups.
    members: &'static str,
}

/// `@network` is what some call `@network-io`.
const ALIASES: [(&str, &str); 1] = [("@network", "@network-io")];

/// Every group, by name.
pub fn groups() -> &'static [Group] {
    &GROUPS
}

/// A group by its name, which begins with `@`.
pub fn group(name: &str) -> Option<&'static Group> {
    let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, group)| group);
    GROUPS.iter().find(|group| group.name == name)
}

impl Group {
    /// Its calls, with those of the groups in it, by name. [`abis`] tells which of them this processor has.
    pub fn calls(&self) -> Vec<&'static str> {
        let mut calls = Vec::with_capacity(64);
        for member in self.members.split_ascii_whitespace() {
            match group(member) {
                Some(other) => calls.extend(other.calls()),
                None => calls.push(member),
            }
        }
        if self.name == KNOWN {
            calls.extend(abis().iter().flat_map(|abi| abi.calls()).map(|(name, _)| name));
        }
        calls.sort_unstable();
        calls.dedup();
        calls
    }

    /// The groups in it.
    pub fn groups(&self) -> impl Iterator<Item = &'static str> {
        self.members.split_ascii_whitespace().filter(|member| member.starts_with('@'))
    }
}

const KNOWN: &str = "@known";

static GROUPS: [Group; 30] = [
    Group {
        name: "@aio",
        about: "asynchronous reading and writing: io_setup(2), io_uring(7)",
        members: "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit \
                  io_uring_enter io_uring_register io_uring_setup",
    },
    Group {
        name: "@basic-io",
        about: "reading, writing and closing what is open",
        members: "_llseek close close_range dup dup2 dup3 lseek pread64 preadv preadv2 pwrite64 pwritev pwritev2 \
                  read readv write writev",
    },
    Group {
        name: "@chown",
        about: "changing the owner of files",
        members: "chown chown32 fchown fchown32 fchownat lchown lchown32",
    },
    Group {
        name: "@clock",
        about: "setting the clock",
        members: "adjtimex clock_adjtime clock_adjtime64 clock_settime clock_settime64 settimeofday stime",
    },
    Group {
        name: "@cpu-emulation",
        about: "8086 mode and segments of i386",
        members: "modify_ldt vm86 vm86old",
    },
    Group {
        name: "@debug",
        about: "looking into processes and the kernel: ptrace(2), perf_event_open(2), probes",
        members: "kcmp lookup_dcookie perf_event_open pidfd_getfd process_vm_readv process_vm_writev ptrace uprobe \
                  uretprobe",
    },
    Group {
        name: "@default",
        about: "what nearly every program needs to start, to know itself, to wait and to end",
        members: "arch_prctl breakpoint brk cacheflush clock_getres clock_getres_time64 clock_gettime clock_gettime64 \
                  clock_nanosleep clock_nanosleep_time64 execve exit exit_group futex futex_requeue futex_time64 \
                  futex_wait futex_waitv futex_wake get_robust_list get_thread_area getcpu getegid getegid32 geteuid \
                  geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getrandom getresgid \
                  getresgid32 getresuid getresuid32 getrlimit getrusage getsid gettid gettimeofday getuid getuid32 \
                  madvise map_shadow_stack membarrier mmap mmap2 mprotect mremap mseal munmap nanosleep pause \
                  prlimit64 restart_syscall rseq rt_sigreturn sched_getaffinity sched_yield set_robust_list \
                  set_thread_area set_tid_address set_tls sigreturn sysinfo time times ugetrlimit uname",
    },
    Group {
        name: "@file-system",
        about: "opening, making, renaming, removing and describing files",
        members: "access chdir chmod close creat faccessat faccessat2 fallocate fchdir fchmod fchmodat fchmodat2 \
                  fcntl fcntl64 fgetxattr file_getattr file_setattr flistxattr fremovexattr fsetxattr fstat fstat64 \
                  fstatat fstatat64 fstatfs fstatfs64 ftruncate ftruncate64 futimesat getcwd getdents getdents64 \
                  getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch lgetxattr link \
                  linkat listmount listxattr listxattrat llistxattr lremovexattr lsetxattr lstat lstat64 mkdir \
                  mkdirat mknod mknodat mmap mmap2 munmap name_to_handle_at newfstatat oldfstat oldlstat oldstat \
                  open openat openat2 readlink readlinkat removexattr removexattrat rename renameat renameat2 rmdir \
                  setxattr setxattrat stat stat64 statfs statfs64 statmount statx symlink symlinkat truncate \
                  truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes",
    },
    Group {
        name: "@io-event",
        about: "waiting for descriptors: poll(2), select(2), epoll(7), eventfd(2)",
        members: "_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait \
                  epoll_wait_old eventfd eventfd2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select",
    },
    Group {
        name: "@ipc",
        about: "pipes, message queues, semaphores, shared memory, memory of other processes",
        members: "ipc memfd_create mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 \
                  mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd pipe pipe2 process_madvise \
                  process_vm_readv process_vm_writev semctl semget semop semtimedop semtimedop_time64 shmat shmctl \
                  shmdt shmget",
    },
    Group {
        name: "@keyring",
        about: "keys of the kernel: keyrings(7)",
        members: "add_key keyctl request_key",
    },
    Group {
        name: KNOWN,
        about: "every call that this version knows",
        members: "@aio @basic-io @chown @clock @cpu-emulation @debug @default @file-system @io-event @ipc @keyring \
                  @memlock @module @mount @network-io @obsolete @pkey @privileged @process @raw-io @reboot @resources \
                  @sandbox @setuid @signal @swap @sync @system-service @timer",
    },
    Group {
        name: "@memlock",
        about: "keeping memory from being swapped out",
        members: "mlock mlock2 mlockall munlock munlockall",
    },
    Group {
        name: "@module",
        about: "loading and removing modules of the kernel",
        members: "delete_module finit_module init_module",
    },
    Group {
        name: "@mount",
        about: "mounts and the root directory",
        members: "chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr \
                  pivot_root umount umount2",
    },
    Group {
        name: "@network-io",
        about: "sockets, those of the local host among them",
        members: "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg \
                  recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socket socketcall \
                  socketpair",
    },
    Group {
        name: "@obsolete",
        about: "what no program of today calls, or no kernel has",
        members: "_sysctl afs_syscall bdflush break create_module epoll_ctl_old epoll_wait_old ftime get_kernel_syms \
                  getpmsg gtty idle lock lookup_dcookie mpx nfsservctl oldfstat oldlstat oldolduname oldstat olduname \
                  prof profil putpmsg query_module readdir security sgetmask signal ssetmask stime stty sysfs tuxcall \
                  ulimit uselib ustat vm86old vserver",
    },
    Group {
        name: "@pkey",
        about: "protection keys of memory: pkeys(7)",
        members: "pkey_alloc pkey_free pkey_mprotect",
    },
    Group {
        name: "@privileged",
        about: "what takes capabilities that a container's programs should not have",
        members: "@chown @clock @module @raw-io @reboot @setuid @swap _sysctl acct bpf capset chroot fanotify_init \
                  fanotify_mark lsm_set_self_attr nfsservctl open_by_handle_at pivot_root quotactl quotactl_fd \
                  setdomainname sethostname syslog userfaultfd vhangup",
    },
    Group {
        name: "@process",
        about: "making, controlling and awaiting processes and namespaces",
        members: "capget clone clone3 execveat fork getrusage kill pidfd_open pidfd_send_signal prctl \
                  process_mrelease rt_sigqueueinfo rt_tgsigqueueinfo setns setpgid setsid tgkill times \
                  tkill unshare vfork wait4 waitid waitpid",
    },
    Group {
        name: "@raw-io",
        about: "ports and buses of the machine",
        members: "ioperm iopl pciconfig_iobase pciconfig_read pciconfig_write",
    },
    Group {
        name: "@reboot",
        about: "restarting the machine, or another kernel on it",
        members: "kexec_file_load kexec_load reboot",
    },
    Group {
        name: "@resources",
        about: "limits, priorities, processors and memory nodes",
        members: "ioprio_get ioprio_set get_mempolicy getpriority mbind migrate_pages move_pages nice prlimit64 \
                  sched_get_priority_max sched_get_priority_min sched_getattr sched_getparam sched_getscheduler \
                  sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam \
                  sched_setscheduler set_mempolicy set_mempolicy_home_node setpriority setrlimit",
    },
    Group {
        name: "@sandbox",
        about: "giving up rights: seccomp(2), landlock(7)",
        members: "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp",
    },
    Group {
        name: "@setuid",
        about: "changing user and group ids",
        members: "setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 \
                  setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32",
    },
    Group {
        name: "@signal",
        about: "handlers, masks and queues of signals",
        members: "rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait \
                  rt_sigtimedwait_time64 sigaction sigaltstack signal signalfd signalfd4 sigpending sigprocmask \
                  sigreturn sigsuspend",
    },
    Group { name: "@swap", about: "swap space", members: "swapoff swapon" },
    Group {
        name: "@sync",
        about: "writing files and memory to the disk",
        members: "arm_sync_file_range fdatasync fsync msync sync sync_file_range syncfs",
    },
    Group {
        name: "@system-service",
        about: "what services use: a base for a list of what is allowed",
        members: "@aio @basic-io @chown @default @file-system @io-event @ipc @keyring @memlock @network-io @process \
                  @resources @setuid @signal @sync @timer arm_fadvise64_64 cachestat copy_file_range fadvise64 \
                  fadvise64_64 flock get_mempolicy ioctl lsm_get_self_attr lsm_list_modules memfd_secret mincore \
                  personality readahead remap_file_pages sendfile sendfile64 splice tee vmsplice",
    },
    Group {
        name: "@timer",
        about: "timers and alarms",
        members: "alarm getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 \
                  timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime \
                  timerfd_settime64",
    },
];
