//! From what is wanted to a list of steps. Pure: it touches nothing.
//!
//! ALL rules of order are here, each with its reason.

mod ids;
mod join;
pub(crate) mod layers;
mod options;
mod privileges;
mod root;
mod source;
mod sources;
pub mod step;

use std::ffi::{CString, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::command::Command;
use crate::error::{Advice, Error};
use crate::host::Host;
use crate::layer::Layer;
use crate::mount::Propagation;
use crate::namespace::{Namespace, Namespaces};
pub(crate) use privileges::guards;
pub(crate) use root::NULL;
use step::{Source, Step};

/// What will be done, in order. [`Display`](fmt::Display) prints it as a numbered list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Who performs the steps.
    pub way: Way,
    /// The new namespaces.
    pub namespaces: Namespaces,
    /// What the parent does right after the clone.
    pub duties: Vec<Duty>,
    /// What the child does.
    pub steps: Vec<Step>,
    /// Whether the caller is not dumpable, prctl(2), until the child has executed its program, and the child with it.
    pub hidden: bool,
    /// What may be given up if it can't be had, and the plan made anew without it.
    pub if_possible: Vec<Layer>,
}

/// Who performs the steps of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A new process: [`Command::spawn`].
    Spawn,
    /// The calling process: [`Command::exec`].
    InPlace,
}

/// What only the parent has the right to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Duty {
    /// Writes `content` to this file of `/proc/PID`.
    Write {
        /// `uid_map`, `gid_map` or `setgroups`.
        file: &'static str,
        /// What to write.
        content: String,
    },
    /// Runs newuidmap(1) or newgidmap(1) for the child, with these arguments after the pid.
    Helper {
        /// Its name.
        program: &'static str,
        /// Inside, outside, count, and again.
        args: Vec<u32>,
    },
    /// Binds the child's namespace of this kind to a file, mount(2).
    Persist {
        /// Which.
        kind: Namespace,
        /// Where.
        file: PathBuf,
    },
    /// Writes the child's pid to `cgroup.procs` in this directory.
    JoinCgroup(PathBuf),
    /// setpgid(2) and tcsetpgrp(3): the child leads a process group in the foreground, and the parent is in it.
    Foreground,
}

impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { file, content } => {
                write!(f, "write {} to /proc/PID/{file}", content.trim_end().replace('\n', ", "))
            }
            Self::Helper { program, args } => {
                write!(f, "run {program} PID")?;
                args.iter().try_for_each(|number| write!(f, " {number}"))
            }
            Self::Persist { kind, file } => {
                write!(f, "bind the {kind} namespace of PID to {}", file.display())
            }
            Self::JoinCgroup(dir) => write!(f, "move PID to the cgroup {}", dir.display()),
            Self::Foreground => f.write_str("put PID in the foreground of the terminal, and join its job"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.way {
            Way::InPlace => writeln!(f, "in place: this process itself")?,
            Way::Spawn if self.is_staged() => writeln!(f, "clone: a copy of this process")?,
            Way::Spawn => {
                let copy = if self.is_copied() { "a copy of this process, " } else { "" };
                match self.cloned() {
                    Namespaces::NONE => writeln!(f, "clone: {copy}no new namespace")?,
                    kinds => writeln!(f, "clone: {copy}new {kinds}")?,
                }
            }
        }
        for duty in &self.duties {
            let who = if self.way == Way::InPlace { "helper" } else { "parent" };
            writeln!(f, "{who}: {duty}")?;
        }
        for (n, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:2}. {step}", n + 1)?;
        }
        for layer in &self.if_possible {
            writeln!(f, "if possible: {layer}, else {}", layer.without())?;
        }
        Ok(())
    }
}

impl Plan {
    /// The plan for `command` on a host with these facts.
    pub(crate) fn lower(command: &Command, host: &Host, way: Way, park: bool) -> Result<Self, Error> {
        validate(command)?;
        privileges::check_filters(command, way)?;
        let mut steps = Vec::with_capacity(16);
        let mut duties = Vec::new();
        // First of all: a child whose parent is gone must not go on.
        steps.extend(command.parent_death_signal.map(Step::DieWithParent));
        let memory = MemoryLimit::of(command, host, way);
        let copied = memory == MemoryLimit::Copied
            || is_exposed(command, host, way)
            || host.time_at_fork && shares_memory(command, host, way);
        if copied {
            steps.push(Step::TellExec);
        }
        own_cgroup(command, way, &mut steps)?;
        let beside = !copied && makes_net_beside(command, host, way);
        if beside {
            steps.push(Step::BeginNet);
        }
        // Joined before new ones are made: in a new user namespace there would be no right to join.
        join::steps(command, host, way, &mut steps)?;
        if way == Way::InPlace && command.namespaces.contains(Namespace::User) && host.may_write_hidden() {
            steps.push(Step::Hide);
        }
        if way == Way::InPlace && !command.namespaces.is_empty() {
            steps.push(Step::Unshare(command.namespaces));
        }
        // After the cgroup, so that nothing outside that has a name inside.
        if command.own_cgroup.is_some() && command.namespaces.contains(Namespace::Cgroup) {
            steps.push(Step::UnshareCgroup);
        }
        // Ids before anything that makes files: without a map their owner would be nobody (EOVERFLOW).
        ids::map(command, host, &mut steps, &mut duties)?;
        identity(command, &mut steps);
        // After what is written to files of /proc/self, which hiding takes away.
        if !host.joins.is_empty() && join::hides_late(command, host) {
            steps.push(Step::Hide);
        }
        keep_and_place(command, way, &mut steps, &mut duties)?;
        // Before the mounts: it needs nothing of them, and what it waits for (a lock) is the longest.
        if command.loopback && !beside {
            steps.push(Step::LoopbackUp);
        }
        root::mounts(command, host, &mut steps)?;
        if beside {
            // A sysfs shows the net namespace of who mounts it; what others do with it, nobody knows here.
            let shows = |step: &Step| {
                matches!(step, Step::Mount { source: Source::Sysfs | Source::FileSystem { .. }, .. })
            };
            let at = steps.iter().position(shows).unwrap_or(steps.len());
            steps.insert(at, Step::JoinNet);
        }
        steps.extend(command.opened_dir.as_ref().map(|dir| Step::ChangeDirTo(dir.name.clone())));
        if command.stdio.iter().any(Option::is_some) {
            steps.push(Step::Redirect);
        }
        // After Redirect: the terminal is the new standard input.
        if command.new_session {
            steps.push(Step::NewSession);
        }
        if command.controlling_terminal {
            steps.push(Step::ControllingTerminal);
        }
        if command.foreground {
            duties.push(Duty::Foreground);
            steps.push(Step::Foreground);
        }
        // After the root: it is a path inside. Before the ids: a root outside may enter what its user may not.
        let dir = root::directory(command, host)?;
        steps.extend(dir.map(|(dir, or_root)| Step::ChangeDir { dir, or_root }));
        // The last that takes memory are the mounts. Before the filters, which need not allow it.
        if let MemoryLimit::Late(bytes) = memory {
            steps.push(Step::LimitMemory(bytes));
        }
        privileges::steps(command, host, &mut steps)?;
        // After every step that opens something.
        if let Some(keep) = &command.keep {
            let mut keep: Vec<i32> = keep.iter().copied().filter(|fd| *fd > 2).collect();
            keep.sort_unstable();
            keep.dedup();
            steps.push(Step::CloseOthers(keep));
        } else if park || steps.iter().any(Step::narrows) {
            // One that waits as long as it likes holds nobody's pipe open meanwhile.
            steps.push(Step::CloseMarked);
        }
        if command.init {
            steps.push(Step::Reap);
            // The kernel stops nobody whose parent is not in his session, and in another group there.
            steps.extend(command.controlling_terminal.then_some(Step::LeadJob));
        }
        // Behind all that it would have to allow otherwise; the reaper needs none.
        if command.no_new_privs {
            steps.extend(privileges::filters(command));
        }
        if park {
            steps.push(Step::Park);
        }
        steps.push(Step::Exec(command.program.clone()));
        let if_possible = command.if_possible.clone();
        let hidden = host.may_write_hidden() && way == Way::Spawn;
        Ok(Self { way, namespaces: command.namespaces, duties, steps, hidden, if_possible })
    }

    /// Whether a first child joins, and makes the command as a second one.
    pub(crate) fn is_staged(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Fork(_)))
    }

    /// Whether the child has a copy of the caller's memory, as by fork, until exec.
    pub(crate) fn is_copied(&self) -> bool {
        self.steps.contains(&Step::TellExec)
    }

    /// Whether the command may find itself in `/`, and not where it was to be.
    pub(crate) fn may_fall_to_root(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::ChangeDir { or_root: true, .. }))
    }

    /// Whether a thread of the child makes the net namespace.
    pub(crate) fn makes_net_beside(&self) -> bool {
        self.steps.contains(&Step::BeginNet)
    }

    /// Whether the child sets the limit of memory of its cgroup itself.
    pub(crate) fn limits_late(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::LimitMemory(_)))
    }

    /// The `CLONE_NEW*` flags of the clone that makes the command: all but what a step makes.
    pub(crate) fn clone_flags(&self) -> u64 {
        self.cloned().flags()
    }

    fn cloned(&self) -> Namespaces {
        let mut namespaces = self.namespaces;
        if self.steps.contains(&Step::UnshareTime) {
            namespaces.remove(Namespace::Time);
        }
        if self.makes_net_beside() {
            namespaces.remove(Namespace::Net);
        }
        if self.steps.contains(&Step::UnshareCgroup) {
            namespaces.remove(Namespace::Cgroup);
        }
        namespaces
    }

    /// Whether a namespace of this kind is joined.
    pub(crate) fn joins(&self, kind: Namespace) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Join { kinds, .. } if kinds.contains(kind)))
    }

    /// Whether a step changes user or group ids.
    pub(crate) fn changes_ids(&self) -> bool {
        let changes = |step: &Step| {
            matches!(step, Step::SetUid(_) | Step::SetGid(_) | Step::SetGroups(_) | Step::MakeFilesAs { .. })
        };
        self.steps.iter().any(changes)
    }
}

/// Before all that takes memory or makes a process: the limits are for that, too.
fn own_cgroup(command: &Command, way: Way, steps: &mut Vec<Step>) -> Result<(), Error> {
    let Some(cgroup) = &command.own_cgroup else { return Ok(()) };
    if way == Way::InPlace {
        return Err(Error::invalid(
            "a command in place can't have a cgroup of its own: nobody would remove it",
        ));
    }
    if command.cgroup.is_some() {
        return Err(Error::invalid("a cgroup to join and one of its own exclude each other"));
    }
    cgroup.check().map_err(Error::invalid)?;
    cgroup.parent.as_ref().map(|parent| path("the parent cgroup", parent)).transpose()?;
    steps.push(Step::EnterCgroup(cgroup.clone()));
    Ok(())
}

/// Whether a second thread makes the net namespace: where lo is to be set up there, for which the kernel has one lock, and there
/// is more to do meanwhile than to mount proc. Not where somebody looks at it in between, where only one thread may move, or
/// where memory or processes are scarce: the kernel counts a thread for a moment after its end.
fn makes_net_beside(command: &Command, host: &Host, way: Way) -> bool {
    command.namespaces.contains(Namespace::Net)
        && command.loopback
        && command.namespaces.contains(Namespace::Mount)
        && command.mounts.len() > 1
        && way == Way::Spawn
        && host.joins.is_empty()
        && !(command.init && command.namespaces.contains(Namespace::Time))
        && command.own_cgroup.as_ref().and_then(|cgroup| cgroup.pids).is_none_or(|most| most > 2)
        && command.persist.iter().all(|(kind, _)| *kind != Namespace::Net)
}

/// Whether the child is one that shares the caller's memory, unless it has a copy by a step. A reaper's child, and one that joins, has
/// memory of its own anyway.
fn shares_memory(command: &Command, host: &Host, way: Way) -> bool {
    way == Way::Spawn && !command.init && host.joins.is_empty()
}

/// Whether others could reach into the caller's memory by the child, who may not do so by the caller: then the child has a copy. One
/// that becomes another user, where no user namespace of its own guards it, is that user's other processes' to trace as soon as the
/// kernel counts it as one of theirs. And where a change of ids undoes the hiding, for a moment.
fn is_exposed(command: &Command, host: &Host, way: Way) -> bool {
    let another =
        command.uid.is_some_and(|uid| uid != host.uid) && !command.namespaces.contains(Namespace::User);
    (another || host.exposed || host.shows_changed) && shares_memory(command, host, way)
}

/// How the command gets its limit of memory. The kernel counts a tmpfs where the process is that has the memory of who
/// writes to it: what set-up writes would be the caller's. And when there is too much it kills all processes that share
/// memory with its victim: the caller, too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MemoryLimit {
    /// There is none, or the child has memory of its own anyway: a reaper's, or as one that joins.
    Plain,
    /// In the end, so that set-up may share the caller's memory: it writes no file, and does not come near the limit.
    Late(u64),
    /// From the beginning, in a copy of the caller's memory.
    Copied,
}

impl MemoryLimit {
    fn of(command: &Command, host: &Host, way: Way) -> Self {
        let Some(cgroup) = &command.own_cgroup else { return Self::Plain };
        if command.init || !host.joins.is_empty() || way == Way::InPlace {
            return Self::Plain;
        }
        // Above a cgroup that was named there may be limits that the caller is not under.
        if cgroup.parent.is_some() {
            return Self::Copied;
        }
        if !cgroup.limits_memory() {
            return Self::Plain;
        }
        cgroup
            .far_memory()
            .filter(|_| !command.mounts.iter().any(|mount| mount.writes_content()))
            .map_or(Self::Copied, Self::Late)
    }
}

/// What others do to the child while it waits: files that keep its namespaces, its cgroup.
fn keep_and_place(
    command: &Command,
    way: Way,
    steps: &mut Vec<Step>,
    duties: &mut Vec<Duty>,
) -> Result<(), Error> {
    for (kind, file) in &command.persist {
        if !command.namespaces.contains(*kind) {
            return Err(Error::invalid(format!("only a new {kind} namespace can be kept by a file")));
        }
        if way == Way::InPlace && *kind == Namespace::Pid {
            return Err(Error::invalid_with(
                "a pid namespace can be kept by a file only once it has a process",
                Advice { why: vec![], fix: vec!["fork the command: --fork".to_owned()] },
            ));
        }
        path("the file for a namespace", file)?;
        duties.push(Duty::Persist { kind: *kind, file: file.clone() });
    }
    command.cgroup.as_ref().map(|dir| path("the cgroup", dir)).transpose()?;
    duties.extend(command.cgroup.clone().map(Duty::JoinCgroup));
    if !duties.is_empty() && !steps.contains(&Step::AwaitMaps) {
        steps.push(Step::AwaitParent);
    }
    Ok(())
}

/// More supplementary groups than this are refused: the child has no memory for them.
pub(crate) const MOST_GROUPS: usize = 256;

/// Names and clocks: needed by nothing else.
fn identity(command: &Command, steps: &mut Vec<Step>) {
    // A clone that copies enters it at once, and nothing could be set any more.
    let copied = command.init || steps.contains(&Step::TellExec);
    if copied && command.namespaces.contains(Namespace::Time) {
        steps.push(Step::UnshareTime);
    }
    if command.monotonic.is_some() || command.boottime.is_some() {
        let line =
            |clock: &str, seconds: Option<i64>| seconds.map_or(String::new(), |s| format!("{clock} {s} 0\n"));
        let text = line("monotonic", command.monotonic) + &line("boottime", command.boottime);
        steps.push(Step::OffsetClocks(CString::new(text).unwrap_or_default()));
    }
    // After the offsets, which are fixed by the first process in it.
    if steps.contains(&Step::UnshareTime) {
        steps.push(Step::JoinTime);
    }
    steps.extend(command.hostname.clone().map(Step::SetHostname));
    steps.extend(command.domainname.clone().map(Step::SetDomainname));
}

/// Refuses what contradicts itself, before anything is touched.
fn validate(command: &Command) -> Result<(), Error> {
    if let Some(problem) = &command.problem {
        return Err(Error::invalid(problem.clone()));
    }
    if command.program.is_empty() {
        return Err(Error::invalid("the program's name is empty"));
    }
    let needs: [(bool, &str, Namespace); 8] = [
        (
            command.hostname.is_some() || command.domainname.is_some(),
            "a hostname or domain name",
            Namespace::Uts,
        ),
        (command.monotonic.is_some() || command.boottime.is_some(), "a clock offset", Namespace::Time),
        (
            command.root.is_some() || command.read_only || command.no_devices,
            "a root of its own",
            Namespace::Mount,
        ),
        (!command.mounts.is_empty(), "a mount", Namespace::Mount),
        (command.propagation.is_some(), "mount propagation", Namespace::Mount),
        (command.loopback, "setting lo up", Namespace::Net),
        (command.init, "a reaper as PID 1", Namespace::Pid),
        (
            command.map_all
                || command.subids.is_some()
                || !command.uid_map.is_empty()
                || !command.gid_map.is_empty()
                || command.setgroups.is_some(),
            "an id map or setgroups policy",
            Namespace::User,
        ),
    ];
    for (wanted, what, kind) in needs {
        if wanted && !command.namespaces.contains(kind) {
            return Err(Error::invalid_with(
                format!("{what} needs a new {kind} namespace, which was not asked for"),
                Advice { why: vec![], fix: vec![format!("ask for a new {kind} namespace, too")] },
            ));
        }
    }
    for join in &command.joins {
        if let Some(kind) = join.kinds.iter().find(|kind| command.namespaces.contains(*kind)) {
            return Err(Error::invalid(format!(
                "a {kind} namespace can't be both new and that of {}",
                join.target
            )));
        }
    }
    if command.chroot.is_some() && command.root.is_some() {
        return Err(Error::invalid("a root by chroot and one by pivot_root exclude each other"));
    }
    for (what, name) in [("hostname", &command.hostname), ("domain name", &command.domainname)] {
        if let Some(name) = name
            && name.as_bytes().len() > 64
        {
            return Err(Error::invalid(format!(
                "the {what} is {} bytes long; the kernel takes at most 64",
                name.as_bytes().len()
            )));
        }
    }
    if let Some(fd) = command.keep.iter().flatten().find(|fd| **fd < 0) {
        return Err(Error::invalid(format!("{fd} is no descriptor that could be kept")));
    }
    let ids = command.uid.iter().chain(&command.gid).chain(command.groups.iter().flatten());
    if ids.into_iter().any(|id| *id == u32::MAX) {
        return Err(Error::invalid("4294967295 is no id: the kernel takes it for \"as it is\""));
    }
    if command.groups.as_ref().is_some_and(|groups| groups.len() > MOST_GROUPS) {
        return Err(Error::invalid(format!("more than {MOST_GROUPS} supplementary groups were asked for")));
    }
    let open = matches!(command.propagation, Some(Propagation::Shared | Propagation::Unchanged));
    if command.root.is_some() && open {
        return Err(Error::invalid_with(
            "a root of its own needs private or slave mount propagation",
            Advice::new(
                "pivot_root(2) refuses a shared root",
                "leave the propagation out, or say private or slave",
            ),
        ));
    }
    Ok(())
}

/// A path as a C string.
fn path(what: &str, path: &Path) -> Result<CString, Error> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() {
        return Err(Error::invalid(format!("{what} is an empty path")));
    }
    CString::new(bytes).map_err(|_| Error::invalid(format!("{what} holds a NUL byte: {path:?}")))
}

/// A target below another one.
fn below(base: &Path, name: &str) -> PathBuf {
    base.join(OsStr::new(name))
}
