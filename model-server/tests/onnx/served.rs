//! The commands and the server, with a model that is shipped as ONNX.

use std::fs;
use std::path::Path;
use std::process::Command;

use image::{ImageFormat, RgbImage};
use model_server::Precision;
use model_server::serve::run;
use serde_json::{Value, json};

use crate::common::{base64, encode, free_port, options, ready};
use crate::{fixture, formula};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_served_and_named_and_bf16_changes_nothing() {
    let (listen, admin) = (free_port(), free_port());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let sum = sources::digest::of_directory(&fixture("onnx")).unwrap();
    let mut options = options(&fixture("onnx"), &sum, listen, admin);
    options.settings.precision = Precision::Bf16;
    options.settings.threads = 2;
    let server = tokio::spawn(run(options, async {
        let _ = stopped.await;
    }));
    ready(admin).await;
    let url = |path: &str| format!("http://127.0.0.1:{listen}{path}");
    let described: Value = reqwest::get(url("/v2/models/digits")).await.unwrap().json().await.unwrap();
    assert_eq!(described["platform"], "sluice_onnxruntime");
    let info: Value = reqwest::get(url("/model-info")).await.unwrap().json().await.unwrap();
    assert_eq!((&info["digest"], info.get("training")), (&json!(sum), None));

    let all: Value = serde_json::from_slice(&fs::read(fixture("../artefacts.json")).unwrap()).unwrap();
    let client = reqwest::Client::new();
    for (image, logits) in formula::images(2, 8, 8).into_iter().zip(all["onnx"]["logits"].as_array().unwrap())
    {
        let ask = json!({"image": base64(&encode(&image.into(), ImageFormat::Png))});
        let sent = client.post(url("/predict")).json(&ask).send().await.unwrap();
        assert_eq!(sent.status(), 200);
        let answer: Value = sent.json().await.unwrap();
        let powers: Vec<f64> = logits.as_array().unwrap().iter().map(|l| l.as_f64().unwrap().exp()).collect();
        for (class, power) in ["cat", "dog", "eel"].into_iter().zip(&powers) {
            let told = answer["probabilities"].as_array().unwrap();
            let told =
                told.iter().find(|told| told["class"] == class).unwrap()["probability"].as_f64().unwrap();
            assert!((told - power / powers.iter().sum::<f64>()).abs() < 1e-5, "{class}: {told}");
        }
    }
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
}

/// `evaluate` of an artefact, with some library, from a folder of its own: exit status and what it printed.
fn evaluate(model: &Path, library: Option<&Path>) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("test.bin");
    fs::write(directory.path().join("classes.txt"), "cat\ndog\neel\n").unwrap();
    let record = |image: RgbImage| {
        let plane = |channel| image.as_raw().iter().skip(channel).step_by(3).copied().collect::<Vec<u8>>();
        [vec![1], plane(0), plane(1), plane(2)].concat()
    };
    fs::write(&data, formula::images(4, 32, 32).into_iter().flat_map(record).collect::<Vec<u8>>()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_model-server"));
    command.args(["evaluate", "--json", "--model"]).arg(model).arg("--data").arg(data);
    match library {
        Some(library) => command.env("ORT_DYLIB_PATH", library),
        None => command.env_remove("ORT_DYLIB_PATH"),
    };
    let ran = command.output().unwrap();
    let printed = if ran.status.success() { ran.stdout } else { ran.stderr };
    (ran.status.success(), String::from_utf8(printed).unwrap())
}

#[test]
fn the_commands_say_of_a_file_what_they_say_of_its_weights() {
    let reports = ["zip", "onnx"].map(|name| {
        let (done, printed) = evaluate(&fixture(name), None);
        assert!(done, "{printed}");
        let mut report: Value = serde_json::from_str(&printed).unwrap();
        let confidence = report["meanConfidence"].take().as_f64().unwrap();
        report["digest"] = Value::Null;
        (report, confidence)
    });
    let [(zip, sure), (onnx, surer)] = reports;
    assert_eq!(zip, onnx);
    assert!((sure - surer).abs() < 1e-5, "{sure} {surer}");
}

#[test]
fn a_library_that_is_missing_or_another_is_told_to_those_who_need_it_alone() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("libonnxruntime.so");
    let (done, said) = evaluate(&fixture("onnx"), Some(&missing));
    let start = "error: the model cannot be loaded: model.onnx needs ONNX Runtime, which is neither of ";
    let end = "run hack/onnxruntime, or set ORT_DYLIB_PATH to a libonnxruntime.so, 1.";
    assert!(!done && said.starts_with(start) && said.contains(end), "{said}");

    let text = directory.path().join("text.so");
    fs::write(&text, "no library ".repeat(20)).unwrap();
    for (library, reason) in
        [(text.as_path(), "invalid ELF header"), (&libc(), "does not export `OrtGetApiBase`")]
    {
        let (done, said) = evaluate(&fixture("onnx"), Some(library));
        let named = format!("and {} is none that can be used: ", library.display());
        assert!(!done && said.contains(&named) && said.contains(reason), "{said}");
        assert!(
            said.contains("ORT_DYLIB_PATH can name another") && said.trim().lines().count() == 1,
            "{said}"
        );
    }
    // Weights need none.
    assert!(evaluate(&fixture("zip"), Some(&missing)).0);
}

/// A library that every process has loaded.
fn libc() -> std::path::PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines()
        .filter_map(|line| line.split_whitespace().last())
        .find(|path| path.ends_with("/libc.so.6"))
        .unwrap()
        .into()
}
