//! The JSON of `--plan=json` and `--report`. Its shape is documented in docs/json.md.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fd::{BorrowedFd, RawFd};
use rustix::fs::OFlags;
use rustix::io::Errno;
use sept::plan::step::{Guard, Step};
use sept::{Account, Missing, Plan, Usage};
use serde_json::{Value, json};

use crate::degrade;
use crate::failure::{Failure, printable};
use crate::place;
use crate::request::Request;
use crate::supervise::{Early, Outcome};

/// A plan as JSON.
pub fn plan_json(plan: &Plan) -> Value {
    json!({
        "version": 1,
        "namespaces": plan.namespaces.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        "parent": plan.duties.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "steps": plan.steps.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "if_possible": plan.if_possible.iter().map(|layer| layer.name()).collect::<Vec<_>>(),
    })
}

/// The plan that was carried out, and the confinement in it that the kernel has more than one degree of.
fn enforced(plan: &Plan) -> Value {
    let mut json = plan_json(plan);
    let landlock = plan.steps.iter().find_map(|step| match step {
        Step::Landlock(rules) => Some(rules.abi),
        _ => None,
    });
    let filters = plan.steps.iter().filter_map(|step| match step {
        Step::Seccomp(filter) | Step::SeccompListener(filter) => Some(filter.name.as_str()),
        Step::Refuse(Guard::TerminalInjection) => Some("terminal injection"),
        Step::Refuse(Guard::CgroupNamespaces) => Some("cgroup namespaces"),
        Step::Refuse(Guard::UserNamespaces) => Some("user namespaces"),
        Step::Refuse(Guard::UnseenPorts) => Some("unseen ports"),
        Step::Refuse(Guard::OthersLimits) => Some("limits of others"),
        _ => None,
    });
    json["landlock_abi"] = json!(landlock);
    json["seccomp"] = filters.collect::<Vec<_>>().into();
    // It is inherited, too.
    let inherited = rustix::thread::no_new_privs().unwrap_or(false);
    json["no_new_privs"] = json!(inherited || plan.steps.contains(&Step::NoNewPrivs));
    json
}

/// Something worth knowing, and no error: on standard error, as a JSON object where errors are.
pub fn note(text: &str) {
    let line = if crate::wants_json_errors() {
        without_c1(&json!({ "note": text }).to_string()).into_owned()
    } else {
        format!("sept: note: {}", printable(text))
    };
    let _ = writeln!(io::stderr(), "{line}");
}

/// Where the report goes; opened before anything starts, so that a bad name is told first.
#[derive(Default)]
pub struct Report {
    /// With its name, where it was opened by one.
    files: Vec<(File, Option<PathBuf>)>,
    /// Only where somebody wants to know: the clock's page is one more to be mapped.
    begun: Option<Instant>,
}

impl Report {
    pub fn open(request: &Request) -> Result<Self, Failure> {
        let mut files = Vec::new();
        if let Some(path) = &request.report {
            files.push(match descriptor_of(path) {
                Some(fd) => (same(fd)?, None),
                None => (create(path).map_err(|error| not_to(path, &error))?, Some(path.clone())),
            });
        }
        if let Some(fd) = request.report_fd {
            files.push((same(fd)?, None));
        }
        Ok(Self { files, begun: None })
    }

    /// Now the command is started.
    pub fn begins(&mut self) {
        self.begun = self.is_wanted().then(Instant::now);
    }

    fn wall_seconds(&self) -> f64 {
        self.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64())
    }

    pub fn is_wanted(&self) -> bool {
        !self.files.is_empty()
    }

    pub fn ended(
        &mut self,
        plan: &Plan,
        missing: &[Missing],
        outcome: &Outcome,
        usage: Option<Usage>,
        account: Option<Account>,
    ) -> Result<(), Failure> {
        let cpu = |pick: fn(&Usage) -> Duration| usage.as_ref().map(|usage| pick(usage).as_secs_f64());
        // The cgroup counts those, too, whom nobody has waited for.
        let counted = |pick: fn(&Account) -> Option<Duration>| {
            account.as_ref().and_then(pick).map(|time| time.as_secs_f64())
        };
        let why = match account {
            Some(account) if account.peak_memory.is_some() => None,
            Some(_) => {
                Some("its cgroup does not count memory: that takes --memory and, with version 2, Linux 5.19")
            }
            None => Some("the command has no cgroup of its own to be measured by"),
        };
        self.write(&json!({
            "version": 1,
            "exit_code": outcome.code(),
            "signal": outcome.signal(),
            "timed_out": outcome.timed_out,
            "wall_seconds": self.wall_seconds(),
            "user_seconds": counted(|account| account.user).or(cpu(|usage| usage.user)),
            "system_seconds": counted(|account| account.system).or(cpu(|usage| usage.system)),
            "peak_memory_bytes": account.and_then(|account| account.peak_memory),
            "peak_memory_why": why,
            "oom_kills": account.and_then(|account| account.oom_kills),
            "enforced": enforced(plan),
            "missing": missing.iter().map(degrade::missing_json).collect::<Vec<_>>(),
            "error": Value::Null,
        }))
    }

    /// The start took too long, or was ended by a signal: no command has run.
    pub fn given_up(&mut self, code: u8, early: Option<Early>) -> Result<(), Failure> {
        let signal = match early {
            Some(Early::Signal(signal)) => Some(signal),
            _ => None,
        };
        self.write(&json!({
            "version": 1,
            "exit_code": code,
            "signal": signal,
            "timed_out": matches!(early, Some(Early::TimedOut)),
            "wall_seconds": self.wall_seconds(),
            "user_seconds": Value::Null,
            "system_seconds": Value::Null,
            "peak_memory_bytes": Value::Null,
            "peak_memory_why": "the command did not start",
            "oom_kills": Value::Null,
            "enforced": Value::Null,
            "missing": Value::Array(Vec::new()),
            "error": Value::Null,
        }))
    }

    pub fn failed(&mut self, failure: &Failure, missing: &[Missing]) -> Result<(), Failure> {
        self.write(&json!({
            "version": 1,
            "exit_code": failure.code,
            "missing": missing.iter().map(degrade::missing_json).collect::<Vec<_>>(),
            "error": failure.json(),
        }))
    }

    /// Once: what could not be written is not tried again.
    fn write(&mut self, report: &Value) -> Result<(), Failure> {
        let text = format!("{report}\n");
        for (mut file, path) in std::mem::take(&mut self.files) {
            // Whatever the command has written there meanwhile is no report. A pipe has no length.
            if path.is_some() {
                let _ = file.set_len(0);
            }
            file.write_all(text.as_bytes())
                .map_err(|error| Failure::io("cannot write the report", &error))?;
            if let Some(path) = path
                && !place::is_at(&file, &path).unwrap_or(false)
            {
                let what = format!("the report is not at {}", path.display());
                return Err(Failure::io(what, &io::Error::other("the file was moved or replaced"))
                    .why("COMMAND, or another, may write to that directory; what is there is not from sept")
                    .fix("let it write to a place that COMMAND does not get at, or to a pipe: --report-fd"));
            }
        }
        Ok(())
    }
}

/// No file that a link leads to, and no named pipe that has to be waited for: an earlier COMMAND may have left either.
fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = File::options();
    options.write(true).create(true).truncate(true).custom_flags(flags.bits() as i32);
    let file = options.open(path)?;
    // Only opening shall not wait: whoever reads from a pipe may be slow.
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

fn not_to(path: &Path, error: &io::Error) -> Failure {
    let failure = Failure::io(format!("cannot write the report to {}", path.display()), error);
    if error.raw_os_error() != Some(Errno::NXIO.raw_os_error()) {
        return failure;
    }
    failure
        .why("it is a named pipe that nobody reads, or a socket")
        .fix(format!("start what reads it first: cat {} &", path.display()))
        .fix("give a pipe that is open: --report-fd; or name a file")
}

/// The number that a path means which is only a name of an open descriptor. Opened by that name, a file would be written from
/// its beginning on, over what others have written.
fn descriptor_of(path: &Path) -> Option<RawFd> {
    match path.to_str()? {
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        path => ["/dev/fd/", "/proc/self/fd/"]
            .into_iter()
            .find_map(|dir| path.strip_prefix(dir)?.parse().ok().filter(|fd| *fd >= 0)),
    }
}

/// The same open file, with its position. The number itself is not ours to own.
fn same(fd: RawFd) -> Result<File, Failure> {
    let failed = |error: io::Error| {
        Failure::io(format!("cannot write the report to descriptor {fd}"), &error)
            .fix(format!("open it for writing: {fd}>FILE"))
    };
    let copy = sept::host::duplicate(fd).map_err(failed)?;
    let flags = rustix::fs::fcntl_getfl(&copy).map_err(|errno| failed(errno.into()))?;
    if flags.contains(OFlags::PATH) || flags & OFlags::ACCMODE == OFlags::RDONLY {
        return Err(failed(Errno::BADF.into()));
    }
    Ok(File::from(copy))
}

/// Standard output, for what is printed.
pub fn print(text: &str) -> Result<(), Failure> {
    print_bytes(without_c1(text).as_bytes())
}

/// Not by std's, to which a standard output that can't be written to is as good as one that can.
pub fn print_bytes(mut bytes: &[u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Who reads has enough.
            Err(Errno::PIPE) => return Ok(()),
            Err(errno) => return Err(Failure::io("cannot write to standard output", &errno.into())),
        }
    }
    Ok(())
}

/// JSON leaves these characters as they are, and some terminals obey them. Here they are as JSON escapes them.
pub fn without_c1(text: &str) -> Cow<'_, str> {
    let is_c1 = |c: char| matches!(c, '\u{7f}'..='\u{9f}') || crate::failure::turns(c);
    if !text.contains(is_c1) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if is_c1(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// Whether standard output is a terminal that may show colour.
pub fn colour() -> bool {
    let out: BorrowedFd<'_> = rustix::stdio::stdout();
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && rustix::termios::isatty(out)
}
