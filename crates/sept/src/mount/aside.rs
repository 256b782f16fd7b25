//! What a command could get at by moving names aside: a mount lies on a file, not on its name.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use super::{Access, Mount, MountKind, Upper};

/// What a path names that lies below no mount of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Below {
    /// What nobody can rename: it and all below is read-only.
    ReadOnly,
    /// The caller's own files.
    Host,
    /// A root that the command may have, at this path of the caller's without links: it keeps nothing from it but what is masked, and
    /// what is in it and read-only elsewhere.
    Image(PathBuf),
    /// Nobody knows.
    Unclear,
}

/// What has to be done so that nothing can be moved aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// Whether [`Command::refuse_user_namespaces`](crate::Command::refuse_user_namespaces) is needed.
    pub refuse_namespaces: bool,
    /// The directories that are to be [fixed](Mount::fixed), those above first, once so many mounts are made.
    pub fixed: BTreeMap<usize, BTreeSet<PathBuf>>,
}

/// What the caller's side knows of its files.
pub trait Files {
    /// The path without links, of what is there.
    fn plain(&mut self, path: &Path) -> PathBuf;
    /// Whether the command may, or may allow itself to, make, rename and remove what is in this directory. Every doubt is a yes.
    fn may_write(&mut self, dir: &Path) -> bool;
}

impl Aside {
    /// Whether a command could get at what these mounts hide, or keep read-only, by renaming what they lie on.
    ///
    /// It could rename a directory above, and have it shown without the mount where another one shows the same file system. So those
    /// are fixed. And in a mount namespace that it makes with a user namespace it may turn away from the mounts that it has begun with
    /// (pivot_root(2), or open_tree(2) with OPEN_TREE_CLONE): what is a mount point only elsewhere can be renamed there, since Linux 3.18.
    /// Where the words leave a doubt, it could.
    pub fn of(mounts: &[Mount], below: Below, files: &mut dyn Files) -> Self {
        let mut line = Line::new(below, mounts.iter().any(Mount::is_remount));
        for (at, mount) in mounts.iter().enumerate() {
            if mount.is_root() {
                line.begin_anew(at + 1, mount, files);
                continue;
            }
            let around = line.around(&mount.target);
            // What is bound into a root is not of that.
            let is_bound = matches!(around, Around::Others(..) | Around::Unclear);
            if mount.guards(if is_bound { &Below::Host } else { &line.base }, files) {
                line.guard(around, &mount.target, files);
            }
            if let Some(names) = mount.names(line.changed) {
                line.add(at, mount, names, files);
            }
        }
        line.found
    }
}

/// What the names in a mount are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// The command's alone, or not to be changed.
    Harmless,
    Others,
    /// Of a link, wherever that leads.
    Unclear,
}

/// What a place lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Around {
    Base,
    Harmless,
    /// The mount of this number, on this path, of what is bound there.
    Others(usize, PathBuf, Option<PathBuf>),
    /// Nobody knows.
    Unclear,
}

struct Line {
    base: Below,
    /// How many mounts are made before the base is what it is.
    begins: usize,
    /// The last on each path, with what is bound there: there may be thousands.
    mounted: HashMap<PathBuf, (usize, Names, Option<PathBuf>)>,
    /// The last one on a path with a `..`.
    strange: Option<usize>,
    /// Whether what is mounted anywhere is others' to change.
    open: bool,
    /// Whether some mount is changed afterwards: then none is known to be read-only.
    changed: bool,
    found: Aside,
}

impl Line {
    fn new(base: Below, changed: bool) -> Self {
        let (mounted, found) = (HashMap::new(), Aside::default());
        Self { base, begins: 0, mounted, strange: None, open: false, changed, found }
    }

    fn add(&mut self, at: usize, mount: &Mount, names: Names, files: &mut dyn Files) {
        self.open |= names == Names::Others;
        let Some(words) = plain_words(&mount.target) else {
            self.strange = Some(at);
            return;
        };
        let source = match &mount.kind {
            MountKind::Bind { source, .. } => Some(source.clone()),
            _ => None,
        };
        // By a link of the host it lies elsewhere, too.
        let plain = files.plain(&words);
        if plain != words {
            self.mounted.insert(plain, (at, names, source.clone()));
        }
        self.mounted.insert(words, (at, names, source));
    }

    fn around(&self, path: &Path) -> Around {
        let Some(words) = plain_words(path) else { return Around::Unclear };
        let above = words.ancestors().skip(1).filter_map(|dir| Some((self.mounted.get(dir)?, dir)));
        let last = above.max_by_key(|((at, ..), _)| *at);
        let before = last.map(|((at, ..), _)| *at);
        match last {
            _ if self.strange > before => Around::Unclear,
            Some(((_, Names::Unclear, _), _)) => Around::Unclear,
            None => Around::Base,
            Some(((_, Names::Harmless, _), _)) => Around::Harmless,
            Some(((at, Names::Others, source), dir)) => {
                Around::Others(*at, dir.to_path_buf(), source.clone())
            }
        }
    }

    fn begin_anew(&mut self, at: usize, root: &Mount, files: &mut dyn Files) {
        self.base = match &root.kind {
            _ if root.names(self.changed) == Some(Names::Harmless) => Below::ReadOnly,
            MountKind::Bind { source, .. } => match files.plain(source) {
                source if source == Path::new("/") => Below::Host,
                source => Below::Image(source),
            },
            _ => Below::Unclear,
        };
        (self.begins, self.strange, self.open) = (at, None, false);
        self.mounted.clear();
    }

    fn guard(&mut self, around: Around, target: &Path, files: &mut dyn Files) {
        let Some(words) = plain_words(target) else {
            self.found.refuse_namespaces = true;
            return;
        };
        // By a link of the host it may lie in another mount of the line.
        let plain = files.plain(&words);
        if plain != words && !self.mounted.is_empty() {
            self.found.refuse_namespaces = true;
            if let Around::Others(at, above, source) = self.around(&plain) {
                self.guard_in_bind(at + 1, &above, source.as_deref(), &plain, files);
            }
        }
        match around {
            Around::Harmless => {}
            Around::Others(at, above, source) => {
                self.found.refuse_namespaces = true;
                self.guard_in_bind(at + 1, &above, source.as_deref(), &words, files);
            }
            Around::Base => self.guard_in_base(&words, &plain, files),
            Around::Unclear => self.found.refuse_namespaces = true,
        }
    }

    /// What is above it in the mount, and, where what is bound has links, above what they lead to.
    fn guard_in_bind(
        &mut self,
        after: usize,
        above: &Path,
        source: Option<&Path>,
        path: &Path,
        files: &mut dyn Files,
    ) {
        let mut fix = |path: &Path| self.fix(after, path.ancestors().skip(1).take_while(|dir| *dir != above));
        fix(path);
        if let (Some(source), Ok(rest)) = (source, path.strip_prefix(above)) {
            let (top, leads) = (files.plain(source), files.plain(&source.join(rest)));
            // Else there is nothing above it.
            if let Ok(inner) = leads.strip_prefix(&top)
                && !inner.as_os_str().is_empty()
            {
                fix(&above.join(inner));
            }
        }
    }

    fn guard_in_base(&mut self, words: &Path, plain: &Path, files: &mut dyn Files) {
        match &self.base {
            Below::ReadOnly => {
                // A link may lead into a mount that is none of those.
                self.found.refuse_namespaces |= self.open && plain != words;
            }
            // Nothing is fixed there: links in it could not be followed any more.
            Below::Image(_) | Below::Unclear => self.found.refuse_namespaces = true,
            Below::Host => {
                // What the words name, which may be swapped, and what they lead to.
                for path in [words, plain] {
                    let open =
                        path.ancestors().filter(|dir| dir.parent().is_some_and(|dir| files.may_write(dir)));
                    let open: Vec<&Path> = open.collect();
                    self.found.refuse_namespaces |= !open.is_empty();
                    if path == plain {
                        self.fix(self.begins, open.into_iter().filter(|dir| *dir != path));
                    }
                }
            }
        }
    }

    fn fix<'p>(&mut self, after: usize, dirs: impl Iterator<Item = &'p Path>) {
        let fixed = self.found.fixed.entry(after).or_default();
        fixed.extend(dirs.filter(|dir| !is_of_kernel(dir)).map(Path::to_path_buf));
    }
}

/// Nobody renames anything there.
fn is_of_kernel(dir: &Path) -> bool {
    ["/proc", "/sys"].iter().any(|top| dir.starts_with(top))
}

/// None where there is a `..`, which leads nobody knows where.
fn plain_words(path: &Path) -> Option<PathBuf> {
    let names = path.components().map(|part| match part {
        Component::ParentDir => None,
        part => Some(part.as_os_str()),
    });
    names.collect()
}

impl Mount {
    /// What is in it; nothing where it mounts nothing.
    fn names(&self, changed: bool) -> Option<Names> {
        // What options make of it is not looked at.
        let as_it_is = self.options.is_none() && !changed;
        Some(match &self.kind {
            MountKind::Symlink { .. } => Names::Unclear,
            MountKind::Directory { .. }
            | MountKind::File { .. }
            | MountKind::Mode(_)
            | MountKind::RemountReadOnly
            | MountKind::Fixed
            | MountKind::Remount => return None,
            MountKind::Bind { access: Access::ReadOnly, .. } if as_it_is => Names::Harmless,
            MountKind::Overlay { upper: Upper::None, .. } if as_it_is => Names::Harmless,
            MountKind::Bind { .. } | MountKind::Overlay { .. } => Names::Others,
            MountKind::FileSystem { kind, .. } if kind != "tmpfs" => Names::Others,
            // With a copy of what it covers.
            _ if self.options.as_ref().is_some_and(|options| options.copy_up) => Names::Others,
            MountKind::ReadOnly if !as_it_is => Names::Others,
            _ => Names::Harmless,
        })
    }

    /// Whether it is to keep the command from something.
    fn guards(&self, base: &Below, files: &mut dyn Files) -> bool {
        match (&self.kind, base) {
            (MountKind::Mask { .. } | MountKind::ReadOnly | MountKind::RemountReadOnly, _) => true,
            // What is in that root, too, is to be read-only there.
            (MountKind::Bind { source, access, .. }, Below::Image(root)) => {
                let narrows = *access == Access::ReadOnly || self.options.is_some();
                narrows && files.plain(source).starts_with(root)
            }
            (_, Below::Image(_)) => self.is_remount(),
            (MountKind::Bind { source, access, .. }, _) => {
                *source != self.target || *access == Access::ReadOnly || self.options.is_some()
            }
            (MountKind::Symlink { .. }, _) => false,
            _ => self.is_remount() || self.names(false).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::MountOptions;

    /// Where `/home/me` is the user's own, and `/link` leads there.
    struct Mine;

    impl Files for Mine {
        fn plain(&mut self, path: &Path) -> PathBuf {
            path.strip_prefix("/link").map_or_else(|_| path.into(), |rest| Path::new("/home/me").join(rest))
        }

        fn may_write(&mut self, dir: &Path) -> bool {
            dir.starts_with("/home/me")
        }
    }

    fn bind(source: &str, target: &str) -> Mount {
        Mount::bind(source, target, Access::ReadWrite)
    }

    fn fixed(source: &str, target: &str) -> Mount {
        Mount::bind(source, target, Access::ReadOnly)
    }

    fn found(mounts: &[Mount], base: Below) -> (bool, Vec<(usize, String)>) {
        let aside = Aside::of(mounts, base, &mut Mine);
        let of = |(after, dirs): (usize, BTreeSet<PathBuf>)| {
            dirs.into_iter().map(move |dir| (after, dir.to_string_lossy().into_owned()))
        };
        (aside.refuse_namespaces, aside.fixed.into_iter().flat_map(of).collect())
    }

    fn at(after: usize, dirs: &[&str]) -> Vec<(usize, String)> {
        dirs.iter().map(|dir| (after, (*dir).to_owned())).collect()
    }

    #[test]
    fn what_lies_where_the_command_may_write_is_kept_in_its_place() {
        let host = |mounts: &[Mount]| found(mounts, Below::Host);
        assert_eq!(host(&[Mount::mask("/home/me/.ssh")]), (true, vec![]));
        assert_eq!(host(&[Mount::tmpfs("/home/me/a/b/c")]), (true, at(0, &["/home/me/a", "/home/me/a/b"])));
        assert_eq!(host(&[fixed("/home/me/a/.git", "/home/me/a/.git")]), (true, at(0, &["/home/me/a"])));
        assert_eq!(
            host(&[Mount::mask("/link/a/key")]),
            (true, at(0, &["/home/me/a"])),
            "where the link leads"
        );
        assert!(
            host(&[Mount::mask("/usr/../home/me/.ssh")]).0
                && host(&[Mount::remount_read_only("/home/me/x")]).0
        );
        let own = [
            Mount::tmpfs("/tmp"),
            Mount::mask("/etc/shadow"),
            fixed("/usr", "/usr"),
            Mount::tmpfs("/home/me"),
        ];
        assert_eq!(host(&own[..3]), (false, vec![]));
        assert_eq!(host(&[bind("/home/me/work", "/home/me/work")]), (false, vec![]), "it hides nothing");
        assert_eq!(
            host(&[Mount::tmpfs("/home"), fixed("/home/me/x", "/home/me/x")]),
            (false, vec![]),
            "its own"
        );
    }

    #[test]
    fn a_bind_is_as_open_as_its_words_leave_it() {
        let host = |mounts: &[Mount]| found(mounts, Below::Host);
        let mask = || Mount::mask("/data/a/key");
        assert_eq!(host(&[bind("/srv", "/data"), mask()]), (true, at(1, &["/data/a"])));
        assert_eq!(host(&[fixed("/srv", "/data"), mask()]), (false, vec![]));
        let options = |words| MountOptions::parse(words).expect("options");
        for changed in [
            vec![fixed("/srv", "/data").options(options("rw"))],
            vec![bind("/srv", "/data").options(options("ro"))],
            vec![fixed("/srv", "/data"), Mount::remount("/x").options(options("rw"))],
        ] {
            assert!(host(&[changed.as_slice(), &[mask()]].concat()).0, "{changed:?}");
        }
        let lower = ["/srv"];
        assert!(host(&[Mount::overlay(lower, Upper::Tmpfs, "/data"), mask()]).0);
        let linked =
            [Mount::tmpfs("/m"), bind("/srv", "/m/d"), Mount::symlink("d", "/m/l"), Mount::mask("/m/l/key")];
        assert!(host(&linked).0, "by a link of the line");
        let rooted = |root, more: &[Mount]| host(&[&[root], more].concat());
        assert_eq!(rooted(fixed("/", "/"), &[Mount::mask("/home/me/.ssh")]), (false, vec![]));
        assert!(rooted(fixed("/", "/").options(options("rw")), &[Mount::mask("/home/me/.ssh")]).0);
        assert_eq!(rooted(bind("/", "/"), &[Mount::mask("/home/me/a/key")]), (true, at(1, &["/home/me/a"])));
        let home = [bind("/home/me", "/home/me"), Mount::mask("/link/a/key")];
        assert_eq!(rooted(fixed("/", "/"), &home), (true, at(2, &["/home/me/a"])), "a link leads into it");
        let linked = [bind("/home", "/data"), Mount::mask("/data/me/a/key")];
        assert_eq!(host(&linked), (true, at(1, &["/data/me", "/data/me/a"])));
        let copied = Mount::tmpfs("/data").options(options("tmpcopyup"));
        assert!(host(&[copied, mask()]).0);
        let lower = ["/srv"];
        assert!(rooted(Mount::overlay(lower, Upper::Tmpfs, "/"), &[mask()]).0);
    }

    #[test]
    fn a_root_of_the_commands_own_hides_what_is_masked() {
        let image = |mounts: &[Mount]| found(mounts, Below::Image("/srv/root".into()));
        assert_eq!(
            image(&[Mount::tmpfs("/tmp"), bind("/x", "/data"), fixed("/usr", "/usr")]),
            (false, vec![])
        );
        assert_eq!(image(&[Mount::mask("/etc/key")]), (true, vec![]));
        assert_eq!(image(&[fixed("/srv/root/d", "/d")]), (true, vec![]));
        assert_eq!(image(&[bind("/srv/root", "/mnt")]), (false, vec![]));
        assert!(image(&[bind("/x", "/data"), Mount::tmpfs("/data/x")]).0, "it hides what was bound");
        assert_eq!(image(&[bind("/x", "/data"), Mount::mask("/data/x")]), (true, vec![]));
        assert_eq!(found(&[Mount::mask("/etc/key")], Below::ReadOnly), (false, vec![]));
    }
}
