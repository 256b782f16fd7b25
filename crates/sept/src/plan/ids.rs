//! Who may write which id map, and what must come before.

use std::ffi::CString;

use crate::command::Command;
use crate::error::{Advice, Error};
use crate::host::Host;
use crate::id_map::{self, IdRange, Setgroups};
use crate::namespace::Namespace;
use crate::plan::Duty;
use crate::plan::step::Step;

/// Who writes a map; user_namespaces(7), "Defining user and group ID mappings".
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writer {
    Nobody,
    /// One id, the caller's own: the child may write it, and nobody has to wait.
    Child,
    /// Any ids, with CAP_SETUID or CAP_SETGID.
    Parent,
    /// Subordinate ids, through a helper with those capabilities.
    Helper,
}

fn writer(map: &[IdRange], own: u32, privileged: bool) -> Writer {
    match map {
        [] => Writer::Nobody,
        [IdRange { outside, count: 1, .. }] if *outside == own => Writer::Child,
        _ if privileged => Writer::Parent,
        _ => Writer::Helper,
    }
}

pub(super) fn map(
    command: &Command,
    host: &Host,
    steps: &mut Vec<Step>,
    duties: &mut Vec<Duty>,
) -> Result<(), Error> {
    if !command.namespaces.contains(Namespace::User) {
        return Ok(());
    }
    let (uids, gids) = maps(command, host)?;
    id_map::check("user", &uids).map_err(Error::invalid)?;
    id_map::check("group", &gids).map_err(Error::invalid)?;

    let uid_writer = writer(&uids, host.uid, host.can_map_uids());
    let mut gid_writer = writer(&gids, host.gid, host.can_map_gids());
    if gid_writer == Writer::Child && host.can_map_gids() && command.setgroups == Some(Setgroups::Allow) {
        gid_writer = Writer::Parent;
    }
    let deny = match command.setgroups {
        Some(Setgroups::Allow) if gid_writer == Writer::Child => return Err(setgroups_denied()),
        Some(policy) => policy == Setgroups::Deny,
        // CVE-2014-8989: without it an ordinary user could drop a group that a file denies access to.
        None => gid_writer == Writer::Child,
    };
    if deny && command.groups.is_some() {
        return Err(Error::invalid_with(
            "supplementary groups can't be set where setgroups is denied",
            Advice::new(
                "an unprivileged group map, or the request itself, denies setgroups in the new user namespace",
                "leave the groups out, or map groups with privilege (as root, or by subordinate ids)",
            ),
        ));
    }

    // setgroups before gid_map: the kernel demands it, and refuses a change afterwards.
    if deny {
        steps.push(Step::DenySetgroups);
    }
    if uid_writer == Writer::Child {
        steps.push(Step::MapUid(line(&uids)));
    }
    if gid_writer == Writer::Child {
        steps.push(Step::MapGid(line(&gids)));
    }
    duties.extend(duty(uid_writer, "uid_map", "newuidmap", &uids));
    duties.extend(duty(gid_writer, "gid_map", "newgidmap", &gids));
    if !duties.is_empty() {
        // The parent's gid_map and the child's setgroups must not race.
        if deny && gid_writer == Writer::Parent {
            steps.retain(|step| *step != Step::DenySetgroups);
            duties.insert(0, Duty::Write { file: "setgroups", content: "deny".to_owned() });
        }
        steps.push(Step::AwaitMaps);
    }
    let (user, group) = (instead(&uids, host.uid), instead(&gids, host.gid));
    if !command.mounts.is_empty() && (user.is_some() || group.is_some()) {
        steps.push(Step::MakeFilesAs { user, group });
    }
    Ok(())
}

/// Who makes files where the caller has no number inside: root, or else the first that has one.
fn instead(map: &[IdRange], own: u32) -> Option<u32> {
    if map.iter().any(|range| range.inside_of(own).is_some()) {
        return None;
    }
    let holds_root = map.iter().any(|range| range.inside == 0);
    map.first().map(|first| if holds_root { 0 } else { first.inside })
}

fn duty(writer: Writer, file: &'static str, program: &'static str, map: &[IdRange]) -> Option<Duty> {
    match writer {
        Writer::Parent => Some(Duty::Write { file, content: lines(map) }),
        Writer::Helper => {
            let args = map.iter().flat_map(|range| [range.inside, range.outside, range.count]).collect();
            Some(Duty::Helper { program, args })
        }
        Writer::Nobody | Writer::Child => None,
    }
}

/// The maps of users and groups that the command's new user namespace gets.
pub(super) fn maps(command: &Command, host: &Host) -> Result<(Vec<IdRange>, Vec<IdRange>), Error> {
    let explicit = !command.uid_map.is_empty() || !command.gid_map.is_empty();
    if usize::from(command.map_all) + usize::from(command.subids.is_some()) + usize::from(explicit) > 1 {
        return Err(Error::invalid("explicit id maps, all ids, and subordinate ids exclude each other"));
    }
    if command.map_all {
        if !host.can_map_uids() || !host.can_map_gids() {
            return Err(Error::invalid_with(
                "mapping all ids needs CAP_SETUID and CAP_SETGID",
                Advice::new(
                    "the kernel lets others map only themselves",
                    "map only yourself: --map-root-user",
                )
                .or("map your subordinate ids: --map-auto"),
            ));
        }
        let identity = |map: &[IdRange]| map.iter().map(|r| IdRange { outside: r.inside, ..*r }).collect();
        return Ok((identity(&host.uid_map), identity(&host.gid_map)));
    }
    if let Some(layout) = command.subids {
        let uids = id_map::with_subids(layout, host.uid, &host.subuids);
        return Ok((uids, id_map::with_subids(layout, host.gid, &host.subgids)));
    }
    Ok((command.uid_map.clone(), command.gid_map.clone()))
}

fn setgroups_denied() -> Error {
    Error::invalid_with(
        "setgroups can't be allowed with an unprivileged group map",
        Advice::new(
            "dropping a group could give access to files that deny it (CVE-2014-8989)",
            "leave --setgroups out, or map groups with privilege (as root, or by subordinate ids: --map-auto)",
        ),
    )
}

pub(super) fn lines(map: &[IdRange]) -> String {
    map.iter().map(|range| format!("{range}\n")).collect()
}

fn line(map: &[IdRange]) -> CString {
    CString::new(lines(map).trim_end()).unwrap_or_default()
}
