//! What may stand behind any failure: too few descriptors, and no proc file system.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::error::{Advice, Error};

/// What an errno means wherever the kernel says it. Empty for those that mean more than one thing.
pub fn advice_on(errno: i32) -> Advice {
    match errno {
        libc::EMFILE => Advice::new(
            format!("this process may have {} descriptors open, and needs more", descriptors()),
            "allow more: ulimit -n 1024",
        ),
        libc::ENFILE => Advice::new(
            "the whole system has as many files open as it may",
            "allow more: sudo sysctl fs.file-max=1000000, or end what has them open",
        ),
        _ => Advice::default(),
    }
}

/// The same for what was to be read in /proc.
pub fn advice_on_proc(error: &io::Error) -> Advice {
    let known = error.raw_os_error().map(advice_on).unwrap_or_default();
    if known != Advice::default() || has_proc() {
        return known;
    }
    Advice::new("no proc file system is mounted on /proc", "mount -t proc proc /proc")
}

/// Whether systemd runs here, and keeps all cgroups in version 2.
pub fn systemd_has_cgroups() -> bool {
    Path::new("/run/systemd/system").is_dir() && Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// What statfs(2) calls a proc file system.
pub(crate) const PROC_SUPER_MAGIC: u64 = 0x9fa0;

/// A file that the kernel makes up (of /proc, of a cgroup), in as few calls as can be: std asks for its size, which none of
/// those has, and begins with pieces of 32 bytes.
pub(crate) fn read_kernel(path: impl Arg) -> io::Result<String> {
    read_all(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The same of one that is open.
pub(crate) fn read_all(file: OwnedFd) -> io::Result<String> {
    let (mut text, mut buffer) = (Vec::new(), [0_u8; 4096]);
    loop {
        match rustix::io::read(&file, &mut buffer) {
            Ok(0) => return String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into()),
            Ok(length) => text.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Whether a proc file system is mounted on /proc. Takes no descriptor.
pub fn has_proc() -> bool {
    rustix::fs::statfs(Path::new("/proc")).is_ok_and(|found| found.f_type as u64 == PROC_SUPER_MAGIC)
}

fn descriptors() -> String {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    most.map_or_else(|| "any number of".to_owned(), |most| most.to_string())
}

/// What could not be done in /proc.
pub(crate) fn duty_in_proc(what: impl Into<String>, error: &io::Error) -> Error {
    Error::Duty { what: what.into(), errno: error.raw_os_error(), advice: advice_on_proc(error), layer: None }
}

impl Advice {
    /// What the errno itself says, where nothing better is known.
    pub(crate) fn or_on(self, errno: i32) -> Self {
        if self == Self::default() { advice_on(errno) } else { self }
    }
}

/// A file in which names of any encoding may stand: those of processes, of users.
///
/// # Errors
/// What opening and reading say.
pub fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// A field of proc_pid_stat(5) by its number there, from 3 on: what follows the name.
pub fn stat_field(pid: u32, number: usize) -> Option<String> {
    let text = read_text(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.trim_end().rsplit_once(") ")?;
    fields.split(' ').nth(number.checked_sub(3)?).map(str::to_owned)
}

/// Opens, to be read, the very file that is at a place (O_PATH): no path is looked up again. What it is has been looked at before.
pub(crate) fn open_place(place: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(format!("/proc/thread-self/fd/{}", place.as_raw_fd()), flags, Mode::empty())
}

/// Where a file system of this kind is mounted, as this thread sees it; where several are, the first.
///
/// # Errors
/// Where `/proc/thread-self/mountinfo` can't be read.
pub fn mounted(kind: &str) -> io::Result<Option<PathBuf>> {
    Ok(mount_point(&read_text("/proc/thread-self/mountinfo")?, kind))
}

fn mount_point(mounts: &str, kind: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (own, file_system) = line.split_once(" - ")?;
        let is_it = file_system.split(' ').next() == Some(kind);
        own.split(' ').nth(4).filter(|_| is_it).map(unescaped)
    })
}

/// A path without the octal escapes of proc_pid_mountinfo(5).
pub(crate) fn unescaped(path: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = octal.filter(|_| first == b'\\').and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_with_a_blank_is_found() {
        let mounts =
            "21 1 0:5 / /a rw - cgroup none rw\n22 1 0:6 / /my\\040groups rw shared:1 - cgroup2 none rw\n";
        assert_eq!(mount_point(mounts, "cgroup2"), Some(PathBuf::from("/my groups")));
        assert_eq!(mount_point(mounts, "cgroup"), Some(PathBuf::from("/a")));
        assert_eq!(mount_point(mounts, "tmpfs"), None);
        assert_eq!(unescaped(r"/a\040b\134c\0"), PathBuf::from(r"/a b\c\0"));
    }
}
