//! Which files say a limit, in each version; Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.

use super::{Cgroup, CpuWeight, IoLimit, IoRate, at_most, legacy};

/// What the kernel limits by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Cpuset,
    Pids,
    Hugetlb,
    Io,
    Rdma,
    NetClass,
    NetPriority,
    Devices,
    Freezer,
    /// Counts processor time, of version 1; limits nothing.
    Time,
}

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub file: String,
    /// What the file is called otherwise: by the scheduler BFQ.
    pub or: Option<&'static str>,
    pub content: String,
    /// Whether a kernel may lack the file.
    pub may_lack: bool,
    /// Whether the kernel kills at this limit.
    pub kills: bool,
    /// Whether it takes the kernel so long that it is set while the child sets up.
    pub beside: bool,
}

pub(super) fn setting(file: impl Into<String>, content: impl ToString) -> Setting {
    Setting {
        file: file.into(),
        or: None,
        content: content.to_string(),
        may_lack: false,
        kills: false,
        beside: false,
    }
}

impl Controller {
    /// The name in `cgroup.controllers` of version 2. Devices and the freezer need none there.
    pub(crate) fn unified(self) -> Option<&'static str> {
        match self {
            Self::Io => Some("io"),
            Self::Devices | Self::Freezer | Self::NetClass | Self::NetPriority | Self::Time => None,
            other => Some(other.name()),
        }
    }

    /// Whether version 2 can do this at all.
    pub(crate) fn is_in_unified(self) -> bool {
        !matches!(self, Self::NetClass | Self::NetPriority)
    }

    /// The name in `/proc/self/cgroup`, of version 1.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Pids => "pids",
            Self::Hugetlb => "hugetlb",
            Self::Io => "blkio",
            Self::Rdma => "rdma",
            Self::NetClass => "net_cls",
            Self::NetPriority => "net_prio",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Time => "cpuacct",
        }
    }
}

impl IoRate {
    /// The word in `io.max`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::ReadBytes => "rbps",
            Self::WriteBytes => "wbps",
            Self::ReadOperations => "riops",
            Self::WriteOperations => "wiops",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::ReadBytes => "blkio.throttle.read_bps_device",
            Self::WriteBytes => "blkio.throttle.write_bps_device",
            Self::ReadOperations => "blkio.throttle.read_iops_device",
            Self::WriteOperations => "blkio.throttle.write_iops_device",
        }
    }
}

impl CpuWeight {
    /// As container engines convert it: 2 becomes 1, 262,144 becomes 10,000, linear between.
    fn weight(self) -> u64 {
        match self {
            Self::Weight(weight) => weight,
            Self::Shares(shares) => 1 + shares.saturating_sub(2) * 9_999 / 262_142,
        }
    }

    /// The same backwards, rounded up.
    fn shares(self) -> u64 {
        match self {
            Self::Weight(weight) => 2 + (weight.saturating_sub(1) * 262_142).div_ceil(9_999),
            Self::Shares(shares) => shares,
        }
    }
}

impl Cgroup {
    /// What it takes.
    pub(crate) fn controllers(&self) -> impl Iterator<Item = Controller> {
        let cpu = self.cpu.is_some() || self.cpu_weight.is_some() || self.cpu_idle.is_some();
        let memory = self.memory.is_some() || self.memory_low.is_some() || self.swap.is_some();
        let io = !self.io.is_empty() || self.io_weights().next().is_some();
        [
            (memory, Controller::Memory),
            (cpu, Controller::Cpu),
            (self.cpuset_cpus.is_some() || self.cpuset_mems.is_some(), Controller::Cpuset),
            (self.pids.is_some(), Controller::Pids),
            (!self.hugetlb.is_empty(), Controller::Hugetlb),
            (io, Controller::Io),
            (!self.rdma.is_empty(), Controller::Rdma),
            (self.net_class.is_some(), Controller::NetClass),
            (!self.net_priorities.is_empty(), Controller::NetPriority),
            (self.devices.is_some(), Controller::Devices),
            (self.freezer, Controller::Freezer),
        ]
        .into_iter()
        .filter_map(|(wanted, controller)| (wanted || self.legacy.asks(controller)).then_some(controller))
    }

    /// Without what it asks of this controller.
    pub(crate) fn without(mut self, controller: Controller) -> Self {
        self.legacy.remove(controller);
        match controller {
            Controller::Memory => (self.memory, self.memory_low, self.swap) = (None, None, None),
            Controller::Cpu => {
                (self.cpu, self.cpu_burst, self.cpu_weight, self.cpu_idle) = (None, None, None, None);
            }
            Controller::Cpuset => (self.cpuset_cpus, self.cpuset_mems) = (None, None),
            Controller::Pids => self.pids = None,
            Controller::Hugetlb => self.hugetlb.clear(),
            Controller::Io => {
                self.io.clear();
                self.io_device_weights.clear();
                self.io_weight = None;
            }
            Controller::Rdma => self.rdma.clear(),
            Controller::NetClass => self.net_class = None,
            Controller::NetPriority => self.net_priorities.clear(),
            Controller::Devices => self.devices = None,
            Controller::Freezer => self.freezer = false,
            Controller::Time => {}
        }
        self
    }

    /// The controllers of version 2 that the files of [`unified`](Self::unified) belong to: `cgroup.max.depth` to none.
    pub(crate) fn named_controllers(&self) -> impl Iterator<Item = &str> {
        let names = self.unified.iter().map(|(file, _)| file.split('.').next().unwrap_or(file));
        names.filter(|name| *name != "cgroup")
    }

    /// Whether the kernel may kill at a limit of memory.
    pub(crate) fn limits_memory(&self) -> bool {
        let asked = self.controllers().any(|controller| controller == Controller::Memory);
        self.names_memory() || asked && self.memory != Some(Self::UNLIMITED)
    }

    /// The limit of memory, where it is one.
    fn least_memory(&self) -> Option<u64> {
        self.memory.filter(|bytes| *bytes != Self::UNLIMITED)
    }

    fn names_memory(&self) -> bool {
        self.named_controllers().any(|name| name == "memory")
    }

    /// A limit of memory that set-up can't reach unless it writes files. It may then be set when set-up is done.
    pub(crate) fn far_memory(&self) -> Option<u64> {
        const FAR: u64 = 16 << 20;
        self.least_memory().filter(|bytes| *bytes >= FAR && !self.names_memory())
    }

    /// The files of [`unified`](Self::unified).
    pub(crate) fn named(&self) -> impl Iterator<Item = Setting> {
        self.unified.iter().map(|(file, content)| setting(file.as_str(), content))
    }

    /// The files to write for a controller, in order.
    pub(crate) fn settings(&self, controller: Controller, unified: bool) -> Vec<Setting> {
        let mut files = self.settings_of(controller, unified);
        files.extend(self.legacy.settings(controller));
        files
    }

    fn settings_of(&self, controller: Controller, unified: bool) -> Vec<Setting> {
        match controller {
            Controller::Memory if unified => self.memory_unified(),
            Controller::Memory => self.memory_legacy(),
            Controller::Cpu => self.cpu_settings(unified),
            Controller::Cpuset => {
                let cpus = self.cpuset_cpus.as_ref().map(|list| setting("cpuset.cpus", list));
                let mems = self.cpuset_mems.as_ref().map(|list| setting("cpuset.mems", list));
                cpus.into_iter().chain(mems).collect()
            }
            Controller::Pids => {
                self.pids.iter().map(|most| setting("pids.max", at_most(*most, "max"))).collect()
            }
            Controller::Hugetlb => self.hugetlb_settings(unified),
            Controller::Io => self.io_settings(unified),
            Controller::Rdma => self
                .rdma
                .iter()
                .map(|(device, limits)| setting("rdma.max", format!("{device} {limits}")))
                .collect(),
            Controller::NetClass => {
                self.net_class.iter().map(|class| setting("net_cls.classid", class)).collect()
            }
            Controller::NetPriority => self
                .net_priorities
                .iter()
                .map(|(name, priority)| setting("net_prio.ifpriomap", format!("{name} {priority}")))
                .collect(),
            Controller::Devices if unified => Vec::new(),
            Controller::Devices => self.device_settings(),
            Controller::Freezer | Controller::Time => Vec::new(),
        }
    }

    fn memory_unified(&self) -> Vec<Setting> {
        let setting = |file: &str, bytes: u64| setting(file, at_most(bytes, "max"));
        let mut files = Vec::new();
        files.extend(self.memory.map(|bytes| Setting { kills: true, ..setting("memory.max", bytes) }));
        files.extend(self.memory_low.map(|bytes| setting("memory.low", bytes)));
        // A kernel without accounts of swap need not have the file, unless it was asked for.
        let swap = self.swap.or(self.least_memory().map(|_| 0));
        files.extend(
            swap.map(|swap| Setting { may_lack: self.swap.is_none(), ..setting("memory.swap.max", swap) }),
        );
        files
    }

    fn memory_legacy(&self) -> Vec<Setting> {
        let setting = |file: &str, bytes: u64| setting(file, at_most(bytes, "-1"));
        let mut files = Vec::new();
        files.extend(self.memory_low.map(|bytes| setting("memory.soft_limit_in_bytes", bytes)));
        files.extend(
            self.memory.map(|bytes| Setting { kills: true, ..setting("memory.limit_in_bytes", bytes) }),
        );
        // A limit of swap alone the kernel refuses.
        let sum = |bytes: u64| bytes.saturating_add(self.swap.unwrap_or(0));
        let both = self.least_memory().map(sum).or(self.swap).or(self.memory);
        files.extend(both.map(|both| Setting {
            may_lack: self.swap.is_none(),
            kills: true,
            ..setting("memory.memsw.limit_in_bytes", both)
        }));
        // What TCP has in its buffers is in no other count of version 1. Where no other cgroup has such a limit, the kernel patches itself.
        let tcp = self.least_memory().filter(|_| !self.legacy.sets(legacy::TCP));
        files.extend(tcp.map(|bytes| Setting {
            may_lack: true,
            beside: true,
            ..setting(legacy::TCP, bytes)
        }));
        files
    }

    fn cpu_settings(&self, unified: bool) -> Vec<Setting> {
        let mut files = Vec::new();
        let names =
            if unified { ["cpu.weight", "cpu.max.burst"] } else { ["cpu.shares", "cpu.cfs_burst_us"] };
        files.extend(
            self.cpu_weight
                .map(|weight| setting(names[0], if unified { weight.weight() } else { weight.shares() })),
        );
        match self.cpu {
            Some((quota, period)) if unified => {
                files.push(setting("cpu.max", format!("{} {period}", at_most(quota, "max"))));
            }
            Some((quota, period)) => {
                let quota = at_most(quota, "-1");
                files.extend([setting("cpu.cfs_period_us", period), setting("cpu.cfs_quota_us", quota)]);
            }
            None => {}
        }
        files.extend(self.cpu_burst.map(|burst| setting(names[1], burst)));
        files.extend(
            self.cpu_idle.map(|idle| Setting { may_lack: !idle, ..setting("cpu.idle", u8::from(idle)) }),
        );
        files
    }

    /// Pages in use, and pages that were reserved, where the kernel counts those (Linux 5.7): who has no room for more is told by
    /// mmap(2), and not killed by SIGBUS.
    fn hugetlb_settings(&self, unified: bool) -> Vec<Setting> {
        let file = if unified { "max" } else { "limit_in_bytes" };
        let both = |(size, bytes): &(String, u64)| {
            let reserved = setting(format!("hugetlb.{size}.rsvd.{file}"), bytes);
            [setting(format!("hugetlb.{size}.{file}"), bytes), Setting { may_lack: true, ..reserved }]
        };
        self.hugetlb.iter().flat_map(both).collect()
    }

    fn io_settings(&self, unified: bool) -> Vec<Setting> {
        let limit = |IoLimit { device: (major, minor), rate, most }: &IoLimit| {
            if unified {
                setting("io.max", format!("{major}:{minor} {}={most}", rate.word()))
            } else {
                setting(rate.file(), format!("{major}:{minor} {most}"))
            }
        };
        let weighing = |legacy: [&'static str; 2], content: String| {
            let [file, or] = if unified { ["io.weight", "io.bfq.weight"] } else { legacy };
            Setting { or: Some(or), ..setting(file, content) }
        };
        let weight = self.io_weight.map(|weight| {
            let default = if unified { "default " } else { "" };
            weighing(["blkio.weight", "blkio.bfq.weight"], format!("{default}{weight}"))
        });
        let weights = self.io_device_weights.iter().map(|((major, minor), weight)| {
            let names = ["blkio.weight_device", "blkio.bfq.weight_device"];
            weighing(names, format!("{major}:{minor} {weight}"))
        });
        weight.into_iter().chain(weights).chain(self.io.iter().map(limit)).collect()
    }

    /// All is denied first. Each line is a write of its own.
    fn device_settings(&self) -> Vec<Setting> {
        let rules = self.devices.iter().flatten();
        let line = |rule: &super::DeviceRule| {
            setting(if rule.allow { "devices.allow" } else { "devices.deny" }, rule.to_string())
        };
        std::iter::once(setting("devices.deny", "a")).chain(rules.map(line)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(cgroup: &Cgroup, controller: Controller, unified: bool) -> Vec<String> {
        let settings = cgroup.settings(controller, unified);
        settings.into_iter().map(|setting| format!("{} {}", setting.file, setting.content)).collect()
    }

    #[test]
    fn swap_counts_beside_memory_in_both_versions() {
        let cgroup = Cgroup::new().memory(100).swap(20);
        assert_eq!(lines(&cgroup, Controller::Memory, true), ["memory.max 100", "memory.swap.max 20"]);
        assert_eq!(
            lines(&cgroup, Controller::Memory, false),
            [
                "memory.limit_in_bytes 100",
                "memory.memsw.limit_in_bytes 120",
                "memory.kmem.tcp.limit_in_bytes 100"
            ]
        );
    }

    #[test]
    fn no_limit_is_said_in_the_words_of_each_version() {
        const NONE: u64 = Cgroup::UNLIMITED;
        let cgroup = Cgroup::new().memory(NONE).cpu(NONE, 5_000).pids(NONE);
        assert_eq!(lines(&cgroup, Controller::Memory, true), ["memory.max max"]);
        assert_eq!(lines(&cgroup, Controller::Cpu, true), ["cpu.max max 5000"]);
        assert_eq!(
            lines(&cgroup, Controller::Memory, false),
            ["memory.limit_in_bytes -1", "memory.memsw.limit_in_bytes -1"]
        );
        assert_eq!(lines(&cgroup, Controller::Cpu, false), ["cpu.cfs_period_us 5000", "cpu.cfs_quota_us -1"]);
        assert_eq!(lines(&cgroup, Controller::Pids, true), ["pids.max max"]);
        // Set-up need not fear it.
        assert!(!cgroup.limits_memory() && cgroup.far_memory().is_none());
        let cgroup = Cgroup::new().memory(100).swap(NONE);
        assert_eq!(lines(&cgroup, Controller::Memory, true), ["memory.max 100", "memory.swap.max max"]);
        assert!(
            lines(&cgroup, Controller::Memory, false).contains(&"memory.memsw.limit_in_bytes -1".to_owned())
        );
    }

    #[test]
    fn weights_have_two_names() {
        let cgroup = Cgroup::new().io_weight(5).io_device_weight((8, 0), 7);
        let names = |unified| {
            let settings = cgroup.settings(Controller::Io, unified).into_iter();
            settings.map(|one| (one.file, one.or.unwrap_or_default(), one.content)).collect::<Vec<_>>()
        };
        let line = |file: &str, or, content: &str| (file.to_owned(), or, content.to_owned());
        assert_eq!(
            names(true),
            [line("io.weight", "io.bfq.weight", "default 5"), line("io.weight", "io.bfq.weight", "8:0 7")]
        );
        assert_eq!(
            names(false),
            [
                line("blkio.weight", "blkio.bfq.weight", "5"),
                line("blkio.weight_device", "blkio.bfq.weight_device", "8:0 7"),
            ]
        );
    }

    #[test]
    fn huge_pages_are_limited_when_they_are_reserved() {
        let cgroup = Cgroup::new().hugetlb("2MB", 5);
        assert_eq!(
            lines(&cgroup, Controller::Hugetlb, true),
            ["hugetlb.2MB.max 5", "hugetlb.2MB.rsvd.max 5"]
        );
    }

    #[test]
    fn weights_are_converted_at_both_ends() {
        for (weight, shares) in [(1, 2), (10_000, 262_144)] {
            assert_eq!(CpuWeight::Weight(weight).shares(), shares);
            assert_eq!(CpuWeight::Shares(shares).weight(), weight);
        }
        for weight in 1..=10_000 {
            assert_eq!(CpuWeight::Shares(CpuWeight::Weight(weight).shares()).weight(), weight);
        }
    }

    #[test]
    fn rates_name_their_device() {
        let cgroup = Cgroup::new().io((8, 0), IoRate::WriteBytes, 5).io((8, 0), IoRate::ReadOperations, 7);
        assert_eq!(lines(&cgroup, Controller::Io, true), ["io.max 8:0 wbps=5", "io.max 8:0 riops=7"]);
        assert_eq!(
            lines(&cgroup, Controller::Io, false),
            ["blkio.throttle.write_bps_device 8:0 5", "blkio.throttle.read_iops_device 8:0 7"]
        );
    }
}
