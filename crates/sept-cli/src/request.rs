//! What the command line asks for: parsed from the table, not yet acted upon.

use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Parser;
use sept::{
    IdRange, Layer, Mount, MountOptions, Namespace, Namespaces, PathAccess, PortAccess, Propagation, Rlimit,
    Setgroups,
};

use crate::confine::{self, CapChange, LandlockOptions};
use crate::degrade;
use crate::failure::Failure;
use crate::files;
use crate::limits::Limits;
use crate::options::{self, Id, Opt, Page};
use crate::users;
use crate::words::{Values, Word, next, usage};

/// How `--plan` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanFormat {
    Text,
    Json,
}

/// Which descriptors are kept.
#[derive(Clone, Debug)]
pub enum Keep {
    Only(Vec<i32>),
    All,
}

impl Default for Keep {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

/// `--network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    None,
    Host,
}

/// One change of the environment, in the order given.
#[derive(Clone, Debug)]
pub enum EnvChange {
    Set(OsString, OsString),
    Pass(OsString),
    Unset(OsString),
}

/// `--root` and `--wd` of `sept enter`: the target's own, or a directory.
#[derive(Clone, Debug)]
pub enum OfTarget {
    Own,
    Dir(PathBuf),
}

/// What only `sept enter` has.
#[derive(Debug, Default)]
pub struct Enter {
    pub target: Option<u32>,
    pub all: bool,
    pub root: Option<OfTarget>,
    pub wd: Option<OfTarget>,
    pub wdns: Option<PathBuf>,
    pub preserve_credentials: bool,
    pub no_fork: bool,
    pub env: bool,
    pub cgroup: bool,
    pub user_parent: bool,
    pub net_socket: Option<i32>,
    pub follow_context: bool,
}

/// The options of one `sept run`, `unshare` or `enter`.
#[derive(Debug, Default)]
pub struct Request {
    pub given: Namespaces,
    pub implied: Vec<(Namespace, &'static str)>,
    pub share: Option<Namespaces>,
    pub none: bool,
    pub network: Option<Network>,
    pub map_root: bool,
    pub map_current: bool,
    pub map_user: Option<u32>,
    pub map_group: Option<u32>,
    pub map_users: Vec<IdRange>,
    pub map_groups: Vec<IdRange>,
    pub map_auto: bool,
    pub map_all: bool,
    pub map_all_groups: bool,
    pub map_auto_groups: bool,
    pub setgroups: Option<Setgroups>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub groups: Option<Vec<u32>>,
    pub hostname: Option<OsString>,
    pub domainname: Option<OsString>,
    pub monotonic: Option<i64>,
    pub boottime: Option<i64>,
    pub root: Option<PathBuf>,
    pub read_only: bool,
    pub mounts: Vec<Mount>,
    /// For the next overlay, and the next file or directory.
    pub overlay: Vec<PathBuf>,
    pub perms: Option<u32>,
    pub size: Option<u64>,
    /// The descriptors that become files.
    pub contents: Vec<RawFd>,
    pub options: Option<MountOptions>,
    pub own_proc: bool,
    pub no_proc: bool,
    pub no_dev: bool,
    /// Whether something is mounted on `/dev` by request.
    pub own_dev: bool,
    pub no_sys: bool,
    pub create_on_host: bool,
    pub propagation: Option<Propagation>,
    pub wd: Option<PathBuf>,
    pub env: Vec<EnvChange>,
    pub clear_env: bool,
    pub tty: bool,
    pub new_session: bool,
    pub init: bool,
    pub keep: Keep,
    pub argv0: Option<OsString>,
    pub timeout: Option<Duration>,
    pub die_with_parent: bool,
    pub no_loopback: bool,
    pub no_new_privs: Option<bool>,
    pub seccomp: Vec<OsString>,
    pub seccomp_listener: Option<PathBuf>,
    pub capabilities: Vec<CapChange>,
    pub securebits: Option<u32>,
    pub apparmor_profile: Option<OsString>,
    pub selinux_label: Option<OsString>,
    pub landlock: LandlockOptions,
    pub new_keyring: bool,
    pub core_scheduling: bool,
    pub rlimits: Vec<Rlimit>,
    pub limits: Limits,
    pub plan: Option<PlanFormat>,
    pub report: Option<PathBuf>,
    pub report_fd: Option<i32>,
    pub if_possible: Vec<Layer>,
    pub command: Vec<OsString>,
    /// Kinds that were given with a file.
    pub files: Vec<(Namespace, PathBuf)>,
    pub join: Vec<(Namespace, OsString)>,
    pub pin: Option<OsString>,
    pub fork: bool,
    pub kill_child: Option<i32>,
    pub mount_proc: Option<PathBuf>,
    pub mount_binfmt: Option<PathBuf>,
    pub interpreter: Option<String>,
    pub keep_caps: bool,
    pub enter: Enter,
}

impl Request {
    /// Whether somebody reads what the kernel has counted.
    pub fn is_reported(&self) -> bool {
        self.report.is_some() || self.report_fd.is_some()
    }
}

/// What a line of options comes to.
pub enum Parsed {
    Run(Box<Request>),
    Help,
    Version,
}

/// Parses what stands after the name of the command.
pub fn parse(parser: &mut Parser, page: &'static Page) -> Result<Parsed, Failure> {
    let mut request = Request::default();
    while let Some(word) = next(parser, page)? {
        let (opt, short) = match word {
            Word::Option { opt, short } => (opt, short),
            Word::Plain(first) => {
                // From here on nothing is ours.
                request.command.push(first);
                request.command.extend(parser.raw_args().map_err(usage)?);
                break;
            }
        };
        match opt.id {
            Id::Help => return Ok(Parsed::Help),
            Id::Version => return Ok(Parsed::Version),
            _ => apply(page, opt, short, parser, &mut request)?,
        }
    }
    for (left, option, what) in [
        (!request.overlay.is_empty(), "overlay-src", "--overlay, --tmp-overlay or --ro-overlay"),
        (request.perms.is_some(), "perms", "--dir, --file, --bind-data or --tmpfs"),
        (request.options.is_some(), "options", "a mount"),
        (request.size.is_some(), "size", "--tmpfs"),
    ] {
        if left {
            return Err(Failure::usage(format!("--{option} stands before {what}, and none follows")));
        }
    }
    Ok(Parsed::Run(Box::new(request)))
}

fn apply(
    page: &Page,
    opt: &'static Opt,
    short: bool,
    parser: &mut Parser,
    request: &mut Request,
) -> Result<(), Failure> {
    let mut values = Values { opt, short, parser };
    match opt.id {
        Id::Mount => kind(&mut values, Namespace::Mount, request),
        Id::Uts => kind(&mut values, Namespace::Uts, request),
        Id::Ipc => kind(&mut values, Namespace::Ipc, request),
        Id::Net => kind(&mut values, Namespace::Net, request),
        Id::Pid => kind(&mut values, Namespace::Pid, request),
        Id::User => kind(&mut values, Namespace::User, request),
        Id::Cgroup => kind(&mut values, Namespace::Cgroup, request),
        Id::Time => kind(&mut values, Namespace::Time, request),
        Id::Join => request.join.push(join(&mut values)?),
        Id::Pin => request.pin = Some(values.os()?),
        Id::Fork => request.fork = true,
        Id::KillChild => {
            request.fork = true;
            request.kill_child = Some(match values.optional() {
                None => libc::SIGKILL,
                Some(name) => name
                    .to_str()
                    .and_then(users::signal)
                    .ok_or_else(|| values.wrong(&name, "is no signal"))?,
            });
        }
        Id::MountProc => request.mount_proc = Some(values.optional().unwrap_or("/proc".into()).into()),
        Id::MountBinfmt => {
            let dir = values.optional().unwrap_or(BINFMT_MISC.into());
            request.mount_binfmt = Some(dir.into());
        }
        Id::LoadInterp => {
            request.interpreter = Some(values.parsed(|text| Ok(text.to_owned()))?);
            request.mount_binfmt.get_or_insert_with(|| BINFMT_MISC.into());
        }
        Id::KeepCaps => request.keep_caps = true,
        Id::Target => request.enter.target = Some(values.id()?),
        Id::All => request.enter.all = true,
        Id::EnterRoot => request.enter.root = Some(of_target(values.optional())),
        Id::EnterWd => request.enter.wd = Some(of_target(values.optional())),
        Id::Wdns => request.enter.wdns = Some(values.os()?.into()),
        Id::PreserveCredentials => request.enter.preserve_credentials = true,
        Id::NoFork => request.enter.no_fork = true,
        Id::TargetEnv => request.enter.env = true,
        Id::JoinCgroup => request.enter.cgroup = true,
        Id::UserParent => request.enter.user_parent = true,
        Id::NetSocket => {
            let fd = values.parsed(|text| {
                let fd = sept::parse_id(text).and_then(|fd| i32::try_from(fd).ok());
                fd.ok_or_else(|| "the number of a descriptor of TARGET is wanted".to_owned())
            })?;
            request.enter.net_socket = Some(fd);
        }
        Id::FollowContext => request.enter.follow_context = true,
        Id::Share => {
            let kinds = values
                .parsed(|text| text.split(',').map(str::parse).collect::<Result<Vec<Namespace>, _>>())?;
            kinds.into_iter().for_each(|kind| request.share.get_or_insert_default().insert(kind));
        }
        Id::Namespaces => request.none = values.choice(&[("none", true)])?,
        Id::MapRoot => request.map_root = true,
        Id::MapCurrent => request.map_current = true,
        Id::MapUser => request.map_user = Some(values.parsed(|text| users::id(text, users::PASSWD))?),
        Id::MapGroup => request.map_group = Some(values.parsed(|text| users::id(text, users::GROUP))?),
        Id::MapUsers => match values.parsed(ranges)? {
            Ranges::Auto => request.map_auto = true,
            Ranges::All => request.map_all = true,
            Ranges::One(range) => request.map_users.push(range),
        },
        Id::MapGroups => match values.parsed(ranges)? {
            Ranges::Auto => request.map_auto_groups = true,
            Ranges::All => request.map_all_groups = true,
            Ranges::One(range) => request.map_groups.push(range),
        },
        Id::MapAuto => request.map_auto = true,
        Id::MapAll => request.map_all = true,
        Id::Setgroups => {
            request.setgroups =
                Some(values.choice(&[("allow", Setgroups::Allow), ("deny", Setgroups::Deny)])?);
        }
        Id::Setuid => request.uid = Some(values.parsed(|text| users::id(text, users::PASSWD))?),
        Id::Setgid => request.gid = Some(values.parsed(|text| users::id(text, users::GROUP))?),
        Id::Groups => {
            let ids = |text: &str| text.split(',').map(sept::parse_id).collect::<Option<Vec<u32>>>();
            request.groups =
                Some(values.parsed(|text| ids(text).ok_or_else(|| "numbers are wanted".to_owned()))?);
        }
        Id::Hostname => request.hostname = Some(values.os()?),
        Id::Domainname => request.domainname = Some(values.os()?),
        Id::Monotonic => request.monotonic = Some(values.seconds()?),
        Id::Boottime => request.boottime = Some(values.seconds()?),
        Id::Root => request.root = Some(values.os()?.into()),
        Id::ReadOnly => request.read_only = true,
        Id::Bind
        | Id::RoBind
        | Id::DevBind
        | Id::BindTry
        | Id::RoBindTry
        | Id::DevBindTry
        | Id::BindData
        | Id::RoBindData
        | Id::Device
        | Id::FileSystem
        | Id::Remount
        | Id::MountOptions
        | Id::Tmpfs
        | Id::OverlaySrc
        | Id::Overlay
        | Id::TmpOverlay
        | Id::RoOverlay
        | Id::Symlink
        | Id::Dir
        | Id::File
        | Id::Perms
        | Id::Size
        | Id::Chmod
        | Id::Mask
        | Id::MaskTry
        | Id::RemountRo
        | Id::Proc
        | Id::Dev
        | Id::Mqueue => files::apply(opt.id, &mut values, request)?,
        Id::NoProc => request.no_proc = true,
        Id::NoDev => request.no_dev = true,
        Id::NoSys => request.no_sys = true,
        Id::Create => request.create_on_host = values.choice(&[("host", true)])?,
        Id::Propagation => {
            request.propagation = Some(values.choice(&[
                ("private", Propagation::Private),
                ("slave", Propagation::Slave),
                ("shared", Propagation::Shared),
                ("unchanged", Propagation::Unchanged),
            ])?);
        }
        Id::Wd => request.wd = Some(values.os()?.into()),
        Id::Env => request.env.push(env_change(variable(values.os()?)?)),
        Id::Unset => {
            let name = variable(values.os()?)?;
            if name.as_bytes().contains(&b'=') {
                return Err(values.wrong(&name, "the name of a variable holds no '='"));
            }
            request.env.push(EnvChange::Unset(name));
        }
        Id::ClearEnv => request.clear_env = true,
        Id::Tty => request.tty = true,
        Id::NewSession => request.new_session = true,
        Id::Init => request.init = true,
        Id::KeepFd => keep_fd(&mut values, request)?,
        Id::Argv0 => request.argv0 = Some(values.os()?),
        Id::Timeout => request.timeout = Some(values.parsed(duration)?),
        Id::DieWithParent => request.die_with_parent = true,
        Id::Network => {
            request.network = Some(values.choice(&[("none", Network::None), ("host", Network::Host)])?);
        }
        Id::NoLoopback => request.no_loopback = true,
        Id::NoNewPrivs => request.no_new_privs = Some(yes_or_no(&mut values)?),
        Id::Seccomp => request.seccomp.push(values.os()?),
        Id::SeccompListener => request.seccomp_listener = Some(values.os()?.into()),
        Id::CapAdd => request.capabilities.push(CapChange::Add(values.parsed(confine::capability)?)),
        Id::CapDrop => request.capabilities.push(CapChange::Drop(values.parsed(confine::capability)?)),
        Id::Apparmor => request.apparmor_profile = Some(values.os()?),
        Id::SelinuxLabel => request.selinux_label = Some(values.os()?),
        Id::Securebits => request.securebits = Some(values.parsed(confine::securebits)?),
        Id::LandlockRo | Id::LandlockRw | Id::LandlockExec => {
            let access = match opt.id {
                Id::LandlockRo => PathAccess::Read,
                Id::LandlockRw => PathAccess::Write,
                _ => PathAccess::Execute,
            };
            request.landlock.paths.push((values.os()?.into(), access));
        }
        Id::LandlockConnect => {
            request.landlock.ports.push((values.parsed(confine::port)?, PortAccess::Connect));
        }
        Id::LandlockBind => request.landlock.ports.push((values.parsed(confine::port)?, PortAccess::Bind)),
        Id::LandlockScope => {
            let scopes = values.parsed(confine::scopes)?;
            request.landlock.scopes.get_or_insert_default().extend(scopes);
        }
        Id::NewKeyring => request.new_keyring = true,
        Id::CoreScheduling => request.core_scheduling = true,
        Id::Rlimit => request.rlimits.push(values.parsed(confine::rlimit)?),
        Id::Memory
        | Id::MemorySwap
        | Id::MemoryReservation
        | Id::Cpus
        | Id::CpuShares
        | Id::CpusetCpus
        | Id::CpusetMems
        | Id::Pids
        | Id::BlkioWeight
        | Id::DeviceReadBps
        | Id::DeviceWriteBps
        | Id::DeviceReadIops
        | Id::DeviceWriteIops
        | Id::DeviceCgroupRule
        | Id::Hugetlb
        | Id::CgroupConf
        | Id::CgroupParent
        | Id::CgroupManager => request.limits.apply(opt.id, opt.long, &mut values)?,
        Id::Plan => {
            request.plan = Some(match values.optional() {
                None => PlanFormat::Text,
                Some(format) if format == "json" => PlanFormat::Json,
                Some(format) => return Err(values.wrong(&format, "only json is wanted")),
            });
        }
        Id::Report => request.report = Some(values.os()?.into()),
        Id::IfPossible => request.if_possible.extend(values.parsed(degrade::layers)?),
        Id::ReportFd => request.report_fd = Some(values.parsed(descriptor)?),
        // Looked for before anything was parsed; or of commands that are parsed elsewhere.
        Id::JsonErrors
        | Id::Help
        | Id::Version
        | Id::Type
        | Id::Tree
        | Id::Json
        | Id::Columns
        | Id::NoHeadings
        | Id::Svg
        | Id::ApparmorProfile => {}
    }
    let kind = match opt.id {
        // The root of unshare(1) is a chroot, which needs no mount namespace; and without one its propagation means nothing.
        Id::Root if page.name == options::RUN.name => Some(Namespace::Mount),
        Id::Propagation if page.name != options::RUN.name => None,
        id => implied_kind(id, request),
    };
    if let Some(kind) = kind {
        request.implied.push((kind, opt.long));
    }
    Ok(())
}

/// A kind, and its file where that is given.
fn kind(values: &mut Values<'_>, kind: Namespace, request: &mut Request) {
    if options::is_optional(values.opt)
        && let Some(file) = values.optional()
    {
        request.files.push((kind, file.into()));
    }
    request.given.insert(kind);
}

/// The namespace without which an option means nothing.
fn implied_kind(id: Id, request: &Request) -> Option<Namespace> {
    match id {
        Id::MapRoot
        | Id::MapCurrent
        | Id::MapUser
        | Id::MapGroup
        | Id::MapUsers
        | Id::MapGroups
        | Id::MapAuto
        | Id::MapAll
        | Id::Setgroups
        | Id::KeepCaps => Some(Namespace::User),
        Id::Hostname | Id::Domainname => Some(Namespace::Uts),
        Id::Monotonic | Id::Boottime => Some(Namespace::Time),
        Id::ReadOnly
        | Id::Bind
        | Id::RoBind
        | Id::DevBind
        | Id::Tmpfs
        | Id::BindTry
        | Id::RoBindTry
        | Id::DevBindTry
        | Id::BindData
        | Id::RoBindData
        | Id::Device
        | Id::FileSystem
        | Id::Remount
        | Id::OverlaySrc
        | Id::Overlay
        | Id::TmpOverlay
        | Id::RoOverlay
        | Id::Symlink
        | Id::Dir
        | Id::File
        | Id::Chmod
        | Id::Mask
        | Id::MaskTry
        | Id::RemountRo
        | Id::Proc
        | Id::Dev
        | Id::Mqueue
        | Id::MountProc
        | Id::MountBinfmt
        | Id::LoadInterp
        | Id::Propagation => Some(Namespace::Mount),
        Id::Network if request.network == Some(Network::None) => Some(Namespace::Net),
        Id::Init => Some(Namespace::Pid),
        _ => None,
    }
}

const BINFMT_MISC: &str = "/proc/sys/fs/binfmt_misc";

/// What `--map-users` and `--map-groups` take.
enum Ranges {
    One(IdRange),
    Auto,
    All,
}

fn ranges(text: &str) -> Result<Ranges, String> {
    match text {
        "auto" => Ok(Ranges::Auto),
        "all" => Ok(Ranges::All),
        range => range.parse().map(Ranges::One),
    }
}

fn of_target(dir: Option<OsString>) -> OfTarget {
    dir.map_or(OfTarget::Own, |dir| OfTarget::Dir(dir.into()))
}

fn join(values: &mut Values<'_>) -> Result<(Namespace, OsString), Failure> {
    let value = values.os()?;
    let bytes = value.as_bytes();
    let Some(at) = bytes.iter().position(|byte| *byte == b'=') else {
        return Err(values.wrong(&value, "write KIND=TARGET, for instance net=1234"));
    };
    let kind =
        String::from_utf8_lossy(&bytes[..at]).parse().map_err(|why: String| values.wrong(&value, why))?;
    Ok((kind, OsStr::from_bytes(&bytes[at + 1..]).to_owned()))
}

fn variable(name: OsString) -> Result<OsString, Failure> {
    if name.is_empty() {
        return Err(Failure::usage("the environment variable has no name"));
    }
    Ok(name)
}

fn env_change(text: OsString) -> EnvChange {
    let bytes = text.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => EnvChange::Set(
            OsStr::from_bytes(&bytes[..at]).to_owned(),
            OsStr::from_bytes(&bytes[at + 1..]).to_owned(),
        ),
        None => EnvChange::Pass(text),
    }
}

pub fn descriptor(text: &str) -> Result<i32, String> {
    match sept::parse_id(text).and_then(|fd| i32::try_from(fd).ok()) {
        Some(fd) if std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok() => Ok(fd),
        Some(fd) => Err(format!("descriptor {fd} is not open; open it in the shell: {fd}<FILE or {fd}>FILE")),
        None => Err("the number of a descriptor is wanted".to_owned()),
    }
}

fn keep_fd(values: &mut Values<'_>, request: &mut Request) -> Result<(), Failure> {
    let kept = values.parsed(|text| if text == "all" { Ok(None) } else { descriptor(text).map(Some) })?;
    match (kept, &mut request.keep) {
        (None, keep) => *keep = Keep::All,
        (Some(fd), Keep::Only(list)) => list.push(fd),
        (Some(_), Keep::All) => {}
    }
    Ok(())
}

fn yes_or_no(values: &mut Values<'_>) -> Result<bool, Failure> {
    match values.optional() {
        None => Ok(true),
        Some(word) if word == "yes" => Ok(true),
        Some(word) if word == "no" => Ok(false),
        Some(word) => Err(values.wrong(&word, "yes or no is wanted")),
    }
}

/// `10`, `1.5`, `200ms`, `10s`, `2m`, `1h`, `1d`: seconds unless a unit says otherwise.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a duration is a number with ms, s, m, h or d, for instance 1.5s".to_owned();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * factor;
    if seconds == 0.0 {
        return Err("a time limit of nothing leaves no time to run".to_owned());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| "that is a longer time than can be kept".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "s", "-1", "1x", "1.2.3", "0", "inf", "1e400"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_option_is_there_once() {
        for page in options::PAGES {
            for (n, opt) in page.options.iter().enumerate() {
                for other in &page.options[..n] {
                    assert!(opt.long != other.long && opt.id != other.id, "{}", opt.long);
                    assert!(opt.short.is_none() || opt.short != other.short, "{}", opt.long);
                }
            }
        }
    }
}
