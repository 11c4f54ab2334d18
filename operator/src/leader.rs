//! One writer at a time: election by a Lease (K4).
//!
//! A holder renews every 1.5 s and stops acting 4 s after the start of its last good renewal; the others may
//! take over 5 s after they last saw the lease change, by their own monotonic clock. No wall clock is
//! compared with another machine's. A holder that stops gives the lease up, and the others look every half
//! second. This alone is no fence (a process may hang between check and write): every write that matters
//! carries uid and resourceVersion (K3).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::write::posted;

/// The others wait this long after the last change that they saw.
const LEASE: Duration = Duration::from_secs(5);
/// Time between two renewals.
const RENEW: Duration = Duration::from_millis(1500);
/// Without a good renewal for this long the holder stops; a second before the earliest take-over.
const STOP: Duration = Duration::from_secs(4);
/// Time between two looks of those that wait.
const LOOK: Duration = Duration::from_millis(500);
/// Longest time for one request.
const REQUEST: Duration = Duration::from_secs(1);
/// Pause after a request that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Which lease, and who asks for it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Name of this process; no two processes may ever have the same one, also not one after the other.
    pub identity: String,
}

/// Whether this process may act. Clones say the same.
#[derive(Debug, Clone)]
pub struct Acting(watch::Receiver<Option<Instant>>);

impl Acting {
    /// Whether it may act now. False also when the renewing task is late, for example because the process was
    /// stopped.
    #[must_use]
    pub fn now(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// For tests that need no campaign.
    #[cfg(test)]
    pub(crate) fn always() -> Self {
        Self(watch::channel(Some(Instant::now() + std::time::Duration::from_secs(3600))).1)
    }

    /// Waits until it may act. Never done if the campaign ended before.
    pub async fn began(&mut self) {
        if self.0.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it may no longer act. Done at once if it may not act now.
    pub async fn ended(&mut self) {
        loop {
            let until = *self.0.borrow_and_update();
            let Some(until) = until.filter(|until| Instant::now() < *until) else { return };
            tokio::select! {
                () = sleep_until(until) => {}
                changed = self.0.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// A running campaign for the lease.
#[derive(Debug)]
pub struct Campaign {
    acting: watch::Receiver<Option<Instant>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Campaign {
    /// Begins to ask for the lease, from within a tokio runtime.
    #[must_use]
    pub fn start(client: Client, settings: Settings) -> Self {
        let (acting, receiver) = watch::channel(None);
        let stop = CancellationToken::new();
        let leases = Api::namespaced(client, &settings.namespace);
        let me = Me { identity: settings.identity, renewed: None };
        let candidate = Candidate { leases, name: settings.name, me, seen: None, lease: None, acting };
        let task = tokio::spawn(candidate.run(stop.clone()));
        Self { acting: receiver, stop, task }
    }

    /// Says whether this process may act.
    #[must_use]
    pub fn acting(&self) -> Acting {
        Acting(self.acting.clone())
    }

    /// Ends the campaign and gives the lease up if it is held. Call it when nothing acts any more.
    pub async fn release(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the election ended badly; the lease runs out by itself");
        }
    }
}

/// This process.
#[derive(Debug)]
struct Me {
    identity: String,
    /// Start of the last good write of a lease that is held.
    renewed: Option<Instant>,
}

/// The lease as it was last read.
#[derive(Debug, Clone)]
struct Seen {
    holder: Option<String>,
    duration: Duration,
    version: Option<String>,
    /// When this version was first seen, by this process's own clock.
    since: Instant,
}

/// What to do about the lease.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Write it, with this process as its holder.
    Take,
    /// Write it again.
    Renew,
    /// Nothing before this instant; a waiting process then looks again.
    Wait(Instant),
    /// Stop acting: another one may take it soon, or has it.
    Stop,
}

/// The whole rule.
fn next(seen: Option<&Seen>, me: &Me, now: Instant) -> Step {
    // rule: K4
    let holder = seen.and_then(|seen| seen.holder.as_deref());
    if let Some(renewed) = me.renewed {
        return match now.duration_since(renewed) {
            _ if holder != Some(&me.identity) => Step::Stop,
            age if age >= STOP => Step::Stop,
            age if age >= RENEW => Step::Renew,
            _ => Step::Wait(renewed + RENEW),
        };
    }
    match (seen, holder) {
        (None, _) | (_, None) => Step::Take,
        // A write of our own whose answer was lost.
        (_, Some(holder)) if holder == me.identity => Step::Take,
        (Some(seen), _) if now >= seen.since + seen.duration => Step::Take,
        (Some(seen), _) => Step::Wait((seen.since + seen.duration).min(now + LOOK)),
    }
}

struct Candidate {
    leases: Api<Lease>,
    name: String,
    me: Me,
    seen: Option<Seen>,
    lease: Option<Lease>,
    acting: watch::Sender<Option<Instant>>,
}

impl Candidate {
    async fn run(mut self, stop: CancellationToken) {
        // rule: K4. An API server that was away for some seconds must not leave a process that never leads.
        while stop.run_until_cancelled(self.contend()).await.is_some() {
            self.step_down();
            tracing::warn!(lease = %self.name, "the lease is lost: this process stops acting, and asks again");
        }
        if self.step_down() {
            self.give_up().await;
        }
    }

    /// Stops acting; whether the lease was held.
    fn step_down(&mut self) -> bool {
        self.acting.send_replace(None);
        self.me.renewed.take().is_some()
    }

    /// Returns when the lease was held and is lost.
    async fn contend(&mut self) {
        let mut look = true;
        loop {
            if look && let Err(error) = self.look().await {
                tracing::warn!(lease = %self.name, %error, "the lease cannot be read");
                tokio::time::sleep(PAUSE).await;
                if self.me.renewed.is_none() {
                    continue;
                }
            }
            let now = Instant::now();
            look = match next(self.seen.as_ref(), &self.me, now) {
                Step::Stop => return,
                Step::Wait(until) => {
                    sleep_until(until).await;
                    self.me.renewed.is_none()
                }
                Step::Take | Step::Renew => match self.write(now).await {
                    Ok(()) => false,
                    Err(error) => {
                        tracing::warn!(lease = %self.name, %error, "the lease cannot be written");
                        tokio::time::sleep(PAUSE).await;
                        true
                    }
                },
            };
        }
    }

    async fn look(&mut self) -> Result<(), LeaseError> {
        let lease = timeout(REQUEST, self.leases.get_opt(&self.name)).await??;
        self.note(lease);
        Ok(())
    }

    /// Remembers what was read or written; the instant only if it is another version.
    fn note(&mut self, lease: Option<Lease>) {
        self.seen = lease.as_ref().map(|lease| {
            let spec = lease.spec.clone().unwrap_or_default();
            let version = lease.resource_version();
            let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0);
            let known = self.seen.as_ref().filter(|seen| seen.version == version).map(|seen| seen.since);
            Seen {
                holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
                duration: seconds.map_or(LEASE, Duration::from_secs),
                version,
                since: known.unwrap_or_else(Instant::now),
            }
        });
        self.lease = lease;
    }

    /// Writes the lease as held by this process from `start` on; refused if another one wrote it meanwhile.
    async fn write(&mut self, start: Instant) -> Result<(), LeaseError> {
        let written = self.held();
        let answer = match &self.lease {
            Some(_) => timeout(REQUEST, self.leases.replace(&self.name, &posted(), &written)).await??,
            None => timeout(REQUEST, self.leases.create(&posted(), &written)).await??,
        };
        self.note(Some(answer));
        if self.me.renewed.replace(start).is_none() {
            tracing::info!(lease = %self.name, identity = %self.me.identity, "this process leads");
        }
        self.acting.send_replace(Some(start + STOP));
        Ok(())
    }

    fn held(&self) -> Lease {
        let mut lease = self.lease.clone().unwrap_or_default();
        let spec = lease.spec.take().unwrap_or_default();
        let mine = spec.holder_identity.as_deref() == Some(self.me.identity.as_str());
        let now = Some(MicroTime(Timestamp::now()));
        lease.metadata = ObjectMeta { name: Some(self.name.clone()), managed_fields: None, ..lease.metadata };
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.me.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(LEASE.as_secs()).expect("5 fits")),
            acquire_time: if mine { spec.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(spec.lease_transitions.unwrap_or(0) + i32::from(!mine)),
            ..LeaseSpec::default()
        });
        lease
    }

    async fn give_up(&mut self) {
        let mut lease = self.held();
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        match timeout(REQUEST, self.leases.replace(&self.name, &posted(), &lease)).await {
            Ok(Ok(_)) => tracing::info!(lease = %self.name, "the lease is given up"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be given up; it runs out by itself"),
            Err(_) => tracing::warn!("the lease cannot be given up in time; it runs out by itself"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("{0}")]
    Api(#[from] kube::Error),
    #[error("no answer within {REQUEST:?}")]
    Slow(#[from] tokio::time::error::Elapsed),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me(renewed: Option<Instant>) -> Me {
        Me { identity: "me".into(), renewed }
    }

    fn seen(holder: Option<&str>, since: Instant) -> Seen {
        Seen { holder: holder.map(Into::into), duration: LEASE, version: None, since }
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_lease_that_is_absent_free_or_ones_own_is_taken_at_once() {
        // rule: K4
        let now = Instant::now();
        assert_eq!(next(None, &me(None), now), Step::Take);
        assert_eq!(next(Some(&seen(None, now)), &me(None), now), Step::Take);
        assert_eq!(next(Some(&seen(Some("me"), now)), &me(None), now), Step::Take);
    }

    #[test]
    fn anothers_lease_is_taken_only_after_it_was_seen_unchanged_for_its_duration() {
        // rule: K4
        let start = Instant::now();
        let other = seen(Some("other"), start);
        assert_eq!(next(Some(&other), &me(None), start), Step::Wait(start + LOOK));
        let late = start + LEASE - 100 * MS;
        assert_eq!(next(Some(&other), &me(None), late), Step::Wait(start + LEASE));
        assert_eq!(next(Some(&other), &me(None), start + LEASE), Step::Take);
    }

    #[test]
    fn a_holder_renews_and_stops_before_anybody_may_take_over() {
        // rule: K4
        let start = Instant::now();
        let (mine, holding) = (seen(Some("me"), start), me(Some(start)));
        assert_eq!(next(Some(&mine), &holding, start), Step::Wait(start + RENEW));
        assert_eq!(next(Some(&mine), &holding, start + RENEW), Step::Renew);
        assert_eq!(next(Some(&mine), &holding, start + STOP - MS), Step::Renew);
        assert_eq!(next(Some(&mine), &holding, start + STOP), Step::Stop);
        assert_eq!(next(Some(&seen(Some("other"), start)), &holding, start + MS), Step::Stop);
        assert_eq!(next(None, &holding, start + MS), Step::Stop, "someone deleted it");
        // The other one saw the renewal at its start at the earliest.
        assert!(STOP + REQUEST <= LEASE);
    }

    #[test]
    fn a_killed_holder_is_replaced_within_six_seconds() {
        // rule: K4. The last renewal is seen up to a look later, then the lease has to run out.
        assert!(LOOK + LEASE + REQUEST / 4 <= Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn acting_ends_by_itself_when_nothing_is_renewed() {
        // rule: K4
        let (sender, receiver) = watch::channel(None);
        let mut acting = Acting(receiver);
        assert!(!acting.now());
        sender.send_replace(Some(Instant::now() + STOP));
        acting.began().await;
        assert!(acting.now());
        let start = Instant::now();
        acting.ended().await;
        assert_eq!(start.elapsed(), STOP);
        assert!(!acting.now());
    }
}
