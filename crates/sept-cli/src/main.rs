//! The command line of sept.
#![cfg_attr(not(test), no_main)]

mod args;
mod around;
mod build;
mod confine;
mod degrade;
mod descendants;
mod diff;
mod disposition;
mod doctor;
mod enter;
mod environment;
mod failure;
mod files;
mod inside;
mod job;
mod keeper;
mod limits;
mod ls;
mod manual;
mod options;
mod own;
mod pending;
mod pins;
mod place;
mod policy;
mod report;
mod request;
mod rest;
mod run;
mod scope;
mod sink;
#[cfg(not(test))]
mod start;
mod supervise;
mod svg;
mod terminal;
mod tour;
mod tree;
mod unshare;
mod users;
mod words;

use std::ffi::OsStr;

use lexopt::Arg;
use sept::Namespace;

use crate::failure::Failure;
use crate::options::Id;
use crate::words::Word;

/// musl's own asks the kernel for each few pages, and gives them back, on the way to exec.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

const USAGE: &str = "\
sept isolates processes with Linux namespaces.

Usage: sept <COMMAND> [OPTIONS]

Commands:
  run          start a command in new namespaces (clone)
  unshare      move to new namespaces, and become a command (unshare)
  enter        join the namespaces of a process, and become a command (setns)
  pin, unpin   keep namespaces by name, let go of them
  ls           every namespace, and what keeps it
  diff         which namespaces two processes share, and what differs
  doctor       what this host allows, and how to mend what it does not
  seccomp      what a system call policy allows
  tour         the eight kinds of namespaces, live
  completions  for a shell
  man          the manual
  help         this help, or that of a command

Options:
  -h, --help     this help
  -V, --version  the version

Try: sept run
";

/// The whole program; its exit status.
#[cfg_attr(test, expect(dead_code, reason = "the tests have a start of their own"))]
fn program() -> u8 {
    dispatch().unwrap_or_else(|failure| {
        failure.print(wants_json_errors());
        failure.code
    })
}

/// Wherever it stands among the options, not as a value, nor as a word of COMMAND's: also errors of parsing are told in the wanted
/// form.
pub fn wants_json_errors() -> bool {
    let mut parser = lexopt::Parser::from_iter(args::all());
    let page = match parser.next() {
        Ok(Some(Arg::Value(word))) => options::PAGES.into_iter().find(|page| word == page.name),
        _ => None,
    };
    let Some(page) = page else {
        return args::all().skip(1).take_while(|arg| *arg != "--").any(|arg| arg == "--json-errors");
    };
    let starts_a_command =
        [options::RUN.name, options::UNSHARE.name, options::ENTER.name].contains(&page.name);
    loop {
        match words::next(&mut parser, page) {
            Ok(None) => return false,
            Ok(Some(Word::Option { opt, .. })) if opt.id == Id::JsonErrors => return true,
            Ok(Some(Word::Option { opt, .. })) => {
                let values = opt.values.iter().filter(|name| !name.starts_with('['));
                values.for_each(|_| drop(parser.value()));
            }
            Ok(Some(Word::Plain(_))) if starts_a_command => return false,
            // What is wrong there is told elsewhere.
            Ok(Some(Word::Plain(_))) | Err(_) => {}
        }
    }
}

fn dispatch() -> Result<u8, Failure> {
    refuse_privileged_copy()?;
    let mut parser = lexopt::Parser::from_iter(args::all());
    let first = parser.next().map_err(|error| Failure::usage(error.to_string()))?;
    let word = match first {
        None => {
            report::print(USAGE)?;
            return Ok(125);
        }
        Some(Arg::Short('h') | Arg::Long("help")) => return report::print(USAGE).map(|()| 0),
        Some(Arg::Short('V') | Arg::Long("version")) => return version(),
        Some(Arg::Value(word)) => word,
        Some(Arg::Short(letter)) => return Err(no_command(&format!("-{letter}"))),
        Some(Arg::Long(name)) => return Err(no_command(&format!("--{name}"))),
    };
    match word.to_str() {
        Some("run") => run::main(&mut parser),
        Some("unshare") => unshare::main(&mut parser),
        Some("enter") => enter::main(&mut parser),
        Some("pin") => pins::pin_main(&mut parser),
        Some("unpin") => pins::unpin_main(&mut parser),
        Some("ls") => ls::main(&mut parser),
        Some("diff") => diff::main(&mut parser),
        Some("doctor") => doctor::main(&mut parser),
        Some("completions") => manual::completions(&mut parser),
        Some("man") => manual::man(&mut parser),
        Some("inside") => inside::main(&mut parser),
        Some("seccomp") => policy::main(&mut parser),
        Some("keep") => keeper::keep(&mut parser),
        Some("tour") => tour_main(&mut parser),
        Some("help") => help(&mut parser),
        Some("version") => version(),
        _ => Err(unknown_command(&word)),
    }
}

/// Prints it.
pub fn version() -> Result<u8, Failure> {
    report::print(concat!("sept ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| 0)
}

fn help(parser: &mut lexopt::Parser) -> Result<u8, Failure> {
    match parser.next().map_err(words::usage)? {
        Some(Arg::Value(word)) => {
            let page = options::PAGES.into_iter().find(|page| word == page.name);
            report::print(&options::help(page.ok_or_else(|| unknown_command(&word))?))?;
        }
        _ => report::print(USAGE)?,
    }
    Ok(0)
}

fn tour_main(parser: &mut lexopt::Parser) -> Result<u8, Failure> {
    let mut kinds = Vec::new();
    while let Some(arg) = parser.next().map_err(|error| Failure::usage(error.to_string()))? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                return report::print(&options::help(&options::TOUR)).map(|()| 0);
            }
            // Looked at before the words are parsed.
            Arg::Long("json-errors") => {}
            // How the tour starts its inside half; not for users.
            Arg::Long("inside") => {
                let kind = parser.value().map_err(|error| Failure::usage(error.to_string()))?;
                tour::show(parse_kind(&kind)?);
                return Ok(0);
            }
            Arg::Value(kind) => kinds.push(parse_kind(&kind)?),
            other => {
                return Err(Failure::usage(other.unexpected().to_string()).fix("write: sept tour [KIND]"));
            }
        }
    }
    if kinds.is_empty() {
        kinds.extend(Namespace::ALL);
    }
    tour::run(&kinds, report::colour())
}

fn parse_kind(word: &OsStr) -> Result<Namespace, Failure> {
    word.to_string_lossy().parse().map_err(|why: String| Failure::usage(why))
}

fn no_command(written: &str) -> Failure {
    let fix = if options::knows(&options::RUN, written) {
        format!("write: sept run {written} …")
    } else {
        let meant = options::suggestion(&options::RUN, written);
        meant.unwrap_or_else(|| "`sept --help` lists the commands".to_owned())
    };
    Failure::usage(format!("{written} stands where a command is wanted")).fix(fix)
}

fn unknown_command(word: &OsStr) -> Failure {
    let shown = word.to_string_lossy();
    if shown.is_empty() {
        return Failure::usage("the name of a command is wanted, and none stands there")
            .fix("`sept --help` lists the commands");
    }
    let failure = Failure::usage(format!("there is no command {shown}"));
    let names = options::PAGES.into_iter().map(|page| page.name).chain(["help"]);
    let near = names.into_iter().find(|known| strsim::osa_distance(known, &shown) == 1);
    match near {
        Some(known) => failure.fix(format!("perhaps `sept {known}` was meant")),
        None => failure.fix(format!("to start it in new namespaces: sept run -- {shown}")),
    }
}

/// A privileged copy would hand its rights to whoever asks.
fn refuse_privileged_copy() -> Result<(), Failure> {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    let changed_ids = getuid() != geteuid() || getgid() != getegid();
    if !changed_ids && !has_file_capabilities() {
        return Ok(());
    }
    Err(Failure::usage("sept refuses to run set-user-ID, set-group-ID or with file capabilities")
        .why("it is not written to guard its owner's rights against its caller")
        .fix(
            "chmod u-s,g-s and setcap -r on the executable; ordinary users need no privilege for namespaces",
        ))
}

/// The kernel says AT_SECURE (getauxval(3)) when exec gave rights. Asked only of an ordinary user who has any.
fn has_file_capabilities() -> bool {
    const AT_SECURE: u64 = 23;
    let has_none = || rustix::thread::capabilities(None).is_ok_and(|sets| sets.permitted.is_empty());
    if rustix::process::getuid().is_root() || has_none() {
        return false;
    }
    let auxv = std::fs::read("/proc/self/auxv").unwrap_or_default();
    let mut words =
        auxv.chunks_exact(8).map(|word| word.iter().rev().fold(0_u64, |n, byte| n << 8 | u64::from(*byte)));
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        if key == AT_SECURE {
            return value != 0;
        }
    }
    // Without a word from the kernel, the rights count as given by exec.
    true
}
