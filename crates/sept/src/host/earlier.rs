//! Failures whose reason is an earlier step: a filter, a limit, a mount.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::Access;
use rustix::io::Errno;

use crate::error::Advice;
use crate::plan::Plan;
use crate::plan::step::{Source, Step, shown};
use crate::rlimit::{Resource, Rlimit};
use crate::seccomp::{Filter, abis};

/// What set-up calls after a filter is on, up to and with exec.
const LATE_CALLS: [&str; 6] = ["close_range", "prctl", "capset", "execve", "rt_sigaction", "rt_sigprocmask"];

/// Replaces or extends what is known of the failed step by itself.
pub(crate) fn explain(plan: &Plan, at: usize, errno: i32, known: Advice) -> Advice {
    let (before, step) = (plan.steps.get(..at).unwrap_or_default(), plan.steps.get(at));
    match step {
        _ if errno == libc::EMFILE => before.iter().find_map(descriptors).unwrap_or(known),
        Some(Step::ChangeMode { at, mode, .. }) if errno == libc::ENOENT && tops(before, at) => Advice::new(
            format!("{} is the top of a tmpfs, and only what is below it can be changed", shown(at)),
            format!("give the tmpfs its mode: --perms {mode:04o} --tmpfs {}", shown(at)),
        ),
        Some(Step::Remount { at, .. }) if errno == libc::EINVAL && known == Advice::default() => Advice::new(
            format!("perhaps {} is no mount point inside", shown(at)),
            format!("mount something there before, for instance --bind {0} {0}", shown(at)),
        ),
        Some(Step::Symlink { at, .. }) if errno == libc::EEXIST => Advice::new(
            format!("there is already something at {}", shown(at)),
            "make one link for each path, or name another path",
        ),
        _ if matches!(errno, libc::EPERM | libc::EACCES | libc::ENOSYS) => filtered(before, known),
        _ => known,
    }
}

/// The new root, where this user may not go through it.
pub(crate) fn closed_root(plan: &Plan, at: usize, errno: i32) -> Option<Advice> {
    if errno != libc::EACCES
        || !matches!(plan.steps.get(at), Some(Step::Mount { .. } | Step::ChangeDir { .. }))
    {
        return None;
    }
    let root = |step: &Step| match step {
        Step::CloneRoot { dir, .. } => Some(dir.clone()),
        _ => None,
    };
    let dir = plan.steps.iter().find_map(root)?;
    let closed = rustix::fs::access(dir.as_c_str(), Access::EXEC_OK) == Err(Errno::ACCESS);
    closed.then(|| {
        Advice::new(
            format!("this user may not search the new root, {}", shown(&dir)),
            format!("chmod o+x {}, or take a root of this user's own", shown(&dir)),
        )
    })
}

fn descriptors(step: &Step) -> Option<Advice> {
    match step {
        Step::SetRlimit(limit) if is_descriptors(limit) => Some(Advice::new(
            format!("the limit that is asked for is below what set-up itself needs: {limit}"),
            "ask for more, for instance --rlimit nofile=64, or limit inside: sh -c 'ulimit -n 0; exec COMMAND'",
        )),
        _ => None,
    }
}

fn is_descriptors(limit: &Rlimit) -> bool {
    Resource::parse("nofile") == Some(limit.resource)
}

/// Whether a tmpfs was mounted right there.
fn tops(before: &[Step], at: &CStr) -> bool {
    let path = |text: &CStr| std::path::PathBuf::from(std::ffi::OsStr::from_bytes(text.to_bytes()));
    let same = |target: &CStr| path(target).components().eq(path(at).components());
    before
        .iter()
        .any(|step| matches!(step, Step::Mount { source: Source::Tmpfs { .. }, target, .. } if same(target)))
}

/// A filter that is on already, and refuses what set-up still has to call.
fn filtered(before: &[Step], mut known: Advice) -> Advice {
    for filter in before.iter().filter_map(filter_of) {
        let refused: Vec<&str> = LATE_CALLS.into_iter().filter(|call| refuses(filter, call)).collect();
        if !refused.is_empty() {
            known.why.push(format!(
                "perhaps the filter {}, which was put on before, refuses what set-up still needs: {}",
                filter.name,
                refused.join(", ")
            ));
            known.fix.push(format!("allow in the policy: {}", LATE_CALLS.join(", ")));
        }
    }
    known
}

fn filter_of(step: &Step) -> Option<&Filter> {
    match step {
        Step::Seccomp(filter) | Step::SeccompListener(filter) => Some(filter),
        _ => None,
    }
}

/// Without arguments: a rule with conditions may say another thing of the real call.
fn refuses(filter: &Filter, call: &str) -> bool {
    const SECCOMP_RET_ERRNO: u32 = 0x0005_0000;
    let Some(abi) = abis().first() else { return false };
    let verdict = abi.number(call).and_then(|number| filter.verdict(abi.audit, number, [0; 6]).ok());
    verdict.is_some_and(|verdict| verdict.value & 0xffff_0000 == SECCOMP_RET_ERRNO)
}
