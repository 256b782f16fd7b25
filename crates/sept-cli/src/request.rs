//! What the command line asks for: parsed from the table, not yet acted upon.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser};
use sept::{Access, IdRange, Mount, Namespace, Namespaces, Propagation, Setgroups};

use crate::failure::Failure;
use crate::options::{self, Id, Opt};

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

/// The options of one `sept run`.
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
    pub own_proc: bool,
    pub no_proc: bool,
    pub no_dev: bool,
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
    pub plan: Option<PlanFormat>,
    pub report: Option<PathBuf>,
    pub report_fd: Option<i32>,
    pub command: Vec<OsString>,
}

/// What a line of options comes to.
pub enum Parsed {
    Run(Box<Request>),
    Help,
    Version,
}

/// Parses what stands after `run`.
pub fn parse(parser: &mut Parser) -> Result<Parsed, Failure> {
    let mut request = Request::default();
    while let Some(arg) = parser.next().map_err(usage)? {
        let opt = match arg {
            Arg::Short(letter) => find(|opt| opt.short == Some(letter), &format!("-{letter}"))?,
            Arg::Long(name) => {
                let name = name.to_owned();
                find(|opt| opt.long == name, &format!("--{name}"))?
            }
            Arg::Value(first) => {
                // From here on nothing is ours.
                request.command.push(first);
                request.command.extend(parser.raw_args().map_err(usage)?);
                break;
            }
        };
        match opt.id {
            Id::Help => return Ok(Parsed::Help),
            Id::Version => return Ok(Parsed::Version),
            _ => apply(opt, parser, &mut request)?,
        }
    }
    Ok(Parsed::Run(Box::new(request)))
}

fn usage(error: lexopt::Error) -> Failure {
    Failure::usage(error.to_string())
}

fn find(matches: impl Fn(&Opt) -> bool, written: &str) -> Result<&'static Opt, Failure> {
    options::RUN.iter().find(|opt| matches(opt)).ok_or_else(|| {
        let failure = Failure::usage(format!("unknown option {written}"));
        match options::suggestion(options::RUN, written) {
            Some(hint) => failure.fix(hint),
            None => failure.fix("`sept run --help` lists what there is"),
        }
    })
}

/// The values of one option, with its name for what goes wrong.
struct Values<'a> {
    opt: &'static Opt,
    parser: &'a mut Parser,
}

impl Values<'_> {
    fn wrong(&self, value: &OsStr, why: impl AsRef<str>) -> Failure {
        Failure::usage(format!("--{} {}: {}", self.opt.long, value.to_string_lossy(), why.as_ref()))
    }

    fn os(&mut self) -> Result<OsString, Failure> {
        self.parser.value().map_err(|_| {
            Failure::usage(format!("--{} needs {}", self.opt.long, self.opt.values.join(" and ")))
        })
    }

    fn parsed<T>(&mut self, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
        let value = self.os()?;
        let text = value.to_str().ok_or_else(|| self.wrong(&value, "is not UTF-8"))?;
        parse(text).map_err(|why| self.wrong(&value, why))
    }

    fn id(&mut self) -> Result<u32, Failure> {
        self.parsed(|text| {
            sept::parse_id(text).ok_or_else(|| "an id is a number from 0 to 4294967294".to_owned())
        })
    }

    fn seconds(&mut self) -> Result<i64, Failure> {
        self.parsed(|text| text.parse().map_err(|_| "a number of seconds is wanted".to_owned()))
    }

    fn choice<T: Copy>(&mut self, choices: &[(&str, T)]) -> Result<T, Failure> {
        self.parsed(|text| {
            choices.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
                format!(
                    "one of {} is wanted",
                    choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
                )
            })
        })
    }

    fn optional(&mut self) -> Option<OsString> {
        self.parser.optional_value()
    }
}

fn apply(opt: &'static Opt, parser: &mut Parser, request: &mut Request) -> Result<(), Failure> {
    let mut values = Values { opt, parser };
    match opt.id {
        Id::Mount => request.given.insert(Namespace::Mount),
        Id::Uts => request.given.insert(Namespace::Uts),
        Id::Ipc => request.given.insert(Namespace::Ipc),
        Id::Net => request.given.insert(Namespace::Net),
        Id::Pid => request.given.insert(Namespace::Pid),
        Id::User => request.given.insert(Namespace::User),
        Id::Cgroup => request.given.insert(Namespace::Cgroup),
        Id::Time => request.given.insert(Namespace::Time),
        Id::Share => {
            let kinds = values
                .parsed(|text| text.split(',').map(str::parse).collect::<Result<Vec<Namespace>, _>>())?;
            kinds.into_iter().for_each(|kind| request.share.get_or_insert_default().insert(kind));
        }
        Id::Namespaces => request.none = values.choice(&[("none", true)])?,
        Id::MapRoot => request.map_root = true,
        Id::MapCurrent => request.map_current = true,
        Id::MapUser => request.map_user = Some(values.id()?),
        Id::MapGroup => request.map_group = Some(values.id()?),
        Id::MapUsers => request.map_users.push(values.parsed(str::parse)?),
        Id::MapGroups => request.map_groups.push(values.parsed(str::parse)?),
        Id::MapAuto => request.map_auto = true,
        Id::MapAll => request.map_all = true,
        Id::Setgroups => {
            request.setgroups =
                Some(values.choice(&[("allow", Setgroups::Allow), ("deny", Setgroups::Deny)])?);
        }
        Id::Setuid => request.uid = Some(values.id()?),
        Id::Setgid => request.gid = Some(values.id()?),
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
        Id::Bind | Id::RoBind | Id::DevBind => {
            let access = match opt.id {
                Id::Bind => Access::ReadWrite,
                Id::RoBind => Access::ReadOnly,
                _ => Access::Devices,
            };
            let (source, target) = (values.os()?, values.os()?);
            request.own_proc |= target == "/proc";
            request.mounts.push(Mount::bind(source, target, access));
        }
        Id::Tmpfs => request.mounts.push(Mount::tmpfs(values.os()?)),
        Id::Proc => {
            let target = values.os()?;
            request.own_proc |= target == "/proc";
            request.mounts.push(Mount::proc(target));
        }
        Id::Dev => request.mounts.push(Mount::dev(values.os()?)),
        Id::Mqueue => request.mounts.push(Mount::mqueue(values.os()?)),
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
        Id::Env => request.env.push(env_change(values.os()?)),
        Id::Unset => request.env.push(EnvChange::Unset(values.os()?)),
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
        Id::Plan => {
            request.plan = Some(match values.optional() {
                None => PlanFormat::Text,
                Some(format) if format == "json" => PlanFormat::Json,
                Some(format) => return Err(values.wrong(&format, "only json is wanted")),
            });
        }
        Id::Report => request.report = Some(values.os()?.into()),
        Id::ReportFd => request.report_fd = Some(values.parsed(descriptor)?),
        // Looked for before anything was parsed.
        Id::JsonErrors | Id::Help | Id::Version => {}
    }
    if let Some(kind) = implied_kind(opt.id, request) {
        request.implied.push((kind, opt.long));
    }
    Ok(())
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
        | Id::Setgroups => Some(Namespace::User),
        Id::Hostname | Id::Domainname => Some(Namespace::Uts),
        Id::Monotonic | Id::Boottime => Some(Namespace::Time),
        Id::Root
        | Id::ReadOnly
        | Id::Bind
        | Id::RoBind
        | Id::DevBind
        | Id::Tmpfs
        | Id::Proc
        | Id::Dev
        | Id::Mqueue
        | Id::Propagation => Some(Namespace::Mount),
        Id::Network if request.network == Some(Network::None) => Some(Namespace::Net),
        Id::Init => Some(Namespace::Pid),
        _ => None,
    }
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

fn descriptor(text: &str) -> Result<i32, String> {
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
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
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
        for (n, opt) in options::RUN.iter().enumerate() {
            for other in &options::RUN[..n] {
                assert!(opt.long != other.long && opt.id != other.id, "{}", opt.long);
                assert!(opt.short.is_none() || opt.short != other.short, "{}", opt.long);
            }
        }
    }
}
