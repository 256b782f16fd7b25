//! Compiled policies, as a model of the kernel's machine runs them, against what the policy says.

use sept::seccomp::{Action, Compare, Condition, Filter, Policy, Rule, abis};

/// What a policy says of a call, straight from its rules.
fn said(policy: &Policy, name: &str, arguments: [u64; 6]) -> u32 {
    if name.is_empty() {
        return policy.unknown.value();
    }
    let holds = |condition: &Condition| condition.compare.holds(arguments[usize::from(condition.argument)]);
    let fits = |rule: &&Rule| rule.calls.iter().any(|call| call == name) && rule.conditions.iter().all(holds);
    policy.rules.iter().find(fits).map_or(policy.default, |rule| rule.action).value()
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
