//! The end of a cgroup: what is left in it is killed, and its directory removed.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir, flock, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::PREFIX;
use crate::host::common::read_all;
use crate::sys;

/// So long for what one killed run has left: whoever may, can make more of it all the time.
const SWEEPING: Duration = Duration::from_millis(100);

/// Removes what killed runs have left: only what is empty can be removed, and only what nobody holds is tried.
pub(super) fn sweep(path: &Path, parent: BorrowedFd) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(parent, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if !is_ours(&name.to_string_lossy()) {
            continue;
        }
        let Ok(dir) = File::open(path.join(name)) else { continue };
        if flock(dir.as_fd(), FlockOperation::NonBlockingLockExclusive).is_ok() {
            let begun = Instant::now();
            let _ = remove_tree(&path.join(name), |_, _| (), &mut || begun.elapsed() >= SWEEPING);
        }
    }
}

/// A pid and a count; a name that somebody chose is somebody's.
fn is_ours(name: &str) -> bool {
    let numbers = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    numbers.is_some_and(|(pid, count)| pid.parse::<u32>().is_ok() && count.parse::<u32>().is_ok())
}

/// Removes it if it is empty, as it mostly is. Whether it is gone.
pub(super) fn remove_empty(path: &Path) -> bool {
    matches!(rustix::fs::rmdir(path), Ok(()) | Err(Errno::NOENT))
}

/// Where processes are counted, none is made any more: some fork faster than they are found.
pub(super) fn forbid_forks(path: &Path) {
    let _ = fs::write(path.join("pids.max"), "0");
}

/// Kills all in it, and removes it with what the command made below, however deep that lies.
pub(super) fn remove(path: &Path) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut begun = None;
    // Only where it does not go at once: mostly it does, and nobody asks what time it is.
    let mut is_late = || begun.get_or_insert_with(Instant::now).elapsed() >= PATIENCE;
    while let Err(errno) = remove_tree(path, kill, &mut is_late) {
        let refused = matches!(errno, Errno::ACCESS | Errno::PERM | Errno::ROFS);
        if is_late() || refused || fs::symlink_metadata(path).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
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
