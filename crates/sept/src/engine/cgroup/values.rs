//! Values that this host does not take, refused before anything is made.

use std::fs;

use crate::cgroup::{Cgroup, number_ranges};
use crate::error::{Advice, Error};
use crate::host::common::read_kernel;
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
    are_online("processor", cgroup.cpuset_cpus.as_deref(), "/sys/devices/system/cpu/online")?;
    are_online("memory node", cgroup.cpuset_mems.as_deref(), "/sys/devices/system/node/online")?;
    if cgroup.hugetlb.is_empty() {
        return Ok(());
    }
    // Where they can't be listed, the missing file tells.
    let Some(sizes) = page_sizes() else { return Ok(()) };
    cgroup.hugetlb.iter().try_for_each(|(size, bytes)| huge_pages(size, *bytes, &sizes))
}

/// Version 2 would take those that are not there, and use what is.
fn are_online(what: &str, list: Option<&str>, file: &str) -> Result<(), Error> {
    let Some(wanted) = list.and_then(number_ranges) else { return Ok(()) };
    let text = read_kernel(file).unwrap_or_default();
    let Some(online) = number_ranges(text.trim()) else { return Ok(()) };
    let is_there = |number: u32| online.iter().any(|(first, last)| (*first..=*last).contains(&number));
    // The first number of a range, or one behind those that are there.
    let candidates = wanted.iter().flat_map(|(first, last)| {
        let behind = online.iter().filter_map(|(_, last)| last.checked_add(1));
        std::iter::once(*first).chain(behind.filter(move |number| (*first..=*last).contains(number)))
    });
    match candidates.into_iter().find(|number| !is_there(*number)) {
        Some(number) => {
            let why = format!("{file} is {}", text.trim());
            let advice = Advice::new(why, format!("choose among {}", text.trim()));
            let what = format!("there is no {what} {number} on this host");
            Err(Error::invalid_with(what, advice).lacks(Layer::Limits))
        }
        None => Ok(()),
    }
}

/// The kernel rounds down to whole pages: what is less than one would be none at all. `sizes` in kilobytes.
fn huge_pages(size: &str, bytes: u64, sizes: &[u64]) -> Result<(), Error> {
    let Some(page) = sizes.iter().find(|page| in_words(**page) == size) else {
        let words: Vec<String> = sizes.iter().copied().map(in_words).collect();
        return Err(no_size(size, &words));
    };
    if bytes == 0 || bytes / 1024 >= *page {
        return Ok(());
    }
    let what = format!("a limit of {bytes} bytes is less than one huge page of {size}");
    let fix = format!("allow {} or a multiple of it", page * 1024);
    Err(Error::invalid_with(what, Advice::new("the kernel would allow none at all", fix)))
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

/// In kilobytes.
fn page_sizes() -> Option<Vec<u64>> {
    let entries = fs::read_dir(PAGES).ok()?.flatten();
    let mut sizes: Vec<u64> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()
        })
        .collect();
    sizes.sort_unstable();
    Some(sizes)
}

/// As the files of a cgroup name them: `hugepages-2048kB` is 2MB.
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
    use super::{are_online, check, huge_pages, in_words};
    use crate::cgroup::Cgroup;

    #[test]
    fn sizes_are_named_as_the_kernel_does() {
        let words = [64, 2_048, 1_048_576].map(in_words);
        assert_eq!(words, ["64KB", "2MB", "1GB"]);
    }

    #[test]
    fn less_than_a_page_is_refused() {
        let sizes = [2_048, 1_048_576];
        for (size, bytes, taken) in
            [("2MB", 1_024, false), ("2MB", 0, true), ("2MB", 2 << 20, true), ("1GB", 2 << 20, false)]
        {
            assert_eq!(huge_pages(size, bytes, &sizes).is_ok(), taken, "{size} {bytes}");
        }
        assert!(
            huge_pages("3MB", 3 << 20, &sizes).is_err_and(|error| error.to_string().contains("2MB, 1GB"))
        );
    }

    #[test]
    fn what_is_not_online_is_named() {
        let file = std::env::temp_dir().join(format!("sept-online-{}", std::process::id()));
        std::fs::write(&file, "0-1,4\n").expect("it can be written");
        let path = file.to_str().expect("the path is UTF-8");
        let said = |list| are_online("processor", Some(list), path).err().map(|error| error.to_string());
        let all = [("0-1,4", None), ("0,1", None), ("7", Some("7")), ("0-4", Some("2")), ("4-5", Some("5"))];
        let said = all.map(|(list, missing)| (list, said(list), missing));
        std::fs::remove_file(&file).expect("it can be removed");
        for (list, said, missing) in said {
            assert_eq!(said.is_none(), missing.is_none(), "{list}: {said:?}");
            let named = missing.is_none_or(|number| {
                said.is_some_and(|said| {
                    said.contains(&format!("no processor {number} on")) && said.contains("0-1,4")
                })
            });
            assert!(named, "{list}");
        }
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
