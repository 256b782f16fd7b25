//! Limits on a command and all its descendants together; cgroups(7). Pure data: nothing here touches a cgroup.

mod devices;
mod legacy;
mod settings;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use devices::{DeviceAccess, DeviceKind, DeviceRule};
use legacy::Legacy;
pub(crate) use legacy::is_of_version_1;
pub(crate) use settings::{Controller, Setting};

/// A new cgroup for the command, with limits that hold for it and all its descendants together.
///
/// It is made below the caller's own cgroup, entered before anything else is done, and removed when the command has
/// been waited for; what still runs in it then is killed. Works with cgroups of version 2, version 1, and both at once.
/// What a version or a kernel has no file for is an error that names the file.
///
/// It can say all that `resources` of the OCI runtime specification 1.3 says but for `intelRdt`, which is no cgroup. There
/// -1 is [`UNLIMITED`](Self::UNLIMITED), and `swap` the sum with memory. `checkBeforeUpdate` is always so: a limit below what
/// is in use is refused. `disableOOMKiller: false` is what there is without [`no_oom_killer`](Self::no_oom_killer).
///
/// ```no_run
/// use sept::{Cgroup, Command};
///
/// let limits = Cgroup::new().memory(256 << 20).pids(64).cpu(150_000, 100_000);
/// let mut child = Command::new("make").cgroup(limits).spawn()?;
/// child.wait()?;
/// println!("at most {:?} bytes", child.account().and_then(|account| account.peak_memory));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    pub(crate) parent: Option<PathBuf>,
    memory: Option<u64>,
    memory_low: Option<u64>,
    swap: Option<u64>,
    cpu: Option<(u64, u64)>,
    cpu_burst: Option<u64>,
    cpu_weight: Option<CpuWeight>,
    cpu_idle: Option<bool>,
    pub(crate) cpuset_cpus: Option<String>,
    pub(crate) cpuset_mems: Option<String>,
    pub(crate) pids: Option<u64>,
    pub(crate) hugetlb: Vec<(String, u64)>,
    io: Vec<IoLimit>,
    pub(crate) io_weight: Option<u16>,
    io_device_weights: Vec<((u32, u32), u16)>,
    rdma: Vec<(String, String)>,
    net_class: Option<u32>,
    net_priorities: Vec<(String, u32)>,
    devices: Option<Vec<DeviceRule>>,
    freezer: bool,
    unified: Vec<(String, String)>,
    legacy: Legacy,
    pub(crate) uncounted: bool,
    pub(crate) held: bool,
}

/// A share of the processor time, in the words of either version; each is converted for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuWeight {
    /// Version 2: `cpu.weight`, 1 to 10,000; 100 is what others have.
    Weight(u64),
    /// Version 1: `cpu.shares`, 2 to 262,144; 1,024 is what others have.
    Shares(u64),
}

/// What is limited of a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoRate {
    /// Bytes read in a second.
    ReadBytes,
    /// Bytes written in a second.
    WriteBytes,
    /// Reads in a second.
    ReadOperations,
    /// Writes in a second.
    WriteOperations,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct IoLimit {
    device: (u32, u32),
    rate: IoRate,
    most: u64,
}

impl Cgroup {
    /// For a limit of memory, swap, processes or processor quota: none, and none that would come with another.
    pub const UNLIMITED: u64 = u64::MAX;

    /// Without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Below this cgroup instead of the caller's own: a path as in `/proc/PID/cgroup`. It must be there.
    #[must_use]
    pub fn parent(mut self, path: impl AsRef<Path>) -> Self {
        self.parent = Some(path.as_ref().to_path_buf());
        self
    }

    /// No [`Child::account`](crate::Child::account) at the end: a start is faster by some 50 µs, or 150 where version 1 counts time.
    #[must_use]
    pub fn uncounted(mut self) -> Self {
        self.uncounted = true;
        self
    }

    /// What is in it is to live no longer than the [`Child`](crate::Child) is held: where that is gone, and nobody has waited for the
    /// command, because the caller was killed, who makes the next cgroup beside it kills what is left there, and removes it. Without this
    /// it is removed then if it is empty.
    #[must_use]
    pub fn held(mut self) -> Self {
        self.held = true;
        self
    }

    /// At most so many bytes of memory, page cache and tmpfs included. Nothing is swapped out, where the kernel
    /// accounts for swap, unless [`swap`](Self::swap) allows it. At the limit the kernel kills a process of the cgroup. Version 1 does
    /// not count TCP's buffers among it: they have the same limit once more.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// So many bytes of memory are left to it while others have more than their share: `memory.low`, or
    /// `memory.soft_limit_in_bytes` of version 1.
    #[must_use]
    pub fn memory_low(mut self, bytes: u64) -> Self {
        self.memory_low = Some(bytes);
        self
    }

    /// At most so many bytes swapped out, beside [`memory`](Self::memory): `memory.swap.max`; with version 1 the sum of
    /// both is `memory.memsw.limit_in_bytes`, and needs the memory limit. The kernel must account for swap.
    #[must_use]
    pub fn swap(mut self, bytes: u64) -> Self {
        self.swap = Some(bytes);
        self
    }

    /// At most `quota` microseconds of processor time in each `period` of microseconds: twice the period is two processors.
    /// The kernel takes quotas from 1,000 and periods from 1,000 to 1,000,000.
    #[must_use]
    pub fn cpu(mut self, quota: u64, period: u64) -> Self {
        self.cpu = Some((quota, period));
        self
    }

    /// Of the quota that it left unused it may catch up with so many microseconds at once. Since Linux 5.14.
    #[must_use]
    pub fn cpu_burst(mut self, burst: u64) -> Self {
        self.cpu_burst = Some(burst);
        self
    }

    /// Its share of the processors while others want them, too.
    #[must_use]
    pub fn cpu_weight(mut self, weight: CpuWeight) -> Self {
        self.cpu_weight = Some(weight);
        self
    }

    /// It runs only when nothing else would: `cpu.idle`, since Linux 5.15.
    #[must_use]
    pub fn cpu_idle(mut self) -> Self {
        self.cpu_idle = Some(true);
        self
    }

    /// It runs as others do: as without [`cpu_idle`](Self::cpu_idle), on any kernel.
    #[must_use]
    pub fn cpu_not_idle(mut self) -> Self {
        self.cpu_idle = Some(false);
        self
    }

    /// Only on these processors, as `0-3,6`; cpuset(7).
    #[must_use]
    pub fn cpuset_cpus(mut self, list: impl Into<String>) -> Self {
        self.cpuset_cpus = Some(list.into());
        self
    }

    /// Memory only of these nodes, as `0,1`; cpuset(7).
    #[must_use]
    pub fn cpuset_mems(mut self, list: impl Into<String>) -> Self {
        self.cpuset_mems = Some(list.into());
        self
    }

    /// At most so many processes and threads; more answer EAGAIN.
    #[must_use]
    pub fn pids(mut self, most: u64) -> Self {
        self.pids = Some(most);
        self
    }

    /// At most so many bytes of huge pages of this size, in the kernel's words: `2MB`, `1GB`.
    #[must_use]
    pub fn hugetlb(mut self, size: impl Into<String>, bytes: u64) -> Self {
        self.hugetlb.push((size.into(), bytes));
        self
    }

    /// At most so much in a second from or to the block device of this major and minor number.
    #[must_use]
    pub fn io(mut self, device: (u32, u32), rate: IoRate, most: u64) -> Self {
        self.io.push(IoLimit { device, rate, most });
        self
    }

    /// Its share of the block devices while others want them, too: 1 to 10,000; 100 is what others have. With version 1
    /// from 10 to 1,000. Needs a scheduler of block devices that knows weights.
    #[must_use]
    pub fn io_weight(mut self, weight: u16) -> Self {
        self.io_weight = Some(weight);
        self
    }

    /// The same of the block device of this major and minor number alone.
    #[must_use]
    pub fn io_device_weight(mut self, device: (u32, u32), weight: u16) -> Self {
        self.io_device_weights.push((device, weight));
        self
    }

    /// The limits of an RDMA device, as `rdma.max` takes them: `hca_handle=2 hca_object=2000`.
    #[must_use]
    pub fn rdma(mut self, device: impl Into<String>, limits: impl Into<String>) -> Self {
        self.rdma.push((device.into(), limits.into()));
        self
    }

    /// The class of what it sends: `net_cls.classid`. Version 1 only.
    #[must_use]
    pub fn net_class(mut self, class: u32) -> Self {
        self.net_class = Some(class);
        self
    }

    /// The priority of what it sends by an interface: `net_prio.ifpriomap`. Version 1 only.
    #[must_use]
    pub fn net_priority(mut self, interface: impl Into<String>, priority: u32) -> Self {
        self.net_priorities.push((interface.into(), priority));
        self
    }

    /// Which device files may be made, read and written; the last rule that fits decides, and nothing is allowed that none
    /// fits. By `devices.allow` and `devices.deny` of version 1; by an eBPF program with version 2, which takes CAP_BPF and
    /// CAP_NET_ADMIN, or CAP_SYS_ADMIN (Linux 4.15).
    #[must_use]
    pub fn devices(mut self, rules: impl IntoIterator<Item = DeviceRule>) -> Self {
        self.devices = Some(rules.into_iter().collect());
        self
    }

    /// So that [`Child::freeze`](crate::Child::freeze) works. Version 2 needs nothing for it, version 1 a cgroup of the
    /// freezer.
    #[must_use]
    pub fn freezer(mut self) -> Self {
        self.freezer = true;
        self
    }

    /// Writes `value` to this file of its directory of version 2, after all else. Of those that begin with `cgroup.` only
    /// `cgroup.max.depth` and `cgroup.max.descendants`.
    #[must_use]
    pub fn unified(mut self, file: impl Into<String>, value: impl Into<String>) -> Self {
        self.unified.push((file.into(), value.into()));
        self
    }

    /// Refuses what no kernel takes.
    pub(crate) fn check(&self) -> Result<(), String> {
        let limit = |value: Option<u64>| value.filter(|value| *value != Self::UNLIMITED);
        let ranges = [
            ("the memory limit", limit(self.memory), 1, i64::MAX as u64),
            ("the number of processes", limit(self.pids), 1, 1 << 22),
            ("the processor quota", limit(self.cpu.map(|cpu| cpu.0)), 1_000, u64::from(u32::MAX)),
            ("the processor period", self.cpu.map(|cpu| cpu.1), 1_000, 1_000_000),
            ("the weight of block devices", self.io_weights().min().map(u64::from), 1, 10_000),
            ("the weight of block devices", self.io_weights().max().map(u64::from), 1, 10_000),
            self.weight_range(),
        ];
        for (what, value, least, most) in ranges {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                return Err(format!("{what} is {value}; the kernel takes {least} to {most}"));
            }
        }
        let lists = [&self.cpuset_cpus, &self.cpuset_mems].into_iter().flatten();
        if let Some(list) = lists.into_iter().find(|list| number_ranges(list).is_none()) {
            return Err(format!("{list:?} is no list of numbers such as 0-3,6"));
        }
        if self.cpu_burst.is_some() && self.cpu.is_none() {
            return Err("a burst of processor time needs a quota".to_owned());
        }
        self.check_names()
    }

    /// That of all block devices, and those of single ones.
    pub(crate) fn io_weights(&self) -> impl Iterator<Item = u16> {
        self.io_weight.into_iter().chain(self.io_device_weights.iter().map(|(_, weight)| *weight))
    }

    fn weight_range(&self) -> (&'static str, Option<u64>, u64, u64) {
        match self.cpu_weight {
            Some(CpuWeight::Shares(shares)) => ("the number of processor shares", Some(shares), 2, 262_144),
            Some(CpuWeight::Weight(weight)) => ("the processor weight", Some(weight), 1, 10_000),
            None => ("", None, 0, 0),
        }
    }

    /// What becomes part of a path must be a name.
    fn check_names(&self) -> Result<(), String> {
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with('.')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let files = self.unified.iter().map(|(file, _)| file);
        if let Some(name) = self.hugetlb.iter().map(|(size, _)| size).chain(files).find(|name| !is_name(name))
        {
            return Err(format!("{name:?} is no name of a file of a cgroup"));
        }
        if let Some((file, value)) = self.unified.iter().find(|(_, value)| value.contains('\0')) {
            return Err(format!("the value for {file} holds a NUL byte: {value:?}"));
        }
        // By these processes move or end, and controllers are passed on; a value of the caller's has no place there.
        // How many cgroups there may be below bounds the command alone.
        let moves = |file: &str| file.starts_with("cgroup.") && !file.starts_with("cgroup.max.");
        match self.unified.iter().find(|(file, _)| moves(file)) {
            Some((file, _)) => Err(format!("{file} is no limit")),
            None => Ok(()),
        }
    }
}

/// A limit as its file takes it, where `none` is the word for no limit.
fn at_most(value: u64, none: &str) -> String {
    if value == Cgroup::UNLIMITED { none.to_owned() } else { value.to_string() }
}

/// Numbers and ranges with commas between: the first and the last of each. None where it is something else.
pub(crate) fn number_ranges(text: &str) -> Option<Vec<(u32, u32)>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?)).filter(|(first, last)| first <= last)
    };
    text.split(',').map(range).collect()
}

impl fmt::Display for Cgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        let mut number = |name: &str, value: Option<u64>| {
            words.extend(value.map(|value| format!("{name} {}", at_most(value, "max"))))
        };
        number("memory", self.memory);
        number("memory kept", self.memory_low);
        number("swap", self.swap);
        number("pids", self.pids);
        number("io weight", self.io_weight.map(u64::from));
        number("net class", self.net_class.map(u64::from));
        words.extend(
            self.cpu.map(|(quota, period)| format!("cpu {} us in {period} us", at_most(quota, "max"))),
        );
        words.extend(self.cpu_burst.map(|burst| format!("cpu burst {burst} us")));
        words.extend(self.cpu_weight.map(|weight| match weight {
            CpuWeight::Weight(weight) => format!("cpu weight {weight}"),
            CpuWeight::Shares(shares) => format!("cpu shares {shares}"),
        }));
        words.extend(self.cpu_idle.map(|idle| if idle { "cpu idle" } else { "cpu not idle" }.to_owned()));
        words.extend(self.cpuset_cpus.as_ref().map(|list| format!("cpus {list}")));
        words.extend(self.cpuset_mems.as_ref().map(|list| format!("mems {list}")));
        words.extend(self.hugetlb.iter().map(|(size, bytes)| format!("huge pages of {size} {bytes}")));
        words.extend(self.io.iter().map(IoLimit::to_string));
        let weights = self.io_device_weights.iter();
        words.extend(weights.map(|((major, minor), weight)| format!("io weight {major}:{minor} {weight}")));
        words.extend(self.rdma.iter().map(|(device, limits)| format!("rdma {device} {limits}")));
        words.extend(
            self.net_priorities.iter().map(|(name, priority)| format!("net priority {name} {priority}")),
        );
        words.extend(self.devices.as_ref().map(|rules| format!("devices by {} rules", rules.len())));
        words.extend(self.freezer.then(|| "freezer".to_owned()));
        words.extend(Some(self.legacy.to_string()).filter(|legacy| !legacy.is_empty()));
        words.extend(self.unified.iter().map(|(file, value)| format!("{file} {}", value.escape_default())));
        f.write_str(&words.join(", "))
    }
}

impl fmt::Display for IoLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io {}:{} {} {}", self.device.0, self.device.1, self.rate.word(), self.most)
    }
}

/// What a cgroup had counted at its end: [`Child::account`](crate::Child::account).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// The most memory that it held at once, in bytes. Version 2 tells it since Linux 5.19, and only with a memory limit.
    pub peak_memory: Option<u64>,
    /// How many of its processes the kernel killed for lack of memory. Only with a memory limit.
    pub oom_kills: Option<u64>,
    /// Processor time in user mode of all its processes, waited for or not. Version 2 tells it, or a hierarchy of version 1 with
    /// `cpuacct`, where a cgroup can be made for that at the same place, too.
    pub user: Option<Duration>,
    /// The same in the kernel.
    pub system: Option<Duration>,
}
