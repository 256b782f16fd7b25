//! `sept run`: from the line to the exit code.

use std::os::fd::AsFd;

use lexopt::Parser;
use sept::{Command, Missing, Namespace, Namespaces, Plan, Stdio, Target};

use crate::build::{self, Built};
use crate::degrade;
use crate::descendants::Descendants;
use crate::failure::Failure;
use crate::job::{self, Background};
use crate::options;
use crate::own;
use crate::pins;
use crate::policy::Agent;
use crate::report::{self, Report};
use crate::request::{self, Parsed, PlanFormat, Request};
use crate::supervise::{Early, Supervisor, Watch};
use crate::terminal::{self, Relay};

pub fn main(parser: &mut Parser) -> Result<u8, Failure> {
    let request = match request::parse(parser, &options::RUN)? {
        Parsed::Help => return report::print(&options::help(&options::RUN)).map(|()| 0),
        Parsed::Version => return crate::version(),
        Parsed::Run(request) => request,
    };
    if request.has_other_files() && request.plan.is_none() && !build::is_alone_inside(&request)? {
        own::restart_out_of_reach()?;
    }
    if let Some(format) = request.plan {
        return print_plan(&request, build::build(&request)?, format);
    }
    let mut report = Report::open(&request)?;
    carry_out(&request, &mut report).map_err(|(failure, missing)| {
        // That of the failure is told, whatever becomes of the report.
        if let Err(other) = report.failed(&failure, &missing) {
            other.print(crate::wants_json_errors());
        }
        failure
    })
}

/// What could not be done, with what was given up before.
type Failed = (Failure, Vec<Missing>);

fn carry_out(request: &Request, report: &mut Report) -> Result<u8, Failed> {
    let early = |failure: Failure| (failure, Vec::new());
    let built = build::build(request).map_err(early)?;
    let (other_pids, is_pid_1) = (built.has_other_pids(), built.is_pid_1(request));
    let Built { mut command, agent, .. } = built;
    // Without a scope the library finds out itself that it may make no cgroup, and does without.
    if let Err(failure) = request.limits.place(request.is_reported(), &mut command)
        && !degrade::may_lack_limits(request)
    {
        return Err(early(failure));
    }
    // One that can be given up may not be there in the end.
    let adopts = !other_pids || !request.if_possible.is_empty();
    let around = Around { is_pid_1, other_pids, adopts, agent: agent.as_ref() };
    start_and_wait(request, &mut command, around, report)
        .map_err(|failure| (failure, command.missing().to_vec()))
}

fn print_plan(request: &Request, built: Built, format: PlanFormat) -> Result<u8, Failure> {
    let other_pids = built.has_other_pids();
    let Built { mut command, agent, .. } = built;
    if request.tty {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).controlling_terminal();
    }
    if leads_job(request, other_pids) {
        command.foreground();
    }
    crate::unshare::print_plan(&plan(request, &command, agent.as_ref())?, format)
}

/// What is done for this command, which waits where others have to do with it before it begins.
fn plan(request: &Request, command: &Command, agent: Option<&Agent>) -> Result<Plan, Failure> {
    let plan = if is_parked(request, agent) { command.plan_parked() } else { command.plan() };
    plan.map_err(|error| degrade::explain(request, error))
}

fn is_parked(request: &Request, agent: Option<&Agent>) -> bool {
    request.pin.is_some() || agent.is_some()
}

/// Whether the command is to lead the job on the terminal. Without a pid namespace of its own it sees our group by its number.
fn leads_job(request: &Request, other_pids: bool) -> bool {
    other_pids && !request.tty && !request.new_session && job::may_be_led()
}

/// What the command is to the processes around it.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Whether it is PID 1, for which the kernel drops signals that it leaves at their default.
    pub is_pid_1: bool,
    /// Whether its pid namespace is another one, in which our process group has no number.
    pub other_pids: bool,
    /// Whether what it has started is to end with it where it has no pid namespace of its own.
    pub adopts: bool,
    /// Who answers the calls that its filter asks about.
    pub agent: Option<&'a Agent>,
}

/// Starts the command, stands between it and the outside, and passes on how it ended.
pub fn start_and_wait(
    request: &Request,
    command: &mut Command,
    around: Around<'_>,
    report: &mut Report,
) -> Result<u8, Failure> {
    let mut relay = if request.tty { Some(give_terminal(command)?) } else { None };
    let mut watch = Watch::new(request.timeout, request.die_with_parent)?;
    report.begins();
    let leads_job = leads_job(request, around.other_pids);
    if leads_job {
        command.foreground();
    }
    let mut planned = report.is_wanted().then(|| plan(request, command, around.agent)).transpose()?;
    let mut descendants = around.adopts.then(Descendants::adopt).transpose()?;
    let spawned = spawn(request, command, around.agent, &mut watch, descendants.as_mut());
    degrade::tell(command.missing());
    let child = match spawned {
        Ok(child) => child,
        Err(error) => {
            if leads_job {
                job::restore_terminal();
            }
            let code = given_up(&watch, error)?;
            report.given_up(code, watch.early)?;
            if watch.early.and_then(Early::signal) == Some(libc::SIGINT) {
                watch.end_as_interrupted();
            }
            return Ok(code);
        }
    };
    if !command.missing().is_empty() && report.is_wanted() {
        // That of the try that went well.
        planned = plan(request, command, around.agent).ok().or(planned);
    }
    // The command has its own copies; ours would keep the terminal open after its end.
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let background = if leads_job { None } else { Background::at_start() };
    if let (Some(relay), None) = (&mut relay, &background) {
        relay.resume();
    }
    let has_own_pids = command.namespaces().contains(Namespace::Pid);
    let is_pid_1 = around.is_pid_1 && has_own_pids;
    let supervisor = Supervisor {
        is_pid_1,
        descendants: descendants.filter(|_| !has_own_pids),
        has_session: request.new_session,
        has_init: request.init,
        leads_job,
        background,
        ..Supervisor::new(child, &mut watch, relay)
    };
    let (outcome, usage, account) =
        supervisor.run().map_err(|error| Failure::io("cannot wait for the command", &error))?;
    if let Some(plan) = planned {
        report
            .ended(&plan, command.missing(), &outcome, usage, account)
            .map_err(|failure| failure.why(format!("COMMAND itself has ended, with {}", outcome.code())))?;
    }
    if outcome.is_interrupted(is_pid_1, &watch) {
        watch.end_as_interrupted();
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

/// With `--pin`, the namespaces are kept before the command begins; a listener is handed over before, too.
fn spawn(
    request: &Request,
    command: &mut Command,
    agent: Option<&Agent>,
    watch: &mut Watch,
    descendants: Option<&mut Descendants>,
) -> Result<sept::Child, Failure> {
    if !is_parked(request, agent) {
        return command.spawn_unless(|| watch.give_up()).map_err(|error| degrade::explain(request, error));
    }
    request.pin.as_deref().map(pins::check_new).transpose()?;
    let connection = agent.map(Agent::connect).transpose()?;
    let mut parked =
        command.park_unless(|| watch.give_up()).map_err(|error| degrade::explain(request, error))?;
    if let (Some(connection), Some(listener)) = (connection, parked.seccomp_listener()) {
        connection.send(&listener, parked.id(), request.root.as_deref())?;
    }
    if let Some(name) = &request.pin {
        pins::pin(&[Target::process(parked.id())?], Namespaces::NONE, name)?;
        // The keeper, if that took one.
        descendants.into_iter().for_each(|descendants| descendants.spare_all_but(parked.id()));
    }
    parked.start_unless(|| watch.give_up()).map_err(|error| {
        // What was kept is the namespaces of a command that never ran.
        if let Some(Err(failure)) = request.pin.as_deref().map(pins::unpin) {
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
