//! Capabilities by their names, and sets of them; capabilities(7).

use std::fmt;

/// The names in the order of their numbers, and a set of one for each.
macro_rules! capabilities {
    ($($constant:ident = $number:literal, $name:literal;)*) => {
        const NAMES: &[&str] = &[$($name),*];

        /// A set of one capability each.
        impl CapabilitySet {
            $(
                #[doc = concat!("`CAP_", stringify!($constant), "` alone.")]
                pub const $constant: Self = Self(1 << $number);
            )*
        }
    };
}

// Up to Linux 6.18.
capabilities! {
    CHOWN = 0, "chown";
    DAC_OVERRIDE = 1, "dac_override";
    DAC_READ_SEARCH = 2, "dac_read_search";
    FOWNER = 3, "fowner";
    FSETID = 4, "fsetid";
    KILL = 5, "kill";
    SETGID = 6, "setgid";
    SETUID = 7, "setuid";
    SETPCAP = 8, "setpcap";
    LINUX_IMMUTABLE = 9, "linux_immutable";
    NET_BIND_SERVICE = 10, "net_bind_service";
    NET_BROADCAST = 11, "net_broadcast";
    NET_ADMIN = 12, "net_admin";
    NET_RAW = 13, "net_raw";
    IPC_LOCK = 14, "ipc_lock";
    IPC_OWNER = 15, "ipc_owner";
    SYS_MODULE = 16, "sys_module";
    SYS_RAWIO = 17, "sys_rawio";
    SYS_CHROOT = 18, "sys_chroot";
    SYS_PTRACE = 19, "sys_ptrace";
    SYS_PACCT = 20, "sys_pacct";
    SYS_ADMIN = 21, "sys_admin";
    SYS_BOOT = 22, "sys_boot";
    SYS_NICE = 23, "sys_nice";
    SYS_RESOURCE = 24, "sys_resource";
    SYS_TIME = 25, "sys_time";
    SYS_TTY_CONFIG = 26, "sys_tty_config";
    MKNOD = 27, "mknod";
    LEASE = 28, "lease";
    AUDIT_WRITE = 29, "audit_write";
    AUDIT_CONTROL = 30, "audit_control";
    SETFCAP = 31, "setfcap";
    MAC_OVERRIDE = 32, "mac_override";
    MAC_ADMIN = 33, "mac_admin";
    SYSLOG = 34, "syslog";
    WAKE_ALARM = 35, "wake_alarm";
    BLOCK_SUSPEND = 36, "block_suspend";
    AUDIT_READ = 37, "audit_read";
    PERFMON = 38, "perfmon";
    BPF = 39, "bpf";
    CHECKPOINT_RESTORE = 40, "checkpoint_restore";
}

/// A set of capabilities.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// None.
    pub const NONE: Self = Self(0);
    /// All that this version knows.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// From the kernel's mask: bit n is capability n.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The kernel's mask.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// By name: `CAP_NET_ADMIN`, `net_admin` or `all`.
    pub fn parse(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        if lower == "all" {
            return Some(Self::ALL);
        }
        let word = lower.strip_prefix("cap_").unwrap_or(&lower);
        NAMES.iter().position(|known| *known == word).map(|number| Self(1 << number))
    }

    /// With these, too.
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Without these.
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Those that are in both.
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of these are in it.
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names, as `net_admin`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.iter().enumerate().filter(move |(number, _)| self.0 & (1 << number) != 0).map(|(_, name)| *name)
    }
}

impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("all");
        }
        if self.is_empty() {
            return f.write_str("none");
        }
        let others = Self::ALL.without(*self);
        if others.0.count_ones() < self.0.count_ones() {
            return write!(f, "all but {others}");
        }
        for (n, name) in self.names().enumerate() {
            write!(f, "{}{name}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CapabilitySet({self})")
    }
}

/// The five sets of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// What no exec can give any more when it is not in here.
    pub bounding: CapabilitySet,
    /// What may be made effective.
    pub permitted: CapabilitySet,
    /// What is checked.
    pub effective: CapabilitySet,
    /// What exec keeps for files that have it inheritable, and what may be ambient.
    pub inheritable: CapabilitySet,
    /// What exec keeps for a user other than root. At most what is permitted and inheritable.
    pub ambient: CapabilitySet,
}

impl Capabilities {
    /// The same set for a command of user 0: exec gives root what is in the bounding set. Nothing is inheritable.
    pub const fn for_root(set: CapabilitySet) -> Self {
        let none = CapabilitySet::NONE;
        Self { bounding: set, permitted: set, effective: set, inheritable: none, ambient: none }
    }

    /// The same set for a command of another user: kept over exec as ambient capabilities (Linux 4.3).
    pub const fn for_user(set: CapabilitySet) -> Self {
        Self { bounding: set, permitted: set, effective: set, inheritable: set, ambient: set }
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bounding, permitted, effective, inheritable, ambient } = self;
        if bounding == permitted && permitted == effective {
            write!(f, "{permitted}")?;
        } else {
            write!(f, "bounding {bounding}, permitted {permitted}, effective {effective}")?;
        }
        if !inheritable.is_empty() {
            write!(f, "; inheritable {inheritable}")?;
        }
        if !ambient.is_empty() {
            write!(f, "; ambient {ambient}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree() {
        for (number, name) in NAMES.iter().enumerate() {
            assert_eq!(CapabilitySet::parse(name), Some(CapabilitySet::from_bits(1 << number)), "{name}");
        }
        assert_eq!(CapabilitySet::CHECKPOINT_RESTORE.names().collect::<Vec<_>>(), ["checkpoint_restore"]);
    }

    #[test]
    fn names_are_known_in_every_spelling() {
        let admin = CapabilitySet::SYS_ADMIN;
        assert_eq!(admin.bits(), 1 << 21);
        for name in ["CAP_SYS_ADMIN", "sys_admin", "Cap_Sys_Admin"] {
            assert_eq!(CapabilitySet::parse(name), Some(admin), "{name}");
        }
        assert_eq!(CapabilitySet::parse("checkpoint_restore"), Some(CapabilitySet::CHECKPOINT_RESTORE));
        assert_eq!(CapabilitySet::parse("ALL"), Some(CapabilitySet::ALL));
        for name in ["", "cap_", "admin", "all_"] {
            assert_eq!(CapabilitySet::parse(name), None, "{name}");
        }
        assert_eq!(admin.with(CapabilitySet::CHOWN).to_string(), "chown,sys_admin");
        assert_eq!(CapabilitySet::ALL.without(CapabilitySet::ALL).to_string(), "none");
        assert!(CapabilitySet::ALL.contains(admin) && !admin.contains(CapabilitySet::CHOWN.with(admin)));
        assert_eq!(CapabilitySet::ALL.without(admin).to_string(), "all but sys_admin");
    }
}
