//! `sept doctor`: tries every layer for real, in children that are thrown away.

use std::fs;
use std::path::Path;

use lexopt::Parser;
use sept::host::probe;
use sept::{Advice, Command, Error, Host, Layer, Mount, Namespace, Stdio, SubIds, Target};
use serde_json::json;

use crate::around;
use crate::failure::Failure;
use crate::options::{self, Id};
use crate::report;
use crate::request::Request;
use crate::words::{self, Word};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    Limited,
    No,
}

impl Answer {
    fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Limited => "limited",
            Self::No => "no",
        }
    }
}

struct Finding {
    group: &'static str,
    name: String,
    answer: Answer,
    reason: Vec<String>,
    fix: Vec<String>,
}

pub fn main(parser: &mut Parser) -> Result<u8, Failure> {
    let (mut as_json, mut as_profile) = (false, false);
    while let Some(word) = words::next(parser, &options::DOCTOR)? {
        let opt = match word {
            Word::Option { opt, .. } => opt,
            Word::Plain(word) => {
                let word = crate::failure::quoted(&word.to_string_lossy());
                return Err(Failure::usage(format!("doctor takes no {word}"))
                    .fix("write: sept doctor, or sept doctor --json"));
            }
        };
        match opt.id {
            Id::Help => return report::print(&options::help(&options::DOCTOR)).map(|()| 0),
            Id::Json => as_json = true,
            Id::ApparmorProfile => as_profile = true,
            _ => {}
        }
    }
    if as_profile && as_json {
        return Err(Failure::usage("--json and --apparmor-profile contradict each other")
            .why("a profile is text for apparmor_parser(8)"));
    }
    if as_profile {
        return profile();
    }
    let mut works = tried("sept run", "with its defaults".to_owned(), default_run(&[]).map(drop));
    let healthy = works.answer == Answer::Yes;
    if !healthy && let Ok(missing) = default_run(&Layer::all().collect::<Vec<_>>()) {
        works.fix.push(format!("go on without what is missing: sept run --if-possible {missing}"));
    }
    let mut findings = vec![works];
    findings.extend(around::findings().into_iter().map(|(name, reason)| Finding {
        answer: Answer::Limited,
        ..found("around", name, true, reason, "")
    }));
    namespaces(&mut findings);
    ids(&mut findings);
    mounts(&mut findings);
    confinement(&mut findings);
    cgroups(&mut findings);
    kernel(&mut findings);
    tools(&mut findings);
    report::print(&if as_json { json_text(&findings, healthy) } else { text(&findings) })?;
    Ok(u8::from(!healthy))
}

/// A command that does nothing, by this very executable.
fn nothing() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("sept").args(["inside", "nothing"]);
    command
}

fn run(mut command: Command) -> Result<(), Error> {
    attempt(&mut command)
}

fn attempt(command: &mut Command) -> Result<(), Error> {
    // A pipe, and not /dev/null: that may be missing here, or closed to this user, and what is tried does not take it.
    let output = command.stdin(Stdio::piped()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("sept: ").to_owned();
    Err(Error::Duty { what: said, errno: None, advice: Advice::default(), layer: None })
}

fn tried(group: &'static str, name: String, done: Result<(), Error>) -> Finding {
    match done {
        Ok(()) => Finding { group, name, answer: Answer::Yes, reason: vec![], fix: vec![] },
        Err(error) => {
            let advice = error.advice().cloned().unwrap_or_default();
            let mut reason = vec![error.summary()];
            reason.extend(advice.why);
            Finding { group, name, answer: Answer::No, reason, fix: advice.fix }
        }
    }
}

fn found(
    group: &'static str,
    name: impl Into<String>,
    yes: bool,
    reason: impl Into<String>,
    fix: &str,
) -> Finding {
    let answer = if yes { Answer::Yes } else { Answer::No };
    let fix = if yes || fix.is_empty() { vec![] } else { vec![fix.to_owned()] };
    Finding { group, name: name.into(), answer, reason: vec![reason.into()], fix }
}

/// What `sept run` does when it is told nothing but what may be missing; what then is.
fn default_run(if_possible: &[Layer]) -> Result<String, Error> {
    let request = Request {
        command: ["/proc/self/exe", "inside", "nothing"].map(Into::into).to_vec(),
        if_possible: if_possible.to_vec(),
        ..Request::default()
    };
    let mut built = crate::build::build(&request).map_err(|failure| Error::Duty {
        what: failure.what().to_owned(),
        errno: None,
        advice: Advice::default(),
        layer: None,
    })?;
    attempt(&mut built.command)?;
    let missing = built.command.missing().iter().map(|missing| missing.layer.name());
    Ok(missing.collect::<Vec<_>>().join(","))
}

fn namespaces(findings: &mut Vec<Finding>) {
    for kind in Namespace::ALL {
        let mut command = nothing();
        command.unshare([Namespace::User, kind]).map_root();
        findings.push(tried("namespace", kind.to_string(), run(command)));
    }
    if Host::caller().uid == 0 {
        let mut command = nothing();
        command.unshare(Namespace::ALL.into_iter().filter(|kind| *kind != Namespace::User));
        findings.push(tried("namespace", "all but user, without a user namespace".to_owned(), run(command)));
    }
}

fn ids(findings: &mut Vec<Finding>) {
    let mut single = nothing();
    single.unshare([Namespace::User]).map_root();
    findings.push(tried("ids", "map the caller".to_owned(), run(single)));
    if Host::caller().can_map_uids() && Host::caller().can_map_gids() {
        let mut all = nothing();
        all.unshare([Namespace::User]).map_all();
        findings.push(tried("ids", "map every id".to_owned(), run(all)));
    }
    let mut range = nothing();
    range.unshare([Namespace::User]).map_subids(SubIds::RootIsCaller);
    findings.push(tried(
        "ids",
        "map subordinate ids (subuid, subgid, newuidmap, newgidmap)".to_owned(),
        run(range),
    ));
}

fn mounts(findings: &mut Vec<Finding>) {
    let fresh = |kinds: &[Namespace], mount: Mount| {
        let mut command = nothing();
        command.unshare([Namespace::User, Namespace::Mount]).unshare(kinds.iter().copied()).map_root();
        command.mount(mount);
        run(command)
    };
    // On /sys: it is a directory everywhere, and /proc is still needed for exec.
    findings.push(tried("mount", "proc".to_owned(), fresh(&[Namespace::Pid], Mount::proc("/sys"))));
    findings.push(tried("mount", "sysfs".to_owned(), fresh(&[Namespace::Net], Mount::sysfs("/sys"))));
    findings.push(tried("mount", "tmpfs".to_owned(), fresh(&[], Mount::tmpfs("/sys"))));
    findings.push(tried("mount", "mqueue".to_owned(), fresh(&[Namespace::Ipc], Mount::mqueue("/sys"))));
    let mut overlay = Command::new("/proc/self/exe");
    overlay.arg0("sept").args(["inside", "overlay"]).unshare([Namespace::User, Namespace::Mount]).map_root();
    findings.push(tried("mount", "overlay in a user namespace".to_owned(), run(overlay)));
    findings.push(idmapped());
}

fn idmapped() -> Finding {
    let name = "idmapped".to_owned();
    let mut command = nothing();
    command.unshare([Namespace::User]).map_root();
    let parked = match command.park() {
        Ok(parked) => parked,
        Err(error) => return tried("mount", name, Err(error)),
    };
    let target = match Target::process(parked.id()) {
        Ok(target) => target,
        Err(error) => return tried("mount", name, Err(error)),
    };
    match probe::idmapped_mount(&target) {
        Ok(()) => tried("mount", name, Ok(())),
        Err(libc::EPERM) => found(
            "mount",
            name,
            false,
            "it takes CAP_SYS_ADMIN where the file system was mounted",
            "run as root",
        ),
        Err(errno) => {
            found("mount", name, false, format!("the root's file system: {}", sept::describe(errno)), "")
        }
    }
}

fn confinement(findings: &mut Vec<Finding>) {
    findings.push(match probe::landlock_abi() {
        Ok(abi) => found("confinement", "Landlock", true, format!("ABI {abi}"), ""),
        Err(libc::EOPNOTSUPP) => found(
            "confinement",
            "Landlock",
            false,
            "it is built in, and switched off",
            "boot with lsm=landlock,… on the kernel's command line",
        ),
        Err(errno) => found(
            "confinement",
            "Landlock",
            false,
            sept::describe(errno),
            "use a kernel with CONFIG_SECURITY_LANDLOCK",
        ),
    });
    let actions = probe::seccomp_actions();
    let list = if actions.is_empty() { "no action is there".to_owned() } else { actions.join(", ") };
    findings.push(found(
        "confinement",
        "seccomp",
        !actions.is_empty(),
        list,
        "use a kernel with CONFIG_SECCOMP_FILTER",
    ));
    let modules = fs::read_to_string("/sys/kernel/security/lsm").ok();
    findings.push(match modules {
        Some(list) => found("confinement", "security modules", true, list.trim().to_owned(), ""),
        None => Finding {
            answer: Answer::Limited,
            ..found(
                "confinement",
                "security modules",
                true,
                "securityfs is not mounted, so they can't be listed",
                "",
            )
        },
    });
}

fn cgroups(findings: &mut Vec<Finding>) {
    let [two, one] = ["cgroup2", "cgroup"].map(|kind| sept::host::mounted(kind).ok().flatten());
    let version = match (&two, &one) {
        (Some(_), Some(_)) => "hybrid: controllers in version 1, and a version 2 beside",
        (Some(_), None) => "version 2",
        (None, Some(_)) => "version 1",
        (None, None) => "no cgroup file system is mounted",
    };
    findings.push(found(
        "cgroup",
        "mounted",
        two.is_some() || one.is_some(),
        version,
        "mount -t cgroup2 none /sys/fs/cgroup",
    ));
    if let Some(mount) = two {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
        let dir = mount.join(path);
        let controllers = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
        let controllers = controllers.trim();
        findings.push(Finding {
            answer: if controllers.is_empty() { Answer::Limited } else { Answer::Yes },
            ..found(
                "cgroup",
                "controllers of version 2",
                true,
                if controllers.is_empty() { "none here" } else { controllers },
                "",
            )
        });
        findings.push(delegation(&dir));
    }
}

/// By making a child of our own cgroup, and removing it.
fn delegation(dir: &Path) -> Finding {
    let child = dir.join(format!("sept-doctor-{}", std::process::id()));
    let made = fs::create_dir(&child).and_then(|()| fs::remove_dir(&child));
    match made {
        Ok(()) => found("cgroup", "own children", true, format!("in {}", dir.display()), ""),
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(0);
            found(
                "cgroup",
                "own children",
                false,
                format!("in {}: {}", dir.display(), sept::describe(errno)),
                "systemd-run --user --scope -p Delegate=yes $SHELL",
            )
        }
    }
}

fn kernel(findings: &mut Vec<Finding>) {
    let release = rustix::system::uname();
    findings.push(found("kernel", "release", true, release.release().to_string_lossy().into_owned(), ""));
    for (name, there) in probe::file_calls() {
        findings.push(found(
            "kernel",
            name,
            there.is_ok(),
            if there.is_ok() { "" } else { "not there" },
            "use a newer kernel",
        ));
    }
    let own = Target::process(std::process::id());
    findings.push(tried("kernel", "pidfd_open".to_owned(), own.map(drop)));
    let ioctl = probe::pidfd_namespaces();
    let optional = |name: &str, yes: bool, since: &str, instead: &str| Finding {
        answer: if yes { Answer::Yes } else { Answer::Limited },
        ..found(
            "kernel",
            name,
            true,
            if yes { String::new() } else { format!("since Linux {since}; {instead}") },
            "",
        )
    };
    findings.push(optional("namespaces by pidfd", ioctl, "6.11", "/proc/PID/ns is used"));
    findings.push(optional(
        "listns",
        probe::listns(),
        "6.19",
        "namespaces that neither /proc nor a mount shows are not listed",
    ));
}

fn tools(findings: &mut Vec<Finding>) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for (name, what, fix) in [
        ("newuidmap", "maps of subordinate ids", "sudo apt-get install uidmap"),
        ("newgidmap", "maps of subordinate ids", "sudo apt-get install uidmap"),
        ("pasta", "the internet without privileges", "sudo apt-get install passt"),
    ] {
        let there = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
        let finding = match there {
            Some(file) => found("tool", name, true, file.display().to_string(), ""),
            None => Finding {
                answer: Answer::Limited,
                fix: vec![fix.to_owned()],
                ..found("tool", name, true, format!("not installed: for {what}"), "")
            },
        };
        findings.push(finding);
    }
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut group = "";
    for finding in findings {
        if finding.group != group {
            group = finding.group;
            text.push_str(&format!("{group}\n"));
        }
        let reason = finding.reason.first().filter(|reason| !reason.is_empty());
        let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
        text.push_str(&format!("  {:<8} {}{reason}\n", finding.answer.word(), finding.name));
        for why in finding.reason.iter().skip(1) {
            text.push_str(&format!("           why: {why}\n"));
        }
        for (n, fix) in finding.fix.iter().enumerate() {
            text.push_str(&format!("           {}: {fix}\n", if n == 0 { "fix" } else { " or" }));
        }
    }
    text
}

fn json_text(findings: &[Finding], healthy: bool) -> String {
    let list: Vec<_> = findings
        .iter()
        .map(|finding| {
            json!({
                "group": finding.group,
                "name": finding.name,
                "answer": finding.answer.word(),
                "reason": finding.reason,
                "fix": finding.fix,
            })
        })
        .collect();
    format!("{:#}\n", json!({ "version": 1, "run_works": healthy, "findings": list }))
}

/// For Ubuntu 23.10 and later, where an unconfined program gets no rights in its user namespaces.
fn profile() -> Result<u8, Failure> {
    let exe = std::env::current_exe().map_err(|error| Failure::io("cannot find this executable", &error))?;
    let exe = exe.display();
    report::print(&format!(
        "# To be put into /etc/apparmor.d/sept; then: sudo apparmor_parser -r /etc/apparmor.d/sept\n\
         abi <abi/4.0>,\n\
         include <tunables/global>\n\n\
         profile sept \"{exe}\" flags=(unconfined) {{\n  userns,\n\n  include if exists <local/sept>\n}}\n"
    ))
    .map(|()| 0)
}
