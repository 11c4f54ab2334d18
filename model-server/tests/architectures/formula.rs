//! Weights and images that `tests/fixtures/make.py` can make too.

use image::RgbImage;
use safetensors::tensor::{Dtype, TensorView, serialize};

/// Name and shape of each tensor.
pub(crate) type Tensors = [(String, Vec<usize>)];

/// `n` numbers: splitmix64, begun with the text's FNV-1a.
fn bits(text: &str, n: usize) -> impl Iterator<Item = u64> {
    let hash = |seed: u64, byte: u8| (seed ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let mut state = text.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
    .take(n)
}

/// The values of a tensor, little-endian.
fn values(name: &str, shape: &[usize]) -> Vec<u8> {
    let product = |lengths: &[usize]| lengths.iter().product::<usize>();
    let (centre, width) = match name.rsplit('.').next().unwrap() {
        _ if shape.len() > 1 => (0.0, (4.0 / product(&shape[1..]) as f64).sqrt()),
        "running_var" => (1.0, 0.5),
        "weight" => (1.0, 0.2),
        _ => (0.0, 0.1),
    };
    let unit = |bits: u64| (bits >> 40) as f64 / f64::from(1 << 23) - 1.0;
    bits(name, product(shape)).flat_map(|bits| ((centre + width * unit(bits)) as f32).to_le_bytes()).collect()
}

fn file(tensors: &Tensors, floats: Dtype, values: impl Fn(&str, &[usize]) -> Vec<u8>) -> Vec<u8> {
    let all: Vec<(&str, &[usize], Dtype, Vec<u8>)> = tensors
        .iter()
        .map(|(name, shape)| {
            let counts = name.ends_with(".num_batches_tracked");
            let (dtype, data) = if counts { (Dtype::I64, vec![0; 8]) } else { (floats, values(name, shape)) };
            (name.as_str(), shape.as_slice(), dtype, data)
        })
        .collect();
    let views = all.iter().map(|(name, shape, dtype, data)| {
        (*name, TensorView::new(*dtype, shape.to_vec(), data.as_slice()).unwrap())
    });
    serialize(views, None).unwrap()
}

/// A safetensors file of these tensors.
pub(crate) fn weights(tensors: &Tensors) -> Vec<u8> {
    file(tensors, Dtype::F32, values)
}

/// One with zeros, for whoever looks at names and shapes alone.
pub(crate) fn zeros(tensors: &Tensors) -> Vec<u8> {
    file(tensors, Dtype::F16, |_, shape| vec![0; 2 * shape.iter().product::<usize>()])
}

/// The first images.
pub(crate) fn images(count: usize, height: u32, width: u32) -> Vec<RgbImage> {
    let length = (height * width * 3) as usize;
    let pixels: Vec<u8> = bits("images", count * length).map(|bits| (bits >> 56) as u8).collect();
    pixels.chunks(length).map(|pixels| RgbImage::from_raw(width, height, pixels.to_vec()).unwrap()).collect()
}
