//! What the tests of the library share.

use std::io::Write;

/// Says why a test does nothing. In one piece: other tests write, too.
pub fn skip(test: &str, why: &str) {
    let line = format!("skipped: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
}
