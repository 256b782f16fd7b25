//! From a policy to a BPF program: the ABI first, then a balanced search for the number, then the arguments.

use std::collections::BTreeMap;

use super::table::{Abi, X32, abis};
use super::{Action, Compare, Condition, Policy};
use crate::sys::Instruction;

/// A compiled policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The policy's name.
    pub name: String,
    /// The program.
    pub program: Vec<Instruction>,
}

/// What a program says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// SECCOMP_RET_*, with its number.
    pub value: u32,
    /// How many instructions it took.
    pub steps: usize,
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const EQUAL: u16 = 0x15;
const GREATER: u16 = 0x25;
const AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where struct seccomp_data has them.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The most that the kernel takes: BPF_MAXINSNS.
const MOST: usize = 4096;

const fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

type Code = Vec<Instruction>;

/// What happens with one number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fate {
    /// In order, those with conditions.
    cases: Vec<(Vec<Condition>, Action)>,
    otherwise: Action,
}

pub(super) fn compile(policy: &Policy) -> Result<Filter, String> {
    let mut program = vec![op(LOAD, ARCH)];
    for abi in abis() {
        let body = body(policy, abi);
        // Where it is another one, past this body.
        program.extend(branch(EQUAL, abi.audit, body, &[]));
    }
    program.push(op(RETURN, policy.other_abi.value()));
    if program.len() > MOST {
        return Err(format!(
            "the policy {} compiles to {} instructions; the kernel takes at most {MOST}",
            policy.name,
            program.len()
        ));
    }
    Ok(Filter { name: policy.name.clone(), program })
}

/// `if test(k) { yes } else { no }`; `yes` must not run into `no`.
fn branch(code: u16, k: u32, yes: Code, no: &[Instruction]) -> Code {
    let mut all = Vec::with_capacity(yes.len() + no.len() + 2);
    match u8::try_from(yes.len()) {
        Ok(over) => all.push(Instruction { code, jt: 0, jf: over, k }),
        // Too far for a conditional jump, not for one without.
        Err(_) => {
            all.push(Instruction { code, jt: 1, jf: 0, k });
            all.push(op(JUMP, yes.len() as u32));
        }
    }
    all.extend(yes);
    all.extend_from_slice(no);
    all
}

/// All calls of one ABI. Always ends with a return.
fn body(policy: &Policy, abi: &Abi) -> Code {
    let mut code = vec![op(LOAD, NUMBER)];
    let search = search(&fates(policy, abi));
    if abi.has_x32() {
        code.extend(branch(AT_LEAST, X32, vec![op(RETURN, policy.other_abi.value())], &search));
    } else {
        code.extend(search);
    }
    code
}

/// From each number on, until the next, what happens.
fn fates(policy: &Policy, abi: &Abi) -> Vec<(u32, Fate)> {
    let mut rules: BTreeMap<&str, Vec<(Vec<Condition>, Action)>> = BTreeMap::new();
    for rule in &policy.rules {
        for call in &rule.calls {
            rules.entry(call).or_default().push((rule.conditions.clone(), rule.action));
        }
    }
    let unknown = Fate { cases: Vec::new(), otherwise: policy.unknown };
    let mut fates: Vec<(u32, Fate)> = Vec::new();
    let push = |fates: &mut Vec<(u32, Fate)>, from: u32, fate: Fate| {
        if fates.last().is_none_or(|(_, last)| *last != fate) {
            fates.push((from, fate));
        }
    };
    let mut next = 0;
    for (name, number) in abi.calls() {
        if number < next {
            continue;
        }
        if number > next {
            push(&mut fates, next, unknown.clone());
        }
        let fate = fate(policy.default, rules.get(name).map_or(&[], Vec::as_slice));
        push(&mut fates, number, fate);
        next = number + 1;
    }
    push(&mut fates, next, unknown);
    fates
}

/// The first that fits decides; after one without conditions none can.
fn fate(default: Action, rules: &[(Vec<Condition>, Action)]) -> Fate {
    let mut cases = Vec::new();
    for (conditions, action) in rules {
        if conditions.is_empty() {
            return Fate { cases, otherwise: *action };
        }
        cases.push((conditions.clone(), *action));
    }
    Fate { cases, otherwise: default }
}

/// A balanced search for the last of them that is not above the number.
fn search(fates: &[(u32, Fate)]) -> Code {
    match fates {
        [] => Vec::new(),
        [(_, fate)] => decide(fate),
        _ => {
            let (below, above) = fates.split_at(fates.len() / 2);
            branch(AT_LEAST, above[0].0, search(above), &search(below))
        }
    }
}

fn decide(fate: &Fate) -> Code {
    let mut code = Vec::new();
    for (conditions, action) in &fate.cases {
        code.extend(case(conditions, *action));
    }
    code.push(op(RETURN, fate.otherwise.value()));
    code
}

/// Returns where all conditions hold; else runs on behind itself.
fn case(conditions: &[Condition], action: Action) -> Code {
    // From the last to the first, so that the way to the end is known.
    let mut code = vec![op(RETURN, action.value())];
    for condition in conditions.iter().rev() {
        let mut test = test(condition, code.len());
        test.extend(code);
        code = test;
    }
    code
}

/// Goes on where it holds, else passes over `rest` instructions more.
fn test(condition: &Condition, rest: usize) -> Code {
    let at = ARGUMENTS + 8 * u32::from(condition.argument);
    // Both processors are little-endian: the low half comes first.
    let (low, high) = (at, at + 4);
    let halves = |value: u64| (value as u32, (value >> 32) as u32);
    let mut code = Vec::new();
    match condition.compare {
        Compare::Masked(mask, value) => {
            let ((low_mask, high_mask), (low_value, high_value)) = (halves(mask), halves(value));
            for (place, mask, value) in [(high, high_mask, high_value), (low, low_mask, low_value)] {
                if mask == 0 && value == 0 {
                    continue;
                }
                code.push(Step::Load(place));
                if mask != u32::MAX {
                    code.push(Step::And(mask));
                }
                code.push(Step::Need(EQUAL, value));
            }
        }
        Compare::Eq(value) => {
            return test(&Condition { compare: Compare::Masked(u64::MAX, value), ..*condition }, rest);
        }
        Compare::Ne(value) => {
            let (low_value, high_value) = halves(value);
            code.extend([Step::Load(high), Step::DoneUnless(EQUAL, high_value)]);
            code.extend([Step::Load(low), Step::Refuse(EQUAL, low_value)]);
        }
        Compare::Ge(value) | Compare::Gt(value) => {
            let (low_value, high_value) = halves(value);
            let last = if matches!(condition.compare, Compare::Ge(_)) { AT_LEAST } else { GREATER };
            code.extend([Step::Load(high), Step::DoneIf(GREATER, high_value), Step::Need(EQUAL, high_value)]);
            code.extend([Step::Load(low), Step::Need(last, low_value)]);
        }
        Compare::Lt(value) | Compare::Le(value) => {
            let (low_value, high_value) = halves(value);
            let last = if matches!(condition.compare, Compare::Lt(_)) { AT_LEAST } else { GREATER };
            code.extend([
                Step::Load(high),
                Step::Refuse(GREATER, high_value),
                Step::DoneUnless(EQUAL, high_value),
            ]);
            code.extend([Step::Load(low), Step::Refuse(last, low_value)]);
        }
    }
    resolve(&code, rest)
}

/// An instruction of a test, whose jumps go to its end (it holds) or past the rest (it does not).
enum Step {
    Load(u32),
    And(u32),
    /// Goes on if this holds, else it does not hold.
    Need(u16, u32),
    /// It does not hold if this does.
    Refuse(u16, u32),
    /// It holds if this does.
    DoneIf(u16, u32),
    /// It holds unless this does.
    DoneUnless(u16, u32),
}

fn resolve(steps: &[Step], rest: usize) -> Code {
    let count = steps.len();
    let jump = |code: u16, k: u32, at: usize, (jt, jf): (Option<bool>, Option<bool>)| {
        // Some(true) is the end of the test, Some(false) past the rest, None the next instruction.
        let over = |to: Option<bool>| match to {
            None => 0,
            Some(true) => (count - at - 1) as u8,
            Some(false) => (count - at - 1 + rest) as u8,
        };
        Instruction { code, jt: over(jt), jf: over(jf), k }
    };
    let one = |(at, step): (usize, &Step)| match *step {
        Step::Load(place) => op(LOAD, place),
        Step::And(mask) => op(AND, mask),
        Step::Need(code, k) => jump(code, k, at, (None, Some(false))),
        Step::Refuse(code, k) => jump(code, k, at, (Some(false), None)),
        Step::DoneIf(code, k) => jump(code, k, at, (Some(true), None)),
        Step::DoneUnless(code, k) => jump(code, k, at, (None, Some(true))),
    };
    steps.iter().enumerate().map(one).collect()
}

impl Filter {
    /// What the program says of a call, worked out as the kernel would.
    ///
    /// # Errors
    /// Where the program is none that the kernel would take.
    pub fn verdict(&self, audit: u32, number: u32, arguments: [u64; 6]) -> Result<Verdict, String> {
        let load = |place: u32| match place {
            NUMBER => Some(number),
            ARCH => Some(audit),
            place if (ARGUMENTS..ARGUMENTS + 48).contains(&place) && place.is_multiple_of(4) => {
                let argument = arguments[(place - ARGUMENTS) as usize / 8];
                Some(if place.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 })
            }
            _ => None,
        };
        let (mut at, mut value, mut steps) = (0_usize, 0_u32, 0);
        loop {
            let Some(instruction) = self.program.get(at) else {
                return Err("it runs past its end".to_owned());
            };
            let Instruction { code, jt, jf, k } = *instruction;
            steps += 1;
            at += 1;
            let go = |holds: bool| usize::from(if holds { jt } else { jf });
            match code {
                LOAD => value = load(k).ok_or_else(|| format!("it loads from {k}"))?,
                AND => value &= k,
                JUMP => at += k as usize,
                EQUAL => at += go(value == k),
                GREATER => at += go(value > k),
                AT_LEAST => at += go(value >= k),
                RETURN => return Ok(Verdict { value: k, steps }),
                other => return Err(format!("it has the operation {other:#x}")),
            }
        }
    }
}
