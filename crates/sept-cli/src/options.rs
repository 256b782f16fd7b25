//! The one table of options: the parser, the help and the suggestions read it.

/// What an option does; the parser matches on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    Mount,
    Uts,
    Ipc,
    Net,
    Pid,
    User,
    Cgroup,
    Time,
    Share,
    Namespaces,
    MapRoot,
    MapCurrent,
    MapUser,
    MapGroup,
    MapUsers,
    MapGroups,
    MapAuto,
    MapAll,
    Setgroups,
    Setuid,
    Setgid,
    Groups,
    Hostname,
    Domainname,
    Monotonic,
    Boottime,
    Root,
    ReadOnly,
    Bind,
    RoBind,
    DevBind,
    Tmpfs,
    Proc,
    Dev,
    Mqueue,
    NoProc,
    NoDev,
    NoSys,
    Create,
    Propagation,
    Wd,
    Env,
    Unset,
    ClearEnv,
    Tty,
    NewSession,
    Init,
    KeepFd,
    Argv0,
    Timeout,
    DieWithParent,
    Network,
    NoLoopback,
    NoNewPrivs,
    Plan,
    Report,
    ReportFd,
    JsonErrors,
    Help,
    Version,
}

/// One option.
pub struct Opt {
    pub id: Id,
    pub short: Option<char>,
    pub long: &'static str,
    /// The names of its values. A name in brackets is optional and given by `=`.
    pub values: &'static [&'static str],
    pub group: &'static str,
    pub help: &'static str,
}

const fn opt(
    id: Id,
    short: Option<char>,
    long: &'static str,
    values: &'static [&'static str],
    group: &'static str,
    help: &'static str,
) -> Opt {
    Opt { id, short, long, values, group, help }
}

const NS: &str = "Namespaces";
const IDS: &str = "Ids";
const NAMES: &str = "Identity";
const FILES: &str = "Files";
const PROCESS: &str = "Process";
const NET: &str = "Network";
const CONFINE: &str = "Confinement";
const KNOW: &str = "Knowing";

/// Every option of `sept run`.
pub static RUN: &[Opt] = &[
    opt(Id::Mount, Some('m'), "mount", &[], NS, "New mount namespace"),
    opt(Id::Uts, Some('u'), "uts", &[], NS, "New uts namespace (hostname)"),
    opt(Id::Ipc, Some('i'), "ipc", &[], NS, "New ipc namespace"),
    opt(Id::Net, Some('n'), "net", &[], NS, "New network namespace"),
    opt(Id::Pid, Some('p'), "pid", &[], NS, "New pid namespace; COMMAND is PID 1"),
    opt(Id::User, Some('U'), "user", &[], NS, "New user namespace"),
    opt(Id::Cgroup, Some('C'), "cgroup", &[], NS, "New cgroup namespace"),
    opt(Id::Time, Some('T'), "time", &[], NS, "New time namespace"),
    opt(Id::Share, None, "share", &["KIND[,KIND]"], NS, "Take kinds out of the default set (all but time)"),
    opt(Id::Namespaces, None, "namespaces", &["none"], NS, "Make no namespace at all"),
    opt(Id::MapRoot, Some('r'), "map-root-user", &[], IDS, "Map the caller to root inside"),
    opt(Id::MapCurrent, Some('c'), "map-current-user", &[], IDS, "Map the caller to the same ids inside"),
    opt(Id::MapUser, None, "map-user", &["ID"], IDS, "Map the calling user to ID inside"),
    opt(Id::MapGroup, None, "map-group", &["ID"], IDS, "Map the calling group to ID inside"),
    opt(
        Id::MapUsers,
        None,
        "map-users",
        &["IN:OUT:COUNT"],
        IDS,
        "Map COUNT users from OUT on to IN on; repeatable",
    ),
    opt(
        Id::MapGroups,
        None,
        "map-groups",
        &["IN:OUT:COUNT"],
        IDS,
        "Map COUNT groups from OUT on to IN on; repeatable",
    ),
    opt(
        Id::MapAuto,
        None,
        "map-auto",
        &[],
        IDS,
        "Map the caller to root and its subordinate ids from 1 on; with -c, keep the caller's id",
    ),
    opt(
        Id::MapAll,
        None,
        "map-all",
        &[],
        IDS,
        "Keep the caller's own map (default with CAP_SETUID and CAP_SETGID)",
    ),
    opt(Id::Setgroups, None, "setgroups", &["allow|deny"], IDS, "Whether setgroups may be used inside"),
    opt(Id::Setuid, Some('S'), "setuid", &["UID"], IDS, "Run as this user, as seen inside"),
    opt(
        Id::Setgid,
        Some('G'),
        "setgid",
        &["GID"],
        IDS,
        "Run as this group; drops supplementary groups where allowed",
    ),
    opt(Id::Groups, None, "groups", &["GID[,GID]"], IDS, "Supplementary groups, as seen inside"),
    opt(Id::Hostname, None, "hostname", &["NAME"], NAMES, "Set the hostname inside"),
    opt(Id::Domainname, None, "domainname", &["NAME"], NAMES, "Set the NIS domain name inside"),
    opt(Id::Monotonic, None, "monotonic", &["SECONDS"], NAMES, "Offset of the monotonic clock inside"),
    opt(Id::Boottime, None, "boottime", &["SECONDS"], NAMES, "Offset of the boot-time clock inside"),
    opt(
        Id::Root,
        Some('R'),
        "root",
        &["DIR"],
        FILES,
        "DIR becomes / (pivot_root), with fresh /proc, /dev, /sys",
    ),
    opt(Id::ReadOnly, None, "read-only", &[], FILES, "Make the root and all mounts below it read-only"),
    opt(Id::Bind, None, "bind", &["SRC", "DST"], FILES, "Bind SRC of the host on DST inside"),
    opt(Id::RoBind, None, "ro-bind", &["SRC", "DST"], FILES, "Bind read-only, submounts included"),
    opt(Id::DevBind, None, "dev-bind", &["SRC", "DST"], FILES, "Bind with working device files"),
    opt(Id::Tmpfs, None, "tmpfs", &["DST"], FILES, "Mount an empty tmpfs"),
    opt(Id::Proc, None, "proc", &["DST"], FILES, "Mount a fresh proc"),
    opt(Id::Dev, None, "dev", &["DST"], FILES, "Mount a small /dev"),
    opt(Id::Mqueue, None, "mqueue", &["DST"], FILES, "Mount the POSIX message queues"),
    opt(Id::NoProc, None, "no-proc", &[], FILES, "Keep /proc as it is"),
    opt(Id::NoDev, None, "no-dev", &[], FILES, "With --root: no fresh /dev"),
    opt(Id::NoSys, None, "no-sys", &[], FILES, "With --root: no fresh /sys"),
    opt(
        Id::Create,
        None,
        "create",
        &["host"],
        FILES,
        "Make missing mount points on the host's file system, too",
    ),
    opt(
        Id::Propagation,
        None,
        "propagation",
        &["private|slave|shared|unchanged"],
        FILES,
        "How mounts pass between host and inside",
    ),
    opt(Id::Wd, Some('w'), "wd", &["DIR"], PROCESS, "Working directory, as seen inside"),
    opt(Id::Env, None, "env", &["KEY=VALUE"], PROCESS, "Set a variable; KEY alone passes the caller's"),
    opt(Id::Unset, None, "unset", &["KEY"], PROCESS, "Remove a variable"),
    opt(Id::ClearEnv, None, "clear-env", &[], PROCESS, "Begin with an empty environment"),
    opt(Id::Tty, Some('t'), "tty", &[], PROCESS, "Give COMMAND a terminal of its own"),
    opt(Id::NewSession, None, "new-session", &[], PROCESS, "Begin a new session, without a terminal"),
    opt(Id::Init, None, "init", &[], PROCESS, "A reaper is PID 1, instead of COMMAND"),
    opt(Id::KeepFd, None, "keep-fd", &["N|all"], PROCESS, "Keep this descriptor open; repeatable"),
    opt(Id::Argv0, None, "argv0", &["NAME"], PROCESS, "What COMMAND sees as its own name"),
    opt(
        Id::Timeout,
        None,
        "timeout",
        &["DURATION"],
        PROCESS,
        "Kill COMMAND after this time (10, 1.5s, 200ms, 2m, 1h); exit 124",
    ),
    opt(
        Id::DieWithParent,
        None,
        "die-with-parent",
        &[],
        PROCESS,
        "End everything when sept's own parent ends",
    ),
    opt(
        Id::Network,
        None,
        "network",
        &["none|host"],
        NET,
        "none: a network of its own with lo only; host: the host's",
    ),
    opt(Id::NoLoopback, None, "no-loopback", &[], NET, "Leave lo down in a new network namespace"),
    opt(
        Id::NoNewPrivs,
        None,
        "no-new-privs",
        &["[=yes|no]"],
        CONFINE,
        "No privileges gained by exec (default when not root outside)",
    ),
    opt(Id::Plan, None, "plan", &["[=json]"], KNOW, "Print the steps and do nothing"),
    opt(Id::Report, None, "report", &["FILE"], KNOW, "Write a JSON report at the end"),
    opt(Id::ReportFd, None, "report-fd", &["N"], KNOW, "Write the report to this descriptor"),
    opt(Id::JsonErrors, None, "json-errors", &[], KNOW, "Errors as one JSON object"),
    opt(Id::Help, Some('h'), "help", &[], KNOW, "This help"),
    opt(Id::Version, Some('V'), "version", &[], KNOW, "The version"),
];

/// What users of other tools type, and what it is here.
static HABITS: &[(&str, &str)] = &[
    ("fork", "nothing: `sept run` always starts a new process"),
    ("mount-proc", "nothing: a new pid and mount namespace get a fresh /proc by themselves"),
    ("unshare-all", "nothing: all namespaces but time are new unless some are named"),
    ("unshare-net", "-n"),
    ("unshare-pid", "-p"),
    ("unshare-user", "-U"),
    ("unshare-uts", "-u"),
    ("unshare-ipc", "-i"),
    ("unshare-cgroup", "-C"),
    ("share-net", "--share net"),
    ("chdir", "--wd"),
    ("setenv", "--env KEY=VALUE"),
    ("unsetenv", "--unset"),
    ("clearenv", "--clear-env"),
    ("uid", "--map-user"),
    ("gid", "--map-group"),
    ("as-pid-1", "nothing: COMMAND is PID 1 unless --init is given"),
    ("rootfs", "--root"),
    ("chroot", "--root"),
];

/// What may have been meant by an unknown option.
pub fn suggestion(table: &[Opt], unknown: &str) -> Option<String> {
    let word = unknown.trim_start_matches('-');
    if let Some((_, here)) = HABITS.iter().find(|(habit, _)| *habit == word) {
        return Some(format!("here that is {here}"));
    }
    let near = |opt: &&Opt| strsim::jaro_winkler(opt.long, word);
    table
        .iter()
        .max_by(|a, b| near(a).total_cmp(&near(b)))
        .filter(|opt| near(opt) > 0.8)
        .map(|opt| format!("perhaps --{} was meant", opt.long))
}

/// The help, by clap, from the table.
pub fn help(table: &'static [Opt]) -> String {
    let mut command = clap::Command::new("sept run")
        .about("Starts COMMAND in new namespaces. Without COMMAND: $SHELL, else /bin/sh.")
        .override_usage("sept run [OPTIONS] [--] [COMMAND [ARG]...]")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .next_line_help(false)
        .after_help(
            "Without options: new user, mount, pid, uts, ipc, net and cgroup namespaces; an ordinary user is root\n\
             inside; mounts private, /proc fresh, lo up.\n\n\
             Exit code: COMMAND's own; 128+n when signal n ended it; 124 time ran out; 125 sept failed;\n\
             126 COMMAND cannot be executed; 127 COMMAND not found.",
        );
    for opt in table {
        let mut arg = clap::Arg::new(opt.long).long(opt.long).help(opt.help).help_heading(opt.group);
        if let Some(short) = opt.short {
            arg = arg.short(short);
        }
        arg = match opt.values {
            [] => arg.action(clap::ArgAction::SetTrue),
            [one] if one.starts_with('[') => {
                let word = one.trim_start_matches("[=").trim_end_matches(']');
                arg.value_name(word).num_args(0..=1).require_equals(true)
            }
            names => arg.value_names(names.iter().copied()).num_args(names.len()),
        };
        command = command.arg(arg);
    }
    command.render_long_help().to_string()
}
