//! Namespaces as a tree.

use sept::host::{Entry, stat_field};
use sept::{Namespace, NamespaceId};

use crate::failure::printable;
use crate::ls::{Known, command_of};

/// What makes a namespace another's parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Owner,
    Parent,
    Process,
}

impl By {
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "owner" => Some(Self::Owner),
            "parent" => Some(Self::Parent),
            "process" => Some(Self::Process),
            _ => None,
        }
    }
}

/// One namespace, and how deep it stands.
pub struct Node {
    pub entry: Entry,
    /// For each level above, and for its own: whether another one follows there.
    pub more: Vec<bool>,
}

/// The nodes from the top down, each below what it belongs to.
pub fn nodes(known: &Known, listed: &[Entry], by: By) -> Vec<Node> {
    let mut above: Vec<Option<usize>> = listed
        .iter()
        .map(|entry| {
            let id = belongs_to(known, listed, entry, by)?;
            listed.iter().position(|other| other.id == id && other.id != entry.id)
        })
        .collect();
    cut_rings(&mut above);
    let below = below(&above);
    let mut nodes = Vec::with_capacity(listed.len());
    let tops: Vec<usize> = (0..listed.len()).filter(|n| above[*n].is_none()).collect();
    // Roots stand at the margin: only what is below has lines.
    for top in tops {
        walk(listed, &below, top, &mut Vec::new(), &mut nodes);
    }
    nodes
}

/// A number that is used again may make one the parent of what it is below. Who is found in such a ring first stands at the margin, so that
/// none is lost.
fn cut_rings(above: &mut [Option<usize>]) {
    let mut seen_from = vec![usize::MAX; above.len()];
    for first in 0..above.len() {
        let mut at = first;
        while seen_from[at] == usize::MAX {
            seen_from[at] = first;
            match above[at] {
                Some(next) if seen_from[next] == first => above[next] = None,
                Some(next) => at = next,
                None => break,
            }
        }
    }
}

/// So deep it is drawn; what is below that stands there, too. Processes may be below each other by the ten thousand.
const DEEPEST: usize = 200;

/// What is below each.
type Below = Vec<Vec<usize>>;

fn below(above: &[Option<usize>]) -> Below {
    let mut below: Below = vec![Vec::new(); above.len()];
    for first in 0..above.len() {
        // The last that is drawn above it.
        let line: Vec<usize> = std::iter::successors(above[first], |at| above[*at]).collect();
        let drawn = line.len().saturating_sub(DEEPEST);
        if let Some(at) = line.get(drawn) {
            below[*at].push(first);
        }
    }
    below
}

fn walk(listed: &[Entry], below: &Below, at: usize, more: &mut Vec<bool>, nodes: &mut Vec<Node>) {
    nodes.push(Node { entry: listed[at].clone(), more: more.clone() });
    // Leaves first: a user namespace with all its own comes after them.
    let (branches, leaves): (Vec<usize>, Vec<usize>) = below[at].iter().partition(|n| !below[**n].is_empty());
    let ordered: Vec<usize> = leaves.into_iter().chain(branches).collect();
    for (n, next) in ordered.iter().enumerate() {
        more.push(n + 1 < ordered.len());
        walk(listed, below, *next, more, nodes);
        more.pop();
    }
}

fn belongs_to(known: &Known, listed: &[Entry], entry: &Entry, by: By) -> Option<NamespaceId> {
    match by {
        By::Owner if entry.kind == Namespace::User => entry.parent,
        By::Owner => entry.owner,
        By::Parent => entry.parent,
        By::Process => {
            let mut pid = *entry.processes.first()?;
            // The nearest ancestor that is in another namespace of the kind.
            loop {
                pid = parent_of(pid)?;
                let other =
                    known.inventory.entries.iter().find(|other| {
                        other.kind == entry.kind && other.processes.binary_search(&pid).is_ok()
                    })?;
                if other.id != entry.id {
                    return listed.iter().any(|listed| listed.id == other.id).then_some(other.id);
                }
            }
        }
    }
}

/// As proc_pid_stat(5) has it.
pub fn parent_of(pid: u32) -> Option<u32> {
    stat_field(pid, 4)?.parse().ok().filter(|parent| *parent != 0)
}

/// What a node says of itself.
pub fn label(known: &Known, entry: &Entry) -> (String, String) {
    let first = entry.processes.first().copied();
    let count = match entry.processes.len() {
        0 => known.held(entry),
        1 => "1 process".to_owned(),
        n => format!("{n} processes"),
    };
    let command = first.and_then(|pid| Some(format!("{pid} {}", command_of(pid)?)));
    let words = match command {
        Some(command) => format!("{count}: {}", printable(&command)),
        None => count,
    };
    (format!("{} {}", entry.kind.link(), entry.id.inode), words)
}

/// As text with lines.
pub fn text(known: &mut Known, listed: &[Entry], by: By) -> String {
    let mut text = String::new();
    for node in nodes(known, listed, by) {
        let (name, words) = label(known, &node.entry);
        if let Some((own, above)) = node.more.split_last() {
            above.iter().for_each(|more| text.push_str(if *more { "│  " } else { "   " }));
            text.push_str(if *own { "├─ " } else { "└─ " });
        }
        text.push_str(&format!("{name}  {words}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::cut_rings;

    #[test]
    fn none_is_lost_by_a_ring() {
        // A ring of three with one below, one that is its own parent, and two that are well.
        let mut above = [Some(1), Some(2), Some(0), Some(1), Some(4), None, Some(5)];
        cut_rings(&mut above);
        assert_eq!(above, [None, Some(2), Some(0), Some(1), None, None, Some(5)]);
    }
}
