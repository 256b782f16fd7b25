//! One table: kind of step, errno, and facts about the host, looked at after the failure → why, and what to do.

mod exec;
mod mounts;

use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitySet, capabilities};

use crate::error::Advice;
use crate::host::common::advice_on;
use crate::mount::meant;
use crate::namespace::{Namespace, Namespaces};
use crate::plan::step::{Change, Source, Step, shown};
use crate::plan::{Plan, Way};
use crate::seccomp::Flags;
pub(crate) use exec::exec;
use mounts::{covered, overlay};

pub(crate) fn sysctl(name: &str) -> Option<i64> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A clone that the kernel refused.
pub(crate) fn clone(kinds: Namespaces, errno: Errno) -> Advice {
    match errno {
        Errno::NOSPC => no_space(kinds),
        Errno::PERM if !kinds.contains(Namespace::User) && !kinds.is_empty() => {
            let advice = Advice::new(
                "without a new user namespace this needs CAP_SYS_ADMIN",
                "add -U (a new user namespace), which gives the right to the others, or leave user out of --share",
            );
            if rustix::process::geteuid().is_root() {
                advice.or("start the outer container with that capability")
            } else {
                advice.or("run as root")
            }
        }
        // A security module says EACCES.
        Errno::PERM | Errno::ACCESS => user_namespace_refused(),
        Errno::NOSYS if kinds.contains(Namespace::Time) => Advice::new(
            "this kernel, or a seccomp filter, has no clone3, and plain clone has no flag for time namespaces",
            "leave the time namespace out",
        ),
        Errno::USERS => Advice::new("user namespaces may be nested 32 deep", "start it from further out"),
        Errno::INVAL => {
            let missing: Vec<_> = kinds
                .iter()
                .filter(|kind| !Path::new("/proc/self/ns").join(kind.link()).exists())
                .map(Namespace::name)
                .collect();
            let fix = "use a kernel with it, or leave it out";
            if missing.is_empty() {
                Advice::default()
            } else {
                Advice::new(format!("this kernel has no {} namespaces", missing.join(", ")), fix)
            }
        }
        Errno::AGAIN => Advice::new(
            "the limit of processes is reached (RLIMIT_NPROC, kernel.threads-max, or the cgroup's pids.max)",
            "end other processes, or raise `ulimit -u`",
        ),
        _ => advice_on(errno.raw_os_error()),
    }
}

/// What `Command::refuse_cgroup_namespaces` does to a command inside.
pub(crate) fn no_cgroup_namespace() -> Advice {
    Advice::new(
        "a seccomp filter on this process, that of a sandbox around it perhaps, refuses new cgroup namespaces",
        "share the one that is there: leave the cgroup namespace out",
    )
}

fn no_space(kinds: Namespaces) -> Advice {
    for kind in kinds.iter() {
        if sysctl(kind.limit()) == Some(0) {
            let value = if kind == Namespace::User { 15_000 } else { 1024 };
            return Advice::new(
                format!("{} is 0 on this host", kind.limit()),
                format!("sudo sysctl {}={value}", kind.limit()),
            );
        }
    }
    Advice::new(
        "perhaps one of the limits user.max_*_namespaces is used up by this user, here or in a user namespace further out, or \
         namespaces are nested 32 deep",
        "sudo sysctl user.max_user_namespaces=15000",
    )
}

fn user_namespace_refused() -> Advice {
    if sysctl("kernel.unprivileged_userns_clone") == Some(0) {
        return Advice::new(
            "kernel.unprivileged_userns_clone is 0 on this host",
            "sudo sysctl kernel.unprivileged_userns_clone=1",
        )
        .or("run as root");
    }
    if in_chroot() {
        return Advice::new(
            "the kernel makes no user namespace in a chroot",
            "start it from outside the chroot",
        );
    }
    let filtered = fs::read_to_string("/proc/thread-self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Seccomp:") && line.ends_with('2')));
    if filtered {
        return Advice::new(
            "a seccomp filter is on this process, and it perhaps refuses new namespaces, as container engines' do, and sept's where it hides \
             files that could be renamed",
            "start the outer container with a seccomp profile that allows clone and unshare, or with more rights",
        )
        .or("let the sept around it give the right to mount: sept run --cap-add sys_admin …");
    }
    Advice {
        why: vec![
            "perhaps the user or group of this process is not mapped in its own user namespace".to_owned(),
            "perhaps a security module refuses it".to_owned(),
        ],
        fix: vec!["run as root".to_owned()],
    }
}

/// Whether the root is another than that of the mount namespace. A root that is no mount point surely is. One that is
/// may be, too: then another process of the same namespace has another mount as its root.
fn in_chroot() -> bool {
    let Some((namespace, own)) = root_of("thread-self") else { return false };
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_pid().to_string());
    let mut others = parent.iter().map(String::as_str).chain(["1"]).filter_map(root_of);
    own.is_none() || others.any(|(ns, root)| ns == namespace && root != own)
}

/// The mount namespace of a process, and the id of the mount that is its root.
fn root_of(process: &str) -> Option<(PathBuf, Option<String>)> {
    let namespace = fs::read_link(format!("/proc/{process}/ns/mnt")).ok()?;
    let mounts = fs::read_to_string(format!("/proc/{process}/mountinfo")).ok()?;
    // The last of those mounted there lies on top.
    let root = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/"));
    Some((namespace, root.and_then(|line| line.split(' ').next()).map(str::to_owned)))
}

/// A write of an id map by the parent.
pub(crate) fn write_map(file: &str, content: &[u8], errno: Errno) -> Advice {
    match errno {
        Errno::PERM if apparmor_restricts() => apparmor(),
        Errno::PERM if maps_root(content) && lacks_setfcap() => Advice::new(
            "user 0 of outside is mapped by nobody but who has CAP_SETFCAP (Linux 5.12), which this process lacks",
            "run sept as an ordinary user, or give it CAP_SETFCAP",
        ),
        Errno::PERM => Advice::new(
            format!(
                "the kernel refuses this {file}: an id outside is not mapped here, or CAP_SETUID, CAP_SETGID or CAP_SETFCAP is missing"
            ),
            "map only ids that this process has itself: see /proc/self/uid_map and gid_map",
        ),
        Errno::ACCESS if is_undumpable() => undumpable(),
        Errno::INVAL => {
            Advice::new("ranges overlap, or go past what the kernel takes", "see user_namespaces(7)")
        }
        Errno::ROFS => read_only_proc(),
        _ => Advice::default(),
    }
}

/// Of a sandbox around that has bound the host's file tree, /proc and all.
fn read_only_proc() -> Advice {
    Advice::new(
        "/proc is mounted read-only here, and maps of ids and the like are written to files there",
        "give the sandbox around a /proc of its own: bwrap … --proc /proc, docker run --security-opt systempaths=unconfined",
    )
}

/// Whether the files of /proc of this process, and of a child that shares its memory, are root's.
fn is_undumpable() -> bool {
    rustix::process::dumpable_behavior().is_ok_and(|mark| mark != DumpableBehavior::Dumpable)
}

fn undumpable() -> Advice {
    Advice::new(
        "this process is not dumpable (PR_GET_DUMPABLE), and so its files of /proc, and its child's, are root's",
        "start it from a process that is dumpable, or make this one so before: prctl(PR_SET_DUMPABLE, 1)",
    )
}

/// Whether a line of the map, `INSIDE OUTSIDE COUNT`, begins at user 0 of outside.
fn maps_root(map: &[u8]) -> bool {
    map.split(|byte| *byte == b'\n')
        .any(|line| line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1) == Some(b"0"))
}

fn lacks_setfcap() -> bool {
    capabilities(None).is_ok_and(|sets| !sets.effective.contains(CapabilitySet::SETFCAP))
}

/// A program that could not be executed under rules for files.
pub(crate) fn landlock_exec() -> Advice {
    Advice::new(
        "perhaps Landlock's rules allow no execution of the program, or of its interpreter or dynamic loader",
        "allow it where they are: --landlock-exec /usr (and /lib, /lib64 where those are no links into it)",
    )
}

/// setns(2) was refused.
fn join(kinds: Namespaces, of: &str, way: Way, errno: i32) -> Advice {
    match errno {
        libc::EPERM if kinds.contains(Namespace::User) => Advice::new(
            "joining a user namespace needs CAP_SYS_ADMIN in it, which its owner has in its parent, and root outside; and no chroot",
            "run as root, or as the user who made it, from the user namespace that it was made in",
        ),
        libc::EPERM => Advice::new(
            "joining needs CAP_SYS_ADMIN in the user namespace that owns the namespace, and in the present one",
            match way {
                Way::Spawn => "join its user namespace, too: --join user=PID (sept enter: -U)",
                Way::InPlace => "join its user namespace, too: -U, or leave the kinds out to join all",
            },
        )
        .or("run as root"),
        libc::ESRCH => Advice::new(format!("{of} has ended meanwhile"), "look for another: sept ls"),
        libc::EINVAL if kinds.contains(Namespace::Pid) => Advice::new(
            "the pid namespace is not a descendant of the present one, or its PID 1 has ended",
            "join from a process that sees it; one without PID 1 can't be joined any more",
        ),
        libc::EINVAL => Advice::new("perhaps the namespace is being taken down", "look at it again: sept ls"),
        _ => Advice::default(),
    }
}

/// A namespace could not be bound to a file.
pub(crate) fn persist(kind: Namespace, errno: Errno) -> Advice {
    match errno {
        Errno::PERM => {
            Advice::new("mounting needs CAP_SYS_ADMIN in the present user namespace", "run as root")
        }
        Errno::NOENT => Advice::new("the file to bind it to is not there", "make it first: touch FILE"),
        Errno::INVAL if kind == Namespace::Mount => Advice::new(
            "a mount namespace can be bound on a mount with private propagation only, in a mount namespace older than it",
            "mount --bind DIR DIR && mount --make-private DIR, and name a file in DIR",
        )
        .or("on Linux 6.18, which numbers them by processor: the same under taskset -c 0, or sept pin instead"),
        _ => Advice::default(),
    }
}

/// The terminal was not to be had for the command.
pub(crate) fn foreground(errno: Errno) -> Advice {
    match errno {
        Errno::NOTTY => Advice::new(
            "standard input is not the controlling terminal of this session",
            "give the command a terminal of its own: --tty",
        ),
        _ => Advice::default(),
    }
}

/// newuidmap is missing.
pub(crate) fn no_helper() -> Advice {
    Advice::new(
        "ranges of subordinate ids are written by newuidmap and newgidmap, which are not installed",
        "sudo apt-get install uidmap (Fedora: shadow-utils)",
    )
    .or("map only yourself: --map-root-user")
}

/// newuidmap said no.
pub(crate) fn helper_refused(said: &str) -> Advice {
    let why = if said.is_empty() { "it says no more".to_owned() } else { format!("it says: {said}") };
    Advice::new(why, "compare with /etc/subuid and /etc/subgid; the helpers must be set-user-ID root")
}

fn apparmor_restricts() -> bool {
    sysctl("kernel.apparmor_restrict_unprivileged_userns") == Some(1)
}

fn apparmor() -> Advice {
    Advice::new(
        "AppArmor gives unconfined programs no rights in their user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
        "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    )
    .or("run as root")
}

/// How many processes the command's own cgroup allows.
fn own_pids(plan: &Plan) -> Option<u64> {
    plan.steps.iter().find_map(|step| match step {
        Step::EnterCgroup(cgroup) => cgroup.pids,
        _ => None,
    })
}

/// Any step but exec.
pub(crate) fn step(step: &Step, plan: &Plan, errno: i32) -> Advice {
    let user = plan.namespaces.contains(Namespace::User);
    let refused = matches!(errno, libc::EPERM | libc::EACCES);
    match step {
        Step::Fork(_) if errno == libc::ENOMEM && plan.joins(Namespace::Pid) => Advice::new(
            "the pid namespace that is joined is dead: its PID 1 has ended, and no process can be in it any more",
            "join the others only: name them, without -p",
        ),
        Step::LimitMemory(_) if errno == libc::ENOMEM => Advice::new(
            "the kernel's own memory for what set-up has mounted takes all but 8 MiB of the limit",
            "allow more: --memory",
        ),
        Step::BeginNet | Step::JoinNet => {
            clone(Namespaces::from_iter([Namespace::Net]), Errno::from_raw_os_error(errno))
        }
        Step::Reap | Step::Fork(_) if errno == libc::EAGAIN && own_pids(plan).is_some() => Advice::new(
            format!(
                "pids.max of its cgroup is {}, and who sets it up counts, too: the reaper, or who joins namespaces",
                own_pids(plan).unwrap_or_default()
            ),
            "allow more: --pids 2, and one more for each process that the command starts",
        ),
        Step::Reap => clone(Namespaces::NONE, Errno::from_raw_os_error(errno)),
        Step::Unshare(kinds) | Step::Fork(kinds) => clone(*kinds, Errno::from_raw_os_error(errno)),
        Step::Join { kinds, of, .. } => join(*kinds, of, plan.way, errno),
        Step::DenySetgroups | Step::MapUid(_) | Step::MapGid(_) | Step::OffsetClocks(_)
            if errno == libc::EACCES && is_undumpable() =>
        {
            undumpable()
        }
        Step::DenySetgroups | Step::MapUid(_) | Step::MapGid(_) | Step::OffsetClocks(_)
            if errno == libc::EROFS =>
        {
            read_only_proc()
        }
        _ if user && refused && apparmor_restricts() => apparmor(),
        Step::MapUid(map) if refused => write_map("map", map.as_bytes(), Errno::PERM),
        Step::MapGid(_) if refused => write_map("map", &[], Errno::PERM),
        Step::Mount { source: Source::Proc { .. }, .. }
            if errno == libc::EPERM
                && plan.way == Way::InPlace
                && plan.namespaces.contains(Namespace::Pid) =>
        {
            Advice::new(
                "only children enter a new pid namespace; this process is in the old one still, and in a new user namespace \
                 the kernel gives no proc of that",
                "fork the command: -f",
            )
        }
        Step::Mount { source: Source::Proc { .. }, .. } if errno == libc::EPERM => covered("proc", "/proc"),
        Step::Mount { source: Source::Sysfs, .. } if errno == libc::EPERM => covered("sysfs", "/sys"),
        Step::Mount { source: Source::Mqueue, .. }
            if errno == libc::EPERM && !plan.namespaces.contains(Namespace::Ipc) =>
        {
            Advice::new(
                "mqueue shows an ipc namespace, and the caller's is not to be had",
                "ask for a new ipc namespace: -i",
            )
        }
        Step::ChangeMode { at, .. } if errno == libc::ENOENT => Advice::new(
            format!("there is no {} inside, or it is not in a tmpfs or overlay of the command's own", shown(at)),
            "see how it is written; mount one there before: --tmpfs DIR or --tmp-overlay DIR, or insist: --create=host",
        ),
        Step::Symlink { at, .. } | Step::MakeDir { at, .. } | Step::WriteFile { at, .. }
            if errno == libc::ENOENT =>
        {
            Advice::new(
                format!(
                    "{} is not in a tmpfs or overlay of the command's own, and nothing is made on the host unasked",
                    shown(at)
                ),
                "mount one there before: --tmpfs DIR or --tmp-overlay DIR, or insist: --create=host",
            )
        }
        Step::ChangeMode { at, .. } if errno == libc::EPERM => Advice::new(
            format!("{} belongs to a user who is nobody inside", shown(at)),
            "map that user, too: --map-auto, --map-users",
        ),
        Step::Mount { source: Source::Overlay { .. }, .. } if errno == libc::ENODEV => {
            Advice::new("this kernel has no overlayfs", "sudo modprobe overlay")
        }
        Step::Mount { source: Source::Overlay { .. }, .. } if errno == libc::EREMOTE => Advice::new(
            "its directories are named by /proc, and what lies there is no proc file system",
            "put the overlay before what is mounted on /proc",
        ),
        Step::Mount { source: Source::Overlay { lower, upper, .. }, .. } if errno == libc::EINVAL => {
            overlay(lower, upper, user)
        }
        Step::Mask { at, .. } if matches!(errno, libc::ENOENT | libc::ENOTDIR) => Advice::new(
            format!("there is no {} inside", shown(at)),
            format!("see how it is written; if it need not be there: --mask-try {}", shown(at)),
        ),
        Step::RemountReadOnly(at) if errno == libc::EINVAL => Advice::new(
            format!("{} is no mount point", shown(at)),
            format!("make it one that can only be read: --ro-bind {0} {0}", shown(at)),
        ),
        Step::RemountReadOnly(at) if matches!(errno, libc::ENOENT | libc::ENOTDIR) => Advice::new(
            format!("there is no {} inside", shown(at)),
            "see how it is written; it is a path inside, from the root on",
        ),
        Step::Mount { change, target, .. } if change.copy_up && errno == libc::ENOSPC => Advice::new(
            format!("the copy of {} is larger than the tmpfs may be", shown(target)),
            "allow more: size=, half of the memory without it",
        ),
        Step::Mount { change, target, .. }
            if change.copy_up && matches!(errno, libc::EACCES | libc::EPERM | libc::ENAMETOOLONG) =>
        {
            Advice::new(
                format!(
                    "something below {} can't be copied: read by this user, made again (a device), or it lies deeper than 64 directories",
                    shown(target)
                ),
                "show what is there, and keep writes in a tmpfs: --overlay-src DIR --tmp-overlay DIR",
            )
        }
        Step::Mount { target, .. } if errno == libc::ENOENT => Advice::new(
            format!(
                "there is no {} inside, and nothing is made on the host's file systems unasked",
                shown(target)
            ),
            format!(
                "make it outside before (mkdir), or insist: --create=host, which leaves {} there",
                shown(target)
            ),
        ),
        Step::Mount { source: Source::Bind { .. }, change, .. } | Step::Remount { change, .. }
            if errno == libc::EPERM && !change.words.is_empty() =>
        {
            Advice::new(
                "in a new user namespace nobody loosens a mount of outside, nor changes how it keeps access times",
                format!("leave out what does, of: {}", change.words),
            )
            .or("do without the user namespace: --share user")
        }
        Step::Hold(sources) if errno == libc::EMFILE => Advice::new(
            format!("{} sources of binds are covered by other mounts, and each takes a descriptor until then", sources.len()),
            "allow more descriptors: ulimit -n",
        ),
        Step::Mount { source: Source::FileSystem { kind, .. }, .. } if errno == libc::EPERM => Advice::new(
            format!("only some file systems can be mounted in a user namespace, and {} is perhaps none of them", shown(kind)),
            "mount it outside and bind it",
        ),
        Step::Mount { source: Source::FileSystem { kind, .. }, .. } if errno == libc::ENODEV => Advice::new(
            format!("this kernel has no file system {}, or it is a module that is not loaded", shown(kind)),
            format!("sudo modprobe {}; /proc/filesystems lists what there is", shown(kind)),
        ),
        Step::Mount { change, .. } | Step::Remount { change, .. }
            if errno == libc::EINVAL && !change.data.is_empty() =>
        {
            let near = change.data.iter().find_map(|(key, _)| meant(key.to_str().ok()?));
            let advice = Advice::new(
                format!("the file system does not take one of its options, or not this value: {}", data_in_words(change)),
                "see the file system's page in filesystems(5); dmesg may say more",
            );
            near.map_or(advice.clone(), |near| advice.or(format!("perhaps {near} was meant")))
        }
        // A directory that has locked mounts below.
        Step::Mount { source: Source::Bind { recursive: false, .. }, .. }
            if errno == libc::EINVAL && user =>
        {
            Advice::new(
                "perhaps there are mounts below it, and in a user namespace nobody may show what they cover",
                "take them along: rbind instead of bind",
            )
        }
        Step::Mount { source: Source::Bind { path, .. }, .. } if errno == libc::ESTALE => Advice::new(
            format!("what the descriptor {} has is no longer what its name leads to", shown(path)),
            "open it again: something was mounted there meanwhile",
        ),
        // move_mount says EINVAL where mount says ENOTDIR.
        Step::Mount { source: Source::Bind { .. } | Source::Data { .. }, target, .. }
            if matches!(errno, libc::ENOTDIR | libc::EINVAL) =>
        {
            Advice::new(
                format!(
                    "a directory goes on a directory and a file on a file; {} is the other",
                    shown(target)
                ),
                "name a mount point of the same kind",
            )
        }
        Step::Mount { source: Source::Overlay { .. }, .. } if errno == libc::ELOOP => Advice::new(
            "two of the overlay's directories are the same, or one lies in the other",
            "name directories apart from each other",
        ),
        Step::Mount { .. } if errno == libc::ENOBUFS => Advice::new(
            "sept keeps in mind no more than 64 file systems of the command's own",
            "make directories in one tmpfs instead: --tmpfs DIR --dir DIR/SUB",
        ),
        Step::Mount { target, .. } if errno == libc::ELOOP => Advice::new(
            format!("{} leads through a link of procfs, or through too many links", shown(target)),
            "name the place itself",
        ),
        Step::Mount { source: Source::Device { path, .. }, .. }
            if matches!(errno, libc::EPERM | libc::EACCES) =>
        {
            Advice::new(
                format!("{} is on a mount without working devices (nodev), as in a sandbox, and in a user namespace nobody lifts that", shown(path)),
                "give the sandbox around it a /dev of its own (sept run --dev /dev, bwrap --dev /dev), or do without: --no-dev",
            )
        }
        Step::Mount { source: Source::Device { path, .. }, .. } if errno == libc::ENODEV => Advice::new(
            format!("{} on this host is not the device that it should be", shown(path)),
            "mend the host's /dev",
        ),
        Step::SetUid(id) | Step::SetGid(id) if errno == libc::EINVAL => Advice::new(
            format!("{id} is not mapped in the new user namespace"),
            format!("map it: --map-users {id}:OUTSIDE:1 (--map-groups for a group)"),
        ),
        Step::SetUid(_) | Step::SetGid(_) | Step::SetGroups(_) if errno == libc::EPERM => Advice::new(
            "changing ids needs CAP_SETUID or CAP_SETGID, and setgroups not denied",
            "leave it out, or map ids with privilege",
        ),
        Step::SetRlimit(_) if errno == libc::EPERM => Advice::new(
            "a hard limit can be raised only with CAP_SYS_RESOURCE outside of any user namespace",
            "ask for no more than the present hard limit: ulimit -H -a",
        ),
        Step::SetRlimit(_) if errno == libc::EINVAL => {
            Advice::new("the soft limit is above the hard one", "write SOFT:HARD with SOFT at most HARD")
        }
        Step::LimitBounding(_) | Step::SetCapabilities(_) | Step::Securebits(_) if errno == libc::EPERM => {
            Advice::new(
                "capabilities can only be taken away, and that needs CAP_SETPCAP; only a new user namespace gives any",
                "ask for a new user namespace, too: -U, or leave out what this process does not have",
            )
        }
        Step::SelinuxLabel(_) => Advice::new(
            "the kernel's SELinux policy does not let this process take that context, or there is no SELinux",
            "see ausearch -m avc, or leave it out",
        ),
        Step::ApparmorProfile(_) if !has_apparmor() => {
            Advice::new("there is no AppArmor on this host, or it is off", "leave it out")
        }
        Step::ApparmorProfile(_) if errno == libc::ENOENT => Advice::new(
            "no profile of that name is loaded",
            "sudo aa-status lists those that are; sudo apparmor_parser -r FILE loads one",
        ),
        Step::ApparmorProfile(_) => Advice::new(
            "AppArmor lets this process not change to that profile: it is confined itself, or may gain no privileges",
            "start from outside of any profile, or with --no-new-privs=no",
        ),
        Step::CoreScheduling if errno == libc::ENODEV || errno == libc::EINVAL => Advice::new(
            "this kernel has no core scheduling, or the processor no threads that share a core",
            "leave it out",
        ),
        Step::Landlock(_) if errno == libc::ENOENT => {
            Advice::new("a path of its rules is not there inside", "leave it out, or bind it first")
        }
        Step::SeccompListener(_) if errno == libc::EBUSY => Advice::new(
            "a filter that this process has already has a listener, and the kernel allows one",
            "start it from where there is none, or leave out what asks the listener",
        ),
        Step::Seccomp(filter) | Step::SeccompListener(filter)
            if errno == libc::EINVAL && filter.flags != Flags::NONE =>
        {
            Advice::new(
                "perhaps this kernel does not know a flag of the policy: wait-killable-recv is of Linux 5.19",
                format!("leave the flags out: {}", filter.flags),
            )
        }
        Step::Seccomp(_) | Step::SeccompListener(_) | Step::Refuse(_)
            if refused
                && (plan.namespaces.contains(Namespace::User)
                    || plan.steps.contains(&Step::NoNewPrivs)) =>
        {
            Advice::new(
                "a filter that is on already refuses seccomp(2): an earlier one of this line, or that of a sandbox around it",
                "allow seccomp there, or put what refuses it last",
            )
        }
        Step::Seccomp(_) | Step::SeccompListener(_) | Step::Refuse(_) if refused => {
            Advice::new(
                "a filter needs no_new_privs, or CAP_SYS_ADMIN in the user namespace",
                "allow no new privileges: --no-new-privs",
            )
        }
        Step::Landlock(_) if errno == libc::E2BIG => Advice::new(
            "Landlock can be put on 16 times, one in another, and it is",
            "start it from further out, or without: --landlock-scope none, and no other Landlock option",
        ),
        Step::Landlock(_) if errno == libc::EPERM => Advice::new(
            "Landlock needs no_new_privs, or CAP_SYS_ADMIN in the user namespace",
            "allow no new privileges: --no-new-privs",
        ),
        Step::Mount { .. }
        | Step::Remount { .. }
        | Step::Mask { .. }
        | Step::ReadOnly(_)
        | Step::Keep { .. }
        | Step::RemountReadOnly(_)
        | Step::MakeDir { .. }
        | Step::WriteFile { .. }
        | Step::ChangeMode { .. }
        | Step::Symlink { .. }
        | Step::Landlock(_)
            if errno == libc::EXDEV =>
        {
            Advice::new(
                "a link on the way leads out of what was mounted before, or into it, and is not followed there; or a later mount covers that",
                "name the place itself, without the link; and mount what covers another first",
            )
        }
        Step::Mask { at, .. } if errno == libc::EINVAL => Advice::new(
            format!("a link leads {} to /: a mask there would leave nothing", shown(at)),
            "name the place itself, without the link",
        ),
        Step::Propagate(_) if errno == libc::EINVAL => Advice::new(
            "/ is no mount point here, as in a chroot",
            "leave the mount namespace out, or bind the directory on itself before the chroot: mount --bind DIR DIR",
        ),
        Step::SetHostname(_) | Step::SetDomainname(_) | Step::LoopbackUp | Step::Propagate(_)
            if refused && user =>
        {
            Advice {
                why: vec!["perhaps a security module, a seccomp filter, or Landlock, under which nobody mounts, refuses it".to_owned()],
                fix: vec!["run as root, or outside of the container".to_owned()],
            }
        }
        Step::ChangeDir { .. } if errno == libc::ELOOP => Advice::new(
            "it leads through a link of procfs, by which a process could get outside",
            "name the directory itself",
        ),
        Step::PivotRoot if errno == libc::EINVAL => Advice::new(
            "the present root is not a mount point that can be pivoted (a chroot, or the initial ramfs)",
            "start it from outside the chroot",
        ),
        Step::CloseOthers(_) if errno == libc::EBADF => {
            Advice::new("a descriptor to be kept is not open", "open it in the shell: N<file or N>file")
        }
        Step::OffsetClocks(_) if errno == libc::ERANGE => {
            Advice::new("the clock would be negative, or too far in the future", "use a smaller offset")
        }
        Step::Mount { .. } | Step::RestrictAll(_) | Step::CloneRoot { .. } if errno == libc::ENOSYS => {
            Advice::new(
                "mounts are made by fsopen, open_tree and move_mount (Linux 5.2), and placed by openat2 (5.6): the kernel, or a seccomp filter, has not all of them",
                "use a newer kernel, or a filter that knows them",
            )
        }
        _ => advice_on(errno),
    }
}

fn data_in_words(change: &Change) -> String {
    let words = change.data.iter().map(|(key, value)| match value {
        Some(value) => format!("{}={}", shown(key), shown(value)),
        None => shown(key),
    });
    words.collect::<Vec<_>>().join(",")
}

/// A filter came before that step, and its policy ends who makes the call.
pub(crate) fn killed_by_filter() -> Advice {
    Advice::new(
        "a seccomp policy kills who makes a call that this step makes, and without no_new_privs a filter is put on before the rights go",
        "allow no new privileges, so that it is put on last: --no-new-privs",
    )
    .or("have the policy refuse the call by an errno, or allow it")
}

/// Whether AppArmor is the kernel's, and on.
fn has_apparmor() -> bool {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.trim() == "Y")
}
