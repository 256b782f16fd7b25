//! Id maps, subordinate ids, and what the kernel tells in /proc.

use sept::{IdRange, fuzz};

use crate::driver::{Random, mutated, text};

fn ids(random: &mut Random) -> u32 {
    if random.one_in(2) { random.below(100) as u32 } else { random.edge() as u32 }
}

fn overlap(one: (u32, u32), other: (u32, u32)) -> bool {
    let (one, other) = ((u64::from(one.0), u64::from(one.1)), (u64::from(other.0), u64::from(other.1)));
    one.0 < other.0 + other.1 && other.0 < one.0 + one.1
}

/// As the kernel judges it, with numbers that can't overflow.
fn is_good(ranges: &[IdRange]) -> bool {
    let last = |first: u32, count: u32| u64::from(first) + u64::from(count) <= u64::from(u32::MAX);
    ranges.len() <= 340
        && ranges.iter().all(|range| {
            range.count > 0 && last(range.inside, range.count) && last(range.outside, range.count)
        })
        && ranges.iter().enumerate().all(|(n, one)| {
            ranges[..n].iter().all(|other| {
                !overlap((one.inside, one.count), (other.inside, other.count))
                    && !overlap((one.outside, one.count), (other.outside, other.count))
            })
        })
}

pub fn maps(random: &mut Random, input: &mut String) {
    let line = text(random, &["0:100000:65536", "100000,0,65536", "0:0:4294967295", "5:5:1", ""]);
    let ranges: Vec<IdRange> = (0..random.below(5))
        .map(|_| IdRange { inside: ids(random), outside: ids(random), count: ids(random) })
        .collect();
    let table = text(random, &["         0          0 4294967295\n", "0 100000 65536\n65536 0 1\n", "\n"]);
    *input = format!("{line:?} {ranges:?} {table:?}");
    if let Ok(range) = line.parse::<IdRange>() {
        let again = format!("{}:{}:{}", range.inside, range.outside, range.count);
        assert_eq!(again.parse(), Ok(range));
        for outside in [0, range.outside, range.outside.wrapping_add(range.count), u32::MAX] {
            if fuzz::check_map(&[range]).is_ok() {
                let inside = range.inside_of(outside);
                assert!(inside.is_none_or(|inside| inside - range.inside == outside - range.outside));
            }
        }
    }
    assert_eq!(fuzz::check_map(&ranges).is_ok(), is_good(&ranges));
    fuzz::id_map(&table);
}

pub fn subids(random: &mut Random, input: &mut String) {
    let lines: Vec<String> = (0..random.below(5))
        .map(|_| {
            text(
                random,
                &[
                    "ada:100000:65536",
                    "1000:300000:10",
                    "ada:4294967290:5",
                    "ada:0:4294967295",
                    "# x",
                    "bob:1:1",
                ],
            )
        })
        .collect();
    let (file, own, keep) = (lines.join("\n"), ids(random), random.one_in(2));
    *input = format!("{file:?} own {own} keep {keep}");
    let ranges = fuzz::subordinate_ids(&file, 1000, Some("ada"));
    assert!(ranges.iter().all(|(first, count)| *count > 0 && first.checked_add(*count).is_some()));
    let map = fuzz::with_subordinate_ids(keep, own, &ranges);
    let total: u64 = ranges.iter().map(|(_, count)| u64::from(*count)).sum();
    if fuzz::check_map(&map).is_ok() {
        let mapped: u64 = map.iter().map(|range| u64::from(range.count)).sum();
        assert_eq!(mapped, total + 1, "each id has its place");
    }
}

pub fn proc(random: &mut Random, input: &mut String) {
    let link = mutated(random, b"net:[4026531840]");
    let line = text(
        random,
        &[
            "36 35 0:4 net:[4026532177] /run/netns/a\\040b rw shared:1 - nsfs nsfs rw",
            "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
            "36 35 0:4 mnt:[1] /\\134\\777\\ rw - nsfs nsfs rw",
        ],
    );
    let cgroups = text(
        random,
        &["4:memory:/a/b\n1:name=systemd:/\n0::/user.slice\n", "3:cpu,cpuacct:/x:y\n0::/\n", "0::/../.."],
    );
    *input = format!("{link:?} {line:?} {cgroups:?}");
    if let Some((kind, inode)) = fuzz::namespace_link(&link) {
        let again = format!("{}:[{inode}]", kind.link());
        assert_eq!(fuzz::namespace_link(again.as_bytes()), Some((kind, inode)));
    }
    let _ = fuzz::bound_namespace(&line);
    for controller in [None, Some("memory"), Some("cpu"), Some("pids")] {
        if let Some(path) = fuzz::own_cgroup(&cgroups, controller) {
            assert!(cgroups.contains(&path));
        }
    }
}

/// What mount(8) and container engines write, and rules for devices.
pub fn words(random: &mut Random, input: &mut String) {
    let options = text(
        random,
        &["ro,nosuid,rbind", "size=1M,mode=755", "rro,rnoatime,private", "relatime,,x=", "remount"],
    );
    let rule = text(random, &["c 1:3 rwm", "b *:* m", "a", "c 10:200 rw"]);
    *input = format!("{options:?} {rule:?}");
    match sept::MountOptions::parse(&options) {
        Ok(parsed) => assert_eq!(sept::MountOptions::parse(&options), Ok(parsed)),
        Err(why) => assert!(!why.is_empty()),
    }
    if let Ok(rule) = sept::DeviceRule::parse(&rule, true) {
        assert_eq!(sept::DeviceRule::parse(&rule.to_string(), true), Ok(rule));
    }
}
