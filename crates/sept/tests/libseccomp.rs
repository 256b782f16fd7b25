//! The same policy through libseccomp, and what the two programs say of every call.

mod common;

use std::borrow::Cow;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::skip;
use sept::seccomp::{Action, Compare, Condition, Filter, Flags, Instruction, Policy, Rule, abis};

/// Reads a rule a line (a name, then conditions), and writes the program. Default: EPERM; the rules allow.
const SCRIPT: &str = r"
import sys, time, seccomp
from seccomp import *
begun = time.perf_counter()
f = SyscallFilter(ERRNO(1))
f.add_arch(Arch.X86)
ops = {'eq': EQ, 'ne': NE, 'lt': LT, 'le': LE, 'gt': GT, 'ge': GE}
for line in sys.stdin:
    words = line.split()
    args = []
    for at in range(1, len(words), 4):
        arg, op, a, b = int(words[at]), words[at + 1], int(words[at + 2]), int(words[at + 3])
        args.append(Arg(arg, MASKED_EQ, a, b) if op == 'masked' else Arg(arg, ops[op], a))
    try:
        f.add_rule(ALLOW, words[0], *args)
    except RuntimeError:
        sys.stderr.write('unknown %s\n' % words[0])
f.export_bpf(sys.stdout)
sys.stderr.write('took %f\n' % (time.perf_counter() - begun))
";

/// Everything that the ready policy allows, as a list of what is allowed.
fn policy() -> Policy {
    let container = Policy::container();
    let refused: Vec<&str> = container.rules.iter().flat_map(|rule| &rule.calls).map(AsRef::as_ref).collect();
    let mut names: Vec<&str> = abis().iter().flat_map(|abi| abi.calls()).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let allow = |calls: Vec<Cow<'static, str>>, conditions| Rule { calls, conditions, action: Action::Allow };
    let plain = names.into_iter().filter(|name| !refused.contains(name)).map(Into::into).collect();
    let when = |argument, compare| Condition { argument, compare };
    let mut rules = vec![allow(plain, vec![])];
    rules.push(allow(vec!["clone".into()], vec![when(0, Compare::Masked(0x7e02_0000, 0))]));
    for persona in [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        rules.push(allow(vec!["personality".into()], vec![when(0, Compare::Eq(persona))]));
    }
    for (name, compare) in [
        ("quotactl", Compare::Lt(1 << 33)),
        ("keyctl", Compare::Le(7)),
        ("bpf", Compare::Gt(u64::from(u32::MAX))),
        ("setns", Compare::Ge(0x1_0000_0005)),
        ("unshare", Compare::Ne(0x1_0000_0000)),
    ] {
        rules.push(allow(vec![name.into()], vec![when(1, compare), when(2, Compare::Eq(3))]));
    }
    Policy {
        name: "allowed".to_owned(),
        default: Action::Errno(1),
        unknown: Action::Errno(38),
        other_abi: Action::KillThread,
        compat_abi: true,
        flags: Flags::NONE,
        rules,
    }
}

fn lines(policy: &Policy) -> String {
    let mut text = String::new();
    for rule in &policy.rules {
        for call in &rule.calls {
            text.push_str(call);
            for condition in &rule.conditions {
                let (op, a, b) = match condition.compare {
                    Compare::Eq(value) => ("eq", value, 0),
                    Compare::Ne(value) => ("ne", value, 0),
                    Compare::Lt(value) => ("lt", value, 0),
                    Compare::Le(value) => ("le", value, 0),
                    Compare::Gt(value) => ("gt", value, 0),
                    Compare::Ge(value) => ("ge", value, 0),
                    Compare::Masked(mask, value) => ("masked", mask, value),
                };
                text.push_str(&format!(" {} {op} {a} {b}", condition.argument));
            }
            text.push('\n');
        }
    }
    text
}

#[test]
fn libseccomp_says_the_same() {
    let test = "libseccomp_says_the_same";
    if !cfg!(target_arch = "x86_64") {
        skip(test, "the script is for x86_64");
        return;
    }
    let there =
        Command::new("/usr/bin/python3").args(["-c", "import seccomp"]).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        skip(test, "python3-seccomp is not installed");
        return;
    }
    let policy = policy();
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = python.spawn().expect("python starts");
    let text = lines(&policy);
    python.stdin.take().expect("input is piped").write_all(text.as_bytes()).expect("it is taken");
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let unknown: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("unknown ")).collect();
    let theirs =
        said.lines().find_map(|line| line.strip_prefix("took ")?.parse::<f64>().ok()).expect("a time");
    let instruction = |bytes: &[u8]| Instruction {
        code: u16::from_ne_bytes([bytes[0], bytes[1]]),
        jt: bytes[2],
        jf: bytes[3],
        k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    };
    let their_filter = Filter {
        name: "libseccomp".to_owned(),
        program: output.stdout.chunks_exact(8).map(instruction).collect::<Vec<_>>().into(),
        flags: Flags::NONE,
    };
    let begun = Instant::now();
    let filter = policy.compile().expect("it compiles");
    let ours = begun.elapsed().as_secs_f64();

    let edges: Vec<u64> = [
        0,
        3,
        5,
        7,
        8,
        0x2_0000,
        0x2_0008,
        0x7e02_0000,
        0x1000_0000,
        0xffff_ffff,
        1 << 32,
        1 << 33,
        0x1_0000_0005,
    ]
    .into_iter()
    .flat_map(|value: u64| [value.wrapping_sub(1), value, value + 1, value | 1 << 63])
    .collect();
    let (mut steps, mut their_steps, mut compared) = (0, 0, 0);
    for abi in abis() {
        for (name, number) in abi.calls() {
            // What the installed libseccomp does not know yet it can't be asked about.
            if unknown.contains(&name) {
                continue;
            }
            let of_call = |rule: &&Rule| rule.calls.iter().any(|call| call == name);
            let conditions = || policy.rules.iter().filter(of_call).flat_map(|rule| &rule.conditions);
            let has_conditions = conditions().next().is_some();
            // An ABI of 32 bits has no such arguments; libseccomp cuts the numbers, we do not.
            let narrow = abi.name == "x86";
            let wide = |condition: &Condition| match condition.compare {
                Compare::Masked(mask, value) => mask.max(value) > u64::from(u32::MAX),
                Compare::Eq(value) | Compare::Ne(value) | Compare::Lt(value) => value > u64::from(u32::MAX),
                Compare::Le(value) | Compare::Gt(value) | Compare::Ge(value) => value > u64::from(u32::MAX),
            };
            if narrow && conditions().any(wide) {
                continue;
            }
            let tried: Vec<[u64; 6]> = if has_conditions {
                let pair = |first: u64| {
                    [
                        [first, 0, 0, 0, 0, 0],
                        [0, first, 3, 0, 0, 0],
                        [0, first, 3 | 1 << 40, 0, 0, 0],
                        [0, 1, first, 0, 0, 0],
                    ]
                };
                let values = edges.iter().map(|value| if narrow { value & 0xffff_ffff } else { *value });
                values
                    .flat_map(pair)
                    .filter(|all| !narrow || all.iter().all(|value| value >> 32 == 0))
                    .collect()
            } else {
                vec![[0; 6]]
            };
            for arguments in tried {
                let one = filter.verdict(abi.audit, number, arguments).expect("a verdict");
                let other = their_filter.verdict(abi.audit, number, arguments).expect("a verdict");
                assert_eq!(one.value, other.value, "{} {name} {arguments:x?}", abi.name);
                (steps, their_steps, compared) = (steps + one.steps, their_steps + other.steps, compared + 1);
            }
        }
    }
    for number in [0x4000_0000, 0x4000_0001, 0x4000_0200, 0x7fff_ffff] {
        let x32 = |filter: &Filter| filter.verdict(abis()[0].audit, number, [0; 6]).expect("a verdict").value;
        assert_eq!(x32(&filter), x32(&their_filter), "x32 {number:x}");
    }
    println!(
        "{compared} calls: {steps} instructions against {their_steps}; compiled in {:.0} µs against {:.0} µs",
        ours * 1e6,
        theirs * 1e6
    );
    assert!(steps < their_steps, "{steps} instructions against {their_steps}");
}
