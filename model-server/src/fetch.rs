//! `model-server fetch`: gets an artefact and tells how far it is.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, value_parser};
use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use sources::{FetchError, Fetched, Limits, Patience, Request, Tally, Uri};

/// Time between two lines of progress where nobody watches a bar.
const LINES: Duration = Duration::from_secs(5);

/// What `fetch` is told.
#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// Where the artefact is: s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH, https://HOST/PATH/ (a folder, of which
    /// the known names are asked for), https://HOST/PATH.tar (.tar.gz, .tgz), or file:///PATH. http:// likewise, with
    /// --sha256.
    #[arg(long)]
    pub(crate) uri: Uri,
    /// Folder that the artefact becomes; not a mount point, but a folder within one.
    #[arg(long)]
    pub(crate) to: PathBuf,
    /// Digest that the artefact must have, as `model-server digest` prints it. One that is there already is not fetched.
    #[arg(long, value_parser = crate::args::serve::sha256)]
    pub(crate) sha256: Option<String>,
    /// Replace another artefact that is there.
    #[arg(long)]
    pub(crate) replace: bool,
    /// Bytes of the artefact, at most; of an archive, packed and unpacked.
    #[arg(long, default_value_t = Limits::default().bytes, value_parser = value_parser!(u64).range(1..=1 << 40))]
    pub(crate) max_bytes: u64,
    /// Files of the artefact, at most.
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) max_files: u32,
    /// Time for all of it.
    #[arg(long, default_value = "30m", value_parser = crate::args::serve::duration)]
    pub(crate) timeout: Duration,
    /// Longest time without an answer, or without the next piece of one.
    #[arg(long, default_value = "30s", value_parser = crate::args::serve::duration)]
    pub(crate) stall: Duration,
    /// How often a file is asked for again, all its failures together.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(..=100))]
    pub(crate) retries: u32,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Fetches, until it is done, out of time, or stopped by a signal.
pub(crate) fn run(args: Fetch) -> Result<(Fetched, bool)> {
    admin::init_tracing()?;
    let request = Request {
        uri: args.uri,
        to: args.to,
        sha256: args.sha256,
        replace: args.replace,
        limits: Limits { bytes: args.max_bytes, files: args.max_files as usize },
        patience: Patience { stall: args.stall, retries: args.retries, ..Patience::default() },
        variables: crate::args::variables(),
    };
    let shown = Shown::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let fetched = runtime.block_on(async {
        let tell = |tally| shown.tell(tally);
        tokio::select! {
            done = tokio::time::timeout(args.timeout, sources::fetch(&request, &tell)) => match done {
                Ok(done) => Ok(done?),
                Err(_) => bail!("not done within {:?} (--timeout); the next fetch goes on from here", args.timeout),
            },
            () = admin::shutdown_signal() => bail!("stopped by a signal; the next fetch goes on from here"),
        }
    });
    shown.end();
    // A hash of a large file must not hold the exit.
    runtime.shutdown_background();
    Ok((fetched?, args.json))
}

/// Whether the same command may succeed later.
pub(crate) fn is_passing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<FetchError>().is_none_or(FetchError::is_passing)
}

/// Progress on stderr: a bar on a terminal, else a line of the log now and then.
struct Shown {
    bar: Option<ProgressBar>,
    told: Mutex<Instant>,
}

impl Shown {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style =
                "{bar:40} {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left  {msg}";
            ProgressBar::new(0)
                .with_style(ProgressStyle::with_template(style).expect("the template is valid"))
        });
        Self { bar, told: Mutex::new(Instant::now()) }
    }

    fn tell(&self, tally: Tally) {
        let Tally { files, of_files, bytes, of_bytes } = tally;
        if let Some(bar) = &self.bar {
            bar.set_length(of_bytes.max(bytes));
            bar.set_position(bytes);
            bar.set_message(format!("{files}/{of_files} files"));
            return;
        }
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.elapsed() >= LINES {
            *told = Instant::now();
            let (done, all) = (BinaryBytes(bytes), BinaryBytes(of_bytes.max(bytes)));
            tracing::info!(files, of_files, bytes, of_bytes, "{done} of {all}");
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
