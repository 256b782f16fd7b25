//! The house: imports go down only, `unsafe` has its rooms, no file grows too long.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the lowest floor to the highest; those of one floor may use each other.
const FLOORS: [&[&str]; 8] = [
    &["sys", "engine::wire"],
    &[
        "namespace",
        "id_map",
        "mount",
        "stdio",
        "signal",
        "capability",
        "cgroup",
        "landlock",
        "layer",
        "rlimit",
        "seccomp",
    ],
    &["error", "executable", "host::common", "target"],
    &["command"],
    &["host", "host::facts", "host::inventory", "host::joins", "host::probe", "host::socket", "host::subid"],
    &[
        "plan",
        "plan::step",
        "plan::ids",
        "plan::join",
        "plan::layers",
        "plan::privileges",
        "plan::root",
        "host::advice",
        "host::earlier",
    ],
    &[
        "engine",
        "engine::anchors",
        "engine::cgroup",
        "engine::prepare",
        "engine::child",
        "engine::parent",
        "engine::in_place",
        "engine::listener",
        "engine::net",
    ],
    &["process", "fallback", "lib", "fuzz"],
];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the sources are there").flatten() {
        let path = entry.path();
        if path.is_dir() { sources(&path, found) } else { found.push(path) }
    }
}

fn all() -> Vec<(String, String)> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&base, &mut files);
    let named = |path: PathBuf| {
        let name = path.strip_prefix(&base).ok()?.with_extension("");
        let name = name.to_string_lossy().replace('/', "::").trim_end_matches("::mod").to_owned();
        Some((name, fs::read_to_string(&path).ok()?))
    };
    files.into_iter().filter_map(named).collect()
}

/// The floor of the longest name in the list that `module` is or lies below.
fn floor(module: &str) -> usize {
    let fits = |name: &str| module == name || module.starts_with(&format!("{name}::"));
    let named = FLOORS.iter().enumerate().flat_map(|(n, names)| names.iter().map(move |name| (n, *name)));
    named
        .filter(|(_, name)| fits(name))
        .max_by_key(|(_, name)| name.len())
        .map(|(n, _)| n)
        .expect("every module has a floor")
}

#[test]
fn imports_go_down_only() {
    for (module, text) in all().iter().filter(|(module, _)| module != "lib") {
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("use crate::")) {
            let path = line.split(['{', ';']).next().unwrap_or_default().trim_end_matches("::");
            // `use crate::engine::{self, wire}` names the room itself.
            assert!(
                floor(path) <= floor(module),
                "{module} (floor {}) uses {path} (floor {})",
                floor(module),
                floor(path)
            );
        }
    }
}

#[test]
fn unsafe_has_its_rooms() {
    for (module, text) in all() {
        let rooms = module == "sys" || module.starts_with("sys::") || module == "engine::child";
        assert!(rooms || !text.contains("unsafe "), "unsafe in {module}");
        assert!(rooms || !text.contains("allow(unsafe_code)"), "unsafe is allowed in {module}");
    }
}

#[test]
fn no_file_is_over_seven_hundred_lines() {
    for (module, text) in all() {
        assert!(text.lines().count() <= 700, "{module}");
    }
}
