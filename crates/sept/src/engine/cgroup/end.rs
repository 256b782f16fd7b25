//! The end of a cgroup: what is left in it is killed, and its directory removed.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir, Stat, flock, fstat, openat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::PREFIX;
use crate::host::common::read_all;
use crate::sys;

/// So long for what one killed run has left: whoever may, can make more of it all the time.
const SWEEPING: Duration = Duration::from_millis(100);

/// At the end of a name: what is left there is killed once nobody holds it.
pub(super) const HELD: &str = "-held";

/// Removes what killed runs have left, and nobody holds any more.
pub(super) fn sweep(path: &Path, parent: BorrowedFd) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(parent, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let Some(left) = of_ours(&name.to_string_lossy()) else { continue };
        let Ok(dir) = File::open(path.join(name)) else { continue };
        if flock(dir.as_fd(), FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        // Somebody else may have removed it in between, and a new process of that number may have made it anew.
        let inode = |stat: Result<Stat, Errno>| stat.map(|stat| stat.st_ino);
        if inode(fstat(&dir)) == inode(statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)) {
            let path = path.join(name);
            match left {
                Left::Empty => drop(remove_tree(&path, |_, _| (), &mut lateness(SWEEPING))),
                Left::Killed if remove_empty(&path) => {}
                Left::Killed => {
                    forbid_forks(&path);
                    remove(&path, SWEEPING);
                }
            }
        }
    }
}

/// The same in the scopes of systemd beside this one, if it is one: each run has its own.
pub(super) fn sweep_scopes(path: &Path) {
    let is_scope = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(PREFIX) && name.ends_with(".scope")
    };
    let Some(above) = path.parent().filter(|_| is_scope(path)) else { return };
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let beside = entry.path();
        if !is_scope(&beside) || beside == path {
            continue;
        }
        if let Ok(dir) = File::open(&beside) {
            sweep(&beside, dir.as_fd());
        }
    }
}

/// What is left of a killed run, and is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Only if it is empty: who is in it may go on without the one who made it.
    Empty,
    /// And who is in it is killed.
    Killed,
}

/// A pid and a count; a name that somebody chose is somebody's.
fn of_ours(name: &str) -> Option<Left> {
    let numbers = name.strip_prefix(PREFIX)?;
    let (numbers, left) =
        numbers.strip_suffix(HELD).map_or((numbers, Left::Empty), |numbers| (numbers, Left::Killed));
    let (pid, count) = numbers.split_once('-')?;
    (pid.parse::<u32>().is_ok() && count.parse::<u32>().is_ok()).then_some(left)
}

/// Removes it if it is empty, as it mostly is. Whether it is gone.
pub(super) fn remove_empty(path: &Path) -> bool {
    matches!(rustix::fs::rmdir(path), Ok(()) | Err(Errno::NOENT))
}

/// Where processes are counted, none is made any more: some fork faster than they are found.
pub(super) fn forbid_forks(path: &Path) {
    let _ = fs::write(path.join("pids.max"), "0");
}

/// So long for the end of a run.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Kills all in it, and removes it with what the command made below, however deep that lies.
pub(super) fn remove(path: &Path, patience: Duration) {
    let mut is_late = lateness(patience);
    while let Err(errno) = remove_tree(path, kill, &mut is_late) {
        let refused = matches!(errno, Errno::ACCESS | Errno::PERM | Errno::ROFS);
        if is_late() || refused || fs::symlink_metadata(path).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Counted from when it is first asked for: mostly it is not, and nobody asks what time it is.
fn lateness(patience: Duration) -> impl FnMut() -> bool {
    let mut begun = None;
    move || begun.get_or_insert_with(Instant::now).elapsed() >= patience
}

/// As far as it is empty. What is in the way is left to `full`: before what it has made below, or it would make more.
fn remove_tree(
    path: &Path,
    full: fn(&Path, BorrowedFd<'_>),
    is_late: &mut dyn FnMut() -> bool,
) -> Result<(), Errno> {
    match rustix::fs::rmdir(path) {
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        done => return done,
    }
    let mut here = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
    full(path, here.as_fd());
    let mut names: Vec<CString> = Vec::new();
    loop {
        if is_late() {
            return Err(Errno::BUSY);
        }
        if let Some(name) = first_below(here.as_fd()) {
            match unlinkat(&here, &name, AtFlags::REMOVEDIR) {
                Err(Errno::BUSY | Errno::NOTEMPTY) => {}
                done => {
                    done?;
                    continue;
                }
            }
            here = openat(&here, &name, DIRECTORY, Mode::empty())?;
            full(path, here.as_fd());
            names.push(name);
            continue;
        }
        let Some(name) = names.pop() else { break };
        here = openat(&here, c"..", DIRECTORY, Mode::empty())?;
        unlinkat(&here, &name, AtFlags::REMOVEDIR)?;
    }
    rustix::fs::rmdir(path)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn first_below(dir: BorrowedFd<'_>) -> Option<CString> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(dir, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            return Some(name.to_owned());
        }
    }
    None
}

/// `cgroup.kill` of version 2 (Linux 5.14) for all of the tree, else one after another in the one that is in the way.
fn kill(tree: &Path, dir: BorrowedFd<'_>) {
    let open = |name: &str, flags: OFlags| openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty());
    // Who is frozen by version 1 does not die.
    let _ = fs::write(tree.join("freezer.state"), "THAWED");
    let _ = open("freezer.state", OFlags::WRONLY).and_then(|file| rustix::io::write(file, b"THAWED"));
    if fs::write(tree.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let members = || -> Vec<i32> {
        let procs = open("cgroup.procs", OFlags::RDONLY).map_err(Into::into).and_then(read_all);
        let text = procs.unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    let found = members();
    for some in found.chunks(MOST_AT_ONCE) {
        let hold = |pid: &i32| {
            let process = Pid::from_raw(*pid)?;
            let held = rustix::process::pidfd_open(process, PidfdFlags::empty());
            if matches!(held, Err(Errno::MFILE | Errno::NFILE)) {
                // Without a descriptor to hold it by there is only its number.
                let _ = rustix::process::kill_process(process, Signal::KILL);
            }
            Some((*pid, held.ok()?))
        };
        let held: Vec<(i32, OwnedFd)> = some.iter().filter_map(hold).collect();
        // Only who is still there: of another, outside, that has got the number meanwhile, this would be the end.
        let still = members();
        for (_, process) in held.iter().filter(|(pid, _)| still.contains(pid)) {
            // One that has ended by now needs none.
            let _ = sys::pidfd_send_signal(process.as_fd(), libc::SIGKILL);
        }
    }
}

/// So many processes are held by descriptors at a time.
const MOST_AT_ONCE: usize = 64;
