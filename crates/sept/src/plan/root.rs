//! Mounts and the root: what is lowered to which steps.

use std::ffi::{CStr, CString};
use std::path::{Component, Path, PathBuf};

use crate::capability::CapabilitySet;
use crate::command::{Chroot, Command};
use crate::error::{Advice, Error};
use crate::host::Host;
use crate::id_map::IdRange;
use crate::mount::{
    Access, Bind, Create, Device, DeviceType, MakePoint, Mount, MountKind, Propagation, Stay, Upper, is_root,
};
use crate::namespace::Namespace;
use crate::plan::options::{becomes_read_only, change, id_map};
use crate::plan::sources::Sources;
use crate::plan::step::{Attributes, Change, Held, Renames, Restriction, Source, Step, UpperDir};
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
    // Before all that covers or restricts: a source is what the caller sees there.
    let first = steps.len();
    let mut sources = Sources::new(own_root, command.mounts.len(), host.dir.as_deref());
    // Read-only before the own mounts: a tmpfs of the command's own stays writable.
    let restriction = Restriction { read_only: command.read_only, no_devices: command.no_devices };
    match own_root {
        Some(dir) => steps.push(Step::CloneRoot { dir: path("the root", dir)?, restriction }),
        None if restriction != Restriction::default() => steps.push(Step::RestrictAll(restriction)),
        None => {}
    }
    // Before the mounts, whose paths are then those inside it.
    chroot(command, steps)?;
    // Before the pivot: the kernel gives proc and sysfs only to who still sees the host's.
    for mount in &command.mounts {
        lower(command, host, mount, &mut sources, steps)?;
        sources.cover(&mount.target);
    }
    if !sources.held.is_empty() {
        steps.insert(first, Step::Hold(sources.held));
    }
    for (mount, line) in &command.interpreters {
        let file = path("binfmt_misc", &below(mount, "register"))?;
        let line =
            CString::new(line.as_str()).map_err(|_| Error::invalid("a binary format holds a NUL byte"))?;
        steps.push(Step::LoadInterpreter { file, line });
    }
    if pivots(command) {
        steps.push(Step::PivotRoot);
    }
    Ok(())
}

fn pivots(command: &Command) -> bool {
    own_root(command).is_some() || command.mounts.iter().any(Mount::is_root)
}

/// To which directory the command goes, and whether `/` will do.
///
/// What was mounted may lie over the one that the caller is in: its child, which is below that, goes there anew, by name.
pub(super) fn directory(command: &Command, host: &Host) -> Result<Option<(CString, bool)>, Error> {
    let asked = command.dir.as_deref();
    let to = |dir: &Path, or_root| path("the working directory", dir).map(|dir| Some((dir, or_root)));
    let mounts = command.namespaces.contains(Namespace::Mount)
        && (!command.mounts.is_empty() || command.root.is_some());
    let at_top = command.root.is_some() || command.chroot.is_some();
    match (asked, host.dir.as_deref()) {
        (Some(dir), _) if dir.is_absolute() || !mounts || dir.as_os_str().is_empty() => {
            to(dir, command.dir_or_root)
        }
        (Some(dir), _) if at_top => to(&Path::new("/").join(dir), command.dir_or_root),
        (Some(dir), Some(here)) => to(&here.join(dir).components().collect::<PathBuf>(), command.dir_or_root),
        (Some(dir), None) => Err(Error::invalid_with(
            format!("the working directory {} can't be found from where this process is", dir.display()),
            Advice::new(
                "the directory of this process has been removed, or has no name here, and mounts may cover it",
                "name it from the root on",
            ),
        )),
        (None, Some(here)) if mounts && !at_top && (pivots(command) || may_cover(command, here)) => {
            to(here, true)
        }
        // One that is removed, or nowhere in this mount namespace, is below what nothing here covers or restricts.
        (None, None) if mounts && !at_top && (command.restricts() || may_cover(command, Path::new(""))) => {
            to(Path::new("/"), false)
        }
        (None, _) => Ok(None),
    }
}

/// Whether some mount may lie over a directory. The kernel's own file systems are where their names say; elsewhere a name can lead
/// anywhere.
fn may_cover(command: &Command, dir: &Path) -> bool {
    let is_kernels = |path: &Path| {
        let plain = !path.components().any(|part| part == Component::ParentDir);
        plain && (path.starts_with("/proc") || path.starts_with("/sys"))
    };
    is_kernels(dir) || !command.mounts.iter().all(|mount| is_kernels(&mount.target))
}

/// The root to pivot to. A bind is as writable as its source, which restricted mounts are not: where there are both, the
/// restricted root is a clone, and the sources stay as they are.
fn own_root(command: &Command) -> Option<&Path> {
    let writable = |mount: &Mount| match &mount.kind {
        MountKind::Bind { access, .. } => *access != Access::ReadOnly,
        MountKind::Overlay { upper, .. } => matches!(upper, Upper::Directory(..)),
        _ => false,
    };
    let cloned = command.restricts() && command.chroot.is_none() && command.mounts.iter().any(writable);
    command.root.as_deref().or(cloned.then_some(Path::new("/")))
}

/// What masks a file.
pub(crate) const NULL: &CStr = c"/dev/null";

fn chroot(command: &Command, steps: &mut Vec<Step>) -> Result<(), Error> {
    match &command.chroot {
        Some(Chroot::Path(dir)) => steps.push(Step::Chroot(path("the root", dir)?)),
        Some(Chroot::Opened(dir)) => steps.push(Step::ChrootTo(dir.name.clone())),
        None => {}
    }
    Ok(())
}

fn lower(
    command: &Command,
    host: &Host,
    mount: &Mount,
    sources: &mut Sources,
    steps: &mut Vec<Step>,
) -> Result<(), Error> {
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
    check_mode(mount)?;
    let at_root = is_root(&mount.target);
    let target = if at_root { c"/".to_owned() } else { path("a mount point", &mount.target)? };
    let change = change(command, mount, base(command, mount))?;
    if command.keeps_in_place.is_some() && !at_root && mount.stay != Stay::Loose {
        steps.push(Step::Keep { at: target.clone(), stay: mount.stay, renames: renames(command, host) });
    }
    if mount.is_remount() {
        steps.push(Step::Remount { at: target, change });
        return Ok(());
    }
    let masks = matches!(mount.kind, MountKind::Mask { .. });
    if masks {
        sources.hold_place(NULL);
    }
    if at_root && masks {
        return Err(Error::invalid_with(
            "a mask of / would leave nothing",
            Advice { why: vec![], fix: vec!["begin with an empty root: --tmpfs /".to_owned()] },
        ));
    }
    if at_root && mount.kind == MountKind::ReadOnly {
        steps.push(Step::RemountReadOnly(target));
        return Ok(());
    }
    if let Some(step) = alter(command, mount, &target)? {
        steps.push(step);
        return Ok(());
    }
    steps.extend(kept_apart(command, mount)?);
    let source = match &mount.kind {
        MountKind::Bind { source, access } => {
            let reach = mount.options.as_ref().and_then(|options| options.reach);
            let (path, recursive) = (path("the source of a bind", source)?, reach != Some(Bind::One));
            let id_map = id_map(command, host, mount, steps)?;
            let held = if id_map.is_some() {
                None
            } else {
                sources.hold(&path, if recursive { Held::Tree } else { Held::One })
            };
            Source::Bind { path, access: *access, recursive, id_map, held }
        }
        MountKind::Data { fd, mode, access } => Source::Data { fd: *fd, mode: *mode, access: *access },
        MountKind::Device { source, device } => {
            let path = path("a device", source)?;
            // A named pipe takes no right; a device none that a user namespace could give.
            let make = device.kind == DeviceType::Fifo
                || host.can_make_devices() && !command.namespaces.contains(Namespace::User);
            sources.hold_place(&path);
            Source::Device { path, device: *device, make }
        }
        MountKind::FileSystem { kind, source } => Source::FileSystem {
            kind: path("the type of a file system", Path::new(kind))?,
            source: source
                .as_ref()
                .map(|source| path("the source of a mount", Path::new(source)))
                .transpose()?,
        },
        MountKind::Tmpfs { mode, size } => tmpfs(*mode, *size)?,
        MountKind::Overlay { lower, upper } => overlay(command, lower, upper, sources)?,
        MountKind::Proc => proc_source(command, mount)?,
        MountKind::Sysfs if command.namespaces.contains(Namespace::Net) => Source::Sysfs,
        MountKind::Sysfs => Source::Bind {
            path: c"/sys".to_owned(),
            access: Access::ReadOnly,
            recursive: true,
            id_map: None,
            held: None,
        },
        MountKind::Mqueue => Source::Mqueue,
        MountKind::BinfmtMisc => Source::BinfmtMisc,
        MountKind::Dev => return dev(command, &mount.target, target, sources, steps),
        // `alter` has taken the others.
        _ => return Ok(()),
    };
    let read_only = becomes_read_only(mount).then(|| Step::RemountReadOnly(target.clone()));
    if let Some(MakePoint::Directory(mode)) = mount.mkdir() {
        steps.push(Step::MakeDir { at: target.clone(), mode, create: Create::Host });
    }
    // Asked for with the mount itself, as mount(8) has it.
    let create = if mount.mkdir().is_some() { Create::Host } else { command.create };
    steps.push(Step::Mount { source, change, target, create });
    steps.extend(read_only);
    Ok(())
}

/// What the command may rename, as far as ids and rights go: every doubt is a yes.
fn renames(command: &Command, host: &Host) -> Renames {
    let over_others =
        [CapabilitySet::SETUID, CapabilitySet::SETGID, CapabilitySet::DAC_OVERRIDE, CapabilitySet::FOWNER];
    // That of another may be what opens a directory, or leaves one that its group closes.
    let is_own = |map: &[IdRange], own| match map {
        [] => true,
        [one] => one.count == 1 && one.outside == own,
        _ => false,
    };
    let joins = command.joins.iter().any(|join| join.kinds.contains(Namespace::User));
    let many = command.map_all
        || command.subids.is_some()
        || !is_own(&command.uid_map, host.uid)
        || !is_own(&command.gid_map, host.gid);
    let all =
        host.uid == 0 || joins || many || over_others.into_iter().any(|one| host.capabilities.contains(one));
    if all { Renames::All } else { Renames::Own }
}

/// The attributes that a mount has by itself.
fn base(command: &Command, mount: &Mount) -> Attributes {
    Attributes::set(match &mount.kind {
        MountKind::Bind { access, .. } | MountKind::Data { access, .. } => match access {
            Access::ReadWrite => NOSUID | NODEV,
            Access::ReadOnly => NOSUID | NODEV | RDONLY,
            Access::Devices => NOSUID,
            Access::Unchanged => 0,
        },
        MountKind::Device { .. } => return of_device(command),
        MountKind::Tmpfs { .. } | MountKind::Overlay { .. } => NOSUID | NODEV,
        MountKind::Proc | MountKind::Mqueue | MountKind::BinfmtMisc => NOSUID | NODEV | NOEXEC,
        MountKind::Sysfs => NOSUID | NODEV | NOEXEC | RDONLY,
        _ => 0,
    })
}

/// A device file that was asked for works, also where it comes from a tree in which none does. It can be written to all the same where
/// its mount is read-only: what can't be changed then is the file, which is the host's.
fn of_device(command: &Command) -> Attributes {
    Attributes {
        clear: if command.no_devices { NODEV } else { 0 },
        ..Attributes::set(NOSUID | NOEXEC | RDONLY)
    }
}

/// What changes the file tree without a mount of its own.
fn alter(command: &Command, mount: &Mount, target: &CString) -> Result<Option<Step>, Error> {
    let (at, create) = (target.clone(), command.create);
    Ok(Some(match &mount.kind {
        MountKind::Symlink { to } => Step::Symlink { to: path("a link", to)?, at, create },
        MountKind::Directory { mode } => Step::MakeDir { at, mode: *mode, create },
        MountKind::File { fd, mode } => Step::WriteFile { fd: *fd, at, mode: *mode, create },
        MountKind::Mode(mode) => Step::ChangeMode { at, mode: *mode, create },
        MountKind::Mask { if_there } => Step::Mask { at, if_there: *if_there },
        MountKind::ReadOnly => Step::ReadOnly(at),
        MountKind::RemountReadOnly => Step::RemountReadOnly(at),
        _ => return Ok(None),
    }))
}

/// The kernel would pass over all other bits.
fn check_mode(mount: &Mount) -> Result<(), Error> {
    let mode = match &mount.kind {
        MountKind::Data { mode, .. }
        | MountKind::Tmpfs { mode, .. }
        | MountKind::Directory { mode }
        | MountKind::File { mode, .. }
        | MountKind::Mode(mode) => *mode,
        MountKind::Device { device, .. } => device.mode,
        _ => 0,
    };
    if mode <= 0o7777 {
        return Ok(());
    }
    Err(Error::invalid_with(
        format!("the mode {mode:o} for {} has bits that no mode has", mount.target.display()),
        Advice { why: vec![], fix: vec!["give one of 0 to 7777, octal: see inode(7)".to_owned()] },
    ))
}

fn number(text: String) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::invalid("a number holds a NUL byte"))
}

fn tmpfs(mode: u32, size: Option<u64>) -> Result<Source, Error> {
    // Rounded up to pages, what is too great becomes 0 again.
    if let Some(size) = size.filter(|size| !(1..=i64::MAX as u64).contains(size)) {
        return Err(Error::invalid_with(
            format!("{size} bytes are no size of a tmpfs: the kernel would take them for no limit"),
            Advice {
                why: vec![],
                fix: vec!["give 1 to 9223372036854775807, or none for half of the memory".to_owned()],
            },
        ));
    }
    let size = size.map(|size| number(size.to_string())).transpose()?;
    Ok(Source::Tmpfs { mode: number(format!("{mode:o}"))?, size })
}

fn overlay(
    command: &Command,
    lower: &[PathBuf],
    upper: &Upper,
    sources: &mut Sources,
) -> Result<Source, Error> {
    if lower.is_empty() {
        return Err(Error::invalid_with(
            "an overlay needs at least one directory below",
            Advice { why: vec![], fix: vec!["name it before: --overlay-src DIR".to_owned()] },
        ));
    }
    if lower.len() == 1 && *upper == Upper::None {
        return Err(Error::invalid_with(
            "a read-only overlay needs at least two directories",
            Advice::new("overlayfs merges nothing into one", "show the one: --ro-bind"),
        ));
    }
    let mut dir = |dir: &PathBuf| {
        let path = path("a directory of an overlay", dir)?;
        sources.hold_place(&path);
        Ok::<_, Error>(path)
    };
    Ok(Source::Overlay {
        lower: lower.iter().map(&mut dir).collect::<Result<_, _>>()?,
        upper: match upper {
            Upper::None => UpperDir::None,
            Upper::Tmpfs => UpperDir::Tmpfs,
            Upper::Directory(upper, work) => UpperDir::Directory(dir(upper)?, dir(work)?),
        },
        user: command.namespaces.contains(Namespace::User),
    })
}

/// A proc of this pid namespace, and what goes with it, is of no use outside, whatever else is to be seen there: as unshare(1), what it lies
/// on is made private. In a new user namespace nothing is seen outside.
fn kept_apart(command: &Command, mount: &Mount) -> Result<Option<Step>, Error> {
    let seen_outside = matches!(command.propagation, Some(Propagation::Shared | Propagation::Unchanged))
        && !command.namespaces.contains(Namespace::User)
        && own_root(command).is_none();
    if !seen_outside || !matches!(mount.kind, MountKind::Proc | MountKind::BinfmtMisc) {
        return Ok(None);
    }
    let proc = Path::new("/proc");
    let on = if mount.target.starts_with(proc) { proc } else { &mount.target };
    let all = Attributes { propagation: libc::MS_PRIVATE, ..Attributes::NONE };
    let change = Change { words: "rprivate".to_owned(), ..Change::of(all) };
    Ok(Some(Step::Remount { at: path("a mount point", on)?, change }))
}

/// proc shows the pid namespace of who mounts it; in a user namespace only one's own may be shown.
fn proc_source(command: &Command, mount: &Mount) -> Result<Source, Error> {
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
    let place = Path::new("/proc");
    let first = command.mounts.first() == Some(mount);
    let below = |other: &Mount| other.target.starts_with(place);
    let plain = first
        && mount.target == place
        && mount.options.is_none()
        && own_root(command).is_none()
        && command.chroot.is_none()
        && !command.mounts.iter().skip(1).any(below);
    Ok(Source::Proc { plain })
}

/// A tmpfs with the few devices that programs expect, an own devpts, and the links to descriptors.
fn dev(
    command: &Command,
    base: &Path,
    target: CString,
    sources: &mut Sources,
    steps: &mut Vec<Step>,
) -> Result<(), Error> {
    // It covers itself.
    sources.cover(base);
    let (source, create) = (tmpfs(0o755, None)?, command.create);
    steps.push(Step::Mount { source, change: Change::of(Attributes::set(NOSUID | NODEV)), target, create });
    let mut mount = |source, all, name: &str| -> Result<(), Error> {
        let target = path("a mount point", &below(base, name))?;
        steps.push(Step::Mount { source, change: Change::of(all), target, create: Create::Own });
        Ok(())
    };
    for (name, (major, minor)) in DEVICES {
        let path = path("a device", &below(Path::new("/dev"), name))?;
        let kind = DeviceType::Character;
        let device = Device { kind, major, minor, mode: 0o666, uid: 0, gid: 0 };
        sources.hold_place(&path);
        mount(Source::Device { path, device, make: false }, of_device(command), name)?;
    }
    mount(Source::Devpts, Attributes::set(NOSUID | NOEXEC), "pts")?;
    mount(tmpfs(0o1777, None)?, Attributes::set(NOSUID | NODEV), "shm")?;
    for (name, to) in LINKS {
        let at = path("a link", &below(base, name))?;
        steps.push(Step::Symlink { to: path("a link", Path::new(to))?, at, create: Create::Own });
    }
    Ok(())
}
