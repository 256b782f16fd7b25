//! Starts with pauses between them, as users make them: back to back hides what the kernel does in its own time. The full
//! sandbox against bubblewrap, and what limits by a cgroup cost.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Result, has, sh};

struct Line {
    name: &'static str,
    words: Vec<String>,
    /// What bubblewrap reads its filter from.
    input: Option<PathBuf>,
    took: Vec<Duration>,
}

impl Line {
    fn new(name: &'static str, program: &Path, options: &str, inside: &Path) -> Self {
        let program = [program.to_string_lossy().into_owned()];
        let options = options.split_ascii_whitespace().map(str::to_owned);
        let inside = [inside.to_string_lossy().into_owned()];
        let words = program.into_iter().chain(options).chain(inside).collect();
        Self { name, words, input: None, took: Vec::new() }
    }

    fn start(&mut self) -> Result {
        let (program, arguments) = self.words.split_first().ok_or("an empty line")?;
        let input = match &self.input {
            Some(path) => Stdio::from(File::open(path).map_err(|error| error.to_string())?),
            None => Stdio::null(),
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(input).stdout(Stdio::null());
        let begun = Instant::now();
        sh(&mut command)?;
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
    let mut lines = vec![Line::new("sept run", sept, options, program)];
    if has("bwrap") {
        let filter = program.with_file_name("filter");
        let file = File::create(&filter).map_err(|error| error.to_string())?;
        sh(Command::new(sept).args(["seccomp", "compile", "default"]).stdout(file))?;
        let options =
            "--unshare-all --ro-bind / / --proc /proc --dev /dev --tmpfs /mnt --cap-drop ALL --seccomp 0 --";
        let mut line = Line::new("bwrap", Path::new("bwrap"), options, program);
        line.input = Some(filter);
        lines.insert(0, line);
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
    let mut lines = vec![
        Line::new("no limit", sept, &with(""), program),
        Line::new("--pids", sept, &with("--cgroup-manager fs --pids 100"), program),
        Line::new("--memory", sept, &with("--cgroup-manager fs --memory 256M"), program),
        Line::new(
            "all three",
            sept,
            &with("--cgroup-manager fs --memory 256M --pids 100 --cpus 1.5"),
            program,
        ),
    ];
    // The one controller that a hybrid host has in version 2.
    let unified = with("--cgroup-manager fs --cgroup-conf hugetlb.2MB.max=0");
    let tried = Command::new(sept).args(unified.split_ascii_whitespace()).arg(program).output();
    if tried.is_ok_and(|output| output.status.success()) {
        lines.push(Line::new("version 2", sept, &unified, program));
    }
    measure("limits, 50 ms apart", &mut lines, rounds, Duration::from_millis(50))
}
