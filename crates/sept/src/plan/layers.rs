//! Which layer a step belongs to: what is given up, if it may be, when the step fails.

use std::ffi::CStr;

use crate::host::advice::sysctl;
use crate::host::facts::is_in_initial_user;
use crate::layer::Layer;
use crate::namespace::{Namespace, Namespaces};
use crate::plan::step::{Source, Step};

const fn kind(kind: Namespace) -> Option<Layer> {
    Some(Layer::Kind(kind))
}

/// None for what nobody may do without: it was asked for by name, or something else rests on it.
pub(crate) fn of_step(step: &Step, errno: i32) -> Option<Layer> {
    if errno == libc::ENOSPC {
        return of_kind(step).filter(|kind| is_out_of(*kind)).map(Layer::Kind);
    }
    if !is_refusal(errno) {
        return None;
    }
    match step {
        // AppArmor's restriction lets the namespace be made, and then gives no right to map.
        Step::DenySetgroups | Step::MapUid(_) | Step::MapGid(_) | Step::AwaitMaps => kind(Namespace::User),
        // The first thing done in a new mount namespace: where there are no rights to mount, it says so.
        Step::Propagate(_) => kind(Namespace::Mount),
        // The kernel gives a fresh one only to who sees the present one in full.
        Step::Mount { source: Source::Proc { .. }, .. } => Some(Layer::Proc),
        Step::Mount { source: Source::Sysfs, .. } => Some(Layer::Sys),
        Step::LoopbackUp => kind(Namespace::Net),
        Step::EnterCgroup(_) => Some(Layer::Limits),
        Step::Seccomp(_) | Step::Refuse(_) => Some(Layer::Seccomp),
        // Not for what is wrong with a path: whoever may write there would decide.
        Step::Landlock(_) if is_of_landlock(errno) => Some(Layer::Landlock),
        Step::NewKeyring => Some(Layer::Keyring),
        Step::CoreScheduling => Some(Layer::CoreScheduling),
        step => of_kind(step).map(Layer::Kind),
    }
}

/// The kind of which a step makes a namespace by itself.
fn of_kind(step: &Step) -> Option<Namespace> {
    match step {
        Step::BeginNet | Step::JoinNet => Some(Namespace::Net),
        Step::UnshareTime => Some(Namespace::Time),
        Step::UnshareCgroup => Some(Namespace::Cgroup),
        _ => None,
    }
}

/// Whether none of this kind may be made here, ever. A limit that is used up was used up by others perhaps, and for a moment. Those of
/// the user namespaces around this one are not seen.
fn is_out_of(kind: Namespace) -> bool {
    sysctl(kind.limit()) == Some(0) || !is_in_initial_user()
}

/// Whether a clone that failed so can't be had with these kinds.
pub(crate) fn is_refused(errno: i32, kinds: Namespaces) -> bool {
    if errno == libc::ENOSPC { kinds.iter().any(is_out_of) } else { is_refusal(errno) }
}

/// What landlock_create_ruleset(2) and landlock_restrict_self(2) fail with.
pub(crate) fn is_of_landlock(errno: i32) -> bool {
    matches!(errno, libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL | libc::E2BIG | libc::EPERM)
}

/// What is not where the request says is the request's mistake, and no layer that the host lacks; nor is what it lacks just now.
pub(crate) fn is_refusal(errno: i32) -> bool {
    !is_want(errno)
        && !matches!(
            errno,
            libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG | libc::EBADF | libc::ESRCH
        )
}

/// Whether it was for want of memory, processes or descriptors.
pub(crate) fn is_want(errno: i32) -> bool {
    matches!(errno, libc::ENOMEM | libc::EAGAIN | libc::EINTR | libc::EMFILE | libc::ENFILE)
}

/// What stands in for a fresh proc or sysfs that was given up: the next rung is below it.
pub(crate) fn of_substitute(step: &Step) -> Option<Layer> {
    let is = |path: &CStr, place: &CStr| path == place;
    match step {
        Step::Mount { source: Source::Bind { path, .. }, .. } if is(path, c"/proc") => Some(Layer::Proc),
        Step::Mount { source: Source::Bind { path, .. }, .. } if is(path, c"/sys") => Some(Layer::Sys),
        _ => None,
    }
}
