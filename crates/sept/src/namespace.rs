//! The eight kinds of namespaces, by the kernel's names.

use std::fmt;
use std::str::FromStr;

/// A kind of Linux namespace; see namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Namespace {
    /// Users, groups and capabilities: user_namespaces(7), since Linux 3.8.
    User,
    /// Mount points: mount_namespaces(7), since Linux 2.4.19.
    Mount,
    /// Process ids: pid_namespaces(7), since Linux 2.6.24.
    Pid,
    /// Host and domain name: uts_namespaces(7), since Linux 2.6.19.
    Uts,
    /// System V IPC and POSIX message queues: ipc_namespaces(7), since Linux 2.6.19.
    Ipc,
    /// Network devices, addresses, ports: network_namespaces(7), since Linux 2.6.24.
    Net,
    /// The root of the visible cgroups: cgroup_namespaces(7), since Linux 4.6.
    Cgroup,
    /// The monotonic and boot-time clocks: time_namespaces(7), since Linux 5.6.
    Time,
}

impl Namespace {
    /// All eight, in the order in which they are shown.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Mount, Self::Pid, Self::Uts, Self::Ipc, Self::Net, Self::Cgroup, Self::Time];

    /// The `CLONE_NEW*` flag of clone(2).
    pub const fn flag(self) -> u64 {
        match self {
            Self::User => 0x1000_0000,
            Self::Mount => 0x0002_0000,
            Self::Pid => 0x2000_0000,
            Self::Uts => 0x0400_0000,
            Self::Ipc => 0x0800_0000,
            Self::Net => 0x4000_0000,
            Self::Cgroup => 0x0200_0000,
            Self::Time => 0x0000_0080,
        }
    }

    /// The name of its link in `/proc/PID/ns`: `user`, `mnt`, `pid`, `uts`, `ipc`, `net`, `cgroup`, `time`.
    pub const fn link(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            _ => self.name(),
        }
    }

    /// The word that options and plans use: as [`link`](Self::link), but `mount`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }

    /// Its `user.max_*_namespaces` sysctl, which limits how many there may be, per user.
    pub const fn limit(self) -> &'static str {
        match self {
            Self::User => "user.max_user_namespaces",
            Self::Mount => "user.max_mnt_namespaces",
            Self::Pid => "user.max_pid_namespaces",
            Self::Uts => "user.max_uts_namespaces",
            Self::Ipc => "user.max_ipc_namespaces",
            Self::Net => "user.max_net_namespaces",
            Self::Cgroup => "user.max_cgroup_namespaces",
            Self::Time => "user.max_time_namespaces",
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Namespace {
    type Err = String;

    /// Accepts both `mount` and `mnt`, and `network` for `net`.
    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == word || kind.link() == word)
            .or_else(|| (word == "network").then_some(Self::Net))
            .ok_or_else(|| {
                format!("{word:?} is no kind of namespace: user, mount, pid, uts, ipc, net, cgroup or time")
            })
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Whether `kind` is in the set.
    pub const fn contains(self, kind: Namespace) -> bool {
        self.0 & kind.flag() != 0
    }

    /// Adds a kind.
    pub const fn insert(&mut self, kind: Namespace) {
        self.0 |= kind.flag();
    }

    /// Takes a kind out.
    pub const fn remove(&mut self, kind: Namespace) {
        self.0 &= !kind.flag();
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds, in the order of [`Namespace::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Namespace> {
        Namespace::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    /// The or of the clone flags.
    pub const fn flags(self) -> u64 {
        self.0
    }
}

impl FromIterator<Namespace> for Namespaces {
    fn from_iter<I: IntoIterator<Item = Namespace>>(kinds: I) -> Self {
        let mut set = Self::NONE;
        kinds.into_iter().for_each(|kind| set.insert(kind));
        set
    }
}

impl fmt::Display for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, kind) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            f.write_str(kind.name())?;
        }
        Ok(())
    }
}
