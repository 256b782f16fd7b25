//! The end of a cgroup: what is left in it is killed, and its directory removed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, RawDir, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::PREFIX;

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
            let _ = remove_tree(&path.join(name));
        }
    }
}

/// A pid and a count; a name that somebody chose is somebody's.
fn is_ours(name: &str) -> bool {
    let numbers = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    numbers.is_some_and(|(pid, count)| pid.parse::<u32>().is_ok() && count.parse::<u32>().is_ok())
}

/// Kills all in it, and removes it with what the command made below.
pub(super) fn remove(path: &Path) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut begun = None;
    while remove_tree(path) == Err(Errno::BUSY) {
        // Only now: mostly it goes at once, and nobody asks what time it is.
        if begun.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
            return;
        }
        kill(path);
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn remove_tree(path: &Path) -> Result<(), Errno> {
    let code = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    match fs::remove_dir(path).map_err(code) {
        Err(Errno::BUSY | Errno::NOTEMPTY) => {}
        done => return done,
    }
    for entry in fs::read_dir(path).map_err(code)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove_tree(&entry.path())?;
    }
    fs::remove_dir(path).map_err(code)
}

/// `cgroup.kill` of version 2 (Linux 5.14), else one after another, here and below.
fn kill(path: &Path) {
    // Who is frozen by version 1 does not die.
    let _ = fs::write(path.join("freezer.state"), "THAWED");
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        kill(&entry.path());
    }
}
