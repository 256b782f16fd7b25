//! The running executable, out of reach of a root that is not trusted (CVE-2019-5736).
//!
//! A program there that begins with `#!/proc/self/exe` starts this executable inside, where others may open it, keep
//! it open, and write to it when it no longer runs.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Access, CWD, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use crate::error::{Advice, Error};
use crate::host::common::{PROC_SUPER_MAGIC, advice_on};
use crate::sys::{self, Attributes, Reach, attr};

const OWN: &str = "/proc/self/exe";

/// The executable, to be started again by `/proc/self/fd/N` so that nobody can write to it: on a read-only mount that is
/// nowhere else, or, without the right to mount, a sealed copy in memory. None where there is no need: it is root's, and this
/// user neither root nor allowed to write to it, or it is such a copy already. open_tree(2), memfd_create(2).
///
/// # Errors
/// [`Error::Duty`] where neither can be made, or there is no procfs on `/proc`.
pub fn unwritable() -> Result<Option<OwnedFd>, Error> {
    let proc = rustix::fs::statfs("/proc").map_err(|errno| failed(&errno.into()))?;
    if proc.f_type as u64 != PROC_SUPER_MAGIC {
        return Err(Error::Duty {
            what: "use /proc".to_owned(),
            errno: None,
            advice: Advice::new("no proc file system is mounted there", "mount -t proc proc /proc"),
            layer: None,
        });
    }
    match rustix::fs::access(OWN, Access::WRITE_OK) {
        Err(Errno::ROFS) => return Ok(None),
        // Whoever owns it may allow it to himself, and root inside may write what belongs to any id that is mapped.
        Err(Errno::ACCESS | Errno::PERM) if is_roots()? => return Ok(None),
        Err(Errno::ACCESS | Errno::PERM) => {}
        // ETXTBSY is said by open(2) only.
        answer => answer.map_err(|errno| failed(&errno.into()))?,
    }
    let own = File::open(OWN).map_err(|error| failed(&error))?;
    if rustix::fs::fcntl_get_seals(&own).is_ok_and(|seals| seals.contains(SealFlags::WRITE)) {
        return Ok(None);
    }
    match read_only() {
        Ok(tree) => Ok(Some(tree)),
        Err(_) => sealed(own).map(Some).map_err(|error| failed(&error)),
    }
}

/// Whether it belongs to root, and this process does not.
fn is_roots() -> Result<bool, Error> {
    let stat = rustix::fs::stat(OWN).map_err(|errno| failed(&errno.into()))?;
    Ok(stat.st_uid == 0 && !rustix::process::geteuid().is_root())
}

fn failed(error: &io::Error) -> Error {
    let own = Advice::new(
        "this user may write to it, and so could a program of the root that is entered",
        "install it where this user can't write, for instance as root in /usr/local/bin",
    );
    let known = advice_on(error.raw_os_error().unwrap_or_default());
    Error::Duty {
        what: "keep this executable out of reach of those inside".to_owned(),
        errno: error.raw_os_error(),
        advice: if known == Advice::default() { own } else { known },
        layer: None,
    }
}

/// Takes CAP_SYS_ADMIN.
fn read_only() -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, OWN, flags)?;
    sys::mount_setattr(tree.as_fd(), c"", Attributes::set(attr::RDONLY), Reach::Tree)?;
    Ok(tree)
}

fn sealed(mut own: File) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Before Linux 6.3 there is no such flag, and no need of it.
    let made = match rustix::fs::memfd_create(c"sept", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"sept", flags),
        made => made,
    };
    let mut copy = File::from(made?);
    io::copy(&mut own, &mut copy)?;
    rustix::fs::fcntl_add_seals(
        &copy,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    // A file that is open for writing can't be executed; a seal leaves the one descriptor that was there open.
    let copy = File::open(format!("/proc/thread-self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy)))?;
    Ok(copy.into())
}
