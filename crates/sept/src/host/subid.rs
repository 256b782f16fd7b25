//! Subordinate ids: subuid(5), subgid(5).

use crate::error::{Advice, Error};
use crate::host::common::read_text;
use crate::id_map::{parse_id, parse_number};

type Ranges = Vec<(u32, u32)>;

/// The ranges (first, count) of a user's subordinate user and group ids, in the order of /etc/subuid and /etc/subgid.
///
/// # Errors
/// [`Error::Invalid`] where there are none.
pub fn ranges(uid: u32) -> Result<(Ranges, Ranges), Error> {
    let name = user_name(uid);
    let find = |file: &str, kind: &str| {
        let text = read_text(file).unwrap_or_default();
        let found = parse(&text, uid, name.as_deref());
        if found.is_empty() { Err(missing(file, kind, uid, name.as_deref())) } else { Ok(found) }
    };
    Ok((find("/etc/subuid", "user")?, find("/etc/subgid", "group")?))
}

fn user_name(uid: u32) -> Option<String> {
    read_text("/etc/passwd").ok()?.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, id) = (fields.next()?, fields.next()?, fields.next()?);
        (parse_id(id)? == uid).then(|| name.to_owned())
    })
}

fn missing(file: &str, kind: &str, uid: u32, name: Option<&str>) -> Error {
    let user = name.map_or_else(|| uid.to_string(), str::to_owned);
    Error::invalid_with(
        format!("cannot map subordinate {kind} ids: user {user} has no range in {file}"),
        Advice {
            why: Vec::new(),
            fix: vec![
                format!("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"),
                "map only yourself: --map-root-user".to_owned(),
            ],
        },
    )
}

/// The ranges that belong to this user, by name or by number. A malformed line is passed over, as newuidmap does.
pub(crate) fn parse(text: &str, uid: u32, name: Option<&str>) -> Ranges {
    let line = |line: &str| {
        let mut fields = line.trim().split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = Some(owner) == name || parse_id(owner) == Some(uid);
        let (first, count) = (parse_id(first)?, parse_number(count)?);
        (ours && count > 0 && fields.next().is_none() && first.checked_add(count).is_some())
            .then_some((first, count))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn ranges_are_found_by_name_and_by_number() {
        let text = "# comment\nada:100000:65536\n1000:300000:10\nbob:1:1\nada:5\nada:x:1\nada:7:0\n";
        assert_eq!(parse(text, 1000, Some("ada")), [(100_000, 65_536), (300_000, 10)]);
        assert_eq!(parse(text, 7, None), []);
    }
}
