//! The route table: from shares to slots and back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::{
    ModelDeploymentSpec, ModelRoute, ModelRouteSpec, RouteMirror, RouteRevision, SlotRange, TripWire, names,
};
use kube::ResourceExt;
use rollout::{Mirror, RoutePlan, Shares, SlotMap, Span, Undo, reallocate};
use wire::SLOTS;

use super::Owner;

/// The longest time from a request's head to the end of its answer.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A table names at most this many revisions.
const MAX_REVISIONS: usize = 16;

/// The salt of a plan in full: another deployment of the same name cuts its users differently.
#[must_use]
pub fn salt(owner: &Owner, plan: &str) -> String {
    format!("{}-{plan}", &owner.uid.get(..8).unwrap_or(&owner.uid))
}

/// The part of a table's salt that a plan gave it; empty for a salt that no plan gave.
#[must_use]
pub fn plan_salt(owner: &Owner, salt: &str) -> String {
    salt.strip_prefix(&self::salt(owner, "")).unwrap_or_default().to_owned()
}

/// The shares of a table in percent; revisions without a share are left out.
#[must_use]
pub fn shares(route: &ModelRoute) -> Shares {
    let percent = |revision: &RouteRevision| {
        let slots: u32 = revision.slots.iter().map(|s| u32::from(s.to.saturating_sub(s.from))).sum();
        // A table of ours has whole percents; one that was edited by hand is put right by the next write.
        u8::try_from(slots.div_ceil(u32::from(SLOTS) / 100)).unwrap_or(100)
    };
    let all = route.spec.revisions.iter().map(|r| (r.name.clone(), percent(r)));
    all.filter(|(_, percent)| *percent > 0).collect()
}

/// The share of one revision among the requests that a table draws at random for it or for another one; absent
/// under sticky routing, where slots are drawn, and when one of them has no share.
#[must_use]
pub fn split(route: &ModelRouteSpec, revision: &str, other: &str) -> Option<f64> {
    let slots = |name: &str| {
        let ranges = route.revisions.iter().filter(|r| r.name == name).flat_map(|r| &r.slots);
        ranges.map(|range| u32::from(range.to.saturating_sub(range.from))).sum::<u32>()
    };
    let (ours, theirs) = (slots(revision), slots(other));
    (route.sticky.is_none() && ours > 0 && theirs > 0).then(|| f64::from(ours) / f64::from(ours + theirs))
}

/// The copies of a table.
#[must_use]
pub fn mirror(route: &ModelRoute) -> Option<Mirror> {
    let RouteMirror { revision, percent } = route.spec.mirror.clone()?;
    Some(Mirror { revision, percent })
}

/// The revisions that a table sends requests or copies to: routers must see a ready endpoint of each (R2).
#[must_use]
pub fn reached(route: &ModelRoute) -> BTreeSet<String> {
    let copies = route.spec.mirror.iter().map(|mirror| mirror.revision.clone());
    shares(route).into_keys().chain(copies).chain(route.spec.candidate.clone()).collect()
}

/// The decision to go back that was written with a table.
#[must_use]
pub fn undo(route: &ModelRoute) -> Option<Undo> {
    let text = route.annotations().get(names::RETURNING)?;
    // What nobody can read was not written by an operator.
    serde_json::from_str(text).ok()
}

/// The table of a plan. It moves only the slots that must move from what `live` has.
#[must_use]
pub fn route(
    owner: &Owner,
    spec: &ModelDeploymentSpec,
    plan: &RoutePlan,
    live: Option<&ModelRoute>,
) -> ModelRoute {
    let shares = within_limits(plan);
    let slots = reallocate(&live.map(slots).unwrap_or_default(), &shares);
    let wire = TripWire { failures: evidence::FAILURES, requests: evidence::BLOCK };
    let revisions = slots.into_iter().map(|(name, spans)| RouteRevision {
        service: name.clone(),
        trip_wire: plan.wired.contains(&name).then_some(wire),
        slots: spans.into_iter().map(|s| SlotRange { from: s.from, to: s.to }).collect(),
        name,
    });
    let text: Vec<String> =
        shares.iter().filter(|(_, w)| **w > 0).map(|(name, w)| format!("{name}={w}")).collect();
    let mut metadata = owner.meta(&owner.name, &[]);
    metadata.annotations = plan.undo.as_ref().map(|undo| {
        let undo = serde_json::to_string(undo).expect("plain data without maps");
        BTreeMap::from([(names::RETURNING.to_owned(), undo)])
    });
    let routing = spec.routing.as_ref();
    let max_in_flight = spec.router.as_ref().and_then(|router| router.max_in_flight);
    let spec = ModelRouteSpec {
        revisions: revisions.collect(),
        stable: plan.stable.clone(),
        shares: text.join(" "),
        candidate: plan.candidate.clone(),
        mirror: plan
            .mirror
            .as_ref()
            .map(|m| RouteMirror { revision: m.revision.clone(), percent: m.percent }),
        matches: routing.map(|r| r.matches.clone()).unwrap_or_default(),
        targeting: routing.and_then(|r| r.allow_targeting).unwrap_or(false),
        sticky: routing.and_then(|r| r.sticky.clone()),
        salt: salt(owner, &plan.salt),
        request_timeout: REQUEST_TIMEOUT.into(),
        retry: true,
        max_in_flight,
        automation: spec.automation.as_ref().map(|automation| automation.to_wire().to_string()),
    };
    ModelRoute { metadata, spec }
}

fn slots(route: &ModelRoute) -> SlotMap {
    let spans = |r: &RouteRevision| r.slots.iter().map(|s| Span { from: s.from, to: s.to }).collect();
    route.spec.revisions.iter().map(|r| (r.name.clone(), spans(r))).collect()
}

/// Stable, all that have a share or get copies, and of the others as many as there is room for.
fn within_limits(plan: &RoutePlan) -> Shares {
    let copied = plan.mirror.as_ref().map(|mirror| &mirror.revision);
    let named = [plan.stable.as_ref(), plan.candidate.as_ref(), copied];
    let needed = |name: &String, weight: u8| weight > 0 || named.contains(&Some(name));
    let (mut kept, spare): (Shares, Shares) =
        plan.shares.clone().into_iter().partition(|(name, weight)| needed(name, *weight));
    let room = MAX_REVISIONS.saturating_sub(kept.len());
    kept.extend(spare.into_iter().take(room));
    kept
}
