//! From a policy to a BPF program: the ABI first, then a balanced search for the number, then the arguments.

use std::borrow::Cow;

use super::groups::group;
use super::table::{Abi, X32, abis};
use super::{Action, Compare, Condition, Flags, Policy, Rule};
use crate::sys::Instruction;

/// A compiled policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The policy's name.
    pub name: String,
    /// The program.
    pub program: Cow<'static, [Instruction]>,
    /// What else the kernel is asked for.
    pub flags: Flags,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate<'a> {
    Plain(Action),
    /// One number that is refused among those that are allowed, or the like: it, what happens with it, and with those around it.
    Alone(u32, Action, Action),
    /// By these rules, of one call, in order; the last may be without conditions.
    Rules(&'a [Named<'a>]),
}

/// A rule by one of its names.
type Named<'a> = (&'a str, &'a Rule);

/// A number, and what happens from it on, until the next.
type Range<'a> = (u32, Fate<'a>);

pub(super) fn compile(policy: &Policy) -> Result<Filter, String> {
    let rules = named(policy)?;
    let index = Index::new(&rules);
    let mut program = Vec::with_capacity(1024);
    program.push(op(LOAD, ARCH));
    for abi in abis().iter().take(if policy.compat_abi { abis().len() } else { 1 }) {
        let ranges = ranges(policy, abi, &rules, &index);
        let long = 1 + if abi.has_x32() { 2 } else { 0 } + length(policy, &ranges);
        // Where it is another one, past this body.
        branch(&mut program, EQUAL, abi.audit, long);
        program.push(op(LOAD, NUMBER));
        if abi.has_x32() {
            branch(&mut program, AT_LEAST, X32, 1);
            program.push(op(RETURN, policy.other_abi.value()));
        }
        search(policy, &ranges, &mut program);
    }
    program.push(op(RETURN, policy.other_abi.value()));
    if program.len() > MOST {
        return Err(format!(
            "the policy {} compiles to {} instructions; the kernel takes at most {MOST}",
            policy.name,
            program.len()
        ));
    }
    Ok(Filter { name: policy.name.clone(), program: program.into(), flags: policy.flags })
}

/// The rules by the calls that they are for, groups taken apart; those of a call stay in their order.
fn named(policy: &Policy) -> Result<Vec<Named<'_>>, String> {
    let mut rules: Vec<Named<'_>> = Vec::with_capacity(256);
    for rule in &policy.rules {
        for call in &rule.calls {
            if call.starts_with('@') {
                let group = group(call).ok_or_else(|| format!("there is no group {call}"))?;
                rules.extend(group.calls().into_iter().map(|call| (call, rule)));
            } else {
                rules.push((call, rule));
            }
        }
    }
    // Stable.
    rules.sort_by_key(|(call, _)| *call);
    // A rule may name a call, and a group with it, too.
    rules.dedup_by(|(one, this), (other, that)| one == other && std::ptr::eq(*this, *that));
    Ok(rules)
}

/// `if test(k)` before a part of this length, which must not run into what follows.
fn branch(program: &mut Code, code: u16, k: u32, long: usize) {
    match u8::try_from(long) {
        Ok(over) => program.push(Instruction { code, jt: 0, jf: over, k }),
        // Too far for a conditional jump, not for one without.
        Err(_) => {
            program.push(Instruction { code, jt: 1, jf: 0, k });
            program.push(op(JUMP, long as u32));
        }
    }
}

/// Where the rules of a call begin, by a hash of its name: there are a thousand calls to be looked up in every start.
struct Index {
    /// The place plus one; 0 is free.
    slots: Vec<u32>,
}

impl Index {
    fn new(rules: &[Named<'_>]) -> Self {
        let size = (rules.len() * 4).next_power_of_two().max(64);
        let mut index = Self { slots: vec![0; size] };
        for (at, (call, _)) in rules.iter().enumerate() {
            if at > 0 && rules[at - 1].0 == *call {
                continue;
            }
            let mut slot = index.slot(call);
            while index.slots[slot] != 0 {
                slot = (slot + 1) % size;
            }
            index.slots[slot] = at as u32 + 1;
        }
        index
    }

    /// FNV-1a.
    fn slot(&self, call: &str) -> usize {
        let hash = call.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash ^ hash >> 32) as usize & (self.slots.len() - 1)
    }

    fn of<'a>(&self, call: &str, rules: &'a [Named<'a>]) -> &'a [Named<'a>] {
        let mut slot = self.slot(call);
        loop {
            let Some(from) = (self.slots[slot] as usize).checked_sub(1) else { return &[] };
            if rules[from].0 == call {
                let own = rules[from..].iter().take_while(|(name, _)| *name == call).count();
                return &rules[from..from + own];
            }
            slot = (slot + 1) % self.slots.len();
        }
    }
}

/// All numbers of one ABI.
fn ranges<'a>(policy: &Policy, abi: &Abi, rules: &'a [Named<'a>], index: &Index) -> Vec<Range<'a>> {
    let unknown = Fate::Plain(policy.unknown);
    let mut ranges: Vec<Range<'a>> = Vec::with_capacity(256);
    let mut next = 0;
    for (name, number) in abi.calls() {
        if number < next {
            continue;
        }
        if number > next {
            push(&mut ranges, next, unknown);
        }
        push(&mut ranges, number, fate(policy.default, index.of(name, rules)));
        next = number + 1;
    }
    push(&mut ranges, next, unknown);
    around(&ranges)
}

/// The same, with each number that stands alone among its like as one range with them: a comparison of it takes the place of two steps
/// of the search.
fn around<'a>(ranges: &[Range<'a>]) -> Vec<Range<'a>> {
    let mut all = Vec::with_capacity(ranges.len());
    let mut rest = ranges;
    loop {
        rest = match rest {
            [] => return all,
            [
                (from, Fate::Plain(before)),
                (number, Fate::Plain(own)),
                (next, Fate::Plain(after)),
                rest @ ..,
            ] if before == after && number + 1 == *next => {
                all.push((*from, Fate::Alone(*number, *own, *before)));
                rest
            }
            [range, rest @ ..] => {
                all.push(*range);
                rest
            }
        };
    }
}

fn push<'a>(ranges: &mut Vec<Range<'a>>, from: u32, fate: Fate<'a>) {
    if ranges.last().is_none_or(|(_, last)| !same(last, &fate)) {
        ranges.push((from, fate));
    }
}

/// Whether one decides as the other; the names of the calls are no matter.
fn same(one: &Fate<'_>, other: &Fate<'_>) -> bool {
    match (one, other) {
        (Fate::Plain(one), Fate::Plain(other)) => one == other,
        (Fate::Rules(one), Fate::Rules(other)) => {
            one.len() == other.len()
                && one.iter().zip(*other).all(|((_, one), (_, other))| std::ptr::eq(*one, *other))
        }
        _ => false,
    }
}

/// The first that fits decides; after one without conditions none can.
fn fate<'a>(default: Action, rules: &'a [Named<'a>]) -> Fate<'a> {
    let last = rules.iter().position(|(_, rule)| rule.conditions.is_empty());
    match (rules, last) {
        ([], _) => Fate::Plain(default),
        (_, Some(0)) => Fate::Plain(rules[0].1.action),
        (_, Some(last)) => Fate::Rules(&rules[..=last]),
        (_, None) => Fate::Rules(rules),
    }
}

/// How long [`search`] becomes.
fn length(policy: &Policy, ranges: &[Range<'_>]) -> usize {
    match ranges {
        [] => 0,
        [(_, fate)] => decide(policy, fate, None),
        _ => {
            let (below, above) = ranges.split_at(ranges.len() / 2);
            let above = length(policy, above);
            above + length(policy, below) + if above > usize::from(u8::MAX) { 2 } else { 1 }
        }
    }
}

/// A balanced search for the last of them that is not above the number.
fn search(policy: &Policy, ranges: &[Range<'_>], program: &mut Code) {
    match ranges {
        [] => {}
        [(_, fate)] => {
            decide(policy, fate, Some(program));
        }
        _ => {
            let (below, above) = ranges.split_at(ranges.len() / 2);
            branch(program, AT_LEAST, above[0].0, length(policy, above));
            search(policy, above, program);
            search(policy, below, program);
        }
    }
}

/// What happens with one number; how long that is.
fn decide(policy: &Policy, fate: &Fate<'_>, program: Option<&mut Code>) -> usize {
    let (action, code) = match fate {
        Fate::Plain(action) => (*action, Vec::new()),
        Fate::Alone(number, own, around) => {
            let test = Instruction { code: EQUAL, jt: 0, jf: 1, k: *number };
            (*around, vec![test, op(RETURN, own.value())])
        }
        Fate::Rules(rules) => {
            let mut code = Vec::new();
            let mut otherwise = policy.default;
            for rules in rules.chunk_by(|(_, one), (_, other)| are_alike(one, other)) {
                match rules {
                    [(_, rule)] if rule.conditions.is_empty() => otherwise = rule.action,
                    [(_, rule)] => code.extend(case(&rule.conditions, rule.action)),
                    several => code.extend(any_case(several)),
                }
            }
            (otherwise, code)
        }
    };
    let long = code.len() + 1;
    if let Some(program) = program {
        program.extend(code);
        program.push(op(RETURN, action.value()));
    }
    long
}

/// A jump of a comparison goes over 255 instructions at most, and a test has fewer than the difference.
const FAR: usize = 240;

/// What a rule looks at, where that is some bits of the low half of one argument: the argument, the bits, and their value.
fn bits(rule: &Rule) -> Option<(u8, u32, u32)> {
    let [Condition { argument, compare: Compare::Masked(mask, value) }] = rule.conditions[..] else {
        return None;
    };
    Some((argument, u32::try_from(mask).ok()?, u32::try_from(value).ok()?))
}

/// Whether both do the same, for values of the same bits.
fn are_alike(one: &Rule, other: &Rule) -> bool {
    let place = |rule| bits(rule).map(|(argument, mask, _)| (argument, mask));
    one.action == other.action && place(one).is_some() && place(one) == place(other)
}

/// As one [`case`] after the other, for rules that are alike: the argument is looked at once.
fn any_case(rules: &[Named<'_>]) -> Code {
    let mut code = Vec::new();
    // As many at once as a jump reaches over.
    for rules in rules.chunks(FAR) {
        let values: Vec<_> = rules.iter().filter_map(|(_, rule)| bits(rule)).collect();
        let (argument, mask, _) = values[0];
        code.push(op(LOAD, ARGUMENTS + 8 * u32::from(argument)));
        if mask != u32::MAX {
            code.push(op(AND, mask));
        }
        for (n, (_, _, value)) in values.iter().enumerate() {
            let last = n + 1 == values.len();
            let jt = (values.len() - n - 1) as u8;
            code.push(Instruction { code: EQUAL, jt, jf: u8::from(last), k: *value });
        }
        code.push(op(RETURN, rules[0].1.action.value()));
    }
    code
}

/// Returns where all conditions hold; else runs on behind itself.
fn case(conditions: &[Condition], action: Action) -> Code {
    // From the last to the first, so that the way to the end is known.
    let mut code = vec![op(RETURN, action.value())];
    for condition in conditions.iter().rev() {
        let mut test = if code.len() > FAR {
            // What does not hold passes over one, to the jump that goes the whole way.
            let mut test = test(condition, 1);
            test.extend([op(JUMP, 1), op(JUMP, code.len() as u32)]);
            test
        } else {
            test(condition, code.len())
        };
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
    /// [`Policy::container`], compiled beforehand.
    ///
    /// # Errors
    /// None on x86_64; elsewhere as [`Policy::compile`].
    pub fn container() -> Result<Self, String> {
        #[cfg(target_arch = "x86_64")]
        return Ok(Self::ready("default", &super::ready::CONTAINER));
        #[cfg(not(target_arch = "x86_64"))]
        Policy::container().compile()
    }

    /// [`Policy::strict`], compiled beforehand.
    ///
    /// # Errors
    /// None on x86_64; elsewhere as [`Policy::compile`].
    pub fn strict() -> Result<Self, String> {
        #[cfg(target_arch = "x86_64")]
        return Ok(Self::ready("strict", &super::ready::STRICT));
        #[cfg(not(target_arch = "x86_64"))]
        Policy::strict().compile()
    }

    #[cfg(target_arch = "x86_64")]
    fn ready(name: &str, program: &'static [Instruction]) -> Self {
        Self { name: name.to_owned(), program: Cow::Borrowed(program), flags: Flags::NONE }
    }

    /// Whether it asks a listener about some call.
    pub fn notifies(&self) -> bool {
        self.program.iter().any(|step| step.code == RETURN && step.k == Action::Notify.value())
    }

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
