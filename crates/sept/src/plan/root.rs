//! Mounts and the root: what is lowered to which steps.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::command::{Chroot, Command};
use crate::error::{Advice, Error};
use crate::host::Host;
use crate::mount::{Access, Bind, Create, Device, DeviceType, Mount, MountKind, Propagation, Upper};
use crate::namespace::Namespace;
use crate::plan::options::{change, id_map};
use crate::plan::step::{Attributes, Change, Source, Step, UpperDir};
use crate::plan::{below, path};
use crate::sys::attr::{NODEV, NOEXEC, NOSUID, RDONLY};

/// Name, major and minor number of the device files of a small /dev; see Documentation/admin-guide/devices.txt.
const DEVICES: [(&str, (u32, u32)); 6] = [
    ("null", (1, 3)),
    ("zero", (1, 5)),
    ("full", (1, 7)),
    ("random", (1, 8)),
    ("urandom", (1, 9)),
    ("tty", (5, 0)),
];

const LINKS: [(&str, &str); 6] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

pub(super) fn mounts(command: &Command, host: &Host, steps: &mut Vec<Step>) -> Result<(), Error> {
    if !command.namespaces.contains(Namespace::Mount) {
        return chroot(command, steps);
    }
    // First of the mounts: none of the others may be seen on the host.
    let propagation = command.propagation.unwrap_or(Propagation::Private);
    if propagation != Propagation::Unchanged {
        steps.push(Step::Propagate(propagation));
    }
    let own_root = own_root(command);
    // Read-only before the own mounts: a tmpfs of the command's own stays writable.
    match own_root {
        Some(dir) => {
            steps.push(Step::CloneRoot { dir: path("the root", dir)?, read_only: command.read_only });
        }
        None if command.read_only => steps.push(Step::ReadOnlyAll),
        None => {}
    }
    // Before the mounts, whose paths are then those inside it.
    chroot(command, steps)?;
    // Before the pivot: the kernel gives proc and sysfs only to who still sees the host's.
    let mut mounts = Vec::with_capacity(command.mounts.len());
    for mount in &command.mounts {
        lower(command, host, mount, &mut mounts)?;
    }
    steps.extend(hold(own_root, &mounts)?);
    steps.append(&mut mounts);
    for (mount, line) in &command.interpreters {
        let file = path("binfmt_misc", &below(mount, "register"))?;
        let line =
            CString::new(line.as_str()).map_err(|_| Error::invalid("a binary format holds a NUL byte"))?;
        steps.push(Step::LoadInterpreter { file, line });
    }
    if own_root.is_some() {
        // Nobody asked for another root, so nobody expects another directory.
        steps.push(Step::PivotRoot { keep_dir: command.root.is_none() });
    }
    Ok(())
}

/// The root to pivot to. A bind is as writable as its source, which read-only mounts are not: where there are both, the
/// read-only root is a clone, and the sources stay as they are.
fn own_root(command: &Command) -> Option<&Path> {
    let writable = |mount: &Mount| match &mount.kind {
        MountKind::Bind { access, .. } => *access != Access::ReadOnly,
        MountKind::Overlay { upper, .. } => matches!(upper, Upper::Directory(..)),
        _ => false,
    };
    let cloned = command.read_only && command.chroot.is_none() && command.mounts.iter().any(writable);
    command.root.as_deref().or(cloned.then_some(Path::new("/")))
}

/// More than this are not opened beforehand.
pub(crate) const MOST_HELD: usize = 64;

/// The sources of binds are those outside: not what an earlier mount has put over them.
fn hold(own_root: Option<&Path>, mounts: &[Step]) -> Result<Option<Step>, Error> {
    // A root of its own covers nothing of the host's but itself; a clone of all of it, nothing.
    if own_root == Some(Path::new("/")) {
        return Ok(None);
    }
    let base = own_root.unwrap_or(Path::new("/"));
    let (mut targets, mut seen) = (HashSet::new(), HashSet::new());
    let (mut all, mut covered) = (Vec::new(), Vec::new());
    for step in mounts {
        let (Step::Mount { target, .. } | Step::Mask(target)) = step else { continue };
        for source in sources(step).filter(|_| !targets.is_empty()) {
            if !seen.insert(source) {
                continue;
            }
            if as_path(source).ancestors().any(|above| targets.contains(above)) {
                covered.push(source);
            }
            all.push(source);
        }
        targets.insert(base.join(as_path(target).strip_prefix("/").unwrap_or(Path::new(""))));
    }
    // By its words alone a path does not tell whether it is covered: a link may lead there. So all of them, if they are few.
    let held = if own_root.is_none() && all.len() <= MOST_HELD { all } else { covered };
    if held.len() > MOST_HELD {
        return Err(Error::invalid_with(
            format!("more than {MOST_HELD} sources of binds are covered by mounts that are made before"),
            Advice { why: vec![], fix: vec!["give those binds first".to_owned()] },
        ));
    }
    let held: Vec<CString> = held.into_iter().map(CStr::to_owned).collect();
    Ok(Some(held).filter(|held| !held.is_empty()).map(Step::Hold))
}

/// The paths outside that a step looks up.
fn sources(step: &Step) -> impl Iterator<Item = &CStr> {
    let (one, lower, upper): (Option<&CStr>, &[CString], _) = match step {
        // Those with mapped owners are opened by the caller.
        Step::Mount {
            source: Source::Bind { path, id_map: None, .. } | Source::Device { path, .. }, ..
        } => (Some(path), &[], &UpperDir::None),
        Step::Mount { source: Source::Overlay { lower, upper, .. }, .. } => (None, lower, upper),
        Step::Mask(_) => (Some(NULL), &[], &UpperDir::None),
        _ => (None, &[], &UpperDir::None),
    };
    let upper = match upper {
        UpperDir::Directory(upper, work) => [Some(upper.as_c_str()), Some(work.as_c_str())],
        UpperDir::None | UpperDir::Tmpfs => [None, None],
    };
    one.into_iter().chain(lower.iter().map(CString::as_c_str)).chain(upper.into_iter().flatten())
}

/// What masks a file.
pub(crate) const NULL: &CStr = c"/dev/null";

fn as_path(path: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(path.to_bytes()))
}

fn chroot(command: &Command, steps: &mut Vec<Step>) -> Result<(), Error> {
    match &command.chroot {
        Some(Chroot::Path(dir)) => steps.push(Step::Chroot(path("the root", dir)?)),
        Some(Chroot::Opened(dir)) => steps.push(Step::ChrootTo(dir.name.clone())),
        None => {}
    }
    Ok(())
}

fn lower(command: &Command, host: &Host, mount: &Mount, steps: &mut Vec<Step>) -> Result<(), Error> {
    if !mount.target.is_absolute() {
        return Err(Error::invalid_with(
            format!("the mount point {:?} is not an absolute path", mount.target),
            Advice { why: vec![], fix: vec!["name it from the root on, as it is seen inside".to_owned()] },
        ));
    }
    if let MountKind::Data { fd, .. } | MountKind::File { fd, .. } = mount.kind
        && fd < 0
    {
        return Err(Error::invalid(format!("{fd} is no descriptor")));
    }
    let target = path("a mount point", &mount.target)?;
    let change = change(command, mount, Attributes::set(base(mount)))?;
    if mount.kind == MountKind::Remount || mount.options.as_ref().is_some_and(|options| options.remount) {
        steps.push(Step::Remount { at: target, change });
        return Ok(());
    }
    if let Some(step) = alter(command, mount, &target)? {
        steps.push(step);
        return Ok(());
    }
    let source = match &mount.kind {
        MountKind::Bind { source, access } => {
            let reach = mount.options.as_ref().and_then(|options| options.reach);
            Source::Bind {
                path: path("the source of a bind", source)?,
                access: *access,
                recursive: reach != Some(Bind::One),
                id_map: id_map(command, host, mount, steps)?,
            }
        }
        MountKind::Data { fd, mode, access } => Source::Data { fd: *fd, mode: *mode, access: *access },
        MountKind::Device { source, device } => Source::Device {
            path: path("a device", source)?,
            device: *device,
            // A named pipe takes no right; a device none that a user namespace could give.
            make: device.kind == DeviceType::Fifo
                || host.can_make_devices() && !command.namespaces.contains(Namespace::User),
        },
        MountKind::FileSystem { kind, source } => Source::FileSystem {
            kind: path("the type of a file system", Path::new(kind))?,
            source: source
                .as_ref()
                .map(|source| path("the source of a mount", Path::new(source)))
                .transpose()?,
        },
        MountKind::Tmpfs { mode, size } => tmpfs(*mode, *size)?,
        MountKind::Overlay { lower, upper } => overlay(command, lower, upper)?,
        MountKind::Proc => proc_source(command)?,
        MountKind::Sysfs if command.namespaces.contains(Namespace::Net) => Source::Sysfs,
        MountKind::Sysfs => {
            Source::Bind { path: c"/sys".to_owned(), access: Access::ReadOnly, recursive: true, id_map: None }
        }
        MountKind::Mqueue => Source::Mqueue,
        MountKind::BinfmtMisc => Source::BinfmtMisc,
        MountKind::Dev => return dev(command, &mount.target, target, steps),
        // `alter` has taken the others.
        _ => return Ok(()),
    };
    steps.push(Step::Mount { source, change, target, create: command.create });
    Ok(())
}

/// The attributes that a mount has by itself.
fn base(mount: &Mount) -> u64 {
    match &mount.kind {
        MountKind::Bind { access, .. } | MountKind::Data { access, .. } => match access {
            Access::ReadWrite => NOSUID | NODEV,
            Access::ReadOnly => NOSUID | NODEV | RDONLY,
            Access::Devices => NOSUID,
            Access::Unchanged => 0,
        },
        MountKind::Device { .. } => NOSUID | NOEXEC,
        MountKind::Tmpfs { .. } | MountKind::Overlay { .. } => NOSUID | NODEV,
        MountKind::Proc | MountKind::Mqueue | MountKind::BinfmtMisc => NOSUID | NODEV | NOEXEC,
        MountKind::Sysfs => NOSUID | NODEV | NOEXEC | RDONLY,
        _ => 0,
    }
}

/// What changes the file tree without a mount of its own.
fn alter(command: &Command, mount: &Mount, target: &CString) -> Result<Option<Step>, Error> {
    let (at, create) = (target.clone(), command.create);
    Ok(Some(match &mount.kind {
        MountKind::Symlink { to } => Step::Symlink { to: path("a link", to)?, at },
        MountKind::Directory { mode } => Step::MakeDir { at, mode: *mode, create },
        MountKind::File { fd, mode } => Step::WriteFile { fd: *fd, at, mode: *mode, create },
        MountKind::Mode(mode) => Step::ChangeMode { at, mode: *mode, create },
        MountKind::Mask => Step::Mask(at),
        MountKind::RemountReadOnly => Step::RemountReadOnly(at),
        _ => return Ok(None),
    }))
}

fn number(text: String) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::invalid("a number holds a NUL byte"))
}

fn tmpfs(mode: u32, size: Option<u64>) -> Result<Source, Error> {
    let size = size.map(|size| number(size.to_string())).transpose()?;
    Ok(Source::Tmpfs { mode: number(format!("{mode:o}"))?, size })
}

fn overlay(command: &Command, lower: &[PathBuf], upper: &Upper) -> Result<Source, Error> {
    if lower.is_empty() {
        return Err(Error::invalid_with(
            "an overlay needs at least one directory below",
            Advice { why: vec![], fix: vec!["name it before: --overlay-src DIR".to_owned()] },
        ));
    }
    if lower.len() == 1 && *upper == Upper::None {
        return Err(Error::invalid_with(
            "a read-only overlay needs at least two directories",
            Advice::new("overlayfs merges nothing into one", "show the one: --ro-bind, Access::ReadOnly"),
        ));
    }
    let dir = |dir: &PathBuf| path("a directory of an overlay", dir);
    Ok(Source::Overlay {
        lower: lower.iter().map(dir).collect::<Result<_, _>>()?,
        upper: match upper {
            Upper::None => UpperDir::None,
            Upper::Tmpfs => UpperDir::Tmpfs,
            Upper::Directory(upper, work) => UpperDir::Directory(dir(upper)?, dir(work)?),
        },
        user: command.namespaces.contains(Namespace::User),
    })
}

/// proc shows the pid namespace of who mounts it; in a user namespace only one's own may be shown.
fn proc_source(command: &Command) -> Result<Source, Error> {
    let new = |kind| command.namespaces.contains(kind);
    if new(Namespace::User) && !new(Namespace::Pid) {
        return Err(Error::invalid_with(
            "a fresh proc needs a new pid namespace",
            Advice::new(
                "in a new user namespace the kernel refuses a proc of the caller's pid namespace",
                "ask for a new pid namespace, too",
            )
            .or("share the present one: --bind /proc /proc"),
        ));
    }
    Ok(Source::Proc)
}

/// A tmpfs with the few devices that programs expect, an own devpts, and the links to descriptors.
fn dev(command: &Command, base: &Path, target: CString, steps: &mut Vec<Step>) -> Result<(), Error> {
    let with = |set| Change { all: Attributes::set(set), ..Change::default() };
    let (source, create) = (tmpfs(0o755, None)?, command.create);
    steps.push(Step::Mount { source, change: with(NOSUID | NODEV), target, create });
    let mut mount = |source, set, name: &str| -> Result<(), Error> {
        let target = path("a mount point", &below(base, name))?;
        steps.push(Step::Mount { source, change: with(set), target, create: Create::Own });
        Ok(())
    };
    for (name, (major, minor)) in DEVICES {
        let path = path("a device", &below(Path::new("/dev"), name))?;
        let kind = DeviceType::Character;
        let device = Device { kind, major, minor, mode: 0o666, uid: 0, gid: 0 };
        mount(Source::Device { path, device, make: false }, NOSUID | NOEXEC, name)?;
    }
    mount(Source::Devpts, NOSUID | NOEXEC, "pts")?;
    mount(tmpfs(0o1777, None)?, NOSUID | NODEV, "shm")?;
    for (name, to) in LINKS {
        let at = path("a link", &below(base, name))?;
        steps.push(Step::Symlink { to: path("a link", Path::new(to))?, at });
    }
    Ok(())
}
