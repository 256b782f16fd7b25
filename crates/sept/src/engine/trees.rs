//! Trees of mounts with mapped owners: only who has the right to a file system outside may map its owners, so the caller
//! makes them, attached nowhere, before the clone.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::parent::seen_in_proc;
use super::prepare::{duty, open_proc};
use crate::error::{Advice, Error};
use crate::host::advice::write_map;
use crate::mount::Propagation;
use crate::plan::Plan;
use crate::plan::step::{IdMapped, Source, Step, shown};
use crate::sys::{self, Attributes, Cloned, Reach};

/// Those of the plan, in its order.
pub(super) fn open(plan: &Plan) -> Result<Vec<OwnedFd>, Error> {
    let mut trees = Vec::new();
    let apart = plan.steps.iter().find_map(|step| match step {
        Step::Propagate(Propagation::Private) => Some(libc::MS_PRIVATE),
        Step::Propagate(Propagation::Slave) => Some(libc::MS_SLAVE),
        _ => None,
    });
    // Many binds mostly have one map.
    let mut last: Option<(&IdMapped, OwnedFd)> = None;
    for step in &plan.steps {
        let Step::Mount { source: Source::Bind { path, recursive, id_map: Some(map), .. }, .. } = step else {
            continue;
        };
        let failed = |errno| Error::duty(format!("map the owners of {}", shown(path)), errno, advice(errno));
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let below = if *recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
        let tree = rustix::mount::open_tree(CWD, path.as_c_str(), flags | below).map_err(failed)?;
        let user = match last.take() {
            Some((same, user)) if (&same.uids, &same.gids) == (&map.uids, &map.gids) => user,
            _ => user_namespace(map)?,
        };
        // It is of the caller's mount namespace: what the host shares with others would be shared with the command.
        if let Some(apart) = apart {
            let propagation = Attributes { propagation: apart, ..Attributes::NONE };
            sys::mount_setattr(tree.as_fd(), c"", propagation, Reach::Tree).map_err(failed)?;
        }
        let reach = if map.recursive { Reach::Tree } else { Reach::One };
        sys::mount_idmap(tree.as_fd(), user.as_fd(), reach).map_err(failed)?;
        trees.push(tree);
        last = Some((map, user));
    }
    Ok(trees)
}

fn advice(errno: Errno) -> Advice {
    match errno {
        Errno::PERM => Advice::new(
            "mapping the owners of a mount takes CAP_SYS_ADMIN in the user namespace where its file system was mounted",
            "run as root",
        )
        .or("map the ids of the command instead: --map-auto"),
        Errno::INVAL => Advice::new(
            "its file system has no mapped mounts in this kernel, or the mount is a mapped one already",
            "take a directory on ext4, xfs, btrfs (Linux 5.15) or tmpfs (Linux 6.3)",
        ),
        Errno::NOSYS => Advice::new("mapped mounts need Linux 5.12", "use a newer kernel"),
        _ => Advice::default(),
    }
}

/// A user namespace with these maps, and without a process: what is left of a child that has ended has it until it is collected.
fn user_namespace(map: &IdMapped) -> Result<OwnedFd, Error> {
    let proc = open_proc()?;
    // Whoever owns that namespace could take what the copy has.
    let hidden = sys::Hidden::begin();
    let child = sys::clone_user_namespace().map_err(|errno| duty(MAKING, errno))?;
    drop(hidden);
    let made = with_maps(&proc, &child, map);
    sys::collect(child.pid);
    made
}

const MAKING: &str = "make a user namespace for a map of owners";

fn with_maps(proc: &OwnedFd, child: &Cloned, map: &IdMapped) -> Result<OwnedFd, Error> {
    let pidfd = child.pidfd.as_ref().ok_or_else(|| duty(MAKING, Errno::BADF))?;
    let seen = seen_in_proc(child.pid, pidfd.as_fd())?;
    let open = |file: &str, flags| {
        rustix::fs::openat(proc, format!("{seen}/{file}"), flags | OFlags::CLOEXEC, Mode::empty())
    };
    let write =
        |file: &str, lines: &str| rustix::io::write(open(file, OFlags::WRONLY)?, lines.as_bytes()).map(drop);
    let made = write("uid_map", &map.uids)
        .and_then(|()| write("gid_map", &map.gids))
        .and_then(|()| open("ns/user", OFlags::RDONLY));
    made.map_err(|errno| {
        let advice = match errno {
            // Nobody but root of the initial user namespace may open files of a process that has ended.
            Errno::ACCESS => advice(Errno::PERM),
            _ => write_map("map", &[], errno),
        };
        Error::duty(MAKING, errno, advice)
    })
}
