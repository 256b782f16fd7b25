//! Starts compared with the installed peers, interleaved in one run, as ratios to the bare limit.

use std::ffi::CString;
use std::fs;
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sept::{Mount, Namespace};

use crate::{Result, Scratch, dist, has, limit};

/// One way of starting `true`, and how long each start took.
struct Way {
    name: &'static str,
    start: Box<dyn FnMut() -> Result>,
    took: Vec<Duration>,
}

impl Way {
    fn new(name: &'static str, start: impl FnMut() -> Result + 'static) -> Self {
        Self { name, start: Box::new(start), took: Vec::new() }
    }

    fn at(&self, percent: usize) -> f64 {
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        sorted
            .get(sorted.len().saturating_sub(1) * percent / 100)
            .map_or(f64::NAN, |took| took.as_secs_f64() * 1e6)
    }
}

/// Runs the comparison, with so many rounds a row.
pub fn run(rounds: usize) -> Result {
    let (sept, libc) = dist::run()?;
    let scratch = Scratch::new()?;
    let root = scratch.0.join("root");
    for dir in ["proc", "dev", "sys"] {
        fs::create_dir_all(root.join(dir)).map_err(|error| error.to_string())?;
    }
    let program = scratch.0.join("true");
    place(&program)?;
    place(&root.join("true"))?;
    println!(
        "sept is static with {libc}; {rounds} rounds, interleaved; median and p99 in µs, ratio to the limit\n"
    );
    println!("{:<18} {:<10} {:>8} {:>8} {:>7}", "namespaces", "by", "median", "p99", "ratio");
    for row in rows() {
        measure(&row, &sept, &program, &root, rounds)?;
    }
    memory(&program, rounds)?;
    parked(&program, rounds)
}

/// What one row starts.
struct Row {
    name: &'static str,
    kinds: Vec<Namespace>,
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
    let with_root = |options: &[&str]| -> Vec<String> {
        let root = root.display().to_string();
        options
            .iter()
            .map(|option| if *option == "ROOT" { root.clone() } else { (*option).to_owned() })
            .collect()
    };
    let mut tool = |name: &'static str, program: &Path, options: Vec<String>| {
        if !has(name) && name != "sept run" {
            println!("{:<18} {:<10} not installed", row.name, name);
            return;
        }
        let (program, inside) = (program.to_path_buf(), inside.to_path_buf());
        ways.push(Way::new(name, move || {
            let mut command = Command::new(&program);
            command
                .args(&options)
                .arg(&inside)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            crate::sh(&mut command)
        }));
    };
    let sept_options = [vec!["run".to_owned()], with_root(&row.sept), vec!["--".to_owned()]].concat();
    tool("sept run", sept, sept_options);
    if let Some(options) = &row.unshare {
        tool("unshare", Path::new("unshare"), with_root(options));
    }
    if let Some(options) = &row.bwrap {
        tool("bwrap", Path::new("bwrap"), with_root(options));
    }
    for round in 0..rounds + 3 {
        for way in &mut ways {
            let begun = Instant::now();
            (way.start)()?;
            // The first rounds warm caches.
            if round >= 3 {
                way.took.push(begun.elapsed());
            }
        }
    }
    let limit = ways[0].at(50);
    for way in &ways {
        println!(
            "{:<18} {:<10} {:>8.0} {:>8.0} {:>7.2}",
            row.name,
            way.name,
            way.at(50),
            way.at(99),
            way.at(50) / limit
        );
    }
    Ok(())
}

fn bare(row: &Row, program: &Path) -> Result<Way> {
    let flags = row.kinds.iter().fold(0, |flags, kind| flags | kind.flag());
    let program = CString::new(program.as_os_str().as_encoded_bytes()).map_err(|error| error.to_string())?;
    Ok(Way::new("limit", move || limit::start(&program, flags).map_err(|error| error.to_string())))
}

fn library(row: &Row, program: &Path, root: &Path) -> Way {
    let (kinds, program, root) = (row.kinds.clone(), program.to_path_buf(), root.to_path_buf());
    let (fresh_proc, own_root) = (row.fresh_proc, row.own_root);
    Way::new("library", move || {
        let mut command = sept::Command::new(&program);
        command.unshare(kinds.iter().copied());
        if kinds.contains(&Namespace::User) {
            command.map_root();
        }
        if own_root {
            command.root(&root).mount(Mount::dev("/dev")).mount(Mount::sysfs("/sys"));
        }
        if fresh_proc {
            command.mount(Mount::proc("/proc"));
        }
        let status = command.status().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(status.to_string()) }
    })
}

/// The library in a caller that has touched 1 MiB, and 1 GiB.
fn memory(program: &Path, rounds: usize) -> Result {
    println!();
    let mut medians = Vec::new();
    for (name, size) in [("1 MiB", 1_usize << 20), ("1 GiB", 1 << 30)] {
        let touched = vec![1_u8; size];
        let mut way = library(
            &Row { kinds: SIX.to_vec(), fresh_proc: false, own_root: false, ..rows().remove(0) },
            program,
            program,
        );
        for _ in 0..rounds {
            let begun = Instant::now();
            (way.start)()?;
            way.took.push(begun.elapsed());
        }
        black_box(&touched);
        println!("library, six, caller with {name} touched: median {:.0} µs", way.at(50));
        medians.push(way.at(50));
    }
    println!("ratio: {:.2}", medians[1] / medians[0]);
    Ok(())
}

/// From the request to start a parked child until exec has succeeded.
fn parked(program: &Path, rounds: usize) -> Result {
    let mut took = Way::new("parked", || Ok(()));
    for _ in 0..rounds {
        let mut command = sept::Command::new(program);
        let parked = command.unshare(SIX).map_root().mount(Mount::proc("/proc")).park();
        let parked = parked.map_err(|error| error.to_string())?;
        let begun = Instant::now();
        let mut child = parked.start().map_err(|error| error.to_string())?;
        took.took.push(begun.elapsed());
        child.wait().map_err(|error| error.to_string())?;
    }
    println!(
        "Parked::start until exec has succeeded: median {:.0} µs, p99 {:.0} µs",
        took.at(50),
        took.at(99)
    );
    Ok(())
}

/// The smallest static program: an ELF header, one segment, and `exit_group(0)`.
fn place(path: &Path) -> Result {
    let code: &[u8] = if cfg!(target_arch = "x86_64") {
        // xor edi,edi; mov eax,231; syscall
        &[0x31, 0xff, 0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05]
    } else {
        // mov x0,#0; mov x8,#94; svc #0
        &[0x00, 0x00, 0x80, 0xd2, 0xc8, 0x0b, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4]
    };
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
