//! Which server pods have shown their profile, and what they said (I5).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use wire::Profile;

use super::Servers;
use super::page::PageError;
use super::pods::Target;

/// Pause after the first failure; it doubles.
const PAUSE: Duration = Duration::from_secs(1);
/// Failures after which a pod is left alone: a settled deployment is read by nobody.
const ATTEMPTS: u32 = 8;
/// Revisions whose profile is kept.
const KEPT: usize = 16;

/// What is known of the server pods. A pod is read once, as soon as it is ready.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    /// By pod uid.
    pods: BTreeMap<String, Pod>,
    /// The first profile of each revision.
    kept: BTreeMap<String, Profile>,
}

#[derive(Debug)]
struct Pod {
    target: Target,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    Due { failures: u32, at: Instant },
    Asked { failures: u32 },
    Said { digest: String },
    Silent,
}

impl Profiles {
    /// Takes the ready server pods of now. A pod that was read and is no longer ready stays known for as long
    /// as it is in `existing`.
    pub(super) fn look(&mut self, ready: Vec<Target>, existing: impl Fn(&str) -> bool, now: Instant) {
        self.pods.retain(|uid, _| existing(uid));
        for target in ready {
            let progress = Progress::Due { failures: 0, at: now };
            self.pods.entry(target.uid.clone()).or_insert(Pod { target, progress });
        }
    }

    /// The pods to read now; they count as asked.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Target> {
        let mut due = Vec::new();
        for pod in self.pods.values_mut() {
            if let Progress::Due { failures, at } = pod.progress
                && at <= now
            {
                pod.progress = Progress::Asked { failures };
                due.push(pod.target.clone());
            }
        }
        due
    }

    /// When the next pod is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let due = self.pods.values().filter_map(|pod| match pod.progress {
            Progress::Due { at, .. } => Some(at),
            _ => None,
        });
        due.min()
    }

    /// Takes a pod's answer. A page that is absent or unusable ends the questions, a failure to read it is
    /// followed by another one.
    pub(super) fn heard(&mut self, uid: &str, answer: Result<Profile, PageError>, now: Instant) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let Progress::Asked { failures } = pod.progress else { return };
        pod.progress = match answer {
            Ok(profile) => {
                let digest = profile.digest.clone();
                if self.kept.len() < KEPT || self.kept.contains_key(&pod.target.revision) {
                    self.kept.entry(pod.target.revision.clone()).or_insert(profile);
                }
                Progress::Said { digest }
            }
            Err(error) if error.is_absent() => Progress::Silent,
            Err(error) if failures + 1 >= ATTEMPTS => {
                tracing::warn!(pod = %pod.target.name, %error, "gives no profile; not asked again");
                Progress::Silent
            }
            Err(error) => {
                tracing::debug!(pod = %pod.target.name, %error, "gives no profile yet");
                Progress::Due { failures: failures + 1, at: now + PAUSE * 2u32.pow(failures) }
            }
        };
    }

    /// What the pods that exist said, by revision, with the profiles kept.
    pub(super) fn servers(&self) -> BTreeMap<String, Servers> {
        let mut servers: BTreeMap<String, Servers> = BTreeMap::new();
        for (uid, pod) in &self.pods {
            let said = match &pod.progress {
                Progress::Said { digest } => Some(digest),
                Progress::Silent => None,
                Progress::Due { .. } | Progress::Asked { .. } => continue,
            };
            let entry = servers.entry(pod.target.revision.clone()).or_default();
            entry.heard.insert(uid.clone());
            // An image without digests has nothing to compare.
            entry.digests.extend(said.filter(|digest| !digest.is_empty()).cloned());
        }
        for (revision, profile) in &self.kept {
            servers.entry(revision.clone()).or_default().profile = Some(profile.clone());
        }
        servers
    }

    /// Forgets the profiles of revisions that have no pod and are not `wanted`, once there are many.
    pub(super) fn prune(&mut self, wanted: impl Fn(&str) -> bool) {
        if self.kept.len() < KEPT {
            return;
        }
        let pods = &self.pods;
        self.kept.retain(|revision, _| {
            wanted(revision) || pods.values().any(|pod| pod.target.revision == *revision)
        });
    }

    pub(super) fn profile(&self, revision: &str) -> Option<&Profile> {
        self.kept.get(revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uid: &str, revision: &str) -> Target {
        let address = "127.0.0.1:9091".parse().unwrap();
        Target { uid: uid.into(), name: uid.into(), revision: revision.into(), address }
    }

    fn profile(digest: &str) -> Profile {
        Profile { digest: digest.into(), ..Profile::new("1.0.0", &[]) }
    }

    #[test]
    fn each_pod_is_read_once_and_digests_are_those_of_the_pods_that_exist() {
        // rule: I5
        let now = Instant::now();
        let mut profiles = Profiles::default();
        profiles.look(vec![target("a", "r"), target("b", "r")], |_| true, now);
        assert_eq!(profiles.due(now).len(), 2);
        assert_eq!(profiles.due(now).len(), 0, "asked already");
        profiles.heard("a", Ok(profile("1")), now);
        profiles.heard("b", Ok(profile("2")), now);
        assert_eq!(profiles.servers()["r"].digests.len(), 2, "a conflict");
        profiles.look(vec![target("a", "r"), target("b", "r")], |_| true, now);
        assert_eq!((profiles.due(now).len(), profiles.next()), (0, None));
        profiles.look(vec![target("a", "r")], |uid| uid == "a", now);
        assert_eq!(profiles.servers()["r"].digests.len(), 1, "the other pod is gone");
        profiles.look(Vec::new(), |_| false, now);
        assert!(profiles.servers()["r"].profile.is_some(), "the profile outlives the pods");
    }

    #[test]
    fn a_failure_is_followed_by_another_question_a_missing_page_is_not() {
        let mut now = Instant::now();
        let mut profiles = Profiles::default();
        profiles.look(vec![target("a", "r"), target("b", "r")], |_| true, now);
        profiles.due(now);
        assert!(profiles.servers().is_empty(), "nobody has answered");
        profiles.heard("b", Err(PageError::Status(404)), now);
        assert_eq!(profiles.servers()["r"].heard.len(), 1, "it has nothing to say");
        let mut asked = 1;
        profiles.heard("a", Err(PageError::Status(500)), now);
        while let Some(next) = profiles.next() {
            now = next;
            assert_eq!(profiles.due(now)[0].uid, "a");
            profiles.heard("a", Err(PageError::Status(500)), now);
            asked += 1;
        }
        assert_eq!(asked, ATTEMPTS);
    }
}
