//! Whose turn it is when more deployments wait than may be reconciled at once.
//!
//! First come, first served: the applier's own limit takes any of those that wait, and under load one that is
//! unlucky never. What a person asked for, or a breach, waits for none of those that are only judged (R5).

use std::time::Duration;

use api::{Phase, names};
use evidence::Verdict;
use kube::ResourceExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Context, reference};
use crate::sampler::Snapshot;
use crate::world::{Guarded, key_of};

/// Turns that are kept for what is urgent, beside all others.
const URGENT: usize = 8;
/// Time between two looks at whether one that waits has become urgent.
const LOOK: Duration = Duration::from_millis(100);

/// Turns for reconciles. Both semaphores are fair.
#[derive(Debug)]
pub(super) struct Turns {
    all: Semaphore,
    urgent: Semaphore,
}

impl Turns {
    /// So many at once, of those that are not urgent.
    pub(super) fn new(concurrency: u16) -> Self {
        Self { all: Semaphore::new(concurrency.max(1).into()), urgent: Semaphore::new(URGENT) }
    }

    /// Waits for a turn, an urgent one as soon as `urgent` is done; absent when there are no more.
    pub(super) async fn next(&self, urgent: impl Future<Output = ()>) -> Option<SemaphorePermit<'_>> {
        let early = async {
            urgent.await;
            self.urgent.acquire().await
        };
        let turn = tokio::select! {
            biased;
            turn = self.all.acquire() => turn,
            turn = early => turn,
        };
        turn.ok()
    }

    /// No more turns, also for those that wait.
    pub(super) fn close(&self) {
        self.all.close();
        self.urgent.close();
    }
}

impl Context {
    /// Done when it must not wait for others any more: that may begin while it waits.
    pub(super) async fn urgent(&self, object: &Guarded) {
        let reference = reference(&key_of(object));
        while !self.world.deployments.get(&reference).is_some_and(|newest| self.is_urgent(&newest)) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether it must not wait for others: somebody asked for it, it is on its way back, or should be.
    fn is_urgent(&self, object: &Guarded) -> bool {
        let Ok(deployment) = &object.0 else { return false };
        let returns = deployment.status.as_ref().and_then(|status| status.phase) == Some(Phase::RollingBack);
        returns
            || deployment.annotations().contains_key(names::ACTION)
            || has_breach(&self.samplers.snapshot(&key_of(object)))
    }
}

fn has_breach(snapshot: &Snapshot) -> bool {
    let mut readings = snapshot.evidence.values().flat_map(|evidence| &evidence.readings);
    readings.any(|reading| reading.verdict == Verdict::Fail)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use tokio::time::{sleep, timeout};

    use super::*;

    const AT_ONCE: Duration = Duration::from_millis(200);

    #[tokio::test(start_paused = true)]
    async fn turns_are_given_in_the_order_of_asking() {
        let turns = Arc::new(Turns::new(1));
        let first = turns.next(pending()).await.unwrap();
        let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
        for n in 0..50 {
            let (turns, said) = (turns.clone(), said.clone());
            tokio::spawn(async move {
                let _turn = turns.next(pending()).await.unwrap();
                said.send(n).unwrap();
            });
            tokio::task::yield_now().await;
        }
        drop((first, said));
        let mut order = Vec::new();
        while let Some(n) = heard.recv().await {
            order.push(n);
        }
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_urgent_waits_for_none_that_is_not() {
        // rule: R5
        let turns = Turns::new(1);
        let _busy = turns.next(pending()).await.unwrap();
        assert!(timeout(AT_ONCE, turns.next(pending())).await.is_err());
        assert!(timeout(AT_ONCE, turns.next(ready(()))).await.unwrap().is_some());
        let soon = sleep(AT_ONCE / 2);
        assert!(
            timeout(AT_ONCE, turns.next(soon)).await.unwrap().is_some(),
            "it became urgent while it waited"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_turn_that_will_not_come() {
        let turns = Turns::new(1);
        let busy = turns.next(pending()).await.unwrap();
        let (waiting, ()) = tokio::join!(turns.next(pending()), async { turns.close() });
        assert!(waiting.is_none() && turns.next(ready(())).await.is_none());
        drop(busy);
    }
}
