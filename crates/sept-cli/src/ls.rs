//! `sept ls`: every namespace, what is in it, and what keeps it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lexopt::Parser;
use sept::host::{Entry, Holder, Inventory, Unread};
use sept::{Namespace, NamespaceId, Target};
use serde_json::{Value, json};

use crate::failure::{Failure, printable};
use crate::options::{self, Id};
use crate::pins::{self, Pin};
use crate::report;
use crate::sink::Sink;
use crate::svg;
use crate::tree::{self, By};
use crate::users;
use crate::words::{self, Word};

/// What is asked for.
#[derive(Default)]
struct Asked {
    kinds: Vec<Namespace>,
    tree: Option<By>,
    columns: Option<Vec<Column>>,
    no_headings: bool,
    json: bool,
    svg: Option<PathBuf>,
    target: Option<OsString>,
}

/// One column of the list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Ns,
    Type,
    Procs,
    Pid,
    User,
    Command,
    Owner,
    Parent,
    Level,
    Held,
    Pins,
}

const COLUMNS: [(&str, Column); 11] = [
    ("ns", Column::Ns),
    ("type", Column::Type),
    ("procs", Column::Procs),
    ("pid", Column::Pid),
    ("user", Column::User),
    ("command", Column::Command),
    ("owner", Column::Owner),
    ("parent", Column::Parent),
    ("level", Column::Level),
    ("held", Column::Held),
    ("pins", Column::Pins),
];

const DEFAULT: [Column; 7] =
    [Column::Ns, Column::Type, Column::Procs, Column::Pid, Column::User, Column::Held, Column::Command];

/// All that is known, with the words for it.
pub struct Known {
    pub inventory: Inventory,
    pub pins: Vec<Pin>,
    users: HashMap<u32, String>,
}

pub fn main(parser: &mut Parser) -> Result<u8, Failure> {
    let Some(asked) = parse(parser)? else { return Ok(0) };
    let inventory = Inventory::read().map_err(|error| Failure::proc("cannot read /proc", &error))?;
    let mut known = Known { inventory, pins: pins::list(), users: HashMap::new() };
    let one = asked.target.as_ref().map(|word| known.select(word)).transpose()?;
    let wanted = |entry: &Entry| asked.kinds.is_empty() || asked.kinds.contains(&entry.kind);
    let listed: Vec<Entry> = match &one {
        Some(ids) => known
            .inventory
            .entries
            .iter()
            .filter(|entry| ids.contains(&entry.id) && wanted(entry))
            .cloned()
            .collect(),
        None => known.inventory.entries.iter().filter(|entry| wanted(entry)).cloned().collect(),
    };
    if let Some(path) = &asked.svg {
        let picture = svg::draw(&mut known, &listed);
        Sink::at(path, "the picture")?.write(&picture)?;
    }
    if !asked.json {
        known.tell_unread();
    }
    if asked.json {
        let list: Vec<Value> = listed.iter().map(|entry| known.json(entry)).collect();
        let stale: Vec<Value> = known.pins.iter().filter_map(stale_json).collect();
        let unread = |unread: &Unread| json!({ "what": unread.source.to_string(), "pid": unread.pid });
        let unread: Vec<Value> = known.inventory.unread.iter().map(unread).collect();
        let whole = json!({ "version": 1, "namespaces": list, "stale_pins": stale, "unread": unread });
        report::print(&format!("{whole:#}\n"))?;
    } else if let Some(by) = asked.tree {
        let text = tree::text(&mut known, &listed, by);
        report::print(&text)?;
    } else if asked.svg.is_none() {
        let process = asked.target.as_ref().is_some_and(|word| is_pid(&word.to_string_lossy()));
        if one.is_some() && !process && asked.columns.is_none() {
            let text: String = listed.iter().map(|entry| known.detail(entry)).collect::<Vec<_>>().join("\n");
            report::print(&text)?;
        } else {
            let columns = asked.columns.clone().unwrap_or_else(|| DEFAULT.to_vec());
            let text = known.list(&listed, &columns, !asked.no_headings);
            report::print(&text)?;
        }
        if one.is_none() && asked.columns.is_none() {
            tell_stale(&known.pins);
        }
    }
    Ok(0)
}

fn parse(parser: &mut Parser) -> Result<Option<Asked>, Failure> {
    let page = &options::LS;
    let mut asked = Asked::default();
    while let Some(word) = words::next(parser, page)? {
        let opt = match word {
            Word::Option { opt, .. } => opt,
            Word::Plain(word) if asked.target.is_none() => {
                asked.target = Some(word);
                continue;
            }
            Word::Plain(word) => {
                return Err(Failure::usage(format!(
                    "ls takes one TARGET; {} is too much",
                    word.to_string_lossy()
                )));
            }
        };
        match opt.id {
            Id::Help => return report::print(&options::help(page)).map(|()| None),
            Id::Type => {
                let word = parser.value().map_err(words::usage)?;
                let kind = word.to_string_lossy().parse();
                asked.kinds.push(kind.map_err(|why: String| Failure::usage(format!("--type: {why}")))?);
            }
            Id::Tree => {
                asked.tree = Some(match parser.optional_value() {
                    None => By::Owner,
                    Some(word) => By::parse(&word.to_string_lossy())
                        .ok_or_else(|| Failure::usage("--tree takes owner, parent or process"))?,
                });
            }
            Id::Columns => {
                asked.columns = Some(columns(&parser.value().map_err(words::usage)?.to_string_lossy())?)
            }
            Id::NoHeadings => asked.no_headings = true,
            Id::Json => asked.json = true,
            Id::Svg => asked.svg = Some(parser.value().map_err(words::usage)?.into()),
            _ => {}
        }
    }
    asked.agrees()?;
    Ok(Some(asked))
}

impl Asked {
    /// One shape is printed; what is for another shape is not passed over.
    fn agrees(&self) -> Result<(), Failure> {
        let shapes = [("--json", self.json), ("--tree", self.tree.is_some()), ("--svg", self.svg.is_some())];
        let lists = [("--columns", self.columns.is_some()), ("--noheadings", self.no_headings)];
        let given =
            |all: &[(&'static str, bool)]| all.iter().find(|(_, given)| *given).map(|(name, _)| *name);
        if self.json && self.tree.is_some() {
            return Err(Failure::usage("--json and --tree contradict each other")
                .why("the JSON has the owner and the parent of each namespace"));
        }
        match (given(&shapes), given(&lists)) {
            (Some(shape), Some(list)) => {
                Err(Failure::usage(format!("{shape} and {list} contradict each other"))
                    .why(format!("{list} is for the plain list")))
            }
            _ => Ok(()),
        }
    }
}

fn columns(words: &str) -> Result<Vec<Column>, Failure> {
    let find = |word: &str| {
        let found = COLUMNS.iter().find(|(name, _)| *name == word.to_ascii_lowercase());
        found.map(|(_, column)| *column).ok_or_else(|| {
            let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
            Failure::usage(format!("there is no column {word}"))
                .fix(format!("there are: {}", names.join(", ")))
        })
    };
    words.split(',').map(find).collect()
}

/// Numbers above any process id are those of namespaces: the kernel begins at 0xf0000000.
fn is_pid(text: &str) -> bool {
    const MOST_PIDS: u64 = 1 << 22;
    text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u64>().is_ok_and(|number| number <= MOST_PIDS)
}

fn tell_stale(pins: &[Pin]) {
    for pin in pins {
        if let Some(why) = &pin.stale {
            report::note(&format!("the pin {} is stale: {why}; sept unpin {0}", pin.name));
        }
    }
}

fn stale_json(pin: &Pin) -> Option<Value> {
    let why = pin.stale.as_ref()?;
    Some(json!({ "name": pin.name, "why": why, "path": pin.place.to_string_lossy() }))
}

impl Known {
    /// The namespaces that a word names.
    fn select(&self, word: &OsString) -> Result<Vec<NamespaceId>, Failure> {
        let text = word.to_string_lossy();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits && !is_pid(&text) {
            let found = self.inventory.entries.iter().find(|entry| entry.id.inode.to_string() == *text);
            return found.map(|entry| vec![entry.id]).ok_or_else(|| self.not_found(&text));
        }
        let mut ids = Vec::new();
        for target in pins::find(word)? {
            let kinds = target.kind().map_or_else(|| Namespace::ALL.to_vec(), |kind| vec![kind]);
            for kind in kinds {
                let found = target.namespace(kind).map_err(Failure::from).and_then(|file| {
                    file.id().map_err(|error| Failure::io("cannot look at a namespace", &error))
                });
                // Where the first thread of a process has ended, the kernel tells of the others only.
                ids.push(found.or_else(|failure| self.in_inventory(&target, kind).ok_or(failure))?);
            }
        }
        Ok(ids)
    }

    fn in_inventory(&self, target: &Target, kind: Namespace) -> Option<NamespaceId> {
        let pid = target.pid()?;
        let is_its = |entry: &&Entry| entry.kind == kind && entry.processes.binary_search(&pid).is_ok();
        self.inventory.entries.iter().find(is_its).map(|entry| entry.id)
    }

    fn not_found(&self, text: &str) -> Failure {
        let unread = self.unread();
        let failure = if unread.is_empty() {
            Failure::usage(format!("there is no namespace {text} that this user can see"))
                .why("it has ended, or belongs to processes of another user")
        } else {
            unread.into_iter().fold(
                Failure::usage(format!("the namespace {text} is not among those that were found"))
                    .why("perhaps it has ended, or belongs to processes of another user"),
                |failure, unread| {
                    failure.why(format!("perhaps it is kept by what was not looked at: {unread}"))
                },
            )
        };
        failure.fix("sept ls, or as root: sudo sept ls")
    }

    /// What was looked at in part: of each source the first process, and how many more there are.
    fn unread(&self) -> Vec<String> {
        let all = &self.inventory.unread;
        let words = |same: &[Unread]| {
            let Unread { source, pid } = *same.first()?;
            let user = owner_of(pid).map(|uid| users::name(uid).unwrap_or_else(|| uid.to_string()));
            let user = user.map_or_else(String::new, |user| format!(" ({user})"));
            let more = if same.len() > 1 { format!(" and {} more", same.len() - 1) } else { String::new() };
            Some(format!("{source} of process {pid}{user}{more}"))
        };
        all.chunk_by(|one, next| one.source == next.source).filter_map(words).collect()
    }

    fn tell_unread(&self) {
        for unread in self.unread() {
            report::note(&format!("not all is listed: there were too many {unread}"));
        }
    }

    /// The name of a user, or the number.
    pub fn user(&mut self, uid: u32) -> String {
        self.users.entry(uid).or_insert_with(|| users::name(uid).unwrap_or_else(|| uid.to_string())).clone()
    }

    pub fn pins_of(&self, id: NamespaceId) -> Vec<&str> {
        let holds = |pin: &&Pin| pin.kinds.iter().any(|(_, kept)| *kept == id);
        self.pins.iter().filter(holds).map(|pin| pin.name.as_str()).collect()
    }

    /// What else keeps it, in few words.
    pub fn held(&self, entry: &Entry) -> String {
        let count = |is: fn(&Holder) -> bool| entry.holders.iter().filter(|holder| is(holder)).count();
        let mut words = Vec::new();
        let mut say = |n: usize, one: &str, many: &str| {
            if n > 0 {
                words.push(format!("{n} {}", if n == 1 { one } else { many }));
            }
        };
        say(count(|holder| matches!(holder, Holder::Thread { .. })), "thread", "threads");
        say(count(|holder| matches!(holder, Holder::Descriptor { .. })), "fd", "fds");
        say(count(|holder| matches!(holder, Holder::Mount { .. })), "mount", "mounts");
        say(count(|holder| matches!(holder, Holder::ForChildren(_))), "future parent", "future parents");
        // A namespace with processes is not kept by what is below it.
        if entry.processes.is_empty() {
            say(count(|holder| matches!(holder, Holder::Child(_))), "child", "children");
            say(count(|holder| matches!(holder, Holder::Owned(_))), "owned", "owned");
        }
        if entry.kind == Namespace::Pid && entry.processes.is_empty() && is_dead(entry) {
            words.push("dead".to_owned());
        }
        let pins = self.pins_of(entry.id);
        if !pins.is_empty() {
            words.push(format!("pin {}", pins.join(" ")));
        }
        if words.is_empty() { "-".to_owned() } else { words.join(", ") }
    }

    fn cell(&mut self, entry: &Entry, column: Column) -> String {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let first = entry.processes.first().copied();
        match column {
            Column::Ns => entry.id.inode.to_string(),
            Column::Type => entry.kind.link().to_owned(),
            Column::Procs => entry.processes.len().to_string(),
            Column::Pid => or_dash(first.map(|pid| pid.to_string())),
            Column::User => {
                let uid = first.and_then(owner_of).or(entry.owner_uid);
                or_dash(uid.map(|uid| self.user(uid)))
            }
            Column::Command => printable(&or_dash(first.and_then(command_of))),
            Column::Owner => or_dash(entry.owner.map(|id| id.inode.to_string())),
            Column::Parent => or_dash(entry.parent.map(|id| id.inode.to_string())),
            Column::Level => or_dash(self.inventory.level(entry).map(|level| level.to_string())),
            Column::Held => self.held(entry),
            Column::Pins => {
                let pins = self.pins_of(entry.id).join(" ");
                if pins.is_empty() { "-".to_owned() } else { pins }
            }
        }
    }

    fn list(&mut self, entries: &[Entry], columns: &[Column], headings: bool) -> String {
        let heading = |column: &Column| {
            COLUMNS
                .iter()
                .find(|(_, known)| known == column)
                .map_or(String::new(), |(name, _)| name.to_uppercase())
        };
        let mut rows: Vec<Vec<String>> = Vec::with_capacity(entries.len() + 1);
        if headings {
            rows.push(columns.iter().map(heading).collect());
        }
        for entry in entries {
            rows.push(columns.iter().map(|column| self.cell(entry, *column)).collect());
        }
        let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        let mut text = String::new();
        for row in &rows {
            let mut line = String::new();
            for (n, (cell, column)) in row.iter().zip(columns).enumerate() {
                let wide = widths[n];
                let right = matches!(column, Column::Procs | Column::Pid | Column::Level);
                line.push_str(&if right { format!("{cell:>wide$}  ") } else { format!("{cell:<wide$}  ") });
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// Everything about one: what it is, and why it is alive.
    fn detail(&mut self, entry: &Entry) -> String {
        let mut text = format!("{} namespace {}\n", entry.kind, entry.id.inode);
        let mut say = |name: &str, value: String| text.push_str(&format!("  {name:<10} {value}\n"));
        if let Some(owner) = entry.owner {
            say("owned by", format!("user namespace {}", owner.inode));
        }
        if let Some(parent) = entry.parent {
            say("parent", format!("{}", parent.inode));
        }
        if let Some(level) = self.inventory.level(entry) {
            say("level", level.to_string());
        }
        if let Some(uid) = entry.owner_uid {
            let user = self.user(uid);
            say("made by", user);
        }
        let pins = self.pins_of(entry.id).join(", ");
        if !pins.is_empty() {
            say("pinned as", pins);
        }
        if entry.kind == Namespace::Pid && entry.processes.is_empty() && is_dead(entry) {
            say("dead", "its PID 1 has ended: no process can be in it any more".to_owned());
        }
        text.push_str("  kept by\n");
        let mut kept = Vec::new();
        for pid in &entry.processes {
            let user = owner_of(*pid).map_or("-".to_owned(), |uid| self.user(uid));
            let command = command_of(*pid).unwrap_or_default();
            kept.push(format!("process {pid} ({user}) {}", printable(&command)));
        }
        for holder in &entry.holders {
            kept.push(match holder {
                Holder::Descriptor { pid, fd } => {
                    let command = command_of(*pid).unwrap_or_default();
                    format!("descriptor {fd} of process {pid} {}", printable(&command))
                }
                Holder::Mount { pid, path } => {
                    format!("bind mount {} (seen by process {pid})", printable(&path.to_string_lossy()))
                }
                Holder::Child(id) => format!("namespace {} below it", id.inode),
                Holder::Owned(id) => {
                    let kind = self.inventory.get(*id).map_or("", |entry| entry.kind.name());
                    format!("{kind} namespace {}, which it owns", id.inode)
                }
                Holder::ForChildren(pid) => format!("process {pid}, for its children"),
                Holder::Thread { pid, tid } => {
                    let command = command_of(*pid).unwrap_or_default();
                    format!("thread {tid} of process {pid} {}", printable(&command))
                }
            });
        }
        if kept.is_empty() {
            kept.push("nothing that this user can see".to_owned());
        }
        kept.iter().for_each(|line| text.push_str(&format!("    {}\n", line.trim_end())));
        text
    }

    /// The shape is documented in docs/json.md and docs/ls.schema.json.
    fn json(&mut self, entry: &Entry) -> Value {
        let first = entry.processes.first().copied();
        let uid = first.and_then(owner_of);
        let pick =
            |pick: fn(&Holder) -> Option<Value>| entry.holders.iter().filter_map(pick).collect::<Vec<_>>();
        json!({
            "ns": entry.id.inode,
            "type": entry.kind.link(),
            "processes": entry.processes.len(),
            "pid": first,
            "uid": uid,
            "user": uid.map(|uid| self.user(uid)),
            "command": first.and_then(command_of),
            "owner": entry.owner.map(|id| id.inode),
            "parent": entry.parent.map(|id| id.inode),
            "level": self.inventory.level(entry),
            "owner_uid": entry.owner_uid,
            "dead": entry.kind == Namespace::Pid && entry.processes.is_empty() && is_dead(entry),
            "held_by": {
                "descriptors": pick(|holder| match holder {
                    Holder::Descriptor { pid, fd } => Some(json!({ "pid": pid, "fd": fd })),
                    _ => None,
                }),
                "mounts": pick(|holder| match holder {
                    Holder::Mount { pid, path } => Some(json!({ "pid": pid, "path": path.to_string_lossy() })),
                    _ => None,
                }),
                "children": pick(|holder| match holder {
                    Holder::Child(id) => Some(json!(id.inode)),
                    _ => None,
                }),
                "owned": pick(|holder| match holder {
                    Holder::Owned(id) => Some(json!(id.inode)),
                    _ => None,
                }),
                "for_children_of": pick(|holder| match holder {
                    Holder::ForChildren(pid) => Some(json!(pid)),
                    _ => None,
                }),
                "threads": pick(|holder| match holder {
                    Holder::Thread { pid, tid } => Some(json!({ "pid": pid, "tid": tid })),
                    _ => None,
                }),
            },
            "pins": self.pins_of(entry.id),
        })
    }
}

/// A pid namespace without a process has lost its PID 1, unless it waits for a first one.
fn is_dead(entry: &Entry) -> bool {
    !entry.holders.iter().any(|holder| matches!(holder, Holder::ForChildren(_) | Holder::Child(_)))
}

/// The user whose process it is.
pub fn owner_of(pid: u32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(format!("/proc/{pid}")).ok().map(|meta| meta.uid())
}

/// So much of a command line is shown at most, in bytes.
const MOST_OF_LINE: u64 = 4096;

/// All command lines together may take so long. The kernel reads one in the memory of the process, which can have that locked for
/// as long as it likes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads command lines, one after another, while somebody else looks at the clock.
struct Reader {
    ask: Sender<u32>,
    told: Receiver<Option<Vec<u8>>>,
}

impl Reader {
    /// Without a thread for it nothing is ever told.
    fn new() -> Self {
        let ((ask, asked), (tell, told)) = (channel(), channel());
        let _ = std::thread::Builder::new().spawn(move || {
            for pid in asked {
                if tell.send(command_line(pid)).is_err() {
                    break;
                }
            }
        });
        Self { ask, told }
    }
}

fn command_line(pid: u32) -> Option<Vec<u8>> {
    // A process can have gigabytes there.
    let mut line = Vec::new();
    fs::File::open(format!("/proc/{pid}/cmdline")).ok()?.take(MOST_OF_LINE).read_to_end(&mut line).ok()?;
    Some(line)
}

/// One that does not come is given up, and so is the reader, which can't be got back.
fn command_line_in_time(pid: u32) -> Option<Vec<u8>> {
    static READER: Mutex<(Option<Reader>, Duration)> = Mutex::new((None, PATIENCE));
    let mut guard = READER.lock().unwrap_or_else(PoisonError::into_inner);
    let (reader, left) = &mut *guard;
    if left.is_zero() {
        return Some(Vec::new());
    }
    let begun = Instant::now();
    let now = reader.get_or_insert_with(Reader::new);
    let told = now.ask.send(pid).ok().and_then(|()| now.told.recv_timeout(*left).ok());
    if told.is_none() {
        *reader = None;
    }
    *left = left.saturating_sub(begun.elapsed());
    told.unwrap_or_else(|| Some(Vec::new()))
}

/// Its command line, or the name of one that has none, or does not give it.
pub fn command_of(pid: u32) -> Option<String> {
    let line = command_line_in_time(pid)?;
    let words: Vec<_> =
        line.split(|byte| *byte == 0).filter(|word| !word.is_empty()).map(String::from_utf8_lossy).collect();
    if words.is_empty() {
        let name = sept::host::read_text(format!("/proc/{pid}/comm")).ok()?;
        return Some(name.trim_end().to_owned());
    }
    Some(words.join(" "))
}
