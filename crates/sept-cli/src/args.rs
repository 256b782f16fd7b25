//! The words of the command line.

use std::ffi::OsString;
use std::sync::OnceLock;

static ARGS: OnceLock<Vec<OsString>> = OnceLock::new();

/// Called once, at the start.
#[cfg_attr(test, expect(dead_code, reason = "the tests have a start of their own"))]
pub fn set(args: Vec<OsString>) {
    let _ = ARGS.set(args);
}

/// All of them, the program's own name first. std has them only where its own start is used, or where the C library hands
/// them to it.
pub fn all() -> impl Iterator<Item = &'static OsString> {
    ARGS.get().into_iter().flatten()
}
