//! What people and fate do to this world.

use super::{Mode, World};

impl World {
    pub fn spec(&mut self, revision: &str) {
        if self.wanted.revision != revision {
            self.rules.intents += 1;
        }
        self.wanted.revision = revision.into();
        self.known.insert(revision.into());
    }

    pub fn press(&mut self, text: &str) {
        // Overwritten before it was seen: it counts once. The same text again: the same request (V2).
        let stored = self.state.verb.as_ref().filter(|v| !v.closed && self.done.as_ref() != Some(&v.id));
        let seen = stored.is_some_and(|v| self.annotation.as_ref() == Some(&v.text) && v.text != text);
        if self.annotation.is_none() || seen {
            self.rules.presses += 1;
        }
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
