//! `sept enter --env`: TARGET's environment, and from whom it is taken. It names programs and libraries (PATH, LD_PRELOAD): who has made it
//! must not get by it what he has not got, as files of this side, other ids, or rights outside of his user namespace.
//! This asks no file system of TARGET's: one in user space may never answer.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use sept::{Command, Host, Namespace, Target};

use crate::enter::{Joined, can_drop_groups, ids_inside, ranges, status_field, status_numbers};
use crate::failure::Failure;
use crate::request::Request;

/// Gives COMMAND the environment of TARGET. `other_root`: whether it gets TARGET's root by `--root`, and that is not ours.
pub fn take(
    request: &Request,
    target: &Target,
    joined: &Joined,
    other_root: bool,
    command: &mut Command,
) -> Result<(), Failure> {
    // An open file of a process goes on to show the memory of what was executed before, for as long as reading takes. So that is
    // judged which is there before and after.
    let before = execution(target)?;
    trust(request, target, joined, other_root)?;
    let environ = target.read("environ")?;
    // Ids and roots change without an execution, too; who is confined by now can't have been so less before, and come back.
    trust(request, target, joined, other_root)?;
    if execution(target)? != before {
        return Err(Failure::usage(format!(
            "{target} has executed another program while its environment was read"
        ))
        .why("whose environment was read can't be told")
        .fix("try again"));
    }
    command.env_clear();
    for entry in environ.split(|byte| *byte == 0) {
        if let Some(at) = entry.iter().position(|byte| *byte == b'=').filter(|at| *at > 0) {
            command.env(OsStr::from_bytes(&entry[..at]), OsStr::from_bytes(&entry[at + 1..]));
        }
    }
    Ok(())
}

/// What no two executions of programs have in common: the kernel draws the addresses of the vector anew (AT_RANDOM, AT_SYSINFO_EHDR;
/// getauxval(3)). A process may change what its own vector says (PR_SET_MM_MAP), and can't guess what the next will say.
fn execution(target: &Target) -> Result<Vec<u8>, Failure> {
    if std::fs::read("/proc/sys/kernel/randomize_va_space").is_ok_and(|drawn| drawn.trim_ascii() == b"0") {
        return Err(Failure::usage("--env: this kernel draws no addresses")
            .why("kernel.randomize_va_space is 0: whether TARGET executes a program meanwhile can't be told")
            .fix("sudo sysctl kernel.randomize_va_space=2, and start TARGET anew")
            .fix("or leave --env out, and set what is needed: env NAME=VALUE before sept"));
    }
    Ok(target.read("auxv")?)
}

fn trust(request: &Request, target: &Target, joined: &Joined, other_root: bool) -> Result<(), Failure> {
    let other_files = match &request.enter.root {
        Some(_) => other_root,
        None => joined.is_processes(Namespace::Mount) && has_other_top(target)?,
    };
    let other_user = target.differs(Namespace::User)? || joined.differs(Namespace::User)?;
    let whose = if other_user && !joined.is_processes(Namespace::User) {
        Some("which its user namespace is to confine".to_owned())
    } else if is_secure(target)? {
        Some("which was started by another user, perhaps".to_owned())
    } else if other_files {
        whose_ids(request, target, joined)?
    } else {
        whose_environment(target)?
    };
    let Some(whose) = whose else { return Ok(()) };
    Err(Failure::usage(format!("--env takes the environment of {target}, {whose}"))
        .why("it would choose which programs and libraries are run, with this side's files, or with other ids or rights than it has")
        .fix("leave it out, and set what is needed: env NAME=VALUE before sept")
        .fix("where TARGET has a root of its own: join all that it has, as its user (-S UID -G GID)"))
}

fn unseen_root(errno: Errno) -> Failure {
    let failure = Failure::io("cannot look at the root of TARGET", &errno.into());
    if errno != Errno::AGAIN {
        return failure;
    }
    failure.why(
        "its file system does not answer, or not this process; or mounts are being changed all the while",
    )
}

/// As the kernel has it at hand.
fn look_at(dir: BorrowedFd<'_>, path: &Path) -> Result<Statx, Failure> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    rustix::fs::statx(dir, path, flags, StatxFlags::INO | StatxFlags::MNT_ID).map_err(unseen_root)
}

/// Whether its root is the top of its mounts, where who joins them comes to, and another than ours.
fn has_other_top(target: &Target) -> Result<bool, Failure> {
    let root = target.directory("root")?;
    // For who stands elsewhere it ends at the top alone.
    let above = above(target, &root)?;
    let place = |dir: &OwnedFd| {
        let found = look_at(dir.as_fd(), Path::new(""))?;
        Ok::<_, Failure>((found.stx_dev_major, found.stx_dev_minor, found.stx_ino, found.stx_mnt_id))
    };
    Ok(place(&root)? == place(&above)? && is_other_root(root.as_fd())?)
}

fn above(target: &Target, root: &OwnedFd) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || rustix::fs::openat2(root, "..", flags, Mode::empty(), ResolveFlags::CACHED);
    let mut above = open();
    for _ in 0..10 {
        // Mounts are just being changed; or it is not at hand before the file system has answered a copy of this process.
        if !matches!(above, Err(Errno::AGAIN)) || !target.has_file(".")? {
            break;
        }
        above = open();
    }
    if let Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) = above {
        // Before Linux 5.12, or under a filter that does not know the call.
        above = rustix::fs::openat(root, "..", flags, Mode::empty());
    }
    above.map_err(unseen_root)
}

/// Whether it is another directory than our root: the same in another mount, or a copy of the mounts, has the same files.
pub fn is_other_root(dir: BorrowedFd<'_>) -> Result<bool, Failure> {
    let [found, own] = [look_at(dir, Path::new(""))?, look_at(CWD, Path::new("/"))?]
        .map(|found| (found.stx_dev_major, found.stx_dev_minor, found.stx_ino));
    Ok(found != own)
}

/// Whether the program was started with the set-user-ID bit or its like: then another has made its environment (AT_SECURE, getauxval(3)).
fn is_secure(target: &Target) -> Result<bool, Failure> {
    const AT_SECURE: u64 = 23;
    let vector = target.read("auxv")?;
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
    let is_set = |entry: &[u8]| number(&entry[..8]) == AT_SECURE && number(&entry[8..]) != 0;
    // A program of 32 bits has both in eight bytes. In the vector of another this is no address.
    let (low, high) = (AT_SECURE as u32, 1_u32);
    let is_set_in_half = |entry: &[u8]| entry == [low.to_ne_bytes(), high.to_ne_bytes()].concat();
    Ok(vector.chunks_exact(16).any(is_set) || vector.chunks_exact(8).any(is_set_in_half))
}

/// Whether the caller has capabilities: such as are ambient COMMAND has, too.
fn has_capabilities() -> bool {
    rustix::thread::capabilities(None).map_or(true, |sets| !sets.permitted.is_empty())
}

/// Whose it is, if COMMAND is another user there, or has more than that one.
fn whose_ids(request: &Request, target: &Target, joined: &Joined) -> Result<Option<String>, Failure> {
    let (caller, enters) = (Host::caller(), joined.differs(Namespace::User)?);
    if request.keep_caps {
        return Ok(Some("which has not got what --keep-caps keeps".to_owned()));
    }
    // Who enters a user namespace has no others than those of that.
    if caller.uid != 0 && !enters && has_capabilities() {
        return Ok(Some("which has not got the capabilities of the caller".to_owned()));
    }
    let (user, group) = if enters && !request.enter.preserve_credentials {
        let (user, group) = ids_inside(request, Some(target))?;
        (Some(user), Some(group))
    } else {
        (request.uid, request.gid)
    };
    // What is asked for is a number of the user namespace that is entered; what is left as it is, one of ours.
    let outside = |map, asked: Option<u32>, own: u32| match asked {
        Some(inside) if enters => outside_id(target, map, inside),
        asked => Ok(Some(asked.unwrap_or(own))),
    };
    let own = [
        ("Uid:", "user", outside("uid_map", user, caller.uid)?),
        ("Gid:", "group", outside("gid_map", group, caller.gid)?),
    ];
    for (field, what, own) in own {
        if let Some(other) = status_numbers(target, field)?.into_iter().find(|id| Some(*id) != own) {
            return Ok(Some(format!("which belongs to {what} {other}, another than COMMAND's")));
        }
    }
    let allowed = enters && target.read("setgroups")?.trim_ascii() == b"allow";
    let drops = group.is_some() && (allowed || can_drop_groups());
    if drops { Ok(None) } else { lacked_group(target) }
}

/// What a number inside of its user namespace is as seen from here, if it is any.
fn outside_id(target: &Target, map: &str, inside: u32) -> Result<Option<u32>, Failure> {
    let ranges = ranges(target, map)?;
    Ok(ranges.iter().find_map(|[first, outside, count]| {
        inside.checked_sub(*first).filter(|offset| offset < count).map(|offset| outside + offset)
    }))
}

/// Whose it is, if it is not in all groups of the caller.
fn lacked_group(target: &Target) -> Result<Option<String>, Failure> {
    let its = [status_numbers(target, "Gid:")?, status_numbers(target, "Groups:")?].concat();
    let own = rustix::process::getgroups()
        .map_err(|errno| Failure::io("cannot see the groups of this process", &errno.into()))?;
    let lacked = own.into_iter().map(rustix::process::Gid::as_raw).find(|group| !its.contains(group));
    Ok(lacked.map(|group| format!("which is not in group {group}, as COMMAND is (-G drops it)")))
}

/// Who may have made it, if that may be another than the caller, or confined.
fn whose_environment(target: &Target) -> Result<Option<String>, Failure> {
    let caller = Host::caller();
    let other =
        |field, own| Ok::<_, Failure>(status_numbers(target, field)?.into_iter().find(|id| *id != own));
    if let Some(user) = other("Uid:", caller.uid)? {
        return Ok(Some(format!("which belongs to user {user}")));
    }
    // Whoever has started a program with the set-user-ID bit has made its environment.
    if caller.uid == 0 || has_capabilities() {
        return Ok(Some("which may be another's, whatever its ids".to_owned()));
    }
    if let Some(group) = other("Gid:", caller.gid)? {
        return Ok(Some(format!("which belongs to group {group}")));
    }
    if is_apart(target)? || is_confined(target)? {
        return Ok(Some(
            "which is confined as the caller is not, and has made it itself, perhaps".to_owned(),
        ));
    }
    lacked_group(target)
}

/// Whether its root or one of its namespaces is another than ours.
fn is_apart(target: &Target) -> Result<bool, Failure> {
    if is_other_root(target.directory("root")?.as_fd())? {
        return Ok(true);
    }
    // A kernel may be without one.
    let there = |kind: &Namespace| Path::new("/proc/self/ns").join(kind.link()).exists();
    for kind in Namespace::ALL.into_iter().filter(there) {
        if target.differs(kind)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether it is confined as this process is not, as far as the kernel shows that: it does not tell of Landlock, nor what filters refuse.
fn is_confined(target: &Target) -> Result<bool, Failure> {
    let own = Target::process(std::process::id())?;
    // Where no security module has labels, it can't be read.
    if target.read("attr/current").ok() != own.read("attr/current").ok() {
        return Ok(true);
    }
    let first = |process, field| Ok::<_, Failure>(status_numbers(process, field)?.first().copied());
    for field in ["NoNewPrivs:", "Seccomp:", "Seccomp_filters:"] {
        if first(target, field)? > first(&own, field)? {
            return Ok(true);
        }
    }
    // Before Linux 5.9 they are not counted.
    if first(target, "Seccomp:")? > Some(0) && first(target, "Seccomp_filters:")?.is_none() {
        return Ok(true);
    }
    // What a program with rights of its own gets at most, or because of who starts it.
    let mask = |process, field| {
        Ok::<_, Failure>(u64::from_str_radix(&status_field(process, field)?, 16).unwrap_or(u64::MAX))
    };
    for field in ["CapBnd:", "CapInh:"] {
        if mask(&own, field)? & !mask(target, field)? != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}
