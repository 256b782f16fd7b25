//! Limits by cgroups: what the options say, for the library's `Cgroup`.

use std::ffi::OsString;
use std::fs;
use std::num::{IntErrorKind, ParseIntError};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use sept::{Cgroup, Command, CpuWeight, DeviceRule, IoRate};

use crate::confine::bytes;
use crate::failure::Failure;
use crate::options::Id;
use crate::scope;
use crate::words::Values;

/// `--cgroup-manager`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manager {
    /// systemd where it runs and all cgroups are of version 2, else the file system.
    #[default]
    Auto,
    Systemd,
    Fs,
    None,
}

/// What the options have said so far.
#[derive(Debug, Default)]
pub struct Limits {
    cgroup: Cgroup,
    /// The first option that needs a cgroup.
    wanted: Option<&'static str>,
    memory: Option<u64>,
    memory_swap: Option<u64>,
    devices: Vec<DeviceRule>,
    parent: Option<PathBuf>,
    manager: Manager,
}

/// What container engines allow always: making any node, which grants nothing; null, zero, full, random, urandom, tty,
/// ptmx and pts.
const DEVICES: [&str; 10] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

impl Limits {
    /// One option.
    pub fn apply(&mut self, id: Id, option: &'static str, values: &mut Values<'_>) -> Result<(), Failure> {
        let cgroup = std::mem::take(&mut self.cgroup);
        self.cgroup = match id {
            Id::CgroupParent => {
                self.parent = Some(values.os()?.into());
                self.cgroup = cgroup;
                return Ok(());
            }
            Id::CgroupManager => {
                self.manager = values.choice(&[
                    ("auto", Manager::Auto),
                    ("systemd", Manager::Systemd),
                    ("fs", Manager::Fs),
                    ("none", Manager::None),
                ])?;
                self.cgroup = cgroup;
                return Ok(());
            }
            Id::Memory => {
                let bytes = values.parsed(size)?;
                self.memory = Some(bytes);
                cgroup.memory(bytes)
            }
            Id::MemorySwap => {
                self.memory_swap = Some(values.parsed(size)?);
                cgroup
            }
            Id::MemoryReservation => cgroup.memory_low(values.parsed(size)?),
            Id::Cpus => cgroup.cpu(values.parsed(cpus)?, 100_000),
            Id::CpuShares => cgroup.cpu_weight(CpuWeight::Shares(values.parsed(number)?)),
            Id::CpusetCpus => cgroup.cpuset_cpus(values.parsed(list)?),
            Id::CpusetMems => cgroup.cpuset_mems(values.parsed(list)?),
            Id::Pids => cgroup.pids(values.parsed(number)?),
            Id::BlkioWeight => cgroup.io_weight(values.parsed(weight)?),
            Id::DeviceReadBps => rate(cgroup, IoRate::ReadBytes, values)?,
            Id::DeviceWriteBps => rate(cgroup, IoRate::WriteBytes, values)?,
            Id::DeviceReadIops => rate(cgroup, IoRate::ReadOperations, values)?,
            Id::DeviceWriteIops => rate(cgroup, IoRate::WriteOperations, values)?,
            Id::Hugetlb => {
                let (page, bytes) = values.parsed(|text| {
                    let (page, bytes) = text.split_once('=').ok_or("write SIZE=BYTES: 2MB=64M")?;
                    Ok((page_size(page), size(bytes)?))
                })?;
                cgroup.hugetlb(page, bytes)
            }
            Id::CgroupConf => {
                let (file, value) = values.parsed(|text| {
                    let pair = text.split_once('=').ok_or("write FILE=VALUE: memory.high=100M")?;
                    Ok((pair.0.to_owned(), pair.1.to_owned()))
                })?;
                cgroup.unified(file, value)
            }
            Id::DeviceCgroupRule => {
                self.devices.push(values.parsed(|text| DeviceRule::parse(text, true))?);
                cgroup
            }
            // Not one of these; the parser sends no other.
            _ => cgroup,
        };
        self.wanted.get_or_insert(option);
        Ok(())
    }

    /// Whether there are any.
    pub fn is_asked(&self) -> bool {
        self.wanted.is_some()
    }

    /// All of it, for the library; nothing where nothing is limited.
    /// `counted`: whether somebody reads what it counts.
    pub fn cgroup(&self, counted: bool) -> Result<Option<Cgroup>, Failure> {
        let Some(option) = self.wanted else {
            return match &self.parent {
                None => Ok(None),
                Some(_) => Err(Failure::usage("--cgroup-parent is for limits, and there are none")
                    .fix("give --memory, --cpus or --pids, too")),
            };
        };
        if self.manager == Manager::None {
            return Err(Failure::usage(format!(
                "--{option} needs a cgroup, and --cgroup-manager none says not"
            ))
            .fix(format!("leave out --{option} or --cgroup-manager none")));
        }
        if self.manager == Manager::Systemd && self.parent.is_some() {
            return Err(Failure::usage("--cgroup-parent and --cgroup-manager systemd contradict each other")
                .why("systemd has a place of its own for what it makes"));
        }
        let mut cgroup = self.cgroup.clone();
        if let Some(both) = self.memory_swap {
            cgroup = cgroup.swap(self.swap(both)?);
        }
        if !self.devices.is_empty() {
            let standard = DEVICES.iter().filter_map(|rule| DeviceRule::parse(rule, true).ok());
            cgroup = cgroup.devices(standard.chain(self.devices.iter().copied()));
        }
        if self.parent.as_ref().is_some_and(|parent| parent.as_os_str().is_empty()) {
            return Err(Failure::usage("--cgroup-parent wants the path of a cgroup, and none stands there"));
        }
        if let Some(parent) = &self.parent {
            cgroup = cgroup.parent(parent);
        }
        let cgroup = cgroup.held();
        Ok(Some(if counted { cgroup } else { cgroup.uncounted() }))
    }

    /// The option has the sum of both, as in container engines.
    fn swap(&self, both: u64) -> Result<u64, Failure> {
        let memory = self.memory.ok_or_else(|| {
            Failure::usage("--memory-swap is the sum of memory and swap, and there is no --memory")
                .fix("give --memory, too")
        })?;
        both.checked_sub(memory).ok_or_else(|| {
            Failure::usage("--memory-swap is the sum of memory and swap, and less than --memory")
                .fix("the same as --memory allows no swap; more allows the difference")
        })
    }

    /// Right before the start: where systemd has the cgroups, this process goes to a scope of its own, and the command's
    /// cgroup is made below that.
    pub fn place(&self, counted: bool, command: &mut Command) -> Result<(), Failure> {
        let by_systemd = match self.manager {
            Manager::Systemd => true,
            Manager::Auto => self.parent.is_none() && sept::host::systemd_has_cgroups(),
            Manager::Fs | Manager::None => false,
        };
        if let Some(cgroup) = self.cgroup(counted)?.filter(|_| by_systemd) {
            command.cgroup(cgroup.parent(scope::enter()?));
        }
        Ok(())
    }
}

/// Of processors or nodes. The library refuses the same; here the option is named.
fn list(text: &str) -> Result<String, String> {
    let is_list = text.split(',').all(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        matches!((first.parse::<u32>(), last.parse::<u32>()), (Ok(first), Ok(last)) if first <= last)
    });
    if is_list { Ok(text.to_owned()) } else { Err("is no list of numbers such as 0-3,6".to_owned()) }
}

/// As the kernel names it, 2MB, where it is written as any other size, too: 2M.
fn page_size(text: &str) -> String {
    let name = text.to_ascii_uppercase();
    if name.ends_with(['K', 'M', 'G']) { name + "B" } else { name }
}

/// Bytes; 0 would be none at all.
fn size(text: &str) -> Result<u64, String> {
    let wanted =
        || "a size above 0 is wanted, for instance 256M; leave the option out for no limit".to_owned();
    bytes(text).and_then(|bytes| Some(bytes).filter(|bytes| *bytes > 0).ok_or_else(wanted))
}

/// Processors, as microseconds of each 100 ms. The kernel takes 1 ms at least.
fn cpus(text: &str) -> Result<u64, String> {
    let number: f64 = text.parse().map_err(|_| "a number is wanted, for instance 1.5".to_owned())?;
    if (0.01..=10_000.0).contains(&number) {
        Ok((number * 100_000.0).round() as u64)
    } else {
        Err("a number from 0.01 to 10000 is wanted".to_owned())
    }
}

fn number(text: &str) -> Result<u64, String> {
    let wrong = |error: &IntErrorKind| match error {
        IntErrorKind::PosOverflow => format!("a number up to {} is wanted", u64::MAX),
        _ => "a number above 0 is wanted".to_owned(),
    };
    match text.parse() {
        Ok(0) => Err(wrong(&IntErrorKind::Zero)),
        parsed => parsed.map_err(|error: ParseIntError| wrong(error.kind())),
    }
}

/// The widest range: version 1 takes less.
fn weight(text: &str) -> Result<u16, String> {
    let wrong = || "a number from 1 to 10000 is wanted, with cgroups of version 1 from 10 to 1000".to_owned();
    text.parse().ok().filter(|weight| (1..=10_000).contains(weight)).ok_or_else(wrong)
}

/// `PATH:RATE` with the path of a block device.
fn rate(cgroup: Cgroup, rate: IoRate, values: &mut Values<'_>) -> Result<Cgroup, Failure> {
    let value: OsString = values.os()?;
    let wrong = |why: &str| values.wrong(&value, why);
    let bytes = value.as_bytes();
    let at =
        bytes.iter().rposition(|byte| *byte == b':').ok_or_else(|| wrong("write PATH:RATE: /dev/sda:1M"))?;
    let (path, most) = (std::ffi::OsStr::from_bytes(&bytes[..at]), &bytes[at + 1..]);
    let most = std::str::from_utf8(most).map_err(|_| wrong("the rate is not UTF-8"))?;
    let most = size(most).map_err(|why| wrong(&why))?;
    let file = fs::metadata(path)
        .map_err(|error| wrong(&sept::describe(error.raw_os_error().unwrap_or(libc::EIO))))?;
    if !file.file_type().is_block_device() {
        return Err(wrong("is no block device; lsblk(8) lists them"));
    }
    let device = file.rdev();
    Ok(cgroup.io((rustix::fs::major(device), rustix::fs::minor(device)), rate, most))
}
