//! What is wanted: a builder in the manner of `std::process::Command`. It touches nothing.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::capability::{Capabilities, CapabilitySet};
use crate::cgroup::Cgroup;
use crate::id_map::{IdRange, Setgroups, SubIds};
use crate::landlock::Landlock;
use crate::layer::{Layer, Missing};
use crate::mount::{Create, Mount, Propagation};
use crate::namespace::{Namespace, Namespaces};
use crate::rlimit::Rlimit;
use crate::seccomp::Filter;
use crate::stdio::Stdio;
use crate::target::Target;

/// Namespaces of a target that the command joins.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    pub target: Target,
    pub kinds: Namespaces,
}

/// A directory that was opened outside, and how it is called.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub fd: Arc<OwnedFd>,
    pub name: String,
}

/// The directory that becomes the root by chroot(2).
#[derive(Clone, Debug)]
pub(crate) enum Chroot {
    /// A path, looked up after the mounts were made.
    Path(PathBuf),
    /// One that was opened before.
    Opened(Opened),
}

/// What is asked for once a layer is given up.
#[derive(Clone)]
pub(crate) struct Alternative {
    pub layer: Layer,
    pub ask: Arc<dyn Fn(&mut Command) + Send + Sync>,
}

impl fmt::Debug for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instead of {}", self.layer)
    }
}

/// A process to be started in new namespaces.
///
/// What [`std::process::Command`] has keeps its name and meaning here. Only what is asked for
/// is done: `lo` stays down in a new network namespace, and `/proc` stays as it is; but a new
/// mount namespace is private, unless [`propagation`](Self::propagation) says otherwise.
///
/// ```no_run
/// use sept::{Command, Namespace};
///
/// let status = Command::new("sh")
///     .unshare([Namespace::User, Namespace::Uts, Namespace::Pid])
///     .map_uid(1234, 0, 1)
///     .map_gid(1234, 0, 1)
///     .hostname("inner")
///     .status()?;
/// # Ok::<(), sept::Error>(())
/// ```
#[derive(Debug)]
pub struct Command {
    pub(crate) program: CString,
    pub(crate) args: Vec<CString>,
    pub(crate) env_cleared: bool,
    pub(crate) env: BTreeMap<OsString, Option<OsString>>,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) dir_or_root: bool,
    pub(crate) stdio: [Option<Stdio>; 3],
    pub(crate) namespaces: Namespaces,
    pub(crate) joins: Vec<Join>,
    pub(crate) chroot: Option<Chroot>,
    pub(crate) opened_dir: Option<Opened>,
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) own_cgroup: Option<Cgroup>,
    pub(crate) persist: Vec<(Namespace, PathBuf)>,
    pub(crate) uid_map: Vec<IdRange>,
    pub(crate) gid_map: Vec<IdRange>,
    pub(crate) subids: Option<SubIds>,
    pub(crate) map_all: bool,
    pub(crate) setgroups: Option<Setgroups>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Option<Vec<u32>>,
    pub(crate) drop_groups_if_allowed: bool,
    pub(crate) keep_groups: bool,
    pub(crate) keep_capabilities: bool,
    pub(crate) capabilities: Option<Capabilities>,
    pub(crate) bounding: Option<CapabilitySet>,
    pub(crate) securebits: Option<u32>,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) landlock: Landlock,
    pub(crate) filters: Vec<Filter>,
    pub(crate) seccomp_listener: bool,
    pub(crate) new_keyring: bool,
    pub(crate) selinux_label: Option<CString>,
    pub(crate) apparmor_profile: Option<CString>,
    pub(crate) core_scheduling: bool,
    pub(crate) hostname: Option<CString>,
    pub(crate) domainname: Option<CString>,
    pub(crate) monotonic: Option<i64>,
    pub(crate) boottime: Option<i64>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) root: Option<PathBuf>,
    pub(crate) read_only: bool,
    pub(crate) no_devices: bool,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) interpreters: Vec<(PathBuf, String)>,
    pub(crate) create: Create,
    pub(crate) loopback: bool,
    pub(crate) new_session: bool,
    pub(crate) controlling_terminal: bool,
    pub(crate) foreground: bool,
    pub(crate) no_new_privs: bool,
    pub(crate) refuse_terminal_injection: bool,
    pub(crate) refuse_cgroup_namespaces: bool,
    pub(crate) keeps_in_place: Option<bool>,
    /// Whether filters refuse what goes around Landlock: until filters are given up.
    pub(crate) guards_landlock: bool,
    pub(crate) keep: Option<Vec<RawFd>>,
    pub(crate) init: bool,
    pub(crate) parent_death_signal: Option<i32>,
    pub(crate) fault: Option<(usize, i32)>,
    pub(crate) if_possible: Vec<Layer>,
    pub(crate) alternatives: Vec<Alternative>,
    pub(crate) missing: Vec<Missing>,
    /// The first setter that was given something impossible; told at `plan`.
    pub(crate) problem: Option<String>,
}

impl Command {
    /// A command for `program`, a path or a name to be looked up in `PATH` (inside the new root).
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut problem = None;
        let program = c_string("the program's name", program.as_ref(), &mut problem);
        Self {
            args: vec![program.clone()],
            program,
            env_cleared: false,
            env: BTreeMap::new(),
            dir: None,
            dir_or_root: false,
            stdio: [None, None, None],
            namespaces: Namespaces::NONE,
            joins: Vec::new(),
            chroot: None,
            opened_dir: None,
            cgroup: None,
            own_cgroup: None,
            persist: Vec::new(),
            uid_map: Vec::new(),
            gid_map: Vec::new(),
            subids: None,
            map_all: false,
            setgroups: None,
            uid: None,
            gid: None,
            groups: None,
            drop_groups_if_allowed: false,
            keep_groups: false,
            keep_capabilities: false,
            capabilities: None,
            bounding: None,
            securebits: None,
            rlimits: Vec::new(),
            landlock: Landlock::default(),
            filters: Vec::new(),
            seccomp_listener: false,
            new_keyring: false,
            selinux_label: None,
            apparmor_profile: None,
            core_scheduling: false,
            hostname: None,
            domainname: None,
            monotonic: None,
            boottime: None,
            propagation: None,
            root: None,
            read_only: false,
            no_devices: false,
            mounts: Vec::new(),
            interpreters: Vec::new(),
            create: Create::Own,
            loopback: false,
            new_session: false,
            controlling_terminal: false,
            foreground: false,
            no_new_privs: false,
            refuse_terminal_injection: false,
            refuse_cgroup_namespaces: false,
            keeps_in_place: None,
            guards_landlock: true,
            keep: None,
            init: false,
            parent_death_signal: None,
            fault: None,
            if_possible: Vec::new(),
            alternatives: Vec::new(),
            missing: Vec::new(),
            problem,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        let arg = c_string("an argument", arg.as_ref(), &mut self.problem);
        self.args.push(arg);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        args.into_iter().for_each(|arg| {
            self.arg(arg);
        });
        self
    }

    /// Sets what the program sees as its own name, argument zero.
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.args[0] = c_string("argument zero", name.as_ref(), &mut self.problem);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let (key, value) = (key.as_ref(), value.as_ref());
        if key.is_empty() || key.as_bytes().contains(&b'=') {
            self.reject(format!("the environment variable name {key:?} is empty or holds '='"));
        }
        c_string("an environment variable", key, &mut self.problem);
        c_string("an environment variable", value, &mut self.problem);
        self.env.insert(key.to_owned(), Some(value.to_owned()));
        self
    }

    /// Sets variables of the environment.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Self {
        variables.into_iter().for_each(|(key, value)| {
            self.env(key, value);
        });
        self
    }

    /// Takes a variable out of the environment.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Self {
        if self.env_cleared {
            self.env.remove(key.as_ref());
        } else {
            self.env.insert(key.as_ref().to_owned(), None);
        }
        self
    }

    /// Begins with an empty environment, instead of the caller's.
    pub fn env_clear(&mut self) -> &mut Self {
        self.env_cleared = true;
        self.env.clear();
        self
    }

    /// The working directory, as seen inside. A link of procfs on the way, as `/proc/self/fd/3`, is refused.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.dir = Some(dir.as_ref().to_path_buf());
        self.dir_or_root = false;
        self
    }

    /// The working directory if it exists inside, else `/`; `PWD` says which it became.
    pub fn current_dir_or_root(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.dir = Some(dir.as_ref().to_path_buf());
        self.dir_or_root = true;
        self
    }

    /// Standard input: inherited by `spawn` and `status`, closed off by `output`, unless set.
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio[0] = Some(stdio.into());
        self
    }

    /// Standard output: inherited by `spawn` and `status`, captured by `output`, unless set.
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio[1] = Some(stdio.into());
        self
    }

    /// Standard error: inherited by `spawn` and `status`, captured by `output`, unless set.
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdio[2] = Some(stdio.into());
        self
    }

    /// Adds namespaces to be new for the command.
    pub fn unshare(&mut self, kinds: impl IntoIterator<Item = Namespace>) -> &mut Self {
        kinds.into_iter().for_each(|kind| self.namespaces.insert(kind));
        self
    }

    /// Joins namespaces of a process, or the one that a file is; those that the calling thread is in already are left out.
    ///
    /// The order is found from who owns what: the user namespace goes first where it gives the right to the others, and
    /// last where the right to them is outside. Kinds that [`unshare`](Self::unshare) asks for are made after that.
    /// A joined pid namespace is that of the command; setns(2).
    ///
    /// The joining is done by a copy of the calling process, as by fork(2), in which nobody inside can look around.
    pub fn join(&mut self, target: &Target, kinds: impl IntoIterator<Item = Namespace>) -> &mut Self {
        self.joins.push(Join { target: target.clone(), kinds: kinds.into_iter().collect() });
        self
    }

    /// Binds the command's namespace of this kind to a file, where it stays after the command's end; as
    /// `unshare --net=FILE`. Where the start fails, or what is parked is not started, it is unmounted again. Needs CAP_SYS_ADMIN. A mount namespace can be bound on a private mount only.
    pub fn persist(&mut self, kind: Namespace, file: impl AsRef<Path>) -> &mut Self {
        self.persist.push((kind, file.as_ref().to_path_buf()));
        self
    }

    /// Makes a directory of the command's own mount namespace its root, by chroot(2). No enclosure: who has
    /// CAP_SYS_CHROOT gets out of it. [`root`](Self::root) is one.
    pub fn chroot(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.chroot = Some(Chroot::Path(dir.as_ref().to_path_buf()));
        self
    }

    /// Makes a directory that was opened before the root, by chroot(2); `name` is for plans and errors.
    pub fn chroot_to(&mut self, dir: OwnedFd, name: impl Into<String>) -> &mut Self {
        self.chroot = Some(Chroot::Opened(Opened { fd: Arc::new(dir), name: name.into() }));
        self
    }

    /// Makes a directory that was opened before the working directory; `name` is for plans and errors.
    pub fn current_dir_to(&mut self, dir: OwnedFd, name: impl Into<String>) -> &mut Self {
        self.opened_dir = Some(Opened { fd: Arc::new(dir), name: name.into() });
        self
    }

    /// Puts the command into a cgroup, by its directory, before it runs. One that is of no cgroup file system is an error.
    pub fn join_cgroup(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.cgroup = Some(dir.as_ref().to_path_buf());
        self
    }

    /// Adds a range to the user id map: `count` ids from `inside` on are those from `outside` on.
    pub fn map_uid(&mut self, inside: u32, outside: u32, count: u32) -> &mut Self {
        self.uid_map.push(IdRange { inside, outside, count });
        self
    }

    /// Adds a range to the group id map.
    pub fn map_gid(&mut self, inside: u32, outside: u32, count: u32) -> &mut Self {
        self.gid_map.push(IdRange { inside, outside, count });
        self
    }

    /// Maps the caller's user and group to 0 inside: `unshare --map-root-user`.
    pub fn map_root(&mut self) -> &mut Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        self.map_uid(0, uid, 1).map_gid(0, gid, 1)
    }

    /// Maps the caller and its subordinate ids of `/etc/subuid` and `/etc/subgid`.
    pub fn map_subids(&mut self, layout: SubIds) -> &mut Self {
        self.subids = Some(layout);
        self
    }

    /// The caller's own maps, unchanged: every id inside is the same outside. Needs CAP_SETUID and CAP_SETGID.
    pub fn map_all(&mut self) -> &mut Self {
        self.map_all = true;
        self
    }

    /// Whether setgroups(2) may be used inside. Without it: denied where the kernel demands that, else allowed.
    pub fn setgroups(&mut self, policy: Setgroups) -> &mut Self {
        self.setgroups = Some(policy);
        self
    }

    /// The user id to run as, as seen inside. One that is not the caller's, without a new user namespace, costs a copy of the caller's
    /// memory, as fork(2) does. A caller of user 0 drops its supplementary groups, as std's does, unless [`groups`](Self::groups) or
    /// [`keep_groups`](Self::keep_groups) says otherwise, or the user namespace refuses that.
    pub fn uid(&mut self, id: u32) -> &mut Self {
        self.uid = Some(id);
        self
    }

    /// The group id to run as, as seen inside.
    pub fn gid(&mut self, id: u32) -> &mut Self {
        self.gid = Some(id);
        self
    }

    /// The supplementary groups, as seen inside; 256 at most. Empty drops them all.
    pub fn groups(&mut self, groups: impl IntoIterator<Item = u32>) -> &mut Self {
        self.groups = Some(groups.into_iter().collect());
        self
    }

    /// Drops the supplementary groups unless the user namespace refuses setgroups(2), as one with an unprivileged map does.
    pub fn drop_groups_if_allowed(&mut self) -> &mut Self {
        self.drop_groups_if_allowed = true;
        self
    }

    /// Keeps the caller's supplementary groups also where a caller of user 0 becomes another user.
    pub fn keep_groups(&mut self) -> &mut Self {
        self.keep_groups = true;
        self
    }

    /// Keeps the capabilities that the new user namespace gives, also for a user other than root: they become ambient;
    /// capabilities(7), since Linux 4.3.
    pub fn keep_capabilities(&mut self) -> &mut Self {
        self.keep_capabilities = true;
        self
    }

    /// What exec may give at most: all else leaves the capability bounding set; capabilities(7). A command of user 0 has no
    /// more than this. Needs CAP_SETPCAP, as a new user namespace gives it.
    pub fn limit_capabilities(&mut self, keep: CapabilitySet) -> &mut Self {
        self.bounding = Some(keep);
        self
    }

    /// The five capability sets, set after the ids and read back before exec.
    pub fn capabilities(&mut self, sets: Capabilities) -> &mut Self {
        self.capabilities = Some(sets);
        self
    }

    /// The securebits flags: prctl(PR_SET_SECUREBITS), capabilities(7). Needs CAP_SETPCAP.
    pub fn securebits(&mut self, bits: u32) -> &mut Self {
        self.securebits = Some(bits);
        self
    }

    /// Gives the command a cgroup of its own, with limits. Needs the right to make cgroups. Not with [`exec`](Self::exec):
    /// nobody would remove it. A new cgroup namespace has it as its root.
    pub fn cgroup(&mut self, cgroup: Cgroup) -> &mut Self {
        self.own_cgroup = Some(cgroup);
        self
    }

    /// Sets a resource limit, getrlimit(2); the last of a kind holds. Raising a hard limit needs CAP_SYS_RESOURCE outside of any user namespace.
    pub fn rlimit(&mut self, limit: Rlimit) -> &mut Self {
        self.rlimits.retain(|known| known.resource != limit.resource);
        self.rlimits.push(limit);
        self
    }

    /// Confines the command by Landlock (Linux 5.13); needs [`no_new_privs`](Self::no_new_privs) or CAP_SYS_ADMIN. Where it
    /// confines ports, a filter, seccomp(2), refuses the ways to a port that Landlock does not see: MPTCP
    /// (EPROTONOSUPPORT), SMC (EAFNOSUPPORT), TCP Fast Open (EOPNOTSUPP), the socket option TCP_ULP, by which a socket becomes
    /// one of SMC or of kernel TLS (ENOENT), and io_uring and the i386 call socketcall (ENOSYS). Where it keeps signals inside and
    /// the pid namespace is not new, a filter refuses to set the limits of other processes by prlimit(2) (EPERM).
    pub fn landlock(&mut self, rules: Landlock) -> &mut Self {
        self.landlock = rules;
        self
    }

    /// Adds a system call filter, seccomp(2): a compiled [`Policy`](crate::seccomp::Policy). Needs
    /// [`no_new_privs`](Self::no_new_privs) or CAP_SYS_ADMIN. It is put on last, so that it need not allow set-up; but
    /// before the rights go where there is no no_new_privs.
    pub fn seccomp(&mut self, filter: Filter) -> &mut Self {
        self.filters.push(filter);
        self
    }

    /// The caller answers the calls for which a filter has [`Action::Notify`](crate::seccomp::Action::Notify), by
    /// [`Child::seccomp_listener`](crate::Child::seccomp_listener); Linux 5.5. One filter can have such calls, and must allow
    /// sendmsg(2), by which the listener gets out. What set-up itself still calls is let through.
    ///
    /// Not with [`exec`](Self::exec), [`status`](Self::status) and [`output`](Self::output): nobody would answer.
    pub fn seccomp_listener(&mut self) -> &mut Self {
        self.seccomp_listener = true;
        self
    }

    /// Gives the command a session keyring of its own: keyctl_join_session_keyring(3). Those of the caller stay out of reach.
    pub fn new_session_keyring(&mut self) -> &mut Self {
        self.new_keyring = true;
        self
    }

    /// The SELinux context that the command gets at exec: `/proc/self/attr/exec`, proc_pid_attr(5).
    pub fn selinux_label(&mut self, label: impl AsRef<OsStr>) -> &mut Self {
        self.selinux_label = Some(c_string("the SELinux context", label.as_ref(), &mut self.problem));
        self
    }

    /// The AppArmor profile that the command gets at exec: `/proc/self/attr/apparmor/exec` (Linux 5.8), aa_change_onexec(2). It
    /// must be loaded.
    pub fn apparmor_profile(&mut self, profile: impl AsRef<OsStr>) -> &mut Self {
        let profile = c_string("the AppArmor profile", profile.as_ref(), &mut self.problem);
        if profile.is_empty() {
            self.reject("the name of the AppArmor profile is empty".to_owned());
        }
        self.apparmor_profile = Some(profile);
        self
    }

    /// Lets no process but those of the command share a processor core's threads with it: prctl(PR_SCHED_CORE), Linux 5.14.
    pub fn core_scheduling(&mut self) -> &mut Self {
        self.core_scheduling = true;
        self
    }

    /// The hostname inside, at most 64 bytes. Needs a new uts namespace.
    pub fn hostname(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.hostname = Some(c_string("the hostname", name.as_ref(), &mut self.problem));
        self
    }

    /// The NIS domain name inside, at most 64 bytes. Needs a new uts namespace.
    pub fn domainname(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.domainname = Some(c_string("the domain name", name.as_ref(), &mut self.problem));
        self
    }

    /// Seconds to add to the monotonic clock inside. Needs a new time namespace.
    pub fn monotonic_offset(&mut self, seconds: i64) -> &mut Self {
        self.monotonic = Some(seconds);
        self
    }

    /// Seconds to add to the boot-time clock inside. Needs a new time namespace.
    pub fn boottime_offset(&mut self, seconds: i64) -> &mut Self {
        self.boottime = Some(seconds);
        self
    }

    /// How mounts pass between the caller's mount namespace and the new one; private without it.
    pub fn propagation(&mut self, propagation: Propagation) -> &mut Self {
        self.propagation = Some(propagation);
        self
    }

    /// The directory that becomes `/`, by pivot_root(2). Needs a new mount namespace.
    pub fn root(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.root = Some(dir.as_ref().to_path_buf());
        self
    }

    /// Makes the root, with all mounts below it, read-only (before [`mount`](Self::mount)s are made).
    pub fn read_only(&mut self) -> &mut Self {
        self.read_only = true;
        self
    }

    /// Device files in the tree that the command begins with do not work (`nodev` of mount(8), before [`mount`](Self::mount)s
    /// are made); those of [`Mount::dev`] and of binds that ask for devices do.
    pub fn no_devices(&mut self) -> &mut Self {
        self.no_devices = true;
        self
    }

    /// Adds a mount; they are made in the order given. Sources of binds are what the caller sees at the beginning.
    pub fn mount(&mut self, mount: Mount) -> &mut Self {
        self.mounts.push(mount);
        self
    }

    /// Registers a binary format at a [`Mount::binfmt_misc`]: `:name:type:offset:magic:mask:interpreter:flags`.
    pub fn load_interpreter(&mut self, mount: impl AsRef<Path>, line: impl Into<String>) -> &mut Self {
        self.interpreters.push((mount.as_ref().to_path_buf(), line.into()));
        self
    }

    /// Where missing mount points may be made; only in tmpfs of the command's own without it.
    pub fn create(&mut self, create: Create) -> &mut Self {
        self.create = create;
        self
    }

    /// Sets the interface `lo` up. Needs a new network namespace.
    pub fn loopback(&mut self) -> &mut Self {
        self.loopback = true;
        self
    }

    /// Begins a new session, setsid(2).
    pub fn new_session(&mut self) -> &mut Self {
        self.new_session = true;
        self
    }

    /// Begins a new session with standard input as its controlling terminal.
    pub fn controlling_terminal(&mut self) -> &mut Self {
        self.new_session = true;
        self.controlling_terminal = true;
        self
    }

    /// Whether all mounts are restricted.
    pub(crate) fn restricts(&self) -> bool {
        self.read_only || self.no_devices
    }

    /// Puts the command into a process group of its own, in the foreground of the terminal on the caller's standard
    /// input, and the caller into it, too: both get what is typed.
    ///
    /// In a new pid namespace the caller's group has no number; a shell that wants to give the terminal back to it at
    /// its end, as dash, fails at that.
    pub fn foreground(&mut self) -> &mut Self {
        self.foreground = true;
        self
    }

    /// No program inside gains privileges by exec: prctl(PR_SET_NO_NEW_PRIVS), Linux 3.5.
    pub fn no_new_privs(&mut self) -> &mut Self {
        self.no_new_privs = true;
        self
    }

    /// Refuses the ioctls TIOCSTI and TIOCLINUX, by which a program types into a terminal that it shares.
    pub fn refuse_terminal_injection(&mut self) -> &mut Self {
        self.refuse_terminal_injection = true;
        self
    }

    /// Refuses new cgroup namespaces to the command: with one in a user namespace of its own it could mount cgroups anew,
    /// writable to the user who owns their files. By a filter, for which clone3(2) does not exist (ENOSYS). Needs
    /// [`no_new_privs`](Self::no_new_privs) or CAP_SYS_ADMIN, as a new user namespace gives it.
    pub fn refuse_cgroup_namespaces(&mut self) -> &mut Self {
        self.refuse_cgroup_namespaces = true;
        self
    }

    /// Keeps mounts where they are, as [`Mount::stays`] has it: a command could rename a directory above, and look into it by another
    /// mount; and in namespaces of its own the mount point itself, so with `refuse` a filter as above refuses it user namespaces.
    pub fn keep_in_place(&mut self, refuse: bool) -> &mut Self {
        self.keeps_in_place = Some(refuse);
        self
    }

    /// Closes all descriptors but 0, 1, 2 and these. Without it: those that are not close-on-exec are kept; through one of a
    /// directory, a program of a root that is not trusted gets outside. A number below 0 is an error.
    pub fn keep_fds(&mut self, descriptors: impl IntoIterator<Item = RawFd>) -> &mut Self {
        self.keep = Some(descriptors.into_iter().collect());
        self
    }

    /// Puts a reaper in as PID 1, which passes signals on and collects orphans. Needs a new pid namespace.
    ///
    /// The reaper is a copy of the calling process, as by fork(2): its cost grows with the caller's memory.
    pub fn init(&mut self) -> &mut Self {
        self.init = true;
        self
    }

    /// Kills the command when the *thread* that spawns it ends: prctl(PR_SET_PDEATHSIG).
    pub fn die_with_parent(&mut self) -> &mut Self {
        self.parent_death_signal(libc::SIGKILL)
    }

    /// Sends the command this signal when the *thread* that spawns it ends: prctl(PR_SET_PDEATHSIG).
    pub fn parent_death_signal(&mut self, signal: i32) -> &mut Self {
        self.parent_death_signal = Some(signal);
        self
    }

    /// For tests: makes the step of this index (from 1) fail with this errno.
    #[doc(hidden)]
    pub fn inject_fault(&mut self, step: usize, errno: i32) -> &mut Self {
        self.fault = Some((step, errno));
        self
    }

    fn reject(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }
}

/// `text` as a C string. A NUL byte is remembered, and told once, when the command is planned.
pub(crate) fn c_string(what: &str, text: &OsStr, problem: &mut Option<String>) -> CString {
    CString::new(text.as_bytes()).unwrap_or_else(|_| {
        problem.get_or_insert_with(|| format!("{what} holds a NUL byte: {text:?}"));
        CString::default()
    })
}
