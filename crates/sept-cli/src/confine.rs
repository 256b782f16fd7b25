//! The options that take rights away: capabilities, Landlock, limits.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use sept::{
    Capabilities, CapabilitySet, Command, Host, Landlock, Layer, Mount, Namespace, Namespaces, PathAccess,
    PortAccess, Resource, Rlimit, Scope, Stay,
};

use crate::failure::Failure;
use crate::place;
use crate::policy::{self, Agent};
use crate::request::Request;

/// One `--cap-add` or `--cap-drop`.
#[derive(Clone, Copy, Debug)]
pub enum CapChange {
    Add(CapabilitySet),
    Drop(CapabilitySet),
}

pub fn capability(name: &str) -> Result<CapabilitySet, String> {
    CapabilitySet::parse(name).ok_or_else(|| {
        if name.contains(',') {
            return "one capability is wanted: repeat the option for each".to_owned();
        }
        let word = name.to_ascii_lowercase();
        let close = |known: &str| strsim::jaro_winkler(known, word.trim_start_matches("cap_"));
        let near = CapabilitySet::ALL.names().max_by(|one, other| close(one).total_cmp(&close(other)));
        match near.filter(|near| close(near) > 0.8) {
            Some(near) => format!("no capability of that name; perhaps {near} was meant"),
            None => "no capability of that name: capabilities(7) lists them, and all is all".to_owned(),
        }
    })
}

/// By name; capabilities(7).
pub fn securebits(text: &str) -> Result<u32, String> {
    const BITS: [(&str, u32); 8] = [
        ("noroot", 1),
        ("noroot_locked", 1 << 1),
        ("no_setuid_fixup", 1 << 2),
        ("no_setuid_fixup_locked", 1 << 3),
        ("keep_caps", 1 << 4),
        ("keep_caps_locked", 1 << 5),
        ("no_cap_ambient_raise", 1 << 6),
        ("no_cap_ambient_raise_locked", 1 << 7),
    ];
    let bit = |word: &str| BITS.iter().find(|(name, _)| *name == word).map(|(_, bit)| *bit);
    text.split(',').try_fold(0, |bits, word| Some(bits | bit(word)?)).ok_or_else(|| {
        let names: Vec<_> = BITS.iter().map(|(name, _)| *name).collect();
        format!("one or more of {} are wanted", names.join(", "))
    })
}

/// `NAME=SOFT[:HARD]`, numbers with K, M, G or T of 1024, or `unlimited`.
pub fn rlimit(text: &str) -> Result<Rlimit, String> {
    let (name, values) =
        text.split_once('=').ok_or("write NAME=SOFT or NAME=SOFT:HARD, for instance nofile=64")?;
    let resource = Resource::parse(name).ok_or_else(|| {
        format!("there is no limit {name}; there are: {}", Resource::names().collect::<Vec<_>>().join(", "))
    })?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let unit = match resource.to_string().as_str() {
        "cpu" => Some("seconds"),
        "rttime" => Some("microseconds"),
        _ => None,
    };
    if let Some(unit) = unit.filter(|_| {
        [soft, hard].iter().any(|text| text.ends_with(char::is_alphabetic) && bytes(text).is_ok())
    }) {
        return Err(format!("{name} is a number of {unit}, without K, M, G or T"));
    }
    let (soft, hard) = (amount(soft)?, amount(hard)?);
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        return Err("the soft limit is above the hard one".to_owned());
    }
    Ok(Rlimit { resource, soft, hard })
}

pub fn amount(text: &str) -> Result<Option<u64>, String> {
    if matches!(text, "unlimited" | "infinity") {
        return Ok(None);
    }
    bytes(text).map(Some).map_err(|why| format!("{why}; for no limit: unlimited"))
}

/// A number with a unit, powers of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no amount: a number, with K, M, G or T if need be");
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 1 << 30),
        Some(b'T' | b't') => (&text[..text.len() - 1], 1_u64 << 40),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    // The greatest number is the kernel's word for no limit.
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    let number = number.filter(|amount| *amount != u64::MAX);
    number.ok_or_else(|| format!("{text} is more than the kernel counts"))
}

/// `--landlock-connect` and `--landlock-bind`: a port, or none at all.
pub fn port(text: &str) -> Result<Option<u16>, String> {
    if text == "none" {
        return Ok(None);
    }
    text.parse()
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
        .map(Some)
        .ok_or_else(|| "a port from 0 to 65535, or none, is wanted".to_owned())
}

pub fn scopes(text: &str) -> Result<Vec<Scope>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let scope = |word: &str| match word {
        "abstract-sockets" => Ok(Scope::AbstractSockets),
        "signals" => Ok(Scope::Signals),
        _ => Err("abstract-sockets, signals or none is wanted".to_owned()),
    };
    text.split(',').map(scope).collect()
}

/// What was asked of Landlock.
#[derive(Debug, Default)]
pub struct LandlockOptions {
    pub paths: Vec<(PathBuf, PathAccess)>,
    pub ports: Vec<(Option<u16>, PortAccess)>,
    pub scopes: Option<Vec<Scope>>,
}

/// Puts all that takes rights away into the command. Who answers the calls that a policy asks about, if one does.
pub fn apply(
    request: &Request,
    set: Namespaces,
    host: &Host,
    no_new_privs: bool,
    command: &mut Command,
) -> Result<Option<Agent>, Failure> {
    if let Some(cgroup) = request.limits.cgroup(request.is_reported())? {
        command.cgroup(cgroup);
    }
    request.rlimits.iter().for_each(|limit| {
        command.rlimit(*limit);
    });
    if request.new_keyring {
        command.new_session_keyring();
    }
    if request.core_scheduling {
        command.core_scheduling();
    }
    if let Some(bits) = request.securebits {
        command.securebits(bits);
    }
    if let Some(profile) = &request.apparmor_profile {
        command.apparmor_profile(profile);
    }
    if let Some(label) = &request.selinux_label {
        command.selinux_label(label);
    }
    if holds(request, set) {
        let left = changed(request, CapabilitySet::ALL.without(UNDOES_MOUNTS));
        command.limit_capabilities(left);
        // In one of its own it could mount the host's cgroups anew; and with this right it could without.
        if !refuses_namespaces(request) && !left.contains(CapabilitySet::SYS_ADMIN) {
            command.refuse_cgroup_namespaces();
        }
    }
    if !request.capabilities.is_empty() {
        let mut sets = capabilities(request, set, host);
        // Who has no CAP_SETPCAP can't limit what exec may give; with no_new_privs exec gives nothing.
        if no_new_privs
            && !set.contains(Namespace::User)
            && !host.capabilities.contains(CapabilitySet::SETPCAP)
        {
            sets.bounding = CapabilitySet::ALL;
        }
        command.capabilities(sets);
    }
    let agent = filters(request, command)?;
    let rules = landlock(request, set, host, no_new_privs)?;
    if rules.ports.iter().any(|(_, access)| rules.no_ports.contains(access)) {
        return Err(Failure::usage("no port at all, and a port of the same kind, contradict each other")
            .fix("leave out the none of --landlock-connect or --landlock-bind"));
    }
    if (!rules.paths.is_empty() || !rules.ports.is_empty() || !rules.no_ports.is_empty())
        && request.no_new_privs == Some(false)
        && !has_admin(set, host)
    {
        return Err(Failure::usage("Landlock and --no-new-privs=no contradict each other here").why(
            "the kernel lets a process confine itself by Landlock only with no_new_privs or CAP_SYS_ADMIN",
        ));
    }
    command.landlock(rules);
    Ok(agent)
}

/// Puts the filters into the command; who answers what one of them asks.
fn filters(request: &Request, command: &mut Command) -> Result<Option<Agent>, Failure> {
    let mut answering = None;
    if request.seccomp.iter().any(|name| name == "off") && request.seccomp.iter().any(|name| name != "off") {
        return Err(
            Failure::usage("--seccomp off and a policy contradict each other").fix("leave out one of them")
        );
    }
    for name in request.seccomp.iter().filter(|name| *name != "off") {
        let (filter, agent) = policy::filter(name)?;
        if filter.notifies() {
            let metadata = agent.as_ref().map(|agent| agent.metadata.clone()).unwrap_or_default();
            let given = request.seccomp_listener.clone().map(|path| Agent { path, metadata });
            answering = Some(given.or(agent).ok_or_else(|| {
                Failure::usage(format!("the policy {} asks a listener about calls", filter.name))
                    .why("no program was named that would answer")
                    .fix("name the socket of one: --seccomp-listener PATH, or listenerPath in an OCI profile")
                    .fix("answer in a program of your own: Command::seccomp_listener of the library")
            })?);
            command.seccomp_listener();
        }
        command.seccomp(filter);
    }
    if answering.is_none() && request.seccomp_listener.is_some() {
        return Err(Failure::usage("--seccomp-listener is for a policy that asks, and none does")
            .fix("leave it out, or give a --seccomp policy with the action notify"));
    }
    Ok(answering)
}

/// What takes mounts away or makes them writable, and what takes over a process that may.
const UNDOES_MOUNTS: CapabilitySet = CapabilitySet::SYS_ADMIN.with(CapabilitySet::SYS_PTRACE);

/// Whether the command gets files or limits arranged for it, in a user namespace other than the caller's: they are to stay so.
fn holds(request: &Request, set: Namespaces) -> bool {
    let arranged = request.arranges_files() || request.limits.is_asked();
    let joined = request.join.iter().any(|(kind, _)| *kind == Namespace::User);
    arranged && (set.contains(Namespace::User) || joined)
}

/// How the mounts of the line are kept in their places. None where nothing keeps them there: the command may mount, which undoes that by
/// itself, say.
pub struct Places {
    /// The directories of a root that the command may have, with their numbers: it keeps nothing from it but what is masked, and what is in it
    /// and read-only elsewhere.
    images: Vec<(PathBuf, (u64, u64))>,
}

impl Places {
    pub fn new(request: &Request, set: Namespaces) -> Option<Self> {
        let may_mount = changed(request, CapabilitySet::NONE).contains(CapabilitySet::SYS_ADMIN);
        if !holds(request, set) || may_mount {
            return None;
        }
        let root = request.mounts.iter().rev().find(|mount| mount.is_root());
        let dirs = root.map_or_else(|| request.root.iter().map(PathBuf::as_path).collect(), Mount::shown);
        let dirs = dirs.into_iter().filter(|dir| !is_top(dir));
        let images = dirs.filter_map(|dir| Some((dir.to_owned(), number(dir)?))).collect();
        Some(Self { images })
    }

    pub fn stay(&self, mount: &Mount) -> Stay {
        let is_part = || mount.shown().iter().any(|dir| self.is_part(dir, mount.target()));
        match mount.stay() {
            Stay::GuardBelow if mount.narrows() && is_part() => Stay::Guard,
            stay => stay,
        }
    }

    /// By whatever name, as in another mount of the same; or if it is what is at that place anyway.
    fn is_part(&self, path: &Path, target: &Path) -> bool {
        let there = target.strip_prefix("/").unwrap_or(target);
        let is_there =
            |dir: &PathBuf| number(path).is_some_and(|file| number(&dir.join(there)) == Some(file));
        let is_in = |dir| self.images.iter().any(|(_, image)| *image == dir);
        self.images.iter().any(|(dir, _)| is_there(dir))
            || !self.images.is_empty() && without_links(path).ancestors().filter_map(number).any(is_in)
    }
}

/// Whether it is the directory that `/` is, in the same mount, however it is spelled.
pub fn is_top(dir: &Path) -> bool {
    let place = |path: &Path| place::seen(CWD, path).ok();
    dir == Path::new("/")
        || sept::host::answers(dir) && place(dir).is_some_and(|found| place(Path::new("/")) == Some(found))
}

/// The device and the number of a file.
fn number(path: &Path) -> Option<(u64, u64)> {
    let found = sept::host::answers(path).then(|| fs::metadata(path).ok()).flatten()?;
    Some((found.dev(), found.ino()))
}

/// A file system that does not answer is not asked.
fn without_links(path: &Path) -> PathBuf {
    let found = if sept::host::answers(path) { fs::canonicalize(path).ok() } else { None };
    found.unwrap_or_else(|| path.to_owned())
}

/// Whether a policy refuses new namespaces: both of that name do, unless they may be given up, which is to be said then.
pub fn refuses_namespaces(request: &Request) -> bool {
    !request.if_possible.contains(&Layer::Seccomp)
        && request.seccomp.iter().any(|name| matches!(name.to_str(), Some("default" | "strict")))
}

/// Whether set-up has CAP_SYS_ADMIN where the command will be.
pub fn has_admin(set: Namespaces, host: &Host) -> bool {
    set.contains(Namespace::User) || host.capabilities.contains(CapabilitySet::SYS_ADMIN)
}

/// SECBIT_NOROOT, capabilities(7).
const NOROOT: u32 = 1;

/// From all that the user namespace gives, or that the caller has, by the changes in their order.
fn capabilities(request: &Request, set: Namespaces, host: &Host) -> Capabilities {
    let new_user = set.contains(Namespace::User);
    let mut start = if new_user { CapabilitySet::ALL } else { host.capabilities };
    if holds(request, set) {
        start = start.without(UNDOES_MOUNTS);
    }
    let most = changed(request, start);
    // With `noroot` exec gives user 0 no more than others.
    let is_root = request.securebits.is_none_or(|bits| bits & NOROOT == 0);
    if is_root && user_inside(request, new_user, host) == Some(0) {
        return Capabilities::for_root(most);
    }
    // At exec another user than root has none: to take some away from these, or to add one, gives no others.
    let own = changed(request, CapabilitySet::NONE);
    Capabilities { bounding: most, ..Capabilities::for_user(own) }
}

/// The changes in their order.
pub fn changed(request: &Request, start: CapabilitySet) -> CapabilitySet {
    request.capabilities.iter().fold(start, |all, change| match change {
        CapChange::Add(more) => all.with(*more),
        CapChange::Drop(less) => all.without(*less),
    })
}

/// The user that the command runs as, as it sees itself, where that can be told from the line.
fn user_inside(request: &Request, new_user: bool, host: &Host) -> Option<u32> {
    if let Some(uid) = request.uid {
        return Some(uid);
    }
    if !new_user || request.map_all {
        return Some(host.uid);
    }
    if let Some(uid) = request.map_user {
        return Some(uid);
    }
    if request.map_current {
        return Some(host.uid);
    }
    if !request.map_users.is_empty() {
        return request.map_users.iter().find_map(|range| range.inside_of(host.uid));
    }
    // An ordinary user is root inside; root keeps its map.
    Some(0)
}

pub fn landlock(
    request: &Request,
    set: Namespaces,
    host: &Host,
    no_new_privs: bool,
) -> Result<Landlock, Failure> {
    let asked = &request.landlock;
    let mut rules = Landlock::default();
    for (path, access) in &asked.paths {
        rules.paths.push((from_here(request, path)?, *access));
    }
    for (port, access) in &asked.ports {
        match port {
            Some(port) => rules.ports.push((*port, *access)),
            None => rules.no_ports.push(*access),
        }
    }
    let sockets = (!set.contains(Namespace::Net)).then_some(Scope::AbstractSockets);
    let of_default: Vec<Scope> = sockets.into_iter().chain([Scope::Signals]).collect();
    rules.scopes = match &asked.scopes {
        Some(scopes) => scopes.clone(),
        // The host's network has abstract sockets that no file guards. And a process group has members outside whatever
        // the pid namespace: a signal to its own would reach sept and the caller's script. Where the kernel can keep them out,
        // it does; the plan and the report say whether.
        None if (no_new_privs || has_admin(set, host))
            && !of_default.is_empty()
            && sept::host::probe::landlock_abi().is_ok_and(|abi| abi >= 6) =>
        {
            of_default
        }
        None => Vec::new(),
    };
    Ok(rules)
}

/// From the working directory of the caller on, as a shell would take it; a new root need not have that.
fn from_here(request: &Request, path: &Path) -> Result<PathBuf, Failure> {
    if path.is_absolute() || path.as_os_str().is_empty() {
        return Ok(path.to_owned());
    }
    let unclear = |why| {
        Failure::usage(format!("the path {} for Landlock is not an absolute one", path.display()))
            .why(why)
            .fix("name it from the root on, as it is seen inside")
    };
    if request.root.is_some() {
        return Err(unclear("with --root it is looked up in another root than the one here"));
    }
    let here = std::env::current_dir();
    here.map(|here| here.join(path)).map_err(|_| unclear("the directory that it would be below has no name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let limit = rlimit("nofile=64").expect("a limit");
        assert_eq!((limit.soft, limit.hard), (Some(64), Some(64)));
        let limit = rlimit("RLIMIT_AS=1G:unlimited").expect("a limit");
        assert_eq!((limit.soft, limit.hard), (Some(1 << 30), None));
        for text in [
            "",
            "nofile",
            "nofile=",
            "nofile=x",
            "nofile=-1",
            "nofile=2:1",
            "no=1",
            "nofile=unlimited:5",
            "as=99999999999T",
            "cpu=1m",
            "rttime=1:1K",
        ] {
            assert!(rlimit(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn ports_scopes_and_bits_are_read() {
        assert_eq!((port("443"), port("none")), (Ok(Some(443)), Ok(None)));
        for text in ["", "65536", "-1", "+1", "http"] {
            assert!(port(text).is_err(), "{text:?}");
        }
        assert_eq!(scopes("signals,abstract-sockets"), Ok(vec![Scope::Signals, Scope::AbstractSockets]));
        assert_eq!((securebits("noroot,noroot_locked"), securebits("x").is_err()), (Ok(3), true));
        assert!(capability("sys_admim").is_err_and(|why| why.contains("sys_admin")));
    }
}
