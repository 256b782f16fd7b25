//! From what the line asks for to the library's `Command`: `sept run`'s defaults are here.

use std::env;
use std::ffi::OsString;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use sept::{Access, Command, Create, Host, Mount, Namespace, Namespaces, Stay, SubIds, Target};

use crate::confine::{Places, is_top, refuses_namespaces};
use crate::failure::Failure;
use crate::policy::Agent;
use crate::request::{EnvChange, Keep, Network, Request};

/// The command, with the facts about it that supervision needs.
pub struct Built {
    pub command: Command,
    pub namespaces: Namespaces,
    /// Whether another pid namespace is joined.
    pub joins_pid: bool,
    /// Who answers the calls that a policy asks about.
    pub agent: Option<Agent>,
}

impl Built {
    /// Whether its pid namespace is another one, in which our process group has no number.
    pub fn has_other_pids(&self) -> bool {
        self.joins_pid || self.namespaces.contains(Namespace::Pid)
    }

    /// Whether it is PID 1, for which the kernel drops signals that it leaves at their default.
    pub fn is_pid_1(&self, request: &Request) -> bool {
        self.namespaces.contains(Namespace::Pid) && !request.init
    }
}

pub fn build(request: &Request) -> Result<Built, Failure> {
    let mut namespaces = namespaces(request)?;
    if (request.has_other_files() || request.limits.is_asked()) && !request.tty {
        refuse_directories()?;
    }
    // What is joined is not new, also where it is one of the default set.
    for (kind, _) in &request.join {
        if request.given.contains(*kind) {
            return Err(Failure::usage(format!(
                "--join {kind} and a new {kind} namespace contradict each other"
            )));
        }
        namespaces.remove(*kind);
    }
    let host = Host::caller();
    let (program, args) = program(request);
    let mut command = Command::new(program);
    command.args(args).unshare(namespaces.iter());
    if let Some(name) = &request.argv0 {
        command.arg0(name);
    }
    ids(request, namespaces, &host, &mut command)?;
    identity(request, &mut command);
    files(request, namespaces, &host, &mut command);
    environment(request, &mut command);
    process(request, namespaces, &mut command);
    // A container's root without CAP_SYS_ADMIN can, as anybody, confine itself only with it.
    let is_root = host.uid == 0 && crate::confine::has_admin(Namespaces::NONE, &host);
    let no_new_privs = request.no_new_privs.unwrap_or(!is_root);
    if no_new_privs {
        command.no_new_privs();
    }
    let agent = crate::confine::apply(request, namespaces, &host, no_new_privs, &mut command)?;
    crate::degrade::apply(request, namespaces, &host, &mut command)?;
    let joins_pid = joins(request, &mut command)?;
    Ok(Built { command, namespaces, joins_pid, agent })
}

/// Whether another pid namespace is among them.
fn joins(request: &Request, command: &mut Command) -> Result<bool, Failure> {
    let mut joins_pid = false;
    // Held once, however many of its namespaces are named: what it has may change.
    let mut found: Vec<(&OsString, Vec<Target>)> = Vec::new();
    for (_, word) in &request.join {
        if !found.iter().any(|(known, _)| *known == word) {
            found.push((word, crate::pins::find(word)?));
        }
    }
    for (kind, word) in &request.join {
        let targets = found.iter().find(|(known, _)| *known == word).map_or(&[][..], |(_, targets)| targets);
        let target = targets.iter().find(|target| target.kind().is_none_or(|has| has == *kind));
        let target = target
            .ok_or_else(|| Failure::usage(format!("{} is no {kind} namespace", word.to_string_lossy())))?;
        joins_pid |= *kind == Namespace::Pid && target.differs(*kind)?;
        if *kind == Namespace::User && target.differs(*kind)? {
            take_ids_inside(request, target, command)?;
        }
        command.join(target, [*kind]);
    }
    Ok(joins_pid)
}

/// As `enter`: with the ids of outside the command would be the caller, to whoever is inside and may trace it.
fn take_ids_inside(request: &Request, target: &Target, command: &mut Command) -> Result<(), Failure> {
    let process = Some(target).filter(|target| target.kind().is_none());
    let (uid, gid) = crate::enter::ids_inside(request, process)?;
    command.uid(uid).gid(gid);
    if request.groups.is_none() {
        crate::enter::drop_groups(command);
    }
    if request.wd.is_none() && request.root.is_none() && crate::enter::is_others(target)? {
        command.current_dir("/");
    }
    Ok(())
}

/// Whether nobody is inside before the command is, nor can be seen by it or outlive it: its pid namespace is new for certain.
pub fn is_alone_inside(request: &Request) -> Result<bool, Failure> {
    let certain = request.join.is_empty() && request.if_possible.is_empty();
    Ok(certain && namespaces(request)?.contains(Namespace::Pid))
}

fn namespaces(request: &Request) -> Result<Namespaces, Failure> {
    if request.none && (!request.given.is_empty() || request.share.is_some()) {
        return Err(Failure::usage("--namespaces none contradicts --share, and namespaces that are named"));
    }
    if !request.given.is_empty() && request.share.is_some() {
        return Err(Failure::usage(
            "--share takes kinds out of the default set, and named kinds replace that set",
        )
        .fix("name only the kinds that are to be new, or only those to share"));
    }
    let mut set = request.given;
    if !request.none && set.is_empty() {
        set = Namespace::ALL.into_iter().filter(|kind| *kind != Namespace::Time).collect();
        request.share.unwrap_or_default().iter().for_each(|kind| set.remove(kind));
    }
    for (kind, option) in &request.implied {
        if request.share.is_some_and(|share| share.contains(*kind)) || request.none {
            let other = if request.none { "--namespaces none".to_owned() } else { format!("--share {kind}") };
            return Err(Failure::usage(format!(
                "--{option} needs a new {kind} namespace, and {other} says not"
            ))
            .fix(format!("leave out --{option} or {other}")));
        }
        set.insert(*kind);
    }
    if request.network == Some(Network::Host) {
        if request.given.contains(Namespace::Net) {
            return Err(Failure::usage(
                "--network host and a new network namespace (-n) contradict each other",
            ));
        }
        set.remove(Namespace::Net);
    }
    Ok(set)
}

/// COMMAND, else $SHELL where it is inside, else /bin/sh.
pub fn program(request: &Request) -> (OsString, &[OsString]) {
    if let Some((program, args)) = request.command.split_first() {
        return (program.clone(), args);
    }
    let shell = env::var_os("SHELL").filter(|shell| Path::new(shell).is_absolute());
    let there = |shell: &OsString| match &request.root {
        None => true,
        // No link of it leads to files of outside.
        Some(root) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(root, flags, Mode::empty())
                .is_ok_and(|root| sept::host::has_file(root.as_fd(), shell))
        }
    };
    (shell.filter(there).unwrap_or_else(|| "/bin/sh".into()), &[])
}

fn ids(request: &Request, set: Namespaces, host: &Host, command: &mut Command) -> Result<(), Failure> {
    let new_user = set.contains(Namespace::User);
    let singles =
        request.map_root || request.map_current || request.map_user.is_some() || request.map_group.is_some();
    let ranges = !request.map_users.is_empty() || !request.map_groups.is_empty();
    if request.map_root && request.map_current {
        return Err(Failure::usage("--map-root-user and --map-current-user contradict each other"));
    }
    if (request.map_all || request.map_auto)
        && (ranges || request.map_user.is_some() || request.map_group.is_some())
        || request.map_all && (request.map_root || request.map_current || request.map_auto)
    {
        let whole = if request.map_all { "--map-all" } else { "--map-auto" };
        return Err(Failure::usage(format!("{whole} and another map contradict each other"))
            .why("it is the whole map by itself")
            .fix("leave one of them out"));
    }
    let mut wide = !new_user;
    if request.map_auto {
        command.map_subids(if request.map_current { SubIds::KeepId } else { SubIds::RootIsCaller });
        wide = true;
    } else if request.map_all {
        command.map_all();
        wide = true;
    } else if singles || ranges {
        singles_and_ranges(request, host, command)?;
        wide = host.can_map_gids()
            && request.map_groups.iter().any(|map| map.count > 1 || map.outside != host.gid);
    } else if new_user && host.can_map_uids() && host.can_map_gids() {
        command.map_all();
        wide = true;
    } else if new_user {
        command.map_root();
    }
    if let Some(policy) = request.setgroups {
        command.setgroups(policy);
    }
    if let Some(uid) = request.uid {
        command.uid(uid);
    }
    if let Some(gid) = request.gid {
        command.gid(gid);
    }
    match &request.groups {
        Some(groups) => {
            command.groups(groups.iter().copied());
        }
        // As unshare(1)'s and nsenter(1)'s -G: the caller's groups are no business of another group's process.
        None if request.gid.is_some() && wide && host.can_map_gids() => {
            command.groups([]);
        }
        None if request.gid.is_some() => {
            command.drop_groups_if_allowed();
        }
        None => {}
    }
    Ok(())
}

fn singles_and_ranges(request: &Request, host: &Host, command: &mut Command) -> Result<(), Failure> {
    let own = |root: bool, current: bool, id: Option<u32>, own: u32| {
        id.or(root.then_some(0)).or(current.then_some(own)).map(|inside| (inside, own))
    };
    if request.map_root && (request.map_user.is_some() || request.map_group.is_some()) {
        return Err(Failure::usage("--map-root-user and --map-user or --map-group contradict each other"));
    }
    if let Some((inside, outside)) = own(request.map_root, request.map_current, request.map_user, host.uid) {
        command.map_uid(inside, outside, 1);
    }
    if let Some((inside, outside)) = own(request.map_root, request.map_current, request.map_group, host.gid) {
        command.map_gid(inside, outside, 1);
    }
    for map in &request.map_users {
        command.map_uid(map.inside, map.outside, map.count);
    }
    for map in &request.map_groups {
        command.map_gid(map.inside, map.outside, map.count);
    }
    Ok(())
}

fn identity(request: &Request, command: &mut Command) {
    if let Some(name) = &request.hostname {
        command.hostname(name);
    }
    if let Some(name) = &request.domainname {
        command.domainname(name);
    }
    if let Some(seconds) = request.monotonic {
        command.monotonic_offset(seconds);
    }
    if let Some(seconds) = request.boottime {
        command.boottime_offset(seconds);
    }
}

/// What of proc is guarded by its owner alone, who is root, in whatever user namespace; and leads to code outside.
const OF_ROOT: [&str; 8] = [
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/irq",
    "/proc/bus",
    "/proc/fs",
    "/proc/acpi",
    "/proc/scsi",
    "/proc/dynamic_debug",
];

fn files(request: &Request, set: Namespaces, host: &Host, command: &mut Command) {
    let (new_mount, new_pid) = (set.contains(Namespace::Mount), set.contains(Namespace::Pid));
    if let Some(propagation) = request.propagation {
        command.propagation(propagation);
    }
    if request.read_only {
        command.read_only();
    }
    if request.create_on_host {
        command.create(Create::Host);
    }
    let fresh_proc = new_mount && !request.no_proc && !request.own_proc;
    if let Some(root) = &request.root {
        command.root(if is_top(root) { Path::new("/") } else { root });
    }
    // What is mounted on the root comes before all that is there by default, or it would cover that.
    let new_root = request.mounts.iter().rposition(Mount::is_root).map_or(0, |last| last + 1);
    let places = Places::new(request, set);
    if places.is_some() {
        command.keep_in_place(!refuses_namespaces(request));
    }
    let mounts = |range: Range<usize>, command: &mut Command| {
        let stays = |mount: &Mount| {
            let stay = places.as_ref().map_or(Stay::Loose, |places| places.stay(mount));
            mount.clone().stays(stay)
        };
        mount_all(request.mounts[range].iter().map(stays), command);
    };
    mounts(0..new_root, command);
    match (&request.root, new_pid) {
        (_, true) if fresh_proc => {
            command.mount(Mount::proc("/proc"));
        }
        // A proc of the shared pid namespace is the one that is there.
        (Some(_), false) if fresh_proc => {
            command.mount(Mount::bind("/proc", "/proc", Access::ReadWrite));
        }
        _ => {}
    }
    // What no mount keeps root from writing; who may map all ids has root's among them.
    let as_root = host.uid == 0 || host.can_map_uids();
    let of_root = as_root && (request.root.is_some() || request.read_only);
    if fresh_proc && (of_root || as_root && new_root > 0) {
        mount_all(OF_ROOT.into_iter().map(Mount::read_only), command);
    }
    let fresh_dev = (request.root.is_some() || of_root) && !request.no_dev && !request.own_dev;
    if fresh_dev {
        command.mount(Mount::dev("/dev"));
    }
    // Where those in the tree are not what the command is to have for devices.
    let whole = request.root.is_some() || request.read_only || new_root > 0;
    if whole && !request.no_dev && (fresh_dev || request.own_dev) {
        command.no_devices();
    }
    // It has no cgroups.
    let own_sysfs = request.root.is_some() && !request.no_sys;
    if own_sysfs {
        command.mount(Mount::sysfs("/sys"));
    }
    let rest = new_root..request.mounts.len();
    let shown = new_root + shown_cgroups(&request.mounts[rest.clone()]);
    mounts(new_root..shown, command);
    // By the files of its cgroup's parents it could leave that. What is mounted there by name is as it was asked for.
    if new_mount && request.limits.is_asked() && (!own_sysfs || shown > new_root) {
        command.mount(Mount::read_only(CGROUPS));
    }
    mounts(shown..rest.end, command);
    working_directory(request, command);
}

fn mount_all(mounts: impl Iterator<Item = Mount>, command: &mut Command) {
    for mount in mounts {
        command.mount(mount);
    }
}

const CGROUPS: &str = "/sys/fs/cgroup";

/// From which of these mounts on the command has no other cgroups to see than those that are there: before, one may show the host's.
fn shown_cgroups(mounts: &[Mount]) -> usize {
    let above = |mount: &Mount| {
        let target = plain(mount.target());
        target != Path::new(CGROUPS) && Path::new(CGROUPS).starts_with(target)
    };
    mounts.iter().rposition(above).map_or(0, |last| last + 1)
}

/// Without `..`, as far as no link is in it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

/// Kept if it exists inside, else `/`; and `PWD` says so.
fn working_directory(request: &Request, command: &mut Command) {
    let set_pwd = |command: &mut Command, dir: &Path| {
        if !request.clear_env {
            command.env("PWD", dir);
        }
    };
    match (&request.wd, &request.root) {
        (Some(dir), Some(_)) => {
            let dir = Path::new("/").join(dir);
            set_pwd(command, &dir);
            command.current_dir(dir);
        }
        (Some(dir), None) => {
            let base = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
            set_pwd(command, &base.join(dir));
            command.current_dir(dir);
        }
        (None, Some(_)) => set_pwd(command, Path::new("/")),
        // The library comes back to where the caller is.
        (None, None) => {}
    }
}

fn environment(request: &Request, command: &mut Command) {
    if request.clear_env {
        command.env_clear();
    }
    for change in &request.env {
        match change {
            EnvChange::Set(key, value) => {
                command.env(key, value);
            }
            EnvChange::Pass(key) => {
                if let Some(value) = env::var_os(key) {
                    command.env(key, value);
                }
            }
            EnvChange::Unset(key) => {
                command.env_remove(key);
            }
        }
    }
}

fn process(request: &Request, set: Namespaces, command: &mut Command) {
    // Whatever the options, the command does not outlive this process.
    command.die_with_parent();
    if set.contains(Namespace::Net) && !request.no_loopback {
        command.loopback();
    }
    // Without job control nobody needs it in the caller's process group, where a signal to the group reaches outside.
    if request.new_session || (!request.tty && !has_controlling_terminal()) {
        command.new_session();
    }
    if request.init {
        command.init();
    }
    if let Keep::Only(list) = &request.keep {
        command.keep_fds(list.iter().copied());
    }
    // With a session of its own, too: it may make a terminal its own that nobody has.
    if !request.tty {
        guard_terminal(command, &request.keep);
    }
}

/// By a directory on 0, 1 or 2 the command would reach all that is there, whatever its own files are.
pub fn refuse_directories() -> Result<(), Failure> {
    let streams: [(BorrowedFd<'_>, &str, &str); 3] = [
        (rustix::stdio::stdin(), "input", "</dev/null"),
        (rustix::stdio::stdout(), "output", ">/dev/null"),
        (rustix::stdio::stderr(), "error", "2>/dev/null"),
    ];
    let is_directory = |fd| {
        rustix::fs::fstat(fd).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
    };
    match streams.into_iter().find(|(fd, ..)| is_directory(*fd)) {
        None => Ok(()),
        Some((_, name, other)) => Err(Failure::usage(format!("standard {name} is a directory"))
            .why("it would lead the command to the files of outside, around those that it is to see")
            .fix(format!("give it something else: {other}"))
            .fix("hand over a directory on purpose: --keep-fd 3 3<DIR")),
    }
}

/// Where the command shares the terminal, and the kernel still lets it type into that.
pub fn guard_terminal(command: &mut Command, keep: &Keep) {
    if kernel_lets_type() && (shares_terminal() || keeps_device(keep)) {
        command.refuse_terminal_injection();
    }
}

fn shares_terminal() -> bool {
    let streams: [BorrowedFd<'_>; 3] =
        [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    streams.into_iter().any(rustix::termios::isatty) || has_controlling_terminal()
}

/// A terminal that nobody has, perhaps: who is in a session of its own can make it its own.
fn keeps_device(keep: &Keep) -> bool {
    let is_device = |fd: &i32| {
        let found = rustix::fs::stat(format!("/proc/self/fd/{fd}"));
        found.map_or(true, |found| rustix::fs::FileType::from_raw_mode(found.st_mode).is_char_device())
    };
    match keep {
        Keep::Only(list) => list.iter().any(is_device),
        Keep::All => true,
    }
}

/// It can be typed into also where no standard stream is a terminal.
pub fn has_controlling_terminal() -> bool {
    use rustix::fs::{Mode, OFlags};
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open("/dev/tty", flags, Mode::empty());
        match opened {
            Err(rustix::io::Errno::NXIO) => false,
            // Nobody has made that file; the terminal is there, or is not, all the same.
            Err(rustix::io::Errno::NOENT) => {
                let number = sept::host::stat_field(rustix::process::getpid().as_raw_pid() as u32, 7);
                number.is_none_or(|number| number != "0")
            }
            _ => true,
        }
    })
}

/// TIOCSTI can be switched off since Linux 6.2; before, there is no such file and it is on. Since Linux 6.7 TIOCLINUX, by which a virtual
/// console is typed into, is for who has CAP_SYS_ADMIN.
fn kernel_lets_type() -> bool {
    let text = std::fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti");
    text.map_or(true, |text| text.trim() != "0") || !sept::host::probe::is_since(6, 7)
}
