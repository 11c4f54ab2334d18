//! What people and fate do to this world.

use rollout::Phase;

use super::{Mode, World};

impl World {
    /// `b` runs at 10 % beside `a`.
    pub fn canary() -> Self {
        let mut world = Self::serving();
        world.spec("b");
        let served = |w: &Self| matches!(&w.state.phase, Phase::Rolling(r) if r.since().is_some());
        world.run_until("canary", 20, served);
        world
    }

    /// `b` is stable, `a` is warm.
    pub fn promoted() -> Self {
        let mut world = Self::canary();
        world.run_until("promoted", 90, |w| matches!(w.state.phase, Phase::Watching(_)));
        world
    }

    /// What the route gives it.
    pub fn share(&self, revision: &str) -> u8 {
        self.route.as_ref().and_then(|r| r.shares.get(revision)).copied().unwrap_or(0)
    }

    pub fn spec(&mut self, revision: &str) {
        self.wanted.revision = revision.into();
        if self.asked_for != self.wanted.intent() {
            self.rules.intents += 1;
            self.asked_for = self.wanted.intent();
        }
        self.known.insert(revision.into());
    }

    pub fn press(&mut self, text: &str) {
        // What stands there counts when it is seen: overwritten before that, it never was. The text of a verb
        // that was carried out but not yet taken away is the same request (V2).
        let stored = self.state.verb.as_ref().filter(|v| !v.closed && self.done.as_ref() != Some(&v.id));
        let is_seen = |text: &str| stored.is_some_and(|v| v.text == text);
        let unseen = self.annotation.as_ref().is_some_and(|before| !is_seen(before));
        self.rules.presses += usize::from(!is_seen(text));
        self.rules.presses -= usize::from(unseen);
        if text == "retry" {
            self.rules.intents += 1;
        }
        self.annotation = Some(text.into());
    }

    pub fn pin(&mut self, revision: Option<&str>) {
        let now = self.now;
        if let Some(route) = &mut self.route {
            route.pin = revision.map(Into::into);
            (route.version, route.changed) = (route.version + 1, now);
        }
    }

    /// The pods die; their Deployment starts others.
    pub fn kill(&mut self, revision: &str) {
        let ready = self.ready_at(revision);
        if let Some(deployment) = self.deployments.get_mut(revision) {
            deployment.pods.iter_mut().for_each(|pod| *pod = ready);
        }
    }

    pub fn routers(&mut self, mode: Mode) {
        self.routers.iter_mut().for_each(|router| router.mode = mode);
    }
}
