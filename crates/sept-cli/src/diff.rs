//! `sept diff`: what two processes share, and how the rest differs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lexopt::Parser;
use sept::{Command, Namespace, Stdio, Target};
use serde_json::{Value, json};

use crate::failure::{Failure, printable};
use crate::inside;
use crate::options::{self, Id};
use crate::report;
use crate::words::{self, Word};

/// One fact that differs: its name, and its value on either side.
type Difference = (String, String, String);

struct Compared {
    kind: Namespace,
    ids: [u64; 2],
    differences: Vec<Difference>,
}

pub fn main(parser: &mut Parser) -> Result<u8, Failure> {
    let (mut words, mut as_json) = (Vec::new(), false);
    while let Some(word) = words::next(parser, &options::DIFF)? {
        let opt = match word {
            Word::Option { opt, .. } => opt,
            Word::Plain(word) => {
                words.push(word.to_string_lossy().into_owned());
                continue;
            }
        };
        match opt.id {
            Id::Help => return report::print(&options::help(&options::DIFF)).map(|()| 0),
            Id::Json => as_json = true,
            _ => {}
        }
    }
    let [first, second] = words.as_slice() else {
        return Err(Failure::usage("diff needs two process ids").fix("write: sept diff 1 $$"));
    };
    let both = [process(first)?, process(second)?];
    let compared =
        Namespace::ALL.into_iter().map(|kind| compare(&both, kind)).collect::<Result<Vec<_>, _>>()?;
    let same = compared.iter().all(|compared| compared.ids[0] == compared.ids[1]);
    report::print(&if as_json { json_text(&both, &compared) } else { text(&compared) })?;
    Ok(u8::from(!same))
}

fn process(word: &str) -> Result<Target, Failure> {
    let pid = sept::parse_id(word)
        .ok_or_else(|| Failure::usage(format!("{} is no process id", printable(word))))?;
    Ok(Target::process(pid)?)
}

fn compare(both: &[Target; 2], kind: Namespace) -> Result<Compared, Failure> {
    let id = |target: &Target| -> Result<u64, Failure> {
        let id = target.namespace(kind)?.id();
        Ok(id
            .map_err(|error| {
                Failure::proc(format!("cannot look at the {kind} namespace of {target}"), &error)
            })?
            .inode)
    };
    let ids = [id(&both[0])?, id(&both[1])?];
    let mut differences = Vec::new();
    if ids[0] != ids[1] {
        let [one, other] = [facts(&both[0], kind)?, facts(&both[1], kind)?];
        let [of_one, of_other] = [&one, &other].map(|facts| by_name(facts));
        let mut told = BTreeSet::new();
        for (name, _) in one.iter().chain(&other).filter(|(name, _)| told.insert(name)) {
            let value =
                |facts: &BTreeMap<&String, &String>| facts.get(name).map_or("-", |value| value).to_owned();
            let (one, other) = (value(&of_one), value(&of_other));
            if one != other {
                differences.push((name.clone(), one, other));
            }
        }
    }
    Ok(Compared { kind, ids, differences })
}

/// The first of each name.
fn by_name(facts: &[(String, String)]) -> BTreeMap<&String, &String> {
    facts.iter().rev().map(|(name, value)| (name, value)).collect()
}

/// What can be told of a process's namespace of this kind, each fact with its name.
fn facts(target: &Target, kind: Namespace) -> Result<Vec<(String, String)>, Failure> {
    let file = |name: &str| -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&target.read(name)?).trim().to_owned())
    };
    let words = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let lines = |text: String| text.lines().map(words).collect::<Vec<_>>().join("; ");
    let named = |name: &str, value: String| (name.to_owned(), value);
    Ok(match kind {
        Namespace::User => {
            let mut facts = vec![
                named("user id map", lines(file("uid_map")?)),
                named("group id map", lines(file("gid_map")?)),
                named("setgroups", file("setgroups")?),
            ];
            facts.extend(seen_inside(target, kind));
            facts
        }
        Namespace::Mount => mounts(&file("mountinfo")?),
        Namespace::Pid => {
            let status = file("status")?;
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            vec![named("process id, from outside to inside", words(ids))]
        }
        Namespace::Net => {
            let text = file("net/dev")?;
            let links =
                text.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
            links.map(|link| named(&format!("link {link}"), "there".to_owned())).collect()
        }
        Namespace::Cgroup => {
            let line = |line: &str| {
                let mut fields = line.splitn(3, ':').skip(1);
                let (controllers, path) = (fields.next()?, fields.next()?);
                let name = if controllers.is_empty() { "version 2" } else { controllers };
                Some(named(&format!("cgroup {name}"), path.to_owned()))
            };
            file("cgroup")?.lines().filter_map(line).collect()
        }
        Namespace::Time => vec![named("clock offsets", lines(file("timens_offsets")?))],
        Namespace::Uts | Namespace::Ipc => seen_inside(target, kind),
    })
}

/// The mounts by their mount points.
fn mounts(mountinfo: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let (own, file_system) = line.split_once(" - ")?;
        let mut own = own.split(' ').skip(3);
        let (root, point, options) = (own.next()?, own.next()?, own.next()?);
        let mut file_system = file_system.split(' ');
        let (kind, source) = (file_system.next()?, file_system.next()?);
        let of = if root == "/" { String::new() } else { format!(" {root}") };
        Some((format!("mount {point}"), format!("{kind} {source}{of} {options}")))
    };
    mountinfo.lines().filter_map(line).collect()
}

/// What only a process inside can read; one that this user may not send there tells nothing.
fn seen_inside(target: &Target, kind: Namespace) -> Vec<(String, String)> {
    let text = match read_inside(target, kind) {
        Ok(text) => text,
        Err(why) => return vec![("inside".to_owned(), format!("not to be seen ({why})"))],
    };
    let words: Vec<&str> = text.split('\0').collect();
    words.chunks_exact(2).map(|fact| (fact[0].to_owned(), fact[1].to_owned())).collect()
}

/// By a process of its own: where it goes it may be stopped, and it stays there.
fn read_inside(target: &Target, kind: Namespace) -> Result<String, String> {
    let number = |target: &Target| target.namespace(kind).ok()?.id().ok();
    let own = Target::process(std::process::id()).ok().and_then(|own| number(&own));
    if own.is_some() && own == number(target) {
        return Ok(inside::facts(kind.name()));
    }
    let process = target.to_pidfd().map_err(|error| error.to_string())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("sept").args(["inside", "facts", kind.name()]);
    command.env_clear().current_dir("/").keep_fds([]);
    command.stdin(process).stdout(Stdio::piped()).stderr(Stdio::null());
    let told = told(command.spawn().map_err(|error| error.summary())?)?;
    match told.split_once('\0') {
        Some((inside::WHY, why)) => Err(why.trim_end_matches('\0').to_owned()),
        _ => Ok(told),
    }
}

/// What it says, if it says it soon: who may signal it can stop it.
fn told(mut child: sept::Child) -> Result<String, String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(1)),
            Ok(Some(_)) => break,
            Ok(None) => {
                // Not waited for: who traces it can keep its end back.
                let _ = child.kill();
                return Err("somebody stopped who looked there".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    // All of it is in the pipe by now, which nobody else can have.
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text(compared: &[Compared]) -> String {
    let mut text = String::new();
    for Compared { kind, ids, differences } in compared {
        if ids[0] == ids[1] {
            text.push_str(&format!("{:<7} same     {}\n", kind.name(), ids[0]));
            continue;
        }
        text.push_str(&format!("{:<7} differs  {}  {}\n", kind.name(), ids[0], ids[1]));
        for (name, one, other) in differences {
            let [name, one, other] = [name, one, other].map(|text| printable(text));
            text.push_str(&format!("          {name}: {one} | {other}\n"));
        }
    }
    text
}

fn json_text(both: &[Target; 2], compared: &[Compared]) -> String {
    let kinds: Vec<Value> = compared
        .iter()
        .map(|Compared { kind, ids, differences }| {
            let differences: Vec<Value> =
                differences.iter().map(|(name, a, b)| json!({ "name": name, "a": a, "b": b })).collect();
            json!({ "type": kind.link(), "same": ids[0] == ids[1], "a": ids[0], "b": ids[1], "differences": differences })
        })
        .collect();
    let whole = json!({ "version": 1, "a": both[0].pid(), "b": both[1].pid(), "namespaces": kinds });
    format!("{whole:#}\n")
}
