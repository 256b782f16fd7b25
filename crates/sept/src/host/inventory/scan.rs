//! What each process is in and has open.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use rustix::fs::{Mode, OFlags, openat, readlinkat};
use rustix::path::Arg;

use super::share::{Owner, Owners, share};
use super::threads::{self, Threads};
use super::{Source, Unread};
use crate::namespace::Namespace;
use crate::sys;

/// What one process is in and holds.
pub(super) struct Scanned {
    pub(super) pid: u32,
    /// Its first thread, or where that has ended another one: whose number is of use in /proc, too.
    pub(super) thread: u32,
    /// By the number of the kind.
    pub(super) inside: [u64; 8],
    pub(super) for_children: Vec<(Namespace, u64)>,
    pub(super) descriptors: Descriptors,
    pub(super) threads: Threads,
}

/// The namespaces among the open descriptors.
#[derive(Clone, Default)]
pub(super) struct Descriptors {
    pub(super) found: Vec<(u32, Namespace, u64)>,
    /// More of them are open than were looked at.
    is_part: bool,
}

/// So many descriptors are looked at first, of each process and of all together: most have no more.
const FEW: u64 = 256;
const FIRST: u64 = 300_000;

/// So many of those who have more.
const MORE: u64 = 700_000;

/// The same of threads, which cost ten times as much.
const FEW_THREADS: u64 = 64;
const FIRST_THREADS: u64 = 4096;
const MORE_THREADS: u64 = 16_384;

/// Looks at all of them, in threads; at those that have many descriptors open, or many threads, one after another, so that who has a
/// share of what may be looked at gets it.
pub(super) fn scan_all(
    proc: BorrowedFd<'_>,
    pids: &[u32],
    owners: &mut Owners,
) -> (Vec<Scanned>, Vec<Unread>) {
    let workers = thread::available_parallelism().map_or(1, usize::from).min(8);
    let mut scanned = scan_few(proc, pids, workers);
    let mut parts: BTreeMap<Owner, Vec<&mut Scanned>> = BTreeMap::new();
    for one in scanned.iter_mut().filter(|one| one.descriptors.is_part || one.threads.is_part) {
        parts.entry(owners.of(one.thread, &one.inside)).or_default().push(one);
    }
    let (mut left, mut left_threads, count) = (MORE, MORE_THREADS, parts.len());
    let mut unread = Vec::new();
    for (n, (owner, mut parts)) in parts.into_iter().enumerate() {
        let own = share(left, owner, count - n);
        left -= own - look_again(proc, &mut parts, own);
        let own = share(left_threads, owner, count - n);
        left_threads -= own - look_at_threads(proc, &mut parts, own);
        for one in parts {
            let part =
                [(Source::Descriptors, one.descriptors.is_part), (Source::Threads, one.threads.is_part)];
            let part = part.into_iter().filter(|(_, is_part)| *is_part);
            unread.extend(part.map(|(source, _)| Unread { source, pid: one.pid }));
        }
    }
    (scanned, unread)
}

fn scan_few(proc: BorrowedFd<'_>, pids: &[u32], workers: usize) -> Vec<Scanned> {
    let (left, threads) = (AtomicU64::new(FIRST), AtomicU64::new(FIRST_THREADS));
    let some =
        |pids: &[u32]| pids.iter().filter_map(|pid| scan(proc, *pid, &left, &threads)).collect::<Vec<_>>();
    // A thread costs more than a few processes.
    if workers < 2 || pids.len() < 64 {
        return some(pids);
    }
    let share = pids.len().div_ceil(workers);
    thread::scope(|scope| {
        // What no thread can be had for, this one does.
        let threads: Vec<_> = pids
            .chunks(share)
            .map(|pids| (pids, thread::Builder::new().spawn_scoped(scope, move || some(pids))))
            .collect();
        let scanned = threads.into_iter().flat_map(|(pids, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or_default(),
            Err(_) => some(pids),
        });
        scanned.collect()
    })
}

/// None for one that has ended, or that may not be looked at.
fn scan(proc: BorrowedFd<'_>, pid: u32, left: &AtomicU64, left_threads: &AtomicU64) -> Option<Scanned> {
    let mut dir = directory(proc, pid)?;
    let has_several = threads::has_several(dir.as_fd());
    let (mut few, mut few_threads) = (FEW, FEW_THREADS);
    let (mut thread, mut own) = (pid, inside(dir.as_fd()));
    if own.is_none() && has_several {
        (thread, dir) = threads::living(dir.as_fd())?;
        own = inside(dir.as_fd());
    }
    let own = own?;
    let threads = if has_several {
        let more = || spend(&mut few_threads, 1) && spend_of_all(left_threads);
        threads::others(directory(proc, pid)?.as_fd(), thread, &own, more)
    } else {
        Threads::default()
    };
    let descriptors = descriptors(dir.as_fd(), || spend(&mut few, 1) && spend_of_all(left));
    Some(Scanned {
        pid,
        thread,
        inside: own,
        for_children: for_children(dir.as_fd(), &own),
        descriptors,
        threads,
    })
}

/// All eight.
pub(super) fn inside(dir: BorrowedFd<'_>) -> Option<[u64; 8]> {
    let mut inside = [0; 8];
    for (number, kind) in inside.iter_mut().zip(Namespace::ALL) {
        (_, *number) = link(dir, NS_LINKS[kind as usize])?;
    }
    Some(inside)
}

/// Those that children will be in, where they are others.
fn for_children(dir: BorrowedFd<'_>, own: &[u64; 8]) -> Vec<(Namespace, u64)> {
    // There is none for a pid namespace that has no process yet.
    let other = |(kind, name): (Namespace, &CStr)| {
        link(dir, name).map(|(_, number)| (kind, number)).filter(|(_, number)| *number != own[kind as usize])
    };
    [(Namespace::Pid, c"ns/pid_for_children"), (Namespace::Time, c"ns/time_for_children")]
        .into_iter()
        .filter_map(other)
        .collect()
}

pub(super) fn directory(proc: BorrowedFd<'_>, pid: u32) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(proc, pid.to_string(), flags, Mode::empty()).ok()
}

/// Whether there is so much left, which is taken.
fn spend(left: &mut u64, much: u64) -> bool {
    left.checked_sub(much).map(|rest| *left = rest).is_some()
}

fn spend_of_all(left: &AtomicU64) -> bool {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// By the number of the kind.
const NS_LINKS: [&CStr; 8] =
    [c"ns/user", c"ns/mnt", c"ns/pid", c"ns/uts", c"ns/ipc", c"ns/net", c"ns/cgroup", c"ns/time"];

/// A link like `net:[4026531840]`.
pub(super) fn link(dir: BorrowedFd<'_>, name: impl Arg) -> Option<(Namespace, u64)> {
    // Longer targets are none of these.
    let mut buffer = [0_u8; 48];
    let length = rustix::fs::readlinkat_raw(dir, name, &mut buffer).ok()?;
    parse(buffer.get(..length)?)
}

pub(crate) fn parse(link: &[u8]) -> Option<(Namespace, u64)> {
    let text = std::str::from_utf8(link.strip_suffix(b"]")?).ok()?;
    let (kind, number) = text.split_once(":[")?;
    let kind = Namespace::ALL.into_iter().find(|known| known.link() == kind)?;
    Some((kind, number.parse().ok()?))
}

/// As far as one more may be looked at. None where they may not be looked at at all.
fn descriptors(dir: BorrowedFd<'_>, mut more: impl FnMut() -> bool) -> Descriptors {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut all = Descriptors::default();
    let Ok(fds) = openat(dir, "fd", flags, Mode::empty()) else { return all };
    let mut space = [std::mem::MaybeUninit::uninit(); 4096];
    let mut entries = rustix::fs::RawDir::new(&fds, &mut space);
    while let Some(Ok(entry)) = entries.next() {
        if !more() {
            all.is_part = true;
            break;
        }
        let name = entry.file_name();
        if let Some(fd) = name.to_str().ok().and_then(|name| name.parse().ok())
            && let Some((kind, number)) = link(fds.as_fd(), name)
        {
            all.found.push((fd, kind, number));
        }
    }
    all
}

/// So many tables of descriptors are remembered to be known again.
const TABLES: usize = 64;

/// Looks at those of one owner from the beginning, as far as his share goes, and returns what is left of it. Processes that share a
/// table are as one.
fn look_again(proc: BorrowedFd<'_>, parts: &mut [&mut Scanned], mut left: u64) -> u64 {
    let mut tables: Vec<(u32, Descriptors)> = Vec::new();
    // Those of an outer pid namespace's /proc mean others to the kernel.
    let own_numbers = proc_knows_us(proc);
    for one in parts.iter_mut().filter(|one| one.descriptors.is_part) {
        let mut last = tables.iter().rev().take(TABLES);
        if let Some((_, same)) = last.find(|(thread, _)| own_numbers && sys::share_files(*thread, one.thread))
        {
            one.descriptors = if spend(&mut left, 1 + same.found.len() as u64) {
                same.clone()
            } else {
                Descriptors::part()
            };
        } else if let Some(dir) = directory(proc, one.thread) {
            one.descriptors = descriptors(dir.as_fd(), || spend(&mut left, 1));
            tables.push((one.thread, one.descriptors.clone()));
        }
    }
    left
}

/// The same for threads.
fn look_at_threads(proc: BorrowedFd<'_>, parts: &mut [&mut Scanned], mut left: u64) -> u64 {
    for one in parts.iter_mut().filter(|one| one.threads.is_part) {
        if let Some(dir) = directory(proc, one.pid) {
            one.threads = threads::others(dir.as_fd(), one.thread, &one.inside, || spend(&mut left, 1));
        }
    }
    left
}

fn proc_knows_us(proc: BorrowedFd<'_>) -> bool {
    let own = rustix::process::getpid().as_raw_pid().to_string();
    readlinkat(proc, "self", Vec::new()).is_ok_and(|number| number.to_bytes() == own.as_bytes())
}

impl Descriptors {
    fn part() -> Self {
        Self { found: Vec::new(), is_part: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read() {
        assert_eq!(parse(b"net:[4026531840]"), Some((Namespace::Net, 4_026_531_840)));
        assert_eq!(parse(b"mnt:[7]"), Some((Namespace::Mount, 7)));
        for other in [b"socket:[7]".as_slice(), b"/dev/null", b"net:[x]", b"net:[7", b""] {
            assert_eq!(parse(other), None);
        }
    }

    #[test]
    fn the_numbers_of_kinds_are_their_places() {
        for (n, kind) in Namespace::ALL.into_iter().enumerate() {
            assert!(kind as usize == n && NS_LINKS[n].to_str().is_ok_and(|link| link.ends_with(kind.link())));
        }
    }
}
