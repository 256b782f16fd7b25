//! Every namespace that the caller can see, and what keeps it.

pub(crate) mod mounts;
pub(crate) mod scan;
mod share;
mod threads;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, statx};

use crate::host::common::open_place;
use crate::namespace::Namespace;
use crate::sys;
use crate::target::{NamespaceFile, NamespaceId};
use mounts::{Left, all_bound};
use scan::{Scanned, scan_all};
use share::{Owner, Owners};

/// What keeps a namespace, beside its processes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// An open descriptor of a process.
    Descriptor {
        /// Whose: of a process, or a thread of one whose first thread has ended.
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
    /// A thread that is in it, while its process is not.
    Thread {
        /// Of which process.
        pid: u32,
        /// Its own number.
        tid: u32,
    },
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

/// Where namespaces are found that no process is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The open descriptors of a process.
    Descriptors,
    /// The mounts that a process sees.
    Mounts,
    /// The threads of a process.
    Threads,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => "descriptors",
            Self::Mounts => "mounts",
            Self::Threads => "threads",
        })
    }
}

/// What was not looked at to its end, for there is too much of it. What nothing else keeps or shows is not in the inventory then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unread {
    /// What.
    pub source: Source,
    /// Whose.
    pub pid: u32,
}

/// What was found in one pass over /proc.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// In the order of their kinds, and then of their numbers.
    pub entries: Vec<Entry>,
    /// What was looked at in part.
    pub unread: Vec<Unread>,
}

/// The kernel nests no deeper (MAX_PID_NS_LEVEL; one more of user namespaces).
const MOST_LEVELS: u32 = 33;

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
        let mut owners = Owners::new()?;
        let (scanned, unread) = scan_all(proc.as_fd(), &pids, &mut owners);
        let mut table = Table { device, unread, ..Table::default() };
        scanned.into_iter().for_each(|scanned| table.add(scanned, &mut owners));
        table.add_mounts();
        table.relate()?;
        table.add_unseen()?;
        Ok(table.finish())
    }

    /// One of them.
    pub fn get(&self, id: NamespaceId) -> Option<&Entry> {
        let of = |kind| self.entries.binary_search_by_key(&(kind, id.inode), |one| (one.kind, one.id.inode));
        let found = Namespace::ALL.into_iter().find_map(|kind| of(kind).ok());
        self.entries.get(found?).filter(|entry| entry.id == id)
    }

    /// How far a user or pid namespace is below the first that can be seen. None where that can't be: a number was one's above it, and is
    /// one's below by now.
    pub fn level(&self, entry: &Entry) -> Option<u32> {
        if !matches!(entry.kind, Namespace::User | Namespace::Pid) {
            return None;
        }
        let mut level = 0;
        let mut next = entry.parent;
        while let Some(parent) = next.and_then(|id| self.get(id)) {
            level += 1;
            if level > MOST_LEVELS {
                return None;
            }
            next = parent.parent;
        }
        Some(level)
    }
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

#[derive(Default)]
struct Table {
    device: u64,
    entries: BTreeMap<(Namespace, u64), Entry>,
    places: BTreeMap<(Namespace, u64), Place>,
    /// A process for each mount namespace that tells what is bound there.
    seers: BTreeMap<u64, (Owner, u32)>,
    unread: Vec<Unread>,
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

    fn add(&mut self, scanned: Scanned, owners: &mut Owners) {
        let Scanned { pid, thread, inside, for_children, descriptors, threads } = scanned;
        let link = |thread: u32, name: &str| Place::Link(format!("/proc/{thread}/ns/{name}").into());
        let mut seer = |thread, inode| {
            self.seers.entry(inode).or_insert_with(|| (owners.of(thread, &inside), thread));
        };
        seer(thread, inside[Namespace::Mount as usize]);
        threads.found.iter().filter(|one| one.1 == Namespace::Mount).for_each(|one| seer(one.0, one.2));
        for (kind, inode) in Namespace::ALL.into_iter().zip(inside) {
            self.entry(kind, inode, || link(thread, kind.link())).processes.push(pid);
        }
        for (tid, kind, inode) in threads.found {
            let entry = self.entry(kind, inode, || link(tid, kind.link()));
            entry.holders.push(Holder::Thread { pid, tid });
        }
        for (kind, inode) in for_children {
            let entry = self.entry(kind, inode, || link(thread, &format!("{}_for_children", kind.link())));
            entry.holders.push(Holder::ForChildren(thread));
        }
        for (fd, kind, inode) in descriptors.found {
            let entry = self.entry(kind, inode, || Place::Descriptor { pid: thread, fd });
            entry.holders.push(Holder::Descriptor { pid: thread, fd });
        }
    }

    /// One process of each mount namespace tells what is bound there, those of one owner after those of another.
    fn add_mounts(&mut self) {
        let mut seers: BTreeMap<Owner, Vec<u32>> = BTreeMap::new();
        for (owner, pid) in std::mem::take(&mut self.seers).into_values() {
            seers.entry(owner).or_default().push(pid);
        }
        let (mut left, count) = (Left::ALL, seers.len());
        for (n, (owner, mut pids)) in seers.into_iter().enumerate() {
            // Who was there first has made no mounts to hide them.
            pids.sort_unstable();
            let share = left.share(owner, count - n);
            let mut rest = share;
            for pid in pids {
                self.add_bound(pid, &mut rest);
            }
            left.less(&share, &rest);
        }
    }

    fn add_bound(&mut self, pid: u32, left: &mut Left) {
        let (found, all) = all_bound(pid, left);
        if !all {
            self.unread.push(Unread { source: Source::Mounts, pid });
        }
        for (kind, inode, path) in found {
            let entry = self.entry(kind, inode, || Place::Inside { pid, path: path.clone() });
            entry.holders.push(Holder::Mount { pid, path });
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
        let mut unread = self.unread;
        unread.sort();
        Inventory { entries, unread }
    }
}

fn id_of(file: Option<&NamespaceFile>) -> io::Result<Option<NamespaceId>> {
    file.map(NamespaceFile::id).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_below_itself_has_no_level() {
        let id = |inode| NamespaceId { device: 4, inode };
        let entry = |inode, parent: Option<u64>| Entry {
            kind: Namespace::User,
            id: id(inode),
            processes: Vec::new(),
            owner: None,
            parent: parent.map(id),
            owner_uid: None,
            holders: Vec::new(),
        };
        // Two that are each other's, and a chain of the greatest length.
        let mut entries = vec![entry(1, Some(2)), entry(2, Some(1)), entry(3, None)];
        entries.extend((4..=36).map(|inode| entry(inode, Some(inode - 1))));
        let inventory = Inventory { entries, unread: Vec::new() };
        let level = |inode| inventory.get(id(inode)).and_then(|entry| inventory.level(entry));
        assert_eq!((level(1), level(3), level(4), level(36)), (None, Some(0), Some(1), Some(33)));
        assert!(inventory.get(id(37)).is_none());
    }
}
