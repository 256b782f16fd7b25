//! The command line: any words give a plan or an error, never a panic, and nothing is done.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::driver::{Random, mutated};
use crate::failure::Failure;
use crate::options::{self, Page};
use crate::request::{self, Parsed, Request};

/// Values that some option takes.
const VALUES: [&str; 62] = [
    "",
    "0",
    "1",
    "5",
    "root",
    "nobody",
    "0:100000:65536",
    "100000,0,65536",
    "0:0:4294967295",
    "0:4294967290:10000",
    "4294967290:0:5",
    "auto",
    "all",
    "none",
    "net",
    "net,pid",
    "user=1",
    "net=/proc/self/ns/net",
    "pid=self",
    "allow",
    "deny",
    "inner",
    "-5",
    "86400",
    "/",
    "/etc",
    "/usr",
    "/no/such",
    "relative",
    "..",
    "/proc",
    "host",
    "private",
    "shared",
    "K=V",
    "K",
    "=",
    "3",
    "2",
    "10s",
    "1.5",
    "200ms",
    "256M",
    "1T",
    "18446744073709551615",
    "unlimited",
    "nofile=64:65",
    "as=1G",
    "core=0",
    "net_raw",
    "CAP_SYS_ADMIN",
    "noroot,noroot_locked",
    "443",
    "65535",
    "signals",
    "abstract-sockets,signals",
    "default",
    "strict",
    "0755",
    "7777",
    "KILL",
    "json",
];

fn value(random: &mut Random) -> OsString {
    let value = random.pick(&VALUES).as_bytes();
    let bytes = if random.one_in(3) { mutated(random, value) } else { value.to_vec() };
    // An argument ends at the first NUL byte; what lies in /dev may never end.
    let bytes: Vec<u8> = bytes.into_iter().filter(|byte| *byte != 0).collect();
    if bytes.windows(4).any(|part| part == b"/dev") { OsString::new() } else { OsString::from_vec(bytes) }
}

/// Words as a user might write them, or not.
fn words(random: &mut Random, page: &Page) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![if random.one_in(4) { "--plan=json" } else { "--plan" }.into()];
    for _ in 0..random.below(9) {
        let opt = random.pick(page.options);
        match random.below(12) {
            0 => words.push(value(random)),
            1 => words.push("--".into()),
            2 => {
                let letters: String =
                    (0..random.below(4)).filter_map(|_| random.pick(page.options).short).collect();
                words.push(format!("-{letters}").into());
            }
            3 => words.push(OsString::from_vec(mutated(random, opt.long.as_bytes()))),
            4 => {
                let mut word = OsString::from(format!("--{}=", opt.long));
                word.push(value(random));
                words.push(word);
            }
            _ => {
                words.push(match opt.short {
                    Some(letter) if random.one_in(2) => format!("-{letter}").into(),
                    _ => format!("--{}", opt.long).into(),
                });
                words.extend(opt.values.iter().map(|_| value(random)));
            }
        }
    }
    if random.one_in(2) {
        words.extend(["1", "true"].map(OsString::from));
    }
    words.retain(|word| !word.as_bytes().contains(&0));
    words
}

type Main = fn(&mut lexopt::Parser) -> Result<u8, Failure>;

pub fn arguments(random: &mut Random, input: &mut String) {
    let (page, main) = match random.below(3) {
        0 => (&options::RUN, crate::run::main as Main),
        1 => (&options::UNSHARE, crate::unshare::main as Main),
        _ => (&options::ENTER, crate::enter::main as Main),
    };
    let words = words(random, page);
    *input = format!("sept {} {words:?}", page.name);
    match main(&mut lexopt::Parser::from_args(words)) {
        Ok(code) => assert_eq!(code, 0, "a plan"),
        Err(failure) => {
            assert!(matches!(failure.code, 125..=127), "{}", failure.code);
            assert!(!failure.what().is_empty(), "an error says what");
        }
    }
}

/// What holds of everything that was taken.
fn check(request: &Request) {
    let ids = [request.uid, request.gid, request.map_user, request.map_group];
    assert!(
        ids.into_iter().flatten().chain(request.groups.iter().flatten().copied()).all(|id| id != u32::MAX)
    );
    assert!(request.timeout.is_none_or(|timeout| !timeout.is_zero()));
    // Limits that contradict each other are an error, with words.
    if let Err(failure) = request.limits.cgroup(request.is_reported()) {
        assert!(failure.code == 125 && !failure.what().is_empty());
    }
    assert!(request.perms.is_none_or(|mode| mode <= 0o7777));
    assert!(request.kill_child.is_none_or(|signal| (1..=64).contains(&signal)));
    for limit in &request.rlimits {
        assert!(limit.hard.is_none_or(|hard| limit.soft.is_some_and(|soft| soft <= hard)));
    }
}

/// One option, and one value each.
pub fn values(random: &mut Random, input: &mut String) {
    let page = *random.pick(&[&options::RUN, &options::UNSHARE, &options::ENTER]);
    let opt = random.pick(page.options);
    let mut words = vec![OsString::from(format!("--{}", opt.long))];
    words.extend(opt.values.iter().map(|_| value(random)));
    *input = format!("sept {} {words:?}", page.name);
    match request::parse(&mut lexopt::Parser::from_args(words), page) {
        Ok(Parsed::Run(request)) => check(&request),
        Ok(Parsed::Help | Parsed::Version) => {}
        Err(failure) => assert!(failure.code == 125 && !failure.what().is_empty()),
    }
}
