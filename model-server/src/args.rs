//! The command line. Flags of `serve` can be given as `SLUICE_*` variables too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, value_parser};
use model_server::Output;
use model_server::corrupt::Corruption;

const fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

/// Trains, checks and serves image classifiers.
#[derive(Debug, Parser)]
#[command(name = "model-server", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prepare data sets.
    #[command(subcommand)]
    Data(Data),
    /// Train a model and write its artefact directory.
    Train(Train),
    /// Print the digest of an artefact directory (the `sha256` of a ModelDeployment).
    Digest {
        /// Artefact directory.
        directory: PathBuf,
    },
    /// Measure accuracy offline, through the preprocessing and engine of `serve`.
    Evaluate(Evaluate),
    /// Corrupt the images of a data file in known ways, and write what the model says of each.
    ///
    /// Prints accuracy, mean confidence and the number of predicted classes for each corruption and severity as it
    /// goes. For images that the model has not seen, hand in test.bin: `data digits` keeps it apart from training
    /// and reference profile.
    SimulateDrift(SimulateDrift),
    /// Answer requests.
    Serve(Serve),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// Write train.bin, test.bin and classes.txt (CIFAR-10's binary format) from scikit-learn's digits.
    Digits {
        /// digits.csv.gz, as `hack/digits` fetches it.
        #[arg(long)]
        csv: PathBuf,
        /// Directory to write into.
        #[arg(long)]
        out: PathBuf,
        /// Seed of the split.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Write the images of a data file as PNG, with labels.json (file name to class).
    Images {
        /// A data file such as test.bin; class names lie beside it.
        #[arg(long)]
        data: PathBuf,
        /// Directory to write into.
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Train {
    /// Directory with train.bin and test.bin, or with CIFAR-10's data_batch_*.bin and test_batch.bin.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Artefact directory to write; must not exist.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Semantic version of the model.
    #[arg(long, value_parser = version)]
    pub(crate) version: String,
    /// Passes over the images.
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) epochs: u32,
    /// Images per step.
    #[arg(long, default_value_t = 32, value_parser = value_parser!(u32).range(1..=65_536))]
    pub(crate) batch_size: u32,
    /// Step size of Adam.
    #[arg(long, default_value_t = 0.001, value_parser = positive)]
    pub(crate) learning_rate: f64,
    /// Largest random shift of an image in training, in pixels.
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u32).range(..=16))]
    pub(crate) shift: u32,
    /// Folds of the reference profile: its answers come from models that did not see the image.
    #[arg(long, default_value_t = 5, value_parser = value_parser!(u32).range(2..=100))]
    pub(crate) folds: u32,
    /// Seed of weights, order, shifts and folds.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Trainings side by side; changes nothing but the time. [default: number of cores]
    #[arg(long, value_parser = at_least_one)]
    pub(crate) jobs: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct Evaluate {
    /// Artefact directory.
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// Data file, such as test.bin; class names lie beside it.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write every answer to this file, as a JSON list of index, label, prediction, confidence.
    #[arg(long)]
    pub(crate) predictions: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SimulateDrift {
    /// Artefact directory.
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// Data file, such as test.bin; class names lie beside it.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// File to write: a line per image and condition, with corruption, severity, index, label, prediction,
    /// confidence, brightness, contrast, sharpness.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Write JSON objects, one a line, in place of CSV.
    #[arg(long)]
    pub(crate) json: bool,
    /// Seed of noise, of textures, and of which images a mix changes.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// What to do to the images. With the constants of CIFAR-10-C: gaussian_noise, shot_noise, impulse_noise,
    /// gaussian_blur, brightness, contrast, pixelate, jpeg. Another domain for 2, 5, 10, 25, 100 % of the
    /// images: rotation, channel_swap, texture. Or none. [default: all]
    #[arg(long, value_delimiter = ',')]
    pub(crate) corruptions: Vec<Corruption>,
    /// Severities, 1 (least) to 5.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,4,5", value_parser = value_parser!(u8).range(1..=5))]
    pub(crate) severities: Vec<u8>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Artefact directory.
    #[arg(long, env = "SLUICE_MODEL")]
    pub(crate) model: PathBuf,
    /// Version that the artefact must have.
    #[arg(long, env = "SLUICE_VERSION", value_parser = version)]
    pub(crate) version: String,
    /// Name of the revision, told in answers.
    #[arg(long, env = "SLUICE_REVISION")]
    pub(crate) revision: String,
    /// Name of the model under /v2. [default: the name of the revision without its last part]
    #[arg(long, env = "SLUICE_NAME")]
    pub(crate) name: Option<String>,
    /// What /v2 answers with.
    #[arg(long, env = "SLUICE_INFER_OUTPUT", value_enum, default_value_t = Output::Probabilities)]
    pub(crate) infer_output: Output,
    /// Digest that the artefact must have.
    #[arg(long, env = "SLUICE_SHA256", value_parser = sha256)]
    pub(crate) sha256: Option<String>,
    /// Address of the public port.
    #[arg(long, env = "SLUICE_LISTEN", default_value_t = any(wire::endpoint::SERVER_PORT))]
    pub(crate) listen: SocketAddr,
    /// Address of the admin port: /livez, /readyz, /metrics, /profile.
    #[arg(long, env = "SLUICE_ADMIN", default_value_t = any(wire::endpoint::ADMIN_PORT))]
    pub(crate) admin: SocketAddr,
    /// Longest time from SIGTERM to the end, such as 20s; the default outlasts the router's request timeout (30 s).
    #[arg(long, env = "SLUICE_DRAIN", default_value = "31s", value_parser = duration)]
    pub(crate) drain: Duration,
    /// Threads that run the model. [default: number of cores]
    #[arg(long, env = "SLUICE_WORKERS", value_parser = at_least_one)]
    pub(crate) workers: Option<usize>,
    /// Threads of one operation within the model; more than one rarely pays beside several workers.
    #[arg(long, env = "SLUICE_THREADS", default_value_t = 1, value_parser = at_least_one)]
    pub(crate) threads: usize,
    /// Images that may wait or be worked on; beyond it, 429.
    #[arg(long, env = "SLUICE_QUEUE", default_value_t = 256, value_parser = at_least_one)]
    pub(crate) queue: usize,
    /// Images of one request; at most the queue.
    #[arg(long, env = "SLUICE_MAX_IMAGES", default_value_t = 32, value_parser = at_least_one)]
    pub(crate) max_images: usize,
    /// Images that the model is given together, those of several requests; each size is warmed up before the server is
    /// ready.
    #[arg(long, env = "SLUICE_MAX_BATCH", default_value_t = 32, value_parser = batch)]
    pub(crate) max_batch: usize,
    /// For how long a free model waits for a batch to fill, such as 2ms. Without, a batch is what came while it was busy.
    #[arg(long, env = "SLUICE_BATCH_DELAY", default_value = "0s", value_parser = duration)]
    pub(crate) batch_delay: Duration,
    /// Numbers in which the model computes. bf16 is faster on a processor with AMX, and is not used on others, nor where
    /// it changes a probability by more than 0.05.
    #[arg(long, env = "SLUICE_PRECISION", value_enum, default_value_t)]
    pub(crate) precision: Precision,
    /// Largest body, in bytes.
    #[arg(long, env = "SLUICE_MAX_BODY", default_value_t = 8 << 20, value_parser = at_least_one)]
    pub(crate) max_body: usize,
    /// Bodies above 256 KiB held at one time, in bytes; beyond it, 429. At least --max-body. Smaller bodies have
    /// 16 MiB of their own.
    #[arg(long, env = "SLUICE_MAX_BUFFERED", default_value_t = 64 << 20, value_parser = at_least_one)]
    pub(crate) max_buffered: usize,
    /// Pixels of all images of a request together.
    #[arg(long, env = "SLUICE_MAX_PIXELS", default_value_t = 4 << 20, value_parser = value_parser!(u64).range(1..=1 << 28))]
    pub(crate) max_pixels: u64,
    /// Requests with large images (above 65,536 pixels) that are decoded at one time; beyond it, 429.
    #[arg(long, env = "SLUICE_DECODERS", default_value_t = 4, value_parser = at_least_one)]
    pub(crate) decoders: usize,
    /// Writes a line of JSON for each image: a file, which makes place for the next at 64 MiB, or - for stdout. Lines that the
    /// output is too slow for are dropped and counted. [default: none]
    #[arg(long, env = "SLUICE_PREDICTION_LOG")]
    pub(crate) prediction_log: Option<String>,
    /// Open connections.
    #[arg(long, env = "SLUICE_MAX_CONNECTIONS", default_value_t = 1024, value_parser = at_least_one)]
    pub(crate) max_connections: usize,
}

/// Numbers in which a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Precision {
    /// 32 bits.
    #[default]
    Fp32,
    /// 16 bits.
    Bf16,
}

fn version(text: &str) -> Result<String, String> {
    match semver::Version::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; a semantic version is meant, such as 1.2.0")),
    }
}

fn sha256(text: &str) -> Result<String, String> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if text.len() == 64 && text.bytes().all(hex) {
        return Ok(text.to_owned());
    }
    Err("64 lower-case hex digits are meant, as `model-server digest` prints".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let read = text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok());
    let max = Duration::from_secs(3600);
    read.filter(|d| *d <= max).ok_or_else(|| "0s to 1h is meant, such as 20s or 1m30s".to_owned())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    // What fits a semaphore of tokio on every platform, and far more than any setting needs.
    let range = 1..=(1usize << 30);
    text.parse().ok().filter(|n| range.contains(n)).ok_or_else(|| "1..=1073741824 is meant".to_owned())
}

fn batch(text: &str) -> Result<usize, String> {
    // Each size is warmed up.
    text.parse().ok().filter(|n| (1..=256).contains(n)).ok_or_else(|| "1..=256 is meant".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let read: Option<f64> = text.parse().ok();
    read.filter(|v| v.is_finite() && *v > 0.0).ok_or_else(|| "a number above 0 is meant".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_operator_s_line_is_understood() {
        let line = "model-server serve --model /m --version 1.1.0 --revision digits-1 --drain 1m30s";
        let Command::Serve(serve) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        assert_eq!(serve.listen, "0.0.0.0:8000".parse().unwrap());
        assert_eq!(serve.admin, "0.0.0.0:9091".parse().unwrap());
        assert_eq!(serve.drain, Duration::from_secs(90));
        for wrong in ["--version 1.1", "--sha256 AB", "--drain 2h", "--workers 0"] {
            let line = format!("model-server serve --model /m --version 1.1.0 --revision digits-1 {wrong}");
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{wrong}");
        }
    }

    #[test]
    fn conditions_of_a_simulation_are_lists() {
        let line = "model-server simulate-drift --model /m --data t.bin --out o.csv";
        let read = |more: &str| match Cli::try_parse_from(format!("{line}{more}").split(' ')) {
            Ok(Cli { command: Command::SimulateDrift(args) }) => Ok((args.corruptions, args.severities)),
            Ok(_) => panic!(),
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(read(""), Ok((vec![], vec![1, 2, 3, 4, 5])));
        let some = read(" --corruptions none,jpeg --severities 1,3");
        assert_eq!(some, Ok((vec![Corruption::None, Corruption::Jpeg], vec![1, 3])));
        let error = read(" --corruptions fog").unwrap_err();
        assert!(
            error.contains("--corruptions") && error.contains("allowed: none, gaussian_noise"),
            "{error}"
        );
        assert!(read(" --severities 0").unwrap_err().contains("1..=5"));
    }
}
