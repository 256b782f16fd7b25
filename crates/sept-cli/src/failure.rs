//! Errors as the user meets them: in words, or as one JSON object.

use std::io::{self, Write};

use serde_json::json;

use crate::options::{self, Page};

/// Why `sept` ends without, or instead of, a command's exit code.
#[derive(Debug)]
pub struct Failure {
    kind: &'static str,
    what: String,
    why: Vec<String>,
    fix: Vec<String>,
    errno: Option<i32>,
    step: Option<(usize, Option<usize>)>,
    pub code: u8,
}

impl Failure {
    /// A command line that can't be.
    pub fn usage(what: impl Into<String>) -> Self {
        Self {
            kind: "usage",
            what: what.into(),
            why: vec![],
            fix: vec![],
            errno: None,
            step: None,
            code: 125,
        }
    }

    /// Something that the operating system refused to `sept` itself.
    pub fn io(what: impl Into<String>, error: &io::Error) -> Self {
        let what = match error.raw_os_error() {
            Some(errno) => format!("{}: {}", what.into(), sept::describe(errno)),
            None => format!("{}: {error}", what.into()),
        };
        let advice = error.raw_os_error().map(sept::host::advice_on).unwrap_or_default();
        Self {
            kind: "duty",
            errno: error.raw_os_error(),
            why: advice.why,
            fix: advice.fix,
            ..Self::usage(what)
        }
    }

    /// Something in /proc that could not be read.
    pub fn proc(what: impl Into<String>, error: &io::Error) -> Self {
        let advice = sept::host::advice_on_proc(error);
        Self { why: advice.why, fix: advice.fix, ..Self::io(what, error) }
    }

    /// Adds a reason.
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why.push(why.into());
        self
    }

    /// Adds a way to mend it.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix.push(fix.into());
        self
    }

    /// Without remedies by options of `sept run` that a command does not have.
    pub fn for_page(mut self, page: &Page) -> Self {
        let has = |page: &Page, name: &str| page.options.iter().any(|opt| opt.long == name);
        let is_of_run = |word: &str| {
            let name = word.trim_start_matches("--").split('=').next().unwrap_or_default();
            word.starts_with("--") && has(&options::RUN, name) && !has(page, name)
        };
        let separators =
            |letter: char| letter.is_whitespace() || matches!(letter, ',' | ';' | ':' | '(' | ')');
        // What names sept is about another line than this one.
        self.fix.retain(|fix| fix.contains("sept") || !fix.split(separators).any(is_of_run));
        self
    }

    /// Prints it, and ends: for a process that has moved, and whose descriptors may be closed whoever owns them.
    pub fn end(self) -> ! {
        self.print(crate::wants_json_errors());
        std::process::exit(self.code.into())
    }

    /// What failed.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// As the report has it.
    pub fn json(&self) -> serde_json::Value {
        json!({
            "kind": self.kind,
            "message": self.what,
            "errno": self.errno,
            "step": self.step.map(|(step, _)| step),
            "steps": self.step.and_then(|(_, of)| of),
            "why": self.why,
            "fix": self.fix,
            "exit_code": self.code,
        })
    }

    /// Writes it to standard error. If that fails there is nobody left to tell.
    pub fn print(&self, as_json: bool) {
        let mut text = String::new();
        if as_json {
            text = crate::report::without_c1(&json!({ "error": self.json() }).to_string()).into_owned();
        } else {
            text.push_str(&format!("sept: {}", printable(&self.what)));
            for why in &self.why {
                text.push_str(&format!("\n why: {}", printable(why)));
            }
            for (n, fix) in self.fix.iter().enumerate() {
                text.push_str(&format!("\n {}: {}", if n == 0 { "fix" } else { " or" }, printable(fix)));
            }
        }
        text.push('\n');
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// A word as it is; in quotes where it is empty or has blanks.
pub fn quoted(word: &str) -> String {
    let bare = !word.is_empty() && !word.contains(char::is_whitespace);
    if bare { word.to_owned() } else { format!("'{word}'") }
}

/// Whether it turns the direction of the text after it, or ends a line where nobody sees it.
pub fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Control characters escaped, and those that turn the direction of others: a name must not move the cursor of who reads about
/// it, nor what is written beside it.
pub fn printable(text: &str) -> String {
    let acts = |c: char| c.is_control() || turns(c);
    text.chars().flat_map(|c| if acts(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

impl From<sept::Error> for Failure {
    fn from(error: sept::Error) -> Self {
        let advice = error.advice().cloned().unwrap_or_default();
        let step = match &error {
            sept::Error::Step { step, of, .. } => Some((*step, Some(*of))),
            sept::Error::Died { step, .. } => Some((*step, None)),
            _ => None,
        };
        Self {
            kind: error.kind(),
            what: error.summary(),
            why: advice.why,
            fix: advice.fix,
            errno: error.raw_os_error(),
            step,
            code: error.exit_code(),
        }
    }
}
