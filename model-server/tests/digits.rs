//! The whole way of a model on the real digits: data, training, evaluation, serving.
#![allow(clippy::unwrap_used, reason = "a test program")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{base64, digits, free_port, options, ready};
use model_server::corrupt::Corruption;
use model_server::dataset::Dataset;
use model_server::serve::{Options, What, run};
use model_server::simulate::simulate;
use model_server::train::{Epoch, Part, Progress, Settings, train};
use model_server::{Artefact, Engine, Precision, data, evaluate, load};
use serde_json::{Value, json};
use wire::Feature;

#[derive(Default)]
struct Seen(Vec<(Part, u32)>);

impl Progress for Seen {
    fn epoch(&mut self, part: Part, epoch: &Epoch) {
        self.0.push((part, epoch.number));
    }
}

fn settings(data: &Path, out: &Path) -> Settings {
    Settings {
        data: data.to_owned(),
        out: out.to_owned(),
        version: "1.0.0".into(),
        epochs: 2,
        batch_size: 32,
        learning_rate: 0.001,
        shift: 1,
        folds: 3,
        seed: 7,
        jobs: 2,
    }
}

#[test]
fn no_test_image_is_a_training_image() {
    let directory = tempfile::tempdir().unwrap();
    let counts = data::digits(&digits(), directory.path(), 1).unwrap();
    assert_eq!(counts, (1437, 360));
    let train = Dataset::train(directory.path()).unwrap();
    let test = Dataset::test(directory.path()).unwrap();
    let seen: BTreeSet<&[u8]> = train.samples.iter().map(|s| s.image.as_raw().as_slice()).collect();
    let shared = test.samples.iter().filter(|s| seen.contains(s.image.as_raw().as_slice())).count();
    assert_eq!((train.samples.len(), test.samples.len(), shared), (1437, 360, 0));
    for class in 0..10 {
        let of = |d: &Dataset| d.samples.iter().filter(|s| s.label == class).count();
        assert!((33..=38).contains(&of(&test)), "class {class}: {}", of(&test));
    }
}

/// One training serves all of this: it takes seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_trained_repeatably_evaluated_and_served() {
    let directory = tempfile::tempdir().unwrap();
    let (set, model) = (directory.path().join("set"), directory.path().join("digits/1.0.0"));
    data::digits(&digits(), &set, 1).unwrap();
    let mut seen = Seen::default();
    let trained = train(&settings(&set, &model), &mut seen).unwrap();
    assert_eq!(seen.0.len(), 2 * 4);
    assert!(trained.history.test_accuracy > 0.8, "{:?}", trained.history);
    assert!(train(&settings(&set, &model), &mut Seen::default()).unwrap_err().to_string().contains("exists"));

    // The same again, with another number of jobs, gives the same bytes.
    let again = Settings { jobs: 1, ..settings(&set, &directory.path().join("again")) };
    assert_eq!(train(&again, &mut Seen::default()).unwrap().digest, trained.digest);

    let artefact = Artefact::read(&model).unwrap();
    assert_eq!((artefact.profile.images, &artefact.profile.digest), (1437, &trained.digest));
    holds_every_feature(&artefact.profile);
    let test = Dataset::test(&set).unwrap();
    let mut engine = load::engine(&artefact.model, &artefact.metadata, 1).unwrap();
    let answers = evaluate::answers(engine.as_mut(), &artefact.metadata, &test).unwrap();
    let training = artefact.metadata.training.as_ref().unwrap();
    assert_eq!(evaluate::accuracy(&test, &answers), training.test_accuracy);

    drift_shows_in_the_answers(engine.as_mut(), &artefact, &test);
    // In fewer bits an answer moves a little, on a processor that is faster in them, and not at all on others.
    for (precision, furthest) in [(Precision::Fp32, 1e-5), (Precision::Bf16, 0.05)] {
        serves_the_same_answers(&set, &model, &trained.digest, &answers, (precision, furthest)).await;
    }
    refuses_another_artefact(&model, &trained.digest).await;
}

/// Digits are grey and 32x32; of energies none lies beyond the grid.
fn holds_every_feature(profile: &wire::Profile) {
    profile.check().unwrap();
    let cells = |feature| profile.feature(feature).unwrap();
    assert_eq!((cells(Feature::Saturation)[0], cells(Feature::Size)[20]), (1437, 1437));
    let energies = cells(Feature::Energy);
    assert_eq!((energies[0], energies[63]), (0, 0), "{energies:?}");
    for feature in [Feature::Entropy, Feature::Energy] {
        assert!(cells(feature).iter().filter(|n| **n > 0).count() > 8, "{feature:?}: {:?}", cells(feature));
    }
}

/// What a known change does to a CNN that has learned upright, grey digits.
fn drift_shows_in_the_answers(engine: &mut dyn Engine, artefact: &Artefact, test: &Dataset) {
    let mut under = |corruption, severity| {
        simulate(engine, &artefact.metadata, test, (corruption, severity), 1, |_| Ok(())).unwrap()
    };
    let clean = under(Corruption::None, 0);
    let training = artefact.metadata.training.as_ref().unwrap();
    assert_eq!((clean.accuracy, clean.predicted_classes), (training.test_accuracy, 10));
    let grey = under(Corruption::ChannelSwap, 5);
    assert_eq!(grey, clean, "red and blue of a grey image are the same");
    let [light, flat] = [Corruption::Brightness, Corruption::Contrast].map(|c| under(c, 5));
    assert!(light.accuracy < clean.accuracy && flat.mean_confidence < clean.mean_confidence);
    // Of all digits only a 4 has ink far left and right, and no digit lies: nearly everything turned is a 4, so
    // that a tenth is right. A net of another kind (scikit-learn's MLP) says the same with the same certainty.
    let turned = under(Corruption::Rotation, 5);
    assert!(turned.accuracy < 0.35 && turned.predicted_classes <= 5, "{turned:?}");
    assert!(under(Corruption::Texture, 5).accuracy < 0.35);
}

async fn serves_the_same_answers(
    set: &Path,
    model: &Path,
    digest: &str,
    answers: &[model_server::Answer],
    (precision, furthest): (Precision, f64),
) {
    let (listen, admin) = (free_port(), free_port());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let log = model.with_file_name(format!("predictions-{precision:?}.jsonl"));
    let mut options = options(model, digest, listen, admin);
    options.prediction_log = Some(log.display().to_string());
    options.settings.precision = precision;
    let server = tokio::spawn(run(options, async {
        let _ = stopped.await;
    }));
    let admin = ready(admin).await;
    let profile: wire::Profile =
        reqwest::get(format!("{admin}/profile")).await.unwrap().json().await.unwrap();
    profile.check().unwrap();
    assert_eq!((profile.digest.as_str(), profile.images), (digest, 1437));

    let images = set.join("images");
    data::images(&set.join("test.bin"), &images).unwrap();
    let labels: Value = serde_json::from_slice(&std::fs::read(images.join("labels.json")).unwrap()).unwrap();
    let client = reqwest::Client::new();
    for (name, answer) in labels.as_object().unwrap().keys().zip(answers).take(40) {
        let ask = json!({"image": base64(&std::fs::read(images.join(name)).unwrap())});
        let url = format!("http://127.0.0.1:{listen}/predict");
        let response = client.post(url).json(&ask).send().await.unwrap();
        let (class, confidence) = answer.best.unwrap();
        assert_eq!(response.headers()["x-prediction"], class.to_string(), "{name}");
        let told: f64 = response.headers()["x-confidence"].to_str().unwrap().parse().unwrap();
        assert!((told - confidence).abs() < furthest, "{name}: {told} {confidence}");
    }
    let metrics = reqwest::get(format!("{admin}/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("sluice_server_requests_total{code=\"200\",path=\"/predict\"} 40"), "{metrics}");

    stop.send(()).unwrap();
    let ready = reqwest::get(format!("{admin}/readyz")).await.unwrap();
    assert_eq!(ready.status(), 503);
    server.await.unwrap().unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 40, "one of each image");
    for (line, answer) in lines.iter().zip(answers) {
        let class = answer.best.unwrap().0.to_string();
        assert_eq!(
            (line["prediction"].as_str(), &line["revision"]),
            (Some(&*class), &json!("digits-1")),
            "{line}"
        );
        assert!(line["latency_ms"].as_f64().unwrap() > 0.0, "{line}");
    }
    let images: BTreeSet<&str> = lines.iter().map(|line| line["input_hash"].as_str().unwrap()).collect();
    assert!(images.len() > 30, "other images have other hashes");
}

async fn refuses_another_artefact(model: &Path, digest: &str) {
    let error = |options: Options| async {
        let never = std::future::pending();
        run(options, never).await.unwrap_err().to_string()
    };
    let other = "0".repeat(64);
    let message = error(options(model, &other, 0, 0)).await;
    assert_eq!(message, format!("the artefact's sha256 is {digest}, asked for: {other}"));
    let mut other = options(model, digest, 0, 0);
    let What::Model(wanted) = &mut other.what else { panic!() };
    wanted.version = "1.1.0".into();
    let message = error(other).await;
    assert_eq!(message, "the artefact's version is 1.0.0, asked for: 1.1.0");
    let broken = model.with_file_name("broken");
    std::fs::create_dir(&broken).unwrap();
    for file in ["metadata.json", "reference.json"] {
        std::fs::copy(model.join(file), broken.join(file)).unwrap();
    }
    let sum = sources::digest::of_directory(&broken).unwrap();
    assert!(error(options(&broken, &sum, 0, 0)).await.contains("has no model.pt"));
    std::fs::write(broken.join("model.pt"), b"not a graph").unwrap();
    let sum = sources::digest::of_directory(&broken).unwrap();
    let message = error(options(&broken, &sum, 0, 0)).await;
    assert!(message.starts_with("the model cannot be loaded: ") && message.lines().count() == 1, "{message}");
    assert!(message.len() < 300, "{message}");
}
