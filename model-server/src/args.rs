//! The command line. Flags of `serve` can be given as `SLUICE_*` variables too.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, value_parser};
use model_server::corrupt::Corruption;

pub(crate) mod review;
pub(crate) mod serve;

pub(crate) use review::Review;
pub(crate) use serve::Serve;

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
    /// Fetch an artefact from an object store or a web server, and put it in its place once it is complete.
    ///
    /// What was fetched before an end, however sudden, is not fetched again by the next call with the same --uri and --to; it lies
    /// beside the folder until then. Credentials and endpoints come from the variables that the programs of the providers
    /// read: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL;
    /// GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_SERVICE_ACCOUNT_KEY, GOOGLE_BASE_URL; AZURE_STORAGE_ACCOUNT_NAME,
    /// AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_ENDPOINT. Without, requests are not signed.
    ///
    /// Exit codes: 0 it is there; 1 not now, the same call may succeed later; 2 the command line is wrong; 3 refused: it is
    /// missing, forbidden, too much, or not what was asked for.
    Fetch(crate::fetch::Fetch),
    /// Measure accuracy offline, through the preprocessing and engine of `serve`.
    Evaluate(Evaluate),
    /// Corrupt the images of a data file in known ways, and write what the model says of each.
    ///
    /// Prints accuracy, mean confidence and the number of predicted classes for each corruption and severity as it
    /// goes. For images that the model has not seen, hand in test.bin: `data digits` keeps it apart from training
    /// and reference profile.
    SimulateDrift(SimulateDrift),
    /// Answer requests.
    Serve(Box<Serve>),
    /// Show people the images that `serve --review` keeps, and take their labels: a JSON API and a page.
    Review(Box<Review>),
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

/// The environment, as far as it is text.
pub(crate) fn variables() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

fn version(text: &str) -> Result<String, String> {
    match semver::Version::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; a semantic version is meant, such as 1.2.0")),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    // What fits a semaphore of tokio on every platform, and far more than any setting needs.
    let range = 1..=(1usize << 30);
    text.parse().ok().filter(|n| range.contains(n)).ok_or_else(|| "1..=1073741824 is meant".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let read: Option<f64> = text.parse().ok();
    read.filter(|v| v.is_finite() && *v > 0.0).ok_or_else(|| "a number above 0 is meant".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory;
    use model_server::serve::What;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_operator_s_line_is_understood() {
        let line = "model-server serve --model /m --version 1.1.0 --revision digits-1 --drain 1m30s";
        let Command::Serve(serve) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        let options = serve.options(3).unwrap();
        assert_eq!(options.listen, "0.0.0.0:8000".parse().unwrap());
        assert_eq!(options.admin, "0.0.0.0:9091".parse().unwrap());
        assert_eq!((options.drain, options.settings.workers), (Duration::from_secs(90), 3));
        let What::Model(wanted) = options.what else { panic!() };
        assert_eq!((&*wanted.name, wanted.revision.as_deref()), ("digits", Some("digits-1")));
        let wrong = [
            "--version 1.1",
            "--sha256 AB",
            "--drain 2h",
            "--workers 0",
            "--repository /r",
            "--memory 9",
            "--load a",
        ];
        for wrong in wrong {
            let line = format!("model-server serve --model /m --version 1.1.0 --revision digits-1 {wrong}");
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{wrong}");
        }
    }

    #[test]
    fn images_are_kept_where_it_is_said() {
        let line = "model-server serve --model /m --version 1.1.0 --revision digits-1";
        let read = |more: &str| match Cli::try_parse_from(format!("{line} {more}").trim().split(' ')) {
            Ok(Cli { command: Command::Serve(serve) }) => Ok(serve.options(1).unwrap().keep),
            Ok(_) => panic!(),
            Err(error) => Err(error.to_string()),
        };
        let keep = read("--review file:///r --capture s3://team/c --capture-percent 5").unwrap();
        assert_eq!(keep.review.unwrap().to_string(), "file:///r");
        assert_eq!(keep.capture.unwrap().1, 5);
        let none = read("").unwrap();
        assert!(none.review.is_none() && none.capture.is_none());
        for wrong in [
            "--capture s3://team/c",
            "--capture-percent 5",
            "--capture s3://team/c --capture-percent 0",
            "--capture s3://team/c --capture-percent 101",
            "--review pvc://claim/a",
            "--review somewhere",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_review_says_whom_it_tells_and_how_long_it_keeps() {
        let line = "model-server review --review file:///r --token-file /t";
        let read = |more: &str| match Cli::try_parse_from(format!("{line} {more}").trim().split(' ')) {
            Ok(Cli { command: Command::Review(review) }) => Ok(review.options()),
            Ok(_) => panic!(),
            Err(error) => Err(error.to_string()),
        };
        let plain = read("").unwrap();
        assert!(plain.keep.is_none() && plain.router.is_none() && plain.doors.explain.is_none());
        let all =
            "--feedback http://digits:8081/ --feedback-token-file /f --explain http://digits --keep 720h";
        let all = read(all).unwrap();
        assert_eq!(all.keep, Some(Duration::from_secs(720 * 3600)));
        assert_eq!(all.router.unwrap().address.to_string(), "http://digits:8081");
        assert!(read("--keep 0s").unwrap().keep.is_none());
        for wrong in [
            "--feedback http://digits:8081",
            "--feedback-token-file /f",
            "--feedback digits --feedback-token-file /f",
            "--keep 5m",
            "--explain http://me:secret@digits",
            "--max-connections 0",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn several_models_are_asked_for_by_their_folder() {
        let line = "model-server serve --repository /r --load a,b --name a --memory 1000 --poll 500ms";
        let Command::Serve(serve) = Cli::try_parse_from(line.split(' ')).unwrap().command else { panic!() };
        let What::Repository { load, unnamed, memory, control, .. } = serve.options(1).unwrap().what else {
            panic!()
        };
        assert_eq!(
            (load, unnamed.as_deref(), memory),
            (vec!["a".to_owned(), "b".to_owned()], Some("a"), 1000)
        );
        assert!(!control);
        for wrong in ["", " --model /m", " --model /m --version 1.0.0", " --repository /r --poll 1ms"] {
            let line = format!("model-server serve{wrong}");
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
