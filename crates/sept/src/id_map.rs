//! Maps of user and group ids: pure data and its rules; see user_namespaces(7).

use std::fmt;
use std::str::FromStr;

/// One line of a `uid_map` or `gid_map`: `count` ids from `inside` on are those from `outside` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdRange {
    /// The first id as seen inside the new user namespace.
    pub inside: u32,
    /// The first id as seen by the caller.
    pub outside: u32,
    /// How many ids.
    pub count: u32,
}

impl IdRange {
    /// The id inside which `outside` is mapped to.
    pub fn inside_of(&self, outside: u32) -> Option<u32> {
        let offset = outside.checked_sub(self.outside)?;
        (offset < self.count).then(|| self.inside.checked_add(offset)).flatten()
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}

impl FromStr for IdRange {
    type Err = String;

    /// `IN:OUT:COUNT`, or the older `OUT,IN,COUNT` of unshare(1).
    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || {
            format!(
                "{text:?} is no id map: write INSIDE:OUTSIDE:COUNT, each below 4294967296, for instance 0:100000:65536"
            )
        };
        let (separator, swapped) = if text.contains(',') { (',', true) } else { (':', false) };
        let mut numbers = [0_u32; 3];
        let mut parts = text.split(separator);
        for number in &mut numbers {
            *number = parse_number(parts.next().ok_or_else(malformed)?).ok_or_else(malformed)?;
        }
        if parts.next().is_some() {
            return Err(malformed());
        }
        let [first, second, count] = numbers;
        let (inside, outside) = if swapped { (second, first) } else { (first, second) };
        Ok(Self { inside, outside, count })
    }
}

/// A decimal id: digits only, no sign, no blank, from 0 to 4294967294. The number after that is -1, which setresuid(2) takes
/// for "as it is".
pub fn parse_id(text: &str) -> Option<u32> {
    parse_number(text).filter(|id| *id != u32::MAX)
}

/// A decimal number: digits only, below 2^32. A count may be as great as that.
pub(crate) fn parse_number(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// The kernel takes at most this many lines (Linux 4.15 and later).
pub const MAX_RANGES: usize = 340;

/// What is wrong with a map, before the kernel says EINVAL to it.
pub fn check(kind: &str, ranges: &[IdRange]) -> Result<(), String> {
    if ranges.len() > MAX_RANGES {
        return Err(format!(
            "the {kind} map has {} ranges; the kernel takes at most {MAX_RANGES}",
            ranges.len()
        ));
    }
    for (n, range) in ranges.iter().enumerate() {
        let IdRange { inside, outside, count } = *range;
        if count == 0 {
            return Err(format!(
                "the {kind} map {inside}:{outside}:0 maps nothing: its count must be 1 or more"
            ));
        }
        // 2^32-1 is "no id"; it can't be mapped.
        for (side, first) in [("inside", inside), ("outside", outside)] {
            if u64::from(first) + u64::from(count) > u64::from(u32::MAX) {
                return Err(format!(
                    "the {kind} map {inside}:{outside}:{count} goes past the last id {side} (4294967294)"
                ));
            }
        }
        for other in &ranges[..n] {
            let overlap = |a: u32, an: u32, b: u32, bn: u32| {
                u64::from(a) < u64::from(b) + u64::from(bn) && u64::from(b) < u64::from(a) + u64::from(an)
            };
            if overlap(inside, count, other.inside, other.count)
                || overlap(outside, count, other.outside, other.count)
            {
                return Err(format!(
                    "the {kind} maps {}:{}:{} and {inside}:{outside}:{count} overlap",
                    other.inside, other.outside, other.count
                ));
            }
        }
    }
    Ok(())
}

/// How subordinate ids (subuid(5)) are laid out inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubIds {
    /// The caller is 0 inside, the subordinate ids follow from 1 on.
    RootIsCaller,
    /// The caller keeps its id ("keep-id"); the subordinate ids fill the numbers from 0 on, around it.
    KeepId,
}

/// The maps that `layout` makes of the caller's own id and its subordinate ranges (start, count). What has no room below
/// the last id ends behind it, and is no map: `check` says so.
pub fn with_subids(layout: SubIds, own: u32, ranges: &[(u32, u32)]) -> Vec<IdRange> {
    let mut maps = Vec::with_capacity(ranges.len() + 2);
    match layout {
        SubIds::RootIsCaller => {
            maps.push(IdRange { inside: 0, outside: own, count: 1 });
            let mut inside = 1;
            for &(outside, count) in ranges {
                maps.push(IdRange { inside, outside, count });
                inside = inside.saturating_add(count);
            }
        }
        SubIds::KeepId => {
            maps.push(IdRange { inside: own, outside: own, count: 1 });
            let mut inside = 0;
            for &(start, count) in ranges {
                let (mut outside, mut left) = (start, count);
                while left > 0 {
                    if inside == own {
                        inside = inside.saturating_add(1);
                    }
                    let take = if inside < own { left.min(own - inside) } else { left };
                    maps.push(IdRange { inside, outside, count: take });
                    inside = inside.saturating_add(take);
                    outside = outside.saturating_add(take);
                    left -= take;
                }
            }
        }
    }
    maps
}

/// Whether setgroups(2) may be used inside the new user namespace (`/proc/PID/setgroups`, Linux 3.19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setgroups {
    /// As a privileged map allows it.
    Allow,
    /// Refused for good: what an unprivileged group map needs.
    Deny,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange { inside, outside, count }
    }

    #[test]
    fn both_notations_mean_the_same() {
        assert_eq!("0:100000:65536".parse(), Ok(range(0, 100_000, 65_536)));
        assert_eq!("100000,0,65536".parse(), Ok(range(0, 100_000, 65_536)));
    }

    #[test]
    fn malformed_maps_are_refused() {
        for text in
            ["", "0", "0:1", "0:1:2:3", "-1:0:1", "+1:0:1", " 1:0:1", "0:0:4294967296", "a:b:c", "0,1:2"]
        {
            assert!(text.parse::<IdRange>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn bad_maps_are_named() {
        assert!(check("user", &[range(0, 0, 0)]).is_err_and(|e| e.contains("maps nothing")));
        assert!(
            check("user", &[range(0, 1, u32::MAX)]).is_err_and(|e| e.contains("past the last id outside"))
        );
        assert!(check("user", &[range(0, 0, 10), range(5, 100, 1)]).is_err_and(|e| e.contains("overlap")));
        assert!(check("user", &[range(0, 0, 10), range(50, 9, 1)]).is_err_and(|e| e.contains("overlap")));
        assert_eq!(check("user", &[range(0, 0, u32::MAX)]), Ok(()));
        assert_eq!(check("user", &[range(0, 1000, 1), range(1, 100_000, 65_536)]), Ok(()));
    }

    #[test]
    fn keep_id_leaves_a_hole_for_the_caller() {
        assert_eq!(
            with_subids(SubIds::KeepId, 1000, &[(100_000, 65_536)]),
            [range(1000, 1000, 1), range(0, 100_000, 1000), range(1001, 101_000, 64_536)]
        );
        assert_eq!(with_subids(SubIds::KeepId, 7, &[(100, 5)]), [range(7, 7, 1), range(0, 100, 5)]);
    }

    #[test]
    fn root_is_the_caller_and_ranges_follow() {
        assert_eq!(
            with_subids(SubIds::RootIsCaller, 1000, &[(100, 5), (300, 2)]),
            [range(0, 1000, 1), range(1, 100, 5), range(6, 300, 2)]
        );
    }
}
