//! Reading this host. Nothing here changes anything.

pub(crate) mod advice;
pub(crate) mod common;
pub(crate) mod earlier;
pub(crate) mod facts;
pub(crate) mod inventory;
pub(crate) mod joins;
pub mod probe;
mod socket;
pub(crate) mod subid;

use std::os::fd::{OwnedFd, RawFd};

pub use crate::target::{find_in_proc, has_file, pid_in_proc};
pub use common::{advice_on, advice_on_proc, has_proc, mounted, read_text, stat_field, systemd_has_cgroups};
pub use facts::{Host, own_maps};
pub use inventory::{Entry, Holder, Inventory, Source, Unread};
pub use joins::JoinFact;
pub use socket::socket_namespace;
pub use subid::ranges as subordinate_ids;

/// Whether a path can be looked at: false where a file system in user space does not answer within two seconds, for which who waits
/// is beyond SIGKILL. What the kernel has at hand is not asked for.
pub fn answers(path: impl AsRef<std::path::Path>) -> bool {
    let path = std::os::unix::ffi::OsStrExt::as_bytes(path.as_ref().as_os_str());
    std::ffi::CString::new(path).is_ok_and(|path| crate::sys::answers(&path))
}

/// The open file that a number means in this process, by another number: with the same position; fcntl(2), F_DUPFD_CLOEXEC.
///
/// # Errors
/// EBADF if the number means none; EMFILE.
pub fn duplicate(fd: RawFd) -> std::io::Result<OwnedFd> {
    crate::sys::duplicate(fd).map_err(Into::into)
}
