//! `sept enter --env`: TARGET's environment, and from whom it is taken. It names programs and libraries (PATH, LD_PRELOAD): who has made it
//! must not get by it what he has not got, as files of this side, other ids, or rights outside of his user namespace.
//! This asks no file system of TARGET's: one in user space may never answer.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sept::{Capabilities, CapabilitySet, Command, Host, Namespace, Target};

use crate::enter::{Joined, can_drop_groups, ids_inside, ranges, status_field, status_numbers};
use crate::failure::Failure;
use crate::place;
use crate::request::{OfTarget, Request};

/// Why it is taken.
#[derive(PartialEq)]
enum Ground {
    /// COMMAND gets TARGET's root, and no rights that TARGET has not got.
    Confined,
    /// TARGET is a process of the caller's, and no more confined than he is.
    Alike,
}

/// Gives COMMAND the environment of TARGET, and takes from it what TARGET has not got.
pub fn take(
    request: &Request,
    target: &Target,
    joined: &Joined,
    command: &mut Command,
) -> Result<(), Failure> {
    // An open file of a process goes on to show the memory of what was executed before, for as long as reading takes. So that is
    // judged which is there before and after.
    let before = execution(target)?;
    trust(request, target, joined)?;
    let environ = target.read("environ")?;
    // Ids and roots change without an execution, too; who is confined by now can't have been so less before, and come back.
    if trust(request, target, joined)? == Ground::Confined {
        confine(request, target, joined, command)?;
    }
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
    const AT_RANDOM: u32 = 25;
    let vector = target.read("auxv")?;
    // In the middle of an execution the memory is new, and the vector has nothing but zeros, as at the next execution, while ids and the
    // environment may be of either program. That lasts as long as the kernel waits for the file system that has the program.
    if values(&vector, AT_RANDOM).all(|address| address == 0) {
        return Err(Failure::usage(format!("{target} is executing a program"))
            .why("whose environment it has can't be told before that is there")
            .fix("try again"));
    }
    Ok(vector)
}

/// What a vector has of a kind, as a program of 64 bits lays it out, and as one of 32 bits does: that has both in eight bytes.
fn values(vector: &[u8], kind: u32) -> impl Iterator<Item = u64> {
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
    let half = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_ne_bytes);
    let wide = vector.chunks_exact(16).filter(move |entry| number(&entry[..8]) == u64::from(kind));
    let narrow = vector.chunks_exact(8).filter(move |entry| half(&entry[..4]) == kind);
    wide.map(move |entry| number(&entry[8..])).chain(narrow.map(move |entry| u64::from(half(&entry[4..]))))
}

fn trust(request: &Request, target: &Target, joined: &Joined) -> Result<Ground, Failure> {
    // In the mount namespace of the caller who has rights leaves a root of TARGET's as he likes.
    let moves = joined.is_processes(Namespace::Mount) && joined.differs(Namespace::Mount)?;
    let other_files = moves && has_other_files(request, target)?;
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
    let Some(whose) = whose else {
        return Ok(if other_files { Ground::Confined } else { Ground::Alike });
    };
    let by_chroot = moves
        && !other_files
        && request.enter.root.is_none()
        && is_other_root(target.directory("root")?.as_fd())?;
    Err(Failure::usage(format!("--env takes the environment of {target}, {whose}"))
        .why("it would choose which programs and libraries are run, with this side's files, or with other ids or rights than it has")
        .fix("leave it out, and set what is needed: env NAME=VALUE before sept")
        .fix(if by_chroot {
            "TARGET's root is not the top of its mounts: enter that root, too, as its user (-r -S UID -G GID)"
        } else {
            "where TARGET has a root of its own: join all that it has, as its user (-S UID -G GID)"
        }))
}

/// Whether COMMAND, once in the mount namespace of TARGET, has the files of that alone.
fn has_other_files(request: &Request, target: &Target) -> Result<bool, Failure> {
    match (&request.enter.root, &request.enter.wd) {
        // From a working directory of this side `..` leads to all of its files.
        (Some(OfTarget::Dir(_)), _) | (_, Some(OfTarget::Dir(_))) => Ok(false),
        // The very root that TARGET has: COMMAND leaves it by nothing that TARGET could not leave it by.
        (Some(OfTarget::Own), _) => is_other_root(target.directory("root")?.as_fd()),
        (None, _) => has_other_top(target),
    }
}

/// Takes from COMMAND what TARGET has not got: by the environment it is TARGET who decides what is done with that.
fn confine(
    request: &Request,
    target: &Target,
    joined: &Joined,
    command: &mut Command,
) -> Result<(), Failure> {
    let enters = joined.differs(Namespace::User)?;
    let is_root = match asked_ids(request, target, enters)?.0 {
        Some(inside) => inside == 0,
        None if enters => outside_id(target, "uid_map", 0)? == Some(Host::caller().uid),
        None => Host::caller().uid == 0,
    };
    let [bound, permitted] =
        [mask(target, "CapBnd:")?, mask(target, "CapPrm:")?].map(CapabilitySet::from_bits);
    // Exec gives user 0 all that is in the bounding set, also what TARGET has laid down since it was executed.
    let bounding = if is_root { bound.both(permitted) } else { bound };
    // Who enters a user namespace has all of it there.
    let own = if enters { CapabilitySet::from_bits(u64::MAX) } else { own_capabilities() };
    let until_exec = bounding.both(permitted).both(own);
    // Ambient ones would come to any user; securebits may keep them over a change of ids.
    let none = CapabilitySet::NONE;
    command.capabilities(Capabilities {
        bounding,
        permitted: until_exec,
        effective: until_exec,
        inheritable: none,
        ambient: none,
    });
    if status_numbers(target, "NoNewPrivs:")? != [0] {
        command.no_new_privs();
    }
    Ok(())
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

/// The directory, and the mount by which it is seen.
fn place(dir: BorrowedFd<'_>, path: &Path) -> Result<((u32, u32, u64), u64), Failure> {
    place::seen(dir, path).map_err(unseen_root)
}

/// Whether its root is the top of its mounts, where who joins them comes to, and another than ours.
fn has_other_top(target: &Target) -> Result<bool, Failure> {
    let root = target.directory("root")?;
    // For who stands elsewhere it ends at a top alone.
    let above = above(target, &root)?;
    let [found, above] = [place(root.as_fd(), Path::new(""))?, place(above.as_fd(), Path::new(""))?];
    // That of its own mounts: chroot(2) leads into those of others, too, by /proc/PID/root, and what is unmounted lazily has a top.
    Ok(found == above && is_root_of_its_mounts(target, found.1)? && is_other_root(root.as_fd())?)
}

/// Whether its mount namespace has this mount, and it sees that as its root. Of others, and of what is above its root, there is no line.
fn is_root_of_its_mounts(target: &Target, mount: u64) -> Result<bool, Failure> {
    let lines = target.read("mountinfo")?;
    let mount = mount.to_string();
    Ok(lines.split(|byte| *byte == b'\n').any(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        fields.next() == Some(mount.as_bytes()) && fields.nth(3) == Some(b"/".as_slice())
    }))
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
fn is_other_root(dir: BorrowedFd<'_>) -> Result<bool, Failure> {
    Ok(place(dir, Path::new(""))?.0 != place(CWD, Path::new("/"))?.0)
}

/// Whether the program was started with the set-user-ID bit or its like: then another has made its environment (AT_SECURE, getauxval(3)).
fn is_secure(target: &Target) -> Result<bool, Failure> {
    const AT_SECURE: u32 = 23;
    // The vector of another width has an address at most where this looks for a number.
    Ok(values(&target.read("auxv")?, AT_SECURE).any(|value| value == 1))
}

/// Those of the caller: such as are ambient COMMAND has, too.
fn own_capabilities() -> CapabilitySet {
    let sets = rustix::thread::capabilities(None);
    CapabilitySet::from_bits(sets.map_or(u64::MAX, |sets| sets.permitted.bits()))
}

/// Whose it is, if COMMAND is another user there, or has more than that one.
fn whose_ids(request: &Request, target: &Target, joined: &Joined) -> Result<Option<String>, Failure> {
    let (caller, enters) = (Host::caller(), joined.differs(Namespace::User)?);
    if request.keep_caps {
        return Ok(Some("which has not got what --keep-caps keeps".to_owned()));
    }
    // Who enters a user namespace has no others than those of that.
    if caller.uid != 0 && !enters && !own_capabilities().is_empty() {
        return Ok(Some("which has not got the capabilities of the caller".to_owned()));
    }
    let (user, group) = asked_ids(request, target, enters)?;
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

/// The user and the group that COMMAND becomes, if another one: numbers of the user namespace that is entered.
fn asked_ids(
    request: &Request,
    target: &Target,
    enters: bool,
) -> Result<(Option<u32>, Option<u32>), Failure> {
    if !enters || request.enter.preserve_credentials {
        return Ok((request.uid, request.gid));
    }
    let (user, group) = ids_inside(request, Some(target))?;
    Ok((Some(user), Some(group)))
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
    if caller.uid == 0 || !own_capabilities().is_empty() {
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
    // The same directory by another mount may be there to be read only.
    if place(target.directory("root")?.as_fd(), Path::new(""))? != place(CWD, Path::new("/"))? {
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
    for field in ["CapBnd:", "CapInh:"] {
        if mask(&own, field)? & !mask(target, field)? != 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A set of capabilities of its status, empty where there is none.
fn mask(process: &Target, field: &str) -> Result<u64, Failure> {
    Ok(u64::from_str_radix(&status_field(process, field)?, 16).unwrap_or_default())
}
