//! The operator of this world: observes, decides, and writes in the order that crashes are survived in.

use rollout::{Kind, Observed, Phase, Plan, Pods, Request, RouteSeen, decide};

use super::{Crash, Route, World, rules, seconds};

impl World {
    pub fn observe(&self) -> Observed {
        let route = self.route.as_ref().map(|route| RouteSeen {
            shares: route.shares.clone(),
            mirror: route.mirror.clone(),
            candidate: route.candidate.clone(),
            salt: route.salt.clone(),
            undo: route.undo.clone(),
            pin: route.pin.clone(),
            served: self.served(),
            acknowledged: self.served() && goes_to(route).all(|r| self.pods(r).ready > 0),
            behind: if self.served() { Vec::new() } else { vec!["router-0".into()] },
        });
        Observed {
            workloads: self.deployments.keys().map(|r| (r.clone(), self.heard(r))).collect(),
            failing: self.failing.clone(),
            known: self.known.clone(),
            route,
            evidence: self.evidence.clone().into_iter().filter(|(_, e)| !e.readings.is_empty()).collect(),
            allotment: self.allotment.clone(),
            request: self.annotation.clone().map(|text| Request { text, done: self.done.clone() }),
        }
    }

    /// What the operator knows of pods: those of a candidate count once they have been asked (I5).
    fn heard(&self, revision: &str) -> Pods {
        let pods = self.pods(revision);
        let is_candidate = match &self.state.phase {
            Phase::Rolling(r) => r.kind == Kind::Rollout && r.arms().any(|arm| arm == revision),
            _ => false,
        };
        if is_candidate && self.now < self.deaf_until {
            return Pods { ready: 0, unheard: pods.ready, ..pods };
        }
        pods
    }

    /// One turn of the operator. Says whether it wrote anything.
    pub fn reconcile(&mut self) -> Result<bool, Crash> {
        let observed = self.observe();
        let plan = decide(&self.wanted, &self.state, &observed, self.now);
        rules::check_plan(self, &observed, &plan);
        self.sampling.clone_from(&plan.sampling);
        let told = self.summary != Some(plan.summary) || !plan.notes.is_empty();
        self.summary = Some(plan.summary);
        let result = self.apply(&plan);
        if told {
            self.tell_plan(&plan);
        }
        result
    }

    fn apply(&mut self, plan: &Plan) -> Result<bool, Crash> {
        let mut wrote = false;
        for (revision, workload) in &plan.workloads {
            if self.deployments.get(revision).is_none_or(|d| d.replicas < workload.replicas) {
                self.scale(revision, workload.replicas);
                wrote = true;
                self.may_die()?;
            }
        }
        if self.write_route(plan) {
            wrote = true;
            self.may_die()?;
        }
        for revision in &plan.evict {
            if self.deployments.get(revision).is_some_and(|d| d.replicas > 0) {
                self.evict(revision);
                wrote = true;
                self.may_die()?;
            }
        }
        if self.state != plan.state {
            rules::check_state(self, plan);
            self.state = plan.state.clone();
            wrote = true;
            self.may_die()?;
        }
        if let Some(verb) = self.state.verb.as_ref().filter(|v| self.annotation.as_ref() == Some(&v.text)) {
            (self.annotation, self.done) = (None, Some(verb.id.clone()));
            wrote = true;
            self.may_die()?;
        }
        let names: Vec<String> = self.deployments.keys().cloned().collect();
        for revision in names {
            let replicas = plan.workloads.get(&revision).map_or(0, |w| w.replicas);
            if self.deployments[&revision].replicas > replicas {
                rules::check_shrink(self, &revision, replicas, plan);
                self.scale(&revision, replicas);
                wrote = true;
                self.may_die()?;
            }
            if !plan.workloads.contains_key(&revision) {
                self.deployments.remove(&revision);
            }
        }
        Ok(wrote)
    }

    fn may_die(&mut self) -> Result<(), Crash> {
        if let Some((writes, away)) = &mut self.crash {
            *writes = writes.saturating_sub(1);
            if *writes == 0 {
                self.away_until = self.now + seconds(*away);
                // Its successor must ask the pods first.
                self.deaf_until = self.away_until + seconds(2);
                self.crash = None;
                return Err(Crash);
            }
        }
        Ok(())
    }

    fn write_route(&mut self, plan: &Plan) -> bool {
        let seen = self.route.clone().unwrap_or_default();
        let next = Route {
            version: seen.version + 1,
            changed: self.now,
            shares: plan.route.shares.iter().filter(|(_, w)| **w > 0).map(|(r, w)| (r.clone(), *w)).collect(),
            mirror: plan.route.mirror.clone(),
            candidate: plan.route.candidate.clone(),
            revisions: plan.route.shares.keys().cloned().collect(),
            stable: plan.route.stable.clone(),
            salt: plan.route.salt.clone(),
            undo: plan.route.undo.clone(),
            pin: seen.pin.clone(),
        };
        let same = Route { version: seen.version, changed: seen.changed, ..next.clone() } == seen;
        if self.route.is_some() && same {
            return false;
        }
        rules::check_route(self, &seen, &next, plan);
        self.route = Some(next);
        self.route_writes += 1;
        true
    }
}

/// Every revision that requests or copies go to.
fn goes_to(route: &Route) -> impl Iterator<Item = &String> {
    let copies = route.mirror.as_ref().map(|m| &m.revision);
    route.shares.keys().chain(copies).chain(&route.candidate)
}
