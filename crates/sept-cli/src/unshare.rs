//! `sept unshare`: every option with the meaning that it has in unshare(1).

use lexopt::Parser;
use sept::{CapabilitySet, Command, Host, IdRange, Mount, Namespace, Namespaces};

use crate::failure::Failure;
use crate::options;
use crate::own;
use crate::report;
use crate::request::{self, Parsed, PlanFormat, Request};
use crate::run::{self, Around};

pub fn main(parser: &mut Parser) -> Result<u8, Failure> {
    unshare(parser).map_err(|failure| failure.for_page(&options::UNSHARE))
}

fn unshare(parser: &mut Parser) -> Result<u8, Failure> {
    let request = match request::parse(parser, &options::UNSHARE)? {
        Parsed::Help => return report::print(&options::help(&options::UNSHARE)).map(|()| 0),
        Parsed::Version => return crate::version(),
        Parsed::Run(request) => request,
    };
    if request.root.is_some() && request.plan.is_none() {
        own::restart_out_of_reach()?;
    }
    let mut set = request.given;
    request.implied.iter().for_each(|(kind, _)| set.insert(*kind));
    let mut command = build(&request, set)?;
    if let Some(format) = request.plan {
        let plan = if request.fork { command.plan()? } else { command.plan_in_place()? };
        return print_plan(&plan, format);
    }
    if !request.fork {
        Failure::from(command.exec()).for_page(&options::UNSHARE).end();
    }
    let around = Around {
        is_pid_1: set.contains(Namespace::Pid),
        other_pids: set.contains(Namespace::Pid),
        adopts: false,
        agent: None,
    };
    run::start_and_wait(&request, &mut command, around, &mut report::Report::default())
}

pub fn print_plan(plan: &sept::Plan, format: PlanFormat) -> Result<u8, Failure> {
    match format {
        PlanFormat::Text => report::print(&plan.to_string())?,
        PlanFormat::Json => report::print(&format!("{}\n", report::plan_json(plan)))?,
    }
    Ok(0)
}

fn build(request: &Request, set: Namespaces) -> Result<Command, Failure> {
    let (program, args) = crate::build::program(request);
    let mut command = Command::new(program);
    command.args(args).unshare(set.iter());
    maps(request, &mut command)?;
    if let Some(policy) = request.setgroups {
        command.setgroups(policy);
    }
    if let Some(uid) = request.uid {
        // As unshare(1): without -G they stay.
        command.uid(uid).keep_groups();
    }
    if let Some(gid) = request.gid {
        command.gid(gid).groups([]);
    }
    if request.keep_caps {
        command.keep_capabilities();
    }
    if let Some(seconds) = request.monotonic {
        command.monotonic_offset(seconds);
    }
    if let Some(seconds) = request.boottime {
        command.boottime_offset(seconds);
    }
    if let Some(propagation) = request.propagation.filter(|_| set.contains(Namespace::Mount)) {
        command.propagation(propagation);
    }
    if let Some(root) = &request.root {
        crate::build::refuse_directories()?;
        command.chroot(root);
    }
    if let Some(dir) = &request.mount_proc {
        command.mount(Mount::proc(dir));
    }
    if let Some(dir) = &request.mount_binfmt {
        command.mount(Mount::binfmt_misc(dir));
        if let Some(line) = &request.interpreter {
            command.load_interpreter(dir, line.as_str());
        }
    }
    if let Some(dir) = &request.wd {
        command.current_dir(dir);
    }
    for (kind, file) in &request.files {
        command.persist(*kind, file);
    }
    if let Some(signal) = request.kill_child {
        command.parent_death_signal(signal);
    }
    // Whoever has no namespace of its own may lack the right to a filter; but then it is the caller itself, who could not become
    // another.
    if !set.is_empty() || Host::caller().capabilities.contains(CapabilitySet::SYS_ADMIN) {
        crate::build::guard_terminal(&mut command, &request.keep);
    }
    Ok(command)
}

/// A single id, which lies over a range where that has it, too; the range makes room.
fn maps(request: &Request, command: &mut Command) -> Result<(), Failure> {
    let host = Host::caller();
    if request.map_root && request.map_current {
        return Err(Failure::usage("--map-root-user and --map-current-user contradict each other"));
    }
    let single = |named: Option<u32>, own: u32| {
        let inside = named.or(request.map_root.then_some(0)).or(request.map_current.then_some(own))?;
        Some(IdRange { inside, outside: own, count: 1 })
    };
    let (mut users, mut groups) = (request.map_users.clone(), request.map_groups.clone());
    let (auto_users, auto_groups) = (request.map_auto, request.map_auto || request.map_auto_groups);
    if auto_users || auto_groups {
        let (subuids, subgids) = sept::host::subordinate_ids(host.uid)?;
        let first = |ranges: &[(u32, u32)]| {
            ranges.first().map(|(outside, count)| IdRange { inside: 0, outside: *outside, count: *count })
        };
        users.extend(first(&subuids).filter(|_| auto_users));
        groups.extend(first(&subgids).filter(|_| auto_groups));
    }
    if request.map_all || request.map_all_groups {
        let (own_users, own_groups) = sept::host::own_maps()?;
        let identity = |range: &IdRange| IdRange { outside: range.inside, ..*range };
        users.extend(own_users.iter().map(identity).filter(|_| request.map_all));
        groups.extend(own_groups.iter().map(identity).filter(|_| request.map_all_groups));
    }
    for range in with_single(single(request.map_user, host.uid), users) {
        command.map_uid(range.inside, range.outside, range.count);
    }
    for range in with_single(single(request.map_group, host.gid), groups) {
        command.map_gid(range.inside, range.outside, range.count);
    }
    Ok(())
}

/// The single id first, and the ranges around it: what lies above it inside moves up by one, and the last falls out.
fn with_single(single: Option<IdRange>, ranges: Vec<IdRange>) -> Vec<IdRange> {
    let Some(single) = single else { return ranges };
    let mut all = vec![single];
    for range in ranges {
        let below = single.inside.checked_sub(range.inside).filter(|below| *below < range.count);
        let Some(below) = below else {
            all.push(range);
            continue;
        };
        let parts = [
            IdRange { count: below, ..range },
            IdRange {
                inside: single.inside + 1,
                // Past the last id it is no map, which is said later.
                outside: range.outside.saturating_add(below),
                count: range.count - below - 1,
            },
        ];
        all.extend(parts.into_iter().filter(|part| part.count > 0));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange { inside, outside, count }
    }

    #[test]
    fn a_range_makes_room_for_a_single_id() {
        let subids = vec![range(0, 165_536, 65_536)];
        assert_eq!(
            with_single(Some(range(0, 1002, 1)), subids.clone()),
            [range(0, 1002, 1), range(1, 165_536, 65_535)]
        );
        assert_eq!(
            with_single(Some(range(1002, 1002, 1)), subids.clone()),
            [range(1002, 1002, 1), range(0, 165_536, 1002), range(1003, 166_538, 64_533)]
        );
        assert_eq!(with_single(None, subids.clone()), subids);
        assert_eq!(
            with_single(Some(range(70_000, 5, 1)), subids),
            [range(70_000, 5, 1), range(0, 165_536, 65_536)]
        );
    }
}
