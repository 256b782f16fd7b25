//! Whether a working directory can be inside, before anything is touched.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::command::Command;
use crate::engine::prepare::duty;
use crate::error::{Advice, Error, describe};
use crate::mount::{Create, Mount, MountKind};
use crate::namespace::Namespace;
use crate::plan::Plan;
use crate::plan::step::Step;
use crate::sys;

/// A working directory that surely can't be inside is refused early; all else is left to the child.
pub(super) fn check_directory(command: &Command, plan: &Plan) -> Result<(), Error> {
    let named = plan.steps.iter().find_map(|step| match step {
        Step::ChangeDir { dir, or_root: false } => Some(dir),
        _ => None,
    });
    let Some(named) = named else { return Ok(()) };
    let dir = Path::new(OsStr::from_bytes(named.to_bytes()));
    // Where the root is another one, only the child can tell.
    if command.chroot.is_some() || command.joins.iter().any(|join| join.kinds.contains(Namespace::Mount)) {
        return Ok(());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let (base, resolve) = match &command.root {
        Some(root) => {
            let root =
                rustix::fs::open(root, flags, Mode::empty()).map_err(|errno| duty("open the root", errno))?;
            (Some(root), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
        }
        None => (None, ResolveFlags::NO_MAGICLINKS),
    };
    let base = base.as_ref().map_or(CWD, |fd| rustix::fd::AsFd::as_fd(fd));
    let found = sys::kind_below(base, named, resolve);
    match found.and_then(|kind| if kind.is_dir() { Ok(()) } else { Err(Errno::NOTDIR) }) {
        Ok(()) | Err(Errno::AGAIN | Errno::TIMEDOUT) => Ok(()),
        // There the child has rights that the caller lacks.
        Err(Errno::ACCESS) if has_other_rights(command) => Ok(()),
        Err(_) if may_be_made(command, &Path::new("/").join(dir), (base, resolve)) => Ok(()),
        Err(errno) => {
            let advice = match errno {
                Errno::LOOP => Advice::new(
                    "it leads through a link of procfs, by which a process could get outside",
                    "name the directory itself",
                ),
                _ if command.root.is_some() => {
                    Advice { why: vec!["it is looked up inside the new root".to_owned()], fix: vec![] }
                }
                _ => Advice::default(),
            };
            Err(Error::invalid_with(
                format!(
                    "cannot use {} as the working directory: {}",
                    dir.display(),
                    describe(errno.raw_os_error())
                ),
                advice,
            ))
        }
    }
}

fn has_other_rights(command: &Command) -> bool {
    command.namespaces.contains(Namespace::User)
        || command.joins.iter().any(|join| join.kinds.contains(Namespace::User))
}

/// Whether what is not there now may be there when all is mounted: below a mount, above one that makes its place on the host, or
/// wherever a path may lead that is not what its words say.
fn may_be_made(command: &Command, dir: &Path, root: (BorrowedFd<'_>, ResolveFlags)) -> bool {
    let mut bringing = command.mounts.iter().filter(|mount| brings(mount)).peekable();
    if bringing.peek().is_none() {
        return false;
    }
    let is_strange = |mount: &Mount| {
        let others = |other: &&Mount| mount.target != other.target && mount.target.starts_with(&other.target);
        command.mounts.iter().filter(others).any(has_links) || !is_plain(&mount.target, root)
    };
    !is_plain(dir, root)
        || bringing.any(|mount| {
            let makes = command.create == Create::Host || mount.mkdir().is_some();
            let above = makes && mount.target.starts_with(dir);
            dir.starts_with(&mount.target) || above || is_strange(mount)
        })
}

/// Whether it shows, or makes, other directories than those that are there.
fn brings(mount: &Mount) -> bool {
    !matches!(
        mount.kind,
        MountKind::Mode(_)
            | MountKind::Mask { .. }
            | MountKind::ReadOnly
            | MountKind::RemountReadOnly
            | MountKind::Remount
    )
}

/// Whether links may be in it that nobody here has seen.
fn has_links(mount: &Mount) -> bool {
    matches!(
        mount.kind,
        MountKind::Bind { .. }
            | MountKind::Overlay { .. }
            | MountKind::FileSystem { .. }
            | MountKind::Symlink { .. }
    )
}

/// Whether a path leads where its words say, by no link and no `..`, as far as it is there.
fn is_plain(path: &Path, (base, resolve): (BorrowedFd<'_>, ResolveFlags)) -> bool {
    if path.components().any(|part| part == Component::ParentDir) {
        return false;
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    // What is not at hand is not plain for certain, and nobody waits for it.
    let resolve = resolve | ResolveFlags::NO_SYMLINKS | ResolveFlags::CACHED;
    for part in path.ancestors() {
        match rustix::fs::openat2(base, part, flags, Mode::empty(), resolve) {
            Ok(_) => return true,
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(_) => return false,
        }
    }
    true
}
