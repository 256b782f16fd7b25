//! Policies and groups in words.

use sept::seccomp::{Action, Flags, abis, group, groups};

use super::{Profile, condition, errno, near};
use crate::failure::{Failure, printable};

/// How wide a line of names is at most.
const WIDTH: usize = 100;

/// What happens with which calls, in the order in which it is looked at.
pub fn policy(profile: &Profile) -> String {
    let policy = &profile.policy;
    let mut text = format!("{}\n", printable(&policy.name));
    let known = |call: &str| call.starts_with('@') || abis().iter().any(|abi| abi.number(call).is_some());
    for rule in &policy.rules {
        let calls: Vec<&str> = rule.calls.iter().map(AsRef::as_ref).filter(|call| known(call)).collect();
        if calls.is_empty() {
            continue;
        }
        let mut words: Vec<String> = calls.iter().map(|call| format!("{call}, ")).collect();
        if let Some(last) = words.last_mut() {
            last.truncate(last.len() - 2);
            let conditions: Vec<String> = rule.conditions.iter().map(condition::words).collect();
            if !conditions.is_empty() {
                last.push_str(&format!(" where {}", conditions.join(" and ")));
            }
        }
        text.push_str(&wrapped(&format!("  {}: ", action(rule.action)), &words));
    }
    let mut say = |what: String, words: &str| text.push_str(&format!("  {what}: {words}\n"));
    say(action(policy.default), "every other call");
    say(action(policy.unknown), "calls that this version does not know");
    let others =
        if policy.compat_abi { "calls of other ABIs" } else { "calls of other ABIs, of 32 bits, too" };
    say(action(policy.other_abi), others);
    if policy.flags != Flags::NONE {
        say("flags".to_owned(), &policy.flags.to_string());
    }
    if policy.flags.contains(Flags::TSYNC) {
        text.push_str("    (tsync says nothing here: a command begins with one thread)\n");
    }
    if let Some(agent) = &profile.agent {
        text.push_str(&format!("  the listener is {}\n", printable(&agent.path.to_string_lossy())));
    }
    text
}

/// Words one after another, in lines that are not too wide; those after the first are indented.
fn wrapped(first: &str, words: &[String]) -> String {
    let (mut text, mut width) = (first.to_owned(), first.len());
    for (n, word) in words.iter().enumerate() {
        if n > 0 && width + word.len() > WIDTH {
            text.truncate(text.trim_end().len());
            text.push_str("\n      ");
            width = 6;
        }
        text.push_str(word);
        width += word.len();
    }
    text.push('\n');
    text
}

/// An action.
pub fn action(action: Action) -> String {
    let number = |what: &str, number: u16| match number {
        0 => what.to_owned(),
        number => format!("{what} ({number})"),
    };
    match action {
        Action::Allow => "allow".to_owned(),
        Action::Errno(0) => "say that it is done, without doing it".to_owned(),
        Action::Errno(errno) => match errno::name(errno) {
            Some(name) => format!("fail ({name}, {})", sept::describe(i32::from(errno))),
            None => format!("fail ({})", sept::describe(i32::from(errno))),
        },
        Action::KillProcess => "kill the process".to_owned(),
        Action::KillThread => "kill the thread".to_owned(),
        Action::Trap(data) => number("send SIGSYS", data),
        Action::Trace(data) => number("ask a tracer", data),
        Action::Log => "allow and log".to_owned(),
        Action::Notify => "ask the listener".to_owned(),
    }
}

/// All groups with what they are, or the calls of some.
pub fn groups_in_words(names: &[String]) -> Result<String, Failure> {
    if names.is_empty() {
        let all = groups().iter().map(|group| {
            let inner: Vec<&str> = group.groups().collect();
            let inner = if inner.is_empty() { String::new() } else { format!("; with {}", inner.join(" ")) };
            format!(
                "{:<15} {}{}\n",
                group.name,
                group.about,
                if group.name == "@known" { "" } else { &inner }
            )
        });
        return Ok(all.collect());
    }
    let mut text = String::new();
    for name in names {
        let full = if name.starts_with('@') { name.clone() } else { format!("@{name}") };
        let found = group(&full).ok_or_else(|| {
            let known = near(&full, groups().iter().map(|group| group.name));
            Failure::usage(format!("there is no group {full}{known}")).fix("to see all: sept seccomp groups")
        })?;
        text.push_str(&format!("{}: {}\n", found.name, found.about));
        let numbers = |call: &str| {
            let there = abis().iter().filter(|abi| abi.number(call).is_some()).map(|abi| abi.name);
            there.collect::<Vec<_>>().join(", ")
        };
        for call in found.calls() {
            let there = numbers(call);
            let there = if there.is_empty() { "other processors" } else { there.as_str() };
            text.push_str(&format!("  {call:<30} {there}\n"));
        }
    }
    Ok(text)
}
