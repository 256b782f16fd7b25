//! Limits, ids, capabilities and filters: from more rights to fewer, each with the rights that it needs still there.

use std::ffi::CString;
use std::path::Path;

use crate::capability::CapabilitySet;
use crate::command::Command;
use crate::error::{Advice, Error};
use crate::host::Host;
use crate::landlock::{self, Landlock, Scope};
use crate::layer::Layer;
use crate::mount::Stay;
use crate::namespace::Namespace;
use crate::plan::step::{Guard, LandlockRules, Step};
use crate::plan::{Way, join, path};
use crate::seccomp::{Filter, Flags};

pub(super) fn steps(command: &Command, host: &Host, steps: &mut Vec<Step>) -> Result<(), Error> {
    steps.extend(command.rlimits.iter().copied().map(Step::SetRlimit));
    if command.core_scheduling {
        steps.push(Step::CoreScheduling);
    }
    // A filter, and Landlock, need no_new_privs or CAP_SYS_ADMIN; a change of user or capabilities ends the latter. So
    // where there is no no_new_privs, they come first.
    if !command.no_new_privs {
        restrict(command, host, steps)?;
    }
    // While CAP_SETPCAP is there.
    steps.extend(bounding(command).map(Step::LimitBounding));
    steps.extend(command.securebits.map(Step::Securebits));
    // Groups before the user: a user other than root may change neither.
    if !join::drops_groups_early(command, host) {
        steps.extend(command.groups.clone().map(Step::SetGroups));
    }
    // Root's groups are no business of the user that its child becomes, says std, too.
    let as_root = command.uid.is_some() && host.uid == 0 && !command.keep_groups;
    if command.groups.is_none() && (command.drop_groups_if_allowed || as_root) {
        steps.push(Step::DropGroupsIfAllowed);
    }
    steps.extend(command.gid.map(Step::SetGid));
    if command.uid.is_some() && command.capabilities.is_some_and(|sets| !sets.permitted.is_empty()) {
        steps.push(Step::KeepOverIds);
    }
    steps.extend(command.uid.map(Step::SetUid));
    // The new user's keyring, not the old one's.
    if command.new_keyring {
        steps.push(Step::NewKeyring);
    }
    steps.extend(command.capabilities.map(Step::SetCapabilities));
    // The kernel forgets the parent-death signal at each change of ids.
    if command.uid.is_some() || command.gid.is_some() {
        steps.extend(command.parent_death_signal.map(Step::DieWithParent));
    }
    // Before no_new_privs, which forbids most changes of context.
    steps.extend(command.selinux_label.clone().map(Step::SelinuxLabel));
    if let Some(profile) = &command.apparmor_profile {
        let word = [b"exec ", profile.as_bytes()].concat();
        let word = CString::new(word).map_err(|_| Error::invalid("the AppArmor profile holds a NUL byte"))?;
        steps.push(Step::ApparmorProfile(word));
    }
    if command.keep_capabilities {
        steps.push(Step::KeepCapabilities);
    }
    if command.no_new_privs {
        steps.push(Step::NoNewPrivs);
        restrict(command, host, steps)?;
    }
    Ok(())
}

/// What both requests leave.
fn bounding(command: &Command) -> Option<CapabilitySet> {
    let of_sets = command.capabilities.map(|sets| sets.bounding);
    [of_sets, command.bounding].into_iter().flatten().reduce(CapabilitySet::both)
}

fn restrict(command: &Command, host: &Host, steps: &mut Vec<Step>) -> Result<(), Error> {
    let mut asked = command.landlock.clone();
    if command.if_possible.contains(&Layer::Landlock) {
        asked.fit(host.landlock_abi.unwrap_or(0));
    }
    let guards = guards(command, &asked);
    if !asked.is_empty() {
        steps.push(Step::Landlock(landlock(&asked, host)?));
    }
    steps.extend(guards.map(Step::Refuse));
    // With no_new_privs they are the last step but exec.
    if !command.no_new_privs {
        steps.extend(filters(command));
    }
    Ok(())
}

/// The directory in which the command will be is not the caller's.
fn from_the_root(place: &Path) -> Result<CString, Error> {
    if place.is_relative() && !place.as_os_str().is_empty() {
        return Err(refused(
            format!("the path {} for Landlock is not an absolute one", place.display()),
            "it is looked up inside, from the root on",
            "name it from the root on, as it is seen inside",
        ));
    }
    path("a path for Landlock", place)
}

/// The small filters of sept's own, with what Landlock is asked for.
pub(crate) fn guards(command: &Command, landlock: &Landlock) -> impl Iterator<Item = Guard> + use<> {
    // In a pid namespace of its own it has numbers only for what is in there.
    let names_others = !command.namespaces.contains(Namespace::Pid);
    let keeps =
        command.keeps_in_place == Some(true) && command.mounts.iter().any(|mount| mount.stay > Stay::Fixed);
    let guards = [
        (
            command.guards_landlock && names_others && landlock.scopes.contains(&Scope::Signals),
            Guard::OthersLimits,
        ),
        (command.guards_landlock && landlock.confines_ports(), Guard::UnseenPorts),
        (command.refuse_terminal_injection, Guard::TerminalInjection),
        (command.refuse_cgroup_namespaces, Guard::CgroupNamespaces),
        (keeps, Guard::UserNamespaces),
    ];
    guards.into_iter().filter_map(|(is, guard)| is.then_some(guard))
}

/// The filters. The one that asks a listener is the last, so that putting on another is nothing to be asked about.
pub(super) fn filters(command: &Command) -> impl Iterator<Item = Step> {
    let (asking, plain): (Vec<_>, Vec<_>) = command.filters.iter().cloned().partition(Filter::notifies);
    plain.into_iter().map(Step::Seccomp).chain(asking.into_iter().map(Step::SeccompListener))
}

/// Refuses filters that ask nobody, and listeners that nobody asks.
pub(super) fn check_filters(command: &Command, way: Way) -> Result<(), Error> {
    let (asking, plain): (Vec<&Filter>, Vec<_>) =
        command.filters.iter().partition(|filter| filter.notifies());
    if let Some(filter) = plain.iter().find(|filter| filter.flags.contains(Flags::WAIT_KILLABLE_RECV)) {
        return Err(refused(
            format!("the filter {} has the flag wait-killable-recv, and asks no listener", filter.name),
            "the flag says how a call waits for a listener's answer, and the kernel refuses it otherwise",
            "leave the flag out",
        ));
    }
    match (asking.as_slice(), command.seccomp_listener) {
        ([], false) => Ok(()),
        ([], true) => Err(Error::invalid("a seccomp listener was asked for, and no filter asks one")),
        ([filter, ..], false) => Err(refused(
            format!("the filter {} asks a listener about calls, and there is none", filter.name),
            "without somebody who answers, such calls would all fail",
            "ask for the listener, too: Command::seccomp_listener; on the command line: --seccomp-listener",
        )),
        ([_], true) => check_listener(command, way),
        ([one, other, ..], true) => Err(refused(
            format!("the filters {} and {} both ask a listener", one.name, other.name),
            "the kernel lets one filter of a process have a listener",
            "put what is to be asked about into one policy",
        )),
    }
}

fn check_listener(command: &Command, way: Way) -> Result<(), Error> {
    if way == Way::InPlace {
        return Err(Error::invalid("a command in place can't have a seccomp listener: nobody would hold it"));
    }
    if command.init && !command.no_new_privs {
        return Err(refused(
            "a seccomp listener and a reaper contradict each other without no_new_privs".to_owned(),
            "the filter would be put on before the reaper is made, and ask about the reaper's calls, too",
            "allow no new privileges: --no-new-privs",
        ));
    }
    Ok(())
}

fn refused(what: String, why: &str, fix: &str) -> Error {
    Error::invalid_with(what, Advice::new(why, fix))
}

fn landlock(asked: &Landlock, host: &Host) -> Result<LandlockRules, Error> {
    let abi = host.landlock_abi.unwrap_or(0);
    let least = asked.least_abi();
    if abi < least {
        let has = if abi == 0 { "has no Landlock".to_owned() } else { format!("has ABI {abi}") };
        let error = Error::invalid_with(
            format!("what is asked of Landlock takes its ABI {least}, and this kernel {has}"),
            Advice::new(
                "files are ABI 1 (Linux 5.13), TCP ports 4 (6.7), abstract sockets and signals 6 (6.12)",
                "use a newer kernel, one booted with lsm=landlock, or leave it out",
            ),
        );
        return Err(error.lacks(Layer::Landlock));
    }
    let ports = asked.ports.iter().map(|(_, access)| *access).chain(asked.no_ports.iter().copied());
    let all = landlock::all_files(abi);
    Ok(LandlockRules {
        abi,
        handled_files: if asked.paths.is_empty() { 0 } else { all },
        handled_ports: ports.fold(0, |bits, access| bits | access.bit()),
        scoped: asked.scopes.iter().fold(0, |bits, scope| bits | scope.bit()),
        paths: asked
            .paths
            .iter()
            .map(|(place, access)| Ok((from_the_root(place)?, access.bits(abi))))
            .collect::<Result<_, Error>>()?,
        ports: asked.ports.iter().map(|(port, access)| (*port, access.bit())).collect(),
        asked: asked.clone(),
    })
}
