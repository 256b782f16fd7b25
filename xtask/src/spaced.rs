//! Starts with pauses between them, as users make them: back to back hides what the kernel does in its own time. The full
//! sandbox against bubblewrap, and what limits by a cgroup cost.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Result, has, limit, sh};

struct Line {
    name: &'static str,
    start: Box<dyn FnMut() -> Result>,
    took: Vec<Duration>,
}

impl Line {
    fn new(name: &'static str, start: impl FnMut() -> Result + 'static) -> Self {
        Self { name, start: Box::new(start), took: Vec::new() }
    }

    /// `program OPTIONS inside`, with this file as its standard input.
    fn of(name: &'static str, program: &Path, options: &str, inside: &Path, input: Option<PathBuf>) -> Self {
        let options: Vec<String> = options.split_ascii_whitespace().map(str::to_owned).collect();
        let (program, inside) = (program.to_path_buf(), inside.to_path_buf());
        Self::new(name, move || {
            let input = match &input {
                Some(path) => Stdio::from(File::open(path).map_err(|error| error.to_string())?),
                None => Stdio::null(),
            };
            sh(crate::at_home(&program).args(&options).arg(&inside).stdin(input).stdout(Stdio::null()))
        })
    }

    fn start(&mut self) -> Result {
        let begun = Instant::now();
        (self.start)()?;
        self.took.push(begun.elapsed());
        Ok(())
    }

    fn median(&mut self) -> f64 {
        self.took.sort_unstable();
        self.took.get(self.took.len() / 2).map_or(f64::NAN, |took| took.as_secs_f64() * 1e6)
    }
}

/// Medians of these lines in turn, with this pause before each start. The first is what the others are compared with.
fn measure(what: &str, lines: &mut [Line], rounds: usize, pause: Duration) -> Result {
    for line in lines.iter_mut() {
        line.took.clear();
        line.start()?;
        line.took.clear();
    }
    for _ in 0..rounds {
        for line in lines.iter_mut() {
            std::thread::sleep(pause);
            line.start()?;
        }
    }
    let first = lines.first_mut().map_or(f64::NAN, Line::median);
    for line in lines {
        let median = line.median();
        println!(
            "{what:<34} {:<14} {median:>8.0} {:>+8.0} {:>7.2}",
            line.name,
            median - first,
            median / first
        );
    }
    Ok(())
}

/// Everything of this file.
pub fn run(sept: &Path, program: &Path, rounds: usize) -> Result {
    println!(
        "\n{:<34} {:<14} {:>8} {:>8} {:>7}",
        "what is paused between starts", "by", "median", "more", "ratio"
    );
    full(sept, program, rounds)?;
    limits(sept, program, rounds.min(60))
}

/// A read-only host with proc, dev and a tmpfs, the default filter, no capability.
fn full(sept: &Path, program: &Path, rounds: usize) -> Result {
    let options = "run --read-only --dev /dev --tmpfs /mnt --seccomp default --cap-drop all --";
    let mut lines = vec![Line::of("sept run", sept, options, program, None)];
    if has("bwrap") {
        let filter = program.with_file_name("filter");
        let file = File::create(&filter).map_err(|error| error.to_string())?;
        sh(Command::new(sept).args(["seccomp", "compile", "default"]).stdout(file))?;
        let options =
            "--unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /mnt --cap-drop ALL --seccomp 0 --";
        lines.insert(0, Line::of("bwrap", Path::new("bwrap"), options, program, Some(filter)));
    }
    measure("full sandbox, back to back", &mut lines, rounds, Duration::ZERO)?;
    measure("full sandbox, 20 ms apart", &mut lines, rounds, Duration::from_millis(20))
}

/// What limits cost, where this user may make cgroups.
fn limits(sept: &Path, program: &Path, rounds: usize) -> Result {
    let with = |options: &str| format!("run {options} --");
    let tried = Command::new(sept).args(["run", "--pids", "100", "--"]).arg(program).output();
    if !tried.is_ok_and(|output| output.status.success()) {
        println!("limits by a cgroup: this user may make none");
        return Ok(());
    }
    let pause = Duration::from_millis(50);
    measure("bare, 50 ms apart", &mut bare(program)?, rounds, pause)?;
    let line = |name, options: &str| Line::of(name, sept, &with(options), program, None);
    let mut lines = vec![
        line("no limit", ""),
        line("--pids", "--cgroup-manager fs --pids 100"),
        line("--memory", "--cgroup-manager fs --memory 256M"),
        line("all three", "--cgroup-manager fs --memory 256M --pids 100 --cpus 1.5"),
    ];
    // The one controller that a hybrid host has in version 2.
    let unified = "--cgroup-manager fs --cgroup-conf hugetlb.2MB.max=0";
    let tried = Command::new(sept).args(with(unified).split_ascii_whitespace()).arg(program).output();
    if tried.is_ok_and(|output| output.status.success()) {
        lines.push(line("version 2", unified));
    }
    measure("limits, 50 ms apart", &mut lines, rounds, pause)
}

/// What no tool can be faster than: clone3 and exec, with a cgroup made, entered and removed around it.
fn bare(program: &Path) -> Result<Vec<Line>> {
    let said = |error: std::io::Error| error.to_string();
    let program = CString::new(program.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
    let plain = program.clone();
    let mut lines = vec![Line::new("clone3, exec", move || {
        limit::start(&plain, 0, limit::Before::default()).map_err(said)
    })];
    for (name, dir, unified) in [
        ("+ pids, v1", "/sys/fs/cgroup/pids", false),
        ("+ version 2", "/sys/fs/cgroup/unified", true),
        ("+ version 2", "/sys/fs/cgroup", true),
    ] {
        let dir = Path::new(dir).join(format!("bench-{}", std::process::id()));
        let there = dir.with_file_name(if unified { "cgroup.controllers" } else { "tasks" });
        if !there.exists() {
            continue;
        }
        let program = program.clone();
        lines.push(Line::new(name, move || {
            fs::create_dir(&dir).map_err(said)?;
            let started = bare_inside(&program, &dir, unified);
            fs::remove_dir(&dir).and(started).map_err(said)
        }));
    }
    Ok(lines)
}

fn bare_inside(program: &CString, dir: &Path, unified: bool) -> std::io::Result<()> {
    if unified {
        let dir = File::open(dir)?;
        return limit::start(program, 0, limit::Before { into: Some(dir.as_fd()), ..Default::default() });
    }
    fs::write(dir.join("pids.max"), "100")?;
    let tasks = File::options().write(true).open(dir.join("tasks"))?;
    limit::start(program, 0, limit::Before { tasks: &[tasks.as_fd()], ..Default::default() })
}
