//! Pods that a team changes: `spec.server.template`, and an API server that does not take it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::{ModelDeployment, ModelDeploymentStatus, names};
use e2e::trial::{NAME, Trial, is_healthy, spec, with};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::{condition, ended, outcome};

/// What is put on and must stay so, before anyone says that nothing more is done.
const REST: Duration = Duration::from_secs(4);

fn overlaid(version: &str, template: &Value) -> Value {
    with(spec(version), &[("/server", json!({"template": template}))])
}

/// What a team with accelerators and a proxy of its own has; 1024Mi is what the API server writes as 1Gi.
fn good() -> Value {
    json!({
        "metadata": {"labels": {"team": "vision"}},
        "spec": {
            "nodeSelector": {"accelerator": "a"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "containers": [
                {"name": "server", "env": [{"name": "OMP_NUM_THREADS", "value": "2"}]},
                {"name": "proxy", "image": "proxy:test", "resources": {"limits": {"memory": "1024Mi"}}},
            ],
        },
    })
}

fn misspelt() -> Value {
    json!({"spec": {"tolerationz": [{"key": "gpu", "operator": "Exists"}]}})
}

fn is_refused(status: &ModelDeploymentStatus, field: &str) -> bool {
    ["Progressing", "SpecServed"].iter().all(|kind| {
        condition(status, kind).is_some_and(|c| {
            c.status == "False"
                && c.reason == "InvalidSpec"
                && c.message.contains("spec.server.template")
                && c.message.contains(field)
        })
    })
}

/// Names of all that a rollout makes.
async fn made(trial: &Trial) -> Result<BTreeSet<String>> {
    let all = ListParams::default();
    let mut made: BTreeSet<String> = trial.rollouts().await?.iter().map(ResourceExt::name_any).collect();
    made.extend(trial.api::<Deployment>().list(&all).await?.iter().map(ResourceExt::name_any));
    let revisions = trial.api::<ControllerRevision>().list(&all).await?;
    made.extend(revisions.iter().map(|revision| format!("revision {}", revision.name_any())));
    Ok(made)
}

async fn version(trial: &Trial) -> Result<Option<String>> {
    Ok(trial.api::<ModelDeployment>().get(NAME).await?.resource_version())
}

async fn is_answered(trial: &Trial) -> Result<Option<()>> {
    let object = trial.api::<ModelDeployment>().get(NAME).await?;
    let (asked, done) =
        (object.annotations().get(names::ACTION), object.annotations().get(names::ACTION_DONE));
    Ok((asked.is_none() && done.is_some()).then_some(()))
}

#[tokio::test]
async fn an_overlay_arrives_in_the_pods_of_the_first_version() -> Result<()> {
    // rule: I1
    let trial = Trial::start("overlay").await?;
    let first = trial.serve_first(&overlaid("1.0.0", &good())).await?;
    let deployment = trial.api::<Deployment>().get(&first).await?;
    let template = serde_json::to_value(&deployment.spec.context("a spec")?.template)?;
    ensure!(template["metadata"]["labels"]["team"] == "vision", "{template}");
    ensure!(template["metadata"]["labels"][names::REVISION] == *first, "{template}");
    let pod = &template["spec"];
    ensure!(pod["nodeSelector"] == json!({"accelerator": "a"}), "{pod}");
    ensure!(
        pod["tolerations"] == json!([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]),
        "{pod}"
    );
    let of =
        |name: &str| pod["containers"].as_array().and_then(|all| all.iter().find(|c| c["name"] == *name));
    let server = of("server").context("the server")?;
    let env = server["env"].as_array().context("its variables")?;
    ensure!(env.contains(&json!({"name": "OMP_NUM_THREADS", "value": "2"})), "{env:?}");
    ensure!(env.contains(&json!({"name": "SLUICE_LOG_FORMAT", "value": "json"})), "{env:?}");
    ensure!(server["image"] == "server:test" && server["readinessProbe"].is_object(), "{server}");
    ensure!(of("proxy").context("the sidecar")?["image"] == "proxy:test", "{pod}");

    // What was frozen is what the API server stores: nothing is applied over and over.
    let before = trial.api::<Deployment>().get(&first).await?.metadata.generation;
    tokio::time::sleep(REST).await;
    ensure!(trial.api::<Deployment>().get(&first).await?.metadata.generation == before);
    Ok(())
}

#[tokio::test]
async fn an_overlay_that_the_api_server_refuses_makes_nothing_until_it_is_repaired() -> Result<()> {
    // rule: K8, I1
    let (trial, proxy) = Trial::through_a_proxy("misspelt").await?;
    let first = trial.serve_first(&spec("1.0.0")).await?;
    ensure!(proxy.dry_runs() == 0, "a spec without an overlay is not tried");
    let before = made(&trial).await?;
    let wrong_type = json!({"spec": {"priority": "high"}});
    for (overlay, field, asked) in [(misspelt(), "tolerationz", 1), (wrong_type, "priority", 2)] {
        trial.apply(&overlaid("1.1.0", &overlay)).await?;
        trial.until(10, "the refusal", |s| is_refused(s, field)).await?;
        let told = async || {
            let events = trial.events("InvalidSpec").await?;
            Ok(events.into_iter().find(|message| message.contains(field)))
        };
        trial.eventually(5, "the event", told).await?;
        let rest = version(&trial).await?;
        tokio::time::sleep(REST).await;
        ensure!(version(&trial).await? == rest, "{field}: the status is written again and again");
        ensure!(proxy.dry_runs() == asked, "{field}: tried {} times", proxy.dry_runs());
        let events = trial.events("InvalidSpec").await?;
        ensure!(events.len() == asked, "{field}: {events:?}");
        ensure!(made(&trial).await? == before, "{field}: {:?}", made(&trial).await?);
    }
    let status = trial.status().await?;
    ensure!(status.stable.is_some_and(|stable| stable.revision == first));
    trial.served(&first, 100.0, 5).await?;
    trial.act("retry").await?;
    trial.eventually(10, "an answer to the verb", async || is_answered(&trial).await).await?;
    ensure!(made(&trial).await? == before, "a verb makes nothing of it: {:?}", made(&trial).await?);

    trial.apply(&overlaid("1.1.0", &good())).await?;
    trial.until(40, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    ensure!(outcome(&ended(&trial, 2).await?) == Some(api::Outcome::Promoted));
    ensure!(proxy.dry_runs() == 3, "tried {} times", proxy.dry_runs());
    Ok(())
}

#[tokio::test]
async fn a_refused_overlay_is_not_in_the_way_of_a_rollback() -> Result<()> {
    // rule: V1
    let trial = Trial::start("way").await?;
    let first = trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&spec("1.1.0")).await?;
    trial.until(30, "1.1.0 to be promoted", |s| is_healthy(s, "1.1.0")).await?;
    trial.apply(&overlaid("1.2.0", &misspelt())).await?;
    trial.until(10, "the refusal", |s| is_refused(s, "tolerationz")).await?;

    let asked = trial.act("rollback").await?;
    let back = trial.served(&first, 100.0, 10).await?;
    println!("rollback under a refused overlay: 100 % served {:?} after the annotation", back - asked);
    trial.eventually(10, "an answer to the verb", async || is_answered(&trial).await).await?;
    let revisions = trial.api::<ControllerRevision>().list(&ListParams::default()).await?;
    ensure!(revisions.items.len() == 2, "one was made of what is refused: {revisions:?}");
    Ok(())
}

#[tokio::test]
async fn an_operator_that_starts_asks_nothing_of_what_is_stored_and_starts_nothing() -> Result<()> {
    // rule: I1, I2
    let mut trial = Trial::start("again").await?;
    let first = trial.serve_first(&overlaid("1.0.0", &good())).await?;
    let (before, pods) = (made(&trial).await?, trial.api::<Deployment>().get(&first).await?);
    trial.operator.take().context("it runs")?.terminate().await?;
    let proxy = trial.proxy().await?;
    trial.operator = Some(trial.operator_through(&proxy, "operator-1").await?);

    trial.apply(&with(overlaid("1.0.0", &good()), &[("/replicas", json!(3))])).await?;
    trial.until(20, "the new one to act", |s| s.replicas == 3 && is_healthy(s, "1.0.0")).await?;
    tokio::time::sleep(REST).await;
    ensure!(made(&trial).await? == before, "{:?}", made(&trial).await?);
    ensure!(proxy.dry_runs() == 0, "tried {} times", proxy.dry_runs());
    let template = |deployment: Deployment| deployment.spec.map(|spec| spec.template);
    ensure!(template(trial.api::<Deployment>().get(&first).await?) == template(pods));
    Ok(())
}

#[tokio::test]
async fn an_operator_that_starts_does_not_tell_of_a_refusal_again() -> Result<()> {
    let mut trial = Trial::start("told").await?;
    trial.serve_first(&spec("1.0.0")).await?;
    trial.apply(&overlaid("1.1.0", &misspelt())).await?;
    trial.until(10, "the refusal", |s| is_refused(s, "tolerationz")).await?;
    let told = async || Ok((trial.events("InvalidSpec").await?.len() == 1).then_some(()));
    trial.eventually(5, "the event", told).await?;
    trial.operator.take().context("it runs")?.terminate().await?;
    let rest = version(&trial).await?;
    let proxy = trial.proxy().await?;
    trial.operator = Some(trial.operator_through(&proxy, "operator-1").await?);

    let asked = async || Ok((proxy.dry_runs() > 0).then_some(()));
    trial.eventually(20, "the new one to ask", asked).await?;
    tokio::time::sleep(REST + Duration::from_secs(2)).await;
    ensure!(proxy.dry_runs() == 1, "tried {} times", proxy.dry_runs());
    ensure!(version(&trial).await? == rest, "{:?}", trial.status().await?);
    ensure!(trial.events("InvalidSpec").await?.len() == 1);
    Ok(())
}
