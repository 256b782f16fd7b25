//! What this process is in already: why a doctor inside a container finds less than one outside.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::process::PidfdFlags;
use sept::{CapabilitySet, Host};

/// What confines this process, each with a name and in words. Nothing where it is on the host itself, unconfined.
pub fn findings() -> Vec<(&'static str, String)> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let filters = match (field("Seccomp:"), field("Seccomp_filters:")) {
        ("2", number) => Some(format!("on this process already{}", counted(number))),
        _ => None,
    };
    let no_new_privs = (field("NoNewPrivs:") == "1")
        .then(|| "set; set-user-ID programs, as newuidmap, give no rights".to_owned());
    [
        ("container", container()),
        ("user namespace", nested()),
        ("capabilities", lacking()),
        ("system call filter", filters),
        ("no_new_privs", no_new_privs),
        ("/proc", foreign_proc()),
    ]
    .into_iter()
    .filter_map(|(name, reason)| Some((name, reason?)))
    .collect()
}

fn counted(number: &str) -> String {
    if number.is_empty() { String::new() } else { format!(" ({number})") }
}

/// By the marks that engines leave, and the variable by which systemd and others tell.
fn container() -> Option<String> {
    let mark = |(path, engine): (&str, &str)| {
        Path::new(path).exists().then(|| format!("perhaps {engine}'s: {path} is there"))
    };
    let by_mark = [("/run/.containerenv", "podman"), ("/.dockerenv", "docker")].into_iter().find_map(mark);
    let by_variable = || {
        std::env::var("container")
            .ok()
            .map(|name| format!("perhaps {name}'s: the variable container says so"))
    };
    by_mark.or_else(by_variable)
}

fn nested() -> Option<String> {
    let (users, _) = sept::host::own_maps().ok()?;
    let whole =
        matches!(users.as_slice(), [range] if (range.inside, range.outside, range.count) == (0, 0, u32::MAX));
    let ranges = users.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    (!whole).then(|| format!("not the host's own; ids here, outside and how many: {ranges}"))
}

fn lacking() -> Option<String> {
    let host = Host::caller();
    let has = host.capabilities.contains(CapabilitySet::SYS_ADMIN);
    (host.uid == 0 && !has)
        .then(|| "root without CAP_SYS_ADMIN: no namespace but through a user namespace".to_owned())
}

fn foreign_proc() -> Option<String> {
    if !sept::host::has_proc() {
        return Some("no proc file system is mounted there: mount -t proc proc /proc".to_owned());
    }
    let own = rustix::process::getpid();
    let pidfd = rustix::process::pidfd_open(own, PidfdFlags::empty()).ok()?;
    // What can't be read tells nothing.
    let seen = sept::host::find_in_proc(pidfd.as_fd()).ok()?;
    (seen != Some(own.as_raw_pid())).then(|| "of another pid namespace than this process's own".to_owned())
}
