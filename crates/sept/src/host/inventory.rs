//! Every namespace that the caller can see, and what keeps it.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, statx};

use crate::host::common::{open_place, unescaped};
use crate::namespace::Namespace;
use crate::sys;
use crate::target::{NamespaceFile, NamespaceId};

/// What keeps a namespace, beside its processes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// An open descriptor of a process.
    Descriptor {
        /// Whose.
        pid: u32,
        /// Its number.
        fd: u32,
    },
    /// A file that it is bound to.
    Mount {
        /// A process that sees the mount.
        pid: u32,
        /// Where, as that process sees it.
        path: PathBuf,
    },
    /// A user or pid namespace below it.
    Child(NamespaceId),
    /// A namespace that it owns.
    Owned(NamespaceId),
    /// A process that is not in it, but whose children will be.
    ForChildren(u32),
}

/// One namespace.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its kind.
    pub kind: Namespace,
    /// Which one it is.
    pub id: NamespaceId,
    /// The processes in it, in the order of their ids.
    pub processes: Vec<u32>,
    /// The user namespace that owns it, where that can be seen.
    pub owner: Option<NamespaceId>,
    /// The parent of a user or pid namespace, where that can be seen.
    pub parent: Option<NamespaceId>,
    /// The user who made a user namespace.
    pub owner_uid: Option<u32>,
    /// What else keeps it.
    pub holders: Vec<Holder>,
}

/// What was found in one pass over /proc.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// In the order of their kinds, and then of their numbers.
    pub entries: Vec<Entry>,
}

/// So many binds of namespaces are remembered, and so much is read of what a mount namespace says of itself: anybody can make as
/// many as there is memory for.
const MOST_MOUNTS: usize = 10_000;
const MOST_OF_MOUNTINFO: u64 = 16 << 20;

impl Inventory {
    /// Looks at every process that may be looked at. One that ends meanwhile is passed over.
    ///
    /// # Errors
    /// Where /proc can't be read at all.
    pub fn read() -> io::Result<Self> {
        let device = NamespaceFile::of("self", Namespace::User)?.id()?.device;
        let proc =
            rustix::fs::open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut pids: Vec<u32> = fs::read_dir("/proc")?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        let workers = thread::available_parallelism().map_or(1, usize::from).min(8);
        let found = scan_all(proc.as_fd(), &pids, workers);
        let mut table = Table { device, entries: BTreeMap::new(), places: BTreeMap::new() };
        found.into_iter().for_each(|scanned| table.add(scanned));
        table.add_mounts();
        table.relate()?;
        table.add_unseen()?;
        Ok(table.finish())
    }

    /// One of them.
    pub fn get(&self, id: NamespaceId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// How far a user or pid namespace is below the first that can be seen.
    pub fn level(&self, entry: &Entry) -> Option<u32> {
        if !matches!(entry.kind, Namespace::User | Namespace::Pid) {
            return None;
        }
        let mut level = 0;
        let mut next = entry.parent;
        while let Some(parent) = next.and_then(|id| self.get(id)) {
            level += 1;
            next = parent.parent;
        }
        Some(level)
    }
}

/// What one process is in and holds.
struct Scanned {
    pid: u32,
    inside: [u64; 8],
    for_children: Vec<(Namespace, u64)>,
    descriptors: Vec<(u32, Namespace, u64)>,
}

fn scan_all(proc: BorrowedFd<'_>, pids: &[u32], workers: usize) -> Vec<Scanned> {
    let left = AtomicU64::new(MOST_DESCRIPTORS);
    let some = |pids: &[u32]| pids.iter().filter_map(|pid| scan(proc, *pid, &left)).collect::<Vec<_>>();
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
fn scan(proc: BorrowedFd<'_>, pid: u32, left: &AtomicU64) -> Option<Scanned> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(proc, pid.to_string(), flags, Mode::empty()).ok()?;
    let mut inside = [0; 8];
    for (number, kind) in inside.iter_mut().zip(Namespace::ALL) {
        (_, *number) = link(dir.as_fd(), NS_LINKS[kind as usize])?;
    }
    let mut for_children = Vec::new();
    for (kind, name) in [(Namespace::Pid, c"ns/pid_for_children"), (Namespace::Time, c"ns/time_for_children")]
    {
        // There is none for a pid namespace that has no process yet.
        if let Some((_, number)) = link(dir.as_fd(), name)
            && number != inside[kind as usize]
        {
            for_children.push((kind, number));
        }
    }
    Some(Scanned { pid, inside, for_children, descriptors: descriptors(dir.as_fd(), left) })
}

/// By the number of the kind.
const NS_LINKS: [&CStr; 8] =
    [c"ns/user", c"ns/mnt", c"ns/pid", c"ns/uts", c"ns/ipc", c"ns/net", c"ns/cgroup", c"ns/time"];

/// A link like `net:[4026531840]`.
fn link(dir: BorrowedFd<'_>, name: &CStr) -> Option<(Namespace, u64)> {
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

/// So many descriptors are looked at, of all processes together: those that share a table show as many as its size each.
const MOST_DESCRIPTORS: u64 = 1_000_000;

/// The namespaces among the open descriptors, as far as there are some left to look at. None where they may not be looked at.
fn descriptors(dir: BorrowedFd<'_>, left: &AtomicU64) -> Vec<(u32, Namespace, u64)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(fds) = rustix::fs::openat(dir, "fd", flags, Mode::empty()) else { return Vec::new() };
    let mut found = Vec::new();
    let mut space = [std::mem::MaybeUninit::uninit(); 4096];
    let mut entries = rustix::fs::RawDir::new(&fds, &mut space);
    while let Some(Ok(entry)) = entries.next() {
        if left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err() {
            break;
        }
        let name = entry.file_name();
        if let Some(fd) = name.to_str().ok().and_then(|name| name.parse().ok())
            && let Some((kind, number)) = link(fds.as_fd(), name)
        {
            found.push((fd, kind, number));
        }
    }
    found
}

/// Where a namespace can be opened.
enum Place {
    /// A link of /proc that leads to a namespace.
    Link(PathBuf),
    /// A link of /proc to what a process has open, which may be another file by now.
    Descriptor { pid: u32, fd: u32 },
    /// A path as a process sees it, which may be hostile.
    Inside { pid: u32, path: PathBuf },
    /// It is open already.
    Open,
}

impl Place {
    fn open(&self, device: u64) -> Option<NamespaceFile> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match self {
            Self::Link(path) => {
                NamespaceFile::from_fd(rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?)
            }
            Self::Inside { pid, path } => {
                let look = OFlags::PATH | OFlags::CLOEXEC;
                let root = rustix::fs::open(format!("/proc/{pid}/root"), look, Mode::empty()).ok()?;
                // Links lead nowhere outside; and only by names that the kernel has at hand, as it has those of mount
                // points: a file system in user space must not be asked, it could keep us waiting.
                let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::CACHED;
                opened(&rustix::fs::openat2(root, path, look, Mode::empty(), resolve).ok()?, device)
            }
            Self::Descriptor { pid, fd } => {
                let look = OFlags::PATH | OFlags::CLOEXEC;
                opened(&rustix::fs::open(format!("/proc/{pid}/fd/{fd}"), look, Mode::empty()).ok()?, device)
            }
            Self::Open => None,
        }
    }
}

/// The file at a place, if it is a namespace, by the device of those: to open another, a device or one in user space, could do
/// something. Not by statfs(2), which asks a file system in user space: its answer may never come.
fn opened(place: &OwnedFd, device: u64) -> Option<NamespaceFile> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = statx(place, c"", flags, StatxFlags::TYPE).ok()?;
    if rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor) != device {
        return None;
    }
    NamespaceFile::from_fd(open_place(place).ok()?)
}

struct Table {
    device: u64,
    entries: BTreeMap<(Namespace, u64), Entry>,
    places: BTreeMap<(Namespace, u64), Place>,
}

impl Table {
    fn entry(&mut self, kind: Namespace, inode: u64, place: impl FnOnce() -> Place) -> &mut Entry {
        let id = NamespaceId { device: self.device, inode };
        self.places.entry((kind, inode)).or_insert_with(place);
        self.entries.entry((kind, inode)).or_insert_with(|| Entry {
            kind,
            id,
            processes: Vec::new(),
            owner: None,
            parent: None,
            owner_uid: None,
            holders: Vec::new(),
        })
    }

    fn add(&mut self, scanned: Scanned) {
        let pid = scanned.pid;
        for (kind, inode) in Namespace::ALL.into_iter().zip(scanned.inside) {
            let place = || Place::Link(format!("/proc/{pid}/ns/{}", kind.link()).into());
            self.entry(kind, inode, place).processes.push(pid);
        }
        for (kind, inode) in scanned.for_children {
            let place = || Place::Link(format!("/proc/{pid}/ns/{}_for_children", kind.link()).into());
            self.entry(kind, inode, place).holders.push(Holder::ForChildren(pid));
        }
        for (fd, kind, inode) in scanned.descriptors {
            let place = || Place::Descriptor { pid, fd };
            self.entry(kind, inode, place).holders.push(Holder::Descriptor { pid, fd });
        }
    }

    /// One process of each mount namespace tells what is bound there.
    fn add_mounts(&mut self) {
        let seers: Vec<u32> = self
            .entries
            .values()
            .filter(|entry| entry.kind == Namespace::Mount)
            .filter_map(|entry| entry.processes.first().copied())
            .collect();
        let mut left = MOST_MOUNTS;
        for pid in seers {
            let Ok(file) = fs::File::open(format!("/proc/{pid}/mountinfo")) else { continue };
            for (kind, inode, path) in all_bound(file, left) {
                left -= 1;
                let place = || Place::Inside { pid, path: path.clone() };
                let entry = self.entry(kind, inode, place);
                entry.holders.push(Holder::Mount { pid, path });
            }
        }
    }

    /// What the kernel lists (Linux 6.19) and nothing above has shown: kept by a socket, or by the kernel itself.
    fn add_unseen(&mut self) -> io::Result<()> {
        let (mut ids, mut after) = ([0_u64; 512], 0);
        while let Ok(count) = sys::listns(after, &mut ids)
            && let Some(last) = ids.get(..count).and_then(<[u64]>::last)
            && *last > after
        {
            after = *last;
            for id in &ids[..count] {
                // One that ended meanwhile can't be opened.
                let Ok(file) = NamespaceFile::by_unique_id(*id) else { continue };
                let Ok(inode) = file.id().map(|id| id.inode) else { continue };
                let key = (file.kind(), inode);
                if !self.entries.contains_key(&key) {
                    self.entry(key.0, key.1, || Place::Open);
                    self.relate_one(key, file)?;
                }
            }
        }
        Ok(())
    }

    /// Asks the kernel who owns what, and adds those that are known by that only. One after another: whoever makes many
    /// namespaces must not use up this process's descriptors.
    fn relate(&mut self) -> io::Result<()> {
        for (key, place) in std::mem::take(&mut self.places) {
            // One that is gone by now has no more to tell.
            if let Some(file) = place.open(self.device)
                && file.kind() == key.0
                && file.id()?.inode == key.1
            {
                self.relate_one(key, file)?;
            }
        }
        Ok(())
    }

    fn relate_one(&mut self, key: (Namespace, u64), file: NamespaceFile) -> io::Result<()> {
        let mut open = vec![(key, file)];
        while let Some((key, file)) = open.pop() {
            let owner = file.owner()?;
            let parent = file.parent()?;
            let uid = if key.0 == Namespace::User { file.owner_uid().ok() } else { None };
            let (owner_id, parent_id) = (id_of(owner.as_ref())?, id_of(parent.as_ref())?);
            let own = NamespaceId { device: self.device, inode: key.1 };
            if let Some(entry) = self.entries.get_mut(&key) {
                (entry.owner, entry.parent, entry.owner_uid) = (owner_id, parent_id, uid);
            }
            // The owner of a user namespace is its parent: told once.
            let related = match (owner, parent) {
                (_, Some(parent)) if key.0 == Namespace::User => vec![(parent, Holder::Child(own))],
                (owner, parent) => owner
                    .map(|owner| (owner, Holder::Owned(own)))
                    .into_iter()
                    .chain(parent.map(|parent| (parent, Holder::Child(own))))
                    .collect(),
            };
            for (file, holder) in related {
                let (kind, inode) = (file.kind(), file.id()?.inode);
                let known = self.entries.contains_key(&(kind, inode));
                self.entry(kind, inode, || Place::Open).holders.push(holder);
                if !known {
                    open.push(((kind, inode), file));
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Inventory {
        let mut entries: Vec<Entry> = self.entries.into_values().collect();
        entries.iter_mut().for_each(|entry| entry.holders.sort());
        Inventory { entries }
    }
}

fn id_of(file: Option<&NamespaceFile>) -> io::Result<Option<NamespaceId>> {
    file.map(NamespaceFile::id).transpose()
}

/// The namespace that a line of mountinfo binds somewhere, and where.
pub(crate) fn bound(line: &str) -> Option<(Namespace, u64, PathBuf)> {
    let (fields, _) = line.split_once(" - nsfs ")?;
    let mut fields = fields.split(' ').skip(3);
    let (root, path) = (fields.next()?, fields.next()?);
    let (kind, inode) = parse(root.as_bytes())?;
    Some((kind, inode, unescaped(path)))
}

/// All that are told, as far as one reads, and so many at most.
fn all_bound(mounts: impl Read, most: usize) -> impl Iterator<Item = (Namespace, u64, PathBuf)> {
    let lines = BufReader::new(mounts.take(MOST_OF_MOUNTINFO)).split(b'\n').map_while(Result::ok);
    lines.filter_map(|line| bound(&String::from_utf8_lossy(&line))).take(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_without_end_are_read_to_an_end() {
        let line = b"36 35 0:4 net:[4026531840] /a\\040b rw - nsfs nsfs rw\n";
        let found: Vec<_> = all_bound(line.repeat(20_000).as_slice(), 10_000).collect();
        assert_eq!(found.len(), 10_000);
        assert_eq!(found[0], (Namespace::Net, 4_026_531_840, PathBuf::from("/a b")));
        assert_eq!(all_bound(io::repeat(b'x').chain(line.as_slice()), 10).count(), 0);
    }

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
