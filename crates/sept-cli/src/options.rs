//! The one table of options: the parser, the help, the manual and the suggestions read it.

mod look;
mod move_;
mod run;

pub use look::{COMPLETIONS, DIFF, DOCTOR, LS, MAN, PIN, SECCOMP, TOUR, UNPIN};
pub use move_::{ENTER, UNSHARE};
pub use run::PAGE as RUN;

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
    BindTry,
    RoBindTry,
    DevBindTry,
    BindData,
    RoBindData,
    Device,
    FileSystem,
    Remount,
    MountOptions,
    OverlaySrc,
    Overlay,
    TmpOverlay,
    RoOverlay,
    Symlink,
    Dir,
    File,
    Chmod,
    Perms,
    Size,
    Mask,
    MaskTry,
    RemountRo,
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
    Seccomp,
    SeccompListener,
    CapAdd,
    CapDrop,
    Securebits,
    Apparmor,
    SelinuxLabel,
    LandlockRo,
    LandlockRw,
    LandlockExec,
    LandlockConnect,
    LandlockBind,
    LandlockScope,
    NewKeyring,
    CoreScheduling,
    Rlimit,
    Memory,
    MemorySwap,
    MemoryReservation,
    Cpus,
    CpuShares,
    CpusetCpus,
    CpusetMems,
    Pids,
    BlkioWeight,
    DeviceReadBps,
    DeviceWriteBps,
    DeviceReadIops,
    DeviceWriteIops,
    DeviceCgroupRule,
    Hugetlb,
    CgroupConf,
    CgroupParent,
    CgroupManager,
    Plan,
    Report,
    ReportFd,
    IfPossible,
    JsonErrors,
    Join,
    Pin,
    Fork,
    KillChild,
    MountProc,
    MountBinfmt,
    LoadInterp,
    KeepCaps,
    Target,
    All,
    EnterRoot,
    EnterWd,
    Wdns,
    PreserveCredentials,
    NoFork,
    TargetEnv,
    JoinCgroup,
    UserParent,
    NetSocket,
    FollowContext,
    Type,
    Tree,
    Json,
    Columns,
    NoHeadings,
    Svg,
    ApparmorProfile,
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

/// One command with its options: what parses it, and what its help, manual page and completions are made of.
pub struct Page {
    pub name: &'static str,
    /// In one sentence.
    pub about: &'static str,
    /// What stands after `sept NAME`.
    pub usage: &'static str,
    pub options: &'static [Opt],
    /// What stands at the end.
    pub notes: &'static str,
    /// Lines for a shell, with what they show. A test runs them.
    pub examples: &'static [(&'static str, &'static str)],
}

/// All commands, in the order in which they are shown.
pub static PAGES: [&Page; 12] = [
    &run::PAGE,
    &move_::UNSHARE,
    &move_::ENTER,
    &look::PIN,
    &look::UNPIN,
    &look::LS,
    &look::DIFF,
    &look::DOCTOR,
    &look::SECCOMP,
    &look::TOUR,
    &look::COMPLETIONS,
    &look::MAN,
];

const NS: &str = "Namespaces";
const IDS: &str = "Ids";
const NAMES: &str = "Identity";
const FILES: &str = "Files";
const PROCESS: &str = "Process";
const NET: &str = "Network";
const CONFINE: &str = "Confinement";
const RESOURCES: &str = "Resources";
const KNOW: &str = "Knowing";

const SETUID: Opt = opt(
    Id::Setuid,
    Some('S'),
    "setuid",
    &["UID"],
    IDS,
    "Run as this user, as seen inside; its group is a matter of -G",
);
const HELP: Opt = opt(Id::Help, Some('h'), "help", &[], KNOW, "This help");
const JSON_ERRORS: Opt = opt(Id::JsonErrors, None, "json-errors", &[], KNOW, "Errors as one JSON object");
const PLAN: Opt = opt(Id::Plan, None, "plan", &["[=json]"], KNOW, "Print the steps and do nothing");

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
    ("args", "xargs -0 sept run <FILE"),
    ("unshare-user-try", "--if-possible user"),
    ("unshare-cgroup-try", "--if-possible cgroup"),
    ("userns", "--join user=TARGET"),
    ("userns2", "nothing that there is"),
    ("pidns", "--join pid=TARGET"),
    ("disable-userns", "--seccomp strict, which refuses more"),
    ("assert-userns-disabled", "nothing that there is"),
    ("lock-file", "flock -s FILE sept run …"),
    ("sync-fd", "nothing: sept holds what it was given until COMMAND has ended"),
    ("bind-fd", "--bind /proc/self/fd/FD"),
    ("ro-bind-fd", "--ro-bind /proc/self/fd/FD"),
    ("exec-label", "--selinux-label"),
    ("file-label", "nothing that there is"),
    ("add-seccomp-fd", "--seccomp with a policy, repeatable"),
    ("block-fd", "Command::park of the library"),
    ("userns-block-fd", "Command::park of the library"),
    ("info-fd", "--report-fd, at the end"),
    ("json-status-fd", "--report-fd, at the end"),
    ("level-prefix", "nothing: errors begin with \"sept:\""),
    ("rootfs", "--root"),
    ("chroot", "--root"),
];

/// Whether this word is an option of the command.
pub fn knows(page: &Page, word: &str) -> bool {
    let is_it = |opt: &Opt| match word.strip_prefix("--") {
        Some(long) => opt.long == long,
        None => opt.short.is_some_and(|short| word.strip_prefix('-') == Some(short.encode_utf8(&mut [0; 4]))),
    };
    page.options.iter().any(is_it)
}

/// What may have been meant by an unknown option.
pub fn suggestion(page: &Page, unknown: &str) -> Option<String> {
    let table = page.options;
    let word = unknown.trim_start_matches('-');
    if page.name == RUN.name
        && let Some((_, here)) = HABITS.iter().find(|(habit, _)| *habit == word)
    {
        return Some(format!("here that is {here}"));
    }
    let near = |opt: &&Opt| strsim::jaro_winkler(opt.long, word);
    table
        .iter()
        .max_by(|a, b| near(a).total_cmp(&near(b)))
        .filter(|opt| near(opt) > 0.8)
        .map(|opt| format!("perhaps --{} was meant", opt.long))
}

/// The command as clap has it, from its page. Only for help, manual pages and completions: parsing is done by hand.
pub fn clap_command(page: &'static Page) -> clap::Command {
    let mut command = clap::Command::new(page.name)
        .bin_name(format!("sept {}", page.name))
        .about(page.about)
        .override_usage(format!("sept {} {}", page.name, page.usage))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .next_line_help(false)
        .after_help(after_help(page));
    for opt in page.options {
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
    command
}

fn after_help(page: &Page) -> String {
    let mut text = page.notes.to_owned();
    if !page.examples.is_empty() {
        text.push_str(if text.is_empty() { "Examples:" } else { "\n\nExamples:" });
    }
    for (line, what) in page.examples {
        text.push_str(&format!("\n  {line}\n      {what}"));
    }
    text
}

/// The help of a command.
pub fn help(page: &'static Page) -> String {
    clap_command(page).render_long_help().to_string()
}

/// Whether an option's value may be left out, and is given by `=`.
pub fn is_optional(opt: &Opt) -> bool {
    opt.values.first().is_some_and(|value| value.starts_with('['))
}
