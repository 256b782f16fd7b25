//! `sept pin` and `unpin`: namespaces that live on by name.
//!
//! Root's pins are bind mounts in a directory of their own; those of others are descriptors that a small process, the
//! keeper, holds open.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lexopt::Parser;
use rustix::fs::{AtFlags, CWD, FlockOperation, StatxAttributes, StatxFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use sept::{CapabilitySet, Host, Namespace, NamespaceFile, NamespaceId, Namespaces, Target};

use crate::failure::Failure;
use crate::keeper;
use crate::options::{self, Id, Page};
use crate::place;
use crate::report;
use crate::words::{self, Word};

const ROOTS: &str = "/run/sept/pins";

/// A pin as it was found.
pub struct Pin {
    pub name: String,
    pub kinds: Vec<(Namespace, NamespaceId)>,
    /// Why it keeps nothing, where that is so.
    pub stale: Option<String>,
    pub place: PathBuf,
}

/// `sept pin TARGET NAME`.
pub fn pin_main(parser: &mut Parser) -> Result<u8, Failure> {
    let Some((kinds, words)) = parse(parser, &options::PIN)? else { return Ok(0) };
    let [target, name] = words.as_slice() else {
        return Err(Failure::usage("pin needs a TARGET and a NAME").fix("write: sept pin PID NAME"));
    };
    check_new(name)?;
    pin(&find(target)?, kinds, name).map(|()| 0)
}

/// `sept unpin NAME`.
pub fn unpin_main(parser: &mut Parser) -> Result<u8, Failure> {
    let Some((_, words)) = parse(parser, &options::UNPIN)? else { return Ok(0) };
    let [name] = words.as_slice() else {
        return Err(
            Failure::usage("unpin needs a NAME").fix("sept ls --columns ns,type,pins shows what is pinned")
        );
    };
    unpin(name).map(|()| 0)
}

/// Kinds and words; nothing if help was printed.
fn parse(parser: &mut Parser, page: &'static Page) -> Result<Option<(Namespaces, Vec<OsString>)>, Failure> {
    let (mut kinds, mut words) = (Namespaces::NONE, Vec::new());
    while let Some(word) = words::next(parser, page)? {
        let opt = match word {
            Word::Option { opt, .. } => opt,
            Word::Plain(word) => {
                words.push(word);
                continue;
            }
        };
        match opt.id {
            Id::Help => return report::print(&options::help(page)).map(|()| None),
            Id::JsonErrors => {}
            _ => kinds.insert(opt.long.parse().map_err(|why: String| Failure::usage(why))?),
        }
    }
    Ok(Some((kinds, words)))
}

/// What a word names: all digits a process, with a slash a file, else a pin.
pub fn find(word: &OsStr) -> Result<Vec<Target>, Failure> {
    let text = word.to_string_lossy();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let pid = sept::parse_id(&text).ok_or_else(|| Failure::usage(format!("{text} is no process id")))?;
        return Ok(vec![Target::process(pid)?]);
    }
    if text.contains('/') {
        return Ok(vec![Target::file(Path::new(word))?]);
    }
    let name = checked(word)?;
    let Some(place) = place_of(&name) else { return Err(unknown(&name)) };
    open(&name, &place).map_err(|why| {
        Failure::usage(format!("the pin {name} is stale: {why}"))
            .why("what it kept is gone")
            .fix(format!("sept unpin {name}"))
    })
}

fn unknown(name: &str) -> Failure {
    let failure = Failure::usage(format!("there is no pin {name}"));
    let known: Vec<String> = list().into_iter().map(|pin| pin.name).collect();
    let near = known.iter().find(|known| strsim::osa_distance(known, name) <= 2);
    match near {
        Some(near) => failure.fix(format!("perhaps {near} was meant")),
        None if known.is_empty() => failure.why("nothing is pinned").fix(format!("sept pin PID {name}")),
        None => failure.fix(format!("there are: {}", known.join(", "))),
    }
}

/// A name that is no pid, no path, and no trouble in a listing.
fn checked(name: &OsStr) -> Result<String, Failure> {
    let text = name.to_string_lossy().into_owned();
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    let good = !text.is_empty()
        && text.len() <= 64
        && text.chars().all(fits)
        && !text.starts_with(['.', '-'])
        && !text.bytes().all(|byte| byte.is_ascii_digit());
    if good {
        return Ok(text);
    }
    Err(Failure::usage(format!("{text:?} can't be the name of a pin"))
        .why("a name has 1 to 64 letters, digits and ._-+@, does not begin with . or -, and is not a number"))
}

fn is_root() -> bool {
    Host::caller().uid == 0
}

/// Where this user's pins are.
fn own_place() -> Result<PathBuf, Failure> {
    if is_root() {
        return Ok(ROOTS.into());
    }
    let missing = || {
        Failure::usage(
            "there is no place for this user's pins: XDG_RUNTIME_DIR is not set to a directory of this user",
        )
        .why("a name in /tmp could be taken by others")
        .fix("log in by a session manager, or: export XDG_RUNTIME_DIR=$(mktemp -d)")
    };
    let dir = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let dir = dir.ok_or_else(missing)?;
    let owned = fs::metadata(&dir).is_ok_and(|meta| meta.is_dir() && meta.uid() == Host::caller().uid);
    if owned { Ok(dir.join("sept/pins")) } else { Err(missing()) }
}

/// The places that are looked into: one's own, then root's.
fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = own_place().into_iter().collect();
    if !is_root() {
        places.push(ROOTS.into());
    }
    places
}

fn place_of(name: &str) -> Option<PathBuf> {
    places().into_iter().map(|place| place.join(name)).find(|place| place.symlink_metadata().is_ok())
}

/// Every pin that can be seen.
pub fn list() -> Vec<Pin> {
    let mut pins = Vec::new();
    for place in places() {
        // A place that is not there has no pins.
        for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // What sept would not have made is nobody's pin, and its name could be anything.
            if checked(&entry.file_name()).is_err() {
                continue;
            }
            let place = entry.path();
            let found = open(&name, &place);
            let id = |target: &Target| {
                let kind = target.kind()?;
                Some((kind, target.namespace(kind).ok()?.id().ok()?))
            };
            let (kinds, stale) = match found {
                Ok(targets) => (targets.iter().filter_map(id).collect(), None),
                Err(why) => (Vec::new(), Some(why)),
            };
            pins.push(Pin { name, kinds, stale, place });
        }
    }
    pins.sort_by(|one, other| one.name.cmp(&other.name));
    pins
}

/// The namespaces that a pin keeps, or why it keeps none.
fn open(name: &str, place: &Path) -> Result<Vec<Target>, String> {
    if place.is_dir() { open_mounts(name, place) } else { keeper::open(name, place) }
}

fn open_mounts(name: &str, place: &Path) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    for kind in Namespace::ALL {
        let path = place.join(kind.link());
        if path.symlink_metadata().is_ok() {
            let file = NamespaceFile::open(&path)
                .map_err(|_| format!("{} is a file with no namespace on it", path.display()))?;
            targets.push(Target::open(file, format!("pin {name}")));
        }
    }
    if targets.is_empty() { Err("it has no namespace".to_owned()) } else { Ok(targets) }
}

/// Refuses a name that is taken, or can't be one.
pub fn check_new(name: &OsStr) -> Result<(), Failure> {
    let name = checked(name)?;
    let place = own_place()?.join(&name);
    if place.symlink_metadata().is_err() {
        return Ok(());
    }
    let failure = Failure::usage(format!("there is a pin {name} already"));
    Err(match open(&name, &place) {
        Ok(_) => failure.fix(format!("take another name, or let go of that one: sept unpin {name}")),
        Err(why) => failure.why(format!("it is stale: {why}")).fix(format!("sept unpin {name}")),
    })
}

/// Keeps the namespaces of these kinds, or all that differ from ours.
pub fn pin(targets: &[Target], kinds: Namespaces, name: &OsStr) -> Result<(), Failure> {
    let files = offered(targets, kinds)?;
    if files.iter().any(|file| file.kind() == Namespace::Pid) {
        // Told, not refused: the others of the pin are kept all the same.
        report::note("a pid namespace ends with its PID 1, pinned or not");
    }
    let place = Place::alone()?;
    check_new(name)?;
    let name = checked(name)?;
    make_dir(&place.path)?;
    if is_root() { bind(&place.path, &name, &files) } else { keeper::pin(&place.path, &name, &files) }
}

/// What is to be kept of these targets: a process, or each namespace of a file or a pin.
fn offered(targets: &[Target], kinds: Namespaces) -> Result<Vec<NamespaceFile>, Failure> {
    let mut files = Vec::new();
    for target in targets {
        let offered = target.kind().map_or(Namespace::ALL.to_vec(), |kind| vec![kind]);
        for kind in offered {
            if kinds.contains(kind) || (kinds.is_empty() && target.differs(kind)?) {
                files.push(target.namespace(kind)?);
            }
        }
    }
    // Those of a pin have one name.
    let whose = targets.first().map(Target::to_string).unwrap_or_default();
    if let Some(missing) = kinds.iter().find(|kind| files.iter().all(|file| file.kind() != *kind)) {
        return Err(Failure::usage(format!("{whose} has no {missing} namespace")));
    }
    if files.is_empty() {
        return Err(Failure::usage(format!(
            "{whose} has the same namespaces as we have: there is nothing to pin"
        ))
        .fix("name the kinds to pin all the same, for instance -n"));
    }
    Ok(files)
}

const LOCK: &str = ".lock";

/// The place of this user's pins, while nobody else makes or removes some.
struct Place {
    path: PathBuf,
    _lock: File,
}

impl Place {
    fn alone() -> Result<Self, Failure> {
        let path = own_place()?;
        let above = path.parent().unwrap_or(&path);
        // A root that is a few files may have no /run.
        above.parent().map(make_dir).transpose()?;
        let lock = above.join(LOCK);
        let failed = |error: io::Error| Failure::io(format!("cannot lock {}", lock.display()), &error);
        let mut options = File::options();
        options.create(true).append(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        loop {
            make_dir(above)?;
            let file = match options.open(&lock) {
                // Somebody else has let go of the last pin in between. A link that leads nowhere is no such case.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !above.is_symlink() => continue,
                opened => opened.map_err(failed)?,
            };
            rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
            // One that was waited for may be gone from there, and others lock its successor.
            if place::is_at(&file, &lock).map_err(failed)? {
                return Ok(Self { path, _lock: file });
            }
        }
    }
}

impl Drop for Place {
    /// After the last pin nothing stays: neither the mount, whoever looks into it, nor the directories, nor the lock.
    fn drop(&mut self) {
        let empty = fs::read_dir(&self.path).is_ok_and(|mut entries| entries.next().is_none());
        if empty && is_root() && is_mount_point(&self.path) {
            let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
        }
        let removed = fs::remove_dir(&self.path);
        let gone = removed.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true);
        if gone && let Some(above) = self.path.parent() {
            let _ = fs::remove_file(above.join(LOCK));
            let _ = fs::remove_dir(above);
        }
    }
}

/// Makes a directory, if it is not there.
fn make_dir(path: &Path) -> Result<(), Failure> {
    let mode = if is_root() { 0o755 } else { 0o700 };
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(|error| Failure::io(format!("cannot make {}", path.display()), &error)),
    }
}

fn bind(place: &Path, name: &str, files: &[NamespaceFile]) -> Result<(), Failure> {
    if !Host::caller().capabilities.contains(CapabilitySet::SYS_ADMIN) {
        return Err(Failure::usage("cannot pin: root without CAP_SYS_ADMIN can't mount")
            .fix("run it outside of the container"));
    }
    make_private(place)?;
    let dir = place.join(name);
    let made = DirBuilder::new().mode(0o755).create(&dir);
    made.map_err(|error| Failure::io(format!("cannot make {}", dir.display()), &error))?;
    for file in files {
        let path = dir.join(file.kind().link());
        let bound = File::create_new(&path).and_then(|_| {
            let source = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
            Ok(rustix::mount::mount_bind(source, &path)?)
        });
        if let Err(error) = bound {
            let failure =
                Failure::io(format!("cannot bind a {} namespace to {}", file.kind(), path.display()), &error);
            remove_mounts(&dir)?;
            // A mount namespace can be bound only in an older one, and some kernels number them by processor, so that one
            // older looks younger (Linux 6.18). A process can hold it all the same.
            if file.kind() == Namespace::Mount && error.raw_os_error() == Some(libc::EINVAL) {
                return keeper::pin(place, name, files);
            }
            return Err(failure);
        }
    }
    Ok(())
}

/// Mount namespaces can be bound on a private mount only, and no pin shall spread into others.
fn make_private(place: &Path) -> Result<(), Failure> {
    if is_mount_point(place) {
        return Ok(());
    }
    let made = rustix::mount::mount_bind(place, place)
        .and_then(|()| rustix::mount::mount_change(place, MountPropagationFlags::PRIVATE));
    made.map_err(|errno| {
        Failure::io(format!("cannot make {} a private mount", place.display()), &errno.into())
            .why("pins of root are bind mounts")
    })
}

fn is_mount_point(path: &Path) -> bool {
    let stat = rustix::fs::statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    stat.is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn remove_mounts(dir: &Path) -> Result<(), Failure> {
    let failed =
        |path: &Path, error: io::Error| Failure::io(format!("cannot remove {}", path.display()), &error);
    for entry in fs::read_dir(dir).map_err(|error| failed(dir, error))?.flatten() {
        let path = entry.path();
        while is_mount_point(&path) {
            rustix::mount::unmount(&path, UnmountFlags::DETACH)
                .map_err(|errno| failed(&path, errno.into()))?;
        }
        fs::remove_file(&path).map_err(|error| failed(&path, error))?;
    }
    fs::remove_dir(dir).map_err(|error| failed(dir, error))
}

/// Lets go of a pin, stale or not.
pub fn unpin(name: &OsStr) -> Result<(), Failure> {
    let name = checked(name)?;
    let path = own_place()?.join(&name);
    let is_there = || path.symlink_metadata().is_ok();
    let _alone = is_there().then(Place::alone).transpose()?;
    // Asked again: somebody else may have let go of it meanwhile.
    if !is_there() {
        return Err(match place_of(&name) {
            Some(_) => {
                Failure::usage(format!("the pin {name} is root's")).fix(format!("sudo sept unpin {name}"))
            }
            None => unknown(&name),
        });
    }
    if path.is_dir() {
        return remove_mounts(&path);
    }
    keeper::end(&path)?;
    fs::remove_file(&path).map_err(|error| Failure::io(format!("cannot remove {}", path.display()), &error))
}
