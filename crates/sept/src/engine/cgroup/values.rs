//! Values that this host does not take, refused before anything is made.

use std::fs;

use crate::cgroup::Cgroup;
use crate::error::{Advice, Error};
use crate::layer::Layer;

const PAGES: &str = "/sys/kernel/mm/hugepages";

/// `legacy`: whether block devices are limited by version 1.
pub(super) fn check(cgroup: &Cgroup, legacy: impl Fn() -> bool) -> Result<(), Error> {
    let weight = cgroup.io_weights().find(|weight| !(10..=1_000).contains(weight) && legacy());
    if let Some(weight) = weight {
        return Err(Error::invalid_with(
            format!("the weight of block devices is {weight}; the kernel takes 10 to 1000"),
            Advice::new(
                "block devices are limited by a cgroup of version 1 on this host",
                "choose one from 10 to 1000",
            ),
        ));
    }
    if cgroup.hugetlb.is_empty() {
        return Ok(());
    }
    // Where they can't be listed, the missing file tells.
    let Some(sizes) = page_sizes() else { return Ok(()) };
    match cgroup.hugetlb.iter().find(|(size, _)| !sizes.contains(size)) {
        Some((size, _)) => Err(no_size(size, &sizes)),
        None => Ok(()),
    }
}

fn no_size(size: &str, sizes: &[String]) -> Error {
    let fix = if sizes.is_empty() {
        "leave the limit out".to_owned()
    } else {
        format!("choose one of: {}", sizes.join(", "))
    };
    let what = format!("there are no huge pages of {size} on this host");
    Error::invalid_with(what, Advice::new(format!("{PAGES} has none of that size"), fix)).lacks(Layer::Limits)
}

/// As the files of a cgroup name them: `hugepages-2048kB` is 2MB.
fn page_sizes() -> Option<Vec<String>> {
    let entries = fs::read_dir(PAGES).ok()?.flatten();
    let mut sizes: Vec<u64> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()
        })
        .collect();
    sizes.sort_unstable();
    Some(sizes.into_iter().map(in_words).collect())
}

fn in_words(kilobytes: u64) -> String {
    const MEGA: u64 = 1 << 10;
    const GIGA: u64 = 1 << 20;
    match kilobytes {
        size if size >= GIGA => format!("{}GB", size / GIGA),
        size if size >= MEGA => format!("{}MB", size / MEGA),
        size => format!("{size}KB"),
    }
}

#[cfg(test)]
mod tests {
    use super::{check, in_words};
    use crate::cgroup::Cgroup;

    #[test]
    fn sizes_are_named_as_the_kernel_does() {
        let words = [64, 2_048, 1_048_576].map(in_words);
        assert_eq!(words, ["64KB", "2MB", "1GB"]);
    }

    #[test]
    fn weights_have_the_range_of_their_version() {
        for (weight, legacy, taken) in
            [(5, true, false), (5, false, true), (10, true, true), (1_000, true, true), (1_001, true, false)]
        {
            assert_eq!(check(&Cgroup::new().io_weight(weight), || legacy).is_ok(), taken, "{weight}");
        }
    }
}
