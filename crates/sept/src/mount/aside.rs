//! What a command could get at by moving a mount point aside.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Access, Mount, MountKind, Upper};
use crate::sys::attr;

/// What a path names that lies below no mount of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// What nobody can rename: it is read-only.
    ReadOnly,
    /// The caller's own files.
    Host,
    /// A root that the command may have: it keeps nothing from it but what is masked.
    Image,
}

/// What the names in a mount are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    /// The command's alone, or not to be changed.
    Harmless,
    /// Those of a directory of the caller's.
    Of(PathBuf),
    /// Somebody's.
    Others,
}

impl Mount {
    /// Whether a command that makes a mount namespace of its own could get at what these mounts hide, or keep read-only.
    ///
    /// In a namespace that it makes with a user namespace (unshare(2)) it may turn away from the mounts that it has begun with
    /// (pivot_root(2)). What is a mount point only elsewhere can be renamed there (since Linux 3.18), where its directory may be
    /// written to, `may_write`, and then lies open. `resolve` follows the links of a directory.
    /// [`Command::refuse_user_namespaces`](crate::Command::refuse_user_namespaces) prevents it.
    pub fn can_be_moved_aside(
        mounts: &[Self],
        below: Below,
        mut resolve: impl FnMut(&Path) -> PathBuf,
        mut may_write: impl FnMut(&Path) -> bool,
    ) -> bool {
        let mut base = below;
        let mut mounted: HashMap<PathBuf, (usize, Names)> = HashMap::new();
        for (at, mount) in mounts.iter().enumerate() {
            if mount.is_root() {
                (base, mounted) = (mount.as_base(), HashMap::new());
                continue;
            }
            let (Some(dir), Some(name)) = (mount.target.parent(), mount.target.file_name()) else {
                // Nobody knows where a `..` leads.
                return true;
            };
            let dir = resolve(dir);
            let above = dir.ancestors().filter_map(|above| Some((mounted.get(above)?, above)));
            let open = match above.max_by_key(|((at, _), _)| *at) {
                Some(((_, Names::Harmless), _)) => false,
                Some(((_, Names::Others), _)) => mount.guards(Below::Host),
                Some(((_, Names::Of(source)), above)) => {
                    let rest = dir.strip_prefix(above);
                    mount.guards(Below::Host) && rest.map_or(true, |rest| may_write(&source.join(rest)))
                }
                None if base == Below::ReadOnly => false,
                None => mount.guards(base) && (base == Below::Image || may_write(&dir)),
            };
            if open {
                return true;
            }
            let target = dir.join(name);
            if mount.kind == MountKind::RemountReadOnly {
                let within = mounted.iter_mut().filter(|(path, _)| path.starts_with(&target));
                within.for_each(|(_, (_, names))| *names = Names::Harmless);
            } else if let Some(names) = mount.names() {
                mounted.insert(target, (at, names));
            }
        }
        false
    }

    fn is_read_only(&self) -> bool {
        let says = |options: &super::MountOptions| (options.top.set | options.all.set) & attr::RDONLY != 0;
        let bound =
            matches!(self.kind, MountKind::Bind { access: Access::ReadOnly, .. } | MountKind::ReadOnly);
        bound || self.options.as_ref().is_some_and(says)
    }

    /// Of a mount on the root.
    fn as_base(&self) -> Below {
        let is_root = |dir: &PathBuf| super::is_root(dir);
        match &self.kind {
            _ if self.is_read_only() => Below::ReadOnly,
            MountKind::Bind { source, .. } if is_root(source) => Below::Host,
            MountKind::Overlay { lower, upper } if *upper != Upper::None && lower.iter().any(is_root) => {
                Below::Host
            }
            MountKind::Bind { .. } | MountKind::FileSystem { .. } => Below::Image,
            MountKind::Overlay { upper, .. } if *upper != Upper::None => Below::Image,
            _ => Below::ReadOnly,
        }
    }

    /// What is in it; nothing where it mounts nothing.
    fn names(&self) -> Option<Names> {
        Some(match &self.kind {
            MountKind::Symlink { .. }
            | MountKind::Directory { .. }
            | MountKind::File { .. }
            | MountKind::Mode(_)
            | MountKind::RemountReadOnly => return None,
            MountKind::Remount if !self.is_read_only() => Names::Others,
            _ if self.is_read_only() => Names::Harmless,
            MountKind::Bind { source, .. } => Names::Of(source.clone()),
            MountKind::FileSystem { kind, .. } if kind != "tmpfs" => Names::Others,
            MountKind::Overlay { upper, .. } if *upper != Upper::None => Names::Others,
            _ => Names::Harmless,
        })
    }

    /// Whether it is to keep the command from something.
    fn guards(&self, below: Below) -> bool {
        match &self.kind {
            MountKind::Mask { .. } => true,
            _ if below == Below::Image => false,
            MountKind::Bind { source, .. } => self.is_read_only() || *source != self.target,
            MountKind::Remount => self.is_read_only(),
            MountKind::Device { .. } => false,
            kind => *kind == MountKind::RemountReadOnly || self.names().is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_directory_that_may_be_written_to_can_be_moved_aside() {
        let bind = |source: &str, target: &str| Mount::bind(source, target, Access::ReadWrite);
        let fixed = |source: &str, target: &str| Mount::bind(source, target, Access::ReadOnly);
        let own = |dir: &Path| dir.starts_with("/home/me");
        let resolved = |dir: &Path| {
            dir.strip_prefix("/link").map_or_else(|_| dir.into(), |rest| Path::new("/home/me").join(rest))
        };
        let open = |mounts: &[Mount]| Mount::can_be_moved_aside(mounts, Below::Host, resolved, own);
        for mount in [
            Mount::mask("/home/me/.ssh"),
            Mount::tmpfs("/home/me/.ssh"),
            fixed("/home/me/work/.git", "/home/me/work/.git"),
            Mount::remount_read_only("/home/me/x"),
            Mount::mask("/link/.ssh"),
        ] {
            assert!(open(std::slice::from_ref(&mount)), "{mount:?}");
            assert!(
                !open(&[fixed("/", "/"), mount.clone()]) || mount.target.starts_with("/usr"),
                "{mount:?}"
            );
            assert!(open(&[fixed("/", "/"), bind("/home", "/home"), mount.clone()]), "{mount:?}");
            assert!(open(&[bind("/", "/"), mount]));
        }
        assert!(!open(&[Mount::tmpfs("/tmp"), Mount::mask("/etc/shadow"), fixed("/usr", "/usr")]));
        assert!(!open(&[bind("/home/me/work", "/home/me/work")]), "it hides nothing");
        assert!(open(&[bind("/srv", "/home/me/work")]));
        assert!(!open(&[Mount::tmpfs("/home"), fixed("/home/me/x", "/home/me/x")]), "all there is its own");
        assert!(open(&[bind("/home/me", "/data"), Mount::mask("/data/key")]));
        assert!(!open(&[bind("/srv", "/data"), Mount::mask("/data/key")]), "not to be written to");
        let twice = [bind("/home/me", "/data"), Mount::remount_read_only("/data"), Mount::mask("/data/key")];
        assert!(!open(&twice));
    }

    #[test]
    fn a_root_of_the_commands_own_hides_what_is_masked() {
        let open =
            |mounts: &[Mount]| Mount::can_be_moved_aside(mounts, Below::Image, Path::to_path_buf, |_| true);
        let bind = |access| Mount::bind("/srv", "/data", access);
        assert!(!open(&[Mount::tmpfs("/tmp"), bind(Access::ReadWrite), bind(Access::ReadOnly)]));
        assert!(open(&[Mount::mask("/etc/key")]));
        assert!(open(&[bind(Access::ReadWrite), Mount::tmpfs("/data/x")]));
        let fixed = [Mount::mask("/etc/key")];
        assert!(!Mount::can_be_moved_aside(&fixed, Below::ReadOnly, Path::to_path_buf, |_| true));
        let lower = ["/srv"];
        let overlay = Mount::overlay(lower, Upper::Tmpfs, "/data");
        assert!(open(&[overlay, Mount::mask("/data/key")]));
    }
}
