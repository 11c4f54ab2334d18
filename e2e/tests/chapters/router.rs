//! What clients of routers get beside answers: TLS, a place that a cookie keeps, and a line in a log.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::node::Manifest;
use e2e::node::story::Story;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::curl::{Answer, Curl};
use super::private::{HOST, Image, Private, Router, access_log, to};
use super::{labels, say, tripwire};

/// Longest time from the change of a Secret to the last router that serves it: the kubelet looks at a pod's Secrets once a
/// minute or so, the router at its files every few seconds.
const RENEWAL: Duration = Duration::from_secs(150);
/// What curl exits with when it does not trust a certificate.
const UNTRUSTED: u8 = 60;
/// The cookie that keeps users in their place.
const COOKIE: &str = "place";

/// A second deployment with routers that do all that routers can; it comes and goes here.
pub(crate) async fn routers_of_its_own(story: &Story) -> Result<()> {
    let failed = story.load.summary().failed();
    let private = Private::begin(story).await?;
    let renewal = clients_come_by_tls(&private).await?;
    a_cookie_keeps_its_version(&private).await?;
    a_request_is_found_in_the_access_log(&private).await?;
    labels::take_a_bad_version_back(&private).await?;
    tripwire::stops_a_failing_candidate_without_the_operator(&private).await?;
    tripwire::stops_a_deaf_candidate(&private).await?;
    a_renewed_certificate_is_served(&private, renewal).await?;
    private.end()?;
    ensure!(story.load.summary().failed() == failed, "requests were lost: {}", story.load.summary());
    Ok(())
}

/// Where images are posted.
pub(crate) fn url() -> String {
    format!("https://{HOST}/predict-file")
}

/// Both versions of HTTP on port 443, by a certificate that a client must trust. Then the Secret gets another one.
async fn clients_come_by_tls(private: &Private<'_>) -> Result<Renewal> {
    say("curl comes by TLS, with HTTP/2 and HTTP/1.1");
    let trusting = private.stranger().with("cacert", private.certificate("first").display());
    for (flag, version) in [("http2", "2"), ("http1.1", "1.1")] {
        let answers = trusting.clone().flag(flag).post(&url(), private.images(10)).await?;
        let good = |a: &&Answer| a.status == 200 && a.http == version && a.version == "1.0.0";
        ensure!(answers.iter().filter(good).count() == 10, "{flag}: {answers:?}");
    }
    let doubting = private.stranger().with("cacert", private.certificate("second").display());
    let refused = doubting.post(&url(), private.images(1)).await?;
    ensure!(
        refused.iter().all(|a| (a.status, a.exit) == (0, UNTRUSTED)),
        "it trusts what it does not know: {refused:?}"
    );
    println!("TLS: 10 of 10 answers by HTTP/2, 10 of 10 by HTTP/1.1; another certificate is not trusted");
    renew(private)
}

/// A change of the Secret on its way.
struct Renewal {
    /// The routers at its start.
    routers: Vec<Router>,
    /// Ends with the time until every router served the second certificate, and no longer the first.
    served: JoinHandle<Result<Duration>>,
}

fn renew(private: &Private<'_>) -> Result<Renewal> {
    let routers = private.routers()?;
    let trusting = |name| -> Vec<Curl> {
        let file = private.certificate(name);
        routers.iter().map(|router| to(router).with("cacert", file.display())).collect()
    };
    let (first, second) = (trusting("first"), trusting("second"));
    private.use_certificate("second")?;
    let start = Instant::now();
    let served = tokio::spawn(async move {
        for curl in &second {
            while !shakes_hands(curl).await? {
                ensure!(start.elapsed() < RENEWAL, "the first certificate serves on after {RENEWAL:?}");
                sleep(Duration::from_secs(1)).await;
            }
        }
        let took = start.elapsed();
        for (old, new) in first.iter().zip(&second) {
            ensure!(shakes_hands(new).await? && !shakes_hands(old).await?, "the first certificate is back");
        }
        Ok(took)
    });
    Ok(Renewal { routers, served })
}

/// Whether a router is trusted. It is asked while others try broken candidates: what comes of a GET is not their concern.
async fn shakes_hands(curl: &Curl) -> Result<bool> {
    Ok(curl.text(&format!("https://{HOST}/ping")).await?.0 != 0)
}

async fn ask(curl: &Curl, image: &Image) -> Result<Answer> {
    Ok(curl.post(&url(), [image]).await?.remove(0))
}

async fn a_renewed_certificate_is_served(private: &Private<'_>, renewal: Renewal) -> Result<()> {
    say("the renewed certificate is served, by the same processes");
    let took = renewal.served.await??;
    ensure!(private.routers()? == renewal.routers, "other processes serve it: {:?}", private.routers()?);
    println!(
        "TLS: every router served the renewed certificate {:.0} s after its Secret changed",
        took.as_secs_f64()
    );
    Ok(())
}

/// At 50 %, whoever has a cookie stays with the version that it was drawn for, at every router.
async fn a_cookie_keeps_its_version(private: &Private<'_>) -> Result<()> {
    say("at 50 %, a cookie keeps its version");
    let sticky = Manifest {
        routing: format!("{{sticky: {{cookie: {COOKIE}}}}}"),
        ..private.manifest(private.story.models.better())
    };
    private.at_half(&sticky).await?;
    let image = private.image();
    let mut users = BTreeMap::new();
    let mut drawn = 0;
    // Forty users of the same version would be one in 5e11.
    while users.len() < 2 && drawn < 40 {
        let jar = private.file(&format!("jar-{drawn}"));
        let newcomer = private.client()?.with("cookie-jar", jar.display());
        let answer = ask(&newcomer, &image).await?;
        let given =
            answer.set_cookie.starts_with(&format!("{COOKIE}=")) && answer.set_cookie.contains("HttpOnly");
        ensure!(answer.status == 200 && given, "a newcomer gets no cookie: {answer:?}");
        users.insert(answer.version, jar);
        drawn += 1;
    }
    ensure!(users.len() == 2, "{drawn} users, and all of them {:?}", users.keys());
    let routers = private.routers()?;
    for (version, jar) in &users {
        for router in &routers {
            let user = private.client_of(router)?.with("cookie", jar.display());
            let answers = user.post(&url(), private.images(50)).await?;
            let stays = |a: &&Answer| a.status == 200 && a.version == *version && a.set_cookie.is_empty();
            ensure!(answers.iter().filter(stays).count() == 50, "of {version}: {answers:?}");
        }
    }
    println!(
        "cookies: 2 users stayed with {:?} for 100 requests each, half of them at each router",
        users.keys()
    );
    Ok(())
}

/// The line of a request that a client has named.
async fn a_request_is_found_in_the_access_log(private: &Private<'_>) -> Result<()> {
    say("a request is found in the access log by its id");
    let id = format!("e2e-{:032x}", rand::random::<u128>());
    let named = private.client()?.with("header", format!("x-request-id: {id}"));
    let answer = ask(&named, &private.image()).await?;
    let deadline = Instant::now() + Duration::from_secs(10);
    let lines = loop {
        let mut lines = Vec::new();
        for router in private.routers()? {
            lines.extend(access_log(&private.story.node, &router)?);
        }
        lines.retain(|line| line["requestId"] == *id);
        if !lines.is_empty() {
            break lines;
        }
        ensure!(Instant::now() < deadline, "no router has logged {id}");
        sleep(Duration::from_millis(200)).await;
    };
    let [line] = &lines[..] else { anyhow::bail!("one request, and {lines:?}") };
    let told = [&line["revision"], &line["answeredBy"]].iter().all(|name| **name == *answer.revision);
    ensure!(told && line["status"] == 200 && line["protocol"] == "HTTP/2", "{answer:?}, and {line}");
    println!(
        "access log: {} {} by {} in {} ms",
        line["path"], line["status"], line["revision"], line["durationMs"]
    );
    private.abort().await
}
