//! The calls of i386 that are many in one: the first argument says which, and the arguments of that lie in memory.

use std::borrow::Cow;

use super::{Compare, Condition, Rule};

type Many = (&'static str, u64, &'static [(u64, &'static str)]);

/// The call, the bits of its first argument that count, and what it does by number; net.h and ipc.h of the kernel.
const MANY: [Many; 2] = [
    (
        "socketcall",
        0xffff_ffff,
        &[
            (1, "socket"),
            (2, "bind"),
            (3, "connect"),
            (4, "listen"),
            (5, "accept"),
            (6, "getsockname"),
            (7, "getpeername"),
            (8, "socketpair"),
            (9, "send"),
            (10, "recv"),
            (11, "sendto"),
            (12, "recvfrom"),
            (13, "shutdown"),
            (14, "setsockopt"),
            (15, "getsockopt"),
            (16, "sendmsg"),
            (17, "recvmsg"),
            (18, "accept4"),
            (19, "recvmmsg"),
            (20, "sendmmsg"),
            // What other ABIs have no call of their own for.
            (9, "sendto"),
            (10, "recvfrom"),
        ],
    ),
    (
        "ipc",
        0xffff,
        &[
            (1, "semop"),
            (2, "semget"),
            (3, "semctl"),
            (4, "semtimedop"),
            (11, "msgsnd"),
            (12, "msgrcv"),
            (13, "msgget"),
            (14, "msgctl"),
            (21, "shmat"),
            (22, "shmdt"),
            (23, "shmget"),
            (24, "shmctl"),
        ],
    ),
];

/// The rules, and behind each that refuses a call one that refuses it as a part of socketcall(2) or ipc(2), unless the rule is for that
/// call, too. What a rule says of arguments can't be looked at there: where it refuses some, all are.
pub fn with_multiplexed(rules: impl IntoIterator<Item = Rule>) -> Vec<Rule> {
    let mut all = Vec::new();
    for rule in rules {
        let parts = parts(&rule);
        all.push(rule);
        all.extend(parts);
    }
    all
}

fn parts(rule: &Rule) -> Vec<Rule> {
    let names = rule.refused();
    let names: Vec<&str> = names.iter().map(Cow::as_ref).collect();
    let part = |call: &'static str, mask: u64, number: u64| Rule {
        calls: vec![Cow::Borrowed(call)],
        conditions: vec![Condition { argument: 0, compare: Compare::Masked(mask, number) }],
        action: rule.action,
    };
    let of = |(call, mask, does): &Many| {
        let named = names.contains(call);
        let mut numbers: Vec<u64> = does
            .iter()
            .filter(|(_, name)| !named && names.contains(name))
            .map(|(number, _)| *number)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(|number| part(call, *mask, number)).collect::<Vec<_>>()
    };
    MANY.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::*;

    #[test]
    fn what_is_refused_is_refused_as_a_part_too() {
        let rule = |calls: &[&'static str], action| Rule {
            calls: calls.iter().map(|call| Cow::Borrowed(*call)).collect(),
            conditions: vec![Condition { argument: 1, compare: Compare::Eq(7) }],
            action,
        };
        let parts = |calls, action| {
            let all = with_multiplexed([rule(calls, action)]);
            let part = |rule: &Rule| (rule.calls[0].to_string(), rule.conditions.clone(), rule.action);
            all.iter().skip(1).map(part).collect::<Vec<_>>()
        };
        let when = |compare| vec![Condition { argument: 0, compare }];
        let no = Action::Errno(13);
        let (socket, shared) = (Compare::Masked(0xffff_ffff, 1), Compare::Masked(0xffff, 23));
        assert_eq!(
            parts(&["socket", "shmget", "mkdir"], no),
            [("socketcall".to_owned(), when(socket), no), ("ipc".to_owned(), when(shared), no)]
        );
        assert_eq!(parts(&["sendto"], no).len(), 2, "send is no call of its own");
        assert!(parts(&["socket"], Action::Allow).is_empty() && parts(&["mkdir"], no).is_empty());
        assert!(parts(&["socket", "socketcall"], no).is_empty() && parts(&["@network-io"], no).is_empty());
    }
}
