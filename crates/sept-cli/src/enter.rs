//! `sept enter`: joins what is there.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use lexopt::Parser;
use rustix::fs::{Mode, OFlags};
use sept::{Command, Host, Namespace, Namespaces, Target};

use crate::environment;
use crate::failure::Failure;
use crate::options;
use crate::own;
use crate::pins;
use crate::report;
use crate::request::{self, Keep, OfTarget, Parsed, Request};
use crate::run::{self, Around};
use crate::unshare::print_plan;

pub fn main(parser: &mut Parser) -> Result<u8, Failure> {
    let mut request = match request::parse(parser, &options::ENTER)? {
        Parsed::Help => return report::print(&options::help(&options::ENTER)).map(|()| 0),
        Parsed::Version => return crate::version(),
        Parsed::Run(request) => request,
    };
    if request.plan.is_none() && enters_files(&request) {
        own::restart_out_of_reach()?;
    }
    let target = target(&mut request)?;
    let joined = joined(&request, target.as_ref())?;
    let mut command = build(&request, target.as_ref(), &joined)?;
    let other_pids = joined.differs(Namespace::Pid)?;
    let fork = other_pids && !request.enter.no_fork;
    // As for `run`.
    if fork && !crate::build::has_controlling_terminal() {
        command.new_session();
    }
    if let Some(format) = request.plan {
        let plan = if fork { command.plan()? } else { command.plan_in_place()? };
        return print_plan(&plan, format);
    }
    if !fork {
        Failure::from(command.exec()).end();
    }
    command.die_with_parent();
    let around = Around { is_pid_1: false, other_pids, adopts: false, agent: None };
    run::start_and_wait(&request, &mut command, around, &mut report::Report::default())
}

/// Whether the programs may be those of another root.
fn enters_files(request: &Request) -> bool {
    let nothing_named = request.given.is_empty() && request.files.is_empty();
    nothing_named
        || request.given.contains(Namespace::Mount)
        || request.enter.all
        || request.enter.root.is_some()
}

/// The process or pin that the line names: by `-t`, or the first word, unless every kind has its file.
fn target(request: &mut Request) -> Result<Option<Vec<Target>>, Failure> {
    let target = if let Some(pid) = request.enter.target {
        Some(vec![Target::process(pid)?])
    } else if !request.files.is_empty() {
        None
    } else {
        if request.command.is_empty() {
            return Err(Failure::usage(
                "enter needs a TARGET: a pid, a pinned name, or the path of a namespace",
            )
            .fix("sept ls shows what there is"));
        }
        let word = request.command.remove(0);
        match request.command.first() {
            Some(word) if word == "--" => drop(request.command.remove(0)),
            Some(word) if word.as_bytes().starts_with(b"-") => {
                return Err(Failure::usage(format!(
                    "{} stands behind TARGET, where COMMAND is wanted",
                    word.to_string_lossy()
                ))
                .fix("write options before TARGET, or `--` before a COMMAND of that name"));
            }
            _ => {}
        }
        Some(pins::find(&word)?)
    };
    Ok(target)
}

/// The namespaces to be joined, from whom.
pub struct Joined(Vec<(Target, Namespaces)>);

impl Joined {
    fn kinds(&self) -> impl Iterator<Item = (&Target, Namespace)> {
        self.0.iter().flat_map(|(target, kinds)| kinds.iter().map(move |kind| (target, kind)))
    }

    /// Whether it is that of a process that is named, and not a file's.
    pub fn is_processes(&self, wanted: Namespace) -> bool {
        self.kinds().any(|(target, kind)| kind == wanted && target.pid().is_some())
    }

    pub fn differs(&self, wanted: Namespace) -> Result<bool, Failure> {
        match self.kinds().find(|(_, kind)| *kind == wanted) {
            Some((target, kind)) => Ok(target.differs(kind)?),
            None => Ok(false),
        }
    }

    /// Whether a user namespace is joined that somebody else has made.
    fn is_others(&self) -> Result<bool, Failure> {
        let user = self.kinds().find(|(_, kind)| *kind == Namespace::User);
        user.map_or(Ok(false), |(target, _)| is_others(target))
    }
}

/// Whether its user namespace is another than ours, and others than this user may be in there: somebody else has made it, or root, who
/// makes them for others, unless nobody but root has a number there.
pub fn is_others(target: &Target) -> Result<bool, Failure> {
    if !target.differs(Namespace::User)? {
        return Ok(false);
    }
    let owner = target.namespace(Namespace::User)?.owner_uid();
    let owner = owner.map_err(|error| Failure::io("cannot see whose user namespace it is", &error))?;
    let own = Host::caller().uid;
    let alone = || {
        let ranges = ranges(target, "uid_map").unwrap_or_default();
        matches!(ranges.as_slice(), [[_, outside, 1]] if *outside == own)
    };
    Ok(owner != own || own == 0 && !alone())
}

fn joined(request: &Request, targets: Option<&Vec<Target>>) -> Result<Joined, Failure> {
    let mut joined = Vec::new();
    let mut named = request.given;
    for (kind, file) in &request.files {
        joined.push((Target::file(file)?, [*kind].into_iter().collect()));
        named.remove(*kind);
    }
    let special = request.enter.user_parent || request.enter.net_socket.is_some();
    let everything = request.enter.all || (request.given.is_empty() && !special);
    for target in targets.into_iter().flatten() {
        let offered: Namespaces = match target.kind() {
            Some(kind) => [kind].into_iter().collect(),
            None => Namespace::ALL.into_iter().collect(),
        };
        let wanted: Namespaces = offered.iter().filter(|kind| everything || named.contains(*kind)).collect();
        let taken = |kind: &Namespace| !request.files.iter().any(|(file, _)| file == kind);
        joined.push((target.clone(), wanted.iter().filter(taken).collect()));
    }
    let process = targets.and_then(|targets| targets.iter().find(|target| target.pid().is_some()));
    if let Some(fd) = request.enter.net_socket {
        let process = process.ok_or_else(|| Failure::usage("--net-socket needs a process as TARGET"))?;
        joined.push((socket(process, fd)?, [Namespace::Net].into_iter().collect()));
    }
    if request.enter.user_parent {
        joined = user_parent(joined)?;
    }
    let lost = named.iter().find(|kind| !joined.iter().any(|(_, kinds)| kinds.contains(*kind)));
    match lost {
        Some(kind) => Err(Failure::usage(format!("TARGET has no {kind} namespace to be joined"))
            .fix(format!("name it: --{kind}=FILE"))),
        None => Ok(Joined(joined)),
    }
}

/// The parent of the user namespace that would be joined, instead of that one.
fn user_parent(joined: Vec<(Target, Namespaces)>) -> Result<Vec<(Target, Namespaces)>, Failure> {
    let user = Namespace::User;
    let from = joined.iter().find(|(_, kinds)| kinds.contains(user)).or(joined.first());
    let Some((target, _)) = from else { return Err(Failure::usage("--user-parent needs a TARGET")) };
    let failed = |error| Failure::io("cannot find the parent of the user namespace", &error);
    let parent = target.namespace(user)?.parent().map_err(failed)?;
    let parent = parent.ok_or_else(|| {
        Failure::usage(format!("the user namespace of {target} has no parent that may be seen from here"))
    })?;
    let parent = Target::open(parent, format!("parent of the user namespace of {target}"));
    let without = |(target, mut kinds): (Target, Namespaces)| {
        kinds.remove(user);
        (target, kinds)
    };
    let mut joined: Vec<_> = joined.into_iter().map(without).collect();
    joined.push((parent, [user].into_iter().collect()));
    Ok(joined)
}

/// The network namespace of a socket that the target has open.
fn socket(target: &Target, fd: i32) -> Result<Target, Failure> {
    let failed = |error: std::io::Error| {
        let failure =
            Failure::io(format!("cannot get descriptor {fd} of {target}, or the namespace of that"), &error);
        if error.kind() == std::io::ErrorKind::WouldBlock {
            return failure.why(
                "it did not answer within two seconds: perhaps it is a file of a file system in user space",
            );
        }
        failure
            .why("it takes CAP_NET_ADMIN, and the right to look into the process, and the descriptor must be a socket")
    };
    let pidfd = target.to_pidfd().map_err(failed)?;
    // Nothing but a socket is taken from it.
    let pid = sept::host::find_in_proc(pidfd.as_fd()).map_err(failed)?.unwrap_or_default();
    let link = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).map_err(failed)?;
    if !link.as_os_str().as_bytes().starts_with(b"socket:[") {
        return Err(failed(std::io::Error::from_raw_os_error(libc::ENOTSOCK)));
    }
    let file = sept::host::socket_namespace(pidfd.as_fd(), fd).map_err(failed)?;
    Ok(Target::open(file, format!("socket {fd} of {target}")))
}

fn build(request: &Request, targets: Option<&Vec<Target>>, joined: &Joined) -> Result<Command, Failure> {
    let enter = &request.enter;
    let process = targets.and_then(|targets| targets.iter().find(|target| target.pid().is_some()));
    let needs =
        |option: &str| process.ok_or_else(|| Failure::usage(format!("--{option} needs a process as TARGET")));
    let (program, args) = program(request, process, joined);
    let mut command = Command::new(program);
    command.args(args);
    for (target, kinds) in &joined.0 {
        command.join(target, kinds.iter());
    }
    ids(request, process, joined, &mut command)?;
    // Before its root is held: who is judged must not have left an outer one meanwhile.
    if enter.env {
        environment::take(request, needs("env")?, joined, &mut command)?;
    }
    directories(request, &needs, joined, &mut command)?;
    if enter.follow_context {
        command.selinux_label(context(needs("follow-context")?)?);
    }
    if request.keep_caps {
        command.keep_capabilities();
    }
    if enter.cgroup {
        command.join_cgroup(cgroup(needs("join-cgroup")?)?);
    }
    // Those inside may have changed any program there.
    if joined.kinds().next().is_some() {
        crate::build::guard_terminal(&mut command, &request.keep);
    }
    if enter.root.is_some() || joined.kinds().any(|(_, kind)| kind == Namespace::Mount) {
        crate::build::refuse_directories()?;
    }
    if let Keep::Only(list) = &request.keep {
        command.keep_fds(list.iter().copied());
    }
    Ok(command)
}

/// As nsenter(1): user and group 0 of a joined user namespace. Where 0 is not mapped there, those of the target.
fn ids(
    request: &Request,
    process: Option<&Target>,
    joined: &Joined,
    command: &mut Command,
) -> Result<(), Failure> {
    let enters_user = joined.differs(Namespace::User)?;
    // The map of another than the one that is joined says nothing.
    let process = process.filter(|_| joined.is_processes(Namespace::User));
    let (mut uid, mut gid) = (request.uid, request.gid);
    if enters_user && !request.enter.preserve_credentials {
        let inside = ids_inside(request, process)?;
        (uid, gid) = (Some(inside.0), Some(inside.1));
    }
    if let Some(uid) = uid {
        // As nsenter(1): without -G they stay.
        command.uid(uid).keep_groups();
    }
    if let Some(gid) = gid {
        command.gid(gid);
        drop_groups(command);
    }
    Ok(())
}

/// The groups of outside are no business of a process inside. An unprivileged caller can drop them only where
/// the namespace lets it, as those inside could.
pub fn drop_groups(command: &mut Command) {
    if can_drop_groups() {
        command.groups([]);
    } else {
        command.drop_groups_if_allowed();
    }
}

/// Whether the caller may drop its groups where it is.
pub fn can_drop_groups() -> bool {
    let denied = std::fs::read_to_string("/proc/self/setgroups").is_ok_and(|policy| policy.trim() == "deny");
    Host::caller().can_map_gids() && !denied
}

/// The ids to take in a user namespace that is joined: those asked for, else such as are mapped there.
pub fn ids_inside(request: &Request, process: Option<&Target>) -> Result<(u32, u32), Failure> {
    let or_inside = |asked: Option<u32>, map, field| asked.map_or_else(|| inside_id(process, map, field), Ok);
    Ok((or_inside(request.uid, "uid_map", "Uid:")?, or_inside(request.gid, "gid_map", "Gid:")?))
}

/// A field of its status, empty where there is none.
pub fn status_field(process: &Target, field: &str) -> Result<String, Failure> {
    let status = String::from_utf8_lossy(&process.read("status")?).into_owned();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    Ok(line.trim().to_owned())
}

/// The numbers of one: the real, effective, saved and file system's id, say, as seen from here.
pub fn status_numbers(process: &Target, field: &str) -> Result<Vec<u32>, Failure> {
    let line = status_field(process, field)?;
    Ok(line.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect())
}

/// A map of its user namespace: first number inside, first as seen from here, how many.
pub fn ranges(process: &Target, map: &str) -> Result<Vec<[u32; 3]>, Failure> {
    let map = String::from_utf8_lossy(&process.read(map)?).into_owned();
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
        Some([numbers.next()??, numbers.next()??, numbers.next()??])
    };
    Ok(map.lines().filter_map(range).collect())
}

/// 0 if it is mapped; else the target's own id, by the map as it is seen from here.
fn inside_id(process: Option<&Target>, map: &str, field: &str) -> Result<u32, Failure> {
    let Some(process) = process else { return Ok(0) };
    let ranges = ranges(process, map)?;
    if ranges.iter().any(|[inside, _, _]| *inside == 0) {
        return Ok(0);
    }
    let own = status_numbers(process, field)?.first().copied();
    let inside = own.and_then(|own: u32| {
        ranges.iter().find_map(|[inside, outside, count]| {
            own.checked_sub(*outside).filter(|offset| offset < count).map(|offset| inside + offset)
        })
    });
    inside.ok_or_else(|| {
        Failure::usage(format!("neither 0 nor the id of {process} is mapped in its user namespace"))
            .fix("say which to run as: -S UID -G GID, or --preserve-credentials")
    })
}

/// The root and the working directory.
fn directories<'a>(
    request: &Request,
    needs: &impl Fn(&str) -> Result<&'a Target, Failure>,
    joined: &Joined,
    command: &mut Command,
) -> Result<(), Failure> {
    let enter = &request.enter;
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| Failure::io(format!("cannot open {}", path.display()), &errno.into()))
    };
    match &enter.root {
        Some(OfTarget::Own) => {
            let target = needs("root")?;
            command.chroot_to(target.directory("root")?, format!("that of {target}"));
        }
        Some(OfTarget::Dir(dir)) => {
            command.chroot_to(open(dir)?, dir.display().to_string());
        }
        None => {}
    }
    match (&enter.wd, &enter.wdns) {
        (Some(_), Some(_)) => return Err(Failure::usage("--wd and --wdns contradict each other")),
        (Some(OfTarget::Own), None) => {
            let target = needs("wd")?;
            command.current_dir_to(target.directory("cwd")?, format!("that of {target}"));
        }
        (Some(OfTarget::Dir(dir)), None) => {
            command.current_dir_to(open(dir)?, dir.display().to_string());
        }
        (None, Some(dir)) => {
            command.current_dir(dir);
        }
        // With another root or mount namespace that is its top: a directory of outside would be a way out. And whose user namespace it
        // is, may look into it.
        (None, None) if enter.root.is_none() && joined.is_others()? => {
            command.current_dir("/");
        }
        (None, None) => {}
    }
    Ok(())
}

/// The target's SELinux context.
fn context(target: &Target) -> Result<OsString, Failure> {
    if !Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(Failure::usage("--follow-context: there is no SELinux on this host")
            .why("/sys/fs/selinux is not there")
            .fix("leave it out"));
    }
    let mut label = target.read("attr/current")?;
    label.retain(|byte| !matches!(byte, 0 | b'\n'));
    Ok(OsString::from_vec(label))
}

/// The directory of the target's cgroup of version 2.
fn cgroup(target: &Target) -> Result<PathBuf, Failure> {
    let text = target.read("cgroup")?;
    let path = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::/"));
    let path = path.ok_or_else(|| Failure::usage(format!("{target} is in no cgroup of version 2")))?;
    // How the kernel tells of one that is not below the top of ours.
    if path.split(|byte| *byte == b'/').any(|part| part == b"..") {
        return Err(Failure::usage(format!("{target} is in a cgroup outside of this cgroup namespace"))
            .fix("leave --join-cgroup out, or enter from outside of this cgroup namespace"));
    }
    let mount = sept::host::mounted("cgroup2")
        .map_err(|error| Failure::io("cannot read /proc/self/mountinfo", &error))?;
    let mount = mount.ok_or_else(|| {
        Failure::usage("cgroup version 2 is not mounted here").fix("mount -t cgroup2 none /sys/fs/cgroup")
    })?;
    Ok(mount.join(PathBuf::from(OsString::from_vec(path.to_vec()))))
}

/// COMMAND, else $SHELL where it is inside, else /bin/sh.
fn program(request: &Request, process: Option<&Target>, joined: &Joined) -> (OsString, Vec<OsString>) {
    if let Some((program, args)) = request.command.split_first() {
        return (program.clone(), args.to_vec());
    }
    let shell = std::env::var_os("SHELL").filter(|shell| Path::new(shell).is_absolute());
    let moves = request.enter.root.is_some() || joined.kinds().any(|(_, kind)| kind == Namespace::Mount);
    let there =
        |shell: &OsString| !moves || process.is_some_and(|process| process.has_file(shell).unwrap_or(false));
    (shell.filter(there).unwrap_or_else(|| "/bin/sh".into()), Vec::new())
}
