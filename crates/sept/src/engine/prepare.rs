//! Everything that the child will need, made before the clone: after it nothing may allocate.

use std::env;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::AtomicI32;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::PidfdFlags;

use crate::command::{Chroot, Command};
use crate::engine::anchors::Anchors;
use crate::engine::cgroup::OwnCgroup;
use crate::engine::directory::check_directory;
use crate::engine::listener::Passage;
use crate::engine::net::NetMaker;
use crate::engine::trees;
use crate::engine::wire::Control;
use crate::error::{Advice, Error, describe};
use crate::host::common::PROC_SUPER_MAGIC;
use crate::host::joins::OpenJoin;
use crate::host::{advice_on, advice_on_proc};
use crate::namespace::Namespace;
use crate::plan::step::{Source, Step, UpperDir, is_of_descriptor, shown};
use crate::plan::{Plan, Way};
use crate::sys::{self, Shared, Stack, Strings};

/// A plan with all memory and descriptors that it takes.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub plan: Plan,
    pub control: Shared<Control>,
    pub stack: Stack,
    /// What is joined.
    pub joins: Vec<OpenJoin>,
    /// The directory for [`Step::ChrootTo`].
    pub chroot: Option<OwnedFd>,
    /// The directory for [`Step::ChangeDirTo`].
    pub opened_dir: Option<OwnedFd>,
    /// The command's stack, where the first child stays as a reaper, or joins. That child has a copy of this memory.
    pub second_stack: Option<Stack>,
    /// What to try to execute, in order.
    pub programs: Vec<CString>,
    pub argv: Strings,
    pub envp: Strings,
    /// The environment for when the working directory became `/`.
    pub envp_at_root: Option<Strings>,
    /// The caller's /proc, known to be a procfs.
    pub proc: Option<OwnedFd>,
    /// This process, by which the child sees whether it still lives.
    pub parent: Option<OwnedFd>,
    /// The child's standard input, output and error, where they change; all over 2.
    pub stdio: [Option<OwnedFd>; 3],
    /// The parent's ends of pipes.
    pub pipes: [Option<OwnedFd>; 3],
    /// Trees of mounts whose owners are mapped; the child attaches them.
    pub trees: Vec<OwnedFd>,
    /// For each step, whether it is known to mount a directory.
    pub directories: Vec<bool>,
    /// Which steps work below what an earlier one has mounted.
    pub anchors: Anchors,
    /// Whether the kernel has no mount_setattr(2), and some mount would need it.
    pub older: bool,
    /// The child's descriptors for [`Step::Hold`].
    pub held: Vec<AtomicI32>,
    /// Where a parked child waits, and where the parent speaks.
    pub gate: Option<(OwnedFd, OwnedFd)>,
    /// By which a seccomp listener comes.
    pub listener: Option<Passage>,
    /// For [`Step::BeginNet`].
    pub net: Option<NetMaker>,
    /// Made for the command; removed with this, if it is not taken out.
    pub cgroup: Option<OwnCgroup>,
    pub fault: Option<(usize, i32)>,
    /// In place, and where somebody has duties: the pipe by which the helper says what went wrong, and whom it serves.
    pub helper: Option<HelperPipe>,
}

/// What a helper needs.
#[derive(Debug)]
pub(crate) struct HelperPipe {
    pub reader: OwnedFd,
    pub writer: OwnedFd,
    /// The process that moves.
    pub mover: i32,
}

/// Prepares `plan`.
pub(crate) fn prepare(command: &Command, plan: Plan, joins: Vec<OpenJoin>) -> Result<Prepared, Error> {
    // Who is not dumpable can't write its maps.
    sys::settle();
    let directories = check_sources(&plan)?;
    check_directory(command, &plan)?;
    let (mut stdio, mut pipes) = ([None, None, None], [None, None, None]);
    for (n, wanted) in command.stdio.iter().enumerate() {
        if let Some(wanted) = wanted {
            (stdio[n], pipes[n]) =
                wanted.open(n == 0).map_err(|error| io_duty("set up standard streams", &error))?;
        }
    }
    let env = environment(command);
    let needs_proc = plan.steps.iter().any(|step| {
        matches!(
            step,
            Step::DenySetgroups
                | Step::MapUid(_)
                | Step::MapGid(_)
                | Step::OffsetClocks(_)
                | Step::JoinTime
                | Step::SelinuxLabel(_)
                | Step::ApparmorProfile(_)
        )
    }) || !plan.duties.is_empty();
    let waits = |step: &Step| {
        matches!(
            step,
            Step::DieWithParent(_)
                | Step::AwaitMaps
                | Step::AwaitParent
                | Step::Foreground
                | Step::WriteFile { .. }
                | Step::Mount { source: Source::Data { .. }, .. }
                | Step::Park
        )
    };
    let waits = plan.way == Way::Spawn && plan.steps.iter().any(waits);
    let parent = waits.then(own_pidfd).transpose()?;
    let two = command.init || plan.is_staged();
    let copied = two || plan.is_copied() || plan.way == Way::InPlace;
    let parks = plan.steps.contains(&Step::Park);
    let gate = parks
        .then(|| rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC))
        .transpose()
        .map_err(|errno| duty("make a pipe", errno))?;
    let memory = |errno| duty("get memory for the child", errno);
    Ok(Prepared {
        control: Shared::new(Control::new(), copied).map_err(memory)?,
        stack: Stack::new().map_err(memory)?,
        second_stack: two.then(Stack::new).transpose().map_err(memory)?,
        chroot: match &command.chroot {
            Some(Chroot::Opened(dir)) => Some(again(&dir.fd)?),
            _ => None,
        },
        opened_dir: command.opened_dir.as_ref().map(|dir| again(&dir.fd)).transpose()?,
        joins,
        programs: programs(command, &env),
        argv: Strings::new(command.args.iter().flat_map(|arg| arg.as_bytes_with_nul()).copied().collect()),
        envp_at_root: plan.may_fall_to_root().then(|| joined(&env, Some("/"))),
        envp: joined(&env, None),
        proc: if needs_proc {
            Some(open_proc()?)
        } else {
            // It says how many descriptors there are, and what a place is called, and need not be there.
            let asks = |step: &Step| matches!(step, Step::CloseMarked | Step::Keep { .. });
            plan.steps.iter().any(asks).then(open_proc).and_then(Result::ok)
        },
        parent,
        stdio,
        pipes,
        gate,
        trees: trees::open(&plan)?,
        listener: Passage::prepare(command)?,
        directories,
        anchors: Anchors::new(&plan),
        older: plan.steps.iter().any(takes_attributes) && !sys::has_mount_setattr(),
        held: plan.steps.iter().flat_map(places).collect(),
        // Removed again if what follows fails: it is dropped then.
        cgroup: command
            .own_cgroup
            .as_ref()
            .map(|cgroup| OwnCgroup::make(cgroup, plan.limits_late()))
            .transpose()?,
        fault: command.fault,
        net: plan
            .makes_net_beside()
            .then(|| NetMaker::new(plan.namespaces.contains(Namespace::Pid)))
            .transpose()
            .map_err(memory)?,
        helper: (plan.way == Way::InPlace && !plan.duties.is_empty()).then(helper_pipe).transpose()?,
        plan,
    })
}

impl Prepared {
    /// Whether the child is in the caller's memory until exec.
    pub(crate) fn shares_memory(&self) -> bool {
        self.second_stack.is_none() && !self.plan.is_copied()
    }
}

fn takes_attributes(step: &Step) -> bool {
    matches!(
        step,
        Step::Mount { .. }
            | Step::Remount { .. }
            | Step::RemountReadOnly(_)
            | Step::Mask { .. }
            | Step::ReadOnly(_)
            | Step::Keep { .. }
            | Step::RestrictAll(_)
            | Step::CloneRoot { .. }
    )
}

/// A place for each source that the child holds.
fn places(step: &Step) -> impl Iterator<Item = AtomicI32> + use<> {
    let count = if let Step::Hold(sources) = step { sources.len() } else { 0 };
    (0..count).map(|_| AtomicI32::new(-libc::EBADF))
}

pub(crate) fn duty(what: &str, errno: Errno) -> Error {
    Error::duty(what, errno, Advice::default())
}

pub(crate) fn io_duty(what: &str, error: &io::Error) -> Error {
    let advice = error.raw_os_error().map(advice_on).unwrap_or_default();
    Error::Duty { what: what.to_owned(), errno: error.raw_os_error(), advice, layer: None }
}

fn helper_pipe() -> Result<HelperPipe, Error> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| duty("make a pipe", errno))?;
    Ok(HelperPipe { reader, writer, mover: rustix::process::getpid().as_raw_pid() })
}

fn again(fd: &OwnedFd) -> Result<OwnedFd, Error> {
    fd.try_clone().map_err(|error| io_duty("duplicate a descriptor", &error))
}

fn own_pidfd() -> Result<OwnedFd, Error> {
    rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
        .map_err(|errno| duty("open a pidfd of this process", errno))
}

/// A decoy on /proc would take the id maps for itself (CVE-2019-16884): only a procfs will do.
pub(super) fn open_proc() -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = rustix::fs::open("/proc", flags, Mode::empty())
        .map_err(|errno| Error::duty("open /proc", errno, advice_on_proc(&errno.into())))?;
    let is_proc = rustix::fs::fstatfs(&proc).is_ok_and(|fs| fs.f_type as u64 == PROC_SUPER_MAGIC);
    if is_proc {
        return Ok(proc);
    }
    Err(Error::Duty {
        what: "use /proc".to_owned(),
        errno: None,
        advice: Advice::new("no proc file system is mounted there", "mount -t proc proc /proc"),
        layer: None,
    })
}

/// The sources of binds must be there before anything is touched. Which steps bind a directory.
fn check_sources(plan: &Plan) -> Result<Vec<bool>, Error> {
    let mut directories = vec![false; plan.steps.len()];
    let mut last = None;
    for (at, step) in plan.steps.iter().enumerate() {
        let (what, path) = match step {
            Step::Mount { source: Source::Bind { path, .. }, .. } => ("bind", path),
            Step::CloneRoot { dir, .. } => ("use as root", dir),
            Step::Mount { source: Source::Overlay { lower, upper, .. }, .. } => {
                check_overlay(lower, upper)?;
                continue;
            }
            _ => continue,
        };
        // Many binds of one source are looked at once.
        if let Some((_, directory)) = last.filter(|(before, _)| what == "bind" && *before == path) {
            directories[at] = directory;
            continue;
        }
        let refused = |errno: i32| {
            let why = format!("cannot {what} {}: {}", shown(path), unseen(errno));
            let fix = match (what, errno) {
                ("bind", libc::ENOENT) => vec![
                    "see how it is written; if it need not be there: --bind-try, --ro-bind-try".to_owned(),
                ],
                (_, libc::ENOENT) => vec!["see how it is written: it is a path of this side".to_owned()],
                _ => vec![],
            };
            Error::invalid_with(why, Advice { why: vec![], fix })
        };
        if what == "bind" && is_of_descriptor(path) {
            check_descriptor(path)?;
        }
        let directory = sys::kind(path).map_err(|errno| refused(errno.raw_os_error()))?.is_dir();
        if matches!(step, Step::CloneRoot { .. }) && !directory {
            return Err(refused(libc::ENOTDIR));
        }
        directories[at] = directory;
        last = Some((path, directory));
    }
    Ok(directories)
}

/// Why a look at a path failed.
fn unseen(errno: i32) -> String {
    if errno == libc::ETIMEDOUT {
        "the file system there does not answer".to_owned()
    } else {
        describe(errno)
    }
}

/// The child finds what a descriptor has by its name. So that has to lead to the same mount: another one may show more, or let
/// more be done.
fn check_descriptor(path: &CStr) -> Result<(), Error> {
    let refused = |errno: Errno| {
        Error::invalid(format!("cannot bind {}: {}", path.to_string_lossy(), describe(errno.raw_os_error())))
    };
    let mount = |path: &CStr| {
        let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let number = sys::mount_number(place.as_fd())?;
        Ok((place, number))
    };
    let (place, wanted) = mount(path).map_err(refused)?;
    let link = format!("/proc/thread-self/fd/{}", place.as_raw_fd());
    let name = rustix::fs::readlink(&link, Vec::new()).map_err(refused)?;
    // Gone, or no path at all: then the child says so.
    if mount(&name).is_ok_and(|(_, found)| found != wanted) {
        let name = name.to_string_lossy();
        return Err(Error::invalid_with(
            format!("cannot bind {}: its mount is not the one that {name} leads to", path.to_string_lossy()),
            Advice::new(
                "it was opened in another mount namespace, or something was mounted over it",
                "open it again here, or bind it by its name",
            ),
        ));
    }
    Ok(())
}

fn check_overlay(lower: &[CString], upper: &UpperDir) -> Result<(), Error> {
    let upper = match upper {
        UpperDir::Directory(upper, work) => vec![upper, work],
        UpperDir::None | UpperDir::Tmpfs => vec![],
    };
    for dir in lower.iter().chain(upper) {
        let refused =
            |errno: i32| Error::invalid(format!("cannot overlay {}: {}", shown(dir), unseen(errno)));
        if !sys::kind(dir).map_err(|errno| refused(errno.raw_os_error()))?.is_dir() {
            return Err(refused(libc::ENOTDIR));
        }
    }
    Ok(())
}

type Variables = Vec<(OsString, OsString)>;

fn environment(command: &Command) -> Variables {
    let mut variables: Variables = if command.env_cleared { Vec::new() } else { env::vars_os().collect() };
    if !command.env.is_empty() {
        variables.retain(|(key, _)| !command.env.contains_key(key));
        let set = command.env.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
        variables.extend(set);
    }
    variables
}

/// `KEY=VALUE` each; `pwd` instead of the value of `PWD`. A name or value with a NUL byte can't come from outside.
fn joined(variables: &Variables, pwd: Option<&str>) -> Strings {
    let size = variables.iter().map(|(key, value)| key.len() + value.len() + 2).sum::<usize>();
    let mut bytes = Vec::with_capacity(size + 2);
    for (key, value) in variables {
        let value = pwd.map(OsStr::new).filter(|_| key == "PWD").unwrap_or(value);
        bytes.extend_from_slice(key.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    }
    Strings::new(bytes)
}

/// The program itself if it has a slash, else its name in each directory of the command's `PATH`.
fn programs(command: &Command, env: &Variables) -> Vec<CString> {
    let name = command.program.as_bytes();
    if name.contains(&b'/') {
        return vec![command.program.clone()];
    }
    let path = env.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.as_os_str());
    let path = path.unwrap_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"));
    let candidate = |dir: &[u8]| {
        // An empty entry is the working directory, as in execvp(3).
        let mut text = if dir.is_empty() { b".".to_vec() } else { dir.to_vec() };
        text.push(b'/');
        text.extend_from_slice(name);
        CString::new(text).ok()
    };
    path.as_bytes().split(|byte| *byte == b':').filter_map(candidate).collect()
}
