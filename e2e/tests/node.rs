//! The whole story on a real node: real pods, real images, real HTTP, one client that sends all the time and
//! never retries. Every chapter does something that loses requests elsewhere; here none may be lost.
//!
//! `make e2e` runs it; it needs root, and the images and models that the Makefile builds first.

#![allow(clippy::print_stdout, reason = "the story and its figures are read by people")]

mod chapters;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::node::story::Story;
use e2e::node::{Models, Node};

/// Requests per second.
const RATE: u32 = 220;
/// Fewest requests of the whole story.
const REQUESTS: u64 = 200_000;

/// Requests per second beside the rollbacks of the benchmark: the machine is to be half idle.
const CALM: u32 = 20;

/// `make bench-rollback`: how long a person on call waits.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make bench-rollback"]
async fn a_person_rolls_back_many_times() -> Result<()> {
    beside_a_calm_client(async |story| chapters::on_call_many_times(story, chapters::rollbacks(300)?).await)
        .await
}

/// One chapter of the story, for whoever works on the router: what `make e2e` builds first must be there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: hack/with-cluster"]
async fn the_routers_alone() -> Result<()> {
    beside_a_calm_client(chapters::routers_of_its_own).await
}

/// Another one, for whoever works on where models come from.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: hack/with-cluster"]
async fn fetched_models_alone() -> Result<()> {
    beside_a_calm_client(chapters::models_come_from_elsewhere).await
}

/// A chapter of the story, while a client sends a little; no request of its own may fail.
async fn beside_a_calm_client(chapter: impl AsyncFnOnce(&Story) -> Result<()>) -> Result<()> {
    let node = Node::up()?;
    let models = Models::prepare()?;
    chapters::clean(&node)?;
    let story = Story::begin(node.clone(), models, CALM, |_| {}).await?;
    let done = chapter(&story).await;
    let summary = story.finish().await;
    println!("{summary}");
    done?;
    ensure!(summary.failed() == 0, "{} of {} requests failed", summary.failed(), summary.requests);
    chapters::clean(&node)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a node: make e2e"]
async fn the_whole_story_loses_no_request() -> Result<()> {
    let node = Node::up()?;
    let models = Models::prepare()?;
    chapters::clean(&node)?;
    chapters::say("1.0.0 serves");
    let begun = Instant::now();
    let story = Story::begin(node.clone(), models, RATE, |change| chapters::say(&change.line())).await?;

    chapters::say("1.1.0 is promoted");
    story.good_version().await?;
    chapters::say("1.2.0 is taken back");
    let taken = story.bad_version().await?;
    println!("breach to weight 0 acknowledged: {:.3} s; {}", taken.to_zero.as_secs_f64(), taken.reason);
    // One interval may pass until the page is read; the rest is ours.
    ensure!(taken.to_zero <= Duration::from_secs(1), "took {:?}", taken.to_zero);
    ensure!(taken.reason.contains("classes") || taken.reason.contains("confidence"), "{}", taken.reason);

    chapters::say("a bare rollback is refused, rollback:<revision> goes back");
    // rule: V1
    let refusal = story.second_press().await?;
    ensure!(refusal.contains("already undone"), "{refusal}");
    let (_, took) = story.back_to_first().await?;
    println!("on-call rollback, annotation to every router: {:.3} s", took.as_secs_f64());
    ensure!(took <= Duration::from_secs(5), "took {took:?}");

    chapters::operator_killed_in_mid_canary(&story).await?;
    chapters::candidate_pods_die_at_half(&story).await?;
    chapters::never_ready_hits_the_deadline(&story).await?;
    chapters::pin_works_without_the_operator(&story).await?;
    chapters::unready_stable_does_not_stop_an_abort(&story).await?;
    chapters::bad_manifests_are_refused(&story)?;
    chapters::copies_take_a_bad_version_back(&story).await?;
    chapters::green_is_previewed_and_switched_to(&story).await?;
    chapters::an_ab_test_is_lost(&story).await?;
    chapters::a_bandit_shares_until_time_is_out(&story).await?;
    chapters::routers_of_its_own(&story).await?;
    chapters::models_come_from_elsewhere(&story).await?;
    chapters::the_scale_subresource_is_followed(&story).await?;
    chapters::pods_follow_the_requests(&story, RATE).await?;
    chapters::on_call_many_times(&story, chapters::rollbacks(20)?).await?;
    chapters::every_pod_is_evicted_in_turn(&story).await?;
    chapters::uninstall_alone_never_stops_serving(&story).await?;

    // Enough requests for the claim, whatever the chapters took.
    while story.load.summary().requests < REQUESTS {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let summary = story.finish().await;
    println!("{summary}\nin {:.0} s", begun.elapsed().as_secs_f64());
    ensure!(summary.failed() == 0, "{} of {} requests failed", summary.failed(), summary.requests);

    chapters::nothing_is_left_but_the_definitions(&node).await
}
