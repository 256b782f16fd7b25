//! The words of mount(8) and of the OCI runtime specification for mounts: a pure parser.

use std::ffi::CString;
use std::fmt;

use crate::id_map::IdRange;
use crate::sys::{Attributes, attr};

/// Options of a mount, in the words of mount(8) and of the OCI runtime specification 1.3.
///
/// | words | what they are about |
/// |---|---|
/// | `ro rw suid nosuid dev nodev exec noexec atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime symfollow nosymfollow` | the mount alone; with an `r` before (`rro`), or `=recursive` after, also all below it |
/// | `private slave shared unbindable` | its propagation; with an `r` before also of all below it |
/// | `sync async dirsync mand nomand lazytime nolazytime`, and `ro rw` | a new file system as a whole |
/// | `iversion noiversion` | the same, and only a new ext4 is told: others keep the count or not, as they are |
/// | `bind rbind` | whether a bind takes what is mounted below along |
/// | `idmap ridmap` | owners as the command's own id map has them |
/// | `X-mount.idmap=[u:\|g:\|b:]ID-MOUNT:ID-HOST:COUNT[ …]` | owners by a map of their own |
/// | `X-mount.mkdir[=MODE]` | the mount point is made where it is missing, on the host's file systems, too |
/// | `remount` | a change of the mount that is there |
/// | `defaults`, and what only fstab(5) knows (`auto noauto nouser _netdev x-…`) | nothing |
/// | all else | fsconfig(2), as `key` or `key=value`, of a new file system |
///
/// A later word overrides an earlier one. `ro=vfs` is about the mount alone, `ro=fs` about the file system alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// For the mount alone, after `all`.
    pub(crate) top: Attributes,
    /// For the mount and all below it.
    pub(crate) all: Attributes,
    pub(crate) reach: Option<Bind>,
    pub(crate) remount: bool,
    pub(crate) copy_up: bool,
    pub(crate) id_map: Option<IdMap>,
    pub(crate) mkdir: Option<MakePoint>,
    /// Words about the file system as a whole, and whether the mount has an attribute of that name, too.
    pub(crate) whole: Vec<(&'static str, bool)>,
    pub(crate) data: Vec<(String, Option<String>)>,
    words: Vec<String>,
}

/// `bind` or `rbind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    One,
    Tree,
}

/// How a missing mount point is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MakePoint {
    /// A directory or a file, as what is mounted is one, with the mode that mount points have.
    Alike,
    /// A directory with this mode.
    Directory(u32),
}

/// How owners are mapped in a bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdMap {
    /// Whether the mounts below are mapped, too.
    pub recursive: bool,
    pub ids: Ids,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// Those of the command's new user namespace.
    Own,
    /// Of files inside: what they have on disk; outside: what they appear as, to the caller.
    Maps { uids: Vec<IdRange>, gids: Vec<IdRange> },
}

/// What a word means.
#[derive(Clone, Copy)]
enum Meaning {
    /// An attribute of a mount; and, for a new file system, this word for the whole.
    Set(u64, Option<&'static str>),
    Clear(u64, Option<&'static str>),
    /// How access times are kept.
    Time(u64),
    /// Back to relatime, from this way.
    NoTime(u64),
    /// The file system as a whole: the word that fsconfig(2) knows, and its opposite.
    Whole(&'static str, &'static str),
    Propagation(u64, bool),
    Bind(Bind),
    IdMap(bool),
    Remount,
    CopyUp,
    /// Several attributes.
    All(u64),
    Nothing,
}

use Meaning::{All, Clear, CopyUp, NoTime, Nothing, Remount, Set, Time, Whole};

const fn propagation(flag: u64, recursive: bool) -> Meaning {
    Meaning::Propagation(flag, recursive)
}

const RELATIME: u64 = 0;

static WORDS: &[(&str, Meaning)] = &[
    ("ro", Set(attr::RDONLY, Some("ro"))),
    ("rw", Clear(attr::RDONLY, Some("rw"))),
    ("nosuid", Set(attr::NOSUID, None)),
    ("suid", Clear(attr::NOSUID, None)),
    ("nodev", Set(attr::NODEV, None)),
    ("dev", Clear(attr::NODEV, None)),
    ("noexec", Set(attr::NOEXEC, None)),
    ("exec", Clear(attr::NOEXEC, None)),
    ("nodiratime", Set(attr::NODIRATIME, None)),
    ("diratime", Clear(attr::NODIRATIME, None)),
    ("nosymfollow", Set(attr::NOSYMFOLLOW, None)),
    ("symfollow", Clear(attr::NOSYMFOLLOW, None)),
    ("noatime", Time(attr::NOATIME)),
    ("relatime", Time(RELATIME)),
    ("strictatime", Time(attr::STRICTATIME)),
    ("atime", NoTime(attr::NOATIME)),
    ("norelatime", NoTime(RELATIME)),
    ("nostrictatime", NoTime(attr::STRICTATIME)),
    ("sync", Whole("sync", "async")),
    ("async", Whole("async", "sync")),
    ("dirsync", Whole("dirsync", "")),
    ("mand", Whole("mand", "nomand")),
    ("nomand", Whole("nomand", "mand")),
    ("lazytime", Whole("lazytime", "nolazytime")),
    ("nolazytime", Whole("nolazytime", "lazytime")),
    // The word of ext4, which alone has one; `for_file_system` tells no other.
    ("iversion", Whole("i_version", "noiversion")),
    ("noiversion", Whole("noiversion", "i_version")),
    ("private", propagation(libc::MS_PRIVATE, false)),
    ("rprivate", propagation(libc::MS_PRIVATE, true)),
    ("slave", propagation(libc::MS_SLAVE, false)),
    ("rslave", propagation(libc::MS_SLAVE, true)),
    ("shared", propagation(libc::MS_SHARED, false)),
    ("rshared", propagation(libc::MS_SHARED, true)),
    ("unbindable", propagation(libc::MS_UNBINDABLE, false)),
    ("runbindable", propagation(libc::MS_UNBINDABLE, true)),
    ("bind", Meaning::Bind(Bind::One)),
    ("rbind", Meaning::Bind(Bind::Tree)),
    ("idmap", Meaning::IdMap(false)),
    ("ridmap", Meaning::IdMap(true)),
    ("remount", Remount),
    ("tmpcopyup", CopyUp),
    ("user", All(attr::NOSUID | attr::NODEV | attr::NOEXEC)),
    ("users", All(attr::NOSUID | attr::NODEV | attr::NOEXEC)),
    ("owner", All(attr::NOSUID | attr::NODEV)),
    ("group", All(attr::NOSUID | attr::NODEV)),
    ("defaults", Nothing),
    ("auto", Nothing),
    ("noauto", Nothing),
    ("nouser", Nothing),
    ("nousers", Nothing),
    ("noowner", Nothing),
    ("nogroup", Nothing),
    ("_netdev", Nothing),
    ("silent", Nothing),
    ("loud", Nothing),
];

/// How far a word reaches, where it says so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Both,
    Mount,
    FileSystem,
    Recursive,
}

impl MountOptions {
    /// Of words with commas between them; a comma in double quotes separates none.
    ///
    /// # Errors
    /// What is wrong with a word, in a sentence. Whether the words fit a mount is told when the command is planned.
    ///
    /// ```
    /// let options = sept::MountOptions::parse("ro,nosuid,size=1M")?;
    /// assert_eq!(options.to_string(), "ro,nosuid,size=1M");
    /// # Ok::<(), String>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for letter in text.chars() {
            match (letter, words.last_mut()) {
                ('"', _) => quoted = !quoted,
                (',', _) if !quoted => words.push(String::new()),
                (letter, Some(word)) => word.push(letter),
                (_, None) => {}
            }
        }
        if quoted {
            return Err(format!("{text:?} has a quote that is not closed"));
        }
        Self::from_words(words.iter().filter(|word| !word.is_empty()))
    }

    /// Of words one by one, as the OCI configuration has them.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_words(words: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, String> {
        let mut options = Self::default();
        words.into_iter().try_for_each(|word| options.add(word.as_ref()))?;
        Ok(options)
    }

    fn add(&mut self, word: &str) -> Result<(), String> {
        if word.is_empty() || word.contains('\0') {
            return Err(format!("{word:?} is no option of a mount"));
        }
        self.words.push(word.to_owned());
        if let Some(maps) = word.strip_prefix("X-mount.idmap=") {
            self.id_map = Some(IdMap { recursive: false, ids: id_maps(maps)? });
            return Ok(());
        }
        if let Some(rest) = word.strip_prefix("X-mount.") {
            self.mkdir = Some(mount_point(rest).map_err(|why| format!("{word:?} {why}"))?);
            return Ok(());
        }
        if word == "nofail" {
            let why = "would leave a mount out silently; a bind whose source may be missing is --bind-try";
            return Err(format!("{word:?} {why}"));
        }
        if word.starts_with("x-") || word.starts_with("X-") || word.starts_with("comment=") {
            return Ok(());
        }
        match known(word) {
            Some((meaning, layer)) => self.apply(meaning, layer),
            None => {
                let (key, value) =
                    word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
                if key.is_empty() {
                    return Err(format!("{word:?} has no name before its ="));
                }
                self.data.push((key.to_owned(), value.map(str::to_owned)));
            }
        }
        Ok(())
    }

    fn apply(&mut self, meaning: Meaning, layer: Layer) {
        match meaning {
            Set(bits, whole) | Clear(bits, whole) => {
                let change = match meaning {
                    Set(..) => Attributes::set(bits),
                    _ => Attributes { clear: bits, ..Attributes::NONE },
                };
                if layer != Layer::FileSystem {
                    self.change(change, layer == Layer::Recursive);
                }
                if let Some(word) = whole.filter(|_| matches!(layer, Layer::Both | Layer::FileSystem)) {
                    self.whole.retain(|(other, _)| !matches!(*other, "ro" | "rw"));
                    self.whole.push((word, layer == Layer::Both));
                }
            }
            All(bits) => self.change(Attributes::set(bits), false),
            Time(way) => self.change(
                Attributes { set: way, clear: attr::ATIME, propagation: 0 },
                layer == Layer::Recursive,
            ),
            NoTime(way) => {
                let recursive = layer == Layer::Recursive;
                let now = if recursive { self.all } else { self.all.then(self.top) };
                // Only what it undoes: noatime, then norelatime, is noatime.
                if now.clear & attr::ATIME == 0 || now.set & attr::ATIME == way {
                    self.change(Attributes { set: RELATIME, clear: attr::ATIME, propagation: 0 }, recursive);
                }
            }
            Whole(word, opposite) => {
                self.whole.retain(|(other, _)| *other != word && *other != opposite);
                self.whole.push((word, false));
            }
            Meaning::Propagation(flag, recursive) => {
                self.change(Attributes { propagation: flag, ..Attributes::NONE }, recursive);
            }
            Meaning::Bind(reach) => self.reach = Some(reach),
            Meaning::IdMap(recursive) => {
                let ids = self.id_map.take().map_or(Ids::Own, |map| map.ids);
                self.id_map = Some(IdMap { recursive, ids });
            }
            Remount => self.remount = true,
            CopyUp => self.copy_up = true,
            Nothing => {}
        }
    }

    /// A later word about all mounts also overrides an earlier one about the uppermost.
    fn change(&mut self, change: Attributes, recursive: bool) {
        if !recursive {
            self.top = self.top.then(change);
            return;
        }
        self.all = self.all.then(change);
        self.top.set &= !(change.set | change.clear);
        self.top.clear &= !(change.set | change.clear);
        if change.propagation != 0 {
            self.top.propagation = 0;
        }
    }

    /// Whether there is nothing in it that a mount which is there could be given.
    pub(crate) fn changes_nothing(&self) -> bool {
        let words = self.whole.is_empty() && self.data.is_empty() && self.id_map.is_none() && !self.copy_up;
        words && self.top == Attributes::NONE && self.all == Attributes::NONE
    }

    /// What fsconfig(2) is told of a new file system of this type; or, without one, of that which is there, whose `ro` a word
    /// that the mount has, too, leaves as it is.
    pub(crate) fn for_file_system(&self, kind: Option<&str>) -> Vec<(CString, Option<CString>)> {
        let text = |text: &str| CString::new(text).unwrap_or_default();
        // mount(2) has a flag for it, and fsconfig(2) no word: it is ext4's own, which has none for the opposite.
        let is_told = |word: &str| match word {
            "i_version" => kind == Some("ext4"),
            "noiversion" => false,
            _ => true,
        };
        let whole = self.whole.iter().filter(|(word, mount)| (kind.is_some() || !mount) && is_told(word));
        let whole = whole.map(|(word, _)| (text(word), None));
        let data = self.data.iter().map(|(key, value)| (text(key), value.as_deref().map(text)));
        whole.chain(data).collect()
    }

    /// The words that only a file system as a whole can follow.
    pub(crate) fn of_the_whole(&self) -> Vec<String> {
        let whole = self.whole.iter().filter(|(_, mount)| !mount).map(|(word, _)| (*word).to_owned());
        let data = self.data.iter().map(|(key, value)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        });
        whole.chain(data).collect()
    }
}

/// A word of the table; or an attribute, which may have an `r` before it, or a layer after.
fn known(word: &str) -> Option<(Meaning, Layer)> {
    let find = |name: &str| WORDS.iter().find(|(word, _)| *word == name).map(|(_, meaning)| *meaning);
    let attribute = |name: &str| {
        find(name).filter(|meaning| matches!(meaning, Set(..) | Clear(..) | Time(_) | NoTime(_)))
    };
    if let Some(meaning) = find(word) {
        return Some((meaning, Layer::Both));
    }
    match word.split_once('=') {
        Some((name, "recursive")) => Some((attribute(name)?, Layer::Recursive)),
        Some((name, "vfs")) => Some((attribute(name)?, Layer::Mount)),
        Some((name @ ("ro" | "rw"), "fs")) => Some((find(name)?, Layer::FileSystem)),
        _ => Some((attribute(word.strip_prefix('r')?)?, Layer::Recursive)),
    }
}

/// The word of the table that was meant, perhaps: few letters are others.
pub(crate) fn meant(word: &str) -> Option<&'static str> {
    let near = WORDS.iter().map(|(known, _)| (strsim::levenshtein(word, known), *known)).min();
    near.filter(|(away, _)| *away <= 2 && 2 * away < word.len()).map(|(_, known)| known)
}

/// What stands behind `X-mount.`, but idmap.
fn mount_point(word: &str) -> Result<MakePoint, String> {
    let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    Err(match (name, value) {
        ("mkdir", None) => return Ok(MakePoint::Alike),
        ("mkdir", Some(mode)) => {
            let digits = !mode.is_empty() && mode.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
            let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| digits && *mode <= 0o7777);
            return mode.map(MakePoint::Directory).ok_or("has no mode: it is an octal number up to 7777".to_owned());
        }
        ("mode", _) => {
            "would change what a bind shows, outside, too; a new file system may take mode=, and --chmod MODE DST changes what is the \
             command's own"
        }
        ("owner" | "group", _) => {
            "would change what a bind shows, outside, too; a new file system may take uid= and gid=, and X-mount.idmap= shows other \
             owners"
        }
        ("subdir", _) => "would show a part of a file system: bind that directory instead",
        _ => "is known to mount(8), perhaps, and not here",
    }
    .to_owned())
}

/// `X-mount.idmap=`, as mount(8) has it: ranges with blanks between them, for users, groups or (by default) both.
fn id_maps(text: &str) -> Result<Ids, String> {
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for range in text.split_ascii_whitespace() {
        let (of, range) = match range.split_once(':') {
            Some(("u", rest)) => ("u", rest),
            Some(("g", rest)) => ("g", rest),
            Some(("b", rest)) => ("b", rest),
            _ => ("b", range),
        };
        if range.contains(',') {
            return Err(format!("{range:?} is no id map: write ID-MOUNT:ID-HOST:COUNT"));
        }
        let range: IdRange = range.parse()?;
        if of != "g" {
            uids.push(range);
        }
        if of != "u" {
            gids.push(range);
        }
    }
    if uids.is_empty() && gids.is_empty() {
        return Err("X-mount.idmap= names no id: write X-mount.idmap=0:100000:65536".to_owned());
    }
    Ok(Ids::Maps { uids, gids })
}

impl fmt::Display for MountOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, word) in self.words.iter().enumerate() {
            let quote = if word.contains(',') { "\"" } else { "" };
            write!(f, "{}{quote}{word}{quote}", if n > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> MountOptions {
        MountOptions::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    fn change(set: u64, clear: u64) -> Attributes {
        Attributes { set, clear, propagation: 0 }
    }

    /// Every attribute: the word, what it sets and what it clears.
    const ATTRIBUTES: [(&str, u64, u64); 18] = [
        ("ro", attr::RDONLY, 0),
        ("rw", 0, attr::RDONLY),
        ("nosuid", attr::NOSUID, 0),
        ("suid", 0, attr::NOSUID),
        ("nodev", attr::NODEV, 0),
        ("dev", 0, attr::NODEV),
        ("noexec", attr::NOEXEC, 0),
        ("exec", 0, attr::NOEXEC),
        ("nodiratime", attr::NODIRATIME, 0),
        ("diratime", 0, attr::NODIRATIME),
        ("nosymfollow", attr::NOSYMFOLLOW, 0),
        ("symfollow", 0, attr::NOSYMFOLLOW),
        ("noatime", attr::NOATIME, attr::ATIME),
        ("atime", 0, attr::ATIME),
        ("relatime", 0, attr::ATIME),
        ("norelatime", 0, attr::ATIME),
        ("strictatime", attr::STRICTATIME, attr::ATIME),
        ("nostrictatime", 0, attr::ATIME),
    ];

    #[test]
    fn attributes_are_of_the_mount_alone_unless_an_r_stands_before() {
        for (word, set, clear) in ATTRIBUTES {
            let plain = parsed(word);
            assert_eq!((plain.top, plain.all), (change(set, clear), Attributes::NONE), "{word}");
            assert!(plain.data.is_empty() && plain.of_the_whole().is_empty(), "{word}");
            for recursive in [format!("r{word}"), format!("{word}=recursive")] {
                let options = parsed(&recursive);
                assert_eq!((options.top, options.all), (Attributes::NONE, change(set, clear)), "{recursive}");
                assert!(options.data.is_empty() && options.whole.is_empty(), "{recursive}");
            }
            let vfs = parsed(&format!("{word}=vfs"));
            assert_eq!((vfs.top, vfs.whole.len()), (change(set, clear), 0), "{word}");
        }
    }

    #[test]
    fn propagation_has_both_forms() {
        for (word, flag) in [
            ("private", libc::MS_PRIVATE),
            ("slave", libc::MS_SLAVE),
            ("shared", libc::MS_SHARED),
            ("unbindable", libc::MS_UNBINDABLE),
        ] {
            let wanted = Attributes { propagation: flag, ..Attributes::NONE };
            assert_eq!((parsed(word).top, parsed(word).all), (wanted, Attributes::NONE));
            let recursive = parsed(&format!("r{word}"));
            assert_eq!((recursive.top, recursive.all), (Attributes::NONE, wanted));
        }
    }

    #[test]
    fn a_later_word_overrides_an_earlier_one() {
        assert_eq!(parsed("ro,rw").top, change(0, attr::RDONLY));
        assert_eq!(parsed("rw,ro").top, change(attr::RDONLY, 0));
        assert_eq!(parsed("noatime,strictatime").top, change(attr::STRICTATIME, attr::ATIME));
        assert_eq!(parsed("noatime,norelatime").top, change(attr::NOATIME, attr::ATIME));
        assert_eq!(parsed("noatime,atime").top, change(0, attr::ATIME));
        assert_eq!(parsed("private,shared").top.propagation, libc::MS_SHARED);
        // Read-only below, and writable on top; and the other way round.
        let (first, second) = (parsed("rro,rw"), parsed("rw,rro"));
        assert_eq!((first.all, first.top), (change(attr::RDONLY, 0), change(0, attr::RDONLY)));
        assert_eq!((second.all, second.top), (change(attr::RDONLY, 0), Attributes::NONE));
        assert_eq!(parsed("sync,async").whole, [("async", false)]);
        assert_eq!(parsed("bind,rbind").reach, Some(Bind::Tree));
    }

    #[test]
    fn words_about_the_file_system_are_told_apart() {
        for (word, told) in [
            ("sync", "sync"),
            ("async", "async"),
            ("dirsync", "dirsync"),
            ("mand", "mand"),
            ("nomand", "nomand"),
            ("lazytime", "lazytime"),
            ("nolazytime", "nolazytime"),
            ("iversion", "i_version"),
            ("noiversion", "noiversion"),
        ] {
            let options = parsed(word);
            assert_eq!(options.whole, [(told, false)], "{word}");
            assert_eq!((options.top, options.all), Default::default(), "{word}");
            assert_eq!(options.of_the_whole(), [told], "{word}");
        }
        // Both, so that a bind may have it.
        assert_eq!(parsed("ro").whole, [("ro", true)]);
        assert_eq!((parsed("ro=fs").whole, parsed("ro=fs").top), (vec![("ro", false)], Attributes::NONE));
    }

    #[test]
    fn what_is_not_known_is_the_file_systems() {
        let options = parsed(
            "size=64k,mode=1777,uid=0,nr_inodes=10,hidepid=2,subset=pid,newinstance,ptmxmode=0666,a=b=c",
        );
        let (none, some) = (
            |key: &str| (key.to_owned(), None),
            |key: &str, value: &str| (key.to_owned(), Some(value.to_owned())),
        );
        assert_eq!(
            options.data,
            [
                some("size", "64k"),
                some("mode", "1777"),
                some("uid", "0"),
                some("nr_inodes", "10"),
                some("hidepid", "2"),
                some("subset", "pid"),
                none("newinstance"),
                some("ptmxmode", "0666"),
                some("a", "b=c"),
            ]
        );
        // An r before a word that is no attribute makes no word of it.
        for word in ["rsync", "rdefaults", "rremount", "sync=recursive", "size=fs", "reserve", "nosuid=fs"] {
            let options = parsed(word);
            assert_eq!(
                (options.data.len(), options.top, options.all),
                (1, Attributes::NONE, Attributes::NONE),
                "{word}"
            );
        }
    }

    #[test]
    fn words_for_others_than_the_kernel_mean_nothing() {
        let words = "defaults,auto,noauto,nouser,nousers,noowner,nogroup,_netdev,silent,loud,x-systemd.automount,X-foo,comment=x";
        let options = parsed(words);
        assert_eq!(options, MountOptions { words: options.words.clone(), ..MountOptions::default() });
        assert_eq!(parsed("user").top, change(attr::NOSUID | attr::NODEV | attr::NOEXEC, 0));
        assert_eq!(parsed("owner").top, parsed("group").top);
    }

    #[test]
    fn binds_maps_and_the_rest_are_seen() {
        assert_eq!((parsed("bind").reach, parsed("rbind").reach), (Some(Bind::One), Some(Bind::Tree)));
        assert!(parsed("remount").remount && parsed("tmpcopyup").copy_up);
        assert_eq!(parsed("idmap").id_map, Some(IdMap { recursive: false, ids: Ids::Own }));
        assert_eq!(parsed("ridmap").id_map, Some(IdMap { recursive: true, ids: Ids::Own }));
        assert_eq!(parsed("X-mount.mkdir").mkdir, Some(MakePoint::Alike));
        assert_eq!(parsed("X-mount.mkdir=2750").mkdir, Some(MakePoint::Directory(0o2750)));
        let range = |inside, outside, count| IdRange { inside, outside, count };
        let both = vec![range(0, 100_000, 65_536)];
        let ids = Ids::Maps { uids: both.clone(), gids: both };
        assert_eq!(
            parsed("X-mount.idmap=0:100000:65536").id_map,
            Some(IdMap { recursive: false, ids: ids.clone() })
        );
        assert_eq!(
            parsed("X-mount.idmap=b:0:100000:65536,ridmap").id_map,
            Some(IdMap { recursive: true, ids })
        );
        let apart = Ids::Maps { uids: vec![range(0, 1, 1), range(1, 5, 2)], gids: vec![range(0, 2, 1)] };
        let parts = parsed("X-mount.idmap=u:0:1:1 g:0:2:1 u:1:5:2").id_map;
        assert_eq!(parts, Some(IdMap { recursive: false, ids: apart }));
    }

    #[test]
    fn the_count_of_changes_is_for_ext4_to_be_told() {
        let told = |word: &str, kind| parsed(word).for_file_system(kind).len();
        assert_eq!((told("iversion", Some("ext4")), told("noiversion", Some("ext4"))), (1, 0));
        assert_eq!((told("iversion", Some("tmpfs")), told("iversion", None)), (0, 0));
        assert_eq!((told("sync,ro", Some("tmpfs")), told("sync,ro", None)), (2, 1));
    }

    #[test]
    fn a_word_with_a_slip_is_told_from_others() {
        for (slip, word) in [("noexce", "noexec"), ("noexe", "noexec"), ("strictatimes", "strictatime")] {
            assert_eq!(meant(slip), Some(word), "{slip}");
        }
        for other in ["bogus", "x", "acl", "discard", "newinstance", "size", ""] {
            assert_eq!(meant(other), None, "{other}");
        }
    }

    #[test]
    fn a_remount_of_nothing_is_seen() {
        for words in ["remount", "remount,bind,defaults,_netdev", "X-mount.mkdir"] {
            assert!(parsed(words).changes_nothing(), "{words}");
        }
        for words in
            ["ro", "rw", "relatime", "rro", "private", "size=1M", "sync", "iversion", "idmap", "tmpcopyup"]
        {
            assert!(!parsed(words).changes_nothing(), "{words}");
        }
    }

    #[test]
    fn quotes_keep_commas_and_are_printed_again() {
        let options = parsed("context=\"a,b\",ro,,noexec");
        assert_eq!(options.data, [("context".to_owned(), Some("a,b".to_owned()))]);
        assert_eq!(options.to_string(), "\"context=a,b\",ro,noexec");
        assert_eq!(parsed(&options.to_string()), options);
        assert_eq!(parsed(""), MountOptions::default());
    }

    #[test]
    fn malformed_words_are_refused() {
        for (text, why) in [
            ("=x", "no name before"),
            ("a=\"b", "not closed"),
            ("X-mount.idmap=", "names no id"),
            ("X-mount.idmap=1:2", "no id map"),
            ("X-mount.idmap=\"0,1,2\"", "no id map"),
            ("X-mount.mkdir=", "octal"),
            ("X-mount.mkdir=0788", "octal"),
            ("X-mount.mkdir=17777", "octal"),
            ("X-mount.mode=700", "--chmod"),
            ("X-mount.owner=1", "uid="),
            ("X-mount.group=1", "gid="),
            ("X-mount.subdir=a", "bind that directory"),
            ("X-mount.noloop", "not here"),
            ("nofail", "--bind-try"),
            ("a\0b", "no option"),
        ] {
            let refused = MountOptions::parse(text);
            assert!(refused.as_ref().is_err_and(|error| error.contains(why)), "{text:?}: {refused:?}");
        }
        assert!(MountOptions::from_words([""]).is_err());
        assert!(MountOptions::from_words(["ro", "size=1,2"]).is_ok_and(|options| options.data.len() == 1));
    }
}
