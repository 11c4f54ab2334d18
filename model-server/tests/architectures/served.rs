//! The commands, with a model that is shipped as weights.

use std::fs;
use std::process::Command;

use image::ImageFormat;
use model_server::serve::run;
use serde_json::{Value, json};

use crate::common::{base64, encode, free_port, options, ready};
use crate::{fixture, formula, written};

fn softmax(logits: &[f32]) -> Vec<f64> {
    let powers: Vec<f64> = logits.iter().map(|logit| f64::from(*logit).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_are_served() {
    let (listen, admin) = (free_port(), free_port());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let written = written("legacy");
    let options = options(&fixture("artefacts/legacy"), &written.digest, listen, admin);
    let server = tokio::spawn(run(options, async {
        let _ = stopped.await;
    }));
    ready(admin).await;
    let client = reqwest::Client::new();
    for (image, logits) in formula::images(2, 8, 8).into_iter().zip(&written.logits) {
        let ask = json!({"image": base64(&encode(&image.into(), ImageFormat::Png))});
        let sent = client.post(format!("http://127.0.0.1:{listen}/predict")).json(&ask).send().await.unwrap();
        assert_eq!(sent.status(), 200);
        let answer: Value = sent.json().await.unwrap();
        let told = answer["probabilities"].as_array().unwrap();
        for (class, expected) in ["cat", "dog", "eel"].into_iter().zip(softmax(logits)) {
            let of = told.iter().find(|told| told["class"] == class).unwrap();
            let probability = of["probability"].as_f64().unwrap();
            assert!((probability - expected).abs() < 1e-5, "{class}: {probability} {expected}");
        }
    }
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

fn command(arguments: &[&str]) -> String {
    let ran = Command::new(env!("CARGO_BIN_EXE_model-server")).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn the_commands_take_weights_as_they_take_graphs() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("test.bin");
    fs::write(directory.path().join("classes.txt"), "cat\ndog\neel\n").unwrap();
    let record = |image: image::RgbImage| {
        let plane = |channel| image.as_raw().iter().skip(channel).step_by(3).copied().collect::<Vec<u8>>();
        [vec![1], plane(0), plane(1), plane(2)].concat()
    };
    fs::write(&data, formula::images(4, 32, 32).into_iter().flat_map(record).collect::<Vec<u8>>()).unwrap();
    // The same weights in two files.
    let reports = ["zip", "legacy"].map(|name| {
        let model = fixture("artefacts").join(name).display().to_string();
        let digest = written(name).digest;
        assert_eq!(command(&["digest", &model]).trim(), digest);
        let data = data.to_str().unwrap();
        let printed = command(&["evaluate", "--json", "--model", &model, "--data", data]);
        let mut report: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&report["digest"], &report["images"]), (&json!(digest), &json!(4)));
        report["digest"] = Value::Null;
        report
    });
    assert_eq!(reports[0], reports[1]);
}
