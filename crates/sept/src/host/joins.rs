//! The namespaces to be joined: opened once, with the facts about them on which the order depends.

use crate::command::Command;
use crate::error::Error;
use crate::host::common::duty_in_proc;
use crate::namespace::Namespace;
use crate::target::{NamespaceFile, Target, is_within};

/// What a plan needs to know of one namespace to be joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinFact {
    /// Its kind.
    pub kind: Namespace,
    /// The place of its target in the order in which they were asked for.
    pub from: usize,
    /// The target in words.
    pub of: String,
    /// Whether the user namespace that is joined, too, or one below, owns it: then that gives the right to it.
    pub owned_by_joined: bool,
}

/// A namespace to be joined, open.
#[derive(Debug)]
pub(crate) struct OpenJoin {
    pub fact: JoinFact,
    pub file: NamespaceFile,
    pub target: Target,
}

/// Opens all namespaces that `command` joins, but those that this thread is in: `/proc/self` is the first one's.
pub(crate) fn open(command: &Command) -> Result<Vec<OpenJoin>, Error> {
    // Before all others, whatever is joined: it says what the rest is worth.
    command.joins.iter().try_for_each(|join| join.target.note_user())?;
    let mut opened: Vec<OpenJoin> = Vec::new();
    for (from, join) in command.joins.iter().enumerate() {
        for kind in join.kinds.iter() {
            if opened.iter().any(|other| other.fact.kind == kind) {
                return Err(Error::invalid(format!("two {kind} namespaces can't be joined at once")));
            }
            let file = join.target.namespace(kind)?;
            let looked = |error: std::io::Error| {
                duty_in_proc(format!("look at the {kind} namespace of {}", join.target), &error)
            };
            let own = NamespaceFile::of("thread-self", kind).map_err(looked)?;
            if file.id().map_err(looked)? == own.id().map_err(looked)? {
                continue;
            }
            let fact = JoinFact { kind, from, of: join.target.to_string(), owned_by_joined: false };
            opened.push(OpenJoin { fact, file, target: join.target.clone() });
        }
    }
    mark_owned(&mut opened)?;
    // What one look found is to go together with what all others did.
    for (n, join) in command.joins.iter().enumerate() {
        join.target.alive()?;
        if command.joins[..n].iter().any(|other| !other.target.goes_with(&join.target)) {
            return Err(join.target.moved());
        }
    }
    Ok(opened)
}

fn mark_owned(opened: &mut [OpenJoin]) -> Result<(), Error> {
    let failed =
        |error: std::io::Error| duty_in_proc("find out who owns the namespaces to be joined", &error);
    let user = opened.iter().find(|join| join.fact.kind == Namespace::User);
    let Some(user) = user.map(|join| join.file.id()).transpose().map_err(failed)? else { return Ok(()) };
    for join in opened.iter_mut().filter(|join| join.fact.kind != Namespace::User) {
        // None: it lies outside of what this process may see, so not below the one to be joined.
        if let Some(owner) = join.file.owner().map_err(failed)? {
            join.fact.owned_by_joined = is_within(&owner, user).map_err(failed)?;
        }
    }
    Ok(())
}
