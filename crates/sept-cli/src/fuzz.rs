//! The root of the crate `fuzz`: the modules of the command line, and what tries them. No part of `sept`.
#![allow(dead_code, unused_imports, reason = "the targets call what they try, not all that there is")]

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
mod supervise;
mod svg;
mod terminal;
mod tour;
mod tree;
mod unshare;
mod users;
mod words;

#[path = "../../../fuzz/driver.rs"]
mod driver;
#[path = "../../../fuzz/lines.rs"]
mod lines;
#[path = "../../../fuzz/policies.rs"]
mod policies;
#[path = "../../../fuzz/texts.rs"]
mod texts;

use std::process::ExitCode;

use driver::Target;

const TARGETS: [Target; 8] = [
    Target { name: "arguments", try_one: lines::arguments },
    Target { name: "values", try_one: lines::values },
    Target { name: "compiler", try_one: policies::compiler },
    Target { name: "policies", try_one: policies::files },
    Target { name: "maps", try_one: texts::maps },
    Target { name: "subids", try_one: texts::subids },
    Target { name: "words", try_one: texts::words },
    Target { name: "proc", try_one: texts::proc },
];

fn main() -> ExitCode {
    driver::main(&TARGETS)
}

/// As in the command line; no target asks for it.
pub fn wants_json_errors() -> bool {
    false
}

/// Prints it.
pub fn version() -> Result<u8, failure::Failure> {
    report::print("fuzz\n").map(|()| 0)
}
