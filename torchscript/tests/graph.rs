//! A traced graph gives the same numbers through the shim as through tch.
#![allow(clippy::unwrap_used, reason = "a test program")]

use tch::nn::{self, Module, ModuleT};
use tch::{CModule, Device, Kind, Tensor};
use torchscript::{Graph, Plan};

const SHAPE: [usize; 3] = [3, 8, 8];
const CLASSES: usize = 5;

/// A small network with all that is folded: batch norm, ReLU, pooling. With the archive of its trace.
fn network() -> (CModule, Vec<u8>) {
    tch::manual_seed(7);
    let mut store = nn::VarStore::new(Device::Cpu);
    let root = store.root();
    let conv = nn::conv2d(&root / "conv", 3, 8, 3, nn::ConvConfig { padding: 1, ..Default::default() });
    let norm = nn::batch_norm2d(&root / "norm", 8, Default::default());
    let linear = nn::linear(&root / "fc", 8 * 4 * 4, CLASSES as i64, Default::default());
    store.freeze();
    let forward = |x: &Tensor| {
        let x = norm.forward_t(&conv.forward(x), false).relu().max_pool2d_default(2);
        linear.forward(&x.flatten(1, -1))
    };
    let example = Tensor::rand([1, 3, 8, 8], (Kind::Float, Device::Cpu));
    let traced = tch::no_grad(|| {
        CModule::create_by_tracing("Net", "forward", &[example], &mut |inputs| vec![forward(&inputs[0])])
            .unwrap()
    });
    let file = std::env::temp_dir().join(format!(
        "torchscript-{}-{:?}.pt",
        std::process::id(),
        std::thread::current().id()
    ));
    traced.save(&file).unwrap();
    let archive = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    (traced, archive)
}

fn inputs(images: usize) -> Vec<f32> {
    let pixels = images * SHAPE.iter().product::<usize>();
    (0..pixels).map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0).collect()
}

fn plain(module: &CModule, inputs: &[f32]) -> Vec<f32> {
    let input = Tensor::from_slice(inputs).view([-1, 3, 8, 8]);
    let output = tch::no_grad(|| module.forward_ts(&[input]).unwrap());
    Vec::<f32>::try_from(output.flatten(0, -1)).unwrap()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// At full precision.
const PLANS: [Plan; 2] = [Plan::Optimised, Plan::Fused];

#[test]
fn every_batch_gives_the_numbers_of_the_graph_as_it_was_saved() {
    let (module, archive) = network();
    for plan in PLANS {
        let graph = Graph::load(&archive, plan).unwrap();
        // What is fused is compiled in its second run.
        for images in [1, 2, 7, 32, 1, 1, 32, 32, 7, 7, 2, 2] {
            let inputs = inputs(images);
            let (outputs, found) = graph.run(&inputs, images, SHAPE, images * CLASSES).unwrap();
            assert_eq!(found, images * CLASSES);
            let off = furthest(&outputs, &plain(&module, &inputs));
            assert!(off <= 1e-5, "{plan:?}, {images} images: {off}");
        }
    }
}

#[test]
fn half_of_the_bits_give_nearly_the_same_numbers() {
    let (module, archive) = network();
    let graph = Graph::load(&archive, Plan::FusedBf16).unwrap();
    let inputs = inputs(4);
    let plain = plain(&module, &inputs);
    let largest = plain.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    for _ in 0..3 {
        let (outputs, _) = graph.run(&inputs, 4, SHAPE, 4 * CLASSES).unwrap();
        let off = furthest(&outputs, &plain);
        assert!(off > 0.0 && off <= 0.02 * largest, "{off} of {largest}");
    }
}

#[test]
fn outputs_beyond_what_was_expected_are_counted_and_not_written() {
    let (_, archive) = network();
    let graph = Graph::load(&archive, Plan::default()).unwrap();
    let (outputs, found) = graph.run(&inputs(2), 2, SHAPE, 3).unwrap();
    assert_eq!((outputs.len(), found), (3, 2 * CLASSES));
}

#[test]
fn what_cannot_be_loaded_or_run_is_told_on_one_line() {
    for broken in [&b""[..], b"PK\x03\x04 no archive", &network().1[..1000]] {
        let error = Graph::load(broken, Plan::Fused).unwrap_err().to_string();
        assert!(!error.is_empty() && error.len() <= 200 && !error.contains('\n'), "{error}");
    }
    let (_, archive) = network();
    for plan in PLANS {
        let graph = Graph::load(&archive, plan).unwrap();
        let error = graph.run(&[0.0; 3 * 4 * 4], 1, [3, 4, 4], CLASSES).unwrap_err().to_string();
        assert!(error.contains("mat1 and mat2") || error.contains("shape"), "{error}");
        // It goes on afterwards.
        for _ in 0..3 {
            graph.run(&inputs(1), 1, SHAPE, CLASSES).unwrap();
        }
    }
}

#[test]
fn threads_share_a_graph() {
    let (module, archive) = network();
    let graph = Graph::load(&archive, Plan::Fused).unwrap();
    let off = |images| {
        let (outputs, _) = graph.run(&inputs(images), images, SHAPE, images * CLASSES).unwrap();
        furthest(&outputs, &plain(&module, &inputs(images)))
    };
    assert!(off(3) <= 1e-5);
    // Sizes that none has run before are compiled while others run, too.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                torchscript::flush_denormal();
                for images in [1, 2, 3, 4, 8, 1, 2, 3, 4, 8, 1, 2, 3, 4, 8] {
                    assert!(off(images) <= 1e-5, "{images} images");
                }
            });
        }
    });
}
