//! Which layer a step belongs to: what is given up, if it may be, when the step fails.

use std::ffi::CStr;

use crate::layer::Layer;
use crate::namespace::Namespace;
use crate::plan::step::{Source, Step};

const fn kind(kind: Namespace) -> Option<Layer> {
    Some(Layer::Kind(kind))
}

/// None for what nobody may do without: it was asked for by name, or something else rests on it.
pub(crate) fn of_step(step: &Step, errno: i32) -> Option<Layer> {
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
        Step::BeginNet | Step::JoinNet | Step::LoopbackUp => kind(Namespace::Net),
        Step::UnshareTime => kind(Namespace::Time),
        Step::UnshareCgroup => kind(Namespace::Cgroup),
        Step::EnterCgroup(_) => Some(Layer::Limits),
        Step::Seccomp(_) | Step::Refuse(_) => Some(Layer::Seccomp),
        Step::Landlock(_) => Some(Layer::Landlock),
        Step::NewKeyring => Some(Layer::Keyring),
        Step::CoreScheduling => Some(Layer::CoreScheduling),
        _ => None,
    }
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
