//! What went wrong in other tools, tried against `run`, `enter` and `unshare`. Each attack is shown to work where its
//! defence is off, so that a test that passes means something.
//!
//! | what went wrong | tests |
//! |---|---|
//! | the runtime overwritten through /proc/self/exe (CVE-2019-5736) | `executable`: the_executable_cannot_be_overwritten…, who_starts_a_program_of_another_root…; enter.rs: nobody_inside_can_open_who_enters |
//! | leaked descriptors, working directories of outside (CVE-2024-21626, CVE-2016-9962) | `descriptors`; cli.rs: only_asked_for_descriptors_stay_open |
//! | the caller's directory, below what is mounted or by a name that leads elsewhere; the old root above the new one | `directory` |
//! | a guard for what a later mount covers | `through`: nothing_guards_what_is_covered, cgroups_below_a_new_root… |
//! | the memory of a root caller in the hands of the user that its child becomes | crates/sept/tests/process.rs: who_becomes_another_user… |
//! | ptrace during set-up, copies with rights (CVE-2016-9962, CVE-2026-41163) | `executable`: who_comes_in_is_not_to_be_traced, copies_with_rights_of_their_own_refuse; `end` |
//! | links for mount points, their parents, /proc, /dev, /sys, swapped meanwhile (CVE-2021-30465 and its kin) | `files`: links_in_a_root…, mount_points_that_turn_into_links…, a_mode_is_changed_through_no_link |
//! | links that lead through what the line itself mounts, or from one mount into another; mounts that are moved meanwhile | `through` |
//! | races on the sources of masks and terminals (CVE-2025-31133, CVE-2025-52565) | `files`: a_mask_comes_from_no_false_device; `terminal`: a_terminal_of_its_own_comes_from_no_false_pts |
//! | a file system on /proc that is none of processes (CVE-2019-16884, CVE-2025-52881) | `decoy` |
//! | terminal injection (CVE-2017-5226, CVE-2019-10063) | `terminal` |
//! | groups dropped in a user namespace (CVE-2014-8989, CVE-2018-7169) | `rights`: a_group_that_is_denied_stays_denied |
//! | wrong capability sets (CVE-2022-29162, CVE-2022-27650, CVE-2026-30892) | `rights`: capability_sets_are_empty_where…; confine.rs, parity.rs |
//! | cgroup escape (CVE-2022-0492, CVE-2023-25809) | `cgroups` |
//! | a read-only bind that is not recursive; one that can be undone | `files`: a_read_only_bind_is…, what_is_read_only_or_masked_stays_so, what_hides_a_file_can_not_be_left_behind; `rights`: who_enters_is_not_taken_over… |
//! | a window between bind and remount (CVE-2026-53612) | `files`: no_mount_is_made_first_and_restricted_afterwards |
//! | seccomp: other ABIs, high halves, io_uring | `filters`; seccomp.rs: other_abis_are_no_way_around |
//! | the environment of a target: a program of the one user read, that of another judged; more rights than who has made it | `environment`; enter.rs: the_environment_of_somebody_else…, a_confined_environment… |
//! | argument injection (CVE-2024-32462), helpers of the caller's PATH | `arguments` |
//! | terminal escapes in listings and messages | `listings`; look.rs: names_with_control_characters_move_no_cursor |
//! | a file system in user space that does not answer who looks at its maker | `listings`: no_file_system_in_user_space…; `end`: who_cannot_be_killed… |
//! | more descriptors and mounts than can be looked at, to hide what others keep or to take long | `listings`: nobody_hides_what…, nobody_keeps_who_looks… |
//! | commands that get rid of sept, or at it; handles of files outside | `end`; `files`: no_file_outside_of_a_root_is_opened_by_a_handle |
//! | words for ids that come to be other ids (CVE-2026-30892) | `rights`: an_id_is_that_number_or_an_error; the crate `fuzz` |
//! | root's files of /proc, core_pattern above all | `files`: nothing_of_proc_that_is_roots_alone… |
//! | kernel bugs through user namespaces | `filters`: the_strict_policy_closes_what_user_namespaces_open |

#[path = "../common/mod.rs"]
mod common;

mod arguments;
mod cgroups;
mod decoy;
mod descriptors;
mod directory;
mod end;
mod environment;
mod executable;
mod files;
mod filters;
mod kept;
mod listings;
mod rights;
mod terminal;
mod through;

use common::Scratch;

/// What it printed, however it ended.
fn printed(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A directory that is a root once `/usr` is bound into it.
fn root_of(scratch: &Scratch) -> String {
    let root = scratch.path("root");
    for dir in ["", "/proc", "/dev", "/sys", "/usr", "/target"] {
        std::fs::create_dir(format!("{root}{dir}")).expect("a directory can be made");
    }
    for link in ["bin", "lib", "lib64", "sbin"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), format!("{root}/{link}"))
            .expect("a link can be made");
    }
    root
}
