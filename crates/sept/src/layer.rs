//! The layers of isolation that a command may declare dispensable: pure data.

use std::fmt;
use std::str::FromStr;

use crate::namespace::Namespace;

/// A layer that a command may do without: [`Command::if_possible`](crate::Command::if_possible).
///
/// `no_new_privs` is none of them: every kernel that runs sept has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// All kinds of namespaces: each that can't be had is the caller's, down to none that is new.
    Namespaces,
    /// One kind of namespace, with what has no meaning without it: maps of ids, `lo`.
    Kind(Namespace),
    /// A fresh /proc. Else the present one; else no pid namespace either.
    Proc,
    /// A fresh /sys. Else the present one, read-only; else none.
    Sys,
    /// System call filters.
    Seccomp,
    /// Landlock. Else what the kernel's ABI has of it; else none.
    Landlock,
    /// All limits by a cgroup, and its rules for devices; not where a freezer is asked for with them.
    Limits,
    /// The limit of memory by a cgroup.
    Memory,
    /// The limit of processor time by a cgroup.
    Cpus,
    /// The limit of processes by a cgroup.
    Pids,
    /// A session keyring of its own.
    Keyring,
    /// Core scheduling.
    CoreScheduling,
}

/// Every layer with its name, and what there is without it. The one table: options, plans and help read it.
const TABLE: [(Layer, &str, &str); 19] = [
    (Layer::Namespaces, "namespaces", "those of the caller"),
    (Layer::Kind(Namespace::User), "user", "the user namespace of the caller"),
    (Layer::Kind(Namespace::Mount), "mount", "the mount namespace of the caller"),
    (Layer::Kind(Namespace::Pid), "pid", "the pid namespace of the caller"),
    (Layer::Kind(Namespace::Uts), "uts", "the uts namespace of the caller"),
    (Layer::Kind(Namespace::Ipc), "ipc", "the ipc namespace of the caller"),
    (Layer::Kind(Namespace::Net), "net", "the network of the caller"),
    (Layer::Kind(Namespace::Cgroup), "cgroup", "the cgroup namespace of the caller"),
    (Layer::Kind(Namespace::Time), "time", "the clocks of the caller"),
    (Layer::Proc, "proc", "the present /proc, which shows processes outside, too"),
    (Layer::Sys, "sys", "the present /sys, read-only"),
    (Layer::Seccomp, "seccomp", "no filter of system calls"),
    (Layer::Landlock, "landlock", "what the kernel has of it"),
    (Layer::Limits, "limits", "no limit for all together"),
    (Layer::Memory, "memory", "no limit of memory"),
    (Layer::Cpus, "cpus", "no limit of processor time"),
    (Layer::Pids, "pids", "no limit of processes"),
    (Layer::Keyring, "keyring", "the session keyring of the caller"),
    (Layer::CoreScheduling, "core-scheduling", "processor cores shared with others"),
];

impl Layer {
    /// All of them, in the order in which they are shown.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(layer, ..)| *layer)
    }

    /// The word that options and reports use.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What there is without it.
    pub fn without(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (Self, &'static str, &'static str) {
        TABLE.iter().find(|(layer, ..)| *layer == self).unwrap_or(&TABLE[0])
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Layer {
    type Err = String;

    /// By [`name`](Self::name); `mnt` and `network`, too.
    fn from_str(word: &str) -> Result<Self, String> {
        let named = TABLE.iter().find(|(_, name, _)| *name == word).map(|(layer, ..)| *layer);
        named.or_else(|| word.parse().ok().map(Self::Kind)).ok_or_else(|| {
            let names: Vec<_> = Self::all().map(Self::name).collect();
            format!("{word:?} is no layer that can be done without; there are {}", names.join(", "))
        })
    }
}

/// A layer that was given up: [`Command::missing`](crate::Command::missing).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// Which.
    pub layer: Layer,
    /// Why it could not be had.
    pub why: String,
    /// What there is instead.
    pub instead: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "without {}: {}; instead: {}", self.layer, self.why, self.instead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_is_found_by_its_name() {
        for layer in Layer::all() {
            assert_eq!(layer.name().parse(), Ok(layer));
        }
        assert_eq!("mnt".parse(), Ok(Layer::Kind(Namespace::Mount)));
        assert!("no-new-privs".parse::<Layer>().is_err_and(|why| why.contains("core-scheduling")));
    }
}
