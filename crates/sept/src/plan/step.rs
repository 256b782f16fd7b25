//! The steps that a child performs, each as near as possible to one system call.
//!
//! Pure data: strings are C strings already, so that the child needs no memory.

use std::ffi::CString;
use std::fmt;

use crate::capability::{Capabilities, CapabilitySet};
use crate::cgroup::Cgroup;
use crate::landlock::{Landlock, Scope};
use crate::mount::{Create, Propagation, Stay};
use crate::namespace::{Namespace, Namespaces};
use crate::rlimit::Rlimit;
use crate::seccomp::Filter;

pub(crate) use crate::plan::source::is_of_descriptor;
pub use crate::plan::source::{Change, Held, IdMapped, Source, UpperDir};
pub use crate::sys::Attributes;
use crate::sys::attr;

/// One step of the child.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// prctl(PR_SET_PDEATHSIG): the kernel sends the child this signal when the thread that started it ends.
    DieWithParent(i32),
    /// prctl(PR_SET_DUMPABLE): processes inside can't look into this one.
    Hide,
    /// setns(2).
    Join {
        /// Which kinds.
        kinds: Namespaces,
        /// The place of the target in the order in which they were asked for.
        from: usize,
        /// What it is, in words.
        of: String,
    },
    /// Makes the command a child of the same parent, inside the namespaces that were joined, and new in these.
    Fork(Namespaces),
    /// unshare(2): this process itself moves.
    Unshare(Namespaces),
    /// Has the kernel tell when this process leaves its copy of the caller's memory: set_robust_list(2).
    TellExec,
    /// Has a second thread make a net namespace, with lo up, while this one goes on.
    BeginNet,
    /// Waits for that thread, and moves to the namespace, setns(2).
    JoinNet,
    /// Sets the limit of memory of the cgroup, which set-up is not to be killed by.
    LimitMemory(u64),
    /// Writes `deny` to `/proc/self/setgroups`.
    DenySetgroups,
    /// Writes this line to `/proc/self/uid_map`.
    MapUid(CString),
    /// Writes this line to `/proc/self/gid_map`.
    MapGid(CString),
    /// Waits until the parent has written the id maps.
    AwaitMaps,
    /// From here on files of the command's own are made with these ids, setfsuid(2): the caller's have no number inside.
    MakeFilesAs {
        /// The user inside, unless the caller's own will do.
        user: Option<u32>,
        /// The group inside.
        group: Option<u32>,
    },
    /// Waits until the parent has done its duties.
    AwaitParent,
    /// unshare(CLONE_NEWTIME), where the clone can't: a forked child is in the new one at once, and its offsets are fixed.
    UnshareTime,
    /// Writes these offsets to `/proc/self/timens_offsets`.
    OffsetClocks(CString),
    /// setns(2) to that: on older kernels (6.1) no process of shared memory can be made by one that is about to leave its clocks.
    JoinTime,
    /// sethostname(2).
    SetHostname(CString),
    /// setdomainname(2).
    SetDomainname(CString),
    /// Changes the propagation of every mount.
    Propagate(Propagation),
    /// Restricts every mount that is there.
    RestrictAll(Restriction),
    /// Opens these paths outside before anything covers them. What is not there is told by the step that wants it.
    Hold(Vec<(CString, Held)>),
    /// Clones the tree of mounts at this directory, to become the root.
    CloneRoot {
        /// The directory, as the caller names it.
        dir: CString,
        /// What holds for the clone.
        restriction: Restriction,
    },
    /// Mounts something on a path inside.
    Mount {
        /// What.
        source: Source,
        /// What is set before it is attached.
        change: Change,
        /// On which path inside the new root.
        target: CString,
        /// Where the mount point may be made if it is missing.
        create: Create,
    },
    /// Writes the line of a binary format to this file of binfmt_misc.
    LoadInterpreter {
        /// `register` of a binfmt_misc.
        file: CString,
        /// The line.
        line: CString,
    },
    /// Makes a directory in a tmpfs of the command's own, if it is not there.
    MakeDir {
        /// Its path inside the new root.
        at: CString,
        /// Its mode.
        mode: u32,
        /// Whether it may also be made elsewhere.
        create: Create,
    },
    /// Makes a file with what a descriptor has.
    WriteFile {
        /// The descriptor.
        fd: i32,
        /// Its path inside the new root.
        at: CString,
        /// Its mode.
        mode: u32,
        /// Whether it may also be made elsewhere.
        create: Create,
    },
    /// chmod(2) in a tmpfs of the command's own.
    ChangeMode {
        /// Its path inside the new root.
        at: CString,
        /// Its mode.
        mode: u32,
        /// Whether it may also be elsewhere.
        create: Create,
    },
    /// Covers what is there with nothing.
    Mask {
        /// Where, inside the new root.
        at: CString,
        /// Whether what is not there needs none.
        if_there: bool,
    },
    /// Covers what is there with a read-only mount of itself.
    ReadOnly(CString),
    /// Makes the directories above a place mount points, where the command could rename them, before something is mounted there.
    Keep {
        /// Its path inside the new root.
        at: CString,
        /// What it takes.
        stay: Stay,
        /// What the command could rename.
        renames: Renames,
    },
    /// Makes the mounts at and below a place read-only.
    RemountReadOnly(CString),
    /// Changes the mount at a place, and its file system where there is data for that.
    Remount {
        /// Its path inside the new root.
        at: CString,
        /// What is changed.
        change: Change,
    },
    /// Makes a symbolic link in a tmpfs of the command's own.
    Symlink {
        /// What it points to.
        to: CString,
        /// Its path inside the new root.
        at: CString,
        /// Whether it may also be made elsewhere.
        create: Create,
    },
    /// pivot_root(2), to its top, and away with the old root.
    PivotRoot,
    /// chroot(2), and to its top.
    Chroot(CString),
    /// chroot(2) to a directory that was opened before.
    ChrootTo(String),
    /// Changes the working directory to one that was opened before.
    ChangeDirTo(String),
    /// Sets the interface lo up.
    LoopbackUp,
    /// Changes the working directory, inside the new root.
    ChangeDir {
        /// To where.
        dir: CString,
        /// Whether `/` will do when it does not exist.
        or_root: bool,
    },
    /// setsid(2).
    NewSession,
    /// Makes standard input the controlling terminal.
    ControllingTerminal,
    /// Waits until the parent has put it in the foreground of the terminal.
    Foreground,
    /// A process group of its own, in the foreground of the terminal on standard input: what is typed is for the command, and no
    /// matter of the reaper's.
    LeadJob,
    /// Makes standard input, output and error what the caller asked for.
    Redirect,
    /// setgroups(2).
    SetGroups(Vec<u32>),
    /// setgroups(2) of none, where the user namespace allows it.
    DropGroupsIfAllowed,
    /// setresgid(2).
    SetGid(u32),
    /// setresuid(2).
    SetUid(u32),
    /// Makes the permitted capabilities ambient.
    KeepCapabilities,
    /// Moves to the cgroup that was made for the command: `tasks` of version 1. With version 2, clone3 has done it.
    EnterCgroup(Cgroup),
    /// Makes a new cgroup namespace, with the command's own cgroup as its root: unshare(2).
    UnshareCgroup,
    /// setrlimit(2).
    SetRlimit(Rlimit),
    /// keyctl(2), KEYCTL_JOIN_SESSION_KEYRING.
    NewKeyring,
    /// Writes this SELinux context to `/proc/self/attr/exec`.
    SelinuxLabel(CString),
    /// Writes this word, `exec PROFILE`, to `/proc/self/attr/apparmor/exec`.
    ApparmorProfile(CString),
    /// prctl(PR_SCHED_CORE).
    CoreScheduling,
    /// prctl(PR_CAPBSET_DROP) of all but these.
    LimitBounding(CapabilitySet),
    /// prctl(PR_SET_SECUREBITS).
    Securebits(u32),
    /// prctl(PR_SET_KEEPCAPS): the change of user that follows leaves the permitted capabilities.
    KeepOverIds,
    /// capset(2) and the ambient set, read back.
    SetCapabilities(Capabilities),
    /// seccomp(2), with this program.
    Seccomp(Filter),
    /// seccomp(2), with this program; the listener goes to the parent.
    SeccompListener(Filter),
    /// landlock_restrict_self(2), with these rules.
    Landlock(LandlockRules),
    /// prctl(PR_SET_NO_NEW_PRIVS).
    NoNewPrivs,
    /// A small seccomp filter of sept's own.
    Refuse(Guard),
    /// Closes all descriptors from 3 on but these.
    CloseOthers(Vec<i32>),
    /// Closes what exec would close, before it looks for the program.
    CloseMarked,
    /// Puts the command into a child, and stays as the PID 1 that reaps.
    Reap,
    /// Waits for [`Parked::start`](crate::Parked::start).
    Park,
    /// execve(2).
    Exec(CString),
}

/// Whose directories' entries the command may rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renames {
    /// Its caller's own, and those that are open to that user.
    Own,
    /// Those of others, too: it has their ids, or rights over their files.
    All,
}

/// What is refused by a filter though no policy asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// TIOCSTI and TIOCLINUX.
    TerminalInjection,
    /// New cgroup namespaces.
    CgroupNamespaces,
    /// New user namespaces, where something that hides or guards could be moved by them.
    UserNamespaces,
    /// The ways to a TCP port that Landlock does not see: MPTCP, SMC, TCP Fast Open, and io_uring, whose calls no filter sees.
    UnseenPorts,
    /// Setting the limits of other processes, prlimit(2), which can end them.
    OthersLimits,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TerminalInjection => "terminal injection (TIOCSTI)",
            Self::CgroupNamespaces => "new cgroup namespaces",
            Self::UserNamespaces => {
                "new user namespaces, where something that hides or guards could be moved in one"
            }
            Self::OthersLimits => "setting limits of other processes",
            Self::UnseenPorts => "what Landlock does not see of TCP (MPTCP, SMC, Fast Open, io_uring)",
        })
    }
}

/// What holds for all mounts of the tree that the command begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restriction {
    /// Nothing can be written.
    pub read_only: bool,
    /// Device files do not work.
    pub no_devices: bool,
}

impl Restriction {
    /// As `MOUNT_ATTR_*`.
    pub(crate) fn attributes(self) -> u64 {
        (if self.read_only { attr::RDONLY } else { 0 }) | (if self.no_devices { attr::NODEV } else { 0 })
    }
}

impl fmt::Display for Restriction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.read_only, "read-only"), (self.no_devices, "nodev")];
        let mut separator = " ";
        for (_, word) in words.into_iter().filter(|(is, _)| *is) {
            write!(f, "{separator}{word}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// Landlock's rules, in the kernel's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandlockRules {
    /// What was asked for, for print.
    pub asked: Landlock,
    /// The ABI that is enforced.
    pub abi: u32,
    /// Accesses to files that are refused unless a path allows them.
    pub handled_files: u64,
    /// Accesses to ports that are refused unless a port allows them.
    pub handled_ports: u64,
    /// What is scoped.
    pub scoped: u64,
    /// What is allowed below which path.
    pub paths: Vec<(CString, u64)>,
    /// What is allowed with which port.
    pub ports: Vec<(u16, u64)>,
}

/// A C string as it is printed: control bytes escaped.
pub(crate) fn shown(text: &CString) -> String {
    text.as_bytes().escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

impl fmt::Display for LandlockRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "confine by Landlock (ABI {}):", self.abi)?;
        let mut separator = " ";
        for (path, access) in &self.asked.paths {
            write!(f, "{separator}{} {}", access.word(), path.display())?;
            separator = ", ";
        }
        for (port, access) in &self.asked.ports {
            write!(f, "{separator}{} {port}", format!("{access:?}").to_lowercase())?;
            separator = ", ";
        }
        for access in &self.asked.no_ports {
            write!(f, "{separator}no {}", format!("{access:?}").to_lowercase())?;
            separator = ", ";
        }
        for scope in &self.asked.scopes {
            let what = match scope {
                Scope::AbstractSockets => "no abstract sockets of others",
                Scope::Signals => "no signals to others",
            };
            write!(f, "{separator}{what}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl Step {
    /// Whether less can be reached by paths than before: what is open must not lead there.
    pub(crate) fn narrows(&self) -> bool {
        match self {
            Self::Join { kinds, .. } => kinds.contains(Namespace::Mount),
            Self::Mount { source, .. } => !matches!(source, Source::Proc { .. }),
            Self::RestrictAll(_)
            | Self::CloneRoot { .. }
            | Self::Mask { .. }
            | Self::ReadOnly(_)
            | Self::Keep { .. }
            | Self::RemountReadOnly(_)
            | Self::Remount { .. }
            | Self::Chroot(_)
            | Self::ChrootTo(_)
            | Self::ChangeDirTo(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DieWithParent(libc::SIGKILL) => f.write_str("ask to be killed when the parent ends"),
            Self::DieWithParent(signal) => write!(f, "ask for signal {signal} when the parent ends"),
            Self::Hide => f.write_str("hide memory and descriptors from processes inside"),
            Self::Join { kinds, of, .. } => write!(f, "join {kinds} of {of}"),
            Self::Fork(kinds) if kinds.is_empty() => f.write_str("fork the command"),
            Self::Fork(kinds) => write!(f, "fork the command, with new {kinds}"),
            Self::Unshare(kinds) => write!(f, "move to new {kinds}"),
            Self::BeginNet => f.write_str("begin to make a net namespace, with lo up, in a second thread"),
            Self::JoinNet => f.write_str("move to the new net namespace"),
            Self::LimitMemory(bytes) => write!(f, "limit memory to {bytes}"),
            Self::TellExec => f.write_str("have the kernel tell of exec"),
            Self::DenySetgroups => f.write_str("deny setgroups"),
            Self::MapUid(map) => write!(f, "map user ids: {}", map.to_string_lossy()),
            Self::MapGid(map) => write!(f, "map group ids: {}", map.to_string_lossy()),
            Self::AwaitMaps => f.write_str("wait for the parent to map ids"),
            Self::MakeFilesAs { user, group } => {
                f.write_str("make files as")?;
                user.iter().try_for_each(|id| write!(f, " user {id}"))?;
                group.iter().try_for_each(|id| write!(f, " group {id}"))
            }
            Self::AwaitParent => f.write_str("wait for the parent"),
            Self::UnshareTime => f.write_str("make a new time namespace for the command"),
            Self::JoinTime => f.write_str("move to that time namespace"),
            Self::OffsetClocks(offsets) => {
                write!(f, "set clock offsets: {}", offsets.to_string_lossy().trim_end().replace('\n', ", "))
            }
            Self::SetHostname(name) => write!(f, "set the hostname to {}", shown(name)),
            Self::SetDomainname(name) => write!(f, "set the domain name to {}", shown(name)),
            Self::Propagate(Propagation::Private) => f.write_str("make all mounts private"),
            Self::Propagate(Propagation::Slave) => f.write_str("make all mounts slaves"),
            Self::Propagate(Propagation::Shared) => f.write_str("make all mounts shared"),
            Self::Propagate(Propagation::Unchanged) => f.write_str("leave the propagation of mounts"),
            Self::Hold(sources) => {
                f.write_str("open before they are covered:")?;
                sources.iter().try_for_each(|(path, _)| write!(f, " {}", shown(path)))
            }
            Self::RestrictAll(restriction) => write!(f, "make all mounts{restriction}"),
            Self::CloneRoot { dir, restriction } => {
                write!(f, "clone the tree at {}{restriction}", shown(dir))
            }
            Self::Mount { source, change, target, .. } if change.words.is_empty() => {
                write!(f, "{source} on {}", shown(target))
            }
            Self::Mount { source, change, target, .. } => {
                write!(f, "{source} on {} ({})", shown(target), change.words.escape_debug())
            }
            Self::Remount { at, change } => {
                write!(f, "remount {} ({})", shown(at), change.words.escape_debug())
            }
            Self::LoadInterpreter { file, line } => write!(f, "write {} to {}", shown(line), shown(file)),
            Self::MakeDir { at, mode, .. } => write!(f, "make the directory {} ({mode:04o})", shown(at)),
            Self::WriteFile { fd, at, mode, .. } => {
                write!(f, "make {} ({mode:04o}) of descriptor {fd}", shown(at))
            }
            Self::ChangeMode { at, mode, .. } => write!(f, "change the mode of {} to {mode:04o}", shown(at)),
            Self::Mask { at, if_there } => {
                write!(f, "mask {}{}", shown(at), if *if_there { ", if it is there" } else { "" })
            }
            Self::ReadOnly(at) => write!(f, "make {} read-only", shown(at)),
            Self::Keep { at, .. } => write!(f, "keep {} in its place, if it could be moved", shown(at)),
            Self::RemountReadOnly(at) => write!(f, "make the mounts below {} read-only", shown(at)),
            Self::Symlink { to, at, .. } => write!(f, "link {} to {}", shown(at), shown(to)),
            Self::PivotRoot => f.write_str("pivot to the new root"),
            Self::Chroot(dir) => write!(f, "change the root to {}", shown(dir)),
            Self::ChrootTo(name) => write!(f, "change the root to {name}"),
            Self::ChangeDirTo(name) => write!(f, "change directory to {name}"),
            Self::LoopbackUp => f.write_str("set lo up"),
            Self::ChangeDir { dir, or_root: false } => write!(f, "change directory to {}", shown(dir)),
            Self::ChangeDir { dir, or_root: true } => write!(f, "change directory to {}, else /", shown(dir)),
            Self::NewSession => f.write_str("begin a new session"),
            Self::ControllingTerminal => f.write_str("make standard input the controlling terminal"),
            Self::Foreground => f.write_str("wait to be in the foreground of the terminal"),
            Self::LeadJob => f.write_str("lead the foreground job of the terminal"),
            Self::Redirect => f.write_str("set up standard input, output and error"),
            Self::SetGroups(groups) if groups.is_empty() => f.write_str("drop supplementary groups"),
            Self::SetGroups(groups) => write!(f, "set supplementary groups {groups:?}"),
            Self::DropGroupsIfAllowed => f.write_str("drop supplementary groups, if they may be"),
            Self::SetGid(id) => write!(f, "become group {id}"),
            Self::SetUid(id) => write!(f, "become user {id}"),
            Self::KeepCapabilities => f.write_str("keep capabilities over exec"),
            Self::EnterCgroup(cgroup) => write!(f, "enter a cgroup of its own ({cgroup})"),
            Self::UnshareCgroup => f.write_str("make a new cgroup namespace with that as its root"),
            Self::SetRlimit(limit) => write!(f, "limit {limit}"),
            Self::NewKeyring => f.write_str("begin a session keyring"),
            Self::SelinuxLabel(label) => write!(f, "take the SELinux context {} at exec", shown(label)),
            Self::ApparmorProfile(word) => {
                let profile = shown(word);
                write!(f, "take the AppArmor profile {} at exec", profile.trim_start_matches("exec "))
            }
            Self::CoreScheduling => f.write_str("share no processor core with others"),
            Self::LimitBounding(set) => write!(f, "limit capabilities to {set}"),
            Self::Securebits(bits) => write!(f, "set securebits {bits:#x}"),
            Self::KeepOverIds => f.write_str("keep capabilities over the change of user"),
            Self::SetCapabilities(sets) => write!(f, "set capabilities: {sets}"),
            Self::Seccomp(filter) => {
                write!(f, "filter system calls: {} ({} instructions)", filter.name, filter.program.len())
            }
            Self::SeccompListener(filter) => {
                let (name, count) = (&filter.name, filter.program.len());
                write!(f, "filter system calls, and ask the parent: {name} ({count} instructions)")
            }
            Self::Landlock(rules) => write!(f, "{rules}"),
            Self::NoNewPrivs => f.write_str("allow no new privileges"),
            Self::Refuse(guard) => write!(f, "refuse {guard}"),
            Self::CloseMarked => f.write_str("close descriptors that are close-on-exec"),
            Self::CloseOthers(keep) if keep.is_empty() => f.write_str("close descriptors from 3 on"),
            Self::CloseOthers(keep) => write!(f, "close descriptors from 3 on, but {keep:?}"),
            Self::Reap => f.write_str("fork the command, and stay as the reaper"),
            Self::Park => f.write_str("wait to be started"),
            Self::Exec(program) => write!(f, "execute {}", shown(program)),
        }
    }
}
