//! `--if-possible`: what may be missing, what is asked for in its place, and how the user is told.

use sept::seccomp::Filter;
use sept::{Capabilities, CapabilitySet, Command, Error, Host, Layer, Missing, Namespace, Namespaces};
use serde_json::{Value, json};

use crate::confine;
use crate::failure::{Failure, printable};
use crate::request::Request;

/// One or more names of layers, by commas.
pub fn layers(text: &str) -> Result<Vec<Layer>, String> {
    text.split(',').map(layer).collect()
}

fn layer(word: &str) -> Result<Layer, String> {
    if matches!(word, "no-new-privs" | "no_new_privs") {
        return Err("every kernel that runs sept has no_new_privs: it is never done without".to_owned());
    }
    word.parse().map_err(|why: String| {
        let near = |layer: &Layer| strsim::jaro_winkler(layer.name(), word);
        let nearest = Layer::all().max_by(|one, other| near(one).total_cmp(&near(other)));
        match nearest.filter(|layer| near(layer) > 0.7) {
            Some(layer) => format!("no layer of that name; perhaps {layer} was meant"),
            None => why,
        }
    })
}

/// Declares what may be missing, and what there is to be in place of a user namespace, a network, and all namespaces.
pub fn apply(request: &Request, set: Namespaces, host: &Host, command: &mut Command) -> Result<(), Failure> {
    // A sandbox around may refuse this one, and has its own. Nobody asked for it by name.
    if request.given.is_empty() && set.contains(Namespace::Cgroup) {
        command.if_possible([Layer::Kind(Namespace::Cgroup)]);
    }
    if request.if_possible.is_empty() {
        return Ok(());
    }
    command.if_possible(dispensable(request));
    if set.contains(Namespace::Net) {
        let mut shared = set;
        shared.remove(Namespace::Net);
        let rules = confine::landlock(request, shared, host, true)?;
        // With the right to it: no_new_privs, or CAP_SYS_ADMIN in the user namespace.
        command.instead(Layer::Kind(Namespace::Net), move |command| {
            command.landlock(rules.clone());
        });
    }
    if set.contains(Namespace::User) {
        let (bounded, capabilities) = rights_without_user(request, host);
        command.instead(Layer::Kind(Namespace::User), move |command| {
            // Whoever can't shrink what exec may give must have exec give nothing.
            if !bounded {
                command.no_new_privs();
            }
            command.capabilities(capabilities);
        });
    }
    if !set.is_empty() {
        let allow_new = request.no_new_privs == Some(false);
        // A filter, too, takes no_new_privs or CAP_SYS_ADMIN.
        let can = request.seccomp.is_empty() && (!allow_new || confine::has_admin(Namespaces::NONE, host));
        let filter = can.then(Filter::container).transpose().map_err(Failure::usage)?;
        command.instead(Layer::Namespaces, move |command| {
            if !allow_new {
                command.no_new_privs();
            }
            if let Some(filter) = &filter {
                command.seccomp(filter.clone());
            }
        });
    }
    Ok(())
}

/// Capabilities were to end at the border of the user namespace. Without it none is left but what `--cap-add` names.
fn rights_without_user(request: &Request, host: &Host) -> (bool, Capabilities) {
    let left = confine::changed(request, CapabilitySet::NONE).both(host.capabilities);
    let uid = request.uid.unwrap_or(host.uid);
    let mut sets = if uid == 0 { Capabilities::for_root(left) } else { Capabilities::for_user(left) };
    let bounded = host.capabilities.contains(CapabilitySet::SETPCAP);
    if !bounded {
        sets.bounding = CapabilitySet::ALL;
    }
    (bounded, sets)
}

/// The layers that were named, without the kinds on which other options rest.
fn dispensable(request: &Request) -> Vec<Layer> {
    let needed = |kind: Namespace| request.implied.iter().any(|(other, _)| *other == kind);
    let some = Namespace::ALL.into_iter().any(needed);
    let kinds = Namespace::ALL.into_iter().filter(|kind| !needed(*kind)).map(Layer::Kind);
    request
        .if_possible
        .iter()
        .flat_map(|layer| match layer {
            Layer::Namespaces if some => kinds.clone().collect(),
            Layer::Kind(kind) if needed(*kind) => vec![],
            layer => vec![*layer],
        })
        .collect()
}

/// Whether a limit may be missing: then the start itself tells whether it is.
pub fn may_lack_limits(request: &Request) -> bool {
    let is_limit = |layer: &Layer| matches!(layer, Layer::Limits | Layer::Memory | Layer::Cpus | Layer::Pids);
    request.if_possible.iter().any(is_limit)
}

/// The error, and how to go on without what failed where that can be.
pub fn explain(request: &Request, error: Error) -> Failure {
    let Some(layer) = error.layer() else { return error.into() };
    let failure = Failure::from(error);
    let of = |kind: Namespace| layer == Layer::Namespaces || layer == Layer::Kind(kind);
    if let Some((kind, option)) = request.implied.iter().find(|(kind, _)| of(*kind)) {
        return if request.if_possible.is_empty() {
            failure
        } else {
            failure.why(format!("--{option} needs the {kind} namespace, so that it is not given up"))
        };
    }
    let by_limits = matches!(layer, Layer::Memory | Layer::Cpus | Layer::Pids)
        && request.if_possible.contains(&Layer::Limits);
    let declared = by_limits || request.if_possible.contains(&layer);
    if declared { failure } else { failure.fix(format!("go on without it: --if-possible {layer}")) }
}

/// What was given up, in one line each on standard error.
pub fn tell(missing: &[Missing]) {
    for one in missing {
        if crate::wants_json_errors() {
            eprintln!("{}", json!({ "missing": missing_json(one) }));
        } else {
            eprintln!("sept: {}", printable(&one.to_string()));
        }
    }
}

/// As the report has it.
pub fn missing_json(missing: &Missing) -> Value {
    json!({ "layer": missing.layer.name(), "why": missing.why, "instead": missing.instead })
}
