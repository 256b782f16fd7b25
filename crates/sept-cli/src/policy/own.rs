//! Policies in a format of sept's own, TOML. What is not understood is an error with its line and column.

use std::borrow::Cow;
use std::ops::Range;

use sept::seccomp::{
    Action, Condition, Flags, Policy, Rule, abis, groups, is_known, with_multiplexed, with_twins,
};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{condition, errno, near};

type Result<T> = std::result::Result<T, String>;

/// A policy from its text.
pub fn read(name: &str, text: &str) -> Result<Policy> {
    let place = Place { text };
    let table = DeTable::parse(text)
        .map_err(|error| place.error(error.span().unwrap_or(0..0), error.message()))?
        .into_inner();
    place.policy(name, &table)
}

/// The words of actions; an errno's name is one, too.
const ACTIONS: [&str; 7] = ["allow", "log", "notify", "kill-process", "kill-thread", "trap", "trace"];

struct Place<'a> {
    text: &'a str,
}

type Value<'i> = Spanned<DeValue<'i>>;
/// A text and where it stands.
type Text<'t> = (&'t str, Range<usize>);

impl Place<'_> {
    fn error(&self, span: Range<usize>, what: impl AsRef<str>) -> String {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}: {}", what.as_ref())
    }

    fn policy(&self, name: &str, table: &DeTable<'_>) -> Result<Policy> {
        self.keys(table, &["name", "base", "default", "unknown", "flags", "rules"])?;
        let mut policy = self.base(table)?;
        policy.name = match self.string(table, "name")? {
            // It is printed in plans and errors.
            Some((name, span)) if name.is_empty() || name.chars().any(char::is_control) => {
                return Err(self.error(span, "a name has letters, and no control characters"));
            }
            named => named.map_or(name, |(name, _)| name).to_owned(),
        };
        if let Some((word, span)) = self.string(table, "unknown")? {
            policy.unknown = self.action(word, span)?;
        }
        for (flag, span) in self.strings(table, "flags")?.unwrap_or_default() {
            let known = Flags::parse(flag).ok_or_else(|| {
                self.error(span, format!("there is no flag {flag}{}", near(flag, Flags::names())))
            })?;
            policy.flags = policy.flags.with(known);
        }
        let mut rules = Vec::new();
        if let Some(value) = table.get("rules") {
            let list = self.array(value, "rules")?;
            for value in list {
                rules.push(self.rule(value)?);
            }
        }
        // In front: the first that fits decides.
        let mut rules = with_multiplexed(with_twins(rules));
        rules.append(&mut policy.rules);
        policy.rules = rules;
        Ok(policy)
    }

    /// The policy that this one adds to, with the default action.
    fn base(&self, table: &DeTable<'_>) -> Result<Policy> {
        let default = self.string(table, "default")?;
        let default = default.map(|(word, span)| self.action(word, span)).transpose()?;
        let mut policy = match self.string(table, "base")? {
            None | Some(("none", _)) => {
                let missing = "default is missing: what happens with a call that no rule names";
                Policy {
                    name: String::new(),
                    default: default.ok_or_else(|| self.error(0..0, missing))?,
                    unknown: Action::Errno(libc::ENOSYS as u16),
                    other_abi: Action::KillProcess,
                    compat_abi: true,
                    flags: Flags::NONE,
                    rules: Vec::new(),
                }
            }
            Some(("default", _)) => Policy::container(),
            Some(("strict", _)) => Policy::strict(),
            Some((other, span)) => {
                return Err(self.error(span, format!("{other} is no base: none, default or strict is")));
            }
        };
        policy.default = default.unwrap_or(policy.default);
        Ok(policy)
    }

    fn rule(&self, value: &Value<'_>) -> Result<Rule> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.error(value.span(), "a rule is a table: [[rules]]"));
        };
        self.keys(table, &["calls", "when", "action", "errno"])?;
        let here = value.span();
        let calls = self
            .strings(table, "calls")?
            .filter(|calls| !calls.is_empty())
            .ok_or_else(|| self.error(here.clone(), "a rule needs calls"))?;
        let calls = calls.iter().map(|(name, span)| self.call(name, span.clone())).collect::<Result<_>>()?;
        let conditions = self.strings(table, "when")?.unwrap_or_default();
        let read = |(text, span): &Text<'_>| -> Result<Condition> {
            condition::parse(text).map_err(|why| self.error(span.clone(), why))
        };
        let conditions = conditions.iter().map(read).collect::<Result<_>>()?;
        let action = match (self.string(table, "action")?, self.string(table, "errno")?) {
            (Some((word, span)), None) => self.action(word, span)?,
            (None, Some((word, span))) => Action::Errno(self.errno(word, span)?),
            _ => return Err(self.error(here.clone(), "a rule needs an action or an errno, and not both")),
        };
        Ok(Rule { calls, conditions, action })
    }

    /// A name that nobody knows would be a rule that does nothing.
    fn call(&self, name: &str, span: Range<usize>) -> Result<Cow<'static, str>> {
        if is_known(name) {
            return Ok(Cow::Owned(name.to_owned()));
        }
        let what = if name.starts_with('@') {
            format!("there is no group {name}{}", near(name, groups().iter().map(|group| group.name)))
        } else {
            let names = abis().iter().flat_map(|abi| abi.calls()).map(|(name, _)| name);
            format!("there is no call {name}{}", near(name, names))
        };
        Err(self.error(span, what))
    }

    fn action(&self, word: &str, span: Range<usize>) -> Result<Action> {
        let (kind, number) = match word.split_once(':') {
            Some((kind @ ("trap" | "trace"), number)) => {
                let number = number.parse::<u16>();
                (kind, number.map_err(|_| self.error(span.clone(), "the number is from 0 to 65535"))?)
            }
            _ => (word, 0),
        };
        Ok(match kind {
            "allow" => Action::Allow,
            "log" => Action::Log,
            "notify" => Action::Notify,
            "kill-process" => Action::KillProcess,
            "kill-thread" => Action::KillThread,
            "trap" => Action::Trap(number),
            "trace" => Action::Trace(number),
            _ if word.starts_with('E') => Action::Errno(self.errno(word, span)?),
            _ => {
                let all =
                    "an action is allow, log, notify, kill-process, kill-thread, trap, trace or an errno";
                return Err(self.error(span, format!("{all}{}", near(word, ACTIONS.into_iter()))));
            }
        })
    }

    fn errno(&self, name: &str, span: Range<usize>) -> Result<u16> {
        errno::number(name).ok_or_else(|| {
            self.error(span, format!("there is no errno {name}{}", near(name, errno::names())))
        })
    }

    fn keys(&self, table: &DeTable<'_>, known: &[&'static str]) -> Result<()> {
        for key in table.keys() {
            let word = key.get_ref().as_ref();
            if !known.contains(&word) {
                let what = format!("there is no key {word}{}", near(word, known.iter().copied()));
                return Err(self.error(key.span(), what));
            }
        }
        Ok(())
    }

    fn string<'t>(&self, table: &'t DeTable<'t>, key: &str) -> Result<Option<Text<'t>>> {
        table.get(key).map(|value| self.text(value, key)).transpose()
    }

    fn text<'t>(&self, value: &'t Value<'_>, what: &str) -> Result<Text<'t>> {
        match value.get_ref() {
            DeValue::String(text) => Ok((text.as_ref(), value.span())),
            _ => Err(self.error(value.span(), format!("{what} is text in quotes"))),
        }
    }

    fn strings<'t>(&self, table: &'t DeTable<'_>, key: &str) -> Result<Option<Vec<Text<'t>>>> {
        let Some(value) = table.get(key) else { return Ok(None) };
        let list = self.array(value, key)?;
        list.iter().map(|value| self.text(value, key)).collect::<Result<_>>().map(Some)
    }

    fn array<'t>(&self, value: &'t Value<'_>, what: &str) -> Result<Vec<&'t Value<'t>>> {
        match value.get_ref() {
            DeValue::Array(list) => Ok(list.iter().collect()),
            _ => Err(self.error(value.span(), format!("{what} is a list"))),
        }
    }
}
