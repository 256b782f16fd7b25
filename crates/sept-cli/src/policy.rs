//! System call policies by name or file, and `sept seccomp`.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use lexopt::{Arg, Parser};
use sept::seccomp::{Action, Compare, Condition, Filter, Flags, Policy, Rule, abis};
use serde_json::Value;

use crate::failure::Failure;
use crate::options::{self, Id};
use crate::report;
use crate::request;

/// `default`, `strict`, or the file of one.
pub fn find(name: &OsStr) -> Result<Policy, Failure> {
    match name.to_str() {
        Some("default") => return Ok(Policy::container()),
        Some("strict") => return Ok(Policy::strict()),
        _ => {}
    }
    let path = Path::new(name);
    let shown = path.display();
    let text = fs::read(path).map_err(|error| {
        Failure::io(format!("cannot read the policy {shown}"), &error)
            .fix("default, strict, off, or the path of a file")
    })?;
    let json = serde_json::from_slice(&text)
        .map_err(|error| Failure::usage(format!("the policy {shown} is no JSON: {error}")))?;
    from_oci(&shown.to_string(), &json).map_err(|why| {
        Failure::usage(format!("the policy {shown} can't be used: {why}"))
            .why("its shape is that of linux.seccomp in the OCI runtime specification")
    })
}

/// The program of a policy by name or file. Those that are ready need not be compiled.
pub fn filter(name: &OsStr) -> Result<Filter, Failure> {
    match name.to_str() {
        Some("default") => Filter::container().map_err(Failure::usage),
        Some("strict") => Filter::strict().map_err(Failure::usage),
        _ => compiled(&find(name)?),
    }
}

pub fn compiled(policy: &Policy) -> Result<Filter, Failure> {
    policy.compile().map_err(Failure::usage)
}

/// linux.seccomp of the OCI runtime specification. A profile of an engine, with lists by capability, is another thing.
fn from_oci(name: &str, json: &Value) -> Result<Policy, String> {
    let object = json.as_object().ok_or("it is no object")?;
    let default = action(object.get("defaultAction"), object.get("defaultErrnoRet"))
        .map_err(|why| format!("defaultAction: {why}"))?;
    if let Some(flag) = object.get("flags").and_then(Value::as_array).and_then(|flags| flags.first()) {
        return Err(format!("the flag {flag} is not supported"));
    }
    let mut rules = Vec::new();
    let empty = Vec::new();
    for (n, entry) in object
        .get("syscalls")
        .map_or(Some(&empty), Value::as_array)
        .ok_or("syscalls is no list")?
        .iter()
        .enumerate()
    {
        rules.push(rule(entry).map_err(|why| format!("syscalls[{n}]: {why}"))?);
    }
    // A call that is newer than the policy fails as on an older kernel, not as one that is forbidden; but a policy
    // that ends or allows whatever it does not name means that for those, too.
    let unknown =
        if matches!(default, Action::Errno(_)) { Action::Errno(libc::ENOSYS as u16) } else { default };
    Ok(Policy {
        name: name.to_owned(),
        default,
        unknown,
        other_abi: Action::KillProcess,
        flags: Flags::NONE,
        rules,
    })
}

fn rule(entry: &Value) -> Result<Rule, String> {
    for unsupported in ["includes", "excludes"] {
        if entry.get(unsupported).and_then(Value::as_object).is_some_and(|lists| !lists.is_empty()) {
            return Err(format!("{unsupported} is of an engine's profile, not of the runtime's"));
        }
    }
    let names = entry.get("names").and_then(Value::as_array).ok_or("it has no names")?;
    let call = |name: &Value| name.as_str().map(|name| name.to_owned().into()).ok_or("a name is no string");
    let calls = names.iter().map(call).collect::<Result<_, _>>()?;
    let arguments = entry.get("args").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let conditions = arguments.iter().map(condition).collect::<Result<_, _>>()?;
    Ok(Rule { calls, conditions, action: action(entry.get("action"), entry.get("errnoRet"))? })
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
        "SCMP_ACT_NOTIFY" => {
            return Err("SCMP_ACT_NOTIFY needs a listener, which is not supported".to_owned());
        }
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

/// `sept seccomp`.
pub fn main(parser: &mut Parser) -> Result<u8, Failure> {
    let page = &options::SECCOMP;
    let mut words = Vec::new();
    while let Some(arg) = parser.next().map_err(request::usage)? {
        let opt = match arg {
            Arg::Short(letter) => {
                request::find(page, |opt| opt.short == Some(letter), &format!("-{letter}"))?
            }
            Arg::Long(long) => {
                let long = long.to_owned();
                request::find(page, |opt| opt.long == long, &format!("--{long}"))?
            }
            Arg::Value(word) => {
                words.push(word);
                continue;
            }
        };
        if opt.id == Id::Help {
            return report::print(&options::help(page)).map(|()| 0);
        }
    }
    let usage = || {
        Failure::usage("seccomp needs to know what to do").fix(format!("write: sept seccomp {}", page.usage))
    };
    let (what, rest) = words.split_first().ok_or_else(usage)?;
    let (name, rest) = rest.split_first().ok_or_else(usage)?;
    let policy = find(name)?;
    match (what.to_str(), rest) {
        (Some("explain"), []) => report::print(&explain(&policy)).map(|()| 0),
        (Some("compile"), []) => write_program(&compiled(&policy)?).map(|()| 0),
        (Some("test"), [call, arguments @ ..]) if arguments.len() <= 6 => {
            let arguments: Vec<_> =
                arguments.iter().map(|text| text.to_string_lossy().into_owned()).collect();
            report::print(&tried(&policy, &call.to_string_lossy(), &arguments)?).map(|()| 0)
        }
        _ => Err(usage()),
    }
}

fn explain(policy: &Policy) -> String {
    let mut text = format!("{}\n", policy.name);
    let mut say = |what: &str, words: String| text.push_str(&format!("  {what}: {words}\n"));
    for rule in &policy.rules {
        let known = |call: &&std::borrow::Cow<'_, str>| abis().iter().any(|abi| abi.number(call).is_some());
        let calls: Vec<&str> = rule.calls.iter().filter(known).map(AsRef::as_ref).collect();
        if calls.is_empty() {
            continue;
        }
        let conditions: Vec<String> = rule.conditions.iter().map(words_of).collect();
        let when = if conditions.is_empty() {
            String::new()
        } else {
            format!(" where {}", conditions.join(" and "))
        };
        say(&word(rule.action), format!("{}{when}", calls.join(", ")));
    }
    say(&word(policy.default), "every other call".to_owned());
    say(&word(policy.unknown), "calls that this version does not know".to_owned());
    say(&word(policy.other_abi), "calls of other ABIs".to_owned());
    text
}

fn words_of(condition: &Condition) -> String {
    let argument = format!("argument {}", condition.argument);
    match condition.compare {
        Compare::Eq(value) => format!("{argument} = {value:#x}"),
        Compare::Ne(value) => format!("{argument} is not {value:#x}"),
        Compare::Lt(value) => format!("{argument} < {value:#x}"),
        Compare::Le(value) => format!("{argument} <= {value:#x}"),
        Compare::Gt(value) => format!("{argument} > {value:#x}"),
        Compare::Ge(value) => format!("{argument} >= {value:#x}"),
        Compare::Masked(mask, value) => format!("{argument} & {mask:#x} = {value:#x}"),
    }
}

fn word(action: Action) -> String {
    match action {
        Action::Allow => "allow".to_owned(),
        Action::Errno(errno) => format!("fail ({})", sept::describe(i32::from(errno))),
        Action::KillProcess => "kill the process".to_owned(),
        Action::KillThread => "kill the thread".to_owned(),
        Action::Trap(_) => "send SIGSYS".to_owned(),
        Action::Trace(_) => "ask a tracer".to_owned(),
        Action::Log => "allow and log".to_owned(),
        Action::Notify => "ask the listener".to_owned(),
    }
}

fn write_program(filter: &Filter) -> Result<(), Failure> {
    let out = std::io::stdout();
    if rustix::termios::isatty(out.as_fd()) {
        return Err(Failure::usage("a compiled policy is no text for a terminal")
            .fix("sept seccomp compile POLICY >FILE"));
    }
    let mut bytes = Vec::with_capacity(filter.program.len() * 8);
    for instruction in filter.program.iter() {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    out.lock().write_all(&bytes).map_err(|error| Failure::io("cannot write to standard output", &error))
}

fn tried(policy: &Policy, call: &str, words: &[String]) -> Result<String, Failure> {
    let abi = abis()[0];
    let number = abi.number(call).or_else(|| call.parse().ok()).ok_or_else(|| {
        let names = abi.calls();
        let near = names.iter().max_by(|one, other| {
            strsim::jaro_winkler(one.0, call).total_cmp(&strsim::jaro_winkler(other.0, call))
        });
        Failure::usage(format!("there is no call {call} in the ABI {}", abi.name))
            .fix(format!("perhaps {} was meant", near.map_or("a number", |(name, _)| name)))
    })?;
    let mut arguments = [0_u64; 6];
    for (place, word) in arguments.iter_mut().zip(words) {
        let parsed = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => word.parse::<u64>().ok().or_else(|| word.parse::<i64>().ok().map(|number| number as u64)),
        };
        *place = parsed.ok_or_else(|| Failure::usage(format!("{word} is no number")))?;
    }
    let filter = compiled(policy)?;
    let verdict = filter.verdict(abi.audit, number, arguments).map_err(Failure::usage)?;
    let all =
        policy.rules.iter().map(|rule| rule.action).chain([policy.default, policy.unknown, policy.other_abi]);
    let action = all.into_iter().find(|action| action.value() == verdict.value);
    let said = action.map_or_else(|| format!("{:#x}", verdict.value), word);
    Ok(format!("{call}: {said} (by {} instructions of {})\n", verdict.steps, filter.program.len()))
}
