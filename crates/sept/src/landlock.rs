//! What Landlock is to allow: pure data, in the kernel's words; landlock(7), since Linux 5.13.

use std::fmt;
use std::path::PathBuf;

/// What may be done below a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathAccess {
    /// Read files, list directories.
    Read,
    /// That, and write, make, remove, rename and truncate.
    Write,
    /// Read, list, and execute.
    Execute,
}

/// What may be done with a TCP port; ABI 4, Linux 6.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortAccess {
    /// bind(2).
    Bind,
    /// connect(2).
    Connect,
}

/// What stays within the processes that are confined together; ABI 6, Linux 6.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Connecting to abstract unix sockets.
    AbstractSockets,
    /// Sending signals.
    Signals,
}

/// What is allowed. Files are confined if a path is named, ports of a kind if one of that kind is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landlock {
    /// Paths as they are seen inside.
    pub paths: Vec<(PathBuf, PathAccess)>,
    /// TCP ports.
    pub ports: Vec<(u16, PortAccess)>,
    /// Whether TCP ports of a kind are confined though none is allowed.
    pub no_ports: Vec<PortAccess>,
    /// What is scoped.
    pub scopes: Vec<Scope>,
}

impl Landlock {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && !self.confines_ports() && self.scopes.is_empty()
    }

    /// Whether TCP ports of a kind are confined.
    pub(crate) fn confines_ports(&self) -> bool {
        !self.ports.is_empty() || !self.no_ports.is_empty()
    }

    /// The ABI that all of it takes.
    pub fn least_abi(&self) -> u32 {
        if !self.scopes.is_empty() {
            6
        } else if self.confines_ports() {
            4
        } else {
            1
        }
    }

    /// Takes out what a kernel of this ABI (0: none) does not have. Whether there was any.
    pub(crate) fn fit(&mut self, abi: u32) -> bool {
        let before = self.clone();
        if abi < 6 {
            self.scopes.clear();
        }
        if abi < 4 {
            self.ports.clear();
            self.no_ports.clear();
        }
        if abi < 1 {
            self.paths.clear();
        }
        *self != before
    }
}

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// From removing directories to making symbolic links.
const CHANGE_DIR: u64 = 0x1ff0;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// What means something for a file that is no directory.
pub(crate) const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

/// All accesses to files that a kernel of this ABI can refuse.
pub(crate) const fn all_files(abi: u32) -> u64 {
    let mut all = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | CHANGE_DIR;
    if abi >= 2 {
        all |= REFER;
    }
    if abi >= 3 {
        all |= TRUNCATE;
    }
    if abi >= 5 {
        all |= IOCTL_DEV;
    }
    all
}

impl PathAccess {
    pub(crate) const fn bits(self, abi: u32) -> u64 {
        let read = READ_FILE | READ_DIR;
        match self {
            Self::Read => read,
            Self::Execute => read | EXECUTE,
            Self::Write => (read | WRITE_FILE | CHANGE_DIR | REFER | TRUNCATE | IOCTL_DEV) & all_files(abi),
        }
    }

    /// As it is printed.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
        }
    }
}

impl PortAccess {
    pub(crate) const fn bit(self) -> u64 {
        match self {
            Self::Bind => 1,
            Self::Connect => 2,
        }
    }
}

impl Scope {
    pub(crate) const fn bit(self) -> u64 {
        match self {
            Self::AbstractSockets => 1,
            Self::Signals => 2,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AbstractSockets => "abstract sockets",
            Self::Signals => "signals",
        })
    }
}
