//! What the options of a mount come to, and which of them fit it.

use crate::command::Command;
use crate::error::{Advice, Error};
use crate::host::Host;
use crate::id_map::{self, IdRange};
use crate::mount::{IdMap, Ids, Mount, MountKind, MountOptions, Propagation, meant};
use crate::namespace::Namespace;
use crate::plan::ids;
use crate::plan::step::{Attributes, Change, IdMapped, Source, Step};
use crate::sys::attr::RDONLY;

/// What is set on `mount`: `base` by itself, then its options.
pub(super) fn change(command: &Command, mount: &Mount, base: Attributes) -> Result<Change, Error> {
    let remount = mount.is_remount();
    if remount && mount.options.as_ref().is_none_or(MountOptions::changes_nothing) {
        return Err(no_change(mount));
    }
    let Some(options) = &mount.options else {
        return Ok(Change::of(base));
    };
    check(command, mount, options)?;
    let base = if remount { Attributes::NONE } else { base };
    let shown = !remount && shows(&mount.kind);
    // Of the others none has words that are its own.
    let kind = match &mount.kind {
        MountKind::FileSystem { kind, .. } => kind.as_str(),
        _ => "",
    };
    let mut change = Change {
        data: if shown { vec![] } else { options.for_file_system((!remount).then_some(kind)) },
        all: base.then(options.all),
        top: options.top,
        copy_up: options.copy_up,
        words: options.to_string(),
    };
    if options.copy_up {
        // It is written to first: `becomes_read_only` tells that more is to be done.
        change.data.retain(|(word, _)| word.as_c_str() != c"ro");
        change.all.set &= !RDONLY;
        change.top.set &= !RDONLY;
    }
    Ok(change)
}

/// A remount that would be done and change nothing, most of all where a new mount was meant.
fn no_change(mount: &Mount) -> Error {
    let advice = Advice { why: vec![], fix: vec!["say what changes: --options ro,noexec".to_owned()] };
    let advice = match mount.kind {
        MountKind::Remount => advice,
        _ => advice.or("leave the word remount out, for a new mount"),
    };
    let target = mount.target.display();
    Error::invalid_with(
        format!("a remount of {target} changes nothing: none of its options says what"),
        advice,
    )
}

/// Whether a tmpfs is to be read-only once it has its copy.
pub(super) fn becomes_read_only(mount: &Mount) -> bool {
    let options = mount.options.as_ref().filter(|options| options.copy_up);
    options.is_some_and(|options| (options.all.then(options.top).set) & RDONLY != 0)
}

fn refused(what: String, why: &str, fix: &str) -> Error {
    Error::invalid_with(what, Advice::new(why, fix))
}

/// Words that do not fit are an error: what was asked for is had, or told.
fn check(command: &Command, mount: &Mount, options: &MountOptions) -> Result<(), Error> {
    let target = mount.target.display();
    let bind = matches!(mount.kind, MountKind::Bind { .. });
    let remount = mount.is_remount();
    let shows = shows(&mount.kind) && !remount;
    if !shows && !remount && !is_file_system(&mount.kind) {
        return Err(Error::invalid(format!("{options:?} stands with {target}, which is no mount")));
    }
    let of_the_whole = options.of_the_whole();
    if let Some(word) = of_the_whole.first().filter(|_| shows || options.reach.is_some()) {
        let is_unknown = options.data.iter().any(|(key, value)| key == word && value.is_none());
        if is_unknown {
            let near = meant(word).map(|meant| format!("perhaps {meant} was meant"));
            return Err(refused(
                format!("{word:?} on {target} is no word of mount(8)"),
                "it may be one of a file system, and a bind only shows one that is mounted",
                &near.unwrap_or_else(|| "leave it out, or mount the file system with it outside".to_owned()),
            ));
        }
        return Err(refused(
            format!("{word:?} on {target} is about a file system as a whole, and a bind only shows one"),
            "a mount has these of its own: ro, nosuid, nodev, noexec, noatime, relatime, strictatime, nodiratime, nosymfollow",
            "leave it out, or mount the file system with it outside",
        ));
    }
    if options.reach.is_some() && !bind && !remount {
        return Err(Error::invalid(format!(
            "{options} makes a bind of {target}, which is a new file system"
        )));
    }
    let in_memory = match &mount.kind {
        MountKind::Tmpfs { .. } => true,
        MountKind::FileSystem { kind, .. } => matches!(kind.as_str(), "tmpfs" | "ramfs"),
        _ => false,
    };
    if options.copy_up && (!in_memory || remount) {
        return Err(refused(
            format!("tmpcopyup stands with {target}, which is no new tmpfs"),
            "it fills a tmpfs with a copy of what that covers",
            "ask for a tmpfs, or leave it out",
        ));
    }
    if options.id_map.is_some() && (!bind || remount) {
        return Err(refused(
            format!("the owners of {target} can't be mapped"),
            "only a bind is mapped, before it is attached",
            "leave the map out, or bind it",
        ));
    }
    let slave = libc::MS_SLAVE;
    let private = matches!(command.propagation, None | Some(Propagation::Private));
    if bind && private && (options.all.propagation == slave || options.top.propagation == slave) {
        return Err(refused(
            format!("{target} can't be a slave of a mount outside"),
            "all mounts inside were made private before, and have no master any more",
            "keep the masters: --propagation slave",
        ));
    }
    Ok(())
}

/// Whether the mount shows what is there, or is of a kind of its own that takes no options for a file system.
fn shows(kind: &MountKind) -> bool {
    matches!(kind, MountKind::Bind { .. } | MountKind::Data { .. } | MountKind::Device { .. })
}

fn is_file_system(kind: &MountKind) -> bool {
    matches!(
        kind,
        MountKind::FileSystem { .. }
            | MountKind::Tmpfs { .. }
            | MountKind::Overlay { .. }
            | MountKind::Proc
            | MountKind::Sysfs
            | MountKind::Mqueue
            | MountKind::BinfmtMisc
    )
}

/// The map of a bind, with the place of its tree among those that are opened before the clone.
pub(super) fn id_map(
    command: &Command,
    host: &Host,
    mount: &Mount,
    steps: &[Step],
) -> Result<Option<IdMapped>, Error> {
    let Some(IdMap { recursive, ids }) = mount.options.as_ref().and_then(|options| options.id_map.as_ref())
    else {
        return Ok(None);
    };
    let (uids, gids) = match ids {
        Ids::Maps { uids, gids } => (uids.clone(), gids.clone()),
        Ids::Own if command.namespaces.contains(Namespace::User) => ids::maps(command, host)?,
        Ids::Own => {
            return Err(refused(
                format!("{} has no map to take", mount.target.display()),
                "idmap means the map of the command's new user namespace, and it has none",
                "write the map: X-mount.idmap=0:100000:65536",
            ));
        }
    };
    let whole = |map: Vec<IdRange>| match map.is_empty() {
        true => vec![IdRange { inside: 0, outside: 0, count: u32::MAX }],
        false => map,
    };
    let (uids, gids) = (whole(uids), whole(gids));
    id_map::check("user", &uids).map_err(Error::invalid)?;
    id_map::check("group", &gids).map_err(Error::invalid)?;
    let mapped =
        |step: &&Step| matches!(step, Step::Mount { source: Source::Bind { id_map: Some(_), .. }, .. });
    let tree = steps.iter().filter(mapped).count();
    Ok(Some(IdMapped { uids: ids::lines(&uids), gids: ids::lines(&gids), recursive: *recursive, tree }))
}
