//! System call policies by name or file, and `sept seccomp`.

mod agent;
mod condition;
mod errno;
mod explain;
mod oci;
mod own;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use lexopt::Parser;
use sept::seccomp::{Filter, Policy, abis};

pub use agent::Agent;

use crate::failure::Failure;
use crate::options::{self, Id};
use crate::report;
use crate::words::{self, Word};

/// A policy, and what else its file says.
pub struct Profile {
    pub policy: Policy,
    /// Who answers, where the file says.
    pub agent: Option<Agent>,
}

/// `default`, `strict`, or the file of one.
pub fn find(name: &OsStr) -> Result<Profile, Failure> {
    match name.to_str() {
        Some("default") => return Ok(Profile { policy: Policy::container(), agent: None }),
        Some("strict") => return Ok(Profile { policy: Policy::strict(), agent: None }),
        Some("off") => {
            return Err(Failure::usage("off is no policy")
                .why("it is the word of `sept run --seccomp` for no filter at all")
                .fix("default, strict, or the path of a file; a file of that name: ./off"));
        }
        _ => {}
    }
    let path = Path::new(name);
    let shown = path.display().to_string();
    let bytes = content(path, &shown)?;
    if is_own(path, &bytes) {
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Failure::usage(format!("the policy {shown} is no text in UTF-8")))?;
        return own::read(&shown, text)
            .map(|policy| Profile { policy, agent: None })
            .map_err(|why| Failure::usage(format!("the policy {shown} can't be used: {why}")));
    }
    let json = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::usage(format!("the policy {shown} is no JSON: {error}")))?;
    oci::read(&shown, &json).map_err(|why| {
        Failure::usage(format!("the policy {shown} can't be used: {why}"))
            .why("its shape is that of linux.seccomp in the OCI runtime specification")
    })
}

/// What the file holds, up to a size that no policy has: a device may have no end.
fn content(path: &Path, shown: &str) -> Result<Vec<u8>, Failure> {
    const MOST: u64 = 4 << 20;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes));
    read.map_err(|error| {
        Failure::io(format!("cannot read the policy {shown}"), &error)
            .fix("default, strict, or the path of a file")
    })?;
    if bytes.len() as u64 > MOST {
        return Err(Failure::usage(format!("the policy {shown} is too large"))
            .why("a policy has 4 MiB at most")
            .fix("name the file of a policy"));
    }
    Ok(bytes)
}

/// Whether a file is in sept's own format: by its name, else by how it begins. JSON begins with a brace.
fn is_own(path: &Path, bytes: &[u8]) -> bool {
    match path.extension().and_then(OsStr::to_str) {
        Some("toml") => true,
        Some("json") => false,
        _ => bytes.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte != b'{'),
    }
}

/// The program of a policy by name or file, and who is to answer what it asks. Those that are ready need not be compiled.
pub fn filter(name: &OsStr) -> Result<(Filter, Option<Agent>), Failure> {
    match name.to_str() {
        Some("default") => Ok((Filter::container().map_err(Failure::usage)?, None)),
        Some("strict") => Ok((Filter::strict().map_err(Failure::usage)?, None)),
        _ => {
            let Profile { policy, agent } = find(name)?;
            Ok((compiled(&policy)?, agent))
        }
    }
}

fn compiled(policy: &Policy) -> Result<Filter, Failure> {
    policy.compile().map_err(Failure::usage)
}

/// What may have been meant, as the end of a message.
fn near<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    // Two letters exchanged in a short word are far apart by the first measure.
    let one_off = |name: &str| if strsim::osa_distance(name, word) == 1 { 0.8 } else { 0.0 };
    let close = |name: &str| strsim::jaro_winkler(name, word).max(one_off(name));
    let best = known.max_by(|one, other| close(one).total_cmp(&close(other)));
    best.filter(|name| close(name) > 0.75).map_or(String::new(), |name| format!("; perhaps {name} was meant"))
}

/// `sept seccomp`.
pub fn main(parser: &mut Parser) -> Result<u8, Failure> {
    let page = &options::SECCOMP;
    let Some(words) = words(parser)? else { return report::print(&options::help(page)).map(|()| 0) };
    let usage = || {
        Failure::usage("seccomp needs to know what to do").fix(format!("write: sept seccomp {}", page.usage))
    };
    let (what, rest) = words.split_first().ok_or_else(usage)?;
    let text = |words: &[OsString]| -> Vec<String> {
        words.iter().map(|word| word.to_string_lossy().into_owned()).collect()
    };
    if what == "groups" {
        return report::print(&explain::groups_in_words(&text(rest))?).map(|()| 0);
    }
    let (name, rest) = rest.split_first().ok_or_else(usage)?;
    match (what.to_str(), rest) {
        (Some("explain"), []) => report::print(&explain::policy(&find(name)?)).map(|()| 0),
        (Some("compile"), []) => write_program(&compiled(&find(name)?.policy)?).map(|()| 0),
        (Some("test"), [call, arguments @ ..]) if arguments.len() <= 6 => {
            let call = call.to_string_lossy();
            report::print(&tried(&find(name)?.policy, &call, &text(arguments))?).map(|()| 0)
        }
        _ => Err(usage()),
    }
}

/// None where help is asked for.
fn words(parser: &mut Parser) -> Result<Option<Vec<OsString>>, Failure> {
    let mut words = Vec::new();
    while let Some(word) = words::next(parser, &options::SECCOMP)? {
        match word {
            Word::Plain(word) => {
                words.push(word);
                // What follows the name of a call are its arguments: -1 is one.
                if words.len() == 3 {
                    words.extend(parser.raw_args().map_err(words::usage)?);
                }
            }
            Word::Option { opt, .. } if opt.id == Id::Help => return Ok(None),
            Word::Option { .. } => {}
        }
    }
    Ok(Some(words))
}

fn write_program(filter: &Filter) -> Result<(), Failure> {
    if rustix::termios::isatty(rustix::stdio::stdout()) {
        return Err(Failure::usage("a compiled policy is no text for a terminal")
            .fix("sept seccomp compile POLICY >FILE"));
    }
    let mut bytes = Vec::with_capacity(filter.program.len() * 8);
    for instruction in filter.program.iter() {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    report::print_bytes(&bytes)
}

fn tried(policy: &Policy, call: &str, words: &[String]) -> Result<String, Failure> {
    let abi = abis()[0];
    let number = abi.number(call).or_else(|| call.parse().ok()).ok_or_else(|| {
        let failure = Failure::usage(format!("there is no call {call} in the ABI {}", abi.name));
        match near(call, abi.calls().into_iter().map(|(name, _)| name)) {
            near if near.is_empty() => failure,
            near => failure.fix(near.trim_start_matches("; ").to_owned()),
        }
    })?;
    let mut arguments = [0_u64; 6];
    for (place, word) in arguments.iter_mut().zip(words) {
        *place = condition::number(word).map_err(Failure::usage)?;
    }
    let filter = compiled(policy)?;
    let verdict = filter.verdict(abi.audit, number, arguments).map_err(Failure::usage)?;
    let all =
        policy.rules.iter().map(|rule| rule.action).chain([policy.default, policy.unknown, policy.other_abi]);
    let action = all.into_iter().find(|action| action.value() == verdict.value);
    let said = action.map_or_else(|| format!("{:#x}", verdict.value), explain::action);
    Ok(format!("{call}: {said} (by {} instructions of {})\n", verdict.steps, filter.program.len()))
}
