//! Compiled policies, as a model of the kernel's machine runs them, against what the policy says.

use sept::seccomp::{Action, Compare, Condition, Filter, Flags, Policy, Rule, abis, group, groups, is_known};

/// What a policy says of a call, straight from its rules.
fn said(policy: &Policy, name: &str, arguments: [u64; 6]) -> u32 {
    if name.is_empty() {
        return policy.unknown.value();
    }
    let holds = |condition: &Condition| condition.compare.holds(arguments[usize::from(condition.argument)]);
    let fits = |rule: &&Rule| rule.calls.iter().any(|call| call == name) && rule.conditions.iter().all(holds);
    policy.rules.iter().find(fits).map_or(policy.default, |rule| rule.action).value()
}

/// The policy without groups: their calls instead.
fn without_groups(policy: &Policy) -> Policy {
    let calls = |name: &std::borrow::Cow<'static, str>| match group(name) {
        Some(group) => group.calls().into_iter().map(Into::into).collect(),
        None => vec![name.clone()],
    };
    let rules = policy
        .rules
        .iter()
        .cloned()
        .map(|rule| Rule { calls: rule.calls.iter().flat_map(calls).collect(), ..rule });
    Policy { rules: rules.collect(), ..policy.clone() }
}

/// Values at which a comparison with these could change.
fn boundaries(values: &[u64]) -> Vec<u64> {
    let mut all = vec![0, 1, u64::from(u32::MAX), 1 << 32, u64::MAX];
    for value in values {
        for near in [value.wrapping_sub(1), *value, value.wrapping_add(1)] {
            all.extend([near, near ^ (1 << 32), near ^ (1 << 63), near & 0xffff_ffff]);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn values(policy: &Policy) -> Vec<u64> {
    let conditions = policy.rules.iter().flat_map(|rule| &rule.conditions);
    conditions
        .flat_map(|condition| match condition.compare {
            Compare::Masked(mask, value) => vec![mask, value],
            Compare::Eq(value)
            | Compare::Ne(value)
            | Compare::Lt(value)
            | Compare::Le(value)
            | Compare::Gt(value)
            | Compare::Ge(value) => vec![value],
        })
        .collect()
}

fn check(policy: &Policy) {
    let filter = policy.compile().expect("it compiles");
    let policy = &without_groups(policy);
    let edges = boundaries(&values(policy));
    for abi in abis() {
        let compared: Vec<&str> = policy
            .rules
            .iter()
            .filter(|rule| !rule.conditions.is_empty())
            .flat_map(|rule| rule.calls.iter().map(AsRef::as_ref))
            .collect();
        let names = abi.calls();
        for number in (0..600).chain([0x3fff_ffff]) {
            let name = names.iter().find(|(_, known)| *known == number).map_or("", |(name, _)| name);
            let tried: Vec<[u64; 6]> = if compared.contains(&name) {
                let each = (0..3).flat_map(|at| {
                    edges.iter().map(move |value| {
                        let mut arguments = [0; 6];
                        arguments[at] = *value;
                        arguments
                    })
                });
                each.collect()
            } else {
                vec![[0; 6], [u64::MAX; 6]]
            };
            for arguments in tried {
                let verdict = filter.verdict(abi.audit, number, arguments).expect("a verdict");
                assert_eq!(
                    verdict.value,
                    said(policy, name, arguments),
                    "{} {name} {number} {arguments:x?}",
                    abi.name
                );
            }
        }
    }
    for (audit, number) in [
        (0, 0),
        (0xdead_beef, 1),
        (0xc000_003e, 0x4000_0000),
        (0xc000_003e, 0x4000_0221),
        (0xc000_003e, u32::MAX),
    ] {
        if cfg!(target_arch = "x86_64") || audit != 0xc000_003e {
            let verdict = filter.verdict(audit, number, [0; 6]).expect("a verdict");
            assert_eq!(verdict.value, policy.other_abi.value(), "{audit:x} {number:x}");
        }
    }
}

#[test]
fn the_ready_policies_compile_to_what_they_say() {
    check(&Policy::container());
    check(&Policy::strict());
}

fn policy(default: Action, rules: Vec<Rule>) -> Policy {
    Policy {
        name: "test".to_owned(),
        default,
        unknown: Action::Errno(38),
        other_abi: Action::KillProcess,
        compat_abi: true,
        flags: Flags::NONE,
        rules,
    }
}

#[test]
fn every_comparison_is_right_at_its_edges() {
    let values = [0, 1, 5, 0xffff_ffff, 1 << 32, (1 << 32) + 7, 0x8000_0000_0000_0000, u64::MAX];
    for value in values {
        for compare in [
            Compare::Eq(value),
            Compare::Ne(value),
            Compare::Lt(value),
            Compare::Le(value),
            Compare::Gt(value),
            Compare::Ge(value),
            Compare::Masked(0xff00_0000_00ff, value & 0xff00_0000_00ff),
            Compare::Masked(0xff, value),
            Compare::Masked(0, value),
        ] {
            let condition = Condition { argument: 1, compare };
            let rule = |conditions: Vec<Condition>, action| Rule {
                calls: vec!["openat".into()],
                conditions,
                action,
            };
            check(&policy(Action::Allow, vec![rule(vec![condition], Action::Errno(1))]));
            let other = Condition { argument: 2, compare: Compare::Ge(3) };
            check(&policy(
                Action::Errno(5),
                vec![
                    rule(vec![condition, other], Action::Allow),
                    rule(vec![other], Action::Trap(9)),
                    rule(vec![condition], Action::Log),
                ],
            ));
        }
    }
}

#[test]
fn a_policy_of_many_rules_still_reaches_its_ends() {
    // Long bodies need jumps that a conditional one can't do.
    let conditions = |n: u64| vec![Condition { argument: 0, compare: Compare::Eq(n) }];
    let mut rules = Vec::new();
    for (n, (name, _)) in abis()[0].calls().into_iter().enumerate().take(60) {
        let action = Action::Errno(n as u16 + 1);
        rules.extend((0..4).map(|value| Rule {
            calls: vec![name.into()],
            conditions: conditions(value),
            action,
        }));
    }
    let many = policy(Action::Allow, rules);
    assert!(many.compile().expect("it compiles").program.len() > 500);
    check(&many);
}

#[test]
fn a_rule_of_many_conditions_holds_only_if_all_do() {
    // A comparison jumps over 255 instructions at most: four or five of a condition, three of one on a whole value.
    for count in [50, 60, 61, 62, 63, 64, 65, 70, 100, 127, 128, 200] {
        let first = Condition { argument: 1, compare: Compare::Eq(0o700) };
        let others =
            (0..count).map(|value| Condition { argument: 5, compare: Compare::Ne(value << 32 | value) });
        let conditions: Vec<Condition> = [first].into_iter().chain(others).collect();
        let rule = Rule { calls: vec!["mkdirat".into()], conditions, action: Action::Allow };
        let policy = policy(Action::Errno(5), vec![rule]);
        let filter = policy.compile().expect("it compiles");
        let number = abis()[0].number("mkdirat").expect("it is a call");
        let far = (1 << 40) + 1;
        for (one, five) in
            [(0o700, far), (0o701, far), (0, 0), (0o700, 0), (0o700, (count - 1) << 32 | (count - 1))]
        {
            let arguments = [0, one, 0, 0, 0, five];
            let verdict = filter.verdict(abis()[0].audit, number, arguments).expect("it ends");
            assert_eq!(verdict.value, said(&policy, "mkdirat", arguments), "{count} and {arguments:?}");
        }
    }
}

#[test]
fn a_policy_that_is_too_long_is_refused() {
    let conditions =
        (0..6).map(|argument| Condition { argument, compare: Compare::Ge(1 << 40) }).collect::<Vec<_>>();
    let rule = |(n, (name, _)): (usize, (&'static str, u32))| {
        let (calls, conditions) = (vec![name.into()], conditions.clone());
        Rule { calls, conditions, action: Action::Errno(n as u16) }
    };
    let rules = abis()[0].calls().into_iter().enumerate().map(rule).collect();
    assert!(policy(Action::Allow, rules).compile().is_err_and(|why| why.contains("at most 4096")));
}

#[test]
fn the_search_is_short() {
    let filter = Policy::container().compile().expect("it compiles");
    let calls = abis()[0].calls();
    let steps: usize = calls
        .iter()
        .map(|(_, number)| filter.verdict(abis()[0].audit, *number, [0; 6]).expect("a verdict").steps)
        .sum();
    assert!(steps / calls.len() <= 12, "{} on average", steps / calls.len());
}

#[test]
fn the_ready_programs_are_those_of_the_ready_policies() {
    let renew = "renew crates/sept/src/seccomp/ready.rs: sept seccomp compile default | od -An -v -t x8 -w40 --endian=little";
    for (ready, policy) in [(Filter::container(), Policy::container()), (Filter::strict(), Policy::strict())]
    {
        assert!(ready.expect("it is ready") == policy.compile().expect("it compiles"), "{renew}");
    }
}

/// Numbers that look random, and are the same in every run: xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, most: usize) -> usize {
        (self.next() >> 33) as usize % most
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Near a power of two, or small, or anything.
    fn value(&mut self) -> u64 {
        match self.below(4) {
            0 => self.next() % 8,
            1 => (1_u64 << self.below(64)).wrapping_sub(self.next() % 3),
            2 => self.next() & 0xffff_ffff,
            _ => self.next(),
        }
    }

    fn condition(&mut self) -> Condition {
        let value = self.value();
        let compare = match self.below(8) {
            0 => Compare::Eq(value),
            1 => Compare::Ne(value),
            2 => Compare::Lt(value),
            3 => Compare::Le(value),
            4 => Compare::Gt(value),
            5 => Compare::Ge(value),
            6 => Compare::Masked(value, self.value()),
            _ => {
                let mask = self.value();
                Compare::Masked(mask, value & mask)
            }
        };
        Condition { argument: self.below(6) as u8, compare }
    }

    fn action(&mut self) -> Action {
        let number = self.next() as u16 & 0xfff;
        match self.below(8) {
            0 => Action::Allow,
            1 => Action::Errno(number),
            2 => Action::KillProcess,
            3 => Action::KillThread,
            4 => Action::Trap(number),
            5 => Action::Trace(number),
            6 => Action::Log,
            _ => Action::Notify,
        }
    }

    fn policy(&mut self, names: &[&'static str]) -> Policy {
        // Few names, so that rules meet.
        let few: Vec<&'static str> = (0..=self.below(12)).map(|_| self.of(names)).collect();
        let mut rules = Vec::new();
        for _ in 0..self.below(12) {
            let mut calls = vec![];
            for _ in 0..=self.below(3) {
                let grouped = self.below(6) == 0;
                let name = if grouped { groups()[self.below(groups().len())].name } else { self.of(&few) };
                calls.push(name.into());
            }
            let conditions = (0..self.below(4)).map(|_| self.condition()).collect();
            // A condition on all calls would be too long a program.
            let all = calls.iter().any(|name: &std::borrow::Cow<'_, str>| name.starts_with('@'));
            let conditions = if all && self.below(4) > 0 { vec![] } else { conditions };
            rules.push(Rule { calls, conditions, action: self.action() });
        }
        Policy { unknown: self.action(), other_abi: self.action(), ..policy(self.action(), rules) }
    }

    /// Values that its conditions tell apart, now and then.
    fn arguments(&mut self, edges: &[u64]) -> [u64; 6] {
        std::array::from_fn(|_| match self.below(3) {
            0 => self.value(),
            _ => self.of(edges),
        })
    }
}

#[test]
fn two_thousand_policies_compile_to_what_they_say() {
    let mut random = Random(0x5e97);
    let tables: Vec<_> = abis().iter().map(|abi| (abi, abi.calls())).collect();
    let names: Vec<&'static str> =
        tables.iter().flat_map(|(_, calls)| calls).map(|(name, _)| *name).collect();
    let (mut compared, mut verdicts) = (0, std::collections::BTreeSet::new());
    for n in 0..2000 {
        let policy = random.policy(&names);
        let filter = match policy.compile() {
            Ok(filter) => filter,
            Err(why) => {
                assert!(why.contains("at most 4096"), "{n}: {why}");
                continue;
            }
        };
        let policy = without_groups(&policy);
        let edges = boundaries(&values(&policy));
        let named: Vec<&str> = policy.rules.iter().flat_map(|rule| &rule.calls).map(AsRef::as_ref).collect();
        for _ in 0..60 {
            let (abi, calls) = &tables[random.below(tables.len())];
            // One that a rule names, one of the table, or any number at all.
            let (name, number) = match random.below(4) {
                0 => random.of(calls),
                1 => ("", random.below(0x3fff_ffff) as u32),
                _ if named.is_empty() => random.of(calls),
                _ => {
                    let name = random.of(&named);
                    calls.iter().find(|(known, _)| *known == name).copied().unwrap_or(calls[0])
                }
            };
            let name = calls.iter().find(|(_, known)| *known == number).map_or(name, |(name, _)| name);
            let arguments = random.arguments(&edges);
            let verdict = filter.verdict(abi.audit, number, arguments).expect("a verdict").value;
            assert_eq!(
                verdict,
                said(&policy, name, arguments),
                "policy {n}: {} {name} {number} {arguments:x?}: {policy:#?}",
                abi.name
            );
            verdicts.insert(verdict & 0xffff_0000);
            compared += 1;
        }
    }
    assert!(compared > 100_000, "most of them compile: {compared}");
    assert_eq!(verdicts.len(), 8, "every action was met: {verdicts:x?}");
}

#[test]
fn a_group_in_a_rule_is_all_its_calls() {
    let rule = |calls: &[&'static str], conditions: Vec<Condition>, action| Rule {
        calls: calls.iter().map(|call| (*call).into()).collect(),
        conditions,
        action,
    };
    let condition = Condition { argument: 0, compare: Compare::Eq(3) };
    check(&policy(
        Action::Errno(1),
        vec![
            rule(&["@network", "@io-event", "socket"], vec![condition], Action::Trap(1)),
            rule(&["@system-service"], vec![], Action::Allow),
            rule(&["@known"], vec![], Action::Log),
        ],
    ));
    let unknown = policy(Action::Allow, vec![rule(&["@no-such"], vec![], Action::Log)]);
    assert!(unknown.compile().is_err_and(|why| why.contains("@no-such")));
    assert_eq!(unknown.unknown_call(), Some("@no-such"));
}

#[test]
fn every_call_is_in_a_group_and_every_name_in_a_group_is_a_call() {
    let grouped: Vec<&str> =
        groups().iter().filter(|group| group.name != "@known").flat_map(|group| group.calls()).collect();
    let mut all: Vec<&str> = abis().iter().flat_map(|abi| abi.calls()).map(|(name, _)| name).collect();
    all.sort_unstable();
    all.dedup();
    let missing: Vec<&&str> = all.iter().filter(|name| !grouped.contains(name)).collect();
    assert!(missing.is_empty(), "in no group: {missing:?}");
    assert!(all.iter().all(|name| group("@known").is_some_and(|known| known.calls().contains(name))));
    assert!(all.iter().chain(&["@known", "@network", "recv"]).all(|name| is_known(name)));
    assert!(!is_known("@x") && !is_known("mkdirs") && !is_known(""));
    // What other processors alone have.
    let foreign = [
        "arm_fadvise64_64",
        "arm_sync_file_range",
        "fstatat",
        "pciconfig_iobase",
        "pciconfig_read",
        "pciconfig_write",
        "recv",
        "send",
    ];
    let typos: Vec<&&str> =
        grouped.iter().filter(|name| !all.contains(name) && !foreign.contains(name)).collect();
    assert!(typos.is_empty() || !cfg!(target_arch = "x86_64"), "no calls: {typos:?}");
    let mut names: Vec<&str> = groups().iter().map(|group| group.name).collect();
    assert!(names.is_sorted(), "they are listed by name");
    names.dedup();
    assert_eq!(names.len(), groups().len());
    for one in groups() {
        let groups: Vec<&str> = one.groups().collect();
        assert!(groups.iter().all(|name| group(name).is_some()), "{}: {groups:?}", one.name);
        assert!(!one.calls().is_empty() && !one.about.is_empty(), "{}", one.name);
    }
}
