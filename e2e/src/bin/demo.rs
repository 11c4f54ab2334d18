//! `make demo`: a good version rolls out, a bad one rolls back, on a real node. Exits with 0 only if all of
//! it happened.
#![allow(clippy::print_stdout, reason = "the terminal is where the story is told")]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::load::Summary;
use e2e::node::story::{NAME, Story};
use e2e::node::{Change, Manifest, Models, Node};

/// Requests per second of the client.
const RATE: u32 = 100;

/// Prints with the seconds since the start.
#[derive(Clone, Copy)]
struct Teller(Instant);

impl Teller {
    fn chapter(self, title: &str) {
        println!("\n[{:>6.1} s] == {title}", self.0.elapsed().as_secs_f64());
    }

    fn say(self, line: &str) {
        println!("[{:>6.1} s]    {line}", self.0.elapsed().as_secs_f64());
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let tell = Teller(Instant::now());
    tell.chapter("a real Kubernetes node in a network namespace of its own (hack/cluster)");
    let node = Node::up()?;
    tell.chapter("three versions of a small CNN, trained on 1,437 handwritten digits");
    let models = Models::prepare()?;
    versions(tell, &models)?;

    tell.chapter("helm install, and 1.0.0 serves");
    // A demo that was run before leaves its objects; the story starts from nothing. On a new cluster the kind
    // does not exist yet, which is just as well.
    let old = ["delete", "modeldeployments.sluice.dev", NAME, "--cascade=foreground", "--timeout=90s"];
    node.kubectl(&old).ok();
    print!("{}", indent(&Manifest::new(models.first()).yaml()));
    let heard = move |change: &Change| tell.say(&change.line());
    let story = Story::begin(node, models, RATE, heard).await?;
    tell.say(&format!("a client sends {RATE} real images per second from now on, and never retries"));

    tell.chapter("1.1.0 is better: 10 %, 50 %, promoted, by itself");
    let took = story.good_version().await?;
    tell.say(&format!("promoted after {:.1} s", took.as_secs_f64()));

    tell.chapter("1.2.0 answers fast, without errors, and wrongly");
    let taken = story.bad_version().await?;
    tell.say(&format!("why: {}", taken.reason));
    tell.say(&format!("from the breach until every router served 0 %: {:.3} s", taken.to_zero.as_secs_f64()));
    ensure!(taken.to_zero <= Duration::from_secs(1), "that is more than one second");
    tell.say(&format!(
        "users saw it for {:.1} s, at 10 %; nobody touched anything",
        taken.exposed.as_secs_f64()
    ));

    tell.chapter("on call presses rollback: refused, it is undone already");
    let refusal = story.second_press().await?;
    tell.say(&refusal);

    tell.chapter("on call wants 1.0.0 back");
    let (revision, took) = story.back_to_first().await?;
    tell.say(&format!(
        "kubectl annotate modeldeployment {NAME} sluice.dev/action=rollback:{revision} --overwrite"
    ));
    tell.say(&format!("every router served it after {:.3} s: it was still warm", took.as_secs_f64()));

    tell.chapter("what the client saw");
    let trail = story.node.kubectl(&["get", "modelrollouts.sluice.dev"])?;
    let kubeconfig = story.node.kubeconfig().to_owned();
    let summary = story.finish().await;
    count(tell, &summary)?;
    println!("\n{}", indent(&trail));
    println!("    Look around:   eval \"$(hack/cluster env)\"; kubectl describe modeldeployment {NAME}");
    println!("                   (KUBECONFIG={kubeconfig})");
    println!("    Remove it all: make demo-down");
    tell.chapter("done");
    Ok(())
}

fn versions(tell: Teller, models: &Models) -> Result<()> {
    for version in &models.versions {
        tell.say(&format!(
            "{}: {:.1} % of 360 held-out images right, offline",
            version.version,
            100.0 * version.accuracy
        ));
    }
    let (better, bad) = (models.better().accuracy, models.bad().accuracy);
    ensure!(models.first().accuracy < better, "1.1.0 is not better than 1.0.0");
    ensure!(better - bad >= 0.20, "1.2.0 is not bad enough for the story: it lost less than 20 points");
    tell.say("1.2.0 is a good model whose metadata.json was edited: its pixels are divided by 255 twice");
    Ok(())
}

fn count(tell: Teller, summary: &Summary) -> Result<()> {
    tell.say(&summary.to_string());
    ensure!(summary.failed() == 0, "{} requests failed", summary.failed());
    Ok(())
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
