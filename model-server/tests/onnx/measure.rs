//! What the engines cost, on one thread. Prints, and is run by hand (docs/benchmarks.md):
//! `cargo test --release -p model-server --test onnx -- --ignored --nocapture --test-threads 1`
#![allow(clippy::print_stdout, reason = "figures are what this is for")]

use std::fs;
use std::time::{Duration, Instant};

use model_server::{Artefact, Engine, Metadata, Plan, Program};
use prost::Message;
use safetensors::SafeTensors;

use crate::write::{FLOAT, Graph, Model, Tensor, model, node, value};
use crate::{fixture, formula};

const SIDE: i64 = 32;
const CLASSES: i64 = 10;
const ROUNDS: usize = 9;
/// How long a batch is run in a round.
const ROUND: Duration = Duration::from_millis(200);

/// Weights of `train`'s network for CIFAR-10.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let flat = 64 * (SIDE as usize / 8).pow(2);
    let shapes: [(&str, &[usize]); 5] = [
        ("conv1", &[16, 3, 3, 3]),
        ("conv2", &[32, 16, 3, 3]),
        ("conv3", &[64, 32, 3, 3]),
        ("fc1", &[128, flat]),
        ("fc2", &[CLASSES as usize, 128]),
    ];
    let both = |(name, shape): (&str, &[usize])| {
        [(format!("{name}.weight"), shape.to_vec()), (format!("{name}.bias"), shape[..1].to_vec())]
    };
    shapes.into_iter().flat_map(both).collect()
}

/// The same network as ONNX.
fn onnx(file: &[u8]) -> Vec<u8> {
    let read = SafeTensors::deserialize(file).unwrap();
    let weights = read.iter().map(|(name, tensor)| Tensor {
        name: name.into(),
        kind: FLOAT,
        lengths: tensor.shape().iter().map(|n| *n as i64).collect(),
        data: Some(tensor.data().to_vec()),
        ..Tensor::default()
    });
    let mut nodes = vec![];
    let mut last = "pixels".to_owned();
    for i in 1..=3 {
        let names = ["convolved", "positive", "pooled"].map(|name| format!("{name}{i}"));
        let [weight, bias] = ["weight", "bias"].map(|part| format!("conv{i}.{part}"));
        nodes.push(node("Conv", &[&last, &weight, &bias], &names[0]).with_list("pads", &[1; 4]));
        nodes.push(node("Relu", &[&names[0]], &names[1]));
        let pool = node("MaxPool", &[&names[1]], &names[2]).with_list("kernel_shape", &[2; 2]);
        nodes.push(pool.with_list("strides", &[2; 2]));
        last.clone_from(&names[2]);
    }
    nodes.push(node("Flatten", &[&last], "flat"));
    nodes.push(node("Gemm", &["flat", "fc1.weight", "fc1.bias"], "hidden").with("transB", 1));
    nodes.push(node("Relu", &["hidden"], "active"));
    nodes.push(node("Gemm", &["active", "fc2.weight", "fc2.bias"], "scores").with("transB", 1));
    let graph = Graph {
        name: "cnn".into(),
        nodes,
        weights: weights.collect(),
        inputs: vec![value("pixels", FLOAT, &[-1, 3, SIDE, SIDE])],
        outputs: vec![value("scores", FLOAT, &[-1, CLASSES])],
    };
    Model { graph: Some(graph), ..model() }.encode_to_vec()
}

/// Engines of the same network: TorchScript in 32 and 16 bits, ONNX.
fn engines() -> [(&'static str, Box<dyn Engine>); 3] {
    let mut metadata = Metadata::parse(&fs::read(fixture("onnx/metadata.json")).unwrap()).unwrap();
    (metadata.preprocessing.width, metadata.preprocessing.height) = (SIDE as u32, SIDE as u32);
    metadata.classes = (0..CLASSES).map(|class| format!("class-{class}")).collect();
    let profile = wire::Profile::new(&metadata.version, &metadata.classes);
    let file = formula::weights(&tensors());
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("metadata.json"), serde_json::to_vec(&metadata).unwrap()).unwrap();
    fs::write(directory.path().join("reference.json"), serde_json::to_vec(&profile).unwrap()).unwrap();
    fs::write(directory.path().join("model.safetensors"), &file).unwrap();
    let torch = Artefact::read(directory.path()).unwrap().model.program(&metadata).unwrap();
    let onnx = Program::Onnx(onnx(&file).into());
    let made = |program: &Program, plan| program.engine(&metadata, 1, plan).unwrap();
    [
        ("TorchScript fp32", made(&torch, Plan::Fused)),
        ("TorchScript bf16", made(&torch, Plan::FusedBf16)),
        ("ONNX", made(&onnx, Plan::default())),
    ]
}

fn median(mut numbers: Vec<f64>) -> (f64, f64, f64) {
    numbers.sort_by(f64::total_cmp);
    (numbers[numbers.len() / 2], numbers[0], numbers[numbers.len() - 1])
}

#[test]
#[ignore = "prints figures"]
fn microseconds_per_image() {
    let mut engines = engines();
    println!("libtorch uses {}", torchscript::cpu_capability());
    for images in [1, 8, 32] {
        let length = images * 3 * (SIDE * SIDE) as usize;
        let inputs: Vec<f32> = (0..length).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
        let outputs = engines.each_mut().map(|(_, engine)| {
            (0..3).for_each(|_| drop(engine.run(&inputs, images).unwrap()));
            engine.run(&inputs, images).unwrap()
        });
        let off =
            |i: usize| outputs[i].iter().zip(&outputs[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off(2) < 1e-4 && off(1) < 0.2, "{} {}", off(2), off(1));
        let mut times = [const { vec![] }; 3];
        for _ in 0..ROUNDS {
            for (times, (_, engine)) in times.iter_mut().zip(&mut engines) {
                let (start, mut runs) = (Instant::now(), 0);
                while start.elapsed() < ROUND {
                    drop(engine.run(&inputs, images).unwrap());
                    runs += 1;
                }
                times.push(start.elapsed().as_secs_f64() * 1e6 / f64::from(runs) / images as f64);
            }
        }
        for (i, (name, _)) in engines.iter().enumerate() {
            let ratios = times[i].iter().zip(&times[0]).map(|(time, fp32)| time / fp32).collect();
            let ((time, ..), (ratio, least, most)) = (median(times[i].clone()), median(ratios));
            println!(
                "{images:>2} images, {name:<16}: {time:>6.1} us per image, {ratio:.2} ({least:.2}-{most:.2})"
            );
        }
    }
}

/// Seconds of processor that this process has used.
fn used() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse().unwrap())
        .collect();
    // Clock ticks of Linux.
    (fields[0] + fields[1]) / 100.0
}

#[test]
#[ignore = "prints figures"]
fn an_idle_session_uses_no_processor() {
    let metadata = Metadata::parse(&fs::read(fixture("onnx/metadata.json")).unwrap()).unwrap();
    let program = Program::Onnx(fs::read(fixture("onnx/model.onnx")).unwrap().into());
    let mut engines = [0; 4].map(|_| program.engine(&metadata, 2, Plan::default()).unwrap());
    let inputs = vec![0.0; 8 * 3 * 8 * 8];
    for engine in &mut engines {
        engine.run(&inputs, 8).unwrap();
    }
    let before = used();
    std::thread::sleep(Duration::from_secs(5));
    let idle = used() - before;
    println!("4 sessions of 2 threads, idle for 5 s: {idle:.2} s of processor");
    assert!(idle < 0.1, "{idle}");
}
