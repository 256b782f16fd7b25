//! Starts compared with the installed peers, interleaved in one run, as ratios to the bare limit.

use std::ffi::{CString, OsString};
use std::fs;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use sept::{Mount, Namespace};

use crate::{Result, Scratch, binds, dist, has, limit, spaced};

/// One way of starting `true`, and how long each start took.
struct Way {
    name: &'static str,
    start: Box<dyn FnMut() -> Result>,
    took: Vec<Duration>,
    cpu: Duration,
    /// What is executed, where this is a program.
    line: Option<Vec<OsString>>,
}

impl Way {
    fn new(name: &'static str, start: impl FnMut() -> Result + 'static) -> Self {
        Self { name, start: Box::new(start), took: Vec::new(), cpu: Duration::ZERO, line: None }
    }

    fn at(&self, percent: usize) -> f64 {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        sorted
            .get(sorted.len().saturating_sub(1) * percent / 100)
            .map_or(f64::NAN, |took| took.as_secs_f64() * 1e6)
    }
}

/// How often each way is started in a row, after once to warm up.
const TURN: usize = 10;

/// Runs the comparison, with so many rounds a row.
pub fn run(rounds: usize) -> Result {
    let (sept, libc) = dist::run()?;
    let scratch = Scratch::new()?;
    let root = scratch.0.join("root");
    for dir in ["proc", "dev", "sys"] {
        fs::create_dir_all(root.join(dir)).map_err(|error| error.to_string())?;
    }
    let program = scratch.0.join("true");
    place(&program, nothing())?;
    place(&root.join("true"), nothing())?;
    println!(
        "sept is static with {libc}; {rounds} starts, by tens in turn; median and p99 in µs, ratio to the limit\n"
    );
    println!(
        "CPU: µs a start, of all processes, with what this program needs to start them; peak: KiB of the process"
    );
    println!(
        "that was started; calls: system calls of all processes. What runs in this program has neither.\n"
    );
    println!(
        "{:<18} {:<10} {:>8} {:>8} {:>7} {:>7} {:>6} {:>6}",
        "namespaces", "by", "median", "p99", "ratio", "CPU", "peak", "calls"
    );
    let rows = rows();
    for row in &rows {
        measure(row, &sept, &program, &root, rounds)?;
    }
    if let Some(row) = rows.iter().find(|row| row.fresh_proc && !row.own_root) {
        sustained(row, &sept, &program, &root)?;
    }
    moving(&sept, &program, rounds)?;
    listing(&sept, rounds)?;
    memory(&program, rounds)?;
    parked(&program, rounds)?;
    binds::compare(&program, rounds.min(50))?;
    start_up(&sept, &program, rounds)?;
    spaced::run(&sept, &program, rounds)
}

/// Only what is measured with pauses between the starts, and the parked start.
pub fn run_spaced(rounds: usize) -> Result {
    let (sept, _) = dist::run()?;
    let scratch = Scratch::new()?;
    let program = scratch.0.join("true");
    place(&program, nothing())?;
    parked(&program, rounds)?;
    spaced::run(&sept, &program, rounds)
}

/// Only the binds.
pub fn only_binds() -> Result {
    let scratch = Scratch::new()?;
    let program = scratch.0.join("true");
    place(&program, nothing())?;
    binds::compare(&program, 50)
}

/// Medians of lines that are started in turn, with the ratio to the first.
fn in_turn(name: &str, lines: &[(&str, Vec<OsString>)], rounds: usize) -> Result {
    let mut took: Vec<Way> = lines.iter().map(|(by, _)| Way::new(by_name(by), || Ok(()))).collect();
    for _ in 0..rounds.div_ceil(TURN) {
        for ((_, line), way) in lines.iter().zip(&mut took) {
            let start = || {
                let begun = Instant::now();
                crate::sh(&mut quiet(line)).map(|()| begun.elapsed())
            };
            start().or_else(|_| start())?;
            for _ in 0..TURN {
                // Once more: lsns gives up where a process ends while it looks at it.
                way.took.push(start().or_else(|_| start())?);
            }
        }
    }
    for way in &took {
        let (median, first) = (way.at(50), took[0].at(50));
        println!("{name:<34} {:<14} {median:>8.0} {:>8.0} {:>7.2}", way.name, way.at(99), median / first);
    }
    Ok(())
}

fn by_name(by: &str) -> &'static str {
    ["sept unshare", "sept enter", "sept ls", "unshare", "nsenter", "lsns"]
        .into_iter()
        .find(|name| *name == by)
        .unwrap_or("")
}

fn words(words: &[&str], program: &Path) -> Vec<OsString> {
    words.iter().map(OsString::from).chain([program.into()]).collect()
}

/// unshare and enter against util-linux's.
fn moving(sept: &Path, program: &Path, rounds: usize) -> Result {
    println!("\n{:<34} {:<14} {:>8} {:>8} {:>7}", "moving and joining", "by", "median", "p99", "ratio");
    let sept_words = sept.to_string_lossy().into_owned();
    for options in [vec!["-Ur"], vec!["-Urmuin"], vec!["-Urmpuinf", "--mount-proc"]] {
        let ours = [&[sept_words.as_str(), "unshare"], options.as_slice()].concat();
        let theirs = [&["unshare"], options.as_slice()].concat();
        let lines = [("sept unshare", words(&ours, program)), ("unshare", words(&theirs, program))];
        in_turn(&options.join(" "), &lines, rounds)?;
    }
    let mut target = Command::new("unshare");
    target.args(["-UrmpuinCTf", "--kill-child", "--mount-proc", "sleep", "1000"]).stdin(Stdio::null());
    let mut target = target.spawn().map_err(|error| error.to_string())?;
    let children = format!("/proc/{0}/task/{0}/children", target.id());
    let inside = (0..500).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let pid = fs::read_to_string(&children).ok()?.trim().to_owned();
        (fs::read_to_string(format!("/proc/{pid}/comm")).ok()? == "sleep\n").then_some(pid)
    });
    let done = inside.ok_or_else(|| "the target did not start".to_owned()).and_then(|pid| {
        let lines = [
            ("sept enter", words(&[&sept_words, "enter", &pid], program)),
            ("nsenter", words(&["nsenter", "-a", "-t", &pid], program)),
        ];
        in_turn("enter all eight", &lines, rounds)?;
        let lines = [
            ("sept enter", words(&[&sept_words, "enter", "-t", &pid, "-U", "-u", "-n"], program)),
            ("nsenter", words(&["nsenter", "-t", &pid, "-U", "-u", "-n"], program)),
        ];
        in_turn("enter user, uts, net", &lines, rounds)
    });
    target.kill().and_then(|()| target.wait()).map_err(|error| error.to_string())?;
    done
}

/// ls against lsns, with some and with many processes.
fn listing(sept: &Path, rounds: usize) -> Result {
    let mut sleepers = Vec::new();
    let done = list(sept, rounds, &mut sleepers);
    for sleeper in &mut sleepers {
        sleeper.kill().and_then(|()| sleeper.wait()).map_err(|error| error.to_string())?;
    }
    done
}

fn list(sept: &Path, rounds: usize, sleepers: &mut Vec<Child>) -> Result {
    for count in [100, 2000] {
        while sleepers.len() < count {
            let mut sleeper = Command::new("sleep");
            let sleeper = sleeper.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            sleepers.push(sleeper.map_err(|error| error.to_string())?);
        }
        let lines =
            [("sept ls", vec![OsString::from(sept), "ls".into()]), ("lsns", vec![OsString::from("lsns")])];
        in_turn(&format!("ls, {count} processes more"), &lines, rounds.min(50))?;
    }
    Ok(())
}

/// What it costs that there is a program `sept`: with `--plan` it starts, parses, plans and prints, and starts nothing.
fn start_up(sept: &Path, program: &Path, rounds: usize) -> Result {
    let options = ["run", "--plan", "-Urmpuin", "--hostname", "inner", "--", "true"];
    let line = std::iter::once(sept.into()).chain(options.map(OsString::from)).collect::<Vec<_>>();
    let mut ways = [(vec![program.into()], Vec::new()), (line, Vec::new())];
    for _ in 0..rounds.div_ceil(TURN) {
        for (line, took) in &mut ways {
            crate::sh(&mut quiet(line))?;
            for _ in 0..TURN {
                let begun = Instant::now();
                crate::sh(&mut quiet(line))?;
                took.push(begun.elapsed());
            }
        }
    }
    let [bare, whole] = ways.map(|(_, took)| Way { took, ..Way::new("", || Ok(())) }.at(50));
    println!("start-up, parsing and planning: {:.0} µs more than the static true's {bare:.0}", whole - bare);
    Ok(())
}

/// What one row starts.
#[derive(Clone)]
struct Row {
    name: &'static str,
    kinds: Vec<Namespace>,
    mapped: bool,
    fresh_proc: bool,
    own_root: bool,
    sept: Vec<&'static str>,
    unshare: Option<Vec<&'static str>>,
    bwrap: Option<Vec<&'static str>>,
}

const SIX: [Namespace; 6] =
    [Namespace::User, Namespace::Mount, Namespace::Pid, Namespace::Uts, Namespace::Ipc, Namespace::Net];

fn rows() -> Vec<Row> {
    let plain = |name, kinds: &[Namespace], sept: &'static str, unshare: Option<&'static str>| Row {
        name,
        kinds: kinds.to_vec(),
        mapped: kinds.contains(&Namespace::User),
        fresh_proc: false,
        own_root: false,
        sept: vec![sept, "--no-proc", "--no-loopback"],
        unshare: unshare.map(|option| vec![option]),
        bwrap: None,
    };
    use Namespace::{Cgroup, Ipc, Mount, Net, Pid, Time, User, Uts};
    let whole = |name, own_root, sept: &[&'static str], bwrap: &[&'static str]| Row {
        name,
        kinds: SIX.to_vec(),
        mapped: true,
        fresh_proc: true,
        own_root,
        sept: sept.to_vec(),
        unshare: (!own_root).then(|| vec!["-Urmpuin", "-f", "--mount-proc"]),
        bwrap: Some(bwrap.to_vec()),
    };
    vec![
        Row { sept: vec!["--namespaces", "none"], ..plain("none", &[], "", None) },
        plain("user", &[User], "-Ur", Some("-Ur")),
        plain("user, mount", &[User, Mount], "-Urm", Some("-Urm")),
        plain("user, pid", &[User, Pid], "-Urp", Some("-Urpf")),
        plain("user, uts", &[User, Uts], "-Uru", Some("-Uru")),
        plain("user, ipc", &[User, Ipc], "-Uri", Some("-Uri")),
        plain("user, net", &[User, Net], "-Urn", Some("-Urn")),
        plain("user, cgroup", &[User, Cgroup], "-UrC", Some("-UrC")),
        plain("user, time", &[User, Time], "-UrT", Some("-UrT")),
        // As the limit, which writes no id maps either.
        Row { mapped: false, sept: vec![], ..plain("six, unmapped", &SIX, "", None) },
        plain("six", &SIX, "-Urmpuin", Some("-Urmpuinf")),
        plain("all eight", &Namespace::ALL, "-UrmpuinCT", Some("-UrmpuinCTf")),
        whole("six, proc", false, &["-Urmpuin"], &["--unshare-all", "--bind", "/", "/", "--proc", "/proc"]),
        whole(
            "six, own root",
            true,
            &["-Urmpuin", "--root", "ROOT"],
            &["--unshare-all", "--bind", "ROOT", "/", "--proc", "/proc", "--dev", "/dev"],
        ),
    ]
}

fn measure(row: &Row, sept: &Path, program: &Path, root: &Path, rounds: usize) -> Result {
    let inside = if row.own_root { Path::new("/true") } else { program };
    let mut ways = vec![bare(row, program)?, library(row, inside, root)];
    for (name, line) in lines(row, sept, inside, root) {
        let start = line.clone();
        let mut way = Way::new(name, move || crate::sh(&mut quiet(&start)));
        way.line = Some(line);
        ways.push(way);
    }
    // In turns, so that whatever else the machine does meets all; by tens, so that none runs in another's caches.
    for _ in 0..rounds.div_ceil(TURN) {
        for way in &mut ways {
            (way.start)()?;
            for _ in 0..TURN {
                let (begun, used) = (Instant::now(), limit::cpu());
                (way.start)()?;
                way.took.push(begun.elapsed());
                way.cpu += limit::cpu().saturating_sub(used);
            }
        }
    }
    let limit = ways[0].at(50);
    for way in &ways {
        let (peak, calls) = match &way.line {
            Some(line) => (peak(line)?, calls(line, program)?),
            None => ("-".to_owned(), "-".to_owned()),
        };
        println!(
            "{:<18} {:<10} {:>8.0} {:>8.0} {:>7.2} {:>7.0} {peak:>6} {calls:>6}",
            row.name,
            way.name,
            way.at(50),
            way.at(99),
            way.at(50) / limit,
            way.cpu.as_secs_f64() * 1e6 / way.took.len() as f64
        );
    }
    Ok(())
}

/// The lines that make this row's program start, by each tool that is there.
fn lines(row: &Row, sept: &Path, inside: &Path, root: &Path) -> Vec<(&'static str, Vec<OsString>)> {
    let line = |program: &Path, options: &[&str]| -> Vec<OsString> {
        let option = |option: &&str| match *option {
            "ROOT" => root.into(),
            option => option.into(),
        };
        let options = options.iter().map(option);
        std::iter::once(program.into()).chain(options).chain([inside.into()]).collect()
    };
    let mut lines = Vec::new();
    if !row.sept.is_empty() {
        lines.push(("sept run", line(sept, &[&["run"], row.sept.as_slice(), &["--"]].concat())));
    }
    for (name, options) in [("unshare", &row.unshare), ("bwrap", &row.bwrap)] {
        match options {
            Some(options) if has(name) => lines.push((name, line(Path::new(name), options))),
            Some(_) => println!("{:<18} {name:<10} not installed", row.name),
            None => {}
        }
    }
    lines
}

/// A line as a command whose streams lead nowhere.
fn quiet(line: &[OsString]) -> Command {
    let mut command = crate::at_home(line.first().map_or(OsString::new(), Clone::clone));
    command.args(line.iter().skip(1)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The peak memory in KiB of the process that was started, while `cat` runs in it; wait4(2) would count this
/// program's memory, too. A root with nothing but `true` has no `cat`.
fn peak(line: &[OsString]) -> Result<String> {
    let Some((program, before)) = line.split_last() else { return Ok("-".to_owned()) };
    if program == "/true" {
        return Ok("-".to_owned());
    }
    let line = [before, &[OsString::from("cat")]].concat();
    let mut child = quiet(&line).stdin(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    std::thread::sleep(Duration::from_millis(50));
    let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
    child.wait().map_err(|error| error.to_string())?;
    let status = status.map_err(|error| error.to_string())?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_ascii_whitespace().next());
    Ok(peak.unwrap_or("-").to_owned())
}

/// The system calls of a line and of all that comes of it, as strace sees them.
fn calls(line: &[OsString], beside: &Path) -> Result<String> {
    if !has("strace") {
        return Ok("-".to_owned());
    }
    let log = beside.with_file_name("calls");
    let mut strace =
        vec![OsString::from("strace"), "-f".into(), "-qq".into(), "-o".into(), log.clone().into()];
    strace.extend_from_slice(line);
    crate::sh(&mut quiet(&strace))?;
    let text = fs::read(&log).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&text);
    let is_call = |line: &&str| line.contains('(') && !line.contains(" resumed>") && !line.contains(" --- ");
    Ok(text.lines().filter(is_call).count().to_string())
}

/// Starts a second, from one and from two threads at once.
fn sustained(row: &Row, sept: &Path, program: &Path, root: &Path) -> Result {
    println!("\nsustained starts a second, {}, 1 and 2 workers", row.name);
    let start = || by_library(row, program, root);
    println!("{:<10} {:>8.0} {:>8.0}", "library", rate(1, &start)?, rate(2, &start)?);
    for (name, line) in lines(row, sept, program, root) {
        let start = || crate::sh(&mut quiet(&line));
        println!("{name:<10} {:>8.0} {:>8.0}", rate(1, &start)?, rate(2, &start)?);
    }
    Ok(())
}

/// Starts a second, from so many threads.
fn rate(workers: usize, start: &(impl Fn() -> Result + Sync)) -> Result<f64> {
    let begun = Instant::now();
    let work = || -> Result<u32> {
        let mut count = 0;
        while begun.elapsed() < Duration::from_secs(1) {
            start()?;
            count += 1;
        }
        Ok(count)
    };
    let counts = std::thread::scope(|scope| -> Result<u32> {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let count = |thread: std::thread::ScopedJoinHandle<'_, Result<u32>>| {
            thread.join().map_err(|_| "a worker failed".to_owned())?
        };
        threads.into_iter().map(count).sum()
    })?;
    Ok(f64::from(counts) / begun.elapsed().as_secs_f64())
}

fn bare(row: &Row, program: &Path) -> Result<Way> {
    let flags = row.kinds.iter().fold(0, |flags, kind| flags | kind.flag());
    let program = CString::new(program.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
    Ok(Way::new("limit", move || {
        limit::start(&program, flags, limit::Before::default()).map_err(|error| error.to_string())
    }))
}

fn library(row: &Row, program: &Path, root: &Path) -> Way {
    let (row, program, root) = (row.clone(), program.to_path_buf(), root.to_path_buf());
    Way::new("library", move || by_library(&row, &program, &root))
}

fn by_library(row: &Row, program: &Path, root: &Path) -> Result {
    let mut command = sept::Command::new(program);
    command.unshare(row.kinds.iter().copied());
    if row.mapped {
        command.map_root();
    }
    if row.own_root {
        command.root(root).mount(Mount::dev("/dev")).mount(Mount::sysfs("/sys"));
    }
    if row.fresh_proc {
        command.mount(Mount::proc("/proc"));
    }
    let status = command.status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

/// The library in a caller that has touched 1 MiB, and 1 GiB, in turns.
fn memory(program: &Path, rounds: usize) -> Result {
    let mut ways = ["1 MiB", "1 GiB"].map(|name| {
        let row = Row { kinds: SIX.to_vec(), mapped: true, ..rows().remove(0) };
        Way { name, ..library(&row, program, program) }
    });
    for _ in 0..rounds.div_ceil(TURN) {
        for (way, size) in ways.iter_mut().zip([1_usize << 20, 1 << 30]) {
            let touched = vec![1_u8; size];
            (way.start)()?;
            for _ in 0..TURN {
                let begun = Instant::now();
                (way.start)()?;
                way.took.push(begun.elapsed());
            }
            black_box(&touched);
        }
    }
    println!();
    for way in &ways {
        println!("library, six, caller with {} touched: median {:.0} µs", way.name, way.at(50));
    }
    println!("ratio: {:.2}", ways[1].at(50) / ways[0].at(50));
    Ok(())
}

/// From the request to start a parked child to its program's first instruction, by the program's own clock.
fn parked(dir: &Path, rounds: usize) -> Result {
    if !cfg!(target_arch = "x86_64") {
        println!("Parked::start: the program that tells its time is there for x86_64 only");
        return Ok(());
    }
    // clock_gettime(CLOCK_MONOTONIC) below the stack pointer, and those 16 bytes to standard output.
    let code: &[u8] = &[
        0xb8, 228, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x74, 0x24, 0xf0, 0x0f, 0x05, // the time
        0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x74, 0x24, 0xf0, 0xba, 16, 0, 0, 0, 0x0f,
        0x05, // told
        0x31, 0xff, 0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05, // exit_group(0)
    ];
    let program = dir.with_file_name("clock");
    place(&program, code)?;
    let bare = CString::new(program.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
    let mut limit = Way::new("limit", || Ok(()));
    let mut library = Way::new("library", || Ok(()));
    for _ in 0..rounds.div_ceil(TURN) {
        for _ in 0..TURN {
            let (begun, told) = parked_bare(&bare).map_err(|error| error.to_string())?;
            limit.took.push(instant(&told)?.saturating_sub(begun));
        }
        for _ in 0..TURN {
            let mut command = sept::Command::new(&program);
            command.unshare(SIX).map_root().mount(Mount::proc("/proc")).stdout(sept::Stdio::piped());
            let parked = command.park().map_err(|error| error.to_string())?;
            let begun = monotonic();
            let child = parked.start().map_err(|error| error.to_string())?;
            let output = child.wait_with_output().map_err(|error| error.to_string())?;
            library.took.push(instant(&output.stdout)?.saturating_sub(begun));
        }
    }
    let (first, least) = (library.at(50), limit.at(50));
    println!("a child that waits at a pipe, to its program's first instruction: median {least:.0} µs");
    println!(
        "Parked::start to the first instruction: median {first:.0} µs, p99 {:.0} µs, ratio {:.2}",
        library.at(99),
        first / least
    );
    Ok(())
}

/// The limit of that: a child that waits at a pipe and execs, without any namespace. When it was let go, and what it told.
fn parked_bare(program: &CString) -> std::io::Result<(Duration, Vec<u8>)> {
    let (gate, mut go) = std::io::pipe()?;
    let (mut told, output) = std::io::pipe()?;
    let before = limit::Before { gate: Some((gate.as_fd(), output.as_fd())), ..limit::Before::default() };
    let mut answer = (Duration::ZERO, vec![0; 16]);
    limit::parked(program, before, || {
        // As long as the library takes for its own, so that the child waits by then.
        std::thread::sleep(Duration::from_micros(200));
        answer.0 = monotonic();
        go.write_all(b"!")?;
        told.read_exact(&mut answer.1)
    })?;
    Ok(answer)
}

/// What the program told: seconds and nanoseconds.
fn instant(told: &[u8]) -> Result<Duration> {
    let number = |at: usize| -> Result<u64> {
        let bytes = told.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_ne_bytes).ok_or_else(|| "the program told no time".to_owned())
    };
    Ok(Duration::new(number(0)?, number(8)? as u32))
}

fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// `exit_group(0)`, and nothing else.
fn nothing() -> &'static [u8] {
    if cfg!(target_arch = "x86_64") {
        // xor edi,edi; mov eax,231; syscall
        &[0x31, 0xff, 0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05]
    } else {
        // mov x0,#0; mov x8,#94; svc #0
        &[0x00, 0x00, 0x80, 0xd2, 0xc8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4]
    }
}

/// The smallest static program: an ELF header, and one segment with this code.
fn place(path: &Path, code: &[u8]) -> Result {
    let machine: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    let (base, headers) = (0x40_0000_u64, 64 + 56_u64);
    let size = headers + code.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([2_u16, machine].map(u16::to_le_bytes).concat());
    file.extend(1_u32.to_le_bytes());
    file.extend([base + headers, 64, 0].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    file.extend([64_u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    file.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    file.extend([0, base, base, size, size, 0x1000].map(u64::to_le_bytes).concat());
    file.extend(code);
    let placed =
        fs::write(path, file).and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
    placed.map_err(|error| format!("{}: {error}", path.display()))
}
