//! Names of users, groups and signals.

use sept::host::read_text;

pub const PASSWD: &str = "/etc/passwd";
pub const GROUP: &str = "/etc/group";

/// An id: a number, or a name of this file.
pub fn id(text: &str, file: &str) -> Result<u32, String> {
    if let Some(id) = sept::parse_id(text) {
        return Ok(id);
    }
    let found = read_text(file).ok().and_then(|lines| {
        let line = lines.lines().find(|line| line.split(':').next() == Some(text))?;
        line.split(':').nth(2).and_then(sept::parse_id)
    });
    found.ok_or_else(|| format!("an id is a number from 0 to 4294967294, or a name in {file}"))
}

/// The name of a user, where /etc/passwd has it.
pub fn name(uid: u32) -> Option<String> {
    let lines = read_text(PASSWD).ok()?;
    let number = uid.to_string();
    let line = lines.lines().find(|line| line.split(':').nth(2) == Some(&number))?;
    line.split(':').next().map(str::to_owned)
}

/// The names of signals, in the order of their numbers on this kernel; signal(7).
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// A signal by its number or name, with or without SIG.
pub fn signal(text: &str) -> Option<i32> {
    if let Some(number) = sept::parse_id(text) {
        return i32::try_from(number).ok().filter(|number| (1..=64).contains(number));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    SIGNALS.iter().position(|known| *known == name).map(|at| at as i32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_known() {
        assert_eq!((signal("KILL"), signal("sigterm"), signal("10")), (Some(9), Some(15), Some(10)));
        assert_eq!(
            (signal("SYS"), signal("65"), signal("0"), signal("nosuch")),
            (Some(31), None, None, None)
        );
        assert_eq!((id("root", PASSWD), id("7", PASSWD)), (Ok(0), Ok(7)));
        assert!(id("no such user", PASSWD).is_err());
    }
}
