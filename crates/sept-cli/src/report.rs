//! The JSON of `--plan=json` and `--report`. Its shape is documented in docs/json.md.

use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use rustix::fd::BorrowedFd;
use sept::{Account, Plan, Usage};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::request::Request;
use crate::supervise::{Early, Outcome};

/// A plan as JSON.
pub fn plan_json(plan: &Plan) -> Value {
    json!({
        "version": 1,
        "namespaces": plan.namespaces.iter().map(|kind| kind.name()).collect::<Vec<_>>(),
        "parent": plan.duties.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "steps": plan.steps.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// Where the report goes; opened before anything starts, so that a bad name is told first.
#[derive(Default)]
pub struct Report {
    files: Vec<File>,
}

impl Report {
    pub fn open(request: &Request) -> Result<Self, Failure> {
        let mut files = Vec::new();
        if let Some(path) = &request.report {
            let failed =
                |error| Failure::io(format!("cannot write the report to {}", path.display()), &error);
            files.push(File::create(path).map_err(failed)?);
        }
        if let Some(fd) = request.report_fd {
            let failed =
                |error: io::Error| Failure::io(format!("cannot write the report to descriptor {fd}"), &error);
            let path = format!("/proc/self/fd/{fd}");
            // Opened anew or, for what can't be (a socket), refused: the number itself is not ours to own.
            let file = File::options().append(true).open(path).map_err(failed)?;
            files.push(file);
        }
        Ok(Self { files })
    }

    pub fn is_wanted(&self) -> bool {
        !self.files.is_empty()
    }

    pub fn ended(
        &mut self,
        plan: &Plan,
        outcome: &Outcome,
        usage: Option<Usage>,
        account: Option<Account>,
        wall: Duration,
    ) -> Result<(), Failure> {
        let cpu = |pick: fn(&Usage) -> Duration| usage.as_ref().map(|usage| pick(usage).as_secs_f64());
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
            "wall_seconds": wall.as_secs_f64(),
            "user_seconds": cpu(|usage| usage.user),
            "system_seconds": cpu(|usage| usage.system),
            "peak_memory_bytes": account.and_then(|account| account.peak_memory),
            "peak_memory_why": why,
            "oom_kills": account.and_then(|account| account.oom_kills),
            "enforced": plan_json(plan),
            "error": Value::Null,
        }))
    }

    /// The start took too long, or was ended by a signal: no command has run.
    pub fn given_up(&mut self, code: u8, early: Option<Early>, wall: Duration) -> Result<(), Failure> {
        let signal = match early {
            Some(Early::Signal(signal)) => Some(signal),
            _ => None,
        };
        self.write(&json!({
            "version": 1,
            "exit_code": code,
            "signal": signal,
            "timed_out": matches!(early, Some(Early::TimedOut)),
            "wall_seconds": wall.as_secs_f64(),
            "user_seconds": Value::Null,
            "system_seconds": Value::Null,
            "peak_memory_bytes": Value::Null,
            "peak_memory_why": "the command did not start",
            "oom_kills": Value::Null,
            "enforced": Value::Null,
            "error": Value::Null,
        }))
    }

    pub fn failed(&mut self, failure: &Failure) -> Result<(), Failure> {
        self.write(&json!({ "version": 1, "exit_code": failure.code, "error": failure.json() }))
    }

    fn write(&mut self, report: &Value) -> Result<(), Failure> {
        let text = format!("{report}\n");
        for file in &mut self.files {
            file.write_all(text.as_bytes())
                .map_err(|error| Failure::io("cannot write the report", &error))?;
        }
        Ok(())
    }
}

/// Standard output, for what is printed.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::io("cannot write to standard output", &error))
        }
        _ => Ok(()),
    }
}

/// Whether standard output is a terminal that may show colour.
pub fn colour() -> bool {
    let out: BorrowedFd<'_> = rustix::stdio::stdout();
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && rustix::termios::isatty(out)
}
