//! Which device files a cgroup may use: the rules, and the eBPF program that says the same for version 2.

use std::collections::BTreeMap;
use std::fmt;

use super::Cgroup;
use crate::sys::BpfInstruction;

/// What kind of device file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    /// All of both kinds.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Character,
}

/// What may be done with a device file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceAccess {
    /// Reading: `r`.
    pub read: bool,
    /// Writing: `w`.
    pub write: bool,
    /// Making it, mknod(2): `m`.
    pub make: bool,
}

/// One rule of [`Cgroup::devices`]; Documentation/admin-guide/cgroup-v1/devices.rst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// Of which kind.
    pub kind: DeviceKind,
    /// With this major number; any without.
    pub major: Option<u32>,
    /// With this minor number; any without.
    pub minor: Option<u32>,
    /// What is allowed or denied.
    pub access: DeviceAccess,
}

impl DeviceAccess {
    /// Everything.
    pub const ALL: Self = Self { read: true, write: true, make: true };

    /// BPF_DEVCG_ACC_MKNOD, _READ and _WRITE.
    fn bits(self) -> u8 {
        u8::from(self.make) | u8::from(self.read) << 1 | u8::from(self.write) << 2
    }
}

impl DeviceRule {
    /// Every device of every kind, in every way.
    fn is_all(&self) -> bool {
        self.kind == DeviceKind::All
    }

    /// From the words of the kernel and of container engines: `c 1:3 rwm`, `b *:* m`, `a`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, allow: bool) -> Result<Self, String> {
        let mut words = text.split_ascii_whitespace();
        let kind = match words.next() {
            Some("a") => DeviceKind::All,
            Some("b") => DeviceKind::Block,
            Some("c") => DeviceKind::Character,
            _ => return Err("a kind is wanted first: a, b or c".to_owned()),
        };
        let (numbers, access) = (words.next(), words.next());
        if words.next().is_some() {
            return Err("there are words too many".to_owned());
        }
        let number = |text: &str| match text {
            "*" => Ok(None),
            text => text.parse().map(Some).map_err(|_| format!("{text:?} is no number, and not *")),
        };
        let (major, minor) = numbers
            .unwrap_or(if kind == DeviceKind::All { "*:*" } else { "" })
            .split_once(':')
            .ok_or("major and minor number are wanted: 1:3, 4:*")?;
        let (major, minor) = (number(major)?, number(minor)?);
        if kind == DeviceKind::All && (major.is_some() || minor.is_some()) {
            return Err("a is all devices; with numbers say b or c".to_owned());
        }
        let mut granted = DeviceAccess::default();
        for letter in access.unwrap_or("rwm").chars() {
            match letter {
                'r' => granted.read = true,
                'w' => granted.write = true,
                'm' => granted.make = true,
                other => return Err(format!("{other} is none of r, w and m")),
            }
        }
        let all = granted.read && granted.write && granted.make;
        // The kernel's rule for all devices is one for all access, too.
        if kind == DeviceKind::All && !all {
            return Err(
                "a is all access to all devices; for some of it write two rules, for b and c".to_owned()
            );
        }
        Ok(Self { allow, kind, major, minor, access: granted })
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::All => return f.write_str("a"),
            DeviceKind::Block => 'b',
            DeviceKind::Character => 'c',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        let letters = [(self.access.read, 'r'), (self.access.write, 'w'), (self.access.make, 'm')];
        letters.iter().filter(|(granted, _)| *granted).try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// What the kernel makes of the rules one after another: a default, and exceptions from it.
struct Exceptions {
    allow_others: bool,
    /// By kind, major and minor number: the bits of the access.
    exceptions: BTreeMap<(DeviceKind, Option<u32>, Option<u32>), u8>,
}

impl Exceptions {
    fn new(rules: &[DeviceRule]) -> Self {
        let mut made = Self { allow_others: false, exceptions: BTreeMap::new() };
        for rule in rules {
            if rule.is_all() {
                made = Self { allow_others: rule.allow, exceptions: BTreeMap::new() };
                continue;
            }
            let bits = made.exceptions.entry((rule.kind, rule.major, rule.minor)).or_default();
            if rule.allow == made.allow_others {
                *bits &= !rule.access.bits();
            } else {
                *bits |= rule.access.bits();
            }
        }
        made.exceptions.retain(|_, bits| *bits != 0);
        made
    }
}

impl Cgroup {
    /// The program for version 2, BPF_PROG_TYPE_CGROUP_DEVICE, which answers 1 or 0.
    pub(crate) fn device_program(&self) -> Option<Vec<BpfInstruction>> {
        self.devices.as_ref().map(|rules| program(&Exceptions::new(rules)))
    }
}

/// In registers: 2 the kind, 3 the access, 4 and 5 the numbers, 1 what is being worked out.
fn program(rules: &Exceptions) -> Vec<BpfInstruction> {
    let load = |to, offset| BpfInstruction::new(0x61, to, 1, offset, 0);
    let mut code = vec![
        // struct bpf_cgroup_dev_ctx: the access in the upper half of a word, the kind in the lower; major; minor.
        load(2, 0),
        load(4, 4),
        load(5, 8),
        BpfInstruction::new(0xbc, 3, 2, 0, 0),
        BpfInstruction::new(0x54, 2, 0, 0, 0xffff),
        BpfInstruction::new(0x74, 3, 0, 0, 16),
    ];
    for ((kind, major, minor), bits) in &rules.exceptions {
        code.extend(exception(*kind, *major, *minor, *bits, rules.allow_others));
    }
    code.extend(answer(rules.allow_others));
    code
}

fn answer(allow: bool) -> [BpfInstruction; 2] {
    [BpfInstruction::new(0xb4, 0, 0, 0, i32::from(allow)), BpfInstruction::new(0x95, 0, 0, 0, 0)]
}

/// Where others are allowed, any of these accesses is one too many; where not, all that is wanted must be among them.
fn exception(
    kind: DeviceKind,
    major: Option<u32>,
    minor: Option<u32>,
    bits: u8,
    allow_others: bool,
) -> Vec<BpfInstruction> {
    const NOT_EQUAL: u8 = 0x56;
    const EQUAL: u8 = 0x16;
    let kind = if kind == DeviceKind::Block { 1 } else { 2 };
    let mut tests = vec![(NOT_EQUAL, 2, kind)];
    tests.extend(major.map(|major| (NOT_EQUAL, 4, major as i32)));
    tests.extend(minor.map(|minor| (NOT_EQUAL, 5, minor as i32)));
    let (mask, leave) =
        if allow_others { (i32::from(bits), EQUAL) } else { (!i32::from(bits) & 7, NOT_EQUAL) };
    // Behind the tests: copy, mask, test, two of the answer.
    let mut rest = tests.len() as i16 + 5;
    let mut code = Vec::new();
    for (test, register, value) in tests {
        rest -= 1;
        code.push(BpfInstruction::new(test, register, 0, rest, value));
    }
    code.push(BpfInstruction::new(0xbc, 1, 3, 0, 0));
    code.push(BpfInstruction::new(0x54, 1, 0, 0, mask));
    code.push(BpfInstruction::new(leave, 1, 0, 2, 0));
    code.extend(answer(!allow_others));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program answers.
    fn asked(code: &[BpfInstruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let mut registers = [0_u32; 6];
        let mut at = 0;
        loop {
            let BpfInstruction { code: operation, pair, offset, immediate } = code[at];
            let (to, from) = ((pair & 15) as usize, (pair >> 4) as usize);
            let jump = |holds: bool| if holds { offset as usize } else { 0 };
            at += 1;
            match operation {
                0x61 => registers[to] = [access << 16 | kind, major, minor][offset as usize / 4],
                0xbc => registers[to] = registers[from],
                0x54 => registers[to] &= immediate as u32,
                0x74 => registers[to] >>= immediate,
                0xb4 => registers[to] = immediate as u32,
                0x56 => at += jump(registers[to] != immediate as u32),
                0x16 => at += jump(registers[to] == immediate as u32),
                0x95 => return registers[0] == 1,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn rules(lines: &[&str]) -> Vec<DeviceRule> {
        let rule = |line: &&str| DeviceRule::parse(&line[1..], line.starts_with('+')).expect("it is a rule");
        lines.iter().map(rule).collect()
    }

    #[test]
    fn the_program_says_what_the_rules_say() {
        let (mknod, read, write) = (1, 2, 4);
        let code = program(&Exceptions::new(&rules(&[
            "+c 1:3 r",
            "+c 1:3 w",
            "+b *:* m",
            "+c 5:* rwm",
            "-c 5:* m",
        ])));
        assert!(asked(&code, 2, read | write, 1, 3), "two rules add up");
        assert!(
            !asked(&code, 2, mknod, 1, 3) && !asked(&code, 1, read, 1, 3) && !asked(&code, 2, read, 1, 4)
        );
        assert!(asked(&code, 1, mknod, 8, 0) && !asked(&code, 1, mknod | read, 8, 0));
        assert!(asked(&code, 2, read, 5, 77) && !asked(&code, 2, mknod, 5, 77));
        let code = program(&Exceptions::new(&rules(&["+a", "-c 1:9 w"])));
        assert!(
            asked(&code, 1, 7, 8, 0) && asked(&code, 2, read, 1, 9) && !asked(&code, 2, read | write, 1, 9)
        );
        assert!(!asked(&program(&Exceptions::new(&[])), 2, read, 1, 3));
    }

    #[test]
    fn rules_are_printed_as_they_are_written() {
        for line in ["c 1:3 rwm", "b *:* m", "c 136:* rw", "a"] {
            assert_eq!(DeviceRule::parse(line, true).map(|rule| rule.to_string()), Ok(line.to_owned()));
        }
        for line in [
            "",
            "x 1:3",
            "c",
            "c 1",
            "c 1:x r",
            "c 1:3 rx",
            "a 1:3",
            "a *:* m",
            "a *:* rw",
            "c 1:3 r w",
            "c -1:3 r",
        ] {
            assert!(DeviceRule::parse(line, true).is_err(), "{line}");
        }
    }
}
