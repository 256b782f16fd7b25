//! Doing without a layer that can't be had: only where the command says so, one try after another, all on record.

use std::path::Path;
use std::sync::Arc;

use crate::capability::CapabilitySet;
use crate::cgroup::{Cgroup, Controller};
use crate::command::{Alternative, Command};
use crate::error::{Error, describe};
use crate::host::{Host, advice, probe};
use crate::landlock::Landlock;
use crate::layer::{Layer, Missing};
use crate::mount::{Access, Mount, MountKind};
use crate::namespace::{Namespace, Namespaces};
use crate::plan::step::{Source, Step};
use crate::plan::{Duty, Plan, guards, layers};

impl Command {
    /// Declares that the command may run without these layers. One that can't be had is then given up, and the command
    /// is started again from the beginning; nothing of the failed try is left. [`missing`](Self::missing) tells what
    /// was given up and why. A start that succeeds at once costs nothing more.
    ///
    /// A layer on which another request rests is not given up: a hostname takes its uts namespace, a root its mount
    /// namespace. What has no meaning without its layer goes with it: maps of ids with the user namespace, `lo` with
    /// the network's. Not for [`exec`](Self::exec): a process that has moved can't begin again.
    ///
    /// ```no_run
    /// use sept::{Command, Layer, Namespace};
    ///
    /// let mut command = Command::new("make");
    /// command.unshare([Namespace::User, Namespace::Net]).map_root().if_possible([Layer::Namespaces]);
    /// let status = command.status()?;
    /// command.missing().iter().for_each(|missing| eprintln!("{missing}"));
    /// # Ok::<(), sept::Error>(())
    /// ```
    pub fn if_possible(&mut self, layers: impl IntoIterator<Item = Layer>) -> &mut Self {
        for layer in layers.into_iter().filter(|layer| !self.if_possible.contains(layer)).collect::<Vec<_>>()
        {
            self.if_possible.push(layer);
        }
        self
    }

    /// What else is asked for once a layer is given up, before the next try. [`Layer::Namespaces`] is given up when no
    /// kind is new any more.
    pub fn instead(&mut self, layer: Layer, ask: impl Fn(&mut Self) + Send + Sync + 'static) -> &mut Self {
        self.alternatives.push(Alternative { layer, ask: Arc::new(ask) });
        self
    }

    /// The kinds that are new for the command, without those that were given up.
    pub fn namespaces(&self) -> Namespaces {
        self.namespaces
    }

    /// What was given up so far. It stays given up for later starts of the same command.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// The error, with the layer that can't be had where only a further look can tell. It must be the last thing tried.
    pub(crate) fn blame(&self, error: Error, plan: Option<&Plan>) -> Error {
        match &error {
            Error::Clone { layer: None, errno, .. } if layers::is_refused(*errno, self.namespaces) => {
                self.blame_kinds(error)
            }
            Error::Step { layer: None, step, errno, .. } => {
                let step = plan.and_then(|plan| plan.steps.get(step - 1));
                if matches!(step, Some(Step::Fork(_))) && layers::is_refused(*errno, self.namespaces) {
                    return self.blame_kinds(error);
                }
                match step.and_then(layers::of_substitute).filter(|layer| self.lacks(*layer)) {
                    Some(layer) => error.lacks(layer),
                    None => error,
                }
            }
            _ => error,
        }
    }

    /// One kind at a time: the next try finds the next. All of them where there is no other.
    fn blame_kinds(&self, error: Error) -> Error {
        let (culprits, together) = self.culprits();
        let can = |kind: &Namespace| self.may_lack(Layer::Kind(*kind)) && !self.needs(*kind);
        // What can't be given up is no matter of the first try alone, either.
        let first = culprits.iter().find(|kind| !can(kind)).or(culprits.iter().next());
        match first {
            Some(_) if together && culprits.iter().nth(1).is_some() => error.lacks(Layer::Namespaces),
            Some(one) => {
                let mut error = error.lacks(Layer::Kind(one));
                if let Error::Clone { errno: libc::EPERM, advice, .. } = &mut error
                    && one == Namespace::Cgroup
                {
                    *advice = advice::no_cgroup_namespace();
                }
                error
            }
            None => error,
        }
    }

    /// The kinds that can't be made, found by trying each alone: the kernel does not say which. And whether there are no others.
    fn culprits(&self) -> (Namespaces, bool) {
        let mut all = self.namespaces;
        self.joins.iter().flat_map(|join| join.kinds.iter()).for_each(|kind| all.remove(kind));
        let user = all.contains(Namespace::User);
        if user && refused([Namespace::User]) {
            // Without it the right to the others is there only if it is the caller's own.
            let admin = Host::caller().capabilities.contains(CapabilitySet::SYS_ADMIN);
            return if admin { ([Namespace::User].into_iter().collect(), false) } else { (all, true) };
        }
        let base = user.then_some(Namespace::User);
        let alone: Namespaces = all
            .iter()
            .filter(|kind| *kind != Namespace::User && refused(base.into_iter().chain([*kind])))
            .collect();
        if alone.is_empty() || alone == all { (all, true) } else { (alone, false) }
    }

    fn lacks(&self, layer: Layer) -> bool {
        self.missing.iter().any(|missing| missing.layer == layer)
    }

    /// Whether there is nothing of it to be given up: what failed then is something else, and would fail again.
    fn is_out(&self, layer: Layer) -> bool {
        match layer {
            Layer::Landlock => self.landlock.is_empty(),
            Layer::Seccomp => {
                let small = [
                    self.guards_landlock,
                    self.refuse_terminal_injection,
                    self.refuse_cgroup_namespaces,
                    self.keeps_in_place == Some(true),
                ];
                self.filters.is_empty() && !small.contains(&true)
            }
            Layer::Keyring => !self.new_keyring,
            Layer::CoreScheduling => !self.core_scheduling,
            _ => false,
        }
    }

    fn may_lack(&self, layer: Layer) -> bool {
        let within = match layer {
            // Proc and sysfs are of the pid and the net namespace, and no more worth than these.
            Layer::Kind(_) | Layer::Proc | Layer::Sys => Some(Layer::Namespaces),
            Layer::Memory | Layer::Cpus | Layer::Pids => Some(Layer::Limits),
            _ => None,
        };
        self.if_possible.contains(&layer) || within.is_some_and(|all| self.if_possible.contains(&all))
    }

    /// Takes out of the command what the error says can't be had. False where that was not declared, is needed by
    /// something else, or is out already.
    pub(crate) fn give_up(&mut self, error: &Error, plan: Option<&Plan>) -> bool {
        let Some(layer) = error.layer() else { return false };
        if has_used_up(error, plan) {
            return false;
        }
        let why = why(error);
        match layer {
            Layer::Namespaces => self.give_up_kinds(self.namespaces, &why),
            Layer::Kind(kind) => self.give_up_kinds([kind].into_iter().collect(), &why),
            Layer::Limits | Layer::Memory | Layer::Cpus | Layer::Pids => self.give_up_limits(layer, why),
            layer if !self.may_lack(layer) || self.is_out(layer) => false,
            Layer::Proc => self.give_up_proc(why),
            Layer::Sys => self.give_up_sys(why),
            Layer::Landlock => self.give_up_landlock(why),
            // Somebody waits to be asked.
            Layer::Seccomp if self.seccomp_listener => false,
            Layer::Seccomp => {
                let instead = self.without_filters();
                self.filters.clear();
                self.refuse_terminal_injection = false;
                self.refuse_cgroup_namespaces = false;
                self.keeps_in_place = self.keeps_in_place.map(|_| false);
                self.guards_landlock = false;
                self.record(layer, why, &instead)
            }
            Layer::Keyring => {
                self.new_keyring = false;
                self.record(layer, why, layer.without())
            }
            Layer::CoreScheduling => {
                self.core_scheduling = false;
                self.record(layer, why, layer.without())
            }
        }
    }

    fn give_up_kinds(&mut self, kinds: Namespaces, why: &str) -> bool {
        let can =
            |kind| self.namespaces.contains(kind) && self.may_lack(Layer::Kind(kind)) && !self.needs(kind);
        if kinds.is_empty() || !kinds.iter().all(can) {
            return false;
        }
        // What kept the command from the files of cgroups goes with the mounts.
        let guards = self.mounts.iter().any(|mount| mount.kind == MountKind::ReadOnly);
        let lifts = kinds.contains(Namespace::Mount) && self.own_cgroup.is_some() && guards;
        let instead = |layer: Layer| match layer {
            Layer::Namespaces | Layer::Kind(Namespace::Mount) if lifts => {
                format!("{}; who may write to cgroups can lift the limits", layer.without())
            }
            layer => layer.without().to_owned(),
        };
        for kind in kinds.iter() {
            self.namespaces.remove(kind);
            self.remove_with(kind);
        }
        if kinds.iter().nth(1).is_some() && self.namespaces.is_empty() {
            self.record(Layer::Namespaces, why.to_owned(), &instead(Layer::Namespaces));
        } else {
            for kind in kinds.iter() {
                let layer = Layer::Kind(kind);
                self.record(layer, why.to_owned(), &instead(layer));
            }
        }
        kinds.iter().for_each(|kind| self.ask_instead(Layer::Kind(kind)));
        if self.namespaces.is_empty() {
            self.ask_instead(Layer::Namespaces);
        }
        true
    }

    /// What has no meaning without a kind.
    fn remove_with(&mut self, kind: Namespace) {
        match kind {
            Namespace::User => {
                self.uid_map.clear();
                self.gid_map.clear();
                (self.subids, self.setgroups) = (None, None);
                (self.map_all, self.keep_capabilities) = (false, false);
                self.bounding = None;
            }
            Namespace::Net => self.loopback = false,
            // The proc that is there shows the right processes; elsewhere than on /proc it is bound.
            Namespace::Pid => self.replace_proc(),
            Namespace::Mount => self.mounts.clear(),
            _ => {}
        }
    }

    /// Whether something that was asked for rests on this kind.
    fn needs(&self, kind: Namespace) -> bool {
        let of_its_own = |mount: &Mount| {
            let standard = [(MountKind::Proc, "/proc"), (MountKind::Sysfs, "/sys")];
            let is_standard =
                |(kind, place): &(MountKind, &str)| mount.kind == *kind && mount.target == Path::new(place);
            // What only protects what is there is not missed where all of that is shared.
            !matches!(mount.kind, MountKind::ReadOnly) && !standard.iter().any(is_standard)
        };
        let by_request = match kind {
            Namespace::Uts => self.hostname.is_some() || self.domainname.is_some(),
            Namespace::Time => self.monotonic.is_some() || self.boottime.is_some(),
            Namespace::Mount => {
                self.root.is_some()
                    || self.read_only
                    || self.no_devices
                    || self.propagation.is_some()
                    || self.mounts.iter().any(of_its_own)
            }
            Namespace::Pid => self.init,
            Namespace::Ipc => self.mounts.iter().any(|mount| mount.kind == MountKind::Mqueue),
            Namespace::User | Namespace::Net | Namespace::Cgroup => false,
        };
        by_request || self.persist.iter().any(|(kept, _)| *kept == kind)
    }

    /// The present proc instead of fresh ones. On /proc of the present root it is there already.
    fn replace_proc(&mut self) {
        let stays = self.root.is_none() && self.chroot.is_none();
        self.mounts
            .retain(|mount| mount.kind != MountKind::Proc || !stays || mount.target != Path::new("/proc"));
        for mount in self.mounts.iter_mut().filter(|mount| mount.kind == MountKind::Proc) {
            mount.kind = MountKind::Bind { source: "/proc".into(), access: Access::ReadWrite };
        }
    }

    fn give_up_proc(&mut self, why: String) -> bool {
        if !self.lacks(Layer::Proc) {
            self.replace_proc();
            return self.record(Layer::Proc, why, Layer::Proc.without());
        }
        // A command in a pid namespace of its own with no proc at all would be worse off than one in the caller's.
        // And that is to be had only where it was named, too: whoever owns a root may see to it that nothing can be mounted there.
        if self.needs(Namespace::Pid) || !self.may_lack(Layer::Kind(Namespace::Pid)) {
            return false;
        }
        let bound =
            |kind: &MountKind| matches!(kind, MountKind::Bind { source, .. } if source == Path::new("/proc"));
        let before = (self.namespaces, self.mounts.len());
        self.namespaces.remove(Namespace::Pid);
        self.mounts.retain(|mount| !bound(&mount.kind));
        if before == (self.namespaces, self.mounts.len()) {
            return false;
        }
        self.record(Layer::Proc, why, "no /proc, and the pid namespace of the caller");
        self.ask_instead(Layer::Kind(Namespace::Pid));
        true
    }

    fn give_up_sys(&mut self, why: String) -> bool {
        let bound = MountKind::Bind { source: "/sys".into(), access: Access::ReadOnly };
        if self.lacks(Layer::Sys) {
            let before = self.mounts.len();
            self.mounts.retain(|mount| mount.kind != bound);
            return self.mounts.len() < before && self.record(Layer::Sys, why, "no /sys");
        }
        for mount in self.mounts.iter_mut().filter(|mount| mount.kind == MountKind::Sysfs) {
            mount.kind = bound.clone();
        }
        self.record(Layer::Sys, why, Layer::Sys.without())
    }

    /// Before the first try: what the kernel's ABI lacks needs no failure to be known.
    pub(crate) fn fit_landlock(&mut self) {
        if !self.landlock.is_empty()
            && self.may_lack(Layer::Landlock)
            && let abi = probe::landlock_abi().unwrap_or(0)
            && abi < self.landlock.least_abi()
        {
            let has = if abi == 0 { "has no Landlock".to_owned() } else { format!("has ABI {abi}") };
            let why = format!("what is asked takes ABI {}, and this kernel {has}", self.landlock.least_abi());
            self.give_up_landlock(why);
        }
    }

    /// Down to the ABI that is there; if that is not the reason, all of it.
    fn give_up_landlock(&mut self, why: String) -> bool {
        let abi = probe::landlock_abi().unwrap_or(0);
        if self.landlock.fit(abi) && !self.landlock.is_empty() {
            return self.record(Layer::Landlock, why, &format!("what its ABI {abi} has"));
        }
        self.landlock = Landlock::default();
        self.record(Layer::Landlock, why, "no Landlock")
    }

    /// What goes with the filters: the small ones that nobody asked for by name are named.
    fn without_filters(&self) -> String {
        let guards = guards(self, &self.landlock).map(|guard| guard.to_string());
        let words: Vec<String> = [Layer::Seccomp.without().to_owned()].into_iter().chain(guards).collect();
        words.join("; nothing refuses ")
    }

    fn give_up_limits(&mut self, layer: Layer, why: String) -> bool {
        let Some(cgroup) = &self.own_cgroup else { return false };
        // Who wants to freeze needs the cgroup.
        if cgroup.controllers().any(|controller| controller == Controller::Freezer) {
            return false;
        }
        let of = |controller| match controller {
            Controller::Memory => Layer::Memory,
            Controller::Cpu => Layer::Cpus,
            Controller::Pids => Layer::Pids,
            _ => Layer::Limits,
        };
        let lacking: Vec<Controller> = cgroup
            .controllers()
            .filter(|controller| layer == Layer::Limits || of(*controller) == layer)
            .collect();
        let mut gone: Vec<Layer> = lacking.iter().map(|controller| of(*controller)).collect();
        // Files that were named are of no controller that could be left out alone.
        let named = layer == Layer::Limits && cgroup.named().next().is_some();
        gone.extend(named.then_some(Layer::Limits));
        gone.sort_unstable();
        gone.dedup();
        if gone.is_empty() || !gone.iter().all(|one| self.may_lack(*one)) {
            return false;
        }
        let left = lacking.iter().copied().fold(cgroup.clone(), Cgroup::without);
        let all = layer == Layer::Limits;
        let limits = |left: &Cgroup| left.controllers().next().is_some() || left.named().next().is_some();
        self.own_cgroup = Some(left).filter(|left| !all && limits(left));
        let devices = lacking.contains(&Controller::Devices);
        gone.into_iter().all(|one| {
            let rules = if one == Layer::Limits && devices { ", and no rule for device files" } else { "" };
            self.record(one, why.clone(), &format!("{}{rules}", one.without()))
        })
    }

    /// On record, once for each layer: a lower rung adds to what is there.
    fn record(&mut self, layer: Layer, why: String, instead: &str) -> bool {
        let instead = instead.to_owned();
        match self.missing.iter_mut().find(|missing| missing.layer == layer) {
            Some(missing) => {
                missing.why = format!("{}; then {why}", missing.why);
                missing.instead = instead;
            }
            None => self.missing.push(Missing { layer, why, instead }),
        }
        if !matches!(layer, Layer::Kind(_) | Layer::Namespaces) {
            self.ask_instead(layer);
        }
        true
    }

    fn ask_instead(&mut self, layer: Layer) {
        let (due, later) =
            std::mem::take(&mut self.alternatives).into_iter().partition(|other| other.layer == layer);
        self.alternatives = later;
        let due: Vec<Alternative> = due;
        due.iter().for_each(|alternative| (alternative.ask)(self));
    }
}

/// Whether a process with these new can't be made. Nothing is executed: a directory can't be.
fn refused(kinds: impl IntoIterator<Item = Namespace>) -> bool {
    let mut command = Command::new("/");
    command.unshare(kinds);
    let failed = command.start_once(false, &mut || false, &mut None);
    matches!(failed, Err(Error::Clone { errno, .. }) if layers::is_refused(errno, command.namespaces))
}

/// Whether the failed try can't be made twice: what a descriptor had is in a file that is gone with it, or a namespace of
/// it is bound to a file outside.
fn has_used_up(error: &Error, plan: Option<&Plan>) -> bool {
    let (Error::Step { step, .. }, Some(plan)) = (error, plan) else { return false };
    let reads = |step: &Step| {
        matches!(step, Step::WriteFile { .. } | Step::Mount { source: Source::Data { .. }, .. })
    };
    plan.duties.iter().any(|duty| matches!(duty, Duty::Persist { .. }))
        || plan.steps.iter().take(step - 1).any(reads)
}

/// In one line: what failed, and the first reason.
fn why(error: &Error) -> String {
    let what = match error {
        Error::Step { what, errno, .. } => format!("cannot {what}: {}", describe(*errno)),
        other => other.summary(),
    };
    match error.advice().and_then(|advice| advice.why.first()) {
        Some(why) => format!("{what} ({why})"),
        None => what,
    }
}
