//! Resource limits of a process by their names; getrlimit(2).

use std::fmt;

/// By name and the kernel's number (the same on x86_64 and aarch64).
const NAMES: [(&str, u32); 16] = [
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("memlock", 8),
    ("as", 9),
    ("locks", 10),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];

/// A kind of limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource(u32);

impl Resource {
    /// By name: `nofile` or `RLIMIT_NOFILE`.
    pub fn parse(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let word = lower.strip_prefix("rlimit_").unwrap_or(&lower);
        NAMES.iter().find(|(known, _)| *known == word).map(|(_, number)| Self(*number))
    }

    /// The kernel's number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(_, number)| *number == self.0).map_or("?", |(name, _)| name))
    }
}

/// One limit. None is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// What is limited.
    pub resource: Resource,
    /// What is enforced; in bytes, seconds, descriptors or processes, as the resource has it.
    pub soft: Option<u64>,
    /// Up to where the soft limit may be raised.
    pub hard: Option<u64>,
}

impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
        write!(f, "{} {} (at most {})", self.resource, value(self.soft), value(self.hard))
    }
}
