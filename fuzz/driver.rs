//! Tries targets with one input after another, each made from a number alone, until the time is over or one fails.

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is tried: it makes an input, tells it, and panics where something is wrong.
pub struct Target {
    pub name: &'static str,
    pub try_one: fn(&mut Random, &mut String),
}

/// xorshift64*: the same numbers from the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Neighbours shall have nothing in common, and 0 would stay 0.
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 up to but not with `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }

    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A number at which something may change: near 0, a power of two, or any.
    pub fn edge(&mut self) -> u64 {
        let near = (self.below(5) as u64).wrapping_sub(2);
        match self.below(4) {
            0 => near,
            1 | 2 => (1_u64 << self.below(64)).wrapping_add(near),
            _ => self.next(),
        }
    }
}

/// Pieces that are something to one parser or another.
const PIECES: [&str; 28] = [
    "",
    ":",
    ",",
    "=",
    "/",
    "..",
    "-",
    "+",
    " ",
    "\t",
    "\n",
    "0",
    "1",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "0x10",
    "1e9",
    "NaN",
    "inf",
    "none",
    "all",
    "\\040",
    "\u{1b}[2J",
    "\u{e9}",
    "%s",
];

/// The text with some changes: a byte, a piece, a part twice or not at all.
pub fn mutated(random: &mut Random, text: &[u8]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..random.below(5) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 => bytes.insert(at, random.next() as u8),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => {
                let end = (at + random.below(8)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let end = (at + random.below(24)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let number = random.edge().to_string();
                bytes.splice(at..at, number.into_bytes());
            }
            _ => {
                let piece = *random.pick(&PIECES);
                bytes.splice(at..at, piece.bytes());
            }
        }
    }
    bytes
}

/// One of the texts, changed, as text.
pub fn text(random: &mut Random, corpus: &[&str]) -> String {
    let one = *random.pick(corpus);
    String::from_utf8_lossy(&mutated(random, one.as_bytes())).into_owned()
}

static WHAT: Mutex<String> = Mutex::new(String::new());

/// All targets, or those that are named. The environment says how long each is tried, and with which seed it begins.
pub fn main(targets: &[Target]) -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (seconds, seed) = (number("SEPT_FUZZ_SECONDS").unwrap_or(1), number("SEPT_FUZZ_SEED").unwrap_or(1));
    let once = std::env::var_os("SEPT_FUZZ_SEED").is_some() && number("SEPT_FUZZ_SECONDS").is_none();
    let named: Vec<String> = std::env::args().skip(1).collect();
    if let Some(name) = named.iter().find(|name| !targets.iter().any(|target| target.name == **name)) {
        let names: Vec<_> = targets.iter().map(|target| target.name).collect();
        eprintln!("there is no target {name}; there are: {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    // Targets may print; only what is told here counts.
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
    panic::set_hook(Box::new(|info| {
        *WHAT.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
    }));
    for target in
        targets.iter().filter(|target| named.is_empty() || named.iter().any(|name| name == target.name))
    {
        let (begun, mut tried) = (Instant::now(), 0_u64);
        while tried == 0 || (!once && begun.elapsed() < Duration::from_secs(seconds)) {
            let (seed, mut input) = (seed.wrapping_add(tried), String::new());
            let work = AssertUnwindSafe(|| (target.try_one)(&mut Random::new(seed), &mut input));
            if panic::catch_unwind(work).is_err() {
                let what = WHAT.lock().unwrap_or_else(PoisonError::into_inner);
                eprintln!("{}: seed {seed}, input: {input}\n{what}", target.name);
                eprintln!("again: SEPT_FUZZ_SEED={seed} cargo run --package sept-fuzz -- {}", target.name);
                return ExitCode::FAILURE;
            }
            tried += 1;
        }
        eprintln!("{}: {tried} inputs", target.name);
    }
    ExitCode::SUCCESS
}
