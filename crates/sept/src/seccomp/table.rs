//! The calls of this processor's ABIs, by name and number.

/// One ABI.
#[derive(Clone, Copy, Debug)]
pub struct Abi {
    /// As in audit records and OCI: `x86_64`, `x86`, `aarch64`, `arm`.
    pub name: &'static str,
    /// AUDIT_ARCH_*: what seccomp calls it.
    pub audit: u32,
    all: fn() -> Vec<(&'static str, u32)>,
}

#[cfg(target_arch = "x86_64")]
static ABIS: [Abi; 2] = [
    Abi {
        name: "x86_64",
        audit: 0xc000_003e,
        all: || gathered(syscalls::x86_64::Sysno::iter().map(|call| (call.name(), call.id() as u32))),
    },
    Abi {
        name: "x86",
        audit: 0x4000_0003,
        all: || gathered(syscalls::x86::Sysno::iter().map(|call| (call.name(), call.id() as u32))),
    },
];

#[cfg(target_arch = "aarch64")]
static ABIS: [Abi; 2] = [
    Abi {
        name: "aarch64",
        audit: 0xc000_00b7,
        all: || gathered(syscalls::aarch64::Sysno::iter().map(|call| (call.name(), call.id() as u32))),
    },
    Abi {
        name: "arm",
        audit: 0x4000_0028,
        all: || gathered(syscalls::arm::Sysno::iter().map(|call| (call.name(), call.id() as u32))),
    },
];

/// In one piece: growing a list costs more than all the rest.
fn gathered(calls: impl Iterator<Item = (&'static str, u32)>) -> Vec<(&'static str, u32)> {
    let mut all = Vec::with_capacity(512);
    all.extend(calls);
    all
}

/// The ABIs of this processor, its own first.
pub fn abis() -> &'static [Abi] {
    &ABIS
}

impl Abi {
    /// Every call that is known, with its number, in the order of the numbers.
    pub fn calls(&self) -> Vec<(&'static str, u32)> {
        let mut all = (self.all)();
        if !all.is_sorted_by_key(|(_, number)| *number) {
            all.sort_unstable_by_key(|(_, number)| *number);
        }
        all
    }

    /// The number of a call.
    pub fn number(&self, call: &str) -> Option<u32> {
        (self.all)().into_iter().find(|(name, _)| *name == call).map(|(_, number)| number)
    }

    /// Whether numbers from [`X32`] on are those of another ABI.
    pub(super) fn has_x32(&self) -> bool {
        self.audit == 0xc000_003e
    }
}

/// The first number of the x32 ABI, which shares the audit number of x86_64.
pub(super) const X32: u32 = 0x4000_0000;
