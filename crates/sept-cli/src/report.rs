//! The JSON of `--plan=json` and `--report`. Its shape is documented in docs/json.md.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use sept::plan::step::{Guard, Step};
use sept::{Account, Missing, Plan, Usage};
use serde_json::{Value, json};

use crate::degrade;
use crate::failure::{Failure, printable};
use crate::request::Request;
use crate::sink::Sink;
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
        Step::Refuse(Guard::UserNamespaces) => Some("user namespaces, if need be"),
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
    sinks: Vec<Sink>,
    /// Only where somebody wants to know: the clock's page is one more to be mapped.
    begun: Option<Instant>,
}

const WHAT: &str = "the report";

impl Report {
    pub fn open(request: &Request) -> Result<Self, Failure> {
        let by_path = request.report.iter().map(|path| Sink::at(path, WHAT));
        let by_number = request.report_fd.iter().map(|fd| Sink::by_number(*fd, WHAT));
        Ok(Self { sinks: by_path.chain(by_number).collect::<Result<_, _>>()?, begun: None })
    }

    /// Now the command is started.
    pub fn begins(&mut self) {
        self.begun = self.is_wanted().then(Instant::now);
    }

    fn wall_seconds(&self) -> f64 {
        self.begun.map_or(0.0, |begun| begun.elapsed().as_secs_f64())
    }

    pub fn is_wanted(&self) -> bool {
        !self.sinks.is_empty()
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
        std::mem::take(&mut self.sinks).into_iter().try_for_each(|sink| sink.write(&text))
    }
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
