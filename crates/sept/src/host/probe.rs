//! What this kernel can, found by asking it. Nothing here changes anything that lasts.

use std::os::fd::AsFd;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, OpenTreeFlags};

use crate::namespace::Namespace;
use crate::sys::{self, Attributes, Reach};
use crate::target::Target;

/// The ABI version of Landlock, landlock_create_ruleset(2), since Linux 5.13.
///
/// # Errors
/// ENOSYS, or EOPNOTSUPP where it is switched off.
pub fn landlock_abi() -> Result<u32, i32> {
    sys::landlock_abi().map_err(Errno::raw_os_error)
}

/// Whether this kernel calls itself at least so new, for the few things that it can't be asked.
pub fn is_since(major: u32, minor: u32) -> bool {
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy();
    let mut numbers = release.split(|byte: char| !byte.is_ascii_digit()).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(is)), Some(Ok(of))) if (is, of) >= (major, minor))
}

/// The seccomp actions that this kernel has, of those in seccomp(2), since Linux 4.14.
pub fn seccomp_actions() -> Vec<&'static str> {
    const ACTIONS: [(&str, u32); 8] = [
        ("kill_process", libc::SECCOMP_RET_KILL_PROCESS),
        ("kill_thread", libc::SECCOMP_RET_KILL_THREAD),
        ("trap", libc::SECCOMP_RET_TRAP),
        ("errno", libc::SECCOMP_RET_ERRNO),
        ("user_notif", 0x7fc0_0000),
        ("trace", libc::SECCOMP_RET_TRACE),
        ("log", libc::SECCOMP_RET_LOG),
        ("allow", libc::SECCOMP_RET_ALLOW),
    ];
    ACTIONS
        .iter()
        .filter(|(_, action)| sys::seccomp_action_available(*action))
        .map(|(name, _)| *name)
        .collect()
}

/// Whether listns(2) is there (Linux 6.19).
pub fn listns() -> bool {
    sys::has_listns()
}

/// The calls that make mounts without paths: fsopen(2) (Linux 5.2), open_tree(2) (5.2), mount_setattr(2) (5.12), openat2(2)
/// (5.6). Each with what the kernel says where it is not there.
pub fn file_calls() -> Vec<(&'static str, Result<(), i32>)> {
    // A kernel that has the call says EPERM or EINVAL to a caller without rights; one that has not, ENOSYS.
    let there = |answer: Result<(), Errno>| match answer {
        Err(Errno::NOSYS) => Err(libc::ENOSYS),
        _ => Ok(()),
    };
    let fs = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).map(drop);
    let tree = rustix::mount::open_tree(CWD, c".", OpenTreeFlags::OPEN_TREE_CLOEXEC);
    let attributes = tree
        .as_ref()
        .map_err(|errno| *errno)
        .and_then(|tree| sys::mount_setattr(tree.as_fd(), c"", Attributes::NONE, Reach::One));
    let resolve = rustix::fs::ResolveFlags::IN_ROOT;
    let beneath =
        rustix::fs::openat2(CWD, c".", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty(), resolve)
            .map(drop);
    vec![
        ("fsopen", there(fs)),
        ("open_tree", there(tree.map(drop))),
        ("mount_setattr", there(attributes)),
        ("openat2", there(beneath)),
    ]
}

/// Whether a pidfd gives its process's namespaces by ioctl (Linux 6.11).
pub fn pidfd_namespaces() -> bool {
    let own = Target::process(std::process::id()).ok();
    own.and_then(|own| own.to_pidfd().ok())
        .is_some_and(|pidfd| sys::pidfd_namespace(pidfd.as_fd(), Namespace::Uts.flag()).is_ok())
}

/// Whether a mount of this directory can be idmapped by the user namespace of `target`; mount_setattr(2), since Linux 5.12.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN where the file system was mounted; EINVAL where the file system can't.
pub fn idmapped_mount(target: &Target) -> Result<(), i32> {
    let user =
        target.namespace(Namespace::User).map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, c"/", flags).map_err(Errno::raw_os_error)?;
    sys::mount_idmap(tree.as_fd(), user.as_fd(), Reach::One).map_err(Errno::raw_os_error)
}
