//! TorchScript that is translated for ONNX Runtime says what libtorch says of it.

use model_server::{Engine, Metadata, Plan, Program};
use rstest::rstest;
use tch::{CModule, Device, Kind, Tensor};

use super::metadata;

const SIDE: i64 = 8;
const CLASSES: i64 = 5;

type Forward = Box<dyn Fn(&Tensor) -> Tensor>;

/// Weights, made before anything is traced: what is made meanwhile is part of the graph.
fn weight(shape: &[i64]) -> Tensor {
    let numbers = (0..shape.iter().product()).map(|i: i64| ((i * 37 % 101) as f32 / 50.0) - 1.0);
    Tensor::from_slice(&numbers.collect::<Vec<_>>()).view(shape)
}

fn traced(forward: &Forward) -> Program {
    let example = Tensor::rand([1, 3, SIDE, SIDE], (Kind::Float, Device::Cpu));
    let module = tch::no_grad(|| {
        CModule::create_by_tracing("Net", "forward", &[example], &mut |inputs| vec![forward(&inputs[0])])
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.pt");
    module.unwrap().save(&file).unwrap();
    Program::TorchScript(std::fs::read(file).unwrap().into())
}

fn described() -> Metadata {
    let mut metadata = metadata();
    (metadata.preprocessing.width, metadata.preprocessing.height) = (SIDE as u32, SIDE as u32);
    metadata.classes = (0..CLASSES).map(|class| format!("class-{class}")).collect();
    metadata
}

/// Five classes of a picture of any size.
fn headed(body: impl Fn(&Tensor) -> Tensor + 'static, channels: i64) -> Forward {
    let (last, bias) = (weight(&[CLASSES, channels]), weight(&[CLASSES]));
    Box::new(move |x| body(x).adaptive_avg_pool2d([1, 1]).flatten(1, -1).linear(&last, Some(&bias)))
}

fn conv(x: &Tensor, weight: &Tensor, stride: i64, padding: i64, dilation: i64, groups: i64) -> Tensor {
    x.conv2d(weight, None::<&Tensor>, [stride; 2], [padding; 2], [dilation; 2], groups)
}

fn network(name: &str) -> Forward {
    let w = weight(&[6, 3, 3, 3]);
    match name {
        "bias" => {
            let bias = weight(&[6]);
            headed(move |x| x.conv2d(&w, Some(&bias), [1, 1], [0, 1], [1, 1], 1), 6)
        }
        "strides, dilation and groups" => {
            let grouped = weight(&[6, 2, 3, 3]);
            headed(move |x| conv(&conv(x, &w, 2, 2, 1, 1), &grouped, 1, 2, 2, 3), 6)
        }
        "norm without a convolution" => {
            let numbers = weight(&[4, 6]);
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| numbers.get(i).slice(0, 0, 3, 1).abs() + 0.1);
            headed(
                move |x| x.batch_norm(Some(&a), Some(&b), Some(&c), Some(&d), false, 0.1, 1e-3, false).relu(),
                3,
            )
        }
        "pools" => headed(
            |x| {
                let largest = x.max_pool2d([3, 2], [2, 2], [1, 1], [1, 1], true);
                largest.avg_pool2d([2, 2], [1, 1], [1, 1], false, true, None)
            },
            3,
        ),
        "clipped" => headed(move |x| conv(x, &w, 1, 1, 1, 1).relu6().hardtanh(), 6),
        "residual" => headed(
            move |x| {
                let y = conv(x, &w, 1, 1, 1, 1).relu();
                let mut z = conv(x, &w, 1, 1, 1, 1).sigmoid() * &y;
                ((z.relu_() + y).tanh().hardswish() * x.mean_dim(1, true, None::<Kind>).hardsigmoid()).silu()
            },
            6,
        ),
        "together" => headed(move |x| Tensor::cat(&[x, &conv(x, &w, 1, 1, 1, 1)], 1).dropout(0.5, false), 9),
        "mean and softmax" => {
            let last = weight(&[CLASSES, 6]);
            Box::new(move |x| {
                let mean =
                    conv(x, &w, 1, 1, 1, 1).mean_dim([2i64, 3].as_slice(), false, None::<Kind>).contiguous();
                mean.linear(&last, None::<&Tensor>).softmax(1, None::<Kind>)
            })
        }
        "logarithms" => {
            let headed = headed(move |x| conv(x, &w, 1, 1, 1, 1).detach().feature_dropout(0.5, false), 6);
            Box::new(move |x| headed(x).log_softmax(-1, None::<Kind>))
        }
        other => panic!("{other}"),
    }
}

fn run(engine: &mut dyn Engine, images: usize) -> Vec<f32> {
    let pixels = images * 3 * (SIDE * SIDE) as usize;
    let inputs: Vec<f32> = (0..pixels).map(|i| ((i * 53 % 211) as f32 / 100.0) - 1.0).collect();
    engine.run(&inputs, images).unwrap()
}

#[rstest]
#[case("bias")]
#[case("strides, dilation and groups")]
#[case("norm without a convolution")]
#[case("pools")]
#[case("clipped")]
#[case("residual")]
#[case("together")]
#[case("mean and softmax")]
#[case("logarithms")]
fn each_operation_says_the_same(#[case] name: &str) {
    let (program, metadata) = (traced(&network(name)), described());
    let mut torch = program.engine(&metadata, 1, Plan::default()).unwrap();
    let mut onnx = program.translate(&metadata).unwrap().engine(&metadata, 1).unwrap();
    for images in [1, 3, 8] {
        let (expected, found) = (run(torch.as_mut(), images), run(onnx.as_mut(), images));
        let largest = expected.iter().fold(1.0f32, |most, n| most.max(n.abs()));
        let off = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(
            found.len() == expected.len() && off <= 1e-5 * largest,
            "{off}: {found:?}, expected: {expected:?}"
        );
    }
}

#[test]
fn what_has_no_counterpart_is_named() {
    let refused = |forward: Forward| traced(&forward).translate(&described()).unwrap_err().to_string();
    assert_eq!(
        refused(Box::new(|x| x.clamp_min(0.5))),
        "the model cannot be loaded: aten::clamp_min: it has no counterpart"
    );
    let pooled = refused(Box::new(|x| x.adaptive_avg_pool2d([2, 2])));
    assert_eq!(pooled, "the model cannot be loaded: aten::adaptive_avg_pool2d: to more than one pixel");
}
