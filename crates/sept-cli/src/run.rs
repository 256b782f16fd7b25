//! `sept run`: from the line to the exit code.

use std::os::fd::AsFd;
use std::time::Instant;

use lexopt::Parser;
use sept::{Command, Namespace, Namespaces, Stdio, Target};

use crate::build::{self, Built};
use crate::failure::Failure;
use crate::options;
use crate::pins;
use crate::report::{self, Report};
use crate::request::{self, Parsed, PlanFormat, Request};
use crate::supervise::{self, Early, Supervisor, Watch};
use crate::terminal::{self, Relay};

pub fn main(parser: &mut Parser) -> Result<u8, Failure> {
    let request = match request::parse(parser, &options::RUN)? {
        Parsed::Help => return report::print(&options::help(&options::RUN)).map(|()| 0),
        Parsed::Version => return crate::version(),
        Parsed::Run(request) => request,
    };
    let Built { mut command, namespaces, joins_pid } = build::build(&request)?;
    if let Some(format) = request.plan {
        return print_plan(&request, &mut command, format);
    }
    let mut report = Report::open(&request)?;
    let is_pid_1 = namespaces.contains(Namespace::Pid) && !request.init;
    let around = Around { is_pid_1, other_pids: is_pid_1 || joins_pid };
    match start_and_wait(&request, &mut command, around, &mut report) {
        Ok(outcome) => Ok(outcome),
        Err(failure) => {
            report.failed(&failure)?;
            Err(failure)
        }
    }
}

fn print_plan(request: &Request, command: &mut Command, format: PlanFormat) -> Result<u8, Failure> {
    if request.tty {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).controlling_terminal();
    }
    crate::unshare::print_plan(&command.plan()?, format)
}

/// What the command is to the processes around it.
#[derive(Clone, Copy)]
pub struct Around {
    /// Whether it is PID 1, for which the kernel drops signals that it leaves at their default.
    pub is_pid_1: bool,
    /// Whether its pid namespace is another one, in which our process group has no number.
    pub other_pids: bool,
}

/// Starts the command, stands between it and the outside, and passes on how it ended.
pub fn start_and_wait(
    request: &Request,
    command: &mut Command,
    around: Around,
    report: &mut Report,
) -> Result<u8, Failure> {
    let mut relay = if request.tty { Some(give_terminal(command)?) } else { None };
    let mut watch = Watch::new(request.timeout, request.die_with_parent)?;
    let begun = Instant::now();
    // Without a pid namespace the command sees our group by its number; a reaper's group is no job of the command's.
    let leads_job =
        around.other_pids && !request.tty && !request.new_session && supervise::is_foreground_job();
    if leads_job {
        command.foreground();
    }
    let plan = if report.is_wanted() { Some(command.plan()?) } else { None };
    let child = match spawn(request, command, &mut watch) {
        Ok(child) => child,
        Err(error) => {
            if leads_job {
                supervise::restore_terminal();
            }
            let code = given_up(&watch, error)?;
            report.given_up(code, watch.early, begun.elapsed())?;
            return Ok(code);
        }
    };
    // The command has its own copies; ours would keep the terminal open after its end.
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    if let Some(relay) = &mut relay {
        relay.resume();
    }
    let supervisor = Supervisor {
        child,
        watch: &watch,
        relay,
        is_pid_1: around.is_pid_1,
        has_init: request.init,
        leads_job,
        timed_out: false,
        carried_out: None,
    };
    let (outcome, usage, account) =
        supervisor.run().map_err(|error| Failure::io("cannot wait for the command", &error))?;
    if let Some(plan) = plan {
        report.ended(&plan, &outcome, usage, account, begun.elapsed())?;
    }
    Ok(outcome.code())
}

fn give_terminal(command: &mut Command) -> Result<Relay, Failure> {
    let (relay, peer) = terminal::open()?;
    let failed = |error| Failure::io("cannot make a terminal", &error);
    command.stdin(peer.as_fd().try_clone_to_owned().map_err(failed)?);
    command.stdout(peer.as_fd().try_clone_to_owned().map_err(failed)?);
    command.stderr(peer).controlling_terminal();
    Ok(relay)
}

/// With `--pin`, the namespaces are kept before the command begins.
fn spawn(request: &Request, command: &mut Command, watch: &mut Watch) -> Result<sept::Child, Failure> {
    let Some(name) = &request.pin else {
        return Ok(command.spawn_unless(|| watch.give_up())?);
    };
    pins::check_new(name)?;
    let parked = command.park_unless(|| watch.give_up())?;
    pins::pin(&Target::process(parked.id())?, Namespaces::NONE, name)?;
    parked.start().map_err(|error| {
        // What was kept is the namespaces of a command that never ran.
        if let Err(failure) = pins::unpin(name) {
            failure.print(false);
        }
        error.into()
    })
}

/// A start that was given up on purpose ends as the command would have.
fn given_up(watch: &Watch, error: Failure) -> Result<u8, Failure> {
    match watch.early {
        Some(Early::Signal(signal)) => Ok(128_u8.wrapping_add(signal as u8)),
        Some(Early::TimedOut) => Ok(124),
        Some(Early::ParentEnded) => Ok(125),
        None => Err(error),
    }
}
