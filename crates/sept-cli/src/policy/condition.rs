//! Conditions on arguments as they are written: `arg1 & 0xffff == 0x5412`.

use sept::seccomp::{Compare, Condition};

/// From text. `argN` is the whole argument of 64 bits, `argN:32` its low half, which is all that the kernel looks at where
/// the argument is an int.
pub fn parse(text: &str) -> Result<Condition, String> {
    let shape = || format!("{text:?} is no condition; write, for instance, arg0 == 3 or arg1 & 0xff == 0x12");
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let rest = compact.strip_prefix("arg").ok_or_else(shape)?;
    let argument = rest.bytes().next().filter(u8::is_ascii_digit).ok_or_else(shape)? - b'0';
    let mut rest = &rest[1..];
    if argument > 5 || rest.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("a call has the arguments arg0 to arg5".to_owned());
    }
    let mut mask = None;
    if let Some(low) = rest.strip_prefix(":32") {
        (mask, rest) = (Some(u64::from(u32::MAX)), low);
    }
    let half = mask.is_some();
    if let Some(masked) = rest.strip_prefix('&') {
        let end = masked.find(['=', '!', '<', '>']).ok_or_else(shape)?;
        mask = Some(number(&masked[..end])? & mask.unwrap_or(u64::MAX));
        rest = &masked[end..];
    }
    let op_end = rest.find(|c: char| !"=!<>".contains(c)).ok_or_else(shape)?;
    let (op, value) = rest.split_at(op_end);
    let value = if half { low_half(value)? } else { number(value)? };
    Ok(Condition { argument, compare: compare(op, mask, value, text)? })
}

fn compare(op: &str, mask: Option<u64>, value: u64, text: &str) -> Result<Compare, String> {
    Ok(match (op, mask) {
        ("==", Some(mask)) if value & !mask != 0 => {
            return Err(format!("{text:?} never holds: the value has bits that the mask has not"));
        }
        ("==", Some(mask)) => Compare::Masked(mask, value),
        ("==", None) => Compare::Eq(value),
        ("!=", None) => Compare::Ne(value),
        ("<", None) => Compare::Lt(value),
        ("<=", None) => Compare::Le(value),
        (">", None) => Compare::Gt(value),
        (">=", None) => Compare::Ge(value),
        ("!=" | "<" | "<=" | ">" | ">=", Some(_)) => {
            return Err(
                "with :32 or a mask only == can be asked; a rule in front can make the exception".to_owned()
            );
        }
        ("=", _) => return Err("equal is ==".to_owned()),
        _ => return Err(format!("{op} compares nothing; ==, !=, <, <=, > and >= do")),
    })
}

/// A number of C or TOML; a negative one as the kernel sees it.
pub fn number(text: &str) -> Result<u64, String> {
    let clean = text.replace('_', "");
    let parsed = match clean.get(..2) {
        Some("0x" | "0X") => u64::from_str_radix(&clean[2..], 16).ok(),
        Some("0o") => u64::from_str_radix(&clean[2..], 8).ok(),
        Some("0b") => u64::from_str_radix(&clean[2..], 2).ok(),
        _ => clean.parse().ok().or_else(|| clean.parse::<i64>().ok().map(|number| number as u64)),
    };
    parsed.filter(|_| !clean.starts_with('+')).ok_or_else(|| format!("{text:?} is no number of 64 bits"))
}

fn low_half(text: &str) -> Result<u64, String> {
    let value = number(text)?;
    let negative = (value as i64) < 0 && (value as i64) >= i64::from(i32::MIN);
    if value <= u64::from(u32::MAX) || negative {
        return Ok(value & u64::from(u32::MAX));
    }
    Err(format!("{text:?} has more than the 32 bits that are compared"))
}

/// As [`parse`] reads it.
pub fn words(condition: &Condition) -> String {
    let shown = |value: u64| if value < 10 { value.to_string() } else { format!("{value:#x}") };
    let argument = format!("arg{}", condition.argument);
    match condition.compare {
        Compare::Eq(value) => format!("{argument} == {}", shown(value)),
        Compare::Ne(value) => format!("{argument} != {}", shown(value)),
        Compare::Lt(value) => format!("{argument} < {}", shown(value)),
        Compare::Le(value) => format!("{argument} <= {}", shown(value)),
        Compare::Gt(value) => format!("{argument} > {}", shown(value)),
        Compare::Ge(value) => format!("{argument} >= {}", shown(value)),
        Compare::Masked(0xffff_ffff, value) => format!("{argument}:32 == {}", shown(value)),
        Compare::Masked(mask, value) => format!("{argument} & {} == {}", shown(mask), shown(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (text, argument, compare) in [
            ("arg0 == 3", 0, Compare::Eq(3)),
            ("arg5!=0x10", 5, Compare::Ne(16)),
            ("arg1 < 1_000", 1, Compare::Lt(1000)),
            (" arg2 <= 0o17 ", 2, Compare::Le(15)),
            ("arg2 > 0b11", 2, Compare::Gt(3)),
            ("arg3 >= -1", 3, Compare::Ge(u64::MAX)),
            ("arg1 & 0xffff == 0x5412", 1, Compare::Masked(0xffff, 0x5412)),
            ("arg0:32 == 40", 0, Compare::Masked(0xffff_ffff, 40)),
            ("arg0:32 == -1", 0, Compare::Masked(0xffff_ffff, 0xffff_ffff)),
            ("arg0:32 & 0xf00000000f == 1", 0, Compare::Masked(0xf, 1)),
        ] {
            let condition = parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(condition, Condition { argument, compare }, "{text}");
            assert_eq!(parse(&words(&condition)), Ok(condition), "{text} as {}", words(&condition));
        }
        for (text, reason) in [
            ("", "no condition"),
            ("arg0", "no condition"),
            ("arg0 & 3", "no condition"),
            ("argument 0 == 1", "no condition"),
            ("arg0 = 1", "equal is =="),
            ("arg0 === 1", "compares nothing"),
            ("arg0 == x", "no number"),
            ("arg0 == ", "no condition"),
            ("arg0 == +1", "no number"),
            ("arg0 == 0x10000000000000000", "no number"),
            ("arg6 == 1", "arg0 to arg5"),
            ("arg10 == 1", "arg0 to arg5"),
            ("arg0 & 0xf0 == 0xf", "never holds"),
            ("arg0:32 == 0x100000000", "more than the 32 bits"),
            ("arg0:32 < 4", "only =="),
            ("arg0 & 3 != 4", "only =="),
        ] {
            let why = parse(text).expect_err(text);
            assert!(
                why.contains(reason) || reason == "no condition" && why.contains("no number"),
                "{text}: {why}"
            );
        }
    }
}
