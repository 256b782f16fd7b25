//! The flags of a filter, SECCOMP_FILTER_FLAG_* of seccomp(2).

use std::fmt;

/// Flags of a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

const NAMES: [(&str, Flags); 4] = [
    ("tsync", Flags::TSYNC),
    ("log", Flags::LOG),
    ("spec-allow", Flags::SPEC_ALLOW),
    ("wait-killable-recv", Flags::WAIT_KILLABLE_RECV),
];

impl Flags {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All threads of the process get the filter. Says nothing here: a command has one thread, so the kernel is not asked.
    pub const TSYNC: Self = Self(1);
    /// What the filter refuses or ends is logged, where `/proc/sys/kernel/seccomp/actions_logged` has it. Since Linux 4.14.
    pub const LOG: Self = Self(1 << 1);
    /// The processor may speculate past stores as without a filter. Since Linux 4.17.
    pub const SPEC_ALLOW: Self = Self(1 << 2);
    /// A call that a listener has received is broken off by fatal signals only. Since Linux 5.19.
    pub const WAIT_KILLABLE_RECV: Self = Self(1 << 5);

    /// By name: `log`, `spec-allow`, or SECCOMP_FILTER_FLAG_LOG.
    pub fn parse(name: &str) -> Option<Self> {
        let word = name.strip_prefix("SECCOMP_FILTER_FLAG_").unwrap_or(name);
        let word = word.to_ascii_lowercase().replace('_', "-");
        NAMES.iter().find(|(known, _)| *known == word).map(|(_, flag)| *flag)
    }

    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// These and others.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What the kernel is passed.
    pub(crate) const fn bits(self) -> u32 {
        (self.0 & !Self::TSYNC.0) as u32
    }
}

impl fmt::Display for Flags {
    /// The names, with commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, _) in NAMES.iter().filter(|(_, flag)| self.contains(*flag)) {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        Ok(())
    }
}
