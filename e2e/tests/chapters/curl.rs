//! curl, the client that everybody has: requests one after the other from one process, and a line told of each.

use std::fmt::{Display, Write as _};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::private::Image;

/// What is told of each request, in the order of [`Answer`].
const TOLD: &str = r"%{http_code}\t%{exitcode}\t%{http_version}\t%header{x-sluice-revision}\t%header{x-model-version}\t%header{x-prediction}\t%header{x-sluice-prediction-id}\t%header{set-cookie}\n";

/// What became of one request; what it has not is empty.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// 0 without an answer.
    pub(crate) status: u16,
    /// Why curl is content (0) or not, such as 60: the certificate is not trusted.
    pub(crate) exit: u8,
    /// `2` or `1.1`.
    pub(crate) http: String,
    pub(crate) revision: String,
    pub(crate) version: String,
    pub(crate) prediction: String,
    pub(crate) id: String,
    pub(crate) set_cookie: String,
}

/// Options of curl that hold for each request.
#[derive(Debug, Clone)]
pub(crate) struct Curl(Vec<String>);

impl Curl {
    /// Silent, past any proxy of this machine, at most 10 s a request.
    pub(crate) fn new() -> Self {
        let plain = ["silent", "noproxy = \"*\"", "max-time = 10"];
        Self(plain.map(str::to_owned).to_vec())
    }

    /// One more option with a value.
    pub(crate) fn with(mut self, option: &str, value: impl Display) -> Self {
        self.0.push(format!("{option} = \"{value}\""));
        self
    }

    /// One more option without a value.
    pub(crate) fn flag(mut self, option: &str) -> Self {
        self.0.push(option.to_owned());
        self
    }

    /// Posts each image as a form, one after the other. Never sends anything twice.
    pub(crate) async fn post(
        &self,
        url: &str,
        images: impl IntoIterator<Item = &Image>,
    ) -> Result<Vec<Answer>> {
        let mut config = String::new();
        let mut requests = 0;
        for image in images {
            if requests > 0 {
                config.push_str("next\n");
            }
            requests += 1;
            let path = image.path.display();
            writeln!(config, "{}\nurl = \"{url}\"", self.0.join("\n"))?;
            writeln!(
                config,
                "form = \"file=@{path};type=image/png\"\noutput = \"/dev/null\"\nwrite-out = \"{TOLD}\""
            )?;
        }
        let lines = run(&config).await?;
        let answers = lines.lines().map(Answer::read).collect::<Result<Vec<_>>>()?;
        ensure!(answers.len() == requests, "curl told of {} of {requests} requests: {lines}", answers.len());
        Ok(answers)
    }

    /// Status and body of an answer to a request with these options.
    pub(crate) async fn text(&self, url: &str) -> Result<(u16, String)> {
        let config = format!("{}\nurl = \"{url}\"\nwrite-out = \"\\n%{{http_code}}\"\n", self.0.join("\n"));
        let out = run(&config).await?;
        let (body, status) = out.rsplit_once('\n').context("curl told no status")?;
        Ok((status.parse().context("a status")?, body.to_owned()))
    }
}

impl Answer {
    fn read(line: &str) -> Result<Self> {
        let mut words = line.split('\t').map(str::to_owned);
        let mut next = || words.next().with_context(|| format!("curl told {line:?}"));
        Ok(Self {
            status: next()?.parse().context("a status")?,
            exit: next()?.parse().context("an exit code")?,
            http: next()?,
            revision: next()?,
            version: next()?,
            prediction: next()?,
            id: next()?,
            set_cookie: next()?,
        })
    }
}

/// Its exit code is that of the last request: each is told of by itself.
async fn run(config: &str) -> Result<String> {
    let mut child = Command::new("curl")
        .args(["--disable", "--config", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("curl cannot be started (hack/ground installs it)")?;
    let mut input = child.stdin.take().context("the pipe was asked for above")?;
    input.write_all(config.as_bytes()).await?;
    drop(input);
    let output = child.wait_with_output().await?;
    Ok(String::from_utf8(output.stdout)?)
}
