//! The words of a line, one after another: options of a page with their values, and what is none.

use std::ffi::{OsStr, OsString};

use lexopt::{Arg, Parser};

use crate::failure::Failure;
use crate::options::{self, Opt, Page};

pub fn usage(error: lexopt::Error) -> Failure {
    Failure::usage(error.to_string())
}

/// What stands in a line.
pub enum Word {
    /// An option, and whether it was written by its letter.
    Option { opt: &'static Opt, short: bool },
    /// What is no option.
    Plain(OsString),
}

/// The next of a page's line; nothing at its end.
pub fn next(parser: &mut Parser, page: &'static Page) -> Result<Option<Word>, Failure> {
    let Some(arg) = parser.next().map_err(usage)? else { return Ok(None) };
    Ok(Some(match arg {
        Arg::Short(letter) => {
            let opt = find(page, |opt| opt.short == Some(letter), &format!("-{letter}"))?;
            Word::Option { opt, short: true }
        }
        Arg::Long(name) => {
            let name = name.to_owned();
            let opt = find(page, |opt| opt.long == name, &format!("--{name}"))?;
            Word::Option { opt, short: false }
        }
        Arg::Value(word) => Word::Plain(word),
    }))
}

/// The option that was written.
fn find(page: &'static Page, matches: impl Fn(&Opt) -> bool, written: &str) -> Result<&'static Opt, Failure> {
    page.options.iter().find(|opt| matches(opt)).ok_or_else(|| {
        let failure = Failure::usage(format!("unknown option {written}"));
        match options::suggestion(page, written) {
            Some(hint) => failure.fix(hint),
            None => failure.fix(format!("`sept {} --help` lists what there is", page.name)),
        }
    })
}

/// The values of one option, with its name for what goes wrong.
pub struct Values<'a> {
    pub opt: &'static Opt,
    pub short: bool,
    pub parser: &'a mut Parser,
}

impl Values<'_> {
    pub fn wrong(&self, value: &OsStr, why: impl AsRef<str>) -> Failure {
        Failure::usage(format!("--{} {}: {}", self.opt.long, value.to_string_lossy(), why.as_ref()))
    }

    pub fn os(&mut self) -> Result<OsString, Failure> {
        self.parser.value().map_err(|_| {
            Failure::usage(format!("--{} needs {}", self.opt.long, self.opt.values.join(" and ")))
        })
    }

    pub fn parsed<T>(&mut self, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
        let value = self.os()?;
        let text = value.to_str().ok_or_else(|| self.wrong(&value, "is not UTF-8"))?;
        parse(text).map_err(|why| self.wrong(&value, why))
    }

    pub fn id(&mut self) -> Result<u32, Failure> {
        self.parsed(|text| {
            sept::parse_id(text).ok_or_else(|| "an id is a number from 0 to 4294967294".to_owned())
        })
    }

    pub fn seconds(&mut self) -> Result<i64, Failure> {
        self.parsed(|text| text.parse().map_err(|_| "a number of seconds is wanted".to_owned()))
    }

    pub fn choice<T: Copy>(&mut self, choices: &[(&str, T)]) -> Result<T, Failure> {
        self.parsed(|text| {
            choices.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                format!("{}{} is wanted", if words.len() > 1 { "one of " } else { "" }, words.join(", "))
            })
        })
    }

    /// What follows by `=`. `-mu` is two letters, not the value `u`.
    pub fn optional(&mut self) -> Option<OsString> {
        let by_equals = || matches!(self.parser.clone().next(), Err(lexopt::Error::UnexpectedValue { .. }));
        if self.short && !by_equals() {
            return None;
        }
        self.parser.optional_value()
    }
}
