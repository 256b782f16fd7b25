//! Which namespaces are joined in which order.

use crate::command::Command;
use crate::error::{Advice, Error};
use crate::host::{Host, JoinFact};
use crate::namespace::{Namespace, Namespaces};
use crate::plan::Way;
use crate::plan::step::Step;

pub(super) fn steps(command: &Command, host: &Host, way: Way, steps: &mut Vec<Step>) -> Result<(), Error> {
    if host.joins.is_empty() {
        return Ok(());
    }
    if command.init && host.joins.iter().any(|join| join.kind == Namespace::Pid) {
        return Err(Error::invalid_with(
            "a reaper can't be PID 1 of a pid namespace that is joined: it has one",
            Advice { why: vec![], fix: vec!["leave --init out".to_owned()] },
        ));
    }
    let joins_user = host.joins.iter().any(|join| join.kind == Namespace::User);
    if joins_user && offsets(command) && !host.may_write_hidden() {
        return Err(Error::invalid_with(
            "clock offsets can't be set in a user namespace that is joined",
            Advice::new(
                "who joins it must not be traced there, and a process that can't be traced writes no file of its own in /proc",
                "join it first, and set them from there: sept enter -U TARGET sept run -T --monotonic …",
            ),
        ));
    }
    // Before anything inside may see this process: whoever has rights there could reach into its memory.
    if !hides_late(command, host) {
        steps.push(Step::Hide);
    }
    // With the rights of outside: inside, setgroups may be denied.
    if drops_groups_early(command, host) {
        steps.push(Step::SetGroups(Vec::new()));
    }
    // What the joined user namespace does not own is joined with the rights that are there before; the rest with those
    // that it gives. The kernel, asked for several at once, takes the user namespace first.
    group(host, |join| join.kind != Namespace::User && !join.owned_by_joined, steps);
    let user = host.joins.iter().find(|join| join.kind == Namespace::User);
    if let Some(user) = user {
        group(
            host,
            |join| join.from == user.from && (join.kind == Namespace::User || join.owned_by_joined),
            steps,
        );
        group(host, |join| join.from != user.from && join.owned_by_joined, steps);
    }
    // A joined pid namespace is that of children; a joined time namespace can't be entered in shared memory.
    if way == Way::Spawn {
        steps.push(Step::Fork(command.namespaces));
        steps.extend(command.parent_death_signal.map(Step::DieWithParent));
    }
    Ok(())
}

/// One step for each target, of the kinds that are wanted.
fn group(host: &Host, wanted: impl Fn(&JoinFact) -> bool, steps: &mut Vec<Step>) {
    let mut wanted: Vec<&JoinFact> = host.joins.iter().filter(|join| wanted(join)).collect();
    wanted.sort_by_key(|join| join.from);
    for same in wanted.chunk_by(|one, other| one.from == other.from) {
        let kinds: Namespaces = same.iter().map(|join| join.kind).collect();
        steps.extend(same.first().map(|join| Step::Join { kinds, from: join.from, of: join.of.clone() }));
    }
}

/// Whether files of /proc/self are written after the join that a hidden process may not write. Where a user namespace is joined neither is
/// asked for, by `validate` and `steps`: who has rights there could trace it meanwhile.
pub(super) fn hides_late(command: &Command, host: &Host) -> bool {
    (command.namespaces.contains(Namespace::User) || offsets(command)) && !host.may_write_hidden()
}

fn offsets(command: &Command) -> bool {
    command.monotonic.is_some() || command.boottime.is_some()
}

/// Whether the supplementary groups are dropped before a user namespace is joined.
pub(super) fn drops_groups_early(command: &Command, host: &Host) -> bool {
    let joins_user = host.joins.iter().any(|join| join.kind == Namespace::User);
    joins_user && host.can_map_gids() && command.groups.as_ref().is_some_and(Vec::is_empty)
}
