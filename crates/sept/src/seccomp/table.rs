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

/// In one piece: growing a list costs more than all the rest. By number, since the iterator of `syscalls` 0.8 leaves the last
/// call out.
macro_rules! gathered {
    ($table:ty) => {{
        let mut all = Vec::with_capacity(512);
        for number in <$table>::first().id()..=<$table>::last().id() {
            if let Some(call) = <$table>::new(number as usize) {
                // One call has the name of a Rust keyword.
                let name = call.name();
                all.push((name.strip_prefix("r#").unwrap_or(name), number as u32));
            }
        }
        all
    }};
}

#[cfg(target_arch = "x86_64")]
static ABIS: [Abi; 2] = [
    Abi { name: "x86_64", audit: 0xc000_003e, all: || gathered!(syscalls::x86_64::Sysno) },
    Abi { name: "x86", audit: 0x4000_0003, all: || gathered!(syscalls::x86::Sysno) },
];

#[cfg(target_arch = "aarch64")]
static ABIS: [Abi; 2] = [
    Abi { name: "aarch64", audit: 0xc000_00b7, all: || gathered!(syscalls::aarch64::Sysno) },
    Abi {
        name: "arm",
        audit: 0x4000_0028,
        all: || {
            let mut all = gathered!(syscalls::arm::Sysno);
            // Far behind the others, and not in `syscalls`: no program starts without the last.
            all.extend([("breakpoint", 0xf_0001), ("cacheflush", 0xf_0002), ("set_tls", 0xf_0005)]);
            all
        },
    },
];

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
