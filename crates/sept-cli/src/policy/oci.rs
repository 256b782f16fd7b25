//! Policies in the JSON of the OCI runtime specification: its `linux.seccomp`.

use sept::seccomp::{Action, Compare, Condition, Flags, Policy, Rule, with_multiplexed};
use serde_json::Value;

use super::{Agent, Profile, near};

/// Behind SCMP_ARCH_: those of the specification.
const ARCHITECTURES: [&str; 23] = [
    "AARCH64",
    "ARM",
    "LOONGARCH64",
    "M68K",
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PARISC",
    "PARISC64",
    "PPC",
    "PPC64",
    "PPC64LE",
    "RISCV64",
    "S390",
    "S390X",
    "SH",
    "SHEB",
    "X32",
    "X86",
    "X86_64",
];

/// A profile of an engine, with lists by capability, is another thing.
pub fn read(name: &str, json: &Value) -> Result<Profile, String> {
    let object = json.as_object().ok_or("it is no object")?;
    let default = action(object.get("defaultAction"), object.get("defaultErrnoRet"))
        .map_err(|why| format!("defaultAction: {why}"))?;
    let mut rules = Vec::new();
    for (n, entry) in list(object.get("syscalls"), "syscalls")?.iter().enumerate() {
        rules.extend(rule(entry).map_err(|why| format!("syscalls[{n}]: {why}"))?);
    }
    let mut flags = Flags::NONE;
    for flag in list(object.get("flags"), "flags")? {
        let known = flag.as_str().filter(|name| name.starts_with("SECCOMP_")).and_then(Flags::parse);
        flags = flags.with(known.ok_or_else(|| format!("there is no flag {flag}"))?);
    }
    // A call that is newer than the policy fails as on an older kernel, not as one that is forbidden; but a policy
    // that ends or allows whatever it does not name means that for those, too.
    let unknown =
        if matches!(default, Action::Errno(_)) { Action::Errno(libc::ENOSYS as u16) } else { default };
    let policy = Policy {
        name: name.to_owned(),
        default,
        unknown,
        other_abi: Action::KillProcess,
        compat_abi: names_compat_abi(object.get("architectures"))?,
        flags,
        rules: with_multiplexed(rules),
    };
    Ok(Profile { policy, agent: agent(object)? })
}

/// Whether it is for the 32-bit ABI of this processor, too. Its own is always meant, and x32 refused.
fn names_compat_abi(architectures: Option<&Value>) -> Result<bool, String> {
    let compat = if cfg!(target_arch = "x86_64") { "X86" } else { "ARM" };
    let mut named = false;
    for architecture in list(architectures, "architectures")? {
        let name = architecture.as_str().and_then(|name| name.strip_prefix("SCMP_ARCH_"));
        let known = name.filter(|name| ARCHITECTURES.contains(name)).ok_or_else(|| {
            let near = near(name.unwrap_or_default(), ARCHITECTURES.into_iter());
            let all = ARCHITECTURES.join(", ");
            format!("there is no architecture {architecture}{near}; SCMP_ARCH_ is followed by one of {all}")
        })?;
        named |= known == compat;
    }
    Ok(named)
}

/// Who answers SCMP_ACT_NOTIFY.
fn agent(object: &serde_json::Map<String, Value>) -> Result<Option<Agent>, String> {
    let text = |key: &str| match object.get(key) {
        None => Ok(None),
        Some(value) => value.as_str().map(str::to_owned).map(Some).ok_or(format!("{key} is no string")),
    };
    match (text("listenerPath")?, text("listenerMetadata")?) {
        (Some(path), metadata) => {
            Ok(Some(Agent { path: path.into(), metadata: metadata.unwrap_or_default() }))
        }
        (None, Some(_)) => Err("listenerMetadata is there without listenerPath".to_owned()),
        (None, None) => Ok(None),
    }
}

fn list<'a>(value: Option<&'a Value>, what: &str) -> Result<&'a [Value], String> {
    value
        .map_or(Some(&[][..]), |value| value.as_array().map(Vec::as_slice))
        .ok_or(format!("{what} is no list"))
}

fn rule(entry: &Value) -> Result<Vec<Rule>, String> {
    for unsupported in ["includes", "excludes"] {
        if entry.get(unsupported).and_then(Value::as_object).is_some_and(|lists| !lists.is_empty()) {
            return Err(format!("{unsupported} is of an engine's profile, not of the runtime's"));
        }
    }
    let names = entry.get("names").and_then(Value::as_array).ok_or("it has no names")?;
    let call = |name: &Value| match name.as_str() {
        Some(group) if group.starts_with('@') => {
            Err(format!("{group} is a group, which this format has not"))
        }
        Some(name) => Ok(name.to_owned().into()),
        None => Err("a name is no string".to_owned()),
    };
    let calls: Vec<_> = names.iter().map(call).collect::<Result<_, _>>()?;
    let conditions: Vec<Condition> =
        list(entry.get("args"), "args")?.iter().map(condition).collect::<Result<_, _>>()?;
    let action = action(entry.get("action"), entry.get("errnoRet"))?;
    let of = |conditions| Rule { calls: calls.clone(), conditions, action };
    // libseccomp compares an argument once in a rule. So runtimes make rules of one condition each where an entry
    // compares one twice, and any of its conditions is enough.
    let twice =
        |(n, one): (usize, &Condition)| conditions[..n].iter().any(|other| other.argument == one.argument);
    Ok(if conditions.iter().enumerate().any(twice) {
        conditions.iter().map(|condition| of(vec![*condition])).collect()
    } else {
        vec![of(conditions)]
    })
}

fn action(word: Option<&Value>, errno: Option<&Value>) -> Result<Action, String> {
    let number = match errno {
        None => libc::EPERM as u16,
        Some(errno) => errno
            .as_u64()
            .and_then(|errno| u16::try_from(errno).ok())
            .filter(|errno| *errno <= 4095)
            .ok_or("errnoRet is no errno")?,
    };
    let word = word.and_then(Value::as_str).ok_or("there is no action")?;
    Ok(match word {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(number),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap(0),
        "SCMP_ACT_TRACE" => Action::Trace(number),
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_NOTIFY" => Action::Notify,
        other => return Err(format!("there is no action {other}")),
    })
}

fn condition(entry: &Value) -> Result<Condition, String> {
    let number =
        |name: &str| entry.get(name).map_or(Some(0), Value::as_u64).ok_or(format!("{name} is no number"));
    let argument = number("index")?;
    let argument =
        u8::try_from(argument).ok().filter(|argument| *argument < 6).ok_or("an index is from 0 to 5")?;
    let (value, second) = (number("value")?, number("valueTwo")?);
    let op = entry.get("op").and_then(Value::as_str).ok_or("there is no op")?;
    let compare = match op {
        "SCMP_CMP_EQ" => Compare::Eq(value),
        "SCMP_CMP_NE" => Compare::Ne(value),
        "SCMP_CMP_LT" => Compare::Lt(value),
        "SCMP_CMP_LE" => Compare::Le(value),
        "SCMP_CMP_GT" => Compare::Gt(value),
        "SCMP_CMP_GE" => Compare::Ge(value),
        "SCMP_CMP_MASKED_EQ" => Compare::Masked(value, second),
        other => return Err(format!("there is no op {other}")),
    };
    Ok(Condition { argument, compare })
}
